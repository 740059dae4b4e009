//! From a task's template and the caller's inputs to the ids that the model reads.

use super::{Clean, Constraint, Field, ImageRule, Inputs, PromptType, Task};
use crate::error::{Error, Result};
use crate::vocab::Vocab;
use crate::vocab::boxes::{self, Ratio};
use std::collections::BTreeSet;

/// What the encoder reads and what the decoder is given before it answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prompt {
    /// BOS, the instruction, EOS.
    pub source: Vec<u32>,
    /// Decoder tokens after BOS; empty unless the prompt type asks for some.
    pub prefix: Vec<u32>,
    /// The only answers allowed, each without BOS and EOS; none means that anything may be generated.
    pub candidates: Option<Vec<Vec<u32>>>,
}

/// How a caller writes a gap in a text.
const GAP: &str = "<mask>";

/// Regions without an image are bins of a square with this side.
const REGION_SIDE: u32 = 512;

impl Task {
    /// The ids of this task's instruction. Training uses the same function.
    ///
    /// # Errors
    /// [`Error::Task`] if an input is missing, empty, of no use to the task or out of range, and what
    /// [`Vocab::encode`] refuses.
    pub fn prompt(&self, inputs: &Inputs, vocab: &Vocab) -> Result<Prompt> {
        self.check(inputs)?;
        let layout = vocab.layout();
        let mut source = vec![layout.bos];
        // Text is encoded in as few pieces as possible, because BPE looks across the seams.
        let mut text = String::new();
        for part in parts(self.template(inputs)?) {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Field(Field::Region) => {
                    source.extend(vocab.encode(&std::mem::take(&mut text))?);
                    source.extend(self.region(inputs, vocab)?);
                }
                Part::Field(field) if self.cleaning(field) == Clean::Gaps => {
                    let cleaned = self.cleaned(field, inputs)?;
                    let mut pieces = cleaned.split(GAP);
                    text.push_str(pieces.next().unwrap_or_default());
                    for piece in pieces {
                        // A gap takes the place of the space before it, too: words carry their own.
                        source.extend(vocab.encode(std::mem::take(&mut text).trim_end())?);
                        source.push(layout.mask);
                        text.push_str(piece);
                    }
                }
                Part::Field(field) => text.push_str(&self.cleaned(field, inputs)?),
            }
        }
        source.extend(vocab.encode(&text)?);
        let most = self.inputs.iter().map(|input| input.clean.most_ids()).min().unwrap_or(usize::MAX);
        source.truncate(most.saturating_add(1));
        source.push(layout.eos);
        if self.constraint == Constraint::Codes && inputs.prompt_type.is_some_and(|given| given != PromptType::None) {
            return Err(Error::task(self.name, "a raster of codes has no place for a prompt: no `promptType`"));
        }
        let prefix = match inputs.prompt_type.unwrap_or(self.prompt_type) {
            PromptType::None => &[][..],
            PromptType::Src => &source[1..],
            PromptType::PrevOutput => &source[1..source.len() - 1],
        };
        Ok(Prompt { prefix: prefix.to_vec(), candidates: self.candidates(inputs.answers.as_deref(), vocab)?, source })
    }

    /// The instruction as text, bins written out, for logs and tests.
    ///
    /// # Errors
    /// As [`Task::prompt`].
    pub fn instruction(&self, inputs: &Inputs, vocab: &Vocab) -> Result<String> {
        Ok(vocab.decode(&self.prompt(inputs, vocab)?.source))
    }

    fn template(&self, inputs: &Inputs) -> Result<&'static str> {
        let complete = |template: &&str| {
            parts(template).all(|part| match part {
                Part::Literal(_) => true,
                Part::Field(field) => field.is_given(inputs),
            })
        };
        let template = self.templates.iter().copied().find(complete);
        template.ok_or_else(|| Error::task(self.name, "the inputs fit no form of the instruction"))
    }

    fn region(&self, inputs: &Inputs, vocab: &Vocab) -> Result<Vec<u32>> {
        let region = inputs.region.ok_or_else(|| Error::task(self.name, "needs `region`"))?;
        // Those of answers count pixels of the image that the model sees, too: see [`Task::seen_at`].
        let side = self.image.map_or(REGION_SIDE, |ImageRule { side, .. }| side) as f32;
        let bins = boxes::quantise(region, Ratio { x: side, y: side }, vocab.layout().num_bins);
        bins.into_iter().map(|bin| vocab.bin(bin)).collect()
    }

    /// The ids of the only answers there are, where the task or the caller closes their set. Answers are learnt with a
    /// space in front.
    ///
    /// # Errors
    /// [`Error::Task`] if the task has its own answers, or one of the caller's is empty; those of [`Vocab::encode`].
    pub fn candidates(&self, answers: Option<&[String]>, vocab: &Vocab) -> Result<Option<Vec<Vec<u32>>>> {
        let encode = |answer: &str| vocab.encode(&format!(" {answer}"));
        match (self.constraint, answers) {
            (Constraint::Answers, Some(answers)) => {
                if answers.is_empty() || answers.iter().any(|answer| answer.trim().is_empty()) {
                    return Err(Error::task(self.name, "`answers` is empty or has an empty answer"));
                }
                let mut ids: Vec<Vec<u32>> =
                    answers.iter().map(|answer| encode(answer.trim())).collect::<Result<_>>()?;
                // One that is given twice is still one.
                let mut known = BTreeSet::new();
                ids.retain(|answer| known.insert(answer.clone()));
                Ok(Some(ids))
            }
            (Constraint::Labels(labels), None) => {
                labels.iter().map(|label| encode(label)).collect::<Result<_>>().map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// A template's literals and placeholders in order.
pub(super) enum Part<'a> {
    Literal(&'a str),
    Field(Field),
}

/// A brace that opens no known field is a literal; the table's tests see to it that there are none.
pub(super) fn parts(template: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = template;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some((name, after)) = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'))
            && let Some(field) = Field::from_name(name)
        {
            rest = after;
            return Some(Part::Field(field));
        }
        let end = rest.char_indices().skip(1).find(|(_, c)| *c == '{').map_or(rest.len(), |(at, _)| at);
        let (literal, after) = rest.split_at(end);
        rest = after;
        Some(Part::Literal(literal))
    })
}
