"""Calibrated spectra of MIRI's prism from the pipelines spec2 and tso-spec2: the truth, and the peer on real and simulated data."""

import json

import numpy as np
import pytest
from astropy.io import fits

import jwcal
import lrs
import make
from jwcal.products import stored
from jwcal.settings import chains, facts
from jwcal.simulate import crds_cache, prism, spectrograph
from jwcal.simulate.spectrograph import Dip, Source, Spectrum, simulate_lrs
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import ConfigError, InputError
from peer import needs_peer, peer_python

REAL = lrs.SLITLESS / "ERS_NGTS10_2022_new_drift_041_rateints.fits"
needs_real = pytest.mark.skipif(not REAL.exists(), reason="the real files (../shared/real) are not here")
NAMES = {"data": "sci", "err": "err", "dq": "dq", "var_poisson": "var_poisson", "var_rnoise": "var_rnoise", "var_flat": "var_flat"}
STAR = Source(Spectrum(flux=0.02, slope=-1.0, lines=((9.0, -0.3, 0.1),)), along=0.2)
SKY = 25.0  # MJy/sr


def overrides(pipeline, files, **more):
    """The references of a run without CRDS: those that are not given are none."""
    chain = chains.chain(pipeline, {"EXP_TYPE": "MIR_LRS-FIXEDSLIT"})
    types = {kind for step in chain.steps for kind in (*facts.about(step.name).required, *facts.about(step.name).optional)}
    pars = {f"pars-{step.name}" for step in chain.steps}
    given = {kind: str(path) for kind, path in {**files, **more}.items()}
    return {kind: given.get(kind, "N/A") for kind in sorted(types | pars) if not kind.startswith("pars-")}


def run(pipeline, source, files, cache, every=True, **more):
    return jwcal.run_pipeline(pipeline, source, overrides=overrides(pipeline, files), every=every, crds_path=str(cache), **more)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The references of the prism, with a flat of the whole detector."""
    folder = tmp_path_factory.mktemp("references")
    return spectrograph.write_lrs_references(folder) | {"flat": flat(folder / "flat.fits")}


@pytest.fixture(scope="module")
def cache(files, tmp_path_factory):
    """A CRDS cache with the instrument, and without parameters."""
    folder = tmp_path_factory.mktemp("crds")
    crds_cache.build(folder, [files["flat"]])
    return folder


def flat(path):
    rng = np.random.default_rng(4)
    value = rng.normal(1, 0.05, (1024, 1032)).astype(np.float32)
    bits = rng.choice([0] * 50 + [1, 2], value.shape).astype(np.uint32)
    value[rng.random(value.shape) < 0.002] = np.nan
    value[rng.random(value.shape) < 0.001] = 0
    flags = make.dq_def(DO_NOT_USE=1, UNRELIABLE_FLAT=2)
    content = {"SCI": value, "ERR": np.full(value.shape, 0.003, np.float32), "DQ": bits, "DQ_DEF": flags}
    return make.reference_file(path, "flat", {**content, "INSTRUME": "MIRI", "DETECTOR": "MIRIMAGE"})


def through(exposure, files):
    """An exposure as it comes through a flat field."""
    y, x = (int(exposure.header[key]) - 1 for key in ("SUBSTRT2", "SUBSTRT1"))
    rows, columns = exposure.sci.shape[-2:]
    value = np.nan_to_num(fits.getdata(files["flat"], "SCI")[y : y + rows, x : x + columns])
    exposure.sci *= value
    exposure.var_poisson, exposure.var_rnoise = (np.ascontiguousarray(v * value**2) for v in (exposure.var_poisson, exposure.var_rnoise))
    exposure.err *= value
    return exposure


def written(folder, made, name):
    return stored.write(made, folder / f"jw01234001001_02101_{name}_mirimage_{made.suffix}.fits")


def nods(folder, files, noise=True):
    """Two nods of a star on a sky, as rates, and the association of the first with the other as its background."""
    made = [
        simulate_lrs(
            files,
            sources=[STAR],
            background=lambda w: SKY + 0 * w,
            dither={"x": x, "y": 0.0, "pattern": "ALONG-SLIT-NOD"},
            noise=noise,
            seed=n,
        )
        for n, x in enumerate((-1.9, 1.9))
    ]
    paths = [written(folder, through(one.exposure, files), f"{n + 1:05d}") for n, one in enumerate(made)]
    members = [{"expname": path.name, "exptype": kind} for path, kind in zip(paths, ("science", "background"), strict=True)]
    about = {"asn_type": "spec2", "asn_rule": "Asn_Lv2SpecNod", "asn_id": "o001", "asn_pool": "pool.csv", "program": "01234"}
    about |= {"version_id": "1", "target": "1"}
    product = {"name": paths[0].name.removesuffix("_rate.fits"), "members": members}
    (folder / "jw01234-o001_spec2_00001_asn.json").write_text(json.dumps({**about, "products": [product]}))
    return made, paths, folder / "jw01234-o001_spec2_00001_asn.json"


def flux_of(cal, made, rows):
    """Jy of the rows of a calibrated slit, of good columns scaled to all of the profile; the flat has bad pixels."""
    profile = made.truth.image[rows] if made.truth.image.ndim == 2 else made.truth.image[0][rows]
    image = cal.sci[..., rows, :].astype(float)
    good = np.isfinite(image)
    part = (profile * good).sum(axis=-1) / profile.sum(axis=-1)
    return np.where(good, image, 0).sum(axis=-1) / part * cal.header["PIXAR_SR"] * 1e6


def test_flux_of_a_star_in_the_slit(tmp_path, files, cache):
    """spec2 from the rate to the calibrated slit: within 0.5 %, slit losses made up for."""
    made = simulate_lrs(files, sources=[STAR], noise=False)
    path = written(tmp_path, through(made.exposure, files), "00001")
    products = run("spec2", path, files, cache, out=tmp_path / "out")
    assert list(products) == ["cal", "s2d", "x1d"]
    cal = products["cal"]
    wavelength = np.fmax.reduce(made.truth.wavelength, axis=1)
    rows = np.flatnonzero((wavelength > 5.6) & (wavelength < 12))
    away = np.abs(wavelength[rows] - 9.0) > 0.3  # the line is blurred
    np.testing.assert_allclose(flux_of(cal, made, rows)[away], STAR.spectrum(wavelength[rows])[away], rtol=5e-3)
    file = tmp_path / "out" / path.name.replace("rate", "cal")
    again = stored.read(file)
    header = again.header
    status = {
        key: header.get(key)
        for key in ("S_WCS", "S_SRCTYP", "S_FLAT", "S_PTHLOS", "S_PHOTOM", "S_BKDSUB", "S_IMPRNT", "S_BPXSLF", "S_TACNTR")
    }
    assert list(status.values()) == ["COMPLETE"] * 5 + ["SKIPPED"] * 4
    assert header["SRCTYPE"] == "POINT" and header["BUNIT"] == "MJy/sr"
    assert set(cal.pixels[0].extra) == {"WAVELENGTH", "PATHLOSS_PS"}
    assert header["DATAMODL"] == "SlitModel"
    np.testing.assert_array_equal(again.sci, cal.sci)
    assert again.wcs is not None


LINES = ((6.5, 0.5, 0.08), (9.0, 0.6, 0.08), (11.0, 0.7, 0.08))  # micron, of the continuum, micron


def extracted(folder, cache, slitless, series, lines):
    """The x1d of a star with lines, from a rate without noise (or two integrations of it): wavelength, Jy; its truth; all products."""
    files = prism.write_references(folder / "references", width=17)  # the box does not follow the trace, which bends by two pixels
    star = Source(Spectrum(flux=0.02, slope=-1.0, lines=lines))
    known = {"nints": 1} if slitless else {}
    one = simulate_lrs(files, slitless=slitless, sources=[star], noise=False, **known).exposure
    planes = {name: plane.reshape(plane.shape[-2:]) for name, plane in one.pixels[0].planes()}
    if series:
        planes = {name: np.stack([plane] * 2) for name, plane in planes.items()}
    taken = one.derive([type(one.pixels[0])(**planes, header=one.pixels[0].header)], "rateints" if series else "rate")
    taken.header["TSOVISIT"], taken.header["NINTS"], taken.header["SRCTYAPT"] = series, 1 + series, "POINT"
    path = written(folder, taken, f"{len(lines):05d}")
    steps = {"extract_1d": {"subtract_background": False}}  # which would take the star's wings for sky
    products = run("tso-spec2" if series else "spec2", path, files | {"flat": "N/A"}, cache, out=folder / "out", steps=steps)
    (spectrum,) = products["x1dints" if series else "x1d"].spectra
    table = spectrum.table[-1] if series else spectrum.table
    return np.asarray(table["WAVELENGTH"]), np.asarray(table["FLUX"]), star.spectrum, products


@pytest.mark.parametrize("series", [False, True], ids=["image", "series"])
@pytest.mark.parametrize("slitless", [False, True], ids=["slit", "slitless"])
def test_spectrum_of_a_star(tmp_path, cache, slitless, series):
    """From a rate to an x1d: flux within 0.5 % over the band, lines within a tenth of a pixel."""
    at, flux, truth, products = extracted(tmp_path, cache, slitless, series, ())
    assert [products[name].steps["pathloss"][0] for name in list(products)[:1] if not slitless] == ["COMPLETE"] * (not slitless)
    band = (at > 5.5) & (at < 12.5)
    assert band.sum() > 150
    off = np.abs(flux[band] / truth(at[band]) - 1)
    assert np.percentile(off, 99) < 5e-3, np.percentile(off, [50, 99, 100])
    _, lined, _, _ = extracted(tmp_path, cache, slitless, series, LINES)
    pixel = np.abs(np.gradient(at))
    for middle, _, width in LINES:
        near = np.abs(at - middle) < 6 * width
        excess = (lined - flux)[near] * pixel[near]
        off = ((at[near] * excess).sum() / excess.sum() - middle) / pixel[near].mean()
        assert abs(off) < 0.1, (middle, off)


def test_nods_leave_the_star_without_its_sky(tmp_path, files, cache):
    made, _, association = nods(tmp_path, files, noise=False)
    cal = run("spec2", association, files, cache)["cal"]
    assert cal.steps["bkg_subtract"][0] == "COMPLETE"
    wavelength = np.fmax.reduce(made[0].truth.wavelength, axis=1)
    rows = np.flatnonzero((wavelength > 6.5) & (wavelength < 8.5))
    middle = int(round(np.median(made[0].truth.paths[0].across)))
    window = np.zeros(made[0].truth.image.shape, bool)
    window[:, middle - 8 : middle + 9] = True
    sky = SKY / spectrograph.lrs_response(made[0].truth.wavelength)
    star, image = np.nan_to_num(made[0].truth.image - sky), np.where(window & np.isfinite(cal.sci), cal.sci, 0)
    part = (star * (window & np.isfinite(cal.sci)))[rows].sum(axis=1) / star[rows].sum(axis=1)
    flux = image[rows].sum(axis=1, dtype=float) / part * cal.header["PIXAR_SR"] * 1e6
    np.testing.assert_allclose(flux, STAR.spectrum(wavelength[rows]), rtol=2e-2)  # the other nod's halo reaches here


def test_a_series_keeps_its_transit(tmp_path, files, cache):
    """tso-spec2: each integration by itself, the depth as it was."""
    dip = Dip(shape=np.array([0, 0, 1, 1, 0]), depth=0.01)
    made = simulate_lrs(files, slitless=True, sources=[STAR], dip=dip, noise=False, header={"TSOVISIT": True, "SRCTYAPT": "EXTENDED"})
    path = written(tmp_path, through(made.exposure, files), "00002")
    made_of = run("tso-spec2", path, files, cache)
    assert list(made_of) == ["calints", "x1dints"]
    cal = made_of["calints"]
    assert cal.header["SRCTYPE"] == "POINT"  # a series is, whatever was planned
    wavelength = np.fmax.reduce(made.truth.wavelength, axis=1)
    rows = np.flatnonzero((wavelength > 5.6) & (wavelength < 12))
    away = np.abs(wavelength[rows] - 9.0) > 0.3
    flux = flux_of(cal, made, rows)[:, away]
    np.testing.assert_allclose(flux[0], STAR.spectrum(wavelength[rows])[away], rtol=5e-3)
    depth = 1 - flux.sum(axis=1) / flux[0].sum()
    np.testing.assert_allclose(depth, 0.01 * dip.shape, atol=1e-5)


def test_a_series_without_times_is_calibrated_all_the_same(tmp_path, files, cache):
    made = simulate_lrs(files, slitless=True, sources=[STAR], nints=2)
    made.exposure.tables.clear()
    cal = run("tso-spec2", written(tmp_path, made.exposure, "00003"), files, cache)["calints"]
    assert np.isfinite(cal.sci).any()


@pytest.mark.parametrize("slitless", [False, True], ids=["slit", "slitless"])
def test_without_photometry(tmp_path, files, cache, slitless):
    """Users' troubles 7 and 28: wavelengths are there all the same, one a row; spectra are sums in DN/s, and say so."""
    made = simulate_lrs(
        files, slitless=slitless, sources=[STAR], noise=False, header={"SRCTYAPT": "POINT"}, **({"nints": 2} if slitless else {})
    )
    path = written(tmp_path, made.exposure, "00004")
    products = run("tso-spec2" if slitless else "spec2", path, files | {"flat": "N/A"}, cache, steps={"photom": {"skip": True}})
    cal = products["calints" if slitless else "cal"]
    wavelength = cal.pixels[0].extra["WAVELENGTH"]
    rows = np.isfinite(wavelength).any(axis=1)
    assert rows.sum() > 300 and np.nanmax(np.nanmax(wavelength[rows], axis=1) - np.nanmin(wavelength[rows], axis=1)) == 0
    assert cal.header["BUNIT"] == "DN/s" and cal.steps["photom"][0] == "SKIPPED"
    (spectrum,) = products["x1dints" if slitless else "x1d"].spectra
    units = {name: spectrum.header.get(f"TUNIT{n}") for n, name in enumerate(spectrum.table.dtype.names, start=1)}
    assert units["FLUX"] == units["FLUX_ERROR"] == "DN/s"
    flux, truth = np.nanmax(spectrum.table["FLUX"]), made.truth.image[..., rows, :].sum(axis=-1).max()
    assert 0.5 < flux / truth < 1.5


def test_segments_of_a_series_in_the_slit(tmp_path, files, cache):
    """The slit's spectrum as a series: a transit through tso-spec2 and tso3."""
    shape, rates = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 0.0]), simulate_lrs(files, sources=[STAR], noise=False).exposure
    random = np.random.default_rng(3)
    members = []
    for number, part in enumerate((slice(0, 4), slice(4, 6)), start=1):
        planes = {name: np.stack([plane] * len(shape[part])) for name, plane in rates.pixels[0].planes()}
        planes["sci"] = planes["sci"] * (1 - 0.02 * shape[part])[:, None, None].astype(np.float32)
        planes["sci"] = planes["sci"] + planes["err"] * random.standard_normal(planes["sci"].shape, np.float32)
        segment = rates.derive([type(rates.pixels[0])(**planes)], "rateints")
        segment.header["TSOVISIT"], segment.header["NINTS"], segment.header["SRCTYAPT"] = True, len(shape), "POINT"
        segment.header["INTSTART"], segment.header["INTEND"] = part.start + 1, part.stop
        path = stored.write(segment, tmp_path / f"jw01234001001_02101_00001-seg{number:03d}_mirimage_rateints.fits")
        run("tso-spec2", path, files | {"flat": "N/A"}, cache, out=tmp_path)
        members.append({"expname": path.name.replace("rateints", "calints"), "exptype": "science"})
    about = {"asn_type": "tso3", "asn_rule": "DMS_Level3_TSO", "asn_id": "o001", "asn_pool": "pool.csv", "program": "01234"}
    association = tmp_path / "jw01234-o001_tso3_00001_asn.json"
    association.write_text(json.dumps(about | {"products": [{"name": "jw01234-o001_t001_miri_p750l", "members": members}]}))
    products = run("tso3", association, files, cache, out=tmp_path / "out")
    curve = products["whtlt"].catalogue["whitelight_flux"].value
    assert curve.size == 6 and np.abs(1 - curve / curve[shape == 0].mean() - 0.02 * shape).max() < 3e-3
    assert [len(spectrum.table) for spectrum in products["x1dints"].spectra] == [4, 2]


def test_columns_without_a_value(tmp_path, files, cache):
    """All-NaN columns stay NaN, and flagged; the others are as they are without them."""
    pair = []
    for number, bad in enumerate((False, True)):
        made = simulate_lrs(files, slitless=True, sources=[STAR], nints=2)
        if bad:
            made.exposure.sci[..., 30:33] = np.nan
        pair.append(run("tso-spec2", written(tmp_path, made.exposure, f"{number:05d}"), files, cache)["calints"])
    whole, part = pair
    assert np.isnan(part.sci[..., 30:33]).all() and (part.dq[..., 30:33] & dq.DO_NOT_USE).all()
    for columns in (slice(0, 30), slice(33, None)):
        np.testing.assert_array_equal(part.sci[..., columns], whole.sci[..., columns])


def test_segments_through_tso3(tmp_path, files, cache):
    """Segments of unlike length: of a deep transit nothing is flagged, also not beside the flat's bad pixels; a cosmic ray is."""
    shape = np.repeat([0.0, 1.0, 0.0], 4)
    made = simulate_lrs(files, slitless=True, sources=[STAR], dip=Dip(shape=shape, depth=0.04), header={"TSOVISIT": True}, seed=5)
    rates, members = made.exposure, []
    rates.sci[5, 200, 30] += 500
    for number, part in enumerate((slice(0, 7), slice(7, 12)), start=1):
        planes = {name: plane[part].copy() for name, plane in rates.pixels[0].planes()}
        segment = rates.derive([type(rates.pixels[0])(**planes)], "rateints")
        segment.tables = {}
        segment.header["INTSTART"], segment.header["INTEND"], segment.header["NINTS"] = part.start + 1, part.stop, 12
        path = stored.write(segment, tmp_path / f"jw01234001001_02101_00001-seg{number:03d}_mirimage_rateints.fits")
        run("tso-spec2", path, files, cache, out=tmp_path)
        members.append({"expname": path.name.replace("rateints", "calints"), "exptype": "science"})
    about = {"asn_type": "tso3", "asn_rule": "DMS_Level3_TSO", "asn_id": "o001", "asn_pool": "pool.csv", "program": "01234"}
    about |= {"products": [{"name": "jw01234-o001_t001_miri_p750l-slitlessprism", "members": members}]}
    association = tmp_path / "jw01234-o001_tso3_00001_asn.json"
    association.write_text(json.dumps(about))
    curve = run("tso3", association, files, cache, out=tmp_path / "out")["whtlt"].catalogue["whitelight_flux"].value
    depth = 1 - curve / curve[shape == 0].mean()
    assert depth.size == 12 and np.abs(depth - 0.04 * shape).max() < 2e-3  # the hit is in integration 6
    flagged = [stored.read(path).dq & dq.OUTLIER > 0 for path in sorted((tmp_path).rglob("*crfints.fits"))]
    assert [one.shape for one in flagged] == [(7, 416, 72), (5, 416, 72)]
    assert flagged[0][5, 200, 30] and sum(one.sum() for one in flagged) <= 4  # hundreds, if neighbours of bad pixels stayed bright


def test_bad_input(tmp_path, files, cache):
    made = simulate_lrs(files, sources=[STAR])
    made.exposure.var_poisson = None
    with pytest.raises(InputError, match="it has no VAR_POISSON, which flat_field needs"):
        run("spec2", written(tmp_path, made.exposure, "00001"), files, cache)
    image = simulate_lrs(files, sources=[STAR], header={"EXP_TYPE": "MIR_IMAGE"})
    with pytest.raises(ConfigError, match="spec2 is no pipeline of MIR_IMAGE"):
        jwcal.run_pipeline("spec2", image.exposure, crds_path=str(cache))


# --- the peer ------------------------------------------------------------------------------------------------------------------

PEER = """
from stdatamodels.jwst import datamodels
from jwst.assign_wcs.assign_wcs import load_wcs
from jwst.background.background_sub import background_sub
from jwst.flatfield.flat_field import do_correction as flat_field
from jwst.pathloss.pathloss import do_correction as pathloss
from jwst.photom.photom import DataSet
from jwst.srctype.srctype import set_source_type
import json
for name, case in json.loads(str(cases)).items():
    model = load_wcs(datamodels.open(case["file"]), {"distortion": case["distortion"], "specwcs": case["specwcs"]})
    if case["backgrounds"]:
        _, model = background_sub(model, case["backgrounds"], 3.0, None)
    slit = datamodels.SlitModel(model)
    for key in ("xstart", "ystart", "xsize", "ysize"):  # as the peer's pipeline does
        setattr(slit, key, getattr(model.meta.subarray, key))
    slit = set_source_type(slit)
    slit, _ = flat_field(slit, flat=datamodels.FlatModel(case["flat"]))
    if case["slit"]:
        slit = pathloss(slit, datamodels.MirLrsPathlossModel(case["pathloss"]), return_corrections=False)
    slit = DataSet(slit).apply_photom(case["photom"], "N/A")
    for plane in ("data", "err", "dq", "var_poisson", "var_rnoise", "var_flat", "wavelength", "pathloss_point"):
        value = getattr(slit, plane, None)
        if value is not None and np.size(value):
            out[f"{name} {plane}"] = np.asarray(value)
    photometry = slit.meta.photometry
    names = ("conversion_megajanskys", "conversion_microjanskys", "pixelarea_steradians", "pixelarea_arcsecsq")
    out[f"{name} keywords"] = [getattr(photometry, key) for key in names]
    out[f"{name} words"] = [slit.meta.target.source_type, slit.meta.bunit_data]
"""


def cut(path, integrations):
    """The first integrations of the real series, as a file of their own."""
    with fits.open(REAL) as hdus:
        for hdu in hdus[1:]:
            if hdu.name in ("SCI", "ERR", "DQ", "VAR_POISSON", "VAR_RNOISE"):
                hdu.data = hdu.data[:integrations].copy()
        hdus[0].header["NINTS"] = integrations
        del hdus["ASDF"]
        hdus.writeto(path)
    return path


@pytest.mark.parity
@needs_peer
@needs_real
def test_as_the_peer(tmp_path, files, cache):
    """Real integrations with the references that are there, and a simulated nod: 1e-6, data quality bit for bit."""
    real = {name: lrs.SLITLESS / f"jwst_miri_{file}" for name, file in lrs_files().items()} | {"flat": files["flat"]}
    series = cut(tmp_path / "jw00623026001_02101_00001_mirimage_rateints.fits", 2)
    made, paths, association = nods(tmp_path, files)
    cases = {
        "real": {**real, "file": series, "backgrounds": [], "slit": False},
        "nod": {**files, "file": paths[0], "backgrounds": [paths[1]], "slit": True},
    }
    peers = peer_python(PEER, cases=json.dumps(cases, default=lambda path: str(path)))
    ours = {"real": run("tso-spec2", series, real, cache)["calints"], "nod": run("spec2", association, files, cache)["cal"]}
    for name, exposure in ours.items():
        np.testing.assert_array_equal(exposure.dq, peers[f"{name} dq"])
        for theirs, mine in NAMES.items():
            if mine != "dq":
                np.testing.assert_allclose(getattr(exposure, mine), peers[f"{name} {theirs}"], rtol=1e-6, atol=0, err_msg=f"{name} {mine}")
        np.testing.assert_array_equal(exposure.pixels[0].extra["WAVELENGTH"], peers[f"{name} wavelength"])
        keywords = [exposure.header[key] for key in ("PHOTMJSR", "PHOTUJA2", "PIXAR_SR", "PIXAR_A2")]
        np.testing.assert_allclose(keywords, peers[f"{name} keywords"], rtol=1e-7)
        assert [exposure.header[key] for key in ("SRCTYPE", "BUNIT")] == list(peers[f"{name} words"])
        assert np.isfinite(exposure.sci).sum() > 10000
    np.testing.assert_allclose(ours["nod"].pixels[0].extra["PATHLOSS_PS"], peers["nod pathloss_point"], rtol=1e-6)


def lrs_files():
    return {"distortion": "distortion_0028.asdf", "specwcs": "specwcs_0003.fits", "photom": "photom_0071.fits"}
