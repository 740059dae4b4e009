//! A folded stem computes what the stem with its batch norms computes.

use super::*;

/// A convolution of kernel 1 with its batch norm, channel by channel, by hand.
#[test]
fn a_folded_convolution_computes_the_same() {
    let (_, tensors) = micro_bundle();
    let before: HashMap<_, _> = tensors.iter().cloned().collect();
    let folded = fold_batch_norm(tensors).unwrap();
    let after: HashMap<_, _> = folded.iter().cloned().collect();
    assert!(after.keys().all(|name| !name.contains("running") && !name.contains(".bn")));
    let values = |tensors: &HashMap<String, RawTensor<'static>>, name: &str| tensors[name].to_f32(name).unwrap();
    let mut random = fastrand::Rng::with_seed(3);
    let mut convolutions = 0;
    for (name, tensor) in before.iter().filter(|(_, tensor)| tensor.shape.len() == 4) {
        let module = name.strip_suffix(".weight").unwrap();
        let norm = batch_norm_of(module).unwrap();
        let part = |part: &str| values(&before, &format!("{norm}.{part}"));
        let (scale, shift, mean, var) = (part("weight"), part("bias"), part("running_mean"), part("running_var"));
        let width = tensor.elements() / tensor.shape[0];
        let input: Vec<f32> = (0..width).map(|_| random.f32() * 2.0 - 1.0).collect();
        let dot = |row: &[f32]| row.iter().zip(&input).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum::<f64>();
        let (old, new) = (values(&before, name), values(&after, name));
        let bias = values(&after, &format!("{module}.bias"));
        for channel in 0..tensor.shape[0] {
            let rows = channel * width..(channel + 1) * width;
            let normal = (dot(&old[rows.clone()]) - f64::from(mean[channel])) / (f64::from(var[channel]) + 1e-5).sqrt();
            let expected = normal * f64::from(scale[channel]) + f64::from(shift[channel]);
            let found = dot(&new[rows]) + f64::from(bias[channel]);
            assert!((expected - found).abs() < 1e-5 * (1.0 + expected.abs()), "{name}: {expected} {found}");
        }
        convolutions += 1;
    }
    assert_eq!(
        convolutions,
        after.keys().filter(|name| name.contains("embed_images") && name.ends_with("bias")).count()
    );
}

/// What is changed while it is folded is found there when it is folded again, unless nothing of it was left.
#[test]
fn folded_convolutions_are_changed_behind_their_norms() {
    let (_, mut tensors) = micro_bundle();
    let norm = "encoder.embed_images.bn1.weight";
    let (_, scale) = tensors.iter_mut().find(|(name, _)| name == norm).unwrap();
    let mut values = scale.to_f32(norm).unwrap();
    values[1] = 0.0;
    *scale = RawTensor::from_f32(norm, scale.shape.clone(), &values).unwrap();
    let whole = |name: &str, tensor: &RawTensor<'static>| {
        let values: Vec<f32> = tensor.to_f32(name)?.iter().map(|value| (value * 64.0).round() / 64.0).collect();
        RawTensor::from_f32(name, tensor.shape.clone(), &values)
    };
    let changed = change_folded(tensors.clone(), whole).unwrap();
    assert!(tensors.iter().zip(&changed).all(|((old, _), (new, _))| old == new), "their order is kept");
    let [before, after] = [&tensors, &changed].map(|all| all.iter().cloned().collect::<HashMap<_, _>>());
    let first = "encoder.embed_images.conv1.weight";
    let [old, new] = [before, after].map(|all| all[first].to_f32(first).unwrap());
    let width = old.len() / values.len();
    assert!(old[width..2 * width] == new[width..2 * width] && old[..width] != new[..width]);
    for (name, tensor) in fold_batch_norm(changed).unwrap().iter().filter(|(name, _)| name.starts_with(STEM)) {
        for value in tensor.to_f32(name).unwrap() {
            assert!((value - (value * 64.0).round() / 64.0).abs() < 1e-6 * value.abs().max(1.0), "{name}: {value}");
        }
    }
}

#[test]
fn a_missing_statistic_is_named() {
    let (_, mut tensors) = micro_bundle();
    tensors.retain(|(name, _)| name != "encoder.embed_images.layer1.0.bn2.running_var");
    let error = fold_batch_norm(tensors).unwrap_err().to_string();
    assert!(error.contains("encoder.embed_images.layer1.0.bn2.running_var"), "{error}");
}
