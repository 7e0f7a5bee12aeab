"""What the references say of each order on the image: trace, box, profile, resolution."""

import logging

import numpy as np

from ...files.reference_file import another, understood
from ...vocabulary.errors import ReferenceError, Skip
from .overlap import JOINT, Order
from .resolution import Resolution
from .traces import box_weights, find_traces

log = logging.getLogger(__name__)

ROWS = 256  # of the region that the references are for; it begins at the pastasoss reference's subarray_ymin
LOW = 96  # rows of the subarray that cuts order 2: its box is all of it


def region(reference, header, rows):
    """Rows of an image, a slice, that the references are for, and the detector row, from 0, of the first of these."""
    with understood("pastasoss", reference.path):
        first = int(reference.tree["meta"]["subarray_ymin"])
    start = int(header["SUBSTRT2"]) - 1
    if rows <= ROWS:
        return slice(0, rows), start
    return slice(max(first - start, 0), max(first - start, 0) + ROWS), max(first, start)


def find_orders(refs, header, first_row, shape, wanted, width, *, modelled):
    """The orders on an image.

    Parameters
    ----------
    refs : References
        pastasoss; specprofile and speckernel where orders are modelled.
    header : exposure.Header
    first_row : int
        Of the detector, from 0.
    shape : (int, int)
    wanted : sequence of int
    width : float
        Of the boxes, pixels.
    modelled : bool

    Returns
    -------
    list of Order

    Raises
    ------
    Skip
        A reference is N/A.
    InputError, ReferenceError
        See `traces.find_traces`; a reference does not have what orders 1 and 2 need.
    """
    if "pastasoss" not in refs:
        raise Skip("its pastasoss reference is N/A")
    orders = []
    for trace in find_traces(refs["pastasoss"], header, first_row, shape[1], wanted):
        box = np.ones(shape) if shape[0] <= LOW and trace.order == JOINT[1] else box_weights(trace, width, shape)
        orders.append(Order(trace, box))
    profiles = _profiles(refs, shape, first_row)
    for order in orders:
        order.profile = profiles.get(order.number)
    if modelled:
        _resolve(orders, refs)
    return orders


def _resolve(orders, refs):
    lacking = [kind for kind in ("specprofile", "speckernel") if kind not in refs]
    if lacking:
        raise Skip(f"its {' and '.join(lacking)} reference is N/A, without which orders are not told apart (soss_atoca: false)")
    for order in orders:
        if order.profile is None:
            what = f"the specprofile reference does not have order {order.number}"
            if order.number in JOINT:
                raise ReferenceError(what, refs["specprofile"].path, f"{another('specprofile')}, or set soss_atoca: false")
            log.warning("%s: it is not modelled", what)
        elif order.number in JOINT:
            columns = np.full(order.trace.columns.size, np.nan)
            columns[: order.trace.wavelength.size] = order.trace.wavelength
            order.resolution = Resolution(refs["speckernel"], columns)


def _profiles(refs, shape, first_row):
    """Order -> its profile, float64, on the pixels of the image."""
    reference = refs.get("specprofile")
    if reference is None:
        return {}
    found = {}
    with understood("specprofile", reference.path):
        for version in reference.versions("ORDER"):
            number = int(reference.keywords("ORDER", version).get("ORDER", version))
            found[number] = np.asarray(reference.uncut(f"ORDER,{version}"), float)
        rows, columns = next(iter(found.values())).shape
    top, left = (rows - shape[0]) // 2, (columns - shape[1]) // 2
    if shape[0] < ROWS <= rows:  # one of the larger subarray
        with understood("pastasoss", refs["pastasoss"].path):
            top = (rows - ROWS) // 2 + first_row - int(refs["pastasoss"].tree["meta"]["subarray_ymin"])
    if top < 0 or left < 0:
        what = f"the specprofile reference is for {columns} x {rows} pixels, this image has {shape[1]} x {shape[0]}"
        raise ReferenceError(what, reference.path, another("specprofile"))
    cut = slice(top, top + shape[0]), slice(left, left + shape[1])
    return {number: np.nan_to_num(profile[cut]) for number, profile in found.items()}
