"""Move the WCS of exposures of a moving target, so that the target stands where it was on average."""

import logging

import numpy as np

from ..vocabulary.errors import InputError, Skip

log = logging.getLogger(__name__)

TAKES = "members"

FRAME = "moving_target"
ALL_SIP = {"max_error": 0.01, "max_inverse_error": 0.01}  # assign_wcs's defaults


def apply(members, refs=None):
    """Add a frame to each gWCS that moves with the target.

    The new frame `moving_target` is the sky shifted by the mean position of the target, over all exposures, less its position at the
    middle of the exposure (MT_RA, MT_DEC): shifts in right ascension and in declination. MT_AVRA and MT_AVDEC say what the mean is,
    and so do TARG_RA and TARG_DEC, which products take over: the target is where their header says. S_REGION follows, and the SIP keywords
    where there are any.

    Parameters
    ----------
    members : Members
        Images or spectra, each of their grids with a gWCS.
    refs
        None are needed.

    Raises
    ------
    InputError
        An exposure does not say where the target was, or has no gWCS.
    Skip
        There are no exposures, or they have been moved already.
    """
    shells = members.shells()
    if not shells:
        raise Skip("there are no exposures")
    missing = [shell.name for shell in shells if None in _target(shell, shell.pixels[0])]
    if missing:
        raise InputError(
            f"MT_RA and MT_DEC, where the moving target was, are missing ({len(missing)} of {len(shells)} exposures)",
            ", ".join(map(str, missing)),
            "Take them from the archive again, or leave them out of the association: else the target is smeared",
        )
    for shell in shells:
        if any(pixels.wcs is None for pixels in shell.pixels):
            raise InputError("there is no gWCS in it", shell.name, "Run assign_wcs")
        if any(FRAME in pixels.wcs.available_frames for pixels in shell.pixels):
            raise Skip(f"{shell.name} is in the target's frame already")
    ra, dec = np.transpose([_target(shell, shell.pixels[0]) for shell in shells])
    mean_ra = (ra[0] + np.mean(_turned(ra - ra[0]))) % 360
    mean = float(mean_ra), float(dec.mean())
    for shell in shells:
        for pixels in shell.pixels:
            here = _target(shell, pixels)
            pixels.wcs = _moving(pixels.wcs, float(_turned(mean[0] - here[0])), mean[1] - here[1])
            for keyword, value in zip(("MT_AVRA", "MT_AVDEC"), mean, strict=True):
                (pixels.header if pixels.header is not None else shell.header.sci)[keyword] = value
        shell.header["TARG_RA"], shell.header["TARG_DEC"] = mean
        if len(shell.pixels) == 1 and shell.wcs.output_frame.naxes == 2:
            _keywords(shell)
    log.info("%d exposures moved to the target's mean position %.7f, %.7f deg", len(shells), *mean)
    return members


def _target(shell, pixels):
    """Where the target was: of the slit, where that says it; None where it does not."""
    own = pixels.header if pixels.header is not None else {}
    return tuple(own.get(key) if own.get(key) is not None else shell.header.get(key) for key in ("MT_RA", "MT_DEC"))


def _turned(degrees):
    """An angle from -180 to 180."""
    return (degrees + 180) % 360 - 180


def _moving(wcs, east, north):
    """The WCS with one frame more, shifted by degrees of right ascension and declination."""
    import copy

    from astropy.modeling.models import Identity, Shift
    from gwcs import WCS
    from gwcs.coordinate_frames import CelestialFrame

    frame = copy.deepcopy(wcs.output_frame)
    frame.name = FRAME
    shift = Shift(east) & Shift(north)
    if not isinstance(frame, CelestialFrame):
        shift = shift & Identity(frame.naxes - 2)
    box = wcs.bounding_box
    moved = WCS([*wcs.pipeline[:-1], (wcs.output_frame, shift), (frame, None)], name=wcs.name)
    moved.bounding_box = box
    return moved


def _keywords(shell):
    """S_REGION, and SIP polynomials where the header has some."""
    from ..arithmetic.align.keywords import follow

    follow(shell, ALL_SIP if "A_ORDER" in shell.header or "CD1_1" in shell.header else None)
