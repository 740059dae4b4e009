//! `ofa parity DIR`: every golden below a directory, a line a case.

use crate::device::DeviceChoice;
use crate::error::{Error, Result};
use crate::parity::{Inputs, Outcome, run_directory};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// A directory of goldens, or one of its parts
    dir: PathBuf,
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Seeded weights of the real shape, under the original's names
    #[arg(long)]
    tiny_weights: Option<PathBuf>,
    /// Directory of the original's BPE files
    #[arg(long, env = "OFA_BPE")]
    bpe: Option<PathBuf>,
    /// Only cases whose name contains this
    #[arg(long, default_value = "")]
    only: String,
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
}

pub fn run(args: Args) -> Result<()> {
    let (device, report) = pollster::block_on(DeviceChoice::from_name(&args.device)?.open())?;
    say!("device: {} ({})", report.kind, report.name);
    let mut tally = Tally::default();
    let inputs = Inputs {
        directory: &args.dir,
        tiny_weights: args.tiny_weights.as_deref(),
        bpe: args.bpe.as_deref(),
        only: &args.only,
    };
    pollster::block_on(run_directory(&inputs, &device, |name, outcome| tally.note(name, outcome)))?;
    say!("{} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped);
    if tally.failed > 0 {
        return Err(Error::file(args.dir.display(), format!("{} cases failed", tally.failed)));
    }
    Ok(())
}

impl Tally {
    fn note(&mut self, name: &str, outcome: &Outcome) {
        match outcome {
            Outcome::Passed { difference } => {
                self.passed += 1;
                say!("passed   {name}  {difference:.1e}");
            }
            Outcome::Failed { reason } => {
                self.failed += 1;
                say!("FAILED   {name}  {reason}");
            }
            Outcome::Skipped { reason } => {
                self.skipped += 1;
                say!("skipped  {name}  {reason}");
            }
        }
    }
}
