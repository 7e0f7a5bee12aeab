"""Exposures that belong together, found by what they share: one look into a dictionary an exposure, whatever the size of the pool."""

from collections import defaultdict
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Group:
    """Exposures that belong together."""

    required: tuple
    optional: list  # values that exposures may be without; those found so far
    founded: int  # the place in the pool of its first exposure
    science: tuple = ()  # values of what only bound exposures must share
    items: dict = field(default_factory=dict)  # file name -> Item


def agree(one, other):
    """Whether values that may be missing are compatible."""
    return all(a is None or b is None or a == b for a, b in zip(one, other, strict=True))


def gather(rule, items, parallel=False):
    """The groups of a rule.

    An exposure that is without an optional value belongs to every group that it agrees with otherwise, and a group is bound to
    the first value that it gets. Exposures that are free (backgrounds, PSF references...) join all groups of the science that
    they agree with, and make none.

    Parameters
    ----------
    rule : rules.Rule
    items : list of Item
        Those that the rule looks at, in the order of the pool.
    parallel : bool
        Whether they are of a pure parallel, whose exposures have no target.

    Returns
    -------
    list of Group
        In the order of their first exposures.
    """
    families = defaultdict(list)  # of groups, by required values
    bound, free = defaultdict(list), []
    for item in items:
        values = rule.same.values(item, parallel)
        if values is None:
            continue
        if rule.is_free(rule.kind(item)):
            free.append((item, values))
            continue
        science = rule.science_same.values(item, parallel)
        if science is not None:
            bound[values[0], science[0]].append((item, values[1]))
    for (required, science), members in bound.items():
        families[required] += _divide(required, science, members)
    for item, (required, optional) in free:
        agreeing = [group for group in families.get(required, ()) if agree(group.optional, optional)]
        for group in agreeing:
            _join(group, item, optional)
        if agreeing:  # the group that came first is where it was waiting
            first = min(agreeing, key=lambda group: group.founded)
            first.founded = min(first.founded, item.index)
    return sorted((group for family in families.values() for group in family), key=lambda group: group.founded)


def _divide(required, science, members):
    """Groups of exposures that share all that they must share, by what they may be without."""
    groups, joined = [], {}
    for item, optional in members:
        if optional not in joined:
            found = [group for group in groups if agree(group.optional, optional)]
            if not found:
                found = [Group(required, list(optional), item.index, science)]
                groups += found
            joined = {} if len(groups) > 1 or None in optional else joined  # others may agree with more, or with fewer, from now on
            joined[optional] = found
        for group in joined[optional]:
            _join(group, item, optional)
    if len(groups) > 1 and any(None in optional for _, optional in members):
        for item, optional in members:  # groups that were made after they had their turn
            for group in groups:
                if agree(group.optional, optional):
                    _join(group, item, optional)
    return groups


def _join(group, item, optional):
    group.items.setdefault(item.filename, item)
    if None in group.optional:
        group.optional = [new if old is None else old for old, new in zip(group.optional, optional, strict=True)]


def index(companion, items, parallel=False):
    """The companions of one kind by what they share with the science: {required values: [(Item, optional values)]}."""
    found = defaultdict(list)
    for item in items:
        values = companion.same.values(item, parallel) if companion.filter.fits(item) else None
        if values is not None:
            found[values[0]].append((item, values[1]))
    return found
