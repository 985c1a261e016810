//! Heads of the booking logs: of each reader of a log the newest entry that it has archived, by
//! position and tag. A log that lacks one of them, above its mark, has lost what was archived.
//!
//! A reader is one life of a worker's lane, one batch that was taken over, or one repair. Each writes
//! its own heads alone, so that no reader of a fork overwrites what a reader of the lost branch has
//! written; it raises them with each batch, and over a break of the links only once it knows what the
//! break is. How many there are is bounded by what happens between two moves of the mark: whoever
//! moves it drops the heads that it has passed.

use std::collections::HashMap;

use mongodb::bson::{Document, doc};
use mongodb::options::FindOptions;
use serde::Deserialize;

use super::Archive;
use super::documents::HEADS;
use super::error::ArchiveError;
use super::gateway::Verb;
use crate::domain::{LogId, Partition};

/// The newest entry of a partition that a reader has archived.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogHead {
    /// Which log.
    pub partition: Partition,
    /// Who read it.
    pub reader: String,
    /// The entry's position.
    pub id: LogId,
    /// Its tag.
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
    /// All heads, by partition.
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

    /// Raises heads; one that is as high already stays. A reader has one head a partition.
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
        // A duplicate key: there is a higher one.
        let operations: Vec<Document> = heads.iter().map(operation).collect();
        self.gateway.write_plain(Verb::Update, HEADS, operations).await.map(drop)
    }

    /// Drops heads that are still as they were seen.
    pub async fn drop_heads(&self, seen: &[LogHead]) -> Result<(), ArchiveError> {
        if seen.is_empty() {
            return Ok(());
        }
        let operation = |head: &LogHead| {
            let as_seen =
                doc! { "_id": document_id(head), "order": order(head.id), "tag": &head.tag };
            doc! { "q": as_seen, "limit": 1 }
        };
        let operations: Vec<Document> = seen.iter().map(operation).collect();
        self.gateway.write_plain(Verb::Delete, HEADS, operations).await.map(drop)
    }
}

fn document_id(head: &LogHead) -> String {
    format!("{}:{}", head.partition.0, head.reader)
}

/// A text that sorts as positions do.
fn order(id: LogId) -> String {
    format!("{:020}-{:020}", id.ms, id.seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_texts_is_order_of_positions() {
        let id = |ms, seq| LogId { ms, seq };
        let ids =
            [id(0, 0), id(0, 10), id(9, 2), id(10, 1), id(10, 9), id(10, 10), id(u64::MAX, 0)];
        assert!(ids.windows(2).all(|pair| order(pair[0]) < order(pair[1])));
    }
}
