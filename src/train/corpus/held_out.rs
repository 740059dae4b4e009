//! What training never shows nor says, and evaluation asks for: whether the model composes what it knows.

use super::nouns::Noun;
use super::scene::{Kind, Object};
use super::words::{Category, Colour, Relation, Shape};

/// Colours that these shapes never have.
const PAIRS: [(Colour, Shape); 8] = [
    (Colour::Red, Shape::Star),
    (Colour::Orange, Shape::Heart),
    (Colour::Yellow, Shape::Square),
    (Colour::Green, Shape::Circle),
    (Colour::Blue, Shape::Crescent),
    (Colour::Purple, Shape::Triangle),
    (Colour::Pink, Shape::Cross),
    (Colour::Black, Shape::Ring),
];
/// So many of these are never together.
pub const COUNT: (Category, usize) = (Category::Animal, 5);
/// One noun in so many is never said to be on one of the four sides of anything.
const NOUNS_WITH_RELATION: usize = 4;

/// What a question tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldOut {
    Pair,
    Relation,
    Count,
    Style,
}

impl HeldOut {
    pub const ALL: [Self; 4] = [Self::Pair, Self::Relation, Self::Count, Self::Style];

    /// The group of its questions.
    pub fn group(self) -> &'static str {
        match self {
            Self::Pair => "held-out pair",
            Self::Relation => "held-out relation",
            Self::Count => "held-out count",
            Self::Style => "held-out style",
        }
    }
}

pub fn pairs() -> &'static [(Colour, Shape)] {
    &PAIRS
}

pub fn pair(colour: Colour, shape: Shape) -> bool {
    PAIRS.contains(&(colour, shape))
}

/// The relation that a noun is never said to have to anything.
pub fn relation(noun: Noun) -> Option<Relation> {
    let index = noun.index();
    (index % NOUNS_WITH_RELATION == 1).then(|| Relation::ALL[index / NOUNS_WITH_RELATION % Relation::ALL.len()])
}

/// Whether saying that an object is on this side of something is held out.
pub fn said(object: &Object, relation: Relation) -> bool {
    matches!(object.kind, Kind::Sticker { noun, .. } if self::relation(noun) == Some(relation))
}
