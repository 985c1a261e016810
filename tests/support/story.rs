//! Whether Redis, the booking log and the archive tell one story, asked on machines whose services
//! are slow at times: a look that had no answer is repeated, a difference that stays is told.

use std::time::{Duration, Instant};

use holdfast::archive::{Archive, ArchiveError, ArchivedBooking};
use holdfast::domain::{BookingId, EventId};
use holdfast::redis::{Engine, WORKER_GROUP};
use holdfast::sale::verify::{Report, verify};

/// By when they agree where little was sold.
pub const AGREEMENT: Duration = Duration::from_secs(60);
/// How long one look waits for what is on its way.
const LOOK: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// How often one page of the archive is asked for.
const READS_MAX: u32 = 20;
/// Bookings of a page.
const PAGE: u32 = 1_000;

/// Waits until `verify` finds nothing; fails after `bound` with what it found last.
pub async fn one_story(engine: &Engine, archive: &Archive, bound: Duration) -> Report {
    let deadline = Instant::now() + bound;
    loop {
        let told = verify(engine, archive, WORKER_GROUP, None, LOOK.min(bound)).await;
        match told {
            Ok(report) if report.clean => return report,
            told => assert!(Instant::now() < deadline, "not within {bound:?}: {told:#?}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// All that the archive has of an event, in the order of their ids.
pub async fn archived_bookings(archive: &Archive, event: EventId) -> Vec<ArchivedBooking> {
    let (mut bookings, mut after) = (Vec::new(), None::<BookingId>);
    loop {
        let page = answered(async || archive.bookings_of_event(event, after, PAGE).await).await;
        let Some(last) = page.last() else { return bookings };
        after = Some(last.booking.id);
        bookings.extend(page);
    }
}

/// The archive's answer, asked for until there is one.
async fn answered<T>(read: impl AsyncFn() -> Result<T, ArchiveError>) -> T {
    for _ in 1..READS_MAX {
        match read().await {
            Err(ArchiveError::Unavailable(_)) => tokio::time::sleep(PAUSE).await,
            answer => return answer.unwrap(),
        }
    }
    read().await.unwrap()
}
