//! The goldens of the original implementation, on every device this machine has.

use crate::support::{goldens, original_bpe, tiny_weights};
use ofa::device::DeviceChoice;
use ofa::parity::{Inputs, Outcome, run_directory};

fn run(choice: DeviceChoice, only: &str) {
    let (device, report) = match pollster::block_on(choice.open()) {
        Ok(opened) => opened,
        Err(error) => return eprintln!("skipped on {choice:?}: {error}"),
    };
    let weights = tiny_weights();
    if weights.is_none() {
        eprintln!("skipped: goldens of the real shape, whose weights `make seeded-weights` writes");
    }
    let directory = goldens();
    let bpe = original_bpe();
    let inputs = Inputs { directory: &directory, tiny_weights: weights.as_deref(), bpe: bpe.as_deref(), only };
    let (mut passed, mut wrong) = (0, Vec::new());
    let each = |name: &str, outcome: &Outcome| match outcome {
        Outcome::Passed { .. } => passed += 1,
        Outcome::Skipped { .. } if name.starts_with("tiny/") && weights.is_none() => {}
        Outcome::Skipped { .. } if name.starts_with("data/") && bpe.is_none() => {}
        other => wrong.push(format!("{name}: {other:?}")),
    };
    pollster::block_on(run_directory(&inputs, &device, each)).unwrap();
    assert!(wrong.is_empty(), "on {}:\n{}", report.name, wrong.join("\n"));
    assert!(passed > 0, "no case ran");
}

#[test]
fn the_cpu_equals_the_original() {
    run(DeviceChoice::Cpu, "");
}

/// Only the small model: a GPU emulated in software takes minutes for the real one.
#[test]
fn the_gpu_equals_the_original() {
    run(DeviceChoice::Gpu, "micro/");
}
