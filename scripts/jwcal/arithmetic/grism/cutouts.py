"""A part of a grism's image, with the keywords that say of what it is."""

import numpy as np
from astropy.io.fits import Header

from ...model.exposure import Pixels

PLANES = ("sci", "err", "dq", "var_poisson", "var_rnoise", "var_flat")


def cut(pixels, rows, columns):
    """Copies of the planes of a part: `Pixels`, with an empty header."""
    planes = {name: getattr(pixels, name) for name in PLANES}
    own = {name: np.ascontiguousarray(plane[..., rows, columns]).copy() for name, plane in planes.items() if plane is not None}
    return Pixels(header=Header(), **own)


def describe(header, *, name, order, axis, rows, columns, source, place, unit):
    """Set the keywords of a cut-out.

    Parameters
    ----------
    header : astropy.io.fits.Header
    name : str
        Of the slit.
    order : int
    axis : int
        DISPAXIS.
    rows, columns : slice
        Of the exposure.
    source : int
        Number of the source.
    place : (float, float), optional
        Of the undispersed source: x, y.
    unit : str
        BUNIT.
    """
    header["SLTNAME"] = (name, "Slit name")
    header["SLTSTRT1"] = (columns.start + 1, "Starting pixel in axis 1 direction")
    header["SLTSIZE1"] = (columns.stop - columns.start, "Number of pixels in axis 1 direction")
    header["SLTSTRT2"] = (rows.start + 1, "Starting pixel in axis 2 direction")
    header["SLTSIZE2"] = (rows.stop - rows.start, "Number of pixels in axis 2 direction")
    header["SOURCEID"] = (int(source), "Source ID number")
    if place is not None:
        header["SRCXPOS"] = (float(place[0]), "Source position in slit (x-axis)")
        header["SRCYPOS"] = (float(place[1]), "Source position in slit (y-axis)")
    header["SPORDER"] = (int(order), "Spectral order number")
    header["DISPAXIS"] = (int(axis), "Dispersion direction")
    header["SPECSYS"] = ("BARYCENT", "Spectral reference frame")
    if unit is not None:
        header["BUNIT"] = (unit, "physical units of the array values")
