"""Pictures of stage 3: what is drawn over mosaics and spectra, curves of tables, fringes."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable, Table

import grisms
from jwcal.products import stored
from jwcal.report import drawing, measure, pictures, remains, tables
from jwcal.report.pictures import spectra
from jwcal.steps import assign_wcs, extract_2d
from jwcal.vocabulary.errors import InputError


def images(path, *slits):
    hdus = [fits.ImageHDU(np.asarray(values, np.float32), fits.Header({"BUNIT": "MJy/sr", **cards}), name="SCI") for values, cards in slits]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    return path


def spectrum(name, **cards):
    table = np.zeros(20, [("WAVELENGTH", "f8"), ("FLUX", "f8"), ("FLUX_ERROR", "f8")])
    table["WAVELENGTH"], table["FLUX"], table["FLUX_ERROR"] = np.linspace(5, 6, 20), 3, 0.1
    return fits.BinTableHDU(table, fits.Header({"SLTNAME": name, **cards}), name="EXTRACT1D")


def noise(shape):
    return np.random.default_rng(1).normal(1, 0.1, shape)


def test_circles_around_the_sources_of_a_mosaic(tmp_path):
    path = images(tmp_path / "jw1_i2d.fits", (noise((40, 60)), {}))
    QTable({"xcentroid": [10.0, 50.0], "ycentroid": [30.0, 5.0]}).write(tmp_path / "jw1_cat.ecsv", format="ascii.ecsv")
    (image,) = pictures.pictures(path)
    (circles,) = image.marks
    assert circles.kind == "source" and list(circles.x) == [10, 50] and "2 sources" in image.caption
    (tmp_path / "jw1_cat.ecsv").unlink()
    assert pictures.pictures(path)[0].marks == ()


def test_lines_of_an_aperture_are_where_it_is():
    """A vertical spectrum whose aperture is the pixels 4 to 6 (from 1): the edges are drawn, and the background's are dashed.

    Lines are as fine in a picture of few pixels, which is drawn larger: each pixel as a square of twelve.
    """
    line, free = np.full(2, 2.5), np.full(2, np.nan)
    marks = (pictures.Marks("aperture", line, free), pictures.Marks("background", line + 10, free))
    plain = drawing.web(pictures.Image(noise((30, 30)).astype(np.float32), 0, 2, "", ""))
    drawn = drawing.web(pictures.Image(noise((30, 30)).astype(np.float32), 0, 2, "", "", marks))
    before, after = (_decoded(picture).astype(int) for picture in (plain, drawn))
    assert after.shape == (360, 360, 3)
    changed = (before.repeat(12, axis=0).repeat(12, axis=1) != after).any(axis=2)
    assert changed[:, 36].all() and changed[:, 156].any() and not changed[:, 156].all()
    assert not np.delete(changed, (36, 156), axis=1).any()


def _decoded(picture):
    import base64
    import io

    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture["src"].partition(",")[2]))).convert("RGB"))


def test_a_rectified_spectrum_shows_its_aperture(tmp_path):
    path = images(tmp_path / "jw1_s2d.fits", (noise((40, 20)), {"SLTNAME": "A"}), (noise((40, 20)), {"SLTNAME": "B"}))
    cards = {"DISPAXIS": 2, "EXTRXSTR": 4.0, "EXTRXSTP": 6.0, "BKG1STR": 10.0, "BKG1STP": 12.0}
    fits.HDUList([fits.PrimaryHDU(), spectrum("B", **cards)]).writeto(tmp_path / "jw1_x1d.fits")
    first, second = pictures.pictures(path)
    assert first.marks == () and [mark.kind for mark in second.marks] == ["aperture"] * 2 + ["background"] * 2
    assert [mark.x[0] for mark in second.marks] == [2.5, 5.5, 8.5, 11.5] and np.isnan(second.marks[0].y).all()
    (curves,) = pictures.pictures(tmp_path / "jw1_x1d.fits")
    np.testing.assert_allclose(curves.errors[0], 0.1)
    assert "<svg" in drawing.web(curves)["svg"]


def test_slits_of_a_calibrated_exposure(tmp_path):
    path = images(tmp_path / "jw1_cal.fits", *[(noise((5, 9)), {"SLTNAME": f"S{n}"}) for n in range(7)])
    found = pictures.pictures(path)
    assert [picture.caption.split(":")[0] for picture in found] == ["S0", "S1", "S2", "S3"]


def test_cut_outs_of_a_field_with_their_traces(tmp_path):
    """A line along the middle of the light of a source's spectrum."""
    field = grisms.field(tmp_path, grisms.NIRISS, [grisms.Star(110.0, 60.0, 1e-5)], strengths=(1, 0))
    exposure = assign_wcs.apply(field.exposure, field.refs, "niriss_wfss", sip_approx=False)
    exposure = extract_2d.apply(exposure, field.refs, "wfss", "PUPIL")
    path = tmp_path / "jw1_cal.fits"
    exposure.suffix = "simul_slits"  # whose form is that of cut-outs
    stored.write(exposure, path)
    first, *_ = pictures.pictures(path)
    (mark,) = first.marks
    assert mark.kind == "trace" and "order 1" in first.caption
    light = np.where(np.isfinite(first.values), first.values, 0)
    inside = (mark.x > 2) & (mark.x < light.shape[1] - 3)
    columns = np.rint(mark.x[inside]).astype(int)
    middles = [np.average(np.arange(len(light)), weights=light[:, column] ** 2) for column in columns]
    assert len(columns) > 20 and np.abs(middles - mark.y[inside]).max() < 0.5
    assert drawing.web(first)["src"].startswith("data:image")


def test_a_star_in_a_series(tmp_path):
    table = QTable({"MJD": [60000.0, 60000.5], "net_aperture_sum": [2.0, 4.0], "net_aperture_sum_err": [0.3, 0.3]})
    table.write(tmp_path / "jw1_phot.ecsv", format="ascii.ecsv")
    (curve,) = pictures.pictures(tmp_path / "jw1_phot.ecsv")
    np.testing.assert_allclose([curve.x[0], curve.y[0], curve.errors[0]], [[0, 720], [2 / 3, 4 / 3], [0.1, 0.1]])


def test_contrast(tmp_path):
    Table({"separation": [0.1, 0.5], "flux_limit": [1.0, 0.1], "contrast": [1e-3, 1e-4]}).write(tmp_path / "jw1_contrast.ecsv")
    (curve,) = pictures.pictures(tmp_path / "jw1_contrast.ecsv")
    assert curve.log and list(curve.y[0]) == [1e-3, 1e-4] and "contrast" in curve.y_label
    Table({"x": [1.0]}).write(tmp_path / "jw2_contrast.ecsv")
    with pytest.raises(InputError, match="separation and flux_limit"):
        pictures.pictures(tmp_path / "jw2_contrast.ecsv")


def test_fringes(tmp_path):
    wave = np.array([(4e-6, 2e-7)], [("EFF_WAVE", "f4"), ("EFF_BAND", "f4")])
    vis = np.array([(0.9, 0.01, 3.0, 4.0)], [("VIS2DATA", "f8"), ("VIS2ERR", "f8"), ("UCOORD", "f8"), ("VCOORD", "f8")])
    names = [(name, "f8") for name in ("T3PHI", "T3PHIERR", "U1COORD", "V1COORD", "U2COORD", "V2COORD")]
    t3 = np.array([(2.0, 0.5, 3.0, 0.0, 0.0, 4.0)], names)
    tables = [fits.BinTableHDU(array, name=name) for name, array in (("OI_WAVELENGTH", wave), ("OI_VIS2", vis), ("OI_T3", t3))]
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(tmp_path / "jw1_aminorm-oi.fits")
    v2, phases = pictures.pictures(tmp_path / "jw1_aminorm-oi.fits")
    np.testing.assert_allclose([v2.x[0][0], v2.y[0][0], v2.errors[0][0]], [1.25, 0.9, 0.01], rtol=1e-6)
    np.testing.assert_allclose([phases.x[0][0], phases.y[0][0]], [1.25, 2.0], rtol=1e-6)


def band(path, channel, wavelength, npixels):
    """A spectrum of a channel."""
    about = {"CHANNEL": str(channel), "BAND": "SHORT", "EXP_TYPE": "MIR_MRS"}
    table = Table({"WAVELENGTH": wavelength, "FLUX": np.where(npixels > 0, 1.0, 0.0), "FLUX_ERROR": 0 * wavelength, "NPIXELS": npixels})
    fits.HDUList([fits.PrimaryHDU(header=fits.Header(about)), fits.BinTableHDU(table, name="EXTRACT1D")]).writeto(path)
    return path


def test_bands_of_a_target_in_one_picture(tmp_path):
    """By wavelength; where there is nothing, and between bands, there is no line."""
    red = band(tmp_path / "jw1_ch2-short_x1d.fits", 2, np.linspace(7.5, 8.8, 50), np.full(50, 9.0))
    both = np.append(np.linspace(4.9, 5.2, 40), np.linspace(5.5, 5.7, 40))
    blue = band(tmp_path / "jw1_ch1-short_x1d.fits", 1, both, np.append(np.full(79, 9.0), 0))
    (curves,) = spectra.joined([red, blue])
    assert curves.caption == "2 bands from 4.90 to 8.80 um"
    first, second = curves.y
    assert np.isnan(first).sum() == 2 and np.isnan(first[[40, 80]]).all()  # the gap, and the last
    assert np.isfinite(second).all()
    assert measure.joined([red, blue], tmp_path) == measure.joined([red, blue], tmp_path) and list(tmp_path.glob("*.joined.json"))


def test_the_page_shows_bands_together(tmp_path):
    paths = [band(tmp_path / f"jw1_ch{n}-short_x1d.fits", n, np.linspace(5.0 * n, 5.0 * n + 1, 50), np.ones(50)) for n in (1, 2)]
    job = remains.Job("jw1", "stage3", "spec3", [remains.Product(path, "x1d", True) for path in paths], tmp_path / "log")
    results = remains.Results(tmp_path, [job], [], [], [], {}, [], [], {})
    found = {path: measure.measured(path) for path in paths}
    (group,) = tables.gallery(results, found)
    together, *others = group["drawn"]
    assert (together["name"], together["bands"], len(together["pictures"]), len(others)) == ("jw1", 2, 1, 2)
    assert "bands" not in others[0]
