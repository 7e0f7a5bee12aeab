"""All reference files that a program needs, into the CRDS cache: for runs where there is no network.

jwcal fetch-references DATA [--crds-path CACHE] [--until stage2]

Needs CRDS_SERVER_URL, as a run does; a run after it on a machine that sees the cache asks no server.
"""

import tempfile
from pathlib import Path

from ..archive.download import amount
from ..settings.tables import table
from ..vocabulary.errors import JwcalError
from ..workflow import plan
from . import words


def main(arguments):
    """Plan all of the program, which fetches what it names; returns the exit status, 1 where something can't be used."""
    try:
        options = _parser().parse_args(words.spelled_out(arguments))
        given = {**table("config"), **words.settings(options, options.data)}
        with tempfile.TemporaryDirectory(prefix="jwcal-") as results:
            made = plan.make(given | {"results": results}, alone=True, fetch=True, say=print)
    except JwcalError as error:
        return words.fail(error)
    files = {path for recipe in made.recipes.values() for path in map(Path, recipe.references.values()) if path.is_file()}
    print(f"{len(made.jobs)} jobs take {len(files)} reference files, {amount(sum(path.stat().st_size for path in files))}")
    for problem in made.problems:
        print(f"  {problem}")
    return 1 if made.problems else 0


def _parser():
    description, _, more = __doc__.partition("\n\n")
    parser = words.parser("fetch-references", description, epilog=more)
    words.add_program(parser)
    words.add_parameters(parser.add_argument_group("parameters and references"))
    return parser
