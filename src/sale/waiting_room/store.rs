//! Operators' settings of waiting rooms: stored in MongoDB, applied in Redis.

use crate::archive::{Archive, FixedDraw, StoredDraw, StoredRoom};
use crate::domain::draw::{Draw, PublicDraw};
use crate::domain::{DrawState, Event, EventId, Floors, RoomSettings};
use crate::redis::{Engine, RoomConfiguration};
use crate::sale::{SaleError, SaleSettings, unix_now_ms};

/// Attempts of one change when other operators are first.
const CHANGE_ATTEMPTS_MAX: u32 = 20;
/// How long a room that is off is kept where the lifetime of tokens is unknown: a day, ms.
const KEPT_MS: i64 = 86_400_000;
/// The recorded author of a room that was created by a surge.
const BY_SURGE: &str = "surge";

/// A change of a room's settings.
pub trait RoomEdit: Fn(&mut RoomSettings) + Send + Sync {}
impl<F: Fn(&mut RoomSettings) + Send + Sync> RoomEdit for F {}

/// The store of room settings. Cheap to clone.
#[derive(Clone)]
pub struct RoomStore {
    engine: Engine,
    archive: Archive,
    /// How long a token is valid, and a room that is off is kept, ms.
    token_ttl_ms: i64,
    /// Settings of rooms without settings of their own.
    defaults: RoomSettings,
}

impl RoomStore {
    /// Uses these services and default settings.
    pub fn new(
        engine: Engine,
        archive: Archive,
        token_ttl_ms: i64,
        defaults: RoomSettings,
    ) -> Self {
        RoomStore { engine, archive, token_ttl_ms, defaults }
    }

    /// A store that only copies rooms into Redis.
    pub fn plain(engine: &Engine, archive: &Archive) -> Self {
        RoomStore::new(engine.clone(), archive.clone(), KEPT_MS, RoomSettings::default())
    }

    /// Uses these services and the sale's settings.
    pub fn of(engine: &Engine, archive: &Archive, settings: &SaleSettings) -> Self {
        let (token_ttl_ms, defaults) = (settings.token_ttl_ms, settings.room_defaults.clone());
        RoomStore::new(engine.clone(), archive.clone(), token_ttl_ms, defaults)
    }

    pub(super) fn token_ttl_ms(&self) -> i64 {
        self.token_ttl_ms
    }

    /// Returns the stored room; `None` if it has no settings of its own.
    ///
    /// # Errors
    /// If MongoDB does not answer, or this build cannot read the room.
    pub async fn stored(&self, event: EventId) -> Result<Option<StoredRoom>, SaleError> {
        Ok(self.archive.stored_room(event).await?)
    }

    /// Changes a room's settings, in MongoDB, then in Redis. `edit` may run several times.
    ///
    /// # Errors
    /// If the result is invalid; if a service does not answer: then the change may have been made,
    /// and repeating it is safe.
    pub async fn change(
        &self,
        event: EventId,
        by: &str,
        edit: impl RoomEdit,
    ) -> Result<StoredRoom, SaleError> {
        for _ in 0..CHANGE_ATTEMPTS_MAX {
            let stored = self.archive.event(event).await?.ok_or(SaleError::EventUnknown(event))?;
            let before = self.stored(event).await?;
            let mut next = before.clone().unwrap_or_else(|| self.fresh(event));
            edit(&mut next.settings);
            next.settings.check().map_err(SaleError::Invalid)?;
            self.prepare_draw(&stored, &mut next).await?;
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
                "the waiting room was changed {CHANGE_ATTEMPTS_MAX} times by others meanwhile"
            ),
            unknown: false,
        })
    }

    fn fresh(&self, event: EventId) -> StoredRoom {
        let settings = self.defaults.clone();
        StoredRoom { event, revision: 0, settings, draw: None, by: String::new(), at_ms: 0 }
    }

    /// Opens a draw if the settings require one. INVARIANT: its secret never changes once its
    /// commitment is published.
    async fn prepare_draw(&self, event: &Event, room: &mut StoredRoom) -> Result<(), SaleError> {
        let reason = match (&room.draw, room.settings.shuffle) {
            (None, false) | (Some(_), true) => return Ok(()),
            (Some(draw), false) if draw.fixed.is_some() => return Ok(()),
            (Some(_), false) => {
                "people have gathered for its draw, which cannot be cancelled".to_owned()
            }
            (None, true) => {
                let now_ms = unix_now_ms();
                let state = self.engine.room_look(event.id, 0, 0, Floors::default()).await?;
                if state.floors.joined > 0 {
                    let reason = "people have joined already and know their positions";
                    return Err(SaleError::EventState {
                        event: event.id,
                        reason: reason.to_owned(),
                    });
                }
                if event.on_sale_at_ms.is_some_and(|at_ms| at_ms > now_ms) {
                    room.draw = Some(StoredDraw::open(&rand::random(), now_ms));
                    return Ok(());
                }
                "only those who come before the sale begins are shuffled, and it has begun; set an \
                 on_sale_at in the future, or omit `shuffle`"
                    .to_owned()
            }
        };
        Err(SaleError::EventState { event: event.id, reason })
    }

    /// Copies the stored settings into Redis, with the highest floors known to MongoDB and the caller.
    /// Returns whether the room has settings. With `has_demand`, a room that switches itself on by
    /// default is created.
    ///
    /// # Errors
    /// If a service does not answer.
    pub async fn apply_stored(
        &self,
        event: EventId,
        floors: Floors,
        has_demand: bool,
    ) -> Result<bool, SaleError> {
        let mut stored = self.stored(event).await?;
        if stored.is_none() && has_demand && self.defaults.surge.automatic {
            let made = StoredRoom {
                revision: 1,
                by: BY_SURGE.to_owned(),
                at_ms: unix_now_ms(),
                ..self.fresh(event)
            };
            // If another process is first, its room is used.
            self.archive.change_room(&made).await?;
            stored = self.stored(event).await?;
        }
        let Some(stored) = stored else { return Ok(false) };
        self.configure(&stored, floors).await?;
        Ok(true)
    }

    async fn configure(&self, room: &StoredRoom, floors: Floors) -> Result<(), SaleError> {
        // The room is stored: a breaker that opens now must not make the change look refused.
        let floors = floors.max(self.archive.patiently().room_floors(room.event).await?);
        let fixed = room.draw.as_ref().and_then(|draw| draw.fixed.as_ref());
        let configuration = RoomConfiguration {
            // Fixing the draw is no revision of the settings, but Redis has to apply it.
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

    /// Makes the draw of a room whose sale has begun: freezes its participants (Redis), records it
    /// (MongoDB, once), applies it (Redis). Returns whether it was applied. After a crash between the
    /// steps it can be run again; of two concurrent runs one records.
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
        self.apply_stored(event, Floors::default(), false).await
    }

    /// Returns the public part of a room's draw; `None` if it has none.
    ///
    /// # Errors
    /// If MongoDB does not answer, or this build cannot read the room.
    pub async fn public_draw(&self, event: EventId) -> Result<Option<PublicDraw>, SaleError> {
        let draw = self.stored(event).await?.and_then(|room| room.draw);
        Ok(draw.map(|draw| draw.public(event)))
    }

    /// Computes the draw of a room, as anybody can.
    ///
    /// # Errors
    /// If MongoDB does not answer, if the room is unreadable, or if the draw is not fixed.
    pub(super) async fn fixed_draw(&self, event: EventId) -> Result<Draw, SaleError> {
        let public = self.public_draw(event).await?;
        let public = public.ok_or_else(|| broken(event, "it is gone"))?;
        public.draw().map_err(|fault| broken(event, &fault.to_string()))
    }
}

fn broken(event: EventId, what: &str) -> SaleError {
    SaleError::Internal(format!("the draw of event {event}: {what}"))
}
