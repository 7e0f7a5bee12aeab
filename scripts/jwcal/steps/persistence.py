"""Flag the groups in which a pixel may still release the charge of an earlier bright exposure. Off by default."""

import logging
from pathlib import Path

import numpy as np

from ..files.reference_file import understood
from ..kernels.detector.persistence import flag_persistence
from ..model import named_files
from ..vocabulary.dq import DO_NOT_USE, PERSISTENCE, SATURATED
from ..vocabulary.errors import ReferenceError, Skip

log = logging.getLogger(__name__)

SKIP = True
WALKS = "rows"  # a pixel's window goes on from one integration to the next

UNIX_EPOCH = 40587.0  # MJD
DAY = 86400.0  # s


def apply(
    exposure,
    refs,
    *,
    save_persistence: bool | str | None = None,
    persistence_time: int | None = None,
    dn_threshold: float | None = None,
    persistence_array_file: str | None = None,
    persistence_dnu: bool = False,
):
    """Set PERSISTENCE from a pixel's first saturated group on, in all groups that end within `persistence_time`, later integrations too.

    A window that another exposure has opened is taken from `persistence_array_file`, and those that are still open at the end of this one
    can be saved (`save_persistence`) as its product "persistence": ASDF files with an entry for each detector, of the rows, columns and
    ends (Unix time, s) of the windows. The exposures of such a sequence have to be run one after the other.

    Parameters
    ----------
    exposure : Exposure
        Ramp in DN, with saturation flagged.
    save_persistence : bool or str, optional
        Return the open windows too. Other detectors' entries in `persistence_array_file` are kept. Products are called after their
        exposures, so a name only says that it is wanted.
    persistence_time : int
        s.
    dn_threshold : float, optional
        A group above it [DN] opens a window too.
    persistence_array_file : str, optional
        File to read. It is left aside where it holds another persistence_time, nothing for this detector, or does not exist.
    persistence_dnu : bool
        Set DO_NOT_USE too.

    Returns
    -------
    Exposure, or list of it and of its windows

    Raises
    ------
    Skip
        No persistence_time, or none above 0.
    ReferenceError
        The file to read can't be read, or does not fit the exposure's pixels.
    """
    if persistence_time is None or persistence_time <= 0:
        raise Skip("persistence_time is not set: it has to be a time in seconds, above 0")
    until = _open_windows(persistence_array_file, exposure, persistence_time)
    exposure.groupdq = np.ascontiguousarray(exposure.groupdq)
    flag = PERSISTENCE | (DO_NOT_USE if persistence_dnu else 0)
    threshold = np.inf if dn_threshold is None else float(np.float32(dn_threshold))
    flag_persistence(exposure.sci, exposure.groupdq, until, _group_times(exposure), float(persistence_time), threshold, SATURATED, flag)
    log.info("windows of %d s open at the end in %d pixels", persistence_time, np.count_nonzero(until))
    return [exposure, _windows(exposure, until, persistence_time, persistence_array_file)] if save_persistence else exposure


def _group_times(exposure):
    """When each group ends, as Unix time, (int, group) [s]."""
    header = exposure.header
    nints, ngroups = exposure.groupdq.shape[:2]
    starts = (float(header["EXPSTART"]) - UNIX_EPOCH) * DAY + np.arange(nints) * float(header["EFFINTTM"])
    table = exposure.tables.get("INT_TIMES")
    if table is not None:
        known = (np.asarray(table["int_start_MJD_UTC"], float)[:nints] - UNIX_EPOCH) * DAY
        starts[: len(known)] = known
    each = np.full((nints, ngroups + 1), float(header["TGROUP"]))
    each[:, 0] = starts
    return np.cumsum(each, axis=1)[:, 1:]


# --- windows from one exposure to the next ---------------------------------------------------------------------------


def _open_windows(path, exposure, duration):
    """When the windows of earlier exposures end, (row, col) [s]; 0: none is open."""
    until = np.zeros(exposure.sci.shape[-2:])
    if path is None:
        return until
    if not Path(path).exists():
        log.warning("%s does not exist: no window is open at the start", path)
        return until
    entry = named_files.tree(path, "persistence").get(exposure.header["DETECTOR"])
    if entry is None:
        log.info("%s has nothing for %s: no window is open at the start", path, exposure.header["DETECTOR"])
        return until
    with understood("persistence", path):
        if entry["pers_time"] != duration:
            log.warning("%s is for a persistence_time of %s s: left aside", path, entry["pers_time"])
            return until
        rows, columns, ends = (np.asarray(entry[name], kind) for name, kind in (("rows", int), ("cols", int), ("vals", float)))
        if not rows.shape == columns.shape == ends.shape or (rows.size and min(rows.min(), columns.min()) < 0):
            raise ValueError("rows, cols and vals are no list of pixels")
    ny, nx = int(exposure.header["SUBSIZE2"]), int(exposure.header["SUBSIZE1"])
    if rows.size and (rows.max() >= ny or columns.max() >= nx):
        raise ReferenceError(
            f"it has windows up to row {rows.max()}, column {columns.max()}, the exposure has {ny} x {nx} pixels",
            path,
            "Give the file of exposures of the same subarray",
        )
    first = exposure.rows.start or 0
    here = (rows >= first) & (rows < first + len(until))
    until[rows[here] - first, columns[here]] = ends[here]
    return until


def _windows(exposure, until, duration, path):
    """The windows that are open at the end, as a product; with those of other detectors in the file that was read."""
    tree = named_files.tree(path, "persistence") if path is not None and Path(path).exists() else {}
    tree = {name: entry for name, entry in tree.items() if name not in ("asdf_library", "history")}
    rows, columns = np.nonzero(until)
    found = {"rows": rows, "cols": columns, "vals": until[rows, columns]}
    tree[exposure.header["DETECTOR"]] = {"filename": Path(exposure.name).name, **found, "pers_time": duration}
    product = exposure.aside("persistence")
    product.tree = tree
    return product
