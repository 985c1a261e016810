//! Builds log entries as the scripts write them.

use holdfast::domain::entry::Link;
use holdfast::domain::{BookingId, Entry, EventId, Kind, LogId, SeatId, Status, Transition};

/// When the bookings made here were made, Unix ms.
pub const BORN_MS: i64 = 1_800_000_000_000;

/// A booking id: smaller `n`, smaller (older) id.
pub fn booking(event: EventId, n: u64) -> BookingId {
    BookingId::new(event, BORN_MS as u64 + n, n)
}

/// One entry of a booking's life in generation 1. `version` also gives its time and log id.
pub fn entry(id: BookingId, seats: &[u32], kind: Kind, version: u64) -> Entry {
    let time_ms = BORN_MS + version as i64 * 1_000;
    let status = match kind {
        Kind::Hold | Kind::Extend | Kind::ConfirmAbort | Kind::Restored => Status::Hold,
        Kind::ConfirmBegin => Status::Confirming,
        Kind::Sold => Status::Committed,
        Kind::Confirmed => Status::Confirmed,
        Kind::Voided => Status::Voided,
        Kind::Cancelled => Status::Cancelled,
        Kind::Expired => Status::Expired,
        Kind::Beat
        | Kind::Opened
        | Kind::Event
        | Kind::Unloaded
        | Kind::Blocked
        | Kind::Unblocked => {
            panic!("{kind:?} has no booking")
        }
    };
    let paid = matches!(status, Status::Committed | Status::Confirmed | Status::Voided);
    Entry {
        id: LogId { ms: time_ms as u64, seq: version },
        kind,
        event: Some(id.event()),
        generation: 1,
        event_version: version,
        time_ms,
        transition: Some(Transition {
            booking: id,
            user: "ann".parse().unwrap(),
            seats: seats.iter().copied().map(SeatId).collect(),
            status,
            version,
            amount: 900,
            currency: "EUR".into(),
            created_ms: BORN_MS,
            deadline_ms: BORN_MS + 60_000,
            lease: 1,
            payment: if paid { format!("pay-{id}") } else { String::new() },
            paid_ms: if paid { BORN_MS + 2_500 } else { 0 },
            confirmed_ms: if kind == Kind::Confirmed { time_ms } else { 0 },
            idempotency: "digest".into(),
            fingerprint: "print".into(),
            trace: "trace".into(),
        }),
        house: None,
        detail: String::new(),
        link: Link { tag: "t".into(), prev_id: LogId::default(), prev_tag: String::new() },
    }
}

/// The whole life of a booking that is sold: held, begun, sold, confirmed.
pub fn sold_life(id: BookingId, seats: &[u32]) -> Vec<Entry> {
    let kinds = [Kind::Hold, Kind::ConfirmBegin, Kind::Sold, Kind::Confirmed];
    kinds.into_iter().zip(1..).map(|(kind, version)| entry(id, seats, kind, version)).collect()
}
