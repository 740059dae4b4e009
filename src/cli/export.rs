//! `ofa export`: bundle → bundle, with smaller weights and a report of what that costs.

use super::convert::store;
use super::interrupt::until_interrupted;
use super::verify::parameters;
use crate::config::{OfaConfig, Quantization};
use crate::device::DeviceChoice;
use crate::error::{Error, Result};
use crate::weights::{
    Bundle, Drift, Manifest, PackingChoice, Part, Precision, RECIPE, RawTensor, SeenByName, VQGAN, compare_keys, drift,
    feedback, fold_batch_norm, load_model, quantize_tensor, read_bundle, read_vqgan, refuse, write_bundle_and,
    write_vqgan,
};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
#[cfg(feature = "train")]
use {
    super::evaluate::Progress,
    super::questions::QuestionArgs,
    crate::config::AnswerOptions,
    crate::predict::Predictor,
    crate::train::{trained_for, watch},
    burn::tensor::Device,
};

/// Writes a bundle with other weights: f32, f16, or quantised to 8 or 4 bits.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory of an f32 or f16 bundle
    dir: PathBuf,
    /// Directory of the new bundle; a bundle that is there is replaced, but for its image codes if DIR has none
    #[arg(long)]
    out: PathBuf,
    /// f32, f16, q8 or q4
    #[arg(long, value_parser = parse_dtype)]
    dtype: Precision,
    /// Weights that share a scale: 32, 64 or 128 [default: as the model was trained for, if for no more bits; else 32, of
    /// 4 bits 64 or, from OFA-Medium on, 128]
    #[arg(long, value_parser = parse_group)]
    group_size: Option<usize>,
    /// Parts of a q4 bundle that get 8 bits: its answers depend on them most, and of a small model they are most of it
    /// [default: those that the model was trained for as q4]
    #[arg(long, value_name = "PART,…", value_delimiter = ',', value_enum)]
    finer: Vec<Part>,
    /// Round so that it shows least in the model's answers to the questions of an evaluation set: a task, whose set --data
    /// names, or `scenes`
    #[cfg(feature = "train")]
    #[arg(long, value_name = "TASK")]
    calibrate: Option<String>,
    #[cfg(feature = "train")]
    #[command(flatten, next_help_heading = "The questions of --calibrate")]
    questions: QuestionArgs,
    /// Leave the batch norms as they are, so that a bundle of f32 or f16 weights can still be trained
    #[arg(long)]
    keep_batch_norm: bool,
    /// Skip the comparison with the original weights, which runs both models
    #[arg(long)]
    no_report: bool,
    /// Where the comparison runs: auto, gpu or cpu
    #[arg(long, default_value = "auto")]
    device: String,
}

fn parse_dtype(text: &str) -> std::result::Result<Precision, String> {
    Precision::from_name(text).ok_or_else(|| "expected f32, f16, q8 or q4".to_owned())
}

fn parse_group(text: &str) -> std::result::Result<usize, String> {
    let sizes = Quantization::GROUP_SIZES;
    let size = text.parse().ok().filter(|size| sizes.contains(size));
    size.ok_or_else(|| format!("expected one of {}", sizes.map(|size| size.to_string()).join(", ")))
}

pub fn run(args: Args) -> Result<()> {
    if let (Ok(dir), Ok(out)) = (args.dir.canonicalize(), args.out.canonicalize())
        && dir.starts_with(&out)
    {
        let expected = format!("another directory than {}, which is not to be replaced", args.dir.display());
        return Err(Error::option("--out", expected, args.out.display()));
    }
    DeviceChoice::from_name(&args.device)?;
    if args.group_size.is_some() && args.dtype.bits().is_none() {
        return Err(Error::option("--group-size", "--dtype q8 or q4, whose weights share scales", args.dtype));
    }
    if !args.finer.is_empty() && args.dtype != Precision::Q4 {
        return Err(Error::option("--finer", "--dtype q4, of which parts can have 8 bits", args.dtype));
    }
    #[cfg(feature = "train")]
    if args.calibrate.is_none() && args.questions.are_given() {
        return Err(Error::option("--calibrate", "a task, whose questions the other options choose", "nothing"));
    }
    let Bundle { manifest, mut files, mut tensors } = read_bundle(&args.dir)?;
    if manifest.precision.bits().is_some() {
        let found = format!("one of {}", manifest.precision);
        return Err(Error::option("DIR", "a bundle of f32 or f16 weights, not quantised yet", found));
    }
    let shapes = |tensors: &[(String, RawTensor<'_>)]| -> Vec<_> {
        tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect()
    };
    refuse(args.dir.display(), &compare_keys(&parameters(&files.config)?, &shapes(&tensors)))?;

    if !args.keep_batch_norm && !files.config.batch_norm_folded {
        tensors = fold_batch_norm(tensors)?;
        files.config.batch_norm_folded = true;
    }
    let order = parameters(&files.config)?;
    let shapes_by_name = order.iter().map(|(name, shape)| (name.as_str(), shape.as_slice()));
    let packing = choice(&args, &files.config)?.map(|choice| choice.packing(&files.config, shapes_by_name));
    files.config.quantization = packing.clone();
    let seen = seen(&args, packing.as_ref().map(|packing| packing.usual))?;
    refuse(args.dir.display(), &compare_keys(&order, &shapes(&tensors)))?;

    let mut tensors: HashMap<_, _> = tensors.into_iter().collect();
    let stored = order.into_iter().filter_map(|(name, _)| tensors.remove_entry(&name)).flat_map(|(name, tensor)| {
        let stored = match &packing {
            Some(packing) => {
                let feedback = seen.get(&name).map_or(Ok(None), |seen| feedback(&name, seen));
                feedback.and_then(|feedback| quantize_tensor(&name, &tensor, packing.of(&name), feedback.as_ref()))
            }
            None => store(&name, &tensor, args.dtype).map(|tensor| vec![(name, tensor)]),
        };
        match stored {
            Ok(tensors) => tensors.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        }
    });
    let stored = until_interrupted(&args.out, stored)?;
    let mut codes = None;
    let written = write_bundle_and(&args.out, &files, args.dtype, stored, |folder| {
        codes = export_codes(&args, folder)?;
        keep_recipe(&args.dir, folder)
    })?;
    say!(
        "{}: {}, {:.1} MB (from {}, {:.1} MB)",
        args.out.display(),
        written.precision,
        written.total_bytes as f64 / 1e6,
        manifest.precision,
        manifest.total_bytes as f64 / 1e6
    );
    if let Some(codes) = codes {
        say!("image codes: {}, {:.1} MB", codes.precision, codes.total_bytes as f64 / 1e6);
    }
    if !args.no_report {
        let Drift { max, mean, spread, positions, agreeing } = parity_report(&args.dir, &args.out, &args.device)?;
        say!("logits: difference {max:.4} at most, {mean:.5} on average, where they vary by {spread:.3}");
        say!("preferred token: the same at {agreeing} of {positions} positions");
    }
    Ok(())
}

/// How the weights are to be packed, if they are: as asked, or else as the model was trained for.
fn choice(args: &Args, config: &OfaConfig) -> Result<Option<PackingChoice>> {
    let Some(bits) = args.dtype.bits() else { return Ok(None) };
    let mut choice = PackingChoice { bits, group_size: args.group_size, finer: args.finer.clone() };
    // Eight bits have all the values of four where they span the same groups, but not the other way round.
    if let Some(trained) = trained_for(&args.dir)?.filter(|trained| trained.bits <= bits) {
        choice.group_size = choice.group_size.or(Some(trained.usual(config).group_size));
        if choice.finer.is_empty() && trained.bits == bits {
            choice.finer = trained.finer;
        }
    }
    Ok(Some(choice))
}

#[cfg(not(feature = "train"))]
fn trained_for(_: &Path) -> Result<Option<PackingChoice>> {
    Ok(None)
}

/// What the matrices to be packed are multiplied with when the questions of `--calibrate` are answered.
#[cfg(feature = "train")]
fn seen(args: &Args, quantization: Option<Quantization>) -> Result<SeenByName> {
    let Some(task) = &args.calibrate else { return Ok(SeenByName::new()) };
    let Some(Quantization { group_size, .. }) = quantization else {
        return Err(Error::option("--calibrate", "--dtype q8 or q4, whose weights are rounded", args.dtype));
    };
    let questions = args.questions.open(task, &args.dir)?;
    let (watched, seen) = Predictor::load_watched(&args.dir, group_size)?;
    let model = Predictor::load(&args.dir, &Device::flex())?;
    let mut progress = Progress::over(questions.len());
    let options = AnswerOptions::default();
    let each = |unreadable: Option<&Error>| progress.next(unreadable);
    let count = pollster::block_on(watch(&model, &watched, questions.iter(), &options, each))?;
    progress.finish();
    if count == 0 {
        return Err(Error::option("--calibrate", "questions that can be answered", "none"));
    }
    say!("rounded for {count} answers");
    Ok(seen)
}

#[cfg(not(feature = "train"))]
fn seen(_: &Args, _: Option<Quantization>) -> Result<SeenByName> {
    Ok(SeenByName::new())
}

/// The model of image codes, if there is one: convolutions alone, which are never quantised.
fn export_codes(args: &Args, folder: &Path) -> Result<Option<Manifest>> {
    if !args.dir.join(VQGAN).is_dir() {
        return Ok(None);
    }
    let precision = if args.dtype == Precision::F32 { Precision::F32 } else { Precision::F16 };
    let (config, tensors) = read_vqgan(&args.dir)?;
    let stored = tensors.into_iter().map(|(name, tensor)| {
        let stored = store(&name, &tensor, precision)?;
        Ok((name, stored))
    });
    write_vqgan(&folder.join(VQGAN), &config, precision, stored).map(Some)
}

/// The recipe says which world a model of the scenes was trained in.
fn keep_recipe(from: &Path, to: &Path) -> Result<()> {
    let (from, to) = (from.join(RECIPE), to.join(RECIPE));
    if from.is_file() {
        std::fs::copy(&from, &to).map_err(|error| Error::file(to.display(), error))?;
    }
    Ok(())
}

/// How far the bundle in `other` is from the one in `reference`, running both over the same inputs.
///
/// # Errors
/// Whatever stops either of the two from being loaded or run.
pub fn parity_report(reference: &Path, other: &Path, device: &str) -> Result<Drift> {
    pollster::block_on(async {
        let (device, _) = DeviceChoice::from_name(device)?.open().await?;
        let (files, reference) = load_model(reference, &device)?;
        let (_, other) = load_model(other, &device)?;
        drift(&files.config, &reference, &other).await
    })
}
