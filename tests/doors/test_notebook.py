"""In a notebook: products say what they are, have the keywords of their files, write themselves and hand on their spectra and tables."""

import inspect
import io
from pathlib import Path

import nbformat
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from PIL import Image

import jwcal
import notebook_page
from jwcal.simulate.modes import MODES
from jwcal.vocabulary.errors import InputError

PAGE = Path(__file__).resolve().parents[2] / "docs/notebook"


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A rate in memory, its file, and its cal."""
    folder = tmp_path_factory.mktemp("notebook")
    made = MODES["nis_taconfirm"].make(folder)
    rate = jwcal.run_pipeline("detector1", made.uncals[0], out=folder, crds_path=str(made.crds))
    return folder, made, rate


def test_a_product_says_what_it_is(image):
    _, made, rate = image
    assert repr(rate).startswith("<rate of jw01234001001_02101_00001_nis: NIRISS NIS NIS_TACONFIRM, F480M NRM, 64 x 64 DN/s, steps: ")
    assert "jump" in repr(rate) and "ramp_fit" in repr(rate)
    uncal = jwcal.open(made.uncals[0])
    assert repr(uncal).startswith("<uncal of ") and "1 x 5 x 64 x 64" in repr(uncal) and "no step is done" in repr(uncal)


def test_keywords_in_memory_are_those_of_the_file(image):
    folder, _, rate = image
    written = fits.getheader(folder / rate.filename)
    different = {key for key in written if key not in ("HISTORY", "COMMENT", "", "EXTEND", "DATE") and written[key] != rate.header.get(key)}
    assert not different and rate.header["S_RAMP"] == "COMPLETE" and rate.header["R_GAIN"].startswith("crds://")


def test_to_a_file_and_back(image, tmp_path):
    folder, _, rate = image
    path = rate.write(tmp_path / rate.filename)
    wanted = folder / rate.filename
    with fits.open(path) as ours, fits.open(wanted) as theirs:
        assert [hdu.name for hdu in ours] == [hdu.name for hdu in theirs]
        assert np.array_equal(ours["SCI"].data, theirs["SCI"].data, equal_nan=True)
        assert ours[0].header == theirs[0].header
    again = jwcal.open(path)
    assert repr(again) == repr(rate)  # what was done the keywords tell too
    assert np.array_equal(again.sci, rate.sci, equal_nan=True)
    hdus = rate.to_hdulist()
    assert [hdu.name for hdu in hdus] == [hdu.name for hdu in fits.open(wanted)] and hdus[0].header["FILENAME"] == rate.filename


def test_one_pipeline_after_the_other(image, tmp_path):
    _, made, _ = image
    rate = jwcal.run_pipeline("detector1", made.uncals[0], crds_path=str(made.crds))
    cal = jwcal.run_pipeline("image2", rate, crds_path=str(made.crds))
    assert cal.suffix == "cal" and cal.header["BUNIT"] == "MJy/sr" and "photom" in repr(cal)
    assert cal.header["FILENAME"].endswith("_cal.fits")
    assert repr(jwcal.open(cal.write(tmp_path / cal.filename))) == repr(cal)  # its steps in the order in which they were done


def test_a_table_says_what_it_is(tmp_path):
    Table({"label": [1, 2], "flux": [3.0, 4.0]}).write(tmp_path / "jw01234-o001_t001_nircam_clear-f200w_cat.ecsv")
    made = jwcal.open(tmp_path / "jw01234-o001_t001_nircam_clear-f200w_cat.ecsv")
    assert repr(made) == "<cat of jw01234-o001_t001_nircam_clear-f200w: a table of 2 rows with label, flux>"
    assert made.to_tables()[0]["flux"].tolist() == [3.0, 4.0]


def test_what_can_t_be_opened(tmp_path):
    for name in ("x_cal.fits", "x_cat.ecsv"):
        with pytest.raises(InputError):
            jwcal.open(tmp_path / name)


def test_help():
    for function in (jwcal.run_pipeline, jwcal.open):
        text = inspect.getdoc(function)
        assert all(f"{section}\n-----" in text for section in ("Parameters", "Returns", "Raises"))


def spectra(folder, rows=None):
    """An x1d as the workflow writes it: of one spectrum, or of a row each."""
    from jwcal.model import spectra as of
    from jwcal.model.exposure import Exposure, Header
    from jwcal.products import stored

    about = {"TELESCOP": "JWST", "INSTRUME": "MIRI", "DETECTOR": "MIRIMAGE", "EXP_TYPE": "MIR_LRS-SLITLESS", "FILTER": "P750L"}
    made = Exposure(Header(fits.Header(about), fits.Header(), "jw1_x1d.fits"), suffix="x1dints" if rows else "x1d")
    table = of.empty_table("tso" if rows else "", rows or 5, 5 if rows else None)
    table["WAVELENGTH"], table["FLUX"], table["FLUX_ERROR"], table["DQ"] = np.arange(5.0, 10), 1e-3, 1e-5, [0, 0, 1, 0, 0]
    if rows:
        table["N_ALONGDISP"] = 4
    one = of.Spectrum(table)
    one.set_units({"WAVELENGTH": "um", "FLUX": "Jy", "FLUX_ERROR": "Jy"})
    made.spectra = [one]
    path = folder / f"jw1_{made.suffix}.fits"
    stored.write(made, path)
    return jwcal.open(path)


@pytest.mark.parametrize("rows", [None, 3])
def test_tables_and_spectra(tmp_path, rows):
    product = spectra(tmp_path, rows)
    (table,) = product.to_tables()
    assert table["FLUX"].unit == "Jy" and "1 spectrum" in repr(product)
    specutils = pytest.importorskip("specutils", reason="it is an option")
    found = product.to_spectra()
    assert len(found) == (rows or 1) and isinstance(found[0], getattr(specutils, "Spectrum", None) or specutils.Spectrum1D)
    assert found[0].flux.unit == "Jy" and len(found[0].flux) == (4 if rows else 5) and found[0].mask[2]


def test_without_spectra(image):
    with pytest.raises(InputError, match="no spectra"):
        image[2].to_spectra()


# --- the page ---


def test_the_page_has_the_cells_of_its_script():
    cells = notebook_page.read((PAGE / "example.py").read_text())
    written = nbformat.read(PAGE / "example.ipynb", 4)
    nbformat.validate(written)
    assert [(cell.source, cell.cell_type == "code") for cell in written.cells] == [(cell.text, cell.is_code) for cell in cells]
    text = (PAGE / "README.md").read_text()
    assert all(cell.text in text for cell in cells), "make notebook"
    assert sum(path.stat().st_size for path in PAGE.iterdir()) < 400_000


@pytest.mark.full
def test_the_page_is_what_its_cells_give():
    """Word for word, and the pictures as near as two machines' roundings are: 3 of 255 levels in the mean."""
    cells = notebook_page.run(PAGE / "example.py")
    assert notebook_page.page(cells) == (PAGE / "README.md").read_text(), "make notebook"
    drawn = [png for cell in cells for png in cell.pictures]
    kept = sorted(PAGE.glob("picture_*.png"))
    assert len(drawn) == len(kept) >= 2
    for png, path in zip(drawn, kept, strict=True):
        ours, theirs = (np.asarray(Image.open(one).convert("RGB"), dtype=float) for one in (io.BytesIO(png), path))
        assert ours.shape == theirs.shape and np.abs(ours - theirs).mean() < 3
    written = nbformat.read(PAGE / "example.ipynb", 4)
    again = nbformat.reads(notebook_page.notebook(cells), 4)
    assert texts(written) == texts(again)


def texts(notebook):
    """What the cells of a notebook have printed and shown, but for pictures."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [output.get("text") or output.data.get("text/plain") for output in outputs]
