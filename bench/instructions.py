#!/usr/bin/env python3
"""Counts the instructions of refused and granted holds and of seat maps in the API process, by callgrind.

Counts repeat to about one in a hundred, whatever else the machine does, so a regression fails where
times would not show it. They contain everything of the process: actix, the allocator and, for
granted holds, the Redis client and the tail of the booking log. What requests do once in a while, by
the clock, would count more often on a slow machine: refusals and seat maps are counted in several
parts, of which the cheapest counts, and from callers that are known. `make instructions` runs this with
the services and programs of deploy/run.py; CI does so with the build of the tests (`dev`), whose
counts are larger and just as repeatable.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

SEATS_TAKEN = [1, 2, 3]
READY_SECONDS_MAX = 120
# Parts of a case that are counted apart.
PARTS = 8
OPEN_SECONDS_MAX = 60
# Under valgrind everything takes some fifty times as long.
SLOW = {
    "HOLDFAST_HTTP_WORKERS": "1",
    "HOLDFAST_LIMITS": "observe",
    "HOLDFAST_LIVE_STALENESS_MS": "10000",
    "HOLDFAST_LOG_LEVEL": "warn",
    "HOLDFAST_REDIS_TIMEOUT_MS": "900",
}


class Bounds(NamedTuple):
    """How much is measured of one build profile, and the most instructions of each case."""

    warm_up: int
    measured: int
    granted: int
    refused: int
    refused_16: int
    not_modified: int
    held: int


BOUNDS = {
    "release": Bounds(3_200, 1_600, 400, 42_500, 35_300, 39_800, 1_150_000),
    "dev": Bounds(800, 512, 80, 169_000, 154_000, 141_000, 3_300_000),
}


class Connection:
    """One kept connection to the API."""

    def __init__(self, port: int) -> None:
        self.stream = socket.create_connection(("127.0.0.1", port))
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.stream.makefile("rb")
        self.etag = ""

    def send(self, requests: List[bytes]) -> List[Tuple[int, bytes]]:
        """Sends requests at once; returns each status and body."""
        self.stream.sendall(b"".join(requests))
        return [self.answer() for _ in requests]

    def answer(self) -> Tuple[int, bytes]:
        """Reads one response; keeps its ETag."""
        status, length = int(self.reader.readline().split()[1]), 0
        while True:
            name, _, value = self.reader.readline().strip().partition(b":")
            if not name:
                # A 304 says how long the body is that it does not send.
                return status, self.reader.read(0 if status == 304 else length)
            if name.lower() == b"content-length":
                length = int(value)
            elif name.lower() == b"etag":
                self.etag = value.strip().decode()


def request(head: str, user: str, more: str, text: str) -> bytes:
    """A browser's request through a gateway that names the user."""
    agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/120.0.0.0"
    return (
        f"{head} HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: {agent}\r\n"
        f"accept: application/json\r\n{more}x-user-id: {user}\r\n\r\n{text}"
    ).encode()


def post(path: str, user: str, body: Dict[str, object]) -> bytes:
    """A request with a body."""
    text = json.dumps(body, separators=(",", ":"))
    more = f"content-type: application/json\r\ncontent-length: {len(text)}\r\n"
    return request(f"POST {path}", user, more, text)


def hold(event: int, user: str, seats: List[int]) -> bytes:
    """A request for seats."""
    return post("/api/v1/bookings", user, {"event_id": event, "seat_ids": seats})


def open_event(api: Connection) -> int:
    """Creates an event whose first seats are held."""
    section = {"name": "Floor", "price": 100, "capacity": 10_000}
    event = {"name": "Instructions", "currency": "EUR", "hold_ttl_seconds": 3_600}
    event.update({"max_hold_seconds": 3_600, "sections": [section]})
    _, body = api.send([post("/api/v1/events", "operator", event)])[0]
    number = json.loads(body)["id"]
    until = time.monotonic() + OPEN_SECONDS_MAX
    while api.send([hold(number, "owner", SEATS_TAKEN)])[0][0] != 201:
        if time.monotonic() > until:
            sys.exit("the event does not open")
        time.sleep(0.2)
    return number


def known_maps(api: Connection, event: int, count: int) -> List[bytes]:
    """Requests for an event's seat map by clients that have it."""
    head = f"GET /api/v1/events/{event}/seats"
    run(api, [request(head, "user-00000", "", "")], 1, 200)
    more = f"if-none-match: {api.etag}\r\n"
    return [request(head, f"user-{n % 500:05}", more, "") for n in range(count)]


def run(api: Connection, requests: List[bytes], depth: int, status: int) -> None:
    """Sends requests, so many at once; each must have this status."""
    for start in range(0, len(requests), depth):
        for found, body in api.send(requests[start : start + depth]):
            if found != status:
                sys.exit(f"{found} instead of {status}: {body.decode()}")


class Callgrind:
    """The API under callgrind."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.dumps = folder, 0
        command = ["valgrind", "--tool=callgrind", "--instr-atstart=no"]
        command += ["--separate-threads=yes", f"--callgrind-out-file={folder}/out"]
        env = dict(os.environ, HOLDFAST_LISTEN=f"127.0.0.1:{self.port}", **SLOW)
        env["HOLDFAST_METRICS_LISTEN"] = "127.0.0.1:0"
        with (folder / "log").open("wb") as log:
            program = shutil.which("holdfast-api") or sys.exit("no holdfast-api")
            self.child = subprocess.Popen(command + [program], env=env, stdout=log, stderr=log)

    def connect(self) -> Connection:
        """Waits until it is ready."""
        until = time.monotonic() + READY_SECONDS_MAX
        request = b"GET /health/ready HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
        while time.monotonic() < until and self.child.poll() is None:
            try:
                api = Connection(self.port)
                if api.send([request])[0][0] == 200:
                    return api
            except OSError:
                pass
            time.sleep(0.2)
        sys.exit("the API is not ready: " + (self.folder / "log").read_text())

    def control(self, *options: str) -> None:
        """Changes what is counted."""
        command = ["callgrind_control", *options, str(self.child.pid)]
        subprocess.run(command, check=True, capture_output=True)

    def counts(self) -> List[int]:
        """The instructions of each thread since the last zero."""
        self.control("-d")
        self.dumps += 1
        files = self.folder.glob(f"out.{self.dumps}-*")
        lines = [line for file in files for line in file.read_text().splitlines()]
        return [int(line.split()[1]) for line in lines if line.startswith(("summary:", "totals:"))]


def report(name: str, instructions: int, instructions_max: int) -> bool:
    """Prints a count; returns whether it is within its bound."""
    fits = instructions <= instructions_max
    verdict = "" if fits else "  TOO MANY"
    print(f"{name:<28} {instructions:>10,}   at most {instructions_max:>10,}{verdict}", flush=True)
    return fits


def least(
    api: Connection, callgrind: Callgrind, requests: List[bytes], depth: int, status: int
) -> int:
    """The instructions of one request in the cheapest part, when every caller is known."""
    run(api, requests, depth, status)
    size = len(requests) // PARTS
    counts = []
    for start in range(0, PARTS * size, size):
        callgrind.control("-z")
        run(api, requests[start : start + size], depth, status)
        # The other threads run background tasks.
        counts.append(max(callgrind.counts()) // size)
    return min(counts)


def measure(api: Connection, callgrind: Callgrind, bounds: Bounds) -> bool:
    """Measures every case; returns whether all are within their bounds."""
    event = open_event(api)
    refused = [hold(event, f"user-{n % 500:05}", SEATS_TAKEN) for n in range(bounds.warm_up)]
    run(api, refused, 16, 409)
    callgrind.control("-i", "on")
    fits = True
    depths = [("one at a time", 1, bounds.refused), ("16 at once", 16, bounds.refused_16)]
    for name, depth, instructions_max in depths:
        count = least(api, callgrind, refused[: bounds.measured], depth, 409)
        fits &= report(f"refused hold, {name}", count, instructions_max)
    maps = known_maps(api, event, bounds.measured)
    count = least(api, callgrind, maps, 1, 304)
    fits &= report("seat map, not modified", count, bounds.not_modified)
    held = [hold(event, f"buyer-{n}", [10 + 2 * n]) for n in range(2 * bounds.granted)]
    run(api, held[: bounds.granted], 1, 201)
    callgrind.control("-z")
    run(api, held[bounds.granted :], 1, 201)
    count = sum(callgrind.counts()) // bounds.granted
    return fits & report("granted hold", count, bounds.held)


def main() -> None:
    """Measures and compares with the bounds of the profile that is named."""
    bounds = BOUNDS[sys.argv[1] if len(sys.argv) > 1 else "release"]
    folder = Path(tempfile.mkdtemp(prefix="holdfast-instructions-"))
    callgrind = Callgrind(folder)
    try:
        fits = measure(callgrind.connect(), callgrind, bounds)
    finally:
        callgrind.child.kill()
        callgrind.child.wait()
    shutil.rmtree(folder)
    if not fits:
        sys.exit("More instructions than allowed: find them with callgrind_annotate, or raise the bound.")


if __name__ == "__main__":
    main()
