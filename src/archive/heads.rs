//! Heads of the booking logs: for each reader of a log the newest entry that it archived, by position and
//! tag. A log that lacks a head above its mark has lost archived entries.
//!
//! A reader is one start of a worker's lane, one claimed batch, or one repair. Each writes only its own
//! heads, so a reader of a fork never overwrites the head of a reader of the lost branch. It raises its
//! head with each batch, and over a gap in the log only after the gap is explained. Their number is
//! bounded: moving the mark removes the heads that it passes.

use std::collections::HashMap;

use mongodb::bson::{Document, doc};
use mongodb::options::FindOptions;
use serde::Deserialize;

use super::Archive;
use super::documents::HEADS;
use super::error::ArchiveError;
use super::gateway::Verb;
use crate::domain::{LogId, Partition};

/// The newest entry of a partition that a reader archived.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogHead {
    /// The log's partition.
    pub partition: Partition,
    /// The reader's name.
    pub reader: String,
    /// The entry's position.
    pub id: LogId,
    /// The entry's tag.
    pub tag: String,
}

#[derive(Deserialize)]
struct HeadDocument {
    partition: i32,
    reader: String,
    log_id: String,
    tag: String,
}

impl Archive {
    /// Reads all heads, by partition.
    pub async fn log_heads(&self) -> Result<HashMap<Partition, Vec<LogHead>>, ArchiveError> {
        let found: Vec<HeadDocument> =
            self.gateway.find(HEADS, doc! {}, FindOptions::default()).await?;
        let mut heads: HashMap<Partition, Vec<LogHead>> = HashMap::new();
        for HeadDocument { partition, reader, log_id, tag } in found {
            let corrupt = || ArchiveError::Corrupt(format!("head {partition}:{reader}"));
            let partition = Partition(u16::try_from(partition).map_err(|_| corrupt())?);
            let id = log_id.parse().map_err(|_| corrupt())?;
            heads.entry(partition).or_default().push(LogHead { partition, reader, id, tag });
        }
        Ok(heads)
    }

    /// Raises heads; a head that is already as high stays. A reader has one head a partition.
    pub async fn raise_heads(&self, heads: &[LogHead]) -> Result<(), ArchiveError> {
        if heads.is_empty() {
            return Ok(());
        }
        let operation = |head: &LogHead| {
            let order = order(head.id);
            let lower = doc! { "_id": document_id(head), "order": { "$lt": &order } };
            let set = doc! {
                "partition": i32::from(head.partition.0),
                "reader": &head.reader,
                "log_id": head.id.to_string(),
                "tag": &head.tag,
                "order": order,
            };
            doc! { "q": lower, "u": { "$set": set }, "upsert": true }
        };
        // A duplicate key means that the stored head is higher.
        let operations: Vec<Document> = heads.iter().map(operation).collect();
        self.gateway.write_plain(Verb::Update, HEADS, operations).await.map(drop)
    }

    /// Deletes these heads if they are unchanged.
    pub async fn drop_heads(&self, heads: &[LogHead]) -> Result<(), ArchiveError> {
        if heads.is_empty() {
            return Ok(());
        }
        let operation = |head: &LogHead| {
            let unchanged =
                doc! { "_id": document_id(head), "order": order(head.id), "tag": &head.tag };
            doc! { "q": unchanged, "limit": 1 }
        };
        let operations: Vec<Document> = heads.iter().map(operation).collect();
        self.gateway.write_plain(Verb::Delete, HEADS, operations).await.map(drop)
    }
}

fn document_id(head: &LogHead) -> String {
    format!("{}:{}", head.partition.0, head.reader)
}

/// A text that sorts like the position.
fn order(id: LogId) -> String {
    format!("{:020}-{:020}", id.ms, id.seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_texts_sort_like_positions() {
        let id = |ms, seq| LogId { ms, seq };
        let ids =
            [id(0, 0), id(0, 10), id(9, 2), id(10, 1), id(10, 9), id(10, 10), id(u64::MAX, 0)];
        assert!(ids.windows(2).all(|pair| order(pair[0]) < order(pair[1])));
    }
}
