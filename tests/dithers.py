"""Calibrated NIRCam images of a known sky, dithered, through the SIAF's distortion."""

import numpy as np

import sky
from jwcal.steps import assign_wcs

SHAPE = 150, 170  # rows, columns
STEPS = ((0.0, 0.0, 0.0), (0.31, -0.22, 0.0), (-0.17, 0.44, 0.3))  # arcsec, arcsec, degrees
SKY = 0.3  # MJy/sr
# RA and Dec offsets from the pointing in arcsec, and peak in MJy/sr
STARS = ((0.0, 0.0, 200.0), (0.9, 0.6, 80.0), (-1.0, 0.8, 120.0), (0.7, -1.1, 60.0), (-0.8, -0.7, 150.0), (1.6, 0.1, 90.0))
SIGMA = 0.045  # arcsec, of the stars' profile
GROUP = {"PROGRAM": "01234", "OBSERVTN": "001", "VISIT": "001", "VISITGRP": "02", "SEQ_ID": "1", "ACT_ID": "01"}


def star_positions():
    """Right ascension and declination of the stars, degrees."""
    ra, dec = sky.POINTING["RA_REF"], sky.POINTING["DEC_REF"]
    east, north, _ = np.transpose(STARS)
    return ra + east / 3600 / np.cos(np.radians(dec)), dec + north / 3600


def brightness(ra, dec):
    """Surface brightness of the sky, MJy/sr."""
    total = np.full(np.shape(ra), SKY)
    for (_, _, peak), star_ra, star_dec in zip(STARS, *star_positions(), strict=True):
        east, north = (ra - star_ra) * 3600 * np.cos(np.radians(star_dec)), (dec - star_dec) * 3600
        total += peak * np.exp(-(east**2 + north**2) / (2 * SIGMA**2))
    return total


def image(folder, number=0, step=(0.0, 0.0, 0.0), shape=SHAPE, seed=1, noise=True, **keywords):
    """One calibrated exposure; its random bad pixels and noise are those of `seed` and `number`."""
    siaf = sky.aperture("NIRCam", "NRCA1_FULL")
    rows, columns = shape
    east, north, turn = step
    at = {"SUBSTRT1": int(siaf.XSciRef) - columns // 2, "SUBSTRT2": int(siaf.YSciRef) - rows // 2, "SUBARRAY": "SUB160"}
    dec = sky.POINTING["DEC_REF"]
    pointing = {"RA_REF": sky.POINTING["RA_REF"] + east / 3600 / np.cos(np.radians(dec)), "DEC_REF": dec + north / 3600}
    pointing["ROLL_REF"] = sky.POINTING["ROLL_REF"] + turn
    times = {"EFFEXPTM": 100.5, "TMEASURE": 95.25, "DURATION": 107.0}
    times |= {"EXPSTART": 59800.0 + number / 100, "EXPMID": 59800.001 + number / 100, "EXPEND": 59800.002 + number / 100}
    about = {"EXP_TYPE": "NRC_IMAGE", "FILTER": "F200W", "PUPIL": "CLEAR", "CHANNEL": "SHORT", "MODULE": "A", "EXPOSURE": str(number + 1)}
    about |= {"DATE-OBS": f"2022-08-0{number + 1}", "TIME-OBS": "11:22:33.444", "DATE": "2024-01-01T00:00:00.000", "HGA_MOVE": False}
    exposure = sky.exposure(siaf, shape, **{**at, **pointing, **GROUP, **times, **about, **keywords})
    header = exposure.header
    header.name = f"jw01234001001_02101_{number + 1:05d}_nrca1_cal.fits"
    header["FILENAME"] = header.name
    exposure.pixels[0].header = header.sci
    header.sci["BUNIT"] = "MJy/sr"
    header.sci["XPOSURE"], header.sci["TELAPSE"] = 100.5, 107.0
    header.sci["PIXAR_SR"], header.sci["PIXAR_A2"] = 2.29e-14, 0.00097
    assign_wcs.apply(exposure, sky.references(folder, exposure, sky.distortion(siaf)))
    exposure.suffix = "cal"
    _fill(exposure.pixels[0], np.random.default_rng((seed, number)), noise)
    return exposure


def _fill(pixels, random, noise):
    shape = pixels.sci.shape
    y, x = np.indices(shape, dtype=float)
    truth = brightness(*pixels.wcs(x, y))
    pixels.var_rnoise = random.uniform(0.8e-3, 1.2e-3, shape).astype("f4")
    pixels.var_poisson = (1e-3 * truth).astype("f4")
    pixels.var_flat = (1e-6 * truth**2).astype("f4")
    pixels.err = np.sqrt(pixels.var_rnoise + pixels.var_poisson + pixels.var_flat)
    pixels.sci = (truth + noise * random.normal(size=shape) * pixels.err).astype("f4")
    pixels.dq = np.zeros(shape, np.uint32)
    if noise:
        _spoil(pixels, random)


def _spoil(pixels, random):
    """Bad pixels of every kind that there is."""
    shape = pixels.sci.shape
    bad = random.random(shape)
    pixels.dq[bad < 0.01] = 1 + 1024  # DO_NOT_USE, with a value nevertheless
    pixels.sci[bad < 0.005] = np.nan
    pixels.dq[(bad > 0.02) & (bad < 0.03)] = 4  # a jump: good
    pixels.dq[(bad > 0.03) & (bad < 0.032)] = 512  # NON_SCIENCE
    pixels.sci[(bad > 0.04) & (bad < 0.042)] = np.nan  # NaN without a flag
    pixels.var_flat[(bad > 0.05) & (bad < 0.052)] = np.nan
    pixels.var_rnoise[(bad > 0.06) & (bad < 0.062)] = 0
    pixels.var_rnoise[(bad > 0.07) & (bad < 0.071)] = np.inf
    pixels.dq[40:46, 60:67] = 1  # a hole


def images(folder, steps=STEPS, **options):
    """A dithered set."""
    return [image(folder, number, step, **options) for number, step in enumerate(steps)]
