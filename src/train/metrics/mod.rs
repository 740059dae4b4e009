//! How good answers are: one measure a file, pure functions of texts and boxes. `measure` applies the one that a task's
//! row names.

pub mod bleu;
pub mod boxes;
pub mod cider;
pub mod edit;
pub mod labels;
mod measure;
pub mod mentions;
pub mod rouge;
mod stem;
pub mod summary;
pub mod words;

pub use measure::{Judged, Measure, Scores};
