//! The record of admin acts. An act is recorded before it is done: where that cannot be, it is not
//! done. What became of it is added afterwards.

use super::{SaleError, unix_now_ms};
pub use crate::archive::{Act, ActPosition, NewAct};
use crate::archive::{ActId, Archive};

/// Records admin acts. Cheap to clone.
#[derive(Clone)]
pub struct Audit {
    archive: Archive,
}

/// An act that is recorded and may be done now.
#[must_use = "what becomes of an act is recorded"]
pub struct Begun {
    archive: Archive,
    id: ActId,
}

impl Audit {
    /// Records in this archive.
    pub fn new(archive: Archive) -> Self {
        Audit { archive }
    }

    /// Records an act, now. Where it cannot be recorded nothing has happened.
    pub async fn begin(&self, act: NewAct) -> Result<Begun, SaleError> {
        let archive = self.archive.promptly();
        let act = NewAct { at_ms: unix_now_ms(), ..act };
        match archive.record_act(&act).await {
            Ok(id) => Ok(Begun { archive, id }),
            Err(error) => Err(SaleError::Unavailable {
                dependency: "mongodb",
                reason: format!("an admin act cannot be recorded, so it is not done: {error}"),
                unknown: false,
            }),
        }
    }

    /// Acts of one or of all before a place in the list, newest first.
    pub async fn acts(
        &self,
        who: Option<&str>,
        before: Option<ActPosition>,
        limit: u32,
    ) -> Result<Vec<Act>, SaleError> {
        Ok(self.archive.acts(who, before, limit).await?)
    }
}

impl Begun {
    /// Records what became of it: `ok`, or why not. It is done, whether or not that can be.
    pub async fn end(self, result: &str) {
        if let Err(error) = self.archive.record_result(self.id, result).await {
            tracing::warn!(%error, result, "what became of an admin act is not recorded");
        }
    }
}
