"""A chain is a loop over its steps. What runs here runs the same from a rule, from the command line and from a notebook."""

import logging
from contextlib import nullcontext
from dataclasses import replace

import numpy as np

from ..model import ramp, stripes
from ..model.exposure import Exposure, Members
from ..model.references import References
from ..products import stored
from ..settings import facts, step_modules
from ..settings.chains import Save, Step, root_and_suffix
from ..vocabulary.errors import InputError
from . import superstripes
from .one_step import COMPLETE, apply, apply_to_all, reference_types, takes_all
from .walk import ends_ramp, walk

log = logging.getLogger(__name__)

MEASURED = ("err", "var_poisson", "var_rnoise")  # planes that all members have, or none (VAR_FLAT is that of a step that may be skipped)
ADD = "Add the extension, or take the file from the archive again"


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
    facts.take_in(recipe.own)
    if recipe.takes == "members":
        return _run_members(recipe, source, write, scratch)
    given = isinstance(source, Exposure)
    opened = nullcontext(source) if given else stored.opened(source, recipe.group_flags, of_ramps=not ends_ramp(recipe))
    with opened as exposure:
        _check_start(recipe, exposure)
        _tell(recipe, exposure)
        _check_planes(recipe, exposure)
        exposure.tell_notes()
        refs = References(recipe.references, exposure.header, recipe.names)
        _warn(recipe, exposure.name)
        exposure.recipe = recipe
        exposure.members = Members([(member["path"], member["exptype"]) for member in recipe.members], stored.read)
        for keyword, name in (("ASNPOOL", "pool"), ("ASNTABLE", "table")) if recipe.association else ():
            exposure.header[keyword] = recipe.association[name]
        if stripes.positions(exposure.header):
            recipe = superstripes.put_together(exposure, recipe, apply)
        current, entries = [exposure], list(recipe.entries)
        if exposure.raw is not None:
            if ends_ramp(recipe) and ramp.is_large(exposure.raw.shape):
                current, entries = walk(recipe, exposure, refs, scratch)
            else:
                exposure.load()
        for number, entry in enumerate(entries):
            if isinstance(entry, Save):
                current = _save(entry, current, recipe, write)
            else:
                current = _applied(entry, current, refs, recipe, entries[number + 1 :])
                _drop(refs, entry, entries[number + 1 :])
        return current


def _warn(recipe, name):
    """Tell what speaks against the references, and what the product is made without."""
    for doubt in recipe.doubts:
        log.warning("%s", doubt)
    if recipe.association.get("lacks"):
        log.warning("%s: %s", name, recipe.association["lacks"])


def _applied(entry, current, refs, recipe, later):
    """A step on each of the exposures that there are; one of the user's own is not for the tables and maps that came beside an image."""
    wanted = [one for one in current if _is_measured(one)] if entry.own else []
    wanted = wanted or current
    for one in wanted if entry.own and all(isinstance(other, Save) for other in later) else ():
        if not isinstance(one, Members) and not any(one.suffix in save.suffixes for save in later):
            log.warning(
                "%s: what %s does to the %s is in no product: it is written before. Insert it earlier", one.name, entry.name, one.suffix
            )
    return [after for one in current for after in (apply(entry, one, refs, recipe) if one in wanted else [one])]


def _is_measured(one):
    """Whether it is what was measured: an exposure or members, no catalogue, and no map of labels."""
    if isinstance(one, Members):
        return True
    labels = any(pixels.sci is not None and pixels.sci.dtype.kind in "iu" for pixels in one.pixels)
    return one.catalogue is None and one.tree is None and not labels


def _run_members(recipe, source, write, scratch):
    """Take the members of an association through a chain; the source is the first of them, or `Members` that are in memory."""
    members = source if isinstance(source, Members) else _members(recipe, source, scratch)
    members.recipe = recipe
    _tell(recipe, members)
    _warn(recipe, recipe.product)
    _check_members(recipe, members)
    first = members.shells()[0]
    refs = References(recipe.references, first.header, recipe.names)
    return _go_on(recipe, list(recipe.entries), [members], refs, write)


def _go_on(recipe, entries, current, refs, write, last=True):
    """The entries of a chain of members, from some place on.

    Where a step makes several of them, one a source, each goes on to the end of the chain by itself: the results of one are in memory.
    """
    for number, entry in enumerate(entries):
        later = entries[number + 1 :]
        if isinstance(entry, Save):
            current = _save(entry, current, recipe, write)
            continue
        if takes_all(entry):
            current = apply_to_all(entry, current, refs, recipe)
        else:
            current = _applied(entry, current, refs, recipe, later)
        if last:
            _drop(refs, entry, later)
        sources = [after for after in current if isinstance(after, Members)]
        if len(sources) == len(current) and any(source.name != recipe.product for source in sources):
            left = []
            for source in sources:
                its = replace(recipe, product=source.name)
                left += _go_on(its, later, [source], refs, write, last=last and source is sources[-1])
            return left
    return current


def _check_members(recipe, members):
    """Raise InputError where one of the members to be combined lacks planes: of those that a step needs, or that the others have.

    Without its variance of the read noise, for one, an image would have another weight than the others.
    """
    first = None
    for exposure in members.each():
        _check_planes(recipe, exposure)
        first = first or (exposure.name, {plane for plane in MEASURED if _has(exposure, plane)})
        for plane in MEASURED:
            if exposure.pixels and _has(exposure, plane) != (plane in first[1]):
                lacking, other = (exposure.name, first[0]) if plane in first[1] else (first[0], exposure.name)
                raise InputError(f"it has no {plane.upper()}, and {other} has one: they can't be combined", lacking, ADD)


def _has(exposure, plane):
    return all(getattr(pixels, plane) is not None for pixels in exposure.pixels)


def _members(recipe, source, scratch):
    every = [(source, "science"), *((member["path"], member["exptype"]) for member in recipe.members if "of" not in member)]
    association = recipe.association
    groups = association.get("groups", {})

    def read(path):
        exposure = stored.read(path)
        _check_start(recipe, exposure)
        exposure.header["ASNPOOL"], exposure.header["ASNTABLE"] = association["pool"], association["table"]
        group = groups.get(root_and_suffix(path)[0])
        if group:
            exposure.header["EXPGRPID"] = (group, "Exposure group identifier")
        return exposure

    members = Members(every, read, recipe.product, association.get("asn_id", ""), association["table"], scratch)
    stars = {member["of"]: member["path"] for member in recipe.members if "of" in member}
    members.catalogues = {path: stars.get(root_and_suffix(path)[0]) for path, _ in every}
    return members


def _tell(recipe, exposure):
    """Say in the log what is done to which exposure, by whom, and with which parameters of the user's or of CRDS."""
    context = f", {recipe.context}" if recipe.context else ""
    log.info("%s on %s, by %s%s", recipe.pipeline, exposure.name, stored.SOFTWARE, context)
    changed = [
        f"{step}.{name} = {recipe.parameters[step][name]!r} ({origin})"
        for step, origins in recipe.origins.items()
        for name, origin in origins.items()
        if recipe.parameters[step][name] != facts.about(step).parameters[name].default
    ]
    log.info("Parameters that are not the defaults: %s", ", ".join(changed) or "none")


def _check_start(recipe, exposure):
    """Raise InputError where the exposure is of another level than the chain starts from."""
    wanted = {suffix.removesuffix("ints") for suffix in recipe.reads}
    level = exposure.suffix.removesuffix("ints")
    is_ramp = exposure.raw is not None or any(pixels.sci.ndim == 4 for pixels in exposure.pixels)
    named_otherwise = level in ("uncal", "rate", "cal") and level not in wanted
    if wanted and (named_otherwise or is_ramp != ("uncal" in wanted)):
        raise InputError(
            f"{recipe.pipeline} starts from {' or '.join(f'*_{suffix}.fits' for suffix in recipe.reads)}, which this is not",
            exposure.name,
            f"Give it the {recipe.reads[0]} file, or choose another pipeline",
        )


def _check_planes(recipe, exposure):
    """Raise InputError where an image lacks planes that a step of the chain needs (its NEEDS). Ramps have none yet."""
    is_ramp = exposure.raw is not None or any(pixels.sci.ndim == 4 for pixels in exposure.pixels)
    for entry in () if is_ramp else recipe.entries:
        if isinstance(entry, Save) or _is_idle(entry, recipe):
            continue
        for plane in getattr(step_modules.step_module(entry.name), "NEEDS", ()):
            lacking = next((p for p in exposure.pixels if getattr(p, plane) is None), None)
            if lacking:
                what = f"it has no {plane.upper()}, which {entry.name} needs: float32 of the shape {lacking.shape} was expected"
                raise InputError(what, exposure.name, ADD)


def _is_idle(entry, recipe):
    """Whether a step does nothing: it is switched off, or takes references and there are none."""
    off = recipe.parameters.get(entry.name, {}).get("skip", getattr(step_modules.step_module(entry.name), "SKIP", False))
    types = reference_types(entry)
    return off or (bool(types) and not any(kind in recipe.references for kind in types))


def _save(entry, current, recipe, write):
    """Write those of the exposures that the entry names, under the suffix that it gives them; returns those that go on."""
    made, go_on = [], []
    for exposure in current:
        if isinstance(exposure, Members):
            _save_members(entry, exposure, recipe, write)
            go_on.append(exposure)
            continue
        suffix = entry.suffixes.get(exposure.suffix)
        if suffix and (not entry.optional or suffix in recipe.save) and _is_for(entry, exposure, suffix, recipe):
            exposure.suffix = suffix
            exposure.product = entry.name.format(product=exposure.product or recipe.product, asn_id=recipe.association.get("asn_id", ""))
            made.append(exposure)
        if not (suffix and entry.last):
            go_on.append(exposure)
    if entry.last and entry.optional and not entry.name:
        absent = set(entry.suffixes.values()) & set(recipe.save) - {exposure.suffix for exposure in current}
        made += [_nothing(entry, current[0], suffix) for suffix in sorted(absent)]
    for exposure in made:
        images = [pixels.sci for pixels in exposure.pixels if pixels.sci is not None]
        if images and not any(_has_value(image) for image in images):
            log.warning("%s: no pixel of its %s has a value", exposure.name, exposure.suffix)
    if write and made:
        write(made)
    return go_on


def _is_for(entry, exposure, suffix, recipe):
    """Whether an entry is for the exposure where there are two of a suffix: one for those with a name of their own, and a plain one."""
    ways = {bool(save.name) for save in recipe.entries if isinstance(save, Save) and suffix in save.suffixes.values()}
    return len(ways) == 1 or bool(exposure.product) == bool(entry.name)


def _has_value(array):
    """Whether a number of an array is finite; seen in its first rows, nearly always."""
    return array.ndim < 2 or any(np.isfinite(row).any() for row in array.reshape(-1, array.shape[-1]))


def _save_members(entry, members, recipe, write):
    """Write each member as it stands, one after the other; those of a source together."""
    (suffix,) = set(entry.suffixes.values())
    made = all(members.steps[step][0] == COMPLETE for step in entry.makers)
    if write is None or not made or (entry.optional and suffix not in recipe.save):
        return
    if entry.together:
        whole = members.together(entry.suffixes)
        if whole is not None:
            whole.suffix = suffix
            whole.product = entry.name.format(product=members.name, asn_id=members.asn_id)
            write([whole])
        return
    for exposure in (exposure for kind in entry.members for exposure in members.each(kind)):
        if exposure.suffix not in entry.suffixes:
            continue
        before, exposure.suffix = exposure.suffix, entry.suffixes[exposure.suffix]
        exposure.product = entry.name.format(member=root_and_suffix(exposure.name)[0], asn_id=members.asn_id)
        write([exposure])
        exposure.suffix, exposure.product = before, ""


def _nothing(entry, exposure, suffix):
    """The product of a step that was skipped, or had nothing to show: it says so, and holds nothing."""
    empty = (exposure.shells()[0] if isinstance(exposure, Members) else exposure).aside(suffix)
    empty.product = ""  # it is no member's own
    status, why = exposure.steps[entry.makers[-1]]
    if entry.format == "asdf":
        empty.tree = {"status": status, "why": why or "there was nothing to save"}
    return empty


def _drop(refs, entry, later):
    """Give the memory of a step's references back, unless a later step takes them."""
    wanted = {kind for e in later if isinstance(e, Step) for kind in reference_types(e)}
    for its in (refs, *(refs.chosen_for(exp_type) for exp_type in entry.also_of)):
        for kind in reference_types(entry):
            if kind in its and kind not in wanted:
                its[kind].drop()
