"""How crds is asked: the package with the settings that count, and what it has answered, in memory and on disk.

No other module imports it, but for the schema and the dates of `references`, and it is imported when it is first asked.
Settings that are given win over the environment (CRDS_PATH, CRDS_CONTEXT, CRDS_SERVER_URL), which is left as it was.
"""

import logging
import os
import re
import threading
import time
from contextlib import contextmanager, suppress
from typing import NamedTuple

from ..vocabulary.errors import ConfigError, ReferenceError
from . import choices

log = logging.getLogger(__name__)

NO_SERVER = "https://crds-serverless-mode.stsci.edu"  # crds knows it and does not try to connect
TIMEOUT = "60"  # s; crds' own is an hour, in which a silent firewall looks like a hang

_lock = threading.RLock()
memory = {}  # answers, by environment and question
_now = {}  # "environment": the one that crds was last asked in
_sources = {}  # environment -> the files that its answers came from, with their size and time
_recalled = {}  # environment -> how many of its answers are on disk
_own = {}  # "defaults": the variables that crds sets by itself


class Rules(NamedTuple):
    """What the choice of some types depends on."""

    parkeys: tuple  # META.INSTRUMENT.FILTER...
    dates: tuple  # USEAFTER, sorted


def environment_of(crds_path, server_url):
    """The CRDS_ variables that crds is to see; hashable."""
    variables = {k: v for k, v in os.environ.items() if k.startswith("CRDS_")}
    if crds_path:
        variables = {k: v for k, v in variables.items() if "PATH" not in k}  # CRDS_REFPATH and its like would win
        variables["CRDS_PATH"] = os.path.abspath(os.path.expanduser(crds_path))
    if server_url:
        variables["CRDS_SERVER_URL"] = server_url
    variables.setdefault("CRDS_SERVER_URL", NO_SERVER)
    variables.setdefault("CRDS_CLIENT_TIMEOUT_SECONDS", TIMEOUT)
    variables["CRDS_OBSERVATORY"] = "jwst"
    if serverless(variables["CRDS_SERVER_URL"]):
        variables["CRDS_READONLY_CACHE"] = "1"  # nothing can come in
    return tuple(sorted(variables.items()))


def serverless(url):
    """Whether this stands for no server."""
    return "serverless" in url or "server-less" in url


def absent(environment):
    """Whether no CRDS is set up: no cache is named, there is none where crds looks by itself, and no server."""
    variables = dict(environment)
    if any("PATH" in name for name in variables) or not serverless(variables["CRDS_SERVER_URL"]):
        return False
    return remember((environment, "absent"), lambda: _ask_absent(environment))


def _ask_absent(environment):
    with session(environment, None) as crds:
        absent = not os.path.exists(crds.config.locate_config("server_config", "jwst"))
    if absent:
        log.warning("no CRDS cache is set (references: crds_path, or CRDS_PATH): only overrides and the steps' own parameters are used")
    return absent


def cache_folder(environment):
    """The cache, for messages."""
    return dict(environment).get("CRDS_PATH", "(CRDS_PATH is not set)")


@contextmanager
def session(environment, file):
    """The package, with these settings for as long as the block lasts. Its errors become ours."""
    with _lock:
        kept = {k: v for k, v in os.environ.items() if k.startswith("CRDS_")}
        _put(dict(environment))
        try:
            import crds

            if "defaults" not in _own:  # crds writes its defaults into the environment when it is imported, and needs them there
                for item in vars(crds.core.config).values():  # again, for whoever imported it before us may have cleared them away
                    if isinstance(item, crds.core.config.ConfigItem):
                        item.get()
                _own["defaults"] = {k: v for k, v in os.environ.items() if k.startswith("CRDS_") and k not in dict(environment)}
            _put({**_own["defaults"], **dict(environment)})
            if _now.get("environment") != environment:
                crds.core.utils.clear_function_caches()
                crds.core.config.CRDS_REF_SUBDIR_MODE = None
                crds.api.set_crds_server(dict(environment)["CRDS_SERVER_URL"])
                _now["environment"] = environment
            try:
                yield crds
            except crds.CrdsError as error:
                raise ReferenceError(
                    f"CRDS: {sentence(error)}", file=file, do="See references: crds_path, crds_context, crds_server_url"
                ) from error
        finally:
            _put(kept)


def import_crds(environment):
    """Make sure that crds is imported with these settings: it puts its own into the environment."""
    with session(environment, None):
        pass


def _put(variables):
    for name in [k for k in os.environ if k.startswith("CRDS_") and k not in variables]:
        del os.environ[name]
    os.environ.update(variables)


def sentence(error):
    """What an error says, on one line and without a full stop."""
    return re.sub(r"\s+", " ", str(error)).strip().rstrip(".")


def remember(question, answer):
    """`answer()`, asked once for each question."""
    if question not in memory:
        memory[question] = answer()
    return memory[question]


def recall(environment):
    """Fill the memory with what earlier runs have asked. Where there is a server, it may know better by now."""
    if environment not in _sources and serverless(dict(environment)["CRDS_SERVER_URL"]):
        answers, _sources[environment] = choices.recall(environment)
        usable = {question: answer for question, answer in answers.items() if question[1] != "path" or os.path.exists(answer)}
        memory.update({q: Rules(*answer) if q[-1] == "rules" else answer for q, answer in usable.items()})
        _recalled[environment] = len(answers)


def keep(environment):
    """Leave to later runs what was asked in this one."""
    answers = {question: answer for question, answer in memory.items() if question[0] == environment and question[1] != "absent"}
    if _sources.get(environment) and len(answers) > _recalled[environment]:
        choices.keep(environment, answers, _sources[environment])
        _recalled[environment] = len(answers)


def came_from(environment, *paths):
    """Note the files that an answer depends on."""
    if environment in _sources:
        with suppress(OSError):
            _sources[environment].update(choices.states(paths))


def contact(crds, environment, ask):
    """`ask()`, which may go to the server. Where it can't be reached it is left alone for a while: each attempt may take TIMEOUT."""
    failed = memory.get((environment, "failed"))
    if failed and time.monotonic() < failed[0]:
        raise failed[1]
    try:
        return ask()
    except (crds.exceptions.CrdsNetworkError, crds.exceptions.ServiceError, SystemExit) as error:
        memory[environment, "failed"] = (time.monotonic() + float(TIMEOUT), error)
        raise


def context_of(environment, context, file):
    """The context that is meant, as jwst_NNNN.pmap: the one that is given, or that of the environment, or the latest one."""
    wanted = context or dict(environment).get("CRDS_CONTEXT") or "latest"
    return remember((environment, "context", wanted), lambda: _ask_context(environment, wanted, file))


def _ask_context(environment, wanted, file):
    folder, url = cache_folder(environment), dict(environment)["CRDS_SERVER_URL"]
    with session(environment, file) as crds:
        if not crds.config.is_context_spec(wanted):
            raise ConfigError(f"{wanted!r} is not a CRDS context", do="Give references: crds_context as jwst_NNNN.pmap, or leave it out")
        known = crds.config.locate_config("server_config", "jwst")
        if serverless(url) and not os.path.exists(known):
            raise ReferenceError(
                f"there is no CRDS cache: {known} does not exist",
                do="Set references: crds_path (or CRDS_PATH) to a cache, or references: crds_server_url to a server that fills it",
            )
        came_from(environment, known)
        try:
            return contact(crds, environment, lambda: crds.get_context_name("jwst", wanted))
        except SystemExit:  # crds gives up so where it has neither a server nor a copy of its configuration
            raise ReferenceError(
                f"the CRDS server {url} can't be reached and {folder} holds no copy of its configuration",
                do="Set references: crds_path to a cache that was synced before, or try again",
            ) from None


def forget():
    """Drop what was remembered, of the mappings too. For whoever has changed a cache in this process."""
    with _lock:
        memory.clear()
        _now.clear()
        _sources.clear()
        _recalled.clear()
