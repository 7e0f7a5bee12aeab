"""Sort the slits of several exposures by their sources: what was an exposure of many sources becomes a source of many exposures."""

import logging

from ..arithmetic.slits.sources import by_source, name_of, sort_key
from ..model.exposure import Members

log = logging.getLogger(__name__)

TAKES = "members"


def apply(members, refs=None):
    """Give each source its slits of all exposures. Each exposure is opened once.

    Slits belong together by the source's name (SRCNAME) where they have one, else by its number (SOURCEID). The arrays of large
    programs are kept in scratch files until the source's turn comes.

    Parameters
    ----------
    members : exposure.Members
        Of slits; their name may have the placeholders {source_id} and {slit_name}.
    refs
        None are needed.

    Returns
    -------
    list of Members
        One a source, by their numbers, with a name of its own; each of their exposures is one slit.

    Raises
    ------
    InputError
        A slit does not say which source it is of.
    """
    slits = {}
    for number, exposure in enumerate(members.each()):
        for key, slit in by_source(exposure, lambda shape, kind, name=str(number): members.room(f"{name}.slits", shape, kind)):
            slits.setdefault(key, []).append(slit)
    made = []
    for key in sorted(slits, key=lambda key: sort_key(slits[key][0])):
        source = Members([(slit, "science") for slit in slits[key]], None, name_of(slits[key], members.name), members.asn_id, members.table)
        source.keeper = members  # whose scratch files hold the arrays
        source.recipe = members.recipe
        made.append(source)
    log.info("%d sources in %d exposures", len(made), len(members.of()))
    return made
