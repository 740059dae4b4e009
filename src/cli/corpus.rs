//! `ofa corpus`: the corpus that ships, as files, and the tokenizer of its texts.

use crate::error::{Error, Result};
use crate::train::corpus::{ScenesOptions, TokenizerFiles, World, fetched_folder};
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
    #[arg(long, default_value_t = 100)]
    count: u64,
    #[arg(long, value_enum, default_value = "tsv")]
    format: Format,
    #[command(flatten)]
    world: WorldArgs,
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
    #[arg(long, default_value_t = 20_000)]
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
        world.notes().iter().for_each(|note| eprintln!("{note}"));
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
            println!("{}: {count} scenes of {} nouns", out.display(), world.nouns().len());
        }
        What::Tokenizer(TokenizerArgs { out, pieces, count, world }) => {
            std::fs::create_dir_all(&out).map_err(|error| Error::file(out.display(), error))?;
            let texts = world.open()?.texts(count)?;
            let TokenizerFiles { vocab_json, merges_txt } = TokenizerFiles::train(&texts, pieces)?;
            for (name, text) in [("vocab.json", vocab_json), ("merges.txt", merges_txt)] {
                let path = out.join(name);
                std::fs::write(&path, text).map_err(|error| Error::file(path.display(), error))?;
            }
            println!("{}: vocab.json and merges.txt from {} texts", out.display(), texts.len());
        }
    }
    Ok(())
}
