"""Write a commented configuration for the data in a folder: which modes are there, and the parameters that matter for them."""

import json
from collections import defaultdict
from pathlib import Path

from ..files.storage import replaced
from ..program import index
from ..settings import chains, facts, texts
from ..settings.tables import table
from ..version import VERSION
from ..vocabulary.errors import ConfigError, JwcalError
from ..vocabulary.phrases import count
from ..workflow.plan import kind_of
from . import described, words


def main(arguments):
    """Write the configuration; returns the exit status."""
    parser = words.parser("init", __doc__)
    parser.add_argument("data", metavar="DATA", help="folder of exposures")
    parser.add_argument("-o", "--output", default="jwcal.yaml", metavar="FILE", help="the configuration (default: jwcal.yaml)")
    parser.add_argument("--results", default="results", metavar="DIR", help="folder for the products (default: results)")
    parser.add_argument("--force", action="store_true", help="write over a file that is there")
    options = parser.parse_args(arguments)
    try:
        if Path(options.output).exists() and not options.force:
            raise ConfigError("it is there already", options.output, "Give another name with -o, or --force")
        found = index.find((Path(options.data).absolute(),))
        if not found.exposures:
            raise ConfigError("there is no exposure that can be used", options.data, "Give the folder with the *_uncal.fits files")
        with replaced(options.output) as temporary:
            temporary.write_text(text(found, options.data, options.results), encoding="utf-8")
    except JwcalError as error:
        return words.fail(error)
    for path, message in found.problems:
        print(f"can't be used: {path}: {message}")
    number = count(len(found.exposures), "exposure")
    print(f"{options.output}: for {number}. jwcal plan --configfile {options.output} tells what would be made")
    return 0


def text(found, data, results):
    """The configuration as text: what is not said is commented out, with its default.

    Parameters
    ----------
    found : program.index.Program
    data, results : path
    """
    kinds = defaultdict(list)
    for exposure in found.exposures:
        chain = tuple(name for name in exposure.chain if name)
        kinds[kind_of(exposure.header), exposure.level, chain].append(exposure)
    lines = [
        f"# The configuration of a program for jwcal {VERSION}. What is commented out is the default; a # less sets it.",
        "# `jwcal schema -o jwcal.schema.json` beside this file lets editors complete and check it:",
        "# yaml-language-server: $schema=jwcal.schema.json",
        "#",
        "# In the data:",
    ]
    for (kind, level, chain), exposures in kinds.items():
        built = [name if chains.is_built(name, exposures[0].header) else f"({name}: none for this mode)" for name in chain]
        lines.append(f"#   {len(exposures)} x {kind}, from {level}: {' -> '.join(built)}")
    lines += [f"#   {len(found.problems)} can't be used: jwcal plan says why"] * bool(found.problems)
    lines += [
        "",
        f"data: {json.dumps(str(data), ensure_ascii=False)}",
        f"results: {json.dumps(str(results), ensure_ascii=False)}",
        "",
        "# The last stage to make: stage1, stage2 or stage3.",
        "# until: stage3",
        "",
        "# Reference files: without these from CRDS_PATH, CRDS_CONTEXT and CRDS_SERVER_URL; overrides are files of your own by type.",
        "# references:",
        "#   crds_path:",
        "#   crds_context: jwst_1413.pmap",
        "#   overrides: {flat: my_flat.fits}",
        "",
        "# Whose background or PSF reference an observation is: headers do not say.",
        "# links:",
        "#   - {observation: 4, is: background, of: 3}",
        "",
        "# Optional products to keep.",
        "# save: [ramp]",
        "",
        "# Parameters of the steps that this data goes through; `jwcal parameters STEP` has all of a step.",
        "# steps:",
    ]
    pipelines = list(dict.fromkeys((name, id(exposures[0])) for (*_, chain), exposures in kinds.items() for name in chain))
    headers = {id(exposures[0]): exposures[0].header for exposures in kinds.values()}
    known = [(name, headers[one]) for name, one in pipelines if chains.is_built(name, headers[one])]
    steps = dict.fromkeys(step.name for name, header in known for step in chains.chain(name, header).steps)
    for step, names in described.matters([header for _, header in known]).items():
        if step not in steps or not names:
            continue
        lines.append(f"#   {step}:  # {texts.of_step(step).line}")
        for name in names:
            default = facts.about(step).parameters[name].default
            said = "off: leave the step out" if name == "skip" else texts.first_sentence(texts.of_step(step).parameters.get(name, ""))
            lines.append(f"#     {name}: {json.dumps(default)}  # {said}")
    exp_types = sorted(
        {str(exposure.header.get("EXP_TYPE")).upper() for exposure in found.exposures} & set(table("exp_types")["exp_types"])
    )
    lines += ["", "# The same for exposures of one EXP_TYPE.", "# exp_types:"]
    lines += [f"#   {name}: {{}}" for name in exp_types]
    return "\n".join(lines) + "\n"
