"""Which keyword says what: read from stdatamodels' schemas, so that no list is typed twice."""

import importlib.util
from functools import cache
from pathlib import Path

import yaml

# Steps whose status has another name in the schema.
STATUS_NAMES = {
    "dark_current": "dark_sub",
    "stack_refs": "stack_psfs",
    "align_refs": "align_psfs",
    "imprint_subtract": "imprint",
    "master_background_mos": "master_background",
    "resample_spec": "resample",
}


def schema_folder():
    """Where stdatamodels keeps the JWST schemas; found without importing it (its import costs a job a second)."""
    return Path(importlib.util.find_spec("stdatamodels").origin).parent / "jwst/datamodels/schemas"


@cache
def schema(name):
    """One schema, parsed."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load((schema_folder() / f"{name}.schema.yaml").read_bytes(), Loader=loader)


def _properties(node, path=()):
    """All (path, schema) of a schema whose values are FITS keywords."""
    if isinstance(node, dict):
        if "fits_keyword" in node:
            yield path, node
        for key, value in node.items():
            yield from _properties(value, path if key in ("properties", "allOf") else (*path, key))
    elif isinstance(node, list):
        for value in node:
            yield from _properties(value, path)


@cache
def core():
    """Path in the core schema -> (FITS keyword, extension, title)."""
    return {
        ".".join(path): (node["fits_keyword"], node.get("fits_hdu", "PRIMARY"), node.get("title", ""))
        for path, node in _properties(schema("core"))
    }


@cache
def status(step):
    """(keyword, comment) of a step's status: ("S_JUMP", "Jump Detection"); None for a step that the schema doesn't know."""
    found = core().get(f"meta.cal_step.{STATUS_NAMES.get(step, step)}")
    return found and (found[0], found[2])


@cache
def reference(kind):
    """(keyword, comment) of a reference's name: ("R_FLAT", "Flat reference file name"); None for an unknown type."""
    found = core().get(f"meta.ref_file.{kind}.name")
    return found and (found[0], found[2])
