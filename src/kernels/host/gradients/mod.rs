//! Operations whose gradients are followed, in host memory: one pass over the values there and one back, where plain
//! tensors take a dozen.

mod convolution;
mod norm;

use super::lanes::{Lanes, Work, run};
use super::math::{cumulative, exp, softmax as softmax_row};
use super::parallel::{Shared, ranges};
use super::{FlexTensor, in_host_memory};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind, unary};
use burn::backend::ops::FloatTensorOps;
use burn::backend::{Autodiff, BackendTypes, DType, Flex, TensorMetadata};
use burn::tensor::{Tensor, TensorData};
use std::marker::PhantomData;

pub use convolution::convolve;
pub use norm::{batch_norm, layer_norm, normed_rows};

/// Values that one thread passes over at a time. How they are cut decides in which order they are added, so the number
/// of threads has no part in it.
const BLOCK: usize = 1 << 13;
/// Multiply-adds that a value costs, with an exponential and without.
const EXPONENTIAL: usize = 24;
const PLAIN: usize = 8;

/// `x · Φ(x)`, the exact GELU. `None` where no gradients are followed, or not in host memory.
pub fn gelu<const D: usize>(x: &Tensor<D>) -> Option<Tensor<D>> {
    value_by_value::<Gelu, D>(x)
}

/// `x · σ(x)`. `None` as with [`gelu`].
pub fn silu<const D: usize>(x: &Tensor<D>) -> Option<Tensor<D>> {
    value_by_value::<Silu, D>(x)
}

fn value_by_value<C: Curve, const D: usize>(x: &Tensor<D>) -> Option<Tensor<D>> {
    let (x, node) = followed(x)?.into_parts();
    let x = x.to_contiguous();
    let values = slice(&x);
    let [mut y, mut slope] = [(); 2].map(|()| vec![0.0f32; values.len()]);
    let places = [&mut y, &mut slope].map(|values| Shared::new(values));
    ranges(values.len(), BLOCK, values.len() * EXPONENTIAL, |range| {
        // SAFETY: each range is handed out once.
        let [y, slope] = places.each_ref().map(|place| unsafe { place.part(range.start, range.len()) });
        run(Along { curve: PhantomData::<C>, x: &values[range], y, slope });
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

/// A function of one value, with its slope there.
trait Curve {
    /// # Safety
    /// The instructions behind `L` exist.
    unsafe fn at<L: Lanes>(x: L) -> [L; 2];
}

struct Gelu;

impl Curve for Gelu {
    #[inline(always)]
    unsafe fn at<L: Lanes>(x: L) -> [L; 2] {
        // 1 / √2π
        const DENSITY: f32 = 0.398_942_3;
        unsafe {
            let phi = cumulative(x);
            let density = exp(x.mul(x).mul(L::splat(-0.5))).mul(L::splat(DENSITY));
            [x.mul(phi), phi.add_mul(x, density)]
        }
    }
}

struct Silu;

impl Curve for Silu {
    #[inline(always)]
    unsafe fn at<L: Lanes>(x: L) -> [L; 2] {
        unsafe {
            let one = L::splat(1.0);
            let sigmoid = one.div(one.add(exp(L::splat(0.0).sub(x))));
            let y = x.mul(sigmoid);
            [y, sigmoid.add_mul(y, one.sub(sigmoid))]
        }
    }
}

/// A curve and its slope at each value.
struct Along<'a, C> {
    curve: PhantomData<C>,
    x: &'a [f32],
    y: &'a mut [f32],
    slope: &'a mut [f32],
}

impl<C: Curve> Work for Along<'_, C> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let whole = self.x.len() - self.x.len() % L::COUNT;
        for at in (0..whole).step_by(L::COUNT) {
            unsafe {
                let [y, slope] = C::at(L::load(self.x.as_ptr().add(at)));
                y.store(self.y.as_mut_ptr().add(at));
                slope.store(self.slope.as_mut_ptr().add(at));
            }
        }
        let [mut x, mut y, mut slope] = [[0.0f32; 16]; 3];
        let rest = self.x.len() - whole;
        x[..rest].copy_from_slice(&self.x[whole..]);
        unsafe {
            let found = C::at(L::load(x.as_ptr()));
            found[0].store(y.as_mut_ptr());
            found[1].store(slope.as_mut_ptr());
        }
        self.y[whole..].copy_from_slice(&y[..rest]);
        self.slope[whole..].copy_from_slice(&slope[..rest]);
    }
}

struct Softmax<'a> {
    row: &'a mut [f32],
}

impl Work for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        unsafe { softmax_row::<L>(self.row, 1.0) };
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
            assert_alike("silu", [x(), weight], bias, |x, _, _| silu(x), |x, _, _| activation::silu(x));
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
