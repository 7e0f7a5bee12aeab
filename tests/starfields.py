"""Small calibrated images of made stars, dithered: what the steps that align and match them are tested with."""

import copy
from functools import cache

import numpy as np
from scipy.special import erf

import sky
from jwcal.model.exposure import Members
from jwcal.steps import assign_wcs

SHAPE = 300, 300
GROUP = {"PROGRAM": "01234", "OBSERVTN": "001", "VISIT": "001", "VISITGRP": "02", "SEQ_ID": "1", "ACT_ID": "01"}
RA, DEC = sky.POINTING["RA_REF"], sky.POINTING["DEC_REF"]
NOISE = 0.02  # MJy/sr, a pixel


def exposure(folder, number=0, step=(0.0, 0.0, 0.0), shape=SHAPE, detector="NRCA1"):
    """An image without pixels, with its WCS: `step` is its offset to the east and north in arcsec, and its turn in degrees."""
    return copy.deepcopy(_exposure(folder, number, tuple(step), shape, detector))


@cache
def _exposure(folder, number, step, shape, detector):
    siaf = sky.aperture("NIRCam", f"{detector}_FULL")
    rows, columns = shape
    east, north, turn = step
    at = {"SUBSTRT1": int(siaf.XSciRef) - columns // 2, "SUBSTRT2": int(siaf.YSciRef) - rows // 2, "SUBARRAY": "SUB320"}
    pointing = {"RA_REF": (RA + east / 3600 / np.cos(np.radians(DEC))) % 360, "DEC_REF": DEC + north / 3600}
    pointing["ROLL_REF"] = sky.POINTING["ROLL_REF"] + turn
    about = {"EXP_TYPE": "NRC_IMAGE", "FILTER": "F200W", "PUPIL": "CLEAR", "CHANNEL": "SHORT", "MODULE": "A", "EXPOSURE": str(number + 1)}
    about |= {"EXPSTART": 59800.0 + number, "EXPMID": 59800.001 + number, "EXPEND": 59800.002 + number, "DATE-OBS": "2022-08-01"}
    about |= {"EFFEXPTM": 100.0, "TMEASURE": 95.0, "TIME-OBS": "11:22:33.444", "DATE": "2024-01-01T00:00:00.000"}
    made = sky.exposure(siaf, shape, **{**at, **pointing, **GROUP, **about})
    header = made.header
    header.name = f"jw01234001001_02101_{number + 1:05d}_{detector.lower()}_cal.fits"
    header["FILENAME"] = header.name
    made.pixels[0].header = header.sci
    header.sci["BUNIT"] = "MJy/sr"
    assign_wcs.apply(made, sky.references(folder, made, sky.distortion(siaf)), sip_approx=False)
    made.suffix = "cal"
    made.sci = np.zeros(shape, "f4")
    made.err = np.full(shape, NOISE, "f4")
    made.dq = np.zeros(shape, np.uint32)
    made.var_poisson, made.var_rnoise, made.var_flat = (np.full(shape, NOISE**2 * share, "f4") for share in (0.3, 0.7, 0.0))
    return made


def stars(count=40, field=3.6, seed=1, apart=0.5):
    """Positions [deg] of stars in a square of +-field arcsec about the pointing, no two of them closer than `apart` arcsec."""
    random, places = np.random.default_rng(seed), []
    while len(places) < count:
        place = random.uniform(-field, field, 2)
        if all(np.hypot(*(place - other)) > apart for other in places):
            places.append(place)
    east, north = np.transpose(places)
    return RA + east / 3600 / np.cos(np.radians(DEC)), DEC + north / 3600


def add_stars(image, wcs, ra, dec, flux=20.0, fwhm=2.2):
    """Add round Gaussians, integrated over the pixels, where `wcs` sees them; flux is the sum of pixel values."""
    x, y = wcs.invert(ra, dec, with_bounding_box=False)
    rows, columns = image.sci.shape
    root = fwhm / 2.3548 * np.sqrt(2)
    for one, (cx, cy) in zip(np.broadcast_to(flux, np.shape(x)), np.transpose([x, y]), strict=True):
        if -20 < cx < columns + 20 and -20 < cy < rows + 20:
            across, along = (np.diff(erf((np.arange(n + 1) - 0.5 - c) / root)) / 2 for n, c in ((columns, cx), (rows, cy)))
            image.sci += (one * np.outer(along, across)).astype("f4")


def images(folder, steps, truth=None, seed=5, noise=NOISE, level=0.3, places=None, flux=20.0, fwhm=2.2):
    """Dithered images: headers say `steps`, the telescope looks at `truth` (the same if None)."""
    made = []
    ra, dec = stars() if places is None else places
    for number, step in enumerate(steps):
        image = exposure(folder, number, step)
        looks = image.wcs if truth is None else exposure(folder, number, truth[number]).wcs
        random = np.random.default_rng((seed, number))
        image.sci += np.float32(level)
        add_stars(image, looks, ra, dec, flux, fwhm)
        image.sci += random.normal(0, noise, image.sci.shape).astype("f4") if noise else 0
        image.truth = looks
        made.append(image)
    return made


def members(exposures):
    return Members([(one, "science") for one in exposures], name="jw01234-o001_t001_nircam_f200w", asn_id="o001")
