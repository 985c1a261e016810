//! `room_join`, `room_claim`, `room_leave`: the scripts that a user's requests to a waiting room
//! run.

use super::Script;
use super::call::{ScriptCall, script_call};
use super::reply::{ScriptReply, Timed, script_reply};
use crate::domain::{EventId, Floors, UserId};
use crate::redis::engine::Engine;
use crate::redis::error::RedisError;

/// Numbers of users who left that are kept for the other processes.
pub(super) const LEAVERS_KEPT: i64 = 1_000;

script_call! {
    /// Gives a user a number.
    pub(in crate::redis) struct RoomJoinCall<'a>(
        /// The event.
        event: EventId,
    ) => RoomJoinReply by Script::RoomJoin, not_after {
        user: &'a UserId,
        known_number: u64,
        known_place: u64,
        floors: Floors,
    }
    keys |call| "event", "deadlines", "leases", "room", "room_numbers", "room_sessions",
        "room_owed" of call.event;
}

script_reply! {
    /// What a request to join came to.
    #[derive(Copy, Eq)]
    pub enum RoomJoinReply {
        /// The user has this new number.
        "ok" => Given {
            /// The number.
            number: u64,
            /// The room's highest number and served place.
            floors: Floors,
            /// The revision of the room's settings in Redis.
            revision: u64,
        },
        /// The user had this number before.
        "replayed" => Replayed {
            /// The number.
            number: u64,
            /// The room's highest number and served place.
            floors: Floors,
            /// The revision of the room's settings in Redis.
            revision: u64,
        },
        /// The user has this number, which was drawn: another call has to name its place.
        "place_needed" => PlaceNeeded {
            /// The number.
            number: u64,
        },
        /// The event has no waiting room now.
        "room_off" => RoomOff,
        /// The waiting room lets everybody through.
        "room_open" => RoomOpen,
        /// The waiting room lets nobody in.
        "room_rejects" => RoomRejects,
        /// Every seat is sold, none is held.
        "sold_out" => SoldOut,
        /// Sales have ended.
        "event_closed" => EventClosed,
        /// Redis does not have the event open.
        "event_not_loaded" => EventNotLoaded,
        /// `not_after` had passed; nothing was changed.
        "too_late" => TooLate,
    }
}

script_call! {
    /// Makes a served place its owner's session.
    pub(in crate::redis) struct RoomClaimCall<'a>(
        /// The event.
        event: EventId,
    ) => RoomClaimReply by Script::RoomClaim, not_after {
        user: &'a UserId,
        number: u64,
        place: u64,
        issued_ms: i64,
        floors: Floors,
    }
    keys |call| "room", "room_numbers", "room_sessions", "room_owed" of call.event;
}

script_reply! {
    /// What a claim came to.
    #[derive(Copy, Eq)]
    pub enum RoomClaimReply {
        /// The user has a live session.
        "ok" => Session {
            /// Its end, Unix ms.
            ends_ms: i64,
            /// Its latest end, with renewals, Unix ms.
            cap_ms: i64,
            /// The room's highest number and served place.
            floors: Floors,
        },
        /// The place is not served yet.
        "waiting" => Waiting {
            /// The room's highest number and served place.
            floors: Floors,
        },
        /// The place is among the first of the next batch.
        "owed" => Owed {
            /// How many users are before this one.
            before_them: u64,
            /// The room's highest number and served place.
            floors: Floors,
        },
        /// The session that the place became has ended.
        "session_ended" => SessionEnded,
        /// The user gave the place, or its session, up.
        "place_given_up" => PlaceGivenUp,
        /// The place was served and not claimed in time.
        "place_lapsed" => PlaceLapsed,
        /// The user has received another number since.
        "number_superseded" => NumberSuperseded,
        /// The event has no waiting room now.
        "room_off" => RoomOff,
        /// The waiting room lets everybody through.
        "room_open" => RoomOpen,
        /// The waiting room lets nobody in.
        "room_rejects" => RoomRejects,
        /// `not_after` had passed; nothing was changed.
        "too_late" => TooLate,
    }
}

script_call! {
    /// Gives a place or a session up.
    pub(in crate::redis) struct RoomLeaveCall<'a>(
        /// The event.
        event: EventId,
    ) => RoomLeaveReply by Script::RoomLeave, not_after {
        user: &'a UserId,
        number: u64,
        place: u64,
        floors: Floors,
        leavers_kept: i64,
    }
    keys |call| "room", "room_numbers", "room_sessions", "room_owed", "room_left", "room_leavers"
        of call.event;
}

script_reply! {
    /// What a departure came to.
    pub enum RoomLeaveReply {
        /// The place or session has ended.
        "ok" => Left {
            /// The room's highest number and served place.
            floors: Floors,
        },
        /// It had ended before.
        "nothing" => Nothing {
            /// The room's highest number and served place.
            floors: Floors,
        },
        /// `not_after` had passed; nothing was changed.
        "too_late" => TooLate,
    }
}

/// A user's place in a room, by a valid token and the draw.
#[derive(Clone, Copy, Debug)]
pub struct RoomPlace<'a> {
    /// The user.
    pub user: &'a UserId,
    /// The number in the token.
    pub number: u64,
    /// The number's place in line.
    pub place: u64,
    /// When the token was signed, Unix ms.
    pub issued_ms: i64,
}

impl Engine {
    /// Runs a script of a waiting room.
    ///
    /// # Errors
    /// If the script did not run, which includes `too_late`, or it is unknown whether it did. Every
    /// such call can be repeated.
    pub(super) async fn call_room<C: ScriptCall>(
        &self,
        call: &C,
    ) -> Result<Timed<C::Reply>, RedisError> {
        let timed = self.call(call).await?;
        if timed.reply.code() == "too_late" {
            let text = "the call to the waiting room reached Redis too late";
            return Err(RedisError::NotRun(text.into()));
        }
        Ok(timed)
    }

    /// Runs `room_join`. `known` is a number and its place, after
    /// [`RoomJoinReply::PlaceNeeded`].
    ///
    /// # Errors
    /// If the script did not run, or it is unknown whether it did; the call can be repeated.
    pub async fn room_join(
        &self,
        event: EventId,
        user: &UserId,
        known: Option<(u64, u64)>,
        floors: Floors,
    ) -> Result<RoomJoinReply, RedisError> {
        let (known_number, known_place) = known.unwrap_or_default();
        let call = RoomJoinCall { event, user, known_number, known_place, floors };
        Ok(self.call_room(&call).await?.reply)
    }

    /// Runs `room_claim`.
    ///
    /// # Errors
    /// If the script did not run, or it is unknown whether it did; the call can be repeated.
    pub async fn room_claim(
        &self,
        event: EventId,
        place: RoomPlace<'_>,
        floors: Floors,
    ) -> Result<Timed<RoomClaimReply>, RedisError> {
        let RoomPlace { user, number, place, issued_ms } = place;
        self.call_room(&RoomClaimCall { event, user, number, place, issued_ms, floors }).await
    }

    /// Runs `room_leave`; false if the place or session had ended before.
    ///
    /// # Errors
    /// If the script did not run, or it is unknown whether it did; the call can be repeated.
    pub async fn room_leave(
        &self,
        event: EventId,
        place: RoomPlace<'_>,
        floors: Floors,
    ) -> Result<(bool, Floors), RedisError> {
        let RoomPlace { user, number, place, issued_ms: _ } = place;
        let leavers_kept = LEAVERS_KEPT;
        let call = RoomLeaveCall { event, user, number, place, floors, leavers_kept };
        Ok(match self.call_room(&call).await?.reply {
            RoomLeaveReply::Left { floors } => (true, floors),
            RoomLeaveReply::Nothing { floors } => (false, floors),
            RoomLeaveReply::TooLate => (false, floors),
        })
    }
}
