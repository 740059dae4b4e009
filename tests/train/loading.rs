//! Batches: the same whatever the number of threads and ranks, without the rows that cannot be read.

use super::{Toy, recipe};
use ofa::config::OfaConfig;
use ofa::train::{Arrangement, Batch, BatchOptions, Loaded, Loader};

fn load(options: &BatchOptions, draws: &Toy, rank: (usize, usize), first: u64) -> Loaded {
    let config = OfaConfig { vocab_size: 500, ..OfaConfig::default() };
    Loader { draws, options, config: &config, seed: 1, arrangement: Arrangement::default(), rank }.load(first).unwrap()
}

/// The ids of every sample, in order.
fn targets(loaded: &Loaded) -> Vec<Vec<u32>> {
    let of_batch = |batch: &Batch| {
        let mut targets = vec![Vec::new(); batch.len()];
        batch.tokens().iter().for_each(|token| targets[token.sample].push(token.id));
        targets
    };
    loaded.groups.iter().flatten().flat_map(of_batch).collect()
}

#[test]
fn threads_and_passes_change_nothing() {
    let options = recipe(&[]).batch;
    let draws = Toy { rows: Some(10), ..Toy::default() };
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let expected = alone.install(|| targets(&load(&options, &draws, (0, 1), 8)));
    let many = rayon::ThreadPoolBuilder::new().num_threads(5).build().unwrap();
    assert_eq!(many.install(|| targets(&load(&options, &draws, (0, 1), 8))), expected);
    assert_eq!(load(&options, &draws, (0, 1), 8).groups[0].len(), 2, "4 draws in passes of 2");
}

#[test]
fn ranks_share_the_draws_of_an_update() {
    let options = BatchOptions { draws: 6, micro_batch: 1, ..recipe(&[]).batch };
    let draws = Toy::default();
    let sorted = |mut rows: Vec<Vec<u32>>| {
        rows.sort();
        rows
    };
    let whole = sorted(targets(&load(&options, &draws, (0, 1), 0)));
    let parts = [0, 1, 2].map(|rank| targets(&load(&options, &draws, (rank, 3), 0)));
    assert!(parts.iter().all(|part| part.len() == whole.len() / 3));
    assert_eq!(sorted(parts.concat()), whole);
}

#[test]
fn unreadable_rows_are_left_out_and_named() {
    let options = BatchOptions { draws: 6, ..recipe(&[]).batch };
    let loaded = load(&options, &Toy { corrupt: Some(3), ..Toy::default() }, (0, 1), 0);
    assert_eq!(loaded.skipped.iter().map(|(draw, _)| *draw).collect::<Vec<_>>(), [0, 3]);
    assert!(loaded.skipped[0].1.to_string().contains("toy.tsv"));
    assert_eq!(
        loaded.groups[0].iter().map(|batch| batch.len()).sum::<usize>(),
        8,
        "two samples of each of the other four"
    );
    let loaded = load(&options, &Toy { endless: Some(2), ..Toy::default() }, (0, 1), 0);
    let [(2, error)] = &loaded.skipped[..] else { panic!("{:?}", loaded.skipped) };
    assert!(error.to_string().contains("toy.tsv:3") && error.to_string().contains("5000 tokens"), "{error}");
}
