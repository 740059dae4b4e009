//! Relative biases. The encoder's: image-image and text-text pairs from their tables, nothing between image and text.
//! The decoder's: tokens or image codes.

use super::position::{Buckets, RelativeTables, raster_bucket, raster_place, token_bucket};
use crate::kernels::{Pairs, RelativeRow};
use burn::tensor::{Device, Tensor};

/// Where patches lie, from which the rows of a table of image positions follow.
pub struct PatchBuckets {
    /// Places of a raster: one list for all samples, or a list a sample.
    places: Vec<Vec<usize>>,
    bucket_size: usize,
}

impl PatchBuckets {
    /// Of position ids other than 0, in one list for all samples or a list a sample.
    pub fn new(ids: &[Vec<usize>], bucket_size: usize) -> Self {
        let places = |ids: &Vec<usize>| ids.iter().map(|id| raster_place(*id, bucket_size)).collect();
        Self { places: ids.iter().map(places).collect(), bucket_size }
    }

    fn row(&self, sample: usize, query: usize, key: usize) -> usize {
        let places = &self.places[sample];
        raster_bucket(places[query], places[key], self.bucket_size)
    }
}

/// What one source's pairs look up in every layer's tables.
#[allow(clippy::large_enum_variant)] // There is one at a time.
pub enum RelativeBias {
    /// One pass of a kernel.
    Pairs(Pairs),
    /// Block by block, of plain operations, which gradients go back through.
    Blocks { image: Option<Buckets>, text: Buckets },
}

impl RelativeBias {
    /// Of `image`'s patches and then `text_len` tokens.
    pub fn new(image: Option<PatchBuckets>, text_len: usize, token_bucket_size: usize, device: &Device) -> Self {
        let samples = image.as_ref().map_or(1, |image| image.places.len());
        let patches = image.as_ref().map_or(0, |image| image.places[0].len());
        let length = patches + text_len;
        let pairs = Pairs::new([samples, length, length], device, |sample, query, key| match &image {
            Some(image) if query < patches && key < patches => RelativeRow::Image(image.row(sample, query, key)),
            _ if query >= patches && key >= patches => {
                RelativeRow::Token(token_bucket(query - patches, key - patches, token_bucket_size))
            }
            _ => RelativeRow::None,
        });
        if let Some(pairs) = pairs {
            return Self::Pairs(pairs);
        }
        let text =
            Buckets::new([1, text_len, text_len], device, |_, query, key| token_bucket(query, key, token_bucket_size));
        let image = image.map(|image| {
            Buckets::new([samples, patches, patches], device, |sample, query, key| image.row(sample, query, key))
        });
        Self::Blocks { image, text }
    }

    /// `absolute` with a layer's relative bias.
    ///
    /// # Shapes
    /// `[1 or B, H, L, L]`
    pub fn add(&self, absolute: Tensor<4>, tables: &RelativeTables) -> Tensor<4> {
        match self {
            Self::Pairs(pairs) => pairs.add(absolute, tables.values()),
            Self::Blocks { image, text } => absolute + blocks(tables, image.as_ref(), text),
        }
    }
}

/// What a decoder's targets of one kind look up in every layer's tables.
pub enum TargetBias {
    /// One pass of a kernel.
    Pairs(Pairs),
    Codes(Buckets),
    Tokens(Buckets),
}

impl TargetBias {
    /// Of image codes, or of tokens: `bucket(query, key)` for `[T, L]`.
    pub fn new(
        codes: bool,
        [queries, keys]: [usize; 2],
        device: &Device,
        bucket: impl Fn(usize, usize) -> usize,
    ) -> Self {
        let row = |_, query, key| match codes {
            true => RelativeRow::Image(bucket(query, key)),
            false => RelativeRow::Token(bucket(query, key)),
        };
        if let Some(pairs) = Pairs::new([1, queries, keys], device, row) {
            return Self::Pairs(pairs);
        }
        let buckets = Buckets::new([1, queries, keys], device, |_, query, key| bucket(query, key));
        if codes { Self::Codes(buckets) } else { Self::Tokens(buckets) }
    }

    /// `absolute` with a layer's relative bias.
    ///
    /// # Shapes
    /// `[1, H, T, L]`
    pub fn add(&self, absolute: Tensor<4>, tables: &RelativeTables) -> Tensor<4> {
        match self {
            Self::Pairs(pairs) => pairs.add(absolute, tables.values()),
            Self::Codes(buckets) => absolute + tables.image(buckets),
            Self::Tokens(buckets) => absolute + tables.token(buckets),
        }
    }
}

fn blocks(tables: &RelativeTables, image: Option<&Buckets>, text: &Buckets) -> Tensor<4> {
    let text = tables.token(text);
    let Some(image) = image else {
        return text;
    };
    let image = tables.image(image);
    let [samples, heads, patches, _] = image.dims();
    let [_, _, text_len, _] = text.dims();
    let device = text.device();
    let gap = |rows, columns| Tensor::<4>::zeros([samples, heads, rows, columns], &device);
    let text = text.expand([samples, heads, text_len, text_len]);
    let upper = Tensor::cat(vec![image, gap(patches, text_len)], 3);
    let lower = Tensor::cat(vec![gap(text_len, patches), text], 3);
    Tensor::cat(vec![upper, lower], 2)
}
