//! A rehearsal: before the weights are there, a model of made-up ones in the same widths answers once. What a device
//! compiles when it is first used, the pipelines of a GPU or a browser's fast code of WebAssembly, is compiled then.

use super::step::ModelStep;
use super::touch;
use crate::config::{Decoding, OfaConfig};
use crate::error::Result;
use crate::generate::{Step, StepRequest};
use crate::kernels::tensor;
use crate::model::{OfaModel, Parameters, Source, Stored, TokenBatch};
use crate::weights::{DeviceWeights, Dtype, RawTensor, elements, stored_shapes};
use burn::tensor::Device;
use std::borrow::Cow;

/// The picture's height and width. The stem makes 8 × 4 patches of it: more rows than kernels for few rows take, and rows of
/// fours, as usual pictures have.
const PICTURE: [usize; 2] = [128, 64];
const WORDS: usize = 8;
/// Which one does not matter.
const TOKEN: u32 = 0;
/// Values of the table of tokens: as many as it takes to be read as large ones are.
const TABLE_VALUES: usize = 1 << 21;
/// Rows and candidates of the steps: of a greedy search, of one with beams, and of the last that such a one takes, which
/// only asks for EOS. As many as outgrow the room that is made for past tokens at first.
const STEPS: [(usize, usize); 5] = [(1, 8), (5, 16), (5, 16), (5, 16), (5, 0)];
/// Tokens of a caption.
const LONGEST: usize = 16;

/// Answers once with a model like that of `config`, of which each thing is there as often as it takes to run every
/// kernel. Weights are packed as `config` says.
///
/// # Errors
/// [`Error::Config`](crate::error::Error::Config) for an unusable configuration, and the device's own.
pub async fn rehearse(config: &OfaConfig, device: &Device) -> Result<()> {
    config.validate()?;
    let config = OfaConfig {
        vocab_size: config.vocab_size.min(TABLE_VALUES.div_ceil(config.d_model)),
        encoder_layers: 1,
        decoder_layers: 1,
        // The first block of a stage differs from those behind it.
        resnet_layers: Some(config.stem_blocks().map(|blocks| blocks.min(2))),
        ..config.clone()
    };
    let model =
        OfaModel::new(&config, &mut MadeUp { weights: DeviceWeights::new(&config, device.clone()), config: &config })?;
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

/// Zeros for whatever is asked for, on the way that weights of a bundle take.
struct MadeUp<'a> {
    weights: DeviceWeights,
    config: &'a OfaConfig,
}

impl Parameters for MadeUp<'_> {
    fn joins(&self) -> bool {
        self.weights.joins()
    }

    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Stored> {
        let stored = stored_shapes(vec![(name.to_owned(), shape.to_vec())], self.config.quantization.as_ref());
        // A packed matrix is its codes, scales and biases.
        let dtypes: &[Dtype] = if stored.len() == 1 { &[Dtype::F32] } else { &[Dtype::U32, Dtype::F16, Dtype::F16] };
        for ((name, shape), dtype) in stored.into_iter().zip(dtypes) {
            let bytes = vec![0; elements(&shape).unwrap_or(0) * dtype.size()];
            self.weights.insert(&name, &RawTensor { dtype: *dtype, shape, data: Cow::Owned(bytes) })?;
        }
        self.weights.take(name, shape)
    }
}
