"""A transit through NIRCam's Dispersed Hartmann Sensor: spectra of one source in stripes of the detector, as raw files.

    made = stripes.expose_stripes("folder")                        # four spectra of NRCA1, columns 901 to 1300
    stripes.expose_stripes("other", detector="NRCALONG")           # the long-wave detector meanwhile: four times the same rows

Every stripe has all of the spectrum's flux by its photom reference: how the mirror's light is shared out among the prisms is in it.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

import asdf
import numpy as np
from astropy.modeling.models import Polynomial1D

from ...files import storage
from ...model import stripes as readout
from ...model.exposure import Header
from .. import crds_cache, exposures, references
from ..detector import make_detector
from ..exposures import simulate_exposure
from ..from_rates import parts
from ..headers import Identity
from ..instruments import Subarray
from ..series import Transit
from ..spectrograph import Dip, Spectrum
from .light import disperse
from .optics import SERIES, Grism, Order
from .references import apertures, look_references, spectral_photom, wavelength_limits, write_asdf, write_references

FIRST, TRANSIT = Identity(), Transit()
NAME, ROWS = "SUB164STRIPE4_DHS", 164
# How the detectors are read: rows 1527 and so on of 40, or 40 rows from 973 on four times, with a row of reference pixels before each.
SHORT = {"MSTR_RD1": 1, "MSTR_SK1": 1526, "MSTR_RD2": 40, "MSTR_SK2": 85, "MSTR_RPT": 1, "MSTR_ILV": 1, "SSTR_STP": 0, "SSTR_NST": 0}
LONG = {**SHORT, "MSTR_SK1": 971, "MSTR_SK2": 0, "MSTR_ILV": 0}
NUMBERS = (10, 9, 8, 7)  # of the stripes on NRCA1, from the first row on
POINT = "F322W2"  # filter of the long-wave detector, which tells where in the field the source is
STAR = Spectrum(flux=0.02, at=1.6, slope=-1.2)


@dataclass(frozen=True)
class Layout:
    """What a detector sees of the sensor: how it is read, and the grism that each stripe is of, by number."""

    filter: str
    pupil: str
    keywords: dict
    grisms: dict


def layout(detector, xref=1023.5):
    """The `Layout` of a detector; `xref` is the column, from 0, of the undispersed source, which the long-wave grism counts from."""
    if detector.endswith("LONG"):
        one = replace(SERIES, field=0.0, orders=(replace(SERIES.orders[0], across=(991.5,)),), detector=detector)
        return Layout(one.filter, one.pupil, LONG, {number: one for number in range(1, 5)})
    rows = [1546.5 + 125 * k for k in range(4)]  # middles of the stripes
    grisms = {}
    for number, row in zip(NUMBERS, rows, strict=True):
        order = Order(1, (1.0, 2.4), (3028.0 + 4 * (number - 8), -4827.586), (row,))
        grisms[number] = Grism("NRC_TSGRISM", "F150W2", "GDHS0", detector, False, (order,), (1.0, 2.35), 0.2, 2.3e-14, field=0.0)
    return Layout("F150W2", "GDHS0", SHORT, grisms)


class StripesMade(NamedTuple):
    """A time series in stripes: what was written, and what was put in."""

    uncals: list[Path]
    references: list[Path]
    crds: Path
    spectrum: Callable  # Jy, at the barycentre
    dip: Dip
    paths: dict  # number of the stripe -> PathOfLight, in columns of the image
    light: np.ndarray  # DN/s out of transit, (row, col)


def expose_stripes(
    out,
    *,
    detector="NRCA1",
    columns=None,
    spectrum=STAR,
    nints=6,
    each=3,
    ngroups=4,
    transit=TRANSIT,
    depth=0.01,
    sky=1.0,
    identity=FIRST,
    noise=True,
    cosmic_rays=0.0,
    seed=1,
):
    """A transit in stripes, in segments, with its references.

    Parameters
    ----------
    out : path
    detector : {"NRCA1", "NRCALONG"}
    columns : (first, number), optional
        Of the detector, from 1; by default 400 that have light.
    spectrum : callable
        wavelength [micron] -> Jy.
    nints, each : int
        Integrations in all, and in a file.
    transit, depth
        As `prism.expose_series` takes them.
    sky : float
        DN/s, even.
    identity : headers.Identity
    noise, cosmic_rays, seed
        As `exposures.simulate_exposure` takes them.

    Returns
    -------
    StripesMade
    """
    out, (first, number) = Path(out), columns or ((401, 400) if detector.endswith("LONG") else (901, 400))
    packed, whole = Subarray(NAME, first, 1, number, ROWS), Subarray("GENERIC", first, 1, number, 2048)
    seen = layout(detector)
    options = {"detector": detector, "filter": seen.filter, "pupil": seen.pupil, "subarray": packed, "nints": nints, "ngroups": ngroups}
    options |= {"aperture": "NRCA5_FULL" if detector.endswith("LONG") else f"{detector}_FULL", "identity": identity}
    plan = exposures.take("NRC_TSGRISM", **options)
    primary, science = plan.headers()
    primary.update(seen.keywords)
    header = Header(primary, science, detector)
    again = detector.endswith("LONG")
    x0 = header["XREF_SCI"] - 1 if again else 1.0 - first  # of the image's columns; models of stripes count from the detector's first one
    known = {"fwhm": plan.setup.optics[1], "velocity": header["VELOSYS"], "corner": (first - 1, 0)}
    factors = 1 - transit.factor((np.arange(nints) + 0.5) / nints)
    dip = Dip(factors / transit.depth, depth)
    light, lost, paths = np.full(whole.shape, float(sky)), np.zeros(whole.shape), {}
    for label, grism in ({1: seen.grisms[1]} if again else seen.grisms).items():
        paths[label] = disperse(light, grism, x0, 0.0, spectrum, **known)[1]
        disperse(lost, grism, x0, 0.0, lambda wavelength: spectrum(wavelength) * dip(wavelength), **known)
    paths = {label: paths.get(label, paths[next(iter(paths))]) for label in seen.grisms}

    def cut(image):
        return readout.cut(image, header, (first, 1), 0, out, "simulated")

    sensor = make_detector("NIRCAM", detector, whole)
    images = {f.name: getattr(sensor, f.name) for f in fields(sensor)}
    images = {key: cut(image) for key, image in images.items() if isinstance(image, np.ndarray) and image.shape == whole.shape}
    small, rate = replace(sensor, subarray=packed, **images), cut(light) - dip.shape[:, None, None] * cut(lost)
    given = {"sensor": small, "noise": noise, "cosmic_rays": cosmic_rays, "seed": seed, "truth": out / "truth"}
    given["header"] = {**seen.keywords, "PPS_APER": f"NRCA5_GRISMDHS_{POINT}"}
    uncals = []
    for part, share in parts(identity, nints, each, rate * small.gain):
        uncals.append(simulate_exposure(out / "data", exp_type="NRC_TSGRISM", light=share, **(options | given | part)).uncal)
    folder = out / "references"
    files = _write(folder, seen, plan.setup) + look_references(folder, plan.setup)
    setup = replace(plan.setup, subarray=whole)
    files += references.write_references(folder, sensor, setup=setup, types=references.NEAR_INFRARED, setups=[setup]).values()
    crds_cache.build(out / "crds", files, pars=crds_cache.operations(), absent=(*references.IMAGING, "flat"))
    return StripesMade(uncals, files, out / "crds", spectrum, dip, paths, cut(light))


def _write(folder, seen, setup):
    """The mode's own references."""
    folder.mkdir(parents=True, exist_ok=True)
    one, several = next(iter(seen.grisms.values())), not setup.detector.endswith("LONG")
    entry = {"id": "ANY", "region_type": "target", "dispaxis": 1, "bkg_order": 0, "spectral_order": 1, "use_source_posn": False}
    entry |= {"xstart": 0, "xstop": 2047, "ystart": 10, "ystop": 29, "bkg_coeff": [[-0.5], [4.5], [34.5], [39.5]]}
    aperture = apertures(folder / "nrc_tsgrism_extract1d.json", one, entry)
    if not several:
        return [*write_references(folder, [one]), aperture, _regions(folder, setup, {1: seen.grisms[1]})]
    tree = {"orders": [1], "stripes": sorted(seen.grisms), "fieldpoints": [POINT] * len(seen.grisms)}
    for name, make in (("displ", _wavelength), ("dispx", _along), ("dispy", _across)):
        tree[name] = [[[make(seen.grisms[number].orders[0])]] for number in sorted(seen.grisms)]
    specwcs = write_asdf(folder / "nrc_stripes_specwcs.asdf", "specwcs", one, tree)
    limits = write_asdf(folder / "nrc_stripes_wavelengthrange.asdf", "wavelengthrange", one, wavelength_limits([one]), general=True)
    return [specwcs, limits, spectral_photom(folder / "nrc_stripes_photom.fits", [one]), aperture, _regions(folder, setup, seen.grisms)]


def _wavelength(order):
    low, high = order.wavelengths
    return Polynomial1D(1, c0=low, c1=high - low)


def _along(order):
    return Polynomial1D(1, c0=order.along[0], c1=order.along[1])


def _across(order):
    return Polynomial1D(1, c0=order.across[0], c1=0.0)


def _regions(folder, setup, grisms):
    """The number of each pixel's stripe, of the whole detector."""
    labels = np.zeros((2048, 2048), np.int16)
    for number, grism in grisms.items():
        middle = grism.orders[0].across[0]
        labels[int(middle - 19.5) : int(middle + 20.5)] = number
    meta = {"telescope": "JWST", "reftype": "regions", "author": "jwcal.simulate", "pedigree": "DUMMY", "useafter": references.USEAFTER}
    meta |= {"description": "made by jwcal.simulate", "exposure": {"type": "NRC_TSGRISM"}, "model_type": "RegionsModel"}
    meta |= {"instrument": {"name": "NIRCAM", "detector": setup.detector}, "subarray": {"name": NAME}}
    path = folder / f"{setup.detector.lower()}_regions.asdf"
    with storage.replaced(path) as temporary:
        asdf.AsdfFile({"meta": meta, "regions": labels}).write_to(temporary, all_array_compression="zlib")
    return path
