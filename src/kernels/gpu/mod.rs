//! Kernels for GPUs, written in WGSL: what a browser runs is what a native adapter runs.

mod adapter;
mod attention;
mod best;
mod launch;
mod norm;
mod pool;
mod product;
mod relative;
mod rows;
mod scores;
mod weights;

use burn::backend::DispatchDevice;
use burn::tensor::Device;
use burn_cubecl::CubeDevice;

pub use adapter::set_software;
pub use attention::{attention, attention_in_table, remembers};
pub use best::best;
pub use norm::residual_norm;
pub use pool::max_pool;
pub use product::{convolve, linear, linear_into};
pub use relative::add_relative;
pub use rows::packed_rows;
pub use scores::scores;

/// Whether the kernels of this room run on `device`: any adapter of WebGPU. Training keeps plain operations, which have
/// gradients.
pub fn serves(device: &Device) -> bool {
    matches!(device.as_dispatch(), DispatchDevice::Cube(CubeDevice::Wgpu(_)))
}

/// Workgroups along one line for `invocations`, folded where a dimension would be too long.
fn grid(invocations: usize, width: usize) -> [usize; 3] {
    const LONGEST: usize = 65_535;
    let groups = invocations.div_ceil(width).max(1);
    let rows = groups.div_ceil(LONGEST);
    [groups.div_ceil(rows), rows, 1]
}

#[cfg(all(test, feature = "cli", feature = "cpu"))]
mod tests;
