"""The simulator's truth of imaging at stage 3 is what its files hold."""

import numpy as np
import pytest

from jwcal import dq as bits
from jwcal import products
from jwcal.simulate import calibrated, pointing, scene
from jwcal.simulate.exposures import TARGET

SMALL = dict(detector="NRCB1", subarray="SUB160", tframe=10.7, ngroups=8)


def one_star(x=0.0, y=0.0, flux=2e-6, **psf):
    """A star so many arcsec east and north of the target, on a dark sky."""
    field = scene.make_scene(*TARGET, stars=1, galaxies=0, sky=0.0, psf=scene.Psf(**psf))
    ra, dec = pointing.moved(TARGET, x, y)
    for name, value in (("ra", ra), ("dec", dec), ("flux", flux)):
        field.sources[name] = [value]
    return field


def centroid(image, x, y, radius=12):
    """Of the light about a pixel, row and column counted from 0."""
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    light = np.where(np.hypot(columns - x, rows - y) < radius, image, 0).astype(float)
    return (light * columns).sum() / light.sum(), (light * rows).sum() / light.sum()


def arcsec(ra, dec, about):
    """Offsets of positions from one, east and north [arcsec]."""
    return (ra - about[0]) * 3600 * np.cos(np.radians(about[1])), (dec - about[1]) * 3600


@pytest.mark.parametrize("mode", [SMALL, dict(exp_type="MIR_IMAGE", subarray="SUB128", roll=200.0)])
def test_star_is_where_the_header_and_the_pointing_error_say(mode):
    error = pointing.Error(east=0.06, north=-0.04, roll=0.02)
    made = calibrated.simulate_cal(**mode, field=one_star(0.5, 0.3), pointing_error=error, noise=False)
    star = made.truth.sources[0]
    x, y = centroid(made.truth.image * made.exposure.extra["AREA"], star["x"], star["y"])
    assert np.hypot(x - star["x"], y - star["y"]) < 0.01
    ra, dec = made.exposure.wcs(x, y)
    # the error's shift is that of the target; the star turns about it
    east, north = arcsec(ra, dec, TARGET)
    turn = np.radians(error.roll)
    found = (np.cos(turn) * east + np.sin(turn) * north + error.east, np.cos(turn) * north - np.sin(turn) * east + error.north)
    assert np.hypot(found[0] - 0.5, found[1] - 0.3) < 0.01 * made.plan.look.xscale


def test_header_knows_nothing_of_the_error():
    plain, shaky = (calibrated.simulate_cal(**SMALL, pointing_error=e) for e in (None, pointing.Error(0.1, 0.1, 0.1)))
    for keyword in ("RA_REF", "DEC_REF", "ROLL_REF", "S_REGION", "CRVAL1", "PA_V3"):
        assert plain.exposure.header[keyword] == shaky.exposure.header[keyword]


@pytest.mark.parametrize(("fwhm", "within"), [(1.0, 0.08), (2.5, 2e-3)])  # pixels as wide as the star itself see its place
def test_flux_and_width_of_a_star(fwhm, within):
    made = calibrated.simulate_cal(**SMALL, field=one_star(flux=3e-6, fwhm=fwhm, core=1.0), noise=False)
    light = made.truth.image * made.exposure.extra["AREA"] * made.exposure.header["PIXAR_SR"] * 1e6
    assert light.sum() == pytest.approx(3e-6, rel=1e-4)
    star = made.truth.sources[0]
    rows, columns = np.mgrid[: light.shape[0], : light.shape[1]]
    variance = (light * ((columns - star["x"]) ** 2 + (rows - star["y"]) ** 2)).sum() / light.sum() / 2
    assert np.sqrt(variance - 1 / 12) == pytest.approx(fwhm * scene.SIGMA, rel=within)  # a pixel's own variance is 1/12
    good = made.exposure.dq & bits.DO_NOT_USE == 0
    assert np.allclose(made.exposure.sci[good], made.truth.image[good], rtol=1e-5)


def test_noise_is_what_the_variances_say():
    made = calibrated.simulate_cal(**SMALL)
    exposure = made.exposure
    pulls = (exposure.sci - made.truth.image) / np.sqrt(exposure.var_poisson + exposure.var_rnoise)
    pulls = pulls[exposure.dq == 0]
    # the variance of photons is that of the rate that was measured, as in stage 1: low rates have it too small
    assert abs(np.median(pulls)) < 0.03 and pulls.std() == pytest.approx(1, abs=0.03)
    assert np.allclose(exposure.err**2, exposure.var_poisson + exposure.var_rnoise + exposure.var_flat, equal_nan=True)
    assert np.isnan(exposure.sci[exposure.dq & bits.DO_NOT_USE != 0]).all()


def test_mosaic_shares_errors_and_sky_steps_within_an_exposure():
    made = calibrated.simulate_mosaic(
        filters=["F200W", "F150W"],
        detectors=["NRCB1", "NRCB2"],
        dithers=[(0, 0), (0.5, 0.3)],
        subarray="SUB160",
        errors=0.05,
        sky_steps=[0.0, 0.2],
        ruined={3},
        cosmic_rays=15,
    )
    assert len(made) == 8 and len({m.exposure.name for m in made}) == 8
    assert [m.truth.sky for m in made] == [0.25, 0.25, 0.45, 0.45] * 2
    assert made[0].truth.error == made[1].truth.error != made[2].truth.error
    assert [m.exposure.header["FILTER"] for m in made] == ["F200W"] * 4 + ["F150W"] * 4
    assert np.isnan(made[3].exposure.sci).all() and not np.isnan(made[2].exposure.sci).all()
    assert min(len(m.truth.sources) for m in made) >= 10
    for m in made[:3]:
        hits, sci = m.truth.cosmic_rays, m.exposure.sci
        assert len(hits) >= 15 and hits["sigma"].min() > 0
        assert np.median(sci[hits["row"], hits["col"]] - m.truth.image[hits["row"], hits["col"]] - hits["added"]) < 0.2


def test_written_files_are_read_again(tmp_path):
    made = calibrated.simulate_cal(**SMALL, pointing_error=pointing.Error(0.01, 0.02), cosmic_rays=3)
    cal, truth = made.write(tmp_path / "data")
    again = products.read(cal)
    assert np.array_equal(again.sci, made.exposure.sci, equal_nan=True) and again.header["S_PHOTOM"] == "COMPLETE"
    assert np.allclose(again.wcs(10.0, 20.0), made.exposure.wcs(10.0, 20.0), atol=1e-12)
    from astropy.io import fits

    with fits.open(truth) as hdus:
        assert hdus[0].header["ERREAST"] == 0.01 and len(hdus["COSMIC_RAYS"].data) == len(made.truth.cosmic_rays)
