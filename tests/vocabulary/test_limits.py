"""Which values keywords can have, and that planning says so before anything is computed."""

import ast
import re
import shutil
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import jwcal
from jwcal.products import stored
from jwcal.program import index
from jwcal.settings import facts
from jwcal.vocabulary import keywords, limits
from jwcal.vocabulary.errors import InputError
from jwcal.workflow import plan

pytestmark = pytest.mark.usefixtures("no_crds")
PACKAGE = Path(limits.__file__).parents[1]
NAME = "jw01234001001_{:05}_00001_nrcb1"

RIGHT = {
    **{
        "ROLL_REF": [0, -180.0, 359.99, np.float64(12)],
        "RA_REF": [0.0, 360.0],
        "DEC_REF": [-90.0, 90, np.float32(1)],
        "VPARITY": [-1, 1, 1.0],
    },
    **{"V2_REF": [-800.5, 0], "VA_SCALE": [0.99991, 1, 1.0001], "DATE-OBS": ["2023-10-02", "2024-02-29"], "INSTRUME": ["MIRI"]},
    **{"TIME-OBS": ["04:05:06", "23:59:59.999999", "23:59:60.5"], "DATE-BEG": ["2022-04-27T00:30:49.000", "2022-04-27"]},
    **{"NFRAMES": [1, 4.0], "FILTER": ["F200W", "n/a", ""], "GWA_XTIL": [-0.1], "PIXAR_SR": [0, 2e-14], "BKGSUB": [True, np.bool_(False)]},
    "TARGNAME": ["NaN", 3, None],
}
WRONG = {  # value -> what was expected
    "ROLL_REF": {**dict.fromkeys(["NaN", "", True, np.nan, np.inf], "a number"), -400.0: "a number from -360 to 360"},
    "DEC_REF": {95.0: "a number from -90 to 90", "nan": "a number"},
    "V2_REF": {1e30: "a number from -1800 to 1800"},
    "VA_SCALE": {0: "a number from 0.99 to 1.01", -1.0: "a number from 0.99 to 1.01"},
    "VPARITY": {0: "-1 or 1", "NaN": "-1 or 1", True: "-1 or 1"},
    "V3I_YANG": {"Inf": "a number"},
    "GWA_YTIL": {"UNKNOWN": "a number"},
    "PIXAR_SR": {-1.0: "a number of at least 0", "N/A": "a number"},
    "TGROUP": {0.0: "a number above 0"},
    "NINTS": {"one": "a whole number", 0: "a whole number of at least 1", 1.5: "a whole number of at least 1"},
    "INSTRUME": {"nircam": "FGS, MIRI, NIRCAM, NIRISS or NIRSPEC", 3: "FGS, MIRI, NIRCAM, NIRISS or NIRSPEC"},
    "FILTER": {200: "text"},
    "BKGSUB": {"F": "T or F", 0: "T or F"},
    "DATE-OBS": dict.fromkeys(
        [*("10/02/23", "2023/10/02", "2023-10-2", "23-10-02", "2O23-10-02", "2023-13-02", "2023-02-29", "2123-10-02", "20231002", "")]
        + ["NaN", "2023-10-02T04:05:06", " 2023-10-02", "２０２３-10-02", 2023, 2023.5],
        "a date of the form 20YY-MM-DD",
    ),
    "TIME-OBS": dict.fromkeys(["4:05:06", "04:05", "24:00:00", "04:60:00", "04.05.06", "", 4.5], "a time of the form HH:MM:SS.sss"),
    "DATE-END": dict.fromkeys(["27/04/2022", "2022-04-27T25:00:00", 2], "a date of the form 20YY-MM-DDTHH:MM:SS.sss"),
}  # fmt: skip


@pytest.mark.parametrize(("keyword", "value"), [(k, v) for k, values in RIGHT.items() for v in values])
def test_right_values(keyword, value):
    assert limits.fault(keyword, value) is None


@pytest.mark.parametrize(("keyword", "value", "expected"), [(k, v, e) for k, values in WRONG.items() for v, e in values.items()])
def test_wrong_values(keyword, value, expected):
    assert limits.fault(keyword, value) == f"{keyword} is {value!r}, {expected} was expected"


def test_every_day_is_a_date():
    days = [date.fromordinal(date(2021, 12, 25).toordinal() + n).isoformat() for n in range(0, 9000, 7)]
    assert not any(limits.fault("DATE-OBS", day) for day in days)


def test_kinds_are_those_of_the_data_models():
    """A number here is a number in stdatamodels' schemas, a whole one an integer."""
    schemas = [keywords.schema(name) for name in ("core", "wcsinfo", "photometry", "slitmeta")]
    types = {node["fits_keyword"]: node.get("type") for s in reversed(schemas) for _, node in keywords._properties(s)}
    ours = {
        **dict.fromkeys(limits.NUMBERS, "number"),
        **dict.fromkeys(limits.WHOLE, "integer"),
        **dict.fromkeys((*limits.WORDS, *limits.DATES, "INSTRUME"), "string"),
        "BKGSUB": "boolean",
    }
    unlike = {k: (kind, types[k]) for k, kind in ours.items() if k in types and types[k] != kind}
    assert not unlike
    absent = {k for k in limits.KNOWN if k not in types}
    assert {k for k in absent if not k.startswith(("CD", "MSTR_", "SSTR_", "NRM_"))} <= {
        "AVDRKCUR",
        "F2F",
        "PUPL_CRC",
        "SOURCEID",
        "SRCXPOS",
        "SRCYPOS",
    }  # of references, of slits


def test_every_keyword_that_is_read_has_limits():
    """What our code takes from a header by its name; beside what describes the file, and text that may be anything."""
    structure = re.compile(r"Z?NAXIS\d*|BITPIX|EXTNAME|EXTVER|DATAMODL|BSCALE|BZERO|[GP]COUNT|XTENSION|ZIMAGE|TFIELDS")
    anything = {
        "BUNIT",
        "PHOTUNIT",
        "TARGNAME",
        "PROGRAM",
        "TELESCOP",
        "FILENAME",
        "S_REGION",
        "TCATFILE",
        "SLTNAME",
        "SRCNAME",
        "SHUTSTA",
        "CAL_VER",
        "PI_NAME",
        "TARGPROP",
    }
    read = {}
    for path in PACKAGE.rglob("*.py"):
        if not {"simulate", "report", "associations"} & set(path.relative_to(PACKAGE).parts):
            for keyword in _read_in(ast.parse(path.read_text())):
                read.setdefault(keyword, path.name)
    assert len(read) > 50
    assert not {k: where for k, where in read.items() if k not in (*limits.KNOWN, *anything) and not structure.fullmatch(k)}


def _read_in(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            key, of = node.slice, node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get" and node.args:
            key, of = node.args[0], node.func.value
        else:
            continue
        is_header = re.search(r"head(er)?(\.sci|\.primary)?$|^keywords$|^h$|^sci$", ast.unparse(of))
        if is_header and isinstance(key, ast.Constant) and re.fullmatch(r"[A-Z][A-Z0-9_-]{1,7}", str(key.value)):
            yield key.value


def test_keywords_of_steps():
    """Found in their code and in what it imports."""
    pointing = {"RA_REF", "DEC_REF", "ROLL_REF", "V2_REF", "V3_REF", "VA_SCALE"}
    assert pointing <= set(facts.keywords("assign_wcs", {}))
    assert {"V3I_YANG", "VPARITY", "PIXAR_SR"} <= set(facts.keywords("resample", {}))
    assert not pointing & {*facts.keywords("jump", {}), *facts.keywords("ramp_fit", {})}


def test_keywords_of_the_part_that_a_chain_chooses():
    assert not {"GWA_XTIL", "GWA_TILT"} & set(facts.keywords("assign_wcs", {"kind": "imaging"}))
    assert {"GWA_XTIL", "GWA_TILT"} & set(facts.keywords("assign_wcs", {"kind": "nrs_slits"}))


# --- in a program ---


def card(path, keyword, text):
    """Write a card as other tools do: its value is this text."""
    raw = path.read_bytes()
    at = raw.index(f"{keyword:8}= ".encode())
    path.write_bytes(raw[:at] + f"{keyword:8}= {text:>20}".ljust(80).encode() + raw[at + 80 :])
    return path


CARDS = [  # keyword, the card's text, the value that is told
    ("ROLL_REF", "NaN", "'NaN', a number was"),
    ("ROLL_REF", "'NaN     '", "'NaN', a number was"),
    ("RA_REF", "nan / of another tool", "'nan', a number was"),
    ("DEC_REF", "1.0E400", "inf, a number was"),
    ("DEC_REF", "95.0", "95.0, a number from -90 to 90 was"),
    ("V2_REF", "1e30", "1e+30, a number from -1800 to 1800 was"),
    ("V3_REF", "-Inf", "'-Inf', a number was"),
    ("VA_SCALE", "NaN", "'NaN', a number was"),
    ("V3I_YANG", "1.2.3", "'1.2.3', a number was"),
    ("VPARITY", "0", "0, -1 or 1 was"),
    ("EXPMID", "'unknown'", "'unknown', a number was"),
    ("EFFEXPTM", "-1.0", "-1.0, a number of at least 0 was"),
    ("TFRAME", "NAN", "'NAN', a number was"),
    ("DATE-OBS", "'10/02/23'", "'10/02/23', a date of the form 20YY-MM-DD was"),
    ("DATE-OBS", "2023.10.02", "'2023.10.02', a date of the form 20YY-MM-DD was"),
    ("TIME-OBS", "'4h05m'", "'4h05m', a time of the form HH:MM:SS.sss was"),
    ("INSTRUME", "'NIRCAMM '", "'NIRCAMM', FGS, MIRI, NIRCAM, NIRISS or NIRSPEC was"),
]


def settings(tiny, folder, **others):
    return {"data": str(folder / "data"), "results": str(folder / "results"), "references": {"crds_path": str(tiny.crds)}, **others}


@pytest.fixture(scope="module")
def planned(tiny, tmp_path_factory):
    """The plan of a program in which each file has one such card, and of a good exposure."""
    folder = tmp_path_factory.mktemp("limits")
    (folder / "data").mkdir()
    shutil.copy(tiny.image, folder / "data")
    paths = [Path(shutil.copy(tiny.image, folder / "data" / f"{NAME.format(3000 + n)}_uncal.fits")) for n in range(len(CARDS))]
    for path, (keyword, text, _) in zip(paths, CARDS, strict=True):
        card(path, keyword, text)
    return plan.make(settings(tiny, folder)), paths


@pytest.mark.parametrize("number", range(len(CARDS)), ids=[f"{keyword} {text}" for keyword, text, _ in CARDS])
def test_before_stage_1_runs(planned, number):
    made, paths = planned
    keyword, _, told = CARDS[number]
    (message,) = [problem for problem in made.problems if problem.startswith(f"{paths[number]}: ")]
    assert message == f"{paths[number]}: {keyword} is {told} expected. Correct the keyword, or take the file from the archive again."


def test_the_others_are_planned(planned, tiny):
    made, _ = planned
    assert {job.exposure for job in made.jobs if job.stage != "stage3"} == {tiny.image.name.removesuffix("_uncal.fits")}
    assert len(made.problems) == len(CARDS)


def test_what_no_step_reads_may_be_anything(tiny, tmp_path):
    """ROLL_REF where a run ends with stage 1, and in a chain that has no WCS: by hand too."""
    (tmp_path / "data").mkdir()
    bad = card(Path(shutil.copy(tiny.image, tmp_path / "data")), "ROLL_REF", "NaN")
    assert [job.stage for job in plan.make(settings(tiny, tmp_path, until="stage1")).jobs] == ["stage1"]
    assert index.find(tmp_path / "data", until="stage1").problems == []
    assert len(index.find(tmp_path / "data").problems) == 1
    rate = jwcal.run_pipeline("detector1", bad, out=tmp_path, crds_path=tiny.crds)
    with pytest.raises(InputError, match="_rate.fits: ROLL_REF is 'NaN', a number was expected. Correct the keyword"):
        jwcal.run_pipeline("image2", tmp_path / bad.name.replace("uncal", "rate"), crds_path=tiny.crds)
    assert np.isfinite(rate.sci).mean() > 0.9


@pytest.mark.parametrize(("suffix", "refused"), [("rate", True), ("cal", False)])
def test_from_the_level_of_the_file_on(tiny_rate, tmp_path, suffix, refused):
    """A rate goes through stage 2; nothing reads the pointing of a calibrated image yet."""
    path = tmp_path / f"{NAME.format(1)}_{suffix}.fits"
    shutil.copy(tiny_rate, path)
    card(path, "DEC_REF", "NaN")
    assert len(index.find(path, until="stage2").problems) == refused


def test_exposure_in_memory(tiny_rate):
    exposure = stored.read(tiny_rate)
    exposure.header["VPARITY"] = 0
    with pytest.raises(InputError, match="VPARITY is 0, -1 or 1 was expected"):
        exposure.header.get("VPARITY")


def test_edges_are_taken(tiny, tmp_path):
    """The right value at the end of a range: the image is where the keywords say."""
    path = Path(shutil.copy(tiny.image, tmp_path))
    for keyword, text in {"DEC_REF": "-90.0", "RA_REF": "360.0", "ROLL_REF": "-0.0"}.items():
        card(path, keyword, text)
    jwcal.run_pipeline("detector1", path, out=tmp_path, crds_path=tiny.crds)
    cal = jwcal.run_pipeline("image2", tmp_path / path.name.replace("uncal", "rate"), crds_path=tiny.crds)
    assert cal.wcs(31.5, 31.5)[1] == pytest.approx(-90, abs=0.2)


def test_a_header_that_astropy_would_repair(tmp_path, tiny):
    """Planning sees the value that the job will see."""
    path = card(Path(shutil.copy(tiny.image, tmp_path)), "ROLL_REF", "NaN")
    (found,) = index.find(path, until="stage1").exposures
    with fits.open(path) as hdus:
        hdus["SCI"].verify("silentfix+ignore")
        assert found.header["ROLL_REF"] == hdus["SCI"].header["ROLL_REF"] == "NaN"
