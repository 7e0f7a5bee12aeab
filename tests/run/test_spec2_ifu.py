"""NIRSpec's slicer from rates to cubes and spectra, by spec2 and spec3: the truth, bad input, the peer on the same exposures."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from astropy.io import fits

import nirspec_ifu as ifu
import readers
import slices
from jwcal.products import stored
from jwcal.simulate import nirspec as simulate
from jwcal.simulate.nirspec.references import write_references
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import ReferenceError
from nirspec import needs_real
from peer import needs_peer

pytestmark = needs_real
NARROW = {"cube_build": {"wavemin": 2.0, "wavemax": 2.2}}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return ifu.references(tmp_path_factory.mktemp("references"))


def off(table, low=0.8, high=5.2):
    """How far the flux of the star is from what was put in, in parts of it, between two wavelengths."""
    there = (table["WAVELENGTH"] > low) & (table["WAVELENGTH"] < high)
    return table["FLUX"][there] / ifu.STAR.spectrum(table["WAVELENGTH"][there]) - 1


def beside(cube, spaxels=10):
    """The spaxels of a cube that are far from its brightest one, and not at the end of a slice."""
    planes, rows, columns = cube.sci.shape
    y, x = np.mgrid[:rows, :columns]
    image, lit = np.full((rows, columns), np.nan), np.isfinite(cube.sci).any(axis=0)
    image[lit] = np.nanmedian(cube.sci[:, lit], axis=0)  # of all wavelengths: single voxels are noisy
    top, right = np.unravel_index(np.nanargmax(image), image.shape)
    inner = lit.copy()
    for axis in (0, 1):
        for step in (-7, 7):  # slices are looked for beyond their ends, where nothing is
            inner &= np.roll(lit, step, axis=axis)
    return inner & (np.hypot(y - top, x - right) > spaxels)


def test_from_a_rate_to_a_spectrum(files, tmp_path):
    """The flux of a star within 0.5 %, the sky beside it too."""
    _, path = ifu.rate(files, tmp_path)
    made = ifu.run("spec2", path, files, tmp_path, steps=NARROW)
    cal, cube, spectrum = made["cal"], made["s3d"], made["x1d"]
    root = path.name.removesuffix("_rate.fits")
    assert {f"{root}_{suffix}.fits" for suffix in ("cal", "s3d", "x1d")} <= {found.name for found in tmp_path.iterdir()}
    for suffix in ("s3d", "x1d"):
        readers.check(tmp_path / f"{root}_{suffix}.fits")
    header = stored.read(tmp_path / f"{root}_cal.fits").header
    assert header["DATAMODL"] == "IFUImageModel" and header["SRCTYPE"] == "POINT" and header["BUNIT"] == "MJy/sr"
    status = [header.get(key) for key in ("S_WCS", "S_MSAFLG", "S_IMPRNT", "S_BKDSUB", "S_SRCTYP", "S_FLAT", "S_PTHLOS", "S_PHOTOM")]
    assert status == ["COMPLETE", "COMPLETE", "SKIPPED", "SKIPPED", *["COMPLETE"] * 4]
    assert set(np.unique(cal.extra["REGIONS"])) == set(range(31)) and {"PATHLOSS_PS", "PATHLOSS_UN"} <= set(cal.extra)
    (found,) = spectrum.spectra
    assert np.abs(off(found.table)).max() < 5e-3
    level = cube.sci[:, beside(cube)]
    at = found.table["WAVELENGTH"]
    assert np.abs(np.nanmedian(level, axis=1) / ifu.sky(at) - 1).max() < 5e-3


@pytest.mark.full
def test_lines_on_wavelengths_as_the_prism_has_them(files, tmp_path):
    """Users, slitless 28: a table whose steps follow the dispersion, up to three times as wide as elsewhere; lines keep their flux.

    A line of two pixels on 2 to 3 planes: within 1.5 %, and its continuum, measured beside it, within 0.5 %.
    """
    lines = [(0.8, 1.0, 0.02), (1.5, 1.0, 0.03), (5.0, 1.0, 0.03)]
    continuum = ifu.STAR.spectrum
    star = replace(ifu.STAR, spectrum=replace(continuum, lines=lines))
    wavelengths = [0.6]
    while wavelengths[-1] < 5.3:
        wavelengths.append(wavelengths[-1] + 0.004 + 0.008 * np.exp(-0.5 * ((wavelengths[-1] - 1.6) / 0.7) ** 2))
    path = tmp_path / "cubepar.fits"
    with fits.open(files["cubepar"]) as hdus:
        old = hdus["MULTICHAN_PRISM_DRIZZLE"]
        new = np.zeros(len(wavelengths), old.data.dtype.newbyteorder("="))
        new[old.columns.names[0]] = wavelengths
        hdus["MULTICHAN_PRISM_DRIZZLE"] = fits.BinTableHDU(new, name=old.name)
        hdus.writeto(path)
    _, rate = ifu.rate(files, tmp_path, sources=(star,))
    made = ifu.run("spec2", rate, files | {"cubepar": path}, tmp_path, steps={"cube_build": {"output_type": "multi"}})
    table = made["x1d"].spectra[0].table
    at, flux, step = table["WAVELENGTH"], table["FLUX"], np.gradient(table["WAVELENGTH"])
    assert made["s3d"].header["CTYPE3"] == "WAVE-TAB" and step.max() > 2.5 * step.min()
    for place, height, width in lines:
        line, beside = np.abs(at - place) < 0.08, (np.abs(at - place) > 0.08) & (np.abs(at - place) < 0.16)
        level = np.polyval(np.polyfit(at[beside], (flux / continuum(at))[beside], 1), at)
        assert abs(level[line].mean() - 1) < 5e-3
        excess = ((flux / continuum(at) - level) * step)[line].sum()
        assert excess == pytest.approx(height * width * np.sqrt(np.pi / np.log(16)), rel=0.015), place


@pytest.mark.full
def test_a_cubepar_without_the_band(files, tmp_path):
    other = write_references(tmp_path / "G140M", mode="ifu", grating="G140M", types=("cubepar",))
    _, path = ifu.rate(files, tmp_path, sources=())
    with pytest.raises(ReferenceError, match="has 0 rows for prism clear in CUBEPAR, one is needed"):
        ifu.run("spec2", path, files | other, tmp_path)


@pytest.mark.full
def test_dithers(files, tmp_path):
    """Three dithers with noise: a hit in one of them is found, good pixels are not; flux and sky within 0.5 %."""
    members, hits = [], []
    for number in (1, 2, 3):
        one, path = ifu.rate(files, tmp_path, number, noise=True, cosmic_rays=hits if number == 2 else ())
        hits = hits or [(int(y), int(x), 400.0) for y, x in np.argwhere(one.truth.image > 0)[5000::30000]]
        ifu.run("spec2", path, files, tmp_path, steps=NARROW)
        members.append((path.with_name(path.name.replace("rate", "cal")), "science"))
    source = ifu.association(tmp_path, "jw01234-c1001_t001_nirspec", members)
    ifu.run("spec3", source, files, tmp_path / "out", steps={"outlier_detection": {"save_intermediate_results": False}})
    root = tmp_path / "out" / "jw01234-c1001_t001_nirspec_prism-clear"
    for number, path in enumerate(sorted(tmp_path.rglob("*_c1001_crf.fits")), start=1):
        flagged = (fits.getdata(path, "DQ") & dq.OUTLIER) != 0
        good = (fits.getdata(path, "REGIONS") > 0) & ~flagged
        if number == 2:
            assert all(flagged[y, x] for y, x, _ in hits)
        assert flagged.sum() < 1e-4 * good.sum() + 3 * len(hits)
    away = off(ifu.table(f"{root}_x1d.fits"))
    smooth = np.convolve(away, np.full(41, 1 / 41), "valid")  # its noise is some 0.6 % of a channel
    assert abs(np.median(away)) < 2e-3 and np.percentile(np.abs(smooth), 95) < 5e-3
    cube = stored.read(f"{root}_s3d.fits")
    wavelength = cube.header["CRVAL3"] + cube.header["CDELT3"] * np.arange(len(cube.sci))
    inner = (wavelength > 0.8) & (wavelength < 5.2)
    level = np.nanmean(cube.sci[:, beside(cube)], axis=1) / ifu.sky(wavelength) - 1
    assert abs(np.median(level[inner])) < 5e-3  # a pixel's noise is half of the sky


@pytest.mark.full
def test_imprints_by_dither(files, tmp_path):
    """What leaks through a shutter is the imprint's of the same dither."""
    shutter = {"failed": ((4, 330, 85),), "leak": lambda wavelength: 3000 + 0 * wavelength}
    other = {"failed": ((4, 320, 85),), "leak": shutter["leak"]}
    _, path = ifu.rate(files, tmp_path, 2, **shutter)
    _, clean = ifu.rate(files, tmp_path / "clean", 2)
    imprints = [ifu.rate(files, tmp_path, n, imprint=True, activity="02", **how)[1] for n, how in ((1, other), (2, shutter))]
    members = [(path, "science"), *((imprint, "imprint") for imprint in imprints)]
    source = ifu.association(tmp_path, path.name.removesuffix("_rate.fits"), members, "spec2")
    cal = ifu.run("spec2", source, files, tmp_path / "out", steps=NARROW)["cal"]
    want = ifu.run("spec2", clean, files, tmp_path / "wanted", steps=NARROW)["cal"]
    assert cal.steps["imprint_subtract"][0] == "COMPLETE"
    good = np.isfinite(cal.sci) & np.isfinite(want.sci)
    np.testing.assert_allclose(cal.sci[good], want.sci[good], rtol=1e-4, atol=0.02)


@pytest.mark.full
def test_extended_light(files, tmp_path):
    """Of two dithers and of both together, by its own path losses: within 0.5 %."""
    members = []
    for number in (1, 2):
        _, path = ifu.rate(files, tmp_path, number, sources=(), source_type="EXTENDED", failed=())
        made = ifu.run("spec2", path, files, tmp_path, steps=NARROW)
        members.append((path.with_name(path.name.replace("rate", "cal")), "science"))
        _level(made["s3d"], made["x1d"].spectra[0])
    source = ifu.association(tmp_path, "jw01234-c1001_t001_nirspec", members)
    ifu.run("spec3", source, files, tmp_path / "out", steps=NARROW)
    _level(*(stored.read(tmp_path / f"out/jw01234-c1001_t001_nirspec_prism-clear_{suffix}.fits") for suffix in ("s3d", "x1d")))


def _level(cube, spectrum):
    """Where whole slices look, each spaxel is as bright as the sky; the spectrum of an extended source is the mean of all spaxels."""
    spectrum = spectrum if hasattr(spectrum, "table") else spectrum.spectra[0]
    table = spectrum.table
    assert spectrum.header["SRCTYPE"] == "EXTENDED" and len(table) == len(cube.sci)
    inside = beside(cube, 0)
    assert inside.sum() > 350
    assert np.nanmax(np.abs(cube.sci[:, inside] / ifu.sky(table["WAVELENGTH"])[:, None] - 1)) < 5e-3
    np.testing.assert_allclose(table["SURF_BRIGHT"], np.nanmean(cube.sci, axis=(1, 2)), rtol=1e-5)
    area = table["NPIXELS"] * (0.1 * np.pi / 648000) ** 2
    np.testing.assert_allclose(table["FLUX"], 1e6 * table["SURF_BRIGHT"] * area, rtol=1e-3)


@pytest.mark.full
def test_both_detectors(tmp_path):
    """Two dithers of a grating whose light falls on both: in one cube, the gap between the detectors the only hole."""
    members, files = [], {one: ifu.references(tmp_path, "G395H", detector=one) for one in ("NRS1", "NRS2")}
    where = {"cube_build": {"wavemin": 3.9, "wavemax": 4.3}}
    for number, detector in product((1, 2), files):
        _, path = ifu.rate(files[detector], tmp_path, number, grating="G395H", detector=detector)
        ifu.run("spec2", path, files[detector], tmp_path, {"GRATING": "G395H", "DETECTOR": detector}, steps=where)
        members.append((path.with_name(path.name.replace("rate", "cal")), "science"))
    source = ifu.association(tmp_path, "jw01234-c1001_t001_nirspec", members)
    ifu.run("spec3", source, files["NRS1"], tmp_path / "out", {"GRATING": "G395H"}, steps=where)
    table = ifu.table(tmp_path / "out/jw01234-c1001_t001_nirspec_g395h-f290lp_x1d.fits")
    whole = table["NPIXELS"] > 0.999 * table["NPIXELS"].max()  # of the others a part of the aperture is in the gap
    away = table["FLUX"][whole] / ifu.STAR.spectrum(table["WAVELENGTH"][whole]) - 1
    gap = table["WAVELENGTH"][~whole]
    assert abs(np.median(away)) < 1e-3 and np.percentile(np.abs(away), 99) < 5e-3
    assert 3.9 < gap.min() and gap.max() < 4.3 and whole.mean() > 0.5
    assert (table["DQ"][table["NPIXELS"] == 0] & dq.DO_NOT_USE).all() and (table["NPIXELS"] == 0).any()


@pytest.mark.full
def test_a_grating(tmp_path):
    files = ifu.references(tmp_path, "G140M", filter="F100LP")
    _, path = ifu.rate(files, tmp_path, grating="G140M", filter="F100LP")
    made = ifu.run("spec2", path, files, tmp_path, {"GRATING": "G140M"}, steps={"cube_build": {"wavemin": 1.2, "wavemax": 1.3}})
    assert np.abs(off(made["x1d"].spectra[0].table)).max() < 1e-2
    assert abs(np.median(off(made["x1d"].spectra[0].table))) < 5e-3


@pytest.mark.full
def test_a_lamp(tmp_path):
    """The peer fails in extract_2d: a lamp through the slicer goes down the way of slits. Lines within a tenth of a pixel."""
    files = write_references(tmp_path / "refs", mode="lamp", lamp_mode="IFU", real=ifu.REAL)
    one = simulate.simulate_lamp(files, opmode="IFU", noise=False)
    path = stored.write(one.exposure, tmp_path / "jw01234001001_02101_00001_nrs1_rate.fits")
    keys = {"EXP_TYPE": "NRS_AUTOWAVE", "OPMODE": "IFU", "LAMP": "LINE4", "FILTER": "OPAQUE"}
    made = ifu.run("nrslamp-spec2", path, files, tmp_path / "out", keys)
    cube, (spectrum,) = made["s3d"], made["x1d"].spectra
    assert cube.sci.shape[2] == 30 and cube.header["CTYPE1"] == "NRSSLICERX" and cube.header["BUNIT"] == "DN/s"
    assert spectrum.header["TUNIT2"] == "DN/s"
    lines = simulate.lines()
    at, flux = spectrum.table["WAVELENGTH"], spectrum.table["SURF_BRIGHT"] - lines.continuum
    for line in lines.at[1:-1]:
        near = np.abs(at - line) < 0.02 * line
        middle = (at * flux)[near].sum() / flux[near].sum()
        assert abs(middle - line) < 1.5e-3  # micron; pixels are of 5 to 20e-3, the peer's cubes are 4 to 11e-3 off


PLANES = ("WAVELENGTH", "PATHLOSS_PS", "PATHLOSS_UN")


@needs_peer
@pytest.mark.parity
@pytest.mark.full
@pytest.mark.parametrize(
    ("grating", "detectors", "window"),
    [("PRISM", ("NRS1",), {}), ("G395H", ("NRS1", "NRS2"), {"cube_build": {"wavemin": 3.9, "wavemax": 4.3}})],
)
def test_as_the_peer(tmp_path, grating, detectors, window):
    """Four dithers with noise and bad pixels from rates: images, the cubes of one exposure and of all, their spectra."""
    rng = np.random.default_rng(5)
    files = {one: ifu.references(tmp_path, grating, detector=one) for one in detectors}
    shutter = {"failed": ((4, 330, 85),), "grating": grating}
    rates = {
        ifu.rate(files[one], tmp_path, number, noise=True, detector=one, **shutter)[1]: one
        for number, one in product((1, 2, 3, 4), detectors)
    }
    for path in rates:
        with fits.open(path, mode="update") as hdus:
            hdus["DQ"].data |= rng.choice([0] * 400 + [dq.DO_NOT_USE], hdus["DQ"].shape).astype(np.uint32)
    name = "jw01234-c1001_t001_nirspec"
    members = [(path.with_name(path.name.replace("rate", "cal")), "science") for path in rates]
    for side in ("peer", "ours"):
        (tmp_path / side / "stage3").mkdir(parents=True)
        ifu.association(tmp_path / side / "stage3", name, members)
    no_cube = {"cube_build": {"skip": True}, "extract_1d": {"skip": True}}

    def runs(side):
        folder, first = tmp_path / side / "stage3", next(iter(rates))
        of_rates = [("spec2", path, folder, files[one], window if path == first else no_cube) for path, one in rates.items()]
        return [*of_rates, ("spec3", folder / f"{name}_spec3_asn.json", folder, files[detectors[0]], window)]

    slices.peers(runs("peer"), tmp_path / "peer")
    for pipeline, source, folder, given, steps in runs("ours"):
        about = {"GRATING": grating, "DETECTOR": rates.get(source, detectors[0])}
        ifu.run(pipeline, source, given, folder, about, steps=slices.with_ours(steps))
    slices.same_products(tmp_path / "ours", tmp_path / "peer", planes=PLANES, equal=("REGIONS",))
