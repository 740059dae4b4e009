//! Plain data that every room reads: the model's configuration and the options of decoding.

mod decoding;
mod model;
mod vqgan;

pub use decoding::{AnswerOptions, Decoding, GenerationConfig, PromptType, Sampling};
pub use model::*;
pub use vqgan::{AutoencoderConfig, CodeChoice, VqganConfig};
