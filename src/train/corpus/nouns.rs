//! The nouns that stickers draw, from the list beside the drawings.

use super::words::Category;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// One row each: the drawing's name in its set, the word, its plural, its category.
const LIST: &str = include_str!("../../../assets/stickers/nouns.tsv");

static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| LIST.lines().filter_map(Row::read).collect());

struct Row {
    slug: &'static str,
    word: &'static str,
    plural: &'static str,
    category: Category,
}

impl Row {
    fn read(line: &'static str) -> Option<Self> {
        let mut cells = line.split('\t');
        let (slug, word, plural, category) = (cells.next()?, cells.next()?, cells.next()?, cells.next()?);
        let category = Category::ALL.iter().copied().find(|known| known.word() == category)?;
        Some(Self { slug, word, plural, category })
    }
}

/// A noun of the list; the first ones are those whose drawings are part of the crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub struct Noun(u16);

impl Noun {
    /// Every noun, in the order of the list, which mixes the categories.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        (0..ROWS.len()).map(|row| Self(row as u16))
    }

    /// Its place in the list.
    pub fn index(self) -> usize {
        self.0.into()
    }

    fn row(self) -> &'static Row {
        &ROWS[self.index()]
    }

    /// What the sets call its drawing.
    pub fn slug(self) -> &'static str {
        self.row().slug
    }

    pub fn word(self) -> &'static str {
        self.row().word
    }

    pub fn plural(self) -> &'static str {
        self.row().plural
    }

    pub fn category(self) -> Category {
        self.row().category
    }
}

impl From<Noun> for &'static str {
    fn from(noun: Noun) -> Self {
        noun.word()
    }
}

impl TryFrom<String> for Noun {
    type Error = Error;

    fn try_from(word: String) -> Result<Self> {
        let found = Self::all().find(|noun| noun.word() == word);
        found.ok_or_else(|| Error::option("noun", "a noun of assets/stickers/nouns.tsv", word))
    }
}
