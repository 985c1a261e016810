//! Random operations. They name bookings, calls and moments by their place in what went before,
//! so that a sequence stays meaningful when operations are taken out of it.

use std::fmt;
use std::ops::RangeInclusive;

use holdfast::domain::{EventStatus, OrphanRule, Outcome, Status};
use proptest::collection::vec;
use proptest::prelude::*;

/// A whole sequence.
#[derive(Clone)]
pub struct Sequence {
    pub setting: Setting,
    pub ops: Vec<Op>,
}

/// As it is written in Rust, one operation a line, so that it can become a test of its own.
impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Sequence {{\n    setting: {:?},\n    ops: vec![", self.setting)?;
        for op in &self.ops {
            writeln!(f, "        {op:?},")?;
        }
        write!(f, "    ],\n}}")
    }
}

/// What is sold, and to how many.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub hall: Hall,
    pub users: u8,
    pub per_user: u8,
    /// How long a hold can last with extensions.
    pub max_hold_s: u8,
    pub orphan_rule: OrphanRule,
}

/// Layouts.
#[derive(Clone, Copy, Debug)]
pub enum Hall {
    /// Rows of 3 and 5, and 4 places on the floor.
    Small,
    /// Rows of 10, 7 and 11, a floor of 12, a balcony row of 8.
    Wide,
}

/// One operation.
#[derive(Clone, Debug)]
pub enum Op {
    /// Time passes, or Redis' clock is set back.
    Pass(Step),
    /// A call.
    Do(Act, Manner),
    /// A call as `Do` makes it, but on its way until an `Again` delivers it.
    Delay(Act, Manner),
    /// The n-th last call once more (or at last), exactly as it was.
    Again(u8),
    /// Redis loses all of the event.
    Lose,
    /// The same, and it is loaded and opened again, with every seat free.
    Restart,
}

/// How time passes.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Ms(i16),
    Seconds(u8),
    /// To the next hold deadline, and this much further, ms.
    Deadline(i8),
    /// To the next end of a confirmation lease, and this much further, ms.
    Lease(i8),
    /// To the beginning of sales, and this much further, ms.
    OnSale(i8),
}

/// How a call is sent; the default is as it should be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    pub in_time: InTime,
    pub generation: Known,
}

/// How a call's `not_after` lies to the time at which it is made.
#[derive(Clone, Copy, Debug, Default)]
pub enum InTime {
    #[default]
    Plenty,
    /// A few seconds: when it is made again later it may be too late.
    Seconds,
    Just,
    Late,
}

/// What the caller knows of a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Known {
    #[default]
    Right,
    OneLess,
    OneMore,
}

/// Which booking.
#[derive(Clone, Copy, Debug)]
pub enum Pick {
    /// The n-th last one that was made, also if Redis lost it.
    Recent(u8),
    /// The n-th last one with this status; as `Recent` if there is none.
    With(Status, u8),
    /// One that never was.
    Unknown,
}

/// Whose user id a call carries.
#[derive(Clone, Copy, Debug)]
pub enum Who {
    Owner,
    User(u8),
}

/// Which idempotency record a hold names.
#[derive(Clone, Copy, Debug)]
pub enum Key {
    Fresh,
    /// One of a few of this user.
    Shared(u8),
}

/// Nonces.
#[derive(Clone, Copy, Debug)]
pub enum Nonce {
    Fresh,
    /// The last of the booking's record.
    Last,
}

/// The time that has to have passed, against now.
#[derive(Clone, Copy, Debug)]
pub enum Before {
    Past,
    Now,
}

/// What is asked of the scripts.
#[derive(Clone, Debug)]
pub enum Act {
    Hold {
        user: u8,
        seats: Vec<u8>,
        key: Key,
        layout: Known,
        window: Window,
        room: Room,
    },
    Search {
        user: u8,
        quantity: u8,
        place: Place,
        together: bool,
        key: Key,
        look: Look,
    },
    /// The n-th last hold under its key, as a client repeats it: a new attempt.
    Retry {
        nth: u8,
    },
    /// The n-th last hold's booking id, from this user for these seats under a fresh key.
    ReuseId {
        nth: u8,
        user: u8,
        seats: Vec<u8>,
    },
    /// The attempt of the n-th last hold is given up.
    Abort {
        nth: u8,
        own_nonce: bool,
        before: Before,
    },
    Begin {
        booking: Pick,
        who: Who,
        nonce: Nonce,
        lease_s: u8,
        attempts_max: u8,
    },
    EndLease {
        booking: Pick,
        lease: Known,
    },
    EndAttempt {
        booking: Pick,
        own_nonce: bool,
        before: Before,
    },
    EndLapsed {
        booking: Pick,
    },
    Commit {
        booking: Pick,
        lease: Known,
        own_payment: bool,
    },
    Cancel {
        booking: Pick,
        who: Who,
    },
    Extend {
        booking: Pick,
        who: Who,
        nonce: Nonce,
    },
    Expire {
        batch: u8,
    },
    Block {
        seats: Vec<u8>,
        layout: Known,
    },
    Unblock {
        seats: Vec<u8>,
        layout: Known,
    },
    Settle {
        booking: Pick,
        outcome: Outcome,
        newer: u8,
        seats: Vec<u8>,
    },
    Update {
        revision: Known,
        status: EventStatus,
        on_sale_in_s: i8,
    },
    Get {
        booking: Pick,
    },
    /// A beat, needed or only if the log is empty.
    Beat {
        needed: bool,
    },
    Load {
        generation: Known,
    },
    Open {
        own_token: bool,
    },
}

/// Where seats are searched.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    Anywhere,
    Section(u8),
    /// Where one seat costs no more than in this section.
    NoDearerThan(u8),
}

/// How much of the event one call of a search may look at.
#[derive(Clone, Copy, Debug)]
pub enum Look {
    All,
    /// So many seats, and so many runs that would leave a seat alone.
    Little(u8, u8),
}

/// How long saved answers are given again.
#[derive(Clone, Copy, Debug)]
pub enum Window {
    Always,
    TenSeconds,
}

/// Room in the log when a hold comes.
#[derive(Clone, Copy, Debug)]
pub enum Room {
    Plenty,
    /// The log is as long as it may be.
    None,
    /// One entry fits in.
    One,
}

/// Sequences of at most `length` operations, some of twice that.
pub fn sequences(length: usize) -> impl Strategy<Value = Sequence> {
    let few = || setting(Hall::Small, 3..=5, 2..=6);
    let many = || setting(Hall::Wide, 4..=40, 1..=12);
    prop_oneof![
        5 => sequence(few(), op(mixed().boxed(), step().boxed()), length),
        2 => sequence(many(), op(mixed().boxed(), step().boxed()), length),
        2 => sequence(setting(Hall::Wide, 20..=40, 1..=3), op(crowd().boxed(), pause().boxed()), 2 * length),
        1 => sequence(few(), op(impatient().boxed(), pause().boxed()), length),
    ]
}

fn setting(
    hall: Hall,
    users: RangeInclusive<u8>,
    per_user: RangeInclusive<u8>,
) -> impl Strategy<Value = Setting> {
    let max_hold_s = prop_oneof![3 => Just(61_u8), 1 => Just(70), 1 => Just(150)];
    let orphan_rule = prop_oneof![
        2 => Just(OrphanRule::Off),
        1 => Just(OrphanRule::Warn),
        1 => Just(OrphanRule::Enforce),
    ];
    (users, per_user, max_hold_s, orphan_rule).prop_map(
        move |(users, per_user, max_hold_s, orphan_rule)| Setting {
            hall,
            users,
            per_user,
            max_hold_s,
            orphan_rule,
        },
    )
}

fn sequence(
    setting: impl Strategy<Value = Setting>,
    op: impl Strategy<Value = Op>,
    length: usize,
) -> impl Strategy<Value = Sequence> {
    (setting, vec(op, 1..=length)).prop_map(|(setting, ops)| Sequence { setting, ops })
}

fn op(act: BoxedStrategy<Act>, step: BoxedStrategy<Step>) -> impl Strategy<Value = Op> {
    prop_oneof![
        700 => (act.clone(), manner()).prop_map(|(act, manner)| Op::Do(act, manner)),
        120 => step.prop_map(Op::Pass),
        100 => (0..12_u8).prop_map(Op::Again),
        30 => (act, manner()).prop_map(|(act, manner)| Op::Delay(act, manner)),
        2 => Just(Op::Lose),
        5 => Just(Op::Restart),
    ]
}

/// Mostly nothing lapses, and then much at once.
fn pause() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (1..200_i16).prop_map(Step::Ms),
        1 => (55..80_u8).prop_map(Step::Seconds),
        1 => (-1..=1_i8).prop_map(Step::Deadline),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..2_000_i16).prop_map(Step::Ms),
        1 => (-50..0_i16).prop_map(Step::Ms),
        4 => (1..30_u8).prop_map(Step::Seconds),
        1 => (30..100_u8).prop_map(Step::Seconds),
        4 => (-1..=1_i8).prop_map(Step::Deadline),
        3 => (-1..=1_i8).prop_map(Step::Lease),
        1 => (-1..=1_i8).prop_map(Step::OnSale),
    ]
}

fn manner() -> impl Strategy<Value = Manner> {
    let in_time = prop_oneof![
        30 => Just(InTime::Plenty),
        5 => Just(InTime::Seconds),
        1 => Just(InTime::Just),
        1 => Just(InTime::Late),
    ];
    (in_time, known(40)).prop_map(|(in_time, generation)| Manner { in_time, generation })
}

fn known(right: u32) -> impl Strategy<Value = Known> {
    prop_oneof![right => Just(Known::Right), 1 => Just(Known::OneLess), 1 => Just(Known::OneMore)]
}

/// Mostly a booking with the status that the call is meant for.
fn pick(meant: Status) -> impl Strategy<Value = Pick> {
    prop_oneof![
        30 => (0..3_u8).prop_map(move |nth| Pick::With(meant, nth)),
        12 => (0..4_u8).prop_map(Pick::Recent),
        6 => (0..16_u8).prop_map(Pick::Recent),
        1 => Just(Pick::Unknown),
    ]
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![15 => Just(Who::Owner), 1 => any::<u8>().prop_map(Who::User)]
}

fn nonce() -> impl Strategy<Value = Nonce> {
    prop_oneof![6 => Just(Nonce::Fresh), 1 => Just(Nonce::Last)]
}

fn before() -> impl Strategy<Value = Before> {
    prop_oneof![6 => Just(Before::Past), 1 => Just(Before::Now)]
}

fn seats(most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 1..=most)
}

fn hold(most: usize) -> impl Strategy<Value = Act> {
    let key = prop_oneof![6 => Just(Key::Fresh), 2 => (0..2_u8).prop_map(Key::Shared)];
    let window = prop_oneof![6 => Just(Window::Always), 1 => Just(Window::TenSeconds)];
    let room = prop_oneof![30 => Just(Room::Plenty), 1 => Just(Room::None), 1 => Just(Room::One)];
    (any::<u8>(), seats(most), key, known(40), window, room).prop_map(
        |(user, seats, key, layout, window, room)| Act::Hold {
            user,
            seats,
            key,
            layout,
            window,
            room,
        },
    )
}

fn search() -> impl Strategy<Value = Act> {
    let place = prop_oneof![
        2 => Just(Place::Anywhere),
        2 => (0..4_u8).prop_map(Place::Section),
        1 => (0..4_u8).prop_map(Place::NoDearerThan),
    ];
    let key = prop_oneof![6 => Just(Key::Fresh), 1 => (0..2_u8).prop_map(Key::Shared)];
    let look = prop_oneof![
        3 => Just(Look::All),
        1 => (1..20_u8, 1..4_u8).prop_map(|(seats, runs)| Look::Little(seats, runs)),
    ];
    (any::<u8>(), 1..6_u8, place, any::<bool>(), key, look).prop_map(
        |(user, quantity, place, together, key, look)| Act::Search {
            user,
            quantity,
            place,
            together,
            key,
            look,
        },
    )
}

fn block() -> impl Strategy<Value = Act> {
    prop_oneof![
        (seats(3), known(40)).prop_map(|(seats, layout)| Act::Block { seats, layout }),
        (seats(6), known(40)).prop_map(|(seats, layout)| Act::Unblock { seats, layout }),
    ]
}

fn mixed() -> impl Strategy<Value = Act> {
    prop_oneof![
        18 => hold(5),
        14 => search(),
        5 => block(),
        8 => (0..6_u8).prop_map(|nth| Act::Retry { nth }),
        2 => (0..6_u8, any::<u8>(), seats(3))
            .prop_map(|(nth, user, seats)| Act::ReuseId { nth, user, seats }),
        8 => aborts(),
        20 => begin(),
        10 => ends_of_confirmations(),
        12 => (pick(Status::Confirming), known(8), prop::bool::weighted(0.9))
            .prop_map(|(booking, lease, own_payment)| Act::Commit { booking, lease, own_payment }),
        7 => (pick(Status::Hold), who()).prop_map(|(booking, who)| Act::Cancel { booking, who }),
        12 => (pick(Status::Hold), who(), nonce())
            .prop_map(|(booking, who, nonce)| Act::Extend { booking, who, nonce }),
        2 => (0..6_u8).prop_map(|batch| Act::Expire { batch }),
        12 => settle(),
        4 => update(),
        4 => pick(Status::Hold).prop_map(|booking| Act::Get { booking }),
        1 => any::<bool>().prop_map(|needed| Act::Beat { needed }),
        4 => reopening(),
    ]
}

/// Many small holds that hardly anybody goes on with.
fn crowd() -> impl Strategy<Value = Act> {
    prop_oneof![
        90 => hold(1),
        10 => hold(3),
        15 => search(),
        2 => block(),
        3 => (0..6_u8).prop_map(|nth| Act::Retry { nth }),
        3 => begin(),
        3 => (pick(Status::Hold), who(), nonce())
            .prop_map(|(booking, who, nonce)| Act::Extend { booking, who, nonce }),
        1 => (0..30_u8).prop_map(|batch| Act::Expire { batch }),
        3 => reopening(),
        1 => (pick(Status::Hold), who()).prop_map(|(booking, who)| Act::Cancel { booking, who }),
    ]
}

/// Clients that ask again and again, and processes that give up.
fn impatient() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => hold(2),
        3 => search(),
        50 => (0..2_u8).prop_map(|nth| Act::Retry { nth }),
        15 => aborts(),
        2 => begin(),
        2 => ends_of_confirmations(),
        2 => reopening(),
    ]
}

fn aborts() -> impl Strategy<Value = Act> {
    (0..6_u8, prop::bool::weighted(0.9), before()).prop_map(|(nth, own_nonce, before)| Act::Abort {
        nth,
        own_nonce,
        before,
    })
}

fn begin() -> impl Strategy<Value = Act> {
    (pick(Status::Hold), who(), nonce(), 1..60_u8, 1..5_u8).prop_map(
        |(booking, who, nonce, lease_s, attempts_max)| Act::Begin {
            booking,
            who,
            nonce,
            lease_s,
            attempts_max,
        },
    )
}

fn ends_of_confirmations() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (pick(Status::Confirming), known(8)).prop_map(|(booking, lease)| Act::EndLease { booking, lease }),
        2 => (pick(Status::Confirming), prop::bool::weighted(0.8), before()).prop_map(
            |(booking, own_nonce, before)| Act::EndAttempt { booking, own_nonce, before }
        ),
        3 => pick(Status::Confirming).prop_map(|booking| Act::EndLapsed { booking }),
    ]
}

/// Verdicts of all kinds, also on bookings that were never paid for as far as Redis knows.
fn settle() -> impl Strategy<Value = Act> {
    let outcome = prop_oneof![
        3 => Just(Outcome::Sold),
        1 => Just(Outcome::Refund),
        1 => Just(Outcome::Cancelled),
    ];
    let booking = prop_oneof![
        6 => pick(Status::Committed),
        2 => pick(Status::Confirmed),
        1 => pick(Status::Expired),
        1 => pick(Status::Cancelled),
        1 => Just(Pick::Unknown),
    ];
    (booking, outcome, 0..3_u8, seats(3)).prop_map(|(booking, outcome, newer, seats)| Act::Settle {
        booking,
        outcome,
        newer,
        seats,
    })
}

fn update() -> impl Strategy<Value = Act> {
    let status = prop_oneof![
        6 => Just(EventStatus::OnSale),
        1 => Just(EventStatus::Paused),
        2 => Just(EventStatus::Closed),
    ];
    (known(2), status, prop_oneof![4 => Just(-1_i8), 1 => 0..20_i8])
        .prop_map(|(revision, status, on_sale_in_s)| Act::Update { revision, status, on_sale_in_s })
}

fn reopening() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => known(4).prop_map(|generation| Act::Load { generation }),
        4 => prop::bool::weighted(0.8).prop_map(|own_token| Act::Open { own_token }),
    ]
}
