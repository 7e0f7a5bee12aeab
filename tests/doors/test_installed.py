"""The package elsewhere than in this checkout: as a wheel, in a checkout that is moved, in one that is only for reading."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from jwcal import __version__
from jwcal.files.home import home
from jwcal.kernels import keep

ROOT = Path(__file__).resolve().parents[2]
TOP = ("Snakefile", "config", "envs", "profiles", "rules", "scripts")


def environment(**more):
    """As a user has it: nothing of this checkout, nothing of CRDS."""
    names = [name for name in os.environ if not name.startswith("CRDS_") and name != "PYTHONPATH"]
    return {name: os.environ[name] for name in names} | more


def call(*command, cwd, **more):
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=environment(**more), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def products(results):
    return {path.relative_to(results): path.read_bytes() for path in Path(results).glob("stage*/*") if path.suffix != ".json"}


@pytest.fixture(scope="module")
def data(tiny, tmp_path_factory):
    """One image."""
    folder = tmp_path_factory.mktemp("installed") / "data"
    folder.mkdir()
    shutil.copy(tiny.image, folder)
    return folder


@pytest.fixture(scope="module")
def wanted(data, tiny):
    """What `snakemake` makes of it in this checkout."""
    place = data.parent / "by snakemake"
    place.mkdir()
    settings = {"data": str(data), "results": "results", "references": {"crds_path": str(tiny.crds)}, "until": "stage2"}
    settings["steps"] = {"jump": {"rejection_threshold": 5.5}}
    (place / "mine.yaml").write_text(yaml.safe_dump(settings))
    call(sys.executable, "-m", "snakemake", "-s", ROOT / "Snakefile", "--cores", 2, "--configfile", "mine.yaml", cwd=place)
    made = products(place / "results")
    assert {path.name.rpartition("_")[2] for path in made} == {"rate.fits", "rateints.fits", "cal.fits", "i2d.fits"}
    return made


def copy_of_checkout(folder):
    """The files that a wheel or a clone has."""
    for name in TOP:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


# --- jwcal run ---


def test_run_is_the_run_of_snakemake(wanted, data, tiny, tmp_path):
    """From a folder of one's own, with a parameter as an option: the same bytes; and nothing to be done after that."""
    jwcal = (sys.executable, "-m", "jwcal", "run", data, "results", "--crds-path", tiny.crds, "--until", "stage2")
    path = {"PYTHONPATH": str(ROOT / "scripts")}
    call(*jwcal, "--cores", 2, "--jump.rejection_threshold=5.5", cwd=tmp_path, **path)
    assert products(tmp_path / "results") == wanted
    assert "0 products made, 4 up to date" in call(*jwcal, "--set", "jump.rejection_threshold=5.5", cwd=tmp_path, **path)
    said = call(*jwcal, "--jump.rejection_threshold", "6", "-n", cwd=tmp_path, **path)
    assert "jump.rejection_threshold 5.5 -> 6.0" in said


# --- a wheel ---


@pytest.mark.full
def test_a_wheel_elsewhere(wanted, data, tiny, tmp_path):
    """Built, installed into a new environment with the versions that are pinned, and run from another folder: the same bytes."""
    call(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", tmp_path / "wheels", copy_of_all(tmp_path / "source"), cwd=tmp_path)
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    assert wheel.name.startswith(f"jwcal-{__version__}-")
    call(sys.executable, "-m", "venv", tmp_path / "env", cwd=tmp_path)
    call(tmp_path / "env/bin/python", "-m", "pip", "install", wheel, "-c", ROOT / "envs/requirements.txt", cwd=tmp_path)
    shutil.rmtree(tmp_path / "source")
    place = tmp_path / "somewhere else"
    place.mkdir()
    jwcal = tmp_path / "env/bin/jwcal"
    assert call(jwcal, "--version", cwd=place) == f"jwcal {__version__}\n"
    options = ("--crds-path", tiny.crds, "--jump.rejection_threshold=5.5")
    call(jwcal, "run", data, "results", "--cores", 2, "--until", "stage2", *options, cwd=place)
    assert products(place / "results") == wanted
    call(jwcal, "detector1", next(data.glob("*.fits")), "--out", "by_hand", *options, cwd=place)
    (rate,) = (place / "by_hand").glob("*_rate.fits")
    assert rate.exists()
    the_demo(jwcal, place)


def interpreter(version):
    """A Python of some version on this machine, or None: on the path, or among those of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for path in (shutil.which(f"python{version}"), *sorted(pyenv.glob(f"versions/{version}.*/bin/python"))):
        if path and subprocess.run([path, "--version"], capture_output=True, cwd="/").returncode == 0:
            return path
    return None


@pytest.mark.full
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_a_wheel_with_the_newest_of_all(data, tiny, tmp_path, version):
    """On each Python that is promised, with the versions that `pip install` finds: a step, and a mode simulated and taken to its end."""
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    call(python, "-m", "venv", tmp_path / "env", cwd=tmp_path)
    call(tmp_path / "env/bin/python", "-m", "pip", "install", copy_of_all(tmp_path / "source"), cwd=tmp_path)
    shutil.rmtree(tmp_path / "source")
    jwcal = tmp_path / "env/bin/jwcal"
    assert call(jwcal, "--version", cwd=tmp_path) == f"jwcal {__version__}\n"
    call(jwcal, "dq_init", next(data.glob("*.fits")), "--out", "by_hand", "--crds-path", tiny.crds, cwd=tmp_path)
    assert list((tmp_path / "by_hand").glob("*_dq_init.fits"))
    call(jwcal, "simulate", "fgs_image", "fgs", cwd=tmp_path)
    assert " 0 not made" in call(jwcal, "run", "--configfile", "fgs/config.yaml", "--cores", 2, cwd=tmp_path)
    assert "stage 3: 1 done of 1 job " in call(jwcal, "status", "fgs/results", cwd=tmp_path)
    check = "import sys, jwcal; made = jwcal.open(sys.argv[1]); print(made.suffix, len(made.to_tables()[0]))"
    (catalogue,) = (tmp_path / "fgs/results/stage3").glob("*_cat.ecsv")
    suffix, rows = call(tmp_path / "env/bin/python", "-c", check, catalogue, cwd=tmp_path).split()
    assert suffix == "cat" and int(rows) > 3


def the_demo(jwcal, place):
    """To its end: two mosaics with catalogues; then there is nothing to be done, and the plan and the state say so."""
    said = call(jwcal, "simulate", "demo", "demo", cwd=place)
    command = next(line for line in said.splitlines() if line.startswith("jwcal run ")).partition("    #")[0].split()
    assert " 0 not made" in call(jwcal, *command[1:], "--cores", 2, cwd=place)
    made = [path.name.rpartition("_")[2] for path in (place / "demo/results/stage3").iterdir()]
    assert made.count("i2d.fits") == made.count("cat.ecsv") == made.count("segm.fits") == 2
    assert "products made" not in call(jwcal, *command[1:], "-n", cwd=place)
    assert "0 products made" in call(jwcal, *command[1:], "--cores", 2, cwd=place)
    (counts,) = [line for line in call(jwcal, "plan", *command[2:], cwd=place).splitlines() if " jobs make " in line]
    assert counts.endswith(" up to date") and "to be made" not in counts
    assert "stage 3: 2 done of 2 jobs" in call(jwcal, "status", "demo/results", cwd=place)
    call(jwcal, "report", "demo/results", cwd=place)


def copy_of_all(folder):
    copy_of_checkout(folder)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def test_home():
    assert home() == ROOT


# --- a checkout that is moved ---


def test_an_environment_moves_with_its_checkout(tmp_path):
    """Its Python finds the package, its programs find Python, and `activate` finds the environment."""
    checkout = tmp_path / "old" / "check out"
    copy_of_checkout(checkout)
    (checkout / "none.txt").write_text("# nothing: what is installed is no matter here\n")
    said = call(sys.executable, "scripts/environment.py", ".venv", "none.txt", "--own", cwd=checkout)
    assert "Installing the 0 packages" in said and "Installed in" in said
    moved = tmp_path / "new"
    checkout.rename(moved)
    assert call(moved / ".venv/bin/jwcal", "--version", cwd=tmp_path) == f"jwcal {__version__}\n"
    assert str(moved) in call(moved / ".venv/bin/pip", "--version", cwd=tmp_path)
    found = call(moved / ".venv/bin/python", "-c", "import jwcal; print(jwcal.__file__)", cwd=tmp_path).strip()
    assert Path(found) == moved / "scripts/jwcal/__init__.py"
    activated = call("bash", "-c", ". ../new/.venv/bin/activate && which jwcal python && echo $VIRTUAL_ENV", cwd=tmp_path / "old")
    assert activated.split() == [str(moved / ".venv/bin/jwcal"), str(moved / ".venv/bin/python"), str(moved / ".venv")]


# --- a checkout that is shared ---

NOBODY = 65534


@pytest.fixture
def open_folder():
    """A folder that everybody may look into: pytest's own are closed to other users."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def as_nobody(folder):
    """The words before a command that run it as a user without rights, who sees this Python even where it lies in root's own folder."""
    base = Path(sys.base_prefix)
    closed = next((path for path in reversed(base.parents) if not path.stat().st_mode & 0o001), None)
    user = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    if closed is None:
        return user
    (folder / "python").mkdir()
    opened = [f"mount --bind '{base}' '{folder}/python'", f"mount -t tmpfs -o mode=755 none '{closed}'"]
    opened += [f"mkdir -p '{base}'", f"mount --bind '{folder}/python' '{base}'", 'exec "$@"']
    return ("unshare", "-m", "sh", "-c", " && ".join(opened), "sh", *user)


@pytest.mark.full
def test_a_checkout_of_another_user(wanted, data, tiny, open_folder):
    """Who may only read it, and nothing of its owner's home, runs it from a folder of their own."""
    user = as_nobody(open_folder)
    if subprocess.run(
        [*user, "bash", "-c", f"exec '{sys.executable}' -c 'import astropy'"], cwd="/", env=environment(HOME="/tmp")
    ).returncode:
        pytest.skip("no right to be another user, or the environment is not for others")
    checkout, mine = copy_of_checkout(open_folder / "shared"), open_folder / "mine"
    shutil.copytree(data, open_folder / "data")
    shutil.copytree(tiny.crds, open_folder / "crds")
    shutil.copytree(keep.folder(), mine / ".cache/jwcal/kernels")  # to compile them again is not what is tested
    for path in (mine, *mine.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    before = {path: path.stat().st_mtime_ns for path in checkout.rglob("*")}
    settings = (
        "data=../data",
        "results=results",
        "until=stage2",
        "references={crds_path: ../crds}",
        "steps={jump: {rejection_threshold: 5.5}}",
    )
    snakemake = (sys.executable, "-m", "snakemake", "-s", checkout / "Snakefile", "--cores", 2, "--config", *settings)
    own = {"HOME": str(mine), "USER": "nobody", "TMPDIR": "/tmp", "XDG_CACHE_HOME": "", "JWCAL_CACHE": "", "JWCAL_KERNELS": ""}
    said = call(*user, *snakemake, cwd=mine, **own)
    assert products(mine / "results") == wanted and " 0 not made" in said
    assert {path: path.stat().st_mtime_ns for path in checkout.rglob("*")} == before
    assert {path.stat().st_uid for path in (mine / "results").rglob("*")} == {NOBODY}
    assert "0 products made" in call(*user, *snakemake, cwd=mine, **own)


@pytest.mark.full
def test_a_checkout_for_reading_only(wanted, data, tiny, tmp_path):
    """Nothing is written to it: the run is in one's own folder, what is remembered of the code in one's own cache."""
    checkout, place = copy_of_checkout(tmp_path / "shared"), tmp_path / "mine"
    place.mkdir()
    command = f"mount --bind '{checkout}' '{checkout}' && mount -o remount,ro,bind '{checkout}' && exec \"$@\""
    if subprocess.run(["unshare", "-m", "sh", "-c", command, "sh", "true"], capture_output=True).returncode:
        pytest.skip("no right to mount a folder for reading only")
    snakemake = (sys.executable, "-m", "snakemake", "-s", checkout / "Snakefile", "--cores", 2)
    settings = (
        f"data={data}",
        "results=results",
        "until=stage2",
        f"references={{crds_path: '{tiny.crds}'}}",
        "steps={jump: {rejection_threshold: 5.5}}",
    )
    call("unshare", "-m", "sh", "-c", command, "sh", *snakemake, "--config", *settings, cwd=place, JWCAL_CACHE=str(tmp_path / "cache"))
    assert products(place / "results") == wanted
    assert not list(checkout.rglob("__pycache__"))
    assert (tmp_path / "cache/code/codebase.json").exists()
