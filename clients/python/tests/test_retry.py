"""Lost replies, refusals and silence."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from conftest import Proxy, admin, client, new_event, until

from holdfast_client import NoAnswerError, RateLimitedError, Retry, UnexpectedAnswerError

FAST = Retry(first_pause_seconds=0.02)


# What a proxy says whose server is away.
BAD_GATEWAY = (502, {"content-type": "text/html"}, b"<h1>Bad gateway</h1>")


def once(*verdicts: Any) -> Any:
    """Interferes with the first requests only."""
    left = list(reversed(verdicts))
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
    # Two seats, not four. The count may come from a view that is a moment old: until it has the hold.
    reader = client()
    available = until(lambda: reader.availability(event), lambda one: bool(one.get("held_seats")))
    assert available.get("held_seats") == 2
    assert len(ann.get_booking(held["id"])["seats"]) == 2


def test_lost_reply_of_a_cancellation_is_sent_again_under_its_key(proxy: Proxy) -> None:
    event = new_event()["id"]
    ann = client(proxy.url, retry=FAST)
    held = ann.hold({"event_id": event, "seat_ids": [1]})
    proxy.requests.clear()
    proxy.interfere = once("lose reply")
    assert ann.cancel(held["id"])["status"] == "CANCELLED"
    assert len(proxy.requests) >= 2
    assert len({request["idempotency-key"] for request in proxy.requests}) == 1
    proxy.requests.clear()
    assert ann.cancel(held["id"], idempotency_key="my-own-key")["status"] == "CANCELLED"
    assert proxy.requests[0]["idempotency-key"] == "my-own-key"


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


def test_bad_gateway_is_sent_again_but_not_where_that_could_happen_twice(proxy: Proxy) -> None:
    event = new_event()["id"]
    ann = client(proxy.url, retry=FAST)
    proxy.interfere = once(BAD_GATEWAY, BAD_GATEWAY)
    assert ann.hold({"event_id": event, "seat_ids": [1]})["status"] == "HOLD"
    assert len(proxy.requests) == 3
    assert len({request["idempotency-key"] for request in proxy.requests}) == 1
    proxy.interfere = once(BAD_GATEWAY)
    section: Any = {"name": "Floor", "price": 1, "capacity": 1}
    with pytest.raises(UnexpectedAnswerError) as refused:
        ann.create_event({"name": "Once", "sections": [section]})
    assert refused.value.status == 502


def test_bad_gateway_does_not_end_the_waiting(proxy: Proxy) -> None:
    event = new_event()["id"]
    admin().enable_waiting_room(event, {"max_concurrent": 1, "session_duration": 60, "claim_window": 60})
    ann = client(proxy.url, retry=Retry(attempts=1))
    token = ann.join_waiting_room(event)["token"]
    assert token is not None
    proxy.requests.clear()
    proxy.interfere = once(BAD_GATEWAY, BAD_GATEWAY)
    inside = ann.wait_for_admission(event, token=token)
    assert (inside.token, inside.status["status"]) == (token, "admitted")
    assert len(proxy.requests) >= 3


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
