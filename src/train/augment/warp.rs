//! Small warps: each pixel of the result is looked up in the source, between pixels where it falls between.
//!
//! Positions are multiples of 1/32 and weights whole numbers, as in the library that the original uses, so that results
//! do not depend on the machine.

use crate::error::Result;
use crate::image::Pixels;

/// What lies beyond the image.
const FILL: [u8; 3] = [128; 3];
/// Positions are first counted in 1/1024 of a pixel and then cut to 1/32.
const FINE: f64 = 1024.0;
const SHIFT: u32 = 5;
const STEPS: i64 = 1 << SHIFT;

/// Where a result's pixel lies in the source: `x = a·x + b·y + c`, and a row for `y`.
type Affine = [[f64; 3]; 2];

/// Slants rows: x moves by `factor` for each row down.
///
/// # Errors
/// None for an image; so of all that follow.
pub fn shear_x(pixels: &Pixels, factor: f64) -> Result<Pixels> {
    warp(pixels, [[1.0, -factor, 0.0], [0.0, 1.0, 0.0]])
}

/// Slants columns: y moves by `factor` for each column to the right.
///
/// # Errors
/// As [`shear_x`].
pub fn shear_y(pixels: &Pixels, factor: f64) -> Result<Pixels> {
    warp(pixels, [[1.0, 0.0, 0.0], [-factor, 1.0, 0.0]])
}

/// Moves the image to the left by so many pixels.
///
/// # Errors
/// As [`shear_x`].
pub fn translate_x(pixels: &Pixels, offset: f64) -> Result<Pixels> {
    warp(pixels, [[1.0, 0.0, offset], [0.0, 1.0, 0.0]])
}

/// Moves the image up by so many pixels.
///
/// # Errors
/// As [`shear_x`].
pub fn translate_y(pixels: &Pixels, offset: f64) -> Result<Pixels> {
    warp(pixels, [[1.0, 0.0, 0.0], [0.0, 1.0, offset]])
}

/// Turns the image about its middle, anticlockwise.
///
/// # Errors
/// As [`shear_x`].
pub fn rotate(pixels: &Pixels, degrees: f64) -> Result<Pixels> {
    let (x, y) = (f64::from(pixels.width()) / 2.0, f64::from(pixels.height()) / 2.0);
    let (sin, cos) = degrees.to_radians().sin_cos();
    warp(pixels, [[cos, -sin, x - cos * x + sin * y], [sin, cos, y - sin * x - cos * y]])
}

fn warp(pixels: &Pixels, [across, down]: Affine) -> Result<Pixels> {
    let (width, height) = pixels.size();
    let mut rgb = Vec::with_capacity(pixels.rgb().len());
    let place = |[a, b, c]: [f64; 3], x: u32, y: u32| {
        let fine = (a * f64::from(x) * FINE).round_ties_even() + ((b * f64::from(y) + c) * FINE).round_ties_even();
        // Half a step is added before the cut, which rounds.
        (fine as i64 + FINE as i64 / STEPS / 2) >> SHIFT
    };
    for y in 0..height {
        for x in 0..width {
            rgb.extend(between(pixels, place(across, x, y), place(down, x, y)));
        }
    }
    Pixels::from_rgb(width, height, rgb)
}

/// The colour at a position in 1/32 pixels: four pixels, weighted by how near they are.
fn between(pixels: &Pixels, x: i64, y: i64) -> [u8; 3] {
    let (right, lower) = ((x & (STEPS - 1)) as u32, (y & (STEPS - 1)) as u32);
    let (left, upper) = (STEPS as u32 - right, STEPS as u32 - lower);
    let (x, y) = (x >> SHIFT, y >> SHIFT);
    let corners = [
        (left * upper, color(pixels, x, y)),
        (right * upper, color(pixels, x + 1, y)),
        (left * lower, color(pixels, x, y + 1)),
        (right * lower, color(pixels, x + 1, y + 1)),
    ];
    let total = (STEPS * STEPS) as u32;
    std::array::from_fn(|channel| {
        let sum: u32 = corners.iter().map(|(weight, color)| weight * u32::from(color[channel])).sum();
        ((sum + total / 2) / total) as u8
    })
}

fn color(pixels: &Pixels, x: i64, y: i64) -> [u8; 3] {
    let (width, height) = pixels.size();
    if !(0..i64::from(width)).contains(&x) || !(0..i64::from(height)).contains(&y) {
        return FILL;
    }
    let at = y as usize * width as usize + x as usize;
    pixels.rgb().as_chunks::<3>().0[at]
}
