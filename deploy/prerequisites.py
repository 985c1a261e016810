"""What a machine must have, checked before anything is started or built."""

import os
import re
import shutil
import subprocess
from typing import Callable, List

import packages
import servers
from packages import Missing, say, system_line

PROBE_SECONDS_MAX = 30


def service_problems(redis: bool, mongodb: bool) -> List[Missing]:
    """What is missing to start the services, checked without starting anything."""
    problems = []
    if redis and not (
        servers.on_path("redis") or servers.on_path("valkey") or packages.find(packages.VALKEY)
    ):
        problems += problem_of(lambda: packages.installer(packages.VALKEY))
    if mongodb and not (shutil.which("mongod") or packages.find(packages.SECANTUS)):
        problems += problem_of(lambda: packages.installer(packages.SECANTUS))
    # One missing pip is one problem, however many packages want it.
    return list({problem.mend: problem for problem in problems}.values())


def problem_of(attempt: Callable[[], object]) -> List[Missing]:
    """The problem that an attempt raises, if any."""
    try:
        attempt()
    except Missing as missing:
        return [missing]
    return []


def build_problems() -> List[Missing]:
    """What is missing to compile."""
    return problem_of(check_cargo) + problem_of(check_compiler)


def check_cargo() -> None:
    """Checks that cargo is installed and new enough for Cargo.toml."""
    mend = "install Rust: https://rustup.rs"
    cargo = shutil.which("cargo")
    if not cargo:
        raise Missing("cargo (Rust) is missing", mend)
    done = subprocess.run([cargo, "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    match = re.match(r"cargo (\d+\.\d+)", done.stdout.decode(errors="replace"))
    if not match:
        raise Missing(
            "cargo does not run:\n" + packages.last_lines(done.stdout.decode()),
            "rustup default stable",
        )
    manifest = packages.ROOT / "Cargo.toml"
    required = re.search(
        r'^rust-version = "([\d.]+)"', manifest.read_text() if manifest.exists() else "", re.M
    )
    if required and servers.version_tuple(match.group(1)) < servers.version_tuple(required.group(1))[:2]:
        raise Missing(
            f"Rust {match.group(1)} is too old, {required.group(1)} is needed", "rustup update stable"
        )


def check_compiler() -> None:
    """Checks that a C compiler, its headers and its linker work."""
    mend = system_line("build-essential", "install a C compiler, so that `cc` is on PATH")
    if not shutil.which("cc"):
        raise Missing("a C compiler (cc) is missing", mend)
    done = subprocess.run(
        ["cc", "-x", "c", "-", "-o", os.devnull],
        input=b"#include <stdlib.h>\nint main(void) { return EXIT_SUCCESS; }\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode != 0:
        reason = packages.last_lines(done.stdout.decode(errors="replace"))
        raise Missing("the C compiler (cc) does not work:\n" + reason, mend)


def report(problems: List[Missing]) -> None:
    """Prints what is missing, each with the command that installs it."""
    for problem in problems:
        say(f"  - {problem.what}\n    mend it: {problem.mend}\n")
