//! Noun phrases: what they say of an object, which objects they fit, and how to single one out.

use super::held_out;
use super::nouns::Noun;
use super::scene::{Kind, Object, Scene};
use super::words::{Category, Colour, Pattern, Place, Relation, Shape, Size, number, with_article};
use crate::train::sample::Role;
use fastrand::Rng;

/// The noun of a phrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    Shape(Shape),
    AnyShape,
    Noun(Noun),
    Category(Category),
    Sign,
}

/// A noun and its adjectives; what is `None` is not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    pub size: Option<Size>,
    pub pattern: Option<Pattern>,
    pub colour: Option<Colour>,
    pub head: Head,
}

/// Adjectives that a phrase may not use, because the question asks for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hidden {
    Nothing,
    Size,
    Pattern,
    Colour,
}

impl From<Head> for Description {
    fn from(head: Head) -> Self {
        Self { size: None, pattern: None, colour: None, head }
    }
}

impl Head {
    /// What an object is, most precisely.
    pub fn of(object: &Object) -> Self {
        match object.kind {
            Kind::Shape { shape, .. } => Self::Shape(shape),
            Kind::Sticker { noun, .. } => Self::Noun(noun),
            Kind::Sign { .. } => Self::Sign,
        }
    }

    fn fits(self, object: &Object) -> bool {
        match (self, object.kind) {
            (Self::Shape(said), Kind::Shape { shape, .. }) => said == shape,
            (Self::AnyShape, Kind::Shape { .. }) | (Self::Sign, Kind::Sign { .. }) => true,
            (Self::Noun(said), Kind::Sticker { noun, .. }) => said == noun,
            (Self::Category(said), Kind::Sticker { noun, .. }) => said == noun.category(),
            _ => false,
        }
    }

    fn singular(self) -> &'static str {
        match self {
            Self::Shape(shape) => shape.word(),
            Self::AnyShape => "shape",
            Self::Noun(noun) => noun.word(),
            Self::Category(category) => category.word(),
            Self::Sign => "sign",
        }
    }

    fn plural(self) -> &'static str {
        match self {
            Self::Shape(shape) => shape.plural(),
            Self::AnyShape => "shapes",
            Self::Noun(noun) => noun.plural(),
            Self::Category(category) => category.plural().unwrap_or(category.word()),
            Self::Sign => "signs",
        }
    }
}

impl Description {
    /// Everything that can be said of an object.
    pub fn full(object: &Object) -> Self {
        let (colour, pattern) = match object.kind {
            Kind::Shape { colour, pattern, .. } => (Some(colour), Some(pattern)),
            _ => (None, None),
        };
        let size = (!matches!(object.kind, Kind::Sign { .. })).then_some(object.size);
        Self { size, pattern, colour, head: Head::of(object) }
    }

    /// What a caption says: the colour, a pattern if there is one, the size if it strikes.
    pub fn natural(object: &Object, rng: &mut Rng) -> Self {
        let full = Self::full(object);
        let often = if object.size == Size::Medium { 0.15 } else { 0.7 };
        Self {
            size: full.size.filter(|_| rng.f32() < often),
            pattern: full.pattern.filter(|&pattern| pattern != Pattern::Plain),
            ..full
        }
    }

    pub fn fits(&self, object: &Object) -> bool {
        let full = Self::full(object);
        self.head.fits(object)
            && (self.size.is_none() || self.size == full.size)
            && (self.pattern.is_none() || self.pattern == full.pattern)
            && (self.colour.is_none() || self.colour == full.colour)
    }

    /// The objects of a scene that it fits.
    pub fn among(&self, scene: &Scene) -> Vec<usize> {
        (0..scene.objects.len()).filter(|object| self.fits(&scene.objects[*object])).collect()
    }

    /// How many they are.
    pub fn count(&self, scene: &Scene) -> usize {
        self.among(scene).len()
    }

    /// Whether training never says it.
    pub fn is_held_out(&self) -> bool {
        matches!((self.colour, self.head), (Some(colour), Head::Shape(shape)) if held_out::pair(colour, shape))
    }

    /// Whether training never counts so many of it.
    pub fn is_held_out_count(&self, count: usize) -> bool {
        let category = match self.head {
            Head::Noun(noun) => Some(noun.category()),
            Head::Category(category) => Some(category),
            _ => None,
        };
        (category, count) == (Some(held_out::COUNT.0), held_out::COUNT.1)
    }

    /// `small red circle`.
    pub fn singular(&self) -> String {
        self.with_noun(self.head.singular())
    }

    /// `small red circles`.
    pub fn plural(&self) -> String {
        self.with_noun(self.head.plural())
    }

    /// `a small red circle`, `three foxes`.
    pub fn counted(&self, count: usize) -> String {
        if count == 1 { with_article(&self.singular()) } else { format!("{} {}", number(count), self.plural()) }
    }

    fn with_noun(&self, noun: &str) -> String {
        let adjectives = [self.size.map(Size::word), self.pattern.map(Pattern::word), self.colour.map(Colour::word)];
        let words: Vec<&str> = adjectives.into_iter().flatten().chain([noun]).collect();
        words.join(" ")
    }

    /// The description with only some of its adjectives: bits say which.
    fn masked(&self, mask: usize) -> Self {
        Self {
            size: self.size.filter(|_| mask & 1 != 0),
            pattern: self.pattern.filter(|_| mask & 2 != 0),
            colour: self.colour.filter(|_| mask & 4 != 0),
            head: self.head,
        }
    }

    fn words(&self) -> usize {
        usize::from(self.size.is_some()) + usize::from(self.pattern.is_some()) + usize::from(self.colour.is_some())
    }

    /// Some of what can be said of an object.
    pub fn partly(object: &Object, rng: &mut Rng) -> Self {
        Self::full(object).masked(rng.usize(..8) & rng.usize(..8))
    }
}

/// What narrows a description down to one object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Qualifier {
    None,
    /// On a side of an object that is described by itself.
    Beside(Relation, Description),
    In(Place),
    /// On this side of all others that the description fits.
    Most(Relation),
}

/// The objects that an instruction refers to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mentioned {
    /// Those asked about.
    pub targets: Vec<usize>,
    /// Those that the targets are compared with.
    pub anchors: Vec<usize>,
}

impl Mentioned {
    pub fn role(&self, object: usize) -> Role {
        if self.targets.contains(&object) {
            Role::Target
        } else if self.anchors.contains(&object) {
            Role::Anchor
        } else {
            Role::Other
        }
    }
}

impl From<Vec<usize>> for Mentioned {
    fn from(targets: Vec<usize>) -> Self {
        Self { targets, anchors: Vec::new() }
    }
}

impl From<usize> for Mentioned {
    fn from(target: usize) -> Self {
        vec![target].into()
    }
}

/// A phrase that fits one object of its scene.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Phrase {
    pub description: Description,
    pub qualifier: Qualifier,
}

impl Phrase {
    /// Without an article: `red circle to the left of the fox`.
    pub fn text(&self) -> String {
        let description = self.description.singular();
        match self.qualifier {
            Qualifier::None => description,
            Qualifier::Beside(relation, anchor) => {
                format!("{description} {} the {}", relation.word(), anchor.singular())
            }
            Qualifier::In(place) => format!("{description} {}", in_place(place)),
            Qualifier::Most(relation) => format!("{} {description}", relation.superlative()),
        }
    }

    /// The object that it fits, and what that is beside.
    pub fn mentions(&self, target: usize, scene: &Scene) -> Mentioned {
        let anchors = match self.qualifier {
            Qualifier::Beside(_, anchor) => anchor.among(scene),
            _ => Vec::new(),
        };
        Mentioned { targets: vec![target], anchors }
    }
}

/// `in the top left`, `at the top`.
pub fn in_place(place: Place) -> String {
    let preposition = match place {
        Place::Top | Place::Bottom => "at",
        Place::Left | Place::Right => "on",
        _ => "in",
    };
    format!("{preposition} the {}", place.word())
}

/// Whether an object may also be said to be there: what is in the top left is at the top too.
pub fn may_be_in(object: &Object, place: Place) -> bool {
    object.place().is_none_or(|other| other.word().contains(place.word()))
}

/// The one object in a place.
pub fn only_in(scene: &Scene, place: Place) -> Option<usize> {
    let mut there = scene.objects.iter().enumerate().filter(|(_, object)| may_be_in(object, place));
    let (index, object) = there.next()?;
    (there.next().is_none() && object.place() == Some(place)).then_some(index)
}

/// The one object with a relation to another.
pub fn only_beside(scene: &Scene, relation: Relation, anchor: usize) -> Option<usize> {
    let mut others = (0..scene.objects.len()).filter(|&other| other != anchor);
    let mut found = None;
    others.try_for_each(|other| match relation.holds(&scene.objects[other], &scene.objects[anchor]) {
        Some(false) => Some(()),
        Some(true) if found.is_none() => {
            found = Some(other);
            Some(())
        }
        _ => None,
    })?;
    found
}

/// Descriptions that fit the target alone, the shortest and those a word longer.
fn unique(scene: &Scene, target: usize, hidden: Hidden, held_out: bool) -> Vec<Description> {
    let object = &scene.objects[target];
    let mut full = Description::full(object);
    match hidden {
        Hidden::Nothing => {}
        Hidden::Size => full.size = None,
        Hidden::Pattern => full.pattern = None,
        Hidden::Colour => full.colour = None,
    }
    // The pattern that most shapes have is no way to tell one from another.
    full.pattern = full.pattern.filter(|&pattern| pattern != Pattern::Plain);
    let heads = match object.kind {
        Kind::Shape { .. } => vec![full.head, Head::AnyShape],
        Kind::Sticker { noun, .. } if noun.category() != Category::Thing => {
            vec![full.head, Head::Category(noun.category())]
        }
        _ => vec![full.head],
    };
    let mut found: Vec<Description> = Vec::new();
    for head in heads {
        for mask in 0..8 {
            let description = Description { head, ..full }.masked(mask);
            let alone = description.fits(object) && description.count(scene) == 1;
            if alone && !found.contains(&description) && (held_out || !description.is_held_out()) {
                found.push(description);
            }
        }
    }
    let shortest = found.iter().map(Description::words).min().unwrap_or(0);
    found.retain(|description| description.words() <= shortest + 1);
    found
}

/// A description that fits the target alone, if there is one.
pub fn describe(scene: &Scene, target: usize, hidden: Hidden, held_out: bool, rng: &mut Rng) -> Option<Description> {
    rng.choice(unique(scene, target, hidden, held_out))
}

/// A phrase that fits the target alone, where a plain description may not.
pub fn refer(scene: &Scene, target: usize, hidden: Hidden, held_out: bool, rng: &mut Rng) -> Option<Phrase> {
    let plain = describe(scene, target, hidden, held_out, rng);
    if let Some(description) = plain.filter(|_| rng.f32() < 0.75) {
        return Some(Phrase { description, qualifier: Qualifier::None });
    }
    let object = &scene.objects[target];
    let mut description =
        Description::full(object).masked(if hidden == Hidden::Colour { 0 } else { 4 * rng.usize(..2) });
    if !held_out && description.is_held_out() {
        description.colour = None;
    }
    let rivals: Vec<usize> =
        (0..scene.objects.len()).filter(|&other| other != target && description.fits(&scene.objects[other])).collect();
    let mut qualifiers = Vec::new();
    for &relation in Relation::ALL {
        let ahead = |&rival: &usize| relation.holds(object, &scene.objects[rival]) == Some(true);
        if !rivals.is_empty() && rivals.iter().all(ahead) {
            qualifiers.push(Qualifier::Most(relation));
        }
        if !held_out && self::held_out::said(object, relation) {
            continue;
        }
        for anchor in (0..scene.objects.len()).filter(|&anchor| anchor != target && !rivals.contains(&anchor)) {
            let holds = |other: usize| relation.holds(&scene.objects[other], &scene.objects[anchor]);
            if holds(target) == Some(true)
                && rivals.iter().all(|&rival| holds(rival) == Some(false))
                && let Some(described) = describe(scene, anchor, Hidden::Nothing, held_out, rng)
            {
                qualifiers.push(Qualifier::Beside(relation, described));
            }
        }
    }
    if let Some(place) = object.place()
        && rivals.iter().all(|&rival| !may_be_in(&scene.objects[rival], place))
    {
        qualifiers.push(Qualifier::In(place));
    }
    match rng.choice(qualifiers) {
        Some(qualifier) => Some(Phrase { description, qualifier }),
        None => plain.map(|description| Phrase { description, qualifier: Qualifier::None }),
    }
}
