//! Captions and answers that are wrong (reference §6.1), from the original's three files or from other rows.

use crate::error::{Error, Result};
use crate::train::data::Lines;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

const CAPTIONS: &str = "all_captions.txt";
const OBJECTS: &str = "object.txt";
const ANSWERS: &str = "type2ans.json";

/// The type of answers that fits any question badly enough.
const OTHER: &str = "other";
const COUNT: &str = "how many";
/// A caption has one of its objects exchanged when a draw lies above this.
const EXCHANGE_ABOVE: f64 = 0.6;
/// An answer must be trusted so much more than a draw to get a rival of its own type.
const TRUST_MARGIN: f32 = 0.1;
/// Other rows that are asked for something different before the matter is dropped.
const TRIES: usize = 8;

/// Where wrong captions and answers come from. Without a file other rows of the data give theirs.
#[derive(Debug, Default)]
pub struct Negatives {
    objects: Vec<String>,
    captions: Option<Lines>,
    answers: BTreeMap<String, Vec<String>>,
    types: HashMap<String, String>,
}

/// A caption or answer of another row, if the row drawn has one.
pub(super) type Another<'a> = &'a dyn Fn(&mut fastrand::Rng) -> Result<Option<String>>;

impl Negatives {
    /// Reads those of `object.txt`, `all_captions.txt` and `type2ans.json` that a folder holds.
    ///
    /// # Errors
    /// [`Error::File`] for a file that is there and cannot be read.
    pub fn open(folder: &Path) -> Result<Self> {
        if !folder.is_dir() {
            return Err(Error::file(folder.display(), "no directory, where one of negatives is expected"));
        }
        let existing = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
        let read = |path: &Path| std::fs::read_to_string(path).map_err(|error| Error::file(path.display(), error));
        let mut negatives = Self::default();
        if let Some(path) = existing(OBJECTS) {
            let text = read(&path)?;
            negatives.objects = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect();
        }
        if let Some(path) = existing(CAPTIONS) {
            negatives.captions = Some(Lines::open(&path)?).filter(|lines| !lines.is_empty());
        }
        if let Some(path) = existing(ANSWERS) {
            negatives.answers =
                serde_json::from_str(&read(&path)?).map_err(|error| Error::file(path.display(), error))?;
            let typed = negatives.answers.iter().filter(|(kind, _)| *kind != OTHER);
            negatives.types =
                typed.flat_map(|(kind, answers)| answers.iter().map(|answer| (answer.clone(), kind.clone()))).collect();
        }
        Ok(negatives)
    }

    /// A caption that does not describe the image: an object exchanged, or another caption. None if nothing different
    /// was found.
    pub(super) fn caption(
        &self,
        caption: &str,
        objects: &[String],
        another: Another,
        random: &mut fastrand::Rng,
    ) -> Result<Option<String>> {
        let exchange = random.f64() > EXCHANGE_ABOVE;
        if let Some(object) = exchange.then(|| random.choice(objects)).flatten()
            && let Some(other) = but_not(&self.objects, object, random)
        {
            // A caption that does not name the object would stay right, so it gets a stranger's instead.
            let exchanged = caption.replace(object.as_str(), other);
            if exchanged != caption {
                return Ok(Some(exchanged));
            }
        }
        let drawn = |random: &mut fastrand::Rng| match &self.captions {
            Some(lines) => lines.line(random.u64(..lines.len())).map(|line| Some(line.trim().to_owned())),
            None => another(random),
        };
        different(caption, &drawn, random)
    }

    /// An answer that is wrong: one more or less, another of the same type, or any other. None if nothing different
    /// was found.
    pub(super) fn answer(
        &self,
        answer: &str,
        conf: f32,
        another: Another,
        random: &mut fastrand::Rng,
    ) -> Result<Option<String>> {
        let draw = random.f32();
        let known = self.types.get(answer).filter(|_| conf > draw + TRUST_MARGIN);
        if known.is_some_and(|kind| kind == COUNT)
            && draw > 0.5
            && let Ok(number) = answer.parse::<u32>()
        {
            let fewer = random.bool() && number > 0;
            return Ok(Some(if fewer { number - 1 } else { number.saturating_add(1) }.to_string()));
        }
        match self.answers.get(known.map_or(OTHER, String::as_str)) {
            Some(answers) => Ok(but_not(answers, answer, random).map(String::from)),
            None => different(answer, another, random),
        }
    }
}

/// Any but the last, which stands in for the one that must not come.
fn but_not<'a>(all: &'a [String], unwanted: &str, random: &mut fastrand::Rng) -> Option<&'a str> {
    let (last, rest) = all.split_last()?;
    let drawn = random.choice(rest).unwrap_or(last);
    let drawn = if drawn == unwanted { last } else { drawn };
    (drawn != unwanted).then_some(drawn)
}

fn different(from: &str, drawn: Another, random: &mut fastrand::Rng) -> Result<Option<String>> {
    for _ in 0..TRIES {
        if let Some(text) = drawn(random)?.filter(|text| text != from) {
            return Ok(Some(text));
        }
    }
    Ok(None)
}
