"""resample_spec: a spectrum comes out as it went in, at its wavelengths, from one exposure or nods; and as the peer has it."""

import copy
import json

import asdf
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import ICRS
from astropy.io import fits
from astropy.modeling.models import AffineTransformation2D, Identity, Mapping, Pix2Sky_TAN, RotateNative2Celestial
from gwcs import WCS
from gwcs.coordinate_frames import CelestialFrame, CompositeFrame, Frame2D, SpectralFrame

from jwcal.arithmetic.resample.spectral_grid import joint_wavelengths
from jwcal.model.exposure import Exposure, Members, Pixels
from jwcal.products import stored
from jwcal.simulate import spectrograph
from jwcal.simulate.spectrograph import Source, Spectrum, simulate_lrs
from jwcal.steps import resample_spec
from jwcal.vocabulary.errors import ConfigError, InputError, Skip
from peer import needs_peer, peer_python

LINE = Spectrum(flux=0.02, lines=[(9.0, -0.3, 0.15)])
NODS = (-0.95, 0.95)  # arcsec along the slit
PLANES = ("sci", "err", "var_poisson", "var_rnoise", "WHT", "WAVELENGTH")


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    return spectrograph.write_lrs_references(tmp_path_factory.mktemp("references"))


def nods(references, noise=False, **options):
    """Two exposures of a star, 1.9 arcsec apart along the slit."""
    made = []
    for number, x in enumerate(NODS):
        options.setdefault("sources", [Source(LINE)])
        one = simulate_lrs(references, calibrated=True, noise=noise, dither={"x": x, "y": 0.0}, seed=number + 1, **options)
        one.exposure.header["EXPOSURE"] = str(number + 1)
        one.exposure.header.name = f"jw01234001001_02101_0000{number + 1}_mirimage_cal.fits"
        made.append(one)
    return made


@pytest.fixture(scope="module")
def clean(references):
    return nods(references)


def exposures(made):
    return [copy.deepcopy(one.exposure) for one in made]


def flux(result, low=5.5, high=12.0):
    """Wavelengths and Jy of the rows of a result."""
    wavelength = np.nanmean(result.extra["WAVELENGTH"], axis=1)
    rows = (wavelength > low) & (wavelength < high)
    return wavelength[rows], np.nansum(result.sci[rows], axis=1) * result.header["PIXAR_SR"] * 1e6


def expected(one, wavelength):
    """Jy that fell on the detector at these wavelengths, after the slit and the blur."""
    truth = np.nansum(one.truth.image, axis=1) * spectrograph.PIXAR_SR * 1e6
    rows = np.fmax.reduce(one.truth.wavelength, axis=1)
    good = np.isfinite(rows)
    return np.interp(wavelength, rows[good][::-1], truth[good][::-1])


# --- truth -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["one", "nods"])
@pytest.mark.parametrize("options", [{}, {"pixel_scale_ratio": 1.6}, {"pixel_scale": 0.15}, {"kernel": "point", "weight_type": "exptime"}])
def test_flux_is_conserved(clean, which, options):
    given = exposures(clean)
    result = resample_spec.apply(given[0] if which == "one" else given, **options)
    wavelength, found = flux(result)
    if options.get("kernel") == "point" and which == "one":
        return  # a grid of 45 columns for 41 pixels that wander: a point falls on none in some rows
    assert np.abs(found / expected(clean[0], wavelength) - 1).max() < 5e-3


def test_surface_brightness_is_kept_and_the_sum_where_it_is_no_brightness(clean):
    given = exposures(clean)[0]
    bright = {ratio: resample_spec.apply(given, pixel_scale_ratio=ratio) for ratio in (0.5, 1.0, 2.0)}
    assert bright[2.0].header["PIXAR_SR"] == pytest.approx(0.5 * spectrograph.PIXAR_SR)
    level = given.sci.copy()
    given.sci[:] = np.where(np.isfinite(level), 3.0, np.nan)
    for ratio in bright:
        flat = resample_spec.apply(given, pixel_scale_ratio=ratio).sci
        np.testing.assert_allclose(flat[np.isfinite(flat)], 3.0, rtol=1e-5)
    given.sci, given.header["BUNIT"] = level, "MJy"
    for ratio, other in bright.items():
        same = resample_spec.apply(given, pixel_scale_ratio=ratio)
        np.testing.assert_allclose(same.sci, other.sci / ratio, rtol=1e-5)
        np.testing.assert_allclose(same.err, other.err / ratio, rtol=1e-5)


@pytest.mark.parametrize("which", [slice(0, 1), slice(None)])
def test_a_line_is_at_its_wavelength(clean, which):
    result = resample_spec.apply(exposures(clean)[which])
    wavelength, found = flux(result, 8.7, 9.3)
    depth = 1 - found / np.interp(wavelength, *flux_without_line(clean, wavelength))
    centre = np.sum(depth * wavelength) / np.sum(depth)
    step = np.abs(np.diff(wavelength)).mean()
    assert abs(centre - 9.0) < 0.1 * step


def flux_without_line(clean, wavelength):
    """A straight continuum beside the line."""
    ends = np.array([8.7, 9.3])
    return ends, [expected(clean[0], end) for end in ends]


def test_the_wavelengths_are_those_of_the_detector(clean):
    result = resample_spec.apply(exposures(clean))
    mine = result.extra["WAVELENGTH"]
    theirs = np.nanmedian(clean[0].truth.wavelength[7:375, 303:347], axis=1)
    assert mine.dtype == np.float32
    np.testing.assert_allclose(mine[:, 0], theirs[: len(mine)], atol=1e-6)
    assert (mine == mine[:, :1]).all() and (np.diff(mine[:, 0]) < 0).all()


def test_sky_and_wavelength_lead_back(clean):
    result = resample_spec.apply(exposures(clean))
    y, x = np.indices(result.sci.shape, dtype=float)
    world = result.wcs(x, y)
    np.testing.assert_allclose(result.wcs.invert(*world), (x, y), atol=1e-6)
    # a target is in the middle of the nods that have it on both sides
    light = np.nansum(result.sci[20:-20], axis=0)
    target = clean[0].exposure.header
    place, _ = result.wcs.invert(target["TARG_RA"], target["TARG_DEC"], 9.5)
    assert abs(np.average(np.arange(light.size), weights=light) - place) < 0.1


def test_the_wcs_outlives_a_file(clean, tmp_path):
    result = resample_spec.apply(exposures(clean))
    again = stored.read(stored.write(result, tmp_path / "made_s2d.fits"))
    y, x = np.indices(result.sci.shape, dtype=float)
    np.testing.assert_array_equal(again.wcs(x, y), result.wcs(x, y))
    np.testing.assert_array_equal(again.extra["WAVELENGTH"], result.extra["WAVELENGTH"])


def test_errors_are_the_scatter_of_pixels_or_of_sums(references):
    """`error_of`: a pixel's scatter, and that of the sum of many."""
    given = [one.exposure for one in nods(references, sources=[])]
    truth = np.zeros_like(given[0].sci)
    draws, sums = [], []
    rng = np.random.default_rng(5)
    for _ in range(20):
        for exposure in given:
            exposure.sci = truth + rng.standard_normal(truth.shape, dtype=np.float32) * exposure.err
        result = resample_spec.apply(given, pixel_scale_ratio=1.7)
        inner = result.sci[100:110, 40:80]
        draws.append(inner)
        sums.append(inner.sum(axis=1))
    pixel = result.err[100:110, 40:80]
    assert np.std(draws, axis=0).mean() == pytest.approx(pixel.mean(), rel=0.05)
    area = resample_spec.apply(given, pixel_scale_ratio=1.7, error_of="area").err[100:110, 40:80]
    assert np.std(sums, axis=0).mean() == pytest.approx(np.sqrt((area**2).sum(axis=1)).mean(), rel=0.08)


def test_bad_pixels_have_no_weight(clean):
    given = exposures(clean)
    given[0].sci[200, 320] = 1e6
    given[0].dq[200, 320] = 1
    given[0].dq[210, 320] = 4
    given[1].sci[220, 330] = np.nan
    before, after = resample_spec.apply(exposures(clean)), resample_spec.apply(given, propagate_dq=True)
    assert np.nanmax(after.sci) < 1.2 * np.nanmax(before.sci)
    assert (after.dq[203] & 4).any() and not (after.dq & 1).any()
    np.testing.assert_array_equal(given[0].sci[200, 320], 1e6)  # the inputs stay as they are


def test_members_one_a_moment(clean):
    given = exposures(clean)
    members = Members([(exposure, "science") for exposure in given])
    single = resample_spec.apply(members, single=True)
    assert len(single) == 2 and all(one.var_rnoise is None for one in single)
    together = resample_spec.apply(members)
    assert {one.sci.shape for one in single} == {together.sci.shape}
    assert together.header["NDRIZ"] == 2 and together.header["EFFEXPTM"] == pytest.approx(2 * given[0].header["EFFEXPTM"])
    assert len(together.tables["HDRTAB"]) == 2


def test_slits_of_several_exposures_belong_together_by_their_source(clean):
    one, two = exposures(clean)
    made = []
    for exposure, ids in ((one, (7, 3)), (two, (3, 7))):
        slits = []
        for number in ids:
            pixels = copy.deepcopy(exposure.pixels[0])
            pixels.header = exposure.header.sci.copy()
            pixels.header["SOURCEID"] = number
            pixels.sci *= number
            slits.append(pixels)
        made.append(Exposure(exposure.header.copy(), slits, suffix="cal"))
    result = resample_spec.apply(made)
    assert [pixels.header["SOURCEID"] for pixels in result.pixels] == [7, 3]
    np.testing.assert_allclose(result.pixels[0].sci, 7 / 3 * result.pixels[1].sci, rtol=1e-4)
    alone = resample_spec.apply(made[0])
    assert len(alone.pixels) == 2 and alone.pixels[0].sci.shape[1] < result.pixels[0].sci.shape[1]


def test_a_grid_from_a_file(clean, tmp_path):
    given = exposures(clean)
    made = resample_spec.apply(given, pixel_scale_ratio=1.3)
    asdf.AsdfFile({"wcs": made.wcs}).write_to(tmp_path / "grid.asdf")
    again = resample_spec.apply(given, output_wcs=str(tmp_path / "grid.asdf"))
    np.testing.assert_allclose(again.sci, made.sci, rtol=1e-5)
    assert again.header["PIXAR_SR"] == pytest.approx(made.header["PIXAR_SR"], rel=1e-4)
    smaller = resample_spec.apply(given, output_wcs=str(tmp_path / "grid.asdf"), output_shape=[30, 200])
    assert smaller.sci.shape == (200, 30)


# --- tilted slits ----------------------------------------------------------------------------------------------------


SHAPE = (32, 300)  # rows across the spectrum, columns along it
TILT = 2e-4  # micron a row, of 1e-3 a column
SCALE = 0.1  # arcsec a row


def tilted_wcs(shift=0.0, lamp=False):
    """A spectrum along the rows, whose lines are tilted, through a slit at 30 degrees; the telescope moved by `shift` arcsec along it."""
    to_slit = AffineTransformation2D([[0, 0.02], [1e-3, TILT]], [-0.02 * 15.5, 1.0 - 15.5 * TILT])
    detector_to_slit = Mapping((0, 1)) | to_slit | Mapping((0, 0, 1)) | AffineTransformation2D([[0, 0], [0, 1]], [0, 0]) & Identity(1)
    detector_to_slit.inverse = Mapping((1, 2), n_inputs=3) | to_slit.inverse
    turn = np.radians(30.0)
    degrees = SCALE / 0.02 / 3600
    along = degrees * np.array([np.sin(turn), np.cos(turn)])
    across = degrees * np.array([np.cos(turn), -np.sin(turn)])
    plane = AffineTransformation2D(np.column_stack([across, along]), shift / SCALE * 0.02 * along)
    spectral = SpectralFrame(name="spectral", axes_order=(2,), unit=(u.micron,), axes_names=("wavelength",))
    detector, spatial = Frame2D(name="detector", axes_order=(0, 1)), Frame2D(name="slit_spatial", axes_order=(0, 1), unit=("", ""))
    slit = CompositeFrame([spatial, spectral], name="slit_frame")
    if lamp:
        places = CompositeFrame([Frame2D(name="msa", axes_order=(0, 1)), spectral], name="msa_frame")
        steps = [(detector, detector_to_slit), (slit, plane & Identity(1)), (places, None)]
    else:
        sky = CelestialFrame(name="sky", axes_order=(0, 1), reference_frame=ICRS())
        world = CompositeFrame([sky, spectral], name="world")
        to_sky = (plane | Pix2Sky_TAN() | RotateNative2Celestial(150.0, 2.0, 180.0)) & Identity(1)
        steps = [(detector, detector_to_slit), (slit, to_sky), (world, None)]
    wcs = WCS(steps)
    wcs.bounding_box = ((-0.5, SHAPE[1] - 0.5), (-0.5, SHAPE[0] - 0.5))
    return wcs


def tilted(clean, shift=0.0, number=1, lamp=False):
    """A star in the middle of the sky's slit, with a line at 1.15 micron."""
    y, x = np.indices(SHAPE, dtype=float)
    wavelength = 1.0 + 1e-3 * x + TILT * (y - 15.5)
    spectrum = 100 * (1 - 0.5 * np.exp(-0.5 * ((wavelength - 1.15) / 0.003) ** 2))
    truth = spectrum * np.exp(-0.5 * ((y - 15.5 + shift / SCALE) / 2.0) ** 2)
    noise = np.full(SHAPE, 0.04)
    planes = {"sci": truth, "err": np.sqrt(noise + 1e-3 * truth), "var_rnoise": noise, "var_poisson": 1e-3 * truth, "var_flat": 0 * noise}
    header = clean[0].exposure.header.copy()
    header.name = f"jw01234001001_02101_0000{number}_nrs1_cal.fits"
    about = {"INSTRUME": "NIRSPEC", "DETECTOR": "NRS1", "EXP_TYPE": "NRS_FIXEDSLIT", "GRATING": "G140M", "EXPOSURE": str(number)}
    for keyword, value in about.items():
        header[keyword] = value
    header.sci["DISPAXIS"], header.sci["SRCTYPE"] = 1, "POINT"
    pixels = Pixels(**{name: plane.astype(np.float32) for name, plane in planes.items()}, dq=np.zeros(SHAPE, np.uint32))
    pixels.header, pixels.wcs = header.sci, tilted_wcs(shift, lamp)
    return Exposure(header, [pixels], suffix="cal")


def test_tilted_lines_are_straight_and_light_stays(clean):
    given = [tilted(clean), tilted(clean, 0.73, 2)]
    for inputs in (given[:1], given):
        result = resample_spec.apply(inputs)
        wavelength = result.extra["WAVELENGTH"][0]
        assert (np.diff(wavelength) > 0).all()
        inner = slice(20, 280)
        total = np.nansum(result.sci, axis=0)[inner]
        expected = 100 * (1 - 0.5 * np.exp(-0.5 * ((wavelength[inner] - 1.15) / 0.003) ** 2)) * np.sqrt(2 * np.pi) * 2.0
        away = np.abs(wavelength[inner] - 1.15) > 0.015
        np.testing.assert_allclose(total[away], expected[away], rtol=5e-3)
        for row in np.flatnonzero(np.median(np.nan_to_num(result.sci), axis=1) > 40):
            depth = 1 - result.sci[row, inner] / np.median(result.sci[row, inner])
            near = ~away
            assert abs(np.sum((depth * wavelength[inner])[near]) / np.sum(depth[near]) - 1.15) < 1e-4  # 0.1 pixel
        y_slit = result.wcs.get_transform("detector", "slit_frame")(100.0, np.arange(result.sci.shape[0], dtype=float))[1]
        np.testing.assert_allclose(np.diff(y_slit), 0.02, rtol=1e-3)
        x, y = np.meshgrid(np.arange(5.0, 290.0, 30), np.arange(2.0, 30.0, 5))
        np.testing.assert_allclose(result.wcs.invert(*result.wcs(x, y), with_bounding_box=False), (x, y), atol=1e-6)


def test_a_lamp_has_places_in_the_slit(clean):
    result = resample_spec.apply(tilted(clean, lamp=True))
    assert result.sci.shape == SHAPE and "S_REGION" not in result.header
    assert not any(isinstance(frame, CelestialFrame) for frame in result.wcs.output_frame.frames)
    assert np.nansum(result.sci[:, 20:280]) == pytest.approx(np.nansum(tilted(clean).sci[:, 20:280]), rel=5e-3)


def test_wavelengths_of_several():
    one, two = np.arange(1.0, 2.0, 0.1), np.arange(2.45, 3.0, 0.1)
    np.testing.assert_array_equal(joint_wavelengths([one, two]), np.concatenate([one, two]))  # the gap stays
    np.testing.assert_array_equal(joint_wavelengths([two, one]), np.concatenate([one, two]))
    over = np.arange(1.505, 2.5, 0.1)
    joint = joint_wavelengths([one, over])
    assert (np.diff(joint) > 0.01).all() and joint[-1] == over[-1]
    with pytest.raises(InputError, match="fewer than two"):
        joint_wavelengths([np.array([1.0])])


# --- bad input -------------------------------------------------------------------------------------------------------


def test_bad_input(clean, tmp_path):
    given = exposures(clean)
    cube = given[0].derive([copy.deepcopy(given[0].pixels[0])], "calints")
    cube.sci = cube.sci[None]
    with pytest.raises(Skip, match="3 dimensions"):
        resample_spec.apply(cube)
    with pytest.raises(InputError, match="no exposures"):
        resample_spec.apply([])
    with pytest.raises(ConfigError, match="above 0"):
        resample_spec.apply(given, pixel_scale=0.0)
    with pytest.raises(ConfigError, match="fillval"):
        resample_spec.apply(given, fillval="none of it")
    asdf.AsdfFile({"wcs": 3}).write_to(tmp_path / "none.asdf")
    with pytest.raises(ConfigError, match="no gWCS with a wavelength"):
        resample_spec.apply(given, output_wcs=str(tmp_path / "none.asdf"))
    given[0].wcs = None
    with pytest.raises(InputError, match="no gWCS"):
        resample_spec.apply(given)


def test_an_input_of_nan_changes_nothing(clean):
    given = exposures(clean)
    alone = resample_spec.apply([given[1]])
    given[0].sci[:] = np.nan
    result = resample_spec.apply(given)
    assert np.nansum(result.sci) == pytest.approx(np.nansum(alone.sci), rel=1e-3)


def test_without_s_region(clean):
    given = exposures(clean)[0]
    del given.header["S_REGION"]
    assert "S_REGION" not in resample_spec.apply(given).header


# --- the peer --------------------------------------------------------------------------------------------------------


CASES = {
    "one": {},
    "nods": {},
    "finer": {"pixel_scale_ratio": 1.7, "pixfrac": 0.8},
    "scale": {"pixel_scale": 0.16, "propagate_dq": True},
    "point": {"kernel": "point", "weight_type": "exptime", "fillval": "-1"},
}
PEER = """
import json, os
os.environ.update(CRDS_PATH=str(folder), CRDS_SERVER_URL="https://127.0.0.1:9", STPIPE_DISABLE_CRDS_STEPPARS="true")
from jwst.resample import ResampleSpecStep
from jwst.datamodels import ModelContainer
from stdatamodels.jwst import datamodels

planes = {"sci": "data", "err": "err", "dq": "dq", "var_poisson": "var_poisson", "var_rnoise": "var_rnoise"}
planes |= {"CON": "con", "WHT": "wht", "WAVELENGTH": "wavelength"}
files = [str(f) for f in files]
for case, options in json.loads(str(cases)).items():
    if case == "one":
        given = datamodels.SlitModel(files[0])
    else:
        given = ModelContainer([datamodels.SlitModel(file) for file in files])
        given.asn_table = {"products": [{"name": "made"}]}
    result = ResampleSpecStep.call(given, **options)
    result.save(f"{folder}/{case}_s2d.fits")
    for ours, theirs in planes.items():
        if result.hasattr(theirs) and getattr(result, theirs) is not None:
            out[case + " " + ours] = np.array(getattr(result, theirs))
    world = result.meta.wcs(*map(np.array, ([0.0, 20.0, 30.0], [0.0, 100.0, 300.0])))
    out[case + " world"] = np.array(world)
"""


@pytest.fixture(scope="module")
def noisy(references):
    made = nods(references, noise=True, background=lambda wavelength: 20 + 0 * wavelength)
    rng = np.random.default_rng(3)
    for one in made:
        bad = rng.random(one.exposure.sci.shape) < 0.01
        one.exposure.dq[bad] = 1
        one.exposure.var_flat = (1e-4 * one.exposure.sci**2).astype(np.float32)
        one.exposure.header.sci["SRCXPOS"], one.exposure.header.sci["SRCYPOS"] = 320.0, 200.0
    return made


@pytest.fixture(scope="module")
def theirs(noisy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("peer")
    files = [str(stored.write(one.exposure, folder / one.exposure.name)) for one in noisy]
    return peer_python(PEER, folder=str(folder), files=files, cases=json.dumps(CASES)), folder, files


@needs_peer
@pytest.mark.parity
@pytest.mark.parametrize("case", CASES)
def test_as_the_peer(theirs, case):
    found, folder, files = theirs
    given = [stored.read(path) for path in files]
    ours = resample_spec.apply(given[0] if case == "one" else given, error_of="area", **CASES[case])
    weight = found[f"{case} WHT"]
    assert ours.sci.shape == weight.shape
    # where an image only grazes a pixel, 1e-9 of a pixel decides on the tiny weight, and with it on the value
    good = weight > 1e-3 * np.median(weight[weight > 0])
    grazed = (weight > 0) & ~good
    planes = {**dict(ours.pixels[0].planes()), **ours.pixels[0].extra}
    for plane in [name for name in (*PLANES, "dq", "CON") if f"{case} {name}" in found]:
        mine, his = planes[plane], found[f"{case} {plane}"]
        if mine.dtype.kind != "f":
            assert (mine == his)[..., ~grazed].mean() > 0.999, plane
            continue
        assert (np.isnan(mine) == np.isnan(his))[~grazed].mean() > 0.9999, plane
        if plane == "WAVELENGTH":
            np.testing.assert_allclose(mine, his, atol=1e-6)
            continue
        both = good & np.isfinite(mine) & np.isfinite(his)
        difference = np.abs(mine[both] - his[both]) / np.maximum(np.abs(his[both]), 1e-30)
        assert np.quantile(difference, 0.999) < 1e-4 and np.median(difference) < 1e-6, plane
    x, y = np.array([0.0, 20.0, 30.0]), np.array([0.0, 100.0, 300.0])
    np.testing.assert_allclose(ours.wcs(x, y), found[f"{case} world"], rtol=0, atol=1e-10)
    with fits.open(folder / f"{case}_s2d.fits") as product:
        _same_keywords(ours, product)


def _same_keywords(ours, product):
    made = stored.hdus(ours, "made_s2d.fits")
    other = {"DATE", "FILENAME", "CAL_VER", "CAL_VCS", "S_RESAMP", "COMMENT", "HISTORY", "", "S_REGION", "PROVFILE"}
    other |= {"DATAMODL"}  # the chain names it
    for extension in (0, "SCI"):
        mine, theirs = made[extension].header, product[extension].header
        assert set(mine) - other == set(theirs) - other
        for keyword in set(mine) - other:
            if isinstance(mine[keyword], float):
                assert mine[keyword] == pytest.approx(theirs[keyword], rel=1e-7, abs=1e-9), keyword
            else:
                assert mine[keyword] == theirs[keyword], keyword
    region, other = (np.array(file["SCI"].header["S_REGION"].split()[2:], float) for file in (made, product))
    np.testing.assert_allclose(region, other, atol=3e-9)


PEER_TILTED = """
import os
os.environ.update(CRDS_PATH=str(folder), CRDS_SERVER_URL="https://127.0.0.1:9", STPIPE_DISABLE_CRDS_STEPPARS="true")
from jwst.datamodels import ModelContainer
from jwst.resample import ResampleSpecStep
from stdatamodels.jwst import datamodels

given = ModelContainer([datamodels.SlitModel(str(file)) for file in files])
given.asn_table = {"products": [{"name": "made"}]}
for ratio in (1.0, 1.4):
    result = ResampleSpecStep.call(given, pixel_scale_ratio=ratio)
    for ours, theirs in {"sci": "data", "err": "err", "WHT": "wht", "WAVELENGTH": "wavelength"}.items():
        out[f"{ratio} {ours}"] = np.array(getattr(result, theirs))
    at = np.array([0.0, 20.0, 100.0]), np.array([0.0, 10.0, 30.0])
    out[f"{ratio} world"] = np.array(result.meta.wcs(*at))
    out[f"{ratio} slit"] = np.array(result.meta.wcs.get_transform("detector", "slit_frame")(*at))
    out[f"{ratio} region"] = result.meta.wcsinfo.s_region
    out[f"{ratio} end"] = result.meta.wcs(result.data.shape[1] - 0.6, 10.0)[2]
"""


@needs_peer
@pytest.mark.parity
def test_tilted_slits_as_the_peer(clean, tmp_path):
    given = [tilted(clean), tilted(clean, 0.73, 2)]
    files = [str(stored.write(exposure, tmp_path / exposure.name)) for exposure in given]
    found = peer_python(PEER_TILTED, folder=str(tmp_path), files=files)
    for ratio in (1.0, 1.4):
        ours = resample_spec.apply([stored.read(path) for path in files], pixel_scale_ratio=ratio, error_of="area")
        at = np.array([0.0, 20.0, 100.0]), np.array([0.0, 10.0, 30.0])
        np.testing.assert_allclose(ours.wcs(*at), found[f"{ratio} world"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(ours.wcs.get_transform("detector", "slit_frame")(*at), found[f"{ratio} slit"], atol=1e-7)
        mine, theirs = (np.array(str(region).split()[2:], float) for region in (ours.header["S_REGION"], found[f"{ratio} region"]))
        np.testing.assert_allclose(np.sort(mine), np.sort(theirs), atol=2e-9)
        weight = found[f"{ratio} WHT"]
        last = ours.extra["WAVELENGTH"][0, -1]
        assert ours.wcs(weight.shape[1] - 0.6, 10.0)[2] == pytest.approx(last + 4e-4, abs=1e-6) and found[f"{ratio} end"] > last + 0.1
        # the peer's table of wavelengths ends wrongly, so that all that lies beyond the last pixel's middle falls into the last pixel
        good = (weight > 1e-3 * np.median(weight[weight > 0])) & (np.arange(weight.shape[1]) < weight.shape[1] - 2)
        planes = dict(ours.pixels[0].planes()) | ours.pixels[0].extra
        for name in ("WAVELENGTH", "sci", "err", "WHT"):
            mine, theirs = planes[name], found[f"{ratio} {name}"]
            assert mine.shape == theirs.shape
            difference = np.abs(mine[good] - theirs[good]) / np.maximum(np.abs(theirs[good]), 1e-2 * np.nanmax(theirs[good]))
            assert np.quantile(difference, 0.999) < 1e-4, name
