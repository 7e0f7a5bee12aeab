"""Files that are whole or not there at all, and plain data in them."""

import json
import os
from contextlib import contextmanager, suppress
from pathlib import Path

import orjson
import yaml

from ..vocabulary.errors import ProductError


@contextmanager
def replaced(path):
    """A temporary name beside `path` that takes its place when the block ends well, and is removed when it does not."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            os.replace(temporary, path)
    finally:
        with suppress(OSError):  # it was renamed, or its folder is none
            temporary.unlink()


@contextmanager
def writing(path):
    """What the system says against writing this file becomes a ProductError that names it."""
    try:
        yield
    except OSError as error:
        raise ProductError(f"can't be written ({error.strerror or error})", path, "Make room or choose another results folder") from None


def note(path, content):
    """Leave plain data for the next run, as JSON; nothing where that is not possible, for it is only a help."""
    with suppress(ProductError), replaced(path) as temporary:
        temporary.write_text(json.dumps(content))


def noted(path):
    """The dict that `note` left; {} where there is none that can be read."""
    content = {}
    with suppress(OSError, ValueError):
        content = load_json(path)
    return content if isinstance(content, dict) else {}


def load_json(path):
    """Plain data from a JSON file.

    Raises
    ------
    OSError, ValueError
    """
    with open(path, "rb") as file:
        content = file.read()
    try:
        return orjson.loads(content)  # planning reads thousands of them
    except ValueError:
        return json.loads(content)  # which knows NaN


class _PlainLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """YAML with the few tags that every ASDF file has."""


for _tag in ("asdf", "software", "extension_metadata", "history_entry"):
    _PlainLoader.add_multi_constructor(f"tag:stsci.edu:asdf/core/{_tag}-", lambda loader, _, node: loader.construct_mapping(node, True))


def plain_tree(path):
    """The tree of an ASDF file that holds only what YAML itself knows; None where it holds more, or is none.

    The asdf library takes more than a second to load the extensions that a file could need.
    """
    try:
        content = Path(path).read_bytes()
        if content.startswith(b"#ASDF ") and b"\n...\n\xd3BLK" not in content:
            return yaml.load(content.rpartition(b"\n...")[0], Loader=_PlainLoader)
    except (OSError, ValueError, yaml.YAMLError):
        pass  # the library says what is wrong
    return None
