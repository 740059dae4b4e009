//! Many questions at once, and one in one line.

use super::{Answered, EncodedImage, Event, Predictor, Timings, milliseconds, touched};
use crate::config::{AnswerOptions, Decoding};
use crate::error::{Error, Result};
use crate::generate::{Dice, Draw, Progress, SpecialIds, Start, beam_search, sample};
use crate::image::Pixels;
use crate::kernels::MAX_BINDING_BYTES;
use crate::model::{EncoderOutput, ImageFeatures, Source, TokenBatch};
use crate::predict::ModelStep;
use crate::task::{Answer, Hypothesis, Inputs, Prompt, Task, find};
use burn::tensor::Tensor;
use web_time::Instant;

/// Questions that are decoded together: enough to fill a device, few enough for its memory.
const TOGETHER: usize = 8;

impl Predictor {
    /// Answers one question with the task's own options; `pixels` for tasks on an image.
    ///
    /// # Errors
    /// Those of [`encode_image`](Self::encode_image) and [`answer`](Self::answer).
    pub async fn ask(&self, task: &str, pixels: Option<&Pixels>, inputs: &Inputs) -> Result<Answer> {
        let (task, options) = (find(task)?, AnswerOptions::default());
        let image = match pixels {
            Some(pixels) => Some(self.encode_image(task, pixels, &options).await?),
            None => None,
        };
        Ok(self.answer(task, image.as_ref(), inputs, &options, async |_| Ok(())).await?.answer)
    }

    /// Answers many questions of one task, each with its image, as [`answer`](Self::answer) would one by one. Free
    /// answers are read and written in batches, whose times their answers share; closed ones are scored question by
    /// question. `report` is called after every step with the first answer of its batch.
    ///
    /// # Errors
    /// Those of [`answer`](Self::answer), and [`Error::Option`] for images of different sizes.
    pub async fn answer_all(
        &self,
        task: &Task,
        questions: &[(Option<&EncodedImage>, &Inputs)],
        options: &AnswerOptions,
        mut report: impl AsyncFnMut(Event) -> Result<()>,
    ) -> Result<Vec<Answered>> {
        let mut answers = Vec::with_capacity(questions.len());
        let mut left = questions;
        while !left.is_empty() {
            let prompts = left.iter().take(TOGETHER).map(|(image, inputs)| self.prompt(task, *image, inputs, options));
            let mut prompts = prompts.collect::<Result<Vec<_>>>()?;
            prompts.truncate(self.together(left, &prompts));
            let (batch, others) = left.split_at(prompts.len());
            left = others;
            let closed = prompts.iter().any(|prompt| prompt.candidates.is_some() || !prompt.prefix.is_empty());
            if closed || batch.len() == 1 {
                for (image, inputs) in batch {
                    answers.push(self.answer(task, *image, inputs, options, &mut report).await?);
                }
                continue;
            }
            // Without prefixes the options do not depend on the question.
            let decoding = self.decoding(task, &prompts[0], options)?;
            let sources = batch.iter().zip(&prompts);
            let sources = sources.map(|((image, _), prompt)| self.source(task, *image, &prompt.source));
            let source = stacked(sources.collect::<Result<Vec<_>>>()?, self.config.pad_token_id)?;
            let started = Instant::now();
            let encoded = self.model.encode(&source);
            let encoder_ms = touched(encoded.hidden.clone(), started).await?;
            let started = Instant::now();
            let (found, steps) = self.search_all(task, &encoded, &decoding, source.tokens.len, &mut report).await?;
            let decode_ms = milliseconds(started);
            for ((image, inputs), hypotheses) in batch.iter().zip(found) {
                let timings =
                    Timings { stem_ms: image.map_or(0.0, |image| image.stem_ms), encoder_ms, decode_ms, steps };
                answers.push(self.read(task, *image, inputs, 0, hypotheses, timings)?);
            }
        }
        Ok(answers)
    }

    /// How many of the first questions, whose prompts these are, are answered together: the encoder's position biases of
    /// all, `[B, H, L, L]`, fit one binding.
    fn together(&self, questions: &[(Option<&EncodedImage>, &Inputs)], prompts: &[Prompt]) -> usize {
        let patches = questions.iter().filter_map(|(image, _)| *image).map(|image| image.features.grid);
        let patches = patches.map(|[rows, columns]| rows * columns).max().unwrap_or(0);
        let length = patches + prompts.iter().map(|prompt| prompt.source.len()).max().unwrap_or(0);
        let bytes = size_of::<f32>() * self.config.encoder_attention_heads * length * length;
        (MAX_BINDING_BYTES / bytes.max(1)).clamp(1, prompts.len().max(1))
    }

    /// The hypotheses of each sample, and the steps taken.
    async fn search_all(
        &self,
        task: &Task,
        encoded: &EncoderOutput,
        decoding: &Decoding,
        source_len: usize,
        report: &mut impl AsyncFnMut(Event) -> Result<()>,
    ) -> Result<(Vec<Vec<Hypothesis>>, usize)> {
        let max_len = decoding.max_len(source_len);
        let mut step = ModelStep::new(&self.model, &self.config, encoded, decoding, max_len);
        let ids = SpecialIds::new(&self.config);
        let [samples, _, _] = encoded.hidden.dims();
        let prefixes = vec![Vec::new(); samples];
        let start = Start { prefixes: &prefixes, trie: None };
        let mut each = async |progress: Progress<'_>| report(self.event(task, progress.step, progress.tokens)).await;
        let found = match decoding.sampling {
            None => beam_search(&mut step, &ids, decoding, max_len, start, &mut each).await?,
            Some(sampling) => {
                // Each question has dice of its own, so that its answer does not depend on its neighbours.
                let mut dice = vec![Dice::new(sampling.seed); samples];
                let mut pick = |draw: Draw<'_>| Ok(dice[draw.sample].pick(draw.kept));
                sample(&mut step, &ids, decoding, max_len, start, &mut pick, &mut each).await?
            }
        };
        let hypotheses = |found: Vec<_>| found.into_iter().map(Hypothesis::from).collect();
        Ok((found.into_iter().map(hypotheses).collect(), step.steps()))
    }
}

/// Sources of one sample each as one batch.
fn stacked(sources: Vec<Source>, pad: u32) -> Result<Source> {
    let rows: Vec<Vec<u32>> = sources.iter().map(|source| source.tokens.ids.clone()).collect();
    let source = Source::text(TokenBatch::padded(&rows, pad));
    let images: Vec<ImageFeatures> = sources.into_iter().filter_map(|source| source.image).collect();
    let Some(first) = images.first() else {
        return Ok(source);
    };
    let grid = first.grid;
    if let Some(other) = images.iter().find(|image| image.grid != grid) {
        return Err(Error::option("images", format!("all with {grid:?} patches"), format!("{:?}", other.grid)));
    }
    let patches = Tensor::cat(images.into_iter().map(|image| image.patches).collect(), 0);
    Ok(source.with_image(ImageFeatures { patches, grid }))
}
