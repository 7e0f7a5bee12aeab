"""Walking a ramp that is too large for memory.

Most of stage 1 looks at one integration at a time; jump and ramp_fit look at one pixel at a time, but in all integrations.
So a large ramp is walked twice: by blocks of whole integrations, then by strips of rows. Between the walks it lies in a
scratch files, which are read and written with plain I/O: that is the system's cache, which it can take back, and not the job's memory.
"""

import math
import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np

from .chains import Step
from .exposure import Pixels, dead_groups
from .parameters import parameters_of, step_module

LARGE = 128 * 2**20  # bytes of samples: a ramp of more is walked, in blocks or strips of this size where one integration is not larger
FILES = 64  # at most, for the samples, and as many for the flags


def is_large(shape):
    """Whether a ramp of this shape (int, group, row, col) is walked in pieces: more than one integration, more than LARGE bytes."""
    return shape[0] > 1 and 4 * np.prod(shape, dtype=np.int64) > LARGE


@dataclass(frozen=True)
class Part(Step):
    """What a step does in another walk, after its `apply` has seen all of the exposure: one of its `parts`, modules like a step's."""

    module: object = None


def module(step):
    """The module of a step, or of a part of one."""
    return step.module if isinstance(step, Part) else step_module(step.name)


def parameters(step, recipe):
    """The parameters that a step is called with: those that are given; for a part of it all."""
    given = dict(recipe.parameters.get(step.name, {}))
    return {name: p.default for name, p in parameters_of(step.name).items()} | given if isinstance(step, Part) else given


def with_parts(step, recipe):
    """A step, and what its `parts(parameters)` says has to be done after it."""
    found = getattr(step_module(step.name), "parts", None)
    wanted = found(parameters(Part(step.name), recipe)) if found else ()
    return [step, *(Part(step.name, step.arguments, part) for part in wanted)]


def walks(steps, exposure):
    """Steps grouped by what they walk by: [("integrations", [...]), ("rows", [...]), ...]. One that prepares itself begins a group."""
    groups = []
    for step in steps:
        kind = getattr(module(step), "WALKS", "integrations")
        if not groups or groups[-1][0] != kind or prepares(module(step), exposure):
            groups.append((kind, []))
        groups[-1][1].append(step)
    return groups


def prepares(module, exposure):
    """Whether a step has a `prepare` that must have seen all of this exposure before its `apply` sees any."""
    return hasattr(module, "prepare") and getattr(module, "prepares", lambda exposure: True)(exposure)


def halo(steps, recipe):
    """Rows beyond a strip that the steps look at."""
    total = 0
    for step in steps:
        margin = getattr(module(step), "HALO", 0)
        total += margin(recipe.parameters.get(step.name, {})) if callable(margin) else margin
    return total


@contextmanager
def opened(source, scratch=None):
    """A `Ramp` whose scratch files go when the block ends.

    Parameters
    ----------
    source : object with .shape (int, group, row, col) and .read(slice of integrations, empty) -> (sci, groupdq)
    scratch : path, optional
        Folder for the scratch files; by default the system's folder for temporary files.
    """
    ramp = Ramp(source, scratch)
    try:
        yield ramp
    finally:
        ramp.close()


class Ramp:
    """A ramp's samples and flags in scratch files, lent out in blocks that are exposures themselves.

    The arrays of a block lie in memory that the next one is read into: new memory would cost more than the reading.
    A step may leave rows of all blocks out (refpix does, in IRS2 readout); when the walk has ended, the whole exposure has them no more.
    """

    def __init__(self, source, scratch=None):
        self.source, self.shape = source, source.shape
        nints, ngroups, ny, nx = self.shape
        self._high = int(max(1, LARGE // (4 * nints * ngroups * nx)))  # rows of a strip
        rows = self._high * math.ceil(ny / self._high / FILES)
        self._sci = _Scratch(self.shape, np.float32, rows, scratch)
        self._groupdq = _Scratch(self.shape, np.uint8, rows, scratch)
        self._read = source.read
        self._buffers = {}
        self._dead = np.zeros(self.shape[:2], bool)

    def close(self):
        self._buffers.clear()
        self._sci.close()
        self._groupdq.close()

    def _empty(self, shape, kind, turn=0):
        """An array in memory that is used again and again."""
        size, key = math.prod(shape), (np.dtype(kind), turn)
        if key not in self._buffers or self._buffers[key].size < size:
            self._buffers[key] = np.empty(size + size // 4, kind)  # spare memory costs nothing until it is touched
        return self._buffers[key][:size].reshape(shape)

    def integrations(self, exposure, halo=0, keep=True):
        """Blocks of whole integrations; what is done to them is kept if asked (what is done to the pixels' flags always)."""
        nints, ngroups, ny, nx = self.shape
        step = int(max(1, LARGE // (4 * ngroups * ny * nx)))
        cut = Pixels()  # planes of the whole exposure in the blocks' new shape
        for first in range(0, nints, step):
            ints = slice(first, min(first + step, nints))
            sci, groupdq = self._read(ints, self._empty)
            pixels = _lend(exposure, Pixels(sci=sci, groupdq=groupdq), (nints, ngroups, ny, nx), ints, slice(0, ny))
            block = exposure.block(pixels, integrations=ints)
            block.dead_groups = None if self._read == self.source.read else self._dead
            yield block
            if not keep:
                continue
            if block.sci.shape[1:] != (ngroups, ny, nx):
                _gather(cut, exposure, block, ints, nints)
                self.shape = (nints, *block.sci.shape[1:])
            _take_back(exposure, block)
            self._sci.write(ints, block.sci)
            self._groupdq.write(ints, block.groupdq)
            self._dead[ints] = dead_groups(block.groupdq)
            del block, pixels, sci, groupdq
        if cut.dq is not None:
            exposure.pixeldq = cut.dq
            exposure.extra.update(cut.extra)
            self._sci.shape = self._groupdq.shape = self.shape
        if keep:
            self._read = self._reread

    def _reread(self, ints, empty):
        rows = slice(0, self._sci.shape[2])
        return self._sci.read(ints, rows, empty), self._groupdq.read(ints, rows, empty)

    def strips(self, exposure, halo=0, keep=True, last=False):
        """Strips of rows with all integrations and `halo` rows more on each side; what is done to the rows between is kept if asked.

        After the `last` walk there is nothing left: the system gets a scratch file's memory back as soon as its rows are read.
        """
        nints, _, ny, _ = self.shape
        ints, high = slice(0, nints), self._high
        if self._read == self.source.read:  # no walk has filled the scratch files yet
            for _ in self.integrations(exposure):
                pass
        done = None
        for number, first in enumerate(range(0, ny, high)):
            inner = slice(first, min(first + high, ny))
            rows = slice(max(0, inner.start - halo), min(ny, inner.stop + halo))
            empty = partial(self._empty, turn=number % 2 if keep else 0)  # the strip before is not written yet
            pixels = Pixels(sci=self._sci.read(ints, rows, empty), groupdq=self._groupdq.read(ints, rows, empty))
            if last:
                self._sci.drop(rows.start)
                self._groupdq.drop(rows.start)
            if done:  # only now: this strip's halo had to see the rows of the one before as they were
                self._write_strip(done)
            strip = exposure.block(_lend(exposure, pixels, self.shape, ints, rows), rows=rows)
            strip.inner, strip.dead_groups = inner, self._dead
            yield strip
            _take_back(exposure, strip)
            done = strip if keep else None
            del strip, pixels
        if done:
            self._write_strip(done)

    def _write_strip(self, strip):
        part = slice(strip.inner.start - strip.rows.start, strip.inner.stop - strip.rows.start)
        self._sci.write_rows(strip.inner, strip.sci[:, :, part])
        self._groupdq.write_rows(strip.inner, strip.groupdq[:, :, part])


def _lend(exposure, pixels, shape, ints, rows):
    """Give a block its part of the planes that the whole exposure holds: PIXELDQ, zero frames, maps."""
    whole = exposure.pixels[0]
    pixels.header = whole.header
    pixels.dq = whole.dq[rows]
    for name, array in whole.extra.items():
        array = array[ints] if array.ndim == 3 and array.shape[0] == shape[0] else array
        pixels.extra[name] = array[..., rows, :] if array.shape[-2:] == shape[-2:] else array
    return pixels


def _gather(cut, exposure, block, ints, nints):
    """Keep a block's planes of the pixels where they have another shape than those of the whole exposure."""
    cut.dq = block.pixeldq if cut.dq is None else cut.dq | block.pixeldq
    for name, array in exposure.extra.items():
        part = block.extra[name]
        if part.shape[-2:] != array.shape[-2:]:
            if array.ndim == 3 and array.shape[0] == nints:
                cut.extra.setdefault(name, np.empty((nints, *part.shape[1:]), part.dtype))[ints] = part
            else:
                cut.extra[name] = part


def _take_back(exposure, block):
    """Keep what a step has put into a block's `extra` for the whole exposure (maps only)."""
    whole = exposure.pixels[0]
    for name, array in block.extra.items():
        if name not in whole.extra:
            whole.extra[name] = array


def paste(wholes, parts, strip, shape):
    """Put the results of a strip into those of the whole exposure.

    Parameters
    ----------
    wholes : list of Exposure, or None before the first strip
    parts : list of Exposure
        What ramp_fit made of the strip, halo included.
    strip : Exposure
    shape : (int, group, row, col) of the ramp

    Returns
    -------
    list of Exposure
    """
    rows, inner = strip.rows, strip.inner
    part = slice(inner.start - rows.start, inner.stop - rows.start)
    if wholes is None:
        wholes = parts
        saved = [dict(whole.pixels[0].planes()) for whole in wholes]
        for whole, planes in zip(wholes, saved, strict=True):
            for name, array in planes.items():
                full = np.empty((*array.shape[:-2], shape[2], array.shape[-1]), array.dtype)
                full[..., inner, :] = array[..., part, :]
                setattr(whole.pixels[0], name, full)
        return wholes
    for whole, result in zip(wholes, parts, strict=True):
        for name, array in result.pixels[0].planes():
            getattr(whole.pixels[0], name)[..., inner, :] = array[..., part, :]
        # the strips share one book of times; what only the results have is added up
        whole.seconds = {k: v if k in strip.seconds else v + whole.seconds.get(k, 0.0) for k, v in result.seconds.items()}
    return wholes


class _Scratch:
    """One array (int, group, row, col) in files without a name, each of which has some of its rows."""

    def __init__(self, shape, kind, rows, folder):
        self.shape, self.kind, self.rows = shape, np.dtype(kind), rows
        self.files = [tempfile.TemporaryFile(dir=folder, prefix="jwcal-", buffering=0) for _ in range(0, shape[2], rows)]

    def close(self):
        for file in self.files:
            file.close()

    def drop(self, row):
        """Give up the files whose rows all lie before this one."""
        for file in self.files[: row // self.rows]:
            file.close()

    def _pieces(self, shape, ints, rows):
        """(file, offset in it, place in the block) of the rows that lie side by side: those of one group in one file."""
        _, ngroups, ny, nx = shape
        for number in range(rows.start // self.rows, -(-rows.stop // self.rows)):
            top = number * self.rows
            high = min(self.rows, ny - top)
            first, end = max(rows.start, top), min(rows.stop, top + high)
            for i in range(ints.start, ints.stop):
                for g in range(ngroups):
                    offset = ((i * ngroups + g) * high + first - top) * nx * self.kind.itemsize
                    yield self.files[number], offset, (i - ints.start, g, slice(first - rows.start, end - rows.start))

    def write(self, ints, array):
        """Whole integrations. They may have fewer rows than those that were written before: then all are written anew, in order."""
        self._write(array, self._pieces(array.shape, ints, slice(0, array.shape[2])))

    def write_rows(self, rows, array):
        """Some rows of all integrations."""
        self._write(array, self._pieces(self.shape, slice(0, self.shape[0]), rows))

    def _write(self, array, pieces):
        for file, offset, place in pieces:
            _put(file, np.ascontiguousarray(array[place], self.kind), offset)

    def read(self, ints, rows, empty):
        """Some rows of some integrations; `empty(shape, kind)` gives the memory."""
        _, ngroups, _, nx = self.shape
        array = empty((ints.stop - ints.start, ngroups, rows.stop - rows.start, nx), self.kind)
        for file, offset, place in self._pieces(self.shape, ints, rows):
            _get(file, array[place], offset)
        return array


def _put(file, array, offset):
    view = memoryview(array).cast("B")
    while view:
        done = os.pwrite(file.fileno(), view, offset)
        view, offset = view[done:], offset + done


def _get(file, array, offset):
    view = memoryview(array).cast("B")
    while view:
        done = os.preadv(file.fileno(), [view], offset)
        if not done:
            raise OSError("the scratch file is shorter than what was written to it")
        view, offset = view[done:], offset + done
