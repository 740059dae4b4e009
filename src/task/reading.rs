//! From generated ids to what the caller asked for.

use super::answer::{Answer, Likely, Located, Object, Scored};
use super::{AnswerKind, ImageRule, Task};
use crate::vocab::boxes::{self, Ratio};
use crate::vocab::{Vocab, clean};

/// One generated sequence, as the search returns it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hypothesis {
    /// The tokens, the decoder's prefix and EOS among them.
    pub tokens: Vec<u32>,
    /// What the search ranked it by.
    pub score: f64,
    /// The log-probability of each token.
    pub token_scores: Vec<f64>,
}

/// What of the question the answer depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnswerContext<'a> {
    /// Tokens of the decoder's prefix; they are at the front of each hypothesis.
    pub prefix_len: usize,
    /// Width and height of the image as the caller has it.
    pub image: Option<(u32, u32)>,
    /// The side the model saw it at, if another than the task's own.
    pub side: Option<u32>,
    /// The words that a box is to be found for.
    pub phrase: &'a str,
}

impl Task {
    /// Reads the hypotheses, the best first, as this task's answer. No hypothesis gives an empty answer.
    pub fn answer(&self, hypotheses: &[Hypothesis], context: &AnswerContext<'_>, vocab: &Vocab) -> Answer {
        let reader = Reader { context, vocab, frame: self.frame(context) };
        match self.answer {
            AnswerKind::Text => reader.text(hypotheses, str::to_owned),
            AnswerKind::Caption => reader.text(hypotheses, clean::caption_output),
            AnswerKind::Label => reader.labels(hypotheses),
            AnswerKind::Box => reader.boxes(hypotheses),
            AnswerKind::Objects => reader.objects(hypotheses),
            AnswerKind::Codes => reader.codes(hypotheses),
        }
    }

    fn frame(&self, context: &AnswerContext<'_>) -> Option<Frame> {
        let side = context.side.or(self.image.map(|ImageRule { side, .. }| side))?;
        context.image.map(|size| Frame { size, side })
    }
}

/// The caller's image, and the side of the square that the model saw of it.
struct Frame {
    size: (u32, u32),
    side: u32,
}

impl Frame {
    /// Pixels of the caller's image, and the same from 0 to 1.
    fn place(&self, bins: [usize; 4], num_bins: usize) -> ([f64; 4], [f64; 4]) {
        let (width, height) = self.size;
        let size = [f64::from(width), f64::from(height), f64::from(width), f64::from(height)];
        let coordinates = boxes::dequantise(bins, Ratio::new(self.size, (self.side, self.side)), num_bins);
        // The upper bins lie outside an image that the model saw at less than 512 pixels.
        let pixels: [f64; 4] = std::array::from_fn(|i| coordinates[i].clamp(0.0, size[i]));
        (pixels, std::array::from_fn(|i| pixels[i] / size[i].max(1.0)))
    }
}

struct Reader<'a> {
    context: &'a AnswerContext<'a>,
    vocab: &'a Vocab,
    frame: Option<Frame>,
}

impl Reader<'_> {
    /// What the model wrote behind its prefix, without padding and the final EOS.
    fn tokens(&self, hypothesis: &Hypothesis) -> Vec<u32> {
        let layout = self.vocab.layout();
        let answer = hypothesis.tokens.get(self.context.prefix_len..).unwrap_or_default();
        let mut tokens: Vec<u32> = answer.iter().copied().filter(|id| *id != layout.pad).collect();
        tokens.pop_if(|last| *last == layout.eos);
        tokens
    }

    fn written(&self, hypothesis: &Hypothesis) -> String {
        self.vocab.decode(&self.tokens(hypothesis)).trim().to_owned()
    }

    fn best(&self, hypotheses: &[Hypothesis]) -> String {
        hypotheses.first().map(|best| self.written(best)).unwrap_or_default()
    }

    fn text(&self, hypotheses: &[Hypothesis], clean: impl Fn(&str) -> String) -> Answer {
        let read = |one: &Hypothesis| Scored { text: clean(&self.written(one)), score: one.score };
        let alternatives: Vec<Scored> = hypotheses.iter().map(read).collect();
        let (text, score) = alternatives.first().map_or((String::new(), 0.0), |best| (best.text.clone(), best.score));
        Answer::Text { text, raw: self.best(hypotheses), score, alternatives }
    }

    /// Scores of closed answers are log-probabilities among these answers (reference §9.4): where all are scored the
    /// hypothesis's, where they are searched for those of its tokens behind the prefix.
    fn labels(&self, hypotheses: &[Hypothesis]) -> Answer {
        let score = |one: &Hypothesis| match one.token_scores.get(self.context.prefix_len..) {
            Some(scores) if !scores.is_empty() => scores.iter().sum(),
            _ => one.score,
        };
        let mut alternatives: Vec<Likely> = Vec::with_capacity(hypotheses.len());
        for one in hypotheses {
            let label = self.written(one);
            // Draws may come to the same one again.
            if alternatives.iter().all(|other| other.label != label) {
                alternatives.push(Likely { label, probability: score(one).exp() });
            }
        }
        let (label, probability) =
            alternatives.first().map_or((String::new(), 0.0), |best| (best.label.clone(), best.probability));
        Answer::Labels { label, probability, alternatives }
    }

    fn boxes(&self, hypotheses: &[Hypothesis]) -> Answer {
        let (mut boxes, mut malformed) = (Vec::new(), None);
        for hypothesis in hypotheses {
            match self.located(hypothesis) {
                Ok(found) => boxes.push(found),
                Err(reason) => malformed = malformed.or(Some(reason)),
            }
        }
        Answer::Boxes { phrase: self.context.phrase.to_owned(), boxes, raw: self.best(hypotheses), malformed }
    }

    /// The box that a hypothesis writes, if it writes exactly one.
    fn located(&self, hypothesis: &Hypothesis) -> Result<Located, String> {
        let tokens = self.tokens(hypothesis);
        let bins: Option<Vec<usize>> = tokens.iter().map(|id| self.vocab.bin_index(*id)).collect();
        let (pixels, normalized) = self.place(&bins.ok_or("words where four bins make a box")?)?;
        Ok(Located { pixels, normalized, score: hypothesis.score })
    }

    fn place(&self, bins: &[usize]) -> Result<([f64; 4], [f64; 4]), String> {
        let frame = self.frame.as_ref().ok_or("there is no image for a box to be in")?;
        let corners: [usize; 4] = bins.try_into().map_err(|_| format!("{} bins where four make a box", bins.len()))?;
        Ok(frame.place(corners, self.vocab.layout().num_bins))
    }

    /// Boxes of four bins, each followed by what is in it; whatever else was written is left out.
    fn objects(&self, hypotheses: &[Hypothesis]) -> Answer {
        let (mut objects, mut malformed) = (Vec::new(), None);
        let tokens = hypotheses.first().map(|best| self.tokens(best)).unwrap_or_default();
        let is_bin = |id: &u32| self.vocab.bin_index(*id).is_some();
        let mut rest = tokens.as_slice();
        while !rest.is_empty() {
            let (bins, after) = rest.split_at(rest.iter().position(|id| !is_bin(id)).unwrap_or(rest.len()));
            let (words, after) = after.split_at(after.iter().position(is_bin).unwrap_or(after.len()));
            rest = after;
            let bins: Vec<usize> = bins.iter().filter_map(|id| self.vocab.bin_index(*id)).collect();
            let label = self.vocab.decode(words).trim().to_owned();
            match self.place(&bins) {
                Ok(_) if label.is_empty() => malformed = malformed.or(Some("a box without a name".to_owned())),
                Ok((pixels, normalized)) => objects.push(Object { label, pixels, normalized }),
                Err(reason) => malformed = malformed.or(Some(format!("{reason}, before \"{label}\""))),
            }
        }
        let score = hypotheses.first().map_or(0.0, |best| best.score);
        Answer::Objects { objects, score, raw: self.best(hypotheses), malformed }
    }

    fn codes(&self, hypotheses: &[Hypothesis]) -> Answer {
        let mut malformed = None;
        let mut codes = Vec::with_capacity(hypotheses.len());
        for hypothesis in hypotheses {
            let tokens = self.tokens(hypothesis);
            let read: Vec<usize> = tokens.iter().filter_map(|id| self.vocab.code_index(*id)).collect();
            if malformed.is_none() && read.len() < tokens.len() {
                malformed = Some(format!("{} of {} tokens are no codes", tokens.len() - read.len(), tokens.len()));
            }
            codes.push(read);
        }
        Answer::Codes { codes, scores: hypotheses.iter().map(|one| one.score).collect(), malformed }
    }
}
