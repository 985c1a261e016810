"""Sockets against a real server."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any

import pytest
from conftest import URL, admin, client, new_event, someone
from websockets.protocol import State

from holdfast_client import AsyncHoldfast, Holdfast, ProblemError


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


def nobody() -> str:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def test_close_ends_the_wait_for_a_server_that_is_long_away() -> None:
    with Holdfast(nobody(), user=someone()) as ann:
        follower = ann.follow(1)
        # After so many failures, too, there is a next pause: 6 to 30 seconds.
        follower._progress.failures = 5000
        waits = threading.Thread(target=list, args=(follower,), daemon=True)
        waits.start()
        until = time.monotonic() + 30
        while follower._progress.failures == 5000:
            assert time.monotonic() < until, "the socket is opened, and refused"
            time.sleep(0.01)
        follower.close()
        waits.join(timeout=5)
        assert not waits.is_alive()


def test_close_ends_the_wait_with_asyncio() -> None:
    async def wait() -> None:
        async with AsyncHoldfast(nobody(), user=someone()) as ann:
            follower = ann.follow(1)
            follower._progress.failures = 5000

            async def read() -> None:
                async for _ in follower:
                    pass

            reading = asyncio.create_task(read())
            while follower._progress.failures == 5000:
                await asyncio.sleep(0.01)
            await follower.aclose()
            await asyncio.wait_for(reading, 5)

    asyncio.run(asyncio.wait_for(wait(), 30))


def test_socket_that_opens_after_close_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    event = new_event()["id"]
    follower = client().follow(event)
    open_socket, opened = follower._transport.open_socket, []

    def open_late(event: int, since: str | None) -> Any:
        opened.append(open_socket(event, since))
        follower.close()
        return opened[0]

    monkeypatch.setattr(follower._transport, "open_socket", open_late)
    assert list(follower) == []
    assert opened[0].protocol.state is State.CLOSED


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
