//! `ofa codes train`: a small model of image codes from nothing.

use crate::cli::memory::keep_freed;
use crate::cli::training::{as_argument, interrupts};
use crate::device::DeviceChoice;
use crate::error::{Error, Result};
use crate::train::corpus::fetched_folder;
use crate::train::{CodesEvent, CodesRecipe, CodesRun, ImageFolder, Pictures, VqvaeUpdated};
use crate::weights::{RECIPE, VQGAN};
use std::path::PathBuf;
use std::time::Instant;

/// Trains a small model of image codes (VQ-VAE), on scenes drawn on the fly or on a folder of images.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The recipe, a TOML file such as recipes/codes-cpu.toml [default: 512 codes of 8 pixels a side]
    recipe: Option<PathBuf>,
    /// The run's directory; in the end its folder vqgan holds the model
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A directory of JPEG, PNG and WebP files, in place of scenes; a run that goes on keeps to its own
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Change a value of the recipe, `update.updates=5000` for instance
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Go on with the run that is in DIR
    #[arg(long)]
    resume: bool,
    /// Updates between two lines of progress
    #[arg(long, default_value_t = 100)]
    log_every: u64,
    /// auto, gpu or cpu
    #[arg(long, default_value = "auto")]
    device: String,
}

pub fn run(args: Args) -> Result<()> {
    // A run goes on as it began.
    let begun = args.out.join(RECIPE);
    let recipe = args.recipe.as_deref().or(Some(begun.as_path()).filter(|path| args.resume && path.is_file()));
    let mut recipe = CodesRecipe::read(recipe, &args.sets)?;
    if let Some(images) = args.images.as_ref().or(recipe.images.as_ref()) {
        // The same wherever the run is gone on with from.
        recipe.images = Some(images.canonicalize().map_err(|error| Error::file(images.display(), error))?);
    }
    let pictures: Box<dyn Pictures> = match &recipe.images {
        Some(directory) => {
            let folder = ImageFolder::open(directory, recipe.seed)?;
            say!("{}: {} images", directory.display(), folder.count());
            Box::new(folder)
        }
        None => {
            recipe.data.stickers = recipe.data.stickers.or_else(fetched_folder);
            let world = recipe.world()?;
            world.notes().iter().for_each(|note| tell!("{note}"));
            Box::new(world)
        }
    };
    keep_freed();
    let last = recipe.update.updates;
    pollster::block_on(async {
        let (device, report) = DeviceChoice::from_name(&args.device)?.open().await?;
        say!("device: {} ({})", report.kind, report.name);
        let mut run = CodesRun::open(recipe, &args.out, &device, args.resume)?;
        let (started, before) = (Instant::now(), run.trainer.updates());
        let said = |event: CodesEvent<'_>| {
            let VqvaeUpdated { update, lr, reconstruction, commitment, codes } = match event {
                CodesEvent::Updated(updated) => updated,
                CodesEvent::Skipped(error) => return tell!("left out: {error}"),
            };
            if *update == before + 1 || update.is_multiple_of(args.log_every.max(1)) || *update == last {
                let each = started.elapsed().as_secs_f64() / (update - before) as f64;
                say!(
                    "update {update}/{last}  lr {lr:.1e}  reconstruction {reconstruction:.4}  commitment \
                     {commitment:.4}  {codes} codes used  {each:.2} s each"
                );
            }
        };
        let interrupted = interrupts(true)?;
        match run.go(pictures.as_ref(), &interrupted, said).await? {
            Some(manifest) => say!("{}: {} parameters", args.out.join(VQGAN).display(), manifest.parameters),
            None => say!("stopped; go on with: ofa codes train --out {} --resume", as_argument(&args.out)),
        }
        Ok(())
    })
}
