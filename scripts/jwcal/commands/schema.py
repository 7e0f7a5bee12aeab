"""The JSON schema of the configuration, with all steps and parameters: editors complete and check a configuration by it.

In VS Code and others a first line `# yaml-language-server: $schema=jwcal.schema.json` in the configuration is enough.
"""

import copy
import json

from ..files.storage import replaced
from ..settings import chains, config, facts, texts
from ..settings.tables import table
from ..vocabulary.parameters import Range
from . import described, words

KINDS = {type(None): "null", bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}


def main(arguments):
    """Write the schema."""
    description, _, more = __doc__.partition("\n\n")
    parser = words.parser("schema", description, epilog=more)
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write it (default: the screen)")
    options = parser.parse_args(arguments)
    text = json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"
    if not options.output:
        print(text, end="")
        return 0
    with replaced(options.output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return 0


def schema():
    """config/schema.yaml with what only the code knows: steps and their parameters, EXP_TYPEs, suffixes of products."""
    found = copy.deepcopy(table("schema"))
    found["$defs"]["steps"] |= {"additionalProperties": False, "properties": {name: _step(name) for name in described.all_steps()}}
    own = {"type": ["object", "null"]}  # of the user's own, whose names only a configuration knows
    found["$defs"]["steps"]["additionalProperties"] = own
    exp_types = {name: {"$ref": "#/$defs/steps"} for name in sorted(table("exp_types")["exp_types"])}
    found["properties"]["exp_types"] |= {"additionalProperties": False, "properties": exp_types}
    found["properties"]["save"]["items"] |= {"enum": sorted(config.product_suffixes())}
    pipelines = {name: found["properties"]["insert"]["additionalProperties"] for name in table("pipelines")}
    found["properties"]["insert"] |= {"additionalProperties": False, "properties": pipelines}
    return found


def _step(name):
    properties = {key: _parameter(name, parameter) for key, parameter in facts.about(name).parameters.items()}
    pipelines = [pipeline for pipeline in table("pipelines") if name in chains.steps_of(pipeline)]
    about = f"{texts.of_step(name).line} In {', '.join(pipelines)}."
    return {"description": about, "type": ["object", "null"], "additionalProperties": False, "properties": properties}


def _parameter(step, parameter):
    text = "Leave the step out." if parameter.name == "skip" else texts.of_step(step).parameters.get(parameter.name, "")
    found = {"description": text, "default": parameter.default}
    kinds = [KINDS[kind] for kind in parameter.types]
    found["type"] = kinds if len(kinds) > 1 else kinds[0]
    if parameter.choices and set(parameter.types) - {type(None)} <= {type(choice) for choice in parameter.choices}:
        found["enum"] = [*parameter.choices, *([None] if type(None) in parameter.types and None not in parameter.choices else [])]
    limits = parameter.limits if parameter.limits != Range() else Range()
    found |= {key: value for key, value in (("minimum", limits.min), ("maximum", limits.max)) if value is not None}
    if parameter.items is not None:
        found["items"] = {"type": KINDS[parameter.items]}
    return found
