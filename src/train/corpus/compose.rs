//! Random scenes that hold what a split may hold and hide nothing too much.

use super::describe::Head;
use super::held_out::{self, HeldOut};
use super::nouns::Noun;
use super::options::Level;
use super::render::Painter;
use super::scene::{Kind, Light, Object, Scene};
use super::words::{Category, Colour, Ground, Pattern, Shape, Size, Style, Written};
use crate::error::{Error, Result};
use fastrand::Rng;

/// Scenes are thrown away until one fits; that so many do not is a mistake in the options.
const TRIES: usize = 400;
/// Places tried for an object before the scene does without it.
const PLACES: usize = 30;
/// The share of an object that others may hide; a word must stay readable.
const MAX_HIDDEN: f32 = 0.3;
const MAX_HIDDEN_SIGN: f32 = 0.0;
/// Things of one kind that are nearer than this share of their radii together look like one.
const APART: f32 = 0.8;
/// Points a side of an object's box at which its visibility is tested.
const PROBES: usize = 12;
/// Objects with a sign.
const MOST_WITH_SIGN: usize = 3;

/// What a scene is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Training, or evaluation of the same kind of pictures.
    Seen,
    /// A scene that holds something held out.
    HeldOut(HeldOut),
}

/// What scenes are made of.
#[derive(Debug)]
pub struct Composer {
    pub nouns: Vec<Noun>,
    pub styles: Vec<Style>,
    pub held_out_style: Option<Style>,
    pub max_objects: usize,
    pub signs: f32,
}

/// An object before it has a place.
type Planned = (Kind, Size);

impl Composer {
    /// Whether the world has what a split needs.
    pub fn offers(&self, split: Split) -> bool {
        let animals = self.nouns.iter().any(|noun| noun.category() == held_out::COUNT.0);
        match split {
            Split::Seen | Split::HeldOut(HeldOut::Pair) => true,
            Split::HeldOut(HeldOut::Relation) => self.relational().next().is_some() && self.max_objects > 1,
            Split::HeldOut(HeldOut::Count) => animals && self.max_objects >= held_out::COUNT.1,
            Split::HeldOut(HeldOut::Style) => self.held_out_style.is_some() && !self.nouns.is_empty(),
        }
    }

    fn relational(&self) -> impl Iterator<Item = Noun> {
        self.nouns.iter().copied().filter(|&noun| held_out::relation(noun).is_some())
    }

    /// A scene.
    ///
    /// # Errors
    /// [`Error::Option`] if the options leave no scene of this kind.
    pub fn compose(&self, painter: &Painter, level: Level, split: Split, rng: &mut Rng) -> Result<Scene> {
        for _ in 0..TRIES {
            if let Some(planned) = self.plan(painter, level, split, rng)
                && let Some(scene) = self.place(painter, planned, rng)?
                && self.belongs(&scene, split)
            {
                return Ok(scene);
            }
        }
        Err(Error::option("scenes", format!("a world with {split:?} scenes"), "options that leave none"))
    }

    /// Whether a scene holds what its split asks for and nothing else that is held out.
    fn belongs(&self, scene: &Scene, split: Split) -> bool {
        let wanted = |what: HeldOut| split == Split::HeldOut(what);
        let pairs = scene.objects.iter().filter(|object| is_pair(object.kind)).count();
        let (category, most) = held_out::COUNT;
        let of_category =
            |object: &&Object| matches!(object.kind, Kind::Sticker { noun, .. } if noun.category() == category);
        let counted = scene.objects.iter().filter(of_category).count() == most;
        (pairs == usize::from(wanted(HeldOut::Pair)))
            && counted == wanted(HeldOut::Count)
            && (!wanted(HeldOut::Relation) || relational_object(scene).is_some())
    }

    fn plan(&self, painter: &Painter, level: Level, split: Split, rng: &mut Rng) -> Option<Vec<Planned>> {
        let most = match level {
            Level::One => 1,
            Level::Two => 2,
            Level::Several => self.max_objects,
        };
        let most = if split == Split::HeldOut(HeldOut::Relation) { most.max(2) } else { most }.min(self.max_objects);
        let held_style = split == Split::HeldOut(HeldOut::Style);
        let style_of = |noun: Noun, rng: &mut Rng| {
            let styles = if held_style { self.held_out_style.as_slice() } else { &self.styles };
            rng.choice(
                styles.iter().copied().filter(|&style| painter.stickers.get(noun, style).is_some()).collect::<Vec<_>>(),
            )
        };
        let sticker = |noun: Option<Noun>, rng: &mut Rng| {
            let noun = noun?;
            Some(Kind::Sticker { noun, style: style_of(noun, rng)? })
        };
        let any = |rng: &mut Rng| {
            let noun = rng.choice(self.nouns.iter().copied());
            let shape = noun.is_none() || rng.f32() < 0.45;
            if shape { Some(random_shape(rng)) } else { sticker(noun, rng) }
        };
        let again = |kind: Kind, rng: &mut Rng| match kind {
            Kind::Sticker { noun, .. } => sticker(Some(noun), rng),
            Kind::Shape { shape, colour, .. } if rng.bool() => {
                Some(Kind::Shape { shape, colour, pattern: random_pattern(rng) })
            }
            Kind::Shape { shape, .. } => Some(random_shape_of(shape, rng)),
            Kind::Sign { .. } => None,
        };

        let mut kinds = Vec::new();
        match split {
            Split::HeldOut(HeldOut::Pair) => {
                let (colour, shape) = rng.choice(held_out::pairs().iter().copied())?;
                kinds.push(Kind::Shape { shape, colour, pattern: random_pattern(rng) });
            }
            Split::HeldOut(HeldOut::Relation) => {
                kinds.push(sticker(rng.choice(self.relational().collect::<Vec<_>>()), rng)?)
            }
            Split::HeldOut(HeldOut::Count) => {
                let animals = self.nouns.iter().copied().filter(|noun| noun.category() == Category::Animal);
                let animal = rng.choice(animals.collect::<Vec<_>>());
                for _ in 0..held_out::COUNT.1 {
                    kinds.push(sticker(animal, rng)?);
                }
            }
            Split::HeldOut(HeldOut::Style) => kinds.push(sticker(rng.choice(self.nouns.iter().copied()), rng)?),
            Split::Seen => kinds.push(any(rng)?),
        }
        let number = if level == Level::Several && most > 2 { rng.usize(2..=most) } else { most };
        // Several of the same make counts; two of the same make attributes tell them apart.
        let repeats = match rng.f32() {
            _ if split != Split::Seen || number < 2 => 0,
            draw if draw < 0.3 && level == Level::Several => rng.usize(1..number),
            draw if draw < 0.5 => 1,
            _ => 0,
        };
        for _ in 0..repeats {
            kinds.push(again(kinds[0], rng)?);
        }
        let sign = kinds.len() < MOST_WITH_SIGN && rng.f32() < self.signs;
        while kinds.len() < number {
            kinds.push(any(rng)?);
        }
        if sign && split == Split::Seen {
            kinds.truncate(MOST_WITH_SIGN.min(most));
            kinds.pop();
            kinds.push(Kind::Sign { word: rng.choice(Written::ALL.iter().copied())? });
        }
        let crowded = kinds.len() > 3;
        let size = |rng: &mut Rng| match rng.f32() {
            draw if draw < if crowded { 0.45 } else { 0.3 } => Size::Small,
            draw if draw < if crowded { 0.92 } else { 0.68 } => Size::Medium,
            _ => Size::Large,
        };
        let mut planned: Vec<Planned> = kinds.into_iter().map(|kind| (kind, size(rng))).collect();
        rng.shuffle(&mut planned);
        Some(planned)
    }

    /// Puts every object somewhere; `None` if one finds no place.
    fn place(&self, painter: &Painter, planned: Vec<Planned>, rng: &mut Rng) -> Result<Option<Scene>> {
        let mut objects: Vec<Object> = Vec::with_capacity(planned.len());
        for (kind, size) in planned {
            let outline = painter.outline(kind)?;
            let mut found = false;
            for _ in 0..PLACES {
                let radius = radius(kind, size, rng);
                let rotation = (rng.f32() * 2.0 - 1.0) * most_turned(kind);
                let centre = [radius + rng.f32() * (1.0 - 2.0 * radius), radius + rng.f32() * (1.0 - 2.0 * radius)];
                let region = outline.region(centre, radius, rotation);
                if region[0] <= 0.0 || region[1] <= 0.0 || region[2] >= 1.0 || region[3] >= 1.0 {
                    continue;
                }
                let shade = 0.92 + 0.16 * rng.f32();
                objects.push(Object { kind, size, centre, radius, rotation, shade, region });
                if visible(painter, &objects) {
                    found = true;
                    break;
                }
                objects.pop();
            }
            if !found {
                return Ok(None);
            }
        }
        let light = Light { angle: rng.f32() * 360.0, strength: rng.f32() * 0.3 };
        let ground = Ground::ALL[rng.usize(..Ground::ALL.len())];
        let pattern = if rng.bool() { Pattern::Plain } else { Pattern::ALL[rng.usize(1..Pattern::ALL.len())] };
        Ok(Some(Scene { ground, pattern, light, noise: rng.f32() * 6.0, seed: rng.u32(..), objects }))
    }
}

/// Whether everything can be made out now that the last object is in front of the others.
fn visible(painter: &Painter, objects: &[Object]) -> bool {
    let Some((last, others)) = objects.split_last() else { return true };
    let apart = |other: &Object| {
        let [x, y] = [0, 1].map(|axis| last.centre[axis] - other.centre[axis]);
        Head::of(last) != Head::of(other) || x.hypot(y) >= APART * (last.radius + other.radius)
    };
    let limit = |object: &Object| if Head::of(object) == Head::Sign { MAX_HIDDEN_SIGN } else { MAX_HIDDEN };
    others.iter().all(apart)
        && objects.iter().enumerate().all(|(index, object)| hidden(painter, objects, index) <= limit(object))
}

/// The share of an object that those in front of it hide.
fn hidden(painter: &Painter, objects: &[Object], index: usize) -> f32 {
    let object = &objects[index];
    let covers =
        |object: &Object, point| painter.outline(object.kind).is_ok_and(|outline| outline.covers(object, point));
    let [left, top, right, bottom] = object.region;
    let front: Vec<&Object> =
        objects[index + 1..].iter().filter(|other| overlap(other.region, object.region)).collect();
    if front.is_empty() {
        return 0.0;
    }
    let (mut own, mut covered) = (0, 0);
    for probe in 0..PROBES * PROBES {
        let share = |step: usize| (step as f32 + 0.5) / PROBES as f32;
        let point = [left + (right - left) * share(probe % PROBES), top + (bottom - top) * share(probe / PROBES)];
        if covers(object, point) {
            own += 1;
            covered += usize::from(front.iter().any(|other| covers(other, point)));
        }
    }
    covered as f32 / own.max(1) as f32
}

fn overlap(a: [f32; 4], b: [f32; 4]) -> bool {
    a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
}

/// The first object whose noun has its held-out relation to something.
pub fn relational_object(scene: &Scene) -> Option<usize> {
    scene.objects.iter().position(|object| match object.kind {
        Kind::Sticker { noun, .. } => held_out::relation(noun)
            .is_some_and(|relation| scene.objects.iter().any(|other| relation.holds(object, other) == Some(true))),
        _ => false,
    })
}

/// Whether it is a shape in a colour that training never shows it in.
pub fn is_pair(kind: Kind) -> bool {
    matches!(kind, Kind::Shape { shape, colour, .. } if held_out::pair(colour, shape))
}

/// Half of the longer side of what is called so, and how much that varies.
pub fn radius_of(size: Size) -> (f32, f32) {
    match size {
        Size::Small => (0.095, 0.01),
        Size::Medium => (0.15, 0.014),
        Size::Large => (0.23, 0.025),
    }
}

fn radius(kind: Kind, size: Size, rng: &mut Rng) -> f32 {
    let (middle, spread) = match (kind, size) {
        // A letter takes the same room whatever the word.
        (Kind::Sign { word }, _) => (0.075 * word.word().len() as f32 + 0.06, 0.02),
        (_, size) => radius_of(size),
    };
    middle + spread * (rng.f32() * 2.0 - 1.0)
}

/// A square that is turned further is a diamond.
fn most_turned(kind: Kind) -> f32 {
    match kind {
        Kind::Shape { shape: Shape::Square | Shape::Cross, .. } => 18.0,
        Kind::Shape { .. } => 30.0,
        Kind::Sticker { .. } => 20.0,
        Kind::Sign { .. } => 6.0,
    }
}

fn random_pattern(rng: &mut Rng) -> Pattern {
    if rng.f32() < 0.7 { Pattern::Plain } else { Pattern::ALL[rng.usize(1..Pattern::ALL.len())] }
}

fn random_shape(rng: &mut Rng) -> Kind {
    random_shape_of(Shape::ALL[rng.usize(..Shape::ALL.len())], rng)
}

/// In a colour that training may show it in.
fn random_shape_of(shape: Shape, rng: &mut Rng) -> Kind {
    let allowed = Colour::ALL.iter().copied().filter(|&colour| !held_out::pair(colour, shape));
    let colour = rng.choice(allowed.collect::<Vec<_>>()).unwrap_or(Colour::Red);
    Kind::Shape { shape, colour, pattern: random_pattern(rng) }
}
