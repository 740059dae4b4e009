//! Shows a model what it is asked, so that it can be rounded where that shows least.

use super::Question;
use super::agreement::same_tokens;
use super::evaluate::{ImagesOfTwo, fitting};
use crate::config::AnswerOptions;
use crate::error::{Error, Result};
use crate::predict::Predictor;

/// Lets `model` answer, and its [watched](Predictor::load_watched) twin read the questions and those answers. Returns how
/// many there were. `each` hears of every question, and why one cannot be read or asked, which then is left out.
///
/// # Errors
/// The predictors', [`Error::Config`] for models that do not write the same tokens, and the first question's error if none
/// could be read.
pub async fn watch(
    model: &Predictor,
    watched: &Predictor,
    questions: impl IntoIterator<Item = Result<Question>>,
    options: &AnswerOptions,
    mut each: impl FnMut(Option<&Error>),
) -> Result<usize> {
    same_tokens(model, watched)?;
    let mut images = ImagesOfTwo::default();
    let (mut count, mut unreadable) = (0, None);
    for question in fitting(questions, model, options) {
        let Question { task, image, inputs, .. } = match question {
            Ok(question) => question,
            Err(error) => {
                each(Some(&error));
                unreadable = unreadable.or(Some(error));
                continue;
            }
        };
        let [image, same_image] = images.encode([model, watched], task, image, options).await?;
        let answer = model.answer(task, image, &inputs, options, async |_| Ok(())).await?.tokens;
        if !answer.is_empty() {
            watched.preferred(task, same_image, &inputs, options, &answer).await?;
            count += 1;
        }
        each(None);
    }
    match unreadable {
        Some(error) if count == 0 => Err(error),
        _ => Ok(count),
    }
}
