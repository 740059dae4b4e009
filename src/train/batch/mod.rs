//! Samples side by side: what one pass of the model reads and what it is judged by.

mod images;
mod pass;
mod rectangle;

use super::loss::{Judged, LossOptions, TargetToken, target_tokens};
use super::sample::Sample;
use crate::config::OfaConfig;
use crate::error::{Error, Result};
use crate::kernels::in_host_memory;
use crate::model::TokenBatch;
use burn::tensor::{Device, Tensor};
use images::Images;
use rectangle::{Rectangle, cut};

pub use pass::{Beside, Pass};

/// What another rectangle costs, in positions of padding: about the time of launching a pass's operations again, where
/// the host computes and where it only launches.
const RECTANGLE_COSTS: [usize; 2] = [64, 4096];
/// How samples are laid out in a batch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Arrangement {
    /// So many patches are kept of each image, in an order drawn with `seed` (reference §1.4, `sample_patch_num`).
    pub keep: Option<usize>,
    pub seed: u64,
    /// What another rectangle of samples of like length costs, in positions of padding.
    pub rectangle_cost: usize,
}

impl Arrangement {
    /// All patches, and rectangles as `device` likes them.
    pub fn on(device: &Device) -> Self {
        let [host, launched] = RECTANGLE_COSTS;
        Self { rectangle_cost: if in_host_memory(device) { host } else { launched }, ..Self::default() }
    }
}

/// Samples of one pass. The stem runs once over their images; the layers run over rectangles of samples of like
/// length, because padding costs as much as text.
#[derive(Debug, Clone)]
pub struct Batch {
    pub conf: Vec<f32>,
    /// The objective of each sample.
    pub objectives: Vec<&'static str>,
    rectangles: Vec<Rectangle>,
    /// What the model is judged by, rectangle after rectangle.
    tokens: Vec<TargetToken>,
    /// For each of them the only tokens that compete there; none where all do.
    allowed: Vec<Option<Vec<u32>>>,
    images: Option<Images>,
}

/// How much a batch knows beside its answers. Sums over batches and ranks divide by sums of these.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Known {
    /// Patches whose names are known.
    pub named: usize,
    /// Patches, as samples see them, whose role is.
    pub referred: usize,
    /// Tokens of answers of which it is known what shows what they speak of.
    pub looked: usize,
}

impl Batch {
    /// Puts samples side by side.
    ///
    /// # Errors
    /// [`Error::Image`] for images of more than one size, [`Error::Task`] for a text beyond the model's positions and for
    /// an instruction that refers to patches of another grid.
    pub fn new(samples: &[Sample], config: &OfaConfig, arrangement: Arrangement) -> Result<Self> {
        samples.iter().try_for_each(|sample| sample.check_length(config.max_position_embeddings))?;
        let images = Images::new(samples, arrangement)?;
        let all = images.as_ref().map_or(0, Images::all);
        for sample in samples {
            let referred = sample.referred.as_ref().map_or(all, |referred| referred.patches.len());
            if referred != all {
                let reason = format!("refers to an image of {referred} patches; it has {all}");
                return Err(Error::task(sample.objective, reason));
            }
        }
        let patches = images.as_ref().map_or(0, Images::kept);
        let encoder_len = |sample: &Sample| sample.source.len() + if sample.image.is_some() { patches } else { 0 };
        let sizes: Vec<[usize; 2]> = samples.iter().map(|one| [encoder_len(one), one.decoder_len()]).collect();
        let rectangles = cut(&sizes, arrangement.rectangle_cost)
            .into_iter()
            .map(|chosen| Rectangle::new(samples, chosen, images.as_ref(), config))
            .collect();
        let conf = samples.iter().map(|sample| sample.conf).collect();
        let objectives = samples.iter().map(|sample| sample.objective).collect();
        let mut batch = Self::of(rectangles, conf, objectives, images);
        if samples.iter().any(|sample| sample.answers.is_some()) {
            let allowed = |token: &TargetToken| samples[token.sample].allowed(token.position);
            batch.allowed = batch.tokens.iter().map(allowed).collect();
        }
        Ok(batch)
    }

    /// A batch of what has been put side by side already, `[B, S]`, `[B, T]` and `[B, T]`, pad where it is not judged;
    /// images `[B, 3, height, width]`.
    ///
    /// # Panics
    /// If the parts are not of one batch.
    pub fn from_parts(
        [source, previous, target]: [TokenBatch; 3],
        (values, [height, width]): (Vec<f32>, [usize; 2]),
        objectives: Vec<&'static str>,
        pad: u32,
    ) -> Self {
        let count = objectives.len();
        assert!([source.batch, previous.batch, target.batch].iter().all(|batch| *batch == count));
        assert_eq!(values.len(), count * 3 * height * width);
        let images = Some(Images {
            values,
            height,
            width,
            index: (0..count).map(Some).collect(),
            order: None,
            names: Vec::new(),
        });
        let tokens = target_tokens(&target, pad);
        let (samples, codes, referred) = ((0..count).collect(), vec![false; count], vec![None; count]);
        let whole = Rectangle { samples, source, previous, tokens, codes, referred, looks: Vec::new() };
        Self::of(vec![whole], vec![1.0; count], objectives, images)
    }

    fn of(rectangles: Vec<Rectangle>, conf: Vec<f32>, objectives: Vec<&'static str>, images: Option<Images>) -> Self {
        let of_batch = |rectangle: &Rectangle| -> Vec<TargetToken> {
            let tokens = rectangle.tokens.iter();
            tokens.map(|token| TargetToken { sample: rectangle.samples[token.sample], ..*token }).collect()
        };
        let tokens = rectangles.iter().flat_map(of_batch).collect();
        Self { conf, objectives, rectangles, tokens, allowed: Vec::new(), images }
    }

    /// Samples.
    pub fn len(&self) -> usize {
        self.objectives.len()
    }

    pub fn is_empty(&self) -> bool {
        self.objectives.is_empty()
    }

    /// Tokens that are judged.
    pub fn tokens(&self) -> &[TargetToken] {
        &self.tokens
    }

    /// Which tokens of a vocabulary of this size compete at each of [`tokens`](Self::tokens), `[n, V]`; `None` if all do.
    pub fn constraint_masks(&self, vocabulary: usize) -> Option<Vec<bool>> {
        if self.allowed.is_empty() {
            return None;
        }
        let mut masks = vec![false; self.allowed.len() * vocabulary];
        for (row, allowed) in masks.chunks_mut(vocabulary).zip(&self.allowed) {
            match allowed {
                Some(ids) => ids.iter().for_each(|id| row[*id as usize] = true),
                None => row.fill(true),
            }
        }
        Some(masks)
    }

    /// Positions of the encoder and of the decoder that a pass runs over, padding and patches included.
    pub fn positions(&self) -> usize {
        let patches = self.images.as_ref().map_or(0, Images::kept);
        let of = |rectangle: &Rectangle| {
            let patches = if self.sees(rectangle) { patches } else { 0 };
            rectangle.samples.len() * (patches + rectangle.source.len + rectangle.previous.len)
        };
        self.rectangles.iter().map(of).sum()
    }

    /// How much is known beside the answers.
    pub fn known(&self) -> Known {
        let referred = |rectangle: &Rectangle| rectangle.referred.iter().flatten().count();
        Known {
            named: self.named_patches().count(),
            referred: self.rectangles.iter().map(referred).sum::<usize>()
                * self.images.as_ref().map_or(0, Images::kept),
            looked: self.rectangles.iter().map(|rectangle| rectangle.looks.len()).sum(),
        }
    }

    /// Images, their patches whose names are known, and those.
    fn named_patches(&self) -> impl Iterator<Item = (usize, usize, &Vec<u32>)> {
        let images = self.images.iter().flat_map(|images| images.names.iter().enumerate());
        let named = images.filter_map(|(image, names)| Some((image, names.as_ref()?)));
        let patches = named
            .flat_map(|(image, names)| names.iter().enumerate().map(move |(patch, tokens)| (image, patch, tokens)));
        patches.filter(|(_, _, tokens)| !tokens.is_empty())
    }

    /// What divides the summed losses of its answers.
    pub fn size(&self, options: &LossOptions, config: &OfaConfig) -> f64 {
        options.size(&self.tokens, self.len(), config.eos_token_id)
    }

    /// What these logits are judged by after `update` updates.
    pub fn judge(&self, logits: Tensor<2>, config: &OfaConfig, update: usize) -> Judged<'_> {
        Judged {
            logits,
            tokens: &self.tokens,
            samples: self.len(),
            conf: self.conf.iter().any(|conf| *conf != 1.0).then_some(self.conf.as_slice()),
            constraint_masks: None,
            update,
            eos: config.eos_token_id,
        }
    }

    fn sees(&self, rectangle: &Rectangle) -> bool {
        let images = self.images.as_ref();
        images.is_some_and(|images| rectangle.samples.iter().any(|sample| images.index[*sample].is_some()))
    }
}
