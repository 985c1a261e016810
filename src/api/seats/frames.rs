//! The newest frame of each event, and its bodies: rendered once, given out to all who ask.
//!
//! An event's seats are looked up at most `seat_map_renders_per_second` times a second, by one of those
//! who ask. What a crowd asked for is rendered before the new frame takes the place of the last, so
//! that nobody waits for it; anything else when it is first asked for. A frame that nobody asks for
//! leaves memory, and bodies that do not fit are streamed to who asks, as those of giant events are.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Bytes;
use futures_util::FutureExt;
use prometheus::IntCounter;
use prometheus::core::Atomic;
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::domain::{Event, EventId, SeatId};
use crate::http::outgoing::{STREAM_BYTES, no_room};
use crate::http::problem::Problem;
use crate::http::response_memory::{Charge, ResponseMemory};
use crate::lifecycle::Shutdown;
use crate::sale::{CoalescingCache, Newest, Sale, SaleError};
use crate::telemetry::Metrics;
use crate::telemetry::striped::{Striped, StripedCounter};

use super::frame::{Form, Frame, Rendering, SHARED_SEATS_MAX, Seats, Shelf, What};
use super::frame::{estimated_bytes, render};
use super::render::{Pieces, Which};

/// How long a frame that nobody asks for stays.
const IDLE: Duration = Duration::from_secs(30);
/// The same where room is needed.
const IDLE_WHEN_FULL: Duration = Duration::from_secs(1);
/// How often idle frames are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Bodies rendered at a time: a processor's work each.
const RENDERS_AT_ONCE: usize = 2;
/// How long a caller waits for a body.
const RENDER_WAIT: Duration = Duration::from_secs(10);

/// The frames of one server.
pub struct Frames {
    paced: CoalescingCache<Arc<Frame>>,
    shelf: Arc<Shelf>,
    rendering: Arc<Semaphore>,
    meters: Meters,
    /// Answers from a body that was there, and those that had to be rendered.
    hits: Striped,
    misses: Striped,
}

/// A body.
pub enum Body {
    /// Shared with all who ask for it.
    Whole(Bytes),
    /// Rendered as it is sent; what that counts as in memory.
    Streamed(Pieces, Charge),
}

struct Meters {
    renders: HashMap<&'static str, IntCounter>,
    shared: StripedCounter,
    rendered: StripedCounter,
    streamed: StripedCounter,
    not_modified: StripedCounter,
    by_view: IntCounter,
    by_redis: IntCounter,
    unchanged: IntCounter,
}

/// What is in memory.
pub struct Stored {
    /// Bodies of seats.
    pub maps: usize,
    /// Bodies of counts.
    pub availability: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Answers from a body that was there, or without one.
    pub hits: u64,
    /// Answers for which one had to be rendered.
    pub misses: u64,
}

impl Frames {
    /// No frames yet.
    pub fn new(config: &Config, memory: Arc<ResponseMemory>, metrics: &Metrics) -> Self {
        Frames {
            paced: CoalescingCache::new(config.seat_map_renders_per_second),
            shelf: Arc::new(Shelf::new(memory)),
            rendering: Arc::new(Semaphore::new(RENDERS_AT_ONCE)),
            meters: Meters::new(metrics),
            hits: Striped::default(),
            misses: Striped::default(),
        }
    }

    /// The newest frame of an event, at most an interval old.
    ///
    /// # Errors
    /// If nobody knows the seats.
    pub async fn newest(
        self: &Arc<Self>,
        sale: &Sale,
        event: &Arc<Event>,
    ) -> Result<Arc<Frame>, SaleError> {
        let look = {
            let (frames, sale, event) = (self.clone(), sale.clone(), event.clone());
            move |before| async move { frames.look(&sale, event, before).await }
        };
        self.paced.get(event.id, look).await
    }

    /// Looks at the newest frame, if it is at hand: what [`Frames::newest`] would give, without
    /// becoming an owner of it, for every request there is.
    pub fn get_if_fresh<R>(&self, event: EventId, look: impl FnOnce(&Frame) -> R) -> Option<R> {
        self.paced.get_if_fresh(event, |frame| look(frame))
    }

    /// Has an event's seats looked up anew for whoever asks from now on: they were changed by whom
    /// this process is about to answer.
    pub fn outdate(&self, event: EventId) {
        self.paced.outdate(event);
    }

    /// A body that is there, and whole.
    pub fn body_at_hand(&self, frame: &Frame, form: &Form) -> Option<Bytes> {
        let rendering = frame.body(form)?;
        let bytes = rendering.peek()?.clone()?;
        self.meters.shared.inc();
        self.hits.inc_by(1);
        Some(bytes)
    }

    /// The newest frame once the one that is given out now is not any more: for whoever has seen a
    /// newer version.
    ///
    /// # Errors
    /// As [`Frames::newest`].
    pub async fn next(
        self: &Arc<Self>,
        sale: &Sale,
        event: &Arc<Event>,
    ) -> Result<Arc<Frame>, SaleError> {
        tokio::time::sleep(self.paced.interval()).await;
        self.newest(sale, event).await
    }

    async fn look(
        self: Arc<Self>,
        sale: &Sale,
        event: Arc<Event>,
        before: Option<Arc<Frame>>,
    ) -> Result<Arc<Frame>, SaleError> {
        let known = before.as_ref().map(|frame| frame.mark());
        let (map, by_view) = match (sale.newest_seats(event, known).await?, &before) {
            (Newest::Seats(map, by_view), _) => (map, by_view),
            (Newest::Unchanged, Some(frame)) => {
                self.meters.unchanged.inc();
                frame.count_anew();
                return Ok(frame.clone());
            }
            (Newest::Unchanged, None) => {
                return Err(SaleError::Internal("nothing is as unchanged".to_owned()));
            }
        };
        if by_view { &self.meters.by_view } else { &self.meters.by_redis }.inc();
        // A million seats take a millisecond or two to count.
        let counted = tokio::task::spawn_blocking(move || Seats::of(map)).await;
        let seats = counted.map_err(|error| SaleError::Internal(format!("counting: {error}")))?;
        let frame = Arc::new(Frame::new(seats.counted(self.shelf.memory())));
        for form in before.iter().flat_map(|before| before.of_the_crowd()) {
            // Where there is no room, who asks for it waits for some.
            let Some(charge) = self.charge_at_once(&frame, &form) else { continue };
            if let Some(rendering) = self.begin(&frame, &form, whole(&form), charge) {
                rendering.await;
            }
        }
        Ok(frame)
    }

    /// A body of a frame. What changed since a version is the whole where that is not known.
    ///
    /// # Errors
    /// If it could not be rendered, or not in time.
    pub async fn body(&self, sale: &Sale, frame: &Frame, form: &Form) -> Result<Body, Problem> {
        if let Some(rendering) = frame.body(form) {
            return self.rendered(rendering, true).await;
        }
        let which = which(sale, frame, form);
        let form = &as_told(form, &which);
        if let Some(rendering) = frame.body(form) {
            return self.rendered(rendering, true).await;
        }
        let rendering = match self.charge(frame, form).await {
            Some(charge) => self.begin(frame, form, which.clone(), charge),
            None => None,
        };
        if let Some(rendering) = rendering {
            return self.rendered(rendering, false).await;
        }
        let memory = self.shelf.memory();
        let charge = memory.charge_or_make_room(STREAM_BYTES).ok_or_else(|| no_room(memory))?;
        self.meters.streamed.inc();
        self.misses.inc_by(1);
        Ok(match which {
            Some(which) => {
                Body::Streamed(Pieces::new(frame.seats.clone(), which, form.detail), charge)
            }
            None => Body::Whole(render(&frame.seats, form, None, &self.shelf, charge)),
        })
    }

    async fn rendered(&self, rendering: Rendering, was_there: bool) -> Result<Body, Problem> {
        let (meter, count) = match was_there {
            true => (&self.meters.shared, &self.hits),
            false => (&self.meters.rendered, &self.misses),
        };
        meter.inc();
        count.inc_by(1);
        if let Some(Some(bytes)) = rendering.peek() {
            return Ok(Body::Whole(bytes.clone()));
        }
        match tokio::time::timeout(RENDER_WAIT, rendering).await {
            Ok(Some(bytes)) => Ok(Body::Whole(bytes)),
            Ok(None) => Err(Problem::internal("a body was not rendered")),
            Err(_) => Err(Problem::from(SaleError::Unavailable {
                dependency: "processor",
                reason: format!("a body was not rendered within {RENDER_WAIT:?}"),
                unknown: false,
            })),
        }
    }

    /// An answer without a body, as the client has it.
    pub fn note_not_modified(&self) {
        self.meters.not_modified.inc();
        self.hits.inc_by(1);
    }

    /// What is in memory.
    pub fn stored(&self) -> Stored {
        let (maps, availability) = self.shelf.bodies();
        Stored {
            maps,
            availability,
            bytes: self.shelf.bytes(),
            hits: self.hits.get(),
            misses: self.misses.get(),
        }
    }

    /// Forgets what nobody asks for, until shutdown is requested.
    pub async fn evict_idle(self: Arc<Self>, metrics: Metrics, shutdown: Shutdown) {
        while shutdown.sleep_or_shutdown(SWEEP_INTERVAL).await {
            self.paced.forget_idle(IDLE);
            metrics.seat_map_bytes.set(i64::try_from(self.shelf.bytes()).unwrap_or(i64::MAX));
            self.shelf.memory().show();
        }
    }

    /// Room for a body that is to be kept, if there is any now; idle frames and slow readers make room.
    fn charge_at_once(&self, frame: &Frame, form: &Form) -> Option<Charge> {
        if matches!(form.what, What::Map(_, count, _) if count > SHARED_SEATS_MAX) {
            return None;
        }
        let bytes = estimated_bytes(form, frame.seats.map.inventory.seats());
        let memory = self.shelf.memory();
        memory.try_charge(bytes).or_else(|| {
            self.paced.forget_idle(IDLE_WHEN_FULL);
            memory.charge_or_make_room(bytes)
        })
    }

    /// The same; waits a moment for readers that are ended.
    async fn charge(&self, frame: &Frame, form: &Form) -> Option<Charge> {
        if let Some(charge) = self.charge_at_once(frame, form) {
            return Some(charge);
        }
        if matches!(form.what, What::Map(_, count, _) if count > SHARED_SEATS_MAX) {
            return None;
        }
        let bytes = estimated_bytes(form, frame.seats.map.inventory.seats());
        self.shelf.memory().charge_when_free(bytes).await
    }

    fn begin(
        &self,
        frame: &Frame,
        form: &Form,
        which: Option<Which>,
        charge: Charge,
    ) -> Option<Rendering> {
        let (seats, shelf) = (frame.seats.clone(), self.shelf.clone());
        let (permits, form_owned) = (self.rendering.clone(), form.clone());
        frame.begin(form, || {
            self.meters.rendered_form(form);
            // A task of its own: whoever asks may hang up, the others wait for the same.
            let work = tokio::spawn(async move {
                // The semaphore is never closed; its permits are the bound.
                let _permit = permits.acquire_owned().await.ok()?;
                let render = move || render(&seats, &form_owned, which, &shelf, charge);
                tokio::task::spawn_blocking(render).await.ok()
            });
            work.map(|done| done.ok().flatten()).boxed().shared()
        })
    }
}

/// The form under which these seats are kept: a list of changes that is the whole is the map.
fn as_told(form: &Form, which: &Option<Which>) -> Form {
    match (&form.what, which) {
        (What::Changes(..), Some(Which::Range(first, count, status))) => {
            Form { what: What::Map(*first, *count, *status), ..form.clone() }
        }
        _ => form.clone(),
    }
}

/// The seats of a form that needs no view to know them.
fn whole(form: &Form) -> Option<Which> {
    match form.what {
        What::Map(first, count, status) => Some(Which::Range(first, count, status)),
        What::Unchanged => Some(Which::Changed(Vec::new())),
        What::Changes(..) | What::Bytes | What::Availability => None,
    }
}

/// The seats of a form; all in question where nobody knows any more what changed.
fn which(sale: &Sale, frame: &Frame, form: &Form) -> Option<Which> {
    match form.what {
        What::Changes(since, first, count) => {
            let changed = changed_since(sale, frame, since);
            let range = first.0..first.0 + count;
            Some(match changed {
                Some(mut seats) => {
                    seats.retain(|seat| range.contains(&seat.0));
                    Which::Changed(seats)
                }
                None => Which::Range(first, count, None),
            })
        }
        _ => whole(form),
    }
}

/// The seats that changed between a version and the frame's, and perhaps some that did after it:
/// their states are the frame's, and so right.
fn changed_since(sale: &Sale, frame: &Frame, since: u64) -> Option<Vec<SeatId>> {
    let (generation, version) = frame.mark();
    let view = sale.live().slot(frame.seats.map.event.id).view()?;
    let changes = view.changes_since(since).filter(|_| view.generation() == generation)?;
    (changes.version >= version).then(|| changes.seats.into_iter().map(|seat| seat.0).collect())
}

impl Meters {
    fn new(metrics: &Metrics) -> Self {
        let renders = &metrics.seat_map_renders;
        let answers = |how| metrics.seat_map_answers.with_label_values(&[how]);
        let looks = |from| metrics.seat_map_looks.with_label_values(&[from]);
        Meters {
            renders: Form::WORDS.map(|word| (word, renders.with_label_values(&[word]))).into(),
            shared: answers("shared"),
            rendered: answers("rendered"),
            streamed: answers("streamed"),
            not_modified: answers("not_modified"),
            by_view: looks("view"),
            by_redis: looks("redis"),
            unchanged: looks("unchanged"),
        }
    }

    fn rendered_form(&self, form: &Form) {
        if let Some(counter) = self.renders.get(form.as_str()) {
            counter.inc();
        }
    }
}
