"""One pipeline on files."""

from ..api import run_pipeline
from ..settings import config, selector
from ..settings.chains import is_built
from ..vocabulary.errors import JwcalError
from ..workflow import requests
from . import words


def main(arguments):
    """Run a pipeline on files; returns the exit status."""
    try:
        pipeline = selector.pipeline_name(arguments[0])
        options = _parser(pipeline).parse_args(words.spelled_out(arguments[1:]))
        words.begin_logging(options)
        asked = _asked(pipeline, options)
    except JwcalError as error:
        return words.fail(error)
    failed = 0
    for file in options.files:
        try:
            _run(pipeline, file, options, *asked)
        except JwcalError as error:
            failed = words.fail(error)
    return failed


def _parser(pipeline):
    parser = words.parser(pipeline, f"The pipeline {pipeline} on files, one after the other.")
    parser.add_argument("files", nargs="+", metavar="FILE", help="an exposure, or an association (*_asn.json) with its members beside it")
    parser.add_argument("--out", default=".", metavar="DIR", help="folder for the products (default: the current one)")
    words.add_parameters(parser.add_argument_group("parameters and references"))
    words.add_logging(parser.add_argument_group("what is said"))
    return parser


def _asked(pipeline, options):
    """Steps' parameters, steps of the user's own and references of the options; raises ConfigError where they can only be a mistake.

    A file of parameters may hold those of other pipelines, an option may not.
    """
    steps, overrides = words.step_parameters(options), words.overrides(options)
    insert = steps.pop("insert", {})
    known = config.load({"steps": steps, "save": options.save, "references": {"overrides": overrides}, "insert": insert})
    if is_built(pipeline):
        named = {step: f"--{option} {step}" for option in ("skip", "run") for step in getattr(options, option)}
        own = [item.step for item in known.insert.get(pipeline, ())]
        named |= {item.partition(".")[0]: f"--set {item}" for item in options.set}
        requests.check(pipeline, named, {kind: f"--override {kind}={path}" for kind, path in overrides.items()}, own)
    return steps, insert, overrides


def _run(pipeline, file, options, steps, insert, overrides):
    crds = {"crds_path": options.crds_path, "crds_context": options.crds_context}
    made = run_pipeline(
        pipeline,
        file,
        steps,
        overrides,
        out=options.out,
        every=True,
        save=options.save,
        insert=insert,
        **{k: v for k, v in crds.items() if v is not None},
    )
    if not options.quiet:
        print(f"{file}: {', '.join(made)} written to {options.out}")
