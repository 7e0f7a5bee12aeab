"""Exposures of many sources become sources of many exposures: each slit finds its source, and each source's products their name."""

import gc
import warnings

import numpy as np
import pytest
from astropy.io import fits
from stdatamodels.jwst import datamodels

import make
from jwcal.arithmetic.slits import sources
from jwcal.model import exposure as model
from jwcal.model.exposure import Exposure, Members, Pixels
from jwcal.products import stored
from jwcal.run import loop
from jwcal.settings.chains import Save, Step
from jwcal.settings.recipe import Recipe
from jwcal.steps import exp_to_source
from jwcal.vocabulary.errors import InputError

random = np.random.default_rng(3)
PATTERN = "jw01234-o001_{source_id}_nirspec_clear-prism"


def cal(number, slits):
    """An exposure of slits: {source number: (shape, name)}."""
    header = make.header(64, 64, EXP_TYPE="NRS_MSASPEC", INSTRUME="NIRSPEC", DETECTOR="NRS1", PATT_NUM=number)
    grids = []
    for source, (shape, name) in slits.items():
        planes = {plane: random.normal(size=shape).astype(np.float32) for plane in ("sci", "err", "var_poisson", "var_rnoise", "var_flat")}
        own = fits.Header({"SOURCEID": source, "SRCNAME": name, "SLTNAME": str(source), "BUNIT": "MJy"})
        flags = random.integers(0, 9, shape).astype(np.uint32)
        grids.append(Pixels(**planes, dq=flags, extra={"WAVELENGTH": np.ones(shape, np.float32)}, header=own, about={"slit_ymin": -0.5}))
    exposure = Exposure(header, [], suffix="cal").derive(grids, "cal")
    exposure.header.name = f"made_{number}_cal.fits"
    return exposure


@pytest.fixture
def program():
    first = cal(1, {7: ((5, 9), "1_7"), 3: ((4, 8), "1_3"), -2: ((3, 7), "1_-2")})
    return [first, cal(2, {7: ((6, 9), "1_7"), 12: ((4, 9), "1_BKG12")})]


def members_of(exposures, tmp_path):
    return Members([(exposure, "science") for exposure in exposures], None, PATTERN, "o001", "asn.json", tmp_path)


@pytest.mark.parametrize("large", [2**30, 100])  # bytes: in memory, or in scratch files
def test_each_slit_finds_its_source(program, tmp_path, monkeypatch, large):
    monkeypatch.setattr(model, "LARGE", large)
    before = {id(e): [p.sci.copy() for p in e.pixels] for e in program}
    found = exp_to_source.apply(members_of(program, tmp_path))
    gc.collect()  # the scratch files are there as long as a source is
    names = [f"jw01234-o001_{source}_nirspec_clear-prism" for source in ("v000000002", "s000000003", "s000000007", "b000000012")]
    assert [source.name for source in found] == names
    assert [len(source) for source in found] == [1, 1, 2, 1]
    one, two = found[2].each()
    assert np.array_equal(one.sci, before[id(program[0])][0]) and np.array_equal(two.sci, before[id(program[1])][0])
    assert np.array_equal(two.dq, program[1].pixels[0].dq) and two.dq.dtype == np.uint32
    assert (one.header["PATT_NUM"], two.header["PATT_NUM"]) == (1, 2) and one.header["SOURCEID"] == 7
    one.sci[:] = 0  # the source's own
    assert np.array_equal(program[0].pixels[0].sci, before[id(program[0])][0])
    assert isinstance(one.sci, np.memmap) == (large == 100)


def test_names():
    slits = [next(cal(1, {5: ((2, 2), "")}).slits()), next(cal(2, {5: ((2, 2), "")}).slits())]
    slits[0].header.sci["SLTNAME"], slits[1].header.sci["SLTNAME"] = "S200A1", "S200A2"
    named = sources.name_of(slits, "jw01234-o001_t001-{source_id}_nirspec_f170lp-g235m-{slit_name}-subs200a1")
    assert named == "jw01234-o001_t001-s000000005_nirspec_f170lp-g235m-s200a1-s200a2-subs200a1"
    assert sources.name_of(slits[:1], "mine") == "mine_s200a1_s000000005"


def test_a_slit_that_is_hardly_on_the_detector(program, tmp_path, caplog):
    """As jwst cuts some out: nothing can be made of it, and it stops no other source."""
    for pixels in (program[0].pixels[0], program[1].pixels[1]):
        pixels.extra["WAVELENGTH"][1:] = np.nan
    found = exp_to_source.apply(members_of(program, tmp_path))
    assert [len(source) for source in found] == [1, 1, 1] and "b000000012" not in " ".join(source.name for source in found)
    assert "made_1_cal.fits: slit 7 is hardly on the detector: it is left out" in caplog.text


def test_a_slit_of_nobody(program, tmp_path):
    del program[1].pixels[0].header["SOURCEID"], program[1].pixels[0].header["SRCNAME"]
    with pytest.raises(InputError, match="the slit 7 has no SOURCEID"):
        exp_to_source.apply(members_of(program, tmp_path))


def test_products_of_a_chain(program, tmp_path):
    """Each source goes to the end of the chain by itself; its slits of all exposures are one file, which stdatamodels opens."""
    save = {"by": "exp_to_source", "name": "{product}", "together": True, "model": "MultiExposureModel"}
    recipe = Recipe("spec3", [Step("exp_to_source"), Save({"cal": "cal"}, **save), Save({"cal": "crf"}, **save)], takes="members")
    recipe.product, recipe.association = PATTERN, {"asn_id": "o001", "table": "asn.json", "pool": "none"}
    written = []

    def write(exposures):
        for exposure in exposures:
            path = tmp_path / f"{exposure.product}_{exposure.suffix}.fits"
            stored.write_all([(exposure, path)])
            written.append(path.name)

    members = members_of(program, tmp_path)
    loop.run(recipe, members, write)
    assert written[:4] == [f"jw01234-o001_{s}_nirspec_clear-prism_{k}.fits" for s in ("v000000002", "s000000003") for k in ("cal", "crf")]
    path = tmp_path / "jw01234-o001_s000000007_nirspec_clear-prism_cal.fits"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with datamodels.open(path) as read:
            assert type(read).__name__ == "MultiExposureModel" and len(read.exposures) == 2
            for number, (slit, ours) in enumerate(zip(read.exposures, program, strict=True), start=1):
                assert np.array_equal(slit.data, ours.pixels[0].sci) and np.array_equal(slit.dq, ours.pixels[0].dq)
                assert slit.source_id == 7 and slit.slit_ymin == -0.5
                assert fits.getval(path, "PATT_NUM", "SCI", number) == number
                assert slit.meta.dither.position_number == number and slit.meta.instrument.detector == "NRS1"
                assert slit.meta.exposure.type == "NRS_MSASPEC" and slit.meta.model_type == "SlitModel"
