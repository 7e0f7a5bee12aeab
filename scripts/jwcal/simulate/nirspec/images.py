"""NIRSpec's images: the sky through the shutters, all open, or through the wide slit, with the mirror in place of a grating.

files = nirspec.write_references("references", mode="image", grating="MIRROR")
one = nirspec.simulate_image(files, exp_type="NRS_MSATA", stars=[Star(rate=500.0), Star(3.0, -2.0, 200.0)])
one.truth.places                # pixels of the subarray, from 0
"""

from dataclasses import dataclass

import numpy as np

from .. import exposures, scene
from ..spectrograph import DIFFRACTION
from . import rates, response

SLIT = ("NRS_WATA",)  # that look through S1600A1; the others through the shutters


@dataclass(frozen=True)
class Star:
    """A star: where it is from the target in V2 and V3 [arcsec], and DN/s of all of its light."""

    v2: float = 0.0
    v3: float = 0.0
    rate: float = 500.0


def simulate_image(
    files,
    *,
    exp_type="NRS_IMAGE",
    filter="F110W",
    stars=(Star(),),
    background=1.0,
    target=exposures.TARGET,
    roll=30.0,
    dither=None,
    start=exposures.START,
    identity=None,
    cosmic_rays=(),
    noise=True,
    seed=1,
    header=None,
    **options,
):
    """An image.

    Parameters
    ----------
    files : dict
        type -> path of the references of mode "image".
    exp_type : str
        NRS_IMAGE, NRS_WATA, NRS_MSATA, NRS_TACONFIRM, NRS_CONFIRM, NRS_FOCUS, NRS_MIMF.
    stars : sequence of Star
    background : float
        DN/s in each pixel that sees the sky.
    filter, target, roll, dither, start, identity, cosmic_rays, noise, seed, header, options
        As `simulate_slits` takes them.

    Returns
    -------
    rates.Simulated
        Its truth's `places` are (x, y) of each star in pixels of the subarray, from 0, by its number.
    """
    known = {"target": target, "roll": roll, "dither": dither, "start": start, "identity": identity, "header": header}
    through_slit = exp_type in SLIT
    opening = (lambda optics: optics.to_field(optics.slit("S1600A1"))) if through_slit else (lambda optics: None)
    stage = rates.Stage(files, exp_type, opening, "MIRROR", filter, options, **known)
    wavelength, sub = float(np.mean(stage.band)), stage.setup.subarray
    seen = _open(stage, wavelength) if through_slit else np.ones(sub.shape)
    v2, v3 = stage.field_of(*target)
    sigma = scene.SIGMA * DIFFRACTION * wavelength / response.PIXEL
    for number, star in enumerate(stars):
        x, y = stage.optics.from_field(v2 + star.v2, v3 + star.v3, wavelength)
        x, y = (float(c) for c in stage.optics.from_shutters(x, y, wavelength, stage.setup.detector))
        place = x - (sub.xstart - 1), y - (sub.ystart - 1)
        stage.places[number] = [place]
        if -50 < place[0] < sub.xsize + 50 and -50 < place[1] < sub.ysize + 50:
            scene.add_star(stage.image, *place, star.rate, sigma)
    stage.image += background
    stage.image *= seen
    return stage.done(stars, None, noise=noise, seed=seed, cosmic_rays=cosmic_rays)


def _open(stage, wavelength):
    """The part of each pixel that lies in the image of the wide slit."""
    sub, slit = stage.setup.subarray, stage.optics.slit("S1600A1")
    ends = np.array([-0.5, 0.5])
    x, _ = stage.optics.to_pixel(slit, ends, 0.0, wavelength, stage.setup.detector)
    _, y = stage.optics.to_pixel(slit, 0.0, ends, wavelength, stage.setup.detector)
    parts = []
    for edges, first, size in ((y, sub.ystart, sub.ysize), (x, sub.xstart, sub.xsize)):
        pixels = np.arange(size) + first - 1
        parts.append(np.clip(np.minimum(pixels + 0.5, edges.max()) - np.maximum(pixels - 0.5, edges.min()), 0, 1))
    return parts[0][:, None] * parts[1]
