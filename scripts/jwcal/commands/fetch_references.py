"""All reference files that a program needs, into the CRDS cache: for runs where there is no network.

jwcal fetch-references DATA [--crds-path CACHE] [--until stage2]

Needs CRDS_SERVER_URL, as a run does; a run after it on a machine that sees the cache asks no server.
"""

import argparse
import tempfile
from pathlib import Path

from ..workflow import plan


def main(arguments):
    """Plan all of the program, which fetches what it names; returns the exit status."""
    options = _parser().parse_args(arguments)
    references = {"crds_path": options.crds_path, "crds_context": options.crds_context}
    settings = {"data": options.data, "until": options.until, "references": {key: value for key, value in references.items() if value}}
    with tempfile.TemporaryDirectory(prefix="jwcal-") as results:
        made = plan.make(settings | {"results": results})
    files = {path for recipe in made.recipes.values() for path in _paths(recipe.references)}
    size = sum(Path(path).stat().st_size for path in files)
    print(f"{options.data}: {len(made.jobs)} jobs take {len(files)} reference files, {size / 1e9:.2f} GB")
    for problem in made.problems:
        print(f"  {problem}")
    return 1 if made.problems else 0


def _paths(chosen):
    return [str(path) for path in chosen.values() if path and Path(str(path)).is_file()]


def _parser():
    parser = argparse.ArgumentParser(
        prog="jwcal fetch-references", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", metavar="DATA", help="folder of exposures")
    parser.add_argument("--until", default="stage3", choices=("stage1", "stage2", "stage3"), help="what they are to be calibrated to")
    parser.add_argument("--crds-path", metavar="DIR", help="CRDS cache (default: CRDS_PATH)")
    parser.add_argument("--crds-context", metavar="PMAP", help="CRDS context (default: CRDS_CONTEXT, else the server's)")
    return parser
