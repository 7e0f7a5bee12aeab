"""Snowballs: regions and ellipses against libraries, growth against injected snowballs, flags bit for bit against the peer."""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
from scipy import ndimage

import make
from jwcal.arithmetic.jumps import ellipses
from jwcal.kernels.jumps.regions import region_image
from jwcal.model import ramp
from jwcal.run import loop
from jwcal.settings.chains import Step
from jwcal.settings.recipe import Recipe
from jwcal.steps import jump
from jwcal.vocabulary.dq import DO_NOT_USE, JUMP_DET, SATURATED
from peer import needs_peer, peer_python

GAIN, READNOISE = 1.8, 9.0  # electrons/DN; DN of a difference of two frames
EVERYWHERE = np.ones((3, 3))


class Snowball(NamedTuple):
    """A round event: where, radius of the saturated core and of the halo, before which group it comes."""

    x: float
    y: float
    core: float
    halo: float
    group: int = 3
    integration: int = 0
    late: int = 0  # groups from the hit to its saturation
    stretch: float = 1.0  # length over width
    angle: float = 0.0


def distance(ball, shape):
    """From the centre of a snowball, in pixels along its shorter axis, (row, col)."""
    y, x = np.indices(shape) - np.array([ball.y, ball.x])[:, None, None]
    sin, cos = np.sin(ball.angle), np.cos(ball.angle)
    return np.hypot((x * cos + y * sin) / ball.stretch, y * cos - x * sin)


def ramps(rng, shape, snowballs=(), hits=0.002):
    """Ramps (DN) with snowballs and cosmic rays in them, and the flags of what saturates."""
    steps = rng.poisson(40 * GAIN, shape) / GAIN
    steps += (rng.random(shape) < hits) * 10 ** rng.uniform(2, 4, shape)
    groupdq = np.zeros(shape, np.uint8)
    for ball in snowballs:
        r = distance(ball, shape[2:])
        steps[ball.integration, ball.group] += np.where(r < ball.halo, 30_000 * np.exp(-np.maximum(r - ball.core, 0)) + 600, 0)
        groupdq[ball.integration, ball.group + ball.late :, r <= ball.core] |= SATURATED
    reads = rng.normal(0, READNOISE / np.sqrt(2), shape)
    return (1000 + np.cumsum(steps, axis=1) + reads).astype(np.float32), groupdq


def exposure_of(tmp_path, sci, groupdq, **keywords):
    exposure = make.ramp_exposure(sci, **keywords)
    exposure.groupdq = groupdq.copy()
    maps = {kind: np.full(sci.shape[2:], value, np.float32) for kind, value in (("gain", GAIN), ("readnoise", READNOISE))}
    return exposure, make.references(tmp_path, exposure, **maps)


def flag(tmp_path, sci, groupdq, **parameters):
    """Run the step with snowballs on."""
    return jump.apply(*exposure_of(tmp_path, sci, groupdq), **{"expand_large_events": True, **parameters})


def blobs(rng, shape=(60, 48)):
    """Random clouds of pixels."""
    noise = ndimage.gaussian_filter(rng.normal(size=shape), rng.uniform(0.3, 3))
    return noise > rng.uniform(-0.5, 1.5) * noise.std()


# --- regions and ellipses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_regions_are_scipys(seed):
    rng = np.random.default_rng(seed)
    now = (blobs(rng) * JUMP_DET + (rng.random((60, 48)) < 0.1) * DO_NOT_USE).astype(np.uint8)
    before = ((rng.random(now.shape) < 0.2) * SATURATED).astype(np.uint8)
    veto, least = (SATURATED, 7) if seed % 2 else (0, 23.5)
    labels, _ = ndimage.label((now & JUMP_DET != 0) & (before & veto == 0), EVERYWHERE)
    expected = [(box, labels[box] == k) for k, box in enumerate(ndimage.find_objects(labels), 1)]
    expected = [(box, image) for box, image in expected if ndimage.binary_fill_holes(image, EVERYWHERE).sum() >= least]
    found = ellipses.regions(now, JUMP_DET, least, before, veto)
    assert len(found.label) == len(expected)
    for k, (box, image) in enumerate(expected):
        np.testing.assert_array_equal(found.box[k], [box[0].start, box[1].start, box[0].stop, box[1].stop])
        np.testing.assert_array_equal(region_image(found.runs, found.label[k], found.box[k]), image)
        y, x = np.nonzero(image)
        np.testing.assert_array_equal(found.sums[k], [y.size, y.sum(), x.sum(), (y * y).sum(), (x * x).sum(), (x * y).sum()])


def test_a_hole_counts_unless_it_leaks_at_a_corner():
    ring = np.pad(np.ones((5, 5), np.uint8), 2)
    ring[3:6, 3:6] = 0
    assert len(ellipses.regions(ring, 1, 25).label) == 1
    assert len(ellipses.regions(ring, 1, 25.5).label) == 0
    ring[2, 2] = 0  # the corner: still one region, but its inside touches the outside there
    assert len(ellipses.regions(ring, 1, 15).label) == 1
    assert len(ellipses.regions(ring, 1, 15.5).label) == 0


def test_an_empty_frame_has_no_region():
    assert len(ellipses.regions(np.zeros((8, 8), np.uint8), JUMP_DET, 1).label) == 0


@pytest.mark.parametrize(("stretch", "angle"), [(1.0, 0.0), (1.6, 0.3), (2.0, -1.1), (1.4, np.pi / 2)])
def test_an_ellipse_is_found_again(stretch, angle):
    ball = Snowball(40.3, 31.7, 0, 0, stretch=stretch, angle=angle)
    image = (distance(ball, (70, 80)) < 9).astype(np.uint8)
    ellipse = ellipses.fits(ellipses.regions(image, 1, 5))[0]
    assert ellipse[:4] == pytest.approx((40.3, 31.7, 17, 18 * stretch - 1), abs=0.3)
    box, inside = ellipses.footprint(ellipse, ellipse.minor + 1, ellipse.major + 1, image.shape)
    drawn = np.zeros(image.shape, bool)
    drawn[box] = inside
    assert (drawn != image.astype(bool)).sum() < 0.12 * image.sum()
    assert ellipses.contains(ellipse, np.array([40.3, 40.3 + 9.5 * stretch + 9]), np.array([31.7, 31.7])).tolist() == [True, False]


# --- against injected snowballs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("core", [3.0, 6.0])
@pytest.mark.parametrize("late", [0, 1])
def test_a_snowball_is_masked_to_its_radius(tmp_path, core, late):
    ball = Snowball(50.0, 45.0, core, 14.0, late=late)
    sci, groupdq = ramps(np.random.default_rng(1), (1, 8, 100, 100), [ball], hits=0)
    found = flag(tmp_path, sci, groupdq, expand_factor=1.5)
    r = distance(ball, (100, 100))
    before, hit = found.groupdq[0, 2], found.groupdq[0, 3]
    assert (hit[r < 19] & (JUMP_DET | SATURATED)).all(), "its halo is not masked"
    assert (before[r < 20] == 0).mean() > 0.98, "flagged before it came"
    assert (hit[r > 24] == 0).mean() > 0.98
    later = found.groupdq[0, 3 + late :]
    assert (later[:, r <= core + 1] == SATURATED).all(), "its core did not grow"
    assert not (later[:, r > core + 3] & SATURATED).any()
    assert found.header["EXTNCRS"] == pytest.approx(1e6 / (7 * found.header["TGROUP"] * 100 * 100))


def test_ordinary_hits_do_not_grow(tmp_path):
    sci, groupdq = ramps(np.random.default_rng(2), (1, 8, 128, 128), hits=0.003)
    plain = flag(tmp_path, sci, groupdq, expand_large_events=False)
    grown = flag(tmp_path, sci, groupdq, edge_size=0)
    assert plain.groupdq.any()
    np.testing.assert_array_equal(grown.groupdq, plain.groupdq)
    assert grown.header["EXTNCRS"] == 0


def test_an_oblong_frame_has_its_edges_where_they_are(tmp_path):
    """The peer takes the number of rows for that of columns: far from the edges of a wide subarray every hit would grow."""
    sci, groupdq = ramps(np.random.default_rng(3), (1, 8, 64, 400), hits=0.003)
    plain = flag(tmp_path, sci, groupdq, expand_large_events=False).groupdq
    grown = flag(tmp_path, sci, groupdq, edge_size=10).groupdq
    more = (grown != plain).any(axis=(0, 1))
    assert more[:, :10].any() and more[:10].any() and more[-10:].any()
    assert not more[20:-20, 20:-20].any()


def test_the_core_is_masked_in_the_next_integration_for_a_while(tmp_path):
    ball = Snowball(50.0, 45.0, 6.0, 14.0, integration=1)
    sci, groupdq = ramps(np.random.default_rng(4), (4, 6, 100, 100), [ball], hits=0)
    seconds = make.ramp_exposure((1, 1, 1, 1)).header["TGROUP"]
    for time, groups in ((3.5 * seconds, 3), (100 * seconds, 6), (0.5 * seconds, 0)):
        found = flag(tmp_path, sci, groupdq, snowball_time_masked_next_int=int(time) + 1, flag_4_neighbors=False).groupdq
        core = distance(ball, (100, 100)) < 5
        assert ((found[2, 1:groups][:, core] & JUMP_DET) != 0).all()
        assert (found[2, max(groups, 1) :][:, core] & JUMP_DET).sum() <= 0.05 * 6 * core.sum()
        assert (found[3][:, core] & JUMP_DET == 0).mean() > 0.99
    off = flag(tmp_path, sci, groupdq, mask_snowball_core_next_int=False).groupdq
    assert (off[2][:, core] == 0).mean() > 0.99


def test_a_ramp_in_pieces_gives_the_same(tmp_path, monkeypatch):
    """Jumps by strips of rows, then snowballs and showers by integrations; the core's mask goes over to the next block."""
    sci, groupdq = scene(7, (4, 6, 96, 96), 12)
    sci[2, 4:, distance(Snowball(48, 40, 0, 0), (96, 96)) < 15] += 20  # a shower: 2 sigma
    exposure, refs = exposure_of(tmp_path, sci, groupdq)
    parameters = {"jump": {"expand_large_events": True, "find_showers": True, "edge_size": 5, "extend_min_area": 40}}
    references = {kind: refs[kind].path for kind in ("gain", "readnoise")}
    recipe = Recipe("detector1", [Step("jump"), Step("ramp_fit")], parameters, references)
    whole = jump.apply(*exposure_of(tmp_path, sci, groupdq), **parameters["jump"])
    only = jump.apply(*exposure_of(tmp_path, sci, groupdq), **{**parameters["jump"], "find_showers": False})
    assert (whole.groupdq != only.groupdq).any(), "no shower to be compared"

    monkeypatch.setattr(ramp, "LARGE", 2**19)
    written = []
    original = ramp.Ramp.strips
    monkeypatch.setattr(ramp.Ramp, "strips", lambda *a, **k: (written.append(s.groupdq.copy()) or s for s in original(*a, **k)))
    exposure.raw = SimpleNamespace(shape=sci.shape, read=lambda ints, empty: (sci[ints].copy(), groupdq[ints].copy()))
    exposure.sci = exposure.groupdq = None
    rate, _ = loop.run(recipe, exposure, scratch=tmp_path)
    count = len(written) // 3  # strips: of jump, of the search for showers, of ramp_fit
    assert count > 1 and len(written) == 3 * count
    np.testing.assert_array_equal(np.concatenate(written[-count:], axis=2), whole.groupdq)
    assert rate.header["EXTNCRS"] == pytest.approx(whole.header["EXTNCRS"])
    assert rate.header["PRIMECRS"] == pytest.approx(whole.header["PRIMECRS"])


# --- against the peer ----------------------------------------------------------------------------------------------------

STEP = """
import logging
from jwst.jump import JumpStep
logging.disable(logging.INFO)
result = JumpStep(override_gain=refs["gain"], override_readnoise=refs["readnoise"], **parameters).process(model)
out[f"{number} events"] = np.array(result.meta.exposure.extended_emission_events)
"""

SECONDS = 10.73677  # a group
VARIATIONS = [
    {},
    {"min_sat_area": 12.0},
    {"min_jump_area": 30.0},
    {"expand_factor": 5.0},
    {"use_ellipses": True},
    {"sat_required_snowball": False},
    {"min_sat_radius_extend": 7.5},
    {"sat_expand": 0},
    {"edge_size": 3},
    {"mask_snowball_core_next_int": False},
    {"snowball_time_masked_next_int": 25},
    {"max_extended_radius": 6},
]


def crowd(rng, shape, count):
    """Random snowballs, some at the edges, some long, some on top of others."""
    nints, ngroups, ny, nx = shape
    balls = []
    for _ in range(count):
        core = rng.uniform(0.4, 7)
        balls.append(
            Snowball(
                rng.uniform(-2, nx + 2),
                rng.uniform(-2, ny + 2),
                core,
                core + rng.uniform(1, 8),
                int(rng.integers(1, ngroups)),
                int(rng.integers(nints)),
                int(rng.integers(3)),
                rng.choice([1.0, rng.uniform(1, 2.5)]),
                rng.uniform(-2, 2),
            )
        )
    return balls


def scene(seed, shape=(3, 7, 140, 140), count=24):
    """A frame full of all that can happen, and its flags."""
    rng = np.random.default_rng(seed)
    sci, groupdq = ramps(rng, shape, crowd(rng, shape, count), hits=0.004)
    groupdq |= ((rng.random(shape) < 0.01) * DO_NOT_USE).astype(np.uint8)
    groupdq |= (rng.integers(0, 200 * shape[1], (shape[0], 1, *shape[2:])) <= np.arange(shape[1])[:, None, None]) * np.uint8(SATURATED)
    return sci, groupdq


def compare(tmp_path, cases):
    """Run the peer's step and ours on (sci, groupdq, parameters), and compare all flags and the number of events."""
    made = []
    for number, (sci, groupdq, more) in enumerate(cases):
        (tmp_path / str(number)).mkdir()
        made.append((*exposure_of(tmp_path / str(number), sci, groupdq), {"expand_large_events": True, **more}))
    theirs = make.by_peer(tmp_path, STEP, made)
    for (exposure, refs, parameters), peers in zip(made, theirs, strict=True):
        found = jump.apply(exposure, refs, **parameters)
        np.testing.assert_array_equal(found.groupdq, peers["groupdq"], err_msg=str(parameters))
        assert found.header["EXTNCRS"] == pytest.approx(float(peers["events"]))
        assert peers["events"] > 0


@pytest.mark.parity
@needs_peer
def test_peer_with_every_parameter(tmp_path):
    sci, groupdq = scene(11)
    compare(tmp_path, [(sci, groupdq, more) for more in VARIATIONS])


@pytest.mark.parity
@needs_peer
def test_peer_with_other_scenes(tmp_path):
    shapes = [(1, 3, 96, 96), (2, 5, 128, 128), (1, 12, 100, 100), (5, 4, 90, 90)]
    compare(tmp_path, [(*scene(20 + n, shape, 16), {"edge_size": 8, "expand_factor": 2 - 0.3 * n}) for n, shape in enumerate(shapes)])


@pytest.mark.parity
@needs_peer
def test_the_peer_lets_ordinary_hits_of_an_oblong_frame_grow(tmp_path):
    """Why ours differs there: docs/differences.md."""
    sci, groupdq = ramps(np.random.default_rng(3), (1, 8, 64, 400), hits=0.003)
    exposure, refs = exposure_of(tmp_path, sci, groupdq)
    parameters = {"expand_large_events": True, "edge_size": 10}
    theirs = make.by_peer(tmp_path, STEP, [(exposure, refs, parameters)])[0]["groupdq"]
    ours = jump.apply(exposure, refs, **parameters).groupdq
    inside = np.s_[:, :, 20:-20, 80:-20]  # no core is beyond an edge there, and there is none at all
    plain = flag(tmp_path, sci, groupdq, expand_large_events=False).groupdq
    np.testing.assert_array_equal(ours[inside], plain[inside])
    assert np.count_nonzero(theirs[inside]) > 1.3 * np.count_nonzero(plain[inside])
    np.testing.assert_array_equal(ours[..., :40], theirs[..., :40])


@pytest.mark.parity
@needs_peer
def test_ellipses_are_the_peers_to_the_last_bit():
    """Moments, axes, angles and outlines of scikit-image: a point that lies on the outline is in or out by the last bit."""
    rng = np.random.default_rng(5)
    images = np.array([blobs(rng) for _ in range(12)])
    code = """
from stcal.jump.jump import _sk_filter_areas, ellipse_subim
rows, drawn = [], []
for n, image in enumerate(images):
    for (x, y), (minor, major), angle in _sk_filter_areas(image.astype(np.uint8), 5):
        rows.append((n, x, y, minor, major, angle))
        box, part = ellipse_subim(x, y, minor * 2, major + minor, angle, 1, image.shape)
        full = np.zeros(image.shape, np.uint8)
        full[box[0]:box[1], box[2]:box[3]] = part
        drawn.append(full)
out["rows"], out["drawn"] = np.array(rows), np.array(drawn)
"""
    theirs = peer_python(code, images=images)
    ours = [(n, e) for n, image in enumerate(images) for e in ellipses.fits(ellipses.regions(image.astype(np.uint8), 1, 5))]
    np.testing.assert_array_equal([(n, *e) for n, e in ours], theirs["rows"])
    for (_, ellipse), expected in zip(ours, theirs["drawn"], strict=True):
        full = np.zeros(expected.shape, np.uint8)
        box, inside = ellipses.footprint(ellipse, *ellipses.grown(ellipse, 2, 100), expected.shape)
        full[box] = inside
        np.testing.assert_array_equal(full, expected)
