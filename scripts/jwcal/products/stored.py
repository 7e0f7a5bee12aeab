"""What a product looks like: its extensions, keywords and names; exposures from files and to files."""

import logging
import re
import textwrap
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from astropy.io import fits

from ..files import arrays, fitsheaders, fitsio, storage
from ..machine.parts import part
from ..model.exposure import Exposure, Header, Pixels, in_ascii
from ..provenance.records import KEYWORD, record_path
from ..settings import chains, forms
from ..settings.chains import Save, Step
from ..settings.tables import matches, table
from ..version import VERSION
from ..vocabulary import keywords
from ..vocabulary.errors import InputError

log = logging.getLogger(__name__)

SOFTWARE = f"jwcal {VERSION}"
HISTORY_LINE = 72  # characters of a card; astropy would cut a longer text wherever that is
_version = cache(version)  # which reads the package's files
FORMS = {  # of products that are no lists of images: see config/products.yaml and config/models.yaml
    "slits": "products/slits",
    "cubes": "products/cubes",
    "spectra": "products/spectra",
    "catalogues": "products/catalogues",
    "lists": "products/lists",
    "interferometry": "products/interferometry",
}

# Plane -> extension, in the order of the file. A ramp's 2-D data quality is PIXELDQ.
BEFORE = {"sci": "SCI", "err": "ERR", "dq": "DQ", "groupdq": "GROUPDQ"}
AFTER = {"var_poisson": "VAR_POISSON", "var_rnoise": "VAR_RNOISE", "var_flat": "VAR_FLAT"}
TEXTS = ("catalogues", "lists")  # of the forms: those that are no FITS files
OF_RAMPS = ("REFOUT", "GROUP")  # MIRI's reference output, the times of groups: only products that are ramps themselves have them
STRUCTURAL = re.compile(r"NAXIS\d*|BITPIX|XTENSION|SIMPLE|EXTEND|PCOUNT|GCOUNT|BSCALE|BZERO|EXTNAME|EXTVER|CHECKSUM|DATASUM")


@contextmanager
def opened(path, group_flags=True, of_ramps=True):
    """The exposure in a FITS file, or the table in an ECSV file; the samples of a ramp are read when they are asked for.

    Parameters
    ----------
    path : path
    group_flags : bool
        Whether a ramp has data quality for every group.
    of_ramps : bool
        Whether to read OF_RAMPS, which no step looks at.

    Raises
    ------
    InputError
        The file is no JWST exposure, it is not whole, or its arrays do not fit each other.
    """
    if str(path).endswith(".ecsv"):
        exposure = Exposure(Header(fits.Header(), fits.Header(), str(path)), suffix=chains.root_and_suffix(Path(path).stem)[1])
        exposure.catalogue = part(FORMS, "catalogues").read(path)
        yield exposure
        return
    with fitsio.open_fits(path) as hdus:
        header = _header(hdus, path)
        exposure = Exposure(header, suffix=chains.root_and_suffix(path)[1])
        left_out = () if of_ramps else OF_RAMPS
        found = _checked(hdus, header, left_out)
        exposure.notes = arrays.notes(found)
        form = _form(hdus, header)
        exposure.tables = _tables(hdus, (*left_out, *arrays.SPECTRA) if form == "spectra" else left_out)
        if form == "spectra":
            part(FORMS, form).fill(exposure, hdus)
            yield exposure
            return
        _keep_own_times(exposure, hdus["SCI"].shape)
        if len(hdus["SCI"].shape) == 4:
            exposure.pixels = [_ramp_planes(hdus, exposure, left_out)]
            exposure.raw = fitsio.RampSamples(hdus, path, group_flags)
        else:
            exposure.pixels = [_planes(images, number, found, exposure) for number, images in _by_number(hdus).items()]
            exposure.pixels[0].header = header.sci
            if form == "slits":
                part(FORMS, form).fill(exposure, hdus)
            elif _has_wcs(hdus):
                exposure.wcs = fitsio.asdf_tree(hdus, path, lambda tree: tree.get("meta", {}).get("wcs"))
        yield exposure


def header(path):
    """An exposure's keywords alone: `exposure.Header`; raises as `opened` does."""
    with fitsio.open_fits(path) as hdus:
        return _header(hdus, path)


def read(path):
    """The whole exposure in a file."""
    with opened(path) as exposure:
        exposure.load()
        return exposure


def _header(hdus, path):
    fitsheaders.refuse_compressed([hdu.name for hdu in hdus if isinstance(hdu, fits.CompImageHDU)], path)
    if not _has_image(hdus) and not _has_spectra(hdus):
        raise InputError("it has no SCI extension with an image", path, fitsio.AGAIN)
    sci = clean(hdus["SCI"].header, path) if _has_image(hdus) else fits.Header()
    header = Header(clean(hdus[0].header, path), sci, str(path))
    if str(header.get("TELESCOP", "")).strip() != "JWST":
        raise InputError("not a JWST file (TELESCOP is not JWST)", path, "Leave it out")
    return header


def _has_image(hdus):
    return "SCI" in hdus and bool(getattr(hdus["SCI"], "shape", ()))


def _has_spectra(hdus):
    return any(hdu.name in arrays.SPECTRA for hdu in hdus)


def _form(hdus, header):
    """Which module of FORMS reads a file; "" where it holds images."""
    if not _has_image(hdus):
        return "spectra"
    several = sum(hdu.name == "SCI" for hdu in hdus) > 1
    return "slits" if several or forms.of_model(header.primary.get("DATAMODL")) == "slits" else ""


def _checked(hdus, header, left_out):
    """What the file holds, as `arrays` describes it; raises InputError where that does not fit together."""
    found = [arrays.described(hdu.header) for hdu in hdus[1:]]
    found = [extension for extension in found if extension.name not in left_out]
    wrong = arrays.fault(found, header)
    if wrong:
        raise InputError(wrong, header.name, arrays.CORRECT)
    return found


def _keep_own_times(exposure, shape):
    table = exposure.tables.get(arrays.TIMES)
    if table is None or len(shape) < 3:
        return
    own = exposure.tables[arrays.TIMES] = arrays.own_rows(table, exposure.header, shape[0], exposure.name)
    if len(own) < len(table):
        exposure.notes.append(f"{arrays.TIMES} has the rows of all segments: {len(own)} of {len(table)} are its own")


def clean(header, path):
    """Keywords as the standard wants them, without those that only describe the file's structure."""
    header = header.copy()
    for keyword in [k for k in header if STRUCTURAL.fullmatch(k)]:
        header.remove(keyword, ignore_missing=True, remove_all=True)
    try:
        for card in header.cards:
            card.verify("silentfix")  # here once, and not for each product
    except (fits.VerifyError, ValueError) as error:  # the latter of letters that are not ASCII
        raise InputError(f"a card of its headers is not FITS ({' '.join(str(error).split())})", path, fitsio.AGAIN) from None
    return header


def _has_wcs(hdus):
    return "ASDF" in hdus and b"wcs:" in np.asarray(hdus["ASDF"].data["ASDF_METADATA"][0]).tobytes()


def _tables(hdus, left_out):
    return {h.name: h.data.copy() for h in hdus if isinstance(h, fits.BinTableHDU) and h.name not in ("ASDF", *left_out)}


def _ramp_planes(hdus, exposure, left_out):
    """A ramp without its samples: PIXELDQ, zero frames and maps, but for the extensions that are left out."""
    ny, nx = hdus["SCI"].shape[-2:]
    pixels = Pixels(header=exposure.header.sci)
    for hdu in hdus[1:]:
        if not isinstance(hdu, fits.ImageHDU) or hdu.name in ("SCI", "GROUPDQ", *left_out) or hdu.data is None:
            continue
        if hdu.name == "PIXELDQ":
            pixels.dq = fitsio.flags(hdu.data, hdu.name, exposure.name)
        else:
            pixels.extra[hdu.name] = fitsio.values(hdu.data)
    if pixels.dq is None:
        pixels.dq = np.zeros((ny, nx), np.uint32)
    if "ZEROFRAME" in pixels.extra and hdus["ZEROFRAME"].data.dtype.kind == "f":
        _fill_zero_frames(pixels.extra["ZEROFRAME"], exposure)
    return pixels


def _fill_zero_frames(frames, exposure):
    """Where a zero frame has no value it is 0, as everywhere."""
    absent = ~np.isfinite(frames)
    if absent.any():
        frames[absent] = 0
        exposure.notes.append(f"ZEROFRAME has {np.count_nonzero(absent)} values that are not finite: there is no zero frame there")


def _by_number(hdus):
    """EXTVER -> its images, in the order of the SCI extensions."""
    numbered = {}
    for hdu in hdus[1:]:
        if isinstance(hdu, fits.ImageHDU):
            numbered.setdefault(hdu.ver, []).append((hdu.name, hdu))
    return {number: [hdu for _, hdu in named] for number, named in numbered.items() if any(name == "SCI" for name, _ in named)}


def _planes(images, number, found, exposure):
    """The arrays of one pixel grid: the image extensions of one EXTVER."""
    names = {extension: plane for plane, extension in (BEFORE | AFTER).items() if plane != "groupdq"}  # which images have not
    labels = arrays.is_labels(found)
    pixels = Pixels()
    for hdu in images:
        if hdu.data is None:
            continue
        if hdu.name in arrays.FLAGS:
            array = fitsio.flags(hdu.data, hdu.name, exposure.name)
        elif hdu.name in arrays.VALUES or (hdu.name == "SCI" and not labels):
            array = fitsio.values(hdu.data)
        else:
            array = fitsio.native(hdu.data)
        del hdu.data  # in the file's byte order it would be held as long as the file is open
        if hdu.name in names:
            setattr(pixels, names[hdu.name], array)
        else:
            if array.size:  # the peer writes a map that it has not as one without a pixel
                pixels.extra[hdu.name] = array
        if hdu.name == "SCI":
            pixels.header = clean(hdu.header, exposure.name)
            if not labels:
                _without_infinities(array, hdu, exposure)
    if arrays.lacks_flags(found, number):
        pixels.dq = np.zeros(pixels.sci.shape, np.uint32)
    return pixels


def _without_infinities(array, hdu, exposure):
    """What is infinite was never measured: NaN, which every step leaves out. In a mosaic it would spoil its neighbours."""
    infinite = np.isinf(array)
    if infinite.any():
        array[infinite] = np.nan
        where = "SCI" if hdu.ver == 1 else f"SCI (EXTVER {hdu.ver})"
        exposure.notes.append(f"{where} has {np.count_nonzero(infinite)} infinite values: read as NaN")


# --- to a file -------------------------------------------------------------------------------------------------------


def write(exposure, path):
    """Write one product, as `write_all` does; returns its path."""
    write_all([(exposure, path)])
    return path


def write_all(products):
    """Write products under temporary names, and rename them when they are whole.

    Parameters
    ----------
    products : list of (Exposure, path)
        The exposure's suffix says what it is.

    Raises
    ------
    ProductError
        One could not be written; nothing is left behind of any.
    """
    with ExitStack() as renamed:

        def lists():
            for exposure, path in products:
                temporary = renamed.enter_context(storage.replaced(path))
                form = _form_of(exposure)
                if form in TEXTS:
                    part(FORMS, form).write(exposure, temporary)
                elif exposure.tree is not None:
                    temporary.write_bytes(fitsio.asdf_block(exposure.tree))
                else:
                    make = part(FORMS, form).hdus if form else hdus
                    yield make(exposure, Path(path).name), temporary, path

        fitsio.write_fits(lists())
    for _, path in products:
        log.info("Written: %s", path)


def hdu_list(exposure, filename):
    """A product that is a FITS file as its file would be: an HDU list that shares the exposure's arrays."""
    form = _form_of(exposure)
    return (part(FORMS, form).hdus if form else hdus)(exposure, filename)


def tell(exposure, filename):
    """Give an exposure in memory the keywords that its file would have; the history of steps stays with the file."""
    header = _primary(exposure, filename).header
    exposure.header.primary.update(card for card in header.cards if card.keyword not in ("HISTORY", "COMMENT", ""))


def hdus(exposure, filename, tree=None):
    """A product of images as an HDU list.

    Parameters
    ----------
    exposure : Exposure
    filename : str
        For the FILENAME keyword.
    tree : dict, optional
        What the ASDF extension says beside `meta.model_type` and the provenance; by default the WCS of the only image.
    """
    images = []
    for number, pixels in enumerate(exposure.pixels, start=1):
        sci = exposure.header.sci if len(exposure.pixels) == 1 else pixels.header
        flags = {"dq": "PIXELDQ"} if pixels.groupdq is not None else {}
        images += [(getattr(pixels, plane), extension, number, sci) for plane, extension in (BEFORE | flags).items()]
        images += [(array, extension, number, sci) for extension, array in pixels.extra.items()]
        images += [(getattr(pixels, plane), extension, number, sci) for plane, extension in AFTER.items()]
    if tree is None:
        if len(exposure.pixels) > 1:  # it would open as its first slit
            raise ValueError(f"{exposure.suffix}: {model(exposure)} holds one image, there are {len(exposure.pixels)}")
        tree = {"meta": {"wcs": exposure.wcs}} if len(exposure.pixels) == 1 and exposure.wcs is not None else {}
    return put_together(exposure, filename, [_image(*image) for image in images if image[0] is not None], tree)


def put_together(exposure, filename, extensions, tree):
    """The HDU list of a product: the primary HDU, its extensions, the exposure's tables, and the ASDF extension.

    Parameters
    ----------
    exposure : Exposure
    filename : str
    extensions : list of HDU
    tree : dict
        As for `hdus`; {} where nothing is to be said, which saves the import of the asdf library.
    """
    out = fits.HDUList([_primary(exposure, filename), *extensions])
    out += [table_hdu(data, name, 1) for name, data in exposure.tables.items()]
    whole = {**tree, "meta": {"model_type": model(exposure), **tree.get("meta", {})}, "jwcal": provenance(exposure)}
    block = np.frombuffer(fitsio.asdf_block(whole, plain=not tree), np.uint8)
    out.append(table_hdu(np.array([(block,)], dtype=[("ASDF_METADATA", np.uint8, (block.size,))]), "ASDF"))
    return out


def table_hdu(data, name, number=None):
    """A table extension. With data, astropy's constructor would load astropy.table to see whether they are one of its tables."""
    kinds = {kind.base for kind, *_ in data.dtype.fields.values()}
    as_they_are = all(kind == np.uint8 or kind.kind in "ifS" and kind != np.int8 for kind in kinds)  # int8: astropy's truth values
    if not isinstance(data, fits.FITS_rec) and not as_they_are:
        return fits.BinTableHDU(data, name=name, ver=number)  # its conversions are wanted
    hdu = fits.BinTableHDU(name=name, ver=number)
    hdu.data = data.view(fits.FITS_rec)
    return hdu


def _image(array, name, number, sci):
    header = sci if name == "SCI" else fits.Header()  # the HDU makes a copy
    if name == "ERR" and "BUNIT" in sci:
        header["BUNIT"] = (sci["BUNIT"], "physical units of the array values")
    return fits.ImageHDU(array, header, name=name, ver=number)


def _primary(exposure, filename):
    """The primary HDU: the exposure's keywords and what was done to it."""
    hdu = fits.PrimaryHDU(header=exposure.header.primary)  # it makes a copy
    header = hdu.header
    _set(header, "FILENAME", filename, "Name of the file")
    _set(header, KEYWORD, exposure.record or record_path(filename).name, "what this file was made from")
    header["DATAMODL"] = model(exposure)
    header["CAL_VER"] = (SOFTWARE, "Calibration Software Version")
    header.remove("CAL_VCS", ignore_missing=True)
    if exposure.recipe and exposure.recipe.context:
        header["CRDS_VER"] = (_version("crds"), "Version of CRDS file selection software used")
        header["CRDS_CTX"] = (exposure.recipe.context, "CRDS context (.pmap) used to select ref files")
    for step, (status, why) in exposure.steps.items():
        named = keywords.status(step)
        if named:
            _set(header, named[0], status, named[1])
        if why:
            _tell(header, f"{step} {status}: {why}")
    lacks = exposure.recipe.association.get("lacks") if exposure.recipe else ""
    if lacks:
        _tell(header, f"{exposure.recipe.association['table']}: {lacks}")
    for kind, name in exposure.references.items():
        named = keywords.reference(kind)
        if named:
            _set(header, named[0], name, named[1])
    return hdu


def _tell(header, text):
    for line in textwrap.wrap(in_ascii(text), HISTORY_LINE, break_on_hyphens=False):
        header.add_history(line)


def _set(header, keyword, value, comment):
    """Set a keyword; a comment that does not fit beside a long value is cut here, so that astropy need not warn of it."""
    value = in_ascii(value)
    room = 80 - max(30, len("KEYWORD = ''") + len(value)) - len(" / ")  # values are padded to 20 characters
    header[keyword] = (value, comment[: max(0, room)])


def model(exposure):
    """The name of stdatamodels' class for a product."""
    row = table("products")[exposure.suffix]
    special = (case["model"] for case in row.get("cases", ()) if matches(case["when"], exposure.header))
    found = _named_model(exposure) or next(special, row["model"])
    return found if isinstance(found, str) else found[exposure.pixels[0].sci.ndim if exposure.pixels else 2]


def _named_model(exposure):
    """The class that the chain's `save` names; "" where that is the suffix's usual one."""
    entries = exposure.recipe.entries if exposure.recipe else ()
    saves = (e for e in entries if isinstance(e, Save) and exposure.suffix in e.suffixes.values())
    return next((save.model for save in saves if save.model), "")


def _form_of(exposure):
    return forms.of_product(exposure.suffix, _named_model(exposure))


def provenance(exposure):
    """What a product was made from and how, as plain data."""
    recipe = exposure.recipe
    steps = [e.name for e in recipe.entries if isinstance(e, Step)] if recipe else []
    return {
        "software": SOFTWARE,
        "input": Path(exposure.name).name,
        "pipeline": recipe.pipeline if recipe else "",
        "crds_context": recipe.context if recipe else "",
        "references": dict(exposure.references),
        "steps": [
            {"name": s, "status": exposure.steps[s][0], "why": exposure.steps[s][1], "parameters": _parameters(recipe, s)}
            for s in steps
            if s in exposure.steps
        ],
    }


def _parameters(recipe, step):
    """The parameters that a step was called with: one that was switched off has no others."""
    parameters = recipe.parameters.get(step, {})
    return {"skip": True} if parameters.get("skip") else dict(parameters)
