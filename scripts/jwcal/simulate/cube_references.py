"""References for cubes: how they are sampled, and how spectra are taken out of them.

path = cube_references.write_cubepar("cubepar.fits", mrs_bands("SHORT"))
path = cube_references.write_extract1d("extract1d.asdf", wavelength, radius, inner, outer)
path = cube_references.write_apcorr("apcorr.asdf", wavelength, radii, factors)
"""

from pathlib import Path

import asdf
import numpy as np
from astropy.io import fits
from scipy.ndimage import uniform_filter1d

from .references import USEAFTER
from .scene import CORE, HALO_SCALE, SIGMA
from .spectrograph import DIFFRACTION

MRS_SPAXELS = {"1": (0.13, 0.0008), "2": (0.17, 0.0013), "3": (0.20, 0.0025), "4": (0.35, 0.006)}  # arcsec, micron


def mrs_bands(ranges, sizes=None):
    """Rows of CUBEPAR for MIRI's spectrometer: (channel, band, arcsec, micron, lowest and highest wavelength).

    Parameters
    ----------
    ranges : dict
        band -> {channel: (lowest, highest wavelength)}, as `mrs.RANGES`.
    sizes : dict, optional
        channel -> (arcsec, micron).
    """
    sizes = sizes or MRS_SPAXELS
    return [(str(c), band, *sizes[str(c)], *limits) for band, by_channel in ranges.items() for c, limits in by_channel.items()]


def write_cubepar(path, bands, wavelengths, instrument="MIRI", tables=("MULTICHANNEL",)):
    """Write a cubepar reference.

    Parameters
    ----------
    path : path
    bands : list of tuple
        As `mrs_bands` gives them; NIRSpec: (disperser, filter, ...).
    wavelengths : array_like
        Of cubes of several bands, micron.
    instrument : str
    tables : tuple of str
        Beginnings of the names of the tables of wavelengths.
    """
    names = ("CHANNEL", "BAND") if instrument == "MIRI" else ("DISPERSER", "FILTER")
    text = [(names[0], "S6"), (names[1], "S12")]
    keys = [band[:2] for band in bands]

    def table(name, columns, rows, kinds=text):
        array = np.array([(*key, *row) for key, row in rows], [*kinds, *((column, ">f4") for column in columns)])
        return fits.BinTableHDU(array, name=name)

    def waves(name, **columns):
        array = np.zeros(len(wavelengths), [("WAVELENGTH", ">f4"), *((column, ">f4") for column in columns)])
        array["WAVELENGTH"] = wavelengths
        for column, value in columns.items():
            array[column] = value
        return fits.BinTableHDU(array, name=name)

    spaxels, steps = ([band[n] for band in bands] for n in (2, 3))
    hdus = [table("CUBEPAR", ("SPAXELSIZE", "SPECTRALSTEP", "WAVEMIN", "WAVEMAX"), list(zip(keys, (b[2:] for b in bands), strict=True)))]
    msm = [(1.2 * size, 2.5 * step, 2.0, 0.01) for size, step in zip(spaxels, steps, strict=True)]
    emsm = [(1.7 * size, 2.5 * step, 0.5 * size) for size, step in zip(spaxels, steps, strict=True)]
    hdus.append(table("CUBEPAR_MSM", ("ROISPATIAL", "ROISPECTRAL", "POWER", "SOFTRAD"), list(zip(keys, msm, strict=True))))
    hdus.append(table("CUBEPAR_EMSM", ("ROISPATIAL", "ROISPECTRAL", "SCALERAD"), list(zip(keys, emsm, strict=True))))
    wide, fine = max(spaxels), max(steps)
    for name in tables:
        hdus.append(waves(f"{name}_MSM", ROISPATIAL=1.2 * wide, ROISPECTRAL=2.5 * fine, POWER=2.0, SOFTRAD=0.01))
        hdus.append(waves(f"{name}_EMSM", ROISPATIAL=1.7 * wide, ROISPECTRAL=2.5 * fine, SCALERAD=0.5 * wide))
        hdus.append(waves(f"{name}_{'DRIZ' if instrument == 'MIRI' else 'DRIZZLE'}"))
    about = {"TELESCOP": "JWST", "INSTRUME": instrument, "REFTYPE": "CUBEPAR", "DESCRIP": "made by jwcal.simulate", "AUTHOR": "jwcal"}
    model = "MiriIFUCubeParsModel" if instrument == "MIRI" else "NirspecIFUCubeParsModel"
    about |= {"PEDIGREE": "DUMMY", "USEAFTER": USEAFTER, "DATAMODL": model}
    fits.HDUList([fits.PrimaryHDU(header=fits.Header(about)), *hdus]).writeto(path, overwrite=True)
    return Path(path)


def write_extract1d(path, wavelength, radius, inner, outer, *, subtract_background=True, method="exact", subpixels=10, instrument="MIRI"):
    """Write an extract1d reference of cubes: radii [arcsec] of the aperture and of the background's ring at some wavelengths [micron]."""
    columns = {"wavelength": wavelength, "radius": radius, "inner_bkg": inner, "outer_bkg": outer}
    columns |= {"axis_ratio": np.ones(len(wavelength)), "axis_pa": np.zeros(len(wavelength))}
    data = {name: np.asarray(values, np.float32) for name, values in columns.items()}
    data |= {"wavelength_units": "micron", "radius_units": "arcsec", "inner_bkg_units": "arcsec", "outer_bkg_units": "arcsec"}
    more = {"region_type": "target", "subtract_background": subtract_background, "method": method, "subpixels": subpixels}
    return _write(path, "extract1d", instrument, {"data": data}, more)


def write_apcorr(path, wavelength, radius, factors, instrument="MIRI"):
    """Write an apcorr reference of cubes.

    Parameters
    ----------
    path : path
    wavelength : (n,) micron
    radius, factors : (k, n)
        Of the aperture [arcsec], and what its flux is to be multiplied with.
    instrument : str
    """
    table = {"wavelength": wavelength, "radius": radius, "apcorr": factors, "apcorr_err": np.zeros_like(factors)}
    table = {name: np.asarray(values, np.float32) for name, values in table.items()}
    table |= {"wavelength_units": "micron", "radius_units": "arcsec"}
    return _write(path, "apcorr", instrument, {"apcorr_table": table}, {})


def enclosed(wavelength, optics, radii, spaxel, step=0.01):
    """Parts of a point source's light in circles about it, as a cube has it.

    A pixel's light is spread over the pixel and the slice, twice: when it was gathered, and when it was drizzled. Then over the spaxel.

    Parameters
    ----------
    wavelength : float
        micron.
    optics : tuple
        Of a channel: its second and third are a slice's width and a pixel [arcsec].
    radii : sequence of float
        arcsec.
    spaxel, step : float
        arcsec: of the cube, and of the integration.
    """
    _, width, pixel, *_ = optics
    x = np.arange(-6, 6 + step / 2, step)
    total = 0.0
    for share, scale in ((CORE, 1), (1 - CORE, HALO_SCALE)):
        size = scale * SIGMA * DIFFRACTION * wavelength
        lines = []
        for boxes in ((width, width, spaxel), (pixel, pixel, spaxel)):
            line = np.exp(-0.5 * (x / size) ** 2) / np.sqrt(2 * np.pi) / size * step
            for box in boxes:
                line = uniform_filter1d(line, round(box / step) | 1, mode="constant")
            lines.append(line)
        total = total + share * np.outer(*lines)
    away = np.hypot(x, x[:, None])
    return np.array([total[away < radius].sum() for radius in radii])


def corrections(wavelengths, optics, radii, ring, spaxel):
    """What a point source's flux in circles is to be multiplied with, after the background in a ring was taken off.

    Parameters
    ----------
    wavelengths : (n,) sequence of float
        micron.
    optics, spaxel
        As `enclosed` takes them.
    radii, ring : (k,) or (k, n), (2,) or (2, n)
        arcsec.

    Returns
    -------
    (k, n) ndarray
        For each radius, at each wavelength.
    """
    edges = [np.broadcast_to(np.reshape(one, (len(one), -1)), (len(one), len(wavelengths))) for one in (radii, ring)]
    edges = np.vstack(edges).astype(float)
    inside = np.transpose([enclosed(w, optics, those, spaxel) for w, those in zip(wavelengths, edges.T, strict=True)])
    area = np.pi * edges**2
    beside = (inside[-1] - inside[-2]) / (area[-1] - area[-2])
    return 1 / (inside[:-2] - beside * area[:-2])


def _write(path, kind, instrument, tree, more):
    detector, exposure = ("MIRIFUSHORT", "MIR_MRS") if instrument == "MIRI" else ("NRS1", "NRS_IFU")
    about = {"telescope": "JWST", "reftype": kind, "author": "jwcal.simulate", "pedigree": "DUMMY", "useafter": USEAFTER, **more}
    model = {"extract1d": "Extract1dIFUModel", "apcorr": "MirMrsApcorrModel" if instrument == "MIRI" else "NrsIfuApcorrModel"}[kind]
    about |= {
        "description": "made by jwcal.simulate",
        "model_type": model,
        "exposure": {"type": exposure},
        "instrument": {"name": instrument, "detector": detector},
    }
    # inline, for programs that read them after the file was closed
    asdf.AsdfFile({"meta": about, **tree}).write_to(path, all_array_storage="inline")
    return Path(path)
