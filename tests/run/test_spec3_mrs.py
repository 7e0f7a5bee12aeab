"""Four dithers of the mid-infrared spectrometer from rates to cubes and spectra, by spec2 and spec3, beside the peer."""

import json

import asdf
import numpy as np
import pytest
from astropy.io import fits
from stdatamodels.jwst import datamodels
from test_spec2_mrs import STAR, observed, overrides, sky

import jwcal
import mrs as made_up
from jwcal.arithmetic.wcs.pixel_coordinates import wavelength_and_sky
from jwcal.model.spectra import Spectrum
from jwcal.products import stored
from jwcal.simulate import crds_cache, cube_references, integral_field, mrs
from jwcal.steps import assign_wcs
from jwcal.vocabulary import dq
from nirspec_ifu import table
from peer import needs_peer, peer_python
from sky import SHARED

ROWS = 440, 570  # of the detector, where the slices are cut off: time
DITHERS = ((0.0, 0.0), (0.97, 0.53), (-0.8, 0.45), (0.3, -0.9))
NAME = "jw01234-c1001_t001_miri"
PLANES = ("SCI", "ERR", "VAR_POISSON", "VAR_RNOISE", "VAR_FLAT")
COLUMNS = ("FLUX", "FLUX_ERROR", "SURF_BRIGHT", "SB_ERROR", "BACKGROUND", "BKGD_ERROR", "NPIXELS")

PEER = """
import logging, sys
sys.path.insert(0, {helpers!r})
import run_peer
run_peer.offline()
logging.disable(logging.CRITICAL)
from jwst.straylight import straylight
straylight.makemodel_ccode = lambda image, *_: 0 * image  # its model takes a minute; see the tests of straylight
run_peer.give_references(json.loads(str(given)))
from jwst.pipeline import Spec2Pipeline, Spec3Pipeline
def run(kind, source):
    pipe = kind()
    pipe.save_results, pipe.output_dir, pipe.prefetch_references = True, str(folder), False
    for name in ("outlier_detection", "badpix_selfcal"):
        if hasattr(pipe, name):
            getattr(pipe, name).skip = True
    pipe.extract_1d.ifu_rfcorr = False
    if kind is Spec2Pipeline:
        pipe.cube_build.output_type = "multi"
    pipe.run(source)
for path in json.loads(str(rates)):
    run(Spec2Pipeline, path)
run(Spec3Pipeline, str(source))
"""


def association(folder, members):
    """Write an association of spec3."""
    about = {"asn_type": "spec3", "asn_rule": "Asn_Lv3MIRMRS", "asn_id": "c1001", "asn_pool": "pool.csv", "program": "01234"}
    path = folder / f"{NAME}_spec3_asn.json"
    path.write_text(json.dumps({**about, "version_id": "1", "target": "1", "products": [{"name": NAME, "members": members}]}))
    return path


def covered(channel, band="SHORT"):
    """Wavelengths that all slices have in ROWS, micron."""
    low, high = mrs.RANGES[band][channel]
    step = (high - low) / (mrs.SHAPE[0] + 2)
    ends = [(high - step * (row + 1)) if channel in mrs.FALLING else (low + step * (row + 1)) for row in (ROWS[0] + 6, ROWS[1] - 6)]
    return min(ends), max(ends)


def references(folder, channels):
    """Type -> path; the light of a pixel is scattered nowhere."""
    limits = {int(channel): covered(int(channel)) for channel in channels}
    files = mrs.write_references(folder, channels=channels) | made_up.calibration(folder, channels)
    with asdf.open(files["regions"], mode="rw", lazy_load=False, memmap=False) as file:
        rows = np.arange(mrs.SHAPE[0])
        file["regions"] = file["regions"] * ((rows >= ROWS[0]) & (rows < ROWS[1])).astype("i2")[:, None]
        file.update()
    waves = np.concatenate([np.arange(low, high, 2 * cube_references.MRS_SPAXELS[str(n)][1]) for n, (low, high) in sorted(limits.items())])
    files["cubepar"] = cube_references.write_cubepar(folder / "cubepar.fits", cube_references.mrs_bands({"SHORT": limits}), waves)
    none = {f"CH{channel}A": made_up.artefact(int(channel)) for channel in channels}
    for profiles in none.values():
        for name in ("lor_scale", "gau_scale1", "gau_scale2"):
            profiles[name] = 0
    files["mrsxartcorr"] = made_up.make.reference_file(folder / "none.fits", "mrsxartcorr", none)
    return files | integral_field.write_extraction(folder, [(int(channel), "SHORT") for channel in channels])


FULL = pytest.mark.full


@pytest.mark.parametrize(
    "background", ["of members", pytest.param("of the user", marks=FULL), pytest.param("subtracted before", marks=FULL)]
)
def test_what_is_saved_of_a_master_background(tmp_path, background):
    """Its spectrum, and what it is on the pixels of each member; of one that was subtracted before, that there is nothing."""
    known = {"NINTS": 1, "DATE-OBS": "2026-01-01", "TIME-OBS": "00:00:00", "BAND": "SHORT"}
    known |= {"S_BKDSUB": "COMPLETE"} if background == "subtracted before" else {}
    members = []
    for number in (1, 2):
        exposure, refs = made_up.small(tmp_path, **known)
        assign_wcs.apply(exposure, refs, "mrs")
        pixels = exposure.pixels[0]
        pixels.sci, pixels.err = np.full(made_up.SHAPE, 30, np.float32), np.ones(made_up.SHAPE, np.float32)
        pixels.dq, exposure.suffix = np.zeros(made_up.SHAPE, np.uint32), "cal"
        exposure.header.sci["BUNIT"] = "MJy/sr"
        path = stored.write(exposure, tmp_path / f"jw01234001001_02101_0000{number}_mirifushort_cal.fits")
        members.append({"expname": path.name, "exptype": "science"})
    at = np.linspace(4.8, 10, 600)
    empty = exposure.aside("x1d")
    empty.header.primary["EFFEXPTM"] = 100.0
    empty.spectra = [Spectrum(np.rec.fromarrays([at, sky(at), sky(at), at], names="WAVELENGTH,BACKGROUND,SURF_BRIGHT,FLUX"))]
    path = stored.write(empty, tmp_path / "jw01234002001_02101_00001_mirifushort_x1d.fits")
    own = {"save_background": True} | ({"user_background": str(path)} if background == "of the user" else {})
    members += [] if background == "of the user" else [{"expname": path.name, "exptype": "background"}]
    steps = {name: {"skip": True} for name in ("outlier_detection", "cube_build", "extract_1d", "spectral_leak")}
    seed = cube_references.write_cubepar(tmp_path / "cubepar.fits", cube_references.mrs_bands(mrs.RANGES), [5.0, 6.0])
    crds_cache.build(tmp_path / "crds", [seed])  # one that knows the instrument
    more = {"steps": {**steps, "master_background": own}, "crds_path": str(tmp_path / "crds"), "out": tmp_path / "out"}
    jwcal.run_pipeline("spec3", association(tmp_path, members), overrides=overrides({}, pipeline="spec3"), every=True, **more)
    found = {path.name for path in (tmp_path / "out").glob("*.fits")}
    images = {f"jw01234001001_02101_0000{number}_mirifushort_c1001_masterbg2d.fits" for number in (1, 2)}
    assert found == {f"{NAME}_masterbg1d.fits"} | (set() if background == "subtracted before" else images)
    with fits.open(tmp_path / f"out/{NAME}_masterbg1d.fits") as hdus:
        assert ("COMBINE1D" in hdus) == (background == "of members")
        assert (hdus[0].header["S_MSBSUB"] == "SKIPPED") == (background == "subtracted before")
    *_, wavelength = wavelength_and_sky(exposure.wcs, made_up.SHAPE)
    seen = np.isfinite(wavelength)
    for name in found & images:
        np.testing.assert_allclose(stored.read(tmp_path / "out" / name).sci[seen], sky(wavelength[seen]), rtol=1e-5)
        with datamodels.open(tmp_path / "out" / name) as model:
            assert isinstance(model, datamodels.IFUImageModel)


@needs_peer
@pytest.mark.parity
@pytest.mark.full
@pytest.mark.parametrize("channels", ["12", "34"])
def test_as_the_peer(tmp_path, channels):
    """With noise and bad pixels: images 1e-6, voxels and spectra 1e-4, flags and wavelengths equal; cubes of both channels and of each."""
    rng = np.random.default_rng(5)
    files = references(tmp_path, channels)
    paths = []
    for number, (x, y) in enumerate(DITHERS, start=1):
        dither = {"x": x, "y": y, "number": number, "total": len(DITHERS), "pattern": "4-POINT"}
        light = {"sources": [STAR], "background": sky, "header": {"SRCTYAPT": "POINT"}}
        _, path = observed(files, channels, tmp_path, number, dither=dither, seed=number, **light)
        with fits.open(path, mode="update") as hdus:
            hdus[0].header["DATAMODL"] = "IFUImageModel"
            hdus["SCI"].data[rng.random(hdus["SCI"].shape) < 1e-3] = np.nan
            hdus["DQ"].data |= rng.choice([0] * 400 + [dq.DO_NOT_USE, dq.HOT], hdus["DQ"].shape).astype(np.uint32)
        paths.append(path)
    theirs, ours = tmp_path / "peer", tmp_path / "ours"
    members = [{"expname": path.name.replace("rate", "cal"), "exptype": "science"} for path in paths]
    for folder in (theirs, ours):
        folder.mkdir()
        association(folder, members)
    known = {"given": json.dumps({kind: str(path) for kind, path in files.items()}), "rates": json.dumps([str(path) for path in paths])}
    peer_python(PEER.format(helpers=str(SHARED / "peer")), folder=str(theirs), source=str(theirs / f"{NAME}_spec3_asn.json"), **known)
    crds_cache.build(tmp_path / "crds", [files["photom"]])
    steps = {"extract_1d": {"ifu_centre": "spaxel", "ifu_bkg_area": "ring", "ifu_rfcorr": False}, "straylight": {"bad_gap_pixels": True}}
    last = {**steps, "outlier_detection": {"skip": True}}
    for pipeline, source in [*(("spec2", path) for path in paths), ("spec3", ours / f"{NAME}_spec3_asn.json")]:
        own = overrides(files, mrs.DETECTORS[channels], pipeline)
        more = {"overrides": own, "crds_path": str(tmp_path / "crds"), "out": ours, "every": True}
        jwcal.run_pipeline(pipeline, source, steps=last if pipeline == "spec3" else steps, **more)
    for path in paths:
        with fits.open(ours / path.name.replace("rate", "cal")) as mine, fits.open(theirs / path.name.replace("rate", "cal")) as its:
            assert np.array_equal(mine["DQ"].data, its["DQ"].data)
            for plane in PLANES:
                size = np.nanmax(np.abs(its[plane].data)) if plane == "SCI" else 0  # of what was subtracted
                np.testing.assert_allclose(mine[plane].data, its[plane].data, rtol=1e-6, atol=1e-7 * size, err_msg=plane)
    roots = [path.name.removesuffix("_rate.fits") for path in paths] + [f"{NAME}_ch{channel}-short" for channel in channels]
    for root in roots:
        _cubes(ours / f"{root}_s3d.fits", theirs / f"{root}_s3d.fits")
        one, other = (table(folder / f"{root}_x1d.fits") for folder in (ours, theirs))
        assert np.array_equal(one["WAVELENGTH"], other["WAVELENGTH"]) and np.array_equal(one["DQ"], other["DQ"])
        there = one["NPIXELS"] > 0  # the peer has the whole circle's area where no voxel has a value
        assert there.sum() > 50
        for column in COLUMNS:
            np.testing.assert_allclose(one[column][there], other[column][there], rtol=1e-4, atol=1e-12, err_msg=f"{root} {column}")


def _cubes(mine, its):
    """Values, flags and wavelengths of two cubes."""
    with fits.open(mine) as mine, fits.open(its) as its:
        assert mine["SCI"].shape == its["SCI"].shape and np.array_equal(mine["DQ"].data, its["DQ"].data)
        for keyword in ("CRVAL1", "CRVAL2", "CRVAL3", "CDELT3", "CRPIX1", "CRPIX2"):
            assert mine["SCI"].header.get(keyword) == pytest.approx(its["SCI"].header.get(keyword), rel=1e-12), keyword
        waves = [np.ravel(hdus["WCS-TABLE"].data["wavelength"]) for hdus in (mine, its)]
        assert np.array_equal(*waves)
        assert np.array_equal(mine["WMAP"].data > 0, its["WMAP"].data > 0)
        good = its["WMAP"].data > 0
        for plane in ("SCI", "ERR"):
            np.testing.assert_allclose(mine[plane].data[good], its[plane].data[good], rtol=1e-4, err_msg=plane)
