"""assign_wcs of MIRI's medium resolution spectrometer against optics made by hand, and with real references against the peer."""

import asdf
import numpy as np
import pytest
from astropy.constants import c
from astropy.io import fits

import mrs
import sky
from jwcal.arithmetic.wcs import pixel_coordinates
from jwcal.steps import assign_wcs
from jwcal.vocabulary.errors import InputError, ReferenceError, Skip
from peer import needs_peer, peer_python

UAS = 1 / 3.6e9  # degrees
needs_real = pytest.mark.skipif(not mrs.REAL.exists(), reason="the real reference files (../shared/real) are not here")


def separation(sky1, sky2):
    """Degrees, to first order."""
    (ra1, dec1), (ra2, dec2) = sky1, sky2
    return np.hypot(((ra1 - ra2 + 180) % 360 - 180) * np.cos(np.radians(dec1)), dec1 - dec2)


@pytest.fixture
def small(tmp_path):
    exposure, refs = mrs.small(tmp_path)
    return assign_wcs.apply(exposure, refs, "mrs"), refs


def truth():
    """Right ascension, declination, wavelength of every pixel, from the optics' formulas."""
    out = np.full((3, *mrs.SHAPE), np.nan)
    for number, x0 in mrs.FIRST_COLUMN.items():
        y, x = np.mgrid[0.0 : mrs.SHAPE[0], x0 : x0 + 7.0]
        _, _, wavelength, v2, v3 = mrs.by_hand(x, y, number)
        ra, dec = sky.truth(_Place, x, y, v2, v3)
        low, high = mrs.RANGE[f"{number // 100}SHORT"]
        out[:, :, x0 : x0 + 7] = np.where((wavelength > low) & (wavelength < high), [ra, dec, wavelength], np.nan)
    return out


class _Place:
    V2Ref, V3Ref = mrs.PLACE


def test_looks_where_the_optics_send_it(small):
    exposure, _ = small
    ra, dec, wavelength = truth()
    y, x = np.indices(mrs.SHAPE)
    for got in (exposure.wcs(x, y), pixel_coordinates.wavelength_and_sky(exposure.wcs, exposure.sci.shape)):
        assert np.array_equal(np.isnan(got[2]), np.isnan(wavelength))
        assert 0 < np.isnan(wavelength[:, 2:9]).sum() < 7 * 10  # what is outside the channel's range looks nowhere
        good = np.isfinite(wavelength)
        assert separation((got[0][good], got[1][good]), (ra[good], dec[good])).max() < 0.1 * UAS
        np.testing.assert_allclose(got[2][good], wavelength[good], atol=1e-12)


@pytest.mark.parametrize("velocity", [None, 25000.0])
def test_comes_back_to_the_pixel_it_came_from(tmp_path, velocity):
    exposure, refs = mrs.small(tmp_path, velocity=velocity)
    assign_wcs.apply(exposure, refs, "mrs")
    coordinates = np.array(pixel_coordinates.wavelength_and_sky(exposure.wcs, exposure.sci.shape))
    y, x = np.nonzero(np.isfinite(coordinates[2]))
    back = exposure.wcs.invert(*coordinates[:, y, x], with_bounding_box=False)
    np.testing.assert_allclose(back, [x, y], atol=2e-3)  # the inverse of the optics made by hand is not exact


def test_frames_and_box(small):
    wcs = small[0].wcs
    assert wcs.available_frames == ["detector", "alpha_beta", "v2v3", "v2v3vacorr", "world"]
    assert wcs.bounding_box.bounding_box(order="F") == ((-0.5, mrs.SHAPE[1] - 0.5), (-0.5, mrs.SHAPE[0] - 0.5))
    assert wcs.output_frame.unit == ("deg", "deg", "micron")


def test_wavelengths_are_the_barycentres(tmp_path):
    still, refs = mrs.small(tmp_path)
    moving, _ = mrs.small(tmp_path, velocity=25000.0)
    ours = [pixel_coordinates.wavelength_and_sky(assign_wcs.apply(e, refs, "mrs").wcs, e.sci.shape) for e in (still, moving)]
    good = np.isfinite(ours[0][2]) & np.isfinite(ours[1][2])
    np.testing.assert_allclose(ours[1][2][good], ours[0][2][good] / (1 + 25000.0 / c.value), rtol=1e-14)
    assert good.sum() > 0.95 * np.isfinite(ours[0][2]).sum()


def test_keywords(small):
    exposure, _ = small
    ra, dec, _ = truth()
    words = exposure.header["S_REGION"].split()
    assert words[:2] == ["POLYGON", "ICRS"]
    corners = np.array(words[2:], float).reshape(4, 2)
    box = [np.nanmin(ra), np.nanmin(dec), np.nanmax(ra), np.nanmax(dec)]
    np.testing.assert_allclose([*corners[0], *corners[2]], box, atol=1e-9)
    assert exposure.header.sci["DISPAXIS"] == 2 and exposure.header.sci["SPECSYS"] == "BARYCENT"


@pytest.mark.parametrize("ra", [0.0, 1e-5, 359.9999])
def test_region_across_the_zero_meridian(tmp_path, ra):
    exposure, refs = mrs.small(tmp_path, RA_REF=ra)
    assign_wcs.apply(exposure, refs, "mrs")
    corners = np.array(exposure.header["S_REGION"].split()[2:], float).reshape(4, 2)
    assert (corners >= 0).all() and (corners[:, 0] < 360).all()
    assert (corners[1, 0] - corners[0, 0]) % 360 < 0.01
    all_ra = pixel_coordinates.wavelength_and_sky(exposure.wcs, exposure.sci.shape)[0]
    away = (all_ra - ra + 180) % 360 - 180
    np.testing.assert_allclose((corners[:2, 0] - ra + 180) % 360 - 180, [np.nanmin(away), np.nanmax(away)], atol=2e-9)


def test_extent_needs_the_edges_only(small):
    exposure, _ = small
    y, x = np.indices(mrs.SHAPE)
    seen = []
    first = exposure.wcs.pipeline[0].transform
    region, (blue, red) = pixel_coordinates.extent(exposure.wcs, exposure.sci.shape)
    edges = pixel_coordinates.edge_pixels(first.label_mapper.mapper)
    seen = edges.sum() / (first.label_mapper.mapper > 0).sum()
    assert seen < 0.45  # of slices 7 pixels wide
    assert region == exposure.header["S_REGION"]
    wavelength = truth()[2]
    assert blue == pytest.approx(np.nanmin(wavelength), abs=1e-9) and red == pytest.approx(np.nanmax(wavelength), abs=0.021)


def test_survives_a_file(small, tmp_path):
    exposure, _ = small
    asdf.AsdfFile({"wcs": exposure.wcs}).write_to(tmp_path / "wcs.asdf")
    with asdf.open(tmp_path / "wcs.asdf") as file:
        again = file["wcs"]
    for one, other in zip(*(pixel_coordinates.wavelength_and_sky(w, mrs.SHAPE) for w in (exposure.wcs, again)), strict=True):
        np.testing.assert_array_equal(one, other)
    good = np.isfinite(one)
    world = [plane[good] for plane in pixel_coordinates.wavelength_and_sky(again, mrs.SHAPE)]
    back, was = (w.invert(*world, with_bounding_box=False) for w in (again, exposure.wcs))
    np.testing.assert_array_equal(back, was)


def test_references_are_not_changed(small, tmp_path):
    exposure, refs = small
    again, _ = mrs.small(tmp_path)
    y, x = np.indices(mrs.SHAPE)
    np.testing.assert_array_equal(assign_wcs.apply(again, refs, "mrs").wcs(x, y), exposure.wcs(x, y))


def test_what_is_missing_is_told(tmp_path):
    exposure, refs = mrs.small(tmp_path)
    without = type(refs)({kind: refs[kind].path for kind in ("distortion", "specwcs", "regions")}, exposure.header)
    with pytest.raises(Skip, match="its wavelengthrange reference is N/A"):
        assign_wcs.apply(exposure, without, "mrs")
    wrong, _ = mrs.small(tmp_path, BAND="LONG")
    with pytest.raises(ReferenceError, match="1LONG"):
        assign_wcs.apply(wrong, refs, "mrs")
    del wrong.header["BAND"]
    with pytest.raises(InputError, match="BAND"):
        assign_wcs.apply(wrong, refs, "mrs")
    exposure.header["CHANNEL"] = "SHORT"
    with pytest.raises(InputError, match="CHANNEL is SHORT"):
        assign_wcs.apply(exposure, refs, "mrs")


def test_a_map_of_another_size_is_told(tmp_path):
    exposure, refs = mrs.small(tmp_path)
    exposure.pixels[0].sci = exposure.sci[:40]
    with pytest.raises(ReferenceError, match=r"a map of \(48, 40\) pixels, the exposure has \(40, 40\)"):
        assign_wcs.apply(exposure, refs, "mrs")
    mrs.write(refs["regions"].path, "regions", {"something": 1})
    exposure, refs = exposure, type(refs)({kind: refs[kind].path for kind in assign_wcs.OPTIONAL if kind in refs}, exposure.header)
    with pytest.raises(ReferenceError, match="regions"):
        assign_wcs.apply(exposure, refs, "mrs")


# --- real references -----------------------------------------------------------------------------------------------------


@needs_real
def test_our_map_of_slices_is_a_part_of_the_real_one(tmp_path):
    exposure, refs = mrs.real(tmp_path, "34C")
    with asdf.open(mrs.REAL / "jwst_miri_regions_0017.asdf", lazy_load=False, memmap=False) as file:
        real = np.asarray(file["regions"])
    ours = refs["regions"].tree["regions"][7]
    assert not ((real > 0) & (ours > 0) & (real != ours)).any() and (ours > 0).sum() > 0.7 * (real > 0).sum()
    whole = type(refs)(
        {**{k: refs[k].path for k in assign_wcs.OPTIONAL if k in refs}, "regions": mrs.REAL / "jwst_miri_regions_0017.asdf"},
        exposure.header,
    )
    assign_wcs.apply(exposure, whole, "mrs")  # the older kind of file, one map
    assert np.isfinite(pixel_coordinates.wavelength_and_sky(exposure.wcs, (1024, 1032))[2]).sum() > 0.9 * (real > 0).sum()


PEER = """
import asdf
from astropy.io import fits
from jwst.assign_wcs.assign_wcs import load_wcs
from stdatamodels.jwst import datamodels
for i, name in enumerate(names):
    files = dict(item.split("=") for item in references[i].split("|"))
    model = load_wcs(datamodels.IFUImageModel(str(rates[i])), files)
    x, y = xs[i], ys[i]
    wcs = model.meta.wcs
    out[f"{name} sky"] = np.array(wcs(x, y))
    out[f"{name} back"] = np.array(wcs.invert(*out[f"{name} sky"], with_bounding_box=False))
    out[f"{name} field"] = np.array(wcs.get_transform("detector", "v2v3")(x, y))
    out[f"{name} box"] = np.array(wcs.bounding_box.bounding_box(order="F"))
    out[f"{name} frames"] = np.array(wcs.available_frames)
    out[f"{name} wavelengths"] = np.array(model.meta.wcsinfo.spectral_region)
    model.save(str(rates[i]) + ".out.fits")
    out[f"{name} header"] = fits.getheader(str(rates[i]) + ".out.fits", "SCI").tostring()
    with asdf.open(str(rates[i]) + ".asdf") as file:
        out[f"{name} ours read"] = np.array(file["wcs"](x, y))
        out[f"{name} ours back"] = np.array(file["wcs"].invert(*out[f"{name} sky"], with_bounding_box=False))
"""


def compare(tmp_path, cases):
    """Our exposure and the peer's answers, by case: the peer is started once."""
    given = {key: [] for key in ("names", "references", "rates", "xs", "ys")}
    ours = {}
    for name, keywords in cases.items():
        folder = tmp_path / name
        folder.mkdir()
        exposure, refs = mrs.real(folder, name, **keywords)
        hdus = [fits.PrimaryHDU(header=exposure.header.primary), fits.ImageHDU(exposure.sci, exposure.header.sci, name="SCI")]
        fits.HDUList(hdus).writeto(folder / "rate.fits")
        ours[name] = assign_wcs.apply(exposure, refs, "mrs")
        asdf.AsdfFile({"wcs": exposure.wcs}).write_to(f"{folder}/rate.fits.asdf")
        y, x = np.nonzero(np.isfinite(pixel_coordinates.wavelength_and_sky(exposure.wcs, exposure.sci.shape)[2]))
        some = np.random.default_rng(3).choice(x.size, 1000)
        files = "|".join(f"{kind}={refs[kind].path}" for kind in assign_wcs.OPTIONAL if kind in refs)
        for key, value in zip(given, [name, files, folder / "rate.fits", x[some].astype(float), y[some].astype(float)], strict=True):
            given[key].append(value if key in ("xs", "ys") else str(value))
    return ours, given, peer_python(PEER, **given)


@needs_peer
@needs_real
@pytest.mark.parity
@pytest.mark.parametrize(
    "cases",
    [
        {"12A": {"velocity": 23456.7}},
        pytest.param({"12B": {}, "34A": {"velocity": -9876.5}, "34C": {}, "12C": {"RA_REF": 0.0}, "34B": {}}, marks=pytest.mark.full),
    ],
)
def test_parity(tmp_path, cases):
    ours, given, peers = compare(tmp_path, cases)
    for i, name in enumerate(cases):
        wcs, header = ours[name].wcs, ours[name].header
        x, y = given["xs"][i], given["ys"][i]
        theirs = peers[f"{name} sky"]
        got = wcs(x, y)
        assert separation(got[:2], theirs[:2]).max() < 1e-4 * 0.13 / 3600  # 1e-4 pixel; nearer to 1e-9
        assert np.abs(got[2] - theirs[2]).max() < 1e-6
        np.testing.assert_allclose(wcs.get_transform("detector", "v2v3")(x, y), peers[f"{name} field"], atol=1e-10)
        back = np.array(wcs.invert(*theirs, with_bounding_box=False))
        if (
            "velocity" in cases[name]
        ):  # the peer goes back with the barycentre's wavelength, as if it were the telescope's: a part of a row off
            assert np.abs(back - [x, y]).max() < 0.15  # of the references' inverse
            off = np.median(peers[f"{name} back"][1] - y)
            assert np.abs(off) > 0.05 and np.abs(off) > 5 * np.abs(np.median(back[1] - y))
        else:
            np.testing.assert_allclose(back, peers[f"{name} back"], atol=1e-6)
        np.testing.assert_array_equal(peers[f"{name} ours read"], np.array(got))  # the peer reads our file
        np.testing.assert_allclose(peers[f"{name} ours back"], back, atol=1e-9)
        assert wcs.available_frames == [str(frame) for frame in peers[f"{name} frames"]]
        np.testing.assert_array_equal(wcs.bounding_box.bounding_box(order="F"), peers[f"{name} box"])
        after = fits.Header.fromstring(str(peers[f"{name} header"]))
        for key in ("S_REGION", "DISPAXIS", "SPECSYS", "WCSAXES", "RADESYS", "VELOSYS"):
            assert header.get(key) == after.get(key), key
        np.testing.assert_allclose(pixel_coordinates.extent(wcs, (1024, 1032))[1], peers[f"{name} wavelengths"], atol=3e-3)
