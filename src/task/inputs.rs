//! What a caller gives to a task, and how it is cleaned before it goes into an instruction.

use super::{AnswerKind, Constraint, PromptType, Task};
use crate::error::{Error, Result};
use crate::vocab::clean;
use serde::{Deserialize, Serialize};

/// Everything a caller may give; which of it a task uses, its row says. The image is passed elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Inputs {
    /// The question, phrase, sentence or article.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The second sentence of tasks on two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text2: Option<String>,
    /// A caption known beforehand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    /// Names of objects found in the image beforehand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects: Option<Vec<String>>,
    /// A region of the image: left, top, right, bottom, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<[f32; 4]>,
    /// The only answers allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<Vec<String>>,
    /// In place of the task's own, for a checkpoint that was trained for another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_type: Option<PromptType>,
}

impl Inputs {
    /// A question, phrase, sentence or article alone.
    pub fn of_text(text: &str) -> Self {
        Self { text: Some(text.to_owned()), ..Self::default() }
    }
}

/// Names of the parts of [`Inputs`] that go into instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Field {
    /// [`Inputs::text`]
    Text,
    /// [`Inputs::text2`]
    Text2,
    /// [`Inputs::caption`]
    Caption,
    /// [`Inputs::objects`]
    Objects,
    /// [`Inputs::region`]
    Region,
}

/// One input of a task.
#[derive(Debug)]
pub struct Input {
    /// Which.
    pub field: Field,
    /// Whether the task cannot do without.
    pub required: bool,
    /// How it is cleaned.
    pub clean: Clean,
    /// One phrase for help texts.
    pub doc: &'static str,
}

/// How a text is cleaned; the numbers are the most words kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clean {
    /// Not at all.
    Raw,
    /// [`clean::pre_caption`]
    Caption(usize),
    /// [`clean::question`]
    Question(usize),
    /// [`clean::pre_question`]: no question mark is put at its end.
    BareQuestion(usize),
    /// [`clean::article`]
    Article(usize),
    /// [`clean::sentence`]
    Sentence(usize),
    /// [`clean::joined_words`]
    Words(usize),
    /// Lower case, as pre-training reads texts; each `<mask>` in it becomes the mask token.
    Gaps,
}

/// Names of objects that may follow a question (reference §6.2).
const OBJECTS: usize = 30;
/// Ids of an instruction about an article, the words behind it among them (reference §6.2).
const ARTICLE_IDS: usize = 512;

impl Clean {
    /// The ids of an instruction with such a text that the model reads.
    pub(super) fn most_ids(self) -> usize {
        if let Self::Article(_) = self { ARTICLE_IDS } else { usize::MAX }
    }

    fn apply(self, text: &str) -> String {
        match self {
            Self::Raw => text.to_owned(),
            Self::Caption(words) => clean::pre_caption(text, words),
            Self::Question(words) => clean::question(text, words),
            Self::BareQuestion(words) => clean::pre_question(text, words),
            Self::Article(words) => clean::article(text, words),
            Self::Sentence(words) => clean::sentence(text, words),
            Self::Words(words) => clean::joined_words(text, words),
            Self::Gaps => text.trim().to_lowercase(),
        }
    }
}

impl Field {
    /// All of them.
    pub const ALL: [Field; 5] = [Field::Text, Field::Text2, Field::Caption, Field::Objects, Field::Region];

    /// As written in templates and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Text2 => "text2",
            Self::Caption => "caption",
            Self::Objects => "objects",
            Self::Region => "region",
        }
    }

    /// The field of a placeholder.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }

    /// Whether the caller gave it.
    pub fn is_given(self, inputs: &Inputs) -> bool {
        match self {
            Self::Text => inputs.text.is_some(),
            Self::Text2 => inputs.text2.is_some(),
            Self::Caption => inputs.caption.is_some(),
            Self::Objects => inputs.objects.is_some(),
            Self::Region => inputs.region.is_some(),
        }
    }
}

impl Task {
    /// Whether there is an image if the task sees one, and only then.
    ///
    /// # Errors
    /// [`Error::Task`].
    pub fn check_image(&self, given: bool) -> Result<()> {
        match (self.image.is_some(), given) {
            (true, false) => Err(Error::task(self.name, "needs an image")),
            (false, true) => Err(Error::task(self.name, "has no use for an image")),
            _ => Ok(()),
        }
    }

    /// Whether there are names to choose from if the answer is one of them. In training the target alone is enough.
    ///
    /// # Errors
    /// [`Error::Task`].
    pub fn check_answers(&self, inputs: &Inputs) -> Result<()> {
        let open = matches!(self.constraint, Constraint::Answers) && inputs.answers.is_none();
        if self.answer == AnswerKind::Label && open {
            return Err(Error::task(self.name, "needs `answers`: the names to choose from"));
        }
        Ok(())
    }

    /// Whether the caller gave what the task needs, and nothing that it would ignore, the image aside.
    ///
    /// # Errors
    /// [`Error::Task`] naming the input.
    pub fn check(&self, inputs: &Inputs) -> Result<()> {
        for Input { field, required, doc, .. } in self.inputs {
            if *required && !field.is_given(inputs) {
                return Err(Error::task(self.name, format!("needs `{}`: {doc}", field.name())));
            }
        }
        for field in Field::ALL {
            if field.is_given(inputs) && self.inputs.iter().all(|input| input.field != field) {
                return Err(Error::task(self.name, format!("has no use for `{}`", field.name())));
            }
        }
        if inputs.answers.is_some() && !matches!(self.constraint, Constraint::Answers) {
            return Err(Error::task(self.name, "has no use for `answers`"));
        }
        if let Some(region) = inputs.region
            && !(region.iter().all(|side| (0.0..=1.0).contains(side)) && region[0] < region[2] && region[1] < region[3])
        {
            let reason = format!("`region` is left, top, right, bottom from 0 to 1, found {region:?}");
            return Err(Error::task(self.name, reason));
        }
        Ok(())
    }

    /// A field's text as it goes into the instruction.
    pub(super) fn cleaned(&self, field: Field, inputs: &Inputs) -> Result<String> {
        let joined;
        let text = match field {
            Field::Text => inputs.text.as_deref(),
            Field::Text2 => inputs.text2.as_deref(),
            Field::Caption => inputs.caption.as_deref(),
            Field::Objects => {
                let names = |objects: &Vec<String>| objects[..objects.len().min(OBJECTS)].join(" ");
                joined = inputs.objects.as_ref().map(names);
                joined.as_deref()
            }
            Field::Region => None,
        };
        let text = text.unwrap_or_default();
        if text.trim().is_empty() {
            return Err(Error::task(self.name, format!("`{}` is empty", field.name())));
        }
        Ok(self.cleaning(field).apply(text))
    }

    /// How a field's text is cleaned.
    pub(super) fn cleaning(&self, field: Field) -> Clean {
        self.inputs.iter().find(|input| input.field == field).map_or(Clean::Raw, |input| input.clean)
    }
}
