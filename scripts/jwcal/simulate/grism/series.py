"""A transit behind NIRCam's grism, in segments."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.table import Table

from .. import exposures
from ..from_rates import Exposed, Shot, expose
from ..headers import Identity
from ..series import Transit
from ..spectrograph import Dip, PathOfLight, Spectrum
from .light import disperse
from .optics import SERIES, Grism
from .references import extract1d, look_references, write_references

FIRST, TRANSIT = Identity(), Transit()
STAR = Spectrum(flux=0.01, at=3.2, slope=-1.2, lines=((3.4, -0.2, 0.008),))


class SeriesMade(NamedTuple):
    """A time series: what was written, and what was put in."""

    exposures: Exposed
    spectrum: Callable  # Jy, at the barycentre
    dip: Dip
    path: PathOfLight  # of the first order
    grism: Grism


def expose_series(
    out,
    *,
    spectrum=STAR,
    grism=SERIES,
    nints=8,
    each=4,
    transit=TRANSIT,
    depth=0.01,
    sky=2.0,
    identity=FIRST,
    height=None,
    noise=True,
    field=0.0,
    **options,
):
    """A transit behind NIRCam's grism, in segments, with its references.

    Parameters
    ----------
    out : path
    spectrum : callable
        wavelength [micron] -> Jy.
    grism : Grism
    nints, each : int
        Integrations in all, and in a file.
    transit, depth
        As `prism.expose_series` takes them.
    sky : float
        DN/s, even.
    identity : headers.Identity
    height : int, optional
        Rows of the aperture; by default nearly all.
    field : float
        See `Grism`; 0 for the older form of the reference.
    **options
        What `instruments.setup` and `from_rates.expose` take.

    Returns
    -------
    SeriesMade
    """
    out, kept = Path(out), {key: options.pop(key) for key in ("cosmic_rays", "seed", "cache") if key in options}
    grism = replace(grism, field=field)
    options = {"ngroups": 5, "subarray": "SUBGRISM64", "aperture": "NRCA5_GRISM64_F322W2", **options}
    options = {"filter": grism.filter, "pupil": grism.pupil, "detector": grism.detector, "nints": nints, "identity": identity, **options}
    plan = exposures.take(grism.exp_type, **{k: v for k, v in options.items() if k != "header"})
    setup, shape = plan.setup, plan.setup.subarray.shape
    x0, y0 = plan.look.xref - 1, plan.look.yref - 1
    velocity = plan.headers()[1]["VELOSYS"]
    factors = 1 - transit.factor((np.arange(nints) + 0.5) / nints)
    dip = Dip(factors / transit.depth, depth)
    known = {"fwhm": setup.optics[1], "velocity": velocity}
    light, lost = np.full(shape, float(sky)), np.zeros(shape)
    path = disperse(light, grism, x0, y0, spectrum, **known)[1]
    disperse(lost, grism, x0, y0, lambda wavelength: spectrum(wavelength) * dip(wavelength), **known)
    rate = light - dip.shape[:, None, None] * lost
    files = write_references(out / "references", [grism])
    files += [
        extract1d(out / "references/nrc_tsgrism_extract1d.json", grism, setup, y0, height),
        *look_references(out / "references", plan.setup),
    ]
    curve = np.array(list(enumerate(dip.shape, start=1)), [("integration", "i4"), ("shape", "f8")])
    truth = {"TRANSIT": curve, "SPECTRUM": _spectrum(path, spectrum)}
    made = expose(out, [Shot(grism.exp_type, rate, options, truth, each)], files, noise=noise, **kept)
    return SeriesMade(made, spectrum, dip, path, grism)


def _spectrum(path, spectrum):
    """Wavelength [micron], flux [Jy] and where it fell [pixels from 0]."""
    return Table({"wavelength": path.wavelength, "flux": spectrum(path.wavelength), "along": path.along, "across": path.across})
