//! Kernels for GPUs, written in WGSL: what a browser runs is what a native adapter runs.

mod adapter;
mod attention;
mod best;
mod launch;
mod norm;
mod pool;
mod product;
#[cfg(target_family = "wasm")]
mod read;
mod relative;
mod rows;
mod scores;
mod steady;
mod weights;

use burn::backend::DispatchDevice;
use burn::tensor::{Device, Tensor};
use burn_cubecl::CubeDevice;

pub use adapter::set_software;
pub use attention::{attention, attention_in_table, remembers};
pub use best::best;
pub use norm::residual_norm;
pub use pool::max_pool;
pub use product::{convolve, linear, linear_into};
#[cfg(target_family = "wasm")]
pub use read::{few_floats, set_line};
pub use relative::add_relative;
pub use rows::{packed_rows, rewrite, rows_of_pass, take_words, words};
pub use scores::scores;
pub use steady::Steady;

/// Whether the kernels of this room run on `device`: any adapter of WebGPU. Training keeps plain operations, which have
/// gradients. Where GPUs are all there is, as in a browser's build, the compiler leaves out what they do not need.
pub fn serves(device: &Device) -> bool {
    const ALONE: bool = !cfg!(any(feature = "cpu", feature = "train"));
    ALONE || matches!(device.as_dispatch(), DispatchDevice::Cube(CubeDevice::Wgpu(_)))
}

/// Zeros behind each head's columns, up to a multiple of four of them.
fn widened(x: Tensor<3>, heads: usize) -> Tensor<3> {
    let [batch, length, width] = x.dims();
    let head = width / heads;
    let missing = head.next_multiple_of(4) - head;
    if missing == 0 {
        return x;
    }
    let x = x.reshape([batch, length, heads, head]).pad([(0, 0), (0, missing)], 0.0);
    x.reshape([batch, length, heads * (head + missing)])
}

/// Workgroups along one line for `invocations`, folded where a dimension would be too long.
fn grid(invocations: usize, width: usize) -> [usize; 3] {
    const LONGEST: usize = 65_535;
    let groups = invocations.div_ceil(width).max(1);
    let rows = groups.div_ceil(LONGEST);
    [groups.div_ceil(rows), rows, 1]
}

/// The one that all tests of a process share.
#[cfg(all(test, feature = "cli", feature = "cpu"))]
pub fn of_tests() -> Device {
    static DEVICE: std::sync::OnceLock<Device> = std::sync::OnceLock::new();
    DEVICE.get_or_init(|| Device::wgpu_options().init().expect("an adapter, if only an emulated one")).clone()
}

#[cfg(all(test, feature = "cli", feature = "cpu"))]
mod tests;
