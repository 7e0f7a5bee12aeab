"""NIRSpec's slicer from rates to spectra: references, exposures that are known, runs of the pipelines, what a circle holds of a star."""

import json
from pathlib import Path

import numpy as np
from astropy.io import fits
from scipy.ndimage import uniform_filter1d

import jwcal
from jwcal.products import stored
from jwcal.settings import chains, facts
from jwcal.simulate import crds_cache, cube_references, headers
from jwcal.simulate import nirspec as simulate
from jwcal.simulate.nirspec import response
from jwcal.simulate.spectrograph import Source, Spectrum
from nirspec import REAL

STAR = Source(Spectrum(flux=5e-3, at=2.0, slope=-0.8))
DITHERS = ((0.0, 0.0), (0.15, 0.25), (-0.25, 0.15))  # arcsec
RADIUS, RING = 0.4, (0.8, 1.2)  # arcsec, of the extract1d reference
SPAXEL = 0.1  # arcsec; pixels and slices are as large


def sky(wavelength):
    return 20 + 2 * np.asarray(wavelength)


def nothing(wavelength):
    return 0 * np.asarray(wavelength)


def references(folder, grating="PRISM", **more):
    """All references, with an aperture correction for what `growth` tells: type -> path."""
    files = simulate.write_references(folder / grating, mode="ifu", grating=grating, real=REAL if REAL.exists() else None, **more)
    at = np.linspace(0.5, 5.7, 12)
    inside = np.array([growth(wavelength, (RADIUS, *RING)) for wavelength in at]).T
    beside = (inside[2] - inside[1]) / (np.pi * (RING[1] ** 2 - RING[0] ** 2))
    factor = 1 / (inside[0] - beside * np.pi * RADIUS**2)
    radii = RADIUS + np.array([-0.1, 0.0, 0.1])
    cube_references.write_apcorr(files["apcorr"], at, np.repeat(radii[:, None], 12, axis=1), np.tile(factor, (3, 1)), "NIRSPEC")
    return files


def growth(wavelength, radii, step=0.01):
    """Parts of a star's light in circles [arcsec], as a cube has it: spread over slice and pixel twice, then over the spaxel."""
    x = np.arange(-3, 3 + step / 2, step)
    total = 0.0
    for share, scale in response.PARTS:
        size = response.blur(wavelength) / np.sqrt(2) * scale
        line = np.exp(-0.5 * (x / size) ** 2) / np.sqrt(2 * np.pi) / size * step
        for _ in range(3):
            line = uniform_filter1d(line, round(SPAXEL / step) | 1, mode="constant")
        total = total + share * np.outer(line, line)
    away = np.hypot(x, x[:, None])
    return np.array([total[away < radius].sum() for radius in radii])


def rate(files, folder=None, number=1, sources=(STAR,), background=sky, noise=False, failed=(), activity="01", **more):
    """A rate of one dither; written to `folder` if there is one."""
    x, y = DITHERS[(number - 1) % len(DITHERS)]
    dither = {"x": x, "y": y, "number": number, "total": len(DITHERS), "pattern": "4-POINT-DITHER"}
    known = {"identity": headers.Identity(exposure=number, activity=activity), "dither": dither, "noise": noise, "failed": failed}
    one = simulate.simulate_slicer(files, sources=sources, background=background, **known, **more)
    if folder is None:
        return one, None
    path = stored.write(one.exposure, Path(folder) / Path(one.exposure.header.name).name)
    fits.setval(path, "DATAMODL", value="IFUImageModel")  # as the peer wants it
    return one, path


def overrides(files, pipeline, **header):
    """The references of a run without CRDS: those that are not given are none."""
    chain = chains.chain(pipeline, {"EXP_TYPE": "NRS_IFU", "DETECTOR": "NRS1", "INSTRUME": "NIRSPEC", "GRATING": "PRISM", **header})
    types = {kind for step in chain.steps for kind in (*facts.about(step.name).required, *facts.about(step.name).optional)}
    return {kind: str(files.get(kind, "N/A")) for kind in sorted(types)}


def run(pipeline, source, files, folder, header=None, **more):
    """Run a pipeline: suffix -> product; these are in `folder` too."""
    cache = Path(folder) / "crds"
    if not cache.exists():
        crds_cache.build(cache, [files.get("photom", files["sflat"])])
    given = overrides(files, pipeline, **(header or {}))
    return jwcal.run_pipeline(pipeline, source, overrides=given, every=True, crds_path=str(cache), out=folder, **more)


def association(folder, name, members, kind="spec3"):
    """Write an association of (path, type)."""
    about = {"asn_type": kind, "asn_rule": "Asn_Lv3NRSIFU", "asn_id": "c1001", "asn_pool": "pool.csv", "program": "01234"}
    members = [{"expname": path.name, "exptype": what} for path, what in members]
    path = Path(folder) / f"{name}_{kind}_asn.json"
    path.write_text(json.dumps({**about, "version_id": "1", "target": "1", "products": [{"name": name, "members": members}]}))
    return path


def table(path):
    return fits.getdata(path, "EXTRACT1D")
