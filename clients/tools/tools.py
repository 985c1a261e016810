"""Installs what the checks need, from pinned lists, into folders of this checkout; runs it.

`tools.py` alone installs all of it, for checks that then run beside each other.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
CLIENTS = TOOLS.parent
ROOT = CLIENTS.parent
DOCUMENT = CLIENTS / "openapi.json"
PACKAGES = ROOT / ".holdfast" / "clients" / f"python{sys.version_info.major}.{sys.version_info.minor}"
# Packages go to a folder of their own, whoever runs this.
PIP_ENV = {"PIP_USER": "0", "PIP_ROOT_USER_ACTION": "ignore", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
# Older ones would need other pins.
PYTHON_OLDEST = (3, 11)


def run(*command: str | Path, cwd: Path = ROOT, **env: str) -> None:
    """Runs a program; ends this one if it fails."""
    print("+", *command, flush=True)
    result = subprocess.run([str(part) for part in command], cwd=cwd, env={**os.environ, **env})
    if result.returncode:
        raise SystemExit(result.returncode)


def npm_ci(folder: Path) -> None:
    """Installs a lock file's packages, unless they are there."""
    if not shutil.which("npm"):
        raise SystemExit("npm is missing: apt-get install nodejs npm (Node 20.19 or newer)")
    stamp = folder / "node_modules" / ".installed"
    wanted = _hash(folder / "package-lock.json")
    if not stamp.exists() or stamp.read_text() != wanted:
        run("npm", "ci", "--no-audit", "--no-fund", cwd=folder)
        stamp.write_text(wanted)


def node(folder: Path, program: str, *arguments: str | Path, cwd: Path | None = None) -> None:
    """Runs a program of a folder's packages."""
    run(folder / "node_modules" / ".bin" / program, *arguments, cwd=cwd or folder)


def python(*arguments: str | Path, cwd: Path = ROOT, **env: str) -> None:
    """Runs Python with the pinned packages."""
    _pip_install()
    path = os.pathsep.join([str(PACKAGES), env.pop("PYTHONPATH", "")]).strip(os.pathsep)
    run(sys.executable, *arguments, cwd=cwd, PYTHONPATH=path, **env)


def _pip_install() -> None:
    if sys.version_info < PYTHON_OLDEST:
        raise SystemExit("Python {}.{} or newer is needed for this".format(*PYTHON_OLDEST))
    requirements = TOOLS / "requirements.txt"
    stamp = PACKAGES / ".installed"
    wanted = _hash(requirements)
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(PACKAGES, ignore_errors=True)
        # Neither a venv nor root is needed. The pins are complete.
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"]
        run(*pip, "--target", PACKAGES, "-r", requirements, **PIP_ENV)
        stamp.write_text(wanted)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    npm_ci(TOOLS)
    npm_ci(CLIENTS / "typescript")
    _pip_install()
