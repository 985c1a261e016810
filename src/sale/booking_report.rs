//! All that is known of one booking, for the people who are asked about it: what Redis says, what
//! the archive says, who owns its seats, how it came about, and where these differ.

use crate::archive::{Archive, ArchivedBooking, Claim, LedgerEntry};
use crate::domain::{Booking, BookingId, Event, Outcome, SeatId};
use crate::redis::{Engine, GetBookingReply};

use super::SaleError;

/// Ledger entries read of one booking. Attempts and extensions are bounded far below.
pub const HISTORY_MAX: u32 = 1_000;

/// What Redis says of a booking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InRedis {
    /// It has it.
    Found(Box<Booking>),
    /// It has the event, and not the booking: never made, or ended and forgotten.
    Unknown,
    /// It does not have the event.
    EventNotLoaded,
}

/// All that is known of a booking.
#[derive(Clone, Debug)]
pub struct BookingReport {
    /// Its event, if the catalogue has it.
    pub event: Option<Event>,
    /// What Redis says.
    pub in_redis: InRedis,
    /// What the archive says, if it knows it.
    pub archived: Option<ArchivedBooking>,
    /// Its seats with the booking that owns the claim on each, if any does.
    pub seats: Vec<(SeatId, Option<BookingId>)>,
    /// Its ledger, oldest first, at most [`HISTORY_MAX`] entries.
    pub history: Vec<LedgerEntry>,
    /// Where these contradict each other, in words. What is on its way differs for a moment.
    pub differences: Vec<String>,
}

/// Tells all of a booking.
///
/// # Errors
/// `BookingUnknown` if neither side knows it; if a service is away.
pub async fn story(
    engine: &Engine,
    archive: &Archive,
    id: BookingId,
) -> Result<BookingReport, SaleError> {
    // Redis first: what it says is archived afterwards, not before.
    let in_redis = match engine.get_booking(id).await?.reply {
        GetBookingReply::Found { booking } => InRedis::Found(booking),
        GetBookingReply::BookingUnknown => InRedis::Unknown,
        GetBookingReply::EventNotLoaded => InRedis::EventNotLoaded,
    };
    let archived = archive.booking(id).await?;
    let known = match (&in_redis, &archived) {
        (InRedis::Found(booking), _) => booking.as_ref(),
        (_, Some(archived)) => &archived.booking,
        _ => return Err(SaleError::BookingUnknown(id)),
    };
    let claims = archive.claims_on(known).await?;
    let owner = |seat: SeatId| claims.iter().find(|claim| claim.seat == seat).map(|one| one.owner);
    let seats = known.seats.iter().map(|seat| (*seat, owner(*seat))).collect();
    let differences = differences(&in_redis, archived.as_ref(), &claims);
    Ok(BookingReport {
        event: archive.event(id.event()).await?,
        history: archive.history(id, HISTORY_MAX).await?,
        in_redis,
        archived,
        seats,
        differences,
    })
}

fn differences(
    in_redis: &InRedis,
    archived: Option<&ArchivedBooking>,
    claims: &[Claim],
) -> Vec<String> {
    let mut told = Vec::new();
    match (in_redis, archived) {
        (InRedis::Found(here), Some(there)) => compare(here, &there.booking, &mut told),
        (InRedis::Found(_), None) => told.push("the archive does not have it yet".to_owned()),
        (InRedis::Unknown, Some(there)) if there.booking.status.is_live() => {
            let word = there.booking.status.as_str();
            told.push(format!("it is {word} in the archive, and Redis lacks it"));
        }
        _ => {}
    }
    let Some(ArchivedBooking { booking, outcome: Some(outcome), .. }) = archived else {
        return told;
    };
    if booking.status != outcome.status() {
        let (word, outcome) = (booking.status.as_str(), outcome.as_str());
        told.push(format!("it is {word} in the archive against its outcome {outcome}"));
    }
    if *outcome == Outcome::Sold {
        let owns =
            |seat| claims.iter().any(|claim| claim.seat == seat && claim.owner == booking.id);
        let missing = booking.seats.iter().filter(|seat| !owns(**seat));
        told.extend(
            missing.map(|seat| format!("it is sold, and does not own the claim on {seat}")),
        );
    }
    told
}

/// Each field in which the two sides differ.
fn compare(here: &Booking, there: &Booking, told: &mut Vec<String>) {
    let mut field = |name: &str, here: String, there: String| {
        if here != there {
            told.push(format!("{name}: {here} in Redis, {there} in the archive"));
        }
    };
    field("status", here.status.as_str().to_owned(), there.status.as_str().to_owned());
    field("version", here.version.to_string(), there.version.to_string());
    field("user", here.user.to_string(), there.user.to_string());
    field("amount", here.amount.to_string(), there.amount.to_string());
    field("currency", here.currency.clone(), there.currency.clone());
    let seats = crate::domain::booking::format_seats;
    field("seats", seats(&here.seats), seats(&there.seats));
    field("payment", here.payment.clone(), there.payment.clone());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EventId, Status};

    fn booking(status: Status) -> Booking {
        let id = BookingId::new(EventId(7), 1, 2);
        let record = "1\tHOLD\t1\tann\t3,4\t900\tEUR\t10\t20\tn\t0\t0\t\t0\t0\t0\tk\tf\t";
        Booking { status, ..Booking::from_record(id, record).unwrap() }
    }

    fn archived(status: Status, outcome: Option<Outcome>) -> ArchivedBooking {
        let booking = booking(status);
        ArchivedBooking { booking, outcome, generation: 1, cancel_unsettled_ms: None }
    }

    fn told(
        in_redis: Option<Booking>,
        archived: Option<ArchivedBooking>,
        owners: &[(u32, BookingId)],
    ) -> String {
        let claims: Vec<Claim> = owners
            .iter()
            .map(|(seat, owner)| Claim { seat: SeatId(*seat), owner: *owner })
            .collect();
        let in_redis = in_redis.map_or(InRedis::Unknown, |booking| InRedis::Found(booking.into()));
        differences(&in_redis, archived.as_ref(), &claims).join("; ")
    }

    #[test]
    fn what_agrees_is_not_told() {
        let own = booking(Status::Confirmed).id;
        let sold = archived(Status::Confirmed, Some(Outcome::Sold));
        assert_eq!(told(Some(booking(Status::Confirmed)), Some(sold), &[(3, own), (4, own)]), "");
        // Redis forgets what has ended.
        assert_eq!(told(None, Some(archived(Status::Expired, None)), &[]), "");
    }

    #[test]
    fn what_differs_is_told_field_by_field() {
        let here = Booking { version: 4, ..booking(Status::Committed) };
        let there = archived(Status::Confirming, None);
        let expected = "status: COMMITTED in Redis, CONFIRMING in the archive; \
            version: 4 in Redis, 1 in the archive";
        assert_eq!(told(Some(here), Some(there), &[]), expected);
        assert!(told(Some(booking(Status::Hold)), None, &[]).contains("archive does not have it"));
        let lost = told(None, Some(archived(Status::Hold, None)), &[]);
        assert_eq!(lost, "it is HOLD in the archive, and Redis lacks it");
        let other = BookingId::new(EventId(7), 1, 9);
        let sold = archived(Status::Voided, Some(Outcome::Sold));
        let expected = "it is VOIDED in the archive against its outcome sold; \
            it is sold, and does not own the claim on 3; \
            it is sold, and does not own the claim on 4";
        assert_eq!(told(None, Some(sold), &[(3, other)]), expected);
    }
}
