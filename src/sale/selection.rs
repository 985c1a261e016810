//! The seats that a request selects, checked against the event's layout, with what the script needs
//! from the layout: named seats, or a search by quantity.

use super::{SaleError, SeatRequest};
use crate::domain::idempotency::{quantity_fingerprint, seats_fingerprint};
use crate::domain::seat_request::{Neighbour, SectionRange, matching_sections, neighbours};
use crate::domain::{Event, EventId, OrphanRule, Quantity, SeatId};
use crate::redis::{ScanBounds, ScanPosition, SeatSelection};

/// How much of an event one call may scan.
const SCAN_BOUNDS: ScanBounds = ScanBounds { seats_max: 50_000, runs_max: 1_000 };
/// How long a request by quantity without an idempotency key counts as a repetition, ms. After that it
/// is a second purchase.
const DERIVED_QUANTITY_REPLAY_MS: i64 = 10_000;

/// A checked selection of seats.
pub(super) enum CheckedSelection {
    /// Named seats.
    Named {
        /// Ascending, each once.
        seats: Vec<SeatId>,
        /// What they cost, minor units.
        amount: i64,
        orphan_rule: OrphanRule,
        neighbours: Vec<Neighbour>,
    },
    /// A number of seats.
    Quantity {
        wanted: Quantity,
        /// The sections to search, in order of preference.
        sections: Vec<SectionRange>,
        /// What the next call searches: the end of `sections`.
        remaining: Vec<SectionRange>,
        /// Free seats that earlier calls found in the first of `remaining`.
        found: Vec<SeatId>,
        /// Whether the next call continues an earlier one.
        resumed: bool,
    },
}

impl CheckedSelection {
    /// Checks a selection of at most `seats_max` seats.
    ///
    /// # Errors
    /// If it cannot be granted whichever seats are free.
    pub fn new(event: &Event, wanted: &SeatRequest, seats_max: usize) -> Result<Self, SaleError> {
        match wanted {
            SeatRequest::Named(seats) => Self::named(event, seats, seats_max),
            SeatRequest::Quantity(quantity) => Self::by_quantity(event, quantity, seats_max),
        }
    }

    fn named(event: &Event, seats: &[SeatId], seats_max: usize) -> Result<Self, SaleError> {
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
        Ok(CheckedSelection::Named { seats, amount, orphan_rule, neighbours })
    }

    fn by_quantity(event: &Event, wanted: &Quantity, seats_max: usize) -> Result<Self, SaleError> {
        if !(1..=seats_max).contains(&(wanted.seats as usize)) {
            let text = format!("`quantity` must be 1 to {seats_max}");
            return Err(SaleError::Invalid(text));
        }
        let sections = matching_sections(&event.layout, wanted);
        let exists = |name| event.layout.sections().iter().any(|section| section.name == name);
        if let Some(name) = wanted.section.as_ref().filter(|name| !exists(name.as_str())) {
            return Err(SaleError::SectionUnknown { event: event.id, section: name.clone() });
        }
        if sections.is_empty() {
            return Err(SaleError::TooFewSeats(wanted.clone()));
        }
        let (remaining, found) = (sections.clone(), Vec::new());
        let wanted = wanted.clone();
        Ok(CheckedSelection::Quantity { wanted, sections, remaining, found, resumed: false })
    }

    /// The fingerprint: requests with the same one are the same request.
    pub fn fingerprint(&self, event: EventId) -> String {
        match self {
            CheckedSelection::Named { seats, .. } => seats_fingerprint(event, seats),
            CheckedSelection::Quantity { wanted, .. } => quantity_fingerprint(event, wanted),
        }
    }

    /// How long a request without an idempotency key counts as a repetition, ms; 0: always.
    pub fn derived_replay_window_ms(&self) -> i64 {
        match self {
            CheckedSelection::Named { .. } => 0,
            CheckedSelection::Quantity { .. } => DERIVED_QUANTITY_REPLAY_MS,
        }
    }

    /// The selection as an argument of the next call.
    pub fn as_argument(&self) -> SeatSelection<'_> {
        match self {
            CheckedSelection::Named { seats, amount, orphan_rule, neighbours } => {
                let (amount, orphan_rule) = (*amount, *orphan_rule);
                SeatSelection::Named { seats, amount, orphan_rule, neighbours }
            }
            CheckedSelection::Quantity { wanted, remaining, found, resumed, .. } => {
                SeatSelection::Quantity {
                    seats: wanted.seats,
                    split: !wanted.together,
                    places: remaining,
                    found,
                    resumed: *resumed,
                    bounds: SCAN_BOUNDS,
                }
            }
        }
    }

    /// Has the next call continue a search at a position. A selection of named seats is sent again
    /// unchanged.
    pub fn resume_at(&mut self, position: ScanPosition) {
        let CheckedSelection::Quantity { sections, remaining, found, resumed, .. } = self else {
            return;
        };
        match position.section.and_then(|section| remaining.get(section..)) {
            Some(rest) => {
                let mut rest = rest.to_vec();
                if let Some(section) = rest.first_mut() {
                    section.first = position.seat;
                }
                (*remaining, *found, *resumed) = (rest, position.found, true);
            }
            None => (*remaining, *found, *resumed) = (sections.clone(), Vec::new(), false),
        }
    }

    /// The refusal of a search that found too few seats.
    pub fn too_few(&self) -> SaleError {
        match self {
            CheckedSelection::Quantity { wanted, .. } => SaleError::TooFewSeats(wanted.clone()),
            CheckedSelection::Named { .. } => {
                SaleError::Internal("named seats were searched for".into())
            }
        }
    }
}

/// Returns the seats in ascending order, if they can form one booking.
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
