"""numba kernels: arrays and scalars in, arrays out.

numba's disk cache looks only at the file of the function that is called, so a kernel that calls into another
file could return yesterday's answer after an edit. The cache folder is therefore named after the content of all kernels.
"""

import hashlib
import os
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import numba

_HERE = Path(__file__).parent


def _digest():
    """Digest of every kernel's source."""
    digest = hashlib.sha256()
    for path in sorted(_HERE.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


if "NUMBA_CACHE_DIR" not in os.environ:
    root = _HERE / "__pycache__" if os.access(_HERE, os.W_OK) else Path.home() / ".cache" / "jwcal"
    numba.config.CACHE_DIR = str(root / f"numba-{_digest()}")


# A thread that has nothing to do sleeps: by default OpenMP's wait busily for the next kernel, and scipy's find no free processor.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def _load_array_functions():
    """Load numba's array functions, which any kernel needs, without all of scipy.linalg.

    They only look whether its BLAS is there, but that takes a third of the time until the first kernel runs. What does linear algebra
    imports it then.
    """
    blas = "scipy.linalg.cython_blas"
    if blas in sys.modules:
        return
    sys.modules[blas] = ModuleType(blas)
    try:
        with suppress(ImportError):  # numba may name its modules anew
            import numba.np.arraymath  # noqa: F401
    finally:
        del sys.modules[blas]


_load_array_functions()
