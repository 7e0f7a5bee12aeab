"""The simulator of NIRSpec: its optics against traces that ESA measured and modelled, its references, and the light that it puts down."""

import numpy as np
import pytest
from astropy.io import fits

import sky
from jwcal.simulate import instruments, nirspec
from jwcal.simulate.nirspec import elements, response
from jwcal.simulate.nirspec.optics import Optics

REAL = sky.SHARED / "real/references/nirspec"
TRACES = sky.SHARED / "real/references/nirspec_truth"
needs_real = pytest.mark.skipif(not REAL.exists(), reason=f"no real references at {REAL}")


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    """(mode, grating, real or made up) -> type -> path; each is written once."""
    written = {}

    def give(mode, grating="PRISM", real=True, **options):
        key = mode, grating, real, repr(options)
        if key not in written:
            folder = tmp_path_factory.mktemp(f"{mode}{grating}")
            written[key] = nirspec.write_references(folder, mode=mode, grating=grating, real=REAL if real else None, **options)
        return written[key]

    return give


def traced(start):
    """Pixels of a trace from 0, wavelength [micron], place along the slit."""
    with fits.open(next(TRACES.glob(f"{start}*"))) as hdus:
        wavelength, along, head = hdus["LAMBDA1"].data, hdus["SLITY1"].data, hdus["LAMBDA1"].header
        rows, columns = np.nonzero((np.abs(along) < 0.5) & (wavelength > 0))
        x, y = columns - head["CRPIX1"] + head["CRVAL1"], rows - head["CRPIX2"] + head["CRVAL2"]
        return x, y, 1e6 * wavelength[rows, columns].astype(float), along[rows, columns].astype(float)


@needs_real
@pytest.mark.parametrize(("start", "opening"), [("Trace_SLIT_A_200_1", "S200A1"), ("Trace_IFU_Slice_00", 0)])
def test_light_falls_where_esa_has_it(references, start, opening):
    x, y, wavelength, along = (a[::7] for a in traced(start))
    mode = "ifu" if opening == 0 else "fs"
    optics = Optics.of(references(mode, "G140M"))
    aperture = optics.slice(0) if opening == 0 else optics.slit(opening)
    got = optics.to_pixel(aperture, 0.0, along, wavelength, "NRS1")
    # the wheel does not come to rest at the same angle each time: of the slicer's trace one angle is not known, which moves it along x
    shift = np.median(got[0] - x) if opening == 0 else 0.0
    assert np.abs(got[0] - shift - x).max() < 0.1
    assert np.abs(got[1] - y).max() < 0.1
    waves, places = optics.from_pixel(aperture, *got, "NRS1", (0.97, 1.89))
    assert np.abs(waves - wavelength).max() < 1e-7
    assert np.abs(places - along).max() < 1e-6


@pytest.mark.parametrize("grating", ["PRISM", *(g for g in elements.GRATINGS if g != "MIRROR")])
def test_made_up_optics_cover_the_detectors_as_the_instrument_does(references, grating):
    trees = {kind: getattr(elements, kind)() for kind in ("camera", "collimator", "fore", "fpa", "ote")}
    optics = Optics(trees | {"disperser": elements.disperser(grating)})
    optics.trees["msa"] = elements.msa(optics, instruments.siaf("NIRSPEC"))
    _, low, high = elements.RANGES[f"{nirspec.references.FILTERS[grating]}_{grating}"]
    x, y = optics.to_pixel(optics.slit("S200A1"), 0.0, 0.0, np.linspace(low, high, 50), "NRS1")
    assert (np.diff(x) > 0).all()
    assert x[0] > 500
    assert 1040 < y[0] < 1120  # rows of SUBS200A1


def test_a_point_source_is_shared_between_openings():
    wavelength = np.array([1.0, 3.0, 5.0])
    one = response.point_part(0.1, 0.2, wavelength, (0.2, 0.46), response.windows(), (0.268, 0.53))
    three = response.point_part(0.1, 0.2, wavelength, (0.2, 0.46), response.windows(-1, 1), (0.268, 0.53))
    assert ((0 < one) & (one < three) & (three < 1)).all()
    assert response.middle_of_light(0.0, wavelength, (0.2, 3.2)) == pytest.approx(0.0, abs=1e-12)
    assert (response.middle_of_light(0.3, wavelength, (0.2, 3.2)) < 0.3).all()


MODELS = {
    "disperser": "DisperserModel",
    "msa": "MSAModel",
    "wavelengthrange": "WavelengthrangeModel",
    "wavecorr": "WaveCorrModel",
    "pathloss": "PathlossModel",
    "barshadow": "BarshadowModel",
    "cubepar": "NirspecIFUCubeParsModel",
    "ifufore": "IFUFOREModel",
    "ifupost": "IFUPostModel",
    "ifuslicer": "IFUSlicerModel",
    "chromcorr": "ChromCorrModel",
    "camera": "CameraModel",
    "collimator": "CollimatorModel",
    "fore": "FOREModel",
    "fpa": "FPAModel",
    "ote": "OTEModel",
    "fflat": {"mos": "NirspecQuadFlatModel", "": "NirspecFlatModel"},
    "sflat": "NirspecFlatModel",
    "dflat": "NirspecFlatModel",
    "photom": {"fs": "NrsFsPhotomModel", "": "NrsMosPhotomModel"},
    "area": {"fs": "NirspecSlitAreaModel", "mos": "NirspecMosAreaModel", "": "NirspecIfuAreaModel"},
    "apcorr": {"fs": "NrsFsApcorrModel", "mos": "NrsMosApcorrModel", "": "NrsIfuApcorrModel"},
    "extract1d": {"ifu": "Extract1dIFUModel", "": None},
    "msaoper": None,
}


@pytest.mark.parametrize("mode", ["fs", "mos", "ifu"])
def test_references_are_valid(references, mode, monkeypatch):
    from stdatamodels.jwst import datamodels

    monkeypatch.setenv("STRICT_VALIDATION", "true")
    for kind, path in references(mode, "PRISM", real=False).items():
        name = MODELS[kind]
        name = name.get(mode, name[""]) if isinstance(name, dict) else name
        if name:
            with getattr(datamodels, name)(path) as model:
                model.validate()
                assert model.meta.reftype.lower() == kind


def test_metadata_tell_the_shutters_of_each_dither(tmp_path):
    path = nirspec.write_msa(tmp_path / "jw01234001001_01_msa.fits", nirspec.examples(None, None))
    with fits.open(path) as hdus:
        rows = hdus["SHUTTER_INFO"].data
        assert len(rows) == 3 * (6 * 3 + 5 + 1)
        first = rows[(rows["slitlet_id"] == 1) & (rows["primary_source"] == "Y")]
        assert first["shutter_column"].tolist() == [20, 19, 21]
        assert sorted(set(rows["slitlet_id"][rows["primary_source"] == "N"])) == [1, 2, 3, 5, 6, 7, 8]
        assert -8 not in hdus["SOURCE_INFO"].data["source_id"]
