//! The OpenAPI document: the problems that routes document, and the types of fields. Those of fields that
//! are one of a few words are in `http::words`.
//!
//! | file | contents |
//! |---|---|
//! | `document` | security, derived from each route's problems |
//! | `problem_body` | the schema of a problem, and examples |

mod document;
mod problem_body;

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::response::Response;
use utoipa::openapi::schema::{AllOf, Schema, Type};
use utoipa::openapi::{ContentBuilder, Header, ObjectBuilder, Ref, RefOr, ResponseBuilder};

use crate::http::problem::{Code, PROBLEM_JSON};
pub use document::Identification;
pub use problem_body::ProblemBody;

/// Of every route: bounds of connections and heads, and defects.
const OPEN: &[Code] = &[
    Code::HostForbidden,
    Code::UriTooLong,
    Code::TooManyConnections,
    Code::HeadersTooLarge,
    Code::Internal,
];
/// Of pages that are the same for everybody: the gates that look at addresses.
const PAGE: &[Code] = &[Code::AutomatedAccess, Code::RateLimitExceeded];
/// Of routes that pass all gates.
const GATED: &[Code] = &[
    Code::InvalidParameter,
    Code::IdentityConflict,
    Code::IdentityUntrusted,
    Code::TokenInvalid,
    Code::TokenExpired,
    Code::AutomatedAccess,
    Code::RateLimitExceeded,
    Code::ServiceUnavailable,
];
/// Of routes of users, or of admins who act for them.
const USERS: &[Code] = &[Code::IdentityMissing, Code::AdminKeyWrong, Code::OriginForbidden];
/// Of routes of admins.
const ADMINS: &[Code] = &[
    Code::InvalidParameter,
    Code::IdentityConflict,
    Code::AdminKeyMissing,
    Code::AdminKeyWrong,
    Code::AutomatedAccess,
    Code::OriginForbidden,
    Code::RateLimitExceeded,
    Code::ServiceUnavailable,
];
/// Of routes that read a body.
const BODY: &[Code] = &[
    Code::InvalidJson,
    Code::InvalidRequest,
    Code::BodyTimeout,
    Code::BodyTooLarge,
    Code::UnsupportedMediaType,
];

macro_rules! problems {
    ($($(#[doc = $doc:literal])+ $name:ident: $($set:ident)+ | $($code:ident)*;)+) => {$(
        $(#[doc = $doc])+
        pub struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                // Codes of this route first: the example of a status is its first code's.
                responses(&[&[$(Code::$code),*], $($set),+].concat())
            }
        }
    )+};
}

problems! {
    /// Of probes.
    OpenProblems: OPEN |;
    /// Of metrics, which are usually on another port.
    MetricsProblems: OPEN | RouteUnknown;
    /// Of pages.
    PageProblems: OPEN PAGE |;
    /// Of files of pages, which another version may not have.
    AssetProblems: OPEN PAGE | RouteUnknown;
    /// Of the documentation, which can be switched off.
    DocsProblems: OPEN PAGE | RouteUnknown;
    /// Of reading an event.
    EventProblems: OPEN GATED | AdminKeyWrong EventUnknown EventNotLoaded;
    /// Of listing events.
    ListEventsProblems: OPEN GATED | AdminKeyWrong;
    /// Of reading a seat map.
    SeatsProblems: OPEN GATED | AdminKeyWrong EventUnknown EventUnloaded EventNotLoaded;
    /// Of following an event.
    StreamProblems: OPEN GATED | TicketInvalid WaitingRoomTokenInvalid EventUnknown;
    /// Of opening a WebSocket.
    SocketProblems: OPEN GATED | TicketInvalid OriginForbidden EventUnknown UpgradeRequired;
    /// Of getting a ticket for a socket.
    TicketProblems: OPEN GATED USERS | EventUnknown;
    /// Of reading as an admin.
    AdminProblems: OPEN ADMINS |;
    /// Of reading about an event as an admin.
    AdminEventProblems: OPEN ADMINS | EventUnknown;
    /// Of reading a booking as an admin.
    AdminBookingProblems: OPEN ADMINS | BookingUnknown;
    /// Of checking what is stored.
    CheckProblems: OPEN ADMINS BODY | EventUnknown InFlight ValidationFailed OutcomeUnknown;
    /// Of changing limits.
    LimitProblems: OPEN ADMINS BODY | ValidationFailed OutcomeUnknown;
    /// Of replaying a dead letter.
    ReplayProblems: OPEN ADMINS | DeadLetterUnknown OutcomeUnknown;
    /// Of exporting sales.
    SalesProblems: OPEN ADMINS | EventUnknown;
    /// Of creating an event.
    NewEventProblems: OPEN ADMINS BODY | ValidationFailed OutcomeUnknown;
    /// Of changing an event.
    ChangeEventProblems: OPEN ADMINS BODY | EventUnknown EventState ValidationFailed
        OutcomeUnknown;
    /// Of blocking and releasing seats.
    BlockProblems: OPEN ADMINS BODY | EventUnknown SeatsUnavailable EventUnloaded ValidationFailed
        SeatsUnknown SectionUnknown OutcomeUnknown EventNotLoaded;
    /// Of listing blocks.
    ListBlocksProblems: OPEN ADMINS | EventUnknown;
    /// Of holding seats.
    HoldProblems: OPEN GATED USERS BODY | WaitingRoomRequired WaitingRoomTokenInvalid
        WaitingRoomClosed EventUnknown SeatsUnavailable OrphanSeats InFlight EventClosed
        EventPaused NotOnSale UserLimit ValidationFailed SeatsUnknown SectionUnknown
        IdempotencyKeyReused OutcomeUnknown EventNotLoaded BookingLogFull;
    /// Of switching a waiting room.
    RoomChangeProblems: OPEN ADMINS BODY | EventUnknown EventState ValidationFailed OutcomeUnknown;
    /// Of joining a waiting room.
    JoinProblems: OPEN GATED USERS | WaitingRoomTokenInvalid WaitingRoomClosed EventUnknown
        EventClosed WaitingRoomOff SoldOut OutcomeUnknown EventNotLoaded;
    /// Of asking with an admission token.
    AdmissionProblems: OPEN GATED | WaitingRoomTokenInvalid WaitingRoomClosed EventUnknown
        OutcomeUnknown;
    /// Of leaving a waiting room.
    LeaveProblems: OPEN GATED BODY | WaitingRoomTokenInvalid WaitingRoomClosed EventUnknown
        ValidationFailed OutcomeUnknown;
    /// Of a waiting room's figures.
    RoomProblems: OPEN GATED | EventUnknown;
    /// Of a draw.
    DrawProblems: OPEN GATED | EventUnknown DrawUnknown;
    /// Of listing bookings.
    ListProblems: OPEN GATED USERS |;
    /// Of reading a booking.
    BookingProblems: OPEN GATED USERS | BookingUnknown EventNotLoaded;
    /// Of extending or cancelling a booking.
    ChangeBookingProblems: OPEN GATED USERS BODY | BookingUnknown InFlight BookingCancelled
        BookingConfirming BookingConfirmed CancellationClosed EventClosed SaleVoided HoldCapReached
        BookingExpired ValidationFailed OutcomeUnknown EventNotLoaded BookingLogFull;
    /// Of a payment provider's webhook.
    WebhookProblems: OPEN BODY | WebhookSignatureInvalid WebhookStale WebhooksOff
        ServiceUnavailable;
    /// Of paying.
    ConfirmProblems: OPEN GATED USERS BODY | PaymentDeclined BookingUnknown InFlight
        BookingCancelled SaleVoided AttemptsExhausted BookingExpired ValidationFailed
        PaymentNotPossible AmountMismatch IdempotencyKeyReused OutcomeUnknown EventNotLoaded;
}

/// One response per status: its codes in words, and an example.
fn responses(codes: &[Code]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in codes {
        let same = by_status.entry(code.status().as_u16()).or_default();
        if !same.contains(code) {
            same.push(*code);
        }
    }
    let named = |(status, codes): (u16, Vec<Code>)| (status.to_string(), response(status, &codes));
    by_status.into_iter().map(named).collect()
}

fn response(status: u16, codes: &[Code]) -> RefOr<Response> {
    let words = codes.iter().map(|code| format!("`{}`: {}", code.as_str(), code.title()));
    let description: Vec<String> = words.collect();
    // Every status has at least the code that made its entry.
    let example = codes.first().map(|code| problem_body::example(*code));
    let these = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(codes.iter().map(|code| code.as_str())));
    let narrowed = ObjectBuilder::new().schema_type(Type::Object).property("error", these);
    let schema = AllOf::builder()
        .item(Ref::from_schema_name("Problem"))
        .item(narrowed.required("error"))
        .build();
    let content =
        ContentBuilder::new().schema(Some(Schema::AllOf(schema))).example(example).build();
    let response = ResponseBuilder::new()
        .description(description.join("; "))
        .content(PROBLEM_JSON, content)
        .header("X-Trace-Id", header(Type::String, "Names this request in our logs."));
    let response = match status {
        429 => response
            .header("Retry-After", retry_after())
            .header(
                "RateLimit-Policy",
                header(Type::String, "The rule: `\"name\";q=limit;w=seconds`."),
            )
            .header(
                "RateLimit",
                header(Type::String, "What is left: `\"name\";r=left;t=seconds`."),
            ),
        503 => response.header("Retry-After", retry_after()),
        _ => response,
    };
    response.build().into()
}

fn header(kind: Type, description: &str) -> Header {
    let mut header = Header::new(ObjectBuilder::new().schema_type(kind));
    header.description = Some(description.to_owned());
    header
}

fn retry_after() -> Header {
    header(Type::Integer, "Seconds after which to send the request again.")
}
