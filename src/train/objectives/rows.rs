//! Rows of one task's files as questions to evaluate with and examples to train on (reference §6.2, §6.3).

use crate::error::{Error, Result};
use crate::image::Pixels;
use crate::task::find;
use crate::task::{Constraint, Inputs, PromptType, Task};
use crate::train::data::{CLASS, Kind, Record, Records};
use crate::train::{Example, Question, Reference, Rewarded, Sample, Target, samples};
use crate::vocab::{Vocab, clean};
use std::sync::Arc;

/// Words that the original's scripts keep of captions to be learnt.
pub const CAPTION_WORDS: usize = 20;
/// Words that are kept of a summary (reference §7.3), and tokens of an answer.
const SUMMARY_WORDS: usize = 64;
const ANSWER_TOKENS: usize = 30;
/// Ids below this are no text.
const SPECIALS: u32 = 4;

/// How rows are read.
#[derive(Debug, Clone, PartialEq)]
pub struct RowOptions {
    /// In place of the task's own.
    pub prompt_type: Option<PromptType>,
    /// The only answers there are: names of classes, the usual answers of visual questions.
    pub answers: Option<Vec<String>>,
    /// Whether names of objects follow a question.
    pub objects: bool,
    /// Whether an image's caption comes with the sentence to be judged.
    pub caption: bool,
    /// Words kept of captions.
    pub caption_words: usize,
    /// The share of tokens that the decoder reads wrong in training.
    pub noise: f64,
    /// Codes a side of the pictures that are learnt; any number unless given.
    pub code_grid: Option<usize>,
}

impl Default for RowOptions {
    fn default() -> Self {
        Self {
            prompt_type: None,
            answers: None,
            objects: false,
            caption: false,
            caption_words: CAPTION_WORDS,
            noise: 0.0,
            code_grid: None,
        }
    }
}

/// Reads the rows of one task.
#[derive(Debug)]
pub struct Rows {
    task: &'static Task,
    options: RowOptions,
}

impl Rows {
    /// # Errors
    /// [`Error::Task`] for an unknown task, [`Error::Option`] for one that has no files.
    pub fn new(task: &str, options: RowOptions) -> Result<Self> {
        Kind::of_task(task)?;
        Ok(Self { task: find(task)?, options })
    }

    pub fn task(&self) -> &'static Task {
        self.task
    }

    /// The only answers there are, in ids; none if anything may be answered.
    ///
    /// # Errors
    /// Those of [`Task::candidates`].
    pub fn candidates(&self, vocab: &Vocab) -> Result<Option<Vec<Vec<u32>>>> {
        let open = self.task.constraint == Constraint::Answers;
        self.task.candidates(self.options.answers.as_deref().filter(|_| open), vocab)
    }

    /// All questions of a file.
    pub fn questions<'a>(&'a self, records: &'a dyn Records) -> impl Iterator<Item = Result<Question>> + 'a {
        (0..records.len()).map(|row| self.question(&records.record(row)?))
    }

    /// A row as evaluation asks it.
    ///
    /// # Errors
    /// [`Error::File`] naming the row and what is missing or wrong in it.
    pub fn question(&self, record: &Record) -> Result<Question> {
        let image = self.task.image.map(|_| record.pixels()).transpose()?;
        let (mut inputs, reference) = self.read(record, image.as_ref())?;
        inputs.prompt_type = self.options.prompt_type;
        if self.task.constraint == Constraint::Answers {
            inputs.answers = self.options.answers.clone();
        }
        let id = record.text("id").unwrap_or_else(|_| record.place.clone());
        let group = record.text("group").ok();
        Ok(Question { id, task: self.task, image, inputs, reference, group })
    }

    /// A row as training learns it: of several captions one by chance, of several answers the most trusted with its
    /// confidence.
    ///
    /// # Errors
    /// As [`Rows::question`].
    pub fn example(&self, record: &Record, random: &mut fastrand::Rng) -> Result<Example> {
        self.learnt(self.question(record)?, record, random)
    }

    fn learnt(&self, question: Question, record: &Record, random: &mut fastrand::Rng) -> Result<Example> {
        let Question { task, image, inputs, reference, .. } = question;
        let mut conf = 1.0;
        let target = match reference {
            _ if task.constraint == Constraint::Codes => Target::Codes(self.codes(record)?),
            Reference::Texts(texts) => {
                let text = random.choice(texts).ok_or_else(|| record.fail("there is nothing to learn"))?;
                // Evaluation compares with whole ones.
                Target::Text(match task.name {
                    "caption" => clean::joined_words(&text, self.options.caption_words),
                    "summary" => clean::joined_words(&text, SUMMARY_WORDS),
                    _ => text,
                })
            }
            Reference::Scored(answers) => {
                let best = answers.into_iter().reduce(|best, next| if next.1 > best.1 { next } else { best });
                let (answer, score) = best.ok_or_else(|| record.fail("there is no answer"))?;
                conf = score;
                Target::Text(answer)
            }
            Reference::Region(region) => Target::Region(region),
            Reference::Objects(objects) => Target::Objects(objects),
            Reference::Mentions(_) => return Err(record.fail("a list of things to mention is no text to learn")),
        };
        Ok(Example { task, inputs, image: image.map(Arc::new), target, conf, referred: None, shown: Vec::new() })
    }

    /// A row as a sample, its image at `side` pixels.
    ///
    /// # Errors
    /// As [`Rows::question`]; those of the prompt name the row too.
    pub fn sample(&self, record: &Record, vocab: &Vocab, side: u32, random: &mut fastrand::Rng) -> Result<Sample> {
        let mut sample = self.in_ids(self.example(record, random)?, record, vocab, side)?;
        if self.options.noise > 0.0 {
            let texts = SPECIALS..vocab.layout().mask;
            let mut read = |id: &u32| if random.f64() < self.options.noise { random.u32(texts.clone()) } else { *id };
            sample.misread = Some(sample.target.iter().map(&mut read).collect());
        }
        Ok(sample)
    }

    /// A row whose texts the model is to match with one of its own.
    ///
    /// # Errors
    /// As [`Rows::sample`], and for rows that have no texts.
    pub fn rewarded(&self, record: &Record, vocab: &Vocab, side: u32, random: &mut fastrand::Rng) -> Result<Rewarded> {
        let question = self.question(record)?;
        let Reference::Texts(references) = question.reference.clone() else {
            return Err(record.fail("there is no text to compare the model's own with"));
        };
        let sample = self.in_ids(self.learnt(question, record, random)?, record, vocab, side)?;
        Ok(Rewarded { sample, references })
    }

    fn in_ids(&self, mut example: Example, record: &Record, vocab: &Vocab, side: u32) -> Result<Sample> {
        // Answers to choose from matter to evaluation; encoding thousands of them for each sample would take longer
        // than the rest of it.
        example.inputs.answers = None;
        let sample = samples(std::slice::from_ref(&example), vocab, side).map_err(|error| record.explain(error))?.pop();
        let mut sample = sample.ok_or_else(|| record.fail("there is nothing to learn"))?;
        match (self.task.name, &example.target) {
            ("vqa", _) => sample.target.truncate(ANSWER_TOKENS),
            // Summaries are the one target that the original learns without a space in front.
            ("summary", Target::Text(text)) => sample.target = vocab.encode(text)?,
            _ => {}
        }
        Ok(sample)
    }

    fn read(&self, record: &Record, image: Option<&Pixels>) -> Result<(Inputs, Reference)> {
        let field = |name: &str| record.text(name).map(Some);
        let asking = |name: &str| Ok::<_, Error>(Inputs { text: field(name)?, ..Inputs::default() });
        Ok(match self.task.name {
            "caption" => {
                let captions = record.texts("caption")?;
                let cleaned = |caption: &String| clean::caption_target(caption, usize::MAX);
                let captions: Vec<String> =
                    captions.iter().map(cleaned).filter(|caption| !caption.is_empty()).collect();
                if captions.is_empty() {
                    return Err(record.fail("`caption` is missing or empty"));
                }
                (Inputs::default(), Reference::Texts(captions))
            }
            "vqa" => {
                let objects = record.texts("objects")?;
                let objects = Some(objects).filter(|objects| self.options.objects && !objects.is_empty());
                (Inputs { objects, ..asking("question")? }, Reference::Scored(record.answers("answer")?))
            }
            "grounding" => {
                let (width, height) = image.map_or((1, 1), Pixels::size);
                let [left, top, right, bottom] = record.corners_in("box", (width, height))?;
                let (width, height) = (width as f32, height as f32);
                let region = [left / width, top / height, right / width, bottom / height];
                (asking("text")?, Reference::Region(region))
            }
            "entailment" => {
                let caption = if self.options.caption { field("caption")? } else { None };
                (Inputs { caption, ..asking("text")? }, self.label(record)?)
            }
            "classify" => (Inputs::default(), Reference::Texts(vec![self.class(record)?])),
            "image_gen" => (asking("caption")?, Reference::Texts(vec![record.text("caption")?])),
            "summary" => {
                let summary = clean::pre_caption(&record.text("target")?, usize::MAX);
                (asking("text")?, Reference::Texts(vec![summary]))
            }
            "ocr" => (Inputs::default(), Reference::Texts(vec![record.text("text")?.trim().to_lowercase()])),
            _ => {
                let text2 = record.optional("text2").map(|_| record.text("text2")).transpose()?;
                (Inputs { text2, ..asking("text")? }, self.label(record)?)
            }
        })
    }

    /// As many as the model draws.
    fn codes(&self, record: &Record) -> Result<Vec<usize>> {
        let codes = record.numbers("codes")?;
        match self.options.code_grid {
            Some(side) if codes.len() != side * side => {
                Err(record.fail(format!("`codes`: expected {side} x {side}, found {}", codes.len())))
            }
            _ => Ok(codes),
        }
    }

    /// The name of a class. The number that a shard's `.cls` holds is a line of the answers.
    fn class(&self, record: &Record) -> Result<String> {
        let label = record.text("label")?;
        let number = record.optional(CLASS).and_then(|_| label.parse::<usize>().ok());
        let Some(number) = number else { return Ok(label) };
        let Some(names) = &self.options.answers else {
            let reason = format!(".cls: class {number} has no name: give answers, a file with a name a line");
            return Err(record.fail(reason));
        };
        let outside = || record.fail(format!(".cls: expected one of {} classes, found {number}", names.len()));
        names.get(number).cloned().ok_or_else(outside)
    }

    /// One of the task's words: by itself, by its number, or by what data sets call it.
    fn label(&self, record: &Record) -> Result<Reference> {
        let Constraint::Labels(labels) = self.task.constraint else {
            return Err(Error::task(self.task.name, "has no labels"));
        };
        let label = record.text("label")?.trim().to_lowercase();
        let word = match label.as_str() {
            "entailment" => "yes",
            "contradiction" | "not_entailment" => "no",
            "neutral" => "maybe",
            other => other.parse().ok().and_then(|number: usize| labels.get(number).copied()).unwrap_or(other),
        };
        match labels.contains(&word) {
            true => Ok(Reference::Texts(vec![word.to_owned()])),
            false => Err(record.fail(format!("`label`: expected one of {}, found {label}", labels.join(", ")))),
        }
    }
}
