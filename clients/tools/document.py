"""The checked-in OpenAPI document, and the types made from it.

    document.py lint              redocly and spectral, without a server
    document.py write             takes the document of API_URL, and makes the types anew
    document.py compare           fails if the document or the types are not what API_URL serves
"""

from __future__ import annotations

import difflib
import json
import os
import sys
import urllib.request

from tools import CLIENTS, DOCUMENT, TOOLS, node, npm_ci, python, run

TYPESCRIPT = CLIENTS / "typescript"
PYTHON = CLIENTS / "python"


def served() -> str:
    """The document of the running server, formatted."""
    with urllib.request.urlopen(os.environ["API_URL"] + "/openapi.json", timeout=30) as response:
        return json.dumps(json.load(response), indent=1, ensure_ascii=False) + "\n"


def lint() -> None:
    """Redocly and spectral, warnings included."""
    npm_ci(TOOLS)
    node(TOOLS, "redocly", "lint", DOCUMENT, "--config", "redocly.yaml", "--max-problems=20")
    node(TOOLS, "spectral", "lint", DOCUMENT, "--ruleset", ".spectral.yaml", "--fail-severity", "warn")


def write() -> None:
    """The document and the types."""
    DOCUMENT.write_text(served())
    npm_ci(TYPESCRIPT)
    run("npm", "run", "--silent", "generate", cwd=TYPESCRIPT)
    python(PYTHON / "tools" / "generate.py")


def compare() -> None:
    """The document, and with it the types: they are compared with the document."""
    now, kept = served(), DOCUMENT.read_text()
    if now != kept:
        diff = difflib.unified_diff(kept.splitlines(), now.splitlines(), "clients/openapi.json", "served", lineterm="")
        print("\n".join(list(diff)[:60]))
        raise SystemExit("clients/openapi.json is not what the server serves: make openapi")
    npm_ci(TYPESCRIPT)
    node(TYPESCRIPT, "openapi-typescript", DOCUMENT, "-o", "src/schema.ts", "--alphabetize", "--check")
    python(PYTHON / "tools" / "generate.py", "--check")


if __name__ == "__main__":
    {"lint": lint, "write": write, "compare": compare}[sys.argv[1]]()
