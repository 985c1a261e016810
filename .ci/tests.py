#!/usr/bin/env python3
"""Runs `make test` in CI: every target, and failed tests a second time, alone.

CI's machines are shared, and some tests race on purpose: a machine that stalls for seconds can fail
one. If at most FAILED_MAX tests fail, each is run once more with nothing beside it. One that fails
again fails the check, as does a test program that does not finish. One that passes is reported under
its own heading. `make test` itself repeats nothing.

    python3 .ci/tests.py REPORT      also writes failed tests and their output to the file REPORT
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple, NoReturn, Optional

FAILED_MAX = 5
LINES_SHOWN = 40
# Of one test alone; the longest takes two minutes on a slow machine.
ALONE_SECONDS_MAX = 1_200

ROOT = Path(__file__).resolve().parent.parent
RESULT = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed;")
PROGRAM = re.compile(r"^ +(?:Running .+ \(.+\)|Doc-tests .+)$")
OUTPUT = re.compile(r"^---- (.+) stdout ----$")
# Names of documentation examples are not paths; those tests do not race.
PATH = re.compile(r"^[A-Za-z0-9_:]+$")


class Outcome(NamedTuple):
    """The result of a run of tests."""

    status: int
    passed: int
    # Output of each failed test.
    failed: Dict[str, List[str]]
    # Test programs that printed a result, and those that were started.
    ended: int
    started: int
    # Errors of cargo itself.
    errors: List[str]

    def is_whole(self) -> bool:
        """Whether every program finished, and every failure is a named test."""
        is_explained = self.status == 0 or bool(self.failed)
        return is_explained and self.started > 0 and self.ended == self.started


def read(lines: List[str], status: int) -> Outcome:
    """Parses the output of cargo and the test programs."""
    passed = started = ended = counted = 0
    printed: Dict[str, List[str]] = {}
    names: List[str] = []
    block: List[str] = []
    errors: List[str] = []
    listing = False
    for line in lines:
        result, output = RESULT.match(line), OUTPUT.match(line)
        if result:
            passed, counted, ended = passed + int(result[1]), counted + int(result[2]), ended + 1
        if PROGRAM.match(line):
            started += 1
        if line.startswith(("error:", "error[", "  process didn't exit")):
            errors.append(line)
        if output:
            block = printed.setdefault(output[1], [])
        elif line == "failures:":
            block, listing = [], True
        elif listing and line.startswith("    "):
            names.append(line.strip())
        else:
            # The section of outputs has the same heading, followed by an empty line.
            listing = False
            block.append(line)
    failed = {name: printed.get(name, []) for name in names}
    # Fewer names than failures mean that the output was not parsed completely.
    if len(names) != counted:
        ended = -1
    return Outcome(status, passed, failed, ended, started, errors)


def run(arguments: str, seconds_max: Optional[int] = None) -> Outcome:
    """Runs `make test`, shows its output, and parses it."""
    process = subprocess.Popen(
        ["make", "test", f"TEST={arguments}"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )

    def end(*_: object) -> None:
        os.killpg(process.pid, signal.SIGKILL)

    signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds_max or 0)
    lines: List[str] = []
    assert process.stdout is not None
    try:
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            lines.append(line.rstrip("\n"))
        status = process.wait()
    except BaseException:
        end()
        raise
    finally:
        signal.alarm(0)
    return read(lines, status)


def described(name: str, printed: List[str]) -> str:
    """A failed test: its name, and the first lines from its panic on."""
    began = next((n for n, line in enumerate(printed) if " panicked at " in line), 0)
    shown = "\n    ".join(printed[began : began + LINES_SHOWN]).rstrip()
    return f"--- {name}\n    {shown or '(it printed nothing)'}"


def section(heading: str, tests: Dict[str, List[str]]) -> str:
    """Some failed tests under a heading."""
    return "\n".join([f"\n=== {heading}"] + [described(name, tests[name]) for name in tests]) + "\n"


def second_run(failed: Dict[str, List[str]]) -> Dict[str, List[str]]:
    """Runs each of these alone; returns the output of those that fail again."""
    again: Dict[str, List[str]] = {}
    for name, first in failed.items():
        if not PATH.match(name):
            again[name] = first
            continue
        print(f"\n=== Once more, alone: {name}", flush=True)
        alone = run(f"--no-fail-fast --tests -- --exact {name}", ALONE_SECONDS_MAX)
        if alone.status != 0 or not alone.is_whole() or alone.passed == 0:
            again[name] = alone.failed.get(name) or first
    return again


def main() -> int:
    """Both runs, and the report."""
    report = Path(sys.argv[1])
    outcome = run("--no-fail-fast")
    if outcome.status == 0 and outcome.is_whole():
        return 0
    text = ""
    if not outcome.is_whole():
        lines = ["\n=== Not every test program was built and finished"]
        text += "\n".join(lines + outcome.errors[:LINES_SHOWN]) + "\n"
    if text or len(outcome.failed) > FAILED_MAX:
        text += section("Failed", outcome.failed) if outcome.failed else ""
        status = 1
    else:
        again = second_run(outcome.failed)
        once = {name: first for name, first in outcome.failed.items() if name not in again}
        if once:
            text += section("Failed once, passed alone", once)
        if again:
            text += section("Failed, and failed again alone", again)
        status = 1 if again else 0
    report.write_text(text)
    print(text, flush=True)
    return status


def stop(*_: object) -> NoReturn:
    """SIGTERM ends the tests as well."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    sys.exit(main())
