"""Types of the API's bodies. Made from `clients/openapi.json` by tools/generate.py."""

from __future__ import annotations

from typing import Any, Literal, TypedDict, Union

from typing_extensions import NotRequired

class AvailabilityBody(TypedDict):
    """Counts over an event."""

    availability: str
    available_seats: NotRequired[int | None]
    blocked_seats: NotRequired[int | None]
    booked_seats: NotRequired[int | None]
    event_id: int
    held_seats: NotRequired[int | None]
    is_sold_out: bool
    sections: list[SectionCounts]
    total_seats: int
    version: int


class BlockBody(TypedDict):
    """One block or release."""

    action: str
    at: str
    by: str
    reason: str
    seat_ids: list[int]


class BlockListBody(TypedDict):
    """Archived blocks and releases of an event."""

    blocks: list[BlockBody]
    event_id: int
    next_cursor: NotRequired[str | None]


class BlockedBody(TypedDict):
    """The result of a block or release."""

    action: str
    changed: int
    event_id: int


class BookedSeat(TypedDict):
    """A seat of a booking."""

    price_at_booking: int
    row_number: NotRequired[str | None]
    seat_id: int
    seat_label: str
    seat_number: int
    section: str


class BookingBody(TypedDict):
    """A booking."""

    cancelled_at: NotRequired[str | None]
    confirmed_at: NotRequired[str | None]
    created_at: str
    currency: str
    durability: str
    event_id: int
    expired_at: NotRequired[str | None]
    hold_expires_at: str
    id: str
    payment_id: NotRequired[str | None]
    receipt: NotRequired[Receipt | None]
    seats: list[BookedSeat]
    seats_left_alone: NotRequired[list[int]]
    status: str
    time_remaining_seconds: int
    total_amount: int
    user_id: str
    version: int


class BookingListBody(TypedDict):
    """A page of the caller's bookings."""

    as_of: NotRequired[str | None]
    bookings: list[BookingBody]
    next_cursor: NotRequired[str | None]
    page: NotRequired[int | None]
    page_size: int
    total: int


class CacheStatsBody(TypedDict):
    """The caches of this process."""

    bytes: int
    keys_breakdown: KeysBreakdown
    live_view: LiveViewBody
    stats: HitStats
    total_keys: int


class CfWaitingRoom(TypedDict):
    """The status in the format of Cloudflare's waiting room."""

    inWaitingRoom: bool
    isEventActive: bool
    isEventPrequeueing: bool
    isFIFOQueue: bool
    isPassthroughQueue: bool
    isRandomQueue: bool
    isRejectQueue: bool
    queueAll: bool
    queueIsFull: bool
    queueingMethod: str
    refreshIntervalSeconds: int
    shuffleAtEventStart: bool
    waitTime: int
    waitTimeFormatted: str
    waitTimeKnown: bool


class ChangedBody(TypedDict):
    """The settings of a waiting room that was switched."""

    automatic: bool
    claim_window_seconds: int
    effective_within_seconds: int
    max_concurrent_users: int
    message: str
    method: str
    per_minute: int
    session_duration_seconds: int
    shuffle: bool


class Checks(TypedDict):
    """`ok` or the fault, without details of the installation."""

    live: str
    mongodb: str
    redis: str
    tasks: str


class Confirm(TypedDict):
    """How a booking is paid."""

    amount: NotRequired[int | None]
    idempotencyKey: NotRequired[str | None]
    payment_method: NotRequired[str | None]


class Counts(TypedDict):
    """How many seats are in each state. The numbers are absent if the public gets no exact counts."""

    availability: str
    available_seats: NotRequired[int | None]
    blocked_seats: NotRequired[int | None]
    booked_seats: NotRequired[int | None]
    held_seats: NotRequired[int | None]


class Draw(TypedDict):
    """The public state of a draw."""

    algorithm: str
    commitment: str
    event_id: int
    fixed_at: NotRequired[str | None]
    joiners: NotRequired[int | None]
    joins_hash: NotRequired[str | None]
    opened_at: str
    secret: NotRequired[str | None]
    status: str


class EnableRoom(TypedDict):
    """Settings of a waiting room; what is absent stays as it was."""

    automatic: NotRequired[bool | None]
    calm_per_second: NotRequired[int | None]
    claim_window: NotRequired[int | None]
    max_concurrent: NotRequired[int | None]
    method: NotRequired[str | None]
    per_minute: NotRequired[int | None]
    renew: NotRequired[bool | None]
    session_cap: NotRequired[int | None]
    session_duration: NotRequired[int | None]
    shuffle: NotRequired[bool | None]
    surge_per_second: NotRequired[int | None]


class EventBody(TypedDict):
    """An event."""

    availability: NotRequired[str | None]
    available_seats: NotRequired[int | None]
    cancel_until: NotRequired[str | None]
    cancellation: str
    created_at: str
    currency: str
    description: str
    hold_ttl_seconds: int
    id: int
    is_sold_out: bool
    max_hold_seconds: int
    max_seats_per_user: int
    name: str
    off_sale_at: NotRequired[str | None]
    on_sale_at: NotRequired[str | None]
    orphan_rule: str
    sections: NotRequired[list[SectionBody] | None]
    starts_at: NotRequired[str | None]
    status: str
    total_seats: int
    venue: str


class EventChange(TypedDict):
    """A change to an event; absent fields stay."""

    cancel_until: NotRequired[str | None]
    cancellation: NotRequired[str | None]
    description: NotRequired[str | None]
    name: NotRequired[str | None]
    off_sale_at: NotRequired[str | None]
    on_sale_at: NotRequired[str | None]
    starts_at: NotRequired[str | None]
    status: NotRequired[str | None]
    venue: NotRequired[str | None]


class EventListBody(TypedDict):
    """A page of events."""

    as_of: str
    events: list[EventBody]
    next_cursor: NotRequired[str | None]
    page: NotRequired[int | None]
    page_size: int
    total: int


class HealthBody(TypedDict):
    """The state of the process."""

    checks: Checks
    failing_tasks: NotRequired[list[str]]
    service: str
    status: str
    uptime_seconds: int
    version: str


class HitStats(TypedDict):
    """Since this process began."""

    hit_rate: float
    keyspace_hits: int
    keyspace_misses: int


class Hold(TypedDict):
    """A request for seats. Unknown fields are ignored."""

    event_id: int
    idempotencyKey: NotRequired[str | None]
    max_price: NotRequired[int | None]
    quantity: NotRequired[int | None]
    seat_ids: NotRequired[list[int] | None]
    section: NotRequired[str | None]
    together: NotRequired[bool | None]


class JoinedBody(TypedDict):
    """A place in line."""

    admitted: bool
    cfWaitingRoom: NotRequired[CfWaitingRoom | None]
    estimated_wait_seconds: NotRequired[int | None]
    message: str
    on_sale_at: NotRequired[str | None]
    position: NotRequired[int | None]
    refresh_after_seconds: int
    session_seconds_left: NotRequired[int | None]
    status: str
    token: NotRequired[str | None]


class KeysBreakdown(TypedDict):
    """Cached keys by kind."""

    availability: int
    events: int
    seats: int


class LeftBody(TypedDict):
    """A place that was given up."""

    message: str


class LiveBody(TypedDict):
    """The process answers."""

    status: str


class LiveViewBody(TypedDict):
    """The live view."""

    age_ms: int
    is_stale: bool
    missing: int
    seats: int


class NewBlock(TypedDict):
    """Seats to block or release: `seat_ids`, or a `section`, or one `row_number` of it."""

    reason: str
    row_number: NotRequired[str | None]
    seat_ids: NotRequired[list[int] | None]
    section: NotRequired[str | None]


class NewEvent(TypedDict):
    """An event to create."""

    cancel_until: NotRequired[str | None]
    cancellation: NotRequired[str | None]
    currency: NotRequired[str | None]
    description: NotRequired[str | None]
    hold_ttl_seconds: NotRequired[int | None]
    max_hold_seconds: NotRequired[int | None]
    max_seats_per_user: NotRequired[int | None]
    name: str
    off_sale_at: NotRequired[str | None]
    on_sale_at: NotRequired[str | None]
    orphan_rule: NotRequired[str | None]
    sections: list[NewSection]
    starts_at: NotRequired[str | None]
    venue: NotRequired[str | None]


class NewRow(TypedDict):
    """A row to create."""

    row: str
    seats: int


class NewSection(TypedDict):
    """A section to create: `rows` of numbered seats, or a `capacity` for general admission."""

    capacity: NotRequired[int | None]
    name: str
    price: int
    rows: NotRequired[list[NewRow] | None]


class Problem(TypedDict):
    """An error."""

    detail: str
    error: str
    status: int
    title: str
    trace_id: str
    type: str


class QueueStatusBody(TypedDict):
    """A position in the waiting room."""

    admitted: bool
    cfWaitingRoom: NotRequired[CfWaitingRoom | None]
    estimated_wait_seconds: NotRequired[int | None]
    message: str
    on_sale_at: NotRequired[str | None]
    position: NotRequired[int | None]
    refresh_after_seconds: int
    session_seconds_left: NotRequired[int | None]
    status: str


class Receipt(TypedDict):
    """A receipt. The same booking always has the same bytes."""

    amount: int
    booking_id: str
    currency: str
    paid_at: str
    payment_id: str
    seats: list[str]


class SeatBody(TypedDict):
    """A seat and its state."""

    id: int
    price: int
    row_number: NotRequired[str | None]
    seat_label: str
    seat_number: int
    section: str
    status: str


class SeatMapBody(TypedDict):
    """A seat map."""

    availability: str
    available_seats: NotRequired[int | None]
    event_id: int
    full: bool
    generation: int
    seats: list[SeatBody]
    sections: list[SectionCounts]
    total_seats: int
    version: int


class SectionBody(TypedDict):
    """A section of an event."""

    first_seat_id: int
    general_admission: bool
    name: str
    price: int
    total_seats: int


class SectionCounts(TypedDict):
    """Counts over a section."""

    availability: str
    available_seats: NotRequired[int | None]
    blocked_seats: NotRequired[int | None]
    booked_seats: NotRequired[int | None]
    held_seats: NotRequired[int | None]
    name: str
    price: int
    total_seats: int


class StatsBody(TypedDict):
    """A waiting room's figures."""

    active_sessions: int
    by_surge: bool
    enabled: bool
    event_id: int
    joined: int
    max_concurrent: int
    method: NotRequired[str | None]
    queue_size: int
    served: int
    slots_available: int


class WebhookBody(TypedDict):
    """The result of a webhook."""

    result: str


class PushCommandRegisterWaitingRoom(TypedDict):
    """Requests the waiting room's messages."""

    token: str
    type: Literal["register_waiting_room"]


class PushCommandPing(TypedDict):
    """Requests a `pong`."""

    type: Literal["ping"]


PushCommand = Union[
    PushCommandRegisterWaitingRoom,
    PushCommandPing,
]


class PushMessageConnected(TypedDict):
    """The first message."""

    event_id: int
    generation: NotRequired[int | None]
    message: str
    resume: NotRequired[str | None]
    type: Literal["connected"]
    version: NotRequired[int | None]


class PushMessageSnapshot(TypedDict):
    """All seats."""

    bytes: str
    event_id: int
    generation: int
    resume: str
    type: Literal["snapshot"]
    version: int


class PushMessageSeatUpdate(TypedDict):
    """Seats that are in this state now. The changes between two versions are one message per state."""

    event_id: int
    generation: int
    resume: NotRequired[str | None]
    seat_ids: list[int]
    since: int
    status: str
    timestamp: str
    type: Literal["seat_update"]
    version: int


PushMessageGap = TypedDict("PushMessageGap", {'event_id': 'int', 'from': 'NotRequired[str | None]', 'message': 'str', 'to': 'str', 'type': 'Literal["gap"]'})


class PushMessageBookingExpired(TypedDict):
    """A hold of the client's user has expired."""

    booking_id: str
    event_id: int
    message: str
    seat_ids: list[int]
    timestamp: str
    type: Literal["booking_expired"]


class PushMessageRegistrationConfirmed(TypedDict):
    """The waiting room token is valid; the room's messages follow as things happen."""

    event_id: int
    message: str
    type: Literal["registration_confirmed"]


class PushMessagePosition(TypedDict):
    """The place in the waiting room, at most once a second."""

    estimated_wait_seconds: int
    event_id: int
    position: int
    refresh_after_seconds: int
    type: Literal["position"]


class PushMessageGathering(TypedDict):
    """Positions will be drawn when the sale begins."""

    event_id: int
    joined: int
    on_sale_at: str
    refresh_after_seconds: int
    type: Literal["gathering"]


class PushMessageAdmitted(TypedDict):
    """The waiting is over: seats can be held until `session_expires_at`."""

    event_id: int
    message: str
    session_expires_at: str
    token: str
    type: Literal["admitted"]


class PushMessageSoldOut(TypedDict):
    """Every seat is sold; there are no further admissions."""

    event_id: int
    message: str
    type: Literal["sold_out"]


class PushMessageSaleClosed(TypedDict):
    """The sale has ended; there are no further admissions."""

    event_id: int
    message: str
    type: Literal["sale_closed"]


class PushMessageWaitingRoomOff(TypedDict):
    """The event has no waiting room now: seats can be held without a token."""

    event_id: int
    message: str
    type: Literal["waiting_room_off"]


class PushMessagePong(TypedDict):
    """The reply to `ping`."""

    timestamp: str
    type: Literal["pong"]


class PushMessageError(TypedDict):
    """The client's message was refused, or what it waited for will not happen."""

    detail: str
    error: str
    type: Literal["error"]


PushMessage = Union[
    PushMessageConnected,
    PushMessageSnapshot,
    PushMessageSeatUpdate,
    PushMessageGap,
    PushMessageBookingExpired,
    PushMessageRegistrationConfirmed,
    PushMessagePosition,
    PushMessageGathering,
    PushMessageAdmitted,
    PushMessageSoldOut,
    PushMessageSaleClosed,
    PushMessageWaitingRoomOff,
    PushMessagePong,
    PushMessageError,
]
