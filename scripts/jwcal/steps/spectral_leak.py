"""Take light of 6 micron out of a spectrum at 12 micron: the grating's second order, which a filter lets through."""

import logging

import numpy as np

from ..arithmetic.spectra_calibration.wavelengths import rising
from ..files.reference_file import understood
from ..model.exposure import Exposure
from ..vocabulary.errors import Skip

log = logging.getLogger(__name__)

TAKES = "results"
REFERENCES = ("mrsptcorr",)
LEAKING, LEAKED = ("1", "MEDIUM", 6.0), ("3", "SHORT", 12.0)  # channel, band, and a wavelength [micron] by which longer spectra have it
FLUXES = ("FLUX", "RF_FLUX")


def apply(spectra, refs):
    """Subtract what leaks, of the spectra of a point source.

    FLUX and RF_FLUX of channel 3, band SHORT, become less by those of channel 1, band MEDIUM, at half the wavelength, times the part that
    leaks. Spectra of several bands are taken where they have the wavelengths; which others there are does not matter.

    Parameters
    ----------
    spectra : list of Exposure
        Extracted spectra, with CHANNEL and BAND; that of channel 3 is changed.
    refs : References
        mrsptcorr: table LEAKCOR, the part that leaks by wavelength.

    Raises
    ------
    Skip
        One of the two is missing, or the source is extended.
    ReferenceError
        The reference does not tell the part.
    """
    if not all(isinstance(one, Exposure) and one.spectra for one in spectra):
        raise Skip("no spectra were extracted")
    for one in spectra:
        if any(spectrum.header.get("SRCTYPE", one.header.get("SRCTYPE")) == "EXTENDED" for spectrum in one.spectra):
            raise Skip("the leak is known for point sources, and this one is extended")
    source, target = _find(spectra, *LEAKING), _find(spectra, *LEAKED)
    for found, (channel, band, _) in ((source, LEAKING), (target, LEAKED)):
        if found is None:
            raise Skip(f"there is no spectrum of channel {channel}, band {band}")
    reference = refs["mrsptcorr"]
    with understood(reference.type, reference.path):
        table = reference.table("LEAKCOR")
        names = {name.lower(): name for name in table.dtype.names}
        at, part = rising(table[names["wavelength"]], table[names["frac_leak"]])
    wavelength = target["WAVELENGTH"].astype(float)
    leaks = np.interp(wavelength, at, part)
    for name in FLUXES:
        if name in source.dtype.names and name in target.dtype.names:
            known, flux = rising(source["WAVELENGTH"], source[name])
            leak = np.interp(wavelength, 2 * known, flux) * leaks
            target[name] -= leak
            log.info("%s: %.3g Jy leaked at most", name, np.nanmax(leak, initial=0))
    return spectra


def _find(spectra, channel, band, inside):
    """The table of a channel and band, or of several bands that have a wavelength; None where there is none."""
    found = None
    for one in spectra:
        if channel not in str(one.header.get("CHANNEL", "")) or not one.spectra:
            continue
        table, its = one.spectra[0].table, str(one.header.get("BAND", ""))
        known = table["WAVELENGTH"][np.isfinite(table["WAVELENGTH"])]
        if band in its or ("MULTIPLE" in its and known.size and known.min() < inside < known.max()):
            found = table
    return found
