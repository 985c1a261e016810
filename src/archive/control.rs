//! Run-time operations: what operators ask of all processes, and what each process answers.
//!
//! Operators change one document by compare-and-set on its revision; every process reads it each second
//! and writes its own record. Nothing here is needed for a sale.

use std::time::Duration;

use mongodb::bson::{self, Document, doc};
use mongodb::options::FindOptions;
use serde::{Deserialize, Serialize};

use super::Archive;
use super::error::ArchiveError;
use super::gateway::{DUPLICATE_KEY, Verb};

/// One document, `_id: "control"`.
const CONTROL: &str = "control";
const ID: &str = "control";
/// One document a running process, by its name.
const PROCESSES: &str = "processes";
/// Processes that are read, at most.
const PROCESSES_MAX: i64 = 10_000;
/// Bound of one read or write here.
const BOUND: Duration = Duration::from_secs(2);

/// What operators ask of all processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Control {
    /// Incremented by each change; 0 if there was none.
    pub revision: i64,
    /// The newest request to reload the settings.
    pub reload: Option<ReloadRequest>,
    /// The log levels for a time: at most one for all processes, and one for each of some.
    pub log_levels: Vec<LogOverride>,
}

/// A request to reload the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadRequest {
    /// Names the request.
    pub id: String,
    /// The operator.
    pub by: String,
    /// When it was made, Unix ms.
    pub at_ms: i64,
}

/// A log level for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogOverride {
    /// The process; `None`: all that have none of their own.
    pub process: Option<String>,
    /// The directives, as of the setting `log_level`.
    pub directives: String,
    /// When it ends, Unix ms by the operator's clock.
    pub until_ms: i64,
    /// How long it lasts, ms: the bound where clocks differ.
    pub for_ms: i64,
    /// The operator.
    pub by: String,
}

/// A running process, as it records itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessRecord {
    /// Its name: program, host and port.
    #[serde(rename = "_id")]
    pub name: String,
    /// Distinguishes this start of the process from others.
    pub start: String,
    /// The program.
    pub service: String,
    /// Its version.
    pub version: String,
    /// Its process id on its host.
    pub pid: i64,
    /// When it started, Unix ms.
    pub started_ms: i64,
    /// When it wrote this, Unix ms by its clock.
    pub seen_ms: i64,
    /// The log level in effect.
    pub log_level: String,
    /// When the log level of the settings returns, Unix ms; `None`: it is in effect.
    pub log_level_until_ms: Option<i64>,
    /// Circuit breakers that are not closed, as `redis: open`.
    pub breakers: Vec<String>,
    /// Its answer to the newest request to reload.
    pub reload: Option<ReloadAnswer>,
}

/// A process' answer to a request to reload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReloadAnswer {
    /// The request.
    pub request: String,
    /// Whether the settings were read and are in effect.
    pub is_done: bool,
    /// Why nothing was changed.
    pub reason: Option<String>,
    /// What changed, secrets masked.
    pub changed: Vec<String>,
    /// What differs and needs a restart.
    pub needs_restart: Vec<String>,
    /// Settings of the file that a variable overrides.
    pub overridden: Vec<String>,
}

impl Archive {
    /// Reads what operators ask.
    pub async fn control(&self) -> Result<Control, ArchiveError> {
        let gateway = self.gateway.within(BOUND);
        let found: Option<Control> = gateway.find_by_id(CONTROL, ID).await?;
        Ok(found.unwrap_or_default())
    }

    /// Replaces the previous revision; returns false if another change won.
    pub async fn change_control(&self, next: &Control) -> Result<bool, ArchiveError> {
        let mut document = to_document(next)?;
        let before = next.revision - 1;
        if before == 0 {
            document.insert("_id", ID);
            let written = self.gateway.write_plain(Verb::Insert, CONTROL, vec![document]).await?;
            return Ok(written.errors.iter().all(|error| error.code != DUPLICATE_KEY));
        }
        let operation = doc! { "q": { "_id": ID, "revision": before }, "u": document };
        let written = self.gateway.write_plain(Verb::Update, CONTROL, vec![operation]).await?;
        Ok(written.touched == 1)
    }

    /// Writes a process' record.
    pub async fn record_process(&self, record: &ProcessRecord) -> Result<(), ArchiveError> {
        let document = to_document(record)?;
        let operation = doc! { "q": { "_id": &record.name }, "u": document, "upsert": true };
        let gateway = self.gateway.within(BOUND);
        gateway.write_plain(Verb::Update, PROCESSES, vec![operation]).await.map(drop)
    }

    /// Reads the processes that wrote their records after a time, Unix ms, by name.
    pub async fn processes(&self, after_ms: i64) -> Result<Vec<ProcessRecord>, ArchiveError> {
        let options = FindOptions::builder().sort(doc! { "_id": 1 }).limit(PROCESSES_MAX).build();
        self.gateway.find(PROCESSES, doc! { "seen_ms": { "$gt": after_ms } }, options).await
    }

    /// Removes the record of a process that ends, and those not written since a time, Unix ms.
    pub async fn forget_processes(
        &self,
        record: &ProcessRecord,
        before_ms: i64,
    ) -> Result<(), ArchiveError> {
        let own = doc! { "q": { "_id": &record.name, "start": &record.start }, "limit": 1 };
        let old = doc! { "q": { "seen_ms": { "$lt": before_ms } }, "limit": 0 };
        let gateway = self.gateway.within(BOUND);
        gateway.write_plain(Verb::Delete, PROCESSES, vec![own, old]).await.map(drop)
    }
}

fn to_document(value: &impl Serialize) -> Result<Document, ArchiveError> {
    bson::to_document(value).map_err(|error| ArchiveError::Corrupt(error.to_string()))
}
