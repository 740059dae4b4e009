//! Norms: rows less their mean, by their deviation, scaled and shifted.

use super::super::lanes::{Lanes, Work, run};
use super::super::math::moments;
use super::super::parallel::{Shared, ranges};
use super::super::{FlexTensor, tensor};
use super::{BLOCK, PLAIN, followed, like, recorded, rows_of, slice, weighed_sums};
use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::tensor::Tensor;
use std::sync::Arc;

/// LayerNorm over the last dimension, with a scale and a shift a column. `None` as with [`gelu`](super::gelu).
pub fn layer_norm<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<1>,
    bias: &Tensor<1>,
    epsilon: f64,
) -> Option<Tensor<D>> {
    normalised(x, weight, bias, epsilon, Across::Columns).map(|(y, _)| y)
}

/// BatchNorm by the statistics of the batch, which are also returned: mean and variance of each channel. `None` as with
/// [`gelu`](super::gelu).
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

/// Rows less their mean, by their deviation. `None` as with [`gelu`](super::gelu).
pub fn normed_rows(x: &Tensor<2>, epsilon: f64) -> Option<Tensor<2>> {
    let [rows, _] = x.dims();
    let (ones, zeros) = (Tensor::ones([rows], &x.device()), Tensor::zeros([rows], &x.device()));
    normalised(x, &ones, &zeros, epsilon, Across::Rows).map(|(y, _)| y)
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
