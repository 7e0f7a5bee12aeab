"""One number of a mode's last product beside what was put in: CHECKS says for each kind of simulated program which one."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.io import fits
from astropy.table import QTable, Table
from stdatamodels.jwst import datamodels

from interferograms import companion
from jwcal.report import remains
from jwcal.simulate.exposures import GUIDE_STAR

ARCSEC = 206264.806
PER_PIXEL = 1e6  # MJy/sr times PIXAR_SR -> Jy


class Number(NamedTuple):
    """What was looked at, what is there, what was put in, and how far they may be apart."""

    what: str
    found: float
    truth: float
    within: float


class Products:
    """What one run made, as its plan and its lists of products tell: of some observations, or of all."""

    def __init__(self, results, observations=None):
        self.jobs = [job for job in remains.read(results).jobs if observations is None or not observations.isdisjoint(_observations(job))]

    def files(self):
        """Paths of all of them but the lists."""
        return [one.path for job in self.jobs for one in job.products if one.exists and one.path.suffix != ".csv"]

    def suffixes(self):
        """Suffixes in the order of the stages."""
        return list(dict.fromkeys(_suffix(path) for path in self.files()))

    def pipelines(self):
        return list(dict.fromkeys(job.pipeline for job in self.jobs))

    def all(self, suffix):
        """Paths of a suffix, those of the last stage that has it."""
        found = [path for path in self.files() if _suffix(path) == suffix]
        return [path for path in found if path.parent.name == found[-1].parent.name]

    def first(self, suffix):
        return self.all(suffix)[0]


def _observations(job):
    """The numbers of the observations whose exposures a job reads."""
    return {int(found[1]) for path in job.inputs if (found := re.match(r"jw\d{5}(\d{3})\d{3}_", Path(path).name))}


def _suffix(path):
    return path.name.partition(".")[0].rpartition("_")[2].partition("-0")[0]


def sky_to_pixel(model):
    """A function ra, dec -> x, y of a data model's WCS."""
    return model.meta.wcs.backward_transform


def centroid(image, x, y, half=3):
    """The middle of the light about a place, and the light [units of the image], above the median of the box's edge."""
    x, y = int(round(float(x))), int(round(float(y)))
    rows, columns = (slice(max(at - half, 0), at + half + 1) for at in (y, x))
    near = image[rows, columns]
    edge = np.concatenate([near[0], near[-1], near[1:-1, 0], near[1:-1, -1]])
    near = np.nan_to_num(near - np.nanmedian(edge))
    yy, xx = np.mgrid[rows.start : rows.start + near.shape[0], columns.start : columns.start + near.shape[1]]
    weight = np.clip(near, 0, None)
    return (weight * xx).sum() / weight.sum(), (weight * yy).sum() / weight.sum(), near.sum()


# --- detectors -------------------------------------------------------------------------------------------------------------------


def level(products, truth):
    """Even light on a detector."""
    with fits.open(products.first("rate")) as hdus:
        good = (hdus["DQ"].data == 0) & np.isfinite(hdus["SCI"].data)
        found = float(np.median(hdus["SCI"].data[good]))
    return Number("count rate [DN/s]", found, truth.rate, 0.5 + 0.002 * truth.rate)


def darkness(products, truth):
    """The slope of a dark's ramp, in which the detector's own current is left."""
    with datamodels.open(str(products.first("dark"))) as model:
        ramp, usable = model.data[0], ((model.groupdq[0] & 1) == 0).mean(axis=(1, 2)) > 0.5
        first, last = np.flatnonzero(usable)[[0, -1]]
        good = (model.pixeldq == 0) & (model.groupdq[0, [first, last]] == 0).all(axis=0)
        found = np.median((ramp[last] - ramp[first])[good]) / (last - first) / model.meta.exposure.group_time
    return Number("count rate of the dark [DN/s]", float(found), 0.0, 1.0)


def guide_star(products, truth):
    """The light of a guide star in what the guider has read twice, where it is a twentieth of the brightest pixel's or more."""
    path = products.first("cal")
    with datamodels.open(str(path)) as model, fits.open(truth.files[0]) as put_in:
        readout = model.meta.exposure
        summed = readout.nframes // (readout.frame_divisor or 1) * (4 if readout.ngroups == 8 else 1)
        data, flags = (array if array.ndim == 3 else array[None] for array in (model.data, model.dq))
        good = (flags == 0).all(axis=0)
        image, light = data.mean(axis=0) / summed, put_in["RATE"].data * truth.rate / GUIDE_STAR
        lit = good & (light > light[good].max() / 20)
        level = np.median(image[good & ~lit]) if image.size > 100 else 0.0  # of a star that fills its box there is no level beside it
    return Number("light of the guide star over truth", float((image - level)[lit].sum() / light[lit].sum()), 1.0, 0.1)


# --- images ----------------------------------------------------------------------------------------------------------------------


def star(products, truth):
    """Where the only star is, by the WCS of the calibrated image."""
    return _place(products.first("cal"), truth)


def moving(products, truth):
    """Where the target is in the mosaic that goes with it: at the middle of the places that it had."""
    places = []
    for path in truth.files:
        seen = Table.read(path, "CATALOG")
        places.append([seen[name][np.argmax(seen["flux"])] for name in ("ra", "dec")])
    return _place(products.first("i2d"), truth, np.mean(places, axis=0))


def pair(products, truth):
    """Where the star is in the sum of a pair."""
    return _place(products.first("wfscmb"), truth)


def _place(path, truth, place=None):
    brightest = truth.stars[np.argmax(truth.stars["flux"])]
    ra, dec = place if place is not None else (brightest["ra"], brightest["dec"])
    with datamodels.open(str(path)) as model:
        image = model.data if model.dq is None else np.where(model.dq & 1 == 0, model.data, np.nan)
        image = image if image.ndim == 2 else np.nanmean(image, axis=0)
        x, y = sky_to_pixel(model)(ra, dec)
        found_x, found_y, _ = centroid(image, x, y)
    return Number("the star's distance from its place [pixel]", float(np.hypot(found_x - x, found_y - y)), 0.0, 0.2)


def mosaic(products, truth):
    """Fluxes in the catalogue of a mosaic."""
    catalogue, stars = QTable.read(products.first("cat")), truth.stars
    position = catalogue["sky_centroid"]
    ra, dec = position.ra.deg, position.dec.deg
    away = np.hypot((ra[:, None] - stars["ra"]) * np.cos(np.radians(dec[:, None])), dec[:, None] - stars["dec"]) * 3600
    nearest = away.argmin(axis=1)
    matched = away[np.arange(len(ra)), nearest] < 0.1
    bright = matched & (catalogue["aper_total_flux"].value / catalogue["aper_total_flux_err"].value > 20) & ~catalogue["is_extended"]
    assert bright.sum() >= 5
    ratio = catalogue["aper_total_flux"].to_value("Jy")[bright] / np.asarray(stars["flux"])[nearest[bright]]
    return Number("flux over truth, median of the stars", float(np.median(ratio)), 1.0, 0.01)


# --- series ----------------------------------------------------------------------------------------------------------------------


def depth_of(light, truth, what):
    """What a transit takes from a light curve that is taken evenly: its middle against what is before and after."""
    phase = np.abs((np.arange(len(light)) + 0.5) / len(light) - 0.5)
    found = 1 - np.mean(light[phase <= 0.14]) / np.mean(light[phase >= 0.2])
    return Number(what, float(found), truth.depth, 0.1 * truth.depth)


def transit_of_images(products, truth):
    """A transit in the star's aperture."""
    return depth_of(QTable.read(products.first("phot"))["net_aperture_sum"].value, truth, "depth of the transit in the aperture")


def transit_of_spectra(products, truth):
    """A transit in white light, of the first order."""
    table = QTable.read(products.first("whtlt"))
    column = next(name for name in table.colnames if name.startswith("whitelight_flux"))
    return depth_of(np.asarray(table[column]), truth, "depth of the transit in white light")


# --- spectra ---------------------------------------------------------------------------------------------------------------------


def spectra(path):
    """Wavelength [micron] and flux [Jy] of a file's point sources, those of tables with a spectrum a row one after the other."""
    with fits.open(path) as hdus:
        for table in (hdu.data for hdu in hdus if hdu.name in ("EXTRACT1D", "COMBINE1D") and hdu.header.get("SRCTYPE") != "EXTENDED"):
            rows = table if table["WAVELENGTH"].ndim == 2 else [table]
            yield from ((np.asarray(row["WAVELENGTH"], float), np.asarray(row["FLUX"], float)) for row in rows)


def _over_truth(wavelength, flux, spectrum):
    """Median of flux over truth in the middle of the band."""
    good = np.isfinite(flux) & (flux != 0) & (wavelength > 0)
    low, high = np.percentile(wavelength[good], [10, 90])
    inside = good & (wavelength > low) & (wavelength < high)
    return float(np.median(flux[inside] / spectrum(wavelength[inside])))


def spectrum(products, truth, within=0.005):
    """The target's flux, at the median of its wavelengths: of the brightest spectrum where there are several."""
    suffix = next(suffix for suffix in ("c1d", "x1d", "x1dints") if suffix in products.suffixes())
    found = [one for path in products.all(suffix) for one in spectra(path)]
    wavelength, flux = max(found, key=lambda one: np.nansum(one[1]))
    return Number("flux over truth", _over_truth(wavelength, flux, truth.spectrum), 1.0, within)


def spectrum_of_a_field(products, truth):
    """The same where spectra of two sources lie in each other."""
    return spectrum(products, truth, within=0.02)


# --- behind masks ----------------------------------------------------------------------------------------------------------------


def planet(products, truth):
    """A planet's distance from its star in the mean of all rolls."""
    separation, angle, _ = truth.companion
    with datamodels.open(str(products.first("i2d"))) as model:
        x, y = sky_to_pixel(model)(model.meta.target.ra, model.meta.target.dec)
        scale = np.sqrt(model.meta.photometry.pixelarea_arcsecsq)
        ra = model.meta.target.ra + separation * np.sin(np.radians(angle)) / 3600 / np.cos(np.radians(model.meta.target.dec))
        at = sky_to_pixel(model)(ra, model.meta.target.dec + separation * np.cos(np.radians(angle)) / 3600)
        found_x, found_y, _ = centroid(model.data, *at, half=2)
    return Number("the planet's separation [arcsec]", float(np.hypot(found_x - x, found_y - y) * scale), separation, 0.5 * scale)


def binary(products, truth):
    """A companion's contrast, fitted to the calibrated visibilities and closure phases."""
    with fits.open(products.first("aminorm-oi")) as hdus:
        tables = {hdu.name: Table(hdu.data) for hdu in hdus[1:]}
    (_, _, ratio), (_, _, error) = companion(tables)
    return Number("the companion's flux over the star's", float(ratio), truth.companion[2], 3 * float(error))


def lines(products, truth):
    """Where a lamp's lines are: by how many pixels its spectrum would have to be moved."""
    wavelength, flux = next(iter(spectra(products.first("x1d"))))
    good = np.isfinite(flux) & (flux > 0)
    wavelength, flux = wavelength[good], flux[good]
    pixel = np.arange(len(flux), dtype=float)
    shifts = np.arange(-3, 3.001, 0.02)
    alike = [np.corrcoef(flux, truth.spectrum(np.interp(pixel + shift, pixel, wavelength)))[0, 1] for shift in shifts]
    return Number("the lamp's lines from their places [pixel]", float(shifts[np.argmax(alike)]), 0.0, 0.1)


def light(products, truth):
    """The light of a lamp through the slicer, or of a star in an image without photometry, on the detector."""
    with fits.open(products.first("rate")) as hdus, fits.open(truth.files[0]) as put_in:
        wanted = put_in["NOISELESS"].data
        lit = (hdus["DQ"].data == 0) & (wanted > np.nanmax(wanted) / 20)
        found = float(hdus["SCI"].data[lit].sum() / wanted[lit].sum())
    return Number("light over truth, before the flat", found, 1.0, 0.1)  # of some exposures a pixel has a few counts, in whole numbers


def brightest(products, truth):
    """The brightest pixel of an image that has no WCS."""
    with fits.open(products.first("rate")) as hdus, fits.open(truth.files[0]) as put_in:
        seen = np.where(hdus["DQ"].data == 0, hdus["SCI"].data, np.nan)
        places = [np.unravel_index(np.nanargmax(image), image.shape) for image in (seen, np.where(np.isnan(seen), 0, put_in["RATE"].data))]
    return Number("the brightest pixel from its place [pixel]", float(np.hypot(*np.subtract(*places))), 0.0, 0.5)


BY = {  # those who make a program (jwcal.simulate.modes.MAKERS) -> what is looked at
    "guide_star": guide_star,
    "coronagraph": planet,
    "interferogram": binary,
    **dict.fromkeys(("prism_nods", "mrs", "nirspec_slits", "nirspec_slitlets", "nirspec_slicer"), spectrum),
    "grism_field": spectrum_of_a_field,
    "nirspec_lamp": lines,
    "nirspec_image": light,
}


def check(mode, products, truth):
    """The number of a mode."""
    return _looked_at(mode, truth)(products, truth)


def _looked_at(mode, truth):
    if mode.by == "even":
        return darkness if mode.last == "dark" else level
    if mode.by == "image":
        return {
            "image3": moving if "moving" in mode.options else mosaic,
            "wfs-image3": pair,
            "tso3": transit_of_images,
            "detector1": brightest,
        }.get(mode.last, star)
    if mode.by == "nirspec_lamp" and mode.options.get("opmode") == "IFU":
        return light
    if mode.by in BY:
        return BY[mode.by]
    return spectrum if truth.depth is None else transit_of_spectra
