//! `ofa corpus`: the corpus that ships, as files, and the tokenizer of its texts.

use super::world::KnownWorld;
use crate::error::{Error, Result};
use crate::image::{Pixels, encode_png};
use crate::train::corpus::{ScenesOptions, TokenizerFiles, World, fetched_folder};
use crate::train::{Question, Reference};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Makes pictures and texts to look at; training makes its own as it goes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Write scenes as the rows of the original's pre-training files, or as a WebDataset shard
    Scenes(ScenesArgs),
    /// Write pictures of scenes that training never draws, and what evaluation asks of them
    Questions(QuestionsArgs),
    /// Write what the scene maker of the page draws with, as JSON
    #[command(hide = true)]
    Palette(PaletteArgs),
    /// Train a byte-level BPE on the texts of the scenes: vocab.json and merges.txt
    Tokenizer(TokenizerArgs),
}

#[derive(Debug, clap::Args)]
struct WorldArgs {
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Pixels of a picture's side
    #[arg(long, default_value_t = 128)]
    side: u32,
    /// The most objects of a picture
    #[arg(long, default_value_t = 6)]
    objects: usize,
    /// Only the first nouns of the list [default: all]
    #[arg(long)]
    nouns: Option<usize>,
    /// The folder that `make stickers` fills [default: where it does]
    #[arg(long, value_name = "DIR")]
    stickers: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct ScenesArgs {
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    #[arg(long, value_enum, default_value = "tsv")]
    format: Format,
    #[command(flatten)]
    world: WorldArgs,
}

#[derive(Debug, clap::Args)]
struct QuestionsArgs {
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The bundle that will be asked
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Which scenes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Questions about each scene at most
    #[arg(long, default_value_t = 5)]
    each: usize,
    #[command(flatten)]
    world: KnownWorld,
}

#[derive(Debug, clap::Args)]
struct PaletteArgs {
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The bundle that knows the world
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    #[command(flatten)]
    world: KnownWorld,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    Tsv,
    Webdataset,
}

#[derive(Debug, clap::Args)]
struct TokenizerArgs {
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The most pieces to learn, the 256 bytes among them
    #[arg(long, default_value_t = 2500)]
    pieces: usize,
    /// Scenes whose texts are read
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    #[command(flatten)]
    world: WorldArgs,
}

impl WorldArgs {
    fn open(self) -> Result<World> {
        let Self { seed, side, objects, nouns, stickers } = self;
        let defaults = ScenesOptions::default();
        let nouns = nouns.unwrap_or(defaults.nouns);
        let stickers = stickers.or_else(fetched_folder);
        let options = ScenesOptions { seed, side, max_objects: objects, nouns, stickers, ..defaults };
        let world = World::new(options)?;
        world.notes().iter().for_each(|note| tell!("{note}"));
        Ok(world)
    }
}

pub fn run(args: Args) -> Result<()> {
    match args.what {
        What::Scenes(ScenesArgs { out, count, format, world }) => {
            std::fs::create_dir_all(&out).map_err(|error| Error::file(out.display(), error))?;
            let world = world.open()?;
            match format {
                Format::Tsv => world.write_tsv(&out, count)?,
                Format::Webdataset => world.write_webdataset(&out, count)?,
            }
            say!("{}: {count} scenes of {} nouns", out.display(), world.nouns().len());
        }
        What::Questions(args) => questions(&args)?,
        What::Palette(PaletteArgs { out, model, world }) => {
            let failed = |error: &dyn std::fmt::Display| Error::file(out.display(), error);
            let palette = world.open(&model)?.palette()?;
            let palette = serde_json::to_string_pretty(&palette).map_err(|error| failed(&error))?;
            std::fs::write(&out, palette + "\n").map_err(|error| failed(&error))?;
        }
        What::Tokenizer(TokenizerArgs { out, pieces, count, world }) => {
            std::fs::create_dir_all(&out).map_err(|error| Error::file(out.display(), error))?;
            let texts = world.open()?.texts(count)?;
            let TokenizerFiles { vocab_json, merges_txt } = TokenizerFiles::train(&texts, pieces)?;
            for (name, text) in [("vocab.json", vocab_json), ("merges.txt", merges_txt)] {
                let path = out.join(name);
                std::fs::write(&path, text).map_err(|error| Error::file(path.display(), error))?;
            }
            say!("{}: vocab.json and merges.txt from {} texts", out.display(), texts.len());
        }
    }
    Ok(())
}

/// `scene-N.png`, and `questions.json` with the questions of each picture.
fn questions(QuestionsArgs { out, model, seed, count, each, world }: &QuestionsArgs) -> Result<()> {
    std::fs::create_dir_all(out).map_err(|error| Error::file(out.display(), error))?;
    let write = |name: &str, bytes: &[u8]| {
        let path = out.join(name);
        std::fs::write(&path, bytes).map_err(|error| Error::file(path.display(), error))
    };
    let world = world.open(model)?;
    let mut pictures: Vec<Value> = Vec::new();
    let mut last: Option<Pixels> = None;
    for question in world.questions(*seed, *count, *each) {
        let Question { task, image, inputs, reference, group, .. } = question?;
        if let Some(image) = image.filter(|image| last.as_ref() != Some(image)) {
            let name = format!("scene-{}.png", pictures.len() + 1);
            write(&name, &encode_png(&image)?)?;
            pictures.push(json!({ "image": name, "asked": [] }));
            last = Some(image);
        }
        let asked = json!({ "task": task.name, "group": group, "inputs": inputs, "expected": expected(&reference) });
        if let Some(list) = pictures.last_mut().and_then(|picture| picture["asked"].as_array_mut()) {
            list.push(asked);
        }
    }
    write("questions.json", format!("{:#}\n", Value::from(pictures)).as_bytes())?;
    say!("{}: {count} scenes", out.display());
    Ok(())
}

fn expected(reference: &Reference) -> Value {
    match reference {
        Reference::Texts(texts) => json!(texts),
        Reference::Scored(scored) => json!(scored),
        Reference::Region(region) => json!(region),
        Reference::Objects(objects) => json!(objects),
        Reference::Mentions(things) => json!(things),
    }
}
