"""straylight: an injected cross artefact and showers are taken out; bad pixels between the channels do no harm; and as the peer has it."""

import numpy as np
import pytest

import make
import mrs
from jwcal.kernels.detector.scattered_rows import scatter
from jwcal.model.references import References
from jwcal.steps import straylight
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import InputError, ReferenceError
from many_threads import each_number
from peer import needs_peer, peer_python

SHAPE = (1024, 1032)
COLUMNS = {"12": (503, 516), "34": (474, 507)}  # between the channels


def labels(channels="12"):
    """A map of slices: 17 columns of 23."""
    image = np.zeros(SHAPE, np.int16)
    for number, first in enumerate(range(12, 1012, 23)):
        if first + 17 < COLUMNS[channels][0] - 6 or first > COLUMNS[channels][1] + 6:
            image[:, first : first + 17] = 101 + number
    return image


def exposure(image, channels="12", band="SHORT"):
    made = make.image_exposure(image, INSTRUME="MIRI", DETECTOR="MIRIFUSHORT", CHANNEL=channels, BAND=band)
    made.header.sci["BUNIT"] = "DN/s"
    return made


def references(folder, made):
    content = {f"CH{channel}A": mrs.artefact(int(channel)) for channel in made.header["CHANNEL"]}
    return make.references(folder, made, mrsxartcorr=content)


def scene(channels="12", seed=1, noise=0.02):
    """Light in slices, and the artefact that it makes; the light that makes none is below the noise."""
    rng = np.random.default_rng(seed)
    light = np.where(labels(channels) > 0, rng.gamma(1.0, 20.0, SHAPE), 0)
    return light, light + noise * rng.normal(size=SHAPE)


def thrown(light, channels="12"):
    """The artefact by its definition, a matrix a row."""
    distance = np.subtract.outer(np.arange(SHAPE[1]), np.arange(SHAPE[1]))
    made = np.zeros(SHAPE)
    left, right = {"12": (1, 2), "34": (4, 3)}[channels]
    for channel, half in ((left, slice(0, 516)), (right, slice(516, 1024))):
        table = mrs.artefact(channel)
        for y in range(0, SHAPE[0], 64):
            t = {name: float(table[name][y]) for name in table.dtype.names}
            gamma, sigma = t["lor_fwhm"] / 2, t["gau_fwhm"] / np.sqrt(8 * np.log(2))
            profile = t["lor_scale"] / (1 + (distance / gamma) ** 2)
            for side in (-1, 1):
                profile += t["gau_scale1"] * np.exp(-0.5 * ((distance + side * t["gau_xoff"]) / sigma) ** 2)
                profile += t["gau_scale2"] * np.exp(-0.5 * ((distance + 2 * side * t["gau_xoff"]) / (2 * sigma)) ** 2)
            made[y] += profile[:, half] @ light[y, half]
    return made


def test_kernel_is_its_definition():
    light, _ = scene()
    out = np.zeros(SHAPE)
    for channel, half in ((1, slice(0, 516)), (2, slice(516, 1024))):
        table = mrs.artefact(channel)
        scatter(light.astype("f4"), out, half, [table[name.lower()].astype(float) for name in mrs.ARTEFACT])
    np.testing.assert_allclose(out[::64], thrown(light)[::64], rtol=1e-6)


@pytest.mark.parametrize("channels", ["12", "34"])
def test_an_artefact_and_a_pedestal_are_taken_out(tmp_path, channels):
    """To 2 % of the artefact: what a scattered photon scatters again."""
    light, noisy = scene(channels)
    cross = np.zeros(SHAPE)
    for channel, half in zip({"12": (1, 2), "34": (4, 3)}[channels], (slice(0, 516), slice(516, 1024)), strict=True):
        table = mrs.artefact(channel)
        scatter(light.astype("f4"), cross, half, [table[name.lower()].astype(float) for name in mrs.ARTEFACT])
    made = exposure(noisy + cross + 0.3, channels)
    straylight.apply(made, references(tmp_path, made))
    seeing = np.s_[:, 4:1028]
    left = (made.sci - noisy)[seeing]
    assert np.median(cross[seeing]) > 0.3
    assert np.abs(np.median(left)) < 0.02 * np.median(cross[seeing])
    assert np.std(left) < 0.1 * np.std(cross[seeing])


def test_same_bytes_for_any_number_of_threads(tmp_path):
    _, noisy = scene()
    refs = references(tmp_path, exposure(noisy))

    def bytes_of():
        made = exposure(noisy + 0.3)
        straylight.apply(made, refs)
        return made.sci.tobytes()

    one, other = each_number(bytes_of)
    assert one == other


def test_hot_pixels_between_the_channels_do_no_harm(tmp_path):
    """Neither hot nor empty pixels of the gap move the pedestal; the peer takes those without a value for 0."""
    _, noisy = scene()
    noisy += 0.3
    clean, hurt = exposure(noisy), exposure(noisy)
    rng = np.random.default_rng(3)
    hot = rng.random(SHAPE) < 0.3
    hot[:, :503] = hot[:, 516:] = False
    hurt.sci[hot], hurt.dq[hot] = np.nan, dq.DO_NOT_USE
    burning = hot & (rng.random(SHAPE) < 0.5)
    hurt.sci[burning], hurt.dq[burning] = 1e3, dq.HOT
    theirs = exposure(hurt.sci)
    theirs.dq[:] = hurt.dq
    for one, as_jwst in ((clean, False), (hurt, False), (theirs, True)):
        straylight.apply(one, references(tmp_path, one), bad_gap_pixels=as_jwst)
    good = ~hot
    good[:, :4] = good[:, 1028:] = False
    assert np.abs((hurt.sci - clean.sci)[good]).max() < 0.01
    assert np.median((theirs.sci - clean.sci)[good]) > 0.02  # too little is subtracted
    assert np.isnan(hurt.sci[hot & ~burning]).all()


def test_showers_leave_a_source_alone(tmp_path):
    """A blot of 60 x 30 pixels goes down to a tenth; a bright source, and what is far from both, stay."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    rng = np.random.default_rng(2)
    image = 0.01 * rng.normal(size=SHAPE)
    source = np.where(labels() > 0, 100 * np.exp(-0.5 * ((x - 700) / 3) ** 2), 0)
    blot = 0.5 * np.exp(-0.5 * (((x - 250) / 60) ** 2 + ((y - 500) / 30) ** 2))
    made = exposure(image + source + blot)
    regions = tmp_path / "regions.asdf"
    mrs.write(regions, "regions", {"regions": np.stack([labels()] * 9)})
    dark = {f"CH{n}A": mrs.artefact(n) for n in (1, 2)}
    for one in dark.values():
        for name in ("lor_scale", "gau_scale1", "gau_scale2"):
            one[name] = 0
    none = make.reference_file(tmp_path / "none.fits", "mrsxartcorr", dark)
    refs = References({"mrsxartcorr": none, "regions": regions}, made.header)
    cleaned, model = straylight.apply(made, refs, clean_showers=True, save_shower_model=True)
    assert model.suffix == "shower_model" and model.sci.shape == SHAPE
    left = cleaned.sci - source
    core = blot > 0.25
    assert np.abs(left[core].mean()) < 0.1 * blot[core].mean()
    bright = source > 1
    assert np.abs((cleaned.sci - source)[bright].mean()) < 0.02


def test_bad_input(tmp_path):
    made = exposure(np.zeros(SHAPE))
    refs = references(tmp_path, made)
    with pytest.raises(InputError, match="regions reference is N/A"):
        straylight.apply(made, refs, clean_showers=True)
    with pytest.raises(InputError, match="straylight is taken out of an image"):
        straylight.apply(make.image_exposure(np.zeros((2, 4, 4)), CHANNEL="12", BAND="SHORT"), refs)
    made.header["CHANNEL"] = "13"
    with pytest.raises(InputError, match="12 or 34 is expected"):
        straylight.apply(made, refs)
    short = make.references(tmp_path, made, mrsxartcorr={"CH1A": mrs.artefact(1)[:1000], "CH2A": mrs.artefact(2)})
    made.header["CHANNEL"] = "12"
    with pytest.raises(ReferenceError, match="CH1A has 1000 rows, the exposure has 1024"):
        straylight.apply(made, short)


def test_a_half_without_parameters_is_left_alone(tmp_path, caplog):
    """Bands that were taken with crossed dichroics have none: the pedestal alone is subtracted."""
    _, noisy = scene()
    made = exposure(noisy + 0.3, band="SHORT-MEDIUM")
    straylight.apply(made, references(tmp_path, made))
    assert "no table for channel 1, band SHORT-MEDIUM" in caplog.text
    np.testing.assert_allclose(made.sci[:, 4:1028], noisy[:, 4:1028], atol=0.005)


PEER = """
from stdatamodels.jwst import datamodels
from jwst.straylight import straylight
model = datamodels.IFUImageModel(data=image, dq=flags)
model.meta.instrument.channel, model.meta.instrument.band = str(channels), "SHORT"
if light_only:  # its model takes a minute
    straylight.makemodel_ccode = lambda image, *_: 0 * image
model = straylight.correct_xartifact(model, datamodels.MirMrsXArtCorrModel(str(reference)))
out["data"] = model.data.copy()
known = datamodels.RegionsModel(str(regions))
model, showers = straylight.clean_showers(model, known.regions, save_shower_model=True)
out["cleaned"], out["showers"] = model.data, showers.data
"""


@pytest.mark.parity
@needs_peer
@pytest.mark.parametrize(
    ("channels", "whole"),
    [("12", False), pytest.param("12", True, marks=pytest.mark.full), pytest.param("34", True, marks=pytest.mark.full)],
)
def test_as_the_peer(tmp_path, channels, whole):
    """1e-4 of the values; without the artefact itself, which takes the peer a minute, in the short case."""
    rng = np.random.default_rng(5)
    _, image = scene(channels, seed=5)
    image = (image + 0.3).astype(np.float32)
    image[rng.random(SHAPE) < 1e-3] = np.nan
    flags = rng.choice([0] * 60 + [dq.DO_NOT_USE, dq.HOT, dq.NON_SCIENCE], SHAPE).astype(np.uint32)
    made = exposure(image, channels)
    made.dq[:] = flags
    regions = tmp_path / "regions.asdf"
    mrs.write(regions, "regions", {"regions": np.stack([labels(channels)] * 9)})
    content = {f"CH{channel}A": mrs.artefact(int(channel)) for channel in channels}
    for table in () if whole else content.values():
        for name in ("lor_scale", "gau_scale1", "gau_scale2"):
            table[name] = 0
    reference = make.reference_file(tmp_path / "mrsxartcorr.fits", "mrsxartcorr", content)
    given = {"image": image, "flags": flags, "channels": channels, "light_only": not whole}
    peers = peer_python(PEER, **given, reference=str(reference), regions=str(regions))
    refs = References({"mrsxartcorr": reference, "regions": regions}, made.header)
    straylight.apply(made, refs, bad_gap_pixels=True)
    np.testing.assert_allclose(made.sci, peers["data"], rtol=1e-5, atol=1e-6)
    made.sci[:] = image
    cleaned, model = straylight.apply(made, refs, bad_gap_pixels=True, clean_showers=True, save_shower_model=True)
    np.testing.assert_allclose(model.sci, peers["showers"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(cleaned.sci, peers["cleaned"], rtol=1e-5, atol=1e-6)
