"""Cubes of slices: kernels against numpy, a scene that is known, the peer on the same exposure."""

import logging

import asdf
import numpy as np
import pytest
from astropy.io import fits

import cubes
import mrs as optics
import nirspec
from jwcal.arithmetic.cubes.slicer import Slicer
from jwcal.kernels.cubes.drizzle import COUNT, FLUX, WEIGHT, drizzle
from jwcal.kernels.cubes.overlap import areas
from jwcal.kernels.cubes.shepard import shepard
from jwcal.kernels.cubes.voxels import finished
from jwcal.model.exposure import Members, Pixels
from jwcal.model.references import Reference, References
from jwcal.products import stored
from jwcal.simulate import cube_references, mrs
from jwcal.simulate.nirspec.references import write_references as write_nirspec
from jwcal.steps import assign_wcs, cube_build
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import ConfigError, InputError, ReferenceError
from many_threads import each_number
from peer import needs_peer, peer_python

NARROW = {"wavemin": 5.28, "wavemax": 5.33}  # a line, in some sixty planes


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return cubes.references(tmp_path_factory.mktemp("references"))


@pytest.fixture(scope="module")
def star(files):
    """A star with a line on a sky."""
    return cubes.exposure(files, noise=False)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """An exposure of a few slices, and its cubepar."""
    folder = tmp_path_factory.mktemp("small")
    exposure, refs = optics.small(folder, BAND="SHORT")
    assign_wcs.apply(exposure, refs, "mrs")
    pixels = exposure.pixels[0]
    pixels.sci, pixels.err = np.full(optics.SHAPE, 3, np.float32), np.ones(optics.SHAPE, np.float32)
    pixels.dq = np.zeros(optics.SHAPE, np.uint32)
    exposure.suffix = "cal"
    cubepar = cube_references.write_cubepar(folder / "cubepar.fits", cube_references.mrs_bands(mrs.RANGES), [5.1, 5.2, 5.3])
    return exposure, {"cubepar": cubepar}


def in_band(small, band, name):
    """The same exposure as one of another band."""
    exposure, _ = small
    other = exposure.derive([Pixels(**dict(exposure.pixels[0].planes()), header=exposure.header.sci, wcs=exposure.wcs)], "cal")
    other.header["BAND"], other.header.name = band, name
    return other


def build(exposure, files, kind="mrs", **parameters):
    first = exposure if hasattr(exposure, "header") else exposure[0]
    return cube_build.apply(exposure, cubes.refs(files, first), kind, **parameters)


# --- kernels ---------------------------------------------------------------------------------------------------------


def quadrilaterals(number, size=6.0, seed=1):
    """Convex ones, turned either way."""
    rng = np.random.default_rng(seed)
    middle, angle = rng.uniform(2, size - 2, (number, 2)), rng.uniform(0, 2 * np.pi, number)
    half, shear = rng.uniform(0.2, 1.0, (number, 2)), rng.uniform(-0.2, 0.2, number)
    a = np.array([-1, -1, 1, 1]) * half[:, :1] + shear[:, None] * np.array([-1, 1, 1, -1])
    b = np.array([-1, 1, 1, -1]) * half[:, 1:] * np.where(np.arange(number) % 2, 1, -1)[:, None]
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    return middle[:, :1] + a * cos - b * sin, middle[:, 1:] + a * sin + b * cos


def test_areas_of_quadrilaterals_in_squares():
    for u, v in zip(*quadrilaterals(20), strict=True):
        found = np.empty(36)
        areas(u, v, 0, 0, 6, 6, found)
        whole = 0.5 * abs(np.sum(u * np.roll(v, -1) - np.roll(u, -1) * v))
        np.testing.assert_allclose(found.sum(), whole, rtol=1e-12)
        # as points see it
        x, y = (np.arange(6 * 60) + 0.5) / 60, ((np.arange(6 * 60) + 0.5) / 60)[:, None]
        turns = [(u[n] - u[n - 1]) * (y - v[n - 1]) - (v[n] - v[n - 1]) * (x - u[n - 1]) for n in range(4)]
        inside = np.all(np.array(turns) > 0, axis=0) | np.all(np.array(turns) < 0, axis=0)
        seen = inside.reshape(6, 60, 6, 60).mean(axis=(1, 3))
        np.testing.assert_allclose(found.reshape(6, 6), seen, atol=0.02)
        assert (found[(seen == 0).ravel()] < 0.002).all()


def test_areas_of_an_upright_square():
    found = np.empty(9)
    areas(np.array([0.25, 0.25, 1.75, 1.75]), np.array([0.5, 2.5, 2.5, 0.5]), 0, 0, 3, 3, found)
    np.testing.assert_allclose(found.reshape(3, 3), np.outer([0.5, 1, 0.5], [0.75, 0.75, 0]), atol=1e-15)


def pixels(number=4000, seed=2):
    rng = np.random.default_rng(seed)
    u, v = quadrilaterals(number, 20.0, seed)
    low = rng.uniform(0, 50, number)
    return u, v, np.column_stack([low, low + rng.uniform(0.5, 2.5, number)]), rng.normal(5, 1, number), rng.uniform(0.1, 1, number)


def test_drizzle_shares_out_what_pixels_have():
    u, v, limits, flux, error = pixels()
    edges = np.concatenate([np.arange(30.0), 30 + 1.5 * np.arange(15.0)])
    sums = np.zeros((edges.size - 1, 20, 20, 4))
    drizzle(u, v, limits, flux, error, edges[:-1], edges[1:], sums)
    area = 0.5 * np.abs(np.sum(u * np.roll(v, -1, axis=1) - np.roll(u, -1, axis=1) * v, axis=1))
    share = np.clip(limits[:, 1], edges[0], edges[-1]) - np.clip(limits[:, 0], edges[0], edges[-1])
    np.testing.assert_allclose(sums[..., WEIGHT].sum(), (area * share).sum(), rtol=1e-10)
    np.testing.assert_allclose(sums[..., FLUX].sum(), (area * share * flux).sum(), rtol=1e-10)
    z = 20  # one plane by itself
    part = np.maximum(np.minimum(limits[:, 1], edges[z + 1]) - np.maximum(limits[:, 0], edges[z]), 0)
    np.testing.assert_allclose(sums[z, ..., WEIGHT].sum(), (area * part).sum(), rtol=1e-10)


def by_hand(axes, scale, steps, places, flux, error, region, power, softness, exponential):
    """Shepard's sums, voxel by voxel."""
    x, y, z = axes
    shape = len(z), len(y), len(x)
    sums = np.zeros((*shape, 4))
    for k, j, i in np.ndindex(shape):
        away = np.hypot(x[i] - places[:, 0], y[j] - places[:, 1])
        near = (away <= region[:, 0]) & (np.abs(z[k] - places[:, 2]) <= region[:, 1])
        square = (away / scale[0]) ** 2 + ((places[:, 2] - z[k]) / steps[k]) ** 2
        weight = np.exp(-square / softness) if exponential else 1 / np.maximum(np.sqrt(square) ** power, softness)
        weight = np.where(near, weight, 0)
        sums[k, j, i] = (weight * flux).sum(), weight.sum(), (weight**2 * error**2).sum(), near.sum()
    return sums


@pytest.mark.parametrize("exponential", [False, True])
def test_weights_by_distance(exponential):
    rng = np.random.default_rng(5)
    axes = (np.arange(8) - 4) * 0.2, (np.arange(6) - 3) * 0.2, 5 + 0.01 * np.arange(40)
    places = np.column_stack([rng.uniform(-1, 1, 300), rng.uniform(-0.8, 0.8, 300), rng.uniform(4.9, 5.5, 300)])
    region = np.column_stack([rng.uniform(0.1, 0.4, 300), rng.uniform(0.005, 0.03, 300)])
    power, softness = rng.choice([2.0, 1.0, 3.0], 300), rng.uniform(0.01, 0.5, 300)
    given = (
        axes,
        (0.2, 0.2),
        np.full(40, 0.01),
        places,
        rng.normal(5, 1, 300),
        rng.uniform(0.1, 1, 300),
        region,
        power,
        softness,
        exponential,
    )
    sums = np.zeros((40, 6, 8, 4))
    shepard(*given, sums)
    np.testing.assert_allclose(sums, by_hand(*given), rtol=1e-10, atol=1e-13)


def test_same_bytes_for_any_number_of_threads(star, files):
    ways = ("drizzle", "emsm", "msm")
    made = each_number(lambda: [build(star, files, channel="1", weighting=way, **NARROW)[0] for way in ways])
    for one, other in zip(*made, strict=True):
        for name in ("sci", "err", "dq"):
            assert getattr(one, name).tobytes() == getattr(other, name).tobytes()


def test_values_of_voxels():
    sums = np.zeros((1, 2, 2, 4))
    sums[0, 0, 1] = [6.0, 2.0, 1.0, 3.0]
    sci, err, number, flags = finished(sums, 513)
    assert (sci[0, 0, 1], err[0, 0, 1], number[0, 0, 1], flags[0, 0, 1]) == (3.0, 0.5, 3.0, 0)
    assert np.isnan(sci[0, 1, 1]) and np.isnan(err[0, 1, 1]) and number[0, 1, 1] == 0 and flags[0, 1, 1] == 513


def test_planes_that_reach_beyond_those_beside_them():
    """One of them does: all that lie in it are in it."""
    u, v, limits, flux, error = pixels()
    middle, half = np.arange(5.0, 45.0), np.full(40, 0.5)
    half[20] = 12.0
    sums = np.zeros((40, 20, 20, 4))
    drizzle(u, v, limits, flux, error, middle - half, middle + half, sums)
    alone = np.zeros((1, 20, 20, 4))
    drizzle(u, v, limits, flux, error, middle[20:21] - 12, middle[20:21] + 12, alone)
    np.testing.assert_allclose(sums[20], alone[0], rtol=1e-12)
    assert alone[..., COUNT].sum() > 2000


# --- a scene that is known -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def even(files):
    """50 MJy/sr everywhere."""
    return cubes.exposure(files, sources=(), background=lambda w: 50 + 0 * w, noise=False)


@pytest.mark.parametrize("way", ["drizzle", pytest.param("emsm", marks=pytest.mark.full), pytest.param("msm", marks=pytest.mark.full)])
def test_even_light_stays_even(even, files, way):
    """In every voxel, at any rotation."""
    for more in ({}, {"coord_system": "ifualign"}, {"cube_pa": 20.0}):
        (cube,) = build(even, files, channel="2", weighting=way, wavemin=8.0, wavemax=8.1, **more)
        good = cube.dq == 0
        assert good.mean() > 0.3
        np.testing.assert_allclose(cube.sci[good], 50, rtol=1e-6)
        assert np.isnan(cube.sci[~good]).all() and (cube.extra["WMAP"][~good] == 0).all() and (cube.extra["WMAP"][good] > 0).all()


@pytest.mark.full
def test_ends_of_bands_are_even_too(even, files):
    """Wavelengths are tilted along the slices: no plane at an end has a value that only some of them gave."""
    (cube,) = build(even, files, output_type="multi")
    good = cube.dq == 0
    np.testing.assert_allclose(cube.sci[good], 50, rtol=1e-5)
    first = cube.tables["WCS-TABLE"]["wavelength"].ravel() < 6
    for counts in (good[first].sum(axis=(1, 2)), good[~first].sum(axis=(1, 2))):
        assert counts[counts > 0].min() > 0.7 * np.median(counts[counts > 0])


def test_where_a_star_is_and_what_the_header_says(star, files):
    (cube,) = build(star, files, channel="1", **NARROW)
    header = cube.header
    assert cube.suffix == "s3d" and cube.sci.shape == (63, *cube.sci.shape[1:])
    image = np.nan_to_num(cube.sci - 10.3).mean(axis=0)
    image[image < 0.1 * image.max()] = 0
    y, x = np.indices(image.shape)
    ra, dec, wavelength = cube.wcs(*((image * v).sum() / image.sum() for v in (x, y)), 0)
    assert abs((ra - header["TARG_RA"]) * np.cos(np.deg2rad(dec))) * 3600 < 0.01 and abs(dec - header["TARG_DEC"]) * 3600 < 0.01
    assert wavelength == pytest.approx(5.28 + 0.0004) and header["CRVAL3"] == pytest.approx(wavelength)
    assert (header["CTYPE3"], header["CUNIT3"], header["WCSAXES"], header["PC1_1"]) == ("WAVE", "um", 3, -1)
    assert header["CHANNEL"] == "1" and header["WTYPE"] == "drizzle" and "V2_REF" not in header and "RA_REF" not in header
    assert header["PIXAR_A2"] == pytest.approx(0.13**2) and header["PIXAR_SR"] == pytest.approx(0.13**2 * (np.pi / 648000) ** 2)
    np.testing.assert_allclose(cube.tables["WCS-TABLE"]["wavelength"].ravel(), 5.2804 + 0.0008 * np.arange(63), rtol=1e-6)


def test_the_line_is_where_it_was(star, files):
    (cube,) = build(star, files, channel="1", **NARROW)
    spectrum = np.nansum(cube.sci, axis=(1, 2))
    spectrum -= np.interp(np.arange(63), [0, 62], spectrum[[0, 62]])
    at = cube.tables["WCS-TABLE"]["wavelength"].ravel()
    assert abs((spectrum * at).sum() / spectrum.sum() - cubes.LINE) < 0.1 * cubes.LINE / mrs.RESOLUTION


def test_a_table_of_wavelengths(star, files):
    (cube,) = build(star, files, output_type="multi", wavemin=7.4, wavemax=7.6)
    header = cube.header
    assert (header["CTYPE3"], header["PS3_0"], header["PS3_1"], header["CHANNEL"]) == ("WAVE-TAB", "WCS-TABLE", "wavelength", "12")
    assert "CDELT3" not in header
    table = fits.getdata(files["cubepar"], "MULTICHANNEL_DRIZ")["WAVELENGTH"]
    at = cube.tables["WCS-TABLE"]["wavelength"].ravel()
    inside = (table > 7.4) & (table < 7.6)
    assert np.isin(table[inside], at).all() and at.size <= inside.sum() + 3
    np.testing.assert_allclose(cube.wcs(3.0, 4.0, np.arange(float(at.size)))[2], at, rtol=1e-6)


def test_a_table_with_a_gap(star, files, tmp_path):
    """The plane before it is as wide as others: as bright as the one before, and not as the mean of all that the gap is wide."""
    table = np.concatenate([np.arange(5.64, 5.70, 0.003), np.arange(7.60, 7.66, 0.005)])
    cubepar = cube_references.write_cubepar(tmp_path / "cubepar.fits", cube_references.mrs_bands(mrs.RANGES), table)
    (cube,) = build(star, {**files, "cubepar": cubepar}, output_type="multi")
    last = np.flatnonzero(cube.tables["WCS-TABLE"]["wavelength"].ravel() < 6)[-1]
    np.testing.assert_allclose(np.nanmedian(cube.sci[last] / cube.sci[last - 1]), cubes.sky(5.697) / cubes.sky(5.694), rtol=1e-3)
    np.testing.assert_allclose(cube.extra["WMAP"][last].sum(), cube.extra["WMAP"][last - 1].sum(), rtol=0.3)


# --- which cubes -----------------------------------------------------------------------------------------------------


def names(made):
    return [one.product for one in made]


def test_which_cubes_there_are(small):
    made = build(*small)
    assert [cube.header["CHANNEL"] for cube in made] == ["1", "2"]
    assert names(made)[0] == "" and names(made)[1].endswith("_ch2-short")  # the first has the exposure's name
    assert len(build(*small, channel="2")) == 1
    both = build(*small, band="short")
    assert len(both) == 1 and both[0].header["CHANNEL"] == "12"
    assert len(build(*small, band="short", output_type="channel")) == 2


def test_cubes_of_an_association(small):
    """Two bands: each exposure is opened once, whatever the cubes are."""
    bands = {"jw_0_cal.fits": "SHORT", "jw_1_cal.fits": "LONG", "jw_2_cal.fits": "SHORT"}
    opened = []

    def read(path):
        opened.append(path)
        return in_band(small, bands[path], path)

    members = Members([(path, "science") for path in bands], read, name="jw01234-o001_t001_miri")
    members.shells()
    refs = cubes.refs(small[1], small[0])
    for kind, ends in (("band", ("ch1-short", "ch1-long", "ch2-short", "ch2-long")), ("channel", ("ch1-shortlong", "ch2-shortlong"))):
        opened.clear()
        made = cube_build.apply(members, refs, "mrs", output_type=kind)
        assert names(made) == [f"jw01234-o001_t001_miri_{end}" for end in ends]
        assert sorted(opened) == sorted(bands)
        assert [len(cube.tables["HDRTAB"]) for cube in made] == ([2, 1, 2, 1] if kind == "band" else [3, 3])
    assert made[0].header["BAND"] == "MULTIPLE" and np.nanmax(made[0].sci) == np.nanmin(made[0].sci) == 3


def test_the_target_of_a_moving_cube_is_where_it_was_on_the_mean(small):
    """The cube is in the frame of the mean place: an aperture at the first exposure's would miss the target."""
    moving = in_band(small, "SHORT", "moving_cal.fits")
    moving.header.primary["TARGTYPE"], moving.header.primary["TARG_RA"] = "MOVING", 53.0
    moving.header.sci["MT_AVRA"], moving.header.sci["MT_AVDEC"] = 53.001, -27.79
    moving.header.primary["TARG_DEC"] = -27.8
    for kind, place in (("MOVING", (53.001, -27.79)), ("FIXED", (53.0, -27.8))):
        moving.header.primary["TARGTYPE"] = kind
        (cube,) = build(moving, small[1], channel="1")
        assert (cube.header["TARG_RA"], cube.header["TARG_DEC"]) == place


@pytest.mark.full
def test_dithers_keep_the_flux(files):
    """Surface brightness is a mean: two exposures of a scene have the same sum of brightness times area as one."""
    dithers = [{"x": 0.0, "y": 0.0}, {"x": 0.63, "y": -0.47}]
    two = [cubes.exposure(files, background=None, noise=False, dither=dither) for dither in dithers]
    sums = []
    for those in (two[:1], two):
        (cube,) = build(those, files, channel="1", wavemin=5.10, wavemax=5.12)
        sums.append(np.nansum(cube.sci, axis=(1, 2)).mean())
    assert sums[1] == pytest.approx(sums[0], rel=0.003)


def test_what_the_user_says_of_the_grid(small):
    (cube,) = build(*small, channel="1", nspax_x=12, nspax_y=9, ra_center=53.1626, dec_center=-27.7914, scalexy=0.2, scalew=0.01)
    assert cube.sci.shape[1:] == (9, 13)
    assert (cube.header["CRVAL1"], cube.header["CRVAL2"]) == (53.1626, -27.7914)
    assert cube.header["CDELT1"] == pytest.approx(0.2 / 3600) and cube.header["CDELT3"] == 0.01
    (turned,) = build(*small, channel="1", cube_pa=30.0, scalew=0.05)
    assert turned.header["PC1_2"] == pytest.approx(0.5) and turned.header["PC2_2"] == pytest.approx(np.cos(np.pi / 6))


def _limits(low, high):
    def check(cube, usual):
        step = cube.header["CDELT3"]
        at = cube.tables["WCS-TABLE"]["wavelength"].ravel()
        np.testing.assert_allclose([at[0], at[-1]], [low + step / 2, high - step / 2], atol=step)
        assert abs(at.size - (high - low) / step) <= 1 and at.size < usual.sci.shape[0]

    return check


def _steps(keyword, value):
    def check(cube, usual):
        scale = 3600 if keyword != "CDELT3" else 1
        assert cube.header[keyword] * scale == pytest.approx(value) != usual.header[keyword] * scale
        if keyword != "CDELT3":
            assert cube.header["PIXAR_A2"] == pytest.approx(value**2)

    return check


def _same(cube, usual):
    for name in ("sci", "err", "dq"):
        assert getattr(cube, name).tobytes() == getattr(usual, name).tobytes()


def _by_table(cube, usual):
    assert (cube.header["CTYPE3"], usual.header["CTYPE3"]) == ("WAVE-TAB", "WAVE")
    np.testing.assert_allclose(cube.tables["WCS-TABLE"]["wavelength"].ravel(), [5.1, 5.2, 5.3], rtol=1e-6)


def _along_the_slices(cube, usual):
    """A row of spaxels looks at one slice, or at two all along."""
    pure = []
    for one in (cube, usual):
        image = one.sci[400]
        rows = image[np.isfinite(image).sum(axis=1) > 4]
        pure.append(np.mean(np.nanstd(rows, axis=1) < 1e-3))
    assert pure[0] > 0.8 > pure[1], pure


def _one_channel(cube, usual):
    assert cube.header["CHANNEL"] == "2" and usual.header["CHANNEL"] == "1"


def _odd(cube, usual):
    assert cube.sci.shape[1:] == (7, 11) != usual.sci.shape[1:]


def _turned(cube, usual):
    np.testing.assert_allclose([cube.header["PC1_2"], cube.header["PC2_2"]], [np.sin(np.deg2rad(40)), np.cos(np.deg2rad(40))])
    assert usual.header["PC1_2"] == 0


def _moved(cube, usual):
    """The same field, on a grid about another place: twice as far away at the one side."""
    assert (cube.header["CRVAL1"], cube.header["CRVAL2"]) == (usual.header["CRVAL1"] + 0.0001, usual.header["CRVAL2"] - 0.0001)
    assert cube.sci.shape[1] > usual.sci.shape[1] and cube.sci.shape[2] > usual.sci.shape[2]


def _joined(cube, usual):
    assert cube.header["CHANNEL"] == "12" and cube.header["CTYPE3"] == "WAVE-TAB"


@pytest.mark.parametrize(
    ("given", "check"),
    [
        ({"channel": "2"}, _one_channel),
        ({"band": "short", "channel": "1"}, _same),
        ({"output_type": "multi", "channel": "all"}, _joined),
        ({"output_type": "channel"}, _same),  # there is one band
        ({"linear_wave": False}, _by_table),
        ({"scalexy": 0.26}, _steps("CDELT1", 0.26)),
        ({"scalew": 0.004}, _steps("CDELT3", 0.004)),
        ({"coord_system": "world"}, _same),
        ({"coord_system": "ifualign"}, _along_the_slices),
        ({"cube_pa": 40.0}, _turned),
        ({"nspax_x": 10, "nspax_y": 7}, _odd),
        ({"ra_center": 0.0001, "dec_center": -0.0001}, _moved),  # from the usual place
        ({"wavemin": 5.1}, _limits(5.1, 5.77)),
        ({"wavemax": 5.3}, _limits(4.88, 5.3)),
        ({"wavemin": 5.1, "wavemax": 5.3}, _limits(5.1, 5.3)),
        ({"skip_dqflagging": True}, _same),
        ({"debug_spaxel": "3 3 3"}, _same),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_each_parameter_does_what_it_says(small, given, check):
    exposure, files = small
    image = exposure.wcs.pipeline[0].transform.label_mapper.mapper.astype(np.float32)
    coded = _coded(exposure, image)
    (usual,) = build(coded, files, channel="1")
    given = {"channel": "1"} | given
    for name, keyword in (("ra_center", "CRVAL1"), ("dec_center", "CRVAL2")):
        if name in given:
            given[name] = usual.header[keyword] + given[name]
    cube, *more = build(coded, files, **given)
    assert not more
    check(cube, usual)


@pytest.mark.parametrize("weighting", ["msm", "emsm"])
@pytest.mark.parametrize(("rois", "roiw", "power"), [(0.5, 0.02, 2.0), (0.9, 0.02, 2.0), (0.5, 0.06, 2.0), (0.5, 0.02, 1.0)])
def test_regions_and_powers_of_weights(small, weighting, rois, roiw, power):
    """One voxel by hand: the mean of the pixels that are near enough on the sky and in wavelength."""
    exposure, files = small
    rng = np.random.default_rng(7)
    noisy = _coded(exposure, rng.uniform(1, 9, exposure.sci.shape))
    own = {"weighting": weighting, "rois": rois, "roiw": roiw, "weight_power": power, "scalexy": 0.25, "scalew": 0.01}
    (cube,) = build(noisy, files, channel="1", **own)
    counts = cube.extra["WMAP"]
    z, j, i = np.unravel_index(np.argmax(counts), counts.shape)
    rows, columns = np.indices(noisy.sci.shape)
    ra, dec, wavelength = noisy.wcs(columns.astype(float), rows.astype(float))
    good = np.isfinite(ra) & (wavelength < 7)  # of the first channel
    x, y, plane = cube.wcs.invert(ra[good], dec[good], wavelength[good], with_bounding_box=False)
    away, apart = 0.25 * np.hypot(x - i, y - j), 0.01 * np.abs(plane - z)
    near = (away <= rois) & (apart <= roiw)
    assert near.sum() == counts[z, j, i] > 5
    square = (away[near] / 0.25) ** 2 + (apart[near] / 0.01) ** 2
    weight = np.exp(-square / (0.5 * 0.13 / 0.25)) if weighting == "emsm" else 1 / np.maximum(square ** (power / 2), 0.01)
    assert cube.sci[z, j, i] == pytest.approx(np.average(noisy.sci[good][near], weights=weight), rel=1e-4)
    assert (cube.header["WTYPE"], cube.header["ROIS"], cube.header["ROIW"]) == (weighting, rois, roiw)


def test_shifts_of_exposures(star, files, tmp_path):
    path = tmp_path / "offsets.asdf"
    own = f"{star.name.rpartition('/')[2].rpartition('_')[0]}_cal.fits"
    tree = {"units": "arcsec", "filename": [own], "raoffset": [0.26], "decoffset": [-0.13]}
    asdf.AsdfFile(tree).write_to(path)
    more = {"channel": "1", **NARROW, "nspax_x": 41, "nspax_y": 41, "ra_center": 53.1625, "dec_center": -27.7914}
    (still,) = build(star, files, **more)
    (moved,) = build(star, files, offset_file=str(path), **more)
    # two spaxels to the east, which is the left, and one down
    good = np.isfinite(still.sci[:, 2:-2, 3:-3]) & np.isfinite(moved.sci[:, 1:-3, 1:-5])
    assert good.mean() > 0.3
    np.testing.assert_allclose(moved.sci[:, 1:-3, 1:-5][good], still.sci[:, 2:-2, 3:-3][good], rtol=2e-3)
    for wrong in ({"units": "deg"}, {"raoffset": [1.0, 2.0]}, {"filename": ["other_cal.fits"]}):
        asdf.AsdfFile(tree | wrong).write_to(path)
        with pytest.raises(ConfigError, match="offset_file"):
            build(star, files, offset_file=str(path), **more)


def test_a_voxel_is_told(star, files, caplog):
    with caplog.at_level(logging.INFO):
        (cube,) = build(star, files, channel="1", debug_spaxel="20 19 5", **NARROW)
    said = next(r.getMessage() for r in caplog.records if "plane 5, row 19, column 20" in r.getMessage())
    assert f"{int(cube.extra['WMAP'][5, 19, 20])} pixels" in said
    assert float(said.rpartition(" ")[2]) == pytest.approx(cube.sci[5, 19, 20], rel=1e-5)


def test_bad_pixels_do_not_count(star, files):
    (whole,) = build(star, files, channel="1", **NARROW)
    spoilt = star.derive([Pixels(**dict(star.pixels[0].planes()), header=star.header.sci, wcs=star.wcs)], "cal")
    spoilt.sci, spoilt.dq = spoilt.sci.copy(), spoilt.dq.copy()
    lit = np.isfinite(spoilt.sci) & (spoilt.sci > 0)
    spoilt.sci[(np.indices(lit.shape)[1] % 7 == 0) & lit] = np.nan
    spoilt.dq[(np.indices(lit.shape)[0] % 5 == 0) & lit] = dq.DO_NOT_USE
    spoilt.sci[(np.indices(lit.shape)[0] % 5 == 0) & lit] = 1e6  # what is flagged is not looked at
    (cube,) = build(spoilt, files, channel="1", **NARROW)
    good = cube.dq == 0
    assert (cube.extra["WMAP"] <= whole.extra["WMAP"]).all() and np.nanmax(cube.sci) <= np.nanmax(star.sci) * (1 + 1e-6)
    assert good.sum() <= (whole.dq == 0).sum() and np.isfinite(cube.sci[good]).all()


def test_a_slice_without_a_value(star, files):
    """It leaves a hole, not zeros; and nothing at all leaves a cube of NaN."""
    gone = star.derive([Pixels(**dict(star.pixels[0].planes()), header=star.header.sci, wcs=star.wcs)], "cal")
    gone.sci = gone.sci.copy()
    labels = star.wcs.pipeline[0].transform.label_mapper.mapper
    gone.sci[labels == 111] = np.nan
    (cube,) = build(gone, files, channel="1", coord_system="ifualign", **NARROW)
    middle = cube.sci[30, :, cube.sci.shape[2] // 2]
    inside = np.flatnonzero(np.isfinite(middle))
    assert np.isnan(middle[inside[0] : inside[-1]]).any() and np.nanmin(cube.sci) > 0
    gone.sci[:] = np.nan
    (nothing,) = build(gone, files, channel="1", **NARROW)
    assert np.isnan(nothing.sci).all() and (nothing.dq == 513).all()


# --- what can't be done ----------------------------------------------------------------------------------------------


def test_parameters_that_contradict_each_other(small):
    with pytest.raises(ConfigError, match="cube_pa"):
        build(*small, coord_system="ifualign", cube_pa=10.0)
    with pytest.raises(ConfigError, match="slicer"):
        build(*small, coord_system="internal_cal")
    with pytest.raises(ConfigError, match="channel 3.*1-short, 2-short"):
        build(*small, channel="3")
    with pytest.raises(ConfigError, match="wavemin"):
        build(*small, wavemin=6.0, wavemax=5.0)
    with pytest.raises(ConfigError, match="debug_spaxel"):
        build(*small, debug_spaxel="1 2")


def test_a_grid_larger_than_memory(small):
    with pytest.raises(InputError, match=r"spaxels in \d+ planes, which takes \d+ GiB"):
        build(*small, channel="1", scalexy=0.0005)
    with pytest.raises(InputError, match="GiB"):
        build(*small, channel="1", scalew=1e-9)


def test_a_reference_without_the_band(small, tmp_path):
    path = cube_references.write_cubepar(tmp_path / "cubepar.fits", cube_references.mrs_bands({"LONG": mrs.RANGES["LONG"]}), [5.0, 6.0])
    with pytest.raises(ReferenceError, match="0 rows for 1 short"):
        cube_build.apply(small[0], {"cubepar": Reference("cubepar", path, small[0].header)}, "mrs")


def test_an_exposure_without_a_wcs(small):
    bare = in_band(small, "SHORT", "bare_cal.fits")
    bare.wcs = None
    with pytest.raises(InputError, match="gWCS"):
        build(bare, small[1])


# --- the peer --------------------------------------------------------------------------------------------------------

PEER = """
import logging, sys
sys.path.insert(0, {helpers!r})
import run_peer
run_peer.offline()
logging.disable(logging.CRITICAL)
from jwst.cube_build import CubeBuildStep
from stdatamodels.jwst import datamodels
for number, given in enumerate(eval(str(settings))):
    model = datamodels.IFUImageModel(str(path))
    model.meta.cal_step.assign_wcs = "COMPLETE"
    model.meta.wcsinfo.spectral_region = [1.0, 30.0]
    step = CubeBuildStep()
    step.override_cubepar = str(cubepar)
    for name, value in given.items():
        setattr(step, name, value)
    for band, cube in enumerate(step.run(model)):
        for name, values in (("sci", cube.data), ("err", cube.err), ("dq", cube.dq), ("wmap", cube.weightmap)):
            out[f"{{number}}.{{band}}.{{name}}"] = np.array(values)
        out[f"{{number}}.{{band}}.wave"] = np.array(cube.wavetable["wavelength"]).ravel()
        out[f"{{number}}.{{band}}.region"] = np.array(cube.meta.wcsinfo.s_region)
        out[f"{{number}}.{{band}}.crval"] = np.array([cube.meta.wcsinfo.crval1, cube.meta.wcsinfo.crval2, cube.meta.wcsinfo.crval3])
"""
HELPERS = str(cubes.SHARED / "peer")


def compare(exposure, files, settings, folder, kind="mrs"):
    """The same cubes by both, with the same flags, wavelengths, footprint and counts, and values within 1e-4."""
    path = stored.write(exposure, folder / "jw01234001001_02101_00001_mirifushort_cal.fits")
    given = {"path": str(path), "cubepar": str(files["cubepar"]), "settings": repr(settings)}
    theirs = peer_python(PEER.format(helpers=HELPERS), **given)
    for number, parameters in enumerate(settings):
        made = build(exposure, files, kind, **parameters)
        for band, cube in enumerate(made):
            want = {name: theirs[f"{number}.{band}.{name}"] for name in ("sci", "err", "dq", "wmap", "wave", "region", "crval")}
            assert cube.sci.shape == want["sci"].shape, parameters
            assert np.array_equal(cube.dq, want["dq"]), parameters
            good = cube.dq == 0
            assert good.any()
            for name, ours in (("sci", cube.sci), ("err", cube.err)):
                np.testing.assert_allclose(ours[good], want[name][good], rtol=1e-4, err_msg=str(parameters))
            assert (cube.extra["WMAP"] != want["wmap"]).mean() < 1e-4
            assert np.array_equal(cube.tables["WCS-TABLE"]["wavelength"].ravel(), want["wave"])
            if not {"cube_pa", "coord_system"} & set(parameters):  # of one that is turned the peer has the box that holds it
                assert _near(cube.header["S_REGION"], str(want["region"]))
            np.testing.assert_allclose([cube.header[f"CRVAL{n}"] for n in (1, 2, 3)], want["crval"], rtol=1e-12)


def _near(region, other):
    """Corners within a milli-arcsecond: the box is not the spaxels, as the sky is round."""
    return np.allclose(*(np.array(text.split()[2:], float) for text in (region, other)), atol=3e-7, rtol=0)


@needs_peer
@pytest.mark.parity
def test_as_the_peer(files, tmp_path):
    exposure = cubes.exposure(files)
    exposure.dq[::37, ::11] = dq.DO_NOT_USE
    exposure.sci[::41, ::13] = np.nan
    settings = [{"channel": "1", "weighting": way, "linear_wave": True, **NARROW} for way in ("drizzle", "emsm", "msm")]
    settings += [{"channel": "2", "skip_dqflagging": True, "coord_system": "ifualign", "wavemin": 8.0, "wavemax": 8.05}]
    settings += [{"output_type": "multi", "wavemin": 5.7, "wavemax": 5.8}]
    compare(exposure, files, settings, tmp_path)


@needs_peer
@pytest.mark.parity
@pytest.mark.full
@pytest.mark.parametrize(("channels", "band"), [("12", "SHORT"), ("34", "MEDIUM")])
def test_whole_cubes_as_the_peer(tmp_path, channels, band):
    files = cubes.references(tmp_path, channels, band)
    exposure = cubes.exposure(files, channels=channels, band=band)
    exposure.dq[::37, ::11] = dq.DO_NOT_USE
    settings = [{"weighting": way} for way in ("drizzle", "emsm", "msm")]
    settings += [{"output_type": "multi", "weighting": way} for way in ("drizzle", "emsm", "msm")]
    settings += [{"cube_pa": 25.0, "scalexy": 0.3}, {"output_type": "channel"}]
    compare(exposure, files, settings, tmp_path)


# --- NIRSpec ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    """The prism's slices, 7 MJy/sr and noise in them, and the cubepar."""
    folder = tmp_path_factory.mktemp("nirspec")
    exposure = nirspec.exposure((2048, 2048), EXP_TYPE="NRS_IFU", OPMODE="IFU", FXD_SLIT="NONE")
    types = (
        "camera",
        "collimator",
        "fore",
        "fpa",
        "ote",
        "disperser",
        "msa",
        "wavelengthrange",
        "ifufore",
        "ifupost",
        "ifuslicer",
        "chromcorr",
    )
    made = write_nirspec(folder, mode="ifu", grating="PRISM", real=nirspec.REAL, types=types)
    assign_wcs.apply(exposure, References(made, exposure.header), "nrs_slices")
    rng, shape = np.random.default_rng(4), exposure.sci.shape
    exposure.sci = np.full(shape, 7, np.float32)
    exposure.err, exposure.dq = rng.uniform(0.1, 0.2, shape).astype(np.float32), np.zeros(shape, np.uint32)
    bands = [("PRISM", "CLEAR", 0.1, 0.005, 0.6, 5.3), ("G140M", "F100LP", 0.1, 0.0006, 0.97, 1.89)]
    tables = tuple(f"MULTICHAN_{kind}" for kind in ("PRISM", "MED", "HIGH"))
    cubepar = cube_references.write_cubepar(folder / "cubepar.fits", bands, np.arange(0.6, 5.3, 0.005), "NIRSPEC", tables)
    exposure.suffix = "cal"
    return exposure, {"cubepar": cubepar}


@nirspec.needs_real
def test_slices_of_nirspec(slices):
    (cube,) = build(*slices, "nirspec", wavemin=2.0, wavemax=2.1)
    good = cube.dq == 0
    assert good.mean() > 0.6 and cube.header["CDELT1"] == pytest.approx(0.1 / 3600)
    np.testing.assert_allclose(cube.sci[good], 7, rtol=1e-6)
    members = Members([(slices[0], "science")], name="jw01234-o001_t001_nirspec_prism")
    (cube,) = cube_build.apply(members, cubes.refs(slices[1], slices[0]), "nirspec", wavemin=2.0, wavemax=2.1)
    assert cube.product == "jw01234-o001_t001_nirspec_prism-clear"
    with pytest.raises(ConfigError, match="grating without filter"):
        build(*slices, "nirspec", grating="prism")
    (chosen,) = build(*slices, "nirspec", grating="prism", filter="clear", wavemin=2.0, wavemax=2.1)
    assert chosen.sci.tobytes() == cube.sci.tobytes()
    with pytest.raises(ConfigError, match="grating g140m, filter f100lp is in none of the exposures, which have prism-clear"):
        build(*slices, "nirspec", grating="g140m", filter="f100lp")


@needs_peer
@nirspec.needs_real
@pytest.mark.parity
@pytest.mark.full
def test_slices_of_nirspec_as_the_peer(slices, tmp_path):
    exposure, files = slices
    exposure.sci += np.random.default_rng(6).normal(0, 0.2, exposure.sci.shape).astype(np.float32)
    exposure.dq[::37, ::11] = dq.DO_NOT_USE
    settings = [{}, {"weighting": "emsm"}, {"weighting": "msm", "coord_system": "ifualign"}, {"output_type": "multi"}]
    compare(exposure, files, settings, tmp_path, "nirspec")


def _coded(exposure, image):
    """The same exposure with other values, NaN between the slices."""
    other = exposure.derive([Pixels(**dict(exposure.pixels[0].planes()), header=exposure.header.sci, wcs=exposure.wcs)], "cal")
    other.sci = image.astype(np.float32)
    return other


@nirspec.needs_real
def test_places_on_the_slicer(slices):
    """A column a slice; what a pixel has is where its own place along the slice and its wavelength are."""
    exposure, files = slices
    window = {"coord_system": "internal_cal", "wavemin": 2.0, "wavemax": 2.1}
    slits = exposure.about["slits"]
    (cube,) = build(_coded(exposure, slits.wavelengths()), files, "nirspec", **window)
    planes, _, columns = cube.sci.shape
    assert columns == 30 and planes == 21 and cube.header["CTYPE1"] == "NRSSLICERX" and cube.header["CUNIT1"] == "meter"
    middle = np.full(planes, float((cube.sci.shape[1] - 1) // 2))
    x, y, wavelength = cube.wcs(np.full(planes, 14.5), middle, np.arange(planes, dtype=float))
    assert abs(x[0]) < 1e-4 and abs(y[0]) < 1e-9 and wavelength[10] == pytest.approx(2.05)
    inner = slice(2, -2)  # beyond the ends light is cut off
    off = np.nanmean(cube.sci[inner] - wavelength[inner, None, None], axis=(1, 2))
    pixel = np.nanmedian(np.abs(np.diff(slits.wavelengths()[slits.labels == 1][:50])))
    assert np.abs(off).max() < 0.1 * pixel
    (moved,) = build(_coded(exposure, slits.wavelengths()), files, "nirspec", slicer_corners="next", **window)
    assert np.nanmean(moved.sci[inner] - wavelength[inner, None, None]) < -0.4 * pixel  # as the peer has it
    along = np.full(exposure.sci.shape, np.nan)
    for number, index in (slicer := Slicer(exposure.wcs)).pixels.items():
        along.ravel()[index] = slicer.at(number)[1]
    (cube,) = build(_coded(exposure, along), files, "nirspec", **window)
    rows = cube.wcs(*np.broadcast_arrays(14.0, np.arange(cube.sci.shape[1], dtype=float), 5.0))[1]
    assert np.abs(np.nanmedian(cube.sci - rows[:, None], axis=(0, 2))[3:-3]).max() < 0.05 * cube.header["CDELT2"]
    np.testing.assert_allclose(cube.header["PIXAR_A2"], 0.1 * 0.103, rtol=0.05)  # the slicer is stretched: half a width along is 0.1 arcsec
    with pytest.raises(ConfigError, match="of one exposure, there are 2"):
        build([exposure, exposure], files, "nirspec", **window)


PEER_ON_THE_SLICER = """
import logging, sys
sys.path.insert(0, str(helpers))
import run_peer
run_peer.offline()
logging.disable(logging.CRITICAL)
from jwst.cube_build import CubeBuildStep
from stdatamodels.jwst import datamodels
model = datamodels.IFUImageModel(str(path))
model.meta.cal_step.assign_wcs = "COMPLETE"
model.meta.wcsinfo.spectral_region = [1.0, 30.0]
step = CubeBuildStep()
step.override_cubepar, step.coord_system, step.wavemin, step.wavemax = str(cubepar), "internal_cal", 2.0, 2.1
(cube,) = step.run(model)
out |= {"sci": cube.data, "err": cube.err, "dq": cube.dq, "wmap": cube.weightmap, "wave": cube.wavetable["wavelength"]}
known = cube.meta.wcsinfo
out["first"] = [(1 - known.crpix2) * known.cdelt2 + known.crval2, known.cdelt2]
"""


@needs_peer
@nirspec.needs_real
@pytest.mark.parity
@pytest.mark.full
def test_places_on_the_slicer_as_the_peer(slices, tmp_path):
    """With the corners that it takes; its first column and the step between columns are others: see docs/differences.md."""
    exposure, files = slices
    noisy = _coded(exposure, exposure.sci + np.random.default_rng(6).normal(0, 0.2, exposure.sci.shape))
    noisy.dq = exposure.dq.copy()
    noisy.dq[::37, ::11] = dq.DO_NOT_USE
    path = stored.write(noisy, tmp_path / "jw01234001001_02101_00001_nrs1_cal.fits")
    theirs = peer_python(PEER_ON_THE_SLICER, path=str(path), cubepar=str(files["cubepar"]), helpers=HELPERS)
    (cube,) = build(noisy, files, "nirspec", coord_system="internal_cal", wavemin=2.0, wavemax=2.1, slicer_corners="next")
    assert np.array_equal(cube.dq, theirs["dq"]) and np.array_equal(cube.extra["WMAP"], theirs["wmap"])
    assert np.array_equal(cube.tables["WCS-TABLE"]["wavelength"].ravel(), theirs["wave"].ravel())
    np.testing.assert_allclose([cube.header["CRVAL2"], cube.header["CDELT2"]], theirs["first"], rtol=1e-6)
    good = cube.dq == 0
    for name in ("sci", "err"):
        np.testing.assert_allclose(getattr(cube, name)[good], theirs[name][good], rtol=1e-4, err_msg=name)


@nirspec.needs_real
@pytest.mark.full
def test_finer_slices(slices):
    """Pixels that adaptive_trace_model made finer: their WCS has no map of slices, REGIONS has it."""
    from jwcal.arithmetic.spectra import finer_slices, trace_model

    exposure, files = slices
    other = _coded(exposure, np.where(exposure.extra["REGIONS"] > 0, 7.0, np.nan))
    model = finer_slices.model_slices(other, trace_model.OPTICS["ifu_prism"], 10.0, 2, 0.1, False)
    for name, plane in model.planes.items():
        setattr(other, name, plane)
    other.wcs, other.extra["REGIONS"] = model.wcs, model.regions
    (cube,) = build(other, files, "nirspec", wavemin=2.0, wavemax=2.1)
    good = cube.dq == 0
    assert good.mean() > 0.6
    np.testing.assert_allclose(cube.sci[good], 7, rtol=1e-5)
