//! State that all buyers of a run share, and the method by which they call: every call has a due time,
//! is counted and is recorded.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::Value;

use crate::bot;
use crate::client::{Client, Exchange, HttpRequest};
use crate::history::{BookingState, Call, Line, Operation, Writer};
use crate::line::Place;
use crate::options::RunOptions;
use crate::plan::{Crowd, Part, Plan};
use crate::seats::SeatMap;
use crate::tally::{Delays, Tally};

/// What a person's browser calls itself.
const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// One run of the sale.
pub struct Shop {
    /// The API.
    pub client: Client,
    /// The command line's options.
    pub options: RunOptions,
    /// The buyers.
    pub crowd: Crowd,
    /// What is sold: the event, and the second one, if there is one.
    pub events: Vec<EventOnSale>,
    /// The counts.
    pub tally: Tally,
    /// The history.
    pub history: Writer,
    /// Time 0 of the history.
    pub began: Instant,
    /// The same, Unix ms.
    pub began_unix_ms: u64,
    /// When the last response arrived, ns.
    pub last_answer_ns: AtomicU64,
    /// Prefix of user ids and keys, unique to the run.
    pub name: String,
}

/// An event as buyers find it.
pub struct EventOnSale {
    /// Its id.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Number of its seats.
    pub total_seats: u32,
    /// How long its holds last, ms.
    pub hold_ttl_ms: u64,
    /// The seat map before the first buyer arrives.
    pub map: SeatMap,
    /// Whether the run has switched its waiting room on, so that buyers join first.
    pub has_room: bool,
}

/// A call to make.
#[derive(Clone)]
pub struct CallSpec {
    /// Its kind.
    pub operation: Operation,
    /// HTTP method.
    pub method: Method,
    /// HTTP path.
    pub path: String,
    /// JSON body.
    pub body: Option<Value>,
    /// Its idempotency key.
    pub key: Option<String>,
    /// The booking in the path.
    pub about: Option<String>,
    /// The waiting room's token.
    pub token: Option<String>,
    /// How often the same request was sent before.
    pub resend: u32,
    /// Whether it names no user.
    pub is_anonymous: bool,
}

/// The result of a call.
pub struct CallResult {
    /// When it was complete.
    pub at: Instant,
    /// HTTP status, if there was a response.
    pub status: Option<u16>,
    /// The error code, or why there is no response.
    pub error: Option<String>,
    /// The response's `Retry-After`.
    pub retry_after: Option<Duration>,
    /// The booking in the response.
    pub booking: Option<BookingState>,
    /// The seat map in the response.
    pub map: Option<SeatMap>,
    /// The place in the waiting room in the response.
    pub place: Option<Place>,
}

impl Shop {
    /// Returns a buyer's user id.
    pub fn user(&self, plan: &Plan) -> String {
        let kind = if plan.part == Part::Bot { "bot" } else { "u" };
        format!("{}-{kind}{}", self.name, plan.user)
    }

    /// Returns the nanoseconds since the sale's beginning.
    pub fn ns(&self, at: Instant) -> u64 {
        // 584 years.
        at.saturating_duration_since(self.began).as_nanos() as u64
    }

    /// Returns the time from the sale's beginning to its latest response.
    pub fn sale_seconds(&self) -> f64 {
        Duration::from_nanos(self.last_answer_ns.load(Ordering::Relaxed)).as_secs_f64()
    }

    /// Makes a call that is due at `due` (the caller has waited for it).
    pub async fn run(&self, plan: &Plan, due: Instant, call: CallSpec) -> CallResult {
        let late = Instant::now().saturating_duration_since(due);
        let user = if call.is_anonymous { String::new() } else { self.user(plan) };
        let mut headers = Vec::with_capacity(5);
        if !call.is_anonymous {
            headers.push(("x-user-id", user.clone()));
        }
        let agent = if plan.part == Part::Bot { bot::agent(plan.number) } else { Some(BROWSER) };
        headers.extend(agent.map(|agent| ("user-agent", agent.to_owned())));
        if !self.options.direct {
            headers.push(("x-forwarded-for", plan.address.to_string()));
        }
        headers.extend(call.key.iter().map(|key| ("idempotency-key", key.clone())));
        headers.extend(call.token.iter().map(|token| ("x-waiting-room-token", token.clone())));
        let raw = call.operation == Operation::Map;
        let CallSpec { operation, method, path, body, key, about, resend, .. } = call;
        let request = HttpRequest { method, path, headers, raw, body };
        let answer = self.client.call(&request).await;
        let event = &self.events[plan.part.event()];
        let result = result_of(&answer, operation, event);
        let call = Call {
            event: event.id,
            bot: plan.part == Part::Bot,
            buyer: plan.number,
            user,
            address: plan.address.to_string(),
            operation,
            key,
            resend,
            due_ns: self.ns(due),
            sent_ns: answer.sent.map(|sent| self.ns(sent)),
            answered_ns: self.ns(answer.answered),
            request: request.body,
            about,
            status: result.status,
            error: result.error.clone(),
            replayed: answer.reply.as_ref().is_ok_and(|reply| reply.replayed),
            booking: result.booking.clone(),
        };
        self.tally.call(&call, plan.part, Delays { late, waited: answer.waited });
        self.last_answer_ns.fetch_max(call.answered_ns, Ordering::Relaxed);
        self.history.write(Line::Call(call)).await;
        result
    }
}

fn result_of(answer: &Exchange, operation: Operation, event: &EventOnSale) -> CallResult {
    let nothing = CallResult {
        at: answer.answered,
        status: None,
        error: None,
        retry_after: None,
        booking: None,
        map: None,
        place: None,
    };
    let reply = match &answer.reply {
        Ok(reply) => reply,
        Err(none) => return CallResult { error: Some(none.as_str().to_owned()), ..nothing },
    };
    let mut result =
        CallResult { status: Some(reply.status), retry_after: reply.retry_after, ..nothing };
    if reply.status >= 400 {
        let code = reply.json()["error"].as_str().map(str::to_owned);
        result.error = Some(code.unwrap_or_else(|| "no_error_code".to_owned()));
    } else if operation == Operation::Map {
        result.map = SeatMap::read(&reply.body, event.total_seats);
        result.error = result.map.is_none().then(|| "unreadable".to_owned());
    } else if matches!(operation, Operation::Join | Operation::Wait) {
        result.place = Place::read(&reply.json());
        result.error = result.place.is_none().then(|| "unreadable".to_owned());
    } else if operation != Operation::Leave {
        result.booking = BookingState::read(&reply.json());
        result.error = result.booking.is_none().then(|| "unreadable".to_owned());
    }
    result
}
