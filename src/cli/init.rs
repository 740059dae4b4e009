//! `ofa init`: a bundle with fresh weights, for demonstrations and tests.

use super::interrupt::until_interrupted;
use crate::config::{GenerationConfig, OfaConfig};
use crate::device::DeviceChoice;
use crate::error::{Error, Result};
use crate::model::{Parameters, Random, Stored, parameter_shapes};
use crate::weights::VocabFiles;
use crate::weights::{BundleFiles, Precision, RawTensor, SHARD_LIMIT, write_bundle_with_limit};
use std::path::PathBuf;

/// Writes a bundle with random weights.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// config.json of the model
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Directory with the vocabulary, in any form that `ofa convert` reads
    #[arg(long, value_name = "DIR")]
    tokenizer: PathBuf,
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The deviation of weights; the original's 0.02 times this
    #[arg(long, default_value_t = 1.0)]
    gain: f64,
    /// The largest shard in MiB
    #[arg(long, default_value_t = SHARD_LIMIT >> 20)]
    shard_size: usize,
    /// generation_config.json of the bundle
    #[arg(long, value_name = "FILE")]
    generation: Option<PathBuf>,
}

pub fn run(args: Args) -> Result<()> {
    let text = |path: &PathBuf| std::fs::read_to_string(path).map_err(|error| Error::file(path.display(), error));
    if !args.gain.is_finite() {
        return Err(Error::option("--gain", "a finite number", args.gain));
    }
    let config = OfaConfig::from_json(&text(&args.config)?)?;
    let (device, _) = pollster::block_on(DeviceChoice::Cpu.open())?;
    device.seed(args.seed);
    let mut random = Random { device: device.clone(), pad_token_id: config.pad_token_id, gain: args.gain };
    let generation_config = args.generation.as_ref().map(text).transpose()?.unwrap_or_else(|| "{}\n".into());
    GenerationConfig::from_json(&generation_config)?;
    let tensors = parameter_shapes(&config, &device)?.into_iter().map(|(name, shape)| {
        let Stored::Flat(values) = random.take(&name, &shape)? else {
            return Err(Error::tensor(&name, "values", "none"));
        };
        let values: Vec<f32> =
            values.into_data().try_into_vec().map_err(|error| Error::device(format!("{error:?}")))?;
        let tensor = RawTensor::from_f32(&name, shape, &values)?;
        Ok((name, tensor))
    });
    let vocabulary = VocabFiles::find(Some(&args.tokenizer), &args.out)?;
    let tokenizer_json = vocabulary.tokenizer_json(config.num_codes, config.num_bins)?;
    let files = BundleFiles { config: config.clone(), tokenizer_json, generation_config };
    let tensors = until_interrupted(&args.out, tensors)?;
    let manifest = write_bundle_with_limit(&args.out, &files, Precision::F32, tensors, args.shard_size << 20)?;
    say!("{}: {} random parameters", args.out.display(), manifest.parameters);
    Ok(())
}
