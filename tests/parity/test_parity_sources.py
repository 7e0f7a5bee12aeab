"""spec3 of exposures of many sources: each source goes to its products, against the peer on the same cal files, and against the truth."""

import json

import numpy as np
import pytest
from astropy.io import fits

import jwcal
from jwcal.products import stored
from jwcal.simulate import nirspec, spectrograph
from peer import needs_peer, peer_python

PATTERN = "jw01234-o001_t001-{source_id}_nirspec_clear-prism-{slit_name}-subs200a1"
NAME = "jw01234-o001_t001-s000000001_nirspec_clear-prism-s200a1-subs200a1"
STAR = spectrograph.Source(spectrograph.Spectrum(flux=5e-3, at=2.0))
DITHERS = (0.0, 0.6, -0.6)  # arcsec along the slit
HITS = [(9, 1200, 400.0), (21, 1301, 250.0)]  # row, column, DN/s of cosmic rays in the second exposure

PEER = """
import os, tempfile
from pathlib import Path
cache = tempfile.TemporaryDirectory()
names = ("operational_context", "latest_context", "edit_context", "versions_context")
server = {"observatory": "jwst", "status": "cache", "connected": False, **dict.fromkeys(names, "jwst_0001.pmap"), "bad_files": "",
          "bad_files_list": [], "force_remote_mode": False, "crds_version": {"str": "14.0.3"}, "reference_url": {}, "mapping_url": {},
          "last_synced": "never", "checksum_mode": False}
Path(cache.name, "config/jwst").mkdir(parents=True)
Path(cache.name, "config/jwst/server_config").write_text(repr(server))
os.environ.update(CRDS_PATH=cache.name, CRDS_SERVER_URL="https://127.0.0.1:9", STPIPE_DISABLE_CRDS_STEPPARS="true")
from stpipe.step import Step
files = dict(str(item).split("|") for item in references)
def get_reference_file(self, input_file, kind):
    path = files.get(kind, "N/A")
    self._reference_files_used.append((kind, path))
    return path
Step.get_reference_file = get_reference_file
"""
# Its table of wavelengths ends far beyond the data (docs/differences.md), so that what lies in the last half pixel goes elsewhere.
MENDED = """
import jwst.resample.resample_spec
plain = jwst.resample.resample_spec.Tabular1D
def mended(points, lookup_table, **given):
    if len(points) > 3 and points[0] == -0.5:
        lookup_table[-1] = lookup_table[-2] + (lookup_table[-2] - lookup_table[-3]) / 2
    return plain(points=points, lookup_table=lookup_table, **given)
jwst.resample.resample_spec.Tabular1D = mended
"""
WHOLE = """
from jwst.pipeline import Spec3Pipeline
pipe = Spec3Pipeline()
pipe.output_dir, pipe.save_results, pipe.prefetch_references = str(folder), True, False
pipe.run(str(association))
"""
ON_OUR_OWN = """
from jwst.datamodels import SourceModelContainer
from jwst.extract_1d import Extract1dStep
from jwst.resample import ResampleSpecStep
from stdatamodels.jwst import datamodels
source = datamodels.open(str(path))
assert type(source).__name__ == "MultiExposureModel"
out["names"] = [one.meta.filename for one in source.exposures]
result = ResampleSpecStep().run(SourceModelContainer(source))
out["sci"], out["err"] = result.data, result.err
table = Extract1dStep().run(result).spec[0].spec_table
out["wavelength"], out["flux"] = table["WAVELENGTH"], table["FLUX"]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three dithers along a slit, by ours to spec3: the folder, and the references."""
    top = tmp_path_factory.mktemp("sources")
    files = nirspec.write_references(top / "references", mode="fs", grating="PRISM")
    references = {kind: str(path) for kind, path in files.items()}
    members = []
    for number, along in enumerate(DITHERS, start=1):
        hits = HITS if number == 2 else ()
        one = nirspec.simulate_slits(
            files, sources=[STAR], seed=number, dither={"x": 0.0, "y": along}, background=lambda w: 0.3 + 0 * w, cosmic_rays=hits
        )
        rate = top / f"jw01234001001_02101_{number:05d}_nrs1_rate.fits"
        stored.write_all([(one.exposure, rate)])
        jwcal.run_pipeline("spec2", rate, overrides=references, out=top)
        members.append({"expname": rate.name.replace("rate", "cal"), "exptype": "science"})
    association = top / "slits_spec3_asn.json"
    table = {"asn_type": "spec3", "asn_rule": "x", "asn_id": "o001", "asn_pool": "none", "program": "1234", "target": "t001"}
    association.write_text(json.dumps({**table, "products": [{"name": PATTERN, "members": members}]}))
    taken = {kind: references[kind] for kind in ("extract1d", "apcorr")}
    as_peer = {"outlier_detection": {"by_wavelength": False}, "resample_spec": {"error_of": "area"}, "extract_1d": {"bad_pixels": "omit"}}
    jwcal.run_pipeline("spec3", association, overrides=taken, out=top / "ours")
    jwcal.run_pipeline("spec3", association, as_peer, overrides=taken, out=top / "as peer")
    return top, taken


def test_products_have_the_archive_s_names(made):
    top, _ = made
    found = {path.name for path in (top / "ours").glob("*.fits")}
    assert found == {f"{NAME}_{suffix}.fits" for suffix in ("cal", "crf", "s2d", "x1d")}
    with fits.open(top / "ours" / f"{NAME}_cal.fits") as hdus:
        assert [hdu.ver for hdu in hdus if hdu.name == "SCI"] == [1, 2, 3] and hdus[0].header["DATAMODL"] == "MultiExposureModel"


def test_the_source_s_spectrum_is_the_truth(made):
    top, _ = made
    (spectrum,) = stored.read(top / "ours" / f"{NAME}_x1d.fits").spectra
    wavelength, flux, error = (np.asarray(spectrum.table[name], float) for name in ("WAVELENGTH", "FLUX", "FLUX_ERROR"))
    good = np.isfinite(flux) & (wavelength > 0.8) & (wavelength < 5.1)
    off = flux[good] / STAR.spectrum(wavelength[good]) - 1
    assert good.sum() > 300 and abs(np.median(off)) < 0.005
    pulls = off * STAR.spectrum(wavelength[good]) / error[good]
    assert np.mean(np.abs(pulls) < 3) > 0.95


def test_a_cosmic_ray_in_one_dither_is_found(made):
    top, _ = made
    flags = stored.read(top / "ours" / f"{NAME}_crf.fits").pixels[1]
    row, column = (flags.header[f"SLTSTRT{axis}"] for axis in (2, 1))
    for hit_row, hit_column, _ in HITS:
        assert flags.dq[hit_row - row + 1, hit_column - column + 1] & 16


@needs_peer
@pytest.mark.parity
@pytest.mark.full
def test_as_the_peer(made, tmp_path):
    top, taken = made
    theirs = tmp_path / "peer"
    theirs.mkdir()
    references = [f"{kind}|{path}" for kind, path in taken.items()]
    peer_python(PEER + MENDED + WHOLE, association=str(top / "slits_spec3_asn.json"), folder=str(theirs), references=references)
    ours, peers = (stored.read(folder / f"{NAME}_s2d.fits").only for folder in (top / "as peer", theirs))
    assert ours.sci.shape == peers.sci.shape
    assert np.mean(np.isnan(ours.sci) == np.isnan(peers.sci)) > 0.999
    both = np.isfinite(ours.sci) & np.isfinite(peers.sci)
    scale = np.maximum(np.abs(peers.sci), peers.err)[both]
    off = np.abs(ours.sci - peers.sci)[both] / scale
    assert off.max() < 1e-4 and np.median(off) < 1e-5
    (a,), (b,) = (stored.read(folder / f"{NAME}_x1d.fits").spectra for folder in (top / "as peer", theirs))
    np.testing.assert_allclose(a.table["WAVELENGTH"], b.table["WAVELENGTH"], rtol=0, atol=1e-6)
    flux, theirs_flux = np.asarray(a.table["FLUX"]), np.asarray(b.table["FLUX"])
    good = np.isfinite(theirs_flux) & (theirs_flux != 0)
    off = np.abs(flux - theirs_flux)[good] / np.maximum(np.abs(theirs_flux), b.table["FLUX_ERROR"])[good]
    assert good.sum() > 400 and off.max() < 1e-4 and np.median(off) < 1e-5


@needs_peer
@pytest.mark.parity
@pytest.mark.full
def test_the_peer_goes_on_from_our_file_of_a_source(made):
    """Its resampling and extraction, from the slits of a source that ours has gathered, give what ours give."""
    top, taken = made
    references = [f"{kind}|{path}" for kind, path in taken.items()]
    theirs = peer_python(PEER + MENDED + ON_OUR_OWN, path=str(top / "as peer" / f"{NAME}_crf.fits"), references=references)
    assert theirs["names"].tolist() == [f"jw01234001001_02101_{number:05d}_nrs1_cal.fits" for number in (1, 2, 3)]
    ours = stored.read(top / "as peer" / f"{NAME}_s2d.fits").only
    both = np.isfinite(ours.sci) & np.isfinite(theirs["sci"])
    assert ours.sci.shape == theirs["sci"].shape and both.mean() > 0.5
    off = np.abs(ours.sci - theirs["sci"])[both] / np.maximum(np.abs(theirs["sci"]), theirs["err"])[both]
    assert np.mean(off < 1e-4) > 0.99
    (spectrum,) = stored.read(top / "as peer" / f"{NAME}_x1d.fits").spectra
    flux = np.asarray(spectrum.table["FLUX"])
    good = np.isfinite(theirs["flux"]) & (theirs["flux"] != 0)
    np.testing.assert_allclose(spectrum.table["WAVELENGTH"], theirs["wavelength"], rtol=0, atol=1e-6)
    assert good.sum() > 300 and np.mean(np.abs(flux / theirs["flux"] - 1)[good] < 1e-3) > 0.98
