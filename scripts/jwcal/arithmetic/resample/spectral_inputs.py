"""The slits that are to be combined: those of one source in all exposures, and the grid that holds them."""

from dataclasses import dataclass

import numpy as np

from ...model.exposure import Exposure, Members
from ...vocabulary.errors import InputError, Skip
from ..align.groups import group_of
from .drizzle_images import unusable
from .spectral_grid import ENOUGH, SLIT, slit_grid


@dataclass
class Source:
    """The slits of one source.

    Attributes
    ----------
    places : list of (int, int)
        Number of the exposure and of the slit in it.
    shells : list of Exposure
        These slits without their pixels.
    grid : spectral_grid.SlitGrid
    """

    places: list
    shells: list
    grid: object = None


class SlitInputs:
    """Exposures of slits with a WCS each, opened one at a time.

    Parameters
    ----------
    members : Exposure, exposure.Members or iterable of Exposure
        The slits of one exposure are a source each; those of several belong together by their SOURCEID, or else SLTNAME, or else number.

    Raises
    ------
    Skip
        An exposure in memory has no 2-D images.
    InputError
        There are none, or one has no WCS.
    """

    def __init__(self, members):
        self._name = getattr(members, "name", None)
        self._members = [members] if isinstance(members, Exposure) else members if isinstance(members, Members) else list(members)
        if isinstance(self._members, Members):
            self.shells = self._members.shells()
        else:
            for exposure in self._members:
                check_slits(exposure)
            self.shells = [exposure.shell() for exposure in self._members]
        if not self.shells:
            raise InputError("there are no exposures to resample", self._name)
        self.groups = [group_of(shell.header, number) for number, shell in enumerate(self.shells)]
        self.sources = self._sources()

    def __len__(self):
        return len(self.shells)

    def each(self, order=None, keep=()):
        """Open them in turn, or in the order of these numbers; see `exposure.Members.each`."""
        if isinstance(self._members, Members):
            return self._members.each(keep=keep, order=order)
        return (self._members[number] for number in (range(len(self._members)) if order is None else order))

    def _sources(self):
        found = {}
        for number, shell in enumerate(self.shells):
            for count, slit in enumerate(shell.slits()):
                slit = slit.shell()  # nothing of the pixels of one in memory
                if slit.wcs is None:
                    raise InputError("there is no gWCS in it", shell.name, "Run assign_wcs")
                if slit.wcs.output_frame.naxes != 3:
                    raise InputError("its WCS has no wavelength", shell.name, "Take resample for images")
                source = found.setdefault(self._key(slit.header, count), Source([], []))
                source.places.append((number, count))
                source.shells.append(slit)
        return list(found.values())

    def _key(self, header, count):
        if len(self.shells) == 1:
            return count
        return header.get("SOURCEID") or header.get("SLTNAME") or count

    def make_grids(self, **options):
        """Make the grid of each source; see `spectral_grid.slit_grid`."""
        images = self._telling()
        for source in self.sources:
            first, image = images.get(id(source), (0, None))
            order = [first, *(number for number in range(len(source.shells)) if number != first)]
            try:
                source.grid = slit_grid([source.shells[number].wcs for number in order], dispersion(source.shells[0]), image, **options)
            except InputError as error:
                error.file = error.file or source.shells[0].name
                raise

    def _telling(self):
        """Of each source that needs one the first image that has enough good pixels: {id: (number of its slit, image)}."""
        needing = [source for source in self.sources if SLIT in source.shells[0].wcs.available_frames]
        found, spare = {}, {}
        for number, exposure in enumerate(self.each()) if needing else ():
            check_slits(exposure)
            for source in needing:
                for count, (which, slit) in enumerate(source.places):
                    if which == number and id(source) not in found:
                        pixels = exposure.pixels[slit]
                        image = np.where(unusable(pixels), np.nan, pixels.sci)
                        into = found if np.count_nonzero(np.isfinite(image) & (image != 0)) > ENOUGH else spare
                        into.setdefault(id(source), (count, image))
            if len(found) == len(needing):
                break
        return spare | found


def dispersion(shell):
    """DISPAXIS: 1 for spectra along the rows, 2 along the columns."""
    axis = shell.header.get("DISPAXIS")
    if axis not in (1, 2):
        raise InputError(f"DISPAXIS is {axis}: it does not say how the spectrum lies", shell.name, "Run assign_wcs")
    return int(axis)


def check_slits(exposure):
    """Raise `Skip` where the data are no 2-D images."""
    for pixels in exposure.pixels:
        if pixels.sci.ndim != 2:
            raise Skip(f"the data have {pixels.sci.ndim} dimensions, not 2")
