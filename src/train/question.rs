//! What evaluation asks, and what it compares the answers with.

use crate::error::Result;
use crate::image::Pixels;
use crate::task::{Inputs, Task};

/// One question of an evaluation set.
#[derive(Debug, Clone)]
pub struct Question {
    /// As the data call it; goes into the predictions that are written.
    pub id: String,
    pub task: &'static Task,
    pub image: Option<Pixels>,
    pub inputs: Inputs,
    pub reference: Reference,
    /// Questions of one kind are also measured together: `colour`, `count`, `held-out pair` …
    pub group: Option<String>,
}

/// Questions that are asked again at every evaluation.
pub trait Questions {
    /// All of them, or why one cannot be read.
    fn ask(&self) -> Box<dyn Iterator<Item = Result<Question>> + '_>;
}

impl Questions for Vec<Question> {
    fn ask(&self) -> Box<dyn Iterator<Item = Result<Question>> + '_> {
        Box::new(self.iter().cloned().map(Ok))
    }
}

/// The right answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Reference {
    /// Any of these texts.
    Texts(Vec<String>),
    /// Answers and how right each is, from 0 to 1.
    Scored(Vec<(String, f32)>),
    /// Left, top, right, bottom from 0 to 1.
    Region([f32; 4]),
    /// Regions and what is in them.
    Objects(Vec<([f32; 4], String)>),
    /// What a description has to mention: for each thing the phrases that name it, any of which will do.
    Mentions(Vec<Vec<String>>),
}
