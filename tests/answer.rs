//! From a task's row to its typed answer, with a model that only says what it is told to.

use super::vocab::{SMALL, small_config};
use ofa::config::{AnswerOptions, Decoding};
use ofa::error::Result;
use ofa::generate::{
    Candidate, Dice, Draw, RowScores, SpecialIds, Start, Step, StepRequest, Trie, beam_search, sample, score_candidates,
};
use ofa::task::{Answer, AnswerContext, AnswerKind, Hypothesis, Inputs, Prompt, TASKS, Task, find};

/// Sums of probabilities in single precision.
const ROUNDING: f64 = 1e-5;

/// Wants to write `script`, whatever it is asked, and likes all other tokens as little, smaller ids a little more.
struct Wants {
    script: Vec<u32>,
    range: Option<(u32, u32)>,
    histories: Vec<Vec<u32>>,
}

impl Wants {
    fn new(script: &[u32], decoding: &Decoding) -> Self {
        Self { script: script.to_vec(), range: decoding.constraint_range, histories: Vec::new() }
    }

    /// Appends to each row what it is given, `len` tokens.
    fn read(&mut self, tokens: &[u32], rows: &[usize], count: usize) {
        let before: Vec<Vec<u32>> = match rows {
            [] => vec![Vec::new(); count],
            rows => rows.iter().map(|row| self.histories[*row].clone()).collect(),
        };
        let len = tokens.len() / count;
        self.histories =
            before.into_iter().zip(tokens.chunks(len)).map(|(history, new)| [&history, new].concat()).collect();
    }

    fn score(&self, history: &[u32], token: u32) -> f32 {
        if self.range.is_some_and(|(start, end)| token >= 4 && !(start..end).contains(&token)) {
            return -1e30;
        }
        if self.script.get(history.len() - 1) == Some(&token) { -0.1 } else { -5.0 - token as f32 * 1e-4 }
    }

    fn candidates(&self, history: &[u32], count: usize) -> Vec<Candidate> {
        let mut all: Vec<Candidate> = (0..small_config().vocab_size as u32)
            .map(|token| Candidate { token, score: self.score(history, token) })
            .collect();
        all.sort_by(|a, b| b.score.total_cmp(&a.score));
        all.truncate(count);
        all
    }
}

impl Step for Wants {
    async fn step(&mut self, request: StepRequest) -> Result<Vec<RowScores>> {
        self.read(&request.tokens, &request.rows, request.tokens.len());
        let row = |(row, history): (usize, &Vec<u32>)| RowScores {
            candidates: self.candidates(history, request.count),
            probes: request
                .probes
                .get(row)
                .map_or(Vec::new(), |ids| ids.iter().map(|id| self.score(history, *id)).collect()),
        };
        Ok(self.histories.iter().enumerate().map(row).collect())
    }

    async fn best(&mut self, count: usize) -> Result<Vec<Vec<Candidate>>> {
        Ok(self.histories.iter().map(|history| self.candidates(history, count)).collect())
    }

    async fn choose(&mut self, tokens: &[u32], rows: &[usize], allowed: &[Vec<u32>]) -> Result<Vec<Vec<f32>>> {
        self.read(tokens, rows, allowed.len());
        let choose = |(history, allowed): (&Vec<u32>, &Vec<u32>)| {
            let scores: Vec<f32> = allowed.iter().map(|id| self.score(history, *id)).collect();
            let sum = scores.iter().map(|score| score.exp()).sum::<f32>().ln();
            scores.iter().map(|score| score - sum).collect()
        };
        Ok(self.histories.iter().zip(allowed).map(choose).collect())
    }
}

/// What each task is given here.
fn inputs(task: &Task) -> Inputs {
    let fits = |name: &str| task.inputs.iter().any(|input| input.required && input.field.name() == name);
    let given = |name: &str, text: &str| fits(name).then(|| text.to_owned());
    Inputs {
        text: given("text", if task.name == "infill_text" { "a <mask> cat" } else { "a red cat" }),
        text2: given("text2", "a dog"),
        region: fits("region").then_some([0.1, 0.2, 0.5, 0.6]),
        answers: (task.name == "classify").then(|| ["cat", "dog", "yes"].map(String::from).to_vec()),
        ..Inputs::default()
    }
}

fn answer(task: &Task, prompt: &Prompt, wanted: &[u32], options: &AnswerOptions) -> Answer {
    let decoding = task.decoding_with(options, &small_config());
    let ids = SpecialIds::new(&small_config());
    let max_len = decoding.max_len(prompt.source.len()) + prompt.prefix.len();
    let script: Vec<u32> = prompt.prefix.iter().chain(wanted).copied().collect();
    let mut step = Wants::new(&script, &decoding);
    let prefixes = [prompt.prefix.clone()];
    let trie = prompt.candidates.as_ref().map(|answers| Trie::new(answers, ids.eos));
    let start = Start { prefixes: &prefixes, trie: trie.as_ref() };
    let mut report = async |_: ofa::generate::Progress<'_>| Ok(());
    let hypotheses: Vec<Hypothesis> = pollster::block_on(async {
        if let (Some(candidates), None) = (&prompt.candidates, options.num_beams) {
            let whole = [&[ids.bos], prompt.prefix.as_slice()].concat();
            let scores = score_candidates(&mut step, &whole, candidates, ids.eos, &mut report).await.unwrap();
            let mut all: Vec<Hypothesis> = candidates
                .iter()
                .zip(scores)
                .map(|(candidate, score)| Hypothesis {
                    tokens: [prompt.prefix.as_slice(), candidate, &[ids.eos]].concat(),
                    score: score.into(),
                    token_scores: Vec::new(),
                })
                .collect();
            all.sort_by(|a, b| b.score.total_cmp(&a.score));
            return all;
        }
        let found = match decoding.sampling {
            None => beam_search(&mut step, &ids, &decoding, max_len, start, &mut report).await.unwrap(),
            Some(sampling) => {
                let mut dice = Dice::new(sampling.seed);
                let mut pick = |draw: Draw<'_>| Ok(dice.pick(draw.kept));
                sample(&mut step, &ids, &decoding, max_len, start, &mut pick, &mut report).await.unwrap()
            }
        };
        found.into_iter().flatten().map(Hypothesis::from).collect()
    });
    let context =
        AnswerContext { prefix_len: prompt.prefix.len(), image: Some((100, 50)), side: Some(512), phrase: "a red cat" };
    task.answer(&hypotheses, &context, &SMALL)
}

fn bins(bins: &[usize]) -> Vec<u32> {
    bins.iter().map(|bin| SMALL.bin(*bin).unwrap()).collect()
}

fn words(text: &str) -> Vec<u32> {
    SMALL.encode(text).unwrap()
}

#[test]
fn every_task_answers_in_its_kind_what_the_model_wants_to_say() {
    for task in TASKS {
        let prompt = task.prompt(&inputs(task), &SMALL).unwrap();
        let wanted = match task.answer {
            AnswerKind::Text | AnswerKind::Caption => words(" a cat"),
            AnswerKind::Label if task.name == "sst2" => words(" positive"),
            AnswerKind::Label => words(" yes"),
            AnswerKind::Box => bins(&[0, 0, 99, 33]),
            AnswerKind::Objects => {
                [bins(&[0, 0, 33, 33]), words(" cat"), bins(&[9, 9, 99, 99]), words(" red dog")].concat()
            }
            AnswerKind::Codes => (0..256).map(|place| SMALL.code(place % 64).unwrap()).collect(),
        };
        let found = answer(task, &prompt, &[wanted, vec![2]].concat(), &AnswerOptions::default());
        let shown = format!("{}: {found:?}", task.name);
        match found {
            Answer::Text { text, alternatives, .. } => {
                assert_eq!(text, "a cat", "{shown}");
                assert_eq!(alternatives.len(), 5.max(task.decoding().num_beams), "{shown}");
            }
            Answer::Labels { label, probability, alternatives } => {
                assert_eq!(label, if task.name == "sst2" { "positive" } else { "yes" }, "{shown}");
                assert!(probability > 0.9, "{shown}");
                let sum: f64 = alternatives.iter().map(|one| one.probability).sum();
                assert!((sum - 1.0).abs() < ROUNDING, "{shown}");
            }
            Answer::Boxes { phrase, boxes, malformed, .. } => {
                assert_eq!((phrase.as_str(), malformed), ("a red cat", None), "{shown}");
                assert_eq!(boxes[0].pixels.map(f64::round), [0.0, 0.0, 100.0, 17.0], "{shown}");
            }
            Answer::Objects { objects, malformed, .. } => {
                let labels: Vec<_> = objects.iter().map(|object| object.label.as_str()).collect();
                assert_eq!((labels, malformed), (vec!["cat", "red dog"], None), "{shown}");
                assert_eq!(objects[1].normalized.map(|side| (side * 11.0).round()), [1.0, 1.0, 11.0, 11.0], "{shown}");
            }
            Answer::Codes { codes, scores, malformed } => {
                assert_eq!((codes.len(), malformed), (task.decoding().num_beams, None), "{shown}");
                assert!(codes.iter().all(|codes| codes.len() == 256), "{shown}");
                assert!(scores.is_sorted_by(|a, b| a >= b), "{shown}");
            }
        }
    }
}

#[test]
fn no_wish_of_model_or_caller_breaks_a_box_or_a_raster() {
    let wishes = AnswerOptions { max_len: Some(2), min_len: Some(1), ..AnswerOptions::default() };
    for name in ["grounding", "infill_image"] {
        let task = find(name).unwrap();
        let prompt = task.prompt(&inputs(task), &SMALL).unwrap();
        // The model would rather end, write words, or open a new sentence.
        for wanted in [vec![2; 300], words(" a cat"), vec![0; 300], vec![3; 300]] {
            match answer(task, &prompt, &wanted, &wishes) {
                Answer::Boxes { boxes, malformed, .. } => assert_eq!((boxes.len(), malformed), (5, None)),
                Answer::Codes { codes, malformed, .. } => assert_eq!((codes[0].len(), malformed), (256, None)),
                other => panic!("{other:?}"),
            }
        }
    }
    let codes = find("image_gen").unwrap();
    let prompted: Inputs = serde_json::from_str(r#"{"text": "a cat", "promptType": "src"}"#).unwrap();
    assert!(codes.prompt(&prompted, &SMALL).unwrap_err().to_string().contains("promptType"));
}

#[test]
fn beams_and_draws_among_closed_answers_stay_among_them() {
    let task = find("vqa").unwrap();
    let answers = Some(["cat", "dog", "red dog"].map(String::from).to_vec());
    let prompt = task.prompt(&Inputs { answers, ..inputs(task) }, &SMALL).unwrap();
    for options in
        [r#"{"numBeams": 3}"#, r#"{"numBeams": 4, "topK": 2, "seed": 5}"#, r#"{"numBeams": 4, "topP": 0.99}"#]
    {
        let options: AnswerOptions = serde_json::from_str(options).unwrap();
        let Answer::Text { alternatives, .. } = answer(task, &prompt, &words(" yes"), &options) else { panic!() };
        assert!(!alternatives.is_empty());
        assert!(
            alternatives.iter().all(|one| ["cat", "dog", "red dog"].contains(&one.text.as_str())),
            "{alternatives:?}"
        );
    }
}

#[test]
fn the_seed_decides_what_is_drawn() {
    let task = find("caption").unwrap();
    let prompt = task.prompt(&Inputs::default(), &SMALL).unwrap();
    let drawn = |seed, top_k, top_p| {
        let options = AnswerOptions { seed: Some(seed), top_k, top_p, ..AnswerOptions::default() };
        answer(task, &prompt, &[2; 1], &options)
    };
    assert_eq!(drawn(1, Some(50), None), drawn(1, Some(50), None));
    assert_ne!(drawn(1, Some(50), None), drawn(2, Some(50), None));
    // Nearly all of the vocabulary: more than the first request brings.
    assert_ne!(drawn(1, None, Some(1.0)), drawn(2, None, Some(1.0)));
}

#[test]
fn what_cannot_be_read_is_said() {
    let written = |tokens: Vec<u32>| [Hypothesis { tokens, score: -1.0, token_scores: Vec::new() }];
    let context = AnswerContext { image: Some((100, 50)), ..AnswerContext::default() };
    let read = |task: &str, tokens: Vec<u32>| find(task).unwrap().answer(&written(tokens), &context, &SMALL);
    let boxes = [
        (bins(&[1, 2, 3]), "3 bins where four"),
        (bins(&[1, 2, 3, 4, 5]), "5 bins where four"),
        ([bins(&[1, 2, 3]), words(" a")].concat(), "words where four bins"),
        (vec![], "0 bins"),
        (vec![2], "0 bins"),
    ];
    for (tokens, reason) in boxes {
        let Answer::Boxes { boxes, malformed, .. } = read("grounding", tokens) else { panic!() };
        assert!(boxes.is_empty() && malformed.as_ref().is_some_and(|found| found.contains(reason)), "{malformed:?}");
    }
    // A box needs no EOS.
    let Answer::Boxes { boxes, malformed, .. } = read("grounding", bins(&[1, 2, 3, 4])) else { panic!() };
    assert_eq!((boxes.len(), malformed), (1, None));

    let cat = || [bins(&[1, 2, 3, 4]), words(" cat")].concat();
    let objects = [
        ([words(" dog"), cat()].concat(), 1, Some("0 bins where four make a box, before \"dog\"")),
        ([bins(&[1, 2, 3]), words(" dog"), cat()].concat(), 1, Some("3 bins")),
        ([cat(), bins(&[1, 2, 3, 4])].concat(), 1, Some("without a name")),
        ([cat(), bins(&[1, 2])].concat(), 1, Some("2 bins")),
        (vec![], 0, None),
    ];
    for (tokens, count, reason) in objects {
        let Answer::Objects { objects, malformed, .. } = read("detect", tokens) else { panic!() };
        assert_eq!(objects.len(), count, "{malformed:?}");
        assert_eq!(malformed.is_some(), reason.is_some());
        assert!(malformed.unwrap_or_default().contains(reason.unwrap_or_default()));
    }

    let codes = vec![SMALL.code(3).unwrap(), 7, 999_999, 2];
    let Answer::Codes { codes, malformed, .. } = read("infill_image", codes) else { panic!() };
    assert_eq!((codes, malformed.as_deref()), (vec![vec![3]], Some("2 of 3 tokens are no codes")));

    for task in TASKS {
        // Nothing at all, and ids that the vocabulary does not have.
        task.answer(&[], &AnswerContext::default(), &SMALL);
        task.answer(&written(vec![u32::MAX, 3, 1, 0, 2, 2]), &AnswerContext::default(), &SMALL);
    }
}
