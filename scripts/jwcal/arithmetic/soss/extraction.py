"""Spectra of a series of slitless integrations: overlapping orders are told apart, and each is summed in a box along its trace.

What the model of the orders needs (the grid, the blurring, the equations and their factor) is found once, for a typical image of all
integrations, and serves all of them: an integration takes a few sums along the columns, and two triangular solutions.
"""

import logging
from dataclasses import dataclass, field

import numpy as np

from ...files.reference_file import understood
from ...kernels.soss.column_sums import column_sums, lit
from ...model.exposure import Pixels
from ...model.references import Reference
from ...model.spectra import Spectrum
from ...vocabulary import dq as bits
from ...vocabulary.errors import InputError, Skip
from ..spectra import tables
from ..spectra.slits import integration_times
from . import overlap, series
from .background import column_background
from .options import SossOptions
from .references import LOW, find_orders, region

log = logging.getLogger(__name__)

Options = SossOptions
SEGMENT = "EXSEGNUM"
MODELS, SPECTRA, GRID = "sossextractmodel", "atocaspectra", "sosswavegrid"
LOST = 0.5  # of a box: a column of which more is missing in an integration has no flux there
ALL = (1, 2, 3)


@dataclass
class Scene:
    """What is known of a series before its integrations are looked at one by one.

    Attributes
    ----------
    orders : list of overlap.Order
    usual : series.Usual
    joint : overlap.Fit or None
        Of orders 1 and 2.
    singles : dict
        Order -> its `overlap.Fit` by itself.
    """

    orders: list
    usual: series.Usual
    joint: object = None
    singles: dict = field(default_factory=dict)
    boxes: np.ndarray = None  # (order, row, col), of good pixels
    weights: np.ndarray = None  # those, and of the fits
    limits: np.ndarray = None
    overlaps: np.ndarray = None  # (order, other, col): what a box has of an order's light

    @property
    def factor(self):
        return self.joint.factor if self.joint else None


def extract(exposure, refs, place, options, scene=None):
    """The spectra of an image, or of all integrations of a series: one table an order.

    Parameters
    ----------
    exposure : Exposure
        (row, col) or (int, row, col), DN/s.
    refs : References
        pastasoss; specprofile, speckernel.
    place : {"", "first"}
        Which orders have light: all, or order 1 alone; given by the table of chains.
    options : SossOptions
    scene : Scene, optional
        Of the series that the exposure is a segment of.

    Returns
    -------
    spectra : list of Spectrum
    shown : dict
        "sossextractmodel", "atocaspectra", "sosswavegrid" -> what was asked for.

    Raises
    ------
    Skip, InputError, ReferenceError
        See `references.find_orders`.
    """
    rows, _ = _region(refs, exposure)
    planes = series.Planes(exposure, rows)
    scene = scene or make_scene(exposure, refs, place, options, planes)
    found = _Sums(scene, len(planes), options)
    for which, sci, err, absent in series.blocks(planes, scene.usual, _looked_at(scene)):
        found.add(which, sci, err, absent)
    found.tell_lost(exposure)
    spectra = [_spectrum(exposure, scene, found, k) for k in range(len(scene.orders))]
    _describe(exposure, scene, options)
    return spectra, _shown(exposure, scene, found, rows, options)


def for_members(members, refs, place, options):
    """The function that extracts a member, with one scene for the series that all of them are."""
    parts, first, number = [], None, max(1, len(members.of("science")))
    for member in members.each():
        if first is not None and member.sci.shape[-2:] != first.sci.shape[-2:]:
            what = f"its images have the shape {member.sci.shape[-2:]}, those of {first.name} {first.sci.shape[-2:]}"
            raise InputError(what, member.name, "Take it out of the association")
        first = first or member
        parts.append(series.Planes(member, _region(refs, member)[0]).some(-(-series.MOST // number)))
    scene = make_scene(first, refs, place, options, series.together(parts))
    # models are products of single exposures
    return lambda exposure, refs, place, options: (extract(exposure, refs, place, options, scene)[0], {})


def _region(refs, exposure):
    if "pastasoss" not in refs:
        raise Skip("its pastasoss reference is N/A")
    return region(refs["pastasoss"], exposure.header, exposure.sci.shape[-2])


def make_scene(exposure, refs, place, options, planes):
    """The scene of a series, from a sample of its integrations."""
    sample = planes.some(series.MOST)
    shape = sample.sci.shape[1:]
    alone = place == "first"
    modelled = not alone and (options.soss_atoca or options.soss_bad_pix == "model")
    wanted = (1,) if alone else ALL[:2] if shape[0] <= LOW or not options.soss_order_3 else ALL
    _, first_row = _region(refs, exposure)
    orders = find_orders(refs, exposure.header, first_row, shape, wanted, options.soss_width, modelled=modelled)
    scene = Scene(orders, series.Usual(sample))
    if modelled:
        _model(scene, sample, refs, options)
    _weigh(scene)
    return scene


def _model(scene, sample, refs, options):
    """Fit the orders of a typical image."""
    typical = series.typical(sample, scene.usual)
    if options.subtract_background:
        typical.image -= column_background(typical.image, typical.bad)[0]
    both = [order for order in scene.orders if order.number in overlap.JOINT]
    if len(both) < len(overlap.JOINT):
        log.warning("Orders are not told apart: %s is not there", " or ".join(f"order {n}" for n in overlap.JOINT))
        return
    with understood("pastasoss", refs["pastasoss"].path):
        shortest, longest = (float(limit) for limit in refs["pastasoss"].tree["meta"].get("order2_separation_cutoff", (0.77, 0.95)))
    grid = _given_grid(options.soss_wave_grid_in, refs) if options.soss_wave_grid_in else None
    estimate = None
    if grid is None or options.soss_tikfac is None:
        estimate = _given_estimate(options.soss_estimate, refs) if options.soss_estimate else overlap.estimated_flux(both, typical)
        if estimate is None:
            log.warning("Orders are not told apart: no pixel sees one of them alone, so that there is no first guess (soss_estimate)")
            return
    scene.joint = overlap.joint_fit(both, typical, shortest, estimate, options, grid)
    if scene.joint is None or len(typical.image) <= LOW:
        return
    left = _left(scene, typical)
    any_box = np.any([(order.box > 0) & ~typical.blind for order in scene.orders], axis=0)
    for order in scene.orders[1:]:
        if order.profile is not None:
            bluer = longest if order.number in overlap.JOINT else None
            fit = overlap.single_fit(order, left(order), bluer, any_box, scene.factor)
            if fit is not None:
                scene.singles[order.number] = fit


def _left(scene, typical):
    """What the joint model leaves of a typical image for an order by itself: a function of the order."""
    image = np.where(typical.bad, 0, typical.image).astype(np.float32)
    (light,) = scene.joint.solve(column_sums(image[None], scene.joint.weights))

    def left(order):
        others = [k for k, number in enumerate(scene.joint.orders) if number != order.number]
        taken = sum(scene.orders[k].profile * np.nan_to_num(light[k]) for k in others)
        return overlap.Sample(typical.image - taken, typical.error, typical.bad, typical.blind)

    return left


def _given_grid(path, refs):
    """The wavelengths of a file of the user's."""
    reference = Reference("soss_wave_grid_in", path, None)
    with understood("soss_wave_grid_in", path):
        grid = np.asarray(reference.uncut("WAVEGRID") if str(path).endswith((".fits", ".gz")) else reference.tree["wavegrid"], float)
        if grid.ndim != 1 or grid.size < 4 or not np.isfinite(grid).all():
            raise ValueError("four or more wavelengths were expected")
        return np.unique(grid)


def _given_estimate(path, refs):
    """The spectrum of a file of the user's, as a function."""
    reference = Reference("soss_estimate", path, None)
    with understood("soss_estimate", path):
        table = reference.table("EXTRACT1D")
        wavelength, flux = (np.ravel(table[name]).astype(float) for name in ("WAVELENGTH", "FLUX"))
        good = np.isfinite(wavelength) & np.isfinite(flux)
        wavelength, first = np.unique(wavelength[good], return_index=True)
        return overlap.held(wavelength, flux[good][first])


def _weigh(scene):
    """The weights of all sums along the columns."""
    good = ~scene.usual.bad
    scene.boxes = np.array([order.box * good for order in scene.orders])
    fits = ([scene.joint] if scene.joint else []) + [scene.singles[n] for n in sorted(scene.singles)]
    scene.weights = np.concatenate([scene.boxes, *(fit.weights for fit in fits)])
    scene.limits = lit(scene.weights)
    profiles = [np.zeros(good.shape) if order.profile is None else order.profile for order in scene.orders]
    scene.overlaps = np.array([[(box * profile).sum(axis=0) for profile in profiles] for box in scene.boxes])


def _looked_at(scene):
    return (scene.weights != 0).any(axis=0) | ~scene.usual.bad


class _Sums:
    """The sums of a series, filled block by block.

    Attributes
    ----------
    flux, error : float64 (order, int, col)
    background : float64 (int, col)
    light : float64 (order, int, col)
        The models: NaN where there is none.
    parts : dict
        (order, "red" or "blue") -> light (int, col), for who wants to see it.
    lost : bool (order, int, col)
        Columns that miss too much.
    """

    def __init__(self, scene, count, options):
        self.scene, self.options = scene, options
        shape = len(scene.orders), count, scene.boxes.shape[2]
        self.flux, self.error, self.light = (np.full(shape, np.nan) for _ in range(3))
        self.lost = np.zeros(shape, bool)
        self.pixels = np.array([box.sum(axis=0) for box in scene.boxes])  # (order, col)
        self.background = np.zeros((count, shape[2]))
        self.parts = {}
        self.estimated = np.zeros((shape[0], shape[2]), bool)

    def add(self, which, sci, err, absent):
        """Take in a block of integrations."""
        scene, options = self.scene, self.options
        if options.subtract_background:
            level = np.array([column_background(image, scene.usual.bad)[0] for image in sci])
            self.background[which] = level
            sci = sci - level[:, None].astype(np.float32)
        number = len(scene.orders)
        sums = column_sums(sci, scene.weights, scene.limits)
        raw, sums = sums[:, :number], sums[:, number:]
        variance = column_sums(err, scene.boxes, scene.limits[:number], squared=True)
        missing = column_sums(absent, scene.boxes, scene.limits[:number]) if absent.any() else None
        light = self._model(which, sums)
        for k, order in enumerate(scene.orders):
            flux, noise = raw[:, k].copy(), variance[:, k].copy()
            if options.soss_atoca:
                for other in range(number):
                    if other != k:
                        flux -= np.nan_to_num(light[other]) * scene.overlaps[k, other]
            if options.soss_bad_pix == "model" and scene.joint is not None and order.profile is not None:
                self._fill(k, flux, noise, light, sci, err)
            elif options.bad_pixels == "replace" and order.profile is not None:
                self._scale(k, flux, noise)
            empty = self.pixels[k] == 0
            flux[:, empty], noise[:, empty] = np.nan, np.nan
            if missing is not None:
                lost = missing[:, k] > LOST * self.pixels[k]
                lost[:, empty] = False
                self.lost[k, which] = lost
                flux[lost], noise[lost] = np.nan, np.nan
            self.flux[k, which], self.error[k, which], self.light[k, which] = flux, np.sqrt(noise), light[k]

    def _model(self, which, sums):
        """Light of the orders in the columns, (order, int, col); NaN where there is no model."""
        scene = self.scene
        light = np.full((len(scene.orders), len(sums), self.flux.shape[2]), np.nan)
        if scene.joint is None:
            return light
        both = len(scene.joint.orders)
        light[:both] = np.swapaxes(scene.joint.solve(sums[:, :both]), 0, 1)
        self._keep(which, {(number, "red"): light[k] for k, number in enumerate(scene.joint.orders)})
        red = light[:both].copy()
        for k, number in enumerate(sorted(scene.singles)):
            fit = scene.singles[number]
            own = sums[:, both + k].copy()
            for other in range(both):
                if scene.orders[other].number != number:  # what the joint model has there of the others
                    shared = (fit.weights[0] * scene.orders[other].profile).sum(axis=0)
                    own -= np.nan_to_num(red[other]) * shared
            single = fit.solve(own[:, None])[:, 0]
            self._keep(which, {(number, "blue" if number in scene.joint.orders else "all"): single})
            place = number - 1
            light[place] = np.where(np.isfinite(light[place]), light[place], single)
        return light

    def _keep(self, which, parts):
        if not self.options.soss_modelname:
            return
        for key, light in parts.items():
            self.parts.setdefault(key, np.full(self.flux.shape[1:], np.nan))[which] = light

    def _scale(self, k, flux, noise):
        """What bad pixels would have seen, by the profile."""
        order = self.scene.orders[k]
        whole = (order.box * ~self.scene.usual.blind * order.profile).sum(axis=0)
        seen = self.scene.overlaps[k, k]
        with np.errstate(invalid="ignore", divide="ignore"):
            factor = np.where((seen > LOST * whole) & (whole > 0), whole / seen, 1.0)
        self.estimated[k] = factor != 1
        flux *= factor
        noise *= factor**2

    def _fill(self, k, flux, noise, light, sci, err):
        """The order's own model in place of bad pixels, with the error of the good pixel that is nearest in value."""
        scene, order = self.scene, self.scene.orders[k]
        box = order.box > 0
        holes = box & scene.usual.bad & ~scene.usual.blind
        if not holes.any():
            return
        rows, columns = np.nonzero(holes)
        good = box & ~scene.usual.bad
        share = np.zeros(scene.boxes.shape[2])
        np.add.at(share, columns, (order.box * order.profile)[holes])
        known = np.isfinite(light[k])
        flux += np.where(known, light[k], 0) * share
        for i, (image, error) in enumerate(zip(sci, err, strict=True)):
            clean = image.astype(float)
            for other, its in enumerate(scene.orders):
                if other != k and its.profile is not None and self.options.soss_atoca:
                    clean -= its.profile * np.nan_to_num(light[other, i])
            values, errors = clean[good], error[good]
            rising = np.argsort(values, kind="stable")
            values, errors = values[rising], errors[rising]
            own = order.profile[holes] * light[k, i, columns]
            there = np.isfinite(own)
            above = np.clip(np.searchsorted(values, own[there]), 0, values.size - 1)
            below = np.maximum(above - 1, 0)
            nearest = np.where(np.abs(values[below] - own[there]) <= np.abs(values[above] - own[there]), below, above)
            np.add.at(noise[i], columns[there], order.box[holes][there] * errors[nearest].astype(float) ** 2)
        covered = known.all(axis=0)
        replaced = np.zeros(share.size)
        np.add.at(replaced, columns, order.box[holes])
        self.pixels[k] = scene.boxes[k].sum(axis=0) + np.where(covered, replaced, 0)
        self.estimated[k] = covered & (replaced > 0)

    def tell_lost(self, exposure):
        """Say what is missing."""
        for k, order in enumerate(self.scene.orders):
            lost = self.lost[k, :, : order.trace.y.size]
            if lost.any():
                log.warning(
                    "%s: order %d has no flux at %d columns of %d integrations, where more than half of the box is bad",
                    *(exposure.name, order.number, lost.sum(), lost.any(axis=1).sum()),
                )


def _spectrum(exposure, scene, found, k):
    order = scene.orders[k]
    size, count = order.trace.y.size, found.flux.shape[1]
    flux, error = found.flux[k, :, :size], found.error[k, :, :size]
    zeros = np.zeros((count, size))
    columns = {name: zeros for name in tables.VECTORS}
    dark = np.isnan(flux)
    dq = np.where(dark, np.uint32(bits.DO_NOT_USE), np.uint32(0))
    dq[:, found.estimated[k, :size]] |= np.uint32(bits.FLUX_ESTIMATED)
    columns |= {"WAVELENGTH": np.broadcast_to(order.trace.wavelength, (count, size)), "FLUX": flux, "FLUX_ERROR": error, "DQ": dq}
    columns |= {"BACKGROUND": found.background[:, :size], "NPIXELS": np.broadcast_to(found.pixels[k, :size], (count, size))}
    if exposure.sci.ndim == 2:
        table = tables.spectrum_table({name: value[0] for name, value in columns.items()})
    else:
        numbers = exposure.first_integration + 1 + np.arange(count)
        table = tables.series_table(columns, numbers, int(exposure.header.get(SEGMENT, 1)), integration_times(exposure, numbers))
    header = tables.units_header(table, "DN/s", "DN/s")
    header["SPORDER"] = (order.number, "Spectral order number")
    header["DISPAXIS"] = (1, "Dispersion direction")
    header["SRCTYPE"] = ("POINT", "Source type used for calibration")
    detector = exposure.header.get("DETECTOR")
    if detector is not None:
        header["DETECTOR"] = (detector, "Name of detector used to acquire the data")
    wave = order.trace.wavelength
    log.info("Order %d: %d wavelengths from %.3f to %.3f micron", order.number, size, wave.min(), wave.max())
    return Spectrum(table, header)


def _describe(exposure, scene, options):
    """Keywords that tell how the orders were told apart."""
    header = exposure.header.primary
    header["SOSSWDTH"] = (float(options.soss_width), "Aperture width used in extraction")
    header["SOSSDECO"] = (bool(options.soss_atoca and scene.joint is not None), "Decontamination applied")
    if scene.joint is not None:
        header["TIKFACTR"] = (float(scene.factor), "Tikhonov factor used in extraction")
        header["OVERSAMP"] = (options.soss_n_os, "Oversampling used in extraction")
        header["THRESHLD"] = (options.soss_threshold, "Threshold used in extraction")


def _shown(exposure, scene, found, rows, options):
    """What was asked for beside the spectra, as exposures."""
    if scene.joint is None:
        return {}
    shown = {}
    if options.soss_modelname:
        shown[MODELS] = _models(exposure, scene, found)
        shown[SPECTRA] = _model_spectra(exposure, scene, found)
    if options.soss_wave_grid_out:
        grid = exposure.aside(GRID)
        grid.pixels = [Pixels(extra={"WAVEGRID": scene.joint.grid}, header=grid.header.sci)]
        shown[GRID] = grid
    return shown


def _models(exposure, scene, found):
    """Images of each order's model and box: ORDERn and APERn, (int, row, col)."""
    extra = {}
    inside = np.any([order.box > 0 for order in scene.orders], axis=0) & ~scene.usual.blind
    for k, order in enumerate(scene.orders):
        profile = np.zeros(inside.shape) if order.profile is None else order.profile * inside
        light = np.nan_to_num(found.light[k]).astype(np.float32)
        extra[f"ORDER{order.number}"] = light[:, None] * profile.astype(np.float32)
    for order in scene.orders:
        extra[f"APER{order.number}"] = np.repeat(order.box[None].astype(np.float32), found.flux.shape[1], axis=0)
    models = exposure.aside(MODELS)
    models.pixels = [Pixels(extra=extra, header=models.header.sci)]
    return models


def _model_spectra(exposure, scene, found):
    """The models' spectra: for each integration those of orders 1 and 2, of the blue of 2, and of 3."""
    shown = exposure.aside(SPECTRA)
    for i in range(found.flux.shape[1]):
        for (number, colour), light in found.parts.items():
            order = next(order for order in scene.orders if order.number == number)
            size = order.trace.y.size
            known = np.isfinite(light[i, :size])
            rising = np.argsort(order.trace.wavelength[known])
            columns = {name: np.zeros(known.sum()) for name in tables.VECTORS}
            columns |= {"WAVELENGTH": order.trace.wavelength[known][rising], "FLUX": light[i, :size][known][rising]}
            table = tables.spectrum_table(columns)
            header = tables.units_header(table, "DN/s", "DN/s")
            header["SPORDER"] = (number, "Spectral order number")
            header["INT_NUM"] = (exposure.first_integration + 1 + i, "Integration number")
            header["SOSSCOLR"] = (colour.upper(), "Part of the order that the model is for")
            shown.spectra.append(Spectrum(table, header))
    return shown
