"""Images: the grating wheel's mirror in place of a disperser, and whatever lets light through the plane of the slits."""

from astropy.modeling.models import Const1D, Identity, Mapping, Scale
from gwcs import WCS
from stdatamodels.jwst.transforms.models import DirCos2Unitless, Unitless2DirCos

from ..telescope import field_to_sky, whole_pixels, without_aberration
from .frames import detector_frame, grating_frame, image_frame
from .optics import MICRON, named


def imaging_wcs(optics, shape):
    """The gWCS of an image: detector, sca, gwa, msa, oteip, v2v3, v2v3vacorr, world; that of a lamp ends at msa.

    Where optics depend on the wavelength, that in the middle of the filter is taken; it is the third coordinate of msa.

    Parameters
    ----------
    optics : optics.Optics
    shape : tuple
        Of the pixels, (..., row, col).

    Returns
    -------
    gwcs.WCS
        Pixels of the subarray to ICRS [deg], with its inverse and a bounding box.
    """
    steps = [
        (detector_frame(), optics.from_pixels()),
        (detector_frame("sca"), optics.from_camera),
        (grating_frame(), _to_plane(optics)),
    ]
    last = image_frame("msa")
    if not optics.lamp:
        fore, ote = optics.model("fore"), optics.model("ote")
        to_field = ote.copy()
        steps += [
            (
                image_frame("msa"),
                named(_without_wavelength(fore, optics.middle), "msa2oteip", ("x_msa", "y_msa", "lam"), ("x_ote", "y_ote")),
            ),
            (image_frame("oteip"), named(to_field, "oteip2v23", ("x_ote", "y_ote"), ("v2", "v3"))),
            (image_frame("v2v3"), named(without_aberration(optics.header), "va_corr", ("v2", "v3"), ("v2", "v3"))),
            (image_frame("v2v3vacorr"), named(field_to_sky(optics.header), "v2v3_to_sky", ("v2", "v3"), ("ra", "dec"))),
        ]
        last = image_frame("world")
    wcs = WCS([*steps, (last, None)])
    wcs.bounding_box = whole_pixels(shape)
    return wcs


def _to_plane(optics):
    """Directions at the mirror to the plane of the slits [m] and a wavelength; its inverse takes the wavelength too, and ignores it."""
    through = Scale(-1) & Scale(-1) & Identity(1)
    turned = optics.disperser.rotation()
    wavelength = optics.middle * (MICRON if optics.lamp else 1)
    model = through | turned.inverse | DirCos2Unitless(name="directional_cosines2unitless") | optics.collimator
    model |= Mapping((0, 1, 1)) | Identity(2) & Const1D(wavelength)
    model.inverse = Mapping((0, 1), n_inputs=3) | optics.collimator.inverse | Unitless2DirCos() | turned | through
    return named(model, "gwa2msa", ("angle1", "angle2", "angle3"), ("x_msa", "y_msa", "lam"))


def _without_wavelength(fore, wavelength):
    """(x, y, wavelength) in the plane of the slits to (x, y) behind the telescope; backwards at one wavelength [m]."""
    model = Mapping((0, 1, 2)) | fore
    at_once = Mapping((0, 1, 1)) | Identity(2) & Const1D(wavelength)
    model.inverse = at_once | fore.inverse | at_once
    return model
