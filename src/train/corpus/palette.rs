//! What a scene maker needs to draw as the generator draws: shapes as paths, colours, backgrounds, sizes, stickers.

use super::compose::radius_of;
use super::drawing::Tones;
use super::render::{GROUND_REPEATS, RIM, SHAPE_REPEAT};
use super::stickers::vectors;
use super::words::{Colour, Ground, Pattern, Shape, Size, Style};
use super::world::World;
use crate::error::Result;
use resvg::tiny_skia::{Path, PathSegment};
use serde::Serialize;
use std::fmt::Write;

/// The artists whose drawings the scene maker offers: under the shortest licence, and the smallest files.
const OFFERED: Style = Style::Fluent;

/// Lengths in drawings are those of a square whose sides go from -1 to 1, others are shares of the picture's side.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Palette {
    /// The most objects that the model was shown together.
    pub max_objects: usize,
    pub shapes: Vec<Drawn>,
    pub colours: Vec<Toned>,
    pub grounds: Vec<Toned>,
    pub patterns: Vec<&'static str>,
    pub sizes: Vec<Scaled>,
    pub stickers: Vec<Drawn>,
    /// The width of a shape's rim, and the period of its pattern.
    pub rim: f32,
    pub shape_repeat: f32,
    /// How often the pattern of a background repeats along a side.
    pub ground_repeats: f32,
}

#[derive(Debug, Serialize)]
pub struct Drawn {
    pub word: &'static str,
    /// A path in SVG's notation, or a whole SVG.
    pub drawing: String,
}

/// A colour and the one that its pattern is drawn with, in CSS.
#[derive(Debug, Serialize)]
pub struct Toned {
    pub word: &'static str,
    pub main: String,
    pub second: String,
}

#[derive(Debug, Serialize)]
pub struct Scaled {
    pub word: &'static str,
    /// Half of an object's longer side.
    pub radius: f32,
}

impl World {
    /// Of what this world holds and the crate ships.
    ///
    /// # Errors
    /// Those of the stickers.
    pub fn palette(&self) -> Result<Palette> {
        let path = |shape: &Shape| self.painter().drawings.shape(*shape).0.clone();
        let stickers = vectors(OFFERED, self.nouns())?;
        Ok(Palette {
            max_objects: self.options().max_objects,
            shapes: Shape::ALL.iter().map(|shape| Drawn { word: shape.word(), drawing: svg(&path(shape)) }).collect(),
            colours: Colour::ALL.iter().map(|colour| toned(colour.word(), Tones::of_shape(*colour, 1.0))).collect(),
            grounds: Ground::ALL.iter().map(|ground| toned(ground.word(), Tones::of_ground(*ground))).collect(),
            patterns: Pattern::ALL.iter().map(|pattern| pattern.word()).collect(),
            sizes: Size::ALL.iter().map(|size| Scaled { word: size.word(), radius: radius_of(*size).0 }).collect(),
            stickers: stickers.into_iter().map(|(noun, drawing)| Drawn { word: noun.word(), drawing }).collect(),
            rim: RIM,
            shape_repeat: SHAPE_REPEAT,
            ground_repeats: GROUND_REPEATS,
        })
    }
}

fn toned(word: &'static str, Tones { main, second }: Tones) -> Toned {
    Toned { word, main: css(main), second: css(second) }
}

fn css(tone: [f32; 3]) -> String {
    let [red, green, blue] = tone.map(|channel| (channel * 255.0).round() as u8);
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn svg(path: &Path) -> String {
    let mut text = String::new();
    for segment in path.segments() {
        let (letter, points) = match segment {
            PathSegment::MoveTo(to) => ('M', vec![to]),
            PathSegment::LineTo(to) => ('L', vec![to]),
            PathSegment::QuadTo(by, to) => ('Q', vec![by, to]),
            PathSegment::CubicTo(by, and, to) => ('C', vec![by, and, to]),
            PathSegment::Close => ('Z', vec![]),
        };
        text.push(letter);
        for (place, point) in points.into_iter().enumerate() {
            let gap = if place > 0 { " " } else { "" };
            // Writing to a text never fails.
            let _ = write!(text, "{gap}{} {}", short(point.x), short(point.y));
        }
    }
    text
}

/// Four digits draw the same.
fn short(coordinate: f32) -> f32 {
    (coordinate * 1e4).round() / 1e4
}
