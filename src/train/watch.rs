//! Shows a model what it is asked, so that it can be rounded where that shows least.

use super::Question;
use super::agreement::same_tokens;
use super::evaluate::Images;
use crate::config::AnswerOptions;
use crate::error::Result;
use crate::predict::Predictor;

/// Lets `model` answer, and its [watched](Predictor::load_watched) twin read the questions and those answers. Returns how
/// many there were; questions that cannot be read are left out. `each` hears of every question.
///
/// # Errors
/// The predictors', and [`Error::Config`](crate::error::Error::Config) for models that do not write the same tokens.
pub async fn watch(
    model: &Predictor,
    watched: &Predictor,
    questions: impl IntoIterator<Item = Result<Question>>,
    options: &AnswerOptions,
    mut each: impl FnMut(),
) -> Result<usize> {
    same_tokens(model, watched)?;
    let (mut images, mut same_images, mut count) = (Images::default(), Images::default(), 0);
    for question in questions.into_iter().flatten() {
        let Question { task, image, inputs, .. } = question;
        let (image, same_image) = match image {
            Some(pixels) => {
                let (image, _) = images.encode(model, task, pixels.clone(), options).await?;
                (Some(image), Some(same_images.encode(watched, task, pixels, options).await?.0))
            }
            None => (None, None),
        };
        let answer = model.answer(task, image, &inputs, options, async |_| Ok(())).await?.tokens;
        if !answer.is_empty() {
            watched.preferred(task, same_image, &inputs, options, &answer).await?;
            count += 1;
        }
        each();
    }
    Ok(count)
}
