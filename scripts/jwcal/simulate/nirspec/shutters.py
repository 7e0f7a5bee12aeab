"""Slitlets of the micro-shutter array, and the metadata file that tells which shutters were open, with which sources."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from ...files import storage
from .response import SCREEN

IMAGE = (342, 730)  # of all shutters
NODS = (0, -1, 1)  # shutters by which the sources move from dither to dither


@dataclass(frozen=True)
class Slitlet:
    """Open shutters, one beside the other, and what is in them.

    Attributes
    ----------
    number : int
        slitlet_id
    quadrant, column, row : int
        Of the shutter that the source is in at the first dither; columns (1-365) run along the dispersion.
    shutters : (int, int)
        First and last open shutter, counted from that one.
    source : int
        source_id: 0 for a slitlet of background, negative for a virtual source.
    x, y : float
        Of the source, in parts of a pitch from the shutter's corner; 0.5 is its middle.
    stellarity : float
        1 a star, 0 extended, -1 unknown.
    spectrum : callable, optional
        wavelength [micron] -> Jy of a point source.
    glow : callable, optional
        wavelength -> MJy/sr that fills the slitlet, beside the sky.
    name : str, optional
    slit : str
        A fixed slit, instead of shutters.
    """

    number: int
    quadrant: int
    column: int
    row: int
    shutters: tuple = (-1, 1)
    source: int = 0
    x: float = 0.5
    y: float = 0.5
    stellarity: float = 1.0
    spectrum: Callable | None = None
    glow: Callable | None = None
    name: str = ""
    slit: str = "NONE"

    @property
    def place(self):
        """Of the source from the middle of its shutter, in units of the open width and length."""
        return (self.x - 0.5) / SCREEN[0], (self.y - 0.5) / SCREEN[1]

    def seen_at(self, nod):
        """The row of the shutter in the middle, the first and last open one counted from it, and whether the source is in it.

        Sources are moved by `nod` shutters. Where that is out of the slitlet it is one of background.
        """
        inside = self.source != 0 and self.shutters[0] <= nod <= self.shutters[1]
        moved = nod if inside else 0
        return self.row + moved, (self.shutters[0] - moved, self.shutters[1] - moved), inside


def examples(point, glow, quadrant=3):
    """Slitlets of every kind: 1x1, 1x3, 1x5, with a star, with extended light, with nothing, of background, virtual.

    Parameters
    ----------
    point, glow : callable
        wavelength -> Jy, and MJy/sr.
    quadrant : int

    Returns
    -------
    list of Slitlet
    """
    q = quadrant
    return [
        Slitlet(1, q, 120, 20, (-1, 1), source=11, x=0.50, y=0.50, spectrum=point, stellarity=1.0),
        Slitlet(2, q, 90, 40, (-1, 1), source=12, x=0.62, y=0.40, spectrum=point, stellarity=0.9),
        Slitlet(3, q, 140, 60, (-2, 2), source=13, stellarity=0.1, glow=glow),
        Slitlet(4, q, 100, 80, (0, 0), source=14, x=0.45, y=0.55, spectrum=point, stellarity=1.0),
        Slitlet(5, q, 110, 95, (-1, 1), source=0),
        Slitlet(6, q, 130, 110, (-1, 1), source=0),
        Slitlet(7, q, 115, 125, (-1, 1), source=17, stellarity=0.0),
        Slitlet(8, q, 105, 140, (-1, 1), source=-8, stellarity=0.0),
    ]


def write_msa(path, slitlets, *, program=1234, configuration=1, nods=NODS, where=None, seen=None):
    """Write a metadata file.

    Parameters
    ----------
    path : path
        jw01234001001_01_msa.fits.
    slitlets : sequence of Slitlet
    program, configuration : int
        `configuration` is MSAMETID.
    nods : sequence of int
        By how many shutters the sources move, for each dither.
    where : callable, optional
        Slitlet -> (RA, Dec) of its source [deg].
    seen : callable, optional
        Slitlet, number of the dither -> (x, y) of its source in its shutter, as a slitlet has them; by default always as in the first.

    Returns
    -------
    Path
    """
    seen = seen or (lambda one, dither: (one.x, one.y))
    dithers = [(one, dither, nod) for dither, nod in enumerate(nods, start=1) for one in slitlets]
    rows = [row for one, dither, nod in dithers for row in _rows(one, configuration, dither, nod, seen(one, dither))]
    kinds = [(name, ">i2") for name in ("slitlet_id", "msa_metadata_id", "shutter_quadrant", "shutter_row", "shutter_column", "source_id")]
    kinds += [("background", "S1"), ("shutter_state", "S6")]
    kinds += [(f"estimated_source_in_shutter_{axis}", ">f4") for axis in "xy"]
    kinds += [("dither_point_index", ">i2"), ("primary_source", "S1"), ("fixed_slit", "S7")]
    sources = [
        (program, one.source, one.name or f"{program}_{one.source}", f"{one.source}", f"{one.source}", *place, "None", one.stellarity)
        for one in slitlets
        if one.source > 0
        for place in [where(one) if where else (0.0, 0.0)]
    ]
    known = [("program", ">i4"), ("source_id", ">i4"), ("source_name", "S20"), ("alias", "S31"), ("catalog_id", "S20")]
    known += [("ra", ">f8"), ("dec", ">f8"), ("preimage_id", "S30"), ("stellarity", ">f8")]
    head = fits.Header(
        {"ORIGIN": "JWCAL", "TELESCOP": "JWST", "INSTRUME": "NIRSPEC", "FILENAME": Path(path).name, "PROGRAM": f"{program:05d}"}
    )
    head["MSACFG10"] = configuration
    hdus = [fits.PrimaryHDU(header=head), fits.ImageHDU(np.zeros(IMAGE[::-1], np.uint8), name="SHUTTER_IMAGE")]
    hdus.append(fits.BinTableHDU(np.array(rows, kinds), name="SHUTTER_INFO"))
    hdus.append(fits.BinTableHDU(np.array(sources, known), name="SOURCE_INFO"))
    with storage.replaced(Path(path)) as temporary:
        fits.HDUList(hdus).writeto(temporary, overwrite=True)
    return Path(path)


def _rows(slitlet, configuration, dither, nod, xy):
    if slitlet.slit != "NONE":
        yield (0, configuration, 0, 0, 0, slitlet.source, "N", "OPEN", *xy, dither, "Y", slitlet.slit)
        return
    main, (first, last), inside = slitlet.seen_at(nod)
    for row in range(main + first, main + last + 1):
        source = inside and row == main
        place = xy if source else (np.nan, np.nan)
        yield (
            *(slitlet.number, configuration, slitlet.quadrant, slitlet.column, row, slitlet.source),
            *("N" if source else "Y", "OPEN", *place, dither, "Y" if source else "N", "NONE"),
        )
