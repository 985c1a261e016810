# Made from `_async` by tools/unasync.py: change that, and run it.
"""The API's operations."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Callable
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx

from .._errors import NoAnswerError, ProblemError, SaleOverError, UnexpectedAnswerError
from .._request import Query, Request, Retry, backoff_seconds, change, get, new_key
from .._waiting import LATE_SHARE, LONGEST_PAUSE_SECONDS, Admission, is_passing
from .follow import Follower
from .transport import Transport

if TYPE_CHECKING:
    from .. import _schema as s

SETTLE_SECONDS = 30.0


class Holdfast:
    """A client of one Holdfast, for one user. Use it as a context manager, or close it."""

    def __init__(
        self,
        base_url: str,
        *,
        user: str | None = None,
        token: str | Callable[[], str] | None = None,
        admin_key: str | None = None,
        timeout_seconds: float = 20.0,
        retry: Retry | None = None,
        http: httpx.Client | None = None,
    ) -> None:
        """`user` where the server trusts this client to name one (`auth = "trusted"`); `token`, or a
        function that returns a fresh one, with `auth = "jwt"`. 20 seconds are longer than a confirmation
        waits for the archive.
        """
        self._transport = Transport(
            base_url, user, token, admin_key, timeout_seconds, retry or Retry(), http
        )

    def for_user(self, user: str) -> Holdfast:
        """The same client for another user, over the same connections."""
        other = Holdfast.__new__(Holdfast)
        other._transport = self._transport.for_user(user)
        return other

    def __enter__(self) -> Holdfast:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections, unless they were given."""
        self._transport.close()

    # -- Events

    def list_events(
        self,
        *,
        status: s.EventStatus | None = None,
        starts_from: str | None = None,
        starts_before: str | None = None,
        cursor: str | None = None,
        page_size: int | None = None,
    ) -> s.EventListBody:
        """A page of events."""
        query: Query = {
            "status": status,
            "from": starts_from,
            "to": starts_before,
            "cursor": cursor,
            "page_size": page_size,
        }
        body: s.EventListBody = self._transport.send(get("/api/v1/events", query))
        return body

    def events(self, status: s.EventStatus | None = None) -> Iterator[s.EventBody]:
        """All events, page by page."""
        cursor: str | None = None
        while True:
            page = self.list_events(status=status, cursor=cursor, page_size=100)
            for event in page["events"]:
                yield event
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def get_event(self, event: int) -> s.EventBody:
        """An event with its sections."""
        body: s.EventBody = self._transport.send(get(f"/api/v1/events/{event}"))
        return body

    def seat_map(
        self,
        event: int,
        *,
        section: str | None = None,
        status: s.SeatStatus | None = None,
        since: str | None = None,
    ) -> s.SeatMapBody:
        """The seats and their states."""
        query: Query = {"section": section, "status": status, "since": since}
        body: s.SeatMapBody = self._transport.send(get(f"/api/v1/events/{event}/seats", query))
        return body

    def availability(self, event: int) -> s.AvailabilityBody:
        """How much is left, by section."""
        body: s.AvailabilityBody = self._transport.send(get(f"/api/v1/events/{event}/availability"))
        return body

    def follow(self, event: int, *, waiting_room_token: str | None = None) -> Follower:
        """Follows an event: seats, one's expired holds, one's place in the waiting room."""
        return Follower(self._transport, event, waiting_room_token)

    # -- Bookings

    def hold(
        self,
        request: s.Hold,
        *,
        alternatives: int | None = None,
        waiting_room_token: str | None = None,
        idempotency_key: str | None = None,
    ) -> s.BookingBody:
        """Holds seats: those of `seat_ids`, or the best `quantity`. All or none."""
        query: Query = {"alternatives": alternatives}
        key = idempotency_key or new_key()
        body: s.BookingBody = self._transport.send(
            change(
                "POST",
                "/api/v1/bookings",
                request,
                query=query,
                key=key,
                token=waiting_room_token,
            )
        )
        return body

    def list_bookings(
        self, *, cursor: str | None = None, page_size: int | None = None
    ) -> s.BookingListBody:
        """A page of the user's bookings, newest first."""
        query: Query = {"cursor": cursor, "page_size": page_size}
        body: s.BookingListBody = self._transport.send(get("/api/v1/bookings", query))
        return body

    def get_booking(self, booking: str) -> s.BookingBody:
        """A booking."""
        body: s.BookingBody = self._transport.send(get(_booking(booking)))
        return body

    def confirm(
        self,
        booking: str,
        payment: s.Confirm | None = None,
        *,
        idempotency_key: str | None = None,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> s.BookingBody:
        """Pays, and waits until the archive has the sale (CONFIRMED, with a receipt).

        Still CONFIRMING after `settle_seconds`: do not pay again, look at the booking later.
        """
        key = idempotency_key or new_key()
        request = change("POST", _booking(booking) + "/confirm", payment or {}, key=key)
        return self._transport.settled(request, settle_seconds)

    def extend(self, booking: str, *, idempotency_key: str | None = None) -> s.BookingBody:
        """Restarts a hold's time, up to the event's longest hold."""
        key = idempotency_key or new_key()
        body: s.BookingBody = self._transport.send(
            change("POST", _booking(booking) + "/extend", key=key)
        )
        return body

    def cancel(
        self,
        booking: str,
        *,
        idempotency_key: str | None = None,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> s.BookingBody:
        """Releases a hold, or cancels a sale and waits until the archive has that."""
        request = change("POST", _booking(booking) + "/cancel", key=idempotency_key or new_key())
        return self._transport.settled(request, settle_seconds)

    # -- Waiting room

    def join_waiting_room(self, event: int) -> s.JoinedBody:
        """A place in line, one for each user."""
        body: s.JoinedBody = self._transport.send(change("POST", _room(event) + "/join"))
        return body

    def queue_status(self, event: int, token: str) -> s.QueueStatusBody:
        """The place in line; once it is served, this begins the session."""
        body: s.QueueStatusBody = self._transport.send(get(_room(event) + "/status", token=token))
        return body

    def leave_waiting_room(self, event: int, token: str) -> None:
        """Gives up the place or the session."""
        self._transport.send(change("POST", _room(event) + "/leave", token=token))

    def room_figures(self, event: int) -> s.StatsBody:
        """A waiting room's figures."""
        body: s.StatsBody = self._transport.send(get(_room(event) + "/stats"))
        return body

    def wait_for_admission(
        self,
        event: int,
        *,
        token: str | None = None,
        on_status: Callable[[s.QueueStatusBody], None] | None = None,
    ) -> Admission:
        """Joins, if need be, and polls after `refresh_after_seconds` until it is this user's turn.

        A place in line is not given up for a server that is away for a while.
        """
        failures = 0
        while True:
            try:
                status: s.QueueStatusBody
                if token is None:
                    place = self.join_waiting_room(event)
                    token, status = place["token"], place
                else:
                    status = self.queue_status(event, token)
                failures = 0
                if on_status is not None:
                    on_status(status)
                if status["admitted"]:
                    return Admission(token, status)
                if status["status"] in ("sold_out", "closed"):
                    raise SaleOverError(status["status"], status["message"])
                pause = status["refresh_after_seconds"] * (1 + LATE_SHARE * random.random())
            except (NoAnswerError, ProblemError, UnexpectedAnswerError) as error:
                if isinstance(error, ProblemError) and error.code == "waiting_room_off":
                    return Admission.without_room(str(error))
                if not is_passing(error):
                    raise
                failures += 1
                pause = backoff_seconds(failures, 1.0, LONGEST_PAUSE_SECONDS)
                pause += getattr(error, "retry_after_seconds", None) or 0.0
            time.sleep(pause)

    # -- For admins

    def create_event(self, event: s.NewEvent) -> s.EventBody:
        """Creates an event. Not sent again if it is unknown whether it happened: look at the list."""
        request = Request("POST", "/api/v1/events", body=event, is_repeatable=False)
        body: s.EventBody = self._transport.send(request)
        return body

    def change_event(self, event: int, changes: s.EventChange) -> s.EventBody:
        """Changes an event; absent fields stay."""
        body: s.EventBody = self._transport.send(
            change("PATCH", f"/api/v1/events/{event}", changes)
        )
        return body

    def block_seats(self, event: int, block: s.NewBlock) -> s.BlockedBody:
        """Keeps free seats back from the sale."""
        path = f"/api/v1/events/{event}/blocks"
        body: s.BlockedBody = self._transport.send(change("POST", path, block))
        return body

    def release_seats(self, event: int, block: s.NewBlock) -> s.BlockedBody:
        """Returns blocked seats to the sale."""
        path = f"/api/v1/events/{event}/blocks/release"
        body: s.BlockedBody = self._transport.send(change("POST", path, block))
        return body

    def enable_waiting_room(
        self, event: int, settings: s.EnableRoom | None = None
    ) -> s.ChangedBody:
        """Switches a waiting room on, or changes it."""
        request = change("POST", _room(event) + "/enable", settings or {})
        body: s.ChangedBody = self._transport.send(request)
        return body

    def disable_waiting_room(self, event: int) -> s.ChangedBody:
        """Switches a waiting room off."""
        body: s.ChangedBody = self._transport.send(change("POST", _room(event) + "/disable"))
        return body


def _booking(booking: str) -> str:
    return f"/api/v1/bookings/{quote(booking, safe='')}"


def _room(event: int) -> str:
    return f"/api/v1/events/{event}/waiting-room"
