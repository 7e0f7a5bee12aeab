"""Slitless spectra and those of MIRI's prism as raw exposures: archive-format files whose truth independent arithmetic finds again."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from stdatamodels.jwst import datamodels

from jwcal.simulate import prism
from jwcal.simulate.from_rates import Shot, expose
from jwcal.simulate.instruments import Subarray
from jwcal.vocabulary.errors import InputError
from small_exposures import run_jobs

CORNER = Subarray("GENERIC", 1, 1, 40, 32)


def spectrum(path, extension="EXTRACT1D"):
    with fits.open(path) as hdus:
        return np.array(hdus[extension].data)


def found(folder, pattern):
    """The one product that a pattern fits."""
    (path,) = sorted((folder / "results").rglob(pattern))
    return path


# --- from rates to counts -----------------------------------------------------------------------------------------------------


def ramps(exposed, number=0):
    """Counts without noise less the bias and the dark, made linear, in DN a second: (int, row, col), by arithmetic of this test."""
    one = exposed.exposures[number]
    sensor, times = one.detector, one.setup.readout.group_times()
    counts = fits.getdata(one.uncal, "SCI").astype(float)
    above = counts - sensor.bias
    linear = sum(c * above**k for k, c in enumerate(sensor.correction().astype(float)))
    rate = (linear[:, -1] - linear[:, 0]) / (times[-1] - times[0])
    return (rate - sensor.dark / sensor.gain) / sensor.flat


@pytest.mark.parametrize(("exp_type", "detector"), [("NRC_TSGRISM", "NRCALONG"), ("NIS_SOSS", "NIS"), ("NRS_BRIGHTOBJ", "NRS1")])
def test_rates_come_back_from_raw_files(tmp_path, exp_type, detector):
    rate = np.linspace(20, 600, 3 * CORNER.xsize * CORNER.ysize).reshape(3, *CORNER.shape)
    shot = Shot(
        exp_type, rate, {"detector": detector, "subarray": CORNER, "ngroups": 4, "tframe": 5.0}, {"SPECTRUM": Table({"flux": [1.0]})}, 2
    )
    made = expose(tmp_path, [shot], noise=False, cosmic_rays=0.0)
    assert [path.name.split("_")[2] for path in made.uncals] == ["00001-seg001", "00001-seg002"]
    got = np.concatenate([ramps(made, n) for n in (0, 1)])
    sensor = made.exposures[0].detector
    usual = (sensor.dq == 0) & ~sensor.reference_pixels
    np.testing.assert_allclose(got[:, usual], rate[:, usual], atol=0.2, rtol=1e-3)  # whole counts over 15 s
    assert usual.mean() > 0.6
    with fits.open(made.exposures[1].truth) as hdus:
        assert hdus["SPECTRUM"].data["flux"] == [1.0]
    assert (made.crds / "config/jwst/server_config").exists()
    with datamodels.open(made.uncals[0]) as model:
        assert type(model).__name__ == "Level1bModel" and model.data.shape == (2, 4, *CORNER.shape)


def test_a_detector_without_a_flat(tmp_path):
    shot = Shot("NRS_BRIGHTOBJ", np.full(CORNER.shape, 100.0), {"subarray": CORNER, "nints": 1})
    made = expose(tmp_path, [shot], flat=False, noise=False, cache=False)
    assert (made.exposures[0].detector.flat == 1).all() and not any("flat" in path.name for path in made.references)


def test_same_rates_same_bytes(tmp_path):
    shot = Shot("NIS_SOSS", np.full(CORNER.shape, 100.0), {"subarray": CORNER, "nints": 2})
    first, second = (expose(tmp_path / name, [shot]) for name in "ab")
    for one, two in zip([*first.uncals, *first.references], [*second.uncals, *second.references], strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_rates_that_do_not_fit(tmp_path):
    known = {"subarray": CORNER, "nints": 2}
    with pytest.raises(InputError, match="shape"):
        expose(tmp_path, [Shot("NIS_SOSS", np.zeros((5, 5)), known)])
    with pytest.raises(InputError, match="integrations"):
        expose(tmp_path, [Shot("NIS_SOSS", np.zeros((3, *CORNER.shape)), known)])
    with pytest.raises(InputError, match="subarray"):
        expose(tmp_path, [Shot("NIS_SOSS", np.zeros(CORNER.shape), known), Shot("NIS_SOSS", np.zeros((96, 2048)))])


# --- MIRI's prism -------------------------------------------------------------------------------------------------------------


def test_nods_from_raw_files_to_a_spectrum(tmp_path):
    made = prism.expose_nods(tmp_path)
    run_jobs(tmp_path)
    for path in made.exposures.uncals:  # each nod is the other's background
        assert found(tmp_path, path.name.replace("uncal", "x1d")).exists()
    with fits.open(found(tmp_path, made.exposures.uncals[0].name.replace("uncal", "cal"))) as hdus:
        assert hdus[0].header["S_BKDSUB"] == "COMPLETE"
    table = spectrum(found(tmp_path, "*t001*_x1d.fits"))
    good = (table["WAVELENGTH"] > 5.6) & (table["WAVELENGTH"] < 11) & (table["NPIXELS"] > 0)
    ratio = table["FLUX"][good] / made.spectrum(table["WAVELENGTH"][good])
    assert good.sum() > 150
    assert np.nanmedian(ratio) == pytest.approx(1, abs=5e-3)


def test_a_series_from_raw_files_to_a_light_curve(tmp_path):
    made = prism.expose_series(tmp_path, noise=False, cosmic_rays=0.0)
    run_jobs(tmp_path)
    assert len(made.exposures.uncals) == 2
    curve = np.asarray(Table.read(found(tmp_path, "*_whtlt.ecsv"))["whitelight_flux"])
    np.testing.assert_allclose(curve / curve[0], 1 - 0.01 * made.dip.shape, atol=5e-4)
    table = spectrum(found(tmp_path, "*t001*_x1dints.fits"))
    wavelength, flux = table["WAVELENGTH"][0], table["FLUX"][0]
    good = (wavelength > 5.6) & (wavelength < 11)
    assert np.nanmedian(flux[good] / made.spectrum(wavelength[good])) == pytest.approx(1, abs=5e-3)
