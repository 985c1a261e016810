//! Unloads a closed event: removes all its keys from Redis once the archive has all of it.
//!
//! ```text
//! verify (Redis: version v; the archive has everything up to v)
//!   → compare-and-set opened → unloaded (MongoDB; CLOSED only; token, until, v)
//!   → unload_event at v, not after `until` (Redis: all keys go)
//!   → or, if Redis refuses: compare-and-set unloaded → opened (this token only)
//! ```
//!
//! | what may happen between the steps | why it is harmless |
//! |---|---|
//! | the event changes after the verification (a settlement, a block, a change by its operator) | It has another version, the script refuses, the event stays. |
//! | an operator resumes it | Before the first compare-and-set, that one fails; after it, the change is refused (`load it first`). |
//! | a crash before the first compare-and-set | Nothing has happened. |
//! | a crash between it and the script, or its reply is lost | MongoDB says `unloaded`, Redis may have the event; it is CLOSED, so nothing is sold. `unload` verifies again and takes over with its own token; `load` puts it back to `opened`. Both wait until Redis' clock has passed `until`: from then on the script of the first attempt has no effect, even if its sender was only suspended. |
//! | two unloads at once | One wins the compare-and-set. The other finds `unloaded` and waits as above. |
//! | Redis falls back to an older copy | It has the event open, at v or an earlier version, while sales may have been cancelled since in the archive only. `load` puts back only version v after verifying it again; anything else is loaded from the archive. Until then the worker's `finish_interrupted` keeps it closed. |
//! | a put-back and a take-over at once | The put-back names its own token and finds another. |
//! | tasks of the worker | `finish_interrupted` opens `new` events and updates `opened` ones, so it ignores this event. `sweeper`, `reconciler` and `retention` use Redis' set of loaded events. An entry delivered again is stored again without effect, and its outcome finds no event: the archive decided it before. |
//! | a sale is cancelled while the event is unloaded | Only in the archive; there is nothing to settle, and `load` reads it as cancelled. |

use std::time::Duration;

use tokio::time::sleep;

use super::verify::{self, EventReport};
use super::{Events, SaleError};
use crate::archive::{LoadFacts, UnloadAttempt};
use crate::domain::{EventId, EventStatus, LoadState};
use crate::redis::{
    Detail, EventSnapshot, ExpireReply, NotAfter, RedisError, Timed, UnloadEventReply, new_nonce,
};

/// Time from recording an attempt in MongoDB to its end in Redis, ms. Longer than a write to MongoDB
/// and a call of Redis normally take.
const ATTEMPT_MS: i64 = 10_000;
/// How long another attempt waits for this one: Redis' clock may be slewed meanwhile.
const ATTEMPT_WAIT_MS_MAX: i64 = ATTEMPT_MS + 5_000;
/// Pause between two reads of Redis' time, and between two calls with unknown outcome.
const PAUSE: Duration = Duration::from_millis(200);
/// Calls of the script, if replies are lost.
const CALLS_MAX: u32 = 5;
/// Overdue holds released by one call.
const OVERDUE_BATCH: i64 = 100;
/// Calls that release overdue holds; remaining holds make the unload fail.
const OVERDUE_CALLS_MAX: u32 = 1_000;
/// Problems of `verify` that an error names.
const PROBLEMS_SHOWN_MAX: usize = 3;

/// The result of an unload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnloadResult {
    /// The event was removed from Redis.
    Done,
    /// It was not in Redis any more.
    DoneBefore,
}

impl Events {
    /// Removes a closed event from Redis. Waits at most `wait` for the archive to catch up.
    /// Idempotent, also after a crash.
    ///
    /// # Errors
    /// [`SaleError::EventState`] says why the event cannot be unloaded now; it stays unchanged.
    pub async fn unload(&self, id: EventId, wait: Duration) -> Result<UnloadResult, SaleError> {
        let facts = self.archive.load_facts(id).await?.ok_or(SaleError::EventUnknown(id))?;
        match facts.load_state {
            LoadState::Opened => {}
            LoadState::Unloaded if Box::pin(self.still_open(id, &facts)).await?.is_none() => {
                return Ok(UnloadResult::DoneBefore);
            }
            LoadState::Unloaded => {
                tracing::info!(event_id = %id, "continuing an interrupted unload")
            }
            LoadState::New => return Err(wrong_state(id, "it was never opened")),
            LoadState::Loading => {
                return Err(wrong_state(id, "it is being loaded: finish that (load) first"));
            }
        }
        if facts.status != EventStatus::Closed {
            let status = facts.status.as_str();
            return Err(wrong_state(id, &format!("it is {status}: close it first")));
        }
        // Boxed: these futures are large, and their callers are deeply nested.
        let snapshot = Box::pin(self.verified_snapshot(id, &facts, wait)).await?;
        let until_ms = snapshot.now_ms.max(self.redis_time_ms(id).await?) + ATTEMPT_MS;
        let version = snapshot.version;
        let attempt = UnloadAttempt { token: new_nonce(), until_ms, version };
        if !self.archive.begin_unload(id, &facts, &attempt).await? {
            return Err(wrong_state(id, "it was changed meanwhile: check it, and try again"));
        }
        Box::pin(self.remove(id, &snapshot, &attempt)).await
    }

    /// Returns a snapshot of the event in Redis, taken before the archive was verified to have all of
    /// it.
    async fn verified_snapshot(
        &self,
        id: EventId,
        facts: &LoadFacts,
        wait: Duration,
    ) -> Result<EventSnapshot, SaleError> {
        self.release_overdue(id, facts.generation).await?;
        let snapshot = self.engine.snapshot(id, Detail::Counts).await?;
        let snapshot = snapshot.filter(|s| s.open).ok_or(SaleError::EventNotLoaded(id))?;
        let group = &self.settings.worker_group;
        let report = verify::event(&self.engine, &self.archive, group, id, wait).await?;
        match reason_to_stay(&report) {
            Some(reason) => Err(wrong_state(id, &reason)),
            None => Ok(snapshot),
        }
    }

    async fn release_overdue(&self, id: EventId, generation: u64) -> Result<(), SaleError> {
        for _ in 0..OVERDUE_CALLS_MAX {
            match self.engine.expire(id, generation, OVERDUE_BATCH).await?.reply {
                ExpireReply::Expired { released: OVERDUE_BATCH.., .. } => {}
                _ => break,
            }
        }
        Ok(())
    }

    /// Runs the script and interprets its reply. INVARIANT: the event is put back only after Redis
    /// has refused this attempt for good.
    async fn remove(
        &self,
        id: EventId,
        snapshot: &EventSnapshot,
        attempt: &UnloadAttempt,
    ) -> Result<UnloadResult, SaleError> {
        let answer = match self.unload_call(id, snapshot, attempt).await {
            Ok(answer) => answer,
            Err(error) => {
                let reason = format!("{error}; run unload or load again");
                return Err(SaleError::Unavailable { dependency: "redis", reason, unknown: true });
            }
        };
        let reason = match answer.reply {
            // Not there: an earlier call of this attempt removed it, and its reply was lost.
            UnloadEventReply::Unloaded | UnloadEventReply::EventNotLoaded => {
                return Ok(UnloadResult::Done);
            }
            // A repeated call may be late though an earlier one succeeded.
            UnloadEventReply::TooLate if !self.is_open(id).await? => return Ok(UnloadResult::Done),
            UnloadEventReply::TooLate => "MongoDB or Redis took too long: try again",
            UnloadEventReply::InUse { .. } => "something is held or being paid",
            UnloadEventReply::EventMoved { .. }
            | UnloadEventReply::NotClosed
            | UnloadEventReply::GenerationMismatch { .. } => "it changed meanwhile: try again",
        };
        self.archive.undo_unload(id, &attempt.token).await?;
        Err(wrong_state(id, reason))
    }

    async fn unload_call(
        &self,
        id: EventId,
        snapshot: &EventSnapshot,
        attempt: &UnloadAttempt,
    ) -> Result<Timed<UnloadEventReply>, RedisError> {
        let not_after = NotAfter(attempt.until_ms);
        let mut calls = 0;
        loop {
            let (generation, version) = (snapshot.generation, snapshot.version);
            let called = self.engine.unload_event(id, generation, version, not_after).await;
            calls += 1;
            match called {
                Err(error) if calls < CALLS_MAX => {
                    tracing::warn!(event_id = %id, %error, "unload_event failed; it is retried");
                    sleep(PAUSE).await;
                }
                called => return called,
            }
        }
    }

    /// For an `unloaded` event: the token of the interrupted attempt, if Redis still has the event and
    /// that attempt can have no effect any more.
    pub(super) async fn still_open(
        &self,
        id: EventId,
        facts: &LoadFacts,
    ) -> Result<Option<String>, SaleError> {
        let (Some(token), Some(until_ms)) = (&facts.unload_token, facts.unload_until_ms) else {
            return Ok(None);
        };
        let began_ms = self.redis_time_ms(id).await?;
        let mut now_ms = began_ms;
        while self.is_open(id).await? {
            if now_ms > until_ms {
                return Ok(Some(token.clone()));
            }
            if now_ms - began_ms > ATTEMPT_WAIT_MS_MAX {
                return Err(wrong_state(id, "another is unloading it: try again later"));
            }
            sleep(PAUSE).await;
            now_ms = self.redis_time_ms(id).await?;
        }
        Ok(None)
    }

    pub(super) async fn is_open(&self, id: EventId) -> Result<bool, SaleError> {
        let snapshot = self.engine.snapshot(id, Detail::Counts).await?;
        Ok(snapshot.is_some_and(|snapshot| snapshot.open))
    }

    async fn redis_time_ms(&self, id: EventId) -> Result<i64, SaleError> {
        Ok(self.engine.redis_time_ms(self.engine.keys().partition_of(id)).await?)
    }
}

/// Whether the report shows no differences, no holds and no undecided sales.
pub(super) fn is_verified(report: &EventReport) -> bool {
    reason_to_stay(report).is_none()
}

/// Why an event with this report must not be unloaded.
fn reason_to_stay(report: &EventReport) -> Option<String> {
    if !report.problems.is_empty() {
        let shown: Vec<&str> =
            report.problems.iter().take(PROBLEMS_SHOWN_MAX).map(String::as_str).collect();
        return Some(format!("verify finds: {}", shown.join("; ")));
    }
    match (report.held, report.undecided) {
        (0, 0) => None,
        (0, undecided) => Some(format!("the archive has not decided {undecided} of its sales")),
        (held, _) => Some(format!("{held} seats are held or being paid: wait for that to end")),
    }
}

pub(super) fn wrong_state(event: EventId, reason: &str) -> SaleError {
    SaleError::EventState { event, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_with_holds_undecided_sales_or_problems_stays() {
        let clean = EventReport::default();
        assert_eq!(reason_to_stay(&clean), None);
        let held = EventReport { held: 3, undecided: 1, ..clean.clone() };
        assert!(reason_to_stay(&held).unwrap().starts_with("3 seats are held"));
        let undecided = EventReport { undecided: 1, ..clean.clone() };
        assert!(reason_to_stay(&undecided).unwrap().contains("has not decided 1"));
        let problems: Vec<String> = (0..5).map(|number| format!("p{number}")).collect();
        let broken = EventReport { problems, ..clean };
        assert_eq!(reason_to_stay(&broken).unwrap(), "verify finds: p0; p1; p2");
    }
}
