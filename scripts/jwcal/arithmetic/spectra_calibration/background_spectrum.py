"""A background by wavelength: taken from spectra of the sky, put together, and spread over the pixels of a spectrum."""

import logging
from typing import NamedTuple

import numpy as np

from ...vocabulary.dq import DO_NOT_USE
from ...vocabulary.errors import InputError
from .wavelengths import rising, wavelengths

log = logging.getLogger(__name__)

# What a point source's spectrum was divided by, beside what uniform light would have been divided by (or multiplied, the other way round).
POINT = (("PATHLOSS_UN", "PATHLOSS_PS"), ("FLATFIELD_UN", "FLATFIELD_PS"), ("PHOTOM_PS", "PHOTOM_UN"))
GAP, LEAST_GAP = 30, 0.03  # steps of wavelength, and micron, beyond which a background has a gap between bands


class Background(NamedTuple):
    """A background: wavelengths [micron], rising, and its surface brightness, in the unit of the spectra that it is subtracted from."""

    wavelength: np.ndarray
    brightness: np.ndarray


def from_table(table, path, column="SURF_BRIGHT"):
    """A background from the columns WAVELENGTH and `column` of a table of an extracted or combined spectrum.

    Raises
    ------
    InputError
        It has no such columns of numbers, or no two wavelengths with a value.
    """
    names = {name.upper(): name for name in table.dtype.names}
    missing = [name for name in ("WAVELENGTH", column) if name not in names]
    if missing:
        raise InputError(f"its spectrum has no column {' and no '.join(missing)}", path, "Give an x1d or c1d file")
    for name in ("WAVELENGTH", column):
        if table.dtype[names[name]].base.kind not in "fiu":
            raise InputError(f"the column {name} of its spectrum holds no real numbers", path, "Give an x1d or c1d file")
    wavelength, brightness = (np.ravel(table[names[name]]).astype(float) for name in ("WAVELENGTH", column))
    good = np.isfinite(brightness)
    wavelength, brightness = rising(wavelength[good], brightness[good])
    if wavelength.size < 2:
        raise InputError(f"its spectrum has {wavelength.size} wavelengths with a value in {column}", path, "Give another background")
    return Background(wavelength, brightness)


def smoothed(background, size):
    """A background with a running median of `size` wavelengths, an odd number; beyond its ends it is 0, as in the peer."""
    from scipy.signal import medfilt

    return background._replace(brightness=medfilt(background.brightness, size)) if size > 1 else background


def on_pixels(slit, background, bridge=True):
    """A background on the pixels of one slit: as bright as it is in a spectrum that was calibrated as that of a point source, if it was.

    Parameters
    ----------
    slit : Exposure
    background : Background
    bridge : bool
        Interpolate over gaps between bands too; else there is no background in them.

    Returns
    -------
    float32 (row, col)
        0 where it is not known.
    bool (row, col)
        Pixels whose wavelength is outside the background's, or that have none.
    bool (row, col)
        Those of them that have one.
    """
    found = wavelengths(slit).astype(float)
    values = np.interp(found, background.wavelength, background.brightness, left=np.nan, right=np.nan)
    if not bridge:
        steps = np.diff(background.wavelength)
        wide = np.concatenate([[False], steps > max(GAP * np.median(steps), LEAST_GAP), [False]])
        values[wide[np.searchsorted(background.wavelength, found)] & np.isfinite(found)] = np.nan
    outside = ~np.isfinite(values)
    values[outside] = 0
    values *= _calibrated_as(slit)
    return values.astype(np.float32), outside, outside & np.isfinite(found)


def _calibrated_as(slit):
    """By what even light is too bright in a spectrum that was calibrated as a point source's: (row, col), or 1."""
    factor = 1.0
    if slit.header.get("SRCTYPE") == "POINT":
        for above, below in POINT:
            if above in slit.only.extra and below in slit.only.extra:
                with np.errstate(invalid="ignore", divide="ignore"):
                    part = slit.only.extra[above] / slit.only.extra[below]
                factor = factor * np.where(np.isfinite(part), part, 1.0)
    return factor


def subtract(exposure, background, keep=False):
    """Subtract a background from every slit; pixels for which it is not known stay as they are, and are DO_NOT_USE.

    Parameters
    ----------
    exposure : Exposure
        Changed in place.
    background : Background
    keep : bool
        Pixels for which it is not known can be used all the same, and gaps between bands are not bridged.

    Returns
    -------
    list of (float32, bool), one a slit, as `on_pixels` gives them
    """
    found = []
    for slit in exposure.slits():
        values, outside, lost = on_pixels(slit, background, bridge=not keep)
        slit.sci -= values
        if not keep:
            slit.dq[..., outside] |= DO_NOT_USE
        count, lit = np.count_nonzero(lost), np.count_nonzero(lost | ~outside)
        if count:
            what = f"{count} pixels ({100 * count / lit:.0f} %)"
            then = "nothing is subtracted there" if keep else "they are DO_NOT_USE"
            log.warning("%s: the background does not reach the wavelengths of %s: %s", exposure.name, what, then)
        found.append((values, outside))
    return found
