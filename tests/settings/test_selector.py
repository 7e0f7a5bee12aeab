"""The chain of every EXP_TYPE, row by row, and what other keywords change."""

import csv
import re
from pathlib import Path

import pytest

from jwcal.settings.selector import PIPELINES, pipeline_name, select, select_for
from jwcal.settings.tables import table
from jwcal.vocabulary.errors import ConfigError, InputError
from jwcal.vocabulary.keywords import schema

MISSION = Path(__file__).resolve().parents[3] / "shared/design/exp_types.csv"
TABLE = table("exp_types")
# One row in the mission's table, two in ours (why: see the table).
SERIES_BEYOND_THE_MISSION = {"MIR_LRS-FIXEDSLIT"}


def mission_rows():
    if not MISSION.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason="../shared/design/exp_types.csv is not there"))]
    with MISSION.open() as file:
        return [pytest.param(row, id=f"{row['exp_type']}-{row['tsovisit']}") for row in csv.DictReader(file)]


def our_name(name):
    return None if name == "N/A" else name.removeprefix("calwebb_")


@pytest.mark.parametrize("row", mission_rows())
def test_mission_table(row):
    wanted = [our_name(row[f"stage{n}"]) for n in (1, 2, 3)]
    exp_type = row["exp_type"]
    if row["tsovisit"] != "N/A":
        assert list(select(exp_type, tsovisit=row["tsovisit"] == "True", nints=10)) == wanted
        return
    assert list(select(exp_type)) == wanted
    if exp_type not in SERIES_BEYOND_THE_MISSION:
        for tsovisit in (True, False):
            for nints in (1, 10):
                assert list(select(exp_type, tsovisit=tsovisit, nints=nints)) == wanted


def test_mission_table_is_whole():
    """No row is lost: all types of the mission and the seven that jwst 3.0.0 adds."""
    if not MISSION.exists():
        pytest.skip("../shared/design/exp_types.csv is not there")
    with MISSION.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 65
    added = {"MIR_WFSS", "MIR_TACONFIRM", "NRS_TACQ", "NRS_TASLIT", "NRS_VERIFY", "MIR_DARKALL", "NRC_WFSC"}
    assert {row["exp_type"] for row in rows} | added == set(TABLE["exp_types"])


@pytest.mark.parametrize("exp_type", TABLE["exp_types"])
def test_own_table(exp_type):
    """Every row gives existing pipelines of the right stage, and says which row it was."""
    row = TABLE["exp_types"][exp_type]
    for series, nints in ((True, 2), (False, 1)):
        wanted = row if isinstance(row, list) else row["series" if series else "single"]
        chain = select(exp_type, tsovisit=series, nints=nints)
        assert list(chain) == [*wanted, None, None][:3]
        assert re.match(rf"row {exp_type}\b", chain.why[0])
        for stage, name in zip("123", chain, strict=True):
            assert name is None or stage in name or (stage == "1" and name in ("dark", "guider"))
        assert {name for name in chain if name} <= set(PIPELINES)


def test_types_of_stdatamodels():
    """The types that the data models know and the table agree."""

    def enums(node):
        children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        own = set(node.get("enum", ())) if isinstance(node, dict) else set()
        return own.union(*(enums(child) for child in children))

    assert enums(schema("keyword_exptype")) - {"ANY", "N/A"} == set(TABLE["exp_types"])


TSO = ["tso1", "tso-spec2", "tso3"]
D, S2, S3 = "detector1", "spec2", "spec3"


@pytest.mark.parametrize(
    "keywords, wanted",
    [
        # the time series rule
        ({"exp_type": "MIR_IMAGE", "tsovisit": True, "nints": 1}, [D, "image2", "image3"]),
        ({"exp_type": "MIR_IMAGE", "tsovisit": True, "nints": 2}, ["tso1", "tso-image2", "tso3"]),
        ({"exp_type": "MIR_IMAGE", "tsovisit": "T", "nints": 2}, ["tso1", "tso-image2", "tso3"]),
        ({"exp_type": "MIR_IMAGE", "tsovisit": "F", "nints": 2}, [D, "image2", "image3"]),
        ({"exp_type": "NIS_SOSS", "tsovisit": True, "nints": 1}, [D, S2, S3]),
        ({"exp_type": "NRC_TSIMAGE", "tsovisit": False, "nints": 2}, ["tso1", "tso-image2", "tso3"]),
        ({"exp_type": "NRC_TSIMAGE", "tsovisit": True, "nints": 1}, [D, "image2", None]),
        ({"exp_type": "NRC_TSGRISM", "tsovisit": False, "nints": 2}, TSO),
        ({"exp_type": "NRC_TSGRISM", "tsovisit": True, "nints": 1}, [D, S2, None]),
        ({"exp_type": "NRS_BRIGHTOBJ", "tsovisit": False, "nints": 2}, TSO),
        ({"exp_type": "NRS_BRIGHTOBJ", "tsovisit": True, "nints": 1}, [D, S2, None]),
        ({"exp_type": "MIR_LRS-FIXEDSLIT", "tsovisit": True, "nints": 30}, TSO),
        ({"exp_type": "MIR_LRS-FIXEDSLIT", "tsovisit": True, "nints": 1}, [D, S2, S3]),
        ({"exp_type": "NRC_IMAGE", "tsovisit": True, "nints": 30}, [D, "image2", "image3"]),
        ({"exp_type": "FGS_ACQ1", "tsovisit": True, "nints": 6}, ["guider", None, None]),
        # wavefront sensing
        ({"exp_type": "NRC_IMAGE", "visitype": "PRIME_WFSC_ROUTINE"}, [D, "wfs-image2", None]),
        ({"exp_type": "NRC_IMAGE", "visitype": "PRIME_WFSC_ROUTINE", "patttype": "WFSC"}, [D, "wfs-image2", "wfs-image3"]),
        ({"exp_type": "NRC_IMAGE", "visitype": "prime_wfsc_sensing_control", "PATTTYPE": "NONE"}, [D, "wfs-image2", None]),
        ({"exp_type": "NRC_IMAGE", "patttype": "WFSC"}, [D, "image2", "wfs-image3"]),
        ({"exp_type": "FGS_FOCUS", "visitype": "PRIME_WFSC_ROUTINE"}, [D, "wfs-image2", None]),
        ({"exp_type": "NRC_DARK", "visitype": "PRIME_WFSC_ROUTINE"}, ["dark", None, None]),
        ({"exp_type": "NRC_GRISM", "visitype": "PRIME_WFSC_ROUTINE"}, [D, None, None]),
        ({"exp_type": "FGS_FINEGUIDE", "visitype": "PRIME_WFSC_ROUTINE"}, ["guider", None, None]),
        ({"exp_type": "NRS_MSASPEC", "visitype": "PRIME_WFSC_ROUTINE"}, [D, S2, S3]),
        ({"exp_type": "NRC_IMAGE", "visitype": "PRIME_WFSC_ROUTINE", "dms_note": "wfsc_los_jitter"}, [D, None, None]),
        (
            {"exp_type": "NIS_IMAGE", "instrume": "NIRISS", "visitype": "PRIME_WFSC", "dms_note": "wfsc_los_jitter", "patttype": "WFSC"},
            [D, "wfs-image2", None],
        ),
        ({"exp_type": "NRC_IMAGE", "visitype": "PRIME_TARGETED_FIXED", "patttype": "NONE"}, [D, "image2", "image3"]),
        # NIRCam
        ({"exp_type": "NRC_TSGRISM", "nints": 9, "pupil": "CLEAR"}, ["tso1", None, None]),
        ({"exp_type": "NRC_TSGRISM", "nints": 9, "detector": "NRCBLONG", "pupil": "GRISMR"}, ["tso1", None, None]),
        ({"exp_type": "NRC_TSGRISM", "nints": 9, "detector": "NRCALONG", "pupil": "GRISMR"}, TSO),
        ({"exp_type": "NRC_TSGRISM", "nints": 9, "pupil": "GDHS0"}, ["tso1", "tso-spec2", None]),
        ({"exp_type": "NRC_TSGRISM", "nints": 9, "subarray": "SUB41STRIPE1_DHS"}, ["tso1", "tso-spec2", None]),
        ({"exp_type": "NRC_CORON", "subarray": "FULL", "pupil": "MASKRND", "detector": "NRCA2"}, [D, "image2", "coron3"]),
        ({"exp_type": "NRC_CORON", "subarray": "FULL", "pupil": "MASKRND", "detector": "NRCA4"}, [D, "image2", "image3"]),
        ({"exp_type": "NRC_CORON", "subarray": "FULL", "pupil": "MASKBAR", "detector": "NRCA4"}, [D, "image2", "coron3"]),
        ({"exp_type": "NRC_CORON", "subarray": "FULL", "pupil": "MASKBAR", "detector": "NRCA2"}, [D, "image2", "image3"]),
        ({"exp_type": "NRC_CORON", "subarray": "SUB320A335R", "pupil": "MASKRND", "detector": "NRCA4"}, [D, "image2", "coron3"]),
        # SOSS and LRS
        ({"exp_type": "NIS_SOSS", "tsovisit": True, "nints": 5, "filter": "F277W"}, ["tso1", None, None]),
        ({"exp_type": "NIS_SOSS", "tsovisit": True, "nints": 5, "filter": "CLEAR"}, TSO),
        ({"exp_type": "NIS_SOSS", "nints": 5, "filter": "F277W"}, [D, S2, S3]),
        ({"exp_type": "NIS_SOSS", "nints": 5, "patttype": "NONE"}, [D, S2, S3]),
        ({"exp_type": "NIS_SOSS", "tsovisit": True, "nints": 1, "patttype": "NONE"}, [D, S2, S3]),
        ({"exp_type": "NIS_SOSS", "nints": 5, "patttype": "2-POINT-NOD"}, [D, S2, S3]),
        ({"exp_type": "MIR_LRS-FIXEDSLIT", "patttype": "ALONG-SLIT-NOD"}, [D, S2, S3]),
        ({"exp_type": "MIR_LRS-FIXEDSLIT", "patttype": "MAPPING"}, [D, S2, None]),
        # NIRSpec
        ({"exp_type": "NRS_MSASPEC", "grating": "MIRROR", "msastate": "PRIMARYPARK_ALLOPEN"}, [D, "image2", None]),
        ({"exp_type": "NRS_MSASPEC", "grating": "PRISM", "msametfl": "jw_msa.fits"}, [D, S2, S3]),
        ({"exp_type": "NRS_MSASPEC", "grating": "PRISM", "msametfl": "N/A"}, [D, None, None]),
        ({"exp_type": "NRS_IFU", "grating": "PRISM", "filter": "CLEAR", "detector": "NRS1"}, [D, S2, S3]),
        ({"exp_type": "NRS_IFU", "grating": "PRISM", "filter": "CLEAR", "detector": "NRS2"}, [D, None, None]),
        ({"exp_type": "NRS_IFU", "grating": "G140H", "filter": "F070LP", "detector": "NRS2"}, [D, None, None]),
        ({"exp_type": "NRS_IFU", "grating": "G140H", "filter": "F100LP", "detector": "NRS2"}, [D, S2, S3]),
        ({"exp_type": "NRS_IFU", "is_imprt": True}, [D, S2, None]),
        (
            {"exp_type": "NRS_FIXEDSLIT", "fxd_slit": "S200A1", "grating": "G395M", "filter": "F290LP", "detector": "NRS2"},
            [D, None, None],
        ),
        ({"exp_type": "NRS_FIXEDSLIT", "fxd_slit": "S200A1", "grating": "G395H", "filter": "F290LP", "detector": "NRS2"}, [D, S2, S3]),
        ({"exp_type": "NRS_FIXEDSLIT", "fxd_slit": "S200B1", "grating": "G395M", "filter": "F290LP", "detector": "NRS2"}, [D, S2, S3]),
        ({"exp_type": "NRS_FIXEDSLIT", "grating": "G395M", "filter": "F290LP", "detector": "NRS2"}, [D, S2, S3]),
        (
            {"exp_type": "NRS_BRIGHTOBJ", "nints": 9, "fxd_slit": "S1600A1", "grating": "PRISM", "filter": "CLEAR", "detector": "NRS2"},
            ["tso1", None, None],
        ),
        ({"exp_type": "NRS_LAMP", "grating": "MIRROR", "opmode": "IMAGE", "filter": "F110W"}, [D, "image2", None]),
        ({"exp_type": "NRS_LAMP", "grating": "MIRROR", "opmode": "FIXEDSLIT", "filter": "OPAQUE"}, [D, None, None]),
        ({"exp_type": "NRS_LAMP", "grating": "G140H", "opmode": "IFU", "filter": "OPAQUE", "lamp": "LINE1"}, [D, "nrslamp-spec2", None]),
        (
            {"exp_type": "NRS_LAMP", "grating": "G140H", "opmode": "IFU", "filter": "OPAQUE", "lamp": "FLAT4", "detector": "NRS2"},
            [D, None, None],
        ),
        ({"exp_type": "NRS_AUTOWAVE", "grating": "G140M", "opmode": "IFU", "filter": "OPAQUE", "detector": "NRS2"}, [D, None, None]),
        ({"exp_type": "NRS_AUTOWAVE", "grating": "G140M", "opmode": "IFU", "filter": "CLEAR", "detector": "NRS1"}, [D, None, None]),
        ({"exp_type": "NRS_AUTOFLAT", "opmode": "FIXEDSLIT", "grating": "G235H", "lamp": "FLAT2"}, [D, "nrslamp-spec2", None]),
        ({"exp_type": "NRS_AUTOFLAT", "opmode": "FIXEDSLIT", "grating": "G235H", "lamp": "FLAT3"}, [D, None, None]),
        ({"exp_type": "NRS_LAMP", "lamp": "NOLAMP"}, [D, None, None]),
        ({"exp_type": "NRS_LAMP", "opmode": "GRATING-ONLY"}, [D, None, None]),
        ({"exp_type": "NRS_LAMP", "opmode": "MSASPEC", "msametfl": "N/A"}, [D, None, None]),
        # case and padding of the keyword
        ({"exp_type": " nrc_image "}, [D, "image2", "image3"]),
    ],
)
def test_rules(keywords, wanted):
    assert list(select(**keywords)) == wanted


def test_every_rule_is_used():
    """A rule that no case above meets would not be missed."""
    tested = next(mark for mark in test_rules.pytestmark if mark.name == "parametrize").args[1]
    said = {sentence.split(":")[0] for keywords, _ in tested for sentence in select(**keywords).why[1:]}
    assert said == {rule["why"].split(":")[0] for rule in TABLE["rules"]}


def test_series_is_told():
    assert select("NRC_TSIMAGE", nints=2).series
    assert not select("NRC_TSIMAGE", tsovisit=True).series
    assert "one integration" in select("MIR_IMAGE", tsovisit=True, nints=1).why[0]


@pytest.mark.parametrize(
    "wrong, nearest", [("NRC_IMAG", "NRC_IMAGE"), ("NIRCAM_IMAGE", "NRC_IMAGE"), ("MIR_LRS-SLITLES", "MIR_LRS-SLITLESS")]
)
def test_unknown(wrong, nearest):
    with pytest.raises(InputError, match=f"{wrong} is no EXP_TYPE of JWST. The nearest that is known is {nearest}"):
        select(wrong)


@pytest.mark.parametrize("wrong", ["", "XYZZY", "N/A", "ANY"])
def test_unknown_without_a_neighbour(wrong):
    with pytest.raises(InputError, match="is no EXP_TYPE of JWST"):
        select(wrong)


def test_from_a_header():
    header = {"EXP_TYPE": "NRC_IMAGE", "NINTS": 1, "TSOVISIT": False, "VISITYPE": "PRIME_WFSC_ROUTINE", "PATTTYPE": "WFSC", "DATE-OBS": "x"}
    assert list(select_for(header)) == ["detector1", "wfs-image2", "wfs-image3"]
    with pytest.raises(InputError, match="a_uncal.fits: the keyword NINTS is missing"):
        select_for({"EXP_TYPE": "NRC_IMAGE"}, "a_uncal.fits")
    with pytest.raises(InputError, match="a_uncal.fits: NINTS is 'many'"):
        select_for({"EXP_TYPE": "NRC_IMAGE", "NINTS": "many"}, "a_uncal.fits")
    with pytest.raises(InputError, match="a_uncal.fits: NRC_IMAGO is no"):
        select_for({"EXP_TYPE": "NRC_IMAGO", "NINTS": 1}, "a_uncal.fits")


@pytest.mark.parametrize("name", PIPELINES)
def test_pipeline_names(name):
    for text in (name, f"calwebb_{name}", f"calwebb_{name}.cfg", f"calwebb_{name}.asdf", name.replace("-", "_"), f"a/b/calwebb_{name}.cfg"):
        assert pipeline_name(text) == name


def test_pipeline_class_names():
    assert pipeline_name("Detector1Pipeline") == "detector1"
    assert pipeline_name("jwst.pipeline.Image2Pipeline") == "image2"
    with pytest.raises(ConfigError, match="no pipeline 'detector_1'. The nearest is detector1"):
        pipeline_name("detector_1")
    with pytest.raises(ConfigError, match="There are ami3, coron3"):
        pipeline_name("xyzzy")
