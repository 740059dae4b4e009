//! Samples side by side: what one pass of the model reads and what it is judged by.

use super::loss::Judged;
use super::sample::{PatchImage, Sample};
use crate::config::OfaConfig;
use crate::error::{Error, Result};
use crate::model::{OfaModel, Source, TokenBatch};
use burn::tensor::{Tensor, TensorData};

/// Samples of one pass, padded to rectangles.
#[derive(Debug, Clone)]
pub struct Batch {
    /// `[B, S]`
    pub source: TokenBatch,
    /// What the decoder reads, `[B, T]`.
    pub previous: TokenBatch,
    /// What it should write at each position, pad where it is not judged, `[B, T]`.
    pub target: TokenBatch,
    pub conf: Vec<f32>,
    pub codes: Vec<bool>,
    /// The objective of each sample.
    pub objectives: Vec<&'static str>,
    images: Option<Images>,
}

#[derive(Debug, Clone)]
struct Images {
    /// `[B, 3, height, width]`; zeros for samples without an image.
    values: Vec<f32>,
    height: usize,
    width: usize,
    present: Vec<bool>,
    /// Patches kept of each sample, in this order.
    order: Option<Vec<Vec<usize>>>,
}

impl Batch {
    /// Puts samples side by side. With `keep`, each image's patches are sampled: so many of them, in an order drawn with
    /// `seed` (reference §1.4, `sample_patch_num`).
    ///
    /// # Errors
    /// [`Error::Image`] for images of more than one size, [`Error::Task`] for a text beyond the model's positions.
    pub fn new(samples: &[Sample], config: &OfaConfig, keep: Option<usize>, seed: u64) -> Result<Self> {
        let limit = config.max_position_embeddings;
        for sample in samples {
            let longest = sample.source.len().max(1 + sample.prefix.len() + sample.target.len());
            if longest > limit {
                return Err(Error::task(sample.objective, format!("{longest} tokens; at most {limit} fit")));
            }
        }
        let (bos, eos, pad) = (config.bos_token_id, config.eos_token_id, config.pad_token_id);
        let padded = |row: fn(&Sample, [u32; 3]) -> Vec<u32>| {
            let rows: Vec<Vec<u32>> = samples.iter().map(|sample| row(sample, [bos, eos, pad])).collect();
            TokenBatch::padded(&rows, pad)
        };
        Ok(Self {
            source: padded(|sample, _| sample.source.clone()),
            previous: padded(|sample, [bos, _, _]| {
                [&[bos], sample.prefix.as_slice(), sample.target.as_slice()].concat()
            }),
            target: padded(|sample, [_, eos, pad]| {
                let unjudged = sample.unjudged.min(sample.target.len());
                let skipped = vec![pad; sample.prefix.len() + unjudged];
                [skipped.as_slice(), &sample.target[unjudged..], &[eos]].concat()
            }),
            conf: samples.iter().map(|sample| sample.conf).collect(),
            codes: samples.iter().map(|sample| sample.codes).collect(),
            objectives: samples.iter().map(|sample| sample.objective).collect(),
            images: Images::new(samples, keep, seed)?,
        })
    }

    /// Samples.
    pub fn len(&self) -> usize {
        self.objectives.len()
    }

    pub fn is_empty(&self) -> bool {
        self.objectives.is_empty()
    }

    /// Tokens that are judged.
    pub fn judged_tokens(&self, pad: u32) -> usize {
        self.target.ids.iter().filter(|id| **id != pad).count()
    }

    /// The model's logits at every position.
    ///
    /// # Shapes
    /// `[B, T, V]`
    pub fn logits(&self, model: &OfaModel) -> Tensor<3> {
        let mut source = Source::text(self.source.clone());
        if let Some(Images { values, height, width, present, order }) = &self.images {
            let data = TensorData::new(values.clone(), [self.len(), 3, *height, *width]);
            source = source.with_image(model.encode_image(Tensor::from_data(data, &model.device())));
            source.patch_masks = present.clone();
            source.patch_order = order.clone();
        }
        let encoded = model.encode(&source);
        let mut cache = model.begin(&encoded, &self.codes, self.previous.len);
        model.logits(model.decode(&self.previous, &mut cache))
    }

    /// Logits of this batch with what they are judged by, after `update` updates.
    pub fn judge(&self, logits: Tensor<3>, config: &OfaConfig, update: usize) -> Judged<'_> {
        Judged {
            logits,
            target: &self.target,
            conf: self.conf.iter().any(|conf| *conf != 1.0).then_some(self.conf.as_slice()),
            constraint_masks: None,
            update,
            pad: config.pad_token_id,
            eos: config.eos_token_id,
        }
    }
}

impl Images {
    fn new(samples: &[Sample], keep: Option<usize>, seed: u64) -> Result<Option<Self>> {
        let Some(PatchImage { width, height, .. }) = samples.iter().find_map(|sample| sample.image.as_ref()) else {
            return Ok(None);
        };
        let (width, height) = (*width, *height);
        let mut values = Vec::with_capacity(samples.len() * 3 * width * height);
        for sample in samples {
            match &sample.image {
                Some(image) if (image.width, image.height) == (width, height) => values.extend(&image.values),
                Some(image) => {
                    let found = format!("images of {width} x {height} and {} x {}", image.width, image.height);
                    return Err(Error::image(format!("one batch holds {found}")));
                }
                None => values.extend(std::iter::repeat_n(0.0, 3 * width * height)),
            }
        }
        let patches = width.div_ceil(crate::config::STEM_STRIDE) * height.div_ceil(crate::config::STEM_STRIDE);
        let order = keep.filter(|keep| *keep < patches).map(|keep| {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut drawn = || {
                let mut order: Vec<usize> = (0..patches).collect();
                random.shuffle(&mut order);
                order.truncate(keep);
                order
            };
            samples.iter().map(|_| drawn()).collect()
        });
        let present = samples.iter().map(|sample| sample.image.is_some()).collect();
        Ok(Some(Self { values, height, width, present, order }))
    }
}
