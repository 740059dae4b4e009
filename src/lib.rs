//! One For All.

#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
pub mod device;
pub mod error;
pub mod generate;
pub mod image;
pub mod kernels;
pub mod model;
#[cfg(feature = "parity")]
pub mod parity;
pub mod predict;
pub mod task;
#[cfg(feature = "train")]
pub mod train;
pub mod vocab;
#[cfg(target_family = "wasm")]
pub mod wasm;
pub mod weights;
