"""What spec3 saves of calibrated exposures of the mid-infrared spectrometer."""

import json

import numpy as np
import pytest
from astropy.io import fits
from stdatamodels.jwst import datamodels
from test_spec2_mrs import STAR, observed, overrides, run, sky

import jwcal
import mrs as made_up
import slices
from jwcal.arithmetic.wcs.pixel_coordinates import wavelength_and_sky
from jwcal.model.spectra import Spectrum
from jwcal.products import stored
from jwcal.simulate import crds_cache, cube_references, headers, integral_field, mrs
from jwcal.steps import assign_wcs
from jwcal.vocabulary import dq
from peer import needs_peer

NAME = "jw01234-c1001_t001_miri"


def association(folder, members):
    """Write an association of spec3."""
    about = {"asn_type": "spec3", "asn_rule": "Asn_Lv3MIRMRS", "asn_id": "c1001", "asn_pool": "pool.csv", "program": "01234"}
    path = folder / f"{NAME}_spec3_asn.json"
    path.write_text(json.dumps({**about, "version_id": "1", "target": "1", "products": [{"name": NAME, "members": members}]}))
    return path


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


COARSE = {channel: (size, 3 * step) for channel, (size, step) in cube_references.MRS_SPAXELS.items()}  # a third of the planes


def known_files(folder, channels):
    """All references of a detector and the band SHORT: type -> path."""
    files = integral_field.write_common_references(folder, (channels,), ("SHORT",))
    files |= mrs.write_references(folder, channels=channels) | made_up.calibration(folder, channels)
    limits = [mrs.RANGES["SHORT"][int(channel)] for channel in channels]
    planes = np.arange(limits[0][0], limits[1][1], 2 * COARSE[channels[0]][1])
    files["cubepar"] = cube_references.write_cubepar(folder / "cubepar.fits", cube_references.mrs_bands(mrs.RANGES, COARSE), planes)
    return files


@needs_peer
@pytest.mark.parity
@pytest.mark.full
@pytest.mark.parametrize("channels", ["12", "34"])
def test_as_the_peer(tmp_path, channels):
    """Four dithers with noise and bad pixels from rates: images, cubes of one exposure and of all, by band and of both, their spectra."""
    rng = np.random.default_rng(11)
    files = known_files(tmp_path / "references", channels)
    crds_cache.build(tmp_path / "crds", [files["flat"]])
    rates = []
    for number, (x, y) in enumerate(integral_field.STEP, start=1):
        known = {"dither": {"x": x, "y": y, "number": number, "total": 4}, "identity": headers.Identity(exposure=number), "seed": number}
        _, path = observed(files, channels, tmp_path, number, sources=[STAR], background=sky, **known)
        with fits.open(path, mode="update") as hdus:
            hdus["SCI"].data[rng.random(hdus["SCI"].shape) < 1e-3] = np.nan
            hdus["DQ"].data |= rng.choice([0] * 400 + [dq.DO_NOT_USE, dq.HOT], hdus["DQ"].shape).astype(np.uint32)
            hdus[0].header["DATAMODL"] = "IFUImageModel"  # as the peer wants it
        rates.append(path)
    members = [{"expname": path.name.replace("rate", "cal"), "exptype": "science"} for path in rates]
    for side in ("peer", "ours"):
        for name in ("stage3", "multi"):
            (tmp_path / side / name).mkdir(parents=True)
        association(tmp_path / side / "stage3", members)
    # one with all: the peer takes two minutes for the cross artefact
    rest = {name: {"skip": True} for name in ("straylight", "cube_build", "extract_1d")}
    multi, no_outliers = {"cube_build": {"output_type": "multi"}}, {"outlier_detection": {"skip": True}}

    def runs(side):
        folder = tmp_path / side / "stage3"
        of_rates = [("spec2", path, folder, multi if path == rates[0] else rest) for path in rates]
        source = folder / f"{NAME}_spec3_asn.json"
        return [*of_rates, ("spec3", source, folder, {}), ("spec3", source, folder.with_name("multi"), {**multi, **no_outliers})]

    slices.peers([(*where, files, steps) for *where, steps in runs("peer")], tmp_path / "peer")
    for pipeline, source, folder, steps in runs("ours"):
        run(source, files, tmp_path / "crds", pipeline, out=folder, steps=slices.with_ours(steps))
    slices.same_products(tmp_path / "ours", tmp_path / "peer")
