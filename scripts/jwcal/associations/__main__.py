"""Associations of a pool, or of a folder of exposures: `python -m jwcal.associations POOL.csv -o FOLDER`.

Without --all-candidates, --discover or -i: those of all candidates, and those that no candidate has (their id is a3001).
"""

import argparse
import logging
import sys
from collections import Counter
from pathlib import Path

import yaml

from ..files.storage import replaced
from ..program import index
from ..vocabulary.errors import ConfigError, JwcalError
from . import archive, generate, headers, orphans, read


def main(arguments=None):
    """Make associations; returns the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        pool = _pool(options)
        made = _generate(pool, options)
        left = orphans(pool, made)
        if options.out:
            archive.write(made, options.out)
        if options.json:
            with replaced(options.json) as temporary:
                temporary.write_text(archive.normalised(made, pool, left))
    except JwcalError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    for note in (*pool.notes, *pool.remarks):
        print(note)
    if not (options.out or options.json):
        for association in made:
            kinds = Counter(member.exptype for member in association.members)
            print(f"{association.pipeline:14}{association.product}: {', '.join(f'{number} {kind}' for kind, number in kinds.items())}")
    print(f"{len(made)} associations of {len(pool.items)} exposures; {len(left)} exposures are in none")
    return 0


def _parser():
    description, _, more = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(prog="jwcal associations", description=description, epilog=more)
    parser.add_argument("pool", metavar="POOL", help="a pool (a table with | between its columns), or a folder of exposures")
    parser.add_argument("-o", "--out", metavar="FOLDER", help="write a *_asn.json for each association to this folder")
    parser.add_argument("--json", metavar="FILE", help="write all of them to one file, in an order that does not depend on the pool's")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--all-candidates", action="store_true", help="those of the candidates")
    which.add_argument("--discover", action="store_true", help="those of all exposures, whatever their candidates")
    which.add_argument("-i", "--ids", nargs="+", metavar="ID", help="those of these candidates: o001 c1000")
    parser.add_argument("--links", metavar="FILE", help="for a folder: YAML with the list `links` of the configuration")
    return parser


def _pool(options):
    if not Path(options.pool).is_dir():
        if options.links:
            raise ConfigError("a pool says itself which observation belongs to which", options.links, "Leave --links out")
        return read(options.pool)
    return headers.from_exposures(index.find(options.pool).exposures, _links(options.links))


def _links(path):
    if path is None:
        return ()
    try:
        given = yaml.safe_load(Path(path).read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"not readable ({error})", path) from None
    return given.get("links", []) if isinstance(given, dict) else given


def _generate(pool, options):
    if options.ids:
        return generate(pool, ids=[name.lower() for name in options.ids])
    return generate(pool, candidates=not options.discover, discover=not options.all_candidates)


if __name__ == "__main__":
    sys.exit(main())
