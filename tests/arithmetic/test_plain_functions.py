"""Models as plain functions: the same values as astropy's own calls."""

import numpy as np
import pytest
from astropy.modeling import models as m

from jwcal.arithmetic.wcs.plain_functions import as_function

POLYNOMIAL = m.Polynomial2D(3, c0_0=0.3, c1_0=1.1, c0_1=-0.2, c2_0=0.01, c1_1=0.02, c0_2=-0.03, c3_0=1e-3, c0_3=2e-3, c1_2=4e-3, c2_1=-5e-3)
BOTH = m.Mapping((0, 1, 0, 1)) | POLYNOMIAL & POLYNOMIAL
CASES = [
    BOTH,
    m.Shift(0.2) & m.Scale(3.0) | m.AffineTransformation2D([[1.0, 0.2], [-0.3, 0.9]], [0.1, -0.2]) | BOTH,
    m.Identity(2) | m.Mapping((1,), n_inputs=2) | m.Const1D(4.0),
    (POLYNOMIAL + (POLYNOMIAL * POLYNOMIAL)) - POLYNOMIAL / m.Polynomial2D(1, c0_0=2.0),
    m.Polynomial2D(2, c0_0=1.0, c1_0=2.0, c1_1=3.0, x_domain=(0, 5), y_domain=(-3, 3)),
    m.Mapping((0,), n_inputs=2) | m.Polynomial1D(2, c0=1.0, c1=2.0, c2=3.0),
    m.Rotation2D(30.0),
]


@pytest.mark.parametrize("model", CASES, ids=range(len(CASES)))
def test_same_as_astropy(model):
    x, y = np.random.default_rng(1).normal(size=(2, 4, 5))
    expected = model(x, y)
    found = as_function(model)(x, y)
    for mine, its in zip(found, expected if isinstance(expected, tuple) else (expected,), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-13, atol=1e-14)
