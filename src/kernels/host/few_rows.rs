//! `x Wᵀ` for the few rows of a decoding step: every weight is read once, where it lies, and used for all rows.

use super::lanes::{Lanes, Work, prefetch, run};
use super::parallel::{Shared, ranges};
use super::product::Rows;
use std::ops::Range;

/// Rows of `x` whose sums fit the registers together.
pub(super) const TOGETHER: usize = 5;
/// Rows of weights between which threads share the work.
const PIECE: usize = 256;

/// How far ahead of what is multiplied weights are asked for, where there is an instruction for it: two pages of memory,
/// since processors fetch ahead on their own only within one.
const AHEAD: usize = 8192;

/// A matrix of weights `[count, depth]` whose rows a kernel reads from left to right.
pub trait WeightRows: Sync {
    /// The rows of `x` as the kernel reads them.
    type Input<'x>: Sync;
    /// The matrix and some rows of the input by where they lie, which a loop over rows of weights keeps in registers.
    type Reader<'a>: Copy
    where
        Self: 'a;
    /// Rows of weights that are read at once for one row of `x` where no instruction fetches memory ahead. Processors do
    /// that on their own, best in one stream; several pay where multiplying takes longer than reading.
    const STREAMS: usize = 1;

    fn input<'x>(&self, x: &'x [f32]) -> Self::Input<'x>;

    fn depth(&self) -> usize;
    fn count(&self) -> usize;

    /// Where rows lie, in one place or in two.
    fn memory(&self, rows: Range<usize>) -> [&[u8]; 2];

    /// For `x` rows of the input from `row` on.
    fn reader<'a>(&'a self, input: &'a Self::Input<'_>, row: usize, x: usize) -> Self::Reader<'a>;

    /// Inner products of `W` rows from `first` on with the reader's `X` rows of the input.
    ///
    /// # Safety
    /// The instructions behind `L` exist, and the rows do.
    unsafe fn dots<L: Lanes, const X: usize, const W: usize>(reader: Self::Reader<'_>, first: usize) -> [[f32; W]; X];
}

/// Writes all of `out = x Wᵀ`, `[rows, count]`.
pub fn few_rows<R: WeightRows>(x: &[f32], weights: &R, out: Shared) {
    let (work, rows, input) = (x.len() * weights.count(), x.len() / weights.depth(), weights.input(x));
    ranges(weights.count(), PIECE, work, |range| {
        for row in (0..rows).step_by(TOGETHER) {
            let (input, range) = (&input, range.clone());
            match rows - row {
                1 => run(Columns::<R, 1, 4> { input, row, weights, range, out }),
                2 => run(Columns::<R, 2, 2> { input, row, weights, range, out }),
                3 => run(Columns::<R, 3, 2> { input, row, weights, range, out }),
                4 => run(Columns::<R, 4, 2> { input, row, weights, range, out }),
                _ => run(Columns::<R, 5, 2> { input, row, weights, range, out }),
            }
        }
    });
}

/// Columns of what becomes of `X` rows, made of `W` rows of weights at a time.
struct Columns<'a, 'x, R: WeightRows, const X: usize, const W: usize> {
    input: &'a R::Input<'x>,
    row: usize,
    weights: &'a R,
    range: Range<usize>,
    /// Whose columns of `range` nobody else writes.
    out: Shared,
}

impl<R: WeightRows, const X: usize, const W: usize> Work for Columns<'_, '_, R, X, W> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        unsafe {
            match (X, R::STREAMS) {
                _ if L::PREFETCHES => self.by::<L, W>(),
                (1, 4..) => self.by::<L, 4>(),
                (1 | 2, 2..) => self.by::<L, 2>(),
                _ => self.by::<L, 1>(),
            }
        }
    }
}

impl<R: WeightRows, const X: usize, const W: usize> Columns<'_, '_, R, X, W> {
    #[inline(always)]
    unsafe fn by<L: Lanes, const TAKEN: usize>(self) {
        let Self { input, row, weights, range, out } = self;
        let (reader, count) = (weights.reader(input, row, X), weights.count());
        let place = |at: usize, column: usize| (row + at) * count + column;
        let whole = range.start + range.len() / TAKEN * TAKEN;
        let ahead = AHEAD.div_ceil(weights.memory(0..1)[0].len().max(1));
        for first in (range.start..whole).step_by(TAKEN) {
            if L::PREFETCHES && first + ahead + TAKEN <= count {
                for bytes in weights.memory(first + ahead..first + ahead + TAKEN) {
                    unsafe { prefetch::<L>(bytes) };
                }
            }
            let dots: [[f32; TAKEN]; X] = unsafe { R::dots::<L, X, TAKEN>(reader, first) };
            for (at, dots) in dots.iter().enumerate() {
                // SAFETY: nobody else writes these columns.
                unsafe { out.part(place(at, first), TAKEN) }.copy_from_slice(dots);
            }
        }
        for first in whole..range.end {
            let dots: [[f32; 1]; X] = unsafe { R::dots::<L, X, 1>(reader, first) };
            for (at, [dot]) in dots.into_iter().enumerate() {
                unsafe { out.part(place(at, first), 1) }.fill(dot);
            }
        }
    }
}

/// Values as the memory that holds them.
pub(super) fn bytes<T: Copy>(values: &[T]) -> &[u8] {
    // SAFETY: numbers have no padding, and any byte is a u8.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// Weights in f32.
pub struct PlainRows<'a> {
    pub rows: Rows<'a>,
    pub depth: usize,
    pub count: usize,
}

/// Weights in f32 beside rows of `x`.
#[derive(Clone, Copy)]
pub struct PlainReader<'a> {
    rows: Rows<'a>,
    depth: usize,
    x: &'a [f32],
}

impl WeightRows for PlainRows<'_> {
    type Input<'x> = &'x [f32];
    type Reader<'a>
        = PlainReader<'a>
    where
        Self: 'a;

    fn input<'x>(&self, x: &'x [f32]) -> &'x [f32] {
        x
    }

    fn depth(&self) -> usize {
        self.depth
    }

    fn count(&self) -> usize {
        self.count
    }

    #[inline(always)]
    fn memory(&self, rows: Range<usize>) -> [&[u8]; 2] {
        let stride = self.rows.stride;
        [bytes(&self.rows.values[rows.start * stride..(rows.end - 1) * stride + self.depth]), &[]]
    }

    #[inline(always)]
    fn reader<'a>(&'a self, input: &'a &[f32], row: usize, x: usize) -> PlainReader<'a> {
        let depth = self.depth;
        PlainReader { rows: self.rows, depth, x: &input[row * depth..(row + x) * depth] }
    }

    #[allow(clippy::needless_range_loop)] // Indices into arrays of a known length keep them in registers.
    #[inline(always)]
    unsafe fn dots<L: Lanes, const X: usize, const W: usize>(
        PlainReader { rows: Rows { values, stride }, depth, x }: PlainReader<'_>,
        first: usize,
    ) -> [[f32; W]; X] {
        let whole = depth - depth % L::COUNT;
        let weights = &values[first * stride..(first + W - 1) * stride + depth];
        if !L::PREFETCHES {
            let dots: [[f32; X]; W] = std::array::from_fn(|w| {
                let weights = &weights[w * stride..w * stride + depth];
                // As many sums as hide that an addition takes a while, and fit the registers.
                unsafe { if X == 1 { in_order::<L, X, 4>(x, weights) } else { in_order::<L, X, 1>(x, weights) } }
            });
            return std::array::from_fn(|row| std::array::from_fn(|w| dots[w][row]));
        }
        unsafe {
            let mut sums = [[L::splat(0.0); W]; X];
            for k in (0..whole).step_by(L::COUNT) {
                let weights: [L; W] = std::array::from_fn(|w| L::load(weights.as_ptr().add(w * stride + k)));
                for (row, sums) in sums.iter_mut().enumerate() {
                    let x = L::load(x.as_ptr().add(row * depth + k));
                    for w in 0..W {
                        sums[w] = sums[w].add_mul(x, weights[w]);
                    }
                }
            }
            let mut dots = sums.map(|sums| sums.map(|sum| sum.sum()));
            for k in whole..depth {
                for (row, dots) in dots.iter_mut().enumerate() {
                    for (w, dot) in dots.iter_mut().enumerate() {
                        *dot += x[row * depth + k] * weights[w * stride + k];
                    }
                }
            }
            dots
        }
    }
}

/// Inner products of `X` rows with one row of weights, read from left to right in one stream, as processors fetch ahead
/// best.
#[inline(always)]
unsafe fn in_order<L: Lanes, const X: usize, const STEPS: usize>(x: &[f32], weights: &[f32]) -> [f32; X] {
    let depth = weights.len();
    let whole = depth - depth % (STEPS * L::COUNT);
    let mut sums = [[unsafe { L::splat(0.0) }; STEPS]; X];
    for k in (0..whole).step_by(STEPS * L::COUNT) {
        let weights = unsafe { weights.as_ptr().add(k) };
        let x: [*const f32; X] = std::array::from_fn(|row| unsafe { x.as_ptr().add(row * depth + k) });
        for step in 0..STEPS {
            let weights = unsafe { L::load(weights.add(step * L::COUNT)) };
            for (x, sums) in x.iter().zip(&mut sums) {
                sums[step] = unsafe { sums[step].add_mul(L::load(x.add(step * L::COUNT)), weights) };
            }
        }
    }
    let rest = |row: usize| (whole..depth).map(|k| x[row * depth + k] * weights[k]).sum::<f32>();
    let sum =
        |row: usize| sums[row].into_iter().reduce(|a, b| unsafe { a.add(b) }).map_or(0.0, |sum| unsafe { sum.sum() });
    std::array::from_fn(|row| sum(row) + rest(row))
}
