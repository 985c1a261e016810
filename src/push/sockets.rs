//! The open sockets of a process: how many there may be, in all and of one address, and how they
//! ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::web::Bytes;
use prometheus::IntCounter;

use super::connection::Lost;
use super::feed::News;
use super::message::Message;
use crate::config::Config;
use crate::domain::ClientNetwork;
use crate::gates::Caller;
use crate::http::per_client::PerClient;
use crate::http::problem::{Code, Problem};
use crate::telemetry::Metrics;

/// When a client that has too many sockets may try again, seconds: some have to end first.
const RETRY_SECONDS: u32 = 5;
/// When to try again while the process ends, seconds: elsewhere, at once.
const RETRY_ENDING_SECONDS: u32 = 1;

/// Which protocol a socket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A WebSocket.
    WebSocket,
    /// Server-sent events.
    EventStream,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::WebSocket => "websocket",
            Kind::EventStream => "sse",
        }
    }
}

/// Why a socket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client said so.
    Closed,
    /// The connection broke.
    Gone,
    /// The client took nothing for too long.
    Stalled,
    /// The client was silent for too long.
    Idle,
    /// It said too much.
    TooManyMessages,
    /// What it sent is no WebSocket's frame, or one too large.
    BadFrame,
    /// The process ends.
    Ending,
}

impl End {
    fn as_str(self) -> &'static str {
        match self {
            End::Closed => "closed",
            End::Gone => "gone",
            End::Stalled => "stalled",
            End::Idle => "idle",
            End::TooManyMessages => "too_many_messages",
            End::BadFrame => "bad_frame",
            End::Ending => "ending",
        }
    }
}

impl From<Lost> for End {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Gone => End::Gone,
            Lost::Stalled => End::Stalled,
        }
    }
}

/// The open sockets of one server.
pub struct Sockets {
    total: AtomicUsize,
    total_max: usize,
    per_client: PerClient,
    per_client_max: usize,
    /// By type, all of [`Message::WORDS`].
    sent: [IntCounter; Message::WORDS.len()],
    metrics: Metrics,
}

/// One open socket; has its place while it lives, and is counted by how it ended.
pub struct Open {
    place: Place,
    end: End,
}

/// A place among the sockets, given back when dropped.
struct Place {
    all: Arc<Sockets>,
    client: Option<ClientNetwork>,
    kind: Kind,
}

impl Sockets {
    /// None are open yet.
    pub fn new(config: &Config, metrics: &Metrics) -> Self {
        Sockets {
            total: AtomicUsize::new(0),
            total_max: config.sockets_max,
            per_client: PerClient::new(metrics.limiter_entries.with_label_values(&["sockets"])),
            per_client_max: config.sockets_per_address_max,
            sent: Message::WORDS.map(|word| metrics.socket_messages.with_label_values(&[word])),
            metrics: metrics.clone(),
        }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// If all are taken, or all of this address, or the process ends.
    pub fn open(
        self: &Arc<Self>,
        caller: &Caller,
        kind: Kind,
        is_ending: bool,
    ) -> Result<Open, Problem> {
        if is_ending {
            self.refused("ending");
            let detail = "This server is ending; connect again, another one will answer";
            let problem = Problem::new(Code::ServiceUnavailable, detail);
            return Err(problem.retry_after(RETRY_ENDING_SECONDS));
        }
        let is_counted = !caller.on_loopback && !caller.allowed;
        let client = caller.client().filter(|_| is_counted);
        let before = self.total.fetch_add(1, Ordering::Relaxed);
        let of_client = client.map_or(0, |client| self.per_client.enter(client));
        self.metrics.sockets_open.with_label_values(&[kind.as_str()]).inc();
        let place = Place { all: self.clone(), client, kind };
        if before >= self.total_max {
            self.refused("total");
            let detail = "This server has as many open sockets as it can have; ask again instead";
            let problem = Problem::new(Code::ServiceUnavailable, detail);
            return Err(problem.retry_after(RETRY_SECONDS));
        }
        if of_client > self.per_client_max {
            self.refused("address");
            let max = self.per_client_max;
            let detail = format!("One address may have {max} open sockets; close some");
            let problem = Problem::new(Code::TooManyConnections, detail);
            return Err(problem.retry_after(RETRY_SECONDS));
        }
        Ok(Open { place, end: End::Gone })
    }

    /// Counts one that was not opened.
    pub fn refused(&self, reason: &'static str) {
        self.metrics.sockets_refused.with_label_values(&[reason]).inc();
    }
}

impl Open {
    /// A message's bytes, counted as sent.
    pub fn rendered(&self, message: &Message) -> Bytes {
        self.count(message.as_str());
        message.rendered(self.place.kind, None)
    }

    /// The bytes of news, counted as sent.
    pub fn told(&self, news: News) -> Bytes {
        match news {
            News::Own(message) => self.rendered(&message),
            News::Shared(told) => {
                told.words.iter().for_each(|word| self.count(word));
                told.bytes.clone()
            }
        }
    }

    fn count(&self, word: &str) {
        let at = Message::WORDS.iter().position(|known| *known == word);
        // A test shows that each is known.
        if let Some(counter) = at.map(|at| &self.place.all.sent[at]) {
            counter.inc();
        }
    }

    /// Says how it ends, where it is not the connection that breaks.
    pub fn ends(&mut self, end: End) {
        self.end = end;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Place { all, kind, .. } = &self.place;
        all.metrics.sockets_ended.with_label_values(&[kind.as_str(), self.end.as_str()]).inc();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.total.fetch_sub(1, Ordering::Relaxed);
        self.all.metrics.sockets_open.with_label_values(&[self.kind.as_str()]).dec();
        if let Some(client) = self.client {
            self.all.per_client.leave(client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::RouteClass;

    fn sockets(total: usize, of_address: usize) -> (Arc<Sockets>, Metrics) {
        let config =
            Config { sockets_max: total, sockets_per_address_max: of_address, ..Config::default() };
        let metrics = Metrics::new("test");
        (Arc::new(Sockets::new(&config, &metrics)), metrics)
    }

    fn caller(address: &str) -> Caller {
        Caller {
            address: Some(address.parse().unwrap()),
            is_direct: false,
            names_users: crate::gates::NamesUsers::No,
            is_backend: false,
            may_be_program: false,
            user: None,
            admin: None,
            event: None,
            class: RouteClass::Push,
            on_loopback: false,
            allowed: false,
        }
    }

    #[test]
    fn places_are_bounded_and_given_back() {
        let (all, metrics) = sockets(3, 2);
        let open = |address| all.open(&caller(address), Kind::WebSocket, false);
        let kept = [open("9.9.9.9").unwrap(), open("9.9.9.9").unwrap()];
        let refused = open("9.9.9.9").err().unwrap();
        assert_eq!(refused.code, Code::TooManyConnections);
        let other = all.open(&caller("8.8.8.8"), Kind::EventStream, false).unwrap();
        let refused = open("7.7.7.7").err().unwrap();
        assert_eq!(refused.code, Code::ServiceUnavailable);
        let gauge = |kind| metrics.sockets_open.with_label_values(&[kind]).get();
        assert_eq!((gauge("websocket"), gauge("sse")), (2, 1));
        drop((kept, other));
        assert_eq!((gauge("websocket"), gauge("sse")), (0, 0));
        assert_eq!(all.per_client.shown(), (0, false));
        let three = ["9.9.9.9", "9.9.9.9", "8.8.8.8"].map(|address| open(address).is_ok());
        assert_eq!(three, [true; 3]);
    }

    #[test]
    fn who_is_not_counted_by_address_is_counted_in_all() {
        let (all, _) = sockets(3, 1);
        let allowed = Caller { allowed: true, ..caller("9.9.9.9") };
        let local = Caller { on_loopback: true, ..caller("127.0.0.1") };
        let open = |caller: &Caller| all.open(caller, Kind::EventStream, false);
        let _kept = [open(&allowed).unwrap(), open(&allowed).unwrap(), open(&local).unwrap()];
        assert_eq!(open(&local).err().unwrap().code, Code::ServiceUnavailable);
    }

    #[test]
    fn nothing_opens_in_a_process_that_ends() {
        let (all, metrics) = sockets(3, 3);
        let refused = all.open(&caller("9.9.9.9"), Kind::WebSocket, true).err().unwrap();
        assert_eq!(refused.code, Code::ServiceUnavailable);
        assert_eq!(metrics.sockets_refused.with_label_values(&["ending"]).get(), 1);
    }

    #[test]
    fn an_end_is_counted_once_and_a_refusal_is_none() {
        let (all, metrics) = sockets(1, 1);
        let mut open = all.open(&caller("9.9.9.9"), Kind::WebSocket, false).unwrap();
        assert!(all.open(&caller("9.9.9.9"), Kind::WebSocket, false).is_err());
        open.ends(End::Idle);
        drop(open);
        let ended = |reason| metrics.sockets_ended.with_label_values(&["websocket", reason]).get();
        assert_eq!((ended("idle"), ended("gone")), (1, 0));
    }
}
