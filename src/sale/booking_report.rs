//! The booking report: one booking in Redis and in the archive, the owners of its seats, its
//! history, and where these contradict each other.

use crate::archive::{Archive, ArchivedBooking, Claim, LedgerEntry};
use crate::domain::{Booking, BookingId, Event, Intent, Outcome, SeatId};
use crate::payments::{Payment, Provider};
use crate::redis::{Engine, GetBookingReply};

use super::{Sale, SaleError};

/// Ledger entries read of one booking. Attempts and extensions are bounded far below.
pub const HISTORY_MAX: u32 = 1_000;

/// A booking's state in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InRedis {
    /// Redis has it.
    Found(Box<Booking>),
    /// Redis has the event but not the booking: never made, or ended and forgotten.
    Unknown,
    /// Redis does not have the event.
    EventNotLoaded,
}

/// A booking's payment at its provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AtProvider {
    /// The provider has it.
    Found(Payment),
    /// There is no payment: none was begun, or the provider does not have it.
    Nothing,
    /// The provider does not say. The reason.
    Unavailable(String),
}

/// The report of one booking.
#[derive(Clone, Debug)]
pub struct BookingReport {
    /// Its event, if the catalogue has it.
    pub event: Option<Event>,
    /// Its state in Redis.
    pub in_redis: InRedis,
    /// Its state in the archive, if present.
    pub archived: Option<ArchivedBooking>,
    /// Its payment at the provider.
    pub at_provider: AtProvider,
    /// The name of the provider.
    pub provider: &'static str,
    /// Its intent, with the progress of a refund, if there is one.
    pub intent: Option<Intent>,
    /// Its seats with the booking that owns the claim on each, if any does.
    pub seats: Vec<(SeatId, Option<BookingId>)>,
    /// Its ledger, oldest first, at most [`HISTORY_MAX`] entries.
    pub history: Vec<LedgerEntry>,
    /// Contradictions, in words. What is on its way to the archive differs for a moment.
    pub differences: Vec<String>,
}

/// Collects the report of a booking.
///
/// # Errors
/// `BookingUnknown` if neither Redis nor the archive has it; if a service does not answer.
pub async fn booking_report(
    engine: &Engine,
    archive: &Archive,
    provider: &dyn Provider,
    id: BookingId,
) -> Result<BookingReport, SaleError> {
    // Redis first: the archive may only be newer then.
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
    let intent = archive.intent(id).await?;
    let payment = intent.as_ref().map_or(known.payment.as_str(), |one| one.payment.as_str());
    let at_provider = match payment {
        "" => AtProvider::Nothing,
        payment => match provider.get(payment).await {
            Ok(Some(payment)) => AtProvider::Found(payment),
            Ok(None) => AtProvider::Nothing,
            Err(error) => AtProvider::Unavailable(error.to_string()),
        },
    };
    Ok(BookingReport {
        at_provider,
        provider: provider.name(),
        intent,
        event: archive.event(id.event()).await?,
        history: archive.history(id, HISTORY_MAX).await?,
        in_redis,
        archived,
        seats,
        differences,
    })
}

/// The step of a ledger entry's kind, as people see it.
pub fn step_of(kind: &str) -> &'static str {
    match kind {
        "hold" => "held",
        "extend" => "extended",
        "confirm_begin" => "paying",
        "confirm_abort" => "declined",
        "sold" => "sold",
        "confirmed" => "confirmed",
        "voided" => "voided",
        "cancelled" => "cancelled",
        "expired" => "expired",
        "restored" => "restored",
        // Of another build.
        _ => "other",
    }
}

impl BookingReport {
    /// The booking as Redis has it, else as the archive has it.
    pub fn booking(&self) -> Option<&Booking> {
        match (&self.in_redis, &self.archived) {
            (InRedis::Found(booking), _) => Some(booking),
            (_, archived) => archived.as_ref().map(|one| &one.booking),
        }
    }
}

impl Sale {
    /// Returns the report of a booking.
    ///
    /// # Errors
    /// `BookingUnknown` if neither Redis nor the archive has it; if a service does not answer.
    pub async fn booking_report(&self, id: BookingId) -> Result<BookingReport, SaleError> {
        let (engine, archive) = (&self.inner.engine, &self.inner.archive);
        booking_report(engine, archive, self.payments().provider(), id).await
    }
}

fn differences(
    in_redis: &InRedis,
    archived: Option<&ArchivedBooking>,
    claims: &[Claim],
) -> Vec<String> {
    let mut found = Vec::new();
    match (in_redis, archived) {
        (InRedis::Found(here), Some(there)) => compare(here, &there.booking, &mut found),
        (InRedis::Found(_), None) => found.push("the archive does not have it yet".to_owned()),
        (InRedis::Unknown, Some(there)) if there.booking.status.is_live() => {
            let status = there.booking.status.as_str();
            found.push(format!("it is {status} in the archive, and Redis lacks it"));
        }
        _ => {}
    }
    let Some(ArchivedBooking { booking, outcome: Some(outcome), .. }) = archived else {
        return found;
    };
    if booking.status != outcome.status() {
        let (status, outcome) = (booking.status.as_str(), outcome.as_str());
        found.push(format!("it is {status} in the archive against its outcome {outcome}"));
    }
    if *outcome == Outcome::Sold {
        let owns =
            |seat| claims.iter().any(|claim| claim.seat == seat && claim.owner == booking.id);
        let missing = booking.seats.iter().filter(|seat| !owns(**seat));
        found.extend(
            missing.map(|seat| format!("it is sold, and does not own the claim on {seat}")),
        );
    }
    found
}

/// Compares both sides field by field.
fn compare(here: &Booking, there: &Booking, found: &mut Vec<String>) {
    let mut field = |name: &str, here: String, there: String| {
        if here != there {
            found.push(format!("{name}: {here} in Redis, {there} in the archive"));
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

    fn differences_of(
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
    fn agreeing_states_have_no_differences() {
        let own = booking(Status::Confirmed).id;
        let sold = archived(Status::Confirmed, Some(Outcome::Sold));
        let agreed =
            differences_of(Some(booking(Status::Confirmed)), Some(sold), &[(3, own), (4, own)]);
        assert_eq!(agreed, "");
        // Redis forgets what has ended.
        assert_eq!(differences_of(None, Some(archived(Status::Expired, None)), &[]), "");
    }

    #[test]
    fn differing_states_are_listed_field_by_field() {
        let here = Booking { version: 4, ..booking(Status::Committed) };
        let there = archived(Status::Confirming, None);
        let expected = "status: COMMITTED in Redis, CONFIRMING in the archive; \
            version: 4 in Redis, 1 in the archive";
        assert_eq!(differences_of(Some(here), Some(there), &[]), expected);
        let unarchived = differences_of(Some(booking(Status::Hold)), None, &[]);
        assert!(unarchived.contains("archive does not have it"));
        let lost = differences_of(None, Some(archived(Status::Hold, None)), &[]);
        assert_eq!(lost, "it is HOLD in the archive, and Redis lacks it");
        let other = BookingId::new(EventId(7), 1, 9);
        let sold = archived(Status::Voided, Some(Outcome::Sold));
        let expected = "it is VOIDED in the archive against its outcome sold; \
            it is sold, and does not own the claim on 3; \
            it is sold, and does not own the claim on 4";
        assert_eq!(differences_of(None, Some(sold), &[(3, other)]), expected);
    }
}
