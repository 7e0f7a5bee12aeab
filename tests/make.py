"""Exposures in memory and tiny reference files for tests.

    exposure = make.ramp_exposure((1, 5, 32, 32), NFRAMES=4)            # 4-D sci; groupdq and pixeldq of zeros
    refs = make.references(tmp_path, exposure, saturation=threshold)    # an array is the SCI extension
    refs = make.references(tmp_path, exposure, mask={"DQ": bits, "DQ_DEF": make.dq_def(DEAD=1, HOT=4), "DETECTOR": "NRCA1"})

References are written as FITS files to the folder, so that tests go through the same reading and cutting as users do.
"""

import json
import textwrap

import numpy as np
from astropy.io import fits

from jwcal.model.exposure import Exposure, Header, Pixels
from jwcal.model.references import References
from peer import peer_python

DEFAULTS = {
    "TELESCOP": "JWST",
    "INSTRUME": "NIRCAM",
    "DETECTOR": "NRCA1",
    "READPATT": "RAPID",
    "NFRAMES": 1,
    "GROUPGAP": 0,
    "TFRAME": 10.73677,
    "SUBSTRT1": 1,
    "SUBSTRT2": 1,
    "FASTAXIS": -1,
    "SLOWAXIS": 2,
}


def header(ny, nx, **keywords):
    """Keywords of an exposure of `ny` x `nx` pixels; a keyword given as None is left out."""
    given = {**DEFAULTS, "SUBSIZE1": nx, "SUBSIZE2": ny, **keywords}
    given.setdefault("TGROUP", given["TFRAME"] * (given["NFRAMES"] + given["GROUPGAP"]) if given["NFRAMES"] else None)
    sci = fits.Header({"BUNIT": given.pop("BUNIT", "DN")})
    return Header(fits.Header({k: v for k, v in given.items() if v is not None}), sci, "made_uncal.fits")


def ramp_exposure(data, zeroframe=None, **keywords):
    """A ramp as the stage 1 steps see it.

    Parameters
    ----------
    data : tuple of 4 int or array_like
        Shape of a ramp of zeros (int, group, row, col), or the ramp itself, which is copied.
    zeroframe : array_like, optional
        (int, row, col).
    **keywords
        In place of those in DEFAULTS.
    """
    sci = np.zeros(data, np.float32) if isinstance(data, tuple) else np.array(data, np.float32)
    nints, ngroups, ny, nx = sci.shape
    head = header(ny, nx, **{"NINTS": nints, "NGROUPS": ngroups, "ZEROFRAM": zeroframe is not None, **keywords})
    extra = {} if zeroframe is None else {"ZEROFRAME": np.array(zeroframe, np.float32)}
    pixels = Pixels(sci=sci, dq=np.zeros((ny, nx), np.uint32), groupdq=np.zeros(sci.shape, np.uint8), extra=extra)
    return Exposure(head, [pixels], suffix="uncal")


def guider_exposure(data, **keywords):
    """A guider ramp: 4-D sci and a 2-D DQ, no group DQ."""
    exposure = ramp_exposure(data, **{"INSTRUME": "FGS", "DETECTOR": "GUIDER1", **keywords})
    exposure.groupdq = None
    return exposure


def image_exposure(data, suffix="rate", **keywords):
    """A rate image or rateints cube: sci as given, err and variances of ones, dq of zeros."""
    sci = np.array(data, np.float32)
    head = header(*sci.shape[-2:], **{"NINTS": sci.shape[0] if sci.ndim == 3 else 1, "NGROUPS": 5, **keywords})
    ones = {name: np.ones_like(sci) for name in ("err", "var_poisson", "var_rnoise")}
    return Exposure(head, [Pixels(sci=sci, dq=np.zeros(sci.shape, np.uint32), **ones)], suffix=suffix)


def dq_def(**names):
    """A DQ_DEF table from NAME=value pairs."""
    rows = [(value.bit_length() - 1, value, name, "") for name, value in names.items()]
    return np.array(rows, [("BIT", "i4"), ("VALUE", "u4"), ("NAME", "S40"), ("DESCRIPTION", "S80")])


def reference_file(path, kind, content, **keywords):
    """Write a reference file.

    Parameters
    ----------
    path : path
    kind : str
    content : array_like or dict
        The SCI extension; or extensions (array: image, structured array: table) and, as scalars, keywords by name.
    **keywords
        More of them; SUBSTRT1... and SUBSIZE1... are made from the array's shape where not given.
    """
    content = content if isinstance(content, dict) else {"SCI": content}
    arrays = {k: np.asarray(v) for k, v in content.items() if np.ndim(v)}
    keywords = {**{k: v for k, v in content.items() if k not in arrays}, **keywords}
    ny, nx = next((a.shape[-2:] for a in arrays.values() if a.ndim >= 2), (0, 0))
    about = {"REFTYPE": kind.upper(), "PEDIGREE": "DUMMY", "AUTHOR": "tests", "DESCRIP": "test", "USEAFTER": "2022-01-01T00:00:00"}
    where = {"SUBSTRT1": 1, "SUBSTRT2": 1, "SUBSIZE1": nx, "SUBSIZE2": ny} if ny else {}
    primary = fits.Header({**about, "TELESCOP": "JWST", **where, **keywords})
    hdus = [fits.PrimaryHDU(header=primary)]
    hdus += [(fits.BinTableHDU if a.dtype.names else fits.ImageHDU)(a, name=name) for name, a in arrays.items()]
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def references(folder, exposure, **kinds):
    """References of an exposure, as FITS files in `folder`: the type and what `reference_file` takes."""
    instrument = {"INSTRUME": exposure.header.get("INSTRUME"), "DETECTOR": exposure.header.get("DETECTOR")}
    files = {}
    for kind, content in kinds.items():
        given = content if isinstance(content, dict) else {"SCI": content}
        files[kind] = reference_file(folder / f"{kind}.fits", kind, {**instrument, **given})
    return References(files, exposure.header)


def write_exposure(path, exposure):
    """Write an exposure as a plain FITS file that the peer's data models can open."""
    primary, sci = exposure.header.primary.copy(), exposure.header.sci.copy()
    pixels = exposure.pixels[0]
    planes = {"SCI": pixels.sci, "ERR": pixels.err, "GROUPDQ": pixels.groupdq, **pixels.extra}
    planes["PIXELDQ" if pixels.groupdq is not None else "DQ"] = pixels.dq
    planes |= {"VAR_POISSON": pixels.var_poisson, "VAR_RNOISE": pixels.var_rnoise}
    hdus = [fits.PrimaryHDU(header=primary)]
    hdus += [fits.ImageHDU(a, header=sci if name == "SCI" else None, name=name) for name, a in planes.items() if a is not None]
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


_PEER = """
import json
from stdatamodels.jwst import datamodels
for number, case in enumerate(json.loads(str(cases))):
    model, refs, parameters = getattr(datamodels, case["model"])(case["file"]), case["refs"], case["parameters"]
{code}
    for plane in ("data", "err", "dq", "groupdq", "pixeldq", "zeroframe", "var_poisson", "var_rnoise"):
        value = result.__dict__["_instance"].get(plane)
        if value is not None:
            out[f"{{number}} {{plane}}"] = np.asarray(value)
"""


def by_peer(folder, code, cases, model="RampModel"):
    """What the peer makes of exposures, all in one process.

    Parameters
    ----------
    folder : path
    code : str
        Finds `model` (open), `refs` (type -> path), `parameters` and `datamodels`, and sets `result` to a data model.
    cases : list of (Exposure, References or None, dict of parameters)

    Returns
    -------
    list of dict
        For each case the peer's arrays by its names: data, err, dq, groupdq, pixeldq, zeroframe, var_poisson, var_rnoise.
    """
    told = []
    for number, (exposure, refs, parameters) in enumerate(cases):
        file = write_exposure(folder / f"exposure{number}.fits", exposure)
        files = {kind: str(ref.path) for kind, ref in refs._refs.items()} if refs else {}
        told.append({"file": str(file), "model": model, "refs": files, "parameters": parameters})
    back = peer_python(_PEER.format(code=textwrap.indent(textwrap.dedent(code), "    ")), cases=json.dumps(told))
    arrays = [{} for _ in cases]
    for key, value in back.items():
        number, plane = key.split()
        arrays[int(number)][plane] = value
    return arrays


def part(pixels, ints):
    """Some integrations of a ramp's pixels, as a block sees them: copies, but the flags of pixels are shared."""
    extra = {name: array[ints].copy() for name, array in pixels.extra.items()}
    return Pixels(sci=pixels.sci[ints].copy(), dq=pixels.dq, groupdq=pixels.groupdq[ints].copy(), extra=extra)
