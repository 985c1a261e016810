//! Exports an event's sales as CSV, one line a seat, for box offices and accountants.
//!
//! Bookings are read from the archive page by page in the order in which they were made, so memory is
//! bounded for any size of event. The export is not a snapshot: a sale confirmed meanwhile may be
//! missing, no sale appears twice, and each has the state it had when its page was read.
//!
//! The format is RFC 4180 in UTF-8 with a byte order mark (without it spreadsheets assume another
//! encoding) and a header line. Every field is quoted. Amounts are in the currency's minor unit, times
//! in UTC.
//!
//! Many spreadsheets split lines at `;` or tabs, depending on their language, and then treat text
//! behind such a character as a cell of its own. To prevent formula injection, an apostrophe is
//! inserted before `=`, `+`, `-`, `@` and their full-width forms at the beginning of a text and behind
//! every separator, quote and line break in it.

use std::borrow::Cow;

use csv::{QuoteStyle, Terminator, Writer, WriterBuilder};

use super::{Sale, SaleError};
use crate::archive::{Archive, ArchivedBooking};
use crate::domain::time::iso8601;
use crate::domain::{BookingId, Event, EventId, Outcome};

/// Marks the file as UTF-8.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// Bookings read at once; with ten seats each a page has about two megabytes.
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

/// An export in progress.
pub struct SalesExport {
    archive: Archive,
    event: Event,
    outcome: Outcome,
    /// The last booking written.
    after: Option<BookingId>,
    begun: bool,
    bookings: u64,
    seats: u64,
}

impl SalesExport {
    /// Starts an export of an event's sales with this outcome. Uses only MongoDB.
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

    /// Returns the next piece of the file, in whole lines; `None` after the last. The first piece
    /// begins with the header line.
    ///
    /// # Errors
    /// If MongoDB is unavailable; a further call returns the same piece.
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
        // Cannot fail: it writes to memory, and every line has all columns.
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
    let (user, payment) =
        (escape_formulas(booking.user.as_str()), escape_formulas(&booking.payment));
    let amount = booking.amount.to_string();
    let (paid, confirmed) = (time(booking.paid_ms), time(booking.confirmed_ms));
    let cancelled = match sale.outcome {
        Some(Outcome::Cancelled) => time(booking.ended_ms),
        _ => String::new(),
    };
    let status = sale.outcome.map_or(booking.status, Outcome::status).as_str();
    for seat in &booking.seats {
        // A seat missing in the layout would be a defect; the sale is still exported.
        let info = event.layout.seat(*seat);
        let text = |part: Option<&str>| escape_formulas(part.unwrap_or_default()).into_owned();
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

/// Returns the text with apostrophes inserted so that no spreadsheet evaluates a part of it as a
/// formula.
pub(super) fn escape_formulas(text: &str) -> Cow<'_, str> {
    let begins_formula = |c| matches!(c, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠');
    let ends_cell = |c| matches!(c, ',' | ';' | '\t' | '|' | '"' | '\'' | '\r' | '\n');
    let mut safe = String::new();
    let mut copied = 0;
    // Some programs skip blanks before a formula.
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
    /// Starts an export of an event's sales with this outcome.
    pub async fn sales(&self, id: EventId, outcome: Outcome) -> Result<SalesExport, SaleError> {
        SalesExport::begin(&self.inner.archive, id, outcome).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_escaped_wherever_a_cell_may_begin() {
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
            assert_eq!(escape_formulas(text), safe, "{text:?}");
        }
        for text in ["", "ann", "A-1", "a=b", "1+1", "'quoted", "a; b", "Floor,1"] {
            assert_eq!(escape_formulas(text), text);
        }
    }

    #[test]
    fn times_are_iso_8601_or_empty() {
        assert_eq!(time(1_772_388_000_000), "2026-03-01T18:00:00.000Z");
        assert_eq!((time(0), time(-1)), (String::new(), String::new()));
    }
}
