//! Attention over rows as projections write them.

use super::adapter::Team;
use super::launch::{F32, F32X4, Launch, U32};
use super::{grid, widened};
use crate::kernels::arguments::Moment;
use crate::kernels::attention::{Bias, Columns, Heads};
use burn::tensor::{Device, Tensor};

/// Keys whose scores fit a workgroup's memory: 12 of the 16 KiB that every adapter has.
const MOST_KEYS: usize = 3072;
/// A head's width in fours that invocations hold in registers.
const MOST_QUADS: usize = 32;

/// Whether tables can be kept for self-attentions that project with a joined matrix of this shape, in a decoder whose
/// attentions see up to so many keys.
pub fn remembers(device: &Device, [outputs, width]: [usize; 2], heads: usize, keys: usize) -> bool {
    let quads = outputs / 3 / heads / 4;
    let fits = outputs == 3 * 4 * quads * heads && quads <= MOST_QUADS && keys <= MOST_KEYS;
    super::serves(device) && fits && width.is_multiple_of(4)
}

/// softmax(scale · q kᵀ + bias) v, each head scaled; `None` for heads wider and more keys than the kernels take.
///
/// # Shapes
/// q `[B · K, T, C]`, k and v `[B, L, C]` → `[B · K, T, C]`
pub fn attention(q: &Columns, k: &Columns, v: &Columns, bias: &Bias, heads: &Heads) -> Option<Tensor<3>> {
    let aligned = |columns: &Columns| columns.column.is_multiple_of(4) && columns.stride().is_multiple_of(4);
    let head = q.width / heads.count;
    if head.is_multiple_of(4) && [q, k, v].into_iter().all(aligned) {
        return attention_as(Team::of_adapter(), [q, k, v], None, bias, heads);
    }
    let [q, k, v] = [q, k, v].map(|columns| Columns::all(widened(columns.values(), heads.count)));
    let y = attention_as(Team::of_adapter(), [&q, &k, &v], None, bias, heads)?;
    let [rows, length, width] = y.dims();
    let y = y.reshape([rows, length, heads.count, width / heads.count]).narrow(3, 0, head);
    Some(y.reshape([rows, length, heads.count * head]))
}

/// As [`attention`], from a table that holds queries, keys and values, scattered as the bias's moment says.
pub fn attention_in_table(table: &[Columns; 3], bias: &Bias, heads: &Heads) -> Option<Tensor<3>> {
    let [q, k, v] = table;
    attention_as(Team::of_adapter(), [q, k, v], bias.moment.as_ref(), bias, heads)
}

pub fn attention_as(
    team: Team,
    [q, k, v]: [&Columns; 3],
    table: Option<&Moment>,
    bias: &Bias,
    heads: &Heads,
) -> Option<Tensor<3>> {
    let quads = q.width / heads.count / 4;
    let aligned =
        [q, k, v].iter().all(|columns| columns.column.is_multiple_of(4) && columns.stride().is_multiple_of(4))
            && q.width == 4 * quads * heads.count;
    let ([rows, length], keys, samples) = match table {
        Some(moment) => (moment.queries, moment.keys, moment.queries[0]),
        None => {
            let ([rows, length, _], [samples, keys, _]) = (q.tensor.dims(), k.tensor.dims());
            ([rows, length], keys, samples)
        }
    };
    let [bias_batch, _, bias_length, bias_width] = bias.values.dims();
    if !aligned || quads > MOST_QUADS || (team == Team::Together && keys > MOST_KEYS) {
        return None;
    }
    let queries = rows * length * heads.count;
    let (launch, groups) = match team {
        Team::Alone => (Launch::new("attention", include_str!("attention.wgsl"), [16, 1, 1]), grid(queries, 16)),
        Team::Together => (
            Launch::new("attention_together", include_str!("attention_together.wgsl"), [64, 1, 1])
                .with(team.sums())
                .constant("LANES", 64)
                .constant("MOST_KEYS", MOST_KEYS as u32),
            grid(queries, 1),
        ),
    };
    let mut launch = launch
        .with(include_str!("attention_places.wgsl"))
        .constant("QUADS", quads as u32)
        .constant("HEADS", heads.count as u32)
        .reads("q", F32X4, q.tensor.clone())
        .reads("k", F32X4, k.tensor.clone())
        .reads("v", F32X4, v.tensor.clone())
        .reads("bias", F32, bias.values.clone());
    launch = match table {
        Some(moment) => launch.with(SCATTERED).number("slots", moment.slots()),
        None => launch.with(IN_ORDER).number("keys", keys),
    };
    launch = match table.or(bias.moment.as_ref()) {
        Some(moment) => launch.with(AT_A_MOMENT).reads_words("moment", U32, moment.words.clone()),
        None => launch.with(AT_ONCE).number("bias_first", bias.first),
    };
    launch = match &heads.scales {
        Some(scales) => launch.with(SCALED).reads("head_scales", F32, scales.clone()),
        None => launch.with(NOT_SCALED),
    };
    let launch = launch
        .number("rows", rows)
        .number("length", length)
        .number("share", rows / samples)
        .number("scale", (heads.scale as f32).to_bits() as usize)
        .number("query_stride", q.stride() / 4)
        .number("query_first", q.column / 4)
        .number("key_stride", k.stride() / 4)
        .number("key_first", k.column / 4)
        .number("value_stride", v.stride() / 4)
        .number("value_first", v.column / 4)
        .number("bias_rows", rows / bias_batch)
        .number("bias_length", bias_length)
        .number("bias_width", bias_width);
    Some(launch.into_new("y", F32X4, [rows, length, q.width], groups))
}

const SCATTERED: &str = "
fn first_query() -> u32 { return moment[0]; }
fn key_count() -> u32 { return moment[1]; }
fn key_row(query: Query, keys: u32, key: u32) -> u32 { return moment[numbers.slots + query.row * keys + key]; }
";
const IN_ORDER: &str = "
fn first_query() -> u32 { return 0u; }
fn key_count() -> u32 { return numbers.keys; }
fn key_row(query: Query, keys: u32, key: u32) -> u32 { return query.row / numbers.share * keys + key; }
";
const AT_A_MOMENT: &str = "
fn first_bias() -> u32 { return moment[2]; }
";
const AT_ONCE: &str = "
fn first_bias() -> u32 { return numbers.bias_first; }
";
const SCALED: &str = "
fn head_scale(head: u32) -> f32 { return head_scales[head]; }
";
const NOT_SCALED: &str = "
fn head_scale(head: u32) -> f32 { return 1.0; }
";
