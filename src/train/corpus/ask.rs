//! Questions about a scene, each with the one right answer.

use super::describe::{Description, Head, Hidden, Mentioned, describe, in_place, only_beside, only_in, refer};
use super::held_out;
use super::nouns::Noun;
use super::scene::{Kind, Object, Scene};
use super::statement::{another, changed};
use super::words::{Category, Colour, Ground, Pattern, Place, Relation, Shape, Size, Written, with_article};
use fastrand::Rng;

/// Descriptions tried until one has the answer that is wanted.
const TRIES: usize = 8;
/// Nobody is asked to count further.
const MOST: usize = 6;

/// What a question asks for, by which answers are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    Exist,
    Colour,
    Shape,
    Size,
    Pattern,
    Name,
    Category,
    Count,
    Compare,
    Relation,
    Where,
    Written,
    Background,
}

impl Topic {
    /// The topics and how often each is asked.
    pub const WEIGHTS: [(Self, f32); 13] = [
        (Self::Exist, 2.0),
        (Self::Colour, 1.5),
        (Self::Shape, 1.0),
        (Self::Size, 0.5),
        (Self::Pattern, 0.6),
        (Self::Name, 1.5),
        (Self::Category, 1.0),
        (Self::Count, 2.0),
        (Self::Compare, 0.4),
        (Self::Relation, 3.5),
        (Self::Where, 1.0),
        (Self::Written, 0.7),
        (Self::Background, 0.4),
    ];

    /// The group of its questions.
    pub fn group(self) -> &'static str {
        match self {
            Self::Exist => "exist",
            Self::Colour => "colour",
            Self::Shape => "shape",
            Self::Size => "size",
            Self::Pattern => "pattern",
            Self::Name => "name",
            Self::Category => "category",
            Self::Count => "count",
            Self::Compare => "compare",
            Self::Relation => "relation",
            Self::Where => "where",
            Self::Written => "written",
            Self::Background => "background",
        }
    }
}

/// A question, its answer, and answers that are wrong though they are of the right kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub topic: Topic,
    pub question: String,
    pub answer: String,
    pub wrong: Vec<String>,
    /// The objects that it asks about; `None` where it asks about none.
    pub about: Option<Mentioned>,
}

impl Asked {
    fn about(self, objects: impl Into<Mentioned>) -> Self {
        Self { about: Some(objects.into()), ..self }
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    pub scene: &'a Scene,
    /// What may be asked for though it is not there.
    pub nouns: &'a [Noun],
    /// Whether what training never says may be said.
    pub held_out: bool,
    /// The only object asked about.
    pub focus: Option<usize>,
}

fn asked(topic: Topic, question: String, answer: impl Into<String>, wrong: Vec<String>) -> Option<Asked> {
    Some(Asked { topic, question, answer: answer.into(), wrong, about: None })
}

fn yes_no(topic: Topic, question: String, yes: bool) -> Option<Asked> {
    let words = if yes { ["yes", "no"] } else { ["no", "yes"] };
    asked(topic, question, words[0], vec![words[1].to_owned()])
}

/// The words of a closed list but one.
fn others<T: Copy + PartialEq>(all: &[T], but: T, word: impl Fn(T) -> &'static str) -> Vec<String> {
    all.iter().filter(|other| **other != but).map(|other| word(*other).to_owned()).collect()
}

fn one_of<const N: usize>(rng: &mut Rng, forms: [String; N]) -> String {
    rng.choice(forms).unwrap_or_default()
}

impl Asker<'_> {
    /// A question on a topic, if the scene has one.
    pub fn ask(&self, topic: Topic, rng: &mut Rng) -> Option<Asked> {
        match topic {
            Topic::Exist => self.exist(rng),
            Topic::Colour => self.colour(rng),
            Topic::Shape => self.shape(rng),
            Topic::Size => self.size(rng),
            Topic::Pattern => self.pattern(rng),
            Topic::Name => self.name(rng),
            Topic::Category => self.category(rng),
            Topic::Count => self.count(rng),
            Topic::Compare => self.compare(rng),
            Topic::Relation => self.relation(rng),
            Topic::Where => self.place(rng),
            Topic::Written => self.written(rng),
            Topic::Background => self.background(rng),
        }
    }

    fn target(&self, wanted: impl Fn(&Object) -> bool, rng: &mut Rng) -> Option<usize> {
        let fits =
            |index: &usize| wanted(&self.scene.objects[*index]) && self.focus.is_none_or(|focus| focus == *index);
        rng.choice((0..self.scene.objects.len()).filter(fits).collect::<Vec<_>>())
    }

    fn object(&self, index: usize) -> &Object {
        &self.scene.objects[index]
    }

    fn refer(&self, target: usize, hidden: Hidden, rng: &mut Rng) -> Option<(String, Mentioned)> {
        let phrase = refer(self.scene, target, hidden, self.held_out, rng)?;
        Some((phrase.text(), phrase.mentions(target, self.scene)))
    }

    fn may_say(&self, description: &Description) -> bool {
        self.held_out || !description.is_held_out()
    }

    /// A description of something that is there or, as asked, is not.
    fn description(&self, there: bool, rng: &mut Rng) -> Option<Description> {
        (0..TRIES).find_map(|_| {
            let target = self.target(|object| !matches!(object.kind, Kind::Sign { .. }), rng)?;
            let mut description = Description::partly(self.object(target), rng);
            match description.head {
                Head::Shape(_) if rng.usize(..5) == 0 => description.head = Head::AnyShape,
                Head::Noun(noun) if rng.usize(..5) == 0 && noun.category().plural().is_some() => {
                    description.head = Head::Category(noun.category());
                }
                _ => {}
            }
            if !there {
                description = changed(description, self.nouns, rng)?;
            }
            let right = (description.count(self.scene) > 0) == there;
            (right && self.may_say(&description)).then_some(description)
        })
    }

    fn exist(&self, rng: &mut Rng) -> Option<Asked> {
        let there = rng.bool();
        if rng.usize(..12) == 0 {
            let question = one_of(rng, ["is anything written in the picture?".into(), "is there a sign?".into()]);
            let asked = yes_no(Topic::Exist, question, self.scene.written().is_some())?;
            return Some(asked.about(Description::from(Head::Sign).among(self.scene)));
        }
        let description = self.description(there, rng)?;
        let (one, many) = (with_article(&description.singular()), description.plural());
        if rng.usize(..5) == 0 {
            let forms = [format!("is there no {}?", description.singular()), format!("is the picture without {many}?")];
            let asked = yes_no(Topic::Exist, one_of(rng, forms), !there)?;
            return Some(asked.about(description.among(self.scene)));
        }
        let forms = [
            format!("is there {one}?"),
            format!("is there {one} in the picture?"),
            format!("can you see {one}?"),
            format!("does the picture show {one}?"),
            format!("are there any {many}?"),
        ];
        Some(yes_no(Topic::Exist, one_of(rng, forms), there)?.about(description.among(self.scene)))
    }

    fn colour(&self, rng: &mut Rng) -> Option<Asked> {
        let target = self.target(|object| matches!(object.kind, Kind::Shape { .. }), rng)?;
        let Kind::Shape { shape, colour, .. } = self.object(target).kind else { return None };
        let (what, about) = self.refer(target, Hidden::Colour, rng)?;
        if rng.usize(..4) == 0 {
            let said = if rng.bool() { colour } else { another(Colour::ALL, colour, rng)? };
            let claimed = Description { colour: Some(said), ..Head::Shape(shape).into() };
            if !self.may_say(&claimed) {
                return None;
            }
            let denied = rng.usize(..4) == 0;
            let not = if denied { "not " } else { "" };
            let question = format!("is the {what} {not}{}?", said.word());
            return Some(yes_no(Topic::Colour, question, (said == colour) != denied)?.about(about));
        }
        let forms = [
            format!("what colour is the {what}?"),
            format!("what is the colour of the {what}?"),
            format!("which colour does the {what} have?"),
        ];
        let wrong = others(Colour::ALL, colour, Colour::word);
        Some(asked(Topic::Colour, one_of(rng, forms), colour.word(), wrong)?.about(about))
    }

    fn shape(&self, rng: &mut Rng) -> Option<Asked> {
        let target = self.target(|object| matches!(object.kind, Kind::Shape { .. }), rng)?;
        let Kind::Shape { shape, colour, pattern } = self.object(target).kind else { return None };
        let any = Description { colour: Some(colour), ..Head::AnyShape.into() };
        let patterned = Description { pattern: (pattern != Pattern::Plain).then_some(pattern), ..any };
        let sized = Description { size: Some(self.object(target).size), ..any };
        let candidates = [Head::AnyShape.into(), any, patterned, sized, Description { colour: None, ..sized }];
        let unique = candidates.into_iter().filter(|candidate| candidate.count(self.scene) == 1);
        let what = rng.choice(unique.collect::<Vec<_>>())?.singular();
        let forms = [
            format!("what is the {what}?"),
            format!("what kind of shape is the {what}?"),
            format!("what is the form of the {what}?"),
        ];
        let wrong = others(Shape::ALL, shape, Shape::word);
        Some(asked(Topic::Shape, one_of(rng, forms), shape.word(), wrong)?.about(target))
    }

    fn size(&self, rng: &mut Rng) -> Option<Asked> {
        let target = self.target(|object| !matches!(object.kind, Kind::Sign { .. }), rng)?;
        let size = self.object(target).size;
        let (what, about) = self.refer(target, Hidden::Size, rng)?;
        let forms = [format!("how big is the {what}?"), format!("what size is the {what}?")];
        let wrong = others(Size::ALL, size, Size::word);
        Some(asked(Topic::Size, one_of(rng, forms), size.word(), wrong)?.about(about))
    }

    fn pattern(&self, rng: &mut Rng) -> Option<Asked> {
        let target = self.target(|object| matches!(object.kind, Kind::Shape { .. }), rng)?;
        let Kind::Shape { pattern, .. } = self.object(target).kind else { return None };
        let (what, about) = self.refer(target, Hidden::Pattern, rng)?;
        let forms = [format!("what pattern does the {what} have?"), format!("how is the {what} filled?")];
        let wrong = others(Pattern::ALL, pattern, Pattern::word);
        Some(asked(Topic::Pattern, one_of(rng, forms), pattern.word(), wrong)?.about(about))
    }

    fn name(&self, rng: &mut Rng) -> Option<Asked> {
        let (target, question) = if let [_] = self.scene.objects[..] {
            (0, one_of(rng, ["what is in the picture?".into(), "what is this?".into(), "what do you see?".into()]))
        } else {
            let place = self.object(self.target(|object| object.place().is_some(), rng)?).place()?;
            let target = only_in(self.scene, place)?;
            let there = in_place(place);
            (target, one_of(rng, [format!("what is {there}?"), format!("what do you see {there}?")]))
        };
        self.named(Topic::Name, question, target, rng)
    }

    /// A question answered by what an object is.
    fn named(&self, topic: Topic, question: String, target: usize, rng: &mut Rng) -> Option<Asked> {
        let object = self.object(target);
        let mut wrong: Vec<String> = self.scene.objects.iter().map(Object::label).collect();
        let noun = rng.choice(self.nouns.iter().copied());
        wrong.extend(noun.map(|noun| noun.word().to_owned()));
        wrong.retain(|other| *other != object.label());
        Some(asked(topic, question, object.label(), wrong)?.about(target))
    }

    fn category(&self, rng: &mut Rng) -> Option<Asked> {
        let target = self.target(|object| matches!(object.kind, Kind::Sticker { .. }), rng)?;
        let Kind::Sticker { noun, .. } = self.object(target).kind else { return None };
        let category = noun.category();
        if category == Category::Thing {
            return None;
        }
        if rng.usize(..3) == 0 {
            let refer = self.refer(target, Hidden::Nothing, rng);
            let (what, about) = refer.filter(|(what, _)| !what.contains(category.word()))?;
            let wrong = others(Category::ALL, category, Category::word);
            let question = format!("what kind of thing is the {what}?");
            return Some(asked(Topic::Category, question, category.word(), wrong)?.about(about));
        }
        let of_category =
            |object: &&Object| matches!(object.kind, Kind::Sticker { noun, .. } if noun.category() == category);
        let same = |object: &Object| matches!(object.kind, Kind::Sticker { noun: other, .. } if other == noun);
        if !self.scene.objects.iter().filter(of_category).all(same) {
            return None;
        }
        let word = category.word();
        let forms = [
            format!("which {word} is in the picture?"),
            format!("what {word} do you see?"),
            format!("which {word} is this?"),
        ];
        let wrong = self.nouns.iter().filter(|other| other.category() == category && **other != noun);
        let wrong = wrong.map(|noun| noun.word().to_owned()).collect();
        let about = Description::from(Head::Category(category)).among(self.scene);
        Some(asked(Topic::Category, one_of(rng, forms), noun.word(), wrong)?.about(about))
    }

    fn count(&self, rng: &mut Rng) -> Option<Asked> {
        let none = rng.usize(..8) == 0;
        let mut description = self.description(!none, rng)?;
        // What is counted has few adjectives, or nearly every answer would be one.
        if !none && rng.bool() {
            description = Description::from(description.head);
        }
        if let Head::Category(category) = description.head {
            category.plural()?;
        }
        let count = description.count(self.scene);
        if count > MOST || (!self.held_out && description.is_held_out_count(count)) {
            return None;
        }
        // Most things are there once; asking for them every time would make that the answer.
        if count == 1 && rng.bool() {
            return None;
        }
        let many = description.plural();
        let forms = [
            format!("how many {many} are there?"),
            format!("how many {many} do you see?"),
            format!("what is the number of {many}?"),
            format!("how many {many} are in the picture?"),
        ];
        let near = [count.checked_sub(1), Some(count + 1)].into_iter().flatten();
        let near = near.filter(|&other| self.held_out || !description.is_held_out_count(other));
        let near = near.map(|other| other.to_string()).collect();
        let asked = asked(Topic::Count, one_of(rng, forms), count.to_string(), near)?;
        Some(asked.about(description.among(self.scene)))
    }

    fn compare(&self, rng: &mut Rng) -> Option<Asked> {
        let [a, b] = [self.description(true, rng)?, self.description(true, rng)?];
        let [a, b] = [a, b].map(|description| Description::from(description.head));
        let overlapping = self.scene.objects.iter().any(|object| a.fits(object) && b.fits(object));
        if overlapping || a.plural() == a.singular() || b.plural() == b.singular() {
            return None;
        }
        let about = Mentioned { targets: a.among(self.scene), anchors: b.among(self.scene) };
        let (more, less) = (a.count(self.scene), b.count(self.scene));
        let (a, b) = (a.plural(), b.plural());
        let (question, holds) = if rng.usize(..3) == 0 {
            (format!("are there as many {a} as {b}?"), more == less)
        } else if rng.bool() {
            (format!("are there fewer {a} than {b}?"), more < less)
        } else {
            (format!("are there more {a} than {b}?"), more > less)
        };
        Some(yes_no(Topic::Compare, question, holds)?.about(about))
    }

    fn relation(&self, rng: &mut Rng) -> Option<Asked> {
        let relation = |object: &Object, rng: &mut Rng| match object.kind {
            Kind::Sticker { noun, .. } if self.focus.is_some() => held_out::relation(noun),
            _ => rng.choice(Relation::ALL.iter().copied()),
        };
        let subject = self.target(|_| true, rng)?;
        let relation = relation(self.object(subject), rng)?;
        let anchor = rng.choice((0..self.scene.objects.len()).filter(|&other| other != subject).collect::<Vec<_>>())?;
        if !self.held_out && held_out::said(self.object(subject), relation) {
            return None;
        }
        let the = describe(self.scene, anchor, Hidden::Nothing, self.held_out, rng)?.singular();
        let about = Mentioned { targets: vec![subject], anchors: vec![anchor] };
        let side = relation.word();
        if rng.usize(..5) < 2 {
            if only_beside(self.scene, relation, anchor)? != subject {
                return None;
            }
            let forms = [format!("what is {side} the {the}?"), format!("what do you see {side} the {the}?")];
            let asked = self.named(Topic::Relation, one_of(rng, forms), subject, rng)?;
            return Some(asked.about(about));
        }
        let holds = relation.holds(self.object(subject), self.object(anchor))?;
        let what = describe(self.scene, subject, Hidden::Nothing, self.held_out, rng)?.singular();
        let forms =
            [format!("is the {what} {side} the {the}?"), format!("is there {} {side} the {the}?", with_article(&what))];
        Some(yes_no(Topic::Relation, one_of(rng, forms), holds)?.about(about))
    }

    fn place(&self, rng: &mut Rng) -> Option<Asked> {
        let target = self.target(|object| object.place().is_some(), rng)?;
        let place = self.object(target).place()?;
        let what = describe(self.scene, target, Hidden::Nothing, self.held_out, rng)?.singular();
        let forms = [
            format!("where is the {what}?"),
            format!("where in the picture is the {what}?"),
            format!("in which part of the picture is the {what}?"),
        ];
        // What is in the top left is not wrongly said to be at the top.
        let mut wrong = others(Place::ALL, place, Place::word);
        wrong.retain(|other| !place.word().contains(other));
        Some(asked(Topic::Where, one_of(rng, forms), place.word(), wrong)?.about(target))
    }

    fn written(&self, rng: &mut Rng) -> Option<Asked> {
        let word = self.scene.written()?;
        let forms = [
            "what is written in the picture?".into(),
            "what does the sign say?".into(),
            "which word is on the sign?".into(),
        ];
        let asked = asked(Topic::Written, one_of(rng, forms), word.word(), others(Written::ALL, word, Written::word))?;
        Some(asked.about(Description::from(Head::Sign).among(self.scene)))
    }

    fn background(&self, rng: &mut Rng) -> Option<Asked> {
        let (ground, pattern) = (self.scene.ground, self.scene.pattern);
        if rng.usize(..3) == 0 {
            let question = "what pattern does the background have?".to_owned();
            return asked(Topic::Background, question, pattern.word(), others(Pattern::ALL, pattern, Pattern::word));
        }
        let forms = ["what colour is the background?".into(), "what is the colour of the background?".into()];
        asked(Topic::Background, one_of(rng, forms), ground.word(), others(Ground::ALL, ground, Ground::word))
    }
}
