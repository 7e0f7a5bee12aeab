"""The simulator of NIRSpec: its optics against traces that ESA measured and modelled, its references, and the light that it puts down."""

import numpy as np
import pytest
from astropy.io import fits

import sky
from jwcal.simulate import instruments, nirspec
from jwcal.simulate.nirspec import elements, light, response
from jwcal.simulate.nirspec.optics import Optics, tree_of
from jwcal.simulate.spectrograph import Dip, Source, Spectrum
from peer import PYTHON

REAL = sky.SHARED / "real/references/nirspec"
TRACES = sky.SHARED / "real/references/nirspec_truth"
TABLES = PYTHON.parents[1] / "lib/python3.11/site-packages/jwst/assign_wcs/tests/data"  # of ESA, that the peer brings along
STAR = Source(Spectrum(flux=5e-3, at=2.0, slope=-0.8))
needs_real = pytest.mark.skipif(not REAL.exists(), reason=f"no real references at {REAL}")


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    """(mode, grating, real or made up) -> type -> path; each is written once."""
    written = {}

    def give(mode, grating="PRISM", real=True, **options):
        key = mode, grating, real, repr(options)
        if key not in written:
            folder = tmp_path_factory.mktemp(f"{mode}{grating}")
            written[key] = nirspec.write_references(folder, mode=mode, grating=grating, real=REAL if real else None, **options)
        return written[key]

    return give


def traced(start):
    """Pixels of a trace from 0, wavelength [micron], place along the slit."""
    with fits.open(next(TRACES.glob(f"{start}*"))) as hdus:
        wavelength, along, head = hdus["LAMBDA1"].data, hdus["SLITY1"].data, hdus["LAMBDA1"].header
        rows, columns = np.nonzero((np.abs(along) < 0.5) & (wavelength > 0))
        x, y = columns - head["CRPIX1"] + head["CRVAL1"], rows - head["CRPIX2"] + head["CRVAL2"]
        return x, y, 1e6 * wavelength[rows, columns].astype(float), along[rows, columns].astype(float)


@needs_real
@pytest.mark.parametrize(("start", "opening"), [("Trace_SLIT_A_200_1", "S200A1"), ("Trace_IFU_Slice_00", 0)])
def test_light_falls_where_esa_has_it(references, start, opening):
    x, y, wavelength, along = (a[::7] for a in traced(start))
    mode = "ifu" if opening == 0 else "fs"
    optics = Optics.of(references(mode, "G140M"))
    aperture = optics.slice(0) if opening == 0 else optics.slit(opening)
    got = optics.to_pixel(aperture, 0.0, along, wavelength, "NRS1")
    # the wheel does not come to rest at the same angle each time: of the slicer's trace one angle is not known, which moves it along x
    shift = np.median(got[0] - x) if opening == 0 else 0.0
    assert np.abs(got[0] - shift - x).max() < 0.1
    assert np.abs(got[1] - y).max() < 0.1
    waves, places = optics.from_pixel(aperture, *got, "NRS1", (0.97, 1.89))
    assert np.abs(waves - wavelength).max() < 1e-7
    assert np.abs(places - along).max() < 1e-6


@needs_real
@pytest.mark.skipif(not TABLES.exists(), reason="the peer is not installed: make peer")
@pytest.mark.parametrize(
    ("table", "grating"),
    [("fixed_slits_functional_ESA_v4_20180618", "G395H"), ("ifu_prism_functional_ESA_v1_20180619", "PRISM")],
)
def test_each_element_turns_light_as_esa_has_it(table, grating):
    esa = np.genfromtxt(TABLES / f"{table}.txt", names=True, dtype=None, encoding=None)
    esa = esa[esa["wavelength"] > 5e-7]
    trees = {
        kind: tree_of(REAL / f"jwst_nirspec_{kind}_{n}.asdf") for kind, n in (("camera", "0004"), ("collimator", "0004"), ("fpa", "0005"))
    }
    optics = Optics(trees | {"disperser": elements.disperser(grating)})
    incoming = np.stack([esa["xdispIn"], esa["ydispIn"], np.sqrt(1 - esa["xdispIn"] ** 2 - esa["ydispIn"] ** 2)])
    leaving = optics.dispersed(incoming, esa["wavelength"])
    np.testing.assert_allclose(leaving[:2], [esa["xdispLaw"], esa["ydispLaw"]], atol=1e-9)
    if grating == "G395H":  # whose wheel stood as the model has it
        for detector in ("NRS1", "NRS2"):
            rows = esa[esa["SCA"] == ("SCA491" if detector == "NRS1" else "SCA492")]
            x, y = optics.from_shutters(rows["xmsapos"], rows["ymaspos"], 1e6 * rows["wavelength"], detector)
            flipped = (rows["i"] - 1, rows["j"] - 1) if detector == "NRS1" else (2048 - rows["i"], 2048 - rows["j"])
            np.testing.assert_allclose([x, y], flipped, atol=2e-3)


@pytest.mark.parametrize("grating", ["PRISM", *(g for g in elements.GRATINGS if g != "MIRROR")])
def test_made_up_optics_cover_the_detectors_as_the_instrument_does(references, grating):
    trees = {kind: getattr(elements, kind)() for kind in ("camera", "collimator", "fore", "fpa", "ote")}
    optics = Optics(trees | {"disperser": elements.disperser(grating)})
    optics.trees["msa"] = elements.msa(optics, instruments.siaf("NIRSPEC"))
    _, low, high = elements.RANGES[f"{nirspec.references.FILTERS[grating]}_{grating}"]
    x, y = optics.to_pixel(optics.slit("S200A1"), 0.0, 0.0, np.linspace(low, high, 50), "NRS1")
    assert (np.diff(x) > 0).all()
    assert x[0] > 500
    assert 1040 < y[0] < 1120  # rows of SUBS200A1


def test_a_point_source_is_shared_between_openings():
    wavelength = np.array([1.0, 3.0, 5.0])
    one = response.point_part(0.1, 0.2, wavelength, (0.2, 0.46), response.windows(), (0.268, 0.53))
    three = response.point_part(0.1, 0.2, wavelength, (0.2, 0.46), response.windows(-1, 1), (0.268, 0.53))
    assert ((0 < one) & (one < three) & (three < 1)).all()
    assert response.middle_of_light(0.0, wavelength, (0.2, 3.2)) == pytest.approx(0.0, abs=1e-12)
    assert (response.middle_of_light(0.3, wavelength, (0.2, 3.2)) < 0.3).all()


MODELS = {
    "disperser": "DisperserModel",
    "msa": "MSAModel",
    "wavelengthrange": "WavelengthrangeModel",
    "wavecorr": "WaveCorrModel",
    "pathloss": "PathlossModel",
    "barshadow": "BarshadowModel",
    "cubepar": "NirspecIFUCubeParsModel",
    "ifufore": "IFUFOREModel",
    "ifupost": "IFUPostModel",
    "ifuslicer": "IFUSlicerModel",
    "chromcorr": "ChromCorrModel",
    "camera": "CameraModel",
    "collimator": "CollimatorModel",
    "fore": "FOREModel",
    "fpa": "FPAModel",
    "ote": "OTEModel",
    "fflat": {"mos": "NirspecQuadFlatModel", "": "NirspecFlatModel"},
    "sflat": "NirspecFlatModel",
    "dflat": "NirspecFlatModel",
    "photom": {"fs": "NrsFsPhotomModel", "": "NrsMosPhotomModel"},
    "area": {"fs": "NirspecSlitAreaModel", "mos": "NirspecMosAreaModel", "": "NirspecIfuAreaModel"},
    "apcorr": {"fs": "NrsFsApcorrModel", "mos": "NrsMosApcorrModel", "": "NrsIfuApcorrModel"},
    "extract1d": {"ifu": "Extract1dIFUModel", "": None},
    "msaoper": None,
}


@pytest.mark.parametrize("mode", ["fs", "mos", "ifu"])
def test_references_are_valid(references, mode, monkeypatch):
    from stdatamodels.jwst import datamodels

    monkeypatch.setenv("STRICT_VALIDATION", "true")
    for kind, path in references(mode, "PRISM", real=False).items():
        name = MODELS[kind]
        name = name.get(mode, name[""]) if isinstance(name, dict) else name
        if name:
            with getattr(datamodels, name)(path) as model:
                model.validate()
                assert model.meta.reftype.lower() == kind


def test_metadata_tell_the_shutters_of_each_dither(tmp_path):
    path = nirspec.write_msa(tmp_path / "jw01234001001_01_msa.fits", nirspec.examples(None, None))
    with fits.open(path) as hdus:
        rows = hdus["SHUTTER_INFO"].data
        assert len(rows) == 3 * (6 * 3 + 5 + 1)
        first = rows[(rows["slitlet_id"] == 1) & (rows["primary_source"] == "Y")]
        assert first["shutter_column"].tolist() == [20, 19, 21]
        assert sorted(set(rows["slitlet_id"][rows["primary_source"] == "N"])) == [1, 2, 3, 4, 5, 6, 7, 8]
        alone = rows[rows["slitlet_id"] == 4]  # of one shutter, out of which the source is moved
        assert alone["primary_source"].tolist() == ["Y", "N", "N"] and alone["background"].tolist() == ["N", "Y", "Y"]
        assert -8 not in hdus["SOURCE_INFO"].data["source_id"]


# --- rates --------------------------------------------------------------------------------------------------------------------


def even(wavelength):
    return 2.0 + 0.1 * wavelength


def mean(values, where):
    """Of each column; NaN where there is nothing."""
    number = (where & np.isfinite(values)).sum(axis=0)
    return np.where(number > 0, np.where(where & np.isfinite(values), values, 0).sum(axis=0) / np.maximum(number, 1), np.nan)


def undone(one, name, mode="fs", which=0, shutter=None):
    """MJy in each pixel of a spectrum, and its footprint: flats and conversion undone, by the functions of the references."""
    spot, sub = one.truth.spots[name], instruments.subarray("NIRSPEC", "NRS1", one.exposure.header["SUBARRAY"])
    rate = one.truth.image[spot.rows - (sub.ystart - 1), spot.columns - (sub.xstart - 1)]
    flat = response.flat(mode, spot.wavelength, spot.columns, spot.rows, which, shutter)
    return rate / flat * response.conversion(spot.wavelength), spot


@pytest.mark.parametrize(("grating", "real"), [("PRISM", False), pytest.param("G395H", True, marks=needs_real)])
def test_a_slit_passes_what_the_path_losses_say(references, grating, real):
    files = references("fs", grating, real)
    one = nirspec.simulate_slits(files, grating=grating, sources=[STAR], dither={"x": 0.03, "y": 0.5, "number": 1, "total": 3}, noise=False)
    light_, spot = undone(one, "S200A1")
    ((across, along),) = one.truth.places["S200A1"]
    assert abs(across) * spot.opening[0] == pytest.approx(0.03, abs=4e-3)  # the slit is not quite along the SIAF's axes
    assert abs(along) * spot.opening[1] == pytest.approx(0.5, abs=0.02)
    middle = mean(light.own_wavelength(spot, across), np.abs(spot.along - along) < 0.03)
    inside = np.isfinite(spot.wavelength).all(axis=0) & np.isfinite(middle)
    part = response.point_part(across, along, middle[inside], spot.opening)
    assert inside.sum() > 300
    np.testing.assert_allclose(light_.sum(axis=0)[inside], 1e-6 * STAR.spectrum(middle[inside]) * part, rtol=5e-3)
    np.testing.assert_array_equal(one.exposure.pixels[0].sci, one.truth.image.astype(np.float32))


def test_even_light_fills_all_slits(references):
    one = nirspec.simulate_slits(references("fs", real=False), subarray="ALLSLITS", sources=(), background=even, noise=False)
    assert set(one.truth.spots) >= {"S200A1", "S200A2", "S400A1", "S1600A1"}
    for name in ("S200A2", "S1600A1"):
        light_, spot = undone(one, name, which=response.number(name))
        got = light_ / response.even_loss(spot.wavelength) / response.area(spot.opening[0]) / response.SQUARE_ARCSEC
        inside = np.abs(spot.along) < 0.4
        np.testing.assert_allclose(got[inside & np.isfinite(got)], even(spot.wavelength)[inside & np.isfinite(got)], rtol=1e-6)


def test_noise_and_cosmic_rays_are_the_seeds(references):
    files = references("fs", real=False)
    first, second, other = (nirspec.simulate_slits(files, cosmic_rays=[(20, 30, 500.0)], seed=seed) for seed in (1, 1, 2))
    assert (first.exposure.sci == second.exposure.sci).all()
    assert (first.exposure.sci != other.exposure.sci).any()
    assert first.exposure.sci[20, 30] - first.truth.image[20, 30] == pytest.approx(500, abs=60)
    assert str(first.exposure.header.primary) == str(second.exposure.header.primary)


def test_a_transit_takes_its_depth(references):
    shape = np.array([0.0, 0.5, 1.0, 0.0])
    one = nirspec.simulate_series(references("bots", real=False), sources=[STAR], dip=Dip(shape, 0.01), noise=False)
    assert one.exposure.suffix == "rateints" and len(one.exposure.tables["INT_TIMES"]) == 4
    white = one.truth.image.sum(axis=(1, 2))
    np.testing.assert_allclose(white / white[0], 1 - 0.01 * shape, rtol=1e-9)
    light_, spot = undone_series(one)
    inside = np.isfinite(spot.wavelength).all(axis=0)
    middle = mean(spot.wavelength, np.abs(spot.along) < 0.1)
    np.testing.assert_allclose(light_.sum(axis=0)[inside], 1e-6 * STAR.spectrum(middle[inside]), rtol=5e-3)  # nothing is lost


def undone_series(one):
    one.truth.image = one.truth.image[0]
    return undone(one, "S1600A1", which=response.number("S1600A1"))


def test_slitlets_lose_light_at_their_bars(references):
    slitlets = nirspec.examples(STAR.spectrum, lambda wavelength: 10 + 0 * wavelength)
    one = nirspec.simulate_slitlets(references("mos", real=False), slitlets, background=even, noise=False, failed=())
    star, glow, empty = slitlets[0], slitlets[2], slitlets[4]
    light_, spot = undone(one, star.number, "mos", star.quadrant, (star.column, star.row))
    inside = np.isfinite(spot.wavelength).all(axis=0)
    middle = mean(spot.wavelength, np.abs(spot.along) < 0.2)[inside]
    pitch = tuple(size / part for size, part in zip(spot.opening, response.SCREEN, strict=True))
    part = response.point_part(0.0, 0.0, middle, spot.opening, response.windows(-1, 1), pitch)
    bars = response.bars(spot.wavelength, spot.along * response.SCREEN[1], -1, 1)
    sky = even(spot.wavelength) * response.even_loss(spot.wavelength) * response.area(spot.opening[0]) * response.SQUARE_ARCSEC * bars
    np.testing.assert_allclose((light_ - sky).sum(axis=0)[inside], 1e-6 * STAR.spectrum(middle) * part, rtol=5e-3)
    for slitlet, brightness in ((glow, 10.0), (empty, 0.0)):
        light_, spot = undone(one, slitlet.number, "mos", slitlet.quadrant, (slitlet.column, slitlet.row))
        scale = response.even_loss(spot.wavelength) * response.area(spot.opening[0]) * response.SQUARE_ARCSEC
        inside = np.abs(spot.along) < 0.2
        bars = response.bars(spot.wavelength, spot.along * response.SCREEN[1], *slitlet.shutters)
        got = light_[inside] / (scale * bars)[inside]
        assert np.nanmedian(got - even(spot.wavelength[inside])) == pytest.approx(brightness, abs=1e-3)
    ra, dec = nirspec.places_on_sky(references("mos", real=False), slitlets)(star)
    assert 0 < np.hypot(ra - 53.1625, dec + 27.7914) < 0.1


def test_nods_put_a_source_into_another_shutter(references):
    """The telescope moves, by the distance of the shutters; the light of each nod falls that many rows away."""
    files, slitlets = references("mos", real=False), nirspec.examples(STAR.spectrum, None)[1:2]
    first, second = (nirspec.simulate_slitlets(files, slitlets, nod=nod, noise=False, failed=()) for nod in (1, 2))
    (place,), (other,) = first.truth.places[2], second.truth.places[2]
    np.testing.assert_allclose(place, other, atol=0.02)
    assert nirspec.places_in_shutters(files, slitlets)(slitlets[0], 2) == pytest.approx((0.62, 0.40), abs=0.01)
    offset = [one.exposure.header[key] for one in (first, second) for key in ("XOFFSET", "YOFFSET")]
    pitch = first.truth.spots[2].opening[1] / response.SCREEN[1]
    assert offset[:2] == [0, 0] and np.hypot(*offset[2:]) == pytest.approx(pitch, rel=0.01)
    rows = [(one.truth.image.sum(axis=1) * np.arange(2048)).sum() / one.truth.image.sum() for one in (first, second)]
    assert abs(rows[1] - rows[0]) == pytest.approx(pitch / response.PIXEL, rel=0.05)


def test_slices_share_a_star(references):
    one = nirspec.simulate_slicer(references("ifu", real=False), sources=[STAR], background=None, noise=False, failed=())
    total = {at: 0.0 for at in (1.0, 3.0)}
    for name, spot in one.truth.spots.items():
        light_, _ = undone(one, name, "ifu")
        sky = light.thickness(spot) * spot.opening[0] * spot.opening[1] / response.area(spot.opening[0])
        column = np.nansum(light_ * sky / response.point_loss(spot.wavelength), axis=0)
        middle = mean(spot.wavelength, np.abs(spot.along) < 0.3)
        good = np.isfinite(middle)
        for at in total:
            total[at] += np.interp(at, middle[good], column[good] / STAR.spectrum(middle[good]))
    assert 1e6 * total[1.0] == pytest.approx(1, abs=5e-3)
    assert 1e6 * total[3.0] == pytest.approx(1, abs=5e-3)


@pytest.mark.full
def test_an_imprint_has_only_what_leaks(references):
    files = references("ifu", real=False)
    failed, options = response.FAILED, {"leak": even, "noise": False}
    whole = nirspec.simulate_slicer(files, sources=[STAR], failed=failed, **options)
    imprint = nirspec.simulate_slicer(files, sources=[STAR], imprint=True, failed=failed, **options)
    alone = nirspec.simulate_slicer(files, sources=[STAR], failed=(), **options)
    assert imprint.exposure.header["IS_IMPRT"] and imprint.truth.image.max() > 0
    np.testing.assert_allclose(whole.truth.image - imprint.truth.image, alone.truth.image, atol=1e-9)


def test_a_lamp_shines_through_the_flats_alone(references):
    one = nirspec.simulate_lamp(references("lamp", real=False), subarray="SUBS200A1", noise=False)
    light_, spot = undone(one, "S200A1")
    inside = (np.abs(spot.along) < 0.4) & np.isfinite(spot.wavelength)
    np.testing.assert_allclose((light_ / response.conversion(spot.wavelength))[inside], nirspec.lines()(spot.wavelength[inside]), rtol=1e-9)
    assert one.exposure.header["FILTER"] == "OPAQUE" and one.exposure.header["LAMP"] == "LINE4"


@pytest.mark.parametrize("exp_type", ["NRS_IMAGE", "NRS_WATA", "NRS_MSATA", "NRS_TACONFIRM", "NRS_CONFIRM", "NRS_FOCUS", "NRS_MIMF"])
def test_images_have_their_stars(references, exp_type):
    stars = [nirspec.Star(rate=300.0)] + [nirspec.Star(2.0, 1.0, 200.0)] * (exp_type != "NRS_WATA")
    options = {"exp_type": exp_type, "stars": stars, "background": 0.0, "noise": False}
    one = nirspec.simulate_image(references("image", "MIRROR", real=False), **options)
    assert one.truth.image.sum() == pytest.approx(sum(star.rate for star in stars), rel=2e-2)
    row, column = np.unravel_index(np.argmax(one.truth.image), one.truth.image.shape)
    assert np.hypot(*(np.array(one.truth.places[0][0]) - [column, row])) < 1


# --- raw exposures ------------------------------------------------------------------------------------------------------------


def test_a_series_as_raw_files(references, tmp_path):
    from jwcal.workflow import plan

    made = nirspec.expose_series(
        tmp_path, nints=3, each=2, files=references("bots", real=False), sources=[STAR], noise=False, cosmic_rays=0.0
    )
    assert [path.name.split("_")[2] for path in made.exposures.uncals] == ["00001-seg001", "00001-seg002"]
    with fits.open(made.exposures.uncals[0]) as hdus:
        assert hdus["SCI"].data.shape == (2, 4, 32, 512) and hdus[0].header["GWA_TILT"] == pytest.approx(37.4)
    config = {"data": str(tmp_path / "data"), "results": str(tmp_path / "results"), "references": {"crds_path": str(tmp_path / "crds")}}
    planned = plan.make(config | {"until": "stage2"})
    assert not planned.problems and {job.stage for job in planned.jobs} == {"stage1", "stage2"}


@pytest.mark.full
def test_slitlets_as_raw_files_of_irs2(references, tmp_path):
    from stdatamodels.jwst import datamodels

    slitlets = nirspec.examples(STAR.spectrum, even)[:1]
    options = {"slitlets": slitlets, "nods": (0,), "ngroups": 1, "cache": False, "cosmic_rays": 0.0}
    made = nirspec.expose_slitlets(tmp_path, files=references("mos", real=False), irs2="NRSIRS2RAPID", **options)
    with datamodels.open(made.exposures.uncals[0]) as model:
        assert model.data.shape == (1, 1, 3200, 2048) and model.meta.exposure.readpatt == "NRSIRS2RAPID"
        assert (tmp_path / "data" / model.meta.instrument.msa_metadata_file).exists()
