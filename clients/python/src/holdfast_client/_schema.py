"""Types of the API's bodies. Made from `clients/openapi.json` by tools/generate.py."""

from __future__ import annotations

from typing import Any, Literal, TypedDict, Union

from typing_extensions import NotRequired

AdmissionFault = Literal["altered", "expired", "other_deployment", "other_event", "other_user", "given_up", "lapsed", "session_ended", "superseded"]
Availability = Literal["AVAILABLE", "FEW_LEFT", "SOLD_OUT"]
BlockAction = Literal["block", "release"]
BookingStatus = Literal["HOLD", "CONFIRMING", "CONFIRMED", "VOIDED", "CANCELLED", "EXPIRED"]
Cancellation = Literal["allowed", "not_allowed"]
CheckStatus = Literal["ok", "partial", "unavailable", "warming", "stale", "failing"]
DrawStatus = Literal["gathering", "fixed"]
Durability = Literal["accepted", "replicated", "archived"]
ErrorCode = Literal["invalid_json", "invalid_parameter", "invalid_request", "identity_conflict", "webhook_signature_invalid", "webhook_stale", "preflight_refused", "identity_missing", "identity_untrusted", "token_invalid", "token_expired", "ticket_invalid", "admin_key_missing", "payment_declined", "admin_key_wrong", "automated_access", "origin_forbidden", "host_forbidden", "waiting_room_required", "waiting_room_token_invalid", "waiting_room_closed", "route_unknown", "event_unknown", "booking_unknown", "draw_unknown", "webhooks_off", "method_not_allowed", "body_timeout", "seats_unavailable", "orphan_seats", "in_flight", "event_state", "event_closed", "event_paused", "not_on_sale", "waiting_room_off", "sold_out", "user_limit", "booking_cancelled", "booking_confirming", "booking_confirmed", "cancellation_closed", "sale_voided", "attempts_exhausted", "hold_cap_reached", "booking_expired", "event_unloaded", "body_too_large", "uri_too_long", "unsupported_media_type", "validation_failed", "seats_unknown", "section_unknown", "payment_not_possible", "amount_mismatch", "idempotency_key_reused", "upgrade_required", "rate_limit_exceeded", "too_many_connections", "headers_too_large", "internal_error", "service_unavailable", "outcome_unknown", "event_not_loaded", "booking_log_full"]
EventStatus = Literal["SCHEDULED", "ON_SALE", "PAUSED", "CLOSED"]
HealthStatus = Literal["ok", "degraded", "warming", "unavailable", "ending"]
NewEventStatus = Literal["ON_SALE", "PAUSED", "CLOSED"]
OrphanRule = Literal["off", "warn", "enforce"]
QueueMethod = Literal["fifo", "passthrough", "reject"]
QueueStatus = Literal["queued", "gathering", "admitted", "open", "sold_out", "closed"]
SaleOutcome = Literal["CONFIRMED", "CANCELLED", "VOIDED"]
SeatStatus = Literal["AVAILABLE", "HOLD", "BOOKED", "BLOCKED"]
WebhookResult = Literal["handled", "duplicate", "ignored"]


class AvailabilityBody(TypedDict):
    """Counts over an event."""

    availability: Availability
    available_seats: NotRequired[int]
    blocked_seats: NotRequired[int]
    booked_seats: NotRequired[int]
    event_id: int
    held_seats: NotRequired[int]
    is_sold_out: bool
    sections: list[SectionCounts]
    total_seats: int
    version: int


class BlockBody(TypedDict):
    """One block or release."""

    action: BlockAction
    at: str
    by: str
    reason: str
    seat_ids: list[int]


class BlockListBody(TypedDict):
    """Archived blocks and releases of an event."""

    blocks: list[BlockBody]
    event_id: int
    next_cursor: str | None


class BlockedBody(TypedDict):
    """The result of a block or release."""

    action: BlockAction
    changed: int
    event_id: int


class BookedSeat(TypedDict):
    """A seat of a booking."""

    price_at_booking: int
    row_number: str | None
    seat_id: int
    seat_label: str
    seat_number: int
    section: str


class BookingBody(TypedDict):
    """A booking."""

    cancelled_at: str | None
    confirmed_at: str | None
    created_at: str
    currency: str
    durability: Durability
    event_id: int
    expired_at: str | None
    hold_expires_at: str
    id: str
    payment_id: str | None
    receipt: NotRequired[Receipt]
    seats: list[BookedSeat]
    seats_left_alone: NotRequired[list[int]]
    status: BookingStatus
    time_remaining_seconds: int
    total_amount: int
    user_id: str
    version: int


class BookingListBody(TypedDict):
    """A page of the caller's bookings."""

    as_of: str | None
    bookings: list[BookingBody]
    next_cursor: str | None
    page: NotRequired[int]
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
    method: QueueMethod
    per_minute: int
    session_duration_seconds: int
    shuffle: bool


class Checks(TypedDict):
    """`ok` or the fault, without details of the installation."""

    live: CheckStatus
    mongodb: CheckStatus
    redis: CheckStatus
    tasks: CheckStatus


class Confirm(TypedDict):
    """How a booking is paid."""

    amount: NotRequired[int | None]
    idempotencyKey: NotRequired[str | None]
    payment_method: NotRequired[str | None]


class Counts(TypedDict):
    """How many seats are in each state. The numbers are absent if the public gets no exact counts."""

    availability: Availability
    available_seats: NotRequired[int]
    blocked_seats: NotRequired[int]
    booked_seats: NotRequired[int]
    held_seats: NotRequired[int]


class Draw(TypedDict):
    """The public state of a draw."""

    algorithm: str
    commitment: str
    event_id: int
    fixed_at: str | None
    joiners: int | None
    joins_hash: str | None
    opened_at: str
    secret: str | None
    status: DrawStatus


class EnableRoom(TypedDict):
    """Settings of a waiting room; what is absent stays as it was."""

    automatic: NotRequired[bool | None]
    calm_per_second: NotRequired[int | None]
    claim_window: NotRequired[int | None]
    max_concurrent: NotRequired[int | None]
    method: NotRequired[QueueMethod | None]
    per_minute: NotRequired[int | None]
    renew: NotRequired[bool | None]
    session_cap: NotRequired[int | None]
    session_duration: NotRequired[int | None]
    shuffle: NotRequired[bool | None]
    surge_per_second: NotRequired[int | None]


class EventBody(TypedDict):
    """An event."""

    availability: Availability | None
    available_seats: NotRequired[int | None]
    cancel_until: str | None
    cancellation: Cancellation
    created_at: str
    currency: str
    description: str
    hold_ttl_seconds: int
    id: int
    is_sold_out: bool
    max_hold_seconds: int
    max_seats_per_user: int
    name: str
    off_sale_at: str | None
    on_sale_at: str | None
    orphan_rule: OrphanRule
    sections: NotRequired[list[SectionBody]]
    starts_at: str | None
    status: EventStatus
    total_seats: int
    venue: str


class EventChange(TypedDict):
    """A change to an event; absent fields stay."""

    cancel_until: NotRequired[str | None]
    cancellation: NotRequired[Cancellation | None]
    description: NotRequired[str | None]
    name: NotRequired[str | None]
    off_sale_at: NotRequired[str | None]
    on_sale_at: NotRequired[str | None]
    starts_at: NotRequired[str | None]
    status: NotRequired[NewEventStatus | None]
    venue: NotRequired[str | None]


class EventListBody(TypedDict):
    """A page of events."""

    as_of: str
    events: list[EventBody]
    next_cursor: str | None
    page: NotRequired[int]
    page_size: int
    total: int


class HealthBody(TypedDict):
    """The state of the process."""

    checks: Checks
    failing_tasks: NotRequired[list[str]]
    service: str
    status: HealthStatus
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
    cfWaitingRoom: NotRequired[CfWaitingRoom]
    estimated_wait_seconds: int | None
    message: str
    on_sale_at: NotRequired[str]
    position: int | None
    refresh_after_seconds: int
    session_seconds_left: NotRequired[int]
    status: QueueStatus
    token: str | None


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
    cancellation: NotRequired[Cancellation | None]
    currency: NotRequired[str | None]
    description: NotRequired[str | None]
    hold_ttl_seconds: NotRequired[int | None]
    max_hold_seconds: NotRequired[int | None]
    max_seats_per_user: NotRequired[int | None]
    name: str
    off_sale_at: NotRequired[str | None]
    on_sale_at: NotRequired[str | None]
    orphan_rule: NotRequired[OrphanRule | None]
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
    """An error. Compare `error`, show `detail`. Members after `trace_id` belong to certain codes."""

    alternatives: NotRequired[list[list[int]]]
    cancel_until: NotRequired[str | None]
    detail: str
    error: ErrorCode
    field: NotRequired[str]
    headers: NotRequired[list[str]]
    hold_expires_at: NotRequired[str]
    max_seats_per_user: NotRequired[int]
    on_sale_at: NotRequired[str]
    parameter: NotRequired[str]
    reason: NotRequired[AdmissionFault]
    rule: NotRequired[str]
    seats: NotRequired[ProblemSeats]
    seats_held: NotRequired[int]
    setting: NotRequired[str]
    status: int
    title: str
    total_amount: NotRequired[int]
    trace_id: str
    type: str


class ProblemSeat(TypedDict):
    """The state of a requested seat."""

    id: int
    status: SeatStatus


class QueueStatusBody(TypedDict):
    """A position in the waiting room."""

    admitted: bool
    cfWaitingRoom: NotRequired[CfWaitingRoom]
    estimated_wait_seconds: int | None
    message: str
    on_sale_at: NotRequired[str]
    position: int | None
    refresh_after_seconds: int
    session_seconds_left: NotRequired[int]
    status: QueueStatus


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
    row_number: str | None
    seat_label: str
    seat_number: int
    section: str
    status: SeatStatus


class SeatMapBody(TypedDict):
    """A seat map."""

    availability: Availability
    available_seats: NotRequired[int]
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

    availability: Availability
    available_seats: NotRequired[int]
    blocked_seats: NotRequired[int]
    booked_seats: NotRequired[int]
    held_seats: NotRequired[int]
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
    method: QueueMethod | None
    queue_size: int
    served: int
    slots_available: int


class TicketBody(TypedDict):
    """A ticket for one socket."""

    expires_at: str
    expires_in_seconds: int
    ticket: str


class WebhookBody(TypedDict):
    """The result of a webhook."""

    result: WebhookResult


ProblemSeats = Union[list[ProblemSeat], list[int]]


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
    generation: int | None
    message: str
    resume: NotRequired[str]
    type: Literal["connected"]
    version: int | None


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
    resume: NotRequired[str]
    seat_ids: list[int]
    since: int
    status: SeatStatus
    timestamp: str
    type: Literal["seat_update"]
    version: int


PushMessageGap = TypedDict("PushMessageGap", {'event_id': 'int', 'from': 'str | None', 'message': 'str', 'to': 'str', 'type': 'Literal["gap"]'})


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
    error: ErrorCode
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
