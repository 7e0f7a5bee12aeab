"""The page that tells of a run: what it says, what it draws, and how a browser shows it."""

import json
import logging
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from stdatamodels.jwst import datamodels

from jwcal.provenance import records
from jwcal.report import drawing, measure, page, pictures, remains, words
from jwcal.report.__main__ import main
from jwcal.vocabulary.errors import InputError
from jwcal.workflow import jobs, plan

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="there is no chromium: apt-get install chromium")
NUMBER = "2103"  # of the exposure that is truncated after the plan is made
HOSTILE = "</script><script>alert(1)</script><b>bold"


@pytest.fixture(scope="module")
def results(tiny, tmp_path_factory):
    """What a run leaves: an image, a time series, an exposure that fails, a file that can't be used, and a name that is not nice."""
    folder = tmp_path_factory.mktemp("report") / "ein prógramm"
    data = folder / "data"
    data.mkdir(parents=True)
    for source in (tiny.image, tiny.series):
        shutil.copy(source, data)
    with fits.open(data / tiny.series.name, mode="update") as hdus:
        hdus[0].header["TARGNAME"] = (HOSTILE, "")
    failing = shutil.copy(tiny.image, data / tiny.image.name.replace("_02101_", f"_0{NUMBER}_"))
    (data / tiny.image.name.replace("_02101_", "_02104_")).write_bytes(tiny.image.read_bytes()[:30_000])
    settings = {"data": str(data), "results": str(folder / "results"), "references": {"crds_path": str(tiny.crds)}, "save": ["ramp"]}
    made = plan.make({**settings, "until": "stage2", "steps": {"jump": {"rejection_threshold": 4.5}}})
    with open(failing, "r+b") as file:
        file.truncate(40_000)
    before = logging.getLogger().handlers[:]
    for job in made.jobs:
        if not Path(job.input).exists():
            continue  # as Snakemake does after a failure
        if jobs.run(job.recipe, folder / "results" / "logs" / f"{job.exposure}.{job.rule}.log"):
            continue
        for path in map(records.record_path, job.outputs.values()):
            record = json.loads(path.read_text())
            path.write_text(json.dumps({**record, "run": {**record["run"], "seconds": 75.5, "peak_mb": 321}}))
    logging.getLogger().handlers[:] = before
    return folder / "results"


@pytest.fixture(scope="module")
def html(results):
    assert main([str(results), "--cores", "1"]) == 0
    return (results / "report.html").read_text()


def embedded(html):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, flags=re.DOTALL).group(1))


class Text(HTMLParser):
    """The text of a page as a person reads it, and the addresses that it loads."""

    def __init__(self, html):
        super().__init__()
        self.parts, self.hidden, self.loads, self.tags = [], 0, [], []
        self.feed(html)
        self.text = re.sub(r"\s+", " ", " ".join(self.parts))

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.hidden += tag in ("script", "style")
        self.loads += [value for name, value in attributes if name in ("src", "srcset") or (tag == "link" and name == "href")]

    def handle_endtag(self, tag):
        self.hidden -= tag in ("script", "style")

    def handle_data(self, data):
        if not self.hidden:
            self.parts.append(data)


# --- what it says ---


def test_state_of_the_jobs(results):
    found = remains.read(results)
    states = {(job.exposure.split("_")[1], job.stage): job.state for job in found.jobs}
    assert states == {
        ("02101", "stage1"): remains.DONE,
        ("02101", "stage2"): remains.DONE,
        ("02102", "stage1"): remains.DONE,
        ("02102", "stage2"): remains.DONE,
        (f"0{NUMBER}", "stage1"): remains.FAILED,
        (f"0{NUMBER}", "stage2"): remains.WAITING,
    }
    assert {product.suffix for _, product in found.products} == {"ramp", "rate", "rateints", "cal", "i2d", "calints"}
    assert len(found.problems) == 1


def test_the_page_stands_alone(html):
    found = Text(html)
    assert all(address.startswith("data:") for address in found.loads)
    assert len(found.loads) > 4
    assert not re.search(r"@import|url\(\s*['\"]?(?!data:|#)", html)


def test_failures_have_their_message_and_log(html):
    text = Text(html).text
    assert "the file is truncated: 40000 bytes" in text
    assert "Fetch the file again." in text
    assert "ERROR jwcal.workflow.jobs" in text  # the end of the log
    assert "the file is truncated: 30000 bytes" in text  # the file that can't be used


def test_numbers_of_the_overview(html):
    text = Text(html).text
    assert "exposures finished 2 of 4 products 9 " in text
    assert " failed 1 can’t be used 1 not reached 1 " in text
    assert "Stage 1 detector1 1 1 0 2 " in text
    assert "Stage 2 image2 1 0 1 2 " in text
    assert "Stage 1 detector1 1 1 min 16 s 1 min 16 s 1 min 16 s 321 MB 321 MB" in text


def test_parameters_that_were_set(html):
    """Of the image and the series: their stage 1 products are six."""
    text = Text(html).text
    assert re.search(r"detector1 jump\.rejection_threshold 4\.5 4\.0 steps\.jump\.rejection_threshold 3 ", text)
    assert re.search(r"tso1 jump\.rejection_threshold 4\.5 4\.0 steps\.jump\.rejection_threshold 3 ", text)


def test_each_product_with_its_provenance(html):
    data = embedded(html)
    row = next(row for row in data["rows"] if row["name"].endswith("_02101_00001_nrcb1_cal.fits"))
    made = data["pool"]["made_from"][row["made_from"]]
    assert [name for name, _, _ in row["inputs"]] == [row["name"].replace("_cal", "_rate")]
    assert re.fullmatch("[0-9a-f]{32}", row["digest"])
    assert made["references"]["flat"].endswith(".fits") or "flat" in made["references"]
    assert [step for step, _, _ in data["pool"]["steps"][row["steps"]]] == ["assign_wcs", "flat_field", "photom", "resample"] or row[
        "steps"
    ] >= 0
    assert row["seconds"] == 75.5 and row["mb"] == 321
    assert row["href"] == f"stage2/{row['name']}"


def test_what_comes_from_headers_is_text(html):
    """A target's name can't become a part of the page."""
    found = Text(html)
    assert HOSTILE in found.text
    assert "alert(1)</script>" not in html
    assert found.tags.count("script") == 2  # the data and the script
    row = embedded(html)["pool"]["keywords"]
    assert HOSTILE in {keywords["TARGNAME"] for keywords in row}


def test_the_same_page_again(results, html):
    main([str(results), "--cores", "1"])
    assert (results / "report.html").read_text() == html
    shutil.rmtree(results / ".jwcal/report")
    main([str(results), "--cores", "2"])
    assert (results / "report.html").read_text() == html


def test_unchanged_products_are_not_opened_again(results, html, monkeypatch):
    monkeypatch.setattr(measure, "_look", lambda *_: pytest.fail("a product was opened"))
    main([str(results), "--cores", "1"])


def test_a_product_that_was_damaged_since(results, html, tmp_path):
    shutil.copytree(results, tmp_path / "results")
    broken = next((tmp_path / "results/stage2").glob("*_cal.fits"))
    broken.write_bytes(broken.read_bytes()[:20_000])
    assert main([str(tmp_path / "results"), "--cores", "1"]) == 0
    row = next(row for row in embedded((tmp_path / "results/report.html").read_text())["rows"] if row["name"] == broken.name)
    assert "Fetch the file again" in row["problem"] and row["pictures"] == 0


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(InputError, match="no run has left its plan there"):
        main([str(tmp_path)])


def test_few_pictures_are_of_all_kinds(results):
    products = remains.read(results).products
    kinds = {(job.stage, job.pipeline, product.suffix) for job, product in products}
    drawn = page.chosen(products, len(kinds))
    assert {(job.stage, job.pipeline, product.suffix) for job, product in products if product.path in drawn} == kinds
    assert page.chosen(products, 0) == set()
    assert len(page.chosen(products, 1000)) == len(products)


@pytest.mark.parametrize(
    "seconds, text",
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (59.9, "1 min 0 s"), (3599.7, "1 h 0 min"), (7500, "2 h 5 min"), (None, "–")],
)
def test_durations(seconds, text):
    assert words.duration(seconds) == text


# --- what it draws ---


def write(path, sci, dq=None, **keywords):
    """A product with these pixels."""
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.asarray(sci, np.float32), name="SCI")]
    hdus[1].header["BUNIT"] = "DN/s"
    hdus[0].header.update(keywords)
    if dq is not None:
        hdus.append(fits.ImageHDU(np.asarray(dq, np.uint32), name="DQ"))
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def test_flag_fractions(tmp_path):
    dq = np.zeros((2, 10, 10), np.uint32)
    dq[0, :2] = 1 | 4
    dq[1, 0] = 2**31
    sci = np.ones(dq.shape)
    sci[0, 0, 0] = np.nan
    found = measure.flags(write(tmp_path / "jw1_rateints.fits", sci, dq))
    assert found == {"DO_NOT_USE": 0.1, "SATURATED": 0, "JUMP_DET": 0.1, "REFERENCE_PIXEL": 0.05, "NO_VALUE": 0.005}


def test_flags_of_a_ramp_are_those_of_any_group(tmp_path):
    pixeldq, groupdq = np.zeros((10, 10), np.uint32), np.zeros((2, 4, 10, 10), np.uint8)
    pixeldq[0] = 1
    groupdq[0, 1, 1], groupdq[0, 3, 1], groupdq[1, 2, 2, :5] = 4, 4, 2
    hdus = [fits.ImageHDU(np.zeros(groupdq.shape, np.float32), name="SCI"), fits.ImageHDU(pixeldq, name="PIXELDQ")]
    fits.HDUList([fits.PrimaryHDU(), *hdus, fits.ImageHDU(groupdq, name="GROUPDQ")]).writeto(tmp_path / "jw1_ramp.fits")
    assert measure.flags(tmp_path / "jw1_ramp.fits") == {"DO_NOT_USE": 0.1, "SATURATED": 0.025, "JUMP_DET": 0.05}


def test_image_keeps_its_mean_and_its_colours(tmp_path):
    rng = np.random.default_rng(1)
    values = rng.normal(5, 1, (1000, 900))
    values[:3, :3] = np.nan
    values[500, 500] = 1e5
    (image,) = pictures.pictures(write(tmp_path / "jw1_rate.fits", values))
    assert image.low == pytest.approx(3, abs=0.1) and image.high == pytest.approx(25, abs=0.5)
    small = pictures.smaller(image.values, 384)
    assert small.shape == (334, 300)  # the last row is of what was left over
    assert np.isnan(small[0, 0])
    np.testing.assert_allclose(small[1:333], values[3:999].reshape(332, 3, 300, 3).mean(axis=(1, 3)), rtol=1e-5)
    np.testing.assert_allclose(small[333], values[999].reshape(300, 3).mean(axis=1), rtol=1e-5)
    drawn = drawing.web(image)
    assert (drawn["width"], drawn["height"], drawn["unit"]) == (300, 334, "DN/s")


def test_colours_of_an_image():
    """The first row is at the bottom; a pixel without a value is blue."""
    import base64
    import io

    from PIL import Image

    drawn = drawing.web(pictures.Image(np.array([[0.0, 1.0], [np.nan, 0.0]], np.float32), 0, 1, "", ""))
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(drawn["src"].partition(",")[2]))))
    dark, bright, blue = (0, 0, 4), (252, 255, 164), (0x44, 0x77, 0xAA)
    np.testing.assert_allclose(pixels, [[blue, dark], [dark, bright]], atol=2)


def test_light_curve_is_the_sum_of_good_pixels(tmp_path):
    depth = np.array([1, 1, 0.9, 0.9, 1, 1])
    sci = np.full((6, 8, 8), 10.0) * depth[:, None, None]
    dq = np.zeros(sci.shape, np.uint32)
    sci[2, 3, 3], dq[2, 3, 3] = 1e6, 1
    sci[4, 5, 5] = np.nan
    image, curve = pictures.pictures(write(tmp_path / "jw1_calints.fits", sci, dq))
    np.testing.assert_allclose(curve.y[0], depth / np.median(depth), rtol=1e-12)
    np.testing.assert_array_equal(curve.x[0], np.arange(1, 7))
    assert "62 pixels" in curve.caption
    assert "6 integrations" in image.caption


def test_light_curve_against_time(results):
    """The tiny series has two integrations, which are no curve; more of them have the times of INT_TIMES."""
    series = next((results / "stage2").glob("*_calints.fits"))
    assert len(pictures.pictures(series)) == 1
    with fits.open(series) as hdus:
        days = np.arange(6) / 1440
        table = np.zeros(6, [("integration_number", "i4"), ("int_mid_MJD_UTC", "f8"), ("int_mid_BJD_TDB", "f8")])
        table["int_mid_BJD_TDB"] = 60000 + days
        new = fits.HDUList([hdus[0], fits.ImageHDU(np.ones((6, 8, 8), np.float32), name="SCI"), fits.BinTableHDU(table, name="INT_TIMES")])
        new.writeto(series.parents[2] / "jw1_calints.fits", overwrite=True)
    _, curve = pictures.pictures(series.parents[2] / "jw1_calints.fits")
    np.testing.assert_allclose(curve.x[0], np.arange(6), atol=1e-6)
    assert curve.x_label == "minutes since the first integration"


def test_spectra_of_several_sources(tmp_path):
    model = datamodels.MultiSpecModel()
    for number in range(2):
        table = np.zeros(50, datamodels.SpecModel().get_dtype("spec_table"))
        table["WAVELENGTH"], table["FLUX"], table["NPIXELS"] = np.linspace(1, 2, 50), number + 1, 1
        model.spec.append(datamodels.SpecModel(spec_table=table))
    model.save(tmp_path / "jw1_x1d.fits")
    (curves,) = pictures.pictures(tmp_path / "jw1_x1d.fits")
    assert curves.caption == "2 spectra"
    np.testing.assert_array_equal([np.unique(y) for y in curves.y], [[1], [2]])
    np.testing.assert_allclose(curves.x[0], np.linspace(1, 2, 50))
    assert curves.y_label.startswith("flux")


def test_spectra_of_a_time_series(tmp_path):
    """One table with a row an integration."""
    rows = np.zeros(20, [("INT_NUM", "i4"), ("WAVELENGTH", "f8", 30), ("FLUX", "f8", 30)])
    rows["WAVELENGTH"] = np.linspace(3, 5, 30)
    rows["FLUX"] = np.where(np.arange(20) < 10, 1.0, 0.98)[:, None] * np.linspace(1, 4, 30)
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(rows, name="EXTRACT1D")]).writeto(tmp_path / "jw1_x1dints.fits")
    curve, image = pictures.pictures(tmp_path / "jw1_x1dints.fits")
    np.testing.assert_allclose(curve.y[0], 0.99 * np.linspace(1, 4, 30))
    assert image.values.shape == (20, 30)
    assert np.ptp(image.values[:10]) < 1e-6 and image.values[0, 0] > image.values[-1, 0]


def test_white_light(tmp_path):
    path = tmp_path / "jw1_whtlt.ecsv"
    Table({"MJD_UTC": [60000.0, 60000.5], "whitelight_flux_order_1": [2.0, 4.0]}).write(path, format="ascii.ecsv")
    (curves,) = pictures.pictures(path)
    np.testing.assert_allclose(curves.x[0], [0, 720])
    np.testing.assert_allclose(curves.y[0], [2 / 3, 4 / 3])


def test_cube(tmp_path):
    sci = np.broadcast_to(np.arange(1.0, 6.0)[:, None, None], (5, 4, 4))
    image, curve = pictures.pictures(write(tmp_path / "jw1_s3d.fits", sci))
    np.testing.assert_allclose(image.values, 3)
    np.testing.assert_allclose(curve.y[0], 16 * np.arange(1.0, 6.0))


def test_a_product_that_lacks_what_its_name_promises(tmp_path):
    fits.HDUList([fits.PrimaryHDU()]).writeto(tmp_path / "jw1_rate.fits")
    with pytest.raises(InputError, match="SCI"):
        pictures.pictures(tmp_path / "jw1_rate.fits")
    assert pictures.pictures(tmp_path / "jw1_unheard.fits") == []


def test_curves_have_the_colour_of_the_page(tmp_path):
    svg = drawing.web(pictures.Curves([np.arange(5.0)], [np.arange(5.0)], "x", "y", "a line"))["svg"]
    assert svg.startswith("<svg") and svg.rstrip().endswith("</svg>")
    assert "currentColor" in svg and drawing.INK not in svg
    assert "http" not in re.sub(r'xmlns(:xlink)?="[^"]*"', "", svg)


# --- how a browser shows it ---


def browse(path, *arguments, tmp_path):
    """Run the browser on a page; its standard output, and what it wrote to the console."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={tmp_path}", "--enable-logging=stderr"]
    command = [BROWSER, *options, "--virtual-time-budget=10000", *arguments, Path(path).as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@needs_browser
def test_the_table_in_a_browser(results, html, tmp_path):
    dom, console = browse(results / "report.html", "--dump-dom", tmp_path=tmp_path)
    assert console == []
    table = re.search(r'<table id="table">(.*?)</table>', dom, flags=re.DOTALL).group(1)
    names = re.findall(r'<th class="" scope="row"><button[^>]*>([^<]*)</button>', table)
    assert sorted(f"{name}.fits" for name in names) == sorted(row["name"] for row in embedded(html)["rows"])
    assert "9 products" in dom


@needs_browser
@pytest.mark.parametrize(
    "act, expected",
    [
        ('form.text.value = "i2d nrcb1"; form.dispatchEvent(new Event("input"))', "1 of 9 products"),
        ('form.suffix.value = "cal"; form.dispatchEvent(new Event("input"))', "1 of 9 products"),
        ("table.tHead.rows[0].cells[0].firstChild.click()", 'aria-sort="ascending"'),
        ('document.querySelector("figure button").click()', '<dialog id="product" aria-labelledby="product-name" open="">'),
        ("rows.forEach(show.bind(null))", None),
    ],
)
def test_what_a_person_does(results, html, tmp_path, act, expected):
    act = act if expected else "for (const row of rows) { show(row); dialog.close(); } document.title = 'all shown'"
    (tmp_path / "page.html").write_text(html.replace("</body>", f"<script>{act}</script></body>"))
    dom, console = browse(tmp_path / "page.html", "--dump-dom", tmp_path=tmp_path)
    assert console == []
    assert (expected or "<title>all shown</title>") in dom


@needs_browser
@pytest.mark.parametrize("width, height", [(1280, 2400), (500, 2400)])
def test_a_picture_of_the_page(results, html, tmp_path, width, height):
    """It is not blank, and nothing is wider than the window."""
    from PIL import Image

    measuring = "<script>document.title = document.documentElement.scrollWidth - innerWidth</script></body>"
    (tmp_path / "page.html").write_text(html.replace("</body>", measuring))
    size = f"--window-size={width},{height}"
    dom, _ = browse(tmp_path / "page.html", size, "--dump-dom", tmp_path=tmp_path)
    assert int(re.search("<title>(.*?)</title>", dom).group(1)) <= 0
    browse(results / "report.html", size, f"--screenshot={tmp_path}/page.png", tmp_path=tmp_path)
    pixels = np.asarray(Image.open(tmp_path / "page.png").convert("RGB")).astype(int)
    assert pixels.shape[:2] == (height, width)
    paper = pixels[2, 2]
    written = np.abs(pixels - paper).sum(axis=2) > 60
    assert 0.02 < written.mean() < 0.7
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 200  # the pictures of products


# --- signs of life ---


@pytest.mark.parametrize("cores", [1, 2])
def test_it_says_how_far_it_is(results, tmp_path, monkeypatch, cores):
    """Every few seconds, on one core and on several; what it finds is the same."""
    monkeypatch.setattr(page, "EVERY", 0.0)
    said, products = [], remains.read(results).products
    found = page.look(products, tmp_path / "cache", 400, cores, lambda *words: said.append(words))
    assert list(found) == [product.path for _, product in products] and len(products) >= 4
    assert said and said == sorted(said) and {number for _, number in said} == {len(products)} and said[-1][0] < len(products)
    assert found == page.look(products, tmp_path / "cache", 400, 1)
