"""Simulate a mode, a program or one exposure, from the command line.

jwcal simulate --list [INSTRUMENT]
jwcal simulate MODE FOLDER [name=value ...]
jwcal simulate demo FOLDER [--program FILE]
jwcal simulate tour FOLDER [MODE ...] [--program FILE]
jwcal simulate exposure FOLDER EXP_TYPE [name=value ...] [--references]
jwcal simulate mosaic FOLDER [name=value ...]
"""

import argparse
import logging
import shlex
import sys
from pathlib import Path

from ..vocabulary.errors import InputError, JwcalError
from ..vocabulary.phrases import count
from . import program
from .exposures import simulate_exposure
from .references import write_references

COMMANDS = ("demo", "exposure", "mode", "mosaic", "tour")


def _parser():
    parser = argparse.ArgumentParser(prog="jwcal simulate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", nargs="?", const="", dest="listed", metavar="INSTRUMENT", help="the modes, the last pipeline of each")
    commands = parser.add_subparsers(dest="command")
    demo = commands.add_parser("demo", help="a program with its references, ready for the workflow")
    demo.add_argument("out", type=Path, metavar="FOLDER")
    demo.add_argument("--program", type=Path, default=program.DEMO, metavar="FILE", help="default: config/demo_program.yaml")
    many = commands.add_parser("tour", help="many modes as observations of one program, ready for one run")
    many.add_argument("out", type=Path, metavar="FOLDER")
    many.add_argument("modes", nargs="*", metavar="MODE", help="these alone")
    many.add_argument("--program", type=Path, metavar="FILE", help="default: config/tour_program.yaml")
    one = commands.add_parser("exposure", help="one exposure in FOLDER/data, its truth in FOLDER/truth")
    one.add_argument("out", type=Path, metavar="FOLDER")
    one.add_argument("exp_type", metavar="EXP_TYPE")
    one.add_argument("options", nargs="*", default=[], metavar="name=value", help="as detector=NRCB1 subarray=SUB160 ngroups=6 seed=3")
    one.add_argument("--references", action="store_true", help="write the references too, in FOLDER/references")
    mode = commands.add_parser("mode", help="any mode with its references and CRDS cache; the word `mode` can be left out")
    mode.add_argument("mode", metavar="MODE", help="one of those that --list shows, or an EXP_TYPE")
    mode.add_argument("out", type=Path, metavar="FOLDER")
    mode.add_argument(
        "options", nargs="*", default=[], metavar="name=value", help="as ngroups=6 filter=F444W readpatt=BRIGHT2 noise=false seed=3"
    )
    mosaic = commands.add_parser("mosaic", help="calibrated, dithered exposures with their associations, for stage 3 alone")
    mosaic.add_argument("out", type=Path, metavar="FOLDER")
    mosaic.add_argument(
        "options",
        nargs="*",
        default=[],
        metavar="name=value",
        help="as filters=[F200W] subarray=SUB320 errors=0.05 cosmic_rays=50: see calibrated.py",
    )
    return parser


def main(arguments=None):
    """Run a command; the exit status is 1 where it can't be done."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words and words[0] not in COMMANDS and not words[0].startswith("-"):
        words = ["mode", *words]
    given = _parser().parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("jwcal").setLevel(logging.ERROR)  # what steps say of whom they help to simulate
    logging.getLogger("jwcal.simulate").setLevel(logging.INFO)
    try:
        if given.listed is not None:
            print(listing(given.listed))
        elif given.command is None:
            _parser().print_help()
            return 2
        elif given.command == "mode":
            _simulate(given)
        elif given.command == "demo":
            program.make_program(given.out, given.program)
            print(f"jwcal run --configfile {shlex.quote(str(program.write_config(given.out)))}    # calibrates it")
        elif given.command == "tour":
            from . import tour  # which loads all modes

            made = tour.make_tour(given.out, given.program or tour.TOUR, only=given.modes)
            print(f"jwcal run --configfile {shlex.quote(str(made.config))}    # takes all to their last products")
        elif given.command == "mosaic":
            from . import calibrated  # which loads the steps

            made = calibrated.simulate_mosaic(**program.parse_options(given.options))
            print(*calibrated.write_program(given.out, made)["associations"], sep="\n")
        else:
            made = simulate_exposure(given.out / "data", exp_type=given.exp_type, **program.parse_options(given.options))
            print(made.uncal)
            if given.references:
                write_references(given.out / "references", made.detector, setup=made.setup)
    except JwcalError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    return 0


def _simulate(given):
    from . import modes

    mode = modes.find(given.mode)
    made = mode.make(given.out, **program.parse_options(given.options))
    print(
        f"{mode.name}: {count(len(made.uncals), 'raw file')} in {made.data}, references in {made.crds}, the truth in {given.out / 'truth'}"
    )
    print(f"jwcal run --configfile {shlex.quote(str(made.config))}    # to {mode.last}")


def listing(instrument=""):
    """The modes of an instrument, or of all, a line each."""
    from . import modes

    found = [mode for mode in modes.MODES.values() if mode.instrument.startswith(instrument.upper())]
    if not found:
        raise InputError(f"no mode of {instrument} is simulated", do=f"Choose one of {', '.join(modes.instruments.table())}")
    return "\n".join(f"{mode.name:26}{mode.last:14}{mode.what}" for mode in found)


if __name__ == "__main__":
    sys.exit(main())
