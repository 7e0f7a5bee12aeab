"""Which cubes there are to make of some exposures: by band, by channel, or one of all."""

import numpy as np

from ...model.exposure import Exposure, Members
from ...vocabulary.errors import ConfigError, InputError

ALL = "all"


class Exposures:
    """The exposures that cubes are made of, opened one at a time.

    Parameters
    ----------
    members : Exposure, exposure.Members or iterable of Exposure
    optics : module

    Attributes
    ----------
    shells : list of Exposure
        Without their pixels.
    bands : dict
        Band -> numbers of the exposures that have it, in the bands' order.

    Raises
    ------
    InputError
        There are none, or one has no WCS.
    """

    def __init__(self, members, optics):
        self.alone = isinstance(members, Exposure)
        self._members = [members] if self.alone else members if isinstance(members, Members) else list(members)
        self.product = getattr(members, "name", "") if isinstance(members, Members) else ""
        self.shells = self._members.shells() if isinstance(members, Members) else [one.shell() for one in self._members]
        if not self.shells:
            raise InputError("there are no exposures to make cubes of", self.product)
        for shell in self.shells:
            if shell.wcs is None:
                raise InputError("there is no gWCS in it", shell.name, "Run assign_wcs")
        found = [(band, number) for number, shell in enumerate(self.shells) for band in optics.bands_of(shell.header)]
        self.bands = {band: [] for band in sorted({band for band, _ in found}, key=optics.rank)}
        for band, number in found:
            self.bands[band].append(number)

    def each(self, order):
        """Open those of these numbers in turn; see `exposure.Members.each`."""
        if isinstance(self._members, Members):
            return self._members.each(order=order)
        return (self._members[number] for number in order)


def chosen(bands, optics, options):
    """Those of the bands that the user wants, and whether the user chose them.

    Raises
    ------
    ConfigError
        A grating was chosen without a filter, or the other way round; none of the bands is wanted.
    """
    wanted = [getattr(options, name) for name in optics.SELECTED_BY]
    if optics.BOTH_OR_NONE and wanted.count(ALL) == 1:
        raise ConfigError(
            f"cube_build: {' without '.join(sorted(optics.SELECTED_BY, key=lambda n: getattr(options, n) == ALL))}", do="Give both"
        )
    found = [band for band in bands if all(want in (ALL, part) for want, part in zip(wanted, band, strict=True))]
    if not found:
        there = ", ".join("-".join(band) for band in bands)
        asked = ", ".join(f"{name} {want}" for name, want in zip(optics.SELECTED_BY, wanted, strict=True))
        raise ConfigError(f"cube_build: {asked} is in none of the exposures, which have {there}", do="Choose one of these")
    return found, wanted.count(ALL) < len(wanted)


def groups(bands, optics, options):
    """The bands of each cube: list of lists.

    One cube of all for the output type "multi", and where the user has chosen some and no type; one for each channel (MIRI) with the type
    "channel"; else one for each band.
    """
    found, by_user = chosen(bands, optics, options)
    if options.output_type == "multi" or (by_user and options.output_type == "band" and options.coord_system != "internal_cal"):
        return [found]
    if options.output_type == "channel":
        series = []
        for band in found:
            same = next((one for one in series if optics.same_series(one[0], band)), None)
            if same is None:
                series.append([band])
            else:
                same.append(band)
        return series
    return [[band] for band in found]


def side_by_side(cubes, numbers):
    """Cubes in groups that have no exposure in common, so that each exposure is opened once.

    Parameters
    ----------
    cubes : list
    numbers : callable
        cube -> numbers of its exposures.

    Returns
    -------
    list of lists
    """
    made = []
    for cube in cubes:
        mine = set(numbers(cube))
        touching = [group for group in made if mine & group[1]]
        for group in touching:
            made.remove(group)
        made.append(([*(one for group in touching for one in group[0]), cube], mine.union(*(group[1] for group in touching))))
    order = {id(cube): place for place, cube in enumerate(cubes)}
    return [
        sorted(group, key=lambda cube: order[id(cube)]) for group, _ in sorted(made, key=lambda group: min(order[id(c)] for c in group[0]))
    ]


def nearest(table, wavelength):
    """Numbers of the table's wavelengths that are nearest to some; of two that are as near the lower one."""
    after = np.clip(np.searchsorted(table, wavelength), 1, len(table) - 1)
    return np.where(np.abs(table[after - 1] - wavelength) <= np.abs(table[after] - wavelength), after - 1, after)
