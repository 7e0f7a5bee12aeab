"""NIRSpec's time series from raw files to light curves: what a transit's depth is uncertain by, and where that comes from."""

import numpy as np
import pytest

import jwcal
from jwcal.products import stored
from jwcal.simulate import nirspec
from jwcal.simulate.series import Transit
from jwcal.simulate.spectrograph import Source, Spectrum
from peer import needs_peer, peer_pipeline

NUMBER, DEPTH = 96, 0.01
STAR = Source(
    Spectrum(flux=0.8, at=2.0, slope=-0.8)
)  # so bright that its photons are more than the noise of the rows that the drift is measured in
CLEAN = {"clean_flicker_noise": {"skip": False, "mask_science_regions": True, "background_method": None}}


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A transit in SUB512: the level of all pixels drifts by 4 DN from group to group, and but 256 unlit pixels at its ends tell of it.

    Their read noise comes into all pixels with what they tell; and as from end to end there is 1/f noise of 1.5 DN, that is not the level
    of the spectrum.
    """
    folder = tmp_path_factory.mktemp("series")
    nirspec.expose_series(folder, sources=[STAR], nints=NUMBER, each=NUMBER, depth=DEPTH, cosmic_rays=0.0)
    return folder


def light_curve(raw, folder, steps):
    """White light over truth of each integration, its error by FLUX_ERROR, and the depth."""
    where = {"crds_path": str(raw / "crds")}
    jwcal.run_pipeline("tso1", next((raw / "data").glob("*_uncal.fits")), steps, out=folder, **where)
    jwcal.run_pipeline("tso-spec2", next(folder.glob("*_rateints.fits")), out=folder, **where)
    (spectrum,) = stored.read(next(folder.glob("*_x1dints.fits"))).spectra
    wavelength, flux, error = (np.asarray(spectrum.table[name], float) for name in ("WAVELENGTH", "FLUX", "FLUX_ERROR"))
    good = np.isfinite(flux).all(axis=0) & np.isfinite(error).all(axis=0) & (wavelength[0] > 0.8) & (wavelength[0] < 5.1)
    assert good.sum() > 300
    transit = Transit()
    shape = (1 - transit.factor((np.arange(NUMBER) + 0.5) / NUMBER)) / transit.depth
    white, its = flux[:, good].sum(axis=1), np.sqrt((error[:, good] ** 2).sum(axis=1))
    level, lost = np.linalg.lstsq(np.stack([np.ones(NUMBER), -shape], axis=1), white, rcond=None)[0]
    return white / level / (1 - lost / level * shape), its / white, lost / level


CASES = {  # as docs/modes/nrs_brightobj.md has them
    "as it is": {},
    "with a background": {"skip": False},
    "none": {"skip": False, "background_method": None},
    "by frequency": {"skip": False, "background_method": None, "fit_method": "fft"},
    "masked": CLEAN["clean_flicker_noise"],
    "masked by frequency": {**CLEAN["clean_flicker_noise"], "fit_method": "fft"},
}


@pytest.mark.full
@pytest.mark.parametrize("case", CASES)
def test_a_transit_near_the_photons_limit(raw, tmp_path, case):
    """What tells of the level better than refpix reaches it; by default, or as long as the level counts as background, it is far."""
    curve, error, depth = light_curve(raw, tmp_path, {"clean_flicker_noise": CASES[case]} if CASES[case] else {})
    if case in ("as it is", "with a background"):
        assert curve.std() > 2 * np.median(error)
    else:
        assert curve.std() < 1.1 * np.median(error)
        assert abs(depth - DEPTH) < 3 * 1.1 * np.median(error) * np.sqrt(4 / NUMBER)


@needs_peer
@pytest.mark.parity
@pytest.mark.full
@pytest.mark.parametrize("steps", [{}, CLEAN], ids=["drifting", "clean"])
def test_rates_like_the_peer(raw, tmp_path, steps):
    """It leaves the same drift, and takes out the same."""
    source = next((raw / "data").glob("*_uncal.fits"))
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    jwcal.run_pipeline("tso1", source, steps, out=ours, crds_path=str(raw / "crds"))
    peer_pipeline("detector1", source, theirs, raw / "crds", steps)
    one, other = (stored.read(next(folder.glob("*_rateints.fits"))) for folder in (ours, theirs))
    both = np.isfinite(one.sci) & np.isfinite(other.sci)
    assert (np.isfinite(one.sci) == np.isfinite(other.sci)).mean() > 0.9999 and (one.dq == other.dq).mean() > 0.9999
    assert (np.abs(one.sci - other.sci)[both] < 1e-3 * one.err[both]).mean() > 0.999
