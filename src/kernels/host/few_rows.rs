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
    /// Whether rows are read in one stream, as processors fetch ahead best, where no instruction does.
    const IN_ORDER: bool = false;

    fn input<'x>(&self, x: &'x [f32]) -> Self::Input<'x>;

    fn depth(&self) -> usize;
    fn count(&self) -> usize;

    /// Where rows lie, in one place or in two.
    fn memory(&self, rows: Range<usize>) -> [&[u8]; 2];

    /// Inner products of `W` rows from `first` on with `X` rows of the input from `row` on.
    ///
    /// # Safety
    /// The instructions behind `L` exist, and the rows do.
    unsafe fn dots<L: Lanes, const X: usize, const W: usize>(
        &self,
        input: &Self::Input<'_>,
        row: usize,
        first: usize,
    ) -> [[f32; W]; X];
}

/// `out = x Wᵀ`, `[rows, count]`.
pub fn few_rows<R: WeightRows>(x: &[f32], weights: &R, out: &mut [f32]) {
    struct Piece<'a, 'x, R: WeightRows> {
        input: &'a R::Input<'x>,
        rows: usize,
        weights: &'a R,
        range: Range<usize>,
        out: Shared,
    }
    impl<R: WeightRows> Work for Piece<'_, '_, R> {
        type Output = ();

        #[inline(always)]
        unsafe fn run<L: Lanes>(self) {
            let Self { input, rows, weights, range, out } = self;
            for row in (0..rows).step_by(TOGETHER) {
                // SAFETY: each range of columns is handed out once.
                unsafe {
                    match rows - row {
                        1 => group_of::<L, R, 1, 4>(input, row, weights, range.clone(), out),
                        2 => group_of::<L, R, 2, 2>(input, row, weights, range.clone(), out),
                        3 => group_of::<L, R, 3, 2>(input, row, weights, range.clone(), out),
                        4 => group_of::<L, R, 4, 2>(input, row, weights, range.clone(), out),
                        _ => group_of::<L, R, 5, 2>(input, row, weights, range.clone(), out),
                    }
                }
            }
        }
    }
    let out = Shared::new(out);
    let (work, rows, input) = (x.len() * weights.count(), x.len() / weights.depth(), weights.input(x));
    ranges(weights.count(), PIECE, work, |range| run(Piece { input: &input, rows, weights, range, out }));
}

/// `W` rows of weights at a time, or one.
#[inline(always)]
unsafe fn group_of<L: Lanes, R: WeightRows, const X: usize, const W: usize>(
    input: &R::Input<'_>,
    row: usize,
    weights: &R,
    range: Range<usize>,
    out: Shared,
) {
    unsafe {
        if R::IN_ORDER && !L::PREFETCHES {
            columns_of::<L, R, X, 1>(input, row, weights, range, out)
        } else {
            columns_of::<L, R, X, W>(input, row, weights, range, out)
        }
    }
}

#[inline(always)]
unsafe fn columns_of<L: Lanes, R: WeightRows, const X: usize, const W: usize>(
    input: &R::Input<'_>,
    row: usize,
    weights: &R,
    range: Range<usize>,
    out: Shared,
) {
    let place = |at: usize, column: usize| (row + at) * weights.count() + column;
    let whole = range.start + range.len() / W * W;
    let ahead = AHEAD.div_ceil(weights.memory(0..1)[0].len().max(1));
    for first in (range.start..whole).step_by(W) {
        if L::PREFETCHES && first + ahead + W <= weights.count() {
            for bytes in weights.memory(first + ahead..first + ahead + W) {
                unsafe { prefetch::<L>(bytes) };
            }
        }
        let dots: [[f32; W]; X] = unsafe { weights.dots::<L, X, W>(input, row, first) };
        for (at, dots) in dots.iter().enumerate() {
            unsafe { out.part(place(at, first), W) }.copy_from_slice(dots);
        }
    }
    for first in whole..range.end {
        let dots: [[f32; 1]; X] = unsafe { weights.dots::<L, X, 1>(input, row, first) };
        for (at, [dot]) in dots.into_iter().enumerate() {
            unsafe { out.part(place(at, first), 1) }.fill(dot);
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

impl WeightRows for PlainRows<'_> {
    type Input<'x> = &'x [f32];

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

    #[allow(clippy::needless_range_loop)] // Indices into arrays of a known length keep them in registers.
    #[inline(always)]
    unsafe fn dots<L: Lanes, const X: usize, const W: usize>(
        &self,
        input: &&[f32],
        row: usize,
        first: usize,
    ) -> [[f32; W]; X] {
        let depth = self.depth;
        let x = &input[row * depth..(row + X) * depth];
        let whole = depth - depth % L::COUNT;
        let stride = self.rows.stride;
        let weights = &self.rows.values[first * stride..(first + W - 1) * stride + depth];
        if !L::PREFETCHES {
            let dots: [[f32; X]; W] = std::array::from_fn(|w| {
                let weights = &weights[w * stride..w * stride + depth];
                // As many sums as hide that an addition takes a while, and fit the registers.
                unsafe { if X == 1 { in_order::<L, X, 4>(x, weights) } else { in_order::<L, X, 2>(x, weights) } }
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
        for step in 0..STEPS {
            let at = k + step * L::COUNT;
            let weights = unsafe { L::load(weights.as_ptr().add(at)) };
            for (row, sums) in sums.iter_mut().enumerate() {
                sums[step] = unsafe { sums[step].add_mul(L::load(x.as_ptr().add(row * depth + at)), weights) };
            }
        }
    }
    let rest = |row: usize| (whole..depth).map(|k| x[row * depth + k] * weights[k]).sum::<f32>();
    let sum =
        |row: usize| sums[row].into_iter().reduce(|a, b| unsafe { a.add(b) }).map_or(0.0, |sum| unsafe { sum.sum() });
    std::array::from_fn(|row| sum(row) + rest(row))
}
