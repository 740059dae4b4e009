//! The table of tasks: what the model is asked, word for word, and how its answers are read.

use super::vocab::{ORIGINAL, SMALL, golden_json, ids};
use ofa::task::{Answer, AnswerContext, Constraint, Field, Hypothesis, Inputs, PromptType, TASKS, Task, find};
use ofa::vocab::Vocab;
use serde_json::{Value, json};

fn row_of(name: &str) -> &'static Task {
    find(name).unwrap_or_else(|error| panic!("{error}"))
}

fn asking(text: &str) -> Inputs {
    Inputs { text: Some(text.into()), ..Inputs::default() }
}

/// A recorded row of the original's data as this crate's task and inputs; the task's name there, its columns here.
fn translate(row: &Value) -> (&'static Task, Inputs) {
    let column = |index: usize| row["row"][index].as_str().map(String::from);
    let flag = |name: &str| row[name].as_bool() == Some(true);
    let pair = |text, text2| Inputs { text, text2, ..Inputs::default() };
    let one = |text| Inputs { text, ..Inputs::default() };
    let (name, mut inputs) = match row["task"].as_str().unwrap() {
        "caption_train" | "caption_valid" => ("caption", Inputs::default()),
        "vqa" => {
            let objects = flag("add_object").then(|| column(4).unwrap().split("&&").map(String::from).collect());
            let answers = ["no", "yes", "red", "dark red", "2", "3"].map(String::from).to_vec();
            ("vqa", Inputs { objects, answers: Some(answers), ..one(column(2)) })
        }
        "refcoco" => ("grounding", one(column(2))),
        "snli_ve" => {
            let caption = if flag("add_caption") { column(3) } else { None };
            ("entailment", Inputs { caption, ..one(column(2)) })
        }
        "image_gen" => ("image_gen", one(column(1))),
        "image_classify" => ("classify", Inputs::default()),
        "gigaword" => ("summary", one(column(0))),
        name @ ("cola" | "sst2") => (name, one(column(0))),
        name => (name, pair(column(0), column(1))),
    };
    if let Some(prompt_type) = row["prompt_type"].as_str() {
        inputs.prompt_type = Some(serde_json::from_value(json!(prompt_type)).unwrap());
    }
    (row_of(name), inputs)
}

#[test]
fn every_recorded_prompt_is_built_to_the_token() {
    let Some(vocab) = &*ORIGINAL else { return };
    let rows = golden_json("data/templates.json");
    for row in rows.as_array().unwrap() {
        let (task, inputs) = translate(row);
        let prompt = task.prompt(&inputs, vocab).unwrap();
        assert_eq!(prompt.source, ids(&row["source"]), "{row}");
        if row["decoder_prompt"].is_array() {
            assert_eq!([&[0], &prompt.prefix[..]].concat(), ids(&row["decoder_prompt"]), "{row}");
        }
        // Sentence tasks have no answer in their decoder input, so all of it is prompt.
        if inputs.text2.is_some() || matches!(task.name, "cola" | "sst2") {
            assert_eq!([&[0], &prompt.prefix[..]].concat(), ids(&row["prev_output_tokens"]), "{row}");
        }
        if matches!(task.constraint, Constraint::Labels(_)) {
            let allowed = row["constraint_allowed"].as_array().unwrap();
            let allowed = ids(allowed.iter().find(|step| !step.as_array().unwrap().is_empty()).unwrap());
            let mut first: Vec<u32> = prompt.candidates.unwrap().iter().map(|ids| ids[0]).collect();
            first.sort_unstable();
            assert_eq!(first, allowed, "{row}");
        }
    }
    assert!(rows.as_array().unwrap().len() > 40);
}

#[test]
fn pretraining_prompts_are_the_same_rows() {
    let Some(vocab) = &*ORIGINAL else { return };
    let golden = golden_json("data/pretrain.json");
    let source = |name: &str, inputs: &Inputs| row_of(name).prompt(inputs, vocab).unwrap().source;
    let mut seen = 0;
    for sample in golden["samples"].as_array().unwrap() {
        let text = sample["source_text"].as_str().unwrap_or_default();
        let quoted = || asking(text.split('"').nth(1).unwrap().trim());
        let (name, inputs) = match text {
            " what does the image describe?" => ("caption", Inputs::default()),
            _ if text.starts_with(" does the image describe") => ("match", quoted()),
            _ if text.starts_with(" which region") => ("grounding", quoted()),
            _ if text.contains("region:") => {
                // The recorded box is (70, 70, 186, 186) of a 512 pixel square, to the nearest bin.
                let region = [137.0f32, 137.0, 363.0, 363.0].map(|bin| bin / 999.0);
                ("region_caption", Inputs { region: Some(region), ..Inputs::default() })
            }
            _ => continue,
        };
        seen += 1;
        assert_eq!(source(name, &inputs), ids(&sample["source"]), "{text}");
    }
    assert!(seen >= 5, "only {seen} prompts compared");
}

#[test]
fn gaps_are_spliced_in_as_pretraining_does() {
    let Some(vocab) = &*ORIGINAL else { return };
    let golden = golden_json("data/pretrain.json");
    let mut seen = 0;
    for trace in golden["infilling_trace"].as_array().unwrap() {
        let noised = ids(&trace["output"]);
        let noised = &noised[1..noised.len() - 1];
        // The longest texts are cut before they are noised, some in the middle of a word, which no text says.
        if !vocab.decode(noised).starts_with([' ', '<']) {
            continue;
        }
        seen += 1;
        let source = row_of("infill_text").prompt(&asking(&vocab.decode(noised)), vocab).unwrap().source;
        let before: &[u32] = &[0, 99, 16, 5, 1498, 2788, 9, 22];
        assert_eq!(source, [before, noised, &[22, 116, 2]].concat(), "{}", vocab.decode(noised));
    }
    assert!(seen > 2, "only {seen} texts compared");
}

/// Every form of every instruction, as the model reads it.
#[test]
fn instructions_word_for_word() {
    let inputs = |json: Value| serde_json::from_value::<Inputs>(json).unwrap();
    let expected = [
        ("caption", json!({}), " what does the image describe?"),
        ("vqa", json!({"text": "-Is it  RED"}), " is it red?"),
        ("vqa", json!({"text": "who?", "objects": ["cat", "red star"]}), " who? object: cat red star"),
        (
            "vqa_match",
            json!({"text": "What is this?", "text2": "blue"}),
            " what is the answer to question \" what is this? \". is \" blue \"?",
        ),
        ("grounding", json!({"text": "Red ball"}), " which region does the text \" red ball \" describe?"),
        (
            "region_caption",
            json!({"region": [0.0, 0.0, 0.5, 1.0]}),
            "  what does the region describe? region:<bin_0><bin_0><bin_50><bin_99>",
        ),
        ("detect", json!({}), " what are the objects in the image?"),
        ("entailment", json!({"text": "A cat"}), " does the image describe \" a cat \"?"),
        (
            "entailment",
            json!({"text": "A cat", "caption": "A dog"}),
            " can image and text1 \" a dog \" imply text2 \" a cat \"?",
        ),
        ("match", json!({"text": "a cat"}), " does the image describe \" a cat \"?"),
        ("classify", json!({"answers": ["cat"]}), " what does the image describe?"),
        ("image_gen", json!({"text": "A  cat"}), " what is the complete image? caption: A cat"),
        ("infill_image", json!({}), " what is the image in the middle part?"),
        ("infill_text", json!({"text": "A <mask> cat"}), " what is the complete text of \" a<mask> cat \"?"),
        ("infill_text", json!({"text": "<mask>"}), " what is the complete text of \"<mask> \"?"),
        ("ocr", json!({}), " what are the texts on the image?"),
        ("summary", json!({"text": "A <unk>"}), " what is the summary of article \" a unk \"?"),
        ("cola", json!({"text": "A cat"}), " is the text \" a cat \" grammatically correct?"),
        ("mnli", json!({"text": "a", "text2": "b"}), " can text1 \" a \" imply text2 \" b \"?"),
        ("mrpc", json!({"text": "a", "text2": "b"}), " does text1 \" a \" and text2 \" b \" have the same semantics?"),
        ("qnli", json!({"text": "q", "text2": "s"}), " does \" s \" contain the answer to question \" q \"?"),
        ("qqp", json!({"text": "a", "text2": "b"}), " is question \" a \" and question \" b \" equivalent?"),
        ("rte", json!({"text": "a", "text2": "b"}), " can text1 \" a \" imply text2 \" b \"?"),
        ("sst2", json!({"text": "a"}), " is the sentiment of text \" a \" positive or negative?"),
    ];
    for (task, given, text) in &expected {
        assert_eq!(row_of(task).instruction(&inputs(given.clone()), &SMALL).unwrap(), *text);
    }
    for task in TASKS {
        let forms = expected.iter().filter(|(name, _, _)| *name == task.name).count();
        assert!(forms >= task.templates.len(), "{} has a form that is not shown here", task.name);
    }
}

#[test]
fn captions_and_questions_with_the_small_tokenizer() {
    let shown = |task: &str, inputs: &Inputs| find(task).unwrap().instruction(inputs, &SMALL).unwrap();
    assert_eq!(shown("caption", &Inputs::default()), " what does the image describe?");
    assert_eq!(shown("vqa", &asking("Is it  RED")), " is it red?");
    let objects = Some(vec!["cat".into(), "red star".into()]);
    assert_eq!(shown("vqa", &Inputs { objects, ..asking("who?") }), " who? object: cat red star");
    // Braces in a question are a question's, not a template's.
    assert_eq!(shown("vqa", &asking("what is {objects}?")), " what is {objects}?");
    // Thirty names, whatever their words, and 512 ids of an article.
    let objects = Some(vec!["red star".to_owned(); 40]);
    let many = shown("vqa", &Inputs { objects, ..asking("who?") });
    assert_eq!(many.matches("red star").count(), 30, "{many}");
    let article = find("summary").unwrap().prompt(&asking(&"many words ".repeat(200)), &SMALL).unwrap();
    assert_eq!(article.source.len(), 514, "BOS and EOS are not counted");
    assert_eq!(article.source.last(), Some(&2));

    let mut inputs = asking("is it red?");
    let source = find("vqa").unwrap().prompt(&inputs, &SMALL).unwrap().source;
    assert_eq!((source[0], source[source.len() - 1]), (0, 2));
    for (prompt_type, prefix) in [
        (PromptType::None, &[][..]),
        (PromptType::Src, &source[1..]),
        (PromptType::PrevOutput, &source[1..source.len() - 1]),
    ] {
        inputs.prompt_type = Some(prompt_type);
        assert_eq!(find("vqa").unwrap().prompt(&inputs, &SMALL).unwrap().prefix, prefix);
    }
    inputs.answers = Some(vec!["yes".into(), " no".into(), "yes ".into()]);
    let candidates = find("vqa").unwrap().prompt(&inputs, &SMALL).unwrap().candidates.unwrap();
    assert_eq!(candidates.iter().map(|ids| SMALL.decode(ids)).collect::<Vec<_>>(), [" yes", " no"]);
}

#[test]
fn wrong_inputs_are_named() {
    let says = |task: &str, inputs: Inputs, part: &str| {
        let error = row_of(task).prompt(&inputs, &SMALL).unwrap_err();
        assert_eq!(error.code(), "task");
        assert!(error.to_string().contains(part), "{error} does not say {part:?}");
    };
    says("vqa", Inputs::default(), "needs `text`: the question");
    says("vqa", asking("  \n"), "`text` is empty");
    says("vqa", Inputs { text2: Some("x".into()), ..asking("x") }, "no use for `text2`");
    says("vqa", Inputs { answers: Some(vec![]), ..asking("x") }, "`answers` is empty");
    says("vqa", Inputs { objects: Some(vec![]), ..asking("x") }, "`objects` is empty");
    says("caption", asking("x"), "no use for `text`");
    says("caption", Inputs { answers: Some(vec!["x".into()]), ..Inputs::default() }, "no use for `answers`");
    for region in [[0.5, 0.0, 0.4, 1.0], [0.0, 0.0, 1.1, 1.0], [f32::NAN, 0.0, 1.0, 1.0]] {
        says("region_caption", Inputs { region: Some(region), ..Inputs::default() }, "from 0 to 1");
    }
    let error = find("captoin").unwrap_err().to_string();
    assert!(error.contains("captoin") && error.contains("caption, vqa"), "{error}");
    let huge = "x".repeat(2 << 20);
    assert_eq!(find("vqa").unwrap().prompt(&asking(&huge), &SMALL).unwrap_err().code(), "vocab");
}

#[test]
fn inputs_read_the_javascript_names_and_no_others() {
    let inputs: Inputs = serde_json::from_value(json!({"text": "x", "promptType": "prev_output"})).unwrap();
    assert_eq!(inputs.prompt_type, Some(PromptType::PrevOutput));
    assert!(serde_json::from_value::<Inputs>(json!({"question": "x"})).is_err());
    assert_eq!(serde_json::to_value(asking("x")).unwrap(), json!({"text": "x"}));
}

fn hypothesis(vocab: &Vocab, text: &str, score: f64) -> Hypothesis {
    let mut tokens = vocab.encode(text).unwrap();
    tokens.push(vocab.layout().eos);
    Hypothesis { token_scores: vec![score; tokens.len()], tokens, score }
}

#[test]
fn text_answers_keep_the_raw_form_and_the_alternatives() {
    let beams = [hypothesis(&SMALL, " a cat, on-line.", -1.0), hypothesis(&SMALL, " a dog", -2.0)];
    let read =
        |task: &str, context| serde_json::to_value(find(task).unwrap().answer(&beams, &context, &SMALL)).unwrap();
    let expected = json!({
        "kind": "text", "text": "a cat online", "raw": "a cat, on-line.", "score": -1.0,
        "alternatives": [{"text": "a cat online", "score": -1.0}, {"text": "a dog", "score": -2.0}],
    });
    assert_eq!(read("caption", AnswerContext::default()), expected);
    assert_eq!(read("vqa", AnswerContext::default())["text"], "a cat, on-line.");
    // The prefix is the question's, not the answer's.
    let prefix_len = SMALL.encode(" a cat,").unwrap().len();
    assert_eq!(read("vqa", AnswerContext { prefix_len, ..AnswerContext::default() })["text"], "on-line.");
    assert_eq!(read("vqa", AnswerContext { prefix_len: 999, ..AnswerContext::default() })["text"], "");

    let padded = Hypothesis { tokens: vec![1, 2, 1, 1], ..Hypothesis::default() };
    let answer = find("vqa").unwrap().answer(&[padded], &AnswerContext::default(), &SMALL);
    assert!(matches!(answer, Answer::Text { text, .. } if text.is_empty()));
    let answer = find("caption").unwrap().answer(&[], &AnswerContext::default(), &SMALL);
    assert!(matches!(answer, Answer::Text { alternatives, .. } if alternatives.is_empty()));
}

#[test]
fn bins_become_boxes_and_anything_else_does_not() {
    let grounding = row_of("grounding");
    let bins = |bins: &[usize]| {
        let tokens = bins.iter().map(|bin| SMALL.bin(*bin).unwrap()).chain([2]).collect();
        Hypothesis { tokens, score: -0.5, token_scores: vec![] }
    };
    let beams = [bins(&[0, 0, 99, 33]), bins(&[1, 2, 3]), hypothesis(&SMALL, " a cat", -3.0), bins(&[0, 0, 66, 99])];
    let context = AnswerContext { image: Some((640, 480)), ..AnswerContext::default() };
    let Answer::Boxes { boxes, raw, .. } = grounding.answer(&beams, &context, &SMALL) else { panic!("no boxes") };
    assert_eq!(raw, "<bin_0><bin_0><bin_99><bin_33>");
    assert_eq!(boxes.len(), 2);
    let near = |a: [f64; 4], b: [f64; 4]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3);
    assert!(near(boxes[0].pixels, [0.0, 0.0, 640.0, 160.0]), "{boxes:?}");
    assert!(near(boxes[1].normalized, [0.0, 0.0, 2.0 / 3.0, 1.0]), "{boxes:?}");
    // Seen at 256 pixels, the upper bins lie outside the image and are cut off at its edge.
    let context = AnswerContext { side: Some(256), ..context };
    let Answer::Boxes { boxes, .. } = grounding.answer(&beams, &context, &SMALL) else { panic!("no boxes") };
    assert!(near(boxes[0].pixels, [0.0, 0.0, 640.0, 320.0]), "{boxes:?}");
}

#[test]
fn the_table_is_consistent() {
    let mut names: Vec<_> = TASKS.iter().map(|task| task.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), TASKS.len(), "two tasks have one name");
    for task in TASKS {
        assert!(!task.templates.is_empty() && task.doc.ends_with('.'), "{}", task.name);
        for (index, template) in task.templates.iter().enumerate() {
            assert!(template.starts_with(' '), "{}: {template:?} lacks the leading space", task.name);
            let fields: Vec<Field> = template
                .split('{')
                .skip(1)
                .map(|rest| Field::from_name(rest.split('}').next().unwrap()).unwrap_or_else(|| panic!("{template:?}")))
                .collect();
            assert!(fields.iter().all(|field| task.inputs.iter().any(|input| input.field == *field)), "{template:?}");
            let last = index + 1 == task.templates.len();
            for input in task.inputs {
                // The last form is used when only what is required was given.
                assert!(!input.required || fields.contains(&input.field), "{template:?}");
                assert!(!last || input.required || !fields.contains(&input.field), "{template:?}");
            }
        }
        task.decoding().validate(1026).unwrap();
    }
    let caption = find("caption").unwrap().decoding();
    assert_eq!((caption.num_beams, caption.max_len_b, caption.no_repeat_ngram_size), (5, 16, 3));
    assert!(caption.normalize_scores);
    let vqa = find("vqa").unwrap().decoding();
    assert_eq!((vqa.num_beams, vqa.normalize_scores), (5, false));
}
