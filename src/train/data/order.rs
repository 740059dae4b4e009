//! Who comes when, and with which luck: pure functions of seed, epoch and position.

use crate::train::seed::{scramble, seed_of};

/// Rounds of the network below; four make a good shuffle, two more cost nothing beside reading a row.
const ROUNDS: usize = 6;

/// The random numbers of one position of an epoch.
pub fn item_random(seed: u64, epoch: u64, position: u64) -> fastrand::Rng {
    fastrand::Rng::with_seed(seed_of(&[seed, epoch, position]))
}

/// A shuffle of `0..len` that holds nothing in memory: a Feistel network over the next power of four, walked until it
/// falls below `len`.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    len: u64,
    half: u32,
    keys: [u64; ROUNDS],
}

impl Order {
    pub fn new(len: u64, seed: u64, epoch: u64) -> Self {
        let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
        let keys = std::array::from_fn(|round| seed_of(&[seed, epoch, round as u64]));
        Self { len, half: bits.div_ceil(2).max(1), keys }
    }

    /// The row at a position. Positions beyond the end begin again from the front.
    pub fn at(&self, position: u64) -> u64 {
        if self.len == 0 {
            return 0;
        }
        let mut row = self.step(position % self.len);
        // The network permutes at most four times as many numbers, so this ends, mostly at once.
        while row >= self.len {
            row = self.step(row);
        }
        row
    }

    fn step(&self, value: u64) -> u64 {
        let mask = u64::MAX >> (u64::BITS - self.half);
        let halves = (value >> self.half, value & mask);
        let (left, right) = self.keys.iter().fold(halves, |(left, right), key| {
            let mixed = scramble(right ^ key) & mask;
            (right, left ^ mixed)
        });
        (left << self.half) | right
    }
}
