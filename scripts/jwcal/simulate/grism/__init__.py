"""Slitless spectra behind grisms as raw exposures with known truth: wide fields with their direct images, and NIRCam's time series.

    from jwcal.simulate import grism

    made = grism.expose_series("folder")                     # a transit behind NIRCam's GRISMR
    field = grism.expose_field("other", grism.NIRISS)        # direct images, GR150C and GR150R; point sources and galaxies that overlap
    field.sources[0].spectrum, field.places                  # Jy, and the pixel where each source's direct image fell in each exposure

A source whose direct image is at (x0, y0) [pixels from 0] has the light of wavelength w in order m at (x0 + dx, y0 + dy), with dx and dy
polynomials in t whose coefficients are linear in x0 and y0, as grism configurations have it (Pirzkal & Ryan 2017, STScI-ISR; NIRCam's
dispersion: Greene et al. 2017, JATIS 3, 035001; NIRISS's: Willott et al. 2022, PASP 134, 025002). t goes from 0 at one wavelength to 1
at another. NIRCam's step along the dispersion is linear in t and the same everywhere, and its wavelengths are a polynomial in t that
depends on the place. NIRISS's polynomials are those for one position of the filter wheel: (dx, dy) turn with it. The instruments here are
made up, with the real ones' figures.

Light: a source of F Jy gives F 1e-6 / PIXAR_SR / C(w) DN/s a micron, with C the photom reference's conversion [(MJy/sr) micron / (DN/s)].
Spectra are those at the barycentre: the telescope's velocity shifts them as VELOSYS says. The line spread function is the PSF, and the
shape of a galaxy.
"""

from .field import FIELDS, FieldMade, Target, expose_field
from .light import disperse
from .optics import MIRI, NIRCAM, NIRISS, SERIES, Grism, Order
from .references import look_references, sky_template, write_references
from .series import SeriesMade, expose_series
from .stripes import StripesMade, expose_stripes

__all__ = [
    "FIELDS",
    "MIRI",
    "NIRCAM",
    "NIRISS",
    "SERIES",
    "FieldMade",
    "Grism",
    "Order",
    "SeriesMade",
    "StripesMade",
    "Target",
    "disperse",
    "expose_field",
    "expose_series",
    "expose_stripes",
    "look_references",
    "sky_template",
    "write_references",
]
