//! Positions act only through additive attention biases: an absolute one from projected position embeddings,
//! computed once, and a relative one looked up by bucket, a table a layer (reference §1.5, §1.6).

use super::parameters::Path;
use crate::config::{MAX_POSITIONS, OfaConfig};
use crate::error::Result;
use crate::kernels::{LayerNorm, Linear, Table, indices, scores, tensor};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

/// The original's position id of what stands behind a raster.
const CODE_PADDING: usize = 1024;

/// Position embeddings of one side and their norms.
#[derive(Module, Debug)]
pub struct PositionTables {
    pub embed_positions: Table,
    pub embed_image_positions: Table,
    pub pos_ln: LayerNorm,
    pub image_pos_ln: LayerNorm,
}

impl PositionTables {
    pub fn new(config: &OfaConfig, path: &mut Path) -> Result<Self> {
        let width = config.d_model;
        let rows = config.max_position_embeddings + crate::config::UNUSED_POSITION_ROWS;
        Ok(Self {
            embed_positions: path.table("embed_positions", [rows, width])?,
            embed_image_positions: path.table("embed_image_positions", [config.image_position_rows(), width])?,
            pos_ln: path.layer_norm("pos_ln", width)?,
            image_pos_ln: path.layer_norm("image_pos_ln", width)?,
        })
    }

    /// Embeddings of text positions 0..len, not normalised. Position 0 is row 0.
    ///
    /// # Shapes
    /// → `[1, len, C]`
    pub fn text(&self, len: usize) -> Tensor<3> {
        self.embed_positions.rows(&(0..len as u32).collect::<Vec<_>>()).unsqueeze()
    }

    /// Embeddings of image positions by id, not normalised.
    ///
    /// # Shapes
    /// n ids → `[1, n, C]`
    pub fn image(&self, ids: &[usize]) -> Tensor<3> {
        self.embed_image_positions.rows(&ids.iter().map(|id| *id as u32).collect::<Vec<_>>()).unsqueeze()
    }
}

/// The two projections of an absolute bias.
#[derive(Module, Debug)]
pub struct PositionProjection {
    q: Linear,
    k: Linear,
    heads: usize,
    scale: f64,
}

impl PositionProjection {
    /// `path.{prefix}pos_q_linear` and `…pos_k_linear`.
    pub fn new(config: &OfaConfig, path: &mut Path, prefix: &str, heads: usize) -> Result<Self> {
        let width = config.d_model;
        Ok(Self {
            q: path.linear(&format!("{prefix}pos_q_linear"), width, width)?,
            k: path.linear(&format!("{prefix}pos_k_linear"), width, width)?,
            heads,
            scale: score_scale(config, heads),
        })
    }

    /// The bias, with a mask added.
    ///
    /// # Shapes
    /// queries `[1 or B, T, C]`, keys `[1 or B, L, C]`, mask `[1 or B, 1, 1 or T, L]` → `[1 or B, H, T, L]`
    pub fn bias(&self, queries: Tensor<3>, keys: Tensor<3>, mask: Option<Tensor<4>>) -> Tensor<4> {
        scores(self.q.forward(queries), self.k.forward(keys), self.heads, self.scale, mask)
    }
}

/// Content and position scores are both divided by `sqrt(attn_scale_factor · D)`, since they are added.
pub fn score_scale(config: &OfaConfig, heads: usize) -> f64 {
    ((config.d_model / heads) as f64 * config.attn_scale_factor).powf(-0.5)
}

/// The relative tables of one layer.
#[derive(Module, Debug)]
pub struct RelativeTables {
    token: Param<Tensor<2>>,
    image: Param<Tensor<2>>,
}

impl RelativeTables {
    pub fn new(config: &OfaConfig, path: &mut Path, layer: usize, heads: usize) -> Result<Self> {
        let token = format!("token_rel_pos_table_list.{layer}.weight");
        let image = format!("image_rel_pos_table_list.{layer}.weight");
        Ok(Self {
            token: path.tensor(&token, [config.token_rel_pos_rows(), heads])?,
            image: path.tensor(&image, [config.image_rel_pos_rows(), heads])?,
        })
    }

    /// Image positions and tokens, `[.., H]` each.
    pub fn values(&self) -> [Tensor<2>; 2] {
        [self.image.val(), self.token.val()]
    }

    /// # Shapes
    /// buckets of `[rows, columns]` pairs → `[1, H, rows, columns]`
    pub fn token(&self, buckets: &Buckets) -> Tensor<4> {
        buckets.look_up(self.token.val())
    }

    /// As [`token`](Self::token), from the table of image positions.
    pub fn image(&self, buckets: &Buckets) -> Tensor<4> {
        buckets.look_up(self.image.val())
    }
}

/// Rows of a relative table for every pair of a query and a key.
#[derive(Debug, Clone)]
pub struct Buckets {
    indices: Tensor<1, burn::tensor::Int>,
    shape: [usize; 3],
}

impl Buckets {
    /// `bucket(sample, query, key)` for `[samples, rows, columns]`.
    pub fn new(shape: [usize; 3], device: &Device, bucket: impl Fn(usize, usize, usize) -> usize) -> Self {
        let [samples, rows, columns] = shape;
        let bucket = &bucket;
        let pairs = (0..samples).flat_map(move |sample| {
            (0..rows).flat_map(move |row| (0..columns).map(move |column| bucket(sample, row, column)))
        });
        Self { indices: indices(pairs, device), shape }
    }

    fn look_up(&self, table: Tensor<2>) -> Tensor<4> {
        let [_, heads] = table.dims();
        let [samples, rows, columns] = self.shape;
        let found = table.select(0, self.indices.clone());
        found.reshape([samples, rows, columns, heads]).permute([0, 3, 1, 2])
    }
}

/// Row of the token table for query `i` and key `j`: linear near the diagonal, logarithmic beyond.
///
/// `bucket_size` is the configured `token_bucket_size`.
pub fn token_bucket(i: usize, j: usize, bucket_size: usize) -> usize {
    let relative = i as i64 - j as i64;
    let middle = (bucket_size / 2) as i64;
    let distance = relative.abs();
    let bucket = if distance <= middle {
        relative
    } else {
        let span = ((MAX_POSITIONS - 1) as f64 / middle as f64).ln();
        let steps = ((distance as f64 / middle as f64).ln() / span * (middle - 1) as f64).ceil() as i64;
        relative.signum() * (steps + middle)
    };
    (bucket + bucket_size as i64 - 1) as usize
}

/// Rows of the image table for pairs of position ids; id 0 is the BOS of a code raster and has rows of its own.
pub fn image_buckets(query: usize, key: usize, bucket_size: usize) -> usize {
    let specials = differences(bucket_size).pow(2);
    match (query, key) {
        (0, 0) => specials + 2,
        (0, _) => specials,
        (_, 0) => specials + 1,
        _ => raster_bucket(raster_place(query, bucket_size), raster_place(key, bucket_size), bucket_size),
    }
}

/// How many differences two columns of a raster can have, and two rows.
fn differences(bucket_size: usize) -> usize {
    2 * bucket_size - 1
}

/// Where a position id other than 0 lies in a raster whose rows are as many columns apart as columns have differences.
pub fn raster_place(id: usize, bucket_size: usize) -> usize {
    (id - 1) / bucket_size * differences(bucket_size) + (id - 1) % bucket_size
}

/// The row of the image table for two places of a raster: those of one difference share it.
pub fn raster_bucket(query: usize, key: usize, bucket_size: usize) -> usize {
    query + (bucket_size - 1) * (differences(bucket_size) + 1) - key
}

/// Position ids of a grid of patches, row by row: the stride is the bucket size, not the grid's width.
pub fn image_position_ids(rows: usize, columns: usize, bucket_size: usize) -> Vec<usize> {
    (0..rows).flat_map(|row| (0..columns).map(move |column| row * bucket_size + column + 1)).collect()
}

/// Position ids of the input tokens of a code raster: BOS, then the grid. Behind it, where longer texts of its batch go on, it is
/// padding (reference §1.10).
pub fn code_position_ids(len: usize, grid: usize, bucket_size: usize) -> Vec<usize> {
    let padding = CODE_PADDING.min(bucket_size * bucket_size);
    let place = |index: usize| match index / grid {
        row if row < grid => row * bucket_size + index % grid + 1,
        _ => padding,
    };
    (0..len).map(|position| if position == 0 { 0 } else { place(position - 1) }).collect()
}

/// Resizes a square grid of embeddings bilinearly, corners not aligned, without antialiasing.
///
/// # Shapes
/// `[1, n · n, C]` → `[1, rows · columns, C]`
pub fn interpolate_grid(embeddings: Tensor<3>, rows: usize, columns: usize) -> Tensor<3> {
    let [_, count, width] = embeddings.dims();
    let side = count.isqrt();
    // Across columns first, then across rows: each time what is stretched lies outermost.
    let turned = |x: Tensor<2>, [outer, inner]: [usize; 2]| {
        x.reshape([outer, inner, width]).swap_dims(0, 1).reshape([inner, outer * width])
    };
    let x = turned(embeddings.reshape([count, width]), [side; 2]);
    let x = turned(stretched(x, columns), [columns, side]);
    stretched(x, rows).reshape([1, rows * columns, width])
}

/// As many rows as `to`, each mixed of the two that lie next to its place.
///
/// # Shapes
/// `[n, C]` → `[to, C]`
fn stretched(x: Tensor<2>, to: usize) -> Tensor<2> {
    let ([from, _], device) = (x.dims(), x.device());
    let place = |target: usize| ((target as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0);
    let low = |target: usize| (place(target) as usize).min(from - 1);
    let high = |target: usize| (low(target) + 1).min(from - 1);
    let shares: Vec<f32> = (0..to).map(|target| (place(target) - low(target) as f64) as f32).collect();
    let shares = tensor(shares, [to, 1], &device);
    let lows = x.clone().select(0, indices((0..to).map(low), &device));
    lows.clone() + (x.select(0, indices((0..to).map(high), &device)) - lows) * shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_buckets_of_the_reference() {
        let examples = [(0, 0, 255), (1, 0, 256), (127, 0, 382), (129, 0, 384), (150, 0, 393), (1000, 0, 509)];
        for (i, j, bucket) in examples.into_iter().chain([(1023, 0, 510), (0, 1, 254), (0, 129, 126), (0, 1023, 0)]) {
            assert_eq!(token_bucket(i, j, 256), bucket, "query {i}, key {j}");
        }
    }

    #[test]
    fn image_buckets_of_the_reference() {
        assert_eq!(image_buckets(0, 5, 42), 6889);
        assert_eq!(image_buckets(5, 0, 42), 6890);
        assert_eq!(image_buckets(0, 0, 42), 6891);
        assert_eq!(image_buckets(1, 1, 42), 41 * 83 + 41);
        assert_eq!(image_buckets(1, 42 * 42, 42), 0);
    }
}
