"""The target's place from a confirmation image: where it was put, whatever moved between the exposures; and as the peer finds it."""

import numpy as np
import pytest

import lrs
from jwcal.arithmetic.spectra_calibration import target_place
from jwcal.model.exposure import Members
from jwcal.model.references import References
from jwcal.steps import assign_wcs, srctype, targ_centroid
from jwcal.vocabulary.errors import InputError, Skip
from peer import needs_peer, peer_python

SHAPE = 400, 420
X0, Y0 = lrs.IMX - 1, lrs.IMY - 1
WRONG = 0.6, -0.4  # pixels by which the target missed its place


def star(shape, x, y, width=1.3):
    rows, columns = np.indices(shape)
    return 5 + 500 * np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / width**2)


def confirmation(start, shape, away):
    """An image of the target where the slit would be, dithered by so many arcsec."""
    made = lrs.exposure(False, shape=shape, EXP_TYPE="MIR_TACONFIRM", XOFFSET=away[0], YOFFSET=away[1])
    head = made.header
    head["FILTER"] = "F560W"
    for axis, first in enumerate(start, start=1):
        head[f"SUBSTRT{axis}"], head[f"SUBSIZE{axis}"] = first, shape[2 - axis]
    head.name = "confirmation_rate.fits"
    return made


def pair(folder, dither=(0.0, 0.0), before=(0.0, 0.0), start=(1, 1), shape=SHAPE, missed=WRONG):
    """A spectrum, and a confirmation image of the target that missed its place; references."""
    exposure, refs = lrs.small(
        folder, False, shape=SHAPE, SUBSIZE1=SHAPE[1], SUBSIZE2=SHAPE[0], XOFFSET=dither[0], YOFFSET=dither[1], SRCTYAPT="POINT"
    )
    image = confirmation(start, shape, before)
    for one in (exposure, image):  # the reference point is the slit's
        one.header["V2_REF"], one.header["V3_REF"] = map(float, refs["distortion"].tree["model"](X0, Y0))
    assign_wcs.apply(exposure, refs, "lrs_slit")
    srctype.apply(exposure)
    wcs = target_place.image_wcs(image, refs)
    (x, y), _ = target_place.dithered(image.header, wcs)
    image.sci = star(shape, x + missed[0], y + missed[1]).astype(np.float32)
    exposure.members = Members([(image, "target_acquisition")])
    return exposure, image, refs


def planned(exposure):
    """Where the target should be in the spectrum."""
    wavelength = target_place.middle_wavelength(exposure)
    return target_place.dithered(exposure.header, exposure.wcs, wavelength)


@pytest.mark.parametrize(
    ("dither", "before", "start", "shape"),
    [
        ((0.0, 0.0), (0.0, 0.0), (1, 1), SHAPE),
        ((1.9, 0.0), (0.0, 0.0), (1, 1), SHAPE),
        ((-1.9, 0.0), (0.8, 0.0), (1, 1), SHAPE),
        ((0.0, 0.0), (0.0, 0.0), (251, 231), (130, 120)),  # the image of another subarray
    ],
)
def test_target_that_missed_its_place(tmp_path, dither, before, start, shape):
    """The exposures look at the same reference point: the target is off by as much in the spectrum, dithers apart."""
    exposure, image, refs = pair(tmp_path, dither, before, start, shape)
    targ_centroid.apply(exposure, refs)
    (x, y), moved = planned(exposure)
    (x_image, y_image), moved_image = target_place.dithered(image.header, target_place.image_wcs(image, refs))
    header = exposure.header.sci
    assert (header["TA_XPOS"], header["TA_YPOS"]) == pytest.approx((x_image + WRONG[0], y_image + WRONG[1]), abs=2e-3)
    reference = x_image - moved_image[0] + start[0] - 1, y_image - moved_image[1] + start[1] - 1
    assert reference == pytest.approx((X0, Y0), abs=0.01)  # in pixels of the full frame, and so of the spectrum
    expected = X0 + moved[0] + WRONG[0], Y0 + moved[1] + WRONG[1]
    assert (header["SRCXPOS"], header["SRCYPOS"]) == pytest.approx(expected, abs=0.012)


def test_bad_pixels_beside_the_target(tmp_path):
    """NaN of a flat around the slit do not take the target away."""
    exposure, image, refs = pair(tmp_path)
    whole = targ_centroid.apply(exposure, refs).header.sci["SRCXPOS"]
    image.sci[::7] = np.nan
    assert targ_centroid.apply(exposure, refs).header.sci["SRCXPOS"] == pytest.approx(whole, abs=0.01)


def test_no_target(tmp_path):
    exposure, image, refs = pair(tmp_path)
    (x, y), _ = target_place.dithered(image.header, target_place.image_wcs(image, refs))
    exposure.header.sci.pop("SRCXPOS", None)
    image.sci[int(y) - 30 : int(y) + 30] = np.nan
    with pytest.raises(Skip, match="0 pixels with a value where the target should be"):
        targ_centroid.apply(exposure, refs)
    image.sci = star(SHAPE, x + 25, y).astype(np.float32)
    with pytest.raises(Skip, match="no target within 10 pixels|no Gaussian fits"):
        targ_centroid.apply(exposure, refs)
    exposure.members = Members()
    with pytest.raises(Skip, match="has no confirmation image"):
        targ_centroid.apply(exposure, refs)
    assert "SRCXPOS" not in exposure.header


def test_bad_input(tmp_path):
    exposure, image, refs = pair(tmp_path)
    whole, exposure.members = exposure.members, Members([(exposure, "target_acquisition")])
    with pytest.raises(InputError, match="a confirmation image is no spectrum"):
        targ_centroid.apply(exposure, refs)
    exposure.members = whole
    with pytest.raises(Skip, match="there is no distortion reference"):
        targ_centroid.apply(exposure, References({}, exposure.header))
    del image.header["XOFFSET"]
    with pytest.raises(InputError, match="XOFFSET is missing"):
        targ_centroid.apply(exposure, refs)
    image.sci = np.zeros((2, *SHAPE), np.float32)
    with pytest.raises(InputError, match="a confirmation image has two axes"):
        targ_centroid.apply(exposure, refs)
    assert targ_centroid.SKIP


PEER = """
from jwst.targ_centroid.targ_centroid import center_from_ta_image
(x, y), (own_x, own_y) = center_from_ta_image(image, (float(at[0]), float(at[1])), (int(start[0]), int(start[1])))
out["found"] = [x, y, own_x, own_y]
"""


@pytest.mark.parity
@needs_peer
def test_centre_as_the_peer():
    image = star((130, 120), 52.3, 61.8) + np.random.default_rng(1).normal(0, 3, (130, 120))
    image[60, 50] = np.nan
    found = peer_python(PEER, image=image, at=[50.2, 62.6], start=[251, 231])["found"]
    np.testing.assert_allclose(target_place.centroid(image, 50.2, 62.6), found[2:], rtol=1e-9)
