//! `ofa convert`: a checkpoint as its authors wrote it → a bundle.

use super::interrupt::until_interrupted;
use crate::config::{AnswerOptions, GenerationConfig, PromptType, Size};
use crate::error::{Error, Result};
use crate::task::find;
use crate::vocab::Vocab;
use crate::weights::VocabFiles;
use crate::weights::{
    BundleFiles, Checkpoint, Dtype, Precision, RawTensor, Row, Settings, Shapes, adopt_config, check_size,
    compare_keys, dropped_row, infer_config, merge_config, read_checkpoint, refuse, to_bundle_names, write_bundle,
};
use std::collections::HashMap;
use std::path::PathBuf;

/// Converts a fairseq .pt or a directory of the HF port into a bundle.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// fairseq checkpoint (.pt), or a directory with config.json and pytorch_model.bin or model.safetensors
    src: PathBuf,
    /// Directory of the bundle; a bundle that is there is replaced, but for its image codes
    #[arg(long)]
    out: PathBuf,
    /// Directory with the vocabulary: tokenizer.json, or vocab.json and merges.txt, or dict.txt, encoder.json and
    /// vocab.bpe [default: beside SRC]
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// Insist on a published scale: tiny, medium, base, large or huge
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    arch: Option<Size>,
    /// How weights are stored: f32 or f16 [default: f16 where all of SRC are, else f32]
    #[arg(long, value_parser = parse_dtype)]
    dtype: Option<Precision>,
    /// Take the moving average (extra_state.ema) instead of the weights last trained
    #[arg(long)]
    ema: bool,
    /// The side in pixels that images are resized to [default: as SRC was trained, or the scale pre-trained]
    #[arg(long, value_name = "PIXELS")]
    image_size: Option<u32>,
    /// Print every tensor instead of a summary
    #[arg(long)]
    verbose: bool,
}

fn parse_size(text: &str) -> std::result::Result<Size, String> {
    let names = || Size::ALL.map(Size::name).join(", ");
    Size::from_name(text).ok_or_else(|| format!("expected one of {}", names()))
}

pub(super) fn parse_dtype(text: &str) -> std::result::Result<Precision, String> {
    match Precision::from_name(text) {
        Some(precision @ (Precision::F32 | Precision::F16)) => Ok(precision),
        _ => Err("expected f32 or f16; `ofa export` writes q8 and q4".to_owned()),
    }
}

pub fn run(args: Args) -> Result<()> {
    let Checkpoint { layout, tensors, skipped, mut settings, mut config, of_bundle, notes } =
        read_checkpoint(&args.src, args.ema)?;
    // Of what is no checkpoint, that was said before what is missing beside it.
    let vocabulary = VocabFiles::find(args.tokenizer.as_deref(), &args.src)?;
    say!("{}: {layout:?} names, {} tensors", args.src.display(), tensors.len() + skipped.len());
    notes.iter().for_each(|note| say!("{note}"));
    // A bundle's own says what bundles say.
    if !of_bundle {
        config.iter_mut().for_each(adopt_config);
    }
    if config.as_ref().is_some_and(|file| file.get("use_ofasys") == Some(&true.into())) {
        let found = "true: an OFASys model, which is another architecture";
        return Err(Error::config("use_ofasys", "false", found));
    }
    if config.as_ref().and_then(|file| file.get("quantization")).is_some_and(|packed| !packed.is_null()) {
        let found = "a quantised bundle, which needs no conversion";
        return Err(Error::config("quantization", "nothing, as in a checkpoint", found));
    }

    let mut shapes: Shapes = skipped.iter().map(|(name, shape)| (name.clone(), shape.clone())).collect();
    let (tensors, mut rows) = to_bundle_names(layout, tensors)?;
    rows.extend(skipped.iter().map(|(name, _)| dropped_row(name)));
    print_rows(&rows, args.verbose);

    shapes.extend(tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())));
    // What a directory's config.json says as the bundles here do.
    for (key, name) in [("num_codes", "code_dict_size"), ("num_bins", "num_bins")] {
        let value = config.as_ref().and_then(|file| file.get(key)).cloned();
        settings.extend(value.map(|value| (name.to_owned(), value)));
    }
    let inferred = infer_config(&shapes, &settings, vocabulary.text_size()?)?;
    let config = match &config {
        Some(file) => merge_config(file, &inferred)?,
        None => inferred,
    };
    if let Some(size) = args.arch {
        check_size(size, &config)?;
    }
    let tokenizer_json = vocabulary.tokenizer_json(config.num_codes, config.num_bins)?;
    Vocab::from_tokenizer_json(&tokenizer_json, &config)?;

    let expected = super::verify::parameters(&config)?;
    let found: Vec<_> = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect();
    refuse(args.src.display(), &compare_keys(&expected, &found))?;

    let precision = args.dtype.unwrap_or_else(|| usual_precision(&tensors));
    let largest = config.largest_image_side();
    if let Some(side) = args.image_size.filter(|side| !(1..=largest).contains(side)) {
        return Err(Error::option("--image-size", format!("1 to {largest} for this model"), side));
    }
    let trained =
        settings.get("patch_image_size").and_then(serde_json::Value::as_u64).and_then(|side| side.try_into().ok());
    let trained = trained.filter(|side| (1..=largest).contains(side));
    let image_size = args.image_size.or(trained).unwrap_or_else(|| config.pretraining_image_size());
    let all = AnswerOptions { image_size: Some(image_size), ..AnswerOptions::default() };
    let mut generation = GenerationConfig::for_all(all);
    if let Some((task, prompt_type)) = prompt_type(&settings)? {
        say!("{task}: the decoder is prompted as in its training");
        generation =
            generation.with_task(task, AnswerOptions { prompt_type: Some(prompt_type), ..AnswerOptions::default() });
    }
    let files = BundleFiles { config, tokenizer_json, generation_config: generation.to_json()? };
    let mut tensors: HashMap<_, _> = tensors.into_iter().collect();
    let stored = expected.into_iter().filter_map(|(name, _)| tensors.remove_entry(&name)).map(|(name, tensor)| {
        let stored = store(&name, &tensor, precision)?;
        Ok((name, stored))
    });
    let stored = until_interrupted(&args.out, stored)?;
    let manifest = write_bundle(&args.out, &files, precision, stored)?;
    say!(
        "{}: {} parameters, {precision}, {:.1} MB in {} files",
        args.out.display(),
        manifest.parameters,
        manifest.total_bytes as f64 / 1e6,
        manifest.files.len() + 1
    );
    Ok(())
}

/// The task that a checkpoint was fine-tuned for, with how it prompts the decoder, where that is not as usual.
fn prompt_type(settings: &Settings) -> Result<Option<(&'static str, PromptType)>> {
    let text = |key: &str| settings.get(key).and_then(serde_json::Value::as_str);
    let (Some(name), Some(found)) = (text("task"), settings.get("prompt_type")) else { return Ok(None) };
    // The original's names of tasks, of which two are others here.
    let name = match name {
        "vqa_gen" => "vqa",
        "snli_ve" => "entailment",
        name => name,
    };
    let Ok(task) = find(name) else { return Ok(None) };
    let found = serde_json::from_value(found.clone())
        .map_err(|_| Error::config("prompt_type", "none, src or prev_output", found))?;
    Ok(Some((task.name, found)).filter(|(_, found)| *found != task.prompt_type))
}

/// How tensors are stored if nobody says so: as f16 where all of them are. BF16 has small and large values that F16 has not.
pub(super) fn usual_precision(tensors: &[(String, RawTensor<'_>)]) -> Precision {
    let halves = tensors.iter().all(|(_, tensor)| tensor.dtype == Dtype::F16);
    if halves { Precision::F16 } else { Precision::F32 }
}

/// A float tensor in the bundle's floating type.
pub(super) fn store(name: &str, tensor: &RawTensor<'_>, precision: Precision) -> Result<RawTensor<'static>> {
    let values = tensor.to_f32(name)?;
    if let Some(value) = values.iter().find(|value| !value.is_finite()) {
        return Err(Error::tensor(name, "finite values", value));
    }
    match precision {
        Precision::F16 => RawTensor::from_f32_as_f16(name, tensor.shape.clone(), &values),
        _ => RawTensor::from_f32(name, tensor.shape.clone(), &values),
    }
}

/// What became of the tensors: one line each, or one line for each rule.
fn print_rows(rows: &[Row], verbose: bool) {
    if verbose {
        for Row { from, to, rule } in rows {
            match to {
                Some(to) if to == from => say!("  {from}"),
                Some(to) => say!("  {from} → {to}"),
                None => say!("  {from}: {rule}"),
            }
        }
        return;
    }
    let mut rules: Vec<(&str, usize)> = Vec::new();
    for row in rows {
        match rules.iter_mut().find(|(rule, _)| *rule == row.rule) {
            Some((_, count)) => *count += 1,
            None => rules.push((&row.rule, 1)),
        }
    }
    rules.iter().for_each(|(rule, count)| say!("  {count:5} {rule}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fine_tunings_keep_their_prompts() {
        let of = |task: &str, found: &str| {
            prompt_type(&Settings::from([("task".into(), task.into()), ("prompt_type".into(), found.into())]))
        };
        assert_eq!(of("vqa_gen", "prev_output").unwrap(), Some(("vqa", PromptType::PrevOutput)));
        assert_eq!(of("snli_ve", "prev_output").unwrap(), None, "as usual");
        assert_eq!(of("sst2", "none").unwrap(), Some(("sst2", PromptType::None)));
        assert_eq!(of("unify_task", "none").unwrap(), None);
        assert!(of("vqa_gen", "both").unwrap_err().to_string().contains("prev_output"));
    }
}
