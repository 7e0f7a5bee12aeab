"""The calibration of NIRSpec's slits: flats, slit losses, shadows, flux and wavelengths; by hand, and the peer on the same files."""

import numpy as np
import pytest

import nirspec_slits as kit
from jwcal.arithmetic.spectra_calibration import bar_shadow
from jwcal.arithmetic.spectra_calibration.wavelengths import uncorrected
from jwcal.kernels.spectra.mean_over_pixel import mean_over_pixel
from jwcal.kernels.spectra.planes_at_wavelength import planes_at_wavelength
from jwcal.products import stored
from jwcal.run import one_step
from jwcal.settings import chains
from jwcal.settings.chains import Save
from jwcal.settings.recipe import Recipe
from jwcal.steps import barshadow, flat_field, pathloss, photom, srctype, wavecorr
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import ConfigError, ReferenceError, Skip
from jwcal.vocabulary.reference_types import as_for
from peer import needs_peer


@pytest.mark.parity
@needs_peer
def test_fixed_slits_like_the_peer(tmp_path):
    files = kit.references(tmp_path)
    steps = [("srctype", {}), ("wavecorr", {}), ("flat_field", {}), ("pathloss", {}), ("photom", {})]
    exposure = kit.exposure()
    theirs = kit.peer(tmp_path, exposure, files, steps)
    refs = kit.of(files, exposure)
    srctype.apply(exposure, None, "primary")
    wavecorr.apply(exposure, refs)
    flat_field.apply(exposure, refs, "slits", True)
    pathloss.apply(exposure, refs, "slits")
    photom.apply(exposure, refs, "slits", keep_both=True)
    kit.same(exposure, theirs)


@pytest.mark.parity
@needs_peer
def test_shutters_like_the_peer(tmp_path):
    files = kit.references(tmp_path, shutters=True)
    steps = [("srctype", {}), ("flat_field", {}), ("pathloss", {}), ("barshadow", {}), ("photom", {})]
    exposure = kit.exposure(shutters=True)
    theirs = kit.peer(tmp_path, exposure, files, steps)
    refs = kit.of(files, exposure)
    srctype.apply(exposure, None, "shutters")
    flat_field.apply(exposure, refs, "shutters")
    pathloss.apply(exposure, refs, "shutters")
    barshadow.apply(exposure, refs, least_light=0.0)
    photom.apply(exposure, refs, "shutters")
    kit.same(exposure, theirs)


@pytest.mark.parity
@needs_peer
def test_series_like_the_peer(tmp_path):
    files = kit.references(tmp_path)
    steps = [("srctype", {}), ("wavecorr", {}), ("flat_field", {}), ("photom", {})]
    exposure = kit.exposure(ints=3, names=("S1600A1",), EXP_TYPE="NRS_BRIGHTOBJ", FXD_SLIT="S1600A1", TSOVISIT=True, NINTS=3)
    theirs = kit.peer(tmp_path, exposure, files, steps)
    refs = kit.of(files, exposure)
    srctype.apply(exposure, None, "", "POINT", "PATTTYPE", True)
    with pytest.raises(Skip):
        wavecorr.apply(exposure, refs)
    flat_field.apply(exposure, refs, "slits")
    photom.apply(exposure, refs, "slits")
    kit.same(exposure, theirs)


def calibrated(folder, shutters=False, **given):
    """An exposure through all steps, and its references."""
    files = kit.references(folder, shutters, **given)
    exposure = kit.exposure(shutters)
    refs = kit.of(files, exposure)
    srctype.apply(exposure, None, "shutters" if shutters else "primary")
    return exposure, refs


def test_a_table_is_averaged_over_the_pixels():
    """Against an integral by 2001 points: a table that is a parabola is what three points integrate exactly, up to its kinks."""
    at = np.linspace(0, 10, 4001)
    wavelength, step = np.array([[1.0, 2.5, 9.99, np.nan, 11.0]]), np.full((1, 5), 0.5)
    mean, error = mean_over_pixel(wavelength, step, at, at**2, 0.1 * at)
    fine = [np.mean((w + np.linspace(-0.25, 0.25, 2001)) ** 2) for w in (1.0, 2.5)]
    np.testing.assert_allclose(mean[0, :2], fine, rtol=1e-4)
    assert np.isnan(mean[0, 2:]).all()
    np.testing.assert_allclose(error[0, :3], 0.1 * wavelength[0, :3])


def test_planes_are_linear_between_their_wavelengths():
    rng = np.random.default_rng(1)
    at, cube = np.array([1.0, 2.0, 4.0]), rng.normal(size=(3, 6, 7)).astype(np.float32)
    wavelength = rng.uniform(0.5, 4.5, (6, 7))
    wavelength[0, :3] = at
    value, weight, below = planes_at_wavelength(wavelength, at, cube)
    for y, x in np.ndindex(6, 7):
        k = 0 if wavelength[y, x] < 2 else 1
        p = (wavelength[y, x] - at[k]) / (at[k + 1] - at[k])
        assert value[y, x] == pytest.approx((1 - p) * cube[k, y, x] + p * cube[k + 1, y, x], abs=1e-6)


def test_flat_by_hand(tmp_path):
    """Where tables and images are smooth the flat is their product at the wavelength."""
    exposure, refs = calibrated(tmp_path)
    wavelength = exposure.pixels[1].extra["WAVELENGTH"].astype(float)
    before = exposure.pixels[1].sci.copy()
    _, flat = flat_field.apply(exposure, refs, "slits", True, save_interpolated_flat=True)
    assert (
        flat.suffix == "interpolatedflat" and "FLATFIELD_PS" in exposure.pixels[0].extra and "FLATFIELD_PS" not in exposure.pixels[1].extra
    )
    good = np.isfinite(exposure.pixels[1].sci)
    np.testing.assert_allclose(exposure.pixels[1].sci[good], (before / flat.pixels[1].sci)[good], rtol=1e-6)
    assert 0.5 < good.mean() < 0.95
    dark = np.isnan(wavelength) | (wavelength > 5.0) | (wavelength < 0.62)
    assert (exposure.pixels[1].dq[dark] & dq.DO_NOT_USE != 0).all()


def test_a_flat_that_was_saved_is_taken_again(tmp_path):
    exposure, refs = calibrated(tmp_path)
    again = kit.exposure()
    exposure, flat = flat_field.apply(exposure, refs, "slits", True, save_interpolated_flat=True)
    flat.recipe = Recipe("spec2", [Save({"rate": "interpolatedflat"})])
    stored.write(flat, tmp_path / "a_interpolatedflat.fits")
    flat_field.apply(again, kit.of({}, again), "slits", user_supplied_flat=str(tmp_path / "a_interpolatedflat.fits"))
    for one, other in zip(exposure.pixels, again.pixels, strict=True):
        np.testing.assert_array_equal(one.sci, other.sci)
        np.testing.assert_array_equal(one.dq, other.dq)
    few = kit.exposure(names=kit.SLITS[:2])
    with pytest.raises(ConfigError, match="3 flats, the exposure 2 slits"):
        flat_field.apply(few, refs, "slits", user_supplied_flat=str(tmp_path / "a_interpolatedflat.fits"))


@pytest.mark.parametrize("shutters", [False, True])
def test_the_inverse_gives_it_back(tmp_path, shutters):
    kind = "shutters" if shutters else "slits"
    exposure, refs = calibrated(tmp_path, shutters)
    before = [pixels.sci.copy() for pixels in exposure.pixels]
    for inverse in (False, True):
        steps = [flat_field.apply, pathloss.apply, photom.apply]
        for apply in steps[:: -1 if inverse else 1]:
            apply(exposure, refs, kind, inverse=inverse)
    for pixels, sci in zip(exposure.pixels, before, strict=True):
        good = np.isfinite(pixels.sci)
        assert good.mean() > 0.5
        np.testing.assert_allclose(pixels.sci[good], sci[good], rtol=1e-6)


def test_shadows_that_leave_no_light(tmp_path):
    """A slitlet of uniform light: rows at its ends get 0.02 of it. Divided by that, as in jwst, their noise is 50 times that of others."""
    files = kit.references(tmp_path, shutters=True)
    spread = {}
    for least in (0.0, 0.2):
        exposure = kit.exposure(shutters=True)
        refs = kit.of(files, exposure)
        shadow = bar_shadow.read(refs["barshadow"])
        extended = [slit for slit in exposure.slits() if slit.header["SRCTYPE"] == "EXTENDED"][-1]  # the one with nothing open above it
        light = bar_shadow.on_pixels(extended, shadow, extended.header["SHUTSTA"])
        extended.sci[:] = 100 * light + np.random.default_rng(2).normal(0, 1, light.shape)
        extended.err[:], extended.dq[:] = 1, 0
        barshadow.apply(exposure, refs, least_light=least)
        spread[least] = np.nanstd(extended.sci)
        lost = np.isnan(extended.sci)
        assert extended.sci[~lost].mean() == pytest.approx(100, abs=1)
        np.testing.assert_array_equal(lost, light < least)
        np.testing.assert_array_equal(extended.dq[lost], dq.DO_NOT_USE)
        assert extended.header["BARSHDW"] is True and [slit.header["BARSHDW"] for slit in exposure.slits()].count(False) == 3
    assert spread[0.0] > 10 and spread[0.2] < 2


def test_a_shadow_of_another_size(tmp_path):
    exposure, refs = calibrated(tmp_path, shutters=True)
    kit.barshadow(tmp_path, rows=801)
    with pytest.raises(ReferenceError, match=r"DATA1X1 of the barshadow reference has 801 x 101 pixels; two pitches of 500 rows"):
        barshadow.apply(exposure, kit.of({"barshadow": str(tmp_path / "barshadow.fits")}, exposure))


def test_the_flux_of_uniform_light_has_the_factor_of_time(tmp_path):
    """The peer's PHOTOM_UN lacks it, so that a background that goes from one to the other comes out wrong by it: 14 % here."""
    exposure, refs = calibrated(tmp_path)
    exposure.header["EXPMID"] = 60000.0
    kit.photom(tmp_path, timed=True)
    refs = kit.of({"photom": str(tmp_path / "photom_timed.fits"), "area": refs["area"].path}, exposure)
    photom.apply(exposure, refs, "slits", keep_both=True)
    point, uniform = (exposure.pixels[0].extra[name] for name in ("PHOTOM_PS", "PHOTOM_UN"))
    good = point > 0
    np.testing.assert_allclose(point[good] / uniform[good], exposure.pixels[0].header["PIXAR_SR"], rtol=1e-6)
    np.testing.assert_allclose(exposure.pixels[0].header["PHOTMJSR"], 3e-9 / (1 - 0.05 * 1000 / 365), rtol=1e-5)


@pytest.mark.parity
@needs_peer
def test_the_peers_flux_of_uniform_light(tmp_path):
    exposure, refs = calibrated(tmp_path)
    kit.photom(tmp_path, timed=True)
    files = {"photom": str(tmp_path / "photom_timed.fits"), "area": refs["area"].path}
    theirs = kit.peer(tmp_path, exposure, files, [("photom", {})])
    photom.apply(exposure, kit.of(files, exposure), "slits", keep_both=True)
    kit.same(exposure, theirs, ignore=("PHOTOM_UN",))
    uniform = exposure.pixels[0].extra["PHOTOM_UN"]
    good = uniform > 0
    np.testing.assert_allclose(uniform[good] / theirs[0]["PHOTOM_UN"][good], 1 / (1 - 0.05 * 1000 / 365), rtol=1e-5)


def test_what_a_reference_does_not_have(tmp_path, caplog):
    exposure, refs = calibrated(tmp_path)
    for pixels in exposure.pixels:
        pixels.header["SLTNAME"] = "S200B1"
    with pytest.raises(ReferenceError, match="FAST_VARIATION has no row for the slit S200B1, only S200A1, S400A1, S1600A1"):
        flat_field.apply(exposure, refs, "slits")
    with pytest.raises(Skip, match="no slit has an aperture"):
        pathloss.apply(exposure, refs, "slits")
    with pytest.raises(Skip, match="no row for its optical elements and slits"):
        photom.apply(exposure, refs, "slits")
    with pytest.raises(Skip, match="neither fflat, sflat nor dflat"):
        flat_field.apply(exposure, kit.of({}, exposure), "slits")
    assert all(np.nanmean(pixels.sci) == pytest.approx(50, abs=1) for pixels in exposure.pixels)


# SHUTSTA -> shutters of the aperture, and how far its source is from the middle of that
LOSSES = {"x": (1, 0), "x1": (3, -1), "1x": (3, 1), "1x1": (3, 0), "11x11": (3, 0), "x1111": (3, -1), "1111x": (3, 1), "10x01": (1, 0)}


def test_losses_of_slitlets_of_any_number_of_shutters(tmp_path):
    """A source has light on both its sides, on one, or on none; two shutters have of even light the mean of one and of three."""
    for state, (size, off) in LOSSES.items():
        exposure = kit.exposure(shutters=True)
        refs = kit.of(kit.references(tmp_path, shutters=True), exposure)
        for pixels in exposure.pixels:
            pixels.header.update({"SHUTSTA": state, "SRCTYPE": "POINT"})
        pathloss.apply(exposure, refs, "shutters")
        wavelength = exposure.pixels[0].extra["WAVELENGTH"].astype(float)
        good = (wavelength > 0.62) & (wavelength < 5.0)
        number, x, y = (1 if size == 1 else 2), 0.13, -0.11 + off
        point = 0.9 - 0.02 * wavelength - 0.5 * x**2 - 0.1 * (y - 0.05 * number) ** 2
        uniform = 0.95 - 0.01 * (1.5 if len(state) == 2 else number) - 0.01 * wavelength
        for pixels in exposure.pixels:
            assert pixels.header["PTHLOSS"] == "POINT", state
        np.testing.assert_allclose(exposure.pixels[0].extra["PATHLOSS_PS"][good], point[good], atol=2e-3, err_msg=state)
        np.testing.assert_allclose(exposure.pixels[0].extra["PATHLOSS_UN"][good], uniform[good], atol=1e-4, err_msg=state)


@pytest.mark.parametrize("shutters", [False, True])
def test_what_is_not_known_is_nan_everywhere_and_flagged(tmp_path, shutters):
    """No pixel stays at its counts beside others in MJy, where a reference does not reach; none has a flux without an error."""
    exposure, refs = calibrated(tmp_path, shutters)
    kind = "shutters" if shutters else "slits"
    for apply in (flat_field.apply, pathloss.apply, photom.apply):
        apply(exposure, refs, kind)
    for pixels in exposure.pixels:
        lost = np.isnan(pixels.sci)
        assert 0.02 < lost.mean() < 0.5
        for name, plane in pixels.planes():
            np.testing.assert_array_equal(np.isnan(plane) if name != "dq" else plane & dq.DO_NOT_USE != 0, lost, err_msg=name)
        wavelength = pixels.extra["WAVELENGTH"]
        assert lost[~((wavelength > 0.62) & (wavelength < 5.1))].all()
        assert np.nanmax(np.abs(pixels.sci)) < 5 * np.nanmedian(pixels.sci)


def test_a_source_outside_its_slit_is_left_alone(tmp_path, caplog):
    exposure, refs = calibrated(tmp_path)
    exposure.pixels[0].header["SRCXPOS"] = 0.7
    before = exposure.pixels[0].sci.copy()
    pathloss.apply(exposure, refs, "slits")
    assert "slit S200A1: the source at 0.700, -0.110 is outside it, it is not corrected" in caplog.text
    np.testing.assert_array_equal(exposure.pixels[0].sci, before)
    assert exposure.pixels[1].header["PTHLOSS"] == "UNIFORM" and "PTHLOSS" not in exposure.pixels[0].header


def test_an_area_that_is_not_known(tmp_path, caplog):
    """The peer takes an area of 1 sr, and calls the result MJy/sr."""
    exposure, refs = calibrated(tmp_path, shutters=True)
    exposure.pixels[1].about["xcen"] = 300
    photom.apply(exposure, refs, "shutters")
    assert "0 rows for quadrant 2, shutter_x 300, shutter_y 3" in caplog.text
    assert exposure.pixels[1].header["BUNIT"] == "MJy" and "PIXAR_SR" not in exposure.pixels[1].header


def test_types_of_slits():
    exposure = kit.exposure()
    srctype.apply(exposure, None, "primary", source_type="EXTENDED")
    assert [slit.header["SRCTYPE"] for slit in exposure.slits()] == ["EXTENDED"] * 3
    assert exposure.pixels[0].header["SRCXPOS"] == 0 and exposure.pixels[1].header["SRCXPOS"] == 0.13
    exposure.header["FXD_SLIT"] = "S400A1"
    srctype.apply(exposure, None, "primary")
    assert [slit.header["SRCTYPE"] for slit in exposure.slits()] == ["EXTENDED", "POINT", "EXTENDED"]
    many = kit.exposure(shutters=True)
    srctype.apply(many, None, "shutters")
    assert [slit.header["SRCTYPE"] for slit in many.slits()] == ["POINT", "EXTENDED", "POINT", "EXTENDED", "POINT"]


def test_wavelengths_of_a_source_beside_the_middle(tmp_path):
    """Moved by 2 pixels times its place, more towards the red; those of uniform light can still be had."""
    exposure, refs = calibrated(tmp_path)
    slit = next(exposure.slits())
    before = slit.extra["WAVELENGTH"].astype(float)
    wavecorr.apply(exposure, refs)
    moved = slit.extra["WAVELENGTH"] - before
    width = np.gradient(before, axis=1)
    good = np.isfinite(moved) & np.isfinite(width)
    np.testing.assert_allclose((moved / width)[good], (2 * 0.13 * (1 + 0.1 * before))[good], rtol=0.02)
    y, x = np.indices(slit.sci.shape, dtype=float)
    np.testing.assert_allclose(uncorrected(slit)[good], before[good], atol=1e-6)
    assert slit.header["WAVECOR"] is True and exposure.pixels[1].header["WAVECOR"] is False
    np.testing.assert_allclose(slit.wcs(x, y)[2][good], slit.extra["WAVELENGTH"][good], atol=1e-6)


def test_fixed_slits_among_shutters_are_calibrated_as_in_their_own_mode(tmp_path):
    """The chain of shutters does to a fixed slit what the chain of fixed slits does, and to shutters the same with or without one."""
    shutters, slits = (kit.exposure(shutters=is_array) for is_array in (True, False))
    mixed = kit.exposure(shutters=True)
    mixed.pixels += kit.exposure().pixels
    (tmp_path / "mos").mkdir(), (tmp_path / "fs").mkdir()
    of_shutters, of_slits = kit.references(tmp_path / "mos", True), kit.references(tmp_path / "fs")
    calibrated = {}
    for name, exposure, files in (
        ("mixed", mixed, of_shutters | {as_for(kind, "NRS_FIXEDSLIT"): path for kind, path in of_slits.items()}),
        ("shutters", shutters, of_shutters),
        ("slits", slits, of_slits),
    ):
        chain = chains.chain("spec2", exposure.header)
        recipe, refs = Recipe("spec2", list(chain.entries)), kit.of(files, exposure)
        for step in chain.steps:
            if step.name in ("wavecorr", "flat_field", "pathloss", "barshadow", "photom"):
                (exposure,) = one_step.apply(step, exposure, refs, recipe)
        calibrated[name] = exposure
    assert len(calibrated["mixed"].pixels) == len(kit.SHUTTERS) + len(kit.SLITS)
    for one, other in zip(calibrated["mixed"].pixels, calibrated["shutters"].pixels + calibrated["slits"].pixels, strict=True):
        assert one.extra.keys() == other.extra.keys() and one.header.get("PHOTMJSR") == other.header.get("PHOTMJSR")
        for (_, mine), (_, its) in zip(one.planes(), other.planes(), strict=True):
            np.testing.assert_array_equal(mine, its)
    assert {status for status, _ in calibrated["mixed"].steps.values()} == {"COMPLETE"}
    assert calibrated["mixed"].references["fflat"].endswith("mos/fflat.fits")
