"""Steps and their parameters in words, for --help and for docs/parameters.md: from the signatures and the docstrings of the steps."""

import textwrap
from functools import cache
from importlib import resources

import yaml

from ..settings import chains, facts, texts
from ..settings.config import step_names
from ..settings.tables import matches, table
from ..vocabulary import parameters

WIDTH = 110


@cache
def all_steps():
    """The steps that this version has, in the order of the pipelines."""
    order = dict.fromkeys(name for pipeline in table("pipelines") for name in chains.steps_of(pipeline))
    return [name for name in order if name in step_names() and facts.about(name)]


@cache
def _matters():
    return yaml.safe_load(resources.files(__package__).joinpath("matters.yaml").read_text())


def matters(headers=None):
    """Step -> names of the parameters that its users look at first, in the order of the pipelines.

    Of exposures with these headers, if any are given: those that do something for one of them.
    """
    found = {}
    for step, given in _matters().items():
        rows = [next(iter(one.items())) if isinstance(one, dict) else (one, {}) for one in given]
        found[step] = [name for name, when in rows if headers is None or any(matches(when, header) for header in headers)]
    return found


def rows(step, defaults=None):
    """(name, type in words, default, one line) of each parameter of a step.

    Parameters
    ----------
    step : str
    defaults : dict, optional
        Those of a pipeline that differ from the step's own.
    """
    found = []
    for name, parameter in facts.about(step).parameters.items():
        default = (defaults or {}).get(name, parameter.default)
        line = "Leave the step out." if name == "skip" else texts.of_step(step).parameters.get(name, "")
        found.append((name, parameters.described(parameter), default, texts.first_sentence(line)))
    return found


def step(name, defaults=None):
    """A step and its parameters, for --help."""
    lines = [f"{name}: {texts.of_step(name).line}"]
    for parameter, kind, default, line in rows(name, defaults):
        lines.append(f"  --{name}.{parameter}={_word(default)}")
        lines += textwrap.wrap(f"{line} ({kind})" if line else kind, WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 8)
    references = [*facts.about(name).required, *(f"[{kind}]" for kind in facts.about(name).optional)]
    lines += [f"  references: {', '.join(references)}"] * bool(references)
    return "\n".join(lines)


def pipeline(name):
    """All steps of a pipeline and their parameters, for --help."""
    row = table("pipelines")[name]
    known = [each for each in chains.steps_of(name) if each in all_steps()]
    head = f"steps, as far as the exposure's mode has them, with their parameters and defaults; it starts from {' or '.join(row['reads'])}:"
    return "\n\n".join([head, *(step(each, row.get("defaults", {}).get(each)) for each in known)])


def _word(value):
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def page():
    """docs/parameters.md: all steps and all their parameters."""
    lines = [
        "# Steps and their parameters",
        "",
        "Made from the code: `jwcal parameters --markdown > docs/parameters.md`. A parameter is set in the configuration,",
        "`steps: {jump: {rejection_threshold: 5}}`, or on the command line, `--jump.rejection_threshold=5`; where it is not, an exposure's",
        "pars- reference in CRDS may set it, and else it is the default. `skip` leaves a step out.",
        "",
        "| pipeline | steps |",
        "|---|---|",
    ]
    for name in table("pipelines"):
        known = [each for each in chains.steps_of(name) if each in all_steps()]
        lines.append(f"| `{name}` | {', '.join(f'[{each}](#{each})' for each in known)} |")
    for name in sorted(all_steps()):
        about = facts.about(name)
        references = [f"`{kind}`" for kind in about.required] + [f"`{kind}` (if there is one)" for kind in about.optional]
        lines += ["", f"## {name}", "", texts.of_step(name).line]
        lines += ["", f"References: {', '.join(references)}."] * bool(references)
        lines += ["", "| parameter | default | is | |", "|---|---|---|---|"]
        for parameter, kind, default, line in rows(name):
            cells = [f"`{parameter}`", f"`{_word(default)}`" if default != "" else "", kind, line]
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"
