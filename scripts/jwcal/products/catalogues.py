"""Tables in text files: catalogues of sources, light curves. ECSV, which astropy and people read."""


def write(exposure, path):
    """Write the table of an exposure, `exposure.catalogue`.

    Parameters
    ----------
    exposure : Exposure
    path : path
        The file, whatever its name ends in.
    """
    exposure.catalogue.write(path, format="ascii.ecsv", overwrite=True)


def read(path):
    """The table in a file, astropy.table.QTable."""
    from astropy.table import QTable

    return QTable.read(path, format="ascii.ecsv")
