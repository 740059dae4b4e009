//! Training: data become samples, samples batches, batches losses, losses steps.
//!
//! Read `sample` (what training consumes), `loss`, `question` (what evaluation asks).

pub mod loss;
mod question;
mod sample;

pub use question::{Question, Reference};
pub use sample::{Draw, Draws, Example, PatchImage, Sample, Target};
