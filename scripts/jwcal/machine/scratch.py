"""Arrays in scratch files: what is needed again, and is too much to be kept in memory."""

import os
import tempfile

import numpy as np


class Scratch:
    """A folder for arrays, made when the first one comes; `close` removes it.

    Parameters
    ----------
    prefix : str
        Beginning of the folder's name.
    folder : path, optional
        Where it is made; by default the system's folder for such things.
    """

    def __init__(self, prefix, folder=None):
        self._prefix, self._where, self._folder = prefix, folder, None

    def put(self, name, array):
        """Write an array, in its own byte order and C order; returns the file's path."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix=self._prefix, dir=self._where)
        path = os.path.join(self._folder.name, name)
        array.tofile(path)
        return path

    def close(self):
        if self._folder is not None:
            self._folder.cleanup()


def part_of(path, dtype, first, count):
    """Some values of an array that was put there, counted from 0."""
    return np.fromfile(path, dtype, count, offset=np.dtype(dtype).itemsize * first)
