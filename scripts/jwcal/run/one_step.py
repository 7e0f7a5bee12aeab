"""One step on one exposure: called, timed, recorded."""

import logging
import time
import traceback

from ..model.exposure import Exposure, Members
from ..settings import step_modules
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
