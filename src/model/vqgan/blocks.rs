//! What the encoder and the decoder are both made of.

use crate::config::AutoencoderConfig;
use crate::error::Result;
use crate::kernels::{Bias, Columns, Convolution, GroupNorm, Heads, KeysValues, attention, pixels_as_rows, silu};
use crate::model::Path;
use burn::module::Module;
use burn::tensor::Tensor;

/// Twice norm → swish → convolution, added to the input.
#[derive(Module, Debug)]
pub struct ResnetBlock {
    norm1: GroupNorm,
    conv1: Convolution,
    norm2: GroupNorm,
    conv2: Convolution,
    /// Where the number of channels changes, the input's way past the block.
    nin_shortcut: Option<Convolution>,
}

impl ResnetBlock {
    pub fn new(path: &mut Path, [input, output]: [usize; 2], groups: usize) -> Result<Self> {
        Ok(Self {
            norm1: path.group_norm("norm1", input, groups)?,
            conv1: path.convolution("conv1", input, output, 3)?,
            norm2: path.group_norm("norm2", output, groups)?,
            conv2: path.convolution("conv2", output, output, 3)?,
            nin_shortcut: (input != output).then(|| path.convolution("nin_shortcut", input, output, 1)).transpose()?,
        })
    }

    /// # Shapes
    /// `[B, in, h, w]` → `[B, out, h, w]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.conv1.forward(norm_swish(&self.norm1, x.clone()));
        let y = self.conv2.forward(norm_swish(&self.norm2, y));
        match &self.nin_shortcut {
            Some(shortcut) => shortcut.forward(x) + y,
            None => x + y,
        }
    }
}

/// Self-attention of one head over all squares of the image, added to the input.
#[derive(Module, Debug)]
pub struct AttnBlock {
    norm: GroupNorm,
    q: Convolution,
    k: Convolution,
    v: Convolution,
    proj_out: Convolution,
}

impl AttnBlock {
    pub fn new(path: &mut Path, channels: usize, groups: usize) -> Result<Self> {
        let mut pointwise = |name| path.convolution(name, channels, channels, 1);
        let (q, k, v, proj_out) = (pointwise("q")?, pointwise("k")?, pointwise("v")?, pointwise("proj_out")?);
        Ok(Self { norm: path.group_norm("norm", channels, groups)?, q, k, v, proj_out })
    }

    /// # Shapes
    /// `[B, C, h, w]` → `[B, C, h, w]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        let normed = self.norm.forward(x.clone());
        let squares = height * width;
        let rows = |layer: &Convolution| Columns::all(pixels_as_rows(layer.forward(normed.clone())));
        let [q, k, v] = [&self.q, &self.k, &self.v].map(rows);
        let heads = Heads { count: 1, scale: (channels as f64).powf(-0.5), scales: None };
        let bias = Bias::new(Tensor::zeros([1, 1, squares, squares], &x.device()));
        let mixed = attention(&q, &KeysValues { k, v }, &bias, &heads).swap_dims(1, 2);
        x + self.proj_out.forward(mixed.reshape([batch, channels, height, width]))
    }
}

/// The blocks of one resolution, an attention block after each where the configuration says so, and the step to the
/// next level: coarser in the encoder, finer in the decoder, none at its last level.
#[derive(Module, Debug)]
pub struct Level {
    block: Vec<ResnetBlock>,
    attn: Vec<AttnBlock>,
    downsample: Option<Resample>,
    upsample: Option<Resample>,
}

/// A convolution with a struct of its own, for its place in the names.
#[derive(Module, Debug)]
struct Resample {
    conv: Convolution,
}

/// The step behind a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Down,
    Up,
    None,
}

impl Level {
    /// `count` blocks, the first of which changes the channels.
    pub fn new(
        config: &AutoencoderConfig,
        path: &mut Path,
        [input, output]: [usize; 2],
        count: usize,
        attention: bool,
        step: Step,
    ) -> Result<Self> {
        let groups = config.num_groups;
        let mut blocks = path.child("block");
        let block = (0..count)
            .map(|index| {
                let channels = [if index == 0 { input } else { output }, output];
                ResnetBlock::new(&mut blocks.child(index), channels, groups)
            })
            .collect::<Result<_>>()?;
        let mut blocks = path.child("attn");
        let attn = (0..if attention { count } else { 0 })
            .map(|index| AttnBlock::new(&mut blocks.child(index), output, groups))
            .collect::<Result<_>>()?;
        let mut resample = |wanted: Step, name: &str| {
            let conv = (step == wanted).then(|| path.child(name).convolution("conv", output, output, 3)).transpose()?;
            Ok(conv.map(|conv| Resample { conv }))
        };
        let (downsample, upsample) = (resample(Step::Down, "downsample")?, resample(Step::Up, "upsample")?);
        Ok(Self { block, attn, downsample, upsample })
    }

    /// # Shapes
    /// `[B, in, h, w]` → `[B, out, h, w]`, halved or doubled
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.block.iter().enumerate().fold(x, |x, (index, block)| {
            let x = block.forward(x);
            match self.attn.get(index) {
                Some(attention) => attention.forward(x),
                None => x,
            }
        });
        match (&self.downsample, &self.upsample) {
            (Some(downsample), _) => downsample.conv.downsample(x),
            (_, Some(upsample)) => upsample.conv.forward(doubled(x)),
            _ => x,
        }
    }
}

/// Every pixel four times.
fn doubled(x: Tensor<4>) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let x = x.reshape([batch, channels, height, 1, width, 1]).expand([batch, channels, height, 2, width, 2]);
    x.reshape([batch, channels, 2 * height, 2 * width])
}

/// Block, attention, block, between the coarsest levels and the codes.
#[derive(Module, Debug)]
pub struct Middle {
    block_1: ResnetBlock,
    attn_1: AttnBlock,
    block_2: ResnetBlock,
}

impl Middle {
    pub fn new(path: &mut Path, channels: usize, groups: usize) -> Result<Self> {
        Ok(Self {
            block_1: ResnetBlock::new(&mut path.child("block_1"), [channels; 2], groups)?,
            attn_1: AttnBlock::new(&mut path.child("attn_1"), channels, groups)?,
            block_2: ResnetBlock::new(&mut path.child("block_2"), [channels; 2], groups)?,
        })
    }

    /// # Shapes
    /// `[B, C, h, w]` → `[B, C, h, w]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.block_2.forward(self.attn_1.forward(self.block_1.forward(x)))
    }
}

/// # Shapes
/// `[B, C, h, w]` → `[B, C, h, w]`
pub fn norm_swish(norm: &GroupNorm, x: Tensor<4>) -> Tensor<4> {
    silu(norm.forward(x))
}
