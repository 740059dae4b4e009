//! `ofa verify`: is this bundle whole, and does the model find in it what it asks for?

use crate::config::{GenerationConfig, OfaConfig, VqganConfig};
use crate::device::DeviceChoice;
use crate::error::Result;
use crate::model::{parameter_shapes, vqgan_parameter_shapes};
use crate::vocab::Vocab;
use crate::weights::{Report, VQGAN, read_files, refuse, verify, verify_vqgan};
use std::path::PathBuf;

/// Checks a bundle: hashes, sizes, shapes, missing and unused keys.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory of the bundle
    dir: PathBuf,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<()> {
    let mut report = verify(&args.dir, parameters)?;
    let (_, files) = read_files(&args.dir)?;
    if let Err(error) = Vocab::from_tokenizer_json(&files.tokenizer_json, &files.config) {
        report.problems.push(format!("tokenizer.json: {error}"));
    }
    report.problems.extend(GenerationConfig::from_json(&files.generation_config).err().map(|error| error.to_string()));
    let codes = args.dir.join(VQGAN);
    if codes.is_dir() {
        let mut serves = Ok(());
        let found = verify_vqgan(&codes, |config| {
            serves = config.serves(&files.config);
            codes_parameters(config)
        })?;
        report.problems.extend(serves.err().map(|error| error.to_string()));
        report.problems.extend(found.problems.iter().map(|problem| format!("{VQGAN}/{problem}")));
        report.files += found.files;
        report.bytes += found.bytes;
        report.tensors += found.tensors;
        report.parameters += found.parameters;
    }
    let Report { problems, files, bytes, tensors, parameters, precision } = &report;
    if args.json {
        say!("{}", serde_json::json!(report));
    } else {
        problems.iter().for_each(|problem| say!("{problem}"));
        let size = *bytes as f64 / 1e6;
        say!("{files} files, {size:.1} MB, {tensors} tensors, {parameters} parameters, {precision}");
    }
    refuse(args.dir.display(), problems)
}

/// What the model asks for, in the order in which it runs.
pub(super) fn parameters(config: &OfaConfig) -> Result<Vec<(String, Vec<usize>)>> {
    let (device, _) = pollster::block_on(DeviceChoice::Cpu.open())?;
    parameter_shapes(config, &device)
}

/// What the model of image codes asks for, in the order in which it runs.
pub(super) fn codes_parameters(config: &VqganConfig) -> Result<Vec<(String, Vec<usize>)>> {
    let (device, _) = pollster::block_on(DeviceChoice::Cpu.open())?;
    vqgan_parameter_shapes(config, &device)
}
