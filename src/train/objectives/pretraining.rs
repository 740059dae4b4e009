//! Rows of the pretraining files as draws: two samples a row, and every eighth time texts, an image, objects.

use super::{Negatives, Writer};
use crate::error::Result;
use crate::train::augment::{ImageSizes, Picture, patches};
use crate::train::data::{EpochFiles, Record, item_random};
use crate::train::noise::WordStarts;
use crate::train::{Draw, Draws, PatchImage, Sample};
use crate::vocab::Vocab;
use std::sync::Arc;

/// What rows about images are for.
pub(super) const PRETRAINED: &str = "caption, qa or visual_grounding";
/// So many rows about images bring one round of the other files.
const ROUND: u64 = 8;
/// Texts a round.
const TEXTS: u64 = 2;
/// Pixels of a code's square in each direction, and the part of an image's side that its middle has.
const CODE_PIXELS: usize = 8;
const MIDDLE: usize = 2;

/// What is read.
pub struct PretrainingData {
    /// Captions, questions, boxes: kind `vision_language`.
    pub main: EpochFiles,
    /// Kind `text`.
    pub texts: Option<EpochFiles>,
    /// Kind `image`: images and the codes of their middle.
    pub images: Option<EpochFiles>,
    /// Kind `detection`.
    pub detection: Option<EpochFiles>,
    pub negatives: Negatives,
}

/// Pretraining of all objectives (reference §6.1).
pub struct Pretraining {
    data: PretrainingData,
    vocab: Arc<Vocab>,
    starts: WordStarts,
    sizes: ImageSizes,
    seed: u64,
}

impl Pretraining {
    /// Order, augmentation and negatives follow from `seed`.
    pub fn new(data: PretrainingData, vocab: Arc<Vocab>, sizes: ImageSizes, seed: u64) -> Self {
        let starts = WordStarts::new(&vocab);
        Self { data, vocab, starts, sizes, seed }
    }

    fn writer(&self) -> Writer<'_> {
        Writer::new(&self.vocab)
    }

    fn about_image(&self, record: &Record, epoch: u64, random: &mut fastrand::Rng) -> Result<Vec<Sample>> {
        match record.text("task")?.as_str() {
            "caption" => self.captioned(record, epoch, random),
            "qa" => self.questioned(record, epoch, random),
            "visual_grounding" => self.grounded(record, random),
            other => Err(record.fail(format!("`task`: expected {PRETRAINED}, found {other}"))),
        }
    }

    fn captioned(&self, record: &Record, epoch: u64, random: &mut fastrand::Rng) -> Result<Vec<Sample>> {
        let (caption, objects) = (record.text("caption")?, record.texts("objects")?);
        let dataset = record.text("dataset").unwrap_or_default();
        let image = self.sizes.about_text(record.pixels()?, random)?;
        let mut samples = vec![self.writer().caption(&caption, &dataset)?];
        if random.bool() {
            samples.push(self.writer().matching(&caption, true)?);
        } else {
            let another = |random: &mut fastrand::Rng| Ok(self.another(epoch, random)?.text("caption").ok());
            let negative = self.data.negatives.caption(&caption, &objects, &another, random)?;
            samples.extend(negative.map(|negative| self.writer().matching(&negative, false)).transpose()?);
        }
        Ok(with_image(samples, image))
    }

    fn questioned(&self, record: &Record, epoch: u64, random: &mut fastrand::Rng) -> Result<Vec<Sample>> {
        let question = record.text("question")?;
        let (answer, conf) = most_trusted(record.answers("answer")?);
        let image = self.sizes.about_text(record.pixels()?, random)?;
        let mut samples = vec![self.writer().question(&question, &answer, conf)?];
        if random.bool() {
            samples.push(self.writer().answer_matching(&question, &answer, conf, true)?);
        } else {
            let another = |random: &mut fastrand::Rng| {
                let other = self.another(epoch, random)?;
                let questions = other.text("task").is_ok_and(|task| task == "qa");
                Ok(other.answers("answer").ok().filter(|_| questions).map(|answers| most_trusted(answers).0))
            };
            let negative = self.data.negatives.answer(&answer, conf, &another, random)?;
            let wrong = negative.map(|wrong| self.writer().answer_matching(&question, &wrong, conf, false));
            samples.extend(wrong.transpose()?);
        }
        Ok(with_image(samples, image))
    }

    fn grounded(&self, record: &Record, random: &mut fastrand::Rng) -> Result<Vec<Sample>> {
        let phrase = record.text("caption")?;
        // The original's files keep the box where questions keep their answer.
        let pixels = record.pixels()?;
        let name = if record.optional("box").is_some() { "box" } else { "answer" };
        let corners = record.corners_in(name, pixels.size())?;
        let picture = Picture { pixels, boxes: vec![(corners, phrase.clone())] };
        let Picture { pixels, boxes } = self.sizes.about_region(picture, random)?;
        let mut samples = Vec::new();
        for (corners, phrase) in &boxes {
            samples.push(self.writer().grounding(phrase, *corners)?);
            samples.push(self.writer().region_caption(phrase, *corners)?);
        }
        Ok(with_image(samples, patches(&pixels)))
    }

    /// Any row of the main file.
    fn another(&self, epoch: u64, random: &mut fastrand::Rng) -> Result<Record> {
        let file = self.data.main.of(epoch);
        file.record(random.u64(..file.len()))
    }

    /// A sample of each row of a round, or what is wrong with the row.
    fn round(&self, epoch: u64, round: u64, random: &mut fastrand::Rng) -> Vec<Result<Sample>> {
        let mut samples = Vec::new();
        if let Some(texts) = &self.data.texts {
            for text in TEXTS * round..TEXTS * (round + 1) {
                let record = texts.drawn(self.seed, epoch, text);
                samples.push(of_row(record, |record| self.completed(record, random)));
            }
        }
        if let Some(images) = &self.data.images {
            samples.push(of_row(images.drawn(self.seed, epoch, round), |record| self.infilled(record)));
        }
        if let Some(detection) = &self.data.detection {
            samples.push(of_row(detection.drawn(self.seed, epoch, round), |record| self.detected(record, random)));
        }
        samples
    }

    fn completed(&self, record: &Record, random: &mut fastrand::Rng) -> Result<Sample> {
        self.writer().text_infilling(&record.text("text")?, &self.starts, random)
    }

    fn infilled(&self, record: &Record) -> Result<Sample> {
        let codes = record.numbers("codes")?;
        let side = self.sizes.extra_side as usize / MIDDLE / CODE_PIXELS;
        if codes.len() != side * side {
            return Err(record.fail(format!("`codes`: expected {side} x {side}, found {}", codes.len())));
        }
        let image = Some(Arc::new(self.sizes.without_middle(&record.pixels()?)?));
        Ok(Sample { image, ..self.writer().image_infilling(&codes)? })
    }

    fn detected(&self, record: &Record, random: &mut fastrand::Rng) -> Result<Sample> {
        let picture = Picture { pixels: record.pixels()?, boxes: record.objects("boxes")? };
        let Picture { pixels, boxes } = self.sizes.of_objects(picture, random)?;
        if boxes.is_empty() {
            return Err(record.fail("`boxes`: none of them lies in the image"));
        }
        Ok(Sample { image: Some(Arc::new(patches(&pixels))), ..self.writer().detection(&boxes)? })
    }
}

impl Draws for Pretraining {
    fn len(&self) -> Option<u64> {
        Some(self.data.main.len())
    }

    fn draw(&self, epoch: u64, index: u64) -> Result<Draw> {
        let mut random = item_random(self.seed, epoch, index);
        let record = self.data.main.drawn(self.seed, epoch, index);
        let main = of_row(record, |record| self.about_image(record, epoch, &mut random))?;
        let mut draw = Draw { main, ..Draw::default() };
        if index.is_multiple_of(ROUND) {
            for sample in self.round(epoch, index / ROUND, &mut random) {
                match sample {
                    Ok(sample) => draw.extra.push(sample),
                    Err(error) => draw.missing.push(error),
                }
            }
        }
        Ok(draw)
    }

    fn place(&self, epoch: u64, index: u64) -> Option<String> {
        self.data.main.drawn(self.seed, epoch, index).ok().map(|record| record.place)
    }
}

/// What is made of a row. Errors name the row.
fn of_row<T>(record: Result<Record>, make: impl FnOnce(&Record) -> Result<T>) -> Result<T> {
    let record = record?;
    make(&record).map_err(|error| record.explain(error))
}

/// The first of those that are trusted most.
fn most_trusted(answers: Vec<(String, f32)>) -> (String, f32) {
    let best = answers.into_iter().reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.unwrap_or_default()
}

fn with_image(samples: Vec<Sample>, image: PatchImage) -> Vec<Sample> {
    let image = Arc::new(image);
    samples.into_iter().map(|sample| Sample { image: Some(image.clone()), ..sample }).collect()
}
