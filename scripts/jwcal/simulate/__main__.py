"""Simulate a program, or one exposure, from the command line.

python -m jwcal.simulate demo FOLDER [--program FILE]
python -m jwcal.simulate exposure FOLDER EXP_TYPE [name=value ...] [--references]
python -m jwcal.simulate mosaic FOLDER [name=value ...]
"""

import argparse
import logging
import sys
from pathlib import Path

from ..vocabulary.errors import JwcalError
from . import program
from .exposures import simulate_exposure
from .references import write_references


def _parser():
    parser = argparse.ArgumentParser(prog="jwcal simulate", description="Simulate raw JWST exposures with known truth.")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="a program with its references, ready for the workflow")
    demo.add_argument("out", type=Path, metavar="FOLDER")
    demo.add_argument("--program", type=Path, default=program.DEMO, metavar="FILE", help="default: config/demo_program.yaml")
    one = commands.add_parser("exposure", help="one exposure in FOLDER/data, its truth in FOLDER/truth")
    one.add_argument("out", type=Path, metavar="FOLDER")
    one.add_argument("exp_type", metavar="EXP_TYPE")
    one.add_argument("options", nargs="*", metavar="name=value", help="as detector=NRCB1 subarray=SUB160 ngroups=6 seed=3")
    one.add_argument("--references", action="store_true", help="write the references too, in FOLDER/references")
    mosaic = commands.add_parser("mosaic", help="calibrated, dithered exposures with their associations, for stage 3 alone")
    mosaic.add_argument("out", type=Path, metavar="FOLDER")
    mosaic.add_argument(
        "options", nargs="*", metavar="name=value", help="as filters=[F200W] subarray=SUB320 errors=0.05 cosmic_rays=50: see calibrated.py"
    )
    return parser


def main(arguments=None):
    """Run a command; the exit status is 1 where it can't be done."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if given.command == "demo":
            program.make_program(given.out, given.program)
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
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
