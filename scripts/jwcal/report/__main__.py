"""The report of a run as one HTML page: `python -m jwcal.report RESULTS [-o report.html]`."""

import argparse
import os
import sys
from pathlib import Path

from ..vocabulary.errors import JwcalError
from . import page


def main(arguments=None):
    """Write the report; returns the exit status."""
    parser = argparse.ArgumentParser(prog="jwcal report", description=__doc__)
    parser.add_argument("results", type=Path, help="what the configuration calls `results`")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="the page (default: report.html in the results)")
    parser.add_argument("--pictures", type=int, default=400, metavar="N", help="products to draw at most, 20 kB each (default: 400)")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)), metavar="N", help="processes (default: all cores)")
    options = parser.parse_args(arguments)
    out = options.output or options.results / "report.html"

    def tell(done, number):
        print(f"  {done} of {number} products are looked at, and drawn", flush=True)

    page.write(options.results, out, max(0, options.pictures), max(1, options.cores), tell)
    print(f"The report is {out} ({out.stat().st_size / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except JwcalError as error:
        sys.exit(f"ERROR: {error}")
