"""A ramp that is walked in pieces gives what the same ramp in one piece gives."""

import numpy as np
import pytest

import make
from jwcal.model import ramp
from jwcal.model.exposure import Pixels, dead_groups
from jwcal.run import loop, one_step
from jwcal.settings import step_modules
from jwcal.settings.chains import Save, Step
from jwcal.settings.recipe import Recipe
from jwcal.vocabulary import dq
from jwcal.vocabulary.parameters import declared_by

SHAPE = (5, 4, 24, 8)


class Samples:
    """A ramp in memory that is read like a file."""

    def __init__(self, sci):
        self.sci, self.shape = sci, sci.shape

    def read(self, ints, empty=None):
        return self.sci[ints].copy(), np.zeros(self.sci[ints].shape, np.uint8)


def exposure_of(sci):
    exposure = make.ramp_exposure(sci, zeroframe=sci[:, 0])
    exposure.raw, exposure.sci, exposure.groupdq = Samples(sci), None, None
    return exposure


@pytest.fixture
def ramp_of_noise():
    return np.random.default_rng(1).normal(1000, 50, SHAPE).astype(np.float32)


@pytest.fixture
def steps(monkeypatch):
    """Four toy steps: by integrations, by rows with neighbours, by integrations again, and one that ends the ramp."""

    class Add:
        @staticmethod
        def apply(exposure, refs):
            exposure.sci += np.arange(SHAPE[0], dtype=np.float32)[exposure.integrations][:, None, None, None]
            exposure.groupdq[exposure.sci > 1060] |= dq.SATURATED
            exposure.pixeldq[0] |= dq.HOT
            return exposure

    class Neighbours:
        WALKS, HALO = "rows", 1

        @staticmethod
        def apply(exposure, refs):
            hit = (exposure.groupdq & dq.SATURATED).any(axis=0) != 0
            grown = hit.copy()
            grown[:, 1:] |= hit[:, :-1]
            grown[:, :-1] |= hit[:, 1:]
            exposure.groupdq[:, grown] |= dq.JUMP_DET
            return exposure

    class Mark:
        @staticmethod
        def apply(exposure, refs):
            exposure.sci[(exposure.groupdq & dq.JUMP_DET) != 0] -= 7
            exposure.groupdq[:, -1] |= dq.DO_NOT_USE
            return exposure

    class Fit:
        WALKS = "rows"

        @staticmethod
        def apply(exposure, refs):
            alive = ~exposure.dead_groups[0]
            cube = exposure.sci[:, alive].mean(axis=1, dtype=np.float64).astype(np.float32) + exposure.extra["ZEROFRAME"]
            flags = np.bitwise_or.reduce(exposure.groupdq, axis=1).astype(np.uint32)
            return [
                exposure.derive([Pixels(sci=cube.mean(axis=0), dq=flags.max(axis=0) | exposure.pixeldq)], "rate"),
                exposure.derive([Pixels(sci=cube, dq=flags)], "rateints"),
            ]

    modules = {"add": Add, "neighbours": Neighbours, "mark": Mark, "ramp_fit": Fit}
    monkeypatch.setattr(step_modules, "step_module", modules.get)
    monkeypatch.setattr(step_modules, "parameters_of", lambda name: declared_by(modules[name]))
    return [Step(name) for name in modules]


@pytest.mark.parametrize("kilobytes", [1, 4, 9])
def test_pieces_equal_the_whole(steps, ramp_of_noise, monkeypatch, tmp_path, kilobytes):
    recipe = Recipe("toy", [*steps, Save({"rate": "rate", "rateints": "rateints"})])
    whole = loop.run(recipe, exposure_of(ramp_of_noise))
    monkeypatch.setattr(ramp, "LARGE", kilobytes * 1024)
    blocks = []
    monkeypatch.setattr(ramp, "dead_groups", lambda flags: (blocks.append(len(flags)), dead_groups(flags))[1])
    pieces = loop.run(recipe, exposure_of(ramp_of_noise), scratch=tmp_path)
    assert len(blocks) > 2, "the ramp was not walked in pieces"
    assert [p.suffix for p in pieces] == [w.suffix for w in whole] == ["rate", "rateints"]
    for piece, one in zip(pieces, whole, strict=True):
        np.testing.assert_array_equal(piece.sci, one.sci)
        np.testing.assert_array_equal(piece.dq, one.dq)
        assert piece.steps == one.steps
        assert piece.seconds.keys() == one.seconds.keys()
    assert not list(tmp_path.iterdir()), "the scratch files stayed"


def test_times_of_all_strips_add_up(steps, ramp_of_noise, monkeypatch, tmp_path):
    monkeypatch.setattr(ramp, "LARGE", 4096)
    ticks = iter(range(1000))
    monkeypatch.setattr(one_step.time, "perf_counter", lambda: next(ticks))
    strips = []
    fit = steps[-1]
    module = step_modules.step_module(fit.name)
    apply = module.apply
    monkeypatch.setattr(module, "apply", staticmethod(lambda *given: (strips.append(1), apply(*given))[1]))
    rate, rateints = loop.run(Recipe("toy", steps), exposure_of(ramp_of_noise), scratch=tmp_path)
    assert len(strips) > 1 and rate.seconds["ramp_fit"] == rateints.seconds["ramp_fit"] == len(strips)


def test_a_step_goes_through_all_before_and_after(steps, ramp_of_noise, monkeypatch, tmp_path):
    """`prepare` sees what the steps before did, keeps nothing and is there for `apply`; `finish` sees what `apply` did, and keeps it."""
    level = float(np.median(ramp_of_noise[:, 0]))

    class Above:
        REFERENCES = ()

        @staticmethod
        def walks_itself(exposure, parameters):
            return exposure.shape == SHAPE and parameters["times"] == 2

        @staticmethod
        def prepare(exposure, refs, *, times):
            def look(strip):
                median = np.median(strip.sci, axis=(0, 1))
                strip.sci[:] = np.nan
                return [strip.derive([Pixels(sci=median)], "median")]

            (found,) = ramp.put_together(exposure, exposure.strips(), look)
            return found.sci * times

        @staticmethod
        def apply(exposure, refs, *, times: int = 2):
            assert exposure.prepared["above"].shape == SHAPE[2:]
            exposure.sci -= exposure.prepared["above"]
            return exposure

        @staticmethod
        def finish(exposure, refs, *, times):
            for block in exposure.blocks(keep=True):
                assert block.shape == block.sci.shape != SHAPE and (block.sci < 0).mean() > 0.9
                block.sci += level

    modules = {step.name: step_modules.step_module(step.name) for step in steps} | {"above": Above}
    monkeypatch.setattr(step_modules, "step_module", modules.get)
    monkeypatch.setattr(step_modules, "parameters_of", lambda name: declared_by(modules[name]))
    monkeypatch.setattr(ramp, "LARGE", 1024)
    recipe = Recipe("toy", [steps[0], Step("above"), steps[3]], {"above": {"times": 2}})
    exposure = exposure_of(ramp_of_noise)
    _, rateints = loop.run(recipe, exposure, scratch=tmp_path)
    added = ramp_of_noise + np.arange(SHAPE[0], dtype=np.float32)[:, None, None, None]
    wanted = (added - 2 * np.median(added, axis=(0, 1)) + np.float32(level)).mean(axis=1) + ramp_of_noise[:, 0]
    np.testing.assert_allclose(rateints.sci, wanted, rtol=1e-5, atol=1e-2)
    assert exposure.prepared == {} and exposure.samples is None and rateints.seconds["above"] > 0


def test_a_ramp_that_is_a_product_stays_whole(steps, ramp_of_noise, monkeypatch):
    monkeypatch.setattr(ramp, "LARGE", 1024)
    recipe = Recipe("toy", [*steps[:3], Save({"uncal": "ramp"}, optional=True), steps[3]], save=["ramp"])
    written = []
    loop.run(recipe, exposure_of(ramp_of_noise), lambda products: written.extend((e.suffix, e.sci.shape) for e in products))
    assert written == [("ramp", SHAPE)]


def test_dead_groups_needs_every_pixel():
    flags = np.zeros((2, 3, 4, 4), np.uint8)
    flags[0, 1] = dq.DO_NOT_USE
    flags[1, 2] = dq.DO_NOT_USE | dq.SATURATED
    flags[1, 1] = dq.DO_NOT_USE
    flags[1, 1, 3, 3] = dq.SATURATED
    assert dead_groups(flags).tolist() == [[False, True, False], [False, False, True]]
