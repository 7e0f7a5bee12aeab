"""A server on this machine that speaks the archive's protocol: pages, patience, pieces, checksums."""

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import parse_qs, urlparse

OTHERS = {"jw01234001001_02101_00001_nrca1_rate.fits": b"rate", "jw01234-o001_t001_nircam_i2d.fits": b"mosaic"}
MODES = {11: ("NIRCAM/IMAGE", "001"), 12: ("MIRI/IMAGE", "002"), 13: ("NIRSPEC/MSA", "003")}


@contextmanager
def archive_of(files):
    """The server of the files of program 1234, name -> bytes, and what it does: to be changed by a test."""
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
            rows = observations(request["params"]) if request["service"] == "Mast.Caom.Filtered" else products(request["params"], files)
            page, size = request["page"], state.page
            paging = {"page": page, "pageSize": size, "pagesTotal": max(1, -(-len(rows) // size))}
            self.reply(200, json.dumps({"status": "COMPLETE", "data": rows[size * (page - 1) : size * page], "paging": paging}).encode())

        def do_GET(self):
            url = urlparse(self.path)
            name = parse_qs(url.query)["uri"][0].rpartition("/")[2]
            if url.path != "/api/v0.1/Download/file" or name not in files:
                return self.reply(404, b"")
            if state.refuse:
                return self.reply(state.refuse, b"")
            whole, start, status = files[name], 0, 200
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

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
    state.address = f"http://127.0.0.1:{running.server_port}"
    try:
        yield state
    finally:
        running.shutdown()
        running.server_close()


def observations(parameters):
    asked = {one["paramName"]: one["values"] for one in parameters["filters"]}
    known = asked["obs_collection"] == ["JWST"] and "1234" in asked["proposal_id"]
    return [{"obsid": obsid, "instrument_name": mode, "obs_id": f"jw01234{obs}"} for obsid, (mode, obs) in MODES.items()] if known else []


def products(parameters, files):
    rows = []
    for obsid in parameters["obsid"].split(","):
        for name, content in (files | OTHERS).items():
            if name[7:10] == MODES[int(obsid)][1] or (name in OTHERS and obsid == "11"):
                public = "EXCLUSIVE_ACCESS" if name[7:10] == "002" else "PUBLIC"
                row = {"productFilename": name, "size": len(content), "dataURI": f"mast:JWST/product/{name}", "dataRights": public}
                rows.append(row | {"parent_obsid": obsid})
    return rows + rows[:1]  # a file may belong to several observations
