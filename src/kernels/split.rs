//! A matrix of which less than half is read where only the greatest of its products matter: whole numbers of 28 bits and a
//! scale a row, the upper twelve bits of each, with which products are nearly right, apart from the rest.

use super::host;
use super::upload::tensor;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use std::ops::Range;
use std::sync::Arc;

/// A matrix `[out, in]` in the memory of the host. Its values are at most three roundings of f32 away from what they were, or
/// a 2²⁸th of their row's greatest.
#[derive(Module, Debug)]
pub struct SplitWeight {
    /// Coarse numbers, `[out, in · 3 / 4]`: words, as `coarse` reads them.
    #[module(skip)]
    words: Arc<Vec<i16>>,
    /// What coarse numbers leave out, `[out, in]`; one of theirs counts for 4096 of these.
    #[module(skip)]
    fine: Arc<Vec<i16>>,
    /// What a fine number is multiplied by, a row each.
    #[module(skip)]
    pub scales: Arc<Vec<f32>>,
    /// The greatest length of a row of what coarse numbers are off by.
    #[module(skip)]
    pub reach: f32,
    /// The greatest length of a group of coarse numbers.
    #[module(skip)]
    pub longest: f32,
    /// The greatest length of a row of what they stand for.
    #[module(skip)]
    pub longest_row: f32,
    /// The mean of all rows, and by how much their values vary, `[in]` each.
    #[module(skip)]
    pub mean: Arc<Vec<f32>>,
    #[module(skip)]
    pub variance: Arc<Vec<f32>>,
    pub rows: usize,
    pub columns: usize,
    #[module(skip)]
    device: Device,
}

/// A [`SplitWeight`] to be, row after row.
pub struct Splitting {
    columns: usize,
    words: Vec<i16>,
    fine: Vec<i16>,
    scales: Vec<f32>,
    reach: f32,
    longest: f32,
    longest_row: f32,
    sums: Vec<f32>,
    squares: Vec<f32>,
}

/// Values that are summed in whole numbers. Rows are of whole groups.
pub const GROUP: usize = 64;
/// What a coarse number counts for.
pub const COARSE: f32 = (1 << PARTS) as f32;
const PARTS: u32 = 12;
/// Bits of a digit, and those of the last.
const DIGIT: u32 = 4;
const LAST: i32 = (1 << DIGIT) - 1;
/// Weights of a quarter of a group, which are read together.
pub const WORDS: usize = 16;
/// Words of a group: one each of three quarters of its weights, with last digits that make the last quarter's.
pub const WORDS_OF_GROUP: usize = 3 * WORDS;

/// The number of a row's greatest value: one whose upper bits are the greatest there are, whatever the digit below them.
const GREATEST: f32 = (0x7ff << 16) as f32;

/// Bytes of f32 from which on a matrix is split: smaller ones stay in caches, where reading them takes no time.
const LEAST_BYTES: usize = 8 << 20;

/// What the greatest value of a row is taken for at least, so that scales are normal numbers.
const LEAST_GREATEST: f32 = 1e-27;

/// The coarse numbers of a group. A word is one as it is: it was chosen with its last digit of four bits in view. These
/// digits of three words make that one number is the sum of the words, each raised by one more digit than the next.
pub fn coarse(words: &[i16; WORDS_OF_GROUP]) -> [i16; GROUP] {
    let sum = |at: usize| (0..3).fold(0i16, |sum, quarter| sum.wrapping_add(words[quarter * WORDS + at]) << DIGIT);
    std::array::from_fn(|at| if at < WORDS_OF_GROUP { words[at] } else { sum(at - WORDS_OF_GROUP) })
}

/// The words and the fine numbers of a group of numbers.
fn split(numbers: &[i32; GROUP]) -> ([i16; WORDS_OF_GROUP], [i16; GROUP]) {
    const HALF: i32 = 1 << 15;
    let (mut words, mut fine) = ([0; WORDS_OF_GROUP], [0; GROUP]);
    for at in 0..WORDS {
        let other = numbers[WORDS_OF_GROUP + at];
        let mut left = (other + HALF) >> 16;
        fine[WORDS_OF_GROUP + at] = (other - (left << 16)) as i16;
        for place in (0..3).rev().map(|quarter| quarter * WORDS + at) {
            let digit = left & LAST;
            let word = (numbers[place] - (digit << PARTS) + HALF) >> 16 << DIGIT | digit;
            words[place] = word as i16;
            fine[place] = (numbers[place] - (word << PARTS)) as i16;
            left = (left - word) >> DIGIT;
        }
    }
    (words, fine)
}

/// A number of its parts.
pub fn joined(coarse: i16, fine: i16) -> f32 {
    ((i32::from(coarse) << PARTS) + i32::from(fine)) as f32
}

impl Splitting {
    /// Whether a matrix can be split, and gains from it where `device` computes.
    pub fn suits([rows, columns]: [usize; 2], device: &Device) -> bool {
        let large = rows * columns >= LEAST_BYTES / size_of::<f32>() && columns.is_multiple_of(GROUP);
        large && host::in_host_memory(device) && !device.is_autodiff()
    }

    /// # Panics
    /// If rows are not of whole groups.
    pub fn new([rows, columns]: [usize; 2]) -> Self {
        assert!(columns > 0 && columns.is_multiple_of(GROUP), "rows of whole groups of {GROUP}");
        Self {
            columns,
            words: Vec::with_capacity(rows * columns / GROUP * WORDS_OF_GROUP),
            fine: Vec::with_capacity(rows * columns),
            scales: Vec::with_capacity(rows),
            reach: 0.0,
            longest: 1.0,
            longest_row: 0.0,
            sums: vec![0.0; columns],
            squares: vec![0.0; columns],
        }
    }

    /// Adds rows, unless one has a value that is not finite.
    #[must_use]
    pub fn extend(&mut self, values: &[f32]) -> bool {
        values.chunks_exact(self.columns).all(|row| {
            let greatest = row.iter().fold(0.0f32, |most, value| most.max(value.abs()));
            let finite = row.iter().all(|value| value.is_finite());
            if finite {
                self.add(row, greatest.max(LEAST_GREATEST) / GREATEST);
            }
            finite
        })
    }

    fn add(&mut self, row: &[f32], scale: f32) {
        let inverse = scale.recip();
        let [mut of_row, mut off] = [0.0f32; 2];
        for (group, at) in row.as_chunks::<GROUP>().0.iter().zip((0..).step_by(GROUP)) {
            let (words, fine) = split(&group.map(|value| (value * inverse).round_ties_even() as i32));
            self.words.extend(words);
            self.fine.extend(fine);
            let coarse = coarse(&words);
            for (column, coarse) in (at..).zip(coarse) {
                let value = f32::from(coarse) * (COARSE * scale);
                self.sums[column] += value;
                self.squares[column] += value * value;
            }
            self.longest = self.longest.max(squares(&coarse, f32::from).sqrt());
            // Half a digit more is all that the fine one can add.
            of_row += squares(&coarse, |coarse| (f32::from(coarse).abs() + 8.0) * COARSE);
            off += squares(&fine, f32::from);
        }
        self.longest_row = self.longest_row.max(of_row.sqrt() * scale);
        self.reach = self.reach.max(off.sqrt() * scale);
        self.scales.push(scale);
    }

    /// # Panics
    /// If no row was added, or one of another length.
    pub fn into_weight(self, device: &Device) -> SplitWeight {
        let Self { columns, words, fine, scales, reach, longest, longest_row, sums: mut mean, squares: mut variance } =
            self;
        let rows = scales.len();
        assert!(rows > 0 && fine.len() == rows * columns, "rows of one length");
        let share = 1.0 / rows as f32;
        mean.iter_mut().for_each(|sum| *sum *= share);
        variance.iter_mut().zip(&mean).for_each(|(square, mean)| *square = (*square * share - mean * mean).max(0.0));
        let [mean, variance, scales] = [mean, variance, scales].map(Arc::new);
        let [words, fine] = [words, fine].map(Arc::new);
        SplitWeight {
            words,
            fine,
            scales,
            reach,
            longest,
            longest_row,
            mean,
            variance,
            rows,
            columns,
            device: device.clone(),
        }
    }
}

/// The sum of squares of what is made of a group's numbers.
fn squares(group: &[i16; GROUP], value: impl Fn(i16) -> f32) -> f32 {
    // Several sums, so that registers can hold them.
    let mut sums = [0.0f32; WORDS];
    for part in group.as_chunks::<WORDS>().0 {
        sums.iter_mut().zip(part).for_each(|(sum, number)| *sum += value(*number).powi(2));
    }
    sums.iter().sum()
}

impl SplitWeight {
    pub fn device(&self) -> Device {
        self.device.clone()
    }

    /// Where the words of these rows lie.
    pub fn words_of(&self, rows: Range<usize>) -> &[i16] {
        let of_row = self.columns / GROUP * WORDS_OF_GROUP;
        &self.words[rows.start * of_row..rows.end * of_row]
    }

    /// The fine numbers of these rows.
    pub fn fine_of(&self, rows: Range<usize>) -> &[i16] {
        &self.fine[rows.start * self.columns..rows.end * self.columns]
    }

    /// Writes a row's values from `at` on, where a group begins, whole groups.
    pub fn values(&self, row: usize, at: usize, place: &mut [f32]) {
        let groups =
            self.words_of(row..row + 1).as_chunks().0.iter().zip(self.fine_of(row..row + 1).as_chunks::<GROUP>().0);
        for (place, (words, fine)) in place.as_chunks_mut::<GROUP>().0.iter_mut().zip(groups.skip(at / GROUP)) {
            let coarse = coarse(words);
            *place = std::array::from_fn(|at| joined(coarse[at], fine[at]) * self.scales[row]);
        }
    }

    /// The rows with these numbers.
    ///
    /// # Shapes
    /// n numbers → `[n, in]`
    pub fn rows(&self, numbers: &[u32]) -> Tensor<2> {
        let mut values = vec![0.0; numbers.len() * self.columns];
        let places = values.chunks_exact_mut(self.columns);
        places.zip(numbers).for_each(|(place, number)| self.values(*number as usize, 0, place));
        tensor(values, [numbers.len(), self.columns], &self.device)
    }

    /// The whole matrix.
    ///
    /// # Shapes
    /// → `[out, in]`
    pub fn unpacked(&self) -> Tensor<2> {
        let rows: Vec<u32> = (0..self.rows as u32).collect();
        self.rows(&rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_all_sizes_are_found_again() {
        let greatest = 0.7f32;
        let steps = (0..GROUP).map(|at| greatest * (at as f32 / 31.5 - 1.0)).collect::<Vec<_>>();
        let powers = (0..GROUP).map(|at| (-1.5f32).powi(-(at as i32))).collect();
        let turns = (0..GROUP).map(|at| if at % 3 == 0 { greatest } else { -greatest }).collect();
        let one = (0..GROUP).map(|at| if at == 50 { -3e30 } else { 1.0 }).collect();
        for row in [steps, powers, turns, one, vec![0.0; GROUP], vec![1e-40; GROUP], vec![f32::MAX / 2.0; GROUP]] {
            let mut parts = Splitting::new([1, GROUP]);
            assert!(parts.extend(&row));
            let weight = parts.into_weight(&Device::flex());
            let mut found = vec![f32::NAN; GROUP];
            weight.values(0, 0, &mut found);
            let most = row.iter().fold(LEAST_GREATEST, |most, value| most.max(value.abs()));
            for (found, value) in found.iter().zip(&row) {
                let off = 2.0f32.powi(-23) * value.abs() + 2.0f32.powi(-27) * most;
                assert!((found - value).abs() <= off, "{found}, {value} of {most}");
            }
            // What is read first is half a digit of twelve bits off at most.
            for (coarse, value) in coarse(weight.words.as_chunks().0.first().expect("a group")).iter().zip(&row) {
                let off = f32::from(*coarse) * COARSE * weight.scales[0] - value;
                assert!(off.abs() <= most / 4000.0, "{off} of {most}");
            }
        }
    }
}
