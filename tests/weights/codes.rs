//! The model of image codes: the original's checkpoints and a bundle's folder.

use super::*;
use crate::support::torch;
use burn::tensor::{Device, Tensor, TensorData};
use ofa::config::{CodeChoice, VqganConfig};
use ofa::model::vqgan_parameter_shapes;

/// Reference §10: parameters of the public model of 8192 codes.
const F8_PARAMETERS: usize = 68_995_971;

pub fn golden_codes() -> (VqganConfig, Vec<(String, RawTensor<'static>)>) {
    let config = VqganConfig::from_json(&std::fs::read_to_string(golden("vqgan/config.json")).unwrap()).unwrap();
    (config, read_vqgan_checkpoint(&golden("vqgan/model.safetensors")).unwrap())
}

fn in_order(config: &VqganConfig, tensors: Vec<(String, RawTensor<'static>)>) -> Vec<(String, RawTensor<'static>)> {
    let mut tensors: HashMap<_, _> = tensors.into_iter().collect();
    let shapes = vqgan_parameter_shapes(config, &Device::flex()).unwrap();
    shapes.into_iter().map(|(name, _)| tensors.remove_entry(&name).unwrap()).collect()
}

#[test]
fn the_public_model_has_the_published_keys() {
    let text = std::fs::read_to_string(golden("keys_vqgan_f8.json")).unwrap();
    let keys: Vec<(String, Vec<usize>)> = serde_json::from_str(&text).unwrap();
    let config = infer_vqgan_config(&keys.iter().cloned().collect()).unwrap();
    assert_eq!((config.choice, config.n_embed, config.stride()), (CodeChoice::GumbelVQ, 8192, 8));
    assert_eq!(config.ddconfig.ch_mult, [1, 1, 2, 4]);
    assert_eq!(config.ddconfig.attn_resolutions, [32]);
    let found = vqgan_parameter_shapes(&config, &Device::flex()).unwrap();
    assert_eq!(compare_keys(&keys, &found), [""; 0]);
    assert_eq!(found.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum::<usize>(), F8_PARAMETERS);
}

#[test]
fn a_checkpoint_of_the_training_is_read_without_what_only_training_needs() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("last.ckpt");
    let (_, tensors) = golden_codes();
    let loss = RawTensor::from_f32("loss.discriminator.main.0.weight", vec![2], &[1.0, 2.0]).unwrap();
    let mut written = tensors.clone();
    written.push(("loss.discriminator.main.0.weight".into(), loss));
    torch::write_dict(&path, "state_dict", &written);
    let read: BTreeMap<_, _> = read_vqgan_checkpoint(&path).unwrap().into_iter().collect();
    assert_eq!(read, tensors.into_iter().collect());
}

#[test]
fn the_nearest_row_is_the_code_where_there_are_no_logits() {
    let (config, mut tensors) = golden_codes();
    tensors.retain(|(name, _)| !name.starts_with("quantize.proj"));
    for (name, _) in &mut tensors {
        *name = name.replace("quantize.embed.", "quantize.embedding.");
    }
    let tensors = vqgan_tensors(tensors);
    let shapes = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect();
    assert_eq!(infer_vqgan_config(&shapes).unwrap().choice, CodeChoice::VQModel);

    let config = VqganConfig { choice: CodeChoice::VQModel, ..config };
    let mut weights = DeviceWeights::plain(Device::flex());
    tensors.iter().for_each(|(name, tensor)| weights.insert(name, tensor).unwrap());
    let model = weights.into_vqgan(&config).unwrap();
    let codebook = model.quantize.codebook();
    let [rows, width] = codebook.dims();
    // Each row itself, moved by less than half of what lies between any two.
    let vectors = codebook.transpose().reshape([1, width, rows, 1]) + 1e-3;
    let codes: Vec<i64> = model.quantize.codes(vectors).into_data().iter::<i64>().collect();
    assert_eq!(codes, (0..rows as i64).collect::<Vec<_>>());
}

#[test]
fn the_folder_is_read_back_and_verified() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("bundle").join(VQGAN);
    let (config, tensors) = golden_codes();
    let tensors = in_order(&config, tensors);
    write_vqgan(&out, &config, Precision::F32, tensors.clone().into_iter().map(Ok)).unwrap();
    let parameters = |config: &VqganConfig| vqgan_parameter_shapes(config, &Device::flex());
    assert_eq!(verify_vqgan(&out, parameters).unwrap().problems, [""; 0]);
    for place in [out.parent().unwrap(), &out] {
        let (read, found) = read_vqgan(place).unwrap();
        assert_eq!(read, config);
        assert_eq!(found.into_iter().collect::<BTreeMap<_, _>>(), tensors.clone().into_iter().collect());
    }
    let (_, model) = load_vqgan(&out, &Device::flex()).unwrap();
    let image = Tensor::from_data(TensorData::zeros::<f32, _>([1, 3, 16, 24]), &Device::flex());
    assert_eq!(model.codes(image).dims(), [1, 2, 3]);

    let mut shorter = tensors;
    shorter.pop();
    write_vqgan(&out, &config, Precision::F32, shorter.into_iter().map(Ok)).unwrap();
    assert_eq!(verify_vqgan(&out, parameters).unwrap().problems.len(), 1);
    let error = load_vqgan(&out, &Device::flex()).unwrap_err();
    assert!(error.to_string().contains("nothing of this name"), "{error}");
}

#[test]
fn hostile_configurations_are_refused() {
    let text = std::fs::read_to_string(golden("vqgan/config.json")).unwrap();
    let good: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (key, value) in [
        ("double_z", serde_json::json!(true)),
        ("ch", 0.into()),
        ("ch", usize::MAX.into()),
        ("ch", 33.into()),
        ("ch_mult", serde_json::json!([])),
        ("ch_mult", serde_json::json!(vec![1; 40])),
        ("ch_mult", serde_json::json!([1, usize::MAX])),
        ("ch_mult", serde_json::json!([1, 0])),
        ("z_channels", 0.into()),
        ("resolution", 31.into()),
        ("num_res_blocks", 0.into()),
        ("num_res_blocks", 1_000_000.into()),
        ("num_groups", 0.into()),
        ("out_ch", 4.into()),
    ] {
        let mut config = good.clone();
        config["ddconfig"][key] = value.clone();
        let error = VqganConfig::from_json(&config.to_string()).unwrap_err();
        assert!(matches!(error, ofa::error::Error::Config { .. }), "{key} {value}: {error}");
    }
    for key in ["type", "n_embed", "embed_dim", "ddconfig"] {
        let mut config = good.clone();
        config.as_object_mut().unwrap().remove(key);
        let error = VqganConfig::from_json(&config.to_string()).unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
    }
    let (_, mut tensors) = golden_codes();
    tensors.retain(|(name, _)| name != "decoder.conv_in.weight");
    let shapes = tensors.into_iter().map(|(name, tensor)| (name, tensor.shape)).collect();
    let error = infer_vqgan_config(&shapes).unwrap_err();
    assert!(error.to_string().contains("decoder.conv_in.weight"), "{error}");
}
