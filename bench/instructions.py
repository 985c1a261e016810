#!/usr/bin/env python3
"""Counts the instructions of a refused and of a granted hold in the API process, by callgrind.

Counts repeat to about one in a hundred, whatever else the machine does, so a regression fails where
times would not show it. They contain everything of the process: actix, the allocator and, for
granted holds, the Redis client and the tail of the booking log. `make instructions` runs this with
the services and programs of deploy/run.py.
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

WARM_UP = 3_200
MEASURED = 1_600
GRANTED = 400
SEATS_TAKEN = [1, 2, 3]
READY_SECONDS_MAX = 120
OPEN_SECONDS_MAX = 60
# Under valgrind everything takes some fifty times as long.
SLOW = {
    "HOLDFAST_HTTP_WORKERS": "1",
    "HOLDFAST_LIMITS": "observe",
    "HOLDFAST_LIVE_STALENESS_MS": "10000",
    "HOLDFAST_LOG_LEVEL": "warn",
    "HOLDFAST_REDIS_TIMEOUT_MS": "900",
}


class Bound(NamedTuple):
    """A measured case: requests sent at once, and the most instructions of one."""

    name: str
    depth: int
    instructions_max: int


REFUSED = [
    Bound("refused hold, one at a time", 1, 57_000),
    Bound("refused hold, 16 at once", 16, 44_000),
]
HELD = Bound("granted hold", 1, 930_000)


class Connection:
    """One kept connection to the API."""

    def __init__(self, port: int) -> None:
        self.stream = socket.create_connection(("127.0.0.1", port))
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.stream.makefile("rb")

    def send(self, requests: List[bytes]) -> List[Tuple[int, bytes]]:
        """Sends requests at once; returns each status and body."""
        self.stream.sendall(b"".join(requests))
        return [self.answer() for _ in requests]

    def answer(self) -> Tuple[int, bytes]:
        """Reads one response."""
        status, length = int(self.reader.readline().split()[1]), 0
        while True:
            line = self.reader.readline().strip().lower()
            if not line:
                return status, self.reader.read(length)
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])


def post(path: str, user: str, body: Dict[str, object]) -> bytes:
    """A browser's request through a gateway that names the user."""
    text = json.dumps(body, separators=(",", ":"))
    agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/120.0.0.0"
    return (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: {agent}\r\n"
        f"accept: application/json\r\ncontent-type: application/json\r\n"
        f"content-length: {len(text)}\r\nx-user-id: {user}\r\n\r\n{text}"
    ).encode()


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


def report(bound: Bound, instructions: int) -> bool:
    """Prints a count; returns whether it is within its bound."""
    fits = instructions <= bound.instructions_max
    verdict = "" if fits else "  TOO MANY"
    print(f"{bound.name:<28} {instructions:>9,}   at most {bound.instructions_max:>9,}{verdict}")
    return fits


def main() -> None:
    """Measures and compares with the bounds."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-instructions-"))
    callgrind = Callgrind(folder)
    try:
        api = callgrind.connect()
        event = open_event(api)
        refused = [hold(event, f"user-{n % 500:05}", SEATS_TAKEN) for n in range(WARM_UP)]
        run(api, refused, 16, 409)
        callgrind.control("-i", "on")
        fits = True
        for bound in REFUSED:
            run(api, refused[:320], bound.depth, 409)
            callgrind.control("-z")
            run(api, refused[:MEASURED], bound.depth, 409)
            # The others are background tasks.
            fits &= report(bound, max(callgrind.counts()) // MEASURED)
        held = [hold(event, f"buyer-{n}", [10 + 2 * n]) for n in range(2 * GRANTED)]
        run(api, held[:GRANTED], 1, 201)
        callgrind.control("-z")
        run(api, held[GRANTED:], 1, 201)
        fits &= report(HELD, sum(callgrind.counts()) // GRANTED)
    finally:
        callgrind.child.kill()
        callgrind.child.wait()
    shutil.rmtree(folder)
    if not fits:
        sys.exit("More instructions than allowed: find them with callgrind_annotate, or raise the bound.")


if __name__ == "__main__":
    main()
