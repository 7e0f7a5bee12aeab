"""The coordinate frames of a NIRSpec WCS, by name: those that the archive's products have."""

from astropy import units as u
from astropy.coordinates import ICRS
from gwcs.coordinate_frames import CelestialFrame, CompositeFrame, Frame2D, SpectralFrame


def detector_frame(name="detector"):
    """Pixels: "detector" of the exposure or cut-out, "sca" of the detector as it is read."""
    return Frame2D(name=name, axes_order=(0, 1))


def grating_frame():
    """Directions at the disperser."""
    return Frame2D(name="gwa", axes_order=(0, 1), unit=(u.rad, u.rad), axes_names=("alpha_in", "beta_in"))


def frame(name):
    """A frame with a wavelength.

    "slit_frame": in a slit, its open height and width are 1; "slicer"; "msa_frame": the plane of the slits; "oteip": behind the telescope;
    "oteip_chromcorr"; "v2v3" and "v2v3vacorr": field angles with and without velocity aberration; "world".
    """
    wavelength = SpectralFrame(name="spectral", axes_order=(2,), unit=(u.micron,), axes_names=("wavelength",))
    if name == "world":
        plane = CelestialFrame(name="sky", axes_order=(0, 1), reference_frame=ICRS())
    else:
        label, unit, axes = PLANES[name]
        plane = Frame2D(name=label, axes_order=(0, 1), unit=(unit, unit), axes_names=axes)
    return CompositeFrame([plane, wavelength], name=name)


PLANES = {  # name: name of its plane, unit, axes
    "slit_frame": ("slit_spatial", u.dimensionless_unscaled, ("x_slit", "y_slit")),
    "slicer": ("slicer_spatial", u.dimensionless_unscaled, ("x_slicer", "y_slicer")),
    "msa_frame": ("msa_spatial", u.m, ("x_msa", "y_msa")),
    "oteip": ("oteip", u.deg, ("X_OTEIP", "Y_OTEIP")),
    "oteip_chromcorr": ("oteip", u.deg, ("X_OTEIP", "Y_OTEIP")),
    "v2v3": ("v2v3_spatial", u.arcsec, ("v2", "v3")),
    "v2v3vacorr": ("v2v3vacorr_spatial", u.arcsec, ("v2", "v3")),
}


def image_frame(name):
    """A frame of an image, without a wavelength but for "msa"."""
    if name == "world":
        return CelestialFrame(name="world", axes_order=(0, 1), reference_frame=ICRS())
    unit, axes = {
        "msa": (u.m, ("x_msa", "y_msa")),
        "oteip": (u.deg, ("x_oteip", "y_oteip")),
        "v2v3": (u.arcsec, ("v2", "v3")),
        "v2v3vacorr": (u.arcsec, ("v2", "v3")),
    }[name]
    return Frame2D(name=name, axes_order=(0, 1), unit=(unit, unit), axes_names=axes)
