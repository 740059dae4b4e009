//! Measures against the tools that the field reports with. The original's goldens run in tests/parity.rs.

use ofa::task::{Answer, Constraint, Located, Metric, TASKS, Task};
use ofa::train::Reference;
use ofa::train::metrics::cider::DocumentFrequencies;
use ofa::train::metrics::{Judged, Measure, Scores};

/// Of sums in another order.
const TOLERANCE: f64 = 1e-9;

/// A task that reports `metric`; its other columns do not matter here.
fn task(metric: Metric) -> &'static Task {
    let [caption, ..] = TASKS else { panic!("no tasks") };
    let labels = Constraint::Labels(&["no", "yes"]);
    let constraint = if metric == Metric::Matthews { labels } else { caption.constraint };
    let Task { name, doc, templates, inputs, answer, prompt_type, image, decoding, .. } = *caption;
    Box::leak(Box::new(Task { name, doc, templates, inputs, answer, prompt_type, image, decoding, constraint, metric }))
}

fn said(text: &str) -> Answer {
    Answer::Text { text: text.into(), raw: text.into(), score: 0.0, alternatives: Vec::new() }
}

fn texts(texts: &[&str]) -> Reference {
    Reference::Texts(texts.iter().map(|text| text.to_string()).collect())
}

fn scores(metric: Metric, pairs: &[(Answer, Reference)]) -> Scores {
    let judged: Vec<Judged<'_>> =
        pairs.iter().map(|(answer, reference)| Judged { answer, reference, image: Some((100, 50)) }).collect();
    Measure::new(task(metric), &judged, None).scores(&judged).unwrap()
}

fn assert_scores(found: &Scores, expected: &[(&str, f64)]) {
    assert_eq!(
        found.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        expected.iter().map(|one| one.0).collect::<Vec<_>>()
    );
    for ((name, found), (_, expected)) in found.iter().zip(expected) {
        assert!((found - expected).abs() < TOLERANCE, "{name}: {found}, expected {expected}");
    }
}

/// Recorded from pycocoevalcap 1.2.
#[test]
fn captions_score_as_the_captioning_tools_have_it() {
    let found = scores(
        Metric::Cider,
        &[
            (
                said("a red circle left of a dog"),
                texts(&["A red circle to the left of a dog.", "the dog is right of a red circle"]),
            ),
            (said("two blue squares"), texts(&["There are two blue squares", "two squares, both blue!"])),
            (said("a a a cat"), texts(&["a cat on a mat"])),
        ],
    );
    let expected = [
        ("cider", 3.2413050256510902),
        ("bleu_1", 0.7494664792550807),
        ("bleu_2", 0.6632743549140941),
        ("bleu_3", 0.5620363925655232),
        ("bleu_4", 0.41144809062333215),
        ("rouge_l", 0.6696909224611688),
    ];
    assert_scores(&found, &expected);
}

/// Recorded from rouge-score 0.1.2 with stemming; the best of the references counts.
#[test]
fn summaries_score_as_rouge_has_it() {
    let references = texts(&["police killed # gunmen in southern city", "gunmen die in police raid , officials say"]);
    let found = scores(Metric::Rouge, &[(said("Police kill 1 gunmen in U.S. city , official says"), references)]);
    let expected = [("rouge_l", 0.6666666666666667), ("rouge_1", 0.6666666666666667), ("rouge_2", 0.4615384615384615)];
    assert_scores(&found, &expected);
}

#[test]
fn answers_are_worth_what_the_annotators_say() {
    let scored = Reference::Scored(vec![("red".into(), 1.0), ("pink".into(), 0.5)]);
    let pairs = ["red", "pink", "blue", ""].map(|text| (said(text), scored.clone()));
    assert_scores(&scores(Metric::VqaScore, &pairs), &[("vqa_score", 1.5 / 4.0)]);
    let pairs = [(said("a fox"), texts(&["fox", "a fox"])), (said("fox"), texts(&["wolf"]))];
    assert_scores(&scores(Metric::Accuracy, &pairs), &[("accuracy", 0.5)]);
}

#[test]
fn correlation_of_yes_and_no() {
    let pairs = [("yes", "yes"), ("yes", "no"), ("no", "no"), ("no", "no")].map(|(a, b)| (said(a), texts(&[b])));
    let expected = [("matthews", 2.0 / (2.0f64 * 1.0 * 3.0 * 2.0).sqrt()), ("accuracy", 0.75)];
    assert_scores(&scores(Metric::Matthews, &pairs), &expected);
}

#[test]
fn boxes_are_compared_in_pixels() {
    let there = Reference::Region([0.0, 0.0, 0.1, 0.2]);
    let place = |pixels: [f64; 4]| Answer::Boxes {
        phrase: String::new(),
        malformed: None,
        boxes: vec![Located { pixels, normalized: [0.0; 4], score: 0.0 }],
        raw: String::new(),
    };
    let none = Answer::Boxes { phrase: String::new(), boxes: Vec::new(), raw: "a dog".into(), malformed: None };
    let pairs =
        [(place([0.0, 0.0, 10.0, 10.0]), there.clone()), (place([0.0, 0.0, 10.0, 4.0]), there.clone()), (none, there)];
    let found = scores(Metric::AccuracyAtHalf, &pairs);
    // Regions are f32, and the original adds to the union.
    let close = |found: f64, expected: f64| (found - expected).abs() < 1e-6;
    assert!(found[0].0 == "accuracy_at_half" && close(found[0].1, 1.0 / 3.0), "{found:?}");
    assert!(found[1].0 == "mean_iou" && close(found[1].1, 1.4 / 3.0), "{found:?}");
}

#[test]
fn readings_ignore_spaces() {
    let pairs = [(said("o p e n"), texts(&["open"])), (said("shot"), texts(&["shop", "stop"]))];
    assert_scores(&scores(Metric::EditDistance, &pairs), &[("accuracy", 0.5), ("edit_similarity", (1.0 + 0.75) / 2.0)]);
}

#[test]
fn descriptions_are_asked_for_everything_they_must_mention() {
    let things = Reference::Mentions(vec![vec!["red fox".into(), "scarlet fox".into()], vec!["green ring".into()]]);
    let pairs = [(said("a scarlet fox above a green ring"), things.clone()), (said("a red fox"), things)];
    assert_scores(&scores(Metric::Cider, &pairs), &[("mentions", 0.5), ("mention_recall", 0.75)]);
}

#[test]
fn nothing_to_judge_is_no_failure_and_a_wrong_reference_is_one() {
    assert_eq!(scores(Metric::VqaScore, &[]), [("vqa_score", 0.0)]);
    assert!(scores(Metric::Cider, &[]).is_empty());
    let (answer, reference) = (said("red"), Reference::Region([0.0, 0.0, 1.0, 1.0]));
    let judged = [Judged { answer: &answer, reference: &reference, image: None }];
    let error = Measure::new(task(Metric::Cider), &judged, None).scores(&judged).unwrap_err();
    assert!(error.to_string().contains("a region of an image"), "{error}");
}

#[test]
fn frequencies_that_no_corpus_has_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("counts.json");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        DocumentFrequencies::read(&path)
    };
    assert_eq!(read(r#"{"images": 2, "counts": {"a dog": 2}}"#).unwrap().images, 2);
    for (text, why) in [
        (r#"{"images": 0, "counts": {}}"#, "at least 1"),
        (r#"{"images": 2, "counts": {"a dog": 3}}"#, "`a dog`: expected at most 2"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains("counts.json") && error.contains(why), "{error}");
    }
}
