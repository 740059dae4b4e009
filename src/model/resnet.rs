//! The image front-end: a ResNet v1.5 of bottleneck blocks, cut after its third stage (reference §1.3).

use super::parameters::Path;
use super::regularize::{drop_path, drop_path_rate};
use crate::config::{BOTTLENECK_EXPANSION, OfaConfig};
use crate::error::Result;
use crate::kernels::{ConvNorm, max_pool};
use burn::module::Module;
use burn::tensor::{Tensor, activation};

const STAGES: usize = 3;

#[derive(Module, Debug)]
pub struct Resnet {
    conv1: ConvNorm,
    layer1: Vec<Bottleneck>,
    layer2: Vec<Bottleneck>,
    layer3: Vec<Bottleneck>,
}

#[derive(Module, Debug)]
struct Bottleneck {
    conv1: ConvNorm,
    conv2: ConvNorm,
    conv3: ConvNorm,
    downsample: Option<ConvNorm>,
    drop_path_rate: f64,
}

impl Resnet {
    pub fn new(config: &OfaConfig, path: &mut Path) -> Result<Self> {
        let base = config.resnet_base_channels;
        let conv1 = path.conv_norm("conv1", "bn1", [base, 3, 7, 7], 2, config)?;
        let mut input = base;
        let mut stages = Vec::with_capacity(STAGES);
        for (stage, count) in config.stem_blocks().into_iter().enumerate() {
            let planes = base << stage;
            let mut blocks = Vec::with_capacity(count);
            for index in 0..count {
                let name = format!("layer{}.{index}", stage + 1);
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                let rate = drop_path_rate(config.resnet_drop_path_rate, index, count);
                blocks.push(Bottleneck::new(config, &mut path.child(name), [input, planes], stride, index == 0, rate)?);
                input = planes * BOTTLENECK_EXPANSION;
            }
            stages.push(blocks);
        }
        let [layer1, layer2, layer3] = stages.try_into().expect("three stages");
        Ok(Self { conv1, layer1, layer2, layer3 })
    }

    /// # Shapes
    /// `[B, 3, height, width]` → `[B, 16 · base, ceil(height / 16), ceil(width / 16)]`
    pub fn forward(&self, patch_images: Tensor<4>) -> Tensor<4> {
        let x = max_pool(self.conv1.forward(patch_images, None, true));
        let stages = [&self.layer1, &self.layer2, &self.layer3];
        stages.into_iter().flatten().fold(x, |x, block| block.forward(x))
    }
}

impl Bottleneck {
    fn new(
        config: &OfaConfig,
        path: &mut Path,
        [input, planes]: [usize; 2],
        stride: usize,
        first: bool,
        drop_path_rate: f64,
    ) -> Result<Self> {
        let output = planes * BOTTLENECK_EXPANSION;
        Ok(Self {
            conv1: path.conv_norm("conv1", "bn1", [planes, input, 1, 1], 1, config)?,
            conv2: path.conv_norm("conv2", "bn2", [planes, planes, 3, 3], stride, config)?,
            conv3: path.conv_norm("conv3", "bn3", [output, planes, 1, 1], 1, config)?,
            downsample: first
                .then(|| path.conv_norm("downsample.0", "downsample.1", [output, input, 1, 1], stride, config))
                .transpose()?,
            drop_path_rate,
        })
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let identity = match &self.downsample {
            Some(downsample) => downsample.forward(x.clone(), None, false),
            None => x.clone(),
        };
        let x = self.conv2.forward(self.conv1.forward(x, None, true), None, true);
        if self.drop_path_rate == 0.0 {
            return self.conv3.forward(x, Some(identity), true);
        }
        let branch = drop_path(self.conv3.forward(x, None, false), self.drop_path_rate);
        activation::relu(identity + branch)
    }
}
