//! `ofa evaluate TASK`: how good a model is, by task and by group.

use super::questions::{QuestionArgs, SCENES, Source};
use super::tasks::named;
use crate::config::AnswerOptions;
use crate::device::DeviceChoice;
use crate::error::{Error, Result};
use crate::predict::{ImageCodes, Predictor};
use crate::task::Metric;
use crate::train::corpus::{World, infilled_shapes};
use crate::train::metrics::cider::DocumentFrequencies;
use crate::train::results::{Results, results};
use crate::train::{Agreement, EvaluateOptions, Measured, Report, Step, agreement, evaluate, same_tokens};
use crate::weights::VQGAN;
use burn::tensor::Device;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The shares of places at which the model prefers the reference's token, by task, among the metrics.
const PREFERRED: &str = "preferred_as_reference";

/// Pictures of shapes whose middle is drawn: each takes as long as many questions.
const MOST_INFILLED: u64 = 200;

/// Asks a model the questions of an evaluation set and measures its answers.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A task (see `ofa tasks`), or `scenes`: pictures drawn on the fly, and questions about them
    task: String,
    /// Directory of the bundle
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Directory for the answers, in the forms that official tools read, and for the report
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// JSON of the corpus whose n-grams weigh CIDEr-D: {"images": N, "counts": {"a dog": n}} [default: the references]
    #[arg(long, value_name = "FILE")]
    frequencies: Option<PathBuf>,
    /// A bundle of the same model in other weights: tell how often --model prefers the tokens that this one prefers, both
    /// held to this one's answers
    #[arg(long, value_name = "DIR")]
    reference: Option<PathBuf>,
    #[arg(long, value_name = "K")]
    num_beams: Option<usize>,
    /// The side in pixels that images are resized to [default: the bundle's]
    #[arg(long, value_name = "PIXELS")]
    image_size: Option<u32>,
    #[command(flatten)]
    questions: QuestionArgs,
    /// Print one JSON object last
    #[arg(long)]
    json: bool,
    /// auto, gpu or cpu
    #[arg(long, default_value = "auto")]
    device: String,
}

pub fn run(args: Args) -> Result<()> {
    // Captions of scenes are measured by what they mention.
    if args.frequencies.is_some() && (args.task == SCENES || named(&args.task)?.metric != Metric::Cider) {
        let expected = format!("nothing, since {} has no use for it", args.task);
        return Err(Error::option("--frequencies", expected, "a value"));
    }
    let options = EvaluateOptions {
        answer: AnswerOptions { num_beams: args.num_beams, image_size: args.image_size, ..AnswerOptions::default() },
        frequencies: args.frequencies.as_deref().map(DocumentFrequencies::read).transpose()?,
    };
    let questions = args.questions.open(&args.task, &args.model)?;
    // Where nothing can be written, that is said before all questions are asked, not after.
    if let Some(out) = &args.out {
        let written = std::fs::create_dir_all(out).and_then(|()| tempfile::tempfile_in(out));
        written.map_err(|error| Error::file(out.display(), error))?;
    }
    let (report, of_world, agreed) = pollster::block_on(async {
        let (device, opened) = DeviceChoice::from_name(&args.device)?.open().await?;
        if let Some(reason) = &opened.reason {
            tell!("running on the CPU: {reason}");
        }
        let predictor = Predictor::load(&args.model, &device)?;
        let reference = args.reference.as_deref().map(|reference| Predictor::load(reference, &device)).transpose()?;
        if let Some(reference) = &reference {
            same_tokens(reference, &predictor)?;
        }
        let mut progress = Progress::over(questions.len());
        let report = evaluate(&predictor, questions.iter(), &options, |step| {
            progress.next(match step {
                Step::Skipped(error) => Some(error),
                Step::Answered(_) => None,
            });
            Ok(())
        });
        let report = report.await?;
        progress.finish();
        let of_world = match &questions.source {
            Source::Scenes { world, seed, count, .. } => {
                of_world(&args.model, &predictor, world, *seed, *count, &device).await?
            }
            Source::Files { .. } => Value::Null,
        };
        let agreed = match &reference {
            Some(reference) => {
                let mut progress = Progress::over(questions.len());
                let agreed =
                    agreement(reference, &predictor, questions.iter(), &options.answer, || progress.next(None)).await?;
                progress.finish();
                agreed
            }
            None => BTreeMap::new(),
        };
        Ok::<_, Error>((report, of_world, agreed))
    })?;
    let mut metrics = report.metrics();
    metrics["count"] = report.predictions.len().into();
    metrics["skipped"] = report.skipped.into();
    for (name, value) in of_world.as_object().into_iter().flatten() {
        metrics[name] = value.clone();
    }
    if args.reference.is_some() {
        metrics[PREFERRED] = agreed.iter().map(|(task, agreed)| ((*task).to_owned(), json!(agreed.share()))).collect();
    }
    print_table(&report);
    print_agreement(&agreed);
    if args.json {
        say!("{metrics}");
    }
    // Last: what was found is told even where it cannot be written.
    match &args.out {
        Some(out) => write(out, &report, &metrics),
        None => Ok(()),
    }
}

/// What is known of a model in its world beside its answers: how large the world is, and whether what it draws into
/// the middle of a picture is what belongs there.
async fn of_world(
    model: &Path,
    predictor: &Predictor,
    world: &World,
    seed: u64,
    count: u64,
    device: &Device,
) -> Result<Value> {
    let mut found = json!({ "scenes": { "scenes": count, "nouns": world.nouns().len(), "styles": world.styles() } });
    if model.join(VQGAN).is_dir() {
        let codes = ImageCodes::load(model, device)?;
        let share = infilled_shapes(predictor, &codes, world, seed, count.min(MOST_INFILLED)).await?;
        found["infill_image"] = json!({ "right_shape": share });
    }
    Ok(found)
}

/// A bar over questions, above which those that are left out are named: not all, where something is wrong with every one.
pub struct Progress {
    bar: ProgressBar,
    left_out: usize,
}

impl Progress {
    /// Questions that are left out and named one by one.
    const NAMED: usize = 20;

    pub fn over(length: u64) -> Self {
        let style = ProgressStyle::with_template("{pos}/{len} answers, {per_sec}, {eta} left {wide_bar}");
        let bar = ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, left_out: 0 }
    }

    /// After each question, with why it was left out if it was.
    pub fn next(&mut self, left_out: Option<&Error>) {
        if let Some(error) = left_out {
            match self.left_out.cmp(&Self::NAMED) {
                Ordering::Less => self.bar.suspend(|| tell!("left out: {error}")),
                Ordering::Equal => self.bar.suspend(|| tell!("what else is left out is not named")),
                Ordering::Greater => {}
            }
            self.left_out += 1;
        }
        self.bar.inc(1);
    }

    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// A line for each task, and one for each of its groups.
fn print_table(report: &Report) {
    let names = report.tasks.iter().flat_map(|(task, measured)| {
        [task.len()].into_iter().chain(measured.groups.keys().map(|group| group.len() + INDENT.len()))
    });
    let width = names.max().unwrap_or(0);
    for (task, measured) in &report.tasks {
        print_row(task, width, measured);
        for (group, measured) in &measured.groups {
            print_row(&format!("{INDENT}{group}"), width, measured);
        }
    }
    if report.skipped > 0 {
        say!("{} questions could not be read or asked", report.skipped);
    }
    let count: usize = report.tasks.values().map(|measured| measured.count).sum();
    say!("{count} answers in {:.1} s", report.seconds);
}

/// How often the reference's tokens were preferred, a line each task.
fn print_agreement(agreed: &BTreeMap<&'static str, Agreement>) {
    let Some(width) = agreed.keys().map(|task| task.len()).max() else { return };
    say!("prefers the reference's token, held to the reference's answers:");
    for (task, agreed) in agreed {
        say!("{INDENT}{task:width$}  {} of {}, {:.2} %", agreed.agreeing, agreed.places, 100.0 * agreed.share());
    }
}

/// What sets groups off from their task.
const INDENT: &str = "  ";

fn print_row(name: &str, width: usize, measured: &Measured) {
    let metrics: Vec<String> = measured.metrics.iter().map(|(metric, value)| format!("{metric} {value:.4}")).collect();
    say!("{name:width$}  {:>7}  {:>8.1} ms  {}", measured.count, measured.mean_ms, metrics.join("  "));
}

/// `report.json`, `metrics.json`, and for each task `TASK.json` and, where tools take them, `TASK_references.json`.
fn write(out: &Path, report: &Report, metrics: &Value) -> Result<()> {
    let write = |name: String, value: &Value| {
        let path = out.join(name);
        std::fs::write(&path, format!("{value}\n")).map_err(|error| Error::file(path.display(), error))
    };
    let value = serde_json::to_value(report).map_err(|error| Error::file("report.json", error))?;
    write("report.json".to_owned(), &value)?;
    write("metrics.json".to_owned(), metrics)?;
    for (task, Results { answers, references }) in results(&report.predictions) {
        write(format!("{task}.json"), &answers)?;
        if let Some(references) = references {
            write(format!("{task}_references.json"), &references)?;
        }
    }
    Ok(())
}
