//! What the house kept back and gave back, from the ledger.

use std::collections::BTreeSet;

use mongodb::bson::doc;
use mongodb::options::FindOptions;
use serde::Deserialize;

use super::Archive;
use super::documents::TRANSITIONS;
use super::error::ArchiveError;
use crate::domain::{EventId, Kind, SeatId};

/// Blocks and releases of one event that are read at most.
const BLOCKS_MAX: i64 = 100_000;

/// One block or release.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ArchivedBlock {
    kind: String,
    /// The event's generation then.
    pub generation: u64,
    /// The event's version after it.
    pub event_version: u64,
    /// When, by Redis' clock, Unix ms.
    pub time_ms: i64,
    /// The seats that became others.
    pub seats: Vec<SeatId>,
    /// Who did it.
    #[serde(rename = "user")]
    pub actor: String,
    /// Why.
    #[serde(rename = "detail")]
    pub reason: String,
}

impl ArchivedBlock {
    /// Whether the seats were kept back (else given back).
    pub fn blocked(&self) -> bool {
        self.kind == Kind::Blocked.word()
    }
}

impl Archive {
    /// All blocks and releases of an event, in order.
    pub async fn blocks_of_event(
        &self,
        event: EventId,
    ) -> Result<Vec<ArchivedBlock>, ArchiveError> {
        // Entries about the event itself (`transition_id`) are one range of ids.
        let filter = doc! {
            "_id": { "$gte": format!("event:{event}:"), "$lt": format!("event:{event};") },
            "kind": { "$in": [Kind::Blocked.word(), Kind::Unblocked.word()] },
        };
        let options = FindOptions::builder().limit(BLOCKS_MAX).build();
        let mut found: Vec<ArchivedBlock> = self.gateway.find(TRANSITIONS, filter, options).await?;
        found.sort_by_key(|block| (block.generation, block.event_version));
        Ok(found)
    }

    /// The seats that the house keeps back by the ledger. Some may have been sold since, where
    /// the archive restored a sale.
    pub async fn blocked_seats(&self, event: EventId) -> Result<BTreeSet<SeatId>, ArchiveError> {
        let blocks = self.blocks_of_event(event).await?;
        if blocks.len() as i64 >= BLOCKS_MAX {
            let what = format!("event {event} has more than {BLOCKS_MAX} blocks and releases");
            return Err(ArchiveError::Corrupt(what));
        }
        let mut blocked = BTreeSet::new();
        for block in &blocks {
            for seat in &block.seats {
                match block.blocked() {
                    true => blocked.insert(*seat),
                    false => blocked.remove(seat),
                };
            }
        }
        Ok(blocked)
    }
}
