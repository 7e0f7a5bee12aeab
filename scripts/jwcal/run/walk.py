"""The steps up to the fit of the rates on a ramp that is too large for memory: piece by piece, see `model.ramp`."""

import time
from contextlib import suppress

from ..model import ramp
from ..settings import step_modules
from ..settings.chains import Save
from ..vocabulary.errors import Skip
from .one_step import SKIPPED, apply, call, parameters, record


def ends_ramp(recipe):
    """Whether the chain makes rates of a ramp, and the ramp is not itself a product."""
    ends = [e for e in recipe.entries if not isinstance(e, Save) and e.name == "ramp_fit"]
    saved = any(s in recipe.save for e in recipe.entries if isinstance(e, Save) and e.optional for s in e.suffixes.values())
    off = recipe.parameters.get("ramp_fit", {}).get("skip", False)
    return bool(ends) and not saved and not off


def walk(recipe, exposure, refs, scratch):
    """The steps up to ramp_fit, by blocks of integrations and by strips of rows; returns what ramp_fit gives, and the entries after it."""
    names = [None if isinstance(e, Save) else e.name for e in recipe.entries]
    end = names.index("ramp_fit") + 1
    steps = [e for e in recipe.entries[:end] if not isinstance(e, Save) and not _is_off(e, exposure, recipe)]
    *before, (_, last) = walks(steps, exposure, recipe)
    with ramp.walked(exposure, scratch):
        for kind, steps in before:
            _go_through("prepare", steps[0], exposure, refs, recipe)
            pieces = exposure.blocks(keep=True) if kind == "integrations" else exposure.strips(halo(steps, recipe), keep=True)
            for piece in pieces:
                _apply_all(steps, piece, refs, recipe)
            _go_through("finish", steps[-1], exposure, refs, recipe)
            exposure.prepared.clear()
        strips = exposure.strips(halo(last, recipe), last=True)
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
    off = recipe.parameters.get(entry.name, {}).get("skip", getattr(step_modules.step_module(entry.name), "SKIP", False))
    if off:
        record(exposure, entry.name, SKIPPED, "switched off", 0.0)
    return off


def _go_through(function, entry, exposure, refs, recipe):
    """Let a step go through all of the exposure before its walk ("prepare") or after it ("finish"), if it has to."""
    skipped = exposure.steps.get(entry.name, (None,))[0] == SKIPPED
    if skipped or not walks_itself(function, entry, exposure, recipe):
        return
    began = time.perf_counter()
    with suppress(Skip):  # its `apply` says so itself
        exposure.prepared[entry.name] = call(function, entry, exposure, refs, recipe)
    exposure.seconds[entry.name] = exposure.seconds.get(entry.name, 0.0) + time.perf_counter() - began


# --- which steps walk together ---


def walks_itself(function, step, exposure, recipe):
    """Whether a step has this function, "prepare" or "finish", and has to go through the exposure in it."""
    module = step_modules.step_module(step.name)
    needed = getattr(module, "walks_itself", None)
    return hasattr(module, function) and (needed is None or needed(exposure, parameters(step, recipe)))


def walks(steps, exposure, recipe):
    """Steps grouped by what they walk by, [("integrations", [...]), ("rows", [...]), ...].

    One that walks itself before (`prepare`) is the first of its group, one that does so after (`finish`) the last.
    """
    groups, ended = [], True
    for step in steps:
        kind = getattr(step_modules.step_module(step.name), "WALKS", "integrations")
        if ended or groups[-1][0] != kind or walks_itself("prepare", step, exposure, recipe):
            groups.append((kind, []))
        groups[-1][1].append(step)
        ended = walks_itself("finish", step, exposure, recipe)
    return groups


def halo(steps, recipe):
    """Rows beyond a strip that the steps look at."""
    total = 0
    for step in steps:
        margin = getattr(step_modules.step_module(step.name), "HALO", 0)
        total += margin(recipe.parameters.get(step.name, {})) if callable(margin) else margin
    return total
