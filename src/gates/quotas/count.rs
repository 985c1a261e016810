//! One subject under one rule: requests that Redis has not counted, and what it last reported.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::{Limit, Rule, Subject};
use crate::redis::Standing;

/// How often what is urgent is sent: grants to take back, subjects to forgive, counts that reached
/// this process' share or block their subject. Also how often a Redis that is away is probed.
pub(super) const TURN: Duration = Duration::from_millis(200);

/// Longest that a report may block a subject: another process may have forgiven it since.
pub(super) const REPORT_KEPT_MAX: Duration = Duration::from_secs(5);
/// Longest that a report keeps requests of a rule that only observes from being sent.
const OBSERVED_REPORT_KEPT_MAX: Duration = Duration::from_secs(60);
/// Grants that one call takes back, of one subject and rule; the others follow with the next.
const TAKE_BACK_EACH_MAX: usize = 64;

/// The count of one subject under one rule.
pub(super) struct Count {
    /// Its name, which all counts of the rule share: comparing it touches no memory of its own.
    pub(super) rule: Arc<str>,
    limit: Limit,
    pub(super) enforced: bool,
    /// Requests decided in this process that Redis has not counted.
    pub(super) pending: u32,
    /// When the first of them came.
    pending_since: Instant,
    /// When the latest of them came. Once a whole window has passed since, none of them counts.
    counted_at: Instant,
    report: Option<Report>,
    /// Moments (Unix ms) at which Redis counted requests that turned out not to be granted.
    pub(super) take_back: Vec<i64>,
    /// Whether Redis is to forget the subject first.
    pub(super) forgives: bool,
}

/// What Redis last reported.
#[derive(Clone, Copy)]
struct Report {
    remaining: u32,
    /// When one more request remains.
    granted_at: Instant,
    /// Until when the report is relied on.
    until: Instant,
}

/// What counting a request has changed.
#[derive(Clone, Copy, Default)]
pub(super) struct Added {
    /// The subject was over the limit before it.
    pub(super) was_over: bool,
    /// The subject is blocked by it.
    pub(super) blocks: bool,
    /// The count is to be sent with the next turn.
    pub(super) is_urgent: bool,
}

/// What is to be sent to Redis of one subject and rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) subject: Subject,
    pub(super) rule: Arc<str>,
    pub(super) limit: Limit,
    pub(super) enforced: bool,
    pub(super) pending: u32,
    pub(super) take_back: Vec<i64>,
    pub(super) forgives: bool,
}

impl Count {
    pub(super) fn new(rule: Arc<str>, limit: Limit, now: Instant) -> Self {
        Count {
            rule,
            limit,
            enforced: false,
            pending: 0,
            pending_since: now,
            counted_at: now,
            report: None,
            take_back: Vec::new(),
            forgives: false,
        }
    }

    pub(super) fn is_of(&self, rule: &Rule) -> bool {
        *self.rule == *rule.name
    }

    /// Adopts the rule as it is now. A report about another limit is void.
    pub(super) fn apply(&mut self, limit: Limit, enforced: bool) {
        if self.limit != limit {
            (self.limit, self.report) = (limit, None);
        }
        self.enforced = enforced;
    }

    /// Counts one request.
    pub(super) fn add(&mut self, now: Instant) -> Added {
        if !self.enforced && self.remaining(now) == 0 {
            // Redis counts nothing beyond the quota of a rule that only observes.
            return Added { was_over: true, ..Added::default() };
        }
        self.forget_old(now);
        let was_over = self.is_over(now);
        self.add_pending(now);
        let blocks = self.enforced && !was_over && self.is_over(now);
        Added { was_over, blocks, is_urgent: blocks || self.pending == self.limit.share() }
    }

    fn add_pending(&mut self, now: Instant) {
        self.forget_old(now);
        if self.pending == 0 {
            self.pending_since = now;
        }
        self.pending = (self.pending + 1).min(self.limit.quota());
        self.counted_at = now;
    }

    /// Counts one request that is granted from the process' share; else how long until there is
    /// one.
    pub(super) fn take_share(&mut self, now: Instant) -> Result<(), Duration> {
        self.forget_old(now);
        if self.pending >= self.limit.share() {
            return Err((self.counted_at + self.window()).saturating_duration_since(now));
        }
        self.add_pending(now);
        Ok(())
    }

    pub(super) fn withdraw(&mut self) {
        self.pending = self.pending.saturating_sub(1);
    }

    /// Has Redis take back the request that it counted at this moment.
    pub(super) fn take_back(&mut self, at_ms: i64) {
        // There will be room for one more than was reported.
        self.report = None;
        self.take_back.push(at_ms);
    }

    /// What was counted until now is forgotten.
    pub(super) fn forgive(&mut self) {
        (self.pending, self.report, self.forgives) = (0, None, true);
        self.take_back.clear();
    }

    /// How long the subject has to wait under this limit, if it is over it.
    pub(super) fn wait(&mut self, limit: Limit, now: Instant) -> Option<Duration> {
        if self.limit != limit {
            return None;
        }
        self.forget_old(now);
        if !self.is_over(now) {
            return None;
        }
        match self.report.filter(|report| now < report.until && report.remaining == 0) {
            Some(report) => Some(report.granted_at.saturating_duration_since(now)),
            // By this process' count alone: the next flush finds out.
            None => Some(TURN),
        }
    }

    /// Whether its subject is blocked.
    pub(super) fn blocks(&self, now: Instant) -> bool {
        self.enforced && self.is_over(now)
    }

    /// What is due to be sent: at once what is to be taken back or forgiven; requests once they
    /// are this process' share or this old, and not while Redis has no room for them.
    pub(super) fn due(
        &mut self,
        subject: &Subject,
        age_min: Duration,
        now: Instant,
    ) -> Option<Due> {
        self.forget_old(now);
        let is_ripe = self.pending >= self.limit.share() || now >= self.pending_since + age_min;
        let sends = self.forgives || (is_ripe && self.remaining(now) > 0);
        let pending = if sends { self.pending } else { 0 };
        if pending == 0 && !self.forgives && self.take_back.is_empty() {
            return None;
        }
        Some(Due {
            subject: subject.clone(),
            rule: self.rule.clone(),
            limit: self.limit,
            enforced: self.enforced,
            pending,
            take_back: self.due_moments(),
            forgives: std::mem::take(&mut self.forgives),
        })
    }

    /// Moments to be sent; they are no longer due.
    pub(super) fn due_moments(&mut self) -> Vec<i64> {
        let count = self.take_back.len().min(TAKE_BACK_EACH_MAX);
        self.take_back.drain(..count).collect()
    }

    /// Adopts what Redis reports.
    pub(super) fn report(&mut self, standing: &Standing, now: Instant) {
        let wait = Duration::from_millis(standing.wait_ms);
        let kept_max = if self.enforced { REPORT_KEPT_MAX } else { OBSERVED_REPORT_KEPT_MAX };
        self.report = Some(Report {
            remaining: if standing.is_over { 0 } else { standing.remaining },
            granted_at: now + wait,
            until: now + wait.min(kept_max),
        });
    }

    /// Whether it still blocks its subject or has something to send.
    pub(super) fn is_needed(&self, now: Instant) -> bool {
        let counts = self.pending > 0 && now < self.counted_at + self.window();
        let is_reported = self.report.is_some_and(|report| now < report.until);
        counts || is_reported || self.forgives || !self.take_back.is_empty()
    }

    fn is_over(&self, now: Instant) -> bool {
        self.pending >= self.remaining(now)
    }

    /// Requests left by what Redis reported; all, where that is not known.
    fn remaining(&self, now: Instant) -> u32 {
        let report = self.report.filter(|report| now < report.until);
        report.map_or(self.limit.quota(), |report| report.remaining)
    }

    fn forget_old(&mut self, now: Instant) {
        if now >= self.counted_at + self.window() {
            self.pending = 0;
        }
    }

    fn window(&self) -> Duration {
        Duration::from_millis(self.limit.window_ms())
    }
}
