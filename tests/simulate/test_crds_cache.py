"""The simulated CRDS cache: crds, ours and the peer must choose from it what the files say they are for."""

import ast
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import asdf
import pytest
from astropy.io import fits

from jwcal.crds import choose, session
from jwcal.settings import pars
from jwcal.simulate import crds_cache
from jwcal.vocabulary.errors import ConfigError, ReferenceError
from peer import needs_peer, peer_python

SHARED = Path(__file__).resolve().parents[2] / "../shared/real"
REAL = SHARED / "crds/jwst_mappings.tar.xz"


@pytest.fixture(autouse=True)
def no_crds_of_mine(monkeypatch):
    for name in [k for k in os.environ if k.startswith("CRDS_")]:
        monkeypatch.delenv(name)
    session.forget()


def reference(folder, name, kind, instrument="NIRCAM", **header):
    """A reference file without data."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(header=fits.Header({"REFTYPE": kind.upper(), "INSTRUME": instrument, **header})).writeto(path, overwrite=True)
    return path


def asdf_reference(folder, name, kind, meta):
    path = folder / name
    asdf.AsdfFile({"meta": {"reftype": kind, **meta}}).write_to(path)
    return path


DATE = {"DATE-OBS": "2022-07-11", "TIME-OBS": "12:10:09.123"}


def exposure(instrument, detector, exp_type, **others):
    return {"INSTRUME": instrument, "DETECTOR": detector, "EXP_TYPE": exp_type, "TSOVISIT": False, **DATE, **others}


def program(folder):
    """References of all instruments, named after what they are for."""
    make = lambda *a, **k: reference(folder, *a, **k)  # noqa: E731
    meta = {
        "instrument": {"name": "NIRCAM", "detector": "NRCA1", "channel": "SHORT", "p_pupil": "CLEAR|WLP8|"},
        "useafter": "2022-01-01T00:00:00",
    }
    return [
        make("flat_f200w.fits", "flat", DETECTOR="NRCA1", FILTER="F200W", PUPIL="CLEAR", P_PUPIL="CLEAR | WLP8 |"),
        make("flat_f210m.fits", "flat", DETECTOR="NRCA1", FILTER="F210M", PUPIL="CLEAR"),
        make("flat_b1.fits", "flat", DETECTOR="NRCB1", FILTER="ANY", PUPIL="ANY"),
        make("mask_any.fits", "mask", DETECTOR="NRCA1", SUBARRAY="GENERIC"),
        make("mask_sub64.fits", "mask", DETECTOR="NRCA1", SUBARRAY="SUB64P"),
        make("gain_old.fits", "gain", DETECTOR="NRCA1", SUBARRAY="GENERIC", USEAFTER="2022-01-01T00:00:00"),
        make("gain_new.fits", "gain", DETECTOR="NRCA1", SUBARRAY="GENERIC", USEAFTER="2022-07-11T12:10:09"),
        make("readnoise_rapid.fits", "readnoise", DETECTOR="NRCA1", SUBARRAY="GENERIC", READPATT="RAPID", P_READPA="RAPID|BRIGHT1|"),
        make("readnoise.fits", "readnoise", DETECTOR="NRCA1", SUBARRAY="GENERIC", READPATT="ANY"),
        asdf_reference(folder, "distortion.asdf", "distortion", {**meta, "exposure": {"p_exptype": "NRC_IMAGE|NRC_TSIMAGE|"}}),
        asdf_reference(folder, "filteroffset.asdf", "filteroffset", {"instrument": {"name": "NIRCAM", "channel": "SHORT", "module": "A"}}),
        make("flat_niriss.fits", "flat", "NIRISS", DETECTOR="NIS", FILTER="CLEAR", PUPIL="F200W"),
        make(
            "dark_nirspec.fits",
            "dark",
            "NIRSPEC",
            DETECTOR="NRS1",
            READPATT="ANY",
            SUBARRAY="SUB512",
            SUBSTRT1=1,
            SUBSTRT2=898,
            SUBSIZE1=2048,
            SUBSIZE2=32,
        ),
        make("flat_miri.fits", "flat", "MIRI", DETECTOR="MIRIMAGE", FILTER="F770W", READPATT="ANY", SUBARRAY="GENERIC"),
        make("photom_mrs.fits", "photom", "MIRI", DETECTOR="MIRIFUSHORT", BAND="SHORT"),
        make("mask_fgs.fits", "mask", "FGS", DETECTOR="GUIDER2", SUBARRAY="GENERIC", EXP_TYPE="ANY"),
    ]


A1 = exposure("NIRCAM", "NRCA1", "NRC_IMAGE", FILTER="F200W", PUPIL="CLEAR", SUBARRAY="FULL", READPATT="RAPID", CHANNEL="SHORT", MODULE="A")
SUB512 = {"SUBARRAY": "SUB512", "SUBSTRT1": 1, "SUBSTRT2": 898, "SUBSIZE1": 2048, "SUBSIZE2": 32, "READPATT": "NRSRAPID"}
TRUTH = [
    # exposure, type, the file that is for it
    (A1, "flat", "flat_f200w.fits"),
    ({**A1, "PUPIL": "WLP8"}, "flat", "flat_f200w.fits"),
    ({**A1, "PUPIL": "WLM8"}, "flat", None),
    ({**A1, "FILTER": "F210M"}, "flat", "flat_f210m.fits"),
    ({**A1, "FILTER": "F210M", "PUPIL": "WLP8"}, "flat", None),
    ({**A1, "DETECTOR": "NRCB1", "FILTER": "F115W"}, "flat", "flat_b1.fits"),
    (A1, "mask", "mask_any.fits"),
    ({**A1, "SUBARRAY": "SUB160"}, "mask", "mask_any.fits"),
    ({**A1, "SUBARRAY": "SUB64P"}, "mask", "mask_sub64.fits"),
    ({**A1, "DETECTOR": "NRCA2"}, "mask", None),
    (A1, "gain", "gain_new.fits"),
    ({**A1, "TIME-OBS": "12:10:08.999"}, "gain", "gain_old.fits"),
    ({**A1, "DATE-OBS": "2021-12-31"}, "gain", None),
    ({**A1, "READPATT": "BRIGHT1"}, "readnoise", "readnoise_rapid.fits"),
    ({**A1, "READPATT": "DEEP8"}, "readnoise", "readnoise.fits"),
    ({**A1, "PUPIL": "WLP8"}, "distortion", "distortion.asdf"),
    ({**A1, "EXP_TYPE": "NRC_CORON"}, "distortion", None),
    (A1, "filteroffset", "filteroffset.asdf"),
    ({**A1, "MODULE": "B"}, "filteroffset", None),
    (A1, "fringe", "N/A"),
    (A1, "superbias", None),
    (exposure("NIRISS", "NIS", "NIS_IMAGE", FILTER="CLEAR", PUPIL="F200W"), "flat", "flat_niriss.fits"),
    (exposure("NIRSPEC", "NRS1", "NRS_BRIGHTOBJ", **SUB512), "dark", "dark_nirspec.fits"),
    (exposure("NIRSPEC", "NRS1", "NRS_BRIGHTOBJ", **{**SUB512, "SUBSTRT2": 1}), "dark", None),
    (exposure("MIRI", "MIRIMAGE", "MIR_IMAGE", FILTER="F770W", READPATT="FASTR1", SUBARRAY="BRIGHTSKY"), "flat", "flat_miri.fits"),
    (exposure("MIRI", "MIRIFUSHORT", "MIR_MRS", BAND="SHORT", CHANNEL="12"), "photom", "photom_mrs.fits"),
    (exposure("MIRI", "MIRIMAGE", "MIR_IMAGE"), "superbias", "N/A"),
    (exposure("FGS", "GUIDER2", "FGS_ACQ1", SUBARRAY="128X128"), "mask", "mask_fgs.fits"),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """The cache of `program`, and the name in it of each of its files."""
    folder = tmp_path_factory.mktemp("cache")
    files = program(folder)
    assert crds_cache.build(folder / "crds", files, pars=crds_cache.operations()) == "jwst_0001.pmap"
    made = {os.stat(path).st_ino: path for path in (folder / "crds/references").rglob("*") if path.is_file()}
    return folder / "crds", {path.name: made[os.stat(path).st_ino].name for path in files}


@pytest.mark.parametrize(("header", "kind", "wanted"), TRUTH)
def test_chooses_what_the_file_says_it_is_for(cache, header, kind, wanted):
    folder, names = cache
    found, _ = choose.recommend(header, [kind], crds_path=folder)
    assert found[kind] == names.get(wanted, wanted)


def test_crds_by_hand_agrees(cache, tmp_path):
    """crds alone, with the variables that its documentation names; it certifies the checksums of the mappings as it loads them."""
    folder, names = cache
    code = """
import json, sys, crds
for header, kind in json.load(open(sys.argv[1])):
    try:
        print(crds.getreferences(header, reftypes=[kind], observatory="jwst")[kind])
    except crds.CrdsError:
        print("NOT FOUND")
"""
    questions = tmp_path / "questions.json"
    questions.write_text(json.dumps([(header, kind) for header, kind, _ in TRUTH]))
    environment = {**os.environ, "CRDS_PATH": str(folder), "CRDS_SERVER_URL": session.NO_SERVER, "CRDS_CONTEXT": "jwst_0001.pmap"}
    done = subprocess.run([sys.executable, "-c", code, questions], env=environment, capture_output=True, text=True, check=True)
    answers = done.stdout.splitlines()
    for answer, (header, kind, wanted) in zip(answers, TRUTH, strict=True):
        if wanted is None:
            assert answer == "NOT FOUND"
        elif wanted == "N/A":
            assert answer == "NOT FOUND n/a"
        else:
            assert answer == str(folder / "references/jwst" / header["INSTRUME"].lower() / names[wanted]), kind


@needs_peer
@pytest.mark.parity
def test_the_peer_chooses_the_same(cache):
    folder, _ = cache
    kinds = ["flat", "mask", "gain", "readnoise", "distortion", "filteroffset", "fringe"]
    code = """
import json, os
os.environ.update(CRDS_PATH=str(folder), CRDS_SERVER_URL="https://crds-serverless-mode.stsci.edu", CRDS_CONTEXT="jwst_0001.pmap")
from jwst.datamodels import ImageModel
from stpipe import crds_client
model = ImageModel()
for name, value in json.loads(str(attributes)).items():
    model[name] = value
found = crds_client.get_multiple_reference_paths(model.get_crds_parameters(), json.loads(str(kinds)), "jwst")
out["files"] = json.dumps(found).replace(str(folder), "")  # a run that is remembered was in another folder
"""
    attributes = {parkey.lower(): A1[keyword] for parkey, keyword in choose.KEYWORDS.items() if keyword in A1}
    theirs = peer_python(code, folder=str(folder), attributes=json.dumps(attributes), kinds=json.dumps(kinds))
    ours = choose.resolve(A1, kinds, crds_path=folder).files
    assert json.loads(str(theirs["files"])) == {kind: path.replace(str(folder), "") for kind, path in ours.items()}


def test_parameters_of_operations(cache):
    folder, _ = cache
    for header in (
        A1,
        exposure("MIRI", "MIRIMAGE", "MIR_IMAGE", FILTER="F770W"),
        exposure("NIRISS", "NIS", "NIS_AMI", FILTER="F480M", PUPIL="NRM"),
    ):
        found = pars.step_parameters(header, "detector1", ["ipc", "jump"], crds_path=folder)
        assert found == {"ipc": {"skip": True}, "jump": {"rejection_threshold": 5.0}}
    guider = exposure("FGS", "GUIDER1", "FGS_IMAGE")
    assert pars.step_parameters(guider, "detector1", ["ipc", "jump"], crds_path=folder) == {"ipc": {"skip": True}}


@pytest.mark.skipif(not REAL.exists(), reason="the real CRDS mappings (../shared/real/crds) are not here")
def test_keywords_of_selection_are_the_archives(tmp_path):
    """The parameters of selection of context jwst_0541."""
    with tarfile.open(REAL) as archive:
        archive.extractall(tmp_path, filter="data")
    compared = 0
    for instrument in crds_cache.INSTRUMENTS:
        imap = _assigned(tmp_path, _assigned(tmp_path, "jwst_0541.pmap", "selector")[instrument], "selector")
        for kind, users in crds_cache.SELECTED_BY.items():
            rmap = imap.get(kind.upper(), "N/A")
            keywords = next((words for names, words in users.items() if instrument in names.split()), None)
            if rmap != "N/A":
                parkeys = {*_assigned(tmp_path, rmap, "header")["parkey"][0], *SINCE.get((instrument, kind), ())}
                assert {crds_cache.PARKEYS[k] for k in keywords.split()} == parkeys, (instrument, kind)
                compared += 1
    assert compared > 100


# That context is of 2019: one file then held images and spectra of a detector. Since then each mode has a file and a form of its own.
SINCE = {(instrument, "photom"): ("META.EXPOSURE.TYPE",) for instrument in ("NIRCAM", "NIRISS", "MIRI")}
LATER = {  # real files of photom, and exposures of the same detector that are for them
    "references/nircam/jwst_nircam_photom_0064.fits": exposure("NIRCAM", "NRCALONG", "NRC_TSGRISM", FILTER="F322W2", PUPIL="GRISMR"),
    "references/niriss/jwst_niriss_photom_rev2.fits": exposure("NIRISS", "NIS", "NIS_SOSS", FILTER="CLEAR", PUPIL="GR700XD"),
    "miri_lrs_slitless/jwst_miri_photom_0071.fits": exposure("MIRI", "MIRIMAGE", "MIR_LRS-SLITLESS", FILTER="P750L"),
}


@pytest.mark.skipif(not REAL.exists(), reason="the real references (../shared/real) are not here")
@pytest.mark.parametrize("name", LATER)
def test_photom_of_spectra_beside_that_of_images(tmp_path, name):
    """A real file of spectra says for which EXP_TYPEs it is; images of its detector have theirs."""
    of_spectra, spectrum = SHARED / name, LATER[name]
    instrument, detector = spectrum["INSTRUME"], spectrum["DETECTOR"]
    image = {**spectrum, "EXP_TYPE": {"NIRCAM": "NRC_IMAGE", "NIRISS": "NIS_IMAGE", "MIRI": "MIR_IMAGE"}[instrument]}
    of_images = reference(tmp_path, "images.fits", "photom", instrument, DETECTOR=detector, EXP_TYPE=image["EXP_TYPE"])
    crds_cache.build(tmp_path / "crds", [of_spectra, of_images])
    for header, file in ((spectrum, of_spectra), (image, of_images)):
        assert Path(choose.resolve(header, ["photom"], crds_path=tmp_path / "crds").files["photom"]).read_bytes() == file.read_bytes()


def _assigned(folder, mapping, name):
    """What a mapping's text assigns to `header` or `selector`."""
    parts = ast.parse((folder / "mappings/jwst" / mapping).read_text()).body
    return ast.literal_eval(next(part.value for part in parts if isinstance(part, ast.Assign) and part.targets[0].id == name))


def _contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def _times(folder):
    return {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in Path(folder).rglob("*")}


def test_same_bytes_each_time_and_nothing_made_again(tmp_path):
    for name in ("one", "two"):
        files = program(tmp_path)
        crds_cache.build(tmp_path / name, files[::-1] if name == "two" else files, pars=crds_cache.operations())
    assert _contents(tmp_path / "one") == _contents(tmp_path / "two")
    before = _times(tmp_path / "two")
    crds_cache.build(tmp_path / "two", files, pars=crds_cache.operations())
    assert _times(tmp_path / "two") == before


def test_a_new_build_is_seen_in_the_same_process(tmp_path):
    crds_cache.build(tmp_path / "crds", [reference(tmp_path, "a.fits", "mask", DETECTOR="NRCA1")])
    assert choose.recommend(A1, ["gain"], crds_path=tmp_path / "crds")[0] == {"gain": None}
    crds_cache.build(tmp_path / "crds", {"gain": reference(tmp_path, "b.fits", "ignored", DETECTOR="NRCA1")})
    assert choose.recommend(A1, ["gain"], crds_path=tmp_path / "crds")[0] == {"gain": "jwst_nircam_gain_0001.fits"}


def test_exposures_that_a_type_is_not_for(tmp_path):
    """They are told N/A, where others of their detector have a file."""
    image = reference(tmp_path, "a.fits", "photom", DETECTOR="NRCA1")
    no_image = crds_cache.Without("NIRCAM", "photom", {"DETECTOR": "NRCA1", "EXP_TYPE": "NRC_DARK"})
    crds_cache.build(tmp_path / "crds", [image], without=[no_image, crds_cache.Without("NIRCAM", "area", {"DETECTOR": "NRCA1"})])
    for exp_type, name in (("NRC_IMAGE", "jwst_nircam_photom_0001.fits"), ("NRC_DARK", "N/A")):
        found = choose.resolve(exposure("NIRCAM", "NRCA1", exp_type), ["photom"], crds_path=tmp_path / "crds").files["photom"]
        assert Path(found).name == Path(name).name


def test_a_changed_file_is_put_in_again(tmp_path):
    file = reference(tmp_path, "a.fits", "mask", DETECTOR="NRCA1")
    crds_cache.build(tmp_path / "crds", [file])
    file.unlink()
    reference(tmp_path, "a.fits", "mask", DETECTOR="NRCA1", AUTHOR="someone else")
    crds_cache.build(tmp_path / "crds", [file])
    found = choose.resolve(A1, ["mask"], crds_path=tmp_path / "crds").files["mask"]
    assert Path(found).read_bytes() == file.read_bytes()


def test_copies_where_links_are_not_to_be_had(tmp_path, monkeypatch):
    def no_link(*args):
        raise OSError("Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_link)
    file = reference(tmp_path, "a.fits", "mask", DETECTOR="NRCA1")
    crds_cache.build(tmp_path / "crds", [file])
    before = _times(tmp_path / "crds")
    crds_cache.build(tmp_path / "crds", [file])
    assert _times(tmp_path / "crds") == before
    found = Path(choose.resolve(A1, ["mask"], crds_path=tmp_path / "crds").files["mask"])
    assert found.read_bytes() == file.read_bytes() and found.stat().st_nlink == 1


def test_names_of_the_archive_are_kept(tmp_path):
    files = [
        reference(tmp_path, "jwst_nircam_mask_0001.fits", "mask", DETECTOR="NRCA1"),
        reference(tmp_path, "mine.fits", "mask", DETECTOR="NRCA2"),
        reference(tmp_path, "jwst_nircam_mask_0052.fits", "mask", DETECTOR="NRCA3"),
    ]
    crds_cache.build(tmp_path / "crds", files, context="jwst_0042.pmap")
    found = {d: choose.resolve({**A1, "DETECTOR": d}, ["mask"], crds_path=tmp_path / "crds") for d in ("NRCA1", "NRCA2", "NRCA3")}
    assert [Path(r.files["mask"]).name for r in found.values()] == [f"jwst_nircam_mask_{n}.fits" for n in ("0001", "0002", "0052")]
    assert {r.context for r in found.values()} == {"jwst_0042.pmap"}


def test_json_reference(tmp_path):
    file = tmp_path / "extract.json"
    file.write_text(json.dumps({"reftype": "EXTRACT1D", "instrume": "NIRSPEC", "exp_type": "NRS_FIXEDSLIT|NRS_MSASPEC"}))
    crds_cache.build(tmp_path / "crds", [file])
    header = exposure("NIRSPEC", "NRS1", "NRS_MSASPEC")
    assert choose.recommend(header, ["extract1d"], crds_path=tmp_path / "crds")[0]["extract1d"] == "jwst_nirspec_extract1d_0001.json"


def test_nothing_is_written_when_it_is_read(cache):
    folder, _ = cache
    before = _times(folder)
    choose.resolve(A1, ["flat", "mask"], optional=["area"], crds_path=folder)
    pars.step_parameters(A1, "detector1", ["ipc", "jump"], crds_path=folder)
    assert _times(folder) == before


@pytest.mark.parametrize(
    ("files", "error", "says"),
    [
        ([{"kind": ""}], ReferenceError, "the keyword REFTYPE is missing"),
        ([{"instrument": ""}], ReferenceError, "INSTRUME is ''"),
        ([{"instrument": "HRC"}], ReferenceError, "INSTRUME is 'HRC'"),
        ([{"kind": "fringe"}], ReferenceError, "NIRCAM has no references of type fringe"),
        ([{"USEAFTER": "July"}], ReferenceError, "USEAFTER is 'July'"),
        ([{"DETECTOR": "NRCA1"}, {"DETECTOR": "NRCA1"}], ReferenceError, "is for the same exposures"),
    ],
)
def test_files_that_can_not_be_filed(tmp_path, files, error, says):
    paths = [reference(tmp_path, f"file{i}.fits", **{"kind": "mask", **header}) for i, header in enumerate(files)]
    with pytest.raises(error) as caught:
        crds_cache.build(tmp_path / "crds", paths)
    assert says in str(caught.value) and str(paths[-1]) in str(caught.value)


def test_two_of_the_same_name(tmp_path):
    paths = [reference(tmp_path / d, "jwst_nircam_mask_0001.fits", "mask", DETECTOR=d) for d in ("NRCA1", "NRCA2")]
    with pytest.raises(ReferenceError, match="of the same name"):
        crds_cache.build(tmp_path / "crds", paths)


def test_a_real_cache_is_not_touched(tmp_path):
    config = tmp_path / "config/jwst/server_config"
    config.parent.mkdir(parents=True)
    config.write_text("{'observatory': 'jwst'}")
    with pytest.raises(ConfigError, match="not simulated"):
        crds_cache.build(tmp_path, [])
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [config]


def test_bad_context(tmp_path):
    with pytest.raises(ConfigError, match="jwst_1.pmap"):
        crds_cache.build(tmp_path, [], context="jwst_1.pmap")
