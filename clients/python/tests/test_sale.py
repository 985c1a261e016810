"""Whole sales against a real server, sync and asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from conftest import URL, admin, client, new_event, someone, until

from holdfast_client import (
    Admission,
    AdmissionInvalidError,
    AsyncHoldfast,
    BookingExpiredError,
    PaymentDeclinedError,
    ProblemError,
    SaleOverError,
    SeatsUnavailableError,
    WaitingRoomRequiredError,
)
from holdfast_client._schema import QueueStatusBody


def with_alternatives(hold: Callable[[], None]) -> SeatsUnavailableError:
    """The refusal of a hold. Alternatives come from a view of the seats, which has them in a moment."""

    def refusal() -> SeatsUnavailableError:
        with pytest.raises(SeatsUnavailableError) as refused:
            hold()
        return refused.value

    return until(refusal, lambda one: bool(one.alternatives))


def test_whole_sale_join_hold_conflict_pay_cancel() -> None:
    event = new_event()["id"]
    assert client().wait_for_admission(event).token is None, "without a room nobody waits"
    admin().enable_waiting_room(event, {"max_concurrent": 1, "session_duration": 60, "claim_window": 60})
    ann, bob = client(), client()
    with pytest.raises(WaitingRoomRequiredError):
        ann.hold({"event_id": event, "seat_ids": [3]})
    inside = ann.wait_for_admission(event)
    assert inside.status["status"] == "admitted"
    request = {"event_id": event, "seat_ids": [3, 4]}
    held = ann.hold(request, waiting_room_token=inside.token)  # type: ignore[arg-type]
    assert (held["status"], held["total_amount"]) == ("HOLD", 5000)

    # Bob waits behind Ann until she is done: a purchase ends her session.
    seen: list[QueueStatusBody] = []
    admitted: list[Admission] = []
    waits = threading.Thread(
        target=lambda: admitted.append(bob.wait_for_admission(event, on_status=seen.append))
    )
    waits.start()
    assert ann.extend(held["id"])["hold_expires_at"] >= held["hold_expires_at"]
    with pytest.raises(PaymentDeclinedError):
        ann.confirm(held["id"], {"payment_method": "card_declined"})
    sold = ann.confirm(held["id"], {"payment_method": "card_ok", "amount": 5000})
    assert sold["status"] == "CONFIRMED"
    assert sold["receipt"]["booking_id"] == held["id"]
    waits.join(timeout=30)
    assert admitted and seen

    def ask() -> None:
        bob.hold(
            {"event_id": event, "seat_ids": [4, 5]},
            alternatives=2,
            waiting_room_token=admitted[0].token,
        )

    conflict = with_alternatives(ask)
    assert conflict.code == "seats_unavailable" and len(conflict.trace_id) == 32
    assert {"id": 4, "status": "BOOKED"} in conflict.seats
    nearest = conflict.alternatives[0]
    assert len(nearest) == 2
    other = bob.hold({"event_id": event, "seat_ids": nearest}, waiting_room_token=admitted[0].token)
    assert bob.cancel(other["id"])["status"] == "CANCELLED"

    assert ann.cancel(held["id"])["status"] == "CANCELLED"
    with pytest.raises(ProblemError) as over:
        ann.confirm(held["id"])
    assert over.value.code == "booking_cancelled"
    assert ann.list_bookings()["bookings"][0]["id"] == held["id"]


def test_whole_sale_with_asyncio() -> None:
    event = new_event()["id"]
    admin().enable_waiting_room(event, {"max_concurrent": 1, "session_duration": 60, "claim_window": 60})

    async def sale() -> None:
        async with AsyncHoldfast(URL, user=someone()) as ann:
            bob = ann.for_user(someone())
            inside = await ann.wait_for_admission(event)
            held = await ann.hold(
                {"event_id": event, "seat_ids": [3, 4]}, waiting_room_token=inside.token
            )
            waiting = asyncio.create_task(bob.wait_for_admission(event))
            sold = await ann.confirm(held["id"], {"payment_method": "card_ok"})
            assert sold["status"] == "CONFIRMED"
            token = (await asyncio.wait_for(waiting, 30)).token
            refused = None
            # They come from a view of the seats, which has them in a moment.
            while refused is None or not refused.alternatives:
                with pytest.raises(SeatsUnavailableError) as conflict:
                    await bob.hold(
                        {"event_id": event, "seat_ids": [4]}, alternatives=1, waiting_room_token=token
                    )
                refused = conflict.value
                await asyncio.sleep(0.05)
            [nearest] = refused.alternatives
            other = await bob.hold({"event_id": event, "seat_ids": nearest}, waiting_room_token=token)
            assert (await bob.cancel(other["id"]))["status"] == "CANCELLED"
            assert (await ann.cancel(held["id"]))["status"] == "CANCELLED"

    asyncio.run(asyncio.wait_for(sale(), 60))


def test_expired_hold_is_an_error_and_frees_its_seats() -> None:
    rows = [{"row": "A", "seats": 6}]
    event = admin().create_event(
        {
            "name": "Short holds",
            "hold_ttl_seconds": 1,
            "max_hold_seconds": 1,
            "sections": [{"name": "Stalls", "price": 1000, "rows": rows}],  # type: ignore[typeddict-item]
        }
    )["id"]
    ann, bob = client(), client()
    held = ann.hold({"event_id": event, "quantity": 3})
    with pytest.raises(ProblemError) as unknown:
        bob.get_booking(held["id"])
    assert unknown.value.status == 404
    with bob.follow(event) as follower:
        for _ in follower:
            if follower.seats is not None and not follower.seats.with_status("HOLD"):
                break
    with pytest.raises(BookingExpiredError):
        ann.confirm(held["id"])


def test_waiting_ends_with_an_invalid_token_and_with_the_sale() -> None:
    event = new_event()["id"]
    admin().enable_waiting_room(event, {"max_concurrent": 1})
    ann = client()
    with pytest.raises(AdmissionInvalidError):
        ann.wait_for_admission(event, token="v1.forged")
    admin().change_event(event, {"status": "CLOSED"})
    with pytest.raises((SaleOverError, ProblemError)) as over:
        ann.wait_for_admission(event)
    # Joining is refused, or the place says so.
    error = over.value
    if isinstance(error, ProblemError):
        assert error.code == "event_closed"
    else:
        assert isinstance(error, SaleOverError) and error.status == "closed"


def test_lists_are_read_page_by_page() -> None:
    event = new_event()["id"]
    ids = [one["id"] for one in client().events()]
    assert event in ids and len(set(ids)) == len(ids)
