//! Every kernel, in every variant, against the plain operations on the CPU, for drawn shapes.

use super::adapter::Team;
use super::attention::attention_as;
use super::best::best_as;
use super::norm::residual_norm_as;
use super::product::{convolve_as, linear_as};
use crate::config::Quantization;
use crate::kernels::arguments::{self, Finish, Moment};
use crate::kernels::attention::{
    Bias, Columns, Heads, KeysValues, MASKED, attention, attention_weights, plain_attention, products, scores,
};
use crate::kernels::convolution::{BatchNorm, ConvNorm, Convolution, max_pool};
use crate::kernels::gpu::{self, of_tests as gpu_device};
use crate::kernels::linear::Activation;
use crate::kernels::next_token::TokenScoring;
use crate::kernels::norm::LayerNorm;
use crate::kernels::packed::{PackedWeight, Words};
use crate::kernels::pairs::{Pairs, RelativeRow};
use crate::kernels::top_k::padded;
use crate::kernels::weight::Weight;
use burn::module::{Param, RunningState};
use burn::tensor::{DType, Device, Tensor, TensorData};
use half::f16;

/// Sums of a few hundred products of numbers of order 1, in another order.
const TOLERANCE: f32 = 1e-4;
const TEAMS: [Team; 2] = [Team::Alone, Team::Together];

/// Numbers that are the same in every run.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next().abs() * bound as f32) as usize % bound
    }

    fn values(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }

    fn pair<const D: usize>(&mut self, shape: [usize; D]) -> [Tensor<D>; 2] {
        let data = TensorData::new(self.values(shape.iter().product()), shape);
        [&Device::flex(), &gpu_device()].map(|device| Tensor::from_data(data.clone(), device))
    }

    /// A matrix on both devices: plain for no bits, else packed.
    fn weights(&mut self, [rows, columns]: [usize; 2], bits: usize) -> [Weight; 2] {
        if bits == 0 {
            return self.pair([rows, columns]).map(|values| Weight::Plain(Param::from_tensor(values)));
        }
        // As large groups as there are of whole ones.
        let mut sizes = Quantization::GROUP_SIZES.into_iter().rev();
        let group_size = sizes.find(|size| columns.is_multiple_of(*size)).unwrap_or(32);
        let words: Vec<u32> =
            (0..rows * columns * bits / 32).map(|_| self.next().to_bits() ^ (self.0 as u32)).collect();
        let groups = rows * columns / group_size;
        let side = |draws: &mut Self| draws.values(groups).iter().map(|value| f16::from_f32(value / 100.0)).collect();
        let (scales, biases): (Vec<f16>, Vec<f16>) = (side(self), side(self));
        [&Device::flex(), &gpu_device()].map(|device| {
            let quantization = Quantization { bits, group_size };
            let codes = Words::new(words.clone(), device);
            Weight::Packed(PackedWeight::new([rows, columns], quantization, codes, [&scales, &biases], device))
        })
    }

    fn norms(&mut self, width: usize) -> [LayerNorm; 2] {
        let (weights, biases) = (self.pair([width]), self.pair([width]));
        let mut norms = weights
            .into_iter()
            .zip(biases)
            .map(|(weight, bias)| LayerNorm { weight: Param::from_tensor(weight), bias: Param::from_tensor(bias) });
        std::array::from_fn(|_| norms.next().expect("one a device"))
    }
}

#[track_caller]
fn assert_same<const D: usize>(what: &str, expected: Tensor<D>, found: Tensor<D>) {
    assert_eq!(expected.dims(), found.dims(), "{what}");
    let [expected, found] = [expected, found].map(|tensor| tensor.into_data().try_into_vec::<f32>().expect("floats"));
    let scale = expected.iter().fold(1.0f32, |most, value| most.max(value.abs()));
    for (index, (expected, found)) in expected.iter().zip(&found).enumerate() {
        let difference = (expected - found).abs();
        assert!(difference <= TOLERANCE * scale, "{what}: {expected} at {index}, found {found}");
    }
}

#[test]
fn linear_layers() {
    let mut draws = Draws(1);
    for team in TEAMS {
        for bits in [0, 4, 8] {
            for rows in [1, 5, 19, 70] {
                let columns = if bits == 0 { 1 + draws.below(160) } else { 32 * (1 + draws.below(9)) };
                let outputs = 1 + draws.below(150);
                let [weight, on_gpu] = draws.weights([outputs, columns], bits);
                let [x, gpu_x] = draws.pair([rows, columns]);
                let [bias, gpu_bias] = draws.pair([outputs]);
                let expected = Activation::Gelu.apply(weight.product(x.clone()) + bias.unsqueeze());
                let finish = Finish { bias: Some(gpu_bias), activation: Activation::Gelu };
                let found = linear_as(team, gpu_x.clone(), &on_gpu, finish);
                let what = format!("{team:?}, {bits} bits, {rows} rows, {outputs} of {columns}");
                assert_same(&what, expected, found);
                let finish = Finish { bias: None, activation: Activation::None };
                assert_same(&what, weight.product(x), linear_as(team, gpu_x, &on_gpu, finish));
            }
        }
    }
}

#[test]
fn rows_of_tables() {
    let mut draws = Draws(2);
    for bits in [4, 8] {
        let [weight, on_gpu] = draws.weights([50, 96], bits);
        let numbers: Vec<u32> = (0..7).map(|_| draws.below(50) as u32).collect();
        assert_same(&format!("{bits} bits"), weight.rows(&numbers), on_gpu.rows(&numbers));
        assert_same(&format!("{bits} bits, packed"), weight.rows(&numbers), on_gpu.take(&numbers).unpacked());
    }
}

#[test]
fn convolutions() {
    let mut draws = Draws(3);
    for team in TEAMS {
        for (bits, kernel, stride, channels) in
            [(0, 7, 2, 3), (0, 1, 1, 5), (0, 3, 1, 4), (8, 1, 1, 64), (8, 3, 2, 32), (4, 3, 1, 32), (0, 1, 2, 8)]
        {
            let (batch, outputs) = (1 + draws.below(2), 1 + draws.below(40));
            let (height, width) = (5 + draws.below(9), 5 + draws.below(9));
            let [weight, on_gpu] = draws.weights([outputs, channels * kernel * kernel], bits);
            let [x, gpu_x] = draws.pair([batch, channels, height, width]);
            let [bias, gpu_bias] = draws.pair([outputs]);
            let [residual, gpu_residual] =
                draws.pair([batch, outputs, height.div_ceil(stride), width.div_ceil(stride)]);
            let plain = ConvNorm { weight, bias: Some(Param::from_tensor(bias)), norm: None, kernel, stride };
            let what = format!("{team:?}, {bits} bits, window {kernel}, stride {stride}, {height} by {width}");
            for (residual, relu) in [(Some((residual, gpu_residual)), true), (None, false)] {
                let (residual, gpu_residual) = residual.unzip();
                let expected = plain.forward(x.clone(), residual, relu);
                let (weight, bias, residual) = (&on_gpu, gpu_bias.clone(), gpu_residual);
                let convolution = arguments::Convolution { weight, bias, kernel, stride, residual, relu };
                assert_same(&what, expected, convolve_as(team, gpu_x.clone(), convolution));
            }
        }
    }
}

#[test]
fn ends_of_branches() {
    let mut draws = Draws(4);
    for team in TEAMS {
        for (rows, width) in [(1, 8), (5, 256), (13, 132), (300, 20)] {
            for (has_residual, has_inner) in [(true, true), (true, false), (false, true), (false, false)] {
                let [branch, gpu_branch] = draws.pair([rows, width]);
                let [residual, gpu_residual] = draws.pair([rows, width]);
                let ([inner, gpu_inner], [norm, gpu_norm]) = (draws.norms(width), draws.norms(width));
                let mut sum = branch;
                if has_inner {
                    sum = inner.forward(sum);
                }
                if has_residual {
                    sum = sum + residual;
                }
                let (residual, inner) = (has_residual.then_some(gpu_residual), has_inner.then_some(&gpu_inner));
                let (found, normed) =
                    residual_norm_as(team, residual, gpu_branch, inner, &gpu_norm).expect("a width in fours");
                let what = format!("{team:?}, {rows} rows of {width}, {has_residual} {has_inner}");
                assert_same(&what, norm.forward(sum.clone()), normed);
                assert_eq!(found.is_some(), has_residual || has_inner);
                if let Some(found) = found {
                    assert_same(&what, sum, found);
                }
            }
        }
    }
}

#[test]
fn attentions() {
    let mut draws = Draws(5);
    for team in TEAMS {
        for (samples, beams, length, keys, count, width) in
            [(1, 1, 9, 9, 2, 32), (2, 3, 1, 70, 4, 64), (1, 5, 4, 131, 3, 48), (2, 1, 5, 3, 1, 20)]
        {
            let rows = samples * beams;
            let [q, gpu_q] = draws.pair([rows, length, width + 4]);
            let [kv, gpu_kv] = draws.pair([samples, keys, 2 * width]);
            let [scales, gpu_scales] = draws.pair([count]);
            let bias_batch = if beams == 1 { samples } else { 1 };
            let mut biases = draws.values(bias_batch * count * (length + 2) * (keys + 1));
            biases.iter_mut().step_by(5).for_each(|bias| *bias = MASKED);
            let biases = TensorData::new(biases, [bias_batch, count, length + 2, keys + 1]);
            let side = |q, kv, scales, device: &Device| {
                let q = Columns { tensor: q, column: 4, width };
                let bias = Bias { first: 2, ..Bias::new(Tensor::from_data(biases.clone(), device)) };
                (q, Columns::parts(&kv), bias, Heads { count, scale: 0.3, scales: Some(scales) })
            };
            let (q, [k, v], bias, heads) = side(q, kv, scales, &Device::flex());
            let expected = plain_attention(&q, &KeysValues { k, v }, &bias, &heads);
            let (q, [k, v], bias, heads) = side(gpu_q, gpu_kv, gpu_scales, &gpu_device());
            let found = attention_as(team, [&q, &k, &v], None, &bias, &heads).expect("heads in fours");
            assert_same(&format!("{team:?}, {rows} rows of {length}, {keys} keys"), expected, found);
        }
    }
}

#[test]
fn attention_over_scattered_rows() {
    let mut draws = Draws(6);
    for team in TEAMS {
        let (rows, length, keys, count, width) = (3, 2, 11, 2, 24);
        let [table, gpu_table] = draws.pair([1, 40, 3 * width]);
        let first = 30;
        let slots: Vec<u32> = (0..rows * keys).map(|_| draws.below(36) as u32).collect();
        let [bias, mut gpu_bias] = draws.pair([1, count, length + 1, keys]).map(Bias::new);
        let bias = Bias { first: 1, ..bias };
        let heads = Heads { count, scale: 0.4, scales: None };
        let [q, k, v] = Columns::parts::<3>(&table).map(|columns| columns.values().reshape([40, width]));
        let device = Device::flex();
        let chosen = |values: Tensor<2>, rows_of: Vec<u32>, length: usize| {
            let count = rows_of.len();
            let numbers = Tensor::from_data(TensorData::new(rows_of, [count]), (&device, DType::U32));
            values.select(0, numbers).reshape([rows, length, width])
        };
        let queries = (first..first + rows * length).map(|row| row as u32).collect();
        let [k, v] = [k, v].map(|values| Columns::all(chosen(values, slots.clone(), keys)));
        let q = Columns::all(chosen(q, queries, length));
        let expected = plain_attention(&q, &KeysValues { k, v }, &bias, &heads);
        let [q, k, v] = Columns::parts(&gpu_table);
        // Beginning with rows of queries, of keys and of the biases, and with ids.
        let words = [&[first as u32, keys as u32, 1], &[0; 6][..], &slots].concat();
        let moment = Moment { words: gpu::words(words, &gpu_device()), queries: [rows, length], keys };
        gpu_bias.moment = Some(moment.clone());
        let found = attention_as(team, [&q, &k, &v], Some(&moment), &gpu_bias, &heads).expect("heads in fours");
        assert_same(&format!("{team:?}"), expected, found);
    }
}

#[test]
fn best_entries_of_logits() {
    let mut draws = Draws(7);
    for team in TEAMS {
        for (rows, columns, k, temperature) in [(1, 7, 7, 1.0), (5, 1203, 10, 1.0), (3, 5000, 40, 0.7)] {
            let mut values = draws.values(rows * columns);
            // Ties, which keep the order of their columns.
            (0..rows).for_each(|row| values[row * columns + 5] = values[row * columns + 2]);
            let logits = TensorData::new(values, [rows, columns]);
            let constraint: Vec<f32> = (0..columns).map(|_| if draws.next() > 0.5 { MASKED } else { 0.0 }).collect();
            let constraint = TensorData::new(constraint, [1, columns]);
            let probes: Vec<Vec<u32>> =
                (0..rows).map(|_| (0..draws.below(4)).map(|_| draws.below(columns) as u32).collect()).collect();
            for constrain_after in [None, Some(false), Some(true)] {
                let scoring = |device: &Device| TokenScoring {
                    temperature,
                    constraint: constrain_after.map(|_| Tensor::from_data(constraint.clone(), device)),
                    constrain_after: constrain_after == Some(true),
                };
                let device = Device::flex();
                let on_cpu = Tensor::from_data(logits.clone(), &device);
                let (best, probed) = pollster::block_on(scoring(&device).best(on_cpu, k, &probes)).expect("a CPU");
                let on_gpu = Tensor::<2>::from_data(logits.clone(), &gpu_device());
                let widest = probes.iter().map(Vec::len).max().unwrap_or(0);
                let named: Vec<u32> = probes.iter().flat_map(|row| padded(row, widest)).collect();
                let found = best_as(team, on_gpu, &scoring(&gpu_device()), k, &named, widest).expect("a short list");
                let width = widest + 2 * found.kept;
                let values: Vec<f32> = found.values.into_data().try_into_vec().expect("floats");
                for (row, found_row) in values.chunks(width).enumerate() {
                    let (probes_found, lists) = found_row.split_at(widest);
                    let (scores, ids) = lists.split_at(found.kept);
                    for ((id, score), (found_id, found_score)) in best[row].iter().zip(ids.iter().zip(scores)) {
                        let near = (score - found_score).abs() <= TOLERANCE * score.abs().max(1.0);
                        // What the constraint forbids has one score for all, as near as floats go.
                        assert!(
                            near && (*id as f32 == *found_id || *score < -1e20),
                            "{id} {score}, {found_id} {found_score}"
                        );
                    }
                    for (probe, found) in probed[row].iter().zip(probes_found) {
                        assert!((probe - found).abs() <= TOLERANCE * probe.abs().max(1.0), "{probe}, found {found}");
                    }
                }
            }
        }
    }
}

#[test]
fn relative_biases() {
    let mut draws = Draws(8);
    for (batch, samples, heads, queries, keys) in [(1, 1, 3, 7, 7), (2, 1, 1, 5, 8), (1, 3, 4, 6, 6), (1, 1, 2, 1, 9)] {
        let ([image, gpu_image], [token, gpu_token]) = (draws.pair([9, heads]), draws.pair([11, heads]));
        let [absolute, gpu_absolute] = draws.pair([batch, heads, queries, keys]);
        let row = |sample: usize, query: usize, key: usize| match (sample + query * 5 + key * 3) % 4 {
            0 => RelativeRow::None,
            1 => RelativeRow::Image((query + key) % 9),
            _ => RelativeRow::Token((query * key + sample) % 11),
        };
        let both: Vec<f32> =
            Tensor::cat(vec![image.clone(), token.clone()], 0).into_data().try_into_vec().expect("floats");
        let mut values = Vec::new();
        for at in 0..samples * heads * queries * keys {
            let (sample, head) = (at / (heads * queries * keys), at / (queries * keys) % heads);
            let row = match row(sample, at / keys % queries, at % keys) {
                RelativeRow::Image(row) => Some(row),
                RelativeRow::Token(row) => Some(9 + row),
                RelativeRow::None => None,
            };
            values.push(row.map_or(0.0, |row| both[row * heads + head]));
        }
        let relative = TensorData::new(values, [samples, heads, queries, keys]);
        let expected = absolute.clone() + Tensor::<4>::from_data(relative, &Device::flex());
        let pairs = |device| Pairs::new([samples, queries, keys], &device, row).expect("a device without gradients");
        let found = pairs(Device::flex()).add(absolute, [image, token]);
        assert_same("relative bias on the host", expected.clone(), found);
        assert_same("relative bias", expected, pairs(gpu_device()).add(gpu_absolute, [gpu_image, gpu_token]));
    }
}

#[test]
fn products_of_queries_and_keys() {
    let mut draws = Draws(9);
    for ([q_batch, k_batch], heads, head, queries, keys) in [
        ([1, 1], 3, 8, 5, 9),
        ([1, 2], 1, 4, 1, 7),
        ([2, 2], 2, 16, 3, 4),
        ([1, 3], 4, 64, 2, 33),
        ([2, 1], 2, 7, 3, 5),
    ] {
        let ([q, gpu_q], [k, gpu_k]) =
            (draws.pair([q_batch, queries, heads * head]), draws.pair([k_batch, keys, heads * head]));
        for mask in [None, Some([1, 1, queries, keys]), Some([k_batch, 1, 1, keys])] {
            let [mask, gpu_mask] = match mask {
                Some(shape) => draws.pair(shape).map(Some),
                None => [None, None],
            };
            let expected = scores(q.clone(), k.clone(), heads, 0.3, mask);
            let found = gpu::scores(gpu_q.clone(), gpu_k.clone(), heads, 0.3, gpu_mask);
            assert_same(&format!("{heads} heads of {head}, {queries} by {keys}"), expected, found);
        }
    }
}

#[test]
fn pooling() {
    let mut draws = Draws(10);
    for [batch, channels, height, width] in [[1, 3, 8, 8], [2, 1, 5, 7], [1, 2, 1, 2], [1, 1, 6, 1]] {
        let [x, gpu_x] = draws.pair([batch, channels, height, width]);
        assert_same(&format!("{height} by {width}"), max_pool(x), gpu::max_pool(gpu_x));
    }
}

#[test]
fn products_of_matrices() {
    let mut draws = Draws(11);
    for (batch, heads, n, m, inner) in [(1, 1, 3, 5, 8), (2, 3, 4, 7, 5), (1, 2, 9, 1, 130)] {
        let [a, gpu_a] = draws.pair([batch, heads, n, inner]);
        let [b, gpu_b] = draws.pair([batch, heads, m, inner]);
        assert_same(&format!("{n} by {m} of {inner}"), a.matmul(b.swap_dims(2, 3)), products(gpu_a, gpu_b));
    }
}

/// Heads that are no multiple of four wide, and ones wider than the kernels keep in registers.
#[test]
fn attention_of_any_width() {
    let mut draws = Draws(12);
    for (samples, share, heads, head, queries, keys) in
        [(2, 1, 3, 5, 4, 6), (1, 2, 2, 3, 1, 9), (1, 1, 1, 132, 5, 5), (2, 1, 2, 129, 3, 7)]
    {
        let width = heads * head;
        let [q, gpu_q] = draws.pair([samples * share, queries, width]);
        let [both, gpu_both] = draws.pair([samples, keys, 2 * width]);
        let [bias, gpu_bias] = draws.pair([1, heads, queries, keys]);
        let heads = Heads { count: heads, scale: 0.4, scales: None };
        let of = |q: Tensor<3>, both: &Tensor<3>, bias: Tensor<4>| {
            let [k, v] = Columns::parts(both);
            attention(&Columns::all(q), &KeysValues { k, v }, &Bias::new(bias), &heads)
        };
        let what = format!("{} heads of {head}, {queries} of {share} by {keys}", heads.count);
        assert_same(&what, of(q.clone(), &both, bias.clone()), of(gpu_q.clone(), &gpu_both, gpu_bias.clone()));
        if share == 1 {
            let of = |q: Tensor<3>, both: &Tensor<3>, bias: Tensor<4>| {
                let [k, v] = Columns::parts(both);
                attention_weights(&Columns::all(q), &KeysValues { k, v }, &Bias::new(bias), &heads)
            };
            assert_same(&what, of(q, &both, bias), of(gpu_q, &gpu_both, gpu_bias));
        }
    }
}

#[test]
fn convolutions_of_image_codes() {
    let mut draws = Draws(13);
    for (channels, outputs, kernel, side) in [(3, 5, 3, 6), (8, 4, 1, 4), (4, 4, 3, 8)] {
        let [weight, gpu_weight] = draws.pair([outputs, channels, kernel, kernel]);
        let [bias, gpu_bias] = draws.pair([outputs]);
        let [x, gpu_x] = draws.pair([2, channels, side, side]);
        let of = |weight, bias| Convolution { weight: Param::from_tensor(weight), bias: Param::from_tensor(bias) };
        let (plain, on_gpu) = (of(weight, bias), of(gpu_weight, gpu_bias));
        let what = format!("{outputs} of {channels}, window {kernel}");
        assert_same(&what, plain.forward(x.clone()), on_gpu.forward(gpu_x.clone()));
        if kernel == 3 {
            assert_same(&what, plain.downsample(x), on_gpu.downsample(gpu_x));
        }
    }
}

#[test]
fn norms_behind_convolutions() {
    let mut draws = Draws(14);
    let [weight, gpu_weight] = draws.weights([6, 27], 0);
    let [x, gpu_x] = draws.pair([1, 3, 5, 7]);
    let [residual, gpu_residual] = draws.pair([1, 6, 5, 7]);
    let [scale, mean, shift] = std::array::from_fn(|_| draws.pair([6]));
    let unit = |weight, at: usize| {
        let norm = BatchNorm {
            weight: Param::from_tensor(scale[at].clone()),
            bias: Param::from_tensor(shift[at].clone()),
            running_mean: RunningState::new(mean[at].clone()),
            running_var: RunningState::new(scale[at].clone().square() + 0.5),
            frozen: false,
        };
        ConvNorm { weight, bias: None, norm: Some(norm), kernel: 3, stride: 1 }
    };
    let expected = unit(weight, 0).forward(x, Some(residual), true);
    assert_same("a norm", expected, unit(gpu_weight, 1).forward(gpu_x, Some(gpu_residual), true));
}

/// A pass of two rows of one token, which differ from pass to pass.
fn moment_of(ids: [u32; 2]) -> Moment {
    let words = [&[0, 1, 0], &ids[..], &[0, 1]].concat();
    Moment { words: gpu::words(words, &gpu_device()), queries: [2, 1], keys: 1 }
}

fn rewrite(moment: &Moment, ids: [u32; 2]) {
    gpu::rewrite(&moment.words, [&[0, 1, 0], &ids[..], &[0, 1]].concat());
}

#[test]
fn steady_work_is_replayed() {
    let mut draws = Draws(12);
    let ([weight, gpu_weight], [table, gpu_table]) = (draws.weights([70, 64], 8), draws.weights([90, 64], 4));
    let [norm, gpu_norm] = draws.norms(64);
    let expected = |ids: [u32; 2]| weight.product(norm.forward(table.rows(&ids).reshape([1, 2, 64])).reshape([2, 64]));
    let moment = moment_of([3, 89]);
    let work = || {
        let rows = gpu::rows_of_pass(&gpu_table, &moment, 0);
        let (_, normed) = gpu::residual_norm(None, rows, None, &gpu_norm).expect("a width in fours");
        gpu::linear(normed, &gpu_weight, Finish { bias: None, activation: Activation::None })
    };
    let mut steady = gpu::Steady::first(&gpu_device(), work);
    let left = |steady: &gpu::Steady<Tensor<2>>| steady.left().cloned().expect("work that was done");
    assert_same("first", expected([3, 89]), left(&steady));
    for ids in [[0, 1], [89, 89], [42, 7]] {
        rewrite(&moment, ids);
        // SAFETY: All tensors that are read live on.
        assert!(unsafe { steady.again(work) });
        assert_same(&format!("again, {ids:?}"), expected(ids), left(&steady));
    }
}

#[test]
fn parts_of_a_table_make_rows_of_zeros() {
    let [table, gpu_table] = Draws(13).weights([50, 32], 4);
    let moment = moment_of([9, 120]);
    let found = |start| gpu::rows_of_pass(&gpu_table, &moment, start);
    assert_same("below and above", Tensor::zeros([2, 32], &Device::flex()), found(10));
    let second = table.rows(&[20]);
    assert_same("within", Tensor::cat(vec![second.zeros_like(), second], 0), found(100));
}

#[test]
fn work_that_cannot_be_recorded_can_be_done() {
    let [table, gpu_table] = Draws(14).weights([50, 32], 4);
    let moment = moment_of([5, 6]);
    let written = Tensor::<2>::zeros([2, 32], &gpu_device());
    let identity = Weight::Plain(Param::from_tensor(Tensor::eye(32, &gpu_device())));
    let work = || {
        let rows = gpu::rows_of_pass(&gpu_table, &moment, 0);
        // What the host sends is no launch.
        let rows = rows + Tensor::<2>::from_data([[1.0f32]], &gpu_device());
        gpu::linear_into(rows, &identity, Finish { bias: None, activation: Activation::None }, &written, &moment);
    };
    let mut steady = gpu::Steady::first(&gpu_device(), work);
    assert_same("first", table.rows(&[5, 6]) + 1.0, written.clone());
    rewrite(&moment, [7, 8]);
    // SAFETY: All tensors that are read live on.
    assert!(!unsafe { steady.again(work) });
    drop(steady);
    gpu::Steady::first(&gpu_device(), work);
    assert_same("done", table.rows(&[7, 8]) + 1.0, written);
}
