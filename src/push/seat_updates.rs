//! One subscriber's stream of an event's seat updates.

use std::sync::Arc;

use actix_web::http::header::HeaderName;
use tokio::sync::watch;

use super::channel::{Cursor, Delivery, EventChannel, Tick};
use super::message::Message;
use super::protocol::Protocol;
use super::update::{EncodedBatch, Update};
use crate::http::params::Query;
use crate::http::problem::Problem;
use crate::http::request_head::RequestHead;
use crate::live::ViewVersion;

/// The header with which an event stream reconnects: the last `id` that it received.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The same as a query parameter, as polyfills of `EventSource` send it.
const LAST_EVENT_ID_PARAMETER: &str = "lastEventId";

/// Where a client wants its updates to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartOptions {
    /// The version that the client received on an earlier connection.
    since: Option<ViewVersion>,
    map_source: MapSource,
}

/// One subscriber of an event's channel.
pub struct SeatUpdates {
    channel: Arc<EventChannel>,
    ticks: watch::Receiver<Option<Arc<Tick>>>,
    protocol: Protocol,
    map_source: MapSource,
    position: ClientPosition,
}

/// How a client gets the seat map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MapSource {
    /// The server pushes a snapshot.
    Pushed,
    /// The client fetches it by a separate request.
    Fetched,
}

/// The version that a client has.
#[derive(Clone, Copy)]
enum ClientPosition {
    /// None.
    Unknown,
    /// A version that it claims to have received on an earlier connection.
    Resuming(ViewVersion),
    /// A version that it was sent on this connection.
    At(Cursor),
}

impl StartOptions {
    /// Reads `Last-Event-ID` or `since`, and `snapshot`.
    ///
    /// # Errors
    /// If a parameter is invalid. An invalid header is no error, since a browser would repeat it:
    /// the client is sent a gap.
    pub fn parse(head: &RequestHead, query: &Query) -> Result<Self, Problem> {
        let map_source = match query.get("snapshot")? {
            None | Some("bytes") => MapSource::Pushed,
            Some("none") => MapSource::Fetched,
            Some(_) => return Err(Problem::parameter("snapshot", "must be bytes or none")),
        };
        let in_header = head.header(&LAST_EVENT_ID).filter(|id| !id.is_empty());
        let in_query = query.get(LAST_EVENT_ID_PARAMETER)?.filter(|id| !id.is_empty());
        let since = match (in_header.or(in_query), query.get("since")?) {
            (Some(id), _) => Some(id.parse().unwrap_or_default()),
            (_, None) => None,
            (_, Some(text)) => Some(text.parse().map_err(|_| {
                let expected =
                    "must be a version that was sent before: generation-version, as 1-42";
                Problem::parameter("since", expected)
            })?),
        };
        Ok(StartOptions { since, map_source })
    }
}

impl SeatUpdates {
    /// Subscribes to a channel.
    pub fn new(channel: Arc<EventChannel>, protocol: Protocol, start: StartOptions) -> Self {
        let ticks = channel.subscribe();
        let position = start.since.map_or(ClientPosition::Unknown, ClientPosition::Resuming);
        SeatUpdates { channel, ticks, protocol, map_source: start.map_source, position }
    }

    /// The current version, for the first message. Updates continue from there, or from the version
    /// at which the client resumes.
    pub fn begin(&mut self) -> Option<ViewVersion> {
        let tick = self.ticks.borrow().clone()?;
        let version = tick.view_version();
        if matches!((self.map_source, self.position), (MapSource::Fetched, ClientPosition::Unknown))
        {
            self.position = ClientPosition::At(tick.cursor(version));
        }
        Some(version)
    }

    /// Waits for the next update. Cancel-safe.
    pub async fn next(&mut self) -> Arc<EncodedBatch> {
        loop {
            let tick = self.ticks.borrow_and_update().clone();
            if let Some(batch) = tick.and_then(|tick| self.next_in(&tick)) {
                return batch;
            }
            if self.ticks.changed().await.is_err() {
                // This subscriber owns the channel, so the sender lives as long.
                std::future::pending::<()>().await;
            }
        }
    }

    fn next_in(&mut self, tick: &Tick) -> Option<Arc<EncodedBatch>> {
        let cursor = match self.position {
            ClientPosition::At(cursor) => cursor,
            ClientPosition::Resuming(version) => match tick.resume(version) {
                Some(cursor) => cursor,
                None => return Some(self.gap(tick, Some(version))),
            },
            ClientPosition::Unknown if self.map_source == MapSource::Fetched => {
                return Some(self.gap(tick, None));
            }
            ClientPosition::Unknown => {
                return Some(self.deliver(tick, &self.channel.snapshot(tick)));
            }
        };
        self.position = ClientPosition::At(cursor);
        match self.channel.next(tick, cursor) {
            Delivery::Nothing => None,
            Delivery::Tick => Some(self.deliver(tick, tick.update())),
            Delivery::Merged(update) if update.is_empty() => {
                // The client has reached this tick, or a later version.
                self.position = ClientPosition::At(tick.cursor(update.version));
                self.next_in(tick)
            }
            Delivery::Merged(update) => Some(self.deliver(tick, &update)),
            Delivery::Gap => Some(self.gap(tick, Some(cursor.version))),
        }
    }

    /// Moves the cursor to the update's version, and returns its bytes.
    fn deliver(&mut self, tick: &Tick, update: &Update) -> Arc<EncodedBatch> {
        self.position = ClientPosition::At(tick.cursor(update.version));
        update.encoded(self.protocol)
    }

    /// A gap message; a snapshot follows unless the client fetches the map.
    fn gap(&mut self, tick: &Tick, from: Option<ViewVersion>) -> Arc<EncodedBatch> {
        let to = match self.map_source {
            MapSource::Pushed => {
                self.position = ClientPosition::Unknown;
                self.channel.snapshot(tick).version
            }
            MapSource::Fetched => {
                self.position = ClientPosition::At(tick.cursor(tick.view_version()));
                tick.view_version()
            }
        };
        let message = Message::gap(self.channel.event(), from, to);
        let bytes = message.encode(self.protocol, None);
        Arc::new(EncodedBatch { bytes, types: vec![message.as_str()] })
    }
}
