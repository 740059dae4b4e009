//! Text to ids and back, boxes to bins and back.

use ofa::config::OfaConfig;
use ofa::vocab::boxes::{self, Ratio};
use ofa::vocab::{MAX_TEXT_BYTES, Vocab, clean, tokenizer_json_from_fairseq, tokenizer_json_from_hf, words};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::LazyLock;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

/// A golden file, from `OFA_GOLDENS` if that directory has it, else our own.
pub fn golden(path: &str) -> PathBuf {
    let asked = std::env::var_os("OFA_GOLDENS").map(|root| PathBuf::from(root).join(path));
    asked.filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from("tests/golden").join(path))
}

pub fn golden_text(path: &str) -> String {
    let path = golden(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn golden_json(path: &str) -> Value {
    serde_json::from_str(&golden_text(path)).unwrap()
}

/// The configuration that the small tokenizer was made for.
pub fn small_config() -> OfaConfig {
    OfaConfig { vocab_size: 500, mask_token_id: 335, num_codes: 64, num_bins: 100, ..OfaConfig::default() }
}

pub static SMALL_JSON: LazyLock<String> = LazyLock::new(|| {
    let [dict, encoder, bpe] =
        ["dict.txt", "encoder.json", "vocab.bpe"].map(|f| golden_text(&format!("tokenizer/{f}")));
    tokenizer_json_from_fairseq(&dict, &encoder, &bpe, 64, 100).unwrap()
});

pub static SMALL: LazyLock<Vocab> = LazyLock::new(|| Vocab::from_tokenizer_json(&SMALL_JSON, &small_config()).unwrap());

/// The vocabulary of the released models, where its files are at hand.
pub static ORIGINAL: LazyLock<Option<Vocab>> = LazyLock::new(|| {
    let root = std::env::var_os("OFA_BPE").map_or_else(|| PathBuf::from("../shared/bpe"), PathBuf::from);
    if !root.join("dict.txt").exists() {
        eprintln!("skipped what needs the original's BPE files: set OFA_BPE to their directory");
        return None;
    }
    let [dict, encoder, bpe] = ["dict.txt", "encoder.json", "vocab.bpe"].map(|file| read(&root, file));
    let json = tokenizer_json_from_fairseq(&dict, &encoder, &bpe, 8192, 1000).unwrap();
    Some(Vocab::from_tokenizer_json(&json, &OfaConfig::default()).unwrap())
});

fn read(root: &std::path::Path, file: &str) -> String {
    std::fs::read_to_string(root.join(file)).unwrap()
}

pub fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_else(|| panic!("no {key} in {row}"))
}

#[test]
fn the_small_tokenizer_agrees_with_its_trainer() {
    for row in golden_json("tokenizer/encodings.json").as_array().unwrap() {
        let words = text(row, "text");
        assert_eq!(SMALL.encode(words).unwrap(), ids(&row["ids"]), "{words:?}");
        assert_eq!(SMALL.decode(&ids(&row["ids"])), words);
    }
    for line in golden_text("tokenizer/corpus.txt").lines() {
        assert_eq!(SMALL.decode(&SMALL.encode(line).unwrap()), line);
    }
}

#[test]
fn both_file_forms_give_one_tokenizer() {
    let [vocab, merges] = ["vocab.json", "merges.txt"].map(|file| golden_text(&format!("tokenizer/{file}")));
    assert_eq!(tokenizer_json_from_hf(&vocab, &merges, 64, 100).unwrap(), *SMALL_JSON);
}

#[test]
fn other_readers_of_the_format_agree() {
    let reader: tokenizers::Tokenizer = SMALL_JSON.parse().unwrap();
    assert_eq!(reader.token_to_id("<mask>"), Some(335));
    assert_eq!(reader.token_to_id("<code_63>"), Some(399));
    assert_eq!(reader.token_to_id("<bin_99>"), Some(499));
    assert_eq!(reader.get_vocab_size(true), 500);
    for line in golden_text("tokenizer/corpus.txt").lines().chain(["", "  a\t\n b  ", "<bin_3>", "déjà 数 🙂"]) {
        assert_eq!(reader.encode(line, false).unwrap().get_ids(), SMALL.encode(line).unwrap(), "{line:?}");
    }
}

#[test]
fn the_originals_ranges_are_found() {
    let Some(vocab) = &*ORIGINAL else { return };
    let golden = golden_json("data/tokenization.json");
    for (id, symbol) in golden["dict"]["symbols"].as_object().unwrap() {
        let symbol = symbol.as_str().unwrap();
        if symbol.starts_with('<') {
            assert_eq!(vocab.layout().symbol(id.parse().unwrap()).as_deref(), Some(symbol));
        }
    }
    assert_eq!(vocab.layout().size as u64, golden["dict"]["size"].as_u64().unwrap());
    assert_eq!((vocab.bin(0).unwrap(), vocab.bin(999).unwrap()), (58457, 59456));
    assert_eq!((vocab.code(0).unwrap(), vocab.code(8191).unwrap()), (50265, 58456));
}

#[test]
fn every_piece_of_the_original_decodes_and_encodes_back() {
    let Some(vocab) = &*ORIGINAL else { return };
    let mut through = 0;
    for id in 4..50261 {
        let piece = vocab.piece(id).unwrap();
        if let Ok(piece) = std::str::from_utf8(piece) {
            assert_eq!(vocab.decode(&vocab.encode(piece).unwrap()), piece);
            through += usize::from(vocab.encode(piece).unwrap() == [id]);
        }
    }
    assert!(through > 49_000, "only {through} pieces encode to themselves");
}

#[test]
fn specials_codes_and_bins_have_ids_but_cannot_be_typed() {
    let layout = SMALL.layout();
    assert_eq!((layout.code0, layout.bin0, layout.size), (336, 400, 500));
    for k in 0..100 {
        assert_eq!(SMALL.bin_index(SMALL.bin(k).unwrap()), Some(k));
    }
    assert!(SMALL.bin(100).is_err() && SMALL.code(64).is_err());
    assert_eq!((SMALL.bin_index(399), SMALL.code_index(400), SMALL.bin_index(500)), (None, None, None));
    assert_eq!(SMALL.decode(&[0, 400, 401, 2, 1, 335, 336, 3, 7777]), "<bin_0><bin_1><pad><mask><code_0><unk><unk>");
    for typed in ["<s>", "<pad>", "<mask>", " <bin_3>", "<code_1>"] {
        let encoded = SMALL.encode(typed).unwrap();
        assert!(encoded.len() > 1 && encoded.iter().all(|id| (4..332).contains(id)), "{typed}: {encoded:?}");
    }
}

/// Any scalar value, the interesting ones more often.
fn any_text(rng: &mut fastrand::Rng) -> String {
    const ODD: [char; 14] = [
        ' ', ' ', '\n', '\t', '\r', '\0', '\'', '\u{a0}', '\u{3000}', '\u{2028}', '\u{feff}', '\u{200d}', '<',
        '\u{301}',
    ];
    let any = |rng: &mut fastrand::Rng| match rng.u8(..4) {
        0 => rng.char(..),
        1 => ODD[rng.usize(..ODD.len())],
        2 => rng.alphanumeric(),
        _ => rng.char(' '..='\u{7f}'),
    };
    let length = rng.usize(..40);
    (0..length).map(|_| any(rng)).collect()
}

#[test]
fn any_text_survives_the_round_trip() {
    let mut rng = fastrand::Rng::with_seed(1);
    let vocabs: Vec<&Vocab> = [Some(&*SMALL), ORIGINAL.as_ref()].into_iter().flatten().collect();
    for _ in 0..4000 {
        let words = any_text(&mut rng);
        for vocab in &vocabs {
            let encoded = vocab.encode(&words).unwrap();
            assert_eq!(vocab.decode(&encoded), words);
            assert!(encoded.iter().all(|id| (4..vocab.layout().mask).contains(id)));
        }
    }
}

#[test]
fn any_ids_decode() {
    let mut rng = fastrand::Rng::with_seed(2);
    for _ in 0..4000 {
        let ids: Vec<u32> =
            (0..rng.usize(..20)).map(|_| if rng.u8(..9) == 0 { rng.u32(..) } else { rng.u32(..510) }).collect();
        SMALL.decode(&ids);
    }
}

#[test]
fn long_texts_end() {
    for unit in [" ", "a", "\n", "7", "<bin_1> ", "é"] {
        let long = unit.repeat(200_000 / unit.len());
        assert_eq!(SMALL.decode(&SMALL.encode(&long).unwrap()), long);
    }
    assert!(SMALL.encode(&" ".repeat(MAX_TEXT_BYTES + 1)).unwrap_err().to_string().contains("at most"));
}

/// What a change to the small tokenizer's JSON or configuration is answered with.
fn refusal(change: impl FnOnce(&mut Value, &mut OfaConfig)) -> String {
    let mut file: Value = serde_json::from_str(&SMALL_JSON).unwrap();
    let mut config = small_config();
    change(&mut file, &mut config);
    Vocab::from_tokenizer_json(&file.to_string(), &config).unwrap_err().to_string()
}

#[test]
fn inconsistent_files_are_refused_by_name() {
    let says = |message: String, part: &str| assert!(message.contains(part), "{message:?} does not say {part:?}");
    says(refusal(|file, _| file["model"]["vocab"]["Ġring"] = json!(4)), "id 4 is both");
    says(refusal(|file, _| file["model"]["vocab"]["Ġring"] = json!(12345)), "12345");
    says(refusal(|file, _| drop(file["model"]["vocab"].as_object_mut().unwrap().shift_remove("Ġ"))), "no token has id");
    says(refusal(|file, _| file["model"]["vocab"]["<bin_3>"] = json!(404)), "expected `<bin_4>`");
    says(refusal(|file, _| file["model"]["merges"][0] = json!("x")), "not a merge");
    says(refusal(|file, _| file["model"]["merges"][0] = json!("zz zz")), "merges");
    says(refusal(|file, _| file["model"]["type"] = json!("WordPiece")), "BPE");
    says(refusal(|file, _| file["model"]["byte_fallback"] = json!(true)), "options");
    says(refusal(|file, _| file["normalizer"] = json!({"type": "NFC"})), "normalizer");
    says(refusal(|file, _| file["pre_tokenizer"]["add_prefix_space"] = json!(true)), "prefix space");
    says(refusal(|file, _| file["added_tokens"][0]["id"] = json!(3)), "id 3 is `<s>`");
    says(refusal(|file, _| *file = json!([])), "tokenizer.json");
    says(refusal(|_, config| config.vocab_size = 501), "expected 500");
    says(refusal(|_, config| config.mask_token_id = u32::MAX), "vocab_size");
    says(refusal(|_, config| config.num_codes = usize::MAX), "num_codes");
    says(refusal(|_, config| config.eos_token_id = 1), "eos_token_id");
    says(refusal(|_, config| (config.mask_token_id, config.num_codes) = (334, 65)), "expected `<code_1>`");
    // Merges that would make a special token out of typed characters.
    says(
        refusal(|file, _| {
            let vocab = file["model"]["vocab"].as_object_mut().unwrap();
            let id = vocab.shift_remove("Ġring").unwrap();
            vocab.insert("<s".into(), id);
            file["model"]["merges"] = json!(["< s", "<s >"]);
        }),
        "<s>",
    );
    // A byte whose piece is gone would vanish from texts.
    says(
        refusal(|file, _| {
            let vocab = file["model"]["vocab"].as_object_mut().unwrap();
            let id = vocab.shift_remove("z").unwrap();
            vocab.insert("zz".into(), id);
        }),
        "byte 122",
    );
}

#[test]
fn damaged_vocabulary_files_are_refused_by_name() {
    let [dict, encoder, bpe] =
        ["dict.txt", "encoder.json", "vocab.bpe"].map(|f| golden_text(&format!("tokenizer/{f}")));
    let says = |dict: &str, encoder: &str, bpe: &str, part: &str| {
        let message = tokenizer_json_from_fairseq(dict, encoder, bpe, 64, 100).unwrap_err().to_string();
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    };
    says(&dict[dict.find('\n').unwrap() + 1..], &encoder, &bpe, "has no line");
    says(&format!("{dict}7 1\n"), &encoder, &bpe, "line 332");
    says(&format!("{dict}word\n"), &encoder, &bpe, "line 332");
    says(&dict, "{", &bpe, "encoder.json");
    says(&dict, &encoder, "#version: 0.2\nq q\n", "merges line 2");
    assert!(tokenizer_json_from_fairseq(&dict, &encoder, &bpe, usize::MAX, 100).is_err());
    let vocab = golden_text("tokenizer/vocab.json");
    for (from, to, part) in [
        ("\"<mask>\": 335", "\"<mask>\": 3350", "nothing has id"),
        ("\"<s>\"", "\"<x>\"", "id 0"),
        ("\"<mask>\"", "\"m\"", "<mask>"),
    ] {
        let message = tokenizer_json_from_hf(&vocab.replace(from, to), &bpe, 64, 100).unwrap_err().to_string();
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
}

/// Nothing that stands in a file may panic, and what is accepted must work.
#[test]
fn thousands_of_mutated_tokenizers_never_panic() {
    const MUTATIONS: usize = 3000;
    let mut rng = fastrand::Rng::with_seed(3);
    let config = small_config();
    let mut accepted = 0;
    for round in 0..MUTATIONS {
        let json = if round % 2 == 0 { scrambled_bytes(&SMALL_JSON, &mut rng) } else { scrambled_tree(&mut rng) };
        if let Ok(vocab) = Vocab::from_tokenizer_json(&json, &config) {
            accepted += 1;
            let words = any_text(&mut rng);
            assert_eq!(vocab.decode(&vocab.encode(&words).unwrap()), words);
        }
    }
    assert!((1..MUTATIONS).contains(&accepted), "{accepted} of {MUTATIONS} were accepted: the mutations are no test");
}

fn scrambled_bytes(json: &str, rng: &mut fastrand::Rng) -> String {
    let mut bytes = json.as_bytes().to_vec();
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(..bytes.len());
        match rng.u8(..5) {
            0 => bytes[at] = rng.u8(..),
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, rng.u8(..)),
            3 => bytes.truncate(at.max(1)),
            _ => {
                let end = (at + rng.usize(..40)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                let to = rng.usize(..bytes.len());
                bytes.splice(to..to, part);
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn scrambled_tree(rng: &mut fastrand::Rng) -> String {
    let mut tree: Value = serde_json::from_str(&SMALL_JSON).unwrap();
    let odd =
        [json!(null), json!(-1), json!(u32::MAX), json!(1e300), json!(""), json!("Ġ"), json!([]), json!({}), json!(7)];
    replace_somewhere(&mut tree, &odd[rng.usize(..odd.len())], rng);
    tree.to_string()
}

fn replace_somewhere(node: &mut Value, by: &Value, rng: &mut fastrand::Rng) {
    let stop = rng.u8(..8) == 0;
    let child = match node {
        Value::Object(map) if !map.is_empty() => {
            let at = rng.usize(..map.len());
            map.values_mut().nth(at)
        }
        Value::Array(list) if !list.is_empty() => {
            let at = rng.usize(..list.len());
            list.get_mut(at)
        }
        _ => None,
    };
    match child {
        Some(child) if !stop => replace_somewhere(child, by, rng),
        _ => *node = by.clone(),
    }
}

#[test]
fn texts_are_cleaned() {
    assert_eq!(clean::question("Is it RED", 80), "is it red?");
    assert_eq!(clean::question("is it red?", 80), "is it red?");
    assert_eq!(clean::caption_output(" a man's dog, on-line. "), "a mans dog online");
    assert_eq!(clean::article("Rose #.#/in <unk>", 80), "rose #.# in unk");
    assert_eq!(clean::sentence("  Two\t Words ", 80), "two words");
}

#[test]
fn bins_survive_the_way_to_pixels_and_back() {
    let mut rng = fastrand::Rng::with_seed(4);
    for _ in 0..20_000 {
        let size = (rng.u32(1..5000), rng.u32(1..5000));
        let side = [256, 384, 480, 512][rng.usize(..4)];
        let ratio = Ratio::new(size, (side, side));
        let num_bins = [100, 1000][rng.usize(..2)];
        let bins: [usize; 4] = std::array::from_fn(|_| rng.usize(..num_bins));
        let pixels = boxes::dequantise(bins, ratio, num_bins);
        assert_eq!(boxes::quantise(pixels.map(|value| value as f32), ratio, num_bins), bins);
        // A box moves by at most half a bin, seen at the model's size.
        let corner = [rng.f32() * size.0 as f32, rng.f32() * size.1 as f32];
        let corners = [corner[0], corner[1], size.0 as f32, size.1 as f32];
        let back = boxes::dequantise(boxes::quantise(corners, ratio, num_bins), ratio, num_bins);
        let half_bin = 512.0 / (num_bins - 1) as f64 / 2.0 * 1.001;
        assert!((back[0] - f64::from(corner[0])).abs() * f64::from(ratio.x) <= half_bin);
        assert!((back[1] - f64::from(corner[1])).abs() * f64::from(ratio.y) <= half_bin);
    }
    let odd = [f32::NAN, f32::NEG_INFINITY, f32::INFINITY, -3.0];
    assert_eq!(boxes::quantise(odd, Ratio { x: 1.0, y: 1.0 }, 1000), [0, 0, 999, 0]);
    // Halves go to the even neighbour: 0.5 and 1.5 of 999 bins.
    let half = |bin: f32| [bin * 512.0 / 999.0; 4];
    assert_eq!(boxes::quantise(half(0.5), Ratio { x: 1.0, y: 1.0 }, 1000)[0], 0);
    assert_eq!(boxes::quantise(half(2.5), Ratio { x: 1.0, y: 1.0 }, 1000)[0], 2);
}

/// The words that GPT-2's regular expression finds.
fn words_by_expression(text: &str) -> Vec<String> {
    let mut words = PreTokenizedString::from(text);
    ByteLevel::new(false, false, true).pre_tokenize(&mut words).unwrap();
    let splits = words.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
    splits.into_iter().map(|(word, _, _)| word.to_owned()).collect()
}

#[test]
fn texts_are_split_as_the_regular_expression_does() {
    let alphabet = [
        " ", " ", "  ", "\n", "\t", "\u{a0}", "\u{3000}", "'", "'s", "'re", "'LL", "a", "Bc", "é", "ß", "ǅ", "ʰ", "中",
        "ア", "1", "٣", "²", "Ⅷ", "½", ".", "!?", "-", "_", "🙂", "e\u{301}", "\u{94d}", "Ⓐ", "\u{200b}", "\u{85}",
        "\0",
    ];
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..20_000 {
        let text: String = (0..random.usize(..9)).map(|_| random.choice(alphabet).unwrap()).collect();
        assert_eq!(words(&text).collect::<Vec<_>>(), words_by_expression(&text), "{text:?}");
    }
}

#[test]
fn every_character_is_of_the_class_that_the_regular_expression_gives_it() {
    for c in '\0'..=char::MAX {
        // It is joined to what is of its kind. A later version of Unicode knows more letters and numbers.
        let [among, dotted] = [format!("x{c}x 1{c}1"), format!(".{c}.")];
        let both = |text: &str| (words(text).collect::<Vec<_>>(), words_by_expression(text));
        let (found, expected) = both(&among);
        assert!(found == expected || found.len() < expected.len(), "{c:?} is split as {found:?}, not {expected:?}");
        let (split, by_expression) = both(&dotted);
        assert!(found != expected || split == by_expression, "{c:?} is split as {split:?}, not {by_expression:?}");
    }
}
