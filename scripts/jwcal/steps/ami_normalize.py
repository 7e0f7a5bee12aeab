"""Calibrate a star's visibilities and closure phases by those of a point source."""

import logging

from ..arithmetic.ami import observables, tables
from ..vocabulary.errors import Skip

log = logging.getLogger(__name__)

TAKES = "members"
MEMBERS = ("psf",)


def apply(members, refs=None):
    """Take what telescope and detector do to the fringes off those of the star.

    Visibilities are divided by the PSF reference's, closure phases subtracted; of several references by their weighted mean. All science
    exposures come into one table, one after the other, each with its own baselines on the sky.

    Parameters
    ----------
    members : exposure.Members
        After ami_analyze.
    refs : References, optional
        None are needed.

    Returns
    -------
    list
        The members, and the calibrated observables as tables of OIFITS, suffix "aminorm-oi".

    Raises
    ------
    Skip
        There is no PSF reference, or nothing was analyzed."""
    found = members.prepared.get("ami_analyze")
    if found is None:
        raise Skip("the fringes were not analyzed")
    if not found.psf:
        raise Skip("there is no PSF reference: the fringes stay uncalibrated")
    calibrator = observables.of_several([mean for _, mean, *_ in found.psf])
    seen = found.science[0][0]
    skies = [other.on_sky for other, *_ in found.science]
    normal = [observables.calibrated(mean, calibrator) for _, mean, *_ in found.science]
    moments, seconds = ([row[k] for row in found.science] for k in (2, 3))
    pistons = {
        "PISTON_T": tables.column_of([mean for _, mean, *_ in found.science], "pistons"),
        "PISTON_C": tables.column_of([calibrator], "pistons"),
        "PIST_ERR": tables.column_of(normal, "pistons_err"),
    }
    product = members.shells("science")[0].aside("aminorm-oi")
    star = str(members.shells("psf")[0].header.get("TARGPROP") or "UNKNOWN")
    product.header.primary["CALIB"] = (star, "Calibration object identifier")
    product.tables = tables.of(seen, normal, moments, seconds, pistons, skies)
    log.info("%d science exposures were calibrated by %d PSF references", len(found.science), len(found.psf))
    return [members, product]
