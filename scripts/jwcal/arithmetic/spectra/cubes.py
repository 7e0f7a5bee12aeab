"""Spectra out of cubes: of a point source in a circle, of an extended one over the whole field."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...files.reference_file import understood
from ...kernels.cubes import circles
from ...model.spectra import FLUXES, Spectrum, empty_table
from ...vocabulary import dq as bits
from ...vocabulary.errors import ConfigError, InputError, Skip
from .tables import units_header

log = logging.getLogger(__name__)

WAYS = {"exact": circles.EXACT, "subpixel": circles.SUBPIXEL, "center": circles.CENTRE}
ARCSEC = 3600.0
RED_END = 26.0  # micron: at longer wavelengths there is too little light to find a source by
HOLE = 0.01  # of the aperture: more without a value is worth a warning
COUNTS = "DN/s"
UNITS = {f"{name}_VAR_{kind}": "(MJy/sr)^2" for name in ("SB", "BKGD") for kind in ("POISSON", "RNOISE", "FLAT")}


@dataclass
class Instrument:
    """What is different for an instrument.

    Attributes
    ----------
    columns : str
        Of the table: key of `model.spectra.COLUMNS`.
    radius_scale : callable
        options -> factor on the radii of the extract1d reference.
    correct : callable
        (exposure, columns, options): adds columns.
    """

    columns: str = ""
    radius_scale: Callable = lambda options: 1.0
    correct: Callable = lambda exposure, columns, options: None


def extract(exposure, refs, place, options, instrument=Instrument()):  # noqa: B008 - it is never changed
    """The spectrum of a cube.

    Parameters
    ----------
    exposure : Exposure
        (plane, row, col) in MJy/sr, with WMAP.
    refs : References
        extract1d: radii by wavelength. apcorr: the correction by radius and wavelength.
    place
        Without effect.
    options : Options
    instrument : Instrument

    Returns
    -------
    spectra : list of Spectrum
    shown : dict
        Empty: nothing else can be shown.

    Raises
    ------
    Skip
        The exposure is no cube.
    InputError
        It has no WCS.
    """
    if exposure.sci.ndim != 3:
        raise Skip("there is no cube")
    if exposure.wcs is None or exposure.wcs.output_frame.naxes != 3:
        raise InputError("there is no gWCS of three axes in it", exposure.name, "Run cube_build")
    header = exposure.header
    point = _is_point(header, options)
    middle = [(n - 1) / 2 for n in exposure.sci.shape[:0:-1]]
    number = exposure.extra.get("WMAP")
    number = (exposure.dq & bits.DO_NOT_USE == 0).astype(np.float32) if number is None else number
    number = np.where(np.isfinite(exposure.sci), number, 0).astype(np.float32)
    ra, dec, wavelength = _coordinates(exposure, *(n / 2 for n in exposure.sci.shape[:0:-1]))
    radius = None
    if point:
        place = _place(exposure, wavelength, options)
        sums, radius = _in_circles(exposure, number, wavelength, place, refs, options, instrument)
    else:
        place = middle
        sums = circles.planes(exposure.sci, exposure.err, number, options.bkg_sigma_clip)
    columns = _columns(exposure, sums, wavelength, point, options)
    instrument.correct(exposure, columns, options)
    if point and options.apply_apcorr and "apcorr" in refs:
        _apply_correction(columns, _aperture_correction(refs["apcorr"], wavelength, radius * _scale(header)))
    columns["FLUX_ERROR"], columns["SB_ERROR"], columns["BKGD_ERROR"] = (
        columns[name] * options.ifu_covar_scale for name in ("FLUX_ERROR", "SB_ERROR", "BKGD_ERROR")
    )
    table = empty_table(instrument.columns, wavelength.size)
    for name, values in columns.items():
        table[name] = values
    units = ("Jy", "MJy/sr") if _calibrated(header) else (COUNTS, COUNTS)
    spectrum = Spectrum(table, units_header(table, *units), wcs=_spectral_wcs(ra, dec, wavelength))
    if _calibrated(header):
        spectrum.set_units(UNITS | {"RF_FLUX": "Jy", "RF_SURF_BRIGHT": "MJy/sr", "RF_BACKGROUND": "MJy/sr"})
    _describe(spectrum.header, exposure, "POINT" if point else "EXTENDED", place, (ra, dec), options)
    log.info("%d wavelengths from %.3f to %.3f micron, %s", wavelength.size, wavelength[0], wavelength[-1], _words(point, place))
    return [spectrum], {}


def _is_point(header, options):
    kind = options.ifu_set_srctype or header.get("SRCTYPE")
    if kind not in ("POINT", "EXTENDED"):
        log.warning("SRCTYPE is %s: the source is taken for an extended one", kind)
    return kind == "POINT"


def _words(point, place):
    return f"in a circle at column {place[0]:.2f}, row {place[1]:.2f}" if point else "of the whole field"


def _calibrated(header):
    """Whether voxels are surface brightness, and not counts of a lamp."""
    return header.get("BUNIT") != COUNTS


def _scale(header):
    """Side of a spaxel, arcsec."""
    return ARCSEC * float(np.sqrt(abs(header["CDELT1"] * header["CDELT2"])))


def _coordinates(exposure, x, y):
    """Right ascension and declination [deg] of a place, and the wavelengths of all planes [micron]."""
    planes = np.arange(len(exposure.sci), dtype=float)
    ra, dec, wavelength = exposure.wcs(np.full(planes.size, x), np.full(planes.size, y), planes, with_bounding_box=False)
    return float(ra[planes.size // 2]), float(dec[planes.size // 2]), np.asarray(wavelength, float)


# --- where the source is ---------------------------------------------------------------------------------------------


def _place(exposure, wavelength, options):
    """Column and row of the source: what the user says, what is found, where the target is, or the middle of the cube."""
    if options.center_xy is not None:
        if len(options.center_xy) != 2:
            raise ConfigError(f"center_xy of extract_1d is {list(options.center_xy)}", do="Give column and row, from 0")
        return tuple(float(value) for value in options.center_xy)
    found = _brightest(exposure, wavelength) if options.ifu_autocen else None
    found = _target(exposure, wavelength, options.ifu_centre == "spaxel") if found is None else found
    if found is not None:
        return found
    rows, columns = exposure.sci.shape[1:]
    if options.ifu_centre == "spaxel":
        return columns / 2, rows / 2
    return (columns - 1) / 2, (rows - 1) / 2


def _brightest(exposure, wavelength):
    """The brightest star-like source of the cube's median along the wavelengths; None, and a warning, without one."""
    from astropy.stats import sigma_clipped_stats
    from photutils.detection import DAOStarFinder

    image = np.ma.median(np.ma.masked_invalid(exposure.sci[wavelength < RED_END]), axis=0)
    _, level, noise = sigma_clipped_stats(image)
    sources = DAOStarFinder(threshold=3 * noise, fwhm=3.0)(image - level) if noise > 0 else None
    if sources is None:
        log.warning("No source was found in the cube: the target's place is taken")
        return None
    brightest = sources[int(np.argmax(sources["flux"]))]
    return float(brightest["x_centroid"]), float(brightest["y_centroid"])


def _target(exposure, wavelength, whole):
    """Where TARG_RA and TARG_DEC are, or the spaxel that is nearest to them; None, and a warning, if not within the cube."""
    ra, dec = exposure.header.get("TARG_RA"), exposure.header.get("TARG_DEC")
    if ra is None or dec is None:
        log.warning("There is no TARG_RA and TARG_DEC: the aperture is put in the middle of the cube")
        return None
    x, y, _ = exposure.wcs.invert(float(ra), float(dec), float(wavelength[wavelength.size // 2]), with_bounding_box=False)
    rows, columns = exposure.sci.shape[1:]
    if not (0.5 < x < columns - 1.5 and 0.5 < y < rows - 1.5):
        what = "%s: the target is at column %.1f, row %.1f, not within the cube: the aperture is put in its middle"
        log.warning(what, exposure.name, x, y)
        return None
    return (round(float(x)), round(float(y))) if whole else (float(x), float(y))


# --- the sums --------------------------------------------------------------------------------------------------------


def _in_circles(exposure, number, wavelength, place, refs, options, instrument):
    """Sums in the reference's circles and rings, and the radius of the circle [spaxels]."""
    if "extract1d" not in refs:
        raise InputError(
            "the spectrum of a point source needs an extract1d reference", exposure.name, "Give one, or ifu_set_srctype: EXTENDED"
        )
    reference = refs["extract1d"]
    with understood("extract1d", reference.path):
        data, about = reference.tree["data"], reference.tree["meta"]
        at = np.ravel(data["wavelength"]).astype(float)
        radius, inner, outer = (
            extended(wavelength, at, np.ravel(data[name]).astype(float)) for name in ("radius", "inner_bkg", "outer_bkg")
        )
        way, parts = WAYS[str(about.get("method", "exact"))], int(about.get("subpixels") or 10)
        subtract = bool(about.get("subtract_background", True))
    subtract = subtract if options.subtract_background is None else options.subtract_background
    radius = radius * instrument.radius_scale(options)
    scale = _scale(exposure.header)
    radius, inner, outer = radius / scale, inner / scale, outer / scale
    if subtract and not ((0 < inner) & (inner < outer)).all():
        log.warning("No background is subtracted where the ring of the extract1d reference is not one")
    ring = subtract & (0 < inner) & (inner < outer)
    inner, outer = np.where(ring, inner, 0.0), np.where(ring, outer, 0.0)
    sums = circles.circles(exposure.sci, exposure.err, number, place, radius, inner, outer, options.bkg_sigma_clip, way, parts)
    seen = sums[circles.AREA] > 0
    holes = seen & (sums[circles.AREA] < (1 - HOLE) * np.pi * radius**2)
    if holes.any():
        log.warning("In %d of %d planes a part of the aperture has no value: their flux is too low", int(holes.sum()), wavelength.size)
    return sums, radius


def _columns(exposure, sums, wavelength, point, options):
    """The table's columns. The errors are of voxels that do not share pixels; see ifu_covar_scale."""
    to_flux = 1e6 * float(exposure.header["PIXAR_SR"]) if _calibrated(exposure.header) else 1.0
    area, ring = sums[circles.AREA], sums[circles.RING]
    used = sums[circles.BACK_AREA] if options.ifu_bkg_area == "used" else ring
    flux, variance = sums[circles.SUM].copy(), sums[circles.VARIANCE].copy()
    level = np.divide(sums[circles.BACK], used, out=np.zeros_like(used), where=used > 0)
    level_variance = np.divide(sums[circles.BACK_VARIANCE], ring**2, out=np.zeros_like(ring), where=ring > 0)
    if point:
        flux -= area * level
        variance += area**2 * level_variance
    per = np.where(area > 0, area, 1.0)
    columns = {"WAVELENGTH": wavelength, "DQ": np.where(area > 0, np.uint32(0), np.uint32(bits.DO_NOT_USE)), "NPIXELS": area}
    columns |= {"FLUX": flux * to_flux, "FLUX_ERROR": np.sqrt(variance) * to_flux}
    columns |= {"SURF_BRIGHT": flux / per, "SB_ERROR": np.sqrt(variance) / per}
    columns |= {"BACKGROUND": level, "BKGD_ERROR": np.sqrt(level_variance)}
    return columns | {name: 0.0 for name in FLUXES if "_VAR_" in name}  # the cube has no variances by kind


# --- the aperture correction -----------------------------------------------------------------------------------------


def extended(at, knots, values):
    """Values between knots, and beyond them along the straight lines of the last two."""
    if knots.size == 1:
        return np.full(at.shape, values[0])
    order = np.argsort(knots)
    knots, values = knots[order], values[order]
    k = np.clip(np.searchsorted(knots, at, side="right") - 1, 0, knots.size - 2)
    return values[k] + (at - knots[k]) * (values[k + 1] - values[k]) / (knots[k + 1] - knots[k])


def _aperture_correction(reference, wavelength, radius):
    """What the flux in circles of some radii [arcsec] is to be multiplied with."""
    with understood("apcorr", reference.path):
        table = reference.tree["apcorr_table"]
        at = np.ravel(table["wavelength"]).astype(float)
        radii, factors = (
            np.array([extended(wavelength, at, row) for row in np.atleast_2d(np.asarray(table[n], float))]) for n in ("radius", "apcorr")
        )
        if len(radii) == 1:
            return factors[0]
        k = np.clip((radii <= radius).sum(axis=0) - 1, 0, len(radii) - 2)
        n = np.arange(wavelength.size)
        low, high = radii[k, n], radii[k + 1, n]
        return factors[k, n] + (radius - low) * (factors[k + 1, n] - factors[k, n]) / (high - low)


def _apply_correction(columns, factor):
    for name in ("FLUX", "FLUX_ERROR", "SURF_BRIGHT", "SB_ERROR", "RF_FLUX", "RF_SURF_BRIGHT"):
        if name in columns:
            columns[name] = columns[name] * factor


# --- what the file says of it ----------------------------------------------------------------------------------------


def _spectral_wcs(ra, dec, wavelength):
    """The gWCS of a spectrum: pixels along it to its place on the sky and wavelength."""
    import gwcs
    from astropy import units as u
    from astropy.modeling.models import Const1D, Mapping, Tabular1D
    from gwcs.coordinate_frames import CoordinateFrame

    from ..wcs.spectral import sky_frame

    places = CoordinateFrame(naxes=1, axes_type=("SPATIAL",), axes_order=(0,), unit=(u.pix,), axes_names=("x",), name="pixel")
    transform = Mapping((0, 0, 0)) | Const1D(ra) & Const1D(dec) & Tabular1D(lookup_table=wavelength, bounds_error=False)
    return gwcs.WCS([(places, transform), (sky_frame(), None)])


def _describe(header, exposure, kind, place, sky, options):
    cards = [("SLTNAME", exposure.header.get("EXP_TYPE"), "Slit name")]
    cards += [("SRCTYPE", kind, "Source type used for calibration")]
    cards += [("EXTR_X", place[0], "Column of the aperture's middle"), ("EXTR_Y", place[1], "Row of the aperture's middle")]
    cards += [("SLIT_RA", sky[0], "[deg] Right ascension"), ("SLIT_DEC", sky[1], "[deg] Declination")]
    cards += [("DETECTOR", exposure.header.get("DETECTOR"), "Name of detector used to acquire the data")]
    cards += [("PA_APER", exposure.header.get("PA_APER"), "[deg] Position angle of aperture used")]
    cards += [("COVSCALE", options.ifu_covar_scale, "Factor on the errors for correlated voxels")]
    for keyword, value, comment in cards:
        if value is not None:
            header[keyword] = (value, comment)
