"""ipc: against scipy, against a coupling that is undone, against the peer."""

import numpy as np
import pytest
from scipy.ndimage import convolve

import make
from jwcal.settings.chains import chain
from jwcal.settings.step_modules import parameters_of
from jwcal.steps import ipc
from jwcal.vocabulary.errors import InputError, ReferenceError, Skip
from peer import needs_peer

NY, NX = 20, 30
COUPLING = np.array([[0, 0.006, 0], [0.004, 0.98, 0.004], [0, 0.006, 0]])
KERNEL = np.array([[1e-4, -0.006, 2e-4], [-0.005, 1.02, -0.003], [3e-4, -0.007, 4e-4]], np.float32)  # of no symmetry

# instrument, first column, first row -> the pixels that see light
PLACES = [
    ("NIRCAM", 1, 1, np.s_[4:, 4:]),
    ("NIRCAM", 301, 401, np.s_[:, :]),
    ("NIRISS", 2049 - NX, 2049 - NY, np.s_[:-4, :-4]),
    ("FGS", 3, 2048 - NY, np.s_[:-3, 2:]),
    ("MIRI", 1, 1, np.s_[:, 4:]),
    ("MIRI", 1033 - NX, 1025 - NY, np.s_[:, :-4]),
]


def border(exposure):
    """As the table gives it: of MIRI's detectors the rows end with reference pixels, the columns don't."""
    (step,) = [step for step in chain("detector1", exposure.header).steps if step.name == "ipc"]
    return step.arguments


def ramp(instrument="NIRCAM", column=301, row=401, shape=(2, 3, NY, NX)):
    data = np.random.default_rng(1).uniform(0, 60000, shape)
    return make.ramp_exposure(data, INSTRUME=instrument, SUBSTRT1=column, SUBSTRT2=row)


@pytest.mark.parametrize(("instrument", "column", "row", "active"), PLACES)
def test_convolves_what_sees_light(tmp_path, instrument, column, row, active):
    exposure, wanted = ramp(instrument, column, row), ramp(instrument, column, row).sci
    for plane in wanted.reshape(-1, NY, NX):
        plane[active] = convolve(plane[active].astype(float), KERNEL, mode="constant")
    ipc.apply(exposure, make.references(tmp_path, exposure, ipc=KERNEL), **border(exposure))
    assert np.allclose(exposure.sci, wanted, rtol=1e-6, atol=0.01)


def test_on_by_default_where_there_is_a_reference(tmp_path):
    """As the peer: what switches it off in operations is a parameter reference."""
    assert parameters_of("ipc")["skip"].default is False
    exposure = ramp()
    with pytest.raises(Skip, match="no ipc reference"):
        ipc.apply(exposure, make.references(tmp_path, exposure))


def test_undoes_a_coupling(tmp_path):
    """Two rounds of the inverse, 2 - c, (1 - (c - 1) + (c - 1)^2), leave a third-order rest; the first leaves a second-order one."""
    truth = np.zeros((1, 1, NY, NX))
    truth[0, 0, 10, 15], truth[0, 0, 5, 5] = 50000, 20000
    seen = convolve(truth[0, 0], COUPLING, mode="constant")
    identity = np.zeros((3, 3))
    identity[1, 1] = 1
    error = []
    rest = COUPLING - identity
    first = identity - rest
    second = np.pad(first, 1) + convolve(np.pad(rest, 1), rest, mode="constant")
    for kernel in (first, second):
        exposure = make.ramp_exposure(seen[None, None], SUBSTRT1=301, SUBSTRT2=401)
        ipc.apply(exposure, make.references(tmp_path, exposure, ipc=kernel))
        error.append(np.abs(exposure.sci - truth).max())
    assert np.abs(seen - truth[0, 0]).max() > 900
    assert error[0] < 30 and error[1] < 1


@pytest.mark.parametrize(("instrument", "column", "row", "active"), PLACES)
def test_a_kernel_for_each_pixel_is_taken_at_the_pixel(tmp_path, instrument, column, row, active):
    exposure = ramp(instrument, column, row, (1, 2, NY, NX))
    here = np.random.default_rng(2).normal(0, 0.01, (3, 3, NY, NX)).astype(np.float32)
    full = np.zeros((3, 3, row + NY - 1, column + NX - 1), np.float32)
    full[..., row - 1 :, column - 1 :] = here
    wanted = exposure.sci.copy()
    for plane in wanted.reshape(-1, NY, NX):
        padded = np.pad(plane[active].astype(float), 1)
        ny, nx = plane[active].shape
        weights = here[(..., *active)]
        plane[active] = sum(weights[j, i] * padded[2 - j : 2 - j + ny, 2 - i : 2 - i + nx] for j in range(3) for i in range(3))
    ipc.apply(exposure, make.references(tmp_path, exposure, ipc=full), **border(exposure))
    assert np.allclose(exposure.sci, wanted, rtol=1e-6, atol=0.002)


def test_a_subarray_beyond_the_detector(tmp_path):
    exposure = make.ramp_exposure((1, 2, 20, 20), SUBSTRT1=2040)
    refs = make.references(tmp_path, exposure, ipc=np.eye(3, dtype=np.float32))
    with pytest.raises(InputError, match="SUBSTRT1 is 2040 and SUBSIZE1 20, which is not within the detector's 2048 columns"):
        ipc.apply(exposure, refs, **border(exposure))


def test_what_is_no_kernel(tmp_path):
    exposure, before = ramp(), ramp().sci
    for wrong in (np.ones(3), np.ones((3, 3, NY)), np.ones((NY + 1, NX)), np.ones((3, 3, NY, NX))):
        with pytest.raises(ReferenceError, match="ipc"):
            ipc.apply(exposure, make.references(tmp_path, exposure, ipc=wrong))
    assert np.array_equal(exposure.sci, before)


@pytest.mark.parity
@needs_peer
def test_same_values_as_the_peer(tmp_path):
    rng = np.random.default_rng(3)
    cases = []
    for number, (instrument, column, row, _) in enumerate(PLACES):
        (folder := tmp_path / str(number)).mkdir()
        kernels = [KERNEL, rng.normal(0, 0.01, (5, 3)), rng.normal(0, 0.01, (3, 3, row + NY - 1, column + NX - 1))]
        exposure = ramp(instrument, column, row, (1, 2, NY, NX))
        cases.append((exposure, make.references(folder, exposure, ipc=kernels[number % 3].astype(np.float32)), {}))
    code = "from jwst.ipc.ipc_corr import do_correction\nresult = do_correction(model, datamodels.IPCModel(refs['ipc']))"
    for (exposure, refs, _), theirs in zip(cases, make.by_peer(tmp_path, code, cases), strict=True):
        ipc.apply(exposure, refs, **border(exposure))
        assert np.array_equal(exposure.sci, theirs["data"])
