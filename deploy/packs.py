#!/usr/bin/env python3
"""Runs every command of bench/packs/README.md once, with small numbers: `make packs`.

Starts Redis, MongoDB, a worker and two APIs (one that trusts `X-User-Id`, as `make run` does, and one with bearer
tokens), installs k6 and Locust, and types the commands as they stand in the page. Each must end well and do what it
is for; without a server each must say so. In the end `holdfastctl verify` has to find nothing. Without wrk or curl
the commands of wrk are skipped, which is said.
"""

import argparse
import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, Tuple

import packages
import run
import servers
from address import Address
from packages import ROOT, say
from packs_checks import CHECKS, Check
from packs_tokens import AUDIENCE, write_tokens
from place import Wrong, built, in_fresh
from process import Children

PACKS = ROOT / "bench/packs"
SCRIPTS = ("k6/*.js", "locust/locust.conf", "wrk/*.lua")
# Parts of other scripts.
PARTS = ("wrk/common.lua",)
ADMIN_KEY = "key-of-make-packs"
COMMAND_SECONDS_MAX = 120
VERIFY_SECONDS_MAX = 60
OUTPUT_LINES = 40
# A busy machine with programs of a debug build.
SMALL = {"THINK": "0.2", "P99_MS": "3000", "UPDATE_P99_MS": "3000"}


def commands() -> List[str]:
    """The commands of the page: the lines of its shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", (PACKS / "README.md").read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def named() -> List[Tuple[str, str]]:
    """Each command with its script. Every script must have one command, and every command a check."""
    scripts = {str(path.relative_to(PACKS)) for glob in SCRIPTS for path in PACKS.glob(glob)}
    scripts -= set(PARTS)
    found = []
    for command in commands():
        match = re.search(r"bench/packs/((?:k6|locust|wrk)/[\w-]+\.(?:js|conf|lua))", command)
        if not match or match.group(1) not in CHECKS:
            raise Wrong(f"no check for the command of bench/packs/README.md: {command}")
        found.append((match.group(1), command))
    shown = [script for script, _ in found]
    if sorted(shown) != sorted(scripts):
        raise Wrong(f"scripts {sorted(scripts)}, commands for {sorted(shown)}")
    return found


class Tools:
    """Where the programs are."""

    def __init__(self) -> None:
        k6, locust = packages.ensure(packages.K6), packages.ensure(packages.LOCUST)
        pinned = (PACKS / "locust/requirements.txt").read_text()
        if f"locust=={packages.LOCUST_VERSION}\n" not in pinned:
            raise Wrong(f"locust/requirements.txt is not {packages.LOCUST_VERSION}")
        folders = [str(k6.program.parent), str(locust.program.parent)]
        self.env = {
            "PATH": os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)]),
            "PYTHONPATH": str(locust.folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "K6_NO_USAGE_REPORT": "true",
            # Proxies are for the world outside.
            "NO_PROXY": servers.HOST,
            "no_proxy": servers.HOST,
        }
        self.missing = [name for name in ("wrk", "curl") if not shutil.which(name)]

    def skips(self, script: str) -> bool:
        """Whether a script's tool is missing."""
        return script.startswith("wrk/") and bool(self.missing)


class Runner:
    """Types commands."""

    def __init__(self, children: Children, state: Path, tools: Tools) -> None:
        self.children, self.state, self.tools = children, state, tools

    def type(self, name: str, command: str, env: Dict[str, str]) -> Tuple[int, str]:
        """Runs a command as somebody would type it; returns its status and output."""
        log = servers.log_in(self.state, name)
        # What is set here must not change what the page says.
        unset = ["env"] + [f"--unset={one}" for one in ("EVENT_ID", "ADMIN_KEY", "TOKENS_FILE")]
        argv = [*unset, *(f"{key}={value}" for key, value in env.items()), "sh", "-c", command]
        child = self.children.start(name, argv, self.tools.env, log, ROOT)
        deadline = time.monotonic() + COMMAND_SECONDS_MAX
        while child.alive():
            self.children.watch(except_for=child)
            if time.monotonic() > deadline:
                raise Wrong(f"{name} did not end within {COMMAND_SECONDS_MAX} s: {command}")
            time.sleep(0.05)
        self.children.forget(child)
        return child.popen.returncode, log.read_text(errors="replace")

    def run(self, label: str, script: str, command: str, env: Dict[str, str]) -> None:
        """Runs a command and checks what it did; prints a line."""
        check: Check = CHECKS[script]
        name = f"{label}-{script.replace('/', '-')}"
        summary = self.state / f"{name}.json"
        began = time.monotonic()
        given = {**SMALL, **check.env, **env, "SUMMARY_JSON": str(summary)}
        status, output = self.type(name, command, given)
        seconds = time.monotonic() - began
        if status != 0:
            raise Wrong(f"{command}\nended with {status}:\n{last(output)}")
        problem, line = check.look(summary)
        if problem:
            raise Wrong(f"{command}\n{problem}:\n{last(output)}")
        say(f"ok       {label:<7} {script:<22} {seconds:4.1f} s  {line}")

    def without_server(self, script: str, command: str) -> None:
        """Without a server a command has to say so, and to fail."""
        # Bound, and not listening: nobody else can take it.
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{closed.getsockname()[1]}"
            name = f"closed-{script.replace('/', '-')}"
            env = {**SMALL, **CHECKS[script].env, "BASE_URL": url}
            status, output = self.type(name, command, env)
        if status == 0 or "Start Holdfast (make run), or set BASE_URL" not in output:
            raise Wrong(f"without a server {command}\nended with {status}:\n{last(output)}")


def last(output: str) -> str:
    """The end of an output, indented."""
    return "\n".join("    " + line for line in output.splitlines()[-OUTPUT_LINES:])


def start(
    children: Children, state: Path, programs: Dict[str, str]
) -> Tuple[Dict[str, str], str, str, Path]:
    """Starts everything; returns the settings, the addresses of both APIs, and the tokens."""
    redis, mongodb = run.start_services(children, state)
    tokens, key_file = write_tokens(state)
    common = {
        "HOLDFAST_REDIS_URL": redis,
        "HOLDFAST_MONGODB_URL": mongodb,
        "HOLDFAST_TOKEN_SECRETS": run.token_secrets(state),
        "HOLDFAST_LOG_LEVEL": "warn",
        # The machine may be busy, and this is not about time-outs.
        "HOLDFAST_REDIS_TIMEOUT_MS": "900",
    }
    # Tokens of one address meet its limits, unless they are only observed.
    jwt = {
        "HOLDFAST_AUTH": "jwt",
        "HOLDFAST_JWT_AUDIENCE": AUDIENCE,
        "HOLDFAST_JWT_KEY_FILES": str(key_file),
        "HOLDFAST_ADMIN_KEYS_SHA256": "packs:" + hashlib.sha256(ADMIN_KEY.encode()).hexdigest(),
        "HOLDFAST_LIMITS": "observe",
    }
    addresses = []
    kinds = (("worker", "", {}), ("api", "", {}), ("api", "-jwt", jwt))
    for name, suffix, own in kinds:
        address = Address(servers.HOST, servers.free_port())
        metrics = Address(servers.HOST, servers.free_port())
        listen = {"HOLDFAST_WORKER_LISTEN": str(address)}
        if name == "api":
            listen = {"HOLDFAST_LISTEN": str(address), "HOLDFAST_METRICS_LISTEN": str(metrics)}
        env = {**common, **listen, **own}
        child = run.start_program(children, state, programs, name, env, suffix)
        run.wait_until_ready(children, child, address)
        addresses.append(address.url())
    return common, addresses[1], addresses[2], tokens


def verify(programs: Dict[str, str], env: Dict[str, str]) -> str:
    """Compares Redis, booking log and archive; returns the last line."""
    argv = [programs["holdfastctl"], "verify", "--wait-seconds", str(VERIFY_SECONDS_MAX)]
    done = subprocess.run(
        argv,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=VERIFY_SECONDS_MAX * 2,
    )
    text = done.stdout.decode(errors="replace").strip()
    if done.returncode != 0:
        raise Wrong(f"holdfastctl verify ended with {done.returncode}:\n{text}")
    return text.splitlines()[-1] if text else "clean"


def packs(args: argparse.Namespace, children: Children, state: Path) -> int:
    """All of it."""
    began = time.monotonic()
    todo, tools = named(), Tools()
    runner = Runner(children, state, tools)
    skipped = [script for script, _ in todo if tools.skips(script)]
    todo = [(script, command) for script, command in todo if script not in skipped]
    programs = built(args.programs) if args.programs else run.build(children, state, args.profile)
    env, trusted, jwt, tokens = start(children, state, programs)
    for script, command in todo:
        runner.run("trusted", script, command, {"BASE_URL": trusted})
    with_tokens = {"BASE_URL": jwt, "ADMIN_KEY": ADMIN_KEY, "TOKENS_FILE": str(tokens)}
    for script, command in todo:
        if CHECKS[script].is_run_with_tokens:
            runner.run("tokens", script, command, with_tokens)
    for script, command in todo:
        runner.without_server(script, command)
    say(f"ok       without a server each of the {len(todo)} commands says so")
    say(f"ok       holdfastctl verify: {verify(programs, env)}")
    if skipped:
        say(f"SKIPPED  {', '.join(skipped)}: there is no {' and no '.join(tools.missing)}")
    say(
        f"{len(todo)} of {len(todo) + len(skipped)} commands of bench/packs/README.md work as typed "
        f"({time.monotonic() - began:.0f} s)."
    )
    return 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profile", default="dev", help="cargo's build profile")
    parser.add_argument(
        "--programs", type=Path, metavar="DIR", help="take them from there: build nothing"
    )
    parser.add_argument("--state", default=str(ROOT / ".holdfast/packs"), help="data and logs")
    args = parser.parse_args()
    state = Path(args.state).resolve()
    return in_fresh(state, lambda children: packs(args, children, state))


if __name__ == "__main__":
    sys.exit(main())
