//! Training: data become samples, samples batches, batches losses, losses updates.
//!
//! Read `sample` (what training consumes), `batch`, `loss`, `parameters` (the model as one row of numbers), `optimizer`
//! and `trainer` (one update), `ranks` (several processes), `loader`, `recipe`, `checkpoint`, `session` and `run` (all
//! updates), `journal`, `tensorboard` and `report` (what is written about them), `question` (what evaluation asks),
//! `evaluate`, `metrics` and `results` (how good the answers are, and what other tools read of them). Samples come
//! from `data` (files), `objectives` (what rows teach), `noise` (on texts), `augment` (of images) and `corpus` (scenes
//! made on the fly); `vqvae` trains the small model of image codes.

pub mod assemble;
pub mod augment;
mod batch;
mod checkpoint;
pub mod corpus;
pub mod data;
mod evaluate;
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
mod question;
mod ranks;
mod recipe;
pub mod report;
pub mod results;
mod run;
mod sample;
mod session;
mod tensorboard;
mod trainer;
mod vqvae;

pub use batch::Batch;
pub use checkpoint::{Checkpoints, Progress};
pub use evaluate::{EvaluateOptions, Measured, Prediction, Report, Step, evaluate};
pub use journal::{Journal, METRICS};
pub use loader::{BatchOptions, Loaded, Loader};
pub use optimizer::{Adam, AdamOptions, Average, Schedule, clip};
pub use parameters::{Entry, Gradient, ParameterMap, Section};
pub use question::{Question, Reference};
pub use ranks::{Alone, Ranks};
pub use recipe::{DataChoice, ModelChoice, Recipe, RunOptions};
pub use run::{Answered, Ended, Evaluate, Evaluation, Event, Run, StepTime};
pub use sample::{Draw, Draws, Example, PatchImage, Sample, Target, samples};
pub use session::Session;
pub use trainer::{Trainer, TrainerState, UpdateOptions, Updated};
pub use vqvae::{VqvaeOptions, VqvaeTrainer, VqvaeUpdated};
