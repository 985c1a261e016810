//! The audit log of admin actions: an entry is written before its action, and its result is added
//! afterwards. Entries are never changed otherwise, and never deleted.

use std::fmt;
use std::str::FromStr;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use mongodb::options::FindOptions;
use serde::Deserialize;

use super::Archive;
use super::error::ArchiveError;
use super::gateway::Verb;

/// One document an entry.
pub(super) const AUDIT: &str = "audit";
/// Bytes of each text of an entry; longer texts are truncated.
const TEXT_BYTES_MAX: usize = 1_000;
/// Entries that can be read.
pub const AUDIT_ENTRIES_MAX: u32 = 10_000;
/// One more shows whether there are more.
const READ_MAX: u32 = AUDIT_ENTRIES_MAX + 1;

/// An action that is about to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewAuditEntry {
    /// The time by this process' clock, Unix ms.
    pub at_ms: i64,
    /// The actor: the name of an admin key, or `ctl:user@host`.
    pub who: String,
    /// The action: `event_create`, `booking_cancel`, `ctl event pause`.
    pub act: String,
    /// The object: `event 7`, `booking 01…`; empty if it does not exist yet.
    pub target: String,
    /// The action's parameters.
    pub detail: String,
    /// The request's trace; empty for the operator's tool.
    pub trace_id: String,
}

/// A recorded action.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AuditEntry {
    #[serde(rename = "_id")]
    id: ObjectId,
    /// The time, Unix ms.
    pub at_ms: i64,
    /// The actor.
    pub who: String,
    /// The action.
    pub act: String,
    /// The object.
    pub target: String,
    /// The action's parameters.
    pub detail: String,
    /// The request's trace.
    pub trace_id: String,
    /// The result: `ok`, or an error's code or text. `None`: the action is in progress, or its process
    /// ended before recording the result.
    pub result: Option<String>,
}

/// Identifies a recorded entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditId(ObjectId);

impl fmt::Display for AuditId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for AuditId {
    type Err = mongodb::bson::oid::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(AuditId)
    }
}

/// A position in the list of entries, newest first: behind this entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditPosition {
    /// The entry's time, Unix ms.
    pub at_ms: i64,
    /// The entry's id.
    pub id: AuditId,
}

impl AuditEntry {
    /// The position behind this entry.
    pub fn position(&self) -> AuditPosition {
        AuditPosition { at_ms: self.at_ms, id: AuditId(self.id) }
    }
}

impl Archive {
    /// Records an action. Returns once a majority has the entry.
    pub async fn record_action(&self, action: &NewAuditEntry) -> Result<AuditId, ArchiveError> {
        let id = ObjectId::new();
        let document = doc! {
            "_id": id,
            "at_ms": action.at_ms,
            "who": truncate(&action.who),
            "act": truncate(&action.act),
            "target": truncate(&action.target),
            "detail": truncate(&action.detail),
            "trace_id": truncate(&action.trace_id),
        };
        self.gateway.write_plain(Verb::Insert, AUDIT, vec![document]).await?;
        Ok(AuditId(id))
    }

    /// Records the result of an action.
    pub async fn record_result(&self, id: AuditId, result: &str) -> Result<(), ArchiveError> {
        let set = doc! { "$set": { "result": truncate(result) } };
        let operation = doc! { "q": { "_id": id.0 }, "u": set };
        self.gateway.write_plain(Verb::Update, AUDIT, vec![operation]).await.map(drop)
    }

    /// Reads entries of one actor or of all before a position, newest first; at most
    /// [`AUDIT_ENTRIES_MAX`] plus one.
    pub async fn audit_entries(
        &self,
        who: Option<&str>,
        before: Option<AuditPosition>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, ArchiveError> {
        let mut filter = who.map_or_else(Document::new, |who| doc! { "who": who });
        if let Some(AuditPosition { at_ms, id: AuditId(id) }) = before {
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

/// Indexes of the audit log, which is read newest first.
pub(super) fn indexes() -> Vec<Document> {
    vec![
        doc! { "name": "by_time", "key": { "at_ms": -1, "_id": -1 } },
        doc! { "name": "by_who", "key": { "who": 1, "at_ms": -1, "_id": -1 } },
    ]
}

fn truncate(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_truncated_between_characters() {
        assert_eq!(truncate("ann"), "ann");
        let long = "ä".repeat(TEXT_BYTES_MAX);
        assert_eq!(truncate(&long).len(), TEXT_BYTES_MAX);
        assert_eq!(truncate(&format!("a{long}")).len(), TEXT_BYTES_MAX - 1);
    }
}
