"""What changes from integration to integration: a transit, and the pointing's jitter."""

from dataclasses import dataclass

import numpy as np

from . import scene

CURVE = np.dtype([("integration", "i4"), ("mjd_utc", "f8"), ("factor", "f8"), ("dx", "f8"), ("dy", "f8")])


@dataclass(frozen=True)
class Transit:
    """A dip of a star's light, with straight flanks.

    Attributes
    ----------
    depth : part of the light that is lost
    middle, duration : parts of the whole exposure (all of its segments), from the first contact to the last
    ingress : part of the duration that each flank takes
    source : id in the scene; None is the brightest star
    """

    depth: float = 0.01
    middle: float = 0.5
    duration: float = 0.4
    ingress: float = 0.15
    source: int | None = None

    def factor(self, phase):
        """What the star's flux is multiplied with at phases of the exposure (0 to 1)."""
        inside = (self.duration / 2 - np.abs(phase - self.middle)) / (self.ingress * self.duration)
        return 1 - self.depth * np.clip(inside, 0, 1)


@dataclass(frozen=True)
class Series:
    """A time series.

    Attributes
    ----------
    transit : Transit or None
    jitter : pixels, rms of each coordinate in each integration
    drift : pixels in x and y from the first integration of the exposure to the last
    seed : of the jitter
    """

    transit: Transit | None = Transit()
    jitter: float = 0.0
    drift: tuple = (0.0, 0.0)
    seed: int = 1

    def curve(self, plan):
        """What is done to each integration of an exposure, or of its segment: array of CURVE.

        Parameters
        ----------
        plan : exposures.Taken
        """
        readout = plan.setup.readout
        first, total = (plan.identity.segment[2], plan.identity.segment[4]) if plan.identity.segment else (1, readout.nints)
        out = np.zeros(total, CURVE)
        out["integration"] = np.arange(total) + 1
        out["mjd_utc"] = plan.began.mjd + (np.arange(total) * readout.period + readout.effinttm / 2) / 86400
        phase = (np.arange(total) + 0.5) / total
        out["factor"] = self.transit.factor(phase) if self.transit else 1.0
        moved = self.jitter * np.random.default_rng([self.seed, 41]).standard_normal((2, total))
        for axis, name in enumerate(("dx", "dy")):
            out[name] = moved[axis] + self.drift[axis] * (np.arange(total) / max(total - 1, 1))
        return out[first - 1 : first - 1 + readout.nints]

    def render(self, field, plan, gain):
        """The light (int, row, col) [e-/s], the catalogue at rest, and the curve; see `exposures.light_on`."""
        curve = self.curve(plan)
        placed = scene.place(field, plan.seen, gain)
        varies = self._varies(placed.sources)
        if (curve["dx"] == 0).all() and (curve["dy"] == 0).all():
            rest, star = placed.image(every=~varies), placed.image(every=varies) - placed.even
            light = rest + curve["factor"][:, None, None] * star
        else:
            light = np.stack([placed.image((row["dx"], row["dy"]), np.where(varies, row["factor"], 1.0)) for row in curve])
        return light, placed.catalogue(), curve

    def _varies(self, sources):
        if self.transit is None:
            return np.zeros(len(sources), bool)
        if self.transit.source is not None:
            return np.asarray(sources["id"]) == self.transit.source
        stars = np.asarray(sources["kind"]) == "star"
        return np.arange(len(sources)) == np.argmax(np.where(stars, np.asarray(sources["flux"]), -1))
