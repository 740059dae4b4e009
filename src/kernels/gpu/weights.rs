//! How shaders read a matrix: `weight4(row, quad)`, whatever it is stored as.

use super::launch::{Launch, U32};
use crate::kernels::packed::{PackedWeight, Words};

/// Adds a packed matrix to a launch.
pub fn packed(launch: Launch, weight: &PackedWeight) -> Launch {
    let (Words::Device(codes), Words::Device(scales)) = (&weight.codes, &weight.scales) else {
        unreachable!("the words of a GPU's weights lie on the GPU")
    };
    launch
        .with(include_str!("packed.wgsl"))
        .constant("BITS", weight.bits as u32)
        .constant("GROUP_QUADS", weight.group_size as u32 / 4)
        .constant("QUADS", weight.columns as u32 / 4)
        .reads_words("codes", U32, codes.clone())
        .reads_words("scales", U32, scales.clone())
}
