"""What a chain frees it uses again, and the system need not clear it once more."""

import ctypes
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from jwcal.machine import memory
if sys.argv[1] == "kept":
    memory.keep_freed()

def images():
    for _ in range(5):
        held = [np.ones((2048, 2048), np.float32) for _ in range(4)]

images()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
images()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="a C library that is not glibc")
def test_freed_images_are_used_again():
    faults = {how: int(subprocess.check_output([sys.executable, "-c", FAULTS, how])) for how in ("kept", "given back")}
    assert faults["kept"] * 5 < faults["given back"], faults
