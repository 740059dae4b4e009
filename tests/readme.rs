//! What the README shows, line by line.

use crate::cli::micro_bundle;
use crate::predict::add_codes;
use crate::support::goldens;
use ofa::device::DeviceChoice;
use ofa::error::Error;
use ofa::image::decode;
use ofa::predict::Predictor;
use ofa::task::{Inputs, TASKS};
use ofa::train::data::KINDS;
use std::process::Command;

/// The lines of the block in `language` that shows every task.
fn lines(language: &str) -> Vec<&'static str> {
    let (_, section) = include_str!("../README.md").split_once("## Every task in one line").unwrap();
    let (_, block) = section.split_once(&format!("```{language}\n")).unwrap();
    block.split_once("```").unwrap().0.lines().collect()
}

#[test]
fn every_kind_of_file_has_its_fields_in_the_table() {
    for kind in KINDS {
        let fields = kind.fields.iter().zip(kind.columns).map(|(field, column)| format!("{field} {column}"));
        let numbers = |columns: &[usize]| columns.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        let evaluation = kind.evaluation.map(|columns| format!("; to evaluate {}", numbers(columns)));
        let fields = fields.collect::<Vec<_>>().join(", ");
        let row = format!("| `{}` | {fields}{} |", kind.name, evaluation.unwrap_or_default());
        assert!(include_str!("../README.md").lines().any(|line| line == row), "README: {row}");
    }
}

#[test]
fn every_task_has_a_command_that_answers() {
    let bundle = micro_bundle();
    add_codes(&bundle.path);
    let directory = bundle.path.parent().unwrap();
    std::fs::copy(goldens().join("tiny/raw_0.png"), directory.join("photo.png")).unwrap();
    std::fs::write(directory.join("names.txt"), "car\nboat\n").unwrap();
    let commands = lines("sh");
    assert_eq!(commands.len(), TASKS.len());
    for (command, task) in commands.into_iter().zip(TASKS) {
        assert!(command.starts_with(&format!("ofa predict {} --model MODEL", task.name)), "{command}");
        let line = command.replacen("ofa", "\"$OFA\"", 1).replace("MODEL", "bundle").replace("photo.jpg", "photo.png");
        let mut shell = Command::new("bash");
        shell.args(["-c", &format!("{line} --device cpu")]).env("OFA", env!("CARGO_BIN_EXE_ofa"));
        let output = shell.current_dir(directory).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(directory.join("drawing.png").is_file() && directory.join("middle.png").is_file());
}

#[test]
#[rustfmt::skip]
fn every_task_has_a_line_of_rust_that_answers() {
    let bundle = micro_bundle();
    let photo = decode(&std::fs::read(goldens().join("tiny/raw_0.png")).unwrap()).unwrap();
    pollster::block_on(async {
        let (device, _) = DeviceChoice::Cpu.open().await?;
        let model = Predictor::load(&bundle.path, &device)?;
        let pair = Inputs { text2: Some("it is wet".into()), ..Inputs::of_text("it is raining") };
        // <README>
        model.ask("caption", Some(&photo), &Inputs::default()).await?;
        model.ask("vqa", Some(&photo), &Inputs::of_text("what colour is the car?")).await?;
        model.ask("vqa_match", Some(&photo), &Inputs { text2: Some("red".into()), ..Inputs::of_text("what colour is the car?") }).await?;
        model.ask("grounding", Some(&photo), &Inputs::of_text("the red car")).await?;
        model.ask("region_caption", Some(&photo), &Inputs { region: Some([0.1, 0.2, 0.6, 0.9]), ..Inputs::default() }).await?;
        model.ask("detect", Some(&photo), &Inputs::default()).await?;
        model.ask("entailment", Some(&photo), &Inputs::of_text("a car is on a bridge")).await?;
        model.ask("match", Some(&photo), &Inputs::of_text("a red car on a bridge")).await?;
        model.ask("classify", Some(&photo), &Inputs { answers: Some(vec!["car".into(), "boat".into()]), ..Inputs::default() }).await?;
        model.ask("image_gen", None, &Inputs::of_text("a red car")).await?;
        model.ask("infill_image", Some(&photo), &Inputs::default()).await?;
        model.ask("infill_text", None, &Inputs::of_text("a red <mask> on a bridge")).await?;
        model.ask("ocr", Some(&photo), &Inputs::default()).await?;
        model.ask("summary", None, &Inputs::of_text("a red car stands on a bridge.")).await?;
        model.ask("cola", None, &Inputs::of_text("it is raining")).await?;
        model.ask("mnli", None, &pair).await?;
        model.ask("mrpc", None, &pair).await?;
        model.ask("qnli", None, &pair).await?;
        model.ask("qqp", None, &pair).await?;
        model.ask("rte", None, &pair).await?;
        model.ask("sst2", None, &Inputs::of_text("a fine day")).await?;
        // </README>
        Ok::<_, Error>(())
    }).unwrap();
    let (_, own) = include_str!("readme.rs").split_once("// <README>\n").unwrap();
    let own: Vec<_> = own.split_once("// </README>").unwrap().0.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let shown: Vec<_> = lines("rust,ignore").into_iter().filter(|line| line.starts_with("model.")).collect();
    assert_eq!(shown, own);
    for (line, task) in shown.iter().zip(TASKS) {
        assert!(line.contains(&format!("\"{}\"", task.name)), "{line}");
    }
}
