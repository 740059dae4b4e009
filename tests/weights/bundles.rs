//! Bundles on disk: whole, replaced whole, and checked.

use super::*;

fn files() -> BundleFiles {
    BundleFiles { config: golden_config(), tokenizer_json: "{}".into(), generation_config: "{}".into() }
}

fn write(out: &Path, limit: usize) -> (Vec<(String, Vec<usize>)>, Manifest) {
    let (_, tensors) = micro_bundle();
    let shapes = shapes_of(&tensors);
    let stored = tensors.into_iter().map(Ok);
    (shapes, write_bundle_with_limit(out, &files(), Precision::F32, stored, limit).unwrap())
}

#[test]
fn a_bundle_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("deep/bundle");
    // Small enough that the embedding is split.
    let limit = golden_config().vocab_size * golden_config().d_model * 2;
    let (shapes, manifest) = write(&out, limit);
    assert!(manifest.shards().count() > 2);
    assert!(manifest.shards().all(|shard| shard.size <= limit as u64));
    let index = std::fs::read_to_string(out.join(INDEX)).unwrap();
    assert!(index.contains("encoder.embed_tokens.weight#00001-of-0000"));
    let bundle = read_bundle(&out).unwrap();
    let (config, tensors) = micro_bundle();
    assert_eq!(bundle.files.config, config);
    assert_eq!(bundle.manifest, manifest);
    let read: BTreeMap<_, _> = bundle.tensors.into_iter().collect();
    assert_eq!(read, tensors.into_iter().collect());
    let report = verify(&out, |_| Ok(shapes)).unwrap();
    assert_eq!(report.problems, [""; 0]);
    // Nothing but the bundle is left behind.
    assert_eq!(std::fs::read_dir(directory.path().join("deep")).unwrap().count(), 1);
}

#[test]
fn writing_is_all_or_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("bundle");
    let (_, tensors) = micro_bundle();
    let broken = || {
        let failure = Err(ofa::error::Error::tensor("last", "a value", "none"));
        tensors.clone().into_iter().map(Ok).chain([failure])
    };
    write_bundle(&out, &files(), Precision::F32, broken()).unwrap_err();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);

    let (shapes, first) = write(&out, 1 << 20);
    write_bundle(&out, &files(), Precision::F32, broken()).unwrap_err();
    assert_eq!(read_bundle(&out).unwrap().manifest, first);
    let (_, second) = write(&out, 100_000);
    assert_ne!(first, second);
    assert!(verify(&out, |_| Ok(shapes)).unwrap().problems.is_empty(), "shards of the first are gone");

    let home = directory.path().join("home");
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join("thesis.txt"), "years of work").unwrap();
    let error = write_bundle(&home, &files(), Precision::F32, tensors.clone().into_iter().map(Ok)).unwrap_err();
    assert!(error.to_string().contains("not a bundle"), "{error}");
    assert!(home.join("thesis.txt").exists());
}

#[test]
fn only_what_is_a_bundles_own_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let (_, tensors) = micro_bundle();
    let write_to = |out: &Path| write_bundle(out, &files(), Precision::F32, tensors.clone().into_iter().map(Ok));
    let app = directory.path().join("app");
    std::fs::create_dir(&app).unwrap();
    std::fs::write(app.join("manifest.json"), r#"{"name":"a web app"}"#).unwrap();
    std::fs::write(app.join("index.html"), "").unwrap();
    let error = write_to(&app).unwrap_err().to_string();
    assert!(error.contains("not a bundle") && app.join("index.html").exists(), "{error}");

    let out = directory.path().join("bundle");
    let beside = |folder: &Path| {
        std::fs::write(folder.join("recipe.toml"), "seed = 3").map_err(|error| ofa::error::Error::file("recipe", error))
    };
    write_bundle_and(&out, &files(), Precision::F32, tensors.clone().into_iter().map(Ok), beside).unwrap();
    assert!(out.join("recipe.toml").exists());
    std::fs::write(out.join("NOTES.md"), "mine").unwrap();
    let error = write_to(&out).unwrap_err().to_string();
    assert!(error.contains("NOTES.md") && out.join("NOTES.md").exists(), "{error}");
    std::fs::remove_file(out.join("NOTES.md")).unwrap();
    #[cfg(unix)]
    {
        let link = directory.path().join("latest");
        std::os::unix::fs::symlink(&out, &link).unwrap();
        write_to(&link).unwrap();
        assert!(link.is_symlink() && !out.join("recipe.toml").exists(), "what the link leads to is replaced");
    }
    let failed = write_bundle_and(&out, &files(), Precision::F32, tensors.clone().into_iter().map(Ok), |_| {
        Err(ofa::error::Error::file("vqgan", "no space left"))
    });
    assert!(failed.is_err() && read_bundle(&out).is_ok(), "the one of before");
}

fn verified(break_it: impl FnOnce(&Path, &Manifest, &mut Vec<(String, Vec<usize>)>)) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("bundle");
    let (mut shapes, manifest) = write(&out, golden_config().vocab_size * golden_config().d_model * 4);
    break_it(&out, &manifest, &mut shapes);
    verify(&out, |_| Ok(shapes)).unwrap().problems
}

#[test]
fn verify_finds_what_is_wrong() {
    let flipped = verified(|out, manifest, _| {
        let path = out.join(&manifest.shards().nth(1).unwrap().name);
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 4;
        std::fs::write(path, bytes).unwrap();
    });
    assert!(flipped.len() == 1 && flipped[0].contains("model-00002") && flipped[0].contains("MiB 0"), "{flipped:?}");

    let gone = verified(|out, manifest, _| {
        std::fs::remove_file(out.join(&manifest.shards().nth(1).unwrap().name)).unwrap();
    });
    assert!(gone.iter().any(|problem| problem.contains("model-00002")), "{gone:?}");

    let unused = verified(|_, _, shapes| shapes.retain(|(name, _)| name != "encoder.layer_norm.weight"));
    assert_eq!(unused, [format!("unused `encoder.layer_norm.weight` [{}]", golden_config().d_model)]);
    let missing = verified(|_, _, shapes| shapes.push(("encoder.extra".into(), vec![3])));
    assert_eq!(missing, ["missing `encoder.extra` [3]"]);
    let misshapen = verified(|_, _, shapes| shapes[0].1.push(2));
    assert_eq!(misshapen.len(), 1);

    let stray = verified(|out, _, _| std::fs::write(out.join("model-00009.safetensors"), b"").unwrap());
    assert_eq!(stray, ["model-00009.safetensors: not in the manifest"]);
    let config = verified(|out, _, _| {
        let text = std::fs::read_to_string(out.join(CONFIG)).unwrap();
        std::fs::write(out.join(CONFIG), text.replace("\"gelu\"", "\"gelu\" ")).unwrap();
    });
    assert!(config.len() == 1 && config[0].contains("config.json"), "{config:?}");
}

#[test]
fn values_that_are_none_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("bundle");
    let (config, mut tensors) = micro_bundle();
    let shapes = shapes_of(&tensors);
    tensors[3].1.data.to_mut()[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let name = tensors[3].0.clone();
    let files = BundleFiles { config, ..files() };
    write_bundle(&out, &files, Precision::F32, tensors.into_iter().map(Ok)).unwrap();
    assert_eq!(verify(&out, |_| Ok(shapes)).unwrap().problems, [format!("`{name}` has values that are not finite")]);
}

#[test]
fn image_codes_and_models_do_not_replace_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let (model, codes) = (directory.path().join("model"), directory.path().join("codes"));
    let (_, tensors) = micro_bundle();
    let write_model = |out: &Path| write_bundle(out, &files(), Precision::F32, tensors.clone().into_iter().map(Ok));
    let (config, values) = super::codes::golden_codes();
    let write_codes = |out: &Path| write_vqgan(out, &config, Precision::F32, values.clone().into_iter().map(Ok));
    write_model(&model).unwrap();
    write_codes(&codes).unwrap();
    let error = write_codes(&model).unwrap_err().to_string();
    assert!(error.contains("vqgan") && read_bundle(&model).is_ok(), "{error}");
    let error = write_model(&codes).unwrap_err().to_string();
    assert!(error.contains("image codes") && read_vqgan(&codes).is_ok(), "{error}");
    // Codes stay with a model that comes without.
    write_codes(&model.join(VQGAN)).unwrap();
    write_model(&model).unwrap();
    assert!(read_bundle(&model).is_ok() && read_vqgan(&model).is_ok());
    // An empty directory is filled.
    let empty = directory.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    write_model(&empty).unwrap();
    assert!(read_bundle(&empty).is_ok());
}

#[test]
fn a_long_list_of_problems_is_cut() {
    let problems: Vec<String> = (0..25).map(|k| format!("p{k}")).collect();
    let text = refuse("x", &problems).unwrap_err().to_string();
    assert!(text.contains("p9;") && !text.contains("p10") && text.contains("15 more"), "{text}");
    refuse("x", &[]).unwrap();
}

#[test]
fn a_quantised_bundle_verifies() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("q4");
    let quantization = Quantization { bits: 4, group_size: 32 };
    let (_, tensors) = micro_bundle();
    let tensors = fold_batch_norm(tensors).unwrap();
    let shapes = shapes_of(&tensors);
    let mut files = files();
    files.config.batch_norm_folded = true;
    files.config.quantization = Some(quantization.into());
    let stored = tensors.iter().flat_map(|(name, tensor)| quantize_tensor(name, tensor, quantization, None).unwrap());
    let manifest = write_bundle(&out, &files, Precision::Q4, stored.map(Ok)).unwrap();
    let report = verify(&out, |_| Ok(shapes.clone())).unwrap();
    assert_eq!(report.problems, [""; 0]);
    // What could be packed may be there as it is.
    let plain = |name: &str| name.contains("embed_positions");
    let mixed = tensors.iter().flat_map(|(name, tensor)| match plain(name) {
        true => {
            let values = tensor.to_f32(name).unwrap();
            let half = RawTensor::from_f32_as_f16(name, tensor.shape.clone(), &values).unwrap();
            vec![(name.clone(), half)]
        }
        false => quantize_tensor(name, tensor, quantization, None).unwrap(),
    });
    write_bundle(&out, &files, Precision::Q4, mixed.map(Ok)).unwrap();
    assert_eq!(verify(&out, |_| Ok(shapes.clone())).unwrap().problems, [""; 0]);
    let parameters: usize = shapes.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    assert_eq!(manifest.parameters, parameters as u64);
}

#[test]
fn manifests_stay_in_their_directory() {
    let directory = tempfile::tempdir().unwrap();
    let (_, manifest) = write(&directory.path().join("bundle"), 1 << 20);
    let json = manifest.to_json().unwrap();
    assert_eq!(Manifest::from_json(&json).unwrap(), manifest);
    for name in ["../config.json", "/etc/passwd", "a//b", "a\\\\b", "C:x", "manifest.json", ".hidden", ""] {
        let wrong = json.replacen("\"config.json\"", &format!("\"{name}\""), 1);
        assert!(Manifest::from_json(&wrong).is_err(), "{name}");
    }
    assert!(Manifest::from_json(&json.replacen("\"version\": 1", "\"version\": 2", 1)).is_err());
    assert!(Manifest::from_json(&json.replacen("\"total_bytes\": ", "\"total_bytes\": 1", 1)).is_err());
}
