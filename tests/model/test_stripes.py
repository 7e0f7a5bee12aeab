"""Striped readout: the rows of a frame, references cut to them, superstripes put together, against maps of the detector's rows."""

import numpy as np
import pytest

import make
from jwcal.model import stripes
from jwcal.model.references import References
from jwcal.run import loop, superstripes
from jwcal.settings.chains import Save, Step
from jwcal.settings.recipe import Recipe
from jwcal.steps import refpix
from jwcal.vocabulary import limits
from jwcal.vocabulary.dq import DO_NOT_USE, REFERENCE_PIXEL
from jwcal.vocabulary.errors import InputError, ReferenceError

ORIENTATIONS = [(1, 2), (-1, 2), (1, -2), (-2, -1), (2, 1)]
WIDTH = 40


def header(size, fast=-1, slow=2, start=1, width=WIDTH, column=1, **keywords):
    """Keywords of striped frames of `size` rows from detector row `start` - 1 on."""
    given = {"FASTAXIS": fast, "SLOWAXIS": slow, f"SUBSIZE{abs(slow)}": size, f"SUBSIZE{abs(fast)}": width, f"SUBSTRT{abs(fast)}": column}
    given[f"SUBSTRT{abs(slow)}"] = start if slow > 0 else limits.SIDE - start + 1
    return make.header(1, 1, **given, **keywords)


def rows_of(head, position=0):
    """Detector rows of a frame, in the order of reading."""
    return np.concatenate([np.arange(limits.SIDE)[run.detector] for run in stripes.stripes_of(head, position).runs]).tolist()


def span(*pairs):
    return [row for first, count in pairs for row in range(first, first + count)]


CASES = [
    (dict(MSTR_RD1=4, MSTR_RD2=10, MSTR_SK1=20, MSTR_SK2=30), 24, 0, span((0, 4), (24, 10), (64, 10))),
    (dict(MSTR_RD1=0, MSTR_RD2=10, MSTR_SK1=20, MSTR_SK2=5), 20, 0, span((20, 10), (35, 10))),
    (dict(MSTR_RD1=1, MSTR_RD2=2, MSTR_SK1=5, MSTR_RPT=1), 9, 0, span((0, 1), (6, 2)) * 3),
    (dict(MSTR_RD1=4, MSTR_RD2=10, MSTR_SK1=20, MSTR_SK2=6, MSTR_RPT=1, MSTR_ILV=1), 28, 0, span((0, 4), (24, 10), (0, 4), (40, 10))),
    (dict(MSTR_RD1=4, MSTR_RD2=10, SSTR_STP=10, SSTR_NST=5), 14, 3, span((0, 4), (34, 10))),
    (dict(MSTR_RD1=4, MSTR_RD2=0, SSTR_STP=8, SSTR_NST=5), 12, 2, span((0, 4), (20, 8))),
    (dict(MSTR_RD1=1, MSTR_RD2=1, MSTR_SK1=165, SSTR_STP=1, SSTR_NST=64, MSTR_RPT=1), 8, 63, span((0, 1), (229, 1)) * 4),
]


@pytest.mark.parametrize(("keywords", "size", "position", "expected"), CASES)
@pytest.mark.parametrize("slow", [2, -2])
def test_rows_of_a_frame(keywords, size, position, expected, slow):
    assert rows_of(header(size, slow=slow, **keywords), position) == expected
    assert rows_of(header(size, slow=slow, start=301, **keywords), position) == [row + 300 for row in expected]


def test_early_products_have_a_wrong_start():
    keywords = dict(MSTR_RD1=4, MSTR_RD2=10)
    head = header(14, slow=-2, **keywords)
    head["SUBSTRT2"] = 1
    assert rows_of(head)[0] == 0
    assert rows_of(header(14, start=30, SUBARRAY="SUB41STRIPE1_DHS", **keywords))[0] == 0


@pytest.mark.parametrize(("size", "keywords"), [(20, {}), (14, {"MSTR_RD2": 0}), (14, {"start": 2040})])
def test_stripes_that_make_no_frame(size, keywords):
    with pytest.raises(InputError, match="made_uncal.fits.* do not make a frame of"):
        stripes.stripes_of(header(size, **{"MSTR_RD1": 4, "MSTR_RD2": 10, **keywords}))


def detector_map(fast, slow):
    """The number of each pixel of the detector in the order of reading, in the archive's orientation."""
    number = np.arange(limits.SIDE**2, dtype=np.float32).reshape(limits.SIDE, limits.SIDE)
    return stripes.Stripes([], fast, slow, 0, 0).to_archive(number)


@pytest.mark.parametrize(("fast", "slow"), ORIENTATIONS)
def test_references_are_cut_to_the_stripes(tmp_path, fast, slow):
    head = header(24, fast, slow, column=301, MSTR_RD1=4, MSTR_RD2=10, MSTR_SK1=20, MSTR_SK2=30)
    exposure = make.ramp_exposure((1, 2, 4, 4))
    exposure.header = head
    full = make.reference_file(tmp_path / "gain.fits", "gain", np.ascontiguousarray(detector_map(fast, slow)))
    found = References({"gain": full}, head)["gain"].array()
    place = stripes.stripes_of(head)
    rows, columns = np.divmod(place.to_detector(found).astype(int), limits.SIDE)
    first = 300 if fast > 0 else limits.SIDE - 300 - WIDTH
    np.testing.assert_array_equal(rows, np.broadcast_to(np.array(rows_of(head))[:, None], (24, WIDTH)))
    np.testing.assert_array_equal(columns, np.broadcast_to(first + np.arange(WIDTH), (24, WIDTH)))
    assert found.shape == ((24, WIDTH) if abs(fast) == 1 else (WIDTH, 24))


def test_references_that_do_not_cover_the_stripes(tmp_path):
    head = header(24, MSTR_RD1=4, MSTR_RD2=10, MSTR_SK1=20, MSTR_SK2=30)
    small = make.reference_file(tmp_path / "gain.fits", "gain", np.ones((60, 2048)))
    with pytest.raises(ReferenceError, match="gain.fits.*do not cover the stripes"):
        References({"gain": small}, head)["gain"].array()


# --- superstripes --------------------------------------------------------------------------------------------------------

SUPER = dict(MSTR_RD1=4, MSTR_RD2=10, MSTR_SK1=2, SSTR_STP=10, SSTR_NST=3)


def taken(fast, slow, size, nints=2, ngroups=4, repeats=1, **keywords):
    """A superstripe exposure whose samples tell the detector row, the integration and the group."""
    head = header(size, fast, slow, NINTS=nints * 3, NGROUPS=ngroups, NOUTPUTS=4, INTSTART=4, INTEND=3 + nints * 3, **keywords)
    images = []
    for i in range(nints * 3):
        rows = np.array(rows_of(head, i % 3), np.float32)[:, None]
        place = stripes.stripes_of(head, i % 3)
        again = np.arange(size)[:, None] * repeats // size
        groups = [rows + 10_000 * (i // 3) + 3000 * (g * repeats + again) + np.zeros(WIDTH) for g in range(ngroups)]
        images.append([place.to_archive(image) for image in groups])
    exposure = make.ramp_exposure(np.array(images))
    exposure.header = head
    exposure.pixels[0].header = head.sci
    names = ["integration_number", *(f"int_{part}_{scale}" for scale in ("MJD_UTC", "BJD_TDB") for part in ("start", "mid", "end"))]
    times = np.zeros(nints * 3, [(name, "i4" if name.startswith("integration") else "f8") for name in names])
    for offset, part in enumerate(("start", "mid", "end")):
        for scale in ("MJD_UTC", "BJD_TDB"):
            times[f"int_{part}_{scale}"] = np.arange(nints * 3) + 0.4 * offset
    exposure.tables["INT_TIMES"] = times
    return exposure


def together(exposure):
    """The exposure put together, without any step done."""
    entries = [Step("refpix"), Step("linearity"), Save({"uncal": "ramp"})]
    recipe = Recipe("detector1", entries, {"refpix": {"skip": True}})
    left = superstripes.put_together(exposure, recipe, loop.apply)
    assert [entry.name for entry in left.entries if isinstance(entry, Step)] == ["linearity"]
    exposure.load()
    return exposure


@pytest.mark.parametrize(("fast", "slow"), ORIENTATIONS)
def test_superstripes_are_put_together(fast, slow):
    exposure = together(taken(fast, slow, 14, **SUPER))
    place = stripes.Stripes([], fast, slow, 30, WIDTH)
    sci = place.to_detector(exposure.sci)
    assert sci.shape == (2, 4, 30, WIDTH) and exposure.groupdq.shape == exposure.sci.shape
    expected = np.arange(6, 36)[:, None] + 3000 * np.arange(4)[:, None, None] + 10_000 * np.arange(2)[:, None, None, None]
    np.testing.assert_array_equal(sci, np.broadcast_to(expected, sci.shape))
    assert exposure.pixeldq.shape == exposure.sci.shape[2:] and not exposure.pixeldq.any() and exposure.read_times is None
    head = exposure.header
    assert (head["NINTS"], head["INTSTART"], head["INTEND"], head["NGROUPS"]) == (2, 2, 3, 4)
    assert head[f"SUBSIZE{abs(slow)}"] == 30 and head[f"SUBSTRT{abs(slow)}"] == (7 if slow > 0 else limits.SIDE - 35)
    assert not stripes.is_striped(head) and "SSTR_NST" not in head
    times = exposure.tables["INT_TIMES"]
    assert times["integration_number"].tolist() == [2, 3] and exposure.tables["INT_TIMES_STRIPE"]["stripe_number"].tolist() == [1, 2, 3] * 2
    np.testing.assert_allclose([list(row)[1:4] for row in times], [[0, 1.4, 2.8], [3, 4.4, 5.8]])


def test_whole_images_have_empty_rows():
    exposure = together(taken(1, 2, 14, SUBARRAY="SUB60STRIPE_SOSS", **SUPER))
    assert exposure.sci.shape == (2, 4, limits.SIDE, WIDTH)
    empty = np.ones(limits.SIDE, bool)
    empty[6:36] = False
    assert np.isnan(exposure.sci[:, :, empty]).all() and np.isfinite(exposure.sci[:, :, ~empty]).all()
    np.testing.assert_array_equal(exposure.pixeldq == REFERENCE_PIXEL, np.broadcast_to(empty[:, None], (limits.SIDE, WIDTH)))


def test_a_stripe_that_is_read_again_gives_groups():
    exposure = together(taken(1, 2, 42, repeats=3, MSTR_RPT=1, **SUPER))
    assert exposure.sci.shape == (2, 12, 30, WIDTH) and exposure.header["NGROUPS"] == 12
    expected = np.arange(6, 36)[:, None] + 3000 * np.arange(12)[:, None, None]
    np.testing.assert_array_equal(exposure.sci[0], np.broadcast_to(expected, exposure.sci.shape[1:]))
    times = np.array([times.mean() for times in exposure.read_times])
    row = (WIDTH / 4 + 12) * 1e-5
    np.testing.assert_allclose(np.diff(times)[:5], np.array([14, 14, 15, 14, 14]) * row + np.array([0, 0, 1e-5, 0, 0]))


def test_different_stripes_of_a_frame_are_one_group():
    """Two stripes at each position: they fill the region side by side, no frame gives more than one group."""
    exposure = together(taken(1, 2, 24, **SUPER | {"MSTR_SK2": 20}))
    assert exposure.sci.shape == (2, 4, 60, WIDTH) and exposure.read_times is None
    np.testing.assert_array_equal(exposure.sci[0, 0], np.broadcast_to(np.arange(6, 66)[:, None], (60, WIDTH)))


def test_stripes_that_meet_at_one_position_give_no_more_groups():
    """With MSTR_ILV the second stripe stays where it is, and the second position reads the same rows in both."""
    exposure = together(taken(1, 2, 28, MSTR_RPT=1, MSTR_ILV=1, **SUPER))
    assert exposure.sci.shape == (2, 4, 30, WIDTH) and exposure.header["NGROUPS"] == 4
    np.testing.assert_array_equal(exposure.sci[0, 0], np.broadcast_to(np.arange(6, 36)[:, None], (30, WIDTH)))


def test_each_position_has_its_own_references(tmp_path):
    """The steps before see the pixels of their position: a mask's flags come to lie where its pixels are."""
    exposure = taken(1, 2, 14, **SUPER)
    bits = np.zeros((limits.SIDE, WIDTH), np.uint32)
    bits[17, 3], bits[100, 3], bits[2, 5] = DO_NOT_USE, DO_NOT_USE, DO_NOT_USE
    mask = make.reference_file(tmp_path / "mask.fits", "mask", {"DQ": bits, "DQ_DEF": make.dq_def(DO_NOT_USE=1)})
    recipe = Recipe("detector1", [Step("dq_init"), Step("refpix")], {"refpix": {"skip": True}}, {"mask": str(mask)})
    loop.run(recipe, exposure)
    exposure.load()
    assert np.argwhere(exposure.pixeldq).tolist() == [[11, 3]]
    assert (exposure.groupdq[:, :, 11, 3] == DO_NOT_USE).all() and np.count_nonzero(exposure.groupdq) == 8


@pytest.mark.parametrize("fast", [1, -1])
def test_striped_frames_are_corrected_by_their_reference_rows(fast):
    """Levels of each amplifier's odd and even columns, of each group, are removed, wherever the frame lies and is read from."""
    rng = np.random.default_rng(4)
    head = header(44, fast, 2, width=200, column=441, MSTR_RD1=24, MSTR_RD2=10, MSTR_SK1=20, MSTR_SK2=30)
    exposure = make.ramp_exposure(rng.normal(100, 0.5, (1, 3, 44, 200)))
    exposure.header = head
    level = rng.normal(0, 30, (1, 3, 4, 2))
    columns = (440 if fast > 0 else limits.SIDE - 640) + np.arange(200)
    exposure.sci += level[:, :, columns // 512, columns % 2][:, :, None, :: np.sign(fast)]
    exposure.pixeldq[:24] = REFERENCE_PIXEL
    exposure.pixeldq[2, ::3] |= DO_NOT_USE
    exposure.sci[:, :, 2, ::3] += 1000
    refpix.apply(exposure, References({}, head))
    assert abs(exposure.sci[:, :, 24:]).mean() < 0.45 and exposure.sci[:, :, 24:].std() < 0.55
