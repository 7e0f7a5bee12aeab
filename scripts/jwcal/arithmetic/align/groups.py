"""Exposures that were taken at one moment, by several detectors."""

# Those with the same values of these belong together.
KEYWORDS = ("PROGRAM", "OBSERVTN", "VISIT", "VISITGRP", "SEQ_ID", "ACT_ID", "EXPOSURE")
OWN = "EXPGRPID"  # or of this, which a person's association may give them


def group_of(header, number):
    """What the exposures of a group share: a person's word for it, or their moment."""
    return header.get(OWN) or _moment_of(header, number)


def _moment_of(header, number):
    """What the exposures of one moment share; the exposure's number where a keyword is missing."""
    values = tuple(header.get(keyword) for keyword in KEYWORDS)
    return number if None in values else values


def moments_of(headers):
    """The first header of each group of exposures that were taken at once, whatever groups a person makes of them."""
    return list({_moment_of(header, number): header for number, header in reversed(list(enumerate(headers)))}.values())


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
        groups.setdefault(group_of(header, number) if grouped else number, []).append(number)
    return list(groups.values())
