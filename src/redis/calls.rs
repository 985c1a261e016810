//! The scripts about bookings as typed calls ([`super::hold`] has `hold`, [`super::events`] those
//! about events). What each guarantees stands in its header under `lua/`.

use fred::types::Value;

use super::engine::{Engine, NotAfter};
use super::error::RedisError;
use super::reply::Answer;
use super::scripts::Script;
use crate::domain::booking::format_seats;
use crate::domain::{Booking, BookingId, Event, EventId, LogId, Partition, UserId};

/// A nonce: names one attempt, and tags the log entries it writes.
pub fn new_nonce() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// An attempt of a caller, by its nonce, and the record that makes its key its own.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// This attempt.
    pub nonce: &'a str,
    /// Where the caller's own key is kept; `None` if it sent none.
    pub record: Option<Record<'a>>,
}

/// The idempotency record of a caller's own key for one operation on one booking.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its name: a digest of user, operation, booking and key.
    pub digest: &'a str,
    /// What is asked for under that key.
    pub fingerprint: &'a str,
    /// How long it lives, ms.
    pub ttl_ms: i64,
}

/// An attempt without a key of its own.
impl<'a> From<&'a str> for Attempt<'a> {
    fn from(nonce: &'a str) -> Self {
        Attempt { nonce, record: None }
    }
}

/// The same.
impl<'a> From<&'a String> for Attempt<'a> {
    fn from(nonce: &'a String) -> Self {
        Attempt { nonce, record: None }
    }
}

/// How `confirm_abort` knows which confirmation is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AbortMode {
    /// The one with this lease number.
    Lease(u64),
    /// The one begun by this attempt, whose reply was lost.
    Nonce {
        /// The lost attempt.
        nonce: String,
        /// Its `not_after`.
        not_before: NotAfter,
    },
}

/// What `settle` needs: the outcome, and the archive's facts in case Redis lost the booking.
#[derive(Clone, Debug)]
pub struct SettleCall<'a> {
    /// The event's current generation; read before the outcome.
    pub generation: u64,
    /// `sold`, `refund` or `cancelled`.
    pub outcome: &'a str,
    /// When this outcome is too old to be told, by Redis' clock: in time to be refused before
    /// Redis forgets a booking that ended after the outcome was read. `None` for outcomes that
    /// are final.
    pub tell_until: Option<NotAfter>,
    /// Consumer group and position to acknowledge, if a log entry asked for this.
    pub acknowledge: Option<(&'a str, LogId)>,
    /// The booking as the archive knows it; status and lease are not looked at.
    pub booking: &'a Booking,
}

/// Arguments of a script, in order.
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$(fred::types::Value::from($value)),*] };
}
pub(super) use args;

pub(super) fn number(value: u64) -> Value {
    // Scripts read decimal text; this also spares the range check of a signed integer.
    Value::from(value.to_string())
}

/// `version user seats amount currency created deadline`: a booking for a script that may have to
/// write it anew.
fn what_is_held(b: &Booking) -> Vec<Value> {
    let mut facts = vec![number(b.version)];
    facts.extend(args![
        b.user.as_str(),
        format_seats(&b.seats),
        b.amount,
        b.currency.as_str(),
        b.created_ms,
        b.deadline_ms,
    ]);
    facts
}

impl Engine {
    pub(super) async fn mutate_event(
        &self,
        script: Script,
        event: EventId,
        generation: u64,
        nonce: &str,
        rest: Vec<Value>,
    ) -> Result<Answer, RedisError> {
        let keys = self.keys().event_keys(event);
        self.mutate_keys(script, event, generation, keys, nonce, rest).await
    }

    /// The same for a script that keeps idempotency records. It declares one in any case; without
    /// a record the name is that of nothing, and its time-to-live of 0 says so.
    async fn mutate_recorded(
        &self,
        script: Script,
        event: &Event,
        attempt: Attempt<'_>,
        mut rest: Vec<Value>,
    ) -> Result<Answer, RedisError> {
        let digest = attempt.record.map_or("none", |record| record.digest);
        let mut keys = self.keys().event_keys(event.id);
        keys.push(self.keys().idempotency(event.id, digest));
        rest.push(Value::from(attempt.record.map_or(0, |record| record.ttl_ms)));
        self.mutate_keys(script, event.id, event.generation, keys, attempt.nonce, rest).await
    }

    pub(super) async fn mutate_keys(
        &self,
        script: Script,
        event: EventId,
        generation: u64,
        keys: Vec<String>,
        nonce: &str,
        rest: Vec<Value>,
    ) -> Result<Answer, RedisError> {
        self.mutate(script, self.keys().partition_of(event), keys, |not_after| {
            let mut args = args![not_after.0];
            args.push(number(generation));
            args.push(Value::from(nonce));
            args.extend(rest.iter().cloned());
            args
        })
        .await
    }

    /// `abort`: undoes a hold whose reply was lost.
    pub async fn abort(
        &self,
        event: EventId,
        generation: u64,
        idempotency: &str,
        lost_nonce: &str,
        not_before: NotAfter,
    ) -> Result<Answer, RedisError> {
        let partition = self.keys().partition_of(event);
        let mut keys = self.keys().event_keys(event);
        keys.push(self.keys().idempotency(event, idempotency));
        let nonce = new_nonce();
        self.mutate(Script::Abort, partition, keys, |not_after| {
            let mut args = args![not_after.0];
            args.push(number(generation));
            args.extend(args![nonce.as_str(), lost_nonce, not_before.0]);
            args
        })
        .await
    }

    /// `confirm_begin`: puts a hold under a lease.
    pub async fn confirm_begin(
        &self,
        event: &Event,
        booking: BookingId,
        user: &UserId,
        attempt: impl Into<Attempt<'_>>,
        lease_ms: i64,
        attempts_max: i64,
    ) -> Result<Answer, RedisError> {
        let attempt = attempt.into();
        let fingerprint = attempt.record.map_or("", |record| record.fingerprint);
        let rest = args![booking.to_string(), user.as_str(), lease_ms, attempts_max, fingerprint];
        self.mutate_recorded(Script::ConfirmBegin, event, attempt, rest).await
    }

    /// `confirm_commit`: sells a paid booking's seats.
    pub async fn confirm_commit(
        &self,
        generation: u64,
        booking: BookingId,
        lease: u64,
        payment: &str,
    ) -> Result<Answer, RedisError> {
        let mut rest = args![booking.to_string()];
        rest.push(number(lease));
        rest.push(Value::from(payment));
        let event = booking.event();
        let mut keys = self.keys().event_keys(event);
        keys.push(self.keys().named("room_sessions", event));
        let (script, nonce) = (Script::ConfirmCommit, new_nonce());
        self.mutate_keys(script, event, generation, keys, &nonce, rest).await
    }

    /// `confirm_abort`: ends a confirmation without a sale.
    pub async fn confirm_abort(
        &self,
        generation: u64,
        booking: BookingId,
        mode: &AbortMode,
    ) -> Result<Answer, RedisError> {
        let (word, value, not_before) = match mode {
            AbortMode::Lease(lease) => ("lease", lease.to_string(), 0),
            AbortMode::Nonce { nonce, not_before } => ("nonce", nonce.clone(), not_before.0),
        };
        let rest = args![booking.to_string(), word, value, not_before];
        let event = booking.event();
        self.mutate_event(Script::ConfirmAbort, event, generation, &new_nonce(), rest).await
    }

    /// `confirm_takeover`: puts a confirmation whose lease has lapsed under a new one.
    pub async fn confirm_takeover(
        &self,
        generation: u64,
        booking: BookingId,
        nonce: &str,
        lease_ms: i64,
    ) -> Result<Answer, RedisError> {
        let rest = args![booking.to_string(), lease_ms];
        let event = booking.event();
        self.mutate_event(Script::ConfirmTakeover, event, generation, nonce, rest).await
    }

    /// `confirm_late`: sells the seats of a paid booking, whatever became of it. `booking` is what
    /// is known of it where Redis has lost it.
    pub async fn confirm_late(
        &self,
        generation: u64,
        booking: &Booking,
        payment: &str,
    ) -> Result<Answer, RedisError> {
        let b = booking;
        let mut rest = args![b.id.to_string(), payment];
        rest.extend(what_is_held(b));
        rest.push(number(b.lease));
        rest.extend(args![b.idempotency.as_str(), b.fingerprint.as_str(), b.trace.as_str()]);
        let event = b.id.event();
        self.mutate_event(Script::ConfirmLate, event, generation, &new_nonce(), rest).await
    }

    /// `cancel`: gives up a hold.
    pub async fn cancel(
        &self,
        event: &Event,
        booking: BookingId,
        user: &UserId,
    ) -> Result<Answer, RedisError> {
        let rest = args![booking.to_string(), user.as_str()];
        self.mutate_event(Script::Cancel, event.id, event.generation, &new_nonce(), rest).await
    }

    /// `extend`: gives a hold a full hold time from now, unless the log has `log_entries_max` entries.
    pub async fn extend(
        &self,
        event: &Event,
        booking: BookingId,
        user: &UserId,
        attempt: impl Into<Attempt<'_>>,
        log_entries_max: u64,
    ) -> Result<Answer, RedisError> {
        let mut rest = args![booking.to_string(), user.as_str()];
        rest.push(number(log_entries_max));
        self.mutate_recorded(Script::Extend, event, attempt.into(), rest).await
    }

    /// `expire`: ends at most `batch` overdue holds. Answers `[released, next deadline or -1]`.
    pub async fn expire(
        &self,
        event: EventId,
        generation: u64,
        batch: i64,
    ) -> Result<Answer, RedisError> {
        self.mutate_event(Script::Expire, event, generation, &new_nonce(), args![batch]).await
    }

    /// `settle`: brings the archive's outcome into Redis; `too_late` past its `tell_until`.
    pub async fn settle(&self, call: &SettleCall<'_>) -> Result<Answer, RedisError> {
        let b = call.booking;
        let (group, entry) = match call.acknowledge {
            Some((group, id)) => (group, id.to_string()),
            None => ("", String::new()),
        };
        let mut rest = vec![number(call.generation)];
        rest.extend(args![new_nonce(), b.id.to_string(), call.outcome, group, entry]);
        rest.extend(what_is_held(b));
        rest.extend(args![
            b.payment.as_str(),
            b.paid_ms,
            b.idempotency.as_str(),
            b.fingerprint.as_str(),
            b.trace.as_str(),
        ]);
        let event = b.id.event();
        let (partition, keys) = (self.keys().partition_of(event), self.keys().event_keys(event));
        self.mutate(Script::Settle, partition, keys, |not_after| {
            let not_after = call.tell_until.map_or(not_after.0, |until| until.0.min(not_after.0));
            let mut args = args![not_after];
            args.extend(rest.iter().cloned());
            args
        })
        .await
    }

    /// `beat`: appends an empty entry unless one younger than `min_age_ms` is there, or the log has
    /// `log_entries_max` entries.
    pub async fn beat(
        &self,
        partition: Partition,
        min_age_ms: i64,
        log_entries_max: u64,
    ) -> Result<Answer, RedisError> {
        let keys = vec![self.keys().log(partition), self.keys().link(partition)];
        let nonce = new_nonce();
        self.mutate(Script::Beat, partition, keys, |not_after| {
            let mut args = args![not_after.0, nonce.as_str(), min_age_ms];
            args.push(number(log_entries_max));
            args
        })
        .await
    }

    /// `get_booking`: a booking as it stands.
    pub async fn get_booking(&self, booking: BookingId) -> Result<Answer, RedisError> {
        let event = booking.event();
        let keys = self.keys().event_keys(event);
        let args = args![new_nonce(), booking.to_string()];
        self.run(Script::GetBooking, self.keys().partition_of(event), keys, args).await
    }
}
