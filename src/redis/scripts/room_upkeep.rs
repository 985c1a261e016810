//! `room_configure`, `room_admit`, `room_look`, `room_draw`: the scripts that processes run to keep
//! a waiting room going.

use super::Script;
use super::call::script_call;
use super::reply::{ScriptReply, Timed, reply_group, script_reply};
use super::room::LEAVERS_KEPT;
use crate::domain::waiting_room::Method;
use crate::domain::{DrawState, EventId, Floors, RoomSettings, RoomState, YoungBatch};
use crate::redis::engine::Engine;
use crate::redis::error::RedisError;

/// Shortest time between two batches of a room: places that become free in between are opened
/// together.
const BATCH_EVERY_MS_MIN: u64 = 200;
/// Batches that a room's books keep: those that may be claimed, and those of the last minute where
/// a cap on it is set.
const BATCHES_MAX: u64 = 128;
/// How many batches a claim window or a minute is divided into.
const BATCHES_A_SPAN: u64 = 100;
/// Users who are owed a place and may claim at the same time.
const LATE_MAX: i64 = 1_000;
/// Ended sessions that one call removes.
const ENDED_BATCH: i64 = 1_000;
/// How long ago a batch may have been opened to be reported by `room_look`. Several calls report
/// the same batch.
const YOUNG_MS: i64 = 5_000;
const MINUTE_MS: u64 = 60_000;

script_call! {
    /// Brings operators' settings in.
    pub(in crate::redis) struct RoomConfigureCall<'a>(
        /// The event.
        event: EventId,
    ) => RoomConfigureReply by Script::RoomConfigure, not_after {
        revision: u64,
        on: bool,
        method: Method,
        max_concurrent: u32,
        per_minute: u32,
        session_ms: u64,
        session_cap_ms: u64,
        renews: bool,
        claim_ms: u64,
        surge: String,
        draw: DrawState,
        draw_joined: u64,
        commitment: &'a str,
        floors: Floors,
        keep_ms: u64,
    }
    keys |call| "room", "room_numbers", "room_sessions", "room_owed", "room_left", "room_leavers"
        of call.event;
}

script_reply! {
    /// What a configuration came to.
    pub enum RoomConfigureReply {
        /// Redis has the settings.
        "ok" => Configured,
        /// Redis has this revision, or a newer one.
        "stale_revision" => StaleRevision {
            /// The revision in Redis.
            revision: u64,
        },
        /// `not_after` had passed; nothing was changed.
        "too_late" => TooLate,
    }
}

script_call! {
    /// Opens places.
    pub(in crate::redis) struct RoomAdmitCall(
        /// The event.
        event: EventId,
    ) => RoomAdmitReply by Script::RoomAdmit, not_after {
        places_max: u32,
        floors: Floors,
        batch_every_ms: u64,
        batches_max: u64,
        late_max: i64,
        ended_batch: i64,
    }
    keys |call| "event", "deadlines", "leases", "room", "room_numbers", "room_sessions",
        "room_owed", "room_left" of call.event;
}

script_reply! {
    /// What an admission came to.
    pub enum RoomAdmitReply {
        /// Places were opened.
        "ok" => Opened {
            /// How many, and the room's counters.
            admitted: RoomAdmission,
        },
        /// No place was opened.
        "nothing" => Nothing {
            /// The room's counters.
            admitted: RoomAdmission,
        },
        /// The event has no waiting room now.
        "room_off" => RoomOff,
        /// Redis does not have the event open.
        "event_not_loaded" => EventNotLoaded,
        /// `not_after` had passed; nothing was changed.
        "too_late" => TooLate,
    }
}

reply_group! {
    /// A waiting room's counters after an admission.
    #[derive(Copy, Default, Eq)]
    pub struct RoomAdmission {} {
        /// Places that the admission opened.
        opened: u64,
        /// The room's highest number and served place.
        floors: Floors,
        /// Live sessions.
        live: u64,
        /// Unclaimed places, the new ones too.
        unclaimed: u64,
        /// Users who are owed a place.
        owed: u64,
    }
}

script_call! {
    /// Reads a waiting room's state, and counts hold attempts.
    pub(in crate::redis) struct RoomLookCall(
        /// The event.
        event: EventId,
    ) => RoomLookReply by Script::RoomLook, not_after {
        attempts: u64,
        known_left: u64,
        floors: Floors,
        leavers_max: i64,
        young_ms: i64,
    }
    keys |call| "event", "deadlines", "leases", "room", "room_sessions", "room_owed", "room_left",
        "room_leavers" of call.event;
}

script_reply! {
    /// A waiting room's state.
    pub enum RoomLookReply {
        /// The state.
        "ok" => State {
            /// Its fields.
            state: Box<RoomStateFields>,
        },
        /// `not_after` had passed; nothing was changed.
        "too_late" => TooLate,
    }
}

reply_group! {
    /// The fields of a waiting room's state, see [`RoomState`].
    #[allow(missing_docs, reason = "RoomState documents them")]
    pub struct RoomStateFields {} {
        revision: u64,
        is_on: bool,
        surging: bool,
        method: Method,
        draw: DrawState,
        draw_joined: u64,
        floors: Floors,
        live: u32,
        unclaimed: u32,
        owed: u32,
        left_waiting: u64,
        left_total: u64,
        seats_free: u32,
        is_sold_out: bool,
        max_concurrent: u32,
        session_ms: u64,
        claim_ms: u64,
        leavers: Vec<u64>,
        young_batches: Vec<YoungBatch>,
        on_sale_at_ms: i64,
        is_over: bool,
    }
}

impl RoomStateFields {
    fn into_state(self, at_ms: i64) -> RoomState {
        RoomState {
            at_ms,
            revision: self.revision,
            method: self.is_on.then_some(self.method),
            by_surge: self.surging,
            floors: self.floors,
            draw: self.draw,
            draw_joined: self.draw_joined,
            live: self.live,
            unclaimed: self.unclaimed,
            owed: self.owed,
            left_waiting: self.left_waiting,
            left_total: self.left_total,
            leavers: self.leavers,
            young_batches: self.young_batches,
            seats_free: self.seats_free,
            is_sold_out: self.is_sold_out,
            max_concurrent: self.max_concurrent,
            session_ms: self.session_ms,
            claim_ms: self.claim_ms,
            on_sale_at_ms: self.on_sale_at_ms,
            is_over: self.is_over,
        }
    }
}

script_call! {
    /// Ends the gathering for a draw.
    pub(in crate::redis) struct RoomDrawCall(
        /// The event.
        event: EventId,
    ) => RoomDrawReply by Script::RoomDraw, not_after {}
    keys |call| "event", "room" of call.event;
}

script_reply! {
    /// Who is in a draw.
    pub enum RoomDrawReply {
        /// Those who joined until now.
        "ok" => Frozen {
            /// How many.
            joiners: u64,
            /// The running hash of their joins.
            joins_hash: String,
        },
        /// Nobody gathers for a draw.
        "nothing" => Nothing,
        /// Sales have not begun.
        "not_on_sale" => NotOnSale {
            /// When they begin, Unix ms.
            on_sale_at_ms: i64,
        },
        /// Redis does not have the event open.
        "event_not_loaded" => EventNotLoaded,
        /// `not_after` had passed; nothing was changed.
        "too_late" => TooLate,
    }
}

/// A waiting room's configuration, as MongoDB has it.
#[derive(Clone, Debug)]
pub struct RoomConfiguration<'a> {
    /// Revision of the configuration.
    pub revision: u64,
    /// What operators set.
    pub settings: &'a RoomSettings,
    /// `None`, `Gathering` or `Fixed`.
    pub draw: DrawState,
    /// How many are in the draw, once it is fixed.
    pub draw_joined: u64,
    /// The draw's commitment: the running hash of the joins begins with it.
    pub commitment: &'a str,
    /// How long a room that is off is kept.
    pub keep_ms: u64,
}

impl Engine {
    /// Runs `room_configure`; false if Redis had this revision, or a newer one.
    ///
    /// # Errors
    /// If the script did not run, or it is unknown whether it did; the call can be repeated.
    pub async fn room_configure(
        &self,
        event: EventId,
        room: &RoomConfiguration<'_>,
        floors: Floors,
    ) -> Result<bool, RedisError> {
        let settings = room.settings;
        let surge = match settings.surge {
            surge if surge.automatic => format!(
                "{} {} {} {}",
                surge.on_per_second, surge.on_after_ms, surge.off_per_second, surge.off_after_ms
            ),
            _ => String::new(),
        };
        let call = RoomConfigureCall {
            event,
            revision: room.revision,
            on: settings.on,
            method: settings.method,
            max_concurrent: settings.max_concurrent,
            per_minute: settings.per_minute,
            session_ms: settings.session_ms,
            session_cap_ms: settings.session_cap_ms,
            renews: settings.renews,
            claim_ms: settings.claim_ms,
            surge,
            draw: room.draw,
            draw_joined: room.draw_joined,
            commitment: room.commitment,
            floors,
            keep_ms: room.keep_ms,
        };
        Ok(self.call_room(&call).await?.reply == RoomConfigureReply::Configured)
    }

    /// Runs `room_admit`: opens as many places as may be open, `places_max` at most; `None` if the
    /// room is off or Redis does not have its event.
    ///
    /// # Errors
    /// If the script did not run, or it is unknown whether it did; the call can be repeated.
    pub async fn room_admit(
        &self,
        event: EventId,
        settings: &RoomSettings,
        places_max: u32,
        floors: Floors,
    ) -> Result<Option<RoomAdmission>, RedisError> {
        let span_ms = match settings.per_minute {
            0 => settings.claim_ms,
            _ => settings.claim_ms.max(MINUTE_MS),
        };
        let call = RoomAdmitCall {
            event,
            places_max,
            floors,
            batch_every_ms: BATCH_EVERY_MS_MIN.max(span_ms / BATCHES_A_SPAN),
            batches_max: BATCHES_MAX,
            late_max: LATE_MAX,
            ended_batch: ENDED_BATCH,
        };
        Ok(match self.call_room(&call).await?.reply {
            RoomAdmitReply::Opened { admitted } | RoomAdmitReply::Nothing { admitted } => {
                Some(admitted)
            }
            RoomAdmitReply::RoomOff | RoomAdmitReply::EventNotLoaded | RoomAdmitReply::TooLate => {
                None
            }
        })
    }

    /// Runs `room_look`. `attempts` are hold attempts since the last call; `known_left` is how many
    /// departures the caller knows.
    ///
    /// # Errors
    /// If the script did not run, or it is unknown whether it did. Attempts are not sent again.
    pub async fn room_look(
        &self,
        event: EventId,
        attempts: u64,
        known_left: u64,
        floors: Floors,
    ) -> Result<RoomState, RedisError> {
        let (leavers_max, young_ms) = (LEAVERS_KEPT, YOUNG_MS);
        let call = RoomLookCall { event, attempts, known_left, floors, leavers_max, young_ms };
        let Timed { reply, now_ms } = self.call_room(&call).await?;
        match reply {
            RoomLookReply::State { state } => Ok(state.into_state(now_ms)),
            RoomLookReply::TooLate => Err(RedisError::NotRun(reply.code().into())),
        }
    }

    /// Runs `room_draw`: freezes who is in the draw; returns how many, and the running hash of
    /// their joins. `None` if nobody gathers, or the sale has not begun.
    ///
    /// # Errors
    /// If the script did not run, or it is unknown whether it did; the call can be repeated.
    pub async fn room_draw(&self, event: EventId) -> Result<Option<(u64, String)>, RedisError> {
        Ok(match self.call_room(&RoomDrawCall { event }).await?.reply {
            RoomDrawReply::Frozen { joiners, joins_hash } => Some((joiners, joins_hash)),
            _ => None,
        })
    }
}
