//! What the weights of a model of image codes begin as.

use crate::error::Result;
use crate::model::{Parameters, Stored};
use burn::tensor::{Device, Distribution, Tensor};
use std::ops::Range;

/// Fresh parameters. The way past the blocks begins as what lets colours through as they are, and blocks begin as nothing
/// else: norms see to it that what is weak there is never missed, and colours would be learnt last. Other weights are
/// uniform and keep the variance, norms 1 and 0. The codebook begins at the first vectors.
pub struct Fresh {
    /// Channels of the finest level.
    pub width: usize,
    pub device: Device,
}

impl Parameters for Fresh {
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Stored> {
        let count: usize = shape.iter().product();
        let constant = |value: f32| Tensor::<1>::full([count], value, &self.device);
        let is = |layers: &[&str]| layers.iter().any(|layer| name.ends_with(&format!("{layer}.weight")));
        Ok(Stored::Flat(match *shape {
            [_, _, _, _] if is(&["conv2", "proj_out"]) => constant(0.0),
            [output, input, kernel, _] if is(&["downsample.conv", "upsample.conv", "nin_shortcut"]) => {
                // Of each four pixels the mean, or each pixel.
                let seen = if is(&["downsample.conv"]) { 0..2 } else { kernel / 2..kernel / 2 + 1 };
                Tensor::from_data(passing([output, input, kernel], seen).as_slice(), &self.device)
            }
            [_, input, height, width] => {
                let bound = (3.0 / (input * height * width) as f64).sqrt();
                Tensor::random([count], Distribution::Uniform(-bound, bound), &self.device)
            }
            [_] if name.ends_with(".weight") => constant(1.0),
            // Of each level's channels two hold up the deviation by which norms divide, and what is bright stays so.
            [channels] if name.ends_with("coder.conv_in.bias") => {
                let far = (self.width as f32 / 2.0).sqrt();
                let bias = |channel: usize| [far, -far].get(channel % self.width).copied().unwrap_or(0.0);
                Tensor::from_data((0..channels).map(bias).collect::<Vec<_>>().as_slice(), &self.device)
            }
            _ => constant(0.0),
        }))
    }
}

/// The weights of a convolution each of whose channels is the mean, over the rows and columns `seen` of its window, of the
/// channels that come to lie on it when they are counted round.
fn passing([output, input, kernel]: [usize; 3], seen: Range<usize>) -> Vec<f32> {
    let together = input.div_ceil(output) * seen.len() * seen.len();
    let mut weights = vec![0.0; output * input * kernel * kernel];
    for channel in 0..output.max(input) {
        let window = ((channel % output) * input + channel % input) * kernel * kernel;
        for (row, column) in seen.clone().flat_map(|row| seen.clone().map(move |column| (row, column))) {
            weights[window + row * kernel + column] = 1.0 / together as f32;
        }
    }
    weights
}
