"""The WCS of a grism exposure: from a pixel, and the source that its light comes from, to the sky and the wavelength.

grism_detector -> direct_image, or detector -> v2v3 -> v2v3vacorr -> world: the first step takes the pixel of the spectrum to that of the
source in an image without the grism, the others are the image's.
"""

from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.coordinates import ICRS
from astropy.modeling.models import Const1D, Identity, Mapping
from gwcs import WCS
from gwcs.coordinate_frames import CelestialFrame, CompositeFrame, Frame2D, SpectralFrame
from stdatamodels.jwst.transforms import models

from ...files.reference_file import another, understood
from ...vocabulary.errors import InputError, ReferenceError
from .imaging import imaging_wcs
from .spectral import to_barycentre
from .telescope import subarray_to_full

ALONG_ROWS, ALONG_COLUMNS = 1, 2  # DISPAXIS


@dataclass(frozen=True)
class Optics:
    """How an instrument's slitless spectra are described."""

    forward: dict  # DISPAXIS -> stdatamodels' class
    backward: type
    keyword: str = ""  # of the element that disperses
    elements: tuple = ()  # pairs of how its name may end, and DISPAXIS
    inverses: bool = False  # whether the classes take inverses along the trace
    turns: bool = False  # whether the wheel's angle turns the traces


NIRCAM = Optics(
    {ALONG_ROWS: models.NIRCAMForwardRowGrismDispersion, ALONG_COLUMNS: models.NIRCAMForwardColumnGrismDispersion},
    *(models.NIRCAMBackwardGrismDispersion, "PUPIL", (("R", ALONG_ROWS), ("C", ALONG_COLUMNS)), True),
)
NIRISS = Optics(
    {ALONG_ROWS: models.NIRISSForwardRowGrismDispersion, ALONG_COLUMNS: models.NIRISSForwardColumnGrismDispersion},
    *(models.NIRISSBackwardGrismDispersion, "FILTER", (("C", ALONG_ROWS), ("R", ALONG_COLUMNS)), False, True),
)
MIRI = Optics({ALONG_COLUMNS: models.MIRIWFSSForwardDispersion}, models.MIRIWFSSBackwardDispersion, "", (("", ALONG_COLUMNS),))
OPTICS = {"nircam": NIRCAM, "niriss": NIRISS, "miri": MIRI}


def direction(header, optics):
    """DISPAXIS: how the exposure's grism disperses.

    Raises
    ------
    InputError
        The keyword does not name a grism.
    """
    name = str(header[optics.keyword]) if optics.keyword else ""
    found = next((axis for end, axis in optics.elements if name.endswith(end) and (not end or "GR" in name)), None)
    if found is None:
        raise InputError(f"{optics.keyword} is {name}, a grism was expected", header.name, "Correct the keyword, or EXP_TYPE")
    return found


def grism_models(specwcs):
    """What a specwcs reference says: `orders`, and the polynomials of each, by name; None for those that it does not have."""
    tree = specwcs.tree
    with understood("specwcs", specwcs.path):
        found = {name: tree[name] for name in ("orders", "displ", "dispx", "dispy")}
    found |= {name: tree.get(name) for name in ("invdispl", "invdispx", "invdispy")}
    found["orders"] = [int(order) for order in found["orders"]]
    for name in ("displ", "dispx", "dispy"):
        if found[name] is None or len(found[name]) != len(found["orders"]):
            what = f"the specwcs reference has {len(found['orders'])} orders, but not as many of {name}"
            raise ReferenceError(what, specwcs.path, another("specwcs"))
    return found


def disperser(header, specwcs, optics, axis, chosen=None):
    """The transform of a grism, with its inverse.

    Parameters
    ----------
    header : exposure.Header
        FWCPOS where the wheel turns the traces; VELOSYS.
    specwcs : Reference
    optics : Optics
    axis : int
        DISPAXIS.
    chosen : dict, optional
        Models in place of all of the reference: those of one stripe.

    Returns
    -------
    Model
        (x, y, x0, y0, order) to (x0, y0, wavelength [micron], order), backwards to (x, y, x0, y0, order).
    """
    given = chosen or grism_models(specwcs)
    orders, x, y = given["orders"], given["dispx"], given["dispy"]
    more = {}
    if optics.turns:
        # the peer turns forwards by the opposite angle: backwards, which places the spectra, is the one that fits the data
        more = {"theta": -(header["FWCPOS"] - _wheel_reference(specwcs))}
    if optics.inverses:
        inverses = {f"inv_{name[-1]}models": given[f"inv{name}"] or None for name in ("displ", "dispx", "dispy")}
        forward = optics.forward[axis](orders, lmodels=given["displ"], xmodels=x, ymodels=y, **inverses)
        forward.inverse = optics.backward(orders, lmodels=given["displ"], xmodels=x, ymodels=y, **inverses)
    else:
        if not given["invdispl"]:
            raise ReferenceError("the specwcs reference has no invdispl", specwcs.path, another("specwcs"))
        forward = optics.forward[axis](orders, lmodels=given["displ"], xmodels=x, ymodels=y, **more)
        forward.inverse = optics.backward(orders, lmodels=given["invdispl"], xmodels=x, ymodels=y, **more)
    velocity = to_barycentre(header)
    return forward if velocity is None else forward | Identity(2) & velocity & Identity(1)


def _wheel_reference(specwcs):
    with understood("specwcs", specwcs.path):
        return float(specwcs.tree["fwcpos_ref"])


def wfss_wcs(header, shape, references, optics):
    """The gWCS of an exposure of a whole field, and that of the same field without the grism.

    Parameters
    ----------
    header : exposure.Header
    shape : tuple
        (..., row, col).
    references : mapping
        distortion, specwcs; filteroffset, optional.
    optics : Optics

    Returns
    -------
    wcs : gwcs.WCS
        (x, y, x0, y0, order) to right ascension and declination [deg] of the source, wavelength [micron], order; and back.
    image : gwcs.WCS
        Pixels to ICRS [deg].
    axis : int
        DISPAXIS.

    Raises
    ------
    InputError
        A keyword is missing, or does not name a grism.
    ReferenceError
        A reference does not hold what it should.
    """
    axis = direction(header, optics)
    image = imaging_wcs(header, shape, references["distortion"], references.get("filteroffset"))
    grism = disperser(header, references["specwcs"], optics, axis)
    grism_frame = Frame2D(name="grism_detector", axes_order=(0, 1), axes_names=("x_grism", "y_grism"), unit=(u.pix, u.pix))
    return WCS([(grism_frame, grism), *with_wavelength_and_order(image, 2)]), image, axis


def with_wavelength_and_order(image, more, first=None):
    """The steps of an image's WCS that lets `more` coordinates through."""
    spectral = SpectralFrame(name="spectral", axes_order=(2,), unit=(u.micron,), axes_names=("wavelength",))
    steps = []
    for number, step in enumerate(image.pipeline):
        name = step.frame.name
        if step.transform is None:
            plane = CelestialFrame(name="sky", reference_frame=ICRS())
        else:
            unit = step.frame.unit
            plane = Frame2D(name=f"{name}spatial", axes_order=(0, 1), axes_names=step.frame.axes_names, unit=unit)
        name = first if first and number == 0 else name
        transform = step.transform
        steps.append((CompositeFrame([plane, spectral], name=name), None if transform is None else transform & Identity(more)))
    return steps


def series_wcs(header, shape, references, *, source="target"):
    """The gWCS of a time series with NIRCam's grism: of one source.

    Parameters
    ----------
    header : exposure.Header
        XREF_SCI, YREF_SCI: the pixel, from 1, of the subarray on which the telescope puts the target; XOFFSET, YOFFSET [arcsec]: by how
        much it was asked to miss it.
    shape : tuple
    references : mapping
        distortion, specwcs; filteroffset, optional.
    source : {"target", "reference pixel"}
        Where the undispersed source is: at the reference pixel and the offset; or at the column whose number from 0 is XREF_SCI.

    Returns
    -------
    gwcs.WCS
        (x, y, order) to right ascension and declination [deg], wavelength [micron], order.
    """
    axis = direction(header, NIRCAM)
    if axis != ALONG_ROWS:
        raise InputError(f"PUPIL is {header['PUPIL']}: time series have the row grism", header.name, "Correct the keyword, or EXP_TYPE")
    image = imaging_wcs(header, shape, references["distortion"], references.get("filteroffset"))
    grism = disperser(header, references["specwcs"], NIRCAM, axis)
    x0, y0 = source_pixel(header, image) if source == "target" else (header["XREF_SCI"], header["YREF_SCI"])
    to_source = Mapping((0, 1, 0, 1, 2)) | Identity(2) & fixed(x0) & fixed(y0) & Identity(1) | grism
    to_full = subarray_to_full(header)
    if to_full is not None:
        to_source = to_full & Identity(1) | to_source
    frame = Frame2D(name="grism_detector", axes_order=(0, 1), unit=(u.pix, u.pix))
    steps = with_wavelength_and_order(image, 2, "direct_image")
    if to_full is not None:
        steps[0] = (steps[0][0], _without_subarray(header, image, to_full) & Identity(2))
    return WCS([(frame, to_source), *steps])


def _without_subarray(header, image, to_full):
    """From full-frame pixels to the field: what an image's WCS does after the subarray's shift."""
    return to_full.inverse | image.pipeline[0].transform


def source_pixel(header, image):
    """Where a target falls without the grism: x, y, counted from 0.

    The reference pixel, and what the offsets [arcsec] in the ideal frame make in pixels there.
    """
    x, y = header["XREF_SCI"] - 1, header["YREF_SCI"] - 1
    offset = header.get("XOFFSET", 0.0), header.get("YOFFSET", 0.0)
    if offset == (0, 0):
        return float(x), float(y)
    angle, along = np.radians(header["V3I_YANG"]), offset[0] * header["VPARITY"]
    v2 = header["V2_REF"] + along * np.cos(angle) + offset[1] * np.sin(angle)
    v3 = header["V3_REF"] - along * np.sin(angle) + offset[1] * np.cos(angle)
    back = image.pipeline[0].transform.inverse
    at, reference = back(v2, v3), back(header["V2_REF"], header["V3_REF"])
    return float(x + at[0] - reference[0]), float(y + at[1] - reference[1])


def fixed(value):
    """A coordinate that is always the same, forwards and backwards."""
    model = Const1D(float(value))
    model.inverse = Const1D(float(value))
    return model
