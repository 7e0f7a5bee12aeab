"""NIRSpec's slicer from rates to spectra: references, exposures that are known, runs of the pipelines."""

import json
from pathlib import Path

import numpy as np
from astropy.io import fits

import jwcal
from jwcal.products import stored
from jwcal.settings import chains, facts
from jwcal.simulate import crds_cache, headers
from jwcal.simulate import nirspec as simulate
from jwcal.simulate.nirspec.program import ACROSS
from jwcal.simulate.spectrograph import Source, Spectrum
from nirspec import REAL

STAR = Source(Spectrum(flux=5e-3, at=2.0, slope=-0.8))


def sky(wavelength):
    return 20 + 2 * np.asarray(wavelength)


def nothing(wavelength):
    return 0 * np.asarray(wavelength)


def references(folder, grating="PRISM", **more):
    """All references: type -> path."""
    return simulate.write_references(folder / grating, mode="ifu", grating=grating, real=REAL if REAL.exists() else None, **more)


def rate(files, folder=None, number=1, sources=(STAR,), background=sky, noise=False, failed=(), activity="01", **more):
    """A rate of one dither; written to `folder` if there is one."""
    x, y = ACROSS[number - 1]
    dither = {"x": x, "y": y, "number": number, "total": len(ACROSS), "pattern": "4-POINT-DITHER"}
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
