"""What pools and associations are made of."""

from dataclasses import dataclass, field
from pathlib import Path

MADE = ("direct_image", "sourcecat", "segmap")  # types of members that stage 3 makes


@dataclass(slots=True, eq=False)
class Item:
    """One exposure of a pool."""

    index: int  # its place in the pool
    filename: str  # of its raw file
    values: dict  # column -> value in lower case, empty ones left out; also `member_type` and `slit`
    candidates: tuple = ()  # of (id, type): ("o001", "observation"), ("c1000", "background")...

    def get(self, column):
        """The value of a column, None where it is empty."""
        return self.values.get(column)

    @property
    def kind(self):
        """Its type as a member: science, psf, background, imprint, target_acquisition..."""
        return self.values["member_type"]


@dataclass(frozen=True, slots=True)
class Link:
    """What some exposures are to others, as the configuration says it or as it was inferred."""

    words: str
    kind: str  # background, psf, direct_image; mosaic or group of `these`
    these: list  # places in the pool
    of: list
    candidate: str = ""  # "c1000"; empty where it was inferred

    @property
    def is_given(self):
        """Whether the configuration says it."""
        return bool(self.candidate)


@dataclass(frozen=True, slots=True)
class Member:
    """A file that a product is made from."""

    expname: str
    exptype: str
    exposerr: str | None = None  # what went wrong when it was exposed
    item: Item | None = field(default=None, compare=False, repr=False)  # None for a product of another association
    place: str = field(default="", compare=False)  # folder that its file names, from where the file lies; see `places`
    catalogue: str = ""  # of its stars: `tweakreg_catalog` in a person's file, seen from there
    group: str = ""  # `group_id` in a person's file: members that have the same are taken for one moment's


@dataclass(slots=True, eq=False)
class Association:
    """One product, and what it is made from."""

    rule: str
    asn_type: str
    pipeline: str
    asn_id: str  # "o001", "c1000", "a3001"
    candidate_type: str  # "observation", "background"..., "discovered"
    program: str  # five digits
    product: str  # the name of the product, without suffix
    members: list  # of Member, the science ones first
    target: str = "none"
    pool: str = "none"
    shared: dict = field(default_factory=dict)  # column -> value that made the members belong together
    founded: int = 0  # place in the pool of the first of them
    sequence: int = 0  # number among those with this id and type
    given: Path | None = None  # the file that it is from; None where the rules made it
    table: str = ""  # the name of its file in a run's results

    @property
    def stage(self):
        """2 or 3."""
        return 3 if self.asn_type.endswith("3") else 2

    @property
    def acid(self):
        """(id, type) of the candidate."""
        return self.asn_id, self.candidate_type

    @property
    def ruleset(self):
        """How the archive calls its rule."""
        return f"{'discover' if self.asn_id.startswith('a') else 'candidate'}_{self.rule}"

    @property
    def file_name(self):
        """The name of its file in the archive's form, without a version."""
        return f"jw{self.program}-{self.asn_id}_{self.asn_type}_{self.sequence:05d}_asn.json"

    @property
    def waits_for(self):
        """Names of members that are products of another association: mosaic, catalogue and segments of a direct image."""
        return [member.expname for member in self.members if member.exptype in MADE]

    @property
    def science(self):
        """Its first science member."""
        return self.of_type("science")[0]

    def of_type(self, exptype):
        """Its members of one type."""
        return [member for member in self.members if member.exptype == exptype]
