"""The index of a folder: names, levels, the cache, and files that are not what they should be."""

import errno
import json
import logging
import os
import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from jwcal.files import fitsheaders
from jwcal.program import index
from jwcal.program.index import parse_name
from jwcal.vocabulary.errors import InputError

REAL = Path(__file__).resolve().parents[3] / "shared/real"
HEADER = {
    **{"TELESCOP": "JWST", "INSTRUME": "NIRCAM", "DETECTOR": "NRCA1", "EXP_TYPE": "NRC_IMAGE", "FILTER": "F200W", "PUPIL": "CLEAR"},
    **{"DATE-OBS": "2022-07-01", "TIME-OBS": "12:00:00.000", "TSOVISIT": False, "VISITYPE": "PRIME_TARGETED_FIXED"},
    **{"NFRAMES": 1, "GROUPGAP": 0, "TFRAME": 10.73677, "TGROUP": 10.73677, "READPATT": "RAPID", "SUBARRAY": "FULL"},
    **{"SUBSTRT1": 1, "SUBSTRT2": 1, "FASTAXIS": -1, "SLOWAXIS": 2},
}
NAME = "jw01234001001_02101_00001_nrca1"


def write(path, shape=(1, 3, 4, 5), dtype=np.uint16, **keywords):
    """A file with the keywords of its shape; a keyword given as None is left out."""
    sizes = {"NINTS": 1, "NGROUPS": 3, "SUBSIZE1": shape[-1], "SUBSIZE2": shape[-2]}
    if len(shape) > 2:
        sizes["NINTS"] = shape[0]
    if len(shape) == 4:
        sizes["NGROUPS"] = shape[1]
    given = {k: v for k, v in {**HEADER, **sizes, **keywords}.items() if v is not None}
    sci = fits.ImageHDU(np.zeros(shape, dtype), name="SCI")
    sci.header["S_REGION"] = "POLYGON ICRS  " + " ".join(f"{x:.9f}" for x in range(120, 128))
    sci.header["BUNIT"] = "DN"
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList([fits.PrimaryHDU(header=fits.Header(given)), sci]).writeto(path, overwrite=True)
    return path


def image(path, suffix="rate", **keywords):
    return write(path, shape=(4, 5) if not suffix.endswith("ints") else (2, 4, 5), dtype=np.float32, **keywords)


@pytest.fixture
def opened(monkeypatch):
    """Paths of the files that were opened."""
    paths, read = [], fitsheaders.read_headers
    monkeypatch.setattr(fitsheaders, "read_headers", lambda path: paths.append(str(path)) or read(path))
    return paths


def test_one_exposure(tmp_path):
    path = write(tmp_path / "a" / f"{NAME}_uncal.fits")
    (found,) = index.find(tmp_path).exposures
    assert (found.root, found.level, found.path, found.shape, found.dtype) == (NAME, "uncal", str(path), (1, 3, 4, 5), "uint16")
    assert found.files == {"uncal": str(path)}
    assert found.header["EXP_TYPE"] == "NRC_IMAGE" and found.header["TSOVISIT"] is False and found.header["TFRAME"] == 10.73677
    assert found.header["S_REGION"].endswith("127.000000000") and found.header["BUNIT"] == "DN"  # of the SCI header, a long string
    assert "NAXIS" not in found.header
    assert json.loads(json.dumps(found.header)) == found.header
    assert list(found.chain) == ["detector1", "image2", "image3"]
    assert found.size == path.stat().st_size and found.mtime == pytest.approx(path.stat().st_mtime)


@pytest.mark.parametrize(
    "there, level, read",
    [
        (["uncal", "rate", "rateints", "cal"], "uncal", ["uncal"]),
        (["rate", "rateints", "calints", "cal"], "rate", ["rate", "rateints"]),
        (["rateints"], "rate", ["rateints"]),
        (["cal"], "cal", ["cal"]),
        (["calints", "i2d", "x1d"], "cal", ["calints"]),
    ],
)
def test_levels(tmp_path, opened, there, level, read):
    """An exposure starts from the rawest files that are there, wherever they are, and only those are read."""
    for number, suffix in enumerate(there):
        path = tmp_path / str(number) / f"{NAME}_{suffix}.fits"
        write(path) if suffix == "uncal" else image(path, suffix)
    (found,) = index.find(tmp_path).exposures
    assert found.level == level
    assert set(found.files) == set(there) - {"i2d"}  # spectra are of use to associations, but nothing starts from them
    assert sorted(opened) == sorted(found.files[suffix] for suffix in read)
    assert found.path == found.files[read[0]]


@pytest.mark.parametrize(
    "root, parts",
    [
        ("jw01234001002_02101_00003_nrca1", {"visit": "002", "activity": "01", "exposure": "00003", "detector": "nrca1"}),
        ("jw01366003001_04101_00001-seg002_nrs1", {"segment": "002", "detector": "nrs1"}),
        ("jw02079004001_02t0a_00001_nrcalong", {"visit_group": "02", "sequence": "t", "activity": "0a", "detector": "nrcalong"}),
        ("jw01019001001_gs-acq1_2022117003102", {"program": "01019", "function": "acq1", "time": "2022117003102"}),
        ("jw01029001001_gs-id_1_image", {"function": "id", "time": "1_image"}),
        ("jw01029001001_gs-fg_2022142181502-seg001", {"function": "fg", "time": "2022142181502", "segment": "001"}),
    ],
)
def test_names(tmp_path, root, parts):
    write(tmp_path / f"{root}_uncal.fits")
    assert [e.root for e in index.find(tmp_path).exposures] == [root]
    name = parse_name(root)
    assert name.program == root[2:7]
    assert {part: getattr(name, part) for part in parts} == parts


def test_names_of_others(tmp_path):
    """A simulation may have any name."""
    write(tmp_path / "my_simulation_uncal.fits")
    assert [e.root for e in index.find(tmp_path).exposures] == ["my_simulation"]
    assert parse_name("my_simulation") is None
    assert parse_name("jw01234001001_02101_00003_nrca1_uncal") is None


def test_segments(tmp_path):
    """Segments are exposures of their own; INTSTART and INTEND say how many integrations each has."""
    for number, (first, last) in enumerate([(1, 2), (3, 5)], 1):
        path = tmp_path / f"jw01234001001_02101_00001-seg00{number}_nrca1_uncal.fits"
        write(path, (last - first + 1, 3, 4, 5), NINTS=5, INTSTART=first, INTEND=last, EXP_TYPE="NRC_TSIMAGE")
    found = index.find(tmp_path)
    assert [e.shape[0] for e in found.exposures] == [2, 3] and not found.problems
    assert {e.chain.stage1 for e in found.exposures} == {"tso1"}


def test_data_forms(tmp_path):
    """A folder, a file, a list, paths and text, and the same file reached twice."""
    a = write(tmp_path / "a" / f"{NAME}_uncal.fits")
    b = write(tmp_path / "b" / f"{NAME[:-1]}2_uncal.fits")
    (tmp_path / "c").symlink_to(tmp_path / "a")
    for data in ([a, b], str(tmp_path), tmp_path, [tmp_path, a], [str(a), b], [tmp_path / "c", tmp_path / "b"]):
        found = index.find(data)
        assert len(found.exposures) == 2 and not found.left_out
    assert len(index.find(b).exposures) == 1


def test_hidden_own_and_looping_folders(tmp_path):
    write(tmp_path / f"{NAME}_uncal.fits")
    write(tmp_path / ".hidden" / "a_uncal.fits")
    write(tmp_path / ".b_uncal.fits")
    image(tmp_path / "results/stage1" / f"{NAME}_rate.fits")
    (tmp_path / "loop").symlink_to(tmp_path)
    (found,) = index.find(tmp_path, skip=[tmp_path / "results"]).exposures
    assert found.files == {"uncal": str(tmp_path / f"{NAME}_uncal.fits")}
    image(tmp_path / "results/stage1" / "other_rate.fits")
    assert len(index.find(tmp_path / "results", skip=[tmp_path / "results"]).exposures) == 2  # asked for by name: not skipped


def test_left_out(tmp_path, caplog):
    """Duplicates and other telescopes' files are named, and do no harm."""
    first = write(tmp_path / "a" / f"{NAME}_uncal.fits")
    second = write(tmp_path / "b" / f"{NAME}_uncal.fits")
    other = write(tmp_path / "hst_uncal.fits", TELESCOP="HST")
    table = tmp_path / "notes.txt"
    table.write_text("")
    with caplog.at_level(logging.WARNING):
        found = index.find([tmp_path, table])
    assert [e.path for e in found.exposures] == [str(first)] and not found.problems
    left = {path: message for path, message in found.left_out}
    assert left[str(second)] == f"the same exposure as {first}: left out."
    assert "not a JWST file" in left[str(other)]
    assert "does not end in _uncal.fits" in left[str(table)]
    assert all(path in caplog.text for path in left)


def truncate(path, size):
    with open(path, "r+b") as file:
        file.truncate(size)


BAD = {
    "truncated data": (lambda p: truncate(p, p.stat().st_size - 2880), "the file is truncated: 5760 bytes, 8640 by its headers"),
    "truncated header": (lambda p: truncate(p, 4000), "the file is truncated: 4000 bytes, in the middle of a header"),
    "primary header alone": (lambda p: truncate(p, 2880), "it has no SCI extension with data"),
    "empty": (lambda p: truncate(p, 0), "the file is empty"),
    "no FITS": (lambda p: p.write_text("hello " * 1000), "not a FITS file"),
    "dead link": (lambda p: (p.unlink(), p.symlink_to("nowhere")), "there is no such file"),
    "no EXP_TYPE": ({"EXP_TYPE": None}, "the keyword EXP_TYPE is missing"),
    "empty EXP_TYPE": ({"EXP_TYPE": ""}, "the keyword EXP_TYPE is missing"),
    "no NINTS": ({"NINTS": None}, "the keyword NINTS is missing"),
    "no NGROUPS": ({"NGROUPS": None}, "the keyword NGROUPS is missing"),
    "no TFRAME, TGROUP": ({"TFRAME": None, "TGROUP": None}, "the keywords TFRAME, TGROUP are missing"),
    "no SUBSIZE1": ({"SUBSIZE1": None}, "the keyword SUBSIZE1 is missing"),
    "no date": ({"DATE-OBS": None}, "the keyword DATE-OBS is missing"),
    "unknown EXP_TYPE": ({"EXP_TYPE": "NRC_IMAG"}, "NRC_IMAG is no EXP_TYPE of JWST. The nearest that is known is NRC_IMAGE"),
    "text for a number": ({"NGROUPS": "three"}, "NGROUPS is 'three'"),
    "no groups": ({"NGROUPS": 0}, "NGROUPS is 0"),
    "negative time": ({"TFRAME": -1.0}, "TFRAME is -1.0"),
    "axes": ({"shape": (3, 4, 5)}, r"SCI has the shape \(3, 4, 5\), its keywords say \(3, 3, 4, 5\)"),
    "integrations": ({"NINTS": 2}, r"SCI has the shape \(1, 3, 4, 5\), its keywords say \(2, 3, 4, 5\) \(integrations, groups, rows"),
    "groups": ({"NGROUPS": 4}, r"its keywords say \(1, 4, 4, 5\)"),
    "rows": ({"SUBSIZE2": 5}, r"its keywords say \(1, 3, 5, 5\)"),
    "rows and columns swapped": ({"SUBSIZE1": 4, "SUBSIZE2": 5}, r"its keywords say \(1, 3, 5, 4\)"),
    "segment": ({"NINTS": 9, "INTSTART": 3, "INTEND": 4}, r"its keywords say \(2, 3, 4, 5\)"),
    "IRS2": ({"READPATT": "NRSIRS2RAPID"}, r"its keywords say \(1, 3, 3200, 5\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files(tmp_path, case):
    """Each is named with what is wrong; the good file beside it is still there."""
    damage, message = BAD[case]
    write(tmp_path / f"{NAME}_uncal.fits")
    bad = tmp_path / "bad_uncal.fits"
    write(bad, **(damage if isinstance(damage, dict) else {}))
    if callable(damage):
        damage(bad)
    found = index.find(tmp_path)
    assert [e.root for e in found.exposures] == [NAME]
    ((path, said),) = found.problems
    assert path == str(bad)
    assert re.search(message, said), said


@pytest.mark.parametrize(
    "suffix, keywords, message",
    [
        ("rate", {"shape": (2, 4, 5), "dtype": np.float32}, "a rate file has 2 axes"),
        ("rateints", {"shape": (4, 5), "dtype": np.float32}, "a rateints file has 3 axes"),
        ("rate", {"shape": (4, 5), "dtype": np.uint16}, "SCI is uint16"),
        ("cal", {"shape": (4, 5), "EXP_TYPE": None}, "EXP_TYPE is missing"),
    ],
)
def test_bad_later_files(tmp_path, suffix, keywords, message):
    write(tmp_path / f"bad_{suffix}.fits", **keywords)
    found = index.find(tmp_path)
    assert not found.exposures and message in found.problems[0].message


@pytest.mark.parametrize(
    "keywords",
    [
        {"shape": (1, 3, 3200, 4), "READPATT": "NRSIRS2", "SUBSIZE2": 2048, "EXP_TYPE": "NRS_IFU"},
        {"shape": (1, 3, 5, 4), "SUBSIZE1": 5, "SUBSIZE2": 4, "EXP_TYPE": "FGS_ID-STACK"},
        {"shape": (2, 3, 4, 5), "EXP_TYPE": "MIR_LRS-SLITLESS", "NINTS": 7, "INTSTART": 6, "INTEND": 7},
        {"shape": (6, 3, 4, 5), "SSTR_NST": 3, "SUBSIZE2": 12},
    ],
    ids=["IRS2", "guide star", "segment", "superstripes"],
)
def test_special_shapes(tmp_path, keywords):
    write(tmp_path / "good_uncal.fits", **keywords)
    found = index.find(tmp_path)
    assert len(found.exposures) == 1 and not found.problems


def test_a_bad_uncal_is_not_replaced_by_its_rate(tmp_path):
    write(tmp_path / "a_uncal.fits", NGROUPS=7)
    image(tmp_path / "a_rate.fits")
    found = index.find(tmp_path)
    assert not found.exposures and len(found.problems) == 1


def test_one_bad_of_two(tmp_path):
    """The rateints file may be the one that is wanted: both must be good."""
    image(tmp_path / "a_rate.fits")
    truncate(image(tmp_path / "a_rateints.fits", "rateints"), 8000)
    assert "truncated" in index.find(tmp_path).problems[0].message


def test_nothing(tmp_path):
    with pytest.raises(InputError, match="there is no such file or folder. Correct `data`"):
        index.find(tmp_path / "none")
    with pytest.raises(InputError, match=r"no exposure found: there is no \*_uncal.fits.*Set `data`"):
        index.find(tmp_path)
    image(tmp_path / "jw_i2d.fits")
    with pytest.raises(InputError, match="no exposure found"):
        index.find(tmp_path)
    write(tmp_path / "hst_uncal.fits", TELESCOP="HST")
    with pytest.raises(InputError, match="1 files are left out: .*hst_uncal.fits: not a JWST file"):
        index.find(tmp_path)


def test_unreadable(tmp_path, monkeypatch):
    """A closed folder inside is a problem, a closed data folder an error; a closed file is a problem too."""
    write(tmp_path / f"{NAME}_uncal.fits")
    write(tmp_path / "b_uncal.fits")
    closed = tmp_path / "closed"
    write(closed / "c_uncal.fits")
    scandir, real_open = os.scandir, open

    def no_scandir(path):
        if Path(path) == closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    def no_open(path, *args, **kwargs):
        if str(path).endswith("b_uncal.fits"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real_open(path, *args, **kwargs)

    monkeypatch.setattr(os, "scandir", no_scandir)
    monkeypatch.setattr("builtins.open", no_open)
    found = index.find(tmp_path)
    assert [e.root for e in found.exposures] == [NAME]
    assert sorted(Path(path).name for path, _ in found.problems) == ["b_uncal.fits", "closed"]
    assert all("Permission denied" in message for _, message in found.problems)
    with pytest.raises(InputError, match="closed: can't be read"):
        index.find(closed)


def test_cache(tmp_path, opened):
    """An unchanged file is not opened again; a changed, new or bad one is."""
    data, cache = tmp_path / "data", tmp_path / "state/index.json"
    paths = [write(data / f"a{i}_uncal.fits") for i in range(3)]
    bad = write(data / "bad_uncal.fits")
    truncate(bad, 8000)
    first = index.find(data, cache)
    assert len(opened) == 4
    opened.clear()
    assert index.find(data, cache) == first
    assert opened == [str(bad)]  # what is wrong is looked at again
    bad.unlink()
    opened.clear()
    os.utime(paths[1], ns=(1, 1))
    paths.append(write(data / "a3_uncal.fits"))
    paths[2].unlink()
    found = index.find(data, cache)
    assert sorted(opened) == [str(paths[1]), str(paths[3])]
    assert [e.root for e in found.exposures] == ["a0", "a1", "a3"]
    opened.clear()
    assert index.find(data, cache) == found and not opened
    assert len(json.loads(cache.read_text())["files"]) == 3


@pytest.mark.parametrize("content", ["", "not json", "[]", '{"format": 0, "files": {}}', '{"format": 1, "files": {"x": [1]}}'])
def test_broken_cache(tmp_path, opened, content):
    cache = tmp_path / "index.json"
    cache.write_text(content)
    write(tmp_path / "a_uncal.fits")
    assert len(index.find(tmp_path, cache).exposures) == 1
    assert len(opened) == 1
    index.find(tmp_path, cache)
    assert len(opened) == 1


def test_cache_that_can_not_be_written(tmp_path, caplog):
    write(tmp_path / "a_uncal.fits")
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        assert len(index.find(tmp_path, tmp_path / "file/index.json").exposures) == 1
    assert "can't be written" in caplog.text


REAL_FILES = [*sorted(REAL.glob("*/*uncal.fits")), *sorted(REAL.glob("miri_lrs_slitless/*ints*.fits"))]


@pytest.mark.parametrize("path", REAL_FILES, ids=lambda p: p.name)
def test_headers_are_those_of_astropy(path):
    """The fast reader and astropy agree, on real headers."""
    read = fitsheaders.read_headers(path)
    with fits.open(path) as hdus:
        for ours, theirs in ((read.primary, hdus[0].header), (read.sci, hdus["SCI"].header)):
            wanted = {k: v for k, v in theirs.items() if k not in ("", "COMMENT", "HISTORY") and not fitsheaders.STRUCTURE.fullmatch(k)}
            assert ours == {k: v for k, v in wanted.items() if not isinstance(v, fits.card.Undefined)}
        assert read.shape == hdus["SCI"].shape
        assert np.dtype(read.dtype) == hdus["SCI"].data.dtype.newbyteorder("=")


def test_odd_cards(tmp_path):
    """Cards that are rare: quotes, exponents, long strings with and without comment, comments, no value."""
    values = {
        **{"TELESCOP": "JWST", "EMPTY": "", "BIG": 1.5e300, "SMALL": -2.5e-7, "WHOLE": -12, "YES": True, "END_KEY": 7, "DASH-ED": "a"},
        **{"QUOTE": "it's 'odd' / not a comment", "LONG": "word & 'word' / " * 20 + "end", "LONG2": "x" * 150},
    }
    header = fits.Header(values)
    header.comments["QUOTE"] = "a comment with 'quotes'"
    header.comments["LONG"] = "a comment of a long string"
    header["NOVALUE"] = None
    header["HIERARCH a long keyword"] = 3
    header["COMMENT"] = "A = 3"
    header["HISTORY"] = "= 5"
    header.append(fits.Card.fromstring("DEXP    =               1.5D+03 / Fortran"))
    header.append(fits.Card.fromstring("NOSPACE = 3/comment"))
    path = tmp_path / "odd.fits"
    fits.HDUList([fits.PrimaryHDU(header=header), fits.ImageHDU(np.zeros((2, 3), ">i2"), name="SCI")]).writeto(path)
    read = fitsheaders.read_headers(path)
    assert read.primary == {**values, "DEXP": 1500.0, "NOSPACE": 3}
    assert read.shape == (2, 3) and read.dtype == "int16"


def test_compressed_and_tables_are_walked_over(tmp_path):
    """The end of the data is found behind tables with a heap too."""
    table = fits.BinTableHDU.from_columns([fits.Column("a", "PJ()", array=np.array([[1, 2], [3]], object))], name="T")
    path = tmp_path / "table.fits"
    fits.HDUList([fits.PrimaryHDU(), table, fits.ImageHDU(np.zeros(5), name="SCI")]).writeto(path)
    assert fitsheaders.read_headers(path).shape == (5,)
    truncate(path, path.stat().st_size - 1)
    with pytest.raises(InputError, match="truncated"):
        fitsheaders.read_headers(path)


@pytest.mark.skipif(not REAL.exists(), reason="../shared/real is not there")
def test_flight_file():
    (found,) = index.find(REAL / "guider").exposures
    assert found.root == "jw01019001001_gs-acq1_2022117003102" and found.shape == (6, 2, 128, 128)
    assert list(found.chain) == ["guider", None, None]


@pytest.mark.skipif(not REAL.exists(), reason="../shared/real is not there")
def test_later_flight_files():
    """Official products of several ages; the headers whose pixels were cut are told so."""
    found = index.find(REAL / "miri_lrs_slitless")
    assert [(e.root, e.level) for e in found.exposures] == [("ERS_NGTS10_2022_new_drift_041", "rate")]
    assert list(found.exposures[0].chain) == ["tso1", "tso-spec2", "tso3"]
    cut = index.find(REAL / "headers")
    assert not cut.exposures and all("SCI has the shape (1, 1, 1, 1)" in message for _, message in cut.problems)


def test_module_opens_no_file_itself():
    """FITS is opened in one module."""
    assert "fits.open" not in Path(index.__file__).read_text()
