"""Values for the pixels of a spectrum that have none: from their neighbours, from the profile across the spectrum, from a model.

Each way changes the planes of one image in place: SCI, ERR, DQ, and the variances, whose square roots are treated as ERR is.
Pixels that got a value lose DO_NOT_USE and get FLUX_ESTIMATED.
"""

import numpy as np

from ...kernels.images.minimum_gradient import minimum_gradient
from ...vocabulary import dq

ERRORS = ("err", "var_poisson", "var_rnoise", "var_flat")
EDGES = 2, 1  # rows and columns at the lower and the upper side in which nothing is replaced, as in jwst
TELLING = 5.0  # signal to noise below which a profile is not scaled to its own peak
LARGEST = 1e20  # values above can't be squared in sums


def by_gradient(planes):
    """From the two neighbours on the line along which these differ least; nothing where both lines miss one.

    Parameters
    ----------
    planes : dict
        "sci", "err", "dq", and the variances that are there: (row, col).
    """
    rows, columns, vertical = minimum_gradient(planes["sci"], *EDGES)
    down, right = vertical.astype(int), (~vertical).astype(int)

    def between(image):
        return (image[rows - down, columns - right] + image[rows + down, columns + right]) / np.float32(2)

    for name, image in _values(planes):
        # all are taken before any is put: a value is never made of one that was made
        image[rows, columns] = between(image) if not name.startswith("var") else between(np.sqrt(image)) ** 2
    flags = planes["dq"]
    usable = (flags[rows, columns] & np.uint32(dq.NON_SCIENCE)) == 0
    flags[rows[usable], columns[usable]] &= ~np.uint32(dq.DO_NOT_USE)
    flags[rows, columns] |= np.uint32(dq.FLUX_ESTIMATED)


def by_model(planes, model, vertical):
    """From a model of the trace, with errors interpolated along the spectrum; the rest `by_gradient`.

    Parameters
    ----------
    planes : dict
    model : (row, col)
        NaN where there is none.
    vertical : bool
        Whether the spectrum runs along the columns.
    """
    there = ~np.isfinite(planes["sci"]) & np.isfinite(model)
    planes["sci"][there] = model[there]
    planes["dq"][there] &= ~np.uint32(dq.DO_NOT_USE)
    planes["dq"][there] |= np.uint32(dq.FLUX_ESTIMATED)
    for name in ERRORS:
        if planes.get(name) is not None:
            _interpolate(planes[name], there, vertical, name.startswith("var"))
    by_gradient(planes)


def _interpolate(image, there, vertical, squared):
    """Fill pixels of an image along its spectrum, between those that have values."""
    lines, gaps = (image.T, there.T) if vertical else (image, there)
    for number in np.flatnonzero(gaps.any(axis=1)):
        line = np.sqrt(lines[number]) if squared else lines[number]
        good = np.isfinite(line) & ~gaps[number]
        if good.any():
            filled = np.interp(np.flatnonzero(gaps[number]), np.flatnonzero(good), line[good])
            lines[number, gaps[number]] = filled**2 if squared else filled
        else:
            lines[number, gaps[number]] = np.nan


def by_profile(planes, vertical, adjacent):
    """From the profile across the spectrum that the neighbouring rows (columns) have, scaled to the good pixels of the row.

    Parameters
    ----------
    planes : dict
    vertical : bool
        Whether the spectrum runs along the columns, so that a profile is a row.
    adjacent : int
        Rows on each side that are taken.
    """
    turned = {name: image if vertical else image.T for name, image in planes.items() if image is not None}  # a profile a row
    flags = turned["dq"].copy()
    bad, outside = (flags & np.uint32(dq.DO_NOT_USE)) != 0, (flags & np.uint32(dq.NON_SCIENCE)) != 0
    if bad.all():
        return
    rows, columns = (np.flatnonzero((~bad).any(axis=axis)) for axis in (1, 0))
    cut = slice(columns[0], columns[-1] + 1)
    unusable = bad[:, cut] | outside[:, cut]
    lines = np.arange(rows[0], rows[-1] + 1)
    valid = np.zeros(len(flags), bool)
    valid[lines] = ~unusable[lines].all(axis=1)
    wanting = (bad[:, cut] & ~outside[:, cut]).any(axis=1) & valid
    # what was flagged is not looked at, whatever it has
    masked = {"sci": np.where(bad[:, cut], np.nan, turned["sci"][:, cut])}
    for name in ERRORS:
        if name in turned:
            plane = turned[name][:, cut]
            with np.errstate(invalid="ignore"):
                masked[name] = np.where(bad[:, cut], np.nan, np.sqrt(plane) if name.startswith("var") else plane)
    for line in np.flatnonzero(wanting):
        near = np.arange(max(0, line - adjacent), min(len(flags), line + adjacent + 1))
        near = near[valid[near] & (near != line)]
        made = _scaled(masked, line, near) if near.size else None
        if made is None:
            continue
        profile, errors = made
        into = (bad[line, cut] & ~outside[line, cut]).nonzero()[0]
        places = into + cut.start
        turned["sci"][line, places] = profile[into]
        for name, values in errors.items():
            turned[name][line, places] = values[into] ** 2 if name.startswith("var") else values[into]
        done = places[~np.isnan(profile[into])]
        turned["dq"][line, done] ^= np.uint32(dq.DO_NOT_USE | dq.FLUX_ESTIMATED)


def _scaled(masked, line, near):
    """A profile and its errors, scaled to a line; None where the line has no good pixel."""
    beside, own = masked["sci"][near], masked["sci"][line]
    good = ~np.isnan(own)
    if not good.any():
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        peaks = np.fmax.reduce(np.abs(beside), axis=1, keepdims=True)
        if np.fmax.reduce(np.abs(beside / masked["err"][near]), axis=None) < TELLING:
            peaks[:] = 1
        profile = _median(beside / peaks)
        errors = {name: _median(image[near] / peaks) for name, image in masked.items() if name != "sci"}
        most = own[good].max()
        model, measured = np.abs(profile[good]), np.abs(own[good] / most)
        both = ~np.isnan(model) & ~np.isnan(measured)
        factor = 1.0
        plain = np.nanmedian(peaks) == 1.0
        if not plain and np.fmax.reduce(model) < LARGEST and np.fmax.reduce(measured) < LARGEST:
            # the least squares fit of one scale
            factor = np.sum(measured[both] * model[both], dtype=float) / np.sum(model[both] ** 2, dtype=float) * float(most)
        return profile * np.float32(factor), {name: image * np.float32(factor) for name, image in errors.items()}


def _median(images):
    """Median over the first axis without NaN; NaN where there is nothing."""
    images = np.sort(images, axis=0)  # NaN come last
    count = (~np.isnan(images)).sum(axis=0)
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(images) - 1)
    halves = (np.take_along_axis(images, place[None], axis=0)[0] for place in (low, high))
    return np.float32(0.5) * (next(halves) + next(halves))


def _values(planes):
    return [(name, planes[name]) for name in ("sci", *ERRORS) if planes.get(name) is not None]
