//! Evaluation from end to end, on a small model with seeded weights.

use crate::cli::{fail, micro_bundle, path, run};
use crate::support::goldens;
use burn::tensor::{Device, Tensor, TensorData};
use ofa::config::AnswerOptions;
use ofa::device::DeviceChoice;
use ofa::error::{Error, Result};
use ofa::image::Pixels;
use ofa::model::OfaModel;
use ofa::predict::Predictor;
use ofa::task::{Answer, ImageRule, Inputs, find};
use ofa::train::results::results;
use ofa::train::{EvaluateOptions, Question, Reference, Report, Step, agreement, evaluate};
use ofa::weights::load_model;
use std::path::Path;

fn predictor() -> Predictor {
    let (device, _) = pollster::block_on(DeviceChoice::Cpu.open()).unwrap();
    Predictor::load(&micro_bundle().path, &device).unwrap()
}

fn image(name: &str) -> Pixels {
    ofa::image::decode(&std::fs::read(goldens().join("tiny").join(name)).unwrap()).unwrap()
}

fn question(id: &str, task: &str, image: &Pixels, reference: Reference) -> Question {
    let text = (task == "vqa").then(|| "what colour is it?".to_string());
    Question {
        id: id.into(),
        task: find(task).unwrap(),
        image: Some(image.clone()),
        inputs: Inputs { text, ..Inputs::default() },
        reference,
        group: (task == "vqa").then(|| format!("group {}", id.len())),
    }
}

fn ask(predictor: &Predictor, questions: Vec<Result<Question>>) -> Result<Report> {
    pollster::block_on(evaluate(predictor, questions, &EvaluateOptions::default(), |_| Ok(())))
}

fn text(answer: &Answer) -> String {
    match answer {
        Answer::Text { text, .. } => text.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_model_is_perfect_by_its_own_answers() {
    let predictor = predictor();
    let (first, second) = (image("raw_0.png"), image("raw_1.png"));
    let unknown = || Reference::Texts(vec!["something else".into()]);
    let asked = |references: &[Reference]| {
        vec![
            Ok(question("17", "caption", &first, references[0].clone())),
            Ok(question("5", "vqa", &first, references[1].clone())),
            Err(Error::image("row 3 holds no image")),
            Ok(question("vqa-2", "vqa", &first, references[2].clone())),
            Ok(question("vqa-3", "vqa", &second, references[3].clone())),
        ]
    };
    let mut endless = question("long", "vqa", &first, unknown());
    endless.inputs.text = Some("why".repeat(1000));
    let mut asked_too_much = asked(&[unknown(), unknown(), unknown(), unknown()]);
    asked_too_much.insert(1, Ok(endless.clone()));
    assert_eq!(ask(&predictor, asked_too_much).unwrap().skipped, 2, "the others are answered");
    let refused = ask(&predictor, vec![Ok(endless)]).unwrap_err().to_string();
    assert!(refused.contains("question long") && refused.contains("tokens"), "{refused}");
    let mut heard = (0, 0);
    let report = pollster::block_on(evaluate(
        &predictor,
        asked(&[unknown(), unknown(), unknown(), unknown()]),
        &EvaluateOptions::default(),
        |step| {
            match step {
                Step::Answered(_) => heard.0 += 1,
                Step::Skipped(_) => heard.1 += 1,
            }
            Ok(())
        },
    ))
    .unwrap();
    assert_eq!((heard, report.skipped, report.predictions.len()), ((4, 1), 1, 4));
    assert_eq!(report.tasks["vqa"].metrics, [("vqa_score", 0.0)]);
    assert_eq!(report.tasks["vqa"].groups.keys().collect::<Vec<_>>(), ["group 1", "group 5"]);
    assert_eq!(report.tasks["vqa"].groups["group 5"].count, 2);

    let said: Vec<String> = report.predictions.iter().map(|one| text(&one.answer)).collect();
    let own = [
        Reference::Mentions(vec![vec!["never said".into(), said[0].clone()]]),
        Reference::Texts(vec![said[1].clone()]),
        Reference::Scored(vec![("other".into(), 1.0), (said[2].clone(), 0.5)]),
        Reference::Scored(vec![(said[3].clone(), 1.0)]),
    ];
    let report = ask(&predictor, asked(&own)).unwrap();
    let metrics = report.metrics();
    assert_eq!(metrics["caption"]["mentions"], 1.0, "{said:?}");
    assert_eq!(metrics["vqa"]["vqa_score"], (1.0 + 0.5 + 1.0) / 3.0, "{said:?}");
    assert_eq!(report.tasks["vqa"].groups["group 5"].metrics, [("vqa_score", 0.75)]);
}

#[test]
fn an_image_is_encoded_once_for_the_questions_that_follow() {
    let predictor = predictor();
    let (first, second) = (image("raw_0.png"), image("raw_1.png"));
    let of = |image: &Pixels| Ok(question("1", "vqa", image, Reference::Texts(Vec::new())));
    let report = ask(&predictor, vec![of(&first), of(&first), of(&second), of(&first)]).unwrap();
    let encoded: Vec<bool> = report.predictions.iter().map(|one| one.timings.stem_ms > 0.0).collect();
    assert_eq!(encoded, [true, false, true, true]);
    assert_eq!(report.predictions[0].answer, report.predictions[1].answer);
    assert_eq!(report.predictions[0].answer, report.predictions[3].answer);
}

#[test]
fn smaller_weights_are_held_to_the_answers_of_their_original() {
    let bundle = micro_bundle();
    let smaller = bundle.path.with_file_name("q4");
    run(&["export", path(&bundle.path), "--out", path(&smaller), "--dtype", "q4", "--no-report", "--device", "cpu"]);
    let (device, _) = pollster::block_on(DeviceChoice::Cpu.open()).unwrap();
    let [original, smaller] = [&bundle.path, &smaller].map(|path| Predictor::load(path, &device).unwrap());
    let pixels = image("raw_0.png");
    let asked = || {
        let question = |task: &str| Ok::<_, Error>(question("1", task, &pixels, Reference::Texts(Vec::new())));
        let mut endless = question("vqa").unwrap();
        endless.inputs.text = Some("why".repeat(1000));
        vec![question("caption"), Err(Error::image("row 2 holds no image")), Ok(endless), question("vqa")]
    };
    let agree = |other: &Predictor| {
        let (mut heard, options) = (0, AnswerOptions::default());
        let found = pollster::block_on(agreement(&original, other, asked(), &options, || heard += 1)).unwrap();
        (found, heard)
    };
    let (same, heard) = agree(&original);
    assert_eq!((heard, same.keys().copied().collect::<Vec<_>>()), (2, vec!["all", "caption", "vqa"]));
    let whole = same["all"];
    assert!(whole.places > 2 && whole.share() == 1.0, "{same:?}");
    assert_eq!(whole.places, same["caption"].places + same["vqa"].places);
    let (other, _) = agree(&smaller);
    assert_eq!(other["all"].places, whole.places, "held to the same answers");
    assert!(other["all"].agreeing < whole.agreeing, "four bits of random weights are not what they were: {other:?}");
}

#[test]
fn what_stops_an_evaluation() {
    let predictor = predictor();
    let pixels = image("raw_0.png");
    let good = || Ok(question("1", "vqa", &pixels, Reference::Texts(Vec::new())));
    assert!(ask(&predictor, Vec::new()).unwrap().tasks.is_empty());
    let error = ask(&predictor, vec![Err(Error::image("first")), Err(Error::image("second"))]).unwrap_err();
    assert_eq!(error, Error::image("first"));
    let error = ask(&predictor, vec![Ok(question("1", "vqa", &pixels, Reference::Region([0.0; 4])))]).unwrap_err();
    assert!(error.to_string().contains("a region of an image"), "{error}");
    let options = EvaluateOptions::default();
    let stopped = pollster::block_on(evaluate(&predictor, vec![good(), good()], &options, |_| Err(Error::Cancelled)));
    assert_eq!(stopped.unwrap_err(), Error::Cancelled);
}

#[test]
fn answers_are_written_as_the_official_tools_read_them() {
    let predictor = predictor();
    let pixels = image("raw_0.png");
    let captions = Reference::Texts(vec!["a dog".into(), "one dog".into()]);
    let asked = vec![
        Ok(question("391895", "caption", &pixels, captions)),
        Ok(question("07", "vqa", &pixels, Reference::Texts(Vec::new()))),
    ];
    let report = ask(&predictor, asked).unwrap();
    let results = results(&report.predictions);
    let (caption, vqa) = (&results["caption"], &results["vqa"]);
    assert_eq!(caption.answers[0]["image_id"], 391_895);
    assert_eq!(caption.answers[0]["caption"], text(&report.predictions[0].answer));
    let references = caption.references.as_ref().unwrap();
    assert_eq!(references["images"][0]["id"], 391_895);
    assert_eq!(references["annotations"][1]["caption"], "one dog");
    assert_eq!(vqa.answers[0]["question_id"], "07");
    assert_eq!(vqa.answers[0]["answer"], text(&report.predictions[1].answer));
}

#[test]
fn the_command_line_measures_a_file() {
    let bundle = micro_bundle();
    let directory = bundle.path.parent().unwrap();
    let (data, out) = (directory.join("questions.jsonl"), directory.join("out"));
    std::fs::copy(goldens().join("tiny/raw_0.png"), directory.join("picture.png")).unwrap();
    let row = |id: u32, image: &str| {
        let answer = "0.6|!+red&&1|!+blue";
        serde_json::json!({ "id": id.to_string(), "image": image, "question": "which colour?", "answer": answer })
    };
    let rows = [row(1, "picture.png"), row(2, "nowhere.png"), row(3, "picture.png")].map(|row| format!("{row}\n"));
    std::fs::write(&data, rows.concat()).unwrap();
    let answers = directory.join("answers.txt");
    std::fs::write(&answers, "blue\n").unwrap();
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let [model, data, out, answers] = [&bundle.path, &data, &out, &answers].map(|one| path(one));
    let ask = ["evaluate", "vqa", "--model", &model, "--data", &data, "--device", "cpu", "--json"];
    let printed = run(&[ask.as_slice(), &["--answers", &answers, "--out", &out]].concat());
    let last: serde_json::Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    assert_eq!(last, serde_json::json!({ "vqa": { "vqa_score": 1.0 }, "count": 2, "skipped": 1 }), "{printed}");
    assert!(printed.contains("1 questions could not be read or asked"), "{printed}");
    let written = std::fs::read_to_string(std::path::Path::new(&out).join("vqa.json")).unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&written).unwrap(),
        serde_json::json!([{ "question_id": 1, "answer": "blue" }, { "question_id": 3, "answer": "blue" }])
    );
    let message = fail(&["evaluate", "vqa", "--model", &model, "--device", "cpu"], 2);
    assert!(message.contains("data"), "{message}");
    let message = fail(&[ask.as_slice(), &["--out", &data]].concat(), 1);
    assert!(
        message.contains("questions.jsonl") && !message.contains("left out"),
        "before anything is asked: {message}"
    );
    for task in ["vqa", "scenes"] {
        let message = fail(&["evaluate", task, "--model", &model, "--frequencies", &data], 2);
        assert!(message.contains("--frequencies") && message.contains(task), "{message}");
    }
}

const SIDE: usize = 256;

#[test]
fn weights_are_rounded_for_the_questions_they_will_be_asked() {
    let bundle = micro_bundle();
    let folder = bundle.path.parent().unwrap();
    let picture = |name: &str| crate::support::goldens().join("tiny").join(name);
    let rows: Vec<String> = ["raw_0.png", "raw_1.png"]
        .iter()
        .map(|name| serde_json::json!({ "image": picture(name), "caption": "a red cat" }).to_string())
        .collect();
    let data = folder.join("seen.jsonl");
    std::fs::write(&data, rows.join("\n")).unwrap();
    let [nearest, calibrated] = ["nearest", "calibrated"].map(|name| folder.join(name));
    let export = |out: &Path, more: &[&str]| {
        let plain =
            ["export", path(&bundle.path), "--out", path(out), "--dtype", "q4", "--no-report", "--device", "cpu"];
        run(&[plain.as_slice(), more].concat())
    };
    export(&nearest, &[]);
    let told = export(&calibrated, &["--calibrate", "caption", "--data", path(&data)]);
    assert!(told.contains("rounded for 2 answers"), "{told}");
    let device = Device::flex();
    let [original, nearest, calibrated] =
        [&bundle.path, &nearest, &calibrated].map(|path| load_model(path, &device).unwrap().1);
    // What the stem makes of a picture that it was rounded for.
    let pixels =
        ImageRule { side: SIDE as u32, ..find("caption").unwrap().image.unwrap() }.view(&image("raw_0.png")).unwrap();
    let pixels = Tensor::<4>::from_data(TensorData::new(pixels, [1, 3, SIDE, SIDE]), &device);
    let seen = |model: &OfaModel| model.encode_image(pixels.clone()).patches;
    let off = |model: &OfaModel| (seen(model) - seen(&original)).square().mean().into_scalar::<f32>();
    let (rounded, fed_back) = (off(&nearest), off(&calibrated));
    assert!(fed_back < 0.7 * rounded, "{fed_back}, nearest {rounded}");

    let wrong = ["--dtype", "f16", "--calibrate", "caption", "--data", path(&data)];
    let message = fail(&[&["export", path(&bundle.path), "--out", path(&folder.join("f16"))], &wrong[..]].concat(), 2);
    assert!(message.contains("calibrate") && message.contains("q8 or q4"), "{message}");
    let (to, gone) = (folder.join("q4"), folder.join("gone.jsonl"));
    let export = ["export", path(&bundle.path), "--out", path(&to), "--dtype", "q4", "--data", path(&gone)];
    let message = fail(&export, 2);
    assert!(message.contains("--calibrate"), "what it is for is not there: {message}");
    std::fs::write(&gone, r#"{"image": "gone.png", "caption": "a cat"}"#).unwrap();
    let message = fail(&[&export[..], &["--calibrate", "caption"]].concat(), 1);
    assert!(message.contains("gone.png") && !to.exists(), "{message}");
}
