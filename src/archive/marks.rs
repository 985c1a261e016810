//! Marks of the booking logs: of each partition one entry that was archived, by position and tag.
//! A log that does not have it any more has lost what was archived.
//!
//! A mark moves by compare-and-set on what it was, so that of several workers one moves it, and
//! nobody moves it over a suspicion.

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
    /// Position of the entry; 0-0 where the log had none that was archived.
    pub id: LogId,
    /// Its tag; empty for 0-0.
    pub tag: String,
    /// How often somebody has met a fork since the mark was last moved by a repair.
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
    /// All marks. A partition without one has never had anything archived.
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

    /// Moves a mark from `old` (the default where there is none) to another entry; false if
    /// another was quicker.
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

    /// Records that a fork was met, for whoever repairs.
    pub async fn suspect_log(&self, partition: Partition) -> Result<(), ArchiveError> {
        self.make_mark(partition).await?;
        let filter = doc! { "_id": i32::from(partition.0) };
        let operation = doc! { "q": filter, "u": { "$inc": { "suspicions": 1_i64 } } };
        self.gateway.write_plain(Verb::Update, MARKS, vec![operation]).await.map(drop)
    }

    /// One that is there already stays.
    async fn make_mark(&self, partition: Partition) -> Result<(), ArchiveError> {
        let new: Document = doc! {
            "_id": i32::from(partition.0), "log_id": "0-0", "tag": "", "suspicions": 0_i64,
        };
        self.gateway.write_plain(Verb::Insert, MARKS, vec![new]).await.map(drop)
    }
}
