//! Waits until Redis, the booking log and the archive agree, on machines whose services are slow at
//! times: failed reads are repeated, a difference that remains is reported.

use std::time::{Duration, Instant};

use holdfast::archive::{Archive, ArchiveError, ArchivedBooking};
use holdfast::domain::{BookingId, EventId};
use holdfast::redis::{Engine, WORKER_GROUP};
use holdfast::sale::verify::{Report, verify};

/// Bound of agreement after a small sale.
pub const AGREEMENT: Duration = Duration::from_secs(60);
/// How long one comparison waits for entries that are not archived yet.
const LOOK: Duration = Duration::from_secs(60);
/// Pause between two comparisons.
const PAUSE: Duration = Duration::from_millis(100);
/// Most attempts to read one page of the archive.
const READS_MAX: u32 = 20;
/// Bookings of a page.
const PAGE: u32 = 1_000;

/// Waits until `verify` finds no difference; fails after `bound` with its last report.
pub async fn wait_until_consistent(engine: &Engine, archive: &Archive, bound: Duration) -> Report {
    let deadline = Instant::now() + bound;
    loop {
        match verify(engine, archive, WORKER_GROUP, None, LOOK.min(bound)).await {
            Ok(report) if report.clean => return report,
            other => assert!(Instant::now() < deadline, "not within {bound:?}: {other:#?}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Returns an event's archived bookings in the order of their ids.
pub async fn archived_bookings(archive: &Archive, event: EventId) -> Vec<ArchivedBooking> {
    let (mut bookings, mut after) = (Vec::new(), None::<BookingId>);
    loop {
        let page = answered(async || archive.bookings_of_event(event, after, PAGE).await).await;
        let Some(last) = page.last() else { return bookings };
        after = Some(last.booking.id);
        bookings.extend(page);
    }
}

/// Repeats a read of the archive until it succeeds.
async fn answered<T>(read: impl AsyncFn() -> Result<T, ArchiveError>) -> T {
    for _ in 1..READS_MAX {
        match read().await {
            Err(ArchiveError::Unavailable(_)) => tokio::time::sleep(PAUSE).await,
            result => return result.unwrap(),
        }
    }
    read().await.unwrap()
}
