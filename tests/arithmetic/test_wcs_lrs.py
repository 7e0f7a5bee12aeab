"""assign_wcs of MIRI's low resolution spectrometer against a trace made by hand, and with real references against the peer."""

import asdf
import numpy as np
import pytest
from astropy.constants import c
from astropy.io import fits

import lrs
import sky
from jwcal.arithmetic.wcs import pixel_coordinates
from jwcal.model.references import References
from jwcal.steps import assign_wcs
from jwcal.vocabulary.errors import InputError, ReferenceError, Skip
from peer import needs_peer, peer_python

UAS = 1 / 3.6e9  # degrees
needs_real = pytest.mark.skipif(not lrs.DISTORTION.exists(), reason="the real reference files (../shared/real) are not here")
BOTH = pytest.mark.parametrize("slitless", [False, True], ids=["slit", "slitless"])


def kind(slitless):
    return "lrs_slitless" if slitless else "lrs_slit"


def separation(sky1, sky2):
    """Degrees, to first order."""
    (ra1, dec1), (ra2, dec2) = sky1, sky2
    return np.hypot(((ra1 - ra2 + 180) % 360 - 180) * np.cos(np.radians(dec1)), dec1 - dec2)


def place(slitless):
    """The trace's place in the exposure, counted from 0."""
    return (lrs.IMXSLTL - 1, lrs.IMYSLTL - 529) if slitless else (lrs.IMX - 1, lrs.IMY - 1)


@BOTH
def test_looks_where_the_trace_says(tmp_path, slitless):
    exposure, refs = lrs.small(tmp_path, slitless)
    wcs = assign_wcs.apply(exposure, refs, kind(slitless)).wcs
    x0, y0 = place(slitless)
    y, x = (axis.ravel() for axis in np.mgrid[y0 - 275 : y0 + 85 : 37j, x0 - 18 : x0 + 18 : 13j])
    ra, dec, wavelength = wcs(x, y)
    away, truth = lrs.trace(y - y0)
    first_row = 528 if slitless else 0  # of the exposure in the detector
    assert separation((ra, dec), sky.truth(lrs.aperture(), x - away, np.full_like(x, y0 + first_row))).max() < 0.1 * UAS
    np.testing.assert_allclose(wavelength, truth, atol=1.5e-5)  # linear between rows: the bend is 2e-5 / 4 and the spline may smooth
    assert not np.array_equal(wavelength, np.roll(truth, 1))
    back = wcs.invert(ra, dec, wavelength)
    assert np.abs(back[1] - y).max() < 1e-9
    assert np.abs(back[0] - x).max() < 0.01  # of the SIAF's inverse


@BOTH
def test_every_pixel(tmp_path, slitless):
    exposure, refs = lrs.small(tmp_path, slitless)
    assign_wcs.apply(exposure, refs, kind(slitless))
    shape = exposure.sci.shape[-2:]
    y, x = np.indices(shape)
    planes = pixel_coordinates.wavelength_and_sky(exposure.wcs, exposure.sci.shape)
    for ours, gwcs in zip(planes, exposure.wcs(x, y), strict=True):
        np.testing.assert_array_equal(ours, gwcs)
    kept = exposure.pixels[0].extra["WAVELENGTH"]
    assert kept.dtype == np.float32 and kept.shape == shape
    np.testing.assert_array_equal(kept, planes[2].astype(np.float32))
    x0, y0 = place(slitless)
    rows, columns = np.nonzero(np.isfinite(kept))
    assert rows.min() == np.ceil(y0 - 280) and rows.max() == np.floor(y0 + 90)
    if slitless:
        assert columns.min() == 4 and columns.max() == 71  # all but the reference pixels
    else:  # 20 pixels to both sides of a trace that leans
        reach = np.floor(x0 - 20 - 280 * lrs.SLOPE), np.ceil(x0 + 20 + 90 * lrs.SLOPE)
        assert (columns.min(), columns.max()) == reach


@BOTH
def test_frames_and_keywords(tmp_path, slitless):
    exposure, refs = lrs.small(tmp_path, slitless)
    wcs = assign_wcs.apply(exposure, refs, kind(slitless)).wcs
    assert wcs.available_frames == ["detector", "alpha_beta", "v2v3", "v2v3vacorr", "world"]
    assert wcs.output_frame.unit == ("deg", "deg", "micron")
    assert exposure.header.sci["DISPAXIS"] == 2 and exposure.header.sci["SPECSYS"] == "BARYCENT"
    # who corrects for the slit's losses looks for the place in the first shifts
    x0, y0 = place(slitless)
    model = wcs.get_transform("detector", "world")
    assert (-model.offset_1.value, -model.offset_2.value) == pytest.approx((x0, y0))


@BOTH
def test_wavelengths_are_the_barycentres(tmp_path, slitless):
    planes = []
    for velocity in (None, -30000.0):
        exposure, refs = lrs.small(tmp_path, slitless, velocity)
        planes.append(pixel_coordinates.wavelength_and_sky(assign_wcs.apply(exposure, refs, kind(slitless)).wcs, exposure.sci.shape))
    np.testing.assert_allclose(planes[1][2], planes[0][2] / (1 - 30000.0 / c.value), rtol=1e-14)
    np.testing.assert_array_equal(planes[0][0], planes[1][0])
    x, y, world = 30.0 if slitless else 320.0, 100.0, [plane[100, 30 if slitless else 320] for plane in planes[1]]
    np.testing.assert_allclose(exposure.wcs.invert(*world), [x, y], atol=0.01)


def test_the_slits_corners(tmp_path):
    exposure, refs = lrs.small(tmp_path, slitless=False)
    assign_wcs.apply(exposure, refs, "lrs_slit")
    words = exposure.header["S_REGION"].split()
    corners = np.array(words[2:], float).reshape(4, 2).T
    v2, v3 = ([lrs.CORNERS[f"V{axis}VERT{corner}"] for corner in (1, 2, 3, 4)] for axis in (2, 3))
    assert separation(corners, sky.truth(lrs.aperture(), None, None, np.array(v2), np.array(v3))).max() < 5 * UAS  # nine decimals


def test_without_corners_the_region_stays(tmp_path):
    exposure, refs = lrs.small(tmp_path, slitless=False, given={"corners": False})
    exposure.header.sci["S_REGION"] = "POLYGON ICRS  1 2 3 4 5 6 7 8"
    assign_wcs.apply(exposure, refs, "lrs_slit")
    assert exposure.header["S_REGION"] == "POLYGON ICRS  1 2 3 4 5 6 7 8"


def test_where_the_dither_points(tmp_path):
    exposure, refs = lrs.small(tmp_path, slitless=False, XOFFSET=0.9, YOFFSET=-0.3)
    assign_wcs.apply(exposure, refs, "lrs_slit")
    siaf = lrs.aperture()
    v2, v3 = siaf.idl_to_tel(0.9, -0.3)  # through the tangent plane; over an arcsecond the plane is flat
    ours = exposure.header.primary["DITH_RA"], exposure.header.primary["DITH_DEC"]
    assert separation(ours, sky.truth(siaf, None, None, np.array(v2), np.array(v3))) < 10 * UAS


@BOTH
def test_survives_a_file(tmp_path, slitless):
    exposure, refs = lrs.small(tmp_path, slitless, velocity=1000.0)
    assign_wcs.apply(exposure, refs, kind(slitless))
    asdf.AsdfFile({"wcs": exposure.wcs}).write_to(tmp_path / "wcs.asdf")
    with asdf.open(tmp_path / "wcs.asdf", lazy_load=False, memmap=False) as file:
        again = file["wcs"]
    x, y = (np.array([30.0, 40.0]), np.array([50.0, 300.0])) if slitless else (np.array([320.0, 330.0]), np.array([50.0, 300.0]))
    np.testing.assert_array_equal(again(x, y), exposure.wcs(x, y))
    np.testing.assert_array_equal(again.invert(*again(x, y)), exposure.wcs.invert(*again(x, y)))
    assert again.bounding_box.bounding_box(order="F") == exposure.wcs.bounding_box.bounding_box(order="F")


def test_a_subarray_with_the_slit_is_a_cut_of_the_full_frame(tmp_path):
    whole, refs = lrs.small(tmp_path, slitless=False)
    wcs = assign_wcs.apply(whole, refs, "lrs_slit").wcs
    x, y = np.array([310.0, 330.0]), np.array([60.0, 350.0])
    got, expected = subslit(refs["specwcs"].path, refs["distortion"].path)(x - 300, y - 7), wcs(x, y)
    assert separation(got[:2], expected[:2]).max() < 1e-3 * UAS
    np.testing.assert_allclose(got[2], expected[2], atol=1e-12)


def subslit(table, distortion, **keywords):
    """Our WCS of the subarray around the slit."""
    part = lrs.exposure(slitless=False, shape=(384, 140), **lrs.SUBSLIT, **keywords)
    return assign_wcs.apply(part, References({"distortion": distortion, "specwcs": table}, part.header), "lrs_slit").wcs


def test_what_is_missing_is_told(tmp_path):
    exposure, refs = lrs.small(tmp_path, slitless=True)
    without = References({"distortion": refs["distortion"].path}, exposure.header)
    with pytest.raises(Skip, match="its specwcs reference is N/A"):
        assign_wcs.apply(exposure, without, "lrs_slitless")
    for given, message in [({"without": ("IMXSLTL",)}, "IMXSLTL"), ({"without": ("WAVELENGTH",)}, "no column WAVELENGTH")]:
        exposure, refs = lrs.small(tmp_path, slitless=True, given=given)
        with pytest.raises(ReferenceError, match=message):
            assign_wcs.apply(exposure, refs, "lrs_slitless")
    exposure, refs = lrs.small(tmp_path, slitless=True)
    del exposure.header["ROLL_REF"]
    with pytest.raises(InputError, match="ROLL_REF"):
        assign_wcs.apply(exposure, refs, "lrs_slitless")


@pytest.mark.parametrize("what", ["short", "twice", "nan"])
def test_a_table_that_is_no_trace_is_told(tmp_path, what):
    exposure, refs = lrs.small(tmp_path, slitless=False)
    with fits.open(refs["specwcs"].path) as hdus:
        table = hdus["WAVETABLE"].data.copy()
        if what == "twice":
            table["Y_CENTER"][7] = table["Y_CENTER"][8]
        if what == "nan":
            table["WAVELENGTH"][3] = np.nan
        hdus["WAVETABLE"].data = table[: 3 if what == "short" else None]
        hdus.writeto(tmp_path / "bad.fits")
    bad = References({"distortion": refs["distortion"].path, "specwcs": tmp_path / "bad.fits"}, exposure.header)
    with pytest.raises(ReferenceError, match="is no trace"):
        assign_wcs.apply(exposure, bad, "lrs_slit")


# --- the peer ------------------------------------------------------------------------------------------------------------

CASES = {
    "slitless 0003": (True, lrs.SLITLESS / "jwst_miri_specwcs_0003.fits", {"velocity": 12345.6}),
    "slitless 0006": (True, lrs.REAL / "jwst_miri_specwcs_0006.fits", {}),
    "slit 0005": (False, lrs.REAL / "jwst_miri_specwcs_0005.fits", {"velocity": -20000.0, "XOFFSET": 1.9, "YOFFSET": 0.1}),
    "slit with corners": (False, None, {"XOFFSET": 0.0, "YOFFSET": 0.0}),
}
FULL = "slit 0005"  # which the slit's subarray is a cut of

PEER = """
import asdf
from astropy.io import fits
from jwst.assign_wcs.assign_wcs import load_wcs
from jwst.pathloss.pathloss import get_center
from stdatamodels.jwst import datamodels
for i, name in enumerate(names):
    kind = datamodels.CubeModel if "slitless" in str(name) else datamodels.ImageModel
    model = load_wcs(kind(str(rates[i])), {"distortion": str(distortions[i]), "specwcs": str(tables[i])})
    wcs, x, y = model.meta.wcs, xs[i], ys[i]
    out[f"{name} sky"] = np.array(wcs(x, y))
    out[f"{name} back"] = np.array(wcs.invert(*out[f"{name} sky"], with_bounding_box=False))
    out[f"{name} slit"] = np.array(wcs.get_transform("detector", "alpha_beta")(x, y))
    out[f"{name} box"] = np.array(wcs.bounding_box.bounding_box(order="F"))
    out[f"{name} frames"] = np.array(wcs.available_frames)
    out[f"{name} wavelength"] = np.array(model.wavelength)
    model.save(str(rates[i]) + ".out.fits")
    for part in (0, "SCI"):
        out[f"{name} header {part}"] = fits.getheader(str(rates[i]) + ".out.fits", part).tostring()
    with asdf.open(str(rates[i]) + ".asdf", lazy_load=False, memmap=False) as file:
        ours = file["wcs"]
    out[f"{name} ours read"] = np.array(ours(x, y))
    out[f"{name} ours back"] = np.array(ours.invert(*out[f"{name} sky"], with_bounding_box=False))
    if "slitless" not in str(name):  # the peer's next steps find in our WCS what they look for
        model.meta.target.ra, model.meta.target.dec = out[f"{name} sky"][:2, 0]
        theirs = get_center("MIR_LRS-FIXEDSLIT", model, offsets=True)
        model.meta.wcs = ours
        out[f"{name} centres"] = np.array([theirs, get_center("MIR_LRS-FIXEDSLIT", model, offsets=True)])
"""


SUBARRAY = """
from astropy.io import fits
from jwst.assign_wcs.assign_wcs import load_wcs
from stdatamodels.jwst import datamodels
with datamodels.ImageModel(str(cut)) as model:
    wcs = load_wcs(model, {"distortion": str(distortion), "specwcs": str(table)}).meta.wcs
out["subarray box"] = np.array(wcs.bounding_box.bounding_box(order="F"))
out["subarray"] = np.array(wcs(cut_x, cut_y, with_bounding_box=False))
"""


@needs_peer
@needs_real
@pytest.mark.parity
def test_parity(tmp_path):
    given = {key: [] for key in ("names", "rates", "distortions", "tables", "xs", "ys")}
    ours = {}
    for name, (slitless, table, keywords) in CASES.items():
        folder = tmp_path / name.replace(" ", "_")
        folder.mkdir()
        exposure = lrs.exposure(slitless, **keywords)
        if table is None:
            table = lrs.specwcs(folder / "specwcs.fits")
        refs = References({"distortion": lrs.DISTORTION, "specwcs": table}, exposure.header)
        hdus = [fits.PrimaryHDU(header=exposure.header.primary), fits.ImageHDU(exposure.sci, exposure.header.sci, name="SCI")]
        fits.HDUList(hdus).writeto(folder / "rate.fits")
        ours[name] = assign_wcs.apply(exposure, refs, kind(slitless))
        asdf.AsdfFile({"wcs": exposure.wcs}).write_to(f"{folder}/rate.fits.asdf")
        good = np.argwhere(np.isfinite(exposure.pixels[0].extra["WAVELENGTH"]))
        random = np.random.default_rng(5)
        y, x = (good[random.choice(len(good), 1000)] + random.uniform(-0.4, 0.4, (1000, 2))).T
        for key, value in zip(given, [name, folder / "rate.fits", lrs.DISTORTION, table, x, y], strict=True):
            given[key].append(value if key in ("xs", "ys") else str(value))
    _, table, keywords = CASES[FULL]
    full = list(CASES).index(FULL)
    cut_x, cut_y = given["xs"][full] - 300, given["ys"][full] - 7
    part = lrs.exposure(slitless=False, shape=(384, 140), **lrs.SUBSLIT, **keywords)
    hdus = [fits.PrimaryHDU(header=part.header.primary), fits.ImageHDU(part.sci, part.header.sci, name="SCI")]
    fits.HDUList(hdus).writeto(tmp_path / "cut.fits")
    cut = {"cut": str(tmp_path / "cut.fits"), "cut_x": cut_x, "cut_y": cut_y, "distortion": str(lrs.DISTORTION), "table": str(table)}
    peers = peer_python(PEER + SUBARRAY, **given, **cut)
    for i, name in enumerate(CASES):
        wcs, header, x, y = ours[name].wcs, ours[name].header, given["xs"][i], given["ys"][i]
        theirs, got = peers[f"{name} sky"], np.array(wcs(x, y))
        np.testing.assert_array_equal(np.isnan(got), np.isnan(theirs))
        good = np.isfinite(theirs[2])
        assert good.sum() > 990
        assert separation(got[:2, good], theirs[:2, good]).max() < 1e-6 * 0.11 / 3600  # pixel
        assert np.abs(got[2] - theirs[2])[good].max() < 1e-9
        np.testing.assert_allclose(wcs.get_transform("detector", "alpha_beta")(x, y), peers[f"{name} slit"], atol=1e-9)
        np.testing.assert_allclose(wcs.invert(*theirs, with_bounding_box=False), peers[f"{name} back"], atol=1e-6)
        np.testing.assert_array_equal(peers[f"{name} ours read"], got)
        np.testing.assert_allclose(peers[f"{name} ours back"], peers[f"{name} back"], atol=1e-6)
        assert wcs.available_frames == [str(frame) for frame in peers[f"{name} frames"]]
        np.testing.assert_allclose(wcs.bounding_box.bounding_box(order="F"), peers[f"{name} box"], atol=1e-9)
        np.testing.assert_array_equal(ours[name].pixels[0].extra["WAVELENGTH"], peers[f"{name} wavelength"])
        for place, keys in ((0, ("DITH_RA", "DITH_DEC")), ("SCI", ("S_REGION", "DISPAXIS", "SPECSYS", "WCSAXES", "VELOSYS"))):
            after = fits.Header.fromstring(str(peers[f"{name} header {place}"]))
            for key in keys:
                expected = after.get(key)
                assert header.get(key) == (pytest.approx(expected, abs=1e-9) if isinstance(expected, float) else expected), key
        if f"{name} centres" in peers:
            np.testing.assert_allclose(*peers[f"{name} centres"], atol=1e-6)
    # the peer takes the slit's place, which is in pixels of the full frame, for one of the subarray
    got, theirs = subslit(table, lrs.DISTORTION, **keywords)(cut_x, cut_y), peers["subarray"]
    inside = np.isfinite(got[2])
    assert inside.sum() > 950
    assert separation(got[:2], peers[f"{FULL} sky"][:2])[inside].max() < 1e-6 * 0.11 / 3600
    assert np.abs(got[2] - peers[f"{FULL} sky"][2])[inside].max() < 1e-9
    assert np.nanmin(separation(theirs[:2], peers[f"{FULL} sky"][:2])) > 0.7 / 3600  # 7 rows
    assert np.nanmedian(np.abs(theirs[2] - peers[f"{FULL} sky"][2])) > 0.1
    assert peers["subarray box"][0][0] > part.sci.shape[1]  # no pixel is inside
