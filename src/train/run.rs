//! A run: updates one after the other, with batches made ahead, checkpoints, evaluations, and a way to stop.

use super::batch::Arrangement;
use super::checkpoint::{Checkpoints, Progress};
use super::loader::{Loaded, Loader, check_skipped};
use super::ranks::Ranks;
use super::recipe::Recipe;
use super::sample::Draws;
use super::self_critical::answered;
use super::trainer::{Trainer, Updated};
use crate::error::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

/// Updates whose batches are ready before they are needed.
const AHEAD: usize = 2;

/// What a run tells whoever watches.
pub enum Event<'a> {
    Began {
        /// Updates made before, by earlier parts of the run.
        updates: u64,
        total: u64,
    },
    Updated {
        updated: &'a Updated,
        time: StepTime,
        /// What the model's own answers were worth on the average, in self-critical training.
        reward: Option<f64>,
    },
    Skipped {
        draw: u64,
        reason: &'a Error,
    },
    Evaluated {
        update: u64,
        evaluation: &'a Evaluation,
    },
    Saved {
        update: u64,
        path: &'a Path,
    },
}

/// Where the time of an update went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct StepTime {
    /// Seconds waited for data.
    pub data: f64,
    /// Seconds of the update itself.
    pub update: f64,
}

/// What an evaluation found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Evaluation {
    /// Metrics by name, `vqa.accuracy` for instance.
    pub metrics: BTreeMap<String, f64>,
    /// What checkpoints are kept by: the larger the better.
    pub overall: f64,
    /// A few questions, answered.
    pub samples: Vec<Answered>,
    /// Why questions could not be asked.
    pub left_out: Vec<String>,
}

/// One question of an evaluation and its answer, as a person would look at them.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Answered {
    pub task: String,
    pub question: String,
    pub answer: String,
    pub expected: String,
    pub right: bool,
    /// The image, as a PNG.
    #[serde(skip)]
    pub image: Option<Vec<u8>>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Done,
    /// After a checkpoint, because it was asked to stop.
    Interrupted,
}

/// Judges a model in training.
pub type Evaluate<'a> = dyn FnMut(&Trainer) -> Result<Evaluation> + 'a;

/// A run and what it works with.
pub struct Run<'a> {
    pub recipe: &'a Recipe,
    pub draws: &'a dyn Draws,
    pub ranks: &'a dyn Ranks,
    pub checkpoints: &'a Checkpoints,
    /// Set to stop after the update at hand.
    pub interrupted: &'a AtomicBool,
}

impl Run<'_> {
    /// Trains until all updates are made, or until it is interrupted. The last thing it does is a checkpoint.
    ///
    /// # Errors
    /// Those of data, updates, evaluation and checkpoints, and [`Error::Option`] for data that taught nothing in all
    /// updates. Checkpoints made before stay as they are.
    pub fn go(
        &self,
        trainer: &mut Trainer,
        mut progress: Progress,
        evaluate: &mut Evaluate<'_>,
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Result<Ended> {
        let Recipe { seed, batch, update, run, .. } = self.recipe;
        let config = trainer.config().clone();
        let loader = Loader {
            draws: self.draws,
            options: batch,
            config: &config,
            seed: *seed,
            arrangement: Arrangement::on(&trainer.device()),
            rank: (self.ranks.rank(), self.ranks.size()),
        };
        let leads = self.ranks.rank() == 0;
        self.check_ranks(trainer)?;
        watch(Event::Began { updates: trainer.updates(), total: update.updates });
        if leads && progress.unjudged {
            self.judge(trainer, &mut progress, evaluate, watch)?;
            let path = self.checkpoints.save(trainer, &progress)?;
            watch(Event::Saved { update: trainer.updates(), path: &path });
        }
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel::<Result<Loaded>>(AHEAD);
            let (loader, first, left) = (&loader, progress.draws, update.updates.saturating_sub(trainer.updates()));
            scope.spawn(move || {
                for ahead in 0..left {
                    // Nobody listens any more once the run has been interrupted or has failed.
                    if sender.send(loader.load(first + ahead * loader.options.draws)).is_err() {
                        break;
                    }
                }
            });
            while trainer.updates() < update.updates {
                let waited = Instant::now();
                let loaded =
                    receiver.recv().map_err(|_| Error::device("the thread that makes batches has ended"))??;
                let data = waited.elapsed();
                self.note_skipped(&loaded, &mut progress, watch)?;
                let started = Instant::now();
                let (groups, reward) = pollster::block_on(answered(loaded, trainer, self.draws, batch))?;
                let updated = pollster::block_on(trainer.update(&groups, self.ranks))?;
                progress.draws += batch.draws;
                watch(Event::Updated { updated: &updated, time: StepTime::new(data, started.elapsed()), reward });

                let [stop, _] = self.ranks.sum_pair([f64::from(self.interrupted.load(Ordering::Relaxed)), 0.0])?;
                let ended = stop > 0.0 || updated.update == update.updates;
                let due = |every: u64| every > 0 && (updated.update.is_multiple_of(every) || ended && stop == 0.0);
                if ended || due(run.checkpoint_every) {
                    self.check_ranks(trainer)?;
                }
                if leads && due(run.evaluate_every) {
                    self.judge(trainer, &mut progress, evaluate, watch)?;
                }
                let best_is_new = progress.best.is_some_and(|(_, best)| best == updated.update);
                if leads && (ended || best_is_new || due(run.checkpoint_every)) {
                    let path = self.checkpoints.save(trainer, &progress)?;
                    watch(Event::Saved { update: updated.update, path: &path });
                }
                if stop > 0.0 && updated.update < update.updates {
                    return Ok(Ended::Interrupted);
                }
            }
            // A run may be over before so many rows were drawn that their share counts.
            if trainer.state.adam.steps == 0 {
                let nothing = "none in all updates; the run's journal says why";
                return Err(match trainer.state.bad_updates {
                    0 => Error::option("data", "samples to learn from", nothing),
                    _ => Error::device("no update had a gradient of finite numbers: lower the learning rate"),
                });
            }
            Ok(Ended::Done)
        })
    }

    /// Evaluates the update just made. If that fails, the update is saved all the same, and evaluated when the run goes on.
    fn judge(
        &self,
        trainer: &Trainer,
        progress: &mut Progress,
        evaluate: &mut Evaluate<'_>,
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Result<()> {
        let update = trainer.updates();
        let evaluation = match evaluate(trainer) {
            Ok(evaluation) => evaluation,
            Err(error) => {
                progress.unjudged = true;
                self.checkpoints.save(trainer, progress)?;
                return Err(error);
            }
        };
        progress.unjudged = false;
        if progress.best.is_none_or(|(best, _)| evaluation.overall > best) {
            progress.best = Some((evaluation.overall, update));
        }
        watch(Event::Evaluated { update, evaluation: &evaluation });
        Ok(())
    }

    /// Weights that have come apart would train on unnoticed: each rank's gradient belongs to weights of its own.
    fn check_ranks(&self, trainer: &Trainer) -> Result<()> {
        if self.ranks.size() == 1 {
            return Ok(());
        }
        self.ranks.agree("set of weights", pollster::block_on(trainer.fingerprint())?)
    }

    fn note_skipped(&self, loaded: &Loaded, progress: &mut Progress, watch: &mut dyn FnMut(Event<'_>)) -> Result<()> {
        for (draw, reason) in &loaded.skipped {
            watch(Event::Skipped { draw: *draw, reason });
        }
        // A draw counts once, however many of its samples are missing.
        let own = loaded.skipped.chunk_by(|(draw, _), (next, _)| draw == next).count();
        let [skipped, _] = self.ranks.sum_pair([own as f64, 0.0])?;
        progress.skipped += skipped as u64;
        check_skipped(progress.skipped, progress.draws + self.recipe.batch.draws, &self.recipe.batch)
    }
}

impl StepTime {
    fn new(data: Duration, update: Duration) -> Self {
        Self { data: data.as_secs_f64(), update: update.as_secs_f64() }
    }
}
