"""Raw files of a program from the mission's archive, into the data folder.

jwcal fetch --program 1234 --observation 3 --mode NIRCAM DATA

Files that are there are left alone, one that was cut off is resumed. Data that are not public yet need a token in MAST_API_TOKEN.
"""

import argparse
import shlex
import sys
from pathlib import Path

from ..archive import download, mast


def main(arguments):
    """List and fetch; returns the exit status."""
    options = _parser().parse_args(arguments)
    files = mast.files(options.program, options.observation, options.mode, options.server)
    wanted = download.missing(files, options.data)
    print(*download.overview(options.program, files, options.data), sep="\n")
    if options.list:
        print(*(f"{one.name}  {download.amount(one.size)}{'' if one.public else '  not public yet'}" for one in files), sep="\n")
        return 0
    if not wanted:
        return 0
    if not options.yes and not _agreed(options):
        return 1
    download.fetch(files, options.data, options.server, tell=lambda text: print(text, flush=True))
    print(f"jwcal run {shlex.quote(str(options.data))} RESULTS    # calibrates them")
    return 0


def _parser():
    parser = argparse.ArgumentParser(prog="jwcal fetch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=Path("data"), metavar="DATA", help="folder for the files (default: data)")
    parser.add_argument("--program", type=int, required=True, metavar="NUMBER")
    # with commas, not with spaces: DATA may come after them
    several = {"action": "extend", "default": []}
    said = "of these observations alone: 3, or 3,4"
    parser.add_argument("--observation", type=_numbers, metavar="NUMBER", help=said, **several)
    said = "as NIRCAM, NIRSPEC/MSA or */IFU: the archive's names, with commas between several"
    parser.add_argument("--mode", type=_words, metavar="MODE", help=said, **several)
    parser.add_argument("--list", action="store_true", help="only say what there is, and how large")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask before the files are fetched")
    parser.add_argument("--server", metavar="URL", help=f"the archive's address (default: JWCAL_ARCHIVE, else {mast.SERVER})")
    return parser


def _words(text):
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text):
    try:
        return [int(word) for word in _words(text)]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number, or numbers with commas between them") from None


def _agreed(options):
    """Ask on a terminal; elsewhere --yes has to be said."""
    if not sys.stdin.isatty():
        print("Nothing was fetched: say --yes.", file=sys.stderr)
        return False
    return input("Fetch them? [y/N] ").strip().lower() in ("y", "yes")
