//! The problems that routes document, and the schema of a problem.

use std::collections::BTreeMap;

use serde_json::json;
use utoipa::openapi::response::Response;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use crate::http::problem::{Code, PROBLEM_JSON};

/// An error.
#[derive(ToSchema)]
#[expect(dead_code, reason = "problems are written member by member; this describes them")]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Names the kind of error.
    #[schema(example = "urn:holdfast:problem:seats_unavailable")]
    pub r#type: String,
    /// The kind of error in words, always the same.
    #[schema(example = "Seats are not available")]
    pub title: String,
    /// The HTTP status.
    #[schema(example = 409)]
    pub status: u16,
    /// What is wrong with this request and how to mend it.
    #[schema(example = "Seats 210, 211, 212 are not available")]
    pub detail: String,
    /// The code to compare.
    #[schema(example = "seats_unavailable")]
    pub error: String,
    /// Names this request in our logs; also in `X-Trace-Id`.
    #[schema(example = "4bf92f3577b34da6a3ce929d0e0e4736")]
    pub trace_id: String,
}

macro_rules! problems {
    ($($(#[doc = $doc:literal])+ $name:ident: $($code:ident)+;)+) => {$(
        $(#[doc = $doc])+
        pub struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                responses(&[$(Code::$code),+])
            }
        }
    )+};
}

problems! {
    /// Of reading an event.
    EventProblems: InvalidParameter IdentityConflict AdminKeyWrong EventUnknown ServiceUnavailable
        EventNotLoaded;
    /// Of listing events.
    ListEventsProblems: InvalidParameter IdentityConflict AdminKeyWrong ServiceUnavailable;
    /// Of reading a seat map.
    SeatsProblems: InvalidParameter IdentityConflict AdminKeyWrong EventUnknown EventUnloaded
        ServiceUnavailable EventNotLoaded;
    /// Of following an event.
    StreamProblems: InvalidParameter IdentityConflict WaitingRoomTokenInvalid EventUnknown
        TooManyConnections ServiceUnavailable;
    /// Of opening a WebSocket.
    SocketProblems: InvalidParameter IdentityConflict OriginForbidden EventUnknown UpgradeRequired
        TooManyConnections ServiceUnavailable;
    /// Of exporting sales.
    SalesProblems: InvalidParameter IdentityConflict AdminKeyMissing AdminKeyWrong EventUnknown
        ServiceUnavailable;
    /// Of creating an event.
    NewEventProblems: InvalidJson InvalidParameter InvalidRequest IdentityConflict AdminKeyMissing
        AdminKeyWrong BodyTimeout BodyTooLarge UnsupportedMediaType ValidationFailed
        ServiceUnavailable OutcomeUnknown;
    /// Of changing an event.
    ChangeEventProblems: InvalidJson InvalidParameter InvalidRequest IdentityConflict
        AdminKeyMissing AdminKeyWrong EventUnknown BodyTimeout EventState BodyTooLarge
        UnsupportedMediaType ValidationFailed ServiceUnavailable OutcomeUnknown;
    /// Of blocking and releasing seats.
    BlockProblems: InvalidJson InvalidParameter InvalidRequest IdentityConflict AdminKeyMissing
        AdminKeyWrong EventUnknown BodyTimeout SeatsUnavailable EventUnloaded BodyTooLarge
        UnsupportedMediaType ValidationFailed SeatsUnknown SectionUnknown ServiceUnavailable
        OutcomeUnknown EventNotLoaded;
    /// Of listing blocks.
    ListBlocksProblems: InvalidParameter IdentityConflict AdminKeyMissing AdminKeyWrong
        EventUnknown ServiceUnavailable;
    /// Of holding seats.
    HoldProblems: InvalidJson InvalidParameter InvalidRequest IdentityConflict IdentityMissing
        WaitingRoomRequired WaitingRoomTokenInvalid WaitingRoomClosed EventUnknown BodyTimeout SeatsUnavailable OrphanSeats InFlight EventClosed EventPaused NotOnSale
        UserLimit BodyTooLarge UnsupportedMediaType ValidationFailed SeatsUnknown
        SectionUnknown IdempotencyKeyReused ServiceUnavailable OutcomeUnknown EventNotLoaded
        BookingLogFull;
    /// Of switching a waiting room.
    RoomChangeProblems: InvalidJson InvalidParameter InvalidRequest IdentityConflict
        AdminKeyMissing AdminKeyWrong EventUnknown BodyTimeout EventState BodyTooLarge
        UnsupportedMediaType ValidationFailed ServiceUnavailable OutcomeUnknown;
    /// Of joining a waiting room.
    JoinProblems: InvalidParameter IdentityConflict IdentityMissing WaitingRoomTokenInvalid
        WaitingRoomClosed EventUnknown EventClosed WaitingRoomOff SoldOut ServiceUnavailable
        OutcomeUnknown EventNotLoaded;
    /// Of asking with an admission token.
    AdmissionProblems: InvalidParameter IdentityConflict WaitingRoomTokenInvalid
        WaitingRoomClosed ServiceUnavailable OutcomeUnknown;
    /// Of a waiting room's figures.
    RoomProblems: InvalidParameter IdentityConflict EventUnknown ServiceUnavailable;
    /// Of a draw.
    DrawProblems: InvalidParameter IdentityConflict EventUnknown DrawUnknown ServiceUnavailable;
    /// Of listing bookings.
    ListProblems: InvalidParameter IdentityConflict IdentityMissing ServiceUnavailable;
    /// Of reading a booking.
    BookingProblems: InvalidParameter IdentityConflict IdentityMissing BookingUnknown
        ServiceUnavailable EventNotLoaded;
    /// Of extending or cancelling a booking.
    ChangeBookingProblems: InvalidJson InvalidParameter InvalidRequest IdentityConflict
        IdentityMissing BookingUnknown BodyTimeout InFlight BookingCancelled BookingConfirming
        BookingConfirmed SaleVoided HoldCapReached BookingExpired BodyTooLarge UnsupportedMediaType
        ServiceUnavailable OutcomeUnknown EventNotLoaded BookingLogFull;
    /// Of a payment provider's webhook.
    WebhookProblems: InvalidJson InvalidRequest WebhookSignatureInvalid WebhookStale WebhooksOff
        BodyTimeout BodyTooLarge ServiceUnavailable;
    /// Of paying.
    ConfirmProblems: InvalidJson InvalidParameter InvalidRequest IdentityConflict IdentityMissing
        PaymentDeclined BookingUnknown BodyTimeout InFlight BookingCancelled SaleVoided
        AttemptsExhausted BookingExpired BodyTooLarge UnsupportedMediaType ValidationFailed
        PaymentNotPossible AmountMismatch IdempotencyKeyReused ServiceUnavailable OutcomeUnknown
        EventNotLoaded;
}

/// One response per status: its codes in words, and an example.
fn responses(codes: &[Code]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in codes {
        by_status.entry(code.status().as_u16()).or_default().push(*code);
    }
    let response = |(status, codes): (u16, Vec<Code>)| {
        let words = codes.iter().map(|code| format!("`{}`: {}", code.as_str(), code.title()));
        let description: Vec<String> = words.collect();
        // Every status has at least the code that made its entry.
        let example = codes.first().map(|code| {
            json!({
                "type": format!("urn:holdfast:problem:{}", code.as_str()), "title": code.title(),
                "status": status, "detail": code.title(), "error": code.as_str(),
                "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            })
        });
        let schema = Ref::from_schema_name("Problem");
        let content = ContentBuilder::new().schema(Some(schema)).example(example).build();
        let response = ResponseBuilder::new()
            .description(description.join("; "))
            .content(PROBLEM_JSON, content)
            .build();
        (status.to_string(), RefOr::T(response))
    };
    by_status.into_iter().map(response).collect()
}
