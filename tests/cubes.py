"""Exposures of MIRI's spectrometer for cubes, with references."""

import numpy as np

from jwcal.model.references import References
from jwcal.simulate import cube_references, mrs
from jwcal.simulate.spectrograph import Source, Spectrum
from sky import SHARED  # noqa: F401

LINE = 5.3
STAR = Source(Spectrum(flux=0.05, slope=-1.0, lines=((LINE, 2.0, 0.004),)))


def sky(wavelength):
    return 5 + wavelength


def references(folder, channels="12", band="SHORT"):
    """The files of the spectrometer, and cubepar for all bands."""
    limits = mrs.RANGES[band]
    table = np.arange(min(limits[int(c)][0] for c in channels) + 0.02, max(limits[int(c)][1] for c in channels), 0.003)
    cubepar = cube_references.write_cubepar(folder / "cubepar.fits", cube_references.mrs_bands(mrs.RANGES), table)
    return mrs.write_references(folder, channels=channels, band=band) | {"cubepar": cubepar}


def exposure(files, sources=(STAR,), background=sky, kind="POINT", **more):
    """A calibrated exposure with the type of its source."""
    made = mrs.simulate_mrs({k: v for k, v in files.items() if k != "cubepar"}, sources=sources, background=background, **more).exposure
    made.header.sci["SRCTYPE"] = kind
    return made


def refs(files, exposure):
    return References({"cubepar": files["cubepar"]}, exposure.header)


def extraction(folder, channel, radius=0.8, ring=(1.35, 1.65)):
    """References extract1d and apcorr for a channel, the latter of what circles hold exactly."""
    low, high = mrs.RANGES["SHORT"][channel]
    at, radii = np.linspace(low, high, 4), radius + np.array([-0.3, 0.0, 0.3])
    spaxel = cube_references.MRS_SPAXELS[str(channel)][0]
    factors = cube_references.corrections(at, mrs.OPTICS[channel], radii, ring, spaxel)
    extract1d = cube_references.write_extract1d(
        folder / f"extract1d{channel}.asdf", at, np.full(4, radius), np.full(4, ring[0]), np.full(4, ring[1])
    )
    apcorr = cube_references.write_apcorr(folder / f"apcorr{channel}.asdf", at, np.repeat(radii[:, None], 4, axis=1), factors)
    return {"extract1d": extract1d, "apcorr": apcorr}
