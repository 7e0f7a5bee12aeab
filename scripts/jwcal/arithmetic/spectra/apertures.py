"""Where a spectrum is summed: the aperture that the extract1d reference gives, moved to the source."""

import logging
from dataclasses import dataclass

import numpy as np

from ...vocabulary.errors import ReferenceError

log = logging.getLogger(__name__)

ANY = "ANY"
LEAST_SMOOTHING = 3


@dataclass
class Aperture:
    """What is summed at each wavelength. Places are pixels from 0; first and last are inclusive, and parts of pixels count.

    Attributes
    ----------
    along, across : [first, last]
        Along the spectrum and across it.
    width : float or None
        Across, about the trace or the middle of `across`; in place of `across`.
    source, background : list of polynomials, or None
        Pairs of limits across the spectrum, pixel edges from the middle of pixel 0; constant term first.
    of_wavelength : bool
        The polynomials are of the wavelength, not of the pixel along the spectrum.
    subtract : bool
        Whether a background is taken off.
    fit : {"poly", "median"}
        How it is found.
    order : int
        Of its polynomial.
    smoothing : int
        Pixels along the spectrum over which it is smoothed before; 0 for none.
    centred : bool
        Whether the aperture is moved to where the source is.
    trace : ndarray (along,) or None
        Where the source is across the spectrum.
    """

    along: list
    across: list
    width: float | None = None
    source: list | None = None
    background: list | None = None
    of_wavelength: bool = False
    subtract: bool = False
    fit: str = "poly"
    order: int = 0
    smoothing: int = 0
    centred: bool = False
    trace: np.ndarray | None = None

    def move(self, offset, background=True):
        """Move it across the spectrum; the trace stays where it is."""
        self.across = [place + offset for place in self.across]
        for name in ("source", "background") if background else ("source",):
            limits = getattr(self, name)
            if limits is not None:
                setattr(self, name, [[coefficients[0] + offset, *coefficients[1:]] for coefficients in limits])

    def refine(self, finer, first, last):
        """Take it to an image with `finer` times as many pixels across; `first`, `last`: whether these limits come from the reference."""
        across = [self.across[0] * finer, (self.across[1] + 1) * finer - 1]
        self.across = [new if meant else old for new, old, meant in zip(across, self.across, (first, last), strict=True)]
        self.width = None if self.width is None else self.width * finer
        for name in ("source", "background"):
            limits = getattr(self, name)
            if limits is not None:
                setattr(self, name, [[(c[0] + 0.5) * finer - 0.5, *(finer * more for more in c[1:])] for c in limits])


def find_aperture(reference, names, order, shape, vertical, *, centre_by_default, finer=1.0, **given):
    """The aperture of a slit.

    Parameters
    ----------
    reference : Reference or None
        extract1d: its tree has `apertures`. Without one all pixels are summed.
    names : sequence of str
        What the slit may be called there.
    order : int
        Spectral order.
    shape : (int, int)
        Pixels along and across the spectrum.
    vertical : bool
        Whether the spectrum runs along y.
    centre_by_default : bool
        Where neither the user nor the reference says.
    finer : float
        Pixels of the image across the spectrum for one of the detector, which the reference means.
    given : dict
        The user's subtract_background, bkg_fit, bkg_order, smoothing_length, use_source_posn; None for what the reference says.

    Returns
    -------
    Aperture or None
        None where the reference has the slit, but not this order.

    Raises
    ------
    ReferenceError
        It does not have the slit, or not what an aperture needs.
    """
    whole = Aperture([0, shape[0] - 1], [0, shape[1] - 1])
    if reference is None:
        return whole
    wrong = reference.path, "Give another extract1d reference under references: overrides"
    apertures = reference.tree.get("apertures")
    if not isinstance(apertures, list):
        raise ReferenceError("the extract1d reference has no list `apertures`", *wrong)
    known = [a for a in apertures if "id" in a and (a["id"] in (*names, ANY)) and a.get("region_type", "target") == "target"]
    if not known:
        raise ReferenceError(f"the extract1d reference has no aperture for {' or '.join(names)}", *wrong)
    entry = next((a for a in known if a.get("spectral_order", order) in (order, ANY)), None)
    if entry is None:
        return None
    along, across = ("y", "x") if vertical else ("x", "y")
    aperture = Aperture(
        [entry.get(f"{along}start", 0), entry.get(f"{along}stop", shape[0] - 1)],
        [entry.get(f"{across}start", 0), entry.get(f"{across}stop", shape[1] - 1)],
        width=entry.get("extract_width"),
        source=_limits(entry, "src_coeff", wrong),
        background=_limits(entry, "bkg_coeff", wrong),
        of_wavelength=str(entry.get("independent_var", "pixel")).lower().startswith("wavelength"),
    )
    numbers = [*aperture.along, *aperture.across, 1 if aperture.width is None else aperture.width]
    if not all(isinstance(n, int | float) and np.isfinite(n) for n in numbers):
        raise ReferenceError(f"the limits of the aperture {entry['id']} in the extract1d reference are no numbers", *wrong)
    if finer != 1:
        aperture.refine(finer, f"{across}start" in entry, f"{across}stop" in entry)
    chosen = {name: entry.get(name, default) if given.get(name) is None else given[name] for name, default in DEFAULTS.items()}
    aperture.centred = bool(centre_by_default if chosen["use_source_posn"] is None else chosen["use_source_posn"])
    subtract = given.get("subtract_background")
    aperture.subtract = aperture.background is not None if subtract is None else subtract
    if not aperture.subtract:
        aperture.background = None
        return aperture
    aperture.fit, aperture.order = chosen["bkg_fit"], int(chosen["bkg_order"])
    if aperture.fit not in ("poly", "mean", "median") or aperture.order < 0:
        what = f"bkg_fit and bkg_order are {aperture.fit} and {aperture.order} in the extract1d reference"
        raise ReferenceError(what, *wrong)
    if aperture.fit == "mean":
        aperture.fit, aperture.order = "poly", 0
    aperture.smoothing = _odd(chosen["smoothing_length"])
    return aperture


DEFAULTS = {"use_source_posn": None, "bkg_fit": "poly", "bkg_order": 0, "smoothing_length": 0}


def _limits(entry, name, wrong):
    limits = entry.get(name)
    if limits is None:
        return None
    if len(limits) % 2 or not all(isinstance(c, list) and c for c in limits):
        raise ReferenceError(f"{name} of the aperture {entry['id']} is no list of lower and upper limits in turn", *wrong)
    return [list(map(float, c)) for c in limits]


def _odd(length):
    length = round(length)
    if length and length < LEAST_SMOOTHING:
        log.warning("The background is not smoothed: a smoothing_length of %d is below %d", length, LEAST_SMOOTHING)
        return 0
    if length and length % 2 == 0:
        log.warning("smoothing_length is even: %d is taken", length - 1)
        return length - 1
    return length


def aperture_weights(aperture, shape, wavelength):
    """The part of each pixel that is in the aperture.

    Parameters
    ----------
    aperture : Aperture
    shape : (int, int)
        Pixels along and across the spectrum.
    wavelength : ndarray (along, across)

    Returns
    -------
    weights : float64 (along, across)
    limits : (float, float)
        First and last pixel across the spectrum: means along it.
    """
    if aperture.source is not None:
        pairs = _evaluated(aperture.source, aperture, shape, wavelength)
        limits = min(np.nanmean(low) for low, _ in pairs), max(np.nanmean(high) for _, high in pairs)
    else:
        low, high = np.full(shape[0], float(aperture.across[0])), np.full(shape[0], float(aperture.across[1]))
        if aperture.width is not None:
            middle = (low + high) / 2 if aperture.trace is None else aperture.trace
            low = middle - (aperture.width - 1) / 2
            high = low + aperture.width - 1
        pairs = [(low[:, None], high[:, None])]
        limits = np.nanmean(low), np.nanmean(high)
    return _inside(pairs, aperture, shape), (float(limits[0]), float(limits[1]))


def background_weights(aperture, shape, wavelength):
    """The same for the background's regions; for a median whole pixels count."""
    return _inside(_evaluated(aperture.background, aperture, shape, wavelength), aperture, shape, whole=aperture.fit == "median")


def background_limits(aperture, shape, wavelength):
    """First and last pixel across the spectrum of each region of the background, means along it: list of (float, float)."""
    found = _evaluated(aperture.background, aperture, shape, wavelength)
    return [(float(np.nanmean(low)), float(np.nanmean(high))) for low, high in found if np.isfinite(low).any() and np.isfinite(high).any()]


def _evaluated(polynomials, aperture, shape, wavelength):
    """Pairs of first and last pixel, (along, across) or (along, 1)."""
    of = wavelength if aperture.of_wavelength else np.arange(shape[0], dtype=float)[:, None]
    places = [np.polynomial.polynomial.polyval(of, c) + np.zeros((shape[0], 1)) for c in polynomials]
    # a polynomial tells a pixel's edge, first and last are pixels
    return [(low + 0.5, high - 0.5) for low, high in zip(places[::2], places[1::2], strict=True)]


def _inside(pairs, aperture, shape, whole=False):
    pixel = np.arange(shape[1])
    weights = np.zeros(shape)
    for low, high in pairs:
        with np.errstate(invalid="ignore"):
            if whole:
                part = ((pixel >= low) & (pixel <= high)).astype(float)
            else:
                part = np.clip(np.minimum(pixel, high) - np.maximum(pixel, low) + 1, 0, 1)
        weights = np.fmax(weights, part)
    first, last = aperture.along
    weights[: max(0, int(np.ceil(first)))] = 0
    weights[max(0, int(np.floor(last)) + 1) :] = 0
    return weights


def middle_of(weights, row):
    """The middle of an aperture across the spectrum at one pixel along it; that of the image where it is not there."""
    line = weights[row]
    return float(np.average(np.arange(line.size), weights=line if line.sum() > 0 else None))
