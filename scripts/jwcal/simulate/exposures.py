"""Raw exposures with known truth, in the archive's format."""

from dataclasses import replace
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


class Simulated(NamedTuple):
    """The files of an exposure, its truth as arrays, and what it was made with."""

    uncal: Path
    truth: Path
    ramp: ramps.Ramp
    catalogue: Table
    setup: instruments.Setup
    look: pointing.Pointing
    detector: object


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
    setup = instruments.setup(exp_type, **options)
    identity, dither = identity or headers.Identity(), dither or {}
    began = Time(start, format="isot", scale="utc", precision=3)
    craft = headers.spacecraft(began + TimeDelta(setup.readout.duration / 2, format="sec"))
    offset = (dither.get("x", 0.0), dither.get("y", 0.0))
    look = pointing.point(setup, target, roll=roll, dither=offset, aim=aim, va_scale=craft.towards(*target)[1])
    sensor = sensor or make_detector(setup.instrument, setup.detector, setup.subarray)
    catalogue = None
    if light is None:
        light, catalogue = _light(setup, look, sensor, field, target)
    if identity.segment:
        seed += 1000 * identity.segment[0]
    light = np.asarray(light, float)
    ramp = ramps.make_ramp(sensor, light, setup.readout, seed=seed, cosmic_rays=cosmic_rays, zeroframe=zeroframe, noise=noise)
    values = headers.keywords(setup, look, identity, began, target=target, craft=craft, dither=dither, zeroframe=zeroframe)
    primary, science = headers.make_headers(setup, values)
    _override(primary, science, header or {})
    tables = [] if setup.guider else [_group_table(setup, began, craft, target), _int_times(setup, began, craft, target, identity)]
    root = identity.root(setup, began)
    uncal = write_uncal(Path(out) / f"{root}_uncal.fits", primary, science, ramp, tables, reference_output=setup.instrument == "MIRI")
    folder = Path(truth) if truth else Path(out).parent / "truth"
    known = _write_truth(folder / f"{root}_truth.fits", ramp, catalogue, primary)
    return Simulated(uncal, known, ramp, catalogue, setup, look, sensor)


def _light(setup, look, sensor, field, target):
    """e-/s that fall on the detector, and the sources among them."""
    even = np.full(setup.subarray.shape, setup.uniform * float(sensor.gain.mean()))
    if not setup.illuminated:
        return np.zeros_like(even), None
    if setup.guider:
        scene.add_star(even, setup.subarray.xsize / 2, setup.subarray.ysize / 2, GUIDE_STAR, setup.optics[1] * scene.SIGMA)
        return even, None
    if not setup.imaging or setup.uniform:
        return even, None
    half = 1.5 * max(setup.subarray.shape) * look.xscale / 2
    if field is None:
        number = int(np.clip(0.05 * half**2, 10, 400))
        field = scene.make_scene(*target, radius=half + 5, stars=number, galaxies=number // 4)
    return scene.render(field, look, float(sensor.gain.mean()))


def _override(primary, science, changes):
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


def _group_table(setup, start, craft, target):
    """When each group ended."""
    r, sub = setup.readout, setup.subarray
    rows = []
    for i in range(r.nints):
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


def _int_times(setup, start, craft, target, identity):
    """When each integration began, was half done, and ended, here (UTC) and at the barycentre (TDB)."""
    r = setup.readout
    first = identity.segment[2] if identity.segment else 1
    rows = []
    for i in range(first - 1, first - 1 + r.nints):
        moments = [start + TimeDelta(i * r.period + part * r.effinttm, format="sec") for part in (0, 0.5, 1)]
        rows.append((i + 1, *(t.mjd for t in moments), *(headers.barycentric(t, craft, *target)[0] for t in moments)))
    names = ["integration_number", *(f"int_{part}_{scale}" for scale in ("MJD_UTC", "BJD_TDB") for part in ("start", "mid", "end"))]
    return fits.BinTableHDU(np.array(rows, dtype=[(n, "i4" if k == 0 else "f8") for k, n in enumerate(names)]), name="INT_TIMES")


def _write_truth(path, ramp, catalogue, primary):
    """What was put in: RATE (e-/s), SATURATED (first saturated group), COSMIC_RAYS and CATALOG."""
    first = fits.PrimaryHDU()
    first.header["FILENAME"] = (path.name, "this file")
    first.header["EXPOSED"] = (primary["FILENAME"], "the exposure")
    rate = fits.ImageHDU(ramp.rate, name="RATE")
    rate.header["BUNIT"] = "electron/s"
    hdus = [first, rate, fits.ImageHDU(ramp.saturated, name="SATURATED"), fits.BinTableHDU(ramp.cosmic_rays, name="COSMIC_RAYS")]
    if catalogue is not None:
        hdus.append(fits.table_to_hdu(_plain(catalogue)))
        hdus[-1].name = "CATALOG"
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
