//! Broken inputs: whatever the bytes, an answer or an error, soon and without much memory.

use super::*;

/// `rounds` variants of `bytes`: flipped bits, overwritten stretches, cut ends, copied pieces.
fn mutate(bytes: &[u8], seed: u64, rounds: usize, focus: usize, mut try_it: impl FnMut(&[u8])) {
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..rounds {
        let mut broken = bytes.to_vec();
        // Most of a file is numbers, where every value is fine; structure is at the start and the end.
        let place = |random: &mut fastrand::Rng| match random.u8(..4) {
            0 => random.usize(..bytes.len()),
            1 => bytes.len() - 1 - random.usize(..focus.min(bytes.len())),
            _ => random.usize(..focus.min(bytes.len())),
        };
        for _ in 0..random.usize(1..5) {
            let at = place(&mut random);
            match (round + random.usize(..2)) % 5 {
                0 | 1 => broken[at] ^= 1 << random.u8(..8),
                2 => broken[at] = random.u8(..),
                3 => {
                    let end = (at + random.usize(1..9)).min(broken.len());
                    let value = [0, 0xff, 0x7f][random.usize(..3)];
                    broken[at..end].fill(value);
                }
                _ => {
                    let from = place(&mut random);
                    let length = random.usize(1..32).min(broken.len() - at.max(from));
                    broken.copy_within(from..from + length, at);
                }
            }
        }
        if round % 7 == 0 {
            broken.truncate(random.usize(..broken.len()));
        }
        try_it(&broken);
    }
}

#[test]
fn safetensors() {
    let tensors: Vec<_> = golden_model().into_iter().filter(|(name, _)| name.contains("layers.0")).collect();
    let bytes = encode_shard("x", &tensors).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut good = 0;
    mutate(&bytes, 1, 4000, header, |broken| good += usize::from(read_shard("x", broken).is_ok()));
    assert!(good < 4000);
    let split = encode_shard("x", &split("big".into(), tensors[0].1.clone(), 64)).unwrap();
    mutate(&split, 2, 2000, split.len(), |broken| {
        let mut assembler = Assembler::new();
        let _ = assembler.push("x", broken);
        let _ = assembler.finish();
    });
}

#[test]
fn torch_files() {
    let path = golden("micro-fairseq/checkpoint_slim.pt");
    let bytes = std::fs::read(&path).unwrap();
    mutate(&bytes, 3, 3000, 40_000, |broken| drop(read_torch_bytes("x.pt", broken, false)));
}

#[test]
fn pickles() {
    let bytes = std::fs::read(golden("micro-fairseq/checkpoint_slim.pt")).unwrap();
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
    let mut pickle = Vec::new();
    std::io::Read::read_to_end(&mut archive.by_name("archive/data.pkl").unwrap(), &mut pickle).unwrap();
    let walk = |pickle: &Pickle| {
        let root = pickle.root();
        for (_, id) in pickle.entries(root).unwrap_or_default() {
            let _ = pickle.scalar(id);
            pickle.entries(id).unwrap_or_default().iter().for_each(|(_, id)| drop(pickle.scalar(*id)));
        }
    };
    mutate(&pickle, 4, 3000, pickle.len(), |broken| {
        if let Ok(pickle) = Pickle::parse("x", broken) {
            walk(&pickle);
        }
    });
    // Programs that never were a pickle.
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..20_000 {
        let opcodes = b"\x80(t).0122NJK]}eausqhRbcQ\x85\x86\n\x93oi\x81\x8f";
        let program: Vec<u8> = (0..random.usize(..60)).map(|_| opcodes[random.usize(..opcodes.len())]).collect();
        if let Ok(pickle) = Pickle::parse("x", &program) {
            walk(&pickle);
        }
    }
}

#[test]
fn json_files() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("bundle");
    let files = BundleFiles { config: golden_config(), tokenizer_json: "{}".into(), generation_config: "{}".into() };
    let (_, tensors) = micro_bundle();
    let shapes = shapes_of(&tensors);
    write_bundle(&out, &files, Precision::F32, tensors.into_iter().map(Ok)).unwrap();
    let config = std::fs::read(out.join(CONFIG)).unwrap();
    let shapes: Shapes = shapes.into_iter().collect();
    mutate(&config, 6, 3000, config.len(), |broken| {
        let text = String::from_utf8_lossy(broken);
        if let Ok(config) = OfaConfig::from_json(&text) {
            let _ = merge_config(&serde_json::from_str(&text).unwrap(), &config);
        }
    });
    let manifest = std::fs::read(out.join(MANIFEST)).unwrap();
    mutate(&manifest, 7, 3000, manifest.len(), |broken| drop(Manifest::from_json(&String::from_utf8_lossy(broken))));
    // Shapes that no model has.
    let mut random = fastrand::Rng::with_seed(8);
    let names: Vec<_> = shapes.keys().cloned().collect();
    for _ in 0..500 {
        let mut shapes = shapes.clone();
        for _ in 0..random.usize(1..4) {
            let name = &names[random.usize(..names.len())];
            let shape = (0..random.usize(..5)).map(|_| [0, 1, 3, usize::MAX][random.usize(..4)]).collect();
            shapes.insert(name.clone(), shape);
        }
        let _ = infer_config(&shapes, &BTreeMap::new(), Some(random.usize(..600)));
    }
}
