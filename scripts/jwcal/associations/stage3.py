"""Associations of stage 3: all exposures that are combined into one product."""

from dataclasses import replace

from ..settings.tables import table
from . import grouping, names
from .model import Association, Member


def associate(rule, candidate, items, acquisitions):
    """The associations of a rule.

    Parameters
    ----------
    rule : rules.Rule
    candidate : candidates.Candidate
    items : list of Item
        Those that the rule looks at.
    acquisitions : dict
        (program, instrument, observation) -> target acquisitions: they go with the exposures of their observation.

    Returns
    -------
    list of Association
    """
    items = [item for item in items if item.kind != "target_acquisition"]
    found = []
    for group in grouping.gather(rule, items, candidate.parallel):
        members = [_member(rule, item) for item in group.items.values()]
        if _is_whole(rule, candidate, members):
            found.append(_association(rule, candidate, group, members, acquisitions))
    return found


def _member(rule, item):
    kind = rule.kind(item)
    return Member(names.member_name(rule, item, kind), kind, item.get("exposerr"), item)


def _is_whole(rule, candidate, members):
    kinds = {member.exptype for member in members}
    if "science" not in kinds or (rule.needs and rule.needs not in kinds) or len(members) < rule.at_least:
        return False
    if rule.one_observation_is_enough or candidate.type not in table("associations")["several_observations"]:
        return True
    return len({member.item.get("obs_num") for member in members} - {None}) > 1


def _association(rule, candidate, group, members, acquisitions):
    shared = _shared(rule, group)
    if rule.nods_as_background:
        members += _as_backgrounds([member for member in members if member.exptype == "science"])
    observations = dict.fromkeys(item.get("obs_num") for item in group.items.values())
    known = {member.expname for member in members}
    for observation in observations:
        for item in acquisitions.get((shared["program"], shared["instrume"], observation), ()):
            member = _member(rule, item)
            member = replace(member, exptype="target_acquisition")
            if member.expname not in known:
                members.append(member)
                known.add(member.expname)
    slits = [item.get("fxd_slit") for item in group.items.values() if item.get("fxd_slit")]
    target = shared.get("target") or shared.get("targetid")
    return Association(
        rule=rule.name,
        asn_type=rule.asn_type,
        pipeline=rule.pipeline,
        asn_id=candidate.id,
        candidate_type=candidate.type,
        program=f"{shared['program']:0>5}",
        product=names.product_name(rule, candidate.id, shared, slits if rule.same.has("slit") else ()),
        members=sorted(members, key=lambda member: member.exptype != "science"),
        target=names.target_name(target),
        shared=shared,
        founded=group.founded,
    )


def _as_backgrounds(science):
    """Spectra nodded along a slit, each also as a background of the others, where there are others."""
    if len(science) < 2:
        return []
    return [replace(member, expname=f"{names.root(member.expname)}_x1d.fits", exptype="background") for member in science]


def _shared(rule, group):
    """Column -> value that the members share."""
    keys = (*rule.same.required, *rule.science_same.required, *rule.same.optional)
    values = (*group.required, *group.science, *group.optional)
    return {key.columns[0]: value for key, value in zip(keys, values, strict=True) if value is not None}
