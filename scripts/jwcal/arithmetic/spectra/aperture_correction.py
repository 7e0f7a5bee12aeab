"""What an aperture misses of a point source's light."""

import numpy as np

from ...files.reference_file import another, understood
from ...vocabulary.errors import ReferenceError

# a row is found by those of these columns that the table has
COLUMNS = {"filter": "FILTER", "pupil": "PUPIL", "grating": "GRATING", "subarray": "SUBARRAY"}
UNIT = "SIZEUNIT"  # of the sizes: pixels or arcsec
MIDDLE = 0.5  # of a pixel: where a source is, for tables that tell its phase


def aperture_correction(reference, header, slit, wavelength, size, scale):
    """The factor by which a point source's flux is larger than the sum.

    Parameters
    ----------
    reference : Reference
        apcorr: table APCORR.
    header : exposure.Header
        For the optical elements.
    slit : str
        Its name.
    wavelength : ndarray (along,)
        micron.
    size : ndarray (..., along)
        Pixels across the aperture.
    scale : callable
        () -> arcsec a pixel; asked where the table's sizes are in arcsec.

    Returns
    -------
    ndarray (..., along)
        Linear in size and wavelength, constant beyond the table; 1 beyond the wavelengths of a table with phases.

    Raises
    ------
    ReferenceError
        The table has no row, or several, for the exposure.
    """
    table = reference.table("APCORR")
    names = {name.lower(): name for name in table.dtype.names}
    wanted = {names[name]: header[key] for name, key in COLUMNS.items() if name in names}
    if "slit" in names:
        wanted[names["slit"]] = slit
    same = np.ones(len(table), bool)
    for name, value in wanted.items():
        same &= np.char.upper(np.char.strip(table[name].astype(str))) == str(value).upper()
    if same.sum() != 1:
        elements = ", ".join(f"{name} {value}" for name, value in wanted.items())
        raise ReferenceError(f"the apcorr reference has {same.sum()} rows for {elements}, one is needed", reference.path, another("apcorr"))
    with understood("apcorr", reference.path):
        row = {name: table[column][same][0] for name, column in names.items()}
        correction, sizes, knots = _with_phase(row) if "pixphase" in row else _plain(row)
        unit = str(reference.keywords("APCORR").get(UNIT) or reference.header.get(UNIT, "pixels")).lower()
        if unit.startswith("arcsec"):
            sizes = sizes / scale()
        order = np.argsort(knots)
        correction, sizes, knots = correction[order], sizes[order], knots[order]
        factor = _bilinear(correction, sizes, knots, np.asarray(wavelength, float), np.asarray(size, float))
    if "pixphase" in row:
        factor[..., (wavelength < knots[0]) | (wavelength > knots[-1])] = 1
    return factor


def _plain(row):
    """Correction and size (wavelength, size), wavelength."""
    knots = row["wavelength"][: int(row["nelem_wl"])].astype(float)
    sizes = row["size"][: int(row["nelem_size"])].astype(float)
    return row["apcorr"][: knots.size, : sizes.size].astype(float), np.broadcast_to(sizes, (knots.size, sizes.size)), knots


def _with_phase(row):
    phases, sizes, knots = row["pixphase"].astype(float), row["size"].astype(float), row["wavelength"].astype(float)
    table = row["apcorr"].astype(float)  # (size, wavelength, phase)
    k = int(np.clip(np.searchsorted(phases, MIDDLE) - 1, 0, phases.size - 2))
    part = (MIDDLE - phases[k]) / (phases[k + 1] - phases[k])
    return ((1 - part) * table[..., k] + part * table[..., k + 1]).T, sizes.T, knots


def _bilinear(table, sizes, knots, wavelength, size):
    """Interpolate in wavelength, then in the sizes of that wavelength."""
    if knots.size == 1:
        table, sizes, knots = np.repeat(table, 2, axis=0), np.repeat(sizes, 2, axis=0), np.array([knots[0], knots[0] + 1])
    at = np.clip(wavelength, knots[0], knots[-1])
    k = np.clip(np.searchsorted(knots, at) - 1, 0, knots.size - 2)
    part = ((at - knots[k]) / (knots[k + 1] - knots[k]))[:, None]
    values, rungs = ((1 - part) * a[k] + part * a[k + 1] for a in (table, sizes))  # (along, size)
    if rungs.shape[1] == 1:
        return np.broadcast_to(values[:, 0], size.shape).copy()
    inside = np.clip(size, rungs[:, 0], rungs[:, -1])
    n = np.clip((rungs <= inside[..., None]).sum(axis=-1) - 1, 0, rungs.shape[1] - 2)
    rows = np.arange(wavelength.size)
    low, high = rungs[rows, n], rungs[rows, n + 1]
    part = (inside - low) / (high - low)
    return (1 - part) * values[rows, n] + part * values[rows, n + 1]
