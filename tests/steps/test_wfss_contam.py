"""The light of other sources: what is laid down, what is left of blended sources, bad input, the peer's images."""

import logging

import numpy as np
import pytest

import grisms
from grisms import Star
from jwcal.arithmetic.grism import contamination, light
from jwcal.arithmetic.grism.boxes import image_places
from jwcal.arithmetic.grism.dispersion import Polynomial
from jwcal.kernels.grism.disperse import disperse
from jwcal.model.exposure import Members
from jwcal.products import stored
from jwcal.steps import assign_wcs, extract_1d, extract_2d, photom, srctype, wfss_contam
from jwcal.vocabulary.errors import InputError, Skip
from many_threads import each_number
from peer import needs_peer, peer_python

KINDS = {"NIRISS": ("niriss_wfss", "PUPIL"), "NIRCAM": ("nircam_wfss", "FILTER"), "MIRI": ("miri_wfss", "FILTER")}


def cut(field, members=("sourcecat", "segmap", "direct_image"), **parameters):
    kind, band = KINDS[field.mode.keywords["INSTRUME"]]
    if field.exposure.wcs is None:
        assign_wcs.apply(field.exposure, field.refs, kind, sip_approx=False)
    exposure = field.exposure.derive(field.exposure.pixels, "rate")
    exposure.members = Members([(field.files[name], name) for name in members], stored.read)
    return srctype.apply(extract_2d.apply(exposure, field.refs, "wfss", band, **parameters), None, "field"), band


def corrected(field, exposure=None, **parameters):
    cuts, band = cut(field) if exposure is None else exposure
    return wfss_contam.apply(cuts, field.refs, band, **parameters)


def fluxes(field, exposure):
    (x1d,) = extract_1d.apply(photom.apply(exposure, field.refs, "grism"), field.refs, "field")
    (table,) = (s.table for s in x1d.spectra if s.header["SPORDER"] == 1)
    return {int(row["SOURCE_ID"]): row for row in table}


def ratio(row, star, limits, margin=0.06):
    n = int(row["N_ALONGDISP"])
    wavelength, flux = row["WAVELENGTH"][:n], row["FLUX"][:n]
    inside = (wavelength > limits[0] + margin * (limits[1] - limits[0])) & (wavelength < limits[1] - margin * (limits[1] - limits[0]))
    return flux[inside] / (star.flux * star.spectrum(wavelength[inside]))


BLEND = [Star(100.3, 40.2, 1e-5), Star(100.7, 130.4, 2e-5), Star(125.0, 134.0, 3e-5), Star(60.0, 128.0, 1e-5)]


def _overlaps(places, count, side):
    """How much of a side about each place lies in each pixel."""
    pixels, places = np.arange(count), places[:, None]
    return np.clip(np.minimum(places + side / 2, pixels + 0.5) - np.maximum(places - side / 2, pixels - 0.5), 0, None)


def test_kernel_against_numpy():
    """Two sources at some wavelengths, each pixel a square: overlaps of the squares with the pixels, worked out one by one."""
    random = np.random.default_rng(1)
    x0, y0, flux = random.uniform(2, 8, 5), random.uniform(2, 8, 5), random.uniform(1, 2, 5)
    trace, t = random.uniform(0, 2, (5, 2, 3)), np.linspace(0, 1, 4)
    weights, side = random.uniform(0, 1, (2, 4)), 0.8
    boxes, starts = np.array([[0, 0, 12, 11], [1, 2, 9, 8]]), np.array([0, 3, 5])
    places = np.array([0, 2 * 12 * 11, 2 * 12 * 11 + 2 * 9 * 8])
    buffer, turn = np.zeros(places[-1]), (np.cos(0.1), np.sin(0.1))
    disperse(buffer, places, boxes, starts, x0, y0, flux, trace, np.empty((5, 0)), t, t, weights, turn, side / 2)
    for source, (left, bottom, columns, rows) in enumerate(boxes):
        expected = np.zeros((2, rows, columns))
        for p in range(starts[source], starts[source + 1]):
            dx, dy = (np.polyval(trace[p, axis][::-1], t) for axis in (0, 1))
            x, y = x0[p] + dx * turn[0] - dy * turn[1] - left, y0[p] + dx * turn[1] + dy * turn[0] - bottom
            over = [_overlaps(at, n, side) for at, n in ((y, rows), (x, columns))]
            expected += flux[p] * np.einsum("bk,kr,kc->brc", weights, *over)
        np.testing.assert_allclose(buffer[places[source] : places[source + 1]].reshape(expected.shape), expected, rtol=1e-12, atol=1e-14)


def test_solved_for_the_wavelength():
    """Where the wavelength's polynomial depends on the place, t is solved for."""
    lam = np.array([1.0, 0.5, 0.1])
    t = np.array([0.2, 0.7])
    values = np.polyval(lam[::-1], t)
    images = []
    for own, given in ((np.empty((1, 0)), t), (lam[None], np.zeros(1))):
        buffer = np.zeros(100)
        trace = np.array([[[0.0, 5.0], [0.0, 1.0]]])
        one = (np.array([0, 100]), np.array([[0, 0, 10, 10]]), np.array([0, 1]), np.array([2.0]), np.array([3.0]), np.array([1.0]))
        disperse(buffer, *one, trace, own, given, values, np.ones((1, 2)), (1.0, 0.0), 0.5)
        images.append(buffer)
    np.testing.assert_allclose(images[1], images[0], atol=1e-12)


@pytest.mark.parametrize("name", ["niriss", "niriss columns", "nircam field", "miri"])
def test_blended_sources(tmp_path, name):
    """Flat spectra: blended sources come out to 2 %, an isolated one as without the step."""
    mode = grisms.MODES[name]
    stars = [Star(star.y, star.x, star.flux) for star in BLEND] if mode.vertical else BLEND
    field = grisms.field(tmp_path, mode, stars, strengths=(1, 1))
    found = fluxes(field, corrected(field))
    for label, star in enumerate(stars, start=1):
        relative = ratio(found[label], star, mode.limits)
        assert abs(np.median(relative) - 1) < (0.003 if label == 1 else 0.02)
        # at the ends of the prism's short spectra up to 6 % are missing: seen, and not explained
        assert np.abs(np.percentile(relative, [20, 80]) - 1).max() < (0.07 if name == "miri" else 0.035)


def test_isolated_source_stays_as_it_is(tmp_path):
    field = grisms.field(tmp_path, grisms.NIRISS, [Star(100.0, 120.0, 1e-5)], strengths=(1, 0))
    exposure, band = cut(field, extract_orders=[1])
    before = exposure.only.sci.copy()
    after = wfss_contam.apply(exposure, field.refs, band, orders=[1])
    np.testing.assert_allclose(after.only.sci, before, atol=1e-6 * before.max())


def test_spectra_are_fitted(tmp_path):
    """Rising spectra that overlap: polynomials take out more of it than flat spectra do."""

    def steep(wavelength):
        return 1 + 1.5 * (wavelength - 1.5)

    stars = [Star(star.x, star.y, star.flux, steep) for star in BLEND]
    field = grisms.field(tmp_path, grisms.NIRISS, stars, strengths=(1, 1), noise=0.001)
    errors = []
    for parameters in ({}, {"polyfit_degree": 2, "n_iterations": 3, "rejection_threshold": None}):
        found = fluxes(field, corrected(field, **parameters))
        errors.append(max(np.median(np.abs(ratio(found[n], star, field.mode.limits) - 1)) for n, star in enumerate(stars, start=1)))
    assert errors[1] < 0.5 * errors[0] and errors[1] < 0.03


def test_same_for_any_piece(tmp_path, monkeypatch):
    field = grisms.field(tmp_path, grisms.NIRISS, BLEND)
    once = corrected(field)
    monkeypatch.setattr(light, "LARGE", 1)
    again = corrected(field)
    for a, b in zip(once.pixels, again.pixels, strict=True):
        np.testing.assert_array_equal(a.sci, b.sci)


def test_same_for_any_number_of_threads(tmp_path):
    field = grisms.field(tmp_path, grisms.NIRISS, BLEND)
    one, other = each_number(lambda: [slit.sci.tobytes() for slit in corrected(field).pixels])
    assert one == other


def test_own_light_that_is_cut(tmp_path):
    """The peer's way: the end of a source's own light counts as another's."""
    field = grisms.field(tmp_path, grisms.NIRISS, [Star(100.0, 120.0, 1e-5)], strengths=(1, 0))
    exposure, band = cut(field, extract_orders=[1])
    before = exposure.only.sci.copy()
    lost = before - wfss_contam.apply(exposure, field.refs, band, orders=[1], own_light="cut").only.sci
    edge = np.zeros(before.shape, bool)
    edge[-3:], edge[:, -8:] = True, True
    assert np.abs(lost[~edge]).max() < 1e-6 * before.max() and np.abs(lost[edge]).max() > 1e-5 * before.max()


def test_images_are_shown(tmp_path):
    field = grisms.field(tmp_path, grisms.NIRISS, BLEND)
    exposure, band = cut(field)
    before = [pixels.sci.copy() for pixels in exposure.pixels]
    exposure, simul, own, contam = wfss_contam.apply(exposure, field.refs, band, save_simulated_image=True, save_contam_images=True)
    assert [product.suffix for product in (simul, own, contam)] == ["simul", "simul_slits", "contam"]
    for old, new, taken in zip(before, exposure.pixels, contam.pixels, strict=True):
        np.testing.assert_allclose(new.sci, old - taken.sci, atol=1e-6)
    assert abs(simul.sci.sum() / field.exposure.sci.sum() - 1) < 0.005
    for product in (own, contam):
        stored.write(product, tmp_path / f"field_{product.suffix}.fits")


def test_bad_input(tmp_path, caplog):
    field = grisms.field(tmp_path, grisms.NIRISS, BLEND)
    with pytest.raises(InputError, match="does not have the direct image"):
        corrected(field, cut(field, ("sourcecat", "segmap")))
    with pytest.raises(InputError, match="does not have the segmentation map"):
        corrected(field, cut(field, ("sourcecat", "direct_image")))
    with pytest.raises(Skip, match="none of the orders"):
        corrected(field, orders=[7])
    with pytest.raises(Skip, match="no source is brighter than magnitude 5"):
        corrected(field, magnitude_limit=5.0)
    segments = stored.read(field.files["segmap"])
    segments.sci[segments.sci == 2] = 0
    stored.write(segments, field.files["segmap"])
    with caplog.at_level(logging.WARNING):
        corrected(field)
    assert "does not have the labels 2" in caplog.text


PEER = """
from jwst.assign_wcs import AssignWcsStep
from jwst.extract_2d import Extract2dStep
from jwst.srctype import SourceTypeStep
from jwst.wfss_contam import wfss_contam
os.chdir(str(folder))
model = AssignWcsStep.call(dm.open(str(rate)), sip_approx=False)
model.meta.source_catalog = os.path.basename(str(sourcecat))
model.meta.direct_image, model.meta.segmentation_map = "image_i2d.fits", "image_segm.fits"
model = SourceTypeStep.call(Extract2dStep.call(model))
degree = int(polyfit_degree) if polyfit_degree >= 0 else None
with dm.WavelengthrangeModel(given["wavelengthrange"]) as waverange, dm.open(given["photom"]) as photom:
    result, simul, contam, slits = wfss_contam.contam_corr(
        model, waverange, photom, "1", polyfit_degree=degree, n_iterations=int(iterations), max_pixels_per_chunk=5000)
out["simul"] = np.asarray(simul.data)[:256, :256]
out["names"] = np.array([f"{s.name} {s.meta.wcsinfo.spectral_order}" for s in result.slits])
for n, s in enumerate(contam.slits):
    out[f"contam {n}"] = np.asarray(s.data)
"""


@pytest.mark.parity
@needs_peer
@pytest.mark.parametrize(("name", "degree"), [("niriss", -1), pytest.param("nircam old", 2, marks=pytest.mark.full)])
def test_peer(tmp_path, monkeypatch, name, degree):
    """The image of all sources and the contamination, of flat and of fitted spectra: the same to single precision's rounding.

    Three things are done as the peer does them: it looks half a pixel beside the middle of the direct image's pixels, it counts the light
    of the limits twice, and it cuts a source's own light. Fits are led astray by the second: a coefficient of 0.002 becomes -0.011.
    """
    mode = grisms.MODES[name]
    random = np.random.default_rng(6)
    stars = [Star(*place, 1e-5 * (1 + n), sigma=1.0) for n, place in enumerate(random.uniform(40, 216, (10, 2)))]
    field = grisms.field(tmp_path, mode, stars, noise=0.002)
    kinds = [kind for kind in ("distortion", "specwcs", "wavelengthrange", "photom")]
    theirs = peer_python(
        grisms.PEER + PEER,
        folder=str(tmp_path),
        rate=str(field.files["rate"]),
        sourcecat=str(field.files["sourcecat"]),
        polyfit_degree=degree,
        iterations=1 if degree < 0 else 2,
        kinds=np.array(kinds),
        paths=np.array([str(field.files[kind]) for kind in kinds]),
    )

    class Beside:
        def __init__(self, wcs):
            self.wcs = wcs

        def __call__(self, x, y, **how):
            return self.wcs(x + 0.5, y + 0.5, **how)

    def places(wcs, ra, dec):
        return tuple(axis - 0.5 for axis in image_places(wcs, ra, dec))

    def ends_twice(*given):
        found = weights(*given)
        found[:, [0, -1]] *= 2
        return found

    pixels, at, weights = light.direct_pixels, Polynomial.at, contamination._weights
    monkeypatch.setattr(light, "image_places", places)
    monkeypatch.setattr(contamination, "direct_pixels", lambda wcs, direct, *given: pixels(wcs, Beside(direct), *given))
    monkeypatch.setattr(contamination, "_weights", ends_twice)
    fitted = {} if degree < 0 else {"polyfit_degree": degree, "n_iterations": 2}
    cuts = cut(field)
    with monkeypatch.context() as patched:
        patched.setattr(Polynomial, "at", lambda self, x0, y0: at(self, x0 + 0.5, y0 + 0.5))
        shown = corrected(field, cuts, save_simulated_image=True, save_contam_images=True, own_light="cut", **fitted)
    exposure, simul, _, contam = shown
    names = [f"{slit.header['SLTNAME']} {slit.header['SPORDER']}" for slit in exposure.slits()]
    assert names == theirs["names"].tolist()
    brightest = theirs["simul"].max()
    away = np.abs(simul.sci - theirs["simul"])
    assert np.median(away[theirs["simul"] > 0.05 * brightest]) < 1e-6 * brightest
    assert away.max() < 1e-6 * brightest
    for n, mine in enumerate(contam.pixels):
        np.testing.assert_allclose(mine.sci, theirs[f"contam {n}"], rtol=0, atol=1e-6 * brightest)
