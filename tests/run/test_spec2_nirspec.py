"""NIRSpec's slits through spec2 to spectra: against the peer's whole pipeline, and as stdatamodels opens them."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from astropy.io import fits

import jwcal
import nirspec
from jwcal.products import stored
from jwcal.simulate import headers, spectrograph
from jwcal.simulate.nirspec import (
    Slitlet,
    examples,
    places_in_shutters,
    places_on_sky,
    simulate_slitlets,
    simulate_slits,
    write_msa,
    write_references,
)
from jwcal.simulate.nirspec.program import Even
from jwcal.vocabulary import dq
from nirspec import needs_real
from peer import needs_peer, peer_python

TIMES = {"EFFEXPTM": 100.0, "EXPSTART": 60000.0, "EXPMID": 60000.01, "EXPEND": 60000.02, "SRCTYAPT": "POINT", "TARGNAME": "A"}
PEER = """
import json, os
os.makedirs(f"{folder}/config/jwst")
names = ("operational_context", "latest_context", "edit_context", "versions_context")
server = {"observatory": "jwst", "status": "cache", "connected": False, "bad_files": "", "bad_files_list": [], "force_remote_mode": False}
server |= {"crds_version": {"str": "14.0.3"}, "reference_url": {}, "mapping_url": {}, "last_synced": "never", "checksum_mode": False}
with open(f"{folder}/config/jwst/server_config", "w") as file:
    file.write(repr({**server, **dict.fromkeys(names, "jwst_0001.pmap")}))
os.environ.update(STPIPE_DISABLE_CRDS_STEPPARS="true", CRDS_PATH=str(folder), CRDS_SERVER_URL="https://127.0.0.1:9")
from stpipe.step import Step
files = json.loads(str(files))
def get_reference_file(self, given, kind):
    return files.get(f"{kind}@{given.meta.exposure.type}", files.get(kind, "N/A"))
Step.get_reference_file = get_reference_file
import jwst.pipeline
pipe = jwst.pipeline.Spec2Pipeline()
pipe.save_results, pipe.output_dir, pipe.prefetch_references = True, str(folder), False
for name in json.loads(str(skip)):
    getattr(pipe, name).skip = True
os.chdir(str(folder))
pipe.run(str(source))
"""
OPENED = """
from stdatamodels.jwst import datamodels
for path in paths:
    with datamodels.open(str(path), strict_validation=True) as model:
        model.validate()
        out[str(path).split("/")[-1]] = type(model).__name__
"""
TINY = np.finfo(np.float32).tiny  # of nods without noise some variances are less, which float32 has not to 1e-6
LIKE_THE_PEER = {"resample_spec": {"error_of": "area"}, "extract_1d": {"bad_pixels": "omit"}, "barshadow": {"least_light": 0.0}}
CASES = {  # mode, rows and columns, keywords, our pipeline, products
    "slits": ("fs", (256, 2048), {"SUBARRAY": "ALLSLITS", "SUBSTRT2": 897}, "spec2", ("cal", "s2d", "x1d")),
    "grating": (
        *("fs", (256, 2048), {"SUBARRAY": "ALLSLITS", "SUBSTRT2": 897, "GRATING": "G395H", "FILTER": "F290LP"}),
        *("spec2", ("cal", "s2d", "x1d")),
    ),
    "series": (
        "bots",
        (3, 512, 512),
        {"EXP_TYPE": "NRS_BRIGHTOBJ", "FXD_SLIT": "S1600A1", "OPMODE": "BRIGHTOBJ", "SUBARRAY": "SUB512", "SUBSTRT2": 897, "SUBSTRT1": 801}
        | {"TSOVISIT": True, "NINTS": 3, "INTSTART": 1, "INTEND": 3, "EXSEGNUM": 1, "EXSEGTOT": 1},
        "tso-spec2",
        ("calints", "x1dints"),
    ),
    "lamp": (
        "lamp",
        (256, 2048),
        {
            "EXP_TYPE": "NRS_AUTOWAVE",
            "FILTER": "OPAQUE",
            "LAMP": "LINE4",
            "SRCTYAPT": None,
            "SUBARRAY": "ALLSLITS",
            "SUBSTRT2": 897,
            "FXD_SLIT": "NONE",
        },
        "nrslamp-spec2",
        ("cal", "s2d", "x1d"),
    ),
    "lamp through shutters": (
        "lamp",
        (2048, 2048),
        nirspec.SHUTTERS | {"EXP_TYPE": "NRS_AUTOWAVE", "FILTER": "OPAQUE", "LAMP": "LINE4", "SRCTYAPT": None},
        "nrslamp-spec2",
        ("cal", "s2d", "x1d"),
    ),
    "flat lamp through shutters": (
        "lamp",
        (2048, 2048),
        nirspec.SHUTTERS | {"EXP_TYPE": "NRS_AUTOFLAT", "FILTER": "OPAQUE", "LAMP": "FLAT5", "SRCTYAPT": None},
        "nrslamp-spec2",
        ("cal", "x1d"),
    ),
    "shutters": ("mos", (2048, 2048), nirspec.SHUTTERS, "spec2", ("cal", "s2d", "x1d")),
}


@needs_real
@needs_peer
@pytest.mark.parity
@pytest.mark.full
@pytest.mark.parametrize("case", CASES)
def test_like_the_peer(tmp_path, case):
    mode, shape, keywords, pipeline, products = CASES[case]
    rng = np.random.default_rng(3)
    exposure = nirspec.exposure(shape, rng.normal(20, 5, shape).astype(np.float32), **{**TIMES, **keywords})
    exposure.only.var_poisson, exposure.only.var_rnoise = (rng.uniform(0.5, 1, shape).astype(np.float32) for _ in range(2))
    exposure.only.err = np.sqrt(exposure.only.var_poisson + exposure.only.var_rnoise)
    exposure.only.dq = rng.choice([0] * 200 + [1, 4], shape).astype(np.uint32)
    given = {"grating": keywords.get("GRATING", "PRISM"), "lamp_mode": keywords.get("OPMODE", "FIXEDSLIT")}
    files = write_references(tmp_path / "references", mode=mode, real=nirspec.REAL, **given)
    files = {kind: str(path) for kind, path in files.items() if kind not in ("msaoper", "cubepar")}
    overrides = {**files, "msaoper": "N/A"}
    if mode == "mos":  # with a source in a fixed slit, which is calibrated as in its own mode
        slitlets = [*examples(None, None), Slitlet(0, 5, 0, 0, source=21, x=0.45, y=0.6, stellarity=1.0, slit="S400A1")]
        of_slits = {kind: str(path) for kind, path in write_references(tmp_path / "slits", mode="fs", real=nirspec.REAL).items()}
        by_type = {"NRS_MSASPEC": overrides, "NRS_FIXEDSLIT": of_slits}
        overrides = [{"match": {"EXP_TYPE": name}, "files": its} for name, its in by_type.items()]
        files |= {f"{kind}@NRS_FIXEDSLIT": path for kind, path in of_slits.items()}
    elif "MSAMETFL" in keywords:
        slitlets = examples(None, None)
        for kinds in (files, overrides):
            kinds["fflat"] = "N/A"  # by shutter, which the peer does not read for lamps
    if "MSAMETFL" in keywords:
        write_msa(tmp_path / keywords["MSAMETFL"], slitlets, configuration=keywords["MSAMETID"])
    source = nirspec.save(exposure, tmp_path / f"made_rate{'ints' if len(shape) == 3 else ''}.fits")
    if len(shape) == 3:
        names = [f"int_{when}_{scale}" for scale in ("MJD_UTC", "BJD_TDB") for when in ("start", "mid", "end")]
        rows = [(number, *(60000 + 0.001 * number + 0.0003 * k for k in range(6))) for number in range(1, shape[0] + 1)]
        times = np.array(rows, [("integration_number", ">i4"), *((name, ">f8") for name in names)])
        fits.append(source, times, fits.Header({"EXTNAME": "INT_TIMES"}))
    skip = ["master_background_mos"] if mode == "mos" else []  # it leaves differences of large numbers
    steps = {**LIKE_THE_PEER, **{name: {"skip": True} for name in skip}}
    jwcal.run_pipeline(pipeline, source, steps, overrides, out=tmp_path / "ours")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    if "MSAMETFL" in keywords:  # which is looked for where the pipeline runs
        write_msa(theirs / keywords["MSAMETFL"], slitlets, configuration=keywords["MSAMETID"])
    peer_python(PEER, files=json.dumps(files), source=str(source), folder=str(theirs), skip=json.dumps(skip))
    for suffix in products:
        with fits.open(tmp_path / f"ours/made_{suffix}.fits") as one, fits.open(theirs / f"made_{suffix}.fits") as other:
            compare(one, other, 1e-6 if suffix.startswith("cal") else 1e-4, ignore=("PATHLOSS_UN",) if mode == "mos" else ())
    paths = [str(tmp_path / f"ours/made_{suffix}.fits") for suffix in products]
    models = peer_python(OPENED, paths=paths)
    assert all("Model" in str(model) for model in models.values())


def compare(one, other, rtol, ignore):
    """Flags of calibrated pixels equal, 99.9 % of values; the end of the table of wavelengths is ours (docs/differences.md)."""
    assert {(h.name, h.ver) for h in one} == {(h.name, h.ver) for h in other}
    for hdu in one[1:]:
        if hdu.name in ignore:
            continue
        its = other[hdu.name, hdu.ver]
        if hdu.name == "EXTRACT1D":  # where there is no flux the peer's errors are 0
            lit = np.isfinite(hdu.data["FLUX"]) & np.isfinite(its.data["FLUX"])
            assert (lit == np.isfinite(its.data["FLUX"])).mean() > 0.999
            lit[..., :2], lit[..., -3:] = False, False
            columns = ("WAVELENGTH", "FLUX", "FLUX_ERROR", "SURF_BRIGHT", "NPIXELS")
            pairs = [(hdu.data[name][lit], its.data[name][lit]) for name in columns]
        elif isinstance(hdu, fits.ImageHDU):
            pairs = [(hdu.data[..., :-3], its.data[..., :-3])]
        else:
            continue
        for mine, its in pairs:
            if hdu.name == "DQ":
                np.testing.assert_array_equal(mine, its)
                continue
            good = np.isfinite(mine) & np.isfinite(its)
            assert (np.isfinite(mine) == np.isfinite(its)).mean() > 0.999
            power = 2 if hdu.name.startswith("VAR") else 1
            close = np.abs(mine[good] - its[good]) <= power * rtol * np.abs(its[good]) + TINY
            assert not good.any() or close.mean() >= 0.999, (hdu.name, hdu.ver, close.mean())


@pytest.mark.full
@pytest.mark.parametrize("detector", ["NRS1", "NRS2"])
def test_a_spectrum_on_both_detectors(tmp_path, detector):
    """A grating whose light falls on both: the flux in each half, and that the wavelengths of the second one go on from the first."""
    star = spectrograph.Source(spectrograph.Spectrum(flux=0.02, at=4.0, slope=-0.5))
    files = write_references(tmp_path / "references", mode="fs", grating="G395H", detector=detector)
    one = simulate_slits(files, grating="G395H", detector=detector, sources=[star], noise=False)
    rate = tmp_path / f"jw01234001001_02101_00001_{detector.lower()}_rate.fits"
    stored.write_all([(one.exposure, rate)])
    made = jwcal.run_pipeline("spec2", rate, overrides={kind: str(path) for kind, path in files.items()}, every=True)
    (spectrum,) = made["x1d"].spectra
    wavelength, flux = (np.asarray(spectrum.table[name], float) for name in ("WAVELENGTH", "FLUX"))
    good = np.isfinite(flux) & (wavelength > 2.95) & (wavelength < 5.1)
    assert good.sum() > 1000 and (np.diff(wavelength) > 0).all()
    assert (wavelength[good].max() < 4.2) if detector == "NRS1" else (wavelength[good].min() > 3.6)
    assert abs(np.median(flux[good] / star.spectrum(wavelength[good])) - 1) < 0.005


NODS = (0, -1, 1)  # shutters
NOD = "jw01234001001_02101_{:05d}_nrs1"
STAR = spectrograph.Spectrum(flux=0.02, at=2.0, slope=-0.8, lines=((3.2, 1.0, 0.05),))


@pytest.fixture(scope="module")
def nods(tmp_path_factory):
    """Three nods of slitlets of all kinds, without noise: rates, their metadata and associations in a folder; references."""
    folder = tmp_path_factory.mktemp("nods")
    files = write_references(folder / "references", mode="mos")
    slitlets = examples(STAR, Even(10.0))
    where, seen = places_on_sky(files, slitlets), places_in_shutters(files, slitlets, NODS)
    write_msa(folder / "jw01234001001_01_msa.fits", slitlets, nods=NODS, where=where, seen=seen)
    names = [f"{NOD.format(number)}_rate.fits" for number in (1, 2, 3)]
    for number, name in enumerate(names, start=1):
        known = {"nod": number, "nods": NODS, "identity": headers.Identity(exposure=number)}
        one = simulate_slitlets(files, slitlets, background=Even(1.0), noise=False, failed=(), **known)
        stored.write_all([(one.exposure, folder / name)])
        members = [{"expname": other, "exptype": "science" if other == name else "background"} for other in names]
        _associate(folder, f"{NOD.format(number)}_spec2", NOD.format(number), members)
    members = [{"expname": name.replace("rate", "cal"), "exptype": "science"} for name in names]
    _associate(folder, "spec3", "jw01234-o001_t001-{source_id}_nirspec", members)
    return folder, {kind: str(path) for kind, path in files.items()}


def _associate(folder, name, product, members):
    table = {"asn_type": name[-5:], "asn_rule": "x", "asn_id": "o001", "asn_pool": "none", "program": "1234", "target": "t001"}
    (folder / f"{name}_asn.json").write_text(json.dumps({**table, "products": [{"name": product, "members": members}]}))


@pytest.mark.full
def test_sources_are_nodded_from_shutter_to_shutter(nods):
    """What is left of stars when the nods are subtracted from each other and put together: within 0.5 %, lines within 0.1 pixel."""
    folder, references = nods
    for number in (1, 2, 3):
        jwcal.run_pipeline("spec2", folder / f"{NOD.format(number)}_spec2_asn.json", {}, references, out=folder)
        with fits.open(folder / f"{NOD.format(number)}_cal.fits") as hdus:
            assert hdus[0].header["S_BKDSUB"] == "COMPLETE" and hdus[0].header["S_MSBSUB"] == "SKIPPED"
    taken = {kind: references[kind] for kind in ("extract1d", "apcorr")}
    jwcal.run_pipeline("spec3", folder / "spec3_asn.json", {}, taken, out=folder)
    for source in (11, 12):
        (spectrum,) = stored.read(next(folder.glob(f"*s{source:09d}*_x1d.fits"))).spectra
        wavelength, flux = (np.asarray(spectrum.table[name], float) for name in ("WAVELENGTH", "FLUX"))
        good = np.isfinite(flux) & (wavelength > 1.0) & (wavelength < 5.0) & (np.abs(wavelength - 3.2) > 0.2)
        assert good.sum() > 200
        assert abs(np.median(flux[good] / STAR(wavelength[good])) - 1) < 0.005
        assert np.abs(pixels_off(spectrum, STAR, [3.2], 0.05)).max() < 0.1
        slits = stored.read(next(folder.glob(f"*s{source:09d}*_crf.fits"))).pixels
        assert len(slits) == 3 and all(np.count_nonzero(slit.dq & dq.OUTLIER) <= 10 for slit in slits)  # as sharp as the traces are


@needs_peer
@pytest.mark.parity
@pytest.mark.full
def test_a_nod_like_the_peer(nods, tmp_path):
    folder, references = nods
    source = folder / f"{NOD.format(2)}_spec2_asn.json"
    overrides = {**references, "msaoper": "N/A"}
    jwcal.run_pipeline("spec2", source, LIKE_THE_PEER, overrides, out=tmp_path / "ours")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for path in (source, *folder.glob("*_rate.fits"), *folder.glob("*_msa.fits")):  # they are looked for where the pipeline runs
        shutil.copy(path, theirs)
    files = {kind: path for kind, path in references.items() if kind not in ("msaoper", "cubepar")}
    peer_python(PEER, files=json.dumps(files), source=str(theirs / source.name), folder=str(theirs), skip=json.dumps([]))
    for suffix in ("cal", "s2d", "x1d"):
        name = f"{NOD.format(2)}_{suffix}.fits"
        with fits.open(tmp_path / "ours" / name) as one, fits.open(theirs / name) as other:
            assert one[0].header["S_BKDSUB"] == other[0].header["S_BKDSUB"] == "COMPLETE"
            compare(one, other, 1e-6 if suffix == "cal" else 1e-4, ignore=("PATHLOSS_UN",))


LINES = {
    "PRISM": (0.03, (1.2, 2.2, 3.2, 4.4)),
    "G395H": (0.002, (3.2, 3.3, 3.4, 3.5, 3.6, 4.2, 4.3, 4.4, 4.6, 4.8)),
}  # FWHM and places of lines [micron]
BESIDE = {  # mode, grating, detector, sources' places across a shutter of 0 to 1, or across S400A1 [arcsec], quadrants
    "shutters": ("mos", "PRISM", "NRS1", (0.2, 0.38, 0.62, 0.8), (3, 3, 3, 4)),
    "grating": ("mos", "G395H", "NRS2", (0.25, 0.75, 0.3, 0.8), (1, 2, 3, 4)),
    "slit": ("fs", "PRISM", "NRS1", (0.1, -0.1), ()),
}


@pytest.mark.full
@pytest.mark.parametrize("case", BESIDE)
def test_lines_of_sources_beside_the_middle_of_their_slit(tmp_path, case):
    """Within 0.1 pixel of where they belong; as far off as the source is if wavelengths are not corrected."""
    mode, grating, detector, places, quadrants = BESIDE[case]
    width, lines = LINES[grating]
    spectrum = spectrograph.Spectrum(flux=0.02, at=2.0, slope=-0.5, lines=tuple((at, 2.0, width) for at in lines))
    files = write_references(tmp_path / "references", mode=mode, grating=grating, detector=detector)
    if mode == "mos":
        each = enumerate(zip(places, quadrants, strict=True), start=1)
        slitlets = [Slitlet(n, q, 120 + 10 * n, 30 + 25 * n, source=n, x=x, spectrum=spectrum) for n, (x, q) in each]
        write_msa(tmp_path / "jw01234001001_01_msa.fits", slitlets)
        made = [simulate_slitlets(files, slitlets, grating=grating, detector=detector, noise=False, failed=())]
    else:
        dithers = [{"x": x, "y": 0.0, "number": n, "total": len(places)} for n, x in enumerate(places, start=1)]
        star = spectrograph.Source(spectrum)
        made = [simulate_slits(files, slit="S400A1", sources=[star], dither=dither, noise=False) for dither in dithers]
    found = {}
    for number, one in enumerate(made, start=1):
        rate = tmp_path / f"jw01234001001_02101_{number:05d}_{detector.lower()}_rate.fits"
        stored.write_all([(one.exposure, rate)])
        for name, steps in (("corrected", {}), ("as it is", {"wavecorr": {"skip": True}})):
            done = jwcal.run_pipeline("spec2", rate, steps, {kind: str(path) for kind, path in files.items()}, every=True)
            found[name] = found.get(name, []) + [pixels_off(one, spectrum, lines, width) for one in done["x1d"].spectra]
    assert len(found["corrected"]) == len(places)
    for off, before in zip(found["corrected"], found["as it is"], strict=True):
        assert len(off) >= 3 and np.abs(off).max() < 0.1
        assert np.abs(np.median(before)) > 0.15


def pixels_off(one, spectrum, lines, width):
    """By how many pixels lines are off in an extracted spectrum, whose continuum is known."""
    wavelength, flux = (np.asarray(one.table[name], float) for name in ("WAVELENGTH", "FLUX"))
    good = np.isfinite(flux) & (flux != 0)
    wavelength, flux = wavelength[good], flux[good]
    step = np.gradient(wavelength)
    continuum = dataclasses.replace(spectrum, lines=())(wavelength)

    def middle(values, near):
        light = ((values / continuum - 1) * step)[near]
        return (light * wavelength[near]).sum() / light.sum()

    off = []
    for at in lines:
        near = np.abs(wavelength - at) < 3 * width
        if wavelength[0] < at - 4 * width and wavelength[-1] > at + 4 * width and step[near].max() < 1.5 * np.median(step[near]):
            off.append((middle(flux, near) - middle(spectrum(wavelength), near)) / np.interp(at, wavelength, step))
    return off
