"""MIRI's medium resolution spectrometer as raw exposures: dithers of a target on both detectors, and its dedicated background.

    from jwcal.simulate import integral_field

    made = integral_field.expose("folder", dithers=2, background=lambda wavelength: 20 + wavelength)
    made.exposures.uncals, made.truth["jw01234001001_02101_00001_mirifushort"].image, made.exposures.crds

`mrs` paints the light. Here it goes through the instrument, to DN/s: a sensitivity that ages, fringes, the flat field, light scattered
along the rows, what showers leave; and the references are written that undo all of it, one by one.
"""

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.io import fits
from astropy.table import Table

from ..kernels.detector.scattered_rows import scatter
from ..vocabulary import dq
from ..vocabulary.errors import InputError
from . import crds_cache, cube_references, exposures, mrs, references
from .detector import make_detector
from .from_rates import Exposed, Shot
from .from_rates import expose as expose_detectors
from .headers import Identity
from .spectrograph import Source, Spectrum, Truth

LINES = ((5.3, 2.0, 0.004), (8.2, 1.5, 0.006), (12.5, 1.0, 0.01), (19.0, 1.0, 0.02))
STAR = Source(Spectrum(flux=0.1, at=8.0, slope=-0.5, lines=LINES))
CHANNELS = ("12", "34")
LETTERS = {"SHORT": "A", "MEDIUM": "B", "LONG": "C"}
STEP = ((0.5, 0.3), (-0.5, -0.3), (-0.4, 0.5), (0.4, -0.5))  # arcsec by which the dithers put the target beside the middle
AWAY = 60.0  # arcsec from the target to its background
PHOTMJSR, AREA = 20.0, 9e-13  # MJy/sr for a DN/s, about; sr
PERIOD = 2.8  # of the fringes, cm-1
AMPLITUDE = 0.2  # which no fringe exceeds
EPOCH = 59670.0  # MJD from which the sensitivity ages
ARTEFACT = ("LOR_FWHM", "LOR_SCALE", "GAU_FWHM", "GAU_XOFF", "GAU_SCALE1", "GAU_SCALE2")
SIDES = (slice(0, 516), slice(516, 1024))
HALVES = {"12": ("12", SIDES), "34": ("43", SIDES)}  # which channel is on which side
LEAK = (12.2, 0.1)  # micron, centre and width of where light of half the wavelength gets through


class Showers(NamedTuple):
    """What is left of a shower of cosmic rays in an exposure: a Gaussian."""

    row: float
    column: float
    height: float  # DN/s
    along: float = 60.0  # standard deviation along the row, pixels
    across: float = 25.0


class Field(NamedTuple):
    """What was written, and what was put in."""

    exposures: Exposed
    truth: dict[str, Truth]  # by the beginning of the names of files; images in MJy/sr
    sources: list[Source]
    background: object  # wavelength -> MJy/sr


def sky(wavelength):
    """MJy/sr, by default."""
    return 20 + 2 * np.asarray(wavelength, float)


def expose(
    out,
    *,
    channels=CHANNELS,
    bands=("SHORT",),
    sources=(STAR,),
    background=sky,
    dithers=2,
    dedicated=True,
    fringes=0.1,
    leftover=0.0,
    artefact=1.0,
    leak=0.0,
    showers=(),
    kind="POINT",
    target=exposures.TARGET,
    identity=Identity(),  # noqa: B008 (it is frozen)
    noise=True,
    header=None,
    cosmic_rays=None,
    seed=1,
    cache=True,
    **options,
):
    """Expose both detectors to a target, dither by dither, and to the sky beside it.

    Parameters
    ----------
    out : path
    channels, bands : sequence of str
        "12", "34"; SHORT, MEDIUM, LONG.
    sources : sequence of spectrograph.Source or mrs.Extended
    background : callable
        wavelength [micron] -> MJy/sr.
    dithers : int
        Up to four.
    dedicated : bool
        The background has a pointing of its own: observation 2, of BKGDTARG.
    fringes : float
        Amplitude of what the fringe flat undoes.
    leftover : float
        Amplitude of further fringes, that no reference but fringefreq knows of.
    artefact : float
        Strength of what the detector scatters along its rows, in units of the usual one.
    leak : float
        The part of the light at half the wavelength that channel 3, SHORT sees about 12.2 micron.
    showers : sequence of Showers
        In each exposure.
    kind : str
        SRCTYAPT of the target.
    target, identity, noise, header, cosmic_rays, seed, cache
        As `from_rates.expose` and `exposures.simulate_exposure` take them; `identity` is the first exposure's.
    **options
        What `instruments.setup` takes: ngroups, nints.

    Returns
    -------
    Field

    Raises
    ------
    InputError
        Channels or bands that there are not, or too many dithers.
    """
    if not (set(channels) <= set(CHANNELS) and set(bands) <= set(LETTERS) and 1 <= dithers <= len(STEP)):
        what = f"channels {', '.join(channels)}, bands {', '.join(bands)}, {dithers} dithers"
        raise InputError(f"{what}: that can't be", do=f"Channels are 12 and 34, bands {', '.join(LETTERS)}, dithers 1 to {len(STEP)}")
    out, options = Path(out), {"ngroups": 6, **options}
    sensors = {name: make_detector("MIRI", name) for name in (mrs.DETECTORS[one] for one in channels)}
    common = write_common_references(out / "references", channels, bands, artefact, leak)
    files, shots, truth = [*common.values()], [], {}
    for (number, band), channel in product(enumerate(bands), channels):
        own = write_references(out / "references", channel, band, fringes)
        files += own.values()
        light = {"channels": channel, "band": band, "background": background, "noise": False, **options}
        seen = [_Leaking(one, leak) for one in sources] if leak and channel + band == "34SHORT" else list(sources)
        about = replace(identity, sequence=identity.sequence + number)
        looks = [_look(target, about, number, dithers, kind) for number in range(1, dithers + 1)]
        if dedicated:
            looks.append(_look(target, about, 1, 1, None))
        for known in looks:
            known["header"] |= {"CHANNEL": channel, "BAND": band, **(header or {})}
            there = [] if known["header"]["BKGDTARG"] else seen
            one = mrs.simulate_mrs({name: own.get(name) or common[name] for name in mrs.MODELS}, sources=there, **light, **known)
            rate = _rate(one, own | common, sensors[mrs.DETECTORS[channel]], (fringes, leftover), showers, (channel, band))
            known |= {"detector": mrs.DETECTORS[channel], **options}
            shots.append(Shot("MIR_MRS", rate, known, _put_in(one.truth, there, showers)))
            truth[one.exposure.header["FILENAME"].removesuffix("_rate.fits")] = one.truth
    rays = {} if cosmic_rays is None else {"cosmic_rays": cosmic_rays}
    made = expose_detectors(out, shots, files, sensors=sensors, noise=noise, seed=seed, pars=operations(), cache=cache, **rays)
    return Field(made, truth, list(sources), background)


def _look(target, identity, number, total, kind):
    """What tells one pointing from the others; `kind`: SRCTYAPT of the target, None for the sky beside it."""
    beside = kind is None
    (x, y), place = STEP[number - 1], (target[0], target[1] + beside * AWAY / 3600)
    about = replace(identity, observation=identity.observation + beside, exposure=identity.exposure + number - 1)
    keywords = {"BKGDTARG": beside, "SRCTYAPT": kind or "EXTENDED", "TARGPROP": "BACKGROUND" if beside else "STAR"}
    dither = {"x": x, "y": y, "number": number, "total": total, "pattern": "4-POINT"}
    return {"target": place, "dither": dither, "identity": about, "header": keywords}


def _put_in(truth, sources, showers):
    """Extensions of the file of truth."""
    at = np.linspace(np.nanmin(truth.wavelength), np.nanmax(truth.wavelength), 4001)
    spectra = {f"FLUX{n}": one.spectrum(at) for n, one in enumerate(sources, start=1)}  # Jy
    tables = {"SPECTRUM": Table({"WAVELENGTH": at, "BACKGROUND": truth.background(at), **spectra})}
    if showers:
        tables["SHOWERS"] = Table(rows=list(showers), names=Showers._fields)
    return {"NOISELESS": (truth.image, "MJy/sr"), "WAVELENGTH": (truth.wavelength, "um"), **tables}


def operations():
    """pars- references in the manner of operations: dedicated backgrounds are for stage 3, where their spectra are subtracted."""
    pipeline = "jwst.pipeline.calwebb_spec2.Spec2Pipeline"
    spec2 = crds_cache.Parameters("MIRI", pipeline, "Spec2Pipeline", steps={"bkg_subtract": {"skip": True}}, match={"EXP_TYPE": "MIR_MRS"})
    return [*crds_cache.operations(["MIRI"]), spec2]


# --- through the instrument ------------------------------------------------------------------------------------------------------


def _rate(one, own, sensor, amplitudes, showers, setup):
    """DN/s that the flat-fielded rate would have: what reaches a pixel, and what is scattered to it behind the flat field."""
    wavelength = one.truth.wavelength
    conversion = fits.getdata(own["photom"], "SCI").astype(float)
    rate = one.truth.image / conversion * _aged(wavelength, one.exposure.header["EXPMID"], setup)
    on_detector = _wavelength(*setup)  # fringes know nothing of the telescope's velocity
    for amplitude, waves in zip(amplitudes, (_waves(on_detector), _other_waves(on_detector)), strict=True):
        rate *= 1 + amplitude * waves
    counted, scattered = sensor.flat * rate, np.zeros(mrs.SHAPE)
    bright = np.where((sensor.dq & np.uint32(dq.DO_NOT_USE)) != 0, 0, counted).astype(np.float32)
    with fits.open(own["mrsxartcorr"]) as hdus:
        for channel, columns in zip(*HALVES[setup[0]], strict=True):
            table = hdus[f"CH{channel}{LETTERS[setup[1]]}"].data
            scatter(bright, scattered, columns, [np.asarray(table[name], float) for name in ARTEFACT])
    y, x = np.indices(mrs.SHAPE)
    for one in showers:
        scattered += one.height * np.exp(-0.5 * (((y - one.row) / one.across) ** 2 + ((x - one.column) / one.along) ** 2))
    return rate + scattered / sensor.flat


def _waves(wavelength):
    """Fringes of an amplitude of 1; 0 beside the slices."""
    return np.nan_to_num(np.sin(2 * np.pi * 1e4 / wavelength / PERIOD))


def _other_waves(wavelength):
    """Those that the fringe flat does not have."""
    return np.nan_to_num(np.sin(2 * np.pi * 1e4 / wavelength / (1.02 * PERIOD) + 0.7))


def _aged(wavelength, mjd, setup):
    """Sensitivity relative to that of the first year."""
    out = np.ones(wavelength.shape)
    for channel in map(int, setup[0]):
        low, high = mrs.RANGES[setup[1]][channel]
        table = _aging(channel)
        here = (wavelength > low - 0.1) & (wavelength < high + 0.1)
        years = ((mjd - table["t0"] + table["tsoft"]) / (365 + table["tsoft"])) ** table["alpha"]
        out[here] = np.interp(wavelength[here], table["binwave"], np.minimum(table["year1value"] * years, 1))
    return out


class _Leaking:
    """A source with light of half the wavelength in its spectrum."""

    def __init__(self, source, part):
        self.source, self.part = source, part

    def __getattr__(self, name):
        return getattr(self.source, name)

    def spectrum(self, wavelength):
        return self.source.spectrum(wavelength) + self.part * _leak(wavelength) * self.source.spectrum(wavelength / 2)


def _leak(wavelength):
    return np.exp(-0.5 * ((wavelength - LEAK[0]) / LEAK[1]) ** 2)


# --- references --------------------------------------------------------------------------------------------------------------


def write_references(folder, channels="12", band="SHORT", fringes=0.1):
    """The references of a detector and band: distortion, specwcs, regions, fringe, photom.

    Parameters
    ----------
    folder : path
    channels, band : str
    fringes : float
        Amplitude of the fringes.

    Returns
    -------
    dict
        type -> path.
    """
    folder = Path(folder)
    files = mrs.write_references(folder, channels=channels, band=band)
    files.pop("wavelengthrange").unlink()  # one is for all bands
    x, none = np.arange(mrs.SHAPE[1]), np.zeros(mrs.SHAPE, np.float32)
    conversion = np.broadcast_to(PHOTMJSR * (1 + 0.1 * np.sin(x / 100)), mrs.SHAPE).astype(np.float32)
    bits = {"DQ": np.zeros(mrs.SHAPE, np.uint32)}
    about = {"DETECTOR": mrs.DETECTORS[channels], "CHANNEL": channels, "BAND": band, "EXP_TYPE": "MIR_MRS"}
    fringe = (1 + fringes * _waves(_wavelength(channels, band))).astype(np.float32)
    laws = {f"TIMECOEFF_POWERLAW_CH{channel}": _aging(channel) for channel in (1, 2, 3, 4)}
    area = {"PHOTMJSR": PHOTMJSR, "PIXAR_SR": AREA, "PIXAR_A2": AREA * (180 / np.pi * 3600) ** 2}
    made = {
        "fringe": ("FringeModel", {"SCI": fringe, "ERR": none, **bits}, about),
        "photom": ("MirMrsPhotomModel", {"SCI": conversion, "ERR": none, **bits, "PIXSIZ": none + AREA, **laws}, about | area),
    }
    return files | {kind: _write(folder / f"mrs{channels}{band}_{kind}.fits", kind, *what) for kind, what in made.items()}


def write_common_references(folder, channels=CHANNELS, bands=tuple(LETTERS), artefact=1.0, leak=0.0):
    """The references that are for several: wavelengthrange, mrsxartcorr, mrsptcorr, cubepar, extract1d, apcorr; fringefreq of detectors.

    Parameters
    ----------
    folder : path
    channels, bands : sequence of str
        That cubes are made of.
    artefact, leak : float
        As `expose` takes them.

    Returns
    -------
    dict
        type -> path; "fringefreq12".
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    every = [(band, number) for band in LETTERS for number in mrs.OPTICS]
    names = [f"{number}{band}" for band, number in every]
    limits = [[low - 0.05, high + 0.05] for low, high in (mrs.RANGES[band][number] for band, number in every)]
    ranges = {"waverange_selector": names, "wavelengthrange": limits, "channels": names}
    profiles = {f"CH{number}{LETTERS[band]}": _artefact(number, artefact) for band, number in every}
    files = {"wavelengthrange": mrs.write_asdf(folder / "mrs_wavelengthrange.asdf", "wavelengthrange", ranges)}
    about = {"EXP_TYPE": "MIR_MRS"}
    files["mrsxartcorr"] = _write(folder / "mrs_mrsxartcorr.fits", "mrsxartcorr", "MirMrsXArtCorrModel", profiles, about)
    files["mrsptcorr"] = _write(folder / "mrs_mrsptcorr.fits", "mrsptcorr", "MirMrsPtCorrModel", {"LEAKCOR": _leaks(leak)}, about)
    for channel in channels:
        about = {"DETECTOR": mrs.DETECTORS[channel]}
        path = folder / f"mrs{channel}_fringefreq.fits"
        files[f"fringefreq{channel}"] = _write(path, "fringefreq", "FringeFreqModel", _frequencies(channel), about)
    used = sorted((int(number), band) for band in bands for channel in channels for number in channel)
    planes = [np.arange(*mrs.RANGES[band][number], 2 * cube_references.MRS_SPAXELS[str(number)][1]) for number, band in used]
    planes = np.unique(np.concatenate(planes).astype(np.float32))
    files["cubepar"] = cube_references.write_cubepar(folder / "mrs_cubepar.fits", cube_references.mrs_bands(mrs.RANGES), planes)
    return files | write_extraction(folder, used)


def write_extraction(folder, used):
    """Write extract1d and apcorr for channels and bands: the latter is what circles about a point source hold of its light, exactly.

    Circles grow with the wavelength, as the mission's do. In those of a fixed 0.8 arcsec channel 4, whose slices are as wide as a star,
    has up to 3 % more or less of a star's light, by where it lies in its slice.

    Parameters
    ----------
    folder : path
    used : sequence of (int, str)
        Channels and bands.
    """
    at, factors = [], []
    for number, band in used:
        at.append(np.linspace(*mrs.RANGES[band][number], 4))
        spaxel = cube_references.MRS_SPAXELS[str(number)][0]
        factors.append(cube_references.corrections(at[-1], mrs.OPTICS[number], *apertures(at[-1]), spaxel))
    at, factors = np.concatenate(at), np.hstack(factors)
    order = np.argsort(at)
    at, factors = at[order], factors[:, order]
    radii, ring = apertures(at)
    return {
        "extract1d": cube_references.write_extract1d(Path(folder, "mrs_extract1d.asdf"), at, radii[1], *ring),
        "apcorr": cube_references.write_apcorr(Path(folder, "mrs_apcorr.asdf"), at, radii, factors),
    }


def apertures(wavelength):
    """Three radii of circles, of which the second is twice the FWHM (Law et al. 2023, AJ 166, 45), and two of the ring [arcsec]."""
    radius = 2 * (0.033 * wavelength + 0.106)
    return radius + np.array([-0.2, 0.0, 0.2])[:, None], radius + np.array([0.45, 0.75])[:, None]


def _wavelength(channels, band):
    """Of each pixel, as the detector sees it [micron]; NaN beside the slices."""
    out, (y, x) = np.full(mrs.SHAPE, np.nan), np.indices(mrs.SHAPE)
    for number in map(int, channels):
        for one in range(1, mrs.OPTICS[number][0] + 1):
            inside = mrs.inside(number, one)
            out[inside] = mrs.slice_models(number, one, band)[2](y[inside], x[inside])
    return out


def _aging(channel):
    """How the sensitivity falls with time, by wavelength; more in the red."""
    table = np.zeros(5, [(name, "f4") for name in ("binwave", "alpha", "year1value", "tsoft", "t0")])
    low, high = mrs.RANGES["SHORT"][channel][0], mrs.RANGES["LONG"][channel][1]
    table["binwave"], table["alpha"], table["tsoft"], table["t0"] = np.linspace(low, high, 5), -0.01 * channel, 30, EPOCH
    table["year1value"] = 1 - 0.03 * channel * np.linspace(0.5, 1, 5)
    return table


def _artefact(channel, strength):
    """Profiles of the cross artefact, a row each."""
    y = np.arange(mrs.SHAPE[0])
    table = np.zeros(y.size, [("yrow", "i2"), *((name.lower(), "f4") for name in ARTEFACT)])
    values = (80 + 20 * np.sin(y / 100), strength * 1e-4 * (1 + y / 2000), 8 + channel + y / 500, 18 + y / 300)
    for name, value in zip(ARTEFACT, (*values, strength * 5e-4, strength * 2e-4), strict=True):
        table[name.lower()] = value
    table["yrow"] = y
    return table


def _frequencies(channels):
    """Fringes of two kinds a slice: of the detector, and in channels 3 and 4 of the dichroics."""
    slices = [100 * int(number) + n for number in channels for n in range(1, mrs.OPTICS[int(number)][0] + 1)]
    kinds = [("slice", "f8"), *((name, kind, 2) for name, kind in (("ffreq", "f8"), ("dffreq", "f8")))]
    kinds += [("min_nfringes", "i4", 2), ("max_nfringes", "i4", 2), ("min_snr", "f8", 2), ("pgram_res", "f8", 2)]
    table = np.zeros(len(slices), kinds)
    table["slice"], table["ffreq"] = slices, (PERIOD, 0.4 if channels == "34" else 0)
    table["dffreq"], table["max_nfringes"], table["min_snr"], table["pgram_res"] = (1.0, 0.15), (10, 15), (10, 10), (0.01, 0.0005)
    largest = np.zeros(5, [("Wavelength", "f4"), ("Amplitude", "f4")])
    largest["Wavelength"], largest["Amplitude"] = np.linspace(4.5, 30, 5), AMPLITUDE
    return {f"RFC_FREQ_{band}": table for band in LETTERS} | {"MAX_AMP": largest}


def _leaks(part):
    """The part of the light at half the wavelength that leaks."""
    table = np.zeros(500, [(name, "f4") for name in ("wavelength", "frac_leak", "err_leak")])
    table["wavelength"] = np.linspace(11.5, 13.5, 500)
    table["frac_leak"] = part * _leak(table["wavelength"])
    return table


def _write(path, kind, model, content, about):
    """A FITS reference: arrays and tables, then keywords."""
    header = {"TELESCOP": "JWST", "INSTRUME": "MIRI", "REFTYPE": kind.upper(), "DATAMODL": model, "AUTHOR": "jwcal.simulate"}
    header |= {"PEDIGREE": "DUMMY", "USEAFTER": references.USEAFTER, "DESCRIP": "made by jwcal.simulate", **about}
    hdus = [(fits.BinTableHDU if what.dtype.names else fits.ImageHDU)(what, name=name) for name, what in content.items()]
    fits.HDUList([fits.PrimaryHDU(header=fits.Header(header)), *hdus]).writeto(path, overwrite=True)
    return path
