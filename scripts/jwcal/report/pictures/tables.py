"""Pictures of tables in text files: light curves, contrast curves."""

import numpy as np

from ...products import catalogues
from ...vocabulary.errors import InputError
from .shapes import Curves

AGAIN = "Make the product again"
TIMES = ("BJD_TDB", "MJD_UTC", "MJD")


def white_light(path):
    """A white-light curve: the flux of each order against time."""
    table = catalogues.read(path)
    fluxes = [name for name in table.colnames if name.startswith("whitelight_flux")]
    minutes = _minutes(table)
    if not fluxes or minutes is None:
        raise InputError("it has no columns of time and whitelight_flux", path, AGAIN)
    curves = [_plain(table[name]) / np.nanmedian(_plain(table[name])) for name in fluxes]
    names = [name.removeprefix("whitelight_flux").strip("_").replace("_", " ") for name in fluxes]
    return [_against_time([minutes] * len(curves), curves, ", ".join(fluxes), names=names if len(names) > 1 else [])]


def photometry(path):
    """The light curve of a star in a series of images."""
    table = catalogues.read(path)
    minutes = _minutes(table)
    if minutes is None or "net_aperture_sum" not in table.colnames:
        raise InputError("it has no columns of time and net_aperture_sum", path, AGAIN)
    flux, error = (_plain(table[f"net_aperture_sum{end}"]) for end in ("", "_err"))
    middle = np.nanmedian(flux)
    return [_against_time([minutes], [flux / middle], "net_aperture_sum", errors=[error / abs(middle)])]


def contrast(path):
    """How faint a planet is found, against its distance from the star."""
    table = catalogues.read(path)
    if not {"separation", "flux_limit"} <= set(table.colnames):
        raise InputError("it has no columns separation and flux_limit", path, AGAIN)
    what = "contrast" if "contrast" in table.colnames else "flux_limit"
    unit = str(getattr(table[what], "unit", None) or "")
    label = "5 sigma contrast" if what == "contrast" else f"5 sigma limit ({unit})"
    x, y, caption = _plain(table["separation"]), _plain(table[what]), "5 sigma, throughput corrected"
    return [Curves([x], [y], "separation (arcsec)", label, caption, log=True)]


def _against_time(x, y, caption, **more):
    return Curves(x, y, "minutes since the first integration", "relative flux", caption, points=True, **more)


def _minutes(table):
    """Minutes since the first integration; None without times or rows."""
    name = next((name for name in TIMES if name in table.colnames), None)
    if name is None or len(table) == 0:
        return None
    times = _plain(table[name])
    return (times - times[0]) * 1440


def _plain(column):
    """The numbers of a column, NaN where one is masked."""
    values = np.ma.getdata(getattr(column, "value", column))
    return np.where(np.ma.getmaskarray(column), np.nan, np.asarray(values, float))
