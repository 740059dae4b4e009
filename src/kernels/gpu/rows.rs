//! Rows of packed matrices.

use super::launch::{F32X4, Launch, U32};
use super::weights::with_packed;
use crate::kernels::packed::PackedWeight;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

/// Words as kernels read them.
pub fn words(words: Vec<u32>, device: &Device) -> Tensor<1, Int> {
    let count = words.len();
    Tensor::from_data(TensorData::new(words, [count]), (device, DType::U32))
}

/// The rows with these numbers, unpacked.
///
/// # Shapes
/// n numbers → `[n, in]`
pub fn packed_rows(weight: &PackedWeight, numbers: &[u32]) -> Tensor<2> {
    let count = numbers.len();
    let numbers = words(numbers.to_vec(), &weight.device());
    let quads = weight.columns / 4;
    let launch = Launch::new("rows", include_str!("rows.wgsl"), [64, 1, 1]);
    with_packed(launch, weight).reads_words("rows", U32, numbers).number("count", count).into_new(
        "found",
        F32X4,
        [count, weight.columns],
        super::grid(count * quads, 64),
    )
}

/// The rows with these numbers, `width` words each.
pub fn take_words(table: Tensor<1, Int>, numbers: &[u32], width: usize) -> Tensor<1, Int> {
    let count = numbers.len() * width;
    let numbers = words(numbers.to_vec(), &table.device());
    let taken = Tensor::empty([count], (&table.device(), DType::U32));
    Launch::new("take_words", include_str!("take_words.wgsl"), [64, 1, 1])
        .reads_words("table", U32, table)
        .reads_words("rows", U32, numbers)
        .writes_words("taken", U32, taken.clone())
        .number("count", count)
        .number("width", width)
        .run(super::grid(count, 64));
    taken
}
