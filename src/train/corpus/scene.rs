//! A picture as data: everything that can be said of it follows from here, and [`super::render`] draws it.

use super::describe::Description;
use super::nouns::Noun;
use super::words::{Colour, Ground, Pattern, Place, Relation, Shape, Size, Style, Written};
use serde::{Deserialize, Serialize};

/// Centres this far apart, as a share of the picture's side, are left or right, above or below of one another. Nearer
/// than that nobody is asked.
const CLEAR: f32 = 0.09;
/// Centres this near to a border between thirds have no place.
const BORDER: f32 = 0.025;
/// A patch that an object fills less than this shows the background.
const LEAST_SHARE: f32 = 0.25;

/// A picture. Lengths are shares of its side, from the top left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    pub ground: Ground,
    pub pattern: Pattern,
    pub light: Light,
    /// The deviation of the noise on every pixel, of 255.
    pub noise: f32,
    /// What noise and texture are drawn from.
    pub seed: u32,
    /// From the back to the front.
    pub objects: Vec<Object>,
}

/// Brightness that falls off along a direction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Light {
    /// Degrees.
    pub angle: f32,
    /// How much darker the dark side is, from 0 to 1.
    pub strength: f32,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Object {
    #[serde(flatten)]
    pub kind: Kind,
    pub size: Size,
    pub centre: [f32; 2],
    /// Half of its longer side before it is turned.
    pub radius: f32,
    /// Degrees, clockwise.
    pub rotation: f32,
    /// A factor of its colour's brightness.
    pub shade: f32,
    /// The box that it fills, hidden parts too: left, top, right, bottom.
    pub region: [f32; 4],
}

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Kind {
    Shape {
        shape: Shape,
        colour: Colour,
        pattern: Pattern,
    },
    Sticker {
        noun: Noun,
        style: Style,
    },
    /// A plate with a word on it.
    Sign {
        word: Written,
    },
}

impl Relation {
    /// Whether the first object has this relation to the second; `None` if that is a matter of opinion.
    pub fn holds(self, a: &Object, b: &Object) -> Option<bool> {
        let by = match self {
            Self::Left => b.centre[0] - a.centre[0],
            Self::Right => a.centre[0] - b.centre[0],
            Self::Above => b.centre[1] - a.centre[1],
            Self::Below => a.centre[1] - b.centre[1],
        };
        (by.abs() >= CLEAR).then_some(by > 0.0)
    }
}

impl Object {
    /// The third of the picture that its centre is clearly in.
    pub fn place(&self) -> Option<Place> {
        let third = |at: f32| {
            let near = (at - 1.0 / 3.0).abs().min((at - 2.0 / 3.0).abs()) < BORDER;
            (!near).then_some((at * 3.0).clamp(0.0, 2.0) as usize)
        };
        Some(Place::ALL[third(self.centre[1])? * 3 + third(self.centre[0])?])
    }

    /// In a word or two: `red circle`, `fox`, `sign`.
    pub fn label(&self) -> String {
        match self.kind {
            Kind::Shape { shape, colour, .. } => format!("{} {}", colour.word(), shape.word()),
            Kind::Sticker { noun, .. } => noun.word().to_owned(),
            Kind::Sign { .. } => "sign".to_owned(),
        }
    }
}

impl Scene {
    /// The numbers of the objects as one reads: by the top of their boxes, then from the left.
    pub fn reading_order(&self) -> Vec<usize> {
        let corner = |at: usize| self.objects[at].region;
        let mut order: Vec<usize> = (0..self.objects.len()).collect();
        order.sort_by(|a, b| {
            let (a, b) = (corner(*a), corner(*b));
            a[1].total_cmp(&b[1]).then(a[0].total_cmp(&b[0]))
        });
        order
    }

    pub fn in_reading_order(&self) -> impl Iterator<Item = &Object> {
        self.reading_order().into_iter().map(|at| &self.objects[at])
    }

    /// The object in each patch of a grid of so many a side, row by row: the one whose centre lies there, else the one
    /// that fills most of it and at least a quarter.
    pub fn objects_in_patches(&self, side: usize) -> Vec<Option<usize>> {
        let share = |object: &Object, patch: [f32; 4]| {
            let centred = (0..2).all(|axis| (patch[axis]..patch[axis + 2]).contains(&object.centre[axis]));
            let [width, height] = [0, 1].map(|axis| {
                (object.region[axis + 2].min(patch[axis + 2]) - object.region[axis].max(patch[axis])).max(0.0)
            });
            if centred { 1.0 } else { width * height * (side * side) as f32 }
        };
        let object = |at: usize| {
            let [left, top] = [at % side, at / side].map(|step| step as f32 / side as f32);
            let patch = [left, top, left + 1.0 / side as f32, top + 1.0 / side as f32];
            // Of equals the last, which is in front.
            let shares = self.objects.iter().map(|object| share(object, patch)).enumerate();
            let most = shares.max_by(|(_, a), (_, b)| a.total_cmp(b));
            most.filter(|(_, share)| *share >= LEAST_SHARE).map(|(object, _)| object)
        };
        (0..side * side).map(object).collect()
    }

    /// What lies in a patch that shows this object, or none: the background. `striped red circle`, `fox`, `dotted beige`.
    pub fn label(&self, object: Option<usize>) -> String {
        let shown = |object: usize| Description { size: None, ..Description::full(&self.objects[object]) }.singular();
        object.map_or_else(|| format!("{} {}", self.pattern.word(), self.ground.word()), shown)
    }

    /// The word on its sign.
    pub fn written(&self) -> Option<Written> {
        self.objects.iter().find_map(|object| match object.kind {
            Kind::Sign { word } => Some(word),
            _ => None,
        })
    }
}
