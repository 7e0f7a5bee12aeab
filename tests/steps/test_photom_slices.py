"""photom of the mid-infrared spectrometer: a map of factors, and the sensitivity that falls with the years, by channel and wavelength."""

import numpy as np
import pytest

import make
import mrs
from jwcal.steps import assign_wcs, photom
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import InputError, ReferenceError

MJD = 60500.0


def exposure(folder):
    made, refs = mrs.small(folder, EXPMID=MJD)
    assign_wcs.apply(made, refs, "mrs")
    pixels = made.pixels[0]
    pixels.sci = np.full(mrs.SHAPE, 10, np.float32)
    pixels.err, pixels.var_poisson, pixels.var_rnoise = (np.ones(mrs.SHAPE, np.float32) for _ in range(3))
    pixels.dq = np.zeros(mrs.SHAPE, np.uint32)
    return made


def law(table):
    return (MJD - table["t0"] + table["tsoft"]) ** table["alpha"] / ((365 + table["tsoft"]) ** table["alpha"] / table["year1value"])


def content(**more):
    factor = np.linspace(1, 2, np.prod(mrs.SHAPE)).reshape(mrs.SHAPE)
    factor[3, 12] = np.nan
    about = {"PHOTMJSR": 1.5, "PIXAR_SR": 2e-12, "PIXAR_A2": 0.09}
    return {"SCI": factor.astype("f4"), "DQ": np.zeros(mrs.SHAPE, "u4"), **about, **more}


def test_a_map_of_factors(tmp_path):
    made, given = exposure(tmp_path), content()
    given["DQ"][5, 13], given["DQ_DEF"] = 1, make.dq_def(DO_NOT_USE=1)
    refs = make.references(tmp_path, made, photom=given)
    photom.apply(made, refs, "slices")
    good = np.isfinite(given["SCI"]) & (given["DQ"] == 0)
    np.testing.assert_allclose(made.sci[good], 10 * given["SCI"][good], rtol=3e-7)
    np.testing.assert_allclose(made.var_poisson[good], given["SCI"][good] ** 2, rtol=3e-7)
    assert np.isnan(made.sci[~good]).all() and (made.dq[~good] & dq.DO_NOT_USE).all() and not made.dq[good].any()
    assert [made.header[key] for key in ("PHOTMJSR", "PIXAR_SR", "PIXAR_A2", "BUNIT")] == [1.5, 2e-12, 0.09, "MJy/sr"]


def test_sensitivity_by_channel_and_wavelength(tmp_path):
    """Each channel has its law; linear between the wavelengths and beyond; never above 1; undone by its inverse."""
    made = exposure(tmp_path)
    tables = {f"TIMECOEFF_POWERLAW_CH{n}": mrs.aging(n) for n in (1, 2)}
    tables["TIMECOEFF_POWERLAW_CH2"]["year1value"][0] = 3
    tables["TIMECOEFF_POWERLAW_CH1"]["binwave"] = [5.05, 5.1, 5.2, 5.25, 5.3]  # the slices go on beyond
    given = content(**tables)
    refs = make.references(tmp_path, made, photom=given)
    before = made.sci.copy()
    photom.apply(made, refs, "slices")
    y, x = np.mgrid[: mrs.SHAPE[0], : mrs.SHAPE[1]].astype(float)
    for number, first in mrs.FIRST_COLUMN.items():
        here = np.s_[4:38, first : first + 7]
        wavelength, table = mrs.by_hand(x, y, number)[2][here], tables[f"TIMECOEFF_POWERLAW_CH{number // 100}"]
        at, value = table["binwave"].astype(float), np.minimum(law(table), 1).astype(float)
        part = np.interp(wavelength, at, value)
        below, above = wavelength < at[0], wavelength > at[-1]
        part[below] = (value[0] + (wavelength - at[0]) * (value[1] - value[0]) / (at[1] - at[0]))[below]
        part[above] = (value[-1] + (wavelength - at[-1]) * (value[-1] - value[-2]) / (at[-1] - at[-2]))[above]
        np.testing.assert_allclose(made.sci[here], 10 * given["SCI"][here] / part, rtol=1e-6)
    photom.apply(made, refs, "slices", inverse=True)
    good = np.isfinite(made.sci)
    np.testing.assert_allclose(made.sci[good], before[good], rtol=1e-6)
    assert made.header["BUNIT"] == "DN/s"
    photom.apply(made, refs, "slices", apply_time_correction=False)
    np.testing.assert_allclose(made.sci[good], (10 * given["SCI"])[good], rtol=1e-6)


def test_bad_input(tmp_path):
    made = exposure(tmp_path)
    refs = make.references(tmp_path, made, photom=content(TIMECOEFF_POWERLAW_CH1=mrs.aging(1)))
    with pytest.raises(ReferenceError, match="it has no table TIMECOEFF_POWERLAW_CH2"):
        photom.apply(made, refs, "slices")
    made.wcs = None
    with pytest.raises(InputError, match="its WCS has no slices"):
        photom.apply(made, refs, "slices")
