"""Extracted and combined spectra: a table each, with keywords of its own. Spectrum n of a name has EXTVER n.

MultiSpecModel has a row a wavelength; TSOMultiSpecModel (a row an integration) and WFSSMultiSpecModel (a row a source) have vectors
in the columns. The WCS of a spectrum, if it has one, stands in `spec` of the ASDF extension, one entry a spectrum.
"""

import re
from collections import Counter

import numpy as np

from ..files import arrays, fitsio
from ..model.spectra import Spectrum
from . import stored

OF_COLUMNS = re.compile(r"TFIELDS|T(TYPE|FORM|DIM|NULL|SCAL|ZERO|DISP|BCOL)\d+")  # what describes the table, but for its units
UNIT = re.compile(r"TUNIT(\d+)")


def fill(exposure, hdus):
    """Give an exposure the spectra in its file.

    Parameters
    ----------
    exposure : Exposure
    hdus : HDUList
    """
    found = [hdu for hdu in hdus if hdu.name in arrays.SPECTRA]
    wcs = fitsio.asdf_tree(hdus, exposure.name, _wcs)
    for hdu in found:
        own = wcs[hdu.ver - 1] if hdu.ver <= len(wcs) else None
        exposure.spectra.append(Spectrum(_plain(hdu), _own_keywords(hdu, exposure.name), hdu.name, own))


def _wcs(tree):
    return [one.get("meta", {}).get("wcs") for one in tree.get("spec", [])]


def _plain(hdu):
    """A table as a structured array in the machine's byte order, text as it is in the file."""
    stored_as = np.asarray(hdu.data)
    texts = {name for name in hdu.data.names if stored_as.dtype[name].base.kind == "S"}
    columns = {name: stored_as[name] if name in texts else np.asarray(hdu.data[name]) for name in hdu.data.names}
    kinds = [(name, column.dtype.newbyteorder("="), column.shape[1:]) for name, column in columns.items()]
    table = np.empty(len(stored_as), kinds)
    for name, column in columns.items():
        table[name] = column
    return table


def _own_keywords(hdu, path):
    header = stored.clean(hdu.header, path)
    for keyword in [k for k in header if OF_COLUMNS.fullmatch(k)]:
        header.remove(keyword, ignore_missing=True, remove_all=True)
    return header


def hdus(exposure, filename):
    """The HDU list of an exposure's spectra; see `stored.hdus`."""
    numbers, made = Counter(), []
    for spectrum in exposure.spectra:
        numbers[spectrum.name] += 1
        made.append(_table(spectrum, numbers[spectrum.name]))
    wcs = [{} if spectrum.wcs is None else {"meta": {"wcs": spectrum.wcs}} for spectrum in exposure.spectra]
    return stored.put_together(exposure, filename, made, {"meta": {}, "spec": wcs} if any(wcs) else {})


def _table(spectrum, number):
    hdu = stored.table_hdu(spectrum.table, spectrum.name, number)
    for card in spectrum.header.cards:
        unit = UNIT.fullmatch(card.keyword)
        if unit:
            hdu.columns[int(unit[1]) - 1].unit = card.value
        else:
            hdu.header.append(card, end=True)
    return hdu
