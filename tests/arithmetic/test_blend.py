"""Headers of many inputs: rules and columns from the schemas."""

import numpy as np
import pytest

import make
from jwcal.arithmetic.resample.blend import RULES, blend_rules, blended, header_table, science_keywords
from peer import needs_peer, peer_python


def _headers(**keywords):
    """Headers of which the n-th has the n-th value of each keyword, and not those that are None."""
    return [make.header(8, 8, **dict(zip(keywords, values, strict=True))) for values in zip(*keywords.values(), strict=True)]


@pytest.mark.parametrize(
    ("keyword", "values", "expected"),
    [
        ("EXPSTART", (3.5, 1.5, 2.0), 1.5),
        ("EXPEND", (3.5, 1.5, 9.0), 9.0),
        ("EXPMID", (1.0, 2.0, 6.0), 3.0),
        ("EFFEXPTM", (1.0, 2.0, 6.0), 9.0),
        ("DETECTOR", ("NRCA1", "NRCA1", "NRCA1"), "NRCA1"),
        ("DETECTOR", ("NRCA1", "NRCA2", "NRCA1"), "MULTIPLE"),
        ("FILTER", (None, "F200W", None), "F200W"),
        ("DATE-OBS", ("2022-03-01", "2021-12-31", "2022-01-01"), "2021-12-31"),
        ("TIME-OBS", ("11:00:00.5", "10:59:59.9", "23:00:00"), "10:59:59.9"),
        ("DATE-END", ("2022-03-01T00:00:01", "2022-03-01T00:00:02", "2021-03-01"), "2022-03-01T00:00:02"),
        ("FWPOSTOL", ("within commanded tolerance", "outside calibration tolerance", None), "outside calibration tolerance"),
        ("FWPOSTOL", ("within commanded tolerance", None, None), "within commanded tolerance"),
        ("PWPOSOFF", (0.1, -0.3, None), 0.1),
        ("MODULE", (None, None, None), None),
    ],
)
def test_rules(keyword, values, expected):
    assert blended(_headers(**{keyword: values}))[keyword] == expected


def test_only_keywords_with_a_rule_are_blended():
    found = blended(_headers(TARGNAME=("one", "two"), EXSEGNUM=(1, 2), EXPSTART=(1.0, 2.0)))
    assert "TARGNAME" not in found and "EXSEGNUM" not in found
    assert {rule for rule in blend_rules()[0].values()} <= set(RULES)


def test_table():
    table = header_table(_headers(FILENAME=("a_cal.fits", "bc_cal.fits"), HGA_MOVE=(True, False), EXPSTART=(1.5, None), NINTS=(1, 2)))
    assert len(table) == 2
    assert table["FILENAME"].tolist() == [b"a_cal.fits", b"bc_cal.fits"]
    assert table.dtype["HGA_MOVE"] == np.int8 and table["HGA_MOVE"].tolist() == [1, 0]
    assert table["EXPSTART"][0] == 1.5 and np.isnan(table["EXPSTART"][1])
    assert table.dtype["NINTS"].kind == "i"
    assert "EXPEND" not in table.dtype.names
    assert table.dtype.names.index("FILENAME") < table.dtype.names.index("EXPSTART") < table.dtype.names.index("NINTS")


def test_where_keywords_stand():
    assert {"XPOSURE", "CRVAL1", "RA_V1", "BUNIT"} <= science_keywords()
    assert not {"EFFEXPTM", "TARGNAME", "NDRIZ"} & science_keywords()


@needs_peer
@pytest.mark.parity
def test_as_the_peer():
    """The same rules and the same columns in the same order, of every keyword of the image schema."""
    found = peer_python(
        """
from jwst.model_blender._schemautil import parse_schema
from stdatamodels.jwst.datamodels import ImageModel
from stdatamodels.schema import walk_schema
model = ImageModel()
columns, rules, _ = parse_schema(model.schema)
keywords = {}
def note(node, path, combiner, ctx, recurse):
    if "fits_keyword" in node:
        keywords[".".join(path)] = node["fits_keyword"]
walk_schema(model.schema, note)
out["columns"] = [keyword for attribute, keyword in columns.items() if attribute in keywords]
named = {keywords[attribute]: rule for attribute, rule in rules.items() if attribute in keywords and rule != "first"}
out["keywords"], out["rules"] = list(named), list(named.values())
"""
    )
    rules, columns = blend_rules()
    assert rules == dict(zip(found["keywords"].tolist(), found["rules"].tolist(), strict=True))
    assert list(columns) == found["columns"].tolist()
