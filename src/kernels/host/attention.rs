//! Attention, a head after the other, scores never further away than the second cache.

use super::few_rows::{PlainRows, few_rows};
use super::lanes::{Lanes, Work, run};
use super::math::softmax;
use super::parallel::{Shared, ranges};
use super::product::{Finish, LeftRows, Rows, Straight, Transposed, product};
use super::{Values, tensor};
use burn::tensor::Tensor;

/// Queries whose scores exist at one time.
const QUERIES: usize = 64;
/// Fewer than these are multiplied with the keys where those lie.
const FEW: usize = 16;

/// `softmax(q kᵀ + bias) v`; the query comes scaled.
///
/// # Shapes
/// q `[B, H, T, D]`, k and v `[B, H, L, D]`, bias `[1 or B, 1 or H, 1 or T, L]` → `[B, H, T, D]`, which lies in memory
/// as `[B, T, H, D]`
pub fn attention(q: &Tensor<4>, k: &Tensor<4>, v: &Tensor<4>, bias: &Tensor<4>) -> Option<Tensor<4>> {
    let [batch, heads, queries, depth] = q.dims();
    let [_, _, keys, _] = k.dims();
    let bias_shape = bias.dims();
    let device = q.device();
    // With the heads inside, as the projections wrote them: no copy where they come straight from there.
    let inner = |x: &Tensor<4>| Values::of(&x.clone().swap_dims(1, 2));
    let (q, k, v, bias) = (inner(q)?, inner(k)?, inner(v)?, Values::of(bias)?);
    let (q, k, v, bias) = (q.as_slice(), k.as_slice(), v.as_slice(), bias.as_slice());
    let width = heads * depth;
    let mut context = vec![0.0f32; batch * queries * width];
    let out = Shared::new(&mut context);
    let blocks = queries.div_ceil(QUERIES);
    ranges(batch * heads * blocks, 1, batch * heads * queries * keys * depth * 2, |range| {
        let mut scores = vec![0.0f32; QUERIES.min(queries) * keys];
        for index in range {
            let (sample, head, block) = (index / (heads * blocks), index / blocks % heads, index % blocks);
            let first = block * QUERIES;
            let count = QUERIES.min(queries - first);
            let bias_row = |query: usize| {
                let pick = |axis: usize, at: usize| if bias_shape[axis] == 1 { 0 } else { at };
                let row = (pick(0, sample) * bias_shape[1] + pick(1, head)) * bias_shape[2] + pick(2, query);
                &bias[row * keys..(row + 1) * keys]
            };
            let part = |x, length: usize, row: usize| {
                let values: &[f32] = x;
                Rows { values: &values[(sample * length + row) * width + head * depth..], stride: width }
            };
            let scores = &mut scores[..count * keys];
            let (asked, known) = (part(q, queries, first), part(k, keys, 0));
            if count < FEW {
                let asked: Vec<f32> =
                    asked.values.chunks(width).take(count).flat_map(|row| row[..depth].to_vec()).collect();
                few_rows(&asked, &PlainRows { rows: known, depth, count: keys }, scores);
            } else {
                let right = Transposed { rows: known, count: keys };
                let left = LeftRows { rows: asked, count };
                product(&left, &right, [count, depth, keys], Shared::new(scores), keys, &Finish::default());
            }
            for (query, scores) in scores.chunks_exact_mut(keys).enumerate() {
                run(Weights { scores, bias: bias_row(first + query) });
            }
            let start = (sample * queries + first) * width + head * depth;
            if count < FEW {
                for (query, weights) in scores.chunks_exact(keys).enumerate() {
                    // SAFETY: each head of a query is handed out once.
                    let out = unsafe { out.part(start + query * width, depth) };
                    run(Weighted { weights, values: part(v, keys, 0), out });
                }
                continue;
            }
            let right = Straight { rows: part(v, keys, 0), columns: depth };
            let place = out.behind(start);
            let left = LeftRows { rows: Rows { values: scores, stride: keys }, count };
            product(&left, &right, [count, keys, depth], place, width, &Finish::default());
        }
    });
    Some(tensor(context, [batch, queries, heads, depth], &device).swap_dims(1, 2))
}

/// The sum of weighted rows, which are read where they lie.
struct Weighted<'a> {
    weights: &'a [f32],
    values: Rows<'a>,
    out: &'a mut [f32],
}

/// Registers of sums.
const SUMS: usize = 4;

impl Work for Weighted<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Self { weights, values: Rows { values, stride }, out } = self;
        let depth = out.len();
        let mut first = 0;
        while first + SUMS * L::COUNT <= depth {
            unsafe {
                let mut sums = [L::splat(0.0); SUMS];
                for (key, weight) in weights.iter().enumerate() {
                    let row = values[key * stride + first..][..SUMS * L::COUNT].as_ptr();
                    let weight = L::splat(*weight);
                    for (at, sum) in sums.iter_mut().enumerate() {
                        *sum = sum.add_mul(L::load(row.add(at * L::COUNT)), weight);
                    }
                }
                for (at, sum) in sums.into_iter().enumerate() {
                    sum.store(out[first + at * L::COUNT..][..L::COUNT].as_mut_ptr());
                }
            }
            first += SUMS * L::COUNT;
        }
        while first + L::COUNT <= depth {
            let mut sum = unsafe { L::splat(0.0) };
            for (key, weight) in weights.iter().enumerate() {
                let row = values[key * stride + first..][..L::COUNT].as_ptr();
                sum = unsafe { sum.add_mul(L::load(row), L::splat(*weight)) };
            }
            unsafe { sum.store(out[first..][..L::COUNT].as_mut_ptr()) };
            first += L::COUNT;
        }
        for (column, out) in out.iter_mut().enumerate().skip(first) {
            *out = weights.iter().enumerate().map(|(key, weight)| weight * values[key * stride + column]).sum();
        }
    }
}

/// One row of scores and its bias as weights.
struct Weights<'a> {
    scores: &'a mut [f32],
    bias: &'a [f32],
}

impl Work for Weights<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        self.scores.iter_mut().zip(self.bias).for_each(|(score, bias)| *score += bias);
        unsafe { softmax::<L>(self.scores) };
    }
}
