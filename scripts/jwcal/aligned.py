"""A reference's image and flags on exactly the pixels of an exposure, as kernels need them: they do not look at shapes again."""

import numpy as np

from .errors import InputError, ReferenceError


def image(reference, exposure, extname="SCI"):
    """An image of a reference, one value a pixel of the exposure.

    Parameters
    ----------
    reference : reference_data.Reference
    exposure : Exposure
        Or a block of it.
    extname : str

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
        check(in_file, reference, exposure, extname)
    array = reference.array(extname)
    check(array.shape, reference, exposure, extname)
    return array.astype(np.float32, copy=False)


def bits(reference, exposure, extname="DQ"):
    """The data quality of a reference with the standard bits, (row, col) uint32; zeros where it has none. Raises as `image` does."""
    flags = reference.dq(extname)
    check(flags.shape, reference, exposure, extname)
    return flags


def check(shape, reference, exposure, extname):
    """Raise as `image` does unless this, the shape of a reference's extension after its cut, is that of the exposure's pixels."""
    pixels = exposure.sci.shape[-2:]
    if shape == pixels:
        return
    ny, nx = pixels
    if len(shape) >= 2 and shape[-2:] != pixels:  # the reference was cut by the keywords, so it is they that do not tell the truth
        layout = " (NIRSpec's IRS2 readout is not supported yet)" if exposure.header.get("NRS_NORM") else ""
        raise InputError(
            f"its images are {nx} x {ny} pixels, which is not the size that SUBSIZE1 and SUBSIZE2 tell{layout}",
            file=exposure.name,
            do="Take the file from the archive again, or correct the keywords",
        )
    raise ReferenceError(
        f"the {reference.type} reference's {extname} has the shape {shape}, an image of {nx} x {ny} pixels was expected",
        file=reference.path,
        do=f"Give another {reference.type} reference under references: overrides, or take the one from CRDS",
    )
