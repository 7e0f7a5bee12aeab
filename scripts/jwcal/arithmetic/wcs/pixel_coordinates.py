"""Sky and wavelength of every pixel of a spectrum, and how far they reach.

gwcs looks for the pixels of each slice anew in the whole image. Here they are sorted by slice once, and each slice's optics see
their own pixels only.
"""

from math import ceil, floor

import numpy as np
from astropy.modeling.models import Identity
from gwcs.selector import LabelMapperArray, LabelMapperRange, RegionsSelector

from .footprint import polygon


def wavelength_and_sky(wcs, shape):
    """Right ascension, declination and wavelength of every pixel.

    Parameters
    ----------
    wcs : gwcs.WCS
        From pixels, counted from 0, to ICRS [deg] and wavelength.
    shape : tuple
        Of the pixels, (..., row, col).

    Returns
    -------
    (ra, dec, wavelength), each float64 (row, col)
        In the units of the WCS; NaN outside its bounding box and between slices.
    """
    out = np.full((3, *shape[-2:]), np.nan)
    flat = out.reshape(3, -1)
    for pixels, values in _evaluated(wcs, _parts(wcs, shape), shape[-1]):
        flat[:, pixels] = values
    return out[0], out[1], out[2]


def extent(wcs, shape):
    """How far the pixels reach: S_REGION of the box in right ascension and declination that holds them, and their wavelengths.

    Only the edge pixels of the slices are looked at: within one, sky and wavelength have no extremum.

    Returns
    -------
    region : str or None
        None where no pixel looks at the sky.
    wavelengths : (float, float)
        To within a pixel where the limit of a channel cuts through a slice. NaN where no pixel looks at the sky.
    """
    found = [values for _, values in _evaluated(wcs, _parts(wcs, shape, edges=True), shape[-1])]
    ra, dec, wavelength = np.concatenate(found, axis=1) if found else np.empty((3, 0))
    return sky_box(ra, dec, wavelength)


def sky_box(ra, dec, wavelength):
    """S_REGION of the box in right ascension and declination that holds places on the sky, and the limits of their wavelengths."""
    good = np.isfinite(ra) & np.isfinite(dec)
    if not good.any():
        return None, (np.nan, np.nan)
    first, dec = ra[good][0], dec[good]
    away = (ra[good] - first + 180) % 360 - 180  # so that the zero meridian cuts nothing
    west, east = first + away.min(), first + away.max()
    corners = [(west, dec.min()), (east, dec.min()), (east, dec.max()), (west, dec.max())]
    return polygon(corners), (float(np.nanmin(wavelength)), float(np.nanmax(wavelength)))


def labels_of(wcs):
    """The map of slices that the WCS has, int (row, col); None if it has none."""
    first = _transforms(wcs)[0]
    mapper = getattr(first, "label_mapper", None) if isinstance(first, RegionsSelector) else None
    return mapper.mapper if isinstance(mapper, LabelMapperArray) else None


def around_slices(wcs):
    """What leads from the pixels to the slices, the slices' own optics, and what comes after them.

    Finer pixels (`arithmetic.spectra.finer_slices`) are put onto the detector's first.

    Returns
    -------
    before : list of transforms
    slices : RegionsSelector, or None where there is none
    after : list of transforms
    """
    steps = [step.transform for step in wcs.pipeline[:-1]]
    first = next((k for k, step in enumerate(steps) if isinstance(step, RegionsSelector)), None)
    return (steps, None, []) if first is None else (steps[:first], steps[first], steps[first + 1 :])


def labels_on_pixels(wcs):
    """The map of slices, int (row, col): of finer pixels that of the detector's pixel which they lie in; None if there is none."""
    before, slices, _ = around_slices(wcs)
    labels = getattr(getattr(slices, "label_mapper", None), "mapper", None)
    if labels_of(wcs) is not None or labels is None:
        return labels_of(wcs)
    y, x = np.indices([round(high + 0.5) for _, high in wcs.bounding_box.bounding_box(order="F")[::-1]]).astype(float)
    for transform in before:
        x, y = transform(x, y)
    rows, columns = (np.clip(np.rint(at).astype(int), 0, size - 1) for at, size in zip((y, x), labels.shape, strict=True))
    return labels[rows, columns]


def _parts(wcs, shape, edges=False):
    """(transform, flat indices of the pixels that it is for): one pair a slice, or one in all; only the edge pixels on demand."""
    inside = np.zeros(shape[-2:], bool)
    inside[_box(wcs, shape[-2:])] = True
    labels = labels_of(wcs)
    first = _transforms(wcs)[0]
    chosen = inside if labels is None else np.where(inside, labels, 0)
    wanted = np.flatnonzero((edge_pixels(chosen) if edges else chosen).astype(bool))
    if labels is None:
        return [(first, wanted)] if wanted.size else []
    found = chosen.ravel()[wanted]
    order = np.argsort(found, kind="stable")
    numbers, starts = np.unique(found[order], return_index=True)
    pixels = np.split(wanted[order], starts[1:])
    return [(first.selector[int(number)], part) for number, part in zip(numbers, pixels, strict=False) if int(number) in first.selector]


def _transforms(wcs):
    """The transforms of a WCS, from the pixels; NIRSpec's begins with one that does nothing."""
    steps = [step.transform for step in wcs.pipeline[:-1]]
    return steps[1:] if isinstance(steps[0], Identity) else steps


def _box(wcs, shape):
    """Slices of the rows and columns whose centres lie in the bounding box."""
    if wcs.bounding_box is None:
        return slice(None), slice(None)
    x, y = wcs.bounding_box.bounding_box(order="F")
    return tuple(slice(max(0, ceil(low)), min(size - 1, floor(high)) + 1) for (low, high), size in zip((y, x), shape, strict=True))


def edge_pixels(labels):
    """Pixels of a region that have a neighbour, above, below or beside, outside it."""
    around = np.zeros((labels.shape[0] + 2, labels.shape[1] + 2), labels.dtype)
    around[1:-1, 1:-1] = labels
    beside = (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:])
    return (labels != 0) & np.any([labels != other for other in beside], axis=0)


def _evaluated(wcs, parts, width):
    """(flat indices, (ra, dec, wavelength)) of the parts: those at the first two frames one by one, what follows for all at once."""
    if not parts:
        return
    steps = _transforms(wcs)
    by_part = []
    for first, pixels in parts:
        y, x = np.divmod(pixels, width)
        values = first(x.astype(float), y.astype(float))
        by_part.append(_second(steps[1], values))
    values = np.concatenate(by_part, axis=1)
    yield np.concatenate([pixels for _, pixels in parts]), _onward(steps[2:], values)


def slit_to_sky(wcs, along, across, wavelength):
    """Right ascension, declination and wavelength of places in the slices of one channel.

    Parameters
    ----------
    wcs : gwcs.WCS
    along, across, wavelength : float64 (n,)

    Returns
    -------
    float64 (3, n)
        NaN where the wavelength is not within the channel's limits.
    """
    *_, after = around_slices(wcs)
    return _onward(after[1:], _second(after[0], np.stack([along, across, wavelength])))


def _onward(steps, values):
    for transform in steps:
        values = transform(*values)
    return np.asarray(values)


def _second(transform, values):
    """The transform of one slice's coordinates, which one of several that are chosen by wavelength may be for."""
    mapper = getattr(transform, "label_mapper", None)
    if not isinstance(transform, RegionsSelector) or not isinstance(mapper, LabelMapperRange):
        return np.asarray(transform(*values))
    values = np.asarray(values)
    out = np.full((transform.n_outputs, values.shape[1]), transform.undefined_transform_value)
    key = mapper.inputs_mapping(*values)
    for (low, high), which in mapper.mapper.items():
        within = (key > low) & (key < high)
        if within.any():
            chosen = transform.selector[int(which(*values[:, :1])[0])]
            out[:, within] = chosen(*values[:, within])
    return out
