//! Bucket tables and interpolation, which have no weights.

use super::INTERPOLATION_TOLERANCE;
use super::case::{Case, Differences, read};
use crate::config::OfaConfig;
use crate::error::{Error, Result};
use crate::model::{code_position_ids, image_buckets, interpolate_grid, token_bucket};
use burn::tensor::{Device, Tensor};

/// The bucket sizes of the released models, which the tables of every golden directory hold.
const RELEASED_TOKEN_BUCKETS: usize = 256;
const RELEASED_IMAGE_BUCKETS: usize = 42;
/// The original fills the raster's position ids up with this constant, which is never looked up.
const FILLER_POSITION: i64 = 1024;

pub async fn run(case: &Case<'_>, config: &OfaConfig, device: &Device) -> Result<f32> {
    exact(case, "out.token_bucket_256_row0", |key| token_bucket(0, key, RELEASED_TOKEN_BUCKETS))?;
    exact(case, "out.token_bucket_256_col0", |query| token_bucket(query, 0, RELEASED_TOKEN_BUCKETS))?;
    let [_, width] = case.shape("out.token_bucket_micro")?;
    exact(case, "out.token_bucket_micro", |at| token_bucket(at / width, at % width, config.token_bucket_size))?;
    let [_, width] = case.shape("out.image_bucket_micro")?;
    exact(case, "out.image_bucket_micro", |at| image_buckets(at / width, at % width, config.image_bucket_size))?;
    let pairs = case.ints("in.image_bucket_42_pairs")?;
    exact(case, "out.image_bucket_42_values", |at| {
        image_buckets(pairs[2 * at] as usize, pairs[2 * at + 1] as usize, RELEASED_IMAGE_BUCKETS)
    })?;
    let golden = case.ints("out.image_position_idx")?;
    let real = golden.iter().take_while(|id| **id != FILLER_POSITION).count();
    let codes = config.code_grid() * config.code_grid() + 1;
    let ids = code_position_ids(real.min(codes), config.code_grid(), config.image_bucket_size);
    exact(case, "out.image_position_idx", |at| ids.get(at).copied().unwrap_or(golden[at] as usize))?;

    let mut differences = Differences::default();
    let grid = case.names("in.pos_grid_").next().unwrap_or("in.pos_grid_16");
    let grid: Tensor<4> = case.tensor(grid, device)?;
    let [_, channels, side, _] = grid.dims();
    let embeddings = grid.reshape([1, channels, side * side]).swap_dims(1, 2);
    for name in case.names("out.interp_") {
        let [_, _, rows, columns] = case.shape(name)?;
        let found = interpolate_grid(embeddings.clone(), rows, columns).swap_dims(1, 2);
        let (found, expected) = (read(found).await?, case.floats(name)?);
        differences.compare(name, [&found, &expected], columns, INTERPOLATION_TOLERANCE, |_| true)?;
    }
    Ok(differences.largest)
}

fn exact(case: &Case, name: &str, found: impl Fn(usize) -> usize) -> Result<()> {
    for (at, expected) in case.ints(name)?.into_iter().enumerate() {
        let found = found(at);
        if found as i64 != expected {
            return Err(Error::tensor(name, format!("{expected} at {at}"), found));
        }
    }
    Ok(())
}
