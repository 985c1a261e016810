//! `hold` as a typed call: seats taken by name or by number, all or none.

use fred::types::Value;

use super::calls::{args, number};
use super::engine::{Engine, NotAfter};
use super::error::RedisError;
use super::reply::Answer;
use super::scripts::Script;
use crate::domain::booking::format_seats;
use crate::domain::wanted::{Neighbour, Place};
use crate::domain::{BookingId, Event, OrphanRule, SeatId, UserId};

/// Overdue holds released on the way, by any call.
const OVERDUE_BATCH: i64 = 16;
/// Overdue holds released when a user's limit or the last free seats hang on it. Redis does
/// nothing else meanwhile; where more are overdue, the call is to be repeated.
const OVERDUE_BATCH_MAX: i64 = 64;

/// Which seats are asked for.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// These.
    Seats {
        /// Ascending, each once.
        seats: &'a [SeatId],
        /// What they cost, minor units.
        amount: i64,
        /// What to do about seats left alone.
        orphan_rule: OrphanRule,
        /// The seats that could be left alone; not looked at where the rule is off.
        neighbours: &'a [Neighbour],
    },
    /// So many of one of these sections.
    Quantity {
        /// How many.
        seats: u32,
        /// Whether they may lie apart where seats have rows.
        split: bool,
        /// Sections in order of preference.
        places: &'a [Place],
        /// Free seats of the first section that an earlier call found.
        kept: &'a [SeatId],
        /// Whether this goes on where an earlier call ended.
        resumed: bool,
        /// How much one call may look at.
        bounds: ScanBounds,
    },
}

/// How much of an event one search for seats may look at before it answers `more_to_scan`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanBounds {
    /// Seats.
    pub seats_max: u32,
    /// Runs of free seats that would leave a single seat alone, and were passed over for it.
    pub runs_max: u32,
}

/// What `hold` needs to know.
#[derive(Clone, Debug)]
pub struct HoldCall<'a> {
    /// The event as this process knows it.
    pub event: &'a Event,
    /// A new booking id.
    pub booking: BookingId,
    /// Who asks.
    pub user: &'a UserId,
    /// This attempt.
    pub nonce: &'a str,
    /// Which seats.
    pub wanted: Wanted<'a>,
    /// Digest of the idempotency record.
    pub idempotency: &'a str,
    /// Fingerprint of the request.
    pub fingerprint: &'a str,
    /// Trace context, or empty.
    pub trace: &'a str,
    /// How long the record lives, ms.
    pub idempotency_ttl_ms: i64,
    /// Answers older than this are not replayed, ms; 0 is no bound.
    pub replay_window_ms: i64,
    /// Length of the booking log at which holds stop.
    pub log_entries_max: u64,
    /// The number in the caller's admission token; 0: none was sent.
    pub room_number: u64,
    /// Whether an admin asks for the user: neither a waiting room nor the user's limit refuses it.
    pub exempt: bool,
}

impl Engine {
    /// `hold`: takes the seats. The caller passes the `not_after` that it will name in `abort`.
    pub async fn hold(
        &self,
        call: &HoldCall<'_>,
        not_after: NotAfter,
    ) -> Result<Answer, RedisError> {
        let event = call.event.id;
        let mut keys = self.keys().event_keys(event);
        keys.push(self.keys().idempotency(event, call.idempotency));
        for name in ["room", "room_numbers", "room_sessions"] {
            keys.push(self.keys().named(name, event));
        }
        let (seats, amount) = match call.wanted {
            Wanted::Seats { seats, amount, .. } => (format_seats(seats), amount),
            Wanted::Quantity { .. } => (String::new(), 0),
        };
        let mut args = args![not_after.0];
        args.push(number(call.event.generation));
        args.extend(args![
            call.nonce,
            i64::from(call.event.layout_version),
            call.booking.to_string(),
            call.user.as_str(),
            seats,
            amount,
            call.event.currency.as_str(),
            call.idempotency,
            call.fingerprint,
            call.trace,
            call.idempotency_ttl_ms,
            call.replay_window_ms,
        ]);
        args.push(number(call.log_entries_max));
        let overdue_batch = match call.wanted {
            // What is released here would be missed where the search has been.
            Wanted::Quantity { resumed: true, .. } => 0,
            _ => OVERDUE_BATCH,
        };
        args.extend(args![overdue_batch, OVERDUE_BATCH_MAX]);
        args.extend(call.wanted.args());
        args.push(number(call.room_number));
        args.extend(args![i64::from(call.exempt)]);
        self.run(Script::Hold, self.keys().partition_of(event), keys, args).await
    }
}

impl<'a> Wanted<'a> {
    /// These seats, whatever they leave alone.
    pub fn named(seats: &'a [SeatId], amount: i64) -> Self {
        Wanted::Seats { seats, amount, orphan_rule: OrphanRule::Off, neighbours: &[] }
    }

    /// orphan_rule orphan_pairs quantity split sections kept scan_seats_max scan_runs_max
    fn args(&self) -> Vec<Value> {
        match *self {
            Wanted::Seats { orphan_rule: OrphanRule::Off, .. } => {
                args!["off", "", 0, 0, "", "", 0, 0]
            }
            Wanted::Seats { orphan_rule, neighbours, .. } => {
                args![orphan_rule.as_str(), format_neighbours(neighbours), 0, 0, "", "", 0, 0]
            }
            Wanted::Quantity { seats, split, places, kept, bounds, resumed: _ } => args![
                "off",
                "",
                i64::from(seats),
                i64::from(split),
                format_places(places),
                format_seats(kept),
                i64::from(bounds.seats_max),
                i64::from(bounds.runs_max),
            ],
        }
    }
}

fn format_neighbours(neighbours: &[Neighbour]) -> String {
    let pair = |one: &Neighbour| format!("{}:{}", one.seat, one.beyond.map_or(0, |seat| seat.0));
    neighbours.iter().map(pair).collect::<Vec<_>>().join(",")
}

fn format_places(places: &[Place]) -> String {
    let place = |one: &Place| {
        let Place { section, first, last, price, rows } = one;
        format!("{section}-{first}-{last}-{price}-{}", if *rows { 'r' } else { 'g' })
    };
    places.iter().map(place).collect::<Vec<_>>().join(",")
}
