//! The seats of an event as one socket's source of news.

use std::sync::Arc;

use tokio::sync::watch;

use super::channel::{At, EventChannel, Next, Tick};
use super::message::Message;
use super::sockets::Kind;
use super::tick::{News, Told};
use crate::api::state::RequestContext;
use crate::http::params::Query;
use crate::http::problem::Problem;
use crate::live::Mark;

/// What a reconnecting event stream shows of the last `id` that it was sent.
const LAST_EVENT_ID: &str = "last-event-id";
/// The same in the query, as polyfills of `EventSource` send it.
const LAST_EVENT_ID_PARAMETER: &str = "lastEventId";

/// How a client wants to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// What it was told before.
    since: Option<Mark>,
    has_map: HasMap,
}

/// What one socket is told of the seats.
pub struct SeatUpdates {
    board: Arc<EventChannel>,
    shown: watch::Receiver<Option<Arc<Tick>>>,
    kind: Kind,
    has_map: HasMap,
    place: Place,
}

/// Where a socket gets the seat map from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HasMap {
    /// It is told.
    Here,
    /// Its client fetches it.
    Elsewhere,
}

/// What a socket's client knows.
#[derive(Clone, Copy)]
enum Place {
    /// Nothing.
    Nowhere,
    /// It says that it was told this before.
    Resumes(Mark),
    /// It was told this here.
    At(At),
}

impl Wishes {
    /// What a request asks for: `Last-Event-ID` or `since`, and `snapshot`.
    ///
    /// # Errors
    /// If a parameter cannot be read. A header that cannot is of a client that will show it again:
    /// it is told of a gap.
    pub fn of(context: &RequestContext, query: &Query) -> Result<Self, Problem> {
        let has_map = match query.get("snapshot")? {
            None | Some("bytes") => HasMap::Here,
            Some("none") => HasMap::Elsewhere,
            Some(_) => return Err(Problem::parameter("snapshot", "must be bytes or none")),
        };
        let shown = context.header(LAST_EVENT_ID).filter(|shown| !shown.is_empty());
        let shown = shown.or(query.get(LAST_EVENT_ID_PARAMETER)?.filter(|shown| !shown.is_empty()));
        let since = match (shown, query.get("since")?) {
            (Some(shown), _) => Some(shown.parse().unwrap_or_default()),
            (_, None) => None,
            (_, Some(text)) => Some(text.parse().map_err(|_| {
                let expected = "must be what was told before: generation-version, as 1-42";
                Problem::parameter("since", expected)
            })?),
        };
        Ok(Wishes { since, has_map })
    }
}

impl SeatUpdates {
    /// What a board shows, to one that begins as it wishes.
    pub fn new(board: Arc<EventChannel>, kind: Kind, wishes: Wishes) -> Self {
        let shown = board.follow();
        let place = wishes.since.map_or(Place::Nowhere, Place::Resumes);
        SeatUpdates { board, shown, kind, has_map: wishes.has_map, place }
    }

    /// What is known now, for the first message; what is told later goes on from there, or from
    /// where the client resumes.
    pub fn mark(&mut self) -> Option<Mark> {
        let tick = self.shown.borrow().clone()?;
        if matches!((self.has_map, self.place), (HasMap::Elsewhere, Place::Nowhere)) {
            self.place = Place::At(tick.at(tick.mark()));
        }
        Some(tick.mark())
    }

    /// The next news; waits for them. May be dropped and asked again.
    pub async fn next(&mut self) -> Arc<Told> {
        loop {
            let tick = self.shown.borrow_and_update().clone();
            if let Some(told) = tick.and_then(|tick| self.after(&tick)) {
                return told;
            }
            if self.shown.changed().await.is_err() {
                // The board is kept by this very source.
                std::future::pending::<()>().await;
            }
        }
    }

    fn after(&mut self, tick: &Tick) -> Option<Arc<Told>> {
        let at = match self.place {
            Place::At(at) => at,
            Place::Resumes(mark) => match tick.resumed(mark) {
                Some(at) => at,
                None => return Some(self.gap(tick, Some(mark))),
            },
            Place::Nowhere if self.has_map == HasMap::Elsewhere => {
                return Some(self.gap(tick, None));
            }
            Place::Nowhere => return Some(self.tells(tick, &self.board.snapshot(tick))),
        };
        self.place = Place::At(at);
        match self.board.next(tick, at) {
            Next::Nothing => None,
            Next::Tick => Some(self.tells(tick, tick.news())),
            Next::Merged(news) if news.is_empty() => {
                // It has come to this tick, or beyond.
                self.place = Place::At(tick.at(news.mark));
                self.after(tick)
            }
            Next::Merged(news) => Some(self.tells(tick, &news)),
            Next::Gap => Some(self.gap(tick, Some(at.mark))),
        }
    }

    /// Tells news; the client has them then.
    fn tells(&mut self, tick: &Tick, news: &News) -> Arc<Told> {
        self.place = Place::At(tick.at(news.mark));
        news.told(self.kind)
    }

    /// Tells that something was missed; the snapshot is next.
    fn gap(&mut self, tick: &Tick, from: Option<Mark>) -> Arc<Told> {
        let to = match self.has_map {
            HasMap::Here => {
                self.place = Place::Nowhere;
                self.board.snapshot(tick).mark
            }
            HasMap::Elsewhere => {
                self.place = Place::At(tick.at(tick.mark()));
                tick.mark()
            }
        };
        let message = Message::gap(self.board.event(), from, to);
        let bytes = message.rendered(self.kind, None);
        Arc::new(Told { bytes, words: vec![message.as_str()] })
    }
}
