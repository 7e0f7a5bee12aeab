"""Imprints: which belongs to which exposure, and that it is gone."""

import numpy as np
import pytest

import make
from jwcal.model.exposure import Members
from jwcal.steps import imprint_subtract
from jwcal.vocabulary.errors import InputError, Skip

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
