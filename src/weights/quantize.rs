//! Affine quantisation in groups along the input dimension, as MLX packs it.
//!
//! `X.weight` is U32 `[out, in · bits / 32]`, low bits first; `X.scales` and `X.biases` are f16 `[out, in / group]`;
//! a weight is `scale · u + bias`. Scale and bias are those of least squared error among some: codes to both sides of zero
//! alike (`bias = −2^(bits−1) · scale`), the group's range, for 4 bits what cuts its ends or fits the codes better, and for
//! 8 bits what holds values that 4 bits held.

use super::feedback::{ErrorFeedback, TOGETHER};
use super::fold::STEM;
use super::raw::{Dtype, RawTensor, Tensors};
use crate::config::{Packing, Quantization};
use crate::error::{Error, Result};
use half::f16;

/// How one tensor is stored in a bundle of quantised weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// Words, scales and biases.
    Packed,
    /// f16 as it is.
    Half,
}

/// Which tensors are packed: the matrices that matrix products and convolutions read, and the embeddings of tokens and
/// of positions.
///
/// Relative tables and `type_embedding` are narrow or looked up in small numbers and decide every attention; norms,
/// biases and `c_attn` are small: all of them stay f16. So do matrices whose rows are no multiple of the group,
/// such as the stem's first convolution. `shape` is that of the unpacked tensor; convolutions count as
/// `[out, in · kh · kw]`.
pub fn precision_of(name: &str, shape: &[usize], group_size: usize) -> Storage {
    let Some(module) = name.strip_suffix(".weight") else { return Storage::Half };
    let last = module.rsplit('.').next().unwrap_or_default();
    let matrix = match shape {
        [_, _] => {
            let linear = ["_proj", "_linear", "fc1", "fc2"].iter().any(|end| last.ends_with(end));
            linear || matches!(last, "embed_tokens" | "embed_positions" | "embed_image_positions")
        }
        [_, _, _, _] => name.starts_with(STEM),
        _ => false,
    };
    let columns: usize = shape.iter().skip(1).product();
    if matrix && columns > 0 && columns.is_multiple_of(group_size) { Storage::Packed } else { Storage::Half }
}

/// A quantised matrix `[rows, columns]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Packed {
    pub rows: usize,
    pub columns: usize,
    pub quantization: Quantization,
    /// `[rows, columns · bits / 32]`
    pub words: Vec<u32>,
    /// `[rows, columns / group]`
    pub scales: Vec<f16>,
    /// `[rows, columns / group]`
    pub biases: Vec<f16>,
}

/// Quantises `weights`, `[rows, columns]` in row-major order: each to its nearest step or, with `feedback`, so that errors
/// take each other back. `name` serves messages.
///
/// # Errors
/// [`Error::Tensor`] when the columns are no multiple of the group, or a value is not finite or beyond f16's scales.
pub fn quantize(
    name: &str,
    weights: &[f32],
    columns: usize,
    quantization: Quantization,
    feedback: Option<&ErrorFeedback>,
) -> Result<Packed> {
    let Quantization { bits, group_size } = quantization;
    check(name, columns, quantization)?;
    if !weights.len().is_multiple_of(columns) {
        return Err(Error::tensor(name, format!("rows of {columns} values"), format!("{} values", weights.len())));
    }
    let groups = weights.len() / group_size;
    let mut packed = Packed {
        rows: weights.len() / columns,
        columns,
        quantization,
        words: Vec::with_capacity(weights.len() * bits / 32),
        scales: Vec::with_capacity(groups),
        biases: Vec::with_capacity(groups),
    };
    if let Some(value) = weights.iter().find(|value| !value.is_finite()) {
        return Err(Error::tensor(name, "finite values", value));
    }
    for rows in weights.chunks(TOGETHER * columns) {
        let (codes, steps) = match feedback {
            Some(feedback) => rounded_with(feedback, rows, columns, quantization),
            None => rounded(rows, quantization),
        };
        if steps.iter().any(|steps| steps.scale.is_infinite() || steps.bias.is_infinite()) {
            return Err(Error::tensor(name, "values that fit f16", "larger ones"));
        }
        packed.scales.extend(steps.iter().map(|steps| f16::from_f32(steps.scale)));
        packed.biases.extend(steps.iter().map(|steps| f16::from_f32(steps.bias)));
        let word = |word, (place, code): (usize, &f32)| word | (*code as u32) << (place * bits);
        packed.words.extend(codes.chunks_exact(32 / bits).map(|codes| codes.iter().enumerate().fold(0, word)));
    }
    Ok(packed)
}

/// Codes of each weight and steps of each group.
fn rounded(rows: &[f32], Quantization { bits, group_size }: Quantization) -> (Vec<f32>, Vec<Steps>) {
    let (top, groups) = (top(bits), rows.chunks_exact(group_size));
    let steps: Vec<Steps> = groups.clone().map(|group| Steps::of(group, bits)).collect();
    let codes =
        |(group, steps): (&[f32], &Steps)| group.iter().map(|value| steps.code(*value, top)).collect::<Vec<_>>();
    (groups.zip(&steps).flat_map(codes).collect(), steps)
}

/// The same column by column, each rounded from what the errors of those before it ask for.
fn rounded_with(
    feedback: &ErrorFeedback,
    rows: &[f32],
    columns: usize,
    Quantization { bits, group_size }: Quantization,
) -> (Vec<f32>, Vec<Steps>) {
    let (top, count, groups) = (top(bits), rows.len() / columns, columns / group_size);
    let mut targets = rows.to_vec();
    let (mut codes, mut steps) = (vec![0.0; rows.len()], vec![Steps::default(); count * groups]);
    for k in 0..columns {
        let (group, mut errors) = (k / group_size, [0.0; TOGETHER]);
        for (row, error) in errors[..count].iter_mut().enumerate() {
            let (at, steps) = (row * columns + k, &mut steps[row * groups + group]);
            if k % group_size == 0 {
                *steps = Steps::of(&targets[at..at + group_size], bits);
            }
            codes[at] = steps.code(targets[at], top);
            *error = rows[at] - steps.value(codes[at]);
        }
        feedback.carry(k, &errors[..count], &mut targets);
    }
    (codes, steps)
}

/// The greatest code.
fn top(bits: usize) -> f32 {
    Quantization::greatest_code(bits) as f32
}

/// What of the range of a group the codes may span: with less than all its ends are cut a little and the values between
/// gain. At 8 bits that makes no difference worth its time.
const SPANS_4: [f32; 3] = [1.0, 0.9, 0.8];
const SPANS_8: [f32; 1] = [1.0];
/// How often scale and bias are fitted to the codes, and the codes to them.
const FITS_4: usize = 3;
const FITS_8: usize = 0;

/// The values of codes: `scale · u + bias`, both as f16 holds them.
#[derive(Clone, Copy, Default)]
struct Steps {
    scale: f32,
    bias: f32,
}

impl Steps {
    /// Those with the least squared error of those tried.
    fn of(group: &[f32], bits: usize) -> Self {
        let top = top(bits);
        let (spans, fits): (&[f32], _) = if bits == 4 { (&SPANS_4, FITS_4) } else { (&SPANS_8, FITS_8) };
        let (least, greatest) =
            group.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), value| (a.min(*value), b.max(*value)));
        let stored = |value: f32| f16::from_f32(value).to_f32();
        let new = |scale: f32, bias: f32| Self { scale: stored(scale), bias: stored(bias) };
        let half = (top + 1.0) / 2.0;
        let alike = greatest.max(-least) / (half - 1.0);
        let cut = spans.iter().map(|span| {
            let (middle, reach) = ((least + greatest) / 2.0, (greatest - least) / 2.0 * span);
            new(2.0 * reach / top, middle - reach)
        });
        // Sixteen codes of eight bits to a code of four: what was rounded for those is there to the last bit.
        let apart = (bits == 8).then(|| new((greatest - least) / (16.0 * self::top(4)), least));
        let mut best: Option<(f32, Self)> = None;
        for mut steps in std::iter::once(new(alike, -half * alike)).chain(cut).chain(apart) {
            for fit in 0..=fits {
                let error = steps.error(group, top);
                if best.is_none_or(|(least, _)| error < least) {
                    best = Some((error, steps));
                }
                if fit < fits {
                    let (scale, bias) = steps.fitted(group, top);
                    steps = new(scale, bias);
                }
            }
        }
        best.map_or(new(0.0, 0.0), |(_, steps)| steps)
    }

    /// The code whose value is nearest.
    fn code(&self, value: f32, top: f32) -> f32 {
        // From here on floats are whole, so that the sum is rounded: an instruction, where rounding may be a call.
        const WHOLE: f32 = (1 << 23) as f32;
        let level = ((value - self.bias) / self.scale).clamp(0.0, top);
        if self.scale == 0.0 { 0.0 } else { level + WHOLE - WHOLE }
    }

    fn value(&self, code: f32) -> f32 {
        self.scale * code + self.bias
    }

    fn error(&self, group: &[f32], top: f32) -> f32 {
        group.iter().map(|value| (value - self.value(self.code(*value, top))).powi(2)).sum()
    }

    /// Scale and bias of the line through the codes of a group and its values.
    fn fitted(&self, group: &[f32], top: f32) -> (f32, f32) {
        let count = group.len() as f32;
        let codes = || group.iter().map(|value| self.code(*value, top));
        let (code, value) = (codes().sum::<f32>() / count, group.iter().sum::<f32>() / count);
        let spread: f32 = codes().map(|each| (each - code).powi(2)).sum();
        if spread == 0.0 {
            return (0.0, value);
        }
        let along: f32 = codes().zip(group).map(|(each, of)| (each - code) * (of - value)).sum();
        let scale = along / spread;
        (scale, value - scale * code)
    }
}

impl Packed {
    /// The weights `[rows, columns]` that the packed numbers stand for.
    pub fn unpack(&self) -> Vec<f32> {
        let Quantization { bits, group_size } = self.quantization;
        let per_word = 32 / bits;
        let mask = Quantization::greatest_code(bits);
        let codes = self.words.iter().flat_map(|word| (0..per_word).map(move |place| word >> (place * bits) & mask));
        codes
            .enumerate()
            .map(|(index, code)| {
                let group = index / group_size;
                code as f32 * self.scales[group].to_f32() + self.biases[group].to_f32()
            })
            .collect()
    }

    /// The three tensors of a bundle; `name` is that of the weight, `X.weight`.
    pub fn into_tensors(self, name: &str) -> Result<[(String, RawTensor<'static>); 3]> {
        let [weight, scales, biases] = packed_names(name);
        let [words_shape, groups_shape] = packed_shapes(self.rows, self.columns, self.quantization);
        let bytes = |values: &[f16]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let words: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let words = RawTensor::new(&weight, Dtype::U32, words_shape, words)?;
        let scale_tensor = RawTensor::new(&scales, Dtype::F16, groups_shape.clone(), bytes(&self.scales))?;
        let bias_tensor = RawTensor::new(&biases, Dtype::F16, groups_shape, bytes(&self.biases))?;
        Ok([(weight, words), (scales, scale_tensor), (biases, bias_tensor)])
    }

    /// The inverse of [`Packed::into_tensors`].
    ///
    /// # Errors
    /// [`Error::Tensor`] when types or shapes do not belong together.
    pub fn from_tensors(
        name: &str,
        [words, scales, biases]: [&RawTensor<'_>; 3],
        quantization: Quantization,
    ) -> Result<Self> {
        let [rows, width] = <[usize; 2]>::try_from(words.shape.as_slice())
            .map_err(|_| Error::tensor(name, "packed words [out, in · bits / 32]", format!("{:?}", words.shape)))?;
        let columns = width.saturating_mul(32) / quantization.bits;
        check(name, columns, quantization)?;
        let [_, groups_shape] = packed_shapes(rows, columns, quantization);
        let [_, scales_name, biases_name] = packed_names(name);
        let halves = |name: &str, tensor: &RawTensor<'_>| {
            if tensor.dtype != Dtype::F16 || tensor.shape != groups_shape {
                let found = format!("{} {:?}", tensor.dtype, tensor.shape);
                return Err(Error::tensor(name, format!("F16 {groups_shape:?}"), found));
            }
            Ok(tensor.data.chunks_exact(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]])).collect())
        };
        Ok(Self {
            rows,
            columns,
            quantization,
            words: words.to_u32(name)?,
            scales: halves(&scales_name, scales)?,
            biases: halves(&biases_name, biases)?,
        })
    }
}

fn check(name: &str, columns: usize, quantization: Quantization) -> Result<()> {
    let Quantization { bits, group_size } = quantization;
    if !quantization.is_known() {
        let found = format!("{bits} bits, groups of {group_size}");
        return Err(Error::tensor(name, Quantization::EXPECTED, found));
    }
    if columns == 0 || !columns.is_multiple_of(group_size) {
        return Err(Error::tensor(name, format!("rows of a multiple of {group_size} values"), columns));
    }
    Ok(())
}

/// `X.weight`, `X.scales`, `X.biases`.
pub fn packed_names(weight: &str) -> [String; 3] {
    let module = Packing::module(weight);
    [weight.to_owned(), format!("{module}.scales"), format!("{module}.biases")]
}

/// Shapes of the words, and of the scales and biases.
fn packed_shapes(rows: usize, columns: usize, quantization: Quantization) -> [Vec<usize>; 2] {
    let Quantization { bits, group_size } = quantization;
    [vec![rows, columns * bits / 32], vec![rows, columns / group_size]]
}

/// The tensors that one float tensor becomes in a bundle of quantised weights: packed, or f16.
///
/// # Errors
/// Those of [`quantize`] and [`RawTensor::from_f32_as_f16`].
pub fn quantize_tensor(
    name: &str,
    tensor: &RawTensor<'_>,
    quantization: Quantization,
    feedback: Option<&ErrorFeedback>,
) -> Result<Tensors<'static>> {
    let values = tensor.to_f32(name)?;
    match precision_of(name, &tensor.shape, quantization.group_size) {
        Storage::Half => Ok(vec![(name.to_owned(), RawTensor::from_f32_as_f16(name, tensor.shape.clone(), &values)?)]),
        Storage::Packed => {
            let columns = tensor.shape.iter().skip(1).product();
            Ok(quantize(name, &values, columns, quantization, feedback)?.into_tensors(name)?.into())
        }
    }
}

/// The values of a float tensor as a bundle of quantised weights holds them.
///
/// # Errors
/// Those of [`quantize_tensor`].
pub fn as_quantized(name: &str, tensor: &RawTensor<'_>, quantization: Quantization) -> Result<RawTensor<'static>> {
    let stored = quantize_tensor(name, tensor, quantization, None)?;
    let values = match stored.as_slice() {
        [(_, words), (_, scales), (_, biases)] => {
            Packed::from_tensors(name, [words, scales, biases], quantization)?.unpack()
        }
        _ => stored[0].1.to_f32(name)?,
    };
    RawTensor::from_f32(name, tensor.shape.clone(), &values)
}

/// What a bundle stores for the model's float tensors `(name, shape)`: itself, or the packed three.
pub fn stored_shapes(parameters: Vec<(String, Vec<usize>)>, packing: Option<&Packing>) -> Vec<(String, Vec<usize>)> {
    let Some(packing) = packing else { return parameters };
    let stored = |(name, shape): (String, Vec<usize>)| {
        let quantization = packing.of(&name);
        match precision_of(&name, &shape, quantization.group_size) {
            Storage::Half => vec![(name, shape)],
            Storage::Packed => {
                let columns = shape.iter().skip(1).product();
                let [words, groups] = packed_shapes(shape[0], columns, quantization);
                let [weight, scales, biases] = packed_names(&name);
                vec![(weight, words), (scales, groups.clone()), (biases, groups)]
            }
        }
    };
    parameters.into_iter().flat_map(stored).collect()
}
