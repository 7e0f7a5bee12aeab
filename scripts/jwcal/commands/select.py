"""Which pipelines a file goes through, and why."""

from ..products import stored
from ..settings import selector
from ..vocabulary.errors import JwcalError
from . import words


def main(arguments):
    """Print the chain of each file; the exit status is 1 where one can't be read."""
    parser = words.parser("select", __doc__)
    parser.add_argument("files", nargs="+", metavar="FILE")
    failed = 0
    for file in parser.parse_args(arguments).files:
        try:
            chain = selector.select_for(stored.header(file), file)
        except JwcalError as error:
            failed = words.fail(error)
            continue
        print(f"{file}: {' -> '.join(stage or '-' for stage in chain)}")
        for why in chain.why:
            print(f"  {why}")
    return failed
