"""Files come from a server that speaks the archive's protocol: pages, patience, pieces, checksums, and what may go wrong."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from archive_server import archive_of
from jwcal.archive import download, mast
from jwcal.commands import fetch
from jwcal.vocabulary.errors import InputError


def image(number, size=3):
    """The bytes of a file that is of the form of FITS."""
    return b"SIMPLE  =                    T" + bytes([number]) * (2880 * size - 30)


FILES = {
    f"jw012340{obs:02d}001_02101_0000{n}_{end}": image(10 * obs + n)
    for obs, end in ((1, "nrca1_uncal.fits"), (2, "mirimage_uncal.fits"))
    for n in (1, 2)
}
FILES |= {"jw01234003001_01_msa.fits": image(99), "jw01234003001_03101_00001_nrs1_uncal.fits": image(31)}


@pytest.fixture
def archive(monkeypatch):
    """The server, and what it does: to be changed by a test."""
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setattr(mast.time, "sleep", lambda _: None)
    with archive_of(FILES) as state:
        monkeypatch.setenv("JWCAL_ARCHIVE", state.address)
        yield state


def names(files):
    return [one.name for one in files]


def test_the_files_of_a_program_each_once(archive):
    files = mast.files(1234)
    assert names(files) == sorted(FILES) and {one.mode for one in files} == {"NIRCAM/IMAGE", "MIRI/IMAGE", "NIRSPEC/MSA"}
    assert [one.public for one in files if "mirimage" in one.name] == [False, False]
    assert {request["page"] for request in archive.asked} > {1, 2}


@pytest.mark.parametrize(
    ("observations", "modes", "found"),
    [
        ((2,), (), "mirimage"),
        ((), ("NIRCAM",), "nrca1"),
        ((), ("*/msa",), "jw01234003"),
        ((1, 2), ("miri/image",), None),
        ((1, 2), (), "_uncal"),
    ],
)
def test_a_part_of_it(archive, observations, modes, found):
    if found is None:
        with pytest.raises(InputError, match="no raw files of observation 1"):
            mast.files(1234, observations, modes)
        return
    chosen = mast.files(1234, observations, modes)
    assert chosen and all(found in name for name in names(chosen))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((99,), "no program 99"), ((1234, (7,)), "There are 1, 2, 3"), ((1234, (), ("MIRI/IFU",)), "Its modes are MIRI/IMAGE, NIRCAM/IMAGE")],
)
def test_what_there_is_not(archive, arguments, message):
    with pytest.raises(InputError, match=message):
        mast.files(*arguments)


def test_no_network(monkeypatch):
    with pytest.raises(InputError, match="can't be asked"):
        mast.files(1234, address="http://127.0.0.1:9")


def test_files_come_whole_and_once(archive, tmp_path):
    files = mast.files(1234)
    paths = download.fetch(files, tmp_path)
    assert {path.name: path.read_bytes() for path in paths} == FILES and not list(tmp_path.glob("*.part"))
    archive.ranges.clear()
    assert download.missing(files, tmp_path) == [] and download.fetch(files, tmp_path) == paths and not archive.ranges
    paths[0].write_bytes(b"short")
    download.fetch(files, tmp_path)
    assert len(archive.ranges) == 1 and paths[0].read_bytes() == FILES[paths[0].name]


def test_what_was_cut_off_goes_on(archive, tmp_path):
    files = mast.files(1234, (1,))[:1]
    archive.cut = 2
    (path,) = download.fetch(files, tmp_path)
    assert path.read_bytes() == FILES[path.name] and archive.ranges == [None, "bytes=1000-", "bytes=2000-"]


def test_a_run_that_ended_goes_on_later(archive, tmp_path):
    (one,) = files = mast.files(1234, (1,))[:1]
    (tmp_path / f"{one.name}.part").write_bytes(FILES[one.name][:4000])
    assert download.left(files, tmp_path) == one.size - 4000
    (path,) = download.fetch(files, tmp_path)
    assert path.read_bytes() == FILES[path.name] and archive.ranges == ["bytes=4000-"]


def test_a_server_that_can_t_resume_starts_again(archive, tmp_path):
    (one,) = files = mast.files(1234, (1,))[:1]
    (tmp_path / f"{one.name}.part").write_bytes(b"x" * 4000)
    archive.resumes = False
    (path,) = download.fetch(files, tmp_path)
    assert path.read_bytes() == FILES[path.name]


def test_what_is_spoilt_on_its_way_is_no_file(archive, tmp_path):
    archive.spoil = True
    with pytest.raises(InputError, match="its md5 is not the one that the archive tells"):
        download.fetch(mast.files(1234, (1,)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_piece_of_something_else_is_no_file(archive, tmp_path):
    """Resumed onto the wrong beginning: without a checksum the form alone tells."""
    (one,) = files = mast.files(1234, (1,))[:1]
    (tmp_path / f"{one.name}.part").write_bytes(b"x" * 4000)
    archive.tell = None
    with pytest.raises(InputError, match="no whole FITS file"):
        download.fetch(files, tmp_path)


@pytest.mark.parametrize(("status", "message"), [(401, "MAST_API_TOKEN"), (403, "MAST_API_TOKEN"), (503, "goes on where it was cut off")])
def test_a_file_that_does_not_come(archive, tmp_path, status, message):
    archive.refuse = status
    with pytest.raises(InputError, match=message):
        download.fetch(mast.files(1234, (2,)), tmp_path)


def test_two_into_one_folder(archive, tmp_path):
    """They wait for each other: each file comes once, and whole."""
    files, said = mast.files(1234), []
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: download.fetch(files, tmp_path, tell=said.append), range(4)))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == FILES
    assert len(archive.ranges) == len(FILES) and any("another process fetches" in line for line in said)


def test_no_room(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000))
    with pytest.raises(InputError, match="2 files, 17.3 kB, are to come, and 10 kB are free"):
        download.fetch(mast.files(1234, (1,)), tmp_path)
    assert not archive.ranges


def test_signs_of_life_within_a_file(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "EVERY", 0.0)
    monkeypatch.setattr(download, "CHUNK", 2880)
    said = []
    download.fetch(mast.files(1234, (1,))[:1], tmp_path, tell=said.append)
    assert said[1:] == [f"1/1 {next(iter(FILES))}: {n} of 8.64 kB" for n in ("5.76 kB", "8.64 kB")] + [f"1/1 {next(iter(FILES))}"]


def test_the_token_goes_to_the_archive_alone(monkeypatch):
    monkeypatch.setenv("MAST_API_TOKEN", "word")
    assert mast.opened(f"{mast.SERVER}/x").get_header("Authorization") == "token word"
    for url in ("http://127.0.0.1/x", "https://mast.stsci.edu.example.org/x"):
        assert mast.opened(url).get_header("Authorization") is None


def test_the_command(archive, tmp_path, capsys):
    data = str(tmp_path / "data")
    words = ["--program", "1234", "--observation", "1,3", data]  # DATA last, as the README has it
    one_by_one = ["--program", "1234", "--observation", "1", "--observation", "3", "--mode", "NIRCAM,NIRSPEC/MSA", data]
    for given in (words, one_by_one):
        assert fetch.main([*given, "--list"]) == 0
        said = capsys.readouterr().out
        assert "program 1234: 4 files, 34.6 kB" in said and "0 are in " + data in said and "4 are to come, 34.6 kB" in said
    assert not (tmp_path / "data").exists()
    assert fetch.main(words) == 1 and "say --yes" in capsys.readouterr().err
    assert fetch.main([*words, "--yes"]) == 0
    assert "4/4" in capsys.readouterr().out and len(list((tmp_path / "data").iterdir())) == 4
    assert fetch.main(words) == 0 and "0 are to come" in capsys.readouterr().out
