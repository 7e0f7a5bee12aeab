"""A chain is a loop over its steps. What runs here runs the same from a rule, from the command line and from a notebook."""

import logging
import time
from contextlib import nullcontext, suppress

from ..machine import memory
from ..model import ramp, stripes
from ..model.exposure import Exposure, Members
from ..model.references import References
from ..products import stored
from ..settings.chains import Save, Step
from ..vocabulary.errors import InputError, JwcalError, ReferenceError, Skip
from ..vocabulary.parameters import step_module
from . import superstripes

log = logging.getLogger(__name__)

COMPLETE, SKIPPED = "COMPLETE", "SKIPPED"


def run(recipe, source, write=None, scratch=None):
    """Take an exposure through a chain.

    Parameters
    ----------
    recipe : Recipe
    source : path or Exposure
        What the chain starts from. An exposure is the chain's to change.
    write : callable, optional
        Called as write(exposures) with products, as soon as they are there.
    scratch : path, optional
        Folder for the scratch file of a ramp that is too large for memory.

    Returns
    -------
    list of Exposure
        What is left at the end of the chain.

    Raises
    ------
    JwcalError
    """
    memory.keep_freed()
    given = isinstance(source, Exposure)
    opened = nullcontext(source) if given else stored.opened(source, recipe.group_flags, of_ramps=not _ends_ramp(recipe))
    with opened as exposure:
        _check_start(recipe, exposure)
        refs = References(recipe.references, exposure.header, recipe.names)
        for doubt in recipe.doubts:
            log.warning("%s", doubt)
        exposure.recipe = recipe
        exposure.members = Members([(member["path"], member["exptype"]) for member in recipe.members], stored.read)
        for keyword, name in (("ASNPOOL", "pool"), ("ASNTABLE", "table")) if recipe.association else ():
            exposure.header[keyword] = recipe.association[name]
        if stripes.positions(exposure.header):
            recipe = superstripes.put_together(exposure, recipe, apply)
        current, entries = [exposure], list(recipe.entries)
        if exposure.raw is not None:
            if _ends_ramp(recipe) and ramp.is_large(exposure.raw.shape):
                current, entries = _walk(recipe, exposure, refs, scratch)
            else:
                exposure.load()
        for number, entry in enumerate(entries):
            if isinstance(entry, Save):
                current = _save(entry, current, recipe, write)
            else:
                current = [after for before in current for after in apply(entry, before, refs, recipe)]
                _drop(refs, entry, entries[number + 1 :])
        return current


def _check_start(recipe, exposure):
    """Raise InputError where the exposure is of another level than the chain starts from."""
    wanted = {suffix.removesuffix("ints") for suffix in recipe.reads}
    level = exposure.suffix.removesuffix("ints")
    array = exposure.raw if exposure.raw is not None else exposure.sci
    named_otherwise = level in ("uncal", "rate", "cal") and level not in wanted
    if wanted and (named_otherwise or (len(array.shape) == 4) != ("uncal" in wanted)):
        raise InputError(
            f"{recipe.pipeline} starts from {' or '.join(f'*_{suffix}.fits' for suffix in recipe.reads)}, which this is not",
            exposure.name,
            f"Give it the {recipe.reads[0]} file, or choose another pipeline",
        )


def _save(entry, current, recipe, write):
    """Write those of the exposures that the entry names, under the suffix that it gives them; returns those that go on."""
    made, go_on = [], []
    for exposure in current:
        suffix = entry.suffixes.get(exposure.suffix)
        if suffix and (not entry.optional or suffix in recipe.save):
            exposure.suffix = suffix
            made.append(exposure)
        if not (suffix and entry.last):
            go_on.append(exposure)
    if entry.last:
        absent = set(entry.suffixes.values()) & set(recipe.save) - {exposure.suffix for exposure in current}
        made += [_nothing(entry, current[0], suffix) for suffix in sorted(absent)]
    if write and made:
        write(made)
    return go_on


def _nothing(entry, exposure, suffix):
    """The product of a step that was skipped, or had nothing to show: it says so, and holds nothing."""
    empty = exposure.aside(suffix)
    status, why = exposure.steps[entry.by]
    if entry.format == "asdf":
        empty.tree = {"status": status, "why": why or "there was nothing to save"}
    return empty


def _drop(refs, entry, later):
    """Give the memory of a step's references back, unless a later step takes them."""
    wanted = {kind for e in later if isinstance(e, Step) for kind in _types(e)}
    for kind in _types(entry):
        if kind in refs and kind not in wanted:
            refs[kind].drop()


def _types(entry):
    module = step_module(entry.name)
    return (*getattr(module, "REFERENCES", ()), *getattr(module, "OPTIONAL", ()))


def apply(entry, exposure, refs, recipe):
    """One step of a chain on one exposure, or on a block of its ramp.

    Returns
    -------
    list of Exposure
    """
    began = time.perf_counter()
    try:
        after = _call("apply", entry, exposure, refs, recipe)
    except Skip as why:
        _record(exposure, entry.name, SKIPPED, str(why), 0.0)
        return [exposure]
    results = after if isinstance(after, list) else [after]
    seconds = time.perf_counter() - began  # of all of them: they are made together
    for result in results:
        _record(result, entry.name, COMPLETE, "", seconds)
        for kind in _types(entry):
            result.references[kind] = refs[kind].name if kind in refs else "N/A"
    return results


def _call(function, entry, exposure, refs, recipe):
    """Call a step's `apply`, or its `prepare` or `finish` with the same arguments; raises Skip or an error that names the file."""
    module = step_module(entry.name)
    parameters = dict(recipe.parameters.get(entry.name, {})) if function == "apply" else ramp.parameters(entry, recipe)
    if parameters.pop("skip", getattr(module, "SKIP", False)):
        raise Skip("switched off")
    for kind in getattr(module, "REFERENCES", ()):
        if kind not in refs:
            exposure.references[kind] = "N/A"
            raise Skip(f"its {kind} reference is N/A")
    try:
        return getattr(module, function)(exposure, refs, **entry.arguments, **parameters)
    except (InputError, ReferenceError) as error:
        raise type(error)(error.what, error.file or exposure.name, error.do) from error
    except MemoryError:
        raise JwcalError(f"{entry.name} ran out of memory", exposure.name, "Give the job more memory (mem_mb)") from None


def _record(exposure, step, status, why, seconds):
    if step not in exposure.steps:
        log.info("%s %s%s", step, status, f": {why}" if why else "")
    exposure.steps[step] = (status, why)
    exposure.seconds[step] = exposure.seconds.get(step, 0.0) + seconds


# --- ramps that are too large for memory -----------------------------------------------------------------------------


def _ends_ramp(recipe):
    """Whether the chain makes rates of a ramp, and the ramp is not itself a product."""
    ends = [e for e in recipe.entries if not isinstance(e, Save) and e.name == "ramp_fit"]
    saved = any(s in recipe.save for e in recipe.entries if isinstance(e, Save) and e.optional for s in e.suffixes.values())
    off = recipe.parameters.get("ramp_fit", {}).get("skip", False)
    return bool(ends) and not saved and not off


def _walk(recipe, exposure, refs, scratch):
    """The steps up to ramp_fit, by blocks of integrations and by strips of rows; returns what ramp_fit gives, and the entries after it."""
    names = [None if isinstance(e, Save) else e.name for e in recipe.entries]
    end = names.index("ramp_fit") + 1
    steps = [e for e in recipe.entries[:end] if not isinstance(e, Save) and not _is_off(e, exposure, recipe)]
    *walks, (_, last) = ramp.walks(steps, exposure, recipe)
    with ramp.walked(exposure, scratch):
        for kind, steps in walks:
            _go_through("prepare", steps[0], exposure, refs, recipe)
            pieces = exposure.blocks(keep=True) if kind == "integrations" else exposure.strips(ramp.halo(steps, recipe), keep=True)
            for piece in pieces:
                _apply_all(steps, piece, refs, recipe)
            _go_through("finish", steps[-1], exposure, refs, recipe)
            exposure.prepared.clear()
        strips = exposure.strips(ramp.halo(last, recipe), last=True)
        results = ramp.put_together(exposure, strips, lambda strip: _apply_all(last, strip, refs, recipe))
    return results, list(recipe.entries[end:])


def _apply_all(steps, piece, refs, recipe):
    """Several steps, one after the other, on a block or strip; returns what the last one gives."""
    cut = refs.strip(piece.rows)
    for entry in steps:
        results = apply(entry, piece, cut, recipe)
    return results


def _is_off(entry, exposure, recipe):
    """Whether a step is switched off: recorded, and nothing is walked for it."""
    off = recipe.parameters.get(entry.name, {}).get("skip", getattr(step_module(entry.name), "SKIP", False))
    if off:
        _record(exposure, entry.name, SKIPPED, "switched off", 0.0)
    return off


def _go_through(function, entry, exposure, refs, recipe):
    """Let a step go through all of the exposure before its walk ("prepare") or after it ("finish"), if it has to."""
    skipped = exposure.steps.get(entry.name, (None,))[0] == SKIPPED
    if skipped or not ramp.walks_itself(function, entry, exposure, recipe):
        return
    began = time.perf_counter()
    with suppress(Skip):  # its `apply` says so itself
        exposure.prepared[entry.name] = _call(function, entry, exposure, refs, recipe)
    exposure.seconds[entry.name] = exposure.seconds.get(entry.name, 0.0) + time.perf_counter() - began
