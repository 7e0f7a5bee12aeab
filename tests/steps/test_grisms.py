"""Spectra without slits from the rate on: what was put in comes out, in every mode; bad input; the peer's numbers."""

import logging
from dataclasses import replace

import asdf
import numpy as np
import pytest

import grisms
from grisms import Star
from jwcal.arithmetic.flux import reference
from jwcal.arithmetic.grism.dispersion import dispersion_of
from jwcal.arithmetic.grism.footprint import united
from jwcal.arithmetic.resample.output_wcs import sky_polygons
from jwcal.model.exposure import Members
from jwcal.model.references import References
from jwcal.products import stored
from jwcal.simulate import grism as simulated
from jwcal.steps import (
    assign_wcs,
    bkg_subtract,
    combine_1d,
    extract_1d,
    extract_2d,
    outlier_detection,
    photom,
    srctype,
    white_light,
)
from jwcal.vocabulary.errors import InputError, ReferenceError
from peer import needs_peer, peer_python

REAL = grisms.sky.SHARED / "real/references/nircam"
needs_real = pytest.mark.skipif(not REAL.exists(), reason="the real reference files (../shared/real) are not here")
SOME = ("niriss", "nircam old", "miri")
EVERY = [name if name in SOME else pytest.param(name, marks=pytest.mark.full) for name in grisms.MODES]
KINDS = {"NIRISS": "niriss_wfss", "NIRCAM": "nircam_wfss", "MIRI": "miri_wfss"}


def passband(field):
    return "PUPIL" if field.mode.keywords["INSTRUME"] == "NIRISS" else "FILTER"


def with_wcs(field, **parameters):
    return assign_wcs.apply(field.exposure, field.refs, KINDS[field.mode.keywords["INSTRUME"]], **{"sip_approx": False, **parameters})


def cut(field, exposure=None, **parameters):
    return extract_2d.apply(exposure or with_wcs(field), field.refs, "wfss", passband(field), **parameters)


def calibrated(field, **parameters):
    exposure = srctype.apply(cut(field, **parameters), None, "field")
    return photom.apply(exposure, field.refs, "grism")


def extracted(field, **parameters):
    (x1d,) = extract_1d.apply(calibrated(field, **parameters), field.refs, "field")
    return x1d


def red(wavelength):
    return 1 + 0.3 * (wavelength - 1.5)


def rows_of(x1d, order=1):
    (table,) = (s.table for s in x1d.spectra if s.header["SPORDER"] == order)
    return {int(row["SOURCE_ID"]): row for row in table}


def ratio(row, star, limits, margin=0.03):
    """Measured over true flux, away from the ends."""
    n = int(row["N_ALONGDISP"])
    wavelength, flux = row["WAVELENGTH"][:n], row["FLUX"][:n]
    inside = (wavelength > limits[0] + margin * (limits[1] - limits[0])) & (wavelength < limits[1] - margin * (limits[1] - limits[0]))
    assert inside.sum() > 10
    return flux[inside] / (star.flux * star.spectrum(wavelength[inside]))


# --- fields ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_flux_of_sources(tmp_path, name):
    """Stars and what is extended, with rising spectra: the flux that was put in, in all places and for rows and columns."""
    mode = grisms.MODES[name]
    stars = [Star(100.3, 60.2, 1e-5, red), Star(110.7, 140.4, 2e-5, red), Star(130.0, 208.0, 2e-5, red, sigma=2.5)]
    if mode.vertical:
        stars = [Star(star.y, star.x, star.flux, star.spectrum, star.sigma) for star in stars]
    found = rows_of(extracted(grisms.field(tmp_path, mode, stars, strengths=(1, 0))))
    assert list(found) == [1, 2, 3] and [row["SOURCE_TYPE"] for row in found.values()] == [b"POINT", b"POINT", b"EXTENDED"]
    for label, star in enumerate(stars, start=1):
        relative = ratio(found[label], star, mode.limits, margin=0.05 if star.sigma < 1 else 0.15)
        np.testing.assert_allclose(np.median(relative), 1, atol=2e-3)
        # a box of 11 rows on a trace that bends, and the segment's ends
        np.testing.assert_allclose(relative, 1, atol=2e-3 if star.sigma < 1 else 8e-3)


@pytest.mark.parametrize("name", ["niriss", "niriss columns", "nircam field"])
def test_flat_spectra_where_the_dispersion_varies(tmp_path, name):
    """Users, slitless 15: flat F_nu at five places, where a pixel is up to 10 % wider in wavelength than elsewhere, comes out flat."""
    mode = grisms.MODES[name]
    along = "dispy" if mode.vertical else "dispx"
    slopes = [(-30, 0.0, 0.0), (100, 0.06, 0.04), (1.5, 0, 0)] if "niriss" in name else [(-60, 0.0, 0.0), (118, 0.06, 0.04), (1.2, 0, 0)]
    of_orders = [grisms.by_place(*slopes), *mode.specwcs[along][1:]]
    mode = replace(mode, specwcs={**mode.specwcs, along: of_orders})
    stars = [Star(x, y, 1e-5) for x, y in ((30.3, 24.0), (40.0, 226.8), (128.4, 130.2), (140.0, 62.0), (148.2, 236.0))]
    if mode.vertical:
        stars = [Star(star.y, star.x, star.flux) for star in stars]
    if name == "nircam field":
        stars = [Star(star.x + 60, star.y, star.flux) for star in stars]
    x1d = extracted(grisms.field(tmp_path, mode, stars, strengths=(1, 0)), extract_orders=[1])
    found, middle, widths = rows_of(x1d), np.mean(mode.limits), []
    for label, star in enumerate(stars, start=1):
        np.testing.assert_allclose(ratio(found[label], star, mode.limits, margin=0.06), 1, atol=2e-3)
        row = found[label]
        wavelength = row["WAVELENGTH"][: row["N_ALONGDISP"]]
        near = np.argsort(np.abs(wavelength - middle))[:2]
        widths.append(np.abs(np.diff(wavelength[near]))[0])
    assert max(widths) / min(widths) > 1.1


@pytest.mark.parametrize("name", EVERY)
def test_traces_and_round_trip(tmp_path, name):
    """In every corner the light is in the middle of its box, and the WCS goes there and back."""
    mode = grisms.MODES[name]
    stars = [Star(x, y, 1e-5 * (1 + n)) for n, (x, y) in enumerate([(90.2, 90.7), (90.4, 160.1), (150.3, 90.2), (140.6, 160.8)])]
    field = grisms.field(tmp_path, mode, stars, strengths=(1, 0))
    exposure = cut(field, extract_orders=[1])
    assert len(exposure.pixels) == 4
    for slit in exposure.slits():
        light = slit.sci.sum(axis=0 if mode.vertical else 1)
        middle = (light * np.arange(light.size)).sum() / light.sum()
        assert abs(middle - (light.size - 1) / 2) < 1.0
        star = stars[int(slit.header["SLTNAME"]) - 1]
        middle = slit.sci.shape[0] // 2, slit.sci.shape[1] // 2
        ra, dec, wavelength, order = (np.ravel(value)[0] for value in slit.wcs(middle[1], middle[0]))
        np.testing.assert_allclose(wavelength, slit.extra["WAVELENGTH"][middle], rtol=2e-7)
        assert order == 1
        back = [np.ravel(value)[0] for value in slit.wcs.invert(ra, dec, wavelength, order, with_bounding_box=False)]
        along = 1 if mode.vertical else 0
        assert abs(back[along] - middle[1 - along]) < 0.05
        assert abs(slit.header["SRCXPOS"] - star.x) < 0.05 and abs(slit.header["SRCYPOS"] - star.y) < 0.05


def test_wheel_turns_the_trace(tmp_path):
    """The filter wheel's angle moves the box, and it moves it the way the WCS looks back."""
    stars = [Star(100.0, 120.0, 1e-5)]
    boxes = {}
    for angle in (353.0, 354.0):
        folder = tmp_path / str(angle)
        folder.mkdir()
        field = grisms.field(folder, grisms.NIRISS, stars, FWCPOS=angle)
        exposure = cut(field, extract_orders=[1])
        boxes[angle] = exposure.only.header["SLTSTRT2"]
        dispersion = dispersion_of(exposure.wcs, False)
        x, y = dispersion.disperse(1, 1.5, 100.0, 120.0)
        np.testing.assert_allclose(dispersion.wavelengths(1, [float(x)], 100.0, 120.0), 1.5, atol=4e-5)  # a hundredth of a pixel
    dx = 1.0 + 0.5 * (100 + 2 + 1.2)
    assert boxes[354.0] - boxes[353.0] == round(-dx * np.sin(np.radians(1.0))) or abs(boxes[354.0] - boxes[353.0]) <= 1


@pytest.mark.parametrize(("number", "name"), [(0, "niriss"), (1, "niriss columns")])
def test_wheel_turns_the_trace_as_in_the_simulator(tmp_path, number, name):
    """Its arithmetic is its own: traces turn clockwise by FWCPOS less the reference's."""
    made = simulated.NIRISS[number]
    field = grisms.field(tmp_path, grisms.MODES[name], [Star(100.0, 120.0, 1e-5)], rates=0.0, FWCPOS=made.angle + 1.0)
    specwcs, *_ = simulated.write_references(tmp_path / "simulated", [made])
    field.refs = References({**field.files, "specwcs": specwcs}, field.exposure.header)
    dispersion = dispersion_of(with_wcs(field).wcs, made.vertical)
    wavelength = np.array([1.35, 1.5, 1.65])
    for order in made.orders:
        truth = made.place(order, 100.0, 120.0, wavelength, 1.0)
        np.testing.assert_allclose(dispersion.disperse(order.number, wavelength, 100.0, 120.0), truth, atol=1e-6)


@needs_real
@pytest.mark.parametrize(("name", "pupil"), [("0010", "GRISMR"), ("0011", "GRISMC")])
def test_real_references(tmp_path, name, pupil):
    """Of NIRCam's module A: about a nanometre a pixel, 3.937 micron undeflected; the conversions by filter, grism and order."""
    field = grisms.field(tmp_path, grisms.NIRCAM, [Star(100.0, 120.0, 1e-5)], rates=0.0, PUPIL=pupil)
    given = {"specwcs": REAL / f"jwst_nircam_specwcs_{name}.asdf", "photom": REAL / "jwst_nircam_photom_0064.fits"}
    field.refs = References({**field.files, **given}, field.exposure.header)
    dispersion = dispersion_of(with_wcs(field).wcs, pupil == "GRISMC")
    wavelength = np.array([3.2, 3.937, 4.8])
    for order, (zero, slope) in {1: (-1530.876494, 2589.64143426), 2: (859.56175297, 5179.28286853)}.items():
        along, across = (0, 1) if pupil == "GRISMR" else (1, 0)
        places = dispersion.disperse(order, wavelength, 100.0, 120.0)
        np.testing.assert_allclose(places[along], (100.0, 120.0)[along] + zero + slope * (wavelength - 2.4) / 2.6, atol=1e-4)
        np.testing.assert_allclose(places[across], (100.0, 120.0)[across], atol=1e-9)
        np.testing.assert_allclose(dispersion.wavelengths(order, places[along], 100.0, 120.0), wavelength, atol=1e-7)
    header = field.exposure.header
    header["SPORDER"] = 1
    row = reference.find_row(field.refs["photom"], header)
    at, _ = reference.response(field.refs["photom"], row)
    assert at.size > 1000 and at[0] < 3.1 < 4.0 < at[-1]
    assert reference.conversion_of(field.refs["photom"], row) > 600


def test_sky_is_scaled_to_where_no_source_is(tmp_path):
    random = np.random.default_rng(1)
    stars = [Star(x, y, 2e-5) for x, y in random.uniform(20, 236, (12, 2))]
    field = grisms.field(tmp_path, grisms.NIRISS, stars, background=1.3, noise=0.05)
    exposure = with_wcs(field)
    bkg_subtract.apply(exposure, field.refs, "wfss", "PUPIL")
    assert abs(exposure.header["BKGD_SCL"] - 1.3) < 0.003
    assert 0.3 < exposure.extra["MASK"].mean() < 0.95


def test_sky_of_photons(tmp_path):
    """A faint sky in short ramps, whose photons each pixel counts for its own error: the scale is not drawn to the faint side."""
    field = grisms.field(tmp_path, grisms.NIRISS, [Star(110.0, 60.0, 1e-5)], background=0.5, strengths=(1, 0))
    exposure, random, gain = with_wcs(field), np.random.default_rng(7), 50.0  # photons for 1 DN/s
    exposure.sci[:] = random.poisson(np.maximum(exposure.sci, 0) * gain) / gain + random.normal(0, 0.05, exposure.sci.shape)
    exposure.var_poisson[:], exposure.var_rnoise[:] = np.maximum(exposure.sci, 0) / gain, 0.05**2
    exposure.err[:] = np.sqrt(exposure.var_poisson + exposure.var_rnoise)
    scales = []
    for weights in ("expected", "data"):
        copy = exposure.derive([type(exposure.only)(**{name: plane.copy() for name, plane in exposure.only.planes()})], "rate")
        copy.wcs, copy.members = exposure.wcs, exposure.members
        scales.append(bkg_subtract.apply(copy, field.refs, "wfss", "PUPIL", wfss_weights=weights).header["BKGD_SCL"])
    assert abs(scales[0] / 0.5 - 1) < 0.004 and scales[1] < 0.49, scales


def test_sky_of_a_crowded_field(tmp_path, caplog):
    """Sources everywhere: the scale is still near, and the log says why it is from all pixels."""
    stars = [Star(x, y, 1e-6, sigma=2.0) for x in range(4, 256, 12) for y in range(4, 256, 8)]
    field = grisms.field(tmp_path, grisms.NIRISS, stars, background=1.3, noise=0.05, rates=0.0)
    exposure = with_wcs(field)
    with caplog.at_level(logging.WARNING):
        bkg_subtract.apply(exposure, field.refs, "wfss", "PUPIL")
    assert abs(exposure.header["BKGD_SCL"] - 1.3) < 0.013 and "leave only" in caplog.text


def test_sources_are_chosen(tmp_path, caplog):
    stars = [Star(110.0, 40.0 + 30 * n, 1e-5 * (1 + n)) for n in range(6)]
    field = grisms.field(tmp_path, grisms.NIRISS, stars, strengths=(1, 0))
    with_wcs(field)

    def labels(**parameters):
        exposure = field.exposure.derive(field.exposure.pixels, "rate")
        return [int(slit.header["SLTNAME"]) for slit in cut(field, exposure, extract_orders=[1], **parameters).slits()]

    place = field.catalogue["sky_centroid"][3]
    assert labels() == [6, 5, 4, 3, 2, 1]
    assert labels(wfss_nbright=2) == [6, 5]
    assert labels(source_ids=[2, "5"]) == [5, 2]
    assert labels(source_ids=[2], source_ra=[place.ra.deg], source_dec=[place.dec.deg]) == [4, 2]
    assert labels(wfss_mmag_extract=float(field.catalogue["isophotal_abmag"][2])) == [6, 5, 4]
    with pytest.raises(InputError, match="none of the sources"):
        labels(source_ids=[77])
    with pytest.raises(InputError, match="Give as many of both"):
        labels(source_ra=[1.0])


def test_source_without_a_magnitude(tmp_path):
    field = grisms.field(tmp_path, grisms.NIRISS, [Star(110.0, 60.0, 1e-5), Star(110.0, 120.0, 2e-5)], strengths=(1, 0))
    field.catalogue["isophotal_abmag"][1] = np.nan
    field.catalogue.write(field.files["sourcecat"], format="ascii.ecsv", overwrite=True)
    assert [int(slit.header["SLTNAME"]) for slit in cut(field, extract_orders=[1]).slits()] == [1, 2]


def test_bad_input(tmp_path):
    """Each is one error that says what is wrong."""
    field = grisms.field(tmp_path, grisms.NIRISS, [Star(110.0, 60.0, 1e-5)])
    exposure = with_wcs(field)
    with pytest.raises(ReferenceError, match="no order 7 for F150W: it has 1, 2"):
        cut(field, exposure, extract_orders=[7])
    exposure.members = Members()
    with pytest.raises(InputError, match="no source catalogue"):
        cut(field, exposure)
    exposure.members = Members([(field.files["sourcecat"], "sourcecat")], stored.read)
    field.catalogue[:0].write(field.files["sourcecat"], format="ascii.ecsv", overwrite=True)
    with pytest.raises(InputError, match="the catalogue has no source"):
        cut(field, exposure)
    exposure.members = Members([(field.files["sourcecat"], "sourcecat")], stored.read)
    other = field.catalogue.copy()
    other.remove_column("sky_centroid")
    other.write(field.files["sourcecat"], format="ascii.ecsv", overwrite=True)
    with pytest.raises(InputError, match="no column sky_centroid"):
        cut(field, exposure)


@pytest.mark.parametrize(("number", "name"), [(0, "niriss"), pytest.param(1, "niriss columns", marks=pytest.mark.full)])
def test_boxes_of_all_orders_where_the_wheel_is_turned(tmp_path, number, name):
    """Nine sources, orders 0, 1 and 2 by the simulator's own arithmetic: the trace is in the middle of the box, all of it."""
    made = simulated.NIRISS[number]
    stars = [Star(x, y, 1e-5, sigma=1.0) for x in (620.0, 700.3, 790.7) for y in (630.0, 710.6, 780.2)]
    field = grisms.field(tmp_path, grisms.MODES[name], stars, rates=0.0, size=1024, FWCPOS=made.angle + 0.5)
    specwcs, ranges, *_ = simulated.write_references(tmp_path / "simulated", [made])
    field.refs = References({**field.files, "specwcs": specwcs, "wavelengthrange": ranges}, field.exposure.header)
    exposure = cut(field, extract_orders=[0, 1, 2])
    seen = {order: 0 for order in (0, 1, 2)}
    for slit in exposure.slits():
        star, (x, y) = stars[int(slit.header["SLTNAME"]) - 1], (slit.header["SRCXPOS"], slit.header["SRCYPOS"])
        assert abs(x - star.x) < 0.05 and abs(y - star.y) < 0.05
        order = next(one for one in made.orders if one.number == slit.header["SPORDER"])
        seen[order.number] += 1
        wavelength = np.linspace(*made.band, 7)
        places = np.array(made.place(order, x, y, wavelength, 0.5))
        along, across = places[::-1] if made.vertical else places
        corner = slit.header["SLTSTRT1"] - 1, slit.header["SLTSTRT2"] - 1
        first, beside = corner[::-1] if made.vertical else corner
        long, wide = slit.sci.shape if made.vertical else slit.sci.shape[::-1]
        assert abs(across[3] - beside - (wide - 1) / 2) <= 0.5 + 1e-6
        assert first - 0.5 <= along.min() and along.max() <= first + long - 0.5
        if order.number:
            back = dispersion_of(field.exposure.wcs, made.vertical).wavelengths(order.number, along, x, y)
            np.testing.assert_allclose(back, wavelength, atol=0.05 * 1.5 / 319)  # a twentieth of a pixel
    assert seen == {0: 9, 1: 9, 2: 9}


@pytest.mark.parametrize("name", ["niriss", "nircam field"])
def test_wavelengths_of_what_is_extended(tmp_path, name):
    """They are those of the source's middle, and rise or fall throughout; beyond a bent trace's ends NIRCam's are unknown."""
    field = grisms.field(tmp_path, grisms.MODES[name], [Star(110.0, 120.0, 1e-5, sigma=8.0)], strengths=(1, 0))
    slit = next(iter(cut(field, extract_orders=[1]).slits()))
    wavelength = slit.extra["WAVELENGTH"]
    assert (wavelength[0] == wavelength[-1])[np.isfinite(wavelength[0])].all()
    known = np.isfinite(wavelength[0])
    low, high = field.mode.limits
    inside = known & (wavelength[0] >= low) & (wavelength[0] <= high)
    x, _ = dispersion_of(field.exposure.wcs, False).disperse(1, wavelength[0, inside].astype(float), 110.0, 120.0)
    np.testing.assert_allclose(x, np.flatnonzero(inside) + slit.header["SLTSTRT1"] - 1, atol=0.05)
    assert len(set(np.sign(np.diff(wavelength[0, known])))) == 1
    assert inside.sum() < slit.sci.shape[1] and (known.all() if name == "niriss" else not known.all())


def test_spectra_that_are_not_there(tmp_path, caplog):
    """One is beyond the detector, one where the flat field has no value: the others are cut out, and it is said."""
    stars = [Star(110.0, 40.0, 1e-5), Star(110.0, 120.0, 2e-5), Star(900.0, 60.0, 3e-5), Star(110.0, 200.0, 1e-5)]
    field = grisms.field(tmp_path, grisms.NIRISS, stars, strengths=(1, 0))
    field.exposure.sci[90:150] = np.nan
    with caplog.at_level(logging.WARNING):
        exposure = cut(field, extract_orders=[1], source_ids=[1, 2, 3])
    assert [slit.header["SLTNAME"] for slit in exposure.slits()] == ["1"]
    assert "off the detector: 3" in caplog.text and "1 spectra are left out" in caplog.text
    field.exposure.sci[:] = np.nan
    with pytest.raises(InputError, match="none of the spectra has a pixel with a value"):
        cut(field, field.exposure, extract_orders=[1])


def test_other_pointing(tmp_path):
    """A catalogue of another field: no source falls on the detector."""
    field = grisms.field(tmp_path, grisms.NIRISS, [Star(110.0, 60.0, 1e-5)])
    field.exposure.header["RA_REF"] = field.exposure.header["RA_REF"] + 0.5
    with pytest.raises(InputError, match="no spectrum of the 1 sources falls on the detector"):
        cut(field)


def test_no_grism(tmp_path):
    field = grisms.field(tmp_path, grisms.NIRISS, [Star(110.0, 60.0, 1e-5)])
    field.exposure.header["FILTER"] = "CLEAR"
    with pytest.raises(InputError, match="FILTER is CLEAR, a grism was expected"):
        with_wcs(field)


def test_order_that_the_wcs_lacks(tmp_path):
    """The wavelengthrange reference has an order that specwcs has not."""
    field = grisms.field(tmp_path, grisms.NIRISS, [Star(110.0, 60.0, 1e-5)])
    with asdf.open(field.files["wavelengthrange"]) as file:
        tree = {name: file.tree[name] for name in ("meta", "wavelengthrange", "extract_orders")}
        tree["wavelengthrange"] = [*tree["wavelengthrange"], [3, "F150W", 1.3, 1.7]]
        asdf.AsdfFile(tree).write_to(field.files["wavelengthrange"])
    with pytest.raises(InputError, match="the grism's WCS has no order 3"):
        cut(field, extract_orders=[3])


def test_exposures_are_combined(tmp_path):
    """Two exposures of a field, of which one does not see a source: a table each with a row a source, and one of the mean."""
    stars = [Star(110.0, 60.0, 1e-5, red), Star(110.0, 130.0, 2e-5, red)]
    products = []
    for number, those in enumerate((stars, stars[:1])):
        folder = tmp_path / str(number)
        folder.mkdir()
        field = grisms.field(folder, grisms.NIRISS, those, strengths=(1, 0), EXPOSURE=f"0000{number + 1}")
        products.append(calibrated(field, extract_orders=[1]))
    (x1d,) = extract_1d.apply(Members([(one, "science") for one in products]), field.refs, "field")
    assert [len(spectrum.table) for spectrum in x1d.spectra] == [2, 2]
    assert x1d.spectra[1].table["N_ALONGDISP"][1] == 0 and x1d.spectra[1].header["EXPGRPID"] == "jw01234001001_02101_00002_1"
    c1d = combine_1d.apply(x1d)
    (combined,) = c1d.spectra
    for row, star, count in zip(combined.table, stars, (2, 1), strict=True):
        n = row["N_ALONGDISP"]
        inside = (row["WAVELENGTH"][:n] > 1.32) & (row["WAVELENGTH"][:n] < 1.68)
        np.testing.assert_allclose(row["FLUX"][:n][inside] / (star.flux * red(row["WAVELENGTH"][:n][inside])), 1, atol=2e-3)
        assert (row["N_INPUT"][:n][inside] == count).all()
    for product, model in ((x1d, "WFSSMultiSpecModel"), (c1d, "WFSSMultiCombinedSpecModel")):
        path = tmp_path / f"all_{product.suffix}.fits"
        stored.write(product, path)
        again = stored.read(path)
        assert len(again.spectra) == len(product.spectra) and model


def test_footprint_of_all_exposures():
    """Two squares across 0h that overlap, and one beside them: their outlines together."""
    squares = [
        [(ra + i, dec + j) for i, j in ((0, 0), (0.01, 0), (0.01, 0.01), (0, 0.01))]
        for ra, dec in ((359.995, 10), (0.0, 10.005), (0.1, 10))
    ]
    regions = ["POLYGON ICRS  " + " ".join(f"{ra % 360:.9f} {dec:.9f}" for ra, dec in square) for square in squares]
    first, second = sky_polygons(united(regions))
    assert len(first) >= 8 and len(second) == 4
    for corner in (squares[0][0], squares[0][3], squares[1][1], squares[1][2]):
        away = np.abs((first - np.array(corner) + 180) % 360 - 180).max(axis=1)
        assert away.min() < 1e-8
    np.testing.assert_allclose(sorted(map(tuple, second)), sorted(squares[2]), atol=1e-8)


# --- time series -----------------------------------------------------------------------------------------------------------------


def series_calibrated(field, refs=None, **parameters):
    refs = refs or field.refs
    exposure = assign_wcs.apply(field.exposure, refs, "nircam_series", **parameters)
    exposure = srctype.apply(extract_2d.apply(exposure, refs, "series"))
    return photom.apply(exposure, refs, "grism")


STAR = Star(grisms.REFERENCE_PIXEL[0] - 1, 34.0, 1e-3, red)


def test_series_has_the_light_of_the_star(tmp_path):
    light = [1, 1, 0.99, 0.99, 1]
    field = grisms.series(tmp_path, STAR, light)
    (x1d,) = extract_1d.apply(series_calibrated(field), field.refs)
    table = x1d.spectra[0].table
    wavelength = table["WAVELENGTH"][0]
    inside = (wavelength > 3.15) & (wavelength < 3.95)
    truth = STAR.flux * red(wavelength[inside])
    np.testing.assert_allclose(table["FLUX"][:, inside], np.outer(light, truth), rtol=1e-4)
    curve = white_light.apply(x1d).catalogue["whitelight_flux"].value
    np.testing.assert_allclose(curve / curve[0], light, rtol=1e-6)


def test_a_single_integration_is_a_spectrum(tmp_path):
    field = grisms.series(tmp_path, STAR, [1])
    pixels = field.exposure.only
    for name in ("sci", "err", "dq", "var_poisson", "var_rnoise"):
        setattr(pixels, name, getattr(pixels, name)[0])
    field.exposure.suffix, field.exposure.tables = "rate", {}
    (x1d,) = extract_1d.apply(series_calibrated(field), field.refs)
    assert x1d.suffix == "x1d"
    wavelength, flux = (x1d.spectra[0].table[name] for name in ("WAVELENGTH", "FLUX"))
    inside = (wavelength > 3.15) & (wavelength < 3.95)
    np.testing.assert_allclose(flux[inside], STAR.flux * red(wavelength[inside]), rtol=1e-4)


def test_peers_reference_pixel(tmp_path):
    """Its wavelengths are one pixel too blue."""
    waves = []
    for source in ("target", "reference pixel"):
        folder = tmp_path / source.split()[0]
        folder.mkdir()
        exposure = series_calibrated(grisms.series(folder, STAR, [1, 1]), grism_source=source)
        waves.append(exposure.extra["WAVELENGTH"][0])
    np.testing.assert_allclose(waves[1][1:], waves[0][:-1], rtol=1e-6)


@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_offset_target_has_the_same_wavelengths(tmp_path, offset):
    """A line stays where it is when the target was asked to be elsewhere."""

    def line(wavelength):
        return 1 + 0.5 * np.exp(-0.5 * ((wavelength - 3.5) / 0.01) ** 2)

    columns = 0.0
    if offset:
        scale = grisms.sky.aperture(*grisms.SERIES.aperture)
        columns = -offset / float(scale.XSciScale)  # NIRCam's ideal x runs against the columns
    field = grisms.series(tmp_path, Star(STAR.x + columns, 34.0, 1e-3, line), [1, 1], XOFFSET=offset)
    (x1d,) = extract_1d.apply(series_calibrated(field), field.refs)
    wavelength, flux = x1d.spectra[0].table["WAVELENGTH"][0], x1d.spectra[0].table["FLUX"][0]
    near = np.abs(wavelength - 3.5) < 0.05
    excess = flux[near] / 1e-3 - 1
    assert abs((wavelength[near] * excess).sum() / excess.sum() - 3.5) < 0.06 * 1.1 / 180 + (0.4 * 1.1 / 180 if offset else 0)


def test_series_goes_both_ways(tmp_path):
    """Users, slitless 14: from a pixel to sky and wavelength, and back to within a twentieth of it."""
    exposure = series_calibrated(grisms.series(tmp_path, STAR, [1, 1]))
    x, y = np.array([20.0, 100.0, 180.0]), np.array([30.0, 33.0, 40.0])
    ra, dec, wavelength, order = exposure.wcs(x, y)
    np.testing.assert_allclose(wavelength, exposure.extra["WAVELENGTH"][y.astype(int), x.astype(int)], rtol=1e-6)
    back = exposure.wcs.invert(ra, dec, wavelength, order, with_bounding_box=False)
    np.testing.assert_allclose(back[0], x, atol=0.05)


@pytest.mark.parametrize(("height", "rows"), [(None, (1, 64)), (20, (25, 20)), (64, (1, 64))])
def test_height_is_about_the_source(tmp_path, height, rows):
    field = grisms.series(tmp_path, STAR, [1, 1])
    exposure = assign_wcs.apply(field.exposure, field.refs, "nircam_series")
    exposure = extract_2d.apply(exposure, field.refs, "series", tsgrism_extract_height=height)
    assert (exposure.header["SLTSTRT2"], exposure.sci.shape[-2]) == rows
    assert np.argmax(exposure.sci[0].sum(axis=1)) == exposure.header["SRCYPOS"]


def test_light_is_not_lost_by_flags(tmp_path):
    """outlier_detection's flags take no light of the white light curve."""
    field = grisms.series(tmp_path, STAR, np.ones(30), noise=0.05)
    exposure = series_calibrated(field)
    random = np.random.default_rng(5)
    hits = random.integers(0, 30, 60), random.integers(30, 38, 60), random.integers(60, 200, 60)
    exposure.sci[hits] += 20 * np.nanmax(exposure.sci)
    members = Members([(exposure, "science")])
    outlier_detection.apply(members, field.refs, "tso")
    (x1d,) = extract_1d.apply(exposure, field.refs)
    curve = white_light.apply(x1d).catalogue["whitelight_flux"].value
    assert np.abs(curve / np.median(curve) - 1).max() < 0.004


def test_series_needs_its_reference_pixel(tmp_path):
    field = grisms.series(tmp_path, STAR, [1, 1])
    del field.exposure.header["XREF_SCI"]
    with pytest.raises(InputError, match="XREF_SCI is missing"):
        assign_wcs.apply(field.exposure, field.refs, "nircam_series")


# --- the peer --------------------------------------------------------------------------------------------------------------------

PEER_FIELD = """
from jwst.assign_wcs import AssignWcsStep
from jwst.background import BackgroundStep
from jwst.extract_2d import Extract2dStep
from jwst.srctype import SourceTypeStep
from jwst.photom import PhotomStep
from jwst.extract_1d import Extract1dStep
os.chdir(str(folder))
model = AssignWcsStep.call(dm.open(str(rate)))
model.meta.source_catalog = os.path.basename(str(sourcecat))
model.meta.direct_image, model.meta.segmentation_map = "image_i2d.fits", "image_segm.fits"
model = BackgroundStep.call(model, [])
out["scale"], out["mask"] = model.meta.background.scaling_factor, np.asarray(model.mask)
model = Extract2dStep.call(model)
model = PhotomStep.call(SourceTypeStep.call(model))
out["names"] = np.array([f"{s.name} {s.meta.wcsinfo.spectral_order}" for s in model.slits])
out["boxes"] = np.array([(s.xstart, s.ystart, s.xsize, s.ysize) for s in model.slits])
out["places"] = np.array([(s.source_xpos, s.source_ypos, s.source_ra, s.source_dec) for s in model.slits])
out["types"] = np.array([s.source_type for s in model.slits])
for name in ("data", "dq", "err", "wavelength", "var_poisson"):
    out[name] = np.concatenate([np.asarray(getattr(s, name)).ravel() for s in model.slits])
x1d = Extract1dStep.call(model)
out["orders"] = np.array([s.spectral_order for s in x1d.spec])
for n, s in enumerate(x1d.spec):
    for name in str(columns).split():
        out[f"{name} {n}"] = np.asarray(s.spec_table[name])
out["group"] = x1d.spec[0].group_id
"""


COLUMNS = "SOURCE_ID WAVELENGTH FLUX FLUX_ERROR SURF_BRIGHT NPIXELS N_ALONGDISP EXTRACT2D_XSTOP SOURCE_XPOS"


def peer_field(field):
    kinds = [kind for kind in ("distortion", "specwcs", "wavelengthrange", "photom", "bkg")]
    return peer_python(
        grisms.PEER + PEER_FIELD,
        folder=str(field.files["rate"].parent),
        rate=str(field.files["rate"]),
        sourcecat=str(field.files["sourcecat"]),
        columns=COLUMNS,
        kinds=np.array(kinds),
        paths=np.array([str(field.files[kind]) for kind in kinds]),
    )


@pytest.mark.parity
@needs_peer
@pytest.mark.parametrize(
    "name", ["niriss", *(pytest.param(name, marks=pytest.mark.full) for name in grisms.MODES if name not in ("niriss", "nircam field"))]
)
def test_peer_of_a_field(tmp_path, name):
    """Cut-outs, wavelengths and calibrated pixels, and the spectra of them."""
    mode = grisms.MODES[name]
    random = np.random.default_rng(2)
    stars = [Star(*place, 1e-5 * (1 + n), red, 0.9 if n % 3 else 2.5) for n, place in enumerate(random.uniform(-10, 266, (12, 2)))]
    field = grisms.field(tmp_path, mode, stars, background=0.6, noise=0.02, VELOSYS=15000.0)
    theirs = peer_field(field)
    exposure = with_wcs(field)
    exposure = bkg_subtract.apply(exposure, field.refs, "wfss", passband(field), wfss_weights="data")
    np.testing.assert_allclose(exposure.header["BKGD_SCL"], theirs["scale"], rtol=1e-6)
    np.testing.assert_array_equal(exposure.extra["MASK"], theirs["mask"])
    exposure = srctype.apply(cut(field, exposure), None, "field")
    exposure = photom.apply(exposure, field.refs, "grism")
    slits = list(exposure.slits())
    assert [f"{s.header['SLTNAME']} {s.header['SPORDER']}" for s in slits] == theirs["names"].tolist()
    keys = ("SLTSTRT1", "SLTSTRT2", "SLTSIZE1", "SLTSIZE2")
    np.testing.assert_array_equal([[s.header[key] for key in keys] for s in slits], theirs["boxes"])
    places = [[s.header[key] for key in ("SRCXPOS", "SRCYPOS", "SRCRA", "SRCDEC")] for s in slits]
    np.testing.assert_allclose(places, theirs["places"], rtol=1e-9, atol=1e-7)
    assert [s.header["SRCTYPE"] for s in slits] == theirs["types"].tolist()
    mine = {
        "wavelength": np.concatenate([s.extra["WAVELENGTH"].ravel() for s in slits]),
        **{new: np.concatenate([getattr(s, old).ravel() for s in slits]) for old, new in {"sci": "data", "err": "err", "dq": "dq"}.items()},
    }
    known = np.isfinite(mine["wavelength"])  # beyond a trace's ends the peer repeats its last wavelength
    np.testing.assert_allclose(mine["wavelength"][known], theirs["wavelength"][known], rtol=2e-7)
    edge = np.concatenate([_beside_unknown(s.extra["WAVELENGTH"]).ravel() for s in slits])
    same = known & ~edge
    assert same.mean() > 0.7
    np.testing.assert_array_equal(mine["dq"][same], theirs["dq"][same])
    for plane in ("data", "err"):
        # beside 1e-6: what a rate's last digit is worth
        digit = np.spacing(np.float32(1)) * np.abs(field.exposure.sci).max() * np.nanmax(np.abs(mine["err"][same])) / 0.02
        np.testing.assert_allclose(mine[plane][same], theirs[plane][same], rtol=1e-6, atol=digit)
    (x1d,) = extract_1d.apply(exposure, field.refs, "field", bad_pixels="omit")
    assert [s.header["SPORDER"] for s in x1d.spectra] == theirs["orders"].tolist() and x1d.spectra[0].header["EXPGRPID"] == theirs["group"]
    if known.all():
        for n, spectrum in enumerate(x1d.spectra):
            for column in ("SOURCE_ID", "N_ALONGDISP", "EXTRACT2D_XSTOP", "NPIXELS"):
                np.testing.assert_array_equal(spectrum.table[column], theirs[f"{column} {n}"])
            for column in ("WAVELENGTH", "FLUX", "FLUX_ERROR", "SURF_BRIGHT", "SOURCE_XPOS"):
                own = np.isfinite(spectrum.table[column])  # a sum of no pixel is unknown here, and 0 there
                limit = 1e-5 * np.nanmedian(np.abs(theirs[f"{column} {n}"]))
                np.testing.assert_allclose(spectrum.table[column][own], theirs[f"{column} {n}"][own], rtol=1e-5, atol=limit)


def _beside_unknown(wavelength):
    """Pixels whose neighbour along the spectrum has no wavelength: the peer takes -1 for it."""
    unknown = np.isnan(wavelength)
    beside = unknown.copy()
    for axis in (0, 1):
        for step in (1, -1):
            beside |= np.roll(unknown, step, axis)
    return beside


PEER_SERIES = """
from jwst.assign_wcs import AssignWcsStep
from jwst.extract_2d import Extract2dStep
from jwst.srctype import SourceTypeStep
from jwst.photom import PhotomStep
from jwst.extract_1d import Extract1dStep
model = PhotomStep.call(SourceTypeStep.call(Extract2dStep.call(AssignWcsStep.call(dm.open(str(rate))))))
for name in ("data", "dq", "err", "wavelength"):
    out[name] = np.asarray(getattr(model, name))
out["order"] = model.meta.wcsinfo.spectral_order
x1d = Extract1dStep.call(model)
for name in ("WAVELENGTH", "FLUX", "FLUX_ERROR", "NPIXELS", "INT_NUM", "MJD-AVG"):
    out[name] = np.asarray(x1d.spec[0].spec_table[name])
"""


@pytest.mark.parity
@needs_peer
def test_peer_of_a_series(tmp_path):
    field = grisms.series(tmp_path, STAR, [1, 0.99, 1], noise=0.05)
    grisms.write_photom(field.files["photom"], field.mode, field.exposure.header, unit=None)
    kinds = ["distortion", "specwcs", "wavelengthrange", "photom"]
    paths = np.array([str(field.files[kind]) for kind in kinds])
    given = {"folder": str(tmp_path), "rate": str(field.files["rateints"]), "kinds": np.array(kinds), "paths": paths}
    theirs = peer_python(grisms.PEER + PEER_SERIES, **given)
    exposure = series_calibrated(field, grism_source="reference pixel")
    np.testing.assert_allclose(exposure.extra["WAVELENGTH"], theirs["wavelength"], rtol=2e-7)
    np.testing.assert_array_equal(exposure.dq, theirs["dq"])
    np.testing.assert_allclose(exposure.sci, theirs["data"], rtol=1e-6)
    np.testing.assert_allclose(exposure.err, theirs["err"], rtol=1e-6)
    (x1d,) = extract_1d.apply(exposure, field.refs, bad_pixels="omit")
    for column in ("WAVELENGTH", "FLUX", "FLUX_ERROR", "NPIXELS", "INT_NUM", "MJD-AVG"):
        np.testing.assert_allclose(x1d.spectra[0].table[column], theirs[column], rtol=1e-6, atol=1e-6 * np.abs(theirs[column]).mean())
