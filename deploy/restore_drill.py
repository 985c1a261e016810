#!/usr/bin/env python3
"""Restores an older archive, with an empty Redis: docs/DEPLOYMENT.md, "Backup and restore". `make restore-drill`

The backup is a copy of the stopped MongoDB's folder, as mongodump may not be here; what follows is the same. Bookings
of before it are sold afterwards, as they were; those of after it are gone, their seats are sold again, and
`holdfastctl verify` finds nothing wrong.
"""

import argparse
import shutil
import sys
import time
from pathlib import Path
from typing import Dict, List, Tuple

import run
import servers
from api import http
from packages import ROOT, say
from place import Place, Wrong, built, create_event, in_fresh
from process import Child, Children

BEFORE, AFTER = 30, 10
SETTLE_SECONDS_MAX = 60
PROCESSES = ("worker-1", "api-1")


class Drill:
    """A place with one API and one worker, whose services can be stopped."""

    def __init__(self, place: Place) -> None:
        self.place, self.children, self.state = place, place.children, place.state
        self.api = f"http://127.0.0.1:{place.ports['api-1']}"
        self.ports = {
            name: int(place.env[f"HOLDFAST_{name.upper()}_URL"].rsplit(":", 1)[1])
            for name in ("redis", "mongodb")
        }

    def child(self, name: str) -> Child:
        """A running child."""
        return next(child for child in self.children.children if child.name == name)

    def stop(self, *names: str) -> None:
        """Stops processes."""
        for name in names:
            self.children.stop(self.child(name))

    def start_services(self, *names: str) -> None:
        """Starts services at their ports."""
        starts = {"redis": servers.start_redis, "mongodb": servers.start_mongodb}
        for name in names:
            starts[name](self.children, self.state, port=self.ports[name])

    def sell(self, event: int, seats: List[int]) -> Dict[str, str]:
        """Sells each seat to a user of its own; returns bookings and their users."""
        sold = {}
        for seat in seats:
            user = f"user-{seat}"
            body = {"event_id": event, "seat_ids": [seat]}
            status, held = http("POST", self.api + "/api/v1/bookings", body, user)
            if status != 201:
                raise Wrong(f"seat {seat}: {status} {held}")
            booking = f"{self.api}/api/v1/bookings/{held['id']}"
            http("POST", booking + "/confirm", {"payment_method": "card_ok"}, user)
            sold[held["id"]] = user
        for booking, user in sold.items():
            self.await_state(booking, user, "CONFIRMED")
        return sold

    def await_state(self, booking: str, user: str, state: str) -> None:
        """Waits until a booking is in a state."""
        deadline = time.monotonic() + SETTLE_SECONDS_MAX
        answer: Tuple[int, object] = (0, None)
        while time.monotonic() < deadline:
            answer = http("GET", f"{self.api}/api/v1/bookings/{booking}", user=user)
            if answer[0] == 200 and answer[1]["status"] == state:  # type: ignore[index]
                return
            time.sleep(0.1)
        raise Wrong(f"{booking} is not {state}: {answer}")

    def await_health(self) -> None:
        """Waits until the API reaches everything again: its circuit breakers close by themselves."""
        url = self.api + "/health/ready"
        is_whole = lambda: (http("GET", url)[1] or {}).get("status") == "ok"  # noqa: E731
        self.children.wait_until(is_whole, "the API is not healthy", SETTLE_SECONDS_MAX)

    def verify(self) -> None:
        """Redis, booking log and archive agree."""
        status, text = self.place.holdfastctl("verify", "--wait-seconds", "60")
        if status != 0:
            raise Wrong(f"verify ended with {status}:\n{text}")


def drill(args: argparse.Namespace, children: Children, state: Path) -> int:
    """Sells, backs up, sells, restores, compares."""
    programs = built(args.programs) if args.programs else run.build(children, state, args.profile)
    it = Drill(Place(children, state, programs))
    for name in PROCESSES:
        it.place.start(name)
    event, seats = create_event(it.place.ports["api-1"])
    kept = it.sell(event, seats[:BEFORE])
    it.stop("mongodb")
    shutil.copytree(state / "mongodb", state / "backup")
    it.start_services("mongodb")
    it.await_health()
    lost = it.sell(event, seats[BEFORE : BEFORE + AFTER])
    it.verify()
    it.stop("api-1", "worker-1", "redis", "mongodb")
    for folder in ("mongodb", "redis"):
        shutil.rmtree(state / folder)
    shutil.copytree(state / "backup", state / "mongodb")
    it.start_services("redis", "mongodb")
    for name in PROCESSES:
        it.place.start(name)
    it.await_health()
    for booking, user in kept.items():
        it.await_state(booking, user, "CONFIRMED")
    for booking, user in lost.items():
        answer = http("GET", f"{it.api}/api/v1/bookings/{booking}", user=user)
        if answer[0] != 404:
            raise Wrong(f"{booking} was sold after the backup: {answer}")
    answer = http(
        "POST", it.api + "/api/v1/bookings", {"event_id": event, "seat_ids": [seats[0]]}, "x"
    )
    if answer[0] != 409:
        raise Wrong(f"a seat of before the backup is sold again: {answer}")
    it.sell(event, seats[BEFORE : BEFORE + AFTER])
    it.verify()
    say(
        f"{len(kept)} bookings of before the backup are sold, {len(lost)} seats of after it are sold again."
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
    parser.add_argument(
        "--state", default=str(ROOT / ".holdfast/restore-drill"), help="data and logs"
    )
    args = parser.parse_args()
    state = Path(args.state).resolve()
    return in_fresh(state, lambda children: drill(args, children, state))


if __name__ == "__main__":
    sys.exit(main())
