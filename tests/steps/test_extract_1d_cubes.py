"""Spectra out of cubes: sums against numpy and photutils, a star that is known, the peer on the same cube."""

import logging

import numpy as np
import pytest

import cubes
from jwcal.arithmetic.spectra.cubes import extended
from jwcal.kernels.cubes import circles
from jwcal.model.references import References
from jwcal.products import stored
from jwcal.simulate import cube_references, integral_field, mrs
from jwcal.simulate.spectrograph import Source, Spectrum
from jwcal.steps import cube_build, extract_1d
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import ConfigError, InputError, Skip
from many_threads import each_number
from peer import needs_peer, peer_python

NARROW = {"wavemin": 5.28, "wavemax": 5.33}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("references")
    return cubes.references(folder) | cubes.extraction(folder, 1)


@pytest.fixture(scope="module")
def star(files):
    """A cube of a star on a sky; the star is between spaxels."""
    exposure = cubes.exposure({k: files[k] for k in (*TYPES, "cubepar")}, noise=False)
    (cube,) = cube_build.apply(exposure, cubes.refs(files, exposure), "mrs", channel="1", nspax_x=41, nspax_y=41, **NARROW)
    return cube


PLACE = 10.613, 11.297
TYPES = ("distortion", "specwcs", "regions", "wavelengthrange")


def extract(cube, files, **parameters):
    refs = References({kind: files[kind] for kind in ("extract1d", "apcorr") if kind in files}, cube.header)
    (made,) = extract_1d.apply(cube, refs, "mrs", **parameters)
    return made.spectra[0]


def copied(cube):
    return cube.derive(
        [type(cube.pixels[0])(**{n: a.copy() for n, a in cube.pixels[0].planes()}, extra=dict(cube.extra), wcs=cube.wcs)], "s3d"
    )


# --- sums ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("way", "method"), [(circles.EXACT, "exact"), (circles.SUBPIXEL, "subpixel"), (circles.CENTRE, "center")])
def test_sums_in_circles_are_photutils(way, method):
    from astropy.stats import sigma_clipped_stats
    from photutils.aperture import CircularAnnulus, CircularAperture, aperture_photometry

    rng = np.random.default_rng(1)
    sci = rng.normal(10, 1, (3, 21, 23)).astype(np.float32)
    sci[:, 10:13, 9:13] += 300
    err = rng.uniform(0.1, 1, sci.shape).astype(np.float32)
    number = (rng.random(sci.shape) > 0.05).astype(np.float32)
    radius, inner, outer = np.array([3.2, 4.0, 5.1]), np.array([6.0, 6.5, 7.0]), np.array([9.0, 9.5, 12.0])
    found = circles.circles(sci, err, number, PLACE, radius, inner, outer, 3.0, way, 5)
    for z in range(3):
        options = {"mask": number[z] == 0, "method": method, "subpixels": 5}
        circle, ring = CircularAperture(PLACE, radius[z]), CircularAnnulus(PLACE, inner[z], outer[z])

        def total(image, where, options=options, **more):
            return aperture_photometry(image.astype(float), where, **{**options, **more})["aperture_sum"][0]

        assert found[circles.SUM, z] == pytest.approx(total(sci[z], circle), rel=1e-9)
        assert found[circles.VARIANCE, z] == pytest.approx(total(err[z].astype(float) ** 2, circle), rel=1e-9)
        assert found[circles.AREA, z] == pytest.approx(total(number[z], circle), rel=1e-9)
        assert found[circles.RING, z] == pytest.approx(total(number[z], ring), rel=1e-9)
        mean, _, spread = sigma_clipped_stats(sci[z][number[z] > 0].astype(float), sigma=3.0, maxiters=5)
        clipped = (np.abs(sci[z] - mean) > 3 * spread) | (number[z] == 0)
        assert 0 < clipped.sum() < 100
        assert found[circles.BACK, z] == pytest.approx(total(sci[z], ring, mask=clipped), rel=1e-9)
        assert found[circles.BACK_AREA, z] == pytest.approx(total(number[z], ring, mask=clipped), rel=1e-9)


def test_values_beyond_knots_lie_on_the_last_line():
    assert extended(np.array([0.0, 1.5, 4.0]), np.array([2.0, 1.0]), np.array([3.0, 1.0])).tolist() == [-1.0, 2.0, 7.0]
    assert extended(np.array([0.0, 9.0]), np.array([2.0]), np.array([3.0])).tolist() == [3.0, 3.0]


# --- a star that is known --------------------------------------------------------------------------------------------


def test_flux_of_a_star(star, files):
    """Within 0.5 % of what it gave, after the aperture correction."""
    spectrum = extract(star, files)
    table = spectrum.table
    truth = mrs.blurred(cubes.STAR.spectrum, table["WAVELENGTH"])
    away = np.abs(table["WAVELENGTH"] - cubes.LINE) > 0.01
    np.testing.assert_allclose(table["FLUX"][away], truth[away], rtol=0.005)
    assert table["FLUX"].sum() == pytest.approx(truth.sum(), rel=0.005)
    assert (table["DQ"] == 0).all() and spectrum.header["SRCTYPE"] == "POINT"
    assert {spectrum.header[f"TUNIT{n}"] for n in (2, 3)} == {"Jy"}
    assert table.dtype.names[-3:] == ("RF_FLUX", "RF_SURF_BRIGHT", "RF_BACKGROUND")
    for name in table.dtype.names[
        -3:
    ]:  # there are no fringes: they are what they were, with the aperture's correction, but for the line's feet
        change = (table[name] / table[name.removeprefix("RF_")])[away] - 1
        assert abs(np.median(change)) < 2e-3 and np.percentile(np.abs(change), 80) < 0.01


def test_the_aperture_is_on_the_star_and_not_on_a_spaxel(star, files):
    """In a small circle the nearest whole spaxel, the peer's place, loses light; the star's own place does not."""
    small = {**files, **cubes.extraction(files["cubepar"].parent, 1, radius=0.35)}
    x, y, _ = star.wcs.invert(star.header["TARG_RA"], star.header["TARG_DEC"], 5.3, with_bounding_box=False)
    lost = {}
    for centre in ("fraction", "spaxel"):
        spectrum = extract(star, small, ifu_centre=centre)
        lost[centre] = abs(spectrum.table["FLUX"][:10] / mrs.blurred(cubes.STAR.spectrum, spectrum.table["WAVELENGTH"])[:10] - 1).max()
    assert np.hypot(x - round(float(x)), y - round(float(y))) > 0.2
    assert lost["fraction"] < 0.005 and lost["spaxel"] > 2 * lost["fraction"]
    found = extract(star, small, ifu_autocen=True).header
    assert np.hypot(found["EXTR_X"] - x, found["EXTR_Y"] - y) < 0.15


def test_what_the_user_says(star, files):
    usual = extract(star, files)
    there = extract(star, files, center_xy=[12.5, 20.0])
    assert (there.header["EXTR_X"], there.header["EXTR_Y"]) == (12.5, 20.0) and there.table["FLUX"].sum() < 0.1 * usual.table["FLUX"].sum()
    same = extract(star, files, center_xy=[usual.header["EXTR_X"], usual.header["EXTR_Y"]])
    assert np.array_equal(same.table["FLUX"], usual.table["FLUX"])
    wide = extract(star, files, ifu_rscale=3.0, apply_apcorr=False)
    np.testing.assert_allclose(wide.table["NPIXELS"], 2.25 * usual.table["NPIXELS"], rtol=0.01)
    scaled = extract(star, files, ifu_covar_scale=1.5)
    for name in ("FLUX_ERROR", "SB_ERROR", "BKGD_ERROR"):
        np.testing.assert_allclose(scaled.table[name], 1.5 * usual.table[name], rtol=1e-12)
    assert scaled.header["COVSCALE"] == 1.5 and np.array_equal(scaled.table["FLUX"], usual.table["FLUX"])
    kept = extract(star, files, subtract_background=False, apply_apcorr=False).table
    gone = extract(star, files, apply_apcorr=False).table
    np.testing.assert_allclose(kept["SURF_BRIGHT"] - gone["SURF_BRIGHT"], gone["BACKGROUND"], rtol=1e-6)
    assert (kept["BACKGROUND"] == 0).all()
    with pytest.raises(ConfigError, match="center_xy"):
        extract(star, files, center_xy=[1.0])


def test_residual_fringes_of_a_faint_source(star, files):
    """Of 1 mJy, the same part is taken out as of one that is brighter."""
    *_, wavelength = star.wcs(0.0, 0.0, np.arange(float(len(star.sci))))
    noise = np.random.default_rng(4).normal(0, 0.01, wavelength.size)
    seen = star.sci[:1] * (1 + 0.05 * np.sin(2 * np.pi * 1e4 / wavelength / 2.9) + noise)[:, None, None]
    taken, source, scale = [], copied(star), 1.0
    for _ in range(2):
        source.sci = (scale * seen).astype(np.float32)
        table = extract(source, files, apply_apcorr=False).table
        taken.append(table["RF_FLUX"] / table["FLUX"] - 1)
        scale = 1e-3 / np.median(table["FLUX"])
    assert scale == pytest.approx(1, rel=1e-3) and taken[0].std() > 0.02
    np.testing.assert_allclose(*taken, atol=1e-4)


def test_an_extended_source_is_the_whole_field(star, files):
    spectrum = extract(star, files, ifu_set_srctype="EXTENDED")
    good = star.dq == 0
    for z in (0, 30):
        row = spectrum.table[z]
        assert row["NPIXELS"] == good[z].sum()
        assert row["SURF_BRIGHT"] == pytest.approx(star.sci[z][good[z]].astype(float).mean(), rel=1e-9)
        assert row["FLUX"] == pytest.approx(row["SURF_BRIGHT"] * row["NPIXELS"] * star.header["PIXAR_SR"] * 1e6)
        assert row["BACKGROUND"] == pytest.approx(cubes.sky(row["WAVELENGTH"]), rel=0.04)
    assert spectrum.header["SRCTYPE"] == "EXTENDED"


@pytest.mark.parametrize("ring", [True, False])
def test_errors_are_the_scatter(star, files, ring, tmp_path):
    """Of voxels whose noise is their own, with the noise of the background in the ring and without: within 6 % of 600 realisations.

    With whole voxels; of those that are cut by the circle a part of the variance is counted, not its square: 3 to 5 % too much in ERR.
    """
    noisy = copied(star)
    planes, rng = 600, np.random.default_rng(8)
    shape = (planes, *star.sci.shape[1:])
    noisy.sci = rng.normal(20, 2, shape).astype(np.float32)
    noisy.err, noisy.dq = np.full(shape, 2, np.float32), np.zeros(shape, np.uint32)
    noisy.extra["WMAP"] = np.ones(shape, np.float32)
    noisy.tables["WCS-TABLE"] = np.zeros(1, [("wavelength", np.float32, (planes, 1))])
    noisy.wcs.bounding_box = tuple((0.0, n - 1.0) for n in shape[::-1])
    at = np.linspace(4.88, 5.77, 4)
    radii = (np.full(4, radius) for radius in (0.8, 1.35, 1.65))
    whole = cube_references.write_extract1d(tmp_path / "extract1d.asdf", at, *radii, method="center")
    table = extract(
        noisy, {**files, "extract1d": whole}, subtract_background=ring, apply_apcorr=False, ifu_rfcorr=False, bkg_sigma_clip=10.0
    ).table
    for value, error in (("FLUX", "FLUX_ERROR"), ("SURF_BRIGHT", "SB_ERROR"), *([("BACKGROUND", "BKGD_ERROR")] if ring else [])):
        assert np.std(table[value]) == pytest.approx(np.median(table[error]), rel=0.06), value


def test_clipped_voxels_take_nothing_off_the_background(star, files):
    """A star in the ring is clipped: the background stays what it is. Over the whole ring's area, the peer's way, it would be too low."""
    crowded = copied(star)
    crowded.sci[:, 30:33, 14:26] = 500
    crowded.sci[:, :, :] += np.random.default_rng(3).normal(0, 0.1, crowded.sci.shape).astype(np.float32)
    for area, off in (("used", 0.01), ("ring", None)):
        level = extract(crowded, files, ifu_bkg_area=area).table["BACKGROUND"][:10]
        ratio = level / cubes.sky(5.285)
        assert (np.abs(ratio - 1) < off).all() if off else (ratio < 0.97).all()


def test_planes_and_apertures_without_a_value(star, files, caplog):
    gone = copied(star)
    gone.sci[5], gone.dq[5] = np.nan, dq.DO_NOT_USE
    gone.sci[:, 20, 20], gone.dq[:, 20, 20] = np.nan, dq.DO_NOT_USE
    gone.extra["WMAP"] = np.where(gone.dq == 0, gone.extra["WMAP"], 0)
    with caplog.at_level(logging.WARNING):
        table = extract(gone, files).table
    assert table["DQ"][5] == dq.DO_NOT_USE and table["NPIXELS"][5] == 0 and (np.delete(table["DQ"], 5) == 0).all()
    whole = extract(star, files).table["NPIXELS"]
    np.testing.assert_allclose(np.delete(table["NPIXELS"], 5), np.delete(whole, 5) - 1, atol=1e-9)
    assert "a part of the aperture has no value" in caplog.text


def test_a_target_outside_the_cube(star, files, caplog):
    """It is said, and the aperture is in the middle of the cube."""
    away = copied(star)
    away.header["TARG_DEC"] += 10 / 3600
    with caplog.at_level(logging.WARNING):
        header = extract(away, files).header
    assert (header["EXTR_X"], header["EXTR_Y"]) == (20.0, 20.0) and "not within the cube" in caplog.text
    header = extract(away, files, ifu_centre="spaxel").header
    assert (header["EXTR_X"], header["EXTR_Y"]) == (20.5, 20.5)  # the peer's


def test_what_is_no_cube(star, files):
    image = copied(star)
    image.sci = image.sci[0]
    with pytest.raises(Skip, match="no cube"):
        extract(image, files)
    bare = copied(star)
    bare.wcs = None
    with pytest.raises(InputError, match="gWCS"):
        extract(bare, files)
    with pytest.raises(InputError, match="extract1d"):
        extract(star, {})


def test_same_bytes_for_any_number_of_threads(star, files):
    ways = ({}, {"ifu_autocen": True}, {"ifu_set_srctype": "EXTENDED"})
    for parameters in ways:
        one, other = each_number(lambda parameters=parameters: extract(star, files, **parameters).table.tobytes())
        assert one == other, parameters


def test_the_product_can_be_read(star, files, tmp_path):
    refs = References({kind: files[kind] for kind in ("extract1d", "apcorr")}, star.header)
    (made,) = extract_1d.apply(star, refs, "mrs")
    assert made.suffix == "x1d" and "WCS-TABLE" not in made.tables
    back = stored.read(stored.write(made, tmp_path / "jw_x1d.fits")).spectra[0]
    assert np.array_equal(back.table["FLUX"], made.spectra[0].table["FLUX"])
    np.testing.assert_allclose(back.wcs(3.0)[2], made.spectra[0].table["WAVELENGTH"][3])


@pytest.mark.full
@pytest.mark.parametrize("channel", [1, 2])
def test_flux_of_a_star_in_all_of_a_band(tmp_path, channel):
    """Of four dithers together: continuum and sky within 0.5 %, the line's place within a tenth of a spectral element."""
    files = cubes.references(tmp_path)
    own = cubes.extraction(tmp_path, channel, radius=0.8 if channel == 1 else 1.0)
    dithers = [(0.0, 0.0), (1.07, 0.53), (-0.35, -0.9), (0.66, -1.21)]
    four = [cubes.exposure({k: files[k] for k in (*TYPES, "cubepar")}, noise=False, dither={"x": x, "y": y}) for x, y in dithers]
    (cube,) = cube_build.apply(four, cubes.refs(files, four[0]), "mrs", channel=str(channel))
    table = extract(cube, own).table
    at, good = table["WAVELENGTH"], table["DQ"] == 0
    away = good & (np.abs(at - cubes.LINE) > 0.02)
    truth = mrs.blurred(cubes.STAR.spectrum, at)
    np.testing.assert_allclose(table["FLUX"][away], truth[away], rtol=0.005)
    corner = cube.sci[:, 6:10, 6:10][:, cube.dq[len(at) // 2, 6:10, 6:10] == 0]
    if corner.size:
        np.testing.assert_allclose(np.nanmedian(corner, axis=1)[50:-50], cubes.sky(at)[50:-50], rtol=0.005)
    if channel == 1:
        near = np.abs(at - cubes.LINE) < 0.015
        line = table["FLUX"][near] - np.interp(at[near], at[away], table["FLUX"][away])
        assert abs((line * at[near]).sum() / line.sum() - cubes.LINE) < 0.1 * cubes.LINE / mrs.RESOLUTION


@pytest.mark.full
def test_flux_of_a_star_in_single_dithers_of_the_longest_wavelengths(tmp_path):
    """Slices of channel 4 are as wide as a star: where it lies in its slice moves its flux by 2 % in a circle of 0.8 arcsec.

    In one that grows with the wavelength it does not.
    """
    files = cubes.references(tmp_path, "34")
    own = {"growing": integral_field.write_extraction(tmp_path, [(3, "SHORT"), (4, "SHORT")]), "narrow": cubes.extraction(tmp_path, 4)}
    star = Source(Spectrum(flux=0.05, slope=-1.0))
    off = {kind: [] for kind in own}
    for place in ((0.0, 0.0), (0.5, 0.3)):
        known = {"channels": "34", "sources": (star,), "dither": dict(zip("xy", place, strict=True)), "noise": False}
        exposure = cubes.exposure({kind: files[kind] for kind in (*TYPES, "cubepar")}, **known)
        (cube,) = cube_build.apply(exposure, cubes.refs(files, exposure), "mrs", output_type="multi", wavemin=17.8, wavemax=20.8)
        for kind, those in own.items():
            table = extract(cube, those).table
            off[kind].append(np.median(table["FLUX"] / star.spectrum(table["WAVELENGTH"])) - 1)
    assert np.abs(off["growing"]).max() < 0.003 and np.ptp(off["growing"]) < 0.003 and np.ptp(off["narrow"]) > 0.01, off


# --- the peer --------------------------------------------------------------------------------------------------------

PEER = """
import logging, sys
sys.path.insert(0, {helpers!r})
import run_peer
run_peer.offline()
logging.disable(logging.CRITICAL)
from jwst.extract_1d import Extract1dStep
from stdatamodels.jwst import datamodels
for number, given in enumerate(eval(str(settings))):
    model = datamodels.IFUCubeModel(str(path))
    model.meta.target.source_type = "POINT"
    step = Extract1dStep()
    step.override_extract1d, step.override_apcorr = str(extract1d), str(apcorr)
    step.override_pastasoss = step.override_specprofile = step.override_speckernel = step.override_psf = "N/A"
    step.ifu_rfcorr = False
    for name, value in given.items():
        setattr(step, name, value)
    spectrum = step.run(model).spec[0]
    for name in spectrum.spec_table.names:
        out[f"{{number}}.{{name}}"] = np.array(spectrum.spec_table[name])
    out[f"{{number}}.place"] = np.array([spectrum.extraction_x, spectrum.extraction_y])
"""
COLUMNS = ("WAVELENGTH", "FLUX", "FLUX_ERROR", "SURF_BRIGHT", "SB_ERROR", "BACKGROUND", "BKGD_ERROR", "NPIXELS")


@needs_peer
@pytest.mark.parity
@pytest.mark.parametrize("method", ["exact", "subpixel"])
def test_as_the_peer(star, files, tmp_path, method):
    at = np.linspace(4.88, 5.77, 4)
    extract1d = cube_references.write_extract1d(tmp_path / "extract1d.asdf", at, 0.1 * at, 0.2 * at, 0.3 * at, method=method)
    path = stored.write(star, tmp_path / "jw01234001001_02101_00001_mirifushort_s3d.fits")
    settings = [{}, {"center_xy": [18.3, 21.8], "ifu_rscale": 1.5, "ifu_covar_scale": 1.6, "bkg_sigma_clip": 2.0}]
    settings += [{"ifu_autocen": True}, {"subtract_background": False}]
    settings += [{"ifu_set_srctype": "EXTENDED"}] if method == "exact" else []
    given = {"path": str(path), "extract1d": str(extract1d), "apcorr": str(files["apcorr"]), "settings": repr(settings)}
    theirs = peer_python(PEER.format(helpers=str(cubes.SHARED / "peer")), **given)
    for number, parameters in enumerate(settings):
        spectrum = extract(star, {**files, "extract1d": extract1d}, ifu_centre="spaxel", ifu_bkg_area="ring", **parameters)
        for name in COLUMNS:
            np.testing.assert_allclose(spectrum.table[name], theirs[f"{number}.{name}"], rtol=1e-4, err_msg=f"{name} {parameters}")
        assert np.array_equal(spectrum.table["DQ"], theirs[f"{number}.DQ"])
        np.testing.assert_allclose([spectrum.header["EXTR_X"], spectrum.header["EXTR_Y"]], theirs[f"{number}.place"], rtol=1e-5)
