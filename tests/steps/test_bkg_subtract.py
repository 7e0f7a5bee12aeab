"""Backgrounds of other exposures: the clipped mean, against numpy, a known sky, and the peer's image2."""

import json
import shutil
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.stats import sigma_clip
from test_parity_pipelines import assert_same

import jwcal
import make
from jwcal.kernels.columns.clipped_mean import clipped_mean
from jwcal.model.exposure import Members
from jwcal.products import stored
from jwcal.steps import bkg_subtract
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import ConfigError, InputError, Skip
from peer import needs_peer, peer_pipeline

SHAPE = 24, 32
NOISE = 0.1


def background(level=2.0, shape=SHAPE, seed=1, **keywords):
    """An exposure of the empty sky; a rateints cube for three axes."""
    random = np.random.default_rng(seed)
    exposure = make.image_exposure(random.normal(level, NOISE, shape), **{"BUNIT": "DN/s"} | keywords)
    exposure.err[:] = NOISE
    exposure.header.name = f"background{seed}_rate.fits"
    return exposure


def science(*backgrounds, shape=SHAPE, suffix="rate", **keywords):
    """A source of 5 DN/s on a sky of 2, with these backgrounds."""
    exposure = make.image_exposure(np.full(shape, 7.0), suffix=suffix, **{"BUNIT": "DN/s"} | keywords)
    known = {str(number): b for number, b in enumerate(backgrounds)}
    exposure.members = Members([(name, "background") for name in known], known.get)
    return exposure


# --- the kernel


@pytest.mark.parametrize("count", [1, 2, 3, 5, 40])
@pytest.mark.parametrize(("sigma", "iterations"), [(3.0, None), (1.0, None), (1.0, 1), (1.5, 2)])
def test_clipped_mean_is_astropy_s(count, sigma, iterations):
    random = np.random.default_rng(count)
    stack = random.normal(10, 1, (count, *SHAPE)).astype("f4")
    stack[random.random(stack.shape) < 0.05] += 50
    stack[random.random(stack.shape) < 0.05] = np.nan
    stack[:, 3, 4], stack[:, 5, 6] = np.nan, 7.0
    variance = random.uniform(1, 2, stack.shape).astype("f4")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NaN
        expected = sigma_clip(stack.astype(float), sigma=sigma, maxiters=iterations, axis=0)
    mean, error, clipped = clipped_mean(stack, variance, sigma, iterations or -1)
    assert np.array_equal(mean, expected.mean(axis=0).filled(np.nan).astype("f4"), equal_nan=True)
    assert clipped == np.sum(expected.mask & np.isfinite(stack))
    kept = np.ma.array(variance.astype(float), mask=expected.mask)
    assert np.allclose(error, (np.sqrt(kept.sum(axis=0)) / kept.count(axis=0)).filled(np.nan), equal_nan=True, rtol=1e-6)


# --- truth


def test_the_sky_is_gone_and_cosmic_rays_in_it_are_not_seen():
    """What is left of the background's noise is that of the mean, and its standard error says so."""
    backgrounds = [background(seed=n) for n in range(12)]
    for number, exposure in enumerate(backgrounds):
        exposure.sci[number, 3 : 3 + number] += 40  # another place in each
    before = science(*backgrounds)
    result, combined = bkg_subtract.apply(before, save_combined_background=True)
    residual = result.sci - 5
    assert abs(residual.mean()) < 4 * NOISE / np.sqrt(12 * residual.size)
    assert residual.std() == pytest.approx(NOISE / np.sqrt(12), rel=0.1) and np.abs(residual).max() < 5 * NOISE / np.sqrt(12)
    assert np.median(combined.err) == pytest.approx(NOISE / np.sqrt(12), rel=1e-3)
    assert np.allclose(combined.sci, 2, atol=0.2) and combined.suffix == "combinedbackground"
    naive = np.mean([b.sci for b in backgrounds], axis=0)
    assert np.abs(naive - 2).max() > 3  # what it would be without clipping


def test_errors_stay_those_of_the_exposure_and_flags_are_taken_over():
    first, second = background(seed=1), background(seed=2)
    first.dq[2, 3], second.dq[2, 3], second.dq[5, 6] = dq.JUMP_DET, dq.HOT, dq.DO_NOT_USE
    exposure = science(first, second)
    exposure.dq[5, 6] = dq.SATURATED
    planes = {name: plane.copy() for name, plane in exposure.pixels[0].planes() if name not in ("sci", "dq")}
    result = bkg_subtract.apply(exposure)
    assert all(np.array_equal(getattr(result, name), plane) for name, plane in planes.items())
    assert result.dq[2, 3] == dq.JUMP_DET | dq.HOT and result.dq[5, 6] == dq.SATURATED | dq.DO_NOT_USE
    assert np.count_nonzero(result.dq) == 2


def test_integrations_of_a_background_are_averaged_before_backgrounds_are():
    cubes = [background(level, (5, *SHAPE), seed) for seed, level in enumerate((1.0, 3.0))]
    cubes[0].sci[2] += 30  # a bad integration, clipped at a sigma that five values can have
    cubes[1].dq[4, 1, 1] = dq.JUMP_DET
    result = bkg_subtract.apply(science(*cubes, shape=(2, *SHAPE), suffix="rateints"), sigma=1.9)
    assert result.sci.shape == (2, *SHAPE) and np.array_equal(result.sci[0], result.sci[1])
    assert result.sci.mean() == pytest.approx(5.0, abs=0.01)
    assert np.all(result.dq[:, 1, 1] == dq.JUMP_DET) and np.count_nonzero(result.dq) == 2
    mixed = bkg_subtract.apply(science(background(3.0), cubes[0]), sigma=1.9)
    assert mixed.sci.mean() == pytest.approx(5.0, abs=0.01)


def test_the_error_of_averaged_integrations():
    _, combined = bkg_subtract.apply(science(background(shape=(16, *SHAPE))), save_combined_background=True)
    assert np.median(combined.err) == pytest.approx(NOISE / 4, rel=0.01)


def test_a_pixel_that_no_background_knows_is_flagged():
    """A background of another subarray lies where it looks; the rest of the exposure has none."""
    small = background(shape=(10, 12), SUBSTRT1=9, SUBSTRT2=5)
    small.sci[:] = np.arange(120).reshape(10, 12)
    result = bkg_subtract.apply(science(small, SUBSTRT1=1, SUBSTRT2=1))
    inside = np.zeros(SHAPE, bool)
    inside[4:14, 8:20] = True
    assert np.array_equal(result.sci[inside], 7 - np.arange(120, dtype="f4")) and np.all(result.sci[~inside] == 7)
    assert np.array_equal(result.dq == dq.DO_NOT_USE, ~inside)
    large = background(shape=(40, 50), SUBSTRT1=1, SUBSTRT2=1)
    large.sci[:] = np.arange(2000).reshape(40, 50)
    result = bkg_subtract.apply(science(large, SUBSTRT1=11, SUBSTRT2=6))
    assert np.array_equal(result.sci, 7 - large.sci[5:29, 10:42]) and not result.dq.any()


def test_one_background_elsewhere_is_left_out():
    elsewhere = background(seed=2, SUBSTRT1=1000)
    elsewhere.dq[:] = dq.JUMP_DET
    result = bkg_subtract.apply(science(background(seed=1), elsewhere))
    assert not result.dq.any() and result.sci.mean() == pytest.approx(5, abs=0.02)


# --- when there is nothing to do, and when something is wrong


def test_reasons_to_skip():
    with pytest.raises(Skip, match="no background"):
        bkg_subtract.apply(make.image_exposure(np.ones(SHAPE)))
    exposure = science(background(SUBSTRT1=1000))
    with pytest.raises(Skip, match="no background looks at the pixels"):
        bkg_subtract.apply(exposure)
    tilt = {"INSTRUME": "NIRSPEC", "GWA_XTIL": 0.35, "GWA_YTIL": 0.1}
    exposure = science(background(**tilt), background(**tilt | {"GWA_YTIL": 0.1000001}), **tilt)
    with pytest.raises(Skip, match="grating wheel .*: master_background does not mind"):
        bkg_subtract.apply(exposure)
    assert np.all(exposure.sci == 7)
    assert bkg_subtract.apply(science(background(**tilt), **tilt)).sci.mean() == pytest.approx(5, abs=0.02)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [({"DETECTOR": "NRCA2"}, "DETECTOR NRCA2: there it is NRCA1"), ({"BUNIT": "MJy/sr"}, "BUNIT MJy/sr: there it is DN/s")],
)
def test_backgrounds_that_do_not_fit(keywords, message):
    with pytest.raises(InputError, match=message) as error:
        bkg_subtract.apply(science(background(**keywords)))
    assert error.value.file == "background1_rate.fits"


@pytest.mark.parametrize(
    "parameter",
    [{"wfss_maxiter": 3}, {"soss_bkg_percentile": [20.0, 40.0]}, {"soss_source_percentile": 30.0}, {"wfss_mask": "mask.fits"}],
)
def test_parameters_of_spectra_are_refused(parameter):
    with pytest.raises(ConfigError, match=f"{next(iter(parameter))} of bkg_subtract is for slitless spectra"):
        bkg_subtract.apply(science(background()), **parameter)


# --- in image2


@pytest.fixture(scope="module")
def observed(tiny_rate, tmp_path_factory):
    """A rate file, three backgrounds beside it with outliers, NaN and flags of their own, and their association."""
    folder = tmp_path_factory.mktemp("backgrounds")
    shutil.copy(tiny_rate, folder)
    members = [(tiny_rate.name, "science")]
    for number in range(1, 4):
        path = folder / f"jw01234002001_02101_{number:05d}_nrcb1_rate.fits"
        shutil.copy(tiny_rate, path)
        random = np.random.default_rng(number)
        with fits.open(path, mode="update") as hdus:
            hdus[0].header["OBSERVTN"] = "002"
            sci, flags = hdus["SCI"].data, hdus["DQ"].data
            sci[:] = random.normal(0.3, 0.02, sci.shape)
            sci[random.random(sci.shape) < 0.01] += 8
            bad = random.random(sci.shape) < 0.02
            sci[bad], flags[bad] = np.nan, flags[bad] | 1
            flags[random.random(sci.shape) < 0.02] |= dq.JUMP_DET
        members.append((path.name, "background"))
    association = {"asn_type": "image2", "asn_rule": "DMSLevel2bBase", "asn_id": "c1000", "asn_pool": "a_pool.csv", "program": "01234"}
    association["products"] = [
        {"name": "jw01234001001_02101_00001_nrcb1", "members": [{"expname": name, "exptype": kind} for name, kind in members]}
    ]
    path = folder / "jw01234-c1000_image2_00001_asn.json"
    path.write_text(json.dumps(association))
    return path


def test_short_nods_are_told(caplog):
    """A nod whose wings reach the source takes away its light; a background of another field does not, wherever it is."""
    for apart, target, told in ((0.257, False, True), (1.0, False, False), (0.257, True, False)):
        caplog.clear()
        near = background(XOFFSET=apart, YOFFSET=0.0, BKGDTARG=target)
        bkg_subtract.apply(science(near, XOFFSET=0.0, YOFFSET=0.0, BKGDTARG=False))
        assert ("is a nod by 0.257 arcsec: it takes away light of the source" in caplog.text) == told


CLIP = {"bkg_subtract": {"sigma": 1.2, "save_combined_background": True}}


@pytest.fixture(scope="module")
def ours(observed, tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("ours")
    jwcal.run_pipeline("image2", observed, CLIP | {"resample": {"error_of": "area"}}, out=out, save=["bsub"], crds_path=str(tiny.crds))
    return out


def test_products_of_an_association_by_hand(ours, observed):
    assert {path.name.rpartition("_")[2] for path in ours.glob("*.fits")} == {
        "bsub.fits",
        "cal.fits",
        "combinedbackground.fits",
        "i2d.fits",
    }
    header = stored.header(next(ours.glob("*_cal.fits")))
    assert (header["S_BKDSUB"], header["ASNPOOL"], header["ASNTABLE"]) == ("COMPLETE", "a_pool.csv", observed.name)
    bsub, combined, rate = (
        stored.read(path) for path in (*ours.glob("*_bsub.fits"), *ours.glob("*_combined*.fits"), *observed.parent.glob("jw01234001*"))
    )
    known = np.isfinite(combined.sci)
    assert np.array_equal(bsub.sci[known], (rate.sci - combined.sci)[known], equal_nan=True) and known.mean() > 0.95


def test_an_exposure_without_an_association(tiny_rate, tiny):
    """It says so as the peer's products do."""
    cal = jwcal.run_pipeline("image2", tiny_rate, crds_path=str(tiny.crds))
    assert cal.steps["bkg_subtract"] == ("SKIPPED", "the association has no background")
    assert (cal.header["ASNPOOL"], cal.header["ASNTABLE"]) == ("singleton", "singleton")


def test_an_association_that_can_not_be_run_by_hand(observed, tmp_path):
    with pytest.raises(InputError, match="there is no jw01234001001_02101_00001_nrcb1_rate.fits"):
        jwcal.run_pipeline("image2", shutil.copy(observed, tmp_path))
    document = json.loads(observed.read_text())
    (observed.parent / "two_asn.json").write_text(json.dumps(document | {"products": 2 * document["products"]}))
    with pytest.raises(ConfigError, match="one product"):
        jwcal.run_pipeline("image2", observed.parent / "two_asn.json")


@pytest.mark.parity
@needs_peer
def test_against_the_peer(ours, observed, tiny, tmp_path):
    document = json.loads(observed.read_text())
    for member in document["products"][0]["members"]:  # it looks for them where it runs
        member["expname"] = str(observed.parent / member["expname"])
    (tmp_path / observed.name).write_text(json.dumps(document))
    peer_pipeline("image2", tmp_path / observed.name, tmp_path, tiny.crds, steps=CLIP)
    name = "jw01234001001_02101_00001_nrcb1"
    assert_same(ours / f"{name}_cal.fits", tmp_path / f"{name}_cal.fits", ("sci", "err", "dq", "var_poisson", "var_rnoise", "var_flat"))
    assert_same(ours / f"{name}_i2d.fits", tmp_path / f"{name}_i2d.fits", ("sci", "err", "CON"))
    mine = stored.read(ours / f"{name}_combinedbackground.fits")
    with fits.open(tmp_path / f"{name}_combinedbackground.fits") as its:
        known = np.isfinite(mine.sci)
        assert np.array_equal(mine.dq, its["DQ"].data) and np.all(its["SCI"].data[~known] == 0)  # it calls what no background knows 0
        for plane in ("sci", "err"):
            assert np.allclose(getattr(mine, plane)[known], its[plane].data[known], rtol=1e-6, atol=0)
    mine, its = (stored.header(folder / f"{name}_cal.fits") for folder in (ours, tmp_path))
    assert {k: mine.get(k) for k in ("S_BKDSUB", "ASNPOOL", "ASNTABLE")} == {k: its.get(k) for k in ("S_BKDSUB", "ASNPOOL", "ASNTABLE")}
