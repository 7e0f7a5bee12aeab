"""A reference's image and flags on exactly the pixels of an exposure, as kernels need them: they do not look at shapes again."""

import numpy as np

from ..files.reference_file import another
from ..vocabulary.dq import DO_NOT_USE, NO_GAIN_VALUE
from ..vocabulary.errors import InputError, ReferenceError
from .irs2_layout import is_irs2


def image(reference, exposure, extname="SCI", pixels=None):
    """An image of a reference, one value a pixel of the exposure.

    Parameters
    ----------
    reference : reference_data.Reference
    exposure : Exposure
        Or a block of it.
    extname : str
    pixels : (int, int), optional
        Rows and columns that are expected, where they are not those of the exposure's samples (IRS2 readout).

    Returns
    -------
    ndarray of float32, (row, col)
        Not to be written into.

    Raises
    ------
    ReferenceError
        The reference does not cover the exposure, or is no image.
    InputError
        The exposure's pixels are not those that its subarray keywords tell.
    """
    in_file = reference.shape(extname)
    if in_file is not None and len(in_file) < 2:
        check(in_file, reference, exposure, extname, pixels)
    array = reference.array(extname)
    check(array.shape, reference, exposure, extname, pixels)
    return array.astype(np.float32, copy=False)


def bits(reference, exposure, extname="DQ", pixels=None):
    """The data quality of a reference with the standard bits, (row, col) uint32; zeros where it has none. Otherwise as `image`."""
    if not reference.has(extname):
        return np.zeros(pixels or exposure.shape[-2:], np.uint32)
    flags = reference.dq(extname)
    check(flags.shape, reference, exposure, extname, pixels)
    return flags


def no_gain(gain):
    """The flags of pixels whose gain (row, col) is not above zero, so that their electrons can't be told: uint32 (row, col)."""
    return np.where(gain > 0, np.uint32(0), np.uint32(NO_GAIN_VALUE | DO_NOT_USE))


def check(shape, reference, exposure, extname, pixels=None):
    """Raise as `image` does unless this, the shape of a reference's extension after its cut, is that of the exposure's pixels."""
    samples = exposure.shape[-2:]
    pixels = pixels or samples
    if shape == pixels:
        return
    ny, nx = pixels
    given = f"the {reference.type} reference's {extname}"
    again = another(reference.type)
    if len(shape) >= 2 and is_irs2(shape) and not is_irs2(pixels):
        raise ReferenceError(f"{given} has the {shape[-2]} rows of IRS2 readout, the exposure has {ny}", reference.path, again)
    if len(shape) >= 2 and is_irs2(pixels) and not is_irs2(shape):
        raise ReferenceError(
            f"{given} has {shape[-2]} rows, the exposure the {ny} of IRS2 readout: either the reference is for another readout, "
            "or refpix, which removes the reference samples, was skipped or told to preserve them",
            file=reference.path,
            do="Give a reference for IRS2 readout; don't skip refpix, or stop after it",
        )
    if len(shape) >= 2 and shape[-2:] != pixels:  # the reference was cut by the keywords, so it is they that do not tell the truth
        raise InputError(
            f"its images are {samples[1]} x {samples[0]} pixels, which is not the size that SUBSIZE1 and SUBSIZE2 tell",
            file=exposure.name,
            do="Take the file from the archive again, or correct the keywords",
        )
    raise ReferenceError(f"{given} has the shape {shape}, an image of {nx} x {ny} pixels was expected", reference.path, again)
