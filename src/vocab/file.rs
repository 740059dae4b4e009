//! Reading a `tokenizer.json`: only the parts that byte-level BPE has, and everything checked, because the
//! file may come from anywhere.

use super::Layout;
use super::bytes::char_of;
use crate::error::{Error, Result};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use tokenizers::models::bpe::{BPE, Vocab as BpeVocab};

/// What the vocabulary keeps of the file.
pub(super) struct Pieces {
    pub bpe: BPE,
    /// The written form of each id up to and with `<mask>`.
    pub names: Vec<String>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    #[serde(default)]
    normalizer: Option<Kind>,
    #[serde(default)]
    pre_tokenizer: Option<Kind>,
    model: Model,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
}

/// A part of the pipeline; its other settings do not matter here.
#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    add_prefix_space: bool,
    #[serde(default = "yes")]
    use_regex: bool,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    /// In the order of the names, so that of several faults always the same one is reported.
    vocab: BTreeMap<String, u32>,
    merges: Vec<Merge>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
}

/// Both ways in which the format has written merges.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Line(String),
}

pub(super) fn read(json: &str, layout: &Layout) -> Result<Pieces> {
    let file: File = serde_json::from_str(json).map_err(|error| Error::vocab(format!("tokenizer.json: {error}")))?;
    check_pipeline(&file)?;
    let File { added_tokens, model: Model { vocab, merges, .. }, .. } = file;

    let added = added_tokens.iter().map(|token| (token.content.as_str(), token.id));
    let listed = vocab.iter().map(|(name, id)| (name.as_str(), *id)).chain(added);
    let names = names_by_id(listed, layout)?;
    for byte in 0..=255u8 {
        let piece = char_of(byte).to_string();
        // Without it a text with this byte would lose it silently.
        if !vocab.contains_key(&piece) {
            return Err(Error::vocab(format!("tokenizer.json: byte {byte} has no piece `{piece}`")));
        }
    }

    // Specials, codes and bins stay out of the BPE, so that no merge can make one of them out of text.
    let pieces: BpeVocab = vocab.into_iter().filter(|(_, id)| layout.symbol(*id).is_none()).collect();
    let merges = merges.into_iter().map(Merge::pair).collect::<Result<Vec<_>>>()?;
    let bpe = BPE::builder()
        .vocab_and_merges(pieces, merges)
        .build()
        .map_err(|error| Error::vocab(format!("tokenizer.json: merges: {error}")))?;
    Ok(Pieces { bpe, names })
}

/// A pipeline that would split text otherwise than the original must not be used as if it were the same.
fn check_pipeline(file: &File) -> Result<()> {
    let refuse = |what: &str| Err(Error::vocab(format!("tokenizer.json: {what}")));
    if file.model.kind.as_deref().is_some_and(|kind| kind != "BPE") {
        return refuse("the model is not of type BPE");
    }
    let Model { continuing_subword_prefix, end_of_word_suffix, byte_fallback, ignore_merges, .. } = &file.model;
    let affixes = [continuing_subword_prefix, end_of_word_suffix];
    if *byte_fallback || *ignore_merges || affixes.iter().any(|affix| affix.as_deref().is_some_and(|a| !a.is_empty())) {
        return refuse("the model has options that byte-level BPE does not use");
    }
    if file.normalizer.is_some() {
        return refuse("a normalizer is set; OFA reads text as it is");
    }
    match &file.pre_tokenizer {
        Some(Kind { kind, add_prefix_space: false, use_regex: true }) if kind == "ByteLevel" => Ok(()),
        _ => refuse("expected the pre_tokenizer ByteLevel without a prefix space"),
    }
}

fn names_by_id<'a>(listed: impl Iterator<Item = (&'a str, u32)>, layout: &Layout) -> Result<Vec<String>> {
    let mut by_id: HashMap<u32, &str> = HashMap::new();
    for (name, id) in listed {
        if id as usize >= layout.size {
            let reason = format!("tokenizer.json: `{name}` has id {id}, but the model has {} ids", layout.size);
            return Err(Error::vocab(reason));
        }
        if let Some(expected) = layout.symbol(id)
            && expected != name
        {
            return Err(Error::vocab(format!("tokenizer.json: id {id} is `{name}`, expected `{expected}`")));
        }
        if let Some(other) = by_id.insert(id, name)
            && other != name
        {
            return Err(Error::vocab(format!("tokenizer.json: id {id} is both `{other}` and `{name}`")));
        }
    }
    // Before anything is sized by the configuration: a small file cannot ask for a large table.
    let mut names = Vec::with_capacity(by_id.len().min(layout.mask as usize + 1));
    for id in 0..=layout.mask {
        let Some(name) = by_id.get(&id) else {
            return Err(Error::vocab(format!(
                "tokenizer.json: no token has id {id} (text ids end at {})",
                layout.mask
            )));
        };
        names.push((*name).to_owned());
    }
    Ok(names)
}

impl Merge {
    fn pair(self) -> Result<(String, String)> {
        match self {
            Merge::Pair(left, right) => Ok((left, right)),
            Merge::Line(line) => match line.split_once(' ') {
                Some((left, right)) if !left.is_empty() && !right.is_empty() && !right.contains(' ') => {
                    Ok((left.to_owned(), right.to_owned()))
                }
                _ => Err(Error::vocab(format!("tokenizer.json: `{line}` is not a merge of two pieces"))),
            },
        }
    }
}
