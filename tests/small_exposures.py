"""Small simulated exposures that reach all kernels: `python tests/small_exposures.py` writes what these are called with.

That is `scripts/jwcal/kernels/signatures.json`: to be made anew after a kernel's arguments have changed, or one was added. It takes
minutes, as all of them are compiled afresh.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

import jwcal
from jwcal.model import ramp
from jwcal.products import stored
from jwcal.settings import chains
from jwcal.settings.selector import select_for
from jwcal.simulate import crds_cache, emicorr, grism, instruments, integral_field, irs2, nirspec, soss, spectrograph
from jwcal.simulate.detector import make_detector
from jwcal.simulate.exposures import simulate_exposure
from jwcal.simulate.headers import Identity
from jwcal.simulate.instruments import Subarray
from jwcal.simulate.program import make_program
from jwcal.simulate.references import write_references
from jwcal.workflow import jobs, plan

CORNER = Subarray("GENERIC", 1, 1, 64, 48)  # of a detector, with reference pixels
OUTPUTS = replace(CORNER, noutputs=4)  # which are corrected as those of a full frame
LINES = Subarray("FULL", 1, 1, 192, 2048)  # some of IRS2 readout
GUIDE_STAR = replace(CORNER, name="8X8", xsize=8, ysize=8)

# What operations switch on for one mode or another.
ON = {"skip": False}
NEAR_INFRARED = {
    "jump": {"expand_large_events": True, "sat_required_snowball": False, "min_jump_area": 1.0},  # so that each jump is an event
    "charge_migration": ON,
    "clean_flicker_noise": ON,
}
CLIPPED = {"jump": {"minimum_sigclip_groups": 3}}  # as for a hundred integrations
MIRI = {"jump": {"find_showers": True}, "emicorr": ON, "firstframe": ON}

# Small exposures, each of another detector, and the runs of each: parameters of steps.
EXPOSURES = [
    ({"exp_type": "NRC_IMAGE", "subarray": CORNER, "readpatt": "SHALLOW4", "zeroframe": True, "cosmic_rays": 1e-3}, [{}, NEAR_INFRARED]),
    ({"exp_type": "NIS_AMI", "subarray": OUTPUTS, "ngroups": 4, "nints": 3, "zeroframe": True}, [{}, CLIPPED]),
    ({"exp_type": "NRS_IFU", "subarray": LINES, "readpatt": "NRSIRS2RAPID", "ngroups": 3}, [{}]),
    ({"exp_type": "MIR_MRS", "ngroups": 4}, [{}]),
    ({"exp_type": "MIR_IMAGE", "subarray": "SUB64", "ngroups": 15}, [MIRI]),
    ({"exp_type": "FGS_FINEGUIDE", "subarray": GUIDE_STAR}, [{}]),
]
BLOCK = 2**14  # bytes: ramps of several integrations are walked

# Programs to the end of stage 3: images that are combined, a time series of a star, a star and its reference behind a mask.
COMMON = {"program": 1235, "target": [53.1625, -27.7914], "seed": 11, "detectors": ["NRCB1"], "stage3": True}
FIELD = {"radius": 8.0, "stars": 60, "galaxies": 6, "faintest": 1e-7, "brightest": 3e-4}
IMAGE = {"exp_type": "NRC_IMAGE", "filter": "F200W", "subarray": "SUB160", "readpatt": "RAPID", "ngroups": 5}
SERIES = {"exp_type": "NRC_TSIMAGE", "filter": "F200W", "subarray": "SUB64P", "ngroups": 4, "nints": 5, "star": 1e-3}
MASK = {"exp_type": "NRC_CORON", "detectors": ["NRCALONG"], "filter": "F335M", "aperture": "NRCA5_FULL_MASK335R", "CORONMSK": "MASKA335R"}
MASK |= {"subarray": "SUB320A335R", "place": [608, 1644, 64, 64], "ngroups": 3, "nints": 2, "tframe": 5.0}
BEHIND = {**MASK, "observation": 1, "coronagraph": {"star": 1.0, "planets": [[1.3, 60.0, 1e-4]]}}
REFERENCES = [
    {**MASK, "observation": 2 + n, "IS_PSF": True, "TARGPROP": "CALIBRATOR", "coronagraph": {"star": 2.0, "offset": [0.01 * n, 0.0]}}
    for n in range(2)
]
PROGRAMS = [
    {**COMMON, "sky": FIELD, "exposures": [IMAGE], "dithers": [[0.0, 0.0], [0.6, 0.4], [-0.5, 0.3], [0.2, -0.6]]},
    {**COMMON, "sky": {"radius": 1.0, "stars": 1, "galaxies": 0}, "exposures": [SERIES]},
    {**COMMON, "sky": {"stars": 0, "galaxies": 0}, "exposures": [BEHIND, {**BEHIND, "observation": 4, "roll": 15.0}, *REFERENCES]},
]
# Spectra from their rates on: two nods along MIRI's slit, each the other's background, and a time series without a slit.
STAR = spectrograph.Source(spectrograph.Spectrum(flux=0.02), along=0.2)
NODS = [
    {"dither": {"x": x, "y": 0.0, "pattern": "ALONG-SLIT-NOD"}, "background": lambda wavelength: 25 + 0 * wavelength} for x in (-1.9, 1.9)
]
SPECTRA = [*NODS, {"slitless": True, "nints": 5, "header": {"TSOVISIT": True}}]
# Modes whose steps have kernels of their own, from raw files, and the parameters of steps.
MODES = {
    "slits": (nirspec.expose_slits, {"nods": (-0.75, 0.75), "ngroups": 3, "cosmic_rays": 0.0}, {}),
    "orders": (soss.expose_series, {"nints": 3, "each": 2}, {}),
    "field": (grism.expose_field, {"grisms": grism.NIRISS}, {"wfss_contam": ON}),
    "slices": (integral_field.expose, {"channels": ("12",), "ngroups": 3}, {}),
}


def reach_all(folder):
    """Call what any chain calls by default, and some of its options."""
    calibrate(simulate(folder, EXPOSURES), str(folder / "crds"))
    for number, program in enumerate(PROGRAMS):
        make_program(folder / f"program{number}", program)
        run_jobs(folder / f"program{number}")
    simulate_spectra(folder / "spectra")
    run_jobs(folder / "spectra")
    for name, (expose, options, steps) in MODES.items():
        expose(folder / name, **options)
        run_jobs(folder / name, steps)


def simulate(folder, table):
    """Make exposures, and in `<folder>/crds` a CRDS cache with their references.

    Returns
    -------
    list of (path, runs)
    """
    exposures, files = [], [emicorr.write_emicorr(folder / "references/jwst_miri_emicorr_0001.asdf")]
    for number, (options, runs) in enumerate(table, start=1):
        is_irs2 = "IRS2" in options.get("readpatt", "")
        make = irs2.simulate_irs2 if is_irs2 else simulate_exposure
        made = make(folder / "data", identity=Identity(exposure=number), **options)
        about = {"setup": made.setup, "number": number, "inverse_linearity": True}  # which counts where groups are averaged
        references = write_references(folder / "references", made.detector, **about)
        if is_irs2:
            references = irs2.write_references(references, made.setup.detector)
        files += references.values()
        exposures.append((made.uncal, runs))
    crds_cache.build(folder / "crds", files)
    return exposures


def calibrate(exposures, crds):
    """Take each of the exposures through the pipelines of stage 1 and 2, once for each of its runs."""
    with patch.object(ramp, "LARGE", BLOCK):
        for uncal, runs in exposures:
            for steps in runs:
                _calibrate(uncal, steps, crds)


def _calibrate(uncal, steps, crds):
    header = stored.header(uncal)
    pipelines = select_for(header)
    products = jwcal.run_pipeline(pipelines.stage1, uncal, steps=steps, every=True, crds_path=crds)
    if "image" not in (pipelines.stage2 or ""):  # spectra have their own references: see MODES
        return
    for exposure in products.values():
        if exposure.suffix in chains.chain(pipelines.stage2, exposure.header).reads:
            jwcal.run_pipeline(pipelines.stage2, exposure, crds_path=crds)


def simulate_spectra(folder):
    """Make rates of MIRI's prism with associations, and in `<folder>/crds` a CRDS cache with their references."""
    files = spectrograph.write_lrs_references(folder / "references")
    sensor, setup = make_detector("MIRI", "MIRIMAGE"), instruments.setup("MIR_LRS-FIXEDSLIT")
    flat = write_references(folder / "references", sensor, setup=setup, types=("flat",))
    crds_cache.build(folder / "crds", [*files.values(), *flat.values()])
    (folder / "data").mkdir()
    names = []
    for number, options in enumerate(SPECTRA, start=1):
        made = spectrograph.simulate_lrs(files, sources=[STAR], identity=Identity(observation=1 + number // 3, exposure=number), **options)
        root = made.exposure.header["FILENAME"].removesuffix("_uncal.fits")
        made.exposure.header["FILENAME"] = f"{root}_{made.exposure.suffix}.fits"
        stored.write(made.exposure, folder / "data" / made.exposure.header["FILENAME"])
        names.append(root)
    first, second, _ = names
    for one, other in (first, second), (second, first):
        _associate(folder / "data", "spec2", one, {f"{one}_rate.fits": "science", f"{other}_rate.fits": "background"})
    _associate(folder / "data", "spec3", "jw01234-o001_t001_miri_p750l", {f"{root}_cal.fits": "science" for root in (first, second)})


def _associate(folder, kind, product, members):
    members = [{"expname": name, "exptype": what} for name, what in members.items()]
    about = {"asn_type": kind, "asn_rule": "by hand", "asn_id": "o001", "asn_pool": "none", "program": "01234", "version_id": "1"}
    (folder / f"{product}_{kind}_asn.json").write_text(json.dumps(about | {"products": [{"name": product, "members": members}]}))


def run_jobs(folder, steps=None):
    """Run all jobs of `<folder>/data` in this process, with parameters of steps."""
    config = {"data": str(folder / "data"), "results": str(folder / "results"), "references": {"crds_path": str(folder / "crds")}}
    config["steps"] = steps or {}
    planned = plan.make(config)
    assert not planned.problems, planned.problems
    for job in in_order(planned.jobs):
        for path in job.outputs.values():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        assert jobs.run(job.recipe, folder / "log.txt") == 0, job


def in_order(jobs):
    """Each job after those that make its inputs."""
    waiting, unmade = list(jobs), {Path(path).name for job in jobs for path in job.outputs.values()}
    while waiting:
        ready = [job for job in waiting if not unmade & {Path(name).name for name in job.after}]
        assert ready, [job.exposure for job in waiting]
        yield from ready
        unmade -= {Path(path).name for job in ready for path in job.outputs.values()}
        waiting = [job for job in waiting if job not in ready]


def record():
    """Write the table of what the kernels are called with, from a process in which none was compiled before."""
    import numpy as np

    from jwcal.kernels import signatures
    from jwcal.kernels.columns.clipped_mean import clipped_mean
    from jwcal.kernels.photometry.peaks import parted_segments

    images = np.zeros((2, 4, 4), np.float32)
    clipped_mean(images, images, 3.0, 1)  # of backgrounds
    parted_segments(images[0], np.ones((4, 4), np.int32), 1, True)  # of sources: the small mosaic shows none
    with tempfile.TemporaryDirectory(prefix="jwcal-") as folder:
        reach_all(Path(folder))
    signatures.TABLE.write_text(json.dumps(signatures.loaded(), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    if "JWCAL_RECORDING" in os.environ:
        record()
    else:
        with tempfile.TemporaryDirectory() as empty:
            own = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
            subprocess.run([sys.executable, __file__], env={**own, "JWCAL_KERNELS": empty, "JWCAL_RECORDING": "1"}, check=True)
