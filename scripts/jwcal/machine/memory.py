"""Memory that is given back and wanted again at once: a chain reads one image after the other, all of the same size."""

import ctypes
from contextlib import suppress
from functools import cache

MB = 2**20
KEPT_BELOW = 32 * MB  # an image of 2048 x 2048 has 16; glibc takes no more
AT_MOST = 256 * MB  # that this process holds and does not use
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h


@cache
def keep_freed():
    """Have the next image take the place of the one before in this process's memory.

    By itself glibc gives freed images back to the system, which fills their memory with zeros before it hands it out again: a
    twentieth of the time of a NIRCam exposure. Other C libraries go on as they do.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, KEPT_BELOW)
        mallopt(M_TRIM_THRESHOLD, AT_MOST)
