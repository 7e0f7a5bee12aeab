"""The private names of numba that the package uses still mean what it takes them for: each is tried."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
from numba import njit

from jwcal.kernels import keep, numba_private
from jwcal.kernels.files import byte_order

ROOT = Path(__file__).resolve().parents[2]
PRIVATE = re.compile(r"\bnumba\.(?:core|np|misc|parfors|_(?!_)\w+)\b")


def test_private_names_stand_in_one_file():
    package = ROOT / "scripts/jwcal"
    files = [*package.rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    assert {file for file in files if PRIVATE.search(file.read_text())} == {package / "kernels/numba_private.py"}


def test_a_kernel_is_a_dispatcher():
    """With the function that it was made of, what it is compiled for, and a public way to compile it."""
    kernel = njit(lambda x: x + 1)
    assert isinstance(kernel, numba_private.Dispatcher) and not isinstance(np.sum, numba_private.Dispatcher)
    kernel.compile((numba.types.float32,))
    assert kernel.signatures == [(numba.types.float32,)] and kernel.py_func(1) == 2


def test_listeners_hear_that_a_kernel_is_compiled():
    """And what it calls, in between; not that it is called again."""
    heard = []

    class Both(numba_private.Listener):
        def on_start(self, event):
            heard.append(("begin", event.data["dispatcher"].py_func.__name__))

        def on_end(self, event):
            heard.append(("end", event.data["dispatcher"].py_func.__name__))

    @njit
    def inner(x):
        return x + 1

    @njit
    def outer(x):
        return inner(x)

    with numba_private.install_listener(numba_private.COMPILE, Both()):
        outer(1), outer(2)
    outer(1.0)
    assert heard == [("begin", "outer"), ("begin", "inner"), ("end", "inner"), ("end", "outer")]


def test_a_locator_tells_where_kernels_are_kept():
    """numba asks ours first, and falls back on each of its own, of which all names are known."""
    assert numba.config.CACHE_LOCATOR_CLASSES.split(",") == [f"{keep.__name__}.Locator", *numba_private.LOCATORS]
    here = Path(byte_order.__file__)
    locator = keep.Locator.from_function(byte_order.swap_4_bytes.py_func, str(here))
    assert isinstance(locator, numba_private.UserProvidedCacheLocator)
    assert Path(locator.get_cache_path()) == keep.place("files/byte_order") and locator.get_source_stamp() == keep.digest(str(here))
    assert keep.Locator.from_function(test_a_locator_tells_where_kernels_are_kept, __file__) is None


def test_a_kernel_is_kept_there(tmp_path):
    code = "from jwcal.kernels import ahead; ahead.compile_one('files/byte_order')"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"JWCAL_KERNELS": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {".nbi", ".nbc"} <= {path.suffix for path in tmp_path.glob("byte_order-*/*")}  # an index, and the code
