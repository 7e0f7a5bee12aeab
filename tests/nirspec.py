"""NIRSpec exposures with references: the real optics, with slits, shutters and slices laid out as the SIAF and ESA's tables have them."""

from functools import cache
from pathlib import Path

import asdf
import numpy as np
import pytest
from astropy.io import fits
from astropy.modeling.models import Identity, Polynomial1D, Shift

import sky
from jwcal.model.exposure import Exposure, Header, Pixels
from jwcal.model.references import References

REAL = sky.SHARED / "real/references/nirspec"
OPTICS = {
    "camera": "camera_0004", "collimator": "collimator_0004", "fore": "fore_0028", "fpa": "fpa_0005", "ote": "ote_0005",
    "wavelengthrange": "wavelengthrange_0004",
}  # fmt: skip
PRISM = "disperser_0034"
needs_real = pytest.mark.skipif(not REAL.exists(), reason="the real reference files (../shared/real) are not here")

PITCH, OPEN = np.array([105.26e-6, 204.8e-6]), np.array([78e-6, 175e-6])  # m, of the shutters
LONG, WIDE = 365, 171  # shutters of a quadrant
SIZES = {"S200A1": (1.95e-4, 1.2712e-3), "S200A2": (1.95e-4, 1.2712e-3), "S400A1": (3.9e-4, 1.48e-3), "S1600A1": (6.31e-4, 6.31e-4),
         "S200B1": (1.95e-4, 1.2712e-3)}  # fmt: skip
S200A1 = np.array([26.9724e-3, -2.7167e-3])  # m, its centre by ESA
SLICES = 30
FIRST_SHUTTER = {1: (13.0e-3, 5.0e-3), 2: (13.0e-3, -41.0e-3), 3: (-52.0e-3, 5.0e-3), 4: (-52.0e-3, -41.0e-3)}  # m, about

GRATINGS = {  # theta_x, theta_y, theta_z, tilt_y [deg], grooves a metre: about those of ESA's tables
    "G395H": (0.0297, -0.0316, -0.2073, -8.8, 89400.0),
    "G140M": (0.0360, 0.0, -0.4224, -4.18307, 95396.26),
}


@cache
def real(name):
    with asdf.open(REAL / f"jwst_nirspec_{name}.asdf", lazy_load=False, memmap=False) as file:
        return file.tree


def to_plane(siaf_name):
    """Where an aperture of the SIAF lies in the plane of the slits [m], by the inverse of telescope and fore optics."""
    aperture = sky.aperture("NIRSpec", siaf_name)
    x, y = real("ote_0005")["model"].inverse(aperture.V2Ref, aperture.V3Ref)
    return np.array(real("fore_0028")["model"].inverse(x, y, 2e-6))


def rows_of(x, y, width, height):
    kinds = [("NO", "f8"), ("XC", "f8"), ("YC", "f8"), ("SIZEX", "f8"), ("SIZEY", "f8")]
    out = np.zeros(np.size(x), kinds)
    out["NO"], out["XC"], out["YC"], out["SIZEX"], out["SIZEY"] = np.arange(np.size(x)), x, y, width, height
    return out


def about(kind, model):
    return {
        "telescope": "JWST", "reftype": kind, "author": "tests", "pedigree": "DUMMY", "description": "test", "model_type": model,
        "useafter": "2022-01-01T00:00:00", "instrument": {"name": "NIRSPEC", "p_detector": "NRS1|NRS2|"},
        "exposure": {"type": "N/A", "p_exptype": "NRS_FIXEDSLIT|NRS_IFU|NRS_MSASPEC|NRS_BRIGHTOBJ|NRS_LAMP|"},
    }  # fmt: skip


def write(path, kind, model, **tree):
    if not path.exists():
        asdf.AsdfFile({"meta": about(kind, model), **tree}).write_to(path)
    return path


def msa(folder):
    """The slits where the SIAF has them, and quadrants of shutters about where they are."""
    off = S200A1 - to_plane("NRS_S200A1_SLIT")
    centres = np.array([to_plane(f"NRS_{name}_SLIT") + off for name in SIZES])
    tree = {"Q5": {"model": Identity(2), "data": rows_of(*centres.T, *np.transpose(list(SIZES.values())))}}
    row, column = np.divmod(np.arange(LONG * WIDE), LONG)
    for quadrant, corner in FIRST_SHUTTER.items():
        data = rows_of(column * PITCH[0], row * PITCH[1], *OPEN)
        tree[f"Q{quadrant}"] = {"model": Shift(corner[0]) & Shift(corner[1]), "data": data}
    return write(folder / "msa.asdf", "msa", "MSAModel", **tree)


def disperser(folder, grating):
    if grating == "PRISM":
        return REAL / f"jwst_nirspec_{PRISM}.asdf"
    tilt = {"temperatures": [37.17], "tilt_model": Polynomial1D(1, c0=2784.436, c1=-8555.502), "unit": "arcsec", "zeroreadings": [0.3367]}
    none = {**tilt, "tilt_model": Polynomial1D(1, c0=0.0, c1=0.0), "zeroreadings": [0.0334]}
    values = dict(zip(("theta_x", "theta_y", "theta_z", "tilt_y", "groovedensity"), GRATINGS.get(grating, (0, 0, 0, 0, 0)), strict=True))
    tree = {**values, "tilt_x": 0.0, "gwa_tiltx": tilt, "gwa_tilty": none}
    path = folder / f"disperser_{grating}.asdf"
    if not path.exists():
        head = about("disperser", "DisperserModel")
        head["instrument"]["grating"] = grating
        asdf.AsdfFile({"meta": head, **tree}).write_to(path)
    return path


def files(folder, grating="PRISM"):
    """Reference type -> file."""
    folder = Path(folder)
    found = {kind: REAL / f"jwst_nirspec_{name}.asdf" for kind, name in OPTICS.items()}
    return found | {"disperser": disperser(folder, grating), "msa": msa(folder)}


SLIT_KEYWORDS = {  # of a prism exposure; the wheel stands where it was calibrated but for a little
    "INSTRUME": "NIRSPEC", "DETECTOR": "NRS1", "EXP_TYPE": "NRS_FIXEDSLIT", "FILTER": "CLEAR", "GRATING": "PRISM", "FXD_SLIT": "S200A1",
    "GWA_XTIL": 0.3368, "GWA_YTIL": 0.0334, "GWA_TILT": 37.1, "LAMP": "NONE", "OPMODE": "FIXEDSLIT", "PROGRAM": "01234",
    "SUBARRAY": "FULL", "SUBSTRT1": 1, "SUBSTRT2": 1, "FASTAXIS": 2, "SLOWAXIS": 1, "TELESCOP": "JWST", "PATT_NUM": 1, "NINTS": 1,
    "DATE-OBS": "2024-01-01", "TIME-OBS": "00:00:00", "READPATT": "NRSRAPID",
}  # fmt: skip
POINTING = {
    "RA_REF": 165.0, "DEC_REF": 54.0, "ROLL_REF": 37.0, "V2_REF": 331.867, "V3_REF": -479.4175, "V3I_YANG": 138.8419, "VPARITY": -1,
    "VA_SCALE": 1.00009, "VELOSYS": 12345.6, "BUNIT": "DN/s", "WCSAXES": 2,
}  # fmt: skip


def exposure(shape=(2048, 2048), data=None, name="made_rate.fits", **keywords):
    """A rate image or integrations whose pixels are all different; keywords that are None are left out."""
    given = {
        **SLIT_KEYWORDS,
        "SUBSIZE1": shape[-1],
        "SUBSIZE2": shape[-2],
        "VA_SCALE": 1.00009,
        "XOFFSET": 0.05,
        "YOFFSET": -0.3,
        **keywords,
    }
    sci = fits.Header({key: keywords.get(key, value) for key, value in POINTING.items() if keywords.get(key, value) is not None})
    primary = fits.Header({key: value for key, value in given.items() if value is not None and key not in POINTING})
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) if data is None else data
    planes = {plane: values + np.float32(number) for number, plane in enumerate(("err", "var_poisson", "var_rnoise"), start=1)}
    pixels = Pixels(sci=values, dq=(values.astype(np.int64) % 7).astype(np.uint32), header=sci, **planes)
    return Exposure(Header(primary, sci, name), [pixels], suffix="rateints" if len(shape) == 3 else "rate")


def given(folder, shape=(2048, 2048), **keywords):
    """An exposure and its references."""
    made = exposure(shape, **keywords)
    return made, References(files(folder, str(made.header.get("GRATING"))), made.header)


def save(exposure, path):
    """An exposure as a file that the peer reads."""
    names = {"sci": "SCI", "err": "ERR", "dq": "DQ", "var_poisson": "VAR_POISSON", "var_rnoise": "VAR_RNOISE"}
    hdus = [fits.PrimaryHDU(header=exposure.header.primary)]
    for plane, extension in names.items():
        hdus.append(fits.ImageHDU(getattr(exposure.only, plane), exposure.header.sci if plane == "sci" else None, name=extension))
    hdus[0].header["DATAMODL"] = "CubeModel" if exposure.sci.ndim == 3 else "ImageModel"
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


SHUTTER_COLUMNS = [
    *(("slitlet_id", "i2"), ("msa_metadata_id", "i2"), ("shutter_quadrant", "i2"), ("shutter_row", "i2"), ("shutter_column", "i2")),
    *(("source_id", "i2"), ("background", "S1"), ("shutter_state", "S6"), ("estimated_source_in_shutter_x", "f4")),
    *(("estimated_source_in_shutter_y", "f4"), ("dither_point_index", "i2"), ("primary_source", "S1"), ("fixed_slit", "S7")),
]
SOURCE_COLUMNS = [
    *(("program", "i4"), ("source_id", "i4"), ("source_name", "S20"), ("alias", "S31"), ("catalog_id", "S20"), ("ra", "f8"), ("dec", "f8")),
    *(("preimage_id", "S30"), ("stellarity", "f8")),
]
NO = "NONE"
# slitlet, quadrant, x, lowest and highest y, y with the source or None, source, place of the source
SLITLETS = [
    (11, 1, 120, 60, 60, 60, 1, (0.4, 0.6)),  # 1x1, a point source
    (12, 1, 200, 80, 82, 81, 2, (0.5, 0.5)),  # 1x3, an extended one
    (13, 2, 150, 30, 34, 31, 3, (0.2, 0.9)),  # 1x5, the source not in the middle
    (14, 2, 260, 100, 102, None, 0, None),  # background
    (15, 2, 40, 90, 92, 91, -7, (0.5, 0.5)),  # virtual: no source
    (16, 1, 300, 120, 122, 121, 4, (np.nan, np.nan)),  # a source whose place is not known
    (17, 1, 60, 10, 13, 12, 5, (1.3, 0.5)),  # a source outside its shutter; one shutter between stays closed
    (18, 3, 100, 50, 52, 51, 6, (0.5, 0.5)),  # on the other detector
]


def metadata(path, slitlets=SLITLETS, configuration=9, dither=1, fixed=("S400A1", 6), closed=((17, 11),), state=True):
    """An MSA metadata file as `MSAMETFL` names it; with one row of another configuration and one of another dither."""
    rows = [(99, configuration + 1, 1, 1, 1, 1, b"N", b"OPEN", 0.5, 0.5, dither, b"Y", b"NONE")]
    rows += [(98, configuration, 1, 1, 1, 1, b"N", b"OPEN", 0.5, 0.5, dither + 1, b"Y", b"NONE")]
    for slitlet, quadrant, x, low, high, with_source, source, place in slitlets:
        for y in range(low, high + 1):
            if (slitlet, y) in closed:
                continue
            here = y == with_source
            xy = place if here else (np.nan, np.nan)
            flags = (b"N" if here else b"Y", b"OPEN", *xy, dither, b"Y" if here else b"N", b"NONE")
            rows.append((slitlet, configuration, quadrant, x, y, source, *flags))
    if fixed:
        rows.append((0, configuration, 0, 0, 0, fixed[1], b"N", b"OPEN", 0.55, 0.45, dither, b"Y", fixed[0].encode()))
    known = [(1234, n, f"1234_{n}", f"star {n}", "", 165.0 + n / 1e4, 54.0, "", 0.1 * n) for n in (1, 2, 3, 4, 5, 6)]
    shutters, sources = np.array(rows, SHUTTER_COLUMNS), np.array(known, SOURCE_COLUMNS)
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.zeros((4, 4), "f4"), name="SHUTTER_IMAGE")]
    hdus += [fits.BinTableHDU(shutters, name="SHUTTER_INFO"), fits.BinTableHDU(sources, name="SOURCE_INFO")]
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


SHUTTERS = {
    "EXP_TYPE": "NRS_MSASPEC", "FXD_SLIT": "NONE", "OPMODE": "MSASPEC", "MSAMETFL": "jw01234_msa.fits", "MSAMETID": 9, "PATT_NUM": 1,
}  # fmt: skip
