"""numba kernels, by subject: arrays and scalars in, arrays out. Where numba keeps them is in `keep`.

They know nothing else of the package.
"""

import os
import sys
from contextlib import suppress
from types import ModuleType

from . import keep

keep.install()

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
