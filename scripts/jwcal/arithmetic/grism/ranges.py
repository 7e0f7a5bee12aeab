"""Which orders a filter has through a grism, and between which wavelengths: the wavelengthrange reference."""

from ...files.reference_file import another, understood
from ...vocabulary.errors import ReferenceError


def wavelength_ranges(reference, element, asked=None, place=""):
    """The wavelengths of the orders that are to be extracted.

    Parameters
    ----------
    reference : Reference
        Rows of order, filter, shortest and longest wavelength [micron]; of time series order, field point, filter...
    element : str
        Of the filter.
    asked : list of int, optional
        Orders in place of those that the reference says.
    place : str
        Name that a row's field point has to be in, where several are for an order.

    Returns
    -------
    dict
        Order -> (shortest, longest).

    Raises
    ------
    ReferenceError
        The reference does not have the filter, or an order.
    """
    with understood("wavelengthrange", reference.path):
        rows = [list(row) for row in reference.tree["wavelengthrange"]]
        default = [list(map(int, orders)) for name, orders in reference.tree["extract_orders"] if name == element]
        every = {}
        for row in rows:
            if row[-3] == element:
                every.setdefault(int(row[0]), []).append(row)
    if not default and asked is None:
        raise ReferenceError(
            f"the wavelengthrange reference does not say the orders of {element}", reference.path, another("wavelengthrange")
        )
    ranges = {}
    for order in default[-1] if asked is None else asked:
        found = every.get(order, [])
        if not found:
            known = ", ".join(map(str, sorted(every))) or "none"
            what = f"the wavelengthrange reference has no order {order} for {element}: it has {known}"
            raise ReferenceError(what, reference.path, "Ask for other extract_orders of extract_2d, or give another reference")
        row = next((row for row in found if len(found) > 1 and len(row) > 4 and row[1] in place), found[0])
        ranges[order] = float(row[-2]), float(row[-1])
    return ranges


def known_orders(reference, element):
    """The orders that a wavelengthrange reference has for a filter."""
    with understood("wavelengthrange", reference.path):
        return sorted({int(row[0]) for row in reference.tree["wavelengthrange"] if row[-3] == element})
