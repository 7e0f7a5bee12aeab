"""Words of the command line that several commands share: how much is said, and parameters of steps."""

import argparse
import logging
import pkgutil
import re
import sys
from pathlib import Path

import yaml

from ..settings.pars import read_parameters
from ..version import VERSION
from ..vocabulary.errors import ConfigError
from ..workflow.jobs import start_logging

PARAMETER = re.compile(r"--(?:steps\.)?(\w+\.\w+)(?:=(.*))?", re.DOTALL)
NO_COMMANDS = ("described", "pipeline", "words")
LEVELS = ("debug", "info", "warning", "error")


def parser(name, description, **more):
    """A parser for one command, without abbreviations: an option that is added later must not change what a script means."""
    form = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser(prog=f"jwcal {name}", description=description, formatter_class=form, allow_abbrev=False, **more)
    made.add_argument("--version", action="version", version=f"jwcal {VERSION}")
    return made


def names():
    """The commands."""
    return sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if module.name not in NO_COMMANDS)


def spelled_out(arguments):
    """`--jump.rejection_threshold=5`, and the same with a space, as `--set ...`. What comes after -- stays as it is."""
    found, words = [], iter(arguments)
    for word in words:
        if word == "--":
            return [*found, word, *words]
        asked = PARAMETER.fullmatch(word)
        if asked and asked[2] is None:
            value = next(words, None)
            if value is None:
                raise ConfigError(f"{word}: it has no value", do=f"Write {word}=VALUE")
            found += ["--set", f"{asked[1]}={value}"]
        else:
            found += ["--set", f"{asked[1]}={asked[2]}"] if asked else [word]
    return found


# --- how much is said ---


def add_logging(group, usual="info"):
    """-v, -q, --log-level and --log-file."""
    group.add_argument("-v", "--verbose", action="store_true", help="say more: every detail that the steps log")
    group.add_argument("-q", "--quiet", action="store_true", help="say only what goes wrong")
    group.add_argument("--log-level", choices=LEVELS, help=f"the same by name (default: {usual})")
    group.add_argument("--log-file", metavar="FILE", help="write what is said to a file, in place of the screen")


def begin_logging(options, usual="info"):
    """Log as the options ask; what is usual where they ask for nothing."""
    asked = options.log_level or ("debug" if options.verbose else "warning" if options.quiet else usual)
    level = getattr(logging, asked.upper())
    start_logging(options.log_file, max(level, logging.INFO))
    logging.getLogger("jwcal").setLevel(level)  # not the libraries: their details are thousands of lines
    if level > logging.INFO:
        logging.getLogger().setLevel(level)


# --- parameters of steps ---


def add_parameters(group):
    """--set, --skip, --run, --override and --params."""
    group.add_argument(
        "--set", action="append", default=[], metavar="STEP.PARAMETER=VALUE", help="a step's parameter; also --STEP.PARAMETER=VALUE"
    )
    group.add_argument("--skip", action="append", default=[], metavar="STEP", help="leave a step out")
    group.add_argument("--run", action="append", default=[], metavar="STEP", help="run a step that is off by default")
    group.add_argument("--override", action="append", default=[], metavar="TYPE=PATH", help="a reference file, or N/A")
    group.add_argument(
        "--params", metavar="FILE", help="parameters: YAML {step: {parameter: value}, insert: {...}}, or a pars- reference (ASDF)"
    )
    group.add_argument("--save", action="append", default=[], metavar="SUFFIX", help="an optional product: ramp, fitopt...")
    group.add_argument("--crds-path", metavar="DIR", help="CRDS cache (default: CRDS_PATH)")
    group.add_argument("--crds-context", metavar="PMAP", help="CRDS context (default: CRDS_CONTEXT, else the cache's)")


def step_parameters(options):
    """{step: {parameter: value}} of --params, --skip, --run and --set, the later ones winning; and `insert` of --params as it is."""
    steps = {step: dict(values) for step, values in (read_parameters(options.params) if options.params else {}).items()}
    for step in options.skip:
        steps.setdefault(step, {})["skip"] = True
    for step in options.run:
        steps.setdefault(step, {})["skip"] = False
    for item in options.set:
        key, value = pair(item, "--set")
        step, dot, parameter = key.partition(".")
        if not dot:
            raise ConfigError(f"--set {item}: STEP.PARAMETER=VALUE is wanted")
        steps.setdefault(step, {})[parameter] = yaml.safe_load(value)
    return steps


def overrides(options):
    """{type: path} of --override."""
    return dict(pair(item, "--override") for item in options.override)


def pair(item, option):
    """NAME=VALUE in two."""
    key, equals, value = item.partition("=")
    if not equals:
        raise ConfigError(f"{option} {item}: NAME=VALUE is wanted")
    return key, value


def fail(error):
    """Say what is wrong; returns the exit status."""
    print(f"ERROR: {error}", file=sys.stderr)
    return 1


def settings(options, data=None, results=None):
    """The configuration of a command that plans a whole program: that of --configfile, with what the other options say on top.

    Relative paths start where the command runs, as Snakemake has it.
    """
    found = {}
    for file in options.configfile:
        _merge(found, _read(file))
    steps = step_parameters(options)
    insert = steps.pop("insert", {})
    given = {"data": data, "results": results, "until": options.until, "steps": steps, "insert": insert, "save": options.save}
    _merge(found, {key: value for key, value in given.items() if value})
    references = {"crds_path": options.crds_path, "crds_context": options.crds_context}
    references = {key: value for key, value in references.items() if value}
    files = overrides(options)
    if files or references:
        _merge(found, {"references": references})
    if files:
        known = (found["references"] or {}).get("overrides") or {}
        as_list = [{"files": files}, *known] if isinstance(known, list) else {**known, **files}
        found["references"]["overrides"] = as_list
    return found


def add_program(parser):
    """What a command takes that plans a whole program: DATA, RESULTS, --configfile, --until."""
    parser.add_argument("data", nargs="?", metavar="DATA", help="folder of exposures, or a file (default: the configuration's `data`)")
    parser.add_argument("results", nargs="?", metavar="RESULTS", help="folder for the products (default: the configuration's `results`)")
    parser.add_argument("--configfile", action="append", default=[], metavar="FILE", help="your configuration (jwcal init writes one)")
    parser.add_argument("--until", metavar="STAGE", help="the last stage to make: stage1, stage2 or stage3")


def _read(file):
    try:
        content = yaml.safe_load(Path(file).read_text())
    except FileNotFoundError:
        raise ConfigError("there is no such configuration", file, "Correct the path; jwcal init writes one") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"not a readable configuration ({' '.join(str(error).split())})", file, "Write it like config/config.yaml"
        ) from None
    if content is not None and not isinstance(content, dict):
        raise ConfigError("a configuration is a list of keys", file, "Write it like config/config.yaml")
    return content or {}


def _merge(known, more):
    """Put one configuration on another, mapping by mapping."""
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(known.get(key), dict):
            _merge(known[key], value)
        else:
            known[key] = value
