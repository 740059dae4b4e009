//! Attention, a head after the other, scores never further away than the second cache.

use super::few_rows::{PlainRows, few_rows};
use super::lanes::{Lanes, Work, run};
use super::math::softmax;
use super::parallel::{Room, Shared, ranges};
use super::product::{Finish, LeftRows, Rows, Straight, Transposed, product};
use super::{Values, tensor};
use crate::kernels::attention::{Bias, Columns, Heads, KeysValues};
use burn::tensor::Tensor;

/// Queries whose scores exist at one time, at most.
const QUERIES: usize = 96;
/// Fewer than these are multiplied with the keys where those lie.
const FEW: usize = 16;

/// As [`attention`](crate::kernels::attention()).
///
/// # Panics
/// On rows that are no whole number a sample, a width that is none a head, and biases of fewer queries or keys.
pub fn attention(q: &Columns, kv: &KeysValues, bias: &Bias, heads: &Heads) -> Option<Tensor<3>> {
    let [rows, length, _] = q.tensor.dims();
    let [samples, keys, _] = kv.k.tensor.dims();
    let (device, width) = (q.tensor.device(), q.width);
    let depth = width / heads.count;
    let Bias { values: bias, first: first_bias, .. } = bias;
    let [bias_batch, bias_heads, bias_rows, bias_keys] = bias.dims();
    let (q, k, v) = (Part::of(q)?, Part::of(&kv.k)?, Part::of(&kv.v)?);
    let (bias, shares) = (Values::of(bias)?, Values::maybe(heads.scales.as_ref())?);
    let (bias, shares) = (bias.as_slice(), shares.as_ref().map(Values::as_slice));
    assert!(rows % samples == 0 && width % heads.count == 0, "{rows} rows of {width}, {samples} samples");
    assert!(first_bias + length <= bias_rows && keys <= bias_keys, "biases of {bias_rows} x {bias_keys}");
    assert!([1, samples, rows].contains(&bias_batch), "biases of {bias_batch} samples");
    // The beams of a sample are so many more queries.
    let queries = rows / samples * length;
    let mut context = Room::new(rows * length * width);
    let out = context.shared();
    let blocks = queries.div_ceil(QUERIES);
    let block_of = queries.div_ceil(blocks.max(1));
    ranges(samples * heads.count * blocks, 1, rows * length * keys * width * 2, |range| {
        let mut scores = vec![0.0f32; block_of * keys];
        for index in range {
            let (sample, head, block) = (index / (heads.count * blocks), index / blocks % heads.count, index % blocks);
            let first = block * block_of;
            let count = block_of.min(queries - first);
            let bias_row = |query: usize| {
                let batch = match bias_batch {
                    1 => 0,
                    batch if batch == samples => sample,
                    _ => sample * (rows / samples) + query / length,
                };
                let head = if bias_heads == 1 { 0 } else { head };
                let row = (batch * bias_heads + head) * bias_rows + first_bias + query % length;
                &bias[row * bias_keys..][..keys]
            };
            let scores = &mut scores[..count * keys];
            let column = head * depth;
            let (asked, known) = (q.rows(sample * queries + first, column), k.rows(sample * keys, column));
            if count < FEW {
                let asked: Vec<f32> =
                    asked.values.chunks(asked.stride).take(count).flat_map(|row| &row[..depth]).copied().collect();
                few_rows(&asked, &PlainRows { rows: known, depth, count: keys }, Shared::new(scores));
            } else {
                let right = Transposed { rows: known, count: keys };
                let left = LeftRows { rows: asked, count };
                product(&left, &right, [count, depth, keys], Shared::new(scores), keys, &Finish::default());
            }
            let (scale, share) = (heads.scale as f32, shares.map_or(1.0, |shares| shares[head]));
            for (query, scores) in scores.chunks_exact_mut(keys).enumerate() {
                run(Weights { scores, scale, bias: bias_row(first + query), share });
            }
            let weighed = v.rows(sample * keys, column);
            let start = (sample * queries + first) * width + column;
            if count < FEW {
                for (query, weights) in scores.chunks_exact(keys).enumerate() {
                    run(Weighted { weights, values: weighed, depth, out: out.behind(start + query * width) });
                }
                continue;
            }
            let right = Straight { rows: weighed, columns: depth };
            let left = LeftRows { rows: Rows { values: scores, stride: keys }, count };
            product(&left, &right, [count, keys, depth], out.behind(start), width, &Finish::default());
        }
    });
    // SAFETY: each head of each query has been written.
    Some(tensor(unsafe { context.filled() }, [rows, length, width], &device))
}

/// As [`scores`](crate::kernels::scores()) without a mask, of queries that have been scaled.
///
/// # Panics
/// On keys of another width or number of samples, and a width that is none a head.
pub fn scores(q: &Tensor<3>, k: &Tensor<3>, heads: usize) -> Option<Tensor<4>> {
    let ([asked, queries, width], [known, keys, other]) = (q.dims(), k.dims());
    assert!(width == other && width > 0 && width % heads == 0, "{heads} heads of {width} and {other}");
    assert!(asked == known || asked == 1 || known == 1, "{asked} and {known} samples");
    let (samples, depth, device) = (asked.max(known), width / heads, q.device());
    let [q, k] = [q, k].map(|x| Part::of(&Columns::all(x.clone())));
    let (q, k) = (q?, k?);
    let mut scores = Room::new(samples * heads * queries * keys);
    let out = scores.shared();
    ranges(samples * heads, 1, samples * queries * keys * width, |range| {
        for index in range {
            let (sample, column) = (index / heads, index % heads * depth);
            let left = LeftRows { rows: q.rows(sample % asked * queries, column), count: queries };
            let right = Transposed { rows: k.rows(sample % known * keys, column), count: keys };
            let out = out.behind(index * queries * keys);
            product(&left, &right, [queries, depth, keys], out, keys, &Finish::default());
        }
    });
    // SAFETY: each head of each sample has been written.
    Some(tensor(unsafe { scores.filled() }, [samples, heads, queries, keys], &device))
}

/// Columns of a tensor where they lie.
struct Part {
    values: Values,
    column: usize,
    stride: usize,
}

impl Part {
    fn of(columns: &Columns) -> Option<Self> {
        Some(Self { values: Values::of(&columns.tensor)?, column: columns.column, stride: columns.stride() })
    }

    /// The rows from `row` on, counted through all samples, from one of the columns on.
    fn rows(&self, row: usize, column: usize) -> Rows<'_> {
        Rows { values: &self.values.as_slice()[row * self.stride + self.column + column..], stride: self.stride }
    }
}

/// The sum of weighted rows, which are read where they lie.
struct Weighted<'a> {
    weights: &'a [f32],
    values: Rows<'a>,
    depth: usize,
    /// Each head of a query is handed out once.
    out: Shared,
}

impl Work for Weighted<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let mut first = 0;
        // The fewer passes over the rows the better, as far as there are registers.
        while first < self.depth {
            first += unsafe {
                match (self.depth - first) / L::COUNT {
                    8.. => self.columns::<L, 8>(first),
                    4.. => self.columns::<L, 4>(first),
                    1.. => self.columns::<L, 1>(first),
                    0 => self.column(first),
                }
            };
        }
    }
}

impl Weighted<'_> {
    /// Writes so many registers of sums, and returns how many columns these are.
    #[inline(always)]
    unsafe fn columns<L: Lanes, const SUMS: usize>(&self, first: usize) -> usize {
        let Rows { values, stride } = self.values;
        unsafe {
            let mut sums = [L::splat(0.0); SUMS];
            for (key, weight) in self.weights.iter().enumerate() {
                let row = values[key * stride + first..][..SUMS * L::COUNT].as_ptr();
                let weight = L::splat(*weight);
                for (at, sum) in sums.iter_mut().enumerate() {
                    *sum = sum.add_mul(L::load(row.add(at * L::COUNT)), weight);
                }
            }
            for (at, sum) in sums.into_iter().enumerate() {
                sum.store(self.out.at(first + at * L::COUNT));
            }
        }
        SUMS * L::COUNT
    }

    #[inline(always)]
    unsafe fn column(&self, column: usize) -> usize {
        let Rows { values, stride } = self.values;
        let sum = self.weights.iter().enumerate().map(|(key, weight)| weight * values[key * stride + column]).sum();
        unsafe { self.out.at(column).write(sum) };
        1
    }
}

/// One row of products and its bias as weights whose sum is `share`.
struct Weights<'a> {
    scores: &'a mut [f32],
    scale: f32,
    bias: &'a [f32],
    share: f32,
}

impl Work for Weights<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Self { scores, scale, bias, share } = self;
        scores.iter_mut().zip(bias).for_each(|(score, bias)| *score = *score * scale + bias);
        unsafe { softmax::<L>(scores, share) };
    }
}
