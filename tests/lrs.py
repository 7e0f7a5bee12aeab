"""Exposures of MIRI's low resolution spectrometer with references: real ones, or a trace and wavelengths made by hand."""

from pathlib import Path

import numpy as np
from astropy.io import fits

import sky
from jwcal.model.references import References
from jwcal.simulate.spectrograph import write_specwcs

SLITLESS = sky.SHARED / "real/miri_lrs_slitless"
REAL = sky.SHARED / "real/references/miri"
DISTORTION = SLITLESS / "jwst_miri_distortion_0028.asdf"

# of the real specwcs: the slit's place and, slitless, the subarray's
IMX, IMY, IMXSLTL, IMYSLTL = 326.13, 300.7, 38.5, 829.0
CORNERS = {"V2VERT1": -412.64, "V2VERT2": -417.37, "V2VERT3": -417.32, "V2VERT4": -412.6}
CORNERS |= {"V3VERT1": -400.97, "V3VERT2": -400.55, "V3VERT3": -400.03, "V3VERT4": -400.46}
WAVELENGTHS = 11.0, -0.025, -2e-5  # micron at the place, and a row, and a row squared
SLOPE = 0.006  # pixels by which the trace moves a row


SUBSLIT = {"SUBARRAY": "SUBSLIT", "SUBSTRT1": 301, "SUBSTRT2": 8, "SUBSIZE1": 140, "SUBSIZE2": 384}


def exposure(slitless, velocity=None, shape=None, **keywords):
    """A rate image of zeros, slitless integrations."""
    about = {"INSTRUME": "MIRI", "FILTER": "P750L", "EXP_TYPE": f"MIR_LRS-{'SLITLESS' if slitless else 'FIXEDSLIT'}"}
    if slitless:
        about |= {"SUBARRAY": "SLITLESSPRISM", "SUBSTRT1": 1, "SUBSTRT2": 529, "SUBSIZE1": 72, "SUBSIZE2": 416}
    shape = shape or ((2, 416, 72) if slitless else (1024, 1032))
    made = sky.exposure(aperture(), shape, **{**about, **keywords})
    if velocity is not None:
        made.header.sci["VELOSYS"] = velocity
    return made


def aperture():
    """The imager's: the prism's light goes through its optics."""
    return sky.aperture("MIRI", "MIRIM_FULL")


def trace(y):
    """Where a trace is in rows from the place: columns from the place [pixel], and wavelength [micron]."""
    return SLOPE * y, np.polynomial.polynomial.polyval(y, WAVELENGTHS)


def specwcs(path, corners=True, without=()):
    """A specwcs reference with that trace, from row 90 above the place to 280 below it."""
    shape = {"rows": (-280, 90), "trace": (0, 100 * SLOPE), "wavelength": [c * 100**n for n, c in enumerate(WAVELENGTHS)]}
    place = {"IMX": IMX, "IMY": IMY, "IMXSLTL": IMXSLTL, "IMYSLTL": IMYSLTL}
    write_specwcs(path, **shape, place={key: value for key, value in place.items() if key not in without}, more=CORNERS if corners else {})
    with fits.open(path, mode="update") as hdus:
        for name in set(without) - set(place):
            hdus["WAVETABLE"].columns.del_col(name)
    return Path(path)


def small(folder, slitless, velocity=None, given=None, **keywords):
    """An exposure and references made by hand; the distortion is the SIAF's."""
    made = exposure(slitless, velocity, **keywords)
    refs = sky.references(folder, made, sky.distortion(aperture()))
    files = {"distortion": refs["distortion"].path, "specwcs": specwcs(Path(folder, "specwcs.fits"), **(given or {}))}
    return made, References(files, made.header)
