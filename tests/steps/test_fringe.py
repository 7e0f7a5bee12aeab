"""fringe: divided with its errors; what the reference does not know is left alone."""

import numpy as np
import pytest

import make
from jwcal.steps import fringe
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import ReferenceError


def test_divided_with_its_errors(tmp_path):
    rng = np.random.default_rng(1)
    flat = rng.uniform(0.8, 1.2, (6, 5)).astype(np.float32)
    exposure = make.image_exposure(rng.uniform(1, 2, (6, 5)), INSTRUME="MIRI")
    exposure.var_flat = np.full((6, 5), 0.5, np.float32)
    before = exposure.sci.copy()
    given = flat.copy()
    given[0, 1], given[2, 3], flat[0, 1], flat[2, 3] = np.nan, 0, 1, 1
    refs = make.references(tmp_path, exposure, fringe={"SCI": given, "DQ": np.ones((6, 5), "u4"), "DQ_DEF": make.dq_def(DO_NOT_USE=1)})
    fringe.apply(exposure, refs)
    np.testing.assert_allclose(exposure.sci, before / flat, rtol=3e-7)
    np.testing.assert_allclose(exposure.err, 1 / flat, rtol=3e-7)
    for plane, value in ((exposure.var_poisson, 1), (exposure.var_rnoise, 1), (exposure.var_flat, 0.5)):
        np.testing.assert_allclose(plane, value / flat**2, rtol=5e-7)
    assert not exposure.dq.any()


def test_unusable_pixels_stay_so(tmp_path):
    exposure = make.image_exposure(np.ones((6, 5)))
    exposure.sci[1, 1], exposure.dq[2, 2] = np.nan, dq.DO_NOT_USE
    fringe.apply(exposure, make.references(tmp_path, exposure, fringe=np.full((6, 5), 0.9)))
    assert np.isnan(exposure.sci[[1, 2], [1, 2]]).all() and np.isfinite(exposure.sci).sum() == 28


def test_a_reference_of_another_size(tmp_path):
    exposure = make.image_exposure(np.ones((6, 5)))
    with pytest.raises(ReferenceError, match="fringe reference"):
        fringe.apply(exposure, make.references(tmp_path, exposure, fringe=np.ones((4, 5))))
