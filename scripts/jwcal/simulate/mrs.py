"""Exposures of MIRI's medium resolution spectrometer at the level of rates or calibrated images, with references and truth.

    files = mrs.write_references("references", channels="12", band="SHORT")
    star = spectrograph.Source(spectrograph.Spectrum(flux=0.05, lines=[(5.3, 2.0, 0.004)]), along=0.3, across=-0.2)
    one = mrs.simulate_mrs(files, sources=[star], background=lambda wavelength: 5 + wavelength)
    one.exposure                            # suffix "cal": MJy/sr, with its gWCS

The optics are made up: as many slices as the instrument has, at its scales and wavelengths, but straight. Real references do as well.
A pixel gets the surface brightness averaged over its part of a slice: across the slice's width, along it over what the pixel covers.
"""

from dataclasses import dataclass
from pathlib import Path

import asdf
import numpy as np
from astropy.modeling.models import Const1D, Identity, Mapping, Polynomial2D, Shift
from scipy.special import erf

from ..arithmetic.wcs.pixel_coordinates import labels_of, wavelength_and_sky
from ..model.exposure import Exposure, Pixels
from ..model.references import References
from ..steps import assign_wcs
from . import exposures, headers, instruments
from .references import USEAFTER
from .scene import CORE, HALO_SCALE, SIGMA
from .spectrograph import DIFFRACTION, Simulated, Source, Truth, make_header, measured

SHAPE = (1024, 1032)
DETECTORS = {"12": "MIRIFUSHORT", "34": "MIRIFULONG"}
# slices, their width [arcsec], arcsec a pixel along them, pixels along them, first column, columns from one to the next, V2 and V3 [arcsec]
OPTICS = {
    1: (21, 0.177, 0.196, 17, 12, 23, (-503.3, -318.9)),
    2: (17, 0.280, 0.196, 21, 520, 29, (-503.8, -319.0)),
    3: (16, 0.390, 0.245, 22, 520, 31, (-504.5, -318.8)),
    4: (12, 0.656, 0.273, 25, 20, 37, (-502.8, -319.4)),
}
RANGES = {  # micron, from Argyriou et al. 2023, A&A 675, A111, a little wider
    "SHORT": {1: (4.88, 5.77), 2: (7.49, 8.79), 3: (11.53, 13.49), 4: (17.67, 20.97)},
    "MEDIUM": {1: (5.64, 6.65), 2: (8.65, 10.14), 3: (13.32, 15.59), 4: (20.67, 24.50)},
    "LONG": {1: (6.51, 7.67), 2: (9.99, 11.72), 3: (15.41, 18.02), 4: (24.17, 28.72)},
}
RESOLUTION = 3000  # wavelength over the FWHM of the line spread function
STAR = Source()
MODELS = {
    "distortion": "DistortionMRSModel",
    "specwcs": "SpecwcsModel",
    "regions": "RegionsModel",
    "wavelengthrange": "WavelengthrangeModel",
}
OUTPUTS = {"distortion": "arcsec"}  # units
FALLING = (3, 4)  # channels whose wavelengths become shorter from row to row
LEAN = 0.004  # columns by which a slice leans a row
TILT = 0.04  # rows by which a wavelength is higher a column on
TURN = (0.98921, -0.14650)  # cosine and sine between alpha and V2


@dataclass(frozen=True)
class Extended(Source):
    """A round Gaussian of light, with the width `fwhm` [arcsec] before it is blurred."""

    fwhm: float = 1.0


def write_references(folder, *, channels="12", band="SHORT"):
    """Write distortion, specwcs, regions and wavelengthrange.

    Parameters
    ----------
    folder : path
    channels : str
        "12" or "34".
    band : str
        SHORT, MEDIUM, LONG.

    Returns
    -------
    dict
        type -> path.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [int(channel) for channel in channels]
    names = [f"{number}{band}" for number in numbers]
    labels = np.zeros(SHAPE, "i2")
    by_slice = {"slices": []} | {f"{axis}_model": [] for axis in ("alpha", "beta", "x", "y")}
    wavelengths, first_betas, steps, fields = [], [], [], []
    for channel in numbers:
        count, width, *_, place = OPTICS[channel]
        betas = width * (np.arange(count) - (count - 1) / 2)
        first_betas.append(float(betas[0]))
        steps.append(width)
        fields.append(_to_field(place))
        for number, beta in enumerate(betas, start=1):
            _, models, wavelength = slice_models(channel, number, band)
            labels[inside(channel, number)] = 100 * channel + number
            by_slice["slices"].append(100 * channel + number)
            by_slice["beta_model"].append(Const1D(float(beta)))
            for axis, model in models.items():
                by_slice[f"{axis}_model"].append(model)
            wavelengths.append(wavelength)
    by_slice |= {
        "bzero": {"channel_band": names, "beta_zero": first_betas},
        "bdel": {"channel_band": names, "delta_beta": steps},
        "abv2v3_model": {"channel_band": names, "model": fields},
    }
    limits = [[round(low - 0.05, 3), round(high + 0.05, 3)] for low, high in (RANGES[band][number] for number in numbers)]
    trees = {
        "distortion": by_slice,
        "specwcs": {"model": wavelengths, "slices": by_slice["slices"]},
        "regions": {"regions": np.broadcast_to(labels, (9, *SHAPE)).copy()},
        "wavelengthrange": {"waverange_selector": names, "wavelengthrange": limits, "channels": names},
    }
    about = {"detector": DETECTORS[channels], "channel": channels, "band": band}
    return {kind: write_asdf(folder / f"mrs{channels}{band}_{kind}.asdf", kind, tree, about) for kind, tree in trees.items()}


def inside(channel, number):
    """The pixels of a slice, bool (row, col)."""
    _, _, _, long, first, pitch, _ = OPTICS[channel]
    left = first + pitch * (number - 1) + LEAN * np.arange(SHAPE[0])[:, None]
    x = np.arange(SHAPE[1])
    return (x >= left) & (x < left + long)


def slice_models(channel, number, band):
    """A slice's first column in row 0, its models alpha(y, x), x and y(wavelength, alpha), and wavelength(y, x); all exact."""
    _, _, scale, long, first, pitch, _ = OPTICS[channel]
    low, high = RANGES[band][channel]
    column = first + pitch * (number - 1)
    step = (high - low) / (SHAPE[0] + 2)
    middle = column + (long - 1) / 2
    # alpha = scale (x - middle - LEAN y), wavelength = start + step (y + TILT (x - middle))
    start, step = (high - step, -step) if channel in FALLING else (low + step, step)
    alpha = Identity(1) & Shift(-middle) | _plane(0.0, -scale * LEAN, scale)
    wavelength = Identity(1) & Shift(-middle) | _plane(start, step, step * TILT)
    # so that (wavelength - start) / step = y (1 + TILT LEAN) + TILT alpha / scale
    both = 1 + TILT * LEAN
    to_row = _plane(-start / step / both, 1 / step / both, -TILT / scale / both)
    to_column = _plane(middle - LEAN * start / step / both, LEAN / step / both, 1 / scale - LEAN * TILT / scale / both)
    return column, {"alpha": alpha, "x": to_column, "y": to_row}, wavelength


def _to_field(place):
    """(alpha, beta) -> (V2, V3): turned and mirrored, which undoes itself."""
    cos, sin = TURN
    norm = cos**2 + sin**2
    turn = Mapping((0, 1, 0, 1)) | _plane(0.0, cos, sin) & _plane(0.0, sin, -cos)
    back = Mapping((0, 1, 0, 1)) | _plane(0.0, cos / norm, sin / norm) & _plane(0.0, sin / norm, -cos / norm)
    model = turn | Shift(place[0]) & Shift(place[1])
    model.inverse = Shift(-place[0]) & Shift(-place[1]) | back
    return model


def _plane(constant, first, second):
    return Polynomial2D(1, c0_0=constant, c1_0=first, c0_1=second)


def write_asdf(path, kind, tree, setup=None):
    """A reference in ASDF; `setup`: detector, channel, band, if it is not for all."""
    about = {"telescope": "JWST", "reftype": kind, "author": "jwcal.simulate", "pedigree": "DUMMY", "useafter": USEAFTER}
    about |= {"description": "made by jwcal.simulate", "model_type": MODELS[kind], "exposure": {"type": "MIR_MRS"}}
    about |= {"instrument": {"name": "MIRI", **(setup or {})}, "input_units": "pixel", "output_units": OUTPUTS.get(kind, "micron")}
    asdf.AsdfFile({"meta": about, **tree}).write_to(path)
    return path


def simulate_mrs(
    files,
    *,
    channels="12",
    band="SHORT",
    sources=(STAR,),
    background=None,
    calibrated=True,
    response=1.0,
    target=exposures.TARGET,
    roll=30.0,
    dither=None,
    start=exposures.START,
    identity=None,
    noise=True,
    seed=1,
    header=None,
    **options,
):
    """Make one exposure of one of the two detectors.

    Parameters
    ----------
    files : dict
        type -> path of distortion, specwcs, regions, wavelengthrange.
    channels, band : str
        As in `write_references`.
    sources : sequence of spectrograph.Source, or Extended
        `along` is along the slices of the first channel, `across` across them [arcsec], from the target.
    background : callable, optional
        wavelength [micron] -> MJy/sr.
    calibrated : bool
        In MJy/sr with a WCS ("cal") and not in DN/s without one ("rate").
    response : float
        MJy/sr for a DN/s.
    target, roll, dither, start, identity, header, noise, seed, options
        As `spectrograph.simulate_lrs` takes them.

    Returns
    -------
    spectrograph.Simulated
        Its truth has no paths: the light of a source is in many slices.
    """
    setup = instruments.setup("MIR_MRS", detector=DETECTORS[channels], **options)
    head = make_header(setup, target, roll, dither or {}, start, identity or headers.Identity())
    for key, value in {"CHANNEL": channels, "BAND": band, **(header or {})}.items():
        head[key] = value
    made = Exposure(head, [Pixels(sci=np.zeros(SHAPE, np.float32))], suffix="rate")
    refs = References(files, head)
    looking = made.derive([Pixels(sci=made.sci)], made.suffix)
    assign_wcs.apply(looking, refs, "mrs")
    *_, wavelength = wavelength_and_sky(looking.wcs, SHAPE)
    image = _light(looking.wcs, refs["distortion"], wavelength, target, sources, background)
    if calibrated:
        made.header, made.suffix = looking.header, "cal"
        made.header.sci["BUNIT"] = "MJy/sr"
    else:
        image /= response
    per_dn = np.full(SHAPE, response if calibrated else 1.0)
    made.pixels = [measured(image, per_dn, setup.readout.effinttm, noise, np.random.default_rng([seed, 277]))]
    made.pixels[0].header = made.header.sci
    made.pixels[0].wcs = looking.wcs if calibrated else None
    return Simulated(made, Truth(list(sources), [], image, wavelength, background, None), refs)


def _light(wcs, distortion, wavelength, target, sources, background):
    """MJy/sr without noise; 0 between the slices."""
    labels = np.where(np.isfinite(wavelength), labels_of(wcs), 0)
    image = np.zeros(SHAPE)
    if background is not None:
        image[labels > 0] = background(wavelength[labels > 0])
    widths = {
        int(name[0]): step for name, step in zip(*(distortion.tree["bdel"][key] for key in ("channel_band", "delta_beta")), strict=True)
    }
    to_slit = wcs.pipeline[0].transform.selector
    from_sky = wcs.get_transform("world", "alpha_beta")
    places = {channel: _places(from_sky, wavelength[labels // 100 == channel], target, sources) for channel in widths}
    arcsec = (np.pi / 180 / 3600) ** 2
    for number in np.unique(labels[labels > 0]).tolist():
        y, x = np.nonzero(labels == number)
        width, w = widths[number // 100], wavelength[y, x]
        low, high = (to_slit[number](x + side, y.astype(float))[0] for side in (-0.5, 0.5))
        _, beta, _ = to_slit[number](x[:1].astype(float), y[:1].astype(float))
        for source, (alpha0, beta0) in zip(sources, places[number // 100], strict=True):
            sizes = [np.sqrt(2) * SIGMA * np.hypot(scale * DIFFRACTION * w, getattr(source, "fwhm", 0.0)) for scale in (1, HALO_SCALE)]
            part = sum(
                share * _between(low - alpha0, high - alpha0, size) * _between(beta - width / 2 - beta0, beta + width / 2 - beta0, size)
                for share, size in zip((CORE, 1 - CORE), sizes, strict=True)
            )
            image[y, x] += 1e-6 * blurred(source.spectrum, w) * part / (np.abs(high - low) * width * arcsec)
    return image


def _places(from_sky, wavelengths, target, sources):
    """alpha, beta of the sources in a channel: `along` and `across` from where the target is."""
    alpha, beta, _ = from_sky(*target, float(np.nanmedian(wavelengths)))
    return [(float(alpha) + source.along, float(beta) + source.across) for source in sources]


def _between(low, high, size):
    """The part of a Gaussian that lies between two limits; `size` is sqrt(2) sigma."""
    return np.abs(erf(high / size) - erf(low / size)) / 2


def blurred(spectrum, wavelength, resolution=RESOLUTION):
    """A spectrum as the line spread function leaves it, Gaussian with a FWHM of wavelength / resolution: mean of 41 places in +-5 sigma."""
    offsets = np.linspace(-5, 5, 41)
    weights = np.exp(-0.5 * offsets**2)
    sigma = SIGMA / resolution * wavelength
    return sum(weight * spectrum(wavelength + offset * sigma) for offset, weight in zip(offsets, weights / weights.sum(), strict=True))
