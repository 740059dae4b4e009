//! Training: data become samples, samples batches, batches losses, losses updates.
//!
//! Read `sample` (what training consumes), `batch`, `loss`, `parameters` (the model as one row of numbers),
//! `optimizer`, `trainer` (one update), `ranks` (several processes), and `question`,
//! `evaluate`, `metrics`, `results` (what evaluation asks, what it makes of the answers, what other tools read).

mod batch;
mod evaluate;
pub mod loss;
pub mod metrics;
mod optimizer;
mod parameters;
mod question;
mod ranks;
pub mod results;
mod sample;
mod trainer;

pub use batch::Batch;
pub use evaluate::{EvaluateOptions, Measured, Prediction, Report, Step, evaluate};
pub use optimizer::{Adam, AdamOptions, Average, Schedule, clip};
pub use parameters::{Entry, Gradient, ParameterMap, Section};
pub use question::{Question, Reference};
pub use ranks::{Alone, Ranks};
pub use sample::{Draw, Draws, Example, PatchImage, Sample, Target};
pub use trainer::{Trainer, TrainerState, UpdateOptions, Updated};
