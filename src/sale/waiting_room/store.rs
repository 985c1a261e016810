//! What operators want of waiting rooms: in MongoDB, and from there in Redis.

use crate::archive::{Archive, FixedDraw, StoredDraw, StoredRoom};
use crate::domain::draw::{Draw, PublicDraw};
use crate::domain::{DrawState, Event, EventId, Floors, RoomSettings};
use crate::redis::{Engine, RoomConfiguration};
use crate::sale::{SaleError, SaleSettings, unix_now_ms};

/// How often a change is tried again because another was quicker.
const CHANGE_ATTEMPTS_MAX: u32 = 20;
/// How long a room that is off is kept where the life of tokens is not known: a day, ms.
const KEPT_MS: i64 = 86_400_000;
/// Who is told to have made a room that switches itself on.
const BY_SURGE: &str = "surge";

/// A change of a room's settings.
pub trait RoomEdit: Fn(&mut RoomSettings) + Send + Sync {}
impl<F: Fn(&mut RoomSettings) + Send + Sync> RoomEdit for F {}

/// Where the settings are kept. Cheap to clone.
#[derive(Clone)]
pub struct RoomStore {
    engine: Engine,
    archive: Archive,
    /// How long a token is valid; a room that is off is kept for so long, ms.
    token_ttl_ms: i64,
    /// How rooms are that nobody set anything for.
    defaults: RoomSettings,
}

impl RoomStore {
    /// On these services. `defaults` are the settings of rooms that nobody set anything for.
    pub fn new(
        engine: Engine,
        archive: Archive,
        token_ttl_ms: i64,
        defaults: RoomSettings,
    ) -> Self {
        RoomStore { engine, archive, token_ttl_ms, defaults }
    }

    /// For bringing rooms into Redis alone.
    pub fn plain(engine: &Engine, archive: &Archive) -> Self {
        RoomStore::new(engine.clone(), archive.clone(), KEPT_MS, RoomSettings::default())
    }

    /// On these services, under the rules of this sale.
    pub fn of(engine: &Engine, archive: &Archive, settings: &SaleSettings) -> Self {
        let (token_ttl_ms, defaults) = (settings.token_ttl_ms, settings.room_defaults.clone());
        RoomStore::new(engine.clone(), archive.clone(), token_ttl_ms, defaults)
    }

    pub(super) fn token_ttl_ms(&self) -> i64 {
        self.token_ttl_ms
    }

    /// What is stored of a room; `None` where nobody ever wanted anything of it.
    ///
    /// # Errors
    /// If MongoDB does not answer, or has what this build cannot read.
    pub async fn stored(&self, event: EventId) -> Result<Option<StoredRoom>, SaleError> {
        Ok(self.archive.stored_room(event).await?)
    }

    /// Changes a room's settings, in MongoDB, then in Redis. `edit` may run several times.
    ///
    /// # Errors
    /// If the result cannot be; if a service does not answer: then it may have been changed, and
    /// the same change can be made again.
    pub async fn change(
        &self,
        event: EventId,
        by: &str,
        edit: impl RoomEdit,
    ) -> Result<StoredRoom, SaleError> {
        for _ in 0..CHANGE_ATTEMPTS_MAX {
            let known = self.archive.event(event).await?.ok_or(SaleError::EventUnknown(event))?;
            let before = self.stored(event).await?;
            let mut next = before.clone().unwrap_or_else(|| self.fresh(event));
            edit(&mut next.settings);
            next.settings.check().map_err(SaleError::Invalid)?;
            self.prepare_draw(&known, &mut next).await?;
            let is_new = before
                .as_ref()
                .is_none_or(|before| before.settings != next.settings || before.draw != next.draw);
            if is_new {
                next.revision += 1;
                (next.by, next.at_ms) = (by.to_owned(), unix_now_ms());
                if !self.archive.change_room(&next).await? {
                    continue;
                }
            }
            self.configure(&next, Floors::default()).await?;
            return Ok(next);
        }
        Err(SaleError::Unavailable {
            dependency: "mongodb",
            reason: format!(
                "others changed the waiting room {CHANGE_ATTEMPTS_MAX} times meanwhile"
            ),
            unknown: false,
        })
    }

    fn fresh(&self, event: EventId) -> StoredRoom {
        let settings = self.defaults.clone();
        StoredRoom { event, revision: 0, settings, draw: None, by: String::new(), at_ms: 0 }
    }

    /// Opens a draw where one is wanted. INVARIANT: its secret is never changed once its
    /// commitment could be seen.
    async fn prepare_draw(&self, event: &Event, room: &mut StoredRoom) -> Result<(), SaleError> {
        let reason = match (&room.draw, room.settings.shuffle) {
            (None, false) | (Some(_), true) => return Ok(()),
            (Some(draw), false) if draw.fixed.is_some() => return Ok(()),
            (Some(_), false) => "people gather for its draw, which cannot be taken back".to_owned(),
            (None, true) => {
                let now_ms = unix_now_ms();
                let state = self.engine.room_look(event.id, 0, 0, Floors::default()).await?;
                if state.floors.joined > 0 {
                    let reason = "people have joined already, and were told where they stand";
                    return Err(SaleError::EventState {
                        event: event.id,
                        reason: reason.to_owned(),
                    });
                }
                if event.on_sale_at_ms.is_some_and(|at_ms| at_ms > now_ms) {
                    room.draw = Some(StoredDraw::open(&rand::random(), now_ms));
                    return Ok(());
                }
                "those who come before its sale begins are shuffled, and it has begun; give it an \
                 on_sale_at ahead, or leave `shuffle` out"
                    .to_owned()
            }
        };
        Err(SaleError::EventState { event: event.id, reason })
    }

    /// Brings what is stored into Redis, with the floors that MongoDB and the caller know; whether
    /// there is anything. A room that switches itself on by default is made where `is_asked_for`.
    ///
    /// # Errors
    /// If a service does not answer.
    pub async fn bring(
        &self,
        event: EventId,
        floors: Floors,
        is_asked_for: bool,
    ) -> Result<bool, SaleError> {
        let mut stored = self.stored(event).await?;
        if stored.is_none() && is_asked_for && self.defaults.surge.automatic {
            let made = StoredRoom {
                revision: 1,
                by: BY_SURGE.to_owned(),
                at_ms: unix_now_ms(),
                ..self.fresh(event)
            };
            // Another may be quicker: then that one is it.
            self.archive.change_room(&made).await?;
            stored = self.stored(event).await?;
        }
        let Some(stored) = stored else { return Ok(false) };
        self.configure(&stored, floors).await?;
        Ok(true)
    }

    async fn configure(&self, room: &StoredRoom, floors: Floors) -> Result<(), SaleError> {
        let floors = floors.max(self.archive.room_floors(room.event).await?);
        let fixed = room.draw.as_ref().and_then(|draw| draw.fixed.as_ref());
        let configuration = RoomConfiguration {
            // The draw's fixing is no revision of the settings, but Redis has to follow it.
            revision: room.revision * 2 + u64::from(fixed.is_some()),
            settings: &room.settings,
            draw: match (&room.draw, fixed) {
                (None, _) => DrawState::None,
                (Some(_), None) => DrawState::Gathering,
                (Some(_), Some(_)) => DrawState::Fixed,
            },
            draw_joined: fixed.map_or(0, |fixed| fixed.joiners),
            commitment: room.draw.as_ref().map_or("", |draw| &draw.commitment),
            keep_ms: self.token_ttl_ms as u64,
        };
        self.engine.room_configure(room.event, &configuration, floors).await?;
        Ok(())
    }

    /// Ends the gathering of a room whose sale has begun: freezes who is in the draw (Redis),
    /// records it (MongoDB, once), lets it take effect (Redis). Whether it took effect. A crash
    /// between the steps is mended by running it again; of two at once, one records.
    ///
    /// # Errors
    /// If a service does not answer.
    pub async fn hold_draw(&self, event: EventId) -> Result<bool, SaleError> {
        let Some((joiners, joins_hash)) = self.engine.room_draw(event).await? else {
            return Ok(false);
        };
        let fixed = FixedDraw { joiners, joins_hash, at_ms: unix_now_ms() };
        let Some(draw) = self.archive.fix_draw(event, &fixed).await? else { return Ok(false) };
        if let Some(fixed) = draw.fixed {
            tracing::info!(
                event_id = %event, joiners = fixed.joiners, joins_hash = fixed.joins_hash,
                commitment = draw.commitment, "the draw is fixed",
            );
        }
        self.bring(event, Floors::default(), false).await
    }

    /// What everybody may know of a room's draw; `None` where nobody gathers or gathered for one.
    ///
    /// # Errors
    /// If MongoDB does not answer, or has what this build cannot read.
    pub async fn public_draw(&self, event: EventId) -> Result<Option<PublicDraw>, SaleError> {
        let draw = self.stored(event).await?.and_then(|room| room.draw);
        Ok(draw.map(|draw| draw.public(event)))
    }

    /// The draw of a room, computed as everybody can.
    ///
    /// # Errors
    /// If MongoDB does not answer, or has what cannot be read; if it is not fixed.
    pub(super) async fn fixed_draw(&self, event: EventId) -> Result<Draw, SaleError> {
        let public = self.public_draw(event).await?;
        let public = public.ok_or_else(|| broken(event, "it is gone"))?;
        public.draw().map_err(|fault| broken(event, &fault.to_string()))
    }
}

fn broken(event: EventId, what: &str) -> SaleError {
    SaleError::Internal(format!("the draw of event {event}: {what}"))
}
