//! Draws of a batch by many workers, in order.

use crate::error::{Error, Result};
use crate::train::{Draw, Draws};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Reasons that are kept of rows that were skipped; the others are only counted.
const REASONS_KEPT: usize = 10;

/// Where a run stands in its data. It is all that has to be saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    pub seed: u64,
    pub epoch: u64,
    /// Draws of the epoch that lie behind.
    pub position: u64,
}

impl Cursor {
    pub fn start(seed: u64) -> Self {
        Self { seed, epoch: 0, position: 0 }
    }

    /// Moves on by up to `count` draws and gives the epoch and the positions that were passed. The last step of an epoch
    /// may be a short one; the next begins the following epoch.
    pub fn advance(&mut self, count: u64, len: Option<u64>) -> (u64, Range<u64>) {
        if len.is_some_and(|len| self.position >= len) {
            self.epoch += 1;
            self.position = 0;
        }
        let start = self.position;
        self.position = len.unwrap_or(u64::MAX).min(start.saturating_add(count));
        (self.epoch, start..self.position)
    }
}

/// A draw with its position.
#[derive(Debug, Clone)]
pub struct Drawn {
    pub position: u64,
    pub draw: Draw,
}

/// When rows that cannot be read end a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SkipLimit {
    /// The share of all draws that may be skipped.
    pub share: f64,
    /// So many never end a run, whatever their share: the first rows say little.
    pub tolerated: u64,
}

impl Default for SkipLimit {
    fn default() -> Self {
        Self { share: 0.05, tolerated: 20 }
    }
}

/// Rows that could not be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Draws asked for.
    pub asked: u64,
    /// Draws that failed.
    pub count: u64,
    /// The first reasons.
    pub reasons: Vec<String>,
}

/// Asks for draws on several threads.
pub struct Loader {
    pool: ThreadPool,
    limit: SkipLimit,
    skipped: Skipped,
}

impl Loader {
    /// `workers` threads; 0 for as many as there are cores.
    ///
    /// # Errors
    /// [`Error::Option`] if they cannot be started.
    pub fn new(workers: usize, limit: SkipLimit) -> Result<Self> {
        let pool = ThreadPoolBuilder::new().num_threads(workers).thread_name(|index| format!("data {index}")).build();
        let pool = pool.map_err(|error| Error::option("workers", "threads that start", error))?;
        Ok(Self { pool, limit, skipped: Skipped::default() })
    }

    /// The draws at some positions of an epoch, in their order, whoever finishes first. Rows that fail are left out and
    /// logged.
    ///
    /// # Errors
    /// [`Error::File`] with the first reasons, once more rows were skipped than the limit allows.
    pub fn load(&mut self, draws: &dyn Draws, epoch: u64, positions: Range<u64>) -> Result<Vec<Drawn>> {
        let results: Vec<(u64, Result<Draw>)> = self.pool.install(|| {
            // rayon collects indexed iterators in order; ranges of u64 are none, so they are listed first.
            let positions: Vec<u64> = positions.collect();
            positions.into_par_iter().map(|position| (position, draws.draw(epoch, position))).collect()
        });
        let mut drawn = Vec::with_capacity(results.len());
        for (position, result) in results {
            self.skipped.asked += 1;
            match result {
                Ok(draw) => drawn.push(Drawn { position, draw }),
                Err(error) => self.skipped.note(&error),
            }
        }
        self.skipped.check(self.limit)?;
        Ok(drawn)
    }

    /// What was skipped so far.
    pub fn skipped(&self) -> &Skipped {
        &self.skipped
    }
}

impl Skipped {
    fn note(&mut self, error: &Error) {
        self.count += 1;
        if self.reasons.len() < REASONS_KEPT {
            self.reasons.push(error.to_string());
        }
    }

    fn check(&self, limit: SkipLimit) -> Result<()> {
        if self.count <= limit.tolerated || self.count as f64 <= limit.share * self.asked as f64 {
            return Ok(());
        }
        let reason = format!(
            "{} of {} rows cannot be used (at most {:.1} % may be); the first: {}",
            self.count,
            self.asked,
            100.0 * limit.share,
            self.reasons.join("; ")
        );
        Err(Error::file("training data", reason))
    }
}
