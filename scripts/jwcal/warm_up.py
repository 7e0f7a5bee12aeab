"""Compile the kernels before anyone waits for them: `python -m jwcal.warm_up`.

numba compiles a kernel when it is first called and keeps the result on disk until a kernel's source changes. Here a tiny simulated
exposure goes through the chains, so that the first real one finds everything compiled.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from .api import run_pipeline
from .kernels.clipped_mean import clipped_mean
from .simulate.program import make_program

PROGRAM = {
    "program": 1,
    "target": [53.1625, -27.7914],
    "sky": {"radius": 2.0, "stars": 3, "galaxies": 1},
    "detectors": ["NRCB1"],
    "exposures": [{"exp_type": "NRC_IMAGE", "filter": "F200W", "subarray": "SUB64P", "readpatt": "SHALLOW4", "ngroups": 5}],
}


def main():
    """Run the tiny exposure through stage 1 and 2."""
    with tempfile.TemporaryDirectory(prefix="jwcal-") as folder:
        made = make_program(folder, PROGRAM)
        rate = run_pipeline("detector1", made["data"][0], out=folder, crds_path=str(made["crds"]))
        images = np.zeros((2, 4, 4), np.float32)
        clipped_mean(images, images, 3.0, 1)  # of backgrounds
        run_pipeline("image2", next(Path(folder).glob("*_rate.fits")), crds_path=str(made["crds"]))
    print(f"kernels compiled, {len(rate.steps)} steps of stage 1 tried")


if __name__ == "__main__":
    sys.exit(main())
