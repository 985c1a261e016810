//! `open_event`, `update_event`, `unload_event`, `block`: changes of whole events.

use fred::types::Value;

use super::Script;
use super::call::new_nonce;
use super::call::{Argument, EVENT_KEYS, script_call};
use super::reply::{Timed, event_reply};
use crate::domain::waiting_room::REFRESH_SECONDS_MAX;
use crate::domain::{Event, EventId, EventStatus, Inventory, SeatId, SeatState};
use crate::redis::clock::NotAfter;
use crate::redis::engine::Engine;
use crate::redis::error::RedisError;

/// After the beginning of a sale was brought forward, for how long nobody in its waiting room loses
/// a turn: the longest pause between two status requests, and a margin.
const LENIENT_MS: i64 = (REFRESH_SECONDS_MAX as i64 + 10) * 1_000;

script_call! {
    /// Brings an event's inventory in, or puts it on sale.
    pub(in crate::redis) struct OpenEventCall<'a>() => OpenEventReply
        by Script::OpenEvent, not_after
    {
        generation: u64,
        nonce: &'a str,
        phase: &'a str,
        event: EventId,
        layout_version: u32,
        status: EventStatus,
        on_sale_at_ms: i64,
        hold_ttl_ms: i64,
        max_hold_ms: i64,
        per_user: u32,
        total: u32,
        revision: u64,
        token: &'a str,
        sections: String,
        inventory: &'a [u8],
        off_sale_at_ms: i64,
    }
    keys |call| EVENT_KEYS, "events" of call.event;
}

event_reply! {
    /// What a phase of an opening came to.
    pub enum OpenEventReply {
        /// The inventory is in Redis, or is on sale.
        "ok" => Done {
            /// Names the load.
            token: String,
        },
        /// The event is open already and is unchanged.
        "event_exists" => EventExists,
    }
}

script_call! {
    /// Changes the event's status or the times of its sale.
    pub(in crate::redis) struct UpdateEventCall<'a>(
        /// The event.
        event: EventId,
    ) => UpdateEventReply by Script::UpdateEvent, not_after {
        generation: u64,
        nonce: &'a str,
        revision: u64,
        status: EventStatus,
        on_sale_at_ms: i64,
        off_sale_at_ms: i64,
        lenient_ms: i64,
    }
    keys |call| EVENT_KEYS, "room" of call.event;
}

event_reply! {
    /// What a change of an event came to.
    pub enum UpdateEventReply {
        /// Redis has the change.
        "ok" => Updated {
            /// The event's new version.
            version: u64,
        },
        /// Redis has this revision, or a newer one.
        "stale_revision" => StaleRevision {
            /// The revision in Redis.
            revision: u64,
            /// The event's version.
            version: u64,
        },
    }
}

script_call! {
    /// Takes a closed event out.
    pub(in crate::redis) struct UnloadEventCall<'a>(
        /// The event.
        event: EventId,
    ) => UnloadEventReply by Script::UnloadEvent, not_after {
        generation: u64,
        nonce: &'a str,
        event_version: u64,
    }
    keys |call| EVENT_KEYS, "events" of call.event;
}

event_reply! {
    /// What an unloading came to.
    pub enum UnloadEventReply {
        /// The event is out of Redis.
        "ok" => Unloaded,
        /// The sale is not closed.
        "not_closed" => NotClosed,
        /// Seats are held or being paid for.
        "in_use" => InUse {
            /// Holds.
            holds: u64,
            /// Confirmations.
            confirmations: u64,
        },
        /// The event has another version than the caller saw.
        "event_moved" => EventMoved {
            /// Its version.
            event_version: u64,
        },
    }
}

/// What the house does with seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockAction {
    /// Keeps them back from the sale.
    Block,
    /// Gives them back to it.
    Release,
}

impl BlockAction {
    /// The word in the script and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            BlockAction::Block => "block",
            BlockAction::Release => "release",
        }
    }
}

impl Argument for BlockAction {
    fn push(&self, arguments: &mut Vec<Value>) {
        self.as_str().push(arguments);
    }
}

script_call! {
    /// Keeps seats back, or gives them back.
    pub(in crate::redis) struct BlockScriptCall<'a>(
        /// The event.
        event: EventId,
    ) => BlockReply by Script::Block, not_after {
        generation: u64,
        nonce: &'a str,
        layout_version: u32,
        action: BlockAction,
        seats: &'a [SeatId],
        actor: &'a str,
        reason: &'a str,
    }
    keys |call| EVENT_KEYS of call.event;
}

event_reply! {
    /// What a block or a release came to.
    pub enum BlockReply {
        /// All seats are as they were meant to be.
        "ok" => Done {
            /// How many were changed.
            changed: u32,
            /// The event's version.
            version: u64,
        },
        /// Redis has another layout of the event than the caller.
        "layout_mismatch" => LayoutMismatch,
        /// The event has no such seat.
        "seat_unknown" => SeatUnknown {
            /// The seat.
            seat: SeatId,
        },
        /// Some seats are held or sold; nothing was changed.
        "seats_unavailable" => SeatsUnavailable {
            /// The states of those.
            states: Vec<(SeatId, SeatState)>,
        },
    }
}

/// A block or a release by an actor.
#[derive(Clone, Debug)]
pub struct BlockCall<'a> {
    /// The event as this process knows it.
    pub event: &'a Event,
    /// What to do.
    pub action: BlockAction,
    /// With which seats.
    pub seats: &'a [SeatId],
    /// The admin, or the tool.
    pub actor: &'a str,
    /// The actor's reason.
    pub reason: &'a str,
}

impl Engine {
    /// Runs `open_event`, phase `load`: writes the inventory, not yet for sale.
    pub async fn load_event(
        &self,
        event: &Event,
        inventory: &Inventory,
    ) -> Result<OpenEventReply, RedisError> {
        // A letter first: the token is never taken for a number.
        let token = format!("t{}", new_nonce());
        Ok(self.open_event_phase(event, "load", &token, inventory.as_bytes()).await?.reply)
    }

    /// Runs `open_event`, phase `open`: puts the load with this token on sale.
    pub async fn open_event(
        &self,
        event: &Event,
        token: &str,
    ) -> Result<Timed<OpenEventReply>, RedisError> {
        self.open_event_phase(event, "open", token, &[]).await
    }

    async fn open_event_phase(
        &self,
        event: &Event,
        phase: &'static str,
        token: &str,
        inventory: &[u8],
    ) -> Result<Timed<OpenEventReply>, RedisError> {
        let call = OpenEventCall {
            generation: event.generation,
            nonce: &new_nonce(),
            phase,
            event: event.id,
            layout_version: event.layout_version,
            status: event.status,
            on_sale_at_ms: event.on_sale_at_ms.unwrap_or(0),
            hold_ttl_ms: event.hold_ttl_ms,
            max_hold_ms: event.max_hold_ms,
            per_user: event.max_seats_per_user,
            total: event.layout.total_seats(),
            revision: event.revision,
            token,
            sections: section_starts(event),
            inventory,
            off_sale_at_ms: event.off_sale_at_ms.unwrap_or(0),
        };
        self.call(&call).await
    }

    /// Runs `update_event`: status and times, as MongoDB has them.
    pub async fn update_event(&self, event: &Event) -> Result<Timed<UpdateEventReply>, RedisError> {
        let call = UpdateEventCall {
            event: event.id,
            generation: event.generation,
            nonce: &new_nonce(),
            revision: event.revision,
            status: event.status,
            on_sale_at_ms: event.on_sale_at_ms.unwrap_or(0),
            off_sale_at_ms: event.off_sale_at_ms.unwrap_or(0),
            lenient_ms: LENIENT_MS,
        };
        self.call(&call).await
    }

    /// Runs `unload_event`: takes the event out if it has this version. The caller passes the
    /// `not_after` that it has recorded in MongoDB.
    pub async fn unload_event(
        &self,
        event: EventId,
        generation: u64,
        event_version: u64,
        not_after: NotAfter,
    ) -> Result<Timed<UnloadEventReply>, RedisError> {
        let nonce = &new_nonce();
        let call = UnloadEventCall { event, generation, nonce, event_version };
        self.call_once(&call, Some(not_after)).await
    }

    /// Runs `block`: keeps seats back, or gives them back.
    pub async fn block(&self, call: &BlockCall<'_>) -> Result<Timed<BlockReply>, RedisError> {
        let call = BlockScriptCall {
            event: call.event.id,
            generation: call.event.generation,
            nonce: &new_nonce(),
            layout_version: call.event.layout_version,
            action: call.action,
            seats: call.seats,
            actor: call.actor,
            reason: call.reason,
        };
        self.call(&call).await
    }
}

/// The first seats of all sections, ascending, in the seven digits that every seat fits into.
fn section_starts(event: &Event) -> String {
    event.layout.section_ranges().iter().map(|(_, first, _)| format!("{:07}", first.0)).collect()
}
