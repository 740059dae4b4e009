//! Searches: the same tokens, and scores within tolerance.

use super::SCORE_TOLERANCE;
use super::case::{Case, Differences};
use super::forward::source;
use crate::config::{Decoding, OfaConfig, Sampling};
use crate::error::{Error, Result};
use crate::generate::{Draw, Hypothesis, SpecialIds, Start, Trie, beam_search, sample, score_candidates};
use crate::model::{OfaModel, Source};
use crate::predict::ModelStep;
use serde_json::Value;

pub async fn run(model: &OfaModel, config: &OfaConfig, case: &Case<'_>, args: &Value) -> Result<f32> {
    let answers: Option<Vec<Vec<u32>>> = serde_json::from_value(args["constraint_trie"].clone())
        .map_err(|error| Error::option("constraint_trie", "lists of ids", error))?;
    search(model, config, case, args, source(model, case)?, answers.as_deref()).await
}

/// Searches for answers to `source`, among `answers` if they are given, and compares them with the case's.
pub async fn search(
    model: &OfaModel,
    config: &OfaConfig,
    case: &Case<'_>,
    args: &Value,
    source: Source,
    answers: Option<&[Vec<u32>]>,
) -> Result<f32> {
    let options = options(args)?;
    let batch = source.tokens.batch;
    let prefixes = if case.find("in.prefix_tokens").is_some() {
        let tokens = case.tokens("in.prefix_tokens")?;
        (0..batch).map(|row| tokens.row(row).to_vec()).collect()
    } else {
        vec![Vec::new(); batch]
    };
    let max_len = options.max_len(source.tokens.len);
    let encoded = model.encode(&source);
    let mut step = ModelStep::new(model, config, &encoded, &options, max_len);
    let ids = SpecialIds::new(config);
    let trie = answers.map(|answers| Trie::new(answers, config.eos_token_id));
    let start = Start { prefixes: &prefixes, trie: trie.as_ref() };
    let found = if options.sampling.is_some() {
        let recorded = Recorded::new(case)?;
        let mut pick = |draw: Draw<'_>| recorded.pick(draw);
        sample(&mut step, &ids, &options, max_len, start, &mut pick, &mut async |_| Ok(())).await?
    } else {
        beam_search(&mut step, &ids, &options, max_len, start, &mut async |_| Ok(())).await?
    };
    compare(config, case, &found)
}

/// The draws of the original, made again: each must be one that could be made here, with the same score.
struct Recorded {
    tokens: Vec<u32>,
    slots: usize,
    len: usize,
}

impl Recorded {
    fn new(case: &Case) -> Result<Self> {
        let [_, slots, len] = case.shape("out.tokens")?;
        Ok(Self { tokens: case.tokens_3d("out.tokens")?, slots, len })
    }

    fn pick(&self, Draw { sample, slot, step, kept }: Draw<'_>) -> Result<usize> {
        let at = (sample * self.slots + slot) * self.len + step;
        let drawn = self.tokens.get(at).copied().unwrap_or_default();
        kept.iter().position(|candidate| candidate.token == drawn).ok_or_else(|| {
            let place = format!("{drawn} among what may be drawn for sample {sample}, slot {slot}, step {step}");
            Error::tensor("out.tokens", place, format!("{kept:?}"))
        })
    }
}

/// All-candidate scoring, sample by sample.
pub async fn candidates(model: &OfaModel, config: &OfaConfig, case: &Case<'_>) -> Result<f32> {
    let mut differences = Differences::default();
    let answers: Vec<Vec<u32>> = serde_json::from_value(case.entry["answers"].clone())
        .map_err(|error| Error::file("manifest.json", format!("answers of `{}`: {error}", case.name)))?;
    let prompts = case.tokens("in.decoder_prompts")?;
    let lengths = case.ints("in.decoder_prompt_lens")?;
    let expected = case.floats("out.scores")?;
    let predicts = case.ints("out.predicts")?;
    let encoded = model.encode(&source(model, case)?);
    for (sample, length) in lengths.into_iter().enumerate() {
        let prompt = &prompts.row(sample)[..length as usize];
        let longest = answers.iter().map(Vec::len).max().unwrap_or(0);
        let options = Decoding::default();
        let mut step = ModelStep::new(model, config, &encoded.sample(sample), &options, prompt.len() + longest);
        let scores = score_candidates(&mut step, prompt, &answers, config.eos_token_id, &mut async |_| Ok(())).await?;
        let wanted = &expected[sample * answers.len()..(sample + 1) * answers.len()];
        differences.compare("out.scores", [&scores, wanted], 1, SCORE_TOLERANCE, |_| true)?;
        let best = (0..scores.len()).rev().max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap_or(0);
        if best as i64 != predicts[sample] {
            return Err(Error::tensor("out.predicts", predicts[sample], best));
        }
    }
    Ok(differences.largest)
}

/// The original's arguments as options.
pub fn options(args: &Value) -> Result<Decoding> {
    let mut options = Decoding::default();
    for (name, value) in args.as_object().into_iter().flatten() {
        let wrong = || Error::option(name, "a value that this argument takes", value);
        let number = || value.as_f64().ok_or_else(wrong);
        let flag = || value.as_bool().ok_or_else(wrong);
        match name.as_str() {
            "beam_size" => options.num_beams = number()? as usize,
            "max_len_a" => options.max_len_a = number()?,
            "max_len_b" => options.max_len_b = number()? as usize,
            "min_len" => options.min_len = number()? as usize,
            "len_penalty" => options.length_penalty = number()?,
            "unk_penalty" => options.unk_penalty = number()?,
            "temperature" => options.temperature = number()?,
            "normalize_scores" => options.normalize_scores = flag()?,
            "no_repeat_ngram_size" => options.no_repeat_ngram_size = number()? as usize,
            "zero_shot" => options.zero_shot = flag()?,
            "gen_code" => options.gen_code = flag()?,
            "constraint_range" => {
                let (start, end) = value.as_str().and_then(|range| range.split_once(',')).ok_or_else(wrong)?;
                let bound = |text: &str| text.trim().parse().map_err(|_| wrong());
                options.constraint_range = Some((bound(start)?, bound(end)?));
            }
            "strategy" => options.sampling = sampling(value.as_str().ok_or_else(wrong)?),
            "constraint_trie" => {}
            _ => return Err(Error::option(name, "an argument of the original generator", value)),
        }
    }
    Ok(options)
}

/// `SamplingTopP` stands for 0.9, `SamplingTop5` for five tokens; the others are no sampling.
fn sampling(strategy: &str) -> Option<Sampling> {
    let (top_k, top_p) = match strategy.strip_prefix("SamplingTop")? {
        "P" => (None, Some(0.9)),
        k => (Some(k.parse().ok()?), None),
    };
    Some(Sampling { top_k, top_p, seed: 0 })
}

fn compare(config: &OfaConfig, case: &Case, found: &[Vec<Hypothesis>]) -> Result<f32> {
    let mut differences = Differences::default();
    let [batch, slots, len] = case.shape("out.tokens")?;
    let tokens = case.tokens_3d("out.tokens")?;
    let scores = case.floats("out.scores")?;
    let token_scores = case.floats("out.positional_scores")?;
    // Goldens of the real shape leave the count out: then a slot without tokens is an empty one.
    let filled = |sample: &[u32]| sample.chunks(len).filter(|row| row[0] != config.pad_token_id).count() as i64;
    let counts = match case.find("out.n_hypos") {
        Some(_) => case.ints("out.n_hypos")?,
        None => tokens.chunks(slots * len).map(filled).collect(),
    };
    for sample in 0..batch {
        let hypotheses = &found[sample];
        if hypotheses.len() != counts[sample] as usize {
            let expected = format!("{} hypotheses for sample {sample}", counts[sample]);
            return Err(Error::tensor("out.n_hypos", expected, hypotheses.len()));
        }
        for (slot, hypothesis) in hypotheses.iter().enumerate() {
            let at = sample * slots + slot;
            let row = &tokens[at * len..(at + 1) * len];
            let expected: Vec<u32> = row.iter().copied().filter(|id| *id != config.pad_token_id).collect();
            if hypothesis.tokens != expected {
                let place = format!("{expected:?} for sample {sample}, hypothesis {slot}");
                return Err(Error::tensor("out.tokens", place, format!("{:?}", hypothesis.tokens)));
            }
            let wanted = &token_scores[at * len..at * len + expected.len()];
            let pair = [hypothesis.token_scores.as_slice(), wanted];
            differences.compare("out.positional_scores", pair, 1, SCORE_TOLERANCE, |_| true)?;
            differences.compare("out.scores", [&[hypothesis.score], &scores[at..=at]], 1, SCORE_TOLERANCE, |_| true)?;
        }
    }
    Ok(differences.largest)
}

impl Case<'_> {
    fn tokens_3d(&self, name: &str) -> Result<Vec<u32>> {
        Ok(self.ints(name)?.into_iter().map(|id| id as u32).collect())
    }
}
