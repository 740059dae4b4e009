//! From positions to batches: the same samples in the same order whatever the number of threads and ranks.

use super::batch::{Arrangement, Batch};
use super::sample::{Draw, Draws, Sample};
use super::seed::seed_of;
use super::self_critical::Rewarded;
use crate::config::OfaConfig;
use crate::error::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Draws before a share of unreadable ones means anything.
const ENOUGH_DRAWS: u64 = 100;
/// Standard deviations by which unreadable draws have to be more than may be expected of the share that is allowed.
const CLEARLY: f64 = 3.0;

/// How many samples go into an update.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchOptions {
    /// Draws of one update, on all ranks together. A draw is a row of data, or a scene, and gives several samples.
    pub draws: u64,
    /// The most draws that one pass of the model takes; more are accumulated. 0 takes all at once.
    pub micro_batch: usize,
    /// Patches kept of each image of the main group.
    pub sample_patches: Option<usize>,
    /// The share of draws of which something may be unreadable.
    pub max_skipped: f64,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self { draws: 16, micro_batch: 0, sample_patches: None, max_skipped: 0.01 }
    }
}

/// Makes the batches of updates.
pub struct Loader<'a> {
    pub draws: &'a dyn Draws,
    pub options: &'a BatchOptions,
    pub config: &'a OfaConfig,
    pub seed: u64,
    /// How batches are laid out; seeds of patches are drawn for each, and the main group keeps as many as the options say.
    pub arrangement: Arrangement,
    /// This process among how many.
    pub rank: (usize, usize),
}

/// One rank's part of an update.
#[derive(Debug)]
pub struct Loaded {
    /// The main and the extra group, each in as many batches as passes are made.
    pub groups: Vec<Vec<Batch>>,
    /// Samples that the model in training has to answer first, by passes.
    pub rewarded: Vec<Vec<Rewarded>>,
    /// Draws of which something could not be read, and why; whatever is said of one draw stands together.
    pub skipped: Vec<(u64, Error)>,
}

impl Loader<'_> {
    /// The batches of the update that begins with draw `first`, counted over all epochs.
    ///
    /// # Errors
    /// [`Error::Image`] or [`Error::Task`] when samples do not fit into one batch.
    pub fn load(&self, first: u64) -> Result<Loaded> {
        let (rank, ranks) = self.rank;
        let positions: Vec<u64> = (first..first + self.options.draws).skip(rank).step_by(ranks).collect();
        let drawn: Vec<(u64, Result<Draw>)> =
            positions.into_par_iter().map(|position| (position, self.draw(position))).collect();
        let mut skipped = Vec::new();
        let mut draws = Vec::with_capacity(drawn.len());
        for (position, draw) in drawn {
            match draw {
                Ok(mut draw) => {
                    skipped.extend(draw.missing.drain(..).map(|error| (position, error)));
                    draws.push(draw);
                }
                Err(error) => skipped.push((position, error)),
            }
        }
        let size = if self.options.micro_batch == 0 { draws.len().max(1) } else { self.options.micro_batch };
        let group = |pick: fn(&Draw) -> &[Sample], keep: Option<usize>| -> Result<Vec<Batch>> {
            let chunks = draws.chunks(size).enumerate();
            let batches = chunks.flat_map(|(chunk, draws)| {
                let samples: Vec<Sample> = draws.iter().flat_map(pick).cloned().collect();
                let seed = seed_of(&[self.seed, first, chunk as u64, rank as u64]);
                let arrangement = Arrangement { keep, seed, ..self.arrangement };
                let batch = move |samples: Vec<Sample>| Batch::new(&samples, self.config, arrangement);
                by_image_size(samples).into_iter().map(batch)
            });
            batches.filter(|batch| batch.as_ref().map_or(true, |batch| !batch.is_empty())).collect()
        };
        let main = group(|draw| &draw.main, self.options.sample_patches)?;
        let extra = group(|draw| &draw.extra, None)?;
        let of_pass =
            |draws: &[Draw]| -> Vec<Rewarded> { draws.iter().flat_map(|draw| draw.rewarded.clone()).collect() };
        let rewarded = draws.chunks(size).map(of_pass).filter(|asked| !asked.is_empty()).collect();
        Ok(Loaded { groups: vec![main, extra], rewarded, skipped })
    }

    fn draw(&self, position: u64) -> Result<Draw> {
        let (epoch, index) = match self.draws.len() {
            Some(0) => return Err(Error::option("data", "at least one row", "none")),
            Some(len) => (position / len, position % len),
            None => (0, position),
        };
        let mut draw = self.draws.draw(epoch, index)?;
        let fits = |sample: &Sample| sample.check_length(self.config.max_position_embeddings);
        draw.main.iter().try_for_each(fits).map_err(|error| match self.draws.place(epoch, index) {
            Some(place) => Error::file(place, error),
            None => error,
        })?;
        // Rows of other files are no fault of the one that they came with.
        draw.extra.retain(|sample| fits(sample).map_err(|error| draw.missing.push(error)).is_ok());
        Ok(draw)
    }
}

/// Samples whose images have one size, for a batch each; those without an image go with the first.
fn by_image_size(samples: Vec<Sample>) -> Vec<Vec<Sample>> {
    let size_of = |sample: &Sample| sample.image.as_ref().map(|image| (image.width, image.height));
    let first = samples.iter().find_map(size_of).unwrap_or_default();
    let mut batches: Vec<((usize, usize), Vec<Sample>)> = Vec::new();
    for sample in samples {
        let size = size_of(&sample).unwrap_or(first);
        match batches.iter_mut().find(|(known, _)| *known == size) {
            Some((_, batch)) => batch.push(sample),
            None => batches.push((size, vec![sample])),
        }
    }
    batches.into_iter().map(|(_, batch)| batch).collect()
}

/// # Errors
/// [`Error::File`] when more of the data is unreadable than may be.
pub fn check_skipped(skipped: u64, draws: u64, options: &BatchOptions) -> Result<()> {
    // Bad rows come by chance: their number varies by about the root of what is expected, and data within the allowed share
    // must not end a run because some of them came early.
    let expected = options.max_skipped * draws as f64;
    if draws < ENOUGH_DRAWS || skipped as f64 <= expected + CLEARLY * expected.sqrt() {
        return Ok(());
    }
    let allowed = format!("at most {:.1} % may be (batch.max_skipped)", 100.0 * options.max_skipped);
    let reason = format!("{skipped} of {draws} rows cannot be used, {allowed}; the run's journal says which and why");
    Err(Error::file("training data", reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_bad_rows_is_too_much_but_the_first_rows_say_little() {
        let options = BatchOptions { max_skipped: 0.05, ..BatchOptions::default() };
        assert!(check_skipped(ENOUGH_DRAWS - 1, ENOUGH_DRAWS - 1, &options).is_ok());
        // Ten are expected, give or take three.
        assert!(check_skipped(19, 200, &options).is_ok());
        let error = check_skipped(20, 200, &options).expect_err("too many").to_string();
        assert!(error.contains("20 of 200") && error.contains("5.0 %"), "{error}");
        // The more there are, the nearer to the share.
        assert!(check_skipped(5_200, 100_000, &options).is_ok());
        assert!(check_skipped(5_250, 100_000, &options).is_err());
        let none = BatchOptions { max_skipped: 0.0, ..options };
        assert!(check_skipped(0, 200, &none).is_ok() && check_skipped(1, 200, &none).is_err());
    }
}
