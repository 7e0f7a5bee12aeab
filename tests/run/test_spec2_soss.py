"""Slitless spectra of single objects from rates through tso-spec2 and tso3, and single ones through spec2 and spec3."""

import json

import numpy as np
import pytest
from astropy.io import fits

import jwcal
import readers
import soss
from jwcal.products import stored
from jwcal.settings import chains, facts
from jwcal.simulate import crds_cache
from peer import needs_peer, peer_python

BOX = {"extract_1d": {"soss_atoca": False}}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return soss.references(tmp_path_factory.mktemp("references"))


@pytest.fixture(scope="module")
def cache(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("crds")
    crds_cache.build(folder, [files.paths["flat"]])
    return folder


def run(pipeline, source, files, cache, **more):
    chain = chains.chain(pipeline, {"EXP_TYPE": "NIS_SOSS", "FILTER": "CLEAR"})
    types = {kind for step in chain.steps for kind in (*facts.about(step.name).required, *facts.about(step.name).optional)}
    given = {kind: str(files.paths.get(kind, "N/A")) for kind in sorted(types)}
    return jwcal.run_pipeline(pipeline, source, overrides=given, every=True, crds_path=str(cache), **more)


def through(exposure, files):
    """An exposure as it comes through the flat field."""
    value = fits.getdata(files.paths["flat"], "SCI")
    exposure.sci *= value
    exposure.err *= value
    exposure.var_poisson *= value**2
    exposure.var_rnoise *= value**2
    return exposure


def association(folder, kind, members):
    about = {"asn_type": kind, "asn_rule": "DMS_Level3", "asn_id": "o001", "asn_pool": "pool.csv", "program": "01234"}
    members = [{"expname": path.name, "exptype": "science"} for path in members]
    path = folder / f"jw01234-o001_{kind}_00001_asn.json"
    path.write_text(json.dumps(about | {"products": [{"name": "jw01234-o001_t001_niriss_clear-gr700xd", "members": members}]}))
    return path


OPEN = """
from stdatamodels.jwst import datamodels
for file in files:
    model = datamodels.open(str(file))
    model.validate()
    out[str(file)] = [type(model).__name__, *(str(spec.spectral_order) for spec in getattr(model, "spec", []))]
"""


def test_segments_through_tso3(tmp_path, files, cache):
    """Two segments of a series with a dip: spectra of each order with its flux, and a light curve of each over its own range."""
    made = soss.simulate(files, nints=4, grey=[1, 0.98, 0.98, 1], background=(0.4, 0.3))
    whole, members = through(made.exposure, files), []
    for number, part in enumerate((slice(0, 2), slice(2, 4)), start=1):
        planes = {name: plane[part].copy() for name, plane in whole.pixels[0].planes()}
        segment = whole.derive([type(whole.pixels[0])(**planes)], "rateints")
        segment.header["INTSTART"], segment.header["INTEND"], segment.header["EXSEGNUM"] = part.start + 1, part.stop, number
        segment.tables = {"INT_TIMES": whole.tables["INT_TIMES"][part]}
        path = stored.write(segment, tmp_path / f"jw01234001001_04101_00001-seg{number:03d}_nis_rateints.fits")
        products = run("tso-spec2", path, files, cache, out=tmp_path, steps=BOX)
        members.append(tmp_path / path.name.replace("rateints", "calints"))
    status = products["x1dints"].steps
    assert [status[step][0] for step in ("assign_wcs", "bkg_subtract", "flat_field", "extract_1d", "photom")] == ["COMPLETE"] * 5
    assert products["calints"].header["BUNIT"] == "DN/s" and products["x1dints"].spectra[1].header["TUNIT3"] == "MJy"
    products = run("tso3", association(tmp_path, "tso3", members), files, cache, out=tmp_path / "out", steps=BOX)
    (made,) = (tmp_path / "out").glob("*x1dints.fits")
    assert len(readers.check(made)) == 12 and products["x1dints"].spectra[1].header["TUNIT5"] == "MJy^2"
    curve = products["whtlt"].catalogue
    assert len(curve) == 4 and curve.colnames[2:] == [f"whitelight_flux_order_{n}" for n in (1, 2, 3)]
    for order, (low, high) in {1: (0.9, 2.0), 2: (0.6, 1.2), 3: (0.62, 0.8)}.items():
        flux = curve[f"whitelight_flux_order_{order}"].value
        np.testing.assert_allclose(flux[1:3].mean() / flux[[0, 3]].mean(), 0.98, atol=2e-3)
        table = next(s.table for s in products["x1dints"].spectra if s.header["SPORDER"] == order)
        inside = (table["WAVELENGTH"][0] >= low) & (table["WAVELENGTH"][0] <= (2.8 if order == 1 else high))
        np.testing.assert_allclose(flux[0], np.nansum(table["FLUX"][0, inside]), rtol=1e-3)
    np.testing.assert_array_equal(products["x1dints"].spectra[3].table["INT_NUM"], [3, 4])


@pytest.mark.parity
@pytest.mark.full
@needs_peer
def test_products_open_in_the_peer(tmp_path, files, cache):
    """With all that can be asked for; single exposures are combined."""
    fast = {"extract_1d": {"soss_n_os": 1, "soss_rtol": 1e-2, "soss_modelname": "models", "soss_wave_grid_out": "grid"}}
    made = soss.simulate(files, nints=2)
    path = stored.write(through(made.exposure, files), tmp_path / "jw01234001001_04101_00001_nis_rateints.fits")
    run("tso-spec2", path, files, cache, out=tmp_path, steps=fast)
    singles = []
    for number in (1, 2):
        made = soss.simulate(files, nints=0, seed=number, EFFEXPTM=100.0)
        path = stored.write(through(made.exposure, files), tmp_path / f"jw01234002001_04101_{number:05d}_nis_rate.fits")
        run("spec2", path, files, cache, out=tmp_path, steps=BOX)
        singles.append(tmp_path / path.name.replace("rate", "cal"))
    products = run("spec3", association(tmp_path, "spec3", singles), files, cache, out=tmp_path / "out", steps=BOX)
    assert [s.header["SPORDER"] for s in products["c1d"].spectra] == [1, 2, 3] and len(products["x1d"].spectra) == 6
    made = sorted([*tmp_path.glob("*_nis_*.fits"), *(tmp_path / "out").glob("*.fits")])
    assert [len(readers.check(path)) for path in made if path.name.endswith("c1d.fits")] == [3]
    kinds = {path.name.split("_")[-1][:-5]: peer_python(OPEN, files=[str(path)])[str(path)].tolist() for path in made}
    assert kinds["x1dints"] == ["TSOMultiSpecModel", "1", "2", "3"] and kinds["calints"] == ["CubeModel"]
    assert kinds["sossextractmodel"] == ["SossExtractModel"] and kinds["sosswavegrid"] == ["SossWaveGridModel"]
    assert kinds["atocaspectra"] == ["MultiSpecModel", *"12231223"[:8]] and kinds["c1d"] == ["MultiCombinedSpecModel", "1", "2", "3"]
