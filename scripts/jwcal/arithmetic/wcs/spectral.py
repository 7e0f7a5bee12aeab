"""What the WCS of all spectrographs have in common: frames with a wavelength, the pipeline from field to sky, the barycentre's velocity."""

import logging

from astropy import units as u
from astropy.constants import c
from astropy.coordinates import ICRS
from astropy.modeling.models import Const1D, Identity
from gwcs import WCS
from gwcs.coordinate_frames import CelestialFrame, CompositeFrame, Frame2D, SpectralFrame

from .telescope import detector_frame, field_to_sky, without_aberration

log = logging.getLogger(__name__)


def slit_frame():
    """Along and across a slit or slice, alpha and beta [arcsec], and wavelength [micron]."""
    return _with_wavelength("alpha_beta", _plane("alpha_beta_spatial", ("alpha", "beta")), "alpha_beta_spectral")


def field_frame(name):
    """Field angles V2, V3 [arcsec], "v2v3" as seen, "v2v3vacorr" without velocity aberration, and wavelength [micron]."""
    return _with_wavelength(name, _plane(f"{name}_spatial", ("v2", "v3")))


def sky_frame():
    """ICRS [deg] and wavelength [micron]."""
    icrs = CelestialFrame(name="icrs", reference_frame=ICRS(), axes_order=(0, 1), unit=(u.deg, u.deg), axes_names=("RA", "DEC"))
    return _with_wavelength("world", icrs)


def _plane(name, axes):
    return Frame2D(name=name, axes_order=(0, 1), unit=(u.arcsec, u.arcsec), axes_names=axes)


def _with_wavelength(name, plane, spectral="spec"):
    wavelength = SpectralFrame(name=spectral, axes_order=(2,), unit=(u.micron,), axes_names=("lambda",))
    return CompositeFrame([plane, wavelength], name=name)


def slit_wcs(header, to_slit, to_field, box):
    """The gWCS of a spectrograph: detector -> alpha_beta -> v2v3 -> v2v3vacorr -> world, all but the first with a wavelength.

    Parameters
    ----------
    header : exposure.Header
        Pointing: V2_REF, V3_REF [arcsec], ROLL_REF, RA_REF, DEC_REF [deg], VA_SCALE.
    to_slit : Model
        Pixels, counted from 0, to alpha, beta [arcsec], wavelength [micron], with its inverse.
    to_field : Model
        alpha, beta, wavelength to V2, V3 [arcsec], wavelength, with its inverse.
    box : ((x0, x1), (y0, y1))
        Pixels inside which the WCS holds.

    Returns
    -------
    gwcs.WCS

    Raises
    ------
    InputError
        A pointing keyword is missing or wrong.
    """
    wcs = WCS(
        [
            (detector_frame(), to_slit),
            (slit_frame(), to_field),
            (field_frame("v2v3"), without_aberration(header) & Identity(1)),
            (field_frame("v2v3vacorr"), field_to_sky(header) & Identity(1)),
            (sky_frame(), None),
        ]
    )
    wcs.bounding_box = box
    return wcs


def to_barycentre(header):
    """From the wavelength as observed to that at the solar system's barycentre, with its inverse; None without a velocity.

    lambda / (1 + v / c): v is VELOSYS [m/s], positive where the telescope recedes from the source (Greisen et al. 2006, A&A 446, 747).
    """
    velocity = header.get("VELOSYS")
    if velocity is None:
        log.info("No VELOSYS: the wavelengths are the telescope's, not the barycentre's")
        return None
    ratio = 1 / (1 + float(velocity) / c.value)
    model = Identity(1) * Const1D(ratio, name="velocity_correction")
    model.inverse = Identity(1) / Const1D(ratio, name="inv_vel_correction")
    return model
