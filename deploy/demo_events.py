"""The demo events: two of `make run`, and one for each sale of `make demo`."""

import time
from typing import Any, Dict, List

from api import describe, http
from packages import say

DEMO_SALE_DAYS = 30


def rows(names: str, seats: int) -> List[Dict[str, Any]]:
    """Rows of equal length."""
    return [{"row": name, "seats": seats} for name in names]


def common() -> Dict[str, Any]:
    """What all of them have."""
    starts_at = time.strftime(
        "%Y-%m-%dT20:00:00Z", time.gmtime(time.time() + DEMO_SALE_DAYS * 86400)
    )
    return {"currency": "EUR", "starts_at": starts_at}


def demo_events() -> List[Dict[str, Any]]:
    """Event 1 with 992 seats in rows, event 2 with tickets by number."""
    seated = {
        "name": "Holdfast Demo Night",
        "description": "Reserved seats in rows",
        "venue": "Holdfast Hall",
        "sections": [
            {"name": "Stalls", "price": 8900, "rows": rows("ABCDEFGHIJKLMNOPQRST", 24)},  # 480
            {"name": "Circle", "price": 6500, "rows": rows("ABCDEFGHIJKL", 24)},  # 288
            {"name": "Balcony", "price": 3900, "rows": rows("ABCDEFGH", 24)},  # 192
            {"name": "Boxes", "price": 12900, "rows": rows("ABCD", 8)},  # 32
        ],
    }
    standing = {
        "name": "Holdfast Open Air",
        "description": "General admission",
        "venue": "Holdfast Park",
        "sections": [
            {"name": "Front", "price": 5900, "capacity": 100},
            {"name": "Lawn", "price": 2900, "capacity": 400},
        ],
    }
    return [dict(common(), **seated), dict(common(), **standing)]


def sale_event() -> Dict[str, Any]:
    """The event of a sale to watch: 900 seats, and holds so short that abandoned ones come back
    while one watches."""
    sections = [
        {"name": "Stalls", "price": 8900, "rows": rows("ABCDEFGHIJKLMNOP", 24)},  # 384
        {"name": "Circle", "price": 6500, "rows": rows("ABCDEFGHIJ", 26)},  # 260
        {"name": "Balcony", "price": 3900, "rows": rows("ABCDEFGH", 28)},  # 224
        {"name": "Boxes", "price": 12900, "rows": rows("ABCD", 8)},  # 32
    ]
    own = {
        "name": "Holdfast Live",
        "description": "A sale to watch: a simulated crowd buys",
        "venue": "Holdfast Hall",
        "hold_ttl_seconds": 30,
        "max_hold_seconds": 300,
        "sections": sections,
    }
    return dict(common(), **own)


def create_demo_events(api: str) -> None:
    """Makes events 1 and 2 where they are not. Without them Holdfast runs all the same."""
    for number, event in enumerate(demo_events(), 1):
        if http("GET", f"{api}/api/v1/events/{number}")[0] != 404:
            continue
        answer = http("POST", api + "/api/v1/events", event)
        if answer[0] != 201:
            say("The demo event {!r} could not be made: {}".format(event["name"], describe(answer)))
