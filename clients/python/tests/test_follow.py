"""Sockets against a real server."""

from __future__ import annotations

import asyncio
import socket

import pytest
from conftest import URL, admin, client, new_event, someone

from holdfast_client import AsyncHoldfast, ProblemError


def test_seats_follow_the_server_and_resume_after_a_break() -> None:
    event = new_event()["id"]
    ann = client()
    types = []
    held = None
    with ann.follow(event) as follower:
        for message in follower:
            types.append(message["type"])
            assert follower.seats is not None or message["type"] == "connected"
            if message["type"] == "snapshot":
                assert follower.seats is not None and len(follower.seats) == 20
                assert [seat for seat in range(1, 21) if follower.seats.begins_row(seat)] == [1, 11]
                # The socket breaks, and a seat changes meanwhile.
                assert follower._socket is not None
                follower._socket.socket.shutdown(socket.SHUT_RDWR)
                held = client().hold({"event_id": event, "seat_ids": [7]})
            if follower.seats is not None and follower.seats[7] == "HOLD":
                break
    assert held is not None
    assert types.count("snapshot") == 1 and "gap" not in types


def test_gap_is_followed_by_a_snapshot() -> None:
    event = new_event()["id"]
    types = []
    with client().follow(event) as follower:
        follower._progress.resume = "999-1"
        for message in follower:
            types.append(message["type"])
            if message["type"] == "snapshot":
                break
    assert types == ["connected", "gap", "snapshot"]


def test_unknown_event_is_an_error() -> None:
    with client().follow(4_000_000_000) as follower, pytest.raises(ProblemError) as refused:
        next(iter(follower))
    assert refused.value.code == "event_unknown"


def test_waiting_room_is_pushed() -> None:
    event = new_event()["id"]
    admin().enable_waiting_room(
        event, {"max_concurrent": 1, "session_duration": 300, "claim_window": 120}
    )

    async def wait() -> None:
        async with AsyncHoldfast(URL, user=someone()) as ann:
            bob = ann.for_user(someone())
            inside = await ann.wait_for_admission(event)
            assert inside.token is not None
            place = await bob.join_waiting_room(event)
            async with bob.follow(event, waiting_room_token=place["token"]) as follower:
                async for message in follower:
                    if message["type"] == "registration_confirmed":
                        await ann.leave_waiting_room(event, inside.token)
                    if message["type"] == "admitted":
                        token = message["token"]
                        break
            held = await bob.hold({"event_id": event, "seat_ids": [1]}, waiting_room_token=token)
            assert held["status"] == "HOLD"

    asyncio.run(asyncio.wait_for(wait(), 60))
