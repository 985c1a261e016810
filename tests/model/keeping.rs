//! What Redis keeps: events that are loaded, opened and unloaded, and bookings that leave it.

use holdfast::domain::{Booking, BookingId, EventStatus, Kind, SeatId};

use super::replay::LogView;
use super::rules::{Reply, numbers, plain};
use super::sale::{Operated, Sale};

impl Sale {
    /// Loads the event, empty and not yet open, unless it is there. Says whether a load of the
    /// same generation was there, and stays.
    pub fn load(&mut self, generation: u64, operated: &Operated) -> Reply {
        if let Some(event) = &self.event {
            if event.generation > generation {
                return Err(plain("generation_mismatch"));
            }
            if event.open {
                return Err(plain("event_exists"));
            }
            if event.generation == generation {
                return Ok(numbers("ok", &[1]));
            }
        }
        self.event = Some(self.fresh.clone());
        let event = self.ev_mut();
        event.generation = generation;
        event.operated = operated.clone();
        Ok(numbers("ok", &[0]))
    }

    /// Puts a load on sale: the caller's own, of its generation.
    pub fn open(&mut self, generation: u64, own_token: bool) -> Reply {
        let Some(event) = &mut self.event else { return Err(plain("event_not_loaded")) };
        if event.generation > generation || (own_token && event.generation != generation) {
            return Err(numbers("generation_mismatch", &[event.generation as i64]));
        }
        if !own_token {
            return Err(plain("event_not_loaded"));
        }
        if !event.open {
            event.open = true;
            event.opened_with = LogView::of(event);
            let status = event.operated.status.as_str().to_owned();
            self.note(Kind::Opened, status);
        }
        Ok(plain("ok"))
    }

    /// Places what the archive has into a load that is not open yet: all of it or nothing.
    pub fn place(
        &mut self,
        generation: u64,
        own_token: bool,
        sold: &[Booking],
        blocked: &[SeatId],
    ) -> Reply {
        let Some(event) = &mut self.event else { return Err(plain("event_not_loaded")) };
        if event.generation != generation {
            return Err(numbers("generation_mismatch", &[event.generation as i64]));
        }
        if event.open || !own_token {
            return Err(plain("event_not_loaded"));
        }
        let mut holders = event.holders.clone();
        for booking in sold {
            for seat in &booking.seats {
                let holder = *holders.entry(*seat).or_insert(booking.id);
                if holder != booking.id {
                    return Err(numbers("seats_lost", &[i64::from(seat.0)]));
                }
            }
        }
        event.holders = holders;
        event.bookings.extend(sold.iter().map(|booking| (booking.id, booking.clone())));
        sold.iter().for_each(|booking| event.index_request(booking));
        event.blocked.extend(blocked);
        // What was sold stays sold.
        event.blocked.retain(|seat| !event.holders.contains_key(seat));
        Ok(numbers("ok", &[sold.len() as i64]))
    }

    /// Takes the event out, if the caller has seen all of it and nothing is going on.
    pub fn unload(&mut self, event_version: u64) -> Reply {
        let event = self.ev();
        if event.operated.status != EventStatus::Closed {
            return Err(plain("not_closed"));
        }
        if event.version != event_version {
            return Err(numbers("event_moved", &[event.version as i64]));
        }
        let (holds, confirmations) = (event.deadlines().len(), event.leases().len());
        if holds + confirmations > 0 {
            return Err(numbers("in_use", &[holds as i64, confirmations as i64]));
        }
        self.note(Kind::Unloaded, EventStatus::Closed.as_str().to_owned());
        self.event = None;
        Ok(plain("ok"))
    }

    /// Drops bookings that ended long enough ago, at the versions that the caller saw archived.
    pub fn forget(&mut self, keep_ms: i64, bookings: &[(BookingId, u64)]) -> Reply {
        let now_ms = self.now_ms;
        let event = self.ev_mut();
        let before = event.bookings.len();
        event.bookings.retain(|id, booking| {
            let listed = bookings.contains(&(*id, booking.version));
            let over = !booking.status.is_live() && now_ms - booking.ended_ms >= keep_ms;
            !(listed && over)
        });
        let forgotten = before - event.bookings.len();
        Ok(numbers("ok", &[forgotten as i64]))
    }
}
