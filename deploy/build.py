"""Builds the programs with one line of progress. Cargo's own lines go to a log."""

import json
import os
import re
import select
from pathlib import Path
from typing import BinaryIO, Dict, NoReturn

import servers
from packages import ROOT, Missing, say
from process import Child, Children, shown, tail
from progress import ProgressLine, bar, clock

POLL_SECONDS = 0.1
READ_BYTES = 64 * 1024
BAR_COLUMNS = 24
FAILURE_LINES = 40

# Cargo draws its bar for a terminal of this width, also into a pipe; it is read here, not shown.
CARGO_BAR = {"CARGO_TERM_PROGRESS_WHEN": "always", "CARGO_TERM_PROGRESS_WIDTH": "100"}
CARGO_BAR_LINE = re.compile(r"\s*(\w+) \[[=> ]*\] *(?:(\d+)/(\d+))?(?:: )?(.*)")
# Lines before the first crate that say what it waits for.
CARGO_WAITS = re.compile(r"\s*(Updating|Downloading|Downloaded|Locking|Blocking) ")
ESCAPES = re.compile(r"\033\[[0-9;]*[A-Za-z]")


def build(children: Children, state: Path, profile: str) -> Dict[str, str]:
    """Builds the workspace's programs; returns the path of each.

    The whole workspace, as every other command does: a part of it has other features, for which
    cargo would compile the dependencies again.
    """
    log, messages = servers.log_in(state, "build"), state / "build.json"
    command = ["cargo", "build", "--workspace", "--bins", "--profile", profile]
    command += ["--message-format", "json-render-diagnostics"]
    reader, writer = os.pipe()
    with open(reader, "rb", buffering=0) as pipe, log.open("wb") as lines:
        with messages.open("wb") as stdout, open(writer, "wb") as stderr:
            child = children.start(
                "build", command, CARGO_BAR, None, ROOT, stdout.fileno(), stderr.fileno()
            )
        with ProgressLine() as line:
            follow(children, child, pipe, lines, line)
            seconds = line.seconds()
    if children.wait_for_end(child) != 0:
        refuse(log)
    say("{:<8} profile {}, {:.0f} s".format("Build", profile, seconds))
    return executables(messages)


def follow(
    children: Children, child: Child, pipe: BinaryIO, log: BinaryIO, line: ProgressLine
) -> None:
    """Shows cargo's progress and writes its other lines to the log, until it has ended."""
    rest, status = b"", "Build    starting"
    while True:
        children.watch(except_for=child)
        was_alive = child.alive()
        if select.select([pipe], [], [], POLL_SECONDS)[0]:
            data = os.read(pipe.fileno(), READ_BYTES)
            *parts, rest = re.split(rb"[\r\n]", rest + data)
            for part in parts if data else [rest]:
                status = read_part(part, log) or status
            if not data:
                return
        elif not was_alive:
            # A daemon that it has started may keep the pipe open.
            return
        line.show(f"{status}  {clock(line.seconds())}")


def read_part(part: bytes, log: BinaryIO) -> str:
    """Returns the progress that a part of cargo's output tells of. What is no bar goes to the log."""
    text = ESCAPES.sub("", part.decode(errors="replace")).rstrip()
    match = CARGO_BAR_LINE.fullmatch(text)
    if match:
        verb, done, total, rest = match.groups()
        if not total:
            return f"Build    {verb.lower()} {rest}"
        crate = rest.split(",")[0].partition("(")[0]
        drawn = bar(int(done) / max(int(total), 1), BAR_COLUMNS)
        return f"Build    {drawn} {done:>{len(total)}}/{total} {crate:<24.24}"
    if text:
        log.write(text.encode() + b"\n")
        log.flush()
    return f"Build    {text.strip():.60}" if CARGO_WAITS.match(text) else ""


def refuse(log: Path) -> NoReturn:
    """Shows the end of the log."""
    raise Missing(
        f"The build failed. Its log, {shown(log)}, ends:\n{tail(log, FAILURE_LINES)}",
        "correct what the log says, and run it again",
    )


def executables(messages: Path) -> Dict[str, str]:
    """The programs named in cargo's messages."""
    found = {}
    for line in messages.read_text().splitlines():
        message = json.loads(line)
        if message.get("executable"):
            found[message["target"]["name"]] = message["executable"]
    messages.unlink()
    return found
