"""What a job is to do."""

from dataclasses import dataclass, field, fields

from .chains import Save, Step


@dataclass
class Recipe:
    """All that a run needs to know beside the data; `plan.py` makes it, and it travels to jobs as JSON."""

    pipeline: str
    entries: list  # of chains.Step and chains.Save
    parameters: dict = field(default_factory=dict)  # step -> {parameter: value}, `skip` included
    references: dict = field(default_factory=dict)  # type -> path or "N/A"
    names: dict = field(default_factory=dict)  # type -> name for the header
    context: str = ""
    save: list = field(default_factory=list)  # optional suffixes that are wanted
    group_flags: bool = True  # whether a ramp has flags for every group
    reads: list = field(default_factory=list)  # suffixes of the files that the chain starts from
    members: list = field(default_factory=list)  # of {"path", "exptype"}: what else of its association the steps read
    association: dict = field(default_factory=dict)  # names of its "table" and "pool"
    takes: str = "exposure"  # or "members"
    product: str = ""  # the name of the association's product
    forms: list = field(default_factory=list)  # of the products that it reads and writes: modules of `products`
    doubts: list = field(default_factory=list)  # in words: what of the user's own references speaks against using them here
    origins: dict = field(default_factory=dict)  # step -> {parameter that is not the step's default: where its value came from}

    @property
    def steps(self):
        return [entry for entry in self.entries if isinstance(entry, Step)]

    @property
    def saves(self):
        return [entry for entry in self.entries if isinstance(entry, Save)]

    @property
    def own(self):
        """Steps of the user's own: name -> path of the module."""
        return {step.name: step.own for step in self.steps if step.own}

    def to_dict(self):
        """The recipe as plain data, for JSON."""
        entries = [{"kind": type(e).__name__, **vars(e)} for e in self.entries]
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "entries": entries}

    @classmethod
    def from_dict(cls, plain):
        """The recipe that `to_dict` made plain."""
        kinds = {"Save": Save, "Step": Step}
        entries = [kinds[e["kind"]](**{k: v for k, v in e.items() if k != "kind"}) for e in plain["entries"]]
        return cls(**{**plain, "entries": entries})
