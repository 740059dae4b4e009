//! `x Wᵀ` for the few rows of a decoding step: every weight is read once, where it lies, and used for all rows.

use super::lanes::{Lanes, Work, prefetch, run, total};
use super::parallel::{Shared, ranges};
use super::product::Rows;
use std::ops::Range;

/// Rows of `x` whose sums fit the registers together.
pub(super) const TOGETHER: usize = 5;
/// Rows of weights that stay in a cache until all rows of `x` have met them.
const PIECE: usize = 256;

/// How far ahead of what is multiplied weights are asked for, where neighbours are read together and there is an
/// instruction for it: two pages of memory, since processors fetch ahead on their own only within one.
const AHEAD: usize = 8192;

/// A matrix of weights `[count, depth]` whose rows a kernel reads from left to right.
pub trait WeightRows: Sync {
    /// The rows of `x` as the kernel reads them.
    type Input<'x>: Sync;
    /// The matrix and some rows of the input by where they lie, which a loop over rows of weights keeps in registers.
    type Reader<'a>: Copy
    where
        Self: 'a;
    /// Rows of weights that are read at once for one row of `x`: from as many places far apart, since processors fetch
    /// ahead of each on their own, and of one alone too little. Four, or two for two rows, pay where multiplying takes
    /// longer than reading, and neighbours where an instruction fetches ahead then.
    const STREAMS: usize = 2;

    fn input<'x>(&self, x: &'x [f32]) -> Self::Input<'x>;

    fn depth(&self) -> usize;
    fn count(&self) -> usize;

    /// Where rows lie, in one place or in two.
    fn memory(&self, rows: Range<usize>) -> [&[u8]; 2];

    /// For `x` rows of the input from `row` on.
    fn reader<'a>(&'a self, input: &'a Self::Input<'_>, row: usize, x: usize) -> Self::Reader<'a>;

    /// Inner products of `W` rows of weights with the reader's `X` rows of the input.
    ///
    /// # Safety
    /// The instructions behind `L` exist, and the rows do.
    unsafe fn dots<L: Lanes, const X: usize, const W: usize>(
        reader: Self::Reader<'_>,
        rows: [usize; W],
    ) -> [[f32; W]; X];
}

/// Writes all of `out = x Wᵀ`, `[rows, count]`.
pub fn few_rows<R: WeightRows>(x: &[f32], weights: &R, out: Shared) {
    let (count, rows, input) = (weights.count(), x.len() / weights.depth(), weights.input(x));
    ranges(count, if rows <= TOGETHER { count.max(1) } else { PIECE }, x.len() * count, |range| {
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
                (1, 2) => self.in_streams::<L, 2>(),
                _ if L::PREFETCHES => self.in_one::<L, W>(),
                (1, 4..) => self.in_streams::<L, 4>(),
                (2, 4..) => self.in_streams::<L, 2>(),
                _ => self.in_one::<L, 1>(),
            }
        }
    }
}

impl<R: WeightRows, const X: usize, const W: usize> Columns<'_, '_, R, X, W> {
    /// `TAKEN` rows at once, which lie in as many parts of the range.
    #[inline(always)]
    unsafe fn in_streams<L: Lanes, const TAKEN: usize>(self) {
        let Range { start, end } = self.range.clone();
        let part = (end - start) / TAKEN;
        let reader = self.weights.reader(self.input, self.row, X);
        for first in start..start + part {
            unsafe { self.write::<L, TAKEN>(reader, std::array::from_fn(|stream| first + stream * part)) };
        }
        for column in start + TAKEN * part..end {
            unsafe { self.write::<L, 1>(reader, [column]) };
        }
    }

    /// `TAKEN` neighbours at once.
    #[inline(always)]
    unsafe fn in_one<L: Lanes, const TAKEN: usize>(self) {
        let (weights, Range { start, end }) = (self.weights, self.range.clone());
        let reader = weights.reader(self.input, self.row, X);
        let ahead = AHEAD.div_ceil(weights.memory(0..1)[0].len().max(1));
        let whole = start + (end - start) / TAKEN * TAKEN;
        for first in (start..whole).step_by(TAKEN) {
            if L::PREFETCHES && first + ahead + TAKEN <= weights.count() {
                for bytes in weights.memory(first + ahead..first + ahead + TAKEN) {
                    unsafe { prefetch::<L>(bytes) };
                }
            }
            unsafe { self.write::<L, TAKEN>(reader, std::array::from_fn(|at| first + at)) };
        }
        for column in whole..end {
            unsafe { self.write::<L, 1>(reader, [column]) };
        }
    }

    #[inline(always)]
    unsafe fn write<L: Lanes, const TAKEN: usize>(&self, reader: R::Reader<'_>, columns: [usize; TAKEN]) {
        let dots: [[f32; TAKEN]; X] = unsafe { R::dots::<L, X, TAKEN>(reader, columns) };
        for (row, dots) in (self.row..).zip(dots) {
            for (column, dot) in columns.into_iter().zip(dots) {
                // SAFETY: nobody else writes these columns.
                unsafe { self.out.part(row * self.weights.count() + column, 1) }.fill(dot);
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
        rows: [usize; W],
    ) -> [[f32; W]; X] {
        let weights = rows.map(|row| &values[row * stride..row * stride + depth]);
        // As many sums as hide that an addition takes a while, and fit the registers; for any `W`, since threads cut
        // matrices into ranges of any length.
        unsafe { if X > 1 && L::PREFETCHES { dots::<L, X, W, 1>(x, weights) } else { dots::<L, X, W, 2>(x, weights) } }
    }
}

/// Inner products of `X` rows with `W` rows of weights of the same length, with `SUMS` registers of sums for each.
#[allow(clippy::needless_range_loop)] // Indices into arrays of a known length keep them in registers.
#[inline(always)]
unsafe fn dots<L: Lanes, const X: usize, const W: usize, const SUMS: usize>(
    x: &[f32],
    weights: [&[f32]; W],
) -> [[f32; W]; X] {
    let depth = weights[0].len();
    let whole = depth - depth % (SUMS * L::COUNT);
    let mut sums = [[[unsafe { L::splat(0.0) }; SUMS]; W]; X];
    for k in (0..whole).step_by(SUMS * L::COUNT) {
        for part in 0..SUMS {
            let k = k + part * L::COUNT;
            let weights: [L; W] = std::array::from_fn(|w| unsafe { L::load(weights[w].as_ptr().add(k)) });
            for row in 0..X {
                let x = unsafe { L::load(x.as_ptr().add(row * depth + k)) };
                for w in 0..W {
                    sums[row][w][part] = unsafe { sums[row][w][part].add_mul(x, weights[w]) };
                }
            }
        }
    }
    let mut dots = [[0.0; W]; X];
    for row in 0..X {
        for w in 0..W {
            let rest: f32 = (whole..depth).map(|k| x[row * depth + k] * weights[w][k]).sum();
            dots[row][w] = unsafe { total(sums[row][w]) } + rest;
        }
    }
    dots
}
