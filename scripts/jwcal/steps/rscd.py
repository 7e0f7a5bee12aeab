"""Leave out the first groups of MIRI's integrations, which the reset switch charge decay bends."""

import logging

from ..files.reference_file import understood
from ..kernels.detector.rscd import flag_first_groups
from ..vocabulary.dq import DO_NOT_USE, FLUX_ESTIMATED, SATURATED
from ..vocabulary.errors import ReferenceError, Skip

log = logging.getLogger(__name__)

REFERENCES = ("rscd",)

FEW_GROUPS = 5  # with no more than these, one group is left out
NEEDED = 3  # groups that must remain: two for a slope, and the last one, which lastframe takes
RENAMED = {"SUBPRISM": "SLITLESSPRISM"}  # a subarray's name in early exposures


def apply(exposure, refs):
    """Add DO_NOT_USE to as many first groups as the reference says for this subarray and readout.

    The exposure's first integration has its own number. Where a pixel saturates so soon that fewer than two good groups would remain,
    fewer are flagged, and the pixel gets FLUX_ESTIMATED; not where it is saturated from the first group on.

    Parameters
    ----------
    exposure : Exposure
        MIRI ramp, with saturation flagged. The numbers are put into INT1SKIP and INT2SKIP.
    refs : References
        "rscd": table RSCD_GROUP_SKIP with subarray, readpatt, group_skip1 (first integration), group_skip (the others).

    Raises
    ------
    Skip
        Fewer than 3 groups; no row for this subarray and readout.
    """
    header = exposure.header
    ngroups = exposure.groupdq.shape[1]
    first, later = _numbers(refs["rscd"], header["SUBARRAY"], header["READPATT"])
    if ngroups < NEEDED:
        raise Skip(f"fewer than {NEEDED} groups")
    first, later = (min(1 if ngroups <= FEW_GROUPS else n, ngroups - NEEDED) for n in (first, later))
    flags = (SATURATED, DO_NOT_USE, FLUX_ESTIMATED)
    ones = 1 if exposure.first_integration == 0 else 0  # first integrations in this block
    for part, skip, keyword in ((slice(0, ones), first, "INT1SKIP"), (slice(ones, None), later, "INT2SKIP")):
        if len(exposure.groupdq[part]):
            lowered = flag_first_groups(exposure.groupdq[part], exposure.pixeldq, max(skip, 0), *flags)
            header[keyword] = max(skip, 0)
            log.info("%d groups left out, fewer in %d pixels that saturate soon", skip, lowered)
    return exposure


def _numbers(reference, subarray, readpatt):
    """Groups to leave out in the first and in the later integrations."""
    table = reference.table("RSCD_GROUP_SKIP")
    names = {name.lower(): name for name in table.dtype.names}
    missing = {"subarray", "readpatt", "group_skip"} - set(names)
    if missing:
        raise ReferenceError(f"RSCD_GROUP_SKIP has no column {', '.join(sorted(missing))}", file=reference.path)
    wanted = (RENAMED.get(subarray, subarray), readpatt)
    for row in table:
        if (_text(row[names["subarray"]]), _text(row[names["readpatt"]])) == wanted:
            with understood("rscd", reference.path):
                first = int(row[names["group_skip1"]]) if "group_skip1" in names else -1  # older ones don't know the first integration
                return (first if first >= 0 else 1), int(row[names["group_skip"]])
    raise Skip(f"the reference has no row for SUBARRAY {wanted[0]} and READPATT {wanted[1]}")


def _text(value):
    return (value.decode() if isinstance(value, bytes) else str(value)).strip()
