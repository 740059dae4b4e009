//! Products with a matrix in two halves: whole ones, and the few greatest of many, for which most rows are half read.

use super::Values;
use super::few_rows::{WeightRows, bytes, few_rows};
use super::lanes::{Lanes, SQUARE, Work, run};
use super::math::exp;
use super::packed::{CountedRows, SIXTEEN};
use super::parallel::Shared;
use super::product::{BLOCK, Right, turn};
use crate::kernels::halved::{GROUP, HalvedWeight, UPPER, joined};
use crate::kernels::top_k::{Best, above, best};
use burn::tensor::Tensor;
use std::ops::Range;

/// What the logarithm of a sum of exponentials may be off by for halves that were not read: a tenth of what log-probabilities
/// may differ from the reference's.
const ERROR: f64 = 1e-5;

/// The usual distance between rough and whole products from which on all are made whole.
const FAR: f64 = 0.1;

/// The length of `x` below which squares of its values are nothing.
const LEAST_LENGTH: f32 = 1e-15;

/// Products by which it is estimated how far off all of them are.
const SAMPLED: usize = 64;

/// Both halves.
#[derive(Clone, Copy)]
pub struct HalvedRows<'a>(&'a HalvedWeight);

impl<'a> HalvedRows<'a> {
    pub fn of(weight: &'a HalvedWeight) -> Self {
        Self(weight)
    }

    pub fn dims(&self) -> [usize; 2] {
        [self.0.rows, self.0.columns]
    }

    #[inline(always)]
    fn value(&self, row: usize, at: usize) -> f32 {
        let at = row * self.0.columns + at;
        joined(self.0.upper[at], self.0.lower[at]) * self.0.scales[row]
    }

    /// Inner products of `X` rows with `W` rows of weights, with `STEPS` pairs of registers of sums for each.
    #[allow(clippy::needless_range_loop)] // Indices into arrays of a known length keep them in registers.
    #[inline(always)]
    unsafe fn dots_in<L: Lanes, const X: usize, const W: usize, const STEPS: usize>(
        &self,
        x: &[f32],
        first: usize,
    ) -> [[f32; W]; X] {
        let depth = self.0.columns;
        let x = &x[..X * depth];
        let upper: [*const i16; W] = std::array::from_fn(|w| self.0.upper[(first + w) * depth..][..depth].as_ptr());
        let lower: [*const u16; W] = std::array::from_fn(|w| self.0.lower[(first + w) * depth..][..depth].as_ptr());
        unsafe {
            let mut sums = [[[[L::splat(0.0); 2]; STEPS]; W]; X];
            for k in (0..depth).step_by(2 * STEPS * L::COUNT) {
                for step in 0..STEPS {
                    let at = k + 2 * step * L::COUNT;
                    let weights: [[L; 2]; W] = std::array::from_fn(|w| L::joined(upper[w].add(at), lower[w].add(at)));
                    for row in 0..X {
                        for half in 0..2 {
                            let x = L::load(x.as_ptr().add(row * depth + at + half * L::COUNT));
                            for w in 0..W {
                                sums[row][w][step][half] = sums[row][w][step][half].add_mul(x, weights[w][half]);
                            }
                        }
                    }
                }
            }
            let mut dots = [[0.0; W]; X];
            for row in 0..X {
                for w in 0..W {
                    let mut sum = sums[row][w][0][0].add(sums[row][w][0][1]);
                    for step in 1..STEPS {
                        sum = sum.add(sums[row][w][step][0].add(sums[row][w][step][1]));
                    }
                    dots[row][w] = sum.sum() * self.0.scales[first + w];
                }
            }
            dots
        }
    }
}

impl WeightRows for HalvedRows<'_> {
    type Input<'x> = &'x [f32];
    type Reader<'a>
        = (HalvedRows<'a>, &'a [f32])
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
        let range = rows.start * self.0.columns..rows.end * self.0.columns;
        [bytes(&self.0.upper[range.clone()]), bytes(&self.0.lower[range])]
    }

    #[inline(always)]
    fn reader<'a>(&'a self, input: &'a &[f32], row: usize, x: usize) -> (HalvedRows<'a>, &'a [f32]) {
        (HalvedRows(self.0), &input[row * self.0.columns..(row + x) * self.0.columns])
    }

    #[inline(always)]
    unsafe fn dots<L: Lanes, const X: usize, const W: usize>(
        (rows, x): (HalvedRows<'_>, &[f32]),
        first: usize,
    ) -> [[f32; W]; X] {
        // As many sums as hide that an addition takes a while, and fit the registers.
        unsafe { if X * W == 1 { rows.dots_in::<L, X, W, 2>(x, first) } else { rows.dots_in::<L, X, W, 1>(x, first) } }
    }
}

impl Right for HalvedRows<'_> {
    #[inline(always)]
    unsafe fn pack<L: Lanes>(&self, depth: Range<usize>, first: usize, width: usize, panel: &mut [f32]) {
        let mut values = [[0.0f32; BLOCK]; SQUARE];
        for left in (0..width).step_by(SQUARE) {
            for (column, values) in values.iter_mut().enumerate() {
                let row = (first + left + column).min(self.0.rows - 1);
                values.iter_mut().zip(depth.clone()).for_each(|(value, k)| *value = self.value(row, k));
            }
            unsafe { turn::<L>(values.each_ref().map(|values| &values[..depth.len()]), left, width, panel) };
        }
    }
}

/// Upper halves, multiplied as whole numbers.
struct UpperRows<'a>(&'a HalvedWeight);

/// Rows to multiply with upper halves.
struct CountedInput {
    rows: CountedRows,
    /// What lower halves add, of which only the middle is known.
    middles: Vec<f32>,
}

/// Upper halves beside counted rows.
#[derive(Clone, Copy)]
struct UpperReader<'a> {
    upper: &'a [i16],
    scales: &'a [f32],
    depth: usize,
    numbers: &'a [i16],
    scales_of_x: &'a [f32],
    stride: usize,
    middles: &'a [f32],
}

impl WeightRows for UpperRows<'_> {
    type Input<'x> = CountedInput;
    type Reader<'a>
        = UpperReader<'a>
    where
        Self: 'a;

    fn input(&self, x: &[f32]) -> CountedInput {
        let depth = self.0.columns;
        let rows = CountedRows::new(x, depth, GROUP, self.0.longest, 16);
        let sums = rows.sums.chunks_exact(rows.stride).map(|sums| sums[..depth / GROUP].iter().sum::<f32>());
        let middles = sums.map(|sum| sum * f32::from(self.0.middle)).collect();
        CountedInput { rows, middles }
    }

    fn depth(&self) -> usize {
        self.0.columns
    }

    fn count(&self) -> usize {
        self.0.rows
    }

    #[inline(always)]
    fn memory(&self, rows: Range<usize>) -> [&[u8]; 2] {
        [bytes(&self.0.upper[rows.start * self.0.columns..rows.end * self.0.columns]), &[]]
    }

    #[inline(always)]
    fn reader<'a>(&'a self, input: &'a CountedInput, row: usize, x: usize) -> UpperReader<'a> {
        let (HalvedWeight { upper, scales, rows, columns, .. }, stride) = (self.0, input.rows.stride);
        UpperReader {
            upper: &upper[..rows * columns],
            scales: &scales[..*rows],
            depth: *columns,
            numbers: &input.rows.numbers[row * columns..(row + x) * columns],
            scales_of_x: &input.rows.scales[row * stride..(row + x) * stride],
            stride,
            middles: &input.middles[row..row + x],
        }
    }

    #[allow(clippy::needless_range_loop)] // Indices into arrays of a known length keep them in registers.
    #[inline(always)]
    unsafe fn dots<L: Lanes, const X: usize, const W: usize>(reader: UpperReader<'_>, first: usize) -> [[f32; W]; X] {
        let UpperReader { depth, stride, .. } = reader;
        unsafe {
            let upper = reader.upper.as_ptr().add(first * depth);
            let (numbers, scales) = (reader.numbers.as_ptr(), reader.scales_of_x.as_ptr());
            let mut sums = [[L::splat(0.0); W]; X];
            for group in 0..depth / GROUP {
                let mut counts = [[L::no_counts(); W]; X];
                let upper: [*const i16; W] = std::array::from_fn(|w| upper.add(w * depth + group * GROUP));
                let numbers = numbers.add(X * group * GROUP);
                for at in (0..GROUP).step_by(SIXTEEN) {
                    let codes: [L::Codes; W] = std::array::from_fn(|w| L::numbers(upper[w].add(at)));
                    for x in 0..X {
                        for w in 0..W {
                            counts[x][w] = L::count(counts[x][w], codes[w], numbers.add(X * at + x * SIXTEEN));
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
                let middle = *reader.middles.get_unchecked(x);
                for w in 0..W {
                    dots[x][w] = (sums[x][w].sum() * UPPER + middle) * *reader.scales.get_unchecked(first + w);
                }
            }
            dots
        }
    }
}

fn length(x: &[f32]) -> f32 {
    x.iter().map(|value| value * value).sum::<f32>().sqrt()
}

/// The `k` best log-probabilities of every row of `x Wᵀ` with what `probes` names, as
/// [`TokenScoring::best`](crate::kernels::TokenScoring::best) finds them in whole logits: all products are made of upper halves,
/// which says which rows of weights can matter, and those are made of both. `None` where there are no kernels, values are
/// not finite, or whole products are as fast.
///
/// # Shapes
/// `[n, in]`, weights `[out, in]`
pub fn best_products(
    x: &Tensor<2>,
    weight: &HalvedWeight,
    k: usize,
    probes: &[Vec<u32>],
) -> Option<(Vec<Best>, Vec<Vec<f32>>)> {
    let values = Values::of(x)?;
    let whole = HalvedRows::of(weight);
    let [count, depth] = whole.dims();
    let mut rough = vec![0.0f32; values.as_slice().len() / depth * count];
    let k = k.min(count);
    let upper = UpperRows(weight);
    let CountedInput { rows: counted, .. } = upper.input(values.as_slice());
    few_rows(values.as_slice(), &upper, Shared::new(&mut rough));

    let (mut found, mut probed) = (Vec::new(), Vec::new());
    for (row, (x, rough)) in values.as_slice().chunks_exact(depth).zip(rough.chunks_exact(count)).enumerate() {
        let kept = best(rough, k.max(1));
        let (greatest, least) = (kept.first()?.1, kept.last()?.1);
        let rounded = rounded_off(x, &counted.scales[row * counted.stride..]);
        // No product is further from the whole one (Cauchy and Schwarz).
        let bound = length(x) * weight.reach + length(&rounded) * weight.longest_row;
        if !(greatest.is_finite() && bound.is_finite()) || kept.len() < k || (0.0..LEAST_LENGTH).contains(&length(x)) {
            return None;
        }
        let [mut mass, squares] = run(Mass { row: rough, greatest });
        let usual = usual_distance(&whole, x, rough);
        if usual > FAR {
            return None;
        }
        let probability = |logit: f32| f64::from(logit - greatest).exp();
        let mut threshold = least - 2.0 * bound;
        let chosen = loop {
            let chosen = above(rough, threshold);
            if chosen.len() > count / 4 {
                return None;
            }
            // What is off by chance in the sum of those that are left.
            let left = squares - chosen.iter().map(|row| probability(rough[*row as usize]).powi(2)).sum::<f64>();
            if usual * left.max(0.0).sqrt() <= ERROR * mass {
                break chosen;
            }
            threshold -= 1.0;
        };
        let exact = run(Dots { weights: &whole, x, rows: &chosen });
        mass -= chosen.iter().map(|row| probability(rough[*row as usize])).sum::<f64>();
        // What x is rounded off by is the same in all products. Those that are left are off by its product with the mean of
        // their rows by probability: were rows normally distributed, that of all and this much towards x.
        let rows =
            weight.mean.iter().zip(weight.variance.iter()).zip(x).map(|((mean, variance), x)| mean + variance * x);
        let shift: f32 = rounded.iter().zip(rows).map(|(off, row)| off * row).sum();
        mass = mass.max(0.0) * f64::from(shift).exp();
        mass += exact.iter().map(|logit| probability(*logit)).sum::<f64>();
        let log_sum = greatest + mass.ln() as f32;
        let ranked = best(&exact, k);
        found.push(ranked.into_iter().map(|(at, logit)| (chosen[at as usize], logit - log_sum)).collect());
        if let Some(named) = probes.get(row) {
            let exact = run(Dots { weights: &whole, x, rows: named });
            probed.push(exact.into_iter().map(|logit| logit - log_sum).collect());
        }
    }
    Some((found, probed))
}

/// What the numbers that stand for `x` leave out of it.
fn rounded_off(x: &[f32], scales: &[f32]) -> Vec<f32> {
    let groups = x.chunks_exact(GROUP).zip(scales);
    let off = |(group, scale): (&[f32], &f32)| {
        let (scale, inverse) = (*scale, if *scale > f32::MIN_POSITIVE { scale.recip() } else { 0.0 });
        group.iter().map(move |value| value - (value * inverse).round_ties_even() * scale).collect::<Vec<_>>()
    };
    groups.flat_map(off).collect()
}

/// How far rough products usually are from whole ones, by some of them.
fn usual_distance(whole: &HalvedRows<'_>, x: &[f32], rough: &[f32]) -> f64 {
    let rows: Vec<u32> = (0..rough.len() as u32).step_by(rough.len().div_ceil(SAMPLED)).collect();
    let exact = run(Dots { weights: whole, x, rows: &rows });
    let squares = rows.iter().zip(exact).map(|(row, exact)| f64::from(exact - rough[*row as usize]).powi(2));
    (squares.sum::<f64>() / rows.len() as f64).sqrt()
}

/// Inner products with some rows of weights.
struct Dots<'a> {
    weights: &'a HalvedRows<'a>,
    x: &'a [f32],
    rows: &'a [u32],
}

impl Work for Dots<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) -> Vec<f32> {
        let mut dots = Vec::with_capacity(self.rows.len());
        for row in self.rows {
            let [[dot]] = unsafe { self.weights.dots_in::<L, 1, 1, 2>(self.x, *row as usize) };
            dots.push(dot);
        }
        dots
    }
}

/// The sum of probabilities, where the greatest is 1, and that of their squares.
struct Mass<'a> {
    row: &'a [f32],
    greatest: f32,
}

/// Values whose exponentials are summed in f32 before they are added to the rest.
const SUMMED: usize = 4096;

impl Work for Mass<'_> {
    type Output = [f64; 2];

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) -> [f64; 2] {
        let mut sums = [0.0f64; 2];
        let mut add = |of: [f32; 2]| sums.iter_mut().zip(of).for_each(|(sum, of)| *sum += f64::from(of));
        let whole = self.row.len() - self.row.len() % L::COUNT;
        unsafe {
            let greatest = L::splat(self.greatest);
            for row in self.row[..whole].chunks(SUMMED) {
                let mut of_row = [L::splat(0.0); 2];
                for values in row.chunks_exact(L::COUNT) {
                    let p = exp(L::load(values.as_ptr()).sub(greatest));
                    of_row = [of_row[0].add(p), of_row[1].add_mul(p, p)];
                }
                add(of_row.map(|sum| sum.sum()));
            }
        }
        for value in &self.row[whole..] {
            let p = (value - self.greatest).exp();
            add([p, p * p]);
        }
        sums
    }
}
