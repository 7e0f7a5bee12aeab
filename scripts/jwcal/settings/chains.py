"""The steps of a pipeline for one exposure, from `config/pipelines.yaml`. Pure."""

import os
import re
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache

from . import facts
from .tables import matches, table

LIST = "list"  # the product that lists those of a job whose number is known only after it
EXTENSION = re.compile(r"\.(fits(\.gz)?|ecsv)$", re.IGNORECASE)
SUFFIX = re.compile(r"_([a-z0-9]+|(?i:uncal|rate|rateints|cal|calints))$")


@dataclass(frozen=True)
class Step:
    """One step of a chain: its name, and arguments that the tables give (no parameters of the user's)."""

    name: str
    arguments: dict = field(default_factory=dict)
    own: str = ""  # path of the user's own module
    by_slit: list = field(default_factory=list)  # other arguments for some slits: "when", "with", "references_of", "leave"

    @property
    def calls(self):
        """The arguments of each way in which it is called."""
        return [self.arguments, *(self.arguments | case.get("with", {}) for case in self.by_slit if not case.get("leave"))]

    @property
    def also_of(self):
        """EXP_TYPEs whose references it takes beside those of the exposure's own."""
        return list(dict.fromkeys(case["references_of"] for case in self.by_slit if "references_of" in case))


@dataclass(frozen=True)
class Save:
    """Write the exposures whose suffix is a key, under the suffix that is its value."""

    suffixes: dict
    optional: bool = False
    model: str = ""  # stdatamodels' class, where it is not the suffix's usual one
    by: str | list = ""  # the step that makes it, or the steps: without them there is no product
    asked: str = ""  # "step.parameter" that asks for it too
    given: dict = field(default_factory=dict)  # parameters of that step without which there is no such product
    last: bool = False  # no later step takes it
    format: str = "fits"  # or "asdf"
    of: str = ""  # the suffix that the chain has to start from for it
    name: str = ""  # of products whose number is known only after the job: "{member}_{asn_id}", "{product}"
    members: list = field(default_factory=lambda: ["science"])  # of which members, where it is of members
    together: bool = False  # all members in one file: those of a source

    @property
    def makers(self):
        """The steps without which there is no such product."""
        return () if not self.by else (self.by,) if isinstance(self.by, str) else tuple(self.by)


@dataclass(frozen=True)
class Chain:
    """What one pipeline does with one exposure."""

    pipeline: str
    reads: tuple  # suffixes of the files to start from: the first that is there
    entries: tuple  # of Step and Save
    defaults: dict  # step -> {parameter: value} of this pipeline
    crds: str  # its name in CRDS: pars-<crds>
    group_flags: bool = True  # whether its ramps have flags for every group
    takes: str = "exposure"  # or "members": all of an association
    needs: tuple = ()  # types of members of the association without which it makes nothing

    @cached_property
    def steps(self):
        return [entry for entry in self.entries if isinstance(entry, Step)]

    @cached_property
    def saves(self):
        return [entry for entry in self.entries if isinstance(entry, Save)]

    @cached_property
    def keywords(self):
        """Keywords with limits (`limits`) that its steps read beside those that are always looked at."""
        read = [facts.keywords(step.name, arguments) for step in self.steps for arguments in step.calls]
        return tuple(dict.fromkeys(keyword for found in read for keyword in found))

    def products(self, start, wanted=(), skipped=()):
        """Suffixes of the products, in order.

        Parameters
        ----------
        start : str
            Suffix of the file that it starts from.
        wanted : collection of str
            Optional products to write.
        skipped : collection of str
            Steps that are left out.
        """
        running = {step.name for step in self.steps} - set(skipped)
        saves = [save for save in self.saves if set(save.makers) <= running and save.of in ("", start)]
        pairs = [(save, old, new) for save in saves for old, new in save.suffixes.items() if old in (start, new)]
        found = [new for save, _, new in pairs if not save.name and (not save.optional or new in wanted)]
        return found + [LIST] * any(save.name for save in saves)


def file_name(entries, root, suffix, pipeline=""):
    """A product's file: the exposure's root, the suffix, and the ending of its format."""
    if suffix == LIST:
        return f"{root}_{pipeline}_{LIST}.csv"  # two pipelines may give a name to what each makes of the same exposures
    saves = (entry for entry in entries if isinstance(entry, Save) and suffix in entry.suffixes.values())
    return f"{root}_{suffix}.{next((save.format for save in saves), 'fits')}"


def placed(name, end):
    """A product's file: its name, and what comes after it ("_i2d.fits"); a name with {suffix} has that in the middle.

    Other placeholders are those of the sources' products: what is of all sources has their words.
    """
    if "{suffix}" not in name:
        return plain(name) + end
    stem, ending = os.path.splitext(end)
    return name.replace("{suffix}", stem[1:]) + ending


def plain(name):
    """A name without the braces of placeholders."""
    return name.translate(dict.fromkeys(map(ord, "{}")))


def root_and_suffix(path):
    """The reverse: a file's name in two parts, "jw..._nrca1" and "uncal". Some write the end of it in capitals, or compress the file."""
    stem = EXTENSION.sub("", os.path.basename(path))
    found = SUFFIX.search(stem)
    return (stem[: found.start()], found.group(1).lower()) if found else (stem, "")


def is_built(pipeline, header=None):
    """Whether this version has the pipeline, with a header for the exposure that it is of.

    A row of the table without `steps` is for those alone that one of its variants fits.
    """
    if pipeline not in table("pipelines"):
        return False
    return header is None or "steps" in _row(pipeline, _answers(header))


def absence(pipeline, header):
    """What to say of a pipeline that this version does not have for an exposure: "spec2 is not available for NRS_MSASPEC"."""
    for_whom = f" for {header.get('EXP_TYPE')}" if is_built(pipeline) and header.get("EXP_TYPE") else ""
    return f"{pipeline} is not available{for_whom}"


@cache
def steps_of(pipeline):
    """The steps of a pipeline, of all its variants."""
    row = table("pipelines")[pipeline]
    entries = [entry for part in (row, *row.get("variants", ())) for entry in part.get("steps", ())]
    return tuple(dict.fromkeys(e if isinstance(e, str) else e["step"] for e in entries if isinstance(e, str) or "step" in e))


def chain(pipeline, header):
    """The chain of a pipeline for the exposure with this header.

    Raises
    ------
    KeyError
        This version does not have the pipeline, or not for this exposure (`is_built`).
    """
    return _chain(pipeline, _answers(header))


def _answers(header):
    """What a header says of the keywords that chains depend on: (keyword, value) of each."""
    return tuple([(keyword, header.get(keyword)) for keyword in _asked_for()])


@lru_cache(maxsize=4096)
def _row(pipeline, answers):
    """The row of a pipeline, with what its first variant that fits has in place of it."""
    row, header = table("pipelines")[pipeline], dict(answers)
    fitting = next((variant for variant in row.get("variants", ()) if matches(variant["when"], header)), {})
    return {**row, **fitting}


@cache
def _asked_for():
    """The keywords that chains depend on."""
    asked, waiting = set(), [*table("pipelines").values()]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            asked.update(part.get("when", ()))
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    return tuple(sorted(asked))


@lru_cache(maxsize=4096)
def _chain(pipeline, keywords):
    """A program has thousands of exposures of a few kinds."""
    header, row = dict(keywords), _row(pipeline, keywords)
    entries = tuple(_entry(item, header) for item in row["steps"] if not isinstance(item, dict) or matches(item.get("when"), header))
    reads = row["reads"]
    defaults, more = row.get("defaults", {}), {name: row[name] for name in ("group_flags", "takes", "needs") if name in row}
    return Chain(pipeline, tuple(reads), entries, defaults, row["crds"], **more)


def _entry(item, header):
    if isinstance(item, str):
        return Step(item)
    if "save" in item:
        what = item["save"]
        pairs = what if isinstance(what, dict) else dict.fromkeys([what] if isinstance(what, str) else what)
        more = {name: value for name, value in item.items() if name not in ("save", "when")}
        return Save({old: new or old for old, new in pairs.items()}, **more)
    case = next((case["with"] for case in item.get("cases", ()) if matches(case["when"], header)), {})
    return Step(item["step"], {**item.get("with", {}), **case}, by_slit=item.get("by_slit", []))


def reference_types(steps):
    """Reference types that some steps need, and those that they can do without: (required, optional), each in order."""
    required, optional = {}, {}
    for name in steps:
        about = facts.about(name)
        required.update(dict.fromkeys(about.required))
        optional.update(dict.fromkeys(about.optional))
    return list(required), [kind for kind in optional if kind not in required]


def other_reference_types(entries):
    """EXP_TYPE -> reference types that some steps of a chain take as for that, for some of the slits of an exposure."""
    steps = {}
    for entry in entries:
        for exp_type in entry.also_of:
            steps.setdefault(exp_type, []).append(entry.name)
    return {exp_type: [kind for types in reference_types(names) for kind in types] for exp_type, names in steps.items()}


def member_types(step):
    """Types of the members of an association that a step reads beside the science."""
    return facts.about(step).members
