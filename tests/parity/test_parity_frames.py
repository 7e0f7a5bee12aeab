"""Stage 1 against the peer on whole detectors, and on real subarrays whose readout has rules of its own."""

import pytest

from peer import needs_peer
from twins import RAMP, Case, assert_same_products, run_both

pytestmark = [pytest.mark.full, pytest.mark.parity, needs_peer]

OFF = {"default": {"ipc": {"skip": True}}}
CASES = {
    "NIRSpec without reference pixels": Case(
        dict(exp_type="NRS_BRIGHTOBJ", detector="NRS2", subarray="SUB512", ngroups=5, nints=3), OFF, "tso1"
    ),
    "SOSS, second segment": Case(
        dict(exp_type="NIS_SOSS", detector="NIS", subarray="SUBSTRIP96", ngroups=4, nints=2, segment=(2, 2, 3, 4, 4)), OFF, "tso1"
    ),
    "NIRCam": Case(dict(exp_type="NRC_IMAGE", detector="NRCA1", subarray="FULL", ngroups=4), OFF),
    "FGS": Case(dict(exp_type="FGS_IMAGE", detector="GUIDER1", subarray="FULL", ngroups=4), OFF),
}


@pytest.fixture(scope="module", params=CASES)
def done(request, tmp_path_factory):
    """Our products and the peer's."""
    runs = run_both(tmp_path_factory.mktemp("frames"), {request.param: CASES[request.param]})
    return runs[request.param, "default"]


def test_ramp(done):
    assert_same_products(*done, "ramp", RAMP)


@pytest.mark.parametrize("suffix", ["rate", "rateints"])
def test_rates(done, suffix):
    assert_same_products(*done, suffix)
