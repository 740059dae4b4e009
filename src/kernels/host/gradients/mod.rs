//! Operations whose gradients are followed, in host memory: one pass over the values there and one back, where plain
//! tensors take a dozen.

mod convolution;

use super::lanes::{Lanes, Work, run};
use super::math::{cumulative, exp, moments, softmax as softmax_row};
use super::parallel::{Shared, ranges};
use super::{FlexTensor, in_host_memory, tensor};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind, unary};
use burn::backend::ops::FloatTensorOps;
use burn::backend::{Autodiff, BackendTypes, DType, Flex, TensorMetadata};
use burn::tensor::{Tensor, TensorData};
use std::sync::Arc;

pub use convolution::convolve;

/// Values that one thread passes over at a time. How they are cut decides in which order they are added, so the number
/// of threads has no part in it.
const BLOCK: usize = 1 << 13;
/// Multiply-adds that a value costs, with an exponential and without.
const EXPONENTIAL: usize = 24;
const PLAIN: usize = 8;

/// `x · Φ(x)`, the exact GELU. `None` where no gradients are followed, or not in host memory.
pub fn gelu<const D: usize>(x: &Tensor<D>) -> Option<Tensor<D>> {
    let (x, node) = followed(x)?.into_parts();
    let x = x.to_contiguous();
    let values = slice(&x);
    let [mut y, mut slope] = [(); 2].map(|()| vec![0.0f32; values.len()]);
    let places = [&mut y, &mut slope].map(|values| Shared::new(values));
    ranges(values.len(), BLOCK, values.len() * EXPONENTIAL, |range| {
        // SAFETY: each range is handed out once.
        let [y, slope] = places.each_ref().map(|place| unsafe { place.part(range.start, range.len()) });
        run(Gelu { x: &values[range], y, slope });
    });
    let [y, slope] = [y, slope].map(|values| like(&x, values));
    Some(recorded(Scaled, [node], y, || slope))
}

/// Softmax over the last dimension. `None` as with [`gelu`].
pub fn softmax<const D: usize>(x: &Tensor<D>) -> Option<Tensor<D>> {
    let width = x.dims()[D - 1];
    let (x, node) = followed(x)?.into_parts();
    let mut values = slice(&x.to_contiguous()).to_vec();
    rows_of(&mut values, width, EXPONENTIAL, |_, row| run(Softmax { row }));
    let y = like(&x, values);
    let weights = y.clone();
    Some(recorded(Weighed, [node], y, || weights))
}

/// LayerNorm over the last dimension, with a scale and a shift a column. `None` as with [`gelu`].
pub fn layer_norm<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<1>,
    bias: &Tensor<1>,
    epsilon: f64,
) -> Option<Tensor<D>> {
    normalised(x, weight, bias, epsilon, Across::Columns).map(|(y, _)| y)
}

/// BatchNorm by the statistics of the batch, which are also returned: mean and variance of each channel. `None` as with
/// [`gelu`].
///
/// # Shapes
/// `[C, n]` → `[C, n]`, `[C]` and `[C]`
pub fn batch_norm(
    x: &Tensor<2>,
    weight: &Tensor<1>,
    bias: &Tensor<1>,
    epsilon: f64,
) -> Option<(Tensor<2>, [Tensor<1>; 2])> {
    let (y, seen) = normalised(x, weight, bias, epsilon, Across::Rows)?;
    let moment = |which: usize| {
        let values: Vec<f32> = seen.iter().map(|moments| moments[which]).collect();
        tensor(values, [seen.len()], &x.device())
    };
    Some((y, [moment(0), moment(1)]))
}

/// Rows less their mean, by their deviation, scaled and shifted; and the rows' means and variances.
fn normalised<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<1>,
    bias: &Tensor<1>,
    epsilon: f64,
    across: Across,
) -> Option<(Tensor<D>, Arc<[[f32; 2]]>)> {
    let width = x.dims()[D - 1];
    let parts = [followed(x)?, followed(weight)?, followed(bias)?];
    let nodes = parts.each_ref().map(|part| part.node());
    let [x, weight, bias] = parts.map(|part| part.into_primitive().to_contiguous());
    let (values, weights, biases, epsilon) = (slice(&x), slice(&weight), slice(&bias), epsilon as f32);
    let mut seen = vec![[0.0f32; 2]; values.len() / width];
    let mut y = vec![0.0f32; values.len()];
    let place = Shared::new(seen.as_flattened_mut());
    rows_of(&mut y, width, PLAIN, |row, y| {
        // SAFETY: each row is handed out once.
        let seen = unsafe { place.part(row * 2, 2) };
        let of = |values| across.of(values, row);
        run(Normalise { x: &values[row * width..][..width], weight: of(weights), bias: of(biases), epsilon, seen, y });
    });
    let (y, seen): (_, Arc<[_]>) = (like(&x, y), seen.into());
    let state = || Normalised { x, weight, seen: seen.clone(), epsilon };
    let y = recorded(Norm { across }, nodes, y, state);
    Some((y, seen))
}

/// What an operation found, with the way back to its inputs, which needs `state` if any of them is followed.
fn recorded<B: Backward<Flex, N>, const N: usize, const D: usize>(
    back: B,
    nodes: [NodeGuard; N],
    found: FlexTensor,
    state: impl FnOnce() -> B::State,
) -> Tensor<D> {
    Tensor::from_primitive::<Autodiff<Flex>>(match back.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(operation) => operation.finish(state(), found),
        OpsKind::UnTracked(operation) => operation.finish(found),
    })
}

/// The tensor with its place in the graph.
fn followed<const D: usize>(x: &Tensor<D>) -> Option<<Autodiff<Flex> as BackendTypes>::FloatTensorPrimitive> {
    let device = x.device();
    if !device.is_autodiff() || !in_host_memory(&device.without_autodiff()) {
        return None;
    }
    let tensor = x.clone().try_into_primitive::<Autodiff<Flex>>().ok()?;
    (tensor.primitive().dtype() == DType::F32).then_some(tensor)
}

fn slice(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("contiguous values of this type")
}

/// Values in the shape of a tensor.
fn like(tensor: &FlexTensor, values: Vec<f32>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, tensor.shape()))
}

/// Calls `each` with the number of every row, and with the row.
fn rows_of(values: &mut [f32], width: usize, cost: usize, each: impl Fn(usize, &mut [f32]) + Sync) {
    let (rows, work) = (values.len() / width, values.len() * cost);
    let place = Shared::new(values);
    ranges(rows, BLOCK.div_ceil(width), work, |range| {
        for row in range {
            // SAFETY: each row is handed out once.
            each(row, unsafe { place.part(row * width, width) });
        }
    });
}

/// The way back through what multiplies gradients by numbers that are known.
#[derive(Debug)]
struct Scaled;

impl Backward<Flex, 1> for Scaled {
    type State = FlexTensor;

    fn backward(self, ops: Ops<FlexTensor, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let scale = ops.state;
        unary::<Flex, _>(ops.parents, ops.node, gradients, |gradient| Flex::float_mul(gradient, scale));
    }
}

/// The way back through a softmax, given what it returned.
#[derive(Debug)]
struct Weighed;

impl Backward<Flex, 1> for Weighed {
    type State = FlexTensor;

    fn backward(self, ops: Ops<FlexTensor, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let y = ops.state;
        unary::<Flex, _>(ops.parents, ops.node, gradients, |gradient| {
            let shape = y.shape();
            let width = shape[shape.num_dims() - 1];
            let weights = slice(&y);
            let mut out = slice(&gradient.to_contiguous()).to_vec();
            rows_of(&mut out, width, PLAIN, |row, gradient| {
                run(SoftmaxBack { y: &weights[row * width..][..width], gradient });
            });
            like(&y, out)
        });
    }
}

/// Whether a norm has a scale and a shift for each column of its rows, or for each row.
#[derive(Debug, Clone, Copy)]
enum Across {
    Columns,
    Rows,
}

impl Across {
    /// Those of a row.
    fn of(self, values: &[f32], row: usize) -> &[f32] {
        match self {
            Self::Columns => values,
            Self::Rows => &values[row..=row],
        }
    }
}

/// The way back through a norm.
#[derive(Debug)]
struct Norm {
    across: Across,
}

/// What it needs: what came in, and the mean and the variance of each row.
#[derive(Debug, Clone)]
struct Normalised {
    x: FlexTensor,
    weight: FlexTensor,
    seen: Arc<[[f32; 2]]>,
    epsilon: f32,
}

impl Backward<Flex, 3> for Norm {
    type State = Normalised;

    fn backward(self, ops: Ops<Normalised, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let Normalised { x, weight, seen, epsilon } = ops.state;
        let gradient = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let (values, weights, given) = (slice(&x), slice(&weight), slice(&gradient));
        let (rows, width) = (seen.len(), values.len() / seen.len().max(1));
        let parameters = match self.across {
            Across::Columns => width,
            Across::Rows => 1,
        };
        // Rows that share parameters are added up block by block.
        let together = BLOCK.div_ceil(width);
        let blocks = rows.div_ceil(together);
        let sets = match self.across {
            Across::Columns => blocks,
            Across::Rows => rows,
        };
        let mut learnt = vec![0.0f32; sets * 2 * parameters];
        let mut out = vec![0.0f32; values.len()];
        let [learnt_place, out_place] = [&mut learnt, &mut out].map(|values| Shared::new(values));
        ranges(blocks, 1, values.len() * PLAIN, |range| {
            for block in range {
                for row in block * together..rows.min((block + 1) * together) {
                    let set = match self.across {
                        Across::Columns => block,
                        Across::Rows => row,
                    };
                    // SAFETY: each block is handed out once, and with it its rows and sums.
                    let [out, learnt] = unsafe {
                        [out_place.part(row * width, width), learnt_place.part(set * 2 * parameters, 2 * parameters)]
                    };
                    let part = row * width..(row + 1) * width;
                    let (x, given) = (&values[part.clone()], &given[part]);
                    let weight = self.across.of(weights, row);
                    run(NormBack { x, given, weight, seen: seen[row], epsilon, out, learnt });
                }
            }
        });
        let sums = |which: usize| -> Vec<f32> {
            let sets = learnt.chunks_exact(2 * parameters).map(|set| &set[which * parameters..][..parameters]);
            match self.across {
                Across::Rows => sets.flatten().copied().collect(),
                Across::Columns => sets.fold(vec![0.0; parameters], |mut sums, set| {
                    sums.iter_mut().zip(set).for_each(|(sum, value)| *sum += value);
                    sums
                }),
            }
        };
        let found = [like(&x, out), like(&weight, sums(0)), like(&weight, sums(1))];
        for (parent, found) in ops.parents.into_iter().zip(found) {
            if let Some(parent) = parent {
                gradients.register::<Flex>(parent.id, found);
            }
        }
    }
}

/// GELU and its slope at each value.
struct Gelu<'a> {
    x: &'a [f32],
    y: &'a mut [f32],
    slope: &'a mut [f32],
}

impl Work for Gelu<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let whole = self.x.len() - self.x.len() % L::COUNT;
        for at in (0..whole).step_by(L::COUNT) {
            unsafe {
                let [y, slope] = gelu_and_slope(L::load(self.x.as_ptr().add(at)));
                y.store(self.y.as_mut_ptr().add(at));
                slope.store(self.slope.as_mut_ptr().add(at));
            }
        }
        let [mut x, mut y, mut slope] = [[0.0f32; 16]; 3];
        let rest = self.x.len() - whole;
        x[..rest].copy_from_slice(&self.x[whole..]);
        unsafe {
            let found = gelu_and_slope(L::load(x.as_ptr()));
            found[0].store(y.as_mut_ptr());
            found[1].store(slope.as_mut_ptr());
        }
        self.y[whole..].copy_from_slice(&y[..rest]);
        self.slope[whole..].copy_from_slice(&slope[..rest]);
    }
}

#[inline(always)]
unsafe fn gelu_and_slope<L: Lanes>(x: L) -> [L; 2] {
    // 1 / √2π
    const DENSITY: f32 = 0.398_942_3;
    unsafe {
        let phi = cumulative(x);
        let density = exp(x.mul(x).mul(L::splat(-0.5))).mul(L::splat(DENSITY));
        [x.mul(phi), phi.add_mul(x, density)]
    }
}

struct Softmax<'a> {
    row: &'a mut [f32],
}

impl Work for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        unsafe { softmax_row::<L>(self.row) };
    }
}

/// One row's gradient behind a softmax as that before it: `y (g − Σ g y)`.
struct SoftmaxBack<'a> {
    y: &'a [f32],
    gradient: &'a mut [f32],
}

impl Work for SoftmaxBack<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let [_, mean] = unsafe { weighed_sums::<L>(self.gradient, self.y, 0.0) };
        self.gradient.iter_mut().zip(self.y).for_each(|(gradient, y)| *gradient = (*gradient - mean) * y);
    }
}

/// One row normalised, with one scale and shift or one a column.
struct Normalise<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    epsilon: f32,
    /// Mean and variance.
    seen: &'a mut [f32],
    y: &'a mut [f32],
}

impl Work for Normalise<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let [mean, variance] = unsafe { moments::<L>(self.x) };
        self.seen.copy_from_slice(&[mean, variance]);
        let factor = 1.0 / (variance + self.epsilon).sqrt();
        let values = self.y.iter_mut().zip(self.x);
        if let ([weight], [bias]) = (self.weight, self.bias) {
            values.for_each(|(y, x)| *y = (x - mean) * (factor * weight) + bias);
        } else {
            let parameters = self.weight.iter().zip(self.bias);
            values.zip(parameters).for_each(|((y, x), (weight, bias))| *y = (x - mean) * factor * weight + bias);
        }
    }
}

/// The way back through [`Normalise`]: with `n = (x − mean) / deviation` and `h = given · weight`,
/// `(h − mean h − n · mean (h n)) / deviation`.
struct NormBack<'a> {
    x: &'a [f32],
    given: &'a [f32],
    weight: &'a [f32],
    seen: [f32; 2],
    epsilon: f32,
    out: &'a mut [f32],
    /// What is added to the gradients of the scales, then of the shifts.
    learnt: &'a mut [f32],
}

impl Work for NormBack<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Self { x, given, weight, seen: [mean, variance], epsilon, out, learnt } = self;
        let (factor, share) = (1.0 / (variance + epsilon).sqrt(), 1.0 / x.len() as f32);
        let (scales, shifts) = learnt.split_at_mut(weight.len());
        if let ([weight], [scale], [shift]) = (weight, &mut *scales, &mut *shifts) {
            let [sum, centred] = unsafe { weighed_sums::<L>(given, x, mean) };
            *shift += sum;
            *scale += centred * factor;
            let (whole, slope) = (sum * share, centred * factor * factor * share);
            for ((out, given), x) in out.iter_mut().zip(given).zip(x) {
                *out = (given - whole - (x - mean) * slope) * (factor * weight);
            }
            return;
        }
        for ((out, given), weight) in out.iter_mut().zip(given).zip(weight) {
            *out = given * weight;
        }
        let [sum, centred] = unsafe { weighed_sums::<L>(out, x, mean) };
        let (whole, slope) = (sum * share, centred * factor * factor * share);
        for (out, x) in out.iter_mut().zip(x) {
            *out = (*out - whole - (x - mean) * slope) * factor;
        }
        for ((scale, given), x) in scales.iter_mut().zip(given).zip(x) {
            *scale += given * ((x - mean) * factor);
        }
        shifts.iter_mut().zip(given).for_each(|(shift, given)| *shift += given);
    }
}

/// Σ a and Σ a (b − centre).
#[inline(always)]
unsafe fn weighed_sums<L: Lanes>(a: &[f32], b: &[f32], centre: f32) -> [f32; 2] {
    unsafe {
        let (middle, mut sum, mut product) = (L::splat(centre), L::splat(0.0), L::splat(0.0));
        let whole = a.len() - a.len() % L::COUNT;
        for at in (0..whole).step_by(L::COUNT) {
            let a = L::load(a.as_ptr().add(at));
            sum = sum.add(a);
            product = product.add_mul(a, L::load(b.as_ptr().add(at)).sub(middle));
        }
        let rest = a[whole..].iter().zip(&b[whole..]);
        rest.fold([sum.sum(), product.sum()], |[sum, product], (a, b)| [sum + a, product + a * (b - centre)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution, activation};

    /// Sums of some thousand values around 1, in another order, and an erf within 5e-7; as a share of how far from 0 such
    /// a sum comes to lie, which is the root of how many there are.
    const TOLERANCE: f32 = 2e-5;
    const EPSILON: f64 = 1e-5;
    /// Rows and columns that fill no register and no block, that are one, or that several blocks share.
    const SHAPES: [[usize; 2]; 6] = [[1, 1], [3, 5], [7, 64], [2, 131], [601, 33], [2, 9000]];

    fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
        Tensor::random(shape, Distribution::Normal(0.5, 1.5), device).require_grad()
    }

    /// Values and the gradients of all inputs, found in two ways, are the same.
    fn assert_alike(
        what: &str,
        inputs: [Tensor<2>; 2],
        bias: Tensor<1>,
        found: impl Fn(&Tensor<2>, &Tensor<1>, &Tensor<1>) -> Option<Tensor<2>>,
        plain: impl Fn(Tensor<2>, Tensor<1>, Tensor<1>) -> Tensor<2>,
    ) {
        let [x, weight] = inputs;
        let [count] = bias.dims();
        let weight = weight.reshape([count]).detach().require_grad();
        let toward = random(x.dims(), &x.device()).detach();
        let learn = |y: Tensor<2>| {
            let gradients = (y.clone() * toward.clone()).sum().backward();
            let of = |gradient: Option<Tensor<1>>| gradient.unwrap_or_else(|| Tensor::zeros([1], &Device::flex()));
            let flat = x.grad(&gradients).map(|gradient| gradient.reshape([x.shape().num_elements()]));
            [
                y.inner().reshape([x.shape().num_elements()]),
                of(flat),
                of(weight.grad(&gradients)),
                of(bias.grad(&gradients)),
            ]
        };
        let found = learn(found(&x, &weight, &bias).expect("values in host memory"));
        let expected = learn(plain(x.clone(), weight.clone(), bias.clone()));
        for (part, (found, expected)) in found.into_iter().zip(expected).enumerate() {
            let terms = x.shape().num_elements() as f32 / expected.shape().num_elements() as f32;
            let size = expected.clone().abs().max().into_scalar::<f32>().max(terms.sqrt());
            let difference = (found - expected).abs().max().into_scalar::<f32>() / size;
            assert!(difference < TOLERANCE, "{what} of {:?}, part {part}: {difference}", x.dims());
        }
    }

    #[test]
    fn gradients_are_those_of_plain_tensors() {
        let device = Device::flex().autodiff();
        for [rows, columns] in SHAPES {
            let x = || random([rows, columns], &device);
            let parameters = |count: usize| (random([1, count], &device), random([count], &device));
            let (weight, bias) = parameters(columns);
            assert_alike("gelu", [x(), weight], bias, |x, _, _| gelu(x), |x, _, _| activation::gelu(x));
            let (weight, bias) = parameters(columns);
            assert_alike("softmax", [x(), weight], bias, |x, _, _| softmax(x), |x, _, _| activation::softmax(x, 1));
            let (weight, bias) = parameters(columns);
            assert_alike(
                "a layer's norm",
                [x(), weight],
                bias,
                |x, weight, bias| layer_norm(x, weight, bias, EPSILON),
                |x, weight, bias| burn::tensor::module::layer_norm(x, weight, Some(bias), EPSILON),
            );
            let (weight, bias) = parameters(rows);
            assert_alike(
                "a batch's norm",
                [x(), weight],
                bias,
                |x, weight, bias| batch_norm(x, weight, bias, EPSILON).map(|(y, _)| y),
                |x, weight, bias| {
                    let centred = x.clone() - x.mean_dim(1);
                    let deviation = (centred.clone().square().mean_dim(1) + EPSILON).sqrt();
                    centred / deviation * weight.reshape([rows, 1]) + bias.reshape([rows, 1])
                },
            );
        }
    }

    #[test]
    fn a_batch_tells_its_statistics() {
        let x = random([3, 50], &Device::flex().autodiff());
        let ones = Tensor::ones([3], &x.device());
        let (_, [mean, variance]) = batch_norm(&x, &ones, &ones, EPSILON).expect("values in host memory");
        let expected = x.clone().mean_dim(1);
        let squares = (x - expected.clone()).square().mean_dim(1);
        for (found, expected) in [(mean, expected), (variance, squares)] {
            assert!((found - expected.reshape([3])).abs().max().into_scalar::<f32>() < TOLERANCE);
        }
    }

    #[test]
    fn only_followed_values_are_taken() {
        assert!(gelu(&Tensor::<2>::zeros([2, 3], &Device::flex())).is_none());
    }
}
