//! The project's own byte-level BPE, trained on what the world says.

use super::world::World;
use crate::error::{Error, Result};
use crate::train::sample::Target;
use crate::vocab::{tokenizer_json_from_hf, words};
use serde_json::{Map, Value};
use std::collections::HashSet;
use tokenizers::Trainer;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

/// As BART numbers them; `<mask>` comes after the pieces.
const SPECIALS: [&str; 4] = ["<s>", "<pad>", "</s>", "<unk>"];
const MASK: &str = "<mask>";

/// A vocabulary in the form of a Hugging Face directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizerFiles {
    pub vocab_json: String,
    pub merges_txt: String,
}

impl World {
    /// What `draws` draws say: instructions with their inputs, and answers, each with the space in front that the model
    /// sees.
    ///
    /// # Errors
    /// Those of [`World::told`].
    pub fn texts(&self, draws: u64) -> Result<Vec<String>> {
        let mut texts = Vec::new();
        for index in 0..draws {
            let told = self.told(0, index, None)?;
            for example in told.main.into_iter().chain(told.extra) {
                let template = example.task.templates.last().copied().unwrap_or_default();
                let text = template.replace("{text}", example.inputs.text.as_deref().unwrap_or_default());
                texts.push(text.replace("{text2}", example.inputs.text2.as_deref().unwrap_or_default()));
                match example.target {
                    Target::Text(text) => texts.push(format!(" {text}")),
                    Target::Objects(objects) => texts.extend(objects.into_iter().map(|(_, label)| format!(" {label}"))),
                    Target::Region(_) | Target::Codes(_) => {}
                }
            }
        }
        Ok(texts)
    }
}

impl TokenizerFiles {
    /// Learns at most `pieces` pieces, the 256 bytes among them, from some texts. The same texts give the same files.
    ///
    /// # Errors
    /// [`Error::Vocab`] if nothing can be learnt.
    pub fn train(texts: &[String], pieces: usize) -> Result<Self> {
        let mut trainer = BpeTrainerBuilder::new()
            .vocab_size(pieces)
            .min_frequency(2)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect::<HashSet<char>>())
            .show_progress(false)
            .build();
        trainer.feed(texts.iter(), |text| Ok(words(text).collect())).map_err(Error::vocab)?;
        let mut bpe = BPE::default();
        trainer.train(&mut bpe).map_err(Error::vocab)?;

        let learnt = serde_json::to_value(&bpe).map_err(Error::vocab)?;
        let (Some(vocab), Some(merges)) = (learnt["vocab"].as_object(), learnt["merges"].as_array()) else {
            return Err(Error::vocab("the trained tokenizer has no vocabulary or merges"));
        };
        let mut names: Vec<(&String, Option<u64>)> = vocab.iter().map(|(name, id)| (name, id.as_u64())).collect();
        names.sort_by_key(|(_, id)| *id);
        let names = names.into_iter().map(|(name, _)| name.as_str());
        let numbered = SPECIALS.into_iter().chain(names).chain([MASK]).enumerate();
        let vocab: Map<String, Value> = numbered.map(|(id, name)| (name.to_owned(), Value::from(id))).collect();
        let mut merges_txt = String::from("#version: 0.2\n");
        for merge in merges {
            let pair = merge.as_array().map(|pair| pair.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "));
            merges_txt.push_str(pair.as_deref().or(merge.as_str()).unwrap_or_default());
            merges_txt.push('\n');
        }
        Ok(Self { vocab_json: Value::from(vocab).to_string(), merges_txt })
    }

    /// The same as a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Vocab`] for more codes and bins than there may be.
    pub fn tokenizer_json(&self, num_codes: usize, num_bins: usize) -> Result<String> {
        tokenizer_json_from_hf(&self.vocab_json, &self.merges_txt, num_codes, num_bins)
    }
}
