//! Entries buffered while a view is built, and the errors of a build.

use crate::domain::{Entry, SeatId};
use crate::redis::RedisError;

/// Entries of one event buffered while its view is built.
const BUFFERED_MAX: usize = 100_000;

/// Why a view was not built.
#[derive(Debug, thiserror::Error)]
pub(super) enum BuildError {
    /// Redis did not answer.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The tail has no position, or lost it.
    #[error("the tail lost its position")]
    TailLost,
    /// The tail did not reach the snapshot's position.
    #[error("the tail is behind")]
    TailBehind,
    /// Redis does not have the event, or it is being loaded.
    #[error("the event is not loaded")]
    NotLoaded,
    /// The event changed in a way that requires a new view.
    #[error("the event was reopened")]
    Reopened,
    /// A record, or the event's properties, are unreadable.
    #[error("{0} is unreadable")]
    Unreadable(String),
    /// Bytes and lists disagree about a seat.
    #[error("the state of seat {0} differs from its booking")]
    Differs(SeatId),
}

/// The entries that the tail read since a build began.
#[derive(Debug, Default)]
pub(super) struct EntryBuffer {
    entries: Vec<Entry>,
    is_void: bool,
}

impl EntryBuffer {
    pub fn push(&mut self, entry: &Entry) {
        if self.entries.len() < BUFFERED_MAX {
            self.entries.push(entry.clone());
        } else {
            self.is_void = true;
        }
    }

    pub fn is_void(&self) -> bool {
        self.is_void
    }

    /// Makes the build fail: the chain of entries ended.
    pub fn invalidate(&mut self) {
        self.is_void = true;
        self.entries = Vec::new();
    }

    /// Removes and returns the buffered entries.
    pub fn take(&mut self) -> Result<Vec<Entry>, BuildError> {
        if self.is_void {
            return Err(BuildError::TailLost);
        }
        Ok(std::mem::take(&mut self.entries))
    }
}
