"""A whole program, stage by stage: the same run as `snakemake --cores N` in the checkout.

DATA is searched through for *_uncal.fits; exposures that are there only as rate or cal start from that. What is up to date is not made
again. What stands after -- is for Snakemake as it is: `jwcal run DATA RESULTS -- --keep-incomplete`.
"""

import os
import subprocess
import sys
from pathlib import Path

import yaml

from ..files.home import home
from ..files.storage import replaced
from ..settings import config as configuration
from ..settings.tables import table
from ..vocabulary.errors import ConfigError, JwcalError
from ..vocabulary.nearest import suggestion
from . import words

ASKED = ".jwcal/asked.yaml"  # in the results: the configuration of the run, which the jobs of a cluster read too


def main(arguments):
    """Run Snakemake; returns its exit status."""
    more = []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, more = arguments[:at], arguments[at + 1 :]
    try:
        options = _parser().parse_args(words.spelled_out(arguments))
        command = _command(options, more)
    except JwcalError as error:
        return words.fail(error)
    sys.stdout.flush()
    try:
        return subprocess.run(command).returncode
    except KeyboardInterrupt:  # Snakemake had it too, and has said what it leaves
        return 130


def _parser():
    description, _, more = __doc__.partition("\n\n")
    parser = words.parser("run", description, epilog=more)
    words.add_program(parser)
    parser.add_argument("--cores", metavar="N", help="cores to use on this machine (default: all)")
    parser.add_argument("--profile", metavar="NAME", help="Snakemake's options for a cluster: slurm, or a folder with a config.yaml")
    parser.add_argument("-n", "--dry-run", action="store_true", help="only say what would be done, and why")
    parser.add_argument("-v", "--verbose", action="store_true", help="Snakemake's own messages, all of them")
    parser.add_argument("-q", "--quiet", action="store_true", help="say only what goes wrong, and the summary")
    words.add_parameters(parser.add_argument_group("parameters and references"))
    return parser


def _command(options, more):
    """The call of Snakemake; leaves the configuration in the results folder."""
    given = words.settings(options, options.data, options.results)
    configuration.load(given)  # what is wrong with it is said here, in one line
    results = Path(os.path.expandvars(given.get("results") or table("config")["results"])).expanduser()
    asked = Path(results, ASKED)
    with replaced(asked) as temporary:
        temporary.write_text(yaml.safe_dump(given, sort_keys=False, allow_unicode=True))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(home() / "Snakefile"), "--configfile", str(asked)]
    if options.profile:
        command += ["--workflow-profile", str(_profile(options.profile))]
    if options.cores or not options.profile:
        command += ["--cores", options.cores or "all"]
    flags = {"--dry-run": options.dry_run, "--verbose": options.verbose}
    command += [flag for flag, wanted in flags.items() if wanted]
    return command + ["--quiet", "progress", "rules"] * options.quiet + more


def _profile(name):
    """The folder of a profile: one that exists, or one of the workflow's own."""
    own = home() / "profiles"
    for folder in (Path(name).expanduser(), own / name):
        if (folder / "config.yaml").is_file():
            return folder.resolve()
    known = sorted(path.name for path in own.iterdir())
    raise ConfigError(f"--profile {name}: there is no such profile", do=suggestion(name, known))
