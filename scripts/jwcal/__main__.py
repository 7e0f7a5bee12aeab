"""The command `jwcal`: JWST exposures from uncal to calibrated products."""

import signal
import sys
from importlib import import_module

from .machine import process
from .version import VERSION
from .vocabulary.errors import JwcalError

# Command -> its module, whose `main` takes the words after it, and what it is for. What is no command is a pipeline or a step.
COMMANDS = {
    "run": ("commands.run", "a whole program, stage by stage, as `snakemake` does it in the checkout"),
    "plan": ("commands.plan", "what would be made from what, with which references; what is missing"),
    "status": ("commands.status", "what a run has done, what failed and why, what waits"),
    "init": ("commands.init", "a commented configuration for the data in a folder"),
    "parameters": ("commands.parameters", "steps with their parameters, types and defaults"),
    "schema": ("commands.schema", "the JSON schema of the configuration, for editors"),
    "select": ("commands.select", "which pipelines a file goes through, and why"),
    "report": ("report.__main__", "a run as one HTML page"),
    "associations": ("associations.__main__", "which exposures become one product"),
    "fetch": ("commands.fetch", "raw files of a program from the archive"),
    "fetch-references": ("commands.fetch_references", "all references of a program, for runs without a network"),
    "modes": ("commands.modes", "all modes of the mission, and their pipelines"),
    "simulate": ("simulate.__main__", "raw exposures with known truth, and references for them"),
}
OF_FILES = "commands.pipeline"
WIDTH = 30


def main(arguments=None):
    """Do what a command line asks for; returns the exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if words else 2
    if words[0] == "--version":
        print(f"jwcal {VERSION}")
        return 0
    name, *rest = words
    module, rest = (COMMANDS[name][0], rest) if name in COMMANDS else (OF_FILES, words)
    try:
        return import_module(f".{module}", __package__).main(rest)
    except JwcalError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1


def usage():
    """All commands, with a line each."""
    from .settings.tables import table

    rows = [
        ("snakemake --cores N", "the same as `jwcal run`, in the checkout (README.md)"),
        ("python -m jwcal.jobs RECIPE", "one job of a run again, with a debugger"),
        ("jwcal.run_pipeline", "the same pipelines in Python"),
    ]
    commands = [(f"jwcal {name} ...", text) for name, (_, text) in COMMANDS.items()]
    commands.insert(0, ("jwcal PIPELINE FILE...", "one pipeline on files, or on an association"))
    commands.insert(1, ("jwcal STEP FILE...", "one step of it: jwcal jump jw..._uncal.fits"))
    lines = [__doc__, "", *(f"  {name:{WIDTH}}{text}" for name, text in [*commands, *rows])]
    return "\n".join([*lines, "", f"pipelines: {', '.join(table('pipelines'))}", "Each tells more with --help."])


def program():
    """The console script."""
    process.own()
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:  # who reads has read enough: jwcal status RESULTS | head
        process.say_no_more(sys.stdout)
        status = 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        print("It was interrupted.", file=sys.stderr)
        status = 128 + signal.SIGINT
    sys.exit(status)


if __name__ == "__main__":
    program()
