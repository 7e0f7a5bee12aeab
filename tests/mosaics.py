"""Calibrated exposures from the simulator, taken through the chains of stage 3 in memory; and what became of their stars."""

import numpy as np
from scipy.spatial import cKDTree

from jwcal.model.exposure import Members
from jwcal.run import loop
from jwcal.settings import config as configuration
from jwcal.simulate import calibrated, crds_cache
from jwcal.simulate.pointing import ARCSEC
from jwcal.workflow import plan

MAS = ARCSEC / 1000  # rad
NAME = "jw01234-o001_t001"


def cache(folder, made, **options):
    """A CRDS cache with the references of what was made."""
    files = [path for kinds in calibrated.write_references(folder / "references", made, **options).values() for path in kinds.values()]
    crds_cache.build(folder / "crds", files, pars=crds_cache.operations())
    return folder / "crds"


def run(pipeline, made, crds, steps=None, backgrounds=(), **settings):
    """Take exposures through a chain of stage 3.

    Returns
    -------
    (dict, Members)
        Suffix -> list of exposures as they were written, and the members as they are at the end.
    """
    config = configuration.load({"steps": steps or {}, "references": {"crds_path": str(crds)}, **settings})
    exposures = [getattr(one, "exposure", one) for one in made]
    recipe = plan.recipe_for(pipeline, exposures[0].header, config)
    recipe.product = NAME
    members = Members([(exposure, "science") for exposure in exposures], name=NAME, asn_id="o001")
    written = {}

    def write(products):
        for product in products:
            written.setdefault(product.suffix, []).append(product)

    loop.run(recipe, members, write)
    return written, members


def away(ra1, dec1, ra2, dec2):
    """How far the first are from the second, east and north [mas]."""
    ra1, dec1, ra2, dec2 = map(np.radians, (ra1, dec1, ra2, dec2))
    east = (ra1 - ra2 + np.pi) % (2 * np.pi) - np.pi
    return np.array([east * np.cos(dec2), dec1 - dec2]) / MAS


def nearest(ra, dec, others_ra, others_dec, within=100.0):
    """Of each place the number of the nearest of the others; -1 where none is within some mas."""
    places = [
        np.column_stack([np.cos(d) * np.cos(r), np.cos(d) * np.sin(r), np.sin(d)])
        for r, d in ((np.radians(np.asarray(r, float)), np.radians(np.asarray(d, float))) for r, d in ((ra, dec), (others_ra, others_dec)))
    ]
    distance, number = cKDTree(places[1]).query(places[0])
    return np.where(distance < within * MAS, number, -1)


def errors(made, exposures=None, edge=4):
    """What the WCS of each exposure makes of the places where its stars really are, less their true positions [mas]: list of (2, star)."""
    found = []
    for number, one in enumerate(made):
        exposure = one.exposure if exposures is None else exposures[number]
        s, (ny, nx) = one.truth.sources, one.exposure.sci.shape[-2:]
        inside = (s["x"] > edge) & (s["y"] > edge) & (s["x"] < nx - edge) & (s["y"] < ny - edge)
        s = s[inside]
        ra, dec = exposure.wcs(np.asarray(s["x"], float), np.asarray(s["y"], float))
        found.append(away(ra, dec, np.asarray(s["ra"], float), np.asarray(s["dec"], float)))
    return found
