//! `/api/v1/admin/events/{event_id}/log`: an event's booking log as it grows, one JSON object a line.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::{Method, header};
use actix_web::web::{Bytes, Payload};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;

use crate::api::admin_audit::{self, AdminAction};
use crate::api::openapi::AdminEventProblems;
use crate::api::state::RequestContext;
use crate::domain::time::iso8601;
use crate::domain::{Entry, Event, EventId};
use crate::http::HandlerResult;
use crate::http::outgoing::JSON_LINES;
use crate::http::params::event_id;
use crate::http::problem::{Code, Problem};
use crate::http::words;
use crate::lifecycle::Shutdown;
use crate::live::{LogItem, LogWatch};

/// Streams of one server.
pub const LOG_STREAMS_MAX: usize = 16;
/// Longest time without a line.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// `Retry-After` while all streams are taken, seconds.
const RETRY_SECONDS: u32 = 5;

/// A line of the stream.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LogLine {
    /// The first line: entries from now on follow.
    Started {
        /// The event.
        #[schema(example = 1)]
        event_id: u32,
        /// When.
        #[schema(format = DateTime)]
        at: String,
    },
    /// An entry of the booking log.
    Entry(Box<EntryLine>),
    /// Entries were left out: this client read too slowly.
    Skipped {
        /// How many.
        entries: u64,
        /// When.
        #[schema(format = DateTime)]
        at: String,
    },
    /// Entries may be missing: the log's chain broke. Read the event again.
    Gap {
        /// When.
        #[schema(format = DateTime)]
        at: String,
    },
    /// Nothing happened for a while.
    Heartbeat {
        /// When.
        #[schema(format = DateTime)]
        at: String,
    },
}

/// An entry of the booking log.
#[derive(Serialize, ToSchema)]
pub struct EntryLine {
    /// When, by Redis' clock.
    #[schema(format = DateTime)]
    at: String,
    /// What happened.
    #[schema(value_type = words::EntryKind)]
    kind: &'static str,
    /// The booking; null for changes of the house or of the event.
    #[schema(required = true)]
    booking_id: Option<String>,
    /// Its owner.
    #[schema(required = true)]
    user_id: Option<String>,
    /// Its state after the entry.
    #[schema(value_type = Option<words::StoredStatus>, required = true)]
    status: Option<&'static str>,
    /// Its version after the entry.
    #[schema(required = true)]
    version: Option<u64>,
    /// The seats.
    seat_ids: Vec<u32>,
    /// Their names, in the same order.
    seat_labels: Vec<String>,
    /// The section of the first seat.
    #[schema(required = true)]
    section: Option<String>,
    /// The booking's price, in the currency's minor unit.
    #[schema(required = true)]
    total_amount: Option<i64>,
    /// ISO 4217 code.
    #[schema(required = true)]
    currency: Option<String>,
    /// When the hold ends.
    #[schema(format = DateTime, required = true)]
    hold_expires_at: Option<String>,
    /// Who kept seats back, or released them.
    #[schema(required = true)]
    by: Option<String>,
    /// A reason; the new state, for changes of the event.
    #[schema(required = true)]
    detail: Option<String>,
}

/// Follow an event's booking log
///
/// One JSON object a line, from now on, until the client closes it or the server ends. At most 16 streams a
/// process.
#[utoipa::path(
    get, operation_id = "follow_event_log", path = "/api/v1/admin/events/{event_id}/log", tag = "admin",
    params(("event_id" = u32, Path, description = "The event", minimum = 1, example = 1)),
    responses(
        (status = 200, description = "The stream, which lasts", body = LogLine, content_type = "application/x-ndjson"),
        AdminEventProblems,
    ),
)]
pub async fn follow(context: RequestContext, _: Payload) -> HandlerResult {
    let admin = context.gates().pass_admin(&context.head).await?;
    let id = event_id(&context.http)?;
    let target = format!("event {id}");
    let action = AdminAction { verb: "log_follow", target, detail: String::new() };
    admin_audit::recorded(&context, &admin, action, Box::pin(followed(&context, id))).await
}

async fn followed(context: &RequestContext, id: EventId) -> HandlerResult {
    let sale = &context.state.sale;
    let event = sale.known_event(id).await?;
    let permit = context.state.log_streams.clone().try_acquire_owned().map_err(|_| {
        let detail = format!("{LOG_STREAMS_MAX} logs are followed at this server; close one");
        Problem::new(Code::TooManyConnections, detail).retry_after(RETRY_SECONDS)
    })?;
    let mut response = HttpResponse::Ok();
    response.content_type(JSON_LINES);
    // Keeps proxies from transforming or buffering the stream.
    response.insert_header((header::CACHE_CONTROL, "no-store, no-transform"));
    response.insert_header(("X-Accel-Buffering", "no"));
    if context.http.method() == Method::HEAD {
        return Ok(response.finish());
    }
    let started = LogLine::Started { event_id: id.0, at: now() };
    let state = LogStream {
        unsent: VecDeque::from([started]),
        watch: sale.live().log_feed().watch(id),
        event,
        shutdown: context.state.shutdown.clone(),
        _permit: permit,
    };
    Ok(response.streaming(stream::unfold(Box::new(state), LogStream::step)))
}

/// One open stream.
struct LogStream {
    unsent: VecDeque<LogLine>,
    watch: LogWatch,
    event: Arc<Event>,
    shutdown: Shutdown,
    _permit: OwnedSemaphorePermit,
}

impl LogStream {
    /// The next line; `None` when the server ends.
    async fn step(mut self: Box<Self>) -> Option<(Result<Bytes, Infallible>, Box<Self>)> {
        let line = match self.unsent.pop_front() {
            Some(line) => line,
            None => tokio::select! {
                () = self.shutdown.requested() => return None,
                item = self.watch.next() => self.line(item),
                () = tokio::time::sleep(HEARTBEAT) => LogLine::Heartbeat { at: now() },
            },
        };
        // Strings and numbers always serialize.
        let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
        bytes.push(b'\n');
        Some((Ok(bytes.into()), self))
    }

    fn line(&self, item: LogItem) -> LogLine {
        match item {
            LogItem::Entry(entry) => LogLine::Entry(Box::new(EntryLine::new(&entry, &self.event))),
            LogItem::Skipped(entries) => LogLine::Skipped { entries, at: now() },
            LogItem::Gap => LogLine::Gap { at: now() },
        }
    }
}

impl EntryLine {
    fn new(entry: &Entry, event: &Event) -> Self {
        let (booking, house) = (entry.transition.as_ref(), entry.house.as_ref());
        let seats = booking.map(|one| one.seats.as_slice());
        let seats = seats.or(house.map(|one| one.seats.as_slice())).unwrap_or_default();
        let info = |seat| event.layout.seat(seat);
        EntryLine {
            at: iso8601(entry.time_ms),
            kind: entry.kind.as_str(),
            booking_id: booking.map(|one| one.booking.to_string()),
            user_id: booking.map(|one| one.user.to_string()),
            status: booking.map(|one| one.status.as_str()),
            version: booking.map(|one| one.version),
            seat_ids: seats.iter().map(|seat| seat.0).collect(),
            seat_labels: seats
                .iter()
                .filter_map(|seat| info(*seat).map(|info| info.label()))
                .collect(),
            section: seats.first().and_then(|seat| Some(info(*seat)?.section.to_owned())),
            total_amount: booking.map(|one| one.amount),
            currency: booking.map(|one| one.currency.clone()),
            hold_expires_at: booking.and_then(|one| super::booking_body::time(one.deadline_ms)),
            by: house.map(|one| one.actor.clone()),
            detail: super::booking_body::text(&entry.detail),
        }
    }
}

fn now() -> String {
    iso8601(jiff::Timestamp::now().as_millisecond())
}
