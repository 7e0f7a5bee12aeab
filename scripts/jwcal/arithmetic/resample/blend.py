"""One header of many: rules and columns are those that stdatamodels' schemas give for each keyword (`blend_rule`, `blend_table`)."""

from functools import cache

import numpy as np

from ...vocabulary.keywords import schema

# Keywords that the result has of its own.
OWN = ("FILENAME", "PIXAR_SR", "PIXAR_A2")
OUTSIDE, WITHIN = "outside calibration tolerance", "within commanded tolerance"


def _multiple(values):
    return values[0] if len(set(values)) == 1 else "MULTIPLE"


def _wheel(values):
    return OUTSIDE if OUTSIDE in values else WITHIN


# Times and dates are ISO 8601: their order is that of their letters.
RULES = {
    "multi": _multiple,
    "mean": lambda values: float(np.mean(values)),
    "sum": sum,
    "min": min,
    "max": max,
    "mintime": min,
    "maxtime": max,
    "mindate": min,
    "maxdate": max,
    "mindatetime": min,
    "maxdatetime": max,
    "wheeltol": _wheel,
}


@cache
def blend_rules(kind="image"):
    """How keywords are blended in a product of one kind.

    Returns
    -------
    rules : dict
        Keyword -> rule, for those whose value is not simply the first input's.
    columns : tuple of str
        Keywords of the header table, in order.
    """
    rules = {node["fits_keyword"]: node["blend_rule"] for node in _keywords(kind) if node.get("blend_rule", "first") != "first"}
    columns = dict.fromkeys(node["fits_keyword"] for node in _keywords(kind) if node.get("blend_table"))
    return rules, tuple(columns)


@cache
def science_keywords(kind="image"):
    """Keywords that stand in the science extension's header."""
    return {node["fits_keyword"] for node in _keywords(kind) if node.get("fits_hdu") == "SCI"}


@cache
def _keywords(kind):
    """The schemas of all keywords, in order."""
    return [node for node in _leaves(_merged(schema(kind))["meta"]) if "fits_keyword" in node]


def _merged(node):
    """Properties of a schema, those of the schemas that it is made of taken together: nested dicts, leaves under the key "" of theirs."""
    found = {}
    if "$ref" in node:
        _take(found, _merged(schema(node["$ref"].removesuffix(".schema"))))
    for part in node.get("allOf", ()):
        _take(found, _merged(part))
    for name, part in node.get("properties", {}).items():
        inner = _merged(part)
        _take(found, {name: inner or {"": part}})
    return found


def _take(into, other):
    for name, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _take(into[name], value)
        else:
            into[name] = value


def _leaves(tree):
    """The schemas of single values, in order."""
    for name, node in tree.items():
        if name == "":
            if node.get("type") != "array":
                yield node
        else:
            yield from _leaves(node)


def blended(headers, kind="image"):
    """Keywords of a product whose value is not simply the first input's.

    Parameters
    ----------
    headers : list of exposure.Header
    kind : str
        Schema of the inputs.

    Returns
    -------
    dict
        Keyword -> value; None where no input has it.
    """
    rules, _ = blend_rules(kind)
    found = {}
    for keyword, rule in rules.items():
        values = [value for value in (header.get(keyword) for header in headers) if value is not None]
        if keyword not in OWN:
            found[keyword] = RULES[rule](values) if values else None
    return found


def header_table(headers, kind="image"):
    """The inputs' keywords as a table: a row for each input, a column for each keyword that any of them has.

    Parameters
    ----------
    headers : list of exposure.Header
    kind : str

    Returns
    -------
    structured array
        Text is bytes, truth values are int8, what an input has not is NaN.
    """
    arrays = {}
    for keyword in blend_rules(kind)[1]:
        values = [header.get(keyword) for header in headers]
        if any(value is not None for value in values):
            arrays[keyword] = _column(values)
    table = np.zeros(len(headers), [(keyword, array.dtype) for keyword, array in arrays.items()])
    for keyword, array in arrays.items():
        table[keyword] = array
    return table


def _column(values):
    array = np.array([np.nan if value is None else value for value in values])
    if array.dtype.kind == "U":
        return np.char.encode(array, "ascii", "replace")
    return array.astype(np.int8) if array.dtype.kind == "b" else array


def times(headers):
    """Keywords of time of several exposures; detectors that were read at once count once."""

    def taken(keyword, how):
        values = [h.get(keyword) for h in headers if h.get(keyword) is not None]
        return how(values) if values else None

    measured = all(h.get("TMEASURE") is not None for h in headers)
    return {
        "EFFEXPTM": taken("EFFEXPTM", sum),
        "XPOSURE": taken("EFFEXPTM", sum),
        "DURATION": taken("DURATION", sum),
        "TELAPSE": taken("DURATION", sum),
        "TMEASURE": taken("TMEASURE", sum) if measured else None,
        "EXPSTART": taken("EXPSTART", min),
        "EXPEND": taken("EXPEND", max),
    }


def describe_sum(result, headers, moments, blend, **keywords):
    """Write into a product's header what it is the sum of.

    Parameters
    ----------
    result : Exposure
        Its header and tables are changed in place.
    headers, moments : list of Header
        Of all inputs, and of one for each moment that they were taken at.
    blend : bool
        Blend the inputs' keywords and list them in HDRTAB.
    **keywords
        Others that it gets; None removes one.
    """
    result.tables = {"HDRTAB": header_table(headers)} if blend else {}
    values = blended(headers) if blend else {}
    values |= {**times(moments), **keywords, "NDRIZ": len(moments), "BKGLEVEL": None, "BKGSUB": None}
    header = result.header
    for keyword, value in values.items():
        if value is None:
            del header[keyword]
        elif keyword in science_keywords() and keyword not in header:
            header.sci[keyword] = value
        else:
            header[keyword] = value
