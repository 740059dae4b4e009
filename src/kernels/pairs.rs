//! Which row of which relative table is added for a query and a key, for the kernel that adds them in one pass.

use super::gpu;
use super::host;
use super::packed::Words;
use burn::tensor::{Device, Tensor};

/// Rows of the token table count from here.
pub(super) const TOKEN: u32 = 1 << 31;
/// Nothing is added.
pub(super) const NONE: u32 = u32::MAX;

/// A row of a relative table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelativeRow {
    Image(usize),
    Token(usize),
    None,
}

/// The rows for all pairs of a query and a key.
#[derive(Debug, Clone)]
pub struct Pairs {
    /// `[samples · T · L]`
    rows: Words,
    samples: usize,
}

impl Pairs {
    /// `row(sample, query, key)` for `[samples, T, L]`; `None` on a device without the kernel, and where gradients are
    /// followed.
    pub fn new(
        [samples, queries, keys]: [usize; 3],
        device: &Device,
        row: impl Fn(usize, usize, usize) -> RelativeRow,
    ) -> Option<Self> {
        if !gpu::serves(device) && !host::in_host_memory(device) {
            return None;
        }
        let mut rows = Vec::with_capacity(samples * queries * keys);
        for sample in 0..samples {
            for query in 0..queries {
                rows.extend((0..keys).map(|key| match row(sample, query, key) {
                    RelativeRow::Image(row) => row as u32,
                    RelativeRow::Token(row) => TOKEN + row as u32,
                    RelativeRow::None => NONE,
                }));
            }
        }
        Some(Self { rows: Words::new(rows, device), samples })
    }

    /// `absolute` and what a layer's tables of images and of tokens have for every pair.
    ///
    /// # Shapes
    /// `[1 or B, H, T, L]`, tables `[.., H]` → `[1 or B, H, T, L]`
    pub fn add(&self, absolute: Tensor<4>, tables: [Tensor<2>; 2]) -> Tensor<4> {
        match &self.rows {
            Words::Host(rows) => host::add_relative(&absolute, rows, self.samples, &tables)
                .expect("values of a device without gradients in host memory"),
            Words::Device(rows) => gpu::add_relative(absolute, rows.clone(), self.samples, tables),
        }
    }
}
