//! The audit log of admin acts. An act is recorded before it is carried out; if recording fails,
//! it is not carried out. Its result is added afterwards.

use super::{SaleError, unix_now_ms};
use crate::archive::{Archive, AuditId};
pub use crate::archive::{AuditEntry, AuditPosition, NewAuditEntry};
use crate::domain::cursor;

/// The name of the list of acts in cursors.
const CURSOR_LIST: &str = "audit";

/// The cursor behind an act.
pub fn audit_cursor(position: &AuditPosition) -> String {
    cursor::encode(CURSOR_LIST, &[&position.at_ms, &position.id])
}

/// The position of a cursor; `None` if it is none of this list.
pub fn audit_position(text: &str) -> Option<AuditPosition> {
    let [at_ms, id] = cursor::decode(CURSOR_LIST, text)?;
    Some(AuditPosition { at_ms: at_ms.parse().ok()?, id: id.parse().ok()? })
}

/// Records admin acts. Cheap to clone.
#[derive(Clone)]
pub struct Audit {
    archive: Archive,
}

/// A recorded act, which may now be carried out.
#[must_use = "the act's result must be recorded"]
pub struct RecordedAct {
    archive: Archive,
    id: AuditId,
}

impl Audit {
    /// Creates an audit log in this archive.
    pub fn new(archive: Archive) -> Self {
        Audit { archive }
    }

    /// Records an act with the current time. If this fails, the act must not be carried out.
    pub async fn begin(&self, act: NewAuditEntry) -> Result<RecordedAct, SaleError> {
        let archive = self.archive.promptly();
        let act = NewAuditEntry { at_ms: unix_now_ms(), ..act };
        match archive.record_action(&act).await {
            Ok(id) => Ok(RecordedAct { archive, id }),
            Err(error) => Err(SaleError::Unavailable {
                dependency: "mongodb",
                reason: format!("an admin act cannot be recorded, so it is not done: {error}"),
                unknown: false,
            }),
        }
    }

    /// Returns acts, of one actor or of all, before a position, newest first.
    pub async fn entries(
        &self,
        who: Option<&str>,
        before: Option<AuditPosition>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, SaleError> {
        Ok(self.archive.audit_entries(who, before, limit).await?)
    }
}

impl RecordedAct {
    /// Records the act's result: `ok`, or the error. The act is done even if this fails.
    pub async fn end(self, result: &str) {
        if let Err(error) = self.archive.patiently().record_result(self.id, result).await {
            tracing::warn!(%error, result, "the result of an admin act is not recorded");
        }
    }
}
