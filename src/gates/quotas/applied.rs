//! The rules that apply to a request, and whom they count.

use super::Quotas;
use crate::domain::{Mode, Partition, Place, Policy, RouteClass, Rule, Scope, Subject};
use crate::gates::Caller;

/// A rule that applies to a request, with whom it counts.
#[derive(Clone)]
pub(super) struct Applied<'a> {
    pub(super) rule: &'a Rule,
    pub(super) enforced: bool,
    /// The rule does not count the request: what it has counted is looked up.
    pub(super) is_looked_up: bool,
    pub(super) subject: Subject,
    pub(super) partition: Partition,
}

impl Quotas {
    /// The rules that apply to a request, in their order.
    pub(super) fn applied<'a>(
        &self,
        policy: &'a Policy,
        caller: &'a Caller,
    ) -> impl Iterator<Item = Applied<'a>> {
        self.applied_of(self.rules(policy, caller), policy, caller)
    }

    /// The rules that a booking makes forget what they have counted of a caller who can book.
    pub(super) fn forgivable<'a>(
        &self,
        policy: &'a Policy,
        caller: &'a Caller,
    ) -> impl Iterator<Item = Applied<'a>> {
        // Whatever class of requests they count: looking at seats is not booking.
        let forgivable =
            |rule: &&Rule| rule.forgiven_by_booking && caller.class == RouteClass::Hold;
        let rules = shared_rules(policy, caller).filter(forgivable);
        self.applied_of(rules, policy, caller).map(|one| Applied { is_looked_up: true, ..one })
    }

    /// The rules that count a request of this class here, in their order.
    pub(super) fn rules<'a>(
        &self,
        policy: &'a Policy,
        caller: &'a Caller,
    ) -> impl Iterator<Item = &'a Rule> + use<'a> {
        let counted = |rule: &&Rule| !caller.allowed && rule.counts(caller.class);
        shared_rules(policy, caller).filter(counted)
    }

    /// These rules as they apply to a caller, without those that count no such subject.
    pub(super) fn applied_of<'a>(
        &self,
        rules: impl Iterator<Item = &'a Rule>,
        policy: &'a Policy,
        caller: &'a Caller,
    ) -> impl Iterator<Item = Applied<'a>> {
        // Most rules are of one scope, and so count the same subject.
        let mut last: Option<(Scope, Subject, Partition)> = None;
        rules.filter_map(move |rule| {
            if last.as_ref().is_none_or(|(scope, ..)| *scope != rule.scope) {
                let user = caller.user.as_ref();
                let subject = Subject::of(rule.scope, user, caller.event, caller.client())?;
                let partition = self.inner.engine.keys().partition_of_subject(&subject);
                last = Some((rule.scope, subject, partition));
            }
            let (_, subject, partition) = last.as_ref()?;
            let enforced = policy.mode_of(rule, caller.on_loopback) == Mode::Enforce;
            let (subject, partition) = (subject.clone(), *partition);
            Some(Applied { rule, enforced, is_looked_up: false, subject, partition })
        })
    }
}

/// The rules that count in Redis, without those that are off.
fn shared_rules<'a>(policy: &'a Policy, caller: &Caller) -> impl Iterator<Item = &'a Rule> {
    let on_loopback = caller.on_loopback;
    policy.rules.iter().filter(move |rule| {
        rule.place == Place::Redis && policy.mode_of(rule, on_loopback) != Mode::Off
    })
}
