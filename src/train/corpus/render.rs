//! From a scene to pixels.

use super::drawing::{Drawings, Sign, Tones, opaque};
use super::outline::Outline;
use super::scene::{Kind, Object, Scene};
use super::stickers::Stickers;
use super::words::Pattern as Fill;
use crate::error::{Error, Result};
use crate::image::Pixels;
use resvg::tiny_skia::{
    Color, FillRule, FilterQuality, LineJoin, Paint, Pattern, Pixmap, PixmapPaint, Rect, Shader, SpreadMode, Stroke,
    Transform,
};

/// Pixels of a pattern's tile.
const TILE: u32 = 16;
/// How often a background's pattern repeats along a side.
pub const GROUND_REPEATS: f32 = 9.0;
/// A shape's pattern repeats after this share of its half side.
pub const SHAPE_REPEAT: f32 = 0.55;
/// The width of a shape's rim, as a share of its half side.
pub const RIM: f32 = 0.07;

/// What pictures are drawn with.
#[derive(Debug)]
pub struct Painter {
    pub drawings: Drawings,
    pub stickers: Stickers,
}

impl Painter {
    /// What an object covers.
    ///
    /// # Errors
    /// [`Error::Image`] for a sticker that was not loaded.
    pub fn outline(&self, kind: Kind) -> Result<&Outline> {
        match kind {
            Kind::Shape { shape, .. } => Ok(&self.drawings.shape(shape).1),
            Kind::Sign { word } => Ok(&self.drawings.sign(word).outline),
            Kind::Sticker { noun, style } => match self.stickers.get(noun, style) {
                Some(sticker) => Ok(&sticker.outline),
                None => Err(Error::image(format!("no drawing of `{}` in the style {}", noun.word(), style.word()))),
            },
        }
    }

    /// The picture, `side` pixels wide and high.
    ///
    /// # Errors
    /// [`Error::Image`] for a side of zero or a sticker that was not loaded.
    pub fn render(&self, scene: &Scene, side: u32) -> Result<Pixels> {
        let mut canvas =
            Pixmap::new(side, side).ok_or_else(|| Error::image(format!("{side} pixels: the image is empty")))?;
        self.ground(scene, &mut canvas);
        for object in &scene.objects {
            self.object(object, &mut canvas)?;
        }
        Pixels::from_rgb(side, side, lit(scene, &canvas))
    }

    /// One object on a canvas.
    ///
    /// # Errors
    /// [`Error::Image`] for a sticker that was not loaded.
    pub fn object(&self, object: &Object, canvas: &mut Pixmap) -> Result<()> {
        let side = canvas.width() as f32;
        let scale = object.radius * side;
        let place = Transform::from_scale(scale, scale)
            .post_rotate(object.rotation)
            .post_translate(object.centre[0] * side, object.centre[1] * side);
        match object.kind {
            Kind::Shape { shape, colour, pattern } => {
                let (path, _) = self.drawings.shape(shape);
                let tones = Tones::of_shape(colour, object.shade);
                let tile = tile(pattern, tones);
                let repeat = SHAPE_REPEAT / TILE as f32;
                let paint = filled(tile.as_ref(), tones.main, Transform::from_scale(repeat, repeat));
                canvas.fill_path(path, &paint, FillRule::EvenOdd, place, None);
                let rim = solid(opaque(tones.main.map(|channel| channel * 0.72)));
                // Drawn smaller, so that the rim's outer half stays within the box.
                let stroke = Stroke { width: RIM, line_join: LineJoin::Round, ..Stroke::default() };
                let inner = place.pre_scale(1.0 - RIM / 2.0, 1.0 - RIM / 2.0);
                canvas.stroke_path(path, &rim, &stroke, inner, None);
            }
            Kind::Sign { word } => {
                let Sign { plate, letters, .. } = self.drawings.sign(word);
                canvas.fill_path(plate, &solid(Color::from_rgba8(252, 250, 240, 255)), FillRule::Winding, place, None);
                let ink = solid(Color::from_rgba8(30, 30, 40, 255));
                let stroke = Stroke { width: 0.04, ..Stroke::default() };
                canvas.stroke_path(plate, &ink, &stroke, place.pre_scale(0.98, 0.94), None);
                canvas.fill_path(letters, &ink, FillRule::Winding, place, None);
            }
            Kind::Sticker { noun, style } => {
                let sticker = self.stickers.get(noun, style);
                let sticker = sticker.ok_or_else(|| Error::image(format!("no drawing of `{}`", noun.word())))?;
                let copy = sticker.copy(2.0 * scale);
                let unit = 2.0 / copy.width() as f32;
                let paint = PixmapPaint { quality: FilterQuality::Bilinear, ..PixmapPaint::default() };
                let place = place.pre_translate(-1.0, -1.0).pre_scale(unit, unit);
                canvas.draw_pixmap(0, 0, copy.as_ref(), &paint, place, None);
            }
        }
        Ok(())
    }

    fn ground(&self, scene: &Scene, canvas: &mut Pixmap) {
        let side = canvas.width() as f32;
        let tones = Tones::of_ground(scene.ground);
        let tile = tile(scene.pattern, tones);
        let repeat = side / (GROUND_REPEATS * TILE as f32);
        let turn = (scene.seed % 4) as f32 * 45.0;
        let paint = filled(tile.as_ref(), tones.main, Transform::from_scale(repeat, repeat).post_rotate(turn));
        if let Some(all) = Rect::from_xywh(0.0, 0.0, side, side) {
            canvas.fill_rect(all, &paint, Transform::identity(), None);
        }
    }
}

fn solid(colour: Color) -> Paint<'static> {
    Paint { shader: Shader::SolidColor(colour), ..Paint::default() }
}

fn filled(tile: Option<&Pixmap>, main: [f32; 3], transform: Transform) -> Paint<'_> {
    match tile {
        Some(tile) => {
            let shader = Pattern::new(tile.as_ref(), SpreadMode::Repeat, FilterQuality::Bilinear, 1.0, transform);
            Paint { shader, ..Paint::default() }
        }
        None => solid(opaque(main)),
    }
}

/// One period of a pattern; none for plain.
fn tile(fill: Fill, tones: Tones) -> Option<Pixmap> {
    let half = TILE / 2;
    let second = |x: u32, y: u32| match fill {
        Fill::Plain => false,
        Fill::Striped => x < half,
        Fill::Checked => (x < half) == (y < half),
        Fill::Dotted => {
            let [x, y] = [x, y].map(|at| at as f32 + 0.5 - half as f32);
            x * x + y * y < (0.33 * TILE as f32).powi(2)
        }
    };
    if fill == Fill::Plain {
        return None;
    }
    let mut tile = Pixmap::new(TILE, TILE)?;
    let [main, second_tone] = [tones.main, tones.second].map(|tone| opaque(tone).premultiply().to_color_u8());
    for (index, pixel) in tile.pixels_mut().iter_mut().enumerate() {
        let (x, y) = (index as u32 % TILE, index as u32 / TILE);
        *pixel = if second(x, y) { second_tone } else { main };
    }
    Some(tile)
}

/// The canvas under the scene's light, with noise, without alpha.
fn lit(scene: &Scene, canvas: &Pixmap) -> Vec<u8> {
    let side = canvas.width() as usize;
    let (sin, cos) = scene.light.angle.to_radians().sin_cos();
    let mut rng = fastrand::Rng::with_seed(scene.seed.into());
    let mut rgb = Vec::with_capacity(side * side * 3);
    for (index, pixel) in canvas.pixels().iter().enumerate() {
        let along = |at: usize| (at as f32 + 0.5) / side as f32 - 0.5;
        let depth = 0.5 + (along(index % side) * cos + along(index / side) * sin) * std::f32::consts::FRAC_1_SQRT_2;
        let brightness = 1.0 - scene.light.strength * depth;
        // The sum of two bytes is triangular around 255, with a deviation of 104.5.
        let bits = rng.u32(..);
        let noise = ((bits & 255) as f32 + (bits >> 8 & 255) as f32 - 255.0) / 104.5 * scene.noise;
        rgb.extend(
            [pixel.red(), pixel.green(), pixel.blue()].map(|channel| (f32::from(channel) * brightness + noise) as u8),
        );
    }
    rgb
}
