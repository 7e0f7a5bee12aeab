"""Spectra of slits and of slitless images: summed in a box, or fitted with the PSF's profile."""

import logging
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from ...kernels.spectra import background_fit, box_sums, profile_fit
from ...kernels.spectra.good_pixels import good_pixels
from ...machine import threads
from ...model.exposure import Pixels
from ...model.spectra import Spectrum
from ...vocabulary import dq as bits
from ...vocabulary.errors import InputError
from . import apertures, tables
from .aperture_correction import aperture_correction
from .psf_profile import Psf, psf_profiles
from .source_place import find_source, pixel_scale, wavelengths

log = logging.getLogger(__name__)

ALONG_ROWS, ALONG_COLUMNS = 1, 2  # DISPAXIS
NAME, SEGMENT = "SLTNAME", "EXSEGNUM"
OF_SLIT = {  # keywords of a spectrum that are the slit's
    **{"SLITID": "Slitlet ID", "SOURCEID": "Source ID number", "SRCNAME": "Source name", "SRCALIAS": "Source alias"},
    **{"STLARITY": "Source stellarity", "SRCTYPE": "Source type used for calibration"},
    **{"TA_XPOS": "Source x-position in TA verification image", "TA_YPOS": "Source y-position in TA verification image"},
    **{"SRCXPOS": "Source position in slit (x-axis)", "SRCYPOS": "Source position in slit (y-axis)"},
    **{
        "SRCRA": "Right Ascension of the source",
        "SRCDEC": "Declination of the source",
        "SHUTSTA": "All (open and close) shutters in a slit",
    },
    **{"MSAQUAD": "MSA quadrant for slit", "SLTXSCL": "Scale open to full MSA slit coordinates (X dir)"},
    **{"SLTYSCL": "Scale open to full MSA slit coordinates (Y dir)", "WAVECOR": "Wavelength corrected (T/F)"},
    **{"PTHLOSS": "Type of pathloss correction applied", "BARSHDW": "Barshadow corrected (T/F)"},
    **{"DETECTOR": "Name of detector used to acquire the data", "PA_APER": "[deg] Position angle of aperture used"},
}


@dataclass
class Light:
    """A slit's pixels, the spectrum along the second axis: (int, along, across)."""

    sci: np.ndarray
    good: np.ndarray
    poisson: np.ndarray | None
    rnoise: np.ndarray | None
    flat: np.ndarray | None
    wavelength: np.ndarray  # micron, (along, across)
    vertical: bool

    @property
    def variances(self):
        return self.poisson, self.rnoise, self.flat

    @property
    def shape(self):
        return self.wavelength.shape

    def back(self, array, ndim):
        """(..., along, across) as the image has it, with so many axes."""
        array = array if self.vertical else np.swapaxes(array, -1, -2)
        return array[0] if array.ndim > ndim else array


def extract(exposure, refs, place, options, on_sky=True):
    """The spectra of all slits of an exposure.

    Parameters
    ----------
    exposure : Exposure
    refs : References
    place : {"", "pointing", "slit"}
        How a source's place is known: see `source_place.find_source`.
    options : Options
    on_sky : bool
        Tell where the middle of each slit is on the sky (SLIT_RA, SLIT_DEC).

    Returns
    -------
    spectra : list of Spectrum
    shown : dict
        "profile", "scene_model", "residual" -> list of Pixels, one a spectrum; those that were asked for.
    """
    spectra, shown = [], {}
    several = len(exposure.pixels) > 1
    with threads.alone() if several else nullcontext():
        for slit in exposure.slits() if several else [exposure]:
            found = _extract_one(slit, refs, place, options, on_sky)
            if found is not None:
                spectra.append(found[0])
                for suffix, image in found[1].items():
                    header = slit.pixels[0].header.copy() if several else None  # the exposure's own
                    shown.setdefault(suffix, []).append(Pixels(sci=image.astype(np.float32), header=header))
    if not spectra:
        what = "no spectrum could be extracted: no wavelength has a pixel in the aperture"
        raise InputError(what, exposure.name, "Look at the extract1d reference, at position_offset, and at the data")
    return spectra, shown


def _extract_one(slit, refs, place, options, on_sky):
    """One slit's spectrum, and what is shown beside; None where it has none, which is logged."""
    header = slit.header
    names = [str(name) for name in (header.get(NAME), header.get("FXD_SLIT"), header.get("EXP_TYPE")) if name]
    name = names[0] if names else apertures.ANY
    if slit.wcs is None:
        raise InputError("there is no gWCS in it", slit.name, "Run assign_wcs")
    if slit.sci.ndim not in (2, 3):
        raise InputError(f"{slit.sci.ndim} axes in SCI, images or integrations were expected", slit.name, "Give calibrated spectra")
    axis = header.get("DISPAXIS")
    if axis not in (ALONG_ROWS, ALONG_COLUMNS):
        log.warning("%s: no spectrum, DISPAXIS is %s", name, axis)
        return None
    light = _light(slit, axis == ALONG_COLUMNS)
    order = int(header.get("SPORDER", 1))
    if order == 0 and not _through_a_prism(header):
        log.info("%s: no spectrum, order 0 is an image", name)
        return None
    point = header.get("SRCTYPE") == "POINT"
    centred = options.use_source_posn if point or options.use_source_posn else False  # what is no point has no place
    given = {"subtract_background": options.subtract_background, "use_source_posn": centred, "smoothing_length": options.smoothing_length}
    given |= {"bkg_fit": options.bkg_fit, "bkg_order": options.bkg_order}
    centre_by_default, finer = place != "", float(header.get("PXSCLRT") or 1.0)
    aperture = apertures.find_aperture(
        refs.get("extract1d"), names, order, light.shape, light.vertical, centre_by_default=centre_by_default, finer=finer, **given
    )
    if aperture is None:
        log.info("%s: no spectrum, the extract1d reference does not have the order %d", name, order)
        return None
    optimal = _is_optimal(options.extraction_type, refs, aperture)
    _place(aperture, slit, light, place, options)
    profiles, limits = _profiles(aperture, slit, light, place, refs, name, optimal, options)
    weights = profiles[0]
    rows = np.flatnonzero((weights > 0).any(axis=1))
    if not rows.size:
        log.warning("%s: no spectrum, no wavelength has a pixel in the aperture", name)
        return None
    inside = weights[rows]
    wavelength = (np.where(inside > 0, light.wavelength[rows], 0) * inside).sum(axis=1) / inside.sum(axis=1)
    sums, level = (_fitted if optimal else _summed)(light, profiles, aperture, options)
    sums = sums[:, :, rows]
    centre = [float(np.average(np.arange(n), weights=weights.sum(axis=1 - k))) for k, n in enumerate(weights.shape)]
    factor = None
    if point and options.apply_apcorr and "apcorr" in refs and not optimal:
        x, y = centre[::-1] if light.vertical else centre
        size = sums[box_sums.AREA]
        of_detector = size / finer, lambda: finer * pixel_scale(slit.wcs, x, y, light.vertical)
        factor = aperture_correction(refs["apcorr"], header, name, wavelength, *of_detector)
    columns, units = _columns(sums, wavelength, factor, header, optimal, options)
    spectrum = _spectrum(slit, columns, units)
    regions = () if aperture.background is None else apertures.background_limits(aperture, light.shape, light.wavelength)
    _describe(spectrum.header, slit, name, order, light, centre, limits, rows, regions)
    if on_sky:
        _tell_place(spectrum.header, slit.wcs, centre[::-1] if light.vertical else centre)
    estimated = int((columns["DQ"] & bits.FLUX_ESTIMATED != 0).sum())
    log.info(
        "%s: %d wavelengths from %.3f to %.3f micron, %s%s",
        *(name, rows.size, wavelength.min(), wavelength.max(), "fitted with a profile" if optimal else "summed"),
        f"; {estimated} of {columns['DQ'].size} fluxes have replaced pixels" if estimated else "",
    )
    return spectrum, _shown(light, profiles, sums, rows, level, slit.sci.ndim, options)


def _light(slit, vertical):
    """The slit's pixels. A variance that is nowhere known is left out, and not taken for bad pixels."""

    def turned(plane, kind):
        if plane is None:
            return None
        plane = plane if plane.ndim == 3 else plane[None]
        return np.ascontiguousarray(plane if vertical else np.swapaxes(plane, -1, -2), kind)

    sci = turned(slit.sci, np.float32)
    planes = []
    for name in ("var_poisson", "var_rnoise", "var_flat"):
        plane = turned(getattr(slit, name), np.float32)
        if plane is not None and not np.isfinite(plane).any():
            log.warning("%s has no value: it is left out of the errors", name.upper())
            plane = None
        planes.append(plane)
    err = turned(slit.err, np.float32)
    if err is not None and not np.isfinite(err).any():
        err = None
    good = good_pixels(sci, err, planes, turned(slit.dq, np.uint32), bits.DO_NOT_USE)
    stored = slit.extra.get("WAVELENGTH")
    if stored is None or not np.any(np.nan_to_num(stored)):
        stored = wavelengths(slit.wcs, slit.sci.shape)
    wavelength = np.asarray(stored, float)
    return Light(sci, good, *planes, np.ascontiguousarray(wavelength if vertical else wavelength.T), vertical)


def _through_a_prism(header):
    """Its order 0 is a spectrum."""
    return "PRISM" in str(header.get("GRATING", "")).upper() or "P750L" in str(header.get("FILTER", "")).upper()


def _is_optimal(kind, refs, aperture):
    if kind == "box" or ("psf" not in refs and kind is None):
        return False
    if "psf" not in refs:
        log.warning("There is no psf reference: the light is summed in a box")
        return False
    return aperture.centred if kind is None else True


def _place(aperture, slit, light, place, options):
    """Move the aperture to the source, and by what the user says."""
    if aperture.centred and place:
        found = find_source(slit, slit.wcs, slit.sci.shape[-2:], light.vertical, place)
        if found is not None:
            weights, _ = apertures.aperture_weights(aperture, light.shape, light.wavelength)
            nominal = apertures.middle_of(weights, min(max(found.middle.row, 0), light.shape[0] - 1))
            log.info("The source is at pixel %.2f across the spectrum, %.2f from the nominal place", found.across, found.across - nominal)
            aperture.move(found.across - nominal, options.move_background)
            aperture.trace = found.trace
    elif aperture.centred:
        log.warning("The aperture is not centred on the source: where it is is not known for such data")
    if options.position_offset:
        aperture.move(options.position_offset, options.move_background)
        if aperture.trace is not None:
            aperture.trace = aperture.trace + options.position_offset


def _profiles(aperture, slit, light, place, refs, name, optimal, options):
    """Weights, (along, across), of the source and of what is fitted with it; first and last pixel across the spectrum."""
    if optimal:
        profiles = psf_profiles(
            Psf(refs["psf"], name, light.vertical, options.psf_total == "whole"),
            *(slit, light, place),
            trace=aperture.trace,
            model_nod_pair=options.model_nod_pair,
            optimize_location=options.optimize_psf_location,
        )
        lit = np.flatnonzero(np.isfinite(light.wavelength).any(axis=0))
        limits = (float(lit[0]), float(lit[-1])) if lit.size else (0.0, light.shape[1] - 1.0)
    else:
        weights, limits = apertures.aperture_weights(aperture, light.shape, light.wavelength)
        profiles = [weights]
    for profile in profiles:
        profile[~np.isfinite(light.wavelength)] = 0
    return profiles, limits


def _summed(light, profiles, aperture, options):
    """Sums in the box, and the background that was taken off, as a function of the rows: (int, along, across)."""
    weights = profiles[0]
    background = {}
    if aperture.subtract and aperture.background is None:
        log.warning("No background is subtracted: the extract1d reference has no bkg_coeff for the slit")
    if aperture.background is not None:
        region = apertures.background_weights(aperture, light.shape, light.wavelength) != 0
        columns = np.flatnonzero(region.any(axis=0))
        if not columns.size:
            log.warning("No background is subtracted: its regions are outside the image")
        else:
            _warn_of_dark_regions(region, light)
            z = (np.arange(light.shape[1]) - (columns[0] + columns[-1]) / 2) / max((columns[-1] - columns[0]) / 2, 1)
            values = background_fit.smooth_along(light.sci, light.good, aperture.smoothing) if aperture.smoothing else light.sci
            median = aperture.fit == "median"
            level, more = background_fit.fit_background(
                values, light.good, region, weights, z, 0 if median else aperture.order, median=median, smooth=aperture.smoothing > 0
            )
            background = {"region": region, "level": level, "level_weights": more, "z": z}
    template = None
    if options.bad_pixels == "replace" and not (light.good | (weights <= 0)).all():
        z, level = background.get("z", np.zeros(light.shape[1])), background.get("level")
        template = box_sums.filled_from_neighbours(box_sums.mean_of_integrations(light.sci, light.good, weights, level, z), weights)
    sums = box_sums.box_sums(light.sci, light.variances, light.good, weights, template=template, **background)
    if not background:
        return sums, None
    powers = background["z"] ** np.arange(background["level"].shape[2])[:, None]
    return sums, lambda rows: background["level"][:, rows] @ powers


def _warn_of_dark_regions(region, light):
    """Say that a part of the background's regions sees no light: beyond the slit, or where all pixels are bad."""
    lit = region & light.good.any(axis=0)
    some = region.any(axis=1) & np.isfinite(light.wavelength).any(axis=1)
    empty = int((some & ~lit.any(axis=1)).sum())
    if empty:
        log.warning("No background is subtracted at %d of %d wavelengths: no good pixel is in its regions", empty, int(some.sum()))


def _fitted(light, profiles, aperture, options):
    """Brightness of the profile; the model in place of the background."""
    region = None
    if aperture.background is not None:
        region = apertures.background_weights(aperture, light.shape, light.wavelength) != 0
    order = aperture.order if aperture.subtract else -1
    z = np.linspace(-1, 1, light.shape[1])
    wanted = options.save_scene_model or options.save_residual_image
    sums, model = profile_fit.fit_profiles(light.sci, light.variances, light.good, np.array(profiles), region, order, z, want_model=wanted)
    return sums, model


def _columns(sums, wavelength, factor, header, optimal, options):
    """The table's columns, and the units of flux and of surface brightness."""
    flux, brightness, to_flux, to_brightness = _units(header)
    area = np.where(sums[box_sums.AREA] > 0, sums[box_sums.AREA], 1)
    dark = np.isnan(sums[box_sums.FLUX])
    dq = np.where(dark, np.uint32(bits.DO_NOT_USE), np.uint32(0))
    if not optimal and options.bad_pixels == "replace":
        dq[(sums[box_sums.REPLACED] > 0) & ~dark] |= np.uint32(bits.FLUX_ESTIMATED)
    columns = {"WAVELENGTH": wavelength, "DQ": dq, "NPIXELS": sums[box_sums.PIXELS]}
    kinds = ("POISSON", "RNOISE", "FLAT")
    more = 1.0 if factor is None else factor
    of_brightness = (1 / area if to_brightness == 1 and not optimal else np.zeros_like(area)) * more
    for start, value, prefix, scale in (
        (box_sums.FLUX, "FLUX", "FLUX", to_flux * more),
        (box_sums.FLUX, "SURF_BRIGHT", "SB", of_brightness),
        (box_sums.LEVEL, "BACKGROUND", "BKGD", to_brightness / area),
    ):
        found = sums[start] * scale
        variances = [sums[start + k] * scale**2 for k in (1, 2, 3)]
        if start == box_sums.FLUX:
            if prefix == "SB" and to_brightness != 1:
                found = np.zeros_like(area)
            variances = [np.where(dark, np.nan, v) for v in variances]
        columns[value] = found
        columns[f"{prefix}_ERROR"] = np.sqrt(sum(variances))
        columns |= {f"{prefix}_VAR_{kind}": v for kind, v in zip(kinds, variances, strict=True)}
    return columns, (flux, brightness)


def _units(header):
    """Units of flux and surface brightness, and the factors from the image's unit to them."""
    unit = str(header.get("BUNIT", "DN/s")).strip()
    if unit == "MJy/sr":
        return "Jy", "MJy/sr", 1e6 * header["PIXAR_SR"], 1.0
    if unit == "MJy":
        return "Jy", "MJy/sr", 1e6, 1 / header["PIXAR_SR"]
    log.warning("The data have no flux calibration: so have the spectra, which are in %s", unit)
    return unit, unit, 1.0, 1.0


def _spectrum(slit, columns, units):
    if slit.sci.ndim == 2:
        table = tables.spectrum_table({name: value if value.ndim == 1 else value[0] for name, value in columns.items()})
    else:
        count = len(slit.sci)
        numbers = slit.first_integration + 1 + np.arange(count)
        table = tables.series_table(columns, numbers, int(slit.header.get(SEGMENT, 1)), integration_times(slit, numbers))
    return Spectrum(table, tables.units_header(table, *units))


def integration_times(exposure, numbers):
    """The times of integrations by their numbers, of INT_TIMES; NaN, and a warning, where it does not have one.

    Returns
    -------
    dict
        Of `tables.TIMES` -> (int,) [days].
    """
    times = {name: np.full(len(numbers), np.nan) for name in tables.TIMES}
    given = exposure.tables.get("INT_TIMES")
    if given is None or len(given) == 0:
        log.warning("The integrations have no times: there is no INT_TIMES table, or an empty one")
        return times
    own = np.asarray(given["integration_number"], int)
    order = np.argsort(own, kind="stable")
    at = np.minimum(np.searchsorted(own[order], numbers), len(own) - 1)
    known = own[order][at] == numbers
    for name, column in zip(tables.TIMES, tables.OF_INT_TIMES, strict=True):
        times[name][known] = np.asarray(given[column], float)[order][at][known]
    if not known.all():
        log.warning("%d of %d integrations have no times: INT_TIMES does not have their numbers", int((~known).sum()), len(numbers))
    return times


def _describe(header, slit, name, order, light, centre, limits, rows, regions=()):
    """What the spectrum is of: the keywords of its extension."""
    if name != apertures.ANY:
        header[NAME] = (name, "Slit name")
    for key, comment in OF_SLIT.items():
        value = slit.header.get(key)
        if value is not None:
            header[key] = (value, comment)
    along, across = (rows[0], rows[-1]), limits
    x, y = (across, along) if light.vertical else (along, across)
    for axis, pair in (("X", x), ("Y", y)):
        for end, comment, pixel in (("STR", "start", pair[0]), ("STP", "end", pair[1])):
            header[f"EXTR{axis}{end}"] = (float(pixel) + 1, f"{axis} axis {comment} of extraction region")
    for number, pair in enumerate(regions, start=1):
        for end, comment, pixel in (("STR", "start", pair[0]), ("STP", "end", pair[1])):
            header[f"BKG{number}{end}"] = (float(pixel) + 1, f"{comment} of background region {number}, across")
    header["SPORDER"] = (order, "Spectral order number")
    header["DISPAXIS"] = (ALONG_COLUMNS if light.vertical else ALONG_ROWS, "Dispersion direction")


def _tell_place(header, wcs, pixel):
    """Where the middle of the aperture is on the sky."""
    place = wcs(*pixel)
    if np.isfinite(np.asarray(place[:2], float)).all():
        header["SLIT_RA"] = (float(place[0]), "[deg] Right Ascension at middle of slit")
        header["SLIT_DEC"] = (float(place[1]), "[deg] Declination at middle of slit")


def _shown(light, profiles, sums, rows, level, ndim, options):
    """The images that were asked for."""
    shown = {}
    if options.save_profile:
        shown["profile"] = light.back(np.sum(profiles, axis=0), 2)
    if options.save_scene_model or options.save_residual_image:
        model = level if isinstance(level, np.ndarray) else _model(light, profiles[0], sums, rows, level, options)
        if options.save_scene_model:
            shown["scene_model"] = light.back(model, ndim)
        if options.save_residual_image:
            shown["residual"] = light.back(np.where(light.good, light.sci - model, np.nan), ndim)
    return shown


def _model(light, weights, sums, rows, level, options):
    """The mean light in the box, and the background."""
    model = np.zeros(light.sci.shape) if level is None else level(slice(None))
    area = sums[box_sums.AREA]
    mean = np.divide(sums[box_sums.FLUX], area, out=np.zeros(area.shape), where=area > 0)[..., None]
    model[:, rows] += mean * (weights[rows] if options.bad_pixels == "replace" else weights[rows] * light.good[:, rows])
    return np.nan_to_num(model)
