//! Writes that a caller waits for: none takes effect after it was reported as failed.
//!
//! A bound of ours does not reach what was sent: a frozen server executes it when it wakes, a write that
//! waits for a connection is sent when there is one. So such a write carries a condition on MongoDB's own
//! clock (`$$NOW`), which is asked for just before. What may come between the steps:
//!
//! * MongoDB does not say its time: nothing is sent, and the operation surely did not run.
//! * The write arrives late, or waits in a frozen server: its condition fails, nothing is changed.
//! * The connection breaks early, the write perhaps still on its way or waiting in a server that the driver
//!   has given up: the failure is reported no earlier than the deadline is over, by when it has run or never will.
//! * The write runs in time and its answer is lost: it has happened. The outcome is reported as not
//!   known, and a read shows what is so for good.
//! * The write ran in time and waits for its majority: it is seen when a majority has it, or rolled back
//!   with its primary. Nobody executes it later.
//! * Another primary answers the write: its clock decides. The clocks of one replica set are as far apart
//!   as its servers' time synchronisation lets them be, and so much later the write may land.
//! * The server is frozen in the midst of the write, its time already looked at: it may end when the server
//!   wakes, if that server is primary then. Those are microseconds of each write.

use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};

use super::error::ArchiveError;
use super::gateway::{Gateway, Verb, Written};

/// When a write that a caller waits for is too late.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    /// When it is reported as failed.
    at: Instant,
    /// The same or earlier by MongoDB's clock, Unix ms.
    server_ms: i64,
}

impl Gateway {
    /// A deadline `op_timeout` from now.
    ///
    /// # Errors
    /// [`ArchiveError::NotRun`] if MongoDB does not say its time.
    pub(super) async fn deadline(&self) -> Result<Deadline, ArchiveError> {
        let at = Instant::now() + self.op_timeout();
        // Most of the time is left for the write.
        let asked = self.within(self.op_timeout() / 2).command(doc! { "hello": 1 }).await;
        let hello = asked.map_err(|error| ArchiveError::NotRun(error.to_string()))?;
        let now = hello.get_datetime("localTime");
        let now = now.map_err(|error| ArchiveError::NotRun(format!("its time: {error}")))?;
        // MongoDB read its clock before its answer came: our `at` is no earlier by it than this.
        let left_ms = i64::try_from(at.saturating_duration_since(Instant::now()).as_millis());
        let server_ms = now.timestamp_millis().saturating_add(left_ms.unwrap_or(0));
        Ok(Deadline { at, server_ms })
    }

    /// Carries out one operation that has [`Deadline::condition`] in its filter, as
    /// [`Gateway::write_plain`] does. An outcome that is not known is reported once the
    /// deadline is over.
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

/// The least bound of a command: MongoDB takes 0 for none.
const LEAST: Duration = Duration::from_millis(1);

impl Deadline {
    /// Matches in time only. Compared as numbers: not every server compares dates in expressions.
    pub(super) fn condition(&self) -> Document {
        doc! { "$lte": [{ "$toLong": "$$NOW" }, self.server_ms] }
    }
}

/// What a write says that found nothing to change since it came too late.
pub(super) fn too_late() -> ArchiveError {
    ArchiveError::NotRun("the write came too late and changed nothing".to_owned())
}
