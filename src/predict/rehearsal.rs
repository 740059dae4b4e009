//! A rehearsal: before the weights are there, a model of made-up ones in the same widths answers once. What a device
//! compiles when it is first used, the pipelines of a GPU or a browser's fast code of WebAssembly, is compiled then.

use super::step::ModelStep;
use super::touch;
use crate::config::{Decoding, OfaConfig};
use crate::error::{Error, Result};
use crate::generate::{Step, StepRequest};
use crate::kernels::{Splitting, tensor};
use crate::model::{OfaModel, Parameters, Source, Stored, TokenBatch};
use crate::weights::{DeviceWeights, Dtype, RawTensor, elements, stored_shapes};
use burn::tensor::Device;
use half::f16;
use std::borrow::Cow;

/// The picture's height and width. The stem makes 8 × 4 patches of it: more rows than kernels for few rows take, and rows of
/// fours, as usual pictures have.
const PICTURE: [usize; 2] = [128, 64];
const WORDS: usize = 8;
/// Which one does not matter.
const TOKEN: u32 = 0;
/// Of the vocabulary: more than kernels pass over at a time.
const TOKENS: usize = 1024;
/// Values of a table that is split, as large ones are.
const SPLIT_VALUES: usize = 1 << 21;
/// Rows and candidates of the steps: of a greedy search, of one with beams, and of the last that such a one takes, which
/// only asks for EOS. As many as outgrow the room that is made for past tokens at first.
const STEPS: [(usize, usize); 5] = [(1, 8), (5, 16), (5, 16), (5, 16), (5, 0)];
/// Tokens of a caption.
const LONGEST: usize = 16;

/// Answers once with a model like that of `config`, of which each thing is there as often as it takes to run the kernels of
/// usual answers. Weights are packed as `config` says.
///
/// # Errors
/// [`Error::Config`] for an unusable configuration, [`Error::Tensor`] for an absurdly large one, and the device's own.
pub async fn rehearse(config: &OfaConfig, device: &Device) -> Result<()> {
    config.validate()?;
    let split = config.quantization.is_none() && Splitting::suits([config.vocab_size, config.d_model], device);
    let tokens = if split { SPLIT_VALUES.div_ceil(config.d_model) } else { TOKENS };
    let config = OfaConfig {
        vocab_size: config.vocab_size.min(tokens),
        encoder_layers: 1,
        decoder_layers: 1,
        encoder_ffn_dim: config.encoder_ffn_dim.min(config.d_model),
        decoder_ffn_dim: config.decoder_ffn_dim.min(config.d_model),
        // The first block of a stage differs from those behind it.
        resnet_layers: Some(config.stem_blocks().map(|blocks| blocks.min(2))),
        ..config.clone()
    };
    let weights = DeviceWeights::new(&config, device.clone());
    let model = OfaModel::new(&config, &mut MadeUp { weights, config: &config, values: 0 })?;
    let positions = config.max_position_embeddings;
    let [height, width] = PICTURE.map(|side| side.min(config.largest_image_side() as usize));
    let features = model.encode_image(tensor(vec![0.0; 3 * height * width], [1, 3, height, width], device));
    touch(features.patches.clone()).await?;
    let words = WORDS.min(positions);
    let source = Source::text(TokenBatch::new(1, words, vec![TOKEN; words])).with_image(features);
    let encoded = model.encode(&source);
    touch(encoded.hidden.clone()).await?;
    let longest = LONGEST.min(positions - 1);
    let mut step = ModelStep::new(&model, &config, &encoded, &Decoding::default(), longest);
    for (index, (rows, count)) in STEPS.into_iter().take(longest).enumerate() {
        let probes = if count == 0 { vec![vec![TOKEN]; rows] } else { Vec::new() };
        let tokens = vec![TOKEN; rows];
        let rows = if index == 0 { Vec::new() } else { vec![0; rows] };
        step.step(StepRequest { tokens, rows, samples: None, count, probes }).await?;
    }
    Ok(())
}

/// Numbers for whatever is asked for, on the way that weights of a bundle take.
struct MadeUp<'a> {
    weights: DeviceWeights,
    config: &'a OfaConfig,
    /// Made up so far.
    values: usize,
}

/// More than the layers of OFA-Huge have. A wrong config.json may ask for any number.
const MOST_VALUES: usize = 1 << 26;

impl Parameters for MadeUp<'_> {
    fn joins(&self) -> bool {
        self.weights.joins()
    }

    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Stored> {
        let values = elements(shape).and_then(|count| self.values.checked_add(count));
        let too_many = || Error::tensor(name, format!("at most {MOST_VALUES} values in all"), format!("{shape:?}"));
        self.values = values.filter(|values| *values <= MOST_VALUES).ok_or_else(too_many)?;
        let stored = stored_shapes(vec![(name.to_owned(), shape.to_vec())], self.config.quantization.as_ref());
        // A packed matrix is its codes, scales and biases.
        let packed = stored.len() > 1;
        for (part, (name, shape)) in stored.into_iter().enumerate() {
            let count = elements(&shape).unwrap_or(0);
            let (dtype, data) = match part {
                0 if packed => {
                    (Dtype::U32, (0..count as u32).flat_map(|at| at.wrapping_mul(MIXER).to_le_bytes()).collect())
                }
                0 => (Dtype::F32, floats(&name, count)),
                _ => (Dtype::F16, SCALE.to_le_bytes().repeat(count)),
            };
            self.weights.insert(&name, &RawTensor { dtype, shape, data: Cow::Owned(data) })?;
        }
        self.weights.take(name, shape)
    }
}

/// Its multiples have all sorts of bits.
const MIXER: u32 = 0x9e37_79b1;
/// What keeps hidden states of usual sizes.
const SCALE: f16 = f16::from_bits(0x1400);

/// Small ones of both signs; variances have one.
fn floats(name: &str, count: usize) -> Vec<u8> {
    let value = |at: u32| at.wrapping_mul(MIXER).cast_signed() as f32 / (32.0 * i32::MAX as f32);
    let one = name.ends_with("running_var");
    (0..count as u32).flat_map(|at| if one { 1.0f32 } else { value(at) }.to_le_bytes()).collect()
}
