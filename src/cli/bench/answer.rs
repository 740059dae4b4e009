//! `ofa bench answer`: what an answer costs here, stage by stage.

use crate::config::AnswerOptions;
use crate::device::DeviceChoice;
use crate::error::{Error, Result};
use crate::predict::{Event, Predictor, Timings};
use crate::task;
use std::path::PathBuf;
use std::time::Instant;

/// Captions with a bundle: one JSON object a run, in milliseconds
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory of the bundle
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// JPEG, PNG or WebP
    #[arg(long, value_name = "FILE")]
    image: PathBuf,
    /// Runs that are reported, behind one that is not
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Tokens of every caption
    #[arg(long, default_value_t = 12)]
    length: usize,
    /// auto, gpu or cpu
    #[arg(long, default_value = "auto")]
    device: String,
}

/// One run's milliseconds.
#[derive(serde::Serialize)]
struct Run {
    /// Stem, encoder, and what an answer prepares before its first step.
    encoder: f64,
    /// A greedy step.
    token: f64,
    /// A step with five beams.
    beam5: f64,
}

pub fn run(args: Args) -> Result<()> {
    let bytes = std::fs::read(&args.image).map_err(|error| Error::file(args.image.display(), error))?;
    let pixels = crate::image::decode(&bytes).map_err(|error| Error::file(args.image.display(), error))?;
    let task = task::find("caption")?;
    pollster::block_on(async {
        let (device, _) = DeviceChoice::from_name(&args.device)?.open().await?;
        let predictor = Predictor::load(&args.model, &device)?;
        for run in 0..=args.runs {
            let image = predictor.encode_image(task, &pixels, &AnswerOptions::default()).await?;
            let decode = async |beams: usize| -> Result<(Timings, f64)> {
                let options = AnswerOptions {
                    num_beams: Some(beams),
                    min_len: Some(args.length),
                    max_len: Some(args.length),
                    no_repeat_ngram_size: Some(0),
                    ..AnswerOptions::default()
                };
                let mut times = Vec::new();
                let note = async |_: Event| {
                    times.push(Instant::now());
                    Ok(())
                };
                let answered = predictor.answer(task, Some(&image), &Default::default(), &options, note).await?;
                let mut steps: Vec<f64> =
                    times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1e3).collect();
                steps.sort_by(f64::total_cmp);
                Ok((answered.timings, steps.get(steps.len() / 2).copied().unwrap_or(0.0)))
            };
            let (timings, token) = decode(1).await?;
            let (_, beam5) = decode(5).await?;
            let prepared = (timings.decode_ms - timings.steps as f64 * token).max(0.0);
            let found = Run { encoder: timings.stem_ms + timings.encoder_ms + prepared, token, beam5 };
            if run > 0 {
                say!("{}", serde_json::to_string(&found).map_err(|error| Error::file("result", error))?);
            }
        }
        Ok(())
    })
}
