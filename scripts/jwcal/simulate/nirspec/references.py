"""The references of NIRSpec's spectra that undo what is simulated: optical models, flats, path losses, shadows, areas, fluxes.

    files = nirspec.write_references("references", mode="fs", grating="PRISM", real="folder of real references")

Real optical models are used as they are, from a folder; without one they are made up (see `elements`).
"""

import json
from pathlib import Path

import asdf
import numpy as np
import numpy.lib.recfunctions
from astropy.io import fits
from astropy.modeling.models import Tabular2D

from .. import cube_references, instruments
from ..references import DATE, USEAFTER
from . import elements, response
from .optics import COLUMNS, PIXELS, ROWS, SLITS, Optics, tree_of

EXP_TYPES = {
    "fs": "NRS_FIXEDSLIT",
    "bots": "NRS_BRIGHTOBJ",
    "mos": "NRS_MSASPEC",
    "ifu": "NRS_IFU",
    "lamp": "NRS_AUTOWAVE",
    "image": "NRS_IMAGE",
}
OTHERS = {  # for several
    "lamp": "NRS_AUTOWAVE|NRS_AUTOFLAT|NRS_LAMP|",
    "image": "NRS_IMAGE|NRS_WATA|NRS_MSATA|NRS_TACONFIRM|NRS_CONFIRM|NRS_FOCUS|NRS_MIMF|",
}
OPTICAL = ("camera", "collimator", "fore", "fpa", "ote")
SLICER = ("ifufore", "ifupost", "ifuslicer")
SPECTRAL = ("fflat", "sflat", "dflat", "photom", "area", "extract1d", "apcorr")
TYPES = {
    "fs": (*SPECTRAL, "pathloss", "wavecorr"),
    "bots": (*SPECTRAL, "pathloss", "wavecorr"),
    "mos": (*SPECTRAL, "pathloss", "wavecorr", "barshadow", "msaoper"),
    "ifu": (*SPECTRAL, "pathloss", "cubepar", "msaoper"),
    "lamp": ("fflat", "sflat", "dflat", "extract1d", "cubepar"),
    "image": (),
}
WAVELENGTHS = np.arange(response.LIMITS[0], response.LIMITS[1] + 1e-9, 0.01)
COARSE = np.linspace(*response.LIMITS, 49)
PLACES = {"fs": (51, 31), "bots": (51, 31), "mos": (51, 51), "ifu": (3, 3)}  # of the path losses, across and along
RADIUS, RING = 0.4, (0.8, 1.2)  # arcsec, of the apertures in cubes
WIDTH = 5  # pixels of the aperture in shutters: about a pitch, so that it has nothing of where a nod has the source
SPAXEL = 0.1  # arcsec; pixels and slices are about as large
GAINED = 0.02  # part of the light that an aperture of 8 pixels misses
FILTERS = {
    "PRISM": "CLEAR", "G140M": "F100LP", "G140H": "F100LP", "G235M": "F170LP", "G235H": "F170LP", "G395M": "F290LP", "G395H": "F290LP",
    "MIRROR": "F110W",
}  # fmt: skip
DETECTORS = ("NRS1", "NRS2")


def write_references(
    folder,
    *,
    mode="fs",
    grating="PRISM",
    filter=None,
    detector="NRS1",
    real=None,
    types=None,
    spoilt=(),
    failed=response.FAILED,
    lamp_mode="FIXEDSLIT",
):
    """Write the references of one mode, one grating and one detector.

    Parameters
    ----------
    folder : path
    mode : str
        fs, bots, mos, ifu, lamp, image.
    grating, filter, detector : str
        `filter`: by default the one that goes with the grating.
    real : path, optional
        A folder of real references, jwst_nirspec_<type>_<number>: camera, collimator, disperser (the prism's), fore, fpa, ifupost, ote are
        taken from there.
    types : sequence of str, optional
        By default all that the mode can use.
    spoilt : sequence of (row, column)
        Pixels of the detector without a flat.
    failed : sequence of (quadrant, column, row)
        Shutters that never close, of msaoper.
    lamp_mode : str
        FIXEDSLIT, BRIGHTOBJ, IFU, MSASPEC: what a lamp shines through.

    Returns
    -------
    dict
        type -> path.
    """
    return _Writer(Path(folder), mode, grating, filter or FILTERS[grating], detector, real, spoilt, failed, lamp_mode).write(types)


class _Writer:
    def __init__(self, folder, mode, grating, filter, detector, real, spoilt, failed, lamp_mode):
        self.folder, self.mode, self.grating, self.filter, self.detector = folder, mode, grating, filter, detector
        self.real = elements.from_folder(real) if real else {}
        self.spoilt, self.failed, self.lamp_mode = spoilt, failed, lamp_mode
        self.through = {"MSASPEC": "mos", "IFU": "ifu"}.get(lamp_mode, "fs") if mode == "lamp" else mode  # what the light goes through
        self.files = {}
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, types):
        optical = (*OPTICAL, "disperser", "msa", "wavelengthrange", *(SLICER if self.through == "ifu" else ()))
        for kind in optical:
            self.optical(kind)
        if self.through == "ifu":
            self.asdf("chromcorr", elements.chromcorr())
        self.optics = Optics.of(self.files)
        for kind in TYPES[self.mode]:
            if (types is None and (kind != "cubepar" or self.through == "ifu")) or (types and kind in types):
                getattr(self, kind)()
        return self.files if types is None else {kind: self.files[kind] for kind in types}

    # --- forms ---

    def path(self, kind, ending):
        scope = {"sflat": f"{self.grating}_{self.detector}", "dflat": self.detector}.get(kind, self.grating)
        self.files[kind] = self.folder / f"nirspec_{self.mode}_{scope}_{kind}.{ending}"
        return self.files[kind]

    def about(self, kind):
        """Keywords of a reference, as FITS has them and as ASDF has them."""
        values = {"TELESCOP": "JWST", "INSTRUME": "NIRSPEC", "REFTYPE": kind.upper(), "PEDIGREE": "DUMMY", "AUTHOR": "jwcal.simulate"}
        values |= {"USEAFTER": USEAFTER, "DATE": DATE, "DESCRIP": f"Simulated {kind}", "EXP_TYPE": EXP_TYPES[self.mode], "ORIGIN": "JWCAL"}
        if self.mode in OTHERS:
            values["P_EXP_TY"] = OTHERS[self.mode]
        if kind in ("sflat", "dflat"):
            values["DETECTOR"] = self.detector
        if kind in ("disperser", "sflat", "area", "photom"):
            values["GRATING"] = self.grating
        if kind in ("fflat", "sflat", "area"):
            values["FILTER"] = self.filter
        return values

    def asdf(self, kind, tree, **meta):
        values = self.about(kind)
        about = {name: values[key] for name, key in (("telescope", "TELESCOP"), ("pedigree", "PEDIGREE"), ("author", "AUTHOR"))}
        about |= {"reftype": kind, "useafter": USEAFTER, "date": DATE, "description": values["DESCRIP"], "origin": "JWCAL"}
        about |= {"exposure": {"type": EXP_TYPES[self.mode]}, "instrument": {"name": "NIRSPEC"}}
        if self.mode in OTHERS:
            about["exposure"]["p_exptype"] = OTHERS[self.mode]
        if kind == "disperser":
            about["instrument"]["grating"] = self.grating
        if kind == "fore":
            about["instrument"]["filter"] = self.filter
        about |= meta | tree.get("meta", {})
        path = self.path(kind, "asdf")
        asdf.AsdfFile(tree | {"meta": about}).write_to(path, all_array_storage="inline" if kind in ("extract1d", "apcorr") else None)
        return path

    def fits(self, kind, model, hdus, **keywords):
        head = fits.Header({**self.about(kind), "DATAMODL": model, **keywords})
        fits.HDUList([fits.PrimaryHDU(header=head), *hdus]).writeto(self.path(kind, "fits"), overwrite=True)

    def json(self, kind, content):
        head = {key.lower(): value for key, value in self.about(kind).items()}
        self.path(kind, "json").write_text(json.dumps(head | content, indent=1))

    # --- optics ---

    def optical(self, kind):
        """A real one as it is, or one made up."""
        real = self.real.get(kind)
        if kind == "disperser" and self.grating != "PRISM":
            real = None
        if kind in ("msa", "wavelengthrange"):  # the old table of ranges calls the prism's order 0
            real = None
        if real is not None and real.suffix == ".asdf":  # all that it tells, for exposures of this mode
            self.asdf(kind, {key: value for key, value in tree_of(real).items() if key not in ("meta", "history", "asdf_library")})
        elif kind == "msa":
            self.asdf(kind, elements.msa(Optics.of(self.files), instruments.siaf("NIRSPEC")))
        elif kind == "disperser":
            self.asdf(kind, elements.disperser(self.grating))
        else:
            self.asdf(kind, getattr(elements, {"ifuslicer": "slicer"}.get(kind, kind))())

    # --- flats ---

    def fflat(self):
        if self.through == "mos":
            hdus = [hdu for quadrant in range(1, 5) for hdu in self._quadrant(quadrant)]
            return self.fits("fflat", "NirspecQuadFlatModel", hdus)
        names = list(SLITS) if self.through in ("fs", "bots") else ["ANY"]
        rows = [response.fore_optics(WAVELENGTHS, k) for k in range(len(names))]
        return self.fits("fflat", "NirspecFlatModel", [_fast(names, rows)])

    def _quadrant(self, quadrant):
        columns, rows = np.meshgrid(np.arange(1, COLUMNS + 1), np.arange(1, ROWS + 1))
        cube = np.array([response.shutter_response(w, quadrant, columns, rows) for w in response.LIMITS], np.float32)
        made = _planes(cube, np.full(cube.shape, 1e-3, np.float32), np.zeros(cube.shape, np.uint32), response.LIMITS)
        made.append(_fast(["ANY"], [response.fore_optics(WAVELENGTHS, quadrant)]))
        for hdu in made:
            hdu.ver = quadrant
        return made

    def sflat(self):
        x, y = np.meshgrid(np.arange(PIXELS), np.arange(PIXELS))
        if self.through == "mos":
            image = np.array([response.shutter_map(w, x, y) for w in response.LIMITS], np.float32)
            extra = response.LIMITS
        else:
            image, extra = response.spectrograph_map(x, y).astype(np.float32), None
        dq = self._spoilt(image.shape)
        hdus = _planes(image, np.full(image.shape, 1e-3, np.float32), dq, extra)
        self.fits("sflat", "NirspecFlatModel", [*hdus, _fast(["ANY"], [response.spectrograph(WAVELENGTHS)])], **_frame())

    def dflat(self):
        x, y = np.meshgrid(np.arange(PIXELS), np.arange(PIXELS))
        cube = np.array([response.detector_map(w, x, y) for w in response.LIMITS], np.float32)
        hdus = _planes(cube, np.full((PIXELS, PIXELS), 1e-3, np.float32), self._spoilt((PIXELS, PIXELS)), response.LIMITS)
        self.fits("dflat", "NirspecFlatModel", [*hdus, _fast(["ANY"], [response.detector(WAVELENGTHS)])], **_frame())

    def _spoilt(self, shape):
        dq = np.zeros(shape, np.uint32)
        for row, column in self.spoilt:
            dq[..., row, column] = 1 + 2**18  # DO_NOT_USE, NO_FLAT_FIELD
        return dq

    # --- losses ---

    def pathloss(self):
        across, along = (np.linspace(-0.5, 0.5, n) for n in PLACES[self.through])
        hdus = []
        for number, (name, keywords, parts, places) in enumerate(self._apertures(across, along), start=1):
            cards = keywords | {"APERTURE": name} | _axes(across, places, COARSE)
            hdus += [_image(what, array, number, cards) for what, array in (("PS", parts), ("PSVAR", 1e-6 * parts))]
            even = response.even_loss(COARSE)
            cards = {"CRPIX1": 1.0, "CRVAL1": COARSE[0] * 1e-6, "CDELT1": (COARSE[1] - COARSE[0]) * 1e-6}
            hdus += [_image(what, array, number, cards) for what, array in (("UNI", even), ("UNIVAR", 1e-6 * even))]
        self.fits("pathloss", "PathlossModel", hdus)

    def _apertures(self, across, along):
        """(name, its keywords, parts of a point source's light, places along it) of each."""
        places = across[None, None], along[None, :, None], COARSE[:, None, None]
        if self.through == "ifu":
            yield "IFU", {}, np.broadcast_to(response.point_loss(places[2]), (COARSE.size, along.size, across.size)), along
        elif self.through == "mos":
            unit = self.optics.size(self.optics.shutter(1, 182, 85))
            pitch = tuple(u / s for u, s in zip(unit, response.SCREEN, strict=True))
            for shutters in (1, 3):
                open_ = response.windows(-(shutters // 2), shutters // 2)
                whole = np.linspace(shutters * along[0], shutters * along[-1], shutters * (along.size - 1) + 1)
                parts = response.point_part(across[None, None], whole[None, :, None], COARSE[:, None, None], unit, open_, pitch)
                yield f"MOS{shutters}", {"SHUTTERS": shutters}, parts, whole
        else:
            for name in SLITS:
                yield name, {}, response.point_part(*places, self.optics.size(self.optics.slit(name))), along

    def barshadow(self):
        along = np.linspace(-1, 1, 1001)[:, None]
        wavelength = np.linspace(response.LIMITS[0], response.LIMITS[1], 101)
        cards = {"CRPIX1": 1.0, "CRVAL1": wavelength[0] * 1e-6, "CDELT1": (wavelength[1] - wavelength[0]) * 1e-6}
        cards |= {"CRPIX2": 1.0, "CRVAL2": -1.0, "CDELT2": 0.002}
        hdus = []
        for name, last in (("1X1", 0), ("1X3", 1)):
            shadow = response.bars(wavelength, along, -last, last)
            hdus += [_image(what + name, array, 1, cards) for what, array in (("DATA", shadow), ("VAR", 1e-6 * shadow))]
        self.fits("barshadow", "BarshadowModel", hdus)

    def wavecorr(self):
        """By how many pixels the middle of a source's light is off that of its opening, turned about: as far as its wavelengths are off."""
        entries = []
        for name in [*SLITS, "MOS"]:
            aperture = self.optics.shutter(1, 182, 85) if name == "MOS" else self.optics.slit(name)
            opening = self.optics.size(aperture)
            unit = tuple(u / s for u, s in zip(opening, response.SCREEN, strict=True)) if name == "MOS" else opening
            across = np.linspace(-0.5, 0.5, 51)
            shift = np.array([response.middle_of_light(across, w, opening, unit) for w in COARSE]) * unit[0] / opening[0]
            _, low, high = elements.RANGES[f"{self.filter}_{self.grating}"]
            middle = (low + high) / 2
            left, right = (float(self.optics.to_pixel(aperture, side, 0.0, middle, "NRS1")[0]) for side in (-0.5, 0.5))
            offset = -shift * (right - left)
            model = Tabular2D(points=(COARSE * 1e-6, across), lookup_table=offset, bounds_error=False, fill_value=None)
            entries.append({"aperture_name": name, "zero_point_offset": model, "variance": 1e-4 + 0 * offset, "width": aperture.width})
        self.asdf("wavecorr", {"apertures": entries})

    # --- fluxes ---

    def photom(self):
        wavelength = WAVELENGTHS
        relative = response.relative_response(wavelength)
        slits = SLITS if self.through in ("fs", "bots") else (None,)
        kinds = [("filter", "S12"), ("grating", "S15"), ("slit", "S15"), ("photmj", ">f4"), ("uncertainty", ">f4"), ("nelem", ">i2")]
        kinds += [(name, ">f4", (wavelength.size,)) for name in ("wavelength", "relresponse", "reluncertainty")]
        values = (response.PHOTMJ, 0.01 * response.PHOTMJ, wavelength.size, wavelength, relative, 0.005 * relative)
        pairs = [(self.filter, self.grating)]
        rows = np.array([(*pair, slit or "", *values) for pair in pairs for slit in slits], kinds)
        if slits == (None,):
            rows = np.lib.recfunctions.drop_fields(rows, "slit", usemask=False)
        sr = response.area(0.2) * response.SQUARE_ARCSEC
        model = "NrsFsPhotomModel" if self.through in ("fs", "bots") else "NrsMosPhotomModel"
        self.fits("photom", model, [fits.BinTableHDU(rows, name="PHOTOM")], PIXAR_SR=sr, PIXAR_A2=response.area(0.2))

    def area(self):
        size = self.optics.size
        if self.through == "mos":
            columns, rows = (a.ravel() for a in np.meshgrid(np.arange(1, COLUMNS + 1), np.arange(1, ROWS + 1)))
            each = response.area(size(self.optics.shutter(1, 182, 85))[0])
            kinds = [("quadrant", ">i2"), ("shutter_x", ">i2"), ("shutter_y", ">i2"), ("pixarea", ">f4")]
            table = np.zeros(4 * columns.size, kinds)
            table["quadrant"], table["pixarea"] = np.repeat(np.arange(1, 5), columns.size), each
            table["shutter_x"], table["shutter_y"] = np.tile(columns, 4), np.tile(rows, 4)
            model = "NirspecMosAreaModel"
        elif self.through == "ifu":
            each = response.area(size(self.optics.slice(0))[0])
            table = np.array([(n, each) for n in range(elements.SLICES)], [("slice_id", ">i2"), ("pixarea", ">f4")])
            model = "NirspecIfuAreaModel"
        else:
            rows = [(name, response.area(size(self.optics.slit(name))[0])) for name in SLITS]
            table = np.array(rows, [("slit_id", "S15"), ("pixarea", ">f4")])
            model = "NirspecSlitAreaModel"
        each = float(table["pixarea"][0])
        self.fits("area", model, [fits.BinTableHDU(table, name="AREA")], PIXAR_SR=each * response.SQUARE_ARCSEC, PIXAR_A2=each)

    # --- extraction ---

    def extract1d(self):
        if self.through == "ifu":
            wavelength = np.array(response.LIMITS)
            each = {"radius": RADIUS, "inner_bkg": RING[0], "outer_bkg": RING[1], "axis_ratio": 1.0, "axis_pa": 0.0}
            data = {name: np.full(2, value, np.float32) for name, value in each.items()} | {"wavelength": wavelength.astype(np.float32)}
            data |= {"wavelength_units": "micron"} | {f"{name}_units": "arcsec" for name in ("radius", "inner_bkg", "outer_bkg")}
            data["axis_pa_units"] = "degree"
            data |= {"region_type": "target", "subtract_background": True, "method": "exact", "subpixels": 10}
            return self.asdf(
                "extract1d", {"data": data, "meta": {k: data[k] for k in ("region_type", "subtract_background", "method", "subpixels")}}
            )
        names, width = (["ANY"], WIDTH) if self.through == "mos" else (SLITS, 11)
        entries = [{"id": name, "region_type": "target", "dispaxis": 1, "bkg_order": 0, "extract_width": width} for name in names]
        return self.json("extract1d", {"apertures": entries})

    def apcorr(self):
        """What an aperture misses of a star: a circle in a cube, a shutter of a slitlet of three; of slits nothing, theirs are wide."""
        if self.through == "ifu":
            return self._circles()
        wavelength = np.linspace(*response.LIMITS, 24)
        slits = [("slit", "S15")] if self.through in ("fs", "bots") else []
        factors = self._of_shutter(wavelength) if self.through == "mos" else {size: np.ones(wavelength.size) for size in (3.0, 11.0, 30.0)}
        n, sizes, phases = wavelength.size, len(factors), 3
        kinds = [
            ("filter", "S12"),
            ("grating", "S15"),
            *slits,
            ("wavelength", ">f4", (n,)),
            ("nelem_wl", ">i2"),
            ("size", ">f4", (sizes, n)),
        ]
        kinds += [("nelem_size", ">i2"), ("pixphase", ">f4", (phases,))]
        kinds += [(name, ">f4", (sizes, n, phases)) for name in ("apcorr", "apcorr_err")]
        size = np.array(list(factors))[:, None] * np.ones(n)
        factor = np.repeat(np.array(list(factors.values()))[:, :, None], phases, axis=2)
        values = (wavelength, n, size, sizes, np.linspace(0, 1, phases), factor, np.zeros((sizes, n, phases)))
        rows = [(self.filter, self.grating, *((name,) if slits else ()), *values) for name in (SLITS if slits else ("",))]
        model = "NrsFsApcorrModel" if slits else "NrsMosApcorrModel"
        table = fits.BinTableHDU(np.array(rows, kinds), name="APCORR")
        table.header["SIZEUNIT"] = "pixels"
        return self.fits("apcorr", model, [table])

    def _of_shutter(self, wavelength):
        """Number of pixels -> all the light of a star that comes through three shutters over what comes to so many in the middle."""
        unit = self.optics.size(self.optics.shutter(1, 182, 85))
        pitch = tuple(u / s for u, s in zip(unit, response.SCREEN, strict=True))

        def through(windows):
            return response.point_part(0.0, 0.0, wavelength, unit, windows, pitch)

        open_, found = response.windows(-1, 1), {}
        for size in (3.0, WIDTH, 7.0, 16.0):
            half = size * response.PIXEL / 2 / pitch[1]
            found[size] = through(open_) / through(
                [(max(low, -half), min(high, half)) for low, high in open_ if low < half and high > -half]
            )
        return found

    def _circles(self):
        wavelength, radii = np.linspace(*response.LIMITS, 12), RADIUS + np.array([-0.1, 0.0, 0.1])
        factors = cube_references.corrections(wavelength, (None, SPAXEL, SPAXEL), radii, RING, SPAXEL)
        columns = {"wavelength": wavelength, "radius": np.repeat(radii[:, None], wavelength.size, axis=1)}
        columns |= {"apcorr": factors, "apcorr_err": np.zeros_like(factors)}
        table = {name: values.astype("f4") for name, values in columns.items()}
        self.asdf("apcorr", {"apcorr_table": table | {"wavelength_units": "micron", "radius_units": "arcsec"}})

    def cubepar(self):
        _, low, high = elements.RANGES[f"{self.filter}_{self.grating}"]
        step = {"P": 0.005, "M": 0.0007, "H": 0.00025}[self.grating[0] if self.grating == "PRISM" else self.grating[-1]] * _coarser(
            self.grating
        )
        pair = [("disperser", "S5"), ("filter", "S6")]
        axes = [(name, ">f4") for name in ("wavemin", "wavemax", "spaxelsize", "spectralstep")]
        msm = [(name, ">f4") for name in ("roispatial", "roispectral", "power", "softrad")]
        emsm = [(name, ">f4") for name in ("roispatial", "roispectral", "scalerad")]
        pairs = [(self.grating, self.filter), (self.grating, "OPAQUE")]
        hdus = [
            _table("CUBEPAR", pair + axes, [(*p, low, high, 0.1, step) for p in pairs]),
            _table("CUBEPAR_MSM", pair + msm, [(*p, 0.201, 3 * step, 2.0, 0.01) for p in pairs]),
            _table("CUBEPAR_EMSM", pair + emsm, [(*p, 0.201, 3 * step, 0.07) for p in pairs]),
        ]
        for name, (start, stop, dx) in {"PRISM": (0.6, 5.3, 0.005), "MED": (0.7, 5.3, 0.001), "HIGH": (0.7, 5.3, 0.0005)}.items():
            waves = np.arange(start, stop, dx)
            one = [("wavelength", ">f4")]
            hdus.append(_table(f"MULTICHAN_{name}_MSM", one + msm, [(w, 0.201, 3 * dx, 2.0, 0.01) for w in waves]))
            hdus.append(_table(f"MULTICHAN_{name}_EMSM", one + emsm, [(w, 0.201, 3 * dx, 0.07) for w in waves]))
            hdus.append(_table(f"MULTICHAN_{name}_DRIZZLE", one, [(w,) for w in waves]))
        self.fits("cubepar", "NirspecIFUCubeParsModel", hdus)

    def msaoper(self):
        states = [
            {"Q": q, "x": x, "y": y, "state": "open", "TA state": "", "Internal state": "", "Vignetted": "no"} for q, x, y in self.failed
        ]
        shut = {"Q": 2, "x": 11, "y": 7, "state": "closed", "TA state": "", "Internal state": "", "Vignetted": "no"}
        self.json("msaoper", {"msaoper": [*states, shut]})


def _coarser(grating):
    return {"G235": 1.7, "G395": 2.8}.get(grating[:4], 1.0)


def _table(name, kinds, rows):
    return fits.BinTableHDU(np.array([tuple(row) for row in rows], kinds), name=name)


def _fast(names, rows):
    """The table of what depends on the wavelength alone."""
    n = WAVELENGTHS.size
    kinds = [("slit_name", "S15"), ("nelem", ">i4"), ("wavelength", ">f4", (n,)), ("data", ">f4", (n,)), ("error", ">f4", (n,))]
    return _table("FAST_VARIATION", kinds, [(name, n, WAVELENGTHS, row, 1e-3 * row) for name, row in zip(names, rows, strict=True)])


def _planes(sci, err, dq, wavelengths=None):
    hdus = [fits.ImageHDU(array, name=name) for name, array in (("SCI", sci), ("ERR", err), ("DQ", dq))]
    if wavelengths is not None:
        hdus.append(_table("WAVELENGTH", [("wavelength", ">f4")], [(w,) for w in wavelengths]))
    return hdus


def _image(name, array, version, cards):
    hdu = fits.ImageHDU(np.ascontiguousarray(array, np.float32), name=name, ver=version)
    hdu.header.update(cards)
    return hdu


def _axes(across, along, wavelength):
    """CRPIX, CRVAL, CDELT of the three axes; wavelengths in m."""
    cards = {"WCSAXES": 3}
    for axis, values, unit in ((1, across, 1.0), (2, along, 1.0), (3, wavelength, 1e-6)):
        cards |= {f"CRPIX{axis}": 1.0, f"CRVAL{axis}": values[0] * unit, f"CDELT{axis}": (values[1] - values[0]) * unit}
    return cards


def _frame():
    return {"SUBARRAY": "FULL", "SUBSTRT1": 1, "SUBSTRT2": 1, "SUBSIZE1": PIXELS, "SUBSIZE2": PIXELS, "FASTAXIS": 2, "SLOWAXIS": 1}
