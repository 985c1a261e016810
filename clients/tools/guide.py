"""Runs the requests of docs/EMBEDDING.md against the server of API_URL, and compares the statuses.

After each request the guide says in a comment what is answered: `# 200 …`, or `# 200 …, or 202 …`.
GUIDE_FOLDER has the file jwt-secret, with which the server verifies tokens.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tools import ROOT

GUIDE = ROOT / "docs" / "EMBEDDING.md"
# In the guide, the address of `make run`.
GUIDE_URL = "http://127.0.0.1:8000"
STATUS = re.compile(r"^# (\d{3})\b(?:.*\bor (\d{3})\b)?", re.MULTILINE)
SECONDS_MAX = 120
# Notes each status; a stream is read for as long as the guide says, and then cut off.
CURL = """set -eu
curl() {
  command curl --write-out '%{stderr}%{http_code}\\n' "$@" 2>>statuses || [ $? -eq 28 ]
}
"""


def main() -> None:
    """All shell blocks in their order, as one script."""
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    expected = [{*found} - {""} for block in blocks for found in STATUS.findall(block)]
    folder = Path(os.environ["GUIDE_FOLDER"])
    statuses = folder / "statuses"
    statuses.unlink(missing_ok=True)
    script = CURL + "\n".join(blocks).replace(GUIDE_URL, os.environ["API_URL"])
    ended = subprocess.run(["bash", "-c", script], cwd=folder, timeout=SECONDS_MAX)
    answered = statuses.read_text().split()
    same = len(answered) == len(expected) and all(map(set.__contains__, expected, answered))
    if ended.returncode or not same:
        said = " ".join("|".join(sorted(one)) for one in expected)
        raise SystemExit(f"\nexit status {ended.returncode}\nanswered {' '.join(answered)}\nguide    {said}")
    print(f"\n{len(answered)} requests of the guide are answered as it says.")


if __name__ == "__main__":
    main()
