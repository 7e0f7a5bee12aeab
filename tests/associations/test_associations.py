"""Which exposures become one product: by mode, against the peer, from headers; and pools and files that are not what they should be."""

import json
import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import pools
from jwcal import associations
from jwcal.associations import __main__ as command
from jwcal.associations import archive, rules
from jwcal.associations.macros import expand
from jwcal.associations.model import Association, Member
from jwcal.associations.pool import NEEDED, Pool
from jwcal.program import index
from jwcal.settings.tables import table
from jwcal.vocabulary.errors import ConfigError, InputError, ProductError
from peer import ROOT, needs_peer, peer_python

PEER_POOLS = ROOT / ".venv-peer/lib"
FACTS = ROOT.parent / "shared/associations/expected"


def made(rows, **options):
    return pools.by_product(associations.generate(pools.pool(rows), **options))


def rates(observation, exposures, detector, suffix="rate", activity="01"):
    return [f"{pools.name(observation, n, detector, activity)}_{suffix}.fits" for n in exposures]


# --- images


def test_dithers_are_one_image_and_each_exposure_is_calibrated():
    assert made(pools.images(count=2)) == {
        ("o001", pools.name(1, 1, "nrca1")): {"science": rates(1, [1], "nrca1")},
        ("o001", pools.name(1, 2, "nrca1")): {"science": rates(1, [2], "nrca1")},
        ("o001", "jw04321-o001_t001_nircam_clear-f200w"): {"science": rates(1, [1, 2], "nrca1", "cal")},
    }


def test_optics_target_and_subarray_make_another_image():
    rows = (
        pools.images(count=1) + pools.images(2, 1, filter="f150w") + pools.images(3, 1, targetid=2) + pools.images(4, 1, subarray="sub400p")
    )
    link = [("c1000", "group")]
    for row, observation in zip(rows, range(1, 5), strict=True):
        row["asn_candidate"] = str([(f"o{observation:03d}", "observation"), *link])
    rows += pools.images(5, 1, link)
    grouped = [product for asn_id, product in made(rows) if asn_id == "c1000"]
    assert grouped == ["jw04321-c1000_t001_nircam_clear-f200w"]  # the others are alone, and a group is of two observations


def test_a_background_joins_every_exposure_and_is_an_image_of_its_own():
    found = made(pools.images(1, links=pools.BACKGROUND) + pools.images(2, links=pools.BACKGROUND, targetid=2, bkgdtarg="t"))
    for n in (1, 2):
        expected = {"science": rates(1, [n], "nrca1"), "background": rates(2, [1, 2], "nrca1")}
        assert found["c1000", pools.name(1, n, "nrca1")] == expected
        assert found["o002", pools.name(2, n, "nrca1")] == {"science": rates(2, [n], "nrca1")}
        assert ("o001", pools.name(1, n, "nrca1")) not in found  # the one with the background is better
    assert found["o002", "jw04321-o002_t002_nircam_clear-f200w"] == {"science": rates(2, [1, 2], "nrca1", "cal")}


def test_a_mosaic_has_no_target():
    found = made(pools.all_modes()["mosaic"])
    members = rates(1, [1, 2], "nrca1", "cal") + rates(2, [1, 2], "nrca1", "cal")
    assert found["c1001", "jw04321-c1001_t000_nircam_clear-f200w"] == {"science": members}


def test_wavefront_sensing_combines_pairs_and_leaves_jitter_out():
    pairs = {product: members for (_, product), members in made(pools.wavefront_sensing()).items() if "nrca3_{suffix}" in product}
    assert pairs == {
        f"jw04321-o001_t001_nircam_clear-f200w-nrca3_{{suffix}}-0{act}": {"science": rates(1, [1, 2], "nrca3", "cal", f"0{act}")}
        for act in (1, 2)
    }
    assert made(pools.wavefront_sensing(note="wfsc_los_jitter")) == {}
    alone = pools.wavefront_sensing()[:1]
    assert set(made(alone)) == {("o001", pools.name(1, 1, "nrca3"))}


def test_coronagraphy_needs_a_reference_and_takes_both_observations_of_the_target():
    found = made(pools.coronagraphy())
    product = "jw04321-c1000_t001_miri_f1140c-mask1140"
    assert found["c1000", product] == {
        "science": rates(1, [1], "mirimage", "calints") + rates(2, [1], "mirimage", "calints"),
        "psf": rates(3, [1], "mirimage", "calints"),
    }
    assert not [key for key in made(pools.coronagraphy()[:2]) if key[0] == "c1000"]
    other = pools.coronagraphy()
    other[2]["filter"] = "f1065c"
    assert not [members for members in made(other).values() if "psf" in members]


def test_coronagraphs_have_dedicated_backgrounds_of_integrations():
    """Stray light of the phase masks is taken off each integration of the star and of its reference, by all exposures beside them."""
    links = (("c1000", "coronagraphy"), ("c1001", "background"))
    given = {"exp_type": "mir_4qpm", "filter": "f1140c", "subarray": "mask1140"} | pools.MIRI
    star, _, reference = pools.coronagraphy(links)
    empty = [pools.row(4, n, links[1:], targetid="3", bkgdtarg="t", **given) for n in (1, 2)]
    found = {a.product: a for a in associations.generate(pools.pool([star, reference, *empty])) if a.asn_type == "image2"}
    for observation in (1, 3):
        members = [(m.expname, m.exptype) for m in found[f"jw0432100{observation}001_02101_00001_mirimage"].members]
        backgrounds = [(name, "background") for name in rates(4, [1, 2], "mirimage", "rateints")]
        assert members == [(name, "science") for name in rates(observation, [1], "mirimage", "rateints")] + backgrounds


def test_a_full_frame_is_a_coronagraph_behind_the_mask_and_a_camera_beside_it():
    found = made(pools.full_frame_coronagraphy())
    assert found["c1000", "jw04321-c1000_t001_nircam_f210m-maskrnd"]["science"] == rates(1, [1], "nrca2", "calints")
    assert found["o001", "jw04321-o001_t001_nircam_f210m-maskrnd-image3"]["science"] == rates(1, [1], "nrca1", "cal") + rates(
        1, [1], "nrca2", "cal"
    )
    twice = [a for a in associations.generate(pools.pool(pools.full_frame_coronagraphy())) if a.product == pools.name(1, 1, "nrca2")]
    assert sorted(a.members[0].expname for a in twice) == rates(1, [1], "nrca2", "rate") + rates(1, [1], "nrca2", "rateints")


def test_interferometry_has_its_reference():
    found = made(pools.interferometry())["c1000", "jw04321-c1000_t001_niriss_f430m-nrm-sub80"]
    assert found == {"science": rates(1, [1, 2], "nis", "calints"), "psf": rates(2, [1, 2], "nis", "calints")}


# --- spectra


def test_cubes_have_all_bands_and_a_dedicated_background_as_spectra():
    rows = [
        row
        for band in ("short", "long")
        for row in pools.sky_cubes(1, 1, pools.BACKGROUND, band=band, act_id={"short": "01", "long": "02"}[band])
    ]
    rows += pools.sky_cubes(2, 1, pools.BACKGROUND, targetid=2, bkgdtarg="t")
    found = made(rows)
    science = [name for act in ("01", "02") for d in ("mirifulong", "mirifushort") for name in rates(1, [1], d, "cal", act)]
    background = [name for d in ("mirifulong", "mirifushort") for name in rates(2, [1], d, "x1d")]
    assert found["c1000", "jw04321-c1000_t001_miri"] == {"science": science, "background": background}
    with_background = found["c1000", pools.name(1, 1, "mirifulong")]
    assert with_background == {"science": rates(1, [1], "mirifulong"), "background": rates(2, [1], "mirifulong")}
    assert "background" not in found["o001", pools.name(1, 1, "mirifulong", "02")]  # there is none of this band


def test_nods_are_each_others_background_and_have_their_imprints():
    found = made(pools.ifu(count=4, imprints=4))
    assert found["o001", pools.name(1, 2, "nrs1")] == {
        "science": rates(1, [2], "nrs1"),
        "background": rates(1, [1, 3, 4], "nrs1"),
        "imprint": rates(1, [51, 52, 53, 54], "nrs1"),
    }
    assert found["o001", "jw04321-o001_t001_nirspec_prism"] == {"science": rates(1, [1, 2, 3, 4], "nrs1", "cal")}


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("together", [False, True])
def test_an_imprint_goes_with_its_dither_position(background, together):
    marks = {"bkgdtarg": "t"} if background else {}
    rows = pools.ifu(count=3, imprints=3, patttype="cycling", **marks)
    if together:  # all imprints after all exposures; the peer gives a background its first imprint then, whatever the position
        rows.sort(key=lambda row: row["is_imprt"])
    found = made(rows)
    for n in (1, 2, 3):
        assert found["o001", pools.name(1, n, "nrs1")] == {"science": rates(1, [n], "nrs1"), "imprint": rates(1, [50 + n], "nrs1")}
        assert found["o001", pools.name(1, 50 + n, "nrs1")] == {"science": rates(1, [50 + n], "nrs1")}


def test_light_that_misses_the_detector_makes_nothing():
    assert made(pools.ifu(detector="nrs2")) == {}
    assert made(pools.slits(detector="nrs2", grating="prism", filter="clear")) == {}
    assert {product for _, product in made(pools.lamps())} == {pools.name(1, 1, "nrs1"), pools.name(1, 2, "nrs1")}


@pytest.mark.parametrize(
    ("columns", "clear_of_first"),
    [
        ({"points": 3}, [2, 3]),
        ({"points": 3, "subpixels": 2}, [3, 4, 5, 6]),  # two exposures at each point
        ({"points": 5, "fxd_slit": "s1600a1"}, [3, 4, 5]),  # neighbours overlap in the square aperture
        ({"points": 5, "fxd_slit": "s400a1"}, [2, 3, 4, 5]),
        ({"points": 3, "numdthpt": "3", "subpxpts": "0"}, []),  # where the source is cannot be known
    ],
)
def test_slit_nods_see_empty_sky(columns, clear_of_first):
    found = made(pools.slits(**columns))["o001", pools.name(1, 1, "nrs1")]
    assert found.get("background", []) == rates(1, clear_of_first, "nrs1")


def test_shutters_without_numbers_take_all_others():
    rows = [row | {"subpxpts": "null"} for row in pools.shutters()]
    assert made(rows)["o001", pools.name(1, 1, "nrs1")]["background"] == rates(1, [2, 3], "nrs1")
    found = made(pools.shutters())
    assert found["o001", "jw04321-o001_{source_id}_nirspec_clear-prism"] == {"science": rates(1, [1, 2, 3], "nrs1", "cal")}
    assert found["o001", pools.name(1, 99, "nrs1")] == {"science": rates(1, [99], "nrs1")}  # the mirror: an image
    assert set(made(pools.shutters(msametfl="null"))) == {("o001", pools.name(1, 99, "nrs1"))}


def test_sources_that_move_from_slit_to_slit_are_combined():
    link = (("c1000", "group"),)
    rows = pools.slits(1, links=link, fxd_slit="s200a1") + pools.slits(2, links=link, fxd_slit="s200a2")
    product = "jw04321-c1000_t001-{source_id}_nirspec_f170lp-g235h-{slit_name}"
    assert len(made(rows)["c1000", product]["science"]) == 6


def test_low_resolution_nods_with_the_confirmation_of_their_own_observation():
    found = made(pools.slit_nods())
    assert found["o001", pools.name(1, 1, "mirimage")] == {
        "science": rates(1, [1], "mirimage"),
        "background": rates(1, [2], "mirimage"),
        "target_acquisition": rates(1, [9], "mirimage", activity="07"),
    }
    assert found["o001", "jw04321-o001_t001_miri_p750l"] == {
        "science": rates(1, [1, 2], "mirimage", "cal"),
        "background": rates(1, [1, 2], "mirimage", "x1d"),
        "target_acquisition": rates(1, [9], "mirimage", "cal", "07"),
    }
    # With a background observation, the peer would take the confirmation of that, since it comes after the science.
    found = made(pools.slit_nods(1, pools.BACKGROUND) + pools.slit_nods(2, pools.BACKGROUND, targetid=2, bkgdtarg="t"))
    assert found["c1000", pools.name(1, 1, "mirimage")]["target_acquisition"] == rates(1, [9], "mirimage", activity="07")
    assert found["c1000", pools.name(1, 1, "mirimage")]["background"] == rates(2, [1, 2], "mirimage")


def test_grisms_take_the_direct_image_that_follows():
    rows = pools.grisms()
    found = made(rows)
    image = "jw04321-o001_t001_niriss_clear-f115w"
    assert found["o001", pools.name(1, 2, "nis", "02")] == {
        "science": rates(1, [2], "nis", activity="02"),
        "direct_image": [f"{image}_i2d.fits"],
        "sourcecat": [f"{image}_cat.ecsv"],
        "segmap": [f"{image}_segm.fits"],
    }
    assert ("o001", image) in found  # what they wait for
    (spectrum,) = [a for a in associations.generate(pools.pool(rows)) if a.product == pools.name(1, 2, "nis", "02")]
    assert spectrum.waits_for == [f"{image}_i2d.fits", f"{image}_cat.ecsv", f"{image}_segm.fits"]
    assert found["o001", "jw04321-o001_t001_niriss_f115w-gr150r"]["science"] == rates(1, [2, 3], "nis", "cal", "02")
    assert not [members for members in made([row for row in rows if "wfss" in row["exp_type"]]).values() if "direct_image" in members]


def test_the_next_direct_image_is_taken_where_they_differ():
    rows = [
        pools.row(1, n, exp_type="nrc_image", detector="nrcalong", expspcin=n, **(pools.NIRCAM | {"filter": f}))
        for n, f in ((1, "f356w"), (3, "f444w"))
    ]
    rows.append(
        pools.row(1, 2, exp_type="nrc_wfss", detector="nrcalong", expspcin=2, **(pools.NIRCAM | {"pupil": "grismr", "filter": "f444w"}))
    )
    found = made(rows)["o001", pools.name(1, 2, "nrcalong")]
    assert found["direct_image"] == ["jw04321-o001_t001_nircam_clear-f444w_i2d.fits"]


def test_pure_parallels_take_the_long_wave_image_of_another_observation():
    found = made(pools.parallels())
    image = "jw04321-c1000_t000_nircam_clear-f322w2_i2d.fits"
    assert found["c1000", pools.name(2, 1, "nrcblong")]["direct_image"] == [image]
    assert found["c1000", image.removesuffix("_i2d.fits")]["science"] == rates(1, [1], "nrcalong", "cal") + rates(1, [1], "nrcblong", "cal")


def test_series_have_all_segments_and_integrations():
    found = made(pools.series(segments=3))
    segments = [f"jw04321001001_02101_00001-seg00{n}_nis" for n in (1, 2, 3)]
    assert found["o001", segments[1]] == {"science": [segments[1] + "_rateints.fits"]}
    whole = found["o001", "jw04321-o001_t001_niriss_clear-gr700xd-substrip256"]
    assert whole == {"science": [s + "_calints.fits" for s in segments], "target_acquisition": rates(1, [1], "nis", "cal", "02")}


def test_series_that_end_early():
    target = {("o001", pools.name(1, 1, "nis", "02"))}
    assert set(made(pools.series(filter="f277w"))) == target
    one = set(made(pools.series(nints="1", segments=1)))
    assert one == target | {("o001", "jw04321001001_02101_00001-seg001_nis")}
    hartmann = {"exp_type": "nrc_tsgrism", "instrume": "nircam", "detector": "nrca1", "pupil": "gdhs0", "subarray": "sub41stripe1_dhs"}
    for only in ({"pupil": "grismr"}, {"subarray": "subgrism64"}):
        assert not [a for a in associations.generate(pools.pool(pools.series(**hartmann | only))) if a.stage == 3]
    grism = hartmann | {"pupil": "grismr", "subarray": "subgrism64"}
    assert [a for a in associations.generate(pools.pool(pools.series(**grism))) if a.stage == 3]


# --- which candidates


def test_ids_and_discovery():
    rows = pools.all_modes()["mosaic"]
    assert {asn_id for asn_id, _ in made(rows, ids=["o002"])} == {"o002"}
    alone = [row | {"asn_candidate": "null"} for row in rows]
    assert made(alone) == {}
    assert {asn_id for asn_id, _ in made(alone, discover=True)} == {"a3001"}
    assert {product for _, product in made(rows, discover=True)} == {product for _, product in made(rows)}  # candidates have them all
    assert {asn_id for asn_id, _ in made(rows, candidates=False, discover=True)} == {"a3001"}


def test_orphans():
    rows = pools.images() + [pools.row(1, 7, exp_type="nrc_dark", detector="nrca1", instrume="nircam")]
    pool = pools.pool(rows)
    assert associations.orphans(pool, associations.generate(pool)) == [rows[-1]["filename"]]


@pytest.mark.parametrize("mode", sorted(pools.all_modes()))
def test_order_of_rows_does_not_matter(mode):
    rows = pools.all_modes()[mode]
    found = made(rows)
    for seed in range(3):
        mixed = rows.copy()
        random.Random(seed).shuffle(mixed)
        assert made(mixed) == found


def test_work_grows_with_the_pool_and_no_faster(monkeypatch):
    calls = Counter()
    for kind in (rules.Keys, rules.Filter):
        name = "values" if kind is rules.Keys else "fits"
        original = getattr(kind, name)

        def counted(self, *arguments, _original=original, _kind=kind):
            calls[_kind] += 1
            return _original(self, *arguments)

        monkeypatch.setattr(kind, name, counted)
    costs = []
    for count in (20, 200):
        calls.clear()
        associations.generate(pools.pool([row for o in range(1, count + 1) for row in pools.images(o, 6)]), discover=True)
        costs.append(calls.total())
    assert costs[1] < 12 * costs[0]


# --- tables


def test_the_table_names_what_exists():
    types = {name.lower() for name in table("exp_types")["exp_types"]}
    named = {name for listed in table("associations")["lists"] for name in rules.names_of(listed)} | set(rules.member_types())
    named |= {name for rule in rules.rules() for name in rule.filter.exp_types or ()}
    assert named <= types
    assert not set(table("associations")["retired"]) & types


def test_a_rule_with_a_key_that_means_nothing():
    with pytest.raises(ConfigError, match="simlar means nothing"):
        rules._rule("Asn_New", {"stage": 2, "type": "image2", "how": "each", "simlar": ["program"]})


# --- from headers


def exposure(observation, number=1, detector="NRCA1", **keywords):
    """An exposure of a program, as its index has it."""
    header = {"TELESCOP": "JWST", "EXP_TYPE": "NRC_IMAGE", "INSTRUME": "NIRCAM", "DETECTOR": detector, "FILTER": "F200W", "PUPIL": "CLEAR"}
    header |= {"PROGRAM": "04321", "OBSERVTN": f"{observation:03d}", "VISIT": "001", "VISITGRP": "02", "SEQ_ID": "1", "ACT_ID": "01"}
    header |= {
        "EXPOSURE": str(number),
        "SUBARRAY": "FULL",
        "TARGPROP": "M31",
        "TSOVISIT": False,
        "BKGDTARG": False,
        "IS_PSF": False,
        "NINTS": 1,
    }
    root = pools.name(observation, number, detector.lower(), str(keywords.get("ACT_ID", "01")))
    return index.Exposure(root, "uncal", f"/data/{root}_uncal.fits", {}, header | keywords, (1, 2, 8, 8), "uint16", 0, 0.0)


def of_headers(exposures, links=()):
    pool = associations.from_exposures(exposures, links)
    return pools.by_product(associations.generate(pool)), pool.notes


def test_headers_are_enough_for_dithers():
    found, notes = of_headers([exposure(1, 1), exposure(1, 2), exposure(2, 1, TARGPROP="M33")])
    assert found["o001", "jw04321-o001_t001_nircam_clear-f200w"]["science"] == rates(1, [1, 2], "nrca1", "cal")
    assert ("o002", "jw04321-o002_t002_nircam_clear-f200w") in found
    assert notes == []


def test_a_link_says_whose_background_an_observation_is():
    exposures = [exposure(1), exposure(2, TARGPROP="M33"), exposure(3, TARGPROP="SKY")]
    found, notes = of_headers(exposures, [{"observation": 3, "is": "background", "of": [1, 2]}])
    for observation in (1, 2):
        assert found["c1000", pools.name(observation, 1, "nrca1")]["background"] == rates(3, [1], "nrca1")
    assert notes == []


def test_one_background_is_everyone_s_and_that_is_said():
    found, notes = of_headers([exposure(1), exposure(2, TARGPROP="SKY", BKGDTARG=True)])
    assert found["c1000", pools.name(1, 1, "nrca1")]["background"] == rates(2, [1], "nrca1")
    assert notes == ["background of observation 2 (NRC_IMAGE): taken for observation 1. If that is wrong, say it in `links`"]


def test_of_several_backgrounds_none_is_taken_and_that_is_said():
    exposures = [exposure(1), exposure(2, TARGPROP="A", BKGDTARG=True), exposure(3, TARGPROP="B", BKGDTARG=True)]
    found, notes = of_headers(exposures)
    assert not [members for members in found.values() if "background" in members]
    assert len(notes) == 1 and "several" in notes[0]


def test_references_are_inferred_from_headers():
    optics = {"EXP_TYPE": "NIS_AMI", "INSTRUME": "NIRISS", "FILTER": "F430M", "PUPIL": "NRM", "SUBARRAY": "SUB80"}
    found, _ = of_headers([exposure(1, detector="NIS", **optics), exposure(2, detector="NIS", TARGPROP="STAR", IS_PSF=True, **optics)])
    assert found["c1000", "jw04321-c1000_t001_niriss_f430m-nrm-sub80"]["psf"] == rates(2, [1], "nis", "calints")


def test_series_are_those_of_the_selector():
    series = {"EXP_TYPE": "NIS_SOSS", "INSTRUME": "NIRISS", "FILTER": "CLEAR", "PUPIL": "GR700XD", "TSOVISIT": True}
    found, _ = of_headers([exposure(1, detector="NIS", NINTS=50, **series)])
    assert found["o001", pools.name(1, 1, "nis")]["science"] == rates(1, [1], "nis", "rateints")
    found, _ = of_headers([exposure(1, TSOVISIT=True, NINTS=5)])  # in parallel to a series: the mission reduces it as an image
    assert found["o001", pools.name(1, 1, "nrca1")]["science"] == rates(1, [1], "nrca1", "rate")


@pytest.mark.parametrize(("patttype", "rule"), [("NONE", "SlitlessSpectral"), ("2-POINT-NOD", "SpectralTarget")])
def test_slitless_exposures_outside_a_series_are_combined(patttype, rule):
    """As the mission's table has it: to the peer's rules NONE is a pattern."""
    single = {"EXP_TYPE": "NIS_SOSS", "INSTRUME": "NIRISS", "FILTER": "CLEAR", "PUPIL": "GR700XD", "TSOVISIT": False, "PATTTYPE": patttype}
    pool = associations.from_exposures([exposure(1, n, "NIS", **single) for n in (1, 2)])
    (spec3,) = (one for one in associations.generate(pool) if one.asn_type == "spec3")
    assert rule in spec3.rule
    assert {member.expname for member in spec3.members if member.exptype == "science"} == set(rates(1, [1, 2], "nis", "cal"))


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ({"observation": 9, "is": "background", "of": 1}, "no observation 9 of program 4321. There are 1, 2"),
        ({"observation": 2, "is": "backgroud", "of": 1}, "The nearest is background"),
        ({"observation": 2, "is": "background"}, "`of` is missing"),
        ({"observation": [1, 2], "is": "mosaic", "of": 1}, "`of` is for other links"),
        ({"obs": 2}, "is no link"),
        ("2 of 1", "is no link"),
    ],
)
def test_bad_links(link, message):
    with pytest.raises(ConfigError, match=message.replace("`", ".")):
        associations.from_exposures([exposure(1), exposure(2)], [link])


# --- pools


def test_a_pool_s_comments_headings_and_macros(tmp_path):
    rows = pools.images()
    heading = {column: column for column in pools.COLUMNS} | {"filename": "set acid", "asn_candidate": "1000"}
    rows.insert(1, heading)
    rows[0] |= {
        "filename": "@!fmt_fname(next(expnum))",
        "obs_num": "@!next(obsnum)",
        "asn_candidate": "@!fmt_cand([(obsnum.value, 'observation')])",
    }
    path = pools.write(tmp_path / "pool.csv", rows)
    path.write_text("# a pool\n\n" + path.read_text().upper().replace("@!FMT", "@!fmt"))
    items = associations.read(path).items
    assert [item.filename for item in items] == ["jw_00001_uncal.fits", rows[2]["filename"]]
    assert items[0].candidates == items[1].candidates == (("o001", "observation"),)


def test_macros_count_in_reading_order():
    rows = [["@!next(expnum)", "@!acid.set(1000)"], ["@!next(expnum)", "@!fmt_cand([(acid.value + 1, 'group')])"]]
    assert list(expand(rows)) == [["1", "1000"], ["2", "[('c1001', 'group')]"]]
    for bad in ("@!__import__('os')", "@!next(os)", "@!1 +"):
        with pytest.raises(ValueError, match="no macro"):
            list(expand([[bad]]))


def broken(change):
    rows = pools.images()
    change(rows)
    return rows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.clear(), "it has no exposures"),
        (lambda rows: rows.append(rows[0]), "line 4 is of the same exposure as line 2"),
        (lambda rows: rows[1].update(exp_type="nrc_imagee"), "line 3 .*NRC_IMAGEE is no EXP_TYPE of JWST. The nearest is NRC_IMAGE"),
        (lambda rows: rows[1].update(filename="../x_uncal.fits"), "is no file name"),
        (lambda rows: rows[1].update(filename="/x_uncal.fits"), "is no file name"),
        (lambda rows: rows[1].update(instrume="null"), "instrume is empty"),
        (lambda rows: rows[1].update(asn_candidate="o001"), "ASN_CANDIDATE is 'o001'"),
        (lambda rows: rows[1].update(asn_candidate="[('../o1', 'observation')]"), "ASN_CANDIDATE is"),
        (lambda rows: rows[1].update(targetid="1|2"), "line 3 has"),
        (lambda rows: rows[1].update(obs_num="@!next(weeks)"), "is no macro"),
    ],
)
def test_bad_rows(tmp_path, change, message):
    path = pools.write(tmp_path / "pool.csv", broken(change))
    with pytest.raises(InputError, match=message) as error:
        associations.read(path)
    assert error.value.file == path


def test_bad_pools(tmp_path):
    path = tmp_path / "pool.csv"
    with pytest.raises(InputError, match="no such file"):
        associations.read(path)
    for text in ("", "# nothing\n\n"):
        path.write_text(text)
        with pytest.raises(InputError, match="it is empty"):
            associations.read(path)
    path.write_bytes(b"\x89PNG\xff\xfe\x00")
    with pytest.raises(InputError, match="not a readable pool"):
        associations.read(path)
    for column in NEEDED:
        pools.write(path, pools.images(), [c for c in pools.COLUMNS if c != column])
        with pytest.raises(InputError, match=f"the column {column} is missing"):
            associations.read(path)


# --- files


def test_files_are_those_of_the_archive(tmp_path):
    made = associations.generate(pools.pool(pools.all_modes()["image background"] + pools.images(3, exposerr="guide star lost")))
    paths = associations.write(made, tmp_path)
    assert sorted(paths) == sorted(tmp_path.iterdir()) and len(paths) == len(made)
    assert paths[0].name == "jw04321-c1000_image2_00001_asn.json"
    for path, association in zip(paths, made, strict=True):
        (read,) = associations.load(path)
        assert (read.rule, read.asn_type, read.asn_id, read.product) == (
            association.rule,
            association.asn_type,
            association.asn_id,
            association.product,
        )
        assert read.members == association.members
        assert read.members[0].exptype == "science"
    lost = [json.loads(path.read_text()) for path in paths if "-o003" in path.name]
    assert lost[0]["degraded_status"] != json.loads(paths[0].read_text())["degraded_status"]


def test_nothing_is_written_where_a_name_is_not_safe(tmp_path):
    rows = pools.images() + pools.images(2, filter="../../f200w")
    with pytest.raises(InputError, match="can't be the name of a file"):
        associations.write(associations.generate(pools.pool(rows)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_half_written(tmp_path, monkeypatch):
    made = associations.generate(pools.pool(pools.images()))
    (tmp_path / "file").write_text("")
    with pytest.raises(ProductError):
        associations.write(made, tmp_path / "file")
    calls, write_text = [], Path.write_text

    def full(path, text, *arguments, **options):
        calls.append(path)
        if len(calls) == 3:
            write_text(path, text[:10])
            raise OSError(28, "No space left on device")
        return write_text(path, text, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(ProductError, match="No space left"):
        associations.write(made, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


GOOD = {"asn_type": "image3", "asn_id": "o001", "products": [{"name": "m31", "members": [{"expname": "a_cal.fits", "exptype": "science"}]}]}


def given(tmp_path, **changes):
    path = tmp_path / "mine_asn.json"
    path.write_text(json.dumps(GOOD | changes))
    return path


def members(*entries):
    return [{"name": "m31", "members": [{"expname": name, "exptype": exptype} for name, exptype in entries]}]


def test_a_person_s_file(tmp_path):
    products = members(("a_cal.fits", "science"), ("sub/b_cal.fits", "SCIENCE")) + members(("c_cal.fits", "science"))
    first, second = associations.load(
        given(tmp_path, products=products), exists={"a_cal.fits", "sub/b_cal.fits", "c_cal.fits"}.__contains__
    )
    assert (first.pipeline, first.stage) == ("image3", 3)
    assert [(m.expname, m.place) for m in first.members] == [("a_cal.fits", ""), ("b_cal.fits", "sub")]
    assert second.members == [Member("c_cal.fits", "science")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"products": members(("/data/a_cal.fits", "science"))}, "is not given by its name"),
        ({"products": members(("~/a_cal.fits", "science"))}, "is not given by its name"),
        ({"products": members(("C:\\a_cal.fits", "science"))}, "is not given by its name"),
        ({"products": members(("b_cal.fits", "science"))}, "there is no b_cal.fits"),
        ({"products": members(("a_cal.fits", "background"))}, "the product m31 has no science member"),
        ({"products": [{"name": "../m31", "members": GOOD["products"][0]["members"]}]}, "can't be the name of a product"),
        ({"products": [{"name": "m31", "members": [{"expname": "a_cal.fits"}]}]}, "is no member"),
        ({"products": [{"name": "m31"}]}, "no list of members"),
        ({"products": []}, "it has no products"),
        (
            {"products": members(("a_cal.fits", "science"), ("b_a_cal.fits", "sciense"))},
            "is 'sciense'. The nearest that is known is science",
        ),
        ({"asn_type": "imag3"}, "asn_type is 'imag3'. The nearest is image3"),
    ],
)
def test_bad_files(tmp_path, changes, message):
    path = given(tmp_path, **changes)
    with pytest.raises(InputError, match=message) as error:
        associations.load(path, exists=lambda name: name.endswith("a_cal.fits"))
    assert error.value.file == path


def test_files_that_are_none(tmp_path):
    path = tmp_path / "x_asn.json"
    with pytest.raises(InputError, match="no such file"):
        associations.load(path)
    for text, message in (("{", "not a readable association"), ("[1]", "no JSON object")):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            associations.load(path)


# --- the command


def test_the_command(tmp_path, capsys):
    path = pools.write(tmp_path / "pool.csv", pools.all_modes()["mosaic"])
    assert command.main([str(path), "-o", str(tmp_path / "out"), "--json", str(tmp_path / "all.json"), "--all-candidates"]) == 0
    listed = json.loads((tmp_path / "all.json").read_text())
    assert listed["n_associations"] == len(listed["associations"]) == len(list((tmp_path / "out").iterdir())) == 7
    assert "7 associations of 4 exposures" in capsys.readouterr().out
    assert command.main([str(path), "-o", str(tmp_path / "one"), "-i", "C1001"]) == 0
    capsys.readouterr()
    assert command.main([str(path), "-i", "C1001"]) == 0  # nothing is to be written: what there is is said
    *lines, counts = capsys.readouterr().out.splitlines()
    assert (
        counts.startswith(f"{len(lines)} associations of ") and all(re.search(r": \d+ \w+(, \d+ \w+)*$", line) for line in lines) and lines
    )
    assert [p.name for p in (tmp_path / "one").iterdir()] == ["jw04321-c1001_image3_00001_asn.json"]


def test_the_command_on_a_bad_pool(tmp_path, capsys):
    path = pools.write(tmp_path / "pool.csv", [*pools.images(), *pools.images()])
    assert command.main([str(path), "-o", str(tmp_path / "out"), "--json", str(tmp_path / "all.json")]) == 1
    assert "is of the same exposure as line 2" in capsys.readouterr().err
    assert not (tmp_path / "out").exists() and not (tmp_path / "all.json").exists()


# --- against the peer

GENERATE = """
import json, os, tempfile, logging, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from jwst.associations.main import Main
logging.disable(logging.CRITICAL)
found = []
for path in pools:
    with tempfile.TemporaryDirectory() as folder:
        Main.cli([str(path), "-p", folder, *map(str, options)])
        found.append(json.dumps([[file.name, json.loads(file.read_text())] for file in Path(folder).iterdir()]))
out["found"] = np.array(found)
"""
LOAD = """
import json
from pathlib import Path
from jwst.associations import load_asn
names = []
for path in sorted(Path(str(folder)).iterdir()):
    with open(path) as file:
        names.append(load_asn(file)["products"][0]["name"])
out["names"] = np.array(names)
"""


def bundled():
    """The pools in the peer's package, by name."""
    return {path.stem: path for path in sorted(PEER_POOLS.glob("*/site-packages/jwst/associations/tests/data/*pool*.csv"))}


def peer_made(rows_by_name, folder, *options):
    """What the peer makes of pools: [Counter of associations], in the order of the pools."""
    paths = [pools.write(folder / f"{number}.csv", rows, list(rows[0])) for number, rows in enumerate(rows_by_name.values())]
    found = peer_python(GENERATE, pools=[str(path) for path in paths], options=np.array(options, dtype=str))["found"]
    return [Counter(_of_peer(name, association) for name, association in json.loads(str(text))) for text in found]


def _of_peer(name, association):
    (product,) = association["products"]
    return _key(name, association["asn_rule"], association["asn_type"], association["asn_id"], product["name"], product["members"])


def _of_ours(association):
    listed = [{"expname": m.expname, "exptype": m.exptype} for m in association.members]
    return _key(association.file_name, association.ruleset, association.asn_type, association.asn_id, association.product, listed)


def _key(name, rule, asn_type, asn_id, product, listed):
    return name, rule, asn_type, asn_id, product, tuple(sorted((member["expname"], member["exptype"]) for member in listed))


def plain(path):
    """The rows of a pool without its macros."""
    pool = associations.pool._table(path)
    return [dict(zip(pool[0], row, strict=True)) for _, row in pool[1]]


SMALL = [
    *("jw09505_20251216t202003_pool", "jw87800_20180412T163456_pool", "pool_002_image_miri", "pool_005_spec_niriss", "pool_008_exposerr"),
    *("pool_017_spec_nirspec_lv2imprint", "pool_020_00009_image_miri", "pool_021_tso", "pool_024b_nirspec_fss_nods"),
    *("pool_025_nirspec_fss_nod_chop", "pool_023_nirspec_msa_3nod", "pool_033_wfs_jitter", "pool_duplicate"),
]
NO_CANDIDATES = "jw93060_20150312T160130_pool"  # an early pool without the column: the peer can't read it either


@needs_peer
@pytest.mark.parametrize("name", sorted(path.stem for path in FACTS.glob("*.json")) or ["none"])
def test_against_what_the_peer_made(name):
    if name not in bundled():
        pytest.skip("the results of the peer, ../shared/associations, are not there")
    expected = json.loads((FACTS / f"{name}.json").read_text())
    found = json.loads(archive.normalised(associations.generate(pool := associations.read(bundled()[name])), pool, []))
    assert found["associations"] == expected["associations"]
    assert found["by_rule"] == expected["by_rule"]


@pytest.mark.parity
@needs_peer
def test_small_pools_against_the_peer(tmp_path):
    _compare({name: plain(bundled()[name]) for name in SMALL}, tmp_path)


@pytest.mark.parity
@needs_peer
def test_modes_against_the_peer(tmp_path):
    _compare({mode: rows for mode, rows in pools.all_modes().items() if mode != "nods with a background"}, tmp_path)


@pytest.mark.parity
@pytest.mark.full
@needs_peer
@pytest.mark.parametrize("name", [name for name in bundled() if name not in (*SMALL, NO_CANDIDATES)] or ["none"])
def test_all_pools_against_the_peer(name, tmp_path):
    _compare({name: plain(bundled()[name])}, tmp_path)


def _compare(rows_by_name, folder):
    """With the candidates and what is discovered beside them, as the archive does it; down to the numbers in the names of the files."""
    for (name, _), expected, number in zip(rows_by_name.items(), peer_made(rows_by_name, folder), range(len(rows_by_name)), strict=True):
        found = Counter(map(_of_ours, associations.generate(associations.read(folder / f"{number}.csv"), discover=True)))
        assert found == expected, name


@pytest.mark.parity
@needs_peer
def test_the_peer_reads_our_files(tmp_path):
    rows = [row for mode in ("grisms", "series", "slits") for row in pools.all_modes()[mode]]
    unique = {row["filename"]: row for row in rows}
    made = associations.generate(pools.pool(list(unique.values())))
    paths = associations.write(made, tmp_path)
    names = peer_python(LOAD, folder=str(tmp_path))["names"]
    assert dict(zip(sorted(paths), names, strict=True)) == {
        path: association.product for path, association in zip(paths, made, strict=True)
    }


def test_types_of_associations_have_pipelines():
    assert {
        "image2",
        "tso-image2",
        "spec2",
        "tso-spec2",
        "nrslamp-spec2",
        "image3",
        "spec3",
        "coron3",
        "ami3",
        "tso3",
        "wfs-image3",
    } == set(archive.pipelines())
    assert Association("r", "wfs-image3", "wfs-image3", "o001", "observation", "04321", "x", []).stage == 3
    assert Pool([]).items == []
