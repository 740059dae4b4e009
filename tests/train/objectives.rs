//! Rows become samples and questions.

use super::data::{open_kind, png, shard, write};
use crate::vocab::{SMALL, SMALL_JSON, small_config};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use ofa::config::OfaConfig;
use ofa::task::PromptType;
use ofa::train::augment::ImageSizes;
use ofa::train::data::EpochFiles;
use ofa::train::objectives::*;
use ofa::train::{Arrangement, Batch, BatchOptions, Draw, Draws, Loader, Reference, Target};
use ofa::vocab::Vocab;
use std::collections::BTreeSet;
use std::sync::Arc;
use tempfile::TempDir;

const SIZES: ImageSizes = ImageSizes { side: 32, short_side: 40, long_side: 56, extra_side: 64 };

fn small() -> Arc<Vocab> {
    Arc::new(Vocab::from_tokenizer_json(&SMALL_JSON, &small_config()).unwrap())
}

/// A draw as text, for comparing and reading.
fn shown(draw: &Draw) -> Vec<(&'static str, String, String, f32)> {
    let samples = draw.main.iter().chain(&draw.extra);
    samples.map(|one| (one.objective, SMALL.decode(&one.source), SMALL.decode(&one.target), one.conf)).collect()
}

fn files(folder: &TempDir, name: &str, kind: &str, text: &str) -> EpochFiles {
    EpochFiles::new(vec![open_kind(&write(folder, name, text), kind)]).unwrap()
}

/// Sixteen rows of all three kinds, and one each of the others.
fn pretraining(folder: &TempDir, negatives: Negatives) -> Pretraining {
    let image = URL_SAFE.encode(png(50, 40));
    let row = |at: usize| match at % 3 {
        0 => format!("{at}\t{image}\tA red cat no {at}.\t\t\tcat&&dog\tcoco\tcaption\n"),
        1 => format!("{at}\t{image}\t\tWhat is it\t0.3|!+a cat&&0.75|!+dog {at}\t\tvqa\tqa\n"),
        _ => format!("{at}\t{image}\tthe cow\t\t5,5,20,30\t\trefcoco\tvisual_grounding\n"),
    };
    let codes = vec!["7"; 16].join(" ");
    let square = URL_SAFE.encode(png(64, 64));
    let data = PretrainingData {
        main: files(folder, "main.tsv", "vision_language", &(0..16).map(row).collect::<String>()),
        texts: Some(files(folder, "text.tsv", "text", "1\tOne Two three\n2\tfour five six seven\n")),
        images: Some(files(folder, "image.tsv", "image", &format!("1\t{square}\t{codes}\n"))),
        detection: Some(files(
            folder,
            "box.tsv",
            "detection",
            &format!("1\t{image}\t0,0,50,40,3,cat&&1,1,49,39,4,dog\n"),
        )),
        negatives,
    };
    Pretraining::new(data, small(), SIZES, 7)
}

#[test]
fn eight_rows_give_sixteen_samples_and_a_round_of_the_others() {
    let folder = TempDir::new().unwrap();
    let source = pretraining(&folder, Negatives::default());
    assert_eq!(source.len(), Some(16));
    let draws: Vec<Draw> = (0..8).map(|at| source.draw(0, at).unwrap()).collect();
    let main: Vec<_> = draws.iter().flat_map(|draw| &draw.main).collect();
    assert_eq!(main.len(), 16);
    assert!(main.iter().all(|one| one.image.as_ref().is_some_and(|image| (image.width, image.height) == (32, 32))));
    let extra: Vec<&str> = draws[0].extra.iter().map(|one| one.objective).collect();
    assert_eq!(extra, ["infill_text", "infill_text", "infill_image", "detect"]);
    assert!(draws[1..].iter().all(|draw| draw.extra.is_empty()));
    assert!(draws[0].extra.iter().all(|one| one.conf == 2.0 && one.codes == (one.objective == "infill_image")));
    let texts = shown(&draws[0]);
    let texts: BTreeSet<&str> = texts.iter().filter(|one| one.0 == "infill_text").map(|one| one.2.as_str()).collect();
    assert_eq!(texts, [" one two three", " four five six seven"].into());
}

#[test]
fn draws_are_pure_and_every_objective_appears() {
    let folder = TempDir::new().unwrap();
    let source = pretraining(&folder, Negatives::default());
    let mut seen = BTreeSet::new();
    for epoch in 0..6 {
        for at in 0..16 {
            let draw = source.draw(epoch, at).unwrap();
            assert_eq!(shown(&draw), shown(&source.draw(epoch, at).unwrap()));
            for (objective, asked, answer, conf) in shown(&draw) {
                match objective {
                    "caption" => assert!(answer.starts_with(" a red cat no"), "{answer}"),
                    "vqa" => assert!(asked == " what is it" && answer.starts_with(" dog") && conf == 0.75),
                    "vqa_match" => {
                        assert!(asked.starts_with(" what is the answer to question \" what is it \". is \""))
                    }
                    "grounding" => assert_eq!(answer.matches("<bin_").count(), 4),
                    "region_caption" => assert!(answer == " the cow" && asked.starts_with("  what does the region")),
                    _ => {}
                }
                let verdict = if objective.ends_with("match") { answer } else { String::new() };
                seen.insert((objective, verdict));
            }
        }
    }
    let count = |name: &str| seen.iter().filter(|(objective, _)| *objective == name).count();
    assert_eq!((seen.len(), count("match"), count("vqa_match")), (11, 2, 2), "{seen:?}");
}

#[test]
fn a_broken_row_of_the_others_costs_its_own_sample_alone() {
    let folder = TempDir::new().unwrap();
    let image = URL_SAFE.encode(png(50, 40));
    let main = format!("1\t{image}\tA red cat.\t\t\tcat\tcoco\tcaption\n");
    let texts = format!("1\t{}\n2\t \n", "one two three ".repeat(100));
    let boxes = format!("1\t{image}\t0,0,50,40,3,cat&&9,9,9,20,4,dog\n");
    let data = PretrainingData {
        main: files(&folder, "main.tsv", "vision_language", &main),
        texts: Some(files(&folder, "text.tsv", "text", &texts)),
        images: Some(files(&folder, "image.tsv", "image", &format!("1\t{image}\t7 7\n"))),
        detection: Some(files(&folder, "box.tsv", "detection", &boxes)),
        negatives: Negatives::default(),
    };
    let source = Pretraining::new(data, small(), SIZES, 7);
    let draw = source.draw(0, 0).unwrap();
    assert!(!draw.main.is_empty());
    assert_eq!(draw.extra.iter().map(|one| one.objective).collect::<Vec<_>>(), ["infill_text", "detect"]);
    let found = SMALL.decode(&draw.extra[1].target);
    assert!(found.contains("cat") && !found.contains("dog"), "{found}");
    let missing: Vec<String> = draw.missing.iter().map(ToString::to_string).collect();
    assert!(missing.len() == 2 && missing[0].contains("text.tsv:2"), "{missing:?}");
    assert!(missing[1].contains("image.tsv:1") && missing[1].contains("4 x 4"), "{missing:?}");

    // Neither does one that is too long for the model.
    let options = BatchOptions { draws: 1, ..BatchOptions::default() };
    let config = OfaConfig { max_position_embeddings: 128, ..small_config() };
    let arrangement = Arrangement::default();
    let loader = Loader { draws: &source, options: &options, config: &config, seed: 1, arrangement, rank: (0, 1) };
    let loaded = loader.load(0).unwrap();
    assert_eq!(loaded.groups[0][0].len(), draw.main.len());
    assert_eq!(loaded.groups[1][0].objectives, ["detect"]);
    assert_eq!(loaded.skipped.iter().map(|(draw, _)| *draw).collect::<Vec<_>>(), [0, 0, 0]);
    assert!(loaded.skipped[2].1.to_string().contains("at most 128 fit"), "{}", loaded.skipped[2].1);
}

#[test]
fn the_originals_files_give_negatives() {
    let folder = TempDir::new().unwrap();
    write(&folder, "object.txt", "goat\nhorse\nowl\n");
    write(&folder, "all_captions.txt", "a stranger\na stranger\n");
    write(&folder, "type2ans.json", r#"{"other": ["fish", "fish", "fish"]}"#);
    let source = pretraining(&folder, Negatives::open(folder.path()).unwrap());
    let mut captions = BTreeSet::new();
    for epoch in 0..30 {
        for at in 0..16 {
            for (objective, asked, answer, _) in shown(&source.draw(epoch, at).unwrap()) {
                if (objective, answer.as_str()) == ("match", " no") {
                    captions.insert(asked.split('"').nth(1).unwrap().split(' ').nth(3).map(String::from));
                } else if (objective, answer.as_str()) == ("vqa_match", " no") {
                    assert!(asked.ends_with("is \" fish \"?"), "{asked}");
                }
            }
        }
    }
    for animal in ["goat", "horse"] {
        assert!(captions.contains(&Some(animal.to_string())), "{captions:?}");
    }
}

#[test]
fn rows_of_each_task_become_questions_and_samples() {
    let folder = TempDir::new().unwrap();
    let image = URL_SAFE.encode(png(20, 10));
    let options = RowOptions { answers: Some(vec!["yes".into(), "no".into()]), ..RowOptions::default() };
    let rows = |task: &str| Rows::new(task, options.clone()).unwrap();
    let random = &mut fastrand::Rng::with_seed(1);

    let record =
        open_kind(&write(&folder, "v.tsv", &format!("9\ti\tis it red\t0.4|!+no&&0.6|!+yes\t\t{image}\n")), "vqa");
    let record = record.record(0).unwrap();
    let question = rows("vqa").question(&record).unwrap();
    assert_eq!(question.id, "9");
    assert_eq!(question.inputs.answers.as_ref().map(Vec::len), Some(2));
    assert_eq!(question.reference, Reference::Scored(vec![("no".into(), 0.4), ("yes".into(), 0.6)]));
    let sample = rows("vqa").sample(&record, &SMALL, 32, random).unwrap();
    assert_eq!((SMALL.decode(&sample.source).as_str(), SMALL.decode(&sample.target).as_str()), (" is it red?", " yes"));
    assert_eq!(sample.conf, 0.6);

    let text = format!("9\ti\tthe cow\t5,2,10,8\t{image}\n");
    let record = open_kind(&write(&folder, "g.tsv", &text), "grounding").record(0).unwrap();
    let question = rows("grounding").question(&record).unwrap();
    assert_eq!(question.reference, Reference::Region([0.25, 0.2, 0.5, 0.8]));

    let text = format!("9\ti\t{image}\ta cat\tA dog.\tcontradiction\n8\ti\t{image}\ta cat\tA dog.\tperhaps\n");
    let file = open_kind(&write(&folder, "e.tsv", &text), "entailment");
    let entailment = rows("entailment");
    let found: Vec<_> = entailment.questions(file.as_ref()).collect();
    assert_eq!(found[0].as_ref().unwrap().reference, Reference::Texts(vec!["no".into()]));
    let error = found[1].as_ref().unwrap_err().to_string();
    assert!(error.contains("e.tsv:2") && error.contains("perhaps"), "{error}");

    let record =
        open_kind(&write(&folder, "c.tsv", &format!("{image}\t3\trugby ball\n")), "classify").record(0).unwrap();
    assert_eq!(rows("classify").question(&record).unwrap().reference, Reference::Texts(vec!["rugby ball".into()]));

    let text = format!("9\ti\tA cat, here!&&One dog\t\t{image}\n");
    let files = files(&folder, "k.tsv", "caption", &text);
    let tuning = FineTuning::new(rows("caption"), files, small(), 32, 3, None).unwrap();
    let learnt: BTreeSet<String> = (0..20).map(|epoch| shown(&tuning.draw(epoch, 0).unwrap())[0].2.clone()).collect();
    assert_eq!(learnt, [" A cat here".to_string(), " One dog".to_string()].into());
}

#[test]
fn the_same_rows_in_any_form_are_the_same_samples() {
    let folder = TempDir::new().unwrap();
    let questions = ["what is it", "is it red", "how many cats"];
    let image = |row: usize| png(20 + row as u32, 30);
    let answer = |row: usize| format!("0.25|!+no&&0.5|!+cat {row}");
    let (mut tsv, mut jsonl) = (String::new(), String::new());
    let mut members: Vec<(String, Vec<u8>)> = Vec::new();
    for (row, question) in questions.iter().enumerate() {
        tsv += &format!("{row}\ti\t{question}\t{}\tcat&&dog\t{}\n", answer(row), URL_SAFE.encode(image(row)));
        std::fs::write(folder.path().join(format!("{row}.png")), image(row)).unwrap();
        let mut fields = serde_json::json!({
            "id": row.to_string(), "question": question, "answer": answer(row), "objects": ["cat", "dog"],
        });
        members.push((format!("{row}.png"), image(row)));
        members.push((format!("{row}.json"), fields.to_string().into_bytes()));
        fields["image"] = format!("{row}.png").into();
        jsonl += &format!("{fields}\n");
    }
    let members: Vec<(&str, &[u8])> = members.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    shard(&folder.path().join("q.tar"), &members);
    let paths = [write(&folder, "q.tsv", &tsv), write(&folder, "q.jsonl", &jsonl), folder.path().join("q.tar")];
    let [tsv, jsonl, tar] = paths.map(|path| {
        let options = RowOptions { objects: true, ..RowOptions::default() };
        let files = EpochFiles::new(vec![open_kind(&path, "vqa")]).unwrap();
        let tuning = FineTuning::new(Rows::new("vqa", options).unwrap(), files, small(), 32, 3, None).unwrap();
        let draws: Vec<Draw> = (0..5).map(|at| tuning.draw(at / 3, at % 3).unwrap()).collect();
        let images: Vec<_> = draws.iter().map(|draw| draw.main[0].image.clone().unwrap()).collect();
        (draws.iter().flat_map(shown).collect::<Vec<_>>(), images)
    });
    assert!(tsv.0[0].1.contains(" object: cat dog"), "{:?}", tsv.0);
    assert!(tsv == jsonl && jsonl == tar, "{:?}\n{:?}\n{:?}", tsv.0, jsonl.0, tar.0);
}

#[test]
fn a_closed_set_of_answers_leaves_only_their_tokens() {
    let folder = TempDir::new().unwrap();
    let image = URL_SAFE.encode(png(20, 10));
    let text = format!("1\ti\twhat\t1.0|!+red cat\t\t{image}\n2\ti\twhat\t1.0|!+owl\t\t{image}\n");
    let files = files(&folder, "q.tsv", "vqa", &text);
    let answers = ["red cat", "red dog", "blue"].map(String::from).to_vec();
    let options =
        RowOptions { answers: Some(answers), prompt_type: Some(PromptType::PrevOutput), ..RowOptions::default() };
    let tuning = FineTuning::new(Rows::new("vqa", options).unwrap(), files, small(), 32, 3, None).unwrap();
    let drawn: Vec<_> = (0..2).map(|at| tuning.draw(0, at)).collect();
    let error = drawn.iter().find_map(|draw| draw.as_ref().err()).expect("owl is no answer").to_string();
    assert!(error.contains("q.tsv:2") && error.contains("`owl` is not among the answers"), "{error}");

    let draw = drawn.into_iter().find_map(Result::ok).unwrap();
    let config = small_config();
    let batch = Batch::new(&draw.main, &config, Arrangement::default()).unwrap();
    let masks = batch.constraint_masks(config.vocab_size).unwrap();
    let [red, blue] = [" red", " blue"].map(|word| SMALL.encode(word).unwrap());
    let rows: Vec<Vec<u32>> = masks
        .chunks(config.vocab_size)
        .map(|row| (0..).zip(row).filter(|(_, allowed)| **allowed).map(|(id, _)| id).collect())
        .collect();
    assert_eq!(rows.len(), batch.tokens().len());
    let mut first = vec![red[0], blue[0]];
    first.sort_unstable();
    first.dedup();
    assert_eq!(rows[0], first);
    assert_eq!(rows.last().unwrap(), &[config.eos_token_id]);
    for (row, token) in rows.iter().zip(batch.tokens()) {
        assert!(row.contains(&token.id), "{row:?} and {token:?}");
    }
}

#[test]
fn noise_changes_what_the_decoder_reads_and_not_what_it_writes() {
    let folder = TempDir::new().unwrap();
    let record = open_kind(&write(&folder, "s.tsv", "a red cat is here\tred cat on the mat\n"), "summary");
    let record = record.record(0).unwrap();
    let sample = |noise| {
        let rows = Rows::new("summary", RowOptions { noise, ..RowOptions::default() }).unwrap();
        rows.sample(&record, &SMALL, 32, &mut fastrand::Rng::with_seed(1)).unwrap()
    };
    let (clean, noisy) = (sample(0.0), sample(0.5));
    assert_eq!(clean.target, noisy.target);
    let (clean, noisy) = (clean.previous(0), noisy.previous(0));
    assert_eq!((clean.len(), clean[0]), (noisy.len(), noisy[0]));
    let wrong = clean.iter().zip(&noisy).filter(|(right, read)| right != read).count();
    assert!(0 < wrong && wrong < clean.len() - 1, "{clean:?} {noisy:?}");
    assert!(noisy[1..].iter().all(|id| (4..SMALL.layout().mask).contains(id)));
}

#[test]
fn captions_are_learnt_in_part_and_compared_with_as_a_whole() {
    let folder = TempDir::new().unwrap();
    let caption: Vec<String> = (0..30).map(|at| format!("word{at}")).collect();
    let text = format!("u\ti\t{}\t\t{}\n", caption.join(" "), URL_SAFE.encode(png(20, 20)));
    let record = open_kind(&write(&folder, "long.tsv", &text), "caption").record(0).unwrap();
    let rows = Rows::new("caption", RowOptions::default()).unwrap();
    assert_eq!(rows.question(&record).unwrap().reference, Reference::Texts(vec![caption.join(" ")]));
    let example = rows.example(&record, &mut fastrand::Rng::with_seed(1)).unwrap();
    assert!(matches!(example.target, Target::Text(text) if text == caption[..CAPTION_WORDS].join(" ")));

    let summary: Vec<String> = (0..70).map(|at| format!("word{at}")).collect();
    let text = format!("an article\t{}\n", summary.join(" "));
    let record = open_kind(&write(&folder, "summary.tsv", &text), "summary").record(0).unwrap();
    let rows = Rows::new("summary", RowOptions::default()).unwrap();
    let example = rows.example(&record, &mut fastrand::Rng::with_seed(1)).unwrap();
    assert!(matches!(example.target, Target::Text(text) if text == summary[..64].join(" ")));
}

#[test]
fn drawings_are_learnt_from_as_many_codes_as_the_model_draws() {
    let folder = TempDir::new().unwrap();
    let rows = [16, 9, 0].map(|count| format!("u\t{}\ta red cat\n", vec!["7"; count].join(" ")));
    let file = open_kind(&write(&folder, "draw.tsv", &rows.concat()), "image_gen");
    let rows = Rows::new("image_gen", RowOptions { code_grid: Some(4), ..RowOptions::default() }).unwrap();
    let example = |row: u64| rows.example(&file.record(row).unwrap(), &mut fastrand::Rng::with_seed(1));
    assert!(matches!(example(0).unwrap().target, Target::Codes(codes) if codes.len() == 16));
    for (row, found) in [(1, "4 x 4, found 9"), (2, "missing")] {
        let error = example(row).err().unwrap().to_string();
        assert!(error.contains(&format!("draw.tsv:{}", row + 1)) && error.contains(found), "{error}");
    }
}

#[test]
fn the_class_that_a_shard_has_the_number_of_is_a_line_of_the_answers() {
    let folder = TempDir::new().unwrap();
    let image = png(9, 9);
    let classes: [&[u8]; 4] = [b"1", b"owl\n", b"7", b"0\n"];
    let names: Vec<[String; 2]> = (0..4).map(|at| [format!("{at}.png"), format!("{at}.cls")]).collect();
    let members: Vec<(&str, &[u8])> = names
        .iter()
        .zip(classes)
        .flat_map(|([picture, class], number)| [(picture.as_str(), image.as_slice()), (class.as_str(), number)])
        .collect();
    let path = folder.path().join("classes.tar");
    shard(&path, &members);
    let file = open_kind(&path, "classify");
    let read = |answers: Option<Vec<String>>, row: u64| {
        let rows = Rows::new("classify", RowOptions { answers, ..RowOptions::default() }).unwrap();
        rows.question(&file.record(row).unwrap()).map(|question| question.reference)
    };
    // A name that is a number is no way to mean another line.
    let answers = Some(["cat", "0", "owl"].map(String::from).to_vec());
    let found = [0, 1, 3].map(|row| read(answers.clone(), row).unwrap());
    assert_eq!(found, ["0", "owl", "cat"].map(|name| Reference::Texts(vec![name.into()])));
    let error = read(answers, 2).unwrap_err().to_string();
    assert!(error.contains("classes.tar:2") && error.contains("3 classes") && error.contains('7'), "{error}");
    assert_eq!(read(None, 1).unwrap(), Reference::Texts(vec!["owl".into()]));
    let error = read(None, 0).unwrap_err().to_string();
    assert!(error.contains("classes.tar:0") && error.contains("answers"), "{error}");
}
