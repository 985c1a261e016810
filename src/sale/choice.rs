//! What one request asks for, checked against the event's layout and put into the script's terms:
//! named seats, or a search for so many.

use super::{SaleError, SeatRequest};
use crate::domain::idempotency::{quantity_fingerprint, seats_fingerprint};
use crate::domain::seat_request::{Neighbour, SectionRange, matching_sections, neighbours};
use crate::domain::{Event, EventId, OrphanRule, Quantity, SeatId};
use crate::redis::{ScanBounds, ScanPosition, SeatSelection};

/// How much of an event one call may search.
const SCAN_BOUNDS: ScanBounds = ScanBounds { seats_max: 50_000, runs_max: 1_000 };
/// How long a request for a quantity that came without a key of its own is taken for the same
/// request again, ms. After that it is a second purchase.
const DERIVED_QUANTITY_REPLAY_MS: i64 = 10_000;

/// A checked request for seats.
pub(super) enum Choice {
    /// Named ones.
    Seats {
        /// Ascending, each once.
        seats: Vec<SeatId>,
        /// What they cost, minor units.
        amount: i64,
        orphan_rule: OrphanRule,
        neighbours: Vec<Neighbour>,
    },
    /// So many, wherever they are.
    Search {
        wanted: Quantity,
        /// Where to look, in order of preference.
        places: Vec<SectionRange>,
        /// Where the next call looks: a rest of `places`.
        rest: Vec<SectionRange>,
        /// What earlier calls found in the first place of the rest.
        kept: Vec<SeatId>,
        /// Whether the next call goes on where an earlier one ended.
        resumed: bool,
    },
}

impl Choice {
    /// Checks a request, which may be for so many seats.
    ///
    /// # Errors
    /// If it cannot be granted whatever is free.
    pub fn new(event: &Event, wanted: &SeatRequest, seats_max: usize) -> Result<Self, SaleError> {
        match wanted {
            SeatRequest::Named(seats) => Choice::of_seats(event, seats, seats_max),
            SeatRequest::Quantity(quantity) => Choice::of_quantity(event, quantity, seats_max),
        }
    }

    fn of_seats(event: &Event, seats: &[SeatId], seats_max: usize) -> Result<Self, SaleError> {
        let seats = checked_seats(event, seats, seats_max)?;
        let amount = event
            .layout
            .amount(&seats)
            .ok_or_else(|| SaleError::Internal("a checked seat has no price".into()))?;
        let orphan_rule = event.orphan_rule;
        let neighbours = match orphan_rule {
            OrphanRule::Off => Vec::new(),
            _ => neighbours(&event.layout, &seats),
        };
        Ok(Choice::Seats { seats, amount, orphan_rule, neighbours })
    }

    fn of_quantity(event: &Event, wanted: &Quantity, seats_max: usize) -> Result<Self, SaleError> {
        if !(1..=seats_max).contains(&(wanted.seats as usize)) {
            let text = format!("`quantity` must be 1 to {seats_max}");
            return Err(SaleError::Invalid(text));
        }
        let places = matching_sections(&event.layout, wanted);
        let known = |name| event.layout.sections().iter().any(|section| section.name == name);
        if let Some(name) = wanted.section.as_ref().filter(|name| !known(name.as_str())) {
            return Err(SaleError::SectionUnknown { event: event.id, section: name.clone() });
        }
        if places.is_empty() {
            return Err(SaleError::TooFewSeats(wanted.clone()));
        }
        let rest = places.clone();
        let kept = Vec::new();
        Ok(Choice::Search { wanted: wanted.clone(), places, rest, kept, resumed: false })
    }

    /// What makes two requests the same.
    pub fn fingerprint(&self, event: EventId) -> String {
        match self {
            Choice::Seats { seats, .. } => seats_fingerprint(event, seats),
            Choice::Search { wanted, .. } => quantity_fingerprint(event, wanted),
        }
    }

    /// For how long a request without a key of its own is the same as before, ms; 0 is for ever.
    pub fn derived_replay_window_ms(&self) -> i64 {
        match self {
            Choice::Seats { .. } => 0,
            Choice::Search { .. } => DERIVED_QUANTITY_REPLAY_MS,
        }
    }

    /// The next call's terms.
    pub fn selection(&self) -> SeatSelection<'_> {
        match self {
            Choice::Seats { seats, amount, orphan_rule, neighbours } => {
                let (amount, orphan_rule) = (*amount, *orphan_rule);
                SeatSelection::Named { seats, amount, orphan_rule, neighbours }
            }
            Choice::Search { wanted, rest, kept, resumed, .. } => SeatSelection::Quantity {
                seats: wanted.seats,
                split: !wanted.together,
                places: rest,
                found: kept,
                resumed: *resumed,
                bounds: SCAN_BOUNDS,
            },
        }
    }

    /// Where a search goes on. Named seats are simply asked for again.
    pub fn go_on(&mut self, position: ScanPosition) {
        let Choice::Search { places, rest, kept, resumed, .. } = self else { return };
        match position.section.and_then(|section| rest.get(section..)) {
            Some(further) => {
                let mut further = further.to_vec();
                if let Some(place) = further.first_mut() {
                    place.first = position.seat;
                }
                (*rest, *kept, *resumed) = (further, position.found, true);
            }
            None => (*rest, *kept, *resumed) = (places.clone(), Vec::new(), false),
        }
    }

    /// The refusal of a search that found too few.
    pub fn too_few(&self) -> SaleError {
        match self {
            Choice::Search { wanted, .. } => SaleError::TooFewSeats(wanted.clone()),
            Choice::Seats { .. } => SaleError::Internal("named seats were searched for".into()),
        }
    }
}

/// The seats in ascending order, if they can be one booking.
fn checked_seats(
    event: &Event,
    seats: &[SeatId],
    seats_max: usize,
) -> Result<Vec<SeatId>, SaleError> {
    if seats.is_empty() || seats.len() > seats_max {
        let text = format!("`seat_ids` must name 1 to {seats_max} seats, not {}", seats.len());
        return Err(SaleError::Invalid(text));
    }
    let mut sorted = seats.to_vec();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(SaleError::Invalid(format!("`seat_ids` names seat {} twice", pair[0])));
    }
    let unknown: Vec<SeatId> =
        sorted.iter().copied().filter(|seat| event.layout.seat(*seat).is_none()).collect();
    if !unknown.is_empty() {
        return Err(SaleError::SeatsUnknown { event: event.id, seats: unknown });
    }
    Ok(sorted)
}
