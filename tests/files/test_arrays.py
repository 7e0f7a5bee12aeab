"""Arrays that do not go with SCI: one error that names the extension, before anything is computed. Another type with a clear meaning:
the same numbers.
"""

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import test_master_background as background_of
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jwcal
from jwcal.files import arrays, fitsheaders
from jwcal.model.exposure import Exposure, Members
from jwcal.products import stored
from jwcal.program import index
from jwcal.simulate import crds_cache, headers
from jwcal.simulate.exposures import simulate_exposure
from jwcal.simulate.references import write_references
from jwcal.steps import master_background
from jwcal.vocabulary.errors import InputError, JwcalError
from jwcal.workflow import jobs, plan

pytestmark = pytest.mark.usefixtures("no_crds")
SUB160 = {"exp_type": "NRC_IMAGE", "detector": "NRCB1", "subarray": "SUB160", "ngroups": 3, "seed": 5, "cosmic_rays": 0}
CHAINS = {"uncal": "detector1", "rate": "image2", "rateints": "tso-image2", "cal": "image3", "calints": "tso3"}
USED = {"ramp_fit": {"suppress_one_group": False}}  # ramps without a good group take the zero frame


# --- files that were edited ---


def card_free(header):
    """The keywords without those of the structure."""
    return fits.Header([card for card in header.cards if not stored.STRUCTURAL.fullmatch(card.keyword)])


def edited(source, path, changes=(), **keywords):
    """A copy of a file.

    `changes`: extension -> function of its data that gives an array, an HDU, a list of these, or None: no extension.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with fits.open(source, memmap=False) as hdus:
        made = []
        for hdu in hdus:
            if hdu.name not in (changes or {}):
                made.append(hdu.copy())
                continue
            found = changes[hdu.name](hdu.data)
            for one in found if isinstance(found, list) else [found]:
                if isinstance(one, np.ndarray):
                    one = fits.ImageHDU(one, card_free(hdu.header), name=hdu.name)
                if one is not None:
                    one.name = hdu.name
                    made.append(one)
        made[0].header.update(keywords)
        fits.HDUList(made).writeto(path, overwrite=True)
    return path


def with_planes(source, path, **planes):
    """A copy with more images."""
    with fits.open(source, memmap=False) as hdus:
        hdus = fits.HDUList([hdu.copy() for hdu in hdus])
        for name, data in planes.items():
            hdus.append(fits.ImageHDU(data, name=name))
        hdus.writeto(path)
    return path


class Case:
    """An exposure with its references, and its files of all levels."""

    def __init__(self, folder, **options):
        made = simulate_exposure(folder / "data", **options)
        references = write_references(folder / "references", made.detector, setup=made.setup)
        self.crds = crds_cache.build(folder / "crds", list(references.values()), pars=crds_cache.operations())
        self.crds, self.folder, self.uncal = folder / "crds", folder, Path(made.uncal)

    def run(self, pipeline, path, out=None, steps=None, **others):
        return jwcal.run_pipeline(pipeline, path, out=out, every=True, crds_path=self.crds, steps=steps or {}, **others)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """An image and its rate file: what users gave to image2."""
    case = Case(tmp_path_factory.mktemp("image"), **SUB160)
    case.run("detector1", case.uncal, case.folder)
    case.rate = next(case.folder.glob("*_rate.fits"))
    return case


@pytest.fixture(scope="module")
def saturated(tmp_path_factory):
    """Two integrations with zero frames, some ramps saturated from the first group on."""
    options = {**SUB160, "readpatt": "SHALLOW4", "nints": 2, "zeroframe": True}
    case = Case(tmp_path_factory.mktemp("saturated"), **options)

    def saturate(sci):
        sci = sci.copy()
        sci[:, :, 40:60, 40:60] = 65535
        return sci

    case.uncal = edited(case.uncal, case.folder / "saturated" / case.uncal.name, {"SCI": saturate})
    case.made = case.run("detector1", case.uncal, steps=USED)
    return case


# --- zero frames ---


def test_zero_frames_are_used(saturated, tmp_path):
    """The right numbers, with the zero frames as they are and as floats, without a value where there is none."""
    np.testing.assert_allclose(saturated.made["rateints"].sci[:, 45, 45], [9.523444, 5.962278], rtol=1e-6)
    for change in (lambda z: z.astype(np.int32), lambda z: np.where(z > 0, z, np.nan)):
        path = edited(saturated.uncal, tmp_path / saturated.uncal.name, {"ZEROFRAME": change})
        assert_same(saturated.run("detector1", path, steps=USED), saturated.made)


SHORT = {
    "one plane": (lambda z: z[:1], (1, 160, 160)),
    "wider": (lambda z: np.pad(z, ((0, 0), (0, 0), (0, 8))), (2, 160, 168)),
    "flat": (lambda z: z[0], (160, 160)),
}


@pytest.mark.parametrize("kind", SHORT)
def test_zero_frames_of_another_shape(saturated, tmp_path, kind):
    change, shape = SHORT[kind]
    path = edited(saturated.uncal, tmp_path / "data" / saturated.uncal.name, {"ZEROFRAME": change})
    with pytest.raises(InputError) as caught:
        saturated.run("detector1", path, tmp_path / "out", steps=USED)
    told = f"{path}: ZEROFRAME has the shape {shape}, (2, 160, 160) was expected beside SCI's (2, 3, 160, 160). Correct the extension"
    assert str(caught.value).startswith(told) and not (tmp_path / "out").exists()
    made = plan.make({"data": str(path.parent), "results": str(tmp_path / "results"), "references": {"crds_path": str(saturated.crds)}})
    assert [str(problem).startswith(told) for problem in made.problems] == [True] and not made.jobs


# --- raw samples of other types ---


@pytest.mark.parametrize("kind", ["float32", "float64", "int32", "int64", "uint32"])
def test_samples_of_other_types(saturated, tmp_path, caplog, kind):
    """As simulators and injection tests write them: the same rates, and the log says it once."""
    path = edited(saturated.uncal, tmp_path / saturated.uncal.name, {"SCI": lambda sci: sci.astype(kind)})
    index.check(path)
    assert_same(saturated.run("detector1", path, steps=USED), saturated.made)
    said = [record.getMessage() for record in caplog.records if "read as" in record.getMessage()]
    assert said == [f"{path}: SCI is {kind}: read as float32"] * (kind != "float32")


def test_fractions_of_samples_are_kept(saturated, tmp_path):
    """An injected source adds no whole numbers."""
    path = edited(saturated.uncal, tmp_path / saturated.uncal.name, {"SCI": lambda sci: sci + 0.25})
    np.testing.assert_array_equal(stored.read(path).sci, stored.read(saturated.uncal).sci + np.float32(0.25))


def test_samples_that_are_no_numbers(saturated, tmp_path):
    def change(sci):
        sci = sci.astype(np.float32)
        sci[1, 2, 3, 4] = np.nan
        return sci

    path = edited(saturated.uncal, tmp_path / saturated.uncal.name, {"SCI": change})
    with pytest.raises(InputError, match="SCI has samples that are no numbers, the first in integration 2, group 3, row 4, column 5"):
        saturated.run("detector1", path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- rate files that people have edited ---

CAL, I2D = 2.458821, 1.2248352  # medians of the untouched file, which the peer gives as well
CLEAR = {
    "untouched": {},
    "SCI in float64": {"SCI": lambda x: x.astype(np.float64)},
    "ERR in float64": {"ERR": lambda x: x.astype(np.float64)},
    "DQ in int16": {"DQ": lambda x: (x & 0x7FFF).astype(np.int16)},
    "DQ in int32": {"DQ": lambda x: x.view(np.int32) if x.dtype.isnative else x.astype(np.uint32).view(np.int32)},
    "DQ in int64": {"DQ": lambda x: x.astype(np.int64)},
    "DQ in float32": {"DQ": lambda x: x.astype(np.float32)},
    "DQ in float64": {"DQ": lambda x: x.astype(np.float64)},
    "no DQ": {"DQ": lambda x: None},
}


@pytest.mark.parametrize("kind", CLEAR)
def test_clear_rate_files(image, tmp_path, caplog, kind):
    """The products of the untouched file; that something was taken for something else is said once."""
    path = edited(image.rate, tmp_path / image.rate.name, CLEAR[kind])
    made = image.run("image2", path)
    np.testing.assert_allclose([np.nanmedian(made[suffix].sci) for suffix in ("cal", "i2d")], [CAL, I2D], rtol=1e-6)
    assert np.nanmax(made["cal"].var_poisson) == pytest.approx(273.97876, rel=1e-6)
    said = [r.getMessage() for r in caplog.records if r.name == "jwcal.model.exposure"]
    if kind == "untouched":
        assert said == []
    elif kind == "no DQ":
        assert said == [f"{path}: there is no DQ beside SCI: no pixel is flagged"]
    else:
        extension, _, found = kind.partition(" in ")
        assert said == [f"{path}: {extension} is {found}: read as {'uint32' if extension == 'DQ' else 'float32'}"]


def test_infinite_values(image, tmp_path, caplog):
    """They are no values: NaN and flagged in the cal file, and in the mosaic what NaN in their place gives, not infinite."""
    here = np.zeros((160, 160), bool)
    here[40:44, 50], here[100, 20] = True, True

    def holding(value):
        def change(sci):
            sci = sci.copy()
            sci[here] = value
            return sci

        return change

    made = [image.run("image2", edited(image.rate, tmp_path / image.rate.name, {"SCI": holding(value)})) for value in (np.nan, -np.inf)]
    assert_same(*made)
    assert np.isnan(made[1]["cal"].sci[here]).all() and (made[1]["cal"].dq[here] & 1).all() and np.isfinite(made[1]["i2d"].sci).all()
    said = [r.getMessage() for r in caplog.records if "infinite" in r.getMessage()]
    assert said == [f"{tmp_path / image.rate.name}: SCI has 5 infinite values: read as NaN"]


def test_all_bits_of_signed_flags(image, tmp_path):
    """int32 without the offset of unsigned numbers: the highest bit is one as the others."""
    bits = np.arange(160 * 160, dtype=np.uint32).reshape(160, 160) | np.uint32(1 << 31)
    path = edited(image.rate, tmp_path / image.rate.name, {"DQ": lambda x: bits.view(np.int32)})
    np.testing.assert_array_equal(stored.read(path).dq, bits)


# change, what the error says
WRONG = {
    "ERR narrow": ({"ERR": lambda x: x[:, :80]}, "ERR has the shape (160, 80), (160, 160) was expected beside SCI's (160, 160)"),
    "DQ short": ({"DQ": lambda x: x[:100]}, "DQ has the shape (100, 160), (160, 160) was expected"),
    "VAR_POISSON a cube": ({"VAR_POISSON": lambda x: x[None]}, "VAR_POISSON has the shape (1, 160, 160), (160, 160) was expected"),
    "VAR_RNOISE one row": ({"VAR_RNOISE": lambda x: x[:1]}, "VAR_RNOISE has the shape (1, 160), (160, 160) was expected"),
    "SCI cut out": ({"SCI": lambda x: x[10:110, 20:120]}, "ERR has the shape (160, 160), (100, 100) was expected beside SCI's (100, 100)"),
    "DQ of halves": ({"DQ": lambda x: x + 0.5}, "flags of 32 bits were expected"),
    "DQ of NaN": ({"DQ": lambda x: np.full(x.shape, np.nan)}, "DQ is float64 with the value nan, flags of 32 bits were expected"),
    "DQ below 0": ({"DQ": lambda x: np.full(x.shape, -1, np.int16)}, "DQ is int16 with the value -1, flags of 32 bits were expected"),
    "DQ too large": ({"DQ": lambda x: np.full(x.shape, 2**40, np.int64)}, "DQ is int64 with the value 1099511627776"),
    "DQ twice": ({"DQ": lambda x: [x, x]}, "it has 2 extensions DQ with EXTVER 1, one was expected"),
    "DQ of no SCI": ({"DQ": lambda x: fits.ImageHDU(x, ver=7)}, "DQ has EXTVER 7, and there is no SCI with it"),
    "ERR a table": ({"ERR": lambda x: fits.BinTableHDU(np.zeros(160, [("a", "f4")]))}, "ERR is a table, an image was expected"),
    "SCI twice": ({"SCI": lambda x: [x, x]}, "it has 2 extensions SCI with EXTVER 1"),
    "no ERR": ({"ERR": lambda x: None}, "it has no ERR, which flat_field needs: float32 of the shape (160, 160) was expected"),
    "ERR without data": ({"ERR": lambda x: fits.ImageHDU()}, "it has no ERR, which flat_field needs"),
    "no variance": ({"VAR_RNOISE": lambda x: None}, "it has no VAR_RNOISE, which flat_field needs"),
    "only SCI": (dict.fromkeys(["ERR", "DQ", "VAR_POISSON", "VAR_RNOISE", "ASDF"], lambda x: None), "it has no ERR, which"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_rate_files(image, tmp_path, monkeypatch, kind):
    """One error that names file and extension, before a step was called; nothing is written."""
    change, what = WRONG[kind]
    path = edited(image.rate, tmp_path / image.rate.name, change)
    monkeypatch.setattr("jwcal.run.loop.apply", lambda *arguments: pytest.fail("a step was called"))
    with pytest.raises(InputError) as caught:
        image.run("image2", path, tmp_path / "out")
    assert str(caught.value).startswith(f"{path}: ") and what in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_what_no_step_needs_may_be_missing(image, tmp_path):
    """Without flat field and photometry a rate file needs no errors."""
    path = edited(image.rate, tmp_path / image.rate.name, dict.fromkeys(["ERR", "VAR_POISSON", "VAR_RNOISE"], lambda x: None))
    steps = {"flat_field": {"skip": True}, "photom": {"skip": True}, "resample": {"skip": True}}
    np.testing.assert_array_equal(image.run("image2", path, steps=steps)["cal"].sci, stored.read(image.rate).sci)
    with pytest.raises(InputError, match="it has no ERR, which photom needs"):
        image.run("image2", path, steps={"flat_field": {"skip": True}})


def test_job_of_a_wrong_file(image, tmp_path):
    """A rate file that goes bad after the plan: the job says the same, and leaves nothing."""
    path = tmp_path / "data" / image.rate.name
    path.parent.mkdir()
    shutil.copy(image.rate, path)
    given = {
        "data": str(path.parent),
        "results": str(tmp_path / "results"),
        "until": "stage2",
        "references": {"crds_path": str(image.crds)},
    }
    (job,) = plan.make(given).jobs
    edited(image.rate, path, {"ERR": lambda x: x[:, :80]})
    assert jobs.run(job.recipe, tmp_path / "log") == 1
    assert "ERR has the shape (160, 80)" in jobs.failure_file(job.recipe).read_text()
    assert not any(Path(product).exists() for product in job.outputs.values())


def test_plan_remembers_what_is_wrong(image, tmp_path, monkeypatch):
    """A file that is known to be wrong is not opened again."""
    edited(image.rate, tmp_path / "data" / image.rate.name, {"DQ": lambda x: x[:100]})
    first = index.find(tmp_path / "data", tmp_path / "cache.json")
    monkeypatch.setattr(fitsheaders, "read_headers", lambda path: pytest.fail("it was read again"))
    again = index.find(tmp_path / "data", tmp_path / "cache.json")
    assert first.problems == again.problems and "DQ has the shape (100, 160)" in first.problems[0].message


# --- members ---


def association(image, folder, changes, **keywords):
    """The image with a background that was edited."""
    science = folder / image.rate.name
    shutil.copy(image.rate, science)
    background = edited(image.rate, folder / image.rate.name.replace("001_", "002_", 1), changes, **keywords)
    path = folder / "jw01234-o001_image2_00001_asn.json"
    members = f'[{{"expname": "{science.name}", "exptype": "science"}}, {{"expname": "{background.name}", "exptype": "background"}}]'
    path.write_text(f'{{"asn_type": "image2", "asn_id": "o001", "products": [{{"name": "mine", "members": {members}}}]}}')
    return path, background


BACKGROUNDS = {
    "DQ short": ({"DQ": lambda x: x[:100]}, "DQ has the shape (100, 160), (160, 160) was expected"),
    "ERR narrow": ({"ERR": lambda x: x[:, :80]}, "ERR has the shape (160, 80), (160, 160) was expected"),
    "no ERR": ({"ERR": lambda x: None}, "it has no ERR, which the combined background needs"),
}


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_wrong_backgrounds(image, tmp_path, kind):
    """The error names the background, not the exposure."""
    change, what = BACKGROUNDS[kind]
    path, background = association(image, tmp_path, change)
    with pytest.raises(InputError) as caught:
        image.run("image2", path, tmp_path / "out", steps={"bkg_subtract": {"save_combined_background": True}})
    assert str(caught.value).startswith(f"{background}: ") and what in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_clear_backgrounds(image, tmp_path):
    """SCI in float64 and no ERR: itself as its background leaves nothing."""
    path, _ = association(image, tmp_path, {"SCI": lambda x: x.astype(np.float64), "ERR": lambda x: None})
    cal = image.run("image2", path)["cal"]
    assert np.isfinite(cal.sci).any() and np.nanmax(np.abs(cal.sci)) == 0


def test_members_say_it_once(image, tmp_path, caplog):
    """However often a member is opened."""
    path = edited(image.rate, tmp_path / image.rate.name, {"DQ": lambda x: None})
    members = Members([(path, "science")], stored.read)
    for _ in range(3):
        for exposure in members.each():
            assert not exposure.dq.any()
    members.shells()
    assert [r.getMessage() for r in caplog.records] == [f"{path}: there is no DQ beside SCI: no pixel is flagged"]


# --- INT_TIMES ---


@pytest.fixture(scope="module")
def segment(tmp_path_factory):
    """The second segment, of three integrations, of a series of five."""
    options = {"exp_type": "NIS_SOSS", "detector": "NIS", "subarray": "SUBSTRIP96", "ngroups": 3, "nints": 3}
    return Case(tmp_path_factory.mktemp("segment"), identity=headers.Identity(segment=(2, 2, 3, 5, 5)), **options)


def rows(numbers):
    """A change of INT_TIMES: rows for these integrations."""

    def change(table):
        made = np.zeros(len(numbers), table.dtype.newbyteorder("="))
        made["integration_number"] = numbers
        for name in table.dtype.names[1:]:
            made[name] = 60000 + np.asarray(numbers) / 100
        return fits.BinTableHDU(made)

    return {"INT_TIMES": change}


OWN, NONE = [3, 4, 5], []


@pytest.mark.parametrize("numbers", [OWN, [1, 2, 3, 4, 5], NONE], ids=["its own", "of all segments", "none"])
def test_times_of_a_segment(segment, tmp_path, caplog, numbers):
    """The archive's have their own, Mirage's those of the whole exposure; older simulators' none."""
    path = edited(segment.uncal, tmp_path / segment.uncal.name, rows(numbers))
    index.check(path)
    times = segment.run("tso1", path)["rateints"].tables["INT_TIMES"]
    assert list(times["integration_number"]) == (OWN if numbers else NONE)
    np.testing.assert_allclose(times["int_mid_BJD_TDB"], 60000 + np.array(OWN if numbers else NONE) / 100)
    said = "INT_TIMES has the rows of all segments: 3 of 5 are its own"
    assert (said in caplog.text) == (len(numbers) == 5)


TIMES = {
    "too many": (rows(range(1, 31)), "INT_TIMES has 30 rows, 3 were expected: one for each integration of SCI"),
    "too few": (rows([3, 4]), "INT_TIMES has 2 rows, 3 were expected"),
    "of others": (rows([1, 2, 3, 4, 11]), "INT_TIMES has 2 rows for the integrations 3 to 5, 3 were expected"),
    "an image": ({"INT_TIMES": lambda t: np.zeros((3, 7))}, "INT_TIMES is an image, a table was expected"),
    "no column": (
        {"INT_TIMES": lambda t: fits.BinTableHDU(np.zeros(3, [("integration_number", "i4")]))},
        "the table INT_TIMES has no column int_start_MJD_UTC",
    ),
    "text": (
        {"INT_TIMES": lambda t: fits.BinTableHDU(np.zeros(3, [(n, "S5" if n.endswith("TDB") else "f8") for n in t.dtype.names]))},
        "the column int_start_BJD_TDB of INT_TIMES is 5A, one number a row was expected",
    ),
    "twice": ({"INT_TIMES": lambda t: [fits.BinTableHDU(t), fits.BinTableHDU(t)]}, "it has 2 extensions INT_TIMES with EXTVER 1"),
}


@pytest.mark.parametrize("kind", TIMES)
def test_wrong_times(segment, tmp_path, kind):
    change, what = TIMES[kind]
    path = edited(segment.uncal, tmp_path / segment.uncal.name, change)
    with pytest.raises(InputError) as caught:
        segment.run("tso1", path, tmp_path / "out")
    assert str(caught.value).startswith(f"{path}: ") and what in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_more_times_than_integrations_of_a_whole_exposure(saturated, tmp_path):
    """30 rows for 2: nothing says that it is a segment."""
    path = edited(saturated.uncal, tmp_path / saturated.uncal.name, rows(range(1, 31)))
    with pytest.raises(InputError, match="INT_TIMES has 30 rows, 2 were expected"):
        saturated.run("detector1", path)


# --- several SCI ---


def slits(path, **changes):
    """Two slits of their own sizes, each with its planes; `changes`: EXTNAME_EXTVER -> array."""
    primary = fits.PrimaryHDU(header=fits.Header({"TELESCOP": "JWST", "EXP_TYPE": "NRS_MSASPEC", "NINTS": 1}))
    hdus = fits.HDUList([primary])
    for number, shape in enumerate([(5, 30), (7, 40)], start=1):
        planes = dict.fromkeys(["SCI", "ERR", "VAR_POISSON", "WAVELENGTH", "PATHLOSS_UN", "BARSHADOW"], np.ones(shape, np.float32))
        planes["DQ"] = np.full(shape, number, np.uint32)
        for name, array in planes.items():
            hdus.append(fits.ImageHDU(changes.get(f"{name}_{number}", array), name=name, ver=number))
    hdus.writeto(path)
    return path


def test_slits_are_compared_by_their_number(tmp_path):
    exposure = stored.read(slits(tmp_path / "jw1_cal.fits", ERR_2=np.ones((7, 40))))
    assert [pixels.shape for pixels in exposure.pixels] == [(5, 30), (7, 40)] and exposure.pixels[1].err.dtype == np.float32
    assert [int(pixels.dq.max()) for pixels in exposure.pixels] == [1, 2]
    assert exposure.notes == ["ERR (EXTVER 2) is float64: read as float32"]


@pytest.mark.parametrize("name", ["ERR", "DQ", "VAR_POISSON", "WAVELENGTH", "PATHLOSS_UN", "BARSHADOW"])
def test_slits_with_the_planes_of_each_other(tmp_path, name):
    path = slits(tmp_path / "jw1_cal.fits", **{f"{name}_2": np.ones((5, 30), np.float32)})
    with pytest.raises(InputError) as caught:
        stored.read(path)
    assert f"{name} (EXTVER 2) has the shape (5, 30), (7, 40) was expected beside SCI's (7, 40)" in str(caught.value)


def test_slits_of_other_axes(tmp_path):
    with pytest.raises(
        InputError, match=r"SCI \(EXTVER 2\) has the shape \(2, 7, 40\), 2 axes, like those of the first SCI, were expected"
    ):
        stored.read(slits(tmp_path / "jw1_cal.fits", SCI_2=np.ones((2, 7, 40), np.float32)))


def test_flags_of_a_guider(tmp_path):
    """Guide star products have integrations and flags of the detector; rates of integrations have flags of their own."""
    path, shape = tmp_path / "jw1_cal.fits", (3, 8, 8)
    for model in ("GuiderCalModel", "CubeModel"):
        primary = fits.PrimaryHDU(header=fits.Header({"TELESCOP": "JWST", "DATAMODL": model}))
        planes = [fits.ImageHDU(np.ones(shape, np.float32), name=name) for name in ("SCI", "ERR")]
        fits.HDUList([primary, *planes, fits.ImageHDU(np.zeros(shape[1:], np.uint32), name="DQ")]).writeto(path, overwrite=True)
        if model == "GuiderCalModel":
            assert stored.read(path).dq.shape == shape[1:]
        else:
            with pytest.raises(InputError, match=r"DQ has the shape \(8, 8\), \(3, 8, 8\) was expected"):
                stored.read(path)


def test_segmentation_maps_stay_whole(tmp_path):
    """What only counts has no errors, and gets no flags."""
    labels = np.arange(12, dtype=np.int32).reshape(3, 4)
    path = tmp_path / "jw1_segm.fits"
    fits.HDUList([fits.PrimaryHDU(header=fits.Header({"TELESCOP": "JWST"})), fits.ImageHDU(labels, name="SCI")]).writeto(path)
    exposure = stored.read(path)
    assert exposure.sci.dtype == np.int32 and exposure.dq is None and exposure.notes == []


# --- all kinds of damage to all extensions of all levels ---


def cast(kind):
    return lambda a: a.astype(kind)


def no_value(a):
    a = a.astype(np.float32)
    a[..., 3, 4] = np.nan
    return a


def scaled(a):
    hdu = fits.ImageHDU(a.astype(np.float32), name="X")
    hdu.scale("int16", bscale=0.5, bzero=10)
    return hdu


SHAPES = {
    "an axis less": lambda a: a[0],
    "an axis more": lambda a: a[None],
    "five axes": lambda a: a.reshape((1,) * (5 - a.ndim) + a.shape),
    "one less": lambda a: a[:-1],
    "rows less": lambda a: a[..., :-5, :],
    "wider": lambda a: np.pad(a, [(0, 0)] * (a.ndim - 1) + [(0, 8)]),
    "one line": lambda a: a.reshape(-1),
    "one value": lambda a: a.reshape(-1)[:1],
}
TYPES = {
    **{kind: cast(kind) for kind in ("float64", "float32", "int16", "int32", "int64", "uint8", "uint16", "uint32")},
    "little-endian": lambda a: a.astype(a.dtype.newbyteorder("<")),
    "NaN": no_value,
    "halves": lambda a: a + np.float32(0.5),
    "scaled": scaled,
}
PLACES = {
    "missing": lambda a: None,
    "doubled": lambda a: [a, a],
    "EXTVER 7": lambda a: fits.ImageHDU(a, ver=7),
    "a header alone": lambda a: fits.ImageHDU(),
    "a table": lambda a: fits.BinTableHDU(np.zeros(3, [("a", "f4")])),
    "a table without rows": lambda a: fits.BinTableHDU(np.zeros(0, [("a", "f4")])),
}
DAMAGES = {**SHAPES, **TYPES, **PLACES}
EXTENSIONS = {
    "uncal": ("SCI", "PIXELDQ", "GROUPDQ", "ZEROFRAME", "REFOUT"),
    "rate": ("SCI", "ERR", "DQ", "VAR_POISSON", "VAR_RNOISE", "AREA", "WAVELENGTH"),
    "rateints": ("SCI", "ERR", "DQ", "VAR_POISSON", "VAR_RNOISE", "VAR_FLAT"),
    "cal": ("SCI", "ERR", "DQ", "VAR_POISSON", "VAR_RNOISE", "VAR_FLAT", "AREA"),
    "calints": ("SCI", "ERR", "DQ", "VAR_POISSON", "VAR_RNOISE", "VAR_FLAT", "AREA"),
}
TABLES = {
    "uncal": ("INT_TIMES", "GROUP", "ASDF"),
    "rate": ("ASDF",),
    "rateints": ("INT_TIMES", "ASDF"),
    "cal": ("ASDF",),
    "calints": ("INT_TIMES", "ASDF"),
}
OF_TABLES = {
    "missing": lambda t: None,
    "doubled": lambda t: [fits.BinTableHDU(t), fits.BinTableHDU(t)],
    "an image": lambda t: np.zeros((3, 3), np.float32),
    "a header alone": lambda t: fits.BinTableHDU(),
    "no rows": lambda t: fits.BinTableHDU(t[:0]),
    "other columns": lambda t: fits.BinTableHDU(np.zeros(len(t), [("a", "f4"), ("b", "S3")])),
    "rows more": lambda t: fits.BinTableHDU(np.resize(np.asarray(t), 2 * len(t) + 1)),
}
CASES = [(level, extension, damage) for level in CHAINS for extension in EXTENSIONS[level] for damage in DAMAGES]
CASES += [(level, table, damage) for level in CHAINS for table in TABLES[level] for damage in OF_TABLES]


@pytest.fixture(scope="module")
def levels(tiny, tiny_rate, tmp_path_factory):
    """Files with all extensions that a level can have, and what the chain that starts from each makes of it."""
    folder = tmp_path_factory.mktemp("levels")
    with fits.open(tiny.series, memmap=False) as hdus:
        sci = hdus["SCI"].data
        shape = sci.shape
        more = {"PIXELDQ": np.zeros(shape[2:], np.uint32), "GROUPDQ": np.zeros(shape, np.uint8), "ZEROFRAME": sci[:, 0].copy()}
        more["PIXELDQ"][7, 9], more["GROUPDQ"][1, 2, 5, 6] = 1, 1
    jwcal.run_pipeline("detector1", tiny.series, out=folder, crds_path=tiny.crds)
    files = {"uncal": with_planes(tiny.series, folder / tiny.series.name, **more, REFOUT=np.ones((*shape[:3], shape[3] // 4), np.uint16))}
    maps = {name: np.ones(shape[2:], np.float32) for name in ("AREA", "WAVELENGTH")}
    files["rate"] = with_planes(tiny_rate, folder / tiny_rate.name, **maps)
    ints = next(folder.glob("*_rateints.fits"))
    (folder / "all").mkdir()
    files["rateints"] = with_planes(ints, folder / "all" / ints.name, VAR_FLAT=np.ones((shape[0], *shape[2:]), np.float32))
    for level, pipeline, suffix in (("rate", "image2", "cal"), ("rateints", "tso-image2", "calints")):
        jwcal.run_pipeline(pipeline, files[level], out=folder, crds_path=tiny.crds)
        files[suffix] = next(folder.glob(f"*_{suffix}.fits"))
    return files, {level: run(tiny, level, path) for level, path in files.items()}


def run(tiny, level, path, out=None):
    if CHAINS[level].endswith("3"):
        path = alone(path, CHAINS[level])
    return jwcal.run_pipeline(CHAINS[level], path, out=out, every=True, crds_path=tiny.crds, steps=USED if level == "uncal" else {})


def alone(path, pipeline):
    """An association of one exposure."""
    asn = path.with_name("jw01234-o001_asn.json")
    members = f'[{{"expname": "{path.name}", "exptype": "science"}}]'
    asn.write_text(f'{{"asn_type": "{pipeline}", "asn_id": "o001", "products": [{{"name": "mine", "members": {members}}}]}}')
    return asn


def assert_same(made, known):
    assert set(made) == set(known)
    for suffix, exposure in made.items():
        if exposure.catalogue is not None:
            assert str(exposure.catalogue.as_array().tolist()) == str(known[suffix].catalogue.as_array().tolist())
            continue
        for name, array in exposure.pixels[0].planes():
            np.testing.assert_array_equal(array, getattr(known[suffix].pixels[0], name), err_msg=f"{suffix} {name}")


def held(path, extension):
    """An extension's numbers as astropy reads them; None where there is none."""
    with fits.open(path, memmap=False) as hdus:
        return None if extension not in hdus or hdus[extension].data is None else np.asarray(hdus[extension].data)


def assert_right(path, level, extension, damage, exposure):
    """What was read has the shapes and types that kernels expect, and the numbers of the file."""
    pixels, sci = exposure.pixels[0], exposure.sci
    planes = dict(pixels.planes())
    assert sci.dtype == np.float32 and sci.flags.c_contiguous
    for name, array in planes.items():
        flags = {"dq": np.uint32, "groupdq": np.uint8}.get(name, np.float32)
        assert array.dtype == flags and array.flags.c_contiguous
        assert array.shape == (sci.shape[-2:] if level == "uncal" and name == "dq" else sci.shape), name
    for name, array in pixels.extra.items():
        assert array.shape[-2:] == sci.shape[-2:] or name == "REFOUT"
    plane = {"PIXELDQ": "dq"}.get(extension, extension.lower())
    found = planes.get(plane, pixels.extra.get(extension))
    numbers = held(path, extension)
    if numbers is None:
        assert found is None or not found.any()
    elif extension in ("DQ", "PIXELDQ", "GROUPDQ"):
        np.testing.assert_array_equal(found.astype(np.int64), numbers.astype(np.int64) & 0xFFFFFFFF)
    else:
        wanted = numbers.astype(np.float32)
        np.testing.assert_array_equal(found, np.nan_to_num(wanted) if extension == "ZEROFRAME" else wanted)


def is_clear(extension, damage):
    """Whether the file still says the same, or says nothing that counts."""
    same = {"little-endian", "float64"} | ({"int32", "int64", "uint32"} if "DQ" in extension else set())
    return damage in same


@pytest.mark.parametrize("level", [pytest.param(one, marks=[pytest.mark.full] * one.startswith("cal")) for one in CHAINS])
def test_all_damages_are_read_rightly_or_refused(levels, tmp_path, level):
    """Each extension with each damage: an error of ours that names file and extension, or the numbers that the file holds."""
    source, refused = levels[0][level], set()
    for extension, damage in itertools.product(EXTENSIONS[level], DAMAGES):
        path = edited(source, tmp_path / source.name, {extension: DAMAGES[damage]})
        try:
            exposure = stored.read(path)
        except InputError as error:
            assert str(error).startswith(f"{path}: ") and (extension in str(error) or extension == "SCI"), (extension, damage, str(error))
            refused.add((extension, damage))
            continue
        assert_right(path, level, extension, damage, exposure)
    for extension in EXTENSIONS[level]:
        for damage in (*SHAPES, "doubled", "EXTVER 7", "a table"):
            free = extension == "REFOUT" and damage == "wider"
            lies = extension == "SCI" and damage in ("EXTVER 7", "a table")  # tested by what stands beside it
            assert ((extension, damage) in refused) != free or lies, (extension, damage)
        for damage in TYPES:
            flags = "DQ" in extension and damage in ("NaN", "halves")
            samples = level == "uncal" and extension == "SCI" and damage == "NaN"
            assert ((extension, damage) in refused) == (flags or samples), (extension, damage)


def some(cases):
    """Every eleventh in `make test`, all of them in `make parity`."""
    return [pytest.param(*case, id=" ".join(case), marks=[pytest.mark.full] * (number % 11 > 0)) for number, case in enumerate(cases)]


@pytest.mark.parametrize(("level", "extension", "damage"), some(CASES))
def test_all_damages_through_a_chain(tiny, levels, tmp_path, level, extension, damage):
    """Only our own errors, with nothing written; or products that kernels could make. Where the numbers are the same, the same products."""
    files, known = levels
    change = DAMAGES[damage] if extension in EXTENSIONS[level] else OF_TABLES[damage]
    path = edited(files[level], tmp_path / files[level].name, {extension: change})
    try:
        made = run(tiny, level, path, tmp_path / "out")
    except JwcalError as error:
        assert str(path) in str(error) and not is_clear(extension, damage)
        left = [file.name for file in (tmp_path / "out").glob("*")]
        assert not [name for name in left if "_crf" not in name]  # whole, and written before the step that found it
        return
    for suffix, exposure in made.items():
        if exposure.pixels:
            shape = known[level][suffix].sci.shape
            assert all(array.shape == shape for _, array in exposure.pixels[0].planes())
    if is_clear(extension, damage) or extension in ("GROUP", "ASDF", "REFOUT", "AREA", "WAVELENGTH"):
        assert_same(made, known[level])


# --- spectra, of which a background is made in stage 3 ---


def column(name, change, kind="f8"):
    """A change of one column of a table of float64."""

    def changed(table):
        made = np.zeros(len(table), [(n, kind if n == name else "f8") for n in table.dtype.names])
        for n in table.dtype.names:
            made[n] = change(table[n]) if n == name else table[n]
        return fits.BinTableHDU(made)

    return changed


def without(name):
    return lambda table: fits.BinTableHDU.from_columns([one for one in table.columns if one.name != name])


def of_one_row(table):
    """A vector in each column."""
    made = np.zeros(1, [(name, "f8", (len(table),)) for name in table.dtype.names])
    for name in table.dtype.names:
        made[name] = table[name]
    return fits.BinTableHDU(made)


CLEAR_SPECTRA = {
    "untouched": lambda t: fits.BinTableHDU(t),
    "float32": column("SURF_BRIGHT", np.array, "f4"),
    "rows turned round": lambda t: fits.BinTableHDU(np.asarray(t)[::-1].copy()),
    "some wavelengths NaN": column("WAVELENGTH", lambda w: np.where(np.arange(w.size) % 7 == 3, np.nan, w)),
    "vectors": of_one_row,
    "no other column": without("BACKGROUND"),
}
WRONG_SPECTRA = {
    **{damage: OF_TABLES[damage] for damage in ("missing", "doubled", "an image", "a header alone", "no rows", "other columns")},
    "one row": lambda t: fits.BinTableHDU(t[:1]),
    "no value": column("SURF_BRIGHT", lambda b: b * np.nan),
    "no wavelength": column("WAVELENGTH", lambda w: w * np.nan),
    "text": column("SURF_BRIGHT", lambda b: b"bright", "S9"),
    "wavelengths as text": column("WAVELENGTH", lambda w: b"long", "S1"),
    "truth values": column("SURF_BRIGHT", np.isfinite, "?"),
    "complex": column("SURF_BRIGHT", np.array, "c16"),
    **{f"no {name}": without(name) for name in ("WAVELENGTH", "FLUX", "SURF_BRIGHT")},
}


@pytest.mark.parametrize("kind", [*CLEAR_SPECTRA, *WRONG_SPECTRA])
def test_spectra_of_a_background(tmp_path, kind):
    """Subtracted rightly, or one error that names the spectrum before a pixel was changed."""
    science, source = background_of.cal(), stored.write(background_of.x1d(), tmp_path / "jw1_x1d.fits")
    before = science.sci.copy()
    path = edited(source, tmp_path / "edited" / source.name, {"EXTRACT1D": {**CLEAR_SPECTRA, **WRONG_SPECTRA}[kind]})
    members = Members([(science, "science"), (path, "background")], stored.read, asn_id="o001")
    if kind in CLEAR_SPECTRA:
        master_background.apply(members)
        np.testing.assert_allclose(science.sci, 5, atol=1e-4)
        return
    with pytest.raises(InputError) as caught:
        master_background.apply(members)
    assert str(caught.value).startswith(f"{path}: ")
    np.testing.assert_array_equal(science.sci, before)


# --- members that are to be combined ---

LACKING = {
    "ERR": "it has no ERR, which outlier_detection needs: float32 of the shape (64, 64) was expected",
    "VAR_RNOISE": "it has no VAR_RNOISE, and {other} has one: they can't be combined",
    "VAR_POISSON": "it has no VAR_POISSON, and {other} has one: they can't be combined",
}


def pair(levels, folder, **changes):
    """An association of two images: the first as it is, the second edited."""
    source = levels[0]["cal"]
    first = Path(shutil.copy(source, folder))
    second = edited(source, folder / source.name.replace("_00001_", "_00002_"), changes)
    asn = alone(first, "image3")
    member = f'{{"expname": "{second.name}", "exptype": "science"}}'
    asn.write_text(asn.read_text().replace("}]}]}", f"}}, {member}]}}]}}"))
    return asn, first, second


@pytest.mark.parametrize("extension", LACKING)
def test_a_member_that_lacks_an_array(tiny, levels, tmp_path, monkeypatch, extension):
    """Once a traceback, or another weight than the others', without a word."""
    asn, first, second = pair(levels, tmp_path, **{extension: lambda x: None})
    monkeypatch.setattr("jwcal.run.loop.apply", lambda *arguments: pytest.fail("a step was called"))
    with pytest.raises(InputError) as caught:
        jwcal.run_pipeline("image3", asn, out=tmp_path / "out", crds_path=tiny.crds)
    assert str(caught.value).startswith(f"{second}: {LACKING[extension].format(other=first)}. Add the extension")
    assert not (tmp_path / "out").exists()


def test_members_without_flags_or_read_noise(tiny, levels, tmp_path, caplog):
    """No flags: said once. No read noise in any: all have the same weight, and that is said."""
    asn, first, second = pair(levels, tmp_path, DQ=lambda x: None, VAR_RNOISE=lambda x: None)
    edited(levels[0]["cal"], first, {"VAR_RNOISE": lambda x: None})
    made = jwcal.run_pipeline("image3", asn, every=True, crds_path=tiny.crds)
    assert made["i2d"].extra["WHT"][8:-8, 8:-8].max() == pytest.approx(2, rel=0.02)
    said = [r.getMessage() for r in caplog.records]
    assert said.count(f"{second}: there is no DQ beside SCI: no pixel is flagged") == 1
    for path in (first, second):
        assert said.count(f"{path}: there is no VAR_RNOISE, which weights are made of: all pixels have the same") == 1


WORDS = st.sampled_from(["SCI", "DQ", "ERR", "INT_TIMES", "ASDF", "ZEROFRAME", "GROUPDQ", "", "x"])
SMALL = st.one_of(st.integers(-2, 70), st.booleans(), st.floats(), st.text(max_size=5))
AXES = {f"NAXIS{n}": st.integers(0, 70) for n in range(1, 6)}
HEADERS = st.fixed_dictionaries(
    {"EXTNAME": WORDS, "XTENSION": st.sampled_from(["IMAGE", "BINTABLE", "TABLE"]), "NAXIS": st.integers(0, 5), **AXES},
    optional={"BITPIX": st.sampled_from([8, 16, -32, 7]), "EXTVER": SMALL, "BSCALE": SMALL, "BZERO": SMALL, "TFIELDS": SMALL},
)
KEYWORDS = st.dictionaries(st.sampled_from(["NINTS", "INTSTART", "INTEND", "DATAMODL"]), SMALL)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(HEADERS, max_size=5), KEYWORDS)
def test_headers_of_any_content(found, keywords):
    """What planning asks about headers that nobody has looked at yet has an answer."""
    extensions = [arrays.described({"BITPIX": 16, **header}) for header in found]
    wrong = arrays.fault(extensions, keywords)
    assert isinstance(wrong, str)
    if not wrong and any(e.name == "SCI" and e.shape for e in extensions):
        arrays.notes(extensions)


def test_exposures_in_memory_have_no_notes():
    assert Exposure(None).notes == []
