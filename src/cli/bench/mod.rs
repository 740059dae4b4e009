//! `ofa bench`: what things cost on this machine.

mod answer;
#[cfg(feature = "train")]
mod train;

use crate::error::Result;
use clap::Subcommand;

/// Measures speed and memory.
#[derive(Debug, Subcommand)]
pub enum Command {
    Answer(answer::Args),
    #[cfg(feature = "train")]
    Train(train::Args),
}

pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Answer(args) => answer::run(args),
        #[cfg(feature = "train")]
        Command::Train(args) => train::run(args),
    }
}
