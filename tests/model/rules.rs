//! The rules of the sale: what each call answers and changes.

use holdfast::domain::{Booking, BookingId, EventStatus, Kind, Outcome, Status, UserId};
use holdfast::redis::{Answer, Body, Code};

use super::call::{Call, Hold, Sent, Which};
use super::sale::{Operated, Record, Sale};

/// Overdue holds that any hold ends on its way.
pub const OVERDUE_BATCH: usize = 16;
/// Overdue holds that it ends before it refuses a user for having too many seats.
pub const OVERDUE_BATCH_MAX: usize = 64;
/// Attempts that a hold's record notes; with one more it is kept until its deadline.
const ATTEMPTS_NOTED_MAX: usize = 8;

/// What is answered. `Err` is an answer too: one that ends the call early.
type Reply = Result<(Code, Body), (Code, Body)>;

fn shown(code: Code, booking: Booking) -> (Code, Body) {
    (code, Body::Booking(Box::new(booking)))
}

fn plain(code: Code) -> (Code, Body) {
    (code, Body::Empty)
}

fn numbers(code: Code, numbers: &[i64]) -> (Code, Body) {
    (code, Body::Numbers(numbers.to_vec()))
}

impl Sale {
    /// What this call answers now; afterwards the sale is as the call left it.
    pub fn call(&mut self, sent: &Sent) -> Answer {
        self.writing = (sent.call.nonce(), 0);
        let (code, body) = self.decide(sent).unwrap_or_else(|refusal| refusal);
        Answer { code, now_ms: self.now_ms, body }
    }

    fn decide(&mut self, sent: &Sent) -> Reply {
        let mutates = !matches!(sent.call, Call::GetBooking { .. });
        if mutates && self.now_ms > sent.not_after_ms {
            return Err(plain(Code::TooLate));
        }
        match &sent.call {
            Call::Abort { not_before_ms, .. }
            | Call::ConfirmAbort { which: Which::Nonce { not_before_ms, .. }, .. }
                if self.now_ms <= *not_before_ms =>
            {
                return Err(plain(Code::TooEarly));
            }
            Call::Beat { min_age_ms } => {
                // Entries have Redis' real time in their positions, which is below the swapped
                // one by years: any is old, unless even that is too young.
                if *min_age_ms == i64::MAX && !self.log.is_empty() {
                    return Ok(plain(Code::Unneeded));
                }
                self.note_beat();
                return Ok(plain(Code::Ok));
            }
            Call::Load(operated) => return self.load(sent.generation, operated),
            Call::Open { own_token } => return self.open(sent.generation, *own_token),
            _ => {}
        }
        let loaded = self.event.as_ref().filter(|event| event.open);
        let generation = loaded.ok_or(plain(Code::EventNotLoaded))?.generation;
        if mutates && generation != sent.generation {
            return Err(numbers(Code::GenerationMismatch, &[generation as i64]));
        }
        match &sent.call {
            Call::Hold(hold) => self.hold(hold),
            Call::Abort { digest, lost_nonce, .. } => self.abort(digest, lost_nonce),
            Call::ConfirmBegin { booking, user, nonce, lease_ms, attempts_max } => {
                self.confirm_begin(*booking, user, nonce, *lease_ms, *attempts_max)
            }
            Call::ConfirmAbort { booking, which } => self.confirm_abort(*booking, which),
            Call::ConfirmCommit { booking, lease, payment } => {
                self.confirm_commit(*booking, *lease, payment)
            }
            Call::Cancel { booking, user } => self.cancel(*booking, user),
            Call::Extend { booking, user, nonce } => self.extend(*booking, user, nonce),
            Call::Expire { batch } => self.expire(*batch),
            Call::Settle { outcome, archived } => self.settle(*outcome, archived),
            Call::UpdateEvent(operated) => self.update_event(operated),
            Call::GetBooking { booking } => self.get_booking(*booking),
            Call::Beat { .. } | Call::Load(_) | Call::Open { .. } => unreachable!("answered above"),
        }
    }

    /// The same request is answered with the booking it was granted, as long as that lives; all
    /// other requests are decided by the rules below, the first that refuses is told.
    fn hold(&mut self, hold: &Hold) -> Reply {
        self.replay(hold)?;
        let event = self.ev();
        if hold.layout_version != event.layout_version {
            return Err(plain(Code::LayoutMismatch));
        }
        match event.operated.status {
            EventStatus::Closed => return Err(plain(Code::EventClosed)),
            EventStatus::Paused => return Err(plain(Code::EventPaused)),
            EventStatus::OnSale => {}
        }
        if self.now_ms < event.operated.on_sale_at_ms {
            return Err(numbers(Code::NotOnSale, &[event.operated.on_sale_at_ms]));
        }
        let stranger = hold.seats.iter().find(|seat| !(1..=event.total).contains(&seat.0));
        if let Some(seat) = stranger {
            return Err(numbers(Code::SeatUnknown, &[i64::from(seat.0)]));
        }
        self.release_overdue(OVERDUE_BATCH);
        self.release_overdue_of(&hold.seats);
        self.check_user_limit(hold)?;
        let event = self.ev();
        if hold.seats.iter().any(|seat| !event.is_free(*seat)) {
            let states = hold.seats.iter().map(|seat| (*seat, event.seat_state(*seat)));
            return Err((Code::SeatsUnavailable, Body::SeatStates(states.collect())));
        }
        if self.log.len() as u64 >= hold.log_entries_max {
            return Err(plain(Code::LogFull));
        }
        if let Some(known) = self.booking(hold.booking) {
            let same = known.user == hold.user && known.fingerprint == hold.fingerprint;
            return Err(if same { shown(Code::Replayed, known) } else { plain(Code::IdTaken) });
        }
        Ok(shown(Code::Ok, self.grant(hold)))
    }

    /// Refuses with the saved answer, or because the key was used for something else.
    fn replay(&mut self, hold: &Hold) -> Result<(), (Code, Body)> {
        let Some(record) = self.records.get(&hold.digest) else { return Ok(()) };
        if record.fingerprint != hold.fingerprint {
            return Err(plain(Code::IdempotencyMismatch));
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
        Err(shown(Code::Replayed, booking))
    }

    fn check_user_limit(&mut self, hold: &Hold) -> Result<(), (Code, Body)> {
        let wanted = hold.seats.len() as i64;
        let fits =
            |sale: &Sale| sale.ev().seats_of(hold.user.as_str()) + wanted <= sale.ev().per_user;
        if !fits(self) {
            self.release_overdue(OVERDUE_BATCH_MAX);
        }
        if !fits(self) {
            let event = self.ev();
            let has = event.seats_of(hold.user.as_str());
            return Err(numbers(Code::UserLimit, &[has, event.per_user]));
        }
        Ok(())
    }

    fn grant(&mut self, hold: &Hold) -> Booking {
        let now_ms = self.now_ms;
        let event = self.ev_mut();
        for seat in &hold.seats {
            event.holders.insert(*seat, hold.booking);
        }
        let booking = Booking {
            id: hold.booking,
            status: Status::Hold,
            version: 0,
            user: hold.user.clone(),
            seats: hold.seats.clone(),
            amount: hold.amount,
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
        let record = Record { booking: hold.booking, fingerprint: hold.fingerprint.clone() };
        self.records.insert(hold.digest.clone(), record);
        self.transition(booking, Kind::Hold, "")
    }

    /// A lost attempt is crossed out; when none is left, nobody knows of the hold, and it ends.
    fn abort(&mut self, digest: &str, lost_nonce: &str) -> Reply {
        let record = self.records.get(digest).map(|record| record.booking);
        let booking = record.and_then(|id| self.booking(id));
        let Some(mut booking) = booking else { return Ok(plain(Code::Nothing)) };
        let mut attempts: Vec<&str> = booking.nonce.split(',').collect();
        let lost = attempts.iter().position(|nonce| *nonce == lost_nonce);
        let (Status::Hold, Some(lost)) = (booking.status, lost) else {
            return Ok(shown(Code::Nothing, booking));
        };
        attempts.remove(lost);
        if attempts.is_empty() {
            return Ok(shown(Code::Ok, self.end(booking, Status::Cancelled, "abort")));
        }
        booking.nonce = attempts.join(",");
        self.ev_mut().bookings.insert(booking.id, booking.clone());
        Ok(shown(Code::Nothing, booking))
    }

    /// The caller's booking, lapsed if its time is over. Another's is as good as unknown.
    fn own(&mut self, id: BookingId, user: &UserId) -> Result<Booking, (Code, Body)> {
        match self.booking(id) {
            Some(booking) if booking.user == *user => Ok(self.lapse(booking)),
            _ => Err(plain(Code::BookingUnknown)),
        }
    }

    fn confirm_begin(
        &mut self,
        id: BookingId,
        user: &UserId,
        nonce: &str,
        lease_ms: i64,
        attempts_max: i64,
    ) -> Reply {
        let mut booking = self.own(id, user)?;
        if let Some(code) = why_not_a_hold(booking.status)
            && booking.status != Status::Confirming
        {
            return Err(shown(code, booking));
        }
        if booking.status == Status::Confirming && booking.lease_until_ms > self.now_ms {
            let code = if booking.nonce == nonce { Code::Ok } else { Code::InFlight };
            return Ok(shown(code, booking));
        }
        if booking.lease as i64 >= attempts_max {
            return Err(shown(Code::AttemptsExhausted, booking));
        }
        if !self.ev().has_its_seats(&booking) {
            let ended = self.end(booking, Status::Cancelled, "displaced");
            return Err(shown(Code::BookingCancelled, ended));
        }
        booking.status = Status::Confirming;
        booking.nonce = nonce.to_owned();
        booking.lease += 1;
        booking.lease_until_ms = self.now_ms + lease_ms;
        Ok(shown(Code::Ok, self.transition(booking, Kind::ConfirmBegin, "")))
    }

    /// Back to a hold, which may be overdue by now.
    fn confirm_abort(&mut self, id: BookingId, which: &Which) -> Reply {
        let mut booking = self.booking(id).ok_or(plain(Code::BookingUnknown))?;
        let (meant, word) = match which {
            Which::Lease(lease) => (booking.lease == *lease, "lease"),
            Which::Nonce { nonce, .. } => (booking.nonce == *nonce, "nonce"),
            Which::Lapsed => (booking.lease_until_ms <= self.now_ms, "lapsed"),
        };
        if booking.status != Status::Confirming || !meant {
            return Ok(shown(Code::Nothing, booking));
        }
        if !self.ev().has_its_seats(&booking) {
            return Ok(shown(Code::Ok, self.end(booking, Status::Cancelled, "displaced")));
        }
        booking.status = Status::Hold;
        booking.lease_until_ms = 0;
        let booking = self.transition(booking, Kind::ConfirmAbort, word);
        Ok(shown(Code::Ok, self.lapse(booking)))
    }

    /// Sells, under the lease that is in force: neither its end nor the hold's deadline matters.
    fn confirm_commit(&mut self, id: BookingId, lease: u64, payment: &str) -> Reply {
        let mut booking = self.booking(id).ok_or(plain(Code::BookingUnknown))?;
        let sold = matches!(booking.status, Status::Committed | Status::Confirmed);
        if sold && booking.payment == payment {
            return Ok(shown(Code::Ok, booking));
        }
        if booking.status != Status::Confirming || booking.lease != lease {
            return Err(shown(Code::LeaseStale, booking));
        }
        booking.status = Status::Committed;
        booking.payment = payment.to_owned();
        booking.paid_ms = self.now_ms;
        Ok(shown(Code::Ok, self.transition(booking, Kind::Sold, "")))
    }

    fn cancel(&mut self, id: BookingId, user: &UserId) -> Reply {
        let booking = self.own(id, user)?;
        match why_not_a_hold(booking.status) {
            None => Ok(shown(Code::Ok, self.end(booking, Status::Cancelled, ""))),
            // It was cancelled already: that is what the caller wants.
            Some(Code::BookingCancelled) => Ok(shown(Code::Ok, booking)),
            Some(code) => Err(shown(code, booking)),
        }
    }

    fn extend(&mut self, id: BookingId, user: &UserId, nonce: &str) -> Reply {
        let mut booking = self.own(id, user)?;
        if let Some(code) = why_not_a_hold(booking.status) {
            return Err(shown(code, booking));
        }
        if booking.nonce == nonce {
            return Ok(shown(Code::Ok, booking));
        }
        let event = self.ev();
        if event.operated.status == EventStatus::Closed {
            return Err(plain(Code::EventClosed));
        }
        let last_ms = booking.created_ms + event.max_hold_ms;
        if booking.deadline_ms >= last_ms {
            return Err(shown(Code::HoldCapReached, booking));
        }
        let wished_ms = self.now_ms + event.hold_ttl_ms;
        booking.deadline_ms = booking.deadline_ms.max(wished_ms.min(last_ms));
        booking.nonce = nonce.to_owned();
        Ok(shown(Code::Ok, self.transition(booking, Kind::Extend, "")))
    }

    fn expire(&mut self, batch: i64) -> Reply {
        let released = self.release_overdue(batch as usize);
        let next_ms = self.ev().deadlines().values().min().copied().unwrap_or(-1);
        Ok(numbers(Code::Ok, &[released, next_ms]))
    }

    fn get_booking(&mut self, id: BookingId) -> Reply {
        let booking = self.booking(id).ok_or(plain(Code::BookingUnknown))?;
        Ok(shown(Code::Ok, self.lapse(booking)))
    }

    fn update_event(&mut self, operated: &Operated) -> Reply {
        let known = self.ev().operated.revision;
        if operated.revision <= known {
            return Err(numbers(Code::StaleRevision, &[known as i64]));
        }
        self.ev_mut().operated = operated.clone();
        let detail = self.ev().operated_as_logged();
        self.note(Kind::Event, detail);
        Ok(plain(Code::Ok))
    }

    /// The archive's word about a sale. What it ended stays ended.
    fn settle(&mut self, outcome: Outcome, archived: &Booking) -> Reply {
        let known = self.booking(archived.id);
        if let Some(known) = &known {
            let ended_by_archive = match known.status {
                Status::Voided => true,
                // Without a payment its owner gave it up, or it was displaced.
                Status::Cancelled => known.paid_ms > 0,
                _ => false,
            };
            let confirmed = known.status == Status::Confirmed;
            if (ended_by_archive || confirmed) && known.status == outcome.status() {
                return Ok(shown(Code::Ok, known.clone()));
            }
            if ended_by_archive || (confirmed && outcome == Outcome::Refund) {
                return Err(shown(Code::SettledOtherwise, known.clone()));
            }
        }
        let mut booking = known.unwrap_or_else(|| as_restored(archived));
        booking.version = booking.version.max(archived.version);
        if outcome == Outcome::Sold && self.confirmed_rival(&booking) {
            return Err(shown(Code::SeatsLost, booking));
        }
        booking.payment = archived.payment.clone();
        booking.paid_ms = archived.paid_ms;
        if outcome == Outcome::Sold {
            return Ok(shown(Code::Ok, self.settle_as_sold(booking)));
        }
        // One that had ended has no seats to free; the log must have this end all the same.
        Ok(shown(Code::Ok, self.end(booking, outcome.status(), "settle")))
    }

    /// Whether a confirmed booking has one of this booking's seats.
    fn confirmed_rival(&self, booking: &Booking) -> bool {
        let event = self.ev();
        let holders = booking.seats.iter().filter_map(|seat| event.holders.get(seat));
        let mut rivals = holders.filter(|holder| **holder != booking.id);
        rivals.any(|rival| event.bookings[rival].status == Status::Confirmed)
    }

    /// It takes every seat. A hold that loses one ends; a confirmation finds out when it goes on.
    fn settle_as_sold(&mut self, mut booking: Booking) -> Booking {
        for seat in &booking.seats {
            let holder = self.ev().holders.get(seat).copied().filter(|id| *id != booking.id);
            let rival = holder.and_then(|id| self.booking(id));
            if let Some(rival) = rival.filter(|rival| rival.status == Status::Hold) {
                self.end(rival, Status::Cancelled, "displaced");
            }
            let event = self.ev_mut();
            event.holders.insert(*seat, booking.id);
            event.blocked.remove(seat);
        }
        booking.status = Status::Confirmed;
        booking.confirmed_ms = self.now_ms;
        booking.ended_ms = 0;
        self.transition(booking, Kind::Confirmed, "settle")
    }

    /// Loads the event, empty and not yet open, unless it is there.
    fn load(&mut self, generation: u64, operated: &Operated) -> Reply {
        if let Some(event) = &self.event {
            if event.generation > generation {
                return Err(plain(Code::GenerationMismatch));
            }
            if event.open {
                return Err(plain(Code::EventExists));
            }
            if event.generation == generation {
                return Ok(plain(Code::Ok));
            }
        }
        self.event = Some(self.fresh.clone());
        let event = self.ev_mut();
        event.generation = generation;
        event.operated = operated.clone();
        Ok(plain(Code::Ok))
    }

    /// Puts a load on sale: the caller's own, of its generation.
    fn open(&mut self, generation: u64, own_token: bool) -> Reply {
        let Some(event) = &mut self.event else { return Err(plain(Code::EventNotLoaded)) };
        if event.generation > generation || (own_token && event.generation != generation) {
            return Err(numbers(Code::GenerationMismatch, &[event.generation as i64]));
        }
        if !own_token {
            return Err(plain(Code::EventNotLoaded));
        }
        if !event.open {
            event.open = true;
            let status = event.operated.status.word().to_owned();
            self.note(Kind::Opened, status);
        }
        Ok(plain(Code::Ok))
    }
}

/// What is answered where only a hold will do; `None` for a hold.
fn why_not_a_hold(status: Status) -> Option<Code> {
    match status {
        Status::Hold => None,
        Status::Confirming => Some(Code::InFlight),
        Status::Committed => Some(Code::IsCommitted),
        Status::Confirmed => Some(Code::IsConfirmed),
        Status::Voided => Some(Code::SaleVoided),
        Status::Cancelled => Some(Code::BookingCancelled),
        Status::Expired => Some(Code::BookingExpired),
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

/// A booking that Redis has lost, from the archive's facts.
fn as_restored(archived: &Booking) -> Booking {
    Booking {
        status: Status::Committed,
        nonce: String::new(),
        lease: 0,
        lease_until_ms: 0,
        confirmed_ms: 0,
        ended_ms: 0,
        ..archived.clone()
    }
}
