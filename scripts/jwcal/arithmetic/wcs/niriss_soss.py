"""NIRISS's slitless spectra of single objects: the wavelength of each pixel in each spectral order."""

from astropy import units as u
from astropy.coordinates import ICRS
from astropy.modeling.models import Const1D, Mapping
from gwcs import WCS
from gwcs.coordinate_frames import CelestialFrame, CompositeFrame, SpectralFrame
from stdatamodels.jwst.transforms.models import NirissSOSSModel

from ...vocabulary.errors import ReferenceError
from .spectral import to_barycentre
from .telescope import detector_frame, subarray_to_full

ORDERS = (1, 2, 3)


def soss_wcs(header, shape, specwcs):
    """The gWCS of a SOSS exposure: (x, y, order) to ICRS [deg] and wavelength [micron].

    The place on the sky is the target's for all pixels: there is no slit, and one source.

    Parameters
    ----------
    header : exposure.Header
        TARG_RA, TARG_DEC, the subarray, and VELOSYS.
    shape : (int, ..., int, int)
        Of the image.
    specwcs : Reference
        Its tree has a table of wavelengths (y, x) of the full frame for each order, by its number; an order that it lacks has no WCS.

    Raises
    ------
    InputError
        TARG_RA or TARG_DEC is missing.
    ReferenceError
        The reference has none of the orders.
    """
    tree = specwcs.tree
    tables = {order: tree[order] for order in ORDERS if order in tree}
    if not tables:
        what = "the specwcs reference has none of the orders 1, 2, 3"
        raise ReferenceError(what, specwcs.path, "Give a specwcs reference for NIS_SOSS")
    target = Const1D(float(header["TARG_RA"])) & Const1D(float(header["TARG_DEC"]))
    velocity, to_full = to_barycentre(header), subarray_to_full(header)
    models = []
    for table in tables.values():
        wavelength = table.copy() if velocity is None else table.copy() | velocity
        model = Mapping((0, 1, 1, 0)) | target & wavelength
        if to_full is not None:
            model = to_full | model
            model.bounding_box = ((-0.5, shape[-2] - 0.5), (-0.5, shape[-1] - 0.5))
        models.append(model)
    return WCS([(detector_frame(), NirissSOSSModel(list(tables), models)), (_world(), None)])


def _world():
    spec = SpectralFrame(name="spectral", axes_order=(2,), unit=(u.micron,), axes_names=("wavelength",))
    sky = CelestialFrame(name="sky", axes_order=(0, 1), reference_frame=ICRS(), unit=(u.deg, u.deg), axes_names=("ra", "dec"))
    return CompositeFrame([sky, spec], name="world")
