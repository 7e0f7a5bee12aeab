"""A point source's profile across a spectrum, from the PSF reference."""

import logging

import numpy as np
from scipy import ndimage, optimize

from ...files.reference_file import another, understood
from ...kernels.spectra.profile_fit import fit_profiles
from ...vocabulary.errors import ReferenceError
from .source_place import middle_of_spectrum, negative_source, trace_through

log = logging.getLogger(__name__)

FIRST = ("ANY", "NONE")  # names of a PSF that is for all slits
PAIRS = ("ALONG-SLIT-NOD", "2-POINT-NOD")  # PATTTYPE of two nods
LEAST_DISTANCE = 2  # pixels between a source and its negative


class Psf:
    """A slit's PSF: a map of wavelength and place across the spectrum.

    Parameters
    ----------
    reference : Reference
        psf: images PSF with APERTURE, SUBPIX, CENTCOL, CENTROW, and WAVE [micron].
    slit : str
        Its name.
    vertical : bool
        Whether the spectrum runs along y, there as in the data.
    whole : bool
        Whether 1 is the whole PSF, or what falls on the image.

    Raises
    ------
    ReferenceError
        It has none for the slit.
    """

    def __init__(self, reference, slit, vertical, whole=True):
        with understood("psf", reference.path):
            for number in reference.versions("PSF"):
                about = reference.keywords("PSF", number)
                name = str(about.get("APERTURE", "NONE")).upper()
                if name in FIRST or name == slit.upper():
                    break
            else:
                raise ReferenceError(f"the psf reference has no PSF for {slit}", reference.path, another("psf"))
            image = reference.uncut(f"PSF,{number}").astype(float)
            self.image = image if vertical else image.T
            self.samples = float(about["SUBPIX"])  # a pixel
            self.centre = float(about["CENTCOL" if vertical else "CENTROW"])
            wave = np.asarray(reference.uncut(f"WAVE,{number}"), float)
        self.whole = whole
        self._totals = self.image.sum(axis=1) / self.samples
        order = np.argsort(wave)
        self._order = order[np.isfinite(wave[order])]
        self._wave = wave[self._order]

    def lines(self, wavelength):
        """Where in the map wavelengths are; NaN outside it."""
        return np.interp(wavelength, self._wave, self._order, left=np.nan, right=np.nan)

    def profile(self, lines, across):
        """Profiles across the spectrum.

        Parameters
        ----------
        lines : ndarray (along, across)
        across : ndarray (along, across)
            Pixels from the source.

        Returns
        -------
        float64 (along, across)
            Zeros where there is no PSF.
        """
        places = np.array([lines, self.centre + across * self.samples])
        places[:, ~np.isfinite(places).all(axis=0)] = -10
        found = ndimage.map_coordinates(self.image, places, order=1)
        if self.whole:
            known = np.where(np.isfinite(lines), lines, 0)
            total = np.interp(known, np.arange(self._totals.size), self._totals)
        else:
            total = np.broadcast_to(found.sum(axis=1, keepdims=True), found.shape)
        return np.divide(found, total, out=np.zeros_like(found), where=total != 0)


def psf_profiles(psf, slit, light, place, *, trace, model_nod_pair, optimize_location):
    """Profiles of the source and, where the other nod was subtracted, of its negative.

    Parameters
    ----------
    psf : Psf
    slit : Exposure
    light : slits.Light
        The pixels.
    place : str
        How the source's place is known: see `source_place.find_source`.
    trace : ndarray (along,) or None
        Of the source; through the middle if None.
    model_nod_pair, optimize_location : bool

    Returns
    -------
    list of float64 (along, across)
    """
    wcs, shape = slit.wcs, slit.sci.shape[-2:]
    middle = middle_of_spectrum(wcs, shape, light.vertical)
    if trace is None:
        if model_nod_pair:
            log.info("No negative source is fitted: the source's place is not known")
        model_nod_pair = False
        trace = trace_through(wcs, shape, light.vertical, place, middle)
    distance = None
    if model_nod_pair and _is_one_of_two_nods(slit):
        distance = trace[middle.row] - negative_source(slit, wcs, middle, light.vertical, place)
        if not abs(distance) >= LEAST_DISTANCE:
            log.warning("No negative source is fitted: the WCS does not tell where it is")
            distance = None
    start = [0.0] if distance is None else [0.0, distance]
    if optimize_location:
        start = _best_place(psf, light, trace, start)
    log.info("The profile is centred at pixel %.2f, wavelength %.2f", trace[middle.row] - start[0], middle.wavelength)
    if distance is not None:
        log.info("A negative source is fitted %.2f pixels from it", -start[1])
    return _profiles(psf, light.wavelength, np.arange(light.shape[1]) - trace[:, None], start)


def _profiles(psf, wavelength, across, place):
    """The source's profile, and its negative's. `place`: shift, and distance of the negative."""
    lines = psf.lines(wavelength)
    found = [psf.profile(lines, across + place[0])]
    return found if len(place) == 1 else [*found, -psf.profile(lines, across + place[0] + place[1])]


def _best_place(psf, light, trace, start):
    """Shift, and distance of the negative, with the least squares of what remains of the first integration, in units of the read noise."""
    lit = np.isfinite(light.wavelength)
    rows, columns = (slice(k[0], k[-1] + 1) for k in (np.flatnonzero(lit.any(axis=axis)) for axis in (1, 0)))
    sci, good = (np.ascontiguousarray(plane[:1, rows, columns]) for plane in (light.sci, light.good))
    good &= lit[rows, columns]
    noise = np.ones(sci.shape) if light.rnoise is None else light.rnoise[:1, rows, columns].astype(float)
    weight = np.divide(1.0, noise, out=np.zeros(noise.shape), where=good & (noise > 0))
    if not weight.any():
        weight = good.astype(float)
    data = np.where(good, sci, 0).astype(float)
    wavelength = light.wavelength[rows, columns]
    across = np.arange(light.shape[1])[columns] - trace[rows, None]

    def remains(place):
        profiles = np.array(_profiles(psf, wavelength, across, place))
        _, model = fit_profiles(sci, (None, None, None), good, profiles, order=0, want_model=True)
        return float((weight * (model - data) ** 2).sum())

    return optimize.minimize(remains, start, method="Nelder-Mead").x


def _is_one_of_two_nods(slit):
    """Whether the other nod was subtracted from it."""
    done = slit.steps.get("bkg_subtract", (None,))[0] or slit.header.get(BACKGROUND_STATUS)
    if done != "COMPLETE":
        log.info("No negative source is fitted: no nod was subtracted")
        return False
    if slit.header.get(PATTERN) not in PAIRS:
        log.info("No negative source is fitted: there are not two nods")
        return False
    return True


BACKGROUND_STATUS, PATTERN = "S_BKDSUB", "PATTTYPE"  # text, whatever it says
