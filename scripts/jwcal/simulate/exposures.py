"""Raw exposures with known truth, in the archive's format."""

from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import asdf
import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time, TimeDelta

from ..files import storage
from . import headers, instruments, pointing, ramps, scene
from .detector import make_detector

TARGET = (53.1625, -27.7914)  # deg, where the sky is dark
START = "2023-10-02T04:05:06.789"
GUIDE_STAR = 5e4  # e-/s
CEILING = 65535  # DN


class Simulated(NamedTuple):
    """The files of an exposure, its truth as arrays, and what it was made with."""

    uncal: Path
    truth: Path
    ramp: ramps.Ramp
    catalogue: Table
    setup: instruments.Setup
    look: pointing.Pointing
    detector: object
    seen: pointing.Pointing = None  # where it really looked
    curve: np.ndarray = None  # of a series


def simulate_exposure(
    out,
    *,
    exp_type="NRC_IMAGE",
    truth=None,
    target=TARGET,
    roll=30.0,
    dither=None,
    aim=None,
    start=START,
    identity=None,
    field=None,
    light=None,
    sensor=None,
    cosmic_rays=ramps.COSMIC_RAYS,
    zeroframe=False,
    noise=True,
    seed=1,
    header=None,
    pointing_error=None,
    moving=False,
    series=None,
    ruined=False,
    also=None,
    **options,
):
    """Simulate one exposure of one detector and write it as the archive would: `<out>/jw..._uncal.fits`.

    The same arguments give the same bytes.

    Parameters
    ----------
    out : path
        Folder of the raw exposure.
    exp_type : str
        Any that `instruments.exp_types()` lists.
    truth : path, optional
        Folder of what was put in (`*_truth.fits`); `<out>/../truth` by default.
    target : (RA, Dec)
        deg.
    roll : float
        Of V3 at the target, east of north [deg].
    dither : dict, optional
        `x`, `y`: where the target falls in the aim's ideal frame [arcsec]; `number` of `total` positions.
    aim : str, optional
        Aperture in which the target is put, if not the exposure's own.
    start : str
        UTC of the first integration.
    identity : headers.Identity, optional
        Program, visit, exposure numbers...
    field : scene.Scene, optional
        What is in the sky; by default some stars and galaxies about the target.
    light : ndarray, (row, col) or (int, row, col), optional
        e-/s, instead of a scene.
    sensor : detector.Detector, optional
        By default the one that `make_detector` makes up for this detector and subarray.
    cosmic_rays : float
        Hits a second and pixel.
    zeroframe : bool
        Keep the first frame of each integration as ZEROFRAME.
    noise : bool
        False: no noise of any kind.
    seed : int
        Of photons, cosmic rays and read noise. The detector and the sky have their own.
    header : dict, optional
        Keywords to set last, whatever they were; None takes one out.
    pointing_error : pointing.Error, optional
        How the telescope misses what the header says.
    moving : bool
        The target moves, and is at `target` in the middle of the exposure.
    series : series.Series, optional
        What differs from integration to integration.
    ruined : bool
        Every sample is saturated: an exposure of which nothing is left.
    also : dict, optional
        Further extensions of the file of truth: name -> array, (array, unit), Table or structured array.
    **options
        What `instruments.setup` understands: detector, filter, pupil, subarray, readpatt, ngroups, nints...

    Returns
    -------
    Simulated

    Raises
    ------
    InputError
        An exposure that no instrument can take.
    """
    plan = take(exp_type, target, roll, dither, aim, start, identity, pointing_error, **options)
    setup, sensor = plan.setup, sensor or make_detector(plan.setup.instrument, plan.setup.detector, plan.setup.subarray)
    catalogue, curve = None, None
    if light is None:
        light, catalogue, curve = light_on(plan, float(sensor.gain.mean()), field, series)
    if plan.identity.segment:
        seed += 1000 * plan.identity.segment[0]
    light = np.asarray(light, float)
    ramp = ramps.make_ramp(sensor, light, setup.readout, seed=seed, cosmic_rays=cosmic_rays, zeroframe=zeroframe, noise=noise)
    if ruined:
        ramp.sci[:], ramp.saturated[:] = CEILING, 0
    primary, science = plan.headers(zeroframe=zeroframe, moving=moving)
    override(primary, science, header or {})
    uncal = Path(out) / f"{plan.root}_uncal.fits"
    write_uncal(uncal, primary, science, ramp, plan.tables(), reference_output=setup.instrument == "MIRI")
    folder = Path(truth) if truth else Path(out).parent / "truth"
    images = {"RATE": (ramp.rate, "electron/s"), "SATURATED": (ramp.saturated, None)}
    tables = {"COSMIC_RAYS": ramp.cosmic_rays, "CATALOG": catalogue, "LIGHT_CURVE": curve}
    for name, what in (also or {}).items():
        if isinstance(what, Table) or getattr(what, "dtype", None) is not None and what.dtype.names:
            tables[name] = what
        else:
            images[name] = what if isinstance(what, tuple) else (what, None)
    known = write_truth(folder / f"{plan.root}_truth.fits", primary["FILENAME"], images, tables, pointing_error)
    return Simulated(uncal, known, ramp, catalogue, setup, plan.look, sensor, plan.seen, curve)


@dataclass(frozen=True)
class Taken:
    """What is fixed about an exposure before light falls on the detector.

    Attributes
    ----------
    look : where the header says that it looks
    seen : where it really looks
    """

    setup: instruments.Setup
    look: pointing.Pointing
    seen: pointing.Pointing
    target: tuple
    dither: dict
    identity: headers.Identity
    began: Time
    craft: headers.Spacecraft

    @property
    def root(self):
        return self.identity.root(self.setup, self.began)

    def headers(self, **others):
        """The primary header and that of SCI, of the raw file; `others` as `headers.keywords` takes them."""
        values = headers.keywords(
            self.setup, self.look, self.identity, self.began, target=self.target, craft=self.craft, dither=self.dither, **others
        )
        return headers.make_headers(self.setup, values)

    def tables(self):
        """GROUP and INT_TIMES, as HDUs."""
        if self.setup.guider:
            return []
        about = (self.setup, self.began, self.craft, self.target)
        return [_group_table(*about, self.identity), int_times(*about, self.identity)]


def take(exp_type, target=TARGET, roll=30.0, dither=None, aim=None, start=START, identity=None, pointing_error=None, **options):
    """Point the telescope and choose what to read: see `simulate_exposure`.

    Returns
    -------
    Taken
    """
    setup = instruments.setup(exp_type, **options)
    dither, identity = dither or {}, identity or headers.Identity()
    began = Time(start, format="isot", scale="utc", precision=3)
    craft = headers.spacecraft(began + TimeDelta(headers.whole(setup, identity).readout.duration / 2, format="sec"))
    how = {"roll": roll, "dither": (dither.get("x", 0.0), dither.get("y", 0.0)), "aim": aim, "va_scale": craft.towards(*target)[1]}
    look = pointing.point(setup, target, **how)
    seen = pointing.point(setup, target, **how, error=pointing_error) if pointing_error else look
    return Taken(setup, look, seen, target, dither, identity, began, craft)


def light_on(plan, gain, field=None, variations=None):
    """The light of an exposure.

    Parameters
    ----------
    plan : Taken
    gain : float
        e-/DN.
    field : scene.Scene, optional
    variations : series.Series, optional

    Returns
    -------
    light : ndarray, (row, col) or (int, row, col)
        e-/s.
    catalogue : Table or None
        The sources that fall on the detector.
    curve : structured array or None
        Of a series: what was done to each integration.
    """
    setup = plan.setup
    even = np.full(setup.subarray.shape, setup.uniform * gain)
    if not setup.illuminated:
        return np.zeros_like(even), None, None
    if setup.guider:
        scene.add_star(even, setup.subarray.xsize / 2, setup.subarray.ysize / 2, GUIDE_STAR, setup.optics[1] * scene.SIGMA)
        return even, None, None
    if not setup.imaging or setup.uniform:
        return even, None, None
    half = 1.5 * max(setup.subarray.shape) * plan.look.xscale / 2
    if field is None:
        number = int(np.clip(0.05 * half**2, 10, 400))
        field = scene.make_scene(*plan.target, radius=half + 5, stars=number, galaxies=number // 4)
    if variations is not None:
        return variations.render(field, plan, gain)
    return *scene.render(field, plan.seen, gain), None


def override(primary, science, changes):
    """Set keywords, each where it stands already or else in the primary header; None takes one out."""
    for keyword, value in changes.items():
        part = science if keyword in science else primary
        if value is None:
            part.remove(keyword, ignore_missing=True)
        else:
            part[keyword] = value


def write_uncal(path, primary, science, ramp, tables=(), reference_output=False):
    """Write a raw exposure: primary, SCI, tables, and the ASDF extension that repeats the keywords.

    Parameters
    ----------
    path : path
    primary, science : fits.Header
    ramp : ramps.Ramp
    tables : list of fits.BinTableHDU

    Returns
    -------
    Path
    """
    first = fits.PrimaryHDU(header=primary)
    hdus = fits.HDUList([first, _image("SCI", ramp.sci, science)])
    if ramp.zeroframe is not None:
        hdus.append(_image("ZEROFRAME", ramp.zeroframe))
    if reference_output:
        level = np.full((*ramp.sci.shape[:3], ramp.sci.shape[3] // 4), int(np.median(ramp.sci[0, 0])), np.uint16)
        hdus.append(_image("REFOUT", level))
    for table in tables:
        hdus.append(table)
    hdus.append(asdf_extension({"meta": metadata(primary, science)}))
    with storage.replaced(path) as temporary:
        hdus.writeto(temporary, overwrite=True)
    return Path(path)


def _image(name, data, header=None):
    full = fits.Header([("EXTNAME", name, "extension name")])
    full.extend(header or [])
    full["EXTVER"] = (1, "extension value")
    return fits.ImageHDU(data, header=full)


def asdf_extension(tree):
    """The extension in which a FITS file carries an ASDF tree."""
    buffer = BytesIO()
    asdf.AsdfFile(tree).write_to(buffer)
    data = np.frombuffer(buffer.getvalue(), np.uint8)[None]
    column = fits.Column(name="ASDF_METADATA", format=f"{data.shape[1]}B", array=data)
    return fits.BinTableHDU.from_columns([column], name="ASDF")


@cache
def _places():
    """Keyword -> path in the metadata tree, from the archive's own schema of raw exposures."""
    from stdatamodels.jwst import datamodels
    from stdatamodels.schema import merge_property_trees, walk_schema

    places = {}

    def note(subschema, path, combiner, ctx, recurse):
        if "fits_keyword" in subschema and subschema.get("fits_hdu", "SCI") in ("SCI", "PRIMARY") and "items" not in path:
            places.setdefault(subschema["fits_keyword"], tuple(path))

    with datamodels.Level1bModel() as model:
        walk_schema(merge_property_trees(model.schema), note)
    return places


def metadata(primary, science):
    """The keywords as the metadata tree of the archive's ASDF extension."""
    tree = {}
    for keyword, (_, *path) in sorted(_places().items()):
        header = primary if keyword in primary else science
        if keyword not in header:
            continue
        branch = tree
        for step in path[:-1]:
            branch = branch.setdefault(step, {})
        branch[path[-1]] = header[keyword]
    return tree


def _group_table(setup, start, craft, target, identity):
    """When each group ended."""
    r, sub = setup.readout, setup.subarray
    first = identity.segment[2] if identity.segment else 1
    rows = []
    for i in range(first - 1, first - 1 + r.nints):
        for g in range(r.ngroups):
            last = r.drpfrms1 + (g + 1) * r.nframes + g * r.groupgap
            end = start + TimeDelta(i * r.period + last * r.tframe, format="sec")
            days = end.mjd - 51544  # from 2000-01-01
            milliseconds = (days % 1) * 86400e3
            bary, helio = (headers.barycentric(end, craft, *target, sun=s)[0] for s in (False, True))
            rows.append((i + 1, g + 1, int(days), int(milliseconds), int(milliseconds % 1 * 1000), end.isot + "000",
                         sub.xsize, sub.ysize, 0, 0, "Normal Completion", bary, helio))  # fmt: skip
    kinds = "i4 i2 i2 i4 i2 S26 i2 i2 i2 i2 S36 f8 f8".split()
    names = (
        "integration_number group_number end_day end_milliseconds end_submilliseconds group_end_time number_of_columns "
        "number_of_rows number_of_gaps completion_code_number completion_code_text bary_end_time helio_end_time"
    ).split()
    return fits.BinTableHDU(np.array(rows, dtype=list(zip(names, kinds, strict=True))), name="GROUP")


def int_times(setup, start, craft, target, identity):
    """When each integration began, was half done, and ended, here (UTC) and at the barycentre (TDB)."""
    r = setup.readout
    first = identity.segment[2] if identity.segment else 1
    rows = []
    for i in range(first - 1, first - 1 + r.nints):
        moments = [start + TimeDelta(i * r.period + part * r.effinttm, format="sec") for part in (0, 0.5, 1)]
        rows.append((i + 1, *(t.mjd for t in moments), *(headers.barycentric(t, craft, *target)[0] for t in moments)))
    names = ["integration_number", *(f"int_{part}_{scale}" for scale in ("MJD_UTC", "BJD_TDB") for part in ("start", "mid", "end"))]
    return fits.BinTableHDU(np.array(rows, dtype=[(n, "i4" if k == 0 else "f8") for k, n in enumerate(names)]), name="INT_TIMES")


def write_truth(path, exposed, images, tables, error=None, sky=None):
    """Write what was put in.

    Parameters
    ----------
    path : path
    exposed : str
        The exposure's file.
    images : dict
        Extension -> (array, unit or None).
    tables : dict
        Extension -> structured array, Table, or None.
    error : pointing.Error, optional
        ERREAST, ERRNORTH [arcsec] and ERRROLL [deg] of the primary header.
    sky : float, optional
        SKY, MJy/sr.

    Returns
    -------
    Path
    """
    first = fits.PrimaryHDU()
    first.header["FILENAME"] = (path.name, "this file")
    first.header["EXPOSED"] = (exposed, "the exposure")
    if error:
        first.header["ERREAST"] = (error.east, "[arcsec] what is seen lies so far east of where")
        first.header["ERRNORTH"] = (error.north, "[arcsec] the header's WCS has it, and north")
        first.header["ERRROLL"] = (error.roll, "[deg] turned about the target, east of north")
    if sky is not None:
        first.header["SKY"] = (sky, "[MJy/sr] even sky")
    hdus = [first]
    for name, (image, unit) in images.items():
        hdus.append(fits.ImageHDU(image, name=name))
        if unit:
            hdus[-1].header["BUNIT"] = unit
    for name, table in tables.items():
        if table is None:
            continue
        hdus.append(fits.table_to_hdu(_plain(table)) if isinstance(table, Table) else fits.BinTableHDU(table, name=name))
        hdus[-1].name = name
    with storage.replaced(path) as temporary:
        fits.HDUList(hdus).writeto(temporary, overwrite=True)
    return path


def _plain(catalogue):
    table = Table(catalogue, copy=True)
    table.meta.clear()
    return table


def segments(identity, total, each):
    """The identities of the segments that an exposure of `total` integrations is cut into, `each` integrations at most."""
    number = -(-total // each)
    return [replace(identity, segment=(k + 1, number, k * each + 1, min((k + 1) * each, total), total)) for k in range(number)]
