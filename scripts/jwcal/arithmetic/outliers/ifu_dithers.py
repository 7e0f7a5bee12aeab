"""Each pixel of an image of slices beside what the other dithers see at its place on the sky and its wavelength.

Another exposure's light there is interpolated between the pixels of the two slices on both sides. A pixel may differ from it by the
noise, by what the other one's light changes between these pixels (the telescope's image is sharper than slices and pixels), and by some
percent. It is an outlier where it differs from more than half of the others: a hit in one exposure is one there and in no other.
"""

import numpy as np

from ...kernels.outliers.other_dither import compare
from ...vocabulary.errors import InputError
from ..wcs.pixel_coordinates import labels_of, wavelength_and_sky

MOST = 4  # others that an exposure is compared with
DEGREES = 3, 5  # of the polynomials, in the place along a slice and in the wavelength
SAMPLES = 3000  # pixels of a slice that they are fitted to
GROUP = ("DETECTOR", "CHANNEL", "BAND", "GRATING", "FILTER")


class Dithers:
    """The exposures by detector and band, with what is compared of each.

    Parameters
    ----------
    members : exposure.Members, or iterable of Exposure
        Which has `room` for what has to be kept, or all is kept in memory.
    """

    def __init__(self, members):
        self._members = members
        self._views, self._centre = [], None

    def add(self, exposure, sci):
        """Add an exposure; `sci` (row, col) float32 is NaN where it can't be used."""
        if exposure.wcs is None:
            raise InputError("there is no gWCS in it", exposure.name, "Run assign_wcs")
        labels = exposure.extra.get("REGIONS")
        labels = labels_of(exposure.wcs) if labels is None else labels
        if labels is None:
            raise InputError("neither its WCS nor an extension REGIONS tells its slices", exposure.name, "Run assign_wcs")
        ra, dec, wavelength = wavelength_and_sky(exposure.wcs, sci.shape)
        if self._centre is None:
            good = np.isfinite(ra)
            if not good.any():
                raise InputError("no pixel looks at the sky", exposure.name, "Look at its pointing")
            self._centre = ra[good][0], dec[good][0]
        u, v = _plane(ra, dec, *self._centre)
        view = _View(tuple(exposure.header.get(key) for key in GROUP), np.where(np.isfinite(wavelength), labels, 0).astype(np.int32))
        view.fit(u, v, wavelength)
        with np.errstate(invalid="ignore"):
            lit = exposure.err > 0
        for name, plane in (("sci", sci), ("err", np.where(lit, exposure.err, np.nan)), ("u", u), ("v", v), ("wavelength", wavelength)):
            view.planes[name] = self._room(f"{len(self._views)}-{name}", plane)
        self._views.append(view)

    def _room(self, name, plane):
        kept = self._members.room(name, plane.shape) if hasattr(self._members, "room") else np.empty(plane.shape, np.float32)
        kept[:] = plane
        return kept

    def _others(self, number):
        """Those of its band that an exposure is compared with: the nearest ones in the order of the association."""
        same = [other for other, view in enumerate(self._views) if other != number and view.group == self._views[number].group]
        return sorted(same, key=lambda other: (abs(other - number), other))[:MOST]

    def alone(self, number):
        """Whether no other exposure is of its band."""
        return not self._others(number)

    def unlike(self, number, rules):
        """Which pixels of an exposure others see, and which are unlike most of these by each rule: bool (1 + n, row, col).

        Parameters
        ----------
        number : int
            In the order in which they were added.
        rules : (n, 2) float64
            Standard deviations and scale.
        """
        mine = self._views[number]
        counts = np.zeros((1 + len(rules), *mine.labels.shape), np.uint8)
        planes = [np.asarray(mine.planes[name]) for name in ("sci", "err")]
        places = [np.asarray(mine.planes[name]) for name in ("u", "v", "wavelength")]
        for other in self._others(number):
            its = self._views[other]
            theirs = [np.asarray(its.planes[name]) for name in ("sci", "err")]
            compare(*planes, mine.labels, *places, *theirs, *its.geometry, np.ascontiguousarray(rules, np.float64), counts)
        return np.concatenate([counts[:1] > 0, 2 * counts[1:] > counts[0]])


class _View:
    """What one exposure is compared by.

    Attributes
    ----------
    group : detector, channels, band...
    labels : (row, col) int32
    planes : name -> (row, col) float32
    geometry : frame, first, numbers, centres, limits, to_x, to_y; see `kernels.outliers.other_dither.compare`
    """

    def __init__(self, group, labels):
        self.group, self.labels, self.planes, self.geometry = group, labels, {}, None

    def fit(self, u, v, wavelength):
        """Where the slices lie on the sky, and the pixel that looks at a place of a slice at a wavelength."""
        flat = np.flatnonzero(self.labels)
        flat = flat[np.argsort(self.labels.ravel()[flat], kind="stable")]
        names, starts = np.unique(self.labels.ravel()[flat], return_index=True)
        parts = [part[:: max(1, part.size // SAMPLES)] for part in np.split(flat, starts[1:])]
        u, v, wavelength = (plane.ravel() for plane in (u, v, wavelength))
        places = [np.stack([u[part], v[part]]) for part in parts]
        channels = names // 100
        frame = np.zeros((channels[-1] + 1, 2, 2))
        for channel in np.unique(channels):
            frame[channel] = _direction([place for place, its in zip(places, channels, strict=True) if its == channel])
        y, x = np.divmod(np.arange(self.labels.size), self.labels.shape[1])
        rows = []
        for name, part, place in zip(names.tolist(), parts, places, strict=True):
            along, across = frame[name // 100] @ place
            limits = [*_middle(along), *_middle(wavelength[part])]
            terms = _terms((along - limits[0]) / limits[1], (wavelength[part] - limits[2]) / limits[3])
            fits = np.linalg.lstsq(terms, np.stack([x[part], y[part]], axis=1).astype(float), rcond=None)[0]
            rows.append((name // 100, float(np.median(across)), name, limits, *(fit.reshape(DEGREES) for fit in fits.T)))
        rows.sort(key=lambda row: row[:2])
        channels, centres, numbers, limits, to_x, to_y = zip(*rows, strict=True)
        first = np.searchsorted(channels, np.arange(max(channels) + 2))
        arrays = (np.array(numbers), np.array(centres), np.array(limits), np.array(to_x), np.array(to_y))
        self.geometry = (frame, first, *arrays)


def _plane(ra, dec, ra0, dec0):
    """Tangent plane [arcsec]."""
    ra, dec, dec0 = np.radians(ra - ra0), np.radians(dec), np.radians(dec0)
    along = np.sin(dec) * np.sin(dec0) + np.cos(dec) * np.cos(dec0) * np.cos(ra)
    x = np.cos(dec) * np.sin(ra) / along
    y = (np.sin(dec) * np.cos(dec0) - np.cos(dec) * np.sin(dec0) * np.cos(ra)) / along
    return np.degrees(x) * 3600, np.degrees(y) * 3600


def _direction(parts):
    """The turn of the plane after which slices lie along the first coordinate: (2, 2)."""
    spread = sum(np.cov(part) * part.shape[1] for part in parts if part.shape[1] > 2)
    _, vectors = np.linalg.eigh(spread)
    return vectors[:, ::-1].T.copy()


def _middle(values):
    low, high = values.min(), values.max()
    return (low + high) / 2, max((high - low) / 2, 1e-9)


def _terms(a, w):
    powers = [a**i * w**j for i in range(DEGREES[0]) for j in range(DEGREES[1])]
    return np.stack(powers, axis=1)
