//! Which sequences are tried: how often each operation is in them, and in what kinds of sale.

mod paying;

use std::ops::RangeInclusive;

use holdfast::domain::{EventStatus, OrphanRule, Outcome, Status};
use proptest::collection::vec;
use proptest::prelude::*;

use super::operations::{
    Act, Before, Hall, InTime, Key, Known, Look, Manner, Nonce, Op, Pick, Place, Room, Sequence,
    Setting, Step, Who, Window,
};
use paying::{begin, commit, ends_of_confirmations, extend, payers};

/// Seats of `Hall::Wide`.
const SEATS_WIDE: u8 = 48;

/// Sequences of at most about `length` operations.
pub fn sequences(length: usize) -> impl Strategy<Value = Sequence> {
    let few = || setting(Hall::Small, 3..=5, 2..=6);
    let many = || setting(Hall::Wide, 4..=40, 1..=12);
    let queue = setting(Hall::Wide, 30..=50, 1..=2);
    prop_oneof![
        5 => sequence(few(), op(mixed().boxed(), step().boxed()), length),
        2 => sequence(many(), op(mixed().boxed(), step().boxed()), length),
        3 => rush(queue, length),
        2 => sequence(few(), op(end_of_sale().boxed(), step().boxed()), length),
        1 => sequence(few(), op(impatient().boxed(), pause().boxed()), length),
        1 => sequence(few(), op(payers().boxed(), pause().boxed()), length),
        2 => nearly_sold(sequence(many(), op(last_seats().boxed(), step().boxed()), length)),
        1 => ends_in_its_midst(sequence(few(), op(crowd().boxed(), pause().boxed()), length)),
    ]
}

/// Many holds at once, which are overdue at once.
fn rush(setting: impl Strategy<Value = Setting>, length: usize) -> impl Strategy<Value = Sequence> {
    let ask = (crowd(), manner()).prop_map(|(act, manner)| Op::Do(act, manner));
    let wait = (59..70_u8).prop_map(|seconds| Op::Pass(Step::Seconds(seconds)));
    let after = op(crowd().boxed(), pause().boxed());
    (setting, vec(ask, 0..length * 2 / 3), wait, vec(after, 1..length / 4)).prop_map(
        |(setting, mut ops, wait, after)| {
            ops.push(wait);
            ops.extend(after);
            Sequence { setting, ops }
        },
    )
}

/// The same in a house that has kept all seats back but a few neighbours.
fn nearly_sold(sequence: impl Strategy<Value = Sequence>) -> impl Strategy<Value = Sequence> {
    (0..SEATS_WIDE, 2..8_u8, sequence).prop_map(|(first, count, mut sequence)| {
        let seats = (0..SEATS_WIDE).filter(|seat| !(first..first + count).contains(seat));
        let block = Act::Block { seats: seats.collect(), layout: Known::Right };
        sequence.ops.insert(0, Op::Do(block, Manner::default()));
        sequence
    })
}

/// The same, and after half of it the sale's end comes, to the millisecond, while a crowd asks.
fn ends_in_its_midst(sequence: impl Strategy<Value = Sequence>) -> impl Strategy<Value = Sequence> {
    let asks = vec(crowd().prop_map(|act| Op::Do(act, Manner::default())), 3..8);
    (1..5_i8, asks, sequence).prop_map(|(off_sale_in_s, asks, mut sequence)| {
        let end = Act::Update {
            revision: Known::Right,
            status: EventStatus::OnSale,
            on_sale_in_s: -1,
            off_sale_in_s,
        };
        let at_its_end = [Op::Do(end, Manner::default()), Op::Pass(Step::OnSale(0))];
        let middle = sequence.ops.len() / 2;
        sequence.ops.splice(middle..middle, at_its_end.into_iter().chain(asks));
        sequence
    })
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
        24 => (1..200_i16).prop_map(Step::Ms),
        1 => (60..80_u8).prop_map(Step::Seconds),
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

fn hold(most: usize, of_free: f64) -> impl Strategy<Value = Act> {
    let key = prop_oneof![6 => Just(Key::Fresh), 2 => (0..2_u8).prop_map(Key::Shared)];
    let window = prop_oneof![6 => Just(Window::Always), 1 => Just(Window::TenSeconds)];
    let free = prop::bool::weighted(of_free);
    (any::<u8>(), seats(most), free, key, known(40), window, room(), exempt()).prop_map(
        |(user, seats, free, key, layout, window, room, exempt)| Act::Hold {
            user,
            seats,
            free,
            key,
            layout,
            window,
            room,
            exempt,
        },
    )
}

/// Hardly any call is one, so many of them come at the limit.
fn beat() -> impl Strategy<Value = Act> {
    let room = prop_oneof![2 => Just(Room::Plenty), 2 => Just(Room::None), 1 => Just(Room::One)];
    (any::<bool>(), room).prop_map(|(needed, room)| Act::Beat { needed, room })
}

fn room() -> impl Strategy<Value = Room> {
    prop_oneof![30 => Just(Room::Plenty), 1 => Just(Room::None), 1 => Just(Room::One)]
}

fn exempt() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.1)
}

fn retry(latest: u8) -> impl Strategy<Value = Act> {
    (0..latest, exempt()).prop_map(|(nth, exempt)| Act::Retry { nth, exempt })
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
    (any::<u8>(), 1..6_u8, place, any::<bool>(), key, look, exempt()).prop_map(
        |(user, quantity, place, together, key, look, exempt)| Act::Search {
            user,
            quantity,
            place,
            together,
            key,
            look,
            exempt,
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
        18 => hold(5, 0.3),
        14 => search(),
        5 => block(),
        3 => forget(),
        8 => retry(6),
        2 => (0..6_u8, any::<u8>(), seats(3))
            .prop_map(|(nth, user, seats)| Act::ReuseId { nth, user, seats }),
        8 => aborts(),
        20 => begin(),
        10 => ends_of_confirmations(),
        12 => commit(),
        7 => (pick(Status::Hold), who()).prop_map(|(booking, who)| Act::Cancel { booking, who }),
        12 => extend(),
        2 => (0..6_u8).prop_map(|batch| Act::Expire { batch }),
        12 => settle(),
        4 => update(),
        4 => pick(Status::Hold).prop_map(|booking| Act::Get { booking }),
        1 => beat(),
        4 => reopening(),
    ]
}

/// Many small holds that hardly anybody goes on with.
fn crowd() -> impl Strategy<Value = Act> {
    prop_oneof![
        90 => hold(1, 0.2),
        10 => hold(3, 0.2),
        8 => search(),
        3 => retry(6),
        3 => begin(),
        3 => extend(),
        1 => (0..30_u8).prop_map(|batch| Act::Expire { batch }),
        1 => (pick(Status::Hold), who()).prop_map(|(booking, who)| Act::Cancel { booking, who }),
    ]
}

/// Who gets what is left, and what comes free once more.
fn last_seats() -> impl Strategy<Value = Act> {
    prop_oneof![
        40 => hold(2, 0.9),
        15 => search(),
        8 => block(),
        12 => (pick(Status::Hold), who()).prop_map(|(booking, who)| Act::Cancel { booking, who }),
        6 => begin(),
        6 => ends_of_confirmations(),
        3 => reopening(),
    ]
}

/// Closed events are taken out, and come back with what was sold.
fn end_of_sale() -> impl Strategy<Value = Act> {
    let status = prop_oneof![1 => Just(EventStatus::OnSale), 2 => Just(EventStatus::Closed)];
    prop_oneof![
        12 => hold(2, 0.7),
        4 => block(),
        8 => begin(),
        2 => ends_of_confirmations(),
        8 => commit(),
        8 => settle(),
        8 => (pick(Status::Hold), who()).prop_map(|(booking, who)| Act::Cancel { booking, who }),
        8 => extend(),
        4 => (0..6_u8).prop_map(|batch| Act::Expire { batch }),
        8 => forget(),
        10 => status.prop_map(|status| Act::Update {
            revision: Known::Right,
            status,
            on_sale_in_s: -1,
            off_sale_in_s: -1,
        }),
        16 => known(8).prop_map(|version| Act::Unload { version }),
        12 => known(12).prop_map(|generation| Act::Load { generation }),
        24 => (prop::bool::weighted(0.9), 0..6_u8, vec(any::<u8>(), 0..4)).prop_map(
            |(own_token, count, blocked)| Act::Place { own_token, count, blocked }
        ),
        6 => prop::bool::weighted(0.8).prop_map(|own_token| Act::Open { own_token }),
    ]
}

fn forget() -> impl Strategy<Value = Act> {
    let keep_s = prop_oneof![2 => Just(0_u8), 1 => 1..60_u8];
    (1..12_u8, known(8), keep_s).prop_map(|(count, version, keep_s)| Act::Forget {
        count,
        version,
        keep_s,
    })
}

/// Clients that ask again and again, and processes that give up.
fn impatient() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => hold(2, 0.5),
        3 => search(),
        50 => retry(2),
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
        2 => Just(Pick::Unknown),
    ];
    let taken = prop::bool::weighted(0.7);
    (booking, outcome, 0..3_u8, seats(3), taken).prop_map(
        |(booking, outcome, newer, seats, taken)| Act::Settle {
            booking,
            outcome,
            newer,
            seats,
            taken,
        },
    )
}

fn update() -> impl Strategy<Value = Act> {
    let status = prop_oneof![
        6 => Just(EventStatus::OnSale),
        1 => Just(EventStatus::Paused),
        2 => Just(EventStatus::Closed),
    ];
    let in_s = |max: i8| prop_oneof![4 => Just(-1_i8), 1 => 0..max];
    (known(2), status, in_s(20), in_s(60)).prop_map(
        |(revision, status, on_sale_in_s, off_sale_in_s)| Act::Update {
            revision,
            status,
            on_sale_in_s,
            off_sale_in_s,
        },
    )
}

fn reopening() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => known(4).prop_map(|generation| Act::Load { generation }),
        4 => prop::bool::weighted(0.8).prop_map(|own_token| Act::Open { own_token }),
    ]
}
