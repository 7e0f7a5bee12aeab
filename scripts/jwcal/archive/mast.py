"""List the files of a program by the archive's HTTP interface: https://mast.stsci.edu/api/v0/, with the standard library alone."""

import http.client
import json
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from fnmatch import fnmatch

from ..vocabulary.errors import ConfigError, InputError

SERVER = "https://mast.stsci.edu"  # JWCAL_ARCHIVE names another
PAGE, BATCH = 5000, 50  # rows of an answer; observations whose products are asked for at once
PATIENCE = 300.0  # s, that the archive may take for an answer
WANTED = ("_uncal.fits", "_msa.fits")  # raw exposures, and what was open in NIRSpec's shutters
NAME = re.compile(r"jw(\d{5})(\d{3})")
SAFE = re.compile(r"[\w.-]+\.fits")


class Unreachable(InputError):
    """The archive does not answer now."""


@dataclass(frozen=True, order=True)
class File:
    """A file of the archive."""

    name: str
    size: int  # bytes
    uri: str  # mast:JWST/product/...
    mode: str  # as the archive says it: NIRCAM/IMAGE
    public: bool = True


def server():
    """The archive's address."""
    return os.environ.get("JWCAL_ARCHIVE", SERVER).rstrip("/")


def files(program, observations=(), modes=(), address=None):
    """The raw files of a program, each once.

    Parameters
    ----------
    program : int
    observations : collection of int
        Numbers; none means all.
    modes : collection of str
        Patterns of the archive's names of modes: "NIRCAM", "NIRSPEC/MSA", "*/IFU"; none means all.
    address : str, optional
        Of the archive.

    Returns
    -------
    list of File

    Raises
    ------
    InputError
        There is no such program, observation or mode; Unreachable, if the archive does not answer.
    """
    address = address or server()
    found = _observations(program, address)
    if not found:
        raise InputError(f"the archive has no program {program} of JWST", address, "Correct the number")
    known = sorted({row["instrument_name"] for row in found})
    taken = [row for row in found if not modes or any(_fits(row["instrument_name"], mode) for mode in modes)]
    if not taken:
        raise InputError(f"program {program} has nothing of {', '.join(modes)}", address, f"Its modes are {', '.join(known)}")
    listed = {}
    for start in range(0, len(taken), BATCH):
        part = {str(row["obsid"]): row["instrument_name"] for row in taken[start : start + BATCH]}
        for row in _ask("Mast.Caom.Products", {"obsid": ",".join(part)}, address):
            name = str(row.get("productFilename", ""))
            if name.endswith(WANTED) and SAFE.fullmatch(name):
                mode = part.get(str(row.get("parent_obsid") or row.get("obsID")), "")
                public = str(row.get("dataRights", "PUBLIC")).upper() == "PUBLIC"
                listed[name] = File(name, int(row["size"]), row["dataURI"], mode, public)
    mine = [one for one in listed.values() if _number(one.name)[0] == program]
    there = {_number(one.name)[1] for one in mine}
    missing = sorted(set(observations) - there)
    if missing:
        have = ", ".join(map(str, sorted(there)))
        raise InputError(f"program {program} has no raw files of observation {', '.join(map(str, missing))}", address, f"There are {have}")
    return sorted(one for one in mine if not observations or _number(one.name)[1] in observations)


def _number(name):
    """Program and observation of a file."""
    found = NAME.match(name)
    return (int(found[1]), int(found[2])) if found else (None, None)


def _fits(mode, pattern):
    mode, pattern = mode.upper(), pattern.upper()
    return fnmatch(mode, pattern) or mode.split("/")[0] == pattern


def _observations(program, address):
    filters = [
        {"paramName": "obs_collection", "values": ["JWST"]},
        {"paramName": "proposal_id", "values": sorted({str(program), f"{program:05d}"})},
    ]
    rows = _ask("Mast.Caom.Filtered", {"columns": "obsid,obs_id,instrument_name,calib_level", "filters": filters}, address)
    return [row for row in rows if row.get("instrument_name")]


def _ask(service, parameters, address):
    """All rows of an answer, page by page; the archive may ask for patience."""
    rows, page, until = [], 1, time.monotonic() + PATIENCE
    while True:
        request = {"service": service, "params": parameters, "format": "json", "pagesize": PAGE, "page": page, "removenullcolumns": False}
        answer = _invoke(request, address)
        status = answer.get("status")
        if status == "EXECUTING" and time.monotonic() < until:
            time.sleep(1.0)
            continue
        if status != "COMPLETE":
            raise Unreachable(f"the archive did not answer: {answer.get('msg') or status}", address, "Try again later")
        rows += answer.get("data") or []
        if page >= int((answer.get("paging") or {}).get("pagesTotal") or 1):
            return rows
        page += 1


def _invoke(request, address):
    body = urllib.parse.urlencode({"request": json.dumps(request)}).encode()
    try:
        with urllib.request.urlopen(opened(f"{address}/api/v0/invoke", body), timeout=PATIENCE) as answer:
            found = json.load(answer)
    except (OSError, ValueError, http.client.HTTPException) as error:
        why = getattr(error, "reason", None) or error
        raise Unreachable(f"the archive can't be asked ({getattr(why, 'strerror', None) or why})", address, NETWORK) from None
    return found if isinstance(found, dict) else {}


NETWORK = "Look at the network; where there is none, fetch on a machine that has it and copy the folder"


def opened(url, body=None, **headers):
    """A request, with the user's token for data that are not public yet (MAST_API_TOKEN) where it goes to the archive by a safe way."""
    if not url.startswith(("https://", "http://")):
        raise ConfigError("the archive's address is none of the web", url, "Correct JWCAL_ARCHIVE or --server")
    token = os.environ.get("MAST_API_TOKEN")
    if token and url.startswith(f"{SERVER}/"):
        headers["Authorization"] = f"token {token}"
    return urllib.request.Request(url, data=body, headers=headers)
