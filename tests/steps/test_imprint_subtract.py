"""Imprints: which belongs to which exposure, and that it is gone."""

import json

import numpy as np
import pytest

import make
from jwcal.model.exposure import Members
from jwcal.steps import imprint_subtract
from jwcal.vocabulary.errors import InputError, Skip
from peer import needs_peer, peer_python

SHAPE = 6, 8


def exposure(level, observation="001", position=1, background=False, shape=SHAPE, flags=0):
    made = make.image_exposure(
        np.full(shape, float(level)), INSTRUME="NIRSPEC", OBSERVTN=observation, PATT_NUM=position, BKGDTARG=background
    )
    made.dq[..., 0, 0] = flags
    made.header.name = f"{level}_rate.fits"
    return made


def subtracted(science, imprints, backgrounds=()):
    science.members = Members([*((one, "imprint") for one in imprints), *((one, "background") for one in backgrounds)])
    return imprint_subtract.apply(science)


def test_one_is_that_of_all(caplog):
    background = exposure(20, "002", background=True)
    science = subtracted(exposure(10, position=3), [exposure(4, "009", 1, flags=4)], [background])
    assert (science.sci == 6).all() and (background.sci == 16).all()
    assert science.dq[0, 0] == background.dq[0, 0] == 4 and science.dq.sum() == 4
    assert (science.err == 1).all()
    for name, place in (("10_rate.fits", "001, 3"), ("20_rate.fits", "002, 1")):
        assert f"{name}: the only imprint that it has, 4_rate.fits, is of another observation or dither position" in caplog.text
        assert f"(OBSERVTN, PATT_NUM is {place}, there 009, 1)" in caplog.text


def test_each_by_its_position():
    background = exposure(20, "001", 2, True)
    imprints = [
        exposure(1, position=1),
        exposure(2, position=2),
        exposure(3, "002", 2),
        exposure(4, position=1, background=True),
        exposure(5, position=2, background=True),
    ]
    science = subtracted(exposure(10, position=2), imprints, [background])
    assert (science.sci == 8).all() and (background.sci == 15).all()


def test_the_only_one_of_its_kind():
    science = subtracted(exposure(10, position=7), [exposure(1, background=True), exposure(2, position=2), exposure(3, background=True)])
    assert (science.sci == 8).all()


def test_integrations(caplog):
    science = subtracted(exposure(10, shape=(3, *SHAPE)), [exposure(4)])
    assert science.sci.shape == (3, *SHAPE) and (science.sci == 6).all()
    assert "another" not in caplog.text


def test_what_is_not_subtracted(caplog):
    with pytest.raises(Skip, match="no imprint"):
        subtracted(exposure(10), [])
    science = exposure(10, position=7)
    with pytest.raises(Skip, match="no imprint is of its observation and dither position"):
        subtracted(science, [exposure(1), exposure(2, position=2)])
    assert (science.sci == 10).all()
    background = exposure(20, background=True)
    subtracted(exposure(10), [exposure(1), exposure(2, position=2)], [background])
    assert (background.sci == 20).all() and "20_rate.fits: no imprint is of its observation" in caplog.text
    with pytest.raises(InputError, match="4_rate.fits: as an imprint of 10_rate.fits"):
        subtracted(exposure(10), [exposure(4, shape=(6, 9))])


# --- the peer ------------------------------------------------------------------------------------------------------------------

PEER = """
import json
from stdatamodels.jwst import datamodels
from jwst.imprint import ImprintStep

def model(known, keep=[]):
    made = (datamodels.CubeModel if np.ndim(known["sci"]) == 3 else datamodels.ImageModel)(np.array(known["sci"], "f4"))
    made.dq = np.array(known["dq"], "u4")
    made.err = np.full_like(made.data, 0.5)
    made.meta.dither.position_number = known["PATT_NUM"]
    made.meta.observation.observation_number = known["OBSERVTN"]
    made.meta.observation.bkgdtarg = known["BKGDTARG"]
    made.meta.instrument.name, made.meta.instrument.detector, made.meta.exposure.type = "NIRSPEC", "NRS1", "NRS_IFU"
    keep.append(made)
    return made

for name, case in json.loads(str(cases)).items():
    done = ImprintStep().process(model(case["science"]), [model(one) for one in case["imprints"]])
    out[f"{name} sci"], out[f"{name} dq"], out[f"{name} err"] = done.data, done.dq, done.err
    out[f"{name} status"] = done.meta.cal_step.imprint
"""


def seen(rng, observation="001", position=1, background=False, shape=SHAPE):
    """Keywords and arrays of an exposure with noise, flags, and a pixel without a value."""
    sci = rng.normal(10, 1, shape).astype(np.float32)
    sci[..., 1, 1] = np.nan
    flags = rng.choice([0, 0, 0, 1, 4], shape)
    return {"sci": sci.tolist(), "dq": flags.tolist(), "OBSERVTN": observation, "PATT_NUM": position, "BKGDTARG": background}


def of(known, name):
    made = make.image_exposure(
        np.array(known["sci"], np.float32), INSTRUME="NIRSPEC", **{k: known[k] for k in ("OBSERVTN", "PATT_NUM", "BKGDTARG")}
    )
    made.dq[:] = known["dq"]
    made.err[:] = 0.5
    made.header.name = name
    return made


@pytest.mark.parity
@needs_peer
def test_as_the_peer():
    """Alone, by position, by kind, integrations, and none that belongs: values, flags and status are equal bit for bit."""
    rng = np.random.default_rng(3)
    cases = {
        "alone": (seen(rng, position=3), [seen(rng, "009")]),
        "by position": (seen(rng, position=2), [seen(rng, position=n) for n in (1, 2)] + [seen(rng, "002", 2), seen(rng, "001", 2, True)]),
        "of a background": (seen(rng, position=2, background=True), [seen(rng, position=2), seen(rng, position=2, background=True)]),
        "the only one of its kind": (seen(rng, position=7), [seen(rng, background=True), seen(rng, position=2)]),
        "integrations": (seen(rng, shape=(3, *SHAPE)), [seen(rng)]),
        "none": (seen(rng, position=7), [seen(rng, position=1), seen(rng, position=2)]),
    }  # fmt: skip
    asked = {name: {"science": science, "imprints": imprints} for name, (science, imprints) in cases.items()}
    peers = peer_python(PEER, cases=json.dumps(asked))
    for name, (known, imprints) in cases.items():
        science, status = of(known, "science_rate.fits"), "COMPLETE"
        science.members = Members([(of(one, f"{number}_rate.fits"), "imprint") for number, one in enumerate(imprints)])
        try:
            science = imprint_subtract.apply(science)
        except Skip:
            status = "SKIPPED"
        assert status == peers[f"{name} status"], name
        for plane in ("sci", "dq", "err"):
            np.testing.assert_array_equal(getattr(science, plane), peers[f"{name} {plane}"], err_msg=f"{name} {plane}")
    assert [str(peers[f"{name} status"]) for name in ("integrations", "none")] == ["COMPLETE", "SKIPPED"]
