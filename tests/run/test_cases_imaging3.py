"""Image3 on what comes up: other imagers, moving targets, one exposure, no stars, no overlap, nothing in a member, two filters."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from photutils.aperture import CircularAperture

import jwcal
import mosaics
from jwcal.products import stored
from jwcal.simulate import calibrated, instruments, scene
from jwcal.simulate.exposures import TARGET
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import InputError
from jwcal.workflow import plan

DITHERS = [(0.0, 0.0), (1.3, 0.7), (-0.9, 1.6)]
FEW = {"tweakreg": {"minobj": 4}}
EMPTY = scene.make_scene(*TARGET, stars=0, galaxies=0)
STARS = scene.make_scene(*TARGET, radius=3.5, stars=60, galaxies=0, faintest=2e-6, brightest=2e-5, separation=0.6)
SMALL = {"subarray": "SUB160", "sip": False, "dithers": DITHERS, "target": TARGET}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cases")


@pytest.fixture(scope="module")
def crds(folder):
    return mosaics.cache(folder, calibrated.simulate_mosaic(**SMALL | {"dithers": DITHERS[:1]}, field=EMPTY))


def simulate(errors=0.03, field=STARS, **others):
    return calibrated.simulate_mosaic(**SMALL | others, errors=errors, field=field)


def total(i2d, ra, dec, radius=10.0):
    """Flux [Jy] about a place, the median taken for the sky; and the pixel."""
    x, y = (float(c) for c in i2d.wcs.invert(ra, dec, with_bounding_box=False))
    image = i2d.sci - np.nanmedian(i2d.sci)
    mask = CircularAperture((x, y), radius).to_mask("exact")
    return float(np.nansum(mask.multiply(image))) * i2d.header["PIXAR_SR"] * 1e6, (x, y)


def check_mosaic(products, made, flux_within=0.03):
    """Where the brightest star is that all exposures see, and how bright; the catalogue has it."""
    (i2d,), (cat,), (segm,) = products["i2d"], products["cat"], products["segm"]
    assert i2d.header["BUNIT"] == "MJy/sr" and np.array_equal(np.isnan(i2d.sci), i2d.extra["WHT"] == 0)
    assert segm.sci.shape == i2d.sci.shape and segm.sci.max() == len(cat.catalogue) > 0
    common = set.intersection(*(set(one.truth.sources["id"]) for one in made))
    field = made[0].truth.field.sources
    stars = field[np.isin(field["id"], list(common))]
    stars.sort("flux")
    ra, dec, flux = (float(stars[-1][name]) for name in ("ra", "dec", "flux"))
    number = mosaics.nearest([ra], [dec], cat.catalogue["sky_centroid"].ra.deg, cat.catalogue["sky_centroid"].dec.deg, within=120)[0]
    assert number >= 0
    assert cat.catalogue["aper_total_flux"][number].value == pytest.approx(flux, rel=flux_within)
    return i2d, cat.catalogue


OTHERS = {
    "MIRI": {
        **{"exp_type": "MIR_IMAGE", "filters": ["F770W"], "detectors": ["MIRIMAGE"]},
        **{"subarray": instruments.Subarray("FULL", 241, 401, 200, 200, 4), "dithers": [(0, 0), (2.3, 1.1), (-1.7, 2.6)]},
    },
    "NIRISS": {"exp_type": "NIS_IMAGE", "filters": [("CLEAR", "F150W")], "detectors": ["NIS"], "subarray": "SUB128"},
    "FGS": {"exp_type": "FGS_IMAGE", "filters": [(None, None)], "detectors": ["GUIDER1"], "subarray": "128X128"},
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_imagers(tmp_path, name):
    mode = SMALL | OTHERS[name]
    sky, light = (30.0, 5) if name == "MIRI" else (0.3, 1)
    first = calibrated.simulate_mosaic(**mode, field=EMPTY)
    (ny, nx), look = first[0].exposure.sci.shape, first[0].plan.look
    scale = look.xscale
    middle = [float(c) for c in look.pixel_to_sky((nx + (60 if name == "MIRI" else 0)) / 2, ny / 2)]
    stars = scene.make_scene(
        *middle,
        radius=0.4 * nx * scale,
        stars=60,
        galaxies=0,
        faintest=3e-6 * light,
        brightest=1e-4 * light,
        separation=18 * scale,
        sky=sky,
        seed=4,
    )
    made = calibrated.simulate_mosaic(**mode, errors=0.02, field=stars)
    products, members = mosaics.run(
        "image3", made, mosaics.cache(tmp_path, made), {"tweakreg": {"minobj": 4, "searchrad": 0.5, "tolerance": 0.2, "separation": 0.4}}
    )
    assert all(members.steps[step][0] == "COMPLETE" for step in ("tweakreg", "skymatch", "outlier_detection"))
    misses = np.array([miss.mean(1) for miss in mosaics.errors(made)])
    assert np.std(misses, axis=0).max() < 4
    i2d, _ = check_mosaic(products, made)
    if name == "MIRI":  # what the field does not fall on is no sky: 30 MJy/sr are everywhere, but for the steps
        blank = made[0].exposure.dq & dq.NON_SCIENCE != 0
        assert blank.any() and np.isnan(made[0].exposure.sci[blank]).all()
        assert np.nanpercentile(i2d.sci, 1) > 0.9 * sky and np.nanmedian(i2d.sci) == pytest.approx(sky, rel=0.02)


def test_a_moving_target(folder, crds):
    """It is one source at the place that the header gives; stars are trails that outlier detection takes out."""
    made = calibrated.simulate_moving(
        (20.0, -8.0), number=4, gap=300.0, sip=False, target=TARGET, dithers=[(0, 0), (0.4, 0.2), (-0.3, 0.3), (0.2, -0.4)]
    )
    products, members = mosaics.run("image3", made, crds)
    assert members.steps["assign_mtwcs"][0] == "COMPLETE" and "tweakreg" not in members.steps
    (i2d,), (cat,) = products["i2d"], products["cat"]
    flux, (x, y) = total(i2d, i2d.header["TARG_RA"], i2d.header["TARG_DEC"])
    assert flux == pytest.approx(1e-5, rel=0.03)
    at = mosaics.nearest(
        [i2d.header["TARG_RA"]],
        [i2d.header["TARG_DEC"]],
        cat.catalogue["sky_centroid"].ra.deg,
        cat.catalogue["sky_centroid"].dec.deg,
        within=10,
    )
    assert at[0] >= 0
    assert cat.catalogue["aper_total_flux"][at[0]].value == pytest.approx(1e-5, rel=0.06)  # one star at four places in its pixels


def test_one_exposure_alone(crds, tmp_path):
    """No neighbour to align it to or to compare it with: it is aligned to the catalogue, and its mosaic is made."""
    made = simulate(dithers=DITHERS[:1], errors=0.05)
    catalogue = scene.write_catalogue(STARS, tmp_path / "stars.ecsv")
    products, members = mosaics.run("image3", made, crds, {"tweakreg": {"minobj": 4, "abs_minobj": 4, "abs_refcat": str(catalogue)}})
    assert members.steps["tweakreg"][0] == "COMPLETE" and members.steps["outlier_detection"][0] == "SKIPPED"
    assert np.abs(mosaics.errors(made)[0].mean(1)).max() < 3
    assert "crf" not in products and products["i2d"][0].header["NDRIZ"] == 1
    check_mosaic(products, made, flux_within=0.05)


def test_frames_that_do_not_overlap(crds):
    """What lies between them is NaN without weight; each keeps its sky and its WCS."""
    made = simulate(
        dithers=[(0.0, 0.0), (8.0, 0.0)],
        field=scene.make_scene(*TARGET, radius=11, stars=400, galaxies=0, faintest=2e-6, brightest=2e-5, separation=0.6),
        sky_steps=[0.0, 0.5],
    )
    before = [one.exposure.wcs(80.0, 80.0) for one in made]
    products, members = mosaics.run("image3", made, crds, FEW)
    assert [one.exposure.wcs(80.0, 80.0) for one in made] == before
    assert members.steps["tweakreg"][0] == "SKIPPED" and not any(np.any(crf.dq & dq.OUTLIER) for crf in products.get("crf", ()))
    (i2d,) = products["i2d"]
    seen = i2d.extra["WHT"] > 0
    assert 0.2 < seen.mean() < 0.8 and np.array_equal(seen, np.isfinite(i2d.sci))
    assert len(products["cat"][0].catalogue) > 20


@pytest.mark.full
@pytest.mark.parametrize(("method", "left"), [("match", EMPTY.sky), ("local", 0.0), ("global", 0.25)])  # half a step is left
def test_what_subtract_does(crds, method, left):
    """Users' trouble 9: with it off the exposures stay as they are, and say so; their mosaic has the levels off in either way."""
    mosaic = []
    for subtract in (False, True):
        made = simulate(field=EMPTY, dithers=DITHERS[:2], sky_steps=[0.0, 0.5])
        before = [one.exposure.sci.copy() for one in made]
        steps = {step: {"skip": True} for step in ("tweakreg", "outlier_detection", "source_catalog")}
        products, _ = mosaics.run(
            "image3", made, crds, steps | {"skymatch": {"skymethod": method, "skystat": "median", "subtract": subtract}}
        )
        for one, was in zip(made, before, strict=True):
            header = one.exposure.header
            assert header["BKGSUB"] is subtract and header["BKGMETH"] == method
            np.testing.assert_array_equal(one.exposure.sci, was - np.float32(header["BKGLEVEL"]) if subtract else was)
        mosaic.append(products["i2d"][0])
    np.testing.assert_allclose(mosaic[0].sci, mosaic[1].sci, atol=1e-6)
    assert np.nanmedian(mosaic[0].sci) == pytest.approx(left, abs=0.02)


def test_a_field_without_stars(crds, caplog):
    made = simulate(field=EMPTY)
    with caplog.at_level(logging.INFO):
        products, members = mosaics.run("image3", made, crds)
    assert members.steps["tweakreg"] == ("SKIPPED", "no stars were found") and "no stars were found" in caplog.text
    (i2d,), (cat,), (segm,) = products["i2d"], products["cat"], products["segm"]
    assert i2d.header["NDRIZ"] == 3 and np.nanmedian(i2d.sci) == pytest.approx(EMPTY.sky, abs=0.02)
    assert len(cat.catalogue) == 0 and "aper_total_flux" in cat.catalogue.colnames and not segm.sci.any()


def test_a_member_without_a_value(crds):
    """It is named, counts for nothing, and spoils nothing."""
    made = simulate(ruined={1})
    products, members = mosaics.run("image3", made, crds, FEW)
    good = [one for number, one in enumerate(made) if number != 1]
    misses = np.array([miss.mean(1) for miss in mosaics.errors(good)])
    assert members.steps["tweakreg"][0] == "COMPLETE" and np.std(misses, axis=0).max() < 2
    check_mosaic(products, good)
    assert np.isnan(products["crf"][1].sci).all()


def test_an_association_names_catalogues_and_groups(crds, tmp_path):
    """`tweakreg_catalog` and `group_id` of its members, as the peer's users write them."""
    made = simulate(errors=0.05)
    there = calibrated.write_program(tmp_path, made)
    (asn,) = map(Path, there["associations"])
    written = json.loads(asn.read_text())
    (tmp_path / "stars").mkdir()
    members = written["products"][0]["members"]
    for number, (member, one) in enumerate(zip(members, made, strict=True)):
        stars = one.truth.sources
        Table({"x": stars["x"], "y": stars["y"]}).write(tmp_path / f"stars/{number}.ecsv")
        member["tweakreg_catalog"] = f"../stars/{number}.ecsv"
    asn.write_text(json.dumps(written))
    blind = {
        "tweakreg": {"minobj": 4, "fitgeometry": "shift", "use_custom_catalogs": True, "snr_threshold": 1e6},
        "source_catalog": {"skip": True},
    }

    def misses(out):
        jwcal.run_pipeline("image3", asn, blind, out=tmp_path / out, crds_path=str(there["crds"]))
        crf = [stored.read(path) for path in sorted((tmp_path / out).glob("*_crf.fits"))]
        return np.array([miss.mean(1) for miss in mosaics.errors(made, crf)]), [one.header.get("EXPGRPID") for one in crf]

    before = np.array([miss.mean(1) for miss in mosaics.errors(made)])
    after, groups = misses("alone")
    assert np.std(before, axis=0).max() > 20 and np.std(after, axis=0).max() < 0.5 and groups == [None] * 3
    for member in members[1:]:
        member["group_id"] = "together"
    asn.write_text(json.dumps(written))
    after, groups = misses("grouped")
    assert groups == [None, "together", "together"]
    np.testing.assert_allclose(after[2] - after[1], before[2] - before[1], atol=0.5)  # they have moved as one
    assert np.abs(after - before).max() > 5
    (tmp_path / "stars/1.ecsv").unlink()
    with pytest.raises(InputError, match="there is no ../stars/1.ecsv, the catalogue of"):
        misses("none")


@pytest.mark.parametrize("wild", [{"pixels": 30.0}])
def test_a_stray_member_is_named(crds, wild):
    """A bad pointing: an error with its name before memory is asked for."""
    made = simulate(dithers=DITHERS[:2])
    stray = calibrated.simulate_mosaic(
        **SMALL | {"dithers": DITHERS[2:], "target": (TARGET[0] + wild["pixels"], TARGET[1])}, field=EMPTY, seed=5
    )
    with pytest.raises(Exception, match=stray[0].exposure.name):
        mosaics.run("image3", made + stray, crds, FEW)


def test_two_filters_in_one_folder(tmp_path):
    """Each becomes a mosaic of its own, of its own exposures."""
    made = calibrated.simulate_mosaic(**SMALL | {"dithers": DITHERS[:2]}, filters=["F200W", "F150W"], field=STARS)
    there = calibrated.write_program(tmp_path, made)
    planned = plan.make(
        {"data": str(tmp_path / "data"), "results": str(tmp_path / "results"), "references": {"crds_path": str(there["crds"])}}
    )
    assert not planned.problems and [job.pipeline for job in planned.jobs] == ["image3", "image3"]
    for job, name in zip(sorted(planned.jobs, key=lambda job: job.exposure), ("f150w", "f200w"), strict=True):
        assert name in job.exposure
        assert {stored.header(path)["FILTER"] for path in (job.input, *job.members)} == {name.upper()}
