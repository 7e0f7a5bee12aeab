"""Source types: every way in which one is found, in the order in which they count, and as the peer finds them."""

import itertools

import numpy as np
import pytest

import make
from jwcal.model.exposure import Pixels
from jwcal.steps import srctype
from jwcal.vocabulary.errors import InputError
from peer import needs_peer, peer_python


def spectrum(shape=(4, 5), **keywords):
    return make.image_exposure(np.zeros(shape), INSTRUME="MIRI", **keywords)


def found(exposure, *table, **parameters):
    return srctype.apply(exposure, None, *table, **parameters).header["SRCTYPE"]


@pytest.mark.parametrize(
    ("keywords", "asked", "expected"),
    [
        ({}, None, "POINT"),  # what most are
        ({"SRCTYAPT": "EXTENDED"}, None, "EXTENDED"),
        ({"SRCTYAPT": "EXTENDED"}, "POINT", "POINT"),
        ({"SRCTYAPT": "POINT"}, "EXTENDED", "EXTENDED"),
        ({"SRCTYAPT": "UNKNOWN"}, None, "POINT"),
        ({"SRCTYAPT": "POINT", "BKGDTARG": True}, None, "EXTENDED"),
        ({"SRCTYAPT": "EXTENDED", "TSOVISIT": True, "NINTS": 2}, None, "POINT"),
        ({"SRCTYAPT": "EXTENDED", "TSOVISIT": True, "NINTS": 1}, None, "EXTENDED"),  # one integration is no series
        ({"TSOVISIT": True, "NINTS": 2, "BKGDTARG": True}, None, "EXTENDED"),
        ({"TSOVISIT": True, "NINTS": 2}, "EXTENDED", "EXTENDED"),  # the user's word counts
        ({"SRCTYPE": "EXTENDED"}, None, "EXTENDED"),  # of older files
    ],
)
def test_types(keywords, asked, expected):
    exposure = spectrum(**keywords)
    assert found(exposure, source_type=asked) == expected
    assert exposure.header.sci["SRCTYPE"] == expected and "SRCTYPE" not in exposure.header.primary
    assert exposure.header.get("SRCTYAPT") == keywords.get("SRCTYAPT", keywords.get("SRCTYPE"))


def test_what_the_table_says():
    """Other modes: extended where nothing is known, another keyword for dithers, series whatever TSOVISIT says."""
    assert found(spectrum(), "", "EXTENDED") == "EXTENDED"
    assert found(spectrum(PATTTYPE="2-POINT-NOD"), "", "EXTENDED") == "POINT"
    assert found(spectrum(PATTTYPE="2-POINT-NOD"), "", "EXTENDED", "DITHOPFR") == "EXTENDED"
    assert found(spectrum(DITHOPFR="POINT-SOURCE"), "", "EXTENDED", "DITHOPFR") == "POINT"
    assert found(spectrum(SRCTYAPT="EXTENDED", NINTS=3), "", "POINT", "PATTTYPE", True) == "POINT"


def test_every_slit_says_it():
    exposure = spectrum()
    exposure.pixels.append(Pixels(sci=np.zeros((3, 3), np.float32), header=exposure.header.sci.copy()))
    exposure.pixels[0].header = exposure.header.sci.copy()
    srctype.apply(exposure, source_type="EXTENDED")
    assert [pixels.header["SRCTYPE"] for pixels in exposure.pixels] == ["EXTENDED"] * 2


def test_a_keyword_that_can_t_be_right():
    with pytest.raises(InputError, match="SRCTYAPT is 'STAR'"):
        found(spectrum(SRCTYAPT="STAR"))


@pytest.mark.parity
@needs_peer
def test_as_the_peer():
    """All combinations for one mode."""
    choices = {
        "SRCTYAPT": [None, "POINT", "EXTENDED", "UNKNOWN"],
        "BKGDTARG": [None, False, True],
        "TSOVISIT": [False, True],
        "NINTS": [1, 3],
        "PATTTYPE": ["NONE", "ALONG-SLIT-NOD"],
    }
    cases = [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]
    out = peer_python(
        """
import ast
from stdatamodels.jwst import datamodels
from jwst.srctype.srctype import set_source_type
found = []
for case in ast.literal_eval(str(cases)):
    model = datamodels.SlitModel((4, 5))
    model.meta.exposure.type = "MIR_LRS-FIXEDSLIT"
    model.meta.target.source_type_apt = case["SRCTYAPT"]
    model.meta.observation.bkgdtarg = case["BKGDTARG"]
    model.meta.visit.tsovisit = case["TSOVISIT"]
    model.meta.exposure.nints = case["NINTS"]
    model.meta.dither.primary_type = case["PATTTYPE"]
    found.append(set_source_type(model).meta.target.source_type)
out["found"] = found
""",
        cases=repr(cases),
    )
    assert [found(spectrum(**case)) for case in cases] == list(out["found"])
