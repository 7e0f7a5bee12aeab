"""Files are written byte for byte as astropy writes them."""

import numpy as np
import pytest
from astropy.io import fits

from jwcal.files import fitsio

NUMBERS = np.arange(-6, 6).reshape(3, 4)
TABLES = {
    "plain": np.array(
        [(b"one", 1, 2.5, [1, 2]), (b"of eight", -7, np.nan, [3, 4])], [("a", "S8"), ("b", "i4"), ("c", "f8"), ("d", "i2", 2)]
    ),
    "of the other order": np.array([(1, 2.5), (3, 4.5)], [("a", ">i4"), ("b", ">f4")]),
    "bytes": np.array([(np.arange(7),)], [("ASDF_METADATA", "u1", (7,))]),
    "unsigned": np.array([(1, 2**31 + 1), (2, 5)], [("a", "u2"), ("b", "u4")]),
    "logical": np.array([(True, 1), (False, 2)], [("a", "?"), ("b", "i4")]),
    "without rows": np.zeros(0, [("a", "i4")]),
}
COLUMNS = {
    "scaled": fits.Column("a", "E", array=np.array([1.0, 2.5, 4.0], np.float32), bscale=0.5, bzero=1.0),
    "of any length": fits.Column("a", "PE()", array=np.array([[1.0], [2.0, 3.0], []], dtype=object)),
    "bits": fits.Column("a", "3X", array=np.array([[True, False, True]] * 3)),
    "with a unit": fits.Column("a", "D", unit="d", null=None, array=np.array([1.0, 2.0, 3.0])),
}


def same(hdus, tmp_path):
    fitsio.write_fits([(hdus, tmp_path / "ours.fits", tmp_path / "ours.fits")])
    hdus.writeto(tmp_path / "astropy.fits")
    return (tmp_path / "ours.fits").read_bytes() == (tmp_path / "astropy.fits").read_bytes()


@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", ">f4", ">i2"])
def test_images(tmp_path, kind):
    array = NUMBERS.astype(kind)
    kept = array.copy()
    header = fits.Header([("BUNIT", "DN"), ("LONG", "x" * 200, "of two cards"), ("HISTORY", "once")])
    assert same(fits.HDUList([fits.PrimaryHDU(header=header), fits.ImageHDU(array, header, name="SCI", ver=2)]), tmp_path)
    np.testing.assert_array_equal(array, kept)


@pytest.mark.parametrize("name", TABLES)
def test_tables(tmp_path, name):
    assert same(fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(TABLES[name], name="TABLE"), fits.ImageHDU()]), tmp_path)


@pytest.mark.parametrize("name", COLUMNS)
def test_tables_by_columns(tmp_path, name):
    assert same(fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([COLUMNS[name]], name="TABLE")]), tmp_path)


@pytest.mark.parametrize("table", [TABLES["plain"], TABLES["unsigned"], TABLES["logical"]], ids=str)
def test_a_table_that_was_read(tmp_path, table):
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(table, name="TABLE")]).writeto(tmp_path / "first.fits")
    with fits.open(tmp_path / "first.fits") as hdus:
        read = fits.BinTableHDU(hdus["TABLE"].data.copy(), name="TABLE")
    assert same(fits.HDUList([fits.PrimaryHDU(), read]), tmp_path)


@pytest.mark.parametrize("most", [1, 2, 512])
@pytest.mark.parametrize("bytes_at_a_time", [1, 7, 100, 10**6])
def test_arrays_that_follow_each_other_in_a_file(tmp_path, monkeypatch, most, bytes_at_a_time):
    """However few of them, and of their bytes, the system takes at a time."""

    def some(call):
        def limited(number, views, offset):
            assert len(views) <= most
            return call(number, [views[0][:bytes_at_a_time]] if len(views[0]) >= bytes_at_a_time else views, offset)

        return limited

    monkeypatch.setattr(fitsio, "AT_ONCE", most)
    for name in ("preadv", "pwritev"):
        monkeypatch.setattr(fitsio.os, name, some(getattr(fitsio.os, name)))
    arrays = [np.arange(5, dtype=np.float32), np.zeros(0, np.float32), np.arange(6, dtype=np.int16).reshape(2, 3), np.uint8([7])]
    with open(tmp_path / "file", "w+b", buffering=0) as file:
        fitsio.write_run(file, arrays, 11)
        found = [np.full_like(array, 99) for array in arrays]
        fitsio.read_run(file, found, 11)
        for array, same in zip(arrays, found, strict=True):
            np.testing.assert_array_equal(same, array)
        with pytest.raises(OSError, match="too soon"):
            fitsio.read_run(file, found, 12)
    assert (tmp_path / "file").read_bytes() == bytes(11) + b"".join(array.tobytes() for array in arrays)
