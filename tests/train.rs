//! Training: data, noise, augmentation, objectives.

mod augment;
mod data;
mod objectives;
