//! The waiting room's use cases: joining, querying the status, leaving, and the interface to
//! operators' settings and to holds.
//!
//! ```text
//! operator ─► MongoDB (settings, draw: compare-and-set) ─► Redis (`room_configure`)
//! join   ─► Redis: a number ─► a signed token
//! status ─► this process' memory, until the place is served ─► Redis: `room_claim`: a session
//! hold   ─► Redis: `hold` checks the session in the same step
//! ```
//!
//! What may happen between the steps:
//!
//! * *A reply of `room_join` is lost*: the user joins again and gets the same number.
//! * *A reply of `room_claim` is lost*: the session exists; the next status query finds it.
//! * *Redis loses* all data, or its last second: every call passes the highest number and the highest
//!   served place that the process knows ([`Floors`]), and a valid token names its own. Numbers are
//!   not given twice and served places do not fall back while one process remembers; the worker
//!   stores both in MongoDB, at most a second old, for the case that none does. Lost sessions are
//!   over for the sale, too: `hold` finds none. Their owners, and all whose place was served, claim
//!   by their tokens, first of the next batch.
//! * *A process is behind*: it knows a served place that is too low. Positions are computed, and places
//!   claimed, by the served place of a second before, by Redis' time: all processes know that one,
//!   since they use a snapshot that is younger, or refresh it. So a position does not rise, and a user
//!   whom one process has admitted is not sent back to wait by another (unless that one does not reach
//!   Redis).
//! * *A room is switched*: the process that did it refreshes the room before it responds. Another one
//!   may use the previous state for [`SETTINGS_APPLY_WITHIN_SECONDS`]; but for a new number or a
//!   token it never responds `open` without a refresh, since that response ends the wait.
//! * *Two operators change settings at once*: MongoDB accepts one of them; the other reads again and
//!   retries. Redis accepts rising revisions only.
//! * *A crash between MongoDB and Redis*: the next refresh of the room, or the worker, configures it.
//! * *The draw*: see `docs/decisions/2026-11-22-the-draw.md`. Redis freezes its participants, MongoDB
//!   fixes it once, and only then does it take effect.

mod queue_status;
mod room;
mod rooms;
mod store;
mod watch;

use std::sync::Arc;
use std::time::Instant;

use super::catalogue::Catalogue;
use super::error::AdmissionFault;
use super::{SaleError, unix_now_ms};
use arc_swap::ArcSwap;

use crate::domain::admission_token::{AdmissionToken, TokenFault, TokenKeys};
use crate::domain::draw::PublicDraw;
use crate::domain::{DrawState, EventId, RoomState, UserId};
use crate::lifecycle::Shutdown;
use crate::lifecycle::Supervisor;
use crate::redis::{Engine, RoomJoinReply, RoomPlace};

pub use queue_status::QueueStatus;
use room::Room;
pub use room::SETTINGS_APPLY_WITHIN_SECONDS;
use rooms::RoomCache;
pub use store::{RoomEdit, RoomStore};
pub use watch::{RoomUpdate, RoomWatch};

/// The result of joining.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// The signed token; `None` if there is no need to wait.
    pub token: Option<String>,
    /// The status of its owner.
    pub queue_status: QueueStatus,
}

/// The waiting rooms of one process. Cheap to clone.
#[derive(Clone)]
pub struct WaitingRoom {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    store: RoomStore,
    catalogue: Catalogue,
    rooms: RoomCache,
    keys: ArcSwap<TokenKeys>,
    token_ttl_ms: i64,
}

impl WaitingRoom {
    /// Starts the task that refreshes the known rooms; it ends when shutdown is requested.
    pub(super) fn start(
        engine: Engine,
        store: RoomStore,
        catalogue: Catalogue,
        keys: TokenKeys,
        supervisor: &Supervisor,
        shutdown: &Shutdown,
    ) -> Self {
        let token_ttl_ms = store.token_ttl_ms();
        let rooms = RoomCache::new(engine.clone(), store.clone());
        let (refreshed, stop) = (rooms.clone(), shutdown.clone());
        let refresh_loop = move || refreshed.clone().refresh_loop(stop.clone());
        supervisor.spawn("waiting_rooms", shutdown, refresh_loop);
        let keys = ArcSwap::from_pointee(keys);
        let inner = Inner { engine, store, catalogue, rooms, keys, token_ttl_ms };
        WaitingRoom { inner: Arc::new(inner) }
    }

    /// The keys that sign tokens.
    pub fn token_keys(&self) -> Arc<TokenKeys> {
        self.inner.keys.load_full()
    }

    /// Signs and verifies tokens with these keys from now on.
    pub fn replace_token_keys(&self, keys: TokenKeys) {
        self.inner.keys.store(Arc::new(keys));
    }

    /// The store of operators' settings.
    pub fn store(&self) -> &RoomStore {
        &self.inner.store
    }

    /// Gives the user a number, the same one while it is valid.
    ///
    /// # Errors
    /// If the event is unknown, closed or sold out; if its room is off or rejects everybody; if
    /// Redis does not answer.
    pub async fn join(&self, event: EventId, user: UserId) -> Result<Ticket, SaleError> {
        self.check_event(event).await?;
        let room = self.inner.rooms.loaded(event).await?;
        let mut joined = self.inner.engine.room_join(event, &user, None, room.floors()).await?;
        if let RoomJoinReply::PlaceNeeded { number } = joined {
            let place = self.drawn_place(&room, number).await?;
            let drawn = Some((number, place));
            joined = self.inner.engine.room_join(event, &user, drawn, room.floors()).await?;
        }
        match joined {
            RoomJoinReply::Given { number, floors, revision }
            | RoomJoinReply::Replayed { number, floors, revision } => {
                room.learn(floors);
                // The number proves that the room is on, under settings of this revision.
                let snapshot = room.snapshot();
                if snapshot.is_open() || snapshot.state.revision < revision {
                    self.inner.rooms.refresh_since(&room, Instant::now()).await?;
                }
                let issued_ms = unix_now_ms();
                let expires_ms = issued_ms + self.inner.token_ttl_ms;
                let token = AdmissionToken { event, user, number, issued_ms, expires_ms };
                let signed = self.inner.keys.load().sign(&token);
                Ok(Ticket { token: Some(signed), queue_status: self.queue_status(&token).await? })
            }
            RoomJoinReply::RoomOpen => Ok(Ticket { token: None, queue_status: QueueStatus::Open }),
            RoomJoinReply::RoomOff => Err(SaleError::RoomOff(event)),
            RoomJoinReply::RoomRejects => Err(SaleError::RoomRejects(event)),
            RoomJoinReply::SoldOut => Err(SaleError::SoldOut(event)),
            RoomJoinReply::EventClosed => Err(SaleError::EventClosed(event)),
            RoomJoinReply::EventNotLoaded => Err(SaleError::EventNotLoaded(event)),
            RoomJoinReply::TooLate => Err(too_late()),
            RoomJoinReply::PlaceNeeded { number } => {
                Err(SaleError::Internal(format!("number {number} was drawn twice")))
            }
        }
    }

    /// Verifies a token of this deployment for this event.
    ///
    /// # Errors
    /// [`SaleError::AdmissionInvalid`] names the fault.
    pub fn verify(&self, event: EventId, text: &str) -> Result<AdmissionToken, SaleError> {
        let token = self.inner.keys.load().verify(text, unix_now_ms()).map_err(|fault| {
            SaleError::AdmissionInvalid(match fault {
                TokenFault::Expired | TokenFault::Outdated => AdmissionFault::Expired,
                TokenFault::OtherDeployment => AdmissionFault::OtherDeployment,
                TokenFault::Malformed | TokenFault::Altered | TokenFault::UnknownKey => {
                    AdmissionFault::Altered
                }
            })
        })?;
        if token.event != event {
            return Err(SaleError::AdmissionInvalid(AdmissionFault::OtherEvent));
        }
        Ok(token)
    }

    /// Gives up a number, or the session it became. Repeating it is harmless.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn leave(&self, token: &AdmissionToken) -> Result<(), SaleError> {
        let room = self.inner.rooms.loaded(token.event).await?;
        let place = self.place(&room, token.number).await?.unwrap_or_default();
        let leaving = RoomPlace {
            user: &token.user,
            number: token.number,
            place,
            issued_ms: token.issued_ms,
        };
        let left = self.inner.engine.room_leave(token.event, leaving, room.floors()).await?;
        room.learn(left.1);
        room.note_left(token.number);
        Ok(())
    }

    /// Returns the present state of a room.
    ///
    /// # Errors
    /// If the event is unknown, or Redis does not answer.
    pub async fn state(&self, event: EventId) -> Result<Arc<RoomState>, SaleError> {
        self.check_event(event).await?;
        let room = self.inner.rooms.loaded(event).await?;
        self.inner.rooms.refresh(&room).await?;
        Ok(room.snapshot().state.clone())
    }

    /// Returns the draw of an event's room, if it has one.
    ///
    /// # Errors
    /// If the event is unknown, or MongoDB does not answer.
    pub async fn draw(&self, event: EventId) -> Result<Option<PublicDraw>, SaleError> {
        self.check_event(event).await?;
        self.inner.store.public_draw(event).await
    }

    /// Returns the number of the caller's token; 0 without a token. Uses no service: `hold` itself
    /// checks the session.
    ///
    /// # Errors
    /// [`SaleError::AdmissionInvalid`] if the room is, or may be, on and the token is not the
    /// caller's for this event.
    pub fn entry(
        &self,
        event: EventId,
        user: Option<&UserId>,
        token: Option<&str>,
    ) -> Result<u64, SaleError> {
        let Some(text) = token else { return Ok(0) };
        let number = self.verify(event, text).and_then(|token| match user {
            Some(user) if *user != token.user => {
                Err(SaleError::AdmissionInvalid(AdmissionFault::OtherUser))
            }
            _ => Ok(token.number),
        });
        // The event may not exist: nothing is loaded for this. A number is passed to Redis in any
        // case: another process may just have switched the room on.
        let is_open = || self.inner.rooms.find(event).is_some_and(|room| room.is_known_open());
        match number {
            Err(_) if is_open() => Ok(0),
            number => number,
        }
    }

    /// Refreshes this process' snapshot after it has changed the room or its event.
    pub async fn refresh_after_change(&self, event: EventId) {
        self.inner.rooms.refresh_after_change(&self.inner.rooms.get(event)).await;
    }

    /// Counts an attempt to hold seats of an existing event.
    pub(super) fn note_attempt(&self, event: EventId, now: Instant) {
        self.inner.rooms.note_attempt(event, now);
    }

    /// Whether an event's room is on by a fresh snapshot.
    pub(super) fn is_known_on(&self, event: EventId) -> bool {
        self.inner.rooms.is_known_on(event)
    }

    /// Follows the status of a token's owner.
    pub fn watch(&self, token: AdmissionToken) -> RoomWatch {
        RoomWatch::new(self.clone(), token)
    }

    async fn check_event(&self, event: EventId) -> Result<(), SaleError> {
        match self.inner.catalogue.get(event).await? {
            Some(_) => Ok(()),
            None => Err(SaleError::EventUnknown(event)),
        }
    }

    /// The place of a number that Redis says was drawn; this process may not have the draw yet.
    async fn drawn_place(&self, room: &Room, number: u64) -> Result<u64, SaleError> {
        let mut place = self.place(room, number).await?;
        if room.snapshot().state.draw != DrawState::Fixed {
            self.inner.rooms.refresh(room).await?;
            place = self.place(room, number).await?;
        }
        place.ok_or_else(|| SaleError::Unavailable {
            dependency: "redis",
            reason: "the draw was fixed a moment ago and is not fixed now".to_owned(),
            unknown: false,
        })
    }

    /// The place of a number; `None` while people gather for the draw.
    async fn place(&self, room: &Room, number: u64) -> Result<Option<u64>, SaleError> {
        self.inner.rooms.place(room, number).await
    }
}

/// The refusal of a call that reached Redis after its `not_after`.
fn too_late() -> SaleError {
    SaleError::Unavailable {
        dependency: "redis",
        reason: "the call arrived after its deadline".to_owned(),
        unknown: false,
    }
}
