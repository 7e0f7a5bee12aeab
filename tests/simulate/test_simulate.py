"""The simulator against its own truth, the SIAF, and the flight headers."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time

from jwcal.model.references import standard_bits
from jwcal.simulate import __main__ as command
from jwcal.simulate import crds_cache, headers, instruments, pointing, program, ramps, references, scene
from jwcal.simulate.detector import make_detector, to_readout
from jwcal.simulate.exposures import TARGET, segments, simulate_exposure
from jwcal.vocabulary import dq as dqbits
from jwcal.vocabulary.errors import ConfigError, InputError
from peer import needs_peer, peer_pipeline

FLIGHT = Path(__file__).resolve().parents[3] / "shared/real/headers"
needs_flight = pytest.mark.skipif(not FLIGHT.is_dir(), reason=f"no flight headers at {FLIGHT}")
CORON = "jw01075001001_03105_00009_nrca{}_uncal.fits"
SMALL = dict(detector="NRCB1", subarray="SUB64P", ngroups=4)
MAS = 3.6e6  # in a degree


def small(instrument, nx=64, ny=48, name="FULL"):
    return instruments.Subarray(name, 1, 1, nx, ny, 4 if instrument == "MIRI" else 1)


def quiet(readout, light, **sensor):
    """A ramp without noise or cosmic rays of a detector of 24 x 32 pixels."""
    detector = make_detector("NIRCAM", "NRCB1", instruments.Subarray("FULL", 101, 101, 32, 24))
    detector = replace(detector, **sensor)
    return detector, ramps.make_ramp(detector, np.full(detector.shape, light), readout, noise=False, cosmic_rays=0.0)


def readout(ngroups=6, nints=1, nframes=1, groupgap=0, tframe=2.0, **others):
    return instruments.Readout("RAPID", nints, ngroups, nframes, groupgap, tframe, **others)


# --- instruments -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exp_type", "detector", "subarray", "tframe"),
    [  # JWST User Documentation, the instruments' "Detector Subarrays"
        ("NRC_IMAGE", "NRCA1", "FULL", 10.73677),
        ("NRC_IMAGE", "NRCA1", "SUB640", 4.18584),
        ("NRC_IMAGE", "NRCA1", "SUB320", 1.06904),
        ("NRC_IMAGE", "NRCA1", "SUB160", 0.27864),
        ("NRC_IMAGE", "NRCB1", "SUB400P", 1.65624),
        ("NRC_IMAGE", "NRCB1", "SUB64P", 0.05016),
        ("NRC_TSGRISM", "NRCALONG", "SUBGRISM256", 5.31480),
        ("NIS_SOSS", "NIS", "SUBSTRIP96", 2.214),
        ("NIS_SOSS", "NIS", "SUBSTRIP256", 5.494),
        ("NIS_AMI", "NIS", "SUB80", 0.07544),
        ("NRS_BRIGHTOBJ", "NRS1", "SUB2048", 0.90156),
        ("NRS_BRIGHTOBJ", "NRS1", "SUB512", 0.22572),
        ("NRS_FIXEDSLIT", "NRS1", "ALLSLITS", 5.49132),
        ("MIR_LRS-SLITLESS", "MIRIMAGE", "SLITLESSPRISM", 0.15904),
    ],
)
def test_frame_times(exp_type, detector, subarray, tframe):
    assert instruments.setup(exp_type, detector=detector, subarray=subarray).readout.tframe == pytest.approx(tframe, abs=1e-5)


def test_subarrays_lie_where_the_siaf_says():
    # the reference pixel of NRCB1_SUB160 looks, through the full frame's distortion, where the subarray's own says
    for detector in ("NRCA1", "NRCA2", "NRCA3", "NRCB4", "NRCALONG"):
        setup = instruments.setup("NRC_IMAGE", detector=detector, subarray="SUB160")
        look = pointing.point(setup, (10.0, 20.0))
        v2, v3 = look.pixel_to_v2v3(look.xref - 1, look.yref - 1)
        assert np.hypot(v2 - look.v2_ref, v3 - look.v3_ref) < 0.005  # arcsec: the SIAF agrees with itself to 0.1 pixel


@needs_flight
@pytest.mark.parametrize("name", sorted(p.name for p in FLIGHT.glob("fgs_*")))
def test_guide_star_times_are_those_of_the_flight(name):
    flight = fits.getheader(FLIGHT / name)
    r = instruments.setup(flight["EXP_TYPE"], detector=flight["DETECTOR"]).readout
    ours = (r.tframe, r.tgroup, r.effinttm, r.nframes, r.groupgap, r.divisor, r.drpfrms1, r.drpfrms3, r.ngroups)
    keywords = "TFRAME TGROUP EFFINTTM NFRAMES GROUPGAP FRMDIVSR DRPFRMS1 DRPFRMS3 NGROUPS".split()
    assert ours == pytest.approx([flight[k] for k in keywords])


@pytest.mark.parametrize(
    "wrong",
    [
        {"exp_type": "NRC_NOTHING"},
        {"exp_type": "NRC_IMAGE", "detector": "NRS1"},
        {"exp_type": "NRC_IMAGE", "subarray": "SUB65"},
        {"exp_type": "NRC_IMAGE", "readpatt": "NISRAPID"},
        {"exp_type": "NRC_IMAGE", "ngruops": 3},
    ],
)
def test_what_no_instrument_can_take_is_refused(wrong):
    with pytest.raises(InputError):
        instruments.setup(**wrong)


# --- pointing ----------------------------------------------------------------------------------------------------------------------


def test_round_trip_from_pixel_to_sky():
    setup = instruments.setup("NRC_IMAGE", detector="NRCALONG")
    look = pointing.point(setup, (359.9999, -69.5), roll=33.0, dither=(1.0, 2.0), va_scale=1.00009)
    x, y = (g.ravel() for g in np.meshgrid(np.linspace(-0.5, 2047.5, 9), np.linspace(-0.5, 2047.5, 9)))
    back = look.sky_to_pixel(*look.pixel_to_sky(x, y))
    assert np.abs(np.subtract(back, (x, y))).max() < 1e-6


def test_sky_is_pysiafs():
    setup = instruments.setup("NRC_IMAGE", detector="NRCB1", subarray="SUB640")
    look = pointing.point(setup, (53.0, -27.0), roll=120.0)
    aperture = instruments.siaf("NIRCAM")["NRCB1_FULL"]
    aperture.set_attitude_matrix(look.attitude)
    x, y = np.array([0.0, 300.0, 639.0]), np.array([12.0, 500.0, 1.0])
    ra, dec = aperture.sci_to_sky(x + setup.subarray.xstart, y + setup.subarray.ystart)
    ours = look.pixel_to_sky(x, y)
    assert np.hypot((ours[0] - ra) * np.cos(np.radians(dec)), ours[1] - dec).max() * MAS < 0.1


def test_dither_moves_the_target_in_the_ideal_frame():
    setup = instruments.setup("NRC_IMAGE", detector="NRCB1", subarray="SUB640")
    look = pointing.point(setup, TARGET, roll=50.0, dither=(2.0, -3.0))
    aperture = instruments.siaf("NIRCAM")["NRCB1_SUB640"]
    x, y = look.sky_to_pixel(*TARGET)
    assert np.allclose(aperture.sci_to_idl(x + 1, y + 1), [[2.0], [-3.0]], atol=0.005)  # arcsec


def test_two_detectors_see_the_same_sky():
    field = (TARGET[0], TARGET[1])
    looks = [
        pointing.point(instruments.setup("NRC_IMAGE", detector=d), field, roll=10.0, aim="NRCBS_FULL")
        for d in ("NRCB1", "NRCB2", "NRCBLONG")
    ]
    attitudes = [look.attitude for look in looks]
    assert np.allclose(attitudes[0], attitudes[1], atol=1e-11) and np.allclose(attitudes[0], attitudes[2], atol=1e-11)


@needs_flight
@pytest.mark.parametrize("number", [2, 3, 4])
def test_angles_and_aberration_are_those_of_the_flight(number):
    p, s = (fits.getheader(FLIGHT / CORON.format(number), k) for k in (0, 1))
    craft = headers.Spacecraft(
        Time(s["EPH_TIME"], format="mjd"), *([np.array([s[f"JWST_{d}{a}"] for a in "XYZ"]) for d in ("", "D")]), None, None, None
    )
    _, scale, apparent = craft.towards(s["RA_REF"], s["DEC_REF"])
    assert scale == pytest.approx(s["VA_SCALE"], abs=1e-13)
    assert apparent == pytest.approx((p["VA_RA"], p["VA_DEC"]), abs=1e-9)
    setup = instruments.setup("NRC_CORON", detector=p["DETECTOR"], aperture=p["APERNAME"])
    look = pointing.point(setup, (s["RA_REF"], s["DEC_REF"]), roll=s["ROLL_REF"], va_scale=scale)
    corners = np.array(s["S_REGION"].split()[2:], float).reshape(4, 2).T
    assert np.abs(np.subtract(look.corners(), corners)).max() * 3600 < 0.3  # the SIAF has been improved since
    then = replace(look, v2_ref=s["V2_REF"], v3_ref=s["V3_REF"], v3i_yang=s["V3I_YANG"])
    assert headers.boresight(then) == pytest.approx((s["RA_V1"], s["DEC_V1"], s["PA_V3"]), abs=1e-9)
    values = headers._wcs(setup, then)
    for keyword in ("PC1_1", "PC1_2", "PC2_1", "PC2_2", "PA_APER", "CRVAL1", "CRVAL2", "VPARITY"):
        assert values[keyword] == pytest.approx(s[keyword], abs=1e-9), keyword


def test_spacecraft_is_at_l2():
    craft = headers.spacecraft(Time("2022-05-14T18:16:29"))
    assert np.linalg.norm(craft.position) == pytest.approx(1.53e8, rel=0.02)  # km
    assert np.linalg.norm(craft.velocity) == pytest.approx(29.8, rel=0.03)
    flight = np.array([-91195651.9, -112806171.3, -48838153.4])  # km, JWST_X.. of program 1075 at that time
    assert np.linalg.norm(craft.position - flight) < 1.5e6  # its halo orbit about L2 is that wide


# --- scene -------------------------------------------------------------------------------------------------------------------------


def one_source(**source):
    row = {
        "id": 1,
        "kind": "star",
        "ra": TARGET[0],
        "dec": TARGET[1],
        "flux": 1e-6,
        "radius": 0.1,
        "sersic": 1.0,
        "axis_ratio": 0.5,
        "pa": 30.0,
    }
    field = scene.make_scene(*TARGET, stars=1, galaxies=0)
    for name, value in (row | source).items():
        field.sources[name] = [value]
    return replace(field, sky=0.0)


@pytest.mark.parametrize("kind", ["star", "galaxy"])
def test_flux_of_a_source_is_all_there(kind):
    setup = instruments.setup("NRC_IMAGE", detector="NRCB1", subarray="SUB320")
    look = pointing.point(setup, TARGET, dither=(0.3, 0.2))
    rate, catalogue = scene.render(one_source(kind=kind), look, 2.0)
    relative, nominal = look.area()
    photmjsr = setup.optics[0]
    jansky = (rate * relative).sum() / 2.0 * photmjsr * nominal * pointing.ARCSEC**2 * 1e6
    assert jansky == pytest.approx(1e-6, rel=2e-4)
    y, x = np.mgrid[: rate.shape[0], : rate.shape[1]]
    assert (rate * x).sum() / rate.sum() == pytest.approx(catalogue["x"][0], abs=0.01)
    assert (rate * y).sum() / rate.sum() == pytest.approx(catalogue["y"][0], abs=0.01)


def test_galaxy_lies_as_its_position_angle_says():
    setup = instruments.setup("NRC_IMAGE", detector="NRCB1", subarray="SUB320")
    look = pointing.point(setup, TARGET, roll=77.0)
    rate, catalogue = scene.render(one_source(kind="galaxy", radius=0.5, axis_ratio=0.3, pa=120.0), look, 2.0)
    y, x = np.mgrid[: rate.shape[0], : rate.shape[1]]
    dx, dy = x - catalogue["x"][0], y - catalogue["y"][0]
    xx, yy, xy = ((rate * m).sum() for m in (dx * dx, dy * dy, dx * dy))
    along = 0.5 * np.arctan2(2 * xy, xx - yy)
    ra, dec = look.pixel_to_sky(catalogue["x"] + 10 * np.cos(along), catalogue["y"] + 10 * np.sin(along))
    pa = np.degrees(np.arctan2((ra - TARGET[0]) * np.cos(np.radians(TARGET[1])), dec - TARGET[1]))[0] % 180
    assert pa == pytest.approx(120.0, abs=0.5)


# --- detector and ramps ------------------------------------------------------------------------------------------------------------


def test_linearity_polynomial_undoes_the_nonlinearity():
    detector = make_detector("NIRCAM", "NRCB1", "SUB64P")
    for part in (0.01, 0.3, 0.8, 1.0):
        linear = part * detector.well.astype(float)
        counts = ramps.bent(linear, detector.well, np.array(detector.nonlinearity), 2.0)
        again = sum(c * counts**k for k, c in enumerate(detector.correction().astype(float)))
        assert np.abs(again / linear - 1).max() < 1e-6
        bent = sum(c * linear**k for k, c in enumerate(detector.inverse_correction().astype(float)))
        assert np.abs(bent - counts).max() < 1e-4 * detector.well.min()


def test_counts_grow_as_the_rate_says():
    detector, ramp = quiet(readout(ngroups=5, tframe=3.0), 200.0, nonlinearity=())
    times = 3.0 * np.arange(1, 6)
    expected = detector.bias + ramp.rate / detector.gain * times[:, None, None]
    assert np.abs(ramp.sci[0] - expected).max() <= 0.502  # rounding to whole counts, in float32
    dead = (detector.dq & dqbits.DEAD) != 0
    assert dead.any() and np.array_equal(ramp.rate[dead], detector.dark[dead])


def test_groups_are_averages_of_their_frames():
    pattern = readout(ngroups=4, nframes=4, groupgap=3, drpfrms1=2)
    assert np.array_equal(pattern.group_times(), 2.0 * np.array([4.5, 11.5, 18.5, 25.5]))
    detector, ramp = quiet(pattern, 100.0, nonlinearity=())
    expected = detector.bias + ramp.rate / detector.gain * pattern.group_times()[:, None, None]
    assert np.abs(ramp.sci[0] - expected).max() <= 0.502
    summed = quiet(replace(pattern, frmdivsr=2), 100.0, nonlinearity=())[1]
    assert np.abs(summed.sci[0] - 2 * expected).max() <= 0.502


def test_zero_frame_is_the_first_frame():
    detector = make_detector("NIRCAM", "NRCB1", "SUB64P", nonlinearity=())
    pattern = readout(ngroups=3, nints=2, nframes=4)
    light = np.full(detector.shape, 50.0)
    ramp = ramps.make_ramp(detector, light, pattern, noise=False, cosmic_rays=0.0, zeroframe=True)
    assert ramp.zeroframe.shape == (2, *detector.shape)
    assert np.abs(ramp.zeroframe - (detector.bias + ramp.rate / detector.gain * 2.0)).max() <= 0.502


def test_photon_and_read_noise():
    detector = make_detector("NIRCAM", "NRCB1", instruments.Subarray("FULL", 101, 101, 128, 128), flicker=0.0, offsets=0.0, nonlinearity=())
    good = detector.dq == 0
    pattern = readout(ngroups=20, nframes=2, tframe=1.0)
    ramp = ramps.make_ramp(detector, np.full(detector.shape, 300.0), pattern, cosmic_rays=0.0)
    difference = np.diff(ramp.sci[0].astype(float), axis=0)[:, good]
    gain, noise = detector.gain[good], detector.readnoise[good]
    rate = ramp.rate[good]
    # two frames averaged: of the photons between group means, t (1 - (n^2 - 1) / (3 n^2)) count (Robberto 2010, eq. 6, m = n)
    variance = rate / gain**2 * 2.0 * (1 - (4 - 1) / (3 * 4)) + noise**2 / 2 + 1 / 6
    pulls = (difference - rate / gain * 2.0) / np.sqrt(variance)
    assert abs(pulls.mean()) < 5 / np.sqrt(pulls.size / 2)
    assert pulls.var() == pytest.approx(1.0, abs=0.01)


def test_saturation_is_where_the_reference_puts_it():
    detector, ramp = quiet(readout(ngroups=8, tframe=10.0), 2000.0)
    reached = ramp.sci[0] >= detector.saturation
    first = np.where(reached.any(axis=0), reached.argmax(axis=0), 8)
    assert np.array_equal(first, ramp.saturated[0]) and 0 < (first < 8).mean()
    top = detector.bias + 1.06 * detector.well
    assert (ramp.sci[0] <= top + 1).all() and (ramp.sci[0, -1] > 0.999 * top)[detector.dq == 0].all()


def test_cosmic_rays_are_where_the_truth_says():
    detector = make_detector("NIRCAM", "NRCB1", instruments.Subarray("FULL", 1, 1, 64, 64), nonlinearity=())
    pattern = readout(ngroups=6, nints=2, nframes=2, groupgap=1)
    light = np.full(detector.shape, 20.0)
    clean, struck = (ramps.make_ramp(detector, light, pattern, noise=False, cosmic_rays=r) for r in (0.0, 3e-4))
    hits = struck.cosmic_rays
    assert len(hits) > 30 and not detector.reference_pixels[hits["row"], hits["col"]].any()
    added = np.zeros(struck.sci.shape)
    np.add.at(added, (hits["integration"], hits["group"], hits["row"], hits["col"]), hits["electrons"])
    added = np.cumsum(added, axis=1) / detector.gain
    held = added < 0.5 * detector.well
    assert np.abs(struck.sci.astype(float) - clean.sci - added)[held].max() <= 1.01


def test_reference_pixels_see_no_light():
    detector = make_detector("NIRCAM", "NRCB1", instruments.Subarray("FULL", 1, 1, 32, 32))
    ramp = ramps.make_ramp(detector, np.full(detector.shape, 500.0), readout(), noise=False, cosmic_rays=0.0)
    blind = detector.reference_pixels
    assert blind[:4].all() and blind[:, :4].all() and blind.sum() == 32 * 32 - 28 * 28
    assert (ramp.sci[0][:, blind] == np.rint(detector.bias[blind])).all()


def test_flicker_falls_as_one_over_frequency():
    noise = ramps.flicker(np.random.default_rng(1), 512, 500)
    assert noise.shape == (512, 500) and noise.std() == pytest.approx(1.0, abs=0.02)
    power = np.abs(np.fft.rfft(noise.reshape(-1)[: 2**17])) ** 2
    low, high = power[10:100].mean() * 55, power[1000:10000].mean() * 5500
    assert low / high == pytest.approx(1.0, abs=0.5)


@pytest.mark.parametrize("axes", [(1, -2), (-1, 2), (2, 1), (-2, -1), (2, -1)])
def test_readout_order(axes):
    image = np.arange(12.0).reshape(3, 4)
    read = to_readout(image, axes)
    assert np.shares_memory(read, image)
    first = (0 if axes[0 if abs(axes[0]) == 1 else 1] > 0 else 3, 0 if axes[0 if abs(axes[0]) == 2 else 1] > 0 else 2)
    assert read[0, 0] == image[first[1], first[0]]
    step = image[first[1], first[0] + int(np.sign(axes[0]))] if abs(axes[0]) == 1 else image[first[1] + int(np.sign(axes[0])), first[0]]
    assert read[0, 1] == step


def test_a_detector_is_the_same_at_a_part_of_it():
    whole = make_detector("NIRCAM", "NRCB1", "SUB160")
    part = whole.cut(instruments.Subarray("SUB64P", 11, 21, 64, 32))
    assert part.shape == (32, 64)
    assert np.array_equal(part.bias, whole.bias[20:52, 10:74]) and np.array_equal(part.dq, whole.dq[20:52, 10:74])


# --- files -------------------------------------------------------------------------------------------------------------------------


def test_same_arguments_same_bytes(tmp_path):
    made = [simulate_exposure(tmp_path / name / "data", **SMALL, seed=seed) for name, seed in (("a", 3), ("b", 3), ("c", 4))]
    uncal, truth = ([getattr(m, kind).read_bytes() for m in made] for kind in ("uncal", "truth"))
    assert uncal[0] == uncal[1] and truth[0] == truth[1] and uncal[0] != uncal[2]
    sets = [references.write_references(tmp_path / name / "references", made[0].detector, setup=made[0].setup) for name in "ab"]
    for kind in sets[0]:
        assert sets[0][kind].read_bytes() == sets[1][kind].read_bytes(), kind


def keyword_set(path):
    with fits.open(path) as hdus:
        return [[k for k in hdus[n].header if k not in ("", "CONTINUE", "COMMENT", "NEXTEND")] for n in (0, 1)]


@needs_flight
def test_keywords_are_those_of_the_flight(tmp_path):
    made = simulate_exposure(tmp_path, exp_type="NRC_CORON", subarray=small("NIRCAM"), ngroups=2)
    assert keyword_set(made.uncal) == keyword_set(FLIGHT / CORON.format(2))


@needs_flight
@pytest.mark.parametrize(
    "name", ["fgs_acq1_guider2.fits", "fgs_fineguide_guider2.fits", "fgs_id-image_guider2.fits", "fgs_track_guider2.fits"]
)
def test_guide_star_keywords_are_those_of_the_flight(tmp_path, name):
    flight = fits.getheader(FLIGHT / name)
    sub = instruments.Subarray(flight["SUBARRAY"], flight["SUBSTRT1"], flight["SUBSTRT2"], 32, 24)
    made = simulate_exposure(tmp_path, exp_type=flight["EXP_TYPE"], detector=flight["DETECTOR"], subarray=sub, nints=2)
    ours, theirs = keyword_set(made.uncal), keyword_set(FLIGHT / name)
    assert [[k for k in part if k != "HGA_STOP"] for part in theirs] == ours  # HGA_STOP is only there when the antenna has moved
    header = fits.getheader(made.uncal)
    for keyword in "SCA_NUM DATAMODE FASTAXIS SLOWAXIS APERNAME NSAMPLES TSAMPLE NRSTSTRT NRESETS".split():
        assert header[keyword] == flight[keyword], keyword


def test_keywords_agree_with_each_other(tmp_path):
    made = simulate_exposure(tmp_path, **SMALL | {"nints": 3, "readpatt": "SHALLOW4"}, dither={"x": 1.0, "y": 0.5, "number": 2, "total": 4})
    p, s = (fits.getheader(made.uncal, k) for k in (0, 1))
    assert made.uncal.name == p["FILENAME"] == "jw01234001001_02101_00001_nrcb1_uncal.fits"
    assert s["NAXIS1"] == p["SUBSIZE1"] == 64 and s["NAXIS4"] == p["NINTS"] == 3 and s["NAXIS3"] == p["NGROUPS"] == 4
    assert p["TGROUP"] == pytest.approx(5 * p["TFRAME"])
    assert p["EFFINTTM"] == pytest.approx(19 * p["TFRAME"]) and p["EFFEXPTM"] == pytest.approx(57 * p["TFRAME"], abs=1e-3)
    assert (p["EXPEND"] - p["EXPSTART"]) * 86400 == pytest.approx(p["DURATION"], abs=2e-3)
    assert Time(p["DATE-BEG"]).mjd == pytest.approx(p["EXPSTART"], abs=1e-8) and s["MJD-AVG"] == p["EXPMID"]
    assert (p["XOFFSET"], p["YOFFSET"], p["PATT_NUM"], p["NUMDTHPT"]) == (1.0, 0.5, 2, 4)
    times = fits.getdata(made.uncal, "INT_TIMES")
    assert list(times["integration_number"]) == [1, 2, 3]
    assert times["int_start_MJD_UTC"][0] == pytest.approx(p["EXPSTART"], abs=1e-9)
    assert times["int_end_MJD_UTC"][2] == pytest.approx(p["EXPEND"], abs=1e-9)
    assert len(fits.getdata(made.uncal, "GROUP")) == 12


def test_footprint_holds_the_stars(tmp_path):
    made = simulate_exposure(tmp_path, detector="NRCB1", subarray="SUB160", ngroups=2)
    corners = np.array(fits.getheader(made.uncal, 1)["S_REGION"].split()[2:], float).reshape(4, 2)
    everything = scene.make_scene(*TARGET, radius=8, stars=300).sources
    x, y = made.look.sky_to_pixel(everything["ra"], everything["dec"])
    on = (x > -0.5) & (x < 159.5) & (y > -0.5) & (y < 159.5)
    edges = np.roll(corners, -1, axis=0) - corners
    points = np.stack([everything["ra"], everything["dec"]], axis=1)
    side = [e[0] * (points[:, 1] - c[1]) - e[1] * (points[:, 0] - c[0]) for c, e in zip(corners, edges, strict=True)]
    within = np.all(np.sign(side) == np.sign(side[0][on.argmax()]), axis=0)
    assert 0 < on.sum() < len(on) and np.array_equal(within, on)


def test_segments_count_their_integrations(tmp_path):
    whole = headers.Identity(exposure=3)
    for k, part in enumerate(segments(whole, 7, 3)):
        made = simulate_exposure(
            tmp_path, exp_type="NRC_TSIMAGE", subarray="SUB64P", nints=part.segment[3] - part.segment[2] + 1, ngroups=2, identity=part
        )
        header, times = fits.getheader(made.uncal), fits.getdata(made.uncal, "INT_TIMES")
        assert made.uncal.name == f"jw01234001001_02101_00003-seg{k + 1:03d}_nrcb1_uncal.fits"
        assert (header["EXSEGNUM"], header["EXSEGTOT"], header["NINTS"], header["TSOVISIT"]) == (k + 1, 3, 7, True)
        assert (header["INTSTART"], header["INTEND"]) == (times["integration_number"][0], times["integration_number"][-1])
        assert len(times) == fits.getheader(made.uncal, 1)["NAXIS4"]
    assert header["INTEND"] == 7


def test_header_can_be_changed(tmp_path):
    made = simulate_exposure(tmp_path, **SMALL, header={"BKGDTARG": True, "TFRAME": None, "VA_SCALE": 1.0}, IS_PSF=True)
    p, s = (fits.getheader(made.uncal, k) for k in (0, 1))
    assert p["BKGDTARG"] is True and "TFRAME" not in p and s["VA_SCALE"] == 1.0 and p["IS_PSF"] is True


def opens_without_a_warning(path):
    from stdatamodels.jwst import datamodels

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ResourceWarning)
        with datamodels.open(str(path)) as model:
            model.validate()
            return type(model).__name__, model.meta


EVERY = [pytest.param(e, marks=() if e in ("NRC_IMAGE", "NIS_AMI", "NRS_FIXEDSLIT", "MIR_MRS", "MIR_IMAGE", "FGS_IMAGE", "FGS_ACQ1")
                      else pytest.mark.full) for e in instruments.exp_types()]  # fmt: skip


@pytest.mark.parametrize("exp_type", EVERY)
def test_every_mode_gives_files_that_stdatamodels_opens(tmp_path, exp_type):
    usual = instruments.setup(exp_type)
    sub = replace(usual.subarray, xsize=min(64, usual.subarray.xsize), ysize=min(48, usual.subarray.ysize))
    if usual.instrument != "MIRI":
        sub = replace(sub, noutputs=1)
    made = simulate_exposure(tmp_path, exp_type=exp_type, subarray=sub, ngroups=2, nints=2, zeroframe=not usual.guider)
    name, meta = opens_without_a_warning(made.uncal)
    assert name == "Level1bModel" and meta.exposure.type == exp_type and meta.filename == made.uncal.name
    for kind, path in references.write_references(tmp_path / "references", made.detector, setup=made.setup, inverse_linearity=True).items():
        name, meta = opens_without_a_warning(path)
        assert name != "ReferenceFileModel" and meta.reftype.lower() == kind


# --- references --------------------------------------------------------------------------------------------------------------------


def test_flags_of_a_reference_mean_what_was_put_in(tmp_path):
    detector = make_detector("NIRCAM", "NRCB1", "SUB160")
    path = references.write_references(tmp_path, detector, types=["mask"])["mask"]
    with fits.open(path) as hdus:
        bits, definitions = hdus["DQ"].data.astype(np.uint32), np.asarray(hdus["DQ_DEF"].data)
    assert not np.array_equal(bits, detector.dq)  # the file's own bits
    assert np.array_equal(standard_bits(bits, definitions), detector.dq)
    with pytest.raises(ValueError, match="without a name"):
        references.own_bits(detector.dq, ("DO_NOT_USE",))


def test_dark_is_what_the_detector_gathers(tmp_path):
    detector, ramp = quiet(readout(ngroups=4, nframes=2, groupgap=1), 0.0, nonlinearity=())
    setup = replace(
        instruments.setup("NRC_IMAGE", detector="NRCB1"), subarray=detector.subarray, readout=readout(ngroups=4, nframes=2, groupgap=1)
    )
    path = references.write_references(tmp_path, detector, setup=setup, types=["dark"], dark_pattern=(2, 1))["dark"]
    assert np.abs(ramp.sci[0] - detector.bias - fits.getdata(path, "SCI")).max() <= 0.51


@pytest.mark.parametrize("mode", [("NRC_IMAGE", "NRCA3"), ("NIS_IMAGE", "NIS"), ("FGS_IMAGE", "GUIDER2"), ("MIR_IMAGE", "MIRIMAGE")])
def test_distortion_reference_is_the_pointing_s(mode):
    setup = instruments.setup(mode[0], detector=mode[1])
    look = pointing.point(setup, TARGET)
    model = references.distortion_model(setup)
    ny, nx = setup.subarray.shape
    x, y = (g.ravel() for g in np.meshgrid(np.linspace(0, nx - 1, 7), np.linspace(0, ny - 1, 7)))
    assert np.abs(np.subtract(model(x, y), look.pixel_to_v2v3(x, y))).max() < 1e-9  # arcsec
    assert np.abs(np.subtract(model.inverse(*model(x, y)), (x, y))).max() < 5e-4  # pixels


def test_miri_polynomial_takes_counts_with_their_bias(tmp_path):
    detector = make_detector("MIRI", "MIRIMAGE", "SUB64")
    path = references.write_references(tmp_path, detector, types=["linearity"])["linearity"]
    coefficients = fits.getdata(path, "COEFFS").astype(float)
    good = detector.dq == 0
    counts = detector.bias + ramps.bent(0.7 * detector.well.astype(float), detector.well, np.array(detector.nonlinearity), 2.0)
    linear = sum(c * counts**k for k, c in enumerate(coefficients))
    corrected = (np.abs(linear - detector.bias - 0.7 * detector.well) < 1e-4 * detector.well)[good]
    assert corrected.mean() > 0.999  # but for the few that have no correction


# --- program -----------------------------------------------------------------------------------------------------------------------

TINY = {
    "program": 77,
    "target": list(TARGET),
    "aim": "NRCBS_FULL",
    "sky": {"stars": 20, "galaxies": 3, "radius": 5},
    "exposures": [{"exp_type": "NRC_IMAGE", "detectors": ["NRCB1"], "subarray": "SUB64P", "ngroups": 2}],
    "dithers": [[0, 0], [0.5, 0.2]],
}


def test_program_is_made_once(tmp_path):
    made = program.make_program(tmp_path, TINY)
    assert [p.name for p in made["data"]] == [f"jw00077001001_02101_0000{k}_nrcb1_uncal.fits" for k in (1, 2)]
    assert (made["crds"] / "config/jwst/server_config").exists()
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    again = program.make_program(tmp_path, TINY)
    assert again == made and {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == before
    made["data"][0].unlink()
    program.make_program(tmp_path, TINY)
    assert made["data"][0].exists()


def test_the_demo_program_is_one(tmp_path):
    described = program._read(program.DEMO)
    planned = [program._plan(described, exposure) for exposure in described["exposures"]]
    assert sum(len(setups) for _, setups in planned) * len(described["dithers"]) == 16


@pytest.mark.parametrize("wrong", [{"dihters": []}, {"exposures": [{"exp_type": "NRC_IMAGE", "ngruops": 3}]}])
def test_wrong_descriptions_are_refused(tmp_path, wrong):
    with pytest.raises((ConfigError, InputError)):
        program.make_program(tmp_path, TINY | wrong)


def test_command_line(tmp_path, capsys):
    assert command.main(["exposure", str(tmp_path), "NRC_IMAGE", "detector=NRCB1", "subarray=SUB64P", "ngroups=2", "--references"]) == 0
    assert Path(capsys.readouterr().out.strip()).exists() and list((tmp_path / "references").glob("*superbias*"))
    assert command.main(["exposure", str(tmp_path), "NRC_IMAGE", "subarray=SUB65"]) == 1
    assert "SUB65" in capsys.readouterr().err


# --- the peer ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parity
@needs_peer
def test_peer_finds_the_truth_again(tmp_path):
    field = scene.make_scene(*TARGET, radius=3, stars=6, galaxies=0, faintest=2e-6, brightest=2e-5, seed=5)
    made = simulate_exposure(
        tmp_path / "data", detector="NRCB1", subarray="SUB160", ngroups=8, readpatt="MEDIUM8", field=field, zeroframe=True
    )
    written = references.write_references(tmp_path / "references", made.detector, setup=made.setup)
    crds_cache.build(tmp_path / "crds", written.values())
    peer_pipeline("detector1", made.uncal, tmp_path, tmp_path / "crds")
    rate_file = tmp_path / made.uncal.name.replace("uncal", "rate")
    peer_pipeline("image2", rate_file, tmp_path, tmp_path / "crds")
    sci, err, flags = (fits.getdata(rate_file, name) for name in ("SCI", "ERR", "DQ"))
    usable = (flags == 0) & np.isfinite(sci)
    light = made.ramp.rate - made.detector.dark
    pulls = ((sci - light / made.detector.gain) / err)[usable]
    assert usable.mean() > 0.85 and abs(np.median(pulls)) < 0.3 and 0.8 < (np.percentile(pulls, 84) - np.percentile(pulls, 16)) / 2 < 1.3
    from stdatamodels.jwst import datamodels

    stars = made.catalogue
    with datamodels.open(str(rate_file).replace("rate", "cal")) as cal:
        ra, dec = cal.meta.wcs(np.asarray(stars["x"]), np.asarray(stars["y"]), with_bounding_box=False)
        assert np.hypot((ra - stars["ra"]) * np.cos(np.radians(TARGET[1])), dec - stars["dec"]).max() * MAS < 0.01
        image, area = np.nan_to_num(cal.data - field.sky), cal.area
        steradians = cal.meta.photometry.pixelarea_steradians
    y, x = np.mgrid[:160, :160]
    brightest = stars[np.argmax(stars["flux"])]
    near = np.hypot(x - brightest["x"], y - brightest["y"]) < 15
    assert (image * area)[near].sum() * steradians * 1e6 == pytest.approx(brightest["flux"], rel=0.05)
