//! An image and boxes on it: whatever moves the pixels moves the boxes.

use crate::error::{Error, Result};
use crate::image::{Pixels, resize_aspect, resize_bicubic};
use crate::vocab::boxes::Ratio;

/// An image and what is where in it.
#[derive(Debug, Clone)]
pub struct Picture {
    pub pixels: Pixels,
    /// Left, top, right, bottom in pixels, and what is there.
    pub boxes: Vec<([f32; 4], String)>,
}

impl Picture {
    pub fn new(pixels: Pixels) -> Self {
        Self { pixels, boxes: Vec::new() }
    }

    /// Resizes to exactly `width` x `height`.
    ///
    /// # Errors
    /// [`Error::Image`] if the size is zero or too large; so of all that follow.
    pub fn resized(mut self, width: u32, height: u32) -> Result<Self> {
        let Ratio { x, y } = Ratio::new(self.pixels.size(), (width, height));
        self.pixels = resize_bicubic(&self.pixels, width, height)?;
        self.move_boxes(|[left, top, right, bottom]| [left * x, top * y, right * x, bottom * y]);
        Ok(self)
    }

    /// Resizes so that the shorter side becomes `short`, cutting the longer off at `longest`.
    ///
    /// # Errors
    /// As [`Picture::resized`].
    pub fn resized_to_short_side(self, short: u32, longest: u32) -> Result<Self> {
        let (width, height) = resize_aspect(self.pixels.size(), short, Some(longest));
        self.resized(width, height)
    }

    /// Left becomes right.
    ///
    /// # Errors
    /// As [`Picture::resized`].
    pub fn mirrored(mut self) -> Result<Self> {
        let (width, height) = self.pixels.size();
        let rows = self.pixels.rgb().chunks_exact(width as usize * 3);
        let rgb = rows.flat_map(|row| row.as_chunks::<3>().0.iter().rev().copied().flatten()).collect();
        self.pixels = Pixels::from_rgb(width, height, rgb)?;
        let width = width as f32;
        self.move_boxes(|[left, top, right, bottom]| [width - right, top, width - left, bottom]);
        Ok(self)
    }

    /// Cuts out a rectangle, black where it reaches beyond the image. Boxes are clipped to it and never dropped.
    ///
    /// # Errors
    /// As [`Picture::resized`].
    pub fn cropped(mut self, left: i64, top: i64, width: u32, height: u32) -> Result<Self> {
        let (from_width, from_height) = self.pixels.size();
        crate::image::check_size(width, height)?;
        let mut rgb = vec![0; width as usize * height as usize * 3];
        let columns = left.max(0)..(left + i64::from(width)).min(i64::from(from_width));
        if !columns.is_empty() {
            let bytes = (columns.end - columns.start) as usize * 3;
            for row in 0..i64::from(height) {
                let from = row + top;
                if !(0..i64::from(from_height)).contains(&from) {
                    continue;
                }
                let source = (from as usize * from_width as usize + columns.start as usize) * 3;
                let target = (row as usize * width as usize + (columns.start - left) as usize) * 3;
                rgb[target..][..bytes].copy_from_slice(&self.pixels.rgb()[source..][..bytes]);
            }
        }
        self.pixels = Pixels::from_rgb(width, height, rgb)?;
        let (left, top, width, height) = (left as f32, top as f32, width as f32, height as f32);
        self.move_boxes(|corners| {
            let [x0, y0, x1, y1] = corners;
            [
                (x0 - left).clamp(0.0, width),
                (y0 - top).clamp(0.0, height),
                (x1 - left).clamp(0.0, width),
                (y1 - top).clamp(0.0, height),
            ]
        });
        Ok(self)
    }

    /// The square in the middle.
    ///
    /// # Errors
    /// As [`Picture::resized`].
    pub fn center_crop(self, side: u32) -> Result<Self> {
        let start = |length: u32| ((f64::from(length) - f64::from(side)) / 2.0).round_ties_even() as i64;
        let (left, top) = (start(self.pixels.width()), start(self.pixels.height()));
        self.cropped(left, top, side, side)
    }

    /// The square around the first box, pushed back into the image where it reaches beyond.
    ///
    /// # Errors
    /// As [`Picture::resized`], and if there is no box.
    pub fn crop_around_first(self, side: u32) -> Result<Self> {
        let Some(([left, top, right, bottom], _)) = self.boxes.first().cloned() else {
            return Err(Error::image("there is no box to cut the image around"));
        };
        let half = side as f32 / 2.0;
        // The original rounds where it cuts pixels and not where it moves boxes; here both take the same step.
        let start = |low: f32, high: f32, length: u32| {
            let center = (low + high) / 2.0;
            (center - half + (length as f32 - center - half).min(0.0)).max(0.0).round_ties_even() as i64
        };
        let (x, y) = (start(left, right, self.pixels.width()), start(top, bottom, self.pixels.height()));
        self.cropped(x, y, side, side)
    }

    /// Forgets boxes of which nothing is left.
    pub fn drop_empty(&mut self) {
        self.boxes.retain(|([left, top, right, bottom], _)| left < right && top < bottom);
    }

    fn move_boxes(&mut self, to: impl Fn([f32; 4]) -> [f32; 4]) {
        for (corners, _) in &mut self.boxes {
            *corners = to(*corners);
        }
    }
}
