//! The API's description of itself: `/openapi.json`, collected from the handlers.

#[expect(dead_code, reason = "the document is made from their declarations")]
mod schemas;

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use actix_web::http::Method;
use serde_json::json;
use utoipa::openapi::response::Response;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, OpenApi};

use super::{
    blocks, bookings, cache_stats, docs, events, health, pages, sales, seats, updates,
    waiting_room, webhooks,
};
use crate::http::problem::{Code, PROBLEM_JSON};
use crate::push;

pub use schemas::{
    ChangeEventBody, ConfirmBody, DrawBody, EnableRoomBody, HoldBody, NewBlockBody, NewEventBody,
};
use schemas::{ProblemBody, RowSpec, SectionSpec};

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Holdfast",
        description = "An admission engine for flash sales. Amounts are integers in the \
            currency's minor unit, times are ISO 8601 in UTC. Every error is \
            `application/problem+json`; compare its `error`, show its `detail`.",
    ),
    paths(
        events::create, events::list, events::get, events::change,
        seats::map, seats::availability, updates::stream::follow, updates::socket::open, sales::csv,
        blocks::list, blocks::block, blocks::release,
        bookings::hold, bookings::list, bookings::get, bookings::confirm, bookings::pay_alias,
        bookings::extend, bookings::cancel, bookings::delete,
        waiting_room::enable, waiting_room::disable, waiting_room::join, waiting_room::leave,
        waiting_room::status, waiting_room::stats, waiting_room::draw,
        webhooks::payments,
        health::summary, health::live, health::ready, cache_stats::stats, cache_stats::stats_alias,
        pages::index, pages::openapi, pages::metrics, docs::docs, docs::docs_file,
    ),
    components(schemas(ProblemBody, NewEventBody, ChangeEventBody, SectionSpec, RowSpec, push::Message, push::ClientMessage)),
    tags(
        (name = "events", description = "What is on sale, and what is free"),
        (name = "bookings", description = "Hold, pay, extend, cancel"),
        (name = "waiting room", description = "Wait in line, or in a draw"),
        (name = "operations", description = "Health, metrics, this document"),
    ),
)]
pub struct Document;

/// Where clients send what is ours to know. Elsewhere probes, scrapers, browsers and payment providers
/// add parameters of their own.
const STRICT: [&str; 2] = ["/api/v1/", "/ws/"];
/// For those who watch, too.
const LENIENT: &str = "/api/v1/cache/stats";

/// The parameters that a route's query may have, by this document; `None`: any.
pub fn query_parameters(method: &Method, path: &str) -> Option<&'static [String]> {
    static ALL: LazyLock<HashMap<(String, String), Vec<String>>> = LazyLock::new(documented);
    if path == LENIENT || !STRICT.iter().any(|prefix| path.starts_with(prefix)) {
        return None;
    }
    let known = ALL.get(&(method.as_str().to_lowercase(), path.to_owned()));
    Some(known.map_or(&[], Vec::as_slice))
}

/// Query parameters by method and path.
fn documented() -> HashMap<(String, String), Vec<String>> {
    // It can be written as JSON: it is what `/openapi.json` answers.
    let document = serde_json::to_value(Document::openapi()).unwrap_or_default();
    let paths = document["paths"].as_object().into_iter().flatten();
    let operations = paths.flat_map(|(path, item)| {
        let methods = item.as_object().into_iter().flatten();
        methods.map(move |(method, operation)| (method, path, operation))
    });
    let named = operations.map(|(method, path, operation)| {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let in_query = parameters.filter(|one| one["in"] == "query");
        let names = in_query.filter_map(|one| one["name"].as_str().map(str::to_owned));
        ((method.clone(), path.clone()), names.collect())
    });
    named.collect()
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

/// One response a status, its codes told in words and by an example.
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
