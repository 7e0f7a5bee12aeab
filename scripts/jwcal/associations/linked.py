"""What comes of links: a background of a larger subarray is put in where the rules leave it out, and what has no effect is said, and why.

The archive's rules ask for backgrounds of the same subarray. Where the configuration says that an observation is the background, one that
looks at all pixels of the exposure serves as well: the step cuts it.
"""

from collections import defaultdict

from ..vocabulary.phrases import count
from . import names
from .headers import ALONE
from .model import Member
from .names import root
from .rules import rules

SERVES = {"background": "background", "psf": "PSF reference", "direct_image": "direct image"}
STAGE = {"background": 2, "direct_image": 2, "psf": 3, "mosaic": 3, "group": 3}


def widen(pool, made, exposures):
    """Add backgrounds of links whose subarray is larger than the science's to its association of stage 2.

    Parameters
    ----------
    pool : Pool
    made : list of Association
        Those of the run; changed in place.
    exposures : dict
        Root -> program.Exposure.

    Returns
    -------
    list of str
        What was done, in words.
    """
    if not any(link.is_given for link in pool.links):
        return []
    images = {root(a.science.expname): a for a in made if a.stage == 2 and a.pipeline == "image2"}
    notes = []
    for link in pool.links:
        if link.kind != "background" or not link.is_given:
            continue
        cut = defaultdict(set)
        backgrounds = _alike([pool.items[number] for number in link.these])
        own = {root(pool.items[number].filename) for number in link.these}
        for item in (pool.items[number] for number in link.of):
            association = images.get(root(item.filename))
            if association is None or any(root(member.expname) in own for member in association.of_type("background")):
                continue
            rule = next(rule for rule in rules() if rule.name == association.rule)
            if not _takes(rule, "background"):
                continue
            for others in backgrounds:
                if _differences(rule, item, others[0]) != ["subarray"]:
                    continue
                for other in others:
                    if _sees(exposures[root(other.filename)], exposures[root(item.filename)]):
                        name = names.member_name(rule, other, "background")
                        association.members.append(Member(name, "background", other.get("exposerr"), other))
                        association.asn_id, association.candidate_type = link.candidate, "background"
                        cut[other.get("subarray"), item.get("subarray")].add(item.filename)
        notes += [
            f"{link.words}: its {_word(its)} is cut to {_word(mine)} for {count(len(found), 'exposure')}"
            for (its, mine), found in cut.items()
        ]
    return notes


def idle(pool, associations, exposures, last):
    """What links do not do, in words: for which exposures, and why.

    Parameters
    ----------
    pool : Pool
    associations : list of Association
        Those that are used, the user's own among them.
    exposures : dict
        Root -> program.Exposure.
    last : int
        The last stage of the run: nothing is said about later ones.

    Returns
    -------
    list of str
    """
    notes = []
    for link in pool.links:
        if STAGE[link.kind] <= last:
            notes += _idle_group(link, pool, associations) if link.kind in ALONE else _idle_link(link, pool, associations, exposures)
    return notes


def _idle_link(link, pool, associations, exposures):
    these, served, used = {root(pool.items[number].filename) for number in link.these}, {}, set()
    types = {rule.asn_type for rule in rules() if rule.stage == STAGE[link.kind] and _takes(rule, link.kind)}
    for association in associations:
        if association.asn_type not in types:
            continue
        roots = {root(member.expname) for member in association.of_type(link.kind)}
        is_of_images = link.kind == "direct_image" and association.candidate_type == "direct_image"
        for member in association.of_type("science"):
            served.setdefault(root(member.expname), (association, False))
            if is_of_images or not these.isdisjoint(roots):
                served[root(member.expname)] = association, True
                used |= roots
    why = defaultdict(list)
    for items in _alike([pool.items[number] for number in link.of]):
        others = [group[0] for group in _alike([pool.items[number] for number in link.these])]
        reason = None
        for item in items:
            association, is_served = served.get(root(item.filename), (None, False))
            if not is_served:
                own = _own_reason(link, item, association, exposures)
                reason = reason or _reason(link, item, others)
                why[reason if own is None else own].append(item)
    why.pop("", None)
    nothing = f"no rule takes a {SERVES[link.kind]} for"
    of = {root(pool.items[number].filename) for number in link.of}
    if any(not reason.startswith(nothing) for reason in why) or any(served[name][1] for name in of & served.keys()):
        why = {reason: items for reason, items in why.items() if not reason.startswith(nothing)}
    notes = [f"{link.words}: not used for {count(len(items), 'exposure')}{_of(items)}: {reason}" for reason, items in why.items()]
    if not link.is_given:
        notes = [f"{note}. Say it in `links`: then a larger one is cut" if ": SUBARRAY is " in note else note for note in notes]
    backgrounds = [item for item in map(pool.items.__getitem__, link.these) if item.kind == "background"]
    unused = [item for item in backgrounds if root(item.filename) not in used]
    if link.is_given and link.kind == "background" and used & these and unused:
        notes.append(
            f"{link.words}: {count(len(unused), 'exposure')} of the background{_of(unused)} suit{'s' * (len(unused) == 1)} none of them"
        )
    return notes


def _own_reason(link, item, association, exposures):
    """Why one exposure is served by no link whatever its mode; "" where nobody expects it or it has been said; None where it is not so."""
    if item.kind == "background" or (item.kind == "psf" and link.kind == "psf"):
        return f"it is itself a {SERVES[item.kind]}"
    if item.kind not in ("science", "psf"):  # target acquisitions, imprints
        return ""
    if link.kind == "background" and exposures[root(item.filename)].level == "cal":
        return "it is there only calibrated"
    if association is not None and association.given:
        return f"{association.given} says what belongs to it"
    if association is not None and association.of_type(link.kind):
        return ""  # of another link: which one is taken is noted where that is decided
    return None


def _reason(link, item, others):
    """Why the rules do not put an exposure and any of some others together: the fewest things in which they differ."""
    fitting = [rule for rule in rules() if rule.stage == STAGE[link.kind] and _takes(rule, link.kind) and rule.filter.fits(item)]
    if not fitting:
        return f"no rule takes a {SERVES[link.kind]} for {_word(item.get('exp_type'))}"
    found = [(_differences(rule, item, other, link.kind == "direct_image"), other) for rule in fitting for other in others]
    columns, other = min(found, key=lambda entry: len(entry[0]))
    if not columns:
        return "the rules leave it out"
    return ", ".join(
        f"{column.upper()} is {_word(item.get(column))}, that of the {SERVES[link.kind]} {_word(other.get(column))}" for column in columns
    )


def _takes(rule, kind):
    """Whether a rule puts exposures of a kind beside the science."""
    if kind == "psf":
        return rule.needs == "psf"
    if kind == "direct_image":
        return rule.candidates is not None and "direct_image" in rule.candidates
    return not rule.takes_any and rule.how in ("companions", "nods") and rule.is_for("background")


def _differences(rule, item, other, parallel=False):
    """The columns of what two exposures must share in which they differ."""
    keys = next((companion.same for companion in rule.companions if companion.filter.fits(other)), rule.same)
    found = []
    for key in (*keys.required, *keys.optional):
        mine, its = key.of(item), key.of(other)
        if parallel and key.columns == ("target",):
            continue
        if mine != its and (key.required or None not in (mine, its)):
            found.append(next((c for c in key.columns if item.get(c) is not None or other.get(c) is not None), key.columns[0]))
    if not found and rule.companions and not any(companion.filter.fits(other) for companion in rule.companions):
        return ["exp_type"] if item.get("exp_type") != other.get("exp_type") else []
    return found


def _idle_group(link, pool, associations):
    """A mosaic or a group of which the rules combine nothing."""
    own = {root(pool.items[number].filename): pool.items[number] for number in link.these}
    for association in associations:
        if association.stage == 3:
            mine = {own[name].get("obs_num") for name in (root(member.expname) for member in association.members) if name in own}
            if len(mine) > 1:
                return []
    items = [group[0] for group in _alike(list(own.values()))]
    if len({item.get("obs_num") for item in own.values()}) < 2:
        return [f"{link.words}: not used: it takes two observations"]
    found = [
        _differences(rule, one, other)
        for rule in rules()
        if rule.stage == 3 and rule.is_for(link.kind)
        for one in items
        if rule.filter.fits(one)
        for other in items
        if one.get("obs_num") < other.get("obs_num")
    ]
    columns = min(filter(None, found), key=len, default=[])
    return [f"{link.words}: not used: no rule combines them" + f", they differ in {', '.join(map(str.upper, columns))}" * bool(columns)]


def _alike(items):
    """Exposures in groups of one mode each: of thousands there are a few kinds."""
    columns = sorted(
        {c for rule in rules() for keys in (rule.same, *(k.same for k in rule.companions)) for k in _all(keys) for c in k.columns}
    )
    columns += ["member_type", "obs_num", "visitype", "patttype"]
    groups = defaultdict(list)
    for item in items:
        groups[tuple(map(item.get, columns))].append(item)
    return list(groups.values())


def _all(keys):
    return (*keys.required, *keys.optional)


def _sees(background, science):
    """Whether a background looks at all pixels of the science exposure."""
    for axis in (1, 2):
        values = [e.header.get(f"{name}{axis}") for e in (background, science) for name in ("SUBSTRT", "SUBSIZE")]
        if not all(isinstance(value, (int, float)) for value in values):
            return False
        its, its_size, mine, my_size = values
        if its > mine or its + its_size < mine + my_size:
            return False
    return True


def _of(items):
    """Which exposures: of one its name, of several the first."""
    first = root(items[0].filename)
    return f" ({first})" if len(items) == 1 else f" ({first}...)"


def _word(value):
    return "empty" if value is None else str(value).upper()
