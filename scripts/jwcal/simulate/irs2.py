"""NIRSpec's IRS2 readout: a raw exposure with interleaved reference pixels and reference output, and the references that it needs.

The noise is made in the order of the reads: a part that all outputs share, the reference output too, and a part of each amplifier's own,
both with a power that falls as 1/f. The refpix reference takes the slow part from the amplifier's reference pixels and the fast one from
the reference output.
"""

from pathlib import Path

import asdf
import numpy as np
from astropy.io import fits

from ..files import storage
from ..model.exposure import Header
from ..model.irs2_layout import IS_REFERENCE, OUTPUTS, ROWS, SAMPLE_TICKS, TICKS, Layout, layout_of
from .detector import make_detector
from .exposures import simulate_exposure
from .references import DATE, USEAFTER

TFRAME = 14.58890  # s
LEVEL = 9000.0  # DN of the reference samples
COMMON, OWN, READ = 6.0, 3.0, 4.0  # DN rms of one frame: noise of all outputs, of each amplifier, of each read
SLOW, FAST = 6000, 200000  # cycles a frame to which the amplifier's reference pixels are followed, and the reference output
FILLED = 2 * np.count_nonzero(IS_REFERENCE) / TICKS  # part of the time that the reference pixels' signal is spread over


def simulate_irs2(
    out, *, exp_type="NRS_IFU", detector="NRS1", readpatt="NRSIRS2RAPID", subarray="FULL", common=COMMON, own=OWN, seed=1, **options
):
    """Simulate a full frame of IRS2 readout; parameters and result as `simulate_exposure`. Its `ramp` has the detector's pixels alone.

    Parameters
    ----------
    subarray : str or instruments.Subarray
        For tests a frame may have fewer lines (columns).
    common, own : float
        DN rms of the noise of a frame that all outputs share, and of that of each amplifier.
    """
    nframes = 5 if readpatt == "NRSIRS2" else 1
    header = {"READPATT": readpatt, "NRS_NORM": 16, "NRS_REF": 4, "NOUTPUTS": OUTPUTS, **options.pop("header", {})}
    timing = {"readpatt": "NRSRAPID", "nframes": nframes, "tframe": TFRAME, "subarray": subarray}
    sensor = options.pop("sensor", None) or make_detector("NIRSPEC", detector, subarray, flicker=0.0, offsets=0.0)
    made = simulate_exposure(out, exp_type=exp_type, detector=detector, seed=seed, sensor=sensor, header=header, **timing, **options)
    rng = np.random.default_rng([seed, 712])
    with fits.open(made.uncal, memmap=False) as hdus:
        layout = layout_of(Header(hdus[0].header, hdus["SCI"].header, str(made.uncal)))
        hdus["SCI"].data = interleave(hdus["SCI"].data, layout, rng, np.array([common, own, READ]) / np.sqrt(nframes))
        with storage.replaced(made.uncal) as temporary:
            hdus.writeto(temporary, overwrite=True)
    return made


def interleave(images, layout, rng, levels):
    """Raw images of IRS2 readout from those of the detector's pixels.

    Parameters
    ----------
    images : (..., 2048, line) uint16, DN
    layout : irs2.layout.Layout
    rng : numpy.random.Generator
    levels : DN rms of the noise of all outputs, of each amplifier, of each read (the last for reference samples only)

    Returns
    -------
    (..., 3200, line) uint16
    """
    common, own, read = levels
    lines = images.shape[-1]
    raw = np.empty((*images.shape[:-2], ROWS, lines), np.uint16)
    for place in np.ndindex(*images.shape[:-2]):
        frame = np.empty((ROWS, lines), np.float32)
        frame[layout.science] = images[place]
        frame[layout.references] = reference_bias(lines)[layout.references]
        frame[layout.references] += read * rng.standard_normal((np.count_nonzero(layout.references), lines), np.float32)
        frame += drift(layout, rng, lines, common, own)
        raw[place] = np.clip(np.rint(frame), 0, 65535)
    return raw


def drift(layout, rng, lines, common, own):
    """Noise of one frame in the order of its reads, (row, line) float32, DN; the reference output has the shared part alone."""
    shared = common * _flicker(rng, lines)
    return in_rows(layout, [shared, *(shared + own * _flicker(rng, lines) for _ in range(OUTPUTS - 1))])


def in_rows(layout, series):
    """A raw image from the series of its outputs, each (lines TICKS,) in the order of time: (row, line) float32."""
    lines = series[0].size // TICKS
    out = np.empty((ROWS, lines), np.float32)
    for rows, values in zip(layout.order, series, strict=True):
        samples = values.reshape(lines, TICKS).T[SAMPLE_TICKS]
        out[rows] = samples[:, ::-1] if layout.backwards else samples
    return out


def _flicker(rng, lines):
    """Noise of unit rms whose power falls as 1/f, (lines TICKS,)."""
    white = np.fft.rfft(rng.standard_normal(lines * TICKS))
    white[0] = 0
    noise = np.fft.irfft(white / np.sqrt(np.maximum(np.arange(white.size), 1)), lines * TICKS)
    return noise / noise.std()


def reference_bias(lines):
    """Bias of the reference samples, (row, line) float32: another one for each row and line."""
    rng = np.random.default_rng(640)
    return (LEVEL + 40 * rng.standard_normal((ROWS, 1)) + 10 * rng.standard_normal((1, lines))).astype(np.float32)


# --- references ------------------------------------------------------------------------------------------------------


def write_references(files, detector="NRS1", bad=()):
    """Make the references of a full frame those of IRS2 readout: mask and superbias get its rows, and refpix is added.

    Parameters
    ----------
    files : dict
        What `references.write_references` has written; the files change.
    detector : str
    bad : sequence of (OUTPUT, ODD_EVEN, MASK)
        Bad reference pixels for the refpix reference.

    Returns
    -------
    dict
        Type -> path.
    """
    layout = layout_of({"DETECTOR": detector})
    for kind in ("mask", "superbias"):
        expand(files[kind], layout)
    mask = Path(files["mask"])
    lines = fits.getheader(mask, "DQ")["NAXIS1"]
    refpix = write_refpix(mask.with_name(mask.name.replace("mask", "refpix")), detector, lines=lines, bad=bad)
    return {**files, "refpix": refpix}


def expand(path, layout: Layout):
    """Give all images of a reference the rows of IRS2 readout, in place."""
    with fits.open(path, memmap=False) as hdus:
        flag = 0
        if "DQ_DEF" in hdus:
            flag = sum(int(row["VALUE"]) for row in hdus["DQ_DEF"].data if row["NAME"] == "REFERENCE_PIXEL")
        for hdu in hdus:
            if not isinstance(hdu, fits.ImageHDU):
                continue
            lines = hdu.data.shape[-1]
            image = {"SCI": reference_bias(lines), "ERR": np.ones((ROWS, lines))}.get(hdu.name, np.full((ROWS, lines), flag))
            image = image.astype(hdu.data.dtype.newbyteorder("="))
            image[layout.science] = hdu.data
            hdu.data = image
        with storage.replaced(path) as temporary:
            hdus.writeto(temporary, overwrite=True)


def write_refpix(path, detector="NRS1", *, lines=2048, bad=(), table=None):
    """Write a refpix reference.

    Parameters
    ----------
    path : path
    detector : str
    lines : int
        Of a frame.
    bad : sequence of (OUTPUT, ODD_EVEN, MASK)
    table : structured array, optional
        By default the weights that suit this module's noise.

    Returns
    -------
    path
    """
    primary = fits.PrimaryHDU()
    primary.header.update(_keywords("refpix", "IRS2Model") | {"DETECTOR": detector})
    flags = np.array(list(bad), [("OUTPUT", "u2"), ("ODD_EVEN", "u2"), ("MASK", "u4")])
    tables = [fits.BinTableHDU(weights(lines) if table is None else table, name="IRS2"), fits.BinTableHDU(flags, name="DQ")]
    with storage.replaced(path) as temporary:
        fits.HDUList([primary, *tables]).writeto(temporary, overwrite=True)
    return path


def weights(lines):
    """The table of a refpix reference: alpha_0 ... beta_3, real and imaginary parts in turn, for each frequency of a frame."""
    frequency = np.abs(np.fft.fftfreq(lines * TICKS, 1 / (lines * TICKS)))
    slow, fast = (np.interp(np.minimum(frequency / (top * lines / 2048), 2), [0.5, 1], [1, 0]) for top in (SLOW, FAST))
    table = np.zeros(2 * frequency.size, [(f"{kind}_{k}", "f4") for kind in ("alpha", "beta") for k in range(OUTPUTS - 1)])
    for k in range(OUTPUTS - 1):
        table[f"alpha_{k}"][::2] = fast - slow
        table[f"beta_{k}"][::2] = slow / FILLED
    return table


def write_sirskernel(path, instrument, coefficients):
    """Write a sirskernel reference.

    Parameters
    ----------
    path : path
    instrument : str
    coefficients : dict
        Detector -> (gamma, zeta), each (output, frequency) complex.

    Returns
    -------
    path
    """
    words = _keywords("sirskernel", "SIRSKernelModel")
    meta = {name: words[name.upper()] for name in ("reftype", "pedigree", "author", "useafter", "date")}
    meta |= {"telescope": "JWST", "instrument": {"name": instrument}, "description": words["DESCRIP"], "model_type": words["DATAMODL"]}
    entries = {detector.lower(): {"gamma": gamma, "zeta": zeta} for detector, (gamma, zeta) in coefficients.items()}
    with storage.replaced(path) as temporary:
        asdf.AsdfFile({"meta": meta} | entries).write_to(temporary)
    return path


def _keywords(kind, model):
    about = {"REFTYPE": kind.upper(), "PEDIGREE": "DUMMY", "AUTHOR": "jwcal.simulate", "USEAFTER": USEAFTER, "DATE": DATE}
    return about | {"TELESCOP": "JWST", "INSTRUME": "NIRSPEC", "DESCRIP": f"Simulated {kind}", "DATAMODL": model}
