//! The rules of the sale: what each call replies and changes.

use holdfast::domain::entry::HouseBlock;
use holdfast::domain::{Booking, BookingId, Kind, SeatId, SeatState, Status, UserId};
use holdfast::redis::BlockAction;

use super::call::{Call, RequestKey, Sent, Which};
use super::reply::{AnyReply, Body};
use super::sale::{Operated, Record, Sale};

/// Who blocks seats.
pub const HOUSE: &str = "house";

/// What is answered. `Err` is an answer too: one that ends the call early.
pub type Reply = Result<(&'static str, Body), (&'static str, Body)>;

pub fn shown(code: &'static str, booking: Booking) -> (&'static str, Body) {
    (code, Body::Booking(Box::new(booking)))
}

pub fn plain(code: &'static str) -> (&'static str, Body) {
    (code, Body::Empty)
}

pub fn numbers(code: &'static str, numbers: &[i64]) -> (&'static str, Body) {
    (code, Body::Numbers(numbers.to_vec()))
}

impl Sale {
    /// What this call answers now; afterwards the sale is as the call left it. `witness` is what
    /// Redis answered: it is followed, where it is right, in what the rules leave open. A call may
    /// have `resumed` the search of an earlier one.
    pub fn call(&mut self, sent: &Sent, witness: &AnyReply, resumed: bool) -> AnyReply {
        (self.witness, self.resumed) = (Some(witness.clone()), resumed);
        self.writing = (sent.call.nonce(), 0);
        let (code, body) = self.decide(sent).unwrap_or_else(|refusal| refusal);
        AnyReply { code, now_ms: self.now_ms, body }
    }

    fn decide(&mut self, sent: &Sent) -> Reply {
        let mutates = !matches!(sent.call, Call::GetBooking { .. });
        if mutates && self.now_ms > sent.not_after_ms {
            return Err(plain("too_late"));
        }
        match &sent.call {
            Call::Abort { not_before_ms, .. }
            | Call::ConfirmAbort { which: Which::Nonce { not_before_ms, .. }, .. }
                if self.now_ms <= *not_before_ms =>
            {
                return Err(plain("too_early"));
            }
            Call::Beat { min_age_ms, log_entries_max } => {
                // Entries have Redis' real time in their positions, which is below the swapped
                // one by years: any is old, unless even that is too young.
                if *min_age_ms == i64::MAX && !self.log.is_empty() {
                    return Ok(plain("unneeded"));
                }
                self.check_log(*log_entries_max)?;
                self.note_beat();
                return Ok(plain("ok"));
            }
            Call::Load(operated) => return self.load(sent.generation, operated),
            Call::Open { own_token } => return self.open(sent.generation, *own_token),
            Call::Place { own_token, sold, blocked } => {
                return self.place(sent.generation, *own_token, sold, blocked);
            }
            _ => {}
        }
        let loaded = self.event.as_ref().filter(|event| event.open);
        let generation = loaded.ok_or(plain("event_not_loaded"))?.generation;
        if mutates && generation != sent.generation {
            return Err(numbers("generation_mismatch", &[generation as i64]));
        }
        match &sent.call {
            Call::Hold(hold) => self.hold(hold),
            Call::Abort { digest, lost_nonce, .. } => self.abort(digest, lost_nonce),
            Call::ConfirmBegin { booking, user, nonce, lease_ms, attempts_max, key } => {
                let booking = self.own(*booking, user)?;
                self.confirm_begin(booking, nonce, *lease_ms, *attempts_max, key.as_ref())
            }
            Call::ConfirmAbort { booking, which } => self.confirm_abort(*booking, which),
            Call::ConfirmCommit { booking, lease, payment } => {
                self.confirm_commit(*booking, *lease, payment)
            }
            Call::ConfirmTakeover { booking, nonce, lease_ms } => {
                self.confirm_takeover(*booking, nonce, *lease_ms)
            }
            Call::ConfirmLate { known, payment } => self.confirm_late(known, payment),
            Call::Cancel { booking, user } => self.cancel(*booking, user),
            Call::Extend { booking, user, nonce, key, log_entries_max } => {
                let booking = self.own(*booking, user)?;
                self.extend(booking, nonce, key.as_ref(), *log_entries_max)
            }
            Call::Expire { batch } => self.expire(*batch),
            Call::Settle { outcome, archived } => self.settle(*outcome, archived),
            Call::UpdateEvent(operated) => self.update_event(operated),
            Call::GetBooking { booking } => self.get_booking(*booking),
            Call::Forget { keep_ms, bookings } => self.forget(*keep_ms, bookings),
            Call::Unload { event_version } => self.unload(*event_version),
            Call::Block { action, seats, reason, layout_version } => {
                self.block(*action, seats, reason, *layout_version)
            }
            Call::Beat { .. } | Call::Load(_) | Call::Place { .. } | Call::Open { .. } => {
                unreachable!("answered above")
            }
        }
    }

    /// Refuses what finishes nothing where the log is full.
    pub fn check_log(&self, log_entries_max: u64) -> Result<(), (&'static str, Body)> {
        match (self.log.len() as u64) < log_entries_max {
            true => Ok(()),
            false => Err(plain("log_full")),
        }
    }

    /// The caller's booking, lapsed if its time is over. Another's is as good as unknown.
    fn own(&mut self, id: BookingId, user: &UserId) -> Result<Booking, (&'static str, Body)> {
        match self.booking(id) {
            Some(booking) if booking.user == *user => Ok(self.lapse(booking)),
            _ => Err(plain("booking_unknown")),
        }
    }

    fn confirm_begin(
        &mut self,
        mut booking: Booking,
        nonce: &str,
        lease_ms: i64,
        attempts_max: i64,
        key: Option<&RequestKey>,
    ) -> Reply {
        if matches!(booking.status, Status::Committed | Status::Confirmed) {
            let record = key.and_then(|key| self.records.get(&key.digest).zip(Some(key)));
            if record.is_some_and(|(record, key)| record.fingerprint != key.fingerprint) {
                return Err(plain("idempotency_mismatch"));
            }
        }
        if let Some(code) = why_not_a_hold(booking.status)
            && booking.status != Status::Confirming
        {
            return Err(shown(code, booking));
        }
        if booking.status == Status::Confirming && booking.lease_until_ms > self.now_ms {
            let code = if booking.nonce == nonce { "ok" } else { "in_flight" };
            return Ok(shown(code, booking));
        }
        if booking.lease as i64 >= attempts_max {
            return Err(shown("attempts_exhausted", booking));
        }
        if !self.ev().has_its_seats(&booking) {
            let ended = self.end(booking, Status::Cancelled, "displaced");
            return Err(shown("booking_cancelled", ended));
        }
        booking.status = Status::Confirming;
        booking.nonce = nonce.to_owned();
        booking.lease += 1;
        booking.lease_until_ms = self.now_ms + lease_ms;
        self.keep(key, &booking);
        Ok(shown("ok", self.transition(booking, Kind::ConfirmBegin, "")))
    }

    /// Back to a hold, which may be overdue by now.
    fn confirm_abort(&mut self, id: BookingId, which: &Which) -> Reply {
        let mut booking = self.booking(id).ok_or(plain("booking_unknown"))?;
        let (meant, word) = match which {
            Which::Lease(lease) => (booking.lease == *lease, "lease"),
            Which::Nonce { nonce, .. } => (booking.nonce == *nonce, "nonce"),
        };
        if booking.status != Status::Confirming || !meant {
            return Ok(shown("nothing", booking));
        }
        if !self.ev().has_its_seats(&booking) {
            return Ok(shown("ok", self.end(booking, Status::Cancelled, "displaced")));
        }
        booking.status = Status::Hold;
        booking.lease_until_ms = 0;
        let booking = self.transition(booking, Kind::ConfirmAbort, word);
        Ok(shown("ok", self.lapse(booking)))
    }

    /// Sells, under the lease that is in force: neither its end nor the hold's deadline matters.
    fn confirm_commit(&mut self, id: BookingId, lease: u64, payment: &str) -> Reply {
        let mut booking = self.booking(id).ok_or(plain("booking_unknown"))?;
        let sold = matches!(booking.status, Status::Committed | Status::Confirmed);
        if sold && booking.payment == payment {
            return Ok(shown("ok", booking));
        }
        if booking.status != Status::Confirming || booking.lease != lease {
            return Err(shown("lease_stale", booking));
        }
        booking.status = Status::Committed;
        booking.payment = payment.to_owned();
        booking.paid_ms = self.now_ms;
        Ok(shown("ok", self.transition(booking, Kind::Sold, "")))
    }

    /// A lease that has lapsed is somebody else's.
    fn confirm_takeover(&mut self, id: BookingId, nonce: &str, lease_ms: i64) -> Reply {
        let mut booking = self.booking(id).ok_or(plain("booking_unknown"))?;
        if booking.status != Status::Confirming {
            return Ok(shown("nothing", booking));
        }
        if booking.lease_until_ms > self.now_ms {
            let code = if booking.nonce == nonce { "ok" } else { "nothing" };
            return Ok(shown(code, booking));
        }
        booking.nonce = nonce.to_owned();
        booking.lease += 1;
        booking.lease_until_ms = self.now_ms + lease_ms;
        Ok(shown("ok", self.transition(booking, Kind::ConfirmBegin, "takeover")))
    }

    /// Sells what is paid: with the seats that it has, or with the same ones if they are free.
    fn confirm_late(&mut self, known: &Booking, payment: &str) -> Reply {
        let mut booking = self.booking(known.id).unwrap_or_else(|| as_lapsed(known));
        match booking.status {
            Status::Committed | Status::Confirmed => return Ok(shown("ok", booking)),
            Status::Cancelled => return Err(shown("booking_cancelled", booking)),
            Status::Voided => return Err(shown("sale_voided", booking)),
            Status::Expired => self.release_overdue_of(&booking.seats),
            Status::Hold | Status::Confirming => {}
        }
        let has_them = match booking.status {
            Status::Expired => booking.seats.iter().all(|seat| self.ev().is_free(*seat)),
            _ => self.ev().has_its_seats(&booking),
        };
        if !has_them {
            return Err(shown("seats_lost", booking));
        }
        for seat in &booking.seats {
            self.ev_mut().holders.insert(*seat, booking.id);
        }
        let detail = if booking.status == Status::Confirming { "" } else { "late" };
        booking.status = Status::Committed;
        booking.payment = payment.to_owned();
        booking.paid_ms = self.now_ms;
        booking.ended_ms = 0;
        Ok(shown("ok", self.transition(booking, Kind::Sold, detail)))
    }

    fn cancel(&mut self, id: BookingId, user: &UserId) -> Reply {
        let booking = self.own(id, user)?;
        match why_not_a_hold(booking.status) {
            None => Ok(shown("ok", self.end(booking, Status::Cancelled, ""))),
            // It was cancelled already: that is what the caller wants.
            Some("booking_cancelled") => Ok(shown("replayed", booking)),
            Some(code) => Err(shown(code, booking)),
        }
    }

    /// Keeps a request under its caller's key, if it has one.
    fn keep(&mut self, key: Option<&RequestKey>, booking: &Booking) {
        let Some(RequestKey { digest, fingerprint }) = key.cloned() else { return };
        self.records.insert(digest, Record { booking: booking.id, fingerprint });
    }

    fn extend(
        &mut self,
        mut booking: Booking,
        nonce: &str,
        key: Option<&RequestKey>,
        log_entries_max: u64,
    ) -> Reply {
        let done_before = key.is_some_and(|key| self.records.contains_key(&key.digest));
        if done_before && booking.status.is_live() {
            return Ok(shown("replayed", booking));
        }
        if let Some(code) = why_not_a_hold(booking.status) {
            return Err(shown(code, booking));
        }
        if booking.nonce == nonce {
            return Ok(shown("ok", booking));
        }
        let event = self.ev();
        if event.operated.is_over(self.now_ms) {
            return Err(plain("event_closed"));
        }
        let last_ms = booking.created_ms + event.max_hold_ms;
        if booking.deadline_ms >= last_ms {
            return Err(shown("hold_cap_reached", booking));
        }
        self.check_log(log_entries_max)?;
        let wished_ms = self.now_ms + event.hold_ttl_ms;
        booking.deadline_ms = booking.deadline_ms.max(wished_ms.min(last_ms));
        booking.nonce = nonce.to_owned();
        self.keep(key, &booking);
        Ok(shown("ok", self.transition(booking, Kind::Extend, "")))
    }

    fn expire(&mut self, batch: i64) -> Reply {
        let released = self.release_overdue(batch as usize);
        let next_ms = self.ev().deadlines().values().min().copied().unwrap_or(-1);
        Ok(numbers("ok", &[released, next_ms]))
    }

    fn get_booking(&mut self, id: BookingId) -> Reply {
        let booking = self.booking(id).ok_or(plain("booking_unknown"))?;
        Ok(shown("ok", self.lapse(booking)))
    }

    fn update_event(&mut self, operated: &Operated) -> Reply {
        let known = self.ev().operated.revision;
        if operated.revision <= known {
            let version = self.ev().version;
            return Err(numbers("stale_revision", &[known as i64, version as i64]));
        }
        self.ev_mut().operated = operated.clone();
        let detail = self.ev().operated_as_logged();
        self.note(Kind::Event, detail);
        Ok(numbers("ok", &[self.ev().version as i64]))
    }

    /// Blocks seats, all of them or none; or releases those that are blocked.
    fn block(
        &mut self,
        action: BlockAction,
        seats: &[SeatId],
        reason: &str,
        layout_version: u32,
    ) -> Reply {
        self.check_layout(layout_version)?;
        self.check_known(seats)?;
        let blocks = action == BlockAction::Block;
        if blocks {
            self.release_overdue_of(seats);
        }
        let event = self.ev();
        let state = |seat: &SeatId| (*seat, event.seat_state(*seat));
        let is = |wanted| move |(_, state): &(SeatId, SeatState)| *state == wanted;
        let (free, kept): (Vec<_>, Vec<_>) = (
            seats.iter().map(state).filter(is(SeatState::Available)).collect(),
            seats.iter().map(state).filter(is(SeatState::Blocked)).collect(),
        );
        if blocks && free.len() + kept.len() < seats.len() {
            let taken = seats.iter().map(state).filter(|one| !free.contains(one));
            let taken = taken.filter(|one| !kept.contains(one)).collect();
            return Err(("seats_unavailable", Body::SeatStates(taken)));
        }
        let changed: Vec<SeatId> =
            if blocks { free } else { kept }.into_iter().map(|(seat, _)| seat).collect();
        if changed.is_empty() {
            return Ok(numbers("ok", &[0, self.ev().version as i64]));
        }
        let count = changed.len() as i64;
        let event = self.ev_mut();
        match action {
            BlockAction::Block => event.blocked.extend(&changed),
            BlockAction::Release => event.blocked.retain(|seat| !changed.contains(seat)),
        }
        let kind = if blocks { Kind::Blocked } else { Kind::Unblocked };
        self.note(kind, reason.to_owned());
        let line = self.log.last_mut().expect("just written");
        line.house = Some(HouseBlock { seats: changed, actor: HOUSE.to_owned() });
        Ok(numbers("ok", &[count, self.ev().version as i64]))
    }
}

/// What is answered where only a hold will do; `None` for a hold.
fn why_not_a_hold(status: Status) -> Option<&'static str> {
    match status {
        Status::Hold => None,
        Status::Confirming => Some("in_flight"),
        Status::Committed => Some("is_committed"),
        Status::Confirmed => Some("is_confirmed"),
        Status::Voided => Some("sale_voided"),
        Status::Cancelled => Some("booking_cancelled"),
        Status::Expired => Some("booking_expired"),
    }
}

/// A booking that Redis has lost, as one that lapsed.
fn as_lapsed(known: &Booking) -> Booking {
    Booking {
        status: Status::Expired,
        nonce: String::new(),
        lease_until_ms: 0,
        payment: String::new(),
        paid_ms: 0,
        confirmed_ms: 0,
        ended_ms: 0,
        ..known.clone()
    }
}
