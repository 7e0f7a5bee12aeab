"""MIRI's low resolution spectra as raw exposures: nods along the slit, and time series without a slit, in segments.

    from jwcal.simulate import prism

    made = prism.expose_nods("folder")           # two nods of a star, each the other's background
    made.exposures.uncals, made.truth[0].paths, made.spectrum
    series = prism.expose_series("other", each=4)        # a transit of 8 integrations in two files

The light is painted by `spectrograph`; the associations' rules recognise the nods by their PATTTYPE.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.io import fits
from scipy.special import erf

from . import exposures, instruments, pointing, references, spectrograph
from .from_rates import Exposed, Shot, expose
from .headers import Identity
from .scene import CORE, HALO_SCALE, SIGMA
from .series import Transit
from .spectrograph import DIFFRACTION, SCALE, Dip, Source, Spectrum, simulate_lrs

STAR = Source(Spectrum(flux=4e-4, slope=-1.5))
NODS = (-1.9, 1.9)  # arcsec along the slit
SKY = 20.0  # MJy/sr
SIZES = (6, 8, 10, 12, 16, 20)  # pixels, of extraction apertures
FIRST, TRANSIT = Identity(), Transit()
BOTH = "MIR_LRS-FIXEDSLIT|MIR_LRS-SLITLESS|"


class Prism(NamedTuple):
    """What was written, and what was put in."""

    exposures: Exposed
    truth: list[spectrograph.Truth]  # one for each exposure
    spectrum: Spectrum  # Jy, of the first source
    dip: Dip | None = None


def write_references(folder, width=11):
    """The references of the prism: distortion, specwcs, photom, pathloss, extract1d, apcorr.

    Parameters
    ----------
    folder : path
    width : int
        Of the extraction aperture [pixels].

    Returns
    -------
    dict
        type -> path.
    """
    files = spectrograph.write_lrs_references(folder)
    own = {"extract1d": _extract1d(Path(folder) / "lrs_extract1d.json", width), "apcorr": _apcorr(Path(folder) / "lrs_apcorr.fits")}
    return files | own


def _extract1d(path, width):
    """An aperture about the source of either mode."""
    middle = round(spectrograph.PLACE["IMXSLTL"] - 1)
    slitless = {"xstart": middle - width // 2, "xstop": middle + width // 2, "use_source_posn": True}
    slitless |= {"bkg_coeff": [[middle + side] for side in (-28.5, -16.5, 16.5, 28.5)]}
    nods = {"extract_width": width, "use_source_posn": True}
    entries = [
        {"id": name, "region_type": "target", "dispaxis": 2, "bkg_order": 0, **place}
        for name, place in (("MIR_LRS-FIXEDSLIT", nods), ("MIR_LRS-SLITLESS", slitless))
    ]
    about = {"reftype": "EXTRACT1D", "instrume": "MIRI", "telescope": "JWST", "useafter": references.USEAFTER, "author": "jwcal.simulate"}
    about |= {"pedigree": "DUMMY", "description": "made by jwcal.simulate"}
    path.write_text(json.dumps(about | {"apertures": entries}, indent=1))
    return path


def _apcorr(path):
    """What sums over apertures about a point source have to be multiplied with."""
    wavelength = np.linspace(3, 15, 61)
    factors = 1 / enclosed(np.array(SIZES) / 2, wavelength[:, None])
    kinds = [("subarray", "S15"), ("wavelength", ">f4", wavelength.shape), ("nelem_wl", ">i2"), ("size", "u1", (len(SIZES),))]
    kinds += [("nelem_size", ">i2"), ("apcorr", ">f4", factors.shape), ("apcorr_err", ">f4", factors.shape)]
    rows = [(name, wavelength, wavelength.size, SIZES, len(SIZES), factors, 0 * factors) for name in ("FULL", "SLITLESSPRISM")]
    table = fits.BinTableHDU(np.array(rows, kinds), fits.Header({"SIZEUNIT": "pixels"}), name="APCORR")
    about = spectrograph.reference_keywords("APCORR", "MirLrsApcorrModel") | {"EXP_TYPE": BOTH.split("|")[0], "P_EXP_TY": BOTH}
    fits.HDUList([fits.PrimaryHDU(header=fits.Header(about)), table]).writeto(path, overwrite=True)
    return path


def enclosed(half, wavelength):
    """The part of a point source's light within so many pixels to both sides of it, across the spectrum."""
    size = np.sqrt(2) * SIGMA * DIFFRACTION * wavelength / SCALE
    return CORE * erf(half / size) + (1 - CORE) * erf(half / HALO_SCALE / size)


def expose_nods(out, *, sources=(STAR,), nods=NODS, sky=SKY, identity=FIRST, files=None, header=None, noise=True, **options):
    """Nod along the slit: raw exposures with their references, as `from_rates.expose` leaves them.

    Parameters
    ----------
    out : path
    sources : sequence of spectrograph.Source
    nods : sequence of float
        Where the target is along the slit [arcsec].
    sky : float
        MJy/sr.
    identity : headers.Identity
        Of the first nod.
    files : dict, optional
        type -> path of references in place of those made here.
    header : dict, optional
        Keywords to set.
    noise : bool
    **options
        What `instruments.setup` takes, and `from_rates.expose` (cosmic_rays, seed).

    Returns
    -------
    Prism
    """
    out, kept = Path(out), {key: options.pop(key) for key in ("cosmic_rays", "seed", "cache") if key in options}
    files = files or write_references(out / "references")
    options = {"ngroups": 6, **options}
    shots, truth = [], []
    for number, place in enumerate(nods, start=1):
        dither = {"x": place, "y": 0.0, "number": number, "total": len(nods), "pattern": "ALONG-SLIT-NOD"}
        known = {"dither": dither, "identity": replace(identity, exposure=identity.exposure + number - 1)}
        one = simulate_lrs(files, sources=sources, background=_Even(sky), noise=False, **known, **options)
        known["header"] = {"S_REGION": slit_region(dither), **(header or {})}
        shots.append(Shot("MIR_LRS-FIXEDSLIT", one.truth.image, known | options, {"NOISELESS": (one.truth.image, "DN/s")}))
        truth.append(one.truth)
    return Prism(expose(out, shots, files.values(), noise=noise, **kept), truth, sources[0].spectrum)


def expose_series(
    out, *, sources=(STAR,), nints=8, each=4, transit=TRANSIT, depth=0.01, sky=SKY, identity=FIRST, files=None, noise=True, **options
):
    """A time series without a slit, cut into segments.

    Parameters
    ----------
    out, sources, sky, identity, files, noise, options
        As `expose_nods` takes them.
    nints, each : int
        Integrations in all, and in a file.
    transit : series.Transit or None
        Its shape: contacts and flanks. None: a star that is steady.
    depth : float or callable
        Of the transit, by wavelength: see `spectrograph.Dip`.

    Returns
    -------
    Prism
    """
    out, kept = Path(out), {key: options.pop(key) for key in ("cosmic_rays", "seed", "cache") if key in options}
    files = files or write_references(out / "references")
    options = {"ngroups": 8, **options}
    phases = (np.arange(nints) + 0.5) / nints
    dip = Dip(np.zeros(nints) if transit is None else (1 - transit.factor(phases)) / transit.depth, depth)
    one = simulate_lrs(files, slitless=True, sources=sources, background=_Even(sky), dip=dip, noise=False, **options)
    curve = np.array(list(enumerate(dip.shape, start=1)), [("integration", "i4"), ("shape", "f8")])
    shot = Shot("MIR_LRS-SLITLESS", one.truth.image, {"identity": identity} | options, {"TRANSIT": curve}, each)
    return Prism(expose(out, [shot], files.values(), noise=noise, **kept), [one.truth], sources[0].spectrum, dip)


class _Even:
    """The same surface brightness at all wavelengths."""

    def __init__(self, level):
        self.level = level

    def __call__(self, wavelength):
        return np.full(np.shape(wavelength), self.level)


def slit_region(dither, target=exposures.TARGET, roll=30.0):
    """S_REGION of the slit, as the archive has it in raw files."""
    setup = instruments.setup("MIR_LRS-FIXEDSLIT")
    look = pointing.point(setup, target, roll=roll, dither=(dither["x"], dither["y"]))
    corners = pointing.rotations().pointing(look.attitude, *instruments.siaf("MIRI")["MIRIM_SLIT"].corners("tel", rederive=False))
    return "POLYGON ICRS  " + " ".join(f"{ra:.9f} {dec:.9f}" for ra, dec in zip(*corners, strict=True))
