//! Boxes in pixels to location bins and back: the only place where either is written (reference §5.2).
//!
//! The arithmetic is that of the original, in its precisions, because a bin decided by rounding must not
//! differ from the one that a checkpoint was trained on.

/// Coordinates are divided by this whatever the image's side, which is why a model that looks at 480 pixels
/// never uses the upper bins.
pub const MAX_IMAGE_SIZE: f32 = 512.0;

/// Left, top, right, bottom.
pub type Corners<T> = [T; 4];

/// How much an image was scaled on the way to the model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// Width seen by the model over width of the image.
    pub x: f32,
    /// Height seen by the model over height of the image.
    pub y: f32,
}

impl Ratio {
    /// The ratio of a resize from `(width, height)` to `(width, height)`.
    pub fn new(from: (u32, u32), to: (u32, u32)) -> Self {
        let ratio = |from: u32, to: u32| (f64::from(to) / f64::from(from.max(1))) as f32;
        Self { x: ratio(from.0, to.0), y: ratio(from.1, to.1) }
    }

    /// One factor a coordinate.
    fn corners(self) -> Corners<f32> {
        [self.x, self.y, self.x, self.y]
    }
}

/// The bins of a box given in pixels of the original image.
///
/// Coordinates outside the image go to the nearest bin, and so does what is not a number.
pub fn quantise(corners: Corners<f32>, ratio: Ratio, num_bins: usize) -> Corners<usize> {
    let last = num_bins.saturating_sub(1) as f32;
    let factors = ratio.corners();
    std::array::from_fn(|i| {
        let bin = (corners[i] * factors[i] / MAX_IMAGE_SIZE * last).round_ties_even();
        // The conversion saturates, and turns NaN into 0.
        bin.clamp(0.0, last) as usize
    })
}

/// The box in pixels of the original image that some bins stand for.
pub fn dequantise(bins: Corners<usize>, ratio: Ratio, num_bins: usize) -> Corners<f64> {
    let last = num_bins.saturating_sub(1).max(1) as f32;
    let factors = ratio.corners();
    std::array::from_fn(|i| f64::from(bins[i] as f32 / last * MAX_IMAGE_SIZE) / f64::from(factors[i]))
}
