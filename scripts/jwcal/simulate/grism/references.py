"""The references of grisms: specwcs, wavelengthrange, photom, the sky's templates, apertures; and what tells where their detectors look."""

import json
from dataclasses import replace
from pathlib import Path

import asdf
import numpy as np
from astropy.io import fits
from astropy.modeling.models import Polynomial1D, Polynomial2D

from ...files import storage
from .. import references
from ..detector import make_detector
from ..instruments import Subarray
from .optics import CENTRE


def write_references(folder, grisms, *, sky=None, response=None):
    """The references of grisms of one instrument: specwcs, wavelengthrange, photom, bkg, extract1d; what all of an instrument's modes share
    (distortion, flat...) is of `references`.

    Parameters
    ----------
    folder : path
    grisms : sequence of Grism
    sky : instruments.Subarray, optional
        Of which templates of the sky are written: for wide fields.
    response : ndarray (row, col), optional
        Of the detector's pixels. Templates are subtracted before the flat field, as they are made of rates: they have its pattern.

    Returns
    -------
    list of Path
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stem = grisms[0].exp_type.lower()
    files = [write_asdf(folder / f"{stem}_{g.filter}_{g.pupil}_specwcs.asdf".lower(), "specwcs", g, _specwcs(g)) for g in grisms]
    files.append(write_asdf(folder / f"{stem}_wavelengthrange.asdf", "wavelengthrange", grisms[0], wavelength_limits(grisms), general=True))
    files.append(spectral_photom(folder / f"{stem}_photom.fits", grisms))
    if sky is not None:
        files += [_sky(folder / f"{stem}_{g.filter}_{g.pupil}_bkg.fits".lower(), g, sky, response) for g in grisms]
    return files


def _specwcs(grism):
    """Trace and dispersion, for each order: in t alone, or with coefficients that depend on the place."""
    tree = {key: [] for key in ("displ", "dispx", "dispy", "invdispl", "invdispx", "invdispy")}
    for order in grism.orders:
        low, high = order.wavelengths
        tree["displ"].append(Polynomial1D(1, c0=low, c1=high - low))
        tree["invdispl"].append(Polynomial1D(1, c0=-low / (high - low), c1=1 / (high - low)))
        along, across = (_models(grism, c) for c in (order.along, order.across))
        tree["dispx"].append(across if grism.vertical else along)
        tree["dispy"].append(along if grism.vertical else across)
        back = Polynomial1D(1, c0=-order.along[0] / order.along[1], c1=1 / order.along[1])
        none = Polynomial1D(1, c0=0.0, c1=0.0)
        tree["invdispx"].append(none if grism.vertical else back)
        tree["invdispy"].append(back if grism.vertical else none)
    if grism.instrument != "NIRCAM" or grism.field:
        del tree["invdispx"], tree["invdispy"]
    if grism.instrument == "NIRCAM" and grism.field:  # pairs of polynomials, and no inverse
        del tree["invdispl"]
        tree["displ"] = [[_plane(grism, one.c0.value, False), _plane(grism, one.c1.value)] for one in tree["displ"]]
        along = "dispy" if grism.vertical else "dispx"
        tree[along] = [[Polynomial1D(1, c0=order.along[0], c1=order.along[1])] for order in grism.orders]
    tree["orders"] = [order.number for order in grism.orders]
    return tree | ({"fwcpos_ref": grism.angle} if grism.angle is not None else {})


def _models(grism, coefficients):
    if not grism.field and grism.instrument == "NIRCAM":
        coefficients = (*coefficients, 0.0)[: max(2, len(coefficients))]
        return Polynomial1D(len(coefficients) - 1, **{f"c{k}": c for k, c in enumerate(coefficients)})
    return [_plane(grism, c) for c in (*coefficients, 0.0, 0.0)[: max(3, len(coefficients))]]


def _plane(grism, coefficient, depends=True):
    """A coefficient by the direct image's place."""
    slope = grism.field / CENTRE * depends
    return Polynomial2D(1, c0_0=coefficient * (1 - slope * CENTRE / 2), c1_0=coefficient * slope, c0_1=-coefficient * slope / 2)


def wavelength_limits(grisms):
    """Which wavelengths of which orders there are, and which orders are extracted."""
    series = grisms[0].exp_type == "NRC_TSGRISM"
    ranges, extracted = [], {}
    for grism in grisms:
        name = grism.pupil if grism.instrument == "NIRISS" else grism.filter
        for order in grism.orders:
            row = [order.number, *([grism.pupil] if series else []), name, *grism.band]
            if row not in ranges:
                ranges.append(row)
        extracted[name] = [1] if series or grism.instrument == "MIRI" else [order.number for order in grism.orders if order.number > 0]
    orders = sorted({row[0] for row in ranges})
    return {
        "wavelengthrange": ranges,
        "order": orders,
        "waverange_selector": list(extracted),
        "extract_orders": [[name, numbers] for name, numbers in extracted.items()],
    }


def spectral_photom(path, grisms):
    """(MJy/sr) micron for a DN/s, by wavelength and order."""
    points = 400
    elements = {"MIRI": ("filter",)}.get(grisms[0].instrument, ("filter", "pupil"))
    kinds = [(name, "S15" if name == "pupil" else "S12") for name in elements] + [("order", ">i2")]
    kinds += [("photmjsr", ">f4"), ("uncertainty", ">f4"), ("nelem", ">i2")]
    kinds += [(name, ">f4", (points,)) for name in ("wavelength", "relresponse", "reluncertainty")]
    rows = []
    for grism in grisms:
        wavelength = np.linspace(*grism.band, points)
        for order in grism.orders:
            relative = grism.conversion(wavelength, order) * order.strength / grism.photmjsr
            named = [getattr(grism, name) for name in elements]
            rows.append((*named, order.number, grism.photmjsr / order.strength, 0.0, points, wavelength, relative, 0.01 * relative))
    model = {"NIRCAM": "NrcWfssPhotomModel", "NIRISS": "NisWfssPhotomModel", "MIRI": "MirLrsPhotomModel"}[grisms[0].instrument]
    header = _keywords("PHOTOM", grisms[0], model, general=True)
    header |= {"PIXAR_SR": grisms[0].pixar_sr, "PIXAR_A2": grisms[0].pixar_sr * (180 / np.pi * 3600) ** 2}
    table = fits.BinTableHDU(np.array(rows, kinds), fits.Header({"PHOTUNIT": "MJy micron s / (DN sr)"}), name="PHOTOM")
    return _write_fits(path, header, [table])


def sky_template(shape):
    """What an even sky gives behind a grism, about 1: orders of it end within the field."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return 1 + 0.1 * (x / shape[1] - 0.5) - 0.06 * (y / shape[0] - 0.5) - 0.25 * (x < 0.08 * shape[1])


def _sky(path, grism, sub, response):
    image, shape = sky_template(sub.shape) * (1 if response is None else response), sub.shape
    planes = [("SCI", image.astype(np.float32)), ("ERR", np.full(shape, 0.01, np.float32)), ("DQ", np.zeros(shape, np.uint32))]
    definitions = np.array([(0, 1, "DO_NOT_USE", "Bad pixel")], [("BIT", "i4"), ("VALUE", "i4"), ("NAME", "S40"), ("DESCRIPTION", "S80")])
    hdus = [fits.ImageHDU(plane, name=name) for name, plane in planes] + [fits.BinTableHDU(definitions, name="DQ_DEF")]
    place = {"SUBARRAY": sub.name, "SUBSTRT1": sub.xstart, "SUBSTRT2": sub.ystart, "SUBSIZE1": sub.xsize, "SUBSIZE2": sub.ysize}
    return _write_fits(path, _keywords("BKG", grism, "WfssBkgModel") | place, hdus)


def _keywords(kind, grism, model, general=False):
    """Of a reference that is for one grism, or for all of a mode."""
    about = {"TELESCOP": "JWST", "INSTRUME": grism.instrument, "DETECTOR": grism.detector, "EXP_TYPE": grism.exp_type, "REFTYPE": kind}
    if not general:
        about |= {"FILTER": grism.filter} | ({"PUPIL": grism.pupil} if grism.pupil else {})
    about |= {"DATAMODL": model, "USEAFTER": references.USEAFTER, "AUTHOR": "jwcal.simulate", "PEDIGREE": "DUMMY"}
    return about | {"DESCRIP": "made by jwcal.simulate"}


def _write_fits(path, header, hdus):
    with storage.replaced(path) as temporary:
        fits.HDUList([fits.PrimaryHDU(header=fits.Header(header)), *hdus]).writeto(temporary, overwrite=True)
    return Path(path)


def write_asdf(path, kind, grism, tree, general=False):
    meta = {"telescope": "JWST", "reftype": kind, "author": "jwcal.simulate", "pedigree": "DUMMY", "useafter": references.USEAFTER}
    meta |= {"description": "made by jwcal.simulate", "exposure": {"type": grism.exp_type}, "instrument": {"name": grism.instrument}}
    if not general:
        module = {"module": grism.detector[3]} if grism.instrument == "NIRCAM" else {}
        meta["instrument"] |= (
            {"filter": grism.filter, "detector": grism.detector} | ({"pupil": grism.pupil} if grism.pupil else {}) | module
        )
    models = {"NIRCAM": "NIRCAMGrismModel", "NIRISS": "NIRISSGrismModel", "MIRI": "MiriWFSSSpecwcsModel"}
    meta |= {"model_type": models[grism.instrument] if kind == "specwcs" else "WavelengthrangeModel", "title": "simulated"}
    meta |= {"input_units": "micron", "output_units": "micron"}
    with storage.replaced(path) as temporary:
        asdf.AsdfFile({"meta": meta, **tree}).write_to(temporary)
    return Path(path)


def extract1d(path, grism, setup, y0, height):
    """An aperture about the trace, in rows of the cut-out, where the source is put on row 34 (counted from 0)."""
    half = (height or 2 * min(y0, setup.subarray.ysize - 1 - y0, 22)) / 2
    entry = {"id": grism.exp_type, "region_type": "target", "dispaxis": 1, "bkg_order": 0, "spectral_order": 1, "use_source_posn": False}
    entry |= {"xstart": 0, "xstop": setup.subarray.xsize - 1, "ystart": round(34 - half), "ystop": round(34 + half)}
    entry |= {"bkg_coeff": [[4.5], [10.5], [57.5], [62.5]]}
    return apertures(path, grism, entry)


def apertures(path, grism, entry):
    """Write one aperture as an extract1d reference."""
    about = {"reftype": "EXTRACT1D", "instrume": grism.instrument, "telescope": "JWST", "exp_type": grism.exp_type}
    about |= {"useafter": references.USEAFTER, "author": "jwcal.simulate", "pedigree": "DUMMY", "description": "made by jwcal.simulate"}
    path.write_text(json.dumps(about | {"apertures": [entry]}, indent=1))
    return path


def look_references(folder, setup, types=("distortion", "filteroffset")):
    """What tells where a detector looks in one mode: distortion, and the filters' offsets (none)."""
    tiny = replace(setup, subarray=Subarray("GENERIC", 1, 1, 8, 8))
    sensor = make_detector(setup.instrument, setup.detector, tiny.subarray)
    folder.mkdir(parents=True, exist_ok=True)
    made = references.write_references(folder, sensor, setup=tiny, types=types, number=8001, setups=[tiny])
    for path in made.values():
        _for_mode(path, setup.exp_type)
    return list(made.values())


def _for_mode(path, exp_type):
    """Say in an ASDF reference that it is for one EXP_TYPE and all wheel positions."""
    with asdf.open(path, lazy_load=False, memmap=False) as file:
        tree = {key: value for key, value in file.tree.items() if key not in ("asdf_library", "history")}
        tree["meta"]["exposure"] = {"type": exp_type}
        if "p_pupil" in tree["meta"]["instrument"]:
            tree["meta"]["instrument"]["p_pupil"] = "CLEAR|GRISMR|GRISMC|GDHS0|"
        with storage.replaced(path) as temporary:
            asdf.AsdfFile(tree).write_to(temporary)
