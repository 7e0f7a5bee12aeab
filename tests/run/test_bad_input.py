"""Bad input, one row a kind of damage: one clear error that names the file, what is wrong and what to do, and nothing half done.

The same damaged file goes through the plan of a program, where a good exposure stands beside it, and through a pipeline by hand.
"""

import gzip
import json
import logging
import os
import shutil
import subprocess

import asdf
import numpy as np
import pytest
from astropy.io import fits

import jwcal
from jwcal.__main__ import main
from jwcal.files import fitsio, storage
from jwcal.model.exposure import Members
from jwcal.products import stored
from jwcal.provenance import records
from jwcal.run import loop
from jwcal.settings import pars
from jwcal.settings.recipe import Recipe
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import ConfigError, InputError, JwcalError, ProductError, ReferenceError
from jwcal.workflow import jobs, plan, stale
from peer import needs_peer, peer_python

pytestmark = pytest.mark.usefixtures("no_crds")
GOOD = "jw01234001001_02101_00001_nrcb1"
BAD = "jw01234001001_03101_00001_nrcb1"


# --- damage ---


def cut(size):
    """Only the first bytes; a negative size leaves out the last ones."""

    def damage(path):
        path.write_bytes(path.read_bytes()[:size])

    return damage


def holding(content):
    return lambda path: path.write_bytes(content)


def keywords(**values):
    """Other values of keywords, None for no keyword at all; SCI's where it is there. `_` stands for `-`."""

    def damage(path):
        with fits.open(path, mode="update", memmap=False) as hdus:
            for name, value in values.items():
                name = name.replace("_", "-") if name.startswith(("DATE", "TIME")) else name
                for header in (hdus[0].header, hdus["SCI"].header):
                    if value is None:
                        header.remove(name, ignore_missing=True)
                    elif name in header:
                        header[name] = value

    return damage


def samples(change, **values):
    """Other samples, and keywords that go with them."""

    def damage(path):
        with fits.open(path, memmap=False) as hdus:
            hdus = fits.HDUList([hdu.copy() for hdu in hdus])
        cards = [card for card in hdus["SCI"].header.cards if not stored.STRUCTURAL.fullmatch(card.keyword)]
        hdus["SCI"] = fits.ImageHDU(change(hdus["SCI"].data), fits.Header(cards), name="SCI")
        hdus.writeto(path, overwrite=True)
        keywords(**values)(path)

    return damage


def compressed(*names):
    """Images compressed inside the file, as fpack does it."""

    def damage(path):
        with fits.open(path, memmap=False) as hdus:
            hdus = fits.HDUList([hdu.copy() for hdu in hdus])
        for name in names:
            hdus[name] = fits.CompImageHDU(hdus[name].data, hdus[name].header, name=name, compression_type="RICE_1")
        hdus.writeto(path, overwrite=True)

    return damage


def beside(**shapes):
    """More images, of these shapes."""

    def damage(path):
        for name, shape in shapes.items():
            fits.append(path, np.ones(shape, np.uint16), fits.Header({"EXTNAME": name}))

    return damage


def gzipped(size):
    """Compressed as a whole under its old name, and only the first bytes."""
    return lambda path: path.write_bytes(gzip.compress(path.read_bytes())[:size])


def no_sci(path):
    with fits.open(path, memmap=False) as hdus:
        hdus = fits.HDUList([hdu.copy() for hdu in hdus if hdu.name != "SCI"])
    hdus.writeto(path, overwrite=True)


AGAIN, SET = "Fetch the file again", "Take the file from the archive again, or set it"
ARCHIVE, EXTENSION = "Take the file from the archive again", "Correct the extension, or take the file from the archive again"
# damage, what is wrong, what to do
ROWS = {
    "empty": (holding(b""), "the file is empty", AGAIN),
    "text": (holding(b"<html>404</html>" * 400), "not a FITS file", "Leave it out or fetch it again"),
    "ends in a header": (cut(4000), "the file is truncated: 4000 bytes, in the middle of a header", AGAIN),
    "ends in the samples": (cut(40000), "the file is truncated: 40000 bytes", AGAIN),
    "last block missing": (cut(-2880), "the file is truncated", AGAIN),
    "ends in the compressed data": (gzipped(4000), "the file is truncated: its compressed data end too soon", AGAIN),
    "compressed SCI": (compressed("SCI"), "SCI is a compressed image", "Unpack the file: funpack, or"),
    "no SCI": (no_sci, "it has no SCI extension", AGAIN),
    "no EXP_TYPE": (keywords(EXP_TYPE=None), "the keyword EXP_TYPE is missing", SET),
    "no INSTRUME": (keywords(INSTRUME=None), "the keyword INSTRUME is missing", SET),
    "no DETECTOR": (keywords(DETECTOR=None), "the keyword DETECTOR is missing", SET),
    "no NINTS": (keywords(NINTS=None), "the keyword NINTS is missing", SET),
    "no NGROUPS": (keywords(NGROUPS=None), "the keyword NGROUPS is missing", SET),
    "no NFRAMES": (keywords(NFRAMES=None), "the keyword NFRAMES is missing", SET),
    "no TFRAME, TGROUP": (keywords(TFRAME=None, TGROUP=None), "the keywords TFRAME, TGROUP are missing", "or set them"),
    "no READPATT": (keywords(READPATT=None), "the keyword READPATT is missing", SET),
    "no subarray": (keywords(SUBSTRT1=None), "the keyword SUBSTRT1 is missing", SET),
    "no date": (keywords(DATE_OBS=None), "the keyword DATE-OBS is missing", SET),
    "unknown EXP_TYPE": (keywords(EXP_TYPE="NRC_IMAG"), "NRC_IMAG is no EXP_TYPE of JWST", "The nearest that is known is NRC_IMAGE"),
    "NINTS in words": (keywords(NINTS="one"), "NINTS is 'one'", "Correct the keyword"),
    "date of another form": (keywords(DATE_OBS="10/02/23"), "DATE-OBS is '10/02/23', a date of the form 20YY-MM-DD", "Correct the keyword"),
    "date that is none": (keywords(DATE_OBS="2023-13-02"), "DATE-OBS is '2023-13-02', a date of the form", "Correct the keyword"),
    "time of another form": (keywords(TIME_OBS="4h 5m"), "TIME-OBS is '4h 5m', a time of the form HH:MM:SS.sss", "Correct the keyword"),
    "no time": (keywords(TGROUP=0.0), "TGROUP is 0.0", "Correct the keyword"),
    "time in words": (keywords(EXPSTART="nan"), "EXPSTART is 'nan', a number was expected", "Correct the keyword"),
    "endless frames": (keywords(NFRAMES=1e30), "NFRAMES is 1e+30, a whole number from 1 to 1000 was expected", "Correct the keyword"),
    "part of a frame": (keywords(GROUPGAP=1.5), "GROUPGAP is 1.5, a whole number", "Correct the keyword"),
    "divisor in words": (keywords(FRMDIVSR="4"), "FRMDIVSR is '4'", "Correct the keyword"),
    "pattern in numbers": (keywords(READPATT=8), "READPATT is 8, text was expected", "Correct the keyword"),
    "before the detector": (keywords(SUBSTRT1=0), "SUBSTRT1 is 0", "Correct the keyword"),
    "beyond the detector": (keywords(SUBSTRT2=2000), "SUBSTRT2 is 2000 and SUBSIZE2 64, which is not within", "Correct the keyword"),
    "no columns": (keywords(SUBSIZE1=0), "SUBSIZE1 is 0", "Correct the keyword"),
    "rows in words": (keywords(SUBSIZE2="abc"), "SUBSIZE2 is 'abc'", "Correct the keyword"),
    "three axes": (samples(lambda sci: sci[0]), "SCI has the shape (5, 64, 64), its keywords say (1, 5, 64, 64)", ARCHIVE),
    "groups missing": (samples(lambda sci: sci[:, :3]), "SCI has the shape (1, 3, 64, 64), its keywords say (1, 5, 64, 64)", ARCHIVE),
    "columns missing": (samples(lambda sci: sci[..., :32]), "SCI has the shape (1, 5, 64, 32)", ARCHIVE),
    "zero frames missing": (beside(ZEROFRAME=(3, 64, 64)), "ZEROFRAME has the shape (3, 64, 64), (1, 64, 64) was expected", EXTENSION),
    "flags missing": (beside(GROUPDQ=(1, 3, 64, 64)), "GROUPDQ has the shape (1, 3, 64, 64), (1, 5, 64, 64) was expected", EXTENSION),
    "flat flags": (beside(PIXELDQ=(64,)), "PIXELDQ has the shape (64,), (64, 64) was expected", EXTENSION),
    "reference output short": (beside(REFOUT=(1, 5, 32, 16)), "REFOUT has the shape (1, 5, 32, 16), (1, 5, 64, any) was", EXTENSION),
}  # fmt: skip
# Exposures of others are no error of ours: they are left out, and named.
NOT_OURS = {"no TELESCOP": keywords(TELESCOP=None), "Hubble": keywords(TELESCOP="HST")}


def damaged(tiny, folder, damage, name=BAD):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_uncal.fits"
    shutil.copy(tiny.image, path)
    damage(path)
    return path


def settings(tiny, data, results, **others):
    return {"data": str(data), "results": str(results), "references": {"crds_path": str(tiny.crds)}, **others}


def by_hand(tiny, path, out, pipeline="detector1", **others):
    return jwcal.run_pipeline(pipeline, path, out=out, every=True, crds_path=tiny.crds, **others)


# --- in a program ---


@pytest.fixture(scope="module")
def planned(tiny, tmp_path_factory):
    """The plan of a program that has all of the damaged files and a good one; which file is which."""
    folder = tmp_path_factory.mktemp("bad")
    shutil.copy(tiny.image, folder)
    cases = {**{name: row[0] for name, row in ROWS.items()}, **NOT_OURS}
    paths = {name: damaged(tiny, folder, row, BAD.replace("03101", f"03{i:03}")) for i, (name, row) in enumerate(cases.items())}
    return plan.make(settings(tiny, folder, folder.parent / "results of bad")), paths


@pytest.mark.parametrize("row", ROWS)
def test_in_a_program(planned, row):
    """The plan names each, once; none of them becomes a job."""
    made, paths = planned
    _, what, do = ROWS[row]
    (message,) = [problem for problem in made.problems if str(paths[row]) in problem]
    assert message.startswith(f"{paths[row]}: ") and what in message and do in message and message.endswith(".")
    assert ".." not in message
    assert paths[row].name.removesuffix("_uncal.fits") not in {job.exposure for job in made.jobs}


@pytest.mark.parametrize("row", NOT_OURS)
def test_exposures_of_others(planned, row):
    made, paths = planned
    (message,) = [text for text in made.left_out if str(paths[row]) in text]
    assert "not a JWST file" in message
    assert not [problem for problem in made.problems if str(paths[row]) in problem]


def test_good_exposure_among_bad_ones(planned):
    made, _ = planned
    assert len(made.problems) == len(ROWS)
    assert [(job.exposure, job.pipeline) for job in made.jobs if job.stage != "stage3"] == [(GOOD, "detector1"), (GOOD, "image2")]
    assert len(made.problems) == len(ROWS) and made.refused in made.targets(), "the run would end as if all were well"


# --- by hand ---


@pytest.mark.parametrize("row", ROWS)
def test_by_hand(tiny, tmp_path, row):
    """The same error, whatever damage; no product, no temporary file."""
    damage, what, do = ROWS[row]
    path = damaged(tiny, tmp_path, damage)
    with pytest.raises(InputError) as caught:
        by_hand(tiny, path, tmp_path / "out")
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and what in message and do in message
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("row", NOT_OURS)
def test_exposures_of_others_by_hand(tiny, tmp_path, row):
    with pytest.raises(InputError, match="not a JWST file.*Leave it out"):
        by_hand(tiny, damaged(tiny, tmp_path, NOT_OURS[row]), tmp_path)


@pytest.mark.parametrize(("pipeline", "suffix"), [("detector1", "rate"), ("image2", "uncal"), ("image2", "cal"), ("tso-image2", "ramp")])
def test_file_of_another_level(tiny, tiny_rate, tmp_path, pipeline, suffix):
    """No chain starts from what another one makes, whatever its name."""
    path = tmp_path / f"{GOOD}_{suffix}.fits"
    shutil.copy(tiny_rate if suffix in ("rate", "cal") else tiny.image, path)
    with pytest.raises(InputError, match=rf"{suffix}.fits: {pipeline} starts from \*_\w+.fits, which this is not.*Give it the"):
        by_hand(tiny, path, tmp_path / "out", pipeline)


@pytest.mark.parametrize(
    ("pipeline", "kind", "others"),
    [("spec3", "image3", "image3"), ("tso3", "image3", "image3"), ("image3", "image2", "image2 or wfs-image2")],
)
def test_association_for_another_pipeline(tiny, tmp_path, pipeline, kind, others):
    """Once taken, as far as the first step that did not understand it."""
    asn = tmp_path / "mine_asn.json"
    (tmp_path / f"{GOOD}_cal.fits").write_bytes(b"")
    members = [{"expname": f"{GOOD}_cal.fits", "exptype": "science"}]
    asn.write_text(json.dumps({"asn_type": kind, "asn_id": "o001", "products": [{"name": "mine", "members": members}]}))
    with pytest.raises(ConfigError) as caught:
        by_hand(tiny, asn, tmp_path / "out", pipeline)
    what = f"{asn}: it is an association of type {kind}, which {pipeline} does not take. Give it to {others}, or correct its asn_type."
    assert str(caught.value) == what and not (tmp_path / "out").exists()


def test_folder_as_a_file(tiny, tmp_path):
    with pytest.raises(InputError, match="it is a folder"):
        by_hand(tiny, tmp_path, tmp_path)


KEYWORDS = {"TGROUP": "abc", "NFRAMES": True, "SUBSTRT1": -5, "SUBSIZE2": 0, "GAINFACT": "abc", "EFFINTTM": -1.0, "FASTAXIS": 1e30}


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_exposure_in_memory(tiny, keyword):
    """No file was looked at before: the step that reads the keyword tells."""
    exposure = stored.read(tiny.image)
    exposure.header[keyword] = KEYWORDS[keyword]
    steps = {"persistence": {"skip": False, "persistence_time": 30}}
    with pytest.raises(InputError, match=rf"{tiny.image.name}: {keyword} is .*number.* was expected. Correct the keyword"):
        by_hand(tiny, exposure, None, steps=steps)


# --- ramps without information ---


RAMPS = {
    "all zero": samples(lambda sci: sci * 0),
    "all saturated": samples(lambda sci: sci * 0 + 65535),
    "one group": samples(lambda sci: sci[:, :1], NGROUPS=1),
    "one saturated group": samples(lambda sci: sci[:, :1] * 0 + 65535, NGROUPS=1),
}


@pytest.fixture(scope="module")
def ramps(tiny, tmp_path_factory):
    """These, taken through both stages: name -> (uncal, products by suffix)."""
    folder, made = tmp_path_factory.mktemp("ramps"), {}
    for number, (name, damage) in enumerate(RAMPS.items()):
        path = damaged(tiny, folder, damage, BAD.replace("03101", f"0310{number}"))
        found = by_hand(tiny, path, folder)
        found.update(by_hand(tiny, path.with_name(path.name.replace("_uncal", "_rate")), folder, "image2"))
        made[name] = path, found
    return made


@pytest.mark.parametrize(("name", "bit"), [("all zero", 0), ("all saturated", dq.SATURATED), ("one saturated group", dq.SATURATED)])
def test_ramps_without_a_good_group(ramps, name, bit):
    """Products like any other, in which no pixel has a value, all are flagged, and SATURATED says why."""
    _, made = ramps[name]
    assert set(made) == {"rate", "rateints", "cal", "i2d"}
    for suffix in ("rate", "rateints", "cal"):
        assert np.isnan(made[suffix].sci).all(), suffix
        assert (made[suffix].dq & dq.DO_NOT_USE).all(), suffix
        assert (made[suffix].dq & bit == bit).all(), suffix
    assert not np.isfinite(made["i2d"].sci).any()


def test_ramp_of_one_group(ramps):
    """A rate from the level of the only group, without a jump to look for."""
    _, made = ramps["one group"]
    rate = made["rate"]
    assert rate.steps["jump"][0] == "SKIPPED" and rate.steps["ramp_fit"][0] == "COMPLETE"
    usable = rate.dq & dq.DO_NOT_USE == 0
    assert usable.mean() > 0.99
    assert np.isfinite(rate.sci[usable]).all() and (rate.err[usable] > 0).all() and np.isnan(rate.sci[~usable]).all()
    assert np.abs(np.median(rate.sci[usable] / rate.err[usable])) < 3, "the level of one group is not the bias, to its noise"


PEER = """
import os
os.environ.update(CRDS_PATH=str(cache), CRDS_SERVER_URL="https://crds-serverless-mode.stsci.edu", CRDS_MODE="local")
from jwst.pipeline import Detector1Pipeline
for number, file in enumerate(files):
    rate = Detector1Pipeline.call(str(file), steps={"refpix": {"override_sirskernel": "N/A"}})
    out.update({f"{number} sci": rate.data, f"{number} err": rate.err, f"{number} dq": rate.dq})
"""


@pytest.mark.parity
@needs_peer
def test_ramps_without_information_as_the_peer(tiny, ramps):
    """Zeros and one group give what the peer makes of them. Of saturated ones it makes no rate at all: ours say what is the matter."""
    names = ["all zero", "one group"]
    theirs = peer_python(PEER, files=[str(ramps[name][0]) for name in names], cache=str(tiny.crds))
    for number, name in enumerate(names):
        ours = ramps[name][1]["rate"]
        np.testing.assert_array_equal(ours.dq, theirs[f"{number} dq"])
        np.testing.assert_allclose(ours.sci, theirs[f"{number} sci"], rtol=1e-5)
        np.testing.assert_allclose(ours.err, theirs[f"{number} err"], rtol=1e-5)


# --- references ---


def changed_reference(tiny, kind, path, change):
    """A copy of a reference with other arrays, as large as its keywords say."""
    with fits.open(tiny.references[kind], memmap=False) as hdus:
        for hdu in hdus[1:]:
            if hdu.is_image and hdu.data is not None and hdu.data.ndim >= 2:
                hdu.data = change(hdu.data)
                hdus[0].header.update(SUBSIZE1=hdu.data.shape[-1], SUBSIZE2=hdu.data.shape[-2])
        hdus.writeto(path)
    return path


STAGE1 = ("mask", "saturation", "superbias", "linearity", "dark", "gain", "readnoise")


@pytest.mark.parametrize("kind", [*STAGE1, "flat", "area"])
def test_reference_of_another_size(tiny, tiny_rate, tmp_path, kind):
    path = changed_reference(tiny, kind, tmp_path / f"small_{kind}.fits", lambda array: array[..., :32, :48])
    pipeline, source = ("detector1", tiny.image) if kind in STAGE1 else ("image2", tiny_rate)
    with pytest.raises(ReferenceError) as caught:
        by_hand(tiny, source, tmp_path / "out", pipeline, overrides={kind: path})
    message = str(caught.value)
    assert message.startswith(f"{path}: the {kind} reference's ") and "is 48 x 32 pixels" in message
    assert "does not cover the exposure's subarray of 64 x 64" in message and f"Give a {kind} reference for this subarray" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["superbias", "distortion"])
def test_truncated_reference(tiny, tiny_rate, tmp_path, kind):
    path = tmp_path / tiny.references[kind].name
    path.write_bytes(tiny.references[kind].read_bytes()[:-3000])
    pipeline, source = ("detector1", tiny.image) if kind in STAGE1 else ("image2", tiny_rate)
    with pytest.raises(ReferenceError, match=f"{path.name}: the {kind} reference can't be read.*Fetch the file again"):
        by_hand(tiny, source, tmp_path / "out", pipeline, overrides={kind: path})
    assert not (tmp_path / "out").exists()


def test_reference_without_its_extension(tiny, tmp_path):
    with pytest.raises(
        ReferenceError, match="photom_9001.fits: the gain reference has no extension SCI. Give a gain reference that has one"
    ):
        by_hand(tiny, tiny.image, tmp_path / "out", overrides={"gain": tiny.references["photom"]})


OF_REFERENCES = [
    *(("dark", "NFRAMES", value) for value in ("four", "nan", "", 0, 1.5, 1e30)),
    *(("dark", "GROUPGAP", value) for value in ("abc", -1, 1e30)),
    *(("dark", "AVDRKCUR", value) for value in ("abc", "nan", 1e30)),
    *(("gain", "GAINFACT", value) for value in ("abc", 0, -1, True)),
    *(("mask", f"SUBSTRT{axis}", value) for axis in (1, 2) for value in ("abc", 0, 1e30)),
    *(("superbias", f"SUBSIZE{axis}", value) for axis in (1, 2) for value in ("abc", 0, -64)),
]


@pytest.mark.parametrize(("kind", "keyword", "value"), OF_REFERENCES)
def test_keyword_of_a_reference(tiny, tmp_path, kind, keyword, value):
    path = tmp_path / f"{kind}.fits"
    with fits.open(tiny.references[kind], memmap=False) as hdus:
        hdus[0].header[keyword] = value
        hdus.writeto(path)
    with pytest.raises(ReferenceError) as caught:
        by_hand(tiny, tiny.image, tmp_path / "out", overrides={kind: path})
    message = str(caught.value)
    assert message.startswith(f"{path}: the {kind} reference's {keyword} is {value!r}, a ")
    assert "number" in message and f"Correct the keyword. Give another {kind} reference" in message
    assert not (tmp_path / "out").exists()


VALUES = {"words": ["abc"] * 30, "nan": [np.nan] * 30, "negative": [-1] * 30, "too large": [2**40] * 30, "vectors": [[1, 2]] * 30}


@pytest.mark.parametrize("values", [*VALUES, "image"])
def test_flags_that_are_none(tiny, tmp_path, values):
    """DQ_DEF with other VALUEs than bits, or no table at all."""
    path = tmp_path / "mask.fits"
    with fits.open(tiny.references["mask"], memmap=False) as hdus:
        names = hdus["DQ_DEF"].data["NAME"]
        if values == "image":
            hdus["DQ_DEF"] = fits.ImageHDU(np.zeros((2, 2), np.float32), name="DQ_DEF")
        else:
            column = np.array(VALUES[values][: len(names)])
            table = np.zeros(len(names), [("VALUE", column.dtype, column.shape[1:]), ("NAME", "U40")])
            table["VALUE"], table["NAME"] = column, names
            hdus["DQ_DEF"] = fits.BinTableHDU(table, name="DQ_DEF")
        hdus.writeto(path)
    what = "the mask reference's DQ_DEF is no table" if values == "image" else "the VALUEs of DQ_DEF are no flags of 32 bits"
    with pytest.raises(ReferenceError, match=f"mask.fits: {what}. Give a"):
        by_hand(tiny, tiny.image, None, overrides={"mask": path})


def test_missing_override(tiny, tmp_path):
    with pytest.raises(ConfigError, match="references.overrides.flat: there is no file .*nowhere.fits. Correct the path, or write N/A"):
        by_hand(tiny, tiny.image, tmp_path, overrides={"flat": tmp_path / "nowhere.fits"})


@pytest.fixture
def poor_cache(tiny, tmp_path):
    """A copy of the CRDS cache without the file of the superbias."""
    shutil.copytree(tiny.crds, tmp_path / "crds")
    (gone,) = (tmp_path / "crds").rglob("*superbias*.fits")
    gone.unlink()
    return tmp_path / "crds", gone.name


def test_reference_missing_from_the_cache(tiny, poor_cache, tmp_path):
    """The error names exposure, type, file, context and what to do; stage 2 can't start then, and is no job."""
    cache, name = poor_cache
    given = settings(tiny, tiny.image, tmp_path / "results", references={"crds_path": str(cache)})
    made = plan.make(given)
    (message,) = made.problems
    for part in (str(tiny.image), f"superbias {name}", "jwst_0001.pmap", str(cache), f"crds sync --files {name}", "overrides: {superbias"):
        assert part in message
    assert made.jobs == []


def test_reference_that_is_not_applicable(tiny, tmp_path):
    """N/A: the step is SKIPPED, said in the log and in the header."""
    references = {"crds_path": str(tiny.crds), "overrides": {"superbias": "N/A", "dark": "N/A"}}
    made = plan.make(settings(tiny, tiny.image, tmp_path / "results", references=references))
    job = made.jobs[0]
    assert jobs.run(job.recipe, tmp_path / "log") == 0
    said = (tmp_path / "log").read_text()
    assert "superbias SKIPPED: its superbias reference is N/A" in said and "dark_current SKIPPED: its dark reference is N/A" in said
    header = fits.getheader(job.outputs["rate"])
    assert (header["S_SUPERB"], header["S_DARK"], header["S_RAMP"]) == ("SKIPPED", "SKIPPED", "COMPLETE")
    assert header["R_SUPERB"] == header["R_DARK"] == "N/A" and header["R_GAIN"] == "crds://jwst_nircam_gain_9001.fits"
    assert "superbias SKIPPED: its superbias reference is N/A" in str(header["HISTORY"])


def nan(array):
    return np.full_like(array, np.nan) if array.dtype.kind == "f" else array


# What becomes of the pixels: bits that all of them carry, and whether they still have a value.
NAN = {
    "gain": (dq.NO_GAIN_VALUE | dq.DO_NOT_USE, False),
    "readnoise": (0, False),
    "superbias": (0, True),
    "dark": (0, True),
    "linearity": (dq.NO_LIN_CORR, True),
    "saturation": (dq.NO_SAT_CHECK, True),
    "flat": (dq.NO_FLAT_FIELD | dq.DO_NOT_USE, False),
    "area": (0, True),
}


@pytest.mark.parametrize("kind", NAN)
def test_reference_of_nan(tiny, tiny_rate, tmp_path, kind):
    """No crash and no nonsense: what can't be corrected is flagged or has no value, as in the peer."""
    bits, valued = NAN[kind]
    path = changed_reference(tiny, kind, tmp_path / f"{kind}.fits", nan)
    pipeline, source = ("detector1", tiny.image) if kind in STAGE1 else ("image2", tiny_rate)
    made = next(iter(by_hand(tiny, source, None, pipeline, overrides={kind: path}).values()))
    assert (made.dq & bits == bits).all()
    inside = made.dq & dq.DO_NOT_USE == 0
    assert np.isfinite(made.sci[inside]).all() if valued else np.isnan(made.sci).all()
    assert not valued or inside.mean() > 0.99


def test_a_product_without_any_value_is_told(tiny, tiny_rate, tmp_path, caplog):
    """A flat whose errors are NaN takes all pixels away: nothing is wrong with the chain, but somebody should know."""
    by_hand(tiny, tiny_rate, None, "image2")
    assert "has a value" not in caplog.text
    path = tmp_path / "flat.fits"
    with fits.open(tiny.references["flat"], memmap=False) as hdus:
        hdus["ERR"].data[:] = np.nan
        hdus.writeto(path)
    made = by_hand(tiny, tiny_rate, None, "image2", overrides={"flat": path})
    said = [r.getMessage() for r in caplog.records if "has a value" in r.getMessage()]
    assert said == [f"{tiny_rate}: no pixel of its {suffix} has a value" for suffix in made]


def changed_photom(tiny, path, value):
    """A photom reference whose conversion for the tiny program's filter is another one."""
    with fits.open(tiny.references["photom"], memmap=False) as hdus:
        rows = hdus["PHOTOM"].data
        rows["photmjsr"][rows["filter"] == "F200W"] = value
        hdus.writeto(path)
    return path


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -2.1])
def test_photom_without_a_conversion(tiny, tiny_rate, tmp_path, value):
    """Once an image of NaN, 0 or negative brightness, in silence."""
    path = changed_photom(tiny, tmp_path / "photom.fits", value)
    with pytest.raises(ReferenceError) as caught:
        by_hand(tiny, tiny_rate, tmp_path / "out", "image2", overrides={"photom": path})
    message = str(caught.value)
    assert (
        message.startswith(f"{path}: PHOTMJSR in row ") and f"of the photom reference is {np.float32(value)}, a number above 0" in message
    )
    assert not (tmp_path / "out").exists()


def test_photom_with_another_conversion(tiny, tiny_rate, tmp_path):
    """What is right: the image is as many times as bright."""
    usual = by_hand(tiny, tiny_rate, None, "image2")["cal"]
    path = changed_photom(tiny, tmp_path / "photom.fits", 2 * usual.header["PHOTMJSR"])
    twice = by_hand(tiny, tiny_rate, None, "image2", overrides={"photom": path})["cal"]
    np.testing.assert_array_equal(twice.sci, 2 * usual.sci)


@pytest.mark.parametrize("given", [{"firstgroup": 5}, {"firstgroup": 7, "lastgroup": 20}])
def test_first_group_beyond_the_ramp(tiny, tmp_path, given):
    with pytest.raises(InputError) as caught:
        by_hand(tiny, tiny.image, tmp_path / "out", steps={"ramp_fit": given})
    assert str(caught.value) == (
        f"{tiny.image}: firstgroup is {given['firstgroup']}, beyond the last of the exposure's 5 groups, which count from 0. "
        "Correct the parameter firstgroup of ramp_fit."
    )
    assert not (tmp_path / "out").exists()


# --- what is said ---


def test_log_of_a_job(tiny, tmp_path):
    """Each once: what is done to which file, by which version, with which parameters, and what was written."""
    steps = {"jump": {"rejection_threshold": 4.5, "maximum_cores": "1"}, "ipc": {"skip": True}}
    job = plan.make(settings(tiny, tiny.image, tmp_path / "results", steps=steps)).jobs[0]
    assert jobs.run(job.recipe, tmp_path / "log") == 0
    lines = [line.partition(": ")[2] for line in (tmp_path / "log").read_text().splitlines()]
    for text in (
        f"detector1 on {tiny.image}, by {stored.SOFTWARE}, jwst_0001.pmap",
        *(f"Written: {path}" for path in job.outputs.values()),
        "ramp_fit COMPLETE for rate",
        "ramp_fit COMPLETE for rateints",
        "superbias COMPLETE",
        "ipc SKIPPED: switched off",
    ):
        assert lines.count(text) == 1, text
    (told,) = [line for line in lines if line.startswith("Parameters that are not the defaults: ")]
    assert "jump.rejection_threshold = 4.5 (steps.jump.rejection_threshold)" in told and "ipc.skip = True (steps.ipc.skip)" in told
    assert "maximum_cores" not in told, "given, but as the default is"


def test_log_without_changes(tiny, tiny_rate, caplog):
    with caplog.at_level("INFO"):
        by_hand(tiny, tiny_rate, None, "image2", overrides={"pars-image2pipeline": "N/A"})
    assert caplog.messages.count("Parameters that are not the defaults: none") == 1


def test_history_is_split_between_words(tiny_rate, tmp_path):
    exposure = stored.read(tiny_rate)
    why = " ".join(f"word-{'x' * (n % 11)}{n}" for n in range(60))
    exposure.steps["jump"] = ("SKIPPED", why)
    stored.write(exposure, tmp_path / "x_rate.fits")
    history = [line for line in fits.getheader(tmp_path / "x_rate.fits")["HISTORY"] if "word-" in line]
    assert len(history) > 5 and " ".join(history) == f"jump SKIPPED: {why}"


def test_what_a_mosaic_lacks_is_in_its_header_and_its_log(tiny_rate, tmp_path, caplog):
    """Once told in the summary alone; the mosaic looks like any other."""
    lacks = "without jw01234001001_02101_00007_nrcb1, which is in b_asn.json and not among the data"
    association = {"table": "mosaic_asn.json", "pool": "headers", "asn_id": "o001", "lacks": lacks}
    recipe = Recipe("image3", [], association=association, takes="members", product="mosaic")
    members = Members([(stored.read(tiny_rate), "science")])
    loop.run(recipe, members)
    assert caplog.messages.count(f"mosaic: {lacks}") == 1
    (exposure,) = members.each()
    stored.write(exposure, tmp_path / "x_rate.fits")
    assert f"mosaic_asn.json: {lacks}" in " ".join(fits.getheader(tmp_path / "x_rate.fits")["HISTORY"])


# --- parameters that the peer has exported ---


def exported(path, own, **steps):
    """A file as the peer's `export_config` writes it: all parameters of the pipeline and of its steps, those about files too."""
    plumbing = {
        "input_dir": "",
        "output_dir": None,
        "output_ext": ".fits",
        "pre_hooks": [],
        "save_results": False,
        "skip": False,
        "suffix": None,
    }
    parts = [{"class": f"jwst.x.{name}", "name": name, "parameters": {**plumbing, **values}} for name, values in steps.items()]
    tree = {"class": "jwst.pipeline.Image2Pipeline", "name": "Image2Pipeline", "parameters": {**plumbing, **own}, "steps": parts}
    asdf.AsdfFile(tree).write_to(path)
    return path


def test_exported_parameters(tiny, tiny_rate, tmp_path, caplog):
    """Ours are taken; of the others those that would do something are named, in one warning."""
    own = {"save_bsub": True, "save_other": False}
    path = exported(
        tmp_path / "image2.asdf",
        own,
        bkg_subtract={"bkg_list": None, "sigma": 3.0},
        resample={"pixfrac": 0.5, "fillval": "NAN", "output_shape": "None", "override_drizpars": None},
        nothing_of_ours={"depth": 3, "is_on": True},
    )
    with caplog.at_level("WARNING"):
        found = pars.read_parameters(path)
    assert found["resample"] == {"skip": False, "pixfrac": 0.5, "fillval": "NAN", "output_shape": None}
    assert found["bkg_subtract"] == {"skip": False, "sigma": 3.0} and "nothing_of_ours" not in found
    (said,) = caplog.messages
    assert said == (
        f"{path}: left out, because this version has no such parameters: "
        "bkg_subtract.bkg_list = None; nothing_of_ours.depth = 3; save_bsub = True"
    )
    arguments = ["image2", str(tiny_rate), "--params", str(path), "--out", str(tmp_path / "out"), "--crds-path", str(tiny.crds)]
    handlers = logging.getLogger().handlers[:]
    assert main(arguments) == 0
    logging.getLogger().handlers[:] = handlers
    made = records.read(next((tmp_path / "out").glob("*_i2d.fits")))
    assert made["made_from"]["parameters"]["resample"]["pixfrac"] == 0.5


PARS = ("pars-detector1pipeline", "pars-image2pipeline", "pars-jumpstep")
PEER_EXPORT = """
from jwst.pipeline import Detector1Pipeline, Image2Pipeline
for kind in (Detector1Pipeline, Image2Pipeline):
    kind().export_config(str(folder) + "/" + kind.__name__ + ".asdf")
"""


@pytest.mark.parity
@needs_peer
def test_parameters_that_the_peer_exports(tiny, tiny_rate, tmp_path):
    """Its defaults, in the place of CRDS' parameters, give what ours give."""
    peer_python(PEER_EXPORT, folder=str(tmp_path))
    for pipeline, name, source, suffix in (("detector1", "Detector1", tiny.image, "rate"), ("image2", "Image2", tiny_rate, "i2d")):
        steps = pars.read_parameters(tmp_path / f"{name}Pipeline.asdf")
        theirs = by_hand(tiny, source, None, pipeline, steps=steps)
        skips = {step: {"skip": values["skip"]} for step, values in steps.items()}
        ours = by_hand(tiny, source, None, pipeline, steps=skips, overrides=dict.fromkeys(PARS, "N/A"))
        np.testing.assert_array_equal(theirs[suffix].sci, ours[suffix].sci)


# --- folders ---


def test_no_uncal_at_all(tiny, tmp_path):
    (tmp_path / "jw01234001001_02101_00001_nrcb1_i2d.fits").write_bytes(b"")
    with pytest.raises(InputError, match=r"no exposure found: there is no \*_uncal.fits.*Set `data` to the folder that has them"):
        plan.make(settings(tiny, tmp_path, tmp_path / "results"))


def test_only_exposures_of_others(tiny, tmp_path):
    path = damaged(tiny, tmp_path, NOT_OURS["Hubble"])
    with pytest.raises(InputError) as caught:
        plan.make(settings(tiny, tmp_path, tmp_path / "results"))
    assert f"1 files are left out: {path}: not a JWST file" in str(caught.value) and ".." not in str(caught.value)


def test_no_such_folder(tiny, tmp_path):
    with pytest.raises(InputError, match="nowhere: there is no such file or folder. Correct `data`"):
        plan.make(settings(tiny, tmp_path / "nowhere", tmp_path / "results"))


def test_folder_that_can_not_be_read(tiny, tmp_path, monkeypatch):
    """It is a problem of the run; the exposures elsewhere are planned. (Tests may run as root, who may read everything.)"""
    shutil.copy(tiny.image, tmp_path)
    closed = tmp_path / "closed"
    closed.mkdir()
    scandir = os.scandir

    def guarded(path):
        if os.fspath(path) == str(closed):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    made = plan.make(settings(tiny, tmp_path, tmp_path / "results"))
    assert made.problems == [f"{closed}: can't be read (Permission denied). Make it readable or leave it out."]
    assert [job.stage for job in made.jobs] == ["stage1", "stage2", "stage3"]
    with pytest.raises(InputError, match="closed: can't be read.*Make the folder readable"):
        plan.make(settings(tiny, closed, tmp_path / "results"))


def test_results_in_the_place_of_a_file(tiny, tmp_path):
    (tmp_path / "results").write_text("mine")
    for results in (tmp_path / "results", tmp_path / "results/inside"):
        with pytest.raises(ProductError, match="can't be written.*choose another results folder"):
            plan.make(settings(tiny, tiny.image, results))
        with pytest.raises(ProductError, match="can't be written.*choose another results folder"):
            by_hand(tiny, tiny.image, results)
    assert (tmp_path / "results").read_text() == "mine" and os.listdir(tmp_path) == ["results"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system that holds one rate file, and no second."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("a file system can't be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_full_disk(tiny, tmp_path, small_disk):
    """Two products that are made together, and room for one: neither is there, and nothing else but the error."""
    made = plan.make(settings(tiny, tiny.image, tmp_path / "results"))
    recipe = made.jobs[0].recipe
    outputs = {suffix: str(small_disk / f"x_{suffix}.fits") for suffix in ("rate", "rateints")}
    stale.write(recipe, {**storage.noted(recipe), "outputs": outputs})
    assert jobs.run(recipe, tmp_path / "log") == 1
    said = jobs.failure_file(made.jobs[0].recipe).read_text()
    assert said.startswith(f"{outputs['rateints']}: can't be written (") and "pace" in said and "Make room" in said
    assert os.listdir(small_disk) == []


def test_full_disk_from_the_start(tiny, tmp_path, small_disk, capsys):
    """Neither log nor failure can be written: the error is on the screen, once, without tracebacks of the logging."""
    made = plan.make(settings(tiny, tiny.image, small_disk / "results"))
    with pytest.raises(OSError), open(small_disk / "filler", "wb", buffering=0) as filler:
        while True:
            filler.write(b" " * 1024)
    job = made.jobs[0]
    assert jobs.run(job.recipe, small_disk / "results/logs/log") == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ERROR: ")]
    assert "can't be written" in line and "No space left on device" in line
    assert not [path for path in small_disk.rglob("*") if "rate" in path.name or ".tmp" in path.name]


def test_disk_that_fills_while_a_product_is_written(tiny, tmp_path, monkeypatch):
    """The same where no file system can be mounted: the write fails after some bytes."""

    def full(file, array, offset):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fitsio, "write_at", full)  # the headers are there then
    with pytest.raises(ProductError, match="_rate.fits: can't be written .No space left on device.. Make room"):
        by_hand(tiny, tiny.image, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []


def test_failed_jobs_say_so_in_the_log_and_the_failure_file(tiny, tmp_path, capsys):
    """A file that is damaged after the plan was made."""
    path = damaged(tiny, tmp_path / "data", lambda path: None)
    job = plan.make(settings(tiny, tmp_path / "data", tmp_path / "results")).jobs[0]
    cut(30000)(path)
    assert jobs.run(job.recipe, tmp_path / "log") == 1
    for said in (capsys.readouterr().err, (tmp_path / "log").read_text(), jobs.failure_file(job.recipe).read_text()):
        assert f"{path}: " in said and "Fetch the file again" in said and "Traceback" not in said
    shutil.copy(tiny.image, path)
    assert jobs.run(job.recipe, tmp_path / "log") == 0
    assert not jobs.failure_file(job.recipe).exists(), "an old failure is told of a job that went well"


def test_a_defect_is_told_as_one(tiny, tmp_path, monkeypatch):
    """What is no fault of the input: the traceback in the log, a sentence for the person."""
    job = plan.make(settings(tiny, tiny.image, tmp_path / "results")).jobs[0]

    def broken(*args):
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr("jwcal.run.loop.run", broken)
    assert jobs.run(job.recipe, tmp_path / "log") == 1
    said = jobs.failure_file(job.recipe).read_text()
    assert "ZeroDivisionError: by nought. This is a defect of jwcal: the log has the details" in said
    assert "Traceback" in (tmp_path / "log").read_text()


def test_errors_are_ours(tiny):
    """All of them have one base, which the command line and the jobs catch."""
    assert all(issubclass(kind, JwcalError) for kind in (InputError, ReferenceError, ConfigError, ProductError))
