"""The same damages as in `test_arrays.py` to what spectra are made of: slits with many extensions, cubes, extracted spectra, and what a
field through a grism takes from its direct image (catalogue, segmentation map). An error of ours that names the file, or its numbers.
"""

import itertools

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Column, QTable
from test_arrays import DAMAGES, OF_TABLES, SHAPES, edited

import grisms
from grisms import Star
from jwcal.arithmetic.grism import catalogue, contamination
from jwcal.model.exposure import Members
from jwcal.model.references import References
from jwcal.products import stored
from jwcal.vocabulary.errors import InputError

PLANES = ("SCI", "ERR", "DQ", "VAR_POISSON", "VAR_RNOISE", "VAR_FLAT")
# level -> suffix, class of stdatamodels, shapes of its SCI, maps beside it
LEVELS = {
    "rate of a slicer": ("rate", "IFUImageModel", [(40, 30)], ()),
    "cal of a slicer": ("cal", "IFUImageModel", [(40, 30)], ("WAVELENGTH", "PATHLOSS_PS", "PATHLOSS_UN", "AREA", "REGIONS")),
    "cal of slits": ("cal", "MultiSlitModel", [(7, 40), (5, 30), (9, 20)], ("WAVELENGTH", "PATHLOSS_UN", "BARSHADOW", "FLATFIELD_PS")),
    "cal of one slit": ("cal", "SlitModel", [(40, 12)], ("WAVELENGTH", "AREA", "PATHLOSS_PS")),
    "calints of a slit": ("calints", "SlitModel", [(3, 16, 24)], ("WAVELENGTH",)),
    "crf of slits": ("crf", "MultiSlitModel", [(7, 40), (5, 30)], ("WAVELENGTH", "BARSHADOW")),
    "crfints": ("crfints", "SlitModel", [(3, 16, 24)], ("WAVELENGTH",)),
    "s2d of slits": ("s2d", "MultiSlitModel", [(7, 40), (5, 30)], ("WHT", "CON", "WAVELENGTH")),
    "s2d": ("s2d", "SlitModel", [(7, 40)], ("WHT", "CON", "WAVELENGTH")),
    "s3d": ("s3d", "IFUCubeModel", [(12, 8, 9)], ("WMAP",)),
}
SPECTRA = {"x1d": "MultiSpecModel", "x1dints": "TSOMultiSpecModel", "c1d": "MultiCombinedSpecModel"}


def made(folder, level):
    """A file of this level, in each extension other numbers."""
    suffix, model, shapes, maps = LEVELS[level]
    random = np.random.default_rng(3)
    keywords = {"TELESCOP": "JWST", "INSTRUME": "NIRSPEC", "EXP_TYPE": "NRS_MSASPEC", "NINTS": 3, "DATAMODL": model}
    hdus = [fits.PrimaryHDU(header=fits.Header(keywords))]
    for number, shape in enumerate(shapes, start=1):
        for name in (*PLANES, *maps):
            flags = name in ("DQ", "CON", "REGIONS")
            array = random.integers(0, 9, shape).astype(np.uint32) if flags else random.random(shape).astype(np.float32)
            hdus.append(fits.ImageHDU(array, name=name, ver=number))
    path = folder / f"jw01234001001_02101_00001_nrs1_{suffix}.fits"
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def damaged(source, path, name, number, change):
    """A copy in which the extension of one slit is another one."""
    with fits.open(source, memmap=False) as hdus:
        found = []
        for hdu in hdus:
            if (hdu.name, hdu.ver) != (name, number):
                found.append(hdu.copy())
                continue
            changed = change(hdu.data)
            for one in changed if isinstance(changed, list) else [changed]:
                one = fits.ImageHDU(one, ver=number) if isinstance(one, np.ndarray) else one
                if one is not None:
                    one.name, one.ver = name, number if one.ver in (None, 1) else one.ver
                    found.append(one)
        fits.HDUList(found).writeto(path, overwrite=True)
    return path


@pytest.mark.full
@pytest.mark.parametrize("level", LEVELS)
def test_all_damages_to_all_extensions(tmp_path, level):
    source, refused, several = made(tmp_path, level), set(), len(LEVELS[level][2]) > 1
    number, path = len(LEVELS[level][2]), tmp_path / "damaged" / source.name
    path.parent.mkdir()
    for name, damage in itertools.product((*PLANES, *LEVELS[level][3]), DAMAGES):
        damaged(source, path, name, number, DAMAGES[damage])
        try:
            exposure = stored.read(path)
        except InputError as error:
            assert str(error).startswith(f"{path}: ") and (name in str(error) or name == "SCI"), (name, damage, str(error))
            refused.add((name, damage))
            continue
        assert_right(path, exposure, name, number, damage)
    for name in (*PLANES, *LEVELS[level][3]):
        free = {"one less", "an axis less"} if name == "CON" else set()  # it may have any number of planes
        if not several and name == "SCI":
            free |= {"EXTVER 7", "a table"}  # tested by what stands beside it
        if name in LEVELS[level][3] and len(LEVELS[level][2][0]) == 3:
            free |= {"an axis less"}  # a map may be that of all integrations
        for damage in {*SHAPES, "doubled", "EXTVER 7", "a table"} - free - ({"an axis more"} if name == "CON" else set()):
            assert (name, damage) in refused, (name, damage)
        assert ((name, "NaN") in refused) == (name == "DQ") and (name, "little-endian") not in refused and (name, "float64") not in refused


def assert_right(path, exposure, name, number, damage):
    """Types and shapes that kernels expect, and the numbers that astropy finds there."""
    for pixels in exposure.pixels:
        for plane, array in pixels.planes():
            kind = np.uint32 if plane == "dq" else np.float32
            assert array.dtype == kind and array.shape == pixels.sci.shape and array.dtype.isnative and array.flags.c_contiguous
        for extension, array in pixels.extra.items():
            assert array.dtype.isnative and array.shape[-2:] == pixels.sci.shape[-2:], extension
    with fits.open(path, memmap=False) as hdus:
        there = [hdu for hdu in hdus if hdu.name == name and hdu.ver == number and hdu.data is not None]
        left = [hdu for hdu in hdus if hdu.name == "SCI" and hdu.data is not None]
        if not there or len(left) != len(exposure.pixels):
            return
        pixels = exposure.pixels[[hdu.ver for hdu in left].index(number)]
        found = pixels.get({"SCI": "sci"}.get(name, name.lower() if name in PLANES else name))
        numbers = there[0].data
        if name == "DQ":
            np.testing.assert_array_equal(found.astype(np.int64), np.asarray(numbers).astype(np.int64) & 0xFFFFFFFF, err_msg=damage)
        else:
            np.testing.assert_array_equal(found, np.asarray(numbers).astype(found.dtype), err_msg=damage)


# --- extracted spectra ---


def spectra(folder, suffix):
    """Two spectra of 12 wavelengths; of a series those of three integrations, each a row."""
    hdus = [fits.PrimaryHDU(header=fits.Header({"TELESCOP": "JWST", "DATAMODL": SPECTRA[suffix]}))]
    shape, rows = ((12,), 3) if suffix == "x1dints" else ((), 12)
    name = "COMBINE1D" if suffix == "c1d" else "EXTRACT1D"
    for number in (1, 2):
        table = np.zeros(rows, [(column, "f8", shape) for column in ("WAVELENGTH", "FLUX", "FLUX_ERROR", "SURF_BRIGHT", "BACKGROUND")])
        for column in table.dtype.names:
            table[column] = number + np.linspace(1, 2, 12)
        hdus.append(fits.BinTableHDU(table, name=name, ver=number))
    path = folder / f"jw01234001001_02101_00001_nrs1_{suffix}.fits"
    fits.HDUList(hdus).writeto(path)
    return path, name


WHOLE = {
    "little-endian": lambda t: fits.BinTableHDU(np.asarray(t).astype(t.dtype.newbyteorder("<"))),
    "float32": lambda t: fits.BinTableHDU(np.asarray(t).astype([(n, "f4", t.dtype[n].shape) for n in t.dtype.names])),
    "NaN": lambda t: fits.BinTableHDU(np.asarray(t).copy().view()),
    **OF_TABLES,
}


@pytest.mark.full
@pytest.mark.parametrize("suffix", SPECTRA)
def test_all_damages_to_spectra(tmp_path, suffix):
    source, name = spectra(tmp_path, suffix)
    path = tmp_path / "damaged" / source.name
    path.parent.mkdir()
    whole = stored.read(source)
    for damage, change in WHOLE.items():
        damaged(source, path, name, 2, change)
        try:
            exposure = stored.read(path)
        except InputError as error:
            assert str(error).startswith(f"{path}: ") and name in str(error) and damage in (
                "doubled", "an image", "a header alone", "other columns"
            ), (damage, str(error))  # fmt: skip
            continue
        assert damage not in ("doubled", "an image", "other columns"), damage
        assert len(exposure.spectra) == 2 - (damage in ("missing", "a header alone")), damage
        for known, found in zip(whole.spectra, exposure.spectra, strict=False):
            assert found.table.dtype.isnative
            if damage in ("little-endian", "float32"):
                for column in known.table.dtype.names:
                    np.testing.assert_allclose(found.table[column], known.table[column], rtol=1e-6)


# --- what a field takes from its direct image ---


def replaced(name, change):
    def changed(table):
        table[name] = change(table[name])
        return table

    return changed


def as_text(column):
    return Column(["bright"] * len(column))


# change of the catalogue, what is said; "" where the sources are those of the file
CATALOGUES = {
    "untouched": (lambda t: t, ""),
    "labels of 64 bits": (replaced("label", lambda c: np.asarray(c, np.int64)), ""),
    "labels as floats": (replaced("label", lambda c: np.asarray(c, float)), ""),
    "magnitudes of 32 bits": (replaced("isophotal_abmag", lambda c: np.asarray(c, np.float32)), ""),
    "other order of columns": (lambda t: t[t.colnames[::-1]], ""),
    "labels of halves": (replaced("label", lambda c: np.asarray(c) + 0.5), "label"),
    "labels as text": (replaced("label", as_text), "label"),
    "labels NaN": (replaced("label", lambda c: np.asarray(c) * np.nan), "label"),
    "magnitudes as text": (replaced("isophotal_abmag", as_text), "isophotal_abmag"),
    "extended as text": (replaced("is_extended", as_text), "is_extended"),
    "doubled": (lambda t: QTable({n: t[n][[0, 1, 0]] for n in t.colnames}), "labels of the catalogue occur more than once"),
    "no rows": (lambda t: t[:0], "the catalogue has no source"),
    **{
        f"no {name}": (lambda t, name=name: t[[n for n in t.colnames if n != name]], f"the catalogue has no column {name}")
        for name in catalogue.COLUMNS
    },
    **{f"{name} as numbers": (replaced(name, lambda c: c.ra.deg), name) for name in ("sky_centroid", *catalogue.CORNERS)},
}


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    stars = [Star(100.3, 60.2, 1e-5), Star(110.7, 140.4, 2e-5)]
    return grisms.field(tmp_path_factory.mktemp("field"), grisms.NIRISS, stars, strengths=(1, 0))


@pytest.mark.parametrize("kind", CATALOGUES)
def test_catalogues(field, tmp_path, kind):
    change, wrong = CATALOGUES[kind]
    path = tmp_path / "mine_cat.ecsv"
    change(field.catalogue.copy()).write(path, format="ascii.ecsv")
    exposure = field.exposure.shell()
    exposure.members = Members([(path, "sourcecat")], stored.read)
    if not wrong:
        found = catalogue.of_exposure(exposure)
        np.testing.assert_array_equal(found.label, field.catalogue["label"])
        np.testing.assert_allclose(found.magnitude, field.catalogue["isophotal_abmag"], rtol=1e-6)
        return
    with pytest.raises(InputError) as caught:
        catalogue.of_exposure(exposure)
    assert str(caught.value).startswith(f"{path}: ") and wrong in str(caught.value)


MAPS = {
    "untouched": (lambda s: s, ""),
    **{kind: (lambda s, kind=kind: s.astype(kind), "") for kind in ("uint8", "int16", "int64", "uint32", "float32", "float64")},
    "little-endian": (lambda s: s.astype("<i4"), ""),
    "rows less": (SHAPES["rows less"], "the segmentation map has"),
    "wider": (SHAPES["wider"], "the segmentation map has"),
    "an axis more": (SHAPES["an axis more"], "the segmentation map has"),
    "one line": (SHAPES["one line"], "SCI has the shape"),
    "halves": (lambda s: s + np.float32(0.5), "labels"),
    "NaN": (lambda s: np.where(s > 0, s, np.nan), "labels"),
    "below 0": (lambda s: -s, "labels"),
    "doubled": (lambda s: [s, s], "it has 2 extensions SCI"),
    "missing": (lambda s: None, "it has no SCI extension"),
}


@pytest.mark.parametrize("kind", MAPS)
def test_segmentation_maps(field, tmp_path, kind):
    change, wrong = MAPS[kind]
    path = edited(field.files["segmap"], tmp_path / "mine_segm.fits", {"SCI": change})
    exposure = field.exposure.shell()
    exposure.members = Members([(field.files["direct_image"], "direct_image"), (path, "segmap")], stored.read)
    photom = References({"photom": field.files["photom"]}, exposure.header)["photom"]
    if not wrong:
        _, labels, _ = contamination._direct(exposure, photom)
        np.testing.assert_array_equal(labels, stored.read(field.files["segmap"]).sci)
        return
    with pytest.raises(InputError) as caught:
        contamination._direct(exposure, photom)
    assert str(caught.value).startswith(f"{path}: ") and wrong in str(caught.value)
