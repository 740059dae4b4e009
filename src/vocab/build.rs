//! Writing a `tokenizer.json` from the vocabulary files that checkpoints come with.
//!
//! Both builders give the same text for the same vocabulary. The ids in it are the model's own, the
//! specials and `<mask>` are added tokens as other readers of the format expect, and codes and bins are
//! plain vocabulary entries: a reader can look them up and decode them, but the words `<bin_3>` in a
//! question stay text.

use crate::error::{Error, Result};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// The dictionary of the original adds these itself, in this order, before the file's own lines.
const SPECIALS: [&str; 4] = ["<s>", "<pad>", "</s>", "<unk>"];
const MASK: &str = "<mask>";
/// A dictionary line may end so; the flag only silences a duplicate check of the original.
const OVERWRITE: &str = " #fairseq:overwrite";
/// Codes and bins together; far above the released 9192, and small enough to write down.
const MAX_EXTRA: usize = 1 << 20;

/// From the three files beside an original checkpoint: `dict.txt`, `encoder.json` and `vocab.bpe`.
///
/// `dict.txt` lists numbers of pieces in the order of the model's ids, `encoder.json` says which piece has
/// which number, `vocab.bpe` lists the merges.
///
/// # Errors
/// [`Error::Vocab`] naming the file and the line or piece that does not fit.
pub fn tokenizer_json_from_fairseq(
    dict_txt: &str,
    encoder_json: &str,
    vocab_bpe: &str,
    num_codes: usize,
    num_bins: usize,
) -> Result<String> {
    let numbers = read_map("encoder.json", encoder_json)?;
    let mut pieces: HashMap<u32, String> = HashMap::with_capacity(numbers.len());
    for (piece, number) in numbers {
        if let Some(other) = pieces.insert(number, piece) {
            return Err(Error::vocab(format!("encoder.json: number {number} has two pieces, one of them `{other}`")));
        }
    }
    let mut names: Vec<String> = SPECIALS.map(String::from).to_vec();
    for (index, line) in dict_txt.lines().enumerate() {
        let entry = line.strip_suffix(OVERWRITE).unwrap_or(line);
        let Some((symbol, _count)) = entry.rsplit_once(' ') else {
            return Err(Error::vocab(format!("dict.txt line {}: expected a symbol and its count", index + 1)));
        };
        // Symbols that are no numbers, such as `madeupword0000`, only fill up the embedding table.
        let name = match symbol.parse::<u32>() {
            Ok(number) => pieces.remove(&number).ok_or_else(|| {
                let line = index + 1;
                Error::vocab(format!("dict.txt line {line}: {number} is repeated or not in encoder.json"))
            })?,
            Err(_) => symbol.to_owned(),
        };
        names.push(name);
    }
    if let Some((number, piece)) = pieces.iter().min() {
        let reason = format!("dict.txt: number {number} (`{piece}`) of encoder.json has no line");
        return Err(Error::vocab(reason));
    }
    names.push(MASK.to_owned());
    write(names, vocab_bpe, num_codes, num_bins)
}

/// From `vocab.json` and `merges.txt` of a Hugging Face directory, whose ids are already the model's.
///
/// Codes and bins, which that layout keeps in another file, may be in `vocab_json` or not.
///
/// # Errors
/// [`Error::Vocab`] naming the file and the piece that does not fit.
pub fn tokenizer_json_from_hf(vocab_json: &str, merges_txt: &str, num_codes: usize, num_bins: usize) -> Result<String> {
    let ids = read_map("vocab.json", vocab_json)?;
    let Some(mask) = ids.get(MASK).copied() else {
        return Err(Error::vocab("vocab.json: no `<mask>`; the vocabulary of BART is expected"));
    };
    let mut by_id: HashMap<u32, String> = HashMap::with_capacity(ids.len());
    for (name, id) in ids {
        if let Some(other) = by_id.insert(id, name) {
            return Err(Error::vocab(format!("vocab.json: id {id} has two pieces, one of them `{other}`")));
        }
    }
    let names = (0..=mask)
        .map(|id| by_id.remove(&id).ok_or_else(|| Error::vocab(format!("vocab.json: nothing has id {id}"))))
        .collect::<Result<Vec<_>>>()?;
    for (id, special) in SPECIALS.iter().enumerate() {
        if names.get(id).map(String::as_str) != Some(special) {
            return Err(Error::vocab(format!("vocab.json: id {id} is not `{special}`; BART's order is expected")));
        }
    }
    let extra = extra_names(num_codes, num_bins)?;
    for (id, name) in by_id {
        if extra.get((id - mask - 1) as usize) != Some(&name) {
            return Err(Error::vocab(format!("vocab.json: `{name}` with id {id} is neither a code nor a bin")));
        }
    }
    write(names, merges_txt, num_codes, num_bins)
}

/// `names` are in id order and end with `<mask>`.
fn write(names: Vec<String>, merges: &str, num_codes: usize, num_bins: usize) -> Result<String> {
    let mask = names.len() - 1;
    let mut vocab = Map::new();
    for (id, name) in names.into_iter().chain(extra_names(num_codes, num_bins)?).enumerate() {
        if vocab.contains_key(&name) {
            return Err(Error::vocab(format!("the piece `{name}` is in the vocabulary twice")));
        }
        vocab.insert(name, Value::from(id));
    }
    let merges = merge_lines(merges, &vocab)?;
    let added = |id: usize, content: &str| {
        // In a sentence `<mask>` swallows the space before it; that is what BART's own files say.
        let lstrip = content == MASK;
        json!({ "id": id, "content": content, "single_word": false, "lstrip": lstrip, "rstrip": false,
                "normalized": false, "special": true })
    };
    let mut added_tokens: Vec<Value> = SPECIALS.iter().enumerate().map(|(id, name)| added(id, name)).collect();
    added_tokens.push(added(mask, MASK));
    let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    let file = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added_tokens,
        "normalizer": null,
        "pre_tokenizer": byte_level.clone(),
        "post_processor": null,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": false,
            "vocab": vocab,
            "merges": merges,
        },
    });
    Ok(file.to_string())
}

fn extra_names(num_codes: usize, num_bins: usize) -> Result<Vec<String>> {
    if num_codes.saturating_add(num_bins) > MAX_EXTRA {
        return Err(Error::vocab(format!("{num_codes} codes and {num_bins} bins; at most {MAX_EXTRA} together")));
    }
    let codes = (0..num_codes).map(|k| format!("<code_{k}>"));
    Ok(codes.chain((0..num_bins).map(|k| format!("<bin_{k}>"))).collect())
}

/// The merges in rank order, without the version line.
fn merge_lines(text: &str, vocab: &Map<String, Value>) -> Result<Vec<Value>> {
    let mut merges = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.is_empty() || (index == 0 && line.starts_with("#version")) {
            continue;
        }
        let known = line.split_once(' ').is_some_and(|(left, right)| {
            vocab.contains_key(left) && vocab.contains_key(right) && vocab.contains_key(&format!("{left}{right}"))
        });
        if !known {
            return Err(Error::vocab(format!("merges line {}: `{line}` does not join two known pieces", index + 1)));
        }
        merges.push(Value::from(line));
    }
    Ok(merges)
}

fn read_map(file: &str, json: &str) -> Result<HashMap<String, u32>> {
    serde_json::from_str(json).map_err(|error| Error::vocab(format!("{file}: {error}")))
}
