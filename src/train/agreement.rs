//! What smaller weights change of a model's answers: how often it prefers the tokens that its original prefers.

use super::Question;
use super::evaluate::{ImagesOfTwo, fitting};
use crate::config::AnswerOptions;
use crate::error::{Error, Result};
use crate::predict::Predictor;
use serde::Serialize;
use std::collections::BTreeMap;

/// Places in answers, and what was preferred there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Agreement {
    /// Tokens of the reference's answers, EOS among them.
    pub places: usize,
    /// Those at which both models prefer the same token.
    pub agreeing: usize,
}

impl Agreement {
    /// From 0 to 1; 1 where nothing was compared.
    pub fn share(self) -> f64 {
        if self.places == 0 { 1.0 } else { self.agreeing as f64 / self.places as f64 }
    }
}

/// # Errors
/// [`Error::Config`] for models that do not write the same tokens.
pub fn same_tokens(reference: &Predictor, other: &Predictor) -> Result<()> {
    let [expected, found] = [reference, other].map(|model| model.vocab().layout());
    if expected != found {
        let expected = format!("the reference's, {}, made up alike", expected.size);
        return Err(Error::config("vocab_size", expected, found.size));
    }
    Ok(())
}

/// What all tasks are counted as together.
const ALL: &str = "all";

/// Lets `reference` answer, holds both models to its answers and compares, by task and over `all`, what they prefer at every place.
/// Questions that cannot be read or asked are left out. `each` hears of every question.
///
/// # Errors
/// The predictors', and [`Error::Config`] for models that do not write the same tokens.
pub async fn agreement(
    reference: &Predictor,
    other: &Predictor,
    questions: impl IntoIterator<Item = Result<Question>>,
    options: &AnswerOptions,
    mut each: impl FnMut(),
) -> Result<BTreeMap<&'static str, Agreement>> {
    same_tokens(reference, other)?;
    let mut images = ImagesOfTwo::default();
    let mut found: BTreeMap<&'static str, Agreement> = BTreeMap::new();
    for question in fitting(questions, reference, options).flatten() {
        let Question { task, image, inputs, .. } = question;
        let [image, same_image] = images.encode([reference, other], task, image, options).await?;
        let answer = reference.answer(task, image, &inputs, options, async |_| Ok(())).await?.tokens;
        if !answer.is_empty() {
            let expected = reference.preferred(task, image, &inputs, options, &answer).await?;
            let preferred = other.preferred(task, same_image, &inputs, options, &answer).await?;
            let agreeing = expected.iter().zip(&preferred).filter(|(a, b)| a == b).count();
            for name in [task.name, ALL] {
                let counted = found.entry(name).or_default();
                counted.places += expected.len();
                counted.agreeing += agreeing;
            }
        }
        each();
    }
    Ok(found)
}
