"""The calibration of NIRSpec's slits: flats, slit losses, shadows, flux and wavelengths; by hand, and the peer on the same files."""

import numpy as np
import pytest

import nirspec_slits as kit
from jwcal.steps import barshadow, flat_field, pathloss, photom, srctype, wavecorr
from jwcal.vocabulary import dq
from jwcal.vocabulary.errors import ReferenceError, Skip
from peer import needs_peer


@pytest.mark.parity
@needs_peer
def test_fixed_slits_like_the_peer(tmp_path):
    files = kit.references(tmp_path)
    steps = [("srctype", {}), ("wavecorr", {}), ("flat_field", {}), ("pathloss", {}), ("photom", {})]
    exposure = kit.exposure()
    theirs = kit.peer(tmp_path, exposure, files, steps)
    refs = kit.of(files, exposure)
    srctype.apply(exposure, None, "primary")
    wavecorr.apply(exposure, refs)
    flat_field.apply(exposure, refs, "slits", True)
    pathloss.apply(exposure, refs, "slits")
    photom.apply(exposure, refs, "slits", keep_both=True)
    kit.same(exposure, theirs)


@pytest.mark.parity
@needs_peer
def test_shutters_like_the_peer(tmp_path):
    files = kit.references(tmp_path, shutters=True)
    steps = [("srctype", {}), ("flat_field", {}), ("pathloss", {}), ("barshadow", {}), ("photom", {})]
    exposure = kit.exposure(shutters=True)
    theirs = kit.peer(tmp_path, exposure, files, steps)
    refs = kit.of(files, exposure)
    srctype.apply(exposure, None, "shutters")
    flat_field.apply(exposure, refs, "shutters")
    pathloss.apply(exposure, refs, "shutters")
    barshadow.apply(exposure, refs, least_light=0.0)
    photom.apply(exposure, refs, "shutters")
    kit.same(exposure, theirs)


@pytest.mark.parity
@needs_peer
def test_series_like_the_peer(tmp_path):
    files = kit.references(tmp_path)
    steps = [("srctype", {}), ("wavecorr", {}), ("flat_field", {}), ("photom", {})]
    exposure = kit.exposure(ints=3, names=("S1600A1",), EXP_TYPE="NRS_BRIGHTOBJ", FXD_SLIT="S1600A1", TSOVISIT=True, NINTS=3)
    theirs = kit.peer(tmp_path, exposure, files, steps)
    refs = kit.of(files, exposure)
    srctype.apply(exposure, None, "", "POINT", "PATTTYPE", True)
    with pytest.raises(Skip):
        wavecorr.apply(exposure, refs)
    flat_field.apply(exposure, refs, "slits")
    photom.apply(exposure, refs, "slits")
    kit.same(exposure, theirs)
