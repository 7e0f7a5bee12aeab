"""What a product was made from, in a small record beside it, and in words why it has to be made again."""

import json
import os
import re
import resource
import socket
import time
from contextlib import suppress
from pathlib import Path

from ..files import fingerprint, storage
from ..machine.threads import side_by_side

FORMAT = 1
TIME = "%Y-%m-%dT%H:%M:%SZ"
LISTING = "_list.csv"  # end of the name of a product that lists others
TABLES = (".fits", ".asdf", ".ecsv", ".gz")  # files that list no others
DIGESTS = re.compile(r"( [0-9a-f]{32})+$")  # behind the name of a file of the user's
LONGEST = 2**20  # bytes of a text file that may list others
KEYWORD = "PROVFILE"  # in a product's header: the name of its record


def record_path(product):
    """Where the record of a product lies: jw..._rate.json beside jw..._rate.fits."""
    return Path(record_name(product))


def has_record(product):
    """Whether a product, or what was one, has a record."""
    return os.path.exists(record_name(product))


def record_name(product):
    """`record_path` as text."""
    return os.path.splitext(product)[0] + ".json"  # thousands of paths, so no Path


def ingredients(recipe, code, digests):
    """Everything beside its inputs that a product depends on.

    Parameters
    ----------
    recipe : Recipe
    code : codebase.Code
    digests : fingerprint.Digests

    Returns
    -------
    dict
        Plain data: `pipeline`, `association`, `models`; `chain`, `parameters`, `references`, `code` and `libraries` of the
        steps that are not switched off.

    Raises
    ------
    InputError
        A reference file of the user's own can't be read.
    """
    on = _running(recipe)
    steps = [e.name for e in on]
    own = roots(recipe, code)
    return {
        "pipeline": recipe.pipeline,
        "chain": [[e.name, dict(e.arguments)] for e in on] + [[e.name, dict(case)] for e in on for case in e.by_slit],
        "association": recipe.association,
        "models": {new: e.model for e in recipe.saves if e.model for new in e.suffixes.values()},
        "parameters": {step: {k: _value(v, digests) for k, v in recipe.parameters.get(step, {}).items()} for step in steps},
        "references": {kind: _reference(recipe, kind, digests) for kind in sorted(recipe.references)},
        "code": code.modules(own),
        "libraries": code.libraries(own),
    }


def roots(recipe, code):
    """The modules that a recipe's products are made by, before their imports are followed; see `codebase.Code.of_step`."""
    return [
        *(f"products/{form}" for form in recipe.forms),
        *(m for e in _running(recipe) for given in e.calls for m in code.of_step(e.name, recipe.parameters.get(e.name, {}) | given, e.own)),
    ]


def _running(recipe):
    """The steps that are not switched off."""
    return [e for e in recipe.steps if not recipe.parameters.get(e.name, {}).get("skip")]


def _value(value, digests):
    """A parameter; one that names a file (a mask, a flat, a catalogue of the user's) with its content."""
    if isinstance(value, tuple):
        return list(value)  # as it comes back from a record
    if not (isinstance(value, str) and os.path.splitext(value)[1] and os.path.isfile(value)):
        return value
    return " ".join([value, *(digests.of(path) for path in (value, *_listed_in(value)))])


def _listed_in(path):
    """The files that a text file lists as the last words of its lines, beside it or by their paths: catalogues of exposures."""
    if os.path.splitext(path)[1].lower() in TABLES or os.stat(path).st_size > LONGEST:
        return []
    try:
        with open(path, encoding="utf-8") as file:
            words = [words[-1] for words in map(str.split, file) if words]
    except (OSError, UnicodeDecodeError):
        return []  # the step that reads it will tell
    found = dict.fromkeys(os.path.join(os.path.dirname(path), word) for word in words if not word.startswith("#"))
    return [name for name in found if os.path.isfile(name)]


def _reference(recipe, kind, digests):
    """How a reference is called: CRDS never changes a file, a user's own may change under its name."""
    name, path = recipe.names.get(kind, "N/A"), recipe.references[kind]
    if path == "N/A" or name.startswith("crds://"):
        return name
    return f"{Path(path).name} {digests.of(path)}"


# --- records ---


def read(product):
    """The record of a product, or None where there is none that can be understood."""
    try:
        record = storage.load_json(record_name(product))
        return record if record["format"] == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(products, made_from, inputs, run, context="", listed=()):
    """Write the records of a job's products, which are whole.

    Parameters
    ----------
    products : iterable of path
    made_from : dict
        Their `ingredients`.
    inputs : list of dict
        As `measured` gives them.
    run : dict
        When, where and how long; nothing is compared with it.
    context : str
        CRDS context that the references were chosen with.
    listed : list of dict
        Of the product that lists others: `file` (relative to its folder), `size`, `mtime_ns` and `digest` of each.

    Raises
    ------
    ProductError
    """

    def record(product):
        size, mtime_ns = fingerprint.state(os.stat(product))
        facts = {"name": Path(product).name, "digest": fingerprint.digest(product), "size": size, "mtime_ns": mtime_ns}
        content = {"format": FORMAT, "product": facts, "inputs": inputs, "made_from": made_from, "context": context, "run": run}
        if listed and str(product).endswith(LISTING):
            content["listed"] = listed
        _write(record_path(product), content)

    side_by_side(record, list(products))


def listed(product, record):
    """The files that a product lists, as its record has them: (path, facts)."""
    folder = os.path.dirname(product)
    return [(os.path.normpath(os.path.join(folder, row["file"])), row) for row in (record or {}).get("listed", ())]


def set_time(product, mtime_ns, inputs=None):
    """Set the time of a product whose content is what its record says, in the record too; with the inputs that it was found to go with."""
    os.utime(product, ns=(mtime_ns, mtime_ns))
    record = read(product)
    record["product"]["mtime_ns"] = os.stat(product).st_mtime_ns  # as exact as the file system is
    _write(record_path(product), {**record, "inputs": inputs or record["inputs"]})


def _write(path, record):
    with storage.replaced(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1))


def measured(paths):
    """The inputs of a job as its record names them.

    Parameters
    ----------
    paths : list of (path, str)
        File, and what it is to the job: "science", "background"...

    Returns
    -------
    list of dict
        `name`, `exptype`, `digest`, `size`, `mtime_ns`. A product's digest is in its own record and is not computed again.

    Raises
    ------
    InputError
        A file can't be read.
    """
    found = []
    for path, exptype in paths:
        digest = known_digest(path) or fingerprint.digest(path)
        size, mtime_ns = fingerprint.state(os.stat(path))
        found.append({"name": Path(path).name, "exptype": exptype, "digest": digest, "size": size, "mtime_ns": mtime_ns})
    return found


def known_digest(product):
    """The digest that a product's record gives, if the product is as it was when the record was written."""
    record = read(product)
    with suppress(OSError):
        if record and fingerprint.state(os.stat(product)) == [record["product"]["size"], record["product"]["mtime_ns"]]:
            return record["product"]["digest"]
    return None


def run_facts(started, steps):
    """When, where and how long a job ran, and its steps: what a record keeps and nothing is compared with."""
    import numba  # not for those who only read records

    return {
        "started": time.strftime(TIME, time.gmtime(started)),
        "seconds": round(time.time() - started, 3),
        "host": socket.gethostname(),
        "threads": numba.get_num_threads(),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "steps": steps,
    }


def step_facts(exposure):
    """What became of each step, and how long it took: {step: {"status", "why", "seconds"}}."""
    return {
        step: {"status": status, "why": why, "seconds": round(exposure.seconds.get(step, 0.0), 3)}
        for step, (status, why) in exposure.steps.items()
    }


# --- why a product is stale ---


def changes(record, made_from, code, own=None):
    """In words, what of a product's ingredients is not as it was when it was made.

    Parameters
    ----------
    record : dict
    made_from : dict
        The `ingredients` now.
    code : codebase.Code
    own : dict, optional
        Step -> the user's own module.

    Returns
    -------
    list of str
        Empty if nothing changed.
    """
    before = record["made_from"]
    if before == made_from:
        return []
    words = []
    was, now = ([step for step, _ in chain["chain"]] for chain in (before, made_from))
    words += [f"step {step} left out" for step in was if step not in now] + [f"step {step} put in" for step in now if step not in was]
    if not words and any(before[what] != made_from[what] for what in ("pipeline", "chain", "models")):
        words.append(f"the chain of {made_from['pipeline']}")
    if before["association"] != made_from["association"]:
        words.append(f"association {made_from['association'].get('table')}")
    for step in now:
        old = before["parameters"].get(step)
        if old is not None:
            words += _parameter_changes(step, old, made_from["parameters"][step])
    code_change = _code_change(made_from, code, own or {})
    alike = was == now and before["parameters"] == made_from["parameters"]
    for what, in_words in (("references", _reference_change), ("code", code_change), ("libraries", "{} {} -> {}".format)):
        old, new = before[what], made_from[what]
        # what came or went with a step or a parameter is said by that
        names = old.keys() | new.keys() if alike or (was == now and what != "code") else old.keys() & new.keys()
        words += [in_words(name, old.get(name), new.get(name)) for name in sorted(names) if old.get(name) != new.get(name)]
    return words


def _parameter_changes(step, old, new):
    words = []
    for name in sorted(name for name in old | new if old.get(name) != new.get(name)):
        was, now = (DIGESTS.sub("", value) if isinstance(value, str) else value for value in (old.get(name), new.get(name)))
        words.append(f"{step}.{name} {now}: its content" if was == now else f"{step}.{name} {was} -> {now}")
    return words


def _reference_change(kind, old, new):
    old, new = (str(name).removeprefix("crds://") for name in (old, new))
    old, new = (name.rpartition(" ")[0] or name for name in (old, new))  # without the digest of a file of the user's own
    return f"{kind} {old}: its content" if old == new else f"{kind} {old} -> {new}"


def _code_change(made_from, code, own):
    steps = {}
    for step, given in made_from["chain"]:
        arguments = made_from["parameters"].get(step, {}) | given | given.get("with", {})
        steps.setdefault(step, []).extend(code.of_step(step, arguments, own.get(step, "")))

    def in_words(module, old, new):
        """step code: jump (kernels/twopoint_jump)"""
        of = code.steps_with(module, steps)
        if not of:
            return f"code: {module}"
        return f"step code: {', '.join(of)}" + (f" ({module})" if module != f"steps/{of[0]}" else "")

    return in_words


def input_changes(record, inputs, digests, again=(), read=read):
    """In words, which inputs are not those that a product was made from.

    Parameters
    ----------
    record : dict
    inputs : list of (path, str)
        As for `measured`.
    digests : fingerprint.Digests
    again : set of path
        Products that are made again in this run: their content is not known yet.
    read : callable
        Gives the record of a product.

    Returns
    -------
    list of str

    Raises
    ------
    InputError
        One can't be read.
    """
    before = {(i["name"], i["exptype"]): i for i in record["inputs"]}
    now = {(os.path.basename(path), exptype): path for path, exptype in inputs}
    words = [f"{exptype} {name} is no input any more" for name, exptype in before if (name, exptype) not in now]
    words += [f"{exptype} {name} is a new input" for name, exptype in now if (name, exptype) not in before]
    for key, path in now.items():
        if key in before and path not in again:
            own = read(path)
            known = own["product"] if own else before[key]
            if digests.of(path, known["size"], known["mtime_ns"], known["digest"]) != before[key]["digest"]:
                words.append(f"{key[0]}: its content")
    return sorted(words)
