"""Wide fields: direct images, and the same behind grisms; point sources and galaxies that overlap."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.table import Table

from .. import exposures, scene
from ..detector import make_detector
from ..from_rates import Exposed, Shot, expose
from ..instruments import Subarray
from ..spectrograph import Spectrum
from .light import disperse
from .optics import DIRECT
from .references import look_references, sky_template, write_references
from .series import FIRST, STAR


@dataclass(frozen=True)
class Target:
    """A source in a wide field.

    Attributes
    ----------
    x, y : pixels from 0, of the subarray of the first exposure
    spectrum : callable, wavelength [micron] -> Jy
    radius : arcsec, of half the light along the major axis; 0 is a point source
    sersic, axis_ratio, pa : as `scene.Scene` has them
    """

    x: float
    y: float
    spectrum: Callable = STAR
    radius: float = 0.0
    sersic: float = 1.0
    axis_ratio: float = 1.0
    pa: float = 0.0


def _power(flux, slope=-1.0, lines=(), at=1.5):
    return Spectrum(flux=flux, at=at, slope=slope, lines=lines)


# A star, a galaxy and a faint star alone; the third source's spectrum lies on the fourth's behind one grism, on the fifth's behind
# the other.
FIELDS = {
    "NIRISS": ((450, 450), [
        Target(430, 240, _power(5e-05)), Target(390, 285, _power(0.0001, 0.3), 0.15, 1.0, 0.6, 40.0),
        Target(300, 330, _power(7.5e-05, -1.5)), Target(340, 333, _power(3e-05, 0.5)), Target(304, 375, _power(3.75e-05)),
        Target(350, 420, _power(7.5e-06)),
    ]),
    "NIRCAM": ((640, 640), [
        Target(80, 90, _power(0.0002, at=4.0)), Target(115, 130, _power(0.0004, 0.3, at=4.0), 0.15, 1.0, 0.6, 40.0),
        Target(160, 170, _power(0.0003, -1.5, at=4.0)), Target(220, 173, _power(0.00012, 0.5, at=4.0)),
        Target(164, 215, _power(0.00016, at=4.0)), Target(250, 250, _power(3e-05, at=4.0)),
    ]),
    "MIRI": ((300, 500), [
        Target(60, 250, _power(0.00024, at=8.0)), Target(120, 240, _power(0.00048, 0.3, at=8.0), 0.3, 1.0, 0.6, 40.0),
        Target(200, 260, _power(0.0004, -1.5, at=8.0)), Target(203, 320, _power(0.00016, 0.5, at=8.0)),
    ]),
}  # fmt: skip
DEEP = {"NIRCAM": "SHALLOW4", "NIRISS": "NIS", "MIRI": "FASTR1"}  # of spectra; direct images keep every frame
DITHERS = ((0.0, 0.0), (0.42, 0.27))


class FieldMade(NamedTuple):
    """A wide field: what was written, and what was put in."""

    exposures: Exposed  # direct images first, then each grism's
    sources: list[Target]
    scene: scene.Scene  # where they are in the sky, and what they give in the direct image [Jy]
    places: list[np.ndarray]  # of each exposure: (source, 2) pixels x, y from 0 of the direct images
    paths: list[list[dict]]  # of each exposure: for each source, order -> PathOfLight; empty for direct images
    images: list[np.ndarray]  # of each exposure: DN/s without noise, sky included
    grisms: tuple


def expose_field(
    out, grisms, *, sources=None, shape=None, dithers=DITHERS, sky=0.5, direct_sky=0.25, identity=FIRST, turned=0.0, noise=True, **options
):
    """A wide field: direct images, and the same behind each grism, dithered, with its references.

    Parameters
    ----------
    out : path
    grisms : sequence of Grism
        Of one instrument, behind one filter.
    sources : sequence of Target, optional
        By default those of `FIELDS`.
    shape : (col, row), optional
        Of the corner of the detector that is read.
    dithers : sequence of (x, y)
        arcsec.
    sky : float
        DN/s behind a grism, of the template in the bkg reference.
    direct_sky : float
        MJy/sr.
    identity : headers.Identity
        The activity is that of the direct images; each grism has the next.
    turned : float
        FWCPOS less that of the specwcs references [deg]; NIRISS only.
    **options
        What `instruments.setup` and `from_rates.expose` take.

    Returns
    -------
    FieldMade
    """
    out, kept = Path(out), {key: options.pop(key) for key in ("cosmic_rays", "seed", "cache") if key in options}
    usual, usual_sources = FIELDS[grisms[0].instrument]
    sources, corner = list(sources or usual_sources), Subarray("FULL", 1, 1, *(shape or usual))  # product names have no other's name
    common = {"detector": grisms[0].detector, "subarray": corner, "ngroups": 5, "tframe": 5.0, **options}
    exp_type, filter, pupil = DIRECT[grisms[0].instrument]
    takes = [(exp_type, {"filter": filter or grisms[0].filter, "pupil": pupil or grisms[0].pupil}, None)]
    takes += [(g.exp_type, {"readpatt": DEEP[g.instrument], "filter": g.filter, "pupil": g.pupil}, g) for g in grisms]
    shots, made, field = [], ([], [], []), None
    for activity, (kind, wheels, grism) in enumerate(takes, start=int(identity.activity)):
        for number, (x, y) in enumerate(dithers, start=1):
            known = common | wheels | {"identity": replace(identity, activity=f"{activity:02d}", exposure=number)}
            known["dither"] = {"x": x, "y": y, "number": number, "total": len(dithers)}
            if grism is not None and grism.angle is not None:
                known["header"] = {"FWCPOS": grism.angle + turned}
            plan = exposures.take(kind, **{k: v for k, v in known.items() if k != "header"})
            if field is None:
                field = _in_the_sky(plan, sources, grisms[0], direct_sky)
            places, angles = _places(plan, field)
            if grism is None:
                image, paths = scene.render(field, plan.look, 1.0)[0], []
            else:
                image, paths = _dispersed(plan, grism, sources, places, angles, turned)
                image += sky * sky_template(image.shape)
            truth = {"SOURCES": _listed(field, sources, places, grisms[0]), "NOISELESS": (image.astype(np.float32), "DN/s")}
            shots.append(Shot(kind, image, known, truth))
            for one, what in zip(made, (places, paths, image), strict=True):
                one.append(what)
    types = ("distortion",) if grisms[0].instrument == "NIRCAM" else ("distortion", "filteroffset")
    response = make_detector(plan.setup.instrument, plan.setup.detector, corner).flat
    files = write_references(out / "references", grisms, sky=corner, response=response) + look_references(
        out / "references", plan.setup, types
    )
    return FieldMade(expose(out, shots, files, noise=noise, **kept), sources, field, *made, tuple(grisms))


def _in_the_sky(plan, sources, grism, level):
    """Where the sources of a field are, and what they give in a direct image: the mean of their flux over the band, by photons."""
    wavelength = np.linspace(*grism.band, 400)
    weight = 1 / grism.conversion(wavelength, grism.orders[0])
    ra, dec = plan.look.pixel_to_sky(*(np.array([getattr(s, axis) for s in sources], float) for axis in "xy"))
    table = Table(
        {
            "id": np.arange(1, len(sources) + 1),
            "kind": ["galaxy" if s.radius else "star" for s in sources],
            "ra": ra % 360,
            "dec": dec,
            "flux": [np.average(s.spectrum(wavelength), weights=weight) for s in sources],
            **{name: [float(getattr(s, name)) for s in sources] for name in ("radius", "sersic", "axis_ratio", "pa")},
        }
    )
    for name, unit in (("ra", "deg"), ("dec", "deg"), ("flux", "Jy"), ("radius", "arcsec"), ("pa", "deg")):
        table[name].unit = unit
    return scene.Scene(level, table, scene.Psf(fwhm=_fwhm(plan, grism)))


def _fwhm(plan, grism):
    """The PSF is as wide in direct images as behind the grism."""
    return grism.fwhm or plan.setup.optics[1]


def _places(plan, field):
    """Pixels of the direct images, (source, 2), and the angle of their major axes from the x axis [rad]."""
    placed = scene.place(field, plan.look, 1.0)
    return np.stack([np.asarray(placed.sources["x"]), np.asarray(placed.sources["y"])], axis=-1), np.asarray(placed.angles)


def _dispersed(plan, grism, sources, places, angles, turned):
    """Spectra of all sources [DN/s], and their paths."""
    image, paths = np.zeros(plan.setup.subarray.shape), []
    scale = np.sqrt(plan.look.xscale * plan.look.yscale)
    known = {"fwhm": _fwhm(plan, grism), "velocity": plan.headers()[1]["VELOSYS"], "turned": turned}
    for source, (x, y), angle in zip(sources, places, angles, strict=True):
        kernel = scene.shape_of_galaxy(source.radius / scale, source.sersic, source.axis_ratio, angle) if source.radius else None
        paths.append(disperse(image, grism, x, y, source.spectrum, kernel=kernel, **known))
    return np.maximum(image, 0), paths


def _listed(field, sources, places, grism, points=200):
    """The sources with their pixels and spectra, for the file of truth."""
    table = field.sources.copy()
    wavelength = np.linspace(*grism.band, points)
    table["x"], table["y"] = places.T
    table["wavelength"] = np.broadcast_to(wavelength, (len(sources), points))
    table["spectrum"] = np.array([s.spectrum(wavelength) for s in sources])
    return table
