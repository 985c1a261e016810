//! The one way to MongoDB: every operation is bounded in time and number, and runs to its end
//! even if nobody waits for it any more.
//!
//! The driver has no socket time-out, and a dropped future of its drops the connection with it.
//! So each operation runs in a task of its own; the caller waits on the task's handle for
//! `op_timeout`, and only a task that has not ended long after is given up with its connection.
//! A write that a caller asked for must do nothing by then: see [`super::deadline`].

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};
use mongodb::options::FindOptions;
use mongodb::{Collection, Database};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::error::ArchiveError;

/// Operations in one write command, as the servers we support take them well.
const COMMAND_OPS_MAX: usize = 1_000;
/// Operations under way, answered or not. Beyond it a caller waits for a place, bounded too.
const IN_FLIGHT_MAX: usize = 256;
/// How long an impatient caller waits for a server that did not answer the last time.
const SILENT_TIMEOUT: Duration = Duration::from_millis(500);
/// See [`Gateway::give_up_factor`]; of writes that have no deadline.
const GIVE_UP_FACTOR: u32 = 10;
/// `E11000`: a document with this `_id` exists.
pub(super) const DUPLICATE_KEY: i32 = 11_000;

/// What a write command does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verb {
    /// The operations are documents.
    Insert,
    /// The operations are `{q, u, upsert?}`.
    Update,
    /// The operations are `{q, limit}`.
    Delete,
}

/// An operation of a write command that was refused; the others were carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WriteError {
    /// Index of the operation.
    pub index: usize,
    /// MongoDB's error code.
    pub code: i32,
    /// MongoDB's message.
    pub message: String,
}

/// What a write command did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Documents inserted or deleted, or matched by updates and upserts.
    pub touched: i64,
    /// What was refused.
    pub errors: Vec<WriteError>,
}

/// Access to one database.
#[derive(Clone, Debug)]
pub(super) struct Gateway {
    database: Database,
    op_timeout: Duration,
    /// A task that nobody waits for any more is given up after this many times `op_timeout`.
    give_up_factor: u32,
    places: Arc<Semaphore>,
    /// Whether the operation that ended last had no answer in time.
    is_silent: Arc<AtomicBool>,
}

impl Gateway {
    pub(super) fn new(database: Database, op_timeout: Duration) -> Self {
        let places = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
        let give_up_factor = GIVE_UP_FACTOR;
        Gateway { database, op_timeout, give_up_factor, places, is_silent: Arc::default() }
    }

    /// The same database for callers who must be told soon: while it is silent, they wait for
    /// [`SILENT_TIMEOUT`] alone. The first answer that comes ends that.
    pub(super) fn promptly(&self) -> Self {
        let mut prompt = self.clone();
        if self.is_silent.load(Ordering::Relaxed) {
            prompt.op_timeout = SILENT_TIMEOUT.min(self.op_timeout);
        }
        prompt
    }

    /// The same database for operations that take at most so long, and are given up then.
    pub(super) fn within(&self, bound: Duration) -> Self {
        Gateway { op_timeout: bound, give_up_factor: 1, ..self.clone() }
    }

    pub(super) fn database_name(&self) -> &str {
        self.database.name()
    }

    pub(super) fn collection<T: Send + Sync>(&self, name: &str) -> Collection<T> {
        self.database.collection(name)
    }

    /// How long one operation may take.
    pub(super) fn op_timeout(&self) -> Duration {
        self.op_timeout
    }

    /// Runs one driver operation to its end, and waits for it for `op_timeout`.
    pub(super) async fn bounded<T: Send + 'static>(
        &self,
        operation: impl Future<Output = mongodb::error::Result<T>> + Send + 'static,
    ) -> Result<T, ArchiveError> {
        let unanswered = || {
            let millis = self.op_timeout.as_millis();
            ArchiveError::Unavailable(format!("no answer within {millis} ms"))
        };
        let place = timeout(self.op_timeout, Arc::clone(&self.places).acquire_owned());
        let place = place.await.map_err(|_| {
            ArchiveError::Unavailable(format!("{IN_FLIGHT_MAX} operations are under way"))
        })?;
        let give_up = self.op_timeout * self.give_up_factor;
        let is_silent = self.is_silent.clone();
        let task = tokio::spawn(async move {
            // Held until the operation ends, so that abandoned ones count as well.
            let _place = place;
            let ended = timeout(give_up, operation).await;
            // An answer that comes late is one.
            let is_away = ended.as_ref().map_or(true, |result| is_no_answer(result));
            is_silent.store(is_away, Ordering::Relaxed);
            ended
        });
        match timeout(self.op_timeout, task).await {
            Ok(Ok(Ok(result))) => result.map_err(ArchiveError::from),
            Ok(Ok(Err(_))) | Err(_) => {
                self.is_silent.store(true, Ordering::Relaxed);
                Err(unanswered())
            }
            Ok(Err(join)) => Err(ArchiveError::Unavailable(format!("operation ended: {join}"))),
        }
    }

    /// Runs a command that is not a write.
    pub(super) async fn command(&self, command: Document) -> Result<Document, ArchiveError> {
        let database = self.database.clone();
        self.bounded(async move { database.run_command(command).await }).await
    }

    /// Carries out the operations in any order, majority and journalled, each whether or not
    /// others are refused. `run_command` takes no defaults, so all bounds are said here.
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
        for (chunk, operations) in operations.chunks(COMMAND_OPS_MAX).enumerate() {
            let reply = self
                .command(doc! {
                    command: collection,
                    list: operations.to_vec(),
                    "ordered": false,
                    "writeConcern": { "w": "majority", "j": true, "wtimeout": self.millis() },
                    "maxTimeMS": self.millis(),
                })
                .await?;
            let reply = read_reply(&reply)?;
            written.touched += reply.touched;
            let first = chunk * COMMAND_OPS_MAX;
            let errors = reply.errors.into_iter();
            written.errors.extend(errors.map(|e| WriteError { index: first + e.index, ..e }));
        }
        Ok(written)
    }

    /// [`Gateway::write`] for operations that nothing can be wrong with: any refusal but
    /// [`DUPLICATE_KEY`] fails them all.
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

    /// Reads documents at majority from the primary. `limit` 0 reads all.
    pub(super) async fn find<T>(
        &self,
        collection: &str,
        filter: Document,
        mut options: FindOptions,
    ) -> Result<Vec<T>, ArchiveError>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        options.max_time = Some(self.op_timeout);
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

    /// How many documents match.
    pub(super) async fn count(
        &self,
        collection: &str,
        filter: Document,
    ) -> Result<u64, ArchiveError> {
        let max_time = self.op_timeout;
        let collection: Collection<Document> = self.database.collection(collection);
        self.bounded(async move { collection.count_documents(filter).max_time(max_time).await })
            .await
    }

    /// `op_timeout` in the type that MongoDB's bounds have.
    pub(super) fn millis(&self) -> i64 {
        i64::try_from(self.op_timeout.as_millis()).unwrap_or(i64::MAX)
    }
}

/// Whether no server answered, rather than answering with a refusal.
fn is_no_answer<T>(result: &mongodb::error::Result<T>) -> bool {
    use mongodb::error::ErrorKind::{ConnectionPoolCleared, Io, ServerSelection};
    result.as_ref().is_err_and(|error| {
        matches!(*error.kind, Io(_) | ServerSelection { .. } | ConnectionPoolCleared { .. })
    })
}

/// Reads a write command's reply; `run_command` reports neither kind of error by itself.
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
            // Both are small by MongoDB's own definition.
            let (index, code) = (index as usize, code as i32);
            errors.push(WriteError { index, code, message: message.to_owned() });
        }
    }
    Ok(Written { touched: reply.get("n").and_then(integer).unwrap_or(0), errors })
}

/// A number whatever width it came in; servers differ.
pub(super) fn integer(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(number) => Some(i64::from(*number)),
        Bson::Int64(number) => Some(*number),
        // Counts stay far below the 2^53 that a double holds exactly.
        Bson::Double(number) => Some(*number as i64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_write_errors_are_read() {
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
