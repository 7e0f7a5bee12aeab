"""Modes of all instruments as observations of one program, in one folder and one run: none gets in another's way.

The whole tour is `make tour`; here a part of it, with modes that could: of one detector with several subarrays, of one instrument with
references of the same kinds, with backgrounds and stars for comparison.
"""

import hashlib
import re
from functools import cache, cached_property
from pathlib import Path

import pytest
import rows
import yaml
from checks import Products, check
from test_workflow import snakemake

from jwcal.simulate import tour
from jwcal.simulate.modes import MODES
from jwcal.simulate.tour import OBSERVATIONS, TOUR, make_tour
from jwcal.vocabulary.errors import InputError
from jwcal.workflow import plan

full = pytest.mark.full
PART = (
    *("fgs_acq1", "mir_image", "mir_lrs-fixedslit", "mir_lrs-slitless_series", "nrc_image", "nrc_image_wfs", "nrc_coron", "nrc_tsimage"),
    *("nrc_dark", "nis_ami", "nrs_fixedslit", "nrs_autowave", "nrs_wata"),
)
DESCRIBED = yaml.safe_load(TOUR.read_text())
ALL = list(DESCRIBED["modes"])


class Place:
    """A folder with a tour."""

    def __init__(self, folder):
        # without noise, as numbers are compared with the truth; but for interferograms, whose errors are those of their scatter
        taken = {name: {**(options or {}), "noise": MODES[name].by == "interferogram"} for name, options in DESCRIBED["modes"].items()}
        self.folder, self.made = folder, make_tour(folder, {**DESCRIBED, "modes": taken}, only=PART, processes=2)
        self.settings = yaml.safe_load(self.made.config.read_text())

    @cached_property
    def first(self):
        return snakemake(self.folder, config=self.settings)

    def products(self, name):
        return Products(self.folder / "results", observations(name))


def observations(name):
    first = 1 + OBSERVATIONS * ALL.index(name)
    return set(range(first, first + OBSERVATIONS))


@cache
def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("tour"))


@full
def test_each_mode_gets_its_own_references(place):
    """Those that it gets by itself, of the day that it is taken on."""
    together = plan.make({**place.settings, "results": str(place.folder / "planned")})
    assert not together.problems and not together.unusable and not together.remarks
    of = {digest(path): path.parent.name for path in place.folder.glob("references/*/*")}  # they hold their day
    for name in PART:
        mine = [job for job in together.jobs if observations(name) & {int(n) for n in re.findall(r"/jw01234(\d{3})", job.input)}]
        alone = plan.make(yaml.safe_load(place.made.modes[name].config.read_text()))
        assert sorted(job.pipeline for job in mine) == sorted(job.pipeline for job in alone.jobs)
        for job, by_itself in zip(*(sorted(jobs, key=lambda job: (job.exposure, job.rule)) for jobs in (mine, alone.jobs)), strict=True):
            chosen, usual = (made.recipes[one.recipe].references for made, one in ((together, job), (alone, by_itself)))
            assert {kind for kind, path in chosen.items() if path != "N/A"} == {kind for kind, path in usual.items() if path != "N/A"}, name
            files = [Path(path) for path in chosen.values() if path != "N/A"]
            assert {of[digest(path)] for path in files if "pars-" not in path.name} <= {name}


@full
@pytest.mark.parametrize("name", PART)
def test_products_are_those_of_the_mode_by_itself(place, name):
    assert place.first.status == 0, place.first.text
    mode, products = MODES[name], place.products(name)
    assert products.suffixes() == rows.read()[name].products
    number = check(mode, products, place.made.modes[name].truth)
    assert abs(number.found - number.truth) <= number.within, number


@full
def test_nothing_is_made_again(place):
    assert place.first.status == 0
    again = snakemake(place.folder, config=place.settings)
    assert again.status == 0 and "Nothing to be done" in again.text and not again.made


PARAMETERS = {  # what is changed -> the pipelines and modes that depend on it
    "of a step of stage 3": (
        {"steps": {"source_catalog": {"snr_threshold": 4.0}}},
        {("image3", name) for name in ("mir_image", "nrc_image")},
    ),
    "of one EXP_TYPE": (
        {"exp_types": {"NRC_TSIMAGE": {"jump": {"rejection_threshold": 7.0}}}},
        {(pipeline, "nrc_tsimage") for pipeline in ("tso1", "tso-image2", "tso3")},
    ),
    "of spectra": (
        {"steps": {"extract_1d": {"smoothing_length": 7}}},
        {("spec2", "mir_lrs-fixedslit"), ("spec3", "mir_lrs-fixedslit"), ("tso-spec2", "mir_lrs-slitless_series")}
        | {("tso3", "mir_lrs-slitless_series"), ("spec2", "nrs_fixedslit"), ("spec3", "nrs_fixedslit"), ("nrslamp-spec2", "nrs_autowave")},
    ),
}


@full
@pytest.mark.parametrize("what", PARAMETERS)
def test_one_parameter_changed(place, what):
    """A dry run names what depends on it, and nothing else."""
    assert place.first.status == 0
    changes, wanted = PARAMETERS[what]
    settings = {**place.settings, **{key: {**place.settings.get(key, {}), **value} for key, value in changes.items()}}
    said = snakemake(place.folder, "-n", config=settings)
    assert said.status == 0, said.text
    found = re.findall(r"^(\w+) (jw01234(?:-[oc])?(\d+)\S*): ", said.text, flags=re.MULTILINE)
    names = {number: name for name in PART for number in observations(name)}
    pipelines = sorted({pipeline for row in rows.read().values() for pipeline in row.pipelines}, key=len, reverse=True)
    named = {
        (next(one for one in pipelines if rule.startswith(one.replace("-", "_"))), names[int(number[:3])]) for rule, _, number in found
    }
    assert named == wanted


def test_what_can_not_be(tmp_path):
    with pytest.raises(InputError, match="nrc_imag"):
        make_tour(tmp_path, only=["nrc_imag"])
    with pytest.raises(InputError, match="nrs_nothing"):
        make_tour(tmp_path, {"start": "2023-10-02", "modes": {"nrs_nothing": {}}})


def test_the_tour_has_all_that_there_is():
    """Each pipeline, each instrument and each kind of exposure."""
    table = rows.read()
    assert {pipeline for name in ALL for pipeline in table[name].pipelines} == {
        pipeline for row in table.values() for pipeline in row.pipelines
    }


def test_parameters_of_modes_go_to_their_kinds_of_exposures():
    """Those of all modes of the tour go together; where two of a kind need other ones it is said."""
    steps = tour.parameters_of(ALL)
    for name in ALL:
        for step, values in MODES[name].steps.items():
            assert steps[MODES[name].exp_type][step] == values, name
    with pytest.raises(InputError, match="nrc_image_moving needs other parameters of tweakreg"):
        tour.parameters_of([*ALL, "nrc_image_moving"])
