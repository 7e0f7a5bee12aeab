"""The mid-infrared spectrometer as raw exposures: independent arithmetic finds again what was put in."""

import warnings

import numpy as np
import pytest
from astropy.io import fits
from stdatamodels.jwst import datamodels

from jwcal.arithmetic.detector.cross_artefact import GAP
from jwcal.simulate import integral_field, mrs
from jwcal.simulate.spectrograph import Source, Spectrum
from jwcal.vocabulary.errors import InputError

SHOWERS = [integral_field.Showers(300, 250, 3.0), integral_field.Showers(700, 800, 2.0)]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """One exposure without noise."""
    folder = tmp_path_factory.mktemp("mrs")
    known = {"channels": ["12"], "dithers": 1, "dedicated": False, "showers": SHOWERS, "noise": False, "cosmic_rays": 0.0}
    return integral_field.expose(folder, **known)


def test_raw_counts_hold_the_light_that_was_put_in(one):
    """Counts to surface brightness by this test's own arithmetic; fringes, and all that is scattered, are as large as they should be."""
    simulated, (truth,) = one.exposures.exposures[0], one.truth.values()
    sensor, times = simulated.detector, simulated.setup.readout.group_times()
    bent = sensor.correction().astype(float)
    above = fits.getdata(simulated.uncal, "SCI")[0, [0, -1]].astype(float) - sensor.bias
    first, last = (sum(c * part**k for k, c in enumerate(bent)) for part in above)
    rate = (last - first) / (times[-1] - times[0]) - sensor.dark / sensor.gain
    usual = (sensor.dq == 0) & (simulated.ramp.saturated[0] == len(times))
    expected = sensor.flat * truth.image / 20 / (1 + 0.1 * np.sin(np.arange(1032) / 100))  # by PHOTMJSR and how it changes by column
    gap = (rate - expected)[:, 505:512][usual[:, 505:512]]  # between the channels
    assert 0.03 < np.median(gap) < 0.3 and gap.min() > -0.1  # far from the source, that has up to some hundred DN/s
    near = np.zeros(rate.shape, bool)
    near[660:740, 760:840] = True
    assert 1.5 < np.median(rate[near & usual & (expected == 0)]) < 6  # a shower of 2 DN/s
    ratio = (rate / expected)[usual & (truth.image > 3000)]
    assert np.median(ratio) == pytest.approx(0.97, abs=0.02)  # some years of age, and some scattered light
    low, high = np.percentile(ratio, [2, 98])
    assert high - low == pytest.approx(0.2, abs=0.03)  # fringes


def test_stdatamodels_read_all_files(one):
    kinds = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*(asdf-astropy|extension URI|CRDS).*")
        for path in [*one.exposures.uncals, *one.exposures.references]:
            with datamodels.open(path) as model:
                model.validate()
                kinds.append(type(model).__name__)
    assert {"Level1bModel", "FringeModel", "MirMrsPhotomModel", "MirMrsXArtCorrModel", "MirMrsPtCorrModel", "FringeFreqModel"} <= set(kinds)


def test_an_extended_source_keeps_its_light(tmp_path):
    """All of it falls on the slices, as much as of a point."""
    files = mrs.write_references(tmp_path)
    sums = []
    for kind, more in ((Source, {}), (mrs.Extended, {"fwhm": 0.5})):
        source = kind(Spectrum(flux=0.01), **more)
        image = mrs.simulate_mrs(files, sources=[source], noise=False).truth.image
        sums.append([image[:, half].sum() for half in (slice(0, 510), slice(510, 1032))])
    np.testing.assert_allclose(sums[1], sums[0], rtol=0.01)


@pytest.mark.parametrize("channels", ["12", "34"])
def test_no_light_falls_between_the_channels(channels):
    """Where straylight looks for the pedestal: a slice there would be taken off all of the image."""
    lit = np.zeros(mrs.SHAPE, bool)
    for channel in map(int, channels):
        slices = [mrs.inside(channel, number) for number in range(1, mrs.OPTICS[channel][0] + 1)]
        assert np.sum(slices, axis=0).max() == 1 and all(one.any() for one in slices)
        lit |= np.any(slices, axis=0)
    first, last = GAP[channels]
    assert not lit[:, first:last].any()
    assert not lit[:, :4].any() and not lit[:, -4:].any()


@pytest.mark.parametrize("wrong", [{"channels": ["1"]}, {"bands": ["A"]}, {"dithers": 5}])
def test_what_can_not_be(tmp_path, wrong):
    with pytest.raises(InputError, match="can't be"):
        integral_field.expose(tmp_path, **wrong)


def test_light_of_half_the_wavelength():
    """What leaks is a part of the flux there, and nowhere else."""
    leaking = integral_field._Leaking(Source(Spectrum(flux=1.0, at=6.1, slope=-1.0)), 0.04)
    np.testing.assert_allclose(leaking.spectrum(np.array([12.2, 13.4])), [0.5 + 0.04, 6.1 / 13.4], rtol=1e-6)
    assert leaking.along == 0
