"""assign_mtwcs: a target that moves stays where the header says, and as the peer moves it."""

import numpy as np
import pytest
from astropy.wcs import WCS

import starfields
from jwcal.arithmetic.wcs.kinds import told
from jwcal.model.exposure import Members
from jwcal.products import stored
from jwcal.steps import assign_mtwcs, resample, tweakreg
from jwcal.vocabulary.errors import InputError, Skip
from peer import needs_peer, peer_python

MOTION = 2.0  # arcsec east an exposure, and half of it north


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("references")


def tracked(folder, at=starfields.RA):
    """Four exposures that follow a point source."""
    made = []
    for number in range(4):
        step = (MOTION * number, MOTION / 2 * number, 0.0)
        here = (at - starfields.RA) * 3600 * np.cos(np.radians(starfields.DEC))
        image = starfields.exposure(folder, number, (step[0] + here, step[1], 0.0), shape=(120, 120))
        ra = (at + step[0] / 3600 / np.cos(np.radians(starfields.DEC))) % 360
        dec = starfields.DEC + step[1] / 3600
        image.header.sci["MT_RA"], image.header.sci["MT_DEC"] = ra, dec
        image.header["TARG_RA"], image.header["TARG_DEC"] = ra, dec
        starfields.add_stars(image, image.wcs, np.array([ra]), np.array([dec]))
        made.append(image)
    return made


@pytest.mark.parametrize("at", [starfields.RA, 0.0005, 359.9995])
def test_the_target_is_where_the_header_says(folder, at):
    images = tracked(folder, at)
    assign_mtwcs.apply(starfields.members(images))
    result = resample.apply(images)
    ra, dec = result.header["TARG_RA"], result.header["TARG_DEC"]
    assert result.header["MT_AVRA"] == ra
    rows, columns = np.indices(result.sci.shape)
    light = np.nan_to_num(result.sci)
    found = np.sum(columns * light) / light.sum(), np.sum(rows * light) / light.sum()
    np.testing.assert_allclose(found, result.wcs.invert(ra, dec), atol=0.02)
    assert light.max() > 2  # one source, not four


def test_the_frame_can_be_aligned(folder):
    """tweakreg corrects the pointing below the moving frame."""
    steps = ((0.0, 0.0, 0.0), (0.5, -0.3, 0.0))
    images = starfields.images(folder, steps, (steps[0], (0.55, -0.33, 0.01)))
    for image in images:
        image.header.sci["MT_RA"], image.header.sci["MT_DEC"] = starfields.RA, starfields.DEC
    members = starfields.members(images)
    assign_mtwcs.apply(members)
    tweakreg.apply(members, sip_approx=False)
    assert images[1].wcs.available_frames == ["detector", "v2v3", "v2v3vacorr", "v2v3corr", "world", "moving_target"]
    np.testing.assert_allclose(images[1].wcs(40.0, 250.0), images[1].truth(40.0, 250.0), atol=1 / 3.6e6)


def test_keywords_follow(folder):
    images = tracked(folder)
    for image in images:
        told.approximate(image, image.wcs, max_error=0.01, degree=None, max_inverse_error=0.01, inverse_degree=None, npoints=12)
    before = [image.header["S_REGION"] for image in images]
    assign_mtwcs.apply(starfields.members(images))
    for image, was in zip(images, before, strict=True):
        assert image.wcs.available_frames[-1] == "moving_target"
        corner = image.wcs(-0.5, -0.5, with_bounding_box=False)
        said = [float(word) for word in image.header["S_REGION"].split()[2:]]
        np.testing.assert_allclose(said[:2], corner, atol=1e-9)
        assert image.header["S_REGION"] != was
        by_keywords = WCS(stored.hdus(image, "made_cal.fits")["SCI"].header).all_pix2world(40.0, 70.0, 0)
        np.testing.assert_allclose(by_keywords, image.wcs(40.0, 70.0), atol=0.02 * 0.03 / 3600)


def test_what_is_missing_is_said(folder):
    images = tracked(folder)
    del images[2].header["MT_RA"]
    with pytest.raises(InputError, match="MT_RA") as raised:
        assign_mtwcs.apply(starfields.members(images))
    assert images[2].name in str(raised.value)
    images = tracked(folder)
    images[1].wcs = None
    with pytest.raises(InputError, match="gWCS"):
        assign_mtwcs.apply(starfields.members(images))
    with pytest.raises(Skip):
        assign_mtwcs.apply(starfields.members([]))
    images = tracked(folder)
    assign_mtwcs.apply(starfields.members(images))
    with pytest.raises(Skip, match="already"):
        assign_mtwcs.apply(starfields.members(images))


PEER = """
import os, glob
os.environ.update(CRDS_PATH="/nowhere", CRDS_SERVER_URL="https://crds-serverless-mode.stsci.edu", CRDS_MODE="local")
from jwst.assign_mtwcs.moving_target_wcs import assign_moving_target_wcs
from jwst.datamodels import ModelLibrary
library = assign_moving_target_wcs(ModelLibrary(sorted(glob.glob(str(folder) + "/*_cal.fits"))))
x, y = np.meshgrid(np.linspace(0, 119, 9), np.linspace(0, 119, 9))
with library:
    for number, model in enumerate(library):
        out[f"sky{number}"] = np.array(model.meta.wcs(x, y))
        out[f"region{number}"] = model.meta.wcsinfo.s_region
        out[f"mean{number}"] = np.array([model.meta.wcsinfo.mt_avra, model.meta.wcsinfo.mt_avdec])
        library.shelve(model, modify=False)
"""


@needs_peer
@pytest.mark.parity
def test_as_the_peer(folder, tmp_path):
    images = tracked(folder)
    for image in images:
        stored.write(image, tmp_path / image.name)
    peer = peer_python(PEER, folder=str(tmp_path))
    members = Members([(tmp_path / image.name, "science") for image in images], stored.read)
    assign_mtwcs.apply(members)
    x, y = np.meshgrid(np.linspace(0, 119, 9), np.linspace(0, 119, 9))
    for number, shell in enumerate(members.shells()):
        np.testing.assert_allclose(shell.wcs(x, y), peer[f"sky{number}"], rtol=0, atol=1e-11)
        np.testing.assert_allclose([shell.header["MT_AVRA"], shell.header["MT_AVDEC"]], peer[f"mean{number}"], atol=1e-12)
        its = [float(word) for word in str(peer[f"region{number}"]).split()[2:]]
        np.testing.assert_allclose([float(word) for word in shell.header["S_REGION"].split()[2:]], its, atol=2e-9)
