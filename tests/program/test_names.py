"""Files that people have renamed, compressed or put into folders of any name: used, or refused by themselves."""

import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from test_workflow import ROOT, snakemake

import jwcal
from jwcal.products import stored
from jwcal.program import index
from jwcal.settings import chains
from jwcal.vocabulary.errors import ConfigError, InputError
from jwcal.workflow import plan, stale

pytestmark = pytest.mark.usefixtures("no_crds")
NAME = "jw01234001001_{:05}_00001_nrcb1"

# Names of a file before its suffix, and why it can't be used.
USED = ["my obs (1)", "a%20b'c", "jw01234001001.v2", "é☆", "-x", "$HOME", 'a[b]*?\\c"d;&|', " blank ", "UPPER_CASE", "x_rate", "l" * 180]
REFUSED = {
    "my obs (1) {x}": "its name has braces, which stand for what differs in names of products",
    "{exposure}": "its name has braces",
    "a}": "its name has braces",
    "": "its name has nothing before the suffix",
    "a\tb": "its name has control characters",
    "a\nb": "its name has control characters",
    "l" * 181: "its name is too long (181 bytes before the suffix, 180 at most)",
    "é" * 91: "its name is too long (182 bytes",
    b"\xff".decode(errors="surrogateescape"): "its name is not UTF-8",
}
ENDINGS = ["_uncal.fits", "_uncal.fits.gz", "_uncal.FITS", "_UNCAL.FITS", "_UNCAL.fits.GZ"]


def put(source, path):
    """A copy of a file, compressed where its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = source.read_bytes()
    path.write_bytes(gzip.compress(raw, mtime=0) if path.suffix.lower() == ".gz" else raw)
    return path


def settings(tiny, folder, **others):
    return {"data": str(folder / "data"), "results": str(folder / "results"), "references": {"crds_path": str(tiny.crds)}, **others}


# --- names ---


def test_names_that_are_used(tiny, tmp_path):
    for root in USED:
        put(tiny.image, tmp_path / f"{root}_uncal.fits")
    found = index.find(tmp_path)
    assert sorted(exposure.root for exposure in found.exposures) == sorted(USED)
    assert found.problems == [] and found.left_out == []


@pytest.mark.parametrize("root", REFUSED, ids=ascii)
def test_names_that_are_refused(tiny, tmp_path, root):
    """The exposure beside it is planned, and the message can be printed."""
    path = put(tiny.image, tmp_path / "data" / f"{root}_uncal.fits")
    put(tiny.image, tmp_path / "data" / f"{NAME.format(1)}_uncal.fits")
    made = plan.make(settings(tiny, tmp_path))
    (message,) = made.problems
    assert message.encode().startswith(os.fsencode(path.parent)) and f": {REFUSED[root]}" in message and message.endswith(". Rename it.")
    assert [job.exposure for job in made.jobs if job.stage != "stage3"] == [NAME.format(1)] * 2


@pytest.mark.parametrize("root", ["my obs (1) {x}", "{suffix}"])
def test_names_that_are_refused_by_hand(tiny, tmp_path, root):
    """Once written under another name, "my obs (1) x"."""
    path = put(tiny.image, tmp_path / "data" / f"{root}_uncal.fits")
    with pytest.raises(InputError) as caught:
        jwcal.run_pipeline("detector1", path, out=tmp_path / "out", crds_path=tiny.crds)
    assert str(caught.value).startswith(f"{path}: its name has braces") and str(caught.value).endswith(" Rename it.")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("ending", ENDINGS)
def test_endings(tiny, tmp_path, ending):
    """Used like .fits: in a program, and by hand with the same products."""
    path = put(tiny.image, tmp_path / "data" / (NAME.format(1) + ending))
    (found,) = index.find(path.parent).exposures
    assert (found.root, found.level, found.files) == (NAME.format(1), "uncal", {"uncal": str(path)})
    assert chains.root_and_suffix(path) == (NAME.format(1), "uncal")
    rate = jwcal.run_pipeline("detector1", path, out=tmp_path, crds_path=tiny.crds)
    plain = jwcal.run_pipeline("detector1", tiny.image, crds_path=tiny.crds)
    np.testing.assert_array_equal(rate.sci, plain.sci)
    assert sorted(p.name for p in tmp_path.glob("*.fits")) == [f"{NAME.format(1)}_rate.fits", f"{NAME.format(1)}_rateints.fits"]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a_rate.fits.gz", ("a", "rate")),
        ("A_RATEINTS.FITS", ("A", "rateints")),
        ("mosaic_F200W.fits", ("mosaic_F200W", "")),
        ("a_x1d.FITS", ("a", "x1d")),
        ("a_uncal.fits.txt", ("a_uncal.fits.txt", "")),
    ],
)
def test_root_and_suffix(name, parts):
    assert chains.root_and_suffix(name) == parts


def test_twice(tiny, tmp_path):
    """A file and its compressed copy are one exposure."""
    first, second = (put(tiny.image, tmp_path / (NAME.format(1) + ending)) for ending in ("_uncal.fits", "_uncal.fits.gz"))
    found = index.find(tmp_path)
    assert [e.path for e in found.exposures] == [str(first)]
    assert found.left_out == [(str(second), f"the same exposure as {first}: left out.")]


@pytest.mark.parametrize(("pipeline", "source"), [("detector1", "image"), ("image2", "rate")])
def test_what_a_name_says_of_compression_may_be_wrong(tiny, tiny_rate, tmp_path, pipeline, source):
    source = tiny.image if source == "image" else tiny_rate
    wrong = tmp_path / source.name  # compressed, without .gz
    wrong.write_bytes(gzip.compress(source.read_bytes()))
    plain = Path(shutil.copy(source, tmp_path / f"{source.name}.gz"))
    ours, again, expected = (jwcal.run_pipeline(pipeline, path, crds_path=tiny.crds) for path in (wrong, plain, source))
    np.testing.assert_array_equal(ours.sci, expected.sci)
    np.testing.assert_array_equal(again.sci, expected.sci)


def damage_of_gz(raw, kind):
    packed = gzip.compress(raw)
    if kind == "truncated":
        return packed[: len(packed) // 2]
    if kind == "without its end":
        return packed[:-4]
    if kind == "whole, of a truncated file":
        return gzip.compress(raw[:40000])
    return packed[:5000] + bytes(200) + packed[5200:]


GZ = {
    "truncated": "the file is truncated: its compressed data end too soon",
    "without its end": "the file is truncated: its compressed data end too soon",
    "whole, of a truncated file": "the file is truncated: 40000 bytes",
    "damaged": "its compressed data are damaged",
}


@pytest.mark.parametrize("kind", GZ)
def test_damaged_compressed_files(tiny, tmp_path, kind):
    """The same in a program, by hand, and where only the job opens the file."""
    path = tmp_path / "data" / f"{NAME.format(1)}_uncal.fits.gz"
    path.parent.mkdir()
    path.write_bytes(damage_of_gz(tiny.image.read_bytes(), kind))
    (message,) = plan.make(settings(tiny, tmp_path)).problems
    assert message.startswith(f"{path}: {GZ[kind]}") and message.endswith("Fetch the file again.")
    for look in (stored.read, lambda path: jwcal.run_pipeline("detector1", path, crds_path=tiny.crds)):
        with pytest.raises(InputError) as caught:
            look(path)
        assert str(caught.value).startswith(f"{path}: {GZ[kind]}")


# --- what names do to products ---


def test_letters_of_other_alphabets_in_headers(tiny, tmp_path):
    """A FITS header knows ASCII alone; the file keeps its name."""
    path = put(tiny.image, tmp_path / "é☆ż_uncal.fits")
    jwcal.run_pipeline("detector1", path, out=tmp_path, crds_path=tiny.crds)
    header = fits.getheader(tmp_path / "é☆ż_rate.fits")
    assert (header["FILENAME"], header["PROVFILE"]) == (r"\xe9\u2606\u017c_rate.fits", r"\xe9\u2606\u017c_rate.json")
    assert stored.provenance(stored.read(tmp_path / "é☆ż_rate.fits"))["input"] == "é☆ż_rate.fits"


def test_a_reference_of_another_alphabet(tiny, tmp_path):
    gain = shutil.copy(tiny.references["gain"], tmp_path / "verstärkung.fits")
    jwcal.run_pipeline("detector1", tiny.image, overrides={"gain": str(gain)}, out=tmp_path, crds_path=tiny.crds)
    assert fits.getheader(next(tmp_path.glob("*_rate.fits")))["R_GAIN"] == r"verst\xe4rkung.fits"


# --- folders ---


def test_results_with_braces(tiny, tmp_path):
    (tmp_path / "data").mkdir()
    shutil.copy(tiny.image, tmp_path / "data")
    with pytest.raises(
        ConfigError, match="results: the folder's name has braces, which the workflow takes for placeholders. Choose another"
    ):
        plan.make({**settings(tiny, tmp_path), "results": str(tmp_path / "{x}")})
    assert not (tmp_path / "{x}").exists()


def test_files_of_one_name_in_folders_with_braces(tmp_path):
    """Snakemake sees links, each to its own file."""
    links = []
    for folder in ("{a}", "{b}"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.fits").write_text(folder)
        links.append(stale.as_input(tmp_path / folder / "x.fits", tmp_path / "results"))
    assert [Path(link).read_text() for link in links] == ["{a}", "{b}"] and not set("{}") & set("".join(links))
    assert stale.as_input(tmp_path / "{a}" / "x.fits", tmp_path / "results") == links[0]


# --- the workflow ---


@pytest.fixture(scope="module")
def folder(tiny, tiny_rate, tmp_path_factory):
    folder = tmp_path_factory.mktemp("names") / "of {braces} and 'quotes' (here) [there]"
    data = folder / "data"
    for number, root in enumerate(["my obs (1)", "é☆", "a%20b'c", "$HOME"]):
        put(tiny.image, data / ("x {y}" if number else "") / f"{root}_uncal.fits")
    put(tiny.image, data / f"{NAME.format(3101)}_uncal.fits.gz")
    put(tiny.series, data / f"{NAME.format(3102)}_UNCAL.FITS")
    put(tiny_rate, data / "{0}" / f"{NAME.format(3103)}_rate.fits.gz")
    put(tiny.image, data / "{x}_uncal.fits")
    short = put(tiny.image, data / f"{NAME.format(3104)}_uncal.fits.gz")
    short.write_bytes(short.read_bytes()[:20000])
    return folder


@pytest.fixture(scope="module")
def run(folder, tiny):
    return snakemake(folder, config={"data": "data", "results": "results", "until": "stage2", "references": {"crds_path": str(tiny.crds)}})


def test_the_workflow_makes_what_it_can(run):
    """Two files are refused, each with its reason; all others have all their products, of the right content."""
    single = ["my obs (1)", "é☆", "a%20b'c", "$HOME", NAME.format(3101)]
    made = {f"{root}_{suffix}.fits" for root in single for suffix in ("rate", "rateints", "cal", "i2d")}
    made |= {f"{NAME.format(3102)}_{suffix}.fits" for suffix in ("rate", "rateints", "calints")}
    made |= {f"{NAME.format(3103)}_{suffix}.fits" for suffix in ("cal", "i2d")}
    assert run.made == made, run.text
    assert run.status != 0 and "WildcardError" not in run.text and "defect" not in run.text
    refused = [line for line in run.summary if line.startswith("can't be used: ")]
    assert len(refused) == 2
    assert any("{x}_uncal.fits: its name has braces" in line and "Rename it" in line for line in refused)
    assert any(f"{NAME.format(3104)}_uncal.fits.gz: the file is truncated" in line for line in refused)
    images = [stored.read(path) for path in run.after if path.name.endswith("_cal.fits")]
    assert len(images) == 6
    for image in images[1:]:
        np.testing.assert_array_equal(image.sci, images[0].sci)


def test_a_second_run_makes_nothing(run, folder, tiny):
    again = snakemake(folder, config={"data": "data", "results": "results", "until": "stage2", "references": {"crds_path": str(tiny.crds)}})
    assert again.made == set() and set(again.jobs) <= {"refuse"}, again.text


def test_report_of_a_folder_of_any_name(run, folder):
    """`make report` hands the path on as it is."""
    command = ["make", "-o", ".venv/ready", "report", f"RESULTS={folder / 'results'}", f"BIN={Path(sys.executable).parent}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (folder / "results/report.html").stat().st_size > 10_000
