"""Walking a ramp that is too large for memory.

Most of stage 1 looks at one integration at a time; jump and ramp_fit look at one pixel at a time, but in all integrations.
So a large ramp is walked twice: by blocks of whole integrations, then by strips of rows. Between the walks it lies in
scratch files, which are read and written with plain I/O: that is the system's cache, which it can take back, and not the job's memory.
A step that has to know all of the exposure before it changes a part goes through it by itself first: see docs/architecture.md.
"""

import math
import tempfile
from contextlib import contextmanager
from functools import partial

import numpy as np

from ..files.fitsio import read_run, write_run
from ..machine.threads import parts, side_by_side
from ..vocabulary.parameters import parameters_of, step_module
from .exposure import Pixels, dead_groups
from .sizes import LARGE, PIECE

FILES = 64  # at most, for the samples, and as many for the flags
INTEGRATIONS = 16  # that one thread copies at a time


def is_large(shape):
    """Whether a ramp of this shape (int, group, row, col) is walked in pieces: more than one integration, more than LARGE bytes."""
    return shape[0] > 1 and 4 * np.prod(shape, dtype=np.int64) > LARGE


def parameters(step, recipe):
    """All parameters of a step, those that are not given with their defaults."""
    return {name: p.default for name, p in parameters_of(step.name).items()} | recipe.parameters.get(step.name, {})


def walks_itself(function, step, exposure, recipe):
    """Whether a step has this function, "prepare" or "finish", and has to go through the exposure in it."""
    module = step_module(step.name)
    needed = getattr(module, "walks_itself", None)
    return hasattr(module, function) and (needed is None or needed(exposure, parameters(step, recipe)))


def walks(steps, exposure, recipe):
    """Steps grouped by what they walk by, [("integrations", [...]), ("rows", [...]), ...].

    One that walks itself before (`prepare`) is the first of its group, one that does so after (`finish`) the last.
    """
    groups, ended = [], True
    for step in steps:
        kind = getattr(step_module(step.name), "WALKS", "integrations")
        if ended or groups[-1][0] != kind or walks_itself("prepare", step, exposure, recipe):
            groups.append((kind, []))
        groups[-1][1].append(step)
        ended = walks_itself("finish", step, exposure, recipe)
    return groups


def halo(steps, recipe):
    """Rows beyond a strip that the steps look at."""
    total = 0
    for step in steps:
        margin = getattr(step_module(step.name), "HALO", 0)
        total += margin(recipe.parameters.get(step.name, {})) if callable(margin) else margin
    return total


@contextmanager
def walked(exposure, scratch=None):
    """Put the samples of an exposure into scratch files, for its `blocks` and `strips`, until the block ends.

    Parameters
    ----------
    exposure : Exposure
        Its `raw`: .shape (int, group, row, col) and .read(slice of integrations, empty) -> (sci, groupdq).
    scratch : path, optional
        Folder for the scratch files; by default the system's folder for temporary files.
    """
    exposure.samples = Ramp(exposure.raw, scratch)
    try:
        yield
    finally:
        exposure.samples.close()
        exposure.samples = None


class Ramp:
    """A ramp's samples and flags in scratch files, lent out in blocks that are exposures themselves.

    The arrays of a block lie in memory that the next one is read into: new memory would cost more than the reading.
    A step may leave rows of all blocks out (refpix does, in IRS2 readout); when the walk has ended, the whole exposure has them no more.
    """

    def __init__(self, source, scratch=None):
        self.source, self.shape = source, source.shape
        nints, ngroups, ny, nx = self.shape
        self._most = min(PIECE, LARGE) // 4  # samples of a piece
        self._high = int(max(1, self._most // (nints * ngroups * nx)))  # rows of a strip
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

    def blocks(self, exposure, keep):
        """Blocks of whole integrations; what is done to them is kept if asked (what is done to the pixels' flags always)."""
        nints, ngroups, ny, nx = self.shape
        step = int(max(1, self._most // (ngroups * ny * nx)))
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

    def strips(self, exposure, halo, keep, last):
        """Strips of rows with all integrations and `halo` rows more on each side; what is done to the rows between is kept if asked.

        After the `last` walk there is nothing left: the system gets a scratch file's memory back as soon as its rows are read.
        """
        nints, _, ny, _ = self.shape
        ints, high = slice(0, nints), self._high
        if self._read == self.source.read:  # no walk has filled the scratch files yet
            for _ in self.blocks(exposure, keep=True):
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
            strip = exposure.block(_lend(exposure, pixels, self.shape, ints, rows), rows=rows, inner=inner)
            strip.dead_groups = self._dead
            yield strip
            _take_back(exposure, strip)
            done = strip if keep else None
            del strip, pixels
        if done:
            self._write_strip(done)

    def _write_strip(self, strip):
        self._sci.write_rows(strip.inner, strip.sci[:, :, strip.own])
        self._groupdq.write_rows(strip.inner, strip.groupdq[:, :, strip.own])


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


def put_together(exposure, strips, make):
    """What is made of the strips of an exposure, put together.

    Parameters
    ----------
    exposure : Exposure
    strips : iterable of Exposure
        Its `strips()`.
    make : callable
        make(strip) -> list of Exposure whose planes have the strip's rows, its halo included.

    Returns
    -------
    list of Exposure
    """
    wholes = None
    for strip in strips:
        made = make(strip)
        if strip.rows == slice(0, None):
            return made
        if wholes is None:
            wholes = made
            _extend(wholes, strip, exposure.shape[2])
        else:
            _paste(wholes, made, strip)
        del made  # it must not wait for the next strip's
    return wholes


def _extend(wholes, strip, ny):
    """Give the results of the first strip the rows of the whole exposure."""
    pairs = []
    for whole in wholes:
        for name, array in whole.pixels[0].planes():
            full = np.empty((*array.shape[:-2], ny, array.shape[-1]), array.dtype)
            pairs.append((full[..., strip.inner, :], array[..., strip.own, :]))
            setattr(whole.pixels[0], name, full)
    _copy(pairs)


def _paste(wholes, made, strip):
    """Put the results of a strip into those of the whole exposure."""
    pairs = []
    for whole, result in zip(wholes, made, strict=True):
        for name, array in result.pixels[0].planes():
            pairs.append((getattr(whole.pixels[0], name)[..., strip.inner, :], array[..., strip.own, :]))
        whole.header, whole.pixels[0].header = result.header, result.pixels[0].header  # in the last one jump has counted all strips
        # the strips share one book of times; what only the results have is added up
        whole.seconds = {k: v if k in strip.seconds else v + whole.seconds.get(k, 0.0) for k, v in result.seconds.items()}
    _copy(pairs)


def _copy(pairs):
    """Copy arrays: (to, from)."""
    some = [(to[part], array[part]) for to, array in pairs for part in parts(0, len(to), INTEGRATIONS)]
    side_by_side(lambda pair: np.copyto(*pair), some)


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
        """For each integration (file, offset in it, places in the block) of rows that follow each other in a file: those of one
        group, or of all groups where they are all rows of the file.
        """
        _, ngroups, ny, nx = shape
        numbers = range(rows.start // self.rows, -(-rows.stop // self.rows))

        def of(i):
            for turn in range(len(numbers)):
                number = numbers[(turn + i) % len(numbers)]  # not all in one file at once: it takes one writer at a time
                top = number * self.rows
                high = min(self.rows, ny - top)
                first, end = max(rows.start, top), min(rows.stop, top + high)
                places = [(i - ints.start, g, slice(first - rows.start, end - rows.start)) for g in range(ngroups)]
                step = ngroups if end - first == high else 1
                for g in range(0, ngroups, step):
                    offset = ((i * ngroups + g) * high + first - top) * nx * self.kind.itemsize
                    yield self.files[number], offset, places[g : g + step]

        return [of(i) for i in range(ints.start, ints.stop)]

    def write(self, ints, array):
        """Whole integrations. They may have fewer rows than those that were written before; then all are written anew."""
        self._write(array, self._pieces(array.shape, ints, slice(0, array.shape[2])))

    def write_rows(self, rows, array):
        """Some rows of all integrations."""
        self._write(array, self._pieces(self.shape, slice(0, self.shape[0]), rows))

    def _write(self, array, pieces):
        def put(those):
            for file, offset, places in those:
                write_run(file, [np.ascontiguousarray(array[place], self.kind) for place in places], offset)

        side_by_side(put, pieces)

    def read(self, ints, rows, empty):
        """Some rows of some integrations; `empty(shape, kind)` gives the memory."""
        _, ngroups, _, nx = self.shape
        array = empty((ints.stop - ints.start, ngroups, rows.stop - rows.start, nx), self.kind)

        def get(those):
            for file, offset, places in those:
                read_run(file, [array[place] for place in places], offset)

        side_by_side(get, self._pieces(self.shape, ints, rows))
        return array
