"""One pipeline on files, or the chain of files: `python -m jwcal detector1 FILE`, `python -m jwcal select FILE`."""

import argparse
import sys

import yaml

from .machine import process
from .vocabulary.errors import ConfigError, JwcalError
from .workflow.jobs import start_logging

DOORS = """\
other doors:
  snakemake --cores N --config data=DIR   a whole program, stage by stage (README.md)
  python -m jwcal select FILE             which pipelines a file goes through, and why
  python -m jwcal.simulate                raw exposures with known truth, and references for them
  python -m jwcal.associations            which exposures become one product
  python -m jwcal.report RESULTS          a run as one HTML page
  python -m jwcal.jobs RECIPE             one job of a run again, with a debugger
  jwcal.run_pipeline                      the same pipelines in Python

Each tells more with --help.
"""


def main(arguments=None):
    """Run a pipeline on files, or tell the chain of files; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments:
        _parser().print_help()
        return 2
    options = _parser().parse_args(arguments)
    start_logging()
    failed = 0
    try:
        asked = None if options.pipeline == "select" else _asked(options)
    except JwcalError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    for file in options.files:
        try:
            _run(file, options, *asked) if asked else _select(file)
        except JwcalError as error:
            print(f"ERROR: {error}", file=sys.stderr)
            failed += 1
    return 1 if failed else 0


def _parser():
    from .settings.tables import table

    form = argparse.RawDescriptionHelpFormatter  # the doors are a table
    parser = argparse.ArgumentParser(prog="python -m jwcal", description=__doc__, epilog=DOORS, formatter_class=form)
    pipelines = ", ".join(table("pipelines"))
    parser.add_argument("pipeline", help=f"{pipelines}; calwebb_... names are understood. Or: select")
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--out", default=".", metavar="DIR", help="folder for the products (default: the current one)")
    parser.add_argument("--set", action="append", default=[], metavar="STEP.PARAMETER=VALUE", help="a step's parameter")
    parser.add_argument("--skip", action="append", default=[], metavar="STEP", help="leave a step out")
    parser.add_argument("--run", action="append", default=[], metavar="STEP", help="run a step that is off by default")
    parser.add_argument("--override", action="append", default=[], metavar="TYPE=PATH", help="a reference file, or N/A")
    parser.add_argument(
        "--params", metavar="FILE", help="parameters: YAML {step: {parameter: value}, insert: {...}}, or a pars- reference (ASDF)"
    )
    parser.add_argument("--save", action="append", default=[], metavar="SUFFIX", help="an optional product: ramp, fitopt...")
    parser.add_argument("--crds-path", metavar="DIR", help="CRDS cache (default: CRDS_PATH)")
    parser.add_argument("--crds-context", metavar="PMAP", help="CRDS context (default: CRDS_CONTEXT, else the cache's)")
    return parser


def _asked(options):
    """Steps' parameters, steps of the user's own and references of the options; raises ConfigError where they can only be a mistake.

    A file of parameters may hold those of other pipelines, an option may not.
    """
    from .settings import config, selector
    from .settings.chains import is_built
    from .workflow import requests

    pipeline, steps = selector.pipeline_name(options.pipeline), step_parameters(options)
    overrides = dict(_pair(item, "--override") for item in options.override)
    insert = steps.pop("insert", {})
    known = config.load({"steps": steps, "save": options.save, "references": {"overrides": overrides}, "insert": insert})
    if is_built(pipeline):
        named = {step: f"--{option} {step}" for option in ("skip", "run") for step in getattr(options, option)}
        own = [item.step for item in known.insert.get(pipeline, ())]
        named |= {item.partition(".")[0]: f"--set {item}" for item in options.set}
        requests.check(pipeline, named, {kind: f"--override {kind}={path}" for kind, path in overrides.items()}, own)
    return steps, insert, overrides


def _run(file, options, steps, insert, overrides):
    from .api import run_pipeline

    crds = {"crds_path": options.crds_path, "crds_context": options.crds_context}
    made = run_pipeline(
        options.pipeline,
        file,
        steps,
        overrides,
        out=options.out,
        every=True,
        save=options.save,
        insert=insert,
        **{k: v for k, v in crds.items() if v is not None},
    )
    print(f"{file}: {', '.join(made)} written to {options.out}")


def step_parameters(options):
    """{step: {parameter: value}} of --params, --skip, --run and --set, the later ones winning; and `insert` of --params as it is."""
    from .settings.pars import read_parameters

    steps = {step: dict(values) for step, values in (read_parameters(options.params) if options.params else {}).items()}
    for step in options.skip:
        steps.setdefault(step, {})["skip"] = True
    for step in options.run:
        steps.setdefault(step, {})["skip"] = False
    for item in options.set:
        key, value = _pair(item, "--set")
        step, dot, parameter = key.partition(".")
        if not dot:
            raise ConfigError(f"--set {item}: STEP.PARAMETER=VALUE is wanted")
        steps.setdefault(step, {})[parameter] = yaml.safe_load(value)
    return steps


def _pair(item, option):
    key, equals, value = item.partition("=")
    if not equals:
        raise ConfigError(f"{option} {item}: NAME=VALUE is wanted")
    return key, value


def _select(file):
    """Print the chain of a file, and why."""
    from .products import stored
    from .settings import selector

    chain = selector.select_for(stored.header(file), file)
    print(f"{file}: {' -> '.join(stage or '-' for stage in chain)}")
    for why in chain.why:
        print(f"  {why}")


if __name__ == "__main__":
    process.own()
    sys.exit(main())
