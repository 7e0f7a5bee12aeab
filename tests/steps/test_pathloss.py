"""Slit losses of the prism: tables by hand, what a simulated slit held back, and the peer on the same input."""

import logging

import numpy as np
import pytest
from astropy.io import fits

import lrs
from jwcal.arithmetic.spectra_calibration import pathloss_lrs, slit_loss
from jwcal.kernels.images import scale_map
from jwcal.model.references import Reference
from jwcal.simulate import spectrograph
from jwcal.simulate.spectrograph import Source, Spectrum, simulate_lrs
from jwcal.steps import assign_wcs, pathloss, photom, srctype
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import InputError, ReferenceError, Skip
from peer import needs_peer, peer_python

SHAPE = 400, 360  # a corner of the detector with the slit: the peer does not find it in a subarray that begins elsewhere


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return spectrograph.write_lrs_references(tmp_path_factory.mktemp("references"))


def table(path, reach=(3, 2), step=(4.0, 2.0), wavelengths=None):
    """A pathloss reference that depends on everything: 1 + 0.1 x + 0.01 y wavelength."""
    wavelength = np.linspace(12, 6, 13) if wavelengths is None else wavelengths
    x, y = ((np.arange(2 * n + 1) - n) * d for n, d in zip(reach, step, strict=True))
    cube = (1 + 0.02 * x + 0.01 * y[:, None] * wavelength[:, None, None]).astype(np.float32)
    kinds = [("wavelength", ">f4"), ("pathloss", ">f4", cube.shape[1:]), ("pathloss_err", ">f4", cube.shape[1:])]
    hdu = fits.BinTableHDU(np.rec.fromarrays([wavelength, cube, 0 * cube], kinds), name="PATHLOSS")
    for axis, (n, d) in enumerate(zip(reach, step, strict=True), start=1):
        hdu.header.update({f"CRPIX{axis}": n + 1.0, f"CRVAL{axis}": 0.0, f"CDELT{axis}": d})
    fits.HDUList([fits.PrimaryHDU(header=fits.Header({"TELESCOP": "JWST", "REFTYPE": "PATHLOSS"})), hdu]).writeto(path, overwrite=True)
    return path


def small(folder, shape=SHAPE, away=(1.5, 0.7), **keywords):
    """A slit with its WCS and a target so many pixels from its middle, and a table."""
    about = {
        "SUBSIZE1": 360,
        "SUBSIZE2": 400,
        "XOFFSET": 0.0,
        "YOFFSET": 0.0,
        "SRCTYAPT": "POINT",
        "NINTS": shape[0] if len(shape) == 3 else 1,
        **keywords,
    }
    exposure, refs = lrs.small(folder, False, shape=shape, **about)
    rng = np.random.default_rng(3)
    exposure.sci = rng.normal(50, 5, shape).astype(np.float32)
    for name in ("err", "var_poisson", "var_rnoise", "var_flat"):
        setattr(exposure, name, rng.uniform(0.5, 2, shape).astype(np.float32))
    exposure.dq = rng.choice([0, 0, 0, 0, dq.DO_NOT_USE, dq.JUMP_DET], shape).astype(np.uint32)
    exposure.sci[rng.random(shape) < 0.01] = np.nan
    assign_wcs.apply(exposure, refs, "lrs_slit")
    srctype.apply(exposure)
    x, y = np.array(pathloss_lrs._middle(exposure))
    ra, dec, _ = exposure.wcs(x + away[0], y, with_bounding_box=False)
    exposure.header["TARG_RA"], exposure.header["TARG_DEC"] = float(ra), float(dec)
    if away[1] is not None:
        exposure.header.sci["SRCXPOS"], exposure.header.sci["SRCYPOS"] = x + away[0], y + away[1]
    refs = refs.__class__({"pathloss": table(folder / "pathloss.fits")}, exposure.header)
    return exposure, refs


def test_factors_by_hand(tmp_path):
    exposure, refs = small(tmp_path)
    wavelength = exposure.pixels[0].extra["WAVELENGTH"].astype(float)
    before, flags = {name: plane.copy() for name, plane in exposure.pixels[0].planes()}, exposure.dq.copy()
    pathloss.apply(exposure, refs)
    expected = np.where((wavelength >= 6) & (wavelength <= 12), 1 + 0.02 * 1.5 + 0.01 * 0.7 * wavelength, np.nan)
    np.testing.assert_allclose(exposure.pixels[0].extra["PATHLOSS_PS"], expected, rtol=3e-7)
    good = np.isfinite(expected) & np.isfinite(before["sci"]) & (flags & dq.DO_NOT_USE == 0)
    assert good.sum() > 4000
    for name, plane in exposure.pixels[0].planes():
        if name != "dq":
            power = 2 if name.startswith("var") else 1
            np.testing.assert_allclose(plane[good], (before[name] * expected**power)[good], rtol=1e-6)
            assert np.isnan(plane[~good]).all()
    np.testing.assert_array_equal(exposure.dq, flags | np.where(good, 0, dq.DO_NOT_USE).astype(np.uint32))


def test_inverse_gives_it_back(tmp_path):
    exposure, refs = small(tmp_path)
    before = exposure.sci.copy(), exposure.var_flat.copy()
    pathloss.apply(exposure, refs)
    pathloss.apply(exposure, refs, inverse=True)
    good = np.isfinite(exposure.sci)
    np.testing.assert_allclose(exposure.sci[good], before[0][good], rtol=3e-7)
    np.testing.assert_allclose(exposure.var_flat[good], before[1][good], rtol=3e-7)


def test_offset_of_the_user(tmp_path):
    """A target 0.11 arcsec further across the slit is looked up there."""
    exposure, refs = small(tmp_path)
    scale = pathloss_lrs._scale(exposure)
    assert scale == pytest.approx(0.11, rel=0.02)
    wavelength = exposure.pixels[0].extra["WAVELENGTH"].astype(float)
    pathloss.apply(exposure, refs, user_slit_loc=0.11)
    got = exposure.pixels[0].extra["PATHLOSS_PS"]
    good = np.isfinite(got)
    np.testing.assert_allclose(got[good], (1 + 0.03 + 0.01 * (0.7 + 0.11 / scale) * wavelength)[good], rtol=1e-6)


def test_a_target_outside_the_aperture_is_told(tmp_path, caplog):
    exposure, refs = small(tmp_path, away=(40.0, 0.0))
    with caplog.at_level(logging.WARNING):
        pathloss.apply(exposure, refs)
    assert "the target, 40.00, 0.00 pixels from the slit's middle, is outside it: corrected as in the middle" in caplog.text
    np.testing.assert_array_equal(np.unique(exposure.pixels[0].extra["PATHLOSS_PS"][np.isfinite(exposure.sci)]), 1)


def test_what_is_not_corrected(tmp_path):
    exposure, refs = small(tmp_path)
    srctype.apply(exposure, source_type="EXTENDED")
    before = exposure.sci.copy()
    with pytest.raises(Skip, match="the source is EXTENDED"):
        pathloss.apply(exposure, refs)
    np.testing.assert_array_equal(exposure.sci, before)
    pathloss.apply(exposure, refs, source_type="point")  # the user knows better
    assert "PATHLOSS_PS" in exposure.pixels[0].extra


def test_bad_input(tmp_path):
    exposure, refs = small(tmp_path, away=(1.0, None))
    del exposure.header["TARG_RA"]
    with pytest.raises(InputError, match="TARG_RA is missing"):
        pathloss.apply(exposure, refs)
    exposure.pixels[0].extra["WAVELENGTH"][...] = np.nan
    with pytest.raises(InputError, match="no pixel has a wavelength"):
        pathloss.apply(exposure, refs)
    exposure.pixels[0].extra.pop("WAVELENGTH")
    exposure.wcs = None
    with pytest.raises(InputError, match="neither a gWCS nor an image of wavelengths"):
        pathloss.apply(exposure, refs)
    other, _ = small(tmp_path)
    with fits.open(tmp_path / "pathloss.fits", mode="update") as hdus:
        del hdus["PATHLOSS"].header["CDELT2"]
    with pytest.raises(ReferenceError, match="does not say where its axis 2 is"):
        pathloss.apply(other, {"pathloss": Reference("pathloss", tmp_path / "pathloss.fits", other.header)})


def test_wavelengths_in_any_order(tmp_path):
    exposure, refs = small(tmp_path)
    reverse, _ = small(tmp_path)
    pathloss.apply(exposure, refs)
    table(tmp_path / "reverse.fits", wavelengths=np.linspace(6, 12, 13))
    pathloss.apply(reverse, {"pathloss": Reference("pathloss", tmp_path / "reverse.fits", reverse.header)})
    np.testing.assert_array_equal(reverse.sci, exposure.sci)


def test_places_outside_have_no_spectrum():
    cube = np.arange(24.0).reshape(2, 3, 4)
    keywords = {"CRPIX1": 2.0, "CRVAL1": 0.0, "CDELT1": 0.5, "CRPIX2": 2.0, "CRVAL2": 0.0, "CDELT2": 1.0}
    np.testing.assert_allclose(slit_loss.at_place(cube, keywords, 0.25, -0.5, ""), [3.5, 15.5])
    for x, y in [(-0.6, 0), (1.0, 0), (0, 1.0), (0, -1.1), (np.nan, 0)]:
        assert slit_loss.at_place(cube, keywords, x, y, "") is None


@pytest.mark.parametrize("divide", [False, True])
def test_kernel_is_a_few_lines_of_numpy(divide):
    rng = np.random.default_rng(1)
    shape = 3, 7, 9
    planes = [rng.normal(5, 1, shape).astype(np.float32) for _ in range(3)]
    flags = rng.choice([0, 0, 0, 1, 4], shape).astype(np.uint32)
    planes[1][0, 2, 3] = np.nan
    factor = rng.uniform(1, 2, shape[1:])
    factor[4, 4] = np.nan
    expected = [p / f if divide else p * f for p, f in zip(planes, (factor, factor, factor**2), strict=True)]
    bad = np.isnan(expected).any(axis=0) | (flags & 1 > 0)
    marked = flags | bad.astype(np.uint32)
    scale_map.scale(planes[:2], planes[2:], flags, factor, factor**2, divide, 1)
    for plane, value in zip(planes, expected, strict=True):
        np.testing.assert_allclose(plane, np.where(bad, np.nan, value), rtol=1e-7)
    np.testing.assert_array_equal(flags, marked)


@pytest.mark.parametrize("across", [0.0, 0.08])
def test_light_that_a_slit_held_back_comes_back(files, across):
    """Injected truth: flux within 0.5 %."""
    star = Source(Spectrum(flux=0.02, slope=-1.0), along=0.6, across=across)
    made = simulate_lrs(files, sources=[star], noise=False)
    exposure, refs = made.exposure, made.refs
    assign_wcs.apply(exposure, refs, "lrs_slit")
    srctype.apply(exposure)
    path = made.truth.paths[0]
    x, y = pathloss_lrs._middle(exposure)
    exposure.header.sci["SRCXPOS"] = x + 0.6 / spectrograph.SCALE
    exposure.header.sci["SRCYPOS"] = y + float(np.median(path.offset)) / spectrograph.SCALE
    pathloss.apply(exposure, refs)
    photom.apply(exposure, refs, "spectra")
    wavelength = np.fmax.reduce(made.truth.wavelength, axis=1)
    rows = np.flatnonzero((wavelength > 5.6) & (wavelength < 12))
    flux = np.nansum(exposure.sci[rows].astype(float), axis=1) * exposure.header["PIXAR_SR"] * 1e6
    np.testing.assert_allclose(flux, star.spectrum(wavelength[rows]), rtol=5e-3)


PEER = """
from stdatamodels.jwst import datamodels
from jwst.assign_wcs.assign_wcs import load_wcs
from jwst.pathloss.pathloss import do_correction
for i, name in enumerate(rates):
    model = load_wcs(datamodels.open(str(name)), {"distortion": str(distortion), "specwcs": str(specwcs)})
    slit = datamodels.SlitModel(model)
    slit.meta.target.source_type = "POINT"
    user = None if np.isnan(users[i]) else float(users[i])
    result = do_correction(slit, datamodels.MirLrsPathlossModel(str(table)), user_slit_loc=user, return_corrections=False)
    for plane in ("data", "err", "dq", "var_poisson", "var_rnoise", "var_flat", "pathloss_point"):
        out[f"{i} {plane}"] = np.asarray(getattr(result, plane))
"""
NAMES = {"data": "sci", "err": "err", "dq": "dq", "var_poisson": "var_poisson", "var_rnoise": "var_rnoise", "var_flat": "var_flat"}


@pytest.mark.parity
@needs_peer
def test_as_the_peer(tmp_path):
    """A target in the slit, one of the user's, one outside, and integrations."""
    cases = [(SHAPE, (1.5, None), None), (SHAPE, (-3.0, None), 0.05), (SHAPE, (40.0, None), None), ((2, *SHAPE), (0.4, None), None)]
    rates, ours = [], []
    for number, (shape, away, user) in enumerate(cases):
        exposure, refs = small(tmp_path, shape, away)
        path = tmp_path / f"{number}.fits"
        pixels = exposure.pixels[0]
        planes = {"SCI": pixels.sci, "ERR": pixels.err, "DQ": pixels.dq}
        planes |= {name.upper(): getattr(pixels, name) for name in ("var_poisson", "var_rnoise", "var_flat")}
        head = exposure.header.primary.copy()
        head["DATAMODL"] = "CubeModel" if len(shape) == 3 else "ImageModel"
        hdus = [
            fits.PrimaryHDU(header=head),
            *(fits.ImageHDU(a, exposure.header.sci if n == "SCI" else None, name=n) for n, a in planes.items()),
        ]
        fits.HDUList(hdus).writeto(path)
        rates.append(str(path))
        ours.append(pathloss.apply(exposure, refs, user_slit_loc=user))
    given = {"distortion": str(next(tmp_path.glob("*distortion*"))), "specwcs": str(tmp_path / "specwcs.fits")}
    users = [np.nan if user is None else user for *_, user in cases]
    peers = peer_python(PEER, rates=rates, users=users, table=str(tmp_path / "pathloss.fits"), **given)
    for number, exposure in enumerate(ours):
        np.testing.assert_array_equal(exposure.dq, peers[f"{number} dq"])
        for theirs, mine in NAMES.items():
            if mine != "dq":
                np.testing.assert_allclose(getattr(exposure, mine), peers[f"{number} {theirs}"], rtol=1e-6)
        np.testing.assert_allclose(exposure.pixels[0].extra["PATHLOSS_PS"], peers[f"{number} pathloss_point"], rtol=1e-6)
