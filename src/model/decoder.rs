//! The decoder: one forward for training, prefill and step (reference §1.9, §1.10).

use super::cache::{BiasBlock, DecoderCache};
use super::encoder::EncoderOutput;
use super::layer::{DecoderLayer, LayerOptions};
use super::parameters::Path;
use super::position::{
    PositionProjection, PositionTables, RelativeTables, code_position_ids, image_buckets, token_bucket,
};
use super::regularize::{drop_path_rate, dropout};
use super::relative::TargetBias;
use super::tokens::TokenBatch;
use crate::config::OfaConfig;
use crate::error::Result;
use crate::kernels::{Bias, LayerNorm, MASKED, Past, Stream, Table, normalise, tensor};
use burn::module::Module;
use burn::tensor::{Device, Tensor};

/// Position biases are made for this many steps at a time: few enough to cost no memory for long rasters of codes,
/// many enough that an ordinary answer needs them once.
const BIAS_BLOCK: usize = 32;
const PREPARED: &str = "a kind that some row has is prepared";

#[derive(Module, Debug)]
pub struct Decoder {
    layernorm_embedding: Option<LayerNorm>,
    code_layernorm_embedding: Option<LayerNorm>,
    positions: PositionTables,
    self_pos_projection: PositionProjection,
    cross_pos_projection: PositionProjection,
    relative: Vec<RelativeTables>,
    layers: Vec<DecoderLayer>,
    layer_norm: Option<LayerNorm>,
    options: DecoderOptions,
}

#[derive(Module, Debug)]
struct DecoderOptions {
    heads: usize,
    embed_scale: f64,
    dropout: f64,
    token_bucket_size: usize,
    image_bucket_size: usize,
    code_grid: usize,
    entangle_position: bool,
}

impl Decoder {
    pub fn new(config: &OfaConfig, path: &mut Path) -> Result<Self> {
        let (width, heads, count) = (config.d_model, config.decoder_attention_heads, config.decoder_layers);
        let layernorm_embedding = path.layer_norm_if(config.layernorm_embedding, "layernorm_embedding", width)?;
        let code_layernorm_embedding =
            path.layer_norm_if(config.code_layernorm_embedding, "code_layernorm_embedding", width)?;
        let positions = PositionTables::new(config, path)?;
        let self_pos_projection = PositionProjection::new(config, path, "self_", heads)?;
        let cross_pos_projection = PositionProjection::new(config, path, "cross_", heads)?;
        let mut relative = Vec::with_capacity(count);
        let mut layers = Vec::with_capacity(count);
        for index in 0..count {
            relative.push(RelativeTables::new(config, path, index, heads)?);
            let options = LayerOptions {
                heads,
                ffn_dim: config.decoder_ffn_dim,
                normalize_before: config.decoder_normalize_before,
                drop_path_rate: drop_path_rate(config.decoder_drop_path_rate, index, count),
            };
            layers.push(DecoderLayer::new(config, &mut path.child(format_args!("layers.{index}")), &options)?);
        }
        let layer_norm = path.layer_norm_if(config.decoder_normalize_before, "layer_norm", width)?;
        let options = DecoderOptions {
            heads,
            embed_scale: if config.scale_embedding { (width as f64).sqrt() } else { 1.0 },
            dropout: config.dropout,
            token_bucket_size: config.token_bucket_size,
            image_bucket_size: config.image_bucket_size,
            code_grid: config.code_grid(),
            // The original tests one flag only here, unlike the encoder (reference §1.9).
            entangle_position: !config.disable_entangle,
        };
        Ok(Self {
            layernorm_embedding,
            code_layernorm_embedding,
            positions,
            self_pos_projection,
            cross_pos_projection,
            relative,
            layers,
            layer_norm,
            options,
        })
    }

    /// See [`OfaModel::begin`](super::OfaModel::begin).
    pub fn begin(&self, encoder: &EncoderOutput, code_masks: &[bool], max_len: usize) -> DecoderCache {
        let [samples, source, _] = encoder.hidden.dims();
        let cross = self.layers.iter().map(|layer| layer.cross_keys_values(encoder.hidden.clone())).collect();
        let projections = self.layers.iter().map(DecoderLayer::self_projections);
        DecoderCache {
            past: Past::new(projections, self.options.heads, [max_len, source], &encoder.hidden.device()),
            cross,
            encoder_positions: encoder.positions.clone(),
            key_mask: encoder.key_mask(),
            code_masks: if code_masks.is_empty() { vec![false; samples] } else { code_masks.to_vec() },
            len: 0,
            max_len,
            biases: None,
            renewals: 0,
            watched: None,
        }
    }

    /// Makes ready for a pass over `tokens`, which join those in the cache: all that is not the same from step to step is done
    /// here.
    ///
    /// # Shapes
    /// tokens `[N, T]`, N a multiple of the cache's samples
    pub fn advance(&self, tokens: &TokenBatch, cache: &mut DecoderCache) {
        let TokenBatch { batch: rows, len, ids } = tokens;
        let (start, end) = (cache.len, cache.len + len);
        let block = match cache.biases.take() {
            Some(block) if block.start <= start && end <= block.end && matches!(block.rows, 1) => block,
            Some(block) if block.start <= start && end <= block.end && block.rows == *rows => block,
            _ => {
                cache.renewals += 1;
                self.biases(start, end.max(cache.max_len.min(start + BIAS_BLOCK)), &cache.row_masks(*rows), cache)
            }
        };
        cache.past.begin_pass([*rows, *len], ids, start - block.start);
        cache.biases = Some(block);
        cache.len = end;
    }

    /// What the launches of the pass depend on that [`advance`](Self::advance) made ready: where it is the same as before, so
    /// are they. `None` where they never are.
    pub fn launches(&self, tokens: &TokenBatch, cache: &DecoderCache) -> Option<[usize; 2]> {
        let row_masks = cache.row_masks(tokens.batch);
        let one_kind = !(row_masks.contains(&true) && row_masks.contains(&false));
        let same = tokens.len == 1 && one_kind && !self.options.entangle_position && cache.watched.is_none();
        (same && cache.past.moment().is_some()).then(|| [tokens.batch, cache.renewals + cache.past.moves()])
    }

    /// The pass that [`advance`](Self::advance) made ready.
    ///
    /// # Shapes
    /// tokens `[N, T]` → `[N, T, C]`
    pub fn pass(&self, embed_tokens: &Table, tokens: &TokenBatch, cache: &mut DecoderCache) -> Tensor<3> {
        let TokenBatch { batch: rows, len, ids } = tokens;
        let (rows, len) = (*rows, *len);
        let start = cache.len - len;
        let moment = cache.past.moment().cloned();
        let embedded = match &moment {
            Some(moment) => embed_tokens.rows_of_pass(moment),
            None => embed_tokens.rows(ids),
        };
        let [_, width] = embedded.dims();
        let first_norm = self.layers.first().and_then(DecoderLayer::pre_norm);
        let mut stream = self.embed(embedded.reshape([rows, len, width]), start, &cache.row_masks(rows), first_norm);

        let block = cache.biases.take().expect("a pass was made ready");
        let bias =
            |values: &Tensor<4>| Bias { values: values.clone(), first: start - block.start, moment: moment.clone() };
        let cross_bias = bias(&block.cross);
        for (index, layer) in self.layers.iter().enumerate() {
            let bias = bias(&block.own[index]);
            let next = self.layers.get(index + 1).map_or(self.layer_norm.as_ref(), DecoderLayer::pre_norm);
            let encoded = (&cache.cross[index], &cross_bias);
            stream = layer.forward(index, stream, (&mut cache.past, &bias), encoded, next, cache.watched.as_mut());
        }
        cache.biases = Some(block);
        stream.normed
    }

    /// The embedded tokens, and the norm of them that the first layer reads.
    fn embed(&self, x: Tensor<3>, start: usize, row_masks: &[bool], next: Option<&LayerNorm>) -> Stream {
        let [_, len, width] = x.dims();
        let mut x = if self.options.embed_scale == 1.0 { x } else { x * self.options.embed_scale };
        if self.options.entangle_position {
            let positions = by_row(row_masks, |codes| {
                let positions = self.target_positions(start + len, codes);
                positions.slice([0..1, start..start + len, 0..width])
            });
            x = x + positions;
        }
        // Codes have a norm of their own only where text has one (reference §1.10).
        let norm = |codes: bool| match (&self.layernorm_embedding, &self.code_layernorm_embedding) {
            (Some(_), Some(norm)) if codes => Some(norm),
            (norm, _) => norm.as_ref(),
        };
        let mixed = row_masks.contains(&true) && row_masks.contains(&false);
        let regular = !mixed && self.options.dropout == 0.0;
        if regular {
            return Stream::new(None, x, norm(row_masks.contains(&true)), next);
        }
        let x = by_row(row_masks, |codes| normalise(norm(codes), x.clone()));
        Stream::new(None, dropout(x, self.options.dropout), None, next)
    }

    fn code_ids(&self, len: usize) -> Vec<usize> {
        code_position_ids(len, self.options.code_grid, self.options.image_bucket_size)
    }

    /// Embeddings of target positions 0..len, not normalised, `[1, len, C]`.
    fn target_positions(&self, len: usize, codes: bool) -> Tensor<3> {
        if codes { self.positions.image(&self.code_ids(len)) } else { self.positions.text(len) }
    }

    /// Biases for target positions `start..end`.
    fn biases(&self, start: usize, end: usize, row_masks: &[bool], cache: &DecoderCache) -> BiasBlock {
        let device = cache.encoder_positions.device();
        let positions = by_kind(row_masks, |codes| {
            let positions = self.target_positions(end, codes);
            let norm = if codes { &self.positions.image_pos_ln } else { &self.positions.pos_ln };
            norm.forward(positions)
        });
        let positions = |codes: bool| positions[usize::from(codes)].clone().expect(PREPARED);
        let block = |codes: bool| {
            let positions = positions(codes);
            let [_, _, width] = positions.dims();
            positions.slice([0..1, start..end, 0..width])
        };
        let causal = causal_mask(start, end, &device);
        let absolute = by_kind(row_masks, |codes| {
            self.self_pos_projection.bias(block(codes), positions(codes), Some(causal.clone()))
        });
        let relative = by_kind(row_masks, |codes| {
            let ids = if codes { self.code_ids(end) } else { Vec::new() };
            TargetBias::new(codes, [end - start, end], &device, |query, key| match ids.as_slice() {
                [] => token_bucket(start + query, key, self.options.token_bucket_size),
                ids => image_buckets(ids[start + query], ids[key], self.options.image_bucket_size),
            })
        });
        let own = self.relative.iter().map(|tables| {
            by_row(row_masks, |codes| {
                let kind = usize::from(codes);
                relative[kind].as_ref().expect(PREPARED).add(absolute[kind].clone().expect(PREPARED), tables)
            })
        });
        let own: Vec<Tensor<4>> = own.collect();
        let cross = by_row(&cache.code_masks, |codes| {
            self.cross_pos_projection.bias(block(codes), cache.encoder_positions.clone(), cache.key_mask.clone())
        });
        let rows = own.first().map_or(1, |bias| bias.dims()[0]);
        BiasBlock { start, end, own, cross, rows }
    }
}

/// `make(false)` for text and `make(true)` for codes, whichever some row needs.
fn by_kind<T>(row_masks: &[bool], make: impl Fn(bool) -> T) -> [Option<T>; 2] {
    [false, true].map(|codes| row_masks.contains(&codes).then(|| make(codes)))
}

/// `make(code)` row by row: one tensor for all where the rows agree, a choice by row where they are mixed.
fn by_row<const D: usize>(row_masks: &[bool], make: impl Fn(bool) -> Tensor<D>) -> Tensor<D> {
    match by_kind(row_masks, make) {
        [Some(text), Some(codes)] => {
            let mut shape = text.dims();
            shape[0] = row_masks.len();
            let mut mask_shape = [1; D];
            mask_shape[0] = row_masks.len();
            let mask = tensor(row_masks.iter().map(|codes| f32::from(*codes)).collect(), mask_shape, &text.device());
            let mask = mask.greater_elem(0.5).expand(shape);
            text.expand(shape).mask_where(mask, codes.expand(shape))
        }
        [Some(one), None] | [None, Some(one)] => one,
        [None, None] => unreachable!("a batch has at least one row"),
    }
}

/// Hides the future: `[1, 1, end - start, end]`.
fn causal_mask(start: usize, end: usize, device: &Device) -> Tensor<4> {
    let rows = end - start;
    let hidden = |row: usize, key: usize| if key > start + row { MASKED } else { 0.0 };
    let values: Vec<f32> = (0..rows).flat_map(|row| (0..end).map(move |key| hidden(row, key))).collect();
    tensor(values, [1, 1, rows, end], device)
}
