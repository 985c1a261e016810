//! `snapshot`, `free_seats`: reads of whole events.

use fred::types::Value;

use super::Script;
use super::call::{Argument, EVENT_KEYS, ScriptCall, script_call};
use super::reply::{Fields, ReplyField, Timed, reply_group, script_reply};
use crate::domain::{Booking, BookingId, EventId, Inventory, LogId, Partition, SeatId};
use crate::redis::engine::Engine;
use crate::redis::error::RedisError;
use crate::redis::keys::Keys;
use crate::redis::value::unexpected;

/// Counts the free seats of several events of one partition.
pub(in crate::redis) struct FreeSeatsCall<'a> {
    partition: Partition,
    events: &'a [EventId],
}

impl ScriptCall for FreeSeatsCall<'_> {
    type Reply = FreeSeatsReply;
    const SCRIPT: Script = Script::FreeSeats;
    const HAS_NOT_AFTER: bool = false;

    fn key_names() -> Vec<&'static str> {
        vec!["events..."]
    }

    fn argument_names() -> Vec<&'static str> {
        Vec::new()
    }

    fn partition(&self, _: &Keys) -> Partition {
        self.partition
    }

    fn keys(&self, keys: &Keys) -> Vec<String> {
        self.events.iter().map(|event| keys.named("event", *event)).collect()
    }

    fn push_arguments(&self, _: &mut Vec<Value>) {}
}

script_reply! {
    /// Free seats.
    pub enum FreeSeatsReply {
        /// Of each event.
        "ok" => Counted {
            /// In the order of the call; `None` where Redis does not have the event open.
            counts: FreeSeatCounts,
        },
    }
}

/// Free seats of each event of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreeSeatCounts(Vec<Option<u32>>);

impl ReplyField for FreeSeatCounts {
    fn names(_: &'static str) -> Vec<&'static str> {
        vec!["counts..."]
    }

    fn read(fields: &mut Fields) -> Result<Self, RedisError> {
        let mut counts = Vec::new();
        while fields.has_more() {
            // -1: it is not open.
            counts.push(u32::try_from(i64::read(fields)?).ok());
        }
        Ok(FreeSeatCounts(counts))
    }
}

/// How much of an event a snapshot shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Counters only.
    Counts,
    /// Counters and the inventory.
    Seats,
    /// Everything.
    All,
}

impl Argument for Detail {
    fn push(&self, arguments: &mut Vec<Value>) {
        let word = match self {
            Detail::Counts => "counts",
            Detail::Seats => "seats",
            Detail::All => "all",
        };
        word.push(arguments);
    }
}

script_call! {
    /// Shows one event at one instant.
    pub(in crate::redis) struct SnapshotCall(
        /// The event.
        event: EventId,
    ) => SnapshotReply by Script::Snapshot {
        detail: Detail,
    }
    keys |call| EVENT_KEYS of call.event;
}

script_reply! {
    /// One event at one instant.
    pub enum SnapshotReply {
        /// Redis has it.
        "ok" => Taken {
            /// The event.
            snapshot: Box<EventSnapshot>,
        },
        /// Redis does not have it.
        "event_not_loaded" => EventNotLoaded,
    }
}

reply_group! {
    /// One event at one instant.
    pub struct EventSnapshot {
        /// Redis' time, Unix ms.
        now_ms: i64,
    } {
        /// Whether it is open (else it is being loaded).
        open: bool,
        /// Its generation.
        generation: u64,
        /// Its version: raised by every log entry of this event.
        version: u64,
        /// Its settings' revision.
        revision: u64,
        /// Free seats by the counter.
        available: i64,
        /// Earliest hold deadline, Unix ms.
        next_deadline_ms: Option<i64>,
        /// Position and tag of the log's newest entry.
        link: Option<(LogId, String)>,
        /// Every seat's state; `None` for `Detail::Counts`.
        inventory: Option<Inventory>,
        /// Seat → booking, for `Detail::All`.
        holders: Vec<(SeatId, BookingId)>,
        /// Bookings, for `Detail::All`.
        bookings: Vec<Booking>,
        /// User → seats, for `Detail::All`.
        users: Vec<(String, i64)>,
        /// The status that operators set, as in `EventStatus`.
        status: String,
        /// When holds begin, Unix ms; 0: at once.
        on_sale_at_ms: i64,
        /// When they end, Unix ms; 0: never.
        off_sale_at_ms: i64,
    }
}

impl Engine {
    /// Runs `free_seats`: how many seats are free in each of these events, which share a partition;
    /// `None` where Redis does not have the event open. The caller bounds the list.
    pub async fn free_seats(
        &self,
        partition: Partition,
        events: &[EventId],
    ) -> Result<Vec<Option<u32>>, RedisError> {
        let FreeSeatsReply::Counted { counts: FreeSeatCounts(counts) } =
            self.call(&FreeSeatsCall { partition, events }).await?.reply;
        match counts.len() == events.len() {
            true => Ok(counts),
            false => Err(unexpected(format!("{} counts of {} events", counts.len(), events.len()))),
        }
    }

    /// Runs `snapshot`: one event at one instant; `None` if Redis does not have it.
    pub async fn snapshot(
        &self,
        event: EventId,
        detail: Detail,
    ) -> Result<Option<EventSnapshot>, RedisError> {
        let Timed { reply, now_ms } = self.call(&SnapshotCall { event, detail }).await?;
        Ok(match reply {
            SnapshotReply::Taken { snapshot } => Some(EventSnapshot { now_ms, ..*snapshot }),
            SnapshotReply::EventNotLoaded => None,
        })
    }
}
