"""The optical elements as references: real ones from a folder where they are there, else made up, at the instrument's scales.

The made-up optics are affine, so that each has an exact inverse: focal lengths, offsets and turns are those of the instrument, rounded, its
distortions are left out. Dispersing elements: groove densities and angles after Dorner et al. 2016 and Jakobsen et al. 2022, A&A 661, A80
(dispersions); those of G140M and G395H reproduce traces measured on the ground.
"""

from pathlib import Path

import numpy as np
from astropy.modeling.models import AffineTransformation2D, Mapping, Polynomial1D, Polynomial2D, Shift

from .optics import COLUMNS, ROWS, SLITS

# groove density [1/m], theta_x, theta_y, theta_z, tilt_y [deg]
GRATINGS = {
    "G140M": (95396.26, 0.03597914, 0.0, -0.42243474, -4.18307),
    "G235M": (57060.0, 0.0330, 0.0, -0.4230, -4.18307),
    "G395M": (34108.0, 0.0290, 0.0, -0.4250, -4.18307),
    "G140H": (253000.0, 0.0500, 0.0, -0.4260, -8.84044),
    "G235H": (150150.0, 0.0370, 0.0, -0.4280, -8.84044),
    "G395H": (89408.7, 0.02301547, -0.04043794, -0.42973958, -8.8),
    "MIRROR": (0.0, 0.0161, -0.7025, -0.1, 0.0),
}
PRISM = {
    "angle": -16.5,
    "kcoef": [0.58339748, 0.46085267, 3.8915394],
    "lcoef": [0.00252643, 0.010078333, 1200.556],
    "tcoef": [-2.66e-05, 0.0, 0.0, 0.0, 0.0, 0.0],
    "tref": 35.0,
    "pref": 0.0,
    "wbound": [4e-07, 7e-06],
    "theta_x": 0.03333,
    "theta_y": -0.27547,
    "theta_z": -0.14199,
    "tilt_x": 0.0,
    "tilt_y": 24.29,
}
TILT = {"x": (-8555.502, 0.336739093065), "y": (0.0, 0.0333843045)}  # arcsec for a unit of the sensor, and its reading in the angles above
RANGES = {  # micron, and order: of a filter (a lamp) with a grating
    **{f"{lamp}_G140{r}": (-1, 1.0, 1.8) for lamp in ("FLAT1", "LINE1") for r in "MH"},
    **{f"{lamp}_G235{r}": (-1, 1.7, 3.1) for lamp in ("FLAT2", "LINE2") for r in "MH"},
    **{f"{lamp}_G395{r}": (-1, 2.9, 5.3) for lamp in ("FLAT3", "LINE3") for r in "MH"},
    **{f"REF_G140{r}": (-1, 1.3, 1.7) for r in "MH"},
    **{f"F070LP_G140{r}": (-1, 0.7, 1.27) for r in "MH"},
    **{f"F100LP_G140{r}": (-1, 0.97, 1.89) for r in "MH"},
    **{f"F170LP_G235{r}": (-1, 1.66, 3.17) for r in "MH"},
    **{f"F290LP_G395{r}": (-1, 2.87, 5.27) for r in "MH"},
    **{f"{lamp}_PRISM": (-1, 0.6, 5.3) for lamp in ("CLEAR", "FLAT4", "FLAT5", "LINE4", "TEST")},
    "F070LP_MIRROR": (0, 0.7, 5.3),
    "F100LP_MIRROR": (0, 1.0, 5.3),
    "F110W_MIRROR": (0, 0.96, 1.24),
    "F140X_MIRROR": (0, 0.78, 2.1),
    "F170LP_MIRROR": (0, 1.7, 5.3),
    "F290LP_MIRROR": (0, 2.9, 5.3),
    "CLEAR_MIRROR": (0, 0.6, 5.3),
    "TEST_MIRROR": (0, 0.6, 5.3),
}
PIXEL = 18e-6  # m
PITCH, OPEN = (105e-6, 204e-6), (78e-6, 175e-6)  # m, of the shutters, across and along; Ferruit et al. 2022, A&A 661, A81
WIDTHS = {"S200A1": 81.35e-6, "S200A2": 80.7e-6, "S400A1": 159.24e-6, "S1600A1": 631.34e-6, "S200B1": 79.26e-6}  # m
FIRST_SLIT = (26.972428e-3, -2.716702e-3, 1.271170e-3)  # m: where S200A1 was measured on the ground, and its length
SLICE = (0.8e-3, 12e-3)  # m, at the slicer; Boker et al. 2022, A&A 661, A82
SLICES = 30
ENTRANCE = (41.2909e-3, 0.0, 0.05002, 0.10271142)  # m, where the slicer's field is in the plane of the shutters, and how much smaller
COLLIMATOR = ((1.574, 0.010), (-0.0136, 1.646), (-0.0020, -0.2950))  # tangents for a metre, and in the middle
CAMERA = ((3.540, 0.031), (-0.027, 3.717), (0.0020, 0.2952))
FORE = ((1.2230, 1.0902), (-1.0758, 1.2425), (0.0002, 0.0002))
OTE = ((-1567.7, -7.27), (-3.59, 1568.3), (379.43, -428.90))  # arcsec
DETECTORS = {"NRS1": (PIXEL, -38.1708e-3, -18.4230e-3), "NRS2": (-PIXEL, 38.1708e-3, 18.4223e-3)}


def from_folder(folder):
    """The newest file of each type in a folder of real references: jwst_nirspec_<type>_<number>.<ext>."""
    files = {}
    for path in sorted(Path(folder).glob("jwst_nirspec_*_*.*")):
        kind = path.name.split("_")[2]
        files[kind] = path
    return files


def _affine(matrix):
    """(x, y) -> (x, y), with its inverse."""
    model = AffineTransformation2D(np.array(matrix[:2], float), np.array(matrix[2], float))
    inverse = np.linalg.inv(np.array(matrix[:2], float))
    model.inverse = AffineTransformation2D(inverse, -inverse @ np.array(matrix[2], float))
    return model


def _backwards(matrix):
    """The model whose inverse is the affine one: collimator files map directions on places."""
    model = _affine(matrix)
    turned = model.inverse
    turned.inverse = _affine(matrix)
    return turned


def _plane(constant, first, second):
    return Polynomial2D(1, c0_0=constant, c1_0=first, c0_1=second)


def camera():
    return {"model": _affine(CAMERA)}


def collimator():
    return {"model": _backwards(COLLIMATOR)}


def fore():
    model = Mapping((0, 1), n_inputs=3) | _planes(FORE)
    model.inverse = Mapping((0, 1), n_inputs=3) | _planes(_inverted(FORE))
    return {"model": model}


def _planes(matrix):
    return Mapping((0, 1, 0, 1)) | _plane(matrix[2][0], *matrix[0]) & _plane(matrix[2][1], *matrix[1])


def _inverted(matrix):
    inverse = np.linalg.inv(np.array(matrix[:2], float))
    return (*inverse.tolist(), (-inverse @ np.array(matrix[2], float)).tolist())


def ote():
    return {"model": _affine(OTE), "meta": {"output_units": "arcsec"}}


def fpa():
    def detector(pixel, x, y):
        scale = AffineTransformation2D(np.array([[pixel, 0.0], [0.0, pixel]]), np.zeros(2))
        return scale | Shift(x) & Shift(y)

    return {f"{name.lower()}_model": detector(*place) for name, place in DETECTORS.items()}


def disperser(grating):
    """The tree of a grating, the prism or the mirror."""
    sensors = {
        f"gwa_tilt{axis}": {
            "temperatures": [37.17],
            "tilt_model": Polynomial1D(1, c0=-slope * zero, c1=slope),
            "unit": "arcsec",
            "zeroreadings": [zero],
        }
        for axis, (slope, zero) in TILT.items()
    }
    if grating == "PRISM":
        return PRISM | sensors
    density, x, y, z, tilt = GRATINGS[grating]
    return sensors | {"groovedensity": density, "theta_x": x, "theta_y": y, "theta_z": z, "tilt_x": 0.0, "tilt_y": tilt}


def wavelengthrange():
    """All combinations of a filter or lamp and a grating."""
    return {
        "waverange_selector": list(RANGES),
        "wavelengthrange": [[low * 1e-6, high * 1e-6] for _, low, high in RANGES.values()],
        "order": [order for order, *_ in RANGES.values()],
    }


def slicer():
    """Slices outwards from the middle in turn, to both sides: 0 and 1 touch there."""
    rows = [(n, (-1) ** n * SLICE[0] * (n // 2 + 0.5), 0.0, *SLICE) for n in range(SLICES)]
    return {"model": _affine(((1.0, 0.0), (0.0, 1.0), (0.0, 0.0))), "data": _places(rows)}


def ifufore():
    x, y, *size = ENTRANCE
    there = ((size[0], 0.0), (0.0, size[1]), (x, y))
    model = Mapping((0, 1), n_inputs=3) | _planes(there)
    model.inverse = Mapping((0, 1), n_inputs=3) | _planes(_inverted(there))
    return {"model": model}


def chromcorr():
    """The fore optics bend all colours alike here."""
    both = Mapping((0, 1, 0, 1, 2)) | _plane(0.0, 1.0, 0.0) & _plane(0.0, 0.0, 1.0) & Polynomial1D(1, c0=0.0, c1=1.0)
    model = Mapping((0, 1, 2)) | both
    model.inverse = Mapping((0, 1, 2)) | both.copy()
    return {"model": model}


def ifupost():
    """Each slice becomes a slit of its own: one below the other, a tenth of the size."""
    tree = {}
    for number in range(SLICES):
        side, rank = (-1) ** number, number // 2
        middle = side * SLICE[0] * (rank + 0.5)
        linear = Shift(-middle) & Shift(0.0) | AffineTransformation2D(np.diag([0.1009, 0.1004]), np.zeros(2))
        linear = linear | Shift(0.04868) & Shift(side * (0.00843 + 0.00198 * rank))
        tree[f"slice_{number}"] = {"linear": linear, "xpoly": _plane(0.0, 1.0, 0.0), "ypoly": _plane(0.0, 0.0, 1.0)} | {
            f"{axis}poly_distortion": _plane(0.0, 0.0, 0.0) for axis in "xy"
        }
        for model in ("xpoly", "ypoly", "xpoly_distortion", "ypoly_distortion"):
            tree[f"slice_{number}"][model].inverse = tree[f"slice_{number}"][model].copy()
    return tree


def msa(optics, siaf):
    """Quadrants and slits where the SIAF has them, seen through the telescope; moved together so that S200A1 is where it was measured.

    Parameters
    ----------
    optics : optics.Optics
        With fore and ote.
    siaf : pysiaf.Siaf
    """

    def seen(name):
        return np.array(optics.from_field(siaf[name].V2Ref, siaf[name].V3Ref), float)

    moved = np.array(FIRST_SLIT[:2]) - seen("NRS_S200A1_SLIT")
    tree = {}
    for number in range(1, 5):
        corner = seen(f"NRS_FULL_MSA{number}") + moved - np.array(PITCH) * (np.array([COLUMNS, ROWS]) - 1) / 2
        columns, rows = np.meshgrid(np.arange(COLUMNS), np.arange(ROWS))
        places = [np.arange(1, COLUMNS * ROWS + 1), columns.ravel() * PITCH[0], rows.ravel() * PITCH[1]]
        sizes = [np.full(COLUMNS * ROWS, size) for size in OPEN]
        tree[f"Q{number}"] = {
            "model": Shift(float(corner[0])) & Shift(float(corner[1])),
            "data": _places(list(zip(*places, *sizes, strict=True))),
        }
    rows = []
    for number, name in enumerate(SLITS):
        ends = np.array(siaf[f"NRS_{name}_SLIT"].corners("tel", rederive=False))
        inside = np.array(optics.from_field(*ends), float)
        length = FIRST_SLIT[2] if name == SLITS[0] else float(np.ptp(inside[1]))
        rows.append((number, *(seen(f"NRS_{name}_SLIT") + moved), WIDTHS[name], length))
    tree["Q5"] = {"model": Shift(0.0) & Shift(0.0), "data": _places(rows)}
    return tree


def _places(rows):
    kinds = [("NO", "<i4"), *((name, "<f8") for name in ("XC", "YC", "SIZEX", "SIZEY"))]
    return np.array([tuple(row) for row in rows], kinds)
