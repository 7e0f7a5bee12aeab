"""Every row of the mission's table from raw files to its last product: a small simulated program, one run, each product opened, one number.

No job takes more memory than it asks for.

In `make test` one mode for each pipeline; all of them in `make parity`. The table in README.md says what is made and looked at; it is
compared with what is made and looked at here.
"""

import warnings

import pytest
import rows
from astropy.table import QTable
from checks import Products, check
from stdatamodels.jwst import datamodels
from test_workflow import snakemake

from jwcal.settings.tables import table
from jwcal.simulate.modes import MODES, for_row
from jwcal.workflow.resources import SNAKEMAKE_MB

# What the mission's table does not have, and ours does: (EXP_TYPE, is a series).
OURS = {("MIR_LRS-FIXEDSLIT", True), ("NRC_TSIMAGE", False), ("NRC_TSGRISM", False), ("NRS_BRIGHTOBJ", False)}


def marked(name):
    return name if name in rows.SHORT else pytest.param(name, marks=pytest.mark.full)


@pytest.mark.parametrize("name", [marked(name) for name in MODES])
def test_from_raw_files_to_the_last_product(name, tmp_path):
    mode, row = MODES[name], rows.read()[name]
    made = mode.make(tmp_path, noise=mode.by == "interferogram")  # whose errors are those of its integrations' scatter
    run = snakemake(tmp_path, "--configfile", made.config, cores=1)
    assert run.status == 0, run.text
    products = Products(tmp_path / "results")
    assert products.suffixes() == row.products
    for path in products.files():
        open_as_others_do(path)
    for job in products.jobs:
        assert job.peak_mb + SNAKEMAKE_MB <= job.asked_mb, job
    number = check(mode, products, made.truth)
    assert number.what == row.checked
    assert abs(number.found - number.truth) <= number.within, number


def open_as_others_do(path):
    """stdatamodels opens a product, and finds nothing against its schema; astropy reads a catalogue."""
    if path.suffix == ".ecsv":
        assert len(QTable.read(path))
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ResourceWarning)
        with datamodels.open(str(path)) as model:
            model.validate()


def test_all_rows_have_a_mode():
    for exp_type, row in table("exp_types")["exp_types"].items():
        for series in (True, False) if isinstance(row, dict) else (None,):
            assert (exp_type, series) in OURS or for_row(exp_type, series).exp_type == exp_type


def test_all_pipelines_have_a_short_mode():
    wanted = set(table("pipelines"))
    assert {pipeline for name in rows.SHORT for pipeline in rows.read()[name].pipelines} == wanted


def test_the_readme_has_all_modes():
    assert list(rows.read()) == list(MODES)
