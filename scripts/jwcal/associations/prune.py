"""Associations that are there twice: the same members under two ids, or one product of more and of fewer members."""

from collections import defaultdict

from .names import root


def prune(associations):
    """Of associations of one stage those to keep.

    Candidates overlap: an exposure is in its observation and perhaps in a background, a mosaic, a group. Of two associations
    with the same members the one of the smallest unit stays, the observation's before a candidate's before a discovered one. Of
    two that make the same product, the one with more members stays, unless an exposure has another type in the one than in the other.

    Parameters
    ----------
    associations : list of Association
        Those of a candidate in the order in which they were founded.

    Returns
    -------
    list of Association
        By id, the last founded ones first.
    """
    by_id = sorted(associations, key=lambda association: association.asn_id)
    by_members = {_members(association): association for association in by_id}  # the last one of each set stays
    kept = sorted((a for a in reversed(by_id) if by_members[_members(a)] is a), key=lambda association: association.asn_id)
    by_product = defaultdict(list)
    for association in kept:
        by_product[association.product].append(association)
    dropped = {id(association) for same in by_product.values() if len(same) > 1 for association in _smaller(same)}
    return [association for association in kept if id(association) not in dropped]


def _members(association):
    return frozenset((member.expname, member.exptype) for member in association.members)


def _smaller(same):
    """Those of the associations with one product that another one has more members than."""
    kept, dropped = list(same), []
    for association in same:
        if association in dropped:
            continue
        for other in list(kept):
            if other is association or _is_twin(association, other) or not _is_part(association, other):
                continue
            if len(other.members) > len(association.members):
                association, other = other, association
            kept.remove(other)
            dropped.append(other)
    return dropped


def _is_twin(one, other):
    """The same exposures in another form: averaged, and with all integrations."""
    if one.asn_type != other.asn_type or one.asn_id[0] != other.asn_id[0]:
        return False
    return _roots(one) == _roots(other)


def _roots(association):
    return sorted((root(member.expname), member.exptype) for member in association.members)


def _is_part(one, other):
    """Whether one of them has more members, and no member has another type."""
    if len(one.members) == len(other.members):
        return False
    types = {member.expname: member.exptype for member in one.members}
    return all(types.get(member.expname, member.exptype) == member.exptype for member in other.members)
