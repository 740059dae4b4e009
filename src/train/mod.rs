//! Training. So far its losses.

pub mod loss;
