//! The open sockets of a process: how many there may be, in total and per client address, and how
//! each ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::web::Bytes;
use prometheus::IntCounter;

use super::connection::ConnectionError;
use super::message::Message;
use super::protocol::Protocol;
use super::update::FeedItem;
use crate::config::Config;
use crate::domain::ClientNetwork;
use crate::http::per_client::PerClient;
use crate::http::problem::{Code, Problem};
use crate::telemetry::Metrics;

/// `Retry-After` of a client that has too many sockets, seconds: some have to close first.
const RETRY_SECONDS: u32 = 5;
/// `Retry-After` while the process ends, seconds: another process may take the socket at once.
const RETRY_ENDING_SECONDS: u32 = 1;

/// Why a socket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The client closed it.
    Closed,
    /// The connection broke.
    Gone,
    /// The client received nothing for too long.
    Stalled,
    /// The client sent nothing for too long.
    Idle,
    /// The client sent too many messages.
    TooManyMessages,
    /// The client sent an invalid frame, or one that is too large.
    BadFrame,
    /// The process ends.
    Ending,
}

impl EndReason {
    fn as_str(self) -> &'static str {
        match self {
            EndReason::Closed => "closed",
            EndReason::Gone => "gone",
            EndReason::Stalled => "stalled",
            EndReason::Idle => "idle",
            EndReason::TooManyMessages => "too_many_messages",
            EndReason::BadFrame => "bad_frame",
            EndReason::Ending => "ending",
        }
    }
}

impl From<ConnectionError> for EndReason {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Broken => EndReason::Gone,
            ConnectionError::Stalled => EndReason::Stalled,
        }
    }
}

/// The open sockets of one server.
pub struct Sockets {
    total: AtomicUsize,
    total_max: usize,
    per_client: PerClient,
    per_client_max: usize,
    /// By type, in the order of [`Message::TYPES`].
    sent: [IntCounter; Message::TYPES.len()],
    metrics: Metrics,
}

/// One open socket. Counts against the bounds until it is dropped, and then by its end reason.
pub struct OpenSocket {
    permit: SocketPermit,
    end: EndReason,
}

/// A share of the socket bounds, returned when dropped.
struct SocketPermit {
    sockets: Arc<Sockets>,
    client: Option<ClientNetwork>,
    protocol: Protocol,
}

impl Sockets {
    /// No sockets are open yet.
    pub fn new(config: &Config, metrics: &Metrics) -> Self {
        let sent = |kind| metrics.socket_messages.with_label_values(&[kind]);
        Sockets {
            total: AtomicUsize::new(0),
            total_max: config.sockets_max,
            per_client: PerClient::new(metrics.limiter_entries.with_label_values(&["sockets"])),
            per_client_max: config.sockets_per_address_max,
            sent: Message::TYPES.map(sent),
            metrics: metrics.clone(),
        }
    }

    /// Registers a socket. `client` is the network that it counts for; `None` counts in total only.
    ///
    /// # Errors
    /// If a bound is reached, or the process ends.
    pub fn open(
        self: &Arc<Self>,
        client: Option<ClientNetwork>,
        protocol: Protocol,
        is_ending: bool,
    ) -> Result<OpenSocket, Problem> {
        if is_ending {
            self.count_refused("ending");
            let detail = "This server is ending; connect again, another one will answer";
            let problem = Problem::new(Code::ServiceUnavailable, detail);
            return Err(problem.retry_after(RETRY_ENDING_SECONDS));
        }
        let before = self.total.fetch_add(1, Ordering::Relaxed);
        let of_client = client.map_or(0, |client| self.per_client.enter(client));
        self.metrics.sockets_open.with_label_values(&[protocol.as_str()]).inc();
        let permit = SocketPermit { sockets: self.clone(), client, protocol };
        if before >= self.total_max {
            self.count_refused("total");
            let detail = "This server has as many open sockets as it can have; poll instead";
            let problem = Problem::new(Code::ServiceUnavailable, detail);
            return Err(problem.retry_after(RETRY_SECONDS));
        }
        if of_client > self.per_client_max {
            self.count_refused("address");
            let max = self.per_client_max;
            let detail = format!("One address may have {max} open sockets; close some");
            let problem = Problem::new(Code::TooManyConnections, detail);
            return Err(problem.retry_after(RETRY_SECONDS));
        }
        Ok(OpenSocket { permit, end: EndReason::Gone })
    }

    /// Counts a socket that was refused.
    pub fn count_refused(&self, reason: &'static str) {
        self.metrics.sockets_refused.with_label_values(&[reason]).inc();
    }
}

impl OpenSocket {
    /// A message's bytes; counts the message as sent.
    pub fn encode(&self, message: &Message) -> Bytes {
        self.count_sent(message.as_str());
        message.encode(self.permit.protocol, None)
    }

    /// An item's bytes; counts its messages as sent.
    pub fn encode_item(&self, item: FeedItem) -> Bytes {
        match item {
            FeedItem::Own(message) => self.encode(&message),
            FeedItem::Shared(batch) => {
                batch.types.iter().for_each(|kind| self.count_sent(kind));
                batch.bytes.clone()
            }
        }
    }

    fn count_sent(&self, message_type: &str) {
        let index = Message::TYPES.iter().position(|known| *known == message_type);
        // A test shows that the list is complete.
        if let Some(counter) = index.map(|index| &self.permit.sockets.sent[index]) {
            counter.inc();
        }
    }

    /// Sets why the socket ends; the default is a broken connection.
    pub fn set_end(&mut self, end: EndReason) {
        self.end = end;
    }
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        let SocketPermit { sockets, protocol, .. } = &self.permit;
        let labels = [protocol.as_str(), self.end.as_str()];
        sockets.metrics.sockets_ended.with_label_values(&labels).inc();
    }
}

impl Drop for SocketPermit {
    fn drop(&mut self) {
        self.sockets.total.fetch_sub(1, Ordering::Relaxed);
        self.sockets.metrics.sockets_open.with_label_values(&[self.protocol.as_str()]).dec();
        if let Some(client) = self.client {
            self.sockets.per_client.leave(client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(total: usize, of_address: usize) -> (Arc<Sockets>, Metrics) {
        let config =
            Config { sockets_max: total, sockets_per_address_max: of_address, ..Config::default() };
        let metrics = Metrics::new("test");
        (Arc::new(Sockets::new(&config, &metrics)), metrics)
    }

    fn client(address: &str) -> Option<ClientNetwork> {
        Some(ClientNetwork::of(address.parse().unwrap()))
    }

    #[test]
    fn open_sockets_are_bounded_until_they_are_dropped() {
        let (all, metrics) = sockets(3, 2);
        let open = |address| all.open(client(address), Protocol::WebSocket, false);
        let kept = [open("9.9.9.9").unwrap(), open("9.9.9.9").unwrap()];
        let refused = open("9.9.9.9").err().unwrap();
        assert_eq!(refused.code, Code::TooManyConnections);
        let other = all.open(client("8.8.8.8"), Protocol::EventStream, false).unwrap();
        let refused = open("7.7.7.7").err().unwrap();
        assert_eq!(refused.code, Code::ServiceUnavailable);
        let gauge = |protocol| metrics.sockets_open.with_label_values(&[protocol]).get();
        assert_eq!((gauge("websocket"), gauge("sse")), (2, 1));
        drop((kept, other));
        assert_eq!((gauge("websocket"), gauge("sse")), (0, 0));
        assert_eq!(all.per_client.state(), (0, false));
        let three = ["9.9.9.9", "9.9.9.9", "8.8.8.8"].map(|address| open(address).is_ok());
        assert_eq!(three, [true; 3]);
    }

    #[test]
    fn socket_without_client_counts_in_total_only() {
        let (all, _) = sockets(3, 1);
        let open = || all.open(None, Protocol::EventStream, false);
        let _kept = [open().unwrap(), open().unwrap(), open().unwrap()];
        assert_eq!(open().err().unwrap().code, Code::ServiceUnavailable);
    }

    #[test]
    fn ending_process_refuses_sockets() {
        let (all, metrics) = sockets(3, 3);
        let refused = all.open(client("9.9.9.9"), Protocol::WebSocket, true).err().unwrap();
        assert_eq!(refused.code, Code::ServiceUnavailable);
        assert_eq!(metrics.sockets_refused.with_label_values(&["ending"]).get(), 1);
    }

    #[test]
    fn end_is_counted_once_and_a_refused_socket_has_none() {
        let (all, metrics) = sockets(1, 1);
        let mut open = all.open(client("9.9.9.9"), Protocol::WebSocket, false).unwrap();
        assert!(all.open(client("9.9.9.9"), Protocol::WebSocket, false).is_err());
        open.set_end(EndReason::Idle);
        drop(open);
        let ended = |reason| metrics.sockets_ended.with_label_values(&["websocket", reason]).get();
        assert_eq!((ended("idle"), ended("gone")), (1, 0));
    }
}
