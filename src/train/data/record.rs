//! One row of data: its fields by name, as texts in the original's notations or as JSON.

use crate::error::{Error, Result};
use crate::image::{Pixels, decode};
use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;
use std::path::PathBuf;

/// What the original's files put between the parts of a field.
const SEPARATOR: &str = "&&";
/// What stands between an answer's confidence and the answer.
const CONFIDENCE: &str = "|!+";

/// Padding is often missing, and the last bits of some writers are not zero.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// One row, read but not yet understood; every complaint about it names its place.
#[derive(Debug, Clone)]
pub struct Record {
    /// File and line, or shard and sample.
    pub place: String,
    /// Fields by name.
    pub fields: Vec<(String, Value)>,
    pub image: Option<ImageData>,
}

/// An image that is decoded when it is asked for.
#[derive(Debug, Clone)]
pub enum ImageData {
    /// Either alphabet of base64.
    Base64(String),
    File(PathBuf),
    Bytes(Vec<u8>),
    /// Decoded already.
    Pixels(Pixels),
}

impl Record {
    /// An error about this row.
    pub fn fail(&self, reason: impl std::fmt::Display) -> Error {
        Error::file(&self.place, reason)
    }

    /// An error of something made from this row, which then says where it happened.
    pub fn explain(&self, error: Error) -> Error {
        match error {
            Error::File { .. } => error,
            other => self.fail(other),
        }
    }

    /// A field that may be missing or empty.
    pub fn optional(&self, name: &str) -> Option<&Value> {
        let value = &self.fields.iter().find(|(field, _)| field == name)?.1;
        let empty = match value {
            Value::Null => true,
            Value::String(text) => text.trim().is_empty(),
            _ => false,
        };
        (!empty).then_some(value)
    }

    fn required(&self, name: &str) -> Result<&Value> {
        self.optional(name).ok_or_else(|| self.fail(format!("`{name}` is missing or empty")))
    }

    /// A text; numbers are written out.
    ///
    /// # Errors
    /// [`Error::File`] if it is missing, empty, or a list.
    pub fn text(&self, name: &str) -> Result<String> {
        let value = self.required(name)?;
        written(value).ok_or_else(|| self.fail(format!("`{name}`: expected a text, found {}", shown(value))))
    }

    /// Texts: a JSON list, or one text with `&&` between them; numbers are written out. A missing field is an empty
    /// list.
    ///
    /// # Errors
    /// [`Error::File`] for a list of other things.
    pub fn texts(&self, name: &str) -> Result<Vec<String>> {
        let texts: Vec<String> = match self.optional(name) {
            None => Vec::new(),
            Some(Value::String(text)) => text.split(SEPARATOR).map(String::from).collect(),
            Some(Value::Number(number)) => vec![number.to_string()],
            Some(Value::Array(items)) => {
                let texts: Option<Vec<_>> = items.iter().map(written).collect();
                texts.ok_or_else(|| self.fail(format!("`{name}`: expected texts in the list")))?
            }
            Some(other) => return Err(self.fail(format!("`{name}`: expected texts, found {}", shown(other)))),
        };
        Ok(texts.into_iter().filter(|text| !text.trim().is_empty()).collect())
    }

    /// Answers and how much each is to be trusted: `0.6|!+no&&1.0|!+yes`, a JSON object of numbers, or plain texts,
    /// which are trusted in full. Of an answer that is listed twice the last confidence holds, as in the original.
    ///
    /// # Errors
    /// [`Error::File`] if there is none, or a confidence is no number from 0 to 1.
    pub fn answers(&self, name: &str) -> Result<Vec<(String, f32)>> {
        let mut answers: Vec<(String, f32)> = Vec::new();
        let mut add = |answer: &str, conf: f32| {
            if !(0.0..=1.0).contains(&conf) {
                return Err(self.fail(format!("`{name}`: expected a confidence from 0 to 1, found {conf}")));
            }
            match answers.iter_mut().find(|(known, _)| known == answer) {
                Some((_, known)) => *known = conf,
                None => answers.push((answer.to_owned(), conf)),
            }
            Ok(())
        };
        if let Value::Object(scores) = self.required(name)? {
            for (answer, conf) in scores {
                let conf = conf.as_f64().ok_or_else(|| self.fail(format!("`{name}`: {answer}: not a number")))?;
                add(answer, conf as f32)?;
            }
        } else {
            for part in self.texts(name)? {
                match part.split_once(CONFIDENCE) {
                    Some((conf, answer)) => add(answer, self.number(name, conf)?)?,
                    None => add(&part, 1.0)?,
                }
            }
        }
        if answers.is_empty() { Err(self.fail(format!("`{name}` has no answer"))) } else { Ok(answers) }
    }

    /// A box: `x0,y0,x1,y1` or a JSON list of four, in pixels.
    ///
    /// # Errors
    /// [`Error::File`] if it is anything else, or a box without an inside.
    pub fn corners(&self, name: &str) -> Result<[f32; 4]> {
        let corners = match self.required(name)? {
            Value::Array(items) => self.box_of(name, items)?,
            Value::String(text) => self.box_in(name, &text.split(',').collect::<Vec<_>>())?,
            other => return Err(self.fail(format!("`{name}`: expected x0,y0,x1,y1, found {}", shown(other)))),
        };
        if has_inside(corners) { Ok(corners) } else { Err(self.no_box(name, &corners)) }
    }

    /// [`Self::corners`] of something that lies in an image of `width` x `height`, at least in part.
    ///
    /// # Errors
    /// [`Error::File`] naming the row.
    pub fn corners_in(&self, name: &str, (width, height): (u32, u32)) -> Result<[f32; 4]> {
        let corners = self.corners(name)?;
        let [left, top, right, bottom] = corners;
        if left >= width as f32 || top >= height as f32 || right <= 0.0 || bottom <= 0.0 {
            return Err(self.fail(format!("`{name}`: {corners:?} lies outside the image of {width} x {height}")));
        }
        Ok(corners)
    }

    /// Boxes and what is in them, in the order in which they stand: `x0,y0,x1,y1,number,label&&…`, or a JSON list of
    /// `{"box": [x0, y0, x1, y1], "label": …}`. Boxes without an inside are left out, as the original does.
    ///
    /// # Errors
    /// [`Error::File`] if there is none, or one is no box.
    pub fn objects(&self, name: &str) -> Result<Vec<([f32; 4], String)>> {
        let mut objects: Vec<_> = match self.required(name)? {
            Value::String(text) => {
                let read = |part: &str| {
                    let fields: Vec<&str> = part.splitn(6, ',').collect();
                    let [x0, y0, x1, y1, _, label] = fields[..] else {
                        return Err(self.fail(format!("`{name}`: expected x0,y0,x1,y1,number,label, found `{part}`")));
                    };
                    Ok((self.box_in(name, &[x0, y0, x1, y1])?, label.to_owned()))
                };
                text.split(SEPARATOR).filter(|part| !part.trim().is_empty()).map(read).collect::<Result<_>>()?
            }
            Value::Array(items) => {
                let read = |item: &Value| {
                    let (corners, label) = (item["box"].as_array(), item["label"].as_str());
                    let (Some(corners), Some(label)) = (corners, label) else {
                        return Err(self.fail(format!("`{name}`: expected `box` and `label`, found {}", shown(item))));
                    };
                    Ok((self.box_of(name, corners)?, label.to_owned()))
                };
                items.iter().map(read).collect::<Result<_>>()?
            }
            other => return Err(self.fail(format!("`{name}`: expected boxes, found {}", shown(other)))),
        };
        objects.retain(|(corners, _)| has_inside(*corners));
        if objects.is_empty() { Err(self.fail(format!("`{name}` has no box"))) } else { Ok(objects) }
    }

    /// Whole numbers: a JSON list, or a text with spaces between them.
    ///
    /// # Errors
    /// [`Error::File`] if one is none.
    pub fn numbers(&self, name: &str) -> Result<Vec<usize>> {
        let numbers: Option<Vec<usize>> = match self.required(name)? {
            Value::String(text) => text.split_whitespace().map(|number| number.parse().ok()).collect(),
            Value::Array(items) => items.iter().map(|item| item.as_u64().map(|number| number as usize)).collect(),
            _ => None,
        };
        numbers.ok_or_else(|| self.fail(format!("`{name}`: expected whole numbers")))
    }

    /// The row's image.
    ///
    /// # Errors
    /// [`Error::File`] if there is none, or what stands there is none.
    pub fn pixels(&self) -> Result<Pixels> {
        let bytes = match self.image.as_ref().ok_or_else(|| self.fail("`image` is missing or empty"))? {
            ImageData::Pixels(pixels) => return Ok(pixels.clone()),
            ImageData::Bytes(bytes) => bytes,
            ImageData::Base64(text) => {
                let text: String = text.trim().chars().map(url_safe).collect();
                &BASE64.decode(text).map_err(|error| self.fail(format!("`image` is not base64: {error}")))?
            }
            ImageData::File(path) => {
                &std::fs::read(path).map_err(|error| self.fail(format!("`image` {}: {error}", path.display())))?
            }
        };
        decode(bytes).map_err(|error| self.fail(error))
    }

    fn box_of(&self, name: &str, items: &[Value]) -> Result<[f32; 4]> {
        let numbers: Option<Vec<f32>> = items.iter().map(|item| item.as_f64().map(|side| side as f32)).collect();
        self.box_from(name, numbers.ok_or_else(|| self.fail(format!("`{name}`: expected four numbers")))?)
    }

    fn box_in(&self, name: &str, texts: &[&str]) -> Result<[f32; 4]> {
        let numbers = texts.iter().map(|text| self.number(name, text)).collect::<Result<_>>()?;
        self.box_from(name, numbers)
    }

    fn box_from(&self, name: &str, numbers: Vec<f32>) -> Result<[f32; 4]> {
        numbers.try_into().map_err(|numbers: Vec<f32>| self.no_box(name, &numbers))
    }

    fn no_box(&self, name: &str, numbers: &[f32]) -> Error {
        self.fail(format!("`{name}`: expected left, top, right, bottom, found {numbers:?}"))
    }

    fn number(&self, name: &str, text: &str) -> Result<f32> {
        let number: Option<f32> = text.trim().parse().ok();
        number
            .filter(|number| number.is_finite())
            .ok_or_else(|| self.fail(format!("`{name}`: expected a number, found `{text}`")))
    }
}

fn has_inside([left, top, right, bottom]: [f32; 4]) -> bool {
    left < right && top < bottom
}

fn url_safe(c: char) -> char {
    match c {
        '+' => '-',
        '/' => '_',
        other => other,
    }
}

/// A text, or a number as one.
fn written(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The beginning of a value: a field can be a whole image.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    text.chars().take(60).collect()
}
