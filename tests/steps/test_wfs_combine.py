"""wfs_combine: the shift between two dithers is found, their mean is taken, and it does not matter which came first; as the peer has it."""

import json

import numpy as np
import pytest
from astropy.io import fits

import dithers
from jwcal.arithmetic.wfs.offsets import pointing_offset
from jwcal.model.exposure import Members
from jwcal.products import stored
from jwcal.steps import wfs_combine
from jwcal.vocabulary.errors import ConfigError, InputError
from peer import needs_peer, peer_python

SHAPE = 150, 170
AWAY = -0.70, 0.42  # arcsec on the sky between the two
HIDDEN = 1, -2  # pixels that the pointings do not tell
DNU = 1


def star(shape, x, y):
    """A defocused star: a ring with a spot, that looks the same nowhere else."""
    rows, columns = np.indices(shape, dtype=float)
    away = np.hypot(columns - x, rows - y)
    spot = np.hypot(columns - x - 6, rows - y + 4)
    return 300 * np.exp(-((away - 12) ** 2) / 8) + 500 * np.exp(-(spot**2) / 5)


def pair(folder, hidden=(0, 0), noise=0.5, away=AWAY):
    """Two dithers; the star of the second is `hidden` pixels from where the pointings have it."""
    steps = ((0.0, 0.0, 0.0), (*away, 0.0))
    first, second = (dithers.image(folder, number, step, shape=SHAPE, noise=False) for number, step in enumerate(steps))
    dx, dy = np.rint(pointing_offset(first.wcs, second.wcs, SHAPE))
    for number, (exposure, place) in enumerate(((first, (84, 77)), (second, (84 + dx + hidden[0], 77 + dy + hidden[1])))):
        random = np.random.default_rng(number)
        pixels = exposure.pixels[0]
        pixels.sci = (star(SHAPE, *place) + 3 + noise * random.normal(size=SHAPE)).astype("f4")
        pixels.err = random.uniform(0.4, 0.6, SHAPE).astype("f4")
        pixels.dq = np.zeros(SHAPE, "u4")
        if noise:
            bad = random.random(SHAPE)
            pixels.dq[bad < 0.02] = DNU + 1024
            pixels.sci[bad < 0.01] = pixels.err[bad < 0.01] = np.nan
            pixels.dq[(bad > 0.1) & (bad < 0.15)] = 4  # jumps: good
            pixels.dq[70:73, 80:84] = DNU  # in both
    return [first, second], (int(dx), int(dy))  # with AWAY: 26, 6


def members(exposures, **about):
    return Members([(exposure, "science") for exposure in exposures], name="jw01234-o001_t001_nircam_f200w-{suffix}-01", **about)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return pair(tmp_path_factory.mktemp("clean"), noise=0)


@pytest.fixture(scope="module")
def hidden(tmp_path_factory):
    return pair(tmp_path_factory.mktemp("hidden"), HIDDEN)


def test_star_of_both_is_one(clean):
    exposures, (dx, dy) = clean
    assert dx > 5 and dy > 5
    for error, expected in (("mean", 0.5), ("quadrature", np.sqrt(0.5) * 0.5)):
        for exposure in exposures:
            exposure.err[:] = 0.5
        result = wfs_combine.apply(members(exposures), error=error)
        assert result.suffix == "wfscmb" and [name for name, _ in result.pixels[0].planes()] == ["sci", "err", "dq"]
        overlap = np.s_[: SHAPE[0] - dy, : SHAPE[1] - dx]
        truth = star(SHAPE, 84, 77) + 3
        np.testing.assert_allclose(result.sci[overlap], truth[overlap], rtol=1e-5)
        np.testing.assert_allclose(result.err[overlap], expected, rtol=1e-6)


def test_hidden_shift_is_found(hidden):
    """The star is off by whole pixels: doubled without refinement, sharp with it; told in the header."""
    exposures, (dx, dy) = hidden
    first = exposures[0]
    good = (first.dq & DNU) == 0
    peaks = {}
    for refine in (False, True):
        result = wfs_combine.apply(members(exposures), do_refine=refine)
        inner = np.s_[20:-20, 30:-30]
        peaks[refine] = np.std((result.sci - first.sci)[inner][good[inner]])
    assert peaks[True] < 0.6 < 10 < peaks[False]  # noise of the difference: 0.5 / sqrt(2)
    assert f"wfs_combine: second image shifted by ({-dx - HIDDEN[0]}, {-dy - HIDDEN[1]}) pixels" in result.header.primary["HISTORY"]


@pytest.mark.parametrize("refine", [False, True])
@pytest.mark.parametrize("away", [AWAY, (0.7, -0.42)])
def test_order_of_the_pair_does_not_matter(tmp_path, refine, away):
    exposures, _ = pair(tmp_path, HIDDEN, away=away)
    one, other = (wfs_combine.apply(members(order), do_refine=refine) for order in (exposures, exposures[::-1]))
    for plane in ("sci", "err", "dq"):
        np.testing.assert_array_equal(getattr(one, plane), getattr(other, plane))
    assert one.header["FILENAME"] == other.header["FILENAME"]


def test_order_does_not_matter_along_one_column(clean):
    """The peer decides by x alone; with equal x we decide by y."""
    first, second = clean[0]
    twin = first.derive([wfs_combine.Pixels(sci=first.sci + 1, err=first.err, dq=first.dq)], "cal")
    twin.header["FILENAME"] = "twin"

    class Moved:
        """A WCS that sees the first one's sky 12 rows further."""

        forward_transform = staticmethod(lambda x, y: first.wcs.forward_transform(x, y - 12))

        @staticmethod
        def backward_transform(ra, dec):
            x, y = first.wcs.backward_transform(ra, dec)
            return x, y + 12

    twin.pixels[0].wcs = Moved
    one, other = (wfs_combine.apply(members(order)) for order in ([first, twin], [twin, first]))
    assert one.header["FILENAME"] == other.header["FILENAME"] == first.header["FILENAME"]
    np.testing.assert_array_equal(one.sci, other.sci)


def test_without_flip_the_first_stays(clean):
    exposures, _ = clean
    for order in (exposures, exposures[::-1]):
        result = wfs_combine.apply(members(order), flip_dithers=False)
        assert result.header["FILENAME"] == order[0].header["FILENAME"]
        assert result.wcs is order[0].wcs


def test_only_do_not_use_masks(hidden):
    exposures, (dx, dy) = hidden
    first, second = exposures
    before = [(e.sci.copy(), e.err.copy(), e.dq.copy()) for e in exposures]
    result = wfs_combine.apply(members(exposures), outside="first")
    moved = {name: np.full(SHAPE, fill, getattr(second, name).dtype) for name, fill in (("sci", 0), ("err", 0), ("dq", DNU))}
    for y, x in np.ndindex(*SHAPE):
        if 0 <= y + dy < SHAPE[0] and 0 <= x + dx < SHAPE[1]:
            for name, plane in moved.items():
                plane[y, x] = getattr(second, name)[y + dy, x + dx]
    good1, good2 = (first.dq & DNU) == 0, (moved["dq"] & DNU) == 0
    assert 100 < np.sum(good1 & good2 & (first.dq == 4))  # jumps take part
    for name in ("sci", "err"):
        a, b = getattr(first, name), moved[name]
        expected = np.where(good1 & good2, (a + b) / 2, np.where(good1, a, np.where(good2, b, 0)))
        np.testing.assert_allclose(getattr(result, name), expected, rtol=1e-6)
    neither = ~good1 & ~good2
    assert neither.any() and (result.dq[neither] & DNU).all() and not (result.dq[~neither] & DNU).any()
    np.testing.assert_array_equal(result.dq[good1], first.dq[good1])
    for exposure, arrays in zip(exposures, before, strict=True):  # the members stay as they were
        for name, array in zip(("sci", "err", "dq"), arrays, strict=True):
            np.testing.assert_array_equal(getattr(exposure, name), array)


def test_outside_the_second_image(clean):
    """The peer halves what only one image sees; with outside=first it is whole."""
    exposures, (dx, dy) = clean
    first = exposures[0]
    x = SHAPE[1] - 1  # the shifted image ends before the last column
    halved, whole = (wfs_combine.apply(members(exposures), outside=outside) for outside in ("halved", "first"))
    np.testing.assert_allclose(halved.sci[:, x], first.sci[:, x] / 2, rtol=1e-6)
    np.testing.assert_array_equal(whole.sci[:, x], first.sci[:, x])
    np.testing.assert_array_equal(whole.err[:, x], first.err[:, x])


def test_unflagged_nan_is_no_zero(clean):
    planes = [dict(exposure.pixels[0].planes()) for exposure in clean[0]]
    planes[0]["sci"] = planes[0]["sci"].copy()
    planes[0]["sci"][77, 72] = np.nan
    holed = [e.derive([wfs_combine.Pixels(**p, wcs=e.wcs)], "cal") for e, p in zip(clean[0], planes, strict=True)]
    assert wfs_combine.apply(members(holed)).sci[77, 72] == pytest.approx(star(SHAPE, 84, 77)[77, 72] + 3, rel=1e-5)


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 3])
def test_not_a_pair(clean, count):
    exposures = (clean[0] * 2)[:count]
    with pytest.raises(InputError, match=f"asn.json: the association has {count} science member"):
        wfs_combine.apply(members(exposures, table="asn.json"))


def test_other_members_do_not_count(clean):
    both = Members([(exposure, "science") for exposure in clean[0]] + [(clean[0][0], "background")])
    assert wfs_combine.apply(both).suffix == "wfscmb"


def test_bad_pairs(clean, tmp_path):
    first, second = clean[0]
    small = dithers.image(tmp_path, 1, (*AWAY, 0.0), shape=(100, 170), noise=False)
    with pytest.raises(InputError, match="have 170 x 150 and 170 x 100 pixels"):
        wfs_combine.apply(members([first, small]))
    far = dithers.image(tmp_path, 1, (9.0, 9.0, 0.0), shape=SHAPE, noise=False)
    with pytest.raises(InputError, match="they don't overlap"):
        wfs_combine.apply(members([first, far]))
    lost = first.derive([wfs_combine.Pixels(sci=first.sci, err=first.err, dq=first.dq)], "cal")
    with pytest.raises(InputError, match="Run assign_wcs"):
        wfs_combine.apply(members([lost, second]))
    with pytest.raises(ConfigError, match="blur_size of wfs_combine is 90"):
        wfs_combine.apply(members([first, second]), do_refine=True, blur_size=90)
    blank = first.derive([wfs_combine.Pixels(sci=first.sci, err=first.err, dq=np.ones(SHAPE, "u4"), wcs=first.wcs)], "cal")
    with pytest.raises(InputError, match="all of its pixels"):
        wfs_combine.apply(members([blank, second]), do_refine=True, flip_dithers=False)


# --- the peer --------------------------------------------------------------------------------------------------------

CASES = {
    "plain": {},
    "refined": {"do_refine": True},
    "kept": {"flip_dithers": False},
    "kept refined": {"flip_dithers": False, "do_refine": True, "psf_size": 50, "blur_size": 8, "n_size": 3},
}
_PEER = """
import json
from jwst.wfs_combine import WfsCombineStep
from astropy.io import fits
for name, options in json.loads(str(cases)).items():
    for order, table in enumerate(tables):
        result = WfsCombineStep(**options).process(str(table))[0]
        for plane in ("data", "err", "dq"):
            out[f"{name}|{order}|{plane}"] = np.asarray(getattr(result, plane))
        out[f"{name}|{order}|wcs"] = result.meta.wcs is not None
    result.save(str(folder) + f"/{name.replace(' ', '_')}_wfscmb.fits")
"""


@needs_peer
@pytest.mark.parity
def test_as_the_peer(hidden, tmp_path):
    exposures, _ = hidden
    files = [stored.write(exposure, tmp_path / f"jw01234001001_02101_{n + 1:05d}_nrca1_cal.fits") for n, exposure in enumerate(exposures)]
    tables = []
    for order in (files, files[::-1]):
        tables.append(tmp_path / f"jw01234-o001_wfs-image3_{len(tables) + 1:05d}_asn.json")
        science = [{"expname": str(path), "exptype": "science"} for path in order]
        asn = {"asn_type": "wfs-image3", "asn_pool": "pool", "asn_id": "o001", "program": "01234", "asn_rule": "r"}
        tables[-1].write_text(json.dumps({**asn, "products": [{"name": "jw01234-o001_t001_nircam_f200w-{suffix}-01", "members": science}]}))
    theirs = peer_python(_PEER, cases=json.dumps(CASES), tables=[str(t) for t in tables], folder=str(tmp_path))
    for name, options in CASES.items():
        for order, paths in enumerate((files, files[::-1])):
            ours = wfs_combine.apply(Members([(path, "science") for path in paths], stored.read), **options)
            for plane, array in (("data", ours.sci), ("err", ours.err), ("dq", ours.dq)):
                expected = theirs[f"{name}|{order}|{plane}"]
                assert array.dtype == expected.dtype.newbyteorder("=")
                np.testing.assert_array_equal(array, expected, err_msg=f"{name} {order} {plane}")
            assert ours.wcs is not None and not theirs[f"{name}|{order}|wcs"]  # theirs is lost on the way
        with fits.open(tmp_path / f"{name.replace(' ', '_')}_wfscmb.fits") as product:
            _same_file(ours, product)


def _same_file(ours, product):
    made = stored.hdus(ours, "x_wfscmb.fits")
    assert [hdu.name for hdu in made] == [hdu.name for hdu in product]
    own = {"DATE", "FILENAME", "CAL_VER", "CAL_VCS", "COMMENT", "HISTORY", "", "PROVFILE", "S_WFSCOM", "ASNPOOL", "ASNTABLE"}
    own |= {"SIPIVERR", "SIPMXERR", "AP_1_0", "AP_0_1", "BP_1_0", "BP_0_1"}  # linear terms of the inverse SIP, which the peer loses
    for extension in (0, "SCI", "ERR"):
        mine, theirs = made[extension].header, product[extension].header
        assert set(mine) - own == set(theirs) - own
        for keyword in set(mine) - own:
            assert mine[keyword] == (pytest.approx(theirs[keyword], rel=1e-12) if isinstance(mine[keyword], float) else theirs[keyword]), (
                keyword
            )
