"""Make an environment: `python3 scripts/environment.py .venv envs/requirements.txt [--own]`.

It says now and then how far it is, and what it makes may be moved with the checkout: the programs in bin/ look for Python beside
themselves, `activate` for the folder that it lies in, and with --own the checkout's package is found by a relative path, and the
program `jwcal` is there. It needs nothing but Python's own library: it runs before anything is installed.
"""

import argparse
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

EVERY = 10  # s between two lines
SHELL = b"""#!/bin/sh
'''exec' "$(dirname -- "$(realpath -- "$0")")/python" "$0" "$@"
' '''
"""
# What pip begins a program with, where the path of Python is short and without a space, and where it is not.
PIPS = rb"#!PYTHON[\d.]*\n|#!/bin/sh\n'''exec' \"?PYTHON[\d.]*\"? .*\n' '''\n"
JWCAL = b"""import sys

from jwcal.__main__ import program

sys.exit(program())
"""
HERE = '"$(cd -- "$(dirname -- "${BASH_SOURCE:-$0}")/.." 2>/dev/null && [ -f pyvenv.cfg ] && pwd || echo %s)"'


def main():
    """Make the environment, or bring it up to date."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("requirements", type=Path)
    parser.add_argument("--own", action="store_true", help="the checkout's package and its program are to be found")
    options = parser.parse_args()
    if sys.version_info < (3, 11):  # noqa: UP036 - it is started with whatever Python there is
        sys.exit("jwcal needs Python 3.11 or newer: make PYTHON=python3.11 ...")
    folder = options.folder.absolute()
    say(f"Making {options.folder} with Python {'.'.join(map(str, sys.version_info[:3]))}")
    begin(folder)
    install(folder, options.requirements)
    if options.own:
        find_package(folder, Path(__file__).resolve().parent)
    make_movable(folder)


def say(text):
    print(text, flush=True)


def site_packages(folder):
    return folder / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"


def begin(folder):
    """Make the empty environment; ends this program where that fails."""
    started, making = time.monotonic(), subprocess.Popen([sys.executable, "-m", "venv", folder])
    while True:
        try:
            status = making.wait(EVERY)
        except subprocess.TimeoutExpired:
            say(f"  {time.monotonic() - started:.0f} s: making the environment, with its pip")
        else:
            break
    if status:
        sys.exit(f"Python could not make {folder}: what it said is above (Debian needs its package python3-venv)")


# --- installing ---


def install(folder, requirements):
    """Install what is listed; ends this program with pip's last lines where that fails."""
    wanted = sum(1 for line in requirements.read_text().splitlines() if line.strip() and not line.startswith("#"))
    before, started, state = installed(folder), time.monotonic(), {"seen": set(), "lines": [], "new": 0}
    say(f"Installing the {wanted} packages of {requirements}; on a slow network that takes some minutes")
    command = [folder / "bin/python", "-m", "pip", "install", "--progress-bar", "off", "--disable-pip-version-check", "-r", requirements]
    pip = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    reader = threading.Thread(target=read, args=(pip.stdout, state), daemon=True)
    reader.start()
    while reader.is_alive():
        reader.join(EVERY)
        if reader.is_alive():
            say(f"  {time.monotonic() - started:.0f} s: {progress(folder, state, wanted, before)}")
    if pip.wait():
        print(*state["lines"][-20:], sep="\n", file=sys.stderr)
        sys.exit(f"pip could not install {requirements}: its last lines are above")
    say(f"Installed in {time.monotonic() - started:.0f} s")


def read(lines, state):
    """Take note of what pip says."""
    for line in lines:
        state["lines"].append(line.rstrip())
        if line.startswith("Installing collected packages"):
            state["new"] = line.count(",") + 1
        if found := re.match(r"\s*(?:Collecting|Requirement already satisfied:) ([\w.-]+)", line):
            state["seen"].add(found[1].lower())


def progress(folder, state, wanted, before):
    """How far pip is, in words."""
    if state["new"]:
        return f"installing, {min(max(0, installed(folder) - before), state['new'])} of {state['new']} packages are there"
    return f"fetching, {len(state['seen'])} of {wanted} packages so far"


def installed(folder):
    """How many packages an environment has."""
    return sum(1 for _ in site_packages(folder).glob("*.dist-info"))


# --- an environment that can be moved ---


def find_package(folder, scripts):
    """Have the environment's Python find the package in the checkout's scripts/, and put the program `jwcal` into bin/."""
    packages = site_packages(folder)
    (packages / "jwcal.pth").write_text(f"{os.path.relpath(scripts, packages)}\n")  # lines of such a file may be relative to it
    program(folder / "bin/jwcal", SHELL + JWCAL)


def make_movable(folder):
    """Have the programs of bin/ and `activate` (of bash and zsh) go by their own place, not by the one where they were made."""
    for path in sorted((folder / "bin").iterdir()):
        if path.is_symlink() or not path.is_file():
            continue
        text, old = path.read_bytes(), re.escape(os.fsencode(folder / "bin/python"))
        if own := re.match(PIPS.replace(b"PYTHON", old), text):
            program(path, SHELL + text[own.end() :])
    activate = folder / "bin/activate"
    old = re.escape(str(folder))
    activate.write_text(re.sub(rf'VIRTUAL_ENV=("?{old}"?)$', lambda m: "VIRTUAL_ENV=" + HERE % m[1], activate.read_text(), flags=re.M))


def program(path, text):
    """Write a program whole: somebody may be about to start it."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(text)
    temporary.chmod(0o755)
    os.replace(temporary, path)


if __name__ == "__main__":
    main()
