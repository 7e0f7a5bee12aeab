"""What would be made from what, with which references and parameters, and what is missing or can't be used.

With RESULTS (or a configuration that names them) what is up to date there counts; without, nothing does. No exposure is calibrated;
reference files that the cache lacks are fetched where there is a server.
"""

import json
import tempfile

from ..report import graph, outlook
from ..settings.tables import table
from ..vocabulary.errors import JwcalError
from ..workflow import plan
from . import words

USUAL = "warning"  # how much is logged beside the plan


def main(arguments):
    """Print the plan; the exit status is 1 where something can't be used."""
    try:
        options = _parser().parse_args(words.spelled_out(arguments))
        if options.picture:
            graph.kind_of(options.picture)
        words.begin_logging(options, USUAL)  # what is planned is told below
        given = words.settings(options, options.data, options.results)
        if "results" in given:
            found = _found(given)
        else:
            with tempfile.TemporaryDirectory() as folder:
                found = _found(given | {"results": folder})
                found = json.loads(json.dumps(found).replace(json.dumps(folder)[1:-1], table("config")["results"]))
        if options.picture:
            graph.write(found, options.picture)
    except JwcalError as error:
        return words.fail(error)
    if options.json:
        print(json.dumps(found, indent=1))
    elif not options.quiet:
        print(outlook.text(found, whole=options.verbose))
    return 1 if found["unusable"]["exposures"] else 0


def _found(given):
    return outlook.outlook(plan.make({**table("config"), **given}, alone=True))


def _parser():
    description, _, more = __doc__.partition("\n\n")
    parser = words.parser("plan", description, epilog=more)
    words.add_program(parser)
    parser.add_argument("--json", action="store_true", help="all of it as JSON")
    parser.add_argument("--picture", metavar="FILE", help=f"draw the program: {', '.join(f'*.{kind}' for kind in graph.FORMATS)}")
    words.add_parameters(parser.add_argument_group("parameters and references"))
    words.add_logging(parser.add_argument_group("what is said"), USUAL)
    return parser
