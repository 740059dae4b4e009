//! Rows of matrices.

use super::launch::{F32X4, Launch, U32, primitive_words};
use super::weights::with_weight;
use crate::kernels::arguments::Moment;
use crate::kernels::packed::PackedWeight;
use crate::kernels::weight::Weight;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_cubecl::cubecl::bytes::Bytes;

/// Words as kernels read them.
pub fn words(words: Vec<u32>, device: &Device) -> Tensor<1, Int> {
    let count = words.len();
    Tensor::from_data(TensorData::new(words, [count]), (device, DType::U32))
}

/// Other words where some lie, as many of them at most, in the order of launches.
pub fn rewrite(place: &Tensor<1, Int>, words: Vec<u32>) {
    let place = primitive_words(place.clone());
    place.client.write(&place.handle, Bytes::from_elems(words));
}

/// The rows with these numbers, unpacked.
///
/// # Shapes
/// n numbers → `[n, in]`
pub fn packed_rows(weight: &PackedWeight, numbers: &[u32]) -> Tensor<2> {
    let words = words(numbers.to_vec(), &weight.device());
    rows(&Weight::Packed(weight.clone()), words, [0, numbers.len()], 0)
}

/// The rows for the new tokens of a pass, of a table of which `weight` is what begins with row `start`. Rows of other parts
/// are zeros.
///
/// # Shapes
/// → `[new tokens, in]`, in a multiple of four
pub fn rows_of_pass(weight: &Weight, moment: &Moment, start: usize) -> Tensor<2> {
    rows(weight, moment.words.clone(), [Moment::IDS, moment.queries[0] * moment.queries[1]], start)
}

fn rows(weight: &Weight, numbers: Tensor<1, Int>, [first, count]: [usize; 2], start: usize) -> Tensor<2> {
    let [height, columns] = weight.dims();
    let launch = Launch::new("rows", include_str!("rows.wgsl"), [64, 1, 1]);
    let launch = with_weight(launch, weight).reads_words("rows", U32, numbers);
    let launch = launch.number("first", first).number("count", count).number("start", start).number("height", height);
    launch.into_new("found", F32X4, [count, columns], super::grid(count * columns / 4, 64))
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
