"""From a pool to associations."""

import logging
from collections import Counter, defaultdict
from dataclasses import dataclass

from . import stage2, stage3
from .names import root
from .prune import prune
from .rules import rules

log = logging.getLogger(__name__)

DISCOVERED = "a3001"


@dataclass(frozen=True)
class Candidate:
    """Exposures that were planned to be reduced together; `type` "discovered" is all of them."""

    id: str
    type: str

    @property
    def parallel(self):
        """Whether it is a pure parallel, whose exposures have no target."""
        return self.type == "direct_image"


def generate(pool, ids=None, candidates=True, discover=False):
    """The associations of a pool.

    Parameters
    ----------
    pool : Pool
    ids : list of str, optional
        Only of these candidates: "o001", "c1000".
    candidates : bool
        Those of the candidates.
    discover : bool
        Those that no candidate says, with the id a3001; beside `candidates` those only whose members no candidate has.

    Returns
    -------
    list of Association
        By stage and id.
    """
    fitting = _fitting(pool.items)
    made = []
    if candidates:
        for candidate, items in _candidates(pool, ids):
            made += _of_candidate(candidate, items, fitting)
    if discover:
        made += _of_candidate(Candidate(DISCOVERED, "discovered"), pool.items, fitting)
    kept = [a for stage in (2, 3) for a in prune([association for association in made if association.stage == stage])]
    numbers = Counter()
    for association in kept:
        association.pool = pool.name
        numbers[association.asn_id, association.asn_type] += 1
        association.sequence = numbers[association.asn_id, association.asn_type]
    log.info("%d associations of %d exposures", len(kept), len(pool.items))
    return kept


def orphans(pool, associations):
    """The exposures of a pool that are a member of nothing."""
    used = {root(member.expname) for association in associations for member in association.members}
    return [item.filename for item in pool.items if root(item.filename) not in used]


def _fitting(items):
    """Item index -> rules that look at the exposure."""
    by_type = defaultdict(list)
    for rule in rules():
        for exp_type in rule.filter.exp_types or (None,):
            by_type[exp_type].append(rule)
    return {item.index: [r for r in (*by_type[item.get("exp_type")], *by_type[None]) if r.filter.fits(item)] for item in items}


def _candidates(pool, ids):
    """(candidate, its exposures), in the order in which they appear."""
    types, members = {}, defaultdict(list)
    for item in pool.items:
        for name, kind in item.candidates:
            types.setdefault((kind, name))
        for name in dict.fromkeys(name for name, _ in item.candidates):
            members[name].append(item)
    for name in ids or ():
        if name not in members:
            log.warning("%s: no exposure is of the candidate %s", pool.name, name)
    return [(Candidate(name, kind), members[name]) for kind, name in types if ids is None or name in ids]


def _of_candidate(candidate, items, fitting):
    """The associations of one candidate, in the order in which they were founded."""
    looked_at = defaultdict(list)
    for item in items:
        for rule in fitting[item.index]:
            looked_at[rule].append(item)
    acquisitions = defaultdict(list)
    for item in items:
        if item.kind == "target_acquisition" and item.get("is_imprt") is None:
            acquisitions[item.get("program"), item.get("instrume"), item.get("obs_num")].append(item)
    made = []
    for rule in rules():
        if rule in looked_at and rule.is_for(candidate.type):
            if rule.stage == 2:
                made += stage2.associate(rule, candidate, looked_at[rule], items)
            else:
                made += stage3.associate(rule, candidate, looked_at[rule], acquisitions)
    return sorted(made, key=lambda association: (association.founded, association.rule))
