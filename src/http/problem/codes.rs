//! The table of error codes: code, status and title of every error response.
//!
//! Codes are part of the API: clients compare them. A new meaning is a new code.

use actix_web::http::StatusCode;

macro_rules! codes {
    ($($variant:ident = $code:literal $status:literal $title:literal;)+) => {
        /// An error code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $title] $variant,)+
        }

        /// All codes: variant, code, status and title, in enum order.
        pub const CODES: &[(Code, &str, u16, &str)] =
            &[$((Code::$variant, $code, $status, $title),)+];

        /// What the body of each code has before the detail, and between it and the trace id.
        const AROUND_DETAIL: &[(&str, &str)] = &[$((
            concat!(
                r#"{"type":"urn:holdfast:problem:"#, $code, r#"","title":""#, $title,
                r#"","status":"#, $status, r#","detail":"#,
            ),
            concat!(r#","error":""#, $code, r#"","trace_id":"#),
        ),)+];
    };
}

codes! {
    InvalidJson = "invalid_json" 400 "The body is not JSON";
    InvalidParameter = "invalid_parameter" 400 "A parameter is wrong";
    InvalidRequest = "invalid_request" 400 "The request is malformed";
    IdentityConflict = "identity_conflict" 400 "Two different users are named";
    WebhookSignatureInvalid = "webhook_signature_invalid" 400 "The webhook's signature is wrong";
    WebhookStale = "webhook_stale" 400 "The webhook's time is too far off";
    PreflightRefused = "preflight_refused" 400 "Not for pages of other sites";
    IdentityMissing = "identity_missing" 401 "No user is named";
    IdentityUntrusted = "identity_untrusted" 401 "Who names the user is not trusted";
    TokenInvalid = "token_invalid" 401 "The token is not valid";
    TokenExpired = "token_expired" 401 "The token has expired";
    TicketInvalid = "ticket_invalid" 401 "The socket ticket is not valid";
    AdminKeyMissing = "admin_key_missing" 401 "An admin key is needed";
    PaymentDeclined = "payment_declined" 402 "The payment was declined";
    AdminKeyWrong = "admin_key_wrong" 403 "Not an admin key";
    AutomatedAccess = "automated_access" 403 "Automated access not allowed";
    OriginForbidden = "origin_forbidden" 403 "Not for pages of this site";
    HostForbidden = "host_forbidden" 403 "Not a name of this server";
    WaitingRoomRequired = "waiting_room_required" 403 "The waiting room is on";
    WaitingRoomTokenInvalid = "waiting_room_token_invalid" 403 "The admission token is not valid";
    WaitingRoomClosed = "waiting_room_closed" 403 "The waiting room lets nobody in";
    RouteUnknown = "route_unknown" 404 "No such route";
    EventUnknown = "event_unknown" 404 "No such event";
    BookingUnknown = "booking_unknown" 404 "No such booking";
    DeadLetterUnknown = "dead_letter_unknown" 404 "No such dead letter";
    DrawUnknown = "draw_unknown" 404 "The event has no draw";
    WebhooksOff = "webhooks_off" 404 "Webhooks are off";
    MethodNotAllowed = "method_not_allowed" 405 "Not a method of this route";
    BodyTimeout = "body_timeout" 408 "The body took too long";
    SeatsUnavailable = "seats_unavailable" 409 "Seats are not available";
    OrphanSeats = "orphan_seats" 409 "A single seat would be left alone";
    InFlight = "in_flight" 409 "Operation in progress";
    EventState = "event_state" 409 "The event is not in the state for this";
    EventClosed = "event_closed" 409 "The sale has ended";
    EventPaused = "event_paused" 409 "The sale is paused";
    NotOnSale = "not_on_sale" 409 "The sale has not begun";
    WaitingRoomOff = "waiting_room_off" 409 "The event has no waiting room now";
    SoldOut = "sold_out" 409 "Every seat is sold";
    UserLimit = "user_limit" 409 "Too many seats for one user";
    BookingCancelled = "booking_cancelled" 409 "The booking is cancelled";
    BookingConfirming = "booking_confirming" 409 "The booking is being confirmed";
    BookingConfirmed = "booking_confirmed" 409 "The booking is confirmed";
    CancellationClosed = "cancellation_closed" 409 "Confirmed bookings cannot be cancelled";
    SaleVoided = "sale_voided" 409 "The sale was voided";
    AttemptsExhausted = "attempts_exhausted" 409 "Too many payment attempts";
    HoldCapReached = "hold_cap_reached" 409 "The hold cannot last longer";
    BookingExpired = "booking_expired" 410 "The booking has expired";
    EventUnloaded = "event_unloaded" 410 "The event is unloaded";
    BodyTooLarge = "body_too_large" 413 "The body is too large";
    UriTooLong = "uri_too_long" 414 "The address is too long";
    UnsupportedMediaType = "unsupported_media_type" 415 "The body is not sent as JSON";
    ValidationFailed = "validation_failed" 422 "A field is wrong";
    SeatsUnknown = "seats_unknown" 422 "The event has no such seats";
    SectionUnknown = "section_unknown" 422 "The event has no such section";
    PaymentNotPossible = "payment_not_possible" 422 "The payment is not possible";
    AmountMismatch = "amount_mismatch" 422 "Not the booking's amount";
    IdempotencyKeyReused = "idempotency_key_reused" 422 "The idempotency key was used before";
    UpgradeRequired = "upgrade_required" 426 "A WebSocket is expected";
    RateLimitExceeded = "rate_limit_exceeded" 429 "Too many requests";
    TooManyConnections = "too_many_connections" 429 "Too many connections";
    HeadersTooLarge = "headers_too_large" 431 "The headers are too large";
    Internal = "internal_error" 500 "A defect of ours";
    ServiceUnavailable = "service_unavailable" 503 "Not available at the moment";
    OutcomeUnknown = "outcome_unknown" 503 "Not known whether it happened";
    EventNotLoaded = "event_not_loaded" 503 "The event is being loaded";
    BookingLogFull = "booking_log_full" 503 "The archive is behind";
}

impl Code {
    /// All codes.
    pub fn all() -> impl Iterator<Item = Code> {
        CODES.iter().map(|row| row.0)
    }

    /// The code in error responses and metrics.
    pub fn as_str(self) -> &'static str {
        CODES[self as usize].1
    }

    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        // A test checks every row.
        StatusCode::from_u16(CODES[self as usize].2).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What a body has before the detail, and between it and the trace id.
    pub(super) fn around_detail(self) -> (&'static str, &'static str) {
        AROUND_DETAIL[self as usize]
    }

    /// The title, the same for every problem with this code.
    pub fn title(self) -> &'static str {
        CODES[self as usize].3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_in_enum_order_and_well_formed() {
        for (index, (code, name, status, title)) in CODES.iter().enumerate() {
            assert_eq!(*code as usize, index);
            assert_eq!(code.status().as_u16(), *status);
            assert!((400..=599).contains(status) && !title.ends_with('.'), "{name}");
            assert!(CODES[index + 1..].iter().all(|other| other.1 != *name), "{name}");
        }
        assert!(CODES.is_sorted_by_key(|row| row.2), "rows are in the order of their status");
    }

    /// A changed code is a visible change in docs/API.md.
    #[test]
    fn documentation_contains_the_table() {
        let row = |(_, name, status, title): &(Code, &str, u16, &str)| {
            format!("| `{name}` | {status} | {title} |\n")
        };
        let table: String = CODES.iter().map(row).collect();
        let page = include_str!("../../../docs/API.md");
        assert!(page.contains(&table), "docs/API.md should contain:\n{table}");
    }
}
