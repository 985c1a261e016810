//! What all buyers of a run share, and the one way in which they call: due at a moment, counted
//! and written down whatever comes of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::Value;

use crate::client::{Answer, Ask, Client};
use crate::history::{Call, Line, Operation, Told, Writer};
use crate::options::RunOptions;
use crate::plan::Plan;
use crate::seats::SeatMap;
use crate::tally::Tally;

/// The sale as buyers see it.
pub struct Shop {
    /// The API.
    pub client: Client,
    /// What was asked for.
    pub options: RunOptions,
    /// What is sold.
    pub event: u32,
    /// How many seats it has.
    pub total_seats: u32,
    /// The map as it was before anybody came.
    pub map: SeatMap,
    /// The counts.
    pub tally: Tally,
    /// The history.
    pub history: Writer,
    /// Time 0 of the history.
    pub began: Instant,
    /// When the last answer came, ns.
    pub last_answer_ns: AtomicU64,
    /// What this run's users and keys begin with, so that another run's are others.
    pub name: String,
}

/// One call of a buyer.
#[derive(Clone)]
pub struct Errand {
    /// What for.
    pub operation: Operation,
    /// How.
    pub method: Method,
    /// Where.
    pub path: String,
    /// The body.
    pub body: Option<Value>,
    /// Its idempotency key.
    pub key: Option<String>,
    /// The booking it is about.
    pub about: Option<String>,
    /// Which sending this is.
    pub resend: u32,
}

/// What a buyer learns.
pub struct Learned {
    /// When.
    pub at: Instant,
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The error code, or why there was no answer.
    pub error: Option<String>,
    /// How long to wait before the same again.
    pub retry_after: Option<Duration>,
    /// The booking answered.
    pub booking: Option<Told>,
    /// The seat map answered.
    pub map: Option<SeatMap>,
}

impl Shop {
    /// A buyer's name.
    pub fn user(&self, plan: &Plan) -> String {
        format!("{}-u{}", self.name, plan.user)
    }

    /// Nanoseconds since the sale's beginning.
    pub fn ns(&self, at: Instant) -> u64 {
        // 584 years.
        at.saturating_duration_since(self.began).as_nanos() as u64
    }

    /// From the sale's beginning until its last answer so far.
    pub fn sale_seconds(&self) -> f64 {
        Duration::from_nanos(self.last_answer_ns.load(Ordering::Relaxed)).as_secs_f64()
    }

    /// Makes a call that is due at `due` (the caller has waited for it).
    pub async fn run(&self, plan: &Plan, due: Instant, errand: Errand) -> Learned {
        self.tally.late(Instant::now().saturating_duration_since(due));
        let user = self.user(plan);
        let mut headers = vec![("x-user-id", user.clone())];
        headers.push(("x-forwarded-for", plan.address.to_string()));
        headers.extend(errand.key.iter().map(|key| ("idempotency-key", key.clone())));
        let raw = errand.operation == Operation::Map;
        let Errand { operation, method, path, body, key, about, resend } = errand;
        let ask = Ask { method, path, headers, raw, body };
        let answer = self.client.call(&ask).await;
        answer.waited.iter().for_each(|waited| self.tally.waited(*waited));
        let learned = self.learn(&answer, operation);
        let call = Call {
            buyer: plan.number,
            user,
            address: plan.address.to_string(),
            operation,
            key,
            resend,
            due_ns: self.ns(due),
            sent_ns: answer.sent.map(|sent| self.ns(sent)),
            answered_ns: self.ns(answer.answered),
            request: ask.body,
            about,
            status: learned.status,
            error: learned.error.clone(),
            replayed: answer.reply.as_ref().is_ok_and(|reply| reply.replayed),
            booking: learned.booking.clone(),
        };
        self.tally.call(&call);
        self.last_answer_ns.fetch_max(call.answered_ns, Ordering::Relaxed);
        self.history.write(Line::Call(call)).await;
        learned
    }

    fn learn(&self, answer: &Answer, operation: Operation) -> Learned {
        let nothing = Learned {
            at: answer.answered,
            status: None,
            error: None,
            retry_after: None,
            booking: None,
            map: None,
        };
        let reply = match &answer.reply {
            Ok(reply) => reply,
            Err(none) => return Learned { error: Some(none.as_str().to_owned()), ..nothing },
        };
        let mut learned =
            Learned { status: Some(reply.status), retry_after: reply.retry_after, ..nothing };
        if reply.status >= 400 {
            let code = reply.json()["error"].as_str().map(str::to_owned);
            learned.error = Some(code.unwrap_or_else(|| "no_error_code".to_owned()));
        } else if operation == Operation::Map {
            learned.map = SeatMap::read(&reply.body, self.total_seats);
            learned.error = learned.map.is_none().then(|| "unreadable".to_owned());
        } else {
            learned.booking = Told::read(&reply.json());
            learned.error = learned.booking.is_none().then(|| "unreadable".to_owned());
        }
        learned
    }
}
