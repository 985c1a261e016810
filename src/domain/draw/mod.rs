//! The draw of a pre-queue: assigns a place to everybody who joined before the sale. Pure.
//!
//! Guarantees:
//!
//! * Each place is computed from the number, the number of joiners and a seed: no list is stored, and
//!   any process computes the same place in microseconds.
//! * The places are a permutation: no place is shared and none is empty.
//! * All permutations are equally likely, as far as this can be measured: see the tests, and the
//!   decision page for the exact bias of the smallest draws.
//! * Anybody can recompute it from the [`evidence`], as described here.
//!
//! A place is computed by a balanced Feistel network of [`ROUNDS`] rounds on numbers from 0, over the
//! smallest domain of 4^h that has room for all joiners. Its round function is the first 8 bytes,
//! big-endian, of SHA-256(seed ‖ round, 1 byte ‖ right half, 8 bytes big-endian), of which the
//! lowest h bits count. A result outside the joiners is passed through again until it is inside.
//! Such networks produce only even permutations; one more bit, the lowest of round 24's function of
//! 0, produces the odd ones: if it is set, the first two numbers are swapped.

mod evidence;
#[cfg(test)]
mod tests;

use ring::digest::{SHA256, digest};

pub use evidence::{
    DrawFault, DrawStatus, PublicDraw, SECRET_BYTES, commitment, hex, next_join, seed,
};

/// The published name of this algorithm. A different algorithm needs a different name.
pub const ALGORITHM: &str = "feistel-sha256-v1";
/// Bytes of a seed.
pub const SEED_BYTES: usize = 32;
/// Rounds of the network. The bias of the smallest draws halves with each: 24 leave 2 in a million.
/// Large draws would need far fewer.
const ROUNDS: u8 = 24;
/// Bytes hashed per round: the seed, the round, a half.
const ROUND_BYTES: usize = SEED_BYTES + 1 + 8;

/// A draw with a fixed result. Numbers and places begin with 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draw {
    seed: [u8; SEED_BYTES],
    joiners: u64,
    /// Bits of one half of the domain, 1 to 32.
    half_bits: u32,
    /// Whether the first two numbers are swapped.
    is_swapped: bool,
}

impl Draw {
    /// The draw among the numbers 1 to `joiners`.
    pub fn new(seed: [u8; SEED_BYTES], joiners: u64) -> Self {
        let bits = u64::BITS - joiners.saturating_sub(1).leading_zeros();
        let half_bits = bits.div_ceil(2).max(1);
        let mut draw = Draw { seed, joiners, half_bits, is_swapped: false };
        draw.is_swapped = joiners >= 2 && draw.round(ROUNDS, 0) & 1 == 1;
        draw
    }

    /// The number of joiners.
    pub fn joiners(&self) -> u64 {
        self.joiners
    }

    /// The place of a number. A number outside the draw is its own place.
    pub fn place(&self, number: u64) -> u64 {
        if !self.has(number) {
            return number;
        }
        self.walk(self.swapped(number - 1), |value| self.encrypt(value)) + 1
    }

    /// The number that has a place.
    pub fn number(&self, place: u64) -> u64 {
        if !self.has(place) {
            return place;
        }
        self.swapped(self.walk(place - 1, |value| self.decrypt(value))) + 1
    }

    fn has(&self, number: u64) -> bool {
        (1..=self.joiners).contains(&number)
    }

    /// Swaps the first two numbers, if set.
    fn swapped(&self, value: u64) -> u64 {
        if self.is_swapped && value < 2 { value ^ 1 } else { value }
    }

    /// Applies a permutation of the domain until the value is one of the joiners (cycle walking). It
    /// terminates: the cycle returns to its start, which is inside. The walk is bounded by the number
    /// of values outside, at most three per joiner, and has at most four steps on average.
    fn walk(&self, from: u64, step: impl Fn(u64) -> u64) -> u64 {
        let mut value = step(from);
        while value >= self.joiners {
            value = step(value);
        }
        value
    }

    fn encrypt(&self, value: u64) -> u64 {
        let (mut left, mut right) = self.halves(value);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ self.round(round, right));
        }
        left << self.half_bits | right
    }

    fn decrypt(&self, value: u64) -> u64 {
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
        // A SHA-256 has 32 bytes.
        let first = hash.as_ref().first_chunk().copied().unwrap_or_default();
        u64::from_be_bytes(first) & self.half_mask()
    }
}
