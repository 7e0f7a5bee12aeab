"""Reference files in every form that FITS allows: plain, scaled, compressed, zipped, truncated; what astropy reads is what we read."""

import gzip
import shutil

import numpy as np
import pytest
from astropy.io import fits

import make
from jwcal.files import fitsio
from jwcal.files.reference_file import open_reference
from jwcal.vocabulary.errors import ReferenceError

VALUES = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 7
BITS = np.arange(12, dtype=np.uint32).reshape(3, 4) << 28
TABLE = np.array(
    [(1, 2**31 + 5, "one", [1.5, 2.5], True), (2, 7, "two", [3.5, 4.5], False)],
    [("number", "i4"), ("unsigned", "u4"), ("name", "S8"), ("pair", "f8", 2), ("yes", "?")],
)


@pytest.fixture
def plain(tmp_path):
    scaled = fits.ImageHDU(VALUES[0].copy(), name="SCALED")
    scaled.scale("int16", bscale=0.01, bzero=1.0)
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(VALUES, name="SCI"), fits.ImageHDU(BITS, name="DQ"), scaled]
    hdus += [fits.CompImageHDU(VALUES[1], name="SMALL", compression_type="GZIP_1", quantize_level=0)]
    hdus += [fits.BinTableHDU(TABLE, name="table"), fits.BinTableHDU(make.dq_def(HOT=4, DEAD=2**31), name="DQ_DEF")]
    hdus += [fits.ImageHDU(VALUES + 100, name="SCI", ver=2), fits.ImageHDU(name="EMPTY")]
    hdus[0].header.update({"REFTYPE": "MADE", "GAINFACT": 2.0, "NOTHING": None, "PEDIGREE": "DUMMY"})
    hdus[1].header.update({"GAINFACT": 3.0, "BUNIT": "DN", "LONG": "x" * 200, "FLAG": True})
    path = tmp_path / "made.fits"
    fits.HDUList(hdus).writeto(path)
    return path


@pytest.fixture(params=["plain", "zipped"])
def file(plain, request):
    if request.param == "plain":
        return open_reference(plain, "made")
    zipped = plain.with_name("made.fits.gz")
    with open(plain, "rb") as given, gzip.open(zipped, "wb") as made:
        shutil.copyfileobj(given, made)
    plain.unlink()
    return open_reference(zipped, "made")


def test_keywords_of_the_primary_header_win(file):
    header = file.header
    assert (header.get("GAINFACT"), header.get("BUNIT"), header.get("FLAG"), header.get("LONG")) == (2.0, "DN", True, "x" * 200)
    assert "NOTHING" not in header and header.get("NOTHING", 5) == 5


def test_images(file, plain):
    for name, values in (("SCI", VALUES), ("DQ", BITS), ("SCALED", VALUES[0]), ("SMALL", VALUES[1])):
        assert name in file and file.shape(name) == values.shape, name
        found = file.array(name)
        assert found.dtype.isnative and found.flags.c_contiguous
        np.testing.assert_allclose(found, values, rtol=0, atol=0.006 if name == "SCALED" else 0)
    assert file.shape("TABLE") is None and file.shape("EMPTY") is None and file.shape("NONE") is None and "NONE" not in file


@pytest.mark.parametrize("planes", [slice(1, 2), (slice(0, 1), slice(1, 3)), (slice(None), slice(1, 2))])
def test_part_of_a_cube(file, planes):
    np.testing.assert_array_equal(file.array("SCI", planes), VALUES[planes])


def test_tables(file):
    found = file.table("TABLE")
    for name in ("number", "unsigned", "name", "pair"):
        np.testing.assert_array_equal(found[name], TABLE[name])
        assert found.dtype[name].base.kind == TABLE.dtype[name].base.kind and found.dtype[name].base.isnative
    definitions = file.table("DQ_DEF")
    assert [(int(row["VALUE"]), row["NAME"]) for row in definitions] == [(4, b"HOT"), (2**31, b"DEAD")]
    parts = list(file.rows("TABLE", 1))
    assert [len(part) for part in parts] == [1, 1] and [int(part["number"][0]) for part in parts] == [1, 2]


PLAIN = [("text", "S5"), ("byte", "u1"), ("short", "i2"), ("word", "i4"), ("long", "i8"), ("float", "f4"), ("double", "f8")]
PLAIN += [("u2", "u2"), ("u4", "u4", (3,)), ("u8", "u8"), ("pairs", "f4", (2,))]
ODD = {
    "scaled": fits.Column("scaled", "E", array=np.array([1.0, 2.5, 4.0], np.float32), bscale=0.5, bzero=1.0),
    "offset": fits.Column("offset", "J", array=np.array([10, 20, 30]), bzero=10),
    "logical": fits.Column("logical", "L", array=np.array([True, False, True])),
    "of two axes": fits.Column("plane", "4E", array=np.arange(12, dtype=np.float32).reshape(3, 2, 2), dim="(2, 2)"),
    "of any length": fits.Column("list", "PE()", array=np.array([[1.0], [2.0, 3.0], []], dtype=object)),
    "bits": fits.Column("bits", "3X", array=np.array([[True, False, True]] * 3)),
    "signed bytes": fits.Column("int8", "B", bzero=-128, array=np.array([-3, 0, 3], np.int8)),
}


@pytest.mark.parametrize("rows", [0, 1, 50])
def test_plain_columns_are_read_as_astropy_reads_them(tmp_path, rows):
    bits = np.random.default_rng(rows).integers(0, 256, rows * np.dtype(PLAIN).itemsize, dtype=np.uint8)
    table = bits.view(PLAIN)
    for name in ("float", "double", "pairs"):
        table[name] = np.arange(table[name].size).reshape(table[name].shape) / 7
    table["text"] = b"a b"
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(table, name="TABLE")]).writeto(tmp_path / "made.fits")
    file = open_reference(tmp_path / "made.fits", "made")
    assert fitsio.plain_row(file._extensions["TABLE"].header).unsigned == ("u2", "u4", "u8")
    found = file.table("TABLE")
    assert found.dtype == np.dtype(PLAIN)
    for name in table.dtype.names:
        np.testing.assert_array_equal(found[name], table[name], name)
    parts = list(file.rows("TABLE", 7))
    assert sum(map(len, parts)) == rows and max(map(len, parts), default=0) <= 7
    if rows:
        np.testing.assert_array_equal(np.concatenate(parts)["u4"], table["u4"])


@pytest.mark.parametrize("column", ODD.values(), ids=ODD)
def test_columns_that_are_left_to_astropy(tmp_path, column):
    number = fits.Column("number", "J", array=np.array([1, 2, 3]))
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([number, column], name="TABLE")]).writeto(tmp_path / "made.fits")
    file = open_reference(tmp_path / "made.fits", "made")
    assert fitsio.plain_row(file._extensions["TABLE"].header) is None
    np.testing.assert_array_equal(file.table("TABLE")["number"], [1, 2, 3])
    np.testing.assert_array_equal(np.concatenate(list(file.rows("TABLE", 2)))["number"], [1, 2, 3])


@pytest.mark.parametrize("keyword, value", [("TFORM1", "nonsense"), ("TFORM1", 5), ("TTYPE1", None), ("TFIELDS", "x")])
def test_a_table_that_is_described_wrongly(tmp_path, keyword, value):
    table = fits.BinTableHDU(make.dq_def(HOT=4), name="DQ_DEF")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "made.fits")
    set_card(tmp_path / "made.fits", keyword, value)
    with pytest.raises(
        ReferenceError, match="made.fits: the made reference is not made as such references are .*Give another made reference"
    ):
        open_reference(tmp_path / "made.fits", "made").table("DQ_DEF")


def set_card(path, keyword, value):
    """Change a keyword of a file where it stands, as no library would."""
    content = path.read_bytes()
    at = content.index(f"{keyword:8}= ".encode())
    path.write_bytes(content[:at] + fits.Card(keyword, value).image.encode() + content[at + 80 :])


def test_what_is_not_there(file):
    for ask in (file.array, file.table, lambda name: list(file.rows(name, 1))):
        with pytest.raises(ReferenceError, match="the made reference has no extension NONE.*Give a made reference that has one"):
            ask("NONE")


def test_an_image_is_no_table(file):
    for ask in (file.table, lambda name: list(file.rows(name, 1))):
        with pytest.raises(ReferenceError, match="the made reference's SCI is no table. Give another made reference"):
            ask("SCI")


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("bytes_left", [0, 1000, 4000, 12000])
def test_truncated_file(plain, zipped, bytes_left):
    content = plain.read_bytes()[:bytes_left]
    if zipped:
        plain = plain.with_name("made.fits.gz")
        content = gzip.compress(plain.with_suffix("").read_bytes())[: bytes_left // 10]
    plain.write_bytes(content)
    with pytest.raises(ReferenceError, match=f"{plain.name}: the made reference can't be read: .*Fetch the file again"):
        open_reference(plain, "made")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ReferenceError, match="none.fits: the made reference can't be read: there is no such file"):
        open_reference(tmp_path / "none.fits", "made")
