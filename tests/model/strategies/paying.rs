//! Payments: begun, ended, committed, under keys of their callers' own; and extensions, which have
//! such keys, too.

use holdfast::domain::Status;
use proptest::prelude::*;

use super::super::operations::{Act, Pick, RequestKey};
use super::{before, hold, known, nonce, pick, room, seats, settle, who};

/// Callers who pay for their last bookings again and again, with one card and another.
pub(super) fn payers() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => hold(1, 0.9),
        24 => begin_of((0..2_u8).prop_map(Pick::Recent).boxed()),
        10 => ends_of_confirmations(),
        5 => commit(),
        1 => settle(),
        4 => extend(),
    ]
}

pub(super) fn commit() -> impl Strategy<Value = Act> {
    (pick(Status::Confirming), known(8), prop::bool::weighted(0.9))
        .prop_map(|(booking, lease, own_payment)| Act::Commit { booking, lease, own_payment })
}

pub(super) fn begin() -> impl Strategy<Value = Act> {
    let meant = prop_oneof![
        5 => pick(Status::Hold),
        1 => pick(Status::Committed),
        1 => pick(Status::Confirmed),
    ];
    begin_of(meant.boxed())
}

fn begin_of(meant: BoxedStrategy<Pick>) -> impl Strategy<Value = Act> {
    (meant, who(), nonce(), 1..60_u8, 1..5_u8, own_key()).prop_map(
        |(booking, who, nonce, lease_s, attempts_max, key)| Act::Begin {
            booking,
            who,
            nonce,
            lease_s,
            attempts_max,
            key,
        },
    )
}

pub(super) fn extend() -> impl Strategy<Value = Act> {
    (pick(Status::Hold), who(), nonce(), own_key(), room())
        .prop_map(|(booking, who, nonce, key, room)| Act::Extend { booking, who, nonce, key, room })
}

fn own_key() -> impl Strategy<Value = RequestKey> {
    prop_oneof![
        1 => Just(RequestKey::None),
        1 => (0..2_u8, 0..2_u8).prop_map(|(key, request)| RequestKey::Shared(key, request)),
    ]
}

pub(super) fn ends_of_confirmations() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (pick(Status::Confirming), known(8)).prop_map(|(booking, lease)| Act::EndLease { booking, lease }),
        2 => (pick(Status::Confirming), prop::bool::weighted(0.8), before()).prop_map(
            |(booking, own_nonce, before)| Act::EndAttempt { booking, own_nonce, before }
        ),
        3 => (pick(Status::Confirming), nonce(), 1..60_u8).prop_map(
            |(booking, nonce, lease_s)| Act::TakeOver { booking, nonce, lease_s }
        ),
        4 => late(),
    ]
}

/// Money that came after all.
fn late() -> impl Strategy<Value = Act> {
    let booking = prop_oneof![
        4 => pick(Status::Expired),
        2 => pick(Status::Confirming),
        1 => pick(Status::Hold),
        1 => pick(Status::Cancelled),
        1 => pick(Status::Voided),
        1 => pick(Status::Committed),
        1 => Just(Pick::Unknown),
    ];
    (booking, seats(3)).prop_map(|(booking, seats)| Act::Late { booking, seats })
}
