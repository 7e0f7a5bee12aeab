"""Tables in text files: catalogues of sources, light curves. ECSV, which astropy and people read."""

from ..vocabulary.errors import InputError


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
    """The table in a file, astropy.table.QTable.

    Raises
    ------
    InputError
        It is absent, or no ECSV.
    """
    from astropy.table import QTable

    try:
        return QTable.read(path, format="ascii.ecsv")
    except FileNotFoundError:
        raise InputError("there is no such file", path) from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        what = f"not a readable table in ECSV format ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        raise InputError(what, path, "Fetch the file again") from None
