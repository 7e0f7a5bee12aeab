"""The modes of the mission: what comes in, chain, products, parameters that matter, what differs from jwst 3.0.0; as pages."""

import re
from collections import Counter
from fnmatch import fnmatch
from functools import cache
from importlib import resources
from pathlib import Path

import yaml

from ..files.home import home
from ..settings import chains, facts, selector, texts
from ..settings.tables import table
from ..simulate import instruments
from ..simulate.crds_cache import SELECTED_BY
from ..simulate.modes import MODES, find
from ..vocabulary import parameters
from . import described, words

PLAIN = ("detector1", "dark", "guider")  # modes that end there share a page
SHARED = "calibrations"


def main(arguments):
    """Print the list, or the page of a mode, or write all pages into a folder."""
    parser = words.parser("modes", __doc__)
    parser.add_argument("name", nargs="?", metavar="NAME", help="a mode, or its EXP_TYPE: its page; an instrument: its modes")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="write the pages here, as docs/modes has them")
    options = parser.parse_args(arguments)
    if options.output is None:
        print(_asked(options.name or ""))
        return 0
    options.output.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (options.output / name).write_text(text)
    return 0


def _asked(name):
    """The modes of an instrument, or of all, a line each; or the page of one. Raises InputError where the name is none of them."""
    if name and name.upper() not in instruments.table():
        mode = find(name)
        return _shared() if mode.last in PLAIN else _page(mode)
    found = [mode for mode in MODES.values() if mode.instrument.startswith(name.upper())]
    return "\n".join(f"{mode.name:26}{' -> '.join(stages(mode)):40}{mode.what}" for mode in found)


@cache
def notes():
    """The table beside this module."""
    return yaml.safe_load(resources.files(__package__).joinpath("mode_notes.yaml").read_text())


def header(mode):
    """Keywords of an exposure of a mode, as far as they choose its chain."""
    like = mode.options.get("like", mode.exp_type)
    chosen = {key: value for key, value in mode.options.items() if key in ("detector", "filter", "pupil") or key.isupper()}
    setup = instruments.setup(like, **chosen)
    series = mode.series if mode.series is not None else setup.keywords.get("TSOVISIT", False)
    about = {"EXP_TYPE": mode.exp_type, "INSTRUME": setup.instrument, "DETECTOR": setup.detector, "SUBARRAY": setup.subarray.name}
    about |= {"FILTER": setup.filter, "PUPIL": setup.pupil, "READPATT": setup.readout.readpatt, "NINTS": 8 if series else 1}
    about = {key: value for key, value in (about | setup.keywords).items() if value is not None}
    return about | {"TSOVISIT": series} | mode.keywords


def stages(mode):
    """Its pipelines, one of each stage."""
    return [pipeline for pipeline in selector.select_for(header(mode)) if pipeline]


def pages():
    """Name of a page -> its text."""
    own = {f"{name}.md": _page(mode) for name, mode in MODES.items() if mode.last not in PLAIN}
    return {"README.md": _index(), f"{SHARED}.md": _shared(), **own}


def _index():
    lines = ["# Modes", "", "Made from the tables: `jwcal modes -o docs/modes`. Each can be tried: `jwcal simulate NAME FOLDER`.", ""]
    lines += ["| mode | pipelines | example |", "|---|---|---|"]
    for name, mode in MODES.items():
        page = SHARED if mode.last in PLAIN else name
        lines.append(f"| [{name}]({page}.md) | {' → '.join(stages(mode))} | {mode.what} |")
    return "\n".join(lines) + "\n"


def _shared():
    lines = [
        "# Darks, lamps, skies and guide stars",
        "",
        "What ends after stage 1. `jwcal simulate NAME FOLDER` makes an example of each.",
        "",
    ]
    lines += ["| EXP_TYPE | name | chain | products |", "|---|---|---|---|"]
    for name, mode in MODES.items():
        if mode.last in PLAIN:
            chain = chains.chain(mode.last, header(mode))
            lines.append(f"| {mode.exp_type} | `{name}` | `{mode.last}`: {_steps(chain)} | {_products(chain)} |")
    return "\n".join(lines) + "\n"


def _page(mode):
    found = [chains.chain(pipeline, header(mode)) for pipeline in stages(mode)]
    lines = [f"# {mode.name}", "", f"{mode.exp_type}{', a time series' if header(mode)['TSOVISIT'] else ''}. Example: {mode.what}:", ""]
    lines += ["```", f"jwcal simulate {mode.name} folder", "jwcal run --configfile folder/config.yaml", "```", ""]
    lines += [*notes()["pages"][mode.name].splitlines(), ""] if mode.name in notes()["pages"] else []
    lines += ["## What comes in", ""]
    for chain in found:
        members = {kind for step in chain.steps for kind in chains.member_types(step.name)} - {"science"}
        members = sorted(kind for kind in members if fnmatch(mode.exp_type, notes()["members"].get(kind, "*")))
        of = f"; of its association: {', '.join(kind.replace('_', ' ') for kind in members)}" if members else ""
        what = f"the {' or '.join(chain.reads)} files of an association" if chain.takes == "members" else f"{' or '.join(chain.reads)}"
        lines.append(f"* `{chain.pipeline}`: {what}{of}")
    references = {kind for chain in found for step in chain.steps for kind in (*_about(step).required, *_about(step).optional)}
    references = sorted(kind for kind in references if any(mode.instrument in users.split() for users in SELECTED_BY.get(kind, ())))
    lines += ["", f"References, where the mode has them: {', '.join(f'`{kind}`' for kind in references)}."]
    lines += ["", "## Chain and products", "", "| pipeline | steps | products |", "|---|---|---|"]
    lines += [f"| `{chain.pipeline}` | {_steps(chain)} | {_products(chain)} |" for chain in found]
    return "\n".join([*lines, *_parameters(found, header(mode)), *_differences(mode, found)]) + "\n"


def _about(step):
    return facts.about(step.name)


def _steps(chain):
    return ", ".join(f"[{step.name}](../parameters.md#{step.name})" for step in chain.steps)


def _products(chain):
    every = [suffix for save in chain.saves for suffix in save.suffixes.values()]
    optional = {suffix for save in chain.saves if save.optional for suffix in save.suffixes.values()}
    usual = [f"`{suffix}`" for suffix in dict.fromkeys(every) if suffix not in optional]
    asked = [f"`{suffix}`" for suffix in dict.fromkeys(every) if suffix in optional]
    return ", ".join(usual) + (f"; if asked for: {', '.join(asked)}" if asked else "")


def _parameters(found, header):
    matters = described.matters([header])
    lines = ["", "## Parameters that matter", "", "| parameter | default | is | |", "|---|---|---|---|"]
    for chain in found:
        for step in chain.steps:
            known = _about(step).parameters
            for name in matters.get(step.name, ()):
                default = chain.defaults.get(step.name, {}).get(name, known[name].default)
                line = "Leave the step out." if name == "skip" else texts.first_sentence(texts.of_step(step.name).parameters.get(name, ""))
                cells = [f"`{step.name}.{name}`", f"`{default}`", parameters.described(known[name]), line]
                lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    lines = list(dict.fromkeys(lines[5:]))
    return ["", "## Parameters that matter", "", "| parameter | default | is | |", "|---|---|---|---|", *lines, "", ALL]


ALL = "pars- references of CRDS may set others. All parameters: [parameters.md](../parameters.md)."


@cache
def differences():
    """Rows of docs/differences.md: (name of the step, what stands after it, the row)."""
    path = home() / "docs/differences.md"
    rows = [line for line in path.read_text().splitlines() if line.startswith("| ")] if path.exists() else []
    found = []
    for row in rows:
        name, _, more = row.split("|")[1].strip().replace("`", "").partition(" ")
        found.append((name.rstrip(","), more, row))
    return found


def _differences(mode, found):
    """The rows that are of its kind of exposures, or of steps that few pipelines have; how many there are for steps that many have."""
    steps = {step.name for chain in found for step in chain.steps} | {chain.pipeline for chain in found}
    own, others = [], Counter()
    for name, more, row in differences():
        kinds = _kinds(more)
        if name not in steps or not all(any(fnmatch(mode.exp_type, pattern) for pattern in patterns) for patterns in kinds):
            continue
        if kinds or _users(name) <= FEW:
            own.append(row)
        else:
            others[name] += 1
    if not own and not others:
        return []
    lines = ["", "## What differs from jwst 3.0.0", ""]
    lines += ["| what | there | here |", "|---|---|---|", *own, ""] if own else []
    also = ", ".join(f"{name} ({number})" for name, number in others.items())
    return [*lines, f"For all modes with these steps, in [differences.md](../differences.md): {also}." if others else ALL_DIFFERENCES]


FEW = 3  # pipelines
ALL_DIFFERENCES = "All are in [differences.md](../differences.md)."


def _kinds(more):
    """Patterns of EXP_TYPEs of each kind of exposures that a row names."""
    return [patterns for word, patterns in notes()["kinds"].items() if re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", more)]


@cache
def _users(name):
    """How many pipelines have a step; those of stage 1 are for all modes."""
    if name in chains.steps_of("detector1"):
        return len(table("pipelines"))
    return sum(name in chains.steps_of(pipeline) for pipeline in table("pipelines"))
