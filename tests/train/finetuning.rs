//! Fine-tuning runs: every task from its rows, and captions that are learnt from their own rewards.

use super::data::png;
use super::pretraining::{go, resumes};
use super::{directory, recipe, session};
use crate::support::only_drawer;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use ofa::error::Result;
use ofa::predict::Predictor;
use ofa::train::assemble::parts;
use ofa::train::{Recipe, SelfCritic, resolved};
use std::path::Path;

const LONGER: &str = "model.config.max_position_embeddings=64";

/// A task's rows in the original's columns, a metric that its evaluation reports, and what its recipe sets.
fn tasks() -> [(&'static str, String, &'static str, &'static [&'static str]); 6] {
    let image = URL_SAFE.encode(png(40, 30));
    let each = |row: &dyn Fn(usize) -> String| (0..4).map(row).collect::<String>();
    [
        ("caption", each(&|at| format!("{at}\ti{at}\ta red cat\t\t{image}\n")), "caption.cider", &[]),
        (
            "vqa",
            each(&|at| format!("{at}\ti\twhat is it\t0.7|!+cat&&0.3|!+dog\tcat&&mat\t{image}\n")),
            "vqa.vqa_score",
            &["data.prompt_type=prev_output", "data.objects=true", "update.ema_decay=0.9"],
        ),
        (
            "grounding",
            each(&|at| format!("{at}\ti\tthe cow\t5,2,{},28\t{image}\n", 20 + at)),
            "grounding.accuracy_at_half",
            &[],
        ),
        (
            "entailment",
            each(&|at| format!("{at}\ti\t{image}\ta cat\ta dog\t{}\n", ["entailment", "neutral"][at % 2])),
            "entailment.accuracy",
            &["data.caption=true"],
        ),
        ("classify", each(&|at| format!("{image}\t{at}\t{}\n", ["cat", "dog"][at % 2])), "classify.accuracy", &[]),
        ("sst2", each(&|at| format!("a red cat\t{}\n", at % 2)), "sst2.accuracy", &["update.loss.ignore_eos=true"]),
    ]
}

fn finetuning(task: &str, rows: &str, folder: &Path, more: &[&str]) -> Recipe {
    let (file, answers) = (folder.join(format!("{task}.tsv")), folder.join("answers.txt"));
    std::fs::write(&file, rows).unwrap();
    std::fs::write(&answers, "cat\ndog\nowl\n").unwrap();
    let mut sets = vec![
        format!("data.kind={task}"),
        format!("data.training=[{file:?}]"),
        format!("data.evaluation={file:?}"),
        "update.updates=4".to_owned(),
        "run.evaluate_every=4".to_owned(),
        LONGER.to_owned(),
    ];
    if ["vqa", "classify"].contains(&task) {
        sets.push(format!("data.answers={answers:?}"));
    }
    let sets: Vec<&str> = sets.iter().map(String::as_str).chain(more.iter().copied()).collect();
    resolved(recipe(&sets)).unwrap()
}

#[test]
fn every_task_is_trained_resumed_and_judged() {
    let _drawing = only_drawer();
    for (task, rows, metric, sets) in tasks() {
        let folder = tempfile::tempdir().unwrap();
        let told = resumes(&finetuning(task, &rows, folder.path(), sets), 3);
        assert_eq!(told.objectives(), [task].into(), "{task}");
        assert!(told.evaluations[0].metrics.contains_key(metric), "{task}: {:?}", told.evaluations[0].metrics);
    }
}

#[test]
fn a_model_remembers_how_it_was_trained_to_be_asked() {
    let _drawing = only_drawer();
    let folder = tempfile::tempdir().unwrap();
    let (_, rows, _, _) = &tasks()[1];
    let recipe = finetuning("vqa", rows, folder.path(), &["data.prompt_type=prev_output", "update.updates=1"]);
    let (_parent, run) = directory();
    let session = session(&recipe, &run, false).unwrap();
    session.export(&run.join("model")).unwrap();
    let predictor = Predictor::load(&run.join("model"), &burn::tensor::Device::flex()).unwrap();
    let task = ofa::task::find("vqa").unwrap();
    let answer = |prompt_type| {
        let inputs = ofa::task::Inputs { text: Some("what is it".into()), prompt_type, ..Default::default() };
        pollster::block_on(async {
            let options = ofa::config::AnswerOptions::default();
            let pixels = ofa::image::decode(&png(40, 30)).unwrap();
            let image = predictor.encode_image(task, &pixels, &options).await.unwrap();
            predictor.answer(task, Some(&image), &inputs, &options, async |_| Ok(())).await.unwrap().tokens
        })
    };
    let prompt =
        task.prompt(&ofa::task::Inputs { text: Some("what is it".into()), ..Default::default() }, predictor.vocab());
    let source = prompt.unwrap().source;
    assert!(answer(None).starts_with(&source[1..source.len() - 1]), "the answer follows its question");
    assert_eq!(answer(None), answer(Some(ofa::task::PromptType::PrevOutput)));
    assert!(!answer(Some(ofa::task::PromptType::None)).starts_with(&source[1..source.len() - 1]));
}

/// One image that is called by these names.
fn named(captions: &str) -> String {
    format!("1\ti1\t{captions}\t\t{}\n", URL_SAFE.encode(png(32, 32)))
}

#[test]
fn rewards_teach_a_model_to_prefer_the_better_of_its_captions() {
    /// ROUGE-L of another caption, which shares no word with the right one, and of the right one.
    const WRONG: f64 = 0.2;
    const RIGHT: f64 = 0.9;
    /// The share of right words in the beams' captions becomes larger than by chance: of 10, at most.
    const CLEARLY: f64 = 1.0;
    let _drawing = only_drawer();
    let folder = tempfile::tempdir().unwrap();
    let plain = [
        "model.config.dropout=0.0",
        "model.config.encoder_drop_path_rate=0.0",
        "model.config.decoder_drop_path_rate=0.0",
        "update.loss.label_smoothing=0.0",
        "update.ema_decay=0.0",
        "update.schedule.warmup_updates=1",
        "update.schedule.end_lr=0.002",
        "batch.draws=4",
    ];
    // Cross-entropy first: the model says the frequent thing and knows the rare one.
    let (_parent, run) = directory();
    let both = [plain.as_slice(), &["update.updates=80", "run.evaluate_every=0"]].concat();
    let often = "the image there&&what maybe are&&what maybe are";
    let mut first = session(&finetuning("caption", &named(often), folder.path(), &both), &run, false).unwrap();
    go(&mut first, None);
    first.export(&run.join("model")).unwrap();

    let frequencies = folder.path().join("frequencies.json");
    std::fs::write(&frequencies, r#"{"images": 20, "counts": {}}"#).unwrap();
    let critical = [
        format!("model.from={:?}", run.join("model")),
        format!("data.frequencies={frequencies:?}"),
        "data.self_critical=true".to_owned(),
        "update.updates=16".to_owned(),
        "update.schedule.lr=0.002".to_owned(),
        "run.evaluate_every=2".to_owned(),
    ];
    let critical: Vec<&str> = plain.iter().copied().chain(critical.iter().map(String::as_str)).collect();
    let told = resumes(&finetuning("caption", &named("the image there"), folder.path(), &critical), 5);
    assert_eq!(told.objectives(), ["self_critical"].into());
    assert_eq!(told.rewards.len(), 16);
    let rouge: Vec<f64> = told.evaluations.iter().map(|evaluation| evaluation.metrics["caption.rouge_l"]).collect();
    assert!(rouge[0] < WRONG && rouge[7] > RIGHT, "{rouge:?}");
    assert!(told.rewards[15] > told.rewards[0] + CLEARLY, "{:?}", told.rewards);
}

#[test]
fn rewards_and_other_losses_do_not_mix() {
    let options = ofa::train::loss::LossOptions { label_smoothing: 0.1, ..Default::default() };
    assert!(SelfCritic::check(&options).unwrap_err().to_string().contains("self-critical"));
    assert!(SelfCritic::check(&Default::default()).is_ok());
}

#[test]
fn what_would_stop_an_evaluation_stops_the_run_before_it_begins() {
    let _drawing = only_drawer();
    let (task, rows, ..) = &tasks()[0];
    let folder = tempfile::tempdir().unwrap();
    let rehearse = |more: &[&str]| -> Result<()> {
        let (_parent, run) = directory();
        let session = session(&finetuning(task, rows, folder.path(), more), &run, false)?;
        parts(&session)?.rehearse(&session.trainer)
    };
    rehearse(&[]).unwrap();
    let error = rehearse(&["data.num_beams=100"]).unwrap_err();
    assert!(error.to_string().contains("numBeams"), "{error}");
    let gone = folder.path().join("gone.jsonl");
    std::fs::write(&gone, r#"{"image": "gone.png", "caption": "a cat"}"#).unwrap();
    let error = rehearse(&[&format!("data.evaluation={gone:?}")]).unwrap_err();
    assert!(error.to_string().contains("gone.png"), "{error}");
    std::fs::write(&gone, "").unwrap();
    assert!(rehearse(&[&format!("data.evaluation={gone:?}")]).is_err(), "nothing to ask");
}

#[test]
fn a_constraint_that_forbids_the_targets_is_refused() {
    let _drawing = only_drawer();
    let folder = tempfile::tempdir().unwrap();
    let drawings = format!("u\t{}\ta red cat\n", vec!["7"; 16].join(" "));
    for (task, rows) in [("image_gen", &drawings), ("grounding", &tasks()[2].1), ("caption", &tasks()[0].1)] {
        let sets = ["update.loss.constraint_range=[50265, 58457]", "run.evaluate_every=0"];
        let (_parent, run) = directory();
        let session = session(&finetuning(task, rows, folder.path(), &sets), &run, false).unwrap();
        let error = parts(&session).err().unwrap();
        assert!(error.to_string().contains("constraint_range") && error.to_string().contains(task), "{error}");
    }
}

#[test]
fn rows_that_changed_since_a_run_began_are_told() {
    let _drawing = only_drawer();
    let (folder, run) = directory();
    let recipe = |rows: &str| finetuning("sst2", rows, folder.path(), &["update.ema_decay=0.0"]);
    let mut opened = session(&recipe("a red cat\t0\n"), &run, false).unwrap();
    assert_eq!(parts(&opened).unwrap().notes, [""; 0]);
    opened.progress.draws = 8;
    assert_eq!(parts(&opened).unwrap().notes, [""; 0], "the same rows");
    recipe("a red cat\t0\na dog\t1\n");
    let notes = parts(&opened).unwrap().notes.join("; ");
    assert!(notes.contains("sst2.tsv has changed") && notes.contains("20 bytes, 12 then"), "{notes}");
}
