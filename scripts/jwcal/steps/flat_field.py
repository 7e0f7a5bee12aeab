"""Divide by the flat field: what each pixel would see of uniform light."""

import logging

import numpy as np

from ..model import aligned
from ..model.references import Reference
from ..vocabulary import dq as bits
from ..vocabulary.errors import Skip

log = logging.getLogger(__name__)

OPTIONAL = ("flat",)
NEEDS = ("err", "var_poisson", "var_rnoise")  # planes of an image


def apply(exposure, refs, *, save_interpolated_flat: bool = False, user_supplied_flat: str | None = None, inverse: bool = False):
    """Flat-field an image, integrations, or a guide star exposure.

    The variances are divided by the flat's square, VAR_FLAT = (SCI/flat)^2 ERR_flat^2 with SCI divided already, and ERR is the root
    of the three variances' sum. A guide star exposure has no variances (its ramps were not fitted): its ERR stays undivided
    and the flat's error is added in quadrature. Where the flat is NaN, zero or flagged, nothing is divided and the pixel is flagged;
    pixels that can't be used (DO_NOT_USE, or NaN anywhere) are NaN in every array afterwards.

    Parameters
    ----------
    exposure : Exposure
        (row, col) or (int, row, col).
    refs : References
        flat: SCI, ERR, DQ.
    save_interpolated_flat : bool
        For the spectra of NIRSpec, whose flat field is interpolated in wavelength; images have none.
    user_supplied_flat : str, optional
        File to take in place of the reference.
    inverse : bool
        Multiply by the flat: takes the correction out again.

    Raises
    ------
    Skip
        There is no flat.
    ReferenceError
        The flat does not cover the exposure.
    """
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
