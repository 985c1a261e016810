//! Operators' run-time changes to the gates: one document, so that each change is atomic, with a
//! revision, so that one of two concurrent changes is refused.
//!
//! A document with an unknown field is refused as a whole: a partly understood policy could admit
//! requests that it must block.

use mongodb::bson::{self, Document, doc};
use mongodb::options::FindOptions;
use serde::{Deserialize, Serialize};

use super::Archive;
use super::error::ArchiveError;
use super::gateway::{DUPLICATE_KEY, Verb, integer};
use crate::domain::policy::{Access, AccessEntry, AllRules, LivePolicy, Profile};
use crate::domain::{Mode, RuleChange};

/// One document, `_id: "live"`.
const GATE_POLICY: &str = "gate_policy";
const ID: &str = "live";
/// The format of the document. Raised when older builds could not apply it.
const FORMAT: i64 = 1;

/// Operators' changes, with author and time of the last one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredPolicy {
    /// The changes.
    pub live: LivePolicy,
    /// Who changed it last; empty if unchanged.
    pub by: String,
    /// When it was changed last, Unix ms; 0 if unchanged.
    pub at_ms: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyDocument {
    #[serde(rename = "_id")]
    id: String,
    format: i64,
    revision: i64,
    by: String,
    at_ms: i64,
    profile: Option<Profile>,
    all_rules: Option<AllRules>,
    bots_mode: Option<Mode>,
    rules: Vec<RuleChange>,
    access: Vec<EntryDocument>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryDocument {
    who: String,
    access: Access,
    until_ms: Option<i64>,
    reason: String,
    by: String,
    at_ms: i64,
}

impl From<&StoredPolicy> for PolicyDocument {
    fn from(stored: &StoredPolicy) -> Self {
        let live = &stored.live;
        let entry = |entry: &AccessEntry| EntryDocument {
            who: entry.who.to_string(),
            access: entry.access,
            until_ms: entry.until_ms,
            reason: entry.reason.clone(),
            by: entry.by.clone(),
            at_ms: entry.at_ms,
        };
        PolicyDocument {
            id: ID.to_owned(),
            format: FORMAT,
            revision: live.revision,
            by: stored.by.clone(),
            at_ms: stored.at_ms,
            profile: live.profile,
            all_rules: live.all_rules,
            bots_mode: live.bots_mode,
            rules: live.rules.clone(),
            access: live.access.iter().map(entry).collect(),
        }
    }
}

impl TryFrom<PolicyDocument> for StoredPolicy {
    type Error = ArchiveError;
    fn try_from(document: PolicyDocument) -> Result<Self, ArchiveError> {
        let entry = |entry: EntryDocument| {
            let EntryDocument { who, access, until_ms, reason, by, at_ms } = entry;
            let who = who.parse().map_err(corrupt)?;
            Ok(AccessEntry { who, access, until_ms, reason, by, at_ms })
        };
        let access: Result<Vec<AccessEntry>, ArchiveError> =
            document.access.into_iter().map(entry).collect();
        let live = LivePolicy {
            revision: document.revision,
            profile: document.profile,
            all_rules: document.all_rules,
            rules: document.rules,
            bots_mode: document.bots_mode,
            access: access?,
        };
        Ok(StoredPolicy { live, by: document.by, at_ms: document.at_ms })
    }
}

impl Archive {
    /// Reads only the revision of the changes, without the possibly long lists; 0 if unchanged.
    pub async fn policy_revision(&self) -> Result<i64, ArchiveError> {
        let projection = doc! { "format": 1, "revision": 1 };
        let options = FindOptions::builder().limit(1).projection(projection).build();
        let found: Vec<Document> =
            self.gateway.find(GATE_POLICY, doc! { "_id": ID }, options).await?;
        found.first().map_or(Ok(0), revision)
    }

    /// Reads operators' changes.
    pub async fn stored_policy(&self) -> Result<StoredPolicy, ArchiveError> {
        let found: Option<Document> = self.gateway.find_by_id(GATE_POLICY, ID).await?;
        found.map_or_else(|| Ok(StoredPolicy::default()), read)
    }

    /// Replaces the previous revision; returns false if another change won.
    pub async fn change_policy(&self, next: &StoredPolicy) -> Result<bool, ArchiveError> {
        let mut document = bson::to_document(&PolicyDocument::from(next))
            .map_err(|error| corrupt(error.to_string()))?;
        let before = next.live.revision - 1;
        if before == 0 {
            let written = self.gateway.write_plain(Verb::Insert, GATE_POLICY, vec![document]);
            return Ok(written.await?.errors.iter().all(|error| error.code != DUPLICATE_KEY));
        }
        document.remove("_id");
        let deadline = self.gateway.deadline().await?;
        let filter = doc! { "_id": ID, "revision": before, "$expr": deadline.condition() };
        let operation = doc! { "q": filter, "u": document };
        let written = self.gateway.write_by(deadline, Verb::Update, GATE_POLICY, operation).await?;
        Ok(written.touched == 1)
    }
}

fn read(document: Document) -> Result<StoredPolicy, ArchiveError> {
    // Checked first: another format would otherwise be reported as an invalid field.
    revision(&document)?;
    let document: PolicyDocument =
        bson::from_document(document).map_err(|error| corrupt(error.to_string()))?;
    document.try_into()
}

/// The revision of a document that this build can read.
fn revision(document: &Document) -> Result<i64, ArchiveError> {
    let number = |name: &str| document.get(name).and_then(integer);
    match number("format") {
        Some(FORMAT) => number("revision").ok_or_else(|| corrupt("it has no revision".to_owned())),
        Some(theirs) => {
            let reason = format!("it has format {theirs}, this build reads {FORMAT}");
            Err(corrupt(reason))
        }
        None => Err(corrupt(format!("it has no format: {:?}", document.get("format")))),
    }
}

fn corrupt(reason: String) -> ArchiveError {
    ArchiveError::Corrupt(format!("{GATE_POLICY}.{ID}: {reason}"))
}

#[cfg(test)]
mod tests {
    use mongodb::bson::Bson;

    use super::*;

    fn stored() -> StoredPolicy {
        let entry = |who: &str, until_ms| AccessEntry {
            who: who.parse().unwrap(),
            access: Access::Deny,
            until_ms,
            reason: "why".into(),
            by: "ann".into(),
            at_ms: 5,
        };
        let rule = RuleChange {
            name: "requests".into(),
            quota: Some(7),
            mode: Some(Mode::Observe),
            ..RuleChange::default()
        };
        let live = LivePolicy {
            revision: 3,
            profile: Some(Profile::Strict),
            all_rules: None,
            rules: vec![rule],
            bots_mode: Some(Mode::Off),
            access: vec![entry("10.0.0.0/8", None), entry("user:eve", Some(9))],
        };
        StoredPolicy { live, by: "ann".into(), at_ms: 7 }
    }

    #[test]
    fn policy_survives_a_round_trip() {
        let document = bson::to_document(&PolicyDocument::from(&stored())).unwrap();
        assert_eq!(read(document).unwrap(), stored());
    }

    #[test]
    fn document_with_unknown_content_is_refused() {
        let whole = bson::to_document(&PolicyDocument::from(&stored())).unwrap();
        let rule = |name: &str| doc! { "name": "requests", name: "x" };
        for (name, value, expected) in [
            ("format", Bson::Int64(2), "it has format 2, this build reads 1"),
            ("format", Bson::Null, "no format"),
            ("challenge", Bson::Int64(1), "unknown field `challenge`"),
            ("rules", vec![rule("colour")].into(), "unknown field `colour`"),
            ("rules", vec![rule("mode")].into(), "unknown variant `x`"),
            ("access", vec![doc! { "who": "eve" }].into(), "missing field"),
        ] {
            let mut document = whole.clone();
            document.insert(name, value);
            let error = read(document).unwrap_err().to_string();
            assert!(error.contains("gate_policy.live") && error.contains(expected), "{error}");
        }
    }
}
