//! `event create`: creates an event from flags or a layout file.

use std::path::PathBuf;

use crate::domain::OrphanRule;
use crate::domain::event::{CancelPolicy, Cancellation};
use crate::domain::layout::{Row, Section};
use crate::domain::limits::{ROWS_MAX, SEATS_PER_EVENT_MAX};
use crate::sale::NewEvent;

use super::super::failure::Failure;
use super::super::time::parse_time;
use super::change::parse_cancellation;
use super::layout_file;
use super::row_names::row_name;

/// Create an event and open it for sale
///
/// The seats come from a layout file, or from flags. With flags, seats are numbered from 1: first the
/// reserved sections in the order given, row by row (rows are named A, B, … Z, AA, …), then the
/// general ones. A layout file has its sections in order. Prices are whole numbers in the currency's
/// minor unit: 4500 is 45.00. Seats, prices and the rules of holds cannot be changed later. Prints
/// the event with its id.
///
/// A layout file (TOML, or the same in JSON) has a list `sections`, as in the API, each with
/// `name`, `price`, and either `capacity` or `rows`. Rows are a list of `{ row = "A", seats = 40 }`,
/// of ranges `{ from = "A", to = "T", seats = 40, skip = ["I", "O"] }`, or of counts
/// `{ count = 50, seats = 100 }`; a single one needs no list. examples/layouts has a theatre, a club
/// and an arena.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl event create --name Gala --section Stalls:4500:12x20 --section Balcony:3000:4x25
  holdfastctl event create --name Hamlet --layout examples/layouts/theatre.toml
  jq .venue.layout show.json | holdfastctl event create --name Show --layout -
  holdfastctl event create --name Concert --general Floor:2500:800 --on-sale-at 2026-03-01T10:00:00Z")]
pub(in crate::ctl) struct Arguments {
    /// Name
    #[arg(long)]
    name: String,
    /// Description
    #[arg(long)]
    description: Option<String>,
    /// Venue
    #[arg(long)]
    venue: Option<String>,
    /// ISO 4217 code of all prices [default: the setting `currency`]
    #[arg(long, value_name = "CODE")]
    currency: Option<String>,
    /// When the event starts, with offset
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    starts_at: Option<i64>,
    /// When holds begin, with offset [default: at once]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    on_sale_at: Option<i64>,
    /// When holds end, with offset [default: when the event starts]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    off_sale_at: Option<i64>,
    /// How long a hold lasts [default: the setting `hold_ttl_seconds`]
    #[arg(long, value_name = "N")]
    hold_ttl_seconds: Option<u32>,
    /// How long a hold can last with extensions [default: the setting `max_hold_seconds`]
    #[arg(long, value_name = "N")]
    max_hold_seconds: Option<u32>,
    /// Seats one user can hold and own [default: the setting `max_seats_per_user`]
    #[arg(long, value_name = "N")]
    max_seats_per_user: Option<u32>,
    /// How to treat named seats that isolate a single one: off, warn or enforce
    #[arg(long, value_name = "RULE", value_parser = parse_orphan_rule)]
    orphan_rule: Option<OrphanRule>,
    /// Whether confirmed bookings may be cancelled: allowed or not_allowed [default: allowed]
    #[arg(long, value_name = "RULE", value_parser = parse_cancellation)]
    cancellation: Option<Cancellation>,
    /// Until when confirmed bookings may be cancelled, with offset [default: at any time]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    cancel_until: Option<i64>,
    /// A section of reserved seats; may be repeated
    #[arg(long = "section", value_name = "NAME:PRICE:ROWSxSEATS", value_parser = parse_reserved,
          required_unless_present_any = ["general", "layout"])]
    sections: Vec<Section>,
    /// A section without seat numbers; may be repeated
    #[arg(long, value_name = "NAME:PRICE:CAPACITY", value_parser = parse_general)]
    general: Vec<Section>,
    /// A layout file: .toml or .json; `-` reads either from standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["sections", "general"])]
    layout: Option<PathBuf>,
}

impl Arguments {
    pub(super) fn new_event(self) -> Result<NewEvent, Failure> {
        let sections = match &self.layout {
            Some(path) => layout_file::read(path).map_err(Failure::new)?,
            None => self.sections.into_iter().chain(self.general).collect(),
        };
        Ok(NewEvent {
            name: self.name,
            description: self.description,
            venue: self.venue,
            currency: self.currency,
            starts_at_ms: self.starts_at,
            on_sale_at_ms: self.on_sale_at,
            off_sale_at_ms: self.off_sale_at,
            hold_ttl_seconds: self.hold_ttl_seconds,
            max_hold_seconds: self.max_hold_seconds,
            max_seats_per_user: self.max_seats_per_user,
            orphan_rule: self.orphan_rule,
            cancel_policy: CancelPolicy {
                rule: self.cancellation.unwrap_or_default(),
                until_ms: self.cancel_until,
            },
            sections,
        })
    }
}

fn parse_orphan_rule(text: &str) -> Result<OrphanRule, String> {
    OrphanRule::parse(text).ok_or_else(|| "off, warn or enforce".to_owned())
}

/// Parses `NAME:PRICE:ROWSxSEATS`. The name may contain colons.
fn parse_reserved(text: &str) -> Result<Section, String> {
    let (name, price, size) = parts(text, "NAME:PRICE:ROWSxSEATS, such as Stalls:4500:12x20")?;
    let (rows, seats) = size
        .split_once('x')
        .and_then(|(rows, seats)| Some((rows.parse().ok()?, seats.parse().ok()?)))
        .ok_or_else(|| format!("{size:?} is not ROWSxSEATS, such as 12x20"))?;
    // Checked before the rows are created: a typing error must not exhaust the memory.
    let rows_max = u32::try_from(ROWS_MAX).unwrap_or(u32::MAX);
    if !(1..=rows_max).contains(&rows) || !(1..=SEATS_PER_EVENT_MAX).contains(&seats) {
        return Err(format!("{size:?}: 1 to {ROWS_MAX} rows of 1 to {SEATS_PER_EVENT_MAX} seats"));
    }
    let rows = (0..rows).map(|index| Row { row: row_name(index), seats }).collect();
    Ok(Section { name, price, rows: Some(rows), capacity: None })
}

/// Parses `NAME:PRICE:CAPACITY`. The name may contain colons.
fn parse_general(text: &str) -> Result<Section, String> {
    let (name, price, size) = parts(text, "NAME:PRICE:CAPACITY, such as Floor:2500:800")?;
    let capacity = size.parse().map_err(|_| format!("capacity {size:?} is not a number"))?;
    Ok(Section { name, price, rows: None, capacity: Some(capacity) })
}

fn parts<'a>(text: &'a str, form: &str) -> Result<(String, i64, &'a str), String> {
    let mut parts = text.rsplitn(3, ':');
    let (Some(size), Some(price), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(format!("write it as {form}"));
    };
    let price = price.parse().map_err(|_| {
        format!(
            "price {price:?} is not a whole number in the currency's minor unit (4500 is 45.00 EUR)"
        )
    })?;
    Ok((name.to_owned(), price, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_flags_are_parsed() {
        let section = parse_reserved("Box: left:4500:2x3").unwrap();
        assert_eq!((section.name.as_str(), section.price), ("Box: left", 4500));
        let rows = section.rows.unwrap();
        assert_eq!((rows[1].row.as_str(), rows[1].seats, rows.len()), ("B", 3, 2));
        let section = parse_general("Floor:0:800").unwrap();
        assert_eq!((section.price, section.capacity), (0, Some(800)));
    }

    #[test]
    fn invalid_section_flag_is_refused_with_the_reason() {
        let cases = [
            ("Stalls", "write it as NAME:PRICE:ROWSxSEATS"),
            ("Stalls:45.00:2x3", "minor unit"),
            ("Stalls:4500:6", "is not ROWSxSEATS"),
            ("Stalls:4500:2xmany", "is not ROWSxSEATS"),
            ("Stalls:4500:0x3", "1 to 100000 rows"),
            ("Stalls:4500:4000000000x1", "1 to 100000 rows"),
        ];
        for (text, expected) in cases {
            let refusal = parse_reserved(text).unwrap_err();
            assert!(refusal.contains(expected), "{text}: {refusal}");
        }
        assert!(parse_general("Floor:1:x").unwrap_err().contains("capacity \"x\""));
    }
}
