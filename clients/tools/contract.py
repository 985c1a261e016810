"""Whether the server of API_URL does what the OpenAPI document says: its examples, then schemathesis."""

from __future__ import annotations

import os

import document
import prefilled
from tools import DOCUMENT, TOOLS, python

# Not tested by requests at random: streams do not end, a socket is no answer, and /docs has files.
EXCLUDED = "/(stream$|log$|ws/events|docs)"


def schemathesis() -> None:
    """Requests of all kinds."""
    run = ["--config-file", TOOLS / "schemathesis.toml", "run", DOCUMENT, "--url", os.environ["API_URL"]]
    python("-m", "schemathesis.cli", *run, "--exclude-path-regex", EXCLUDED, cwd=TOOLS)


if __name__ == "__main__":
    document.compare()
    prefilled.main()
    schemathesis()
