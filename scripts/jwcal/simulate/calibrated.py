"""Calibrated exposures without stage 1 and 2: what those would make of the same light, with the truth beside. For fast tests.

    from jwcal.simulate import calibrated, pointing, scene

    one = calibrated.simulate_cal(detector="NRCB1", subarray="SUB160", ngroups=8, tframe=10.7)    # as deep as a full frame
    one.exposure                   # jwcal.exposure.Exposure, suffix "cal", with its gWCS: what steps take
    one.truth.sources              # Table: ra, dec, flux [Jy] and the pixel x, y where each really fell
    one.write("data")              # data/jw..._cal.fits and truth/jw..._truth.fits

    shaky = pointing.Error(east=0.05, north=-0.03, roll=0.01)        # the header does not know of it
    stars = scene.make_scene(*TARGET, radius=4, stars=20, galaxies=0, psf=scene.Psf(fwhm=1.2))
    two = calibrated.simulate_cal(detector="NRCB1", subarray="SUB160", field=stars, pointing_error=shaky, sky_step=0.1, cosmic_rays=40)

    made = calibrated.simulate_mosaic(filters=["F200W"], detectors=["NRCB1", "NRCB2"], dithers=[(0, 0), (1.1, 0.4)], errors=0.05)
    scene.write_catalogue(made[0].truth.field, "stars.ecsv")           # true positions, for tweakreg's abs_refcat
    members = Members([(m.exposure, "science") for m in made], name="jw01234-o001_t001_nircam_f200w", asn_id="o001")

    series = Series(Transit(depth=0.005), jitter=0.02)
    three = calibrated.simulate_cal(exp_type="NRC_TSIMAGE", nints=100, series=series)     # suffix "calints", INT_TIMES

    pair = calibrated.simulate_pair(hidden=(2, -1))                      # wavefront sensing
    tracked = calibrated.simulate_moving((30.0, -10.0))                  # a moving target
    parts = calibrated.simulate_segments(series, exp_type="NRC_TSIMAGE", nints=100, each=40)
    refs = calibrated.write_references("references", made)["NRCB1"]      # type -> file: apcorr, abvegaoffset, gain...
    there = calibrated.write_program("folder", made)                     # all of it, with a CRDS cache and the associations

Same arguments, same arrays. Left out are the detector's nonlinearity, its 1/f noise, and jumps that stage 1 finds: `cosmic_rays` are those
that it missed.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from astropy.table import Table, vstack
from astropy.time import Time, TimeDelta

from .. import associations
from ..model.exposure import Exposure, Header, Pixels
from ..products import stored
from ..program import index
from ..run.loop import COMPLETE
from ..steps import assign_wcs
from ..vocabulary import dq as bits
from . import crds_cache, exposures, instruments, pointing, references, scene
from .detector import make_detector
from .headers import Identity
from .pointing import draw_errors

HIT = np.dtype([("integration", "i4"), ("row", "i4"), ("col", "i4"), ("added", "f4"), ("sigma", "f4")])
SETTLING = 90.0  # s, between two exposures
STEPS = ("assign_wcs", "flat_field", "photom")


@dataclass
class Truth:
    """What was put in.

    Attributes
    ----------
    sources : Table
        id, kind, ra, dec [deg], flux [Jy]... of what falls on the detector; x, y: the pixel (from 0) where it really is, at rest.
    image : (row, col) or (int, row, col) float32
        Surface brightness without noise [MJy/sr].
    sky : float
        MJy/sr.
    error : pointing.Error
    look, seen : pointing.Pointing
        Where the header says that it looks, and where it does.
    field : scene.Scene
        The whole sky.
    cosmic_rays : array of HIT
        Pixels, what was added [MJy/sr], and that over ERR.
    curve : array of series.CURVE, or None
    """

    sources: Table
    image: np.ndarray
    sky: float
    error: pointing.Error
    look: pointing.Pointing
    seen: pointing.Pointing
    field: scene.Scene
    cosmic_rays: np.ndarray
    curve: np.ndarray | None


@dataclass
class Calibrated:
    """An exposure, its truth, and what it was made with."""

    exposure: Exposure
    truth: Truth
    plan: exposures.Taken
    detector: object

    @property
    def setup(self):
        return self.plan.setup

    def write(self, folder, truth=None):
        """Write `<folder>/jw..._cal.fits` and `<truth>/jw..._truth.fits` (`<folder>/../truth` by default); returns both paths."""
        root, t = self.plan.root, self.truth
        cal = stored.write(self.exposure, Path(folder) / f"{root}_{self.exposure.suffix}.fits")
        known = (Path(truth) if truth else Path(folder).parent / "truth") / f"{root}_truth.fits"
        known.parent.mkdir(parents=True, exist_ok=True)
        tables = {"COSMIC_RAYS": t.cosmic_rays, "CATALOG": t.sources, "LIGHT_CURVE": t.curve}
        exposures.write_truth(known, cal.name, {"IMAGE": (t.image, "MJy/sr")}, tables, t.error, t.sky)
        return cal, known


def simulate_cal(
    *,
    exp_type="NRC_IMAGE",
    target=exposures.TARGET,
    roll=30.0,
    dither=None,
    aim=None,
    start=exposures.START,
    identity=None,
    field=None,
    sensor=None,
    pointing_error=None,
    sky_step=0.0,
    cosmic_rays=0,
    series=None,
    moving=False,
    ruined=False,
    noise=True,
    area=True,
    sip=True,
    seed=1,
    header=None,
    **options,
):
    """Make one calibrated exposure of one detector.

    Parameters
    ----------
    exp_type, target, roll, dither, aim, start, identity, field, sensor, pointing_error, moving, seed, header
        As `exposures.simulate_exposure` takes them.
    sky_step : float
        Added to the field's sky [MJy/sr].
    cosmic_rays : int
        How many particles stage 1 did not find, in each integration: tracks of one to a few pixels of 4 to some hundred sigma.
    series : series.Series, optional
        Transit and jitter: the exposure is then integrations (int, row, col), as it is for every EXP_TYPE that is a time series.
    ruined : bool
        All pixels are NaN and DO_NOT_USE.
    noise : bool
        False: SCI is the truth where pixels are good; ERR and the variances are as ever.
    area : bool
        Attach the map of pixel areas.
    sip : bool
        Fit the SIP keywords (a tenth of a second).
    **options
        What `instruments.setup` understands.

    Returns
    -------
    Calibrated

    Raises
    ------
    InputError
        An exposure that no instrument can take.
    """
    plan = exposures.take(exp_type, target, roll, dither, aim, start, identity, pointing_error, **options)
    setup = plan.setup
    sensor = sensor or _detector(setup.instrument, setup.detector, setup.subarray)
    gain = float(sensor.gain.mean())
    field = field or _stars(plan.look)
    field = replace(field, sky=field.sky + sky_step)
    light, catalogue, curve = exposures.light_on(plan, gain, field, series)
    integrations = light.ndim == 3 or setup.keywords.get("TSOVISIT", False)
    if integrations and light.ndim == 2:
        light = np.broadcast_to(light, (setup.readout.nints, *light.shape))
    number = plan.identity.segment[0] if plan.identity.segment else 0
    rng = np.random.default_rng([seed, number, 271])
    pixels, image, hits = _measure(rng, sensor, setup, light, cosmic_rays, noise, ruined)
    primary, science = plan.headers(moving=moving)
    exposures.override(primary, science, header or {})
    suffix = "calints" if integrations else "cal"
    exposure = Exposure(Header(primary, science, f"{plan.root}_{suffix}.fits"), [pixels], _tables(plan, integrations), suffix)
    pixels.header = exposure.header.sci
    _keywords(exposure, setup)
    if area:
        pixels.extra["AREA"] = plan.look.area()[0].astype(np.float32)
    refs = {"distortion": SimpleNamespace(tree={"model": _distortion(setup.instrument, setup.geometry.AperName)}, path="")}
    assign_wcs.apply(exposure, refs, sip_approx=sip)
    exposure.steps = {step: (COMPLETE, "") for step in STEPS}
    truth = Truth(catalogue, image, field.sky, pointing_error or pointing.Error(), plan.look, plan.seen, field, hits, curve)
    return Calibrated(exposure, truth, plan, sensor)


@lru_cache(maxsize=4)
def _detector(instrument, name, subarray):
    return make_detector(instrument, name, subarray, blanked=True)


@lru_cache(maxsize=16)
def _distortion(instrument, aperture):
    return references.distortion_model(SimpleNamespace(geometry=instruments.siaf(instrument)[aperture]))


def _stars(look, seed=1):
    """Stars alone on a detector and a margin about it, none within eight pixels of another."""
    sub = look.setup.subarray
    ra, dec = (float(c) for c in look.pixel_to_sky((sub.xsize - 1) / 2, (sub.ysize - 1) / 2))
    half = 0.7 * max(sub.shape) * look.xscale
    number = int(np.clip(0.6 * half**2, 30, 500))
    return scene.make_scene(ra, dec, radius=half, stars=number, galaxies=0, faintest=5e-7, separation=8 * look.xscale, seed=seed)


def _measure(rng, sensor, setup, light, cosmic_rays, noise, ruined):
    """What stage 1 and 2 would find: Pixels [MJy/sr], the image without noise, and the cosmic rays.

    The variances are those of a line through a ramp's groups: of photons, rate / (gain t), t from the first group to the last
    (Fixsen et al. 2000, PASP 112, 1350, for bright pixels), and of the readout, 12 s^2 / ((n^3 - n) tgroup^2).
    """
    gain, photmjsr = sensor.gain.astype(float), setup.optics[0]
    flat = references.MAKERS["flat"](sensor, setup, {})
    see = sensor.dq & (bits.NON_SCIENCE | bits.REFERENCE_PIXEL) == 0
    response, flags = flat["SCI"].astype(float), sensor.dq | flat["DQ"].astype(np.uint32)
    dark = sensor.dark / gain
    light = light * see / gain.mean()  # the flat field takes out how the gain differs from pixel to pixel
    true = light * np.nan_to_num(response, nan=1.0)  # DN/s
    groups = _groups(sensor, setup.readout, true + dark)
    images = setup.readout.nints if light.ndim == 2 else 1  # that are averaged
    read = _read_variance(sensor, setup.readout, groups) / images
    length = setup.readout.tgroup * np.maximum(groups - 1, 1) * images
    rate = true
    if noise:
        rate = true + np.sqrt((true + dark) / (gain * length) + read) * rng.standard_normal(true.shape)
    to_surface = photmjsr / response  # NaN where there is no flat
    sci = rate * to_surface
    planes = Pixels(sci=sci.astype(np.float32), dq=np.broadcast_to(flags, sci.shape).copy())
    planes.var_poisson = (np.maximum(rate + dark, 0) / (gain * length) * to_surface**2).astype(np.float32)
    planes.var_rnoise = np.broadcast_to(read * to_surface**2, sci.shape).astype(np.float32)
    planes.dq[groups < setup.readout.ngroups] |= bits.SATURATED
    planes.dq[(groups < 1) | np.isnan(response) | ~see | ruined] |= bits.DO_NOT_USE
    hits = _cosmic_rays(rng, planes, cosmic_rays)
    planes.var_flat = (planes.sci / response * flat["ERR"]).astype(np.float32) ** 2
    planes.err = np.sqrt(planes.var_poisson + planes.var_rnoise + planes.var_flat)
    unusable = (planes.dq & bits.DO_NOT_USE) != 0
    for _, plane in planes.planes():
        if plane.dtype.kind == "f":
            plane[unusable] = np.nan
    return planes, (light * photmjsr).astype(np.float32), hits


def _groups(sensor, readout, rate):
    """How many groups of a ramp are below saturation, the shape of `rate` [DN/s]."""
    with np.errstate(divide="ignore"):
        reached = sensor.well / np.maximum(rate, 1e-9) / readout.tgroup
    return np.minimum(np.floor(reached), readout.ngroups).astype(np.int32)


def _read_variance(sensor, readout, groups):
    """Of the slope [(DN/s)^2]; the noise of one read is 1/sqrt(2) of the reference's."""
    n = np.maximum(groups, 2).astype(float)
    return 6 * sensor.readnoise.astype(float) ** 2 / readout.nframes / ((n**3 - n) * readout.tgroup**2)


def _cosmic_rays(rng, planes, number):
    """Add tracks to the samples; those of pixels that are good are in the list."""
    cube = planes.sci.reshape(-1, *planes.sci.shape[-2:])
    good = (planes.dq.reshape(cube.shape) & bits.DO_NOT_USE) == 0
    sigma = np.sqrt(planes.var_poisson + planes.var_rnoise).reshape(cube.shape)
    rows = []
    for k in range(len(cube)):
        for _ in range(number):
            y, x, angle = rng.uniform(0, cube.shape[1]), rng.uniform(0, cube.shape[2]), rng.uniform(0, 2 * np.pi)
            height, length = 4 * rng.random() ** -0.7, rng.exponential(1.0)
            along = np.arange(0, length + 0.5, 0.5)
            track = {(int(y + t * np.sin(angle)), int(x + t * np.cos(angle))) for t in along}
            for row, col in sorted(track):
                if 0 <= row < cube.shape[1] and 0 <= col < cube.shape[2] and good[k, row, col]:
                    added = min(height, 500.0) * rng.uniform(0.3 if len(track) > 1 else 1.0, 1.0) * sigma[k, row, col]
                    cube[k, row, col] += added
                    rows.append((k + 1, row, col, added, added / sigma[k, row, col]))
    return np.array(rows, HIT)


def _tables(plan, integrations):
    tables = {hdu.name: hdu.data for hdu in plan.tables()} if integrations else {}
    return {"INT_TIMES": tables["INT_TIMES"]} if "INT_TIMES" in tables else {}


def _keywords(exposure, setup):
    """What stage 2 adds to the header."""
    photmjsr, nominal, readout = setup.optics[0], pointing.nominal_area(setup), setup.readout
    sci = exposure.header.sci
    sci["BUNIT"] = ("MJy/sr", "physical units of the array values")
    sci["PHOTMJSR"] = (photmjsr, "[MJy/sr] for 1 DN/s")
    sci["PHOTUJA2"] = (photmjsr * 1e12 * pointing.ARCSEC**2, "[uJy/arcsec2] for 1 DN/s")
    sci["PIXAR_SR"] = (nominal * pointing.ARCSEC**2, "[sr] nominal pixel area")
    sci["PIXAR_A2"] = (nominal, "[arcsec2] nominal pixel area")
    measured = readout.tgroup * max(readout.ngroups - 1, 1) * readout.nints
    exposure.header.primary["TMEASURE"] = (round(measured, 3), "[s] Measurement time")


def simulate_mosaic(
    *,
    filters=("F200W",),
    detectors=("NRCB1",),
    dithers=((0.0, 0.0), (1.3, 0.7), (-0.9, 1.6), (0.6, -1.2)),
    errors=0.0,
    roll_errors=0.0,
    sky_steps=(),
    ruined=(),
    field=None,
    target=exposures.TARGET,
    start=exposures.START,
    program=1234,
    seed=1,
    tframe=10.73677,
    ngroups=8,
    **others,
):
    """Make a dithered program: every filter at every dither with every detector.

    Parameters
    ----------
    filters : sequence of str
        FILTER of each, or (FILTER, PUPIL).
    dithers : sequence of (x, y)
        arcsec, in the ideal frame of the aim: the first detector's aperture, if `aim` does not name another.
    errors, roll_errors : float, or a list of pointing.Error, one for each exposure
        rms of the pointing error in east and north [arcsec], and in roll [deg], of each exposure; its detectors share it.
    sky_steps : sequence of float
        Of the exposures, in order [MJy/sr]; repeated as often as needed.
    ruined : collection of int
        Numbers of members, from 0, that are all NaN.
    tframe, ngroups : float, int
        As deep as a full frame of NIRCam also where a subarray is read.
    field : scene.Scene, optional
        By default isolated stars that fill what the detectors see.
    **others
        As `simulate_cal` takes them.

    Returns
    -------
    list of Calibrated
        Filter by filter, then dither by dither, then detector by detector.
    """
    made, exposed = [], 0
    begins = Time(start, format="isot", scale="utc", precision=3)
    mistakes = errors if isinstance(errors, (list, tuple)) else draw_errors(len(filters) * len(dithers), errors, roll_errors, seed)
    for activity, chosen in enumerate(filters, start=1):
        element, pupil = (chosen, None) if isinstance(chosen, str) else chosen
        for position, (x, y) in enumerate(dithers, start=1):
            common = others | {"filter": element, "pupil": pupil, "target": target, "start": begins.isot}
            common |= {"tframe": tframe, "ngroups": ngroups}
            common["dither"] = {"x": x, "y": y, "number": position, "total": len(dithers)}
            common["identity"] = Identity(program=program, activity=f"{activity:02d}", exposure=position)
            common.setdefault("aim", simulate_plan(**common, detector=detectors[0]).setup.aperture)
            field = field or _wide_field(common, detectors, dithers)
            for detector in detectors:
                one = simulate_cal(
                    **common,
                    detector=detector,
                    field=field,
                    pointing_error=mistakes[exposed],
                    sky_step=sky_steps[exposed % len(sky_steps)] if len(sky_steps) else 0.0,
                    ruined=len(made) in ruined,
                    seed=seed + 1000 * (len(made) + 1),
                )
                made.append(one)
            begins = begins + TimeDelta(one.setup.readout.duration + SETTLING, format="sec")
            exposed += 1
    return made


def _wide_field(common, detectors, dithers):
    """Stars all over what the detectors see, none within eight pixels of another."""
    looks = [simulate_plan(**(common | {"dither": {"x": x, "y": y}, "detector": d})).look for d in detectors for x, y in dithers]
    parts = []
    for number, look in enumerate(looks):
        part = _stars(look, seed=number + 1)
        ra, dec = (np.asarray(part.sources[name], float) for name in ("ra", "dec"))
        new = np.ones(len(ra), bool)
        for earlier in looks[:number]:
            new &= ~_within(earlier, *earlier.sky_to_pixel(ra, dec), margin=8)
        parts.append(part.sources[new])
    sources = vstack(parts)
    sources["id"] = np.arange(1, len(sources) + 1)
    return replace(part, sources=sources)


def _within(look, x, y, margin):
    sub = look.setup.subarray
    return (x > -margin) & (y > -margin) & (x < sub.xsize + margin) & (y < sub.ysize + margin)


def simulate_pair(hidden=(2, -1), *, dithers=((0.0, 0.0), (0.62, 0.31)), error=None, flux=1e-4, **others):
    """Make a pair of exposures for wavefront sensing: one star, two dithers, the second of which misses by whole pixels.

    Parameters
    ----------
    hidden : (x, y)
        By how many pixels the second image is off the place that its header gives.
    dithers : two (x, y)
        arcsec, in the aperture's ideal frame.
    error : pointing.Error, optional
        Of both.
    flux : float
        Jy, of the star on the target.
    **others
        As `simulate_cal` takes them.

    Returns
    -------
    list of Calibrated
    """
    usual = {"detector": "NRCA3", "filter": "F212N", "pupil": "WLP8", "subarray": "SUB160", "tframe": 10.73677, "ngroups": 8}
    others = usual | {"VISITYPE": "PRIME_WFSC_SENSING_CONTROL", "seed": 1} | others
    target, seed = others.get("target", exposures.TARGET), others.pop("seed")
    empty = scene.make_scene(*target, stars=0, galaxies=0)
    others.setdefault("field", scene.with_star(empty, *target, flux))
    start = Time(others.pop("start", exposures.START), format="isot", scale="utc", precision=3)
    made = []
    for number, (x, y) in enumerate(dithers, start=1):
        dither = {"x": x, "y": y, "number": number, "total": 2, "pattern": "WFSC"}
        pointed = {"dither": dither, "identity": Identity(exposure=number), "start": start.isot}
        missed = error
        if number == 2:
            plain = simulate_plan(**others, **pointed)
            off, error = pointing.error_of_pixels(plain.look, *hidden, target), error or pointing.Error()
            missed = pointing.Error(off.east + error.east, off.north + error.north, error.roll)
        made.append(simulate_cal(**others, **pointed, pointing_error=missed, seed=seed + number))
        start = start + TimeDelta(made[-1].setup.readout.duration + SETTLING, format="sec")
    return made


def simulate_moving(rate=(30.0, -10.0), *, flux=1e-5, number=4, gap=900.0, dithers=(), field=None, start=exposures.START, **others):
    """Follow a target that moves among the stars, from exposure to exposure.

    Parameters
    ----------
    rate : (east, north)
        arcsec an hour.
    flux : float
        Jy, of the target. It is given as the last source of the truth.
    number : int
        Of exposures.
    gap : float
        s, between two of them.
    dithers : sequence of (x, y), optional
        arcsec; none by default: the target stays on its pixel.
    **others
        As `simulate_cal` takes them; `target` is where it is in the middle of the first exposure.

    Returns
    -------
    list of Calibrated
    """
    others = {"detector": "NRCB1", "subarray": "SUB160", "tframe": 10.73677, "ngroups": 8, "seed": 1} | others
    first, seed = others.pop("target", exposures.TARGET), others.pop("seed")
    start, made = Time(start, format="isot", scale="utc", precision=3), []
    for k in range(number):
        dither = {"number": k + 1, "total": number} | (dict(zip("xy", dithers[k % len(dithers)], strict=True)) if dithers else {})
        plan = {"start": start.isot, "dither": dither, "identity": Identity(exposure=k + 1), "moving": True}
        if k == 0:
            step = (simulate_plan(**others, target=first, **plan).setup.readout.duration + gap) / 3600
            field = field or _along(first, rate, step * (number - 1))
        target = tuple(float(c) for c in pointing.moved(first, *(r * step * k for r in rate)))
        made.append(simulate_cal(**others, **plan, target=target, field=scene.with_star(field, *target, flux), seed=seed + k))
        start = start + TimeDelta(step * 3600, format="sec")
    return made


def _along(first, rate, hours, width=4.0):
    """Stars where a moving target passes."""
    middle = tuple(float(c) for c in pointing.moved(first, *(r * hours / 2 for r in rate)))
    half = hours / 2 * max(map(abs, rate)) + width
    return scene.make_scene(*middle, radius=half, stars=int(0.6 * half**2), galaxies=0, faintest=5e-7, separation=0.3)


def simulate_segments(series, *, nints, each, **others):
    """Make a time series as several files.

    Parameters
    ----------
    series : series.Series
    nints : int
        Of the whole exposure.
    each : int
        Integrations in each file, at most.
    **others
        As `simulate_cal` takes them.

    Returns
    -------
    list of Calibrated
    """
    parts = exposures.segments(others.pop("identity", Identity()), nints, each)
    return [simulate_cal(**others, series=series, identity=p, nints=p.segment[3] - p.segment[2] + 1) for p in parts]


def simulate_plan(exp_type="NRC_IMAGE", **chosen):
    """Where an exposure of `simulate_cal` would look, without its pixels: `exposures.Taken`; what does not matter for that is let be."""
    for name in ("field", "sensor", "sky_step", "cosmic_rays", "series", "moving", "ruined", "noise", "area", "sip", "seed", "header"):
        chosen.pop(name, None)
    return exposures.take(exp_type, **chosen)


def write_references(folder, made, **options):
    """Write the references of all stages for what was made.

    Parameters
    ----------
    folder : path
    made : sequence of Calibrated
    **options
        As `references.write_references` takes them; the PSF is that of the first one's field.

    Returns
    -------
    dict
        Detector -> {type: path}. A type that is for a whole instrument is in the dict of its first detector alone, so that
        `crds_cache.build(folder, files)` can take all of them.
    """
    there, files = set(), {}
    options = {"psf": made[0].truth.field.psf} | options
    for one in made:
        setup = one.setup
        types = [*references.types_for(setup), *references.stage3_types(setup)]
        types = [kind for kind in types if references.scope(kind, setup) not in there]
        there.update(references.scope(kind, setup) for kind in types)
        if types:
            new = references.write_references(folder, one.detector, setup=setup, types=types, number=9001 + len(files), **options)
            files.setdefault(setup.detector, {}).update(new)
    return files


def write_program(folder, made, **options):
    """Write all that stage 3 needs of what was made.

    Parameters
    ----------
    folder : path
        Gets data (cal files), truth, references, crds (a CRDS cache), catalogue.ecsv (true places of the stars) and associations.
    made : sequence of Calibrated
    **options
        As `references.write_references` takes them.

    Returns
    -------
    dict
        `data`, `references`, `associations` (those of stage 3, beside the data): lists of paths; `crds`, `catalogue`: paths.
    """
    folder = Path(folder)
    data = [one.write(folder / "data")[0] for one in made]
    files = [path for kinds in write_references(folder / "references", made, **options).values() for path in kinds.values()]
    crds_cache.build(folder / "crds", files, pars=crds_cache.operations())
    catalogue = scene.write_catalogue(made[0].truth.field, folder / "catalogue.ecsv")
    found = associations.generate(associations.from_exposures(index.find(folder / "data").exposures), candidates=True, discover=False)
    written = associations.write([one for one in found if one.asn_type.endswith("3")], folder / "data")
    return {"data": data, "references": files, "associations": written, "crds": folder / "crds", "catalogue": catalogue}
