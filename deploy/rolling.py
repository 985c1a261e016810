#!/usr/bin/env python3
"""Restarts two API processes and two workers one after the other, under load behind nginx: `make rolling`.

nginx runs with deploy/nginx/nginx.conf, on other ports. Buyers hold, pay and release, readers look at maps,
a WebSocket and an event stream follow. No client may see a reset, a 5xx other than a 503 with `Retry-After`, or a
503 that outlasts its retries; each booking that was answered exists once and in its state; a follower
is back within seconds; and `holdfastctl verify` finds Redis, booking log and archive in agreement.
"""

import argparse
import csv
import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, Tuple

import packages
import run
import servers
from api import http
from followers import Follower, Stream, WebSocket
from packages import ROOT, Missing, say
from process import Child, Children, Instance, TimedOut, end_report, stop_leftovers, stop_on_signals
from rolling_load import Books, Load

ADMIN_KEY = "rolling"
READY_SECONDS_MAX = 60
STOP_SECONDS_MAX = 30
SETTLE_SECONDS_MAX = 60
ROWS, SEATS = 60, 100
# Requests answered 503, of all.
UNAVAILABLE_SHARE_MAX = 0.01
AWAY_SECONDS_MAX = 5.0
ENDED = ("CANCELLED", "EXPIRED")


class Wrong(Exception):
    """What was found."""


class Place:
    """The processes, their addresses and what they are started with."""

    def __init__(self, children: Children, state: Path, programs: Dict[str, str]) -> None:
        self.children, self.state, self.programs = children, state, programs
        redis, mongodb = run.start_services(children, state)
        self.env = {
            "HOLDFAST_REDIS_URL": redis,
            "HOLDFAST_MONGODB_URL": mongodb,
            "HOLDFAST_TOKEN_SECRETS": run.token_secrets(state),
            "HOLDFAST_ADMIN_KEYS_SHA256": "ops:" + hashlib.sha256(ADMIN_KEY.encode()).hexdigest(),
            "HOLDFAST_TRUSTED_PROXIES": "127.0.0.1",
            "HOLDFAST_IDENTITY_PROXIES": "127.0.0.1",
            "HOLDFAST_LIMITS": "observe",
            "HOLDFAST_BOT_MODE": "observe",
        }
        self.ports = {name: servers.free_port() for name in ("api-1", "api-2", "worker-1", "worker-2")}
        self.processes: Dict[str, Child] = {}

    def start(self, name: str) -> None:
        """Starts a process and waits until it is ready."""
        kind, port = name.split("-")[0], self.ports[name]
        address = f"127.0.0.1:{port}"
        own = {"HOLDFAST_LISTEN": address, "HOLDFAST_METRICS_LISTEN": "127.0.0.1:0"}
        if kind == "worker":
            own = {"HOLDFAST_WORKER_LISTEN": address, "HOLDFAST_WORKER_CONSUMER": name}
        log = self.state / "logs" / (name + ".log")
        log.parent.mkdir(exist_ok=True)
        argv = [self.programs["holdfast-" + kind]]
        child = self.children.start(name, argv, dict(self.env, **own), log, ROOT)
        self.processes[name] = child
        url = f"http://{address}/health/ready"
        self.children.wait_until(lambda: http("GET", url)[0] == 200, name + " not ready", READY_SECONDS_MAX)

    def restart(self, name: str) -> float:
        """SIGTERM, its orderly end, and a new one that is ready; returns the seconds in between."""
        child = self.processes[name]
        began = time.monotonic()
        self.children.forget(child)
        os.kill(child.popen.pid, signal.SIGTERM)
        try:
            status = child.popen.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            child.popen.kill()
            raise Wrong(f"{name} did not end within {STOP_SECONDS_MAX} s") from None
        if status != 0:
            raise Wrong(f"{name} ended with {status}:\n{end_report(child)}")
        self.start(name)
        return time.monotonic() - began

    def start_nginx(self) -> int:
        """nginx with the shipped configuration, on a port of its own."""
        program = packages.shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if not program:
            raise Missing("there is no nginx", packages.system_line("nginx", "install nginx"))
        port, folder = servers.free_port(), self.state / "nginx"
        folder.mkdir(exist_ok=True)
        gateways = folder / "identity-gateways.conf"
        gateways.write_text("127.0.0.1 1;\n")
        text = (ROOT / "deploy/nginx/nginx.conf").read_text()
        for old, new in (
            ("127.0.0.1:8000", f"127.0.0.1:{self.ports['api-1']}"),
            ("127.0.0.1:8010", f"127.0.0.1:{self.ports['api-2']}"),
            ("listen 8080", f"listen 127.0.0.1:{port}"),
            ("/etc/nginx/identity-gateways.conf", str(gateways)),
            ("/dev/stdout", str(folder / "access.log")),
            ("/dev/stderr", str(folder / "error.log")),
        ):
            if text.count(old) != 1:
                raise Wrong(f"deploy/nginx/nginx.conf has {old} {text.count(old)} times")
            text = text.replace(old, new)
        moved = folder / "nginx.conf"
        moved.write_text(text.replace("/tmp/nginx", str(folder) + "/nginx"))
        argv = [program, "-c", str(moved), "-e", str(folder / "error.log"), "-g", "daemon off;"]
        self.children.start("nginx", argv, {}, folder / "output.log")
        url = f"http://127.0.0.1:{port}/nginx-health"
        self.children.wait_until(lambda: http("GET", url)[0] == 200, "nginx not ready", READY_SECONDS_MAX)
        return port

    def holdfastctl(self, *words: str) -> Tuple[int, str]:
        """Runs the operator's tool; returns its status and output."""
        command = [self.programs["holdfastctl"], *words]
        env = dict(os.environ, **self.env)
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode, done.stdout.decode()


def create_event(port: int) -> Tuple[int, List[int]]:
    """A new event and its seats."""
    os.environ["DEMO_ADMIN_KEY"] = ADMIN_KEY
    rows = [{"row": f"R{number}", "seats": SEATS} for number in range(ROWS)]
    event = {
        "name": "Rolling restart",
        "starts_at": "2030-01-01T20:00:00Z",
        "hold_ttl_seconds": 600,
        "sections": [{"name": "Hall", "price": 1000, "rows": rows}],
    }
    status, body = http("POST", f"http://127.0.0.1:{port}/api/v1/events", event)
    if status != 201:
        raise Wrong(f"the event could not be made: {status} {body}")
    return int(body["id"]), list(range(1, ROWS * SEATS + 1))


def restart_all(place: Place, rounds: int, pause: float) -> List[str]:
    """Restarts each process, with a pause in between; returns a line for each."""
    lines = []
    for number in range(1, rounds + 1):
        for name in place.ports:
            seconds = place.restart(name)
            lines.append(f"round {number}: {name} restarted in {seconds:.1f} s")
            say(lines[-1])
            time.sleep(pause)
    return lines


def check_followers(followers: List[Follower], restarts: int) -> List[str]:
    """What the followers have seen that they must not."""
    found = []
    for follower in followers:
        name = type(follower).__name__
        found += [f"{name}: {text}" for text in follower.problems]
        if follower.updates == 0:
            found.append(f"{name} got no update")
        if follower.away_seconds_max > AWAY_SECONDS_MAX:
            found.append(f"{name} was away for {follower.away_seconds_max:.1f} s")
        if follower.connections > 1 + restarts:
            found.append(f"{name} connected {follower.connections} times in {restarts} restarts")
    return found


def check_books(place: Place, port: int, event: int, books: Books) -> List[str]:
    """Compares what was answered with what is, at the API and in the sales of the archive."""
    found, deadline = [], time.monotonic() + SETTLE_SECONDS_MAX
    for booking, user in books.owners.items():
        url, told = f"http://127.0.0.1:{port}/api/v1/bookings/{booking}", books.last_state[booking]
        status, body = http("GET", url, user=user)
        while status == 200 and body["status"] == "CONFIRMING" and time.monotonic() < deadline:
            time.sleep(0.1)
            status, body = http("GET", url, user=user)
        state = body["status"] if status == 200 else status
        allowed = {"CONFIRMED": ("CONFIRMED",), "CONFIRMING": ("CONFIRMED",), "CANCELLED": ENDED}
        # The last word may be lost with a 503 of which nothing follows.
        if state not in allowed.get(told, ("HOLD", "CONFIRMED", "CANCELLED")):
            found.append(f"{booking}: answered {told}, is {state}")
    status, text = place.holdfastctl("export", "sales", str(event))
    sales = list(csv.DictReader(io.StringIO(text.lstrip("\ufeff"))))
    seats = [line["seat_id"] for line in sales if line["status"] == "CONFIRMED"]
    if status != 0 or len(seats) != len(set(seats)):
        found.append(f"{len(seats)} seats are sold, {len(set(seats))} different ones")
    sold = {line["booking_id"] for line in sales}
    missing = [b for b, state in books.last_state.items() if state == "CONFIRMED" and b not in sold]
    found += [f"{booking}: CONFIRMED, and not among the sales" for booking in missing]
    return found


def built(folder: Path) -> Dict[str, str]:
    """The programs of a folder."""
    names = ("holdfast-api", "holdfast-worker", "holdfastctl")
    return {name: str(folder.resolve() / name) for name in names}


def roll(args: argparse.Namespace, children: Children, state: Path) -> int:
    """Starts all, restarts all, compares."""
    programs = built(args.programs) if args.programs else run.build(children, state, args.profile)
    place = Place(children, state, programs)
    for name in place.ports:
        place.start(name)
    port = place.start_nginx()
    event, seats = create_event(port)
    load = Load(port, event, seats, args.buyers, args.readers)
    followers: List[Follower] = [WebSocket(port, event), Stream(port, event)]
    began = time.monotonic()
    time.sleep(args.pause)
    restart_all(place, args.rounds, args.pause)
    load.stop()
    seconds = time.monotonic() - began
    books = load.books
    found = books.problems + check_followers(followers, args.rounds * 2)
    for follower in followers:
        follower.stop()
    found += check_books(place, port, event, books)
    status, text = place.holdfastctl("verify", "--wait-seconds", "60")
    if status != 0:
        found.append(f"holdfastctl verify ended with {status}:\n{text}")
    total, unavailable = sum(books.statuses.values()), sum(books.unavailable.values())
    if unavailable > total * UNAVAILABLE_SHARE_MAX:
        found.append(f"{unavailable} of {total} requests were answered 503")
    states = list(books.last_state.values())
    say(f"{total} requests in {seconds:.0f} s: {dict(sorted(books.statuses.items()))}")
    say(f"503 with Retry-After: {dict(books.unavailable)}; slowest answer {books.slowest_ms:.0f} ms")
    say(f"bookings: {len(states)}, {states.count('CONFIRMED')} confirmed; verify: {text.splitlines()[-1]}")
    for follower in followers:
        name, away = type(follower).__name__, follower.away_seconds_max
        say(f"{name}: {follower.updates} updates, {follower.connections} connections, away {away:.1f} s at most")
    for text in found:
        say("WRONG: " + text)
    say("A rolling restart loses nothing." if not found else f"{len(found)} problems.")
    return 1 if found else 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profile", default="dev", help="cargo's build profile")
    parser.add_argument("--programs", type=Path, metavar="DIR", help="take them from there: build nothing")
    parser.add_argument("--state", default=str(ROOT / ".holdfast/rolling"), help="data and logs")
    parser.add_argument("--rounds", type=int, default=2, help="restarts of each process (2)")
    parser.add_argument("--pause", type=float, default=2.0, help="seconds between two restarts (2)")
    parser.add_argument("--buyers", type=int, default=12, help="buyers at the same time (12)")
    parser.add_argument("--readers", type=int, default=4, help="readers at the same time (4)")
    args = parser.parse_args()
    state = Path(args.state).resolve()

    def work() -> int:
        instance, children = Instance(state), Children(state / "pids")
        children.pid_dir.mkdir(exist_ok=True)
        stop_on_signals(children)
        stop_leftovers(children.pid_dir)
        try:
            return roll(args, children, state)
        except (Wrong, TimedOut) as wrong:
            say(f"WRONG: {wrong}")
            return 1
        finally:
            children.stop_all()
            instance.file.close()

    return run.exit_status(work)


if __name__ == "__main__":
    sys.exit(main())
