"""The parts of a WCS that are the observatory's and not an instrument's: from V2, V3 to the sky, aberration, subarrays.

V2 and V3 are the telescope's field angles in arcsec. The header says where one point of the field looks
(V2_REF, V3_REF -> RA_REF, DEC_REF) and how the field is turned there (ROLL_REF, the position angle of V3, north over east).
"""

from astropy import units as u
from astropy.coordinates import ICRS
from astropy.modeling.models import Identity, RotationSequence3D, Scale, Shift
from gwcs.coordinate_frames import CelestialFrame, Frame2D
from gwcs.geometry import CartesianToSpherical, SphericalToCartesian

from ...vocabulary.errors import InputError


def detector_frame():
    """Pixels of the exposure's subarray, counted from 0."""
    return Frame2D(name="detector", axes_order=(0, 1), unit=(u.pix, u.pix))


def field_frame(name):
    """Field angles V2, V3 in arcsec: "v2v3" as seen, "v2v3vacorr" without velocity aberration."""
    return Frame2D(name=name, axes_order=(0, 1), axes_names=("v2", "v3"), unit=(u.arcsec, u.arcsec))


def sky_frame():
    return CelestialFrame(name="world", reference_frame=ICRS())


def field_to_sky(header):
    """The rotation from V2, V3 [arcsec] to right ascension and declination [deg].

    Turn the reference point to the x axis (about z by V2_REF, about y by -V3_REF), roll about it, and turn it to its place
    on the sky (about y by DEC_REF, about z by -RA_REF): JWST-STScI-003222.

    Parameters
    ----------
    header : exposure.Header
        With V2_REF, V3_REF [arcsec], ROLL_REF, RA_REF, DEC_REF [deg].

    Raises
    ------
    InputError
        One of the keywords is missing.
    """
    angles = (header["V2_REF"] / 3600, -header["V3_REF"] / 3600, header["ROLL_REF"], header["DEC_REF"], -header["RA_REF"])
    turn = RotationSequence3D([float(angle) for angle in angles], axes_order="zyxyz")
    to_sky = Scale(1 / 3600) & Scale(1 / 3600) | SphericalToCartesian(wrap_lon_at=180) | turn | CartesianToSpherical(wrap_lon_at=360)
    to_sky.name = "v23tosky"  # by this name tools that refine the pointing know it
    return to_sky


def without_aberration(header):
    """Take the velocity aberration's change of scale out of V2, V3: a scaling about the reference point.

    Parameters
    ----------
    header : exposure.Header
        VA_SCALE is the ratio of the apparent to the true plate scale; where it is absent nothing is done.

    Raises
    ------
    InputError
        VA_SCALE is not a positive number.
    """
    scale = header.get("VA_SCALE", 1.0)
    if not scale > 0:
        raise InputError(f"VA_SCALE is {scale}: a positive ratio is expected", file=header.name, do="Correct the keyword")
    if scale == 1:
        return Identity(2)
    v2, v3 = header.get("V2_REF", 0.0), header.get("V3_REF", 0.0)
    corrected = Scale(scale, name="dva_scale_v2") & Scale(scale, name="dva_scale_v3")
    if (v2, v3) != (0, 0):
        corrected |= Shift((1 - scale) * v2, name="dva_v2_shift") & Shift((1 - scale) * v3, name="dva_v3_shift")
        corrected.name = "DVA_Correction"
    return corrected


def subarray_to_full(header):
    """From the subarray's pixels to the full frame's; None for a full frame."""
    corner = [int(header.get(key, 1)) - 1 for key in ("SUBSTRT1", "SUBSTRT2")]
    if corner == [0, 0]:
        return None
    along_x, along_y = (Shift(start) if start else Identity(1) for start in corner)
    return along_x & along_y


def whole_pixels(shape):
    """The bounding box ((x0, x1), (y0, y1)) that holds every pixel of an array (..., row, col) to its edges."""
    return (-0.5, shape[-1] - 0.5), (-0.5, shape[-2] - 0.5)
