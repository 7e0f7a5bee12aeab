"""outlier_detection of slices: hits in one dither are found and good pixels stay, as the peer's way can't; that way too."""

import copy
import logging

import asdf
import numpy as np
import pytest

import make
from jwcal.arithmetic.wcs.pixel_coordinates import labels_of
from jwcal.kernels.outliers.box_median import box_median
from jwcal.kernels.outliers.sharpness import sharpness
from jwcal.model.exposure import Exposure, Pixels
from jwcal.simulate import mrs
from jwcal.simulate.spectrograph import Source, Spectrum
from jwcal.steps import outlier_detection
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import InputError, Skip
from many_threads import each_number
from peer import needs_peer, peer_python

PLANES = ("sci", "err", "var_poisson", "var_rnoise", "var_flat")
STAR = Source(Spectrum(flux=0.3, lines=((5.32, 5.0, 0.0018), (8.14, 5.0, 0.003))), along=0.3, across=-0.2)  # with unresolved lines
ROWS = slice(440, 570)
DITHERS = ((0.0, 0.0), (1.13, 0.6), (-0.9, 0.45))


@pytest.fixture(scope="module")
def dithers(tmp_path_factory):
    files = mrs.write_references(tmp_path_factory.mktemp("references"))
    with asdf.open(files["regions"], mode="rw", lazy_load=False, memmap=False) as file:  # a few rows around the lines: time
        rows = np.arange(1024)
        file["regions"] = file["regions"] * ((rows >= ROWS.start) & (rows < ROWS.stop)).astype("i2")[:, None]
        file.update()
    settings = {"sources": [STAR], "background": lambda w: 20 + w, "response": 20.0}
    return [mrs.simulate_mrs(files, dither={"x": x, "y": y}, seed=n, **settings).exposure for n, (x, y) in enumerate(DITHERS)]


def injected(dithers, hits=400, hot=50, empty=200, seed=0):
    """Copies with hits in one of them each, hot pixels in all, and pixels without a value beside some.

    Returns
    -------
    exposures; of each, where hits are and how high, in standard deviations: (row, col), 0 elsewhere; where hot pixels are: bool
    """
    rng = np.random.default_rng(seed)
    exposures = copy.deepcopy(dithers)
    y, x = np.nonzero(labels_of(dithers[0].wcs))
    bad = np.zeros(dithers[0].sci.shape, bool)
    chosen = rng.choice(y.size, hot, replace=False)
    bad[y[chosen], x[chosen]] = True
    heights = []
    for exposure in exposures:
        height = np.zeros(bad.shape)
        chosen = rng.choice(y.size, hits, replace=False)
        height[y[chosen], x[chosen]] = 10 ** rng.uniform(1, 3, hits)
        height[bad] = 0
        exposure.sci += ((height + 50 * bad) * exposure.err).astype("f4")
        none = rng.choice(y.size, empty, replace=False)
        beside = (np.minimum(y[chosen[: empty // 4]] + 1, 1023), x[chosen[: empty // 4]])
        for rows, columns in ((y[none], x[none]), beside):
            free = (height[rows, columns] == 0) & ~bad[rows, columns]
            exposure.sci[rows[free], columns[free]] = np.nan
        heights.append(np.where(np.isfinite(exposure.sci), height, 0))
    return exposures, heights, bad


def outliers(exposure):
    return (exposure.dq & dq.OUTLIER) > 0


def test_hits_in_one_dither_are_found_and_good_pixels_stay(dithers, caplog):
    """Ours finds nine in ten hits of more than 30 sigma and no good pixel; the peer's way no hit, and 0.2 % of good pixels."""
    recall, wrong = {}, {}
    caplog.set_level(logging.INFO)
    for method in ("dithers", "neighbours"):
        exposures, heights, hot = injected(dithers)
        outlier_detection.apply(exposures, None, "ifu", ifu_method=method)
        found = np.array([outliers(exposure) for exposure in exposures])
        heights = np.array(heights)
        recall[method] = [found[heights > 30].mean(), found[(heights > 10) & (heights <= 30)].mean(), found[:, hot].mean()]
        wrong[method] = (found & (heights == 0) & ~hot).sum(axis=(1, 2)) / np.count_nonzero(labels_of(exposures[0].wcs))
        for exposure, one in zip(exposures, found, strict=True):
            assert (exposure.dq[one] & dq.DO_NOT_USE).all() and np.isnan(exposure.sci[one]).all() and np.isnan(exposure.err[one]).all()
    assert recall["dithers"][0] > 0.9 and recall["dithers"][1] > 0.7 and recall["dithers"][2] > 0.8
    assert recall["neighbours"][0] < 0.05 and recall["neighbours"][2] > 0.95
    assert wrong["dithers"].max() < 2e-5 and wrong["neighbours"].min() > 1.5e-3
    parts = [record for record in caplog.records if "% of the pixels" in record.getMessage()]
    assert len(parts) == 2 * len(dithers) and {record.levelname for record in parts} == {"INFO"}
    exposures, *_ = injected(dithers)
    outlier_detection.apply(exposures, None, "ifu", ifu_method="neighbours", threshold_percent=95.0)
    assert {record.levelname for record in caplog.records[-len(dithers) :]} == {"WARNING"}  # a twentieth of the pixels


def test_nothing_is_found_where_nothing_is(dithers):
    """A bright star with sharp lines on three dithers: at most one pixel in 100 000."""
    exposures = copy.deepcopy(dithers)
    outlier_detection.apply(exposures, None, "ifu")
    assert max(outliers(exposure).sum() for exposure in exposures) <= 1


@pytest.mark.full
@pytest.mark.parametrize("method", ["dithers", "neighbours"])
def test_same_bytes_for_any_number_of_threads(dithers, method):
    def bytes_of():
        exposures, *_ = injected(dithers)
        outlier_detection.apply(exposures, None, "ifu", ifu_method=method)
        return [plane.tobytes() for exposure in exposures for plane in (exposure.sci, exposure.err, exposure.dq)]

    one, other = each_number(bytes_of)
    assert one == other


def test_one_exposure_of_a_band(dithers, caplog):
    """The other one is of another band: sharp single hits are found, and it is said that the others can't be."""
    exposures, heights, _ = injected(dithers[:2])
    exposures[1].header["BAND"] = "LONG"
    heights = np.array(heights)
    outlier_detection.apply(exposures, None, "ifu")
    found = outliers(exposures[0])
    assert "no other exposure is of its band" in caplog.text
    assert found[heights[0] > 100].mean() > 0.8
    assert np.mean(found & (heights[0] == 0)) < 2e-4


@pytest.mark.full
def test_parameters_count(dithers):
    """threshold_percent caps what stands out in all exposures; snr is the limit of the first pass; the second check flags the unknown."""
    pair = dithers[:2]
    few, many = (injected(pair) for _ in range(2))
    outlier_detection.apply(few[0], None, "ifu", snr="200 200")
    outlier_detection.apply(many[0], None, "ifu", threshold_percent=90.0)
    assert outliers(few[0][0]).sum() < 0.5 * outliers(many[0][0]).sum()
    exposures = copy.deepcopy(pair)
    for exposure in exposures:
        exposure.sci[500:503, 100:103] = np.nan
    outlier_detection.apply(exposures, None, "ifu", ifu_second_check=True)
    assert outliers(exposures[0])[501, 101] and not outliers(exposures[0])[510, 100]


def test_bad_input(dithers):
    with pytest.raises(Skip, match="one exposure can't be compared"):
        outlier_detection.apply(dithers[:1], None, "ifu")
    no_wcs = copy.copy(dithers[0])
    no_wcs.pixels = [copy.copy(dithers[0].pixels[0])]
    no_wcs.wcs = None
    with pytest.raises(InputError, match="there is no gWCS"):
        outlier_detection.apply([no_wcs, dithers[1]], None, "ifu")
    other = Exposure(dithers[0].header, [Pixels(sci=np.zeros((8, 8), "f4"), err=np.ones((8, 8), "f4"), dq=np.zeros((8, 8), "u4"))])
    with pytest.raises(InputError, match="its images are \\(8, 8\\)"):
        outlier_detection.apply([dithers[0], other], None, "ifu")


def test_a_slice_without_a_value(dithers):
    """All NaN in one dither: it stays so, and the others are compared with each other."""
    exposures, heights, _ = injected(dithers)
    empty = labels_of(dithers[0].wcs) == 110
    exposures[0].sci[empty] = np.nan
    outlier_detection.apply(exposures, None, "ifu")
    assert np.isnan(exposures[0].sci[empty]).all()
    hit = (heights[1] > 30) & empty
    assert hit.sum() and outliers(exposures[1])[hit].mean() > 0.8


def test_kernels_are_their_definitions():
    rng = np.random.default_rng(1)
    image = rng.normal(size=(9, 11))
    image[rng.random(image.shape) < 0.2] = np.nan
    around = np.pad(image, ((1, 1), (2, 2)))
    boxes = np.lib.stride_tricks.sliding_window_view(around, (3, 5))
    np.testing.assert_allclose(box_median(image, 3, 5, True), np.nanmedian(boxes, axis=(2, 3)))
    sci, err = rng.normal(size=(5, 5)).astype("f4"), np.full((5, 5), 0.5, "f4")
    sci[2, 2] = 9
    in_noise, in_height = sharpness(sci, err, 3, 5, 1.0)
    step = 9 - max(sci[1, 2], sci[3, 2], sci[2, 1], sci[2, 3])
    np.testing.assert_allclose([in_noise[2, 2], in_height[2, 2]], [step / 0.5, step / (9 - np.median(sci[1:4]))], rtol=1e-6)


PEER = """
from stdatamodels.jwst import datamodels
from jwst.datamodels import ModelContainer
from jwst.outlier_detection.ifu import detect_outliers
models = []
for n in range(len(sci)):
    model = datamodels.IFUImageModel(data=sci[n], err=err[n], dq=dq[n], var_poisson=vp[n], var_rnoise=vr[n], var_flat=vf[n])
    model.meta.instrument.name, model.meta.instrument.detector = str(instrument), str(detectors[n])
    model.meta.exposure.type = "MIR_MRS"
    models.append(model)
found = detect_outliers(ModelContainer(models), False, str(size), bool(second), float(percent), None)
out["dq"] = np.stack([model.dq for model in found])
out["data"] = np.stack([model.data for model in found])
out["var"] = np.stack([model.var_flat for model in found])
"""


@pytest.mark.parity
@needs_peer
@pytest.mark.parametrize(
    ("instrument", "detectors", "settings"),
    [
        ("MIRI", ("MIRIFUSHORT",) * 3, {}),
        ("MIRI", ("MIRIFUSHORT", "MIRIFULONG", "MIRIFUSHORT"), {"kernel_size": "3 10", "ifu_second_check": True}),
        ("NIRSPEC", ("NRS1", "NRS2", "NRS1"), {"threshold_percent": 99.0}),
    ],
)
def test_as_the_peer(instrument, detectors, settings):
    """The peer's way: the same flags, the same NaN."""
    rng = np.random.default_rng(7)
    exposures, axis = [], 2 if instrument == "MIRI" else 1
    for detector in detectors:
        image = rng.normal(5, 1, (120, 90)) + 100 * np.exp(-0.5 * ((np.arange(90) - 40) / 2) ** 2)
        image[rng.random(image.shape) < 0.02] = np.nan
        image[30:34, 20:24] = np.nan
        made = make.image_exposure(image, suffix="cal", INSTRUME=instrument, DETECTOR=detector, DISPAXIS=axis)
        made.dq[:] = rng.choice([0] * 40 + [1, 4], image.shape)
        made.var_flat = np.where(rng.random(image.shape) < 0.01, np.nan, 1).astype("f4")
        exposures.append(made)
    planes = {"sci": "sci", "err": "err", "dq": "dq", "vp": "var_poisson", "vr": "var_rnoise", "vf": "var_flat"}
    given = {name: np.stack([getattr(one, plane) for one in exposures]) for name, plane in planes.items()}
    size, second = settings.get("kernel_size", "7 7"), settings.get("ifu_second_check", False)
    about = {"size": size, "second": second, "percent": settings.get("threshold_percent", 99.8)}
    peers = peer_python(PEER, instrument=instrument, detectors=list(detectors), **about, **given)
    outlier_detection.apply(exposures, None, "ifu", ifu_method="neighbours", **settings)
    np.testing.assert_array_equal(np.stack([one.dq for one in exposures]), peers["dq"])
    np.testing.assert_array_equal(np.stack([one.sci for one in exposures]), peers["data"])
    np.testing.assert_array_equal(np.stack([one.var_flat for one in exposures]), peers["var"])
