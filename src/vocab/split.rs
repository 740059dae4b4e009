//! Words of a text as GPT-2 splits it, written in its printable bytes: what its regular expression
//! `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+` finds, without an engine for
//! regular expressions and its tables, which would weigh on the wasm.

use super::bytes::char_of;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

const CONTRACTIONS: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Space,
    Letter,
    Number,
    Other,
}

fn class(c: char) -> Class {
    if c.is_ascii_alphabetic() {
        return Class::Letter;
    }
    if c.is_whitespace() {
        return Class::Space;
    }
    match c.general_category_group() {
        GeneralCategoryGroup::Letter => Class::Letter,
        GeneralCategoryGroup::Number => Class::Number,
        _ => Class::Other,
    }
}

/// The words of a text, one after another; together they are the text.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (word, after) = rest.split_at(first_word(rest));
        rest = after;
        (!word.is_empty()).then_some(word)
    })
}

/// Bytes of the first word.
fn first_word(text: &str) -> usize {
    if let Some(contraction) = CONTRACTIONS.iter().find(|contraction| text.starts_with(**contraction)) {
        return contraction.len();
    }
    let run = |from: usize, of: Class| {
        let inside = text[from..].char_indices().find(|(_, c)| class(*c) != of).map(|(at, _)| at);
        inside.map_or(text.len(), |at| from + at)
    };
    // A space goes with the word after it.
    let start = usize::from(text.starts_with(' '));
    match text[start..].chars().next().map(class) {
        Some(Class::Space) | None => {}
        Some(of) => return run(start, of),
    }
    let end = run(0, Class::Space);
    // The last of several spaces is left to the word that follows.
    let last = text[..end].chars().next_back().map_or(0, char::len_utf8);
    if end < text.len() && last < end { end - last } else { end }
}

/// A word in the alphabet of the pieces.
pub(crate) fn printable(word: &str) -> String {
    word.bytes().map(char_of).collect()
}
