"""Builds and tests the client libraries against the server of API_URL: their own tests, then the README's
sale in an empty project with the packed library. `clients.py typescript` or `python` does one of them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from tools import CLIENTS, PACKAGES, PIP_ENV, node, npm_ci, python, run

API = os.environ["API_URL"]
TYPESCRIPT = CLIENTS / "typescript"
PYTHON = CLIENTS / "python"
# In README, the address of `make run`.
README_URL = "http://127.0.0.1:8000"


def snippet(readme: Path, language: str) -> str:
    """The first block of a language in a README."""
    block = re.search(rf"```{language}\n(.*?)```", readme.read_text(), re.DOTALL)
    if block is None or README_URL not in block[1]:
        raise SystemExit(f"{readme} has no {language} block that names {README_URL}")
    return block[1].replace(README_URL, API)


def typescript() -> None:
    """npm: build, tests, package, README."""
    npm_ci(TYPESCRIPT)
    run("npm", "test", "--silent", cwd=TYPESCRIPT, HOLDFAST_URL=API)
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        run("npm", "pack", "--silent", "--pack-destination", project, cwd=TYPESCRIPT)
        (archive,) = project.glob("*.tgz")
        (project / "package.json").write_text('{"name": "empty", "private": true, "type": "module"}\n')
        (project / "sale.ts").write_text(snippet(TYPESCRIPT / "README.md", "ts"))
        run("npm", "install", "--no-audit", "--no-fund", archive, cwd=project)
        options = {"strict": True, "module": "nodenext", "target": "es2022", "lib": ["es2022", "dom"], "types": []}
        (project / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": ["sale.ts"]}))
        node(TYPESCRIPT, "tsc", cwd=project)
        run("node", "sale.js", cwd=project)


def python_client() -> None:
    """mypy, ruff, tests, wheel, README."""
    source = str(PYTHON / "src")
    python("tools/unasync.py", "--check", cwd=PYTHON)
    python("-m", "mypy", cwd=PYTHON, PYTHONPATH=source)
    python("-m", "ruff", "check", ".", cwd=PYTHON)
    python("-m", "ruff", "format", "--check", ".", cwd=PYTHON)
    python("-m", "pytest", "-q", cwd=PYTHON, PYTHONPATH=source, HOLDFAST_URL=API)
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        # Made of a copy: a build leaves files in its folder.
        shutil.copytree(PYTHON, project / "source", ignore=shutil.ignore_patterns("__pycache__", ".*cache"))
        pip = [sys.executable, "-m", "pip", "--quiet"]
        environment = {"PYTHONPATH": str(PACKAGES), **PIP_ENV}
        wheel = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", project, project / "source"]
        run(*pip, *wheel, **environment)
        (archive,) = project.glob("*.whl")
        run(*pip, "install", "--no-deps", "--target", project / "site", archive, **PIP_ENV)
        (project / "sale.py").write_text(snippet(PYTHON / "README.md", "python"))
        # The wheel's files and its dependencies, nothing of this checkout.
        path = os.pathsep.join([str(project / "site"), str(PACKAGES)])
        run(sys.executable, "-I", "-c", RUN_SNIPPET, project / "sale.py", path, cwd=project)


# Isolated: neither the current folder nor PYTHONPATH counts.
RUN_SNIPPET = "import runpy, sys; sys.path[:0] = sys.argv[2].split(':'); runpy.run_path(sys.argv[1], run_name='__main__')"


if __name__ == "__main__":
    chosen = {"typescript": typescript, "python": python_client}
    for name in sys.argv[1:] or chosen:
        chosen[name]()
