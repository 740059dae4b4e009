//! The model's heavy operations, in the grain in which they are fused: one file an operation.
//!
//! The versions here are made of plain tensors and run on every backend, training included. Where a device has kernels
//! that read packed weights and save dispatches, the same functions take those: `gpu` holds WGSL for every adapter of
//! WebGPU. A kernel equals the plain version; its tests say within what.

mod arguments;
mod attention;
mod convolution;
mod embedding;
#[cfg_attr(not(feature = "gpu"), path = "no_gpu.rs")]
mod gpu;
#[cfg_attr(not(feature = "cpu"), path = "no_host.rs")]
mod host;
mod linear;
mod next_token;
mod norm;
mod packed;
mod pairs;
mod past;
mod products;
mod readback;
mod split;
mod top_k;
mod upload;
mod watched;
mod weight;

pub use arguments::Found;
pub use attention::{
    Bias, Columns, Heads, KeysValues, MASKED, attention, attention_weights, products, scores, split_heads,
};
pub use convolution::{BatchNorm, ConvNorm, Convolution, max_pool, pixels_as_rows};
pub use embedding::{Choice, MAX_BINDING_BYTES, Table};
pub use gpu::Steady;
#[cfg(all(test, feature = "gpu", feature = "cli", feature = "cpu"))]
pub use gpu::of_tests as gpu_of_tests;
#[cfg(all(feature = "gpu", target_family = "wasm"))]
pub use gpu::set_line as set_gpu_line;
#[cfg(feature = "gpu")]
pub use gpu::set_software as set_software_gpu;
#[cfg(feature = "cpu")]
pub use host::Aligned;
pub use host::in_host_memory;
pub use linear::{Activation, Linear};
pub use next_token::{NextTokens, TokenScoring, allowed_alone, allowed_range};
pub use norm::{GroupNorm, LayerNorm, Stream, normalise, silu};
pub use packed::{PackedWeight, Words};
pub use pairs::{Pairs, RelativeRow};
pub use past::{ApartProjections, Past, SelfProjections};
pub use readback::floats;
pub use split::{SplitWeight, Splitting};
pub use top_k::{Best, entries};
pub use upload::{indices, integers, tensor};
pub use watched::{Seen, WatchedWeight};
pub use weight::Weight;
