//! Names of tensors in the two published layouts, and what is left behind: one visible table.
//!
//! Bundles use the HF port's names; the original fairseq checkpoints differ in the rows of [`RENAMES`]. Everything
//! in neither table keeps its name.

use super::raw::Tensors;
use crate::error::{Error, Result};
use serde::Serialize;

/// Who named the tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    Fairseq,
    Hf,
}

/// `{side}.layers.{l}.{fairseq}.…` is `{side}.layers.{l}.{hf}.…` in a bundle.
pub struct Rename {
    pub side: &'static str,
    pub fairseq: &'static str,
    pub hf: &'static str,
}

const fn rename(side: &'static str, fairseq: &'static str, hf: &'static str) -> Rename {
    Rename { side, fairseq, hf }
}

/// Reference §3.3. The HF port named the extra norms of a layer after their place.
pub const RENAMES: [Rename; 7] = [
    rename("encoder", "attn_ln", "self_attn_mid_layer_norm"),
    rename("encoder", "ffn_layernorm", "ffn_layer_norm"),
    rename("decoder", "self_attn_ln", "self_attn_mid_layer_norm"),
    rename("decoder", "cross_attn_ln", "cross_attn_mid_layer_norm"),
    rename("decoder", "encoder_attn_layer_norm", "cross_attn_layer_norm"),
    rename("decoder", "encoder_attn", "cross_attn"),
    rename("decoder", "ffn_layernorm", "ffn_layer_norm"),
];

/// The one table that the three tied names share.
pub const EMBEDDING: &str = "encoder.embed_tokens.weight";

/// A key that does not enter a bundle; `*` stands for any start of the name.
pub struct Dropped {
    pub pattern: &'static str,
    pub reason: &'static str,
    /// A copy of [`EMBEDDING`], which is compared before it is dropped.
    pub tied: bool,
}

const fn ignored(pattern: &'static str, reason: &'static str) -> Dropped {
    Dropped { pattern, reason, tied: false }
}

const fn tied(pattern: &'static str) -> Dropped {
    Dropped { pattern, reason: "the same table as encoder.embed_tokens.weight, stored once", tied: true }
}

pub const DROPPED: [Dropped; 10] = [
    ignored("encoder.version", "a format number of fairseq, not a weight"),
    ignored("decoder.version", "a format number of fairseq, not a weight"),
    ignored("encoder.token_rp_bucket", "an index table that follows from the configuration"),
    ignored("decoder.token_rp_bucket", "an index table that follows from the configuration"),
    ignored("encoder.image_rp_bucket", "an index table that follows from the configuration"),
    ignored("decoder.image_rp_bucket", "an index table that follows from the configuration"),
    ignored("decoder.image_position_idx", "an index table that follows from the configuration"),
    ignored("*.num_batches_tracked", "a training counter that nothing reads"),
    tied("decoder.embed_tokens.weight"),
    tied("decoder.output_projection.weight"),
];

/// The row of [`DROPPED`] that `name` falls under. Both layouts share these names.
pub fn dropped(name: &str) -> Option<&'static Dropped> {
    DROPPED.iter().find(|row| match row.pattern.strip_prefix('*') {
        Some(end) => name.ends_with(end),
        None => name == row.pattern,
    })
}

/// The bundle's name of a fairseq tensor.
pub fn hf_name(fairseq: &str) -> String {
    replace(fairseq, |row| (row.fairseq, row.hf))
}

/// The fairseq name of a bundle's tensor.
pub fn fairseq_name(hf: &str) -> String {
    replace(hf, |row| (row.hf, row.fairseq))
}

fn replace(name: &str, direction: impl Fn(&Rename) -> (&'static str, &'static str)) -> String {
    let mut pieces = name.splitn(5, '.');
    if let (Some(side), Some("layers"), Some(layer), Some(part), Some(rest)) =
        (pieces.next(), pieces.next(), pieces.next(), pieces.next(), pieces.next())
    {
        for row in &RENAMES {
            let (from, to) = direction(row);
            if row.side == side && from == part {
                return format!("{side}.layers.{layer}.{to}.{rest}");
            }
        }
    }
    name.to_owned()
}

/// Which layout these names are in: every decoder layer attends to the encoder, and the layouts name that
/// differently.
pub fn detect<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Layout> {
    names.into_iter().filter(|name| name.starts_with("decoder.layers.")).find_map(|name| match name.split('.').nth(3) {
        Some("encoder_attn") => Some(Layout::Fairseq),
        Some("cross_attn") => Some(Layout::Hf),
        _ => None,
    })
}

/// What became of one tensor of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    pub from: String,
    /// The bundle's name; `None` when the tensor was dropped.
    pub to: Option<String>,
    /// The rule, for a summary: the pattern of the table's row, or "unchanged".
    pub rule: String,
}

/// The bundle's names for a checkpoint's tensors, in their order, and one [`Row`] for each. Whoever stores tied tables once may
/// have left any of their names.
///
/// # Errors
/// [`Error::Tensor`] when a copy of the embedding differs from it or two tensors end up with one name.
pub fn to_bundle_names(layout: Layout, tensors: Tensors<'static>) -> Result<(Tensors<'static>, Vec<Row>)> {
    let mut rows = Vec::with_capacity(tensors.len());
    let (mut copies, mut tensors): (Vec<_>, Vec<_>) =
        tensors.into_iter().partition(|(name, _)| dropped(name).is_some_and(|row| row.tied));
    let only = tensors.iter().all(|(name, _)| name != EMBEDDING).then(|| copies.pop()).flatten();
    if let Some((from, tensor)) = only {
        rows.push(Row { rule: format!("{from} → {EMBEDDING}"), from, to: Some(EMBEDDING.to_owned()) });
        tensors.insert(0, (EMBEDDING.to_owned(), tensor));
    }
    let embedding = tensors.iter().find(|(name, _)| name == EMBEDDING).map(|(_, tensor)| tensor);
    for (name, copy) in &copies {
        if embedding != Some(copy) {
            let found = if embedding.is_some() { "another table" } else { "no such tensor" };
            return Err(Error::tensor(name, format!("a copy of {EMBEDDING}"), found));
        }
        rows.push(dropped_row(name));
    }
    let mut kept = Vec::with_capacity(tensors.len());
    let mut names = std::collections::HashSet::new();
    for (from, tensor) in tensors {
        if dropped(&from).is_some() {
            rows.push(dropped_row(&from));
            continue;
        }
        let to = match layout {
            Layout::Fairseq => hf_name(&from),
            Layout::Hf => from.clone(),
        };
        if !names.insert(to.clone()) {
            return Err(Error::tensor(to, "one tensor of this name", format!("another, from `{from}`")));
        }
        if rows.iter().all(|row| row.to.as_ref() != Some(&to)) {
            rows.push(Row { rule: rule(&from, &to), from, to: Some(to.clone()) });
        }
        kept.push((to, tensor));
    }
    Ok((kept, rows))
}

/// The row of a tensor that [`dropped`] knows.
pub fn dropped_row(name: &str) -> Row {
    let rule = dropped(name).map_or_else(String::new, |row| format!("{} dropped: {}", row.pattern, row.reason));
    Row { from: name.to_owned(), to: None, rule }
}

fn rule(from: &str, to: &str) -> String {
    if from == to {
        return "unchanged".to_owned();
    }
    let part = |name: &str| name.split('.').nth(3).unwrap_or_default().to_owned();
    let side = from.split('.').next().unwrap_or_default();
    format!("{side}.layers.*.{} → {}", part(from), part(to))
}
