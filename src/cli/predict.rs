//! `ofa predict TASK`: one answer.

use crate::config::AnswerOptions;
use crate::device::DeviceChoice;
use crate::error::{Error, Result};
use crate::predict::{Answered, Event, Predictor};
use crate::task::{self, Answer, Inputs};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Answers a question about an image with a bundle.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do: see `ofa tasks`
    task: String,
    /// Directory of the bundle
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// JPEG, PNG or WebP
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// The question or phrase
    #[arg(long)]
    text: Option<String>,
    /// The second text of tasks on two
    #[arg(long)]
    text2: Option<String>,
    /// A caption of the image known beforehand
    #[arg(long)]
    caption: Option<String>,
    /// An object known to be in the image; may be given again
    #[arg(long, value_name = "NAME")]
    objects: Vec<String>,
    /// Left, top, right, bottom from 0 to 1
    #[arg(long, value_name = "L,T,R,B", value_delimiter = ',')]
    region: Vec<f32>,
    /// A file with one allowed answer a line
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    /// Hypotheses that the search keeps, or answers that are drawn
    #[arg(long, value_name = "K")]
    num_beams: Option<usize>,
    /// Draw each token from the N likeliest, instead of searching
    #[arg(long, value_name = "N")]
    top_k: Option<usize>,
    /// Draw each token from the likeliest that have probability P together
    #[arg(long, value_name = "P")]
    top_p: Option<f64>,
    /// Of draws; the same seed gives the same answer
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Sharpens (below 1) or flattens (above 1) the probabilities
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,
    /// The most tokens of an answer
    #[arg(long, value_name = "N")]
    max_len: Option<usize>,
    /// The side in pixels that the image is resized to [default: the bundle's]
    #[arg(long, value_name = "PIXELS")]
    image_size: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// auto, gpu or cpu
    #[arg(long, default_value = "auto")]
    device: String,
}

pub fn run(args: Args) -> Result<()> {
    let task = task::find(&args.task)?;
    let pixels = match &args.image {
        Some(path) => Some(crate::image::decode(&read(path)?).map_err(|error| Error::file(path.display(), error))?),
        None => None,
    };
    let inputs = Inputs {
        text: args.text.clone(),
        text2: args.text2.clone(),
        caption: args.caption.clone(),
        objects: (!args.objects.is_empty()).then(|| args.objects.clone()),
        region: region(&args.region)?,
        answers: args.answers.as_deref().map(lines).transpose()?,
        ..Inputs::default()
    };
    let options = AnswerOptions {
        num_beams: args.num_beams,
        max_len: args.max_len,
        image_size: args.image_size,
        top_k: args.top_k,
        top_p: args.top_p,
        seed: args.seed,
        temperature: args.temperature,
        ..AnswerOptions::default()
    };
    pollster::block_on(async {
        let (device, report) = DeviceChoice::from_name(&args.device)?.open().await?;
        if let Some(reason) = &report.reason {
            eprintln!("running on the CPU: {reason}");
        }
        let predictor = Predictor::load(&args.model, &device)?;
        let image = match &pixels {
            Some(pixels) => Some(predictor.encode_image(task, pixels, &options).await?),
            None => None,
        };
        let live = std::io::stderr().is_terminal() && !args.json;
        let show = async |event| {
            let Event::Token { text, .. } = event;
            if live {
                // A progress line that cannot be written is no reason to stop.
                let _ = write!(std::io::stderr(), "\r\x1b[K{text}");
            }
            Ok(())
        };
        let answered = predictor.answer(task, image.as_ref(), &inputs, &options, show).await?;
        if live {
            eprint!("\r\x1b[K");
        }
        if args.json { print_json(&answered, &report) } else { print_plain(&answered) }
    })
}

fn print_json(answered: &Answered, report: &crate::device::DeviceReport) -> Result<()> {
    let failed = |error| Error::file("answer", error);
    let mut json = serde_json::to_value(answered).map_err(failed)?;
    json["device"] = serde_json::to_value(report).map_err(failed)?;
    println!("{json}");
    Ok(())
}

fn print_plain(answered: &Answered) -> Result<()> {
    let malformed = match &answered.answer {
        Answer::Text { text, alternatives, .. } => {
            println!("{text}");
            for other in alternatives.iter().skip(1).take(4) {
                println!("  {:8.4}  {}", other.score, other.text);
            }
            &None
        }
        Answer::Labels { label, alternatives, .. } => {
            println!("{label}");
            for one in alternatives.iter().take(5) {
                println!("  {:8.4}  {}", one.probability, one.label);
            }
            &None
        }
        Answer::Boxes { boxes, malformed, .. } => {
            boxes.iter().for_each(|found| println!("{}  {:.4}", corners(&found.pixels), found.score));
            malformed
        }
        Answer::Objects { objects, malformed, .. } => {
            objects.iter().for_each(|found| println!("{}  {}", corners(&found.pixels), found.label));
            malformed
        }
        Answer::Codes { codes, malformed, .. } => {
            codes.iter().for_each(|codes| println!("{codes:?}"));
            malformed
        }
    };
    if let Some(reason) = malformed {
        eprintln!("malformed: {reason}");
    }
    Ok(())
}

/// The lines of a file that say something.
pub(super) fn lines(path: &Path) -> Result<Vec<String>> {
    let text = String::from_utf8(read(path)?).map_err(|error| Error::file(path.display(), error))?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::file(path.display(), error))
}

fn region(given: &[f32]) -> Result<Option<[f32; 4]>> {
    match given {
        [] => Ok(None),
        _ => {
            let region = given.try_into();
            region.map(Some).map_err(|_| Error::option("region", "left, top, right, bottom", format!("{given:?}")))
        }
    }
}

/// Left, top, right, bottom in pixels.
fn corners(pixels: &[f64; 4]) -> String {
    pixels.map(|side| format!("{side:7.1}")).join(" ")
}
