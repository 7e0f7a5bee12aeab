"""Where the workflow's own files lie: the Snakefile, rules, tables and profiles; and where something about the code may be noted."""

import os
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


@cache
def home():
    """The folder with Snakefile, rules/, config/, profiles/ and envs/: the checkout, or what a wheel has put inside the package."""
    brought = PACKAGE / "home"
    return brought if brought.is_dir() else PACKAGE.parents[1]


def is_checkout():
    """Whether the package lies in a checkout, whose scripts/ is to be on the path of its jobs."""
    return PACKAGE.parents[1] == home()


def cache_folder():
    """What is kept for this user from run to run: JWCAL_CACHE, else jwcal in the user's cache folder."""
    user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("JWCAL_CACHE") or Path(user, "jwcal"))


def notes(package=PACKAGE):
    """The folder for what is remembered of a package's code: beside it, or the user's own where the package is only for reading."""
    beside = Path(package, "__pycache__")
    there = beside if beside.is_dir() else Path(package)
    return beside if os.access(there, os.W_OK) else cache_folder() / "code"
