//! `ofa predict TASK`: one answer.

use super::output::check_png;
use super::tasks::named;
use crate::config::AnswerOptions;
use crate::device::DeviceChoice;
use crate::error::{Error, Result};
use crate::image::encode_png;
use crate::predict::{Answered, Drawing, Event, ImageCodes, Predictor};
use crate::task::{Answer, AnswerKind, Inputs, PromptType};
use crate::vocab::clean;
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
    /// What the decoder reads before it answers, in place of the task's own: none, src or prev_output
    #[arg(long, value_name = "TYPE", value_parser = prompt_type)]
    prompt_type: Option<PromptType>,
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
    /// PNG to write: the best of what was drawn, with a bundle that has image codes
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// With --json: where the model looked as it wrote each word
    #[arg(long, requires = "json")]
    attention: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// auto, gpu or cpu
    #[arg(long, default_value = "auto")]
    device: String,
}

pub fn run(args: Args) -> Result<()> {
    let task = named(&args.task)?;
    task.check_image(args.image.is_some())?;
    if let Some(out) = &args.out {
        if task.answer != AnswerKind::Codes {
            return Err(Error::option("out", "a task that draws", task.name));
        }
        check_png(out)?;
        can_be_written(out)?;
    }
    if args.attention && task.image.is_none() {
        return Err(Error::option("attention", "a task on an image", task.name));
    }
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
        prompt_type: args.prompt_type,
    };
    task.check(&inputs)?;
    task.check_answers(&inputs)?;
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
            tell!("running on the CPU: {reason}");
        }
        let predictor = Predictor::load(&args.model, &device)?;
        let codes = args.out.as_ref().map(|_| ImageCodes::load(&args.model, &device)).transpose()?;
        codes.iter().try_for_each(|codes| codes.config().serves(predictor.config()))?;
        let image = match &pixels {
            Some(pixels) => Some(predictor.encode_image(task, pixels, &options).await?),
            None => None,
        };
        let live = std::io::stderr().is_terminal() && !args.json;
        let show = async |event| {
            let text = match event {
                Event::Token { text, .. } => text,
                Event::Codes { codes, .. } => format!("{} codes", codes.len()),
            };
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
        if let (Some(out), Some(codes), Answer::Codes { codes: sequences, .. }) = (&args.out, &codes, &answered.answer)
        {
            draw(out, &predictor, codes, sequences, args.text.as_deref()).await?;
        }
        if !args.json {
            return print_plain(&answered);
        }
        let failed = |error| Error::file("answer", error);
        let mut json = serde_json::to_value(&answered).map_err(failed)?;
        json["device"] = serde_json::to_value(&report).map_err(failed)?;
        if let Some(image) = image.as_ref().filter(|_| args.attention) {
            let attention = predictor.attention(task, image, &inputs, &options, &answered.tokens).await?;
            json["attention"] = serde_json::to_value(&attention).map_err(failed)?;
        }
        say!("{json}");
        Ok(())
    })
}

/// Whether a path may become a file, before there is something to lose.
fn can_be_written(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Err(Error::file(path.display(), "expected a file to write, found a folder"));
    }
    // A bare name has an empty one.
    if !path.parent().is_some_and(|folder| folder.as_os_str().is_empty() || folder.is_dir()) {
        return Err(Error::file(path.display(), "its folder does not exist"));
    }
    Ok(())
}

/// Writes the drawing that fits the caption best; the likeliest where there is no caption.
async fn draw(
    out: &Path,
    model: &Predictor,
    codes: &ImageCodes,
    sequences: &[Vec<usize>],
    caption: Option<&str>,
) -> Result<()> {
    let mut best: Option<Drawing> = None;
    for sequence in sequences {
        let drawing = model.draw(codes, sequence, caption.filter(|_| sequences.len() > 1)).await?;
        // The likelier comes first, so that it stays where both fit as well.
        if drawing.as_ref().is_some_and(|new| best.as_ref().is_none_or(|old| new.fit > old.fit)) {
            best = drawing;
        }
    }
    let best = best.ok_or_else(|| Error::file(out.display(), "nothing was drawn"))?;
    std::fs::write(out, encode_png(&best.pixels)?).map_err(|error| Error::file(out.display(), error))
}

fn print_plain(answered: &Answered) -> Result<()> {
    let malformed = match &answered.answer {
        Answer::Text { text, alternatives, .. } => {
            say!("{text}");
            for other in alternatives.iter().skip(1).take(4) {
                say!("  {:8.4}  {}", other.score, other.text);
            }
            &None
        }
        Answer::Labels { label, alternatives, .. } => {
            say!("{label}");
            for one in alternatives.iter().take(5) {
                say!("  {:8.4}  {}", one.probability, one.label);
            }
            &None
        }
        Answer::Boxes { boxes, malformed, .. } => {
            boxes.iter().for_each(|found| say!("{}  {:.4}", corners(&found.pixels), found.score));
            malformed
        }
        Answer::Objects { objects, malformed, .. } => {
            objects.iter().for_each(|found| say!("{}  {}", corners(&found.pixels), found.label));
            malformed
        }
        Answer::Codes { codes, malformed, .. } => {
            codes.iter().for_each(|codes| say!("{codes:?}"));
            malformed
        }
    };
    if let Some(reason) = malformed {
        tell!("malformed: {reason}");
    }
    Ok(())
}

/// The lines of a file that say something.
pub(super) fn lines(path: &Path) -> Result<Vec<String>> {
    let text = String::from_utf8(read(path)?).map_err(|error| Error::file(path.display(), error))?;
    Ok(clean::lines(&text))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::file(path.display(), error))
}

fn prompt_type(name: &str) -> std::result::Result<PromptType, String> {
    let types = [PromptType::None, PromptType::Src, PromptType::PrevOutput];
    let found = types.into_iter().find(|known| serde_json::json!(known) == name);
    found.ok_or_else(|| "expected none, src or prev_output".to_owned())
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
