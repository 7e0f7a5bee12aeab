"""Divide by the flat field: what each pixel would see of uniform light."""

import logging
from pathlib import Path

import numpy as np

from ..machine.parts import part
from ..model import aligned
from ..model.references import Reference
from ..vocabulary import dq as bits
from ..vocabulary.errors import Skip

log = logging.getLogger(__name__)

OPTIONAL = ("flat", "fflat", "sflat", "dflat")
NEEDS = ("err", "var_poisson", "var_rnoise")  # planes of an image
PARTS = {  # of flats by wavelength
    "kind": {
        "slits": "arithmetic/spectra_calibration/flat_slits",
        "shutters": "arithmetic/spectra_calibration/flat_slits",
        "ifu": "arithmetic/spectra_calibration/flat_slices",
    }
}


def apply(
    exposure,
    refs,
    kind: str = "",
    keep_both: bool = False,
    *,
    save_interpolated_flat: bool = False,
    user_supplied_flat: str | None = None,
    inverse: bool = False,
):
    """Flat-field an image, integrations, spectra or a guide star exposure.

    The variances are divided by the flat's square, VAR_FLAT = (SCI/flat)^2 ERR_flat^2 with SCI divided already, and ERR is the root
    of the three variances' sum. A guide star exposure has no variances (its ramps were not fitted): its ERR stays undivided
    and the flat's error is added in quadrature. Where the flat is no number above 0, or flagged, nothing is divided
    and the pixel is flagged; pixels that can't be used (DO_NOT_USE, or NaN anywhere) are NaN in every array afterwards.

    Slits and slices of NIRSpec are divided by the product of three flats at each pixel's wavelength: of the fore optics, of the
    spectrograph and of the detector. A pixel that one of them does not know is NO_FLAT_FIELD, UNRELIABLE_FLAT and DO_NOT_USE.

    Parameters
    ----------
    exposure : Exposure
        (row, col) or (int, row, col).
    refs : References
        flat: SCI, ERR, DQ. fflat, sflat, dflat: table FAST_VARIATION, images SCI, ERR, DQ, and their wavelengths, WAVELENGTH.
    kind : {"", "slits", "shutters", "ifu"}
        "": one flat for all wavelengths. Otherwise what the light of NIRSpec goes through: slits by their names, shutters of which each
        has a flat of its own, slices of the integral field unit. This and the next are given by the table of chains.
    keep_both : bool
        Keep the flat of a point source beside that of uniform light in its slit, FLATFIELD_PS and FLATFIELD_UN.
    save_interpolated_flat : bool
        Also return the flat that was put together; images have none.
    user_supplied_flat : str, optional
        File to take in place of the reference.
    inverse : bool
        Multiply by the flat: takes the correction out again.

    Raises
    ------
    Skip
        There is no flat.
    ReferenceError
        The flat does not cover the exposure, or does not have the slit.
    ConfigError
        The user's flat is not that of these slits.
    """
    if kind:
        return _by_wavelength(exposure, refs, kind, keep_both, user_supplied_flat, save_interpolated_flat, inverse)
    flat = Reference("flat", user_supplied_flat, exposure.header) if user_supplied_flat else refs.get("flat")
    if flat is None:
        raise Skip("there is no flat reference")
    from ..kernels.images import flat_field as kernel

    value, flags = aligned.image(flat, exposure), aligned.bits(flat, exposure)
    error = aligned.image(flat, exposure, "ERR") if flat.has("ERR") else np.zeros_like(value)
    if exposure.var_poisson is None:
        value, flags = kernel.usable(value, flags, bits.NO_FLAT_FIELD, bits.DO_NOT_USE)
        _guider(exposure, value, error, flags, inverse)
    else:
        exposure.var_flat = kernel.correct(
            *(exposure.sci, exposure.err, exposure.var_poisson, exposure.var_rnoise, exposure.dq),
            *(value, error, flags, inverse, bits.NO_FLAT_FIELD, bits.DO_NOT_USE),
        )
    log.info("%s by the flat %s", "Multiplied" if inverse else "Divided", flat.name)
    return exposure


def _by_wavelength(exposure, refs, kind, keep_both, user, save, inverse):
    given = {"kind": kind, "keep_both": keep_both, "user_supplied_flat": user, "save": save, "inverse": inverse}
    shown = part(PARTS["kind"], kind).correct(exposure, refs, **given)
    what = Path(user).name if user else ", ".join(Path(refs[name].name).name for name in OPTIONAL if name in refs)
    log.info("%s %d spectra by the flats %s", "Multiplied" if inverse else "Divided", len(exposure.pixels), what)
    if shown is None:
        return exposure
    flat = exposure.derive(shown, "interpolatedflat")
    flat.tables = {}
    return [exposure, flat]


def _guider(exposure, value, error, flags, inverse):
    """Guide star images: no variances, and a DQ of the detector, whose bits do not make a pixel NaN in every image."""
    with np.errstate(invalid="ignore", over="ignore"):
        if inverse:
            exposure.sci *= value
        else:
            exposure.sci /= value
            exposure.err = np.sqrt(exposure.err**2 + exposure.sci**2 / (value * value) * error**2)
    exposure.dq |= flags
    unusable = np.isnan(exposure.sci) | np.isnan(exposure.err)
    exposure.sci[unusable] = exposure.err[unusable] = np.nan
