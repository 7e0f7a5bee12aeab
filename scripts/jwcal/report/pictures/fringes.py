"""Interferometry: squared visibilities and closure phases against the baseline."""

import numpy as np

from ...files import fitsio
from .shapes import Curves

MEGA = 1e6


def fringes(hdus, path):
    """What OIFITS tables hold: V2 against the baseline, closure phases against the longest of their three baselines."""
    wave = float(fitsio.native(hdus["OI_WAVELENGTH"].data["EFF_WAVE"])[0])
    vis, t3 = hdus["OI_VIS2"].data, hdus["OI_T3"].data
    length = np.hypot(fitsio.native(vis["UCOORD"]), fitsio.native(vis["VCOORD"])) / wave / MEGA
    u, v = ([fitsio.native(t3[f"{axis}{k}COORD"]) for k in (1, 2)] for axis in "UV")
    sides = [np.hypot(u[0], v[0]), np.hypot(u[1], v[1]), np.hypot(u[0] + u[1], v[0] + v[1])]
    longest = np.max(sides, axis=0) / wave / MEGA
    columns = [(vis, "VIS2DATA", "VIS2ERR"), (t3, "T3PHI", "T3PHIERR")]
    (v2, v2_error), (phase, phase_error) = ([_mean(table[name]) for name in names] for table, *names in columns)
    how = {"points": True}
    x_label = "baseline (million wavelengths)"
    return [
        Curves([length], [v2], x_label, "squared visibility", f"{len(v2)} baselines", errors=[v2_error], **how),
        Curves([longest], [phase], f"longest {x_label}", "closure phase (deg)", f"{len(phase)} triangles", errors=[phase_error], **how),
    ]


def _mean(column):
    """One number a row: of several integrations or wavelengths their mean."""
    values = fitsio.native(column)
    return values if values.ndim == 1 else np.nanmean(values.reshape(len(values), -1), axis=1)
