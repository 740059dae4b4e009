//! Single updates: they learn, and what is no number does no harm.

use super::{RECIPE, Toy, directory, recipe, session};
use crate::support::only_drawer;
use ofa::config::Quantization;
use ofa::train::{Alone, Arrangement, Batch, Draws, Recipe, Section, Updated};
use ofa::weights::{Storage, fold_batch_norm, precision_of, quantize, read_bundle};
use std::path::Path;

/// Sums of two losses of about 8 in f32.
const LOSS_ROUNDING: f64 = 1e-4;

/// Some of the toy's draws as one group.
fn batch(session: &ofa::train::Session, draws: &Toy, first: u64) -> Vec<Vec<Batch>> {
    let samples: Vec<_> = (first..first + 4).flat_map(|index| draws.draw(0, index).unwrap().main).collect();
    vec![vec![Batch::new(&samples, session.trainer.config(), Arrangement::default()).unwrap()]]
}

fn update(session: &mut ofa::train::Session, groups: &[Vec<Batch>]) -> ofa::error::Result<Updated> {
    pollster::block_on(session.trainer.update(groups, &Alone))
}

/// The trained weights.
fn values(session: &ofa::train::Session) -> Vec<f32> {
    session.trainer.values(Section::Parameters).into_data().try_into_vec().unwrap()
}

/// The same and what the norms have observed.
fn numbers(session: &ofa::train::Session) -> [Vec<f32>; 2] {
    [Section::Parameters, Section::Statistics]
        .map(|section| session.trainer.values(section).into_data().try_into_vec().unwrap())
}

/// A run of the recipe with `sets` that has learnt one batch, and the weights that it began with.
fn learnt_by_heart(sets: &[&str], run: &Path) -> (ofa::train::Session, Vec<f32>) {
    const UPDATES: usize = 150;
    let plain = [
        "model.config.dropout=0.0",
        "model.config.encoder_drop_path_rate=0.0",
        "model.config.decoder_drop_path_rate=0.0",
        "update.updates=150",
        "update.loss.label_smoothing=0.0",
    ];
    let mut session = session(&recipe(&[&plain, sets].concat()), run, false).unwrap();
    let fresh = values(&session);
    let groups = batch(&session, &Toy::default(), 0);
    let losses: Vec<f64> = (0..UPDATES).map(|_| update(&mut session, &groups).unwrap().loss).collect();
    let last = losses[UPDATES - 1];
    assert!(last < 0.05 * losses[0], "from {} to {last}", losses[0]);
    (session, fresh)
}

#[test]
fn one_batch_is_learnt_by_heart() {
    let _drawing = only_drawer();
    let (_parent, run) = directory();
    learnt_by_heart(&[], &run);
}

#[test]
fn gradients_that_are_no_numbers_change_nothing_and_end_the_run_if_they_go_on() {
    let _drawing = only_drawer();
    let (_parent, run) = directory();
    let mut session = session(&recipe(&["update.max_bad_updates=3"]), &run, false).unwrap();
    let good = batch(&session, &Toy::default(), 0);
    let bad = batch(&session, &Toy { infinite_from: Some(0), ..Toy::default() }, 0);
    assert!(update(&mut session, &good).unwrap().stepped);
    let before = numbers(&session);
    assert!(!update(&mut session, &bad).unwrap().stepped);
    assert!(!update(&mut session, &bad).unwrap().stepped);
    assert_eq!(numbers(&session), before);
    let error = update(&mut session, &bad).unwrap_err().to_string();
    assert!(error.contains("3 gradients in a row"), "{error}");
}

#[test]
fn an_update_of_which_nothing_can_be_read_changes_nothing_and_counts() {
    let _drawing = only_drawer();
    let (_parent, run) = directory();
    let mut session = session(&recipe(&[]), &run, false).unwrap();
    let good = batch(&session, &Toy::default(), 0);
    assert!(update(&mut session, &good).unwrap().stepped);
    let before = numbers(&session);
    let passed = update(&mut session, &[vec![], vec![]]).unwrap();
    assert_eq!((passed.update, passed.stepped, passed.samples, passed.loss.is_nan()), (2, false, 0, true));
    assert_eq!(numbers(&session), before);
    assert!(update(&mut session, &good).unwrap().stepped);
}

#[test]
fn what_is_frozen_stays() {
    let _drawing = only_drawer();
    let (_parent, run) = directory();
    let frozen = ["update.freeze=['encoder.embed_images', 'encoder.embed_tokens']"];
    let mut session = session(&recipe(&frozen), &run, false).unwrap();
    let before = values(&session);
    let groups = batch(&session, &Toy::default(), 0);
    update(&mut session, &groups).unwrap();
    let after = values(&session);
    for entry in session.trainer.map().entries(Section::Parameters) {
        let same = before[entry.range.clone()] == after[entry.range.clone()];
        let frozen = entry.name.starts_with("encoder.embed_images") || entry.name.starts_with("encoder.embed_tokens");
        assert!(!frozen || same, "{} is frozen and changed", entry.name);
        assert!(frozen || session.trainer.map().is_trained(&entry.name));
    }
    assert!(before != after);

    let error = super::session(&recipe(&["update.freeze=['encodr']"]), &directory().1, false).err().unwrap();
    assert!(error.to_string().contains("update.freeze") && error.to_string().contains("encodr"), "{error}");
}

/// By which share of their group's range folding a batch norm, in f32, moves weights that are where codes are.
const FOLDED: f32 = 1e-6;

#[test]
fn weights_trained_for_four_bits_are_what_four_and_eight_bits_hold() {
    let _drawing = only_drawer();
    let rounded = ["model.config.d_model=32", "update.quantization={ bits = 4, group_size = 32, finer = ['tokens'] }"];
    let (parent, run) = directory();
    let (session, fresh) = learnt_by_heart(&rounded, &run);
    let trained = values(&session);
    let saved = parent.path().join("saved");
    session.export(&saved).unwrap();
    let tensors = fold_batch_norm(read_bundle(&saved).unwrap().tensors).unwrap();
    let (mut packed, mut changed) = (0, 0);
    for entry in session.trainer.map().entries(Section::Parameters) {
        if precision_of(&entry.name, &entry.shape, 32) != Storage::Packed {
            continue;
        }
        let (_, tensor) = tensors.iter().find(|(name, _)| *name == entry.name).unwrap();
        let values = tensor.to_f32(&entry.name).unwrap();
        packed += 1;
        changed += usize::from(values != trained[entry.range.clone()]);
        let drawing = entry.name == "decoder.embed_image_positions.weight";
        let same = fresh[entry.range.clone()] == trained[entry.range.clone()];
        assert_eq!(same, drawing, "gradients reach {}, unless nothing is drawn", entry.name);
        let apart = |bits: usize| {
            let quantization = Quantization { bits, group_size: 32 };
            let columns = entry.shape.iter().skip(1).product();
            let kept = quantize(&entry.name, &values, columns, quantization, None).unwrap().unpack();
            let groups = values.chunks(32).zip(kept.chunks(32)).map(|(values, kept)| {
                let (low, high) = values.iter().fold((0.0f32, 0.0f32), |(a, b), value| (a.min(*value), b.max(*value)));
                let far = values.iter().zip(kept).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                far / (high - low)
            });
            groups.fold(0.0, f32::max)
        };
        assert!(apart(8) < FOLDED, "{}: {}", entry.name, apart(8));
        let finer = entry.name == "encoder.embed_tokens.weight";
        assert_eq!(apart(4) < FOLDED, !finer, "{}: {}", entry.name, apart(4));
    }
    assert!(packed > 20 && changed == packed, "{changed} of {packed} are rounded");
}

#[test]
fn patches_learn_their_names_first_alone_and_then_beside_the_answers() {
    let _drawing = only_drawer();
    let sets = ["update.updates=80", "update.patches.weight=1.0", "update.patches.alone_until=40"];
    let (_parent, run) = directory();
    let mut session = session(&recipe(&sets), &run, false).unwrap();
    let toy = Toy { named: true, ..Toy::default() };
    let groups = batch(&session, &toy, 0);
    let layers = |session: &ofa::train::Session| -> Vec<f32> {
        let values = values(session);
        let entries =
            session.trainer.map().entries(Section::Parameters).filter(|entry| entry.name.contains(".layers."));
        entries.flat_map(|entry| values[entry.range.clone()].to_vec()).collect()
    };
    let before = layers(&session);
    let alone: Vec<Updated> = (0..40).map(|_| update(&mut session, &groups).unwrap()).collect();
    assert_eq!(alone[0].nll.keys().copied().collect::<Vec<_>>(), ["patches"]);
    let (first, last) = (alone[0].nll["patches"], alone[39].nll["patches"]);
    assert!(last < 0.2 * first, "from {first} to {last}");
    assert!(before == layers(&session), "the layers did not run");
    let beside = update(&mut session, &groups).unwrap();
    assert_eq!(beside.nll.keys().copied().collect::<Vec<_>>(), ["caption", "patches", "vqa"]);
    assert!(before != layers(&session));
    // Samples without names are judged by their answers alone.
    let unnamed = batch(&session, &Toy::default(), 0);
    assert!(!update(&mut session, &unnamed).unwrap().nll.contains_key("patches"));
}

/// Of the losses that are reported the middle one falls below `share` of what it was; without what the toy knows there
/// is none.
fn learns_beside_answers(session: &mut ofa::train::Session, toy: &Toy, reported: [&str; 3], share: f64) {
    let known = batch(session, toy, 0);
    let updates: Vec<Updated> = (0..60).map(|_| update(session, &known).unwrap()).collect();
    assert_eq!(updates[0].nll.keys().copied().collect::<Vec<_>>(), reported);
    let (first, last) = (updates[0].nll[reported[1]], updates[59].nll[reported[1]]);
    assert!(last < share * first, "from {first} to {last}");
    let unknown = batch(session, &Toy::default(), 0);
    assert!(!update(session, &unknown).unwrap().nll.contains_key(reported[1]));
}

#[test]
fn patches_learn_whether_the_instruction_refers_to_them() {
    let _drawing = only_drawer();
    let (_parent, run) = directory();
    let mut session = session(&recipe(&["update.updates=80", "update.patches.referred=1.0"]), &run, false).unwrap();
    let toy = Toy { refers: true, ..Toy::default() };
    learns_beside_answers(&mut session, &toy, ["caption", "referred", "vqa"], 0.3);
    let mut samples = toy.draw(0, 0).unwrap().main;
    samples[1].referred.as_mut().unwrap().patches.pop();
    let error = Batch::new(&samples, session.trainer.config(), Arrangement::default()).unwrap_err().to_string();
    assert!(error.contains("3 patches") && error.contains("it has 4"), "{error}");
}

#[test]
fn the_decoder_learns_to_look_at_what_it_speaks_of() {
    let _drawing = only_drawer();
    let (_parent, run) = directory();
    let sets = ["update.updates=80", "update.patches.looked=1.0", "batch.sample_patches=64"];
    let mut session = session(&recipe(&sets), &run, false).unwrap();
    learns_beside_answers(&mut session, &Toy { speaks: true, ..Toy::default() }, ["caption", "looked", "vqa"], 0.5);
}

#[test]
fn a_batch_in_parts_weighs_everything_as_the_whole_does() {
    let _drawing = only_drawer();
    let sets = [
        "model.config.dropout=0.0",
        "model.config.encoder_drop_path_rate=0.0",
        "model.config.decoder_drop_path_rate=0.0",
        "model.config.freeze_resnet=true",
        "update.loss.even_answers=0.7",
        "update.patches={ weight = 0.5, referred = 1.0, looked = 0.5 }",
    ];
    let toy = Toy { named: true, refers: true, speaks: true, ..Toy::default() };
    let updated = |ends: &[usize]| {
        let (_parent, run) = directory();
        let mut session = session(&recipe(&sets), &run, false).unwrap();
        // Without the last question, so that the parts know unequal shares.
        let samples: Vec<_> = (0..4).flat_map(|index| toy.draw(0, index).unwrap().main).take(7).collect();
        let parts = ends.windows(2).map(|ends| &samples[ends[0]..ends[1]]);
        let batch = |part| Batch::new(part, session.trainer.config(), Arrangement::default()).unwrap();
        let group: Vec<Batch> = parts.map(batch).collect();
        update(&mut session, &[group]).unwrap()
    };
    let (whole, parts) = (updated(&[0, 7]), updated(&[0, 2, 7]));
    assert!((whole.loss - parts.loss).abs() < LOSS_ROUNDING, "{} and {}", whole.loss, parts.loss);
    let norms = [whole.gradient_norm, parts.gradient_norm].map(f64::from);
    assert!((norms[0] - norms[1]).abs() < LOSS_ROUNDING * norms[0], "{norms:?}");
}

#[test]
fn the_second_group_weighs_what_the_recipe_says() {
    let _drawing = only_drawer();
    let losses = |weight: &str, groups: usize| {
        let (_parent, run) = directory();
        let mut session = session(&recipe(&[weight]), &run, false).unwrap();
        let drawn: Vec<_> = [0, 8].into_iter().flat_map(|first| batch(&session, &Toy::default(), first)).collect();
        update(&mut session, &drawn[..groups]).unwrap().loss
    };
    let (main, both) = (losses("update.extra_weight=1.0", 1), losses("update.extra_weight=1.0", 2));
    assert!(both > main);
    assert_eq!(losses("update.extra_weight=0.0", 2), main);
    let half = losses("update.extra_weight=0.5", 2);
    assert!((half - (main + both) / 2.0).abs() < LOSS_ROUNDING, "{half} is not between {main} and {both}");
    let refused = |set: &str| Recipe::parse("recipe", RECIPE, &[set.to_owned()]).expect_err("refused").to_string();
    let error = refused("update.extra_weight=-1.0");
    assert!(error.contains("update.extra_weight") && error.contains("at least 0") && error.contains("-1"), "{error}");
    let error = refused("update.loss.even_answers=1.5");
    assert!(error.contains("update.loss.even_answers") && error.contains("0 to 1"), "{error}");
}

#[test]
fn heads_that_attend_to_what_is_alike_begin_with_a_fresh_encoder() {
    let _drawing = only_drawer();
    let (_parent, run) = directory();
    let error = session(&recipe(&["model.alike_layers=9"]), &run, false).err().expect("an error").to_string();
    assert!(error.contains("model.alike_layers") && error.contains("at most") && error.contains('9'), "{error}");
    let sets = ["model.alike_layers=1", "model.from=elsewhere"].map(String::from);
    let error = Recipe::parse("recipe", RECIPE, &sets).unwrap_err().to_string();
    assert!(error.contains("model.alike_layers") && error.contains("model.from"), "{error}");
}

#[test]
fn a_run_that_trains_patches_alone_needs_their_names() {
    let _drawing = only_drawer();
    let sets = ["update.patches.weight=1.0", "update.patches.alone_until=40"];
    let (_parent, run) = directory();
    let mut session = session(&recipe(&sets), &run, false).unwrap();
    let unnamed = batch(&session, &Toy::default(), 0);
    let error = update(&mut session, &unnamed).unwrap_err().to_string();
    assert!(error.contains("update.patches.alone_until") && error.contains("names"), "{error}");
    assert!(!update(&mut session, &[vec![]]).unwrap().stepped, "rows that cannot be read are another matter");
}
