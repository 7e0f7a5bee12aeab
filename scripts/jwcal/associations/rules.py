"""The rules: `config/associations.yaml` as objects that look at the exposures of a pool."""

from dataclasses import dataclass, field
from functools import cache

from ..settings.tables import matches, table
from ..vocabulary.errors import ConfigError

PARALLEL_TARGET = "000"  # of pure parallels: their exposures have no target


@dataclass(frozen=True)
class Key:
    """One thing that members share."""

    columns: tuple  # the first one with a value counts
    required: bool

    def of(self, item):
        """Its value for an exposure, None where it has none."""
        for column in self.columns:
            value = item.values.get(column)
            if value is not None:
                return value
        return None


@dataclass(frozen=True)
class Keys:
    """What members share: what they must have, and what they may be without."""

    required: tuple = ()  # of Key
    optional: tuple = ()

    def values(self, item, parallel=False):
        """(required values, optional values) of an exposure; None where it lacks a required one.

        In a pure parallel all exposures have the one target that is none.
        """
        required = []
        for key in self.required:
            value = PARALLEL_TARGET if parallel and key.columns == ("target",) else key.of(item)
            if value is None:
                return None
            required.append(value)
        return tuple(required), tuple([key.of(item) for key in self.optional])

    def has(self, column):
        """Whether the column is one of them."""
        return any(column in key.columns for key in (*self.required, *self.optional))


@dataclass(frozen=True, eq=False)
class Filter:
    """Which exposures a rule, or a part of one, looks at."""

    exp_types: frozenset | None  # None: all
    when: tuple  # of conditions
    unless: tuple
    columns: tuple  # that the conditions look at
    known: dict = field(default_factory=dict, repr=False)

    def fits(self, item):
        """Whether an exposure is one of them."""
        if self.exp_types is not None and item.values.get("exp_type") not in self.exp_types:
            return False
        seen = tuple(map(item.values.get, self.columns))
        if seen not in self.known:
            self.known[seen] = all(_holds(c, item.values) for c in self.when) and not any(_holds(c, item.values) for c in self.unless)
        return self.known[seen]


@dataclass(frozen=True)
class Companion:
    """What joins a science exposure."""

    filter: Filter
    same: Keys
    other: str | None = None  # a column in which it differs from the science
    one: str | None = None  # a column in which all of them are the same, the nearest to the science: see `stage2`
    exptype: str | None = None  # its type as a member where it would be science


@dataclass(frozen=True, eq=False)
class Rule:
    """How exposures become associations."""

    name: str
    stage: int
    asn_type: str
    pipeline: str
    how: str
    filter: Filter
    same: Keys
    science_same: Keys
    free: object  # types of members that need not share `science_same`; "others": all but science
    companions: tuple
    candidates: frozenset | None
    not_candidates: frozenset
    science_has: tuple
    takes_any: bool
    averages_coronagraphy: bool
    nod: str | None
    needs: str | None
    at_least: int
    template: str
    nods_as_background: bool
    one_observation_is_enough: bool

    def is_for(self, candidate_type):
        """Whether it makes associations of a type of candidate ("discovered": of none)."""
        if self.candidates is not None:
            return candidate_type in self.candidates
        if self.stage == 2:
            return candidate_type in ("observation", "background")
        return candidate_type not in self.not_candidates

    def is_free(self, kind):
        """Whether members of a type may differ in `science_same`."""
        return kind != "science" if self.free == "others" else kind in self.free

    def kind(self, item):
        """The type of an exposure as a member."""
        if self.takes_any:
            return "science"
        return "science" if self.stage == 2 and item.kind == "psf" else item.kind


@cache
def rules():
    """All rules, by name."""
    return tuple(_rule(name, row) for name, row in sorted(table("associations")["rules"].items()))


@cache
def names_of(list_name):
    """The EXP_TYPEs of a list of the table."""
    return frozenset(_flat(table("associations")["lists"][list_name]))


@cache
def condition(name):
    """A condition of the table as a filter."""
    return _filter(None, [name], [])


@cache
def member_types():
    """EXP_TYPE -> type of a member."""
    return {exp_type: kind for kind, listed in table("associations")["member_types"].items() for exp_type in listed}


def member_type(values):
    """The type that an exposure has as a member: by its pointing, its EXP_TYPE, then what it is marked as."""
    pointing = values.get("pntgtype", "science")
    if pointing != "science":
        return pointing
    kind = member_types().get(values.get("exp_type"), "science")
    if kind != "science":
        return kind
    return next((mark for mark, column in table("associations")["marks"].items() if column in values), "science")


def _flat(listed):
    return [name for entry in listed for name in (_flat(entry) if isinstance(entry, list) else [entry])]


def _rule(name, row):
    row = dict(row)
    stage, how = row.pop("stage"), row.pop("how")
    if how not in ("each", "companions", "nods", "gather"):
        raise ConfigError(f"associations.yaml: {name}: {how!r} is no way to associate")
    exp_types, when, unless = row.pop("exp_types", None), row.pop("when", []), row.pop("unless", [])
    same = row.pop("same", [])
    given = {"exp_types": exp_types, "when": when, "unless": unless, "same": same}
    asn_type = row.pop("type")
    if stage == 3:
        unless, same = [*unless, "imprint"], ["program", "instrume", *same]
    candidates = row.pop("candidates", None)
    rule = Rule(
        name=name,
        stage=stage,
        asn_type=asn_type,
        pipeline=row.pop("pipeline", asn_type),
        how=how,
        filter=_filter(exp_types, when, unless),
        same=_keys(same),
        science_same=_keys(row.pop("science_same", [])),
        free=row.pop("free", ()),
        companions=tuple(_companion({**given, **companion}) for companion in row.pop("companions", [])),
        candidates=None if candidates is None else frozenset(candidates),
        not_candidates=frozenset(row.pop("not_candidates", ())),
        science_has=tuple(row.pop("science_has", ())),
        takes_any=row.pop("takes_any", False),
        averages_coronagraphy=row.pop("averages_coronagraphy", False),
        nod=row.pop("nod", None),
        needs=row.pop("needs", None),
        at_least=row.pop("at_least", 1),
        template=table("associations")["names"][row.pop("name", "usual")],
        nods_as_background=row.pop("nods_as_background", False),
        one_observation_is_enough=row.pop("one_observation_is_enough", False),
    )
    if row:
        raise ConfigError(f"associations.yaml: {name}: {', '.join(row)} means nothing in a rule")
    return rule


def _companion(row):
    same = _keys(row["same"])
    return Companion(_filter(row["exp_types"], row["when"], row["unless"]), same, row.get("other"), row.get("one"), row.get("as"))


def _filter(exp_types, when, unless):
    if isinstance(exp_types, str):
        exp_types = names_of(exp_types)
    when, unless = tuple(map(_cases, when)), tuple(map(_cases, unless))
    columns = sorted({column for cases in (*when, *unless) for column in _columns(cases)})
    return Filter(None if exp_types is None else frozenset(exp_types), when, unless, tuple(columns))


def _cases(given):
    """The cases of a condition: of its name, or as they are."""
    cases = table("associations")["conditions"][given] if isinstance(given, str) else given
    return tuple(({k: _flat([v]) for k, v in case.items() if k != "unless"}, tuple(map(_cases, case.get("unless", ())))) for case in cases)


def _columns(cases):
    for when, unless in cases:
        yield from when
        for inner in unless:
            yield from _columns(inner)


def _holds(cases, values):
    return any(matches(when, values) and not any(_holds(inner, values) for inner in unless) for when, unless in cases)


def _keys(given):
    required, optional = [], []
    for text in _named_keys(given):
        columns = tuple(text.removesuffix("?").split("|"))
        (optional if text.endswith("?") else required).append(Key(columns, not text.endswith("?")))
    return Keys(tuple(required), tuple(optional))


def _named_keys(given):
    for entry in given:
        if isinstance(entry, list):
            yield from _named_keys(entry)
        elif entry in table("associations")["keys"]:
            yield from _named_keys(table("associations")["keys"][entry])
        else:
            yield entry
