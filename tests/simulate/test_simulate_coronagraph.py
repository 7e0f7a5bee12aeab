"""The simulated coronagraph does what its papers say, and a program of it goes from uncal files to coron3."""

import numpy as np
import pytest
from astropy.io import fits
from scipy.special import j1

import sky
from jwcal import associations
from jwcal.program import index
from jwcal.simulate import coronagraph, instruments, occulters, pointing, program, references
from jwcal.simulate.coronagraph import Bench, Coronagraph, setup_of
from jwcal.simulate.detector import make_detector
from jwcal.vocabulary import dq

REAL = sky.SHARED / "real/references/psfmask"


def setup(size=80, exp_type="NRC_CORON", **options):
    return instruments.setup(exp_type, **setup_of(size, **options))


def bench(made, errors=0.0, drift=0.0, epoch=0):
    return Bench(made, 1, epoch, errors, drift)


# --- the optics ------------------------------------------------------------------------------------------------------


def test_image_without_the_mask_is_that_of_the_lyot_stop():
    """An annular aperture's diffraction pattern, integrated over the pixels, from the star's pixel outwards."""
    made = setup(96)
    image = bench(made).image(0, 0, masked=False)
    x0, y0 = occulters.centre(made)
    inner, outer = coronagraph.STOPS["round"]
    fine = (np.arange(96 * 4) + 0.5) / 4 - 0.5
    scale = np.sqrt(pointing.nominal_area(made)) / (occulters.wavelength(made) / 6.5 * 206264.806)
    r = np.pi * scale * np.hypot((fine - x0)[None], (fine - y0)[:, None]) + 1e-9
    field = outer**2 * 2 * j1(outer * r) / (outer * r) - inner**2 * 2 * j1(inner * r) / (inner * r)
    expected = (field**2).reshape(96, 4, 96, 4).sum(axis=(1, 3))
    expected *= image.sum() / expected.sum()
    assert image == pytest.approx(expected, abs=0.02 * expected.max())
    assert 0.9 < image.sum() <= 1


@pytest.mark.parametrize("name", ["MASKA210R", "MASKA335R", "MASKA430R"])
def test_round_masks_pass_half_the_light_at_their_half_width(name):
    size = occulters.MASKS[name][1]
    at = np.array([0.0, size, 10 * size])
    assert occulters.mask_amplitude(name, at, 0 * at) ** 2 == pytest.approx([0, 0.5, 1], abs=0.03)
    assert occulters.mask_amplitude(name, at, 0 * at)[1] ** 2 == pytest.approx(0.5, abs=1e-6)


def test_bars_phase_masks_and_discs():
    bar = occulters.mask_amplitude("MASKALWB", np.array([0, 5.0, 0]), np.array([0, 0, 0.45]))
    assert bar**2 == pytest.approx([0, 0, 0.5], abs=1e-6)
    assert list(occulters.mask_amplitude("4QPM_1065", np.array([1, -1, -1, 1.0]), np.array([1, 1, -1, -1.0]))) == [1, -1, 1, -1]
    assert list(occulters.mask_amplitude("LYOT_2300", np.array([0, 2, 2.5]), np.zeros(3))) == [0, 0, 1]


def test_the_star_is_dimmed_and_its_planet_is_not():
    """A perfect telescope leaves less than a thousandth of the star; a planet far from it keeps its light and its place."""
    made = setup()
    optics = bench(made)
    assert optics.image(0, 0).sum() < 1e-3
    scale = np.sqrt(pointing.nominal_area(made))
    x0, y0 = occulters.centre(made)
    image = optics.image(1.2, -0.7)
    expected = x0 + 1.2 / scale, y0 - 0.7 / scale
    rows, columns = np.indices(image.shape)
    core = image * np.exp(-((columns - expected[0]) ** 2 + (rows - expected[1]) ** 2) / 5)
    assert ((core * columns).sum() / core.sum(), (core * rows).sum() / core.sum()) == pytest.approx(expected, abs=0.03)
    assert image.sum() == pytest.approx(optics.image(1.2, -0.7, masked=False).sum(), rel=0.1)
    near = optics.image(0.63, 0).sum() / optics.image(0.63, 0, masked=False).sum()
    assert 0.3 < near < 0.7


def test_a_phase_mask_extinguishes_the_star():
    made = instruments.setup(
        "MIR_4QPM", filter="F1065C", subarray=instruments.Subarray("MASK1065", 73, 85, 96, 96), aperture="MIRIM_MASK1065"
    )
    optics = bench(made)
    assert optics.image(0, 0).max() < 0.02 * optics.image(0, 0, masked=False).max()
    assert occulters.transmission(made).mean() > 0.85


def test_speckles_decorrelate_with_the_wavefronts_drift():
    made = setup()
    first = bench(made, 60, 2, 0).image(0, 0)
    likeness = [np.corrcoef(first.ravel(), bench(made, 60, drift, 1).image(0, 0).ravel())[0, 1] for drift in (2, 20, 60)]
    assert likeness[0] > 0.98 and likeness[0] > likeness[1] > likeness[2]
    assert np.array_equal(first, bench(made, 60, 2, 0).image(0, 0))


def test_more_errors_more_speckles():
    made = setup()
    leaks = [bench(made, errors).image(0, 0).sum() for errors in (0, 30, 90)]
    assert leaks[0] < leaks[1] < leaks[2]


# --- exposures -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made():
    star = Coronagraph(planets=((1.3, 60.0, 1e-5),))
    return coronagraph.simulate_coronagraphy(star, **setup_of(64), nints=2, reference_nints=1, rolls=(0.0, 20.0), sip=False, area=False)


def test_planets_turn_with_the_roll_and_stay_on_the_sky(made):
    places = []
    for one, _ in made[:2]:
        truth = one.truth.sources
        ra, dec = one.exposure.wcs(truth["x"][1], truth["y"][1])
        target = one.plan.target
        east, north = (ra - target[0]) * 3600 * np.cos(np.radians(target[1])), (dec - target[1]) * 3600
        assert (np.hypot(east, north), np.degrees(np.arctan2(east, north))) == pytest.approx((1.3, 60.0), abs=1e-3)
        places.append(np.arctan2(truth["y"][1] - truth["y"][0], truth["x"][1] - truth["x"][0]))
    assert abs(np.degrees(np.angle(np.exp(1j * (places[1] - places[0]))))) == pytest.approx(20, abs=0.2)


def test_exposures_say_what_they_are(made):
    assert [kind for _, kind in made] == ["science", "science", "psf", "psf"]
    assert [one.exposure.header["IS_PSF"] for one, _ in made] == [False, False, True, True]
    for one, _ in made:
        header = one.exposure.header
        assert header["CORONMSK"] == "MASKA335R" and one.exposure.suffix == "calints" and one.exposure.sci.ndim == 3
        assert np.isfinite(one.exposure.sci[(one.exposure.dq & dq.DO_NOT_USE) == 0]).all()
        assert (header["CRPIX1"] - 1, header["CRPIX2"] - 1) == pytest.approx(occulters.centre(one.setup), abs=1e-6)
    assert made[0][0].plan.target != made[2][0].plan.target and len(made[2][0].truth.sources) == 1


def test_same_arguments_same_bytes(made):
    star = Coronagraph(planets=((1.3, 60.0, 1e-5),))
    again = coronagraph.simulate_coronagraphy(
        star, **setup_of(64), nints=2, reference_nints=1, rolls=(0.0,), references=0, sip=False, area=False
    )
    assert again[0][0].exposure.sci.tobytes() == made[0][0].exposure.sci.tobytes()


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no {REAL}")
def test_round_mask_is_like_the_real_one():
    """The real reference's mask has its half width, and lies where the SIAF has it."""
    real = fits.getdata(REAL / "jwst_nircam_psfmask_0019.fits")
    head = fits.getheader(REAL / "jwst_nircam_psfmask_0019.fits")
    whole = instruments.Subarray("SUB320A335R", head["SUBSTRT1"], head["SUBSTRT2"], 320, 320)
    ours = occulters.transmission(instruments.setup("NRC_CORON", **(setup_of() | {"subarray": whole})))
    width = [np.sqrt(np.sum(image[100:250, 90:230] < 0.5) / np.pi) * 0.062 for image in (real, ours)]
    assert width[0] == pytest.approx(width[1], rel=0.15) and width[1] == pytest.approx(0.63, rel=0.02)


# --- programs --------------------------------------------------------------------------------------------------------

SHOT = {"exp_type": "NRC_CORON", "detectors": ["NRCALONG"], "filter": "F335M", "aperture": "NRCA5_FULL_MASK335R", "CORONMSK": "MASKA335R"}
SHOT |= {"subarray": "SUB320A335R", "place": [608, 1644, 64, 64], "ngroups": 3, "tframe": 5.0}
PROGRAM = {
    "program": 4321,
    "target": [53.1625, -27.7914],
    "stage3": True,
    "sky": {"stars": 0, "galaxies": 0},
    "exposures": [
        {**SHOT, "observation": 1, "nints": 2, "coronagraph": {"star": 1.0, "planets": [[1.3, 60.0, 1e-4]]}},
        {**SHOT, "observation": 2, "nints": 2, "roll": 15.0, "coronagraph": {"star": 1.0, "planets": [[1.3, 60.0, 1e-4]]}},
        {
            **SHOT,
            "observation": 3,
            "nints": 2,
            "IS_PSF": True,
            "TARGPROP": "CALIBRATOR",
            "coronagraph": {"star": 2.0, "offset": [0.01, 0.0]},
        },
        {
            **SHOT,
            "observation": 4,
            "nints": 2,
            "IS_PSF": True,
            "TARGPROP": "CALIBRATOR",
            "coronagraph": {"star": 2.0, "offset": [0.0, 0.01]},
        },
    ],
}


def test_psfmask_reference(tmp_path):
    made = setup(64)
    sensor = make_detector(made.instrument, made.detector, made.subarray)
    assert references.stage3_types(made) == ("psfmask",)
    files = references.write_references(tmp_path, sensor, setup=made, types=("psfmask",))
    with fits.open(files["psfmask"]) as hdus:
        assert [hdus[0].header[k] for k in ("EXP_TYPE", "FILTER", "CORONMSK", "SUBARRAY")] == [
            "NRC_CORON",
            "F335M",
            "MASKA335R",
            "SUB320A335R",
        ]
        assert hdus["SCI"].data == pytest.approx(occulters.transmission(made), abs=1e-6)


@pytest.fixture(scope="module")
def made_program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coronagraphy")
    return folder, program.make_program(folder, PROGRAM)


def test_program_has_raw_exposures_truth_and_references(made_program):
    folder, there = made_program
    assert len(there["data"]) == 4 and any("psfmask" in path.name for path in there["references"])
    first, last = (fits.getheader(path) for path in (there["data"][0], there["data"][-1]))
    assert first["CORONMSK"] == "MASKA335R" and not first["IS_PSF"] and last["IS_PSF"]
    truth = fits.open(folder / "truth" / there["data"][0].name.replace("uncal", "truth"))
    assert list(truth["CATALOG"].data["kind"]) == ["star", "planet"]
    assert truth["CATALOG"].data["flux"][1] == pytest.approx(1e-4)
    assert fits.getdata(there["data"][0], 1).shape == (2, 3, 64, 64)


def test_rules_make_the_association(made_program):
    folder, _ = made_program
    pool = associations.from_exposures(index.find(folder / "data").exposures)
    (found,) = [a for a in associations.generate(pool, candidates=True, discover=False) if a.asn_type == "coron3"]
    assert [member.exptype for member in found.members] == ["science", "science", "psf", "psf"]
