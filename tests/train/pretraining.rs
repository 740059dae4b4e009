//! A pretraining run on files, with every objective.

use super::data::png;
use super::{directory, recipe, session};
use crate::support::only_drawer;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use burn::tensor::Tensor;
use ofa::error::Result;
use ofa::train::{Alone, Ended, Evaluation, Event, Recipe, Run, Section, Session, Updated, assemble, plan, resolved};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a run told.
#[derive(Default)]
pub struct Told {
    pub updates: Vec<Updated>,
    pub rewards: Vec<f64>,
    pub skipped: Vec<String>,
    pub evaluations: Vec<Evaluation>,
    pub ended: Option<Ended>,
}

impl Told {
    /// The objectives that were trained.
    pub fn objectives(&self) -> BTreeSet<&'static str> {
        self.updates.iter().flat_map(|updated| updated.nll.keys().copied()).collect()
    }
}

/// Trains a session on the data of its recipe until update `stop`, or to the end.
pub fn go(session: &mut Session, stop: Option<u64>) -> Told {
    let parts = assemble::parts(session).unwrap();
    let interrupted = AtomicBool::new(false);
    let mut told = Told::default();
    let Session { recipe, trainer, checkpoints, progress, .. } = session;
    let run = Run { recipe, draws: parts.draws.as_ref(), ranks: &Alone, checkpoints, interrupted: &interrupted };
    let mut watch = |event: Event<'_>| match event {
        Event::Updated { updated, reward, .. } => {
            told.updates.push(updated.clone());
            told.rewards.extend(reward);
            if stop == Some(updated.update) {
                interrupted.store(true, Ordering::Relaxed);
            }
        }
        Event::Skipped { reason, .. } => told.skipped.push(reason.to_string()),
        Event::Evaluated { evaluation, .. } => told.evaluations.push(evaluation.clone()),
        _ => {}
    };
    let ended = run.go(trainer, progress.clone(), &mut |trainer| parts.evaluate(trainer), &mut watch).unwrap();
    told.ended = Some(ended);
    told
}

/// All numbers of a model, to the bit.
pub fn bits(session: &Session) -> Vec<u32> {
    let bits = |values: Tensor<1>| -> Vec<u32> {
        let values: Vec<f32> = values.into_data().try_into_vec().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    };
    [Section::Parameters, Section::Statistics].map(|section| bits(session.trainer.values(section))).concat()
}

/// Insists that a run which stops after `stop` updates and goes on is the run that never stopped. Returns what the
/// straight run told.
pub fn resumes(recipe: &Recipe, stop: u64) -> Told {
    let (_parent, straight) = directory();
    let mut whole = session(recipe, &straight, false).unwrap();
    let told = go(&mut whole, None);
    let (_parent, run) = directory();
    assert_eq!(go(&mut session(recipe, &run, false).unwrap(), Some(stop)).ended, Some(Ended::Interrupted));
    let mut resumed = session(recipe, &run, true).unwrap();
    assert_eq!(go(&mut resumed, None).ended, Some(Ended::Done));
    assert!(bits(&whole) == bits(&resumed), "the resumed run went another way");
    told
}

/// Eighteen rows about images, of which the last says nothing, and some of the other three kinds.
fn files(folder: &Path) {
    let image = URL_SAFE.encode(png(50, 40));
    let row = |at: usize| match at % 3 {
        _ if at == 17 => format!("{at}\t{image}\t\t\t\t\tcoco\tcaption\n"),
        0 => format!("{at}\t{image}\ta red cat\t\t\tcat\tcoco\tcaption\n"),
        1 => format!("{at}\t{image}\t\twhat is it\t0.75|!+dog&&0.25|!+cat\t\tvqa\tqa\n"),
        _ => format!("{at}\t{image}\tthe cow\t\t5,5,20,30\t\trefcoco\tvisual_grounding\n"),
    };
    let (codes, square) = (vec!["7"; 16].join(" "), URL_SAFE.encode(png(64, 64)));
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
    write("main.tsv", (0..18).map(row).collect());
    write("text.tsv", "1\tone two three\n2\tfour five six seven\n".into());
    write("image.tsv", format!("1\t{square}\t{codes}\n"));
    write("objects.tsv", format!("1\t{image}\t0,0,50,40,3,cat&&1,1,49,39,4,dog\n"));
}

fn pretraining(folder: &Path, more: &[&str]) -> Result<Recipe> {
    let file = |name: &str| folder.join(name).display().to_string();
    let sets = [
        "data.kind=pretrain".to_owned(),
        format!("data.vision_language={:?}", file("main.tsv")),
        format!("data.text=[{:?}]", file("text.tsv")),
        format!("data.image=[{:?}]", file("image.tsv")),
        format!("data.detection=[{:?}]", file("objects.tsv")),
        format!("data.evaluation={:?}", file("main.tsv")),
        "data.short_side=40".to_owned(),
        "data.long_side=56".to_owned(),
        "data.epochs=2".to_owned(),
        "model.config.max_position_embeddings=128".to_owned(),
        "batch.draws=6".to_owned(),
        "batch.micro_batch=4".to_owned(),
        "run.evaluate_every=6".to_owned(),
    ];
    let sets: Vec<&str> = sets.iter().map(String::as_str).chain(more.iter().copied()).collect();
    resolved(recipe(&sets))
}

#[test]
fn a_run_on_files_learns_all_objectives_and_resumes_to_the_last_bit() {
    let _drawing = only_drawer();
    let folder = tempfile::tempdir().unwrap();
    files(folder.path());
    let recipe = pretraining(folder.path(), &[]).unwrap();
    assert_eq!(recipe.update.updates, 6, "two epochs of 18 rows, 6 rows an update");
    // Updates of 6 rows do not end where the rounds of 8 do, nor does the stop end an epoch.
    let told = resumes(&recipe, 4);
    let expected = ["caption", "match", "vqa", "vqa_match", "grounding", "region_caption"];
    let extra = ["detect", "infill_image", "infill_text"];
    assert_eq!(told.objectives(), expected.into_iter().chain(extra).collect());
    assert!(told.updates.iter().all(|updated| updated.stepped));

    assert_eq!(told.skipped.len(), 2, "the row that says nothing, in each epoch");
    assert!(told.skipped[0].contains("main.tsv:18") && told.skipped[0].contains("caption"), "{}", told.skipped[0]);
    let metrics: Vec<&str> = told.evaluations[0].metrics.keys().map(String::as_str).collect();
    for metric in ["caption.cider", "vqa.vqa_score", "grounding.accuracy_at_half"] {
        assert!(metrics.contains(&metric), "{metrics:?}");
    }
    assert_eq!(told.evaluations[0].samples.len(), 12, "a dozen answers to look at");
}

#[test]
fn a_draw_counts_as_skipped_once_however_much_of_it_is_missing() {
    let _drawing = only_drawer();
    let folder = tempfile::tempdir().unwrap();
    files(folder.path());
    std::fs::write(folder.path().join("text.tsv"), "1\t\n").unwrap();
    let recipe = pretraining(folder.path(), &["data.epochs=1", "run.evaluate_every=0"]).unwrap();
    let (_parent, run) = directory();
    let told = go(&mut session(&recipe, &run, false).unwrap(), None);
    assert_eq!(told.ended, Some(Ended::Done));
    // Two texts of a draw, and the row about an image that says nothing.
    let texts = told.skipped.iter().filter(|reason| reason.contains("text.tsv:1")).count();
    assert_eq!(told.skipped.len(), texts + 1);
    assert!(texts >= 4 && texts.is_multiple_of(2), "{:?}", told.skipped);
    assert_eq!(session(&recipe, &run, true).unwrap().progress.skipped, texts as u64 / 2 + 1);
}

#[test]
fn a_plan_of_rows_that_cannot_be_read_says_why() {
    let _drawing = only_drawer();
    let folder = tempfile::tempdir().unwrap();
    files(folder.path());
    std::fs::write(folder.path().join("main.tsv"), "1\n2\n").unwrap();
    let recipe = pretraining(folder.path(), &[]).unwrap();
    let error = plan(&recipe, &burn::tensor::Device::flex(), &Alone, 1).err().expect("an error").to_string();
    assert!(error.contains("main.tsv") && error.contains("column"), "{error}");
}

#[test]
fn a_plan_counts_what_a_run_would_learn() {
    let _drawing = only_drawer();
    let folder = tempfile::tempdir().unwrap();
    files(folder.path());
    let plan = plan(&pretraining(folder.path(), &[]).unwrap(), &burn::tensor::Device::flex(), &Alone, 1).unwrap();
    assert_eq!((plan.updates, plan.draws), (6, 6));
    assert!(plan.objectives.contains_key("infill_image") && plan.objectives.contains_key("caption"));
    assert!((plan.objectives.values().sum::<f64>() - 1.0).abs() < f64::EPSILON * 16.0, "{:?}", plan.objectives);
}

#[test]
fn data_that_are_not_there_are_named() {
    let folder = tempfile::tempdir().unwrap();
    files(folder.path());
    let (_parent, run) = directory();
    let message = |sets: &[&str]| {
        let opened = pretraining(folder.path(), sets)
            .and_then(|recipe| session(&recipe, &run.join(sets[0]), false))
            .and_then(|session| assemble::parts(&session));
        opened.err().expect("an error").to_string()
    };
    let _drawing = only_drawer();
    assert!(message(&["data.text=gone.tsv"]).contains("gone.tsv"));
    assert!(message(&["data.texts=text.tsv"]).contains("texts"));
    assert!(message(&["data.kind=caption"]).contains("unknown field"), "keys of another kind");
    assert!(message(&["data.evaluation=nowhere"]).contains("nowhere"));
}
