//! Image codes from nothing: an autoencoder whose codebook follows the vectors that the encoder makes.
//!
//! The loss is the original's without its perceptual and adversarial terms, which need other networks: what is drawn
//! against what was shown, and vectors against their rows. The codebook is a moving average of the vectors that chose
//! each row; rows that nothing chooses begin anew at one of them.

mod codebook;
mod fresh;

use super::checkpoint::named;
use super::optimizer::{Adam, AdamOptions, Schedule, clip};
use super::parameters::{ParameterMap, Section};
use super::recipe::{NOT_NEGATIVE, within};
use super::seed::seed_of;
use crate::config::{CodeChoice, VqganConfig};
use crate::error::{Error, Result};
use crate::image::{Normalization, Pixels, normalize};
use crate::kernels::floats;
use crate::model::Vqgan;
use crate::weights::{RawTensor, Tensors};
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use codebook::MovingCodebook;
use fresh::Fresh;
use serde::{Deserialize, Serialize};

/// How updates are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VqvaeOptions {
    /// Updates in all.
    pub updates: u64,
    pub schedule: Schedule,
    pub adam: AdamOptions,
    /// Updates of a plain autoencoder before codes take the place of its vectors. Rounded to the vectors of an encoder
    /// that knows nothing yet, they keep it from learning.
    pub plain_updates: u64,
    /// The longest gradient; 0 switches clipping off.
    pub clip_norm: f64,
    /// The weight of the vectors' distance from their rows.
    pub commitment: f64,
    /// The decay of the codebook's moving average.
    pub decay: f64,
    /// A row is dead that is chosen less often than this share of its fair share.
    pub least_use: f64,
    /// Updates between two looks for dead rows.
    pub restart_every: u64,
}

impl VqvaeOptions {
    /// # Errors
    /// [`Error::Option`] for numbers that no training goes by.
    fn check(&self) -> Result<()> {
        if self.updates <= self.plain_updates {
            let expected = format!("more than plain_updates, {}, or the codes are never learnt", self.plain_updates);
            return Err(Error::option("update.updates", expected, self.updates));
        }
        self.schedule.check()?;
        self.adam.check()?;
        within("update.decay", self.decay, 0.0..1.0, "0 to below 1")?;
        for (option, value) in [
            ("update.clip_norm", self.clip_norm),
            ("update.commitment", self.commitment),
            ("update.least_use", self.least_use),
        ] {
            within(option, value, 0.0..f64::INFINITY, NOT_NEGATIVE)?;
        }
        Ok(())
    }
}

impl Default for VqvaeOptions {
    fn default() -> Self {
        Self {
            updates: 2000,
            schedule: Schedule { lr: 1e-3, end_lr: 1e-5, ..Schedule::default() },
            adam: AdamOptions { betas: [0.9, 0.99], weight_decay: 0.0, ..AdamOptions::default() },
            plain_updates: 500,
            clip_norm: 1.0,
            commitment: 0.25,
            decay: 0.98,
            least_use: 0.03,
            restart_every: 20,
        }
    }
}

/// What a trainer's state holds, row after row; the last counts updates and steps of the optimiser.
const STATE: [&str; 7] =
    ["values", "adam.first", "adam.second", "codebook", "codebook.uses", "codebook.sums", "counts"];

/// A model of image codes in training.
pub struct VqvaeTrainer {
    config: VqganConfig,
    options: VqvaeOptions,
    seed: u64,
    model: Vqgan,
    map: ParameterMap,
    /// The trained weights, `[n]`.
    values: Tensor<1>,
    adam: Adam,
    codebook: MovingCodebook,
    updates: u64,
}

/// What an update did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VqvaeUpdated {
    /// From 1.
    pub update: u64,
    pub lr: f64,
    /// The mean difference between what was shown and what was drawn, of numbers from -1 to 1.
    pub reconstruction: f64,
    /// The mean squared distance of a vector's channels from those of its row.
    pub commitment: f64,
    /// Different codes among the batch's.
    pub codes: usize,
}

impl VqvaeTrainer {
    /// A fresh model on `device`.
    ///
    /// # Errors
    /// [`Error::Config`] for a configuration that cannot be used or whose codes are chosen by logits, [`Error::Option`]
    /// for numbers that no training goes by.
    pub fn new(config: VqganConfig, options: VqvaeOptions, seed: u64, device: &Device) -> Result<Self> {
        config.validate()?;
        if config.choice != CodeChoice::VQModel {
            return Err(Error::config("type", "VQModel, the kind that is trained here", "GumbelVQ"));
        }
        if config.n_embed < 2 {
            return Err(Error::option("model.n_embed", "at least 2", config.n_embed));
        }
        options.check()?;
        device.seed(seed);
        let mut fresh = Fresh { width: config.ddconfig.ch, device: device.clone().autodiff() };
        let (model, mut map) = ParameterMap::record(&mut fresh, |parameters| Vqgan::new(&config, parameters))?;
        let model = map.freeze(model, |name| name.starts_with("quantize."));
        let values = map.values(&model, Section::Parameters);
        let adam = Adam::new(options.adam.clone(), &values);
        let codebook = MovingCodebook::new(model.valid().quantize);
        Ok(Self { config, options, seed, model, map, values, adam, codebook, updates: 0 })
    }

    pub fn config(&self) -> &VqganConfig {
        &self.config
    }

    /// The model as it is now, without gradients.
    pub fn model(&self) -> Vqgan {
        let mut model = self.model.valid();
        model.quantize = self.codebook.quantizer.clone();
        model
    }

    /// The model's tensors, in the order in which it runs.
    ///
    /// # Errors
    /// The device's, when they cannot be read back.
    pub fn tensors(&self) -> Result<Tensors<'static>> {
        named(&self.map, Section::Parameters, self.map.values(&self.model(), Section::Parameters))
    }

    /// Updates done so far.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Everything that [`restore`](Self::restore) needs to go on as if nothing had stopped.
    ///
    /// # Errors
    /// The device's, when numbers cannot be read back.
    pub async fn state(&self) -> Result<Tensors<'static>> {
        let counts = Tensor::from_data([self.updates as f32, self.adam.steps as f32], &self.values.device());
        let mut state = Tensors::new();
        for (name, values) in STATE.into_iter().zip(self.rows().into_iter().chain([counts])) {
            let values = floats(values).await?;
            state.push((name.to_owned(), RawTensor::from_f32(name, vec![values.len()], &values)?));
        }
        Ok(state)
    }

    /// Puts the trainer where another of the same configuration was.
    ///
    /// # Errors
    /// [`Error::Tensor`] for a row that is missing or of another length.
    pub fn restore(&mut self, state: &Tensors<'_>) -> Result<()> {
        let device = self.values.device();
        let mut rows = Vec::with_capacity(STATE.len());
        let lengths: Vec<usize> = self.rows().iter().map(|row| row.dims()[0]).chain([2]).collect();
        for (name, length) in STATE.into_iter().zip(lengths) {
            let found = state.iter().find(|(known, tensor)| known == name && tensor.shape == [length]);
            let (_, tensor) = found.ok_or_else(|| {
                Error::tensor(name, format!("{length} numbers"), "another model of image codes, or damaged")
            })?;
            rows.push(tensor.to_f32(name)?);
        }
        let row = |at: usize| Tensor::<1>::from_data(rows[at].as_slice(), &device);
        let shape = self.codebook.sums.dims();
        self.values = row(0);
        self.adam.moments = [row(1), row(2)];
        self.codebook.quantizer = self.codebook.quantizer.clone().with_codebook(row(3).reshape(shape));
        self.codebook.uses = row(4);
        self.codebook.sums = row(5).reshape(shape);
        (self.updates, self.adam.steps) = (rows[6][0] as u64, rows[6][1] as u64);
        self.model = self.map.load(self.model.clone(), Section::Parameters, &self.values);
        Ok(())
    }

    /// The rows of [`STATE`] but the counts.
    fn rows(&self) -> [Tensor<1>; 6] {
        let MovingCodebook { quantizer, uses, sums } = &self.codebook;
        let [first, second] = self.adam.moments.clone();
        let flat = |table: Tensor<2>| {
            let count = table.dims().iter().product::<usize>();
            table.reshape([count])
        };
        [self.values.clone(), first, second, flat(quantizer.codebook()), uses.clone(), flat(sums.clone())]
    }

    /// One update on images of one size.
    ///
    /// # Errors
    /// [`Error::Image`] when the images' sizes differ or are no multiples of the stride; [`Error::Device`] when the
    /// gradient is not finite.
    pub async fn update(&mut self, images: &[Pixels]) -> Result<VqvaeUpdated> {
        let update = self.updates + 1;
        let lr = self.options.schedule.lr(update, self.options.updates);
        let images = self.batch(images)?;
        let features = self.model.features(self.model.encode(images.clone()));
        let vectors = features.clone().without_autodiff();
        let codes = self.choose(&vectors, update).await?;
        // Without codes, the vectors are their own rows.
        let rows = codes.clone().map_or_else(|| vectors.clone(), |codes| self.codebook.quantizer.look_up(codes));
        // The decoder sees the rows, and its gradient passes them by to the encoder.
        let straight_through = features.clone() + (rows.clone() - vectors.clone());
        let drawn = self.model.decode_features(straight_through);
        let reconstruction = (drawn - images).abs().mean();
        let commitment = (features - rows).square().mean();
        let loss = reconstruction.clone() + commitment.clone() * self.options.commitment;

        let mut gradients = loss.backward();
        let gradient = self.map.gradient(&self.model, &mut gradients);
        let norm = gradient.norm().await?;
        if !norm.is_finite() {
            return Err(Error::device(format!(
                "the gradient of update {update} is not finite: lower the learning rate"
            )));
        }
        let gradient = clip(gradient, norm, self.options.clip_norm);
        let mask = self.map.mask(&gradient.reached, &gradient.values.device());
        self.values = self.adam.step(self.values.clone(), gradient.values, mask, lr);
        self.model = self.map.load(self.model.clone(), Section::Parameters, &self.values);
        let used = match codes {
            Some(codes) => self.codebook.follow(codes, vectors, self.options.decay),
            None => reconstruction.zeros_like().without_autodiff(),
        };
        self.updates = update;

        let read = vec![reconstruction.without_autodiff(), commitment.without_autodiff(), used];
        let read = floats(Tensor::cat(read, 0)).await?;
        let number = |at: usize| f64::from(read[at]);
        Ok(VqvaeUpdated { update, lr, reconstruction: number(0), commitment: number(1), codes: number(2) as usize })
    }

    /// The nearest rows, once there are codes: `[B, C, h, w]` → `[B, h, w]`.
    async fn choose(&mut self, vectors: &Tensor<4>, update: u64) -> Result<Option<Tensor<3, Int>>> {
        let VqvaeOptions { plain_updates, restart_every, least_use, .. } = self.options;
        if update <= plain_updates {
            return Ok(None);
        }
        if (update - plain_updates - 1).is_multiple_of(restart_every.max(1)) {
            self.codebook.restart(vectors, least_use, seed_of(&[self.seed, update])).await?;
        }
        Ok(Some(self.codebook.quantizer.codes(vectors.clone())))
    }

    /// `[B, 3, height, width]`, from -1 to 1.
    fn batch(&self, images: &[Pixels]) -> Result<Tensor<4>> {
        let stride = self.config.stride() as u32;
        let size @ (width, height) = images.first().map(Pixels::size).unwrap_or_default();
        if !width.is_multiple_of(stride) || !height.is_multiple_of(stride) || images.is_empty() {
            return Err(Error::image(format!("{width} x {height} pixels, where multiples of {stride} can be coded")));
        }
        if let Some(other) = images.iter().find(|image| image.size() != size) {
            return Err(Error::image(format!("{other:?} among images of {width} x {height}")));
        }
        let values: Vec<f32> = images.iter().flat_map(|image| normalize(image, Normalization::Half)).collect();
        let shape = [images.len(), 3, height as usize, width as usize];
        Ok(Tensor::from_data(TensorData::new(values, shape), &self.model.device()))
    }
}
