//! The reply codes of all scripts, once. `tests/contract.rs` holds the scripts' headers, their
//! text and this table together.

use std::str::FromStr;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// What a script answers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        /// All codes with their words.
        pub const CODES: &[(Code, &str)] = &[$((Code::$name, $word),)*];
    };
}

codes! {
    /// Done; or it was done before by the same call.
    Ok = "ok",
    /// A saved answer: the same request was granted before.
    Replayed = "replayed",
    /// There was nothing to do.
    Nothing = "nothing",
    /// A young enough entry is there; no beat was appended.
    Unneeded = "unneeded",
    /// Past the caller's `not_after`; nothing was touched.
    TooLate = "too_late",
    /// Before `not_before`: the call to undo could still run.
    TooEarly = "too_early",
    /// The event is not open in Redis.
    EventNotLoaded = "event_not_loaded",
    /// The event is open already and stays as it is.
    EventExists = "event_exists",
    /// The caller knows another generation of the event.
    GenerationMismatch = "generation_mismatch",
    /// The caller knows another layout of the event.
    LayoutMismatch = "layout_mismatch",
    /// Redis has this revision of the event's settings, or a newer one.
    StaleRevision = "stale_revision",
    /// The sale is not closed.
    NotClosed = "not_closed",
    /// Something is held or being paid.
    InUse = "in_use",
    /// The event has another version than the caller saw.
    EventMoved = "event_moved",
    /// Another request owns this booking id.
    IdTaken = "id_taken",
    /// The idempotency key was used with another payload.
    IdempotencyMismatch = "idempotency_mismatch",
    /// Sales have ended.
    EventClosed = "event_closed",
    /// Sales are paused.
    EventPaused = "event_paused",
    /// Sales have not begun.
    NotOnSale = "not_on_sale",
    /// The booking log is at its bound.
    LogFull = "log_full",
    /// The event has no such seat.
    SeatUnknown = "seat_unknown",
    /// The user would have too many seats.
    UserLimit = "user_limit",
    /// At least one seat is not free.
    SeatsUnavailable = "seats_unavailable",
    /// Nowhere in the sections are there so many free seats.
    TooFewSeats = "too_few_seats",
    /// Not found yet; the search goes on with another call.
    MoreToScan = "more_to_scan",
    /// The choice would leave a single seat alone.
    OrphanSeats = "orphan_seats",
    /// No such booking, or not the caller's.
    BookingUnknown = "booking_unknown",
    /// The hold has lapsed.
    BookingExpired = "booking_expired",
    /// The booking was cancelled.
    BookingCancelled = "booking_cancelled",
    /// The archive refused the sale.
    SaleVoided = "sale_voided",
    /// A confirmation is under way.
    InFlight = "in_flight",
    /// Paid and sold; the archive has not judged it yet.
    IsCommitted = "is_committed",
    /// Confirmed by the archive.
    IsConfirmed = "is_confirmed",
    /// No confirmation attempt is left.
    AttemptsExhausted = "attempts_exhausted",
    /// The lease number is not the current one.
    LeaseStale = "lease_stale",
    /// A seat went to a booking that the archive had sold.
    SeatsLost = "seats_lost",
    /// The hold lasts its longest already.
    HoldCapReached = "hold_cap_reached",
    /// The archive had ended this booking otherwise before.
    SettledOtherwise = "settled_otherwise",
    /// A limit rule has no room for this request; it was not counted.
    OverLimit = "over_limit",
    /// The waiting room is on, and the caller has no session that lives.
    SessionRequired = "session_required",
    /// The caller has another number of the waiting room since.
    NumberSuperseded = "number_superseded",
    /// The event has no waiting room now.
    RoomOff = "room_off",
    /// The waiting room lets everybody through.
    RoomOpen = "room_open",
    /// The waiting room lets nobody in.
    RoomRejects = "room_rejects",
    /// Every seat is sold, none is held.
    SoldOut = "sold_out",
    /// To be asked again with the place that the draw gave this number.
    PlaceNeeded = "place_needed",
    /// The place is not served yet.
    Waiting = "waiting",
    /// The place is among the first of the next batch.
    Owed = "owed",
    /// The place was served and not claimed in time.
    PlaceLapsed = "place_lapsed",
    /// The place, or the session it became, was given up.
    PlaceGivenUp = "place_given_up",
    /// The session that the place became is over.
    SessionEnded = "session_ended",
}

impl Code {
    /// The word in replies and metrics.
    pub fn as_str(self) -> &'static str {
        CODES[self as usize].1
    }
}

impl FromStr for Code {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        CODES.iter().find(|row| row.1 == word).map(|row| row.0).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_in_enum_order() {
        for (index, (code, word)) in CODES.iter().enumerate() {
            assert_eq!((*code as usize, code.as_str()), (index, *word));
            assert_eq!(word.parse(), Ok(*code));
        }
    }
}
