#!/usr/bin/env python3
"""Breaks a running Holdfast in several ways and looks which alerts fire: `make alerts`.

Prometheus runs with deploy/prometheus/prometheus.yml and alerts.yml as they are shipped, only the targets' ports
differ: the durations are the real ones. Beside a sale that goes well nothing fires for a minute; then each fault must
fire its alert, and no other than those that follow from it, which ends with it; in the end all are quiet again.
"""

import argparse
import http.client
import json
import sys
import threading
import time
from pathlib import Path
from typing import Callable, List, NamedTuple, Set

import run
import servers
from packages import ROOT, say
from place import Place, Wrong, built, create_event, in_fresh
from process import Child, Children
from prometheus_here import Prometheus

HEALTHY_SECONDS = 75
# The longest `for:` is a minute; a scrape and an evaluation take 5 s each.
FIRES_SECONDS_MAX = 100
QUIET_SECONDS_MAX = 150
POLL_SECONDS = 1.0
# The smallest that is accepted, so that it fills within seconds.
LOG_ENTRIES_MAX = 1_000
HOLDS_A_SECOND = 40


class Fault(NamedTuple):
    """Something that breaks, what must fire, what may follow, and its end."""

    name: str
    begin: Callable[[], None]
    fires: Set[str]
    may_fire: Set[str]
    end: Callable[[], None]


class Holds:
    """Holds and releases at a steady pace, from a thread; failures are expected while things are broken."""

    def __init__(self, port: int, event: int, seats: List[int]) -> None:
        self.port, self.event, self.seats = port, event, seats
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        """Sends requests until it is stopped."""
        number = 0
        while not self.ending.wait(1 / HOLDS_A_SECOND):
            number += 1
            seat = self.seats[number % len(self.seats)]
            try:
                self.hold(f"user-{number}", seat)
            except (OSError, http.client.HTTPException, ValueError):
                continue

    def hold(self, user: str, seat: int) -> None:
        """Holds a seat and gives it back."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        headers = {"X-User-Id": user, "Content-Type": "application/json", "User-Agent": "alerts"}
        body = json.dumps({"event_id": self.event, "seat_ids": [seat]})
        try:
            connection.request("POST", "/api/v1/bookings", body, headers)
            reply = connection.getresponse()
            found = json.loads(reply.read())
            if reply.status == 201:
                connection.request("DELETE", "/api/v1/bookings/" + found["id"], headers=headers)
                connection.getresponse().read()
        finally:
            connection.close()

    def stop(self) -> None:
        """Ends it."""
        self.ending.set()
        self.thread.join(10)


class Breaker:
    """Stops and starts parts of a place."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.redis_port = int(place.env["HOLDFAST_REDIS_URL"].rsplit(":", 1)[1])
        self.mongodb_port = int(place.env["HOLDFAST_MONGODB_URL"].rsplit(":", 1)[1])

    def child(self, name: str) -> Child:
        """A running child."""
        return next(child for child in self.place.children.children if child.name == name)

    def kill(self, name: str) -> None:
        """Kills a process without notice."""
        child = self.child(name)
        self.place.children.forget(child)
        child.popen.kill()
        child.popen.wait()

    def kill_workers(self) -> None:
        """Every worker at once."""
        for name in ("worker-1", "worker-2"):
            self.kill(name)

    def start_workers(self) -> None:
        """Both again."""
        for name in ("worker-1", "worker-2"):
            self.place.start(name)

    def stop_redis(self) -> None:
        """Redis ends in order, with its data on disk."""
        self.place.children.stop(self.child("redis"))

    def start_redis(self) -> None:
        """Redis at the same port, with its data."""
        servers.start_redis(self.place.children, self.place.state, port=self.redis_port)

    def stop_mongodb(self) -> None:
        """MongoDB ends."""
        self.place.children.stop(self.child("mongodb"))

    def start_mongodb(self) -> None:
        """MongoDB at the same port, with its data."""
        servers.start_mongodb(self.place.children, self.place.state, port=self.mongodb_port)

    def redis(self, *words: str) -> bytes:
        """Sends Redis a command."""
        parts = [b"*%d\r\n" % len(words)]
        parts += [b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()) for word in words]
        return servers.exchange(self.redis_port, b"".join(parts))

    def unreadable_entry(self) -> None:
        """An entry of the booking log that no build can read."""
        answer = self.redis("XADD", "hf1:{p00}:log", "*", "garbage", "in")
        if not answer.startswith(b"$"):
            raise Wrong(f"Redis takes no entry: {answer!r}")

    def drop_dead_letters(self) -> None:
        """Takes it away, as nobody can replay it."""
        self.redis("DEL", "hf1:{p00}:dead_letters")


def faults(breaker: Breaker) -> List[Fault]:
    """All faults, in their order."""
    nothing = lambda: None  # noqa: E731
    redis_follows = {
        "NoWorkerIsReady",
        "OutcomesUnknown",
        "ErrorRateHigh",
        "LiveViewStale",
        "HoldsSlow",
    }
    # A log that is full takes no beats either, so views grow old.
    full_log_follows = {"LogNearlyFull", "ErrorRateHigh", "LiveViewStale", "ArchiveLags"}
    mongodb_follows = full_log_follows | {"NoWorkerIsReady"}
    after_mongodb = mongodb_follows | {"BreakerOpen", "HoldsSlow"}
    return [
        Fault(
            "every worker is killed",
            breaker.kill_workers,
            {"WorkersGone", "ProcessDown"},
            full_log_follows,
            breaker.start_workers,
        ),
        Fault(
            "Redis is stopped",
            breaker.stop_redis,
            {"BreakerOpen"},
            redis_follows,
            breaker.start_redis,
        ),
        Fault(
            "MongoDB is stopped", breaker.stop_mongodb, {"BreakerOpen"}, mongodb_follows, nothing
        ),
        Fault(
            "a log fills, as MongoDB is still away",
            nothing,
            {"LogNearlyFull"},
            after_mongodb,
            breaker.start_mongodb,
        ),
        Fault(
            "an entry becomes a dead letter",
            breaker.unreadable_entry,
            {"DeadLetters"},
            set(),
            breaker.drop_dead_letters,
        ),
    ]


def await_alerts(prometheus: Prometheus, fault: Fault, lingering: Set[str]) -> float:
    """Waits until the fault's alerts fire; returns after how many seconds. Others must not."""
    began = time.monotonic()
    while True:
        firing = set(prometheus.firing())
        waited = time.monotonic() - began
        strangers = firing - fault.fires - fault.may_fire - lingering
        if strangers:
            raise Wrong(f"{fault.name}: {sorted(strangers)} fires, too, after {waited:.0f} s")
        if fault.fires <= firing:
            return waited
        if waited > FIRES_SECONDS_MAX:
            missing = sorted(fault.fires - firing)
            raise Wrong(f"{fault.name}: {missing} does not fire, but {sorted(firing)}")
        time.sleep(POLL_SECONDS)


def await_quiet(prometheus: Prometheus, names: Set[str]) -> float:
    """Waits until these no longer fire; returns after how many seconds."""
    began = time.monotonic()
    while names & set(prometheus.firing()):
        if time.monotonic() - began > QUIET_SECONDS_MAX:
            raise Wrong(f"{prometheus.firing()} still fires {QUIET_SECONDS_MAX} s after the end")
        time.sleep(POLL_SECONDS)
    return time.monotonic() - began


def watch_health(prometheus: Prometheus) -> None:
    """Nothing fires, and nothing is about to, beside a sale that goes well."""
    until = time.monotonic() + HEALTHY_SECONDS
    while time.monotonic() < until:
        found = [one["labels"]["alertname"] for one in prometheus.get("alerts", {})["alerts"]]
        firing = prometheus.firing()
        if firing:
            raise Wrong(f"a healthy run fires {firing}")
        time.sleep(POLL_SECONDS)
    say(
        f"ok       a healthy run fires nothing for {HEALTHY_SECONDS} s"
        + (f"; pending: {found}" if found else "")
    )
    up = prometheus.get("query", {"query": "up"})["result"]
    if len(up) != 4 or any(one["value"][1] != "1" for one in up):
        raise Wrong(f"not all four processes are scraped: {up}")


def look(args: argparse.Namespace, children: Children, state: Path) -> int:
    """Starts all, breaks it, looks."""
    programs = built(args.programs) if args.programs else run.build(children, state, args.profile)
    place = Place(
        children,
        state,
        programs,
        HOLDFAST_LOG_ENTRIES_MAX=str(LOG_ENTRIES_MAX),
        # So that an entry is given up at its first delivery.
        HOLDFAST_WORKER_DELIVERIES_MAX="1",
    )
    for name in place.ports:
        place.start(name)
    event, seats = create_event(place.ports["api-1"])
    apis = [f"http://127.0.0.1:{port}" for port in place.metrics_ports.values()]
    workers = [f"http://127.0.0.1:{place.ports[name]}" for name in ("worker-1", "worker-2")]
    prometheus = Prometheus(children, state / "prometheus", apis, workers)
    holds = Holds(place.ports["api-1"], event, seats)
    lingering: Set[str] = set()
    began = time.monotonic()
    watch_health(prometheus)
    for fault in faults(Breaker(place)):
        if args.only and args.only not in fault.name:
            continue
        fault.begin()
        fired = await_alerts(prometheus, fault, lingering)
        fault.end()
        line = f"ok       {fault.name}: {', '.join(sorted(fault.fires))} after {fired:.0f} s"
        if fault.end.__name__ != "<lambda>":
            line += f", quiet {await_quiet(prometheus, fault.fires):.0f} s after its end"
            # Rates over two minutes remember what was.
            lingering = set(prometheus.firing())
        say(line)
    await_quiet(prometheus, lingering)
    holds.stop()
    say(f"Every fault fires its alert, and no other ({time.monotonic() - began:.0f} s).")
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
    parser.add_argument("--state", default=str(ROOT / ".holdfast/alerts"), help="data and logs")
    parser.add_argument("--only", help="only faults whose name has this text")
    args = parser.parse_args()
    state = Path(args.state).resolve()
    return in_fresh(state, lambda children: look(args, children, state))


if __name__ == "__main__":
    sys.exit(main())
