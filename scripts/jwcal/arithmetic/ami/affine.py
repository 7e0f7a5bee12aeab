"""How the pupil is stretched, sheared and turned in the image."""

from dataclasses import dataclass

import numpy as np

from ...model import named_files
from ...vocabulary.errors import ConfigError

NAMES = ("mx", "my", "sx", "sy", "xo", "yo")


@dataclass(frozen=True)
class Affine:
    """x' = mx x + sx y + xo, y' = my y + sy x + yo: what is at (x, y) of the real pupil is at (x', y') of the ideal one; x is along rows.

    Shifts of the whole pupil do not change an image's intensity.
    """

    mx: float = 1.0
    my: float = 1.0
    sx: float = 0.0
    sy: float = 0.0
    xo: float = 0.0
    yo: float = 0.0

    @property
    def of_image(self):
        """The matrix (2, 2) that takes places in the image to where the ideal pupil's transform has the same value.

        Affine theorem of the Fourier transform: Bracewell et al. 1993, Electronics Letters 29, 304.
        """
        return np.array([[self.my, -self.sy], [-self.sx, self.mx]]) / (self.mx * self.my - self.sx * self.sy)


# Measured in orbit: Sivaramakrishnan et al. 2023, PASP 135, 015003
COMMISSIONING = Affine(mx=0.992820, my=0.998540, sx=0.00618605, sy=-0.00727008)


def rotation(degrees):
    """The pupil turned counterclockwise."""
    sine, cosine = float(np.sin(np.radians(degrees))), float(np.cos(np.radians(degrees)))
    return Affine(cosine, cosine, -sine, sine)


def of_file(path):
    """The user's own: an ASDF file with mx, my, sx, sy, xo, yo; or rotradccw, a counterclockwise turn [rad], in place of them.

    Raises
    ------
    ConfigError
        The file lacks some of them, or they leave no area.
    """
    tree = named_files.tree(path, "affine2d")
    try:
        if tree.get("rotradccw") is not None:
            return rotation(float(np.degrees(tree["rotradccw"])))
        found = Affine(*(float(tree[name]) for name in NAMES))
    except (KeyError, TypeError, ValueError, AttributeError):
        what = f"affine2d of ami_analyze needs the numbers {', '.join(NAMES)}"
        raise ConfigError(what, path, "Write them to the ASDF file, or rotradccw in place of them") from None
    if not abs(found.mx * found.my - found.sx * found.sy) > 1e-6:
        raise ConfigError("affine2d of ami_analyze maps the pupil to a line", path, "Correct its numbers")
    return found
