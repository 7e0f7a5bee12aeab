"""assign_wcs against the SIAF, against a rotation worked out by hand, and against the peer."""

import asdf
import numpy as np
import pytest
from astropy.io import fits

import sky
from jwcal.steps import assign_wcs
from jwcal.vocabulary.errors import InputError, ReferenceError
from peer import needs_peer, peer_python

UAS = 1 / 3.6e9  # degrees

REAL = sky.SHARED / "real/references"
MIRI = REAL / "miri/jwst_miri_imager_distortion_flt9.asdf", REAL / "miri/jwst_miri_filteroffset_full_flt9.asdf"
NIRISS = REAL / "niriss/niriss_ref_distortion.asdf"
needs_real = pytest.mark.skipif(not MIRI[0].exists(), reason="the real reference files (../shared/real) are not here")

APERTURES = [("NIRCam", "NRCB1_FULL"), ("NIRCam", "NRCA5_FULL"), ("NIRISS", "NIS_CEN"), ("FGS", "FGS1_FULL"), ("MIRI", "MIRIM_FULL")]


def pixels(shape):
    y, x = np.mgrid[0 : shape[-2] - 1 : 9j, 0 : shape[-1] - 1 : 11j]
    return x, y


def separation(sky1, sky2):
    """Degrees, to first order."""
    (ra1, dec1), (ra2, dec2) = sky1, sky2
    return np.hypot(((ra1 - ra2 + 180) % 360 - 180) * np.cos(np.radians(dec1)), dec1 - dec2)


@pytest.mark.parametrize(("instrument", "name"), APERTURES)
def test_looks_where_the_siaf_says(tmp_path, instrument, name):
    siaf = sky.aperture(instrument, name)
    exposure = sky.exposure(siaf, (1024, 1032), INSTRUME=instrument.upper(), FILTER="F200W")
    refs = sky.references(tmp_path, exposure, sky.distortion(siaf))
    wcs = assign_wcs.apply(exposure, refs).wcs
    x, y = pixels((1024, 1032))
    assert separation(wcs(x, y), sky.truth(siaf, x, y)).max() < 0.01 * UAS


def test_by_hand_agrees_with_pysiafs_attitude():
    """The truth of the other tests: two derivations, spherical triangles and pysiaf's matrices."""
    from pysiaf.utils import rotations

    v2, v3 = np.array([-300.0, 0.0, 120.0]), np.array([-500.0, -400.0, 30.0])
    for ra, dec, roll in [(10.0, 89.5, 33.0), (359.99, -45.0, 200.0), (120.0, 0.0, 0.0)]:
        attitude = rotations.attitude(-100.0, -480.0, ra, dec, roll)
        mine = sky.by_hand(v2, v3, -100.0, -480.0, ra, dec, roll)
        assert separation(mine, rotations.pointing(attitude, v2, v3)).max() < 0.01 * UAS


def test_inverse_and_frames(tmp_path):
    siaf = sky.aperture("NIRCam", "NRCB1_FULL")
    exposure = sky.exposure(siaf, (2048, 2048), FILTER="F200W", PUPIL="CLEAR")
    wcs = assign_wcs.apply(exposure, sky.references(tmp_path, exposure, sky.distortion(siaf))).wcs
    assert wcs.available_frames == ["detector", "v2v3", "v2v3vacorr", "world"]
    x, y = pixels((2048, 2048))
    back = wcs.invert(*wcs(x, y))
    again = siaf.tel_to_sci(*siaf.sci_to_tel(x + 1, y + 1))  # the SIAF's inverse is good to 0.006 pixel
    np.testing.assert_allclose(back, (again[0] - 1, again[1] - 1), atol=1e-5)


def test_velocity_aberration_scales_about_the_reference_point(tmp_path):
    siaf = sky.aperture("NIRCam", "NRCB1_FULL")
    apart = []
    for scale in (1.0001, 1.0):
        exposure = sky.exposure(siaf, (2048, 2048), VA_SCALE=scale)
        if scale == 1:  # absent means the same
            del exposure.header["VA_SCALE"]
        wcs = assign_wcs.apply(exposure, sky.references(tmp_path, exposure, sky.distortion(siaf)), sip_approx=False).wcs
        corner, centre = wcs(0, 0), wcs(siaf.XSciRef - 1, siaf.YSciRef - 1)
        apart.append(separation(corner, centre))
        assert separation(centre, (sky.POINTING["RA_REF"], sky.POINTING["DEC_REF"])) < UAS
    assert apart[0] / apart[1] == pytest.approx(1.0001, rel=1e-7)


def test_subarray_is_a_cut_of_the_full_frame(tmp_path):
    siaf = sky.aperture("NIRCam", "NRCB1_FULL")
    full, part = (
        sky.exposure(siaf, (2048, 2048)),
        sky.exposure(siaf, (3, 40, 64), SUBARRAY="SUB", SUBSTRT1=301, SUBSTRT2=1201),
    )
    model = sky.distortion(siaf)
    whole = assign_wcs.apply(full, sky.references(tmp_path, full, model)).wcs
    cut = assign_wcs.apply(part, sky.references(tmp_path, part, model)).wcs
    x, y = pixels((40, 64))
    assert separation(cut(x, y), whole(x + 300, y + 1200)).max() < 1e-3 * UAS
    assert cut.bounding_box.bounding_box(order="F") == ((-0.5, 63.5), (-0.5, 39.5))
    assert whole.bounding_box.bounding_box(order="F") == ((-0.5, 2047.5), (-0.5, 2047.5))


ROWS = [
    {"filter": "F200W", "pupil": "CLEAR", "column_offset": 1.25, "row_offset": -0.5},
    {"filter": "F200W", "pupil": "F187N", "column_offset": 7.0, "row_offset": 7.0},
    {"filter": "F210M", "pupil": "CLEAR", "column_offset": 7.0, "row_offset": 7.0},
]


@pytest.mark.parametrize(
    ("rows", "moved"),
    [
        (ROWS, (1.25, -0.5)),
        (ROWS[1:], (0, 0)),
        ([{"filter": "F200W", "pupil": "N/A", "column_offset": 2.0, "row_offset": 1.0}], (2, 1)),  # MIRI has no pupil
        ([{"filter": "F200W", "column_offset": 2.0, "row_offset": 1.0}, *ROWS[2:]], (2, 1)),
        ([{"name": "F200W", "column_offset": 2.0, "row_offset": 1.0}, {"name": "F1W", "column_offset": 9.0, "row_offset": 9.0}], (2, 1)),
    ],
)
def test_filter_offset_moves_the_pixels_before_the_distortion(tmp_path, rows, moved):
    siaf = sky.aperture("NIRCam", "NRCB1_FULL")
    exposure = sky.exposure(siaf, (64, 64), SUBSTRT1=101, FILTER="F200W", PUPIL="CLEAR")
    wcs = assign_wcs.apply(exposure, sky.references(tmp_path, exposure, sky.distortion(siaf), rows)).wcs
    x, y = pixels((64, 64))
    assert separation(wcs(x, y), sky.truth(siaf, x + 100 + moved[0], y + moved[1])).max() < 0.01 * UAS


def test_two_filter_offsets_are_an_error(tmp_path):
    siaf = sky.aperture("NIRCam", "NRCB1_FULL")
    exposure = sky.exposure(siaf, (64, 64), FILTER="F200W", PUPIL="CLEAR")
    with pytest.raises(ReferenceError, match="2 filter offsets for F200W CLEAR"):
        assign_wcs.apply(exposure, sky.references(tmp_path, exposure, sky.distortion(siaf), [ROWS[0], ROWS[0]]))


def test_reference_with_a_bounding_box_keeps_it_and_its_model(tmp_path):
    siaf = sky.aperture("NIRCam", "NRCB1_FULL")
    model = sky.distortion(siaf)
    model.bounding_box = ((10.0, 200.0), (3.5, 100.5))  # y, x
    exposure = sky.exposure(siaf, (256, 128), FILTER="F200W", PUPIL="CLEAR")
    refs = sky.references(tmp_path, exposure, model, ROWS)
    wcs = assign_wcs.apply(exposure, refs).wcs
    assert wcs.bounding_box.bounding_box(order="F") == ((3.5, 100.5), (10.0, 200.0))
    again = assign_wcs.apply(exposure, refs).wcs
    assert separation(again(50, 50), wcs(50, 50)) == 0


def test_a_missing_pointing_is_a_clear_error(tmp_path):
    siaf = sky.aperture("NIRCam", "NRCB1_FULL")
    exposure = sky.exposure(siaf, (64, 64))
    refs = sky.references(tmp_path, exposure, sky.distortion(siaf))
    del exposure.header["ROLL_REF"]
    with pytest.raises(InputError, match="ROLL_REF"):
        assign_wcs.apply(exposure, refs)
    exposure.header["ROLL_REF"] = 0.0
    exposure.header["VA_SCALE"] = -1.0
    with pytest.raises(InputError, match="VA_SCALE is -1"):
        assign_wcs.apply(exposure, refs)


def test_distortion_without_a_model_is_a_clear_error(tmp_path):
    siaf = sky.aperture("NIRCam", "NRCB1_FULL")
    exposure = sky.exposure(siaf, (64, 64))
    refs = sky.references(tmp_path, exposure, sky.distortion(siaf))
    asdf.AsdfFile({"something": 1}).write_to(refs["distortion"].path)
    with pytest.raises(ReferenceError, match="no model"):
        assign_wcs.apply(exposure, refs)


def test_s_region_is_the_corners_of_the_corner_pixels(tmp_path):
    siaf = sky.aperture("NIRCam", "NRCB1_FULL")
    exposure = sky.exposure(siaf, (256, 128))
    assign_wcs.apply(exposure, sky.references(tmp_path, exposure, sky.distortion(siaf)))
    words = exposure.header["S_REGION"].split()
    assert words[:2] == ["POLYGON", "ICRS"]
    corners = np.array(words[2:], float).reshape(4, 2).T
    edges = sky.truth(siaf, np.array([-0.5, -0.5, 127.5, 127.5]), np.array([-0.5, 255.5, 255.5, -0.5]))
    assert separation(corners, edges).max() < 5 * UAS  # nine decimals


def test_s_region_across_the_zero_meridian(tmp_path):
    siaf = sky.aperture("NIRCam", "NRCB1_FULL")
    exposure = sky.exposure(siaf, (2048, 2048), RA_REF=0.0, CRVAL1=0.0)
    assign_wcs.apply(exposure, sky.references(tmp_path, exposure, sky.distortion(siaf)))
    ra = np.array(exposure.header["S_REGION"].split()[2::2], float)
    assert ((ra >= 0) & (ra < 360)).all() and ra.max() > 359.9 and ra.min() < 0.1


# --- the peer ----------------------------------------------------------------------------------------------------------

CASES = {
    "nircam": ("NIRCam", "NRCB1_FULL", (256, 300), "siaf", ROWS, {"FILTER": "F200W", "PUPIL": "CLEAR", "EXP_TYPE": "NRC_IMAGE"}),
    "nircam_box": ("NIRCam", "NRCB1_FULL", (256, 300), "boxed", ROWS, {"FILTER": "F200W", "PUPIL": "CLEAR", "EXP_TYPE": "NRC_IMAGE"}),
    "nircam_subarray": (
        *("NIRCam", "NRCA5_FULL", (2, 64, 160), "siaf", ROWS),
        {"FILTER": "F200W", "PUPIL": "CLEAR", "EXP_TYPE": "NRC_TSIMAGE", "SUBSTRT1": 301, "SUBSTRT2": 1201},
    ),
    "miri": ("MIRI", "MIRIM_FULL", (1024, 1032), MIRI[0], MIRI[1], {"FILTER": "F560W", "EXP_TYPE": "MIR_IMAGE"}),
    "miri_subarray": (
        *("MIRI", "MIRIM_FULL", (224, 288), MIRI[0], MIRI[1]),
        {"FILTER": "F2550W", "EXP_TYPE": "MIR_4QPM", "SUBSTRT1": 1, "SUBSTRT2": 245},
    ),
    "niriss": ("NIRISS", "NIS_CEN", (512, 1024), NIRISS, None, {"FILTER": "CLEAR", "PUPIL": "F150W", "EXP_TYPE": "NIS_IMAGE"}),
    "fgs": ("FGS", "FGS1_FULL", (300, 256), "siaf", None, {"EXP_TYPE": "FGS_IMAGE", "VA_SCALE": 1.0}),
}

PEER = """
import asdf, logging
from astropy.io import fits
from jwst.assign_wcs.assign_wcs import load_wcs
from jwst.assign_wcs.util import update_fits_wcsinfo
from stdatamodels.jwst import datamodels
from tweakwcs.correctors import JWSTWCSCorrector
for i, name in enumerate(names):
    kind = datamodels.CubeModel if len(shapes[i].split()) == 3 else datamodels.ImageModel
    model = load_wcs(kind(str(files[i])), {"distortion": str(distortions[i]), "filteroffset": str(offsets[i])})
    update_fits_wcsinfo(model, max_pix_error=0.01, max_inv_pix_error=0.01, npoints=12)
    x, y = xs[i], ys[i]
    out[f"{name} sky"] = np.array(model.meta.wcs(x, y))
    out[f"{name} back"] = np.array(model.meta.wcs.invert(*out[f"{name} sky"], with_bounding_box=False))
    out[f"{name} box"] = np.array(model.meta.wcs.bounding_box.bounding_box(order="F"))
    model.save(str(files[i]) + ".out.fits")
    out[f"{name} header"] = fits.getheader(str(files[i]) + ".out.fits", "SCI").tostring()
    with asdf.open(str(files[i]) + ".asdf") as file:
        ours = file["wcs"]
    out[f"{name} ours read"] = np.array(ours(x, y))
    about = {key: getattr(model.meta.wcsinfo, key) for key in ("v2_ref", "v3_ref", "roll_ref")}
    for whose, wcs in (("theirs", model.meta.wcs), ("ours", ours)):
        corrector = JWSTWCSCorrector(wcs, about)
        corrector.set_correction([[1.0, 0.001], [-0.001, 1.0]], [0.3, -0.2])  # arcsec
        out[f"{name} {whose} aligned"] = np.array(corrector.wcs(x, y))
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Our exposure and the peer's answers, by case: the peer is started once."""
    ours, given = {}, {key: [] for key in ("names", "shapes", "files", "distortions", "offsets", "xs", "ys")}
    for name, (instrument, aperture, shape, model, offsets, keywords) in CASES.items():
        folder = tmp_path_factory.mktemp(name)
        siaf = sky.aperture(instrument, aperture)
        exposure = sky.exposure(siaf, shape, INSTRUME=instrument.upper(), **keywords)
        rate = folder / "rate.fits"
        hdus = [fits.PrimaryHDU(header=exposure.header.primary), fits.ImageHDU(exposure.sci, exposure.header.sci, name="SCI")]
        fits.HDUList(hdus).writeto(rate)
        if isinstance(model, str):
            boxed, model = model == "boxed", sky.distortion(siaf)
            if boxed:
                model.bounding_box = ((10.0, 200.0), (3.5, 250.5))
        refs = sky.references(folder, exposure, model, offsets)
        ours[name] = assign_wcs.apply(exposure, refs)
        asdf.AsdfFile({"wcs": exposure.wcs}).write_to(str(rate) + ".asdf")
        paths = [refs[kind].path if kind in refs else "N/A" for kind in ("distortion", "filteroffset")]
        x, y = pixels(shape)
        for key, value in zip(given, [name, " ".join(map(str, shape)), rate, *paths, x, y], strict=True):
            given[key].append(value if key in ("xs", "ys") else str(value))
    return ours, peer_python(PEER, **given)


@needs_real
@needs_peer
@pytest.mark.parity
@pytest.mark.parametrize("name", CASES)
def test_same_as_the_peer(both, name):
    exposure, theirs = both[0][name], both[1]
    x, y = pixels(exposure.sci.shape)
    inside = np.isfinite(theirs[f"{name} sky"][0])
    assert inside.mean() > (0.4 if "box" in name else 0.99)
    mine = np.array(exposure.wcs(x, y))
    np.testing.assert_array_equal(np.isfinite(mine[0]), inside)
    assert separation(mine[:, inside], theirs[f"{name} sky"][:, inside]).max() < 0.001 * UAS
    back = np.array(exposure.wcs.invert(*mine, with_bounding_box=False))
    np.testing.assert_allclose(back[:, inside], theirs[f"{name} back"][:, inside], atol=1e-7)
    np.testing.assert_array_equal(exposure.wcs.bounding_box.bounding_box(order="F"), theirs[f"{name} box"])


@needs_real
@needs_peer
@pytest.mark.parity
@pytest.mark.parametrize("name", CASES)
def test_the_peer_reads_and_aligns_our_wcs(both, name):
    """Its stage 3 takes our products: it evaluates the WCS from the file, and its alignment moves it as it moves its own."""
    exposure, theirs = both[0][name], both[1]
    before = np.array(exposure.wcs(*pixels(exposure.sci.shape)))
    np.testing.assert_array_equal(theirs[f"{name} ours read"], before)
    after, expected = theirs[f"{name} ours aligned"], theirs[f"{name} theirs aligned"]
    inside = np.isfinite(expected[0])
    assert separation(after[:, inside], expected[:, inside]).max() < 0.001 * UAS
    assert separation(after[:, inside], before[:, inside]).max() * 3600 > 0.3


@needs_real
@needs_peer
@pytest.mark.parity
@pytest.mark.parametrize("name", CASES)
def test_same_keywords_as_the_peer(both, name):
    """Every keyword that the peer's product has, ours has too with the same value; beside them the linear inverse terms and errors.

    For the whole of MIRI the peer's inverse stops at degree 5 and misses what was asked for; ours goes on (see test_sip).
    """
    mine, theirs = both[0][name].header.sci, fits.Header.fromstring(str(both[1][f"{name} header"]))
    assert mine["S_REGION"] == theirs["S_REGION"]
    about_the_array = {"XTENSION", "BITPIX", "PCOUNT", "GCOUNT", "EXTNAME", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "EXTVER"}
    inverse = {key for key in [*mine, *theirs] if key.startswith(("AP_", "BP_"))} if name == "miri" else set()
    for key in set(theirs) - about_the_array - inverse - {"CONTINUE", "", "COMMENT"}:
        if isinstance(theirs[key], float):
            tiny = 1e-9 * max(1, 10.0 ** (-3 * sum(map(int, key.split("_")[1:])))) if key[0] in "AB" and "_" in key else 0
            assert mine[key] == pytest.approx(theirs[key], rel=1e-9, abs=tiny), key
        else:
            assert mine[key] == theirs[key], key
    more = {"SIPMXERR", "SIPIVERR", "AP_1_0", "AP_0_1", "BP_1_0", "BP_0_1"}
    assert set(mine) - set(theirs) - inverse <= more
    assert bool(inverse) == (mine["AP_ORDER"] > theirs["AP_ORDER"])
