//! The record of admin acts: what was ordered, by whom and when, written before it is done, and
//! what became of it. Nothing here is ever changed but a result that is added, or deleted.

use std::fmt;
use std::str::FromStr;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use mongodb::options::FindOptions;
use serde::Deserialize;

use super::Archive;
use super::error::ArchiveError;
use super::gateway::Verb;

/// One document an act.
pub(super) const AUDIT: &str = "audit";
/// Bytes of any text of an act; the rest is cut off.
const TEXT_BYTES_MAX: usize = 1_000;
/// Acts that are read at most.
pub const ACTS_MAX: u32 = 10_000;
/// One more tells whether there are more.
const READ_MAX: u32 = ACTS_MAX + 1;

/// An act that is about to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewAct {
    /// When, by our clock, Unix ms.
    pub at_ms: i64,
    /// The name of an admin key, or `ctl:user@host`.
    pub who: String,
    /// What: `event_create`, `booking_cancel`, `ctl event pause`.
    pub act: String,
    /// To what: `event 7`, `booking 01…`; empty where it is not there yet.
    pub target: String,
    /// With which particulars.
    pub detail: String,
    /// The request's trace; empty for the operator's tool.
    pub trace_id: String,
}

/// An act as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Act {
    #[serde(rename = "_id")]
    id: ObjectId,
    /// When, Unix ms.
    pub at_ms: i64,
    /// By whom.
    pub who: String,
    /// What.
    pub act: String,
    /// To what.
    pub target: String,
    /// With which particulars.
    pub detail: String,
    /// The request's trace.
    pub trace_id: String,
    /// What became of it: `ok`, an error's code or text. `None`: it is under way, or whoever did
    /// it ended before that was recorded.
    pub result: Option<String>,
}

/// Names an act that was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActId(ObjectId);

impl fmt::Display for ActId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ActId {
    type Err = mongodb::bson::oid::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(ActId)
    }
}

/// A place in the record, newest first: behind this act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActPosition {
    /// When it was, Unix ms.
    pub at_ms: i64,
    /// Its name.
    pub id: ActId,
}

impl Act {
    /// The place behind it.
    pub fn position(&self) -> ActPosition {
        ActPosition { at_ms: self.at_ms, id: ActId(self.id) }
    }
}

impl Archive {
    /// Records an act. Answered once a majority has it.
    pub async fn record_act(&self, act: &NewAct) -> Result<ActId, ArchiveError> {
        let id = ObjectId::new();
        let document = doc! {
            "_id": id,
            "at_ms": act.at_ms,
            "who": cut(&act.who),
            "act": cut(&act.act),
            "target": cut(&act.target),
            "detail": cut(&act.detail),
            "trace_id": cut(&act.trace_id),
        };
        self.gateway.write_plain(Verb::Insert, AUDIT, vec![document]).await?;
        Ok(ActId(id))
    }

    /// Records what became of an act.
    pub async fn record_result(&self, act: ActId, result: &str) -> Result<(), ArchiveError> {
        let operation = doc! { "q": { "_id": act.0 }, "u": { "$set": { "result": cut(result) } } };
        self.gateway.write_plain(Verb::Update, AUDIT, vec![operation]).await.map(drop)
    }

    /// Acts of one or of all before a place in the list, newest first; one more than [`ACTS_MAX`] at most.
    pub async fn acts(
        &self,
        who: Option<&str>,
        before: Option<ActPosition>,
        limit: u32,
    ) -> Result<Vec<Act>, ArchiveError> {
        let mut filter = who.map_or_else(Document::new, |who| doc! { "who": who });
        if let Some(ActPosition { at_ms, id: ActId(id) }) = before {
            let older = vec![
                doc! { "at_ms": { "$lt": at_ms } },
                doc! { "at_ms": at_ms, "_id": { "$lt": id } },
            ];
            filter.insert("$or", older);
        }
        let options = FindOptions::builder()
            .sort(doc! { "at_ms": -1, "_id": -1 })
            .limit(i64::from(limit.min(READ_MAX)))
            .build();
        self.gateway.find(AUDIT, filter, options).await
    }
}

/// Indexes of the record: it is read from its end.
pub(super) fn indexes() -> Vec<Document> {
    vec![
        doc! { "name": "by_time", "key": { "at_ms": -1, "_id": -1 } },
        doc! { "name": "by_who", "key": { "who": 1, "at_ms": -1, "_id": -1 } },
    ]
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("ann"), "ann");
        let long = "ä".repeat(TEXT_BYTES_MAX);
        assert_eq!(cut(&long).len(), TEXT_BYTES_MAX);
        assert_eq!(cut(&format!("a{long}")).len(), TEXT_BYTES_MAX - 1);
    }
}
