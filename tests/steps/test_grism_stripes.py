"""Spectra that are read in stripes (NIRCam's Dispersed Hartmann Sensor): truth from raw files on, the peer, references that do not fit."""

import asdf
import numpy as np
import pytest
from astropy.io import fits

import grisms
import soss
from jwcal.model.exposure import Exposure, Header, Pixels
from jwcal.model.references import References
from jwcal.products import stored
from jwcal.simulate import exposures
from jwcal.simulate import grism as simulated
from jwcal.simulate.grism import stripes as sensor
from jwcal.simulate.instruments import Subarray
from jwcal.steps import assign_wcs, extract_1d, extract_2d, srctype
from jwcal.vocabulary.errors import ReferenceError, Skip
from peer import needs_peer, peer_python
from small_exposures import run_jobs

REAL = grisms.sky.SHARED / "real/references/nircam/nircam_nrca1_specwcs.asdf"
KINDS = ("distortion", "specwcs", "wavelengthrange", "photom", "regions")


@pytest.mark.parametrize("detector", ["NRCA1", pytest.param("NRCALONG", marks=pytest.mark.full)])
def test_a_transit_in_stripes_from_raw_files_to_spectra(tmp_path, detector):
    made = simulated.expose_stripes(tmp_path, detector=detector, noise=False)
    run_jobs(tmp_path)
    first, second = sorted((tmp_path / "results").rglob("*_x1dints.fits"))
    with fits.open(first) as hdus:
        tables = {int(hdu.header["SLTNAME"]): np.array(hdu.data) for hdu in hdus if hdu.name == "EXTRACT1D"}
        assert {hdu.header[f"TUNIT{hdu.columns.names.index('FLUX') + 1}"] for hdu in hdus if hdu.name == "EXTRACT1D"} == {"Jy"}
    assert sorted(tables) == sorted(made.paths) and len(tables) == 4
    rest = np.array([fits.getdata(second, "EXTRACT1D", ver)["FLUX"] for ver in range(1, 5)])
    for (number, table), more in zip(sorted(tables.items()), rest, strict=True):
        path, wavelength = made.paths[number], table["WAVELENGTH"][0]
        np.testing.assert_allclose(wavelength[5:-5], path.at(np.arange(5.0, wavelength.size - 5)), rtol=1e-6)
        ratio = table["FLUX"][0] / made.spectrum(wavelength)
        assert np.isnan(ratio).sum() < 5
        assert np.nanmedian(ratio) == pytest.approx(1, abs=1e-3) and np.nanpercentile(np.abs(ratio - 1), 90) < 3e-3
        curve = np.nansum(np.concatenate([table["FLUX"], more]), axis=1)
        np.testing.assert_allclose(curve / curve[0], 1 - made.dip.depth * made.dip.shape, atol=2e-4)
    goes_both_ways(first.with_name(first.name.replace("x1dints", "calints")), stored.header(made.uncals[0]))


def goes_both_ways(path, pointing):
    """The WCS of each stripe in a file: from its pixels to the target and back."""
    calints = stored.read(path)
    assert len(calints.pixels) == 4
    target = [[pointing["RA_REF"]] * 2, [pointing["DEC_REF"]] * 2]
    for slit in calints.slits():
        x, y = np.array([100.0, 300.0]), np.array([3.0, 30.0])
        ra, dec, wavelength, order, stripe = slit.wcs(x, y)
        np.testing.assert_allclose(wavelength, slit.extra["WAVELENGTH"][y.astype(int), x.astype(int)], rtol=1e-6)
        np.testing.assert_allclose([ra, dec], target, atol=1e-8)
        assert set(order) == {1} and set(stripe) == {int(slit.header["SLTNAME"])}
        source = slit.wcs.get_transform("direct_image", "world").inverse(ra, dec, wavelength, order, stripe)
        np.testing.assert_allclose(slit.wcs.pipeline[0].transform.inverse(*source)[0], x, atol=1e-3)


def whole(folder, detector, real=False, **keywords):
    """Integrations of all columns in stripes, (exposure, refs, files): the stripes' own numbers in each pixel, and a pattern."""
    packed = Subarray(sensor.NAME, 1, 1, 2048, sensor.ROWS)
    seen = sensor.layout(detector)
    options = {"detector": detector, "filter": seen.filter, "pupil": seen.pupil, "subarray": packed, "nints": 2, "ngroups": 4}
    plan = exposures.take("NRC_TSGRISM", **options, aperture="NRCA5_FULL" if detector.endswith("LONG") else f"{detector}_FULL")
    primary, science = plan.headers()
    exposures.override(primary, science, {**seen.keywords, "PPS_APER": "NRCA5_GRISMDHS_F322W2", **keywords})
    science["BUNIT"] = "DN/s"
    header = Header(primary, science, str(folder / "stripes_rateints.fits"))
    sci = np.random.default_rng(3).uniform(50, 60, (2, *packed.shape)).astype(np.float32)
    sci += np.arange(packed.ysize, dtype=np.float32)[:, None]
    error = np.full(sci.shape, 0.5, np.float32)
    planes = {"err": error, "dq": np.zeros(sci.shape, np.uint32), "var_poisson": error**2 / 2, "var_rnoise": error**2 / 2}
    exposure = Exposure(header, [Pixels(sci=sci, **planes)], suffix="rateints")
    exposure.tables["INT_TIMES"] = soss.times(2)
    written = [*sensor._write(folder / "references", seen, plan.setup), *simulated.look_references(folder / "references", plan.setup)]
    files = {kind: next(path for path in written if kind in path.name) for kind in (*KINDS, "extract1d")}
    if real:
        files["specwcs"] = REAL
    stored.write(exposure, files.setdefault("rate", folder / "stripes_rateints.fits"))
    return exposure, References(files, header), files


def cut(exposure, refs, **parameters):
    exposure = assign_wcs.apply(exposure, refs, "nircam_stripes", sip_approx=False, **parameters)
    return srctype.apply(extract_2d.apply(exposure, refs, "stripes"))


PEER = """
from jwst.assign_wcs import AssignWcsStep
from jwst.extract_2d import Extract2dStep
from jwst.srctype import SourceTypeStep
from jwst.extract_1d import Extract1dStep
model = SourceTypeStep.call(Extract2dStep.call(AssignWcsStep.call(str(rate), sip_approx=False)))
out["names"] = np.array([slit.name for slit in model.slits])
out["boxes"] = np.array([(slit.xstart, slit.ystart, slit.xsize, slit.ysize) for slit in model.slits])
out["types"] = np.array([slit.source_type for slit in model.slits])
for name in ("data", "err", "dq", "wavelength"):
    out[name] = np.array([getattr(slit, name) for slit in model.slits])
for slit in model.slits:
    slit.meta.bunit_data = "DN/s"
x1d = Extract1dStep.call(model)
for column in ("WAVELENGTH", "FLUX", "FLUX_ERROR", "NPIXELS", "INT_NUM"):
    out[column] = np.array([spec.spec_table[column] for spec in x1d.spec])
"""


def peers(folder, files):
    kinds = [kind for kind in files if kind != "rate"]
    given = {"kinds": np.array(kinds), "paths": np.array([str(files[kind]) for kind in kinds])}
    return peer_python(grisms.PEER + PEER, folder=str(folder), rate=str(files["rate"]), **given)


@pytest.mark.parity
@needs_peer
@pytest.mark.parametrize(
    ("detector", "real"),
    [
        ("NRCALONG", False),
        pytest.param("NRCA1", True, marks=pytest.mark.skipif(not REAL.exists(), reason="../shared/real is not here")),
    ],
    ids=["NRCALONG", "NRCA1, real specwcs"],
)
def test_peer_of_stripes(tmp_path, detector, real):
    """Cut-outs, wavelengths and spectra. Conversion is left out: the peer finds no row for stripes and leaves them in DN/s."""
    exposure, refs, files = whole(tmp_path, detector, real, VELOSYS=15000.0)
    theirs = peers(tmp_path, files)
    found = cut(exposure, refs)
    slits = list(found.slits())
    assert [s.header["SLTNAME"] for s in slits] == theirs["names"].tolist()
    keys = ("SLTSTRT1", "SLTSTRT2", "SLTSIZE1", "SLTSIZE2")
    np.testing.assert_array_equal([[s.header[key] for key in keys] for s in slits], theirs["boxes"])
    assert [s.header["SRCTYPE"] for s in slits] == theirs["types"].tolist()
    np.testing.assert_allclose([s.extra["WAVELENGTH"] for s in slits], theirs["wavelength"], rtol=2e-7)
    for name, their in (("sci", "data"), ("err", "err"), ("dq", "dq")):
        np.testing.assert_array_equal([getattr(s, name) for s in slits], theirs[their])
    (x1d,) = extract_1d.apply(found, refs)
    for column in ("WAVELENGTH", "FLUX", "FLUX_ERROR", "NPIXELS", "INT_NUM"):
        np.testing.assert_allclose([s.table[column] for s in x1d.spectra], theirs[column], rtol=1e-6, err_msg=column)


@pytest.mark.parity
@pytest.mark.full
@needs_peer
def test_the_peer_takes_the_models_of_other_stripes(tmp_path):
    """It goes through the stripes in the order in which Python keeps a set of them: 8, 9, 10, 7."""
    exposure, refs, files = whole(tmp_path, "NRCA1")
    theirs = peers(tmp_path, files)
    ours = np.array([slit.extra["WAVELENGTH"][0] for slit in cut(exposure, refs).slits()])
    np.testing.assert_allclose(theirs["wavelength"][:, 0], np.roll(ours, 1, axis=0), rtol=2e-7)


def test_a_target_that_was_asked_to_be_elsewhere_moves_its_stripes(tmp_path):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    here, there = (cut(*whole(tmp_path / name, "NRCA1", XOFFSET=offset, YOFFSET=0.0)[:2]) for name, offset in (("a", 0.0), ("b", 5.0)))
    pixels = np.arange(2048.0)
    places = [np.interp(1.6, s.extra["WAVELENGTH"][0][::-1], pixels[::-1]) for s in (next(iter(e.slits())) for e in (here, there))]
    assert abs(places[1] - places[0]) == pytest.approx(5.0 / 0.0311, rel=0.02)  # arcsec a pixel


def test_references_that_do_not_fit(tmp_path):
    exposure, refs, files = whole(tmp_path, "NRCA1", PPS_APER="NRCA5_GRISMDHS_F444W")
    with pytest.raises(ReferenceError, match="models for F322W2, the aperture is NRCA5_GRISMDHS_F444W"):
        cut(exposure, refs)
    exposure.header["PPS_APER"] = "NRCA5_GRISMDHS_F322W2"
    with asdf.open(files["regions"], lazy_load=False, memmap=False) as file:
        tree = {"meta": file.tree["meta"], "regions": np.where(file.tree["regions"] > 0, 3, 0).astype(np.int16)}
    asdf.AsdfFile(tree).write_to(tmp_path / "others.asdf")
    with pytest.raises(ReferenceError, match=r"no model of the stripes \[3\]"):
        cut(exposure, References({**files, "regions": tmp_path / "others.asdf"}, exposure.header))
    with pytest.raises(Skip, match="regions reference is N/A"):
        cut(exposure, References({**files, "regions": "N/A"}, exposure.header))
    with pytest.raises(ReferenceError, match="no order 2 for F150W2"):
        extract_2d.apply(assign_wcs.apply(exposure, refs, "nircam_stripes", sip_approx=False), refs, "stripes", extract_orders=[2])
