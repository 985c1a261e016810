//! `hold`: takes seats, named ones or a number of adjacent ones, all or none.

use fred::types::Value;

use super::Script;
use super::call::{Argument, EVENT_KEYS, argument_group, script_call};
use super::reply::{Fields, ReplyField, Timed, event_reply};
use crate::domain::seat_request::{Neighbour, SectionRange};
use crate::domain::{Booking, BookingId, EventId, OrphanRule, SeatId, SeatState, UserId};
use crate::redis::clock::NotAfter;
use crate::redis::engine::Engine;
use crate::redis::error::RedisError;

/// Overdue holds that any call releases.
const OVERDUE_BATCH: u32 = 16;
/// Overdue holds that a call releases when a user's limit or the last free seats depend on it.
/// Redis does nothing else meanwhile; where more are overdue, the call is repeated.
const OVERDUE_BATCH_MAX: u32 = 64;

script_call! {
    /// Takes seats for one user.
    pub struct HoldCall<'a>(
        /// The event.
        event: EventId,
    ) => HoldReply by Script::Hold, not_after {
        /// The event's generation, as the caller knows it.
        generation: u64,
        /// Names this attempt.
        nonce: &'a str,
        /// The event's layout version, as the caller knows it.
        layout_version: u32,
        /// A new booking id.
        booking: BookingId,
        /// The user who gets the seats.
        user: &'a UserId,
        /// The event's currency.
        currency: &'a str,
        /// Digest of the idempotency record.
        idempotency: &'a str,
        /// Fingerprint of the request.
        fingerprint: &'a str,
        /// Trace context, or empty.
        trace: &'a str,
        /// How long the idempotency record lives.
        idempotency_ttl_ms: i64,
        /// Replies older than this are not replayed; 0 is no bound.
        replay_window_ms: i64,
        /// Length of the booking log at which holds stop.
        log_entries_max: u64,
        /// The number in the caller's admission token; 0: none was sent.
        room_number: u64,
        /// Whether neither the waiting room nor the user's limit applies: an admin acts for the
        /// user.
        exempt: bool,
        /// Which seats.
        selection: SeatSelection<'a>,
    }
    keys |call| EVENT_KEYS, "idempotency", "room", "room_numbers", "room_sessions" of call.event,
        idempotency call.idempotency;
}

/// Which seats a hold is for.
#[derive(Clone, Copy, Debug)]
pub enum SeatSelection<'a> {
    /// These.
    Named {
        /// Ascending, each once.
        seats: &'a [SeatId],
        /// What they cost, minor units.
        amount: i64,
        /// What happens if they would leave a seat alone.
        orphan_rule: OrphanRule,
        /// The seats that could be left alone; ignored where the rule is off.
        neighbours: &'a [Neighbour],
    },
    /// A number of seats in one of these sections.
    Quantity {
        /// How many.
        seats: u32,
        /// Whether they may lie apart where seats have rows.
        split: bool,
        /// Sections in order of preference.
        places: &'a [SectionRange],
        /// Free seats of the first section that an earlier call found.
        found: &'a [SeatId],
        /// Whether this continues the search of an earlier call.
        resumed: bool,
        /// How much one call may scan.
        bounds: ScanBounds,
    },
}

/// How much of an event one call may scan before it replies `more_to_scan`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanBounds {
    /// Seats.
    pub seats_max: u32,
    /// Runs of free seats that are passed over because they would leave a single seat alone.
    pub runs_max: u32,
}

argument_group! {
    /// A selection as the script reads it.
    struct SelectionArguments<'a> {
        seats: &'a [SeatId],
        amount: i64,
        orphan_rule: OrphanRule,
        neighbours: &'a [Neighbour],
        quantity: u32,
        split: bool,
        sections: &'a [SectionRange],
        found: &'a [SeatId],
        scan_seats_max: u32,
        scan_runs_max: u32,
        overdue_batch: u32,
        overdue_batch_max: u32,
    }
}

impl<'a> SeatSelection<'a> {
    /// These seats, without an orphan rule.
    pub fn named(seats: &'a [SeatId], amount: i64) -> Self {
        SeatSelection::Named { seats, amount, orphan_rule: OrphanRule::Off, neighbours: &[] }
    }

    fn arguments(self) -> SelectionArguments<'a> {
        let batches = SelectionArguments {
            overdue_batch: OVERDUE_BATCH,
            overdue_batch_max: OVERDUE_BATCH_MAX,
            ..Default::default()
        };
        match self {
            SeatSelection::Named { seats, amount, orphan_rule, neighbours } => {
                let is_off = orphan_rule == OrphanRule::Off;
                let neighbours = if is_off { &[][..] } else { neighbours };
                SelectionArguments { seats, amount, orphan_rule, neighbours, ..batches }
            }
            SeatSelection::Quantity { seats, split, places, found, resumed, bounds } => {
                SelectionArguments {
                    quantity: seats,
                    split,
                    sections: places,
                    found,
                    scan_seats_max: bounds.seats_max,
                    scan_runs_max: bounds.runs_max,
                    // Seats that are released behind the search's position would be missed.
                    overdue_batch: if resumed { 0 } else { OVERDUE_BATCH },
                    ..batches
                }
            }
        }
    }
}

impl Argument for SeatSelection<'_> {
    fn names(field: &'static str) -> Vec<&'static str> {
        SelectionArguments::names(field)
    }

    fn push(&self, arguments: &mut Vec<Value>) {
        self.arguments().push(arguments);
    }
}

event_reply! {
    /// What a hold came to.
    pub enum HoldReply {
        /// The seats are held.
        "ok" => Held {
            /// The new booking.
            booking: Booking,
            /// Seats that the choice leaves alone, under [`OrphanRule::Warn`].
            left_alone: Vec<SeatId>,
        },
        /// The same request was granted before.
        "replayed" => Replayed {
            /// The booking as it is now.
            booking: Booking,
        },
        /// The idempotency key was used for another request.
        "idempotency_mismatch" => IdempotencyMismatch,
        /// Redis has another layout of the event than the caller.
        "layout_mismatch" => LayoutMismatch,
        /// Sales have ended.
        "event_closed" => EventClosed,
        /// Sales are paused.
        "event_paused" => EventPaused,
        /// Sales have not begun.
        "not_on_sale" => NotOnSale {
            /// When they begin, Unix ms.
            on_sale_at_ms: i64,
        },
        /// The waiting room is on, and the user has no live session.
        "session_required" => SessionRequired,
        /// The user has received another number of the waiting room since.
        "number_superseded" => NumberSuperseded,
        /// The event has no such seat.
        "seat_unknown" => SeatUnknown {
            /// The seat.
            seat: SeatId,
        },
        /// The user would have too many seats.
        "user_limit" => UserLimit {
            /// Seats that the user has.
            has: u32,
            /// Seats that a user may have.
            max: u32,
        },
        /// At least one seat is not free.
        "seats_unavailable" => SeatsUnavailable {
            /// The state of every named seat.
            states: Vec<(SeatId, SeatState)>,
        },
        /// None of the sections has that many free seats.
        "too_few_seats" => TooFewSeats,
        /// The search has not ended; another call continues it.
        "more_to_scan" => MoreToScan {
            /// Where it continues.
            position: ScanPosition,
        },
        /// The choice would leave single seats alone, under [`OrphanRule::Enforce`].
        "orphan_seats" => OrphanSeats {
            /// These.
            seats: Vec<SeatId>,
        },
        /// The booking log has `log_entries_max` entries.
        "log_full" => LogFull,
        /// Another request has this booking id.
        "id_taken" => IdTaken,
    }
}

/// Where a search for seats continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanPosition {
    /// Index of the section in the list that was sent; `None`: the search starts again, since
    /// overdue holds were released.
    pub section: Option<usize>,
    /// The seat to continue with.
    pub seat: SeatId,
    /// The free seats of that section that were found so far.
    pub found: Vec<SeatId>,
}

impl ReplyField for ScanPosition {
    fn names(_: &'static str) -> Vec<&'static str> {
        vec!["section", "seat", "found"]
    }

    fn read(fields: &mut Fields) -> Result<Self, RedisError> {
        // Lua counts from 1.
        let section = usize::read(fields)?.checked_sub(1);
        Ok(ScanPosition { section, seat: SeatId::read(fields)?, found: Vec::read(fields)? })
    }
}

impl Engine {
    /// Runs `hold`. The caller chooses `not_after`, since `abort` has to name it.
    ///
    /// # Errors
    /// If the script did not run, or it is unknown whether it did.
    pub async fn hold(
        &self,
        call: &HoldCall<'_>,
        not_after: NotAfter,
    ) -> Result<Timed<HoldReply>, RedisError> {
        self.call_once(call, Some(not_after)).await
    }
}
