"""reset, lastframe, firstframe, rscd and charge_migration: against their rules written out, and against the peer."""

import numpy as np
import pytest

import make
from jwcal.kernels.detector.charge_migration import flag_charge_migration
from jwcal.kernels.detector.rscd import groups_to_skip
from jwcal.model.references import References
from jwcal.settings.chains import chain
from jwcal.steps import charge_migration, firstframe, lastframe, reset, rscd
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import InputError, ReferenceError, Skip
from peer import needs_peer, peer_python

NY, NX = 10, 12


def miri(shape, **keywords):
    about = {"INSTRUME": "MIRI", "DETECTOR": "MIRIMAGE", "SUBARRAY": "SUB256", "READPATT": "FASTR1", "FASTAXIS": 1}
    return make.ramp_exposure(shape, **{**about, **keywords})


def saturating(nints, ngroups, seed=1):
    """Group flags of pixels that saturate at some group and stay so, or never."""
    first = np.random.default_rng(seed).integers(0, ngroups + 3, (nints, 1, NY, NX))
    return np.where(np.arange(ngroups)[:, None, None] >= first, dq.SATURATED, 0).astype(np.uint8)


def run(step, exposure, refs=None, **parameters):
    return step.apply(exposure, refs or References({}, exposure.header), **parameters)


@pytest.mark.parametrize("pipeline", ["detector1", "tso1", "dark"])
def test_only_for_miri(pipeline):
    """The steps ask for no instrument: they stand in its chains only."""
    mine = {"reset", "lastframe", "firstframe", "rscd", "emicorr"}
    for instrument in ("NIRCAM", "NIRISS", "NIRSPEC", "FGS", "MIRI"):
        there = {step.name for step in chain(pipeline, {"INSTRUME": instrument}).steps} & mine
        assert there == (mine if instrument == "MIRI" else set())


# --- reset -----------------------------------------------------------------------------------------------------------


def test_reset_takes_away_the_first_groups_transient(tmp_path):
    transient = np.random.default_rng(2).normal(100, 30, (3, 4, NY, NX)).astype(np.float32)
    bits = np.where(np.arange(NX) == 3, 2, 0).astype(np.uint32) * np.ones((NY, 1), np.uint32)
    content = {"SCI": transient, "DQ": bits, "DQ_DEF": make.dq_def(UNRELIABLE_SLOPE=2)}
    sky = np.random.default_rng(3).normal(1000, 30, (5, 6, NY, NX)).astype(np.float32)
    seen = sky.copy()
    seen[:, :4] += transient[[0, 1, 2, 2, 2]]
    exposure = miri(seen)
    run(reset, exposure, make.references(tmp_path, exposure, reset=content))
    np.testing.assert_allclose(exposure.sci, sky, rtol=2e-7)
    np.testing.assert_array_equal(exposure.pixeldq, np.where(np.arange(NX) == 3, dq.UNRELIABLE_SLOPE, 0) * np.ones((NY, 1)))
    segment = miri(seen[1:], INTSTART=2)
    np.testing.assert_array_equal(run(reset, segment, make.references(tmp_path, segment, reset=content)).sci, exposure.sci[1:])
    block = miri(seen[2:])
    block.integrations = slice(2, 5)
    np.testing.assert_array_equal(run(reset, block, make.references(tmp_path, block, reset=content)).sci, exposure.sci[2:])


def test_reset_with_fewer_groups_and_nan(tmp_path):
    transient = np.ones((1, 8, NY, NX), np.float32)
    transient[0, 1, 2, 3] = np.nan
    exposure = miri((2, 3, NY, NX))
    run(reset, exposure, make.references(tmp_path, exposure, reset=transient))
    assert exposure.sci[0, 1, 2, 3] == 0
    assert np.count_nonzero(exposure.sci == -1) == exposure.sci.size - 2
    with pytest.raises(ReferenceError, match="planes by integration and group"):
        run(reset, exposure, make.references(tmp_path, exposure, reset=transient[0]))


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"DQ": np.zeros((2, NY, NX), np.uint32)}, "DQ has the shape"),
        ({"DQ": np.zeros(NY, np.uint32)}, "DQ has the shape"),
        ({"DQ": np.zeros((NY, NX), np.uint32), "DQ_DEF": np.array([(1,)], [("VALUE", "u4")])}, "DQ_DEF has no column NAME"),
    ],
)
def test_flags_of_a_reference_that_are_none(tmp_path, flags, says):
    exposure = miri((1, 3, NY, NX))
    with pytest.raises(ReferenceError, match=f"reset.fits.*{says}"):
        run(reset, exposure, make.references(tmp_path, exposure, reset={"SCI": np.ones((1, 2, NY, NX), np.float32), **flags}))


def test_integrations_are_counted_from_one(tmp_path):
    exposure = miri((1, 3, NY, NX), INTSTART=0)
    with pytest.raises(InputError, match="INTSTART is 0"):
        run(reset, exposure, make.references(tmp_path, exposure, reset=np.ones((1, 2, NY, NX), np.float32)))


# --- lastframe, firstframe -------------------------------------------------------------------------------------------


def test_lastframe():
    exposure = miri((2, 4, NY, NX))
    exposure.groupdq[:, :, 1, 1] = dq.JUMP_DET
    run(lastframe, exposure)
    assert (exposure.groupdq[:, -1] & dq.DO_NOT_USE).all() and not (exposure.groupdq[:, :-1] & dq.DO_NOT_USE).any()
    assert (exposure.groupdq[:, :, 1, 1] & dq.JUMP_DET).all()
    with pytest.raises(Skip, match="fewer than 3"):
        run(lastframe, miri((2, 2, NY, NX)))


def test_firstframe_keeps_bright_pixels():
    exposure = miri((2, 5, NY, NX))
    exposure.groupdq[1, 2:, 3, 4] = dq.SATURATED
    exposure.groupdq[0, 3:, 5, 5] = dq.SATURATED
    run(firstframe, exposure)
    expected = np.full((2, NY, NX), dq.DO_NOT_USE)
    expected[1, 3, 4] = 0
    np.testing.assert_array_equal(exposure.groupdq[:, 0], expected)
    assert exposure.pixeldq[3, 4] == dq.FLUX_ESTIMATED and np.count_nonzero(exposure.pixeldq) == 1
    run(firstframe, exposure, bright_use_group1=False)
    assert (exposure.groupdq[:, 0] == dq.DO_NOT_USE).all()
    assert firstframe.SKIP
    with pytest.raises(Skip, match="fewer than 4"):
        run(firstframe, miri((2, 3, NY, NX)))


# --- rscd ------------------------------------------------------------------------------------------------------------


def skip_table(*rows, names=("subarray", "readpatt", "group_skip1", "group_skip")):
    kinds = {"subarray": "S17", "readpatt": "S12", "group_skip1": "i4", "group_skip": "i4"}
    return {"RSCD_GROUP_SKIP": np.array(list(rows), [(name, kinds[name]) for name in names])}


def rscd_run(tmp_path, exposure, *rows, **more):
    rows = rows or (("FULL", "FASTR1", 9, 9), ("SUB256", "SLOWR1", 8, 8), ("SUB256", "FASTR1", 2, 4))
    return run(rscd, exposure, make.references(tmp_path, exposure, rscd=skip_table(*rows, **more)))


@pytest.mark.parametrize(("first_saturated", "kept"), [(None, 4), (6, 4), (5, 3), (4, 2), (3, 1), (2, 0), (1, 0), (0, 4)])
def test_two_good_groups_remain_where_they_can(first_saturated, kept):
    flags = np.zeros(9, np.uint8)
    if first_saturated is not None:
        flags[first_saturated:] = dq.SATURATED | dq.JUMP_DET
    assert groups_to_skip(flags, 4, np.uint8(dq.SATURATED)) == kept


def test_rscd_by_integration(tmp_path):
    exposure = rscd_run(tmp_path, miri((3, 9, NY, NX)))
    flagged = (exposure.groupdq == dq.DO_NOT_USE).all(axis=(2, 3))
    np.testing.assert_array_equal(flagged.sum(axis=1), [2, 4, 4])
    assert flagged[0, :2].all() and flagged[1:, :4].all()
    assert (exposure.header["INT1SKIP"], exposure.header["INT2SKIP"]) == (2, 4)
    segment = rscd_run(tmp_path, miri((3, 9, NY, NX), INTSTART=4, NINTS=9))
    assert ((segment.groupdq != 0).sum(axis=1) == 4).all()
    block = miri((2, 9, NY, NX), NINTS=5)
    block.integrations = slice(3, 5)
    assert ((rscd_run(tmp_path, block).groupdq != 0).sum(axis=1) == 4).all()


@pytest.mark.parametrize(("ngroups", "flagged"), [(3, [0, 0]), (4, [1, 1]), (5, [1, 1]), (6, [2, 3]), (7, [2, 4])])
def test_rscd_of_short_integrations(tmp_path, ngroups, flagged):
    exposure = rscd_run(tmp_path, miri((2, ngroups, NY, NX)))
    np.testing.assert_array_equal((exposure.groupdq[:, :, 0, 0] != 0).sum(axis=1), flagged)


@pytest.mark.parametrize("column", ["group_skip1", "group_skip"])
@pytest.mark.parametrize("value", ["four", np.nan, [1, 2]])
def test_rscd_of_another_kind(tmp_path, column, value):
    table = np.array([("SUB256", "FASTR1", 2, 4)], skip_table()["RSCD_GROUP_SKIP"].dtype)
    value = np.asarray(value)
    kinds = [(name, value.dtype, value.shape) if name == column else (name, table.dtype[name]) for name in table.dtype.names]
    changed = np.zeros(1, kinds)
    for name in table.dtype.names:
        changed[name] = value if name == column else table[name]
    exposure = miri((2, 9, NY, NX))
    with pytest.raises(ReferenceError, match="rscd.fits: the rscd reference is not made as such references are"):
        run(rscd, exposure, make.references(tmp_path, exposure, rscd={"RSCD_GROUP_SKIP": changed}))


def test_rscd_without_a_row_or_column(tmp_path):
    with pytest.raises(Skip, match="no row for SUBARRAY SUB64"):
        rscd_run(tmp_path, miri((2, 9, NY, NX), SUBARRAY="SUB64"))
    with pytest.raises(Skip, match="fewer than 3"):
        rscd_run(tmp_path, miri((2, 2, NY, NX)))
    old = ("subarray", "readpatt", "group_skip")
    exposure = rscd_run(tmp_path, miri((2, 9, NY, NX)), ("SUB256", "FASTR1", 4), names=old)
    np.testing.assert_array_equal((exposure.groupdq[:, :, 0, 0] != 0).sum(axis=1), [1, 4])
    exposure = rscd_run(tmp_path, miri((2, 9, NY, NX), SUBARRAY="SUBPRISM"), ("SLITLESSPRISM", "FASTR1", 3, 3))
    assert ((exposure.groupdq != 0).sum(axis=1) == 3).all()
    with pytest.raises(ReferenceError, match="no column group_skip"):
        rscd_run(tmp_path, miri((2, 9, NY, NX)), ("SUB256", "FASTR1"), names=old[:2])


# --- charge_migration ------------------------------------------------------------------------------------------------


def migrated(sci, groupdq, threshold):
    """The rule, written out."""
    out = groupdq.copy()
    for i, g, y, x in np.argwhere((sci > threshold) & (groupdq != dq.DO_NOT_USE)):
        for b, a in ((y, x), (y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= b < sci.shape[2] and 0 <= a < sci.shape[3]:
                out[i, g:, b, a] |= dq.CHARGELOSS | dq.DO_NOT_USE
    return out


def bright(seed=4):
    rng = np.random.default_rng(seed)
    sci = np.cumsum(rng.exponential(2500, (2, 5, NY, NX)) * (rng.random((2, 1, NY, NX)) < 0.15) * 3, axis=1).astype(np.float32)
    return sci, rng.choice([0, dq.DO_NOT_USE, dq.SATURATED, dq.JUMP_DET], sci.shape, p=[0.7, 0.1, 0.1, 0.1]).astype(np.uint8)


def test_charge_migration_is_the_rule():
    sci, groupdq = bright()
    exposure = make.ramp_exposure(sci)
    exposure.groupdq[:] = groupdq
    run(charge_migration, exposure)
    np.testing.assert_array_equal(exposure.groupdq, migrated(sci, groupdq, 25000))
    assert 20 < np.count_nonzero(exposure.groupdq & dq.CHARGELOSS) < sci.size / 2
    assert flag_charge_migration(sci, groupdq, 1e9, dq.DO_NOT_USE, dq.CHARGELOSS) == 0
    assert charge_migration.SKIP
    with pytest.raises(Skip, match="fewer than 3"):
        run(charge_migration, make.ramp_exposure((1, 2, NY, NX)))


# --- the peer --------------------------------------------------------------------------------------------------------

PEER = """
from stdatamodels.jwst import datamodels
from jwst.reset import reset_sub
from jwst.rscd import rscd_sub
from jwst.lastframe import lastframe_sub
from jwst.firstframe import firstframe_sub
from jwst.charge_migration.charge_migration import charge_migration

def model(intstart=1):
    m = datamodels.RampModel(data=sci.copy(), pixeldq=np.zeros(sci.shape[-2:], np.uint32), groupdq=groupdq.copy())
    m.meta.exposure.nints, m.meta.exposure.ngroups = sci.shape[:2]
    m.meta.exposure.integration_start, m.meta.exposure.integration_end = intstart, intstart + sci.shape[0] - 1
    m.meta.exposure.readpatt, m.meta.subarray.name, m.meta.instrument.detector = "FASTR1", "SUB256", "MIRIMAGE"
    return m

def keep(name, m):
    out[name + "_sci"], out[name + "_groupdq"], out[name + "_pixeldq"] = m.data, m.groupdq, m.pixeldq

r = datamodels.ResetModel(data=transient, dq=bits)
r.meta.exposure.nints, r.meta.exposure.ngroups = transient.shape[:2]
table = np.array([("SUB256", "FASTR1", 2, 4)], [("subarray", "U17"), ("readpatt", "U12"), ("group_skip1", "i4"), ("group_skip", "i4")])
s = datamodels.RSCDModel(rscd_group_skip_table=table)
for start in (1, 2):
    keep(f"reset{start}", reset_sub.do_correction(model(start), r))
    keep(f"rscd{start}", rscd_sub.do_correction(model(start), s))
keep("lastframe", lastframe_sub.do_correction(model()))
keep("firstframe", firstframe_sub.do_correction(model(), bright_use_group1=True))
keep("charge_migration", charge_migration(model(), 25000.0))
"""


@pytest.mark.parity
@needs_peer
@pytest.mark.parametrize("ngroups", [5, 9])
def test_these_steps_are_the_peers(tmp_path, ngroups):
    rng = np.random.default_rng(6)
    sci = rng.uniform(10000, 26000, (3, ngroups, NY, NX)).astype(np.float32)
    groupdq = saturating(3, ngroups) | (rng.random(sci.shape) < 0.1).astype(np.uint8) * dq.DO_NOT_USE
    transient = rng.normal(50, 9, (2, 4, NY, NX)).astype(np.float32)
    bits = (rng.random((NY, NX)) < 0.2).astype(np.uint32) * dq.UNRELIABLE_SLOPE
    theirs = peer_python(PEER, sci=sci, groupdq=groupdq, transient=transient, bits=bits)

    cases = [("reset1", reset, 1), ("reset2", reset, 2), ("rscd1", rscd, 1), ("rscd2", rscd, 2)]
    cases += [
        (name, step, 1) for name, step in (("lastframe", lastframe), ("firstframe", firstframe), ("charge_migration", charge_migration))
    ]
    for name, step, start in cases:
        exposure = miri(sci, INTSTART=start)
        exposure.groupdq[:] = groupdq
        refs = make.references(tmp_path, exposure, reset={"SCI": transient, "DQ": bits}, rscd=skip_table(("SUB256", "FASTR1", 2, 4)))
        run(step, exposure, refs)
        np.testing.assert_array_equal(exposure.groupdq, theirs[f"{name}_groupdq"], err_msg=name)
        np.testing.assert_array_equal(exposure.pixeldq, theirs[f"{name}_pixeldq"], err_msg=name)
        np.testing.assert_array_equal(exposure.sci, theirs[f"{name}_sci"], err_msg=name)
