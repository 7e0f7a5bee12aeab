"""One way of several: the module of the way that a step takes is imported, those of the others are not."""

import importlib

PACKAGE = __package__.partition(".")[0]


def part(ways, taken=""):
    """The module of one way.

    Parameters
    ----------
    ways : dict
        Value of the table's argument -> module, "arithmetic/outliers/tso"; "" is the usual way. A step's `PARTS` has one such dict for
        each argument, or for a parameter of the user's ("True"), so that `provenance.codebase` knows which of them made a product.
    taken : str
    """
    return importlib.import_module(f"{PACKAGE}.{ways[taken].replace('/', '.')}")
