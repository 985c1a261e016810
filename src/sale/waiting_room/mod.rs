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
//! * *A process is behind*: it knows a served place that is too low, and tells somebody to wait for
//!   half a second more. Positions are told by the served place of a second and a half before, by
//!   Redis' time: that one all processes know, so a position does not rise, whichever of them is
//!   asked (unless one of them did not reach Redis for a second).
//! * *An operator changes settings while another does*: MongoDB lets one of them be first; the
//!   other looks again. Redis follows revisions upwards only.
//! * *A crash between MongoDB and Redis*: whoever looks at the room next, or the worker, brings it.
//! * *The draw*: see `docs/decisions/2026-11-22-the-draw.md`. Redis freezes who is in it, MongoDB
//!   fixes it once, and only then does it take effect.

mod rooms;
mod store;
mod watch;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch as channel;
use tokio::task::JoinHandle;

use super::catalogue::Catalogue;
use super::error::AdmissionFault;
use super::{SaleError, unix_now_ms};
use crate::domain::admission_token::{AdmissionToken, TokenFault, TokenKeys};
use crate::domain::draw::PublicDraw;
use crate::domain::waiting_room::{estimated_wait_seconds, refresh_after_seconds};
use crate::domain::{DrawState, EventId, Floors, Method, RoomState, UserId};
use crate::redis::{Claimed, Code, Engine, Joined, RoomPlace};

use rooms::{Room, Rooms};
pub use store::{RoomEdit, RoomStore};
pub use watch::{RoomNews, RoomWatch};

/// Where somebody stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In line.
    Waiting {
        /// How many places are served before it is theirs, theirs included.
        position: u64,
        /// How long that takes, seconds, as far as can be told.
        wait_seconds: u64,
        /// When to ask again, seconds.
        refresh_seconds: u64,
    },
    /// Gathered for a draw: positions come with it.
    Gathering {
        /// How many have gathered, as far as this process knows.
        joined: u64,
        /// When to ask again, seconds.
        refresh_seconds: u64,
    },
    /// Their session lives.
    Admitted {
        /// Its end, Unix ms.
        ends_ms: i64,
        /// What is left of it, seconds.
        left_seconds: u64,
    },
    /// There is nobody to wait for: the room is off, or lets everybody through.
    Open,
    /// Every seat is sold and none is held.
    SoldOut,
}

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
    /// With the task that looks at the rooms it knows, which ends when `stop` turns true.
    pub(super) fn start(
        engine: Engine,
        store: RoomStore,
        catalogue: Catalogue,
        keys: TokenKeys,
        stop: channel::Receiver<bool>,
    ) -> (Self, JoinHandle<()>) {
        let token_ttl_ms = store.token_ttl_ms();
        let rooms = Rooms::new(engine.clone(), store.clone());
        let looking = tokio::spawn(rooms.clone().look_on(stop));
        let inner = Inner { engine, store, catalogue, rooms, keys, token_ttl_ms };
        (WaitingRoom { inner: Arc::new(inner) }, looking)
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
        if let Joined::PlaceNeeded(number) = joined {
            let place = self.drawn_place(&room, number).await?;
            let known = Some((number, place));
            joined = self.inner.engine.room_join(event, &user, known, room.floors()).await?;
        }
        match joined {
            Joined::Number { number, floors } => {
                room.learn(floors);
                let issued_ms = unix_now_ms();
                let expires_ms = issued_ms + self.inner.token_ttl_ms;
                let token = AdmissionToken { event, user, number, issued_ms, expires_ms };
                let signed = self.inner.keys.sign(&token);
                Ok(Ticket { token: Some(signed), standing: self.standing(&token).await? })
            }
            Joined::Refused(Code::RoomOpen) => Ok(Ticket { token: None, standing: Standing::Open }),
            Joined::Refused(code) => Err(refused(event, code)),
            Joined::PlaceNeeded(number) => {
                Err(SaleError::Internal(format!("number {number} was drawn twice")))
            }
        }
    }

    /// What a token says, if it is one of ours for this event.
    ///
    /// # Errors
    /// [`SaleError::AdmissionInvalid`] says what is wrong with it.
    pub fn verify(&self, event: EventId, text: &str) -> Result<AdmissionToken, SaleError> {
        let token = self.inner.keys.verify(text, unix_now_ms()).map_err(|fault| match fault {
            TokenFault::Expired => SaleError::AdmissionInvalid(AdmissionFault::Expired),
            _ => SaleError::AdmissionInvalid(AdmissionFault::Altered),
        })?;
        if token.event != event {
            return Err(SaleError::AdmissionInvalid(AdmissionFault::OtherEvent));
        }
        Ok(token)
    }

    /// Where the owner of a valid token stands. Costs Redis nothing before the place is served;
    /// then this is the claim.
    ///
    /// # Errors
    /// [`SaleError::AdmissionInvalid`] if the place or its session is over; if Redis does not
    /// answer.
    pub async fn standing(&self, token: &AdmissionToken) -> Result<Standing, SaleError> {
        let room = self.inner.rooms.known(token.event).await?;
        // It was given, so Redis must not give it again.
        room.learn(Floors { joined: token.number, served: 0 });
        let seen = room.seen();
        let state = &seen.state;
        match state.method {
            None | Some(Method::Passthrough) => return Ok(Standing::Open),
            Some(Method::Fifo | Method::Reject) => {}
        }
        if room.has_left(token.number) {
            return Err(SaleError::AdmissionInvalid(AdmissionFault::GivenUp));
        }
        let Some(place) = self.place(&room, token.number).await? else {
            let refresh_seconds = refresh_after_seconds(self.seconds_to_sale(token.event).await?);
            return Ok(Standing::Gathering { joined: room.floors().joined, refresh_seconds });
        };
        let served = room.floors().served;
        if place > served && !state.is_sold_out {
            let position = place.saturating_sub(room.show(seen.shown_served())).max(1);
            return Ok(waiting(position, seen.served_per_second, state));
        }
        if place > served {
            return Ok(Standing::SoldOut);
        }
        self.claim(&room, token, place).await
    }

    async fn claim(
        &self,
        room: &Room,
        token: &AdmissionToken,
        place: u64,
    ) -> Result<Standing, SaleError> {
        let claim = RoomPlace {
            user: &token.user,
            number: token.number,
            place,
            issued_ms: token.issued_ms,
        };
        let claimed = self.inner.engine.room_claim(token.event, claim, room.floors()).await?;
        let seen = room.seen();
        let fault = match claimed {
            Claimed::Session { ends_ms, now_ms, floors, .. } => {
                room.learn(floors);
                let left_seconds = u64::try_from(ends_ms - now_ms).unwrap_or_default() / 1_000;
                return Ok(Standing::Admitted { ends_ms, left_seconds });
            }
            _ if seen.state.is_sold_out => return Ok(Standing::SoldOut),
            Claimed::Waiting(floors) => {
                room.learn(floors);
                let ahead = place.saturating_sub(floors.served).max(1);
                return Ok(waiting(ahead, seen.served_per_second, &seen.state));
            }
            Claimed::Owed { before, floors } => {
                room.learn(floors);
                return Ok(waiting(before + 1, seen.served_per_second, &seen.state));
            }
            Claimed::Refused(Code::RoomOff | Code::RoomOpen) => return Ok(Standing::Open),
            Claimed::Refused(Code::PlaceGivenUp) => AdmissionFault::GivenUp,
            Claimed::Refused(Code::PlaceLapsed) => AdmissionFault::Lapsed,
            Claimed::Refused(Code::SessionEnded) => AdmissionFault::SessionEnded,
            Claimed::Refused(Code::NumberSuperseded) => AdmissionFault::Superseded,
            Claimed::Refused(code) => return Err(refused(token.event, code)),
        };
        Err(SaleError::AdmissionInvalid(fault))
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
        // Nobody has checked yet that there is such an event: it is not looked at for this.
        if self.inner.rooms.find(event).is_some_and(|room| room.is_known_open()) {
            return Ok(0);
        }
        let token = self.verify(event, text)?;
        if user.is_some_and(|user| *user != token.user) {
            return Err(SaleError::AdmissionInvalid(AdmissionFault::OtherUser));
        }
        Ok(token.number)
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

    async fn seconds_to_sale(&self, event: EventId) -> Result<u64, SaleError> {
        let event = self.inner.catalogue.recent(event).await?;
        let on_sale_at_ms = event.and_then(|event| event.on_sale_at_ms).unwrap_or_default();
        Ok(u64::try_from(on_sale_at_ms - unix_now_ms()).unwrap_or_default() / 1_000)
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

fn waiting(position: u64, served_per_second: f64, state: &RoomState) -> Standing {
    let wait_seconds = estimated_wait_seconds(position, served_per_second, state);
    let refresh_seconds = refresh_after_seconds(wait_seconds);
    Standing::Waiting { position, wait_seconds, refresh_seconds }
}

fn refused(event: EventId, code: Code) -> SaleError {
    match code {
        Code::RoomOff => SaleError::RoomOff(event),
        Code::RoomRejects => SaleError::RoomRejects(event),
        Code::SoldOut => SaleError::SoldOut(event),
        Code::EventClosed => SaleError::EventClosed(event),
        Code::EventNotLoaded => SaleError::EventNotLoaded(event),
        other => SaleError::Internal(format!("the waiting room answered {}", other.word())),
    }
}
