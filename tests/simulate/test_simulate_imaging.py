"""The simulator's truth of imaging at stage 3 is what its files hold."""

import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from photutils.aperture import CircularAperture
from stdatamodels.jwst import datamodels

from jwcal import associations
from jwcal.model.references import References
from jwcal.products import stored
from jwcal.program import index as files
from jwcal.simulate import calibrated, instruments, pointing, program, references, scene
from jwcal.simulate.detector import make_detector
from jwcal.simulate.exposures import TARGET
from jwcal.simulate.series import Series, Transit
from jwcal.vocabulary import dq as bits
from peer import needs_peer, peer_pipeline

SMALL = dict(detector="NRCB1", subarray="SUB160", tframe=10.7, ngroups=8, sip=False)


def one_star(x=0.0, y=0.0, flux=2e-6, **psf):
    """A star so many arcsec east and north of the target, on a dark sky."""
    field = scene.make_scene(*TARGET, stars=1, galaxies=0, sky=0.0, psf=scene.Psf(**psf))
    ra, dec = pointing.moved(TARGET, x, y)
    for name, value in (("ra", ra), ("dec", dec), ("flux", flux)):
        field.sources[name] = [value]
    return field


def centroid(image, x, y, radius=12):
    """Of the light about a pixel, row and column counted from 0."""
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    light = np.where(np.hypot(columns - x, rows - y) < radius, image, 0).astype(float)
    return (light * columns).sum() / light.sum(), (light * rows).sum() / light.sum()


def arcsec(ra, dec, about):
    """Offsets of positions from one, east and north [arcsec]."""
    return (ra - about[0]) * 3600 * np.cos(np.radians(about[1])), (dec - about[1]) * 3600


@pytest.mark.parametrize("mode", [SMALL, dict(exp_type="MIR_IMAGE", subarray="SUB128", roll=200.0, sip=False)])
def test_star_is_where_the_header_and_the_pointing_error_say(mode):
    error = pointing.Error(east=0.06, north=-0.04, roll=0.02)
    made = calibrated.simulate_cal(**mode, field=one_star(0.5, 0.3), pointing_error=error, noise=False)
    star = made.truth.sources[0]
    x, y = centroid(made.truth.image * made.exposure.extra["AREA"], star["x"], star["y"])
    assert np.hypot(x - star["x"], y - star["y"]) < 0.01
    ra, dec = made.exposure.wcs(x, y)
    # the error's shift is that of the target; the star turns about it
    east, north = arcsec(ra, dec, TARGET)
    turn = np.radians(error.roll)
    found = (np.cos(turn) * east + np.sin(turn) * north + error.east, np.cos(turn) * north - np.sin(turn) * east + error.north)
    assert np.hypot(found[0] - 0.5, found[1] - 0.3) < 0.01 * made.plan.look.xscale


def test_header_knows_nothing_of_the_error():
    plain, shaky = (calibrated.simulate_cal(**SMALL, pointing_error=e) for e in (None, pointing.Error(0.1, 0.1, 0.1)))
    for keyword in ("RA_REF", "DEC_REF", "ROLL_REF", "S_REGION", "CRVAL1", "PA_V3"):
        assert plain.exposure.header[keyword] == shaky.exposure.header[keyword]


@pytest.mark.parametrize(("fwhm", "within"), [(1.0, 0.08), (2.5, 2e-3)])  # pixels as wide as the star itself see its place
def test_flux_and_width_of_a_star(fwhm, within):
    made = calibrated.simulate_cal(**SMALL, field=one_star(flux=3e-6, fwhm=fwhm, core=1.0), noise=False)
    light = made.truth.image * made.exposure.extra["AREA"] * made.exposure.header["PIXAR_SR"] * 1e6
    assert light.sum() == pytest.approx(3e-6, rel=1e-4)
    star = made.truth.sources[0]
    rows, columns = np.mgrid[: light.shape[0], : light.shape[1]]
    variance = (light * ((columns - star["x"]) ** 2 + (rows - star["y"]) ** 2)).sum() / light.sum() / 2
    assert np.sqrt(variance - 1 / 12) == pytest.approx(fwhm * scene.SIGMA, rel=within)  # a pixel's own variance is 1/12
    good = made.exposure.dq & bits.DO_NOT_USE == 0
    assert np.allclose(made.exposure.sci[good], made.truth.image[good], rtol=1e-5)


def test_noise_is_what_the_variances_say():
    made = calibrated.simulate_cal(**SMALL)
    exposure = made.exposure
    pulls = (exposure.sci - made.truth.image) / np.sqrt(exposure.var_poisson + exposure.var_rnoise)
    pulls = pulls[exposure.dq == 0]
    # the variance of photons is that of the rate that was measured, as in stage 1: low rates have it too small
    assert abs(np.median(pulls)) < 0.03 and pulls.std() == pytest.approx(1, abs=0.03)
    assert np.allclose(exposure.err**2, exposure.var_poisson + exposure.var_rnoise + exposure.var_flat, equal_nan=True)
    assert np.isnan(exposure.sci[exposure.dq & bits.DO_NOT_USE != 0]).all()


def test_mosaic_shares_errors_and_sky_steps_within_an_exposure():
    made = calibrated.simulate_mosaic(
        filters=["F200W", "F150W"],
        detectors=["NRCB1", "NRCB3"],
        dithers=[(0, 0), (0.5, 0.3)],
        subarray="SUB160",
        errors=0.05,
        sky_steps=[0.0, 0.2],
        ruined={3},
        cosmic_rays=15,
        sip=False,
    )
    assert len(made) == 8 and len({m.exposure.name for m in made}) == 8
    levels = [np.nanmedian(m.exposure.sci) for m in (made[0], made[2])]
    assert levels[1] - levels[0] == pytest.approx(0.2, abs=0.01)
    assert [m.truth.sky for m in made] == [0.25, 0.25, 0.45, 0.45] * 2
    assert made[0].truth.error == made[1].truth.error != made[2].truth.error
    assert [m.exposure.header["FILTER"] for m in made] == ["F200W"] * 4 + ["F150W"] * 4
    assert np.isnan(made[3].exposure.sci).all() and not np.isnan(made[2].exposure.sci).all()
    assert min(len(m.truth.sources) for m in made) >= 10
    for m in made[:3]:
        hits, sci = m.truth.cosmic_rays, m.exposure.sci
        assert len(hits) >= 15 and hits["sigma"].min() > 0
        assert np.median(sci[hits["row"], hits["col"]] - m.truth.image[hits["row"], hits["col"]] - hits["added"]) < 0.2


def test_frames_need_not_overlap():
    made = calibrated.simulate_mosaic(detectors=["NRCB1", "NRCB2"], dithers=[(0, 0), (30.0, 0.0)], subarray="SUB160", sip=False)
    places = [m.plan.look.pixel_to_sky(80.0, 80.0) for m in made]
    far = [np.hypot(*arcsec(*places[0], place)) for place in places[1:]]
    assert 25 < far[1] < 35 and min(far) > 8 and min(len(m.truth.sources) for m in made) >= 3
    assert np.allclose(made[0].plan.look.attitude, made[1].plan.look.attitude, atol=1e-11)  # one telescope


def test_written_program_is_read_again(tmp_path):
    made = calibrated.simulate_cal(**SMALL, pointing_error=pointing.Error(0.01, 0.02), cosmic_rays=3)
    there = calibrated.write_program(tmp_path, [made])
    cal, truth = there["data"][0], tmp_path / "truth/jw01234001001_02101_00001_nrcb1_truth.fits"
    again = stored.read(cal)
    (association,) = (json.loads(path.read_text()) for path in there["associations"])
    assert [member["expname"] for member in association["products"][0]["members"]] == [cal.name]
    chosen = {path.name.split("_")[2] for path in (tmp_path / "crds/references/jwst/nircam").iterdir()}
    assert {"apcorr", "abvegaoffset", "area", "gain", "readnoise"} <= chosen
    assert np.array_equal(again.sci, made.exposure.sci, equal_nan=True) and again.header["S_PHOTOM"] == "COMPLETE"
    assert np.allclose(again.wcs(10.0, 20.0), made.exposure.wcs(10.0, 20.0), atol=1e-12)
    with datamodels.open(cal, strict_validation=True) as model:
        assert type(model).__name__ == "ImageModel" and model.meta.bunit_data == "MJy/sr" and model.meta.photometry.pixelarea_steradians > 0
        assert np.allclose(model.meta.wcs(10.0, 20.0), made.exposure.wcs(10.0, 20.0), atol=1e-12)
    with fits.open(truth) as hdus:
        assert hdus[0].header["ERREAST"] == 0.01 and len(hdus["COSMIC_RAYS"].data) == len(made.truth.cosmic_rays)


# --- pairs, moving targets, series --------------------------------------------------------------------------------------------------


def test_second_of_a_pair_misses_by_whole_pixels():
    pair = calibrated.simulate_pair(hidden=(2, -1), sip=False)
    for made, missed in zip(pair, ((0, 0), (2, -1)), strict=True):
        star, header = made.truth.sources[0], made.exposure.header
        x, y = made.exposure.wcs.invert(star["ra"], star["dec"], with_bounding_box=False)
        assert (star["x"] - x, star["y"] - y) == pytest.approx(missed, abs=0.001)
        assert "WFSC" in header["VISITYPE"] and header["PATTTYPE"] == "WFSC"
    assert pair[0].exposure.header["OBS_ID"] == pair[1].exposure.header["OBS_ID"]


def test_moving_target_stays_on_its_pixel_and_stars_do_not():
    first, *others = calibrated.simulate_moving((30.0, -10.0), number=3, gap=300, sip=False)
    rest = [(m.truth.sources[-1]["x"], m.truth.sources[-1]["y"]) for m in (first, *others)]
    assert np.ptp(rest, axis=0).max() < 1e-3
    for one in others:
        header = one.exposure.header
        assert header["TARGTYPE"] == "MOVING" and (header["MT_RA"], header["MT_DEC"]) == (header["TARG_RA"], header["TARG_DEC"])
        assert "MT_RA" in header.sci
        hours = (header["EXPMID"] - first.exposure.header["EXPMID"]) * 24
        assert arcsec(header["MT_RA"], header["MT_DEC"], TARGET) == pytest.approx((30 * hours, -10 * hours), abs=0.002)


@pytest.mark.parametrize("mode", [dict(exp_type="NRC_TSIMAGE"), dict(exp_type="MIR_IMAGE", subarray="SUB64", TSOVISIT=True)])
def test_transit_is_as_deep_as_was_asked_for(mode):
    field = one_star(flux=2e-3)
    series = Series(Transit(depth=0.02, middle=0.5, duration=0.5), jitter=0.02)
    parts = calibrated.simulate_segments(series, nints=30, each=20, field=field, sip=False, **mode)
    assert [m.exposure.suffix for m in parts] == ["calints"] * 2 and [len(m.exposure.sci) for m in parts] == [20, 10]
    light = np.concatenate([(m.truth.image - m.truth.sky).sum(axis=(1, 2)) for m in parts])
    factors = np.concatenate([m.truth.curve["factor"] for m in parts])
    assert np.allclose(light / light[0], factors, atol=1e-6)
    assert factors.min() == pytest.approx(0.98) and factors[0] == factors[-1] == 1.0
    curve, star = parts[0].truth.curve, parts[0].truth.sources[0]
    assert 0.01 < curve["dx"].std() < 0.03
    x, y = centroid(parts[0].truth.image[3] - parts[0].truth.sky, star["x"], star["y"], radius=9)
    assert (x, y) == pytest.approx((star["x"] + curve["dx"][3], star["y"] + curve["dy"][3]), abs=0.005)
    times = np.concatenate([m.exposure.tables["INT_TIMES"]["int_mid_MJD_UTC"] for m in parts])
    assert np.allclose(times, np.concatenate([m.truth.curve["mjd_utc"] for m in parts]), atol=1e-9) and (np.diff(times) > 0).all()
    one, two = (m.exposure.header for m in parts)
    assert (one["EXPEND"], one["VA_SCALE"], one["NINTS"]) == (two["EXPEND"], two["VA_SCALE"], 30)
    assert "XREF_SCI" in one and "-seg002_" in parts[1].exposure.name


def test_written_series_is_a_cube_with_times(tmp_path):
    made = calibrated.simulate_cal(exp_type="NRC_TSIMAGE", subarray="SUB64P", nints=3, series=Series(), sip=False)
    cal, truth = made.write(tmp_path / "data")
    with datamodels.open(cal, strict_validation=True) as model:
        assert type(model).__name__ == "CubeModel" and list(model.int_times["integration_number"]) == [1, 2, 3]
        assert model.meta.wcsinfo.siaf_xref_sci is not None and model.meta.visit.tsovisit
    assert len(fits.getdata(truth, "LIGHT_CURVE")) == 3


def test_photon_noise_of_a_series():
    made = calibrated.simulate_cal(exp_type="NRC_TSIMAGE", nints=60, field=one_star(flux=5e-3), series=Series(None), sip=False)
    star, exposure = made.truth.sources[0], made.exposure
    rows, columns = np.mgrid[: exposure.sci.shape[1], : exposure.sci.shape[2]]
    near = (np.hypot(columns - star["x"], rows - star["y"]) < 5) & (exposure.dq[0] & bits.DO_NOT_USE == 0)
    scatter = exposure.sci[:, near].sum(axis=1).std()
    expected = np.sqrt((exposure.var_poisson + exposure.var_rnoise)[0, near].sum())
    assert scatter == pytest.approx(expected, rel=0.3)


# --- instruments --------------------------------------------------------------------------------------------------------------------


def test_columns_of_miri_that_the_field_misses_are_blanked(tmp_path):
    sub = instruments.Subarray("FULL", 301, 401, 100, 20, 4)
    detector = make_detector("MIRI", "MIRIMAGE", sub, blanked=True)
    blank = detector.dq & bits.NON_SCIENCE != 0
    assert blank[:, :59].all() and not blank[:, 59:].any() and (detector.dq[blank] & bits.DO_NOT_USE).all()
    made = calibrated.simulate_cal(
        exp_type="MIR_IMAGE", subarray=sub, sensor=detector, field=scene.make_scene(*TARGET, stars=0, galaxies=0)
    )
    assert np.isnan(made.exposure.sci[blank]).all() and (made.truth.image[blank] == 0).all()
    assert len(made.truth.sources) == 0  # a field without stars
    files = references.write_references(tmp_path, detector, setup=made.setup, types=["mask"])
    assert np.array_equal(References(files, made.exposure.header)["mask"].dq() & bits.NON_SCIENCE != 0, blank)


def test_reference_pixels_are_of_no_use():
    made = calibrated.simulate_cal(subarray=instruments.Subarray("FULL", 1, 1, 40, 30, 1))
    border = np.ones((30, 40), bool)
    border[4:, 4:] = False
    assert (made.exposure.dq[border] & bits.DO_NOT_USE).all() and np.isnan(made.exposure.sci[border]).all()
    flat = references.MAKERS["flat"](made.detector, made.setup, {"counts_flat": True})
    assert (flat["DQ"][border] & bits.DO_NOT_USE).all()


@pytest.mark.parametrize(
    "mode",
    [
        dict(exp_type="NIS_IMAGE", subarray="SUB64"),
        dict(exp_type="FGS_IMAGE", subarray="32X32"),
        dict(exp_type="NRC_IMAGE", detector="NRCBLONG", filter="F444W", subarray="SUB64P"),
    ],
)
def test_other_imagers(mode):
    made = calibrated.simulate_cal(**mode)
    assert made.exposure.header["BUNIT"] == "MJy/sr" and len(made.truth.sources) > 0
    star = made.truth.sources[0]
    ra, dec = made.exposure.wcs(star["x"], star["y"])
    assert np.hypot(*arcsec(ra, dec, (star["ra"], star["dec"]))) < 1e-4


# --- references ---------------------------------------------------------------------------------------------------------------------


def test_growth_of_apertures():
    rng = np.random.default_rng(5)
    for fwhm, within in ((1.3, 3e-3), (2.2, 1e-3)):
        psf, sigma = scene.Psf(), fwhm * scene.SIGMA
        radius, caught = float(psf.radius(0.7, sigma)), []
        for x, y in rng.uniform(25, 26, (150, 2)):
            image = np.zeros((52, 52))
            scene.add_star(image, x, y, 1.0, sigma, psf)
            caught.append(CircularAperture((x, y), radius).do_photometry(image)[0][0])
        assert np.mean(caught) == pytest.approx(0.7, abs=within)
        assert psf.enclosed(psf.reach(sigma), sigma) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("exp_type", "columns"),
    [("NRC_TSIMAGE", ["filter", "pupil"]), ("MIR_IMAGE", ["filter", "subarray"]), ("NIS_IMAGE", ["filter", "pupil"]), ("FGS_IMAGE", [])],
)
def test_references_of_stage_3_are_what_stdatamodels_wants(tmp_path, exp_type, columns):
    setup = instruments.setup(exp_type, subarray=instruments.Subarray("FULL", 1, 1, 32, 32))
    detector = make_detector(setup.instrument, setup.detector, setup.subarray)
    files = references.write_references(tmp_path, detector, setup=setup, types=references.stage3_types(setup))
    with datamodels.open(files["apcorr"], strict_validation=True) as model:
        table = model.apcorr_table
        assert list(table.names[: len(columns)]) == columns
        rows = table if not columns else table[(table["filter"] == table["filter"][-1]) & (table[columns[1]] == table[columns[1]][-1])]
        assert len(rows) == len(references.ENCLOSED) and len(np.unique(rows["skyin"])) == 1
        assert (np.diff(rows["radius"]) > 0).all() and np.allclose(rows["apcorr"] * rows["eefraction"], 1, atol=0.01)
        assert {30, 50, 70} <= set(np.rint(rows["eefraction"] * 100).astype(int))
    with datamodels.ABVegaOffsetModel(files["abvegaoffset"], strict_validation=True) as model:
        assert len(model.abvega_offset) > 0
    if "tsophot" in files:
        with datamodels.TsoPhotModel(files["tsophot"], strict_validation=True) as model:
            assert model.radii[0].radius < model.radii[0].radius_inner < model.radii[0].radius_outer


def test_flat_of_counts_holds_the_gain():
    detector = make_detector("NIRCAM", "NRCB1", instruments.Subarray("FULL", 101, 101, 32, 32))
    plain, counts = (references.MAKERS["flat"](detector, None, {"counts_flat": c})["SCI"] for c in (False, True))
    assert np.allclose(counts * detector.gain / detector.gain.mean(), plain, equal_nan=True)


# --- programs -----------------------------------------------------------------------------------------------------------------------

PROGRAM = {
    "program": 4321,
    "target": list(TARGET),
    "stage3": True,
    "aim": "NRCB1_SUB64P",
    "pointing_error": {"rms": 0.05, "roll": 0.01},
    "sky_steps": [0.0, 0.4],
    "sky": {"radius": 1.5, "stars": 8, "galaxies": 0, "fwhm": 1.5, "core": 1.0, "separation": 0.2},
    "dithers": [[0.0, 0.0], [0.2, 0.1]],
    "detectors": ["NRCB1"],
    "exposures": [
        {"exp_type": "NRC_IMAGE", "filter": "F200W", "subarray": "SUB64P", "ngroups": 2, "tframe": 10.0, "ruined": [2]},
        {"exp_type": "NRC_IMAGE", "filter": "F212N", "pupil": "WLP8", "subarray": "SUB64P", "ngroups": 2, "wfs": [2, -1], "observation": 2},
        {
            **{"exp_type": "NRC_TSIMAGE", "detectors": ["NRCBLONG"], "aim": "NRCB5_SUB64P", "filter": "F444W", "subarray": "SUB64P"},
            **{"ngroups": 2, "nints": 5, "segments": 3, "observation": 3, "dithers": [[0.0, 0.0]], "sky": {"stars": 0, "galaxies": 0}},
            **{"star": 1e-2, "series": {"transit": {"depth": 0.1}, "jitter": 0.01}},
        },
        {
            **{"exp_type": "MIR_IMAGE", "detectors": ["MIRIMAGE"], "aim": "MIRIM_SUB64", "subarray": "SUB64", "ngroups": 3},
            **{"observation": 4, "moving": [60.0, 0.0], "star": 1e-3},
        },
    ],
}


@pytest.fixture(scope="module")
def made_program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("program")
    return folder, program.make_program(folder, PROGRAM)


def truth_of(path):
    return path.parents[1] / "truth" / path.name.replace("uncal", "truth")


def test_program_holds_what_was_asked_for(made_program):
    folder, made = made_program
    primary = [fits.getheader(path) for path in made["data"]]
    assert len(primary) == 8
    pair = primary[2:4]
    assert all(h["PATTTYPE"] == "WFSC" and "WFSC" in h["VISITYPE"] for h in pair) and pair[0]["OBS_ID"] == pair[1]["OBS_ID"]
    assert [(h["INTSTART"], h["INTEND"], h["NINTS"]) for h in primary[4:6]] == [(1, 3, 5), (4, 5, 5)]
    for name in ("INT_TIMES", "GROUP"):
        assert sorted(set(fits.getdata(made["data"][5], name)["integration_number"])) == [4, 5]
    errors = [(h["ERREAST"], h["ERRNORTH"], h["ERRROLL"]) for h in (fits.getheader(truth_of(p)) for p in made["data"])]
    assert len(set(errors)) == 7 and errors[4] == errors[5]  # the segments are of one exposure
    curve = np.concatenate([fits.getdata(truth_of(p), "LIGHT_CURVE") for p in made["data"][4:6]])
    assert curve["factor"].min() == pytest.approx(0.9, abs=1e-6) and list(curve["integration"]) == [1, 2, 3, 4, 5]
    moving = [fits.getheader(p, 1) for p in made["data"][6:]]
    assert moving[0]["MT_RA"] != moving[1]["MT_RA"] and primary[6]["TARGTYPE"] == "MOVING"
    assert (fits.getdata(made["data"][1], 1) == 65535).all()
    assert program.make_program(folder, PROGRAM) == made  # nothing is made again


def test_program_has_references_and_a_catalogue(made_program):
    folder, made = made_program
    kinds = [path.name.split("_")[2] for path in made["references"]]
    assert kinds.count("apcorr") == kinds.count("abvegaoffset") == 2 and kinds.count("tsophot") == 1
    stars = Table.read(made["catalogue"])
    assert {"RA", "DEC"} <= set(stars.colnames) and len(stars) > 3
    seen = Table(fits.getdata(truth_of(made["data"][0]), "CATALOG"))
    assert set(seen["ra"]) <= set(stars["RA"])


def test_rules_make_the_associations_of_the_program(made_program):
    folder, _ = made_program
    pool = associations.from_exposures(files.find(folder / "data").exposures)
    kinds = [a.asn_type for a in associations.generate(pool, candidates=True, discover=False)]
    assert {kind: kinds.count(kind) for kind in ("image3", "wfs-image3", "tso3")} == {"image3": 2, "wfs-image3": 1, "tso3": 1}


# --- the peer -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parity
@needs_peer
def test_peer_makes_a_mosaic_of_it(tmp_path):
    made = calibrated.simulate_mosaic(subarray="SUB320", errors=0.05, sky_steps=[0.0, 0.1, 0.05, 0.2], cosmic_rays=20)
    there = calibrated.write_program(tmp_path, made)
    steps = {"tweakreg": {"abs_refcat": str(there["catalogue"]), "abs_minobj": 5, "minobj": 5}}
    peer_pipeline("image3", there["associations"][0], tmp_path, there["crds"], steps=steps)
    (catalogue,) = tmp_path.glob("*_cat.ecsv")
    found, stars = Table.read(catalogue), Table.read(there["catalogue"])
    ra, dec, flux = found["sky_centroid"].ra.deg, found["sky_centroid"].dec.deg, np.asarray(found["isophotal_flux"])
    misses, ratios = [], []
    for star in stars[stars["flux"] > 2e-6]:
        away = np.hypot(*arcsec(ra, dec, (star["RA"], star["DEC"])))
        if away.min() < 0.05:
            misses.append(away.min())
            ratios.append(flux[away.argmin()] / star["flux"])
    assert len(misses) >= 5 and np.median(misses) < 0.005 and 0.93 < np.median(ratios) < 1.03
