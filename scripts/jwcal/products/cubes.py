"""Cubes of integral field units: SCI, ERR, DQ and WMAP by wavelength, row and column, with the linear WCS in SCI. IFUCubeModel."""

from . import stored

# Where a cube's data are, for programs that read those of several observatories.
NAMES = {
    "FLUXEXT": ("SCI", "EXTNAME of the extension containing flux data"),
    "ERREXT": ("ERR", "EXTNAME of the extension containing error data"),
    "MASKEXT": ("DQ", "EXTNAME of the extension with data quality mask"),
}


def hdus(exposure, filename):
    """The HDU list of a cube; see `stored.hdus`."""
    made = stored.hdus(exposure, filename)
    there = {hdu.name for hdu in made}
    for keyword, (name, comment) in NAMES.items():
        if name in there:
            made[0].header[keyword] = (name, comment)
    if "ERR" in there:
        made["ERR"].header["ERRTYPE"] = ("ERR", "Type of errors stored here")
    return made
