//! Replays dead letters: stores the parked entry in the archive the way the worker does
//! (`archiving`), settles its outcome, and removes the letter last.
//!
//! | what may happen meanwhile | why it is harmless |
//! |---|---|
//! | a crash anywhere | The letter is removed last and can be replayed again. Storing and settling are idempotent: the ledger has the entry by its id, a booking's state only moves to greater versions, claims and outcomes change by compare-and-set, and `settle` does not change a settled booking. |
//! | two replays of one letter | As above. One removes the letter, the other finds it removed. |
//! | a worker has the same entry | An entry is parked before it is acknowledged, so it may be delivered, stored or parked again during the replay. Storing it twice equals storing it once. A second letter's replay changes nothing. |
//! | newer entries of the booking are archived | A parked `hold` does not undo a later `sold`: its version is lower. A parked `sold` whose seats were sold to others is decided like any late sale: the first claim wins, and this one becomes `refund`. |
//! | the sale was settled, then cancelled | The archive returns the current outcome, `cancelled`, which is settled. |
//! | Redis lacks the event | If it is lost, it is restored from the archive, which has the outcome by then: the letter is removed. If a restore is in progress, it may have missed the outcome: the letter stays. |
//! | the log was trimmed, or failed over | The letter contains the whole entry. The log is not read and nothing in it is acknowledged: another entry may have that position by now. |

use super::SaleError;
use super::archiving::{Archiver, SettleResult, StoreError};
use crate::archive::{Archive, NoObserver, transition_id};
use crate::domain::{Entry, Kind, LogId, Outcome, Partition};
use crate::redis::{DeadLetter, Detail, Engine};

/// The result of replaying a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayResult {
    /// The entry is in the archive, and the outcome of a sale is settled in Redis.
    Replayed {
        /// The archive's decision, if the entry is a sale.
        outcome: Option<Outcome>,
        /// Whether this replay removed the letter.
        removed: bool,
    },
    /// The letter stays: its entry cannot be read, stored or settled. The reason.
    Stays(String),
    /// The letter stays for now: the outcome cannot be settled at the moment. The reason.
    Later(&'static str),
}

/// What a replay would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayPreview {
    /// Store the entry in the archive.
    Replay {
        /// Whether the ledger already has the entry.
        in_ledger: bool,
    },
    /// Leave the letter: its entry cannot be read. The reason.
    Stays(String),
}

/// Replays letters.
pub struct Replay {
    engine: Engine,
    archive: Archive,
    archiver: Archiver,
}

impl Replay {
    /// A replay between Redis, which keeps ended bookings for `ended_keep_seconds`, and the archive.
    pub fn new(engine: Engine, archive: Archive, ended_keep_seconds: u64) -> Self {
        let archiver = Archiver::new(engine.clone(), archive.clone(), ended_keep_seconds);
        Replay { engine, archive, archiver }
    }

    /// Replays one letter.
    ///
    /// # Errors
    /// If a service is unavailable: the letter is still there.
    pub async fn replay(
        &self,
        partition: Partition,
        letter: &DeadLetter,
    ) -> Result<ReplayResult, SaleError> {
        let entry = match read(letter) {
            Ok(entry) => entry,
            Err(why) => return Ok(ReplayResult::Stays(why)),
        };
        let batch = [(partition, entry)];
        let stored = match self.archiver.store(&batch, &NoObserver).await {
            Ok(stored) => stored,
            Err(StoreError::Defect(why)) => return Ok(ReplayResult::Stays(why)),
            Err(StoreError::Unavailable(error)) => return Err(error.into()),
        };
        if let Some((_, why)) = stored.failed.into_iter().next() {
            return Ok(ReplayResult::Stays(why));
        }
        let settlement = stored.settlements.into_iter().next();
        if let Some(settlement) = &settlement {
            // The entry was acknowledged when it was parked.
            match self.archiver.settle(None, settlement, |_| {}).await {
                SettleResult::Done => {}
                SettleResult::NotLoaded => {
                    let event = settlement.sale.booking.id.event();
                    if self.engine.snapshot(event, Detail::Counts).await?.is_some() {
                        return Ok(ReplayResult::Later("its event is being loaded"));
                    }
                }
                SettleResult::Retry => {
                    return Ok(ReplayResult::Later("Redis or MongoDB is slow to answer"));
                }
                SettleResult::Impossible(why) => return Ok(ReplayResult::Stays(why)),
            }
        }
        // INVARIANT: the letter is removed last.
        let removed = self.engine.remove_dead_letter(partition, letter.id).await?;
        Ok(ReplayResult::Replayed { outcome: settlement.map(|one| one.sale.outcome), removed })
    }

    /// What [`Replay::replay`] would do, as far as can be determined without doing it.
    ///
    /// # Errors
    /// If MongoDB is unavailable.
    pub async fn preview(&self, letter: &DeadLetter) -> Result<ReplayPreview, SaleError> {
        let entry = match read(letter) {
            Ok(entry) => entry,
            Err(why) => return Ok(ReplayPreview::Stays(why)),
        };
        let ids: Vec<String> = transition_id(&entry).into_iter().collect();
        let in_ledger = self.archive.missing_transitions(ids).await?.is_empty();
        Ok(ReplayPreview::Replay { in_ledger })
    }
}

/// Parses the parked entry.
///
/// # Errors
/// Says why it cannot be read.
pub fn read(letter: &DeadLetter) -> Result<Entry, String> {
    let id: LogId = letter.entry_id.parse().map_err(|_| {
        let position = &letter.entry_id;
        format!("its position in the log, {position:?}, is none")
    })?;
    Entry::parse(id, letter.line()).map_err(|error| error.to_string())
}

/// Whether a letter contains a paid sale, whose buyer is waiting for its confirmation.
pub fn is_sale(letter: &DeadLetter) -> bool {
    letter.value("kind") == Some(Kind::Sold.as_str())
}
