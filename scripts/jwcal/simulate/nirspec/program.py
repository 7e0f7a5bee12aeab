"""NIRSpec's spectra as raw exposures: what the rates are made for, with the references of mode and detectors and a CRDS cache around them.

    made = nirspec.expose_slits("folder", real="real references")       # three nods through S200A1
    made.exposures.uncals, made.simulated[0].truth

A program is of one mode and one grating, and reads a detector with one subarray: few references are chosen by more.
"""

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..from_rates import Exposed, Shot, expose
from ..headers import Identity
from ..series import Transit
from ..spectrograph import Dip, Source, Spectrum
from . import images, rates
from .references import SPECTRAL, write_references
from .shutters import NODS, examples, write_msa

FIRST = Identity()
STAR = Source(Spectrum(flux=0.02, at=2.0, slope=-0.8))  # so bright that what is less than a count in its wings is little
STARS = (images.Star(),)
SKY = 1.0  # MJy/sr
ALONG = (0.0, -1.0, 1.0)  # arcsec, nods along a slit
ACROSS = ((0.0, 0.0), (0.15, 0.25), (-0.25, 0.15), (0.2, -0.2))  # arcsec, dithers of the slicer
NOT_RATES = ("cosmic_rays", "seed", "cache", "irs2", "pars", "noise", "flicker", "offsets", "sensors")


class Program(NamedTuple):
    """What was written, and what was put in: an exposure of rates for each raw one."""

    exposures: Exposed
    simulated: list[rates.Simulated]
    files: dict


class Even:
    """The same surface brightness at all wavelengths."""

    def __init__(self, level):
        self.level = level

    def __call__(self, wavelength):
        return np.full(np.shape(wavelength), float(self.level))


def write_program(out, simulated, files, *, each=None, irs2=None, **options):
    """Write simulated rates as raw exposures with their references: data, truth, references and crds in `out`.

    Parameters
    ----------
    out : path
    simulated : sequence of rates.Simulated
    files : dict
        type -> path of the mode's references.
    each : int, optional
        Integrations in a file.
    irs2 : str, optional
        READPATT NRSIRS2RAPID or NRSIRS2 of full frames; by default they are read the traditional way.
    options
        As `from_rates.expose` takes them.

    Returns
    -------
    Program
    """
    shots = [Shot(one.exposure.header["EXP_TYPE"], one.truth.image, _shot(one, irs2), _truth(one), each) for one in simulated]
    return Program(expose(out, shots, files.values(), flat=False, irs2=irs2, **options), list(simulated), files)


def _shot(one, irs2):
    options = {key: value for key, value in one.options.items() if value is not None}
    return options | ({"nframes": 5} if irs2 == "NRSIRS2" else {})


def _truth(one):
    """Further extensions of the file of truth: rates without noise, and where the sources are."""
    places = [(str(name), *place) for name, found in one.truth.places.items() for place in found]
    kinds = [("opening", "S16"), ("across", "f8"), ("along", "f8")]
    return {"NOISELESS": (one.truth.image, "DN/s")} | ({"PLACES": np.array(places, kinds)} if places else {})


def _apart(options):
    """What `write_program` takes, and what the rates do."""
    return {k: v for k, v in options.items() if k in NOT_RATES}, {k: v for k, v in options.items() if k not in NOT_RATES}


def _references(out, mode, real, grating, filter, detector="NRS1", **others):
    return write_references(Path(out) / "mode", mode=mode, grating=grating, filter=filter, detector=detector, real=real, **others)


def _by_detector(files, detector):
    """Names for the references of one detector that do not hide those of the other one."""
    return {f"{kind} {detector}" if kind in ("sflat", "dflat") else kind: path for kind, path in files.items()}


def expose_slits(
    out,
    *,
    slit="S200A1",
    grating="PRISM",
    filter=None,
    sources=(STAR,),
    sky=SKY,
    nods=ALONG,
    real=None,
    files=None,
    identity=FIRST,
    **options,
):
    """Nods along a fixed slit.

    Parameters
    ----------
    out : path
    slit, grating, filter, sources
        As `simulate_slits` takes them.
    sky : float
        MJy/sr.
    nods : sequence of float
        Where the target is along the slit [arcsec].
    real, files
        A folder of real references; or the mode's references themselves.
    identity : headers.Identity
        Of the first nod.
    **options
        detector, subarray, ngroups...; irs2, cosmic_rays, noise, seed, cache.

    Returns
    -------
    Program
    """
    kept, options = _apart({"ngroups": 4, **options})
    files = files or _references(out, "fs", real, grating, filter, options.get("detector", "NRS1"))
    made = []
    for number, place in enumerate(nods, start=1):
        dither = {"x": 0.0, "y": place, "number": number, "total": len(nods), "pattern": f"{len(nods)}-POINT-NOD"}
        known = {"dither": dither, "identity": replace(identity, exposure=identity.exposure + number - 1), "noise": False}
        given = {"slit": slit, "grating": grating, "filter": filter, "sources": sources, "background": Even(sky)}
        made.append(rates.simulate_slits(files, **given, **known, **options))
    return write_program(out, made, files, **kept)


def expose_series(
    out,
    *,
    grating="PRISM",
    filter=None,
    sources=(STAR,),
    sky=SKY,
    nints=8,
    each=4,
    depth=0.01,
    real=None,
    files=None,
    detectors=("NRS1",),
    **options,
):
    """A transit through S1600A1, in segments.

    Parameters
    ----------
    nints, each : int
        Integrations in all, and in a file.
    depth : float or callable
        Of the transit: see `spectrograph.Dip`.
    detectors : sequence of str
        NRS1, NRS2.
    out, grating, filter, sources, sky, real, files, options
        As `expose_slits` takes them.

    Returns
    -------
    Program
    """
    kept, options = _apart({"ngroups": 4, **options})
    transit = Transit()
    dip = Dip((1 - transit.factor((np.arange(nints) + 0.5) / nints)) / transit.depth, depth)
    made, all_files = [], {}
    for detector in detectors:
        own = files or _references(out, "bots", real, grating, filter, detector)
        all_files |= _by_detector(own, detector)
        given = {"grating": grating, "filter": filter, "sources": sources, "background": Even(sky), "dip": dip, "detector": detector}
        made.append(rates.simulate_series(own, noise=False, **given, **options))
    return write_program(out, made, all_files, each=each, **kept)


def expose_slitlets(
    out, *, slitlets=None, grating="PRISM", filter=None, sky=SKY, nods=NODS, real=None, files=None, identity=FIRST, **options
):
    """Slitlets of micro-shutters, with their metadata file in the data's folder.

    Parameters
    ----------
    slitlets : sequence of shutters.Slitlet, optional
        By default of all kinds: see `shutters.examples`.
    nods : sequence of int
        By how many shutters the sources move.
    out, grating, filter, sky, real, files, identity, options
        As `expose_slits` takes them.

    Returns
    -------
    Program
    """
    kept, options = _apart({"ngroups": 3, **options})
    slitlets = examples(STAR.spectrum, Even(10 * sky)) if slitlets is None else slitlets
    files = files or _of_shutters(out, real, grating, filter, options.get("detector", "NRS1"), any(one.slit != "NONE" for one in slitlets))
    where = rates.places_on_sky(files, slitlets, grating=grating, filter=filter)
    seen = rates.places_in_shutters(files, slitlets, nods, grating=grating, filter=filter, **options)
    metadata = _metadata(identity)
    write_msa(Path(out) / "data" / metadata, slitlets, nods=nods, where=where, seen=seen)
    made = []
    for nod in range(1, len(nods) + 1):
        known = {"nod": nod, "nods": nods, "metadata": metadata, "identity": replace(identity, exposure=identity.exposure + nod - 1)}
        given = {"grating": grating, "filter": filter, "background": Even(sky), "noise": False}
        made.append(rates.simulate_slitlets(files, slitlets, **given, **known, **options))
    return write_program(out, made, files, **kept)


def _metadata(identity):
    """The file that tells of the shutters of a visit."""
    return f"jw{identity.visit_id}_01_msa.fits"


def _of_shutters(out, real, grating, filter, detector, with_slits):
    """The references of shutters, and of the fixed slits among them: type -> path, and "type of slits" -> path."""
    files = _references(out, "mos", real, grating, filter, detector)
    if with_slits:
        of_slits = _references(out, "fs", real, grating, filter, detector)
        files |= {f"{kind} of slits": path for kind, path in of_slits.items() if kind in (*SPECTRAL, "pathloss", "wavecorr")}
    return files


def expose_slicer(
    out,
    *,
    grating="PRISM",
    filter=None,
    sources=(STAR,),
    sky=SKY,
    dithers=ACROSS,
    leak=0.0,
    imprints=False,
    real=None,
    files=None,
    detectors=("NRS1",),
    identity=FIRST,
    **options,
):
    """Dithers of the image slicer, and exposures of what leaks through the shutters.

    Parameters
    ----------
    dithers : sequence of (float, float)
        Where the target is in the field [arcsec].
    leak : float
        MJy/sr before the shutters.
    imprints : bool
        Take an imprint of each dither too.
    detectors : sequence of str
        NRS1, NRS2.
    out, grating, filter, sources, sky, real, files, identity, options
        As `expose_slits` takes them.

    Returns
    -------
    Program
    """
    kept, options = _apart({"ngroups": 3, **options})
    made, all_files = [], {}
    for detector in detectors:
        own = files or _references(out, "ifu", real, grating, filter, detector)
        all_files |= _by_detector(own, detector)
        for imprint, (number, (x, y)) in product((False, True) if imprints else (False,), enumerate(dithers, start=1)):
            dither = {"x": x, "y": y, "number": number, "total": len(dithers), "pattern": "4-POINT-DITHER"}
            known = {"dither": dither, "imprint": imprint, "noise": False, "detector": detector}
            known["identity"] = replace(identity, exposure=identity.exposure + number - 1, activity="02" if imprint else identity.activity)
            given = {"grating": grating, "filter": filter, "sources": sources, "background": Even(sky), "leak": Even(leak)}
            made.append(rates.simulate_slicer(own, **given, **known, **options))
    return write_program(out, made, all_files, **kept)


def expose_lamp(
    out, *, grating="PRISM", lamp="LINE4", opmode="FIXEDSLIT", subarray="ALLSLITS", slitlets=None, real=None, files=None, **options
):
    """A lamp through the fixed slits, or the slicer (OPMODE IFU), or shutters (MSASPEC), then with their metadata file beside the data.

    Parameters
    ----------
    lamp, opmode, subarray
        As `simulate_lamp` takes them.
    slitlets : sequence of shutters.Slitlet, optional
        By default those of `shutters.examples`.
    out, grating, real, files, options
        As `expose_slits` takes them.

    Returns
    -------
    Program
    """
    kept, options = _apart({"ngroups": 4, **options})
    files = files or _references(out, "lamp", real, grating, None, options.get("detector", "NRS1"), lamp_mode=opmode)
    if opmode == "MSASPEC":
        slitlets = examples(STAR.spectrum, Even(SKY)) if slitlets is None else slitlets
        metadata = _metadata(options.get("identity") or FIRST)
        write_msa(Path(out) / "data" / metadata, slitlets, nods=(0,))
        options = {"slitlets": slitlets, "MSAMETFL": metadata, "MSAMETID": 1} | options
    one = rates.simulate_lamp(files, grating=grating, lamp=lamp, opmode=opmode, subarray=subarray, noise=False, **options)
    return write_program(out, [one], files, **kept)


def expose_image(out, *, exp_type="NRS_IMAGE", filter="F110W", stars=STARS, background=1.0, real=None, files=None, **options):
    """An image with the mirror.

    Parameters
    ----------
    exp_type, filter, stars, background
        As `simulate_image` takes them.
    out, real, files, options
        As `expose_slits` takes them.

    Returns
    -------
    Program
    """
    kept, options = _apart({"ngroups": 4, **options})
    files = files or _references(out, "image", real, "MIRROR", filter, options.get("detector", "NRS1"))
    one = images.simulate_image(files, exp_type=exp_type, filter=filter, stars=stars, background=background, noise=False, **options)
    return write_program(out, [one], files, **kept)
