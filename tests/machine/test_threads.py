"""What several threads read, write and convert is what one does, and no thread is started where one is asked for."""

import os
import threading
import time

import numba
import numpy as np
import pytest
import xxhash
from astropy.io import fits

from jwcal.files import fingerprint, fitsio
from jwcal.kernels.files.standard_bits import PIECE, move_bits
from jwcal.machine import threads

KINDS = ("uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")


@pytest.fixture(params=[1, 2])
def number(request):
    """Threads that are asked for."""
    before = numba.get_num_threads()
    numba.set_num_threads(min(request.param, numba.config.NUMBA_NUM_THREADS))
    yield request.param
    numba.set_num_threads(before)


def values(kind, shape):
    rng = np.random.default_rng(3)
    if np.dtype(kind).kind == "f":
        return rng.normal(size=shape).astype(kind)
    return rng.integers(np.iinfo(kind).min, np.iinfo(kind).max, shape, kind, endpoint=True)


@pytest.mark.parametrize("kind", KINDS)
def test_images_are_those_of_astropy(tmp_path, monkeypatch, number, kind):
    monkeypatch.setattr(fitsio, "BUFFER", 512)
    monkeypatch.setattr(fitsio, "SPAN", 1200)
    array = values(kind, (3, 7, 31))
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(array, name="SCI"), fits.ImageHDU(array[:1, :, ::2], name="ERR")])
    fitsio.write_fits([(hdus, tmp_path / "ours.fits", "ours.fits")])
    hdus.writeto(tmp_path / "astropy.fits")
    assert (tmp_path / "ours.fits").read_bytes() == (tmp_path / "astropy.fits").read_bytes()
    with fits.open(tmp_path / "ours.fits") as opened:
        sci = opened["SCI"]
        place = fitsio.stored(sci.header, sci.fileinfo()["datLoc"], sci.shape, tmp_path / "ours.fits")
    for wanted in (kind, "float32"):
        out = np.empty((2, 7, 31), wanted)
        place.read(out, first=7 * 31)
        np.testing.assert_array_equal(out, array[1:].astype(wanted))


def test_a_file_that_is_too_short_is_an_error(tmp_path, monkeypatch, number):
    monkeypatch.setattr(fitsio, "BUFFER", 512)
    monkeypatch.setattr(fitsio, "SPAN", 1200)
    (tmp_path / "short").write_bytes(bytes(5000))
    with pytest.raises(OSError, match="too soon"):
        fitsio.Stored(str(tmp_path / "short"), 0, np.dtype("f4"), (2000,)).read(np.empty(2000, np.float32))


def test_the_digest_of_a_large_file_is_of_all_its_parts(tmp_path, monkeypatch, number):
    monkeypatch.setattr(fingerprint, "PART", 1000)
    monkeypatch.setattr(fingerprint, "BLOCK", 300)
    content, found = bytes(range(250)) * 10, []
    for changed in (None, 0, 999, 1000, 2499):
        new = bytearray(content)
        if changed is not None:
            new[changed] ^= 1
        (tmp_path / "file").write_bytes(new)
        found.append(fingerprint.digest(tmp_path / "file"))
    assert len(set(found)) == 5
    assert found[0] == fingerprint.of_text(*(xxhash.xxh3_128_hexdigest(content[at : at + 1000]) for at in (0, 1000, 2000)))
    (tmp_path / "file").write_bytes(b"")
    assert fingerprint.digest(tmp_path / "file") == xxhash.xxh3_128_hexdigest(b"")


def test_one_thread_is_the_caller_alone(number):
    seen = threads.side_by_side(lambda part: (part, threading.current_thread()), threads.parts(0, 10, 3))
    assert [part for part, _ in seen] == [slice(0, 3), slice(3, 6), slice(6, 9), slice(9, 10)]
    alone = {thread for _, thread in seen} == {threading.current_thread()}
    assert alone == (numba.get_num_threads() == 1)
    assert threads.side_by_side(str, []) == threads.parts(0, 0, 4) == []


def test_what_a_thread_hands_out_it_does_itself(number):
    """No thread waits for one that waits for it."""
    seen = threads.side_by_side(lambda a: threads.side_by_side(lambda b: (a, b), range(3)), range(5))
    assert seen == [[(a, b) for b in range(3)] for a in range(5)]

    def within(a):
        with threads.meanwhile(lambda task: None) as give:
            give(range(3))
        return threads.side_by_side(lambda b: threading.current_thread(), range(4))

    assert all(len(set(those)) == 1 for those in threads.side_by_side(within, range(5)))


@pytest.mark.parametrize("bad", [0, 1])  # of the caller's share, of the other's
def test_an_error_is_raised_when_all_have_ended(number, bad):
    ended = []

    def work(task):
        if task == bad:
            raise ValueError("this one")
        ended.append(task)

    with pytest.raises(ValueError, match="this one"):
        threads.side_by_side(work, range(6))
    at_least = range(1 - bad, 6, 2) if numba.get_num_threads() > 1 else range(bad)
    assert set(at_least) <= set(ended)
    assert threads.side_by_side(str, range(3)) == ["0", "1", "2"]


def test_tasks_are_done_while_more_are_made(number):
    done = []
    with threads.meanwhile(done.append) as give:
        give(range(5))
        until = time.monotonic() + 60
        while len(done) < 5 and time.monotonic() < until:
            time.sleep(0.001)
        assert len(done) == 5
        give(range(5, 8))
    assert sorted(done) == list(range(8))


def test_tasks_within_tasks(number):
    seen = []
    with threads.meanwhile(lambda a: seen.append(threads.side_by_side(lambda b: (a, b), range(3)))) as give:
        give(range(6))
    assert sorted(seen) == [[(a, b) for b in range(3)] for a in range(6)]


@pytest.mark.parametrize("bad", [0, 5])  # taken first by another thread, by the caller
def test_an_error_in_a_task_is_raised(number, bad):
    def work(task):
        if task == bad:
            raise ValueError("this one")

    with pytest.raises(ValueError, match="this one"), threads.meanwhile(work) as give:
        give(range(6))
    assert threads.side_by_side(str, range(3)) == ["0", "1", "2"]


def test_tasks_are_begun_in_their_order(number):
    """A file is written from its beginning on, and of several errors the first file's is told."""
    begun, first, last = [], range(100), range(100, 200)
    with threads.meanwhile(begun.append) as give:
        give(first)
        give(last)
    assert sorted(begun) == list(range(200))
    if numba.get_num_threads() == 1:
        assert begun == list(range(200))

    def fail(task):
        raise ValueError(f"task {task}")

    with pytest.raises(ValueError, match="task 0$"), threads.meanwhile(fail) as give:
        give(range(1))
        time.sleep(0.2)
        give(range(1, 2))


def test_no_task_is_begun_after_an_error_of_the_caller(number):
    done, tasks = [], 1000 if numba.get_num_threads() > 1 else 1
    with pytest.raises(ValueError, match="the caller's"), threads.meanwhile(lambda task: (time.sleep(0.01), done.append(task))) as give:
        give(range(tasks))
        raise ValueError("the caller's")
    before = len(done)
    time.sleep(0.05)
    assert len(done) == before < max(2, tasks)


def test_a_forked_process_has_threads_of_its_own(number):
    threads.side_by_side(str, range(4))
    child = os.fork()
    if child == 0:
        os._exit(threads.side_by_side(str, range(4)) != ["0", "1", "2", "3"])
    assert os.waitpid(child, 0)[1] == 0


def test_bits_move():
    bits = np.random.default_rng(1).integers(0, 32, 3 * PIECE // 2).astype(np.uint32)
    bits[::3] = 0
    given, standard = np.array([1, 4, 4], np.uint32), np.array([4, 1 << 31, 8], np.uint32)
    wanted = bits & np.uint32(2 | 4)
    for old, new in zip(given, standard, strict=True):
        wanted[(bits & old) != 0] |= new
    move_bits(bits, np.uint32(2 | 4), given, standard)
    np.testing.assert_array_equal(bits, wanted)
