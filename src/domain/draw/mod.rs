//! The draw of a pre-queue: which place each of those who joined before the sale gets. Pure.
//!
//! What it promises:
//!
//! * Everybody's place is computed from their number, the number of joiners and a seed: no list is
//!   written, none is kept, and any process gives the same answer in microseconds.
//! * The places are a permutation: nobody shares one, none is left empty.
//! * All permutations are as likely as they can be told apart: see the tests, and the decision
//!   page for the exact bias of the smallest draws.
//! * Anybody can compute it again: [`evidence`] says from what, and this is how.
//!
//! A place is found by a balanced Feistel network of [`ROUNDS`] rounds on numbers from 0, over the
//! smallest domain of 4^h that has room for all joiners. Its round function is the first 8 bytes,
//! big-endian, of SHA-256(seed ‖ round, 1 byte ‖ right half, 8 bytes big-endian), of which the
//! lowest h bits count. What falls outside the joiners goes through it again until it falls
//! inside. Such networks make even permutations alone, of which one more bit, the lowest of round
//! 24's function of 0, makes odd ones too: if it is set, the first two numbers change roles.

mod evidence;
#[cfg(test)]
mod tests;

use ring::digest::{SHA256, digest};

pub use evidence::{
    DrawFault, DrawStatus, PublicDraw, SECRET_BYTES, commitment, hex, next_join, seed,
};

/// What this computation is called where a draw is published. Another one gets another name.
pub const ALGORITHM: &str = "feistel-sha256-v1";
/// Bytes of a seed.
pub const SEED_BYTES: usize = 32;
/// Passes of the network's round. The bias of the smallest draws halves with each: 24 leave
/// 2 in a million. Large ones would do with far fewer.
const ROUNDS: u8 = 24;
/// What a round hashes: the seed, the round, a half.
const ROUND_BYTES: usize = SEED_BYTES + 1 + 8;

/// A draw whose outcome is fixed. Numbers and places begin with 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draw {
    seed: [u8; SEED_BYTES],
    joiners: u64,
    /// Bits of one half of the domain, 1 to 32.
    half_bits: u32,
    /// Whether the first two numbers change roles.
    is_crossed: bool,
}

impl Draw {
    /// The draw among the numbers 1 to `joiners`.
    pub fn new(seed: [u8; SEED_BYTES], joiners: u64) -> Self {
        let bits = u64::BITS - joiners.saturating_sub(1).leading_zeros();
        let half_bits = bits.div_ceil(2).max(1);
        let mut draw = Draw { seed, joiners, half_bits, is_crossed: false };
        draw.is_crossed = joiners >= 2 && draw.round(ROUNDS, 0) & 1 == 1;
        draw
    }

    /// How many are in it.
    pub fn joiners(&self) -> u64 {
        self.joiners
    }

    /// The place of a number. A number that is not in the draw is its own place.
    pub fn place(&self, number: u64) -> u64 {
        if !self.has(number) {
            return number;
        }
        self.walk(self.crossed(number - 1), |value| self.forth(value)) + 1
    }

    /// The number that has a place.
    pub fn number(&self, place: u64) -> u64 {
        if !self.has(place) {
            return place;
        }
        self.crossed(self.walk(place - 1, |value| self.back(value))) + 1
    }

    fn has(&self, number: u64) -> bool {
        (1..=self.joiners).contains(&number)
    }

    /// The first two change roles, or nobody does.
    fn crossed(&self, value: u64) -> u64 {
        if self.is_crossed && value < 2 { value ^ 1 } else { value }
    }

    /// Applies a permutation of the domain until it leads to one of the joiners. It does: its
    /// cycle comes back to where it began, and that is inside. So the walk is bounded by the
    /// values outside, at most three for each joiner, and has four steps at most on average.
    fn walk(&self, from: u64, step: impl Fn(u64) -> u64) -> u64 {
        let mut value = step(from);
        while value >= self.joiners {
            value = step(value);
        }
        value
    }

    fn forth(&self, value: u64) -> u64 {
        let (mut left, mut right) = self.halves(value);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ self.round(round, right));
        }
        left << self.half_bits | right
    }

    fn back(&self, value: u64) -> u64 {
        let (mut left, mut right) = self.halves(value);
        for round in (0..ROUNDS).rev() {
            (left, right) = (right ^ self.round(round, left), left);
        }
        left << self.half_bits | right
    }

    fn halves(&self, value: u64) -> (u64, u64) {
        (value >> self.half_bits, value & self.half_mask())
    }

    fn half_mask(&self) -> u64 {
        (1 << self.half_bits) - 1
    }

    fn round(&self, round: u8, half: u64) -> u64 {
        let mut input = [0; ROUND_BYTES];
        let (seed, rest) = input.split_at_mut(SEED_BYTES);
        seed.copy_from_slice(&self.seed);
        rest[0] = round;
        rest[1..].copy_from_slice(&half.to_be_bytes());
        let hash = digest(&SHA256, &input);
        // SHA-256 has 32 bytes.
        let first = hash.as_ref().first_chunk().copied().unwrap_or_default();
        u64::from_be_bytes(first) & self.half_mask()
    }
}
