"""Runs of the peer are kept, and returned only where all that they depend on is the same."""

import numpy as np
import pytest

from peer import needs_peer, peer_python

pytestmark = needs_peer
CODE = """
import os, random
out["sum"] = a + 1
out["run"] = random.random()
if "source" in globals():
    out["read"] = len(open(str(source)).read())
    with open(os.path.join(str(folder), "made.txt"), "w") as file:
        file.write(str(out["run"]))
if "secret" in globals():
    out["read"] = len(open(bytes(secret).decode()).read())
"""


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("JWCAL_PEER", str(tmp_path / "kept"))
    return tmp_path / "kept"


def test_the_same_run_is_not_repeated(kept, monkeypatch):
    first, again, other = peer_python(CODE, a=[1.0, 2.0]), peer_python(CODE, a=[1.0, 2.0]), peer_python(CODE, a=[1.0, 3.0])
    np.testing.assert_array_equal(first["sum"], [2, 3])
    assert first["run"] == again["run"] != other["run"] and len(list(kept.iterdir())) == 2
    assert peer_python(CODE, a=np.float32([1, 2]))["run"] != first["run"]
    assert peer_python(CODE + "\n", a=[1.0, 2.0])["run"] != first["run"]
    monkeypatch.setenv("JWCAL_PEER", "")
    assert peer_python(CODE, a=[1.0, 2.0])["run"] != first["run"]


def test_files_count_by_what_is_in_them_and_those_it_made_come_back(tmp_path):
    runs = []
    for place, text in ("one", "abc"), ("two", "abc"), ("three", "abcd"):
        source, folder = tmp_path / place / "in/source.txt", tmp_path / place / "out"
        source.parent.mkdir(parents=True)
        folder.mkdir()
        source.write_text(text)
        runs.append(peer_python(CODE, a=1, source=str(source), folder=str(folder)))
        assert float((folder / "made.txt").read_text()) == runs[-1]["run"] and runs[-1]["read"] == len(text)
    assert runs[0]["run"] == runs[1]["run"] != runs[2]["run"]


def test_a_run_that_reads_what_it_was_not_given_is_not_kept(kept, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("abc")
    path = np.frombuffer(str(secret).encode(), np.uint8)
    assert peer_python(CODE, a=1, secret=path)["read"] == 3
    secret.write_text("abcd")
    assert peer_python(CODE, a=1, secret=path)["read"] == 4 and not kept.exists()


def test_a_run_that_failed_is_not_kept(kept):
    for _ in range(2):
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            peer_python("1 / 0")
    assert not kept.exists()
