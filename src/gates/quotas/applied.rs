//! One rule's look at one request, and what became of it.

use super::ledger::{Due, Note, Noted, Taken};
use crate::domain::{Partition, Rule, Subject};
use crate::redis::Standing;

/// A rule that looks at a request.
pub(super) struct Applied<'a> {
    pub(super) rule: &'a Rule,
    pub(super) enforced: bool,
    pub(super) subject: Subject,
    pub(super) partition: Partition,
}

/// What became of a request under one rule.
pub(super) enum Outcome {
    /// Redis counted it, or refused it.
    Counted(Standing),
    /// Redis is away; the rule lets pass.
    Passed(Noted),
    /// Redis is away, and this process has used its share: how long until it has some again, ms.
    ShareUsed(u64),
    /// Redis is away; the rule does not do without it, or there is no room to note the request.
    Unavailable,
}

impl Applied<'_> {
    /// What a call took along, to be sent again.
    pub(super) fn due(&self, taken: Taken) -> Due {
        Due {
            subject: self.subject.clone(),
            rule: self.rule.name.as_str().into(),
            limit: self.rule.limit,
            enforced: self.enforced,
            noted: taken.noted,
            uncounted: taken.uncounted,
            forgives: false,
        }
    }

    /// The request as a note under this rule.
    pub(super) fn note(&self) -> Note<'_> {
        Note {
            partition: self.partition,
            subject: &self.subject,
            rule: self.rule,
            enforced: self.enforced,
        }
    }
}
