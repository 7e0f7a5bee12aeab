"""Slitless spectra of single objects: boxes, ATOCA, the sky's template, the flux of extracted spectra, ours and the peer's."""

import json

import numpy as np
import pytest

import soss
from jwcal.arithmetic.soss import background
from jwcal.products import stored
from jwcal.steps import assign_wcs, bkg_subtract, extract_1d, photom
from peer import needs_peer, peer_python

pytestmark = [pytest.mark.parity, needs_peer]

EXTRACT = """
import json
from jwst.extract_1d.soss_extract.soss_extract import run_extract1d
from jwst.photom.photom import DataSet
from stdatamodels.jwst import datamodels
case = json.loads(str(case))
settings = {"order_3": True, "threshold": 1e-2, "n_os": 2, "tikfac": None, "width": 40.0, "bad_pix": "masking", "subtract_background": None}
settings |= {"rtol": 1e-4, "max_grid_size": 20000, "wave_grid_in": None, "wave_grid_out": None, "estimate": None}
settings |= {"atoca": True, "model": True}
model = datamodels.open(case["file"])
references = [case["files"][name] for name in ("pastasoss", "specprofile", "speckernel")]
spectra, models, _ = run_extract1d(model, *references, case["subarray"], "CLEAR", settings | case["settings"])
for spec in spectra.spec:
    for name in ("WAVELENGTH", "FLUX", "FLUX_ERROR", "NPIXELS", "BACKGROUND"):
        out[f"{name} {spec.spectral_order}"] = np.array(spec.spec_table[name])
for order in (1, 2, 3):
    image = getattr(models, f"order{order}", None)
    if image is not None and np.size(image):
        out[f"model {order}"] = np.asarray(image[0])
out["factor"] = spectra.meta.soss_extract1d.tikhonov_factor or 0.0
if case["photom"]:
    calibrated = DataSet(spectra).apply_photom(case["photom"], "N/A")
    for spec in calibrated.spec:
        out[f"CALIBRATED {spec.spectral_order}"] = np.asarray(spec.spec_table["FLUX"])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("soss")


def both(folder, files, made, name, settings, calibrated=False):
    """Our spectra by order (exposures as extract_1d returns them), and the peer's columns."""
    made.exposure.header["EXPMID"] = 60000.0
    path = stored.write(made.exposure, folder / f"jw01234001001_{name}_00001_nis_calints.fits")
    peers = {key.removeprefix("soss_"): value for key, value in settings.items()}
    peers["order_3"] = peers.get("order_3", True)
    peers["model"] = settings.get("soss_atoca", True)
    case = {"file": str(path), "files": {kind: str(one) for kind, one in files.paths.items()}, "settings": peers}
    case |= {"subarray": made.exposure.header["SUBARRAY"], "photom": str(files.paths["photom"]) if calibrated else ""}
    theirs = peer_python(EXTRACT, case=json.dumps(case))
    ours = extract_1d.apply(made.exposure, made.refs, mode="soss", **settings)
    return ours, theirs


def columns(exposure):
    return {spectrum.header["SPORDER"]: spectrum.table for spectrum in exposure.spectra}


@pytest.mark.parametrize("subarray", ["SUBSTRIP256", "SUBSTRIP96"])
def test_boxes(folder, subarray):
    """With pixels that are bad always and sometimes, wheel turned: 1e-5, and the calibrated flux."""
    files = soss.references(folder, rows=soss.SUBARRAYS[subarray][1])
    # in the small subarray the peer turns the trace about a pivot that is 10 rows off
    wheel = {"PWCPOS": 245.90} if subarray == "SUBSTRIP256" else {}
    made = soss.simulate(files, nints=3, subarray=subarray, bad=0.001, hits=0.002, background=(0.5, 0.5), **wheel)
    settings = {"soss_atoca": False, "subtract_background": True}
    _, theirs = both(folder, files, made, "04101", settings, calibrated=True)
    (ours,) = extract_1d.apply(made.exposure, made.refs, mode="soss", bad_pixels="omit", **settings)
    for order, table in columns(ours).items():
        names = {"WAVELENGTH": 1e-7, "FLUX": 1e-5, "FLUX_ERROR": 1e-5, "NPIXELS": 1e-5, "BACKGROUND": 1e-5}
        for name, tolerance in names.items():
            mine, its = table[name], theirs[f"{name} {order}"]
            assert mine.shape == its.shape
            np.testing.assert_array_equal(np.isnan(mine), np.isnan(its))
            good = np.isfinite(its)
            scale = np.abs(its[good]) if name != "BACKGROUND" else np.abs(its[good]) + 1e-3
            assert (np.abs(mine - its)[good] <= tolerance * np.maximum(scale, 1)).mean() > 0.999, (order, name)
    photom.apply(ours, made.refs, kind="extracted")
    for order, table in columns(ours).items():
        its = theirs[f"CALIBRATED {order}"]
        good = np.isfinite(its) & (its != 0)
        assert good.mean() > 0.9
        np.testing.assert_allclose(table["FLUX"][good], its[good], rtol=2e-5)
        assert table["DQ"][its == 0].all()
        assert ours.spectra[0].header["TUNIT3"] == "MJy"


@pytest.mark.full
@pytest.mark.parametrize(("subarray", "bad_pix"), [("SUBSTRIP256", "masking"), ("SUBSTRIP96", "masking"), ("SUBSTRIP256", "model")])
def test_atoca(folder, subarray, bad_pix):
    """Where the peer is sane: narrow kernels, a coarse grid, a factor that is given. 1e-3 in the median, of spectra and of models.

    Its order 3 is fitted to an image with the light of the others: it is left out. Below column 250, where orders 1 and 2 lie upon each
    other, its explicit inverse scatters by some per cent.
    """
    files = soss.references(folder, rows=soss.SUBARRAYS[subarray][1])
    made = soss.simulate(files, nints=2, subarray=subarray, grey=[1.0, 0.99], bad=0.001 * (bad_pix == "model"))
    settings = {"soss_n_os": 1, "soss_rtol": 1e-2, "soss_bad_pix": bad_pix, "soss_tikfac": 2e-10, "soss_order_3": False}
    _, theirs = both(folder, files, made, "04102", settings)
    ours, models, _ = extract_1d.apply(made.exposure, made.refs, mode="soss", bad_pixels="omit", soss_modelname="some", **settings)
    for order, table in columns(ours).items():
        mine, its, error = (column[:, 250:] for column in (table["FLUX"], theirs[f"FLUX {order}"], table["FLUX_ERROR"]))
        assert np.nanmedian(np.abs(table["FLUX"] / theirs[f"FLUX {order}"] - 1)) < 1e-3, order
        good = np.isfinite(mine) & np.isfinite(its)
        assert good.mean() > 0.99
        assert np.median(np.abs(mine - its)[good] / error[good]) < 0.02, order
        np.testing.assert_allclose(np.nanmedian(error / theirs[f"FLUX_ERROR {order}"][:, 250:]), 1, rtol=1e-4)
        model, peers = (image[:, 250:] for image in (models.extra[f"ORDER{order}"][0], theirs[f"model {order}"]))
        bright = peers > np.percentile(peers, 98)
        # order 1 is taken out of others alone; its model has the noise of the explicit inverse in the peer
        assert np.median(np.abs(model[bright] / peers[bright] - 1)) < (3e-2 if order == 1 else 1e-3), order


SKY = """
from jwst.background.background_sub_soss import subtract_soss_bkg
from stdatamodels.jwst import datamodels
for k, file in enumerate(files):
    out[f"sci {k}"] = subtract_soss_bkg(datamodels.open(str(file)), str(bkg), 35.0, [25.0, 50.0]).data
"""


def test_sky(folder):
    """Templates: the same one, the same scales, in a series of either subarray and in an image."""
    files = soss.references(folder)
    kinds = [{"nints": 2}, {"nints": 2, "subarray": "SUBSTRIP96"}, {"nints": 0}]
    made = [soss.simulate(files, background=(1.2, 0.8), seed=k, **kind) for k, kind in enumerate(kinds)]
    suffixes = ["rateints", "rateints", "rate"]
    paths = [
        stored.write(m.exposure, folder / f"jw01234001001_0410{k}_00002_nis_{s}.fits")
        for k, (m, s) in enumerate(zip(made, suffixes, strict=True))
    ]
    theirs = peer_python(SKY, files=[str(path) for path in paths], bkg=str(files.paths["bkg"]))
    for k, one in enumerate(made):
        ours = bkg_subtract.apply(one.exposure, one.refs, template="soss", soss_fit="pixels")
        np.testing.assert_allclose(ours.sci, theirs[f"sci {k}"], rtol=1e-5, atol=1e-5)
    assert background.step_of(soss.sky()).shape == soss.sky().shape


WCS = """
from jwst.assign_wcs.assign_wcs import load_wcs
from stdatamodels.jwst import datamodels
model = load_wcs(datamodels.open(str(exposure)), {"specwcs": str(specwcs)})
for order in (1, 2, 3):
    out[f"world {order}"] = model.meta.wcs.forward_transform.get_model(order)(x, y)
out["words"] = [str(model.meta.wcsinfo.dispersion_direction), model.meta.wcsinfo.specsys]
"""


@pytest.mark.parametrize("subarray", ["SUBSTRIP256", "SUBSTRIP96", "FULL"])
def test_wcs(folder, subarray):
    files = soss.references(folder)
    made = soss.simulate(files, nints=1, subarray=subarray, noise=False)
    made.exposure.header.sci["VELOSYS"] = -12000.0
    path = stored.write(made.exposure, folder / "jw01234001001_04105_00001_nis_rateints.fits")
    x, y = np.array([3.0, 1000.5, 2000.0]), np.array([2.0, 40.0, 90.0])
    theirs = peer_python(WCS, exposure=str(path), specwcs=str(files.paths["specwcs"]), x=x, y=y)
    ours = assign_wcs.apply(made.exposure, made.refs, "soss")
    for order in (1, 2, 3):
        np.testing.assert_allclose(ours.wcs.forward_transform.get_model(order)(x, y), theirs[f"world {order}"], rtol=1e-12)
    assert [str(ours.header["DISPAXIS"]), ours.header["SPECSYS"]] == theirs["words"].tolist()
