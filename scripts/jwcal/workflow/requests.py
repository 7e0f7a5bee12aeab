"""Requests that do nothing, or not what they say: found when a run is planned, and said. Pure, but for the headers of own references."""

import os
from collections import Counter, defaultdict

from ..files.fitsheaders import read_headers
from ..settings import facts, pars
from ..settings.chains import Step, steps_of
from ..settings.tables import Like, matches, table
from ..vocabulary import reference_types
from ..vocabulary.errors import ConfigError, InputError, JwcalError
from ..vocabulary.phrases import count

# A step that does nothing without a parameter -> the parameter, a number above 0.
NEEDS = {"persistence": "persistence_time"}
# What a reference says that it is for, and the keyword with the list of all that it is for.
SELECTS = {
    "DETECTOR": "P_DETECT",
    "FILTER": "P_FILTER",
    "PUPIL": "P_PUPIL",
    "GRATING": "P_GRATIN",
    "CHANNEL": "P_CHANNE",
    "SUBARRAY": "P_SUBARR",
}
ANY = {"", "ANY", "N/A", "ALL", "GENERIC", "NONE", "UNDEFINED"}


# --- references of the user's own ---


def contradictions(overrides, header, known=None):
    """Keywords by which references of the user's own are for other exposures than the one with this header.

    Parameters
    ----------
    overrides : dict
        Type -> path or "N/A".
    header : mapping
    known : dict, optional
        What was found for the same file and the same keywords, which is added to.

    Returns
    -------
    list of str
        Sentences without a full stop.
    """
    if not overrides:
        return []
    known = {} if known is None else known
    mine = tuple(header.get(keyword) for keyword in SELECTS)
    found = []
    for kind, path in overrides.items():
        if path == "N/A":
            continue
        question = "contradictions", kind, path, mine
        if question not in known:
            if ("selects", path) not in known:
                known["selects", path] = _selects(path)
            its = known["selects", path]
            wrong = [keyword for keyword, value in zip(SELECTS, mine, strict=True) if not _suits(keyword, its.get(keyword), value)]
            known[question] = [f"{keyword} {', '.join(its[keyword])}, the exposure has {_word(header[keyword])}" for keyword in wrong]
        if known[question]:
            found.append(f"the {kind} reference {path} is for {'; '.join(known[question])}")
    return found


def _selects(path):
    """What a reference says that it is for: keyword -> the values in capitals."""
    try:
        header = _header(path)
    except JwcalError:  # the job says what is the matter with it
        return {}
    found = {}
    for keyword, pattern in SELECTS.items():
        text = header.get(pattern) or header.get(keyword)
        if isinstance(text, str):
            found[keyword] = tuple(word for word in map(_word, text.split("|")) if word)
    return found


def _header(path):
    if not path.endswith((".asdf", ".json", ".yaml")):
        headers = read_headers(path)
        return {**headers.sci, **headers.primary}
    from ..files.reference_file import open_reference

    instrument = open_reference(path, "own").tree.get("meta", {}).get("instrument", {})
    if not isinstance(instrument, dict):
        raise InputError("its meta.instrument is no mapping", path)
    return {name.upper(): value for name, value in instrument.items()}


def _suits(keyword, its, mine):
    """Whether a reference with these values suits an exposure with this one; where either does not say it, it does."""
    mine = _word(mine)
    if not its or mine in ANY or not ANY.isdisjoint(its) or mine in its:
        return True
    if keyword == "SUBARRAY":
        return "FULL" in its  # it is cut
    return keyword == "CHANNEL" and mine.isdecimal() and any(word.isdecimal() and set(mine) <= set(word) for word in its)


def _word(value):
    return "" if value is None else str(value).strip().upper()


# --- what a pipeline can take at all ---


def takes(pipeline, steps):
    """The reference types that some steps of a pipeline can take, those of their parameters included."""
    abouts = [facts.about(step) for step in steps]
    kinds = {kind for about in abouts if about for kind in (*about.required, *about.optional)}
    return kinds | set(map(pars.pars_type, steps)) | {f"pars-{table('pipelines')[pipeline]['crds']}"}


def check(pipeline, steps, overrides, own=()):
    """Make sure that a pipeline has the steps and takes the reference types that it is asked for, for whatever exposure.

    Parameters
    ----------
    pipeline : str
    steps, overrides : dict
        Name of a step, or a reference type -> the option that asks for it.
    own : iterable of str
        Steps of the user's own in it.

    Raises
    ------
    ConfigError
        It has not, or does not: that can only be a mistake.
    """
    mine = (*steps_of(pipeline), *own)
    for step, option in steps.items():
        if step not in mine:
            others = [other for other in table("pipelines") if step in steps_of(other)]
            raise ConfigError(f"{option}: {pipeline} has no step {step}", do=f"Leave it out: the step is one of {', '.join(others)}")
    for kind, option in overrides.items():
        if kind not in takes(pipeline, mine):
            others = [other for other in table("pipelines") if kind in takes(other, steps_of(other))]
            do = f"Leave it out: {', '.join(others)} can take it" if others else "Leave it out"
            raise ConfigError(f"{option}: no step of {pipeline} takes a {kind} reference", do=do)


def unused(recipe, steps, overrides):
    """What one pipeline was asked for on one exposure and does not do, in words.

    Parameters
    ----------
    recipe : Recipe
    steps : dict
        step -> {parameter: value}, as asked for.
    overrides : dict
        Reference types.

    Returns
    -------
    list of str
    """
    mine = [entry.name for entry in recipe.entries if isinstance(entry, Step)]
    absent = [step for step in steps if step not in mine]
    said = [f"{recipe.pipeline} has no step {step} for this exposure: what is set for it does nothing" for step in absent]
    running = [step for step in mine if not recipe.parameters[step]["skip"]]
    for kind in overrides:
        if kind not in takes(recipe.pipeline, mine):
            said.append(f"{recipe.pipeline} takes no {kind} reference for this exposure: the override does nothing")
        elif kind not in takes(recipe.pipeline, running):
            idle = ", ".join(step for step in mine if kind in takes(recipe.pipeline, [step]))
            said.append(f"what takes the {kind} reference is skipped ({idle}): the override does nothing")
    return said + [text for _, text in _idle_steps(recipe)]


def _idle_steps(recipe):
    """(step, what is wrong) where the user switches a step on that has nothing to go by, or sets parameters of one that is skipped."""
    said = []
    for step, values in recipe.parameters.items():
        asked = {name: origin for name, origin in recipe.origins.get(step, {}).items() if origin.startswith(("steps.", "exp_types."))}
        name = NEEDS.get(step)
        if name and "skip" in asked and not values["skip"] and not (values[name] or 0) > 0:
            said.append((step, f"{asked['skip']}: false, but {step} does nothing without {name}: set it too"))
        if asked and values["skip"] and "skip" not in asked:
            first = next(iter(asked.values()))
            said.append((step, f"{first} does nothing: {step} is skipped unless {first.rpartition('.')[0]}.skip is false"))
    return said


# --- a whole run ---


class Asked:
    """What came of the requests of a configuration, looked at while its jobs are planned.

    Parameters
    ----------
    config : config.Config
    exposures : list of program.Exposure
    """

    def __init__(self, config, exposures):
        self._config = config
        self._exp_types = {_word(exposure.header.get("EXP_TYPE")) for exposure in exposures}
        self._exposures = exposures
        self._recipes = {}  # one of each kind
        self._counts = Counter()
        self._doubts = defaultdict(set)  # what speaks against a reference -> exposures
        self._suffixes = set()
        self._taken = set()  # (type, file)
        self._seen = set()

    def see(self, recipe, exposure, outputs):
        """A job that was planned for an exposure."""
        kind = id(recipe.parameters), _word(exposure.header.get("EXP_TYPE"))
        self._recipes.setdefault(kind, recipe)
        self._counts[kind] += 1
        for doubt in recipe.doubts:
            self._doubts[doubt].add(exposure.root)
        self._suffixes.update(outputs)
        for entry in recipe.entries:
            self._suffixes.update(entry.suffixes.values() if not isinstance(entry, Step) and entry.name else ())
        if id(recipe.references) not in self._seen:  # of a kind's exposures they are one and the same
            self._seen.add(id(recipe.references))
            self._taken.update((reference_types.plain(kind), file) for kind, file in recipe.references.items())

    def remarks(self, whole=True):
        """What does nothing, in words.

        Parameters
        ----------
        whole : bool
            All jobs were planned: that no exposure takes something can be said only then.
        """
        said = [f"{doubt} ({count(len(found), 'exposure')})" for doubt, found in sorted(self._doubts.items())] + self._idle()
        return [*said, *self._of_steps(), *self._of_overrides(), *self._of_products()] if whole else said

    def _idle(self):
        """Steps that do nothing; that one is skipped only where it is so for all exposures."""
        idle, running = Counter(), set()
        for kind, recipe in self._recipes.items():
            running.update(step for step, values in recipe.parameters.items() if not values["skip"])
            for step, text in _idle_steps(recipe):
                idle[step, text, recipe.parameters[step]["skip"]] += self._counts[kind]
        return [
            f"{text} ({count(number, 'exposure')})" for (step, text, skipped), number in idle.items() if not (skipped and step in running)
        ]

    def _of_steps(self):
        everywhere = {step for recipe in self._recipes.values() for step in recipe.parameters}
        said = [f"steps.{step}: no exposure of this run goes through {step}" for step in self._config.steps if step not in everywhere]
        for pipeline, inserts in self._config.insert.items():
            absent = [insert.step for insert in inserts if insert.step not in everywhere]
            said += [f"insert.{pipeline}: no exposure of this run goes through {step}" for step in absent]
        for exp_type, steps in self._config.exp_types.items():
            if exp_type not in self._exp_types:
                said.append(f"exp_types.{exp_type}: no exposure is one")
                continue
            there = {step for (_, its), recipe in self._recipes.items() if its == exp_type for step in recipe.parameters}
            said += [f"exp_types.{exp_type}.{step}: no such exposure goes through {step}" for step in steps if step not in there]
        return said

    def _of_overrides(self):
        said = []
        listed = len(self._config.references.overrides) > 1 or any(match for match, _ in self._config.references.overrides)
        for number, (match, files) in enumerate(self._config.references.overrides):
            key = f"references.overrides[{number}]" if listed else "references.overrides"
            if match and not any(matches(match, header) for header in self._headers()):
                said.append(f"{key}: no exposure has {', '.join(f'{k} {v}' for k, v in match.items())}")
                continue
            said += [f"{key}.{kind}: {why}" for kind, file in files.items() if (why := self._unused(kind, file))]
        return said

    def _headers(self):
        """Those that references are chosen with: also for slits that have the references of another type of exposure."""
        also = {exp_type for recipe in self._recipes.values() for step in recipe.steps for exp_type in step.also_of}
        for exposure in self._exposures:
            yield from (exposure.header, *(Like(exposure.header, EXP_TYPE=exp_type) for exp_type in also))

    def _unused(self, kind, file):
        """Why an override is not used; None where it is."""
        file = file if file == "N/A" or file.startswith("crds://") else os.path.abspath(file)
        if (kind, file) in self._taken or any(kind == taken and file.startswith("crds://") for taken, _ in self._taken):
            return None
        steps = [(recipe.pipeline, tuple(recipe.parameters)) for recipe in self._recipes.values()]
        can = any(kind in takes(pipeline, names) for pipeline, names in set(steps))
        if kind.startswith("pars-"):
            return None if can else "no exposure of this run takes it"
        if any(kind == taken for taken, _ in self._taken):
            return "another override wins wherever it fits"
        return "the steps that take it are skipped" if can else "no exposure of this run takes it"

    def _of_products(self):
        return [f"save: no exposure of this run makes {suffix}" for suffix in self._config.save if suffix not in self._suffixes]
