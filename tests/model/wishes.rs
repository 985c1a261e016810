//! Which seats the callers ask for.

use holdfast::domain::{Quantity, SeatId};
use holdfast::redis::{BlockAction, ScanBounds};

use super::call::{Call, Hold, Selection};
use super::operations::{Act, Key, Known, Look, Place, Room, Window};
use super::sale::{EventState, Sale};
use super::world::{World, about, nth_last};

/// More than the log of any sequence holds.
const LOG_ENTRIES_PLENTY: u64 = 1_000_000;
/// The window of derived keys.
const WINDOW_MS: i64 = 10_000;
/// More than any event has.
const BOUNDS_PLENTY: ScanBounds = ScanBounds { seats_max: 50_000, runs_max: 2_000 };

/// How long the log may be.
pub fn entries_max(room: Room, sale: &Sale) -> u64 {
    match room {
        Room::Plenty => LOG_ENTRIES_PLENTY,
        Room::None => sale.log.len() as u64,
        Room::One => sale.log.len() as u64 + 1,
    }
}

impl World {
    /// A request for seats, by name or by number, new or once more.
    pub fn hold(&mut self, act: &Act, sale: &Sale) -> Option<Hold> {
        match act {
            Act::Hold { user, seats, free, key, layout, window, room, exempt } => {
                let selection = self.named(&if *free {
                    those(seats, sale, EventState::is_free)
                } else {
                    self.seats(seats)
                });
                let mut hold = self.fresh_hold(*user, *key, selection);
                hold.layout_version = about(u64::from(self.event.layout_version), *layout) as u32;
                hold.replay_window_ms = match window {
                    Window::Always => 0,
                    Window::TenSeconds => WINDOW_MS,
                };
                hold.log_entries_max = entries_max(*room, sale);
                hold.exempt = *exempt;
                Some(hold)
            }
            Act::Search { user, quantity, place, together, key, look, exempt } => {
                let selection = self.searched(*quantity, *place, *together, *look);
                Some(Hold { exempt: *exempt, ..self.fresh_hold(*user, *key, selection) })
            }
            Act::Retry { nth, exempt } => {
                let first = nth_last(&self.holds, *nth)?.clone();
                let (booking, nonce) = (self.new_id(), self.new_name("n"));
                Some(Hold { booking, nonce, exempt: *exempt, ..first })
            }
            Act::ReuseId { nth, user, seats } => {
                let booking = nth_last(&self.holds, *nth)?.booking;
                let selection = self.named(&self.seats(seats));
                Some(Hold { booking, ..self.fresh_hold(*user, Key::Fresh, selection) })
            }
            _ => None,
        }
    }

    fn named(&self, seats: &[SeatId]) -> Selection {
        let amount = self.event.layout.amount(seats).unwrap_or(1);
        Selection::Named { seats: seats.to_vec(), amount }
    }

    fn searched(&self, seats: u8, place: Place, together: bool, look: Look) -> Selection {
        let sections = self.event.layout.sections();
        let of = |number: u8| &sections[usize::from(number) % sections.len()];
        let (section, max_price) = match place {
            Place::Anywhere => (None, None),
            Place::Section(number) => (Some(of(number).name.clone()), None),
            Place::NoDearerThan(number) => (None, Some(of(number).price)),
        };
        let bounds = match look {
            Look::All => BOUNDS_PLENTY,
            Look::Little(seats, runs) => {
                ScanBounds { seats_max: u32::from(seats), runs_max: u32::from(runs) }
            }
        };
        let quantity = Quantity { seats: u32::from(seats), section, together, max_price };
        Selection::Search { quantity, bounds }
    }

    fn fresh_hold(&mut self, user: u8, key: Key, selection: Selection) -> Hold {
        let user = self.user(user);
        let fingerprint = match &selection {
            Selection::Named { seats, .. } => {
                let seats: Vec<String> = seats.iter().map(SeatId::to_string).collect();
                format!("seats-{}", seats.join("-"))
            }
            Selection::Search { quantity: q, .. } => {
                format!("{}-{:?}-{}-{:?}", q.seats, q.section, q.together, q.max_price)
            }
        };
        Hold {
            booking: self.new_id(),
            nonce: self.new_name("n"),
            selection,
            digest: match key {
                Key::Fresh => self.new_name("d"),
                Key::Shared(number) => format!("{user}-shared{number}"),
            },
            user,
            fingerprint,
            trace: self.new_name("trace"),
            layout_version: self.event.layout_version,
            replay_window_ms: 0,
            log_entries_max: LOG_ENTRIES_PLENTY,
            exempt: false,
        }
    }

    pub fn block(&mut self, action: BlockAction, seats: &[u8], layout: Known) -> Call {
        Call::Block {
            action,
            seats: self.seats(seats),
            reason: self.new_name("reason"),
            layout_version: about(u64::from(self.event.layout_version), layout) as u32,
        }
    }

    /// Different seats, ascending; now and then one that the event does not have.
    pub fn seats(&self, numbers: &[u8]) -> Vec<SeatId> {
        let total = self.event.layout.total_seats();
        let seat = |number: &u8| match number {
            255 => SeatId(total + 1),
            number => SeatId(u32::from(*number) % total + 1),
        };
        ascending(numbers.iter().map(seat).collect())
    }

    /// Seats of a booking that only the archive knows.
    pub fn archived_seats(&self, numbers: &[u8], taken: bool, sale: &Sale) -> Vec<SeatId> {
        let mut seats = match taken {
            true => those(numbers, sale, |event, seat| !event.is_free(seat)),
            false => self.seats(numbers),
        };
        // It knows none that the event does not have.
        seats.retain(|seat| seat.0 <= self.event.layout.total_seats());
        seats.extend(seats.is_empty().then_some(SeatId(1)));
        seats
    }
}

/// Different seats of those that fit, ascending; seat 1 if there are none.
fn those(numbers: &[u8], sale: &Sale, fits: impl Fn(&EventState, SeatId) -> bool) -> Vec<SeatId> {
    let event = sale.event.as_ref();
    let fitting: Vec<SeatId> =
        event.map_or(Vec::new(), |e| e.seats().filter(|seat| fits(e, *seat)).collect());
    let seat = |number: &u8| *nth_last(&fitting, *number).unwrap_or(&SeatId(1));
    ascending(numbers.iter().map(seat).collect())
}

fn ascending(mut seats: Vec<SeatId>) -> Vec<SeatId> {
    seats.sort_unstable();
    seats.dedup();
    seats
}
