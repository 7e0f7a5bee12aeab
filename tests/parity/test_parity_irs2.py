"""A whole IRS2 exposure of NIRSpec, simulated, through detector1 of ours and of the peer, and once more with exact transforms.

The peer's Fourier transforms of a frame are rounded to float32, as ours are, each by some 1e-6 DN (test_irs2:
test_both_are_equally_near_the_definition), so that here and there a sample of thousands of DN is rounded to the next one.
A rate is a difference of few such samples; where it is far below them it differs by that step.
Transforms in double precision in place of the peer's change the rates of as many pixels.
"""

import numpy as np
import pytest
from astropy.io import fits

import jwcal
from irs2_definition import defined
from jwcal.arithmetic.detector.irs2 import correction
from jwcal.model import irs2_layout
from jwcal.products import stored
from jwcal.simulate import crds_cache, irs2, references
from peer import needs_peer, peer_pipeline

pytestmark = [pytest.mark.full, pytest.mark.parity, needs_peer]
TYPES = ("mask", "saturation", "superbias", "linearity", "dark", "gain", "readnoise")
VALUES = ("sci", "err", "var_poisson", "var_rnoise")


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """Products {suffix: [ours, theirs, by definition]}; "step": the next float32 from each pixel's largest sample."""
    top = tmp_path_factory.mktemp("irs2")
    made = irs2.simulate_irs2(top / "data", exp_type="NRS_IFU", detector="NRS1", ngroups=4)
    files = references.write_references(top / "references", made.detector, setup=made.setup, types=TYPES)
    files = irs2.write_references(files, "NRS1")
    crds_cache.build(top / "crds", list(files.values()))
    steps = {"ipc": {"skip": True}}
    jwcal.run_pipeline("detector1", made.uncal, steps, out=top / "ours", crds_path=str(top / "crds"), save=["ramp"])
    (top / "peer").mkdir()
    peer_pipeline("detector1", made.uncal, top / "peer", top / "crds", steps=steps, ramp=True)
    names = {suffix: made.uncal.name.replace("uncal", suffix) for suffix in ("ramp", "rate")}
    found = {suffix: [stored.read(top / side / name) for side in ("ours", "peer")] for suffix, name in names.items()}
    rows = irs2_layout.layout_of(found["rate"][0].header).science
    samples = fits.getdata(made.uncal, "SCI")[0][:, rows] - fits.getdata(files["superbias"], "SCI")[rows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(correction, "correct", definition(fits.getdata(files["refpix"], "IRS2")))
        jwcal.run_pipeline("detector1", made.uncal, steps, out=top / "defined", crds_path=str(top / "crds"), save=["ramp"])
    for suffix, name in names.items():
        found[suffix].append(stored.read(top / "defined" / name))
    return {**found, "step": np.spacing(np.abs(samples).max(axis=0).astype(np.float32)).astype(float)}


def definition(table):
    """`correction.correct` as it is defined, with the weights of a reference's table; only the drift is taken away in float32."""

    def correct(groups, rows, filters, preserve=False):
        groups[:, rows.science] = defined(groups, rows, table, deviations=np.float32)

    return correct


def test_quality_and_typical_values(calibrated):
    ours, theirs, _ = calibrated["rate"]
    assert ours.sci.shape == (2048, 2048)
    np.testing.assert_array_equal(ours.dq, theirs.dq)
    for plane in VALUES:
        x, y = getattr(ours, plane), getattr(theirs, plane)
        np.testing.assert_array_equal(np.isnan(x), np.isnan(y), err_msg=plane)
        good = np.isfinite(y) & (y != 0)
        assert np.median(np.abs(x - y)[good] / scale(theirs, plane)[good]) <= 1e-7, plane


def scale(theirs, plane):
    """The value, or the product's own error where that is more."""
    floor = theirs.err if plane == "sci" else theirs.err**2 if plane.startswith("var") else 0
    return np.fmax(np.abs(getattr(theirs, plane)), floor)


def test_samples_are_the_same_but_for_a_float32_step(calibrated):
    """Within two steps of what was read, and 2e-5 DN of the noise of 7 DN that is subtracted."""
    ours, theirs, _ = calibrated["ramp"]
    np.testing.assert_array_equal(ours.groupdq, theirs.groupdq)
    difference = np.abs(ours.sci[0].astype(float) - theirs.sci[0])
    assert np.nanmax(difference - 2 * calibrated["step"]) <= 2e-5
    assert np.nanmedian(difference) <= 1e-6


@pytest.mark.parametrize("plane", VALUES)
def test_every_value(calibrated, plane):
    """1e-5 in every good pixel, apart from what one float32 step of a sample does to the rate of the shortest ramp, one group time."""
    ours, theirs, _ = calibrated["rate"]
    x, y = getattr(ours, plane), getattr(theirs, plane)
    difference, allowed = np.abs(x - y), 1e-5 * scale(theirs, plane)
    step = calibrated["step"] / float(theirs.header["TGROUP"]) ** (2 if plane.startswith("var") else 1)
    good = np.isfinite(y) & (y != 0)
    assert (difference <= allowed + step)[good].all()
    assert (difference > allowed)[good].mean() < 1e-5  # the step matters in few pixels: those with a rate far below their samples


def test_what_differs_is_rounding(calibrated):
    """Exact transforms would change about as many rates by more than 1e-5 of the peer's as ours do; our samples are as near to theirs."""
    ours, theirs, exact = calibrated["rate"]
    good = np.isfinite(theirs.sci) & (theirs.sci != 0)
    allowed = 1e-5 * scale(theirs, "sci")
    off = [int((np.abs(rate.sci.astype(float) - theirs.sci) > allowed)[good].sum()) for rate in (ours, exact)]
    ours, theirs, exact = (ramp.sci[0].astype(float) for ramp in calibrated["ramp"])
    rms = [np.sqrt(np.nanmean((samples - exact) ** 2)) for samples in (ours, theirs)]
    print("of {} rates more than 1e-5 off the peer's: ours {}, with exact transforms {}".format(good.sum(), *off))
    print("samples from those of exact transforms, DN: ours {:.2e}, the peer's {:.2e}".format(*rms))
    assert off[0] <= 2 * off[1] and off[1] > 0
    assert rms[0] < 1.2 * rms[1]
