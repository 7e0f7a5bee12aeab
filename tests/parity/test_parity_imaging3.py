"""The whole pipelines of stage 3 of images against the peer: the same cal files, the same CRDS cache, the peer's way where ours differs.

What differs on purpose is in docs/differences.md; each step by itself is compared in its own tests.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

import jwcal
import mosaics
from jwcal.products import stored
from jwcal.simulate import calibrated, scene
from jwcal.simulate.exposures import TARGET
from jwcal.simulate.series import Series, Transit
from jwcal.vocabulary import dq
from peer import needs_peer, peer_python

pytestmark = [pytest.mark.parity, needs_peer]
LIKE_PEER = {
    "tweakreg": {"centroids": "finder", "rematch": False, "check_fits": False, "abs_average": False},
    "outlier_detection": {"peak": "0 0"},
    "resample": {"error_of": "area"},
    "source_catalog": {"total_correction": "reference"},
}
LIKE_PEER_TSO = {"outlier_detection": {"jitter": False}, "tso_photometry": {"bad_pixels": "omit"}}
FEW = {"tweakreg": {"minobj": 5, "abs_minobj": 5, "enforce_user_order": True}}  # the overlaps that order them are not the same areas
EXPOSED = {"errors": 0.05, "sky_steps": [0.0, 0.1, 0.05, 0.2], "cosmic_rays": 40, "target": TARGET}
MODES = {
    "NIRCam short": {"subarray": "SUB320"},
    "NIRCam long": {"filters": ["F444W"], "detectors": ["NRCBLONG"], "subarray": "SUB320", "dithers": [(0, 0), (2.3, 1.1), (-1.7, 2.6)]},
    "MIRI": {
        **{"exp_type": "MIR_IMAGE", "filters": ["F770W"], "detectors": ["MIRIMAGE"], "subarray": "SUB256", "sky_steps": [0.0, 1.0, 0.5]},
        "dithers": [(0, 0), (3.3, 1.7), (-2.4, 3.1)],
    },
    "NIRISS": {
        **{"exp_type": "NIS_IMAGE", "filters": [("CLEAR", "F150W")], "detectors": ["NIS"], "subarray": "SUB256"},
        "dithers": [(0, 0), (2.3, 1.1), (-1.7, 2.6)],
    },
    "FGS": {
        **{"exp_type": "FGS_IMAGE", "filters": [(None, None)], "detectors": ["GUIDER1"], "subarray": "128X128"},
        "dithers": [(0, 0), (2.3, 1.1), (-1.7, 2.6)],
    },
}
NIRCAM, OTHERS = list(MODES)[:1], list(MODES)[1:]
PEER = """
import json, os
os.environ.update(CRDS_SERVER_URL="https://crds-serverless-mode.stsci.edu", CRDS_MODE="local")
for job in json.loads(str(jobs)):
    os.environ["CRDS_PATH"] = job["crds"]
    import crds
    from crds.core import config, utils
    utils.clear_function_caches()
    import jwst.pipeline
    os.makedirs(job["out"], exist_ok=True)
    getattr(jwst.pipeline, job["pipeline"]).call(job["asn"], save_results=True, output_dir=job["out"], steps=job["steps"])
"""


def both(folder, jobs):
    """Run some pipelines on associations by us and by the peer, which is started once.

    Parameters
    ----------
    folder : path
    jobs : dict
        Name -> (pipeline, the peer's class, what `write_program` gave, steps, steps for us alone).

    Returns
    -------
    dict
        Name -> (our folder, the peer's, name of the product).
    """
    told, found = [], {}
    for name, (pipeline, peers, there, steps, own) in jobs.items():
        (asn,) = there["associations"]
        ours, theirs = folder / name / "ours", folder / name / "theirs"
        mine = {step: steps.get(step, {}) | own.get(step, {}) for step in steps | own}
        jwcal.run_pipeline(pipeline, asn, mine, out=ours, crds_path=str(there["crds"]))
        told.append({"crds": str(there["crds"]), "asn": str(asn), "out": str(theirs), "pipeline": peers, "steps": steps})
        found[name] = ours, theirs, json.loads(Path(asn).read_text())["products"][0]["name"]
    peer_python(PEER, jobs=json.dumps(told))
    return found


def mosaic(folder, name):
    """The job of a mode."""
    made = calibrated.simulate_mosaic(**(EXPOSED | MODES[name]))
    there = calibrated.write_program(folder / name / "made", made)
    steps = {step: dict(values) for step, values in FEW.items()}
    steps["tweakreg"]["abs_refcat"] = str(there["catalogue"])
    return "image3", "Image3Pipeline", there, steps, LIKE_PEER


def series(folder):
    star = scene.with_star(scene.make_scene(*TARGET, stars=0, galaxies=0), *TARGET, 0.01)
    mode = {"exp_type": "NRC_TSIMAGE", "detector": "NRCB1", "subarray": "SUB64P", "aim": "NRCB1_SUB64P", "ngroups": 4, "tframe": 0.3}
    parts = calibrated.simulate_segments(Series(Transit(0.005), jitter=0.02), nints=60, each=30, field=star, cosmic_rays=2, **mode)
    return "tso3", "Tso3Pipeline", calibrated.write_program(folder / "series" / "made", parts), {}, LIKE_PEER_TSO


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    folder = tmp_path_factory.mktemp("short")
    return both(folder, {name: mosaic(folder, name) for name in NIRCAM} | {"series": series(folder)})


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    folder = tmp_path_factory.mktemp("others")
    return both(folder, {name: mosaic(folder, name) for name in OTHERS})


@pytest.fixture(params=[*NIRCAM, *(pytest.param(name, marks=pytest.mark.full) for name in OTHERS)])
def pair(request):
    """Products of one mode by both: (our folder, the peer's, name of the mosaic)."""
    return request.getfixturevalue("short" if request.param in NIRCAM else "others")[request.param]


def crfs(pair):
    ours, theirs, _ = pair
    names = sorted(path.name for path in theirs.glob("*_crf.fits"))
    assert names and names == sorted(path.name for path in ours.glob("*_crf.fits"))
    return [(stored.read(ours / name), stored.read(theirs / name)) for name in names]


def assert_same_wcs(mine, its, shape, within=1e-4):
    """1,000 points both ways [pixels]."""
    x, y = np.random.default_rng(1).uniform(0, np.array(shape)[::-1, None] - 1, (2, 1000))
    here, there = (np.array(wcs(x, y, with_bounding_box=False)) for wcs in (mine, its))
    scale = mosaics.away(*mine(x + 1, y, with_bounding_box=False), *here)
    assert (np.hypot(*mosaics.away(*here, *there)) / np.hypot(*scale)).max() < within
    back = [np.array(wcs.invert(*here, with_bounding_box=False)) for wcs in (mine, its)]
    assert np.abs(back[0] - back[1]).max() < within


def test_exposures_are_aligned_alike(pair):
    for mine, its in crfs(pair):
        assert_same_wcs(mine.wcs, its.wcs, mine.sci.shape)
        corners = [np.sort(np.array(e.header["S_REGION"].split()[2:], float).reshape(-1, 2), axis=0) for e in (mine, its)]
        assert np.abs(corners[0] - corners[1]).max() * 3.6e6 < 0.01  # mas


def test_levels_of_the_sky(pair):
    for mine, its in crfs(pair):
        assert mine.header["BKGLEVEL"] == pytest.approx(its.header["BKGLEVEL"], abs=1e-3 * float(np.nanmedian(mine.err)))
        assert mine.header["BKGSUB"] == its.header["BKGSUB"] and mine.header["BKGMETH"] == its.header["BKGMETH"]


def test_outliers(pair):
    flagged, same, either = 0, 0, 0
    for mine, its in crfs(pair):
        assert np.mean(mine.dq != its.dq) < 1e-3
        a, b = (e.dq & dq.OUTLIER != 0 for e in (mine, its))
        flagged, same, either = flagged + b.sum(), same + np.sum(a & b), either + np.sum(a | b)
        np.testing.assert_array_equal(mine.sci[mine.dq == its.dq], its.sci[mine.dq == its.dq])
    print("outliers", flagged, same, either)
    assert flagged > 30 and same >= 0.98 * either


def test_mosaic(pair):
    ours, theirs, name = pair
    mine, its = (stored.read(folder / f"{name}_i2d.fits") for folder in (ours, theirs))
    assert mine.sci.shape == its.sci.shape
    assert_same_wcs(mine.wcs, its.wcs, mine.sci.shape)
    covered = its.extra["WHT"] > 0
    assert np.mean(covered != (mine.extra["WHT"] > 0)) < 1e-3 and np.mean(np.isnan(mine.sci) != np.isnan(its.sci)) < 1e-3
    assert np.mean(mine.extra["CON"] != its.extra["CON"]) < 2e-3
    good = np.isfinite(mine.sci) & np.isfinite(its.sci)
    weight = mine.extra["WHT"][good] / its.extra["WHT"][good] - 1
    off = np.abs(mine.sci - its.sci)[good] / np.maximum(np.abs(its.sci), its.err)[good]
    error = np.abs(mine.err / its.err - 1)[good]
    print("mosaic", np.median(off), np.quantile(off, 0.99), np.median(np.abs(weight)), np.quantile(np.abs(weight), 0.99), np.median(error))
    assert np.median(off) < 1e-4 and np.quantile(off, 0.99) < 1e-2
    assert np.median(np.abs(weight)) < 1e-4 and np.quantile(np.abs(weight), 0.99) < 1e-2 and np.median(error) < 1e-4


def test_keywords_of_the_mosaic(pair):
    """Every keyword of the peer's mosaic that has a value is in ours, equal, apart from a few that are about the software."""
    ours, theirs, name = pair
    software = {"DATE", "CAL_VER", "CAL_VCS", "ASNPOOL", "ASNTABLE", "PROVFILE", "HISTORY", "COMMENT", "", "CHECKSUM", "DATASUM"}
    wrong = {}
    for extension in (0, "SCI"):
        mine, its = (fits.getheader(folder / f"{name}_i2d.fits", extension) for folder in (ours, theirs))
        for key, value in its.items():
            if key in software or value in (None, "", "N/A") or key == "S_REGION":
                continue
            same = key in mine and (
                mine[key] == pytest.approx(value, rel=1e-5, abs=1e-7) if isinstance(value, float) else mine[key] == value
            )
            if not same:
                wrong[key] = (mine.get(key), value)
    assert wrong == {}


def test_catalogue(pair):
    ours, theirs, name = pair
    mine, its = (QTable.read(folder / f"{name}_cat.ecsv") for folder in (ours, theirs))
    assert mine.colnames == its.colnames and abs(len(mine) - len(its)) <= 0.02 * len(its)
    places = [(t["sky_centroid"].ra.deg, t["sky_centroid"].dec.deg) for t in (mine, its)]
    number = mosaics.nearest(*places[0], *places[1], within=20)
    assert np.mean(number >= 0) > 0.97
    known = number >= 0
    miss = mosaics.away(*(c[known] for c in places[0]), *(c[number[known]] for c in places[1]))
    flux = np.asarray(its["isophotal_flux"].value)[number[known]]
    bright = flux > 10 * np.asarray(its["isophotal_flux_err"].value)[number[known]]
    print("catalogue", len(its), bright.sum(), np.abs(miss[:, bright]).max())
    assert np.quantile(np.abs(miss[:, bright]), 0.95) < 1
    for column in ("isophotal_flux", "aper30_flux", "aper50_flux", "aper70_flux", "aper_total_flux"):
        ratio = np.asarray(mine[column].value)[known][bright] / np.asarray(its[column].value)[number[known]][bright]
        print(column, np.nanquantile(np.abs(ratio - 1), [0.5, 0.9]))
        assert np.nanquantile(np.abs(ratio - 1), 0.9) < 0.002, column
    ours_labels, its_labels = (stored.read(folder / f"{name}_segm.fits").sci for folder in (ours, theirs))
    assert np.mean((ours_labels > 0) == (its_labels > 0)) > 0.999


def test_series(short):
    ours, theirs, name = short["series"]
    names = sorted(path.name for path in theirs.glob("*_crfints.fits"))
    assert len(names) == 2 and names == sorted(path.name for path in ours.glob("*_crfints.fits"))
    for file in names:
        mine, its = stored.read(ours / file), stored.read(theirs / file)
        np.testing.assert_array_equal(mine.dq, its.dq)
        np.testing.assert_array_equal(mine.sci, its.sci)
    mine, its = (QTable.read(folder / f"{name}_phot.ecsv") for folder in (ours, theirs))
    assert mine.colnames[: len(its.colnames)] == its.colnames and len(mine) == len(its) == 60
    for column in its.colnames:
        if "psf" not in column:  # its fit ends too early
            values = [np.asarray(getattr(t[column], "value", t[column]), float) for t in (mine, its)]
            np.testing.assert_allclose(*values, rtol=1e-4, err_msg=column)
