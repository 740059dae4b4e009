//! The few greatest of many products with a matrix in two parts, for which less than half of most rows is read.

use super::Values;
use super::few_rows::{WeightRows, few_rows};
use super::lanes::{Lanes, Work, run};
use super::math::exp;
use super::parallel::Shared;
use super::split::{CoarseRows, Dots};
use crate::kernels::split::{GROUP, SplitWeight};
use crate::kernels::top_k::{Best, Blocks, best};
use burn::tensor::Tensor;

/// What the logarithm of a sum of exponentials may usually be off by for what was not read: a tenth of what log-probabilities
/// may differ from the reference's.
const ERROR: f64 = 1e-5;

/// The usual distance between rough and whole products from which on all are made whole.
const FAR: f64 = 0.1;

/// By how much less probable rows are read whole too at a time, as a difference of logits.
const STEP: f32 = 0.5;

/// The length of `x` below which squares of its values are nothing.
const LEAST_LENGTH: f32 = 1e-15;

/// Products by which it is estimated how far off all of them are.
const SAMPLED: usize = 64;

/// The `k` best log-probabilities of every row of `x Wᵀ` with what `probes` names, as
/// [`TokenScoring::best`](crate::kernels::TokenScoring::best) finds them in whole logits: all products are made of coarse
/// numbers, which says which rows of weights can matter, and those are read whole. `None` where there are no kernels, values
/// are not finite, or whole products are as fast.
///
/// # Shapes
/// `[n, in]`, weights `[out, in]`
pub fn best_products(
    x: &Tensor<2>,
    weight: &SplitWeight,
    k: usize,
    probes: &[Vec<u32>],
) -> Option<(Vec<Best>, Vec<Vec<f32>>)> {
    let values = Values::of(x)?;
    let (rows, depth) = (weight.rows, weight.columns);
    let mut rough = vec![0.0f32; values.as_slice().len() / depth * rows];
    few_rows(values.as_slice(), &CoarseRows(weight), Shared::new(&mut rough));
    let (mut found, mut probed) = (Vec::new(), Vec::new());
    for (row, (x, rough)) in values.as_slice().chunks_exact(depth).zip(rough.chunks_exact(rows)).enumerate() {
        let (best, log_sum) = best_of_row(x, weight, rough, k.min(rows))?;
        found.push(best);
        if let Some(named) = probes.get(row) {
            let whole = run(Dots { weights: weight, x, rows: named });
            probed.push(whole.into_iter().map(|logit| logit - log_sum).collect());
        }
    }
    Some((found, probed))
}

/// The best log-probabilities of a row, and the logarithm of the sum of all exponentials of its logits. `rough` are those
/// of coarse numbers.
fn best_of_row(x: &[f32], weight: &SplitWeight, rough: &[f32], k: usize) -> Option<(Best, f32)> {
    let blocks = Blocks::of(rough);
    let kept = blocks.best(k.max(1));
    let (greatest, least) = (kept.first()?.1, kept.last()?.1);
    let counted = CoarseRows(weight).input(x);
    let rounded = rounded_off(x, &counted.scales);
    // No product is further from the whole one (Cauchy and Schwarz).
    let bound = length(x) * weight.reach + length(&rounded) * weight.longest_row;
    if !(greatest.is_finite() && bound.is_finite()) || kept.len() < k || (0.0..LEAST_LENGTH).contains(&length(x)) {
        return None;
    }
    // What x is rounded off by is the same in all products. Those that are not read whole are off by its product with the
    // mean of their rows by probability: were rows normally distributed, that of all and this much towards x.
    let means = weight.mean.iter().zip(weight.variance.iter()).zip(x).map(|((mean, variance), x)| mean + variance * x);
    let shift: f32 = rounded.iter().zip(means).map(|(off, row)| off * row).sum();

    let usual = usual_distance(x, weight, rough);
    if usual > FAR || usual.is_nan() {
        return None;
    }

    let rough_of = |rows: &[u32]| rows.iter().map(|row| rough[*row as usize]).collect::<Vec<_>>();
    let sums_of = |logits: &[f32]| run(Summing { logits, greatest });
    let [mass, squares] = sums_of(rough);
    let mut threshold = least - 2.0 * bound;
    let (chosen, mass_of_chosen) = loop {
        let chosen = blocks.above(threshold);
        if chosen.len() > rough.len() / 4 {
            return None;
        }
        let [mass_of_chosen, squares_of_chosen] = sums_of(&rough_of(&chosen));
        // What is off by chance in the sum of those that are left.
        if usual * (squares - squares_of_chosen).max(0.0).sqrt() <= ERROR * mass {
            break (chosen, mass_of_chosen);
        }
        // Of logits so large that a step is nothing to them.
        if threshold - STEP == threshold {
            return None;
        }
        threshold -= STEP;
    };
    let whole = run(Dots { weights: weight, x, rows: &chosen });
    let [mass_of_whole, _] = sums_of(&whole);
    let left = (mass - mass_of_chosen).max(0.0) * f64::from(shift).exp();
    let log_sum = greatest + (left + mass_of_whole).ln() as f32;
    let ranked = best(&whole, k).into_iter().map(|(at, logit)| (chosen[at as usize], logit - log_sum));
    Some((ranked.collect(), log_sum))
}

fn length(x: &[f32]) -> f32 {
    x.iter().map(|value| value * value).sum::<f32>().sqrt()
}

/// How far rough products usually are from whole ones, by some of them.
fn usual_distance(x: &[f32], weights: &SplitWeight, rough: &[f32]) -> f64 {
    let rows: Vec<u32> = (0..rough.len() as u32).step_by(rough.len().div_ceil(SAMPLED)).collect();
    let whole = run(Dots { weights, x, rows: &rows });
    let squares = rows.iter().zip(whole).map(|(row, whole)| f64::from(whole - rough[*row as usize]).powi(2));
    (squares.sum::<f64>() / rows.len() as f64).sqrt()
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

/// The sum of probabilities, where the greatest is 1, and that of their squares.
struct Summing<'a> {
    logits: &'a [f32],
    greatest: f32,
}

/// Values whose exponentials are summed in f32 before they are added to the rest.
const SUMMED: usize = 4096;

impl Work for Summing<'_> {
    type Output = [f64; 2];

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) -> [f64; 2] {
        let mut sums = [0.0f64; 2];
        let mut add = |of: [f32; 2]| sums.iter_mut().zip(of).for_each(|(sum, of)| *sum += f64::from(of));
        let whole = self.logits.len() - self.logits.len() % L::COUNT;
        unsafe {
            let greatest = L::splat(self.greatest);
            for logits in self.logits[..whole].chunks(SUMMED) {
                let [mut mass, mut squares] = [L::splat(0.0); 2];
                for logits in logits.chunks_exact(L::COUNT) {
                    let p = exp(L::load(logits.as_ptr()).sub(greatest));
                    (mass, squares) = (mass.add(p), squares.add_mul(p, p));
                }
                add([mass.sum(), squares.sum()]);
            }
        }
        for logit in &self.logits[whole..] {
            let p = (logit - self.greatest).exp();
            add([p, p * p]);
        }
        sums
    }
}
