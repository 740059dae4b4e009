//! What holds of the model whatever its weights are.

use crate::support::only_drawer;
use burn::tensor::{Device, Tensor, TensorData};
use ofa::config::{OfaConfig, Size};
use ofa::model::{OfaModel, Random, Source, TokenBatch, parameter_shapes};

/// Reference §2: parameters of the five scales, shared ones counted once, running statistics not at all.
const COUNTS: [(Size, usize); 5] = [
    (Size::Tiny, 33_488_336),
    (Size::Medium, 92_892_000),
    (Size::Base, 182_238_536),
    (Size::Large, 472_977_152),
    (Size::Huge, 929_486_848),
];
/// Two orders of summation over rows of a few dozen numbers of order 1.
const ROUNDING: f32 = 1e-5;

fn small() -> OfaConfig {
    OfaConfig {
        vocab_size: 50,
        d_model: 16,
        encoder_layers: 2,
        decoder_layers: 2,
        encoder_attention_heads: 2,
        decoder_attention_heads: 2,
        encoder_ffn_dim: 32,
        decoder_ffn_dim: 32,
        max_position_embeddings: 32,
        token_bucket_size: 8,
        image_bucket_size: 8,
        code_image_size: 32,
        resnet_layers: Some([1, 1, 1]),
        resnet_base_channels: 4,
        ..OfaConfig::default()
    }
}

fn model(config: &OfaConfig) -> OfaModel {
    let device = Device::flex();
    device.seed(11);
    OfaModel::new(config, &mut Random { device, pad_token_id: config.pad_token_id, gain: 10.0 }).unwrap()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

fn assert_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= ROUNDING, "{found} is not {expected}");
    }
}

#[test]
fn the_five_scales_have_the_published_numbers_of_parameters() {
    for (size, expected) in COUNTS {
        let shapes = parameter_shapes(&size.config(), &Device::flex()).unwrap();
        let trained = shapes.iter().filter(|(name, _)| !name.contains("running_"));
        let count: usize = trained.map(|(_, shape)| shape.iter().product::<usize>()).sum();
        assert_eq!(count, expected, "{}", size.name());
    }
}

#[test]
fn padding_changes_nothing_that_is_read() {
    let _drawing = only_drawer();
    let (config, tokens, answer) = (small(), [0, 7, 9, 2], [0, 12, 30]);
    let model = model(&config);
    let pixels: Vec<f32> = (0..3 * 32 * 48).map(|at| (at % 17) as f32 / 17.0 - 0.5).collect();
    let image = || Tensor::<4>::from_data(TensorData::new(pixels.clone(), [1, 3, 32, 48]), &Device::flex());
    let logits = |padding: usize| {
        let row = [tokens.as_slice(), &vec![config.pad_token_id; padding]].concat();
        let source = Source::text(TokenBatch::new(1, row.len(), row)).with_image(model.encode_image(image()));
        let encoded = model.encode(&source);
        let mut cache = model.begin(&encoded, &[], answer.len());
        values(model.logits(model.decode(&TokenBatch::new(1, answer.len(), answer.to_vec()), &mut cache)))
    };
    assert_close(&logits(3), &logits(0));
}

#[test]
fn beams_of_one_sample_share_its_encoder_and_cached_steps_equal_the_whole_pass() {
    let _drawing = only_drawer();
    let config = small();
    let model = model(&config);
    let encoded = model.encode(&Source::text(TokenBatch::new(1, 4, vec![0, 7, 9, 2])));
    let beams = [[0, 12, 30, 5], [0, 13, 31, 6], [0, 14, 32, 7]];
    let alone: Vec<Vec<f32>> = beams
        .iter()
        .map(|beam| {
            let mut cache = model.begin(&encoded, &[], beam.len());
            values(model.decode(&TokenBatch::new(1, beam.len(), beam.to_vec()), &mut cache))
        })
        .collect();
    // Together, first in one pass of several tokens, then a token at a time.
    for split in [4, 2, 1] {
        let mut cache = model.begin(&encoded, &[], 4);
        let mut parts = Vec::new();
        for start in (0..4).step_by(split) {
            let ids = beams.iter().flat_map(|beam| beam[start..start + split].to_vec()).collect();
            parts.push(model.decode(&TokenBatch::new(beams.len(), split, ids), &mut cache));
        }
        assert_eq!(cache.len(), 4);
        assert_close(&values(Tensor::cat(parts, 1)), &alone.concat());
    }
}

#[test]
fn reordered_beams_continue_their_own_past() {
    let _drawing = only_drawer();
    let config = small();
    let model = model(&config);
    let encoded = model.encode(&Source::text(TokenBatch::new(1, 4, vec![0, 7, 9, 2])));
    let mut cache = model.begin(&encoded, &[], 3);
    model.decode(&TokenBatch::new(2, 2, vec![0, 12, 0, 13]), &mut cache);
    cache.select(&[1, 1, 0], None);
    let found = values(model.decode(&TokenBatch::new(3, 1, vec![20, 21, 22]), &mut cache));
    let expected = [[0, 13, 20], [0, 13, 21], [0, 12, 22]].map(|row| {
        let mut cache = model.begin(&encoded, &[], 3);
        let hidden = model.decode(&TokenBatch::new(1, 3, row.to_vec()), &mut cache);
        values(hidden.slice([0..1, 2..3, 0..config.d_model]))
    });
    assert_close(&found, &expected.concat());
}

#[test]
fn tables_beyond_one_binding_are_split_and_joined() {
    use burn::module::Param;
    use ofa::kernels::{Table, Weight};
    let device = Device::flex();
    let rows: Vec<f32> = (0..5 * 4).map(|value| value as f32).collect();
    let whole = Tensor::<2>::from_data(TensorData::new(rows, [5, 4]), &device);
    let parts = vec![whole.clone().slice([0..3, 0..4]), whole.clone().slice([3..5, 0..4])];
    let table = |parts: Vec<Tensor<2>>| {
        Table::new(parts.into_iter().map(|part| Weight::Plain(Param::from_tensor(part))).collect())
    };
    let (one, two) = (table(vec![whole]), table(parts));
    let ids = [4, 0, 3, 2, 2];
    assert_eq!(values(one.rows(&ids)), values(two.rows(&ids)));
    let x = Tensor::<2>::ones([2, 4], &device);
    assert_eq!(values(one.project(x.clone())), values(two.project(x)));
}
