//! `ofa bench train`: what training costs on this machine.

use crate::cli::memory::keep_freed;
use crate::device::DeviceChoice;
use crate::error::{Error, Result};
use crate::train::{Alone, Plan, Recipe, plan, resolved};
use serde_json::json;
use std::path::PathBuf;

/// Updates by a recipe: samples and tokens a second, peak memory, and where the time goes
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The recipe, a TOML file
    recipe: PathBuf,
    /// Change a value of the recipe, such as batch.draws=64
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Updates to measure, after one that warms up
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    updates: u32,
    /// auto, gpu, cpu, cuda or torch
    #[arg(long, default_value = "auto")]
    device: String,
}

/// Prints one JSON object. Batches are made before each update here, where a run makes them meanwhile.
pub fn run(Args { recipe, sets, updates, device }: Args) -> Result<()> {
    keep_freed();
    let recipe = resolved(Recipe::read(&recipe, &sets)?)?;
    let (device, chosen) = pollster::block_on(DeviceChoice::from_name(&device)?.open())?;
    let Plan { seconds, data_seconds, passes: [forward, backward], samples_per_update, tokens_per_update, .. } =
        plan(&recipe, &device, &Alone, updates as usize)?;
    let whole = seconds + data_seconds;
    let measured = json!({
        "device": format!("{} ({})", chosen.kind, chosen.name),
        "samples_per_second": samples_per_update / whole,
        "tokens_per_second": tokens_per_update / whole,
        "peak_memory_mb": peak_memory().map(|bytes| bytes as f64 / 1e6),
        "seconds": whole,
        "shares": {
            "data": data_seconds / whole,
            "forward": forward / whole,
            "backward": backward / whole,
            "update": (seconds - forward - backward) / whole,
        },
    });
    say!("{}", serde_json::to_string_pretty(&measured).map_err(Error::device)?);
    Ok(())
}

/// The most bytes of memory that this process has held, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}
