"""persistence: its rules written out, its files, in strips, and against the peer."""

import asdf
import numpy as np
import pytest

import make
from jwcal.model.exposure import Pixels
from jwcal.model.references import References
from jwcal.products import stored
from jwcal.steps import persistence
from jwcal.vocabulary.dq import DO_NOT_USE, JUMP_DET, PERSISTENCE, SATURATED
from jwcal.vocabulary.errors import ReferenceError, Skip
from peer import needs_peer

SHAPE = NINTS, NGROUPS, NY, NX = 4, 6, 12, 16
TGROUP, EFFINTTM = 2.0, 14.0  # s
START = 60200.0  # MJD
EPOCH = (START - 40587.0) * 86400.0


def exposed(seed=1, **keywords):
    """Ramps of which some saturate, with flags that come and go too."""
    rng = np.random.default_rng(seed)
    about = {"EXPSTART": START, "EFFINTTM": EFFINTTM, "TGROUP": TGROUP, "DETECTOR": "NRCA1"}
    exposure = make.ramp_exposure(rng.normal(1000, 300, SHAPE), **{**about, **keywords})
    first = rng.integers(0, 3 * NGROUPS, (NINTS, 1, NY, NX))
    exposure.groupdq[np.arange(NGROUPS)[:, None, None] >= first] = SATURATED
    exposure.groupdq[rng.random(SHAPE) < 0.02] ^= SATURATED
    exposure.groupdq[rng.random(SHAPE) < 0.05] |= JUMP_DET
    return exposure


def run(exposure, save_persistence=None, **parameters):
    """The flags that are new; the windows go into the file that `save_persistence` names."""
    before = exposure.groupdq.copy()
    given = {"persistence_time": 7, "save_persistence": save_persistence, **parameters}
    found = persistence.apply(exposure, References({}, exposure.header), **given)
    if save_persistence:
        found, windows = found
        assert windows.suffix == "persistence"
        stored.write(windows, save_persistence)
    assert found is exposure
    return exposure.groupdq ^ before


def test_flags_from_the_first_saturated_group_on():
    exposure = exposed()
    exposure.groupdq[:] = 0
    exposure.groupdq[0, 4:, 3, 5] = SATURATED  # 10 s after the start: until 17 s
    new = run(exposure)
    at = [(i, g) for i in range(NINTS) for g in range(NGROUPS) if 10 <= i * EFFINTTM + (g + 1) * TGROUP <= 17]
    expected = np.zeros((NINTS, NGROUPS), np.uint8)
    expected[tuple(zip(*at, strict=True))] = PERSISTENCE
    np.testing.assert_array_equal(new[:, :, 3, 5], expected)
    assert at[-1] == (1, 0) and not np.delete(new.reshape(-1, NY * NX), 3 * NX + 5, axis=1).any()


def test_bright_groups_and_do_not_use():
    exposure = exposed()
    exposure.groupdq[:] = 0
    exposure.sci[:] = 100
    exposure.sci[2, 5, 1, 1] = 5000  # 12 s after the start of the integration: until 19 s, which the groups at 16 s and 18 s are within
    new = run(exposure, dn_threshold=4999.0, persistence_dnu=True)
    assert np.flatnonzero(new[:, :, 1, 1]).tolist() == [2 * NGROUPS + 5, 3 * NGROUPS, 3 * NGROUPS + 1]
    assert np.count_nonzero(new) == 3 and new.max() == PERSISTENCE | DO_NOT_USE


def test_the_times_of_the_integrations():
    table = np.array([(1, START + 1.0), (2, START + 2.0)], [("integration_number", "i4"), ("int_start_MJD_UTC", "f8")])
    exposure = exposed()
    exposure.tables["INT_TIMES"] = table
    times = persistence._group_times(exposure) - EPOCH
    np.testing.assert_allclose(times[:, 0] - TGROUP, [86400, 2 * 86400, 2 * EFFINTTM, 3 * EFFINTTM], atol=1e-5)
    np.testing.assert_allclose(np.diff(times, axis=1), TGROUP, atol=1e-5)


@pytest.mark.parametrize("time", [None, 0, -5])
def test_needs_a_time(time):
    with pytest.raises(Skip, match="persistence_time"):
        run(exposed(), persistence_time=time)
    assert persistence.SKIP


# --- from one exposure to the next -----------------------------------------------------------------------------------


def later(seconds):
    return START + seconds / 86400.0


def test_windows_go_on_in_the_next_exposure(tmp_path):
    file = tmp_path / "windows.asdf"
    first, second = exposed(), exposed(EXPSTART=later(60))
    second.groupdq[:] = 0
    run(first, persistence_time=500, save_persistence=str(file))
    with asdf.open(file) as saved:
        entry = saved["NRCA1"]
        assert entry["filename"] == "made_uncal.fits" and entry["pers_time"] == 500
        open_ones = set(zip(np.asarray(entry["rows"]).tolist(), np.asarray(entry["cols"]).tolist(), strict=True))
    new = run(second, persistence_time=500, persistence_array_file=str(file))
    assert (
        {tuple(p) for p in np.argwhere(new[0, 0]).tolist()} == open_ones == {tuple(p) for p in np.argwhere(new.all(axis=(0, 1))).tolist()}
    )
    assert 20 < len(open_ones) < NY * NX
    for other in ({"DETECTOR": "NRCA2"}, {"EXPSTART": later(5000)}, {"EXPSTART": later(-5000)}):
        exposure = exposed(**other)
        exposure.groupdq[:] = 0
        assert not run(exposure, persistence_time=500, persistence_array_file=str(file)).any()
    third = exposed(EXPSTART=later(60))
    third.groupdq[:] = 0
    assert not run(third, persistence_time=400, persistence_array_file=str(file)).any()
    assert not run(third, persistence_array_file=str(tmp_path / "absent.asdf")).any()


def test_other_detectors_stay_in_the_file(tmp_path):
    first, both = (str(tmp_path / name) for name in ("first.asdf", "both.asdf"))
    run(exposed(DETECTOR="NRCA1"), save_persistence=first)
    run(exposed(DETECTOR="NRCB3"), persistence_array_file=first, save_persistence=both)
    with asdf.open(both) as saved:
        assert {"NRCA1", "NRCB3"} <= set(saved.keys())


def test_a_file_of_another_subarray(tmp_path):
    tree = {"NRCA1": {"rows": np.array([40]), "cols": np.array([3]), "vals": np.array([EPOCH]), "pers_time": 7}}
    asdf.AsdfFile(tree).write_to(tmp_path / "other.asdf")
    with pytest.raises(ReferenceError, match="up to row 40, column 3, the exposure has 12 x 16"):
        run(exposed(), persistence_array_file=str(tmp_path / "other.asdf"))
    (tmp_path / "broken.asdf").write_text("no asdf")
    with pytest.raises(ReferenceError, match="can't be read"):
        run(exposed(), persistence_array_file=str(tmp_path / "broken.asdf"))


@pytest.mark.parametrize("entry", [{"rows": "abc"}, {"rows": [-1]}, {"vals": [1.0, 2.0]}, {"cols": None}, {"pers_time": None}, None])
def test_a_file_of_another_kind(tmp_path, entry):
    whole = {"rows": [4], "cols": [3], "vals": [EPOCH], "pers_time": 7}
    tree = {"NRCA1": [1] if entry is None else {name: value for name, value in (whole | entry).items() if value is not None}}
    asdf.AsdfFile(tree).write_to(tmp_path / "other.asdf")
    with pytest.raises(ReferenceError, match="other.asdf: the persistence reference is not made as such references are"):
        run(exposed(), persistence_array_file=str(tmp_path / "other.asdf"))


def strips_of(exposure, high, halo):
    for first in range(0, NY, high):
        inner = slice(first, min(first + high, NY))
        rows = slice(max(0, inner.start - halo), min(NY, inner.stop + halo))
        pixels = Pixels(sci=exposure.sci[:, :, rows], groupdq=exposure.groupdq[:, :, rows].copy(), dq=exposure.pixeldq[rows])
        strip = exposure.block(pixels, rows=rows)
        strip.inner = inner
        yield strip


def test_strips_give_what_the_whole_gives(tmp_path):
    """With windows of an exposure before."""
    given = {"persistence_time": 30, "dn_threshold": 1500.0, "persistence_array_file": str(tmp_path / "before.asdf")}
    run(exposed(seed=2, EXPSTART=later(-50)), persistence_time=30, save_persistence=str(tmp_path / "before.asdf"))
    whole, cut = exposed(), exposed()
    run(whole, **given)
    for strip in strips_of(cut, 5, 1):
        run(strip, **given)
        part = slice(strip.inner.start - strip.rows.start, strip.inner.stop - strip.rows.start)
        np.testing.assert_array_equal(strip.groupdq[:, :, part], whole.groupdq[:, :, strip.inner])


# --- the peer --------------------------------------------------------------------------------------------------------

PEER = """
from jwst.persistence.persistence_step import PersistenceStep
result = PersistenceStep(skip=False, **parameters).process(model)
assert result.meta.cal_step.persistence == "COMPLETE"
"""


@needs_peer
@pytest.mark.parity
def test_as_the_peer(tmp_path):
    before, file = exposed(seed=2, EXPSTART=later(-50)), tmp_path / "theirs.asdf"
    theirs_saved = {"persistence_time": 30, "save_persistence": str(file)}
    given = [
        {"persistence_time": 7},
        {"persistence_time": 20, "dn_threshold": 1600.0, "persistence_dnu": True},
        theirs_saved,
        {"persistence_time": 30, "persistence_array_file": str(file)},
        {"persistence_time": 1000000, "dn_threshold": 900.0},
    ]
    exposures = [exposed(), exposed(), before, exposed(), exposed(seed=3)]
    theirs = make.by_peer(tmp_path, PEER, [(e, None, p) for e, p in zip(exposures, given, strict=True)])
    for exposure, parameters, peers in zip(exposures, given, theirs, strict=True):
        ours = {**parameters, "save_persistence": str(tmp_path / "ours.asdf")} if parameters is theirs_saved else parameters
        assert run(exposure, **ours).any()
        np.testing.assert_array_equal(exposure.groupdq, peers["groupdq"])
    with asdf.open(file) as a, asdf.open(tmp_path / "ours.asdf") as b:
        for name in ("rows", "cols", "vals"):
            np.testing.assert_array_equal(a["NRCA1"][name], b["NRCA1"][name])
