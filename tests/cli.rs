//! The binary as a person meets it: what it prints, what it returns, what it says when something is wrong.

use crate::support::{goldens, original_bpe, tiny_weights, torch};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use ofa::config::{OfaConfig, Packing, Quantization};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn ofa(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ofa")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs and insists on success.
pub fn run(args: &[&str]) -> String {
    let output = ofa(args);
    assert!(output.status.success(), "ofa {args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Runs and insists on failure with `code`; returns the message.
pub fn fail(args: &[&str], code: i32) -> String {
    let output = ofa(args);
    assert_eq!(output.status.code(), Some(code), "ofa {args:?}: {}", text(&output.stderr));
    text(&output.stderr)
}

pub fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub struct Bundle {
    _directory: tempfile::TempDir,
    pub path: PathBuf,
}

pub fn micro_bundle() -> Bundle {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("bundle");
    let checkpoint = goldens().join("micro-fairseq/checkpoint_slim.pt");
    let tokenizer = goldens().join("tokenizer");
    run(&["convert", path(&checkpoint), "--tokenizer", path(&tokenizer), "--out", path(&out)]);
    Bundle { _directory: directory, path: out }
}

#[test]
fn a_checkpoint_becomes_a_bundle_that_answers() {
    let bundle = micro_bundle();
    let bundle = path(&bundle.path);
    run(&["verify", bundle]);
    let image = goldens().join("tiny/raw_0.png");
    let ask = ["--model", bundle, "--image", path(&image), "--device", "cpu", "--json"];
    for question in [vec!["predict", "caption"], vec!["predict", "vqa", "--text", "what is it?"]] {
        let printed = run(&[question.as_slice(), &ask].concat());
        let answer: serde_json::Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(answer["kind"], "text", "{printed}");
        assert!(answer["tokens"].as_array().is_some_and(|tokens| !tokens.is_empty()));
        assert_eq!(answer["device"]["kind"], "cpu");
    }
    let answers = Path::new(bundle).join("../answers.txt");
    std::fs::write(&answers, "red\nblue\n").unwrap();
    let closed = ["predict", "vqa", "--text", "what colour?", "--answers", path(&answers)];
    let answer: serde_json::Value = serde_json::from_str(&run(&[closed.as_slice(), &ask].concat())).unwrap();
    let found: Vec<_> = answer["alternatives"].as_array().unwrap().iter().map(|one| one["text"].clone()).collect();
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|text| text == "red" || text == "blue"), "{found:?}");
}

#[test]
fn every_task_answers_from_the_command_line() {
    let bundle = micro_bundle();
    let image = goldens().join("tiny/raw_0.png");
    let names = bundle.path.with_file_name("names.txt");
    std::fs::write(&names, "red\nblue\n").unwrap();
    for task in ofa::task::TASKS {
        let mut args = vec!["predict", task.name, "--model", path(&bundle.path), "--device", "cpu", "--json"];
        if task.image.is_some() {
            args.extend(["--image", path(&image)]);
        }
        for input in task.inputs.iter().filter(|input| input.required) {
            args.extend(match input.field {
                ofa::task::Field::Region => ["--region", "0.1,0.1,0.5,0.5"],
                ofa::task::Field::Text2 => ["--text2", "a"],
                _ => ["--text", "a"],
            });
        }
        if task.name == "classify" {
            let message = fail(&args, 1);
            assert!(message.contains("needs `answers`"), "{message}");
            args.extend(["--answers", path(&names)]);
        }
        let answer: serde_json::Value = serde_json::from_str(&run(&args)).unwrap();
        let (kind, filled) = match task.answer {
            ofa::task::AnswerKind::Text | ofa::task::AnswerKind::Caption => ("text", "alternatives"),
            ofa::task::AnswerKind::Label => ("labels", "alternatives"),
            ofa::task::AnswerKind::Box => ("boxes", "boxes"),
            ofa::task::AnswerKind::Codes => ("codes", "codes"),
            // Untrained weights may name no object.
            ofa::task::AnswerKind::Objects => ("objects", "tokens"),
        };
        assert_eq!(answer["kind"], kind, "{answer}");
        assert!(!answer[filled].as_array().unwrap().is_empty(), "{answer}");
    }
    let drawn = |seed| {
        let draw = ["predict", "caption", "--image", path(&image), "--top-k", "9", "--seed", seed];
        run(&[draw.as_slice(), &["--model", path(&bundle.path), "--device", "cpu"]].concat())
    };
    assert_eq!(drawn("3"), drawn("3"));
    assert_ne!(drawn("3"), drawn("4"));
}

#[test]
fn an_encoded_image_serves_the_tasks_that_see_it_so() {
    use ofa::{config::AnswerOptions, device::DeviceChoice, predict::Predictor, task::Inputs, task::find};
    let bundle = micro_bundle();
    let pixels = ofa::image::decode(&std::fs::read(goldens().join("tiny/raw_0.png")).unwrap()).unwrap();
    pollster::block_on(async {
        let (device, _) = DeviceChoice::Cpu.open().await.unwrap();
        let model = Predictor::load(&bundle.path, &device).unwrap();
        let options = AnswerOptions::default();
        let image = model.encode_image(find("caption").unwrap(), &pixels, &options).await.unwrap();
        let ask = async |task: &str, inputs: Inputs| {
            model.answer(find(task).unwrap(), Some(&image), &inputs, &options, async |_| Ok(())).await
        };
        let about = |text: &str| Inputs { text: Some(text.into()), ..Inputs::default() };
        ask("caption", Inputs::default()).await.unwrap();
        ask("vqa", about("why?")).await.unwrap();
        ask("grounding", about("a cat")).await.unwrap();
        let names = Inputs { answers: Some(vec!["cat".into()]), ..Inputs::default() };
        // Other means and deviations, and a middle that may not be seen.
        for (task, inputs) in [("classify", names), ("infill_image", Inputs::default())] {
            let error = ask(task, inputs).await.unwrap_err().to_string();
            assert!(error.contains("needs an image encoded for it"), "{error}");
        }
    });
}

#[test]
fn a_quantised_bundle_answers() {
    let bundle = micro_bundle();
    let quantised = bundle.path.with_file_name("q8");
    let report = run(&["export", path(&bundle.path), "--out", path(&quantised), "--dtype", "q8", "--device", "cpu"]);
    assert!(report.contains("preferred token"), "{report}");
    run(&["verify", path(&quantised)]);
    let image = goldens().join("tiny/raw_0.png");
    run(&["predict", "caption", "--model", path(&quantised), "--image", path(&image), "--device", "cpu"]);
}

#[test]
fn parts_of_a_bundle_may_be_finer() {
    let bundle = micro_bundle();
    let out = bundle.path.with_file_name("out");
    let export = ["export", path(&bundle.path), "--out", path(&out), "--dtype"];
    // Where logits then are on average, away from those of the weights as they were.
    let drift = |device: &str, more: &[&str]| -> f32 {
        let report = run(&[&export[..], &["q4", "--group-size", "32", "--device", device], more].concat());
        run(&["verify", path(&out)]);
        report.split_once("at most, ").unwrap().1.split(' ').next().unwrap().parse().unwrap()
    };
    for device in ["cpu", "gpu"] {
        let q4 = drift(device, &[]);
        let finer = drift(device, &["--finer", "tokens,stem,positions"]);
        assert!(finer < q4, "{device}: {finer}, {q4}");
    }
    let config = std::fs::read_to_string(out.join("config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    let quantization = config["quantization"].as_object().unwrap();
    assert_eq!(quantization["bits"], 4);
    assert_eq!(quantization["encoder.embed_tokens"], serde_json::json!({ "bits": 8, "group_size": 32 }));
    assert!(quantization.keys().any(|module| module.starts_with("encoder.embed_images.")), "{config}");
    assert!(quantization.contains_key("decoder.self_pos_q_linear"), "{config}");
    assert!(!quantization.keys().any(|module| module.contains("layers.")), "{config}");
    for questions in ["--count", "--side"] {
        let error = fail(&[&export[..], &["q8", questions, "9"]].concat(), 2);
        assert!(error.contains("--calibrate"), "{error}");
    }
    let error = fail(&[&export[..], &["q8", "--finer", "stem"]].concat(), 2);
    assert!(error.contains("--finer") && error.contains("q4"), "{error}");
}

#[test]
fn a_bundle_is_packed_as_its_model_was_trained_for() {
    let bundle = micro_bundle();
    let out = bundle.path.with_file_name("out");
    let packing = |trained_for: &str, more: &[&str]| {
        // The rest may be for another version.
        let recipe = format!("later = 1\nupdate = {{ quantization = {trained_for} }}\n");
        std::fs::write(bundle.path.join("recipe.toml"), recipe).unwrap();
        let export = ["export", path(&bundle.path), "--out", path(&out), "--no-report", "--dtype"];
        run(&[&export[..], more].concat());
        let config = std::fs::read_to_string(out.join("config.json")).unwrap();
        OfaConfig::from_json(&config).unwrap().quantization.unwrap()
    };
    let of = |bits, group_size| Quantization { bits, group_size };
    let tokens = |packing: &Packing| packing.of("encoder.embed_tokens.weight");
    let four = "{ bits = 4, group_size = 32, finer = ['tokens'] }";
    let trained_for = packing(four, &["q4"]);
    assert_eq!((trained_for.usual, tokens(&trained_for)), (of(4, 32), of(8, 32)));
    let stem = packing(four, &["q4", "--finer", "stem"]);
    assert_eq!((stem.usual, tokens(&stem)), (of(4, 32), of(4, 32)), "what is asked for takes the place of each");
    assert_eq!(packing(four, &["q4", "--group-size", "64"]).usual, of(4, 64));
    assert_eq!(packing("{ bits = 4 }", &["q8"]), of(8, 64).into(), "eight bits hold what four do in the same groups");
    assert_eq!(packing("{ bits = 8, group_size = 128 }", &["q4"]), of(4, 64).into(), "four do not hold what eight do");
}

/// The whole way of the first user: an original checkpoint of the real shape, and the original's own answer.
#[test]
fn the_real_shape_captions_as_the_original_did() {
    let (Some(weights), Some(bpe)) = (tiny_weights(), original_bpe()) else {
        return eprintln!("skipped: needs `make seeded-weights` and the original's BPE files (OFA_BPE)");
    };
    let directory = tempfile::tempdir().unwrap();
    let (checkpoint, bundle) = (directory.path().join("tiny.pt"), directory.path().join("bundle"));
    let bytes = std::fs::read(weights).unwrap();
    torch::write_checkpoint(&checkpoint, &ofa::weights::read_shard("seeded", &bytes).unwrap());
    let convert = ["convert", path(&checkpoint), "--tokenizer", path(&bpe), "--arch", "tiny", "--image-size", "256"];
    run(&[convert.as_slice(), &["--out", path(&bundle)]].concat());
    let image = goldens().join("tiny/resized_0_256x256.png");
    let ask = ["predict", "caption", "--model", path(&bundle), "--image", path(&image), "--device", "cpu", "--json"];
    let answer: serde_json::Value = serde_json::from_str(&run(&ask)).unwrap();
    assert_eq!(answer["tokens"], golden_caption(), "{answer}");
    // Where the browser's tests find it.
    if let Some(keep) = std::env::var_os("OFA_KEEP_TINY_BUNDLE") {
        let keep = PathBuf::from(keep);
        let _ = std::fs::remove_dir_all(&keep);
        run(&["export", path(&bundle), "--out", path(&keep), "--dtype", "f32", "--no-report"]);
        let quantised = format!("{}-q8", path(&keep));
        let _ = std::fs::remove_dir_all(&quantised);
        run(&["export", path(&bundle), "--out", &quantised, "--dtype", "q8", "--no-report"]);
    }
}

/// The best beam of the first sample, which was asked for a caption.
fn golden_caption() -> serde_json::Value {
    let bytes = std::fs::read(goldens().join("tiny/gen_beam5_caption.safetensors")).unwrap();
    let tensors = ofa::weights::read_shard("gen_beam5_caption", &bytes).unwrap();
    let (_, tokens) = tensors.iter().find(|(name, _)| name == "out.tokens").unwrap();
    let width = tokens.shape[2];
    let ids = tokens.data.chunks_exact(8).take(width).map(|word| i64::from_le_bytes(word.try_into().unwrap()));
    ids.filter(|id| *id != 1).collect()
}

#[test]
fn a_bundle_gets_image_codes_and_keeps_them() {
    let bundle = micro_bundle();
    let checkpoint = goldens().join("vqgan/model.safetensors");
    let image = goldens().join("tiny/raw_0.png");
    let encode = ["codes", "encode", "--image", path(&image), "--side", "32", "--device", "cpu", "--model"];
    let message = fail(&[encode.as_slice(), &[path(&bundle.path)]].concat(), 1);
    assert!(message.contains("ofa codes convert"), "{message}");
    let printed = run(&["codes", "convert", path(&checkpoint), "--out", path(&bundle.path.join("vqgan"))]);
    assert!(printed.contains("codes of 8 pixels"), "{printed}");
    run(&["verify", path(&bundle.path)]);

    let half = bundle.path.with_file_name("half");
    run(&["export", path(&bundle.path), "--out", path(&half), "--dtype", "f16", "--no-report"]);
    run(&["verify", path(&half)]);
    let codes = run(&[encode.as_slice(), &[path(&bundle.path)]].concat());
    let rows: Vec<Vec<usize>> =
        codes.lines().map(|line| line.split(' ').map(|code| code.parse().unwrap()).collect()).collect();
    assert!(rows.len() == 4 && rows.iter().all(|row| row.len() == 4), "{codes}");
    run(&[encode.as_slice(), &[path(&half), "--middle"]].concat());

    let (raster, drawn) = (half.with_file_name("codes.txt"), half.with_file_name("drawn.png"));
    std::fs::write(&raster, "1 2 3\n4 5 6\n").unwrap();
    let decode = ["codes", "decode", "--codes", path(&raster), "--out", path(&drawn), "--device", "cpu", "--model"];
    run(&[decode.as_slice(), &[path(&half)]].concat());
    assert_eq!(ofa::image::decode(&std::fs::read(&drawn).unwrap()).unwrap().size(), (24, 16));
    let message = fail(&[&encode[..5], &["5000", "--device", "cpu", "--model", path(&half)]].concat(), 1);
    assert!(message.contains("codes, of") && message.contains("at most"), "{message}");
    let many = "1 ".repeat(20_000);
    let wrongs = [
        ("1 2\n3", "row 2 has 1", 1),
        ("1 x", "`x`", 1),
        ("99999", "below", 2),
        ("", "codes", 2),
        (many.trim(), "at most 16384", 2),
    ];
    for (wrong, why, code) in wrongs {
        std::fs::write(&raster, wrong).unwrap();
        let message = fail(&[decode.as_slice(), &[path(&half)]].concat(), code);
        assert!(message.contains(why), "{message}");
    }
    let other = ["codes", "decode", "--codes", path(&raster), "--out", "drawn.jpg", "--model", path(&half)];
    let message = fail(&other, 2);
    assert!(message.contains("--out") && message.contains(".png") && message.contains("drawn.jpg"), "{message}");
    let odd = ["codes", "encode", "--image", path(&image), "--side", "30", "--device", "cpu", "--model", path(&half)];
    let message = fail(&odd, 1);
    assert!(message.contains("30 x 30") && message.contains("8 x 8"), "{message}");
}

#[test]
fn image_codes_are_trained() {
    let directory = tempfile::tempdir().unwrap();
    let (recipe, out) = (directory.path().join("recipe.toml"), directory.path().join("run"));
    let ddconfig = "{ z_channels = 8, resolution = 32, ch = 8, ch_mult = [1, 1], num_res_blocks = 1, num_groups = 4 }";
    let model = format!("{{ type = 'VQModel', embed_dim = 4, n_embed = 16, ddconfig = {ddconfig} }}");
    std::fs::write(&recipe, format!("side = 16\nmodel = {model}\nupdate = {{ updates = 2, plain_updates = 1 }}\n"))
        .unwrap();
    let images = goldens().join("tiny");
    let train = ["codes", "train", path(&recipe), "--images", path(&images), "--out", path(&out), "--device", "cpu"];
    let printed = run(&train);
    assert!(printed.contains("update 2/2"), "{printed}");
    let image = images.join("raw_0.png");
    let encode = ["codes", "encode", "--model", path(&out), "--image", path(&image), "--side", "16"];
    assert_eq!(run(&[encode.as_slice(), &["--device", "cpu"]].concat()).lines().count(), 8);
    let message = fail(&train, 1);
    assert!(message.contains("--resume"), "{message}");
    for (set, why) in [
        ("side=17", "multiples of 2"),
        ("update.updates=1", "plain_updates, 1"),
        ("update.decay=nan", "update.decay"),
        ("update.schedule.lr=-1", "lr"),
        ("model.n_embed=1", "n_embed"),
        ("model.ddconfig.foo=1", "model.ddconfig.foo"),
    ] {
        let another = directory.path().join(set);
        let another = ["--images", path(&images), "--out", path(&another), "--device", "cpu", "--set", set];
        let message = fail(&[["codes", "train", path(&recipe)].as_slice(), &another].concat(), 2);
        assert!(message.contains(why), "{set}: {message}");
    }
    let resumed = [train.as_slice(), &["--resume", "--set", "side=32"]].concat();
    assert!(fail(&resumed, 2).contains("16, as the run began"));
}

#[test]
fn errors_name_what_is_wrong() {
    let bundle = micro_bundle();
    let bundle = path(&bundle.path);
    let image = goldens().join("tiny/raw_0.png");
    let image = path(&image);
    let message = fail(&["predict", "caption", "--model", "nowhere", "--image", image], 1);
    assert!(message.contains("nowhere") && message.contains("not a bundle"), "{message}");
    let message = fail(&["predict", "caption", "--model", bundle, "--image", "nothing.png"], 1);
    assert!(message.contains("nothing.png"), "{message}");
    let message = fail(
        &["predict", "caption", "--model", bundle, "--image", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")],
        1,
    );
    assert!(message.contains("Cargo.toml") && message.contains("not a JPEG, PNG or WebP"), "{message}");
    // Before the model is looked for.
    let early = |args: &[&str], status, expected: &str| {
        let message = fail(&[&["predict"], args, &["--model", "nowhere"]].concat(), status);
        assert!(message.contains(expected), "{message}");
    };
    early(&["caption"], 1, "needs an image");
    early(&["vqa", "--image", image], 1, "needs `text`");
    early(&["classify", "--image", image], 1, "needs `answers`");
    early(&["caption", "--image", image, "--out", "caption.png"], 2, "a task that draws");
    early(&["image_gen", "--text", "a car", "--out", "no/such/folder/car.png"], 1, "its folder does not exist");
    early(&["image_gen", "--text", "a car", "--out", "."], 1, "found a folder");
    early(&["image_gen", "--text", "a car", "--attention", "--json"], 2, "a task on an image");
    let message = fail(&["predict", "caption", "--model", bundle, "--image", image, "--num-beams", "0"], 2);
    assert!(message.contains("`--num-beams`") && message.contains("found 0"), "{message}");
    let message = fail(&["predict", "caption", "--model", bundle, "--image", image, "--image-size", "9999"], 2);
    assert!(message.contains("--image-size") && message.contains("9999"), "{message}");
    let message = fail(&["predict", "infill_image", "--model", bundle, "--image", image, "--image-size", "48"], 2);
    assert!(message.contains("--image-size") && message.contains("expected 64"), "{message}");
    let message = fail(&["predict", "caption", "--model", bundle, "--image", image, "--top-p", "1.5"], 2);
    assert!(message.contains("--top-p") && message.contains("1.5"), "{message}");
    let message = fail(&["predict", "caption", "--model", bundle, "--image", image, "--device", "tpu"], 2);
    assert!(message.contains("auto, gpu, cpu, cuda, torch or torch-cpu"), "{message}");
    let message = fail(&["convert", image, "--out", "nowhere"], 1);
    assert!(message.contains("not a zip archive"), "before it is asked for a vocabulary: {message}");
    let export = |more: &[&str]| fail(&[&["export", bundle, "--out", "nowhere"], more].concat(), 2);
    let message = export(&["--dtype", "q8", "--device", "tpu"]);
    assert!(message.contains("auto, gpu, cpu") && !Path::new("nowhere").exists(), "{message}");
    let message = export(&["--dtype", "f16", "--group-size", "32"]);
    assert!(message.contains("--group-size"), "{message}");
    fail(&["predict"], 2);
    fail(&["frobnicate"], 2);
}

#[test]
fn a_damaged_bundle_is_refused() {
    let bundle = micro_bundle();
    let shard = std::fs::read_dir(&bundle.path).unwrap().map(|entry| entry.unwrap().path());
    let shard = shard.into_iter().find(|path| path.extension().is_some_and(|kind| kind == "safetensors")).unwrap();
    let mut bytes = std::fs::read(&shard).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&shard, &bytes).unwrap();
    let message = fail(&["verify", path(&bundle.path)], 1);
    assert!(message.contains("model-00001"), "{message}");
    std::fs::remove_file(&shard).unwrap();
    let image = goldens().join("tiny/raw_0.png");
    let message = fail(&["predict", "caption", "--model", path(&bundle.path), "--image", path(&image)], 1);
    assert!(message.contains("model-00001"), "{message}");
}

#[test]
fn the_table_of_tasks_is_printed() {
    let printed = run(&["tasks"]);
    for task in ofa::task::TASKS {
        assert!(printed.contains(task.name) && printed.contains(task.doc));
    }
}

#[test]
fn a_bundle_is_fine_tuned_judged_and_gone_on_with() {
    let bundle = micro_bundle();
    let folder = tempfile::tempdir().unwrap();
    let image = URL_SAFE.encode(std::fs::read(goldens().join("tiny/raw_0.png")).unwrap());
    let rows = folder.path().join("rows.tsv");
    let row = |at: usize| format!("{at}\ti{at}\ta red cat\t\t{image}\n");
    std::fs::write(&rows, (0..4).map(row).collect::<String>()).unwrap();
    let (out, data) = (folder.path().join("run"), format!("{0},{0}", path(&rows)));
    let ours = ["finetune", "caption", "--model", path(&bundle.path), "--data", &data, "--device", "cpu"];
    let message = fail(&[ours.as_slice(), &["--out", path(&out)]].concat(), 2);
    assert!(message.contains("model.image_size") && message.contains("1 to 160"), "{message}");
    let small = ["--set", "model.image_size=64", "--set", "batch.draws=2", "--set", "data.epochs=1"];
    let ours = [ours.as_slice(), &small].concat();
    let plan = run(&[ours.as_slice(), &["--dry-run"]].concat());
    assert!(plan.contains("updates      2 of 2 draws each") && plan.contains("caption"), "{plan}");
    run(&[ours.as_slice(), &["--out", path(&out)]].concat());
    assert!(out.join("report.html").is_file() && out.join("metrics.jsonl").is_file());

    let model = out.join("model");
    let asked = ["evaluate", "caption", "--model", path(&model), "--data", path(&rows), "--device", "cpu", "--json"];
    let printed = run(&asked);
    let last: serde_json::Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    assert!(last["caption"]["cider"].is_number(), "{printed}");

    let resumed = ["finetune", "caption", "--out", path(&out), "--resume", "--device", "cpu"];
    let message = fail(&[resumed.as_slice(), &["--set", "data.epochs=2"]].concat(), 2);
    assert!(message.contains("update.schedule.total_updates"), "{message}");
    let longer = ["--set", "data.epochs=2", "--set", "update.schedule.total_updates=4"];
    assert!(run(&[resumed.as_slice(), &longer].concat()).contains("going on after update 2"));
    let message = fail(&["finetune", "vqa", "--out", path(&out), "--resume", "--device", "cpu"], 2);
    assert!(message.contains("data.kind") && message.contains("vqa"), "{message}");
    let message = fail(&["pretrain", "recipes/scenes-cpu.toml"], 2);
    assert!(message.contains("--out"), "{message}");
}

#[test]
fn a_task_that_is_none_is_said_to_be_none() {
    let bundle = micro_bundle();
    let model = path(&bundle.path);
    for command in [
        vec!["predict", "captoin", "--model", model],
        vec!["evaluate", "captoin", "--model", model, "--data", "val.tsv"],
        vec!["finetune", "captoin", "--model", model, "--data", "val.tsv", "--out", "run"],
    ] {
        let error = fail(&command, 2);
        assert!(error.contains("`TASK`: expected one of caption, ") && error.contains("captoin"), "{error}");
    }
    for (task, option) in [
        ("caption", vec!["--answers", "a.txt"]),
        ("caption", vec!["--with-objects"]),
        ("vqa", vec!["--seed", "3"]),
        ("scenes", vec!["--data", "val.tsv"]),
    ] {
        let error = fail(&[vec!["evaluate", task, "--model", model, "--device", "cpu"], option.clone()].concat(), 2);
        assert!(error.contains(&format!("`{}`: expected nothing, since {task}", option[0])), "{error}");
    }
    let (options, image) = (bundle.path.join("generation_config.json"), goldens().join("tiny/raw_0.png"));
    std::fs::write(&options, r#"{"default": {}, "captoin": {"numBeams": 2}}"#).unwrap();
    let error = fail(&["predict", "caption", "--model", model, "--image", path(&image), "--device", "cpu"], 1);
    assert!(error.contains("generation_config.json") && error.contains("captoin"), "{error}");
}

#[test]
fn nothing_is_replaced_by_what_is_made_of_it() {
    let bundle = micro_bundle();
    for out in [bundle.path.clone(), bundle.path.join("."), bundle.path.parent().unwrap().to_owned()] {
        let message = fail(&["export", path(&bundle.path), "--out", path(&out), "--dtype", "q4", "--no-report"], 2);
        assert!(message.contains("another directory"), "{message}");
    }
    run(&["verify", path(&bundle.path)]);
}

#[cfg(unix)]
#[test]
fn who_stops_reading_stops_nothing() {
    use std::process::Stdio;
    let bundle = micro_bundle();
    let half = bundle.path.with_file_name("half");
    let args = ["export", path(&bundle.path), "--out", path(&half), "--dtype", "f16", "--device", "cpu"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_ofa")).args(args).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    run(&["verify", path(&half)]);

    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    if let Ok(full) = full {
        let output = Command::new(env!("CARGO_BIN_EXE_ofa")).arg("tasks").stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(text(&output.stderr).matches("standard output").count(), 1, "said once");
    }
}

#[test]
fn sides_that_no_position_reaches_are_refused_where_they_are_given() {
    let directory = tempfile::tempdir().unwrap();
    let (checkpoint, tokenizer) = (goldens().join("micro-fairseq/checkpoint_slim.pt"), goldens().join("tokenizer"));
    for side in ["0", "100000"] {
        let out = directory.path().join("bundle");
        let convert = ["convert", path(&checkpoint), "--tokenizer", path(&tokenizer), "--image-size", side];
        let message = fail(&[convert.as_slice(), &["--out", path(&out)]].concat(), 2);
        assert!(message.contains("--image-size") && !out.exists(), "{message}");
    }
}

#[test]
fn image_codes_go_on_with_the_pictures_that_they_began_with() {
    let directory = tempfile::tempdir().unwrap();
    let (recipe, out) = (directory.path().join("recipe.toml"), directory.path().join("run"));
    let ddconfig = "{ z_channels = 8, resolution = 32, ch = 8, ch_mult = [1, 1], num_res_blocks = 1, num_groups = 4 }";
    let model = format!("{{ type = 'VQModel', embed_dim = 4, n_embed = 16, ddconfig = {ddconfig} }}");
    let update = "update = { updates = 2, plain_updates = 1 }";
    std::fs::write(&recipe, format!("seed = 6\nside = 16\nbatch = 2\nmodel = {model}\n{update}\n")).unwrap();
    let (images, others) = (goldens().join("tiny"), directory.path().join("others"));
    let ours = ["codes", "train", "--out", path(&out), "--device", "cpu"];
    run(&[ours.as_slice(), &[path(&recipe), "--images", path(&images)]].concat());

    let resumed = [ours.as_slice(), &["--resume", "--set", "update.updates=3"]].concat();
    let printed = run(&resumed);
    assert!(printed.contains(" images") && printed.contains("update 3/3"), "{printed}");
    std::fs::create_dir(&others).unwrap();
    std::fs::copy(images.join("raw_0.png"), others.join("raw_0.png")).unwrap();
    for another in [["--images", path(&others)].as_slice(), &[path(&recipe)]] {
        let message = fail(&[resumed.as_slice(), another].concat(), 2);
        assert!(message.contains("images`") && message.contains("as the run began"), "{message}");
    }

    let scenes = directory.path().join("scenes");
    let begun = ["codes", "train", path(&recipe), "--out", path(&scenes), "--device", "cpu"];
    run(&begun);
    let said = std::fs::read_to_string(scenes.join("recipe.toml")).unwrap();
    assert_eq!(said.matches("seed = 6\n").count(), 2, "the run's and the scenes': {said}");
    let resumed = ["--resume", "--set", "update.updates=3", "--images", path(&images)];
    assert!(fail(&[begun.as_slice(), &resumed].concat(), 2).contains("none: scenes"));
    for set in ["data.side=64", "data.codes=vqgan", "data.samples=2", "data.tasks.vqa=0", "data.epoch=9"] {
        let message = fail(&[begun.as_slice(), &["--resume", "--set", set]].concat(), 2);
        let option = set.split('=').next().unwrap().replace(".vqa", "");
        assert!(message.contains(&format!("`{option}`")), "{set}: {message}");
    }
}

#[test]
#[cfg(unix)]
fn a_bundle_that_is_interrupted_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut config: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(goldens().join("seeded.json")).unwrap()).unwrap();
    // Takes seconds to write.
    for (key, value) in [("d_model", 1024), ("encoder_layers", 12), ("encoder_ffn_dim", 4096)] {
        config[key] = value.into();
    }
    let (file, out, tokenizer) =
        (directory.path().join("config.json"), directory.path().join("bundle"), goldens().join("tokenizer"));
    std::fs::write(&file, config.to_string()).unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_ofa"))
        .args(["init", "--config", path(&file), "--tokenizer", path(&tokenizer), "--out", path(&out)])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let entries = || std::fs::read_dir(directory.path()).unwrap().count();
    while entries() == 1 {
        assert!(process.try_wait().unwrap().is_none(), "it ended before it began to write");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &process.id().to_string()]).status().unwrap().success());
    let output = process.wait_with_output().unwrap();
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("bundle: interrupted; nothing was written"), "{message}");
    assert_eq!(entries(), 1, "something was left");
}
