//! `ofa parity DIR`: every golden below a directory, a line a case.

use crate::device::DeviceChoice;
use crate::error::{Error, Result};
use crate::parity::{Goldens, Outcome};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// A directory of goldens, or one of its parts
    dir: PathBuf,
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Only cases whose name contains this
    #[arg(long)]
    only: Option<String>,
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
}

pub fn run(args: Args) -> Result<()> {
    let (device, report) = pollster::block_on(DeviceChoice::from_name(&args.device)?.open())?;
    println!("device: {} ({})", report.kind, report.name);
    let mut tally = Tally::default();
    let micro = [args.dir.join("micro"), args.dir.clone()].into_iter().find(|dir| dir.join("cases").is_dir());
    if let Some(dir) = micro {
        let text = |name: &str| read(&dir.join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let bytes = |name: &str| read(&dir.join(name));
        let goldens = Goldens::new(
            &text("config.json")?,
            &text("manifest.json")?,
            &bytes("model.safetensors")?,
            &bytes("shared_inputs.safetensors")?,
        )?;
        for name in goldens.cases() {
            if args.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
                continue;
            }
            let path = dir.join("cases").join(format!("{name}.safetensors"));
            let outcome = match read(&path) {
                Ok(bytes) => pollster::block_on(goldens.run(&name, &bytes, &device)),
                Err(error) => Outcome::Failed { reason: error.to_string() },
            };
            tally.note(&format!("micro/{name}"), &outcome);
        }
    }
    println!("{} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped);
    if tally.failed > 0 {
        return Err(Error::file(args.dir.display(), format!("{} cases failed", tally.failed)));
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::file(path.display(), error))
}

impl Tally {
    fn note(&mut self, name: &str, outcome: &Outcome) {
        match outcome {
            Outcome::Passed { difference } => {
                self.passed += 1;
                println!("passed   {name}  {difference:.1e}");
            }
            Outcome::Failed { reason } => {
                self.failed += 1;
                println!("FAILED   {name}  {reason}");
            }
            Outcome::Skipped { reason } => {
                self.skipped += 1;
                println!("skipped  {name}  {reason}");
            }
        }
    }
}
