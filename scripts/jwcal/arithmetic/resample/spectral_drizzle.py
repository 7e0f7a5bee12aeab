"""Slits drizzled onto their grids."""

import numpy as np

from ...model.exposure import Pixels
from ...vocabulary import dq as dqbits
from .drizzle_images import Mosaic
from .spectral_grid import places
from .spectral_keywords import is_flux_density


def slit_mosaic(grid, count, **drizzle):
    """A `Mosaic` of slits: its pixels have another scale along the slit only."""
    return Mosaic(grid.shape, count, pixel_scale_ratio=1 / grid.ratio, area_ratio=1 / grid.ratio, **drizzle)


def add_slit(mosaic, slit, grid, bad_bits=None):
    """Add one slit to a mosaic; it is left as it is.

    Parameters
    ----------
    mosaic : drizzle_images.Mosaic
    slit : Exposure
        With one grid of pixels, (row, col).
    grid : spectral_grid.SlitGrid
    bad_bits : int, optional
        Data quality of pixels that do not count, in place of DO_NOT_USE and NON_SCIENCE.
    """
    header, wcs, shape = slit.header, slit.wcs, slit.sci.shape
    (rows, columns), placed = places(wcs, grid.wcs, shape)
    part = Pixels(**{name: plane[rows, columns] for name, plane in slit.pixels[0].planes() if plane.shape == shape})
    if bad_bits is not None and part.dq is not None:
        part.dq = np.where(part.dq & np.uint32(bad_bits), np.uint32(dqbits.DO_NOT_USE), np.uint32(0))
    (x1, x2), (y1, y2) = wcs.bounding_box.bounding_box(order="F")
    box = (x1 - columns.start, x2 - columns.start), (y1 - rows.start, y2 - rows.start)
    time = 1.0 if mosaic.weight_type != "exptime" else header.get("TMEASURE") or header["EFFEXPTM"]
    scale = 1 / grid.ratio if is_flux_density(header.get("BUNIT")) else 1.0
    mosaic.add(part, placed, box, time, level(header), scale)


def level(header):
    """The sky's level that was found and not subtracted."""
    return 0.0 if header.get("BKGSUB", False) else header.get("BKGLEVEL", 0.0)
