"""Lost replies, refusals and silence."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from conftest import Proxy, client, new_event

from holdfast_client import NoAnswerError, RateLimitedError, Retry

FAST = Retry(first_pause_seconds=0.02)


def once(verdict: Any) -> Any:
    """Interferes with the first request only."""
    left = [verdict]
    return lambda _: left.pop() if left else None


def refusal(status: int, error: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    problem = {
        "type": f"urn:holdfast:problem:{error}",
        "title": error,
        "status": status,
        "detail": error,
        "error": error,
        "trace_id": "0" * 32,
    }
    headers = {"content-type": "application/problem+json", **headers}
    return status, headers, json.dumps(problem).encode()


def test_lost_reply_is_sent_again_under_its_key_and_is_one_hold(proxy: Proxy) -> None:
    event = new_event()["id"]
    ann = client(proxy.url, retry=FAST)
    proxy.interfere = once("lose reply")
    held = ann.hold({"event_id": event, "quantity": 2})
    keys = [request["idempotency-key"] for request in proxy.requests]
    assert len(keys) == 2 and keys[0] == keys[1]
    assert client().availability(event).get("held_seats", 0) <= 2
    assert len(ann.get_booking(held["id"])["seats"]) == 2


def test_retry_after_is_kept(proxy: Proxy) -> None:
    event = new_event()["id"]
    proxy.interfere = once(refusal(429, "rate_limit_exceeded", {"retry-after": "1"}))
    began = time.monotonic()
    client(proxy.url, retry=FAST).get_event(event)
    assert time.monotonic() - began >= 1.0
    assert len(proxy.requests) == 2


def test_long_retry_after_is_raised_with_its_time(proxy: Proxy) -> None:
    proxy.interfere = once(refusal(429, "rate_limit_exceeded", {"retry-after": "3600"}))
    with pytest.raises(RateLimitedError) as refused:
        client(proxy.url).list_events()
    assert refused.value.retry_after_seconds == 3600
    assert len(proxy.requests) == 1


def test_event_in_doubt_is_not_created_twice(proxy: Proxy) -> None:
    proxy.interfere = lambda _: "lose reply"
    section: Any = {"name": "Floor", "price": 1, "capacity": 1}
    with pytest.raises(NoAnswerError):
        client(proxy.url, retry=FAST).create_event({"name": "Once", "sections": [section]})
    assert len(proxy.requests) == 1


def test_expired_token_is_renewed_once(proxy: Proxy) -> None:
    tokens = iter(["old", "new"])
    stale = refusal(401, "token_expired", {})

    def answer(request: Any) -> Any:
        if request.headers["authorization"] == "Bearer old":
            return stale
        return 200, {"content-type": "application/json"}, b'{"events": []}'

    proxy.interfere = answer
    ann = client(proxy.url, token=lambda: next(tokens))
    assert ann.list_events()["events"] == []
    assert len(proxy.requests) == 2
