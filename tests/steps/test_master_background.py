"""Background spectra: combined, spread over the pixels, and subtracted from every slit; against the truth and the peer."""

import logging

import numpy as np
import pytest
from astropy.io import fits

import make
from jwcal.arithmetic.spectra_calibration import shutter_background
from jwcal.arithmetic.spectra_calibration.mean_spectrum import mean_spectrum
from jwcal.model.exposure import Exposure, Members, Pixels
from jwcal.model.spectra import Spectrum
from jwcal.products import stored
from jwcal.steps import master_background
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import InputError, Skip
from peer import needs_peer, peer_python

SHAPE = 40, 9
ROWS = np.linspace(12, 5, SHAPE[0])  # red at the bottom


def sky(wavelength):
    return 20 + 3 * wavelength


def cal(level=5.0, name="a", shape=SHAPE, **keywords):
    """A slit on a sky, MJy/sr."""
    rows = np.broadcast_to(ROWS[:, None], SHAPE)
    exposure = make.image_exposure(np.broadcast_to(level + sky(rows), shape), suffix="cal", INSTRUME="MIRI", BUNIT="MJy/sr", **keywords)
    exposure.pixels[0].extra["WAVELENGTH"] = rows.astype(np.float32)
    exposure.header.name = f"jw01234001001_02101_{name}_mirimage_cal.fits"
    return exposure


def x1d(column="SURF_BRIGHT", offset=0.0, seconds=100.0, shift=0.0, name="b", background=True, low=4.5, high=12.5, size=60):
    """An extracted spectrum of the sky; what is in other columns is none."""
    wavelength = np.linspace(low, high, size) + shift
    table = np.zeros(size, [(n, "f8") for n in ("WAVELENGTH", "FLUX", "FLUX_ERROR", "SURF_BRIGHT", "SB_ERROR", "BACKGROUND", "BKGD_ERROR")])
    table["SURF_BRIGHT"] = table["BACKGROUND"] = 1e4
    table["WAVELENGTH"], table[column] = wavelength, sky(wavelength) + offset
    head = make.header(*SHAPE, EFFEXPTM=seconds, BKGDTARG=background, INSTRUME="MIRI")
    head.name = f"{name}_x1d.fits"
    made = Exposure(head, suffix="x1d")
    made.spectra = [Spectrum(table)]
    return made


def members(science, backgrounds=()):
    return Members([*((one, "science") for one in science), *((one, "background") for one in backgrounds)], asn_id="o001")


@pytest.mark.parametrize(("background", "column"), [(True, "SURF_BRIGHT"), (False, "BACKGROUND"), (None, "SURF_BRIGHT")])
def test_sky_of_other_exposures(background, column):
    """Dedicated exposures give what was extracted, nods what was beside the source."""
    science = [cal(), cal(7.0, "c")]
    errors = science[0].err.copy()
    spectra = [x1d(column, background=background), x1d(column, shift=0.003, background=background)]
    made = master_background.apply(members(science, spectra))
    assert isinstance(made, Members)
    for exposure, level in zip(science, (5, 7), strict=True):
        np.testing.assert_allclose(exposure.sci, level, atol=1e-5)
        assert not exposure.dq.any()
    np.testing.assert_array_equal(science[0].err, errors)


def test_column_of_the_table():
    science = cal()
    master_background.apply(members([science], [x1d("BACKGROUND", background=True)]), None, "BACKGROUND")
    np.testing.assert_allclose(science.sci, 5, atol=1e-5)


def test_weights_are_exposure_times():
    science = cal()
    master_background.apply(members([science], [x1d(offset=0.0, seconds=300.0), x1d(offset=4.0, seconds=100.0)]))
    np.testing.assert_allclose(science.sci, 5 - 1.0, atol=1e-5)


def test_integrations_and_several_slits():
    science = cal(shape=(3, *SHAPE))
    second = Pixels(sci=np.full((3, 5, 4), 9.0, np.float32) + np.float32(sky(8.0)), dq=np.zeros((3, 5, 4), np.uint32))
    second.extra["WAVELENGTH"], second.header = np.full((5, 4), 8.0, np.float32), fits.Header()
    science.pixels.append(second)
    science.pixels[0].header = fits.Header()
    master_background.apply(members([science], [x1d()]))
    np.testing.assert_allclose(science.pixels[0].sci, 5, atol=1e-5)
    np.testing.assert_allclose(second.sci, 9, atol=1e-5)


@pytest.mark.parametrize("kind", ["POINT", "EXTENDED"])
def test_even_light_in_the_spectrum_of_a_point_source(kind):
    """It was divided by the losses of a point source, and lost those of even light; flats and conversions likewise."""
    science, seen = cal(0.0, SRCTYPE=kind), np.ones(SHAPE, np.float32)
    pairs = {"PATHLOSS_UN": 0.9, "PATHLOSS_PS": 0.8, "FLATFIELD_UN": 1.1, "FLATFIELD_PS": 1.0, "PHOTOM_PS": 3.0, "PHOTOM_UN": 2.0}
    science.pixels[0].extra |= {name: value * seen for name, value in pairs.items()}
    science.pixels[0].extra["PATHLOSS_PS"][0, 0] = np.nan
    factor = np.where(kind == "POINT", 0.9 / 0.8 * 1.1 * 3 / 2, 1) * seen
    factor[0, 0] = 1.1 * 3 / 2 if kind == "POINT" else 1
    science.sci *= factor.astype(np.float32)
    science.sci += 5
    (_, background) = master_background.apply(members([science], [x1d()]), save_background=True)[1:]
    np.testing.assert_allclose(science.sci, 5, atol=1e-4)
    np.testing.assert_allclose(background.sci, factor * sky(ROWS)[:, None], rtol=1e-6)


def user_file(folder, wavelength, brightness, name="COMBINE1D"):
    table = np.rec.fromarrays([wavelength, brightness], [("WAVELENGTH", ">f8"), ("SURF_BRIGHT", ">f8")])
    path = folder / "mine_c1d.fits"
    primary = fits.PrimaryHDU(header=fits.Header({"TELESCOP": "JWST"}))
    fits.HDUList([primary, fits.BinTableHDU(table, name=name)]).writeto(path, overwrite=True)
    return path


@pytest.mark.parametrize("name", ["COMBINE1D", "EXTRACT1D"])
def test_spectrum_of_the_user(tmp_path, caplog, name):
    """In any order, of the middle of the band: beyond it nothing is subtracted, and that is marked and told."""
    wavelength = np.linspace(11, 6, 50)
    science = cal()
    before = science.sci.copy()
    with caplog.at_level(logging.WARNING):
        master_background.apply(members([science]), user_background=str(user_file(tmp_path, wavelength, sky(wavelength), name)))
    known = (ROWS >= 6) & (ROWS <= 11)
    np.testing.assert_allclose(science.sci[known], 5, atol=1e-5)
    np.testing.assert_array_equal(science.sci[~known], before[~known])
    np.testing.assert_array_equal(science.dq, np.where(known[:, None], 0, dq.DO_NOT_USE) * np.ones(SHAPE, int))
    lost = (~known).sum() * SHAPE[1]
    assert f"does not reach the wavelengths of {lost} pixels" in caplog.text
    assert science.header["MASTERBG"] == "mine_c1d.fits"


def test_a_spike_is_taken_out():
    spiky = x1d()
    spiky.spectra[0].table["SURF_BRIGHT"][30] = 1e5
    for size in (3, 4):
        science = cal()
        master_background.apply(members([science], [spiky]), median_kernel=size)
        np.testing.assert_allclose(science.sci, 5, atol=0.5)


def test_a_stray_source_and_hot_bins_among_slitlets_on_empty_sky():
    """Of eight slitlets one has a source in it, three have a hot bin: the mean is that of the others; it is not without clipping."""
    spectra, random = x1d(), np.random.default_rng(4)
    plain = spectra.spectra[0].table
    tables = [np.zeros(plain.size, [*plain.dtype.descr, ("DQ", "u4")]) for _ in range(8)]
    for number, table in enumerate(tables):
        for name in plain.dtype.names:
            table[name] = plain[name]
        table["SURF_BRIGHT"] += random.normal(0, 0.1, table.size) + 10 * (number == 5)
        table["SURF_BRIGHT"][10 + number] += 1e4 * (number in (0, 2, 7))
        table["FLUX"] = 1e-6 * table["SURF_BRIGHT"]
    spectra.spectra = [Spectrum(table) for table in tables]
    plain, clipped = (shutter_background.mean(spectra, clip)["SURF_BRIGHT"] for clip in (None, 3.0))
    truth = sky(x1d().spectra[0].table["WAVELENGTH"])
    assert np.abs(clipped - truth).max() < 0.3 and abs((clipped - truth).mean()) < 0.02
    assert (plain - truth).min() > 1 and (plain - truth).max() > 1000


def test_columns_without_a_value_are_left_out():
    gaps = x1d()
    gaps.spectra[0].table["SURF_BRIGHT"][20:25] = np.nan
    science = cal()
    master_background.apply(members([science], [gaps]))
    np.testing.assert_allclose(science.sci, 5, atol=1e-4)  # what is linear can be interpolated


def test_what_was_subtracted_before_is_not_subtracted_again():
    for keyword in ("S_BKDSUB", "S_MSBSUB"):
        done, fresh = cal(**{keyword: "COMPLETE"}), cal()
        with pytest.raises(Skip, match="^the background was subtracted already"):
            master_background.apply(members([done], [x1d()]))
        with pytest.raises(Skip, match="subtracted already from 1 of 2 exposures"):
            master_background.apply(members([done, fresh], [x1d()]))
        master_background.apply(members([done, fresh], [x1d()]), force_subtract=True)
        np.testing.assert_allclose(done.sci, 5, atol=1e-5)
    with pytest.raises(Skip, match="the association has no background"):
        master_background.apply(members([cal()]))


def test_what_is_saved(tmp_path):
    science = [cal(), cal(7.0, "c")]
    made = master_background.apply(members(science, [x1d(seconds=50.0), x1d(seconds=70.0)]), save_background=True)
    assert isinstance(made[0], Members)
    one, *images = made[1:]
    assert [aside.suffix for aside in made[1:]] == ["masterbg1d", "masterbg2d", "masterbg2d"]
    table = one.tables["COMBINE1D"]
    np.testing.assert_allclose(table["SURF_BRIGHT"], sky(table["WAVELENGTH"]), rtol=1e-12)
    assert (table["WEIGHT"] == 120).all() and (table["N_INPUT"] == 2).all()
    for image, exposure, level in zip(images, science, (5, 7), strict=True):
        np.testing.assert_allclose(image.sci + exposure.sci, level + sky(np.broadcast_to(ROWS[:, None], SHAPE)), rtol=1e-6)
    assert [image.product for image in images] == ["jw01234001001_02101_a_mirimage_o001", "jw01234001001_02101_c_mirimage_o001"]
    for aside in made[1:3]:
        path = stored.write(aside, tmp_path / f"jw_{aside.suffix}.fits")
        assert {"masterbg1d": "COMBINE1D", "masterbg2d": "SCI"}[aside.suffix] in [hdu.name for hdu in fits.open(path)]
    assert (
        len(master_background.apply(members([cal()]), user_background=str(user_file(tmp_path, ROWS, sky(ROWS))), save_background=True)) == 2
    )


def test_bad_input(tmp_path):
    empty = x1d()
    empty.spectra = []
    with pytest.raises(InputError, match="b_x1d.fits: it has no extracted spectrum"):
        master_background.apply(members([cal()], [empty]))
    blind = x1d()
    blind.spectra[0].table["SURF_BRIGHT"] = np.nan
    with pytest.raises(InputError, match="has 0 wavelengths with a value in SURF_BRIGHT"):
        master_background.apply(members([cal()], [blind]))
    with pytest.raises(InputError, match="no table EXTRACT1D or COMBINE1D"):
        master_background.apply(members([cal()]), user_background=str(user_file(tmp_path, ROWS, ROWS, "SPECTRUM")))
    science = cal()
    del science.pixels[0].extra["WAVELENGTH"]
    with pytest.raises(InputError, match="neither a gWCS nor an image of wavelengths"):
        master_background.apply(members([science], [x1d()]))


PEER = """
import json
from stdatamodels.jwst import datamodels
from jwst.combine_1d.combine1d import combine_1d_spectra
from jwst.datamodels import ModelContainer
from jwst.master_background.expand_to_2d import expand_to_2d
from jwst.master_background.master_background_step import subtract_2d_background
count = int(count)
models = ModelContainer()
for n in range(count):
    wavelength, brightness = globals()[f"w{n}"], globals()[f"b{n}"]
    model = datamodels.MultiSpecModel()
    spec = datamodels.SpecModel()
    table = np.zeros(wavelength.size, spec.get_dtype("spec_table"))
    table["WAVELENGTH"], table["SURF_BRIGHT"], table["FLUX"] = wavelength, brightness, 1
    spec.spec_table = table
    model.spec.append(spec)
    model.meta.exposure.exposure_time = float(seconds[n])
    model.meta.target.ra = model.meta.target.dec = 1.0
    models.append(model)
combined = combine_1d_spectra(models, exptime_key="exposure_time")
out["w"], out["b"] = (np.array(combined.spec[0].spec_table[name]) for name in ("WAVELENGTH", "SURF_BRIGHT"))
slit = datamodels.SlitModel(data=sci, dq=np.zeros(sci.shape, np.uint32))
slit.wavelength = wavelength_image
slit.meta.exposure.type = "MIR_LRS-FIXEDSLIT"
done = subtract_2d_background(slit, expand_to_2d(slit, combined))
out["sci"], out["dq"] = np.array(done.data), np.array(done.dq)
"""


@pytest.mark.parity
@needs_peer
def test_as_the_peer():
    """Spectra whose wavelengths clump here and not there, of other lengths; a slit that reaches beyond them."""
    rng = np.random.default_rng(6)
    spectra = [
        x1d(low=5.5, high=11.5, seconds=s, shift=d, size=n, name=str(n))
        for s, d, n in ((100.0, 0, 60), (250.0, 0.004, 60), (80.0, 0.3, 47))
    ]
    for one in spectra:
        one.spectra[0].table["SURF_BRIGHT"] += rng.normal(0, 1, one.spectra[0].table.size)
    science = cal()
    given = {f"w{n}": one.spectra[0].table["WAVELENGTH"] for n, one in enumerate(spectra)}
    given |= {f"b{n}": one.spectra[0].table["SURF_BRIGHT"] for n, one in enumerate(spectra)}
    peers = peer_python(
        PEER, count=3, seconds=[100.0, 250.0, 80.0], sci=science.sci, wavelength_image=science.pixels[0].extra["WAVELENGTH"], **given
    )
    wavelength, brightness, *_ = mean_spectrum([(given[f"w{n}"], given[f"b{n}"]) for n in range(3)], [100.0, 250.0, 80.0])
    np.testing.assert_allclose(wavelength, peers["w"], rtol=1e-12)
    np.testing.assert_allclose(brightness, peers["b"], rtol=1e-12)
    master_background.apply(members([science], spectra))
    np.testing.assert_allclose(science.sci, peers["sci"], rtol=1e-6, atol=1e-5)
    np.testing.assert_array_equal(science.dq, peers["dq"])
    assert science.dq.any() and not science.dq.all()


# --- slices ------------------------------------------------------------------------------------------------------------------


def slices(folder, **keywords):
    """A calibrated image of slices, 10 MJy/sr everywhere."""
    import mrs
    from jwcal.steps import assign_wcs

    exposure, refs = mrs.small(folder, **keywords)
    assign_wcs.apply(exposure, refs, "mrs")
    exposure.suffix, exposure.pixels[0].sci = "cal", np.full(mrs.SHAPE, 10, np.float32)
    exposure.dq = np.zeros(mrs.SHAPE, np.uint32)
    return exposure


def of_bands(*ranges):
    """An exposure of a background with one spectrum a band: BACKGROUND is its wavelength, SURF_BRIGHT is nothing to go by."""
    from jwcal.model.spectra import Spectrum, empty_table

    exposure = make.image_exposure(np.zeros((2, 2)), suffix="x1d", BKGDTARG=True, EFFEXPTM=100.0)
    for low, high in ranges:
        table = empty_table("mrs", 400)
        table["WAVELENGTH"] = np.linspace(low, high, 400)
        table["BACKGROUND"], table["SURF_BRIGHT"], table["DQ"], table["NPIXELS"] = table["WAVELENGTH"], 1000, 0, 1
        exposure.spectra.append(Spectrum(table))
    return exposure


def test_slices_keep_what_the_background_does_not_reach(tmp_path, caplog):
    """BACKGROUND is subtracted at each pixel's wavelength; a channel without one keeps its light, and it is said."""
    from jwcal.arithmetic.wcs.pixel_coordinates import wavelength_and_sky
    from jwcal.model.exposure import Members

    exposure = slices(tmp_path)
    members = Members([(exposure, "science"), (of_bands((4.8, 5.5), (12.0, 13.0)), "background")])
    master_background.apply(members, None, "BACKGROUND", True)
    *_, micron = wavelength_and_sky(exposure.wcs, exposure.sci.shape)
    first, second = micron < 5.5, micron > 7
    assert first.sum() > 100 and second.sum() > 100
    np.testing.assert_allclose(exposure.sci[first], 10 - micron[first], atol=1e-3)
    assert np.all(exposure.sci[second] == 10) and not exposure.dq.any()
    assert "nothing is subtracted there" in caplog.text


def test_slices_and_a_background_of_another_band(tmp_path):
    from jwcal.model.exposure import Members

    members = Members([(slices(tmp_path), "science"), (of_bands((13.3, 15.6)), "background")])
    with pytest.raises(InputError, match="where no exposure has a pixel"):
        master_background.apply(members, None, "BACKGROUND", True)
