//! How shaders read a matrix: `weight4(row, quad)`, whatever it is stored as.

use super::launch::{F32, F32X4, Launch, U32};
use crate::kernels::packed::{PackedWeight, Words};
use crate::kernels::watched::WatchedWeight;
use crate::kernels::weight::Weight;

/// Adds a matrix to a launch, which finds its rows' length as `numbers.inputs` and, in fours, as `numbers.quads`.
pub fn with_weight(launch: Launch, weight: &Weight) -> Launch {
    let [_, columns] = weight.dims();
    match weight {
        Weight::Packed(weight) => with_packed(launch, weight),
        Weight::Split(_) => unreachable!("split weights lie in the memory of the host"),
        Weight::Plain(weight) | Weight::Watched(WatchedWeight { weight, .. }) => {
            let launch = launch.number("inputs", columns).number("quads", columns.div_ceil(4));
            if columns.is_multiple_of(4) {
                launch.with(include_str!("plain.wgsl")).reads("weights", F32X4, weight.val())
            } else {
                launch.with(include_str!("ragged.wgsl")).reads("weights", F32, weight.val())
            }
        }
    }
}

/// As [`with_weight`].
fn with_packed(launch: Launch, weight: &PackedWeight) -> Launch {
    let (Words::Device(codes), Words::Device(scales)) = (&weight.codes, &weight.scales) else {
        unreachable!("the words of a GPU's weights lie on the GPU")
    };
    launch
        .with(include_str!("packed.wgsl"))
        .number("inputs", weight.columns)
        .number("quads", weight.columns / 4)
        .constant("BITS", weight.bits as u32)
        .constant("GROUP_QUADS", weight.group_size as u32 / 4)
        .reads_words("codes", U32, codes.clone())
        .reads_words("scales", U32, scales.clone())
}
