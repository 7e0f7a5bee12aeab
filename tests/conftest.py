"""What the tests of the whole house share: a tiny simulated program with its references, made once a session."""

import logging
import os
import signal
from pathlib import Path
from typing import NamedTuple

import pytest

import jwcal
from jwcal.simulate.program import make_program

# A run in the background ignores interrupts, and hands that on to the processes that the tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Two exposures of one 64 x 64 subarray: an image, and a time series of two integrations.
PROGRAM = {
    "program": 1234,
    "target": [53.1625, -27.7914],
    "start": "2023-10-02T04:05:06.789",
    "seed": 7,
    "sky": {"radius": 4.0, "stars": 8, "galaxies": 2, "faintest": 1e-7, "brightest": 1e-5},
    "detectors": ["NRCB1"],
    "exposures": [
        {"exp_type": "NRC_IMAGE", "filter": "F200W", "subarray": "SUB64P", "ngroups": 5},
        {"exp_type": "NRC_TSIMAGE", "filter": "F200W", "subarray": "SUB64P", "ngroups": 4, "nints": 2},
    ],
}


class Tiny(NamedTuple):
    """A simulated program. The files are for reading: a test that changes one takes a copy."""

    image: Path  # uncal files
    series: Path
    references: dict  # type -> path
    crds: Path  # a CRDS cache with these references


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """What CRDS has chosen in the tests is nothing for the user's cache."""
    os.environ["JWCAL_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def own_levels():
    """How much the commands have been asked to say is nothing for the tests after."""
    names = ("jwcal", "jwcal.simulate")
    before = [logging.getLogger(name).level for name in names]
    yield
    for name, level in zip(names, before, strict=True):
        logging.getLogger(name).setLevel(level)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    made = make_program(tmp_path_factory.mktemp("tiny"), PROGRAM)
    image, series = made["data"]
    return Tiny(image, series, {path.name.split("_")[2]: path for path in made["references"]}, made["crds"])


@pytest.fixture(scope="session")
def tiny_rate(tiny, tmp_path_factory):
    """The image's rate file, as `detector1` makes it by hand."""
    folder = tmp_path_factory.mktemp("rate")
    jwcal.run_pipeline("detector1", tiny.image, out=folder, crds_path=str(tiny.crds))
    return folder / tiny.image.name.replace("_uncal", "_rate")


@pytest.fixture
def no_crds(monkeypatch):
    """A machine where nobody has set CRDS up."""
    for name in [name for name in os.environ if name.startswith("CRDS_")]:
        monkeypatch.delenv(name)
