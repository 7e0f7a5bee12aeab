"""Associations of stage 2: one science exposure each, with what it is calibrated with."""

from dataclasses import replace

from . import grouping, names
from .model import Association, Member


def associate(rule, candidate, items, everything):
    """The associations of a rule.

    Parameters
    ----------
    rule : rules.Rule
    candidate : candidates.Candidate
    items : list of Item
        Those that the rule looks at.
    everything : list of Item
        All of the candidate: companions are among them.

    Returns
    -------
    list of Association
    """
    if rule.how == "each":
        found = [_association(rule, candidate, item, [_member(rule, item)]) for item in items if _is_science(rule, item, candidate)]
    elif rule.how == "companions":
        found = _with_companions(rule, candidate, items, everything)
    else:
        found = _nods(rule, candidate, items)
    return [association for association in found if _is_whole(association)]


def _is_science(rule, item, candidate):
    has = all(item.get(column) is not None for column in rule.science_has)
    return has and rule.kind(item) == "science" and rule.same.values(item, candidate.parallel) is not None


def _is_whole(association):
    """A background candidate is about exposures with a background: without one, the observation's own candidate has them."""
    return association.candidate_type != "background" or bool(association.of_type("background"))


def _member(rule, item, kind=None):
    kind = kind or rule.kind(item)
    return Member(names.member_name(rule, item, kind), kind, item.get("exposerr"), item)


def _association(rule, candidate, item, members):
    """The association of one science exposure."""
    return Association(
        rule=rule.name,
        asn_type=rule.asn_type,
        pipeline=rule.pipeline,
        asn_id=candidate.id,
        candidate_type=candidate.type,
        program=f"{item.get('program'):0>5}",
        product=names.root(members[0].expname),
        members=members,
        target=item.get("targetid") or "none",
        shared=shared(rule, item, candidate.parallel),
        founded=item.index,
    )


def shared(rule, item, parallel=False):
    """Column -> value of what an exposure shares with its companions."""
    required, optional = rule.same.values(item, parallel)
    keys = (*rule.same.required, *rule.same.optional)
    return {key.columns[0]: value for key, value in zip(keys, (*required, *optional), strict=True) if value is not None}


# --- companions


def _with_companions(rule, candidate, items, everything):
    """Every science exposure with all companions that share what they must."""
    parallel = candidate.parallel
    known = [(companion, grouping.index(companion, everything, parallel)) for companion in rule.companions]
    needs_image = any(companion.exptype == "direct_image" for companion in rule.companions)
    found, joined = [], set()
    if rule.takes_any:  # what can be a companion is science of its own only where it is nobody's
        items = sorted(items, key=lambda item: any(companion.filter.fits(item) for companion in rule.companions))
    for item in items:
        if item.filename in joined or not _is_science(rule, item, candidate):
            continue
        others = [(c.exptype, other) for c, by_values in known for other in _companions(c, by_values, item, parallel)]
        members = {member.expname: member for member in [_member(rule, item), *_as_members(rule, others)]}
        joined.update(other.filename for _, other in others if rule.takes_any)
        association = _association(rule, candidate, item, _matching_imprints(list(members.values())))
        if not needs_image or _direct_image(rule, association):
            found.append(association)
    return found


def _as_members(rule, others):
    """Members of companions; what would be science is what its companion rule says, and none where that says nothing."""
    for exptype, item in others:
        kind = item.kind if rule.takes_any else rule.kind(item)
        kind = exptype if kind == "science" else kind
        if kind:
            yield _member(rule, item, kind)


def _companions(companion, by_values, item, parallel):
    """The companions of one kind that a science exposure has."""
    values = companion.same.values(item, parallel)
    if values is None:
        return []
    required, optional = values
    found = [other for other, its in by_values.get(required, ()) if other is not item and grouping.agree(its, optional)]
    if companion.other:
        found = [other for other in found if other.get(companion.other) != item.get(companion.other)]
    if companion.one and found:
        found = _of_one(companion.one, found, item)
    return found


def _of_one(column, found, item):
    """Those of one value of a column: the science's own, else that of its observation's first, of the first after it, of the first."""
    own, observation = item.get(column), item.get("obs_num")

    def distance(other):
        return other.get(column) != own, other.get("obs_num") != observation, other.index < item.index, other.index

    chosen = min(found, key=distance).get(column)
    return [other for other in found if other.get(column) == chosen]


def _matching_imprints(members):
    """The members without the imprints that are another exposure's.

    Imprints are of the sky or of the background, as the science is. Of those the ones of the science's target are taken, if there
    are any; and if there are still more than science exposures, those of its dither position, if there are any.
    """
    science = [member for member in members if member.exptype == "science"]
    background = any(member.item.get("bkgdtarg") == "t" for member in science)
    imprints = [m for m in members if m.exptype == "imprint" and (m.item.get("bkgdtarg") == "t") == background]
    targets = {member.item.get("targetid") for member in science}
    kept = [m for m in imprints if m.item.get("targetid") in targets] or imprints
    if len(kept) > len(science):
        positions = {member.item.get("dithptin") for member in science} - {None}
        kept = [m for m in kept if m.item.get("dithptin") in positions] or kept
    dropped = {m.expname for m in imprints} - {m.expname for m in kept}
    return [member for member in members if member.expname not in dropped]


def _direct_image(rule, association):
    """Put the products of the direct image in the place of its exposures; whether there is one."""
    images = association.of_type("direct_image")
    if not images:
        return False
    image = _nearest_image(rule, association.members[0], images)
    name = names.direct_image_name(rule, association.asn_id, {**association.shared, "program": association.program}, image.item)
    association.members = [member for member in association.members if member.exptype != "direct_image"]
    made = {"_i2d.fits": "direct_image", "_cat.ecsv": "sourcecat", "_segm.fits": "segmap"}
    association.members += [Member(name + suffix, exptype) for suffix, exptype in made.items()]
    return True


def _nearest_image(rule, science, images):
    """The direct image that was taken next after a spectrum; the first one where none was. In a pure parallel the long-wave one."""
    if rule.candidates and "direct_image" in rule.candidates:
        return next((image for image in images if "long" in image.expname), images[0])
    steps = []
    for image in images:
        try:
            step = int(image.item.get("expspcin")) - int(science.item.get("expspcin"))
        except (TypeError, ValueError):
            continue
        if step > 0:
            steps.append((step, len(steps), image))
    return min(steps)[-1] if steps else images[0]


# --- nods


def _nods(rule, candidate, items):
    """Each exposure of a group in turn as the science, with those as its background that see the sky where it sees its source."""
    found = []
    for group in grouping.gather(rule, items, candidate.parallel):
        members = _matching_imprints([_member(rule, item) for item in group.items.values()])
        science = [member for member in members if member.exptype == "science"]
        others = [member for member in members if member.exptype != "science"]
        if candidate.type == "background" and not any(member.exptype == "background" for member in others):
            continue
        points = [_point(rule, member.item) for member in science]
        for member, point in zip(science, points, strict=True):
            nods = [
                replace(other, exptype="background")
                for other, its in zip(science, points, strict=True)
                if other is not member and _is_clear(rule, member.item, other.item, point, its)
            ]
            found.append(_association(rule, candidate, member.item, [member, *nods, *others]))
            found[-1].founded = group.founded
    return found


def _point(rule, item):
    """The primary point of the dither pattern that an exposure was taken at: patterns have subpixel points around each; None if unknown."""
    try:
        steps = int(item.get("subpxpts") or item.get("subpxpns"))
        return (int(item.get("patt_num")) - 1) // steps if steps else None
    except (TypeError, ValueError):
        return None


def _is_clear(rule, science, other, point, its):
    """Whether there is empty sky in another nod where this one has its source."""
    if rule.nod is None:
        return True
    if science.get("targetid") != other.get("targetid"):
        return False
    if point is None or its is None:
        return rule.nod == "by_number"
    if point == its:
        return False
    return not (rule.nod == "by_number_only" and _is_wide(science) and abs(point - its) <= 1)


def _is_wide(item):
    """Five points in the square aperture are so near to each other that neighbours overlap."""
    try:
        points = int(item.get("numdthpt")) // int(item.get("subpxpts") or item.get("subpxpns"))
    except (TypeError, ValueError):
        return False
    return item.get("fxd_slit") == "s1600a1" and points == 5
