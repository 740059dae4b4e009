//! What a run would do, before it does it.

use super::assemble::open;
use super::batch::Arrangement;
use super::loader::Loader;
use super::parameters::Section;
use super::ranks::Ranks;
use super::recipe::Recipe;
use super::self_critical::answered;
use super::session::prepare;
use crate::error::{Error, Result};
use burn::tensor::Device;
use std::collections::BTreeMap;
use std::time::Instant;

/// What a run would do.
pub struct Plan {
    pub trained: usize,
    pub frozen: usize,
    pub updates: u64,
    pub draws: u64,
    pub samples_per_update: f64,
    /// Shares of the samples.
    pub objectives: BTreeMap<&'static str, f64>,
    /// Bytes of weights, gradients, the optimiser's memory and averages, of each process.
    pub state_bytes: usize,
    /// Processes that share an update.
    pub processes: usize,
    /// Seconds of an update.
    pub seconds: f64,
    /// Of these, seconds of the forward and of the backward passes.
    pub passes: [f64; 2],
    /// Seconds to make one update's batches.
    pub data_seconds: f64,
    /// Judged tokens of an update.
    pub tokens_per_update: f64,
    /// What the person should know beforehand.
    pub notes: Vec<String>,
}

/// What the run of `recipe` would do, measured on some updates of trainers that are then thrown away, after one that
/// warms up. Every rank makes them; times and shares of the objectives are its own.
///
/// # Errors
/// Everything that would stop the run from beginning.
pub fn plan(recipe: &Recipe, device: &Device, ranks: &dyn Ranks, measured: usize) -> Result<Plan> {
    // The updates of patches alone take a fraction of those that follow, which are the ones to know of.
    let mut recipe = recipe.clone();
    recipe.update.patches.alone_until = 0;
    let recipe = &recipe;
    let (files, mut trainer) = prepare(recipe, device)?;
    let parts = open(recipe, &files, &trainer.device())?;
    let map = trainer.map();
    let count = |trained: bool| -> usize {
        let entries = map.entries(Section::Parameters).filter(|entry| map.is_trained(&entry.name) == trained);
        entries.map(|entry| entry.range.len()).sum()
    };
    let (trained, frozen) = (count(true), count(false));
    // Weights in the model and in the row, a gradient, two moments, and an average.
    let copies = 5 + usize::from(recipe.update.ema_decay.is_some());
    let state_bytes = (trained + frozen) * copies * size_of::<f32>();

    let config = files.config.clone();
    let options = &recipe.batch;
    let draws = parts.draws.as_ref();
    let loader = Loader {
        draws,
        options,
        config: &config,
        seed: recipe.seed,
        arrangement: Arrangement::on(&trainer.device()),
        rank: (ranks.rank(), ranks.size()),
    };
    let (mut seconds, mut passes, mut data_seconds) = (0.0, [0.0; 2], 0.0);
    let (mut samples, mut tokens, mut unreadable) = (0, 0, None);
    let share = 1.0 / measured as f64;
    let mut objectives: BTreeMap<&'static str, f64> = BTreeMap::new();
    for update in 0..=measured {
        let started = Instant::now();
        let loaded = loader.load(update as u64 * options.draws)?;
        let made = started.elapsed().as_secs_f64();
        unreadable = unreadable.or_else(|| loaded.skipped.first().map(|(_, error)| error.clone()));
        let started = Instant::now();
        let (groups, _) = pollster::block_on(answered(loaded, &trainer, draws, options))?;
        for objective in groups.iter().flatten().flat_map(|batch| &batch.objectives) {
            *objectives.entry(objective).or_default() += 1.0;
        }
        let updated = pollster::block_on(trainer.update(&groups, ranks))?;
        samples += updated.samples;
        tokens += updated.tokens;
        if update > 0 {
            data_seconds += made * share;
            seconds += started.elapsed().as_secs_f64() * share;
            passes[0] += updated.forward * share;
            passes[1] += updated.backward * share;
        }
    }
    if samples == 0 {
        let nothing = || Error::option("data", "samples for an update", "none that can be read");
        return Err(unreadable.unwrap_or_else(nothing));
    }
    let own: f64 = objectives.values().sum();
    objectives.values_mut().for_each(|share| *share /= own);
    Ok(Plan {
        trained,
        frozen,
        updates: recipe.update.updates,
        draws: options.draws,
        samples_per_update: samples as f64 / (measured + 1) as f64,
        objectives,
        state_bytes,
        processes: ranks.size(),
        seconds,
        passes,
        data_seconds,
        tokens_per_update: tokens as f64 / (measured + 1) as f64,
        notes: parts.notes,
    })
}
