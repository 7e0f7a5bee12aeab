"""Models of references as plain functions of arrays.

astropy's own calls take up to a millisecond for each part of a model, however small the arrays are.
"""

import operator

import numpy as np
from astropy.modeling.core import CompoundModel
from astropy.modeling.models import AffineTransformation2D, Const1D, Identity, Mapping, Polynomial2D, Scale, Shift

SUMS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}


def as_function(model):
    """A function of arrays that does what a model does.

    Parameters
    ----------
    model : astropy.modeling.Model
        Of the kinds below, or made of such; any other one is called as it is.

    Returns
    -------
    function
        Takes as many arrays as the model, of shapes that broadcast, and returns a tuple.
    """
    if isinstance(model, CompoundModel):
        return _of_two(model)
    make = KINDS.get(type(model))
    made = make and make(model)
    return made or (lambda *values: _as_tuple(model(*values)))


def _of_two(model):
    left, right = as_function(model.left), as_function(model.right)
    if model.op == "|":
        return lambda *values: right(*left(*values))
    if model.op == "&":
        first = model.left.n_inputs
        return lambda *values: (*left(*values[:first]), *right(*values[first:]))
    if model.op in SUMS:
        put_together = SUMS[model.op]
        return lambda *values: tuple(put_together(a, b) for a, b in zip(left(*values), right(*values), strict=True))
    return lambda *values: _as_tuple(model(*values))


def _as_tuple(found):
    return found if isinstance(found, tuple) else (found,)


def _mapping(model):
    chosen = tuple(model.mapping)
    return lambda *values: tuple(values[number] for number in chosen)


def _shift(model):
    offset = float(model.offset.value)
    return lambda x: (x + offset,)


def _scale(model):
    factor = float(model.factor.value)
    return lambda x: (x * factor,)


def _const(model):
    amplitude = float(model.amplitude.value)
    return lambda x: (np.full(np.shape(x), amplitude),)


def _affine(model):
    (xx, xy), (yx, yy) = np.asarray(model.matrix.value, float)
    x0, y0 = np.ravel(model.translation.value).astype(float)
    return lambda x, y: (xx * x + xy * y + x0, yx * x + yy * y + y0)


def _polynomial(model):
    """sum of c_ij x^i y^j, by Horner's scheme: in y for each power of x, then in x."""
    if (model.x_domain, model.y_domain) != (model.x_window, model.y_window):
        return None
    degree = model.degree
    terms = [[float(getattr(model, f"c{i}_{j}").value) for j in range(degree + 1 - i)] for i in range(degree + 1)]

    def evaluate(x, y):
        total = 0.0
        for of_y in reversed(terms):
            part = 0.0
            for coefficient in reversed(of_y):
                part = part * y + coefficient
            total = total * x + part
        return (total,)

    return evaluate


KINDS = {
    Mapping: _mapping,
    Identity: lambda model: lambda *values: values,
    Shift: _shift,
    Scale: _scale,
    Const1D: _const,
    AffineTransformation2D: _affine,
    Polynomial2D: _polynomial,
}
