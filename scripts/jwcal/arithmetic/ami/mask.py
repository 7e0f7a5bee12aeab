"""The holes of the mask: where they are, which pairs, triples and quadruples they make, and how they lie on the sky."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ...vocabulary.errors import ConfigError

NAMES = ("B4", "C2", "B5", "B2", "C1", "B6", "C6")  # of the telescope's segments that the holes 1 to 7 look at


@dataclass
class Mask:
    """The geometry of a mask.

    Attributes
    ----------
    holes : (hole, 2) float64
        Centres along an image's rows and columns, m.
    width : float
        From flat side to flat side of a hole, m.
    pupil : float
        Diameter of the circle about the telescope's pupil, m.
    """

    holes: np.ndarray
    width: float
    pupil: float

    @property
    def pairs(self):
        return np.array(list(combinations(range(len(self.holes)), 2)))

    @property
    def triples(self):
        return np.array(list(combinations(range(len(self.holes)), 3))).reshape(-1, 3)

    @property
    def quadruples(self):
        return np.array(list(combinations(range(len(self.holes)), 4))).reshape(-1, 4)

    def on_sky(self, roll, parity):
        """The holes' places (hole, 2) [m] such that a pair's difference is (u, v), to the east and north.

        A source at (east, north) of the image's centre has the fringe phase -2 pi (u east + v north) / wavelength, as OIFITS wants it
        (Duvert, Young & Hummel 2017, A&A 597, A8).

        Parameters
        ----------
        roll : float
            Position angle of the image's columns (the direction of growing rows), deg.
        parity : int
            VPARITY: -1 where rows and columns lie as on the sky seen from the telescope.
        """
        sine, cosine = np.sin(np.radians(roll)), np.cos(np.radians(roll))
        row, column = self.holes.T
        east = parity * column * cosine + row * sine
        north = -parity * column * sine + row * cosine
        return -np.stack([east, north], axis=1)


def of_reference(nrm, chosen=None):
    """The mask that an nrm reference describes.

    Parameters
    ----------
    nrm : Reference
        Keywords F2F, PUPL_CRC, NRM_X_A1, NRM_Y_A1... [m], in the pupil's V2 and V3.
    chosen : sequence of str, optional
        Names of the holes to use; all by default.

    Raises
    ------
    ConfigError
        There are no such holes, or too few.
    """
    x, y = (np.array([float(nrm.header[f"NRM_{axis}_A{k}"]) for k in range(1, len(NAMES) + 1)]) for axis in "XY")
    which = list(range(len(NAMES)))
    if chosen:
        names = [str(name).strip().upper() for name in chosen]
        if len(set(names)) < len(names) or len(names) < 3 or not set(names) <= set(NAMES):
            what = f"chooseholes of ami_analyze has to be three or more of {', '.join(NAMES)}, it is {', '.join(names)}"
            raise ConfigError(what, do="Correct it")
        which = [NAMES.index(name) for name in names]
    # the pupil lies turned and mirrored in the image
    return Mask(np.stack([-y, -x], axis=1)[which], float(nrm.header["F2F"]), float(nrm.header["PUPL_CRC"]))
