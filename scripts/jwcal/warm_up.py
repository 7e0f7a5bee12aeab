"""Compile the kernels before anyone waits for them: `python -m jwcal.warm_up`.

numba compiles a kernel for each set of argument types when it is first called with them, and keeps the result on disk until a kernel's
source changes. Here small simulated exposures go through the chains, so that the first real ones find everything compiled.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np

from .api import run_pipeline
from .kernels.columns.clipped_mean import clipped_mean
from .model import ramp
from .products.stored import header
from .settings import chains
from .settings.selector import select_for
from .simulate import crds_cache, emicorr, irs2
from .simulate.exposures import simulate_exposure
from .simulate.headers import Identity
from .simulate.instruments import Subarray
from .simulate.references import write_references

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


def main():
    """Take the small exposures through stage 1 and 2."""
    images = np.zeros((2, 4, 4), np.float32)
    clipped_mean(images, images, 3.0, 1)  # of backgrounds
    with tempfile.TemporaryDirectory(prefix="jwcal-") as folder:
        calibrate(simulate(Path(folder), EXPOSURES), str(Path(folder, "crds")))
    print(f"kernels compiled, {len(EXPOSURES)} exposures tried")


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
    pipelines = select_for(header(uncal))
    products = run_pipeline(pipelines.stage1, uncal, steps=steps, every=True, crds_path=crds)
    if not (pipelines.stage2 and chains.is_built(pipelines.stage2, header(uncal))):
        return
    for exposure in products.values():
        if exposure.suffix in chains.chain(pipelines.stage2, exposure.header).reads:
            run_pipeline(pipelines.stage2, exposure, crds_path=crds)


if __name__ == "__main__":
    sys.exit(main())
