"""Subtract a background spectrum: one for all exposures, from spectra of the sky or from the user."""

import logging
from pathlib import Path
from typing import Annotated

import numpy as np

from ..arithmetic.spectra_calibration import background_spectrum, mean_spectrum
from ..model.exposure import Pixels
from ..model.references import Reference
from ..vocabulary import keywords
from ..vocabulary.dq import DO_NOT_USE
from ..vocabulary.errors import InputError, Skip
from ..vocabulary.parameters import Range

log = logging.getLogger(__name__)

TAKES = "members"
MEMBERS = ("background",)
KEPT = ("sci", "dq")
BEFORE = ("bkg_subtract", "master_background")  # either has subtracted the background already
TABLES = ("EXTRACT1D", "COMBINE1D")  # with a spectrum
OF_SKY, BESIDE = "SURF_BRIGHT", "BACKGROUND"  # columns: what the spectrum itself is, and what was beside it


def apply(
    members,
    refs=None,
    column: str = "",
    keep: bool = False,
    *,
    median_kernel: Annotated[int, Range(min=1)] = 1,
    user_background: str | None = None,
    save_background: bool = False,
    force_subtract: bool = False,
):
    """Subtract the background at each pixel's wavelength.

    Without a spectrum of the user's the background is the mean of those of the members of the type background, weighted by exposure
    time: of exposures of the empty sky what was extracted, of the others (nods) what was beside the source. Wavelengths that the
    background does not have are left as they are and become DO_NOT_USE. Errors stay.

    Parameters
    ----------
    members : Members
        Calibrated spectra in MJy/sr, each slit with its wavelengths, and extracted spectra ("background").
    refs
        None are needed.
    column : str
        Column of the extracted spectra that the background is in; by default as above. Given by the table of chains.
    keep : bool
        Pixels whose wavelength the background does not have stay usable, with a warning; gaps between bands are not bridged. The table's.
    median_kernel : int
        Wavelengths in a running median of the background; an even number is taken one smaller.
    user_background : str, optional
        File with a spectrum (x1d, c1d), whose SURF_BRIGHT is subtracted.
    save_background : bool
        Also return the background, by wavelength (masterbg1d; not that of the user) and on the pixels of each exposure (masterbg2d).
    force_subtract : bool
        Subtract it although a background was subtracted before.

    Returns
    -------
    Members, or a list: members and backgrounds

    Raises
    ------
    Skip
        A background was subtracted already, or there is none.
    InputError
        A background has no spectrum, or a member no wavelengths.
    """
    _check(members, force_subtract)
    head = members.shells()[0]
    if user_background:
        background, made_of = _of_user(user_background, head.header), None
    else:
        background, made_of = _of_members(members, column)
        background = background_spectrum.smoothed(background, median_kernel - (median_kernel % 2 == 0))
    asides = [_by_wavelength(head, background, made_of)] if save_background and made_of else []
    reached = False
    for exposure in members.each(keep=KEPT):
        found = background_spectrum.subtract(exposure, background, keep)
        reached |= any((~outside).any() for _, outside in found)
        if user_background:
            exposure.header["MASTERBG"] = Path(user_background).name
        if save_background:
            asides.append(_on_pixels(exposure, found, members.asn_id))
    low, high = background.wavelength[[0, -1]]
    if not reached:
        what = f"the background is one of {low:.3f} to {high:.3f} micron, where no exposure has a pixel"
        raise InputError(what, head.name, "Give a background of its band, or leave the step out")
    log.info("Subtracted a background of %.4g (median) from %.3f to %.3f micron", np.median(background.brightness), low, high)
    return [members, *asides] if save_background else members


def _check(members, force):
    """Raise Skip where a background was subtracted before, unless it is to be subtracted whatever was."""
    shells = members.shells()
    done = [shell.name for shell in shells if any(_is_complete(shell, step) for step in BEFORE)]
    if not done or force:
        return
    if len(done) < len(shells):
        raise Skip(f"a background was subtracted already from {len(done)} of {len(shells)} exposures (force_subtract overrides this)")
    raise Skip("the background was subtracted already (force_subtract overrides this)")


def _is_complete(exposure, step):
    status, _ = exposure.steps.get(step, ("", ""))
    return "COMPLETE" in (status, exposure.header.get(keywords.status(step)[0]))


def _of_user(path, header):
    """The background of a file."""
    file = Reference("user_background", path, header)
    name = next((name for name in TABLES if file.has(name)), None)
    if name is None:
        raise InputError(f"it has no table {' or '.join(TABLES)}", path, "Give an x1d or c1d file as user_background")
    return background_spectrum.from_table(file.table(name), path, OF_SKY)


def _of_members(members, column):
    """The mean background of the members; also what it is the mean of, (weight, count) by wavelength."""
    if not members.of("background"):
        raise Skip("the association has no background, and none is given (user_background)")
    spectra, weights = [], []
    for exposure in members.each("background"):
        if not exposure.spectra:
            raise InputError("it has no extracted spectrum, which a master background is made of", exposure.name, "Give its x1d file")
        # F, not absent: who does not say it has not looked at an empty field either, but is taken to be what the association calls it
        its = column or (BESIDE if exposure.header.get("BKGDTARG") is False else OF_SKY)
        for spectrum in exposure.spectra:
            found = background_spectrum.from_table(spectrum.table, exposure.name, its)
            spectra.append((found.wavelength, found.brightness))
            weights.append(float(exposure.header["EFFEXPTM"]))
    wavelength, brightness, weight, count = mean_spectrum.mean_spectrum(spectra, weights)
    log.info("Mean of %d background spectra", len(spectra))
    return background_spectrum.Background(wavelength, brightness), (weight, count)


def _by_wavelength(head, background, made_of):
    """The background as a product: a table like that of combined spectra."""
    names = ("WAVELENGTH", "FLUX", "ERROR", OF_SKY, "SB_ERROR", "DQ", "WEIGHT", "N_INPUT")
    table = np.zeros(background.wavelength.size, [(name, "u4" if name == "DQ" else "f8") for name in names])
    table["WAVELENGTH"], table[OF_SKY], table["WEIGHT"], table["N_INPUT"] = *background, *made_of
    new = head.aside("masterbg1d")
    new.tables["COMBINE1D"] = table
    return new


def _on_pixels(exposure, found, asn_id):
    """The background as an image of each slit."""
    shape = [pixels.shape for pixels in exposure.pixels]
    planes = [
        Pixels(
            sci=np.ascontiguousarray(np.broadcast_to(values, size)), dq=np.where(np.broadcast_to(outside, size), np.uint32(DO_NOT_USE), 0)
        )
        for (values, outside), size in zip(found, shape, strict=True)
    ]
    for new, old in zip(planes, exposure.pixels, strict=True):
        new.header, new.wcs, new.dq = old.header, old.wcs, new.dq.astype(np.uint32)
    new = exposure.derive(planes, "masterbg2d")
    new.tables = {}
    root = Path(exposure.name).stem.rpartition("_")[0] or Path(exposure.name).stem
    new.product = f"{root}_{asn_id}" if asn_id else root
    return new
