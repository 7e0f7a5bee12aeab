"""What a grism's light needs beside: its conversion is of the light of a micron, a pixel has what falls on it."""

import numpy as np

from ...vocabulary.errors import ReferenceError

UNIT = "MJy micron s / (DN sr)"  # of a conversion that PHOTUNIT says nothing of


def micron_per_pixel(wavelength, vertical):
    """Size of a pixel in wavelength [micron], from its neighbours' wavelengths; from one of them where the other has none.

    Parameters
    ----------
    wavelength : ndarray (row, col)
    vertical : bool
        Whether the light is dispersed along the columns.

    Returns
    -------
    ndarray (row, col)
    """
    rows = wavelength.T if vertical else wavelength
    if (rows[1:] == rows[:1]).all():  # the same in all rows
        step = np.broadcast_to(_step(rows[:1]), rows.shape)
    else:
        step = _step(rows)
    return np.abs(step.T if vertical else step)


def _step(rows):
    padded = np.full((rows.shape[0], rows.shape[1] + 2), np.nan, rows.dtype)
    padded[:, 1:-1] = rows
    left, right = rows - padded[:, :-2], padded[:, 2:] - rows
    both = (padded[:, 2:] - padded[:, :-2]) / 2
    return np.where(np.isfinite(both), both, np.where(np.isfinite(left), left, right))


def to_microns(photom):
    """The factor from the conversion's own unit, PHOTUNIT, to `UNIT`; 1 where the reference does not say.

    Raises
    ------
    ReferenceError
        The unit is another quantity's.
    """
    name = photom.keywords("PHOTOM").get("PHOTUNIT") or photom.header.get("PHOTUNIT")
    if not name:
        return 1.0
    from astropy import units

    try:
        return float(units.Unit(name).to(units.Unit(UNIT)))
    except ValueError:  # UnitConversionError is one
        raise ReferenceError(f"PHOTUNIT of the photom reference is {name!r}, which is not {UNIT}", photom.path, "Correct it") from None
