//! Weights: strict reading from bytes, layouts, quantisation, shards, upload.
//!
//! Into a bundle: `checkpoint` (fairseq's pickles through `torch` and `pickle`, the HF port's directories) → `layout`
//! (one set of names) → `infer` (the configuration) → `fold`, `packing`, `quantize` → `bundle`. Out of one: `manifest`, `shard`
//! and `assemble` work on bytes from anywhere, `upload` puts them on the device. `drift` measures what smaller weights
//! cost, `watch` and `feedback` round them for what a model is asked. `vqgan` and `vqgan_files` do for the model of image codes what `layout`, `infer`, `checkpoint` and `load` do
//! for the large one. Only `checkpoint`, `bundle`, `verify`, `load` and `vqgan_files` touch files.

mod assemble;
mod drift;
mod feedback;
mod fold;
mod infer;
mod layout;
mod manifest;
mod packing;
mod pickle;
mod quantize;
mod raw;
mod shard;
mod strict;
mod unpickle;
mod upload;

#[cfg(feature = "cli")]
mod bundle;
#[cfg(feature = "cli")]
mod checkpoint;
#[cfg(feature = "cli")]
mod load;
#[cfg(feature = "cli")]
mod target;
#[cfg(feature = "cli")]
mod torch;
#[cfg(feature = "cli")]
mod verify;
#[cfg(feature = "cli")]
mod vocabulary;
mod vqgan;
#[cfg(feature = "cli")]
mod vqgan_files;
#[cfg(feature = "cli")]
mod watch;

pub use assemble::{Assembler, split};
pub use drift::{Drift, drift};
pub use feedback::ErrorFeedback;
pub use fold::{BATCH_NORM_EPS, STEM, batch_norm_of, change_folded, fold_batch_norm};
pub use infer::{Shapes, adopt_config, check_size, infer_config, merge_config};
pub use layout::{
    DROPPED, Dropped, EMBEDDING, Layout, RENAMES, Rename, Row, detect, dropped, dropped_row, fairseq_name, hf_name,
    to_bundle_names,
};
pub use manifest::{
    CHUNK, CONFIG, FileEntry, GENERATION_CONFIG, INDEX, MANIFEST, Manifest, Precision, RECIPE, TOKENIZER, VERSION,
};
pub use packing::{PackingChoice, Part};
pub use pickle::{Id, Pickle, Storage as PickleStorage, Value, View};
pub use quantize::{
    Packed, Storage, as_quantized, packed_names, precision_of, quantize, quantize_tensor, stored_shapes,
};
pub use raw::{Dtype, RawTensor, Tensors, elements};
pub use shard::{Slot, encode_shard, header_length, read_header, read_shard};
pub use strict::{compare_keys, refuse};
pub use upload::DeviceWeights;
pub use vqgan::{infer_vqgan_config, vqgan_tensors};

#[cfg(feature = "cli")]
pub use bundle::{
    Bundle, BundleFiles, SHARD_LIMIT, read_bundle, read_files, read_listed, read_tensors, sha256, write_bundle,
    write_bundle_and, write_bundle_with_limit,
};
#[cfg(feature = "train")]
pub(crate) use bundle::{replace_file, sync_directory, write_file};
#[cfg(feature = "cli")]
pub use checkpoint::{Checkpoint, Settings, read_checkpoint, read_torch_bytes};
#[cfg(feature = "cli")]
pub use load::load_model;
#[cfg(feature = "cli")]
pub use verify::{Report, verify, verify_vqgan};
#[cfg(feature = "cli")]
pub use vocabulary::VocabFiles;
#[cfg(feature = "cli")]
pub use vqgan_files::{VQGAN, load_vqgan, read_vqgan, read_vqgan_checkpoint, write_vqgan};
#[cfg(feature = "cli")]
pub use watch::{SeenByName, feedback, load_watched};
