"""Compile kernels before anyone waits for them: `python -m jwcal.warm_up [EXP_TYPE...]`, by default those that the demo needs.

A run compiles by itself what it needs and is not there; so nobody has to call this. What is compiled is kept: see `kernels.keep`.
"""

import argparse
import sys

import yaml

from .kernels import ahead, keep, signatures
from .settings import chains, selector
from .settings import config as configuration
from .settings.recipe import Recipe
from .simulate import crds_cache, instruments
from .simulate.program import DEMO
from .workflow import kernels
from .workflow.plan import forms_of


def main(arguments=None):
    """Compile what is missing, and tell how far it is. What can't be is no error: who calls it compiles it."""
    options = _parser().parse_args(arguments)
    modules = options.modules or (list(signatures.table()) if options.all else kernels.needed(wanted(options.exp_types)))
    missing = ahead.missing(modules)
    count = iter(range(1, len(missing) + 1))
    say = (lambda *_: None) if options.quiet else (lambda text: print(text, flush=True))
    say(f"{len(missing)} of {len(modules)} modules of kernels to be compiled; they are kept in {keep.folder()}")
    wrong = ahead.compile_all(
        missing,
        options.processes,
        tell=lambda module, s: say(f"{next(count)} of {len(missing)}: {module} ({s:.0f} s)"),
        alive=lambda modules: say(f"  compiling {', '.join(modules)}"),
    )
    for module, problem in wrong.items():
        print(f"{module} is compiled when it is called, as its table is not right: {' '.join(problem.split())[:300]}", file=sys.stderr)


def _parser():
    parser = argparse.ArgumentParser(prog="python -m jwcal.warm_up", description=__doc__.partition(":")[0])
    parser.add_argument("exp_types", nargs="*", metavar="EXP_TYPE", help="compile what these need (default: those of the demo)")
    parser.add_argument("--all", action="store_true", help="compile what any chain needs")
    parser.add_argument("--modules", nargs="+", default=[], help="compile these modules: ramps/ols_ramp")
    parser.add_argument("--processes", type=int, help="that work side by side (default: one a processor)")
    parser.add_argument("--quiet", action="store_true", help="say only what went wrong")
    return parser


def demo():
    """The EXP_TYPEs of the demo."""
    return [exposure["exp_type"] for exposure in yaml.safe_load(DEMO.read_text())["exposures"]]


def wanted(exp_types):
    """Recipes of some EXP_TYPEs; by default those of the demo, whose references switch off what operations do."""
    return recipes(exp_types) if exp_types else recipes(demo(), off=crds_cache.off_in_operations())


def recipes(exp_types, off=()):
    """Recipes of all pipelines of some EXP_TYPEs, by default parameters but for steps that are off, and without references or members."""
    config = configuration.load({})
    found = []
    for exp_type in exp_types:
        header = {"EXP_TYPE": exp_type, "INSTRUME": instruments.PREFIXES[exp_type[:3]]}
        for pipeline in filter(None, selector.select(exp_type)):
            if chains.is_built(pipeline, header):
                chain = chains.chain(pipeline, header)
                parameters, _ = config.chain_parameters(chain, exp_type, dict.fromkeys(off, {"skip": True}))
                found.append(Recipe(pipeline, list(chain.entries), parameters, forms=forms_of(chain, header)))
    return found


if __name__ == "__main__":
    main()
