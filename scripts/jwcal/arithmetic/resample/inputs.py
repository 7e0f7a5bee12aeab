"""The images that are to be combined: what is known of them before their pixels are read, and the grid that holds them all."""

import numpy as np

from ...model.exposure import Exposure, Members
from ...vocabulary.errors import ConfigError, InputError, Skip
from ..align.groups import group_of
from .output_wcs import ARCSEC, custom_grid, farthest, tangent_grid

MOST = 2**31  # pixels of a grid
BYTES = 28  # of SCI, ERR, WHT, CON and three variances a pixel
WIDEST = 45.0  # degrees from the middle of the inputs: a tangent plane ends at 90


class Inputs:
    """Images with a WCS each, opened one at a time.

    Parameters
    ----------
    members : Exposure, exposure.Members or iterable of Exposure
    integrations : bool
        Whether they may be cubes of integrations too.

    Raises
    ------
    Skip
        An exposure in memory is no 2-D image.
    InputError
        There are none, or one has no WCS.
    """

    def __init__(self, members, integrations=False):
        self._integrations = integrations
        self._name = getattr(members, "name", None)
        if isinstance(members, Exposure):
            self._members = [members]
        else:
            self._members = members if isinstance(members, Members) else list(members)
        if isinstance(self._members, Members):
            in_memory = [member.source for member in self._members.of() if isinstance(member.source, Exposure)]
            self.shells = self._members.shells()
        else:
            in_memory = self._members
            self.shells = [exposure.shell() for exposure in in_memory]
        for exposure in in_memory:
            check_image(exposure, integrations)
        for shell in self.shells:
            if shell.wcs is None:
                raise InputError("there is no gWCS in it", shell.name, "Run assign_wcs")
        if not self.shells:
            raise InputError("there are no exposures to resample", self._name)
        self.headers = [shell.header for shell in self.shells]
        self.groups = [group_of(header, number) for number, header in enumerate(self.headers)]

    def __len__(self):
        return len(self.shells)

    def each(self, order=None, keep=()):
        """Open them in turn, or in the order of these numbers; see `exposure.Members.each`."""
        if isinstance(self._members, Members):
            return self._members.each(keep=keep, order=order)
        return (self._members[number] for number in (range(len(self._members)) if order is None else order))

    def in_groups(self):
        """The inputs' numbers, those of one moment together."""
        first = {group: number for number, group in reversed(list(enumerate(self.groups)))}
        return sorted(range(len(self)), key=lambda number: (first[self.groups[number]], number))

    def grid(self, path="", *, output_shape=None, scale=None, **options):
        """The grid for all of them; see `output_wcs.custom_grid` for a `path`, else `output_wcs.tangent_grid`.

        Raises
        ------
        InputError
            It would be too large or too small: names the input that lies farthest from the others.
        """
        first = self.shells[0]
        if output_shape is not None and min(output_shape) < 1:
            raise ConfigError(f"output_shape of resample is {list(output_shape)}", do="Give columns and rows, both above 0")
        shape = self._first_shape() if path or scale is not None else None
        if path:
            grid = custom_grid(path, first.header, first.wcs, shape, output_shape)
            if grid.shape[0] * grid.shape[1] > MOST:
                raise ConfigError(_too_many(grid), path, "Check its shape, and output_shape of resample")
            return grid
        regions = [header["S_REGION"] for header in self.headers]
        stray, away = farthest(regions)
        if output_shape is None and away > WIDEST:
            self._too_large(stray, away, f"more than {WIDEST:.0f} degrees wide")
        grid = tangent_grid(regions, first.header, first.wcs, shape, output_shape=output_shape, scale=scale, **options)
        ny, nx = grid.shape
        if nx * ny > MOST:
            if output_shape is not None or away * ARCSEC < 0.1 * grid.pixel_scale * np.hypot(nx, ny):
                raise ConfigError(_too_many(grid), do="Check output_shape and pixel_scale of resample")
            self._too_large(stray, away, _size(grid))
        return grid

    def _first_shape(self):
        exposure = next(iter(self.each([0])))
        check_image(exposure, self._integrations)
        return exposure.sci.shape[-2:]

    def _too_large(self, stray, away, size):
        raise InputError(
            f"it lies {away:.3g} degrees from the other images, so that the resampled image would be {size}",
            self.shells[stray].name,
            "Take it out of the association, or set output_shape, crval and crpix of resample",
        )


def _size(grid):
    ny, nx = grid.shape
    return f"{nx} x {ny} pixels ({BYTES * nx * ny / 2**30:.0f} GiB)"


def _too_many(grid):
    return f"the resampled image would be {_size(grid)}"


def check_image(exposure, integrations=False):
    """Raise `Skip` where the data are no 2-D image, nor integrations if these are wanted."""
    if exposure.sci.ndim != 2 and not (integrations and exposure.sci.ndim == 3):
        raise Skip(f"the data have {exposure.sci.ndim} dimensions, not 2")
