"""Striped readout through the whole of detector1, ours and the peer: substripes, superstripes, and these read several times a frame."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from jwcal.model import stripes
from jwcal.model.exposure import Header
from jwcal.simulate.exposures import asdf_extension, metadata
from jwcal.simulate.instruments import Subarray
from jwcal.vocabulary import limits
from peer import needs_peer
from twins import RAMP, Case, assert_same_products, run_both

pytestmark = [pytest.mark.full, pytest.mark.parity, needs_peer]

OFF = {"ipc": {"skip": True}, "dark_current": {"skip": True}}  # the peer does not cut a dark
# Bands of the detector along its slow axis, of two amplifiers' columns. They are in the middle of the detector, because the peer puts
# the amplifiers of others in the wrong place where the fast axis runs backwards.
ALONG_Y = Subarray("GENERIC", 1001, 1, 48, 2048)
ALONG_X = Subarray("GENERIC", 1, 1001, 2048, 48)


def keywords(reads1=4, skips1=0, reads2=8, skips2=0, repeat=0, interleave=0, step=0, number=0):
    names = ("RD1", "SK1", "RD2", "SK2", "RPT", "ILV")
    values = (reads1, skips1, reads2, skips2, repeat, interleave)
    return {f"MSTR_{name}": value for name, value in zip(names, values, strict=True)} | {"SSTR_STP": step, "SSTR_NST": number}


def cut_stripes(path, size, start=1, **readout):
    """Turn a raw exposure of a band into one that was read in stripes: of each integration one position, of each group a frame."""
    with fits.open(path) as hdus:
        primary, science = hdus[0].header, hdus["SCI"].header
        slow = int(primary["SLOWAXIS"] if "SLOWAXIS" in primary else science["SLOWAXIS"])
        part = primary if "SUBSTRT1" in primary else science
        part[f"SUBSIZE{abs(slow)}"] = size
        part[f"SUBSTRT{abs(slow)}"] = limits.SIDE - start + 1 if slow < 0 else start
        primary.update(keywords(**readout))
        header = Header(primary, science, str(path))
        number = max(1, stripes.positions(header))
        data = hdus["SCI"].data
        frames = []
        for i in range(len(data)):
            place = stripes.stripes_of(header, i % number)
            here, repeats = place.to_detector(data[i]), len(place.science) if readout.get("repeat") else 1
            image = np.empty((data.shape[1] // repeats, size, here.shape[-1]), data.dtype)
            for run in place.runs:
                again = run.frame.start * repeats // size  # each time the group that comes then
                image[:, run.frame] = here[again::repeats][: len(image), run.detector]
            frames.append(place.to_archive(image))
        hdus["SCI"].data = np.ascontiguousarray(np.stack(frames))
        primary["NGROUPS"] = frames[0].shape[0]
        hdus["ASDF"] = asdf_extension({"meta": metadata(primary, science)})
        hdus.writeto(path, overwrite=True)


def case(readout, size, subarray=ALONG_Y, start=1, **options):
    return Case(
        dict(subarray=subarray) | options,
        {"default": OFF},
        brightness=(-1.0, 4.0),
        rewrite=lambda path: cut_stripes(path, size, start, **readout),
    )


SUPER = dict(reads1=4, reads2=20, step=20, number=3, repeat=1, interleave=1)
CASES = {
    "substripes": case(dict(skips1=30, skips2=50), 4 + 5 * 8, exp_type="NRC_TSGRISM", detector="NRCALONG", nints=2, ngroups=5),
    "substripes, each with reference pixels": case(
        dict(skips1=30, skips2=50, repeat=1, interleave=1), 3 * 12, exp_type="NRC_TSGRISM", detector="NRCBLONG", nints=2, ngroups=5
    ),
    "superstripes": case(SUPER, 24, exp_type="NRC_IMAGE", detector="NRCA1", nints=6, ngroups=5),
    "superstripes, slow axis backwards": case(SUPER, 24, exp_type="NRC_IMAGE", detector="NRCA2", nints=6, ngroups=5),
    "superstripes along x": case(SUPER, 24, ALONG_X, exp_type="NIS_SOSS", detector="NIS", nints=6, ngroups=5),
    "superstripes elsewhere": case(SUPER | dict(reads1=0), 20, start=301, exp_type="NRC_IMAGE", detector="NRCA3", nints=3, ngroups=4),
    "superstripes with repeats": case(
        dict(reads1=4, skips1=40, reads2=12, step=12, number=2, repeat=1),
        4 * 16,
        exp_type="NRC_IMAGE",
        detector="NRCB2",
        nints=4,
        ngroups=12,
    ),
}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return run_both(tmp_path_factory.mktemp("stripes"), CASES)


@pytest.mark.parametrize("name", CASES)
def test_as_the_peer(done, name):
    ours, theirs = done[name, "default"]
    assert_same_products(ours, theirs, "ramp", RAMP)
    for suffix in ("rate", "rateints"):
        assert_same_products(ours, theirs, suffix)
    if "superstripes" in name:
        tables = [
            Table.read(next(folder.glob("*_rateints.fits")), hdu) for folder in (ours, theirs) for hdu in ("INT_TIMES", "INT_TIMES_STRIPE")
        ]
        for a, b in (tables[::2], tables[1::2]):
            assert a.colnames == b.colnames
            for column in a.colnames:
                np.testing.assert_allclose(a[column], b[column], rtol=1e-12)
        heads = [fits.getheader(next(folder.glob("*_rate.fits"))) for folder in (ours, theirs)]
        for keyword in ("SUBSTRT1", "SUBSTRT2", "SUBSIZE1", "SUBSIZE2", "NINTS", "NGROUPS", "INTSTART", "INTEND", "MSTR_RD1", "SSTR_NST"):
            assert heads[0].get(keyword) == heads[1].get(keyword), keyword
