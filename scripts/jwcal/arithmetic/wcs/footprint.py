"""Footprints on the sky, as the S_REGION keyword has them."""

import numpy as np


def s_region(wcs):
    """The polygon of the bounding box's corners (pixel edges), ICRS degrees with nine decimals (4 uas).

    Parameters
    ----------
    wcs : gwcs.WCS
        Of an image, with a bounding box.

    Returns
    -------
    str or None
        None where a corner has no place on the sky.
    """
    return polygon(wcs.footprint(center=False, axis_type="spatial"))


def polygon(corners):
    """S_REGION of corners (4, 2) [deg], None where one is not finite."""
    corners = np.array(corners, float)
    if not np.isfinite(corners).all():
        return None
    corners[:, 0] %= 360
    return "POLYGON ICRS  " + " ".join(f"{angle:.9f}" for angle in corners.ravel())
