//! Training: data become samples, samples batches, batches losses, losses updates.
//!
//! Read `sample` (what training consumes), `batch`, `loss`, `parameters` (the model as one row of numbers),
//! `optimizer`, `trainer` (one update), `ranks` (several processes), and `question` (what evaluation asks). Samples come
//! from `data` (files), `objectives` (what rows teach), `noise` (on texts) and `augment` (of images).

pub mod augment;
mod batch;
pub mod data;
pub mod loss;
pub mod noise;
pub mod objectives;
mod optimizer;
mod parameters;
mod question;
mod ranks;
mod sample;
mod trainer;

pub use batch::Batch;
pub use optimizer::{Adam, AdamOptions, Average, Schedule, clip};
pub use parameters::{Entry, Gradient, ParameterMap, Section};
pub use question::{Question, Reference};
pub use ranks::{Alone, Ranks};
pub use sample::{Draw, Draws, Example, PatchImage, Sample, Target};
pub use trainer::{Trainer, TrainerState, UpdateOptions, Updated};
