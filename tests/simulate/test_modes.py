"""Every mode of the mission is simulated by its name, with all that it takes to its last product; what can't be is refused."""

import os

import pytest
import yaml
from astropy.io import fits

import sky
from jwcal.settings.tables import table
from jwcal.simulate import __main__ as command
from jwcal.simulate.modes import MODES, for_row
from jwcal.vocabulary.errors import InputError
from jwcal.workflow import plan

QUICK = ("fgs_acq1", "mir_4qpm", "mir_flatmrs", "nrc_image_wfs", "nrc_tsimage", "nis_taconfirm", "nrs_dark")


def rows():
    """EXP_TYPE, and whether it is a series where that matters, of all rows."""
    for exp_type, row in table("exp_types")["exp_types"].items():
        yield from [(exp_type, True), (exp_type, False)] if isinstance(row, dict) else [(exp_type, None)]


# Rows that are not the mission's: a single integration of what is always a series, and a series behind the slit.
NO_EXAMPLE = {("NRC_TSIMAGE", False), ("NRC_TSGRISM", False), ("NRS_BRIGHTOBJ", False), ("MIR_LRS-FIXEDSLIT", True)}


@pytest.mark.parametrize(("exp_type", "series"), [row for row in rows() if row not in NO_EXAMPLE])
def test_each_row_has_a_mode_that_ends_where_the_row_ends(exp_type, series):
    mode, row = for_row(exp_type, series), table("exp_types")["exp_types"][exp_type]
    stages = row if isinstance(row, list) else row["series" if series else "single"]
    assert mode.last == stages[-1]


@pytest.mark.skipif(not sky.SHARED.exists(), reason="the mission's table is in the shared folder")
def test_the_mission_s_rows_are_among_them():
    lines = (sky.SHARED / "design/exp_types.csv").read_text().split()[1:]
    assert len(lines) == 65
    for line in lines:
        exp_type, series, *stages = line.split(",")
        mode = for_row(exp_type, {"True": True, "False": False}.get(series))
        last = next(stage for stage in reversed(stages) if stage != "N/A").removeprefix("calwebb_")
        assert mode.last == last or (exp_type, last) == ("NRC_IMAGE", "image3")


@pytest.mark.parametrize("name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.full) for name in MODES])
def test_a_mode_is_planned_to_its_last_product(name, tmp_path, monkeypatch):
    for variable in [variable for variable in os.environ if variable.startswith("CRDS_")]:
        monkeypatch.delenv(variable)
    made = MODES[name].make(tmp_path)
    planned = plan.make(yaml.safe_load(made.config.read_text()))
    assert not planned.problems and not planned.unusable and not planned.left_out
    assert MODES[name].last in {job.pipeline for job in planned.jobs}
    assert len(made.truth.files) == len(made.uncals) > 0
    known = made.truth.spectrum or made.truth.companion or made.truth.depth or made.truth.rate is not None or made.truth.stars is not None
    assert known


REFUSED = {
    "no mode nrc_tsimages": ("nrc_tsimages", {}, "The nearest is nrc_tsimage; `jwcal simulate --list` names all"),
    "a filter": ("nrc_image", {"filter": "F201W"}, "F200W"),
    "a filter in the other wheel": ("nis_image", {"filter": "F200W"}, "F200W is in the wheel of the pupil"),
    "a readout": ("mir_image", {"readpatt": "RAPID"}, "FASTR1"),
    "a detector": ("nrc_image", {"detector": "NRCA9"}, "NRCALONG"),
    "no group": ("nrs_dark", {"ngroups": 0}, "a number from 1"),
    "part of a group": ("nrs_dark", {"ngroups": 2.5}, "a number from 1"),
    "a choice": ("nis_ami", {"filter": "F444W"}, "F277W, F380M, F430M, F480M"),
    "what has one reference": ("mir_lrs-fixedslit", {"filter": "F770W"}, "leave it out"),
    "a grating": ("nrs_fixedslit", {"grating": "G999"}, "G395H"),
    "a filter of another grating": ("nrs_ifu", {"grating": "G395H", "filter": "F100LP"}, "F290LP"),
    "a word": ("nrs_ifu", {"colour": 1}, "grating"),
    "dithers": ("nrc_image", {"dithers": 9}, "1 to 4"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_can_t_be_is_refused_with_what_can(what, tmp_path, capsys):
    name, options, valid = REFUSED[what]
    words = [name, str(tmp_path / "folder"), *(f"{key}={value}" for key, value in options.items())]
    assert command.main(words) == 1
    assert valid in capsys.readouterr().err and not (tmp_path / "folder").exists()


def test_the_list(capsys):
    assert command.main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(MODES)
    assert command.main(["--list", "fgs"]) == 0
    assert all(line.startswith("fgs_") for line in capsys.readouterr().out.splitlines())
    assert command.main(["--list", "hubble"]) == 1


def test_a_mode_by_its_exp_type(tmp_path, capsys):
    assert command.main(["NRC_DARK", str(tmp_path), "ngroups=3"]) == 0
    assert "1 raw file in" in capsys.readouterr().out and (tmp_path / "config.yaml").exists()
    with pytest.raises(InputError, match="NRS_NOTHING"):
        for_row("NRS_NOTHING")


@pytest.mark.parametrize("name", ["nrc_dark", "fgs_acq1", pytest.param("nis_ami", marks=pytest.mark.full)])
def test_a_mode_among_others_of_a_program(name, tmp_path):
    """With numbers of observations and a day of its own."""
    made = MODES[name].make(tmp_path, observation=41, start="2024-02-29T01:02:03")
    headers = [fits.getheader(path) for path in made.uncals]
    assert min(int(header["OBSERVTN"]) for header in headers) == 41
    assert all(path.name.startswith(f"jw01234{header['OBSERVTN']}001_") for path, header in zip(made.uncals, headers, strict=True))
    assert {header["DATE-OBS"] for header in headers} == {"2024-02-29"}
