//! Weights: checkpoints, layouts, quantisation, folding, bundles, and bytes that nobody should trust.

mod bundles;
mod checkpoints;
mod codes;
mod drift;
mod folding;
mod mutations;
mod pickles;
mod quantisation;
mod shards;

use ofa::config::{OfaConfig, Packing, Quantization, Size};
use ofa::weights::*;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

fn goldens() -> PathBuf {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    std::env::var_os("OFA_GOLDENS").map_or_else(|| own.into(), PathBuf::from)
}

fn golden(name: &str) -> PathBuf {
    goldens().join(name)
}

fn golden_model() -> BTreeMap<String, RawTensor<'static>> {
    let bytes = std::fs::read(golden("micro/model.safetensors")).unwrap();
    read_shard("model.safetensors", &bytes).unwrap().into_iter().map(|(name, t)| (name, t.into_owned())).collect()
}

fn golden_config() -> OfaConfig {
    OfaConfig::from_json(&std::fs::read_to_string(golden("micro/config.json")).unwrap()).unwrap()
}

/// The bundle's tensors of the micro model, and the shapes they have.
fn micro_bundle() -> (OfaConfig, Vec<(String, RawTensor<'static>)>) {
    let checkpoint = read_checkpoint(&golden("micro-fairseq/checkpoint_slim.pt"), false).unwrap();
    let (tensors, _) = to_bundle_names(checkpoint.layout, checkpoint.tensors).unwrap();
    (golden_config(), tensors)
}

fn shapes_of(tensors: &[(String, RawTensor<'_>)]) -> Vec<(String, Vec<usize>)> {
    tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect()
}
