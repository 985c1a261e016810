"""Makes the package `_sync` of `_async`; with --check only compares."""

from __future__ import annotations

import re
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "holdfast_client"
MADE = "# Made from `_async` by tools/unasync.py: change that, and run it.\n"

REPLACEMENTS = [
    (r", for asyncio\.", "."),
    (r"The client for asyncio\. [^\"]*", "The client without asyncio."),
    (r"import asyncio\n", ""),
    (r"import contextlib\n", ""),
    (
        r"with contextlib\.suppress\(asyncio\.TimeoutError\):\n +"
        r"await asyncio\.wait_for\((.+)\.wait\(\), (.+)\)",
        r"\1.wait(\2)",
    ),
    (r"asyncio\.Event", "threading.Event"),
    (r"token if isinstance\(token, str\) else await token", "token"),
    (r"Callable\[\[\], str \| Awaitable\[str\]\]", "Callable[[], str]"),
    (r"Awaitable, ", ""),
    (r"websockets\.asyncio\.client", "websockets.sync.client"),
    (r"httpx\.AsyncClient", "httpx.Client"),
    (r"asyncio\.sleep", "time.sleep"),
    (r"async (def|for|with)", r"\1"),
    (r"await ", ""),
    (r"__a(enter|exit|iter)__", r"__\1__"),
    (r"aclose", "close"),
    (r"AsyncIterator", "Iterator"),
    (r"Async(Holdfast|Follower|Transport)", r"\1"),
]


def sync_text(text: str) -> str:
    """The text of a module of `_sync`."""
    for pattern, replacement in REPLACEMENTS:
        text = re.sub(pattern, replacement, text)
    for module, use in (("time", "time.sleep"), ("threading", "threading.Event")):
        if use in text and f"import {module}\n" not in text:
            text = re.sub(r"\n(from (?:types|collections))", rf"\nimport {module}\n\1", text, count=1)
    return MADE + text


def main() -> None:
    """The command line."""
    for source in sorted((PACKAGE / "_async").glob("*.py")):
        target = PACKAGE / "_sync" / source.name
        text = sync_text(source.read_text())
        if sys.argv[1:] != ["--check"]:
            target.parent.mkdir(exist_ok=True)
            target.write_text(text)
        elif target.read_text() != text:
            raise SystemExit(f"{target} is not what tools/unasync.py makes of {source}: run it")


if __name__ == "__main__":
    main()
