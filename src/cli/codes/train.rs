//! `ofa codes train`: a small model of image codes from nothing.

use crate::config::VqganConfig;
use crate::device::DeviceChoice;
use crate::error::{Error, Result};
use crate::image::{Filter, Pixels, crop, decode, resize, resize_aspect};
use crate::train::{VqvaeOptions, VqvaeTrainer, VqvaeUpdated};
use crate::weights::{Precision, write_vqgan};
use std::path::{Path, PathBuf};

/// Trains a small model of image codes (VQ-VAE).
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder to write: BUNDLE/vqgan adds image codes to a bundle
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A directory of JPEG, PNG and WebP files
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    #[arg(long, default_value_t = VqvaeOptions::default().updates)]
    updates: u64,
    /// Images an update
    #[arg(long, default_value_t = 8)]
    batch: usize,
    /// The side in pixels of the squares that are learned
    #[arg(long, value_name = "PIXELS", default_value_t = 128)]
    side: u32,
    /// config.json of the model [default: 512 codes of 8 pixels a side]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The highest learning rate
    #[arg(long, default_value_t = VqvaeOptions::default().schedule.lr)]
    lr: f64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Updates between two lines of progress
    #[arg(long, default_value_t = 100)]
    log_every: u64,
    /// auto, gpu or cpu
    #[arg(long, default_value = "auto")]
    device: String,
}

pub fn run(args: Args) -> Result<()> {
    let config = match &args.config {
        None => VqganConfig::small(),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| Error::file(path.display(), error))?;
            VqganConfig::from_json(&text)?
        }
    };
    let mut options = VqvaeOptions { updates: args.updates, ..VqvaeOptions::default() };
    options.schedule.lr = args.lr;
    let source = Folder::open(&args.images, args.side)?;
    println!("{}: {} images", args.images.display(), source.files.len());
    pollster::block_on(async {
        let (device, report) = DeviceChoice::from_name(&args.device)?.open().await?;
        println!("device: {} ({})", report.kind, report.name);
        let mut trainer = VqvaeTrainer::new(config, options, args.seed, &device)?;
        let mut random = fastrand::Rng::with_seed(args.seed);
        for _ in 0..args.updates {
            let images = (0..args.batch.max(1)).map(|_| source.draw(&mut random)).collect::<Result<Vec<_>>>()?;
            let VqvaeUpdated { update, lr, reconstruction, commitment, codes } = trainer.update(&images).await?;
            if update == 1 || update.is_multiple_of(args.log_every.max(1)) || update == args.updates {
                println!(
                    "update {update}/{}  lr {lr:.1e}  reconstruction {reconstruction:.4}  commitment {commitment:.4}  \
                     {codes} codes used",
                    args.updates
                );
            }
        }
        let tensors = trainer.tensors()?.into_iter().map(Ok);
        let manifest = write_vqgan(&args.out, trainer.config(), Precision::F32, tensors)?;
        println!("{}: {} parameters", args.out.display(), manifest.parameters);
        Ok(())
    })
}

/// Squares of the images in a directory.
struct Folder {
    files: Vec<PathBuf>,
    side: u32,
}

impl Folder {
    fn open(directory: &Path, side: u32) -> Result<Self> {
        let failed = |error: std::io::Error| Error::file(directory.display(), error);
        let mut files = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
            if ["jpg", "jpeg", "png", "webp"].iter().any(|known| extension == *known) {
                files.push(path);
            }
        }
        if files.is_empty() {
            return Err(Error::file(directory.display(), "no JPEG, PNG or WebP file in it"));
        }
        // Whatever order the system lists them in, a seed draws the same.
        files.sort();
        Ok(Self { files, side })
    }

    /// The middle of a random image.
    fn draw(&self, random: &mut fastrand::Rng) -> Result<Pixels> {
        let path = &self.files[random.usize(0..self.files.len())];
        let read = || {
            let bytes = std::fs::read(path).map_err(|error| Error::file(path.display(), error))?;
            let pixels = decode(&bytes)?;
            let (width, height) = resize_aspect(pixels.size(), self.side, None);
            let resized = resize(&pixels, width, height, Filter::Lanczos)?;
            crop(&resized, ((width - self.side) / 2, (height - self.side) / 2), self.side, self.side)
        };
        read().map_err(|error| Error::file(path.display(), error))
    }
}
