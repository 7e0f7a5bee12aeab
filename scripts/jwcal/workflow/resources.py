"""Memory and time that a job asks for, by a model for each family of pipelines."""

import math

from ..model import sizes
from ..settings.tables import matches, table

# What a job takes, as tests/workflow/test_resources.py measures it. MB of the imports and of compiling a kernel if that is still to do, and
# of the two processes of Snakemake in which it runs on a cluster.
IMPORTS_MB, SNAKEMAKE_MB = 400, 230
# Beside it in stage 1 bytes of a pixel, of a sample, of a sample that is held at once where a ramp is walked, and of a pixel in the
# products of one integration.
PIXEL, SAMPLE, WALKED_SAMPLE, PRODUCT = 56, 6, 12, 24
LARGEST_RAMP, PIECE = sizes.LARGE, sizes.PIECE  # bytes of the samples of a ramp that is not walked, and that a walk holds at once
# In stage 2 bytes of a pixel, and of a pixel of each integration.
IMAGE2_PIXEL, IMAGE2_CUBE = 125, 60
# In stage 3 bytes of a pixel of the member that is open, and of a pixel of the mosaic.
MEMBER_PIXEL, MOSAIC_PIXEL = 125, 90
HELD = 768 * 2**20  # bytes at most of the drizzled images that outlier_detection holds in memory


def resources(stage, shape, whole=False, members=1, mosaic=0, header=None):
    """Memory (MB) and time (minutes) that a job asks for, from the shape of its data.

    Parameters
    ----------
    stage : str
    shape : tuple
        Of the array that it starts from; (int, group, row, col) for a ramp.
    whole : bool
        The ramp is itself a product, so that it is not walked in pieces.
    members : int
        Number of files that a job of stage 3 reads, one after the other.
    mosaic : int
        Pixels of what it combines them in, as `mosaic_pixels` gives them.
    header : mapping, optional
        Of the exposure: what config/resources.yaml says of its kind is added.

    Returns
    -------
    (int, int)
    """
    pixels, values = shape[-2] * shape[-1], math.prod(shape)
    nints = shape[0] if len(shape) > 2 else 1
    rows = table("resources") if stage != "stage1" and header is not None else ()
    more = {"mb": 0, "pixel": 0, "minutes": 0} | next((row for row in rows if matches(row["when"], header)), {})
    if stage == "stage1":
        walked = not whole and nints > 1 and 4 * values > LARGEST_RAMP
        samples = WALKED_SAMPLE * max(values // nints, min(PIECE, LARGEST_RAMP) // 4) if walked else SAMPLE * values
        size = PIXEL * pixels + samples + PRODUCT * pixels * nints
    else:
        series = members if stage == "stage3" else 1  # whose segments are held together
        size = more["mb"] * 2**20 + (IMAGE2_PIXEL + more["pixel"]) * pixels + (IMAGE2_CUBE * values * series if nints > 1 else 0)
    if stage == "stage3":
        size += min(HELD, 4 * members * max(mosaic, pixels))
        size += MEMBER_PIXEL * pixels + MOSAIC_PIXEL * max(mosaic, pixels)
        values *= members
    return IMPORTS_MB + SNAKEMAKE_MB + int(size / 2**20), 5 + more["minutes"] + int(values / 2e7)


def mosaic_pixels(headers, shape):
    """How many pixels a mosaic has, roughly and rather too many: from the pointings, or as if the images lay side by side.

    Parameters
    ----------
    headers : list of mapping
        RA_REF, DEC_REF [degrees] and the pixel scale, CDELT1 [degrees].
    shape : (int, int)
        Of one image.

    Returns
    -------
    int
    """
    side_by_side = len(headers) * math.prod(shape)
    try:
        scale = abs(float(headers[0]["CDELT1"]))
        places = {(round(float(h["RA_REF"]), 7), round(float(h["DEC_REF"]), 7)) for h in headers}
        narrow = math.cos(math.radians(max(dec for _, dec in places)))
        across = [(ra - min(places)[0] + 180) % 360 - 180 for ra, _ in places]
        width, height = (max(across) - min(across)) * narrow / scale, (max(d for _, d in places) - min(d for _, d in places)) / scale
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return side_by_side
    # the detectors' orientation is not looked at, nor where they lie in the aperture
    beside = math.ceil(math.sqrt(len({header.get("DETECTOR") for header in headers}))) * math.hypot(*shape)
    return int(min(side_by_side, (width + beside) * (height + beside)))
