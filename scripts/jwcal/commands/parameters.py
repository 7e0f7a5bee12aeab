"""Steps with their parameters, types and defaults; without a name all of them."""

from ..settings.tables import table
from ..vocabulary.errors import ConfigError
from ..vocabulary.nearest import suggestion
from . import described, words


def main(arguments):
    """Print them."""
    parser = words.parser("parameters", __doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a step or a pipeline")
    parser.add_argument("--markdown", action="store_true", help="the page of all steps, docs/parameters.md")
    options = parser.parse_args(arguments)
    if options.markdown:
        print(described.page(), end="")
        return 0
    for name in options.names or described.all_steps():
        if name in table("pipelines"):
            print(described.pipeline(name))
        elif name in described.all_steps():
            print(described.step(name))
        else:
            known = [*described.all_steps(), *table("pipelines")]
            return words.fail(ConfigError(f"there is no step or pipeline {name!r}", do=suggestion(name, known)))
        print()
    return 0
