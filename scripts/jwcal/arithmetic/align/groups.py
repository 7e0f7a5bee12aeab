"""Exposures that were taken at one moment, by several detectors."""

# Those with the same values of these belong together.
OWN = "EXPGRPID"  # or of this, which a person's association may give them
KEYWORDS = ("PROGRAM", "OBSERVTN", "VISIT", "VISITGRP", "SEQ_ID", "ACT_ID", "EXPOSURE")


def by_moment(headers, grouped=True):
    """Numbers of exposures that belong together.

    Parameters
    ----------
    headers : list of exposure.Header
    grouped : bool
        Off: each is alone.

    Returns
    -------
    list of lists of int
        In the order of their first ones; an exposure that lacks a keyword is alone.
    """
    groups = {}
    for number, header in enumerate(headers):
        own = header.get(OWN)
        values = (own,) if own else tuple(header.get(keyword) for keyword in KEYWORDS)
        groups.setdefault(number if not grouped or None in values else values, []).append(number)
    return list(groups.values())
