"""The two demo events of `make run`, made through the API."""

import json
import os
import time
import urllib.error
import urllib.request
from typing import Any, Dict, List, Optional, Tuple

from packages import say

HTTP_SECONDS_MAX = 10
DEMO_SALE_DAYS = 30

# Proxies are for the world outside.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def http(method: str, url: str, body: Optional[Dict[str, Any]] = None) -> Tuple[int, Any]:
    """(status, JSON); status 0 if nothing answers."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    # Where the API has keys; on a developer's machine it needs none.
    key = os.environ.get("DEMO_ADMIN_KEY")
    if key:
        headers["x-admin-key"] = key
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with OPENER.open(request, timeout=HTTP_SECONDS_MAX) as response:
            return response.status, parse_json(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, parse_json(error.read())
    except (OSError, ValueError):
        return 0, None


def parse_json(text: bytes) -> Any:
    """JSON, or None."""
    try:
        return json.loads(text.decode())
    except ValueError:
        return None


def describe(answer: Tuple[int, Any]) -> str:
    """An answer in a line."""
    status, body = answer
    return "{} {}".format(
        status or "no answer", json.dumps(body) if body is not None else ""
    ).strip()


def rows(names: str, seats: int) -> List[Dict[str, Any]]:
    """Rows of equal length."""
    return [{"row": name, "seats": seats} for name in names]


def demo_events() -> List[Dict[str, Any]]:
    """Event 1 with 992 seats in rows, event 2 with tickets by number."""
    starts_at = time.strftime(
        "%Y-%m-%dT20:00:00Z", time.gmtime(time.time() + DEMO_SALE_DAYS * 86400)
    )
    common = {"currency": "EUR", "starts_at": starts_at}
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
    return [dict(common, **seated), dict(common, **standing)]


def create_demo_events(api: str) -> None:
    """Makes events 1 and 2 where they are not. Without them Holdfast runs all the same."""
    for number, event in enumerate(demo_events(), 1):
        if http("GET", f"{api}/api/v1/events/{number}")[0] != 404:
            continue
        answer = http("POST", api + "/api/v1/events", event)
        if answer[0] != 201:
            say("The demo event {!r} could not be made: {}".format(event["name"], describe(answer)))
