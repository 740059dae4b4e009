//! What a model would write, were it held to another answer so far.

use super::step::LOGIT_ROWS;
use super::{EncodedImage, Predictor};
use crate::config::AnswerOptions;
use crate::error::{Error, Result};
use crate::kernels::TokenScoring;
use crate::model::{DecoderCache, TokenBatch};
use crate::task::{Constraint, Inputs, Task};

impl Predictor {
    /// The token that the model prefers at every place of an answer, given all that stands before that place. The
    /// decoder's prompt, which is not chosen, is left out, and a task's constraint is not applied. `tokens` are what
    /// some model of this vocabulary [answered](super::Answered), the other arguments those of
    /// [`answer`](Self::answer).
    ///
    /// # Errors
    /// [`Error::Task`] as in [`answer`](Self::answer), [`Error::Option`] for tokens that no answer of this model has.
    pub async fn preferred(
        &self,
        task: &Task,
        image: Option<&EncodedImage>,
        inputs: &Inputs,
        options: &AnswerOptions,
        tokens: &[u32],
    ) -> Result<Vec<u32>> {
        let (read, mut cache, prefix) = self.reread(task, image, inputs, options, tokens)?;
        let hidden = self.model.decode(&read, &mut cache);
        let [_, places, width] = hidden.dims();
        let scoring = TokenScoring { temperature: 1.0, constraint: None, constrain_after: false };
        let mut preferred = Vec::with_capacity(places.saturating_sub(prefix));
        for start in (prefix..places).step_by(LOGIT_ROWS) {
            let end = (start + LOGIT_ROWS).min(places);
            let logits = self.model.logits(hidden.clone().slice([0..1, start..end, 0..width])).squeeze_dim(0);
            let (best, _) = scoring.best(logits, 1, &[]).await?;
            preferred.extend(best.into_iter().filter_map(|row| row.first().map(|(token, _)| *token)));
        }
        Ok(preferred)
    }

    /// What the decoder reads to write `tokens`, the cache it begins with, and how many of them are its prompt.
    pub(super) fn reread(
        &self,
        task: &Task,
        image: Option<&EncodedImage>,
        inputs: &Inputs,
        options: &AnswerOptions,
        tokens: &[u32],
    ) -> Result<(TokenBatch, DecoderCache, usize)> {
        let prompt = self.prompt(task, image, inputs, options)?;
        let source = self.source(task, image, &prompt.source)?;
        self.check_tokens(tokens)?;
        let encoded = self.model.encode(&source);
        // Each token is decided on when the one before it is read.
        let read: Vec<u32> = [self.config.bos_token_id].iter().chain(tokens).copied().take(tokens.len()).collect();
        let cache = self.model.begin(&encoded, &[task.constraint == Constraint::Codes], read.len());
        Ok((TokenBatch::new(1, read.len(), read), cache, prompt.prefix.len()))
    }

    fn check_tokens(&self, tokens: &[u32]) -> Result<()> {
        let (most, size) =
            (self.config.max_position_embeddings.max(self.config.code_grid().pow(2) + 1), self.vocab.layout().size);
        if !(1..=most).contains(&tokens.len()) {
            return Err(Error::option("tokens", format!("1 to {most} of them"), tokens.len()));
        }
        match tokens.iter().find(|token| **token as usize >= size) {
            Some(token) => Err(Error::option("tokens", format!("ids below {size}"), token)),
            None => Ok(()),
        }
    }
}
