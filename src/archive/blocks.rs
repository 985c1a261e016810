//! Reads the ledger's entries about blocked and released seats.

use std::collections::BTreeSet;

use mongodb::bson::{Document, doc};
use mongodb::options::FindOptions;
use serde::Deserialize;

use super::Archive;
use super::documents::{TRANSITIONS, signed};
use super::error::ArchiveError;
use crate::domain::{EventId, Kind, LogId, SeatId, cursor};

/// Greatest number of blocks and releases of one event that are read.
const BLOCKS_MAX: i64 = 100_000;

/// One block or release.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ArchivedBlock {
    #[serde(rename = "_id")]
    id: String,
    kind: String,
    /// The event's generation at that time.
    pub generation: u64,
    /// The event's version after it.
    pub event_version: u64,
    /// The entry's position in the booking log.
    log_id: String,
    /// The time by Redis' clock, Unix ms.
    pub time_ms: i64,
    /// The seats whose state changed.
    pub seats: Vec<SeatId>,
    /// Who did it.
    #[serde(rename = "user")]
    pub actor: String,
    /// The reason given.
    #[serde(rename = "detail")]
    pub reason: String,
}

/// A position in an event's list of blocks and releases: behind this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockPosition {
    /// The entry's generation.
    pub generation: u64,
    /// The entry's version.
    pub event_version: u64,
    /// The entry's id in the ledger.
    pub id: String,
}

/// Matches the ledger's blocks and releases of an event.
fn blocks_of(event: EventId) -> Document {
    // Entries about the event itself (`transition_id`) form one range of ids.
    doc! {
        "_id": { "$gte": format!("event:{event}:"), "$lt": format!("event:{event};") },
        "kind": { "$in": [Kind::Blocked.as_str(), Kind::Unblocked.as_str()] },
    }
}

impl BlockPosition {
    /// The position as a cursor of the event's list.
    pub fn cursor(&self, event: EventId) -> String {
        cursor::encode(&cursor_list(event), &[&self.generation, &self.event_version, &self.id])
    }

    /// Parses a cursor of the event's list.
    pub fn parse(event: EventId, text: &str) -> Option<Self> {
        let [generation, event_version, id] = cursor::decode(&cursor_list(event), text)?;
        let (generation, event_version) = (generation.parse().ok()?, event_version.parse().ok()?);
        Some(BlockPosition { generation, event_version, id })
    }
}

fn cursor_list(event: EventId) -> String {
    format!("blocks-{event}")
}

impl ArchivedBlock {
    /// The position behind this entry.
    pub fn position(&self) -> BlockPosition {
        let ArchivedBlock { generation, event_version, .. } = *self;
        BlockPosition { generation, event_version, id: self.id.clone() }
    }

    /// Whether the seats were blocked (otherwise released).
    pub fn is_block(&self) -> bool {
        self.kind == Kind::Blocked.as_str()
    }
}

impl Archive {
    /// Reads all blocks and releases of an event, ordered by time within a generation. They are not
    /// ordered by version: after Redis lost writes, a fork of the log reuses versions, and a lost
    /// release may have a higher version than a later block.
    pub async fn blocks_of_event(
        &self,
        event: EventId,
    ) -> Result<Vec<ArchivedBlock>, ArchiveError> {
        let options = FindOptions::builder().limit(BLOCKS_MAX).build();
        let filter = blocks_of(event);
        let mut found: Vec<ArchivedBlock> = self.gateway.find(TRANSITIONS, filter, options).await?;
        let time = |block: &ArchivedBlock| {
            // Positions are Redis' time and never decrease within one log.
            let entry: LogId = block.log_id.parse().unwrap_or_default();
            (block.generation, entry, block.event_version)
        };
        found.sort_by_key(time);
        Ok(found)
    }

    /// Reads at most `limit` blocks and releases of an event behind a position, in order.
    pub async fn blocks_after(
        &self,
        event: EventId,
        after: Option<&BlockPosition>,
        limit: u32,
    ) -> Result<Vec<ArchivedBlock>, ArchiveError> {
        let mut filter = blocks_of(event);
        if let Some(after) = after {
            let signed = |number, name| signed(number, name).map_err(ArchiveError::Corrupt);
            let generation = signed(after.generation, "generation")?;
            let version = signed(after.event_version, "event_version")?;
            let later = vec![
                doc! { "generation": { "$gt": generation } },
                doc! { "generation": generation, "event_version": { "$gt": version } },
                doc! {
                    "generation": generation, "event_version": version, "_id": { "$gt": &after.id },
                },
            ];
            filter.insert("$or", later);
        }
        let options = FindOptions::builder()
            .sort(doc! { "generation": 1, "event_version": 1, "_id": 1 })
            .limit(i64::from(limit))
            .build();
        self.gateway.find(TRANSITIONS, filter, options).await
    }

    /// The seats that are blocked by the ledger. Some may have been sold since, if a sale was restored
    /// from the archive.
    pub async fn blocked_seats(&self, event: EventId) -> Result<BTreeSet<SeatId>, ArchiveError> {
        let blocks = self.blocks_of_event(event).await?;
        if blocks.len() as i64 >= BLOCKS_MAX {
            let what = format!("event {event} has more than {BLOCKS_MAX} blocks and releases");
            return Err(ArchiveError::Corrupt(what));
        }
        let mut blocked = BTreeSet::new();
        for block in &blocks {
            for seat in &block.seats {
                match block.is_block() {
                    true => blocked.insert(*seat),
                    false => blocked.remove(seat),
                };
            }
        }
        Ok(blocked)
    }
}
