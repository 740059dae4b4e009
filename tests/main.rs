//! One binary of integration tests; each room of `src` has its file here.

mod answer;
mod cli;
mod image;
mod listing;
mod model;
mod parity;
mod predict;
mod readme;
mod structure;
mod support;
mod task;
mod train;
mod vocab;
mod weights;
