"""What there is to see in a product: images and curves, as plain arrays. Which, is in DRAWINGS, by the product's suffix."""

from pathlib import Path

from ...files import fitsio
from ...vocabulary.errors import InputError
from . import fringes, images, spectra, tables
from .shapes import Curves, Image, Marks
from .values import smaller

__all__ = ["DRAWINGS", "MOST_POINTS", "Curves", "Image", "Marks", "pictures", "smaller"]

MOST_POINTS = 1500  # of a curve
DRAWINGS = {
    "ramp": images.ramp,
    **dict.fromkeys(("rate", "bsub", "psfsub"), images.image),
    "i2d": images.mosaic,
    "s2d": images.rectified,
    **dict.fromkeys(("rateints", "cal", "crf", "crfints", "psfalign"), images.integrations),
    "calints": images.series_of_images,
    "s3d": images.cube,
    **dict.fromkeys(("x1d", "c1d"), spectra.spectra),
    "x1dints": spectra.spectral_series,
    **dict.fromkeys(("ami-oi", "aminorm-oi"), fringes.fringes),
}
TABLES = {"whtlt": tables.white_light, "phot": tables.photometry, "contrast": tables.contrast}


def pictures(path):
    """The pictures of a product: a list of Image and Curves, empty for a suffix that has none.

    Raises
    ------
    InputError
        The product is not whole, or has not what its suffix promises.
    """
    path = Path(path)
    suffix = path.name.split(".")[0].rpartition("_")[2]
    if path.suffix == ".ecsv":
        return TABLES[suffix](path) if suffix in TABLES else []
    draw = DRAWINGS.get(suffix)
    if draw is None:
        return []
    with fitsio.open_fits(path) as hdus:
        try:
            return [picture for picture in draw(hdus, path) if picture is not None]
        except KeyError as error:
            raise InputError(f"there is nothing to draw ({str(error).strip(chr(34))})", path, "Make the product again") from None
