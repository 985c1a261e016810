//! Replaying dead letters: a parked entry is given to the archive once more, the way the worker
//! gives it (`archiving`), its verdict is settled, and only then is its letter removed.
//!
//! What may happen beside it, and why nothing goes wrong:
//!
//! * *A crash anywhere.* The letter is removed last. Before that it is there to be replayed again,
//!   and storing and settling again change nothing: the ledger knows the entry by its id, a
//!   booking's state moves only upwards, claims and outcomes only by compare-and-set, and `settle`
//!   answers a settled booking as it stands.
//! * *Two replays of one letter.* The same, at the same time. One removes the letter, the other
//!   finds nothing to remove.
//! * *A worker with the same entry.* An entry is parked first and acknowledged afterwards, so it
//!   may be delivered, stored or parked again while its letter is replayed. Stored twice is stored
//!   once. Parked again it has a second letter, whose replay changes nothing.
//! * *Newer entries of the booking, archived long ago.* A parked `hold` does not undo the `sold`
//!   that came after it: its version is lower. A parked `sold` whose seats were sold to others
//!   meanwhile is judged as late sales are: the first claim wins, and this one becomes `refund`.
//! * *A verdict that was overtaken.* The sale was settled, then cancelled: the archive answers with
//!   the outcome that stands, `cancelled`, and that one is settled.
//! * *Redis without the event.* Lost, it is rebuilt from the archive, which has the outcome by then:
//!   the letter is done with. While it is being rebuilt, the outcome may have been missed: the
//!   letter stays.
//! * *The log was trimmed, or failed over.* The letter carries the entry whole. The log is not looked
//!   at and nothing in it is acknowledged: another entry may stand at that position by now.

use super::SaleError;
use super::archiving::{Archiver, Settled, Trouble};
use crate::archive::{Archive, NoObserver, transition_id};
use crate::domain::{Entry, Kind, LogId, Outcome, Partition};
use crate::redis::{DeadLetter, Detail, Engine};

/// What became of a letter, or would become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its entry is in the archive and its verdict, if it asked for one, in Redis.
    Replayed {
        /// How the archive judged the sale, if it was one.
        outcome: Option<Outcome>,
        /// Whether the letter was still there to be removed.
        removed: bool,
    },
    /// It stays: its entry cannot be read, stored or settled. Why.
    Stays(String),
    /// It stays for now: Redis cannot be brought to follow at the moment. Why.
    Later(&'static str),
}

/// What a replay would find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forecast {
    /// It would give the entry to the archive.
    Replay {
        /// Whether the ledger has the entry already.
        in_ledger: bool,
    },
    /// The letter would stay: its entry cannot be read.
    Stays(String),
}

/// Replays letters.
pub struct Replay {
    engine: Engine,
    archive: Archive,
    carrier: Archiver,
}

impl Replay {
    /// Replays between these two, where Redis keeps bookings that ended for so long.
    pub fn new(engine: Engine, archive: Archive, ended_keep_seconds: u64) -> Self {
        let carrier = Archiver::new(engine.clone(), archive.clone(), ended_keep_seconds);
        Replay { engine, archive, carrier }
    }

    /// Replays one letter.
    ///
    /// # Errors
    /// If a service is away: then the letter is still there, whatever else was done.
    pub async fn replay(
        &self,
        partition: Partition,
        letter: &DeadLetter,
    ) -> Result<Fate, SaleError> {
        let entry = match read(letter) {
            Ok(entry) => entry,
            Err(why) => return Ok(Fate::Stays(why)),
        };
        let batch = [(partition, entry)];
        let stored = match self.carrier.store(&batch, &NoObserver).await {
            Ok(stored) => stored,
            Err(Trouble::Defect(why)) => return Ok(Fate::Stays(why)),
            Err(Trouble::Unavailable(error)) => return Err(error.into()),
        };
        if let Some((_, why)) = stored.failed.into_iter().next() {
            return Ok(Fate::Stays(why));
        }
        let judged = stored.judged.into_iter().next();
        if let Some(judged) = &judged {
            // The entry was acknowledged when it was parked.
            match self.carrier.settle(None, judged, |_| {}).await {
                Settled::Done => {}
                Settled::NotLoaded => {
                    let event = judged.verdict.booking.id.event();
                    if self.engine.snapshot(event, Detail::Counts).await?.is_some() {
                        return Ok(Fate::Later("its event is being loaded"));
                    }
                }
                Settled::Later => return Ok(Fate::Later("Redis or MongoDB is slow to answer")),
                Settled::Never(why) => return Ok(Fate::Stays(why)),
            }
        }
        // INVARIANT: the letter goes last.
        let removed = self.engine.remove_dead_letter(partition, letter.id).await?;
        Ok(Fate::Replayed { outcome: judged.map(|judged| judged.verdict.outcome), removed })
    }

    /// What [`Replay::replay`] would do, as far as that can be told without doing it.
    ///
    /// # Errors
    /// If MongoDB is away.
    pub async fn forecast(&self, letter: &DeadLetter) -> Result<Forecast, SaleError> {
        let entry = match read(letter) {
            Ok(entry) => entry,
            Err(why) => return Ok(Forecast::Stays(why)),
        };
        let ids: Vec<String> = transition_id(&entry).into_iter().collect();
        let in_ledger = self.archive.missing_transitions(ids).await?.is_empty();
        Ok(Forecast::Replay { in_ledger })
    }
}

/// The parked entry, or why it cannot be read.
pub fn read(letter: &DeadLetter) -> Result<Entry, String> {
    let id: LogId = letter.entry_id.parse().map_err(|_| {
        let position = &letter.entry_id;
        format!("its position in the log, {position:?}, is none")
    })?;
    Entry::from_fields(id, &letter.fields).map_err(|error| error.to_string())
}

/// Whether a letter holds a paid sale whose buyer waits for it.
pub fn is_sale(letter: &DeadLetter) -> bool {
    letter.fields.get("kind").is_some_and(|kind| kind == Kind::Sold.as_str())
}
