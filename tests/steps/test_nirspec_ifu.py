"""NIRSpec's slices and its images: the path of light both ways, the simulator's own optics, bad input, and the peer."""

import json

import asdf
import numpy as np
import pytest

import nirspec
from jwcal.arithmetic.wcs.pixel_coordinates import wavelength_and_sky
from jwcal.model.references import References
from jwcal.simulate.nirspec.optics import Optics
from jwcal.simulate.nirspec.references import write_references
from jwcal.steps import assign_wcs, msa_flagging
from jwcal.vocabulary.dq import MSA_FAILED_OPEN
from jwcal.vocabulary.errors import InputError, ReferenceError, Skip
from nirspec import needs_real
from peer import needs_peer, peer_python

pytestmark = needs_real
TYPES = (
    "camera",
    "collimator",
    "fore",
    "fpa",
    "ote",
    "disperser",
    "msa",
    "wavelengthrange",
    "ifufore",
    "ifupost",
    "ifuslicer",
    "chromcorr",
)
IFU = {"EXP_TYPE": "NRS_IFU", "OPMODE": "IFU", "FXD_SLIT": "NONE"}
G140M = {"GRATING": "G140M", "FILTER": "F100LP", "GWA_TILT": None}
IMAGE = {"EXP_TYPE": "NRS_IMAGE", "GRATING": "MIRROR", "FILTER": "F110W", "FXD_SLIT": "NONE", "OPMODE": "IMAGE", "GWA_TILT": None}


def given(folder, mode="ifu", shape=(2048, 2048), **keywords):
    exposure = nirspec.exposure(shape, **{**(IFU if mode == "ifu" else IMAGE), **keywords})
    grating = exposure.header["GRATING"]
    files = write_references(
        folder / grating, mode="ifu", grating=grating, real=nirspec.REAL, types=(*TYPES, "msaoper"), failed=((3, 50, 60),)
    )
    return exposure, files


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ifu")


@pytest.fixture(scope="module")
def prism(folder):
    exposure, files = given(folder)
    return assign_wcs.apply(exposure, References(files, exposure.header), "nrs_slices"), files


def some(labels, every=97):
    y, x = np.nonzero(labels)
    return x[::every], y[::every]


def test_regions_and_wavelengths(prism):
    exposure, _ = prism
    labels = exposure.only.extra["REGIONS"]
    assert labels.dtype == np.int32 and set(np.unique(labels)) == set(range(31))
    ra, dec, wavelength = wavelength_and_sky(exposure.wcs, labels.shape)
    np.testing.assert_array_equal(np.isfinite(wavelength), labels > 0)
    np.testing.assert_allclose(exposure.about["slits"].wavelengths(), wavelength, rtol=1e-6)
    assert exposure.header["DISPAXIS"] == 1 and exposure.header["S_REGION"].startswith("POLYGON ICRS  16")
    corners = np.array(exposure.header["S_REGION"].split()[2:], float).reshape(4, 2)
    assert corners[:, 0].min() == pytest.approx(np.nanmin(ra), abs=1e-9) and corners[:, 1].max() == pytest.approx(np.nanmax(dec), abs=1e-9)


def test_there_and_back(prism):
    exposure, _ = prism
    x, y = some(exposure.only.extra["REGIONS"])
    back = exposure.wcs.invert(*exposure.wcs(x, y))
    assert np.abs(back[0] - x).max() < 0.05 and np.abs(back[1] - y).max() < 0.05


def test_light_of_a_slice_falls_where_the_simulator_has_it(prism):
    """Optics that were written apart from these, from the same references: a place of a slice at a wavelength, on the detector."""
    exposure, files = prism
    tilts = exposure.header["GWA_XTIL"], exposure.header["GWA_YTIL"]
    optics = Optics.of(files, tilts=tilts, temperature=exposure.header["GWA_TILT"], recession=exposure.header["VELOSYS"])
    for number in (0, 7, 29):
        path = exposure.about["slits"].paths[number]
        for wavelength in (1e-6, 3e-6, 5e-6):
            x, y = path.pixels(0.2, np.array([wavelength]))
            theirs = optics.to_pixel(optics.slice(number), 0.0, 0.2, wavelength * 1e6, "NRS1")
            assert (float(x[0]), float(y[0])) == pytest.approx(tuple(float(v) for v in theirs[:2]), abs=2e-3)


def test_a_wcs_by_slice(folder, prism):
    exposure, files = given(folder)
    by_slice = assign_wcs.apply(exposure, References(files, exposure.header), "nrs_slices", nrs_ifu_slice_wcs=True)
    labels = by_slice.only.extra["REGIONS"]
    x, y = (axis.astype(float)[::50] for axis in np.nonzero(labels == 4)[::-1])
    found = by_slice.wcs(x, y, 3)
    np.testing.assert_allclose(found[:3], prism[0].wcs(x, y), rtol=1e-12)


def test_a_lamp(folder):
    exposure, files = given(folder, EXP_TYPE="NRS_AUTOWAVE", FILTER="OPAQUE", LAMP="LINE1", GRATING="G140M")
    lamp = assign_wcs.apply(exposure, References({**files, "fore": "N/A", "ote": "N/A"}, exposure.header), "nrs_slices")
    x, y = some(lamp.only.extra["REGIONS"], 997)
    place = lamp.wcs(x, y)
    np.testing.assert_allclose(place[2], lamp.about["slits"].wavelengths()[y, x], rtol=1e-6)
    back = lamp.wcs.invert(*place)
    assert lamp.wcs.output_frame.name == "msa_frame" and np.abs(back[0] - x).max() < 0.2  # at the middle wavelength's distortion


def test_leakage_of_failed_open_shutters(prism):
    exposure, files = given_again(prism)
    msa_flagging.apply(exposure, References(files, exposure.header))
    assert ((exposure.dq & MSA_FAILED_OPEN) != 0).sum() > 1000


def given_again(prism):
    return nirspec.exposure(**IFU), prism[1]


def test_bad_input(folder, prism):
    files = prism[1]
    exposure = nirspec.exposure(**{**IFU, **G140M, "DETECTOR": "NRS2"})
    with pytest.raises(InputError, match="no light of the slices falls on NRS2 with G140M"):
        assign_wcs.apply(
            exposure, References({**files, "disperser": given(folder, **G140M)[1]["disperser"]}, exposure.header), "nrs_slices"
        )
    exposure = nirspec.exposure(**IFU)
    with pytest.raises(Skip, match="ifufore reference is N/A"):
        assign_wcs.apply(exposure, References({**files, "ifufore": "N/A"}, exposure.header), "nrs_slices")
    with pytest.raises(ReferenceError, match="ifuslicer"):
        assign_wcs.apply(exposure, References({**files, "ifuslicer": files["ifufore"]}, exposure.header), "nrs_slices")


# --- images ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def image(folder):
    exposure, files = given(folder, "image")
    return assign_wcs.apply(exposure, References(files, exposure.header), "nrs_imaging"), files


def test_an_image_there_and_back(image):
    exposure, _ = image
    y, x = np.mgrid[300:1800:5j, 300:1800:5j]
    back = exposure.wcs.invert(*exposure.wcs(x, y))
    assert np.abs(back[0] - x).max() < 0.2 and np.abs(back[1] - y).max() < 0.2
    assert exposure.wcs.available_frames == ["detector", "sca", "gwa", "msa", "oteip", "v2v3", "v2v3vacorr", "world"]
    assert exposure.header["S_REGION"].startswith("POLYGON ICRS") and "CTYPE1" in exposure.header


def test_an_image_of_a_lamp_ends_at_the_shutters(folder):
    exposure, files = given(folder, "image", FILTER="OPAQUE", LAMP="TEST", EXP_TYPE="NRS_LAMP")
    lamp = assign_wcs.apply(exposure, References(files, exposure.header), "nrs_imaging")
    x, y, wavelength = lamp.wcs(1000.0, 1000.0)
    assert lamp.wcs.output_frame.name == "msa" and wavelength == pytest.approx(2.95) and abs(x) < 0.1 and abs(y) < 0.1


# --- the peer ----------------------------------------------------------------------------------------------------------

PEER = """
import os
os.environ.update(CRDS_PATH=str(folder), CRDS_SERVER_URL="https://127.0.0.1:9", STPIPE_DISABLE_CRDS_STEPPARS="true")
from stpipe.step import Step
current = {}
def reference(self, data, kind):
    self._reference_files_used.append((kind, current.get(kind, "N/A")))
    return current.get(kind, "N/A")
Step.get_reference_file = reference
from jwst.assign_wcs import AssignWcsStep
from stdatamodels.jwst import datamodels
import asdf
for case, (path, refs, ours, x, y) in json.loads(str(cases)).items():
    current.clear()
    current.update(refs)
    kind = datamodels.IFUImageModel if "ifu" in case else datamodels.ImageModel
    model = AssignWcsStep().process(kind(path))
    x, y = np.array(x), np.array(y)
    out[f"{case} wcs"] = np.array(model.meta.wcs(x, y))
    if "ifu" in case:
        out[f"{case} regions"] = np.array(model.regions)
        out[f"{case} back"] = np.array(model.meta.wcs.invert(*out[f"{case} wcs"]))
    out[f"{case} region"] = np.array(str(model.meta.wcsinfo.s_region))
    with asdf.open(ours) as file:
        out[f"{case} ours read"] = np.array(file.tree["wcs"](x, y))
"""
CASES = {
    "ifu prism": ("ifu", "nrs_slices", {}),
    "ifu grating": ("ifu", "nrs_slices", {**G140M, "VELOSYS": None}),
    "image": ("image", "nrs_imaging", {}),
}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("peer")
    ours, cases = {}, {}
    for case, (mode, kind, keywords) in CASES.items():
        exposure, files = given(folder, mode, **keywords)
        path = nirspec.save(exposure, folder / f"{case.replace(' ', '')}_rate.fits")
        made = ours[case] = assign_wcs.apply(exposure, References(files, exposure.header), kind)
        written = path.with_suffix(".asdf")
        asdf.AsdfFile({"wcs": made.wcs}).write_to(written)
        if mode == "ifu":
            x, y = some(made.only.extra["REGIONS"], 997)
        else:
            y, x = (axis.ravel() for axis in np.mgrid[300:1800:5j, 300:1800:5j])
        cases[case] = (str(path), {kind: str(file) for kind, file in files.items()}, str(written), x.tolist(), y.tolist())
    return ours, peer_python(PEER, folder=str(folder), cases=json.dumps(cases)), cases


@needs_peer
@pytest.mark.parity
@pytest.mark.full
@pytest.mark.parametrize("case", CASES)
def test_same_as_the_peer(both, case):
    (ours, theirs, _), x, y = both, *(np.array(axis) for axis in both[2][case][3:])
    wcs = np.array(ours[case].wcs(x, y))
    np.testing.assert_allclose(wcs[:2], theirs[f"{case} wcs"][:2], rtol=1e-12)
    np.testing.assert_allclose(wcs[2:], theirs[f"{case} wcs"][2:], atol=1e-8)  # the slicer's polynomials take large numbers from each other
    np.testing.assert_array_equal(theirs[f"{case} ours read"], wcs)
    region = [np.array(text.split()[2:], float) for text in (ours[case].header["S_REGION"], str(theirs[f"{case} region"]))]
    np.testing.assert_allclose(*region, rtol=0, atol=2e-9)
    if "ifu" in case:
        np.testing.assert_array_equal(ours[case].only.extra["REGIONS"], theirs[f"{case} regions"])
        np.testing.assert_allclose(ours[case].wcs.invert(*wcs), theirs[f"{case} back"], atol=1e-6)
