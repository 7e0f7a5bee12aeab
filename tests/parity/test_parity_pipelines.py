"""Whole pipelines against the peer: the same files, the same CRDS cache, each side run as its users run it.

Data quality must be equal bit for bit, values to 1e-5 (median 1e-7), with NaN in the same places. What differs on purpose
is in docs/differences.md.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import jwcal
from jwcal.products import stored
from jwcal.settings import chains
from jwcal.simulate import crds_cache, references
from jwcal.simulate.detector import make_detector
from jwcal.simulate.instruments import Subarray
from jwcal.simulate.program import make_program
from peer import needs_peer, peer_pipeline

pytestmark = [pytest.mark.parity, needs_peer]
REAL_GUIDER = Path(__file__).resolve().parents[3] / "shared/real/guider/jw01019001001_gs-acq1_2022117003102_uncal.fits"

PROGRAM = {
    "program": 1235,
    "target": [53.1625, -27.7914],
    "seed": 11,
    "sky": {"radius": 8.0, "stars": 60, "galaxies": 6, "faintest": 1e-7, "brightest": 3e-4},
    "detectors": ["NRCA3"],
    "exposures": [
        {"exp_type": "NRC_IMAGE", "filter": "F200W", "subarray": "SUB160", "readpatt": "SHALLOW4", "ngroups": 6, "nints": 2},
        {"exp_type": "NRC_IMAGE", "filter": "F200W", "subarray": "SUB160", "readpatt": "RAPID", "ngroups": 12},
    ],
    "dithers": [[0.0, 0.0], [0.6, 0.4]],
}


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return make_program(tmp_path_factory.mktemp("parity"), PROGRAM)


@pytest.fixture(scope="module")
def calibrated(program, tmp_path_factory):
    """All exposures by ours and by the peer, stage 1 and 2: {"ours" | "peer" | "peer of ours": folder}."""
    top = tmp_path_factory.mktemp("calibrated")
    crds = program["crds"]
    for uncal in program["data"]:
        root = chains.root_and_suffix(uncal)[0]
        jwcal.run_pipeline("detector1", uncal, out=top / "ours", crds_path=crds)
        as_peer = {"resample": {"error_of": "area"}}
        jwcal.run_pipeline("image2", top / "ours" / f"{root}_rate.fits", as_peer, out=top / "ours", crds_path=crds)
        for name in ("peer", "peer of ours"):
            (top / name).mkdir(exist_ok=True)
        peer_pipeline("detector1", uncal, top / "peer", crds)
        peer_pipeline("image2", top / "ours" / f"{root}_rate.fits", top / "peer of ours", crds)
        with fits.open(top / "peer of ours" / f"{root}_cal.fits", mode="update") as hdus:
            # the peer cuts the subarray's map a second time, to an empty one, which nothing can read
            hdus["AREA"].data = fits.getdata(top / "ours" / f"{root}_cal.fits", "AREA")
    return top


def assert_same(ours, theirs, planes, where=None):
    """Planes of two products."""
    a, b = stored.read(ours), stored.read(theirs)
    for name in planes:
        x, y = ((getattr(e, name) if hasattr(e, name) else e.extra[name]) for e in (a, b))
        assert x.shape == y.shape, name
        if x.dtype.kind in "ui":
            assert np.array_equal(x, y), f"{name} differs in {np.sum(x != y)} pixels"
            continue
        assert np.array_equal(np.isnan(x), np.isnan(y)), f"{name} has NaN elsewhere"
        good = np.isfinite(y) & (y != 0)
        # what is near zero is the difference of samples that float32 rounds: there its error is the scale
        scale = np.maximum(np.abs(y), b.err if name == "sci" else b.err**2 if name.startswith("var") else 0)
        off = np.abs(x - y)[good] / scale[good]
        assert off.max() <= 1e-5 and np.median(off) <= 1e-7, f"{name}: {off.max():.1e}, median {np.median(off):.1e}"
        assert np.array_equal(x == 0, y == 0), f"{name} has zeros elsewhere"


RATE = ("sci", "err", "dq", "var_poisson", "var_rnoise")


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("suffix", ["rate", "rateints"])
def test_detector1(program, calibrated, number, suffix):
    name = program["data"][number].name.replace("uncal", suffix)
    assert_same(calibrated / "ours" / name, calibrated / "peer" / name, RATE)


@pytest.mark.parametrize("number", range(4))
def test_image2_of_our_rate(program, calibrated, number):
    """The peer's image2 takes our rate and makes the same of it as ours."""
    name = program["data"][number].name.replace("uncal", "cal")
    assert_same(calibrated / "ours" / name, calibrated / "peer of ours" / name, (*RATE, "var_flat"))
    name = program["data"][number].name.replace("uncal", "i2d")
    i2d = ("sci", "err", "var_poisson", "var_rnoise", "var_flat", "CON")
    assert_same(calibrated / "ours" / name, calibrated / "peer of ours" / name, i2d)


def test_keywords_of_the_peer_are_ours(program, calibrated):
    """Every keyword of the peer's products that has a value is in ours, equal, apart from a few that are about the software."""
    software = {"DATE", "CAL_VER", "CAL_VCS", "ASNPOOL", "ASNTABLE", "PROVFILE", "HISTORY"}
    for suffix in ("cal", "i2d"):
        name = program["data"][0].name.replace("uncal", suffix)
        ours, peers = (stored.header(calibrated / side / name) for side in ("ours", "peer of ours"))
        for keyword, value in peers.items():
            if keyword in software or value in (None, "", "N/A"):
                continue
            assert keyword in ours, f"{suffix}: {keyword} = {value!r} is missing"
            if keyword == "S_REGION":  # the same corners, beginning with another
                corners = [sorted(np.array(region.split()[2:], float).reshape(-1, 2).tolist()) for region in (ours[keyword], value)]
                assert np.allclose(*corners, rtol=0, atol=2e-9)
            elif isinstance(value, float):
                assert ours[keyword] == pytest.approx(value, rel=1e-6, abs=1e-9), (suffix, keyword)
            else:
                assert ours[keyword] == value, (suffix, keyword)


def test_references_named_as_the_peer_names_them(program, calibrated):
    name = program["data"][0].name.replace("uncal", "rate")
    ours, peers = (stored.header(calibrated / side / name) for side in ("ours", "peer"))
    named = {k: v for k, v in peers.items() if k.startswith("R_") and v != "N/A"}
    assert len(named) >= 7 and {k: ours.get(k) for k in named} == named
    assert ours["CRDS_CTX"] == peers["CRDS_CTX"]


def test_image3_takes_our_cal(program, calibrated, tmp_path):
    """The peer's image3 takes our cal files, and makes the same mosaic of them as of its own."""
    names = [path.name.replace("uncal", "cal") for path in program["data"][:2]]
    members = [{"expname": name, "exptype": "science"} for name in names]
    association = {"asn_type": "image3", "asn_rule": "DMS_Level3_Base", "asn_id": "a3001", "asn_pool": "none", "program": "1235"}
    mosaics = []
    for side in ("ours", "peer of ours"):
        folder = tmp_path / side
        folder.mkdir()
        for name in names:
            (folder / name).symlink_to(calibrated / side / name)
        asn = folder / "mosaic_asn.json"
        asn.write_text(json.dumps({**association, "products": [{"name": "mosaic", "members": members}]}))
        peer_pipeline("image3", asn, folder, program["crds"], steps={"tweakreg": {"skip": True}, "source_catalog": {"skip": True}})
        mosaics.append(folder / "mosaic_i2d.fits")
    assert_same(*mosaics, ("sci", "err", "CON"))
    assert np.isfinite(stored.read(mosaics[0]).sci).sum() > 160 * 160


@pytest.mark.skipif(not REAL_GUIDER.exists(), reason="the real guider file is not there")
def test_real_guider_file(tmp_path):
    """A flight exposure of guide star acquisition through calwebb_guider."""
    sensor = make_detector("FGS", "GUIDER2", Subarray("128X128", 887, 1022, 128, 128))
    made = references.write_references(tmp_path / "references", sensor, types=["mask", "gain", "readnoise", "flat"])
    crds_cache.build(tmp_path / "crds", list(made.values()))
    jwcal.run_pipeline("guider", REAL_GUIDER, out=tmp_path / "ours", crds_path=tmp_path / "crds")
    (tmp_path / "peer").mkdir()
    peer_pipeline("guider", REAL_GUIDER, tmp_path / "peer", tmp_path / "crds")
    name = REAL_GUIDER.name.replace("uncal", "cal")
    assert_same(tmp_path / "ours" / name, tmp_path / "peer" / name, ("sci", "err", "dq"))
