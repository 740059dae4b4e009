//! Shapes and signs as paths in their own square, whose sides go from -1 to 1.

use super::outline::Outline;
use super::words::{Colour, Ground, Shape, Written};
use crate::error::{Error, Result};
use font8x8::UnicodeFonts;
use resvg::tiny_skia::{Color, FillRule, Paint, Path, PathBuilder, Pixmap, Rect, Transform};

/// Rows and columns of a letter.
const LETTER: f32 = 8.0;
/// Blank rows and columns around a sign's letters.
const MARGIN: f32 = 3.0;
/// The outline of a path is measured at this side.
const MEASURE: u32 = 128;

/// Paths of every shape and sign, and their outlines.
#[derive(Debug)]
pub struct Drawings {
    shapes: Vec<(Path, Outline)>,
    signs: Vec<Sign>,
}

/// A plate and the letters on it.
#[derive(Debug)]
pub struct Sign {
    pub plate: Path,
    pub letters: Path,
    pub outline: Outline,
}

impl Drawings {
    /// # Errors
    /// None that happens: every path has an area.
    pub fn new() -> Result<Self> {
        let shapes = Shape::ALL.iter().map(|&shape| measured(shape_path(shape)));
        Ok(Self {
            shapes: shapes.collect::<Result<_>>()?,
            signs: Written::ALL.iter().map(|&word| Sign::new(word)).collect::<Result<_>>()?,
        })
    }

    pub fn shape(&self, shape: Shape) -> &(Path, Outline) {
        &self.shapes[shape as usize]
    }

    pub fn sign(&self, word: Written) -> &Sign {
        &self.signs[word as usize]
    }
}

fn measured(path: Option<Path>) -> Result<(Path, Outline)> {
    let path = path.ok_or_else(|| Error::image("a drawing without area"))?;
    let mut pixmap = Pixmap::new(MEASURE, MEASURE).ok_or_else(|| Error::image("a drawing without area"))?;
    let half = MEASURE as f32 / 2.0;
    let transform = Transform::from_row(half, 0.0, 0.0, half, half, half);
    pixmap.fill_path(&path, &Paint::default(), FillRule::EvenOdd, transform, None);
    Ok((path, Outline::of(&pixmap)))
}

impl Sign {
    fn new(word: Written) -> Result<Self> {
        let word = word.word();
        let columns = word.len() as f32 * LETTER + 2.0 * MARGIN;
        let unit = 2.0 / columns;
        let height = (LETTER + 2.0 * MARGIN) * unit / 2.0;
        let mut letters = PathBuilder::new();
        for (place, letter) in word.chars().enumerate() {
            let rows = font8x8::BASIC_FONTS.get(letter).unwrap_or_default();
            for (y, row) in rows.into_iter().enumerate() {
                for x in (0..8).filter(|x| row >> x & 1 == 1) {
                    let left = (MARGIN + place as f32 * LETTER + x as f32) * unit - 1.0;
                    let top = (MARGIN + y as f32) * unit - height;
                    if let Some(dot) = Rect::from_xywh(left, top, unit, unit) {
                        letters.push_rect(dot);
                    }
                }
            }
        }
        let plate = Rect::from_ltrb(-1.0, -height, 1.0, height).map(PathBuilder::from_rect);
        let (plate, outline) = measured(plate)?;
        let letters = letters.finish().ok_or_else(|| Error::image(format!("no letters for `{word}`")))?;
        Ok(Self { plate, letters, outline })
    }
}

fn shape_path(shape: Shape) -> Option<Path> {
    let mut path = PathBuilder::new();
    match shape {
        Shape::Circle => path.push_circle(0.0, 0.0, 1.0),
        Shape::Square => polygon(&mut path, [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]),
        Shape::Triangle => polygon(&mut path, [(0.0, -0.9), (1.0, 0.85), (-1.0, 0.85)]),
        Shape::Star => polygon(
            &mut path,
            (0..10).map(|corner| {
                let radius = if corner % 2 == 0 { 1.05 } else { 0.45 };
                let (sin, cos) = (corner as f32 * 36.0_f32).to_radians().sin_cos();
                (radius * sin, 0.1 - radius * cos)
            }),
        ),
        Shape::Heart => {
            path.move_to(0.0, 0.95);
            path.cubic_to(-0.45, 0.6, -1.0, 0.2, -1.0, -0.35);
            path.cubic_to(-1.0, -1.05, -0.25, -1.1, 0.0, -0.5);
            path.cubic_to(0.25, -1.1, 1.0, -1.05, 1.0, -0.35);
            path.cubic_to(1.0, 0.2, 0.45, 0.6, 0.0, 0.95);
            path.close();
        }
        Shape::Cross => {
            const ARM: f32 = 0.36;
            let quarter = [(ARM, -1.0), (ARM, -ARM), (1.0, -ARM)];
            let turned = |turns: i32| quarter.map(|point| (0..turns).fold(point, |(x, y): (f32, f32), _| (-y, x)));
            polygon(&mut path, (0..4).flat_map(turned));
        }
        Shape::Ring => {
            path.push_circle(0.0, 0.0, 1.0);
            path.push_circle(0.0, 0.0, 0.55);
        }
        Shape::Crescent => {
            // Two arcs between the same tips, the inner one flatter.
            path.move_to(0.45, -1.0);
            path.cubic_to(-1.25, -0.95, -1.25, 0.95, 0.45, 1.0);
            path.cubic_to(-0.25, 0.5, -0.25, -0.5, 0.45, -1.0);
            path.close();
        }
    }
    path.finish()
}

fn polygon(path: &mut PathBuilder, corners: impl IntoIterator<Item = (f32, f32)>) {
    for (index, (x, y)) in corners.into_iter().enumerate() {
        if index == 0 { path.move_to(x, y) } else { path.line_to(x, y) }
    }
    path.close();
}

/// A colour, and the one that its pattern is drawn with.
#[derive(Debug, Clone, Copy)]
pub struct Tones {
    pub main: [f32; 3],
    pub second: [f32; 3],
}

impl Tones {
    pub fn of_shape(colour: Colour, shade: f32) -> Self {
        let main = match colour {
            Colour::Red => [0.86, 0.10, 0.12],
            Colour::Orange => [0.98, 0.52, 0.05],
            Colour::Yellow => [0.99, 0.86, 0.10],
            Colour::Green => [0.10, 0.60, 0.20],
            Colour::Blue => [0.10, 0.30, 0.86],
            Colour::Purple => [0.50, 0.14, 0.66],
            Colour::Pink => [0.98, 0.50, 0.74],
            Colour::Black => [0.08, 0.08, 0.09],
        }
        .map(|channel: f32| (channel * shade).clamp(0.0, 1.0));
        // White shows on every colour but yellow, which is as bright.
        let second = if colour == Colour::Yellow { main.map(|c| c * 0.62) } else { mixed(main, [1.0; 3], 0.62) };
        Self { main, second }
    }

    pub fn of_ground(ground: Ground) -> Self {
        let main = match ground {
            Ground::White => [0.97, 0.97, 0.96],
            Ground::Grey => [0.66, 0.67, 0.69],
            Ground::Beige => [0.91, 0.82, 0.66],
            Ground::Mint => [0.74, 0.93, 0.80],
            Ground::Sky => [0.68, 0.86, 0.97],
        };
        Self { main, second: main.map(|channel| channel * 0.86) }
    }
}

fn mixed(a: [f32; 3], b: [f32; 3], share: f32) -> [f32; 3] {
    std::array::from_fn(|channel| a[channel] * (1.0 - share) + b[channel] * share)
}

/// An opaque colour; channels from 0 to 1.
pub fn opaque([red, green, blue]: [f32; 3]) -> Color {
    Color::from_rgba(red, green, blue, 1.0).unwrap_or(Color::BLACK)
}
