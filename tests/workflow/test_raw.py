"""`data: {program: ...}`: the raw files come from the archive before the run is planned; a dry run fetches nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from archive_server import archive_of
from jwcal.archive import mast
from jwcal.commands import plan as planned
from jwcal.settings import config
from jwcal.vocabulary.errors import InputError
from jwcal.workflow import plan, raw

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def archive(tiny, monkeypatch):
    """The archive with the two exposures of the tiny program."""
    monkeypatch.setattr(mast.time, "sleep", lambda _: None)
    with archive_of({path.name: path.read_bytes() for path in (tiny.image, tiny.series)}) as state:
        monkeypatch.setenv("JWCAL_ARCHIVE", state.address)
        yield state


def settings(tiny, tmp_path, **data):
    return {
        "data": {"program": 1234, "folder": str(tmp_path / "raw"), **data},
        "results": str(tmp_path / "results"),
        "references": {"crds_path": str(tiny.crds)},
        "until": "stage1",
    }


def test_what_is_asked_for():
    asked = config.load({"data": {"program": "01234", "observation": [3, "2"], "mode": "MIRI"}})
    assert asked.archive == config.Archive(1234, Path("data").absolute(), (2, 3), ("MIRI",)) and asked.data == (Path("data").absolute(),)
    assert config.load({"data": "data"}).archive is None


def test_files_come_and_are_planned(archive, tiny, tmp_path):
    """What and how much it is, is told before it comes; the second time nothing comes, and without a network too."""
    said, given = [], settings(tiny, tmp_path)
    made = plan.make(given, fetch=True, say=said.append)
    size = sum(path.stat().st_size for path in (tiny.image, tiny.series))
    assert {path.name: path.read_bytes() for path in (tmp_path / "raw").glob("*.fits")} == {
        path.name: path.read_bytes() for path in (tiny.image, tiny.series)
    }
    assert len(made.jobs) == 2 and not made.problems and not made.remarks
    assert said[0] == f"program 1234: 2 files, {raw.download.amount(size)}" and said[-3].startswith("0 are in ")
    assert [line.split()[0] for line in said[-2:]] == ["1/2", "2/2"]
    archive.ranges.clear()
    assert len(plan.make(given, fetch=True, say=said.append).jobs) == 2 and not archive.ranges


def test_where_there_is_no_network(archive, tiny, tmp_path, monkeypatch):
    given = settings(tiny, tmp_path)
    plan.make(given, fetch=True, say=lambda _: None)
    monkeypatch.setenv("JWCAL_ARCHIVE", "http://127.0.0.1:9")
    said = []
    assert len(plan.make(given, fetch=True, say=said.append).jobs) == 2
    assert "can't be asked" in said[0] and "those that it told the last time" in said[0]
    (tmp_path / "raw" / tiny.image.name).unlink()
    with pytest.raises(InputError, match="the file does not come"):
        plan.make(given, fetch=True, say=said.append)
    with pytest.raises(InputError, match="can't be asked"):  # another request was never answered
        plan.make(settings(tiny, tmp_path, observation=1), fetch=True, say=said.append)


def test_a_folder_for_reading_only(archive, tiny, tmp_path, monkeypatch):
    """All files are there: nothing has to be written."""
    given = settings(tiny, tmp_path)
    plan.make(given, fetch=True, say=lambda _: None)

    def refuse(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(raw, "write", refuse)
    assert len(plan.make(given, fetch=True, say=lambda _: None).jobs) == 2


def test_who_only_looks_fetches_nothing(archive, tiny, tmp_path, capsys):
    given = settings(tiny, tmp_path)
    with pytest.raises(InputError, match=r"2 of 2 files, .* are not in .*raw yet: a run fetches them first"):
        plan.make(given)
    assert not (tmp_path / "raw").exists()
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / tiny.image.name).write_bytes(tiny.image.read_bytes())
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(given))
    assert planned.main(["--configfile", str(tmp_path / "mine.yaml")]) == 0
    assert "note: program 1234: 1 of 2 files" in capsys.readouterr().out and not archive.ranges


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"program": 99}, "the archive has no program 99"),
        ({"observation": 7}, "no raw files of observation 7. There are 1"),
        ({"mode": "NIRSPEC/IFU"}, "nothing of NIRSPEC/IFU. Its modes are"),
    ],
)
def test_what_there_is_not(archive, tiny, tmp_path, data, message):
    with pytest.raises(InputError, match=message):
        plan.make(settings(tiny, tmp_path, **data), fetch=True)


@pytest.mark.full
def test_a_run(archive, tiny, tmp_path):
    """From the archive to products with one command; its dry run beforehand says what would come."""
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings(tiny, tmp_path)))
    command = [sys.executable, "-m", "jwcal", "run", "--configfile", "mine.yaml", "--cores", "2"]
    own = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}

    def run(*more):
        told = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}  # Snakemake says what it would do on the one, else on the other
        done = subprocess.run([*command, *more], cwd=tmp_path, env=own, text=True, **told)
        return done.returncode, done.stdout

    status, said = run("-n")
    assert status and "2 of 2 files" in said and not archive.ranges
    status, said = run()
    assert status == 0, said
    assert said.index("are to come") < said.index("1/2 ") < said.index("2/2 ") < said.index("To do: 2 jobs")
    assert len(list((tmp_path / "results/stage1").glob("*_rate.fits"))) == 2
    status, said = run("-q")
    assert status == 0 and "0 products made, 4 up to date" in said and "program 1234" not in said
