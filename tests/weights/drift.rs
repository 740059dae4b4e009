//! Bundles of every precision, loaded and run: what they cost, and that the model finds what it asks for.

use super::*;
use ofa::device::DeviceChoice;
use ofa::model::parameter_shapes;

/// Mean difference of a logit allowed, in standard deviations of the logits. Weights of random models have no
/// redundancy, so that trained ones stay far below.
const HALF: f64 = 0.01;
const EIGHT_BITS: f64 = 0.1;
const FOUR_BITS: f64 = 0.6;

fn device() -> burn::tensor::Device {
    pollster::block_on(DeviceChoice::Cpu.open()).unwrap().0
}

fn write(out: &Path, precision: Precision, fold: bool) {
    let (mut config, mut tensors) = micro_bundle();
    if fold {
        tensors = fold_batch_norm(tensors).unwrap();
        config.batch_norm_folded = true;
    }
    let quantization = precision.bits().map(|bits| Quantization { bits, group_size: 32 });
    config.quantization = quantization.map(Into::into);
    let stored: Tensors = match quantization {
        Some(quantization) => {
            tensors.iter().flat_map(|(n, t)| quantize_tensor(n, t, quantization, None).unwrap()).collect()
        }
        None if precision == Precision::F16 => {
            let half = |name: &str, tensor: &RawTensor<'_>| {
                RawTensor::from_f32_as_f16(name, tensor.shape.clone(), &tensor.to_f32(name).unwrap()).unwrap()
            };
            tensors.iter().map(|(name, tensor)| (name.clone(), half(name, tensor))).collect()
        }
        None => tensors,
    };
    let files = BundleFiles { config, tokenizer_json: "{}".into(), generation_config: "{}".into() };
    write_bundle(out, &files, precision, stored.into_iter().map(Ok)).unwrap();
}

#[test]
fn every_precision_loads_and_stays_near() {
    let directory = tempfile::tempdir().unwrap();
    let device = device();
    let reference = directory.path().join("f32");
    write(&reference, Precision::F32, false);
    let (files, reference) = load_model(&reference, &device).unwrap();
    for (precision, tolerance) in
        [(Precision::F32, 1e-5), (Precision::F16, HALF), (Precision::Q8, EIGHT_BITS), (Precision::Q4, FOUR_BITS)]
    {
        let out = directory.path().join("other");
        write(&out, precision, true);
        let report = verify(&out, |config| parameter_shapes(config, &device)).unwrap();
        assert_eq!(report.problems, [""; 0], "{precision}");
        let (_, other) = load_model(&out, &device).unwrap();
        let found = pollster::block_on(drift(&files.config, &reference, &other)).unwrap();
        assert!(found.mean <= tolerance * found.spread, "{precision}: {found:?}");
        assert!(found.max.is_finite() && found.positions == 64, "{precision}: {found:?}");
        if precision == Precision::F32 {
            assert_eq!(found.agreement(), 1.0);
        }
    }
}

#[test]
fn the_model_asks_for_exactly_what_checkpoints_have() {
    let (config, tensors) = micro_bundle();
    assert_eq!(compare_keys(&parameter_shapes(&config, &device()).unwrap(), &shapes_of(&tensors)), [""; 0]);
    let folded = OfaConfig { batch_norm_folded: true, ..config };
    let tensors = fold_batch_norm(tensors).unwrap();
    assert_eq!(compare_keys(&parameter_shapes(&folded, &device()).unwrap(), &shapes_of(&tensors)), [""; 0]);
}

/// As MLX's own recipes for mixed bits do it; the projections of a self-attention then stay apart, and packed.
#[test]
fn one_projection_may_be_packed_otherwise() {
    let directory = tempfile::tempdir().unwrap();
    let device = device();
    let (mut config, tensors) = micro_bundle();
    let four = Quantization { bits: 4, group_size: 32 };
    let mut packing = Packing::from(four);
    for module in ["encoder.layers.0.self_attn.v_proj", "decoder.layers.0.self_attn.v_proj"] {
        packing.exceptions.insert(module.to_owned(), Quantization { bits: 8, ..four });
    }
    config.batch_norm_folded = true;
    config.quantization = Some(packing.clone());
    let folded = fold_batch_norm(tensors).unwrap();
    let stored =
        folded.iter().flat_map(|(name, tensor)| quantize_tensor(name, tensor, packing.of(name), None).unwrap());
    let files = BundleFiles { config, tokenizer_json: "{}".into(), generation_config: "{}".into() };
    let out = directory.path().join("mixed");
    write_bundle(&out, &files, Precision::Q4, stored.map(Ok)).unwrap();
    assert_eq!(verify(&out, |config| parameter_shapes(config, &device)).unwrap().problems, [""; 0]);
    let reference = directory.path().join("f32");
    write(&reference, Precision::F32, false);
    let (files, reference) = load_model(&reference, &device).unwrap();
    let (_, mixed) = load_model(&out, &device).unwrap();
    let found = pollster::block_on(drift(&files.config, &reference, &mixed)).unwrap();
    assert!(found.mean <= FOUR_BITS * found.spread, "{found:?}");
}
