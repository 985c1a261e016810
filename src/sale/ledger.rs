//! The ledger of payments: every movement of money, as CSV, for accountants. One line a movement, or
//! one a day of an event with sums.
//!
//! The ledger is Holdfast's own record: intents and the archive's outcomes. `reconcile` proves that it
//! equals the provider's books; only what the archive has not decided yet is missing in it. A charge has
//! the time at which it was paid, a refund the time at which Holdfast saw that it had succeeded.
//!
//! The format is that of [`super::export`]. Events are read in order, an event's intents page by page, so
//! memory is bounded.

use std::collections::BTreeMap;

use csv::{QuoteStyle, Terminator, Writer, WriterBuilder};
use jiff::civil::Date;
use serde::Serialize;

use super::SaleError;
use super::export::{BYTE_ORDER_MARK, escape_formulas};
use crate::archive::{Archive, ArchivedBooking};
use crate::domain::money::format_units;
use crate::domain::time::iso8601;
use crate::domain::{BookingId, EventId, Intent, IntentState, MovementKind};

/// Intents read at once, and events.
const PAGE: u32 = 500;
/// The name of the charge among the kinds.
const CHARGE: &str = "charge";
/// Length of a date at the beginning of a time.
const DAY_CHARS: usize = "2026-12-01".len();

/// The columns of a ledger with a line a movement.
pub const LEDGER_COLUMNS: [&str; 13] = [
    "event_id",
    "booking_id",
    "user_id",
    "payment_id",
    "movement",
    "kind",
    "channel",
    "amount",
    "amount_units",
    "currency",
    "at",
    "reference",
    "recorded_by",
];
/// The columns of a ledger with a line a day.
pub const DAY_COLUMNS: [&str; 8] =
    ["event_id", "day", "kind", "channel", "movements", "amount", "amount_units", "currency"];

/// Which movements to export.
#[derive(Clone, Copy, Debug, Default)]
pub struct LedgerOptions {
    /// Only this event.
    pub event: Option<EventId>,
    /// Sums of each day instead of single movements.
    pub by_day: bool,
    /// Only from this day on, UTC.
    pub from: Option<Date>,
    /// Only until this day, UTC, included.
    pub to: Option<Date>,
}

/// One movement of money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerLine {
    /// Its number among the booking's movements: 0 is the charge.
    pub number: usize,
    /// `charge`, or the name of a [`MovementKind`].
    pub kind: String,
    /// Whether the provider's books have it.
    pub at_provider: bool,
    /// The amount, minor units: positive to the seller.
    pub amount: i64,
    /// When, Unix ms.
    pub at_ms: i64,
    /// A person's reference.
    pub reference: String,
    /// Who recorded it by hand.
    pub by: String,
}

/// Sums of a ledger in one currency, minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LedgerTotals {
    /// What was charged.
    pub charged: i64,
    /// What the provider has returned.
    pub refunded: i64,
    /// What was returned by another way.
    pub marked_paid: i64,
    /// What is left.
    pub kept: i64,
}

/// An export in progress.
pub struct LedgerExport {
    archive: Archive,
    options: LedgerOptions,
    /// The event being read.
    event: Option<EventId>,
    /// Its last intent written.
    after: Option<BookingId>,
    begun: bool,
    days: BTreeMap<DayKey, DaySum>,
    lines: u64,
    totals: BTreeMap<String, LedgerTotals>,
}

/// Day, currency, kind and channel.
type DayKey = (String, String, String, &'static str);

#[derive(Default)]
struct DaySum {
    movements: u64,
    amount: i64,
}

/// The movements of one booking, in order. A payment without an outcome has none yet.
pub fn movements_of(intent: &Intent, archived: Option<&ArchivedBooking>) -> Vec<LedgerLine> {
    let Some(archived) = archived.filter(|one| one.outcome.is_some()) else { return Vec::new() };
    let returned = intent.refunded_at_provider() + intent.marked_paid();
    // Its object was cancelled without having been paid.
    let was_unpaid = intent.state == IntentState::Refunded
        && intent.movements.is_empty()
        && returned == 0
        && intent.due_ms.is_none();
    if intent.amount == 0 || intent.payment.is_empty() || was_unpaid {
        return Vec::new();
    }
    let booking = &archived.booking;
    let known = |times: [i64; 3]| times.into_iter().find(|at_ms| *at_ms > 0).unwrap_or_default();
    let line = |number, kind: &str, at_provider, amount, at_ms| LedgerLine {
        number,
        kind: kind.to_owned(),
        at_provider,
        amount,
        at_ms,
        reference: String::new(),
        by: String::new(),
    };
    let paid_ms = known([booking.paid_ms, booking.confirmed_ms, intent.created_ms]);
    let mut lines = vec![line(0, CHARGE, true, intent.amount, paid_ms)];
    // Of a version that kept only the sum.
    if intent.movements.is_empty() && intent.refunded != 0 {
        let ended_ms = known([booking.ended_ms, paid_ms, 0]);
        lines.push(line(1, MovementKind::Refund.as_str(), true, -intent.refunded, ended_ms));
    }
    for (number, movement) in (1..).zip(&intent.movements) {
        let at_ms = known([movement.at_ms, booking.ended_ms, paid_ms]);
        let (kind, at_provider) = (movement.kind.as_str(), movement.kind.is_at_provider());
        lines.push(LedgerLine {
            reference: movement.reference.clone(),
            by: movement.by.clone(),
            ..line(number, kind, at_provider, movement.amount, at_ms)
        });
    }
    lines
}

impl LedgerLine {
    /// Where the money moved.
    pub fn channel(&self) -> &'static str {
        if self.at_provider { "provider" } else { "other" }
    }

    fn day(&self) -> String {
        iso8601(self.at_ms).chars().take(DAY_CHARS).collect()
    }
}

impl LedgerTotals {
    fn add(&mut self, line: &LedgerLine) {
        self.kept += line.amount;
        match line.at_provider {
            _ if line.kind == CHARGE => self.charged += line.amount,
            true => self.refunded -= line.amount,
            false => self.marked_paid -= line.amount,
        }
    }
}

impl LedgerOptions {
    fn includes(&self, line: &LedgerLine) -> bool {
        // Days are texts of equal length, so they compare as dates.
        let day = line.day();
        self.from.is_none_or(|from| day >= from.to_string())
            && self.to.is_none_or(|to| day <= to.to_string())
    }
}

impl LedgerExport {
    /// Starts an export. Uses only MongoDB.
    ///
    /// # Errors
    /// If the event does not exist, or MongoDB does not answer.
    pub async fn begin(archive: &Archive, options: LedgerOptions) -> Result<Self, SaleError> {
        let event = match options.event {
            Some(id) => {
                let head = archive.event_head(id).await?;
                Some(head.ok_or(SaleError::EventUnknown(id))?.id)
            }
            None => next_event(archive, EventId(0)).await?,
        };
        Ok(LedgerExport {
            archive: archive.clone(),
            options,
            event,
            after: None,
            begun: false,
            days: BTreeMap::new(),
            lines: 0,
            totals: BTreeMap::new(),
        })
    }

    /// Returns the next piece of the file, in whole lines; `None` after the last. The first piece
    /// begins with the header line.
    ///
    /// # Errors
    /// If MongoDB is unavailable.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, SaleError> {
        let mark = if self.begun { &[] } else { BYTE_ORDER_MARK };
        let mut writer = WriterBuilder::new()
            .terminator(Terminator::CRLF)
            .quote_style(QuoteStyle::Always)
            .from_writer(mark.to_vec());
        // Cannot fail: it writes to memory, and every line has all columns.
        let csv = |error: csv::Error| SaleError::Internal(format!("a CSV line: {error}"));
        if !self.begun {
            self.begun = true;
            let header = match self.options.by_day {
                true => writer.write_record(DAY_COLUMNS),
                false => writer.write_record(LEDGER_COLUMNS),
            };
            header.map_err(csv)?;
        } else if self.event.is_none() {
            return Ok(None);
        }
        if let Some(event) = self.event {
            let intents = self.archive.intents_of_event(event, self.after, PAGE).await?;
            self.write_page(&mut writer, &intents).await?.map_err(csv)?;
            self.after = intents.last().map(|last| last.booking);
            if self.after.is_none() {
                self.write_days(&mut writer, event).map_err(csv)?;
                self.event = match self.options.event {
                    Some(_) => None,
                    None => next_event(&self.archive, event).await?,
                };
            }
        }
        let piece = writer.into_inner();
        piece.map(Some).map_err(|error| SaleError::Internal(format!("a CSV line: {error}")))
    }

    /// Lines written so far, without the header.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Sums by currency so far.
    pub fn totals(&self) -> &BTreeMap<String, LedgerTotals> {
        &self.totals
    }

    async fn write_page(
        &mut self,
        writer: &mut Writer<Vec<u8>>,
        intents: &[Intent],
    ) -> Result<csv::Result<()>, SaleError> {
        let ids: Vec<BookingId> = intents.iter().map(|intent| intent.booking).collect();
        let archived = self.archive.bookings_by_id(&ids).await?;
        let archived: BTreeMap<BookingId, ArchivedBooking> =
            archived.into_iter().map(|one| (one.booking.id, one)).collect();
        for intent in intents {
            for line in movements_of(intent, archived.get(&intent.booking)) {
                if !self.options.includes(&line) {
                    continue;
                }
                self.totals.entry(intent.currency.clone()).or_default().add(&line);
                if self.options.by_day {
                    let (currency, kind) = (intent.currency.clone(), line.kind.clone());
                    let key = (line.day(), currency, kind, line.channel());
                    let sum = self.days.entry(key).or_default();
                    (sum.movements, sum.amount) = (sum.movements + 1, sum.amount + line.amount);
                } else if let Err(error) = write_line(writer, intent, &line) {
                    return Ok(Err(error));
                } else {
                    self.lines += 1;
                }
            }
        }
        Ok(Ok(()))
    }

    fn write_days(&mut self, writer: &mut Writer<Vec<u8>>, event: EventId) -> csv::Result<()> {
        for ((day, currency, kind, channel), sum) in std::mem::take(&mut self.days) {
            writer.write_record([
                event.to_string().as_str(),
                &day,
                &escape_formulas(&kind),
                channel,
                &sum.movements.to_string(),
                &sum.amount.to_string(),
                &format_units(sum.amount, &currency),
                &currency,
            ])?;
            self.lines += 1;
        }
        Ok(())
    }
}

async fn next_event(archive: &Archive, after: EventId) -> Result<Option<EventId>, SaleError> {
    Ok(archive.event_heads(after, 1).await?.first().map(|head| head.id))
}

fn write_line(writer: &mut Writer<Vec<u8>>, intent: &Intent, line: &LedgerLine) -> csv::Result<()> {
    writer.write_record([
        intent.booking.event().to_string().as_str(),
        &intent.booking.to_string(),
        &escape_formulas(intent.user.as_str()),
        &escape_formulas(&intent.payment),
        &line.number.to_string(),
        &escape_formulas(&line.kind),
        line.channel(),
        &line.amount.to_string(),
        &format_units(line.amount, &intent.currency),
        &intent.currency,
        &iso8601(line.at_ms),
        &escape_formulas(&line.reference),
        &escape_formulas(&line.by),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Outcome, SeenRefunds, Status};

    fn archived(intent: &Intent, outcome: Option<Outcome>) -> ArchivedBooking {
        let mut booking = intent.as_booking(Status::Confirmed, 10);
        booking.ended_ms = 20;
        ArchivedBooking { booking, outcome, generation: 1, cancel_unsettled_ms: None }
    }

    fn lines(intent: &Intent, outcome: Option<Outcome>) -> Vec<(String, i64, i64)> {
        let lines = movements_of(intent, Some(&archived(intent, outcome)));
        lines.into_iter().map(|line| (line.kind, line.amount, line.at_ms)).collect()
    }

    #[test]
    fn charge_is_a_movement_once_the_archive_has_decided() {
        let open = Intent { payment: "p".into(), ..Intent::of_ann() };
        assert_eq!(lines(&open, None), []);
        assert_eq!(lines(&open, Some(Outcome::Sold)), [("charge".to_owned(), 100, 10)]);
        let free = Intent { amount: 0, ..open.clone() };
        assert_eq!(lines(&free, Some(Outcome::Sold)), []);
        let unpaid = open.closed(IntentState::Refunded, 0);
        assert_eq!(lines(&unpaid, Some(Outcome::Refund)), []);
    }

    #[test]
    fn movements_follow_the_charge() {
        let open = Intent { payment: "p".into(), ..Intent::of_ann() };
        let old = open.closed(IntentState::Refunded, 100);
        let expected = [("charge".to_owned(), 100, 10), ("refund".to_owned(), -100, 20)];
        assert_eq!(lines(&old, Some(Outcome::Cancelled)), expected);
        let seen = SeenRefunds { refunded: 60, outside: 60, pending: 0 };
        let failed = open.with_seen(seen, 30).refund_failed(100, "x".into(), 31);
        let marked = failed.mark_paid(40, "SEPA 1", "ann", 32);
        let all = movements_of(&marked, Some(&archived(&marked, Some(Outcome::Cancelled))));
        let channels: Vec<_> = all.iter().map(|line| (line.channel(), line.amount)).collect();
        assert_eq!(channels, [("provider", 100), ("provider", -60), ("other", -40)]);
        assert_eq!((all[2].reference.as_str(), all[2].by.as_str()), ("SEPA 1", "ann"));
        let mut totals = LedgerTotals::default();
        all.iter().for_each(|line| totals.add(line));
        let expected = LedgerTotals { charged: 100, refunded: 60, marked_paid: 40, kept: 0 };
        assert_eq!(totals, expected);
    }

    #[test]
    fn days_limit_what_is_exported() {
        let open = Intent { payment: "p".into(), ..Intent::of_ann() };
        let line = &movements_of(&open, Some(&archived(&open, Some(Outcome::Sold))))[0];
        let day = |text: &str| text.parse::<Date>().ok();
        let options = |from, to| LedgerOptions { from, to, ..LedgerOptions::default() };
        assert!(options(day("1970-01-01"), day("1970-01-01")).includes(line));
        assert!(!options(day("1970-01-02"), None).includes(line));
        assert!(!options(None, day("1969-12-31")).includes(line));
    }
}
