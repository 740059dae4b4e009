//! From a task's metric, answers and references to numbers with names.

use super::words::{caption_words, mean};
use super::{bleu, boxes, cider, edit, labels, mentions, rouge, summary};
use crate::error::{Error, Result};
use crate::task::{Answer, Constraint, Metric, Task};
use crate::train::Reference;

/// Measures and their values; the one that the task is known by comes first.
pub type Scores = Vec<(&'static str, f64)>;

/// An answer and what it is compared with.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    pub answer: &'a Answer,
    pub reference: &'a Reference,
    /// Width and height of the image, in whose pixels boxes are compared.
    pub image: Option<(u32, u32)>,
}

/// Measures the answers of one task.
pub struct Measure {
    task: &'static Task,
    /// Of all captions, so that a group's CIDEr-D does not depend on what else is in the group.
    frequencies: cider::DocumentFrequencies,
}

impl Measure {
    /// Takes the frequencies of n-grams from the references themselves, unless `frequencies` are given.
    pub fn new(task: &'static Task, all: &[Judged<'_>], frequencies: Option<cider::DocumentFrequencies>) -> Self {
        let own = || {
            let captions: Vec<Vec<String>> =
                all.iter().filter_map(|one| texts(one.reference)).map(|texts| joined(texts)).collect();
            cider::DocumentFrequencies::of(captions.iter().map(Vec::as_slice))
        };
        let frequencies =
            frequencies.unwrap_or_else(|| if task.metric == Metric::Cider { own() } else { Default::default() });
        Self { task, frequencies }
    }

    /// # Errors
    /// [`Error::Task`] for an answer that the reference says nothing about.
    pub fn scores(&self, judged: &[Judged<'_>]) -> Result<Scores> {
        match self.task.metric {
            Metric::Cider => self.captions(judged),
            Metric::VqaScore => Ok(vec![("vqa_score", mean(self.credits(judged)?))]),
            Metric::Accuracy => {
                let mut scores = vec![("accuracy", mean(self.credits(judged)?))];
                if self.positive().is_some() {
                    scores.push(("f1", self.confusion(judged)?.f1()));
                }
                Ok(scores)
            }
            Metric::Matthews => {
                let accuracy = mean(self.credits(judged)?);
                Ok(vec![("matthews", self.confusion(judged)?.matthews()), ("accuracy", accuracy)])
            }
            Metric::AccuracyAtHalf => self.places(judged),
            Metric::F1AtHalf => self.objects(judged),
            Metric::Rouge => self.summaries(judged),
            Metric::EditDistance => self.readings(judged),
            Metric::Unmeasured => Ok(Scores::new()),
        }
    }

    /// CIDEr-D, BLEU and ROUGE-L where there are captions, mentions where there is a list of what to mention.
    fn captions(&self, judged: &[Judged<'_>]) -> Result<Scores> {
        let (mut captions, mut things) = (Vec::new(), Vec::new());
        for one in judged {
            let said = self.text(one)?;
            match one.reference {
                Reference::Texts(texts) => captions.push((said, texts)),
                Reference::Mentions(expected) => things.push(mentions::mentioned(said, expected)),
                _ => return Err(self.incomparable(one)),
            }
        }
        let mut scores = Scores::new();
        if !captions.is_empty() {
            let cider = |(said, references): &(&str, &Vec<String>)| {
                cider::cider_d(&caption_words(said).join(" "), &joined(references), &self.frequencies)
            };
            let words: Vec<(Vec<String>, Vec<Vec<String>>)> = captions
                .iter()
                .map(|(said, references)| {
                    (caption_words(said), references.iter().map(|text| caption_words(text)).collect())
                })
                .collect();
            let [bleu_1, bleu_2, bleu_3, bleu_4] =
                bleu::bleu(words.iter().map(|(said, references)| (said.as_slice(), references.as_slice())));
            let rouge_l = mean(words.iter().map(|(said, references)| rouge::rouge_l(said, references)));
            scores.push(("cider", mean(captions.iter().map(cider))));
            scores.extend([("bleu_1", bleu_1), ("bleu_2", bleu_2), ("bleu_3", bleu_3), ("bleu_4", bleu_4)]);
            scores.push(("rouge_l", rouge_l));
        }
        if !things.is_empty() {
            let complete = things.iter().map(|share| f64::from(u8::from(*share == 1.0)));
            scores.extend([("mentions", mean(complete)), ("mention_recall", mean(things.iter().copied()))]);
        }
        Ok(scores)
    }

    /// How right each answer is, from 0 to 1.
    fn credits(&self, judged: &[Judged<'_>]) -> Result<Vec<f64>> {
        let credit = |one: &Judged<'_>| {
            let said = self.text(one)?;
            match one.reference {
                Reference::Texts(texts) => Ok(f64::from(u8::from(texts.iter().any(|text| text == said)))),
                Reference::Scored(scored) => Ok(labels::credit(said, scored)),
                _ => Err(self.incomparable(one)),
            }
        };
        judged.iter().map(credit).collect()
    }

    /// The label that counts as found, of tasks with two.
    fn positive(&self) -> Option<&'static str> {
        match self.task.constraint {
            Constraint::Labels(&[_, positive]) => Some(positive),
            _ => None,
        }
    }

    fn confusion(&self, judged: &[Judged<'_>]) -> Result<labels::Confusion> {
        let positive = self.positive().ok_or_else(|| Error::task(self.task.name, "has not two labels"))?;
        let pair = |one: &Judged<'_>| {
            let expected = texts(one.reference).ok_or_else(|| self.incomparable(one))?;
            Ok((self.text(one)? == positive, expected.iter().any(|text| text == positive)))
        };
        judged.iter().map(pair).collect()
    }

    fn places(&self, judged: &[Judged<'_>]) -> Result<Scores> {
        let overlap = |one: &Judged<'_>| {
            let (Answer::Boxes { boxes, .. }, Reference::Region(region), Some(image)) =
                (one.answer, one.reference, one.image)
            else {
                return Err(self.incomparable(one));
            };
            Ok(boxes.first().map_or(0.0, |found| boxes::overlap(found.pixels, boxes::in_pixels(*region, image))))
        };
        let overlaps: Vec<f64> = judged.iter().map(overlap).collect::<Result<_>>()?;
        let right = overlaps.iter().map(|overlap| f64::from(u8::from(*overlap >= boxes::HALF)));
        Ok(vec![("accuracy_at_half", mean(right)), ("mean_iou", mean(overlaps.iter().copied()))])
    }

    fn objects(&self, judged: &[Judged<'_>]) -> Result<Scores> {
        let matches = |one: &Judged<'_>| {
            let (Answer::Objects { objects, .. }, Reference::Objects(expected), Some(image)) =
                (one.answer, one.reference, one.image)
            else {
                return Err(self.incomparable(one));
            };
            let found: Vec<_> = objects.iter().map(|object| (object.pixels, object.label.as_str())).collect();
            let expected: Vec<_> =
                expected.iter().map(|(region, label)| (boxes::in_pixels(*region, image), label.as_str())).collect();
            Ok(boxes::Matches::of(&found, &expected))
        };
        let all = boxes::Matches::sum(judged.iter().map(matches).collect::<Result<Vec<_>>>()?);
        Ok(vec![("f1_at_half", all.f1()), ("precision", all.precision()), ("recall", all.recall())])
    }

    fn summaries(&self, judged: &[Judged<'_>]) -> Result<Scores> {
        let rouge = |one: &Judged<'_>| {
            let references = texts(one.reference).ok_or_else(|| self.incomparable(one))?;
            Ok(rouge::rouge(&summary::summary_output(self.text(one)?), references))
        };
        let all: Vec<rouge::Rouge> = judged.iter().map(rouge).collect::<Result<_>>()?;
        Ok(vec![
            ("rouge_l", mean(all.iter().map(|rouge| rouge.l))),
            ("rouge_1", mean(all.iter().map(|rouge| rouge.one))),
            ("rouge_2", mean(all.iter().map(|rouge| rouge.two))),
        ])
    }

    fn readings(&self, judged: &[Judged<'_>]) -> Result<Scores> {
        let similarity = |one: &Judged<'_>| {
            let references = texts(one.reference).ok_or_else(|| self.incomparable(one))?;
            let read = edit::without_spaces(self.text(one)?);
            Ok(references.iter().map(|text| edit::similarity(&read, &edit::without_spaces(text))).fold(0.0, f64::max))
        };
        let all: Vec<f64> = judged.iter().map(similarity).collect::<Result<_>>()?;
        let exact = all.iter().map(|similarity| f64::from(u8::from(*similarity == 1.0)));
        Ok(vec![("accuracy", mean(exact)), ("edit_similarity", mean(all.iter().copied()))])
    }

    fn text<'a>(&self, one: &Judged<'a>) -> Result<&'a str> {
        one.answer.text().ok_or_else(|| self.incomparable(one))
    }

    fn incomparable(&self, one: &Judged<'_>) -> Error {
        let reference = match one.reference {
            Reference::Texts(_) => "texts",
            Reference::Scored(_) => "scored answers",
            Reference::Region(_) => "a region of an image",
            Reference::Objects(_) => "objects of an image",
            Reference::Mentions(_) => "things to mention",
        };
        let metric = self.task.metric;
        Error::task(
            self.task.name,
            format!("{metric:?} cannot compare {:?} answers with {reference}", self.task.answer),
        )
    }
}

fn texts(reference: &Reference) -> Option<&Vec<String>> {
    match reference {
        Reference::Texts(texts) => Some(texts),
        _ => None,
    }
}

/// Captions as CIDEr-D counts them.
fn joined(texts: &[String]) -> Vec<String> {
    texts.iter().map(|text| caption_words(text).join(" ")).collect()
}
