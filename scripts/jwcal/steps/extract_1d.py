"""Sum a source's light at each wavelength: from images of spectra to tables."""

import logging
from typing import Annotated, Literal

import numpy as np

from ..arithmetic.resample import blend
from ..arithmetic.spectra.options import Options
from ..machine.parts import part
from ..model.exposure import Exposure, Members
from ..vocabulary.errors import InputError
from ..vocabulary.parameters import Range

log = logging.getLogger(__name__)

OPTIONAL = ("extract1d", "apcorr", "psf", "pastasoss", "specprofile", "speckernel")
NEEDS = ("err",)

CUBE, WAVELENGTHS = "s3d", "WCS-TABLE"  # the suffix of cubes, and a table that is theirs
SERIES = "tso_multispec"  # the schema of a series' spectra
PARTS = {
    "mode": {
        "": "arithmetic/spectra/slits",
        "cubes": "arithmetic/spectra/cubes",
        "mrs": "arithmetic/spectra/cubes_mrs",
        "field": "arithmetic/grism/spectra",
        "soss": "arithmetic/soss/extraction",
    },
}


def apply(
    exposure,
    refs,
    mode: str = "",
    place: str = "",
    *,
    subtract_background: bool | None = None,
    apply_apcorr: bool = True,
    extraction_type: Literal["box", "optimal", None] = "box",
    use_source_posn: bool | None = None,
    position_offset: float = 0.0,
    model_nod_pair: bool = True,
    optimize_psf_location: bool = True,
    smoothing_length: Annotated[int, Range(min=0)] | None = None,
    bkg_fit: Literal["poly", "mean", "median", None] = None,
    bkg_order: Annotated[int, Range(min=0)] | None = None,
    log_increment: int = 50,
    save_profile: bool = False,
    save_scene_model: bool = False,
    save_residual_image: bool = False,
    psf_total: Literal["whole", "inside"] = "whole",
    bad_pixels: Literal["replace", "omit"] = "replace",
    move_background: bool = True,
    center_xy: list[float] | None = None,
    ifu_autocen: bool = False,
    bkg_sigma_clip: Annotated[float, Range(min=0)] = 3.0,
    ifu_rfcorr: bool = True,
    ifu_set_srctype: Literal["POINT", "EXTENDED", None] = None,
    ifu_rscale: Annotated[float, Range(min=0.5, max=3)] | None = None,
    ifu_covar_scale: Annotated[float, Range(min=0)] = 1.0,
    ifu_centre: Literal["fraction", "spaxel"] = "fraction",
    ifu_bkg_area: Literal["used", "ring"] = "used",
    soss_atoca: bool = True,
    soss_threshold: Annotated[float, Range(min=0, max=1)] = 1e-2,
    soss_n_os: Annotated[int, Range(min=1)] = 2,
    soss_wave_grid_in: str | None = None,
    soss_wave_grid_out: str | None = None,
    soss_estimate: str | None = None,
    soss_rtol: Annotated[float, Range(min=0)] = 1e-4,
    soss_max_grid_size: Annotated[int, Range(min=1)] = 20000,
    soss_tikfac: Annotated[float, Range(min=0)] | None = None,
    soss_width: Annotated[float, Range(min=1)] = 40.0,
    soss_bad_pix: Literal["model", "masking"] = "masking",
    soss_modelname: str | None = None,
    soss_order_3: bool = True,
):
    """Extract the spectra of all slits, or of one image or series of images.

    A box's edges cut through pixels, which count with the part that is inside. MJy/sr times PIXAR_SR, or MJy, become Jy; surface
    brightness is the sum over the number of pixels. A point source's flux is corrected for what the aperture misses. In series all
    integrations have one aperture.

    Parameters
    ----------
    exposure : Exposure or Members
        (row, col) or (int, row, col) a slit, with a gWCS; DISPAXIS says how the spectrum lies, SRCTYPE whether it is a point source's.
    refs : References
        extract1d: the list `apertures`; all pixels are summed without it. apcorr: table APCORR. psf: images PSF and WAVE, for profiles.
        Of overlapping orders: pastasoss; specprofile and speckernel to tell them apart.
    mode : str
        What the images are; given by the table of chains.
    place : {"", "pointing", "slit", "first"}
        How a point source's place is known: not at all, from where the dither points at (DITH_RA, DITH_DEC), or from its place in the slit
        (SRCXPOS, SRCYPOS). Of overlapping orders: "first" where the filter lets order 1 alone through. Given by the table of chains.
    subtract_background : bool, optional
        By default where the reference has regions of background.
    apply_apcorr : bool
        Multiply the spectra of point sources by the aperture correction of the reference.
    extraction_type : {"box", "optimal", None}
        None: optimal for sources whose place is known. "optimal" needs the psf reference.
    use_source_posn : bool, optional
        Centre the aperture on the source. By default as the reference says, or for a point source whose place is known.
    position_offset : float
        Pixels by which the aperture is moved across the spectrum, beside that.
    model_nod_pair : bool
        Optimal: fit also the negative of the source where the other one of two nods was subtracted.
    optimize_psf_location : bool
        Optimal: move the profile to where it fits best.
    smoothing_length : int, optional
        Pixels along the spectrum (odd) over which the background is smoothed before it is fitted. By default as the reference says.
    bkg_fit : {"poly", "mean", "median"}, optional
        What the background across the spectrum is at each wavelength; by default as the reference says.
    bkg_order : int, optional
        Of the polynomial across the spectrum.
    log_increment : int
        Without effect: all integrations are extracted at once.
    save_profile, save_scene_model, save_residual_image : bool
        Also return images of the weights, of what the spectrum says is in the image, and of the image less that.
    psf_total : {"whole", "inside"}
        Optimal: the flux is that of the whole PSF, or of the part of it that falls on the image: less at the slit's ends.
    bad_pixels : {"replace", "omit"}
        In a box a bad pixel has what the profile across the spectrum has there, scaled to the light of the good ones: of the mean of all
        integrations or, where it is bad in all, of the nearest wavelengths. The flux is flagged FLUX_ESTIMATED. Or it is missing.
    move_background : bool
        The background's regions move with the aperture.
    center_xy : [float, float], optional
        Column and row of the aperture's middle, from 0; like the next eight, for cubes.
    ifu_autocen : bool
        Put the aperture on the brightest star-like source, and not on the target's place.
    bkg_sigma_clip : float
        Voxels so many standard deviations from the mean of the plane are no background.
    ifu_rfcorr : bool
        Also correct the spectrum for residual fringes: columns RF_FLUX, RF_SURF_BRIGHT, RF_BACKGROUND (MIRI).
    ifu_set_srctype : {"POINT", "EXTENDED"}, optional
        In place of SRCTYPE. A point source is summed in a circle, an extended one over the whole field.
    ifu_rscale : float, optional
        Radius in units of the PSF's FWHM (MIRI); the reference's is 2.
    ifu_covar_scale : float
        Factor on the errors: voxels share pixels, so that those of sums are larger than if they did not.
    ifu_centre : {"fraction", "spaxel"}
        Put the aperture where the target is, or in the middle of the nearest spaxel.
    ifu_bkg_area : {"used", "ring"}
        The background is the sum in the ring over the area of the voxels that were not clipped, or of all.
    soss_atoca : bool
        Take the light of the other orders out of each order's box.
    soss_threshold : float
        A pixel of which two orders have more than this share is left out of the fit where one of them is beyond the grid.
    soss_n_os : int
        Wavelengths of the grid a pixel, at least.
    soss_wave_grid_in : str, optional
        File with the grid: WAVEGRID, as it was saved with `soss_wave_grid_out`.
    soss_wave_grid_out : str, optional
        Anything: save the grid too, as "sosswavegrid".
    soss_estimate : str, optional
        File with a first guess of the spectrum: WAVELENGTH and FLUX of its table EXTRACT1D.
    soss_rtol : float
        Relative error of an integral over a pixel that the grid has to reach.
    soss_max_grid_size : int
        Wavelengths, at most.
    soss_tikfac : float, optional
        How smooth the spectrum of orders 1 and 2 is to be; found from the data by default.
    soss_width : float
        Rows of the boxes.
    soss_bad_pix : {"model", "masking"}
        A pixel that is bad in all integrations has what the model of its order says, or is missing; then `bad_pixels` "replace" scales
        the column's flux by what the profile says it has lost.
    soss_modelname : str, optional
        Anything: save the models too, as images "sossextractmodel" and spectra "atocaspectra".
    soss_order_3 : bool
        Extract order 3 too.

    Returns
    -------
    list of Exposure
        Spectra, of all members in one, "x1d" or "x1dints", and what was asked for: "profile", "scene_model", "residual", and the models.

    Raises
    ------
    InputError
        No spectrum could be extracted; PIXAR_SR or the gWCS is missing.
    ReferenceError
        A reference does not have the slit, or not what is needed.
    """
    given = dict(locals())
    way = part(PARTS["mode"], mode)
    kind = getattr(way, "Options", Options)
    options = kind(**{name: given[name] for name in kind.__dataclass_fields__})
    extract = way.extract
    if isinstance(exposure, Members):
        if hasattr(way, "for_members"):
            extract = way.for_members(exposure, refs, place, options)
        return _of_members(exposure, lambda member: _of_one(member, refs, extract, place, options), getattr(way, "joined", None))
    return _of_one(exposure, refs, extract, place, options)


def _of_one(exposure, refs, extract, place, options):
    """The spectra of an exposure, and what was asked for."""
    series = exposure.suffix != CUBE and any(pixels.sci is not None and pixels.sci.ndim == 3 for pixels in exposure.pixels)
    spectra, shown = extract(exposure, refs, place, options)
    new = exposure.derive([], "x1dints" if series else "x1d")
    new.spectra, new.product = spectra, exposure.product
    new.tables = {name: table for name, table in exposure.tables.items() if name != WAVELENGTHS and (name != "INT_TIMES" or series)}
    region = exposure.header.get("S_REGION")
    if region:
        spectra[0].header["S_REGION"] = (region, "Spatial footprint of the observation")
    images = []
    for suffix, pixels in shown.items():
        image = pixels if isinstance(pixels, Exposure) else exposure.derive(pixels, suffix)
        image.tables = {}
        images.append(image)
    return [new, *images]


def _of_members(members, extract, joined):
    """One product of all, in the order of their integrations. A member without a spectrum is left out, which is logged.

    `joined`: what makes the spectra of all of them fit together, if they need it.
    """
    products, images = [], []
    for member in members.each():
        try:
            product, *shown = extract(member)
        except InputError as error:
            log.warning("%s is left out: %s", member.name, error.what)
            continue
        products.append(product)
        images += shown
    if not products:
        what = "no member of the association has a spectrum"
        raise InputError(what, members.table or members.name, "Look at the warnings above, and at the extract1d reference")
    new = products[0].derive([], products[0].suffix)
    headers = [product.header for product in products]
    new.spectra = sorted((s for product in products for s in product.spectra), key=_when)
    if joined:
        new.spectra = joined(new.spectra)
    for number, spectrum in enumerate(new.spectra):
        if number:
            spectrum.header.remove("S_REGION", ignore_missing=True)
    times = [product.tables["INT_TIMES"] for product in products if "INT_TIMES" in product.tables]
    new.tables = dict(products[0].tables)
    if times:
        every = np.concatenate(times)
        _, first = np.unique(every["integration_number"], return_index=True)
        new.tables["INT_TIMES"] = every[first]
    if new.suffix == "x1dints":
        _blend(new, headers)
    return [new, *images]


def _blend(series, headers):
    """The keywords of a whole series from those of its segments, which HDRTAB lists."""
    series.tables["HDRTAB"] = blend.header_table(headers, SERIES)
    for keyword, value in blend.blended(headers, SERIES).items():
        if value is not None:
            series.header[keyword] = value


def _when(spectrum):
    """Its detector, and its first integration."""
    table = spectrum.table
    return str(spectrum.header.get("DETECTOR", "")), int(np.ravel(table["INT_NUM"])[0]) if "INT_NUM" in table.dtype.names else 0
