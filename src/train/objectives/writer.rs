//! What each pretraining objective asks and answers, in ids (reference §6.1).
//!
//! Instructions come from the table of tasks, and an objective is called as its task is.

use crate::error::Result;
use crate::task::{Inputs, find};
use crate::train::Sample;
use crate::train::noise::{Chance, WordStarts};
use crate::vocab::boxes::{self, MAX_IMAGE_SIZE, Ratio};
use crate::vocab::{Vocab, clean};

/// Words that are kept of a caption to be written, and of a question or caption to be read.
const TARGET_WORDS: usize = 30;
const SOURCE_WORDS: usize = 80;
/// Of a text the last so many of its first so many tokens are used.
const TEXT_TOKENS: (usize, usize) = (512, 256);
/// How much more the objectives count that are drawn for every eighth row only.
const EXTRA_CONF: f32 = 2.0;

/// What stands in the instruction of `infill_text` for the text; its tokens go in before the last two, which close the
/// quotation and the question.
const NOISED: &str = " {text}";
const NOISED_END: usize = 2;

/// Captions from here begin with words that are not worth learning; the first two tokens are read but not judged.
const UNRELIABLE_DATASET: &str = "cc12m";
const UNRELIABLE_TOKENS: usize = 2;

/// Writes samples; their images are put in by the caller.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    vocab: &'a Vocab,
}

impl<'a> Writer<'a> {
    pub fn new(vocab: &'a Vocab) -> Self {
        Self { vocab }
    }

    /// An image, its caption.
    ///
    /// # Errors
    /// Those of [`Vocab::encode`] and of the task's prompt; so of all that follow.
    pub fn caption(&self, caption: &str, dataset: &str) -> Result<Sample> {
        let target = self.words(&clean::pre_caption(caption, TARGET_WORDS))?;
        let mut sample = self.sample("caption", &Inputs::default(), target)?;
        if dataset == UNRELIABLE_DATASET {
            sample.unjudged = UNRELIABLE_TOKENS;
        }
        Ok(sample)
    }

    /// An image and a caption: do they belong together?
    pub fn matching(&self, caption: &str, matches: bool) -> Result<Sample> {
        let inputs = Inputs { text: Some(caption.to_owned()), ..Inputs::default() };
        self.sample("match", &inputs, self.yes_or_no(matches)?)
    }

    /// An image and a question: its answer.
    pub fn question(&self, question: &str, answer: &str, conf: f32) -> Result<Sample> {
        // The table's prompt would end in a question mark; in pretraining a question stands as the data have it.
        let source = self.asked(&format!(" {}", clean::pre_question(question, SOURCE_WORDS)))?;
        Ok(Sample { conf, ..Sample::new("vqa", source, self.words(answer)?) })
    }

    /// An image, a question and an answer: is it right?
    pub fn answer_matching(&self, question: &str, answer: &str, conf: f32, right: bool) -> Result<Sample> {
        let (text, text2) = (Some(question.to_owned()), Some(answer.to_owned()));
        let inputs = Inputs { text, text2, ..Inputs::default() };
        Ok(Sample { conf, ..self.sample("vqa_match", &inputs, self.yes_or_no(right)?)? })
    }

    /// An image and a phrase: its box, `corners` in pixels of the image that the model sees.
    pub fn grounding(&self, phrase: &str, corners: [f32; 4]) -> Result<Sample> {
        let inputs = Inputs { text: Some(phrase.to_owned()), ..Inputs::default() };
        self.sample("grounding", &inputs, self.bins(corners)?)
    }

    /// An image and a box, in pixels of the image that the model sees: the phrase.
    pub fn region_caption(&self, phrase: &str, corners: [f32; 4]) -> Result<Sample> {
        // Bins count 512 pixels whatever the image's side, so the region is given as a part of those.
        let region = corners.map(|side| (side / MAX_IMAGE_SIZE).min(1.0));
        let inputs = Inputs { region: Some(region), ..Inputs::default() };
        let target = self.words(&clean::pre_caption(phrase, TARGET_WORDS))?;
        self.sample("region_caption", &inputs, target)
    }

    /// An image: what is in it and where, in the order given.
    pub fn detection(&self, objects: &[([f32; 4], String)]) -> Result<Sample> {
        let mut target = Vec::new();
        for (corners, label) in objects {
            target.extend(self.bins(*corners)?);
            target.extend(self.words(label)?);
        }
        Ok(Sample { conf: EXTRA_CONF, ..self.sample("detect", &Inputs::default(), target)? })
    }

    /// An image without its middle: the codes of the middle.
    pub fn image_infilling(&self, codes: &[usize]) -> Result<Sample> {
        let target = codes.iter().map(|code| self.vocab.code(*code)).collect::<Result<_>>()?;
        let sample = self.sample("infill_image", &Inputs::default(), target)?;
        Ok(Sample { conf: EXTRA_CONF, codes: true, ..sample })
    }

    /// A text with words missing: the whole text.
    pub fn text_infilling(&self, text: &str, starts: &WordStarts, chance: &mut dyn Chance) -> Result<Sample> {
        let layout = self.vocab.layout();
        let mut target = self.words(&text.trim().to_lowercase())?;
        target.truncate(TEXT_TOKENS.0);
        let target = target.split_off(target.len().saturating_sub(TEXT_TOKENS.1));
        let closed = [&[layout.bos], target.as_slice(), &[layout.eos]].concat();
        let noised = starts.noised(&closed, chance);
        let task = find("infill_text")?;
        let instruction: String = task.templates.iter().take(1).map(|template| template.replace(NOISED, "")).collect();
        let mut source = self.asked(&instruction)?;
        let at = source.len() - 1 - NOISED_END;
        source.splice(at..at, noised[1..noised.len() - 1].iter().copied());
        Ok(Sample { conf: EXTRA_CONF, ..Sample::new(task.name, source, target) })
    }

    /// A sample of a task in its own words.
    fn sample(&self, task: &str, inputs: &Inputs, target: Vec<u32>) -> Result<Sample> {
        let task = find(task)?;
        Ok(Sample::new(task.name, task.prompt(inputs, self.vocab)?.source, target))
    }

    /// BOS, a text, EOS.
    fn asked(&self, text: &str) -> Result<Vec<u32>> {
        let layout = self.vocab.layout();
        Ok([&[layout.bos], self.vocab.encode(text)?.as_slice(), &[layout.eos]].concat())
    }

    /// Whatever is to be written begins with a space.
    fn words(&self, text: &str) -> Result<Vec<u32>> {
        self.vocab.encode(&format!(" {text}"))
    }

    fn yes_or_no(&self, yes: bool) -> Result<Vec<u32>> {
        self.words(if yes { "yes" } else { "no" })
    }

    fn bins(&self, corners: [f32; 4]) -> Result<Vec<u32>> {
        let bins = boxes::quantise(corners, Ratio { x: 1.0, y: 1.0 }, self.vocab.layout().num_bins);
        bins.into_iter().map(|bin| self.vocab.bin(bin)).collect()
    }
}
