//! The table itself.

use super::{AnswerKind, Clean, Constraint, Field, ImageRule, Input, Metric, PromptType, Task};
use crate::config::{Decoding, Sampling};
use crate::image::Normalization;

/// Words that the original's scripts keep of a source text.
const SOURCE_WORDS: usize = 80;
/// Words of the caption that an image is made from.
const IMAGE_GEN_WORDS: usize = 64;
/// Words of the sentences of language-understanding tasks, and of an article, whose ids are cut then.
const LONG_WORDS: usize = 512;

const SQUARE_256: Option<ImageRule> = square(256);
const SQUARE_480: Option<ImageRule> = square(480);
const SQUARE_512: Option<ImageRule> = square(512);

const YES_NO: Constraint = Constraint::Labels(&["no", "yes"]);
const YES_NO_MAYBE: Constraint = Constraint::Labels(&["no", "yes", "maybe"]);

const fn square(side: u32) -> Option<ImageRule> {
    Some(ImageRule { side, padded: false, normalization: Normalization::Half, hide_middle: false })
}

const fn text(clean: Clean, doc: &'static str) -> Input {
    Input { field: Field::Text, required: true, clean, doc }
}

const fn text2(clean: Clean, doc: &'static str) -> Input {
    Input { field: Field::Text2, required: true, clean, doc }
}

/// Answers of a single known word: the whole search is one step.
fn single() -> Decoding {
    Decoding { num_beams: 1, max_len_b: 1, normalize_scores: false, ..Decoding::default() }
}

fn unnormalized() -> Decoding {
    Decoding { num_beams: 5, max_len_b: 30, normalize_scores: false, ..Decoding::default() }
}

/// Everything that the model can be asked.
pub static TASKS: &[Task] = &[
    Task {
        name: "caption",
        doc: "Describes an image in one sentence.",
        templates: &[" what does the image describe?"],
        inputs: &[],
        answer: AnswerKind::Caption,
        prompt_type: PromptType::None,
        image: SQUARE_480,
        decoding: || Decoding { max_len_b: 16, no_repeat_ngram_size: 3, ..Decoding::default() },
        constraint: Constraint::Free,
        metric: Metric::Cider,
    },
    Task {
        name: "vqa",
        doc: "Answers a question about an image.",
        templates: &[" {text} object: {objects}", " {text}"],
        inputs: &[
            text(Clean::Question(SOURCE_WORDS), "the question"),
            Input {
                field: Field::Objects,
                required: false,
                clean: Clean::Raw,
                doc: "names of objects found in the image",
            },
        ],
        answer: AnswerKind::Text,
        prompt_type: PromptType::None,
        image: SQUARE_480,
        decoding: unnormalized,
        constraint: Constraint::Answers,
        metric: Metric::VqaScore,
    },
    Task {
        name: "vqa_match",
        doc: "Says whether an answer to a question about an image is right: yes or no.",
        templates: &[" what is the answer to question \" {text} \". is \" {text2} \"?"],
        inputs: &[text(Clean::BareQuestion(SOURCE_WORDS), "the question"), text2(Clean::Raw, "the answer to judge")],
        answer: AnswerKind::Label,
        prompt_type: PromptType::None,
        image: SQUARE_480,
        decoding: single,
        constraint: YES_NO,
        metric: Metric::Accuracy,
    },
    Task {
        name: "grounding",
        doc: "Finds the region that a phrase describes.",
        templates: &[" which region does the text \" {text} \" describe?"],
        inputs: &[text(Clean::Caption(SOURCE_WORDS), "the phrase")],
        answer: AnswerKind::Box,
        prompt_type: PromptType::None,
        image: SQUARE_512,
        decoding: Decoding::default,
        constraint: Constraint::Bins,
        metric: Metric::AccuracyAtHalf,
    },
    Task {
        name: "region_caption",
        doc: "Describes one region of an image.",
        templates: &["  what does the region describe? region:{region}"],
        inputs: &[Input {
            field: Field::Region,
            required: true,
            clean: Clean::Raw,
            doc: "left, top, right, bottom from 0 to 1",
        }],
        answer: AnswerKind::Caption,
        prompt_type: PromptType::None,
        image: SQUARE_512,
        decoding: || Decoding { max_len_b: 16, no_repeat_ngram_size: 3, ..Decoding::default() },
        constraint: Constraint::Free,
        metric: Metric::Cider,
    },
    Task {
        name: "detect",
        doc: "Lists the objects in an image and where they are.",
        templates: &[" what are the objects in the image?"],
        inputs: &[],
        answer: AnswerKind::Objects,
        prompt_type: PromptType::None,
        image: SQUARE_256,
        // The original never decodes this task. Objects may repeat, and shorter lists must not score higher.
        decoding: || Decoding { num_beams: 1, max_len_b: 256, normalize_scores: false, ..Decoding::default() },
        constraint: Constraint::Free,
        metric: Metric::F1AtHalf,
    },
    Task {
        name: "entailment",
        doc: "Says whether an image implies a sentence: yes, no or maybe.",
        templates: &[
            " can image and text1 \" {caption} \" imply text2 \" {text} \"?",
            " does the image describe \" {text} \"?",
        ],
        inputs: &[
            text(Clean::Caption(SOURCE_WORDS), "the sentence"),
            Input {
                field: Field::Caption,
                required: false,
                clean: Clean::Caption(SOURCE_WORDS),
                doc: "a caption of the image",
            },
        ],
        answer: AnswerKind::Label,
        prompt_type: PromptType::PrevOutput,
        image: SQUARE_480,
        decoding: single,
        constraint: YES_NO_MAYBE,
        metric: Metric::Accuracy,
    },
    Task {
        name: "match",
        doc: "Says whether a caption describes an image: yes or no.",
        templates: &[" does the image describe \" {text} \"?"],
        inputs: &[text(Clean::Caption(SOURCE_WORDS), "the caption")],
        answer: AnswerKind::Label,
        prompt_type: PromptType::None,
        image: SQUARE_480,
        decoding: single,
        constraint: YES_NO,
        metric: Metric::Accuracy,
    },
    Task {
        name: "classify",
        doc: "Names what an image shows, out of the answers given.",
        templates: &[" what does the image describe?"],
        inputs: &[],
        answer: AnswerKind::Label,
        prompt_type: PromptType::None,
        image: Some(ImageRule { side: 480, padded: false, normalization: Normalization::ImageNet, hide_middle: false }),
        decoding: unnormalized,
        constraint: Constraint::Answers,
        metric: Metric::Accuracy,
    },
    Task {
        name: "image_gen",
        doc: "Draws an image from a caption.",
        templates: &[" what is the complete image? caption: {text}"],
        inputs: &[text(Clean::Words(IMAGE_GEN_WORDS), "the caption")],
        answer: AnswerKind::Codes,
        prompt_type: PromptType::None,
        image: None,
        decoding: || Decoding {
            num_beams: 24,
            sampling: Some(Sampling { top_k: Some(256), ..Sampling::default() }),
            ..Decoding::default()
        },
        constraint: Constraint::Codes,
        metric: Metric::Unmeasured,
    },
    Task {
        name: "infill_image",
        doc: "Draws the middle of an image, which it does not see.",
        templates: &[" what is the image in the middle part?"],
        inputs: &[],
        answer: AnswerKind::Codes,
        prompt_type: PromptType::None,
        image: Some(ImageRule { side: 256, padded: false, normalization: Normalization::Half, hide_middle: true }),
        decoding: || Decoding { num_beams: 1, ..Decoding::default() },
        constraint: Constraint::Codes,
        metric: Metric::Unmeasured,
    },
    Task {
        name: "infill_text",
        doc: "Completes a text with gaps.",
        templates: &[" what is the complete text of \" {text} \"?"],
        inputs: &[text(Clean::Gaps, "the text, each gap written <mask>")],
        answer: AnswerKind::Text,
        prompt_type: PromptType::None,
        image: None,
        decoding: Decoding::default,
        constraint: Constraint::Free,
        metric: Metric::EditDistance,
    },
    Task {
        name: "ocr",
        doc: "Reads the text on an image.",
        templates: &[" what are the texts on the image?"],
        inputs: &[],
        answer: AnswerKind::Text,
        prompt_type: PromptType::None,
        image: Some(ImageRule { side: 480, padded: true, normalization: Normalization::Half, hide_middle: false }),
        decoding: || Decoding { max_len_b: 64, ..Decoding::default() },
        constraint: Constraint::Free,
        metric: Metric::EditDistance,
    },
    Task {
        name: "summary",
        doc: "Summarises an article in one sentence.",
        templates: &[" what is the summary of article \" {text} \"?"],
        inputs: &[text(Clean::Article(LONG_WORDS), "the article")],
        answer: AnswerKind::Text,
        prompt_type: PromptType::None,
        image: None,
        decoding: || Decoding {
            num_beams: 6,
            length_penalty: 0.7,
            max_len_b: 32,
            no_repeat_ngram_size: 3,
            ..Decoding::default()
        },
        constraint: Constraint::Free,
        metric: Metric::Rouge,
    },
    sentences(
        "cola",
        "Says whether a sentence is grammatical.",
        &[" is the text \" {text} \" grammatically correct?"],
        ONE,
        YES_NO,
        Metric::Matthews,
    ),
    sentences(
        "mnli",
        "Says whether a premise implies a hypothesis.",
        &[" can text1 \" {text} \" imply text2 \" {text2} \"?"],
        TWO,
        Constraint::Labels(&["maybe", "yes", "no"]),
        Metric::Accuracy,
    ),
    sentences(
        "mrpc",
        "Says whether two sentences mean the same.",
        &[" does text1 \" {text} \" and text2 \" {text2} \" have the same semantics?"],
        TWO,
        YES_NO,
        Metric::Accuracy,
    ),
    sentences(
        "qnli",
        "Says whether a sentence answers a question.",
        &[" does \" {text2} \" contain the answer to question \" {text} \"?"],
        QUESTION_AND_SENTENCE,
        YES_NO,
        Metric::Accuracy,
    ),
    sentences(
        "qqp",
        "Says whether two questions ask the same.",
        &[" is question \" {text} \" and question \" {text2} \" equivalent?"],
        TWO,
        YES_NO,
        Metric::Accuracy,
    ),
    sentences(
        "rte",
        "Says whether a text implies a hypothesis.",
        &[" can text1 \" {text} \" imply text2 \" {text2} \"?"],
        TWO,
        YES_NO,
        Metric::Accuracy,
    ),
    sentences(
        "sst2",
        "Says whether a text is positive or negative.",
        &[" is the sentiment of text \" {text} \" positive or negative?"],
        ONE,
        Constraint::Labels(&["negative", "positive"]),
        Metric::Accuracy,
    ),
];

static ONE: &[Input] = &[text(Clean::Sentence(LONG_WORDS), "the sentence")];
static TWO: &[Input] = &[
    text(Clean::Sentence(LONG_WORDS), "the first sentence"),
    text2(Clean::Sentence(LONG_WORDS), "the second sentence"),
];
static QUESTION_AND_SENTENCE: &[Input] =
    &[text(Clean::Sentence(LONG_WORDS), "the question"), text2(Clean::Sentence(LONG_WORDS), "the sentence")];

/// A language-understanding task: one word out of a few, judged from text alone.
const fn sentences(
    name: &'static str,
    doc: &'static str,
    templates: &'static [&'static str],
    inputs: &'static [Input],
    constraint: Constraint,
    metric: Metric,
) -> Task {
    Task {
        name,
        doc,
        templates,
        inputs,
        answer: AnswerKind::Label,
        prompt_type: PromptType::Src,
        image: None,
        decoding: single,
        constraint,
        metric,
    }
}
