//! Products with a matrix in two parts: with both, and with coarse numbers alone.

use super::few_rows::{WeightRows, bytes};
use super::lanes::{Lanes, SQUARE, Work, total};
use super::packed::CountedRows;
use super::product::{BLOCK, Right, turn};
use crate::kernels::split::{COARSE, GROUP, SplitWeight, WORDS, WORDS_OF_GROUP};
use std::ops::Range;

/// Both parts.
#[derive(Clone, Copy)]
pub struct SplitRows<'a>(pub &'a SplitWeight);

impl SplitRows<'_> {
    pub fn dims(&self) -> [usize; 2] {
        [self.0.rows, self.0.columns]
    }

    /// Inner products of `X` rows with `W` rows of weights, with `SUMS` registers of sums for each.
    #[allow(clippy::needless_range_loop)] // Indices into arrays of a known length keep them in registers.
    #[inline(always)]
    unsafe fn dots_in<L: Lanes, const X: usize, const W: usize, const SUMS: usize>(
        &self,
        x: &[f32],
        rows: [usize; W],
    ) -> [[f32; W]; X] {
        let depth = self.0.columns;
        let x = &x[..X * depth];
        let words = rows.map(|row| self.0.words_of(row..row + 1).as_ptr());
        let fine = rows.map(|row| self.0.fine_of(row..row + 1).as_ptr());
        unsafe {
            let mut sums = [[[L::splat(0.0); SUMS]; W]; X];
            for group in 0..depth / GROUP {
                for w in 0..W {
                    let coarse = coarse::<L>(words[w].add(group * WORDS_OF_GROUP));
                    for quarter in 0..4 {
                        let at = group * GROUP + quarter * WORDS;
                        let weights = L::joined(coarse[quarter], fine[w].add(at));
                        for (part, weights) in weights.as_ref().iter().enumerate() {
                            for row in 0..X {
                                let x = L::load(x.as_ptr().add(row * depth + at + part * L::COUNT));
                                let sum = &mut sums[row][w][(quarter * (WORDS / L::COUNT) + part) % SUMS];
                                *sum = sum.add_mul(x, *weights);
                            }
                        }
                    }
                }
            }
            let mut dots = [[0.0; W]; X];
            for row in 0..X {
                for w in 0..W {
                    dots[row][w] = total(sums[row][w]) * self.0.scales[rows[w]];
                }
            }
            dots
        }
    }
}

impl WeightRows for SplitRows<'_> {
    type Input<'x> = &'x [f32];
    type Reader<'a>
        = (SplitRows<'a>, &'a [f32])
    where
        Self: 'a;

    fn input<'x>(&self, x: &'x [f32]) -> &'x [f32] {
        x
    }

    fn depth(&self) -> usize {
        self.0.columns
    }

    fn count(&self) -> usize {
        self.0.rows
    }

    #[inline(always)]
    fn memory(&self, rows: Range<usize>) -> [&[u8]; 2] {
        [bytes(self.0.words_of(rows.clone())), bytes(self.0.fine_of(rows))]
    }

    #[inline(always)]
    fn reader<'a>(&'a self, input: &'a &[f32], row: usize, x: usize) -> (SplitRows<'a>, &'a [f32]) {
        (SplitRows(self.0), &input[row * self.0.columns..(row + x) * self.0.columns])
    }

    #[inline(always)]
    unsafe fn dots<L: Lanes, const X: usize, const W: usize>(
        (weights, x): (SplitRows<'_>, &[f32]),
        rows: [usize; W],
    ) -> [[f32; W]; X] {
        unsafe { weights.dots_in::<L, X, W, 2>(x, rows) }
    }
}

impl Right for SplitRows<'_> {
    #[inline(always)]
    unsafe fn pack<L: Lanes>(&self, depth: Range<usize>, first: usize, width: usize, panel: &mut [f32]) {
        let mut values = [[0.0f32; BLOCK]; SQUARE];
        for left in (0..width).step_by(SQUARE) {
            for (column, values) in values.iter_mut().enumerate() {
                let row = (first + left + column).min(self.0.rows - 1);
                self.0.values(row, depth.start, &mut values[..depth.len()]);
            }
            unsafe { turn::<L>(values.each_ref().map(|values| &values[..depth.len()]), left, width, panel) };
        }
    }
}

/// Coarse numbers, multiplied as whole ones.
pub struct CoarseRows<'a>(pub &'a SplitWeight);

/// Coarse numbers beside counted rows.
#[derive(Clone, Copy)]
pub struct CoarseReader<'a> {
    words: &'a [i16],
    scales: &'a [f32],
    depth: usize,
    numbers: &'a [i16],
    scales_of_x: &'a [f32],
    stride: usize,
}

impl WeightRows for CoarseRows<'_> {
    type Input<'x> = CountedRows;
    type Reader<'a>
        = CoarseReader<'a>
    where
        Self: 'a;

    fn input(&self, x: &[f32]) -> CountedRows {
        CountedRows::new(x, self.0.columns, GROUP, self.0.longest, 16)
    }

    fn depth(&self) -> usize {
        self.0.columns
    }

    fn count(&self) -> usize {
        self.0.rows
    }

    #[inline(always)]
    fn memory(&self, rows: Range<usize>) -> [&[u8]; 2] {
        [bytes(self.0.words_of(rows)), &[]]
    }

    #[inline(always)]
    fn reader<'a>(&'a self, input: &'a CountedRows, row: usize, x: usize) -> CoarseReader<'a> {
        let (SplitWeight { scales, rows, columns, .. }, stride) = (self.0, input.stride);
        CoarseReader {
            words: self.0.words_of(0..*rows),
            scales: &scales[..*rows],
            depth: *columns,
            numbers: &input.numbers[row * columns..(row + x) * columns],
            scales_of_x: &input.scales[row * stride..(row + x) * stride],
            stride,
        }
    }

    #[allow(clippy::needless_range_loop)] // Indices into arrays of a known length keep them in registers.
    #[inline(always)]
    unsafe fn dots<L: Lanes, const X: usize, const W: usize>(
        reader: CoarseReader<'_>,
        rows: [usize; W],
    ) -> [[f32; W]; X] {
        let CoarseReader { depth, stride, .. } = reader;
        unsafe {
            let of_row = depth / GROUP * WORDS_OF_GROUP;
            let words = rows.map(|row| reader.words.as_ptr().add(row * of_row));
            let (numbers, scales) = (reader.numbers.as_ptr(), reader.scales_of_x.as_ptr());
            let mut sums = [[L::splat(0.0); W]; X];
            for group in 0..depth / GROUP {
                let mut counts = [[L::no_counts(); W]; X];
                let coarse: [_; W] = std::array::from_fn(|w| coarse::<L>(words[w].add(group * WORDS_OF_GROUP)));
                let numbers = numbers.add(X * group * GROUP);
                for quarter in 0..4 {
                    for x in 0..X {
                        for w in 0..W {
                            let numbers = numbers.add((X * quarter + x) * WORDS);
                            counts[x][w] = L::count(counts[x][w], coarse[w][quarter], numbers);
                        }
                    }
                }
                for x in 0..X {
                    let scale = L::splat(*scales.add(x * stride + group));
                    for w in 0..W {
                        sums[x][w] = sums[x][w].add_mul(L::counted(counts[x][w]), scale);
                    }
                }
            }
            let mut dots = [[0.0; W]; X];
            for x in 0..X {
                for w in 0..W {
                    dots[x][w] = sums[x][w].sum() * (COARSE * *reader.scales.get_unchecked(rows[w]));
                }
            }
            dots
        }
    }
}

/// Inner products with some rows of weights.
pub struct Dots<'a> {
    pub weights: &'a SplitWeight,
    pub x: &'a [f32],
    pub rows: &'a [u32],
}

impl Work for Dots<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) -> Vec<f32> {
        let mut dots = Vec::with_capacity(self.rows.len());
        for row in self.rows {
            let [[dot]] = unsafe { SplitRows(self.weights).dots_in::<L, 1, 1, 4>(self.x, [*row as usize]) };
            dots.push(dot);
        }
        dots
    }
}

/// The coarse numbers of a group.
#[inline(always)]
unsafe fn coarse<L: Lanes>(words: *const i16) -> [L::Codes; 4] {
    unsafe {
        let [first, second, third] =
            [L::numbers(words), L::numbers(words.add(WORDS)), L::numbers(words.add(2 * WORDS))];
        [first, second, third, L::raised_sum(L::raised_sum(L::raised(first), second), third)]
    }
}
