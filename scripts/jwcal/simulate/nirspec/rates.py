"""NIRSpec's spectra as rates, with what was put in: fixed slits, bright object time series, slitlets, lamps, the image slicer.

    files = nirspec.write_references("references", mode="fs", real="real references")
    star = Source(Spectrum(flux=5e-3, at=2.0, slope=-0.8))
    one = nirspec.simulate_slits(files, slit="S200A1", sources=[star], background=lambda wavelength: 1 + 0 * wavelength)
    one.exposure, one.truth.image, one.truth.places

Spectra are taken as the line spread function leaves them: a line is as wide as its source makes it. Sources are where the sky puts them:
the target at the slit's middle but for the dither, the others along and across the slit from it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from astropy.time import Time, TimeDelta

from ...model.exposure import Exposure, Header
from ...model.references import References
from .. import exposures, headers, instruments, pointing
from ..spectrograph import Dip, Source, measured
from . import elements, light, response
from .optics import SLITS, Optics
from .references import FILTERS
from .shutters import NODS, Slitlet

STAR = Source()
WHEEL = {
    "GWA_XTIL": 0.3368,
    "GWA_YTIL": 0.0334,
    "GWA_TILT": 37.4,
    "GWA_PXAV": 168.9,
    "GWA_PYAV": 16.7,
}  # sensors of the grating wheel, and K
SUBARRAYS = {
    "SUBS200A1": ("S200A1",),
    "SUBS200A2": ("S200A2",),
    "SUBS400A1": ("S400A1",),
    "SUBS200B1": ("S200B1",),
    **dict.fromkeys(("SUB2048", "SUB512", "SUB512S", "SUB1024A", "SUB1024B"), ("S1600A1",)),
}


@dataclass
class Truth:
    """What was put in.

    Attributes
    ----------
    sources : list
        Of Source or Slitlet.
    image : (row, col) or (int, row, col)
        DN/s without noise.
    spots : dict
        Slit, slitlet number or slice -> light.Footprint.
    places : dict
        The same -> [(across, along)] of its sources, in the opening's width and length.
    background : callable or None
        wavelength -> MJy/sr.
    dip : Dip or None
    cosmic_rays : list of (row, column, DN/s), or (int, row, column, DN/s)
    """

    sources: list
    image: np.ndarray
    spots: dict
    places: dict = field(default_factory=dict)
    background: Callable | None = None
    dip: Dip | None = None
    cosmic_rays: list = field(default_factory=list)


@dataclass
class Simulated:
    """An exposure, its truth, and what it was made with: `options` are what `from_rates.Shot` takes."""

    exposure: Exposure
    truth: Truth
    refs: References = field(repr=False)
    optics: Optics = field(repr=False)
    options: dict = field(default_factory=dict, repr=False)


class Stage:
    """An exposure before the light: its keywords, where the telescope looks, and the optics as they stand."""

    def __init__(self, files, exp_type, opening, grating, filter, options, *, target, roll, dither, start, identity, header):
        chosen = {"GRATING": grating, "filter": filter or FILTERS[grating], **WHEEL, **options}
        self.options = chosen
        self.setup = instruments.setup(exp_type, **chosen)
        self.began = Time(start, format="isot", scale="utc", precision=3)
        self.craft = craft = headers.spacecraft(self.began + TimeDelta(self.setup.readout.duration / 2, format="sec"))
        self.dither, self.target, identity = dither or {}, target, identity or headers.Identity()
        key = f"{self.setup.keywords.get('LAMP') if self.setup.filter == 'OPAQUE' else self.setup.filter}_{grating}"
        order, *band = elements.RANGES.get(key, (-1, 0.6, 5.3))
        self.band = tuple(band)
        optics = Optics.of(files, tilts=(chosen["GWA_XTIL"], chosen["GWA_YTIL"]), temperature=chosen["GWA_TILT"], order=order)
        look = pointing.point(self.setup, target, roll=roll, dither=self._offset(), va_scale=craft.towards(*target)[1])
        values = headers.keywords(self.setup, look, identity, self.began, target=target, craft=craft, dither=self.dither)
        for sensor in WHEEL:
            values[sensor] = chosen[sensor]
        place = opening(optics)
        if place is not None:  # of the slit, as the references have it: the SIAF's is where the flight's have it
            look = replace(look, v2_ref=float(place[0]), v3_ref=float(place[1]))
            values |= {"V2_REF": look.v2_ref, "V3_REF": look.v3_ref}
        primary, science = headers.make_headers(self.setup, values)
        science["BUNIT"] = "DN/s"
        exposures.override(primary, science, header or {})
        self.look, self.header = look, Header(primary, science, f"{identity.root(self.setup, self.began)}_rate.fits")
        self.optics = optics.seen(recession=0.0 if self.setup.filter == "OPAQUE" else float(science.get("VELOSYS") or 0.0))
        self.files, self.image, self.spots, self.places = files, np.zeros(self.setup.subarray.shape), {}, {}
        self.taken = {"identity": identity, "dither": self.dither, "target": target, "roll": roll, "start": start}
        self.taken["header"] = {key: values[key] for key in ("V2_REF", "V3_REF")} | (header or {}) if place is not None else header or {}

    def _offset(self):
        return self.dither.get("x", 0.0), self.dither.get("y", 0.0)

    def field_of(self, ra, dec):
        """V2, V3 [arcsec] that a place on the sky is seen at."""
        v2, v3 = pointing.rotations().getv2v3(self.look.attitude, np.atleast_1d(ra), np.atleast_1d(dec))
        s = self.look.va_scale
        return (float(v2[0]) - (1 - s) * self.look.v2_ref) / s, (float(v3[0]) - (1 - s) * self.look.v3_ref) / s

    def sky_of(self, v2, v3):
        """RA, Dec [deg] of V2, V3 [arcsec]."""
        s, look = self.look.va_scale, self.look
        ra, dec = pointing.rotations().pointing(look.attitude, s * v2 + (1 - s) * look.v2_ref, s * v3 + (1 - s) * look.v3_ref)
        return float(ra) % 360, float(dec)

    def spot(self, name, aperture, ends=(-0.5, 0.5)):
        """The pixels that an opening lights; None off the detector."""
        found = light.footprint(self.optics, aperture, self.band, self.setup.detector, self.setup.subarray, ends)
        if found is not None:
            self.spots[name] = found
        return found

    def add(self, spot, rate, image=None):
        light.add(self.image if image is None else image, spot, rate, self.setup.subarray)

    def done(self, sources, background=None, dip=None, lost=None, noise=True, seed=1, cosmic_rays=(), kind="rate"):
        """The exposure and its truth."""
        image = self.image
        if kind == "rateints":
            part = np.zeros(self.setup.readout.nints) if dip is None else np.asarray(dip.shape, float)
            image = image - part[:, None, None] * (0 if lost is None else lost)
        hit = image.copy()
        for *place, height in cosmic_rays:
            hit[tuple(place)] += height
        rng = np.random.default_rng([seed, 811])
        slicer = self.setup.keywords.get("OPMODE") == "IFU"
        self.header["DATAMODL"] = "CubeModel" if kind == "rateints" else "IFUImageModel" if slicer else "ImageModel"
        self.header["FILENAME"] = self.header["FILENAME"].replace("_uncal", f"_{kind}")
        made = Exposure(self.header, [], suffix=kind)
        made.pixels = [measured(hit, np.ones(self.setup.subarray.shape), self.setup.readout.effinttm, noise, rng)]
        made.pixels[0].header = self.header.sci
        truth = Truth(list(sources), image, self.spots, self.places, background, dip, list(cosmic_rays))
        if kind == "rateints":
            made.tables["INT_TIMES"] = np.array(
                exposures.int_times(self.setup, self.began, self.craft, self.target, self.taken["identity"]).data
            )
        return Simulated(made, truth, References(self.files, self.header), self.optics, self.options | self.taken)


def simulate_slits(
    files,
    *,
    slit="S200A1",
    grating="PRISM",
    filter=None,
    subarray=None,
    sources=(STAR,),
    background=None,
    source_type="POINT",
    target=exposures.TARGET,
    roll=30.0,
    dither=None,
    start=exposures.START,
    identity=None,
    cosmic_rays=(),
    noise=True,
    seed=1,
    header=None,
    **options,
):
    """An exposure through the fixed slits.

    Parameters
    ----------
    files : dict
        type -> path of the references.
    slit : str
        The target's.
    grating, filter, subarray : str
        By default the filter that goes with the grating, and the slit's subarray.
    sources : sequence of spectrograph.Source
        Point sources: `along` and `across` the slit from the target [arcsec].
    background : callable, optional
        wavelength [micron] -> MJy/sr, in all slits.
    source_type : str
        SRCTYAPT: POINT, EXTENDED, UNKNOWN. It changes no light.
    target, roll, dither, start, identity, header
        As `exposures.simulate_exposure` takes them; `dither` puts the target elsewhere in the slit: `x` across, `y` along [arcsec].
    cosmic_rays : sequence of (row, column, DN/s)
        Hits to add.
    noise : bool
    seed : int
    **options
        What `instruments.setup` understands: detector, ngroups...

    Returns
    -------
    Simulated
    """
    options = {"FXD_SLIT": slit, "subarray": subarray or f"SUB{slit}", "aperture": f"NRS_{slit}_SLIT", "SRCTYAPT": source_type} | options
    stage = _through_slit(files, "NRS_FIXEDSLIT", slit, grating, filter, options, target, roll, dither, start, identity, header)
    _slits(stage, slit, sources, background, "fs")
    return stage.done(sources, background, noise=noise, seed=seed, cosmic_rays=cosmic_rays)


def _through_slit(files, exp_type, slit, grating, filter, options, target, roll, dither, start, identity, header):
    known = {"target": target, "roll": roll, "dither": dither, "start": start, "identity": identity, "header": header}
    return Stage(files, exp_type, lambda optics: optics.to_field(optics.slit(slit)), grating, filter, options, **known)


def _slits(stage, slit, sources, background, mode, lost=None, dip=None):
    """Paint the open slits: background in all of them, the sources in one."""
    for name in SUBARRAYS.get(stage.setup.subarray.name, SLITS):
        spot = stage.spot(name, stage.optics.slit(name))
        if spot is None:
            continue
        loss = response.even_loss if mode == "fs" else _nothing_lost
        if background is not None:
            stage.add(spot, light.even_light(spot, background, "fs", response.number(name), loss=loss))
        if name != slit:
            continue
        across, along = stage.optics.place_of(spot.aperture, *stage.field_of(*stage.target))
        for number, source in enumerate(sources):
            place = float(across) + source.across / spot.opening[0], float(along) + source.along / spot.opening[1]
            stage.places.setdefault(name, []).append(place)
            paint = _point if mode == "fs" else _whole
            stage.add(spot, paint(spot, source.spectrum, *place, response.number(name)))
            if lost is not None and dip is not None and not number:
                stage.add(spot, paint(spot, _Lost(source.spectrum, dip), *place, response.number(name)), lost)


def _nothing_lost(wavelength):
    """No losses where the calibration corrects none: bright object time series."""
    return np.ones(np.shape(wavelength))


def _point(spot, spectrum, across, along, which):
    return light.point_light(spot, spectrum, across, along, "fs", which)


def _whole(spot, spectrum, across, along, which):
    """A point source whose losses on the way are in its spectrum: what the slit holds back is given to what it lets through."""
    through = response.point_part(across, along, light.own_wavelength(spot, across), spot.opening)
    return light.point_light(spot, spectrum, across, along, "fs", which) / np.where(np.isfinite(through), through, 1.0)


@dataclass(frozen=True)
class _Lost:
    """What a dip takes of a spectrum."""

    spectrum: Callable
    dip: Dip

    def __call__(self, wavelength):
        return self.spectrum(wavelength) * self.dip(wavelength)


def simulate_series(
    files,
    *,
    grating="PRISM",
    filter=None,
    subarray="SUB512",
    sources=(STAR,),
    background=None,
    dip=None,
    target=exposures.TARGET,
    roll=30.0,
    dither=None,
    start=exposures.START,
    identity=None,
    cosmic_rays=(),
    noise=True,
    seed=1,
    header=None,
    **options,
):
    """A time series through S1600A1, one rate for each integration.

    No losses in the slit, for the calibration corrects none: a source's spectrum is what the slit lets through.

    Parameters
    ----------
    dip : spectrograph.Dip, optional
        The first source's; its length is the number of integrations.
    cosmic_rays : sequence of (integration, row, column, DN/s)
    files, grating, filter, subarray, sources, background, target, roll, dither, start, identity, noise, seed, header, options
        As `simulate_slits` takes them.

    Returns
    -------
    Simulated
    """
    if dip is not None:
        options = {"nints": len(dip.shape), **options}
    options = {"FXD_SLIT": "S1600A1", "subarray": subarray, "SRCTYAPT": "POINT", "OPMODE": "BRIGHTOBJ"} | options
    stage = _through_slit(files, "NRS_BRIGHTOBJ", "S1600A1", grating, filter, options, target, roll, dither, start, identity, header)
    lost = np.zeros_like(stage.image)
    _slits(stage, "S1600A1", sources, background, "bots", lost, dip)
    return stage.done(sources, background, dip, lost, noise, seed, cosmic_rays, "rateints")


def simulate_slitlets(
    files,
    slitlets,
    *,
    grating="PRISM",
    filter=None,
    background=None,
    nod=1,
    nods=NODS,
    metadata="jw01234001001_01_msa.fits",
    configuration=1,
    failed=response.FAILED,
    target=exposures.TARGET,
    roll=30.0,
    start=exposures.START,
    identity=None,
    cosmic_rays=(),
    noise=True,
    seed=1,
    header=None,
    **options,
):
    """An exposure through slitlets of micro-shutters.

    Parameters
    ----------
    slitlets : sequence of shutters.Slitlet
    background : callable, optional
        wavelength -> MJy/sr, in all slitlets.
    nod : int
        Number of the dither, from 1; `nods` as `shutters.write_msa` takes them: the telescope moves as far as they say.
    metadata : str
        MSAMETFL.
    configuration : int
        MSAMETID.
    failed : sequence of (quadrant, column, row)
        Shutters that never close: background through them.
    files, grating, filter, target, roll, start, identity, cosmic_rays, noise, seed, header, options
        As `simulate_slits` takes them.

    Returns
    -------
    Simulated
        Its truth's `places` are of the shutter that holds the source.
    """
    options = {"MSAMETFL": metadata, "MSAMETID": configuration, "OPMODE": "MSASPEC", "subarray": "FULL"} | options
    known = {"target": target, "roll": roll, "start": start, "identity": identity, "header": header}
    given = {"files": files, "grating": grating, "filter": filter, "options": options, **known}
    stage = _at_nod(slitlets, nod, nods, **given)
    first = stage if nods[nod - 1] == 0 else _at_nod(slitlets, 1, (0,), **given)
    for one in slitlets:
        _slitlet(stage, first, one, nods[nod - 1], background)
    for place in failed:
        _failed(stage, place, background, "mos")
    return stage.done(slitlets, background, noise=noise, seed=seed, cosmic_rays=cosmic_rays)


def _at_nod(slitlets, nod, nods, files, grating, filter, options, **known):
    """The telescope where it has moved the sources by so many shutters; how far that is the first slitlet tells."""
    dither = {"number": nod, "total": len(nods), "pattern": "NONE"}
    one = next((one for one in slitlets if one.slit == "NONE"), None)
    if nods[nod - 1] and one is not None:
        optics = Optics.of(files)
        rows = one.row, one.row + nods[nod - 1]
        there, here = (optics.to_field(optics.shutter(one.quadrant, one.column, row)) for row in rows[::-1])
        own = instruments.siaf("NIRSPEC")[instruments.setup("NRS_MSASPEC", GRATING=grating, filter=filter or FILTERS[grating]).aperture]
        x, y = own.tel_to_idl(own.V2Ref + float(there[0] - here[0]), own.V3Ref + float(there[1] - here[1]))
        dither |= {"x": float(x), "y": float(y)}
    return Stage(files, "NRS_MSASPEC", lambda optics: None, grating, filter, options, dither=dither, **known)


def _opening_of(stage, one, nod):
    """The slit of a slitlet, or its shutter in the middle."""
    return stage.optics.slit(one.slit) if one.slit != "NONE" else stage.optics.shutter(one.quadrant, one.column, one.seen_at(nod)[0])


def _nominal(one):
    """Where its source is in the first dither, in the opening's width and length."""
    return (one.x - 0.5, one.y - 0.5) if one.slit != "NONE" else one.place


def _place_at_nod(stage, first, one, nod):
    """Where the source of a slitlet is in that opening: where the sky puts it that the first dither tells."""
    if nod == 0:
        return _nominal(one)
    sky = first.sky_of(*first.optics.to_field(_opening_of(first, one, 0), *_nominal(one)))
    return tuple(float(side) for side in stage.optics.place_of(_opening_of(stage, one, nod), *stage.field_of(*sky)))


def _slitlet(stage, first, one, nod, background):
    place = _place_at_nod(stage, first, one, nod)
    if one.slit != "NONE":
        return _slit_of_slitlet(stage, one, place, background)
    row, shutters, _ = one.seen_at(nod)
    shutter = stage.optics.shutter(one.quadrant, one.column, row)
    ends = tuple((k + side) / response.SCREEN[1] for k, side in zip(shutters, (-0.6, 0.6), strict=True))
    spot = stage.spot(one.number, shutter, ends)
    if spot is None:
        return None
    how = {"mode": "mos", "which": one.quadrant, "shutters": shutters, "shutter": (one.column, row)}
    for glow in (background, one.glow):
        if glow is not None:
            stage.add(spot, light.even_light(spot, glow, **how))
    if one.spectrum is not None:
        stage.places[one.number] = [place]
        stage.add(spot, light.point_light(spot, one.spectrum, *place, **how))
    return None


def _slit_of_slitlet(stage, one, place, background):
    """A fixed slit that the metadata name: its source is placed in parts of the slit."""
    spot = stage.spot(one.slit, stage.optics.slit(one.slit))
    if spot is None:
        return
    which = response.number(one.slit)
    for glow in (background, one.glow):
        if glow is not None:
            stage.add(spot, light.even_light(spot, glow, "fs", which))
    if one.spectrum is not None:
        stage.places[one.slit] = [place]
        stage.add(spot, _point(spot, one.spectrum, *place, which))


def _failed(stage, place, background, mode):
    """Light through a shutter that does not close."""
    quadrant, column, row = place
    spot = stage.spot(("failed", *place), stage.optics.shutter(*place), (-0.7, 0.7))
    if spot is not None and background is not None:
        which, shutter = (quadrant, (column, row)) if mode == "mos" else (0, None)
        stage.add(spot, light.even_light(spot, background, mode, which, (0, 0), shutter))


def places_on_sky(files, slitlets, **known):
    """RA, Dec [deg] of the sources of slitlets, as `write_msa(where=...)` asks for them: of the first dither.

    Parameters
    ----------
    files : dict
    slitlets : sequence of Slitlet
    **known
        target, roll, start... of the exposure.

    Returns
    -------
    callable
        Slitlet -> (RA, Dec)
    """
    stage = _bare(files, **known)

    def where(one: Slitlet):
        return stage.sky_of(*stage.optics.to_field(_opening_of(stage, one, 0), *_nominal(one)))

    return where


def places_in_shutters(files, slitlets, nods=NODS, *, grating="PRISM", filter=None, **known):
    """Where the sources of slitlets are in their shutters, as `write_msa(seen=...)` asks for them.

    The shutters are not all equally far from each other on the sky: after a move by whole ones of the first slitlet the sources of the
    others are a little elsewhere in theirs.

    Parameters
    ----------
    files, nods
    slitlets : sequence of Slitlet
    **known
        target, roll, start... of the exposures.

    Returns
    -------
    callable
        Slitlet, number of the dither -> (x, y)
    """
    given = {"target": exposures.TARGET, "roll": 30.0, "start": exposures.START, "identity": None, "header": None}
    given |= {name: value for name, value in known.items() if name in given}
    given |= {"files": files, "grating": grating, "filter": filter, "options": {"subarray": "FULL"}}
    first = _at_nod(slitlets, 1, (0,), **given)
    stages = [first if nod == 0 else _at_nod(slitlets, number, nods, **given) for number, nod in enumerate(nods, start=1)]

    def seen(one: Slitlet, dither):
        unit = response.SCREEN if one.slit == "NONE" else (1.0, 1.0)
        place = _place_at_nod(stages[dither - 1], first, one, nods[dither - 1])
        return tuple(0.5 + side * part for side, part in zip(place, unit, strict=True))

    return seen


def _bare(files, *, grating="PRISM", filter=None, target=exposures.TARGET, roll=30.0, start=exposures.START, **options):
    known = {"target": target, "roll": roll, "dither": None, "start": start, "identity": None, "header": None}
    return Stage(files, "NRS_MSASPEC", lambda optics: None, grating, filter, {"subarray": "FULL"} | options, **known)


def simulate_lamp(
    files,
    *,
    grating="PRISM",
    lamp="LINE4",
    exp_type="NRS_AUTOWAVE",
    opmode="FIXEDSLIT",
    spectrum=None,
    slitlets=(),
    subarray="FULL",
    start=exposures.START,
    identity=None,
    noise=True,
    seed=1,
    header=None,
    **options,
):
    """An exposure of a lamp inside.

    Parameters
    ----------
    spectrum : callable
        wavelength -> DN/s in every pixel, after the flats.
    lamp, exp_type, opmode : str
        LAMP, EXP_TYPE, OPMODE: FIXEDSLIT, BRIGHTOBJ, MSASPEC with `slitlets`, IFU.
    files, grating, subarray, start, identity, noise, seed, header, options
        As `simulate_slits` takes them.

    Returns
    -------
    Simulated
    """
    options = {"LAMP": lamp, "OPMODE": opmode, "subarray": subarray, "uniform": None} | options
    known = {"target": exposures.TARGET, "roll": 30.0, "dither": None, "start": start, "identity": identity, "header": header}
    stage = Stage(files, exp_type, lambda optics: None, grating, "OPAQUE", options, **known)
    spectrum = spectrum or lines()
    if opmode == "MSASPEC":
        for one in slitlets:
            shutter = stage.optics.shutter(one.quadrant, one.column, one.row)
            ends = tuple((k + side) / response.SCREEN[1] for k, side in zip(one.shutters, (-0.6, 0.6), strict=True))
            spot = stage.spot(one.number, shutter, ends)
            if spot is not None:
                part = response.bars(spot.wavelength, spot.along * response.SCREEN[1], *one.shutters)
                stage.add(spot, np.nan_to_num(spectrum(spot.wavelength) * part * _flat(spot, "mos", one.quadrant, (one.column, one.row))))
    elif opmode == "IFU":
        for number in range(elements.SLICES):
            _lit(stage, number, stage.optics.slice(number), spectrum, "ifu", 0)
    else:
        for name in SUBARRAYS.get(subarray, SLITS):
            _lit(stage, name, stage.optics.slit(name), spectrum, "fs", response.number(name))
    return stage.done([], noise=noise, seed=seed)


def _lit(stage, name, aperture, spectrum, mode, which):
    spot = stage.spot(name, aperture)
    if spot is not None:
        part = light.covered(spot, ((-0.5, 0.5),)) / light.thickness(spot)
        stage.add(spot, np.nan_to_num(spectrum(spot.wavelength) * part * _flat(spot, mode, which)))


def _flat(spot, mode, which, shutter=None):
    return response.flat(mode, spot.wavelength, spot.columns, spot.rows, which, shutter)


@dataclass(frozen=True)
class Lines:
    """A lamp's lines over a weak continuum.

    Attributes
    ----------
    at : sequence of float
        micron.
    width : float
        FWHM over the wavelength.
    height, continuum : float
        DN/s.
    """

    at: tuple = (0.8, 1.0, 1.3, 1.7, 2.2, 2.8, 3.4, 4.1, 4.9)
    width: float = 0.02
    height: float = 200.0
    continuum: float = 5.0

    def __call__(self, wavelength):
        wavelength = np.asarray(wavelength, float)
        sigma = [self.width * at / np.sqrt(8 * np.log(2)) for at in self.at]
        return self.continuum + self.height * sum(np.exp(-0.5 * ((wavelength - at) / s) ** 2) for at, s in zip(self.at, sigma, strict=True))


def lines(**given):
    """A lamp's spectrum, for `simulate_lamp`."""
    return Lines(**given)


def simulate_slicer(
    files,
    *,
    grating="PRISM",
    filter=None,
    sources=(STAR,),
    background=None,
    source_type="POINT",
    imprint=False,
    failed=response.FAILED,
    leak=None,
    target=exposures.TARGET,
    roll=30.0,
    dither=None,
    start=exposures.START,
    identity=None,
    cosmic_rays=(),
    noise=True,
    seed=1,
    header=None,
    **options,
):
    """An exposure of the image slicer.

    Parameters
    ----------
    sources : sequence of spectrograph.Source
        Point sources: `along` and `across` the slices from the target [arcsec].
    background : callable, optional
        wavelength -> MJy/sr that fills the field.
    source_type : str
        POINT: all light loses what the path losses have for a point source.
    imprint : bool
        Nothing through the slicer: only what leaks through the shutters.
    failed : sequence of (quadrant, column, row)
        Shutters that do not close.
    leak : callable, optional
        wavelength -> MJy/sr before them.
    files, grating, filter, target, roll, dither, start, identity, cosmic_rays, noise, seed, header, options
        As `simulate_slits` takes them; `dither` puts the target elsewhere in the field.

    Returns
    -------
    Simulated
        Its truth's `places` are of the slices that hold light of each source: by wavelength 2 micron.
    """
    options = {
        "OPMODE": "IFU",
        "subarray": "FULL",
        "SRCTYAPT": source_type,
        "IS_IMPRT": bool(imprint),
        "aperture": "NRS_FULL_IFU",
    } | options
    known = {"target": target, "roll": roll, "dither": dither, "start": start, "identity": identity, "header": header}
    stage = Stage(files, "NRS_IFU", _middle_of_slicer, grating, filter, options, **known)
    loss = response.point_loss if source_type == "POINT" else response.even_loss
    seen = stage.field_of(*stage.target)
    if not imprint:
        for number in range(elements.SLICES):
            _slice(stage, number, seen, sources, background, loss)
    for place in failed:
        _failed(stage, place, leak, "ifu")
    return stage.done(sources, background, noise=noise, seed=seed, cosmic_rays=cosmic_rays)


def _middle_of_slicer(optics):
    """Where slices 0 and 1 touch."""
    return optics.to_field(optics.slice(0), -0.5, 0.0)


def _slice(stage, number, seen, sources, background, loss):
    aperture = stage.optics.slice(number)
    spot = stage.spot(number, aperture)
    if spot is None:
        return
    if background is not None:
        stage.add(spot, light.even_light(spot, background, "ifu", loss=loss))
    waves = np.linspace(*stage.band, 7)
    places = np.stack(stage.optics.place_of(aperture, *seen, waves), axis=1)
    for source in sources:
        moved = places + [source.across / spot.opening[0], source.along / spot.opening[1]]
        across, along = (np.interp(spot.wavelength, waves, moved[:, axis]) for axis in (0, 1))
        stage.places.setdefault(number, []).append(tuple(np.interp(2.0, waves, moved[:, axis]) for axis in (0, 1)))
        stage.add(spot, light.slice_light(spot, source.spectrum, across, along, loss))
