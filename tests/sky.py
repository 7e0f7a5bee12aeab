"""Pointed exposures and distortion references made from the SIAF (pysiaf), and the same geometry worked out by pysiaf and by hand."""

import warnings
from functools import cache
from pathlib import Path

import asdf
import numpy as np
from astropy.modeling.models import Mapping, Polynomial2D, Shift

import make
from jwcal.model.exposure import Exposure, Header, Pixels
from jwcal.model.references import References

SHARED = Path(__file__).resolve().parents[2] / "shared"
POINTING = {"RA_REF": 245.981865309727, "DEC_REF": 28.38410372178712, "ROLL_REF": 198.1509949487168, "VA_SCALE": 1.00009399112588}


@cache
def aperture(instrument, name):
    """An aperture of the SIAF."""
    import pysiaf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pysiaf.Siaf(instrument)[name]


def distortion(siaf):
    """Science pixels, counted from 0, to V2, V3 [arcsec], as CRDS has it; with the SIAF's own inverse."""
    degree = int(siaf.Sci2IdlDeg)
    to_ideal, from_ideal = (
        Polynomial2D(degree, **_coefficients(siaf, direction, "X", degree))
        & Polynomial2D(degree, **_coefficients(siaf, direction, "Y", degree))
        for direction in ("Sci2Idl", "Idl2Sci")
    )
    angle, parity = np.radians(siaf.V3IdlYAngle), siaf.VIdlParity
    cos, sin = np.cos(angle), np.sin(angle)
    turn = Polynomial2D(1, c1_0=parity * cos, c0_1=sin) & Polynomial2D(1, c1_0=-parity * sin, c0_1=cos)
    back = Polynomial2D(1, c1_0=parity * cos, c0_1=-parity * sin) & Polynomial2D(1, c1_0=sin, c0_1=cos)
    twice = Mapping((0, 1, 0, 1))
    pixel, field = Shift(1 - siaf.XSciRef) & Shift(1 - siaf.YSciRef), Shift(siaf.V2Ref) & Shift(siaf.V3Ref)
    model = pixel | twice | to_ideal | twice | turn | field
    model.inverse = field.inverse | twice | back | twice | from_ideal | pixel.inverse
    return model


def _coefficients(siaf, direction, axis, degree):
    """SIAF's coefficient i, j goes with x^(i-j) y^j."""
    return {f"c{i - j}_{j}": getattr(siaf, f"{direction}{axis}{i}{j}") for i in range(degree + 1) for j in range(i + 1)}


def header(siaf, shape, **keywords):
    """Header of a rate file that looks through the whole of an aperture (or with SUBSTRT1... at a part of it)."""
    nrow, ncol = shape[-2:]
    primary = {"DETECTOR": siaf.AperName.split("_")[0], "SUBARRAY": "FULL", **keywords}
    head = make.header(nrow, ncol, **primary)
    x, y = siaf.XSciRef - head["SUBSTRT1"] + 1, siaf.YSciRef - head["SUBSTRT2"] + 1
    own = {"V2_REF": siaf.V2Ref, "V3_REF": siaf.V3Ref, "V3I_YANG": siaf.V3IdlYAngle, "VPARITY": int(siaf.VIdlParity)}
    linear = {"WCSAXES": 2, "CRPIX1": x, "CRPIX2": y, "CRVAL1": POINTING["RA_REF"], "CRVAL2": POINTING["DEC_REF"]}
    linear |= {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg", "CDELT1": 8.5e-6, "CDELT2": 8.5e-6}
    linear |= {"PC1_1": 0.95, "PC1_2": -0.31, "PC2_1": -0.31, "PC2_2": -0.95, "RADESYS": "ICRS", "BUNIT": "DN/s"}
    for key, value in {**POINTING, **own, **linear}.items():
        if key not in keywords:
            head.sci[key] = value
    for key in set(keywords) & (set(POINTING) | set(own) | set(linear)):
        head.sci[key] = head.primary.pop(key)
    return Header(head.primary, head.sci, "made_rate.fits")


def exposure(siaf, shape, **keywords):
    """A rate image or cube of zeros with that header; its arrays take no memory."""
    zeros = np.broadcast_to(np.float32(0), shape)
    return Exposure(header(siaf, shape, **keywords), [Pixels(sci=zeros)], suffix="rate")


def references(folder, exposure, model, offsets=None):
    """distortion and filteroffset as ASDF files; a path is taken as it is."""
    files = {}
    about = {"telescope": "JWST", "reftype": "distortion", "author": "tests", "pedigree": "DUMMY", "description": "test"}
    about |= {"useafter": "2022-01-01T00:00:00", "instrument": {"name": exposure.header["INSTRUME"], "p_pupil": "CLEAR|"}}
    for kind, content in {"distortion": model, "filteroffset": offsets}.items():
        if isinstance(content, Path):
            files[kind] = content
        elif content is not None:
            files[kind] = Path(folder, f"{kind}.asdf")
            tree = {"model": content} if kind == "distortion" else {"filters": content}
            asdf.AsdfFile({"meta": {**about, "reftype": kind}, **tree}).write_to(files[kind])
    return References(files, exposure.header)


def truth(siaf, x, y, v2=None, v3=None):
    """Right ascension and declination [deg] of pixels counted from 0, without gwcs or astropy: SIAF, then a rotation by hand."""
    if v2 is None:
        v2, v3 = siaf.sci_to_tel(np.asarray(x) + 1.0, np.asarray(y) + 1.0)
    scale = POINTING["VA_SCALE"]
    v2, v3 = scale * v2 + (1 - scale) * siaf.V2Ref, scale * v3 + (1 - scale) * siaf.V3Ref
    return by_hand(v2, v3, siaf.V2Ref, siaf.V3Ref, POINTING["RA_REF"], POINTING["DEC_REF"], POINTING["ROLL_REF"])


def by_hand(v2, v3, v2_ref, v3_ref, ra, dec, roll):
    """The sky from field angles [arcsec]: position angle and separation about the reference point (spherical triangles)."""
    v2, v3, v2_ref, v3_ref = (np.radians(np.asarray(angle) / 3600) for angle in (v2, v3, v2_ref, v3_ref))
    # the direction of a point from the reference point in the field, counted from V3 towards V2
    east = np.cos(v3) * np.sin(v2 - v2_ref)
    north = np.cos(v3_ref) * np.sin(v3) - np.sin(v3_ref) * np.cos(v3) * np.cos(v2 - v2_ref)
    along = np.sin(v3_ref) * np.sin(v3) + np.cos(v3_ref) * np.cos(v3) * np.cos(v2 - v2_ref)
    angle = np.arctan2(east, north) + np.radians(roll)
    away = np.arctan2(np.hypot(east, north), along)
    ra, dec = np.radians(ra), np.radians(dec)
    sin_dec = np.sin(dec) * np.cos(away) + np.cos(dec) * np.sin(away) * np.cos(angle)
    y = np.sin(angle) * np.sin(away) * np.cos(dec)
    x = np.cos(away) - np.sin(dec) * sin_dec
    return np.degrees(ra + np.arctan2(y, x)) % 360, np.degrees(np.arcsin(sin_dec))
