//! One For All (OFA): a unified vision-language model that runs natively and in a browser.
//!
//! # How an answer comes about
//!
//! Bytes become [`image::Pixels`] and those the stem's input; a [`task::Task`] and the caller's [`task::Inputs`] become
//! an instruction and, through [`vocab`], tokens. [`model::OfaModel`] encodes both, [`generate`] searches for the answer
//! one step of the decoder at a time, and the task reads the ids found as a [`task::Answer`].
//! [`predict::Predictor`] is all of it as one thing.
//!
//! # Rooms, in reading order
//!
//! [`error`] and [`config`] are used by all; [`kernels`] holds the heavy operations and [`model`] what is made of them;
//! [`vocab`], [`image`] and [`task`] know nothing of tensors on devices; [`generate`] knows the model as a trait;
//! [`weights`] brings parameters from files to the device; [`predict`] puts everything together. The command line and
//! the bindings for JavaScript are doors: they translate, and use [`device`] to open what the model runs on.
//!
//! # Invariants
//!
//! The model does no I/O. Rust never fetches: JavaScript does. Only the command line prints. Reading a tensor back is
//! async everywhere, so that the same code runs in a tab. A test asserts which room may use which.

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
