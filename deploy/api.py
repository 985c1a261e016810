"""Requests to the API."""

import json
import os
import urllib.error
import urllib.request
from typing import Any, Dict, Optional, Tuple

HTTP_SECONDS_MAX = 10

# Proxies are for the world outside.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def http(
    method: str, url: str, body: Optional[Dict[str, Any]] = None, user: str = ""
) -> Tuple[int, Any]:
    """(status, JSON); status 0 if nothing answers."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    # Where the API has keys; on a developer's machine it needs none.
    key = os.environ.get("DEMO_ADMIN_KEY")
    if key:
        headers["x-admin-key"] = key
    if user:
        headers["x-user-id"] = user
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
