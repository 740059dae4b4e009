//! Products of many rows with packed weights in whole numbers: codes as they are, the other matrix rounded to sixteen
//! bits group by group as in [`CountedRows`](super::packed::CountedRows), two products where floats make one.
//!
//! A row of the left matrix is, block by block of inner products, its numbers in pairs and then two values a group; a
//! panel of the right one is lines of pairs and then two lines a group. The sum of a group's products is
//! `count · a · a' + b · b'`: of weights a is the scale and b the bias, of the other matrix a is the scale and b the sum of
//! what its numbers stand for.

use super::convolution::Patches;
use super::lanes::{Lanes, MOST_LANES, SQUARE, Work, run};
use super::packed::PackedRows;
use super::parallel::{Room, ranges};
use super::product::{BLOCK, Left, Right, Rows, turn};
use std::ops::Range;

/// The most rows of a tile, so that registers hold counts and sums both where they are many.
const ROWS: usize = 6;
/// Smaller groups are more work than they save.
const LEAST_GROUP: usize = 32;
const MOST_GROUPS: usize = BLOCK / LEAST_GROUP;
/// What the greatest value of a group becomes.
const GREATEST: f32 = i16::MAX as f32;
/// Values of a group beside its numbers.
const PARTS: usize = 2;

/// Whether it is possible with these weights, and faster on this machine.
pub fn pays(weights: &PackedRows<'_>) -> bool {
    super::lanes::counts_pairs() && suits(weights)
}

/// Whether blocks are whole groups.
pub fn suits(weights: &PackedRows<'_>) -> bool {
    weights.group >= LEAST_GROUP && BLOCK.is_multiple_of(weights.group)
}

/// 32-bit words of so many inner products of a row or of a panel's column.
fn words(depth: usize, group: usize) -> usize {
    depth / 2 + depth / group * PARTS
}

/// Inner products of `T` rows with the columns of a panel.
#[allow(clippy::needless_range_loop)] // Indices into arrays of a known length keep them in registers.
#[inline(always)]
unsafe fn tile<L: Lanes, const T: usize>(
    depth: usize,
    group: usize,
    rows: [*const f32; T],
    panel: *const f32,
) -> [[L; 2]; T] {
    let width = 2 * L::COUNT;
    unsafe {
        let mut sums = [[L::splat(0.0); 2]; T];
        let right = |line: usize| {
            let at = panel.add(line * width);
            [L::load(at), L::load(at.add(L::COUNT))]
        };
        for index in 0..depth / group {
            // The bits of zero are those of no count.
            let mut counts = [[L::splat(0.0); 2]; T];
            for pair in index * group / 2..(index + 1) * group / 2 {
                let right = right(pair);
                for r in 0..T {
                    let left = L::splat(*rows[r].add(pair));
                    counts[r] = [counts[r][0].add_pairs(left, right[0]), counts[r][1].add_pairs(left, right[1])];
                }
            }
            let line = depth / 2 + index * PARTS;
            let (scales, others) = (right(line), right(line + 1));
            for r in 0..T {
                let [scale, other] = [0, 1].map(|part| L::splat(*rows[r].add(line + part)));
                for half in 0..2 {
                    let sum = sums[r][half].add_mul(counts[r][half].whole(), scales[half].mul(scale));
                    sums[r][half] = sum.add_mul(others[half], other);
                }
            }
        }
        sums
    }
}

/// Writes the codes of a row's block as pairs, and behind them the scale and bias of each group.
#[inline(always)]
unsafe fn unpack<L: Lanes>(weights: &PackedRows<'_>, row: usize, depth: &Range<usize>, place: &mut [f32]) {
    let (pairs, parts) = place.split_at_mut(depth.len() / 2);
    let codes = weights.code(row, depth.start);
    // Groups are whole registers of pairs.
    for (index, pairs) in pairs.chunks_exact_mut(L::COUNT).enumerate() {
        let at = index * L::COUNT;
        // SAFETY: so many codes are left.
        unsafe {
            match weights.bits {
                8 => L::byte_pairs(codes.add(2 * at)).store(pairs.as_mut_ptr()),
                _ => L::nibble_pairs(codes.add(at)).store(pairs.as_mut_ptr()),
            }
        }
    }
    let first = row * (weights.depth / weights.group) + depth.start / weights.group;
    for (place, pair) in parts.chunks_exact_mut(PARTS).zip(&weights.scales[first..]) {
        place.copy_from_slice(&super::packed::scale_and_bias(*pair));
    }
}

/// Packed weights as the left matrix, or, a column a row of them, as the right one.
pub struct CountedWeights<'a>(pub &'a PackedRows<'a>);

impl Left for CountedWeights<'_> {
    const MOST_ROWS: usize = ROWS;

    #[inline(always)]
    unsafe fn rows<L: Lanes, const T: usize>(
        &self,
        first: usize,
        depth: Range<usize>,
        scratch: &mut [f32],
    ) -> [*const f32; T] {
        let length = words(depth.len(), self.0.group);
        for (row, place) in scratch.chunks_exact_mut(length).enumerate().take(T) {
            unsafe { unpack::<L>(self.0, (first + row).min(self.0.count - 1), &depth, place) };
        }
        std::array::from_fn(|row| scratch[row * length..].as_ptr())
    }

    #[inline(always)]
    unsafe fn tile<L: Lanes, const T: usize>(
        &self,
        depth: usize,
        rows: [*const f32; T],
        panel: *const f32,
    ) -> [[L; 2]; T] {
        unsafe { tile::<L, T>(depth, self.0.group, rows, panel) }
    }
}

impl Right for CountedWeights<'_> {
    #[inline(always)]
    unsafe fn pack<L: Lanes>(&self, depth: Range<usize>, first: usize, width: usize, panel: &mut [f32]) {
        let mut values = [[0.0f32; BLOCK / 2 + MOST_GROUPS * PARTS]; SQUARE];
        let length = words(depth.len(), self.0.group);
        for left in (0..width).step_by(SQUARE) {
            for (column, values) in values.iter_mut().enumerate() {
                let row = (first + left + column).min(self.0.count - 1);
                unsafe { unpack::<L>(self.0, row, &depth, &mut values[..length]) };
            }
            unsafe { turn::<L>(values.each_ref().map(|values| &values[..length]), left, width, panel) };
        }
    }
}

/// Rows of values as the left matrix.
pub struct RoundedRows {
    words: Room,
    count: usize,
    depth: usize,
    group: usize,
}

impl RoundedRows {
    /// # Panics
    /// If `depth` is not a whole number of groups.
    pub fn new(rows: Rows<'_>, [count, depth]: [usize; 2], group: usize) -> Self {
        assert!(depth.is_multiple_of(group), "{depth} values in groups of {group}");
        let length = words(depth, group);
        let mut all = Room::new(count * length);
        let to = all.shared();
        ranges(count, count, count * depth * 4, |range| {
            for row in range {
                // SAFETY: each row is handed out once, and written before it is read.
                let place = unsafe { to.part(row * length, length) };
                run(Rounding { row: &rows.values[row * rows.stride..][..depth], group, place });
            }
        });
        Self { words: all, count, depth, group }
    }
}

impl Left for RoundedRows {
    const MOST_ROWS: usize = ROWS;

    #[inline(always)]
    unsafe fn rows<L: Lanes, const T: usize>(
        &self,
        first: usize,
        depth: Range<usize>,
        _scratch: &mut [f32],
    ) -> [*const f32; T] {
        let (row, block) = (words(self.depth, self.group), words(depth.start, self.group));
        std::array::from_fn(|index| {
            let start = (first + index).min(self.count - 1) * row + block;
            // SAFETY: all rows have been written.
            unsafe { self.words.part(start, words(depth.len(), self.group)) }.as_ptr()
        })
    }

    #[inline(always)]
    unsafe fn tile<L: Lanes, const T: usize>(
        &self,
        depth: usize,
        rows: [*const f32; T],
        panel: *const f32,
    ) -> [[L; 2]; T] {
        unsafe { tile::<L, T>(depth, self.group, rows, panel) }
    }
}

/// One row as numbers of sixteen bits.
struct Rounding<'a> {
    row: &'a [f32],
    group: usize,
    place: &'a mut [f32],
}

impl Work for Rounding<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Self { row, group, mut place } = self;
        for block in row.chunks(BLOCK) {
            let (of_block, rest) = std::mem::take(&mut place).split_at_mut(words(block.len(), group));
            place = rest;
            let (pairs, parts) = of_block.split_at_mut(block.len() / 2);
            for ((values, pairs), parts) in
                block.chunks_exact(group).zip(pairs.chunks_exact_mut(group / 2)).zip(parts.chunks_exact_mut(PARTS))
            {
                unsafe {
                    let mut seen = Seen::new();
                    values.chunks_exact(L::COUNT).for_each(|values| seen.look(L::load(values.as_ptr())));
                    let (scale, inverse) = scale_of(L::splat(seen.most.greatest()));
                    let mut sum = L::splat(0.0);
                    let numbers = pairs.as_mut_ptr().cast::<i16>();
                    for (at, values) in values.chunks_exact(L::COUNT).enumerate() {
                        let number = L::load(values.as_ptr()).mul(inverse).round();
                        number.store_numbers(numbers.add(at * L::COUNT));
                        sum = sum.add(number);
                    }
                    let scale = scale.values()[0] + seen.odd.sum();
                    parts.copy_from_slice(&[scale, scale * sum.sum()]);
                }
            }
        }
    }
}

/// What a group's values are rounded by.
#[derive(Clone, Copy)]
struct Seen<L> {
    /// The greatest magnitudes.
    most: L,
    /// Zeros, or what is no number once a value was none or infinite; so is what becomes of them.
    odd: L,
}

impl<L: Lanes> Seen<L> {
    #[inline(always)]
    unsafe fn new() -> Self {
        let zero = unsafe { L::splat(0.0) };
        Self { most: zero, odd: zero }
    }

    #[inline(always)]
    unsafe fn look(&mut self, values: L) {
        unsafe {
            let zero = L::splat(0.0);
            self.most = self.most.max(values.max(zero.sub(values)));
            self.odd = self.odd.add_mul(values, zero);
        }
    }
}

/// What numbers are worth for greatest magnitudes, and what to multiply values with for them. Magnitudes that are too small
/// to divide by get coarser numbers.
#[inline(always)]
unsafe fn scale_of<L: Lanes>(most: L) -> (L, L) {
    unsafe {
        // A little more than nothing, so that the quotient stays finite.
        let scale = most.mul(L::splat(1.0 / GREATEST)).max(L::splat(f32::MIN_POSITIVE));
        (scale, L::splat(1.0).div(scale))
    }
}

/// Patches of an image as the right matrix.
pub struct RoundedPatches<'a> {
    pub patches: &'a Patches<'a>,
    pub group: usize,
}

impl Right for RoundedPatches<'_> {
    #[inline(always)]
    unsafe fn pack<L: Lanes>(&self, depth: Range<usize>, first: usize, width: usize, panel: &mut [f32]) {
        let (group, length) = (self.group, depth.len());
        debug_assert!(length.is_multiple_of(group), "{length} values in groups of {group}");
        let mut parts = [[0.0f32; 2 * MOST_LANES]; MOST_GROUPS * PARTS];
        unsafe { self.patches.pack::<L>(depth, first, width, panel) };
        let values = panel.as_mut_ptr();
        for index in 0..length / group {
            for half in [0, L::COUNT] {
                // SAFETY: the panel has been filled, and pairs are never behind what they are made of.
                unsafe {
                    let value = |line: usize| L::load(values.add(line * width + half));
                    let lines = index * group..(index + 1) * group;
                    let mut seen = Seen::new();
                    lines.clone().for_each(|line| seen.look(value(line)));
                    let (scale, inverse) = scale_of(seen.most);
                    let mut sum = L::splat(0.0);
                    for line in lines.step_by(2) {
                        let [a, b] = [value(line), value(line + 1)].map(|value| value.mul(inverse).round());
                        sum = sum.add(a.add(b));
                        a.paired(b).store(values.add(line / 2 * width + half));
                    }
                    let scale = scale.add(seen.odd);
                    scale.store(parts[index * PARTS][half..].as_mut_ptr());
                    scale.mul(sum).store(parts[index * PARTS + 1][half..].as_mut_ptr());
                }
            }
        }
        let behind = panel[length / 2 * width..].chunks_exact_mut(width);
        behind.zip(&parts[..length / group * PARTS]).for_each(|(line, part)| line.copy_from_slice(&part[..width]));
    }
}
