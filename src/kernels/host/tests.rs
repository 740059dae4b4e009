//! Every kernel against the plain-tensor version, on shapes that fill no register, no tile and no block.

use super::*;
use crate::config::Quantization;
use crate::kernels::attention::{Bias, Columns, Heads, KeysValues, plain_attention};
use crate::kernels::{
    Activation, NextTokens, PackedWeight, Pairs, RelativeRow, Splitting, Table, TokenScoring, Weight, Words,
    allowed_alone, indices, split_heads,
};
use burn::module::Param;
use burn::tensor::module::{conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Distribution, activation};
use half::f16;

/// Sums of some hundred products of values around 1, in another order.
const TOLERANCE: f32 = 2e-4;
/// As much, where sums of up to nine such sums cancel out, of weights of up to 4 too.
const PLACES_TOLERANCE: f32 = 1e-3;
/// As [`TOLERANCE`], of values that are rounded to a 32,767th of the greatest around them, which is 2.7 or so, and weights of
/// 1.4: √1,024 · 2.7 · 1.4 / 32,767 / √12, and seven times that for the worst of thousands. It is a 200th of what 8 bits cost,
/// and a 40th where one value is thousands of times the others.
const COUNTED_TOLERANCE: f32 = 8e-3;
/// Three roundings to f32, of values below 20.
const JOINED_TOLERANCE: f32 = 3.6e-6;
/// As [`TOLERANCE`], and what a sum may be off by for rows that are not read whole.
const SPLIT_TOLERANCE: f32 = 3e-4;
/// Ten times what a sum of tens of thousands of rows that are not read whole usually is off by.
const SUM_TOLERANCE: f32 = 1e-4;
/// Log-probabilities of rows of some tens of thousands.
const LOG_TOLERANCE: f32 = 2e-5;

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

fn assert_close<const D: usize>(found: Option<Tensor<D>>, expected: Tensor<D>, tolerance: f32, what: &str) {
    let found = found.unwrap_or_else(|| panic!("{what}: the kernel takes it"));
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let difference = (found - expected).abs().max().into_scalar::<f32>();
    assert!(difference < tolerance, "{what}: {difference}");
}

#[test]
fn linear_layers_of_odd_shapes() {
    for (rows, depth, count) in [
        (1, 3, 1),
        (1, 256, 1031),
        (2, 67, 9),
        (3, 64, 33),
        (4, 5, 7),
        (5, 256, 258),
        (13, 31, 17),
        (16, 7, 1),
        (37, 300, 41),
        (70, 520, 19),
    ] {
        let (x, weight, bias) = (random([1, rows, depth]), random([count, depth]), random([count]));
        let matrix = Matrix::plain(&weight).expect("weights that the kernels read");
        let plain = |x: Tensor<3>| x.matmul(weight.clone().transpose().unsqueeze()) + bias.clone().unsqueeze();
        let what = format!("{rows} x {depth} x {count}");
        let found = linear(&x, &matrix, Ending { bias: Some(&bias), ..Ending::default() });
        assert_close(found, plain(x.clone()), TOLERANCE, &what);
        let found = linear(&x, &matrix, Ending { bias: Some(&bias), residual: None, activation: Activation::Gelu });
        assert_close(found, activation::gelu(plain(x)), TOLERANCE, &what);
    }
}

#[test]
fn the_greatest_of_windows_at_every_border() {
    for shape in [[1, 1, 1, 1], [2, 3, 5, 4], [1, 2, 1, 9], [1, 1, 6, 2], [1, 5, 17, 33]] {
        let x = random(shape);
        let options = MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]);
        assert_close(max_pool(&x), max_pool2d(x, options), f32::MIN_POSITIVE, &format!("{shape:?}"));
    }
}

/// A convolution whose padding keeps the size at stride 1, with all that may end it, against the backend's own.
fn assert_convolves(
    matrix: &Matrix<'_>,
    weight: Tensor<4>,
    [batch, stride]: [usize; 2],
    [height, width]: [usize; 2],
    tolerance: f32,
) {
    let [out, channels, kernel, _] = weight.dims();
    let padding = kernel / 2;
    let (x, bias) = (random([batch, channels, height, width]), random([out]));
    let options = ConvOptions::new([stride; 2], [padding; 2], [1, 1], 1);
    let plain = conv2d(x.clone(), weight, Some(bias.clone()), options);
    let residual = random(plain.dims());
    let window = [kernel, stride, padding];
    let what = format!("{channels} to {out}, kernel {kernel}, stride {stride}, {height} x {width}");
    let found = convolution(&x, matrix, window, Ending { bias: Some(&bias), ..Ending::default() });
    assert_close(found, plain.clone(), tolerance, &what);
    let ending = Ending { bias: Some(&bias), residual: Some(&residual), activation: Activation::Relu };
    assert_close(convolution(&x, matrix, window, ending), activation::relu(plain + residual), tolerance, &what);
}

#[test]
fn convolutions_of_odd_shapes() {
    for (batch, channels, out, kernel, stride, size) in [
        (1, 3, 5, 7, 2, [23, 17]),
        (2, 5, 7, 3, 1, [6, 5]),
        (1, 33, 9, 1, 1, [7, 9]),
        (2, 4, 3, 1, 2, [5, 8]),
        (1, 30, 13, 3, 2, [19, 40]),
        (1, 2, 6, 3, 1, [1, 1]),
        // Wider than a panel, and rows a page apart.
        (1, 3, 5, 7, 2, [9, 140]),
        (1, 20, 30, 1, 1, [40, 30]),
    ] {
        let weight = random([out, channels, kernel, kernel]);
        let matrix = Matrix::plain(&weight).expect("weights that the kernels read");
        assert_convolves(&matrix, weight, [batch, stride], size, TOLERANCE);
    }
}

#[test]
fn convolutions_by_fewer_products() {
    // One row of tiles at a time, several, all, and the last ones fewer.
    for (batch, channels, out, size) in
        [(1, 61, 75, [5, 270]), (2, 72, 66, [24, 24]), (1, 96, 67, [16, 15]), (1, 80, 95, [31, 45])]
    {
        assert!(winograd::pays([out, channels], size), "{channels} to {out}");
        let weight = random([out, channels, 3, 3]);
        let matrix = Matrix::plain(&weight).expect("weights that the kernels read");
        assert_convolves(&matrix, weight, [batch, 1], size, PLACES_TOLERANCE);
        let channels = channels.next_multiple_of(32);
        for bits in [8, 4] {
            let (weight, values) = packed([out, channels * 9], bits);
            let matrix = Matrix::of(&weight).expect("weights that the kernels read");
            assert_convolves(&matrix, values.reshape([out, channels, 3, 3]), [batch, 1], size, PLACES_TOLERANCE);
        }
    }
}

/// Where it does not pay too.
#[test]
fn fewer_products_of_the_smallest_images() {
    for (channels, out, size) in [(1, 1, [1, 1]), (3, 2, [1, 7]), (17, 5, [9, 1]), (2, 33, [2, 2]), (4, 3, [3, 300])] {
        let (x, weight) = (random([1, channels, size[0], size[1]]), random([out, channels, 3, 3]));
        let plain = conv2d(x.clone(), weight.clone(), None, ConvOptions::new([1, 1], [1, 1], [1, 1], 1));
        let kernels = winograd::Kernels::of(&Matrix::plain(&weight).expect("weights that the kernels read"));
        let mut found = vec![f32::NAN; out * size[0] * size[1]];
        let image = Values::of(&x).expect("values in host memory");
        let (place, finish) = (parallel::Shared::new(&mut found), product::Finish::default());
        winograd::convolve(image.as_slice(), size, &kernels.expect("plain weights"), place, &finish);
        let found = tensor(found, [1, out, size[0], size[1]], &Device::flex());
        assert_close(Some(found), plain, PLACES_TOLERANCE, &format!("{channels} to {out}, {size:?}"));
    }
}

#[test]
fn relative_biases_of_all_pairs() {
    let (image, token) = (random([5, 3]), random([4, 3]));
    let both = Tensor::cat(vec![image.clone(), token.clone(), Tensor::zeros([1, 3], &Device::flex())], 0);
    for (batch, samples, queries, keys) in [(1, 1, 3, 7), (2, 1, 1, 5), (1, 3, 4, 4), (2, 2, 5, 6)] {
        let pair = |sample: usize, query: usize, key: usize| (sample * 3 + query * 5 + key) % 10;
        let pairs = Pairs::new([samples, queries, keys], &Device::flex(), |sample, query, key| {
            match pair(sample, query, key) {
                row @ 0..5 => RelativeRow::Image(row),
                row @ 5..9 => RelativeRow::Token(row - 5),
                _ => RelativeRow::None,
            }
        });
        let rows = (0..samples)
            .flat_map(|sample| (0..queries).flat_map(move |query| (0..keys).map(move |key| pair(sample, query, key))));
        let relative = both.clone().select(0, indices(rows, &Device::flex())).reshape([samples, queries, keys, 3]);
        let absolute = random([batch, 3, queries, keys]);
        let plain = absolute.clone() + relative.permute([0, 3, 1, 2]);
        let found = pairs.expect("host memory").add(absolute, [image.clone(), token.clone()]);
        assert_close(Some(found), plain, f32::EPSILON, &format!("{samples} of {queries} x {keys}"));
    }
}

#[test]
fn attention_of_odd_shapes() {
    for (samples, beams, count, queries, keys, depth) in [
        (1, 1, 1, 1, 1, 3),
        (2, 1, 3, 1, 13, 64),
        (2, 3, 2, 1, 9, 5),
        (2, 2, 3, 4, 11, 16),
        (1, 1, 2, 5, 70, 20),
        (2, 1, 4, 67, 67, 12),
        (1, 4, 1, 25, 300, 64),
        (1, 1, 2, 193, 31, 8),
    ] {
        let (rows, width) = (samples * beams, count * depth);
        let of = |tensor: Tensor<3>| Columns { tensor, column: 2, width };
        let q = of(random([rows, queries, width + 3]));
        let [k, v] = [0, 1].map(|_| of(random([samples, keys, width + 2])));
        let kv = KeysValues { k, v };
        let first = 2;
        let alone = if queries == 1 { rows } else { samples };
        for [batch, of_heads] in [[1, 1], [1, count], [samples, count], [alone, count]] {
            let values = random([batch, of_heads, first + queries, keys + 1]);
            for scales in [None, Some(random([count]))] {
                let (bias, heads) = (Bias { first, ..Bias::new(values.clone()) }, Heads { count, scale: 0.7, scales });
                let what = format!("{rows} rows of {queries} queries, {keys} keys, bias of {batch} x {of_heads}");
                let plain = plain_attention(&q, &kv, &bias, &heads);
                assert_close(attention(&q, &kv, &bias, &heads), plain, TOLERANCE, &what);
            }
        }
    }
}

#[test]
fn scores_of_odd_shapes() {
    for (asked, known, heads, queries, keys, depth) in
        [(1, 1, 1, 1, 1, 3), (1, 3, 2, 5, 17, 8), (2, 1, 3, 33, 4, 20), (2, 2, 4, 13, 300, 64)]
    {
        let (q, k) = (random([asked, queries, heads * depth]), random([known, keys, heads * depth]));
        let [apart, below] = [&q, &k].map(|x| split_heads(x.clone(), heads));
        let plain = apart.matmul(below.swap_dims(2, 3));
        assert_close(scores(&q, &k, heads), plain, TOLERANCE, &format!("{heads} heads, {queries} x {keys}"));
    }
}

#[test]
fn pixels_of_odd_shapes_as_rows() {
    for [batch, channels, height, width] in [[1, 1, 1, 1], [2, 8, 3, 5], [1, 13, 7, 4], [1, 32, 8, 8]] {
        let x = random([batch, channels, height, width]);
        let plain = x.clone().reshape([batch, channels, height * width]).swap_dims(1, 2);
        assert_close(pixels_as_rows(&x), plain, f32::MIN_POSITIVE, &format!("{channels} x {height} x {width}"));
    }
}

#[test]
fn norms_and_log_probabilities_of_odd_widths() {
    for width in [1, 3, 8, 61, 59_457] {
        let (x, weight, bias) = (random([3, width]), random([width]), random([width]));
        let plain = burn::tensor::module::layer_norm(x.clone(), weight.clone(), Some(bias.clone()), 1e-5);
        let found = layer_norm(&x, &weight, &bias, 1e-5);
        assert_close(found, plain, TOLERANCE, "norm");
        let logits = x * 10.0;
        assert_close(log_softmax(&logits), activation::log_softmax(logits, 1), LOG_TOLERANCE, "log-probabilities");
    }
}

/// A packed matrix of random codes, and its values.
fn packed([count, depth]: [usize; 2], bits: usize) -> (Weight, Tensor<2>) {
    // As large groups as there are of whole ones.
    let group_size = Quantization::GROUP_SIZES.into_iter().rev().find(|size| depth.is_multiple_of(*size)).unwrap_or(32);
    let words = |salt: u32, count: usize| (0..count as u32).map(move |i| (i + salt).wrapping_mul(2_654_435_761));
    let codes = words(1, count * depth * bits / 32).collect();
    let halves =
        |salt| words(salt, count * depth / group_size).map(|word| f16::from_f32((word >> 8) as f32 * 1e-9)).collect();
    let (scales, biases): (Vec<f16>, Vec<f16>) = (halves(5), halves(9));
    let device = Device::flex();
    let codes = Words::new(codes, &device);
    let quantization = Quantization { bits, group_size };
    let packed = PackedWeight::new([count, depth], quantization, codes, [&scales, &biases], &device);
    let values = packed.unpacked();
    (Weight::Packed(packed), values)
}

#[test]
fn packed_weights_of_odd_shapes() {
    for bits in [8, 4] {
        for (rows, depth, count) in
            [(1, 32, 1), (1, 256, 1031), (2, 96, 9), (5, 64, 7), (9, 320, 21), (16, 32, 3), (37, 544, 41)]
        {
            let (weight, values) = packed([count, depth], bits);
            let matrix = Matrix::of(&weight).expect("weights that the kernels read");
            let x = random([rows, depth]);
            let plain = x.clone().matmul(values.transpose());
            let what = format!("{bits} bits, {rows} x {depth} x {count}");
            assert_close(linear(&x, &matrix, Ending::default()), plain, COUNTED_TOLERANCE, &what);
        }
        let (weight, values) = packed([7, 32 * 9], bits);
        let x = random([1, 32, 9, 11]);
        let plain = conv2d(x.clone(), values.reshape([7, 32, 3, 3]), None, ConvOptions::new([2, 2], [1, 1], [1, 1], 1));
        let found =
            convolution(&x, &Matrix::of(&weight).expect("weights that the kernels read"), [3, 2, 1], Ending::default());
        assert_close(found, plain, COUNTED_TOLERANCE, &format!("a convolution of {bits} bits"));
    }
}

/// Whatever the machine's registers: where they add no pairs, it is only slow.
#[test]
fn counted_products_of_odd_shapes() {
    use counted::{CountedWeights, RoundedPatches, RoundedRows};
    use parallel::Room;
    use product::{Finish, Rows, product};
    for bits in [8, 4] {
        for (rows, depth, count) in [(1, 32, 1), (7, 256, 33), (13, 544, 41), (20, 320, 5), (6, 1024, 70)] {
            let (weight, values) = packed([count, depth], bits);
            let Some(Matrix::Packed(matrix)) = Matrix::of(&weight) else { panic!("packed weights") };
            assert!(counted::suits(&matrix));
            // A row of zeros, and one of what is no number.
            let x = random([rows, depth]);
            let x = x.slice_assign([0..1, 0..depth], Tensor::zeros([1, depth], &Device::flex()));
            let wrong = Tensor::full([1, 1], if bits == 8 { f32::NAN } else { f32::INFINITY }, &Device::flex());
            let x = if rows > 1 { x.slice_assign([1..2, depth - 3..depth - 2], wrong) } else { x };
            let plain = x.clone().matmul(values.transpose());
            let x = Values::of(&x).expect("values in host memory");
            let left = RoundedRows::new(Rows { values: x.as_slice(), stride: depth }, [rows, depth], matrix.group);
            let mut found = Room::new(rows * count);
            let (out, finish) = (found.shared(), Finish::default());
            product(&left, &CountedWeights(&matrix), [rows, depth, count], out, count, &finish);
            let found = tensor::<2>(unsafe { found.filled() }, [rows, count], &Device::flex());
            let what = format!("{bits} bits, {rows} x {depth} x {count}");
            if rows > 1 {
                let row = found.clone().slice([1..2, 0..count]).to_data().try_to_vec::<f32>().expect("f32");
                assert!(row.iter().all(|value| value.is_nan()), "{what}: {row:?}");
            }
            for part in [0..1, 2.min(rows)..rows].into_iter().filter(|part| !part.is_empty()) {
                let of = |all: &Tensor<2>| all.clone().slice([part.clone(), 0..count]);
                assert_close(Some(of(&found)), of(&plain), COUNTED_TOLERANCE, &what);
            }
        }
        for (channels, out, kernel, stride, [height, width]) in
            [(32, 9, 1, 1, [7, 9]), (64, 13, 3, 2, [19, 40]), (32, 6, 3, 1, [1, 1]), (160, 7, 1, 2, [40, 33])]
        {
            let depth = channels * kernel * kernel;
            let (weight, values) = packed([out, depth], bits);
            let Some(Matrix::Packed(matrix)) = Matrix::of(&weight) else { panic!("packed weights") };
            let x = random([1, channels, height, width]);
            let options = ConvOptions::new([stride; 2], [kernel / 2; 2], [1, 1], 1);
            let plain = conv2d(x.clone(), values.reshape([out, channels, kernel, kernel]), None, options);
            let [_, _, out_height, out_width] = plain.dims();
            let image = Values::of(&x).expect("values in host memory");
            let (image, padding) = (image.as_slice(), kernel / 2);
            let patches = convolution::Patches { image, height, width, kernel, stride, padding, out_width, out_height };
            let patches = RoundedPatches { patches: &patches, group: matrix.group };
            let pixels = out_height * out_width;
            let mut found = Room::new(out * pixels);
            let (place, finish) = (found.shared(), Finish::default());
            product(&CountedWeights(&matrix), &patches, [out, depth, pixels], place, pixels, &finish);
            let found = tensor(unsafe { found.filled() }, [1, out, out_height, out_width], &Device::flex());
            assert_close(Some(found), plain, COUNTED_TOLERANCE, &format!("{bits} bits, {channels} to {out}, {kernel}"));
        }
    }
}

#[test]
fn what_is_no_number_stays_none() {
    for bits in [8, 4] {
        let (weight, _) = packed([9, 64], bits);
        for at in [0, 5, 63] {
            let x = random([1, 64]).slice_assign([0..1, at..at + 1], Tensor::full([1, 1], f32::NAN, &Device::flex()));
            let found = linear(&x, &Matrix::of(&weight).expect("weights that the kernels read"), Ending::default());
            let found = found.expect("a kernel").to_data().try_to_vec::<f32>().expect("f32");
            assert!(found.iter().all(|value| value.is_nan()), "{bits} bits, {at}: {found:?}");
        }
    }
}

#[test]
fn tokens_chosen_among_some() {
    let (count, depth) = (400, 64);
    let values = random([count, depth]);
    let mut parts = Splitting::new([count, depth]);
    assert!(parts.extend(&values.to_data().try_to_vec::<f32>().expect("f32")));
    let plain = |range| Weight::Plain(Param::from_tensor(values.clone().slice([range, 0..depth])));
    let tables = [
        ("plain", vec![plain(0..count)]),
        ("plain, in two", vec![plain(0..20), plain(20..count)]),
        ("packed", vec![packed([count, depth], 8).0]),
        ("packed, in two", vec![packed([90, depth], 4).0, packed([count - 90, depth], 4).0]),
        ("split", vec![Weight::Split(parts.into_weight(&Device::flex()))]),
    ];
    let ids: Vec<u32> = (0..4).chain(50..120).collect();
    let probes = vec![vec![7, 60], vec![119], vec![]];
    for (what, parts) in tables {
        let (table, hidden) = (Table::new(parts), random([3, depth]));
        let constraint = Some(allowed_alone(count, &ids, &Device::flex()));
        let scoring = TokenScoring { temperature: 0.7, constraint, constrain_after: false };
        let expected = pollster::block_on(scoring.best(table.project(hidden.clone()), 80, &probes)).expect("a CPU");
        let choice = table.choice(&ids).expect("few of them");
        let found = pollster::block_on(choice.next_tokens(hidden).best(&scoring, 80, &probes)).expect("a CPU");
        for (found, expected) in found.0.iter().zip(&expected.0) {
            assert_eq!(found.len(), ids.len(), "{what}: there are no others");
            for (found, expected) in found.iter().zip(expected) {
                assert_eq!(found.0, expected.0, "{what}");
                assert!((found.1 - expected.1).abs() < COUNTED_TOLERANCE, "{what}: {found:?}, {expected:?}");
            }
        }
        assert!(found.1[0][0] < -1e20, "{what}: 7 is forbidden");
        for (found, expected) in [(found.1[0][1], expected.1[0][1]), (found.1[1][0], expected.1[1][0])] {
            assert!((found - expected).abs() < COUNTED_TOLERANCE, "{what}: {found}, {expected}");
        }
        assert!(found.1[2].is_empty());
        assert!(table.choice(&(0..count as u32 / 2).collect::<Vec<_>>()).is_none(), "too many to gain from it");
    }
}

#[test]
fn the_few_greatest_products_of_split_weights() {
    for (rows, depth, count, scale) in [
        (1, 256, 1031, 1.0),
        (1, 256, 1031, 0.01),
        (5, 64, 3001, 0.2),
        (2, 192, 9, 1.0),
        (7, 64, 700, 4.0),
        (3, 128, 65, 0.0),
    ] {
        let (x, values) = (random([rows, depth]), random([count, depth]) * scale);
        let mut parts = Splitting::new([count, depth]);
        assert!(parts.extend(&values.to_data().try_to_vec::<f32>().expect("f32")));
        assert!(!parts.extend(&vec![f32::NAN; depth]), "what is not finite is refused");
        let weight = parts.into_weight(&Device::flex());
        assert_close(Some(weight.unpacked()), values.clone(), JOINED_TOLERANCE, "both parts");
        let some = values.clone().select(0, indices([2, 0].into_iter(), &x.device()));
        assert_close(Some(weight.rows(&[2, 0])), some, JOINED_TOLERANCE, "rows of both parts");

        let what = format!("{rows} x {depth} x {count}, weights around {scale}");
        let logits = x.clone().matmul(values.transpose());
        let whole = Weight::Split(weight.clone());
        let found = linear(&x, &Matrix::of(&whole).expect("weights that the kernels read"), Ending::default());
        assert_close(found, logits.clone(), TOLERANCE, &what);

        let probes: Vec<Vec<u32>> = (0..rows as u32).map(|row| vec![row, count as u32 - 1]).collect();
        let all = activation::log_softmax(logits.clone(), 1).to_data().try_to_vec::<f32>().expect("f32");
        for k in [1, 4, 70] {
            let scoring = TokenScoring { temperature: 1.0, constraint: None, constrain_after: false };
            let expected = pollster::block_on(scoring.best(logits.clone(), k, &probes)).expect("a CPU");
            let next = NextTokens::Behind(x.clone(), weight.clone());
            let found = pollster::block_on(next.best(&scoring, k, &probes)).expect("a CPU");
            for (row, (found, expected)) in found.0.iter().zip(&expected.0).enumerate() {
                assert_eq!(found.len(), expected.len(), "{what}");
                for (found, expected) in found.iter().zip(expected) {
                    // Where two are as good as equal either may stand here, with its own value.
                    let own = all[row * count + found.0 as usize];
                    for expected in [expected.1, own] {
                        assert!((found.1 - expected).abs() < SPLIT_TOLERANCE, "{what}: {found:?}, {expected}");
                    }
                }
            }
            let pairs = found.1.iter().flatten().zip(expected.1.iter().flatten());
            pairs.for_each(|(found, expected)| assert!((found - expected).abs() < SPLIT_TOLERANCE, "{what}"));
        }
    }
}

#[test]
fn sums_of_rows_not_read_whole_that_have_something_in_common() {
    let (depth, count, mut read_in_part) = (256, 20_000, 0);
    for (common, apart, towards) in
        [(0.1, 0.05, 0.0), (1.0, 0.1, 0.0), (0.0, 0.1, 0.0), (0.1, 0.05, 4.0), (0.0, 0.02, 8.0)]
    {
        let values = random([1, depth]) * common + random([count, depth]) * apart;
        let mut parts = Splitting::new([count, depth]);
        assert!(parts.extend(&values.to_data().try_to_vec::<f32>().expect("f32")));
        let weight = parts.into_weight(&Device::flex());
        // Towards a row, which is then more probable than others.
        let x = random([3, depth]) + values.clone().slice([7..8, 0..depth]) * towards;
        let logits = x.clone().matmul(values.transpose());
        let expected = activation::log_softmax(logits, 1).slice([0..3, 7..8]);
        let expected = expected.to_data().try_to_vec::<f32>().expect("f32");
        // Where too many rows would be read whole, all are.
        let Some((_, probed)) = best_products(&x, &weight, 5, &vec![vec![7]; 3]) else { continue };
        read_in_part += 1;
        for (found, expected) in probed.iter().zip(expected) {
            let what = format!("{common}, {apart}, {towards}: {found:?}, {expected}");
            assert!((found[0] - expected).abs() < SUM_TOLERANCE, "{what}, {}", found[0] - expected);
        }
    }
    assert!(read_in_part >= 3, "{read_in_part}");
}

/// All of these again without the widest registers, where the machine has two kinds.
#[cfg(target_arch = "x86_64")]
#[test]
fn narrower_registers_find_the_same() {
    if std::env::var_os(super::lanes::NARROW).is_some() {
        return;
    }
    let tests = std::env::current_exe().expect("the tests' own file");
    let run = std::process::Command::new(tests).arg("kernels::host").env(super::lanes::NARROW, "1").output();
    let output = run.expect("tests that run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[cfg(feature = "train")]
#[test]
fn gradients_are_left_to_the_plain_version() {
    let device = Device::flex().autodiff();
    let x = Tensor::<2>::zeros([2, 3], &device);
    assert!(Matrix::plain(&x).is_none());
    assert!(log_softmax(&x).is_none());
}
