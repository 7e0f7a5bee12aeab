"""Products: what is written is read again, opens as stdatamodels' own, and is never half there."""

import tracemalloc
import warnings

import asdf
import numpy as np
import pytest
from astropy.io import fits
from stdatamodels.jwst import datamodels

import make
from jwcal.files import fitsio, storage
from jwcal.products import stored
from jwcal.settings import chains
from jwcal.settings.chains import Save, Step
from jwcal.settings.recipe import Recipe
from jwcal.vocabulary import keywords
from jwcal.vocabulary.errors import InputError, ProductError


def rate(shape=(16, 12), suffix="rate"):
    values = np.random.default_rng(3).normal(5, 1, shape).astype(np.float32)
    values[..., 0, 0] = np.nan
    exposure = make.image_exposure(values, suffix, EXP_TYPE="NRC_IMAGE", FILTER="F200W", PUPIL="CLEAR")
    exposure.header.sci["BUNIT"] = "DN/s"
    exposure.dq[..., 2, 3] = 1 << 31
    exposure.steps = {"jump": ("COMPLETE", ""), "dark_current": ("SKIPPED", "its dark reference is N/A")}
    exposure.references = {"gain": "crds://jwst_nircam_gain_0001.fits", "dark": "N/A"}
    exposure.recipe = Recipe(
        "detector1", [Step("jump"), Save({"rate": "rate"})], {"jump": {"rejection_threshold": 4.0}}, context="jwst_1.pmap"
    )
    return exposure


@pytest.mark.parametrize(("suffix", "shape", "model"), [("rate", (16, 12), "ImageModel"), ("rateints", (3, 16, 12), "CubeModel")])
def test_round_trip(tmp_path, suffix, shape, model):
    exposure = rate(shape, suffix)
    path = stored.write(exposure, tmp_path / f"jw1_{suffix}.fits")
    again = stored.read(path)
    assert again.suffix == suffix
    for name, array in exposure.pixels[0].planes():
        np.testing.assert_array_equal(getattr(again, name), array)
        assert getattr(again, name).dtype == array.dtype
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with datamodels.open(path) as opened:
            assert type(opened).__name__ == model
            assert opened.meta.cal_step.jump == "COMPLETE"
            assert opened.meta.cal_step.dark_sub == "SKIPPED"
            assert opened.meta.ref_file.gain.name == "crds://jwst_nircam_gain_0001.fits"
            assert opened.meta.ref_file.crds.context_used == "jwst_1.pmap"
            assert opened.meta.filename == path.name
            assert opened.meta.bunit_data == opened.meta.bunit_err == "DN/s"
            np.testing.assert_array_equal(opened.dq, exposure.dq)
            opened.validate()


def test_arrays_are_held_once(tmp_path):
    """A chain goes on while the file is open, which would hold all arrays again in its own byte order."""
    path = stored.write(rate((20, 64, 200), "rateints"), tmp_path / "jw1_rateints.fits")
    stored.read(path)  # what is imported then counts no more
    tracemalloc.start()
    try:
        with stored.opened(path) as exposure:
            held, most = tracemalloc.get_traced_memory()
        planes = [plane.nbytes for _, plane in exposure.pixels[0].planes()]
    finally:
        tracemalloc.stop()
    assert held < sum(planes) + 2**18 and most < sum(planes) + max(planes) + 2**19, (held, most, planes)


def test_says_what_it_was_made_from(tmp_path):
    path = stored.write(rate(), tmp_path / "jw1_rate.fits")
    with fits.open(path) as hdus:
        assert hdus[0].header["CAL_VER"].startswith("jwcal ")
        assert "dark_current SKIPPED: its dark reference is N/A" in str(hdus[0].header["HISTORY"])
    with datamodels.open(path) as opened:
        made = opened.to_flat_dict()
    assert made["jwcal.pipeline"] == "detector1"
    assert made["jwcal.steps.0.parameters.rejection_threshold"] == 4.0


def test_same_bytes(tmp_path):
    first, second = (stored.write(rate(), tmp_path / folder / "jw1_rate.fits") for folder in "ab")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("broken", [0, 1])
def test_nothing_half_written(tmp_path, monkeypatch, broken):
    """The disk is full when one of two products is written: the error names it, and there is neither, nor anything else."""
    paths = [tmp_path / "jw1_rate.fits", tmp_path / "jw1_rateints.fits"]
    write_at = fitsio.write_at

    def full(file, array, offset):
        if paths[broken].name in str(file.name) and offset > 10000:
            raise OSError(28, "No space left on device")
        write_at(file, array, offset)

    monkeypatch.setattr(fitsio, "write_at", full)
    with pytest.raises(ProductError, match=f"{paths[broken].name}: .*No space left on device.*Make room"):
        stored.write_all([(rate(), path) for path in paths])
    assert not list(tmp_path.iterdir())


def test_products_written_together_are_those_written_alone(tmp_path):
    small, large = rate(), rate()
    large.sci = np.arange(10**6, dtype=np.float32).reshape(1000, 1000)
    alone = [stored.write(e, tmp_path / f"alone{n}" / "jw1_rate.fits").read_bytes() for n, e in enumerate([small, large])]
    together = [tmp_path / f"together{n}" / "jw1_rate.fits" for n in range(2)]
    stored.write_all(list(zip([small, large], together, strict=True)))
    assert [path.read_bytes() for path in together] == alone and len(alone[1]) > 4e6


def test_truncated_file_is_named(tmp_path):
    path = stored.write(rate(), tmp_path / "jw1_rate.fits")
    path.write_bytes(path.read_bytes()[:-2880])
    with pytest.raises(InputError, match="jw1_rate.fits: the file is truncated"):
        stored.read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "not a readable FITS file"), (b"hello world" * 500, "not a readable FITS file"), (None, "there is no such file")],
)
def test_what_is_not_fits(tmp_path, content, message):
    path = tmp_path / "jw1_rate.fits"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        stored.read(path)


def test_not_jwst(tmp_path):
    path = tmp_path / "hst_rate.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((4, 4)), name="SCI")]).writeto(path)
    with pytest.raises(InputError, match="not a JWST file"):
        stored.read(path)


def test_header_of_two(tmp_path):
    header = rate().header
    assert header["BUNIT"] == "DN/s" and header["EXP_TYPE"] == "NRC_IMAGE"
    header["BUNIT"], header["NEW"] = "MJy/sr", 1
    assert header.sci["BUNIT"] == "MJy/sr" and header.primary["NEW"] == 1
    with pytest.raises(InputError, match="made_uncal.fits: the keyword TGRUP is missing"):
        header["TGRUP"]


@pytest.mark.parametrize(("name", "parts"), [
    ("jw01234001001_02101_00001_nrca1_uncal.fits", ("jw01234001001_02101_00001_nrca1", "uncal")),
    ("jw01019001001_gs-acq1_2022117003102_uncal.fits", ("jw01019001001_gs-acq1_2022117003102", "uncal")),
    ("jw01366002001_04103_00001-seg001_nrs1_rateints.fits", ("jw01366002001_04103_00001-seg001_nrs1", "rateints")),
])  # fmt: skip
def test_names(name, parts):
    assert chains.root_and_suffix(name) == parts


def test_every_step_and_reference_has_its_keyword():
    """The status of all steps that the chains name and the keyword of all references come from the schemas."""
    from jwcal.settings.chains import reference_types
    from jwcal.settings.tables import table
    from jwcal.workflow.requests import steps_of

    steps = {step for pipeline in table("pipelines") for step in steps_of(pipeline)}
    assert {s for s in steps if keywords.status(s) is None} == {"exp_to_source"}  # which sorts, and changes nothing
    required, optional = reference_types(steps)
    # the schemas of stdatamodels 6.0.0 lack one for these
    assert {k for k in required + optional if keywords.reference(k) is None} == {"abvegaoffset", "apcorr", "msaoper", "pictureframe", "psf"}


def test_replaced_keeps_the_old_file_when_the_block_fails(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), storage.replaced(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"] and path.read_text() == "old"


def test_asdf_files_of_plain_text_are_read_as_the_library_does(tiny):
    """Parameter references: read without it in a thousandth of the time. What holds more than text is left to it."""
    found = sorted(tiny.crds.rglob("*pars-*.asdf"))
    assert found
    for path in found:
        with asdf.open(path) as file:
            assert {k: storage.plain_tree(path)[k] for k in ("class", "name", "parameters")} == {
                k: file.tree[k] for k in ("class", "name", "parameters")
            }
    assert storage.plain_tree(next(tiny.crds.rglob("*distortion*.asdf"))) is None
    assert storage.plain_tree(tiny.image) is None


@pytest.fixture
def odd_file(tmp_path):
    """Gives a product of which a card was written anew: odd_file(card) -> path."""
    given = rate()
    given.header.primary["ODDVALUE"] = 1500.0
    path = stored.write(given, tmp_path / "jw1_rate.fits")
    content = path.read_bytes()
    assert content.count(b"ODDVALUE=               1500.0") == 1
    return lambda card: [path.write_bytes(content.replace(b"ODDVALUE=               1500.0", card.ljust(30))), path][1]


@pytest.mark.parametrize("card", [b"ODDVALUE= 1.5e3", b"oddvalue=               1500.0"])
def test_cards_that_are_not_as_the_standard_wants_them_are_mended(tmp_path, odd_file, card):
    again = stored.write(stored.read(odd_file(card)), tmp_path / "again" / "jw1_rate.fits")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(again) as hdus:
            hdus.verify("exception")
            assert hdus[0].header["ODDVALUE"] == 1500.0


def test_a_card_that_can_not_be_mended(odd_file):
    with pytest.raises(InputError, match="jw1_rate.fits: a card of its headers is not FITS .*ODD.*Fetch the file again"):
        stored.read(odd_file(b"ODD^ALUE=               1500.0"))
