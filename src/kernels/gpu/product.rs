//! Products with a matrix: linear layers and convolutions.

use super::adapter::{FEW_ROWS, Team, rows_at_a_time};
use super::launch::{F32, F32X4, Launch, U32};
use super::weights::with_weight;
use crate::kernels::arguments::{Convolution, Finish, Moment};
use crate::kernels::weight::Weight;
use burn::module::Param;
use burn::tensor::Tensor;

/// `activation(x Wᵀ + bias)`.
///
/// # Shapes
/// `[n, in]` → `[n, out]`
pub fn linear(x: Tensor<2>, weight: &Weight, finish: Finish) -> Tensor<2> {
    linear_as(Team::of_adapter(), x, weight, finish)
}

pub fn linear_as(team: Team, x: Tensor<2>, weight: &Weight, finish: Finish) -> Tensor<2> {
    let ([rows, width], [outputs, _]) = (x.dims(), weight.dims());
    let missing = width.next_multiple_of(4) - width;
    if missing > 0 {
        let wide = |x: Tensor<2>| x.pad([(0, 0), (0, missing)], 0.0);
        return linear_as(team, wide(x), &Weight::Plain(Param::from_tensor(wide(weight.unpacked()))), finish);
    }
    let (launch, groups) = prepared(team, x, weight, finish);
    launch.with(TO_THE_TOP).into_new("y", F32, [rows, outputs], groups)
}

/// As [`linear`], into the rows of `table` that the new tokens of a pass take.
///
/// # Shapes
/// x `[n, in]`, table `[n or more, out]`
pub fn linear_into(x: Tensor<2>, weight: &Weight, finish: Finish, table: &Tensor<2>, moment: &Moment) {
    let (launch, groups) = prepared(Team::of_adapter(), x, weight, finish);
    let launch = launch.with(INTO_TABLE).reads_words("moment", U32, moment.words.clone());
    launch.writes("y", F32, table.clone()).run(groups);
}

const TO_THE_TOP: &str = "
fn first_row() -> u32 { return 0u; }
";
const INTO_TABLE: &str = "
fn first_row() -> u32 { return moment[0]; }
";

fn prepared(team: Team, x: Tensor<2>, weight: &Weight, finish: Finish) -> (Launch, [usize; 3]) {
    let ([rows, _], [outputs, _]) = (x.dims(), weight.dims());
    let (launch, groups) = if rows <= FEW_ROWS {
        let (lanes, at_a_time) = (team.lanes(16), rows_at_a_time(rows));
        let launch = Launch::new("few_rows", include_str!("few_rows.wgsl"), [64, 1, 1])
            .with(team.sums())
            .constant("LANES", lanes)
            .constant("ROWS", at_a_time as u32);
        (launch, [outputs.div_ceil(64 / lanes as usize), rows.div_ceil(at_a_time), 1])
    } else {
        let (launch, groups) = many_rows(team, rows, outputs);
        (launch.constant("PIXELS", 0).with(include_str!("linear.wgsl")), groups)
    };
    let launch = with_weight(launch.with(include_str!("activate.wgsl")), weight).reads("x", F32X4, x);
    let launch = match finish.bias {
        Some(bias) => launch.with(include_str!("finish.wgsl")).reads("bias", F32, bias),
        None => launch.with(include_str!("finish_plain.wgsl")),
    };
    let launch =
        launch.number("rows", rows).number("outputs", outputs).number("activation", finish.activation as usize);
    (launch, groups)
}

fn many_rows(team: Team, rows: usize, outputs: usize) -> (Launch, [usize; 3]) {
    match team {
        Team::Alone => {
            let launch = Launch::new("many_rows", include_str!("many_rows.wgsl"), [16, 1, 1]);
            (launch, [rows.div_ceil(64), outputs.div_ceil(16), 1])
        }
        Team::Together => {
            let launch = Launch::new("many_rows_tiled", include_str!("many_rows_tiled.wgsl"), [64, 1, 1]);
            (launch, [rows.div_ceil(32), outputs.div_ceil(32), 1])
        }
    }
}

/// # Shapes
/// `[B, in, h, w]` → `[B, out, ceil(h / stride), ceil(w / stride)]`
pub fn convolve(x: Tensor<4>, convolution: Convolution<'_>) -> Tensor<4> {
    convolve_as(Team::of_adapter(), x, convolution)
}

pub fn convolve_as(team: Team, x: Tensor<4>, convolution: Convolution<'_>) -> Tensor<4> {
    let Convolution { weight, bias, kernel, stride, residual, relu } = convolution;
    let [batch, channels, height, width] = x.dims();
    let [outputs, _] = weight.dims();
    let side = |side: usize| (side + kernel / 2 * 2 - kernel) / stride + 1;
    let shape = [batch, outputs, side(height), side(width)];
    let pixels = shape[2] * shape[3];
    let (launch, groups) = many_rows(team, batch * pixels, outputs);
    let launch = with_weight(launch, weight)
        .with(include_str!("convolution.wgsl"))
        .constant("PIXELS", 1)
        .constant("KERNEL", kernel as u32)
        .constant("STRIDE", stride as u32)
        .number("channels", channels)
        .reads("input", F32, x)
        .reads("bias", F32, bias);
    let launch = match residual {
        Some(residual) => launch.with(include_str!("finish_residual.wgsl")).reads("residual", F32, residual),
        None => launch.with(include_str!("finish_pixel.wgsl")),
    };
    launch
        .number("rows", batch * pixels)
        .number("outputs", outputs)
        .number("pixels", pixels)
        .number("columns", shape[3])
        .number("height", height)
        .number("width", width)
        .number("relu", usize::from(relu))
        .into_new("y", F32, shape, groups)
}
