//! Several processes that train one model: the workers that `ofa` starts itself, and those of `mpirun`, for which the build
//! needs the feature `mpi`; `make test-mpi` builds and runs them.

use super::directory;
use super::processes::{Process, finish, pretrain};
use ofa::train::METRICS;
use ofa::weights::{read_files, read_tensors};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Between runs whose sums are added in another order, over 20 updates.
const TOLERANCE: f32 = 1e-5;

/// Without chance and without norms over a rank's part of a batch; Adam makes no steps out of rounding.
const PLAIN: [&str; 7] = [
    "update.schedule.warmup_updates=1",
    "model.config.dropout=0.0",
    "model.config.attention_dropout=0.0",
    "model.config.freeze_resnet=true",
    "update.ema_decay=0.5",
    "update.adam.eps=1e-3",
    "batch.draws=24",
];

/// Starts `ofa pretrain` on two ranks.
type Two = fn(&Path, &[&str]) -> Process;

fn workers(run: &Path, sets: &[&str]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ofa"));
    Process::start(command.args(pretrain(run, sets)).args(["--workers", "2"]).env("RAYON_NUM_THREADS", "1"))
}

#[cfg(feature = "mpi")]
fn mpirun(run: &Path, sets: &[&str]) -> Process {
    let mut command = Command::new("mpirun");
    command.args(["--allow-run-as-root", "--oversubscribe", "-n", "2"]);
    command.arg(env!("CARGO_BIN_EXE_ofa")).args(pretrain(run, sets));
    Process::start(command.env("RAYON_NUM_THREADS", "1"))
}

/// To the last of the processes that this one has started.
fn signal_last_rank(first: &Process, signal: &str) {
    let ranks = Command::new("pgrep").args(["-P", &first.child.id().to_string(), "ofa"]).output().unwrap();
    let ranks = String::from_utf8(ranks.stdout).unwrap();
    let last = ranks.split_whitespace().last().expect("other ranks have been started");
    assert!(Command::new("kill").args([signal, last]).status().unwrap().success());
}

fn weights(run: &Path) -> BTreeMap<String, Vec<f32>> {
    let model = run.join("model");
    let (manifest, _) = read_files(&model).unwrap();
    let mut weights = BTreeMap::new();
    read_tensors(&model, &manifest, |name, tensor| {
        weights.insert(name.clone(), tensor.to_f32(&name)?);
        Ok(())
    })
    .unwrap();
    weights
}

fn distance(a: &Path, b: &Path) -> f32 {
    let (a, b) = (weights(a), weights(b));
    assert!(a.keys().eq(b.keys()));
    let differences = a.iter().flat_map(|(name, a)| a.iter().zip(&b[name]).map(|(a, b)| (a - b).abs()));
    differences.fold(0.0, f32::max)
}

fn two_train_as_one_and_only_the_first_writes(two: Two) {
    let ((_one, one), (_both, both)) = (directory(), directory());
    finish(&one, &PLAIN);
    let (code, text) = two(&both, &PLAIN).end();
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text.matches("saved").count(), 20, "{text}");
    let counts = |run: &Path| -> Vec<[u64; 3]> {
        let journal = std::fs::read_to_string(run.join(METRICS)).unwrap();
        let lines = journal.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.map(|line| ["update", "samples", "tokens"].map(|key| line[key].as_u64().unwrap())).collect()
    };
    assert_eq!(counts(&both), counts(&one));
    let distance = distance(&one, &both);
    assert!(distance < TOLERANCE, "{distance}");
}

fn one_goes_on_where_two_stopped_or_were_killed(two: Two) {
    /// Until it has been noticed that a rank is gone and the other has been ended.
    const PATIENCE: Duration = Duration::from_secs(90);
    let ((_straight, straight), (_run, run)) = (directory(), directory());
    finish(&straight, &PLAIN);
    let mut process = two(&run, &PLAIN);
    assert!(process.says("saved"));
    signal_last_rank(&process, "-TERM");
    let (_, text) = process.end();
    assert!(text.contains("saved") && text.contains("--resume"), "{text}");

    let mut process = two(&run, &PLAIN);
    assert!(process.says("saved"));
    let killed = Instant::now();
    signal_last_rank(&process, "-KILL");
    let (code, text) = process.end();
    assert!(code != Some(0) && killed.elapsed() < PATIENCE, "{:?}: {text}", killed.elapsed());

    finish(&run, &PLAIN);
    let distance = distance(&straight, &run);
    assert!(distance < TOLERANCE, "{distance}");
}

#[test]
fn two_workers_train_as_one_process() {
    two_train_as_one_and_only_the_first_writes(workers);
}

#[test]
fn one_process_goes_on_where_two_workers_stopped_or_were_killed() {
    one_goes_on_where_two_stopped_or_were_killed(workers);
}

#[test]
fn resumed_workers_train_as_those_that_never_stopped() {
    let ((_straight, straight), (_run, run)) = (directory(), directory());
    let (code, text) = workers(&straight, &[]).end();
    assert_eq!(code, Some(0), "{text}");
    let mut process = workers(&run, &[]);
    assert!(process.says("saved"));
    process.signal("-TERM");
    let (_, text) = process.end();
    assert!(text.contains("--resume"), "{text}");
    let (code, text) = workers(&run, &[]).end();
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(distance(&straight, &run), 0.0, "with dropout, and norms over a worker's part of a batch");
}

#[cfg(feature = "mpi")]
#[test]
fn two_ranks_of_mpi_train_as_one_process() {
    two_train_as_one_and_only_the_first_writes(mpirun);
}

#[cfg(feature = "mpi")]
#[test]
fn one_process_goes_on_where_two_ranks_of_mpi_stopped_or_were_killed() {
    one_goes_on_where_two_stopped_or_were_killed(mpirun);
}
