"""ami3: a point source has visibility 1, a binary comes out where it is, bad input does no harm; observables as the peer has them."""

import copy
import json

import asdf
import numpy as np
import oifits
import pytest
from astropy.io import fits

import jwcal
import make
from interferograms import companion
from jwcal.arithmetic.ami import affine, bad_pixels, bandpass, fit, images, mask, observables, place, tables
from jwcal.model.exposure import Members
from jwcal.products import interferometry, stored
from jwcal.simulate import aperture_mask, calibrated
from jwcal.simulate import interferogram as simulated
from jwcal.simulate import program as simulate_program
from jwcal.simulate.interferogram import Interferogram
from jwcal.steps import ami_analyze, ami_normalize
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import ConfigError, InputError, ReferenceError, Skip
from peer import needs_peer, peer_pipeline, peer_python

BINARY = 0.15, 60.0, 0.02  # arcsec, degrees, of the star
TABLES = {"OI_VIS": (21, "VISAMP"), "OI_VIS2": (21, "VIS2DATA"), "OI_T3": (35, "T3AMP"), "OI_Q4": (35, "Q4AMP")}
IDEAL = ((1.0, 0.0), (0.0, 1.0))


@pytest.fixture(scope="module")
def clean():
    """A binary and a point source without noise, one integration each."""
    return simulated.simulate_interferometry(
        Interferogram(companion=BINARY, aberration=25.0, affine=IDEAL), nints=1, noise=False, area=False
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory, clean):
    folder = tmp_path_factory.mktemp("references")
    with asdf.AsdfFile({"mx": 1.0, "my": 1.0, "sx": 0.0, "sy": 0.0, "xo": 0.0, "yo": 0.0}) as tree:
        tree.write_to(folder / "ideal.asdf")
    return folder


def references(folder, exposure, **changed):
    nrm = {"NRM": aperture_mask.mask_image(), **aperture_mask.nrm_keywords()}
    given = {"nrm": nrm, "throughput": {"THROUGHPUT": aperture_mask.throughput("F480M")}} | changed
    return make.references(folder, exposure, **{kind: value for kind, value in given.items() if value is not None})


def observed(clean, nints=12, seed=1, kinds=("science", "psf")):
    """The clean images with the noise of their errors, and small pistons of the whole image: `Members`."""
    rng, made = np.random.default_rng(seed), []
    for one, kind in clean:
        if kind not in kinds:
            continue
        new = copy.deepcopy(one.exposure)
        for name in ("sci", "err", "dq", "var_poisson", "var_rnoise", "var_flat"):
            setattr(new, name, np.repeat(getattr(new, name), nints, axis=0))
        new.sci = (new.sci + new.err * rng.standard_normal(new.sci.shape)).astype(np.float32)
        new.tables = {}
        made.append((new, kind))
    return Members(made, name="jw01234-c1000_t001_niriss_f480m-nrm", asn_id="c1000")


def analyzed(members, folder, **parameters):
    """The products of ami_analyze by suffix, of the science exposure first."""
    exposure = members.every[0].source
    given = {"affine2d": str(folder / "ideal.asdf")} | parameters
    return ami_analyze.apply(members, references(folder, exposure), **given)[1:]


def mean_of(members, kind="science"):
    return getattr(members.prepared["ami_analyze"], kind)[0][1]


# --- parts -----------------------------------------------------------------------------------------------------------


def optics(folder, clean, turned=None, **more):
    refs = references(folder, clean[0][0].exposure)
    return fit.Optics(
        mask.of_reference(refs["nrm"]), bandpass.of_reference(refs["throughput"]), turned or affine.Affine(), 3.177e-7, 3, **more
    )


def test_the_model_is_the_sum_of_seven_holes(files, clean):
    """Against the plain sum over holes, by the outline's integral, at the same samples."""
    sees = optics(files, clean, affine.COMMISSIONING)
    got = fit.point_source(sees, (21, 21), (0.3, -0.2))
    at = (np.arange(63) - 31) / 3 * sees.pixel
    stretched = np.linalg.inv([[0.992820, 0.00618605], [-0.00727008, 0.998540]])
    holes, expected = stretched @ sees.mask.holes.T, np.zeros((63, 63))
    for wavelength, weight in zip(sees.bandpass.wavelengths, sees.bandpass.weights, strict=True):
        k = 2 * np.pi / wavelength * np.array(np.meshgrid(at - 0.3 * sees.pixel, at + 0.2 * sees.pixel, indexing="ij"))
        amplitude = simulated._hexagon(k, stretched) * np.exp(1j * np.tensordot(holes.T, k, 1)).sum(axis=0)
        expected += weight * np.abs(amplitude) ** 2
    expected = expected.reshape(21, 3, 21, 3).sum(axis=(1, 3))
    np.testing.assert_allclose(got / got.max(), expected / expected.max(), atol=1e-8)


def test_the_weights_of_a_filter_are_its_integral(tmp_path, clean):
    table = np.array([(40000, 0), (41000, 0.5), (45000, 0.9), (46000, 0)], [("wavelength", "f4"), ("throughput", "f4")])
    table = np.array([(w, np.interp(w, table["wavelength"], table["throughput"])) for w in np.linspace(40000, 46000, 601)], table.dtype)
    light = bandpass.of_reference(references(tmp_path, clean[0][0].exposure, throughput={"THROUGHPUT": table})["throughput"])
    assert len(light.weights) == 19 and light.weights.sum() == pytest.approx(1)
    assert light.centre == pytest.approx(np.average(table["wavelength"], weights=table["throughput"]) * 1e-10, rel=1e-4)
    assert light.width == pytest.approx(np.trapezoid(table["throughput"], table["wavelength"]) / 0.9 * 1e-10, rel=0.03)


def test_the_centre_is_found(files, clean):
    sees = optics(files, clean)
    for offset in ((0.0, 0.0), (0.31, -0.42), (-0.1, 0.25)):
        np.testing.assert_allclose(place.centre(fit.point_source(sees, (51, 51), offset)), offset, atol=3e-3)


def test_a_turned_pupil_is_found(files, clean):
    image = fit.point_source(optics(files, clean, affine.rotation(0.7)), (49, 49), (0, 0))
    assert place.rotation(image, optics(files, clean), [-3, -2, -1, 0, 1, 2, 3], (0, 0)) == pytest.approx(0.7, abs=0.05)


def test_bad_pixels_get_back_what_they_were(files, clean):
    """Users' trouble 24: beside the brightest pixel, a block, and one that nobody had flagged."""
    sees = optics(files, clean)
    image = fit.point_source(sees, (60, 60), (0.2, 0.1))
    image = 3000 * image / image.max() + np.random.default_rng(4).normal(0, 2, image.shape)
    size_of = bad_pixels.wavelengths("F480M", sees.bandpass)
    dark = bad_pixels.dark_frequencies(aperture_mask.mask_image().astype(float), aperture_mask.PUPIL, 60, sees.pixel, size_of)
    spoilt, bad = image.copy(), np.zeros(image.shape, bool)
    for row, column in ((30, 31), (29, 30), (10, 12), (50, 20)):
        bad[row, column], spoilt[row, column] = True, np.nan
    spoilt[40, 44] += 800
    got, found = bad_pixels.found_and_corrected(spoilt, bad, dark)
    assert found[40, 44] and found[bad].all() and found.sum() < 15  # neighbours of the last are doubted too
    np.testing.assert_allclose(got, image, atol=15)


def test_nothing_to_correct_changes_nothing():
    image = np.random.default_rng(1).normal(10, 1, (20, 20))
    assert np.array_equal(bad_pixels.correct(image, np.zeros((20, 20), bool), np.ones((20, 20), bool)), image)


def test_means_and_errors_are_those_of_a_monte_carlo(files, clean):
    """Users' trouble 23: phases on both sides of 180 degrees."""
    holes, rng = optics(files, clean).mask, np.random.default_rng(5)
    truth = np.linspace(0.5, 0.9, 21) * np.exp(1j * np.radians(np.linspace(150, 215, 21)))
    means = []
    for _ in range(60):
        seen = truth + 0.05 * (rng.standard_normal((40, 21)) + 1j * rng.standard_normal((40, 21)))
        means.append(observables.averaged(observables.of_fits([fit_of(row) for row in seen], holes), holes))
    how = observables.combinations(holes)
    for kind in observables.KINDS:
        phases = np.array([one.phase[kind] for one in means])
        off = observables.wrapped(phases - np.angle(truth) @ how.phases[kind].T)
        assert np.abs(off.mean(axis=0)).max() < 0.02
        assert np.median(off.std(axis=0) / np.mean([one.phase_err[kind] for one in means], axis=0)) == pytest.approx(1, abs=0.15)
    spread = np.std([one.vis2 for one in means], axis=0) / np.mean([one.vis2_err for one in means], axis=0)
    assert np.median(spread) == pytest.approx(1, abs=0.15)
    single = observables.of_fits([fit_of(row, 0.05) for row in truth[None]], holes)
    assert single.amp_err["vis"] == pytest.approx(0.05) and single.phase_err["vis"] == pytest.approx(0.05 / np.abs(truth)[None])


def fit_of(visibilities, sigma=0.05):
    """A fit with these visibilities."""
    terms = np.ones(44)
    terms[1:-1:2], terms[2:-1:2] = visibilities.real, visibilities.imag
    return fit.Fit(terms, np.eye(44) * sigma**2, 1.0, None)


def test_closures_close(files, clean):
    """Pistons of the holes have no say in closure phases and in the phases' sums about quadruples of the table."""
    holes = optics(files, clean).mask
    how = observables.combinations(holes)
    pistons = np.random.default_rng(2).normal(0, 0.1, 7)
    pairs = pistons[holes.pairs[:, 1]] - pistons[holes.pairs[:, 0]]
    np.testing.assert_allclose(how.phases["t3"] @ pairs, 0, atol=1e-12)
    np.testing.assert_allclose(how.pistons @ pairs, pistons - pistons.mean(), atol=1e-12)
    gains = np.random.default_rng(3).normal(0, 0.1, 7)
    np.testing.assert_allclose(how.amplitudes["q4"] @ (gains[holes.pairs].sum(axis=1)), 0, atol=1e-12)


# --- truth -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result(clean, files):
    """Of both stars, with the whole area of pixels: (members, products of ami_analyze, product of ami_normalize)."""
    members = observed(clean, nints=25)
    products = analyzed(members, files, whole_pixels=True)
    return members, products, ami_normalize.apply(members)[1]


def test_a_point_source_has_visibility_one(clean, files):
    steady = simulated.simulate_interferometry(Interferogram(affine=IDEAL), nints=1, references=0, noise=False, area=False)
    members = observed(steady, nints=25)
    analyzed(members, files, whole_pixels=True)
    mean = mean_of(members)
    assert np.sqrt(np.mean(((mean.vis2 - 1) / mean.vis2_err) ** 2)) < 1.5 and np.abs(mean.vis2 - 1).max() < 0.01
    assert np.sqrt(np.mean((mean.phase["t3"] / mean.phase_err["t3"]) ** 2)) < 1.5
    assert np.degrees(np.abs(mean.phase["t3"])).max() < 0.5
    three = observed(steady, nints=2)
    analyzed(three, files)
    assert 0.94 < mean_of(three).vis2.min() < 0.975  # as jwst has it: three samples see the finest fringes too strong


def test_a_binary_is_recovered(result):
    """By the standard's own equation from the standard's own columns: separation, angle and contrast."""
    found, errors = companion(result[2].tables)
    away, angle, ratio = found
    assert abs(away - BINARY[0]) < 3 * errors[0] + 1e-3 and errors[0] < 0.01
    assert abs(angle - BINARY[1]) < 3 * errors[1] + 0.3 and errors[1] < 4
    assert abs(ratio - BINARY[2]) < 3 * errors[2] and errors[2] < 2e-3


@pytest.mark.parametrize(("roll", "parity"), [(0.0, -1), (77.0, -1), (30.0, 1)])
def test_baselines_on_the_sky(files, clean, roll, parity):
    """A source's phase is -2 pi (u east + v north) / wavelength, whatever the roll: jwst forgets V3I_YANG where ROLL_REF is 0."""
    holes = optics(files, clean).mask
    turn = np.radians(roll)
    row, column = 0.7, -0.4  # where the source is
    east = row * np.sin(turn) + parity * column * np.cos(turn)
    north = row * np.cos(turn) - parity * column * np.sin(turn)
    uv = holes.on_sky(roll, parity)
    np.testing.assert_allclose(holes.holes @ [row, column], -(uv @ [east, north]), atol=1e-12)


# --- products --------------------------------------------------------------------------------------------------------


def test_tables_are_those_of_the_standard(result, tmp_path):
    """Users' trouble 25: one wavelength, logical flags, rows for each integration, baselines that close."""
    members, products, normal = result
    assert [one.suffix for one in products] == ["ami-oi", "amimulti-oi", "amilg", "psf-ami-oi", "amimulti-oi", "amilg"]
    rows = {"ami-oi": 1, "psf-ami-oi": 1, "amimulti-oi": 25, "aminorm-oi": 1}
    for product in (*products, normal):
        path = stored.write(product, tmp_path / f"jw_{product.suffix}.fits")
        with fits.open(path) as hdus:
            if product.suffix == "amilg":
                assert hdus["CTRD"].shape == hdus["N_RESID"].shape == hdus["FIT"].shape and hdus["SOLNS"].data["coeffs"].shape == (25, 44)
                continue
            assert hdus[0].header["CONTENT"] == "OIFITS2" and hdus[0].header["DATAMODL"] == "AmiOIModel"
            for name, count, amplitude in (
                ("OI_VIS", 21, "VISAMP"),
                ("OI_VIS2", 21, "VIS2DATA"),
                ("OI_T3", 35, "T3AMP"),
                ("OI_Q4", 35, "Q4AMP"),
            ):
                header, data = hdus[name].header, hdus[name].data
                assert (header["OI_REVN"], header["INSNAME"], header["ARRNAME"]) == (2, "NIRISS", interferometry.ARRAY)
                assert len(data) == count * rows[product.suffix] and data["FLAG"].dtype == bool and not data["FLAG"].any()
                assert data[amplitude].ndim == 1 and (data["INT_TIME"] > 0).all() and (data["MJD"] > 59000).all()
                units = dict(zip(data.columns.names, data.columns.units, strict=True))
                assert units["MJD"] == "d" and all(units[n] == "m" for n in units if n.endswith("COORD"))
            uv = {tuple(row["STA_INDEX"]): (row["UCOORD"], row["VCOORD"]) for row in hdus["OI_VIS2"].data}
            for row in hdus["OI_T3"].data:
                i, j, k = row["STA_INDEX"]
                third = -row["U1COORD"] - row["U2COORD"], -row["V1COORD"] - row["V2COORD"]
                np.testing.assert_allclose(third, -np.array(uv[i, k]), atol=1e-9)
            for row in hdus["OI_Q4"].data:
                assert abs(sum(row[f"U{k}COORD"] for k in (1, 2, 3, 4))) < 1e-9
            assert hdus["OI_WAVELENGTH"].data["EFF_WAVE"][0] == pytest.approx(4.82e-6, rel=1e-3)
            assert hdus["OI_TARGET"].data["TARGET"][0] and hdus["OI_TARGET"].columns["TARGET"].format == "32A"
    assert normal.header["CALIB"] == "CALIBRATOR"


def test_a_public_reader_opens_them(result, tmp_path):
    """Users' trouble 25: P. Boley's oifits, which also checks that a file is valid and consistent."""
    _, products, normal = result
    for product in (*products, normal):
        if product.suffix == "amilg":
            continue
        path = stored.write(product, tmp_path / f"jw_{product.suffix}.fits")
        read = oifits.open(str(path), quiet=True)
        assert read.isvalid() and read.isconsistent() and read.getoifitsver() == 2
        rows = 25 if product.suffix == "amimulti-oi" else 1
        assert (read.vis.size, read.vis2.size, read.t3.size) == (21 * rows, 21 * rows, 35 * rows)
        np.testing.assert_array_equal([row.vis2data[0] for row in read.vis2], product.tables["OI_VIS2"]["VIS2DATA"])
        np.testing.assert_array_equal([row.t3phi[0] for row in read.t3], product.tables["OI_T3"]["T3PHI"])
        np.testing.assert_array_equal(
            [(row.ucoord, row.vcoord) for row in read.vis], product.tables["OI_VIS"][["UCOORD", "VCOORD"]].tolist()
        )
        (light,) = read.wavelength.values()
        assert light.eff_wave == pytest.approx(4.82e-6, rel=1e-3)
        (holes,) = read.array.values()
        assert len(holes.station) == 7 and {station.sta_name for station in read.t3[0].station} <= {one.sta_name for one in holes.station}


def test_acquisition_images_are_no_targets(clean, files):
    """Users' trouble 26: an association that has one beside its target."""
    members = observed(clean, nints=1, kinds=("science",))
    image = copy.deepcopy(members.every[0].source)
    image.sci = np.full((64, 64), np.nan, np.float32)
    both = Members([(members.every[0].source, "science"), (image, "target_acquisition")], name=members.name, asn_id="c1000")
    assert [product.suffix for product in analyzed(both, files)] == ["ami-oi", "amimulti-oi", "amilg"]


def test_the_same_bytes_again(clean, files, tmp_path):
    made = []
    for number in (1, 2):
        product = analyzed(observed(clean, nints=2, kinds=("science",)), files)[0]
        made.append(stored.write(product, tmp_path / f"{number}" / "jw_ami-oi.fits").read_bytes())
    assert made[0] == made[1]


def test_the_target_without_proper_motion():
    header = make.header(8, 8, TARGNAME="UNKNOWN", TARGPROP="MY-STAR", MU_RA=None)
    assert tables.name_of(header) == "MY STAR" and tables._target(header)["PMRA"][0] == 0


# --- users' troubles, bad input --------------------------------------------------------------------------------------


def test_not_a_number_at_the_peak(clean, files):
    """Users' trouble 24."""
    plain, spoilt = (observed(clean, nints=3, kinds=("science",)) for _ in range(2))
    exposure = spoilt.every[0].source
    exposure.sci[1, 40, 45] = exposure.sci[1, 41, 45] = np.nan
    exposure.sci[2, 30, 40] = 1e6
    exposure.dq[2, 30, 40] |= dq.JUMP_DET
    analyzed(plain, files)
    analyzed(spoilt, files)
    one, other = mean_of(plain), mean_of(spoilt)
    np.testing.assert_allclose(other.vis2, one.vis2, atol=0.01)
    np.testing.assert_allclose(other.phase["t3"], one.phase["t3"], atol=0.01)


def test_images_and_first_integrations(clean, files):
    """Users' trouble 26: an image is one integration."""
    members = observed(clean, nints=3)
    whole = members.every[0].source
    analyzed(members, files, firstfew=2)
    few = mean_of(members)
    flat = copy.deepcopy(whole)
    for name in ("sci", "err", "dq"):
        setattr(flat, name, np.asarray(getattr(flat, name)[0]))
    alone = Members([(flat, "science")])
    products = analyzed(alone, files)
    assert len(products[1].tables["OI_VIS2"]) == 21
    assert np.isfinite(mean_of(alone).vis2_err).all() and few.vis2.shape == (21,)


def test_images_of_unlike_sizes(clean, files):
    """Users' trouble 26: a reference star nearer to the edge has a smaller image, and calibrates all the same."""
    found = []
    for cut in (0, 12):
        members = observed(clean, nints=2)
        psf = members.every[1].source
        for name in ("sci", "err", "dq"):
            setattr(psf, name, np.ascontiguousarray(getattr(psf, name)[:, cut:]))
        analyzed(members, files)
        about = [seen.size for seen, *_ in (*members.prepared["ami_analyze"].science, *members.prepared["ami_analyze"].psf)]
        assert (about[1] < about[0]) == bool(cut)
        found.append(ami_normalize.apply(members)[1].tables)
    whole, smaller = found
    np.testing.assert_allclose(smaller["OI_VIS2"]["VIS2DATA"], whole["OI_VIS2"]["VIS2DATA"], atol=0.02)
    np.testing.assert_allclose(smaller["OI_T3"]["T3PHI"], whole["OI_T3"]["T3PHI"], atol=1.0)


def test_one_integration_without_pixels(clean, files):
    members = observed(clean, nints=3, kinds=("science",))
    members.every[0].source.sci[1] = np.nan
    products = analyzed(members, files)
    rows = products[1].tables["OI_VIS2"].reshape(3, 21)
    assert rows["FLAG"][1].all() and not rows["FLAG"][[0, 2]].any() and np.isfinite(mean_of(members).vis2).all()


def test_fewer_holes(clean, files):
    members = observed(clean, nints=1, kinds=("science",))
    made = analyzed(members, files, chooseholes=["B4", "C2", "B5"], usebp=False)[0].tables
    assert len(made["OI_VIS2"]) == 3 and len(made["OI_T3"]) == 1 and "OI_Q4" not in made
    with pytest.raises(ConfigError, match="chooseholes"):
        analyzed(members, files, chooseholes=["B4", "C2", "X9"])


def test_the_turn_is_searched_where_nobody_gives_it(clean, files, caplog):
    members = observed(clean, nints=1, kinds=("science",))
    with caplog.at_level("INFO"):
        analyzed(members, files, affine2d=None, run_bpfix=False, oversample=1)
    (told,) = [record.getMessage() for record in caplog.records if "is turned by" in record.getMessage()]
    assert abs(float(told.split()[-2])) < 0.2


def test_a_bandpass_of_the_users(clean, files, tmp_path):
    members = observed(clean, nints=1, kinds=("science",))
    with asdf.AsdfFile({"bandpass": np.array([[1.0, 4.8e-6], [1.0, 4.84e-6]])}) as tree:
        tree.write_to(tmp_path / "light.asdf")
    made = analyzed(members, files, bandpass=str(tmp_path / "light.asdf"))[0].tables
    assert made["OI_WAVELENGTH"]["EFF_WAVE"][0] == pytest.approx(4.82e-6)
    with asdf.AsdfFile({"bandpass": np.ones(3)}) as tree:
        tree.write_to(tmp_path / "wrong.asdf")
    for name, error in (("wrong.asdf", ConfigError), ("absent.asdf", ReferenceError)):
        with pytest.raises(error):
            analyzed(members, files, bandpass=str(tmp_path / name))
    with pytest.raises(ConfigError, match="affine2d"):
        analyzed(members, files, affine2d=str(tmp_path / "wrong.asdf"))


@pytest.mark.parametrize(
    ("wrong", "match"),
    [({"oversample": 4}, "odd"), ({"rotation_search": "3 -3 1"}, "rotation_search"), ({"psf_offset": "0"}, "psf_offset")],
)
def test_parameters_that_cannot_be(clean, files, wrong, match):
    with pytest.raises(ConfigError, match=match):
        analyzed(observed(clean, nints=1, kinds=("science",)), files, **wrong)


def test_no_throughput(clean, files):
    members = observed(clean, nints=1, kinds=("science",))
    with pytest.raises(ConfigError, match="throughput"):
        ami_analyze.apply(members, references(files, members.every[0].source, throughput=None))


def test_another_filter_or_no_star(clean, files):
    members = observed(clean, nints=1)
    members.every[1].source.header["FILTER"] = "F380M"
    with pytest.raises(InputError, match="FILTER"):
        analyzed(members, files)
    empty = observed(clean, nints=1, kinds=("science",))
    empty.every[0].source.sci[:] = np.nan
    with pytest.raises(InputError, match="no image of a star"):
        analyzed(empty, files)
    edge = observed(clean, nints=1, kinds=("science",))
    edge.every[0].source.sci[:, 6, 6] = 1e7
    with pytest.raises(InputError, match="from the edge"):
        analyzed(edge, files, run_bpfix=False)


def test_no_calibrator(clean, files):
    """Users' trouble 26."""
    members = observed(clean, nints=1, kinds=("science",))
    with pytest.raises(Skip, match="not analyzed"):
        ami_normalize.apply(members)
    analyzed(members, files)
    with pytest.raises(Skip, match="no PSF reference"):
        ami_normalize.apply(members)


def test_two_rolls_and_two_calibrators(clean, files):
    """All in one table, each row with its own baselines; jwst overwrites the first pair by the second."""
    parts = observed(clean, nints=2), observed(clean, nints=2, seed=2)
    parts[1].every[0].source.header["ROLL_REF"] = 75.0
    both = Members([(member.source, member.kind) for part in parts for member in part.every])
    analyzed(both, files)
    made = ami_normalize.apply(both)[1].tables
    rows = made["OI_VIS2"].reshape(2, 21)
    turned = np.hypot(rows["UCOORD"], rows["VCOORD"])
    np.testing.assert_allclose(turned[0], turned[1])
    assert np.abs(rows["UCOORD"][0] - rows["UCOORD"][1]).max() > 1 and made["OI_ARRAY"]["PISTON_T"].shape == (7, 2)
    assert np.abs(rows["VIS2DATA"][0] - rows["VIS2DATA"][1]).max() < 0.05 and len(made["OI_T3"]) == 70


def test_the_full_frame_is_cut():
    exposure = make.image_exposure(np.random.default_rng(1).random((2048, 2048), np.float32), SUBARRAY="FULL")
    sci, _ = images.cut_out(exposure)
    assert sci.shape == (1, 80, 80) and sci[0, 3, 5] == exposure.sci[3, 1049]


# --- the chain and the peer ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A program on disk: (association, CRDS cache, references, members)."""
    folder = tmp_path_factory.mktemp("ami")
    light = Interferogram(companion=BINARY, pistons=20.0, aberration=30.0)
    made = simulated.simulate_interferometry(light, nints=3, cosmic_rays=4, area=False)
    there = calibrated.write_program(folder, [one for one, _ in made])
    return there | {"association": next(path for path in there["associations"] if "ami3" in path.name), "folder": folder}


def run(program, out):
    jwcal.run_pipeline("ami3", program["association"], out=out, crds_path=str(program["crds"]))
    return sorted(path for path in out.glob("*.fits"))


def test_the_chain_makes_its_products(program, tmp_path):
    names = [path.name for path in run(program, tmp_path / "out")]
    science, psf = (f"jw0123400{k}001_02101_00001_nis_c1000_" for k in (1, 2))
    assert names == sorted(
        ["jw01234-c1000_t001_niriss_f480m-nrm-sub80_aminorm-oi.fits"]
        + [f"{science}{suffix}.fits" for suffix in ("ami-oi", "amimulti-oi", "amilg")]
        + [f"{psf}{suffix}.fits" for suffix in ("psf-ami-oi", "amimulti-oi", "amilg")]
    )
    header = fits.getheader(tmp_path / "out" / names[0])
    assert header["S_AMIANA"] == header["S_AMINOR"] == "COMPLETE" and "nrm" in header["R_NRM"]


def test_the_chain_without_a_calibrator(program, tmp_path):
    table = json.loads(program["association"].read_text())
    table["products"][0]["members"] = [m for m in table["products"][0]["members"] if m["exptype"] == "science"]
    alone = program["association"].with_name("jw01234-c1000_ami3_00002_asn.json")
    alone.write_text(json.dumps(table))
    names = {path.name.rpartition("_")[2] for path in run(program | {"association": alone}, tmp_path / "out")}
    alone.unlink()
    assert names == {"ami-oi.fits", "amimulti-oi.fits", "amilg.fits"}


PEER = """
import os
os.environ.update(CRDS_PATH=str(cache), CRDS_SERVER_URL="https://crds-serverless-mode.stsci.edu", CRDS_MODE="local")
from jwst.ami import AmiAnalyzeStep, AmiNormalizeStep
means = []
for name, path in (("science", science), ("psf", psf)):
    mean, multi, lg = AmiAnalyzeStep.call(str(path), override_nrm=str(nrm), override_throughput=str(throughput))
    means.append(mean)
    for kind, model in ((name, mean), (name + "_multi", multi)):
        for table in ("vis", "vis2", "t3", "q4", "array"):
            rows = getattr(model, table)
            for column in rows.dtype.names:
                out[f"{kind} {table} {column}"] = np.array(rows[column])
    out[f"{name} CTRD"] = np.array(lg.centered_image)
norm = AmiNormalizeStep.call(*means)
for table in ("vis", "vis2", "t3", "q4"):
    rows = getattr(norm, table)
    for column in rows.dtype.names:
        out[f"norm {table} {column}"] = np.array(rows[column])
"""
CLOSE = {"VISAMP": 1e-3, "VIS2DATA": 1e-3, "T3AMP": 1e-3, "Q4AMP": 1e-3, "VISPHI": 0.05, "T3PHI": 0.05, "Q4PHI": 0.05}
SIDES = ("UCOORD", "VCOORD", "U1COORD", "V1COORD", "U2COORD", "V2COORD", "U3COORD", "V3COORD")


@needs_peer
@pytest.mark.parity
def test_observables_are_the_peers(program, tmp_path):
    """Also shows where jwst's errors are not those of the mean: phases' are too small by the amplitude, V2's by the root of 3."""
    made = run(program, tmp_path / "out")
    refs = {kind: str(next(path for path in program["references"] if kind in path.name)) for kind in ("nrm", "throughput")}
    science, psf = (str(path) for path in sorted(program["data"]))
    theirs = peer_python(PEER, cache=str(program["crds"]), science=science, psf=psf, **refs)
    ends = {"science": "1001_02101_00001_nis_c1000_ami-oi", "psf": "psf-ami-oi", "norm": "aminorm-oi"}
    ends |= {"science_multi": "1001_02101_00001_nis_c1000_amimulti-oi", "psf_multi": "2001_02101_00001_nis_c1000_amimulti-oi"}
    compared = 0
    for name, end in ends.items():
        with fits.open(next(path for path in made if path.stem.endswith(end))) as hdus:
            for table in ("vis", "vis2", "t3", "q4"):
                data = hdus[f"OI_{table.upper()}"].data
                for column, tolerance in (CLOSE | dict.fromkeys(SIDES, 1e-6)).items():
                    if column not in data.names:
                        continue
                    mine, its = np.asarray(data[column]), theirs[f"{name} {table} {column}"]
                    if its.ndim == 2:
                        mine = mine.reshape(its.shape[::-1]).T
                    elif len(mine) > len(its):
                        mine = mine[: len(its)]
                    np.testing.assert_allclose(mine, its, atol=tolerance, rtol=0, err_msg=f"{name} {column}")
                    compared += 1
            if name == "science":
                np.testing.assert_allclose(hdus["OI_VIS"].data["VISAMPERR"], theirs["science vis VISAMPERR"], rtol=0.02)
                error = theirs["science vis VISPHIERR"] / theirs["science vis VISAMP"]
                np.testing.assert_allclose(hdus["OI_VIS"].data["VISPHIERR"], error, rtol=0.02)
                too_small = 2 * theirs["science vis VISAMP"] * theirs["science vis VISAMPERR"] / theirs["science vis2 VIS2ERR"]
                np.testing.assert_allclose(too_small, np.sqrt(3))
                np.testing.assert_allclose(hdus["OI_ARRAY"].data["CTRS_EQT"], theirs["science array CTRS_EQT"], atol=1e-9)
    assert compared == 5 * (7 + 16 - 2)
    with fits.open(next(path for path in made if path.stem.endswith("1001_02101_00001_nis_c1000_amilg"))) as hdus:
        np.testing.assert_allclose(hdus["CTRD"].data, theirs["science CTRD"], atol=1e-3)


SEARCHED = """
import os
os.environ.update(CRDS_PATH=str(cache), CRDS_SERVER_URL="https://crds-serverless-mode.stsci.edu", CRDS_MODE="local")
from jwst.ami import AmiAnalyzeStep
mean, *_ = AmiAnalyzeStep.call(str(science), override_nrm=str(nrm), override_throughput=str(throughput), affine2d=None, oversample=5)
out["VIS2DATA"], out["T3PHI"] = np.array(mean.vis2["VIS2DATA"]), np.array(mean.t3["T3PHI"])
"""


@needs_peer
@pytest.mark.parity
@pytest.mark.full
def test_the_search_for_the_turn_is_the_peers(program, tmp_path):
    steps = {"ami_analyze": {"affine2d": "none", "oversample": 5}}
    jwcal.run_pipeline("ami3", program["association"], out=tmp_path / "out", crds_path=str(program["crds"]), steps=steps)
    refs = {kind: str(next(path for path in program["references"] if kind in path.name)) for kind in ("nrm", "throughput")}
    theirs = peer_python(SEARCHED, cache=str(program["crds"]), science=str(min(program["data"])), **refs)
    with fits.open(next((tmp_path / "out").glob("jw01234001*_ami-oi.fits"))) as hdus:
        np.testing.assert_allclose(hdus["OI_VIS2"].data["VIS2DATA"], theirs["VIS2DATA"], atol=1e-3)
        np.testing.assert_allclose(hdus["OI_T3"].data["T3PHI"], theirs["T3PHI"], atol=0.05)


# --- a program of raw exposures --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A raw exposure with its references: (folder, what `make_program` tells)."""
    folder = tmp_path_factory.mktemp("raw")
    shot = {"exp_type": "NIS_AMI", "aperture": "NIS_AMI1", "filter": "F480M", "ngroups": 3, "nints": 2, "tframe": 0.5}
    about = {"program": 4321, "target": [53.1625, -27.7914], "stage3": True, "sky": {"stars": 0, "galaxies": 0}}
    binary = {"star": 0.02, "companion": [0.15, 60.0, 0.02]}
    return folder, simulate_program.make_program(folder, about | {"exposures": [{**shot, "observation": 1, "interferogram": binary}]})


def test_a_program_has_its_references(raw):
    folder, made = raw
    assert {"nrm", "throughput"} <= {path.name.split("_")[2] for path in made["references"]}
    truth = fits.getdata(next((folder / "truth").glob("*_truth.fits")), "CATALOG")
    assert list(truth["kind"]) == ["star", "companion"] and truth["flux"][1] == pytest.approx(4e-4)
    assert np.hypot(truth["x"][1] - truth["x"][0], truth["y"][1] - truth["y"][0]) == pytest.approx(0.15 / 0.0655, rel=0.01)


@pytest.fixture(scope="module")
def integrations(raw, tmp_path_factory):
    """Its rateints, and the calints that image2 makes of them."""
    folder, made = tmp_path_factory.mktemp("calibrated"), raw[1]
    (uncal,) = made["data"]
    jwcal.run_pipeline("detector1", uncal, out=folder, crds_path=str(made["crds"]))
    (rateints,) = folder.glob("*_rateints.fits")
    jwcal.run_pipeline("image2", rateints, out=folder, crds_path=str(made["crds"]))
    return rateints, next(folder.glob("*_calints.fits"))


def test_integrations_have_the_areas_of_their_pixels(raw, integrations):
    """They stay in DN/s, and what knows of pixel areas is there: AREA, PIXAR_SR and PIXAR_A2."""
    area = next(path for path in raw[1]["references"] if "_area_" in path.name)
    with fits.open(integrations[1]) as hdus, fits.open(area) as reference:
        header = hdus["SCI"].header
        assert hdus[0].header["S_PHOTOM"] == "SKIPPED" and header["BUNIT"] == "DN/s" and hdus["SCI"].data.shape == (2, 80, 80)
        rows, columns = (slice(hdus[0].header[f"SUBSTRT{n}"] - 1, hdus[0].header[f"SUBSTRT{n}"] + 79) for n in (2, 1))
        whole = reference["SCI"].data
        np.testing.assert_array_equal(hdus["AREA"].data, whole if whole.shape == (80, 80) else whole[rows, columns])
        assert header["PIXAR_SR"] == pytest.approx(reference[0].header["PIXAR_SR"]) and header["PIXAR_A2"] == pytest.approx(
            0.0655**2, rel=0.02
        )


@needs_peer
@pytest.mark.parity
@pytest.mark.full
def test_integrations_are_the_peers(raw, integrations, tmp_path):
    peer_pipeline("image2", integrations[0], tmp_path, raw[1]["crds"])
    with fits.open(integrations[1]) as hdus, fits.open(next(tmp_path.glob("*_calints.fits"))) as theirs:
        for name in ("SCI", "ERR", "DQ"):
            np.testing.assert_allclose(hdus[name].data, theirs[name].data, rtol=1e-6)
        # the peer has the extension too, but cuts a reference of the subarray's size a second time: nothing is left
        assert hdus["AREA"].data.shape == hdus["SCI"].data.shape[1:] and theirs["AREA"].data.size == 0
        for keyword in ("PIXAR_SR", "PIXAR_A2", "BUNIT"):
            assert hdus["SCI"].header[keyword] == theirs["SCI"].header[keyword]
        assert "PHOTMJSR" not in hdus["SCI"].header and hdus[0].header["S_PHOTOM"] == theirs[0].header["S_PHOTOM"]
