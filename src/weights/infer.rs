//! The configuration of a checkpoint, from the names and shapes of its tensors.
//!
//! Shapes cannot lie about what the model computes with, so they decide whatever they show: widths, depths, heads,
//! bucket sizes, the stem and which norms exist. The rest comes from the settings stored beside the weights, and
//! where those are silent from the released models.

use super::layout::EMBEDDING;
use crate::config::{OfaConfig, Size, TYPE_EMBEDDINGS, UNUSED_POSITION_ROWS};
use crate::error::{Error, Result};
use serde_json::Value;
use std::collections::BTreeMap;

/// Shapes by bundle name, index tables included where the checkpoint has them.
pub type Shapes = BTreeMap<String, Vec<usize>>;

/// Entries of `decoder.image_position_idx` besides its W² grid ids: the BOS id and the filler, by layout.
const POSITION_FILLER: [usize; 2] = [770, 769];

/// # Errors
/// [`Error::Tensor`] naming the tensor that is missing or has an impossible shape, [`Error::Config`] when the values
/// contradict each other. `text_size` is the number of ids before `<code_0>`, from the tokenizer.
pub fn infer_config(
    shapes: &Shapes,
    settings: &BTreeMap<String, Value>,
    text_size: Option<usize>,
) -> Result<OfaConfig> {
    let look = Look { shapes };
    let mut config = Size::Tiny.config();
    [config.vocab_size, config.d_model] = look.shape(EMBEDDING)?;
    let [encoder_rows, encoder_heads] = look.shape("encoder.token_rel_pos_table_list.0.weight")?;
    let [_, decoder_heads] = look.shape("decoder.token_rel_pos_table_list.0.weight")?;
    let [image_rows, _] = look.shape("encoder.image_rel_pos_table_list.0.weight")?;
    let [position_rows, _] = look.shape("encoder.embed_positions.weight")?;
    config.encoder_attention_heads = encoder_heads;
    config.decoder_attention_heads = decoder_heads;
    config.encoder_layers = look.count(|layer| format!("encoder.layers.{layer}.fc1.weight"));
    config.decoder_layers = look.count(|layer| format!("decoder.layers.{layer}.fc1.weight"));
    [config.encoder_ffn_dim, _] = look.shape("encoder.layers.0.fc1.weight")?;
    [config.decoder_ffn_dim, _] = look.shape("decoder.layers.0.fc1.weight")?;
    config.token_bucket_size = encoder_rows.div_ceil(2);
    // rows = (2b − 1)² + 3
    config.image_bucket_size = image_rows.saturating_sub(3).isqrt().div_ceil(2);
    config.max_position_embeddings = position_rows.saturating_sub(UNUSED_POSITION_ROWS);
    if let Some([rows]) = look.find("decoder.image_position_idx") {
        let grid = POSITION_FILLER.iter().filter_map(|filler| rows.checked_sub(*filler));
        if let Some(codes) = grid.filter(|codes| codes.isqrt().pow(2) == *codes).find(|codes| *codes > 0) {
            config.code_image_size = codes.isqrt() * crate::config::CODE_STRIDE;
        }
    } else if let Some(size) = number(settings, "code_image_size") {
        config.code_image_size = size;
    } else {
        // Nothing tells; the largest that fits, until a configuration does.
        config.code_image_size = config.code_image_size.min(config.image_bucket_size * crate::config::CODE_STRIDE);
    }
    infer_flags(&look, &mut config)?;
    // Before the stem, which a checkpoint with another kind of stem does not have.
    apply_settings(settings, &mut config)?;
    infer_stem(&look, &mut config)?;
    infer_vocabulary(settings, text_size, &mut config)?;
    config.validate()?;
    Ok(config)
}

fn infer_flags(look: &Look, config: &mut OfaConfig) -> Result<()> {
    config.encoder_normalize_before = look.has("encoder.layer_norm.weight");
    config.decoder_normalize_before = look.has("decoder.layer_norm.weight");
    config.layernorm_embedding = look.has("encoder.layernorm_embedding.weight");
    config.patch_layernorm_embedding = look.has("encoder.patch_layernorm_embedding.weight");
    config.code_layernorm_embedding = look.has("decoder.code_layernorm_embedding.weight");
    config.scale_heads = look.has("encoder.layers.0.self_attn.c_attn");
    config.scale_resids = look.has("encoder.layers.0.w_resid");
    let scale_attn = look.has("encoder.layers.0.self_attn_mid_layer_norm.weight");
    let scale_fc = look.has("encoder.layers.0.ffn_layer_norm.weight");
    config.normformer = scale_attn && scale_fc;
    if scale_attn != scale_fc {
        config.scale_attn = Some(scale_attn);
        config.scale_fc = Some(scale_fc);
    }
    let types = "encoder.type_embedding.weight";
    config.add_type_embedding = look.has(types);
    if let Some([rows, _]) = look.find(types)
        && rows != TYPE_EMBEDDINGS
    {
        return Err(Error::tensor(types, format!("{TYPE_EMBEDDINGS} rows: text, image"), format!("{rows} rows")));
    }
    Ok(())
}

fn infer_stem(look: &Look, config: &mut OfaConfig) -> Result<()> {
    let [channels, _, _, _] = look.shape("encoder.embed_images.conv1.weight")?;
    config.resnet_base_channels = channels;
    let blocks =
        [1, 2, 3].map(|stage| look.count(|block| format!("encoder.embed_images.layer{stage}.{block}.conv1.weight")));
    config.batch_norm_folded = look.has("encoder.embed_images.conv1.bias");
    let named = Size::ALL.into_iter().map(Size::config).find(|preset| preset.stem_blocks() == blocks);
    match named {
        Some(preset) => config.resnet_type = preset.resnet_type,
        None => config.resnet_layers = Some(blocks),
    }
    Ok(())
}

/// What shapes do not show. The names are fairseq's (reference, appendix E).
fn apply_settings(settings: &BTreeMap<String, Value>, config: &mut OfaConfig) -> Result<()> {
    let flag = |key: &str, slot: &mut bool| {
        if let Some(value) = settings.get(key).and_then(Value::as_bool) {
            *slot = value;
        }
    };
    flag("disable_entangle", &mut config.disable_entangle);
    flag("entangle_position_embedding", &mut config.entangle_position_embedding);
    flag("interpolate_position", &mut config.interpolate_position);
    let mut plain = !config.scale_embedding;
    flag("no_scale_embedding", &mut plain);
    config.scale_embedding = !plain;
    let real = |key: &str, slot: &mut f64| {
        if let Some(value) = settings.get(key).and_then(Value::as_f64) {
            *slot = value;
        }
    };
    real("attn_scale_factor", &mut config.attn_scale_factor);
    real("dropout", &mut config.dropout);
    real("attention_dropout", &mut config.attention_dropout);
    // The older name first, so that the newer one wins.
    real("relu_dropout", &mut config.activation_dropout);
    real("activation_dropout", &mut config.activation_dropout);
    real("encoder_drop_path_rate", &mut config.encoder_drop_path_rate);
    real("decoder_drop_path_rate", &mut config.decoder_drop_path_rate);
    real("resnet_drop_path_rate", &mut config.resnet_drop_path_rate);
    if let Some(size) = number(settings, "orig_patch_image_size") {
        config.orig_patch_image_size = size;
    }
    if let Some(name) = settings.get("activation_fn").and_then(Value::as_str) {
        config.activation_function = name.to_owned();
    }
    if settings.get("sync_bn").and_then(Value::as_bool) == Some(true) {
        return Err(Error::config("sync_bn", "false", "true: batch norms with another epsilon (1e-3)"));
    }
    if settings.get("resnet_type").and_then(Value::as_str).is_some_and(|name| !name.starts_with("resnet")) {
        return Err(Error::config("resnet_type", "a resnet", settings.get("resnet_type").cloned().unwrap_or_default()));
    }
    Ok(())
}

/// Where the text ids, the codes and the bins begin and end.
fn infer_vocabulary(
    settings: &BTreeMap<String, Value>,
    text_size: Option<usize>,
    config: &mut OfaConfig,
) -> Result<()> {
    let stored = (number(settings, "code_dict_size"), number(settings, "num_bins"));
    let vocab = config.vocab_size;
    if let (Some(codes), Some(bins)) = stored {
        (config.num_codes, config.num_bins) = (codes, bins);
    } else if let Some(rest) = text_size.and_then(|text| vocab.checked_sub(text)) {
        config.num_bins = stored.1.unwrap_or(config.num_bins);
        if config.num_bins > rest {
            let expected = "settings beside the weights (config.json) that say how many codes and bins there are";
            return Err(Error::config(
                "code_dict_size, num_bins",
                expected,
                format!("none, and {rest} ids behind the text"),
            ));
        }
        config.num_codes = rest - config.num_bins;
    }
    let special = config.num_codes.saturating_add(config.num_bins);
    let text = vocab.checked_sub(special).filter(|text| *text > 4);
    let Some(text) = text else {
        let found = format!("{vocab}, of which {} codes and {} bins", config.num_codes, config.num_bins);
        return Err(Error::config("vocab_size", "text ids before the codes and bins", found));
    };
    if let Some(expected) = text_size
        && expected != text
    {
        let found = format!("{vocab} rows less {} codes and {} bins: {text}", config.num_codes, config.num_bins);
        return Err(Error::config("vocab_size", format!("the tokenizer's {expected} text ids"), found));
    }
    // `<mask>` is the last id before the codes (reference §4.1).
    config.mask_token_id = (text - 1) as u32;
    Ok(())
}

fn number(settings: &BTreeMap<String, Value>, key: &str) -> Option<usize> {
    settings.get(key).and_then(Value::as_u64).and_then(|value| usize::try_from(value).ok())
}

/// Rewrites an HF `config.json` to what a bundle's says: there the decoder adds positions only if the encoder does
/// (reference §12).
pub fn adopt_config(file: &mut serde_json::Map<String, Value>) {
    let is_set = |key: &str| file.get(key) == Some(&Value::Bool(true));
    let disabled = is_set("disable_entangle") || !is_set("entangle_position_embedding");
    file.insert("disable_entangle".into(), disabled.into());
}

/// A `config.json` completed by what the shapes show.
///
/// Keys that the file has are kept and must agree with the shapes; keys that it lacks are taken from `inferred`.
///
/// # Errors
/// [`Error::Config`] naming every key that contradicts the tensors.
pub fn merge_config(file: &serde_json::Map<String, Value>, inferred: &OfaConfig) -> Result<OfaConfig> {
    let own = serde_json::to_value(inferred).map_err(|error| Error::file("config.json", error))?;
    let mut merged = own.as_object().cloned().unwrap_or_default();
    for (key, value) in file {
        merged.insert(key.clone(), value.clone());
    }
    let merged: OfaConfig =
        serde_json::from_value(Value::Object(merged)).map_err(|error| Error::file("config.json", error))?;
    merged.validate()?;
    compare(&merged, inferred, "config.json")?;
    Ok(merged)
}

/// # Errors
/// [`Error::Config`] when the tensors are not those of `size`.
pub fn check_size(size: Size, inferred: &OfaConfig) -> Result<()> {
    let preset = OfaConfig { vocab_size: inferred.vocab_size, ..size.config() };
    // Released fine-tunings differ from the presets in these alone.
    let preset = OfaConfig {
        code_image_size: inferred.code_image_size,
        max_position_embeddings: inferred.max_position_embeddings,
        batch_norm_folded: inferred.batch_norm_folded,
        ..preset
    };
    compare(&preset, inferred, &format!("--arch {}", size.name()))
}

/// Everything that decides the set of tensors and their shapes must agree.
fn compare(stated: &OfaConfig, inferred: &OfaConfig, source: &str) -> Result<()> {
    let rows = |config: &OfaConfig| {
        [
            ("vocab_size", config.vocab_size),
            ("d_model", config.d_model),
            ("encoder_layers", config.encoder_layers),
            ("decoder_layers", config.decoder_layers),
            ("encoder_attention_heads", config.encoder_attention_heads),
            ("decoder_attention_heads", config.decoder_attention_heads),
            ("encoder_ffn_dim", config.encoder_ffn_dim),
            ("decoder_ffn_dim", config.decoder_ffn_dim),
            ("max_position_embeddings", config.max_position_embeddings),
            ("token_bucket_size", config.token_bucket_size),
            ("image_bucket_size", config.image_bucket_size),
            ("resnet_base_channels", config.resnet_base_channels),
            ("resnet blocks of stage 1", config.stem_blocks()[0]),
            ("resnet blocks of stage 2", config.stem_blocks()[1]),
            ("resnet blocks of stage 3", config.stem_blocks()[2]),
            ("scale_attn", config.scale_attn().into()),
            ("scale_fc", config.scale_fc().into()),
            ("scale_heads", config.scale_heads.into()),
            ("scale_resids", config.scale_resids.into()),
            ("encoder_normalize_before", config.encoder_normalize_before.into()),
            ("decoder_normalize_before", config.decoder_normalize_before.into()),
            ("layernorm_embedding", config.layernorm_embedding.into()),
            ("patch_layernorm_embedding", config.patch_layernorm_embedding.into()),
            ("code_layernorm_embedding", config.code_layernorm_embedding.into()),
            ("add_type_embedding", config.add_type_embedding.into()),
            ("batch_norm_folded", config.batch_norm_folded.into()),
        ]
    };
    let different: Vec<_> =
        rows(stated).into_iter().zip(rows(inferred)).filter(|((_, stated), (_, found))| stated != found).collect();
    if different.is_empty() {
        return Ok(());
    }
    let list = |pick: fn(usize, usize) -> usize| {
        let pairs = different.iter().map(|((key, stated), (_, found))| format!("{key} {}", pick(*stated, *found)));
        pairs.collect::<Vec<_>>().join(", ")
    };
    let found = format!("tensors with {}", list(|_, found| found));
    Err(Error::config(source, list(|stated, _| stated), found))
}

pub(super) struct Look<'a> {
    pub shapes: &'a Shapes,
}

impl Look<'_> {
    pub fn has(&self, name: &str) -> bool {
        self.shapes.contains_key(name)
    }

    pub fn find<const N: usize>(&self, name: &str) -> Option<[usize; N]> {
        self.shapes.get(name).and_then(|shape| <[usize; N]>::try_from(shape.as_slice()).ok())
    }

    pub fn shape<const N: usize>(&self, name: &str) -> Result<[usize; N]> {
        match self.shapes.get(name) {
            None => Err(Error::tensor(name, format!("a tensor of {N} dimensions"), "no such tensor")),
            Some(shape) => self
                .find(name)
                .ok_or_else(|| Error::tensor(name, format!("a tensor of {N} dimensions"), format!("shape {shape:?}"))),
        }
    }

    /// How many of `name(0)`, `name(1)`, … there are.
    pub fn count(&self, name: impl Fn(usize) -> String) -> usize {
        (0..).take_while(|index| self.has(&name(*index))).count()
    }
}
