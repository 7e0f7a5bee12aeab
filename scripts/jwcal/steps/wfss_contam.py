"""Take the light of other sources out of the spectra of a field."""

from typing import Annotated, Literal

from ..arithmetic.grism import contamination
from ..vocabulary.parameters import Range

REFERENCES = ("photom", "wavelengthrange")
MEMBERS = ("sourcecat", "segmap", "direct_image")
NEEDS = ("err",)
SKIP = True


def apply(
    exposure,
    refs,
    passband: str = "FILTER",
    *,
    save_simulated_image: bool = False,
    save_contam_images: bool = False,
    maximum_cores: str = "1",
    orders: list[int] | None = None,
    magnitude_limit: float | None = None,
    wl_oversample: Annotated[int, Range(min=1)] = 2,
    max_pixels_per_chunk: Annotated[int, Range(min=1)] = 5000,
    polyfit_degree: Annotated[int, Range(min=0)] | None = None,
    n_iterations: Annotated[int, Range(min=1)] = 1,
    l2_alpha: Annotated[float, Range(min=0)] = 0.1,
    rejection_threshold: Annotated[float, Range(min=0)] | None = 0.1,
    own_light: Literal["whole", "cut"] = "whole",
):
    """Model all sources of the direct image through the grism, and subtract from each cut-out what is not its own.

    The light of every pixel of a source's segment is laid down on the detector at each wavelength, with a spectrum that is flat in
    F_nu, or with the polynomial of the wavelength that fits the cut-out.

    Parameters
    ----------
    exposure : Exposure
        Cut-outs in DN/s, of extract_2d; with the catalogue, the segmentation map and the direct image [MJy/sr] among its members.
    refs : References
        photom: MJy/sr for 1 DN/s a micron, by order. wavelengthrange: the limits of each order.
    passband : str
        Keyword of the element that limits the wavelengths; given by the table of chains.
    save_simulated_image : bool
        Also return the image of all sources, "simul", and each cut-out's own light, "simul_slits".
    save_contam_images : bool
        Also return what is subtracted from each cut-out, "contam".
    maximum_cores, max_pixels_per_chunk
        Without effect: threads and memory are those of the job.
    orders : list of int, optional
        Orders whose light is modelled. All by default.
    magnitude_limit : float, optional
        AB magnitude of the faintest sources that are modelled, in order 1; brighter by as much as an order is less sensitive.
    wl_oversample : int
        Wavelengths a pixel.
    polyfit_degree : int, optional
        Of the polynomials that spectra are fitted with; None: they are flat.
    n_iterations : int
        How often they are fitted.
    l2_alpha : float
        Added to the diagonal of the fit's normal matrix: keeps the coefficients small.
    rejection_threshold : float, optional
        A fit that changes a source's brightness by more than this part is not used.

    own_light : {"whole", "cut"}
        What of a cut-out is its source's own, and is not subtracted: all that the model has there; or not the last rows and columns, where
        the model begins within the cut-out, as many as lie before it; if nothing is left so, nothing is subtracted.

    Raises
    ------
    InputError
        The direct image or the segmentation map is missing, or they do not belong together.
    Skip
        No order, or no source, is left to be modelled.
    """
    options = {name: value for name, value in locals().items() if name not in ("exposure", "refs")}
    total, contaminations, own = contamination.correct(exposure, refs, options)
    products = [exposure]
    slits = list(exposure.slits())
    if save_simulated_image:
        products += [exposure.aside("simul", sci=total.astype("float32")), contamination.shown(slits, own, "simul_slits", exposure)]
    if save_contam_images:
        products.append(contamination.shown(slits, contaminations, "contam", exposure))
    return products if len(products) > 1 else exposure
