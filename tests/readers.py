"""Spectra as users read them: with specutils, which jdaviz builds on."""

import warnings

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.nddata import StdDevUncertainty
from astropy.table import QTable
from specutils import Spectrum, SpectrumList

TABLES = {"x1d": "EXTRACT1D", "c1d": "COMBINE1D"}
ROWS_WANT = "SOURCE_TYPE"  # of which specutils 2.4.0 asks each row of a table; only those of wide fields have it


def spectra(path):
    """All spectra of a product: `Spectrum.read` where there is one, `SpectrumList.read` where there are several; no warning."""
    suffix = path.stem.rpartition("_")[2]
    if suffix == "x1dints":
        return list(_integrations(path))
    name = TABLES.get(suffix, "SCI")
    with fits.open(path) as hdus:
        found = [hdu for hdu in hdus if hdu.name == name]
        several = len(found) > 1 or suffix in TABLES and found[0].data["WAVELENGTH"].ndim == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return list(SpectrumList.read(path)) if several else [Spectrum.read(path)]


def _integrations(path):
    """Row by row: the library's own loader reads no time series, the peer's neither."""
    with pytest.raises(KeyError, match=ROWS_WANT):
        SpectrumList.read(path)
    with fits.open(path) as hdus:
        for hdu in hdus:
            if hdu.name == "EXTRACT1D":
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", units.UnitsWarning)  # DN/s, of the surface brightness of NIRISS's orders
                    rows = QTable.read(hdu)
                for row in rows:
                    yield Spectrum(row["FLUX"], row["WAVELENGTH"], uncertainty=StdDevUncertainty(row["FLUX_ERROR"]))


def check(path, unit=None):
    """A product opens, and holds what its extensions do; returns the spectra."""
    found, suffix = spectra(path), path.stem.rpartition("_")[2]
    assert found
    for one in found:
        assert one.spectral_axis.unit == units.micron and len(set(np.sign(np.diff(one.spectral_axis.value)))) == 1
        assert one.flux.unit.is_equivalent(units.Jy) or one.flux.unit.is_equivalent(units.Jy / units.sr)
        assert one.flux.unit == (unit or one.flux.unit)
        assert np.isfinite(one.flux.value).any()
        if suffix != "s2d":  # of which the library reads no errors
            assert one.uncertainty.array.shape == one.flux.shape
    if suffix in TABLES:
        with fits.open(path) as hdus:
            tables = [hdu for hdu in hdus if hdu.name == TABLES[suffix]]
            for hdu, one in zip(tables, found, strict=True) if hdus[1].data["WAVELENGTH"].ndim == 1 else ():
                column = "FLUX" if hdu.header["SRCTYPE"] == "POINT" else "SURF_BRIGHT"
                np.testing.assert_array_equal(one.flux.value, hdu.data[column])
                np.testing.assert_array_equal(one.spectral_axis.value, hdu.data["WAVELENGTH"])
    return found
