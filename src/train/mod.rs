//! Training: data become samples, samples batches, batches losses, losses updates.
//!
//! Read `sample` (what training consumes), `batch`, `loss`, `parameters` (the model as one row of numbers), `optimizer`,
//! `rounding` (weights as bundles store them) and `trainer` (one update), `fresh` (weights to begin with), `self_critical` (answers of the model's own), `ranks` (several
//! processes: `workers` of one machine, or `mpi`), `loader`, `recipe`, `checkpoint`, `session` and `run` (all updates), `plan` (before them), `journal`, `tensorboard` and `report`
//! (what is written about them), `question` (what evaluation asks), `evaluate`, `shown` (a few answers to look at), `metrics` and `results` (how good the
//! answers are, and what other tools read of them), `agreement` (what smaller weights change), `watch` (what they are rounded for). Samples come from `data` (files), `objectives` (what rows teach),
//! `noise` (on texts), `augment` (of images) and `corpus` (scenes made on the fly), with `seed` behind all that is drawn;
//! `choice`, `source` and `assemble` make a run's data of its recipe. `vqvae` trains the small model of image codes,
//! `codes` is its run.

mod agreement;
pub mod assemble;
pub mod augment;
mod batch;
mod builtin;
mod checkpoint;
mod choice;
mod codes;
pub mod corpus;
pub mod data;
mod evaluate;
mod fresh;
mod journal;
mod loader;
pub mod loss;
pub mod metrics;
#[cfg(feature = "mpi")]
pub mod mpi;
pub mod noise;
pub mod objectives;
mod optimizer;
mod parameters;
mod plan;
mod question;
mod ranks;
mod recipe;
pub mod report;
pub mod results;
mod rounding;
mod run;
mod sample;
mod seed;
mod self_critical;
mod session;
mod shown;
mod source;
mod tensorboard;
mod trainer;
mod vqvae;
mod watch;
mod workers;

pub use agreement::{Agreement, agreement, same_tokens};
pub use batch::{Arrangement, Batch, Beside, Known, Pass};
pub use builtin::{FINETUNING, builtin};
pub use checkpoint::{Checkpoints, Progress};
pub use choice::{DataOptions, Files, FineTuningOptions, PretrainingOptions};
pub use codes::{CodesEvent, CodesRecipe, CodesRun, ImageFolder, Pictures};
pub use evaluate::{EvaluateOptions, Measured, Prediction, Report, Step, evaluate};
pub use journal::{Journal, METRICS};
pub use loader::{BatchOptions, Loaded, Loader};
pub use optimizer::{Adam, AdamOptions, Average, Schedule, clip};
pub use parameters::{Entry, Gradient, ParameterMap, Section};
pub use plan::{Plan, plan};
pub use question::{Question, Questions, Reference};
pub use ranks::{Alone, Ranks, Summed};
pub use recipe::{DataChoice, ModelChoice, Recipe, RunOptions, trained_for};
pub use run::{Answered, Ended, Evaluate, Evaluation, Event, Run, StepTime};
pub use sample::{Draw, Draws, Example, PatchImage, Referred, Role, Sample, Shown, Target, samples};
pub use self_critical::{Criticised, Rewarded, SelfCritic};
pub use session::Session;
pub use source::{resolved, world_of};
pub use trainer::{Trainer, TrainerState, UpdateOptions, Updated};
pub use vqvae::{VqvaeOptions, VqvaeTrainer, VqvaeUpdated};
pub use watch::watch;
pub use workers::Workers;
