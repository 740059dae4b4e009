//! The best entries of each row: chosen where the logits lie, so that a step reads back a few numbers.

use super::readback::floats;
use super::upload::indices;
use crate::error::Result;
use burn::tensor::Tensor;

/// One row's best entries: column and value.
pub type Best = Vec<(u32, f32)>;

/// The `k` greatest entries of every row, best first, and of each row the entries that `probes` names; for devices and
/// lengths without a kernel. Whole rows are read back: a sort costs more than the rest of a step, a list of k entries
/// does not.
///
/// # Shapes
/// `[n, V]`, 0 or n lists of columns → n lists of `min(k, V)` entries, lists of values as long as those of columns
///
/// # Errors
/// The device's own, when the values cannot be read back.
pub async fn top_entries(scores: Tensor<2>, k: usize, probes: &[Vec<u32>]) -> Result<(Vec<Best>, Vec<Vec<f32>>)> {
    let [_, width] = scores.dims();
    let values = floats(scores).await?;
    let of_row = |(ids, row): (&Vec<u32>, &[f32])| ids.iter().map(|id| row[*id as usize]).collect();
    let probed = probes.iter().zip(values.chunks(width)).map(of_row).collect();
    Ok((values.chunks(width).map(|row| best(row, k)).collect(), probed))
}

/// Columns, and as many of the first one as are missing to `widest`.
pub(super) fn padded(columns: &[u32], widest: usize) -> impl Iterator<Item = u32> {
    columns.iter().copied().chain(std::iter::repeat_n(0, widest - columns.len()))
}

/// The named entries of each row, padded to `widest` columns.
fn picked(values: Tensor<2>, columns: &[Vec<u32>], widest: usize) -> Tensor<2> {
    let ids = columns.iter().flat_map(|row| padded(row, widest)).map(|id| id as usize);
    let ids = indices(ids, &values.device());
    values.gather(1, ids.reshape([columns.len(), widest]))
}

/// The entries of each row that `columns` names, read back.
///
/// # Shapes
/// `[n, V]`, n lists of any length → lists of the same lengths
///
/// # Errors
/// The device's own, when the values cannot be read back.
pub async fn entries(values: Tensor<2>, columns: &[Vec<u32>]) -> Result<Vec<Vec<f32>>> {
    let widest = columns.iter().map(Vec::len).max().unwrap_or(0);
    let found = floats(picked(values, columns, widest)).await?;
    Ok(columns.iter().zip(found.chunks(widest)).map(|(row, found)| found[..row.len()].to_vec()).collect())
}

/// The `k` greatest entries, the first of equals before the others; those that are not numbers are left out.
pub(super) fn best(row: &[f32], k: usize) -> Best {
    Blocks::of(row).best(k)
}

/// Values, and the greatest of each block of them, by which nearly all are passed over.
pub(super) struct Blocks<'a> {
    row: &'a [f32],
    greatest: Vec<f32>,
}

impl<'a> Blocks<'a> {
    pub fn of(row: &'a [f32]) -> Self {
        Self { row, greatest: row.chunks(SKIPPED).map(greatest).collect() }
    }

    /// As [`best`].
    pub fn best(&self, k: usize) -> Best {
        let mut kept: Best = Vec::with_capacity(k + 1);
        for ((block, values), greatest) in self.row.chunks(SKIPPED).enumerate().zip(&self.greatest) {
            if kept.len() == k && kept.last().is_none_or(|worst| *greatest <= worst.1) {
                continue;
            }
            for (index, &value) in values.iter().enumerate() {
                if value.is_nan() || kept.len() == k && kept.last().is_none_or(|worst| value <= worst.1) {
                    continue;
                }
                let place = kept.partition_point(|entry| entry.1 >= value);
                kept.insert(place, ((block * SKIPPED + index) as u32, value));
                kept.truncate(k);
            }
        }
        kept
    }

    /// The places of all values that are at least `least`.
    #[cfg(feature = "cpu")]
    pub fn above(&self, least: f32) -> Vec<u32> {
        let mut places = Vec::new();
        for ((block, values), greatest) in self.row.chunks(SKIPPED).enumerate().zip(&self.greatest) {
            if *greatest >= least {
                let of_block = values.iter().enumerate().filter(|(_, value)| **value >= least);
                places.extend(of_block.map(|(index, _)| (block * SKIPPED + index) as u32));
            }
        }
        places
    }
}

/// Values that are passed over together.
const SKIPPED: usize = 64;
const LANES: usize = 8;

/// The greatest number of a block; lane by lane, so that it is compiled to SIMD.
fn greatest(values: &[f32]) -> f32 {
    // Not `f32::max`, which is a call where there is no instruction for it.
    let greater = |a: f32, b: f32| if b > a { b } else { a };
    let (whole, rest) = values.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for values in whole {
        lanes = std::array::from_fn(|lane| greater(lanes[lane], values[lane]));
    }
    lanes.into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, greater)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_come_first_and_ties_keep_their_order() {
        let ids: Vec<u32> = best(&[0.5, 2.0, -1.0, 2.0, 1.0], 3).iter().map(|entry| entry.0).collect();
        assert_eq!(ids, [1, 3, 4]);
        assert!(best(&[1.0], 0).is_empty());
        let row: Vec<f32> = (0..1000).map(|id| if id % 7 == 0 { f32::NAN } else { (id * 37 % 1000) as f32 }).collect();
        let mut expected: Best = (0..1000).zip(row.clone()).filter(|entry| !entry.1.is_nan()).collect();
        expected.sort_by(|a, b| b.1.total_cmp(&a.1));
        assert_eq!(best(&row, 20), expected[..20]);
    }
}
