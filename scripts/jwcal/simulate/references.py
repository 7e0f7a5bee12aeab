"""Reference files that undo exactly what the simulator does, in the archive's formats."""

import re
from math import comb
from pathlib import Path

import asdf
import numpy as np
from astropy.io import fits
from astropy.modeling.models import Mapping, Polynomial2D, Shift
from astropy.table import Table

from ..files import storage
from ..vocabulary import dq as dqbits
from . import aperture_mask, instruments, occulters, pointing, scene

USEAFTER = "2021-01-01T00:00:00"
DATE = "2023-01-01T00:00:00.000"
NEAR_INFRARED = ("mask", "saturation", "superbias", "linearity", "dark", "gain", "readnoise", "flat", "ipc")
MIRI = ("mask", "saturation", "linearity", "dark", "gain", "readnoise", "flat", "reset", "rscd")
IMAGING = ("photom", "area", "distortion", "filteroffset")
GUIDER = ("mask", "gain", "readnoise", "flat")
STAGE3 = ("apcorr", "abvegaoffset", "tsophot")  # written only if they are asked for
ENCLOSED = (0.10, 0.20, 0.30, 0.40, 0.50, 0.60, 0.70, 0.80)  # parts of the light that apertures catch
MODELS = {
    "mask": "MaskModel",
    "saturation": "SaturationModel",
    "superbias": "SuperBiasModel",
    "linearity": "LinearityModel",
    "dark": {"MIRI": "DarkMIRIModel"},
    "gain": "GainModel",
    "readnoise": "ReadnoiseModel",
    "flat": "FlatModel",
    "ipc": "IPCModel",
    "area": "PixelAreaModel",
    "photom": {"NIRCAM": "NrcImgPhotomModel", "NIRISS": "NisImgPhotomModel", "MIRI": "MirImgPhotomModel", "FGS": "FgsImgPhotomModel"},
    "reset": "ResetModel",
    "rscd": "RSCDModel",
    "distortion": "DistortionModel",
    "filteroffset": "FilteroffsetModel",
}
STAGE3_MODELS = {
    "apcorr": {"NIRCAM": "NrcImgApcorrModel", "NIRISS": "NisImgApcorrModel", "MIRI": "MirImgApcorrModel", "FGS": "FgsImgApcorrModel"},
    "abvegaoffset": "ABVegaOffsetModel",
    "tsophot": "TsoPhotModel",
    "psfmask": "ImageModel",
    "nrm": "NRMModel",
    "throughput": "ThroughputModel",
}
CORONAGRAPHY = ("NRC_CORON", "MIR_LYOT", "MIR_4QPM")
TIME_SERIES = ("NRC_TSIMAGE", "MIR_IMAGE")  # that tsophot is for
FLAGS = {
    "mask": ("DO_NOT_USE", "REFERENCE_PIXEL", "DEAD", "HOT", "WARM", "RC", "LOW_QE"),
    "saturation": ("DO_NOT_USE", "NO_SAT_CHECK"),
    "superbias": ("DO_NOT_USE", "UNRELIABLE_BIAS"),
    "linearity": ("DO_NOT_USE", "NO_LIN_CORR"),
    "dark": ("DO_NOT_USE", "UNRELIABLE_DARK"),
    "flat": ("DO_NOT_USE", "NO_FLAT_FIELD", "UNRELIABLE_FLAT"),
    "reset": ("DO_NOT_USE",),
}


def write_references(out, sensor, *, setup=None, types=None, number=9001, useafter=USEAFTER, **options):
    """Write the references of one detector.

    Parameters
    ----------
    out : path
        Folder.
    sensor : detector.Detector
        The truth; references are as large as it is.
    setup : instruments.Setup, optional
        The exposures that they are for; by default the instrument's usual ones with this detector.
    types : sequence of str, optional
        By default all that the imaging chains of the instrument need; for a guide star function those of its chain.
    number : int
        In the names: jwst_nircam_superbias_9001.fits. Detectors of one program need different ones.
    **options
        dark_groups : int, frames of the dark (as many as the exposure's longest integration, or 30, if that is less);
        inverse_linearity : bool, add INV_COEFFS; gain_factor : float, GAINFACT of the gain reference; dark_pattern : (NFRAMES, GROUPGAP);
        counts_flat : bool, the flat holds how the gain differs from pixel to pixel too, as one made from counts does, and none of
        reference pixels;
        psf : scene.Psf, of apcorr and tsophot; setups : others that they are for, with other filters and pupils.

    Returns
    -------
    dict
        Type -> path.
    """
    setup = setup or _usual(sensor)
    out = Path(out)
    files = {}
    for kind in types_for(setup) if types is None else types:
        head = _header(kind, sensor, setup, useafter)
        name = f"jwst_{sensor.instrument.lower()}_{kind}_{number:04d}"
        made = (MAKERS | STAGE3_MAKERS)[kind](sensor, setup, options)
        if kind in ("distortion", "filteroffset", "abvegaoffset", "tsophot"):
            pupils = [one.pupil for one in (setup, *options.get("setups", ())) if one.detector == setup.detector and one.pupil]
            files[kind] = _write_asdf(out / f"{name}.asdf", head, made, list(dict.fromkeys(pupils)))
        else:
            files[kind] = _write_fits(out / f"{name}.fits", head, kind, made)
    return files


def stage3_types(setup):
    """The reference types that an image's stage 3 can use beside those of stage 1 and 2."""
    if setup.guider or not setup.imaging or setup.instrument == "NIRSPEC":
        return ()
    if setup.keywords.get("CORONMSK") in occulters.MASKS and setup.exp_type in CORONAGRAPHY:
        return ("psfmask",)
    if setup.pupil == "NRM":
        return ("nrm", "throughput") if setup.filter in aperture_mask.FILTERS else ("nrm",)
    return STAGE3 if setup.exp_type in TIME_SERIES else STAGE3[:-1]


def scope(kind, setup):
    """What a reference is for, beyond which there must be another one: optics, an instrument, a detector and subarray..."""
    if kind == "filteroffset":
        return kind, setup.instrument, setup.keywords.get("MODULE"), setup.keywords.get("CHANNEL")
    if kind == "apcorr" and setup.instrument == "FGS":
        return kind, setup.detector
    if kind in ("apcorr", "abvegaoffset"):
        return kind, setup.instrument
    if kind == "tsophot":
        return kind, setup.exp_type
    if kind == "nrm":
        return kind, setup.instrument
    if kind == "throughput":
        return kind, setup.filter
    if kind == "psfmask":
        return kind, setup.filter, setup.keywords["CORONMSK"], setup.subarray
    return kind, setup.detector, setup.subarray


def types_for(setup):
    """The reference types that an exposure's stages 1 and 2 can use."""
    if setup.guider:
        return GUIDER
    if not setup.imaging or setup.instrument == "NIRSPEC":
        return MIRI if setup.instrument == "MIRI" else NEAR_INFRARED
    imaging = IMAGING[:-1] if setup.instrument == "FGS" else IMAGING  # the guiders have no filters
    return (MIRI if setup.instrument == "MIRI" else NEAR_INFRARED) + imaging


def _usual(sensor):
    modes = instruments.table()[sensor.instrument]["exp_types"]
    return instruments.setup(next(iter(modes)), detector=sensor.name, subarray=sensor.subarray)


def _header(kind, sensor, setup, useafter):
    """Keywords of every reference. What is absent restricts nothing, so a file that is good for all EXP_TYPEs or READPATTs names none."""
    model = (MODELS | STAGE3_MODELS)[kind]
    sub = sensor.subarray
    values = {
        "DATE": (DATE, "UTC date file created"),
        "ORIGIN": ("JWCAL", "Organization responsible for creating file"),
        "DATAMODL": (model if isinstance(model, str) else model.get(sensor.instrument, "DarkModel"), "Type of data model"),
        "TELESCOP": ("JWST", "Telescope used to acquire the data"),
        "REFTYPE": (kind.upper(), "Reference file type"),
        "PEDIGREE": ("DUMMY", "The pedigree of the reference file"),
        "DESCRIP": (f"Simulated {kind} of {sensor.name}", "Description"),
        "AUTHOR": ("jwcal.simulate", "Author of the reference file"),
        "USEAFTER": (useafter, "Use after date of the reference file"),
        "INSTRUME": (sensor.instrument, "Instrument"),
        "DETECTOR": (sensor.name, "Detector"),
        "SUBARRAY": (sub.name, "Subarray"),
        "SUBSTRT1": (sub.xstart, "Starting pixel in axis 1 direction"),
        "SUBSTRT2": (sub.ystart, "Starting pixel in axis 2 direction"),
        "SUBSIZE1": (sub.xsize, "Number of pixels in axis 1 direction"),
        "SUBSIZE2": (sub.ysize, "Number of pixels in axis 2 direction"),
        "FASTAXIS": (sensor.axes[0], "Fast readout axis direction"),
        "SLOWAXIS": (sensor.axes[1], "Slow readout axis direction"),
    }
    for keyword in ("MODULE", "CHANNEL"):
        if keyword in setup.detector_table.get("keywords", {}):
            values[keyword] = (setup.detector_table["keywords"][keyword], "")
    if kind in STAGE3:
        one = kind == "apcorr" and sensor.instrument == "FGS"
        for keyword in ("SUBARRAY", "SUBSTRT1", "SUBSTRT2", "SUBSIZE1", "SUBSIZE2", "FASTAXIS", "SLOWAXIS", "MODULE", "CHANNEL", "BAND"):
            values.pop(keyword, None)
        if not one:
            values["DESCRIP"] = (f"Simulated {kind} of {sensor.instrument}", "Description")
            values.pop("DETECTOR")
    if kind == "psfmask":
        values |= {"EXP_TYPE": (setup.exp_type, ""), "FILTER": (setup.filter, ""), "CORONMSK": (setup.keywords["CORONMSK"], "")}
    if kind in ("nrm", "throughput"):
        for keyword in ("SUBARRAY", "SUBSTRT1", "SUBSTRT2", "SUBSIZE1", "SUBSIZE2", "FASTAXIS", "SLOWAXIS"):
            values.pop(keyword)
        values |= {"EXP_TYPE": (setup.exp_type, "")} if kind == "nrm" else {"FILTER": (setup.filter, "")}
    if kind == "tsophot":
        values |= {"EXP_TYPE": (setup.exp_type, ""), "TSOVISIT": (True, "")}
    return values


def _mask(sensor, setup, options):
    return {"DQ": sensor.dq}


def _saturation(sensor, setup, options):
    """Threshold on raw counts. Pixels that are never checked have none."""
    unchecked = _few(sensor, 11)
    threshold = np.where(unchecked | sensor.reference_pixels, 65536, sensor.saturation)
    return {"SCI": threshold, "DQ": np.where(unchecked | sensor.reference_pixels, dqbits.NO_SAT_CHECK, 0)}


def _superbias(sensor, setup, options):
    return {"SCI": sensor.bias, "ERR": np.full(sensor.shape, 1.0), "DQ": np.where(_few(sensor, 12), dqbits.UNRELIABLE_BIAS, 0)}


def _linearity(sensor, setup, options):
    """The polynomial whose inverse bent the ramps. Reference pixels and a few more have none."""
    none = sensor.reference_pixels | _few(sensor, 13)
    arrays = {"COEFFS": sensor.correction(), "DQ": np.where(none, dqbits.NO_LIN_CORR, 0)}
    if options.get("inverse_linearity"):
        arrays["INV_COEFFS"] = sensor.inverse_correction()
    for name in [n for n in arrays if n != "DQ"]:
        if sensor.instrument == "MIRI":  # no bias is subtracted before: the polynomial takes counts with their bias
            arrays[name] = _about(arrays[name], sensor.bias)
        arrays[name] = _identity_where(none, arrays[name])
    return arrays


def _about(coefficients, bias):
    """Coefficients in r of bias + P(r - bias), for those of P."""
    moved = np.zeros(coefficients.shape)
    for k, c in enumerate(coefficients):
        for j in range(k + 1):
            moved[j] += comb(k, j) * c.astype(float) * (-bias.astype(float)) ** (k - j)
    moved[0] += bias
    return moved.astype(np.float32)


def _identity_where(none, coefficients):
    identity = np.zeros((len(coefficients), 1), np.float32)
    identity[1] = 1
    coefficients[:, none] = identity
    return coefficients


def _dark(sensor, setup, options):
    """Accumulated dark current [DN] of a ramp of single frames (or of the pattern asked for)."""
    r = setup.readout
    nframes, groupgap = options.get("dark_pattern") or (1, 0)
    groups = options.get("dark_groups") or min(30, -(-r.frames // (nframes + groupgap)))
    frames = np.arange(groups) * (nframes + groupgap) + 1 + (nframes - 1) / 2
    ramp = (sensor.dark / sensor.gain) * (r.tframe * frames).astype(np.float32)[:, None, None]
    dq = np.where((sensor.dq & (dqbits.HOT | dqbits.WARM)) != 0, dqbits.UNRELIABLE_DARK, 0)
    keywords = {"NGROUPS": groups, "NFRAMES": nframes, "GROUPGAP": groupgap, "TFRAME": r.tframe}
    if sensor.instrument == "MIRI":
        integrations = max(2, r.nints)  # the peer wants a DQ plane for each integration of the data
        keywords |= {"NINTS": integrations, "READPATT": r.readpatt}
        return {"SCI": np.stack([ramp, ramp]), "DQ": np.stack([dq] * integrations)[:, None], "keywords": keywords}
    return {"SCI": ramp, "ERR": np.full(ramp.shape, 0.1, np.float32), "DQ": dq, "keywords": keywords}


def _gain(sensor, setup, options):
    factor = options.get("gain_factor", 1.0)
    return {"SCI": sensor.gain, "keywords": {"GAINFACT": factor} if factor != 1 else {}}


def _readnoise(sensor, setup, options):
    return {"SCI": sensor.readnoise, "keywords": {"READPATT": setup.readout.readpatt} if sensor.instrument == "MIRI" else {}}


def _flat(sensor, setup, options):
    """Response to uniform light; low-QE pixels are in it."""
    low = (sensor.dq & dqbits.LOW_QE) != 0
    none = _few(sensor, 14)
    if options.get("counts_flat"):
        none = none | sensor.reference_pixels  # which have no response
    response = np.where(low, 0.6, 1.0) * sensor.flat
    if options.get("counts_flat"):
        response = response * (sensor.gain.mean() / sensor.gain)
    response[none] = np.nan
    dq = np.where(none, dqbits.NO_FLAT_FIELD | dqbits.DO_NOT_USE, 0) | np.where(low, dqbits.UNRELIABLE_FLAT, 0)
    return {"SCI": response, "ERR": np.full(sensor.shape, 0.002), "DQ": dq}


def _ipc(sensor, setup, options):
    """The kernel that undoes the coupling: the inverse of the one that the simulator applied, to second order."""
    if sensor.ipc is None:
        kernel = np.zeros((3, 3))
        kernel[1, 1] = 1
        return {"SCI": kernel}
    kernel = -np.asarray(sensor.ipc, float)
    kernel[1, 1] = 1 - (kernel.sum() - kernel[1, 1])
    return {"SCI": kernel}


def _reset(sensor, setup, options):
    groups = setup.readout.ngroups
    keywords = {"NGROUPS": groups, "NINTS": 2, "READPATT": setup.readout.readpatt}
    return {"SCI": np.zeros((2, groups, *sensor.shape)), "DQ": np.zeros(sensor.shape), "keywords": keywords}


def _rscd(sensor, setup, options):
    table = np.array(
        [(sensor.subarray.name, setup.readout.readpatt, 1, 2)],
        dtype=[("subarray", "S17"), ("readpatt", "S12"), ("group_skip1", "i4"), ("group_skip", "i4")],
    )
    return {"RSCD_GROUP_SKIP": table}


def _photom(sensor, setup, options):
    """(MJy/sr)/(DN/s) of every pair of wheel positions."""
    _, nominal = _areas(setup)
    columns = {"NIRCAM": ("filter", "pupil"), "NIRISS": ("filter", "pupil"), "MIRI": ("filter", "subarray"), "FGS": ()}[sensor.instrument]
    kinds = [(c, "S15" if c == "subarray" else "S12") for c in columns] + [("photmjsr", "f4"), ("uncertainty", "f4")]
    rows = [({"subarray": "GENERIC"} | element, photmjsr) for element, photmjsr in _elements(setup, options)]
    table = np.array([(*(row[c] for c in columns), p, 0.02 * p) for row, p in rows], dtype=kinds)
    return {"PHOTOM": table, "keywords": _pixar(nominal)}


def _elements(setup, options):
    """Filter and pupil of the instrument's usual pairs, and the exposures' own, with their photmjsr."""
    table = setup.instrument_table
    blue = table.get("blue_filters", ())
    clear = "CLEARP" if setup.instrument == "NIRISS" else "CLEAR"
    pairs = {("CLEAR", name) if name in blue else (name, clear): photmjsr for name, (photmjsr, _) in table["filters"].items()}
    for one in (setup, *options.get("setups", ())):
        if one.filter and one.instrument == setup.instrument:
            pairs.setdefault((one.filter, one.pupil or clear), one.optics[0])
    return [({"filter": f, "pupil": p}, photmjsr) for (f, p), photmjsr in pairs.items()]


def _area(sensor, setup, options):
    relative, nominal = _areas(setup)
    return {"SCI": relative, "keywords": _pixar(nominal)}


def _areas(setup):
    return pointing.point(setup, (0.0, 0.0)).area()


def _pixar(nominal):
    return {"PIXAR_A2": nominal, "PIXAR_SR": nominal * pointing.ARCSEC**2}


def _distortion(sensor, setup, options):
    return {"model": distortion_model(setup)}


def distortion_model(setup):
    """The SIAF's distortion as an astropy model: pixels of the full frame (from 0) -> V2, V3 [arcsec], with its inverse.

    The inverse is fitted, not the SIAF's: of the lowest degree from 5 to 9 that comes back to 0.0002 pixels everywhere.
    """
    full = setup.geometry
    shift = Shift(1 - full.XSciRef) & Shift(1 - full.YSciRef)
    degree = int(full.Sci2IdlDeg)
    forward = Mapping((0, 1, 0, 1)) | (_polynomial(full, "Sci2IdlX", degree) & _polynomial(full, "Sci2IdlY", degree))
    angle, parity = np.radians(full.V3IdlYAngle), full.VIdlParity
    turn = _linear([[parity * np.cos(angle), np.sin(angle)], [-parity * np.sin(angle), np.cos(angle)]])
    back = _linear([[parity * np.cos(angle), -parity * np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    place = Shift(full.V2Ref) & Shift(full.V3Ref)
    model = shift | forward | turn | place
    model.inverse = place.inverse | back | _inverse_polynomials(full, forward) | shift.inverse
    return model


def _polynomial(aperture, stem, degree):
    """SIAF coefficient (i, j) is that of x^(i-j) y^j."""
    polynomial = Polynomial2D(degree)
    for i in range(degree + 1):
        for j in range(i + 1):
            setattr(polynomial, f"c{i - j}_{j}", getattr(aperture, f"{stem}{i}{j}"))
    return polynomial


def _linear(matrix):
    rows = [Polynomial2D(1, c0_0=0, c1_0=a, c0_1=b) for a, b in matrix]
    return Mapping((0, 1, 0, 1)) | (rows[0] & rows[1])


def _inverse_polynomials(aperture, forward, points=60, tolerance=2e-4):
    x = np.linspace(1, aperture.XSciSize, points) - aperture.XSciRef
    y = np.linspace(1, aperture.YSciSize, points) - aperture.YSciRef
    x, y = (g.ravel() for g in np.meshgrid(x, y))
    u, v = forward(x, y)
    scale = np.abs([u, v]).max()
    for degree in (5, 7, 9):
        powers = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
        design = np.stack([(u / scale) ** i * (v / scale) ** j for i, j in powers], axis=-1)
        fitted = [np.linalg.lstsq(design, w, rcond=None)[0] for w in (x, y)]
        if max(np.abs(design @ c - w).max() for c, w in zip(fitted, (x, y), strict=True)) < tolerance:
            break
    pair = [
        Polynomial2D(degree, **{f"c{i}_{j}": c / scale ** (i + j) for (i, j), c in zip(powers, values, strict=True)}) for values in fitted
    ]
    return Mapping((0, 1, 0, 1)) | (pair[0] & pair[1])


def _filteroffset(sensor, setup, options):
    """No offset in any filter: all filters of the simulator look the same way."""
    keys = ("filter",) if sensor.instrument == "MIRI" else ("filter", "pupil")
    entries = [{k: element[k] for k in keys} | {"row_offset": 0.0, "column_offset": 0.0} for element, _ in _elements(setup, options)]
    return {"filters": entries}


def _sigma(setup, psf, fwhm):
    return (psf.fwhm or fwhm) * scene.SIGMA


def _annulus(psf, sigma):
    """Inner and outer radius [pixels] of the ring in which the sky is measured: where the halo has nearly ended."""
    inner = 3 * scene.HALO_SCALE * sigma
    return round(inner, 2), round(inner + max(4.0, scene.HALO_SCALE * sigma), 2)


def _apcorr(sensor, setup, options):
    """Radii of apertures on the detector's pixels and what their sums are multiplied with; a star's light in the sky's ring is in it."""
    psf = options.get("psf") or scene.Psf()
    subarrays = sorted({*setup.instrument_table["frame_time"], setup.subarray.name}) if sensor.instrument == "MIRI" else [None]
    columns = {"NIRCAM": ("filter", "pupil"), "NIRISS": ("filter", "pupil"), "MIRI": ("filter", "subarray"), "FGS": ()}[sensor.instrument]
    rows = []
    for element, _ in _elements(setup, options) if columns else [({}, None)]:
        sigma = _sigma(setup, psf, _fwhm(setup, element))
        skyin, skyout = _annulus(psf, sigma)
        ring = (psf.enclosed(skyout, sigma) - psf.enclosed(skyin, sigma)) / (skyout**2 - skyin**2)
        for part in ENCLOSED:
            radius = psf.radius(part, sigma)
            correction = 1 / (part - ring * radius**2)
            for name in subarrays:
                named = element | {"subarray": name}
                rows.append((*(named[c] for c in columns), part, radius, correction, skyin, skyout))
    numbers = [(name, "f4") for name in ("eefraction", "radius", "apcorr", "skyin", "skyout")]
    kinds = [(c, {"filter": "S12", "pupil": "S15", "subarray": "S17"}[c]) for c in columns] + numbers
    return {"APCORR": np.array(rows, dtype=kinds)}


def _fwhm(setup, element):
    """Of the filter that is in one of the wheels [pixels]."""
    filters = setup.instrument_table["filters"]
    found = next((name for name in (element.get("pupil"), element.get("filter"), "NA") if name in filters), None)
    return filters[found][1] if found else setup.optics[1]


def _abvegaoffset(sensor, setup, options):
    """AB magnitude less Vega's, for a Vega that falls as the square of the wavelength and has 1.69 at 1.99 um."""
    if sensor.instrument == "FGS":
        names = sorted(setup.instrument_table["detectors"])
        return {"abvega_offset": Table({"detector": names, "abvega_offset": np.full(len(names), _vega(2.5), np.float32)})}
    elements = [element for element, _ in _elements(setup, options)]
    columns = ("filter",) if sensor.instrument == "MIRI" else ("filter", "pupil")
    table = {c: [element[c] for element in elements] for c in columns}
    table["abvega_offset"] = np.array([_vega(_wavelength(element)) for element in elements], np.float32)
    return {"abvega_offset": Table(table)}


def _vega(wavelength):
    return 1.69 + 5 * np.log10(wavelength / 1.99)


def _wavelength(element):
    """Of a filter, from its name: F200W is 2.00 um."""
    names = [re.fullmatch(r"F(\d+)[A-Z]\d?", element.get(key) or "") for key in ("pupil", "filter")]
    return next((int(name[1]) / 100 for name in names if name), 2.0)


def _tsophot(sensor, setup, options):
    """Radii [pixels] of the aperture (it catches 95 % of the light) and the sky's ring, one for every pupil."""
    psf = options.get("psf") or scene.Psf()
    sigma = _sigma(setup, psf, setup.optics[1])
    skyin, skyout = _annulus(psf, sigma)
    radius = round(float(psf.radius(0.95, sigma)), 2)
    return {"radii": [{"pupil": "ANY", "radius": radius, "radius_inner": skyin, "radius_outer": skyout}]}


def _few(sensor, salt):
    """A handful of pixels, never reference pixels, the same ones each time."""
    rng = np.random.default_rng([salt, sensor.subarray.xstart, sensor.subarray.ystart])
    return (rng.random(sensor.shape) < 2e-4) & ~sensor.reference_pixels


def _psfmask(sensor, setup, options):
    """The part of the light that the mask passes."""
    return {"SCI": occulters.transmission(setup)}


def _nrm(sensor, setup, options):
    """Where the holes are, and the mask over the pupil."""
    return {"keywords": aperture_mask.nrm_keywords(), "NRM": aperture_mask.mask_image()}


def _throughput(sensor, setup, options):
    return {"THROUGHPUT": aperture_mask.throughput(setup.filter)}


MAKERS = {kind: globals()[f"_{kind}"] for kind in MODELS}
STAGE3_MAKERS = {kind: globals()[f"_{kind}"] for kind in STAGE3_MODELS}


def _write_fits(path, head, kind, parts):
    """Images as float32 or uint32, tables as they are, and DQ_DEF with the file's own bits."""
    primary = fits.PrimaryHDU()
    primary.header["FILENAME"] = (path.name, "Name of the file")
    for keyword, value in head.items():
        primary.header[keyword] = value
    for keyword, value in parts.pop("keywords", {}).items():
        primary.header[keyword] = value
    hdus = fits.HDUList([primary])
    for name, data in parts.items():
        if name == "DQ":
            flags = np.asarray(data).astype(np.uint32)
            blanked = ("NON_SCIENCE",) if (flags & dqbits.NON_SCIENCE).any() else ()
            bits, definitions = own_bits(flags, FLAGS[kind] + blanked)
            hdus.append(fits.ImageHDU(bits, name="DQ"))
            hdus.append(fits.BinTableHDU(definitions, name="DQ_DEF"))
        elif data.dtype.names:
            hdus.append(fits.BinTableHDU(data, name=name))
        else:
            hdus.append(fits.ImageHDU(np.asarray(data, np.float32), name=name))
    with storage.replaced(path) as temporary:
        hdus.writeto(temporary, overwrite=True)
    return path


def own_bits(standard, names):
    """Data quality with bits of the file's own, as delivered references have them, and the table that says which is which.

    Parameters
    ----------
    standard : ndarray of uint32
    names : sequence of str
        The first gets bit 0, and so on. Other flags must not occur.

    Returns
    -------
    bits : ndarray of uint32
    definitions : structured array with BIT, VALUE, NAME, DESCRIPTION
    """
    bits = np.zeros_like(standard)
    rest = standard.copy()
    for bit, name in enumerate(names):
        flag = np.uint32(dqbits.BY_NAME[name])
        bits |= np.where((standard & flag) != 0, np.uint32(1 << bit), np.uint32(0))
        rest &= ~flag
    if rest.any():
        raise ValueError(f"flags without a name: {np.unique(rest)}")
    rows = [(bit, 1 << bit, name, name.replace("_", " ").capitalize()) for bit, name in enumerate(names)]
    return bits, np.array(rows, dtype=[("BIT", "i4"), ("VALUE", "i4"), ("NAME", "S40"), ("DESCRIPTION", "S80")])


def _write_asdf(path, head, tree, pupils=()):
    """Keywords as metadata, in the schema's places.

    NIRCam's are for the open pupil, and filters or weak lenses in its place; or for those of the coronagraphs alone.
    """
    value = {k: v for k, (v, *_) in head.items()}
    meta = {
        "date": value["DATE"],
        "filename": path.name,
        "model_type": value["DATAMODL"],
        "telescope": "JWST",
        "reftype": value["REFTYPE"].lower(),
        "pedigree": value["PEDIGREE"],
        "description": value["DESCRIP"],
        "author": value["AUTHOR"],
        "useafter": value["USEAFTER"],
        "instrument": {"name": value["INSTRUME"]} | ({"detector": value["DETECTOR"]} if "DETECTOR" in value else {}),
        "subarray": {"name": "GENERIC"},
        "input_units": "pixel",
        "output_units": "arcsec",
    }
    for keyword in ("MODULE", "CHANNEL", "BAND"):
        if keyword in value:
            meta["instrument"][keyword.lower()] = value[keyword]
    if value["REFTYPE"].lower() in STAGE3:
        del meta["subarray"], meta["input_units"], meta["output_units"]
        if "EXP_TYPE" in value:
            meta |= {"exposure": {"type": value["EXP_TYPE"]}, "visit": {"tsovisit": value["TSOVISIT"]}}
    elif value["INSTRUME"] == "NIRCAM":
        masks = [pupil for pupil in pupils if (pupil or "").startswith("MASK")]
        if masks and len(masks) == len(pupils):  # their wedge moves the sky: for them alone
            meta["instrument"]["p_pupil"] = "".join(f"{mask}|" for mask in masks)
        else:
            meta["instrument"]["p_pupil"] = "CLEAR|" + "".join(f"{pupil}|" for pupil in pupils if re.match(r"F\d|WL", pupil))
    with storage.replaced(path) as temporary:
        asdf.AsdfFile({"meta": meta} | tree).write_to(temporary)
    return path
