"""Exposures behind a coronagraph for tests: a small simulated program in memory, and what the steps take."""

import numpy as np

import make
from jwcal.model.exposure import Members
from jwcal.simulate import coronagraph, occulters
from jwcal.steps import align_refs, klip, outlier_detection, resample, stack_refs

SIZE = 64


def program(star=None, size=SIZE, **options):
    """[(Calibrated, kind), ...] of a small subarray."""
    star = star or coronagraph.Coronagraph()
    return coronagraph.simulate_coronagraphy(star, **{"sip": False, "area": False} | coronagraph.setup_of(size) | options)


def members(made, **options):
    return Members([(one.exposure, kind) for one, kind in made], name="jw01234-c1000_t001_nircam_f335m", asn_id="c1000", **options)


def references(folder, made, mask=None):
    """psfmask: the simulator's own, or an image."""
    one = made[0][0]
    mask = occulters.transmission(one.setup) if mask is None else mask
    sub = one.setup.subarray
    keywords = {"SUBSTRT1": sub.xstart, "SUBSTRT2": sub.ystart}
    return make.references(folder, one.exposure, psfmask={"SCI": np.asarray(mask, np.float32), **keywords})


def subtract(folder, made, outliers=True, align=None, **parameters):
    """All steps up to klip; returns the members and what klip gives beside."""
    all_of_them, refs = members(made), references(folder, made)
    if outliers:
        outlier_detection.apply(all_of_them, None, "coron")
    stack_refs.apply(all_of_them)
    align_refs.apply(all_of_them, refs, **(align or {}))
    result = klip.apply(all_of_them, refs, **parameters)
    return all_of_them, result[1].catalogue if isinstance(result, list) else None


def put_together(all_of_them, **parameters):
    return resample.apply(all_of_them, None, True, **parameters)
