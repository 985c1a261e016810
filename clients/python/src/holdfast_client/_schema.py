"""Types of the API's bodies. Made from `clients/openapi.json` by tools/generate.py."""

from __future__ import annotations

from typing import Any, Literal, TypedDict, Union

from typing_extensions import NotRequired

AccessKind = Literal["deny", "allow"]
AdmissionFault = Literal["altered", "expired", "other_deployment", "other_event", "other_user", "given_up", "lapsed", "session_ended", "superseded"]
AtProviderState = Literal["found", "none", "unavailable"]
Availability = Literal["AVAILABLE", "FEW_LEFT", "SOLD_OUT"]
BlockAction = Literal["block", "release"]
BookingStatus = Literal["HOLD", "CONFIRMING", "CONFIRMED", "VOIDED", "CANCELLED", "EXPIRED"]
BookingStep = Literal["held", "extended", "paying", "declined", "sold", "confirmed", "voided", "cancelled", "expired", "restored", "other"]
BreakerStatus = Literal["closed", "half_open", "open"]
Cancellation = Literal["allowed", "not_allowed"]
CheckStatus = Literal["ok", "partial", "unavailable", "warming", "stale", "failing"]
DrawStatus = Literal["gathering", "fixed"]
Durability = Literal["accepted", "replicated", "archived"]
EntryKind = Literal["beat", "opened", "event", "hold", "extend", "confirm_begin", "confirm_abort", "sold", "confirmed", "voided", "cancelled", "expired", "blocked", "unblocked", "unloaded", "restored"]
ErrorCode = Literal["invalid_json", "invalid_parameter", "invalid_request", "identity_conflict", "webhook_signature_invalid", "webhook_stale", "preflight_refused", "identity_missing", "identity_untrusted", "token_invalid", "token_expired", "ticket_invalid", "admin_key_missing", "payment_declined", "admin_key_wrong", "automated_access", "origin_forbidden", "host_forbidden", "waiting_room_required", "waiting_room_token_invalid", "waiting_room_closed", "route_unknown", "event_unknown", "booking_unknown", "dead_letter_unknown", "draw_unknown", "webhooks_off", "method_not_allowed", "body_timeout", "seats_unavailable", "orphan_seats", "in_flight", "event_state", "event_closed", "event_paused", "not_on_sale", "waiting_room_off", "sold_out", "user_limit", "booking_cancelled", "booking_confirming", "booking_confirmed", "cancellation_closed", "sale_voided", "attempts_exhausted", "hold_cap_reached", "booking_expired", "event_unloaded", "body_too_large", "uri_too_long", "unsupported_media_type", "validation_failed", "seats_unknown", "section_unknown", "payment_not_possible", "amount_mismatch", "idempotency_key_reused", "upgrade_required", "rate_limit_exceeded", "too_many_connections", "headers_too_large", "internal_error", "service_unavailable", "outcome_unknown", "event_not_loaded", "booking_log_full"]
EventStatus = Literal["SCHEDULED", "ON_SALE", "PAUSED", "CLOSED"]
HealthStatus = Literal["ok", "degraded", "warming", "unavailable", "ending"]
InArchiveState = Literal["found", "unknown"]
InRedisState = Literal["found", "unknown", "event_not_loaded"]
NewEventStatus = Literal["ON_SALE", "PAUSED", "CLOSED"]
NewLimitsMode = Literal["each", "enforce", "observe", "off", "settings"]
OrphanRule = Literal["off", "warn", "enforce"]
PaymentProviderName = Literal["simulated", "stripe"]
PaymentStatus = Literal["open", "processing", "paid", "cancelled"]
QueueMethod = Literal["fifo", "passthrough", "reject"]
QueueStatus = Literal["queued", "gathering", "admitted", "open", "sold_out", "closed"]
RefundStatus = Literal["pending", "failed", "done"]
ReplayOutcome = Literal["replayed", "stays", "later"]
RoomStatus = Literal["off", "on", "surge", "draw"]
RuleMode = Literal["enforce", "observe", "off"]
SaleOutcome = Literal["CONFIRMED", "CANCELLED", "VOIDED"]
SeatStatus = Literal["AVAILABLE", "HOLD", "BOOKED", "BLOCKED"]
StoredOutcome = Literal["sold", "refund", "cancelled"]
StoredStatus = Literal["HOLD", "CONFIRMING", "COMMITTED", "CONFIRMED", "VOIDED", "CANCELLED", "EXPIRED"]
ValueSource = Literal["shipped", "settings", "operator", "limits", "profile"]
WebhookResult = Literal["handled", "duplicate", "ignored"]


class AccessBody(TypedDict):
    """The entries of both lists."""

    entries: list[AccessEntryBody]


class AccessEntryBody(TypedDict):
    """One entry."""

    access: AccessKind
    at: str
    by: str
    reason: str
    subject: str
    until: str | None


class ActBody(TypedDict):
    """An act."""

    act: str
    at: str
    detail: str
    result: str | None
    target: str
    trace_id: str | None
    who: str


class AdminBookingBody(TypedDict):
    """A booking."""

    booking_id: str
    confirmed_at: str | None
    created_at: str
    currency: str
    ended_at: str | None
    event_id: int
    hold_expires_at: str | None
    outcome: StoredOutcome | None
    paid_at: str | None
    payment_id: str | None
    seats: list[AdminSeatBody]
    status: StoredStatus
    total_amount: int
    user_id: str


class AdminSeatBody(TypedDict):
    """A seat with its place and price."""

    label: str | None
    price: int | None
    row: str | None
    seat_id: int
    section: str | None


class ArchiveBody(TypedDict):
    """How far the archive is behind the booking log."""

    dead_letters: int
    entries_behind: int | None
    log_entries: int
    log_entries_max: int
    seconds_behind: float
    silent_partitions: list[int]


class AtProviderBody(TypedDict):
    """A payment at its provider."""

    amount: int | None
    currency: str | None
    detail: str | None
    payment_id: str | None
    provider: str
    refund: RefundBody | None
    refund_pending_amount: int | None
    refunded_amount: int | None
    state: AtProviderState
    status: PaymentStatus | None


class AuditBody(TypedDict):
    """A page of acts."""

    acts: list[ActBody]
    next_cursor: str | None


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


class BookingDetailsBody(TypedDict):
    """One booking everywhere."""

    archive: InArchiveBody
    booking_id: str
    currency: str
    differences: list[str]
    event_id: int
    event_name: str | None
    is_agreed: bool
    is_ledger_cut: bool
    ledger: list[LedgerBody]
    provider: AtProviderBody
    redis: InRedisBody
    seats: list[ClaimedSeatBody]
    status: StoredStatus
    timeline: list[StepBody]
    total_amount: int
    user_id: str


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


class CircuitBreakers(TypedDict):
    """`closed`; `open`: calls had no answer, and requests are refused at once; `half_open`: a few calls are tried."""

    mongodb: BreakerStatus
    payments: BreakerStatus
    redis: BreakerStatus


class ClaimedSeatBody(TypedDict):
    """A seat with the owner of the claim on it."""

    claimed_by: str | None
    is_own_claim: bool
    label: str | None
    price: int | None
    row: str | None
    seat_id: int
    section: str | None


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


class DeadLettersBody(TypedDict):
    """A page of dead letters."""

    letters: list[LetterBody]
    next_cursor: str | None
    silent_partitions: list[int]
    total: int


class DemandBody(TypedDict):
    """How often each seat was held and came back."""

    event_id: int
    held: list[int]
    max_held: int
    returned: list[int]
    seats: int
    since: str | None


class DependencyBody(TypedDict):
    """A dependency by the last check."""

    detail: str | None
    response_ms: float
    status: CheckStatus


class DifferenceBody(TypedDict):
    """A booking that differs."""

    booking_id: str
    problem: str


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


class EntryLine(TypedDict):
    """An entry of the booking log."""

    at: str
    booking_id: str | None
    by: str | None
    currency: str | None
    detail: str | None
    hold_expires_at: str | None
    kind: EntryKind
    seat_ids: list[int]
    seat_labels: list[str]
    section: str | None
    status: StoredStatus | None
    total_amount: int | None
    user_id: str | None
    version: int | None


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


class EventBookingsBody(TypedDict):
    """A page of an event's bookings."""

    as_of: str | None
    bookings: list[AdminBookingBody]
    event_id: int
    next_cursor: str | None


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


class EventOverviewBody(TypedDict):
    """An event with its seats and takings."""

    currency: str
    holds_open: int | None
    id: int
    name: str
    off_sale_at: str | None
    on_sale_at: str | None
    seats: SeatTotalsBody | None
    sections: list[SectionOverviewBody]
    starts_at: str | None
    status: EventStatus
    takings: TakingsNowBody | None


class EventRoomBody(TypedDict):
    """The waiting room of an event."""

    event_id: int
    event_name: str
    waiting_room: RoomOverviewBody | None


class FixedBody(TypedDict):
    """A booking for which the next step was taken."""

    booking_id: str
    result: str


class FunnelBody(TypedDict):
    """How far requests and bookings came."""

    asked: int
    held: int
    paid: int


class HealthBody(TypedDict):
    """The state of the process."""

    checks: Checks
    circuit_breakers: CircuitBreakers
    failing_tasks: NotRequired[list[str]]
    service: str
    status: HealthStatus
    uptime_seconds: int
    version: str


class HealthOverviewBody(TypedDict):
    """The state of this process, of its dependencies and of the workers."""

    circuit_breakers: CircuitBreakers
    failing_tasks: list[str]
    live: CheckStatus
    mongodb: DependencyBody
    redis: RedisHealthBody
    status: HealthStatus
    tasks: CheckStatus
    workers: list[WorkerBody]


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


class HourReportBody(TypedDict):
    """An hour."""

    bookings: int
    hour: str
    seats: int
    takings: int


class InArchiveBody(TypedDict):
    """A booking in the archive."""

    cancel_unsettled_since: str | None
    generation: int | None
    outcome: StoredOutcome | None
    record: RecordBody | None
    state: InArchiveState


class InRedisBody(TypedDict):
    """A booking in Redis."""

    record: RecordBody | None
    state: InRedisState


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


class LedgerBody(TypedDict):
    """A line of the ledger."""

    at: str
    detail: str | None
    generation: int
    hold_expires_at: str | None
    kind: str
    lease: int
    log_id: str
    payment_id: str | None
    status: str
    version: int


class LeftBody(TypedDict):
    """A place that was given up."""

    message: str


class LetterBody(TypedDict):
    """A dead letter."""

    booking_id: str | None
    entry_id: str
    event_id: int | None
    id: str
    is_readable: bool
    kind: str | None
    parked_at: str
    partition: int
    reason: str


class LimitsBody(TypedDict):
    """The rules in effect."""

    bots: SourcedWord
    changed_at: str | None
    changed_by: str | None
    effective_within_seconds: NotRequired[int]
    mode: SourcedWord
    problem: str | None
    profile: SourcedWord
    rules: list[RuleBody]


class LimitsChange(TypedDict):
    """A mode to set: of all rules, or of one."""

    mode: NewLimitsMode
    rule: NotRequired[str | None]


class LiveBody(TypedDict):
    """The process answers."""

    status: str


class LiveViewBody(TypedDict):
    """The live view."""

    age_ms: int
    is_stale: bool
    missing: int
    seats: int


class MoneyBody(TypedDict):
    """Money in one currency, in its minor unit."""

    charged: int
    currency: str
    refund_pending: int
    refunded: int
    sold: int


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


class OverviewBody(TypedDict):
    """One event and the deployment."""

    archive: ArchiveBody | None
    as_of: str
    event: EventOverviewBody | None
    health: HealthOverviewBody
    series: SeriesBody | None
    waiting_room: RoomOverviewBody | None


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


class ReconcileRequest(TypedDict):
    """What to reconcile."""

    event_id: NotRequired[int | None]
    fix: NotRequired[bool | None]
    wait_seconds: NotRequired[int | None]


class ReconciledBody(TypedDict):
    """The verdict of `reconcile`."""

    differences: list[DifferenceBody]
    fixed: list[FixedBody]
    is_clean: bool
    is_cut: bool
    payments: int
    took_ms: int
    totals: list[MoneyBody]


class RecordBody(TypedDict):
    """A stored booking."""

    confirmed_at: str | None
    created_at: str | None
    currency: str
    ended_at: str | None
    hold_expires_at: str | None
    lease: int
    paid_at: str | None
    payment_id: str | None
    status: StoredStatus
    total_amount: int
    trace: str | None
    user_id: str
    version: int


class RedisHealthBody(TypedDict):
    """Redis by the last check, with its memory."""

    detail: str | None
    memory_limit_bytes: int | None
    memory_used_bytes: int | None
    response_ms: float
    status: CheckStatus


class RefundBody(TypedDict):
    """A refund in progress."""

    amount: int
    failures: int
    reason: str | None
    since: str
    state: RefundStatus


class RefusedBody(TypedDict):
    """Requests refused per step, by place."""

    limits: list[int]
    memory: list[int]
    redis: list[int]
    waiting_room: list[int]


class ReplayedBody(TypedDict):
    """What became of a letter."""

    detail: str | None
    id: str
    outcome: StoredOutcome | None
    result: ReplayOutcome


class ReportBody(TypedDict):
    """The report of an event."""

    as_of: str
    counted_since: str | None
    currency: str
    event_id: int
    funnel: FunnelBody
    hours: list[HourReportBody]
    is_cut: bool
    name: str
    refused: dict[str, Any]
    refused_by_place: dict[str, Any]
    sections: list[SectionReportBody]
    takings: ReportTakingsBody


class ReportTakingsBody(TypedDict):
    """All sales of an event, in the currency's minor unit."""

    bookings_sold: int
    cancelled: int
    seats_sold: int
    sold: int


class RoomOverviewBody(TypedDict):
    """A waiting room with its settings."""

    admitted: int
    is_automatic: bool | None
    max_concurrent_users: int
    method: QueueMethod | None
    per_minute: int | None
    session_duration_seconds: int
    sessions: int
    shuffle: bool | None
    status: RoomStatus
    waiting: int


class RoomsBody(TypedDict):
    """The waiting rooms in use."""

    is_cut: bool
    rooms: list[EventRoomBody]


class RowBody(TypedDict):
    """A row of a section."""

    name: str
    seats: int


class RuleBody(TypedDict):
    """A rule."""

    counts: str
    limit: LimitBody
    mode: RuleMode
    mode_from: ValueSource
    name: str
    place: str
    routes: list[str]
    scope: str
    when_redis_is_away: str


class SearchBody(TypedDict):
    """The results of a search."""

    hits: list[SearchHit]
    q: str


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


class SeatTotalsBody(TypedDict):
    """Seats by state."""

    blocked: int
    free: int
    held: int
    sold: int
    total: int


class SectionBody(TypedDict):
    """A section of an event."""

    first_seat_id: int
    general_admission: bool
    name: str
    price: int
    rows: list[RowBody]
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


class SectionOverviewBody(TypedDict):
    """A section with its seats by state."""

    blocked: int
    first_seat_id: int
    free: int
    held: int
    name: str
    price: int
    sold: int
    total: int


class SectionReportBody(TypedDict):
    """A section."""

    name: str
    price: int
    seats: int
    seats_sold: int
    takings: int


SeriesBody = TypedDict("SeriesBody", {'cancelled': 'list[int]', 'confirmed': 'list[int]', 'declined': 'list[int]', 'expired': 'list[int]', 'from': 'str', 'held': 'list[int]', 'paid': 'list[int]', 'points': 'int', 'processes': 'int', 'refused': 'RefusedBody', 'refused_by_reason': 'dict[str, Any]', 'seats_confirmed': 'list[int]', 'seats_held': 'list[int]', 'seats_returned': 'list[int]', 'step_seconds': 'int'})
SourcedWord = TypedDict("SourcedWord", {'from': 'ValueSource', 'value': 'str'})


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
    session_duration_seconds: int
    slots_available: int


class StepBody(TypedDict):
    """A step of a booking."""

    after_ms: int
    at: str
    step: BookingStep


class TakingsNowBody(TypedDict):
    """The price of seats, in the currency's minor unit."""

    held: int
    sold: int


class TicketBody(TypedDict):
    """A ticket for one socket."""

    expires_at: str
    expires_in_seconds: int
    ticket: str


class VerifiedBody(TypedDict):
    """The verdict of `verify`."""

    events: list[VerifiedEventBody]
    is_clean: bool
    is_cut: bool
    partitions: list[VerifiedPartitionBody]
    problems: list[str]
    took_ms: int


class VerifiedEventBody(TypedDict):
    """An event."""

    blocked: int
    bookings_in_archive: int
    bookings_in_redis: int
    capacity: int
    event_id: int
    free: int
    held: int
    is_loaded: bool
    name: str
    problems: list[str]
    sold: int
    undecided: int


class VerifiedPartitionBody(TypedDict):
    """A partition's booking log."""

    entries: int
    parked: int
    partition: int
    position: str
    problems: list[str]
    watermark: str


class VerifyRequest(TypedDict):
    """What to verify."""

    event_id: NotRequired[int | None]
    wait_seconds: NotRequired[int | None]


class WebhookBody(TypedDict):
    """The result of a webhook."""

    result: WebhookResult


class WhoAmIBody(TypedDict):
    """The caller, and what kind of server this is."""

    is_development: bool
    is_open: bool
    is_payment_simulated: bool
    name: str
    now: str
    payment_provider: PaymentProviderName
    version: str


class WorkerBody(TypedDict):
    """A worker."""

    last_read_seconds: float
    name: str
    pending: int


LimitBody = dict[str, Any]


class LogLineStarted(TypedDict):
    """The first line: entries from now on follow."""

    at: str
    event_id: int
    type: Literal["started"]


class LogLineSkipped(TypedDict):
    """Entries were left out: this client read too slowly."""

    at: str
    entries: int
    type: Literal["skipped"]


class LogLineGap(TypedDict):
    """Entries may be missing: the log's chain broke. Read the event again."""

    at: str
    type: Literal["gap"]


class LogLineHeartbeat(TypedDict):
    """Nothing happened for a while."""

    at: str
    type: Literal["heartbeat"]


LogLine = Union[
    LogLineStarted,
    LogLineSkipped,
    LogLineGap,
    LogLineHeartbeat,
]


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


class PushMessageEventStatus(TypedDict):
    """The sale was paused, continued or closed, or its times changed. The passing of its times is not announced, and after a gap the event has to be read."""

    event_id: int
    off_sale_at: str | None
    on_sale_at: str | None
    resume: str
    status: EventStatus
    timestamp: str
    type: Literal["event_status"]


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
    PushMessageEventStatus,
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


class SearchHitBooking(TypedDict):
    """A booking."""

    booking: AdminBookingBody
    type: Literal["booking"]


class SearchHitUser(TypedDict):
    """A user with bookings."""

    bookings: int
    type: Literal["user"]
    user_id: str


SearchHit = Union[
    SearchHitBooking,
    SearchHitUser,
]
