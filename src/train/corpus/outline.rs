//! Where a drawing is opaque: what it hides and how far it reaches.

use super::scene::Object;
use resvg::tiny_skia::Pixmap;

/// A pixel that is at least half covered belongs to the drawing.
const OPAQUE: u8 = 128;

/// A drawing's extent in its own square, whose sides go from -1 to 1.
#[derive(Debug)]
pub struct Outline {
    side: usize,
    opaque: Vec<bool>,
    /// The corners of each row's first and last opaque pixel: no other can be the outermost, whatever the rotation.
    rim: Vec<[f32; 2]>,
}

impl Outline {
    /// Of a drawing on a transparent square.
    pub fn of(drawing: &Pixmap) -> Self {
        let side = drawing.width() as usize;
        let opaque: Vec<bool> = drawing.pixels().iter().map(|pixel| pixel.alpha() >= OPAQUE).collect();
        let unit = |edge: usize| edge as f32 / side as f32 * 2.0 - 1.0;
        let mut rim = Vec::new();
        for (y, row) in opaque.chunks(side).enumerate() {
            let first = row.iter().position(|&opaque| opaque);
            let last = row.iter().rposition(|&opaque| opaque);
            if let (Some(first), Some(last)) = (first, last) {
                for y in [unit(y), unit(y + 1)] {
                    rim.extend([[unit(first), y], [unit(last + 1), y]]);
                }
            }
        }
        Self { side, opaque, rim }
    }

    /// The box of the object, clipped to the picture.
    pub fn region(&self, centre: [f32; 2], radius: f32, rotation: f32) -> [f32; 4] {
        let (sin, cos) = rotation.to_radians().sin_cos();
        let mut region = [f32::INFINITY, f32::INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY];
        for [x, y] in &self.rim {
            let at = [centre[0] + radius * (x * cos - y * sin), centre[1] + radius * (x * sin + y * cos)];
            for axis in 0..2 {
                region[axis] = region[axis].min(at[axis]);
                region[axis + 2] = region[axis + 2].max(at[axis]);
            }
        }
        region.map(|side| side.clamp(0.0, 1.0))
    }

    /// Whether the object covers a point of the picture.
    pub fn covers(&self, object: &Object, point: [f32; 2]) -> bool {
        let (sin, cos) = object.rotation.to_radians().sin_cos();
        let (x, y) = (point[0] - object.centre[0], point[1] - object.centre[1]);
        let (x, y) = ((x * cos + y * sin) / object.radius, (y * cos - x * sin) / object.radius);
        let pixel = |at: f32| ((at + 1.0) / 2.0 * self.side as f32).floor();
        let (x, y, side) = (pixel(x), pixel(y), self.side as f32);
        (0.0..side).contains(&x) && (0.0..side).contains(&y) && self.opaque[y as usize * self.side + x as usize]
    }
}
