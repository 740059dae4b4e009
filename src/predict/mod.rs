//! The façade: a model, its vocabulary and its table of tasks as one thing that answers.

mod attention;
mod batch;
mod codes;
mod drawing;
mod forced;
#[cfg(feature = "cli")]
mod load;
mod rehearsal;
mod step;
mod wait;

use crate::config::{AnswerOptions, Decoding, GenerationConfig, OfaConfig};
use crate::error::{Error, Result};
use crate::generate::{Dice, Draw, Progress, SpecialIds, Start, Trie, beam_search, sample, score_candidates};
use crate::image::Pixels;
use crate::kernels::tensor;
use crate::model::{EncoderOutput, ImageFeatures, OfaModel, Source, TokenBatch};
use crate::task::{self, Answer, AnswerContext, Constraint, Hypothesis, ImageRule, Inputs, Prompt, Task};
use crate::vocab::Vocab;
use serde::Serialize;
use wait::{both, milliseconds, touch, touched};
use web_time::Instant;

pub use attention::{Attended, Attention};
pub use codes::ImageCodes;
pub use drawing::Drawing;
pub use rehearsal::rehearse;
pub use step::ModelStep;

/// Everything that answers.
pub struct Predictor {
    config: OfaConfig,
    generation: GenerationConfig,
    vocab: Vocab,
    model: OfaModel,
}

/// An image after the stem: ask as many questions of it as you like.
#[derive(Debug, Clone)]
pub struct EncodedImage {
    features: ImageFeatures,
    size: (u32, u32),
    /// How it was prepared, with the side that was taken.
    rule: ImageRule,
    stem_ms: f64,
}

/// Where an answer stands, for those who want to see it grow.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "camelCase")]
pub enum Event {
    /// A step was taken.
    Token {
        /// From 1.
        step: usize,
        /// The best hypothesis so far; nothing where all of a closed set are scored at once.
        text: String,
    },
    /// A step of a drawing was taken.
    Codes {
        /// From 1.
        step: usize,
        /// Those of the first unfinished sequence, row after row.
        codes: Vec<usize>,
    },
}

/// Milliseconds by stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timings {
    /// Preparing the image and running the stem, when it was encoded.
    pub stem_ms: f64,
    pub encoder_ms: f64,
    pub decode_ms: f64,
    /// Decoding steps taken.
    pub steps: usize,
}

/// An answer and what it took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answered {
    #[serde(flatten)]
    pub answer: Answer,
    /// The best hypothesis, EOS among it.
    pub tokens: Vec<u32>,
    pub timings: Timings,
}

impl Predictor {
    /// # Errors
    /// [`Error::Config`] when the parts do not fit together.
    pub fn new(config: OfaConfig, generation: GenerationConfig, vocab: Vocab, model: OfaModel) -> Result<Self> {
        if vocab.layout().size != config.vocab_size {
            return Err(Error::config("vocab_size", vocab.layout().size, config.vocab_size));
        }
        for name in generation.tasks() {
            task::find(name).map_err(|error| Error::file("generation_config.json", error))?;
        }
        Ok(Self { config, generation, vocab, model })
    }

    pub fn config(&self) -> &OfaConfig {
        &self.config
    }

    pub fn vocab(&self) -> &Vocab {
        &self.vocab
    }

    /// Prepares an image for `task` and runs the stem over it.
    ///
    /// # Errors
    /// [`Error::Task`] when the task has no use for an image, [`Error::Option`] for a size the model cannot take.
    pub async fn encode_image(&self, task: &Task, pixels: &Pixels, options: &AnswerOptions) -> Result<EncodedImage> {
        let started = Instant::now();
        let rule = task.image.ok_or_else(|| Error::task(task.name, "has no use for an image"))?;
        let side = self.image_side(task, rule, options)?;
        let rule = ImageRule { side, ..rule };
        let values = tensor(rule.view(pixels)?, [1, 3, side as usize, side as usize], &self.model.device());
        let features = self.model.encode_image(values);
        // Waits for the device, so that the time is the stem's own.
        let stem_ms = touched(features.patches.clone(), started).await?;
        Ok(EncodedImage { features, size: pixels.size(), rule, stem_ms })
    }

    /// The side that `task`'s images are resized to.
    fn image_side(&self, task: &Task, rule: ImageRule, options: &AnswerOptions) -> Result<u32> {
        let largest = self.config.largest_image_side();
        if rule.hide_middle {
            let side = 2 * self.config.code_image_size as u32;
            return match options.image_size {
                Some(other) if other != side => {
                    Err(Error::option("imageSize", format!("{side}, twice the side that the codes stand for"), other))
                }
                _ if side > largest => {
                    Err(Error::config("code_image_size", format!("at most {}", largest / 2), side / 2))
                }
                _ => Ok(side),
            };
        }
        let asked = self.generation.complete(task.name, options).image_size;
        match asked {
            Some(side) if (1..=largest).contains(&side) => Ok(side),
            Some(side) => Err(Error::option("imageSize", format!("1 to {largest} for this model"), side)),
            None => Ok(rule.side.min(largest)),
        }
    }

    /// Answers one question. Closed answers are all scored exactly, unless `options` asks for a number of beams, which
    /// then search among them, or for draws. `report` is called after every step; its error ends the search.
    ///
    /// # Errors
    /// [`Error::Task`] for missing or useless inputs, [`Error::Option`] for unusable options, the device's errors,
    /// and what `report` returns.
    pub async fn answer(
        &self,
        task: &Task,
        image: Option<&EncodedImage>,
        inputs: &Inputs,
        options: &AnswerOptions,
        mut report: impl AsyncFnMut(Event) -> Result<()>,
    ) -> Result<Answered> {
        task.check_answers(inputs)?;
        let prompt = self.prompt(task, image, inputs, options)?;
        let decoding = self.decoding(task, &prompt, options)?;
        let source = self.source(task, image, &prompt.source)?;
        let started = Instant::now();
        let encoded = self.model.encode(&source);
        let scored = options.num_beams.is_none() && decoding.sampling.is_none();
        let search = self.search(task, &encoded, (&prompt, scored), &decoding, source.tokens.len, &mut report);
        // In a browser the device goes on from the encoder to the first step while the page hears of it. Elsewhere the first of
        // the two waits.
        let (encoder_ms, found) = both(touched(encoded.hidden.clone(), started), search).await;
        let (encoder_ms, (hypotheses, steps)) = (encoder_ms?, found?);
        let decode_ms = milliseconds(started) - encoder_ms;
        let timings = Timings { stem_ms: image.map_or(0.0, |image| image.stem_ms), encoder_ms, decode_ms, steps };
        self.read(task, image, inputs, prompt.prefix.len(), hypotheses, timings)
    }

    /// The hypotheses behind what was encoded, best first, and how many steps they took. Closed answers are `scored`, all of
    /// them, or searched for.
    async fn search(
        &self,
        task: &Task,
        encoded: &EncoderOutput,
        (prompt, scored): (&Prompt, bool),
        decoding: &Decoding,
        source_len: usize,
        report: &mut impl AsyncFnMut(Event) -> Result<()>,
    ) -> Result<(Vec<Hypothesis>, usize)> {
        let prefix_len = prompt.prefix.len();
        let max_len = decoding.max_len(source_len) + prefix_len;
        let mut each = async |progress: Progress<'_>| {
            let tokens = progress.tokens.get(prefix_len..).unwrap_or_default();
            report(self.event(task, progress.step, tokens)).await
        };
        match &prompt.candidates {
            Some(candidates) if scored => {
                let longest = candidates.iter().map(Vec::len).max().unwrap_or(0);
                let length = prefix_len + longest + 1;
                let mut step = ModelStep::new(&self.model, &self.config, encoded, &Decoding::default(), length);
                let whole: Vec<u32> =
                    [self.config.bos_token_id].into_iter().chain(prompt.prefix.iter().copied()).collect();
                let eos = self.config.eos_token_id;
                let scores = score_candidates(&mut step, &whole, candidates, eos, &mut each).await?;
                Ok((ranked(&prompt.prefix, candidates, &scores, eos), step.steps()))
            }
            candidates => {
                let trie = candidates.as_ref().map(|answers| Trie::new(answers, self.config.eos_token_id));
                let mut step = ModelStep::new(&self.model, &self.config, encoded, decoding, max_len);
                let ids = SpecialIds::new(&self.config);
                let prefixes = [prompt.prefix.clone()];
                let start = Start { prefixes: &prefixes, trie: trie.as_ref() };
                let found = match decoding.sampling {
                    None => beam_search(&mut step, &ids, decoding, max_len, start, &mut each).await?,
                    Some(sampling) => {
                        let mut dice = Dice::new(sampling.seed);
                        let mut pick = |draw: Draw<'_>| Ok(dice.pick(draw.kept));
                        sample(&mut step, &ids, decoding, max_len, start, &mut pick, &mut each).await?
                    }
                };
                Ok((found.into_iter().flatten().map(Hypothesis::from).collect(), step.steps()))
            }
        }
    }

    /// Whether a question can be asked, before anything is computed.
    ///
    /// # Errors
    /// [`Error::Task`] for inputs that are missing or useless, and for texts that leave no room.
    pub fn fits(&self, task: &Task, inputs: &Inputs, options: &AnswerOptions) -> Result<()> {
        let prompt = self.prompt(task, None, inputs, options)?;
        self.check_length(task, &prompt.source)?;
        self.decoding(task, &prompt, options).map(drop)
    }

    fn check_length(&self, task: &Task, ids: &[u32]) -> Result<()> {
        let (count, limit) = (ids.len(), self.config.max_position_embeddings);
        if count > limit {
            return Err(Error::task(task.name, format!("the instruction has {count} tokens, at most {limit} fit")));
        }
        Ok(())
    }

    /// What the encoder and the decoder read. The bundle's prompt type stands in for the task's own.
    fn prompt(
        &self,
        task: &Task,
        image: Option<&EncodedImage>,
        inputs: &Inputs,
        options: &AnswerOptions,
    ) -> Result<Prompt> {
        let usual = self.generation.complete(task.name, options).prompt_type;
        // A raster of codes has no place for a prompt, whatever the bundle says of all tasks.
        let prompt_type = inputs.prompt_type.or(usual.filter(|_| task.constraint != Constraint::Codes));
        let inputs = Inputs { prompt_type, ..inputs.clone() };
        match image {
            Some(image) => task.seen_at(image.rule.side).prompt(&inputs, &self.vocab),
            None => task.prompt(&inputs, &self.vocab),
        }
    }

    /// A step of an answer, `tokens` being what was written behind the prefix.
    fn event(&self, task: &Task, step: usize, tokens: &[u32]) -> Event {
        match task.constraint {
            Constraint::Codes => {
                Event::Codes { step, codes: tokens.iter().filter_map(|token| self.vocab.code_index(*token)).collect() }
            }
            _ => Event::Token { step, text: self.vocab.decode(tokens).trim().to_string() },
        }
    }

    /// The answer in what was found.
    ///
    /// # Errors
    /// [`Error::Task`] where nothing was.
    fn read(
        &self,
        task: &Task,
        image: Option<&EncodedImage>,
        inputs: &Inputs,
        prefix_len: usize,
        hypotheses: Vec<Hypothesis>,
        timings: Timings,
    ) -> Result<Answered> {
        if hypotheses.is_empty() {
            let reason = "found nothing that its options allow, or the model's scores are no numbers";
            return Err(Error::task(task.name, reason));
        }
        let context = AnswerContext {
            prefix_len,
            image: image.map(|image| image.size),
            side: image.map(|image| image.rule.side),
            phrase: inputs.text.as_deref().unwrap_or_default().trim(),
        };
        Ok(Answered {
            answer: task.answer(&hypotheses, &context, &self.vocab),
            tokens: hypotheses.into_iter().next().map(|best| best.tokens).unwrap_or_default(),
            timings,
        })
    }

    /// The search's options for an answer that must fit into the decoder with its prompt.
    fn decoding(&self, task: &Task, prompt: &Prompt, options: &AnswerOptions) -> Result<Decoding> {
        // How a bundle writes free answers says nothing about closed ones.
        let closed = prompt.candidates.is_some();
        let wishes = if closed { options.clone() } else { self.generation.complete(task.name, options) };
        let positions = self.config.max_position_embeddings;
        let mut decoding = task.decoding_with(&wishes, &self.config);
        let longest = positions.saturating_sub(1 + prompt.prefix.len());
        let needed = prompt.candidates.iter().flatten().map(Vec::len).max().unwrap_or(1);
        if needed > longest && !decoding.gen_code {
            let reason = format!("an answer of {needed} tokens does not fit behind the decoder's prompt, {longest} do");
            return Err(Error::task(task.name, reason));
        }
        if options.max_len.is_none() && !decoding.gen_code {
            // The table's lengths are the original's, whose models are not the smallest; nor do bundles know the prompt.
            decoding.max_len_b = decoding.max_len_b.min(longest);
        }
        if closed {
            decoding.max_len_b = decoding.max_len_b.max(needed);
        }
        decoding.validate(positions)?;
        if decoding.max_len_b > longest && !decoding.gen_code {
            let expected = format!("at most {longest} behind the decoder's prompt");
            return Err(Error::option("maxLen", expected, decoding.max_len_b));
        }
        if decoding.gen_box || wishes.min_len.is_some() {
            // No EOS before the last bin, or as many tokens as were asked for, wherever the first one stands.
            decoding.min_len += prompt.prefix.len();
        }
        Ok(decoding)
    }

    fn source(&self, task: &Task, image: Option<&EncodedImage>, ids: &[u32]) -> Result<Source> {
        self.check_length(task, ids)?;
        task.check_image(image.is_some())?;
        let source = Source::text(TokenBatch::new(1, ids.len(), ids.to_vec()));
        let (Some(rule), Some(image)) = (task.image, image) else { return Ok(source) };
        if (ImageRule { side: image.rule.side, ..rule }) != image.rule {
            let reason = "needs an image encoded for it: others are normalised or cut differently";
            return Err(Error::task(task.name, reason));
        }
        Ok(source.with_image(image.features.clone()))
    }
}

/// Candidates with a score as hypotheses, best first, the first of equals before the others.
fn ranked(prefix: &[u32], candidates: &[Vec<u32>], scores: &[f32], eos: u32) -> Vec<Hypothesis> {
    let mut hypotheses: Vec<Hypothesis> = candidates
        .iter()
        .zip(scores)
        .filter(|(_, score)| !score.is_nan())
        .map(|(candidate, score)| Hypothesis {
            tokens: prefix.iter().chain(candidate).copied().chain([eos]).collect(),
            score: f64::from(*score),
            token_scores: Vec::new(),
        })
        .collect();
    hypotheses.sort_by(|a, b| b.score.total_cmp(&a.score));
    hypotheses
}

impl From<crate::generate::Hypothesis> for Hypothesis {
    fn from(found: crate::generate::Hypothesis) -> Self {
        Self {
            tokens: found.tokens,
            score: f64::from(found.score),
            token_scores: found.token_scores.into_iter().map(f64::from).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ranked;

    #[test]
    fn candidates_without_a_score_are_no_answers() {
        let found = ranked(&[5], &[vec![6], vec![7], vec![8]], &[f32::NAN, f32::NEG_INFINITY, -1.0], 2);
        assert_eq!(found.iter().map(|one| one.tokens.clone()).collect::<Vec<_>>(), [[5, 8, 2], [5, 7, 2]]);
    }
}
