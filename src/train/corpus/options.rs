//! What a recipe says of the world.

use super::nouns::Noun;
use super::words::Style;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The most objects of a picture.
pub const MAX_OBJECTS: usize = 6;

/// The world and what is asked in it. Every field has a default, so that a recipe names only what differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScenesOptions {
    /// Of the scenes that training draws; a run's is that of its recipe unless given.
    pub seed: u64,
    /// Pixels of a picture's side; in a run those that the model sees.
    pub side: u32,
    /// The most objects of a picture, 1 to 6.
    pub max_objects: usize,
    /// Only the first nouns of the list; with 0 there are only shapes.
    pub nouns: usize,
    /// Styles to train on; all but the held-out one unless given.
    pub styles: Option<Vec<Style>>,
    /// The style of the last evaluation group.
    pub held_out_style: Option<Style>,
    /// The folder that `make stickers` fills; the crate's own drawings are used for sets that it lacks.
    pub stickers: Option<PathBuf>,
    /// The folder of the model of image codes; without it there are no tasks with codes.
    pub codes: Option<PathBuf>,
    /// The share of pictures with a sign, where there is room for one.
    pub signs: f32,
    /// Samples about each picture.
    pub samples: usize,
    /// Samples of text, detection and codes with each picture; fractions are a probability.
    pub extra_samples: f32,
    /// How often each task is drawn.
    pub tasks: TaskWeights,
    /// Draws until every kind of picture is drawn as often as it will be; 0 begins there.
    pub curriculum: u64,
    /// Draws of an epoch; without end unless given.
    pub epoch: Option<u64>,
}

/// Relative frequencies, among the samples about pictures and among the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaskWeights {
    pub caption: f32,
    pub vqa: f32,
    pub grounding: f32,
    pub region_caption: f32,
    #[serde(rename = "match")]
    pub matching: f32,
    pub vqa_match: f32,
    pub detect: f32,
    pub infill_text: f32,
    /// Needs codes, as does the next.
    pub infill_image: f32,
    pub image_gen: f32,
}

impl Default for ScenesOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            side: 128,
            max_objects: MAX_OBJECTS,
            nouns: Noun::all().len(),
            styles: None,
            held_out_style: None,
            stickers: None,
            codes: None,
            signs: 0.1,
            samples: 4,
            extra_samples: 0.5,
            tasks: TaskWeights::default(),
            curriculum: 0,
            epoch: None,
        }
    }
}

impl Default for TaskWeights {
    fn default() -> Self {
        Self {
            caption: 1.0,
            vqa: 4.0,
            grounding: 1.0,
            region_caption: 0.5,
            matching: 1.0,
            vqa_match: 0.5,
            detect: 1.0,
            infill_text: 1.0,
            infill_image: 1.0,
            image_gen: 1.0,
        }
    }
}

impl ScenesOptions {
    /// # Errors
    /// [`Error::Option`] naming the first field out of range.
    pub fn check(&self) -> Result<()> {
        if !(16..=1024).contains(&self.side) {
            return Err(Error::option("side", "16 to 1024 pixels", self.side));
        }
        if !(1..=MAX_OBJECTS).contains(&self.max_objects) {
            return Err(Error::option("max_objects", "1 to 6", self.max_objects));
        }
        if !(0.0..=1.0).contains(&self.signs) {
            return Err(Error::option("signs", "a share from 0 to 1", self.signs));
        }
        if !(1..=16).contains(&self.samples) {
            return Err(Error::option("samples", "1 to 16", self.samples));
        }
        if !(0.0..=16.0).contains(&self.extra_samples) {
            return Err(Error::option("extra_samples", "0 to 16", self.extra_samples));
        }
        let TaskWeights { caption, vqa, grounding, region_caption, matching, vqa_match, .. } = self.tasks;
        let weights = serde_json::to_value(&self.tasks).map_err(|error| Error::option("tasks", "weights", error))?;
        for (task, weight) in weights.as_object().into_iter().flatten() {
            // What is no number became null.
            if weight.as_f64().is_none_or(|weight| weight < 0.0) {
                return Err(Error::option(format!("tasks.{task}"), "a weight from 0 up", weight));
            }
        }
        if caption + vqa + grounding + region_caption + matching + vqa_match <= 0.0 {
            return Err(Error::option("tasks", "a weight above 0 of a task about pictures", "none"));
        }
        Ok(())
    }
}

/// How hard a picture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    One,
    Two,
    Several,
}

/// The shares of the levels at points of the curriculum; between them they change evenly. Relations and counts come
/// last: mixed in from the start they are learnt badly.
const STAGES: [(f32, [f32; 3]); 4] =
    [(0.0, [1.0, 0.0, 0.0]), (0.25, [0.4, 0.6, 0.0]), (0.55, [0.2, 0.4, 0.4]), (1.0, [0.1, 0.25, 0.65])];

impl Level {
    /// The level of a draw: `position` of a curriculum of `length` draws.
    pub fn draw(position: u64, length: u64, rng: &mut fastrand::Rng) -> Self {
        let at = if length == 0 { 1.0 } else { (position as f64 / length as f64).min(1.0) as f32 };
        let next = STAGES.iter().position(|(stage, _)| *stage >= at).unwrap_or(STAGES.len() - 1).max(1);
        let ((from, before), (to, after)) = (STAGES[next - 1], STAGES[next]);
        let share = (at - from) / (to - from);
        let [one, two, _]: [f32; 3] =
            std::array::from_fn(|level| before[level] + share * (after[level] - before[level]));
        match rng.f32() {
            draw if draw < one => Self::One,
            draw if draw < one + two => Self::Two,
            _ => Self::Several,
        }
    }
}
