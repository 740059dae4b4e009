//! The encoder: image patches first, then source tokens (reference §1.2 to §1.8).

use super::layer::{EncoderLayer, LayerOptions};
use super::parameters::Path;
use super::position::{PositionProjection, PositionTables, RelativeTables, image_position_ids, interpolate_grid};
use super::regularize::{drop_path_rate, dropout};
use super::relative::{PatchBuckets, RelativeBias};
use super::resnet::Resnet;
use super::tokens::TokenBatch;
use crate::config::{OfaConfig, TYPE_EMBEDDINGS};
use crate::error::Result;
use crate::kernels::{Bias, LayerNorm, Linear, MASKED, Stream, Table, indices, normalise, pixels_as_rows, tensor};
use burn::module::{Module, Param};
use burn::tensor::Tensor;

const TEXT: usize = 0;
const IMAGE: usize = 1;

#[derive(Module, Debug)]
pub struct Encoder {
    embed_images: Resnet,
    image_proj: Linear,
    type_embedding: Option<Param<Tensor<2>>>,
    layernorm_embedding: Option<LayerNorm>,
    patch_layernorm_embedding: Option<LayerNorm>,
    positions: PositionTables,
    pos_projection: PositionProjection,
    relative: Vec<RelativeTables>,
    layers: Vec<EncoderLayer>,
    layer_norm: Option<LayerNorm>,
    options: EncoderOptions,
}

#[derive(Module, Debug)]
struct EncoderOptions {
    embed_scale: f64,
    dropout: f64,
    token_bucket_size: usize,
    image_bucket_size: usize,
    native_grid: usize,
    interpolate_position: bool,
    entangle_position: bool,
    pad: usize,
}

/// Projected patches of a batch of images of one size.
#[derive(Debug, Clone)]
pub struct ImageFeatures {
    /// `[B, P, C]`, row by row.
    pub patches: Tensor<3>,
    /// Rows and columns of the grid.
    pub grid: [usize; 2],
}

/// What the encoder reads.
#[derive(Debug, Clone)]
pub struct Source {
    /// `[B, S]`
    pub tokens: TokenBatch,
    pub image: Option<ImageFeatures>,
    /// Samples whose patches count as padding are false; empty means all true.
    pub patch_masks: Vec<bool>,
    /// For each sample the patches to keep, in this order; `sample_patch_num` of pre-training.
    pub patch_order: Option<Vec<Vec<usize>>>,
}

impl Source {
    pub fn text(tokens: TokenBatch) -> Self {
        Self { tokens, image: None, patch_masks: Vec::new(), patch_order: None }
    }

    pub fn with_image(self, image: ImageFeatures) -> Self {
        Self { image: Some(image), ..self }
    }
}

/// What the decoder reads.
#[derive(Debug, Clone)]
pub struct EncoderOutput {
    /// `[B, L, C]`
    pub hidden: Tensor<3>,
    /// The normalised position embeddings, `[1 or B, L, C]`.
    pub positions: Tensor<3>,
    /// True at padded positions, row by row; `[B, L]`.
    pub padding: Vec<bool>,
}

impl EncoderOutput {
    /// One sample of the batch.
    pub fn sample(&self, sample: usize) -> Self {
        let [_, length, width] = self.hidden.dims();
        let [rows, _, _] = self.positions.dims();
        let row = |tensor: &Tensor<3>, row: usize| tensor.clone().slice([row..row + 1, 0..length, 0..width]);
        Self {
            hidden: row(&self.hidden, sample),
            positions: row(&self.positions, sample.min(rows - 1)),
            padding: self.padding[sample * length..(sample + 1) * length].to_vec(),
        }
    }

    /// The additive mask of padded keys, `[B, 1, 1, L]`; `None` without padding.
    pub fn key_mask(&self) -> Option<Tensor<4>> {
        let [batch, length, _] = self.hidden.dims();
        key_mask(&self.padding, batch, length, &self.hidden.device())
    }
}

fn key_mask(padding: &[bool], batch: usize, length: usize, device: &burn::tensor::Device) -> Option<Tensor<4>> {
    padding.contains(&true).then(|| {
        let values: Vec<f32> = padding.iter().map(|padded| if *padded { MASKED } else { 0.0 }).collect();
        tensor(values, [batch, 1, 1, length], device)
    })
}

impl Encoder {
    pub fn new(config: &OfaConfig, embed_images: Resnet, path: &mut Path) -> Result<Self> {
        let (width, heads, count) = (config.d_model, config.encoder_attention_heads, config.encoder_layers);
        let image_proj = path.linear("image_proj", config.stem_channels(), width)?;
        let type_embedding = config
            .add_type_embedding
            .then(|| path.tensor("type_embedding.weight", [TYPE_EMBEDDINGS, width]))
            .transpose()?;
        let layernorm_embedding = path.layer_norm_if(config.layernorm_embedding, "layernorm_embedding", width)?;
        let patch_layernorm_embedding =
            path.layer_norm_if(config.patch_layernorm_embedding, "patch_layernorm_embedding", width)?;
        let positions = PositionTables::new(config, path)?;
        let pos_projection = PositionProjection::new(config, path, "", heads)?;
        let mut relative = Vec::with_capacity(count);
        let mut layers = Vec::with_capacity(count);
        for index in 0..count {
            relative.push(RelativeTables::new(config, path, index, heads)?);
            let options = LayerOptions {
                heads,
                ffn_dim: config.encoder_ffn_dim,
                normalize_before: config.encoder_normalize_before,
                drop_path_rate: drop_path_rate(config.encoder_drop_path_rate, index, count),
            };
            layers.push(EncoderLayer::new(config, &mut path.child(format_args!("layers.{index}")), &options)?);
        }
        let layer_norm = path.layer_norm_if(config.encoder_normalize_before, "layer_norm", width)?;
        let options = EncoderOptions {
            embed_scale: if config.scale_embedding { (width as f64).sqrt() } else { 1.0 },
            dropout: config.dropout,
            token_bucket_size: config.token_bucket_size,
            image_bucket_size: config.image_bucket_size,
            native_grid: config.native_grid(),
            interpolate_position: config.interpolate_position,
            entangle_position: config.entangle_position_embedding,
            pad: config.pad_token_id as usize,
        };
        Ok(Self {
            embed_images,
            image_proj,
            type_embedding,
            layernorm_embedding,
            patch_layernorm_embedding,
            positions,
            pos_projection,
            relative,
            layers,
            layer_norm,
            options,
        })
    }

    /// # Shapes
    /// `[B, 3, height, width]` → patches `[B, P, C]`
    pub fn encode_image(&self, patch_images: Tensor<4>) -> ImageFeatures {
        let features = self.embed_images.forward(patch_images);
        let [_, _, rows, columns] = features.dims();
        ImageFeatures { patches: self.image_proj.forward(pixels_as_rows(features)), grid: [rows, columns] }
    }

    /// Runs all layers; `embed_tokens` is the table shared with the decoder.
    pub fn forward(&self, embed_tokens: &Table, source: &Source) -> EncoderOutput {
        let TokenBatch { batch, len: text_len, ids } = &source.tokens;
        let (batch, text_len) = (*batch, *text_len);
        let device = embed_tokens.device();
        let image = source.image.as_ref().map(|image| self.embed_patches(image, source.patch_order.as_deref()));
        let text_positions = self.positions.text(text_len);

        let embedded = embed_tokens.rows(ids);
        let [_, width] = embedded.dims();
        let text = embedded.reshape([batch, text_len, width]);
        let text = self.embed(text, TEXT, text_positions.clone(), self.layernorm_embedding.as_ref());
        let text_positions = self.positions.pos_ln.forward(text_positions);

        let patches = image.as_ref().map_or(0, |image| image.hidden.dims()[1]);
        let length = patches + text_len;
        let padding = self.padding(source, patches);
        let (hidden, positions, image_buckets) = match image {
            Some(image) => {
                let [rows, _, _] = image.positions.dims();
                let text_positions = text_positions.expand([rows, text_len, width]);
                let positions = Tensor::cat(vec![image.positions, text_positions], 1);
                (Tensor::cat(vec![image.hidden, text], 1), positions, Some(image.buckets))
            }
            None => (text, text_positions, None),
        };
        let mut hidden = hidden;
        if padding.contains(&true) {
            let keep: Vec<f32> = padding.iter().map(|padded| if *padded { 0.0 } else { 1.0 }).collect();
            hidden = hidden * tensor(keep, [batch, length, 1], &device);
        }

        let mask = key_mask(&padding, batch, length, &device);
        let absolute = self.pos_projection.bias(positions.clone(), positions.clone(), mask);
        let relative = RelativeBias::new(image_buckets, text_len, self.options.token_bucket_size, &device);
        let mut stream = Stream::new(None, hidden, None, self.layers.first().and_then(EncoderLayer::pre_norm));
        for (index, (layer, tables)) in self.layers.iter().zip(&self.relative).enumerate() {
            let bias = Bias::new(relative.add(absolute.clone(), tables));
            let next = self.layers.get(index + 1).map_or(self.layer_norm.as_ref(), EncoderLayer::pre_norm);
            stream = layer.forward(stream, &bias, next);
        }
        EncoderOutput { hidden: stream.normed, positions, padding }
    }

    /// scale → (+ positions, only if entangled) → + type → norm → dropout.
    fn embed(&self, x: Tensor<3>, kind: usize, positions: Tensor<3>, norm: Option<&LayerNorm>) -> Tensor<3> {
        let mut x = if self.options.embed_scale == 1.0 { x } else { x * self.options.embed_scale };
        if self.options.entangle_position {
            x = x + positions;
        }
        if let Some(table) = &self.type_embedding {
            let table = table.val();
            let [_, width] = table.dims();
            x = x + table.slice([kind..kind + 1, 0..width]).unsqueeze();
        }
        dropout(normalise(norm, x), self.options.dropout)
    }

    fn embed_patches(&self, image: &ImageFeatures, order: Option<&[Vec<usize>]>) -> EmbeddedPatches {
        let [rows, columns] = image.grid;
        let bucket_size = self.options.image_bucket_size;
        let native = self.options.native_grid;
        let ids = image_position_ids(rows, columns, bucket_size);
        // What counts is how many patches the model sees.
        let seen = order.map_or(ids.len(), |order| order[0].len());
        let positions = if self.options.interpolate_position && seen > native * native {
            interpolate_grid(self.positions.image(&image_position_ids(native, native, bucket_size)), rows, columns)
        } else {
            self.positions.image(&ids)
        };
        let device = image.patches.device();
        let [batch, count, width] = image.patches.dims();
        let (patches, positions) = match order {
            None => (image.patches.clone(), positions),
            Some(order) => {
                let kept = order[0].len();
                let chosen = |offset: usize| {
                    let rows = order
                        .iter()
                        .enumerate()
                        .flat_map(move |(sample, patches)| patches.iter().map(move |patch| sample * offset + patch));
                    indices(rows, &device)
                };
                let patches = image.patches.clone().reshape([batch * count, width]).select(0, chosen(count));
                let positions = positions.reshape([count, width]).select(0, chosen(0));
                (patches.reshape([batch, kept, width]), positions.reshape([batch, kept, width]))
            }
        };
        let ids = match order {
            None => vec![ids],
            Some(order) => order.iter().map(|patches| patches.iter().map(|patch| ids[*patch]).collect()).collect(),
        };
        let buckets = PatchBuckets::new(&ids, bucket_size);
        let hidden = self.embed(patches, IMAGE, positions.clone(), self.patch_layernorm_embedding.as_ref());
        EmbeddedPatches { hidden, positions: self.positions.image_pos_ln.forward(positions), buckets }
    }

    fn padding(&self, source: &Source, patches: usize) -> Vec<bool> {
        let tokens = &source.tokens;
        (0..tokens.batch)
            .flat_map(|sample| {
                let no_image = source.patch_masks.get(sample).is_some_and(|present| !present);
                let text = tokens.row(sample).iter().map(|id| *id as usize == self.options.pad);
                std::iter::repeat_n(no_image, patches).chain(text)
            })
            .collect()
    }
}

struct EmbeddedPatches {
    hidden: Tensor<3>,
    positions: Tensor<3>,
    buckets: PatchBuckets,
}
