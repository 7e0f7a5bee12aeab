"""Pipelines of slices by the peer, and its images, cubes and spectra beside ours."""

import json

import numpy as np
from astropy.io import fits

from peer import peer_python
from sky import SHARED

# As the peer's steps do with defaults; ours do better (docs/differences.md).
AS_THE_PEER = {
    "straylight": {"bad_gap_pixels": True},
    "outlier_detection": {"ifu_method": "neighbours"},
    "extract_1d": {"ifu_centre": "spaxel", "ifu_bkg_area": "ring"},
}
PEER = """
import logging, sys
sys.path.insert(0, {helpers!r})
import run_peer
run_peer.offline()
logging.disable(logging.CRITICAL)
from jwst import pipeline
for name, source, out_folder, files, steps in json.loads(str(runs)):
    run_peer.give_references(files)
    pipe = getattr(pipeline, name.capitalize() + "Pipeline")()
    pipe.save_results, pipe.output_dir, pipe.prefetch_references = True, out_folder, False
    for step, values in steps.items():
        for parameter, value in values.items():
            setattr(getattr(pipe, step), parameter, value)
    pipe.run(source)
"""
COLUMNS = ("FLUX", "FLUX_ERROR", "SURF_BRIGHT", "SB_ERROR", "BACKGROUND", "BKGD_ERROR", "NPIXELS")


def peers(runs, folder):
    """Run pipelines of the peer, one after the other.

    Parameters
    ----------
    runs : list of (pipeline, source, folder, references, steps)
        References are type -> path, steps name -> {parameter: value}.
    folder : path
        That holds those of the runs.
    """
    runs = [(name, str(source), str(out), {k: str(path) for k, path in files.items()}, steps) for name, source, out, files, steps in runs]
    peer_python(PEER.format(helpers=str(SHARED / "peer")), folder=str(folder), runs=json.dumps(runs))


def with_ours(steps):
    """The parameters of a run of ours that does as the peer does with `steps`."""
    return {name: {**AS_THE_PEER.get(name, {}), **steps.get(name, {})} for name in {*AS_THE_PEER, *steps}}


def close(one, other, error=0.0, name=""):
    """NaN in the same places; 99.9 % within 1e-6 of the value or of its error, whichever is larger, half of them within a tenth of that."""
    one, other = (np.asarray(plane, float) for plane in (one, other))
    np.testing.assert_array_equal(np.isnan(one), np.isnan(other), err_msg=name)
    scale = np.maximum(np.abs(other), np.nan_to_num(error))
    none, good = scale == 0, scale > 0
    assert good.any(), name
    np.testing.assert_array_equal(one[none], 0, err_msg=name)
    off = np.abs(one - other)[good] / scale[good]
    assert np.mean(off <= 1e-6) > 0.999 and np.median(off) <= 1e-7, (name, np.percentile(off, (50, 99.9, 100)))


def same_images(mine, its, planes=(), equal=()):
    """Flags are equal, other planes close."""
    with fits.open(mine) as ours, fits.open(its) as theirs:
        for name in ("DQ", *equal):
            np.testing.assert_array_equal(ours[name].data, theirs[name].data, err_msg=name)
        for name in ("SCI", "ERR", *planes):
            close(ours[name].data, theirs[name].data, theirs["ERR"].data if name == "SCI" else 0.0, name)
        for name in ("VAR_POISSON", "VAR_RNOISE", "VAR_FLAT"):  # as errors; that of the flat field goes with the value
            error = theirs["ERR"].data if name == "VAR_FLAT" else 0.0
            close(*(np.sqrt(hdus[name].data.astype(float)) for hdus in (ours, theirs)), error, name)


def same_cubes(mine, its, limit=1e-4):
    """Flags, wavelengths and footprint are equal; where a pixel lies, values are within a limit of the value or its error.

    One voxel in 100 000 may be off by more: two pixels of different brightness touch it with their corners.
    """
    with fits.open(mine) as ours, fits.open(its) as theirs:
        np.testing.assert_array_equal(ours["DQ"].data, theirs["DQ"].data)
        assert np.mean(ours["WMAP"].data != theirs["WMAP"].data) < 1e-4  # some corners of pixels only touch a voxel
        wavelengths = [np.ravel(hdus["WCS-TABLE"].data["wavelength"]) for hdus in (ours, theirs)]
        np.testing.assert_array_equal(*wavelengths)
        about, other = (hdus["SCI"].header for hdus in (ours, theirs))
        for key in ("CTYPE3", "CRVAL1", "CRVAL2", "CRVAL3", "CRPIX1", "CRPIX2", "CRPIX3", "CDELT1", "CDELT2", "CDELT3", "PC1_1", "PC2_2"):
            assert about.get(key) == other.get(key) or abs(about[key] / other[key] - 1) < 1e-9, key
        corners = [np.array(header["S_REGION"].split()[2:], float) for header in (about, other)]
        np.testing.assert_allclose(*corners, rtol=0, atol=3e-7)
        there = theirs["WMAP"].data > 0
        assert there.mean() > 0.1
        error = theirs["ERR"].data[there].astype(float)
        for name in ("SCI", "ERR"):
            one, other = (hdus[name].data[there].astype(float) for hdus in (ours, theirs))
            off = np.abs(one - other) / np.maximum(np.abs(other), error)
            assert np.mean(off > limit) < 1e-5 and off.max() < 10 * limit, (name, np.sum(off > limit), off.max())


def same_spectra(mine, its, limit=1e-4):
    """Wavelengths and flags are equal, columns within a limit where a plane has values."""
    one, other = (fits.getdata(path, "EXTRACT1D") for path in (mine, its))
    assert one.names == other.names
    for name in ("WAVELENGTH", "DQ"):
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    good = other["DQ"] == 0
    assert good.mean() > 0.3
    for name in (*COLUMNS, *(name for name in other.names if name.startswith("RF_"))):
        np.testing.assert_allclose(one[name][good], other[name][good], rtol=limit, err_msg=name)


def same_products(mine, its, **of_images):
    """Files of the same names are in two folders and those in them, and what is in the files is the same."""
    ours, theirs = ({path.name: path for path in folder.rglob("jw0*.fits")} for folder in (mine, its))
    assert set(ours) == set(theirs)
    wrong = []
    for name in sorted(ours):
        suffix = name.removesuffix(".fits").split("_")[-1]
        try:
            if suffix in ("cal", "crf"):
                same_images(ours[name], theirs[name], **of_images)
            else:
                {"s3d": same_cubes, "x1d": same_spectra}[suffix](ours[name], theirs[name])
        except AssertionError as error:
            wrong.append(f"{name}: {error}")  # all of them: a run takes minutes
    assert not wrong, "\n".join(wrong)
