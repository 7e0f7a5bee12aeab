"""Every rule from headers alone: they make what the archive's pool of the same exposures makes, with the links that only a person knows."""

import re

import pytest

import pools
from jwcal import associations
from jwcal.associations.rules import rules
from jwcal.program import index

FLAGS = ("is_psf", "is_imprt", "bkgdtarg", "tsovisit")
# columns that no keyword has: the index of targets, exposure specifications, candidates...
NOT_IN_HEADERS = ("filename", "targetid", "pntgtype", "expspcin", "dithptin", "mostilno", "asn_candidate", "obs_num", "obs_id")
LINKS = {
    "mosaic": [{"observation": [1, 2], "is": "mosaic"}],
    "group": [{"observation": [1, 2], "is": "group"}],
    "parallels": [{"observation": 1, "is": "direct_image", "of": [2, 3]}],
    "slit background": [{"observation": 2, "is": "background", "of": 1}],
}


def exposures(rows):
    """The exposures that a pool is of, as the index of a folder has them."""
    found = []
    for row in rows:
        header = {column.upper(): value.upper() for column, value in row.items() if column not in NOT_IN_HEADERS and value != "null"}
        header |= {flag.upper(): row[flag] == "t" for flag in FLAGS}
        if row["exp_type"] == "nrs_msaspec":
            header["FXD_SLIT"] = "NONE"  # as the archive's files say
        header |= {"TELESCOP": "JWST", "OBSERVTN": f"{int(row['obs_num']):03d}", "NINTS": int(row["nints"])}
        header |= {"VISITGRP": "02", "SEQ_ID": "1", "OBS_ID": row["obs_id"].upper(), "EXPOSURE": row["filename"][22:27]}
        if row["targetid"] != "null":
            header["TARGPROP"] = f"TARGET {row['targetid']}"
        root = row["filename"].removesuffix("_uncal.fits")
        found.append(index.Exposure(root, "uncal", f"/data/{root}_uncal.fits", {}, header, (1, 2, 8, 8), "uint16", 0, 0.0))
    return found


def products(pool):
    """Members by product, whatever the numbers of the candidates."""
    found = pools.by_product(associations.generate(pool))
    return {re.sub(r"-c\d{4}", "-c", product): members for (_, product), members in found.items()}


# the mission's table wins: an image in parallel to a series is no series, nor is a single integration (docs/differences.md)
OTHERWISE = {"parallel to a series", "single integration"}


@pytest.mark.parametrize("mode", sorted(set(pools.all_modes()) - OTHERWISE))
def test_headers_make_what_the_archive_s_pool_makes(mode):
    rows = pools.all_modes()[mode]
    assert products(associations.from_exposures(exposures(rows), LINKS.get(mode, ()))) == products(pools.pool(rows))


@pytest.mark.parametrize("mode", sorted(OTHERWISE))
def test_where_the_mission_s_table_wins(mode):
    rows = pools.all_modes()[mode]
    found = products(associations.from_exposures(exposures(rows)))
    averaged = products(pools.pool([row | {"tsovisit": "f"} for row in rows]))
    science = {product: members for product, members in found.items() if "_nis" not in product or "seg" in product}
    assert science and all(averaged[product] == members for product, members in science.items())


def test_every_rule_is_reached_from_headers():
    modes = pools.all_modes()
    found = {mode: associations.generate(associations.from_exposures(exposures(modes[mode]), LINKS.get(mode, ()))) for mode in modes}
    assert {association.rule for made in found.values() for association in made} == {rule.name for rule in rules()}


def test_errors_and_notes_of_operations_are_read_where_headers_have_them():
    first, second = pools.images(exposerr="guide star lost")
    made = associations.generate(associations.from_exposures(exposures([first, second | {"exposerr": "null"}])))
    (image,) = [association for association in made if association.stage == 3]
    assert [member.exposerr for member in image.members] == ["guide star lost", None]
    assert not associations.generate(associations.from_exposures(exposures(pools.all_modes()["jitter"])))
