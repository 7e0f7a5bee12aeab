"""What a picture is: pixels with a colour scale, or values along an axis."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Marks:
    """What is drawn over an image, in its pixels from 0."""

    kind: str  # "source": circles; "aperture", "background": lines along the spectrum; "trace": a line from point to point
    x: np.ndarray  # of sources and points; of lines: their ends, (2,) each, NaN where a line runs from edge to edge
    y: np.ndarray


@dataclass(frozen=True)
class Image:
    """A picture of pixels, the first row at the bottom."""

    values: np.ndarray
    low: float  # the values that the ends of the colour scale stand for
    high: float
    unit: str
    caption: str
    marks: tuple = ()  # of Marks


@dataclass(frozen=True)
class Curves:
    """Values along an axis."""

    x: list  # of arrays, one a curve
    y: list
    x_label: str
    y_label: str
    caption: str
    points: bool = False  # measurements one by one, not a line
    errors: list = field(default_factory=list)  # of arrays, one a curve; none where they are not drawn
    names: list = field(default_factory=list)  # of the curves, where a legend tells them
    log: bool = False  # the values in powers of ten
