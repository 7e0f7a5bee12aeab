"""The FITS approximation of a gWCS, evaluated from its keywords by astropy and by hand."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

import sky
from jwcal.arithmetic.wcs import sip
from jwcal.steps import assign_wcs
from peer import needs_peer, peer_python

MIRI = sky.SHARED / "real/references/miri/jwst_miri_imager_distortion_flt9.asdf"
needs_real = pytest.mark.skipif(not MIRI.exists(), reason="the real reference files (../shared/real) are not here")


def inverse(header, ra, dec):
    """Sky to pixels counted from 0: astropy's tangent plane, then the SIP paper's equation (4) term by term."""
    linear = header.copy()
    for key in [key for key in linear if sip.OLD.match(key) and not key.startswith("CD")]:
        del linear[key]
    linear["CTYPE1"], linear["CTYPE2"] = "RA---TAN", "DEC--TAN"
    x, y = WCS(linear).wcs_world2pix(ra, dec, 1)
    u, v = x - header["CRPIX1"], y - header["CRPIX2"]
    out = []
    for letter, value in (("AP", u), ("BP", v)):
        terms = [(i, j) for i in range(7) for j in range(7) if f"{letter}_{i}_{j}" in header]
        out.append(value + sum(header[f"{letter}_{i}_{j}"] * u**i * v**j for i, j in terms))
    return out[0] + header["CRPIX1"] - 1, out[1] + header["CRPIX2"] - 1


def errors(exposure):
    """Largest errors [pixel] of the keywords against the gWCS, forward and inverse, on a grid of their own."""
    nrow, ncol = exposure.sci.shape[-2:]
    y, x = np.mgrid[0 : nrow - 1 : 37j, 0 : ncol - 1 : 41j]
    ra, dec = exposure.wcs(x, y)
    header = exposure.header.sci
    ra1, dec1 = WCS(header).all_pix2world(x, y, 0)
    scale = np.sqrt(abs(header["CD1_1"] * header["CD2_2"] - header["CD1_2"] * header["CD2_1"]))
    forward = np.hypot((ra1 - ra) * np.cos(np.radians(dec)), dec1 - dec) / scale
    x1, y1 = inverse(header, ra, dec)
    return forward.max(), np.hypot(x1 - x, y1 - y).max()


def assigned(folder, instrument="NIRCam", aperture="NRCB1_FULL", shape=(2048, 2048), model=None, **parameters):
    siaf = sky.aperture(instrument, aperture)
    exposure = sky.exposure(siaf, shape, INSTRUME=instrument.upper())
    return assign_wcs.apply(exposure, sky.references(folder, exposure, model or sky.distortion(siaf)), **parameters)


@pytest.mark.parametrize(
    ("instrument", "aperture"), [("NIRCam", "NRCB1_FULL"), ("NIRCam", "NRCA5_FULL"), ("NIRISS", "NIS_CEN"), ("FGS", "FGS1_FULL")]
)
def test_keywords_agree_with_the_gwcs(tmp_path, instrument, aperture):
    exposure = assigned(tmp_path, instrument, aperture)
    header = exposure.header.sci
    forward, back = errors(exposure)
    assert forward < 0.01 and back < 0.01
    assert header["CTYPE1"] == "RA---TAN-SIP" and header["CTYPE2"] == "DEC--TAN-SIP"
    assert forward < 1.5 * header["SIPMXERR"] + 1e-5 and back < 1.5 * header["SIPIVERR"]  # what the header promises is so


def test_reference_pixel_is_kept(tmp_path):
    exposure = assigned(tmp_path)
    siaf = sky.aperture("NIRCam", "NRCB1_FULL")
    header = exposure.header.sci
    assert (header["CRPIX1"], header["CRPIX2"]) == (siaf.XSciRef, siaf.YSciRef)
    assert (header["CRVAL1"], header["CRVAL2"]) == pytest.approx((sky.POINTING["RA_REF"], sky.POINTING["DEC_REF"]), abs=1e-11)


def test_without_a_reference_pixel_the_middle_is_taken(tmp_path):
    siaf = sky.aperture("NIRCam", "NRCB1_FULL")
    exposure = sky.exposure(siaf, (2048, 2048))
    del exposure.header["CRPIX1"]
    assign_wcs.apply(exposure, sky.references(tmp_path, exposure, sky.distortion(siaf)))
    assert exposure.header["CRPIX1"] == 1024.5
    assert max(errors(exposure)) < 0.01


def test_lowest_degree_that_is_good_enough(tmp_path):
    degrees = [assigned(tmp_path, sip_max_pix_error=e, sip_max_inv_pix_error=e).header["A_ORDER"] for e in (5.0, 0.1, 0.01)]
    assert degrees == sorted(degrees) and degrees[0] < degrees[-1]
    exposure = assigned(tmp_path, sip_degree=2, sip_inv_degree=6)
    assert exposure.header["A_ORDER"] == 2 and exposure.header["AP_ORDER"] == 6
    assert exposure.header["SIPMXERR"] == pytest.approx(errors(exposure)[0], rel=0.1)


def test_an_undistorted_image_gets_a_plain_tangent_plane(tmp_path):
    from astropy.modeling.models import Scale, Shift

    siaf = sky.aperture("NIRCam", "NRCB1_FULL")
    flat = Shift(-1023.5) & Shift(-1023.5) | Scale(0.03) & Scale(0.03) | Shift(siaf.V2Ref) & Shift(siaf.V3Ref)
    header = assigned(tmp_path, model=flat).header.sci
    assert header["CTYPE1"] == "RA---TAN" and "A_ORDER" not in header and "CDELT1" not in header
    assert np.hypot(header["CD1_1"], header["CD2_1"]) * 3600 == pytest.approx(0.03 * sky.POINTING["VA_SCALE"], rel=1e-5)


def test_old_keywords_go(tmp_path):
    exposure = assigned(tmp_path)
    old = {"CDELT1", "CDELT2", "PC1_1", "PC1_2", "PC2_1", "PC2_2"}
    assert not old & set(exposure.header.sci)
    first = exposure.header.sci["A_2_0"]
    exposure.header.sci["A_5_1"] = exposure.header.sci["AP_ORDER"] = 7
    sip.write(exposure.header.sci, sip.approximate(exposure.wcs, (1024.5, 1024.5), degree=3, inverse_degree=3))
    assert "A_5_1" not in exposure.header.sci and exposure.header["AP_ORDER"] == 3
    assert exposure.header.sci["A_2_0"] != first
    assert exposure.header.sci["V2_REF"] and exposure.header.sci["BUNIT"] == "DN/s"  # nothing else is touched


def test_switched_off(tmp_path):
    exposure = assigned(tmp_path, sip_approx=False)
    assert exposure.header["CTYPE1"] == "RA---TAN" and exposure.header["CDELT1"] == 8.5e-6
    assert exposure.wcs is not None and "S_REGION" in exposure.header


def test_impossible_fit_leaves_the_keywords(tmp_path, caplog):
    siaf = sky.aperture("NIRCam", "NRCB1_FULL")
    exposure = sky.exposure(siaf, (1, 64))
    model = sky.distortion(siaf)
    model.bounding_box = ((0, 0.5), (0, 0.5))
    assign_wcs.apply(exposure, sky.references(tmp_path, exposure, model))
    assert exposure.header["CTYPE1"] == "RA---TAN" and "Bounding box is too small" in caplog.text


PEER = """
from astropy.io import fits
from jwst.assign_wcs.assign_wcs import load_wcs
from jwst.assign_wcs.util import update_fits_wcsinfo
from stdatamodels.jwst import datamodels
model = load_wcs(datamodels.ImageModel(str(rate)), {"distortion": str(distortion), "filteroffset": str(filteroffset)})
update_fits_wcsinfo(model, max_pix_error=0.01, max_inv_pix_error=0.01, npoints=12)
model.save(str(rate) + ".out.fits")
out["header"] = fits.getheader(str(rate) + ".out.fits", "SCI").tostring()
"""


@needs_real
@needs_peer
@pytest.mark.parity
def test_inverse_of_miri_is_better_than_the_peers(tmp_path):
    """0.01 pixel are asked for. The peer does not try degree 6 and has no keyword for the linear terms of the inverse, which it fits."""
    siaf = sky.aperture("MIRI", "MIRIM_FULL")
    exposure = sky.exposure(siaf, (1024, 1032), INSTRUME="MIRI", EXP_TYPE="MIR_IMAGE", FILTER="F770W")
    offsets = [{"filter": "F770W", "pupil": "N/A", "column_offset": 0.0, "row_offset": 0.0}]
    refs = sky.references(tmp_path, exposure, MIRI, offsets)
    rate = tmp_path / "rate.fits"
    hdus = [fits.PrimaryHDU(header=exposure.header.primary), fits.ImageHDU(exposure.sci, exposure.header.sci, name="SCI")]
    fits.HDUList(hdus).writeto(rate)
    theirs = peer_python(PEER, rate=str(rate), distortion=str(MIRI), filteroffset=str(refs["filteroffset"].path))
    assign_wcs.apply(exposure, refs)
    forward, back = errors(exposure)
    exposure.header.sci = fits.Header.fromstring(str(theirs["header"]))
    assert back < 0.002
    assert errors(exposure)[1] > 0.03
    assert errors(exposure)[0] == pytest.approx(forward, rel=1e-3)
