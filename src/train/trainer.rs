//! The update: passes over batches, one gradient, one step of the optimiser.

use super::batch::{Batch, Beside, Known, Pass};
use super::loss::{Judged, Loss, LossOptions, cross_entropy, cross_entropy_twice};
use super::optimizer::{Adam, AdamOptions, Average, Schedule, clip};
use super::parameters::{Gradient, ParameterMap, Section};
use super::ranks::Ranks;
use super::rounding::Rounding;
use super::seed::seed_of;
use crate::config::OfaConfig;
use crate::error::{Error, Result};
use crate::kernels::floats;
use crate::model::{OfaModel, Parameters};
use crate::weights::{PackingChoice, STEM};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::iter::repeat;
use std::time::Instant;

/// What the names of patches are reported as, among the objectives.
const PATCHES: &str = "patches";
/// What the patches that instructions refer to are reported as.
const REFERRED: &str = "referred";
/// What looking elsewhere than at what is spoken of is reported as.
const LOOKED: &str = "looked";

/// How updates are made; names and defaults of the original where it has them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateOptions {
    /// Updates in all.
    pub updates: u64,
    pub schedule: Schedule,
    pub adam: AdamOptions,
    /// The longest gradient; 0 switches clipping off.
    pub clip_norm: f64,
    /// The decay of the weights' moving average; without it there is none.
    pub ema_decay: Option<f64>,
    pub loss: LossOptions,
    /// What the mean loss of the second group, pictures' other tasks and text, is multiplied by.
    pub extra_weight: f64,
    pub patches: PatchOptions,
    /// The quantised bundle that the model is trained for: passes see its weights rounded as there, and so they are saved.
    pub quantization: Option<PackingChoice>,
    /// Parameters whose names begin with one of these are not trained.
    pub freeze: Vec<String>,
    /// Updates in a row whose gradient may be no number before training gives up.
    pub max_bad_updates: u32,
}

/// What patches learn beside the answers, where the data know it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PatchOptions {
    /// What the mean loss of saying what lies in them ([`Batch::patch_nll`]) is multiplied by, beside that of the
    /// answers; 0 leaves it out.
    pub weight: f64,
    /// What the mean loss of saying what they are to the instruction ([`Pass::referred`]) is multiplied by: nothing, what it
    /// asks about, or what that is compared with.
    pub referred: f64,
    /// What the mean loss of looking elsewhere than at what is spoken of ([`Pass::looked`]) is multiplied by.
    pub looked: f64,
    /// Up to this update their names are all that is trained: the layers do not run, and an update takes a fraction of the time.
    pub alone_until: u64,
}

impl Default for UpdateOptions {
    fn default() -> Self {
        Self {
            updates: 1000,
            schedule: Schedule::default(),
            adam: AdamOptions::default(),
            clip_norm: 5.0,
            ema_decay: None,
            loss: LossOptions::default(),
            extra_weight: 1.0,
            patches: PatchOptions::default(),
            quantization: None,
            freeze: Vec::new(),
            max_bad_updates: 10,
        }
    }
}

/// A model in training.
pub struct Trainer {
    config: OfaConfig,
    options: UpdateOptions,
    /// Its weights are those of the state, rounded if they are trained for that.
    model: OfaModel,
    map: ParameterMap,
    rounding: Option<Rounding>,
    seed: u64,
    pub(super) state: TrainerState,
}

/// All that an update changes, beside the model.
#[derive(Debug, Clone)]
pub struct TrainerState {
    /// Updates made, bad ones and those that were passed over counted.
    pub updates: u64,
    /// Bad updates since the last good one.
    pub bad_updates: u32,
    /// The trained weights, `[n]`.
    pub values: Tensor<1>,
    pub adam: Adam,
    pub average: Option<Averages>,
}

/// Moving averages of both sections of the model's numbers.
#[derive(Debug, Clone)]
pub struct Averages {
    pub parameters: Average,
    pub statistics: Average,
}

/// What an update did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Updated {
    /// From 1.
    pub update: u64,
    pub lr: f64,
    /// The sum of the groups' mean losses.
    pub loss: f64,
    /// The gradient's length before clipping.
    pub gradient_norm: f32,
    /// False if there was no gradient, or one that is no number, and the weights stay as they were.
    pub stepped: bool,
    /// On all ranks.
    pub samples: usize,
    /// Tokens that were judged, on all ranks.
    pub tokens: usize,
    /// For each objective its likelihood a token, negative and in nats, on this rank.
    pub nll: BTreeMap<&'static str, f64>,
    /// Seconds of the forward passes, on this rank.
    pub forward: f64,
    /// Seconds of the backward passes, on this rank.
    pub backward: f64,
}

impl Trainer {
    /// Takes the initial weights from `parameters`, which lie on a device with gradients.
    ///
    /// # Errors
    /// Those of the model's construction; [`Error::Config`] for weights that cannot be trained.
    pub fn new(config: OfaConfig, options: UpdateOptions, seed: u64, parameters: &mut dyn Parameters) -> Result<Self> {
        if config.batch_norm_folded || config.quantization.is_some() {
            let expected = "weights as `ofa convert` or `ofa export --keep-batch-norm` writes them";
            return Err(Error::config("batch_norm_folded, quantization", expected, "a bundle exported for answering"));
        }
        let (model, mut map) = ParameterMap::build(&config, parameters)?;
        if !model.device().is_autodiff() {
            return Err(Error::device("training needs a device with gradients"));
        }
        let names = || map.entries(Section::Parameters).map(|entry| entry.name.as_str());
        if let Some(prefix) =
            options.freeze.iter().find(|prefix| !names().any(|name| name.starts_with(prefix.as_str())))
        {
            let expected = "names of parameters or what they begin with, such as `encoder.embed_images`";
            return Err(Error::option("update.freeze", expected, prefix));
        }
        let stem_is_frozen = config.freeze_resnet;
        let model = map.freeze(model, |name| {
            // A frozen stem keeps its norms; its convolutions are still trained, as in the original.
            let stem_norm = name.starts_with(STEM) && name.split('.').any(is_batch_norm);
            (stem_is_frozen && stem_norm) || options.freeze.iter().any(|prefix| name.starts_with(prefix.as_str()))
        });
        let values = map.values(&model, Section::Parameters);
        let packing = options.quantization.as_ref().map(|choice| {
            choice.packing(&config, map.entries(Section::Parameters).map(|entry| (&*entry.name, &*entry.shape)))
        });
        let rounding = packing.map(|packing| Rounding::new(packing, &map));
        let average = options.ema_decay.map(|decay| Averages {
            parameters: Average { decay, values: values.clone() },
            statistics: Average { decay, values: map.values(&model, Section::Statistics) },
        });
        let adam = Adam::new(options.adam.clone(), &values);
        let state = TrainerState { updates: 0, bad_updates: 0, values, adam, average };
        let mut trainer = Self { config, options, model, map, rounding, seed, state };
        trainer.show_weights();
        Ok(trainer)
    }

    pub fn config(&self) -> &OfaConfig {
        &self.config
    }

    pub fn options(&self) -> &UpdateOptions {
        &self.options
    }

    pub fn map(&self) -> &ParameterMap {
        &self.map
    }

    /// Where it trains, without gradients.
    pub fn device(&self) -> Device {
        self.state.values.device()
    }

    /// Updates made so far.
    pub fn updates(&self) -> u64 {
        self.state.updates
    }

    /// The model as it is trained, without gradients.
    pub(super) fn current(&self) -> OfaModel {
        self.model.valid()
    }

    /// The model for answering: without gradients, with averaged weights if there are any, rounded if they are trained so.
    pub fn model(&self) -> OfaModel {
        let [parameters, statistics] = self.answering();
        let model = self.map.load(self.current(), Section::Parameters, &parameters);
        self.map.load(model, Section::Statistics, &statistics)
    }

    /// The numbers of [`Self::model`], parameters and statistics, `[n]` each.
    pub(super) fn answering(&self) -> [Tensor<1>; 2] {
        let (parameters, statistics) = match &self.state.average {
            Some(Averages { parameters, statistics }) => (&parameters.values, statistics.values.clone()),
            None => (&self.state.values, self.values(Section::Statistics)),
        };
        [self.rounded(parameters), statistics]
    }

    /// How weights are rounded, if they are trained for that.
    pub(super) fn rounding(&self) -> Option<&Rounding> {
        self.rounding.as_ref()
    }

    /// What passes see of the weights `values`, `[n]`.
    fn rounded(&self, values: &Tensor<1>) -> Tensor<1> {
        self.rounding.as_ref().map_or_else(|| values.clone(), |rounding| rounding.round(values))
    }

    /// Lets passes see the weights as they are now.
    fn show_weights(&mut self) {
        let values = self.rounded(&self.state.values);
        self.model = self.map.load(self.model.clone(), Section::Parameters, &values);
    }

    /// A section of the numbers that are trained, `[n]`, never rounded.
    pub fn values(&self, section: Section) -> Tensor<1> {
        match section {
            Section::Parameters => self.state.values.clone(),
            Section::Statistics => self.map.values(&self.model, Section::Statistics),
        }
    }

    /// A number that two trainers share if their weights and statistics are the same bits.
    ///
    /// # Errors
    /// The device's, when the values cannot be read back.
    pub async fn fingerprint(&self) -> Result<u64> {
        let mut hasher = DefaultHasher::new();
        for section in [Section::Parameters, Section::Statistics] {
            floats(self.values(section)).await?.iter().for_each(|value| value.to_bits().hash(&mut hasher));
        }
        Ok(hasher.finish())
    }

    /// Puts the trainer where a checkpoint left it.
    pub(super) fn restore(&mut self, state: TrainerState, statistics: &Tensor<1>) {
        self.model = self.map.load(self.model.clone(), Section::Statistics, statistics);
        self.state = state;
        self.show_weights();
    }

    /// One update. Each group of batches is a mini-batch of its own: its loss is a mean over its tokens, on all ranks,
    /// and the groups' losses are added (reference §7.2). Where no rank has anything to judge, it is passed over.
    ///
    /// # Errors
    /// The device's, [`Error::Device`] when too many gradients in a row were no numbers, and [`Error::Option`] for
    /// patches to be trained alone that nobody knows the names of.
    pub async fn update(&mut self, groups: &[Vec<Batch>], ranks: &dyn Ranks) -> Result<Updated> {
        let update = self.state.updates + 1;
        let lr = self.options.schedule.lr(update, self.options.updates);
        // Dropout is a function of the update, so that a resumed run repeats it.
        self.model.device().seed(seed_of(&[self.seed, update, ranks.rank() as u64]));
        let statistics = self.values(Section::Statistics);
        let mut totals = Totals::default();
        let mut gradient: Option<Gradient> = None;
        // Both groups show the same pictures.
        let groups = if self.patches_alone() { &groups[..groups.len().min(1)] } else { groups };
        // The third group, where there is one, are the model's own answers.
        let weights = [1.0, self.options.extra_weight].into_iter().chain(repeat(1.0));
        for (batches, weight) in groups.iter().zip(weights) {
            let sizes = self.sizes(batches, ranks)?;
            let own = self.group(batches, &sizes, &mut totals).await?;
            // Ranks on which nothing of the group fell add up with the others all the same.
            let summed = own.as_ref().map_or([0.0; 2], |(_, size, loss)| [*size, *loss]);
            let [size, loss] = ranks.sum_pair(summed)?;
            if size == 0.0 {
                continue;
            }
            totals.loss += weight * loss / size;
            let sum = own.map_or_else(|| self.map.no_gradient(&self.model), |(sum, _, _)| sum);
            let mean = Gradient { values: sum.values * (weight / size), reached: sum.reached };
            gradient = Some(match gradient {
                Some(gradient) => gradient.plus(mean),
                None => mean,
            });
        }
        totals.share(ranks)?;
        let Some(Gradient { values, reached }) = gradient else {
            self.check_names(groups, ranks)?;
            // Passes without a judged token may have observed something, on some of the ranks.
            self.model = self.map.load(self.model.clone(), Section::Statistics, &statistics);
            // There is no direction to step in, so weights, moments and averages stay. The update counts as bad ones do:
            // what follows has the learning rate and the draws that it would have had.
            self.state.updates = update;
            return Ok(Totals { loss: f64::NAN, ..totals }.updated(update, lr, f32::NAN, false));
        };
        let gradient = Gradient { values: ranks.sum(values).await?, reached: ranks.any(reached)? };
        let norm = gradient.norm().await?;
        ranks.agree("gradient", u64::from(norm.to_bits()))?;
        let stepped = norm.is_finite() && totals.loss.is_finite();
        // What the norms have observed is averaged; after a bad update it may be no numbers, and is forgotten.
        let observed = ranks.sum(self.values(Section::Statistics)).await? / ranks.size() as f64;
        let kept = if stepped { observed } else { statistics };
        self.model = self.map.load(self.model.clone(), Section::Statistics, &kept);
        if stepped {
            self.step(clip(gradient, norm, self.options.clip_norm), lr);
        } else {
            self.state.bad_updates += 1;
            if self.state.bad_updates >= self.options.max_bad_updates {
                let reason = format!(
                    "{} gradients in a row are not finite, the last in update {update}: lower the learning rate, or \
                     resume from an earlier checkpoint",
                    self.state.bad_updates
                );
                return Err(Error::device(reason));
            }
        }
        self.state.updates = update;
        Ok(totals.updated(update, lr, norm, stepped))
    }

    /// What a group's batches hold, on all ranks.
    fn sizes(&self, batches: &[Batch], ranks: &dyn Ranks) -> Result<Sizes> {
        let (alone, mut own) = (self.patches_alone(), [0.0; 4]);
        for batch in batches {
            let Known { named, referred, looked } = batch.known();
            let answers = if alone { batch.len() as f64 } else { batch.size(&self.options.loss, &self.config) };
            let of_batch = [answers, named as f64, referred as f64, looked as f64];
            own = std::array::from_fn(|at| own[at] + of_batch[at]);
        }
        let [answers, named] = ranks.sum_pair([own[0], own[1]])?;
        let [referred, looked] = ranks.sum_pair([own[2], own[3]])?;
        Ok(Sizes { answers, named, referred, looked })
    }

    /// The summed gradient of one group, the size that divides it, and its summed loss; `None` for an empty group.
    async fn group(
        &self,
        batches: &[Batch],
        sizes: &Sizes,
        totals: &mut Totals,
    ) -> Result<Option<(Gradient, f64, f64)>> {
        let mut sum: Option<(Gradient, f64, f64)> = None;
        for batch in batches.iter().filter(|batch| !batch.is_empty()) {
            let began = Instant::now();
            let Judgement { answers, named, referred, looked } = self.judge(batch).await?;
            let judged = Instant::now();
            let sample_size = answers.as_ref().map_or(batch.len() as f64, |answers| answers.sample_size);
            let (options, known) = (&self.options.patches, batch.known());
            let beside = [
                (PATCHES, named, options.weight / sizes.named, known.named),
                (REFERRED, referred, options.referred / sizes.referred, known.referred),
                (LOOKED, looked, options.looked / sizes.looked, known.looked),
            ];
            // Each is a mean over what is known of it on all ranks, as the answers' loss is over their tokens.
            let weighed = beside.iter().filter_map(|(_, sum, weight, _)| Some(sum.clone()? * (weight * sizes.answers)));
            let losses = answers.iter().map(|answers| answers.loss.clone()).chain(weighed);
            let Some(loss) = losses.reduce(|sum, loss| sum + loss) else { continue };
            let mut gradients = loss.backward();
            let gradient = self.map.gradient(&self.model, &mut gradients);
            let loss = f64::from(first(loss).await?);
            totals.forward += (judged - began).as_secs_f64();
            totals.backward += judged.elapsed().as_secs_f64();
            totals.samples += batch.len();
            if let Some(Loss { token_nll, samples, .. }) = answers {
                totals.note(batch, &samples, &floats(token_nll).await?);
            }
            for (objective, sum, _, count) in beside {
                if let Some(sum) = sum {
                    totals.add(objective, f64::from(first(sum).await?) / count as f64);
                }
            }
            sum = Some(match sum {
                Some((past, size, sum)) => (past.plus(gradient), size + sample_size, sum + loss),
                None => (gradient, sample_size, loss),
            });
        }
        Ok(sum)
    }

    /// Refuses samples of which nothing was judged because nobody knows the names of their patches.
    fn check_names(&self, groups: &[Vec<Batch>], ranks: &dyn Ranks) -> Result<()> {
        let own: usize = groups.iter().flatten().map(Batch::len).sum();
        let [samples, _] = ranks.sum_pair([own as f64, 0.0])?;
        if samples == 0.0 || !self.patches_alone() {
            return Ok(());
        }
        let expected = "data that know names of patches, as scenes do; 0 for others";
        Err(Error::option("update.patches.alone_until", expected, self.options.patches.alone_until))
    }

    fn patches_alone(&self) -> bool {
        let PatchOptions { weight, alone_until, .. } = self.options.patches;
        weight > 0.0 && self.state.updates < alone_until
    }

    async fn judge(&self, batch: &Batch) -> Result<Judgement> {
        let features = batch.features(&self.model);
        let asked = features.as_ref().filter(|_| self.options.patches.weight > 0.0);
        let named = asked.and_then(|features| batch.patch_nll(&self.model, features));
        if self.patches_alone() {
            return Ok(Judgement { answers: None, named, referred: None, looked: None });
        }
        let PatchOptions { referred, looked, .. } = self.options.patches;
        let beside = Beside { referred: referred > 0.0, looked: looked > 0.0 };
        let Pass { logits, referred, looked } = batch.pass(&self.model, features.as_ref(), beside);
        let answers = Some(self.judge_answers(batch, logits).await?);
        Ok(Judgement { answers, named, referred, looked })
    }

    async fn judge_answers(&self, batch: &Batch, logits: Tensor<2>) -> Result<Loss> {
        let (options, update) = (&self.options.loss, self.state.updates as usize);
        let masks = batch.constraint_masks(self.config.vocab_size);
        let judged = Judged { constraint_masks: masks.as_deref(), ..batch.judge(logits, &self.config, update) };
        if options.reg_alpha > 0.0 {
            let again = batch.pass(&self.model, batch.features(&self.model).as_ref(), Beside::default());
            return cross_entropy_twice(judged, again.logits, options).await;
        }
        cross_entropy(judged, options).await
    }

    fn step(&mut self, gradient: Gradient, lr: f64) {
        let state = &mut self.state;
        state.bad_updates = 0;
        let mask = self.map.mask(&gradient.reached, &gradient.values.device());
        state.values = state.adam.step(state.values.clone(), gradient.values, mask, lr);
        self.show_weights();
        let state = &mut self.state;
        if let Some(average) = &mut state.average {
            average.parameters.follow(&state.values);
            average.statistics.follow(&self.map.values(&self.model, Section::Statistics));
        }
    }
}

fn is_batch_norm(part: &str) -> bool {
    // `downsample.1` is one too: the convolution before it is `downsample.0`.
    part == "1" || part.strip_prefix("bn").is_some_and(|number| number.parse::<u8>().is_ok())
}

/// What divides the sums of a group.
struct Sizes {
    answers: f64,
    named: f64,
    referred: f64,
    looked: f64,
}

/// What a batch is judged by, as far as it is.
struct Judgement {
    answers: Option<Loss>,
    /// Summed losses of what patches say, and of where the decoder looks, `[1]`.
    named: Option<Tensor<1>>,
    referred: Option<Tensor<1>>,
    looked: Option<Tensor<1>>,
}

#[derive(Default)]
struct Totals {
    loss: f64,
    samples: usize,
    tokens: usize,
    /// Summed likelihoods and tokens by objective.
    objectives: BTreeMap<&'static str, (f64, usize)>,
    forward: f64,
    backward: f64,
}

impl Totals {
    fn note(&mut self, batch: &Batch, samples: &[usize], token_nll: &[f32]) {
        self.tokens += samples.len();
        for (sample, nll) in samples.iter().zip(token_nll) {
            self.add(batch.objectives[*sample], f64::from(*nll));
        }
    }

    fn add(&mut self, objective: &'static str, nll: f64) {
        let (sum, count) = self.objectives.entry(objective).or_default();
        *sum += nll;
        *count += 1;
    }

    /// Adds what the other ranks counted. Likelihoods stay those of this rank's samples.
    fn share(&mut self, ranks: &dyn Ranks) -> Result<()> {
        let [samples, tokens] = ranks.sum_pair([self.samples as f64, self.tokens as f64])?;
        (self.samples, self.tokens) = (samples as usize, tokens as usize);
        Ok(())
    }

    fn updated(self, update: u64, lr: f64, gradient_norm: f32, stepped: bool) -> Updated {
        let Self { loss, samples, tokens, objectives, forward, backward } = self;
        let nll = objectives.into_iter().map(|(name, (sum, count))| (name, sum / count as f64)).collect();
        Updated { update, lr, loss, gradient_norm, stepped, samples, tokens, nll, forward, backward }
    }
}

async fn first(value: Tensor<1>) -> Result<f32> {
    Ok(floats(value).await?.first().copied().unwrap_or(f32::NAN))
}
