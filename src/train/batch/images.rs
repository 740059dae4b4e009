//! The images of a batch, each once, and which of their patches samples see.

use super::Arrangement;
use crate::config::STEM_STRIDE;
use crate::error::{Error, Result};
use crate::train::sample::{PatchImage, Sample};
use std::sync::Arc;

#[derive(Debug, Clone)]
pub struct Images {
    /// Each image once, `[n, 3, height, width]`.
    pub values: Vec<f32>,
    pub height: usize,
    pub width: usize,
    /// For each sample its image.
    pub index: Vec<Option<usize>>,
    /// Patches kept of each sample, in this order.
    pub order: Option<Vec<Vec<usize>>>,
    /// For each image the tokens that name what lies in each patch, where that is known.
    pub names: Vec<Option<Arc<Vec<Vec<u32>>>>>,
}

impl Images {
    pub fn new(samples: &[Sample], Arrangement { keep, seed, .. }: Arrangement) -> Result<Option<Self>> {
        let mut images: Vec<&Arc<PatchImage>> = Vec::new();
        let mut number = |image| {
            // Neighbours share images, so the search looks at the last first.
            images.iter().rposition(|known| Arc::ptr_eq(known, image)).unwrap_or_else(|| {
                images.push(image);
                images.len() - 1
            })
        };
        let index: Vec<Option<usize>> = samples.iter().map(|sample| sample.image.as_ref().map(&mut number)).collect();
        let Some(first) = images.first() else { return Ok(None) };
        let (width, height) = (first.width, first.height);
        if let Some(other) = images.iter().find(|image| (image.width, image.height) != (width, height)) {
            let found = format!("images of {width} x {height} and {} x {}", other.width, other.height);
            return Err(Error::image(format!("one batch holds {found}")));
        }
        let patches = patches(width, height);
        let order = keep.filter(|keep| *keep < patches).map(|keep| {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut drawn = || {
                let mut order: Vec<usize> = (0..patches).collect();
                random.shuffle(&mut order);
                order.truncate(keep);
                order
            };
            samples.iter().map(|_| drawn()).collect()
        });
        let values = images.iter().flat_map(|image| image.values.iter().copied()).collect();
        let mut names = vec![None; images.len()];
        for (sample, image) in samples.iter().zip(&index) {
            if let (Some(image), Some(known)) = (*image, &sample.patch_names) {
                names[image] = Some(known.clone());
            }
        }
        Ok(Some(Self { values, height, width, index, order, names }))
    }

    /// Different images.
    pub fn count(&self) -> usize {
        self.values.len() / (3 * self.height * self.width)
    }

    /// Patches of each.
    pub fn all(&self) -> usize {
        patches(self.width, self.height)
    }

    /// The patch of a sample's image that is kept at this place.
    pub fn patch(&self, sample: usize, place: usize) -> usize {
        self.order.as_ref().map_or(place, |order| order[sample][place])
    }

    /// Patches that the encoder reads of each.
    pub fn kept(&self) -> usize {
        self.order.as_ref().and_then(|order| order.first()).map_or(self.all(), Vec::len)
    }
}

fn patches(width: usize, height: usize) -> usize {
    width.div_ceil(STEM_STRIDE) * height.div_ceil(STEM_STRIDE)
}
