"""The event to buy from, its buyers, and how they choose seats."""

import itertools
import json
import os
import random
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any, Dict, List, NamedTuple, Optional

import gevent

BASE_URL = (os.environ.get("BASE_URL") or "http://127.0.0.1:8000").rstrip("/")
ADMIN_KEY = os.environ.get("ADMIN_KEY", "")
SEATS = int(os.environ.get("SEATS") or 2_000)
# Mean of a buyer's pauses, seconds.
THINK = float(os.environ.get("THINK") or 2)

SEATS_A_ROW = 50
SETUP_SECONDS_MAX = 30
# In a seat map as bytes: free seats, in upper case where a row begins.
AVAILABLE, ROW_BEGINS = (ord("a"), ord("A")), range(ord("A"), ord("Z") + 1)


@dataclass
class Sale:
    """The event to buy from: set before users begin."""

    event: int = 0
    total: int = 0
    # Keeps users of different runs apart.
    run: str = ""

    def set(self, event: int, total: int, run: str) -> None:
        """Names the event."""
        self.event, self.total, self.run = event, total, run


SALE = Sale()
VISITS = itertools.count(1)


def tokens() -> List[str]:
    """Bearer tokens, one a line; without a file users are named by `X-User-Id`."""
    path = os.environ.get("TOKENS_FILE")
    if not path:
        return []
    with open(path) as file:
        found = [line.strip() for line in file if line.strip()]
    if not found:
        raise SystemExit(f"TOKENS_FILE={path} has no tokens")
    return found


TOKENS = tokens()


class Person(NamedTuple):
    """A user of Holdfast's: a new one each visit."""

    name: str
    headers: Dict[str, str]


def new_person(kind: str) -> Person:
    """The next user, with a token of TOKENS_FILE or a name."""
    number = next(VISITS)
    name = f"{SALE.run}-{kind}-{number}"
    if TOKENS:
        return Person(name, {"Authorization": "Bearer " + TOKENS[number % len(TOKENS)]})
    return Person(name, {"X-User-Id": name})


def think() -> None:
    """Pauses as long as a person does."""
    if THINK > 0:
        gevent.sleep(min(random.expovariate(1 / THINK), THINK * 5))


def choose(seats: bytes, wanted: int) -> List[int]:
    """Free seats side by side, those in front more often than others."""
    free = [at for at in range(1, len(seats)) if seats[at] in AVAILABLE]
    if not free:
        return []
    at = int(random.random() ** 3 * len(free))
    chosen = [free[at]]
    for seat in free[at + 1 : at + wanted]:
        if seat != chosen[-1] + 1 or seats[seat] in ROW_BEGINS:
            break
        chosen.append(seat)
    return chosen


def find_or_make(base_url: str) -> None:
    """Sets the event: that of EVENT_ID, or a new one. Exits with a message where there is none."""
    event = os.environ.get("EVENT_ID")
    url = base_url.rstrip("/") + "/api/v1/events"
    run = f"locust-{int(time.time()):x}-{os.getpid()}"
    if event:
        found = administer("GET", f"{url}/{event}", None)
    else:
        rows = [
            {"row": f"R{number}", "seats": min(SEATS_A_ROW, SEATS - at)}
            for number, at in enumerate(range(0, SEATS, SEATS_A_ROW), 1)
        ]
        sections = [{"name": "Hall", "price": 4500, "rows": rows}]
        found = administer("POST", url, {"name": "Locust", "currency": "EUR", "sections": sections})
    SALE.set(found["id"], found["total_seats"], run)


def administer(method: str, url: str, body: Optional[Dict[str, Any]]) -> Dict[str, Any]:
    """A request of an admin's, before the run."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if ADMIN_KEY:
        headers["X-Admin-Key"] = ADMIN_KEY
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=SETUP_SECONDS_MAX) as response:
            return dict(json.load(response))
    except urllib.error.HTTPError as error:
        mend = " Set ADMIN_KEY, or EVENT_ID." if error.code in (401, 403) else ""
        sys.exit(f"{method} {url}: {error.code} {error.read()[:300].decode()}{mend}")
    except (OSError, ValueError) as error:
        sys.exit(f"{url} does not answer ({error}). Start Holdfast (make run), or set BASE_URL.")
