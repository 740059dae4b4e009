//! The façade: batches, drawings, where the model looked. Single answers are asked for in `cli`.

use crate::cli::micro_bundle;
use crate::support::goldens;
use ofa::config::{AnswerOptions, GenerationConfig, OfaConfig, PromptType, Quantization, Size};
use ofa::device::DeviceChoice;
use ofa::image::{Pixels, decode};
use ofa::predict::{Answered, EncodedImage, Event, ImageCodes, Predictor, rehearse};
use ofa::task::{Answer, Inputs, Likely, find};
use ofa::vocab::Vocab;
use ofa::weights::{infer_vqgan_config, load_model, read_vqgan_checkpoint, write_vqgan};
use std::collections::BTreeSet;
use std::path::Path;

/// Sums of products over a batch come in another order than one by one.
const NEAR: f64 = 1e-4;

fn photo(name: &str) -> Pixels {
    decode(&std::fs::read(goldens().join("tiny").join(name)).unwrap()).unwrap()
}

async fn load(bundle: &Path) -> Predictor {
    let (device, _) = DeviceChoice::Cpu.open().await.unwrap();
    Predictor::load(bundle, &device).unwrap()
}

/// Adds the small VQGAN of the goldens to a bundle.
pub fn add_codes(bundle: &Path) {
    let tensors = read_vqgan_checkpoint(&goldens().join("vqgan/model.safetensors")).unwrap();
    let shapes = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect();
    let config = infer_vqgan_config(&shapes).unwrap();
    let precision = ofa::weights::Precision::F32;
    write_vqgan(&bundle.join(ofa::weights::VQGAN), &config, precision, tensors.into_iter().map(Ok)).unwrap();
}

fn same(batch: &[Answered], alone: &[Answered]) {
    assert_eq!(batch.len(), alone.len());
    for (batch, alone) in batch.iter().zip(alone) {
        assert_eq!(batch.tokens, alone.tokens);
        let score = |one: &Answered| serde_json::json!(one.answer)["score"].as_f64();
        if let (Some(a), Some(b)) = (score(batch), score(alone)) {
            assert!((a - b).abs() < NEAR, "{a} is not {b}");
        }
    }
}

#[test]
fn a_batch_answers_as_one_by_one() {
    let bundle = micro_bundle();
    pollster::block_on(async {
        let model = load(&bundle.path).await;
        let beams = AnswerOptions { image_size: Some(64), max_len: Some(8), ..AnswerOptions::default() };
        let draws = AnswerOptions { top_k: Some(5), seed: Some(3), num_beams: Some(2), ..beams.clone() };
        let texts = ["why?", "what is it, and what is it not?", "how many", "a red car", "is it", "a", "b", "c", "d"];
        for (task, options, pictured) in [
            ("vqa", &beams, true),
            ("vqa", &draws, true),
            ("grounding", &beams, true),
            ("match", &beams, true),
            ("infill_text", &beams, false),
            ("mnli", &beams, false),
        ] {
            let task = find(task).unwrap();
            let mut images: Vec<EncodedImage> = Vec::new();
            for name in ["raw_0.png", "raw_1.png"].iter().filter(|_| pictured) {
                images.push(model.encode_image(task, &photo(name), options).await.unwrap());
            }
            let second = (task.name == "mnli").then(|| "it is".to_owned());
            let inputs = texts.map(|text| Inputs { text2: second.clone(), ..Inputs::of_text(text) });
            let questions: Vec<_> = inputs.iter().enumerate().map(|(i, one)| (images.get(i % 2), one)).collect();
            let mut steps = 0;
            let count = async |event| {
                steps += usize::from(matches!(event, Event::Token { .. }));
                Ok(())
            };
            let batch = model.answer_all(task, &questions, options, count).await.unwrap();
            let mut alone = Vec::new();
            for (image, inputs) in questions {
                alone.push(model.answer(task, image, inputs, options, async |_| Ok(())).await.unwrap());
            }
            same(&batch, &alone);
            assert!(steps > 0, "{} reports its steps", task.name);
        }
    });
}

/// The model of `bundle`, which says this of how it answers.
async fn load_with(bundle: &Path, usual: AnswerOptions) -> Predictor {
    let (device, _) = DeviceChoice::Cpu.open().await.unwrap();
    let (files, model) = load_model(bundle, &device).unwrap();
    let vocab = Vocab::from_tokenizer_json(&files.tokenizer_json, &files.config).unwrap();
    Predictor::new(files.config, GenerationConfig::for_all(usual), vocab, model).unwrap()
}

fn likely(answered: Answered) -> Vec<Likely> {
    match answered.answer {
        Answer::Labels { alternatives, .. } => alternatives,
        other => panic!("{other:?}"),
    }
}

#[test]
fn searches_among_labels_find_what_scoring_finds() {
    let bundle = micro_bundle();
    pollster::block_on(async {
        let model = load(&bundle.path).await;
        let free = AnswerOptions {
            min_len: Some(6),
            max_len: Some(120),
            no_repeat_ngram_size: Some(1),
            top_k: Some(3),
            ..AnswerOptions::default()
        };
        let other = load_with(&bundle.path, free).await;
        let image = model.encode_image(find("match").unwrap(), &photo("raw_0.png"), &AnswerOptions::default()).await;
        let image = image.unwrap();
        let second = |task: &str| (task == "mnli").then(|| "it is".to_owned());
        for (task, pictured) in [("match", true), ("entailment", true), ("sst2", false), ("mnli", false)] {
            let task = find(task).unwrap();
            let inputs = Inputs { text2: second(task.name), ..Inputs::of_text("a red car, a red car") };
            let ask = async |model: &Predictor, options: AnswerOptions| {
                let image = pictured.then_some(&image);
                likely(model.answer(task, image, &inputs, &options, async |_| Ok(())).await.unwrap())
            };
            let scored = ask(&model, AnswerOptions::default()).await;
            assert_eq!(
                ask(&other, AnswerOptions::default()).await,
                scored,
                "{}: what bundles say of free answers",
                task.name
            );
            let beams = AnswerOptions { num_beams: Some(scored.len()), ..AnswerOptions::default() };
            let draws = AnswerOptions { top_k: Some(9), num_beams: Some(20), ..AnswerOptions::default() };
            for searched in [ask(&model, beams).await, ask(&model, draws).await] {
                for one in &searched {
                    let same = scored.iter().find(|other| other.label == one.label).expect("one of the labels");
                    assert!((same.probability - one.probability).abs() < NEAR, "{}: {one:?}, {same:?}", task.name);
                }
                let labels = |list: &[Likely]| list.iter().map(|one| one.label.clone()).collect::<BTreeSet<_>>();
                assert!(labels(&searched).len() == searched.len() && !searched.is_empty(), "each once: {searched:?}");
            }
        }
    });
}

#[test]
fn prompts_in_the_decoder_are_taken_as_they_are() {
    let bundle = micro_bundle();
    add_codes(&bundle.path);
    pollster::block_on(async {
        let model = load(&bundle.path).await;
        let types = [PromptType::Src, PromptType::PrevOutput];
        for (prompt_type, size) in types.into_iter().flat_map(|prompt_type| [1, 2].map(|size| (prompt_type, size))) {
            let options =
                AnswerOptions { image_size: Some(64), no_repeat_ngram_size: Some(size), ..AnswerOptions::default() };
            for task in ["grounding", "vqa"] {
                let task = find(task).unwrap();
                let image = model.encode_image(task, &photo("raw_0.png"), &options).await.unwrap();
                let text = "is a man left of the man or is a man not";
                let inputs = Inputs { prompt_type: Some(prompt_type), ..Inputs::of_text(text) };
                let found = model.answer(task, Some(&image), &inputs, &options, async |_| Ok(())).await.unwrap();
                match found.answer {
                    Answer::Boxes { boxes, .. } => assert!(!boxes.is_empty(), "{prompt_type:?}"),
                    Answer::Text { alternatives, .. } => assert!(!alternatives.is_empty(), "{prompt_type:?}"),
                    other => panic!("{other:?}"),
                }
            }
        }
        // What a bundle says of all tasks is not for those that write codes.
        let usual = AnswerOptions { prompt_type: Some(PromptType::PrevOutput), ..AnswerOptions::default() };
        let other = load_with(&bundle.path, usual).await;
        let drawn = other.ask("image_gen", None, &Inputs::of_text("a red car")).await.unwrap();
        assert!(matches!(drawn, Answer::Codes { .. }));
    });
}

#[test]
fn images_of_a_batch_have_one_size() {
    let bundle = micro_bundle();
    pollster::block_on(async {
        let model = load(&bundle.path).await;
        let task = find("caption").unwrap();
        let of = |side| AnswerOptions { image_size: Some(side), ..AnswerOptions::default() };
        let small = model.encode_image(task, &photo("raw_0.png"), &of(32)).await.unwrap();
        let large = model.encode_image(task, &photo("raw_0.png"), &of(64)).await.unwrap();
        let inputs = Inputs::default();
        let questions = [(Some(&small), &inputs), (Some(&large), &inputs)];
        let answers = model.answer_all(task, &questions, &of(32), async |_| Ok(())).await;
        let error = answers.unwrap_err().to_string();
        assert!(error.contains("images"), "{error}");
    });
}

#[test]
fn attention_is_a_share_for_every_patch_and_word() {
    let bundle = micro_bundle();
    pollster::block_on(async {
        let model = load(&bundle.path).await;
        let (task, options) = (find("caption").unwrap(), AnswerOptions::default());
        let image = model.encode_image(task, &photo("raw_0.png"), &options).await.unwrap();
        let inputs = Inputs::default();
        let answered = model.answer(task, Some(&image), &inputs, &options, async |_| Ok(())).await.unwrap();
        let attention = model.attention(task, &image, &inputs, &options, &answered.tokens).await.unwrap();
        assert!(!attention.words.is_empty());
        for word in &attention.words {
            assert_eq!(word.weights.len(), attention.columns.pow(2));
            let sum: f32 = word.weights.iter().sum();
            assert!(sum > 0.0 && f64::from(sum) <= 1.0 + NEAR, "{}: {sum}", word.text);
        }
        for tokens in [vec![], vec![u32::MAX]] {
            let error = model.attention(task, &image, &inputs, &options, &tokens).await.unwrap_err().to_string();
            assert!(error.contains("tokens"), "{error}");
        }
        // 200 by 150 pixels are 8 by 6 patches of a padded square of 8 by 8.
        let (task, options) = (find("ocr").unwrap(), AnswerOptions { image_size: Some(128), ..options });
        let image = model.encode_image(task, &photo("raw_0.png"), &options).await.unwrap();
        let attention = model.attention(task, &image, &inputs, &options, &answered.tokens).await.unwrap();
        assert!(attention.columns == 8 && attention.words.iter().all(|word| word.weights.len() == 48));
    });
}

#[test]
fn a_drawing_grows_by_whole_rows_and_is_judged_by_the_model() {
    let bundle = micro_bundle();
    add_codes(&bundle.path);
    pollster::block_on(async {
        let model = load(&bundle.path).await;
        let (device, _) = DeviceChoice::Cpu.open().await.unwrap();
        let codes = ImageCodes::load(&bundle.path, &device).unwrap();
        codes.config().serves(model.config()).unwrap();
        let side = model.config().code_image_size as u32;
        let grid = model.config().code_grid();
        let sequence: Vec<usize> = (0..grid * grid).collect();
        assert!(model.draw(&codes, &sequence[..grid - 1], None).await.unwrap().is_none());
        let row = model.draw(&codes, &sequence[..grid + 1], None).await.unwrap().unwrap();
        assert_eq!(row.pixels.size(), (side, side / grid as u32));
        let whole = model.draw(&codes, &sequence, Some("a car")).await.unwrap().unwrap();
        assert_eq!(whole.pixels.size(), (side, side));
        assert!(whole.fit.is_some_and(|fit| (0.0..=1.0).contains(&fit)));
        let unknown = vec![usize::MAX; grid];
        let error = model.draw(&codes, &unknown, None).await.unwrap_err().to_string();
        assert!(error.contains("codes"), "{error}");
    });
}

#[test]
fn models_of_any_shape_are_rehearsed() {
    let micro = std::fs::read_to_string(goldens().join("micro/config.json")).unwrap();
    let micro = OfaConfig::from_json(&micro).unwrap();
    let packed = |bits| Some(Quantization { bits, group_size: 32 }.into());
    let (device, _) = pollster::block_on(DeviceChoice::Cpu.open()).unwrap();
    for config in [
        micro.clone(),
        OfaConfig { quantization: packed(8), ..micro.clone() },
        OfaConfig { quantization: packed(4), vocab_size: 40, encoder_layers: 3, ..micro.clone() },
        OfaConfig { normformer: false, scale_heads: false, max_position_embeddings: 1, ..micro.clone() },
        OfaConfig { image_bucket_size: 2, code_image_size: 16, max_position_embeddings: 4, ..micro.clone() },
        Size::Tiny.config(),
    ] {
        pollster::block_on(rehearse(&config, &device)).unwrap();
    }
    let absurd = OfaConfig { d_model: 1 << 20, ..micro.clone() };
    assert!(
        pollster::block_on(rehearse(&absurd, &device)).unwrap_err().to_string().contains("at most 67108864 values")
    );
    let refused = pollster::block_on(rehearse(&OfaConfig { decoder_attention_heads: 5, ..micro }, &device));
    assert!(refused.unwrap_err().to_string().contains("decoder_attention_heads"));
}
