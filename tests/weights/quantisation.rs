//! Error bounds, the layout of words, and which tensors are packed.

use super::*;

const ALL: [Quantization; 6] = [
    Quantization { bits: 8, group_size: 32 },
    Quantization { bits: 8, group_size: 64 },
    Quantization { bits: 8, group_size: 128 },
    Quantization { bits: 4, group_size: 32 },
    Quantization { bits: 4, group_size: 64 },
    Quantization { bits: 4, group_size: 128 },
];

#[test]
fn a_round_trip_stays_within_a_step() {
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..200 {
        for quantization in ALL {
            let columns = quantization.group_size * random.usize(1..4);
            let rows = random.usize(1..5);
            let spread = 10f32.powi(random.i32(-4..3));
            let mut weights: Vec<f32> = (0..rows * columns).map(|_| (random.f32() - 0.5) * spread).collect();
            if round % 10 == 0 {
                weights[..quantization.group_size].fill(0.0);
            }
            if round % 10 == 1 {
                weights[0] *= 20.0;
            }
            let packed = quantize("w", &weights, columns, quantization, None).unwrap();
            let unpacked = packed.unpack();
            for (own, other) in weights.chunks(quantization.group_size).zip(unpacked.chunks(quantization.group_size)) {
                let largest = own.iter().fold(0f32, |largest, value| largest.max(value.abs()));
                let levels = if quantization.bits == 8 { 127.0 } else { 7.0 };
                // Half a step for every value, and what f16's scale loses at the largest one (its smallest
                // numbers are 6e-8 apart).
                let bound = largest / levels * 0.5 + largest * 1e-3 + levels * 6e-8;
                let error = |other: &[f32]| -> f64 {
                    own.iter().zip(other).map(|(own, other)| f64::from(own - other).powi(2)).sum()
                };
                // At 4 bits single values may be cut in favour of the group, never the sum of squares.
                if quantization.bits == 8 {
                    own.iter().zip(other).for_each(|(own, other)| assert!((own - other).abs() <= bound));
                }
                assert!(error(other) <= own.len() as f64 * f64::from(bound).powi(2));
            }
            let tensors = packed.clone().into_tensors("w.weight").unwrap();
            let [a, b, c] = tensors.each_ref().map(|(_, tensor)| tensor);
            assert_eq!(Packed::from_tensors("w.weight", [a, b, c], quantization).unwrap(), packed);
        }
    }
}

#[test]
fn what_lies_to_one_side_of_zero_has_all_codes_there() {
    let weights: Vec<f32> = (0..32).map(|at| 1.0 + at as f32 / 31.0).collect();
    for (bits, levels) in [(4, 15.0), (8, 255.0)] {
        let packed = quantize("w", &weights, 32, Quantization { bits, group_size: 32 }, None).unwrap();
        // Half a step, and what f16 leaves of 2.
        let bound = 0.5 / levels + 2.0 * 1e-3;
        weights.iter().zip(packed.unpack()).for_each(|(own, other)| assert!((own - other).abs() <= bound, "{other}"));
    }
}

#[test]
fn words_hold_low_bits_first() {
    // Levels of the values 7, −7 ..= 6 with the step 1, then 17 zeros.
    let mut weights: Vec<f32> = std::iter::once(7).chain(-7..=6).map(|level| level as f32).collect();
    weights.resize(32, 0.0);
    let packed = quantize("w", &weights, 32, Quantization { bits: 4, group_size: 32 }, None).unwrap();
    assert_eq!(packed.scales[0].to_f32(), 1.0);
    assert_eq!(packed.biases[0].to_f32(), -8.0);
    assert_eq!(packed.words, [0x7654_321f, 0x8edc_ba98, 0x8888_8888, 0x8888_8888]);

    let mut weights = vec![0.0; 32];
    weights[..5].copy_from_slice(&[127.0, -127.0, 1.0, -1.0, 3.0]);
    let packed = quantize("w", &weights, 32, Quantization { bits: 8, group_size: 32 }, None).unwrap();
    assert_eq!(packed.words[..2], [0x7f81_01ff, 0x8080_8083]);
    assert_eq!(packed.unpack(), weights);
}

#[test]
fn every_tensor_has_its_precision() {
    let (_, tensors) = micro_bundle();
    for (name, tensor) in &tensors {
        let found = precision_of(name, &tensor.shape, 32);
        let small = ["_table_list", "norm", "pos_ln", "c_attn", ".bias", "type_embedding", ".bn"];
        if small.iter().any(|part| name.contains(part)) || tensor.shape.len() < 2 {
            assert_eq!(found, Storage::Half, "{name}");
        }
        let matrix = ["embed_tokens", "positions.weight", "proj.weight", "fc1.weight", "linear.weight"];
        if matrix.iter().any(|part| name.contains(part)) && tensor.shape[1].is_multiple_of(32) {
            assert_eq!(found, Storage::Packed, "{name}");
        }
    }
    assert_eq!(precision_of("encoder.embed_images.conv1.weight", &[64, 3, 7, 7], 32), Storage::Half);
    assert_eq!(precision_of("encoder.embed_images.layer1.0.conv2.weight", &[64, 64, 3, 3], 64), Storage::Packed);
    let stored = stored_shapes(
        vec![("encoder.embed_images.layer1.0.conv2.weight".into(), vec![8, 64, 3, 3])],
        Some(&Quantization { bits: 4, group_size: 64 }.into()),
    );
    let shapes: Vec<_> = stored.iter().map(|(_, shape)| shape.clone()).collect();
    assert_eq!(shapes, [vec![8, 72], vec![8, 9], vec![8, 9]]);
}

#[test]
fn numbers_that_cannot_be_quantised_are_named() {
    for (weights, columns) in [(vec![f32::NAN; 32], 32), (vec![1e9; 32], 32), (vec![0.0; 31], 31), (vec![0.0; 33], 32)]
    {
        let error = quantize("the.weight", &weights, columns, ALL[0], None).unwrap_err();
        assert!(error.to_string().contains("the.weight"), "{error}");
    }
}

/// Rows of inputs that a few causes explain, which is what layers pass on, and a little noise.
fn inputs(random: &mut fastrand::Rng, count: usize, depth: usize) -> Vec<f32> {
    let causes: Vec<f32> = (0..depth * depth / 8).map(|_| random.f32() - 0.5).collect();
    let rows = (0..count).map(|_| -> Vec<f32> {
        let strengths: Vec<f32> = (0..depth / 8).map(|_| random.f32() * 4.0 - 1.0).collect();
        let value = |k: usize| strengths.iter().zip(causes.chunks(depth)).map(|(by, cause)| by * cause[k]).sum::<f32>();
        (0..depth).map(|k| value(k) + (random.f32() - 0.5) * 0.2).collect()
    });
    rows.collect::<Vec<_>>().concat()
}

fn products(inputs: &[f32], depth: usize) -> Vec<f32> {
    let mut sums = vec![0.0; depth * depth];
    for x in inputs.chunks(depth) {
        (0..depth * depth).for_each(|at| sums[at] += x[at / depth] * x[at % depth]);
    }
    sums
}

/// Of the squared error of products with inputs that were not rounded for: what feedback leaves of it.
const LEFT: f64 = 0.25;

#[test]
fn feedback_rounds_for_the_inputs() {
    let (mut random, rows, depth) = (fastrand::Rng::with_seed(3), 21, 128);
    let weights: Vec<f32> = (0..rows * depth).map(|_| random.f32() - 0.5).collect();
    let seen = inputs(&mut random, 600, depth);
    let (seen, others) = seen.split_at(500 * depth);
    let feedback = ErrorFeedback::new("w", &products(seen, depth), depth, 0.01).unwrap();
    for quantization in ALL {
        let error = |feedback: Option<&ErrorFeedback>| -> f64 {
            let found = quantize("w", &weights, depth, quantization, feedback).unwrap().unpack();
            let errors: Vec<f32> = found.iter().zip(&weights).map(|(found, own)| found - own).collect();
            let of = |x: &[f32], row: &[f32]| f64::from(x.iter().zip(row).map(|(x, error)| x * error).sum::<f32>());
            others.chunks(depth).flat_map(|x| errors.chunks(depth).map(move |row| of(x, row).powi(2))).sum()
        };
        let (nearest, fed_back) = (error(None), error(Some(&feedback)));
        assert!(fed_back < nearest * LEFT, "{quantization:?}: {fed_back}, nearest {nearest}");
    }
}

#[test]
fn without_common_inputs_feedback_is_the_nearest_step() {
    let (mut random, depth) = (fastrand::Rng::with_seed(4), 128);
    let weights: Vec<f32> = (0..9 * depth).map(|_| random.f32() - 0.5).collect();
    let apart: Vec<f32> = (0..depth * depth).map(|at| if at % (depth + 1) == 0 { 2.0 } else { 0.0 }).collect();
    for products in [apart, vec![0.0; depth * depth]] {
        let feedback = ErrorFeedback::new("w", &products, depth, 0.01).unwrap();
        for quantization in ALL {
            let nearest = quantize("w", &weights, depth, quantization, None).unwrap();
            assert_eq!(quantize("w", &weights, depth, quantization, Some(&feedback)).unwrap(), nearest);
        }
    }
    let error = ErrorFeedback::new("the.weight", &vec![f32::NAN; depth * depth], depth, 0.01).unwrap_err();
    assert!(error.to_string().contains("the.weight"), "{error}");
}

#[test]
fn configurations_say_it_as_mlx_does() {
    let config = |quantization: &str| {
        let micro = std::fs::read_to_string(golden("micro/config.json")).unwrap();
        OfaConfig::from_json(&micro.replacen('{', &format!("{{ \"quantization\": {quantization}, "), 1))
    };
    let said = r#"{ "bits": 4, "mode": "affine", "group_size": 64, "a.b": { "bits": 8, "group_size": 32 } }"#;
    let packing = config(said).unwrap().quantization.unwrap();
    let [four, eight] = [(4, 64), (8, 32)].map(|(bits, group_size)| Quantization { bits, group_size });
    assert_eq!(["a.b.weight", "a.weight", "a.c.weight"].map(|name| packing.of(name)), [eight, four, four]);
    let again = serde_json::to_string(&packing).unwrap();
    assert_eq!(config(&again).unwrap().quantization, Some(packing));
    let error = config(&said.replace("8,", "5,")).unwrap_err().to_string();
    assert!(error.contains("quantization.a.b") && error.contains("5 bits"), "{error}");
    for wrong in [r#"{ "bits": 4 }"#, r#"{ "bits": 4, "group_size": 64, "a": { "bits": 8 } }"#] {
        let error = config(wrong).unwrap_err().to_string();
        assert!(error.contains("group_size"), "{error}");
    }
    let error = config(r#"{ "bits": 4, "group_size": 64, "a.c": false }"#).unwrap_err().to_string();
    assert!(error.contains("a.c"), "{error}");
}
