#!/usr/bin/env python3
"""A sale to watch: what `make demo` does.

It starts what `make run` starts, or uses the one that runs, opens a new event with a waiting room,
and releases a bounded crowd of simulated buyers at it over HTTP (bench/flash-sale): the map fills,
the line moves, refusals count up, abandoned seats come back. It ends by itself, with a summary and
the verdict of `holdfastctl verify`; its exit status is 0 if that is clean. Ctrl-C ends it at any time.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import run
import servers
import summary
from api import describe, http
from banner import Addresses, Running
from build import build
from crowd import Crowd, verify
from demo_events import sale_event
from packages import ROOT, Missing, say
from process import Children, Instance, Stopped, holder, stop_leftovers, stop_on_signals
from progress import ProgressLine

BUYERS = 700
BUYERS_MAX = 5_000
COUNTDOWN_SECONDS = 8
# So few may be inside at once that a line forms, and so many that it moves.
ROOM = "max_concurrent=80&session_duration=20&claim_window=10"
DRAW_SECONDS = 0.25


def main() -> int:
    """The command line."""
    parser = run.arguments(__doc__)
    parser.add_argument(
        "--buyers", type=int, default=BUYERS, help=f"how many come (default {BUYERS})"
    )
    parser.add_argument(
        "--countdown",
        type=int,
        default=COUNTDOWN_SECONDS,
        metavar="SECONDS",
        help=f"time to open the page before they come (default {COUNTDOWN_SECONDS})",
    )
    args = parser.parse_args()
    if not 1 <= args.buyers <= BUYERS_MAX or args.countdown < 0:
        parser.error(f"--buyers must be 1 to {BUYERS_MAX}, --countdown 0 or more")
    run.read_dotenv(ROOT / ".env")
    return run.exit_status(lambda: demo(args))


def demo(args: argparse.Namespace) -> int:
    """Uses the Holdfast that runs here, or starts one for as long as the sale takes."""
    api = run.api_address()
    state = run.state_folder(args, api)
    owner = holder(state)
    if owner is None:
        return run.supervise(args, api, own_sale)
    return attach(args, running(api, state, owner))


def running(api: run.Address, state: Path, owner: str) -> Running:
    """The Holdfast that another process has started."""
    ready = http("GET", api.url() + "/health/ready")
    if ready[0] != 200:
        raise Missing(
            f"Holdfast runs from {state} (process {owner}), and is not ready: {describe(ready)}",
            "wait until it says that it is running, then try again",
        )
    urls = {}
    ports = run.last_ports(state)
    for name, scheme in (("redis", "redis"), ("mongodb", "mongodb")):
        variable = f"HOLDFAST_{name.upper()}_URL"
        urls[variable] = os.environ.get(variable) or f"{scheme}://{servers.HOST}:{ports.get(name)}"
        if not os.environ.get(variable) and name not in ports:
            raise Missing(
                f"the {name} of the Holdfast that runs is not known here",
                f"set {variable} as it was set for `make run`",
            )
    redis, mongodb = urls.values()
    return Running(api.url(), Addresses(api.url()), redis, mongodb, state, {}, urls, "")


def attach(args: argparse.Namespace, there: Running) -> int:
    """Shows a sale on a Holdfast that runs, and leaves it running."""
    state = there.state / "demo"
    instance, children = Instance(state), Children(state / "pids")
    children.pid_dir.mkdir(exist_ok=True)
    stop_on_signals(children)
    try:
        stop_leftovers(children.pid_dir)
        programs = build(children, state, args.profile)
        return sale(args, children, there._replace(programs=programs))
    except Stopped:
        say("\nStopping the crowd ... Its event stays, and its holds end by themselves.")
        return 0
    finally:
        children.stop_all()
        instance.file.close()


# -- The sale --------------------------------------------------------------------------------


def own_sale(args: argparse.Namespace, children: Children, there: Running) -> int:
    """Shows a sale on a Holdfast that ends with it."""
    status = sale(args, children, there)
    say("The data stay: `make run` shows the same pages again.\n")
    return status


def sale(args: argparse.Namespace, children: Children, there: Running) -> int:
    """Opens the event, releases the crowd, and reports; returns the exit status."""
    event = open_event(there.api)
    say(introduction(there, event, args.buyers))
    with ProgressLine() as line:
        until = time.monotonic() + args.countdown
        while time.monotonic() < until:
            left = until - time.monotonic()
            line.show(f"The crowd comes in {left:.0f} s. Open the page now.")
            children.watch()
            time.sleep(DRAW_SECONDS)
    crowd = Crowd(children, there, event, args.buyers)
    with ProgressLine() as line:
        crowd.follow(line)
    outcome = crowd.outcome()
    verdict = verify(children, there, event)
    seats = http("GET", f"{there.api}/api/v1/events/{event}/availability", user="demo-summary")[1]
    say(summary.text(outcome, seats, sale_event()["currency"], verdict.words))
    return 0 if crowd.is_clean() and verdict.is_clean else 1


def introduction(there: Running, event: int, buyers: int) -> str:
    """What is going to be seen, and where; fits 80 columns."""
    strong, plain = ("\033[1m", "\033[0m") if sys.stderr.isatty() else ("", "")
    return f"""
{strong}A sale to watch: {buyers} buyers want the seats of event {event}.{plain}

  Buyer's page  {there.api}/events/{event}
  Console       {there.api}/console

It ends by itself within a few minutes; Ctrl-C ends it at once.
"""


def open_event(api: str) -> int:
    """Creates the event and switches its waiting room on."""
    made = http("POST", api + "/api/v1/events", sale_event())
    if made[0] != 201:
        raise Missing(
            f"the event could not be made: {describe(made)}",
            "DEMO_ADMIN_KEY names the admin key, where the API has one",
        )
    event = int(made[1]["id"])
    room = http("POST", f"{api}/api/v1/events/{event}/waiting-room/enable?{ROOM}")
    if room[0] != 200:
        raise Missing(f"its waiting room is not on: {describe(room)}", "see the API's log")
    return event


if __name__ == "__main__":
    sys.exit(main())
