"""One star through a series of images: where it is, how wide, how bright."""

import numpy as np
from scipy.ndimage import median_filter

from ...kernels.photometry.aperture_sums import aperture_sums
from ...kernels.photometry.gaussian_fit import fit_gaussians

FWHM = 2 * np.sqrt(2 * np.log(2))  # of a Gaussian, in its standard deviations
REJECT = 5.0  # times the noise: what is further from the series' median in the background is no light of the sky
RUNNING = 5  # integrations of which the median is taken to follow a drift
SCATTER = 1.4826  # standard deviation of a normal distribution in median absolute deviations

# Of the table's meta data: name -> keyword.
ABOUT = {
    "instrument": "INSTRUME",
    "detector": "DETECTOR",
    "channel": "CHANNEL",
    "subarray": "SUBARRAY",
    "filter": "FILTER",
    "pupil": "PUPIL",
    "target_name": "TARGNAME",
}


def replace_bad(cube, error, background, ring):
    """Replace pixels without a value by those of the other integrations, scaled and moved to the star of theirs.

    The star is the pixels' median over the integrations. Its brightness and shift in one integration are the factors of the star
    and of its derivatives by x and y that fit the good pixels best; what is left of slow drifts is a running median in time.
    In the ring of the background, values far from that are replaced too: cosmic rays that nobody has found.

    Parameters
    ----------
    cube, error : float32 (int, row, col)
        Changed in place; NaN where bad.
    background : float (int,)
        Of each integration.
    ring : bool (row, col)
        Pixels of the background.

    Returns
    -------
    replaced : bool (int, row, col)
        Where something was done. Pixels that are bad in all integrations stay NaN.
    """
    typical, typical_error = _median(cube), _median(error)
    expected = _fitted(cube, typical - _nanmedian(background), background)
    expected += typical * 0  # NaN where nothing is known
    apart = cube - expected
    if len(cube) >= RUNNING:
        drift = median_filter(np.nan_to_num(apart), (RUNNING, 1, 1), mode="nearest")
        expected += drift
        apart -= drift
    apart = np.abs(apart)
    with np.errstate(invalid="ignore"):
        noise = np.fmax(error, SCATTER * _median(apart))
        replaced = np.isfinite(expected) & (~np.isfinite(cube) | (ring & (apart > REJECT * noise)))
    np.copyto(cube, expected, where=replaced, casting="same_kind")
    np.copyto(error, np.broadcast_to(typical_error, error.shape), where=replaced, casting="same_kind")
    return replaced


def _fitted(cube, star, background):
    """The star and its derivatives, fitted to each integration by least squares, and the background."""
    star = np.nan_to_num(star)
    shapes = np.stack([star, *np.gradient(star)]) if min(star.shape) > 1 else star[None]
    good = np.isfinite(cube)
    light = np.where(good, cube - background[:, None, None], 0)
    vector = np.einsum("kyx,iyx->ik", shapes, light, optimize=True)
    matrix = np.einsum("kyx,lyx,iyx->ikl", shapes, shapes, good.astype(float), optimize=True)
    factors = np.einsum("ikl,il->ik", np.linalg.pinv(matrix, hermitian=True), vector)
    return np.einsum("ik,kyx->iyx", factors, shapes, optimize=True) + background[:, None, None]


def _median(cube):
    """Over the integrations, NaN left out; NaN where nothing is left."""
    ordered = np.sort(cube, axis=0)  # NaN come last
    count = np.isfinite(cube).sum(axis=0)
    low, high = (np.take_along_axis(ordered, np.maximum(c, 0)[None], axis=0)[0] for c in ((count - 1) // 2, count // 2))
    return np.where(count > 0, 0.5 * (low + np.where(count > 0, high, 0)), np.nan)


def background_level(cube, x, y, radius):
    """Median of each image outside a circle, float64 (image,)."""
    rows, columns = np.indices(cube.shape[1:])
    outside = (columns - x) ** 2 + (rows - y) ** 2 >= radius**2
    return np.array([_nanmedian(image[outside]) for image in cube])


def _nanmedian(values):
    values = values[np.isfinite(values)]
    return np.median(values) if values.size else np.nan


def centroids(cube, background, x, y, box):
    """Centre of mass of each image in a box around one place.

    Parameters
    ----------
    cube : float32 (image, row, col)
        NaN does not count.
    background : float (image,)
    x, y : float
        Pixels from 0.
    box : int
        Side of the box, odd.

    Returns
    -------
    x, y : float64 (image,)
        NaN where the place or the centre is outside the image, or nothing is left.
    """
    nothing = np.full(len(cube), np.nan)
    nrow, ncol = cube.shape[1:]
    if not (0 <= x <= ncol - 1 and 0 <= y <= nrow - 1):
        return nothing, nothing
    left, low = (int(np.ceil(place - 0.5)) - box // 2 for place in (x, y))
    columns, rows = (np.arange(max(0, first), min(size, first + box)) for first, size in ((left, ncol), (low, nrow)))
    part = np.nan_to_num(cube[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] - background[:, None, None])
    total = part.sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        found_x, found_y = (part.sum(axis=1) * columns).sum(axis=1) / total, (part.sum(axis=2) * rows).sum(axis=1) / total
        inside = (found_x >= 0) & (found_x < ncol) & (found_y >= 0) & (found_y < nrow)
    return np.where(inside, found_x, np.nan), np.where(inside, found_y, np.nan)


def widths(cube, background, x, y, box):
    """Gaussians fitted at the centroids: standard deviations in x and y, pixels, and flux; each float64 (image,)."""
    flux, wide, high = fit_gaussians(cube - background[:, None, None], x, y, box, box / FWHM)
    return wide, high, flux


def aperture_flux(cube, error, x, y, radius, inner, outer):
    """Sums in a circle and in the ring of the background, and their difference.

    Parameters
    ----------
    cube, error : float32 (image, row, col)
    x, y : float (image,)
    radius, inner, outer : float
        Pixels.

    Returns
    -------
    dict of float64 (image,)
        Columns of the catalogue, by name.
    """
    numbers = np.arange(len(cube))
    total, total_err, area, _ = aperture_sums(cube, error, numbers, x, y, radius)
    ring, ring_err, ring_area, _ = aperture_sums(cube, error, numbers, x, y, outer, inner)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean, mean_err = ring / ring_area, ring_err / ring_area
    below, below_err = mean * area, mean_err * area
    return {
        "aperture_sum": total,
        "aperture_sum_err": total_err,
        "annulus_sum": ring,
        "annulus_sum_err": ring_err,
        "annulus_mean": mean,
        "annulus_mean_err": mean_err,
        "aperture_bkg": below,
        "aperture_bkg_err": below_err,
        "net_aperture_sum": total - below,
        "net_aperture_sum_err": np.hypot(total_err, below_err),
    }


def whole_image_flux(cube, error):
    """Sums of all pixels, without a background: for images that the star fills."""
    total, err = np.nansum(cube, axis=(1, 2), dtype=float), np.sqrt(np.nansum(error.astype(float) ** 2, axis=(1, 2)))
    nothing = np.full(len(cube), np.nan)
    between = ("annulus_sum", "annulus_sum_err", "annulus_mean", "annulus_mean_err", "aperture_bkg", "aperture_bkg_err")
    columns = {"aperture_sum": total, "aperture_sum_err": err, **dict.fromkeys(between, nothing)}
    return {**columns, "net_aperture_sum": total, "net_aperture_sum_err": err}
