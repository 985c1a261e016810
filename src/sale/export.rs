//! An event's sales as CSV, one line a seat, for box offices and accountants.
//!
//! Read from the archive page by page in the order in which the bookings were made, so memory stays
//! bounded however large the event. It is of no single instant: a sale that is confirmed meanwhile
//! may be missing, none is there twice, and each stands as it was when its page was read.
//!
//! RFC 4180, UTF-8 with a byte order mark (without it spreadsheets read another encoding), with a
//! line of names. Every field is in quotes. Amounts are in the currency's minor unit, times in UTC.
//!
//! A spreadsheet that splits lines at another separator than commas, as many do by their language,
//! takes what stands behind a `;` or a tab in a text for a cell of its own. So a text gets an
//! apostrophe before `=`, `+`, `-`, `@` and their wide forms where it begins, and behind every
//! separator, quote and line's end in it.

use std::borrow::Cow;

use csv::{QuoteStyle, Terminator, Writer, WriterBuilder};

use super::{Sale, SaleError};
use crate::archive::{Archive, ArchivedBooking};
use crate::domain::time::iso8601;
use crate::domain::{BookingId, Event, EventId, Outcome};

/// What says that a text is UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// Bookings read at once; with ten seats each a page is some two megabytes.
const PAGE: u32 = 1_000;

/// The names of the columns.
pub const COLUMNS: [&str; 15] = [
    "booking_id",
    "user_id",
    "section",
    "row",
    "seat_number",
    "seat_label",
    "seat_id",
    "price",
    "currency",
    "booking_amount",
    "payment_id",
    "paid_at",
    "confirmed_at",
    "cancelled_at",
    "status",
];

/// An export under way.
pub struct SalesExport {
    archive: Archive,
    event: Event,
    outcome: Outcome,
    /// The last booking that was written.
    after: Option<BookingId>,
    begun: bool,
    bookings: u64,
    seats: u64,
}

impl SalesExport {
    /// Begins an export of the sales of an event that ended so. Needs MongoDB alone.
    pub async fn begin(
        archive: &Archive,
        id: EventId,
        outcome: Outcome,
    ) -> Result<Self, SaleError> {
        let event = archive.event(id).await?.ok_or(SaleError::EventUnknown(id))?;
        Ok(SalesExport {
            archive: archive.clone(),
            event,
            outcome,
            after: None,
            begun: false,
            bookings: 0,
            seats: 0,
        })
    }

    /// The next piece of the file, whole lines; `None` after the last one. The first has the names.
    ///
    /// # Errors
    /// If MongoDB is away; the same piece may be asked for again.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, SaleError> {
        let event = self.event.id;
        let page = self.archive.sales_of_event(event, self.outcome, self.after, PAGE).await?;
        if page.is_empty() && self.begun {
            return Ok(None);
        }
        let mark = if self.begun { &[] } else { BYTE_ORDER_MARK };
        let mut writer = WriterBuilder::new()
            .terminator(Terminator::CRLF)
            .quote_style(QuoteStyle::Always)
            .from_writer(mark.to_vec());
        let written = self.write(&mut writer, &page);
        let piece = written.and_then(|()| Ok(writer.into_inner().map_err(|e| e.into_error())?));
        // Into memory, and every line has all columns.
        let piece = piece.map_err(|error| SaleError::Internal(format!("a CSV line: {error}")))?;
        self.begun = true;
        self.bookings += page.len() as u64;
        self.seats += page.iter().map(|sale| sale.booking.seats.len() as u64).sum::<u64>();
        self.after = page.last().map(|sale| sale.booking.id).or(self.after);
        Ok(Some(piece))
    }

    /// Bookings written so far.
    pub fn bookings(&self) -> u64 {
        self.bookings
    }

    /// Seats written so far.
    pub fn seats(&self) -> u64 {
        self.seats
    }

    fn write(&self, writer: &mut Writer<Vec<u8>>, page: &[ArchivedBooking]) -> csv::Result<()> {
        if !self.begun {
            writer.write_record(COLUMNS)?;
        }
        for sale in page {
            write_sale(writer, &self.event, sale)?;
        }
        Ok(())
    }
}

fn write_sale(
    writer: &mut Writer<Vec<u8>>,
    event: &Event,
    sale: &ArchivedBooking,
) -> csv::Result<()> {
    let booking = &sale.booking;
    let id = booking.id.to_string();
    let (user, payment) = (defused(booking.user.as_str()), defused(&booking.payment));
    let amount = booking.amount.to_string();
    let (paid, confirmed) = (time(booking.paid_ms), time(booking.confirmed_ms));
    let cancelled = match sale.outcome {
        Some(Outcome::Cancelled) => time(booking.ended_ms),
        _ => String::new(),
    };
    let status = sale.outcome.map_or(booking.status, Outcome::status).as_str();
    for seat in &booking.seats {
        // A seat that the layout does not have would be a defect; it must not hide the sale.
        let info = event.layout.seat(*seat);
        let text = |part: Option<&str>| defused(part.unwrap_or_default()).into_owned();
        writer.write_record([
            id.as_str(),
            &user,
            &text(info.map(|info| info.section)),
            &text(info.and_then(|info| info.row)),
            &info.map(|info| info.number.to_string()).unwrap_or_default(),
            &text(info.map(|info| info.label()).as_deref()),
            &seat.to_string(),
            &info.map(|info| info.price.to_string()).unwrap_or_default(),
            &booking.currency,
            &amount,
            &payment,
            &paid,
            &confirmed,
            &cancelled,
            status,
        ])?;
    }
    Ok(())
}

/// A time as ISO 8601; empty where there is none.
fn time(unix_ms: i64) -> String {
    if unix_ms > 0 { iso8601(unix_ms) } else { String::new() }
}

/// A text that no spreadsheet takes for a formula, whatever it splits lines at.
fn defused(text: &str) -> Cow<'_, str> {
    let begins_formula = |c| matches!(c, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠');
    let ends_cell = |c| matches!(c, ',' | ';' | '\t' | '|' | '"' | '\'' | '\r' | '\n');
    let mut safe = String::new();
    let mut copied = 0;
    // Blanks before a formula are skipped by some programs.
    let mut may_begin = true;
    for (at, c) in text.char_indices() {
        if may_begin && begins_formula(c) {
            safe.push_str(&text[copied..at]);
            safe.push('\'');
            copied = at;
        }
        may_begin = ends_cell(c) || (may_begin && c.is_whitespace());
    }
    if copied == 0 && safe.is_empty() {
        return Cow::Borrowed(text);
    }
    safe.push_str(&text[copied..]);
    Cow::Owned(safe)
}

impl Sale {
    /// Begins an export of the sales of an event that ended so.
    pub async fn sales(&self, id: EventId, outcome: Outcome) -> Result<SalesExport, SaleError> {
        SalesExport::begin(&self.inner.archive, id, outcome).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_defused_wherever_a_cell_may_begin() {
        for (text, safe) in [
            ("=1+1", "'=1+1"),
            ("+49", "'+49"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("＝1", "'＝1"),
            ("\t=1", "\t'=1"),
            (" =1", " '=1"),
            ("ann;=cmd()", "ann;'=cmd()"),
            ("ann,=1", "ann,'=1"),
            ("ann\t=1", "ann\t'=1"),
            ("ann|=1", "ann|'=1"),
            ("ann\"; =1", "ann\"; '=1"),
            ("a;-1;+2", "a;'-1;'+2"),
            ("'=1", "''=1"),
            ("a\r\n=1", "a\r\n'=1"),
            ("==1", "'==1"),
        ] {
            assert_eq!(defused(text), safe, "{text:?}");
        }
        for text in ["", "ann", "A-1", "a=b", "1+1", "'quoted", "a; b", "Floor,1"] {
            assert_eq!(defused(text), text);
        }
    }

    #[test]
    fn times_are_iso_or_nothing() {
        assert_eq!(time(1_772_388_000_000), "2026-03-01T18:00:00.000Z");
        assert_eq!((time(0), time(-1)), (String::new(), String::new()));
    }
}
