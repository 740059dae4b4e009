//! Recipes: everything that decides a run, as a TOML file. Any value can be set from the command line.

use super::choice::SCENES;
use super::loader::BatchOptions;
use super::trainer::UpdateOptions;
use crate::config::{OfaConfig, Size};
use crate::error::{Error, Result};
use crate::weights::{PackingChoice, RECIPE};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// A run, in full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Of the weights, the order of the data or the scenes, augmentation and dropout.
    #[serde(default)]
    pub seed: u64,
    pub model: ModelChoice,
    pub data: DataChoice,
    #[serde(default)]
    pub batch: BatchOptions,
    #[serde(default)]
    pub update: UpdateOptions,
    #[serde(default)]
    pub run: RunOptions,
}

/// The model to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelChoice {
    /// A bundle or the bundle of an earlier run to start from; without it weights are fresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<PathBuf>,
    /// One of the published sizes, whose configuration `config` changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Keys of `config.json`.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub config: Table,
    /// A directory with the vocabulary, in any form that `ofa convert` reads; not needed with `from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
    /// The first so many layers of a fresh encoder begin with heads that attend to what is alike
    /// (`src/train/fresh.rs`).
    #[serde(default)]
    pub alike_layers: usize,
    /// The side that images are shown at; recorded for answering, too.
    pub image_size: u32,
}

/// Where samples come from. Its own rooms read the rest of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataChoice {
    /// `scenes`, `pretrain`, or the name of a task whose rows are fine-tuned on.
    pub kind: String,
    /// Passes over the data, which then decide the number of updates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<f64>,
    #[serde(flatten)]
    pub options: Table,
}

/// When what happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunOptions {
    /// Updates between lines of the journal.
    pub log_every: u64,
    /// Updates between checkpoints.
    pub checkpoint_every: u64,
    /// Checkpoints kept beside the best one.
    pub keep_last: usize,
    /// Updates between evaluations; 0 for none.
    pub evaluate_every: u64,
    /// Questions of an evaluation.
    pub questions: usize,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { log_every: 10, checkpoint_every: 500, keep_last: 2, evaluate_every: 0, questions: 200 }
    }
}

impl Recipe {
    /// Reads a recipe and applies `--set` arguments, each `a.b=value` with a TOML value or a bare word.
    ///
    /// # Errors
    /// [`Error::File`] naming what is unknown or of the wrong kind, [`Error::Option`] for an unusable `--set`.
    pub fn read(path: &Path, sets: &[String]) -> Result<Self> {
        Self::parse(&path.display().to_string(), &text(path)?, sets)
    }

    /// [`Recipe::read`] of what a run has written, perhaps when the seed did not reach the scenes yet and their side was
    /// not refused.
    ///
    /// # Errors
    /// Those of [`Recipe::read`].
    pub fn read_saved(path: &Path, sets: &[String]) -> Result<Self> {
        let (name, text) = (path.display().to_string(), text(path)?);
        let mut table: Table = text.parse().map_err(|error| Error::file(&name, error))?;
        if let Some(data) = table.get_mut("data").and_then(Value::as_table_mut)
            && data.get("kind").and_then(Value::as_str) == Some(SCENES)
        {
            data.entry("seed").or_insert(Value::Integer(1));
            data.remove("side");
        }
        Self::parse(&name, &table.to_string(), sets)
    }

    /// [`Recipe::read`] of a text; `name` stands in errors.
    ///
    /// # Errors
    /// Those of [`Recipe::read`].
    pub fn parse(name: &str, text: &str, sets: &[String]) -> Result<Self> {
        let mut recipe: Self = parsed(name, text, sets)?;
        let is_set = |key: &str| sets.iter().any(|set| set.split('=').next().map(str::trim) == Some(key));
        if is_set("update.updates") {
            if is_set("data.epochs") {
                return Err(Error::option("--set", "data.epochs or update.updates, which it decides", "both"));
            }
            recipe.data.epochs = None;
        }
        recipe.check()?;
        if recipe.data.kind == SCENES {
            // Written down, so that a run which goes on keeps to its scenes whatever is set by then.
            recipe.data.options.entry("seed").or_insert(Value::Integer(recipe.seed as i64));
        }
        Ok(recipe)
    }

    /// The recipe's text, complete with every default.
    ///
    /// # Errors
    /// [`Error::File`] when a value has no place in TOML.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string_pretty(self).map_err(|error| Error::file("recipe.toml", error))
    }

    /// The recipe with as many updates as its epochs take, each of so many draws; `None` if they never end.
    ///
    /// # Errors
    /// [`Error::Option`] for epochs of endless data, and for none at all.
    pub fn with_epochs_of(mut self, draws: Option<u64>) -> Result<Self> {
        let Some(epochs) = self.data.epochs else { return Ok(self) };
        let endless = || Error::option("data.epochs", "nothing: these data never end", epochs);
        let updates = (epochs * draws.ok_or_else(endless)? as f64 / self.batch.draws as f64).ceil();
        if !(updates >= 1.0 && updates.is_finite()) {
            return Err(Error::option("data.epochs", "above 0", epochs));
        }
        self.update.updates = updates as u64;
        Ok(self)
    }

    fn check(&self) -> Result<()> {
        let positive = [
            ("batch.draws", self.batch.draws),
            ("update.updates", self.update.updates),
            ("run.log_every", self.run.log_every),
            ("run.checkpoint_every", self.run.checkpoint_every),
        ];
        if let Some((option, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(Error::option(option, "at least 1", 0));
        }
        if self.batch.sample_patches == Some(0) {
            return Err(Error::option("batch.sample_patches", "at least 1, or nothing for all", 0));
        }
        if self.batch.draws > MOST_DRAWS {
            return Err(Error::option("batch.draws", format!("at most {MOST_DRAWS}"), self.batch.draws));
        }
        let UpdateOptions { schedule, adam, clip_norm, loss, extra_weight, patches, .. } = &self.update;
        schedule.check()?;
        adam.check()?;
        for (option, value) in [
            ("update.clip_norm", *clip_norm),
            ("update.extra_weight", *extra_weight),
            ("update.patches.weight", patches.weight),
            ("update.patches.referred", patches.referred),
            ("update.patches.looked", patches.looked),
            ("update.loss.reg_alpha", loss.reg_alpha),
        ] {
            within(option, value, 0.0..f64::INFINITY, NOT_NEGATIVE)?;
        }
        for (option, value) in [
            ("batch.max_skipped", self.batch.max_skipped),
            ("update.loss.even_answers", loss.even_answers),
            ("update.loss.label_smoothing", loss.label_smoothing),
        ] {
            within(option, value, 0.0..=1.0, "0 to 1")?;
        }
        // With all of them left out nothing would be learnt.
        within("update.loss.drop_worst_ratio", loss.drop_worst_ratio, 0.0..1.0, "0 to below 1")?;
        if let Some(log_end) = loss.log_end {
            let above_0 = (Bound::Excluded(0.0), Bound::Included(1.0));
            within("update.loss.log_end", log_end, above_0, "above 0, at most 1")?;
        }
        if let Some(decay) = self.update.ema_decay {
            within("update.ema_decay", decay, 0.0..1.0, "0 to below 1")?;
        }
        if let Some(choice) = &self.update.quantization {
            choice.check("update.quantization")?;
        }
        let (from, tokenizer) = (self.model.from.is_some(), self.model.tokenizer.is_some());
        if !from && !tokenizer {
            return Err(Error::option("model.tokenizer", "a directory, or a bundle in model.from", "neither"));
        }
        if from && self.model.alike_layers > 0 {
            let expected = "0 where model.from has the weights";
            return Err(Error::option("model.alike_layers", expected, self.model.alike_layers));
        }
        Ok(())
    }
}

/// The share of the first weights from which on an average is called theirs.
const MUCH: f64 = 0.05;

impl Recipe {
    /// What to know of an average that so few updates leave with the weights it began with: it is what is judged and saved.
    pub fn note_of_average(&self) -> Option<String> {
        let (decay, updates) = (self.update.ema_decay?, self.update.updates);
        let left = decay.powf(updates as f64);
        let fitting = MUCH.powf(1.0 / updates.max(1) as f64);
        (left > MUCH).then(|| {
            format!(
                "after {updates} updates the averaged weights, which become the model, still have {:.0} % of those at the \
                 start (update.ema_decay = {decay}; {fitting:.4} leaves {:.0} %)",
                100.0 * left,
                100.0 * MUCH
            )
        })
    }
}

impl ModelChoice {
    /// The configuration of a fresh model, or that of `base` with this recipe's changes.
    ///
    /// # Errors
    /// [`Error::Config`] for keys and values that no model has.
    pub fn config(&self, base: Option<&OfaConfig>) -> Result<OfaConfig> {
        let base = match (base, &self.size) {
            (Some(base), _) => base.clone(),
            (None, None) => OfaConfig::default(),
            (None, Some(name)) => {
                let size = Size::from_name(name);
                let names = || Size::ALL.map(Size::name).join(", ");
                size.ok_or_else(|| Error::option("model.size", names(), name))?.config()
            }
        };
        let failed = |error: serde_json::Error| Error::file("model.config", error);
        let mut json = serde_json::to_value(base).map_err(failed)?;
        for (key, value) in &self.config {
            // Keys that are absent where they have no effect are known all the same.
            let optional = ["scale_attn", "scale_fc", "resnet_layers", "freeze_resnet"];
            if json.get(key).is_none() && !optional.contains(&key.as_str()) {
                return Err(Error::config(key, "a key of config.json", "no such key"));
            }
            json[key.as_str()] = serde_json::to_value(value).map_err(failed)?;
        }
        OfaConfig::from_json(&json.to_string())
    }
}

/// Draws of an update, beyond which no memory is enough.
const MOST_DRAWS: u64 = 1 << 20;
pub(super) const NOT_NEGATIVE: &str = "at least 0";

/// Refuses a number outside of `range`; none is inside that is no number.
pub(super) fn within(option: &str, value: f64, range: impl RangeBounds<f64>, expected: &str) -> Result<()> {
    if range.contains(&value) { Ok(()) } else { Err(Error::option(option, expected, value)) }
}

/// What the recipe in a bundle says that its weights were rounded for; what else it says may be for another version.
///
/// # Errors
/// [`Error::File`] for a recipe that cannot be read or says this wrongly.
pub fn trained_for(bundle: &Path) -> Result<Option<PackingChoice>> {
    let path = bundle.join(RECIPE);
    if !path.is_file() {
        return Ok(None);
    }
    let wrong = |error: &dyn std::fmt::Display| Error::file(path.display(), error);
    let recipe: Table = toml::from_str(&text(&path)?).map_err(|error| wrong(&error))?;
    let Some(said) = recipe.get("update").and_then(|update| update.get("quantization")) else { return Ok(None) };
    let choice: PackingChoice = said.clone().try_into().map_err(|error| wrong(&error))?;
    choice.check("update.quantization").map_err(|error| wrong(&error))?;
    Ok(Some(choice))
}

pub(super) fn text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| Error::file(path.display(), error))
}

/// What a recipe's text says, with `--set` arguments applied.
pub(super) fn parsed<T: DeserializeOwned>(name: &str, text: &str, sets: &[String]) -> Result<T> {
    let mut table: Table = toml::from_str(text).map_err(|error| Error::file(name, error))?;
    for set in sets {
        apply(&mut table, set)?;
    }
    table.try_into().map_err(|error| wrong::<T>(name, text, error))
}

/// What is wrong with a recipe of `text` and `--set` arguments: whoever wrote it is told so.
pub(super) fn wrong<T: DeserializeOwned>(name: &str, text: &str, error: toml::de::Error) -> Error {
    match toml::from_str::<T>(text) {
        Ok(_) => Error::option("--set", "a key and a value that recipes have", error),
        Err(_) => Error::file(name, error),
    }
}

fn apply(table: &mut Table, set: &str) -> Result<()> {
    let wrong = |found: &str| Error::option("--set", "key.key=value", found);
    let (path, text) = set.split_once('=').ok_or_else(|| wrong(set))?;
    let (path, text) = (path.trim(), text.trim());
    // A bare word is a text, so that nobody has to quote it twice.
    let value = toml::from_str::<Table>(&format!("value = {text}")).ok().and_then(|mut table| table.remove("value"));
    let value = value.unwrap_or_else(|| Value::String(text.to_owned()));
    let mut keys = path.split('.').peekable();
    let mut place = table;
    while let Some(key) = keys.next() {
        if key.is_empty() {
            return Err(wrong(set));
        }
        if keys.peek().is_none() {
            place.insert(key.to_owned(), value);
            return Ok(());
        }
        let next = place.entry(key).or_insert_with(|| Value::Table(Table::new()));
        place = next.as_table_mut().ok_or_else(|| Error::option("--set", format!("`{key}` to be a table"), set))?;
    }
    Err(wrong(set))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "model = { tokenizer = 't', image_size = 64 }\ndata = { kind = 'scenes', nouns = 5 }\n";

    #[test]
    fn what_is_set_wins_and_the_rest_are_defaults() {
        let sets = ["update.schedule.lr=3e-4", "data.nouns=9", "model.config.d_model=384", "model.size=base"];
        let recipe = Recipe::parse("r", SMALL, &sets.map(String::from)).expect("a recipe");
        assert_eq!(recipe.update.schedule.lr, 3e-4);
        assert_eq!(recipe.data.options["nouns"].as_integer(), Some(9));
        assert_eq!(recipe.batch, BatchOptions::default());
        let config = recipe.model.config(None).expect("a config");
        assert_eq!((config.d_model, config.encoder_layers), (384, 6));
    }

    #[test]
    fn a_resolved_recipe_reads_back_as_itself() {
        let recipe = Recipe::parse("r", SMALL, &[]).expect("a recipe");
        assert_eq!(Recipe::parse("r", &recipe.to_toml().expect("a text"), &[]).expect("a recipe"), recipe);
    }

    #[test]
    fn scenes_are_those_of_the_seed_that_a_run_began_with() {
        let seed = |text: &str, sets: &[&str]| {
            let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
            let recipe = Recipe::parse("r", text, &sets).expect("a recipe");
            (recipe.data.options["seed"].as_integer(), recipe.to_toml().expect("a text"))
        };
        let (own, saved) = seed(SMALL, &["seed=9"]);
        assert_eq!(own, Some(9));
        assert_eq!(seed(&saved, &["seed=4"]).0, Some(9), "a resumed run");
        assert_eq!(seed(SMALL, &["seed=9", "data.seed=1"]).0, Some(1));
        let files = SMALL.replace("scenes", "caption");
        assert_eq!(Recipe::parse("r", &files, &[]).expect("a recipe").data.options.get("seed"), None);
    }

    #[test]
    fn runs_of_before_keep_their_scenes() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("recipe.toml");
        std::fs::write(&path, SMALL.replace("nouns = 5", "nouns = 5, side = 64") + "seed = 9\n").expect("a file");
        let recipe = Recipe::read_saved(&path, &[]).expect("a recipe");
        assert_eq!((recipe.seed, recipe.data.options["seed"].as_integer()), (9, Some(1)));
        assert!(!recipe.data.options.contains_key("side"), "a run's was that of its model");
    }

    #[test]
    fn epochs_decide_the_updates() {
        let sets = ["data.epochs=2.5", "batch.draws=4"].map(String::from);
        let recipe = Recipe::parse("r", SMALL, &sets).expect("a recipe");
        assert_eq!(recipe.clone().with_epochs_of(Some(9)).expect("a recipe").update.updates, 6);
        assert!(recipe.with_epochs_of(None).expect_err("an error").to_string().contains("never end"));

        // What is set wins over what the recipe says, and two that contradict each other are refused.
        let twice = SMALL.replace("nouns = 5 }\n", "nouns = 5, epochs = 2 }\n");
        let recipe = Recipe::parse("r", &twice, &["update.updates=3".to_owned()]).expect("a recipe");
        assert_eq!(recipe.with_epochs_of(Some(900)).expect("a recipe").update.updates, 3);
        let sets = ["data.epochs=2", "update.updates=3"].map(String::from);
        assert!(Recipe::parse("r", SMALL, &sets).expect_err("an error").to_string().contains("data.epochs"));
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let message = |sets: &[&str]| {
            let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
            Recipe::parse("r.toml", SMALL, &sets).expect_err("an error").to_string()
        };
        assert!(message(&["update.lr=1"]).contains("lr"), "{}", message(&["update.lr=1"]));
        assert!(message(&["batch.draws=0"]).contains("batch.draws"));
        for wrong in ["{ bits = 5 }", "{ bits = 8, finer = ['stem'] }", "{ bits = 4, group_size = 48 }"] {
            assert!(message(&[&format!("update.quantization={wrong}")]).contains("update.quantization"));
        }
        assert!(message(&["batch.sample_patches=0"]).contains("batch.sample_patches"));
        for (option, wrong) in [("drop_worst_ratio", 1.0), ("log_end", 0.0), ("log_end", 1.5)] {
            let told = message(&[&format!("update.loss.{option}={wrong:?}")]);
            assert!(told.contains(&format!("update.loss.{option}")), "{told}");
        }
        let unknown = Recipe::parse("r.toml", SMALL, &["update.rate=1".to_owned()]).expect_err("an error");
        assert!(matches!(unknown, Error::Option { .. }), "as bad as any other option: {unknown}");
        assert!(message(&["seed"]).contains("--set"));
        let recipe = Recipe::parse("r", SMALL, &["model.config.heads=3".to_owned()]).expect("a recipe");
        assert!(recipe.model.config(None).expect_err("an error").to_string().contains("heads"));
    }
}
