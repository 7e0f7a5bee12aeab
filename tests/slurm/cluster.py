"""A real Slurm on this machine: one controller, one node, for tests.

    python tests/slurm/cluster.py start FOLDER     (as root, on Debian or Ubuntu)
    python tests/slurm/cluster.py crash FOLDER     the node and its jobs die without a word; `start` brings it back
    python tests/slurm/cluster.py stop FOLDER

Debian's packages are installed if they are not there. Everything else lies in FOLDER, but for a link /etc/slurm/slurm.conf,
where Snakemake's job steps look: they clear the environment of Slurm's variables. Daemons listen on the loopback only, and
are ended by the process ids that they left in FOLDER. There is no accounting: squeue keeps what has ended. Memory is watched
by sampling, since containers often can't use cgroups.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
LINK = Path("/etc/slurm/slurm.conf")
TEMPLATE = Path(__file__).with_name("slurm.conf")


class Unavailable(Exception):
    """Slurm can't be started here, and why."""


def start(folder):
    """Bring the cluster up, or the part of it that is down; returns when the node takes jobs.

    Raises
    ------
    Unavailable
    """
    folder = Path(folder).resolve()
    if os.geteuid() != 0:
        raise Unavailable("starting Slurm's daemons takes root")
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    _install()
    _configure(folder)
    _start_munge(folder)
    for daemon in ("slurmctld", "slurmd"):
        if not _pid(folder, daemon):
            _call(folder, [_sbin(daemon), "-f", folder / "slurm.conf"])
    _wait("the node to take jobs", lambda: _ready(folder), folder)


def stop(folder):
    """End the jobs and the daemons, and take the link away."""
    folder = Path(folder).resolve()
    if _pid(folder, "slurmctld"):
        _call(folder, ["scancel", "--full", "--user=root"], check=False)
        _wait("the jobs to end", lambda: not squeue(folder, "%i", "--states=R,CG"), folder)
    for daemon in ("slurmd", "slurmctld", "munged"):
        if pid := _pid(folder, daemon):
            os.kill(pid, signal.SIGTERM)
            _wait(f"{daemon} to end", lambda pid=pid, daemon=daemon: not _runs(pid, daemon), folder)
    if LINK.is_symlink() and LINK.readlink() == folder / "slurm.conf":
        LINK.unlink()


def crash(folder):
    """Kill the node's daemon, its watchers of jobs, and all processes of the jobs."""
    folder = Path(folder).resolve()
    doomed = [_pid(folder, "slurmd"), *_watchers(folder)]
    for pid in doomed:
        doomed += [child for child in _children(pid) if child not in doomed]
    for pid in doomed:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    (folder / "slurmd.pid").unlink()


def wait_for_node_down(folder):
    """Return when the controller has noticed a crash."""
    _wait("the node to be down", lambda: _node_state(folder).startswith("down"), Path(folder), seconds=90)


def squeue(folder, form, *options):
    """Lines of squeue in this format."""
    return _call(folder, ["squeue", "--noheader", f"--format={form}", *options]).stdout.split("\n")[:-1]


# --- parts ---


def _install():
    missing = [package for package in PACKAGES if not shutil.which("munge" if package == "munge" else _TOOL[package], path=_PATH)]
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise Unavailable(f"{', '.join(missing)} are not installed, and there is no apt-get to install them with")
    # without a runlevel Debian's scripts leave the daemons alone
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *missing]
    for command in (install, ["apt-get", "update", "--quiet"], install):
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode == 0 and command is install:
            return
    raise Unavailable(f"{' '.join(install)} fails: {done.stdout[-500:]}")


_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
_TOOL = {"slurmctld": "slurmctld", "slurmd": "slurmd", "slurm-client": "squeue"}


def _sbin(name):
    return shutil.which(name, path=_PATH)


def _configure(folder):
    """Write slurm.conf from the template beside this file, and the link to it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 - 512
    # more slots than cores: most of a short job is waiting
    text = TEMPLATE.read_text().format(folder=folder, host=os.uname().nodename.split(".")[0], cpus=2 * os.cpu_count(), memory=memory)
    (folder / "slurm.conf").write_text(text)
    if LINK.exists() and LINK.resolve() != folder / "slurm.conf":
        raise Unavailable(f"{LINK} belongs to another cluster")
    LINK.parent.mkdir(exist_ok=True)
    LINK.unlink(missing_ok=True)
    LINK.symlink_to(folder / "slurm.conf")


def _start_munge(folder):
    """The daemon that vouches for who sends a message, with a key and a socket of this cluster's own."""
    if _pid(folder, "munged"):
        return
    key = folder / "munge.key"
    if not key.exists():
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
    places = [f"--{name}={folder / file}" for name, file in _MUNGE.items()]
    _call(folder, [_sbin("munged"), "--force", *places])


_MUNGE = {
    "key-file": "munge.key",
    "socket": "munge.socket",
    "pid-file": "munged.pid",
    "log-file": "munged.log",
    "seed-file": "munged.seed",
}


def _call(folder, command, check=True):
    """Run one of Slurm's programs on this cluster. Daemons keep what they are given open, so nothing of it is a pipe."""
    log = Path(folder, "commands.log")
    with open(log, "a") as errors, open(Path(folder, "command.out"), "w+") as out:
        environment = {**os.environ, "SLURM_CONF": str(Path(folder, "slurm.conf")), "PATH": _PATH}
        done = subprocess.run(list(map(str, command)), env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, timeout=60)
        out.seek(0)
        done.stdout = out.read()
    if check and done.returncode:
        raise Unavailable(f"{' '.join(map(str, command))} fails; see {log}: {log.read_text()[-500:]}")
    return done


def _pid(folder, daemon):
    """Process id of a daemon, from its own file; None where it does not run."""
    try:
        pid = int(Path(folder, f"{daemon}.pid").read_text())
    except (OSError, ValueError):
        return None
    return pid if _runs(pid, daemon) else None


def _runs(pid, name):
    """Whether a process is there, is not dead already, and is this program."""
    try:
        command, state = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")[::2]
    except OSError:
        return False
    return command == name and state.split()[0] != "Z"


def _node_state(folder):
    return _call(folder, ["sinfo", "--noheader", "--Node", "--format=%T"], check=False).stdout.split("\n")[0]


def _ready(folder):
    return _node_state(folder) in ("idle", "mixed", "allocated")


def _watchers(folder):
    """Process ids of the slurmstepd of this cluster's jobs: children of nobody, so known by the jobs that they watch."""
    listed = _call(folder, ["scontrol", "listpids"], check=False).stdout.splitlines()[1:]
    pids = {int(line.split()[0]) for line in listed if line.split()[0].isdigit()}
    parents = {_parent(pid) for pid in pids}
    return sorted(pid for pid in parents if pid and Path(f"/proc/{pid}/comm").read_text().startswith("slurmstepd"))


def _parent(pid):
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def _children(pid):
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and _parent(path.name) == pid]


def _wait(what, done, folder, seconds=60):
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise Unavailable(f"timed out waiting for {what}; see the logs in {folder}")
        time.sleep(0.2)


if __name__ == "__main__":
    actions = {"start": start, "stop": stop, "crash": crash}
    if len(sys.argv) != 3 or sys.argv[1] not in actions:
        sys.exit(__doc__)
    try:
        actions[sys.argv[1]](sys.argv[2])
    except Unavailable as why:
        sys.exit(str(why))
