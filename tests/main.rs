//! One binary of integration tests; each room of `src` has its file here.

mod cli;
mod image;
mod model;
mod parity;
mod structure;
mod support;
mod task;
mod train;
mod vocab;
mod weights;
