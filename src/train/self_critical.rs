//! Self-critical training (reference §8.4): the model captions images itself, and every caption is learnt by how much
//! better it is than the model's others of that image.

use super::loader::{BatchOptions, Loaded};
use super::loss::LossOptions;
use super::metrics::cider::{DocumentFrequencies, advantages, ended_scores};
use super::metrics::words::mean;
use super::sample::{PatchImage, Sample};
use super::trainer::Trainer;
use super::{Arrangement, Batch, Draws};
use crate::config::Decoding;
use crate::error::{Error, Result};
use crate::generate::{SpecialIds, Start, beam_search};
use crate::model::{ImageFeatures, OfaModel, Source, TokenBatch};
use crate::predict::ModelStep;
use crate::vocab::Vocab;
use burn::tensor::{Tensor, TensorData};
use std::sync::Arc;

/// What samples are called whose target the model wrote itself.
const OBJECTIVE: &str = "self_critical";

/// A sample whose target is not to be learnt: the model writes its own, and these texts tell what it is worth.
#[derive(Debug, Clone)]
pub struct Rewarded {
    pub sample: Sample,
    pub references: Vec<String>,
}

/// Lets the model answer, and judges what it says by CIDEr-D.
#[derive(Debug)]
pub struct SelfCritic {
    vocab: Arc<Vocab>,
    frequencies: DocumentFrequencies,
    decoding: Decoding,
}

/// What the model said of some images.
#[derive(Debug)]
pub struct Criticised {
    /// One for each hypothesis. The reward is the sample's `conf`, because it is a factor of the log-probabilities, too.
    pub samples: Vec<Sample>,
    /// CIDEr-D of each hypothesis.
    pub scores: Vec<f64>,
}

impl SelfCritic {
    /// Hypotheses are searched for with `decoding`.
    pub fn new(vocab: Arc<Vocab>, frequencies: DocumentFrequencies, decoding: Decoding) -> Self {
        Self { vocab, frequencies, decoding }
    }

    /// # Errors
    /// [`Error::Option`] for a loss that is more than rewarded log-probabilities.
    pub fn check(loss: &LossOptions) -> Result<()> {
        let LossOptions { constraint_range, sentence_avg, .. } = *loss;
        let plain = LossOptions { constraint_range, sentence_avg, ..LossOptions::default() };
        if *loss == plain {
            return Ok(());
        }
        let expected = "no smoothing, dropping, R-Drop or encouragement in self-critical training";
        Err(Error::option("update.loss", expected, format!("{loss:?}")))
    }

    /// The model's own captions of some images, which are all of one size, as samples with rewards.
    ///
    /// # Errors
    /// Those of the search.
    pub async fn criticise(&self, trainer: &Trainer, asked: &[Rewarded]) -> Result<Criticised> {
        let (model, config) = (trainer.current(), trainer.config());
        let sources: Vec<Vec<u32>> = asked.iter().map(|one| one.sample.source.clone()).collect();
        let mut source = Source::text(TokenBatch::padded(&sources, config.pad_token_id));
        let images: Option<Vec<&Arc<PatchImage>>> = asked.iter().map(|one| one.sample.image.as_ref()).collect();
        if let Some(images) = images.filter(|images| !images.is_empty()) {
            source = source.with_image(features(&images, &model));
        }
        let encoded = model.encode(&source);
        let prefixes: Vec<Vec<u32>> = asked.iter().map(|one| one.sample.prefix.clone()).collect();
        let prompt = prefixes.iter().map(Vec::len).max().unwrap_or(0);
        let longest = config.max_position_embeddings.saturating_sub(2);
        let max_len = (self.decoding.max_len(source.tokens.len) + prompt).min(longest);
        let mut step = ModelStep::new(&model, config, &encoded, &self.decoding, max_len);
        let start = Start { prefixes: &prefixes, trie: None };
        let ids = SpecialIds::new(config);
        let found = beam_search(&mut step, &ids, &self.decoding, max_len, start, &mut async |_| Ok(())).await?;

        let mut criticised = Criticised { samples: Vec::new(), scores: Vec::new() };
        for (Rewarded { sample, references }, hypotheses) in asked.iter().zip(found) {
            let written: Vec<Vec<u32>> = hypotheses
                .into_iter()
                .map(|hypothesis| {
                    let answer = hypothesis.tokens.into_iter().skip(sample.prefix.len());
                    answer.filter(|id| *id != config.eos_token_id).collect()
                })
                .collect();
            let texts: Vec<String> = written.iter().map(|ids| self.vocab.decode(ids).trim().to_owned()).collect();
            let scores = ended_scores(&texts, references, &self.frequencies);
            let rewards = advantages(&scores);
            criticised.samples.extend(written.into_iter().zip(rewards).map(|(target, reward)| Sample {
                objective: OBJECTIVE,
                target,
                conf: reward as f32,
                ..sample.clone()
            }));
            criticised.scores.extend(scores);
        }
        Ok(criticised)
    }
}

/// The batches of an update, those of the model's own answers among them, and the mean CIDEr-D of these answers.
///
/// # Errors
/// Those of [`SelfCritic::criticise`] and [`Batch::new`]; [`Error::Option`] if nobody can tell what answers are worth.
pub async fn answered(
    loaded: Loaded,
    trainer: &Trainer,
    draws: &dyn Draws,
    options: &BatchOptions,
) -> Result<(Vec<Vec<Batch>>, Option<f64>)> {
    let Loaded { mut groups, rewarded, .. } = loaded;
    let Some(critic) = draws.critic() else {
        let nobody = || Error::option("data", "somebody who rewards answers", "nobody");
        return if rewarded.is_empty() { Ok((groups, None)) } else { Err(nobody()) };
    };
    let (mut batches, mut scores) = (Vec::new(), Vec::new());
    for asked in rewarded {
        let criticised = critic.criticise(trainer, &asked).await?;
        scores.extend(criticised.scores);
        let arrangement =
            Arrangement { keep: options.sample_patches, seed: trainer.updates(), ..Arrangement::on(&trainer.device()) };
        batches.push(Batch::new(&criticised.samples, trainer.config(), arrangement)?);
    }
    // All ranks have the same groups, even if one could read no image.
    groups.push(batches);
    Ok((groups, (!scores.is_empty()).then(|| mean(scores))))
}

/// Images of one size through the stem.
fn features(images: &[&Arc<PatchImage>], model: &OfaModel) -> ImageFeatures {
    let PatchImage { width, height, .. } = **images[0];
    let values: Vec<f32> = images.iter().flat_map(|image| image.values.iter().copied()).collect();
    let data = TensorData::new(values, [images.len(), 3, height, width]);
    model.encode_image(Tensor::from_data(data, &model.device()))
}
