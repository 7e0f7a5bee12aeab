"""Align groups of images: match their stars in a tangent plane, fit, correct the WCS.

Matching, fitting and correcting are tweakwcs's. A group is all images of one moment: they move together.
"""

import copy
import logging
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial import KDTree

from ..sky import convex

log = logging.getLogger(__name__)

FEWEST = {"shift": 1, "rshift": 2, "rscale": 2, "general": 3}  # pairs that a geometry needs
ROUNDS = 5  # of pairing anew
SCATTERS, SMALLEST = 5.0, 0.1  # pairs are as near as so many times their scatter, or so many pixels
RAYLEIGH = 1.1774  # the median distance of pairs with a scatter of 1 along each axis
MANY = 5.0  # times as many coincidences as by chance are none
KEPT = 0.9  # of the pairs that coincide before a fit, at least so many have to do so after it


@dataclass(frozen=True)
class Rules:
    """How stars are matched and fitted; the names are those of tweakreg's parameters, lengths are in arcsec."""

    searchrad: float
    separation: float
    use2dhist: bool
    tolerance: float
    minobj: int
    fitgeometry: str
    nclip: int
    sigma: float
    xoffset: float = 0.0
    yoffset: float = 0.0
    careful: bool = True
    rematch: bool = True

    @property
    def farthest(self):
        """By how much a corner of an image may move: as far as matches are searched for."""
        if self.use2dhist:
            return np.sqrt(2) * (self.searchrad + self.tolerance)
        return np.hypot(self.xoffset, self.yoffset) + 2 * self.tolerance


class Rejected(Exception):
    """A fit that is not made or not applied; its text says why."""


@dataclass
class Image:
    """One image: its corrector, and where its stars are in it [pixel]."""

    name: str
    corrector: object
    x: np.ndarray
    y: np.ndarray

    def sky(self):
        """Where its stars are now, degrees."""
        return self.corrector.det_to_world(self.x, self.y)

    def corners(self):
        """Of its bounding box, degrees; the last is the first."""
        (x1, x2), (y1, y2) = _box(self.corrector.wcs)
        ra, dec = self.corrector.det_to_world(np.array([x1, x2, x2, x1, x1]), np.array([y1, y1, y2, y2, y1]))
        ra[-1], dec[-1] = ra[0], dec[0]
        return ra, dec


@dataclass
class Group:
    """Images that move together, and what became of them."""

    name: str
    images: list
    status: str = "unaligned"  # "reference", "aligned", or "rejected"
    why: str = ""
    fits: list = field(default_factory=list)  # Fit, in the order in which they were applied

    def sky(self):
        return np.concatenate([np.array(image.sky()) for image in self.images], axis=1)

    def number(self):
        return sum(image.x.size for image in self.images)

    def reject(self, stage, why):
        self.why = str(why)
        if self.status == "unaligned":
            self.status = "rejected"
        log.warning("%s: no %s alignment, its WCS stays as it is: %s", self.name, stage, why)


@dataclass
class Fit:
    """A correction in the tangent plane [arcsec] of a corrector: matrix p + shift."""

    stage: str
    plane: object
    matrix: np.ndarray
    shift: np.ndarray
    moved: np.ndarray  # by how much the middle of the images moves
    rotation: float  # degrees
    scale: float
    rms: float  # arcsec, both axes together
    pairs: int
    used: int
    matched: np.ndarray  # which of the stars have a pair


def _box(wcs):
    box = wcs.bounding_box
    return box.bounding_box(order="F") if hasattr(box, "bounding_box") else box


# --- one fit -----------------------------------------------------------------------------------------------------------


def fit(stage, images, stars, reference, rules, weights=None):
    """Find the correction that brings stars to a reference.

    Parameters
    ----------
    stage : str
        For the report.
    images : list of Image
        Which move; the plane is tangent at the first one's reference point.
    stars, reference : float (2, n)
        Right ascension and declination, degrees.
    rules : Rules
    weights : float (n,), optional
        Of the stars.

    Returns
    -------
    Fit

    Raises
    ------
    Rejected
    """
    from astropy.table import Table
    from tweakwcs import MatchSourceConfusionError, XYXYMatch

    if not stars.shape[1]:
        raise Rejected("no stars were found")
    if not reference.shape[1]:
        raise Rejected("there are no reference stars")
    plane = copy.deepcopy(images[0].corrector)
    here, there = (np.column_stack(plane.world_to_tanp(*places)) for places in (stars, reference))
    match = XYXYMatch(rules.searchrad, rules.separation, rules.use2dhist, rules.xoffset, rules.yoffset, rules.tolerance)
    tables = [Table({"TPx": places[:, 0], "TPy": places[:, 1]}) for places in (there, here)]
    try:
        its, mine = match(*tables, tp_pscale=plane.tanp_center_pixel_scale, tp_units="arcsec")
    except MatchSourceConfusionError:
        raise Rejected("several stars match the same one: change tolerance or separation") from None
    its, mine = np.asarray(its, int), np.asarray(mine, int)
    if rules.rematch:
        its, mine = _once(its, mine)
    needed = max(rules.minobj, FEWEST[rules.fitgeometry])
    if mine.size < needed:
        raise Rejected(f"{mine.size} of {here.shape[0]} stars match, at least {needed} have to (minobj)")
    found = _linear(here, there, mine, its, rules, weights)
    first = found["rmse"]
    matched = np.zeros(here.shape[0], bool)
    matched[mine] = True
    if rules.rematch:
        found, mine = _rematched(found, here, there, mine, its, rules, weights, plane.tanp_center_pixel_scale, needed)
        matched[KDTree(there).query(_applied(found, here))[0] < rules.tolerance] = True
    corners = np.column_stack(plane.world_to_tanp(*np.concatenate([np.array(image.corners())[:, :-1] for image in images], axis=1)))
    matrix, shift = _about_zero(found)
    result = Fit(
        *(stage, plane, matrix, shift, matrix @ corners.mean(axis=0) + shift - corners.mean(axis=0)),
        *(float(found["proper_rot"]), float(found["<scale>"]), float(found["rmse"]), mine.size, int(np.sum(found["fitmask"])), matched),
    )
    if rules.careful:
        _check(result, first, corners, here, there, rules)
    return result


def _linear(here, there, mine, its, rules, weights):
    """tweakwcs's fit of pairs."""
    from tweakwcs import iter_linear_fit
    from tweakwcs.linearfit import NotEnoughPointsError, SingularMatrixError

    try:
        return iter_linear_fit(
            *(there[its], here[mine]),
            *(None, None if weights is None else weights[mine]),
            fitgeom=rules.fitgeometry,
            nclip=rules.nclip,
            sigma=(rules.sigma, "rmse"),
        )
    except (SingularMatrixError, NotEnoughPointsError) as error:
        raise Rejected(f"the fit is impossible ({error})") from None


def _about_zero(found):
    """Matrix and shift of a fit, which tweakwcs gives about a centre."""
    matrix, centre = np.array(found["matrix"], float), np.array(found["center"], float)
    return matrix, np.array(found["shift"], float) + centre - matrix @ centre


def _applied(found, places):
    matrix, shift = _about_zero(found)
    return places @ matrix.T + shift


def _rematched(found, here, there, mine, its, rules, weights, pixel, needed):
    """Pair all stars anew, each with its nearest one, within a few times the scatter of the pairs, and fit again.

    The match before has a wide tolerance, so that some of its pairs are neighbours, which widen the scatter that clipping goes by.

    Returns
    -------
    found : dict
        tweakwcs's fit.
    mine : int (n,)
        Which stars have a pair.
    """
    for _ in range(ROUNDS):
        moved = _applied(found, here)
        typical = np.median(np.hypot(*(moved[mine] - there[its]).T)) / RAYLEIGH
        distance, nearest = KDTree(there).query(moved)
        back = KDTree(moved).query(there)[1]
        paired = (distance < max(SCATTERS * typical, SMALLEST * pixel)) & (back[nearest] == np.arange(len(here)))
        if paired.sum() < needed:
            break
        new = np.flatnonzero(paired)
        same = np.array_equal(new, mine) and np.array_equal(nearest[new], its)
        mine, its = new, nearest[new]
        if same:
            break
        found = _linear(here, there, mine, its, rules, weights)
    return found, mine


def _once(its, mine):
    """Pairs without repeated stars: xyxymatch now and then gives a star two partners."""
    for side in (0, 1):
        keep = np.sort(np.unique((mine, its)[side], return_index=True)[1])
        its, mine = its[keep], mine[keep]
    return its, mine


def _check(found, first, corners, here, there, rules):
    """Raise Rejected for a fit that would do harm; `first` is the scatter of the pairs as they were matched."""
    far = np.hypot(*(corners @ found.matrix.T + found.shift - corners).T).max()
    if not far <= rules.farthest:
        raise Rejected(f'it would move a corner by {far:.2f}", farther than matches are searched for ({rules.farthest:.2f}")')
    near = max(3 * found.rms, 0.5 * found.plane.tanp_center_pixel_scale)
    tree, moved = KDTree(there), here @ found.matrix.T + found.shift
    before, after = (np.sum(tree.query(places)[0] < near) for places in (here, moved))
    if not first <= rules.tolerance / 2 and not after > _by_chance(tree, moved, near, rules.tolerance):
        raise Rejected(f'the pairs scatter by {first:.3f}", as those of unrelated stars do')
    if after < KEPT * before:
        raise Rejected(f"{after} stars would coincide with reference stars after it, {before} do so without it")


def _by_chance(tree, places, near, tolerance):
    """More coincidences than unrelated stars as dense as the reference would have.

    In a crowd most pairs within a wide tolerance are neighbours, whose scatter tells nothing; but stars that coincide do.
    """
    if near >= tolerance:
        return np.inf
    around = tree.query_ball_point(places, tolerance, return_length=True).mean()
    return MANY * (1 + len(places) * around * (near / tolerance) ** 2)


def correct(images, found):
    """Apply a correction to images."""
    for image in images:
        image.corrector.set_correction(found.matrix, found.shift, ref_tpwcs=found.plane)


# --- relative ------------------------------------------------------------------------------------------------------------


def align_to_each_other(groups, rules, in_order=False, expand=False):
    """Align groups to the stars of one of them.

    Parameters
    ----------
    groups : list of Group
    rules : Rules
    in_order : bool
        The first group with stars is the reference, the others follow as they are given; so it is without `expand` too.
    expand : bool
        Add the stars of a group that was aligned, and that are new, to the reference. The pair that overlaps most comes first,
        then always the group with the largest overlap.
    """
    with_stars = [group for group in groups if group.number()]
    for group in groups:
        if not group.number():
            group.reject("relative", "no stars were found")
    if len(with_stars) < 2:
        for group in with_stars:
            group.why = "no other exposure has stars"
        return
    order = _order(with_stars) if expand and not in_order and len(with_stars) > 2 else with_stars
    first, *others = order
    first.status, reference = "reference", first.sky()
    log.info("%s: the others are aligned to its %d stars", first.name, reference.shape[1])
    for group in others:
        stars = group.sky()
        try:
            found = fit("relative", group.images, stars, reference, rules)
        except Rejected as why:
            group.reject("relative", why)
            continue
        _take(group, found)
        if expand:
            reference = np.concatenate([reference, group.sky()[:, ~found.matched]], axis=1)


def _take(group, found):
    correct(group.images, found)
    group.status, group.why = "aligned", ""
    group.fits.append(found)
    log.info(
        '%s: %s shift %.4f", %.4f", turn %.5f deg, scale %.7f; %d of %d pairs, rms %.4f"',
        *(group.name, found.stage, *found.moved, found.rotation, found.scale, found.used, found.pairs, found.rms),
    )


def _order(groups):
    """Groups by overlap: of the pair that overlaps most the one that overlaps more with all, then what overlaps most with those before."""
    outlines = [[convex.vectors(*(angles[:-1] for angles in image.corners())) for image in group.images] for group in groups]
    circles = [[convex.circle(outline) for outline in group] for group in outlines]
    count = len(groups)
    areas = np.zeros((count, count))
    for i in range(count):
        for j in range(i):
            for one, (middle, reach) in zip(outlines[i], circles[i], strict=True):
                for other, (its_middle, its_reach) in zip(outlines[j], circles[j], strict=True):
                    if np.arccos(np.clip(middle @ its_middle, -1, 1)) < reach + its_reach:
                        areas[i, j] += convex.area(convex.common(one, other))
            areas[j, i] = areas[i, j]
    i, j = np.unravel_index(areas.argmax(), areas.shape)
    order = [int(i), int(j)] if areas[i].sum() >= areas[j].sum() else [int(j), int(i)]
    left = [k for k in range(count) if k not in order]
    while left:
        nearest = max(left, key=lambda k: (areas[k, order].max(), -k))
        order.append(nearest)
        left.remove(nearest)
    return [groups[k] for k in order]


# --- absolute ------------------------------------------------------------------------------------------------------------


def align_to_catalogue(groups, reference, rules, average=True):
    """Align groups to stars with known places. Groups that are aligned to each other move together, each other one by itself.

    Parameters
    ----------
    groups : list of Group
    reference : float (2, n)
        Right ascension and declination, degrees.
    rules : Rules
    average : bool
        Average the detections of a star before the fit. Off: all are given to the match, which takes the lowest of those within
        `separation`, so that the fit is too high by a part of their scatter.
    """
    together = [group for group in groups if group.status in ("reference", "aligned")]
    sets = ([together] if together else []) + [[group] for group in groups if group not in together]
    for some in sets:
        images = [image for group in some for image in group.images]
        stars, weights = np.concatenate([group.sky() for group in some], axis=1), None
        try:
            if average and len(some) > 1:
                owner = np.repeat(np.arange(len(some)), [group.number() for group in some])
                stars, weights = averaged(images[0].corrector, stars, owner, rules.separation)
            found = fit("absolute", images, stars, reference, rules, weights)
        except Rejected as why:
            for group in some:
                group.reject("absolute", why)
            continue
        for group in some:
            _take(group, found)


def averaged(corrector, stars, owner, separation):
    """Mean places of stars that several exposures have seen, and how many have.

    Detections within a pixel of each other are one star. Of places nearer to each other than `separation` those that fewer
    exposures have seen are left out: they are detections of the same star gone astray.

    Parameters
    ----------
    corrector : tweakwcs.WCSCorrector
        In its tangent plane the means are taken.
    stars : float (2, n)
        Right ascension and declination, degrees.
    owner : int (n,)
        Number of the exposure.
    separation : float
        arcsec

    Returns
    -------
    stars : float (2, m)
    counts : float (m,)
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    places = np.column_stack(corrector.world_to_tanp(*stars))
    pairs = KDTree(places).query_pairs(corrector.tanp_center_pixel_scale, output_type="ndarray")
    pairs = pairs[owner[pairs[:, 0]] != owner[pairs[:, 1]]]
    links = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(len(places),) * 2)
    number, star = connected_components(links, directed=False)
    counts = np.bincount(star, minlength=number).astype(float)
    means = np.stack([np.bincount(star, places[:, axis], number) / counts for axis in (0, 1)], axis=1)
    astray = np.zeros(number, bool)
    for i, j in KDTree(means).query_pairs(separation):
        astray[i] |= counts[i] < counts[j]
        astray[j] |= counts[j] < counts[i]
    return np.array(corrector.tanp_to_world(*means[~astray].T)), counts[~astray]
