//! A run that stops and goes on is the run that never stopped.

use super::{Toy, directory, recipe, session};
use crate::support::only_drawer;
use burn::tensor::{Device, Tensor};
use ofa::error::{Error, Result};
use ofa::train::{Alone, Ended, Evaluation, Event, Recipe, Run, Section, Session, Trainer};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Trains until update `stop`, or to the end.
fn train(session: &mut Session, draws: &Toy, stop: Option<u64>) -> Result<Ended> {
    let interrupted = AtomicBool::new(false);
    let Session { recipe, trainer, checkpoints, progress, .. } = session;
    let run = Run { recipe, draws, ranks: &Alone, checkpoints, interrupted: &interrupted };
    let mut watch = |event: Event<'_>| {
        if let Event::Updated { updated, .. } = event
            && stop == Some(updated.update)
        {
            interrupted.store(true, Ordering::Relaxed);
        }
    };
    run.go(trainer, progress.clone(), &mut |_: &Trainer| Ok(Evaluation::default()), &mut watch)
}

fn bits(values: Tensor<1>) -> Vec<u32> {
    let values: Vec<f32> = values.into_data().try_into_vec().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

pub fn everything(trainer: &Trainer) -> [Vec<u32>; 2] {
    [Section::Parameters, Section::Statistics].map(|section| bits(trainer.values(section)))
}

fn straight(recipe: &Recipe, draws: &Toy) -> [Vec<u32>; 2] {
    let (_parent, run) = directory();
    let mut session = session(recipe, &run, false).unwrap();
    assert_eq!(train(&mut session, draws, None).unwrap(), Ended::Done);
    everything(&session.trainer)
}

#[test]
fn a_resumed_run_is_the_straight_run_to_the_last_bit() {
    let _drawing = only_drawer();
    // Epochs of 10 draws and updates of 4: the run stops in the middle of one.
    let rounded = "update.quantization={ bits = 4, group_size = 32 }";
    let whole = || Toy { rows: Some(10), ..Toy::default() };
    // Every third update has no row that can be read, one of those that the run stops after among them.
    let gaps = Toy { corrupt: Some(3), ..whole() };
    for (sets, draws) in [(&[][..], whole()), (&[rounded][..], whole()), (&["batch.draws=1"][..], gaps)] {
        let recipe = recipe(sets);
        let expected = straight(&recipe, &draws);
        let (_parent, run) = directory();
        for stop in [Some(3), Some(7), None] {
            let mut session = session(&recipe, &run, true).unwrap();
            let ended = train(&mut session, &draws, stop).unwrap();
            assert_eq!(ended, if stop.is_some() { Ended::Interrupted } else { Ended::Done });
            if stop.is_none() {
                assert!(everything(&session.trainer) == expected, "the resumed run went another way: {sets:?}");
            }
        }
    }
}

#[test]
fn old_checkpoints_go_and_what_was_cut_off_is_swept_up() {
    let _drawing = only_drawer();
    let (recipe, draws) = (recipe(&["run.checkpoint_every=2", "run.keep_last=2"]), Toy::default());
    let (_parent, run) = directory();
    train(&mut session(&recipe, &run, false).unwrap(), &draws, None).unwrap();
    let names = || {
        let mut names: Vec<_> =
            std::fs::read_dir(run.join("checkpoints")).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["latest", "step-0000000010", "step-0000000012"]);
    std::fs::create_dir(run.join("checkpoints/step-0000000014.tmp")).unwrap();
    let session = session(&recipe, &run, true).unwrap();
    assert_eq!(session.trainer.updates(), 12);
    assert_eq!(names().len(), 3);
}

#[test]
fn the_newest_complete_checkpoint_counts_whatever_the_pointer_says() {
    let _drawing = only_drawer();
    let (recipe, draws) = (recipe(&[]), Toy::default());
    let (_parent, run) = directory();
    train(&mut session(&recipe, &run, false).unwrap(), &draws, None).unwrap();
    std::fs::remove_file(run.join("checkpoints/latest")).unwrap();
    assert_eq!(session(&recipe, &run, true).unwrap().trainer.updates(), 12);
}

#[test]
fn the_best_checkpoint_is_named_first_and_found_again() {
    let _drawing = only_drawer();
    let (recipe, (_parent, run)) = (recipe(&["run.evaluate_every=4"]), directory());
    train(&mut session(&recipe, &run, false).unwrap(), &Toy::default(), None).unwrap();
    // As runs were left that were killed before they had named it.
    std::fs::remove_file(run.join("checkpoints/best")).unwrap();
    let resumed = session(&recipe, &run, true).unwrap();
    let best = resumed.checkpoints.best().unwrap();
    assert!(best.ends_with("step-0000000004"), "{}", best.display());
    drop(resumed);
    std::fs::remove_dir_all(best).unwrap();
    let mut resumed = session(&recipe, &run, true).unwrap();
    assert_eq!((resumed.checkpoints.best(), resumed.progress.best), (None, None), "what is gone is no best");

    // Where the name of the latest should be nothing can be written: the save ends there, as if it were killed.
    let latest = run.join("checkpoints/latest");
    std::fs::remove_file(&latest).unwrap();
    std::fs::create_dir(&latest).unwrap();
    resumed.progress.best = Some((1.0, resumed.trainer.updates()));
    resumed.checkpoints.save(&resumed.trainer, &resumed.progress).unwrap_err();
    assert!(resumed.checkpoints.best().unwrap().ends_with("step-0000000012"));
}

#[test]
fn the_best_value_is_read_back_to_the_last_bit() {
    /// Another number to whoever reads its digits as a whole one and divides.
    const BEST: Option<(f64, u64)> = Some((1.6242374183804897, 0));
    let _drawing = only_drawer();
    let (recipe, (_parent, run)) = (recipe(&[]), directory());
    let mut first = session(&recipe, &run, false).unwrap();
    first.progress.best = BEST;
    first.checkpoints.save(&first.trainer, &first.progress).unwrap();
    drop(first);
    assert_eq!(session(&recipe, &run, true).unwrap().progress.best, BEST);
}

#[test]
fn a_run_that_can_read_nothing_is_not_done() {
    let _drawing = only_drawer();
    let (_parent, run) = directory();
    let mut session = session(&recipe(&[]), &run, false).unwrap();
    let error = train(&mut session, &Toy { corrupt: Some(1), ..Toy::default() }, None).unwrap_err().to_string();
    assert!(error.contains("samples to learn from") && error.contains("journal"), "{error}");
}

fn message(recipe: &Recipe, run: &Path, resume: bool) -> String {
    match session(recipe, run, resume) {
        Ok(_) => panic!("expected an error"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_would_spoil_a_run_is_refused() {
    let _drawing = only_drawer();
    let (recipe_of_run, draws) = (recipe(&[]), Toy::default());
    let (_parent, run) = directory();
    let mut first = session(&recipe_of_run, &run, false).unwrap();
    train(&mut first, &draws, Some(4)).unwrap();
    assert!(message(&recipe_of_run, &run, true).contains("another process"), "two runs in one directory");
    drop(first);
    assert!(message(&recipe_of_run, &run, false).contains("--resume"), "a new run in a used directory");
    let wider = recipe(&["model.config.encoder_ffn_dim=64"]);
    assert!(message(&wider, &run, true).contains("encoder_ffn_dim"), "{}", message(&wider, &run, true));
    let rounded = "update.quantization={ bits = 4, finer = ['stem'] }";
    let refused = message(&recipe(&[rounded]), &run, true);
    assert!(refused.contains("expected none") && refused.contains("found 4 bits, finer [stem]"), "{refused}");
    let exported = Session::best(&run, &[rounded.to_owned()], &Device::flex()).err().unwrap().to_string();
    assert!(exported.contains("update.quantization"), "{exported}");

    let model = run.join("checkpoints/step-0000000004/model.safetensors");
    let mut bytes = std::fs::read(&model).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&model, bytes).unwrap();
    let damaged = message(&recipe_of_run, &run, true);
    assert!(damaged.contains("model.safetensors") && damaged.contains("hash"), "{damaged}");
}

#[test]
fn an_evaluation_that_fails_loses_no_update_and_is_made_up_for() {
    let _drawing = only_drawer();
    let (_parent, run) = directory();
    let recipe = recipe(&["run.evaluate_every=1000", "run.checkpoint_every=1000"]);
    let draws = Toy::default();
    let go = |evaluate: &mut dyn FnMut(&Trainer) -> Result<Evaluation>| {
        let mut session = session(&recipe, &run, true).unwrap();
        let (mut evaluated, interrupted) = (Vec::new(), AtomicBool::new(false));
        let Session { recipe, trainer, checkpoints, progress, .. } = &mut session;
        let run = Run { recipe, draws: &draws, ranks: &Alone, checkpoints, interrupted: &interrupted };
        let ended = run.go(trainer, progress.clone(), evaluate, &mut |event| {
            evaluated.extend(if let Event::Evaluated { update, .. } = event { Some(update) } else { None });
        });
        (ended, evaluated, checkpoints.latest().unwrap().unwrap(), trainer.updates())
    };
    // The last update is the one to be evaluated.
    let (ended, evaluated, saved, updates) = go(&mut |_| Err(Error::image("no picture")));
    assert_eq!((ended.unwrap_err(), evaluated), (Error::image("no picture"), vec![]));
    assert_eq!(saved.file_name().unwrap().to_str().unwrap(), format!("step-{updates:010}"));
    let (ended, evaluated, ..) = go(&mut |_| Ok(Evaluation::default()));
    assert_eq!((ended.unwrap(), evaluated), (Ended::Done, vec![updates]));
    let (ended, evaluated, ..) = go(&mut |_| Ok(Evaluation::default()));
    assert_eq!((ended.unwrap(), evaluated), (Ended::Done, vec![]), "once is enough");
}
