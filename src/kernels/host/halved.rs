//! Products with a matrix in two halves: whole ones, and the few greatest of many, for which most rows are half read.

use super::Values;
use super::few_rows::{WeightRows, bytes, few_rows};
use super::lanes::{Lanes, Work, run};
use super::math::exp;
use super::product::{BLOCK, Right, SQUARE, turn};
use crate::kernels::halved::{HalvedWeight, joined};
use crate::kernels::top_k::{Best, above, best};
use burn::tensor::Tensor;
use std::ops::Range;

/// What the logarithm of a sum of exponentials may be off by for what was only half read: a tenth of what log-probabilities
/// may differ from the reference's.
const ERROR: f64 = 1e-5;

/// Rows of halves.
pub struct HalvedRows<'a> {
    upper: &'a [i16],
    /// As many rows of lower halves, or one that stands for all of them.
    lower: &'a [u16],
    lower_stride: usize,
    scales: &'a [f32],
    depth: usize,
    count: usize,
}

impl<'a> HalvedRows<'a> {
    /// All of a matrix.
    pub fn of(weight: &'a HalvedWeight) -> Self {
        let HalvedWeight { upper, lower, scales, rows: count, columns: depth, .. } = weight;
        Self { upper, lower, lower_stride: *depth, scales, depth: *depth, count: *count }
    }

    #[inline(always)]
    fn value(&self, row: usize, at: usize) -> f32 {
        let [upper, lower] = [row * self.depth + at, row * self.lower_stride + at];
        joined(self.upper[upper], self.lower[lower]) * self.scales[row]
    }

    pub fn dims(&self) -> [usize; 2] {
        [self.count, self.depth]
    }

    /// Inner products of `X` rows with `W` rows of weights, with `STEPS` pairs of registers of sums for each.
    #[allow(clippy::needless_range_loop)] // Indices into arrays of a known length keep them in registers.
    #[inline(always)]
    unsafe fn dots_in<L: Lanes, const X: usize, const W: usize, const STEPS: usize>(
        &self,
        x: &[f32],
        first: usize,
    ) -> [[f32; W]; X] {
        let depth = self.depth;
        let upper: [*const i16; W] = std::array::from_fn(|w| self.upper[(first + w) * depth..].as_ptr());
        let lower: [*const u16; W] = std::array::from_fn(|w| self.lower[(first + w) * self.lower_stride..].as_ptr());
        let whole = depth - depth % (2 * STEPS * L::COUNT);
        unsafe {
            let mut sums = [[[[L::splat(0.0); 2]; STEPS]; W]; X];
            for k in (0..whole).step_by(2 * STEPS * L::COUNT) {
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
                    let rest = (whole..depth).map(|k| x[row * depth + k] * self.value(first + w, k)).sum::<f32>();
                    dots[row][w] = sum.sum() * self.scales[first + w] + rest;
                }
            }
            dots
        }
    }
}

impl WeightRows for HalvedRows<'_> {
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
        let [upper, lower] = [self.depth, self.lower_stride].map(|stride| rows.start * stride..rows.end * stride);
        [bytes(&self.upper[upper]), bytes(&self.lower[lower])]
    }

    #[inline(always)]
    unsafe fn dots<L: Lanes, const X: usize, const W: usize>(
        &self,
        input: &&[f32],
        row: usize,
        first: usize,
    ) -> [[f32; W]; X] {
        let x = &input[row * self.depth..(row + X) * self.depth];
        unsafe {
            if L::PREFETCHES {
                return self.dots_in::<L, X, W, 1>(x, first);
            }
            let dots: [[[f32; 1]; X]; W] = std::array::from_fn(|w| {
                // As many sums as hide that an addition takes a while, and fit the registers.
                if X == 1 { self.dots_in::<L, X, 1, 2>(x, first + w) } else { self.dots_in::<L, X, 1, 1>(x, first + w) }
            });
            std::array::from_fn(|row| std::array::from_fn(|w| dots[w][row][0]))
        }
    }
}

impl Right for HalvedRows<'_> {
    #[inline(always)]
    unsafe fn pack<L: Lanes>(&self, depth: Range<usize>, first: usize, width: usize, panel: &mut [f32]) {
        let mut values = [[0.0f32; BLOCK]; SQUARE];
        for left in (0..width).step_by(SQUARE) {
            for (column, values) in values.iter_mut().enumerate() {
                let row = (first + left + column).min(self.count - 1);
                values.iter_mut().zip(depth.clone()).for_each(|(value, k)| *value = self.value(row, k));
            }
            turn(values.each_ref().map(|values| &values[..depth.len()]), left, width, panel);
        }
    }
}

/// The `k` best log-probabilities of every row of `x Wᵀ` with what `probes` names, as
/// [`TokenScoring::best`](crate::kernels::TokenScoring::best) finds them in whole logits: all products are made of upper halves,
/// which says which rows of weights can matter, and those are made of both. `None` where there are no kernels, or values are
/// not finite.
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
    let middles = vec![weight.middle; depth];
    let half = HalvedRows { lower: &middles, lower_stride: 0, ..HalvedRows::of(weight) };
    let mut rough = vec![0.0f32; values.as_slice().len() / depth * count];
    few_rows(values.as_slice(), &half, &mut rough);

    let (mut found, mut probed) = (Vec::new(), Vec::new());
    for (row, (x, rough)) in values.as_slice().chunks_exact(depth).zip(rough.chunks_exact(count)).enumerate() {
        let kept = best(rough, k.max(1));
        let (greatest, least) = (kept.first()?.1, kept.last()?.1);
        // No product is further from the whole one (Cauchy and Schwarz).
        let bound = x.iter().map(|value| value * value).sum::<f32>().sqrt() * weight.reach;
        if !(greatest.is_finite() && bound.is_finite()) || kept.len() < k.min(count) {
            return None;
        }
        let [mut mass, squares] = run(Mass { row: rough, greatest });
        // What is off has no more to do with one column than with another: the usual distance is this much of the bound.
        let usual = f64::from(bound) / (depth as f64).sqrt();
        let mut threshold = least - 2.0 * bound;
        if usual * squares.sqrt() / mass > ERROR {
            // Left are probabilities below p, the sum of whose squares is at most p.
            let p = (ERROR / usual).powi(2);
            threshold = threshold.min(greatest + (mass * p).ln() as f32);
        }
        let chosen = above(rough, threshold);
        let exact = run(Dots { weights: &whole, x, rows: &chosen });
        let probability = |logit: f32| f64::from(logit - greatest).exp();
        for (row, exact) in chosen.iter().zip(&exact) {
            mass += probability(*exact) - probability(rough[*row as usize]);
        }
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
