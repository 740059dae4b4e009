//! The same weights in every form in which people have them.

use super::*;
use ofa::config::CODE_STRIDE;

/// Names and values of the golden model, with `expect` telling what a value becomes.
fn equals_golden(file: &str, expect: impl Fn(f32) -> f32) {
    let checkpoint = read_checkpoint(&golden("micro-fairseq").join(file), false).unwrap();
    let skipped: Vec<_> = checkpoint.skipped.iter().map(|(name, _)| name.clone()).collect();
    let (tensors, rows) = to_bundle_names(checkpoint.layout, checkpoint.tensors).unwrap();
    let found: BTreeMap<_, _> = tensors.into_iter().collect();
    let golden = golden_model();
    let mut checked = 0;
    for (name, expected) in &golden {
        if let Some(row) = dropped(name) {
            let gone = rows.iter().any(|row| row.from == *name && row.to.is_none()) || skipped.contains(name);
            assert!(gone || !row.tied, "{name} vanished without a row");
            continue;
        }
        let tensor = found.get(name).unwrap_or_else(|| panic!("{file} lacks {name}"));
        assert_eq!(tensor.shape, expected.shape, "{name}");
        let expected: Vec<f32> = expected.to_f32(name).unwrap().into_iter().map(&expect).collect();
        assert_eq!(tensor.to_f32(name).unwrap(), expected, "{name}");
        checked += 1;
    }
    assert_eq!(checked, found.len(), "{file} has more than the golden model");
    assert!(checked > 50);
}

#[test]
fn a_fairseq_checkpoint_is_read_exactly() {
    equals_golden("checkpoint_slim.pt", |value| value);
}

#[test]
fn a_half_precision_checkpoint_is_the_rounded_one() {
    equals_golden("checkpoint_slim_fp16.pt", |value| half::f16::from_f32(value).to_f32());
}

#[test]
fn an_hf_state_dict_is_read_exactly() {
    equals_golden("pytorch_model.bin", |value| value);
}

#[test]
fn an_hf_directory_is_read_and_its_copies_compared() {
    let checkpoint = read_checkpoint(&golden("micro"), false).unwrap();
    assert!(checkpoint.config.is_some());
    let (tensors, rows) = to_bundle_names(checkpoint.layout, checkpoint.tensors.clone()).unwrap();
    assert_eq!(rows.iter().filter(|row| row.to.is_none() && row.from.contains("weight")).count(), 2);
    assert!(tensors.iter().all(|(name, _)| !name.starts_with("decoder.embed_tokens")));

    let mut tensors = checkpoint.tensors;
    let copy = tensors.iter_mut().find(|(name, _)| name == "decoder.output_projection.weight").unwrap();
    copy.1.data.to_mut()[17] ^= 1;
    let error = to_bundle_names(checkpoint.layout, tensors).unwrap_err();
    assert!(error.to_string().contains("decoder.output_projection.weight"), "{error}");
}

#[test]
fn a_table_stored_once_may_have_any_of_its_names() {
    let Checkpoint { layout, tensors, .. } = read_checkpoint(&golden("micro"), false).unwrap();
    let (whole, _) = to_bundle_names(layout, tensors.clone()).unwrap();
    for kept in ["decoder.embed_tokens.weight", "decoder.output_projection.weight"] {
        let tied = |name: &str| name == EMBEDDING || dropped(name).is_some_and(|row| row.tied);
        let once = tensors.iter().filter(|(name, _)| !tied(name) || name == kept).cloned().collect();
        let (found, rows) = to_bundle_names(layout, once).unwrap();
        let by_name = |tensors: Tensors<'static>| tensors.into_iter().collect::<BTreeMap<_, _>>();
        assert!(by_name(found) == by_name(whole.clone()), "{kept}");
        assert!(rows.iter().any(|row| row.from == kept && row.to.as_deref() == Some(EMBEDDING)));
    }
}

#[test]
fn settings_beside_a_file_of_weights_are_read() {
    let directory = read_checkpoint(&golden("micro"), false).unwrap();
    let file = read_checkpoint(&golden("micro/model.safetensors"), false).unwrap();
    assert!(file.config.is_some() && file.config == directory.config);
}

#[test]
fn the_configuration_follows_from_the_tensors() {
    let golden = golden_config();
    for (file, layout) in [("checkpoint_slim.pt", Layout::Fairseq), ("pytorch_model.bin", Layout::Hf)] {
        let checkpoint = read_checkpoint(&super::golden("micro-fairseq").join(file), false).unwrap();
        assert_eq!(checkpoint.layout, layout);
        let mut shapes: Shapes = checkpoint.skipped.into_iter().collect();
        let (tensors, _) = to_bundle_names(layout, checkpoint.tensors).unwrap();
        shapes.extend(shapes_of(&tensors));
        let text = golden.mask_token_id as usize + 1;
        // The HF state dict says nothing about the split of the vocabulary, nor about the native image size.
        let mut settings = checkpoint.settings;
        if layout == Layout::Hf {
            settings.insert("num_bins".into(), golden.num_bins.into());
            settings.insert("orig_patch_image_size".into(), golden.orig_patch_image_size.into());
            // A small grid of positions holds no 128 pixels of codes, which a configuration beside it may yet correct.
            let unsaid = infer_config(&shapes, &settings, Some(text)).unwrap();
            assert!(unsaid.code_image_size <= unsaid.image_bucket_size * CODE_STRIDE, "{}", unsaid.code_image_size);
            settings.insert("code_image_size".into(), golden.code_image_size.into());
        }
        let inferred = infer_config(&shapes, &settings, Some(text)).unwrap();
        let stem = (golden.resnet_type.clone(), golden.resnet_layers);
        assert_eq!(inferred.stem_blocks(), golden.stem_blocks());
        let inferred = OfaConfig { resnet_type: stem.0, resnet_layers: stem.1, ..inferred };
        assert_eq!(inferred, golden, "{file}");

        let error = check_size(Size::Huge, &inferred).unwrap_err();
        assert!(error.to_string().contains("d_model 1280"), "{error}");
        // fairseq states how many codes and bins there are, so that a tokenizer of another size is noticed.
        if layout == Layout::Fairseq {
            let wrong = infer_config(&shapes, &settings, Some(text + 1)).unwrap_err();
            assert_eq!(wrong.code(), "config");
        }
    }
}

#[test]
fn published_configurations_are_recognised() {
    for layout in ["keys_tiny_fairseq.json", "keys_tiny_hf.json"] {
        let Some(keys) = keys(layout) else { return };
        let shapes: Shapes = keys.into_iter().map(|(name, shape)| (hf_name(&name), shape)).collect();
        let config = infer_config(&shapes, &BTreeMap::new(), Some(50265)).unwrap();
        assert_eq!(config, Size::Tiny.config());
        check_size(Size::Tiny, &config).unwrap();
        let file = serde_json::json!({ "d_model": 512 });
        let error = merge_config(file.as_object().unwrap(), &config).unwrap_err();
        assert!(error.to_string().contains("d_model"), "{error}");
        // There the decoder adds positions only if the encoder does.
        for (entangle, disable, expected) in
            [(false, Some(false), true), (true, Some(false), false), (true, None, false), (true, Some(true), true)]
        {
            let mut file = serde_json::json!({ "entangle_position_embedding": entangle });
            let file = file.as_object_mut().unwrap();
            file.extend(disable.map(|disable: bool| ("disable_entangle".to_owned(), disable.into())));
            adopt_config(file);
            assert_eq!(merge_config(file, &config).unwrap().disable_entangle, expected, "{file:?}");
        }
        let other = BTreeMap::from([("sync_bn".to_owned(), true.into())]);
        assert!(infer_config(&shapes, &other, Some(50265)).unwrap_err().to_string().contains("sync_bn"));
    }
}

/// Names and shapes of a list of keys; none where the goldens at hand lack the file.
fn keys(file: &str) -> Option<Vec<(String, Vec<usize>)>> {
    let text = std::fs::read_to_string(golden(file)).ok()?;
    let keys: Vec<(String, Vec<usize>, String)> = serde_json::from_str(&text).unwrap();
    Some(keys.into_iter().map(|(name, shape, _)| (name, shape)).collect())
}

#[test]
fn names_go_both_ways() {
    let text = std::fs::read_to_string(golden("micro-fairseq/keys.json")).unwrap();
    let lists: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (from, to) in lists["rename"].as_object().unwrap() {
        assert_eq!(hf_name(from), to.as_str().unwrap());
        assert_eq!(fairseq_name(to.as_str().unwrap()), *from);
    }
    if let (Some(fairseq), Some(hf)) = (keys("keys_tiny_fairseq.json"), keys("keys_tiny_hf.json")) {
        let of = |keys: Vec<(String, Vec<usize>)>| -> BTreeMap<_, _> {
            let kept = keys.into_iter().filter(|(name, _)| dropped(name).is_none());
            kept.map(|(name, shape)| (hf_name(&name), shape)).collect()
        };
        assert_eq!(of(fairseq.clone()), of(hf));
        for (name, _) in &fairseq {
            assert_eq!(fairseq_name(&hf_name(name)), *name);
        }
    }
}

#[test]
fn old_files_are_refused_with_advice() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("old.pt");
    std::fs::write(&path, b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.").unwrap();
    let error = read_checkpoint(&path, false).unwrap_err().to_string();
    assert!(error.contains("torch.save("), "{error}");
    for (content, expected) in [("version https://git-lfs.github.com/spec/v1\n", "git lfs pull"), ("", "is empty")] {
        std::fs::write(&path, content).unwrap();
        let error = read_checkpoint(&path, false).unwrap_err().to_string();
        assert!(error.contains("old.pt") && error.contains(expected), "{error}");
    }
    let ema = read_checkpoint(&golden("micro-fairseq/checkpoint_slim.pt"), true).unwrap_err().to_string();
    assert!(ema.contains("--ema"), "{ema}");
}
