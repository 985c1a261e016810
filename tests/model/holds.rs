//! Holds: granting seats, and undoing attempts whose reply was lost.

use holdfast::domain::{Booking, EventStatus, Kind, OrphanRule, SeatId, Status};
use holdfast::redis::ScanPosition;

use super::call::{Hold, Selection};
use super::reply::Body;
use super::rules::{Reply, numbers, plain, shown};
use super::sale::{EventState, Record, Sale};

/// Overdue holds that any hold ends on its way.
pub const OVERDUE_BATCH: usize = 16;
/// Overdue holds that it ends before it refuses for want of what they keep.
pub const OVERDUE_BATCH_MAX: usize = 64;
/// Attempts that a hold's record notes; with one more it is kept until its deadline.
const ATTEMPTS_NOTED_MAX: usize = 8;
/// Seats may be left alone when less than one in so many is free.
const RELAXED_BELOW_ONE_IN: i64 = 10;

/// Seats that were found free, and what is paid for them.
pub struct Chosen {
    pub seats: Vec<SeatId>,
    pub amount: i64,
    /// Seats that the choice leaves alone.
    pub left_alone: Vec<SeatId>,
}

type Refusal = (&'static str, Body);

/// Asks for the same call again, from the beginning: more may be free now.
pub fn once_more() -> Refusal {
    let rest = ScanPosition { section: None, seat: SeatId(0), found: Vec::new() };
    ("more_to_scan", Body::Scan(rest))
}

impl Sale {
    /// The same request is answered with the booking it was granted, as long as that lives; all
    /// other requests are decided by the rules below; the first refusal is the reply.
    pub fn hold(&mut self, hold: &Hold) -> Reply {
        self.replay(hold, self.records.get(&hold.digest).cloned())?;
        self.replay(hold, self.ev().requests.get(&hold.digest).cloned())?;
        self.check_layout(hold.layout_version)?;
        self.check_on_sale()?;
        let wanted = match &hold.selection {
            Selection::Named { seats, .. } => {
                self.check_known(seats)?;
                self.release_overdue(OVERDUE_BATCH);
                self.release_overdue_of(seats);
                seats.len()
            }
            Selection::Search { quantity, .. } => {
                // What came free behind a search that goes on would be missed by it.
                if !self.resumed {
                    self.release_overdue(OVERDUE_BATCH);
                }
                quantity.seats as usize
            }
        };
        let released = match hold.exempt {
            true => 0,
            false => self.check_user_limit(hold.user.as_str(), wanted as i64)?,
        };
        let chosen = match &hold.selection {
            Selection::Named { seats, amount } => self.named(seats, *amount)?,
            Selection::Search { quantity, bounds } => self.search(quantity, *bounds, released)?,
        };
        self.check_log(hold.log_entries_max)?;
        if let Some(known) = self.booking(hold.booking) {
            let same = known.user == hold.user && known.fingerprint == hold.fingerprint;
            return Err(if same { shown("replayed", known) } else { plain("id_taken") });
        }
        let left_alone = chosen.left_alone.clone();
        let booking = self.grant(hold, chosen);
        Ok(("ok", Body::Held(Box::new(booking), left_alone)))
    }

    /// Refuses with the saved answer, or because the key was used for something else.
    fn replay(&mut self, hold: &Hold, record: Option<Record>) -> Result<(), Refusal> {
        let Some(record) = record else { return Ok(()) };
        if record.fingerprint != hold.fingerprint {
            return Err(plain("idempotency_mismatch"));
        }
        let Some(booking) = self.booking(record.booking) else { return Ok(()) };
        let age_ms = self.now_ms - booking.created_ms;
        if hold.replay_window_ms != 0 && age_ms > hold.replay_window_ms {
            return Ok(());
        }
        let mut booking = self.lapse(booking);
        if !booking.status.is_live() {
            return Ok(());
        }
        if booking.status == Status::Hold {
            booking.nonce = with_attempt(&booking.nonce, &hold.nonce);
            self.ev_mut().bookings.insert(booking.id, booking.clone());
        }
        Err(shown("replayed", booking))
    }

    /// Refuses a caller who knows another layout.
    pub fn check_layout(&self, layout_version: u32) -> Result<(), Refusal> {
        match layout_version == self.ev().layout_version {
            true => Ok(()),
            false => Err(plain("layout_mismatch")),
        }
    }

    fn check_on_sale(&self) -> Result<(), Refusal> {
        let operated = &self.ev().operated;
        match operated.status {
            _ if operated.is_over(self.now_ms) => Err(plain("event_closed")),
            EventStatus::Closed | EventStatus::Paused => Err(plain("event_paused")),
            EventStatus::OnSale if self.now_ms < operated.on_sale_at_ms => {
                Err(numbers("not_on_sale", &[operated.on_sale_at_ms]))
            }
            EventStatus::OnSale => Ok(()),
        }
    }

    /// Refuses the first seat that the event does not have.
    pub fn check_known(&self, seats: &[SeatId]) -> Result<(), Refusal> {
        let total = self.ev().total;
        match seats.iter().find(|seat| !(1..=total).contains(&seat.0)) {
            Some(seat) => Err(numbers("seat_unknown", &[i64::from(seat.0)])),
            None => Ok(()),
        }
    }

    /// How many overdue holds it released to find out.
    fn check_user_limit(&mut self, user: &str, wanted: i64) -> Result<i64, Refusal> {
        let fits = |event: &EventState| event.seats_of(user) + wanted <= event.per_user;
        if fits(self.ev()) {
            return Ok(0);
        }
        // The user's own overdue holds do not count; there may be more of others before them.
        let released = self.release_overdue(OVERDUE_BATCH_MAX);
        let event = self.ev();
        if fits(event) {
            Ok(released)
        } else if released == OVERDUE_BATCH_MAX as i64 {
            Err(once_more())
        } else {
            Err(numbers("user_limit", &[event.seats_of(user), event.per_user]))
        }
    }

    /// The named seats.
    fn named(&self, seats: &[SeatId], amount: i64) -> Result<Chosen, Refusal> {
        let event = self.ev();
        if seats.iter().any(|seat| !event.is_free(*seat)) {
            let states = seats.iter().map(|seat| (*seat, event.seat_state(*seat)));
            return Err(("seats_unavailable", Body::SeatStates(states.collect())));
        }
        let judged = event.orphan_rule != OrphanRule::Off
            && event.available() * RELAXED_BELOW_ONE_IN >= i64::from(event.total);
        let left_alone = if judged { event.left_alone_by(seats) } else { Vec::new() };
        if !left_alone.is_empty() && event.orphan_rule == OrphanRule::Enforce {
            return Err(("orphan_seats", Body::Seats(left_alone)));
        }
        Ok(Chosen { seats: seats.to_vec(), amount, left_alone })
    }

    fn grant(&mut self, hold: &Hold, chosen: Chosen) -> Booking {
        let now_ms = self.now_ms;
        let event = self.ev_mut();
        for seat in &chosen.seats {
            event.holders.insert(*seat, hold.booking);
        }
        let booking = Booking {
            id: hold.booking,
            status: Status::Hold,
            version: 0,
            user: hold.user.clone(),
            seats: chosen.seats,
            amount: chosen.amount,
            currency: event.currency.clone(),
            created_ms: now_ms,
            deadline_ms: now_ms + event.hold_ttl_ms,
            nonce: hold.nonce.clone(),
            lease: 0,
            lease_until_ms: 0,
            payment: String::new(),
            paid_ms: 0,
            confirmed_ms: 0,
            ended_ms: 0,
            idempotency: hold.digest.clone(),
            fingerprint: hold.fingerprint.clone(),
            trace: hold.trace.clone(),
        };
        // The transition below keeps the booking; until then a holder without one would be seen.
        event.bookings.insert(booking.id, booking.clone());
        let fingerprint = hold.fingerprint.clone();
        let record = Record { booking: hold.booking, fingerprint };
        self.records.insert(hold.digest.clone(), record);
        self.transition(booking, Kind::Hold, "")
    }

    /// A lost attempt is crossed out; when none is left, nobody knows of the hold, and it ends.
    pub fn abort(&mut self, digest: &str, lost_nonce: &str) -> Reply {
        let record = self.records.get(digest).map(|record| record.booking);
        let booking = record.and_then(|id| self.booking(id));
        let Some(mut booking) = booking else { return Ok(plain("nothing")) };
        let mut attempts: Vec<&str> = booking.nonce.split(',').collect();
        let lost = attempts.iter().position(|nonce| *nonce == lost_nonce);
        let (Status::Hold, Some(lost)) = (booking.status, lost) else {
            return Ok(shown("nothing", booking));
        };
        attempts.remove(lost);
        if attempts.is_empty() {
            return Ok(shown("ok", self.end(booking, Status::Cancelled, "abort")));
        }
        booking.nonce = attempts.join(",");
        self.ev_mut().bookings.insert(booking.id, booking.clone());
        Ok(shown("nothing", booking))
    }
}

impl EventState {
    /// The free seats next to this choice that have no free seat beside them any more.
    fn left_alone_by(&self, chosen: &[SeatId]) -> Vec<SeatId> {
        let open = |seat: SeatId| self.is_free(seat) && !chosen.contains(&seat);
        let beside = |seat: SeatId| self.beside(seat).into_iter();
        let next_to_choice = |seat: &SeatId| beside(*seat).any(|other| chosen.contains(&other));
        let alone = |seat: &SeatId| !beside(*seat).any(open);
        self.seats().filter(|seat| open(*seat)).filter(next_to_choice).filter(alone).collect()
    }

    /// The seats to the left and right of a seat in its row; general admission has none.
    fn beside(&self, seat: SeatId) -> Vec<SeatId> {
        let Some(section) = self.sections.iter().find(|section| section.has(seat)) else {
            return Vec::new();
        };
        let mut beside = Vec::new();
        if section.rows && !self.row_starts.contains(&seat) {
            beside.push(SeatId(seat.0 - 1));
        }
        let right = SeatId(seat.0 + 1);
        if section.rows && section.has(right) && !self.row_starts.contains(&right) {
            beside.push(right);
        }
        beside
    }
}

/// The attempts noted in a record, with one more.
fn with_attempt(noted: &str, nonce: &str) -> String {
    let attempts: Vec<&str> = noted.split(',').collect();
    if noted == "*" || attempts.contains(&nonce) {
        noted.to_owned()
    } else if attempts.len() < ATTEMPTS_NOTED_MAX {
        format!("{noted},{nonce}")
    } else {
        "*".to_owned()
    }
}
