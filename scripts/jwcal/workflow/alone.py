"""One step by itself on a file: as its pipeline would run it there, with its references and parameters, and a product named after it."""

from dataclasses import replace
from pathlib import Path

from ..associations import members
from ..files import fingerprint
from ..products import stored
from ..program import index
from ..provenance import codebase, records
from ..settings import chains, config, forms, selector, step_modules
from ..settings.chains import Save
from ..settings.tables import table
from ..vocabulary.errors import ConfigError
from . import plan, work

RAMP_FIT, RAMPS = "ramp_fit", ("Level1bModel", "RampModel")
CUT_OUT, WHOLE = "extract_2d", ("ImageModel", "CubeModel")
GROUPS = ("members", "results")  # what a step takes that looks at several exposures


def chain_of(step, header, file=None):
    """The pipeline of this exposure that has the step, its chain, and the step as an entry of that.

    Raises
    ------
    ConfigError
        None of its pipelines has the step.
    InputError
        The header is none of an exposure's.
    """
    pipelines = [name for name in selector.select_for(header, file) if name and chains.is_built(name, header)]
    for pipeline in pipelines:
        chain = chains.chain(pipeline, header)
        found = [entry for entry in chain.steps if entry.name == step]
        if found:
            return pipeline, chain, found[0]
    what = f"no pipeline of this exposure has the step {step}: it goes through {' -> '.join(pipelines) or 'none'}"
    raise ConfigError(what, file, "Choose a step of these")


def run(step, file, settings, out):
    """Run a step on a file, and write what it makes to a folder.

    A step before it that leaves something in memory for it, and in no file, runs again: the module's FROM_MEMORY names it.

    Parameters
    ----------
    step : str
    file : path
        Raw, or a product of any step before it.
    settings : config.Config
    out : path
        The exposure with the step's name for a suffix, `..._jump.fits`; what else it makes under its own.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    JwcalError
    """
    if Path(file).suffix == ".json":
        raise ConfigError(
            f"{step} by itself takes an exposure, not an association", file, "Give it one of the members, or run its pipeline"
        )
    header = index.check(file) or stored.header(file)
    pipeline, whole, entry = chain_of(step, header, file)
    if getattr(step_modules.step_module(step), "TAKES", "") in GROUPS:
        raise ConfigError(f"{step} looks at several exposures together", file, f"Run {pipeline} on their association (*_asn.json)")
    check(step, whole, header, file)
    suffix, root = chains.root_and_suffix(str(file))[1], _root(file)
    kept, model = _kept(suffix, header, whole, step, pipeline)
    others = {name: name for name in table("products") if name not in (suffix, kept, chains.LIST)}
    before = from_memory(entry, whole)
    chain = replace(whole, entries=(*before, entry, Save({suffix: kept}, model=model), Save(others)), reads=(), takes="exposure")
    recipe = plan.recipe_for(pipeline, header, settings, str(file), chain)
    members.add_named(recipe, header, file)
    paths = {name: Path(out, chains.placed(root, chains.file_name(whole.entries, "", name))) for name in others}
    paths[kept] = Path(out, f"{root}_{step}.fits")
    shelf = work.Shelf(paths, by_hand=True)
    code = codebase.Code()
    made_from = records.ingredients(recipe, code, fingerprint.Digests())
    code.remember()
    work.make(recipe, made_from, file, [(file, "science"), *((m["path"], m["exptype"]) for m in recipe.members)], shelf)
    return [Path(path) for path in shelf.written]


def from_memory(entry, chain):
    """The steps of the chain that have to run before this one in the same process."""
    known = getattr(step_modules.step_module(entry.name), "FROM_MEMORY", {})
    wanted = [step for step, case in known.items() if case.items() <= entry.arguments.items()]
    return [step for step in chain.steps if step.name in wanted]


def check(step, chain, header, file):
    """Raise ConfigError where the exposure is a ramp and the step wants what was made of one, or the other way round; so with slits."""
    names, own = [entry.name for entry in chain.steps], str(header.get("DATAMODL") or "")
    if "uncal" not in chain.reads and own in RAMPS:
        what = f"{step} is a step of {chain.pipeline}, which starts from {' or '.join(chain.reads)}, and this is a ramp still"
        raise ConfigError(what, file, "Run stage 1 on it first")
    before_the_fit = names[: names.index(RAMP_FIT) + 1] if "uncal" in chain.reads and RAMP_FIT in names else ()
    if step in before_the_fit and own not in ("", *RAMPS):
        raise ConfigError(f"{step} works on a ramp, and this is none any more", file, "Give it the uncal file")
    if CUT_OUT in names[: names.index(step)] and own in WHOLE:
        what = f"{step} works on the spectra that {CUT_OUT} cuts out, and this is the detector as a whole"
        raise ConfigError(what, file, f"Run {CUT_OUT} on it first")


def _root(file):
    """The exposure's name, of a file that is called after a step or a product."""
    stem = chains.EXTENSION.sub("", Path(file).name)
    done = next((name for name in config.step_names() if stem.endswith(f"_{name}")), "")
    return stem.removesuffix(f"_{done}") if done else chains.root_and_suffix(str(file))[0]


def _kept(suffix, header, chain, step, pipeline):
    """As what the exposure is written that the step has changed: the suffix of a kind of product, and stdatamodels' class."""
    own = str(header.get("DATAMODL") or "")
    if "uncal" in chain.reads and own in ("", *RAMPS):
        return "ramp", ""
    models = [save.model for save in chain.saves if forms.of_model(save.model) == "slits"]
    slits = forms.of_model(own) == "slits" or (step == "extract_2d" and models)
    kept = suffix if suffix in table("products") else ("cal" if pipeline.endswith("2") else "rate") + "ints" * (own == "CubeModel")
    return kept, (own if forms.of_model(own) == "slits" else models[0]) if slits else ""
