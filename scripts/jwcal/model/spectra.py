"""Extracted spectra, as an exposure holds them: `exposure.spectra` is a list of these."""

from dataclasses import dataclass, field

import numpy as np
from astropy.io import fits


@dataclass
class Spectrum:
    """The spectra of one source, slit or spectral order: one table extension of a product.

    Attributes
    ----------
    table : structured ndarray
        A row a wavelength (WAVELENGTH, FLUX, FLUX_ERROR... as in the archive), or, where a table holds many spectra, a row a
        spectrum with vectors in the columns.
    header : fits.Header
        Its own keywords: SLTNAME, SRCTYPE, SOURCEID, SPORDER, EXTRXSTR... and the units of the columns, TUNITn.
    name : str
        Of the extension: "EXTRACT1D", or "COMBINE1D" of combined spectra.
    """

    table: np.ndarray
    header: fits.Header = field(default_factory=fits.Header)
    name: str = "EXTRACT1D"
