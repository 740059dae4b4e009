//! How an answer is searched for: one struct read by the task table, `generation_config.json`, the command
//! line and the JavaScript API.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Options of beam search; names and defaults follow the original generator (reference §9.1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Decoding {
    /// K, the hypotheses kept. 1 is greedy search.
    pub num_beams: usize,
    /// The longest answer has `int(max_len_a · S + max_len_b)` tokens and its EOS.
    pub max_len_a: f64,
    pub max_len_b: usize,
    /// Tokens before EOS is allowed.
    pub min_len: usize,
    /// Scores are divided by `length^length_penalty`, EOS counted.
    pub length_penalty: f64,
    /// Subtracted from the log-probability of `<unk>`.
    pub unk_penalty: f64,
    pub temperature: f64,
    /// False keeps plain sums of log-probabilities.
    pub normalize_scores: bool,
    /// No n-gram of this size twice in a hypothesis; 0 switches it off.
    pub no_repeat_ngram_size: usize,
    /// Only ids 0..=3 and `start..end` may be generated.
    pub constraint_range: Option<(u32, u32)>,
    /// Constraints act after the softmax, so that scores are those of the free model.
    pub zero_shot: bool,
    /// The answer is a raster of image codes.
    pub gen_code: bool,
    /// The answer is a box: with a range of bins nothing but bins.
    pub gen_box: bool,
    /// Draws instead of searching; then K answers are drawn.
    pub sampling: Option<Sampling>,
}

/// From which tokens the next one is drawn (reference §9.6). With neither limit it is any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Sampling {
    /// The k likeliest.
    pub top_k: Option<usize>,
    /// The likeliest that have this probability together.
    pub top_p: Option<f64>,
    /// The same seed gives the same answer.
    pub seed: u64,
}

impl Default for Decoding {
    fn default() -> Self {
        Self {
            num_beams: 5,
            max_len_a: 0.0,
            max_len_b: 200,
            min_len: 1,
            length_penalty: 1.0,
            unk_penalty: 0.0,
            temperature: 1.0,
            normalize_scores: true,
            no_repeat_ngram_size: 0,
            constraint_range: None,
            zero_shot: false,
            gen_code: false,
            gen_box: false,
            sampling: None,
        }
    }
}

/// What the decoder reads before its own tokens (reference §6.2). Checkpoints are trained for one of them;
/// the pre-trained ones for `None`, the original's fine-tuning script of VQA for `PrevOutput`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptType {
    /// BOS alone.
    #[default]
    None,
    /// The whole source, EOS and all.
    Src,
    /// The source without its EOS.
    PrevOutput,
}

/// What a caller, or a bundle's `generation_config.json`, may set; `None` keeps the task's own value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct AnswerOptions {
    /// The side in pixels of the square that the image is resized to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_size: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_beams: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_len: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_len: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_repeat_ngram_size: Option<usize>,
    /// Draws answers instead of searching for the best: each token is one of the k likeliest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    /// Draws answers: each token is one of the likeliest that have this probability together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Of draws; the same seed gives the same answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// What the model was fine-tuned with, where the inputs do not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_type: Option<PromptType>,
}

/// The least temperature: there the likeliest token takes all, and logits divided by it are numbers still.
const COLDEST: f64 = 1e-3;

/// Beams beyond this only waste memory; the original never uses more than 24.
const MAX_BEAMS: usize = 64;

impl Decoding {
    /// This task's decoding with the caller's wishes in it.
    pub fn with(mut self, wishes: &AnswerOptions) -> Self {
        let Decoding { num_beams, max_len_b, min_len, length_penalty, temperature, no_repeat_ngram_size, .. } =
            &mut self;
        set(num_beams, wishes.num_beams);
        set(max_len_b, wishes.max_len);
        set(min_len, wishes.min_len);
        set(length_penalty, wishes.length_penalty);
        set(temperature, wishes.temperature);
        set(no_repeat_ngram_size, wishes.no_repeat_ngram_size);
        if wishes.top_k.is_some() || wishes.top_p.is_some() {
            self.sampling = Some(Sampling { top_k: wishes.top_k, top_p: wishes.top_p, seed: 0 });
        }
        if let Some(sampling) = &mut self.sampling {
            set(&mut sampling.seed, wishes.seed);
        }
        self
    }

    /// The longest answer in tokens, EOS not counted, for a source of `source_len` tokens (padding counted).
    pub fn max_len(&self, source_len: usize) -> usize {
        (self.max_len_a * source_len as f64 + self.max_len_b as f64) as usize
    }

    /// # Errors
    /// [`Error::Option`] naming the value that cannot be used. `max_positions` bounds the answer's length; a raster of
    /// codes has positions of its own.
    pub fn validate(&self, max_positions: usize) -> Result<()> {
        if !(1..=MAX_BEAMS).contains(&self.num_beams) {
            return Err(Error::option("numBeams", format!("1 to {MAX_BEAMS}"), self.num_beams));
        }
        if self.max_len_b >= max_positions && !self.gen_code {
            return Err(Error::option("maxLen", format!("below {max_positions}"), self.max_len_b));
        }
        if self.max_len_a == 0.0 && self.max_len_b == 0 && !self.gen_code {
            return Err(Error::option("maxLen", "1 or more", 0));
        }
        if self.max_len_a == 0.0 && self.min_len > self.max_len_b {
            return Err(Error::option(
                "minLen",
                format!("at most {}, the longest answer", self.max_len_b),
                self.min_len,
            ));
        }
        if !(self.temperature >= COLDEST && self.temperature.is_finite()) {
            return Err(Error::option("temperature", format!("{COLDEST} or more"), self.temperature));
        }
        if !self.length_penalty.is_finite() {
            return Err(Error::option("lengthPenalty", "a finite number", self.length_penalty));
        }
        let Sampling { top_k, top_p, .. } = self.sampling.unwrap_or_default();
        if top_k == Some(0) {
            return Err(Error::option("topK", "1 or more", 0));
        }
        if let Some(p) = top_p.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
            return Err(Error::option("topP", "above 0, at most 1", p));
        }
        Ok(())
    }
}

fn set<T: Clone>(value: &mut T, wish: Option<T>) {
    if let Some(wish) = wish {
        *value = wish;
    }
}

/// A bundle's `generation_config.json`: options by task name, and under `default` those of all tasks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GenerationConfig(BTreeMap<String, AnswerOptions>);

/// The key of [`GenerationConfig`] that holds for every task.
const DEFAULT: &str = "default";

impl GenerationConfig {
    /// The same options for every task.
    pub fn for_all(options: AnswerOptions) -> Self {
        Self(BTreeMap::from([(DEFAULT.to_string(), options)]))
    }

    /// The same with options of its own for one task.
    pub fn with_task(mut self, task: &str, options: AnswerOptions) -> Self {
        self.0.insert(task.to_owned(), options);
        self
    }

    /// # Errors
    /// [`Error::File`] when the text is not of this form.
    pub fn from_json(json: &str) -> Result<Self> {
        let explain = |error| format!("expected options by task, as {{\"default\": {{\"numBeams\": 5}}}}: {error}");
        serde_json::from_str(json)
            .map_err(|error: serde_json::Error| Error::file("generation_config.json", explain(error)))
    }

    /// The file's text; what is not set is left out.
    ///
    /// # Errors
    /// [`Error::File`] when the options cannot be written.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map_err(|error| Error::file("generation_config.json", error))
    }

    /// The tasks that have options of their own.
    pub fn tasks(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str).filter(|name| *name != DEFAULT)
    }

    /// The caller's options, completed from the task's entry and then from the default one.
    pub fn complete(&self, task: &str, wishes: &AnswerOptions) -> AnswerOptions {
        let layers = [Some(wishes), self.0.get(task), self.0.get(DEFAULT)];
        fn first<T: Copy>(
            layers: &[Option<&AnswerOptions>],
            option: impl Fn(&AnswerOptions) -> Option<T>,
        ) -> Option<T> {
            layers.iter().flatten().find_map(|options| option(options))
        }
        AnswerOptions {
            image_size: first(&layers, |options| options.image_size),
            num_beams: first(&layers, |options| options.num_beams),
            max_len: first(&layers, |options| options.max_len),
            min_len: first(&layers, |options| options.min_len),
            length_penalty: first(&layers, |options| options.length_penalty),
            temperature: first(&layers, |options| options.temperature),
            no_repeat_ngram_size: first(&layers, |options| options.no_repeat_ngram_size),
            top_k: first(&layers, |options| options.top_k),
            top_p: first(&layers, |options| options.top_p),
            seed: first(&layers, |options| options.seed),
            prompt_type: first(&layers, |options| options.prompt_type),
        }
    }
}
