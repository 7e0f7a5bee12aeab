"""Fields behind a grism in the workflow: in one run the catalogue of the direct images and then the spectra; and what may change."""

import json

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable
from test_workflow import snakemake

import readers
from jwcal.simulate import grism
from jwcal.simulate.spectrograph import Spectrum
from jwcal.workflow import plan

pytestmark = pytest.mark.full  # a minute

STAR = Spectrum(flux=1e-4, at=1.5, slope=-1.0)
SOURCES = [grism.Target(270, 240, STAR), grism.Target(290, 285, Spectrum(flux=1.5e-4, at=1.5))]
IMAGES, ROWS, COLUMNS = ([f"jw01234001001_0210{n}_0000{k}_nis" for k in (1, 2)] for n in (1, 2, 3))
MOSAIC, OF_ROWS, OF_COLUMNS = (f"jw01234-o001_t001_niriss_{name}" for name in ("clear-f150w", "f150w-gr150c", "f150w-gr150r"))
RATES = {f"{root}_{suffix}.fits" for root in IMAGES + ROWS + COLUMNS for suffix in ("rate", "rateints")}


def spectra(*roots):
    return {f"{root}_{suffix}.fits" for root in roots for suffix in ("cal", "x1d")}


def combined(*products):
    return {f"{product}_{suffix}.fits" for product in products for suffix in ("x1d", "c1d")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grisms")
    grism.expose_field(folder, grism.NIRISS, sources=SOURCES, shape=(320, 320), noise=False, cosmic_rays=0.0)
    return folder


def pipelines(folder, **others):
    """What is planned, each pipeline once."""
    settings = {
        "data": str(folder / "data"),
        "results": str(folder / "planned"),
        "references": {"crds_path": str(folder / "crds")},
    } | others
    made = plan.make(settings, alone=False)
    assert made.problems == [], made.problems
    return sorted({job.pipeline for job in made.jobs})


def test_until_stage_2_the_catalogue_that_spectra_need_is_made(folder, tmp_path):
    """And nothing else of stage 3; of one's own catalogue for all exposures nothing at all is needed."""
    assert pipelines(folder, until="stage1") == ["detector1"]
    assert pipelines(folder, until="stage2") == ["detector1", "image2", "image3", "spec2"]
    table = QTable({"label": [1]})
    table.write(tmp_path / "mine_cat.ecsv", format="ascii.ecsv")
    for root in ROWS + COLUMNS:
        members = [{"expname": f"{root}_rate.fits", "exptype": "science"}, {"expname": "mine_cat.ecsv", "exptype": "sourcecat"}]
        asn = {"asn_type": "spec2", "asn_id": "o001", "products": [{"name": root, "members": members}]}
        (tmp_path / f"{root}_asn.json").write_text(json.dumps(asn))
    assert pipelines(folder, until="stage2", associations=str(tmp_path)) == ["detector1", "image2", "spec2"]
    assert pipelines(folder) == ["detector1", "image2", "image3", "spec2", "spec3"]


def run(folder, **others):
    settings = {"data": "data", "results": "results", "references": {"crds_path": str(folder / "crds")}} | others
    done = snakemake(folder, config=settings)
    assert done.status == 0, done.text
    return done


@pytest.fixture(scope="module")
def first(folder):
    return run(folder)


def rows(path, extension):
    return {int(row["SOURCE_ID"]): row for row in fits.getdata(path, extension)}


def test_spectra_of_the_sources_that_the_direct_images_show(first, folder):
    images = {f"{root}_{suffix}.fits" for root in IMAGES for suffix in ("cal", "i2d")} | {f"{MOSAIC}_{end}.fits" for end in ("i2d", "segm")}
    assert images | RATES | spectra(*ROWS, *COLUMNS) | combined(OF_ROWS, OF_COLUMNS) <= first.made
    catalogue = QTable.read(folder / f"results/stage3/{MOSAIC}_cat.ecsv")
    stars = catalogue["label"][np.argsort(catalogue["isophotal_flux"])[::-1]][:2]  # the second source is the brighter one
    for product in (OF_ROWS, OF_COLUMNS):
        found = rows(folder / f"results/stage3/{product}_c1d.fits", "COMBINE1D")
        for label, source in zip(stars, SOURCES[::-1], strict=True):
            n = found[label]["N_ALONGDISP"]
            wavelength, flux = found[label]["WAVELENGTH"][:n], found[label]["FLUX"][:n]
            inside = (wavelength > 1.35) & (wavelength < 1.65)
            assert inside.sum() > 50
            assert np.nanmedian(flux[inside] / source.spectrum(wavelength[inside])) == pytest.approx(1, abs=0.02)
        for suffix in ("x1d", "c1d"):
            assert len(readers.check(folder / f"results/stage3/{product}_{suffix}.fits")) >= len(SOURCES)
    header = fits.getheader(folder / f"results/stage2/{ROWS[0]}_x1d.fits")
    assert header["ASNTABLE"] == f"{ROWS[0]}_spec2_asn.json"
    assert run(folder).made == set()


def test_a_catalogue_that_changes(first, folder):
    """Images before the catalogue, and rates, stay as they are; spectra are made again."""
    done = run(folder, steps={"source_catalog": {"aperture_ee1": 35}})
    assert spectra(*ROWS, *COLUMNS) | combined(OF_ROWS, OF_COLUMNS) <= done.made
    assert not done.made & (RATES | {f"{root}_cal.fits" for root in IMAGES})


def test_a_catalogue_of_one_s_own(first, folder):
    """It concerns the exposure alone whose association names it, and when it changes just this one is made again."""
    run(folder)
    table = QTable.read(folder / f"results/stage3/{MOSAIC}_cat.ecsv")
    (folder / "asn").mkdir()
    table[:1].write(folder / "asn/mine_cat.ecsv", format="ascii.ecsv")
    members = [{"expname": f"{ROWS[0]}_rate.fits", "exptype": "science"}, {"expname": "mine_cat.ecsv", "exptype": "sourcecat"}]
    asn = {"asn_type": "spec2", "asn_id": "o001", "products": [{"name": ROWS[0], "members": members}]}
    (folder / "asn/mine_asn.json").write_text(json.dumps(asn))
    done = run(folder, associations="asn/mine_asn.json")
    assert done.made == spectra(ROWS[0]) | combined(OF_ROWS)
    assert list(rows(folder / f"results/stage2/{ROWS[0]}_x1d.fits", "EXTRACT1D")) == [int(table["label"][0])]
    table[:2].write(folder / "asn/mine_cat.ecsv", format="ascii.ecsv", overwrite=True)
    done = run(folder, associations="asn/mine_asn.json")
    assert done.made == spectra(ROWS[0]) | combined(OF_ROWS)
    assert len(rows(folder / f"results/stage2/{ROWS[0]}_x1d.fits", "EXTRACT1D")) == 2


# --- NIRCam's, with noise: a star that is alone comes out to 0.3 %, a galaxy to 1 % (its wings are beyond its box), blended stars to 2 %

WHOLE = {  # boxes with 99.9 % of a star's light, as there is no aperture correction; spectra of others that are fitted
    "extract_2d": {"wfss_extract_half_height": 8},
    "wfss_contam": {"skip": False, "polyfit_degree": 2, "n_iterations": 3},
}
WITHIN = {0: 0.003, 1: 0.01, 2: 0.02, 3: 0.02, 4: 0.02}  # of grism.FIELDS: the third's spectrum is on the fourth's or the fifth's
OF_MODULE_A = {grism: f"jw01234-o001_t001_nircam_f410m-{grism}" for grism in ("grismr", "grismc")}


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noisy")
    made = grism.expose_field(folder, grism.NIRCAM)
    run(folder, steps=WHOLE)
    return folder, made


def labels_of(folder, made):
    """Labels that the catalogue of the mosaic gives the sources that were put in."""
    (path,) = (folder / "results/stage3").glob("*_cat.ecsv")
    catalogue, sources = QTable.read(path), made.scene.sources
    there = SkyCoord(sources["ra"], sources["dec"], unit="deg")
    return [int(catalogue["label"][np.argmin(catalogue["sky_centroid"].separation(one))]) for one in there]


@pytest.mark.parametrize("name", OF_MODULE_A)
def test_nircam_with_noise(noisy, name):
    folder, made = noisy
    labels, found = labels_of(folder, made), rows(folder / f"results/stage3/{OF_MODULE_A[name]}_c1d.fits", "COMBINE1D")
    for number, limit in WITHIN.items():
        row = found[labels[number]]
        n = row["N_ALONGDISP"]
        wavelength, flux = row["WAVELENGTH"][:n], row["FLUX"][:n]
        inside = (wavelength > 3.89) & (wavelength < 4.29)
        assert inside.sum() > 300
        ratio = np.nanmedian(flux[inside] / made.sources[number].spectrum(wavelength[inside]))
        assert ratio == pytest.approx(1, abs=limit), (number, ratio)


def test_a_catalogue_of_one_s_own_for_nircam(noisy):
    """For one exposure of the row grism: it and its combined spectra are made, and again when the catalogue changes; others stay."""
    folder, made = noisy
    (root,) = {path.name[:-10] for path in (folder / "results/stage1").glob("*02102_00001_*_rate.fits")}
    (path,) = (folder / "results/stage3").glob("*_cat.ecsv")
    table = QTable.read(path)
    (folder / "asn").mkdir()
    members = [{"expname": f"{root}_rate.fits", "exptype": "science"}, {"expname": "mine_cat.ecsv", "exptype": "sourcecat"}]
    members += [{"expname": f"{path.name[:-9]}_{end}.fits", "exptype": kind} for end, kind in (("segm", "segmap"), ("i2d", "direct_image"))]
    asn = {"asn_type": "spec2", "asn_id": "o001", "products": [{"name": root, "members": members}]}
    (folder / "asn/mine_asn.json").write_text(json.dumps(asn))
    for count in (1, 2):
        table[:count].write(folder / "asn/mine_cat.ecsv", format="ascii.ecsv", overwrite=True)
        done = run(folder, steps=WHOLE, associations="asn/mine_asn.json")
        assert done.made == spectra(root) | combined(OF_MODULE_A["grismr"])
        assert list(rows(folder / f"results/stage2/{root}_x1d.fits", "EXTRACT1D")) == [int(label) for label in table["label"][:count]]
