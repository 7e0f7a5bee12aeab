"""Regular expressions for closed sets of names."""

import re
from itertools import groupby
from os.path import commonprefix


def one_of(words):
    """A regular expression that matches just these words.

    What they begin with alike stands in it once, so that a match takes no longer if there are thousands of them.

    Parameters
    ----------
    words : iterable of str

    Returns
    -------
    str
    """
    return _branches(sorted(set(words)))


def _branches(words):
    """Sorted words, each beginning another way or as the others of its branch."""
    branches = [list(alike) for _, alike in groupby(words, key=lambda word: word[:1])]
    found = "|".join(map(_branch, branches))
    return f"(?:{found})" if len(branches) > 1 else found


def _branch(words):
    """Sorted words that begin with the same letter, or are empty."""
    start = commonprefix([words[0], words[-1]])
    rest = [word[len(start) :] for word in words]
    return re.escape(start) + (_branches(rest) if len(words) > 1 else "")
