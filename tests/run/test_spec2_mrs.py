"""Calibrated images of the mid-infrared spectrometer's slices from the pipeline spec2: the truth, and the peer on the same exposures."""

import json

import numpy as np
import pytest
from astropy.io import fits

import jwcal
import mrs as made_up
import slices
from jwcal.products import stored
from jwcal.settings import chains, facts
from jwcal.simulate import crds_cache, mrs
from jwcal.simulate.spectrograph import Source, Spectrum
from jwcal.vocabulary import dq
from peer import needs_peer, peer_python

NAMES = {"data": "sci", "err": "err", "dq": "dq", "var_poisson": "var_poisson", "var_rnoise": "var_rnoise", "var_flat": "var_flat"}
STAR = Source(Spectrum(flux=0.05, lines=((5.3, 2.0, 0.004),)), along=0.3, across=-0.2)


def sky(wavelength):
    return 20 + wavelength


def overrides(files, detector="MIRIFUSHORT", pipeline="spec2"):
    """The references of a run without CRDS: those that are not given are none."""
    chain = chains.chain(pipeline, {"EXP_TYPE": "MIR_MRS", "DETECTOR": detector})
    types = {kind for step in chain.steps for kind in (*facts.about(step.name).required, *facts.about(step.name).optional)}
    return {kind: str(files.get(kind, "N/A")) for kind in sorted(types)}


def run(source, files, cache, pipeline="spec2", every=True, **more):
    return jwcal.run_pipeline(pipeline, source, overrides=overrides(files, pipeline=pipeline), every=every, crds_path=str(cache), **more)


@pytest.fixture(scope="module", params=["12", pytest.param("34", marks=pytest.mark.full)])
def channels(request):
    return request.param


@pytest.fixture(scope="module")
def files(tmp_path_factory, channels):
    folder = tmp_path_factory.mktemp("references")
    return mrs.write_references(folder, channels=channels) | made_up.calibration(folder, channels)


@pytest.fixture(scope="module")
def cache(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("crds")
    crds_cache.build(folder, [files["flat"]])
    return folder


def observed(files, channels, folder=None, number=1, **more):
    """A rate as the detector gives it: through the flat field, with fringes, in DN/s of an ageing detector; its artefact left out."""
    one = mrs.simulate_mrs(files, channels=channels, calibrated=False, **more)
    made = one.exposure
    flat, fringe, photom = (np.nan_to_num(fits.getdata(files[kind], "SCI"), nan=1.0) for kind in ("flat", "fringe", "photom"))
    seen = (flat * fringe / photom).astype(np.float32)
    made.sci *= seen
    made.err *= seen
    made.var_poisson *= seen**2
    made.var_rnoise *= seen**2
    if folder is None:
        return one, made
    return one, stored.write(made, folder / f"jw01234001001_02101_{number:05d}_{made.header['DETECTOR'].lower()}_rate.fits")


def test_surface_brightness_comes_back(tmp_path, files, cache, channels):
    """Extended light and a source, through flat, fringes, an ageing detector: within 0.1 % where the artefact is none."""
    dark = dict(files, mrsxartcorr="N/A")
    one, path = observed(files, channels, tmp_path, sources=[STAR], background=sky, noise=False)
    products = run(path, dark, cache, out=tmp_path / "out")
    cal = products["cal"]
    truth = one.truth.image
    aged = np.ones(truth.shape)
    labels = fits_labels(cal)
    for channel in np.unique(labels[labels > 0] // 100).tolist():
        table = made_up.aging(channel)
        years = (cal.header["EXPMID"] - table["t0"] + table["tsoft"]) ** table["alpha"] / (365 + table["tsoft"]) ** table["alpha"]
        here = labels // 100 == channel
        aged[here] = np.interp(one.truth.wavelength[here], table["binwave"], np.minimum(table["year1value"] * years, 1))
    good = np.isfinite(cal.sci) & (labels > 0)
    assert good.sum() > 0.99 * (labels > 0).sum()
    np.testing.assert_allclose((cal.sci * aged)[good], truth[good], rtol=1e-3)
    again = stored.read(tmp_path / "out" / path.name.replace("rate", "cal"))
    header = again.header
    assert header["DATAMODL"] == "IFUImageModel" and header["BUNIT"] == "MJy/sr" and header["SRCTYPE"] == "EXTENDED"
    status = {key: header.get(key) for key in ("S_WCS", "S_SRCTYP", "S_STRAY", "S_FLAT", "S_FRINGE", "S_PHOTOM", "S_BKDSUB", "S_BPXSLF")}
    assert list(status.values()) == ["COMPLETE", "COMPLETE", "SKIPPED", *["COMPLETE"] * 3, "SKIPPED", "SKIPPED"]
    assert header["PHOTMJSR"] == made_up.SENSITIVITY and header["PIXAR_SR"] == 9e-13
    assert again.wcs is not None


def fits_labels(exposure):
    from jwcal.arithmetic.wcs.pixel_coordinates import labels_of, wavelength_and_sky

    *_, wavelength = wavelength_and_sky(exposure.wcs, exposure.sci.shape)
    return np.where(np.isfinite(wavelength), labels_of(exposure.wcs), 0)


PEER = """
from stdatamodels.jwst import datamodels
from jwst.assign_wcs.assign_wcs import load_wcs
from jwst.background.background_sub import background_sub
from jwst.flatfield.flat_field import do_correction as flat_field
from jwst.fringe.fringe import apply_fringe
from jwst.photom.photom import DataSet
from jwst.srctype.srctype import set_source_type
from jwst.straylight import straylight
import json
case = json.loads(str(case))
model = load_wcs(datamodels.open(case["file"]), {key: case[key] for key in ("distortion", "specwcs", "regions", "wavelengthrange")})
_, model = background_sub(model, [case["background"]], 3.0, None)
model = datamodels.IFUImageModel(model)
model = set_source_type(model)
straylight.makemodel_ccode = lambda image, *_: 0 * image  # its model takes a minute; see the tests of straylight
model = straylight.correct_xartifact(model, datamodels.MirMrsXArtCorrModel(case["mrsxartcorr"]))
model, _ = flat_field(model, flat=datamodels.FlatModel(case["flat"]))
model = apply_fringe(model, datamodels.FringeModel(case["fringe"]))
model = DataSet(model).apply_photom(case["photom"], "N/A")
for plane in ("data", "err", "dq", "var_poisson", "var_rnoise", "var_flat"):
    out[plane] = np.asarray(getattr(model, plane))
photometry = model.meta.photometry
names = ("conversion_megajanskys", "conversion_microjanskys", "pixelarea_steradians", "pixelarea_arcsecsq")
out["keywords"] = [getattr(photometry, key) for key in names]
out["words"] = [model.meta.target.source_type, model.meta.bunit_data, model.meta.wcsinfo.s_region]
"""


@pytest.mark.parity
@needs_peer
def test_as_the_peer(tmp_path, files, cache, channels):
    """A rate with a background to the calibrated image: 1e-6 of the value or its error, data quality bit for bit."""
    _, path = observed(files, channels, tmp_path, sources=[STAR], background=sky)
    _, other = observed(files, channels, tmp_path, 2, sources=[], background=sky, seed=7, header={"BKGDTARG": True})
    rng = np.random.default_rng(3)
    for one in (path, other):
        with fits.open(one, mode="update") as hdus:
            hdus["SCI"].data[rng.random(hdus["SCI"].shape) < 1e-3] = np.nan
            hdus["DQ"].data |= rng.choice([0] * 200 + [dq.DO_NOT_USE, dq.HOT], hdus["DQ"].shape).astype(np.uint32)
    about = {"asn_type": "spec2", "asn_rule": "Asn_Lv2Spec", "asn_id": "o001", "asn_pool": "pool.csv", "program": "01234"}
    members = [{"expname": path.name, "exptype": "science"}, {"expname": other.name, "exptype": "background"}]
    product = {"name": path.name.removesuffix("_rate.fits"), "members": members}
    association = tmp_path / "jw01234-o001_spec2_00001_asn.json"
    association.write_text(json.dumps({**about, "version_id": "1", "target": "1", "products": [product]}))
    none = {f"CH{channel}A": made_up.artefact(int(channel)) for channel in channels}
    for table in none.values():
        for name in ("lor_scale", "gau_scale1", "gau_scale2"):
            table[name] = 0
    mine = dict(files, mrsxartcorr=made_up.make.reference_file(tmp_path / "none.fits", "mrsxartcorr", none))
    steps = {"straylight": {"bad_gap_pixels": True}}
    cal = run(association, mine, cache, steps=steps)["cal"]
    case = {**mine, "file": path, "background": other}
    peers = peer_python(PEER, case=json.dumps(case, default=str), folder=str(tmp_path))
    np.testing.assert_array_equal(cal.dq, peers["dq"])
    for theirs, name in NAMES.items():
        if name != "dq":
            slices.close(getattr(cal, name), peers[theirs], peers["err"] if name == "sci" else 0.0, name)
    keywords = [cal.header[key] for key in ("PHOTMJSR", "PHOTUJA2", "PIXAR_SR", "PIXAR_A2")]
    np.testing.assert_allclose(keywords, peers["keywords"], rtol=1e-7)
    assert [cal.header[key] for key in ("SRCTYPE", "BUNIT")] == list(peers["words"][:2])
