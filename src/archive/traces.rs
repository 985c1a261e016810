//! What the archive has of one trace: bookings made by its requests, refunds and acts that it caused.
//!
//! No index has traces, which would cost every write. Each query reads the documents of a span of time,
//! by the times at the beginning of booking ids and by the audit log's index, within the archive's bound.

use mongodb::bson::{Document, doc};
use mongodb::options::FindOptions;

use super::Archive;
use super::audit::AUDIT;
use super::documents::ArchivedBooking;
use super::error::ArchiveError;
use crate::archive::AuditEntry;
use crate::domain::{BookingId, EventId, Intent};

/// The trace and the time since which it is looked for.
#[derive(Clone, Debug)]
pub struct TraceQuery {
    /// The trace's id, 32 hex digits.
    pub trace_id: String,
    /// Unix ms.
    pub since_ms: i64,
    /// The most documents of each kind.
    pub limit: u32,
}

impl TraceQuery {
    /// Documents of bookings since the time whose field has a context of the trace.
    fn of_bookings(&self, field: &str) -> Document {
        let first = BookingId::new(EventId(0), self.since_ms.max(0).unsigned_abs(), 0);
        // Ids begin with the time, and `.` is the character after `-`.
        let first: String = first.to_string().chars().take(TIME_CHARACTERS).collect();
        let (begin, end) = (format!("00-{}-", self.trace_id), format!("00-{}.", self.trace_id));
        let mut filter = doc! { "_id": { "$gte": first } };
        filter.insert(field, doc! { "$gte": begin, "$lt": end });
        filter
    }

    fn newest_first(&self) -> FindOptions {
        FindOptions::builder().sort(doc! { "_id": -1 }).limit(i64::from(self.limit)).build()
    }
}

/// The characters of a booking id that are its time: 48 bits with a hyphen.
const TIME_CHARACTERS: usize = 13;

impl Archive {
    /// Reads bookings that requests of the trace made, newest first.
    pub async fn bookings_of_trace(
        &self,
        query: &TraceQuery,
    ) -> Result<Vec<ArchivedBooking>, ArchiveError> {
        self.bookings_where(query.of_bookings("trace"), query.newest_first()).await
    }

    /// Reads payment intents whose refund a request of the trace caused, newest first.
    pub async fn refunds_of_trace(&self, query: &TraceQuery) -> Result<Vec<Intent>, ArchiveError> {
        self.intents_where(query.of_bookings("refund_trace"), query.newest_first()).await
    }

    /// Reads admin acts of requests of the trace, newest first.
    pub async fn acts_of_trace(&self, query: &TraceQuery) -> Result<Vec<AuditEntry>, ArchiveError> {
        let filter =
            doc! { "at_ms": { "$gte": query.since_ms }, "trace_id": query.trace_id.as_str() };
        let options = FindOptions::builder()
            .sort(doc! { "at_ms": -1, "_id": -1 })
            .limit(i64::from(query.limit))
            .build();
        self.gateway.find(AUDIT, filter, options).await
    }
}
