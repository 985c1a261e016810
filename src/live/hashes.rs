//! Bookings and users as 64-bit hashes. The key is random per process, so that nobody can choose names
//! that collide.

use std::hash::{BuildHasher, RandomState};

use foldhash::quality::RandomState as FastState;

use crate::domain::{BookingId, UserId};

/// The holder of a free seat.
pub(super) const FREE: u64 = 0;
/// The holder of a seat that the house blocks.
pub(super) const HOUSE: u64 = u64::MAX;

/// A user's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Holder(pub(super) u64);

impl Holder {
    /// No user.
    pub const NOBODY: Holder = Holder(0);
}

/// The hash functions of one process. Cheap to clone. A user is hashed with each request; two of them
/// with one hash only make Redis decide requests that a view could have refused.
#[derive(Clone, Default)]
pub(super) struct Hashes {
    users: FastState,
    bookings: RandomState,
}

impl Hashes {
    /// A user's hash.
    pub fn user(&self, user: &UserId) -> Holder {
        match self.users.hash_one(user.as_str()) {
            0 => Holder(1),
            hash => Holder(hash),
        }
    }

    /// A booking's hash; never [`FREE`] or [`HOUSE`].
    pub fn booking(&self, booking: BookingId) -> u64 {
        match self.bookings.hash_one(booking.uuid().as_u128()) {
            FREE | HOUSE => 1,
            hash => hash,
        }
    }
}
