"""White light: sums of spectra over the wavelengths."""

import logging

import numpy as np

log = logging.getLogger(__name__)

ABOUT = {  # what the table of a light curve says of its exposure: {name: keyword}
    "instrument": "INSTRUME",
    "exp_type": "EXP_TYPE",
    "subarray": "SUBARRAY",
    "filter": "FILTER",
    "pupil": "PUPIL",
    "target_name": "TARGNAME",
}


def flux_of_each(tables, low, high, replace=True):
    """The sum of each integration's fluxes.

    A flux that is not known is that of the mean spectrum, scaled by what the integration's known fluxes have in it: a part of the light
    that is missing is then no dip.

    Parameters
    ----------
    tables : list of structured ndarray
        One a segment: WAVELENGTH and FLUX, (int, along).
    low, high : float
        Wavelengths, inclusive [micron].
    replace : bool
        False: what is not known is missing.

    Returns
    -------
    list of float64 (int,)
        NaN where no flux is known.
    """
    fluxes = []
    for table in tables:
        wavelength = table["WAVELENGTH"]
        fluxes.append(np.where((wavelength >= low) & (wavelength <= high), table["FLUX"], np.nan))
    alike = len({flux.shape[1] for flux in fluxes}) == 1
    sums = []
    whole = _mean(np.concatenate(fluxes)) if alike else None
    for flux in fluxes:
        known = np.isfinite(flux)
        total = np.where(known, flux, 0).sum(axis=1)
        total[~known.any(axis=1)] = np.nan
        if replace and not known.all():
            mean = whole if alike else _mean(flux)
            seen = np.where(known, mean, 0).sum(axis=1)
            factor = np.divide(mean.sum(), seen, out=np.ones_like(seen), where=seen * mean.sum() > 0)
            lost = int((factor != 1).sum())
            if lost:
                log.info("%d integrations have fluxes that were replaced", lost)
            total *= factor
        sums.append(total)
    return sums


def _mean(flux):
    """The mean spectrum: 0 where no integration has a flux."""
    known = np.isfinite(flux)
    count = known.sum(axis=0)
    return np.divide(np.where(known, flux, 0).sum(axis=0), count, out=np.zeros(flux.shape[1]), where=count > 0)
