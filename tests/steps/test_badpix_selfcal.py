"""Pixels that stand out in every exposure: found where they were put, with and without other exposures, and as the peer does."""

import warnings

import numpy as np
import pytest

import make
from jwcal.kernels.images.median_along import median_along
from jwcal.model.exposure import Members
from jwcal.steps import badpix_selfcal
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import ConfigError, InputError, Skip
from peer import needs_peer, peer_python

SHAPE = 60, 50
FLAG = dq.DO_NOT_USE | dq.OTHER_BAD_PIXEL
HOT, COLD = [(20, 7), (33, 40), (45, 12)], [(25, 30), (50, 3)]


def image(seed, shape=SHAPE, edge=0):
    """A spectrum along the columns: a smooth sky, a star that is another one in each exposure, and the detector's own bad pixels."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    sci = 5 + 0.05 * y + 30 * np.exp(-0.5 * ((x - 5 - 6 * seed) / 1.5) ** 2) + rng.normal(0, 0.05, shape)
    for place in HOT:
        sci[place] += 8
    for place in COLD:
        sci[place] -= 4
    if edge:
        sci[:edge] = sci[-edge:] = np.nan
    exposure = make.image_exposure(sci, INSTRUME="MIRI", BUNIT="DN/s")
    exposure.header.sci["DISPAXIS"] = 2
    exposure.header.name = f"{seed}_rate.fits"
    return exposure


def with_members(exposure, **kinds):
    known = {f"{kind}{n}": one for kind, several in kinds.items() for n, one in enumerate(several)}
    exposure.members = Members([(one, kind) for kind, several in kinds.items() for one in several])
    assert len(exposure.members) == len(known)
    return exposure


def places(exposure):
    return {tuple(int(i) for i in place) for place in np.argwhere(exposure.dq & dq.OTHER_BAD_PIXEL)}


FRACTIONS = {"flagfrac_upper": 3.0 / 3000, "flagfrac_lower": 2.0 / 3000}


def test_bad_pixels_of_the_detector_are_found(tmp_path):
    exposure = with_members(image(1), background=[image(2), image(4)], selfcal=[image(6)])
    exposure.var_flat = np.ones(SHAPE, np.float32)
    before = exposure.sci.copy()
    badpix_selfcal.apply(exposure, **FRACTIONS)
    assert places(exposure) == {*HOT, *COLD}
    bad = exposure.dq == FLAG
    for name in badpix_selfcal.PLANES:
        assert np.isnan(getattr(exposure, name)[bad]).all()
    np.testing.assert_array_equal(exposure.sci[~bad], before[~bad])


def test_backgrounds_are_flagged_too_and_the_others_not():
    background, other = image(2), image(6)
    exposure = with_members(image(1), background=[background], selfcal=[other])
    both = badpix_selfcal.apply(exposure, **FRACTIONS, save_flagged_bkg=True)
    assert both[0] is exposure and places(background) == places(exposure) and not places(other)
    assert np.isnan(background.sci[HOT[0]]) and np.isfinite(other.sci).all()
    cube = both[1]
    assert cube.suffix == "badpix_selfcal_bkg" and cube.sci.shape == (1, *SHAPE)
    np.testing.assert_array_equal(cube.sci[0], background.sci)


def test_alone_only_if_it_is_asked_for():
    exposure = with_members(image(1))
    with pytest.raises(Skip, match="no background and no selfcal exposure"):
        badpix_selfcal.apply(exposure)
    badpix_selfcal.apply(exposure, force_single=True, **FRACTIONS)
    assert places(exposure)
    assert badpix_selfcal.SKIP


def test_a_pedestal_differs_from_exposure_to_exposure():
    """Without it, a lower exposure alone would be looked at: its hits would pass for the detector's."""
    low = image(2)
    low.sci -= 3
    low.sci[30, 20] += 5  # of a cosmic ray
    exposure = with_members(image(1), background=[low])
    badpix_selfcal.apply(exposure, None, [0, 60, 45, 50], **FRACTIONS)
    assert places(exposure) == {*HOT, *COLD}


def test_edges_are_no_outliers():
    """The peer fills up with zeros there."""
    exposure = with_members(image(1), background=[image(2), image(4)])
    for one in (exposure, *(m.source for m in exposure.members.every)):
        one.sci += 100
    badpix_selfcal.apply(exposure, **FRACTIONS)
    assert places(exposure) == {*HOT, *COLD}


def test_bad_input():
    exposure = with_members(image(1), background=[image(2, (64, 50))])
    with pytest.raises(InputError, match=r"\(64, 50\)"):
        badpix_selfcal.apply(exposure)
    with pytest.raises(ConfigError, match="kernel_size of badpix_selfcal is 4"):
        badpix_selfcal.apply(with_members(image(1)), force_single=True, kernel_size=4)
    nowhere = with_members(image(1))
    del nowhere.header["DISPAXIS"]
    with pytest.raises(InputError, match="DISPAXIS is missing"):
        badpix_selfcal.apply(nowhere, force_single=True)
    empty = with_members(image(1))
    empty.sci[...] = np.nan
    assert not places(badpix_selfcal.apply(empty, force_single=True))


@pytest.mark.parametrize("along", [True, False])
def test_running_median(along):
    rng = np.random.default_rng(2)
    sci = rng.normal(0, 1, (17, 12)).astype(np.float32)
    sci[rng.random(sci.shape) < 0.2] = np.nan
    sci[2:9, 5] = np.nan
    padded = np.pad(sci, 2, constant_values=np.nan)
    y, x = np.indices(sci.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = np.nanmedian([padded[y + 2 + d * along, x + 2 + d * (not along)] for d in range(-2, 3)], axis=0)
    np.testing.assert_array_equal(median_along(sci, 5, along_columns=along), expected.astype(np.float32))


PEER = """
from jwst.badpix_selfcal.badpix_selfcal import badpix_selfcal
for axis in (1, 2):
    out[str(axis)] = np.transpose(badpix_selfcal(images[axis - 1], 0.004, 0.01, 7, axis))
"""


@pytest.mark.parity
@needs_peer
def test_as_the_peer():
    """With edges that have no values, where both have the same pixels in every window that counts."""
    ours, images = {}, []
    for axis in (1, 2):
        exposure, other = image(1, (60, 60), 4), image(2, (60, 60), 4)
        for one in (exposure, other):
            if axis == 1:
                one.sci = np.ascontiguousarray(one.sci.T)
        images.append(np.fmin(exposure.sci, other.sci))
        exposure.header.sci["DISPAXIS"] = axis
        with_members(exposure, background=[other])
        badpix_selfcal.apply(exposure, flagfrac_lower=0.004, flagfrac_upper=0.01, kernel_size=7)
        ours[axis] = places(exposure)
    peers = peer_python(PEER, images=images)
    for axis, found in ours.items():
        assert found == {tuple(int(i) for i in place) for place in peers[str(axis)]} and len(found) > 20
