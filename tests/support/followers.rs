//! Clients that follow an event's seats as the documentation describes, over either protocol.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use serde_json::Value;

use super::http::Client;
use super::sockets::{BOUND, Socket};

/// A client's copy of an event's seat map, if it has one, and the messages it has received.
#[derive(Default)]
pub struct Follower {
    /// Generation and version, and the inventory's bytes.
    map: Option<((u64, u64), Vec<u8>)>,
    /// The token to resume with.
    pub resume: Option<String>,
    /// The map at each complete version.
    pub maps: BTreeMap<(u64, u64), Vec<u8>>,
    /// Received messages by type.
    pub heard: BTreeMap<String, u32>,
}

impl Follower {
    /// Returns the generation and version of its map.
    pub fn at(&self) -> Option<(u64, u64)> {
        self.map.as_ref().map(|map| map.0)
    }

    /// Returns its map.
    pub fn bytes(&self) -> &[u8] {
        &self.map.as_ref().expect("a map").1
    }

    /// Returns a seat's letter in lower case; `None` without a map.
    pub fn bytes_at(&self, seat: usize) -> Option<u8> {
        self.map.as_ref().map(|map| map.1[seat].to_ascii_lowercase())
    }

    pub fn count(&self, kind: &str) -> u32 {
        self.heard.get(kind).copied().unwrap_or_default()
    }

    /// Drops map and token, as a new client; `maps` and `heard` remain.
    pub fn forgets(&mut self) {
        (self.map, self.resume) = (None, None);
    }

    /// Applies a message; fails if an update was missed without a `gap`.
    pub fn apply(&mut self, message: &Value) {
        let kind = message["type"].as_str().expect("a type");
        *self.heard.entry(kind.to_owned()).or_default() += 1;
        let number = |name: &str| message[name].as_u64().expect("a number");
        let mark = || (number("generation"), number("version"));
        match kind {
            "snapshot" => {
                assert!(self.map.is_none(), "a snapshot in the middle: {message}");
                let bytes = BASE64.decode(message["bytes"].as_str().unwrap().as_bytes()).unwrap();
                self.map = Some((mark(), bytes));
            }
            "gap" => self.forgets(),
            "seat_update" => {
                let (at, bytes) = self.map.as_mut().expect("a map before its changes");
                let (mark, since) = (mark(), number("since"));
                assert!(mark.0 == at.0 && since <= at.1, "missed something at {at:?}: {message}");
                assert!(mark >= *at && since < mark.1, "an old message at {at:?}: {message}");
                *at = mark;
                for seat in message["seat_ids"].as_array().unwrap() {
                    let byte = &mut bytes[seat.as_u64().unwrap() as usize];
                    let letter = match message["status"].as_str().unwrap() {
                        "AVAILABLE" => b'a',
                        "HOLD" => b'h',
                        "BOOKED" => b'b',
                        "BLOCKED" => b'x',
                        other => panic!("no status: {other}"),
                    };
                    let begins_row = byte.is_ascii_uppercase();
                    *byte = if begins_row { letter.to_ascii_uppercase() } else { letter };
                }
            }
            _ => return,
        }
        if let Some(resume) = message["resume"].as_str() {
            self.resume = Some(resume.to_owned());
            // The last message of its version: the map is complete.
            if let Some((at, bytes)) = &self.map {
                self.maps.insert(*at, bytes.clone());
            }
        }
    }

    /// Receives until it has this version.
    pub async fn comes_to(&mut self, subscription: &mut Subscription, version: u64) {
        while self.at().is_none_or(|at| at.1 < version) {
            self.apply(&subscription.next_message().await);
        }
    }
}

/// A connection over which messages arrive: a WebSocket or an event stream.
pub enum Subscription {
    Socket(Socket),
    Stream(EventStream),
}

impl Subscription {
    /// The next message.
    pub async fn next_message(&mut self) -> Value {
        match self {
            Subscription::Socket(socket) => socket.next_message().await,
            Subscription::Stream(stream) => stream.next_message().await,
        }
    }
}

/// An event stream, as a browser reads it.
pub struct EventStream {
    answer: reqwest::Response,
    read: Vec<u8>,
    /// The last `id`, which a browser sends when it reconnects.
    pub last_id: Option<String>,
}

impl Client {
    /// Opens an event stream, with this query and these headers.
    pub async fn stream_with(
        &self,
        event: u64,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> EventStream {
        let url = format!("http://{}/api/v1/events/{event}/stream{query}", self.address());
        let http = reqwest::Client::builder().build().unwrap();
        let request = headers
            .iter()
            .fold(http.get(url), |request, (name, value)| request.header(*name, *value));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        EventStream { answer, read: Vec::new(), last_id: None }
    }
}

impl EventStream {
    /// Returns the next message. Comments and `retry` are skipped and do not prolong the wait.
    pub async fn next_message(&mut self) -> Value {
        tokio::time::timeout(BOUND, self.next()).await.expect("a message within the bound")
    }

    async fn next(&mut self) -> Value {
        loop {
            let Some(end) = self.read.windows(2).position(|two| two == b"\n\n") else {
                let chunk = self.answer.chunk().await.expect("a body");
                self.read.extend_from_slice(&chunk.expect("an open stream"));
                continue;
            };
            let text = String::from_utf8(self.read.drain(..end + 2).collect()).expect("a text");
            let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
            if let Some(id) = field("id:").map(str::trim_start) {
                // A browser does not send an empty one.
                self.last_id = Some(id.to_owned()).filter(|id| !id.is_empty());
            }
            if let Some(data) = field("data: ") {
                let message: Value = serde_json::from_str(data).expect("JSON");
                assert_eq!(message["type"].as_str(), field("event: "));
                // An event stream and a WebSocket give the same position to resume from.
                assert_eq!(field("id:").map(str::trim_start), id_of(&message), "{message}");
                return message;
            }
        }
    }
}

fn id_of(message: &Value) -> Option<&str> {
    match message["type"].as_str() {
        // Of no change.
        Some("connected") => None,
        Some("gap") => Some(""),
        _ => message["resume"].as_str(),
    }
}
