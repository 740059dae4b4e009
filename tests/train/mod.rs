//! The trainer: what it must keep, whatever happens to it.

mod augment;
mod corpus;
mod data;
mod evaluate;
mod finetuning;
mod loading;
mod metrics;
mod objectives;
mod pretraining;
#[cfg(unix)]
mod processes;
mod ranks;
mod recipes;
mod resuming;
#[cfg(unix)]
mod several;
mod updates;
mod vqvae;

use ofa::error::{Error, Result};
use ofa::train::{Draw, Draws, PatchImage, Recipe, Referred, Role, Sample, Session, Shown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything that draws random numbers in an update is switched on.
const RECIPE: &str = r#"
seed = 5
[model]
image_size = 32
[model.config]
d_model = 16
encoder_layers = 2
decoder_layers = 2
encoder_attention_heads = 2
decoder_attention_heads = 2
encoder_ffn_dim = 32
decoder_ffn_dim = 32
max_position_embeddings = 32
token_bucket_size = 8
image_bucket_size = 8
code_image_size = 32
resnet_layers = [1, 1, 1]
resnet_base_channels = 4
num_codes = 64
num_bins = 100
dropout = 0.1
encoder_drop_path_rate = 0.1
decoder_drop_path_rate = 0.1
[data]
kind = "toy"
[batch]
draws = 4
micro_batch = 2
sample_patches = 3
[update]
updates = 12
ema_decay = 0.9
schedule = { lr = 0.01, warmup_updates = 2 }
loss = { label_smoothing = 0.1 }
[run]
checkpoint_every = 4
"#;

/// Bright images are called by one token and dark ones by another; every `corrupt`-th row cannot be read.
#[derive(Default)]
struct Toy {
    rows: Option<u64>,
    corrupt: Option<u64>,
    /// A row whose question no model has positions for.
    endless: Option<u64>,
    /// Draws from here on have images that are no numbers.
    infinite_from: Option<u64>,
    /// Whether patches are named, as the answers begin.
    named: bool,
    /// Whether questions are about the patches of bright images.
    refers: bool,
    /// Whether captions speak of the first patch with their first token.
    speaks: bool,
}

impl Draws for Toy {
    fn len(&self) -> Option<u64> {
        self.rows
    }

    fn draw(&self, epoch: u64, index: u64) -> Result<Draw> {
        if self.corrupt.is_some_and(|every| index.is_multiple_of(every)) {
            return Err(Error::file("toy.tsv", format!("row {index}: no image")));
        }
        let mut random = fastrand::Rng::with_seed(epoch << 32 | index);
        let bright = random.bool();
        let mut value = || random.f32() * 0.5 + if bright { 0.4 } else { -0.9 };
        let mut values: Vec<f32> = (0..3 * 32 * 32).map(|_| value()).collect();
        if self.infinite_from.is_some_and(|from| index >= from) {
            values[0] = f32::INFINITY;
        }
        let image = Arc::new(PatchImage { width: 32, height: 32, values });
        let answer = if bright { vec![40, 41] } else { vec![50] };
        let names = self.named.then(|| Arc::new(vec![vec![answer[0]]; 4]));
        let sample = |objective, source: Vec<u32>, image: Option<Arc<PatchImage>>| {
            let patch_names = names.clone().filter(|_| image.is_some());
            let referred =
                || Referred { patches: vec![if bright { Role::Target } else { Role::Other }; 4], words: [60, 61, 62] };
            let referred = (self.refers && objective == "vqa").then(referred);
            let spoken = || Shown { part: 0..1, patches: vec![0] };
            let shown = (self.speaks && objective == "caption").then(spoken).into_iter().collect();
            Sample { image, patch_names, referred, shown, ..Sample::new(objective, source, answer.clone()) }
        };
        Ok(Draw {
            main: vec![
                sample("caption", vec![0, 10, 11, 2], Some(image.clone())),
                sample("vqa", if self.endless == Some(index) { vec![12; 5000] } else { vec![0, 12, 2] }, Some(image)),
            ],
            extra: vec![sample("infill_text", vec![0, answer[0], 2], None)],
            ..Draw::default()
        })
    }

    fn place(&self, _epoch: u64, index: u64) -> Option<String> {
        Some(format!("toy.tsv:{}", index + 1))
    }
}

fn recipe(sets: &[&str]) -> Recipe {
    let tokenizer = format!("model.tokenizer={:?}", crate::support::goldens().join("tokenizer"));
    let sets: Vec<String> = sets.iter().map(|set| set.to_string()).chain([tokenizer]).collect();
    Recipe::parse("recipe", RECIPE, &sets).unwrap()
}

fn session(recipe: &Recipe, directory: &Path, resume: bool) -> Result<Session> {
    Session::open(recipe.clone(), directory, &burn::tensor::Device::flex(), resume, true)
}

/// A run's directory that goes with the test.
fn directory() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let run = parent.path().join("run");
    (parent, run)
}
