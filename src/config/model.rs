//! The model's configuration: the HF port's `config.json` keys, and one preset table for the five sizes.

use crate::error::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// Rows of `type_embedding`: text, image.
pub const TYPE_EMBEDDINGS: usize = 2;
/// `embed_positions` has two rows that are never read (reference §1.5).
pub const UNUSED_POSITION_ROWS: usize = 2;
/// Output stride of the ResNet stem.
pub const STEM_STRIDE: usize = 16;
/// The bottleneck's output has four times its planes.
pub const BOTTLENECK_EXPANSION: usize = 4;
/// The VQ codes cover squares of this many pixels.
pub const CODE_STRIDE: usize = 8;
/// The `d_model` from which on a model is wide: that of OFA-Medium.
const WIDE: usize = 512;
/// Largest side of any model dimension that a hostile config may ask for.
const MAX_DIM: usize = 1 << 20;
/// Positions that the logarithmic buckets of texts are made for, whatever the configured maximum (reference §1.6).
pub const MAX_POSITIONS: usize = 1024;

/// How quantised tensors are stored (MLX convention, see `weights::quantize`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantization {
    pub bits: usize,
    pub group_size: usize,
}

impl Quantization {
    /// Weights that may share a scale.
    pub const GROUP_SIZES: [usize; 3] = [32, 64, 128];
    /// What [`Self::is_known`] expects, in words.
    pub const EXPECTED: &'static str = "4 or 8 bits, groups of 32, 64 or 128";

    /// Codes of so many bits begin at 0.
    pub fn greatest_code(bits: usize) -> u32 {
        (1 << bits) - 1
    }

    /// Whether there are kernels for it.
    pub fn is_known(self) -> bool {
        matches!(self.bits, 4 | 8) && Self::GROUP_SIZES.contains(&self.group_size)
    }
}

/// How a bundle's weights are stored, as MLX writes it: one way, and the modules for which there is another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packing {
    #[serde(flatten)]
    pub usual: Quantization,
    /// By [`module`](Self::module).
    #[serde(flatten, deserialize_with = "of_modules")]
    pub exceptions: BTreeMap<String, Quantization>,
}

impl Packing {
    /// Of a weight, `X.weight`.
    pub fn of(&self, weight: &str) -> Quantization {
        self.exceptions.get(Self::module(weight)).copied().unwrap_or(self.usual)
    }

    /// The module that a weight belongs to: its name without `.weight`.
    pub fn module(weight: &str) -> &str {
        weight.strip_suffix(".weight").unwrap_or(weight)
    }
}

impl From<Quantization> for Packing {
    fn from(usual: Quantization) -> Self {
        Self { usual, exceptions: BTreeMap::new() }
    }
}

/// What is said of modules; keys with anything but an object are other tools', except those of modules that are not
/// packed, which no kernel here expects.
fn of_modules<'de, D: Deserializer<'de>>(keys: D) -> std::result::Result<BTreeMap<String, Quantization>, D::Error> {
    let said = BTreeMap::<String, serde_json::Value>::deserialize(keys)?;
    let of_module = |(module, said): (String, serde_json::Value)| match said {
        serde_json::Value::Object(_) => Some(serde_json::from_value(said).map(|quantization| (module, quantization))),
        serde_json::Value::Bool(false) => Some(Err(serde::de::Error::custom(format!(
            "quantization.{module}: expected bits and group_size, found false, a module that is not quantised"
        )))),
        _ => None,
    };
    said.into_iter().filter_map(of_module).collect::<serde_json::Result<_>>().map_err(serde::de::Error::custom)
}

/// All flags of the architecture. Keys are those of the HF port's `config.json`; missing keys take the
/// values of the released models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OfaConfig {
    pub model_type: String,
    pub vocab_size: usize,
    pub d_model: usize,
    pub encoder_layers: usize,
    pub decoder_layers: usize,
    pub encoder_attention_heads: usize,
    pub decoder_attention_heads: usize,
    pub encoder_ffn_dim: usize,
    pub decoder_ffn_dim: usize,
    pub max_position_embeddings: usize,
    pub activation_function: String,
    pub dropout: f64,
    pub attention_dropout: f64,
    pub activation_dropout: f64,
    pub encoder_drop_path_rate: f64,
    pub decoder_drop_path_rate: f64,
    pub resnet_drop_path_rate: f64,
    pub encoder_normalize_before: bool,
    pub decoder_normalize_before: bool,
    /// The HF port's one switch for `scale_attn` and `scale_fc`; each can be set alone.
    pub normformer: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_attn: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_fc: Option<bool>,
    pub scale_heads: bool,
    pub scale_resids: bool,
    pub layernorm_embedding: bool,
    pub patch_layernorm_embedding: bool,
    pub code_layernorm_embedding: bool,
    pub add_type_embedding: bool,
    pub share_decoder_input_output_embed: bool,
    pub scale_embedding: bool,
    pub attn_scale_factor: f64,
    pub token_bucket_size: usize,
    pub image_bucket_size: usize,
    pub code_image_size: usize,
    pub entangle_position_embedding: bool,
    pub disable_entangle: bool,
    pub interpolate_position: bool,
    pub orig_patch_image_size: usize,
    pub resnet_type: String,
    /// Bottleneck blocks of the three stages; follows from `resnet_type` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resnet_layers: Option<[usize; 3]>,
    pub resnet_base_channels: usize,
    pub pad_token_id: u32,
    pub bos_token_id: u32,
    pub eos_token_id: u32,
    pub num_codes: usize,
    pub num_bins: usize,
    pub mask_token_id: u32,
    /// OFASys models are another architecture; true is refused.
    #[serde(skip_serializing_if = "is_false")]
    pub use_ofasys: bool,
    /// While training, the stem keeps its running statistics, and its norms are not trained.
    #[serde(skip_serializing_if = "is_false")]
    pub freeze_resnet: bool,
    /// BatchNorm has been folded into the convolutions, which then have biases.
    #[serde(skip_serializing_if = "is_false")]
    pub batch_norm_folded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantization: Option<Packing>,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl Default for OfaConfig {
    fn default() -> Self {
        Size::Tiny.config()
    }
}

/// The five published scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Size {
    Tiny,
    Medium,
    Base,
    Large,
    Huge,
}

struct Preset {
    size: Size,
    name: &'static str,
    d_model: usize,
    heads: usize,
    encoder_layers: usize,
    decoder_layers: usize,
    resnet: &'static str,
    /// Side of the square images of pre-training.
    image_size: u32,
}

/// Reference §2. The feed-forward width is four times the model's in all of them.
const PRESETS: [Preset; 5] = [
    Preset {
        size: Size::Tiny,
        name: "tiny",
        d_model: 256,
        heads: 4,
        encoder_layers: 4,
        decoder_layers: 4,
        resnet: "resnet50",
        image_size: 256,
    },
    Preset {
        size: Size::Medium,
        name: "medium",
        d_model: 512,
        heads: 8,
        encoder_layers: 4,
        decoder_layers: 4,
        resnet: "resnet101",
        image_size: 256,
    },
    Preset {
        size: Size::Base,
        name: "base",
        d_model: 768,
        heads: 12,
        encoder_layers: 6,
        decoder_layers: 6,
        resnet: "resnet101",
        image_size: 384,
    },
    Preset {
        size: Size::Large,
        name: "large",
        d_model: 1024,
        heads: 16,
        encoder_layers: 12,
        decoder_layers: 12,
        resnet: "resnet152",
        image_size: 480,
    },
    Preset {
        size: Size::Huge,
        name: "huge",
        d_model: 1280,
        heads: 16,
        encoder_layers: 24,
        decoder_layers: 12,
        resnet: "resnet152",
        image_size: 480,
    },
];

/// Blocks a stage by `resnet_type`; all of them are bottleneck nets here (reference §1.3).
const RESNETS: [(&str, [usize; 3]); 5] = [
    ("resnet18", [2, 2, 2]),
    ("resnet34", [3, 4, 6]),
    ("resnet50", [3, 4, 6]),
    ("resnet101", [3, 4, 23]),
    ("resnet152", [3, 8, 36]),
];

impl Size {
    pub const ALL: [Size; 5] = [Size::Tiny, Size::Medium, Size::Base, Size::Large, Size::Huge];

    fn preset(self) -> &'static Preset {
        &PRESETS[self as usize]
    }

    pub fn name(self) -> &'static str {
        self.preset().name
    }

    pub fn from_name(name: &str) -> Option<Size> {
        PRESETS.iter().find(|preset| preset.name == name).map(|preset| preset.size)
    }

    pub fn config(self) -> OfaConfig {
        let preset = self.preset();
        OfaConfig {
            model_type: "ofa".into(),
            vocab_size: 59457,
            d_model: preset.d_model,
            encoder_layers: preset.encoder_layers,
            decoder_layers: preset.decoder_layers,
            encoder_attention_heads: preset.heads,
            decoder_attention_heads: preset.heads,
            encoder_ffn_dim: 4 * preset.d_model,
            decoder_ffn_dim: 4 * preset.d_model,
            max_position_embeddings: 1024,
            activation_function: "gelu".into(),
            dropout: 0.0,
            attention_dropout: 0.0,
            activation_dropout: 0.0,
            encoder_drop_path_rate: 0.0,
            decoder_drop_path_rate: 0.0,
            resnet_drop_path_rate: 0.0,
            encoder_normalize_before: true,
            decoder_normalize_before: true,
            normformer: true,
            scale_attn: None,
            scale_fc: None,
            scale_heads: true,
            scale_resids: false,
            layernorm_embedding: true,
            patch_layernorm_embedding: true,
            code_layernorm_embedding: true,
            add_type_embedding: true,
            share_decoder_input_output_embed: true,
            scale_embedding: false,
            attn_scale_factor: 2.0,
            token_bucket_size: 256,
            image_bucket_size: 42,
            code_image_size: 128,
            entangle_position_embedding: false,
            disable_entangle: true,
            interpolate_position: false,
            orig_patch_image_size: 256,
            resnet_type: preset.resnet.into(),
            resnet_layers: None,
            resnet_base_channels: 64,
            pad_token_id: 1,
            bos_token_id: 0,
            eos_token_id: 2,
            num_codes: 8192,
            num_bins: 1000,
            mask_token_id: 50264,
            use_ofasys: false,
            freeze_resnet: false,
            batch_norm_folded: false,
            quantization: None,
        }
    }
}

impl OfaConfig {
    /// Parses and checks a `config.json`.
    pub fn from_json(json: &str) -> Result<Self> {
        let config: Self = serde_json::from_str(json).map_err(|error| Error::file("config.json", error))?;
        config.validate()?;
        Ok(config)
    }

    /// How weights of so many bits are packed where no more is said. Scales of 4 bits are to weigh as much beside them as
    /// those of 8 bits do, and less in wide models, whose many weights make up for that.
    pub fn usual_quantization(&self, bits: usize) -> Quantization {
        let group_size = match bits {
            4 if self.d_model < WIDE => 64,
            4 => 128,
            _ => 32,
        };
        Quantization { bits, group_size }
    }

    /// Whether the attention output is normalised again (`attn_ln` and its decoder twins).
    pub fn scale_attn(&self) -> bool {
        self.scale_attn.unwrap_or(self.normformer)
    }

    /// Whether the feed-forward activation is normalised (`ffn_layernorm`).
    pub fn scale_fc(&self) -> bool {
        self.scale_fc.unwrap_or(self.normformer)
    }

    /// Bottleneck blocks of the three stages.
    pub fn stem_blocks(&self) -> [usize; 3] {
        self.resnet_layers.unwrap_or_else(|| {
            RESNETS.iter().find(|(name, _)| *name == self.resnet_type).map_or([0; 3], |(_, blocks)| *blocks)
        })
    }

    /// Channels that the stem gives to `image_proj`.
    pub fn stem_channels(&self) -> usize {
        self.resnet_base_channels * 4 * BOTTLENECK_EXPANSION
    }

    /// Codes a side of the image-code grid.
    pub fn code_grid(&self) -> usize {
        self.code_image_size / CODE_STRIDE
    }

    /// Patches a side of the grid whose positions are interpolated for larger images.
    pub fn native_grid(&self) -> usize {
        self.orig_patch_image_size / STEM_STRIDE
    }

    /// The image side that a model of this width was pre-trained at; for widths of no published scale that of the
    /// nearest smaller one, but never more than the positions reach.
    pub fn pretraining_image_size(&self) -> u32 {
        let preset = PRESETS.iter().rev().find(|preset| preset.d_model <= self.d_model).unwrap_or(&PRESETS[0]);
        preset.image_size.min(self.largest_image_side())
    }

    /// The largest side in pixels whose patches have positions.
    pub fn largest_image_side(&self) -> u32 {
        (self.image_bucket_size * STEM_STRIDE) as u32
    }

    pub fn image_position_rows(&self) -> usize {
        self.image_bucket_size * self.image_bucket_size + 1
    }

    pub fn token_rel_pos_rows(&self) -> usize {
        2 * self.token_bucket_size - 1
    }

    pub fn image_rel_pos_rows(&self) -> usize {
        let width = 2 * self.image_bucket_size - 1;
        width * width + 3
    }

    /// Checks every value that the model's construction relies on.
    pub fn validate(&self) -> Result<()> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("d_model", self.d_model),
            ("encoder_layers", self.encoder_layers),
            ("decoder_layers", self.decoder_layers),
            ("encoder_attention_heads", self.encoder_attention_heads),
            ("decoder_attention_heads", self.decoder_attention_heads),
            ("encoder_ffn_dim", self.encoder_ffn_dim),
            ("decoder_ffn_dim", self.decoder_ffn_dim),
            ("resnet_base_channels", self.resnet_base_channels),
        ];
        let bounded = [
            ("max_position_embeddings", self.max_position_embeddings, 1..=MAX_POSITIONS),
            ("code_image_size", self.code_image_size, CODE_STRIDE..=MAX_DIM),
            ("orig_patch_image_size", self.orig_patch_image_size, STEM_STRIDE..=MAX_DIM),
        ];
        for (key, value, range) in sizes.into_iter().map(|(key, value)| (key, value, 1..=MAX_DIM)).chain(bounded) {
            if !range.contains(&value) {
                return Err(Error::config(key, format!("{} to {}", range.start(), range.end()), value));
            }
        }
        for (key, heads) in [
            ("encoder_attention_heads", self.encoder_attention_heads),
            ("decoder_attention_heads", self.decoder_attention_heads),
        ] {
            if !self.d_model.is_multiple_of(heads) {
                return Err(Error::config(key, format!("a divisor of d_model {}", self.d_model), heads));
            }
        }
        for (key, value) in
            [("token_bucket_size", self.token_bucket_size), ("image_bucket_size", self.image_bucket_size)]
        {
            if !(2..=4096).contains(&value) {
                return Err(Error::config(key, "2 to 4096", value));
            }
        }
        for (key, value) in [("encoder_layers", self.encoder_layers), ("decoder_layers", self.decoder_layers)] {
            if value > 1000 {
                return Err(Error::config(key, "at most 1000", value));
            }
        }
        if self.attn_scale_factor <= 0.0 || !self.attn_scale_factor.is_finite() {
            return Err(Error::config("attn_scale_factor", "a positive number", self.attn_scale_factor));
        }
        if self.stem_blocks().iter().any(|blocks| !(1..=1000).contains(blocks)) {
            let known: Vec<_> = RESNETS.iter().map(|(name, _)| *name).collect();
            return Err(Error::config("resnet_type", format!("one of {}", known.join(", ")), &self.resnet_type));
        }
        if self.code_grid() > self.image_bucket_size {
            let expected = format!("at most {} (image_bucket_size × 8)", self.image_bucket_size * CODE_STRIDE);
            return Err(Error::config("code_image_size", expected, self.code_image_size));
        }
        if self.activation_function != "gelu" {
            return Err(Error::config("activation_function", "gelu", &self.activation_function));
        }
        if !self.share_decoder_input_output_embed {
            return Err(Error::config("share_decoder_input_output_embed", "true", "false"));
        }
        if self.use_ofasys {
            let found = "true: an OFASys model, which is another architecture";
            return Err(Error::config("use_ofasys", "false", found));
        }
        if let Some(Packing { usual, exceptions }) = &self.quantization {
            let all = exceptions.iter().map(|(module, quantization)| (format!("quantization.{module}"), quantization));
            let unknown =
                std::iter::once(("quantization".to_owned(), usual)).chain(all).find(|(_, one)| !one.is_known());
            if let Some((key, Quantization { bits, group_size })) = unknown {
                let found = format!("{bits} bits, groups of {group_size}");
                return Err(Error::config(&key, Quantization::EXPECTED, found));
            }
        }
        for (key, rate) in [
            ("dropout", self.dropout),
            ("attention_dropout", self.attention_dropout),
            ("activation_dropout", self.activation_dropout),
            ("encoder_drop_path_rate", self.encoder_drop_path_rate),
            ("decoder_drop_path_rate", self.decoder_drop_path_rate),
            ("resnet_drop_path_rate", self.resnet_drop_path_rate),
        ] {
            if !(0.0..1.0).contains(&rate) {
                return Err(Error::config(key, "0 to below 1", rate));
            }
        }
        Ok(())
    }
}
