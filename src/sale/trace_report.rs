//! What Redis and the archive know of one trace.

use super::{AuditEntry, SaleError};
use crate::archive::{Archive, ArchivedBooking, LedgerEntry, TraceQuery};
use crate::domain::{Intent, LogId, Partition};
use crate::redis::{Engine, Read};

/// Bookings and acts that are read.
pub const FOUND_MAX: u32 = 200;
/// Ledger entries that are read of one booking.
const HISTORY_MAX: u32 = 200;
/// Log entries of one read.
const PAGE_ENTRIES: u64 = 1_000;

/// What is known of one trace.
#[derive(Debug, Default)]
pub struct TraceReport {
    /// Entries of the booking log, by partition and position.
    pub entries: Vec<Read>,
    /// Whether the logs have more entries than were looked at.
    pub log_is_cut: bool,
    /// Bookings that its requests made, with their ledger.
    pub bookings: Vec<TracedBooking>,
    /// Payment intents whose refund its requests caused.
    pub refunds: Vec<Intent>,
    /// Admin acts of its requests.
    pub acts: Vec<AuditEntry>,
}

/// A booking of the trace in the archive.
#[derive(Debug)]
pub struct TracedBooking {
    /// Its newest state.
    pub archived: ArchivedBooking,
    /// Its transitions, oldest first.
    pub history: Vec<LedgerEntry>,
    /// Its payment intent, if a payment was begun.
    pub intent: Option<Intent>,
}

impl TraceReport {
    /// Collects what is known of a trace since a time. Looks at `entries_max` entries of the logs at
    /// most, beginning with the oldest since then.
    ///
    /// # Errors
    /// If Redis or MongoDB does not answer.
    pub async fn collect(
        engine: &Engine,
        archive: &Archive,
        trace_id: &str,
        since_ms: i64,
        entries_max: u64,
    ) -> Result<Self, SaleError> {
        let query = TraceQuery { trace_id: trace_id.to_owned(), since_ms, limit: FOUND_MAX };
        let mut report = TraceReport {
            refunds: archive.refunds_of_trace(&query).await?,
            acts: archive.acts_of_trace(&query).await?,
            ..TraceReport::default()
        };
        for archived in archive.bookings_of_trace(&query).await? {
            let id = archived.booking.id;
            let history = archive.history(id, HISTORY_MAX).await?;
            let intent = archive.intent(id).await?;
            report.bookings.push(TracedBooking { archived, history, intent });
        }
        let mut left = entries_max;
        for partition in (0..engine.keys().partitions()).map(Partition) {
            left = report.read_log(engine, partition, &query, left).await?;
        }
        Ok(report)
    }

    /// Reads one partition's log, at most `left` entries; returns how many may still be read.
    async fn read_log(
        &mut self,
        engine: &Engine,
        partition: Partition,
        query: &TraceQuery,
        mut left: u64,
    ) -> Result<u64, SaleError> {
        let mut from = LogId { ms: query.since_ms.max(0).unsigned_abs(), seq: 0 };
        loop {
            let page = engine.range(partition, from, None, PAGE_ENTRIES.min(left.max(1))).await?;
            let Some(last) = page.last() else { return Ok(left) };
            if left == 0 {
                self.log_is_cut = true;
                return Ok(0);
            }
            from = last.id.next();
            left = left.saturating_sub(page.len() as u64);
            let is_of_trace = |read: &Read| read.line().contains(&query.trace_id);
            self.entries.extend(page.into_iter().filter(is_of_trace));
        }
    }
}
