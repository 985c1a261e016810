#!/usr/bin/env python3
"""Restarts two API processes and two workers one after the other, under load behind nginx: `make rolling`.

nginx runs with deploy/nginx/nginx.conf, on other ports. Buyers hold, pay and release, readers look at maps,
a WebSocket and an event stream follow. No client may see a reset, a 5xx other than a 503 with `Retry-After`, or a
503 that outlasts its retries; each booking that was answered exists once and in its state; a follower
is back within seconds; and `holdfastctl verify` finds Redis, booking log and archive in agreement.
"""

import argparse
import csv
import io
import sys
import time
from pathlib import Path
from typing import List

import run
from api import http
from followers import Follower, Stream, WebSocket
from packages import ROOT, say
from place import Place, built, create_event, in_fresh
from process import Children
from rolling_load import Books, Load

SETTLE_SECONDS_MAX = 60
# Requests answered 503, of all.
UNAVAILABLE_SHARE_MAX = 0.01
AWAY_SECONDS_MAX = 5.0
ENDED = ("CANCELLED", "EXPIRED")


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
    say(
        f"503 with Retry-After: {dict(books.unavailable)}; slowest answer {books.slowest_ms:.0f} ms"
    )
    say(
        f"bookings: {len(states)}, {states.count('CONFIRMED')} confirmed; verify: {text.splitlines()[-1]}"
    )
    for follower in followers:
        name, away = type(follower).__name__, follower.away_seconds_max
        say(
            f"{name}: {follower.updates} updates, {follower.connections} connections, away {away:.1f} s at most"
        )
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
    parser.add_argument(
        "--programs", type=Path, metavar="DIR", help="take them from there: build nothing"
    )
    parser.add_argument("--state", default=str(ROOT / ".holdfast/rolling"), help="data and logs")
    parser.add_argument("--rounds", type=int, default=2, help="restarts of each process (2)")
    parser.add_argument("--pause", type=float, default=2.0, help="seconds between two restarts (2)")
    parser.add_argument("--buyers", type=int, default=12, help="buyers at the same time (12)")
    parser.add_argument("--readers", type=int, default=4, help="readers at the same time (4)")
    args = parser.parse_args()
    state = Path(args.state).resolve()
    return in_fresh(state, lambda children: roll(args, children, state))


if __name__ == "__main__":
    sys.exit(main())
