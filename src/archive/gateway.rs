//! All access to MongoDB: every operation is bounded in time and number, and runs to its end even if its
//! caller has stopped waiting.
//!
//! The driver has no socket timeout, and dropping one of its futures drops the connection. So each
//! operation runs in its own task. The caller waits on the task's handle for `op_timeout`; a task that
//! has not ended long after that is aborted with its connection. A write that was reported as failed
//! must have no later effect: see [`super::deadline`].

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mongodb::bson::{Bson, Document, doc};
use mongodb::options::FindOptions;
use mongodb::{Collection, Database};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::error::ArchiveError;
use crate::circuit_breaker::{BreakerReport, BreakerSettings, BreakerState, CircuitBreaker};

/// Operations in one write command.
const COMMAND_OPS_MAX: usize = 1_000;
/// Operations in flight, including abandoned ones. Further callers wait, also bounded.
const IN_FLIGHT_MAX: usize = 256;
/// The timeout of prompt callers until the server is known to respond again.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);
/// Opens after so many operations in a row without an answer, after one that found no server in time, and
/// after a health check without an answer.
const BREAKER: BreakerSettings = BreakerSettings {
    dependency: "mongodb",
    failures_max: 3,
    pause: Duration::from_secs(1),
    probes: 2,
};
/// See [`Gateway::give_up_factor`]; for operations without a deadline.
const GIVE_UP_FACTOR: u32 = 10;
/// `E11000`: a document with this `_id` exists.
pub(super) const DUPLICATE_KEY: i32 = 11_000;

/// The kind of a write command.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verb {
    /// The operations are documents.
    Insert,
    /// The operations are `{q, u, upsert?}`.
    Update,
    /// The operations are `{q, limit}`.
    Delete,
}

/// A refused operation of a write command; the other operations were executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WriteError {
    /// Index of the operation.
    pub index: usize,
    /// MongoDB's error code.
    pub code: i32,
    /// MongoDB's message.
    pub message: String,
}

/// The result of a write command.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Documents inserted or deleted, or matched by updates and upserts.
    pub touched: i64,
    /// The refused operations.
    pub errors: Vec<WriteError>,
}

/// Access to one database.
#[derive(Clone, Debug)]
pub(super) struct Gateway {
    database: Database,
    op_timeout: Duration,
    /// A task is aborted after this many times `op_timeout`.
    give_up_factor: u32,
    permits: Arc<Semaphore>,
    /// Whether MongoDB answers. All operations report to it, prompt ones obey it.
    breaker: Arc<CircuitBreaker>,
    /// Whether operations are refused at once while MongoDB does not answer.
    is_prompt: bool,
}

impl Gateway {
    pub(super) fn new(database: Database, op_timeout: Duration) -> Self {
        let permits = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
        let give_up_factor = GIVE_UP_FACTOR;
        let breaker = Arc::new(CircuitBreaker::new(BREAKER));
        Gateway { database, op_timeout, give_up_factor, permits, breaker, is_prompt: false }
    }

    /// The same database for callers that must not wait for a server that does not respond: then their
    /// operations are refused at once, except for a few probes with [`PROBE_TIMEOUT`].
    pub(super) fn promptly(&self) -> Self {
        Gateway { is_prompt: true, ..self.clone() }
    }

    /// The same database for callers that try whether or not it responds.
    pub(super) fn patiently(&self) -> Self {
        Gateway { is_prompt: false, ..self.clone() }
    }

    /// The circuit breaker.
    pub(super) fn circuit_breaker(&self) -> &CircuitBreaker {
        &self.breaker
    }

    /// The circuit breaker's state and counts.
    pub(super) fn breaker(&self) -> BreakerReport {
        self.breaker.report(Instant::now())
    }

    /// The same database with this timeout, after which operations are aborted.
    pub(super) fn within(&self, bound: Duration) -> Self {
        Gateway { op_timeout: bound, give_up_factor: 1, ..self.clone() }
    }

    pub(super) fn database_name(&self) -> &str {
        self.database.name()
    }

    pub(super) fn collection<T: Send + Sync>(&self, name: &str) -> Collection<T> {
        self.database.collection(name)
    }

    /// How long one operation may take now.
    pub(super) fn op_timeout(&self) -> Duration {
        if self.is_prompt && self.breaker.state(Instant::now()) != BreakerState::Closed {
            return PROBE_TIMEOUT.min(self.op_timeout);
        }
        self.op_timeout
    }

    /// Runs one driver operation to its end, and waits at most `op_timeout` for it.
    pub(super) async fn bounded<T: Send + 'static>(
        &self,
        operation: impl Future<Output = mongodb::error::Result<T>> + Send + 'static,
    ) -> Result<T, ArchiveError> {
        if self.is_prompt && !self.breaker.allows(Instant::now()) {
            return Err(ArchiveError::NotRun("it has not answered for a moment".to_owned()));
        }
        let op_timeout = self.op_timeout();
        let permit = timeout(op_timeout, Arc::clone(&self.permits).acquire_owned());
        let permit = permit.await.map_err(|_| {
            ArchiveError::Unavailable(format!("{IN_FLIGHT_MAX} operations are in flight"))
        })?;
        let give_up = op_timeout * self.give_up_factor;
        let breaker = self.breaker.clone();
        let task = tokio::spawn(async move {
            // Held until the operation ends, so that abandoned operations count, too.
            let _permit = permit;
            let ended = timeout(give_up, operation).await;
            // Its caller has reported one that was abandoned.
            if let Ok(result) = &ended {
                report(&breaker, result);
            }
            ended
        });
        match timeout(op_timeout, task).await {
            Ok(Ok(Ok(result))) => result.map_err(ArchiveError::from),
            Ok(Ok(Err(_))) | Err(_) => {
                // One operation may be long by nature; that nothing is answered, the health check notices.
                self.breaker.failed(Instant::now());
                let millis = op_timeout.as_millis();
                Err(ArchiveError::Unavailable(format!("no answer within {millis} ms")))
            }
            Ok(Err(join)) => Err(ArchiveError::Unavailable(format!("operation ended: {join}"))),
        }
    }

    /// Runs a command that is not a write.
    pub(super) async fn command(&self, command: Document) -> Result<Document, ArchiveError> {
        let database = self.database.clone();
        self.bounded(async move { database.run_command(command).await }).await
    }

    /// Executes write operations in any order, with majority and journal; refused operations do not stop
    /// the others. `run_command` applies no defaults, so all bounds are given here.
    pub(super) async fn write(
        &self,
        verb: Verb,
        collection: &str,
        operations: Vec<Document>,
    ) -> Result<Written, ArchiveError> {
        let mut written = Written::default();
        let (command, list) = match verb {
            Verb::Insert => ("insert", "documents"),
            Verb::Update => ("update", "updates"),
            Verb::Delete => ("delete", "deletes"),
        };
        let (mut operations, mut first) = (operations, 0);
        while !operations.is_empty() {
            let rest = operations.split_off(operations.len().min(COMMAND_OPS_MAX));
            let count = operations.len();
            let reply = self
                .command(doc! {
                    command: collection,
                    list: operations,
                    "ordered": false,
                    "writeConcern": { "w": "majority", "j": true, "wtimeout": self.millis() },
                    "maxTimeMS": self.millis(),
                })
                .await?;
            let reply = read_reply(&reply)?;
            written.touched += reply.touched;
            let errors = reply.errors.into_iter();
            written.errors.extend(errors.map(|e| WriteError { index: first + e.index, ..e }));
            (operations, first) = (rest, first + count);
        }
        Ok(written)
    }

    /// [`Gateway::write`] for operations that are always valid: any error but [`DUPLICATE_KEY`] is returned
    /// as unavailability.
    pub(super) async fn write_plain(
        &self,
        verb: Verb,
        collection: &str,
        operations: Vec<Document>,
    ) -> Result<Written, ArchiveError> {
        let written = self.write(verb, collection, operations).await?;
        match written.errors.iter().find(|error| error.code != DUPLICATE_KEY) {
            Some(error) => Err(ArchiveError::Unavailable(error.message.clone())),
            None => Ok(written),
        }
    }

    /// Reads documents from the primary with read concern majority. `limit` 0 reads all.
    pub(super) async fn find<T>(
        &self,
        collection: &str,
        filter: Document,
        mut options: FindOptions,
    ) -> Result<Vec<T>, ArchiveError>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        options.max_time = Some(self.op_timeout());
        let collection: Collection<T> = self.database.collection(collection);
        self.bounded(async move {
            let mut cursor = collection.find(filter).with_options(options).await?;
            let mut found = Vec::new();
            while cursor.advance().await? {
                found.push(cursor.deserialize_current()?);
            }
            Ok(found)
        })
        .await
    }

    /// Reads the document with this `_id`.
    pub(super) async fn find_by_id<T>(
        &self,
        collection: &str,
        id: impl Into<Bson>,
    ) -> Result<Option<T>, ArchiveError>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let options = FindOptions::builder().limit(1).build();
        let found = self.find(collection, doc! { "_id": id.into() }, options).await?;
        Ok(found.into_iter().next())
    }

    /// Counts the matching documents.
    pub(super) async fn count(
        &self,
        collection: &str,
        filter: Document,
    ) -> Result<u64, ArchiveError> {
        let max_time = self.op_timeout();
        let collection: Collection<Document> = self.database.collection(collection);
        self.bounded(async move { collection.count_documents(filter).max_time(max_time).await })
            .await
    }

    /// `op_timeout` in MongoDB's type for bounds.
    pub(super) fn millis(&self) -> i64 {
        i64::try_from(self.op_timeout().as_millis()).unwrap_or(i64::MAX)
    }
}

/// Reports an operation's result; a refusal is a response, a late one, too.
fn report<T>(breaker: &CircuitBreaker, result: &mongodb::error::Result<T>) {
    use mongodb::error::ErrorKind::{ConnectionPoolCleared, Io, ServerSelection};
    let now = Instant::now();
    match result.as_ref().map_err(|error| &*error.kind) {
        // The driver has waited for a server for as long as it may.
        Err(ServerSelection { .. }) => breaker.trip(now),
        Err(Io(_) | ConnectionPoolCleared { .. }) => breaker.failed(now),
        Ok(_) | Err(_) => breaker.succeeded(now),
    }
}

/// Parses the reply of a write command: `run_command` does not report its two kinds of errors.
fn read_reply(reply: &Document) -> Result<Written, ArchiveError> {
    if let Ok(error) = reply.get_document("writeConcernError") {
        let message = error.get_str("errmsg").unwrap_or("write concern not met");
        return Err(ArchiveError::Unavailable(message.to_owned()));
    }
    let mut errors = Vec::new();
    if let Ok(list) = reply.get_array("writeErrors") {
        for error in list.iter().filter_map(Bson::as_document) {
            let number = |name| error.get(name).and_then(integer);
            let message = error.get_str("errmsg").unwrap_or_default();
            let (Some(index), Some(code)) = (number("index"), number("code")) else {
                return Err(ArchiveError::Unavailable(format!("unreadable error: {message}")));
            };
            // MongoDB guarantees that both are small.
            let (index, code) = (index as usize, code as i32);
            errors.push(WriteError { index, code, message: message.to_owned() });
        }
    }
    Ok(Written { touched: reply.get("n").and_then(integer).unwrap_or(0), errors })
}

/// An integer from any BSON number; servers differ in the width.
pub(super) fn integer(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(number) => Some(i64::from(*number)),
        Bson::Int64(number) => Some(*number),
        // Counts are far below 2^53, which a double represents exactly.
        Bson::Double(number) => Some(*number as i64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_write_errors_are_parsed() {
        let reply = doc! {
            "n": 2, "ok": 1.0,
            "writeErrors": [{ "index": 1, "code": 11000, "errmsg": "dup" }],
        };
        let error = WriteError { index: 1, code: DUPLICATE_KEY, message: "dup".into() };
        let written = read_reply(&reply).unwrap();
        assert_eq!(written, Written { touched: 2, errors: vec![error] });

        let concern = doc! { "n": 1, "writeConcernError": { "code": 64, "errmsg": "slow" } };
        let error = read_reply(&concern).unwrap_err();
        assert!(matches!(error, ArchiveError::Unavailable(text) if text == "slow"));
    }
}
