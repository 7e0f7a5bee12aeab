"""The tables of `config/`, and how a row of them is matched with a header."""

from fnmatch import fnmatchcase
from functools import cache

import yaml

from ..files.home import home


@cache
def table(name):
    """One YAML table of `config/`, parsed."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load((home() / "config" / f"{name}.yaml").read_bytes(), Loader=loader)


def matches(when, header):
    """Whether a header has the values that a row asks for.

    Parameters
    ----------
    when : dict
        KEYWORD -> value, pattern with * or ?, or a list of them. All keywords must fit; an empty dict always does.
    header : mapping with get()
    """
    return all(_fits(wanted, header.get(keyword)) for keyword, wanted in (when or {}).items())


def _fits(wanted, value):
    wanted = wanted if isinstance(wanted, list) else [wanted]
    return any(fnmatchcase(_text(value), _text(pattern)) for pattern in wanted)


def _text(value):
    return str(value).strip().upper() if value is not None else ""


class Like:
    """A header with other values of some keywords."""

    def __init__(self, header, **others):
        self._header, self._others = header, others

    def get(self, keyword, default=None):
        return self._others[keyword] if keyword in self._others else self._header.get(keyword, default)
