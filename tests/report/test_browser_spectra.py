"""A browser shows the pictures of spectra and of stage 3: all are there, of their sizes, and opened one by one without an error."""

import re

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable, Table
from test_pictures_stage3 import band, images, noise, spectrum
from test_report import browse, embedded, needs_browser

from jwcal.report import measure, page, remains

TIMES = np.linspace(60000.0, 60000.2, 8)


def made(folder):
    """One product of each kind that has a picture of its own: pipeline -> paths."""
    place = folder / "stage3"
    place.mkdir()
    mosaic = images(place / "jw1-o001_i2d.fits", (noise((40, 60)), {}))
    QTable({"xcentroid": [10.0, 50.0], "ycentroid": [30.0, 5.0]}).write(place / "jw1-o001_cat.ecsv", format="ascii.ecsv")
    rectified = images(place / "jw1-o002_s2d.fits", (noise((40, 200)), {"SLTNAME": "B"}))
    cards = {"DISPAXIS": 1, "EXTRYSTR": 14.0, "EXTRYSTP": 26.0, "BKG1STR": 2.0, "BKG1STP": 8.0}
    extracted = place / "jw1-o002_x1d.fits"
    fits.HDUList([fits.PrimaryHDU(), spectrum("B", **cards)]).writeto(extracted)
    bands = [band(place / f"jw1-o003_ch{n}-short_x1d.fits", n, np.linspace(5.0 * n, 5.0 * n + 1, 50), np.ones(50)) for n in (1, 2)]
    cube = images(place / "jw1-o003_ch1-short_s3d.fits", (noise((30, 20, 25)), {"CRVAL3": 5.0, "CDELT3": 0.01, "CRPIX3": 1.0}))
    series = place / "jw1-o004_x1dints.fits"
    rows = np.zeros(8, [("INT_NUM", "i4"), ("WAVELENGTH", "f8", 30), ("FLUX", "f8", 30)])
    rows["WAVELENGTH"], rows["FLUX"] = np.linspace(3, 5, 30), 2 + noise((8, 30))
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(rows, name="EXTRACT1D")]).writeto(series)
    white = place / "jw1-o004_whtlt.ecsv"
    Table({"MJD_UTC": TIMES, "whitelight_flux_order_1": noise(8), "whitelight_flux_order_2": noise(8)}).write(white, format="ascii.ecsv")
    star = place / "jw1-o005_phot.ecsv"
    QTable({"MJD": TIMES, "net_aperture_sum": noise(8), "net_aperture_sum_err": np.full(8, 0.1)}).write(star, format="ascii.ecsv")
    subtracted = images(place / "jw1-o006_psfsub.fits", (noise((2, 30, 30)), {}))
    contrast = place / "jw1-o006_contrast.ecsv"
    Table({"separation": [0.1, 0.5], "flux_limit": [1.0, 0.1], "contrast": [1e-3, 1e-4]}).write(contrast)
    fringes = place / "jw1-o007_aminorm-oi.fits"
    wave = np.array([(4e-6, 2e-7)], [("EFF_WAVE", "f4"), ("EFF_BAND", "f4")])
    vis = np.array([(0.9, 0.01, 3.0, 4.0)], [("VIS2DATA", "f8"), ("VIS2ERR", "f8"), ("UCOORD", "f8"), ("VCOORD", "f8")])
    t3 = np.array([(2.0, 0.5, 3.0, 0.0, 0.0, 4.0)], [(f, "f8") for f in "T3PHI T3PHIERR U1COORD V1COORD U2COORD V2COORD".split()])
    tables = [fits.BinTableHDU(array, name=name) for name, array in (("OI_WAVELENGTH", wave), ("OI_VIS2", vis), ("OI_T3", t3))]
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(fringes)
    return {
        "image3": [mosaic],
        "spec3": [rectified, extracted, cube, *bands],
        "tso3": [series, white, star],
        "coron3": [subtracted, contrast],
        "ami3": [fringes],
    }


PICTURES = {  # of each product: images, curves
    "i2d": (1, 0),
    "s2d": (1, 0),
    "x1d": (0, 1),
    "s3d": (1, 1),
    "x1dints": (1, 1),
    "whtlt": (0, 1),
    "phot": (0, 1),
    "psfsub": (1, 0),
    "contrast": (0, 1),
    "aminorm-oi": (0, 2),
}


def suffix(path):
    return path.name.split(".")[0].rpartition("_")[2]


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stage3")
    jobs = [
        remains.Job(pipeline, "stage3", pipeline, [remains.Product(path, suffix(path), True) for path in paths], folder / "log")
        for pipeline, paths in made(folder).items()
    ]
    results = remains.Results(folder, jobs, [], [], [], {}, [], [], {})
    found = {product.path: measure.measured(product.path) for _, product in results.products}
    assert not [said["problem"] for said in found.values() if said.get("problem")]
    return page.page(results, found, folder)


SHOW_ALL = """
const sizes = [];
for (const row of rows) {
  show(row);
  const shown = dialog.querySelectorAll("figure img, figure svg, img, svg");
  const drawn = [...shown].map(one => one.getBoundingClientRect()).filter(box => box.width > 20 && box.height > 10);
  const inside = drawn.every(box => box.right <= innerWidth + 1);
  sizes.push([row.suffix, dialog.querySelectorAll("img").length, dialog.querySelectorAll("svg").length, drawn.length, inside].join(" "));
  dialog.close();
}
document.body.dataset.shown = sizes.join("|");
"""


@needs_browser
@pytest.mark.parametrize("width", [1280, pytest.param(500, marks=pytest.mark.full)])
def test_all_pictures_are_shown(html, tmp_path, width):
    (tmp_path / "page.html").write_text(html.replace("</body>", f"<script>{SHOW_ALL}</script></body>"))
    dom, console = browse(tmp_path / "page.html", f"--window-size={width},2000", "--dump-dom", tmp_path=tmp_path)
    assert console == []
    shown = [line.split() for line in re.search('data-shown="(.*?)"', dom).group(1).split("|")]
    assert len(shown) == len(embedded(html)["rows"]) == 12
    for suffix, pictures, curves, drawn, inside in shown:
        assert (int(pictures), int(curves)) == PICTURES[suffix], suffix
        assert (int(drawn), inside) == (sum(PICTURES[suffix]), "true"), suffix


@needs_browser
def test_nothing_of_the_gallery_is_wider_than_the_window(html, tmp_path):
    measuring = "<script>document.title = document.documentElement.scrollWidth - innerWidth</script></body>"
    (tmp_path / "page.html").write_text(html.replace("</body>", measuring))
    dom, console = browse(tmp_path / "page.html", "--window-size=500,3000", "--dump-dom", tmp_path=tmp_path)
    assert console == [] and int(re.search("<title>(.*?)</title>", dom).group(1)) <= 0
    names = re.findall(r"<figure[^>]*>.*?</figure>", dom, flags=re.DOTALL)
    assert sum("<svg" in figure for figure in names) >= 7 and sum("<img" in figure for figure in names) >= 5
