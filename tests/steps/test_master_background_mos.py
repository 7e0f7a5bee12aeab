"""The background of the shutter array: made of the slitlets on empty sky, and taken from all as the detector saw it."""

import numpy as np
import pytest

import nirspec
from jwcal.arithmetic.spectra_calibration import background_spectrum, shutter_background
from jwcal.model.references import References
from jwcal.simulate.nirspec import examples, write_msa, write_references
from jwcal.steps import assign_wcs, barshadow, extract_2d, flat_field, master_background_mos, pathloss, photom, srctype
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import Skip
from nirspec import needs_real

pytestmark = [needs_real, pytest.mark.full]  # real optics and full frames: a minute
SKY = 0.7  # MJy/sr at 2.5 micron


def sky(wavelength):
    return SKY * (wavelength / 2.5) ** -0.5


@pytest.fixture(scope="module")
def slits(tmp_path_factory):
    """Slitlets of every kind with no light in them, and the references."""
    folder = tmp_path_factory.mktemp("background")
    files = write_references(folder, mode="mos", real=nirspec.REAL)
    write_msa(folder / nirspec.SHUTTERS["MSAMETFL"], examples(None, None), configuration=nirspec.SHUTTERS["MSAMETID"])
    exposure = nirspec.exposure(data=np.zeros((2048, 2048), np.float32), **nirspec.SHUTTERS, EFFEXPTM=100.0)
    exposure.header.name = str(folder / "made_rate.fits")
    exposure.only.dq[:] = 0
    for name in ("err", "var_poisson", "var_rnoise"):
        setattr(exposure.only, name, np.full((2048, 2048), 1e-4, np.float32))
    refs = References(files, exposure.header)
    cut = extract_2d.apply(assign_wcs.apply(exposure, refs, "nrs_shutters"), refs, "slits")
    return srctype.apply(cut, None, "shutters"), refs


def lit(slits, light=sky):
    """A copy of the slitlets, uniformly lit: as the reference of each step says that the light comes to the detector."""
    exposure, refs = slits
    made = exposure.derive([shutter_background._copied(pixels) for pixels in exposure.pixels], exposure.suffix)
    at = np.linspace(0.5, 5.6, 2000)
    seen = shutter_background.as_seen(made, refs, background_spectrum.Background(at, light(at)))
    for slit, its in zip(made.slits(), seen.pixels, strict=True):
        slit.sci[:] = np.nan_to_num(its.sci)
    return made, refs


def test_a_smooth_sky_is_gone(slits):
    exposure, refs = lit(slits)
    before = [pixels.sci.copy() for pixels in exposure.pixels]
    given = {"sigma_clip": None, "save_background": True}  # without noise the least difference is far beyond the others
    exposure, by_wavelength, on_pixels, spectra = master_background_mos.apply(exposure, refs, **given)
    table = by_wavelength.spectra[0].table
    inside = (table["WAVELENGTH"] > 0.7) & (table["WAVELENGTH"] < 5.2)
    np.testing.assert_allclose(table["SURF_BRIGHT"][inside], sky(table["WAVELENGTH"][inside]), rtol=2e-3)
    assert len(spectra.spectra) == 2 and [new.suffix for new in (by_wavelength, on_pixels, spectra)] == [
        "masterbg1d",
        "masterbg2d",
        "bkgx1d",
    ]
    for slit, was in zip(exposure.slits(), before, strict=True):
        wavelength = slit.extra["WAVELENGTH"]
        good = (slit.dq & dq.DO_NOT_USE == 0) & (wavelength > 0.7) & (wavelength < 5.2)
        assert good.sum() > 2000
        assert np.abs(slit.sci[good]).max() < 4e-3 * was[good].max()


def test_adding_it_gives_it_back(slits):
    exposure, refs = lit(slits)
    before = [pixels.sci.copy() for pixels in exposure.pixels]
    _, shown, *_ = master_background_mos.apply(exposure, refs, save_background=True)
    table = shown.spectra[0].table
    seen = shutter_background.as_seen(exposure, refs, background_spectrum.Background(table["WAVELENGTH"], table["SURF_BRIGHT"]))
    for slit, its, was in zip(exposure.slits(), seen.pixels, before, strict=True):
        good = np.isfinite(its.sci)
        np.testing.assert_allclose((slit.sci + its.sci)[good], was[good], rtol=1e-5, atol=1e-6 * was.max())


def test_extended_light_is_what_it_is(slits):
    """Uniform light of a slitlet, through all steps: its brightness wherever enough of it arrives."""
    exposure, refs = lit(slits)
    for apply, given in ((flat_field.apply, {"kind": "shutters"}), (pathloss.apply, {"kind": "shutters"}), (barshadow.apply, {})):
        apply(exposure, refs, **given)
    photom.apply(exposure, refs, "shutters")
    extended = [slit for slit in exposure.slits() if slit.header["SRCTYPE"] == "EXTENDED"]
    assert len(extended) == 5
    for slit in extended:
        wavelength = slit.extra["WAVELENGTH"]
        good = np.isfinite(slit.sci) & (wavelength > 0.7) & (wavelength < 5.2)
        assert good.sum() > 2000
        np.testing.assert_allclose(slit.sci[good], sky(wavelength[good]), rtol=1e-4)


def test_where_there_is_none(slits):
    exposure, refs = lit(slits)
    exposure.steps["bkg_subtract"] = ("COMPLETE", "")
    with pytest.raises(Skip, match="was subtracted already"):
        master_background_mos.apply(exposure, refs)
    master_background_mos.apply(exposure, refs, force_subtract=True)
    exposure, refs = lit(slits)
    for pixels in exposure.pixels:
        pixels.header["SRCNAME"] = "1234_1"
    with pytest.raises(Skip, match="of 8 slitlets 0 are on empty sky"):
        master_background_mos.apply(exposure, refs)
