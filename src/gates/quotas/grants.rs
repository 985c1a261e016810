//! Requests that are counted as grants before anybody knows whether they are granted.

use std::time::Instant;

use super::Quotas;
use super::applied::{Applied, Outcome};
use super::ledger::{Note, Noted};
use crate::domain::{Counting, Rule, Subject};

/// A request as it was counted under one rule that counts grants.
pub struct Grant {
    rule: Rule,
    subject: Subject,
    enforced: bool,
    counted: Counted,
}

/// Where a request is counted.
enum Counted {
    /// In Redis, at this moment, Unix ms.
    At(i64),
    /// In this process.
    Noted(Noted),
}

impl Grant {
    /// A request that one rule let through; `None` if the rule does not count grants, or did not
    /// count the request.
    pub(super) fn of(applied: &Applied<'_>, outcome: &Outcome) -> Option<Self> {
        if applied.rule.counting != Counting::Grants {
            return None;
        }
        let counted = match outcome {
            Outcome::Counted(standing) if !standing.is_over => Counted::At(standing.at_ms),
            Outcome::Passed(noted) => Counted::Noted(*noted),
            Outcome::Counted(_) | Outcome::ShareUsed(_) | Outcome::Unavailable => return None,
        };
        Some(Grant {
            rule: applied.rule.clone(),
            subject: applied.subject.clone(),
            enforced: applied.enforced,
            counted,
        })
    }
}

impl Quotas {
    /// Takes a request that was granted nothing new out of the rules that count grants.
    pub fn uncount(&self, grants: Vec<Grant>) {
        let now = Instant::now();
        let ledger = &self.inner.ledger;
        for Grant { rule, subject, enforced, counted } in grants {
            let partition = self.partition(&subject);
            let note = Note { partition, subject: &subject, rule: &rule, enforced };
            match counted {
                Counted::At(at_ms) => ledger.uncount(&note, at_ms, now),
                Counted::Noted(noted) => ledger.withdraw(&note, noted),
            }
        }
    }
}
