//! Several ranks train one model: they stay equal, whatever their number the model is the same, and they stop together.

use super::resuming::everything;
use super::{Toy, directory, recipe};
use crate::support::only_drawer;
use crate::support::ranks::together;
use burn::tensor::Device;
use ofa::error::Result;
use ofa::train::{Alone, Ended, Evaluation, Event, Progress, Ranks, Recipe, Run, Session, Trainer};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Between runs whose sums are added in another order, over six updates. Runs on other samples are further apart by
/// [`APART`].
const TOLERANCE: f32 = 2e-5;
const APART: f32 = 50.0 * TOLERANCE;

/// What makes a sample's part of a gradient depend on the rest of its batch, or on chance, is switched off; the last
/// two keep Adam from making steps out of rounding.
const PLAIN: [&str; 8] = [
    "model.config.dropout=0.0",
    "model.config.encoder_drop_path_rate=0.0",
    "model.config.decoder_drop_path_rate=0.0",
    "model.config.freeze_resnet=true",
    "batch.sample_patches=4",
    "update.updates=6",
    "update.adam.eps=1e-3",
    "update.schedule.lr=0.02",
];

fn toy() -> Toy {
    Toy { rows: Some(10), ..Toy::default() }
}

/// A rank's part of a run, which the rank `interrupts` ends after an update.
fn go(session: &mut Session, ranks: &dyn Ranks, draws: &Toy, interrupts: Option<(usize, u64)>) -> Result<Ended> {
    let interrupted = AtomicBool::new(false);
    let Session { recipe, trainer, checkpoints, progress, .. } = session;
    let run = Run { recipe, draws, ranks, checkpoints, interrupted: &interrupted };
    let mut watch = |event: Event<'_>| {
        if let Event::Updated { updated, .. } = event {
            interrupted.store(interrupts == Some((ranks.rank(), updated.update)), Ordering::Relaxed);
        }
    };
    run.go(trainer, progress.clone(), &mut |_: &Trainer| Ok(Evaluation::default()), &mut watch)
}

/// Opened one after the other, because the process has one generator of random numbers.
fn sessions(recipes: &[&Recipe], run: &Path) -> Vec<Session> {
    let open = |(rank, recipe): (usize, &&Recipe)| {
        Session::open((*recipe).clone(), run, &Device::flex(), true, rank == 0).unwrap()
    };
    recipes.iter().enumerate().map(open).collect()
}

/// Trains with as many ranks as there are sessions.
fn train(sessions: &mut [Session], interrupts: Option<(usize, u64)>) -> Vec<Result<Ended>> {
    together(sessions, |session, ranks| go(session, ranks, &toy(), interrupts))
}

fn floats(session: &Session) -> Vec<f32> {
    everything(&session.trainer).concat().into_iter().map(f32::from_bits).collect()
}

/// The largest difference between the numbers of two models.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The model that one rank makes of a recipe.
fn alone(recipe: &Recipe, draws: &Toy) -> Vec<f32> {
    let (_parent, run) = directory();
    let mut sessions = sessions(&[recipe], &run);
    assert_eq!(go(&mut sessions[0], &Alone, draws, None).unwrap(), Ended::Done);
    floats(&sessions[0])
}

#[test]
fn ranks_stay_equal_to_the_last_bit() {
    let _drawing = only_drawer();
    // The norms are live: each rank sees other samples, and all keep the same statistics.
    let (recipe, (_parent, run)) = (recipe(&["update.updates=4"]), directory());
    let mut sessions = sessions(&[&recipe, &recipe], &run);
    let before = everything(&sessions[0].trainer);
    assert!(train(&mut sessions, None).into_iter().all(|ended| ended.unwrap() == Ended::Done));
    let [first, second] = [0, 1].map(|rank| everything(&sessions[rank].trainer));
    assert!(first[0] != before[0] && first[1] != before[1], "weights and statistics have moved");
    assert!(first == second, "the ranks have come apart");
}

#[test]
fn the_number_of_ranks_changes_only_the_order_of_sums() {
    let _drawing = only_drawer();
    let recipe = recipe(&PLAIN);
    let expected = alone(&recipe, &toy());
    // Three ranks do not share four draws evenly.
    for ranks in [2, 3] {
        let (_parent, run) = directory();
        let mut sessions = sessions(&vec![&recipe; ranks], &run);
        assert!(train(&mut sessions, None).into_iter().all(|ended| ended.unwrap() == Ended::Done));
        let distance = distance(&floats(&sessions[0]), &expected);
        assert!(distance < TOLERANCE, "{ranks} ranks: {distance}");
    }
}

#[test]
fn one_rank_goes_on_where_two_were_stopped_with_the_samples_that_follow() {
    let _drawing = only_drawer();
    let recipe = recipe(&PLAIN);
    let expected = alone(&recipe, &toy());
    let (_parent, run) = directory();
    let mut two = sessions(&[&recipe, &recipe], &run);
    // Only the second rank hears that it is to stop.
    assert!(train(&mut two, Some((1, 3))).into_iter().all(|ended| ended.unwrap() == Ended::Interrupted));
    assert!(two.iter().all(|session| session.trainer.updates() == 3), "all stop after the same update");
    drop(two);
    let mut one = sessions(&[&recipe], &run);
    assert_eq!(one[0].progress.draws, 12, "draws are counted over all ranks");
    go(&mut one[0], &Alone, &toy(), None).unwrap();
    let goes_on = distance(&floats(&one[0]), &expected);
    assert!(goes_on < TOLERANCE, "{goes_on}");

    // With any other samples the model would be another.
    let (_parent, run) = directory();
    let mut other = sessions(&[&recipe], &run);
    other[0].progress = Progress { draws: 1, ..Progress::default() };
    go(&mut other[0], &Alone, &toy(), None).unwrap();
    let apart = distance(&floats(&other[0]), &expected);
    assert!(apart > APART, "{apart}");
}

#[test]
fn ranks_pass_over_an_update_together() {
    let _drawing = only_drawer();
    // The second rank never has a draw, and every third update the first one's cannot be read.
    let (recipe, gaps) = (recipe(&[&PLAIN[..], &["batch.draws=1"]].concat()), Toy { corrupt: Some(3), ..toy() });
    let expected = alone(&recipe, &gaps);
    let (_parent, run) = directory();
    let mut sessions = sessions(&[&recipe, &recipe], &run);
    let ended = together(&mut sessions, |session, ranks| go(session, ranks, &gaps, None));
    assert!(ended.into_iter().all(|ended| ended.unwrap() == Ended::Done));
    let distances = [0, 1].map(|rank| distance(&floats(&sessions[rank]), &expected));
    assert!(distances.iter().all(|distance| *distance < TOLERANCE), "{distances:?}");
}

#[test]
fn ranks_whose_weights_differ_do_not_begin() {
    let _drawing = only_drawer();
    let (_parent, run) = directory();
    let (one, other) = (recipe(&PLAIN), recipe(&[&PLAIN[..], &["seed=6"]].concat()));
    for ended in train(&mut sessions(&[&one, &other], &run), None) {
        let message = ended.unwrap_err().to_string();
        assert!(message.contains("weights") && message.contains("rank"), "{message}");
    }
}
