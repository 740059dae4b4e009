//! What training consumes: samples as the model reads them, drawn by position.
//!
//! `Example` is what a row of data or a scene says, before anything depends on a vocabulary; [`Sample`] is the same in
//! ids; [`Draws`] is where samples come from.

use super::self_critical::{Rewarded, SelfCritic};
use crate::error::{Error, Result};
use crate::generate::Trie;
use crate::image::Pixels;
use crate::task::{ImageRule, Inputs, Task};
use crate::vocab::Vocab;
use crate::vocab::boxes::{self, Ratio};
use std::ops::Range;
use std::sync::Arc;

/// A question and its answer, as a person would say them.
#[derive(Debug, Clone)]
pub struct Example {
    pub task: &'static Task,
    pub inputs: Inputs,
    /// Examples about one image share it.
    pub image: Option<Arc<Pixels>>,
    pub target: Target,
    /// A factor of the sample's log-probabilities: how much the answer is to be trusted.
    pub conf: f32,
    /// What each patch of the image shows to the instruction, where that is known.
    pub referred: Option<Vec<Role>>,
    /// What the answer speaks of, where that is known; parts are bytes of a text, numbers of objects, or all of another answer.
    pub shown: Vec<Shown>,
}

/// A part of an answer, and the patches of the image that show what it speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub part: Range<usize>,
    pub patches: Vec<usize>,
}

/// What the model should answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    Text(String),
    /// Left, top, right, bottom from 0 to 1.
    Region([f32; 4]),
    /// Regions and what is in them, in the order in which they are to be written.
    Objects(Vec<([f32; 4], String)>),
    /// Numbers of image codes in raster order.
    Codes(Vec<usize>),
}

/// One sample of training, in ids.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The objective, by which losses are reported.
    pub objective: &'static str,
    /// Samples about one image share it, and the stem then runs once for all of them.
    pub image: Option<Arc<PatchImage>>,
    /// BOS, the instruction, EOS.
    pub source: Vec<u32>,
    /// What the decoder is given after BOS and not judged by.
    pub prefix: Vec<u32>,
    /// What it has to write, without EOS.
    pub target: Vec<u32>,
    /// Tokens at the front of the target that are read and not judged.
    pub unjudged: usize,
    /// Whether the target is a raster of image codes.
    pub codes: bool,
    pub conf: f32,
    /// The only targets there are; at every token only those compete that one of them has there.
    pub answers: Option<Arc<Trie>>,
    /// What the decoder reads in place of the target, of the same length: noise makes it rely on the source.
    pub misread: Option<Vec<u32>>,
    /// For each patch of the image the tokens that name what lies in it, where the source of the samples knows.
    pub patch_names: Option<Arc<Vec<Vec<u32>>>>,
    pub referred: Option<Referred>,
    /// What tokens of the target speak of, where that is known.
    pub shown: Vec<Shown>,
}

/// What an object is to an instruction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// Not referred to.
    #[default]
    Other,
    /// What is asked about.
    Target,
    /// What the target is compared with.
    Anchor,
}

/// Which patches of an image show what an instruction refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referred {
    pub patches: Vec<Role>,
    /// The tokens by which a patch says which of the [roles](Role) it has, in their order.
    pub words: [u32; 3],
}

impl Sample {
    /// A text, and what is to be written of it.
    pub fn new(objective: &'static str, source: Vec<u32>, target: Vec<u32>) -> Self {
        Self {
            objective,
            image: None,
            source,
            prefix: Vec::new(),
            target,
            unjudged: 0,
            codes: false,
            conf: 1.0,
            answers: None,
            misread: None,
            patch_names: None,
            referred: None,
            shown: Vec::new(),
        }
    }

    /// Whether it fits into a model.
    ///
    /// # Errors
    /// [`Error::Task`] for a text beyond the `positions` of a model.
    pub fn check_length(&self, positions: usize) -> Result<()> {
        let longest = self.source.len().max(self.decoder_len());
        if longest > positions {
            return Err(Error::task(self.objective, format!("{longest} tokens, at most {positions} fit")));
        }
        Ok(())
    }

    /// Positions that the decoder runs over.
    pub fn decoder_len(&self) -> usize {
        1 + self.prefix.len() + self.target.len()
    }

    /// What the decoder reads.
    pub fn previous(&self, bos: u32) -> Vec<u32> {
        [&[bos], self.prefix.as_slice(), self.misread.as_deref().unwrap_or(&self.target)].concat()
    }

    /// The only tokens that compete at a judged position; none if all do.
    pub fn allowed(&self, position: usize) -> Option<Vec<u32>> {
        let written = self.target.get(..position.checked_sub(self.prefix.len())?)?;
        self.answers.as_ref().map(|answers| answers.next(written))
    }

    /// What it should write at each position; pad where it is not judged.
    pub fn judged(&self, eos: u32, pad: u32) -> Vec<u32> {
        let unjudged = self.unjudged.min(self.target.len());
        let skipped = vec![pad; self.prefix.len() + unjudged];
        [skipped.as_slice(), &self.target[unjudged..], &[eos]].concat()
    }
}

/// An image as the stem reads it: `[3, height, width]`, normalised.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchImage {
    pub width: usize,
    pub height: usize,
    pub values: Vec<f32>,
}

impl PatchImage {
    /// What a task sees of an image, `[3, side, side]`.
    ///
    /// # Errors
    /// Those of [`ImageRule::view`].
    pub fn seen(pixels: &Pixels, rule: ImageRule) -> Result<Self> {
        let side = rule.side as usize;
        Ok(Self { width: side, height: side, values: rule.view(pixels)? })
    }
}

/// The samples of some examples, images at `side` pixels, texts from the same table that answers are asked with.
///
/// # Errors
/// Those of the tasks' prompts, and [`Error::Task`] for an example without the image that its task needs.
pub fn samples(examples: &[Example], vocab: &Vocab, side: u32) -> Result<Vec<Sample>> {
    let mut prepared: Vec<(&Arc<Pixels>, ImageRule, Arc<PatchImage>)> = Vec::new();
    let mut samples = Vec::with_capacity(examples.len());
    for example in examples {
        let image = match (example.task.image, &example.image) {
            (Some(rule), Some(pixels)) => {
                // A picture whose middle is hidden comes at its size, twice that of the codes.
                let rule = ImageRule { side: if rule.hide_middle { pixels.width() } else { side }, ..rule };
                let known = prepared.iter().find(|(known, seen, _)| Arc::ptr_eq(known, pixels) && *seen == rule);
                Some(match known {
                    Some((_, _, image)) => image.clone(),
                    None => {
                        let image = Arc::new(PatchImage::seen(pixels, rule)?);
                        prepared.push((pixels, rule, image.clone()));
                        image
                    }
                })
            }
            (Some(_), None) => return Err(Error::task(example.task.name, "needs an image")),
            (None, _) => None,
        };
        samples.push(example.sample(image, vocab, side)?);
    }
    Ok(samples)
}

impl Example {
    fn sample(&self, image: Option<Arc<PatchImage>>, vocab: &Vocab, side: u32) -> Result<Sample> {
        let prompt = self.task.seen_at(side).prompt(&self.inputs, vocab)?;
        let referred = self.referred.clone().map(|patches| referred(patches, vocab)).transpose()?;
        let tokens = |shown: &Shown| {
            let [start, end] = [shown.part.start, shown.part.end].map(|at| self.target.first(at).ids(vocab, side));
            Ok(Shown { part: start?.len()..end?.len(), ..shown.clone() })
        };
        Ok(Sample {
            image,
            referred,
            shown: self.shown.iter().map(tokens).collect::<Result<_>>()?,
            prefix: prompt.prefix,
            codes: matches!(self.target, Target::Codes(_)),
            conf: self.conf,
            ..Sample::new(self.task.name, prompt.source, self.target.ids(vocab, side)?)
        })
    }
}

fn referred(patches: Vec<Role>, vocab: &Vocab) -> Result<Referred> {
    let [no, yes, than] = [vocab.encode(" no")?, vocab.encode(" yes")?, vocab.encode(" than")?];
    let mut words = no.into_iter().zip(yes).zip(than).map(|((no, yes), than)| [no, yes, than]);
    let words = words.find(|[no, yes, than]| no != yes && yes != than && than != no);
    let words = words.ok_or_else(|| Error::task("scenes", "the vocabulary does not tell no, yes and than apart"))?;
    Ok(Referred { patches, words })
}

impl Target {
    /// Its first bytes, which end with a word, or its first objects; nothing or all of what has no parts.
    fn first(&self, length: usize) -> Self {
        match self {
            Self::Text(text) => Self::Text(text[..length.min(text.len())].trim_end().to_owned()),
            Self::Objects(objects) => Self::Objects(objects[..length.min(objects.len())].to_vec()),
            Self::Region(_) | Self::Codes(_) if length == 0 => Self::Codes(Vec::new()),
            Self::Region(_) | Self::Codes(_) => self.clone(),
        }
    }

    fn ids(&self, vocab: &Vocab, side: u32) -> Result<Vec<u32>> {
        match self {
            Self::Text(text) if text.is_empty() => Ok(Vec::new()),
            Self::Text(text) => vocab.encode(&format!(" {text}")),
            Self::Region(region) => region_ids(*region, vocab, side),
            Self::Objects(objects) => {
                let mut ids = Vec::new();
                for (region, label) in objects {
                    ids.extend(region_ids(*region, vocab, side)?);
                    ids.extend(vocab.encode(&format!(" {label}"))?);
                }
                Ok(ids)
            }
            Self::Codes(codes) => codes.iter().map(|code| vocab.code(*code)).collect(),
        }
    }
}

/// Bins count pixels of the image that the model sees, as they do when it answers.
fn region_ids(region: [f32; 4], vocab: &Vocab, side: u32) -> Result<Vec<u32>> {
    let side = side as f32;
    let bins = boxes::quantise(region, Ratio { x: side, y: side }, vocab.layout().num_bins);
    bins.into_iter().map(|bin| vocab.bin(bin)).collect()
}

/// The samples that one row of data, or one scene, gives to a step of training (reference §6.1, §7.2). The two groups
/// are two mini-batches, whose losses are averaged by themselves and then added.
#[derive(Debug, Clone, Default)]
pub struct Draw {
    /// Samples about images.
    pub main: Vec<Sample>,
    /// Samples of text, of pure images, of detection.
    pub extra: Vec<Sample>,
    /// Samples that the model answers itself.
    pub rewarded: Vec<Rewarded>,
    /// Why extra samples are not there: they are reported, and the others of the draw are learnt all the same.
    pub missing: Vec<Error>,
}

/// Where samples come from: a pure function of the position, so that a run resumes anywhere and sees the same whatever
/// the number of its workers.
pub trait Draws: Sync {
    /// Draws in an epoch; `None` if they never end.
    fn len(&self) -> Option<u64>;

    /// Whether an epoch has no draw at all.
    fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The draw at a position of an epoch.
    ///
    /// # Errors
    /// What is wrong with the row: it is skipped, counted and reported.
    fn draw(&self, epoch: u64, index: u64) -> Result<Draw>;

    /// Where the row of a draw's main samples lies, for messages.
    fn place(&self, _epoch: u64, _index: u64) -> Option<String> {
        None
    }

    /// Who tells what the model's own answers are worth, where draws ask for them.
    fn critic(&self) -> Option<&SelfCritic> {
        None
    }
}
