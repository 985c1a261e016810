//! Requests that are counted as grants before anybody knows whether they are granted.

use std::time::Instant;

use actix_web::{HttpMessage, HttpRequest};

use super::Quotas;
use super::applied::{Applied, Outcome};
use super::ledger::{Note, Noted};
use crate::domain::{Counting, Rule, Subject};

/// A request as it was counted under one rule.
pub(super) struct Grant {
    pub(super) rule: Rule,
    pub(super) subject: Subject,
    pub(super) enforced: bool,
    pub(super) counted: Counted,
}

/// Where it is counted.
pub(super) enum Counted {
    /// In Redis, at this moment, Unix ms.
    At(i64),
    /// In this process.
    Noted(Noted),
}

/// All of one request, kept with it until its outcome is known.
#[derive(Default)]
pub(super) struct PendingGrants {
    pub(super) grants: Vec<Grant>,
}

impl PendingGrants {
    /// Adds a request that one rule let through, if it counts grants.
    pub(super) fn add(&mut self, applied: &Applied<'_>, outcome: &Outcome) {
        if applied.rule.counting != Counting::Grants {
            return;
        }
        let counted = match outcome {
            Outcome::Counted(standing) if !standing.is_over => Counted::At(standing.at_ms),
            Outcome::Passed(noted) => Counted::Noted(*noted),
            // It is counted nowhere.
            Outcome::Counted(_) | Outcome::ShareUsed(_) | Outcome::Unavailable => return,
        };
        self.grants.push(Grant {
            rule: applied.rule.clone(),
            subject: applied.subject.clone(),
            enforced: applied.enforced,
            counted,
        });
    }

    /// Keeps them with the request.
    pub(super) fn keep(self, request: &HttpRequest) {
        if !self.grants.is_empty() {
            request.extensions_mut().insert(self);
        }
    }
}

impl Quotas {
    /// Takes a request that was granted nothing new out of the rules that count grants.
    pub fn uncount(&self, request: &HttpRequest) {
        let Some(pending) = request.extensions_mut().remove::<PendingGrants>() else { return };
        let now = Instant::now();
        let ledger = &self.inner.ledger;
        for Grant { rule, subject, enforced, counted } in pending.grants {
            let partition = self.partition(&subject);
            let note = Note { partition, subject: &subject, rule: &rule, enforced };
            match counted {
                Counted::At(at_ms) => ledger.uncount(&note, at_ms, now),
                Counted::Noted(noted) => ledger.withdraw(&note, noted),
            }
        }
    }
}
