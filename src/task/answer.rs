//! What comes back, as JavaScript and `--json` see it.

use serde::{Deserialize, Serialize};

/// A text and its score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scored {
    /// The answer.
    pub text: String,
    /// What the search ranked it by.
    pub score: f64,
}

/// A label and how likely the model thinks it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Likely {
    /// One of the answers allowed.
    pub label: String,
    /// From 0 to 1; over all answers allowed the sum is 1.
    pub probability: f64,
}

/// A box and its score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Located {
    /// Left, top, right, bottom in pixels of the caller's image.
    pub pixels: [f64; 4],
    /// The same from 0 to 1.
    pub normalized: [f64; 4],
    /// What the search ranked it by.
    pub score: f64,
}

/// A thing in the image and where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Object {
    /// What it is.
    pub label: String,
    /// Left, top, right, bottom in pixels of the caller's image.
    pub pixels: [f64; 4],
    /// The same from 0 to 1.
    pub normalized: [f64; 4],
}

/// An answer. Whatever a model writes is one: `malformed` says what of it could not be read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Answer {
    /// Words.
    Text {
        /// The best answer.
        text: String,
        /// The best answer as generated, before punctuation was removed.
        raw: String,
        /// What the search ranked it by.
        score: f64,
        /// All answers, the best first.
        alternatives: Vec<Scored>,
    },
    /// One of a closed set.
    Labels {
        /// The likeliest.
        label: String,
        /// Its probability.
        probability: f64,
        /// All of them, the likeliest first.
        alternatives: Vec<Likely>,
    },
    /// Places in the image, the best first.
    Boxes {
        /// What was asked for.
        phrase: String,
        /// The boxes.
        boxes: Vec<Located>,
        /// The best answer as written, for the case that it is no box.
        raw: String,
        /// Why an answer is no box.
        #[serde(skip_serializing_if = "Option::is_none")]
        malformed: Option<String>,
    },
    /// Things in the image, in the order in which the model wrote them.
    Objects {
        /// The things.
        objects: Vec<Object>,
        /// What the search ranked the whole list by.
        score: f64,
        /// The list as written.
        raw: String,
        /// What of the list was no object.
        #[serde(skip_serializing_if = "Option::is_none")]
        malformed: Option<String>,
    },
    /// Image codes, the best sequence first.
    Codes {
        /// For each sequence the code numbers in raster order.
        codes: Vec<Vec<usize>>,
        /// For each sequence its score.
        scores: Vec<f64>,
        /// What of the sequences was no code.
        #[serde(skip_serializing_if = "Option::is_none")]
        malformed: Option<String>,
    },
}

impl Answer {
    /// The best answer, if it is one in words.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text { text, .. } => Some(text),
            Self::Labels { label, .. } => Some(label),
            Self::Boxes { .. } | Self::Objects { .. } | Self::Codes { .. } => None,
        }
    }
}
