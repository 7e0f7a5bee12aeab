"""gain_scale: rates brought to the standard gain, and when there is nothing to do."""

import numpy as np
import pytest

import make
from jwcal.steps import gain_scale
from jwcal.vocabulary.errors import Skip
from peer import needs_peer


def rates(shape=(8, 9), **keywords):
    exposure = make.image_exposure(np.random.default_rng(1).normal(5, 3, shape), **keywords)
    exposure.err *= np.float32(0.37)
    exposure.var_poisson *= np.float32(0.011)
    exposure.sci[..., 2, 3] = np.nan
    return exposure


@pytest.mark.parametrize("shape", [(8, 9), (3, 8, 9)])
@pytest.mark.parametrize("own", [None, 1.997])
def test_scales_rates_errors_and_variances(tmp_path, shape, own):
    exposure, before = rates(shape, GAINFACT=own), rates(shape)
    gain_scale.apply(exposure, make.references(tmp_path, exposure, gain={"SCI": np.ones((8, 9)), "GAINFACT": 2.5}))
    factor = own or 2.5
    for plane, power in (("sci", 1), ("err", 1), ("var_poisson", 2), ("var_rnoise", 2)):
        array = getattr(exposure, plane)
        assert array.dtype == np.float32
        assert np.allclose(array, getattr(before, plane) * factor**power, rtol=2e-7, equal_nan=True)
    assert exposure.header["GAINFACT"] == factor
    assert not exposure.dq.any()


def test_without_variances(tmp_path):
    exposure = rates(GAINFACT=2.0)
    exposure.var_poisson = exposure.var_rnoise = None
    gain_scale.apply(exposure, make.references(tmp_path, exposure))
    assert np.array_equal(exposure.err, np.full((8, 9), 0.74, np.float32))


def test_skipped_without_a_factor(tmp_path):
    exposure, before = rates(), rates()
    for refs in (make.references(tmp_path, exposure), make.references(tmp_path, exposure, gain=np.ones((8, 9)))):
        with pytest.raises(Skip, match="no GAINFACT"):
            gain_scale.apply(exposure, refs)
    assert np.array_equal(exposure.sci, before.sci, equal_nan=True)


@pytest.mark.parity
@needs_peer
@pytest.mark.parametrize(("model", "shape"), [("ImageModel", (8, 9)), ("CubeModel", (3, 8, 9))])
def test_same_values_as_the_peer(tmp_path, model, shape):
    code = """
    from jwst.gain_scale.gain_scale import do_correction
    factor = model.meta.exposure.gain_factor or datamodels.GainModel(refs["gain"]).meta.exposure.gain_factor
    result = do_correction(model, factor)
    """
    cases = []
    for own in (None, 0.4973):
        exposure = rates(shape, GAINFACT=own)
        cases.append((exposure, make.references(tmp_path, exposure, gain={"SCI": np.ones((8, 9)), "GAINFACT": 1.2345}), {}))
    for (exposure, refs, _), theirs in zip(cases, make.by_peer(tmp_path, code, cases, model), strict=True):
        gain_scale.apply(exposure, refs)
        for ours, name in (("sci", "data"), ("err", "err"), ("var_poisson", "var_poisson"), ("var_rnoise", "var_rnoise")):
            assert np.array_equal(getattr(exposure, ours), theirs[name], equal_nan=True)
