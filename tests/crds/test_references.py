"""Best references: what `jwcal.crds.choose` chooses must be what `crds` chooses, and what it says when there is none must help."""

import json
import os
import subprocess
import sys
import tarfile
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import asdf
import pytest
import yaml
from astropy.io import fits

from jwcal.crds import choose, session
from jwcal.settings import pars
from jwcal.simulate import crds_cache
from jwcal.vocabulary.errors import ConfigError, InputError, ReferenceError
from peer import needs_peer, peer_python

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT / "../shared/real"
CONTEXTS = ("jwst_0500.pmap", "jwst_0535.pmap", "jwst_0540.pmap", "jwst_0541.pmap")
needs_mappings = pytest.mark.skipif(not (REAL / "crds").exists(), reason="the real CRDS mappings (../shared/real/crds) are not here")


@pytest.fixture(autouse=True)
def no_crds_of_mine(monkeypatch):
    """The tests must not see the CRDS of whoever runs them, nor each other's."""
    for name in [k for k in os.environ if k.startswith("CRDS_")]:
        monkeypatch.delenv(name)
    session.forget()


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The real mappings, unpacked."""
    folder = tmp_path_factory.mktemp("real_crds")
    with tarfile.open(REAL / "crds/jwst_mappings.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def keywords(instrument, detector, exp_type, **others):
    """Keywords of an exposure, as far as references depend on them."""
    found = {
        "TELESCOP": "JWST",
        "INSTRUME": instrument,
        "DETECTOR": detector,
        "EXP_TYPE": exp_type,
        "DATE-OBS": "2022-07-11",
        "TIME-OBS": "12:10:09.123",
        "SUBARRAY": "FULL",
        "SUBSTRT1": 1,
        "SUBSTRT2": 1,
        "SUBSIZE1": 2048,
        "SUBSIZE2": 2048,
        "READPATT": "RAPID",
        "TSOVISIT": False,
        "VISITYPE": "PRIME_TARGETED_FIXED",
    }
    return {**found, **others}


# instrument, detector, EXP_TYPE, and what else matters
ROWS = """
NIRCAM NRCA1 NRC_IMAGE CHANNEL=SHORT MODULE=A FILTER=F200W PUPIL=CLEAR
NIRCAM NRCB4 NRC_IMAGE CHANNEL=SHORT MODULE=B FILTER=F150W2 PUPIL=F164N READPATT=DEEP8
NIRCAM NRCALONG NRC_WFSS CHANNEL=LONG MODULE=A FILTER=F444W PUPIL=GRISMR READPATT=MEDIUM2
NIRCAM NRCALONG NRC_TSGRISM CHANNEL=LONG MODULE=A FILTER=F322W2 PUPIL=GRISMR SUBARRAY=SUBGRISM64 TSOVISIT=true
NIRCAM NRCB1 NRC_TSIMAGE CHANNEL=SHORT MODULE=B FILTER=F210M PUPIL=WLP8 SUBARRAY=SUB64P TSOVISIT=true
NIRCAM NRCA2 NRC_CORON CHANNEL=SHORT MODULE=A FILTER=F210M PUPIL=MASKRND CORONMSK=MASKA210R SUBARRAY=SUB640
NIRISS NIS NIS_IMAGE FILTER=CLEAR PUPIL=F200W READPATT=NIS
NIRISS NIS NIS_WFSS FILTER=GR150C PUPIL=F150W READPATT=NISRAPID
NIRISS NIS NIS_SOSS FILTER=CLEAR PUPIL=GR700XD SUBARRAY=SUBSTRIP256 READPATT=NISRAPID TSOVISIT=true
NIRISS NIS NIS_AMI FILTER=F480M PUPIL=NRM SUBARRAY=SUB80 READPATT=NISRAPID SUBSIZE1=80 SUBSIZE2=80
NIRISS NIS NIS_DARK FILTER=CLEAR PUPIL=CLEARP READPATT=NISRAPID
NIRSPEC NRS1 NRS_FIXEDSLIT FILTER=F170LP GRATING=G235M SUBARRAY=ALLSLITS READPATT=NRSRAPID LAMP=NONE
NIRSPEC NRS2 NRS_MSASPEC FILTER=CLEAR GRATING=PRISM READPATT=NRSIRS2RAPID OPMODE=MSASPEC
NIRSPEC NRS1 NRS_IFU FILTER=F290LP GRATING=G395H READPATT=NRSIRS2 OPMODE=IFU
NIRSPEC NRS1 NRS_BRIGHTOBJ FILTER=CLEAR GRATING=PRISM SUBARRAY=SUB512 READPATT=NRSRAPID SUBSIZE1=512 SUBSIZE2=32 TSOVISIT=true
NIRSPEC NRS2 NRS_AUTOFLAT FILTER=OPAQUE GRATING=G140H READPATT=NRS LAMP=FLAT1
MIRI MIRIMAGE MIR_IMAGE FILTER=F770W READPATT=FASTR1 SUBSIZE1=1032 SUBSIZE2=1024
MIRI MIRIMAGE MIR_IMAGE FILTER=F1000W READPATT=FAST SUBARRAY=BRIGHTSKY
MIRI MIRIFUSHORT MIR_MRS CHANNEL="12" BAND=SHORT READPATT=SLOWR1
MIRI MIRIFULONG MIR_MRS CHANNEL="34" BAND=LONG READPATT=FAST
MIRI MIRIMAGE MIR_LRS-FIXEDSLIT FILTER=P750L READPATT=FAST
MIRI MIRIMAGE MIR_LRS-SLITLESS FILTER=P750L SUBARRAY=SLITLESSPRISM READPATT=FAST TSOVISIT=true
MIRI MIRIMAGE MIR_4QPM FILTER=F1065C CORONMSK=4QPM_1065 SUBARRAY=MASK1065 READPATT=FAST
MIRI MIRIMAGE MIR_LYOT FILTER=F2300C CORONMSK=LYOT_2300 SUBARRAY=MASKLYOT READPATT=FAST
FGS GUIDER1 FGS_IMAGE READPATT=FGSRAPID
FGS GUIDER2 FGS_ACQ1 READPATT=FGSRAPID SUBARRAY=128X128
FGS GUIDER1 FGS_FINEGUIDE SUBARRAY=8X8 READPATT=FGS8370
NIRCAM NRCA1 NRC_IMAGE FILTER=F200W DATE-OBS="1999-01-01"
"""
MODES = [
    keywords(*words[:3], **{k: yaml.safe_load(v) for k, v in (word.split("=") for word in words[3:])})
    for words in (row.split() for row in ROWS.strip().splitlines())
]
MODES += [
    {"INSTRUME": "NIRCAM", "DETECTOR": "NRCA1", "FILTER": "F200W", "PUPIL": "CLEAR"},  # no date
    {"INSTRUME": "MIRI", "DATE-OBS": "2022-07-11", "TIME-OBS": "12:10:09"},
]

# What a person would type: crds by itself, given FITS keywords, or the attributes of the mission's own data model.
BY_HAND = """
import json, sys
import crds
questions = json.load(open(sys.argv[1]))
answers = []
for question in questions:
    header = question["header"]
    if "file" in question:
        from stdatamodels.jwst import datamodels
        with datamodels.open(question["file"]) as model:
            header = model.get_crds_parameters()
    types = crds.get_cached_mapping(question["context"]).get_imap(question["instrument"]).get_filekinds()
    types = sorted(types) + ["pars-jumpstep", "nosuchtype"]
    answers.append(crds.getrecommendations(header, reftypes=types, context=question["context"], observatory="jwst"))
json.dump(answers, open(sys.argv[2], "w"))
"""


def by_hand(questions, crds_path, tmp_path):
    """The answers of crds, called in a process of its own, to (header, context) or (header, context, file)."""
    asked = [{"header": h, "context": c, "instrument": h["INSTRUME"], **({"file": str(f[0])} if f else {})} for h, c, *f in questions]
    script, given, back = tmp_path / "by_hand.py", tmp_path / "questions.json", tmp_path / "answers.json"
    script.write_text(BY_HAND)
    given.write_text(json.dumps(asked))
    environment = {**os.environ, "CRDS_PATH": str(crds_path), "CRDS_SERVER_URL": session.NO_SERVER, "CRDS_READONLY_CACHE": "1"}
    done = subprocess.run([sys.executable, script, given, back], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(back.read_text())


def ours(header, types, context, crds_path):
    """Our answer in the form of crds."""
    names, used = choose.recommend(header, types, context=context, crds_path=crds_path)
    assert used == context
    return names


def as_ours(answer):
    """The answer of crds in our form."""
    return {k: "N/A" if v == "NOT FOUND n/a" else None if v.startswith("NOT FOUND") else v for k, v in answer.items()}


@needs_mappings
def test_equals_crds_for_modes_of_every_instrument(real, tmp_path, monkeypatch):
    for allowed in ("CRDS_ALLOW_BAD_REFERENCES", "CRDS_ALLOW_BAD_RULES"):  # some of these old files were withdrawn
        monkeypatch.setenv(allowed, "1")
    questions = [(header, context) for header in MODES for context in CONTEXTS]
    found = {}
    for (header, context), answer in zip(questions, by_hand(questions, real, tmp_path), strict=True):
        assert ours(header, list(answer), context, real) == as_ours(answer), (header, context)
        found.setdefault(header["INSTRUME"], []).extend(v for v in answer.values() if not v.startswith("NOT FOUND"))
    assert set(found) == {"NIRCAM", "NIRISS", "NIRSPEC", "MIRI", "FGS"}
    assert all(len(set(names)) > 20 for names in found.values())  # the comparison was not of emptiness


@needs_mappings
def test_equals_crds_for_flight_headers(real, tmp_path):
    """The mission's data model and crds, against the plain keywords of the same files."""
    files = sorted([*(REAL / "headers").glob("*.fits"), *(REAL / "guider").glob("*.fits")])
    assert len(files) == 16
    questions = []
    for file in files:
        with fits.open(file) as hdus:
            header = {**dict(hdus[0].header), **(dict(hdus["SCI"].header) if "SCI" in hdus else {})}
        questions.append((header, "jwst_0541.pmap", file))
    plain = [({"INSTRUME": header["INSTRUME"]}, *rest) for header, *rest in questions]
    for (header, context, file), answer in zip(questions, by_hand(plain, real, tmp_path), strict=True):
        assert ours(header, list(answer), context, real) == as_ours(answer), file
        assert answer["mask"].endswith(".fits")


@needs_mappings
def test_remembered_choices_change_with_useafter(real, tmp_path):
    """A choice is remembered between two USEAFTER dates: just before, at and after each of them, it must be crds' own."""
    header = keywords("NIRSPEC", "NRS1", "NRS_MSASPEC", FILTER="CLEAR", GRATING="PRISM", READPATT="NRSIRS2RAPID")
    times = [(f"{year}-{month:02d}-01", "00:00:00") for year in (2009, 2013, 2014, 2015, 2016, 2017) for month in range(1, 13)]
    clock = ("00:00:00.0", "22:14:38.295", "22:14:38.296", "23:59:59.9")  # one of the mappings has 2009-06-25 22:14:38.296
    times += [(day, time) for day in ("2009-06-25", "2014-12-31", "2015-11-01", "2016-01-15") for time in clock]
    questions = [({**header, "DATE-OBS": day, "TIME-OBS": time}, "jwst_0541.pmap") for day, time in times]
    answers = by_hand(questions, real, tmp_path)
    assert len({json.dumps(answer, sort_keys=True) for answer in answers}) > 5
    for (header, context), answer in zip(questions, answers, strict=True):
        assert ours(header, list(answer), context, real) == as_ours(answer), header


@needs_mappings
def test_choices_are_not_mixed_up(real, tmp_path):
    """Exposures that differ in one keyword, in one process: each keyword that matters must count."""
    bases = [MODES[i] for i in (0, 8, 14, 18, 25)]
    assert {base["INSTRUME"] for base in bases} == {"NIRCAM", "NIRISS", "NIRSPEC", "MIRI", "FGS"}
    headers = [{k: v for k, v in base.items() if k != left_out} for base in bases for left_out in base if left_out != "INSTRUME"]
    headers += [{**bases[0], "PUPIL": "F164N"}, {**bases[0], "FILTER": "F150W2", "PUPIL": "F164N"}, {**bases[0], "FILTER": "F150W2"}]
    questions = [(header, "jwst_0541.pmap") for header in headers]
    answers = by_hand(questions, real, tmp_path)
    assert len({json.dumps(answer, sort_keys=True) for answer in answers}) > 20
    for (header, context), answer in zip(questions, answers, strict=True):
        assert ours(header, list(answer), context, real) == as_ours(answer), header


@needs_mappings
def test_one_question_to_crds_for_exposures_alike(real, monkeypatch):
    import crds

    asked = []
    ask = crds.getrecommendations
    monkeypatch.setattr(crds, "getrecommendations", lambda *a, **k: asked.append(a) or ask(*a, **k))
    types = ["mask", "dark", "flat", "gain", "photom"]
    for i in range(2000):
        header = keywords("NIRCAM", f"NRCA{i % 4 + 1}", "NRC_IMAGE", FILTER=("F200W", "F210M")[i // 4 % 2], PUPIL="CLEAR")
        header |= {"DATE-OBS": f"2022-0{i % 9 + 1}-10", "TIME-OBS": f"{i % 24:02d}:00:{i % 60:02d}.{i:04d}", "TARGNAME": f"star {i}"}
        choose.recommend(header, types, crds_path=real)
    assert len(asked) == 8


@needs_mappings
def test_no_network_and_no_trace_without_a_server(real, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError(f"went to the network: {args}")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    before = {path: path.stat().st_mtime_ns for path in real.rglob("*")}
    assert choose.recommend(MODES[0], ["mask"], crds_path=real)[0]["mask"] == "jwst_nircam_mask_0033.fits"
    with pytest.raises(ReferenceError, match="no server is configured"):
        choose.resolve(MODES[0], ["mask"], crds_path=real)
    assert {path: path.stat().st_mtime_ns for path in real.rglob("*")} == before


@needs_mappings
def test_settings_win_over_the_environment_which_is_left_alone(real, tmp_path, monkeypatch):
    monkeypatch.setenv("CRDS_PATH", str(real))
    monkeypatch.setenv("CRDS_CONTEXT", "jwst_0500.pmap")
    assert choose.default_context() == "jwst_0500.pmap"
    assert choose.default_context("jwst_0535.pmap") == "jwst_0535.pmap"
    assert choose.default_context("latest") == "jwst_0541.pmap"
    small = tmp_path / "small"
    crds_cache.build(small, [_flat(tmp_path)], context="jwst_0007.pmap")
    before = dict(os.environ)
    monkeypatch.setenv("CRDS_MAPPATH", str(tmp_path))  # would win over CRDS_PATH
    assert choose.default_context("latest", crds_path=small) == "jwst_0007.pmap"
    assert choose.resolve(MODES[0], ["flat"], context="latest", crds_path=small).context == "jwst_0007.pmap"
    monkeypatch.delenv("CRDS_MAPPATH")
    assert choose.default_context() == "jwst_0500.pmap"
    assert dict(os.environ) == before


def test_importing_does_not_import_crds():
    code = "import sys; from jwcal.crds import choose; assert not {'crds', 'stdatamodels', 'asdf'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")})


def test_keywords_are_those_of_the_data_model():
    from crds.jwst import schema

    assert choose.KEYWORDS == {parkey: schema.dm_to_fits(parkey) for parkey in choose.KEYWORDS}


# --- overrides, and what is said when there is nothing ---


def _flat(folder, name="flat.fits", **header):
    header = {"REFTYPE": "FLAT", "INSTRUME": "NIRCAM", "DETECTOR": "NRCA1", "FILTER": "F200W", "PUPIL": "CLEAR", **header}
    fits.PrimaryHDU(header=fits.Header(header)).writeto(folder / name)
    return folder / name


@pytest.fixture
def small(tmp_path):
    """A cache with one flat."""
    folder = tmp_path / "crds"
    crds_cache.build(folder, [_flat(tmp_path)])
    return folder


def test_overrides_win(small, tmp_path):
    mine = _flat(tmp_path, "mine.fits")
    found = choose.resolve(MODES[0], ["flat", "mask"], crds_path=small, overrides={"flat": str(mine), "mask": "n/a", "gain": "unasked"})
    assert found.files == {"flat": str(mine), "mask": "N/A"}
    assert found.names == {"flat": "mine.fits", "mask": "N/A"}


def test_override_by_name(small):
    header = {**MODES[0], "FILTER": "F444W"}  # crds would have none
    found = choose.resolve(header, ["flat"], crds_path=small, overrides={"flat": "crds://jwst_nircam_flat_0001.fits"})
    assert found.files["flat"] == str(small / "references/jwst/nircam/jwst_nircam_flat_0001.fits")
    assert found.names["flat"] == "crds://jwst_nircam_flat_0001.fits"


def test_crds_is_not_asked_where_all_is_overridden(tmp_path):
    found = choose.resolve(MODES[0], ["flat"], overrides={"flat": str(_flat(tmp_path))}, crds_path="/nowhere")
    assert found.context == ""


def test_without_any_crds_only_overrides_count(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("crds.core.config.CRDS_DEFAULT_CACHE", str(tmp_path / "none"))
    found = choose.resolve(MODES[0], ["flat"], optional=["area"], overrides={"flat": str(_flat(tmp_path))})
    assert found.files["area"] == "N/A"
    assert pars.step_parameters(MODES[0], "detector1", ["jump"]) == {}
    assert [r.levelname for r in caplog.records if "no CRDS cache is set" in r.message] == ["WARNING"]
    with pytest.raises(ReferenceError, match="there is no CRDS cache"):
        choose.resolve(MODES[0], ["flat"], optional=["area"])


def test_optional_types_may_be_missing(small):
    found = choose.resolve(MODES[0], ["flat"], optional=["area", "pars-jumpstep", "superbias"], crds_path=small)
    assert found.files["flat"].endswith("jwst_nircam_flat_0001.fits")
    assert {found.files[k] for k in ("area", "pars-jumpstep", "superbias")} == {"N/A"}


def test_not_applicable_is_no_error(small):
    assert choose.resolve(MODES[0], ["fringe"], crds_path=small).files == {"fringe": "N/A"}  # MIRI's


HEADER = {**MODES[0], "FILENAME": "jw01_uncal.fits"}
ERRORS = [
    # keywords, type, settings, error, what it must say
    ({}, "superbias", {}, ReferenceError, "jw01_uncal.fits jwst_0001.pmap superbias overrides: {superbias: FILE}"),
    ({"FILTER": "F444W"}, "flat", {}, ReferenceError, "jw01_uncal.fits jwst_0001.pmap flat FILTER=F444W PUPIL=CLEAR"),
    ({"DATE-OBS": "2001-01-01"}, "flat", {}, ReferenceError, "jw01_uncal.fits flat DATE-OBS=2001-01-01"),
    ({"DATE-OBS": None}, "flat", {}, ReferenceError, "jw01_uncal.fits flat META.OBSERVATION.DATE UNDEFINED"),
    ({}, "flat", {"file": "given.fits", "context": "jwst_9999.pmap"}, ReferenceError, "given.fits jwst_9999.pmap crds sync --contexts"),
    ({}, "flat", {"context": "jwst_1"}, ConfigError, "jwst_1 crds_context jwst_NNNN.pmap"),
    ({}, "flat", {"crds_path": "/nowhere"}, ReferenceError, "/nowhere crds_path crds_server_url"),
    ({}, "flat", {"crds_path": "/nowhere", "server_url": "https://127.0.0.1:9"}, ReferenceError, "https://127.0.0.1:9 /nowhere"),
    ({}, "flat", {"overrides": {"flat": "/nowhere/f.fits"}}, ReferenceError, "/nowhere/f.fits flat overrides"),
    (
        {},
        "flat",
        {"overrides": {"flat": "crds://jwst_nircam_flat_9999.fits"}},
        ReferenceError,
        "jw01_uncal.fits jwst_nircam_flat_9999.fits",
    ),
    ({"INSTRUME": "HRC"}, "flat", {}, ReferenceError, "jw01_uncal.fits instrument hrc"),
    ({"INSTRUME": None}, "flat", {}, InputError, "jw01_uncal.fits INSTRUME"),
]


@pytest.mark.parametrize(("changed", "kind", "where", "error", "says"), ERRORS)
def test_errors_say_what_to_do(small, changed, kind, where, error, says):
    with pytest.raises(error) as caught:
        choose.resolve({**HEADER, **changed}, [kind], **{"crds_path": small, **where})
    assert all(word in str(caught.value) for word in says.split()), str(caught.value)
    assert caught.value.do


def test_file_missing_from_the_cache(small):
    (small / "references/jwst/nircam/jwst_nircam_flat_0001.fits").unlink()
    for server, why in ((None, "no server is configured"), ("https://127.0.0.1:9", "Connection refused")):
        with pytest.raises(ReferenceError) as caught:
            choose.resolve(HEADER, ["flat"], crds_path=small, server_url=server)
        for word in ("jw01_uncal.fits", "jwst_nircam_flat_0001.fits", str(small), why, "crds sync --files", "overrides: {flat: FILE}"):
            assert word in str(caught.value)


def test_a_silent_server_is_not_asked_again_and_again(small, monkeypatch):
    """Behind a firewall each attempt takes its timeout; a program has 2,000 exposures."""
    asked = []

    def silent(url, *args, **kwargs):
        asked.append(kwargs["timeout"])
        raise TimeoutError("timed out")

    (small / "references/jwst/nircam/jwst_nircam_flat_0001.fits").unlink()
    monkeypatch.setattr(urllib.request, "urlopen", silent)
    for second in range(60):
        with pytest.raises(ReferenceError, match="timed out"):
            choose.resolve({**HEADER, "TIME-OBS": f"00:00:{second:02d}"}, ["flat"], crds_path=small, server_url="https://127.0.0.1:9")
    assert asked == [60, 60]  # for its configuration, and for the file


def test_complete_cache_needs_no_server(small):
    found = choose.resolve(HEADER, ["flat"], crds_path=small, server_url="https://127.0.0.1:9")
    assert found.files["flat"] == str(small / "references/jwst/nircam/jwst_nircam_flat_0001.fits")


def test_damaged_mapping_is_an_error(small):
    rmap = small / "mappings/jwst/jwst_nircam_flat_0001.rmap"
    rmap.write_text(rmap.read_text().replace("F200W", "F999W"))
    with pytest.raises(ReferenceError, match="sha1sum mismatch"):
        choose.resolve(HEADER, ["flat"], crds_path=small)


def test_file_that_was_withdrawn_is_an_error(small):
    config = small / "config/jwst/server_config"
    config.write_text(config.read_text().replace("'bad_files_list': []", "'bad_files_list': ['jwst_nircam_flat_0001.fits']"))
    with pytest.raises(ReferenceError, match="jwst_nircam_flat_0001.fits.*scientifically invalid"):
        choose.resolve(HEADER, ["flat"], crds_path=small)


# --- a server ---


class _Server(BaseHTTPRequestHandler):
    """As much of the CRDS server as sends a cache's files."""

    def do_POST(self):
        from crds.client.proxy import crds_encode
        from crds.core.utils import checksum

        method = self.path.split("/")[2]
        self.rfile.read(int(self.headers["Content-Length"]))
        files = {p.name: p for p in self.server.folder.rglob("jwst_*") if p.is_file()}
        if method == "get_mapping_names":
            result = [name for name in files if name.endswith("map")]
        else:
            assert method == "get_server_info", method
            url = {"unchecked": {"jwst": f"http://localhost:{self.server.server_port}/files"}}
            result = yaml.safe_load((self.server.folder / "config/jwst/server_config").read_text())
            result |= {"reference_url": url, "mapping_url": url}
            sizes = {name: {"size": str(p.stat().st_size), "sha1sum": checksum(str(p))} for name, p in files.items()}
            result["download_metadata"] = crds_encode(sizes)
        self._send(json.dumps({"error": None, "result": result}).encode())

    def do_GET(self):
        self.server.sent.append(Path(self.path).name)
        self._send(next(self.server.folder.rglob(self.server.sent[-1])).read_bytes())

    def _send(self, content):
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(small):
    httpd = HTTPServer(("localhost", 0), _Server)
    httpd.folder, httpd.sent = small, []
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield httpd
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_a_server_fills_the_cache_which_then_does_without(server, small, tmp_path, monkeypatch):
    empty = tmp_path / "empty"
    url = f"http://localhost:{server.server_port}"
    monkeypatch.setenv("CRDS_SERVER_URL", url)
    monkeypatch.setenv("CRDS_PATH", str(empty))
    found = choose.resolve(HEADER, ["flat"])
    assert found.files == {"flat": str(empty / "references/jwst/nircam/jwst_nircam_flat_0001.fits")}
    assert found.context == "jwst_0001.pmap"
    assert Path(found.files["flat"]).read_bytes() == next(small.rglob("jwst_nircam_flat_0001.fits")).read_bytes()
    assert sorted(server.sent) == ["jwst_0001.pmap", "jwst_nircam_0001.imap", "jwst_nircam_flat_0001.fits", "jwst_nircam_flat_0001.rmap"]
    choose.resolve({**HEADER, "TIME-OBS": "01:00:00"}, ["flat"])
    assert len(server.sent) == 4  # not again
    monkeypatch.delenv("CRDS_SERVER_URL")
    assert choose.resolve(HEADER, ["flat"]) == found


# --- parameters ---


def parameters_cache(folder):
    """pars- references in which both the step's and the pipeline's speak of the same parameters."""
    detector1 = "jwst.pipeline.calwebb_detector1.Detector1Pipeline"
    image = {"ipc": {"skip": True}, "jump": {"rejection_threshold": 6.0}}
    series = {"ipc": {"skip": False}, "jump": {"minimum_groups": 4}}
    jump = {"rejection_threshold": 5.0, "flag_4_neighbors": False, "save_results": True}
    made = [
        crds_cache.Parameters("NIRCAM", "jwst.jump.jump_step.JumpStep", "jump", jump),
        crds_cache.Parameters("NIRCAM", detector1, "detector1", {"save_calibrated_ramp": True}, image, {"TSOVISIT": False}),
        crds_cache.Parameters("NIRCAM", detector1, "detector1", {}, series, {"TSOVISIT": True}),
    ]
    crds_cache.build(folder, [], pars=made)
    return folder


STEPS = ["dq_init", "ipc", "jump", "ramp_fit"]


def test_parameters_of_step_and_pipeline(tmp_path):
    cache = parameters_cache(tmp_path)
    found = pars.step_parameters(MODES[0], "detector1", STEPS, crds_path=cache)
    assert found == {"jump": {"rejection_threshold": 6.0, "flag_4_neighbors": False}, "ipc": {"skip": True}}
    series = {**MODES[0], "TSOVISIT": True}
    found = pars.step_parameters(series, "tso1", STEPS, crds_path=cache)
    assert found == {"jump": {"rejection_threshold": 5.0, "flag_4_neighbors": False, "minimum_groups": 4}, "ipc": {"skip": False}}
    assert pars.step_parameters(MODES[0], "detector1", ["ipc"], crds_path=cache) == {"ipc": {"skip": True}}
    assert pars.step_parameters(MODES[0], "image2", STEPS, crds_path=cache) == {
        "jump": {"rejection_threshold": 5.0, "flag_4_neighbors": False}
    }


def test_parameter_references_can_be_overridden(tmp_path):
    cache = parameters_cache(tmp_path)
    overrides = {"pars-detector1pipeline": "N/A", "pars-jumpstep": str(next(cache.rglob("nircam-pars-detector1pipeline-tsovisit-f.asdf")))}
    refs = pars.parameter_references(MODES[0], "detector1", STEPS, crds_path=cache, overrides=overrides)
    assert refs.names["pars-jumpstep"] == "nircam-pars-detector1pipeline-tsovisit-f.asdf"
    off = dict.fromkeys(overrides, "N/A")
    assert pars.step_parameters(MODES[0], "detector1", STEPS, crds_path=cache, overrides=off) == {}


def test_missing_parameter_reference_is_an_error(tmp_path):
    """The peer goes on without it, and makes other data than the archive."""
    cache = parameters_cache(tmp_path)
    next((cache / "references").rglob("*pars-jumpstep*")).unlink()
    with pytest.raises(ReferenceError, match="pars-jumpstep jwst_nircam_pars-jumpstep_0001.asdf"):
        pars.step_parameters(MODES[0], "detector1", STEPS, crds_path=cache)


@needs_mappings
def test_mappings_without_parameter_types(real):
    """Contexts of 2019 have none."""
    assert pars.step_parameters(MODES[0], "detector1", STEPS, context="jwst_0541.pmap", crds_path=real) == {}


@needs_peer
@pytest.mark.parity
def test_parameters_equal_the_peers(tmp_path):
    cache = parameters_cache(tmp_path / "crds")
    code = """
import json, os
os.environ.update(CRDS_PATH=str(cache), CRDS_SERVER_URL="https://crds-serverless-mode.stsci.edu", CRDS_CONTEXT="jwst_0001.pmap")
from jwst.pipeline import Detector1Pipeline
header = json.loads(str(header))
found = Detector1Pipeline.get_config_from_reference(header, crds_observatory="jwst")
out["steps"] = json.dumps({k: dict(v) for k, v in found["steps"].items()})
"""
    for tsovisit in (False, True):
        header = {"meta.instrument.name": "NIRCAM", "meta.instrument.detector": "NRCA1", "meta.visit.tsovisit": tsovisit}
        header |= {"meta.observation.date": "2022-07-11", "meta.observation.time": "12:10:09"}
        theirs = json.loads(str(peer_python(code, cache=str(cache), header=json.dumps(header))["steps"]))
        theirs = {step: {k: v for k, v in values.items() if k not in pars.PLUMBING} for step, values in theirs.items()}
        mine = pars.step_parameters({**MODES[0], "TSOVISIT": tsovisit}, "detector1", list(theirs), crds_path=cache)
        assert mine == {step: values for step, values in theirs.items() if values}


@needs_peer
@pytest.mark.parity
def test_types_are_the_peers():
    code = """
import json, jwst.pipeline
found = {}
for name in dir(jwst.pipeline):
    found.update({k: v.get_config_reftype() for k, v in getattr(getattr(jwst.pipeline, name), "step_defs", {}).items()})
out["types"] = json.dumps(found)
"""
    theirs = json.loads(str(peer_python(code)["types"]))
    assert len(theirs) > 50
    assert {step: pars.pars_type(step) for step in theirs} == theirs


def test_read_parameters(tmp_path):
    cache = parameters_cache(tmp_path)
    pipeline, step = (next(cache.rglob(f"parameters/nircam-pars-{name}.asdf")) for name in ("detector1pipeline-tsovisit-f", "jumpstep"))
    assert pars.read_parameters(pipeline) == {"ipc": {"skip": True}, "jump": {"rejection_threshold": 6.0}}
    assert pars.read_parameters(step) == {"jump": {"rejection_threshold": 5.0, "flag_4_neighbors": False}}
    mine = tmp_path / "mine.yaml"
    mine.write_text("jump: {rejection_threshold: 7}\nipc: {skip: true}\n")
    assert pars.read_parameters(mine) == {"jump": {"rejection_threshold": 7}, "ipc": {"skip": True}}


def test_read_parameters_of_the_old_form(tmp_path):
    """Before 2020 class, name and steps stood among the parameters."""
    old = tmp_path / "old.asdf"
    tree = {"class": "jwst.jump.JumpStep", "name": "whatever", "rejection_threshold": 3.0, "output_dir": "", "override_gain": None}
    asdf.AsdfFile({"parameters": tree}).write_to(old)
    assert pars.read_parameters(old) == {"jump": {"rejection_threshold": 3.0}}
    tree = {"class": "x.Spec2Pipeline", "name": "spec2", "steps": {"bkg_subtract": {"sigma": 2.0}, "resample": {"pixfrac": 0.5}}}
    asdf.AsdfFile({"parameters": tree}).write_to(old)
    os.utime(old, ns=(1, 1))
    assert pars.read_parameters(old) == {"bkg_subtract": {"sigma": 2.0}, "resample": {"pixfrac": 0.5}}


@pytest.mark.parametrize(
    ("name", "content", "error", "says"),
    [
        ("a.yaml", "jump: [1, 2]", ConfigError, "a parameter file holds the parameters of each step"),
        ("a.yaml", "jump: {a: 1", ConfigError, "not a readable parameter file"),
        ("none.yaml", None, ConfigError, "there is no such parameter file"),
        ("a.asdf", "not asdf", ReferenceError, "can't be read"),
        ("a.asdf", {"data": 1}, ReferenceError, "not a parameter reference"),
        ("a.asdf", {"class": "x.JumpStep", "parameters": {"override_gain": "g.fits"}}, ConfigError, "overrides: gain"),
    ],
)
def test_bad_parameter_files(tmp_path, name, content, error, says):
    path = tmp_path / name
    if isinstance(content, dict):
        asdf.AsdfFile(content).write_to(path)
    elif content:
        path.write_text(content)
    with pytest.raises(error) as caught:
        pars.read_parameters(path)
    assert says in str(caught.value) and str(path) in str(caught.value)


def test_crds_may_be_imported_by_others_before(tiny):
    """It writes its defaults into the environment then, and who clears them away breaks it."""
    code = (
        "import os, sys\n"
        "import crds\n"
        "for name in [name for name in os.environ if name.startswith('CRDS_')]:\n"
        "    del os.environ[name]\n"
        "from jwcal.crds import choose\nfrom jwcal.products import stored\n"
        "print(choose.resolve(stored.header(sys.argv[1]), ['gain'], crds_path=sys.argv[2]).names['gain'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tiny.image, tiny.crds], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith(".fits")
