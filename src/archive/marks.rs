//! Marks of the booking logs: for each partition one archived entry, by position and tag. A log that
//! lacks its mark has lost archived entries.
//!
//! A mark moves by compare-and-set, so that one of several workers moves it, and not over a suspicion.

use std::collections::HashMap;

use mongodb::bson::{Document, doc};
use mongodb::options::FindOptions;
use serde::Deserialize;

use super::Archive;
use super::documents::MARKS;
use super::error::ArchiveError;
use super::gateway::Verb;
use crate::domain::{LogId, Partition};

/// A partition's mark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogMark {
    /// Position of the entry; 0-0 if the log had no archived entry.
    pub id: LogId,
    /// The entry's tag; empty for 0-0.
    pub tag: String,
    /// How many forks were reported since a repair moved the mark.
    pub suspicions: i64,
}

#[derive(Deserialize)]
struct MarkDocument {
    #[serde(rename = "_id")]
    partition: i32,
    log_id: String,
    tag: String,
    suspicions: i64,
}

impl Archive {
    /// Reads all marks. A partition without one has never had an archived entry.
    pub async fn log_marks(&self) -> Result<HashMap<Partition, LogMark>, ArchiveError> {
        let found: Vec<MarkDocument> =
            self.gateway.find(MARKS, doc! {}, FindOptions::default()).await?;
        let mark = |document: MarkDocument| {
            let MarkDocument { partition, log_id, tag, suspicions } = document;
            let corrupt = || ArchiveError::Corrupt(format!("mark of partition {partition}"));
            let partition = Partition(u16::try_from(partition).map_err(|_| corrupt())?);
            let id = log_id.parse().map_err(|_| corrupt())?;
            Ok((partition, LogMark { id, tag, suspicions }))
        };
        found.into_iter().map(mark).collect()
    }

    /// Moves a mark from `old` (the default if there is none) to another entry; returns false if another
    /// process won.
    pub async fn move_mark(
        &self,
        partition: Partition,
        old: &LogMark,
        id: LogId,
        tag: &str,
    ) -> Result<bool, ArchiveError> {
        if *old == LogMark::default() {
            self.make_mark(partition).await?;
        }
        let filter = doc! {
            "_id": i32::from(partition.0),
            "log_id": old.id.to_string(),
            "tag": &old.tag,
            "suspicions": old.suspicions,
        };
        let set = doc! { "log_id": id.to_string(), "tag": tag, "suspicions": 0_i64 };
        let operation = doc! { "q": filter, "u": { "$set": set } };
        Ok(self.gateway.write_plain(Verb::Update, MARKS, vec![operation]).await?.touched == 1)
    }

    /// Reports a fork to the repairer.
    pub async fn suspect_log(&self, partition: Partition) -> Result<(), ArchiveError> {
        self.make_mark(partition).await?;
        let filter = doc! { "_id": i32::from(partition.0) };
        let operation = doc! { "q": filter, "u": { "$inc": { "suspicions": 1_i64 } } };
        self.gateway.write_plain(Verb::Update, MARKS, vec![operation]).await.map(drop)
    }

    /// Creates a mark unless there is one.
    async fn make_mark(&self, partition: Partition) -> Result<(), ArchiveError> {
        let new: Document = doc! {
            "_id": i32::from(partition.0), "log_id": "0-0", "tag": "", "suspicions": 0_i64,
        };
        self.gateway.write_plain(Verb::Insert, MARKS, vec![new]).await.map(drop)
    }
}
