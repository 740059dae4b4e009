//! `ofa codes`: images to the codes that image infilling and text-to-image speak of, and back.

#[cfg(feature = "train")]
mod train;

use super::convert::{parse_dtype, store, usual_precision};
use super::output::check_png;
use super::verify::codes_parameters;
use crate::device::DeviceChoice;
use crate::error::{Error, Result};
use crate::image::{decode, encode_png};
use crate::predict::ImageCodes;
use crate::weights::{Precision, compare_keys, infer_vqgan_config, read_vqgan_checkpoint, refuse, write_vqgan};
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Turns images into codes and back, with the folder `vqgan` of a bundle.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Convert(ConvertArgs),
    Encode(EncodeArgs),
    Decode(DecodeArgs),
    #[cfg(feature = "train")]
    Train(train::Args),
}

/// Converts a checkpoint of taming-transformers: GumbelVQ or VQModel, whose configuration its tensors show.
#[derive(Debug, clap::Args)]
struct ConvertArgs {
    /// last.ckpt, or a .safetensors file with the same names
    src: PathBuf,
    /// The folder to write: BUNDLE/vqgan adds image codes to a bundle
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How weights are stored: f32 or f16 [default: f16 where all of SRC are, else f32]
    #[arg(long, value_parser = parse_dtype)]
    dtype: Option<Precision>,
}

/// Prints the codes of an image, a line for each row of the raster.
#[derive(Debug, clap::Args)]
struct EncodeArgs {
    /// A bundle with image codes, or its folder vqgan
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// JPEG, PNG or WebP
    #[arg(long, value_name = "FILE")]
    image: PathBuf,
    /// The side in pixels of the square that is coded
    #[arg(long, value_name = "PIXELS", default_value_t = 256)]
    side: u32,
    /// Only the part that image infilling hides: the middle of the image, scaled to twice the side
    #[arg(long)]
    middle: bool,
    /// auto, gpu or cpu
    #[arg(long, default_value = "auto")]
    device: String,
}

/// Draws the image of codes.
#[derive(Debug, clap::Args)]
struct DecodeArgs {
    /// A bundle with image codes, or its folder vqgan
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The codes, a line for each row of the raster; - reads them from standard input
    #[arg(long, value_name = "FILE")]
    codes: PathBuf,
    /// PNG to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// auto, gpu or cpu
    #[arg(long, default_value = "auto")]
    device: String,
}

pub fn run(args: Args) -> Result<()> {
    match args.command {
        Command::Convert(args) => convert(args),
        Command::Encode(args) => encode(args),
        Command::Decode(args) => draw(args),
        #[cfg(feature = "train")]
        Command::Train(args) => train::run(args),
    }
}

fn convert(args: ConvertArgs) -> Result<()> {
    let tensors = read_vqgan_checkpoint(&args.src)?;
    let found: Vec<_> = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect();
    let config = infer_vqgan_config(&found.iter().cloned().collect())?;
    let expected = codes_parameters(&config)?;
    refuse(args.src.display(), &compare_keys(&expected, &found))?;

    let precision = args.dtype.unwrap_or_else(|| usual_precision(&tensors));
    let mut tensors: HashMap<_, _> = tensors.into_iter().collect();
    let stored = expected.into_iter().filter_map(|(name, _)| tensors.remove_entry(&name)).map(|(name, tensor)| {
        let stored = store(&name, &tensor, precision)?;
        Ok((name, stored))
    });
    let manifest = write_vqgan(&args.out, &config, precision, stored)?;
    say!(
        "{}: {} codes of {} pixels a side, {} parameters, {precision}, {:.1} MB",
        args.out.display(),
        config.n_embed,
        config.stride(),
        manifest.parameters,
        manifest.total_bytes as f64 / 1e6
    );
    Ok(())
}

fn encode(args: EncodeArgs) -> Result<()> {
    let pixels = decode(&read(&args.image)?).map_err(|error| Error::file(args.image.display(), error))?;
    let codes = pollster::block_on(async {
        let codes = open(&args.model, &args.device).await?;
        let raster = match args.middle {
            true => codes.encode_middle(&pixels, args.side).await?,
            false => codes.encode_square(&pixels, args.side).await?,
        };
        Ok::<_, Error>(raster)
    })?;
    for row in codes.chunks(codes.len().isqrt().max(1)) {
        say!("{}", row.iter().map(usize::to_string).collect::<Vec<_>>().join(" "));
    }
    Ok(())
}

fn draw(args: DecodeArgs) -> Result<()> {
    check_png(&args.out)?;
    let text = if args.codes.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|error| Error::file("standard input", error))?;
        text
    } else {
        String::from_utf8(read(&args.codes)?).map_err(|error| Error::file(args.codes.display(), error))?
    };
    let (codes, columns) = parse_raster(&args.codes, &text)?;
    let pixels = pollster::block_on(async { open(&args.model, &args.device).await?.decode(&codes, columns).await })?;
    std::fs::write(&args.out, encode_png(&pixels)?).map_err(|error| Error::file(args.out.display(), error))?;
    say!("{}: {} x {} pixels", args.out.display(), pixels.width(), pixels.height());
    Ok(())
}

/// Codes, and how many make a row.
fn parse_raster(path: &Path, text: &str) -> Result<(Vec<usize>, usize)> {
    let mut codes = Vec::new();
    let mut columns = 0;
    for (number, line) in text.lines().filter(|line| !line.trim().is_empty()).enumerate() {
        let row: Vec<usize> = line
            .split_whitespace()
            .map(|word| word.parse().map_err(|_| Error::file(path.display(), format!("`{word}` is no code"))))
            .collect::<Result<_>>()?;
        if number > 0 && row.len() != columns {
            let reason = format!("row {} has {} codes, the one before {columns}", number + 1, row.len());
            return Err(Error::file(path.display(), reason));
        }
        columns = row.len();
        codes.extend(row);
    }
    Ok((codes, columns))
}

async fn open(model: &Path, device: &str) -> Result<ImageCodes> {
    let (device, report) = DeviceChoice::from_name(device)?.open().await?;
    if let Some(reason) = &report.reason {
        tell!("running on the CPU: {reason}");
    }
    ImageCodes::load(model, &device)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::file(path.display(), error))
}
