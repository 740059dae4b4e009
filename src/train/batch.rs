//! Samples side by side: what one pass of the model reads and what it is judged by.

use super::loss::Judged;
use super::sample::{PatchImage, Sample};
use crate::config::{OfaConfig, STEM_STRIDE};
use crate::error::{Error, Result};
use crate::kernels::indices;
use crate::model::{OfaModel, Source, TokenBatch};
use burn::tensor::{Tensor, TensorData};
use std::sync::Arc;

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
    /// Each image once, `[n, 3, height, width]`.
    values: Vec<f32>,
    height: usize,
    width: usize,
    /// For each sample its image; the first stands in where there is none.
    index: Vec<usize>,
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

    /// A batch of what has been put side by side already; images `[B, 3, height, width]`.
    ///
    /// # Panics
    /// If the parts are not of one batch.
    pub fn from_parts(
        source: TokenBatch,
        previous: TokenBatch,
        target: TokenBatch,
        (values, [height, width]): (Vec<f32>, [usize; 2]),
        objectives: Vec<&'static str>,
    ) -> Self {
        let count = objectives.len();
        assert!([source.batch, previous.batch, target.batch].iter().all(|batch| *batch == count));
        assert_eq!(values.len(), count * 3 * height * width);
        let index = (0..count).collect();
        let images = Some(Images { values, height, width, index, present: vec![true; count], order: None });
        Self { source, previous, target, conf: vec![1.0; count], codes: vec![false; count], objectives, images }
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
        if let Some(Images { values, height, width, index, present, order }) = &self.images {
            let count = values.len() / (3 * height * width);
            let data = TensorData::new(values.clone(), [count, 3, *height, *width]);
            let mut image = model.encode_image(Tensor::from_data(data, &model.device()));
            if !index.iter().copied().eq(0..count) {
                image.patches = image.patches.select(0, indices(index.iter().copied(), &model.device()));
            }
            source = source.with_image(image);
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
        let mut images: Vec<&Arc<PatchImage>> = Vec::new();
        let mut index = Vec::with_capacity(samples.len());
        for sample in samples {
            let Some(image) = &sample.image else {
                index.push(0);
                continue;
            };
            // Neighbours share images, so the search looks at the last first.
            index.push(images.iter().rposition(|known| Arc::ptr_eq(known, image)).unwrap_or_else(|| {
                images.push(image);
                images.len() - 1
            }));
        }
        let Some(first) = images.first() else { return Ok(None) };
        let (width, height) = (first.width, first.height);
        if let Some(other) = images.iter().find(|image| (image.width, image.height) != (width, height)) {
            let found = format!("images of {width} x {height} and {} x {}", other.width, other.height);
            return Err(Error::image(format!("one batch holds {found}")));
        }
        let patches = width.div_ceil(STEM_STRIDE) * height.div_ceil(STEM_STRIDE);
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
        let values = images.iter().flat_map(|image| image.values.iter().copied()).collect();
        let present = samples.iter().map(|sample| sample.image.is_some()).collect();
        Ok(Some(Self { values, height, width, index, present, order }))
    }
}
