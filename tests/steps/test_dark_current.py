"""dark_current: against numpy, against a dark that is known, and against the peer."""

import numpy as np
import pytest

import make
from jwcal.kernels.detector.average_frames import add_frame, subtract_frame
from jwcal.model.references import References
from jwcal.products import stored
from jwcal.steps import dark_current
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import ReferenceError, Skip
from peer import needs_peer, peer_python

NY, NX = 12, 16


def dark_reads(n, seed=1):
    """A dark of single reads: amplifier glow that settles, and a steady current; (read, row, col) float32."""
    rng = np.random.default_rng(seed)
    read = np.arange(1, n + 1)[:, None, None]
    return (rng.uniform(0, 2, (NY, NX)) * read + 30 * (1 - np.exp(-read / 3))).astype(np.float32)


def reference(sci, nframes=1, groupgap=0, **more):
    return {"SCI": sci, "NFRAMES": nframes, "GROUPGAP": groupgap, "NGROUPS": sci.shape[-3], **more}


def run(tmp_path, exposure, dark, **parameters):
    return dark_current.apply(exposure, make.references(tmp_path, exposure, dark=dark), **parameters)


def test_kernels_are_those_of_numpy():
    rng = np.random.default_rng(2)
    sci, frames = rng.normal(100, 9, (2, 3, NY, NX)).astype(np.float32), rng.normal(3, 1, (4, NY, NX)).astype(np.float32)
    frames[1, 2, 3] = np.nan
    total = np.zeros((NY, NX), np.float32)
    for frame in frames:
        add_frame(total, frame)
    expected = sci.copy()
    expected[:, 1] -= np.nan_to_num(frames).mean(axis=0)
    subtract_frame(sci, 1, total, 4)
    np.testing.assert_array_equal(sci, expected)


@pytest.mark.parametrize(("nframes", "groupgap"), [(1, 0), (1, 4), (4, 1), (8, 2)])
def test_the_dark_of_the_same_detector_leaves_the_sky(tmp_path, nframes, groupgap):
    reads = dark_reads(60)
    sky = np.arange(1, 6)[:, None, None] * 100.0
    first = (nframes + groupgap) * np.arange(5)
    groups = np.stack([reads[f : f + nframes].astype(float).mean(axis=0) for f in first])
    exposure = make.ramp_exposure(np.stack([sky + groups, 2 * sky + groups]), NFRAMES=nframes, GROUPGAP=groupgap)
    run(tmp_path, exposure, reference(reads))
    np.testing.assert_allclose(exposure.sci[0], np.broadcast_to(sky, groups.shape), rtol=1e-6)
    np.testing.assert_allclose(exposure.sci[1], np.broadcast_to(2 * sky, groups.shape), rtol=1e-6)


def test_a_short_dark_goes_on_along_its_last_line(tmp_path):
    line = np.arange(1, 13)[:, None, None] * np.random.default_rng(3).uniform(1, 4, (NY, NX))
    for nframes, groupgap in ((1, 0), (2, 1)):
        first = (nframes + groupgap) * np.arange(4)
        groups = np.stack([line[f : f + nframes].mean(axis=0) for f in first])
        exposure = make.ramp_exposure(1000 + groups[None], NFRAMES=nframes, GROUPGAP=groupgap)
        run(tmp_path, exposure, reference(line[:3].astype(np.float32)))
        np.testing.assert_allclose(exposure.sci, 1000, atol=5e-4)


def test_a_dark_of_the_same_pattern_is_taken_plane_by_plane(tmp_path):
    groups = dark_reads(7)
    exposure = make.ramp_exposure((1, 5, NY, NX), NFRAMES=4, GROUPGAP=1)
    run(tmp_path, exposure, reference(groups, 4, 1))
    np.testing.assert_array_equal(exposure.sci[0], -groups[:5])


def test_nan_counts_as_no_dark(tmp_path):
    reads = dark_reads(8)
    reads[2, 3, 4] = np.nan
    exposure = make.ramp_exposure((1, 4, NY, NX), NFRAMES=2, GROUPGAP=0)
    run(tmp_path, exposure, reference(reads))
    assert exposure.sci[0, 1, 3, 4] == -reads[3, 3, 4] / 2
    assert np.isfinite(exposure.sci).all()


def test_flags_and_the_zero_frame(tmp_path):
    bits = np.zeros((NY, NX), np.uint32)
    bits[1, 2], bits[3, 4] = 2, 1
    exposure = make.ramp_exposure((1, 3, NY, NX), zeroframe=np.full((1, NY, NX), 7))
    exposure.pixeldq[1, 2] = dq.DEAD
    run(tmp_path, exposure, reference(dark_reads(3), DQ=bits, DQ_DEF=make.dq_def(HOT=2, UNRELIABLE_DARK=1)))
    assert exposure.pixeldq[1, 2] == dq.DEAD | dq.HOT
    assert exposure.pixeldq[3, 4] == dq.UNRELIABLE_DARK
    assert np.count_nonzero(exposure.pixeldq) == 2
    np.testing.assert_array_equal(exposure.extra["ZEROFRAME"], 7)


def miri(nints, ngroups=3, **keywords):
    return make.ramp_exposure((nints, ngroups, NY, NX), INSTRUME="MIRI", DETECTOR="MIRIMAGE", FASTAXIS=1, **keywords)


def test_miri_integrations_have_their_own_planes(tmp_path):
    planes = np.stack([dark_reads(4, seed) for seed in range(3)])
    bits = np.zeros((3, 1, NY, NX), np.uint32)
    bits[0, 0, 1, 1], bits[2, 0, 2, 2] = dq.HOT, dq.UNRELIABLE_DARK
    exposure = run(tmp_path, miri(5), reference(planes, DQ=bits))
    np.testing.assert_array_equal(exposure.sci, -planes[[0, 1, 2, 2, 2], :3])
    assert exposure.pixeldq[1, 1] == dq.HOT and exposure.pixeldq[2, 2] == dq.UNRELIABLE_DARK
    np.testing.assert_array_equal(run(tmp_path, miri(3, INTSTART=2), reference(planes)).sci, -planes[[1, 2, 2], :3])


def test_miri_blocks_are_the_whole(tmp_path):
    planes = np.stack([dark_reads(4, seed) for seed in range(3)])
    whole, part = run(tmp_path, miri(5), reference(planes)), miri(3)
    part.integrations = slice(2, 5)
    np.testing.assert_array_equal(run(tmp_path, part, reference(planes)).sci, whole.sci[2:])


def test_average_dark_current_comes_from_the_parameter_the_image_or_the_keyword(tmp_path):
    image = np.random.default_rng(4).uniform(0, 1, (NY, NX)).astype(np.float32)
    dark = reference(dark_reads(3))

    def current(dark, **parameters):
        exposure = run(tmp_path, make.ramp_exposure((1, 3, NY, NX)), dark, **parameters)
        return exposure.extra.get("AVDRKCUR")

    np.testing.assert_array_equal(current({**dark, "AVDRKCUR": image}), image)
    np.testing.assert_array_equal(current({**dark, "AVDRKCUR": image}, average_dark_current=0.25), np.full((NY, NX), 0.25, np.float32))
    keyword = {**dark, "AVDRKCUR": 0.5}
    np.testing.assert_array_equal(current(keyword), np.full((NY, NX), 0.5, np.float32))
    assert current(dark) is None


@pytest.mark.parametrize("asked", [True, "dark.fits"])
def test_the_dark_that_was_subtracted(tmp_path, asked):
    """As a reference of the exposure's own pattern it does the same."""
    bits = np.zeros((NY, NX), np.uint32)
    bits[1, 2] = dq.HOT
    exposure = make.ramp_exposure((1, 3, NY, NX), NFRAMES=4, GROUPGAP=1)
    exposure, fitted = run(tmp_path, exposure, reference(dark_reads(30), DQ=bits), dark_output=asked)
    np.testing.assert_array_equal(fitted.sci, -exposure.sci[0])
    assert fitted.suffix == "avgdark" and fitted.header["REFTYPE"] == "DARK"
    stored.write(fitted, tmp_path / "made_avgdark.fits")
    again = make.ramp_exposure((1, 3, NY, NX), NFRAMES=4, GROUPGAP=1)
    dark_current.apply(again, References({"dark": tmp_path / "made_avgdark.fits"}, again.header))
    np.testing.assert_array_equal(again.sci, exposure.sci)
    np.testing.assert_array_equal(again.pixeldq, bits)


def test_what_can_not_be_done_is_said(tmp_path):
    exposure = make.ramp_exposure(np.ones((1, 3, NY, NX)), NFRAMES=4, GROUPGAP=1)
    for pattern in ((8, 0), (4, 2), (2, 0)):  # the last one: its means of 2 are no single reads
        with pytest.raises(Skip, match="can't be averaged"):
            run(tmp_path, exposure, reference(dark_reads(30), *pattern))
    with pytest.raises(ReferenceError, match="NFRAMES is missing"):
        run(tmp_path, exposure, dark_reads(30))
    with pytest.raises(ReferenceError, match="1 plane is too short for 14"):
        run(tmp_path, exposure, reference(dark_reads(1)))
    np.testing.assert_array_equal(exposure.sci, 1)
    assert not exposure.pixeldq.any()


PEER = """
from stdatamodels.jwst import datamodels
from stcal.dark_current import dark_sub
m = datamodels.RampModel(data=sci, pixeldq=pixeldq, groupdq=np.zeros(sci.shape, np.uint8))
d = (datamodels.DarkMIRIModel if dark.ndim == 4 else datamodels.DarkModel)(data=dark, dq=bits)
e = m.meta.exposure
e.nframes, e.groupgap, e.integration_start = int(pattern[0]), int(pattern[1]), int(intstart)
d.meta.exposure.nframes, d.meta.exposure.groupgap, d.meta.exposure.ngroups = int(given[0]), int(given[1]), dark.shape[-3]
result, _ = dark_sub.do_correction(m, d)
out["sci"], out["pixeldq"], out["status"] = result.data, result.pixeldq, result.cal_step
"""


@pytest.mark.parity
@needs_peer
@pytest.mark.parametrize(
    ("pattern", "given", "length", "nints"),
    [
        ((1, 0), (1, 0), 6, 0),
        ((8, 2), (1, 0), 60, 0),
        ((4, 1), (1, 0), 17, 0),
        ((4, 1), (4, 1), 3, 0),
        ((1, 0), (1, 0), 6, 2),
        ((1, 0), (1, 0), 4, 3),
    ],
)
def test_dark_is_the_peers(tmp_path, pattern, given, length, nints):
    rng = np.random.default_rng(5)
    sci = rng.normal(500, 100, (3, 5, NY, NX)).astype(np.float32)
    dark = np.stack([dark_reads(length, seed) for seed in range(nints)]) if nints else dark_reads(length)
    dark[..., 1, 3, 4:6] = np.nan
    bits = (rng.random((nints, 1, NY, NX) if nints else (NY, NX)) < 0.2).astype(np.uint32) * dq.HOT
    pixeldq = (rng.random((NY, NX)) < 0.2).astype(np.uint32) * dq.DEAD
    theirs = peer_python(PEER, sci=sci, pixeldq=pixeldq, dark=dark, bits=bits, pattern=pattern, given=given, intstart=1)
    assert theirs["status"] == "COMPLETE"
    exposure = make.ramp_exposure(sci, NFRAMES=pattern[0], GROUPGAP=pattern[1])
    exposure.pixeldq[:] = pixeldq
    run(tmp_path, exposure, reference(dark, *given, DQ=bits))
    np.testing.assert_array_equal(exposure.pixeldq, theirs["pixeldq"])
    np.testing.assert_allclose(exposure.sci, theirs["sci"], rtol=1e-6, atol=2e-5)
