"""One pipeline on files, or one step of it."""

import logging
from pathlib import Path

from ..api import run_pipeline
from ..products import stored
from ..settings import chains, config, saved, selector
from ..settings.chains import is_built
from ..settings.tables import table
from ..vocabulary.errors import ConfigError, JwcalError
from ..vocabulary.nearest import nearest
from ..workflow import alone, plan, requests
from . import described, words

log = logging.getLogger(__name__)


def main(arguments):
    """Run a pipeline, or a step, on files; returns the exit status."""
    try:
        name, step = _meant(arguments[0])
        options = _parser(name, step).parse_args(words.spelled_out(arguments[1:]))
        words.begin_logging(options)
        asked = _asked(name, step, options)
        if options.save_parameters:
            _save_parameters(name, step, options, asked)
        elif not options.files:
            raise ConfigError(f"jwcal {name}: no file is given", do=f"Write jwcal {name} FILE; --help tells more")
    except JwcalError as error:
        return words.fail(error)
    failed = 0
    for file in options.files:
        try:
            made = _run_step(name, file, options, asked) if step else _run(name, file, options, asked)
            if not options.quiet:
                print(f"{file}: {made} written to {options.out}")
        except JwcalError as error:
            failed = words.fail(error)
    return failed


def _meant(word):
    """The pipeline or the step that a word means: (name, whether it is a step)."""
    steps = described.all_steps()
    step = word.removesuffix("_step").lower()
    if step in steps:
        return step, True
    try:
        return selector.pipeline_name(word), False
    except ConfigError:
        near = nearest(word, [*steps, *table("pipelines"), *words.names(), "--help", "--version"])
        do = f"The nearest is {near}" if near else "`jwcal --help` names all"
        raise ConfigError(f"there is no command, pipeline or step {word!r}", do=do) from None


def _parser(name, step):
    what = f"The step {name}" if step else f"The pipeline {name}"
    epilog = described.step(name) if step else described.pipeline(name)
    usage = f"jwcal {name} [options] FILE..."
    parser = words.parser(name, f"{what} on files, one after the other.", epilog=epilog, usage=usage)
    association = "" if step else ", or an association (*_asn.json) with its members beside it"
    parser.add_argument("files", nargs="*", metavar="FILE", help=f"an exposure{association}")
    parser.add_argument("--out", default=".", metavar="DIR", help="folder for the products (default: the current one)")
    group = parser.add_argument_group("parameters and references")
    words.add_parameters(group)
    said = "write the parameters that the first file is calibrated with, or without one the defaults, to *.yaml or *.asdf"
    group.add_argument("--save-parameters", metavar="FILE", help=said)
    words.add_logging(parser.add_argument_group("what is said"))
    return parser


def _asked(name, step, options):
    """The configuration that the options make, as a dict; raises ConfigError where they can only be a mistake.

    A file of parameters may hold those of other pipelines, an option may not.
    """
    steps, overrides = words.step_parameters(options), words.overrides(options)
    insert = steps.pop("insert", {})
    if step:
        steps.setdefault(name, {}).setdefault("skip", False)  # who calls it wants it
        others = sorted({item.partition(".")[0] for item in options.set} - {name})
        if others:
            raise ConfigError(f"--set {others[0]}...: jwcal {name} runs {name} alone", do=f"Run a pipeline that has {others[0]}")
    crds = {"crds_path": options.crds_path, "crds_context": options.crds_context}
    references = {"overrides": overrides} | {key: value for key, value in crds.items() if value is not None}
    given = {"steps": steps, "save": options.save, "references": references, "insert": insert}
    known = config.load(given)
    if not step and is_built(name):
        named = {step: f"--{option} {step}" for option in ("skip", "run") for step in getattr(options, option)}
        own = [item.step for item in known.insert.get(name, ())]
        named |= {item.partition(".")[0]: f"--set {item}" for item in options.set}
        requests.check(name, named, {kind: f"--override {kind}={path}" for kind, path in overrides.items()}, own)
    return given


def _run(pipeline, file, options, asked):
    references = dict(asked["references"])
    overrides = references.pop("overrides")
    more = {"save": asked["save"], "insert": asked["insert"], **references}
    return ", ".join(run_pipeline(pipeline, file, asked["steps"], overrides, out=options.out, every=True, **more))


def _run_step(step, file, options, asked):
    return ", ".join(path.name for path in alone.run(step, file, config.load(asked), options.out))


# --- parameters, written down ---


def _save_parameters(name, step, options, asked):
    known = config.load(asked)
    if options.files:
        file = options.files[0]
        if Path(file).suffix == ".json":
            raise ConfigError("parameters are saved for an exposure, not for an association", file, "Give one of its members")
        header = stored.header(file)
        pipeline = alone.chain_of(name, header, file)[0] if step else name
        found = plan.recipe_for(pipeline, header, known, file).parameters
    else:
        found = {each: known.step_parameters(each, "")[0] for each in ([name] if step else chains.steps_of(name))}
    if step:
        found = {name: found[name]}
    saved.write(options.save_parameters, found, "" if step else name)
    log.info("The parameters are in %s", options.save_parameters)
