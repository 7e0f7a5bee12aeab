"""Each open slit of an exposure as an image of its own."""

import logging

import numpy as np

from ...model.exposure import Pixels
from ...vocabulary.errors import InputError
from ..wcs.footprint import polygon
from ..wcs.nirspec.fixed_slits import NUMBERS

log = logging.getLogger(__name__)

PLANES = ("sci", "err", "dq", "var_poisson", "var_rnoise", "var_flat")
DEFAULT = 2e-6  # m: where in the spectrum a slit's place on the sky is worked out


def extract(exposure, refs, options):
    """The slits of an exposure; `refs` are not needed, for `options` see the step."""
    return exposure.derive(cut_outs(exposure, options["slit_names"], options["source_ids"]), exposure.suffix)


def cut_outs(exposure, slit_names=None, source_ids=None):
    """The images of slits.

    Parameters
    ----------
    exposure : Exposure
        (row, col) or (int, row, col), whose slits assign_wcs has found.
    slit_names, source_ids : list, optional
        Take those that are in one of them; all by default.

    Returns
    -------
    list of Pixels
        Each with WAVELENGTH [micron], its WCS, and what is known of the slit and its source.

    Raises
    ------
    InputError
        There is no such slit, or the slits are not known.
    """
    slits = exposure.about.get("slits")
    if slits is None:
        raise InputError("its slits are not known", exposure.name, "Let assign_wcs run before")
    return [_cut_out(exposure, slits, number) for number in _chosen(exposure, slits.slits, slit_names, source_ids)]


def _chosen(exposure, slits, names, ids):
    """Numbers of the slits that are asked for, in their order."""
    if names is None and ids is None:
        return list(range(len(slits)))
    names, ids = {str(name) for name in names or ()}, {str(number) for number in ids or ()}
    for wanted, known, what in ((names, {str(s.name) for s in slits}, "slit"), (ids, {str(s.source_id) for s in slits}, "source")):
        for missing in sorted(wanted - known):
            log.warning("%s: %s %s is not among its open slits", exposure.name, what, missing)
    found = [number for number, slit in enumerate(slits) if str(slit.name) in names or str(slit.source_id) in ids]
    if not found:
        open_slits = ", ".join(f"{slit.name} (source {slit.source_id})" for slit in slits)
        what = f"none of the slits that are asked for is open; these are: {open_slits}"
        raise InputError(what, exposure.name, "Correct slit_names or source_ids of extract_2d")
    return found


def _cut_out(exposure, slits, number):
    slit, box = slits.slits[number], slits.boxes[number]
    pixels = Pixels(header=exposure.header.sci.copy(), wcs=slits.wcs(number))
    for name, plane in exposure.only.planes():
        if name in PLANES:
            setattr(pixels, name, plane[(..., *box.slices)].copy())  # its own: cut-outs of neighbours overlap
    pixels.extra["WAVELENGTH"] = slits.wavelengths(number)
    about = _place(slit, box) | (_of_shutters(slit) if slits.of_shutters else _of_fixed_slit(exposure, slit, pixels.wcs))
    pixels.about = {"slit_ymin": float(slit.ymin), "slit_ymax": float(slit.ymax)}
    pixels.about |= {name: about.pop(name) for name in ("xcen", "ycen") if name in about}
    for keyword, (value, comment) in about.items():
        pixels.header[keyword] = (value, comment)
    region = None if slits.optics.lamp else _region(pixels.wcs, slit)
    if region is not None:
        pixels.header["S_REGION"] = (region, "spatial extent of the observation")
    return pixels


def _place(slit, box):
    return {
        "SLTNAME": (str(slit.name), "Name of slit"),
        "SLTSTRT1": (box.x0 + 1, "Starting pixel in axis 1 direction"),
        "SLTSIZE1": (box.x1 - box.x0, "Number of pixels in axis 1 direction"),
        "SLTSTRT2": (box.y0 + 1, "Starting pixel in axis 2 direction"),
        "SLTSIZE2": (box.y1 - box.y0, "Number of pixels in axis 2 direction"),
        "SOURCEID": (int(slit.source_id), "source ID"),
        "SHUTTRID": (int(slit.shutter_id), "shutter ID"),
    }


def _of_shutters(slit):
    """What the metadata file of the micro-shutters says of a slitlet and its source."""
    return {
        "SRCNAME": (str(slit.source_name), "Source name in the MPT source catalog"),
        "SRCALIAS": (str(slit.source_alias), "Source alias in the MPT source catalog"),
        "STLARITY": (float(slit.stellarity), "Stellarity of the source"),
        "SRCXPOS": (float(slit.source_xpos), "Source position in slit, x axis"),
        "SRCYPOS": (float(slit.source_ypos), "Source position in slit, y axis"),
        "SLITID": (int(slit.shutter_id if slit.name in NUMBERS else slit.name), "slitlet ID"),
        "MSAQUAD": (int(slit.quadrant), "MSA quadrant"),
        "SRCRA": (float(slit.source_ra), "RA of the source"),
        "SRCDEC": (float(slit.source_dec), "DEC of the source"),
        "SLTXSCL": (float(slit.slit_xscale), "Slit scaling relative to MSA shutter pitch, x"),
        "SLTYSCL": (float(slit.slit_yscale), "Slit scaling relative to MSA shutter pitch, y"),
        "SHUTSTA": (str(slit.shutter_state), "All (open and close) shutters in a slit"),
        "xcen": int(slit.xcen),
        "ycen": int(slit.ycen),
    }


def _of_fixed_slit(exposure, slit, wcs):
    """Where a fixed slit's source is: where the dither points at in the slit that was pointed at, else its middle."""
    x = y = 0.0
    if slit.source_id == 1 and not exposure.about["slits"].optics.lamp:
        found = pointed_at(exposure.header, wcs)
        if found is None:
            log.warning("No XOFFSET, YOFFSET: the source is taken to be in the middle of %s", slit.name)
        else:
            x, y = found
            log.info("The source is at %.4f, %.4f in %s", x, y, slit.name)
    return {"SRCXPOS": (x, "Source position in slit, x axis"), "SRCYPOS": (y, "Source position in slit, y axis")}


def pointed_at(header, wcs):
    """Where in its slit (x, y) a target is that the dither has moved by XOFFSET, YOFFSET [arcsec]; None without offsets."""
    x, y = header.get("XOFFSET"), header.get("YOFFSET")
    if x is None or y is None:
        return None
    angle, x = np.radians(header["V3I_YANG"]), x * header["VPARITY"]
    v2 = header["V2_REF"] + x * np.cos(angle) + y * np.sin(angle)
    v3 = header["V3_REF"] - x * np.sin(angle) + y * np.cos(angle)
    x, y, _ = wcs.get_transform("v2v3", "slit_frame")(v2, v3, DEFAULT * 1e6)
    return float(x), float(y)


def _region(wcs, slit):
    """S_REGION of a slit: its corners on the sky."""
    x, y = [-0.5, -0.5, 0.5, 0.5], [slit.ymin, slit.ymax, slit.ymax, slit.ymin]
    ra, dec, _ = wcs.get_transform("slit_frame", "world")(x, y, [DEFAULT] * 4)
    return polygon(np.transpose([ra, dec]))
