"""numba kernels: arrays and scalars in, arrays out.

numba's disk cache looks only at the file of the function that is called, so a kernel that calls into another
file could return yesterday's answer after an edit. The cache folder is therefore named after the content of all kernels.
"""

import hashlib
import os
from pathlib import Path

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
