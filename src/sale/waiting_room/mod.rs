//! The waiting room's use cases: joining, asking, leaving, and what operators and buyers' holds
//! need of it.
//!
//! ```text
//! operator ─► MongoDB (settings, draw: compare-and-set) ─► Redis (`room_configure`)
//! join ─► Redis: a number ─► a signed token
//! ask  ─► this process' memory, until the place is served ─► Redis: `room_claim`: a session
//! hold ─► Redis: `hold` looks at the session in the same step
//! ```
//!
//! What comes between the steps:
//!
//! * *A reply of `room_join` is lost*: the user joins again and has the number that was given.
//! * *A reply of `room_claim` is lost*: the session is there; the next question finds it.
//! * *Redis forgets* all, or its last second: whoever speaks to it tells it the highest number and
//!   the highest served place that they know ([`Floors`]), a valid token tells its own. Numbers are
//!   not given twice and served places do not fall back while one process remembers; the worker
//!   keeps both in MongoDB, at most a second old, for the case that none does. Sessions that were
//!   forgotten are over for the sale, too: `hold` finds none. Their owners, and all whose place was
//!   served, claim by their tokens, first of the next batch.
//! * *A process is behind*: it knows a served place that is too low. Positions are told, and places
//!   claimed, by the served place of a second before, by Redis' time: all processes know that one,
//!   since they answer from a look that is younger, or look again. So a position does not rise, and
//!   whoever one process has admitted no other tells to wait (unless it does not reach Redis).
//! * *A room is switched*: the process that did it looks at the room before it answers. Another one
//!   may go by what was before for [`SEEN_WITHIN_SECONDS`]; but a number that was just given, or a
//!   token, is never told `open` by it: it looks first, since that answer ends the wait.
//! * *An operator changes settings while another does*: MongoDB lets one of them be first; the
//!   other looks again. Redis follows revisions upwards only.
//! * *A crash between MongoDB and Redis*: whoever looks at the room next, or the worker, brings it.
//! * *The draw*: see `docs/decisions/2026-11-22-the-draw.md`. Redis freezes who is in it, MongoDB
//!   fixes it once, and only then does it take effect.

mod room;
mod rooms;
mod standing;
mod store;
mod watch;

use std::sync::Arc;
use std::time::Instant;

use super::catalogue::Catalogue;
use super::error::AdmissionFault;
use super::{SaleError, unix_now_ms};
use crate::domain::admission_token::{AdmissionToken, TokenFault, TokenKeys};
use crate::domain::draw::PublicDraw;
use crate::domain::{DrawState, EventId, RoomState, UserId};
use crate::lifecycle::Shutdown;
use crate::lifecycle::Supervisor;
use crate::redis::{Engine, RoomJoinReply, RoomPlace};

use room::Room;
pub use room::SEEN_WITHIN_SECONDS;
use rooms::Rooms;
pub use standing::Standing;
pub use store::{RoomEdit, RoomStore};
pub use watch::{RoomUpdate, RoomWatch};

/// A place in line as it was given.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// The signed token; `None` where there is nothing to wait for.
    pub token: Option<String>,
    /// Where its owner stands.
    pub standing: Standing,
}

/// Waiting rooms as one process knows them. Cheap to clone.
#[derive(Clone)]
pub struct WaitingRoom {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    store: RoomStore,
    catalogue: Catalogue,
    rooms: Rooms,
    keys: TokenKeys,
    token_ttl_ms: i64,
}

impl WaitingRoom {
    /// With the task that looks at the rooms it knows, which ends when shutdown is requested.
    pub(super) fn start(
        engine: Engine,
        store: RoomStore,
        catalogue: Catalogue,
        keys: TokenKeys,
        supervisor: &Supervisor,
        shutdown: &Shutdown,
    ) -> Self {
        let token_ttl_ms = store.token_ttl_ms();
        let rooms = Rooms::new(engine.clone(), store.clone());
        let (looked_at, stop) = (rooms.clone(), shutdown.clone());
        let look_on = move || looked_at.clone().look_on(stop.clone());
        supervisor.spawn("waiting_rooms", shutdown, look_on);
        let inner = Inner { engine, store, catalogue, rooms, keys, token_ttl_ms };
        WaitingRoom { inner: Arc::new(inner) }
    }

    /// Where operators' settings are kept.
    pub fn store(&self) -> &RoomStore {
        &self.inner.store
    }

    /// Gives the user a place in line, once while it lives.
    ///
    /// # Errors
    /// If the event is unknown, closed or sold out, its room is off or lets nobody in; if Redis
    /// does not answer.
    pub async fn join(&self, event: EventId, user: UserId) -> Result<Ticket, SaleError> {
        self.known(event).await?;
        let room = self.inner.rooms.known(event).await?;
        let mut joined = self.inner.engine.room_join(event, &user, None, room.floors()).await?;
        if let RoomJoinReply::PlaceNeeded { number } = joined {
            let place = self.drawn_place(&room, number).await?;
            let known = Some((number, place));
            joined = self.inner.engine.room_join(event, &user, known, room.floors()).await?;
        }
        match joined {
            RoomJoinReply::Given { number, floors, revision }
            | RoomJoinReply::Replayed { number, floors, revision } => {
                room.learn(floors);
                // The number proves that the room is on, under settings of this revision.
                let seen = room.seen();
                if seen.is_open() || seen.state.revision < revision {
                    self.inner.rooms.look_since(&room, Instant::now()).await?;
                }
                let issued_ms = unix_now_ms();
                let expires_ms = issued_ms + self.inner.token_ttl_ms;
                let token = AdmissionToken { event, user, number, issued_ms, expires_ms };
                let signed = self.inner.keys.sign(&token);
                Ok(Ticket { token: Some(signed), standing: self.standing(&token).await? })
            }
            RoomJoinReply::RoomOpen => Ok(Ticket { token: None, standing: Standing::Open }),
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

    /// What a token says, if it is one of ours for this event.
    ///
    /// # Errors
    /// [`SaleError::AdmissionInvalid`] says what is wrong with it.
    pub fn verify(&self, event: EventId, text: &str) -> Result<AdmissionToken, SaleError> {
        let token = self.inner.keys.verify(text, unix_now_ms()).map_err(|fault| {
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

    /// Gives a place, or the session it became, up. Again is harmless.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn leave(&self, token: &AdmissionToken) -> Result<(), SaleError> {
        let room = self.inner.rooms.known(token.event).await?;
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

    /// How a room stands, asked now.
    ///
    /// # Errors
    /// If the event is unknown, or Redis does not answer.
    pub async fn state(&self, event: EventId) -> Result<Arc<RoomState>, SaleError> {
        self.known(event).await?;
        let room = self.inner.rooms.known(event).await?;
        self.inner.rooms.look(&room).await?;
        Ok(room.seen().state.clone())
    }

    /// The draw of an event's room, if people gather or gathered for one.
    ///
    /// # Errors
    /// If the event is unknown, or MongoDB does not answer.
    pub async fn draw(&self, event: EventId) -> Result<Option<PublicDraw>, SaleError> {
        self.known(event).await?;
        self.inner.store.public_draw(event).await
    }

    /// Which number the caller's token has; 0 where it sent none. Asks nobody: `hold` itself looks
    /// at the session.
    ///
    /// # Errors
    /// [`SaleError::AdmissionInvalid`] where a room is, or may be, on and the token is not the
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
        // Nobody has checked yet that there is such an event: it is not looked at for this. A number
        // goes to Redis in any case: another process may have switched the room on just now.
        let is_open = || self.inner.rooms.find(event).is_some_and(|room| room.is_known_open());
        match number {
            Err(_) if is_open() => Ok(0),
            number => number,
        }
    }

    /// Has this process know a room as it is now, after it has changed the room or its event.
    pub async fn look_after_change(&self, event: EventId) {
        self.inner.rooms.look_after_change(&self.inner.rooms.get(event)).await;
    }

    /// Counts an attempt to hold seats of an event that there is.
    pub(super) fn note_attempt(&self, event: EventId, now: Instant) {
        self.inner.rooms.note_attempt(event, now);
    }

    /// Whether an event's room was on when it was last looked at, a moment ago.
    pub(super) fn is_known_on(&self, event: EventId) -> bool {
        self.inner.rooms.is_known_on(event)
    }

    /// Tells a token's owner how they come forward.
    pub fn watch(&self, token: AdmissionToken) -> RoomWatch {
        RoomWatch::new(self.clone(), token)
    }

    async fn known(&self, event: EventId) -> Result<(), SaleError> {
        match self.inner.catalogue.get(event).await? {
            Some(_) => Ok(()),
            None => Err(SaleError::EventUnknown(event)),
        }
    }

    /// The place of a number that Redis says was drawn, which this process may not know yet.
    async fn drawn_place(&self, room: &Room, number: u64) -> Result<u64, SaleError> {
        let mut place = self.place(room, number).await?;
        if room.seen().state.draw != DrawState::Fixed {
            self.inner.rooms.look(room).await?;
            place = self.place(room, number).await?;
        }
        place.ok_or_else(|| SaleError::Unavailable {
            dependency: "redis",
            reason: "the draw was fixed a moment ago, and is not now".to_owned(),
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
        reason: "the call came too late".to_owned(),
        unknown: false,
    }
}
