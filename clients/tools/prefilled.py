"""Sends every operation as a documentation page has it filled in, and expects it to succeed.

Only a booking's id and the name of a page's script are put in: an example cannot know them. API_URL names the server; its events 1 and 2
are those of `make run`.
"""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from typing import Any

from tools import DOCUMENT

API = os.environ["API_URL"]
# The answer that shows the route works: there is no draw, signature, token or dead letter, and this is no socket.
EXPECTED = {
    "get_draw": 404,
    "open_socket": 426,
    "handle_payment_webhook": 400,
    "redirect_to_docs": 308,
    "get_queue_status": 400,
    "leave_waiting_room": 400,
    "replay_dead_letter": 404,
}
# In an order in which each finds what it needs; the rest follows.
ORDER = ["create_event", "hold_seats", "extend_booking", "confirm_booking", "pay_booking", "enable_waiting_room",
         "join_waiting_room", "disable_waiting_room"]
ENDLESS = {"text/event-stream", "application/x-ndjson"}


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Shows redirects."""

    def redirect_request(self, *_: Any) -> None:
        return None


OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect)


def send(method: str, path: str, headers: dict[str, str], body: Any) -> tuple[int, Any]:
    """The status and the JSON of the answer, or None."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"user-agent": "Mozilla/5.0", "accept": "*/*", **headers}
    if data:
        headers["content-type"] = "application/json"
    request = urllib.request.Request(API + path, data, headers, method=method)
    try:
        with OPENER.open(request, timeout=30) as response:
            if response.headers["content-type"] in ENDLESS:
                return response.status, None
            text = response.read()
            return response.status, json.loads(text) if text[:1] == b"{" else None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or b"null")


def script_of_a_page() -> str:
    """The name of a file that the front page loads."""
    with OPENER.open(API + "/", timeout=30) as response:
        found = re.search(r'"/assets/([^"]+)"', response.read().decode())
    assert found
    return found[1]


def filled(
    operation: dict[str, Any], path: str, known: dict[str, str]
) -> tuple[str, dict[str, str], Any]:
    """The path, headers and body of an operation's examples."""
    headers: dict[str, str] = {}
    query = []
    for parameter in operation.get("parameters", []):
        example = parameter.get("example", parameter.get("schema", {}).get("example"))
        if parameter["name"] == "booking_id" or example is None:
            example = known.get(parameter["name"])
        if example is None:
            assert not parameter.get("required") or parameter["name"] == "Stripe-Signature", parameter
        elif parameter["in"] == "path":
            path = path.replace("{%s}" % parameter["name"], str(example))
        elif parameter["in"] == "header":
            headers[parameter["name"]] = str(example)
        else:
            query.append(f"{parameter['name']}={example}")
    media = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return path + ("?" + "&".join(query) if query else ""), headers, media.get("example")


def main() -> None:
    """Sends all of them."""
    document = json.loads(DOCUMENT.read_text())
    operations = {
        operation["operationId"]: (method.upper(), path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }
    known, failures = {"file": script_of_a_page()}, []
    for name in ORDER + sorted(set(operations) - set(ORDER)):
        method, path, operation = operations[name]
        path, headers, body = filled(operation, path, known)
        if {"admin_key": []} in operation["security"]:
            headers["X-Admin-Key"] = os.environ["CONTRACT_ADMIN_KEY"]
        status, answer = send(method, path, headers, body)
        if name == "hold_seats" and answer:
            known["booking_id"] = answer.get("id", "")
        if status != EXPECTED.get(name, status if 200 <= status < 300 else None):
            failures.append(f"{method} {path}: {status} {json.dumps(answer)[:300]}")
    print("\n".join(failures))
    print(f"{len(operations) - len(failures)} passed, {len(failures)} failed")
    if failures:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
