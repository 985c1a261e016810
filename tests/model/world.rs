//! The callers' state: the calls they made, the bookings they received, the settings that operators
//! chose. Turns an operation into a call with all its arguments.

use std::collections::BTreeMap;

use holdfast::domain::{Booking, BookingId, Event, EventStatus, Status, UserId};
use holdfast::redis::BlockAction;

use super::call::{Call, Hold, RequestKey, Sent, Which};
use super::operations::{self, Act, Before, InTime, Known, Manner, Nonce, Pick, Step, Who};
use super::sale::{EventState, Operated, Sale};
use super::wishes::entries_max;

const PLENTY_MS: i64 = 1_000_000_000;
const SECONDS_MS: i64 = 5_000;

/// The callers.
pub struct World {
    pub event: Event,
    users: u8,
    /// MongoDB's generation of the event: rises with every loss.
    pub generation: u64,
    /// MongoDB's settings of the event.
    operated: Operated,
    /// Every call that was made or delayed, oldest first.
    calls: Vec<Sent>,
    /// Every hold among them.
    pub holds: Vec<Hold>,
    /// Bookings that Redis lost, as they were.
    lost: BTreeMap<BookingId, Booking>,
    /// Numbers that were given out: ids, nonces, keys.
    given: u64,
}

impl World {
    pub fn new(event: Event, users: u8) -> Self {
        let operated = Operated {
            revision: event.revision,
            status: event.status,
            on_sale_at_ms: event.on_sale_at_ms.unwrap_or(0),
            off_sale_at_ms: event.off_sale_at_ms.unwrap_or(0),
        };
        World {
            users,
            generation: event.generation,
            operated,
            event,
            calls: Vec::new(),
            holds: Vec::new(),
            lost: BTreeMap::new(),
            given: 0,
        }
    }

    /// Redis lost the event: MongoDB raises its generation.
    pub fn lose(&mut self, sale: &Sale) {
        self.generation += 1;
        if let Some(event) = &sale.event {
            self.lost.extend(event.bookings.clone());
        }
    }

    /// The n-th last call.
    pub fn again(&self, nth: u8) -> Option<Sent> {
        nth_last(&self.calls, nth).cloned()
    }

    /// The time after a step.
    pub fn after(step: Step, sale: &Sale) -> i64 {
        let now_ms = sale.now_ms;
        let event = sale.event.as_ref();
        let next = |moments: Option<Vec<i64>>, by: i8| {
            let later = moments.unwrap_or_default().into_iter().filter(|at| *at > now_ms);
            later.min().map_or(now_ms + 1, |at| at + i64::from(by))
        };
        match step {
            Step::Ms(by) => now_ms + i64::from(by),
            Step::Seconds(by) => now_ms + i64::from(by) * 1_000,
            Step::Deadline(by) => next(event.map(|e| e.deadlines().into_values().collect()), by),
            Step::Lease(by) => next(event.map(|e| e.leases().into_values().collect()), by),
            Step::OnSale(by) => {
                let times =
                    |e: &EventState| vec![e.operated.on_sale_at_ms, e.operated.off_sale_at_ms];
                next(event.map(times), by)
            }
        }
    }

    /// The call that an operation makes; `None` where it has nothing to refer to.
    pub fn call(&mut self, act: &Act, manner: Manner, sale: &Sale) -> Option<Sent> {
        let call = self.name(act, sale)?;
        let not_after_ms = sale.now_ms
            + match manner.in_time {
                InTime::Plenty => PLENTY_MS,
                InTime::Seconds => SECONDS_MS,
                InTime::Just => 0,
                InTime::Late => -1,
            };
        let generation = match act {
            Act::Load { generation } => about(self.generation, *generation),
            _ => about(self.generation, manner.generation),
        };
        let sent = Sent { not_after_ms, generation, call };
        self.calls.push(sent.clone());
        Some(sent)
    }

    fn name(&mut self, act: &Act, sale: &Sale) -> Option<Call> {
        let now_ms = sale.now_ms;
        Some(match act {
            Act::Hold { .. } | Act::Search { .. } | Act::Retry { .. } | Act::ReuseId { .. } => {
                let hold = self.hold(act, sale)?;
                self.holds.push(hold.clone());
                Call::Hold(hold)
            }
            Act::Abort { nth, own_nonce, before } => {
                let hold = nth_last(&self.holds, *nth)?;
                Call::Abort {
                    digest: hold.digest.clone(),
                    lost_nonce: if *own_nonce { hold.nonce.clone() } else { "n".into() },
                    not_before_ms: moment(*before, now_ms),
                }
            }
            Act::Begin { .. }
            | Act::EndLease { .. }
            | Act::EndAttempt { .. }
            | Act::TakeOver { .. }
            | Act::Late { .. }
            | Act::Commit { .. } => self.confirmation(act, sale)?,
            Act::Cancel { booking, who } => {
                let booking = self.pick(*booking, sale);
                Call::Cancel { booking: booking.id, user: self.who(*who, &booking) }
            }
            Act::Extend { booking, who, nonce, key, room } => {
                let booking = self.pick(*booking, sale);
                let (user, nonce) = (self.who(*who, &booking), self.nonce(*nonce, &booking));
                let key = own_key("extend", *key, &user, &booking);
                let key = key.map(|key| RequestKey { fingerprint: "extend".into(), ..key });
                let log_entries_max = entries_max(*room, sale);
                Call::Extend { booking: booking.id, user, nonce, key, log_entries_max }
            }
            Act::Expire { batch } => Call::Expire { batch: i64::from(*batch) },
            Act::Settle { booking, outcome, newer, seats, taken } => {
                let mut archived = self.pick(*booking, sale);
                if archived.seats.is_empty() {
                    archived.seats = self.archived_seats(seats, *taken, sale);
                }
                archived.version += u64::from(*newer);
                archived.confirmed_ms = if *newer > 0 { now_ms - 1 } else { 0 };
                if archived.paid_ms == 0 {
                    (archived.paid_ms, archived.payment) = (now_ms, payment_of(&archived));
                }
                Call::Settle { outcome: *outcome, archived }
            }
            Act::Update { revision, status, on_sale_in_s, off_sale_in_s } => {
                let times = [*on_sale_in_s, *off_sale_in_s].map(|seconds| match seconds {
                    -1 => 0,
                    seconds => now_ms + i64::from(seconds) * 1_000,
                });
                self.update(*revision, *status, times)
            }
            Act::Get { booking } => Call::GetBooking { booking: self.pick(*booking, sale).id },
            Act::Block { seats, layout } => self.block(BlockAction::Block, seats, *layout),
            Act::Unblock { seats, layout } => self.block(BlockAction::Release, seats, *layout),
            Act::Beat { needed, room } => Call::Beat {
                min_age_ms: if *needed { 0 } else { i64::MAX },
                log_entries_max: entries_max(*room, sale),
            },
            Act::Forget { count, version, keep_s } => {
                let there = sale.event.iter().flat_map(|event| event.bookings.values());
                let last = there.rev().take(usize::from(*count));
                let last: Vec<Booking> = last.cloned().collect();
                // The archive knows them when Redis does not any more.
                self.lost.extend(last.iter().map(|booking| (booking.id, booking.clone())));
                let listed = last.iter().map(|b| (b.id, about(b.version, *version))).collect();
                Call::Forget { keep_ms: i64::from(*keep_s) * 1_000, bookings: listed }
            }
            Act::Unload { version } => {
                let event = sale.event.as_ref()?;
                Call::Unload { event_version: about(event.version, *version) }
            }
            Act::Place { own_token, count, blocked } => {
                let lost = self.lost.values().rev().take(usize::from(*count));
                let sold = lost.map(|booking| as_sold(booking, now_ms)).collect();
                let mut blocked = self.seats(blocked);
                blocked.retain(|seat| seat.0 <= self.event.layout.total_seats());
                Call::Place { own_token: *own_token, sold, blocked }
            }
            Act::Load { .. } => Call::Load(self.operated.clone()),
            Act::Open { own_token } => Call::Open { own_token: *own_token },
        })
    }

    /// Begins, ends and commits payments.
    fn confirmation(&mut self, act: &Act, sale: &Sale) -> Option<Call> {
        Some(match act {
            Act::Begin { booking, who, nonce, lease_s, attempts_max, key } => {
                let booking = self.pick(*booking, sale);
                let user = self.who(*who, &booking);
                Call::ConfirmBegin {
                    booking: booking.id,
                    key: own_key("confirm", *key, &user, &booking),
                    user,
                    nonce: self.nonce(*nonce, &booking),
                    lease_ms: i64::from(*lease_s) * 1_000,
                    attempts_max: i64::from(*attempts_max),
                }
            }
            Act::EndLease { booking, lease } => {
                let booking = self.pick(*booking, sale);
                let which = Which::Lease(about(booking.lease, *lease));
                Call::ConfirmAbort { booking: booking.id, which }
            }
            Act::EndAttempt { booking, own_nonce, before } => {
                let booking = self.pick(*booking, sale);
                let nonce = if *own_nonce { booking.nonce.clone() } else { "n".into() };
                let which = Which::Nonce { nonce, not_before_ms: moment(*before, sale.now_ms) };
                Call::ConfirmAbort { booking: booking.id, which }
            }
            Act::TakeOver { booking, nonce, lease_s } => {
                let booking = self.pick(*booking, sale);
                Call::ConfirmTakeover {
                    booking: booking.id,
                    nonce: self.nonce(*nonce, &booking),
                    lease_ms: i64::from(*lease_s) * 1_000,
                }
            }
            Act::Late { booking, seats } => {
                let mut known = self.pick(*booking, sale);
                if known.seats.is_empty() {
                    known.seats = self.archived_seats(seats, false, sale);
                }
                Call::ConfirmLate { payment: payment_of(&known), known }
            }
            Act::Commit { booking, lease, own_payment } => {
                let booking = self.pick(*booking, sale);
                let payment = if *own_payment { payment_of(&booking) } else { "other".into() };
                Call::ConfirmCommit {
                    booking: booking.id,
                    lease: about(booking.lease, *lease),
                    payment,
                }
            }
            _ => return None,
        })
    }

    fn update(
        &mut self,
        revision: Known,
        status: EventStatus,
        [on_sale_at_ms, off_sale_at_ms]: [i64; 2],
    ) -> Call {
        let newest = self.operated.revision + 1;
        let revision = about(newest, revision);
        let operated = Operated { revision, status, on_sale_at_ms, off_sale_at_ms };
        if revision >= newest {
            self.operated = operated.clone();
        }
        Call::UpdateEvent(operated)
    }

    pub fn user(&self, number: u8) -> UserId {
        format!("user{}", number % self.users).parse().expect("a name")
    }

    pub fn new_name(&mut self, kind: &str) -> String {
        self.given += 1;
        format!("{kind}{}", self.given)
    }

    pub fn new_id(&mut self) -> BookingId {
        self.given += 1;
        BookingId::new(self.event.id, super::START_MS as u64 + self.given, self.given)
    }

    /// A booking in its current state, or its state when Redis lost it.
    fn pick(&mut self, pick: Pick, sale: &Sale) -> Booking {
        let there: Vec<&Booking> =
            sale.event.iter().flat_map(|event| event.bookings.values()).collect();
        let found = match pick {
            Pick::With(status, nth) => {
                let with: Vec<&Booking> =
                    there.iter().copied().filter(|booking| booking.status == status).collect();
                nth_last(&with, nth).or_else(|| nth_last(&there, nth)).copied()
            }
            // Lost ones are older. Ids rise with age.
            Pick::Recent(nth) => {
                let gone = self.lost.values().filter(|booking| sale.booking(booking.id).is_none());
                let all: Vec<&Booking> = gone.chain(there).collect();
                nth_last(&all, nth).copied()
            }
            Pick::Unknown => None,
        };
        found.cloned().unwrap_or_else(|| self.stranger())
    }

    /// A booking that nobody made.
    fn stranger(&mut self) -> Booking {
        Booking {
            id: self.new_id(),
            status: Status::Committed,
            version: 3,
            user: self.user(self.given as u8),
            seats: Vec::new(),
            amount: 1,
            currency: self.event.currency.clone(),
            created_ms: super::START_MS,
            deadline_ms: super::START_MS + 1,
            nonce: String::new(),
            lease: 1,
            lease_until_ms: 0,
            payment: String::new(),
            paid_ms: 0,
            confirmed_ms: 0,
            ended_ms: 0,
            idempotency: self.new_name("d"),
            fingerprint: "fingerprint".into(),
            trace: String::new(),
        }
    }

    fn who(&self, who: Who, booking: &Booking) -> UserId {
        match who {
            Who::Owner => booking.user.clone(),
            Who::User(number) => self.user(number),
        }
    }

    fn nonce(&mut self, nonce: Nonce, booking: &Booking) -> String {
        match nonce {
            Nonce::Last if !booking.nonce.is_empty() => {
                booking.nonce.rsplit(',').next().expect("at least one").to_owned()
            }
            _ => self.new_name("n"),
        }
    }
}

/// A booking as the archive has it when it is sold.
fn as_sold(booking: &Booking, now_ms: i64) -> Booking {
    Booking {
        status: Status::Confirmed,
        payment: payment_of(booking),
        paid_ms: now_ms,
        confirmed_ms: now_ms,
        ended_ms: 0,
        nonce: String::new(),
        lease_until_ms: 0,
        ..booking.clone()
    }
}

/// A key is its user's, its operation's and its booking's.
fn own_key(
    operation: &str,
    key: operations::RequestKey,
    user: &UserId,
    booking: &Booking,
) -> Option<RequestKey> {
    match key {
        operations::RequestKey::None => None,
        operations::RequestKey::Shared(key, request) => Some(RequestKey {
            digest: format!("{operation}-{user}-{}-{key}", booking.id),
            fingerprint: format!("request{request}"),
        }),
    }
}

fn payment_of(booking: &Booking) -> String {
    format!("pay-{}", booking.id)
}

fn moment(before: Before, now_ms: i64) -> i64 {
    match before {
        Before::Past => now_ms - 1,
        Before::Now => now_ms,
    }
}

pub fn about(number: u64, known: Known) -> u64 {
    match known {
        Known::Right => number,
        Known::OneLess => number.saturating_sub(1),
        Known::OneMore => number + 1,
    }
}

pub fn nth_last<T>(items: &[T], nth: u8) -> Option<&T> {
    if items.is_empty() {
        return None;
    }
    items.iter().rev().nth(usize::from(nth) % items.len())
}
