"""MIRI's medium resolution spectrometer: two channels side by side on a detector, each with its slices, each slice with its own optics."""

import numpy as np
from astropy.modeling.models import Const1D, Identity, Mapping
from gwcs.selector import LabelMapper, LabelMapperArray, LabelMapperRange, RegionsSelector
from stdatamodels.jwst.transforms.models import MIRI_AB2Slice

from ...files.reference_file import another, understood
from ...vocabulary.errors import InputError, ReferenceError
from .spectral import slit_wcs, to_barycentre
from .telescope import whole_pixels

THROUGHPUT_PLANE = 7  # of the regions: pixels that get 80 % of a slice's light

SLICE_INPUTS = ("alpha", "beta", "lam")


def mrs_wcs(header, shape, distortion, specwcs, regions, wavelengthrange):
    """The gWCS of an exposure with the spectrometer.

    The slice that a pixel belongs to is looked up in a map; pixels between slices look nowhere. Backwards the wavelength tells the channel
    and beta the slice.

    Parameters
    ----------
    header : exposure.Header
        Pointing, CHANNEL ("12" or "34"), BAND, VELOSYS.
    shape : tuple
        Of the pixels, (..., row, col).
    distortion : Reference
        By slice: `alpha_model`, `beta_model`, `x_model`, `y_model`; by channel: `bzero`, `bdel` (the first slice's beta and their
        distance) and `abv2v3_model`.
    specwcs : Reference
        `model`: the wavelength, by slice.
    regions : Reference
        `regions`: channel * 100 + slice at every pixel, int (row, col), or several such maps for rising throughput.
    wavelengthrange : Reference
        The channels' limits.

    Returns
    -------
    gwcs.WCS
        Pixels to ICRS [deg] and wavelength [micron], with its inverse and a bounding box.

    Raises
    ------
    InputError
        A keyword is missing.
    ReferenceError
        A reference does not hold what it should, or is for another channel or band.
    """
    channels = {channel: f"{channel}{header['BAND']}" for channel in str(header["CHANNEL"])}
    if not set(channels) <= set("1234"):
        raise InputError(f"CHANNEL is {header['CHANNEL']}: 12 or 34 is expected", file=header.name, do="Correct the keyword")
    limits = _limits(channels.values(), wavelengthrange)
    to_slice = _to_slice(header, channels, limits, slice_map(regions, shape), distortion, specwcs)
    return slit_wcs(header, to_slice, _slice_to_field(channels, limits, distortion), whole_pixels(shape))


def slice_map(regions, shape):
    """channel * 100 + slice of every pixel, 0 between the slices, int (row, col)."""
    with understood("regions", regions.path):
        labels = np.asarray(regions.tree["regions"])
        labels = labels[THROUGHPUT_PLANE] if labels.ndim == 3 else labels
    if labels.shape != tuple(shape[-2:]):
        raise ReferenceError(
            f"the regions reference is a map of {labels.shape} pixels, the exposure has {tuple(shape[-2:])}",
            regions.path,
            another("regions"),
        )
    return labels.astype(int)


def _limits(channels, wavelengthrange):
    """channel and band -> (lowest, highest wavelength) [micron]."""
    with understood("wavelengthrange", wavelengthrange.path):
        tree = wavelengthrange.tree
        known = dict(zip(tree["waverange_selector"], tree["wavelengthrange"], strict=True))
        return {channel: (float(known[channel][0]), float(known[channel][1])) for channel in channels}


def _by_channel(reference, name, content):
    """Of a list with its channels and bands in the reference: a dict."""
    part = reference.tree[name]
    return dict(zip(part["channel_band"], part[content], strict=True))


def _to_slice(header, channels, limits, labels, distortion, specwcs):
    """(x, y) -> (alpha, beta, wavelength), slice by slice."""
    velocity = to_barycentre(header)
    observed = Identity(2) & (Identity(1) if velocity is None else velocity.inverse)
    with understood("specwcs", specwcs.path):
        wavelengths = list(specwcs.tree["model"])
        if velocity is not None:
            wavelengths = [model | velocity for model in wavelengths]
    with understood("distortion", distortion.path):
        tree = distortion.tree
        zero, step = _by_channel(distortion, "bzero", "beta_zero"), _by_channel(distortion, "bdel", "delta_beta")
        models = [tree[name] for name in ("alpha_model", "beta_model", "x_model", "y_model")]
        transforms = {}
        for number, alpha, beta, x, y, wavelength in zip(tree["slices"], *models, wavelengths, strict=True):
            forward = Mapping((1, 0, 0, 1, 0)) | alpha & beta & wavelength
            forward.inverse = observed | Mapping((2, 0, 2, 0)) | x & y
            transforms[int(number)] = forward
        slices = {
            limits[band]: LabelMapper(
                inputs=SLICE_INPUTS,
                mapper=MIRI_AB2Slice(float(zero[band]), float(step[band]), int(channel)),
                inputs_mapping=Mapping((1,), n_inputs=3),
            )
            for channel, band in channels.items()
        }
    pixel_to_slice = LabelMapperArray(labels)
    pixel_to_slice.inverse = LabelMapperRange(SLICE_INPUTS, slices, inputs_mapping=Mapping((2,)))
    return RegionsSelector(("x", "y"), SLICE_INPUTS, label_mapper=pixel_to_slice, selector=transforms, name="detector_to_abl")


def _slice_to_field(channels, limits, distortion):
    """(alpha, beta, wavelength) -> (V2, V3, wavelength), channel by channel."""
    with understood("distortion", distortion.path):
        to_field = _by_channel(distortion, "abv2v3_model", "model")
        transforms, which = {}, {}
        for channel, band in channels.items():
            transforms[int(channel)] = to_field[band] & Identity(1)
            transforms[int(channel)].inverse = to_field[band].inverse & Identity(1)
            which[limits[band]] = Mapping((2,)) | Const1D(int(channel), name="channel")
    wavelength_to_channel = LabelMapperRange(SLICE_INPUTS, which, inputs_mapping=Mapping((2,)))
    wavelength_to_channel.inverse = wavelength_to_channel.copy()
    return RegionsSelector(SLICE_INPUTS, ("v2", "v3", "lam"), label_mapper=wavelength_to_channel, selector=transforms, name="abl_to_v2v3l")
