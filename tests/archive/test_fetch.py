"""Files come from a server that speaks the archive's protocol: pages, patience, pieces, checksums, and what may go wrong."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import parse_qs, urlparse

import pytest

from jwcal.archive import download, mast
from jwcal.commands import fetch
from jwcal.vocabulary.errors import InputError


def image(number, size=3):
    """The bytes of a file that is of the form of FITS."""
    return b"SIMPLE  =                    T" + bytes([number]) * (2880 * size - 30)


FILES = {
    f"jw012340{obs:02d}001_02101_0000{n}_{end}": image(10 * obs + n)
    for obs, end in ((1, "nrca1_uncal.fits"), (2, "mirimage_uncal.fits"))
    for n in (1, 2)
}
FILES |= {"jw01234003001_01_msa.fits": image(99), "jw01234003001_03101_00001_nrs1_uncal.fits": image(31)}
OTHERS = {"jw01234001001_02101_00001_nrca1_rate.fits": b"rate", "jw01234-o001_t001_nircam_i2d.fits": b"mosaic"}
MODES = {11: ("NIRCAM/IMAGE", "001"), 12: ("MIRI/IMAGE", "002"), 13: ("NIRSPEC/MSA", "003")}


@pytest.fixture
def archive(monkeypatch):
    """The server, and what it does: to be changed by a test."""
    state = SimpleNamespace(asked=[], ranges=[], busy=1, cut=0, spoil=False, tell="ETag", resumes=True, refuse=None, page=2)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def reply(self, status, body, length=None, **headers):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            request = json.loads(parse_qs(body)["request"][0])
            state.asked.append(request)
            if state.busy:
                state.busy -= 1
                return self.reply(200, json.dumps({"status": "EXECUTING"}).encode())
            rows = observations(request["params"]) if request["service"] == "Mast.Caom.Filtered" else products(request["params"])
            page, size = request["page"], state.page
            paging = {"page": page, "pageSize": size, "pagesTotal": max(1, -(-len(rows) // size))}
            self.reply(200, json.dumps({"status": "COMPLETE", "data": rows[size * (page - 1) : size * page], "paging": paging}).encode())

        def do_GET(self):
            url = urlparse(self.path)
            name = parse_qs(url.query)["uri"][0].rpartition("/")[2]
            if url.path != "/api/v0.1/Download/file" or name not in FILES:
                return self.reply(404, b"")
            if state.refuse:
                return self.reply(state.refuse, b"")
            whole, start, status = FILES[name], 0, 200
            headers = {"ETag": f'"{hashlib.md5(whole).hexdigest()}"'} if state.tell else {}
            state.ranges.append(self.headers.get("Range"))
            if self.headers.get("Range") and state.resumes:
                start, status = int(self.headers["Range"].removeprefix("bytes=").rstrip("-")), 206
                headers["Content_Range"] = f"bytes {start}-{len(whole) - 1}/{len(whole)}"
            body = whole[start:]
            if state.spoil:
                body = body[:-1] + bytes([body[-1] ^ 1])
            length = len(body)
            if state.cut:
                state.cut -= 1
                body = body[:1000]
            self.reply(status, body, length, **headers)

    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setattr(mast.time, "sleep", lambda _: None)
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    state.address = f"http://127.0.0.1:{running.server_port}"
    monkeypatch.setenv("JWCAL_ARCHIVE", state.address)
    yield state
    running.shutdown()
    running.server_close()


def observations(parameters):
    asked = {one["paramName"]: one["values"] for one in parameters["filters"]}
    known = asked["obs_collection"] == ["JWST"] and "1234" in asked["proposal_id"]
    return [{"obsid": obsid, "instrument_name": mode, "obs_id": f"jw01234{obs}"} for obsid, (mode, obs) in MODES.items()] if known else []


def products(parameters):
    rows = []
    for obsid in parameters["obsid"].split(","):
        for name, content in (FILES | OTHERS).items():
            if name[7:10] == MODES[int(obsid)][1] or (name in OTHERS and obsid == "11"):
                public = "EXCLUSIVE_ACCESS" if name[7:10] == "002" else "PUBLIC"
                row = {"productFilename": name, "size": len(content), "dataURI": f"mast:JWST/product/{name}", "dataRights": public}
                rows.append(row | {"parent_obsid": obsid})
    return rows + rows[:1]  # a file may belong to several observations


def names(files):
    return [one.name for one in files]


def test_the_files_of_a_program_each_once(archive):
    files = mast.files(1234)
    assert names(files) == sorted(FILES) and {one.mode for one in files} == {"NIRCAM/IMAGE", "MIRI/IMAGE", "NIRSPEC/MSA"}
    assert [one.public for one in files if "mirimage" in one.name] == [False, False]
    assert {request["page"] for request in archive.asked} > {1, 2}


@pytest.mark.parametrize(
    ("observations", "modes", "found"),
    [
        ((2,), (), "mirimage"),
        ((), ("NIRCAM",), "nrca1"),
        ((), ("*/msa",), "jw01234003"),
        ((1, 2), ("miri/image",), None),
        ((1, 2), (), "_uncal"),
    ],
)
def test_a_part_of_it(archive, observations, modes, found):
    if found is None:
        with pytest.raises(InputError, match="no raw files of observation 1"):
            mast.files(1234, observations, modes)
        return
    chosen = mast.files(1234, observations, modes)
    assert chosen and all(found in name for name in names(chosen))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((99,), "no program 99"), ((1234, (7,)), "There are 1, 2, 3"), ((1234, (), ("MIRI/IFU",)), "Its modes are MIRI/IMAGE, NIRCAM/IMAGE")],
)
def test_what_there_is_not(archive, arguments, message):
    with pytest.raises(InputError, match=message):
        mast.files(*arguments)


def test_no_network(monkeypatch):
    with pytest.raises(InputError, match="can't be asked"):
        mast.files(1234, address="http://127.0.0.1:9")


def test_files_come_whole_and_once(archive, tmp_path):
    files = mast.files(1234)
    paths = download.fetch(files, tmp_path)
    assert {path.name: path.read_bytes() for path in paths} == FILES and not list(tmp_path.glob("*.part"))
    archive.ranges.clear()
    assert download.missing(files, tmp_path) == [] and download.fetch(files, tmp_path) == paths and not archive.ranges
    paths[0].write_bytes(b"short")
    download.fetch(files, tmp_path)
    assert len(archive.ranges) == 1 and paths[0].read_bytes() == FILES[paths[0].name]


def test_what_was_cut_off_goes_on(archive, tmp_path):
    files = mast.files(1234, (1,))[:1]
    archive.cut = 2
    (path,) = download.fetch(files, tmp_path)
    assert path.read_bytes() == FILES[path.name] and archive.ranges == [None, "bytes=1000-", "bytes=2000-"]


def test_a_run_that_ended_goes_on_later(archive, tmp_path):
    (one,) = files = mast.files(1234, (1,))[:1]
    (tmp_path / f"{one.name}.part").write_bytes(FILES[one.name][:4000])
    assert download.left(files, tmp_path) == one.size - 4000
    (path,) = download.fetch(files, tmp_path)
    assert path.read_bytes() == FILES[path.name] and archive.ranges == ["bytes=4000-"]


def test_a_server_that_can_t_resume_starts_again(archive, tmp_path):
    (one,) = files = mast.files(1234, (1,))[:1]
    (tmp_path / f"{one.name}.part").write_bytes(b"x" * 4000)
    archive.resumes = False
    (path,) = download.fetch(files, tmp_path)
    assert path.read_bytes() == FILES[path.name]


def test_what_is_spoilt_on_its_way_is_no_file(archive, tmp_path):
    archive.spoil = True
    with pytest.raises(InputError, match="its md5 is not the one that the archive tells"):
        download.fetch(mast.files(1234, (1,)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_piece_of_something_else_is_no_file(archive, tmp_path):
    """Resumed onto the wrong beginning: without a checksum the form alone tells."""
    (one,) = files = mast.files(1234, (1,))[:1]
    (tmp_path / f"{one.name}.part").write_bytes(b"x" * 4000)
    archive.tell = None
    with pytest.raises(InputError, match="no whole FITS file"):
        download.fetch(files, tmp_path)


@pytest.mark.parametrize(("status", "message"), [(401, "MAST_API_TOKEN"), (403, "MAST_API_TOKEN"), (503, "goes on where it was cut off")])
def test_a_file_that_does_not_come(archive, tmp_path, status, message):
    archive.refuse = status
    with pytest.raises(InputError, match=message):
        download.fetch(mast.files(1234, (2,)), tmp_path)


def test_the_token_goes_to_the_archive_alone(monkeypatch):
    monkeypatch.setenv("MAST_API_TOKEN", "word")
    assert mast.opened(f"{mast.SERVER}/x").get_header("Authorization") == "token word"
    for url in ("http://127.0.0.1/x", "https://mast.stsci.edu.example.org/x"):
        assert mast.opened(url).get_header("Authorization") is None


def test_the_command(archive, tmp_path, capsys):
    data = str(tmp_path / "data")
    words = [data, "--program", "1234", "--observation", "1", "3"]
    assert fetch.main([*words, "--list"]) == 0
    said = capsys.readouterr().out
    assert "program 1234: 4 files, 34.6 kB" in said and "4 are to come, 34.6 kB" in said and not (tmp_path / "data").exists()
    assert fetch.main(words) == 1 and "say --yes" in capsys.readouterr().err
    assert fetch.main([*words, "--yes"]) == 0
    assert "4/4" in capsys.readouterr().out and len(list((tmp_path / "data").iterdir())) == 4
    assert fetch.main(words) == 0 and "0 are to come" in capsys.readouterr().out
