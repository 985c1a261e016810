//! Writes with a deadline: a write that is reported as failed never takes effect later.
//!
//! A timeout in this process does not stop a command that was sent: a frozen server executes it when it
//! resumes, and a write that waits for a connection is sent when there is one. So such a write carries a
//! condition on MongoDB's own clock (`$$NOW`), which is read just before.
//!
//! | what may happen | result |
//! |---|---|
//! | MongoDB's time cannot be read | Nothing is sent; the operation certainly did not run. |
//! | the write arrives late, or waits in a frozen server | Its condition fails, nothing changes. |
//! | the connection breaks, and the write may still be in transit or waiting in a server that the driver gave up | The failure is reported only after the deadline; by then the write has run or never will. |
//! | the write runs in time and its reply is lost | It has happened. The outcome is reported as unknown, and a read shows the final state. |
//! | the write ran in time and waits for its majority | It becomes visible when a majority has it, or is rolled back with its primary. It is not executed later. |
//! | another primary executes the write | Its clock decides. The write may land later by the clock difference within the replica set. |
//! | the server freezes during the write, after evaluating its time | The write may complete when the server resumes, if it is still primary. This window is microseconds of each write. |

use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};

use super::error::ArchiveError;
use super::gateway::{Gateway, Verb, Written};

/// The deadline of a write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    /// When the write is reported as failed.
    at: Instant,
    /// The same time or an earlier one by MongoDB's clock, Unix ms.
    server_ms: i64,
}

impl Gateway {
    /// Creates a deadline `op_timeout` from now.
    ///
    /// # Errors
    /// [`ArchiveError::NotRun`] if MongoDB's time cannot be read.
    pub(super) async fn deadline(&self) -> Result<Deadline, ArchiveError> {
        let at = Instant::now() + self.op_timeout();
        // At least half of the time remains for the write.
        let hello = self.within(self.op_timeout() / 2).command(doc! { "hello": 1 }).await;
        let hello = hello.map_err(|error| ArchiveError::NotRun(error.to_string()))?;
        let now = hello.get_datetime("localTime");
        let now = now.map_err(|error| ArchiveError::NotRun(format!("its time: {error}")))?;
        // MongoDB read its clock before the reply arrived, so `server_ms` is not later than `at`.
        let left_ms = i64::try_from(at.saturating_duration_since(Instant::now()).as_millis());
        let server_ms = now.timestamp_millis().saturating_add(left_ms.unwrap_or(0));
        Ok(Deadline { at, server_ms })
    }

    /// Runs one operation that has [`Deadline::condition`] in its filter, like
    /// [`Gateway::write_plain`]. An unknown outcome is reported only after the deadline.
    pub(super) async fn write_by(
        &self,
        deadline: Deadline,
        verb: Verb,
        collection: &str,
        operation: Document,
    ) -> Result<Written, ArchiveError> {
        let left = deadline.at.saturating_duration_since(Instant::now()).max(LEAST);
        let written = self.within(left).write_plain(verb, collection, vec![operation]).await;
        if matches!(written, Err(ArchiveError::Unavailable(_))) {
            tokio::time::sleep_until(deadline.at.into()).await;
        }
        written
    }
}

/// The smallest bound of a command: MongoDB treats 0 as unbounded.
const LEAST: Duration = Duration::from_millis(1);

impl Deadline {
    /// A condition that holds until the deadline. It compares numbers: not every server compares dates in
    /// expressions.
    pub(super) fn condition(&self) -> Document {
        doc! { "$lte": [{ "$toLong": "$$NOW" }, self.server_ms] }
    }
}

/// The error of a write that missed its deadline.
pub(super) fn too_late() -> ArchiveError {
    ArchiveError::NotRun("the write came too late and changed nothing".to_owned())
}
