"""MIRI's low resolution spectrometer: a prism that spreads light along the columns, behind a slit or without one."""

from math import ceil, floor

import numpy as np
from astropy.modeling.models import Const1D, Identity, Mapping, Scale, Shift, Tabular1D
from scipy.interpolate import UnivariateSpline

from ...vocabulary.errors import ReferenceError
from .footprint import polygon
from .spectral import slit_wcs, to_barycentre
from .telescope import subarray_to_full

SMOOTHING = 0.002  # sum of squared residuals [pixel^2 or micron^2] that the splines through trace and wavelengths may leave
REFERENCE_COLUMNS = 4  # at the detector's left edge: they see no light

PLACE = {False: ("IMX", "IMY"), True: ("IMXSLTL", "IMYSLTL")}  # slitless -> keywords of the place that the table counts from
COLUMNS = ("X_CENTER", "Y_CENTER", "WAVELENGTH", "X0", "Y0", "X1", "Y2")
CORNERS = [f"V{axis}VERT{corner}" for axis in (2, 3) for corner in (1, 2, 3, 4)]


def lrs_wcs(header, distortion, specwcs, *, slitless):
    """The gWCS of an exposure with the prism.

    All pixels of a row have one wavelength. The trace of a point source at the reference place (x0, y0) is at x0 + dx(y); alpha is a
    pixel's distance from the trace, times the pixel scale at (x0, y0), and the pixel looks where (x0 + alpha / scale, y0) would in an
    image. Outside the rows of the table there is no wavelength.

    Parameters
    ----------
    header : exposure.Header
        Pointing, subarray, and VELOSYS.
    distortion : Reference
        Its tree has `model`: full-frame pixels, counted from 0, to V2, V3 [arcsec].
    specwcs : Reference
        Its WAVETABLE has the trace and the wavelength by row, in pixels from (IMX, IMY), slitless from (IMXSLTL, IMYSLTL), counted from 1.
    slitless : bool

    Returns
    -------
    gwcs.WCS
        Pixels of the subarray to ICRS [deg] and wavelength [micron], with its inverse and a bounding box.

    Raises
    ------
    InputError
        A pointing keyword is missing.
    ReferenceError
        A reference does not hold what it should.
    """
    to_field = _image_to_field(header, distortion)
    x0, y0 = _reference_place(header, specwcs, slitless)
    table = _wavetable(specwcs)
    (v2, v2_next), (v3, v3_next) = to_field([x0, x0 + 1], [y0, y0])
    scale = float(np.hypot(v2_next - v2, v3_next - v3))
    y = table["Y_CENTER"]
    trace = _smooth(y, table["X_CENTER"], "trace")
    wavelength = _smooth(y + y0, table["WAVELENGTH"], "wavelength")
    velocity = to_barycentre(header)
    if velocity is not None:
        wavelength = wavelength | velocity
    box = _box(header, table, x0, y0, slitless)
    return slit_wcs(header, _to_slit(trace, wavelength, x0, y0, scale), _slit_to_field(to_field, x0, y0, scale), box)


def slit_region(wcs, specwcs):
    """S_REGION of the slit, from the corners (V2VERT1, V3VERT1...) [arcsec] that the reference has; None if it has none."""
    corners = [specwcs.header.get(key) for key in CORNERS]
    if None in corners:
        return None
    to_sky = wcs.get_transform("v2v3", "world")
    ra, dec, _ = to_sky(corners[:4], corners[4:], np.zeros(4))
    return polygon(np.transpose([ra, dec]))


def pointed_at(header, wcs):
    """Where on the sky a target is that the dither has moved by XOFFSET, YOFFSET [arcsec] in the slit's ideal frame.

    Returns
    -------
    (float, float) or None
        ICRS [deg]; None without offsets.
    """
    x, y = header.get("XOFFSET"), header.get("YOFFSET")
    if x is None or y is None:
        return None
    angle, x = np.radians(header["V3I_YANG"]), x * header["VPARITY"]
    v2 = header["V2_REF"] + x * np.cos(angle) + y * np.sin(angle)
    v3 = header["V3_REF"] - x * np.sin(angle) + y * np.cos(angle)
    ra, dec, _ = wcs.get_transform("v2v3", "world")(v2, v3, 0.0)
    return float(ra), float(dec)


def _image_to_field(header, distortion):
    """From the subarray's pixels to V2, V3, as in an image."""
    try:
        to_field = distortion.tree["model"].copy()
    except KeyError:
        raise ReferenceError("the distortion reference has no model", distortion.path, "Give a distortion reference that has one") from None
    to_full = subarray_to_full(header)
    return to_field if to_full is None else to_full | to_field


def _reference_place(header, specwcs, slitless):
    """The pixel (x0, y0) of the subarray, counted from 0, from which the table counts."""
    place = [specwcs.header.get(key) for key in PLACE[slitless]]
    if None in place:
        missing = " and ".join(PLACE[slitless])
        raise ReferenceError(f"the specwcs reference does not have {missing}", specwcs.path, "Give a specwcs reference that has them")
    x, y = (float(value) - 1 for value in place)
    return x - (header.get("SUBSTRT1", 1) - 1), y - (header.get("SUBSTRT2", 1) - 1)


def _wavetable(specwcs):
    """The table's columns by name, with rising Y_CENTER."""
    rows = specwcs.table("WAVETABLE")
    names = {name.upper(): name for name in rows.dtype.names}
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise ReferenceError(
            f"the specwcs reference's WAVETABLE has no column {', '.join(missing)}", specwcs.path, "Give a specwcs reference that has one"
        )
    rows = np.sort(rows, order=names["Y_CENTER"])
    table = {name: rows[names[name]].astype(float) for name in COLUMNS}
    y = table["Y_CENTER"]
    if y.size < 4 or not (np.diff(y) > 0).all() or not all(np.isfinite(column).all() for column in table.values()):
        raise ReferenceError(
            f"the specwcs reference's WAVETABLE is no trace: four or more finite rows, each Y_CENTER once, are expected, it has {y.size}",
            specwcs.path,
            "Give another specwcs reference",
        )
    return table


def _smooth(y, values, name):
    """A function of y: a smoothing spline through the values, taken at y and linear in between; NaN outside."""
    at_rows = UnivariateSpline(y, values, s=SMOOTHING)(y)
    return Tabular1D(points=y, lookup_table=at_rows, bounds_error=False, fill_value=np.nan, name=name)


def _to_slit(trace, wavelength, x0, y0, scale):
    """(x, y) -> (alpha, beta, wavelength). The reference place is in the first two shifts: who needs it finds it there."""
    first, second = Mapping((0,), n_inputs=2), Mapping((1,), n_inputs=2)
    along = (first - (second | trace)) | Scale(scale)
    in_slit = Shift(-x0) & Shift(-y0) | Mapping((0, 1, 1)) | along & Const1D(0.0)
    model = Mapping((0, 1, 1)) | in_slit & wavelength
    to_row = wavelength.inverse
    to_column = (first + (second | Shift(-y0) | trace)) | Shift(x0)
    model.inverse = Mapping((0, 2), n_inputs=3) | Scale(1 / scale) & to_row | Mapping((0, 1, 1)) | to_column & Identity(1)
    return model


def _slit_to_field(to_field, x0, y0, scale):
    """(alpha, beta, wavelength) -> (V2, V3, wavelength)."""
    to_pixel = Scale(1 / scale) & Scale(1 / scale) | Shift(x0) & Shift(y0)
    model = (to_pixel | to_field) & Identity(1)
    model.inverse = (to_field.inverse | to_pixel.inverse) & Identity(1)
    return model


def _box(header, table, x0, y0, slitless):
    """The pixels that the table is for; without a slit all columns but the reference pixels, and all rows that it touches."""
    if not slitless:
        rows = table["Y_CENTER"] + y0
        return (floor(table["X0"].min() + x0) - 0.5, ceil(table["X1"].max() + x0) + 0.5), (rows[0], rows[-1])
    left = max(0, REFERENCE_COLUMNS - (int(header.get("SUBSTRT1", 1)) - 1))
    rows = floor(table["Y2"].min() + y0) - 0.5, ceil(table["Y0"].max() + y0) + 0.5
    return (left - 0.5, int(header["SUBSIZE1"]) - 0.5), rows
