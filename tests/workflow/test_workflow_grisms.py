"""Fields behind a grism in the workflow: in one run the catalogue of the direct images and then the spectra; and what may change."""

import json

import numpy as np
import pytest
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
