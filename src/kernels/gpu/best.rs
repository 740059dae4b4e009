//! From logits to the best log-probabilities of each row.

use super::adapter::Team;
use super::grid;
use super::launch::{F32, Launch, U32};
use super::rows::words;
use crate::kernels::arguments::Found;
use crate::kernels::next_token::TokenScoring;
use burn::tensor::Tensor;

/// Lengths of lists that the kernels are compiled for: greedy search, the usual beams, wide ones.
const LENGTHS: [usize; 4] = [4, 12, 32, 64];

/// At least the `k` best entries of each row under `scoring`, and those that `probes` names, `widest` a row; `None` for
/// longer lists than the kernels keep.
///
/// # Shapes
/// logits `[n, V]`, probes `[n · widest]`
pub fn best(logits: Tensor<2>, scoring: &TokenScoring, k: usize, probes: &[u32], widest: usize) -> Option<Found> {
    best_as(Team::of_adapter(), logits, scoring, k, probes, widest)
}

pub fn best_as(
    team: Team,
    logits: Tensor<2>,
    scoring: &TokenScoring,
    k: usize,
    probes: &[u32],
    widest: usize,
) -> Option<Found> {
    let kept = LENGTHS.into_iter().find(|length| k <= *length)?;
    let [rows, columns] = logits.dims();
    // A real adapter hides the latency of its memory behind many invocations.
    let (parts, width) = if team == Team::Alone { (32, 16) } else { (256, 64) };
    let scored = |launch: Launch| {
        let launch = launch
            .with(include_str!("best_list.wgsl"))
            .constant("KEPT", kept as u32)
            .constant("PARTS", parts as u32)
            .reads("logits", F32, logits.clone())
            .number("rows", rows)
            .number("columns", columns)
            .number("temperature", (scoring.temperature as f32).to_bits() as usize);
        match &scoring.constraint {
            None => launch.with(FREE),
            Some(constraint) => {
                let launch = launch.reads("constraint", F32, constraint.clone());
                launch.with(if scoring.constrain_after { CONSTRAINED_AFTER } else { CONSTRAINED })
            }
        }
    };
    let launch = scored(Launch::new("best", include_str!("best.wgsl"), [width, 1, 1]));
    let shape = [rows * parts, 2 * kept + 2];
    let lists = launch.into_new("lists", U32, shape, grid(rows * parts, width as usize));
    let launch =
        scored(Launch::new("best_merge", include_str!("best_merge.wgsl"), [1, 1, 1])).reads("lists", U32, lists);
    // A binding cannot be empty.
    let launch = if widest == 0 {
        launch.with(NOTHING_PROBED)
    } else {
        launch.with(PROBED).reads_words("probes", U32, words(probes.to_vec(), &logits.device()))
    };
    let values = launch.number("probes", widest).into_new("found", F32, [rows, widest + 2 * kept], [rows, 1, 1]);
    Some(Found { values, kept, wanted: k })
}

const PROBED: &str = "
fn probed(place: u32) -> u32 { return probes[place]; }
";
const NOTHING_PROBED: &str = "
fn probed(place: u32) -> u32 { return 0u; }
";
const FREE: &str = "
fn scored(at: u32, column: u32) -> vec2<f32> { return vec2<f32>(logits[at] / bitcast<f32>(numbers.temperature)); }
";
const CONSTRAINED: &str = "
fn scored(at: u32, column: u32) -> vec2<f32> {
    return vec2<f32>(logits[at] / bitcast<f32>(numbers.temperature) + constraint[column]);
}
";
const CONSTRAINED_AFTER: &str = "
fn scored(at: u32, column: u32) -> vec2<f32> {
    let logit = logits[at] / bitcast<f32>(numbers.temperature);
    return vec2<f32>(logit + constraint[column], logit);
}
";
