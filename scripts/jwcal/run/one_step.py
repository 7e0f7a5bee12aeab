"""One step on one exposure: called, timed, recorded."""

import logging
import time
import traceback
from dataclasses import replace

from ..model.exposure import Exposure, Members
from ..settings import step_modules
from ..settings.tables import matches
from ..vocabulary.errors import InputError, JwcalError, ReferenceError, Skip

log = logging.getLogger(__name__)

COMPLETE, SKIPPED = "COMPLETE", "SKIPPED"


def parameters(step, recipe):
    """All parameters of a step, those that are not given with their defaults."""
    return {name: p.default for name, p in step_modules.parameters_of(step.name).items()} | recipe.parameters.get(step.name, {})


def reference_types(step):
    """The types of reference that a step takes."""
    module = step_modules.step_module(step.name)
    return (*getattr(module, "REFERENCES", ()), *getattr(module, "OPTIONAL", ()))


def apply(entry, exposure, refs, recipe):
    """One step of a chain on one exposure, or on a block of its ramp.

    Returns
    -------
    list of Exposure
    """
    if entry.by_slit:
        return _apply_by_slit(entry, exposure, refs, recipe)
    began = time.perf_counter()
    try:
        after = call("apply", entry, exposure, refs, recipe)
    except Skip as why:
        record(exposure, entry.name, SKIPPED, str(why), 0.0, _product(exposure, recipe))
        for kind in why.used:
            exposure.references[kind] = refs[kind].name if kind in refs else "N/A"
        return [exposure]
    results = after if isinstance(after, list) else [after]
    if entry.own and not (results and all(isinstance(result, (Exposure, Members)) for result in results)):
        what = f"the step {entry.name} gave {type(after).__name__} back, not the exposure ({entry.own})"
        raise JwcalError(what, exposure.name, "End its `apply` with `return exposure`")
    seconds = time.perf_counter() - began  # of all of them: they are made together
    for result in results:
        record(result, entry.name, COMPLETE, "", seconds, _product(result, recipe))
        for kind in reference_types(entry):
            result.references[kind] = refs[kind].name if kind in refs else "N/A"
    return results


def _apply_by_slit(entry, exposure, refs, recipe):
    """A step that is called otherwise for some of an exposure's slits. A source of several exposures is in slits of one kind."""
    shells = exposure.shells() if isinstance(exposure, Members) else [exposure]
    of_slits = [_case(entry, pixels.header) for pixels in shells[0].pixels]
    ways = [way for way in (None, *range(len(entry.by_slit))) if way in of_slits]
    if len(ways) == 1:
        return _one_way(entry, ways[0], exposure, refs, recipe)
    made = {}  # suffix -> what comes of it, an exposure of each way
    for way in ways:
        numbers = [number for number, its in enumerate(of_slits) if its == way]
        part = exposure.derive([exposure.pixels[number] for number in numbers], exposure.suffix)
        for result in _one_way(entry, way, part, refs, recipe):
            made.setdefault(result.suffix, []).append(result)
            if result.suffix == exposure.suffix:
                for number, pixels in zip(numbers, result.pixels, strict=True):
                    exposure.pixels[number] = pixels
    return [_joined(entry.name, results, exposure if suffix == exposure.suffix else None) for suffix, results in made.items()]


def _joined(step, parts, whole=None):
    """What comes of an exposure whose slits went several ways: the slits and spectra of all, and what was done to any of them."""
    if whole is None:
        whole, *others = parts
        for part in others:
            whole.pixels += part.pixels
            whole.spectra += part.spectra
    found = [part.steps[step] for part in parts if step in part.steps]
    if found:
        whole.steps[step] = next((its for its in found if its[0] == COMPLETE), found[0])
        whole.seconds[step] = sum(part.seconds.get(step, 0.0) for part in parts)
    for part in parts:
        whole.references = part.references | whole.references
    return whole


def _case(entry, header):
    """The number of the first case that fits a slit; None where none does."""
    return next((number for number, case in enumerate(entry.by_slit) if matches(case["when"], header)), None)


def _one_way(entry, way, exposure, refs, recipe):
    if way is None:
        return apply(replace(entry, by_slit=[]), exposure, refs, recipe)
    case = entry.by_slit[way]
    if case.get("leave"):
        return [exposure]
    its = refs.chosen_for(case["references_of"]) if "references_of" in case else refs
    return apply(replace(entry, arguments=entry.arguments | case.get("with", {}), by_slit=[]), exposure, its, recipe)


def takes_all(entry):
    """Whether a step is called once, with all that the steps before it have made."""
    return getattr(step_modules.step_module(entry.name), "TAKES", "") == "results"


def apply_to_all(entry, exposures, refs, recipe):
    """Such a step; otherwise as `apply`."""
    began = time.perf_counter()
    try:
        results, status, reason = call("apply", entry, exposures, refs, recipe), COMPLETE, ""
    except Skip as why:
        results, status, reason = exposures, SKIPPED, str(why)
    seconds = time.perf_counter() - began
    for result in results:
        record(result, entry.name, status, reason, seconds, _product(result, recipe))
        for kind in reference_types(entry) if status == COMPLETE else ():
            result.references[kind] = refs[kind].name if kind in refs else "N/A"
    return results


def call(function, entry, exposure, refs, recipe):
    """Call a step's `apply`, or its `prepare` or `finish` with the same arguments; raises Skip or an error that names the file."""
    module = step_modules.step_module(entry.name)
    one = exposure[0] if isinstance(exposure, list) else exposure
    given = dict(recipe.parameters.get(entry.name, {})) if function == "apply" else parameters(entry, recipe)
    if given.pop("skip", getattr(module, "SKIP", False)):
        raise Skip("switched off")
    for kind in getattr(module, "REFERENCES", ()):
        if kind not in refs:
            one.references[kind] = "N/A"
            raise Skip(f"its {kind} reference is N/A")
    try:
        return getattr(module, function)(exposure, refs, **entry.arguments, **given)
    except (InputError, ReferenceError) as error:
        raise type(error)(error.what, error.file or one.name, error.do) from error
    except MemoryError:
        raise JwcalError(f"{entry.name} ran out of memory", one.name, "Give the job more memory (mem_mb)") from None
    except (Skip, JwcalError):
        raise
    except Exception as error:
        if not entry.own:
            raise
        log.error("%s", traceback.format_exc())
        what = f"the step {entry.name} raised {step_modules.in_words(error, entry.own)} in {entry.own}"
        raise JwcalError(what, one.name, "Correct the step; the log has the traceback") from error


def _product(exposure, recipe):
    """Which of several products an exposure will be; empty where it is still the one that came in, or all members."""
    return "" if exposure.suffix in (*recipe.reads, "members") else exposure.suffix


def record(exposure, step, status, why, seconds, product=""):
    if step not in exposure.steps:
        log.info("%s %s%s%s", step, status, f" for {product}" if product else "", f": {why}" if why else "")
    exposure.steps[step] = (status, why)
    exposure.seconds[step] = exposure.seconds.get(step, 0.0) + seconds
